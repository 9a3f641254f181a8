"""Claims: what a raw value becomes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.claims import (
    ADDRESS,
    BIRTHDATE,
    EMAIL,
    GIVEN,
    LABELS,
    LOCALE,
    NAME,
    PHONE,
    PICTURE,
    PREFERRED_USERNAME,
    SCOPES,
    UPDATED_AT,
    ZONEINFO,
    claims_of,
    clean_text,
    email_key,
    limit_of,
    normalise,
    normalise_email,
    read_typed,
    with_companions,
    words_of,
)
from broker.domain.values import ClaimName, Scope

FAMILY = "👩\u200d👩\u200d👧"


def test_each_scope_unlocks_its_claims() -> None:
    assert claims_of(frozenset({Scope("openid")})) == frozenset()
    assert claims_of(frozenset({Scope("email"), Scope("unknown")})) == {EMAIL}
    assert NAME in claims_of(frozenset({Scope("profile")}))
    assert claims_of(frozenset(SCOPES)) == set(LABELS)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("Ana", "Ana"),
        ("  Ana \t\r\n  Marković ", "Ana Marković"),
        ("A\u0308nne", "Änne"),
        (f"Fam {FAMILY}", f"Fam {FAMILY}"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("אבג", "אבג"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("\u2066x\u2069", "x"),
        ("zero\u200bwidth", "zerowidth"),
        ("nul\x00byte", "nulbyte"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("\ufeffbom", "bom"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("\x00\u202e", None),
        ("", None),
        ("   ", None),
        (42, "42"),
        (True, None),
        (None, None),
        (["Ana"], None),
        ({"name": "Ana"}, None),
    ],
)
def test_a_name_is_kept_by_rule(raw: object, kept: str | None) -> None:
    """Joiners and right-to-left letters stay; overrides, zero-width, NUL and lone surrogates go (catalogue 131)."""
    assert normalise(NAME, raw) == kept


def test_what_providers_send_too_long_is_cut() -> None:
    assert normalise(NAME, "x" * 10_000) == "x" * 200
    assert limit_of(ClaimName("nickname")) == 1000


def test_what_people_type_too_long_is_refused() -> None:
    """Nobody's words are cut behind their back (catalogue 131)."""
    assert read_typed(NAME, "x" * 200) == "x" * 200
    assert read_typed(NAME, "x" * 201) is None
    assert read_typed(NAME, "x" * 10_000) is None
    assert read_typed(NAME, "  Ana  ") == "Ana"
    assert read_typed(NAME, "   ") is None
    assert read_typed(EMAIL, "not an address") is None
    assert read_typed(PICTURE, "https://pictures.test/ana") is None


def test_a_storm_of_combining_marks_is_bounded() -> None:
    """(catalogue 131)"""
    storm = "e" + "\u0301\u0327" * 5000
    kept = normalise(NAME, storm)
    assert kept is not None
    assert len(kept) <= limit_of(NAME)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("de_DE", "de-DE"),
        ("fr", "fr"),
        ({"language": "en", "country": "US"}, "en-US"),
        ({"language": "en"}, "en"),
        ({}, None),
    ],
)
def test_a_language_comes_as_text_or_as_an_object(raw: object, kept: str | None) -> None:
    assert normalise(LOCALE, raw) == kept


@pytest.mark.parametrize(
    "raw",
    ["javascript:alert(1)", "data:text/html,x", "//evil.test/x", "ftp://x.test/", "https", "x", "\x00javascript:x"],
)
@pytest.mark.parametrize("claim", [PICTURE, ClaimName("profile"), ClaimName("website")])
def test_an_address_of_a_page_is_http_or_nothing(claim: ClaimName, raw: str) -> None:
    assert normalise(claim, raw) is None
    assert normalise(claim, "https://pictures.test/1") == "https://pictures.test/1"


@pytest.mark.parametrize("text", ["1988-02-29", "1990", "0000-02-29", "0000-12-31", "2024-01-01"])
def test_a_birth_date_is_a_day_a_year_or_a_day_without_its_year(text: str) -> None:
    """OpenID Connect Core §5.1."""
    assert read_typed(BIRTHDATE, text) == text


@pytest.mark.parametrize(
    "text", ["29.02.1988", "02/29/1988", "1990-02-29", "1990-13-01", "0000", "0000-02-30", "90", "1990-1-1"]
)
def test_what_is_no_birth_date_is_not_kept(text: str) -> None:
    assert normalise(BIRTHDATE, text) is None


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("+33 1 99 00 12 34", "+33199001234"),
        ("+1 (604) 555-1234;ext=5678", "+16045551234;ext=5678"),
        ("+90.216.555.01.23", "+902165550123"),
        ("01 99 00 12 34", "01 99 00 12 34"),
        (199001234, "199001234"),
    ],
)
def test_a_phone_number_is_international_where_it_says_so(raw: object, kept: str) -> None:
    """§5.1: E.164, with an extension as RFC 3966 has it; what does not say its country stays as it is."""
    assert normalise(PHONE, raw) == kept
    assert normalise(PHONE, kept) == kept


@pytest.mark.parametrize(
    "raw",
    ["", "call me", "+", "+123456", "+1234567890123456", "12+34", "+33 1 99 00 12 34;ext=x", "+٣٣١٩٩٠٠", "0199;post=1"],
)
def test_what_is_no_phone_number_is_not_kept(raw: str) -> None:
    assert normalise(PHONE, raw) is None


def test_when_something_changed_is_nobodys_to_say() -> None:
    """A provider's `updated_at` is about its own record, not about ours."""
    assert normalise(UPDATED_AT, "1767225600") is None
    assert normalise(UPDATED_AT, 1767225600) is None
    assert set(LABELS) - set(GIVEN) == {UPDATED_AT}
    assert with_companions({UPDATED_AT: "1767225600"}, frozenset()) == {UPDATED_AT: 1767225600}


def test_most_values_are_shown_as_they_are_kept() -> None:
    assert words_of(NAME, "Ana") == "Ana"


# --- e-mail addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("ana@mail.test", "ana@mail.test"),
        ("Ana.M+club@Mail.TEST", "Ana.M+club@mail.test"),
        (" ana@mail.test. ", "ana@mail.test"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@ｍａｉｌ.test", "ana@mail.test"),
        ("ana＠mail.test", "ana@mail.test"),
        ("δ@mail.test", "δ@mail.test"),
    ],
)
def test_an_address_has_one_spelling(raw: str, kept: str) -> None:
    """Look-alikes of `@`, case of the domain, a trailing dot and IDN become one canonical form (catalogue 121)."""
    assert normalise_email(raw) == kept
    assert normalise_email(kept) == kept
    assert normalise(EMAIL, raw) == kept


@pytest.mark.parametrize(
    "raw",
    [
        "", "ana", "ana@", "@mail.test", "ana@mail", "a@b@mail.test", "ana＠victim.test@evil.test",
        '"ana"@mail.test', '"a@b"@mail.test', "ana mail@mail.test", "ana\u00a0x@mail.test", "ana\r\nbcc:x@mail.test",
        "ana@mail..test", "ana@.mail.test", "ana@mail.test..", ".ana@mail.test", "ana.@mail.test", "an..a@mail.test",
        "ana@-mail.test", "ana@mail-.test", "ana@ma_il.test", "ana@[127.0.0.1]", "ana@mail.test,eve@evil.test",
        "ana@mail.test;eve@evil.test", "<ana@mail.test>", "ana@mail.test\u202e", "ana\u200b@mail.test", "ana@ma\u00adil",
        "a" * 65 + "@mail.test", "ana@" + "x" * 250 + ".test", "ana@" + "x" * 64 + ".test", "ana@mail.te\ud800st",
        "ana@mail\x00.test", "ana\\@mail.test", "(ana)@mail.test", "ana:x@mail.test",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(raw: str) -> None:
    """Checked after it was brought into its canonical form, not before (catalogue 121)."""
    assert normalise_email(raw) is None


def test_case_of_the_local_part_is_kept_and_does_not_tell_addresses_apart() -> None:
    """(catalogue 121)"""
    one, other = normalise_email("Ana@mail.test"), normalise_email("ana@MAIL.test")
    assert one is not None and other is not None
    assert one != other
    assert email_key(one) == email_key(other)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="aB1.@＠。-(é <\x00", max_size=14))
def test_an_accepted_address_is_plain(raw: str) -> None:
    """Whatever is sent: one `@`, an ASCII domain with a dot, nothing a header or a list could trip over (catalogue 121)."""
    kept = normalise_email(raw)
    if kept is not None:
        assert normalise_email(kept) == kept
        local, _, domain = kept.partition("@")
        assert local and "@" not in domain and domain.isascii() and "." in domain
        assert domain == domain.lower()
        assert not set(kept) & set('"(),:;<>[]\\ \r\n\t\x00')


# --- wire ---------------------------------------------------------------------------------------------


def test_a_number_says_whether_it_was_checked() -> None:
    assert with_companions({PHONE: "+33199001234"}, frozenset({PHONE}))["phone_number_verified"] is True  # type: ignore[index]
    assert with_companions({PHONE: "+33199001234"}, frozenset())["phone_number_verified"] is False  # type: ignore[index]


@pytest.mark.parametrize(("verified", "says"), [(frozenset(), False), (frozenset({EMAIL}), True)])
def test_companions_are_booleans_and_always_there(verified: frozenset[ClaimName], says: bool) -> None:
    """`email_verified` is true only by our word, never text (catalogue 119)."""
    out = with_companions({EMAIL: "ana@mail.test", NAME: "Ana"}, verified)
    assert out == {EMAIL: "ana@mail.test", NAME: "Ana", "email_verified": says}


def test_nothing_without_its_claim() -> None:
    assert with_companions({PREFERRED_USERNAME: "zoe"}, frozenset({EMAIL})) == {PREFERRED_USERNAME: "zoe"}


def test_an_address_is_an_object_on_the_wire() -> None:
    assert with_companions({ADDRESS: "1 Main Street"}, frozenset()) == {ADDRESS: {"formatted": "1 Main Street"}}


@settings(max_examples=40, deadline=None)
@given(st.text(), st.integers(1, 50))
def test_cleaned_text_is_fit_to_be_kept(raw: str, limit: int) -> None:
    """Whatever is sent: bounded, NFC, single-spaced, nothing that reorders or breaks a page; clean twice is clean once
    (catalogue 131).
    """
    kept = clean_text(raw, limit=limit)
    assert len(kept) <= limit
    assert kept == " ".join(kept.split())
    assert not any(unicodedata.category(ch) in {"Cc", "Cs", "Co", "Cn"} for ch in kept)
    assert not set(kept) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")
    kept.encode()
    assert clean_text(kept, limit=limit) == kept


@pytest.mark.parametrize("text", ["Europe/Paris", "America/Argentina/Salta", "UTC", "Etc/GMT+5"])
def test_a_time_zone_is_kept_as_it_is_spelled(text: str) -> None:
    assert normalise(ZONEINFO, text) == text


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "\u202eEurope/Paris", "Europe/Paris<br>", "a/b/c/d", "Europe/", "", "Zürich"]
)
def test_what_is_no_time_zone_is_not_kept(text: str) -> None:
    """Sites get the value as it is, so only what can be a name of the database gets in."""
    kept = read_typed(ZONEINFO, text)
    assert kept is None or kept == "Europe/Paris"


@pytest.mark.parametrize(
    ("claim", "text", "kept"),
    [
        (ZONEINFO, "Paris", None),
        (ZONEINFO, " Asia/Tbilisi ", "Asia/Tbilisi"),
        (ZONEINFO, "UTC", "UTC"),
        (LOCALE, "French", None),
        (LOCALE, "Français", None),
        (LOCALE, "fr", "fr"),
        (LOCALE, "sr_Latn_RS", "sr-Latn-RS"),
        (LOCALE, "", None),
    ],
)
def test_a_zone_and_a_language_are_typed_as_programs_read_them(claim: ClaimName, text: str, kept: str | None) -> None:
    assert read_typed(claim, text) == kept

"""The preview, and what a person's form means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import FACEBOOK, NOW

from broker.domain.account import ProfileValue
from broker.domain.claims import EMAIL, FAMILY_NAME, GIVEN_NAME, NAME, PICTURE
from broker.domain.policy import Audience, FieldPolicy, Use
from broker.domain.provider import Identity, OfferedField
from broker.domain.sharing import FieldShare, FieldStatus, SharingDecision, decide, missing, preview, preview_digest
from broker.domain.values import ClaimName, IdentityKey

OFFERS = tuple(
    OfferedField(claim=claim, scope=scope)
    for claim, scope in [
        (NAME, "public_profile"), (EMAIL, "email"), (PICTURE, "public_profile"),
        (GIVEN_NAME, "public_profile"), (FAMILY_NAME, "public_profile"),
    ]
)  # fmt: skip


def policy(claim: ClaimName, use: Use, **more: Any) -> FieldPolicy:
    return FieldPolicy(claim=claim, use=use, audience=Audience.MEMBERS, purpose={"en": f"why {claim}"}, **more)


FIELDS = {
    NAME: policy(NAME, Use.NEEDED),
    EMAIL: policy(EMAIL, Use.NEEDED),
    PICTURE: policy(PICTURE, Use.OPTIONAL, editable=False),
    GIVEN_NAME: policy(GIVEN_NAME, Use.OPTIONAL),
    FAMILY_NAME: policy(FAMILY_NAME, Use.NEVER),
}
IDENTITY = Identity(
    provider=FACEBOOK,
    key=IdentityKey(issuer="https://facebook.example", subject="1234"),
    claims={
        NAME: "Ana Marković", EMAIL: "ana@mail.test", PICTURE: "https://pictures.test/ana",
        GIVEN_NAME: "Ana", FAMILY_NAME: "Marković",
    },
    verified=frozenset({EMAIL}),
    granted=frozenset({"email"}),
    declined=frozenset(),
    authenticated_at=None,
)  # fmt: skip


def rows(identity: Identity = IDENTITY) -> tuple[FieldShare, ...]:
    return preview(identity, OFFERS, FIELDS)


def decided(
    *ticked: ClaimName, identity: Identity = IDENTITY, **edits: str
) -> tuple[SharingDecision, dict[ClaimName, str]]:
    return decide(
        rows(identity),
        ticked=frozenset(ticked),
        edits={ClaimName(name): text for name, text in edits.items()},
        identity=identity,
        digest="digest",
        now=NOW,
    )


# --- preview ------------------------------------------------------------------------------------------


def test_the_preview_shows_what_is_switched_on_in_the_providers_order() -> None:
    assert [(row.claim, row.required) for row in rows()] == [
        (NAME, True), (EMAIL, True), (PICTURE, False), (GIVEN_NAME, False),
    ]  # fmt: skip


def test_a_field_that_is_never_kept_is_never_shown() -> None:
    assert FAMILY_NAME not in {row.claim for row in rows()}


def test_a_field_nobody_configured_is_never_shown() -> None:
    assert preview(IDENTITY, OFFERS, {}) == ()


@pytest.mark.parametrize(
    ("claims", "declined", "status"),
    [
        ({EMAIL: "ana@mail.test"}, frozenset(), FieldStatus.RECEIVED),
        ({EMAIL: "ana@mail.test"}, frozenset({EMAIL}), FieldStatus.RECEIVED),
        ({}, frozenset({EMAIL}), FieldStatus.DECLINED),
        ({EMAIL: ""}, frozenset(), FieldStatus.ABSENT),
        ({}, frozenset(), FieldStatus.ABSENT),
    ],
)
def test_a_row_says_what_became_of_its_field(
    claims: dict[ClaimName, str], declined: frozenset[ClaimName], status: FieldStatus
) -> None:
    row = rows(replace(IDENTITY, claims=claims, declined=declined))[1]
    assert row.status is status
    assert row.verified == (status is FieldStatus.RECEIVED)


def test_the_fingerprint_holds_no_value() -> None:
    """Names, statuses, purposes and versions; the same for two people (decision 15)."""
    other = replace(IDENTITY, claims={**IDENTITY.claims, NAME: "Somebody Else", EMAIL: "else@mail.test"})
    assert preview_digest(rows(), "n") == preview_digest(rows(other), "n")


def test_the_fingerprint_changes_with_what_was_shown() -> None:
    changed = FIELDS | {EMAIL: replace(FIELDS[EMAIL], audience=Audience.EVERYONE)}
    digests = {
        preview_digest(rows(), "terms:1"),
        preview_digest(rows(), "terms:2"),
        preview_digest(rows()[1:], "terms:1"),
        preview_digest(preview(IDENTITY, OFFERS, changed), "terms:1"),
        preview_digest(rows(replace(IDENTITY, claims={})), "terms:1"),
        preview_digest([replace(rows()[0], required=False), *rows()[1:]], "terms:1"),
    }
    assert len(digests) == 6


# --- decision -----------------------------------------------------------------------------------------


def test_only_needed_and_ticked_fields_are_kept() -> None:
    decision, problems = decided(PICTURE)
    assert not problems
    assert set(decision.kept) == {NAME, EMAIL, PICTURE}
    assert decision.accepted == (NAME, EMAIL, PICTURE)
    assert decision.refused == (GIVEN_NAME,)
    assert decision.kept[EMAIL] == ProfileValue(value="ana@mail.test", source="provider:facebook", verified=True)
    assert (decision.preview_digest, decision.decided_at) == ("digest", NOW)


def test_an_unticked_field_is_refused_whatever_is_typed_for_it() -> None:
    """Browsers also send the text boxes that nobody opened (catalogue 125)."""
    decision, _ = decided(given_name="Anna")
    assert GIVEN_NAME not in decision.kept
    assert GIVEN_NAME in decision.refused


def test_an_edited_value_loses_the_providers_word() -> None:
    """What a person typed is theirs, and checked by nobody (catalogue 119)."""
    decision, _ = decided(email="other@mail.test")
    assert decision.kept[EMAIL] == ProfileValue(value="other@mail.test", source="person", verified=False)
    assert decision.edited == (EMAIL,)


@pytest.mark.parametrize("typed", ["", "  ", "ana@mail.test", "ANA@mail.test", "ana@MAIL.test"])
def test_the_same_address_in_other_letters_keeps_the_providers_word(typed: str) -> None:
    decision, problems = decided(email=typed)
    assert not problems
    assert decision.kept[EMAIL].verified
    assert decision.edited == ()


def test_a_field_that_is_not_editable_is_not_edited() -> None:
    """(catalogue 125)"""
    decision, _ = decided(PICTURE, picture="https://evil.test/x")
    assert decision.kept[PICTURE].value == "https://pictures.test/ana"
    assert decision.edited == ()


def test_a_claim_that_is_not_on_the_page_is_ignored() -> None:
    """Neither a hidden field nor one never shown can be slipped in (catalogue 125)."""
    decision, problems = decided(
        FAMILY_NAME, ClaimName("role"), family_name="Root", role="admin", email_verified="true", sub="1"
    )
    assert not problems
    assert set(decision.kept) == {NAME, EMAIL}


@pytest.mark.parametrize("typed", ["not an address", "a@b@c.test", "x" * 300 + "@mail.test"])
def test_an_edit_that_is_no_such_claim_is_a_problem(typed: str) -> None:
    """(catalogue 121)"""
    decision, problems = decided(email=typed)
    assert problems == {EMAIL: "bad_value"}
    assert EMAIL not in decision.kept


def test_an_edit_that_is_too_long_is_a_problem() -> None:
    """(catalogue 131)"""
    assert decided(name="x" * 201)[1] == {NAME: "bad_value"}


def test_a_needed_field_that_never_came_is_asked_later() -> None:
    """Without an e-mail address nobody is turned away (the next page asks for it)."""
    decision, problems = decided(identity=replace(IDENTITY, claims={NAME: "Ana"}, declined=frozenset({EMAIL})))
    assert not problems
    assert missing(FIELDS, decision.kept) == (EMAIL,)
    assert EMAIL not in decision.accepted + decision.refused


def test_nothing_is_missing_that_was_kept_or_is_optional() -> None:
    assert missing(FIELDS, decided()[0].kept) == ()
    assert missing(FIELDS, {}) == (NAME, EMAIL)


def test_a_picture_is_never_missing() -> None:
    """It cannot be typed: who has none goes on without (catalogue 141)."""
    assert missing({**FIELDS, PICTURE: policy(PICTURE, Use.NEEDED)}, {}) == (NAME, EMAIL)


def test_values_never_show_in_a_repr() -> None:
    text = repr(decided(PICTURE)) + repr(rows()) + repr(IDENTITY)
    assert not [value for value in IDENTITY.claims.values() if f"'{value}'" in text]
    assert "1234" not in text


ANY_CLAIM = st.sampled_from([*FIELDS, ClaimName("role"), ClaimName("sub")])


@settings(max_examples=25, deadline=None)
@given(
    sent=st.dictionaries(st.sampled_from(list(FIELDS)), st.text(max_size=5)),
    ticked=st.frozensets(ANY_CLAIM),
    edits=st.dictionaries(ANY_CLAIM, st.text(max_size=5)),
)
def test_refused_fields_are_never_kept(
    sent: dict[ClaimName, str], ticked: frozenset[ClaimName], edits: dict[ClaimName, str]
) -> None:
    """Whatever is sent and posted: kept is what was shown and needed or ticked, and each row is decided once."""
    identity = replace(IDENTITY, claims=sent)
    shares = rows(identity)
    decision, problems = decide(shares, ticked=ticked, edits=edits, identity=identity, digest="", now=NOW)
    shown = {share.claim for share in shares}
    allowed = {share.claim for share in shares if share.required or share.claim in ticked}
    assert set(decision.kept) <= allowed
    assert set(decision.refused) == shown - allowed
    assert set(problems) <= allowed
    assert set(decision.accepted) == set(decision.kept)
    for claim, held in decision.kept.items():
        assert held.source in {"person", "provider:facebook"}
        assert held.source == "person" or held.value == sent[claim]
        assert not (held.verified and held.source == "person")

"""Languages: whole, chosen in the right order, and proved by pseudo-languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone

import pytest
from starlette.requests import Request

from broker import paths
from broker.web.i18n import Languages, day_text, language_name, pseudo, when_text
from broker.web.render import Renderer
from tests.web.pages.catalogue import extracted, missing, strings_of, translated
from tests.web.pages.markup import Element

_HOLES = re.compile(r"%\(\w+\)[sd]|</?\w+[^>]*>")


def test_every_sentence_is_translated() -> None:
    assert len([message for message in extracted() if message.id]) > 350
    assert missing("fr") == []


def test_translations_keep_placeholders_and_tags() -> None:
    for message in translated("fr"):
        if not message.id:
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = strings_of(message)
        for text in strings:
            assert sorted(set(_HOLES.findall(str(text)))) == sorted(set(_HOLES.findall(ids[-1]))), ids


def test_what_is_not_the_persons_fault_does_not_read_in_french_as_if_they_were_somebody_else() -> None:
    told = {str(one.id): str(one.string) for one in translated("fr") if str(one.id).startswith("It is not you.")}
    assert len(told) >= 4
    assert all(text.startswith("Vous n’y êtes pour rien.") for text in told.values()), told


def test_no_french_word_that_would_be_elided_stands_before_a_name() -> None:
    """Some names begin with a vowel ("d’OpenID", "qu’Ana"), so a name stands where nothing is elided."""
    elided = re.compile(
        r"\b(?:de|que|ne|se|le|la|me|te|si|jusque|lorsque|puisque) (?:<[^>]*>)?%\((?!num|time|date|version)\w+\)s",
        re.IGNORECASE,
    )
    assert [text for one in translated("fr") for text in map(str, strings_of(one)) if elided.search(text)] == []


def test_french_punctuation_never_begins_a_line() -> None:
    """A no-break space (U+00A0) before `? ! ; : »` and after `«`, everywhere alike; nothing before `://`."""
    wrong = re.compile(r"(?<!\u00a0)[?!;:»](?!//)|«(?!\u00a0)|[ \u202f][?!;:»]")
    assert wrong.search("Qui ?") and wrong.search("Qui?") and wrong.search("« a »")
    assert not wrong.search("Qui\u00a0? «\u00a0a\u00a0» https://a.example")
    assert [
        text for one in translated("fr") if one.id for text in map(str, strings_of(one)) if wrong.search(text)
    ] == []


def test_no_sentence_is_translated_twice() -> None:
    for catalogue in paths.templates().glob("locales/*/LC_MESSAGES/doorward.po"):
        entries = [one for one in catalogue.read_text().split("msgid ")[1:] if not one.startswith("_plural")]
        sentences = [one.partition("msgstr")[0].strip() for one in entries]
        assert len(sentences) > 100
        assert sorted(set(sentences)) == sorted(sentences), catalogue.name


def test_no_translation_is_left_that_nothing_uses() -> None:
    known = {message.id for message in extracted()}
    assert [message.id for message in translated("fr") if message.id and message.id not in known] == []


def test_every_sentence_on_every_page_goes_through_the_catalogue(documents: Mapping[tuple[str, str], Element]) -> None:
    """On pseudo pages each text that is ours is in brackets; what is left over is somebody's data."""
    left: set[str] = set()
    for (locale, name), document in documents.items():
        if locale != "qps" or name.startswith("nasty"):
            continue
        for text, element in document.one("main").texts:
            plain = " ".join(text.split())
            if not re.search(r"[A-Za-z]{3,}", plain) or any(element.within(tag) for tag in ("bdi", "option", "time")):
                continue
            left.add(plain)
    ours = {text for text in left if not any(mark in text for mark in "[]~") and not set(text) & set("áčéíñóšúý")}
    assert ours <= DATA, ours - DATA


DATA = {
    "Shown next to your posts.",
    "So that we can reach you about your account.",
    "So that times are right for you.",
    "So that pages start in your language.",
    "So that members can find you.",
    "So that members can greet you.",
    "So that we can reach you.",
    "Your posts are signed with it.",
    "To tell you when somebody answers.",
    "Shown beside your posts.",
    "To greet you.",
    "I wrote this",
}
"""Words of settings and people in the gallery: shown as they are."""


def _request(query: str = "", accept: str = "", cookie: str = "") -> Request:
    headers = [(b"accept-language", accept.encode()), (b"cookie", cookie.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": headers})


@pytest.fixture
def two() -> Renderer:
    return Renderer(brand="Doorward", locales=("en", "fr"), default_locale="en", templates=paths.templates())


def test_the_choice_of_a_language_goes_from_the_nearest_wish_to_the_default(two: Renderer) -> None:
    cookie = "doorward8000_lang=en"
    assert two.choose_locale(_request("lang=fr", "en", cookie)) == "fr"
    assert two.choose_locale(_request("", "en", cookie), "fr") == "fr"
    assert two.choose_locale(_request("", "fr", cookie)) == "en"
    assert two.choose_locale(_request("", "de, fr-CA;q=0.8, en;q=0.5")) == "fr"
    assert two.choose_locale(_request("", "de")) == "en"
    assert two.locale_for(("de", "fr-FR"), "en") == "fr"
    assert two.locale_for(("de",), "en") == "en"


def test_pseudo_languages_are_offered_only_where_the_settings_name_them(two: Renderer) -> None:
    assert two.supported("qps") == ""
    assert two.choose_locale(_request("lang=qps", "qps-rtl")) == "en"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fr;q=0", ""),
        ("*", ""),
        ("en;q=0.1, fr;q=0.9", "fr"),
        ("fr;q=banana", ""),
        (",,;=", ""),
        ("FR_ca", "fr"),
        ("x" * 5000, ""),
    ],
)
def test_accept_language_is_read_as_the_rfc_says_and_never_fails(header: str, expected: str) -> None:
    languages = Languages(paths.templates() / "locales", ("en", "fr"), "en")
    assert languages.accepted(header) == expected


def test_a_language_without_a_catalogue_stops_the_start() -> None:
    with pytest.raises(FileNotFoundError):
        Languages(paths.templates() / "locales", ("en", "de"), "en")


def test_pseudo_text_is_a_third_longer_and_keeps_what_machines_read() -> None:
    text = pseudo('Sign in to %(site)s at <a href="/me">My account</a>')
    assert "%(site)s" in text
    assert '<a href="/me">' in text
    plain = "Choose what to use from the list"
    assert len(pseudo(plain)) >= 1.35 * len(plain)
    assert pseudo(plain) != plain


def test_dates_read_as_people_write_them() -> None:
    languages = Languages(paths.templates() / "locales", ("en", "fr"), "en")
    moment = datetime(2026, 11, 20, 14, 32, tzinfo=timezone(timedelta(hours=1), "CET"))
    assert when_text(moment, languages.all["en"]) == "20 Nov 2026, 14:32 CET"
    assert when_text(moment, languages.all["fr"]) == "20 nov. 2026, 14:32 CET"
    assert day_text(date(2026, 11, 2), languages.all["en"]) == "2 Nov 2026"


def test_languages_are_named_in_the_readers_language() -> None:
    languages = Languages(paths.templates() / "locales", ("en", "fr"), "en")
    assert language_name("sr-Latn", languages.all["en"]) == "Serbian (Latin)"
    assert language_name("de", languages.all["fr"]) == "allemand"
    assert language_name("<b>", languages.all["fr"]) == "<b>"


def test_plurals_follow_the_language(documents: Mapping[tuple[str, str], Element]) -> None:
    assert "1 way to sign in." in documents["en", "me"].one("main").text
    assert "2 sites reliés." in documents["fr", "me"].one("main").text
    assert "41 fois" in documents["fr", "history"].one("main").text

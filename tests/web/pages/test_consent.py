"""What the pages that ask for a choice must never do (promises P3, P4, P8, P16)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from broker.web.pages.words import MERGE_PROBLEMS
from tests.web.pages.markup import Element

Documents = Mapping[tuple[str, str], Element]
CONSENT = (
    "preview", "preview-declined", "preview-nothing", "share", "share-more", "opt-in", "opt-in-lasting", "opt-in-person", "post",
    "post-person", "policy", "close", "merge", "merge-start",
)  # fmt: skip
PUSHY = (
    "just", "simply", "unlock", "best experience", "recommended", "don't miss", "oops", "awesome", "easily",
    "authenticate", "authorise", "authorize", "grant", "consent", "scope", "claim", "federated", "token", "revoke", "opt in",
)  # fmt: skip


def _choices(document: Element) -> list[Element]:
    (group,) = [box for box in document.all("div") if box.get("class") == "actions equal"]
    return group.all("button", "a")


@pytest.mark.parametrize("name", CONSENT)
def test_yes_and_no_look_the_same_and_stand_in_one_form(documents: Documents, name: str) -> None:
    choices = _choices(documents["en", name])
    assert len(choices) == (3 if name == "share-more" else 2)
    assert {choice.get("class") for choice in choices} == {"btn"}
    assert all(choice.within("form") for choice in choices)
    assert not any("disabled" in choice.attributes or "autofocus" in choice.attributes for choice in choices)


@pytest.mark.parametrize("name", CONSENT)
def test_the_answer_says_what_it_does(documents: Documents, name: str) -> None:
    """A verb with what it is about: never "OK", "Yes" or "Agree" alone."""
    assert all(len(choice.text.split()) >= 2 for choice in _choices(documents["en", name]))


def test_the_three_answers_to_a_site_that_asks_for_more(documents: Documents) -> None:
    choices = [(choice.get("name"), choice.get("value")) for choice in _choices(documents["en", "share-more"])]
    assert choices == [("decision", "share"), ("decision", "keep"), ("decision", "refuse")]


def test_nothing_is_ticked_unless_the_person_ticked_it(documents: Documents) -> None:
    """Only a failed submit of the same person, or a choice they saved, may show a tick."""
    theirs = {"preview-error": {"use-zoneinfo"}, "finish-error": {"n-club"}}
    merging = {f"merge-{problem}": {"stays-other", "v-name-other", "n-1-other"} for problem in MERGE_PROBLEMS}
    theirs |= merging | {"merge-stays": {"v-name-other", "n-1-other"}}
    for (locale, name), document in documents.items():
        ticked = {box.get("id") for box in document.all("input") if "checked" in box.attributes}
        assert ticked == theirs.get(name, set()), (locale, name)


def test_no_optional_value_is_selected_beforehand(documents: Documents) -> None:
    (zone,) = [select for select in documents["en", "finish"].all("select") if select.get("id") == "zoneinfo"]
    assert next(option.get("value") for option in zone.all("option")) == ""
    assert not [option for option in zone.all("option") if "selected" in option.attributes]


def test_needed_fields_have_no_tick_and_optional_ones_do(documents: Documents) -> None:
    ticks = {box.get("value") for box in documents["en", "preview"].all("input") if box.get("type") == "checkbox"}
    assert ticks == {"picture", "zoneinfo", "locale"}
    ticks = {box.get("value") for box in documents["en", "share"].all("input") if box.get("type") == "checkbox"}
    assert ticks == {"email", "picture", "family_name"}


@pytest.mark.parametrize("name", ["preview", "share"])
def test_each_field_says_purpose_and_audience(documents: Documents, name: str) -> None:
    audiences = (
        "Only you see it.",
        "Only you and the admins see it.",
        "Signed-in members see it.",
        "Everyone can see it.",
    )
    rows = [row for row in documents["en", name].all("li") if row.get("class") == "field"]
    rows = [row for row in rows if "private number" not in row.text]
    assert len(rows) >= 5
    for row in rows:
        (meta,) = [text for text in row.all("p") if text.get("class") == "meta"]
        assert any(audience in meta.text for audience in audiences), row.text
        assert len(meta.text) > len(max(audiences, key=len)), row.text


def test_each_field_of_the_preview_says_where_it_came_from(documents: Documents) -> None:
    text = documents["en", "preview"].one("main").text
    for words in (
        "From Facebook (sandbox).",
        "checked by Facebook (sandbox)",
        "From your browser, not",
        "did not send one",
    ):
        assert words in text


def test_the_preview_says_when_anything_is_saved(documents: Documents) -> None:
    """Decision 16: the account is born on the next page."""
    assert "Nothing is saved until you create your account" in documents["en", "preview"].one("main").text


def test_enter_in_a_text_box_means_continue(documents: Documents) -> None:
    """The first button of the form is what the Enter key presses; asking again belongs to another form."""
    document = documents["en", "preview-declined"]
    form = document.all("form")[0]
    own = [button for button in form.all("button") if not button.get("form")]
    assert own[0].get("value") == "continue"
    asking = [button for button in form.all("button") if button.get("form") == "ask-again"]
    assert len(asking) == 2


def test_sign_up_says_posting_is_off_and_offers_no_way_to_turn_it_on(documents: Documents) -> None:
    """Decision 17."""
    document = documents["en", "finish"]
    assert "Posting to Facebook is off." in document.one("main").text
    assert not [box for box in document.all("input", "button") if "post" in box.get("name").lower()]


def test_every_way_out_of_our_pages_names_host_and_policy_first(documents: Documents) -> None:
    """Promise P16."""
    main = documents["en", "chooser"].one("main")
    assert "facebook.example" in main.text
    assert [link for link in main.all("a") if link.get("href") == "https://facebook.example/privacy"]


@pytest.mark.parametrize("name", [*CONSENT, "chooser", "finish", "me", "sites", "ways", "posting", "sign-out"])
def test_no_pushing_and_no_jargon(documents: Documents, name: str) -> None:
    text = f" {documents['en', name].one('main').text.lower()} "
    found = [word for word in PUSHY if f" {word} " in text or f" {word}." in text or f" {word}s " in text]
    assert found == []
    assert "!" not in text


@pytest.mark.parametrize("name", [*CONSENT, "finish", "chooser"])
def test_a_twelve_year_old_can_read_it(documents: Documents, name: str) -> None:
    """Flesch-Kincaid grade: words per sentence and syllables per word; 7 is read by twelve-year-olds."""
    blocks = [element.text for element in documents["en", name].one("main").all("p", "li", "h1", "h2") if element.text]
    text = ". ".join(block.rstrip(".") for block in blocks)
    sentences = [part for part in text.replace("?", ".").split(". ") if part.strip()]
    words = [word for word in text.split() if any(letter.isalpha() for letter in word)]
    syllables = sum(_syllables(word) for word in words)
    grade = 0.39 * len(words) / len(sentences) + 11.8 * syllables / len(words) - 15.59
    assert grade <= 7, grade


def _syllables(word: str) -> int:
    letters = [letter for letter in word.lower() if letter.isalpha()]
    groups, before = 0, False
    for letter in letters:
        vowel = letter in "aeiouy"
        groups += vowel and not before
        before = vowel
    if len(letters) > 2 and letters[-1] == "e" and letters[-2] not in "aeiouyl":
        groups -= 1
    return max(groups, 1)


def test_every_state_names_a_reference_and_a_way_out(documents: Documents) -> None:
    for (locale, name), document in documents.items():
        if name.startswith("error-"):
            assert "K7Q2-91" in document.one("main").text, (locale, name)
            assert [link for link in document.one("main").all("a") if "btn" in link.get("class")], (locale, name)
            assert document.one("main").all("time"), (locale, name)


def test_confirmations_are_announced(documents: Documents) -> None:
    for name in ("done-saved", "done-removed", "done-ended"):
        notices = [text for text in documents["en", name].one("main").all("p") if text.get("role") == "status"]
        assert len(notices) == 1

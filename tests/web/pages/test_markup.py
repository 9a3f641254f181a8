"""Every page in every state and language is sound HTML that a screen reader, a keyboard and a strict policy can live with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from broker.web import pages
from broker.web.render import Renderer
from tests.web.pages.gallery import gallery
from tests.web.pages.markup import Element, read

Documents = Mapping[tuple[str, str], Element]
_INPUTS = ("input", "select", "textarea")


def test_every_page_context_is_in_the_gallery() -> None:
    """A page that nobody looks at is a page that breaks."""
    shown = {type(page) for page in gallery().values()}
    contexts = {
        item
        for name in pages.__all__
        if isinstance(item := getattr(pages, name), type) and issubclass(item, pages.Page)
    }
    assert contexts - {pages.Page, pages.AccountPage} == shown


def test_markup_is_well_formed(rendered: Mapping[tuple[str, str], bytes]) -> None:
    faults = {key: found for key, html in rendered.items() if (found := read(html)[1])}
    assert faults == {}


def test_ids_are_unique_and_every_reference_leads_somewhere(documents: Documents) -> None:
    for key, document in documents.items():
        ids = [element.get("id") for element in document.all() if element.get("id")]
        assert len(ids) == len(set(ids)), key
        for element in document.all():
            for attribute in ("for", "aria-describedby", "aria-labelledby", "form"):
                for target in element.get(attribute).split():
                    assert target in ids, (key, attribute, target)
            if element.tag == "a" and element.get("href").startswith("#"):
                assert element.get("href")[1:] in ids, (key, element.get("href"))


def test_every_page_has_a_title_one_heading_and_levels_without_gaps(documents: Documents) -> None:
    for key, document in documents.items():
        title = document.one("title").text
        assert title.endswith("– Sailing Club Login"), key
        assert len(title) > len("– Sailing Club Login") + 3, key
        levels = [int(heading.tag[1]) for heading in document.all("h1", "h2", "h3", "h4")]
        assert levels.count(1) == 1, key
        body = levels[1:] if "error" in key[1] and levels[0] == 2 else levels
        if levels[0] == 2:  # the error summary stands before the heading
            body = levels[1:]
        assert body[0] == 1, (key, levels)
        for before, after in pairwise(body):
            assert after - before <= 1, (key, levels)


def test_every_field_has_a_visible_label(documents: Documents) -> None:
    for key, document in documents.items():
        labels = {label.get("for"): label for label in document.all("label")}
        for element in document.all(*_INPUTS):
            if element.get("type") == "hidden":
                continue
            assert labels[element.get("id")].text, (key, element.attributes)


def test_every_picture_has_an_alternative_and_drawings_are_hidden(documents: Documents) -> None:
    for key, document in documents.items():
        for image in document.all("img"):
            assert "alt" in image.attributes, key
            assert image.get("src").startswith(("/", "data:image/")), key
        for drawing in document.all("svg"):
            assert drawing.get("aria-hidden") == "true", key


def test_buttons_and_links_say_something(documents: Documents) -> None:
    for key, document in documents.items():
        for element in document.all("a", "button", "summary", "th"):
            assert element.text, (key, element.attributes)


def test_every_post_form_carries_the_token_once_and_no_get_form_does(documents: Documents) -> None:
    """Catalogue 82: without it the guard answers 403. What is posted to a site carries nothing of ours."""
    for key, document in documents.items():
        for form in document.all("form"):
            if form.get("id") == "post-back":
                assert "tok-1" not in str([field.attributes for field in form.all("input")]), key
                continue
            tokens = [field.get("value") for field in form.all("input") if field.get("name") == "csrf"]
            assert tokens == (["tok-1"] if form.get("method") == "post" else []), (key, form.attributes)
            assert form.get("action").startswith("/"), key


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(documents: Documents) -> None:
    """The policy forbids it; a page that needed it would break (promise P13)."""
    for key, document in documents.items():
        for element in document.all():
            names = set(element.attributes)
            assert "style" not in names, (key, element.tag)
            assert not {name for name in names if name.startswith("on")}, (key, element.tag)
            assert element.tag not in {"style", "iframe", "object", "embed", "base"}, key
            if element.tag == "script":
                assert element.get("src").startswith(("/static/app.", "/static/passkey.")), key
                assert not element.text, key
            if element.tag == "link":
                assert element.get("href").startswith("/static/"), key
            assert not element.get("href").lower().startswith(("javascript:", "data:")), key


def test_nothing_takes_the_focus_but_the_error_summary(documents: Documents) -> None:
    for key, document in documents.items():
        for element in document.all():
            if "autofocus" in element.attributes:
                assert element.get("role") == "alert", key


def test_an_error_is_said_in_title_summary_and_beside_the_field(documents: Documents) -> None:
    for name in ("preview-error", "finish-error", "share-error", "details-error"):
        document = documents["en", name]
        assert document.one("title").text.startswith("Error: "), name
        (summary,) = [box for box in document.all("div") if box.get("role") == "alert"]
        for link in summary.all("a"):
            assert (
                len([err for err in document.all("p") if err.get("class") == "err" and err.text.endswith(link.text)])
                == 1
            )
        wrong = [box for box in document.all("input") if box.get("aria-invalid") == "true"]
        assert len(wrong) == len(summary.all("a")), name


def test_what_was_typed_is_still_there_after_an_error(documents: Documents) -> None:
    (box,) = [box for box in documents["en", "preview-error"].all("input") if box.get("id") == "v-email"]
    assert box.get("value") == "ana@"


def test_people_and_sites_are_kept_from_reordering_the_page(documents: Documents) -> None:
    """Names stand in `<bdi>` wherever they are part of a text (WCAG 1.3.2; catalogue 131)."""
    for (locale, name), document in documents.items():
        for text, element in document.one("body").texts:
            for value in ("Ana Marković", "Sailing Forum", "ana@example.com"):
                if value in text:
                    assert element.within("bdi") or element.within("option"), (locale, name, text)


def test_markup_in_somebodys_name_stays_text(rendered: Mapping[tuple[str, str], bytes]) -> None:
    """Catalogue 130 and 131: HTML, quotes, overrides, emoji and 10 000 characters in names are shown, cut short, never run."""
    for (locale, name), html in rendered.items():
        assert b"<script>alert" not in html, (locale, name)
        if name.startswith("nasty"):
            assert b"&lt;script&gt;alert(1)" in html, (locale, name)
            assert len(html) < 40_000, (locale, name)


def test_no_page_is_larger_than_thirty_kilobytes_with_everything_it_loads(
    rendered: Mapping[tuple[str, str], bytes], show: Renderer
) -> None:
    loaded = sum(len(body) for body, _ in show.files.values())
    largest = {
        key: size
        for key, html in rendered.items()
        if (size := len(html) + loaded) > 30 * 1024 and key[1][:5] != "nasty"
    }
    assert largest == {}


def test_every_language_link_leads_back_to_the_same_page(documents: Documents) -> None:
    links = [link.get("href") for link in documents["en", "chooser"].one("footer").all("a")]
    assert "/language?to=fr&back=/f/abc/details%3Fx%3D1%26y" in links


def test_help_stands_in_the_same_place_everywhere(documents: Documents) -> None:
    """WCAG 3.2.6."""
    orders = {
        tuple(link.get("href") for link in document.one("footer").all("a"))[:5] for document in documents.values()
    }
    assert orders == {("/privacy", "/terms", "/cookies", "/accessibility", "/help")}


@pytest.mark.parametrize(
    ("locale", "direction", "lang"), [("en", "ltr", "en"), ("fr", "ltr", "fr"), ("qps-rtl", "rtl", "ar-XB")]
)
def test_pages_say_their_language_and_direction(documents: Documents, locale: str, direction: str, lang: str) -> None:
    html = documents[locale, "chooser"].one("html")
    assert (html.get("dir"), html.get("lang")) == (direction, lang)


def _css(show: Renderer) -> str:
    return next(body.decode() for name, (body, _) in show.files.items() if name.startswith("base."))


def test_style_uses_logical_properties_only(show: Renderer) -> None:
    """Left and right would be wrong from right to left."""
    for word in ("left", "right"):
        assert not re.findall(rf"[\w-]*{word}[\w-]*\s*:", _css(show)), word


def test_text_has_contrast_on_every_button_and_surface(show: Renderer) -> None:
    """WCAG 1.4.3 for text (4.5:1), 1.4.11 for edges (3:1), in light and dark."""
    tokens = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, ?#\w+)\)", _css(show)))
    for mode in (0, 1):
        colour = {name: pair.split(",")[mode].strip() for name, pair in tokens.items()}
        for text in ("text", "muted", "brand", "error", "ok"):
            for surface in ("bg", "surface"):
                assert _contrast(colour[text], colour[surface]) >= 4.5, (mode, text, surface)
        assert _contrast(colour["on-brand"], colour["brand"]) >= 4.5
        assert _contrast(colour["line"], colour["bg"]) >= 3
        assert _contrast(colour["focus"], colour["bg"]) >= 3
    rules = list(_brand_rules(_css(show)))
    assert {name for name, *_ in rules} >= {"facebook", "google", "apple", "openid", "github", "discord", "mastodon"}
    for name, background, text in rules:
        assert _contrast(background, text) >= 4.5, (name, background, text)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", ["Continue with Apple", "Continue with Google", "Sign in through Steam", "Sign in with GitHub", "Sign in with Microsoft"]),
        ("fr", ["Continuer avec Apple", "Se connecter par Steam", "Se connecter avec Microsoft"]),
    ],
)  # fmt: skip
def test_a_button_has_the_words_of_its_brand(documents: Documents, locale: str, words: list[str]) -> None:
    said = " ".join(documents[locale, "chooser-last"].text.split())
    for one in words:
        assert one in said


def _brand_rules(css: str) -> Iterator[tuple[str, str, str]]:
    for name, body in re.findall(r"\.idp\.(\w+)[^{]*\{([^}]*)\}", css):
        background = re.search(r"background: (light-dark\((#\w+), (#\w+)\)|#\w+)", body)
        text = re.search(r"[; ]color: (light-dark\((#\w+), (#\w+)\)|#\w+)", body)
        assert background, name
        assert text, name
        for mode in (2, 3):
            yield name, background[mode] or background[1], text[mode] or text[1]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = (int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_language_is_chosen_and_a_time_zone_shows_how_it_is_spelled(show: Renderer) -> None:
    """Nobody has to know that French is written `fr`; a language that is not ours stays what it is."""
    fields = (
        pages.AccountField(claim="locale", value="sr-Latn", purpose="Shown.", audience="everyone"),
        pages.AccountField(claim="zoneinfo", purpose="Shown.", audience="everyone"),
    )
    html = show.page(
        pages.AccountDetails(name="Ana", fields=fields), locale="en", csrf_token="t", request_path="/"
    ).decode()
    choice = html.partition("<select")[2].partition("</select>")[0]
    assert re.findall(r'<option value="([\w-]*)"[^>]*?( selected)?>', choice)[:4] == [
        ("", ""), ("sr-Latn", " selected"), ("en", ""), ("fr", "")
    ]  # fmt: skip
    assert '<p class="hint" id="v-zoneinfo-h">Such as Europe/Paris or America/New_York.</p>' in html
    assert 'spellcheck="false" aria-describedby="v-zoneinfo-h"' in html


def test_a_picture_that_is_not_there_cannot_be_removed(show: Renderer) -> None:
    field = pages.AccountField(claim="picture", value="", source="person", purpose="Shown.", audience="everyone")
    html = show.page(pages.AccountDetails(name="Ana", fields=(field,)), locale="en", csrf_token="t", request_path="/")
    assert b"Remove" not in html
    filled = pages.AccountField(claim="picture", value="x", source="person", purpose="Shown.", audience="everyone")
    html = show.page(pages.AccountDetails(name="Ana", fields=(filled,)), locale="en", csrf_token="t", request_path="/")
    assert b"Remove my picture" in html

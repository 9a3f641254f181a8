"""Rendering: strict contexts, overrides, static files."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from broker import paths
from broker.errors import NotFound
from broker.web import pages
from broker.web.pages import words
from broker.web.pages.problems import WORDS
from broker.web.render import Renderer
from tests.web.pages.gallery import LATER, NOW, gallery


def _renderer(*overrides: Path) -> Renderer:
    return Renderer(
        brand="Our <Club>", locales=("en", "fr"), default_locale="en", templates=paths.templates(), overrides=overrides
    )


def _show(renderer: Renderer, page: pages.Page) -> str:
    return renderer.page(page, locale="en", csrf_token='"><x', request_path="/").decode()


def test_brand_and_token_are_escaped() -> None:
    html = _show(_renderer(), gallery()["chooser"])
    assert "Our &lt;Club&gt;" in html
    assert '"><x' not in html


def test_a_template_that_asks_for_what_its_context_lacks_fails(tmp_path: Path) -> None:
    """A misspelt name in a template is an error, never an empty place."""
    (tmp_path / "sign_in").mkdir()
    (tmp_path / "sign_in" / "leaving.html").write_text("{{ page.nothing_like_that }}")
    with pytest.raises(UndefinedError):
        _show(_renderer(tmp_path), pages.Leaving(to="x", url="/"))


def test_a_template_can_be_overridden_and_can_build_on_ours(tmp_path: Path) -> None:
    (tmp_path / "layout.html").write_text('{% extends "!layout.html" %}{% block footer %}Our own footer{% endblock %}')
    html = _show(_renderer(tmp_path), gallery()["leaving"])
    assert "Our own footer" in html
    assert "Continue to" in html


def test_static_files_are_named_by_their_content_and_kept_for_good() -> None:
    renderer = _renderer()
    for name in renderer.files:
        response = renderer.static(name)
        assert "immutable" in response.headers["cache-control"]
        assert len(name.split(".")) == 3
    for wrong in ("base.css", "../layout.html", "base.000000000000.css", ""):
        with pytest.raises(NotFound):
            renderer.static(wrong)


def test_static_names_change_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "base.css").write_text("body{}")
    before, after = _show(_renderer(), gallery()["leaving"]), _show(_renderer(tmp_path), gallery()["leaving"])
    assert before.partition("/static/base.")[2][:12] != after.partition("/static/base.")[2][:12]


async def test_every_template_compiles() -> None:
    await _renderer().warm()


@pytest.mark.parametrize("script", ["app.", "passkey."])
def test_script_is_small_and_writes_no_markup(script: str) -> None:
    body = next(body.decode() for name, (body, _) in _renderer().files.items() if name.startswith(script))
    assert len(body) <= 4096
    for word in ("innerHTML", "eval", "localStorage", "document.cookie", "fetch(", "import("):
        assert word not in body or (word == "innerHTML" and body.count(word) == 1)  # named once, in the comment


def test_every_error_code_has_words_and_a_way_out() -> None:
    for code in WORDS:
        page = pages.error_page(code, reference="K7Q2-91", at=NOW)
        assert page.title.text
        assert page.paragraphs
        assert page.ways
        assert {way.kind for way in page.ways} <= set(words.WAYS)


def test_every_error_that_a_person_can_meet_has_its_own_page() -> None:
    """Whatever `broker.errors` can say to a person or about a provider is in the catalogue (ux: every state has its page)."""
    from broker import errors
    from broker.web.pages.problems import ALIASES

    def leaves(kind: type[errors.BrokerError]) -> set[type[errors.BrokerError]]:
        return {kind}.union(*(leaves(sub) for sub in kind.__subclasses__()))

    heard = (leaves(errors.InteractionError) | leaves(errors.UpstreamError)) - {
        errors.InteractionError,
        errors.UpstreamError,
    }
    assert sorted(kind.code for kind in heard if kind.code not in WORDS and kind.code not in ALIASES) == []


def test_waiting_is_told_in_minutes_and_by_the_clock() -> None:
    html = _show(_renderer(), pages.error_page("too_many_attempts", reference="K7Q2-91", at=NOW, retry_at=LATER))
    assert "14:41 CET" in html
    assert "9 minutes" in html


def test_ways_lead_where_the_handler_says_and_unknown_sites_are_not_named() -> None:
    page = pages.error_page("sign_in_expired", reference="r", at=NOW, urls={"start_again": "/again"})
    assert [way.url for way in page.ways] == ["/again"]
    page = pages.error_page("invalid_redirect_uri", reference="r", at=NOW)
    assert page.title.text == WORDS["unknown_client"].title

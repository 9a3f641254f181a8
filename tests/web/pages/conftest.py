"""Every page of the gallery in every language, rendered once."""

from __future__ import annotations

import pytest

from broker.web.render import Renderer
from tests.web.pages.gallery import LOCALES, gallery, renderer
from tests.web.pages.markup import Element, read


@pytest.fixture(scope="session")
def show() -> Renderer:
    return renderer()


@pytest.fixture(scope="session")
def rendered(show: Renderer) -> dict[tuple[str, str], bytes]:
    """HTML by (language, page)."""
    return {
        (locale, name): show.page(page, locale=locale, csrf_token="tok-1", request_path="/f/abc/details?x=1&y")
        for locale in LOCALES
        for name, page in gallery().items()
    }


@pytest.fixture(scope="session")
def documents(rendered: dict[tuple[str, str], bytes]) -> dict[tuple[str, str], Element]:
    """Read documents by (language, page)."""
    return {key: read(html)[0] for key, html in rendered.items()}

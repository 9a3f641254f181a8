from __future__ import annotations
import pytest
from tests.browser.town import Town
pytest_plugins=()
pytestmark = pytest.mark.browser

@pytest.mark.parametrize("javascript", [True, False])
def test_try(town: Town, javascript: bool) -> None:
    with town.visitor(javascript=javascript) as v:
        v.start_at(town.forum, "/t/1", "Sailing Forum")
        v.be("normal" if javascript else "jonas")
        print(v.page.url); print(v.page.locator("body").aria_snapshot())
        v.sign_up("ana" if javascript else "jonas", keep=["Profile picture"])
        v.meet("Share these with Sailing Forum?")
        print(v.page.locator("body").aria_snapshot())
        v.press("Share and continue")
        v.page.wait_for_url(town.forum + "/t/1")
        print(v.page.locator("body").aria_snapshot())

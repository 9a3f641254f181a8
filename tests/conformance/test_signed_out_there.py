"""The OpenID Foundation's modules for relying parties that sign people out at the provider, each as a test of the same name.

(oidcc-client-rp-initiated-logout-rp-basic) Who signs out of everything here is offered to sign out there too; what comes back
counts only with the `state` that we sent along.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.support.house import (
    ISSUER,
    OPENID_CLIENT,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)

OFFERED = PROVIDERS_TOML + "rp_initiated_logout = true\n"
BUTTON = "Sign out of Club OpenID too"
BACK = "/signed-out/openid"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=OFFERED) as opened:
        yield opened


async def signed_out(house: House, address: str = "/signout") -> Browser:
    """Lucas came by the provider to the forum, and has signed out of everything here."""
    browser = house.browser()
    arrived = await browser.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    assert isinstance(arrived, Arrival)
    await browser.open(address)
    after = await browser.press("what=everything")
    assert isinstance(after, Shown)
    assert after.path == "/signed-out"
    return browser


def asked(browser: Browser) -> dict[str, str]:
    """What the provider's page for signing out was last asked."""
    url = next(str(one.url) for one in reversed(browser.history) if one.url.path == "/end-session")
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


async def test_oidcc_client_test_rp_init_logout(house: House) -> None:
    """There and back. The site that asked gets them back by the button; nobody is hurried away from the question."""
    forum = urlencode({"client_id": "forum", "post_logout_redirect_uri": "https://forum.test/bye", "state": "s-1"})
    browser = await signed_out(house, f"/end-session?{forum}")
    assert "You are still signed in at Club OpenID." in browser.page.text
    assert "refresh" not in browser.page.response.headers
    shown = await browser.press(BUTTON)
    assert isinstance(shown, Shown)
    assert shown.response.headers["refresh"] == "3; url=https://forum.test/bye?state=s-1"
    told = asked(browser)
    assert set(told) == {"client_id", "post_logout_redirect_uri", "state", "ui_locales"}
    assert (told["client_id"], told["post_logout_redirect_uri"]) == (OPENID_CLIENT, f"{ISSUER}{BACK}")
    assert told["ui_locales"] == "en"
    assert "lucas" not in told["state"]
    assert shown.path == "/signed-out"
    assert "Club OpenID: signed out, as it says" in shown.text
    assert "Club Login: signed out" in shown.text
    assert BUTTON not in shown.text
    assert ("Back to Forum", "https://forum.test/bye?state=s-1") in shown.links
    assert not house.openid.state.sessions


async def unproved(house: House, fault: str) -> None:
    """The provider's session is over; that we cannot say so is said."""
    browser = await signed_out(house)
    await house.openid.order(fault={"name": fault})
    shown = await browser.press(BUTTON)
    assert isinstance(shown, Shown)
    assert (shown.status, shown.path) == (400, BACK)
    assert shown.headings[0] == "We cannot say whether you are signed out at Club OpenID"
    assert "as it says" not in shown.text
    assert asked(browser)["state"]


async def test_oidcc_client_test_rp_init_logout_other_state(house: House) -> None:
    await unproved(house, "logout-state-wrong")


async def test_oidcc_client_test_rp_init_logout_no_state(house: House) -> None:
    """The module leaves it out of the answer, too, where we had sent none: we always do."""
    await unproved(house, "logout-state-missing")


HINTED = OFFERED + "id_token_hint = true\n"


async def test_the_provider_is_shown_its_own_word_where_the_admin_wants_it(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """What the suite's modules want: an `id_token_hint` that names the person and us; sent once, and never in a log."""
    async with open_house(tmp_path, sandboxes, providers=HINTED) as house:
        browser = await signed_out(house)
        hint_kept = dict(browser.page.find(BUTTON)[0].fields)["seen"]
        shown = await browser.press(BUTTON)
        assert isinstance(shown, Shown)
        assert "Club OpenID: signed out, as it says" in shown.text
        hint = asked(browser)["id_token_hint"]
        said = json.loads(base64.urlsafe_b64decode(hint.split(".")[1] + "=="))
        assert (said["sub"], said["aud"]) == ("sandbox-lucas", OPENID_CLIENT)
        assert hint.split(".")[1] not in house.log
        assert "(an ID token)" in (await browser.open("/privacy")).text
        assert hint not in hint_kept, "our own page's address has nothing of it"


async def test_without_that_choice_no_word_of_the_provider_is_kept(house: House) -> None:
    browser = house.browser()
    await browser.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    assert "ID token" not in (await browser.open("/privacy")).text
    (session,) = house.opened.stores.memory.sessions.rows.values()  # type: ignore[attr-defined]
    assert session.id_token is None


# --- what no module looks at --------------------------------------------------------------------------------------


async def test_the_state_is_good_for_half_an_hour_and_for_one_provider(house: House) -> None:
    browser = await signed_out(house)
    seen = dict(browser.page.find(BUTTON)[0].fields)["seen"]
    await browser.press(BUTTON)
    state = asked(browser)["state"]
    assert (await browser.open(f"{BACK}?state={state}")).path == "/signed-out"
    for wrong, status in ((f"/signed-out/facebook?state={state}", 404), (f"{BACK}?state={seen}", 400), (BACK, 400)):
        assert (await browser.open(wrong)).status == status
    assert (await browser.open("/signed-out/nobody")).status == 404
    await house.move(minutes=31)
    assert (await browser.open(f"{BACK}?state={state}")).status == 400


async def test_the_address_alone_is_of_no_use_in_another_browser(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """It shows nothing, goes nowhere, and uses nothing up: what the browser that signed out may do there, it still may."""
    async with open_house(tmp_path, sandboxes, providers=HINTED) as house:
        browser = await signed_out(house)
        url, seen = browser.page.url, dict(browser.page.find(BUTTON)[0].fields)["seen"]
        others = house.browser(), house.browser()
        await others[1].sign_up(user_name="ana")
        await others[1].open("/signout")
        await others[1].press("what=everything")
        for other in others:
            assert await is_plain(other, url)
            token = house.world.cookies.form_token("anonymous")
            sent = await other.submit("post", f"{ISSUER}/signed-out", [("csrf", token), ("seen", seen)])
            assert isinstance(sent, Shown)
            assert (sent.path, BUTTON in sent.text) == ("/signed-out", False)
        await browser.press(BUTTON)
        state = asked(browser)["state"]
        assert "id_token_hint" in asked(browser)
        assert await is_plain(others[0], f"{BACK}?state={state}")
        assert "signed out, as it says" in (await browser.open(f"{BACK}?state={state}")).text


async def test_a_browser_that_lost_the_cookie_is_signed_out_all_the_same(house: House) -> None:
    browser = await signed_out(house)
    url = browser.page.url
    browser.jar.clear()
    shown = await browser.press(BUTTON)
    assert isinstance(shown, Shown)
    assert (shown.status, shown.path) == (200, "/signed-out")
    assert await is_plain(browser, url)


async def is_plain(browser: Browser, url: str) -> bool:
    """Whether the page says that nobody is signed in, and knows of nothing else."""
    shown = await browser.open(url)
    return "You are signed out" in shown.headings and "OpenID" not in shown.text and "Forum" not in shown.text


async def test_an_old_page_sends_nobody_there(house: House) -> None:
    """Else its address could be made a new one for ever, and lead to wherever it led then."""
    browser = await signed_out(house)
    await house.move(minutes=31)
    shown = await browser.press(BUTTON)
    assert isinstance(shown, Shown)
    assert (shown.status, shown.path) == (400, "/signed-out")


async def test_a_provider_without_such_a_page_or_away_undoes_nothing(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The page says so, and can be tried again."""
    await sandboxes.openid.order(fault={"name": "discovery-no-end-session"})
    async with open_house(tmp_path, sandboxes, providers=OFFERED) as house:
        browser = await signed_out(house)
        shown = await browser.press(BUTTON)
        assert isinstance(shown, Shown)
        assert shown.path == "/signed-out"
        assert "Club OpenID cannot be reached now." in shown.text
        assert "You are still signed in at Club OpenID." in shown.text
        assert shown.find(BUTTON)


async def test_it_is_offered_only_where_the_admin_wants_it_and_only_with_everything(
    house: House, tmp_path: Path, sandboxes: Sandboxes
) -> None:
    browser = house.browser()
    await browser.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
    await browser.open("/signout")
    shown = await browser.press("what=forum")
    assert isinstance(shown, Shown)
    assert BUTTON not in shown.text
    async with open_house(tmp_path / "off", sandboxes) as without:
        off = await signed_out(without)
        assert "You are still signed in at Club OpenID." in off.page.text
        assert BUTTON not in off.page.text
        seen = urlsplit(off.page.url).query.partition("=")[2]
        token = without.world.cookies.form_token("anonymous")
        sent = await off.submit("post", f"{ISSUER}/signed-out", [("csrf", token), ("seen", seen)])
        assert isinstance(sent, Shown)
        assert sent.status == 400
        assert (await off.open(f"{BACK}?state=x")).status == 404


async def test_many_sites_do_not_make_the_state_too_long(house: House) -> None:
    """What does not fit into two addresses of somebody else's is left out; the answer counts all the same."""
    from broker.domain.values import ClientId, ProviderId, Sid
    from broker.flows.session import ToldSite
    from broker.web import signed_out as page
    from broker.web.call import Call
    from starlette.requests import Request

    call = Call(
        request=Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}),
        world=house.world,
    )
    sites = tuple(ToldSite(client=ClientId(f"site-{number}" * 4), will_be_told=True) for number in range(40))
    for back in ("https://forum.test/bye", "https://forum.test/" + "x" * 2000):
        ended = page.Ended(
            at=house.clock.now(),
            sid=Sid("s"),
            is_everything=True,
            provider=ProviderId("openid"),
            sites=sites,
            client=ClientId("forum"),
            return_url=back,
        )
        state = page._state(call, ended)
        assert len(state) <= page.MAX_STATE
        opened = page._opened(call, state, page.AT_PROVIDER)
        assert opened is not None
        assert (opened.provider, opened.sites) == ("openid", ())
        assert opened.return_url == (back if len(back) < 100 else "")

"""Community sites in Node, over https: `openid-client` signs people in, `jose` judges the tokens, and nothing of ours does.

Also the example site that stands beside the sign-in kit, as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.journeys.node_sites import FLOW, SITE, Town, on_the_wire
from tests.support.house import Arrival, Sandboxes
from tests.support.source import ROOT
from tests.support.tls import Authority

from broker.domain import status
from broker.flows.status import LOOK_EVERY


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    async with on_the_wire(tmp_path, sandboxes, authority) as opened:
        yield opened


@pytest.mark.parametrize("name", ["forum", "node"])
async def test_openid_client_signs_people_in_and_jose_believes_it(town: Town, name: str) -> None:
    """RS256 and ES256: discovery, PKCE, state, nonce, response iss, userinfo, session token, renewal, three refusals."""
    ana = await town.visitor("ana")
    async with town.flow(name) as flow:
        told = await flow.said()
        assert "authorization_url" in told, told
        shown = await ana.open(told["authorization_url"])
        assert shown.path.endswith("/site")
        end = await ana.press("decision=share", tick=("email",))
        assert isinstance(end, Arrival)
        assert end.params["iss"] == town.base
        await flow.tell(end.url)
        result = await flow.said()
    assert result["ok"] is True, result
    claims, session, userinfo = result["claims"], result["session"], result["userinfo"]
    assert claims["iss"] == town.base
    assert claims["sub"] == session["sub"] == userinfo["sub"]
    assert {"name", "email"}.isdisjoint(claims)
    assert (session["email"], userinfo["email"], session["aud"]) == ("ana@mail.test", "ana@mail.test", name)
    assert result["refused"] == {"id_token": "wrong_type", "another_site": "wrong_audience", "changed": "bad_signature"}
    assert result["rotated"] is True
    assert result["sign_out_url"].startswith(f"{town.base}/end-session?")


async def test_a_program_that_does_not_know_the_authority_gets_nowhere(town: Town) -> None:
    """The certificate is really looked at: without the authority there is not even discovery."""
    async with town.flow("node", trusting=False) as flow:
        result = await flow.said()
    assert (result["ok"], result["step"]) == (False, "discovery")
    assert "/.well-known" not in town.house.log


async def test_openid_client_refuses_an_answer_of_another_issuer(town: Town) -> None:
    """It checks the `iss` we promise (RFC 9207; catalogue 13)."""
    ana = await town.visitor("ana")
    async with town.flow("node") as flow:
        await ana.open((await flow.said())["authorization_url"])
        end = await ana.press("decision=share")
        assert isinstance(end, Arrival)
        await flow.tell(end.url.replace("iss=https", "iss=https%3A%2F%2Fevil.test%2F&x=https"))
        result = await flow.said()
    assert (result["ok"], result["step"]) == (False, "code")


async def test_the_example_site_signs_in_and_out(town: Town) -> None:
    """From "not signed in" to "signed in as", and out again through our own page."""
    ana = await town.visitor("ana")
    async with town.site() as site:
        assert "not signed in" in (await site.ask("GET", "/")).text
        leaving = await site.ask("GET", "/sign-in")
        assert leaving.status_code == 303
        await ana.open(leaving.headers["location"])
        end = await ana.press("decision=share")
        assert isinstance(end, Arrival)
        back = await site.ask("GET", end.url)
        assert (back.status_code, back.headers["location"]) == (303, "/")
        assert "Signed in as ana." in (await site.ask("GET", "/")).text
        out = await site.ask("POST", "/sign-out", Origin=site.outside)
        assert out.headers["location"].startswith(f"{town.base}/end-session?")
        shown = await ana.open(out.headers["location"])
        assert "Node Site" in shown.text
        home = await ana.press("what=node")
        assert isinstance(home, Arrival)
        assert home.url == f"{site.outside}/"
        assert "not signed in" in (await site.ask("GET", "/")).text


async def test_the_example_site_sees_in_the_list_who_signed_out_elsewhere(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells it: it reads the status list (catalogue 83). Here a copy is good for a second instead of a minute."""
    monkeypatch.setattr(status, "TTL", timedelta(seconds=1))
    ana, ben = await town.visitor("ana"), await town.visitor("ben")
    async with town.site() as site:
        seen = {}
        for name, visitor in (("ana", ana), ("ben", ben)):
            site.cookies = {}
            await visitor.open((await site.ask("GET", "/sign-in")).headers["location"])
            end = await visitor.press("decision=share")
            assert isinstance(end, Arrival)
            await site.ask("GET", end.url)
            assert f"Signed in as {name}." in (await site.ask("GET", "/")).text
            seen[name] = site.cookies
        await ana.open(f"{town.base}/signout")
        await ana.press("what=everything")
        town.house.clock.move(LOOK_EVERY)
        await asyncio.sleep(1.1)
        site.cookies = seen["ana"]
        assert "not signed in" in (await site.ask("GET", "/")).text
        site.cookies = seen["ben"]
        assert "Signed in as ben." in (await site.ask("GET", "/")).text


async def test_the_example_site_takes_no_for_an_answer(town: Town) -> None:
    ana = await town.visitor("ana")
    async with town.site() as site:
        await ana.open((await site.ask("GET", "/sign-in")).headers["location"])
        end = await ana.press("decision=refuse")
        assert isinstance(end, Arrival)
        assert end.params["error"] == "access_denied"
        assert (await site.ask("GET", end.url)).headers["location"] == "/"
        assert "not signed in" in (await site.ask("GET", "/")).text


async def test_the_example_site_believes_no_stolen_answer(town: Town) -> None:
    """Another browser's callback, and one without its state."""
    ana = await town.visitor("ana")
    async with town.site() as site:
        await ana.open((await site.ask("GET", "/sign-in")).headers["location"])
        end = await ana.press("decision=share")
        assert isinstance(end, Arrival)
        mine, site.cookies = site.cookies, {}
        assert (await site.ask("GET", end.url)).headers["location"] == "/"
        assert "not signed in" in (await site.ask("GET", "/")).text
        site.cookies = mine
        code = parse_qs(urlsplit(end.url).query)["code"][0]
        assert (await site.ask("GET", f"/callback?code={code}&state=wrong&iss={town.base}")).status_code >= 400


def test_nothing_switches_the_certificate_check_off() -> None:
    """Neither here nor in the programs: no such word is written down."""
    words = ("rejectUnauthorized", "NODE_TLS_REJECT_UNAUTHORIZED", "verify=" + "False", "CERT_" + "NONE")
    places = [FLOW, SITE, *SITE.parent.glob("*.mjs"), *FLOW.parent.glob("*.mjs"), ROOT / "tests/journeys/node_sites.py"]
    for place in places:
        text = place.read_text(encoding="utf-8")
        assert not any(word in text for word in words), place

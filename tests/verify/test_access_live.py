"""`verify_access_token` against Doorward itself: what ends a grant ends its tokens at an interface that looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from doorward_verify import SessionError, Verifier
from tests.journeys.node_sites import NODE_SITES, Town, Visitor, on_the_wire
from tests.support.house import ISSUER, Arrival, Sandboxes, site_secret
from tests.support.tls import Authority

from broker.flows.status import LOOK_EVERY

API = "https://api.forum.test/"
SITES = NODE_SITES.replace(
    "[forum]\n", f'[forum]\naccess_tokens = "jwt"\nresources = ["{API}"]\nservice_scopes = ["reports:read"]\n', 1
)


@pytest.fixture
async def town(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[Town]:
    async with on_the_wire(tmp_path, sandboxes, authority, sites=SITES) as opened:
        yield opened


def interface(town: Town, mode: Any, audience: str = API) -> Verifier:
    return Verifier(
        town.base,
        audience,
        mode=mode,
        client_id="forum",
        client_secret=site_secret("forum"),
        ssl_context=town.authority.client_context(),
    )


async def code(verifier: Verifier, token: str) -> str:
    """What the interface says, as a minute later: nothing that it was told before counts any more."""
    verifier._asked.clear()
    for copy in verifier.statuses._copies.values():
        copy.good_at -= 60
    try:
        await asyncio.to_thread(verifier.verify_access_token, token)
    except SessionError as error:
        return error.code
    return "ok"


async def post(town: Town, path: str, **form: str) -> dict[str, Any]:
    """What the site's server asks, over the wire."""
    async with httpx2.AsyncClient(verify=town.authority.client_context()) as client:
        answer = await client.post(f"{town.base}{path}", data=form, auth=("forum", site_secret("forum")))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def tokens(town: Town, visitor: Visitor) -> dict[str, Any]:
    site = town.house.site("forum")
    end = await visitor.go(site.request_url(resource=API).replace(ISSUER, town.base))
    if not isinstance(end, Arrival):
        end = await visitor.press("decision=share")
    assert isinstance(end, Arrival)
    form = {"code": end.code, "redirect_uri": site.redirect_uri, "code_verifier": site.verifier_of(end)}
    return await post(town, "/token", grant_type="authorization_code", **form)


@pytest.mark.parametrize("mode", ["online", "status"])
async def test_a_token_is_good_at_its_interface_until_the_person_signs_out(town: Town, mode: str) -> None:
    """Of one person, and not of another (catalogue 77, 83)."""
    ana = await town.visitor("ana")
    mine, theirs = [(await tokens(town, one))["access_token"] for one in (ana, await town.visitor("ben"))]
    api, other = interface(town, mode), interface(town, "local", "https://other.test/")
    assert [await code(api, token) for token in (mine, theirs)] == ["ok", "ok"]
    assert await code(other, mine) == "wrong_audience"
    await ana.open(f"{town.base}/signout")
    await ana.press("what=everything")
    town.house.clock.move(LOOK_EVERY)
    assert [await code(api, token) for token in (mine, theirs)] == ["revoked", "ok"]
    assert await code(interface(town, "local"), mine) == "ok"


async def test_one_token_revoked_by_itself_is_known_to_an_interface_that_asks(town: Town) -> None:
    """As the README says: the lists know grants only."""
    token = (await tokens(town, await town.visitor("ana")))["access_token"]
    asking, reading = interface(town, "online"), interface(town, "status")
    assert (await code(asking, token), await code(reading, token)) == ("ok", "ok")
    await post(town, "/revoke", token=token)
    town.house.clock.move(LOOK_EVERY)
    assert (await code(asking, token), await code(reading, token)) == ("revoked", "ok")


@pytest.mark.parametrize("mode", ["local", "status", "online"])
async def test_a_sites_own_token_has_nobody_behind_it(town: Town, mode: str) -> None:
    """It names no list; who asks learns that it was taken back."""
    token = (await post(town, "/token", grant_type="client_credentials"))["access_token"]
    api = interface(town, mode)
    assert await code(api, token) == "ok"
    access = api.verify_access_token(token)
    assert (access.person, access.client_id, access.scopes) == (None, "forum", frozenset({"reports:read"}))
    theirs = await tokens(town, await town.visitor("ana"))
    person = (await asyncio.to_thread(api.verify_access_token, theirs["access_token"])).person
    assert person is not None
    await post(town, "/revoke", token=token)
    assert await code(api, token) == ("revoked" if mode == "online" else "ok")


async def test_neither_passes_for_the_other(town: Town) -> None:
    """Real tokens of one sign-in: an ID token and a session token are no access tokens, and the reverse (catalogue 76)."""
    answer = await tokens(town, await town.visitor("ana"))
    for audience in (API, "forum", town.base):
        verifier = interface(town, "local", audience)
        for name in ("id_token", "session_token"):
            assert await code(verifier, answer[name]) == "wrong_type"
        with pytest.raises(SessionError, match="wrong_type"):
            await asyncio.to_thread(verifier.verify, answer["access_token"])

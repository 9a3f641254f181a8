"""DPoP over HTTP: headers, challenges, nonces (RFC 9449)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import orjson
import pytest
from tests.support.client_keys import new_key, proof, thumbprint
from tests.support.house import ISSUER, House, Sandboxes, Site, site_secret
from tests.web.desk import MORE_SITES, OFFLINE, connect, member, wide_house

from broker.web.oidc.proof import PROOFS_PER_MINUTE

BOUND = """
[bound]
name = "Bound Site"
url = "https://bound.test"
redirect_uris = ["https://bound.test/callback"]
client_secret = { env = "BOUND_SECRET" }
dpop = "nonce"
gitlab_endpoints = true

[bound.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }
"""
KEY = new_key()


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    secrets = {name: site_secret(name.partition("_")[0].lower()) for name in ("OLD_SECRET", "BOUND_SECRET")}
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES + BOUND, environ=secrets) as opened:
        yield opened


async def post(site: Site, path: str, form: dict[str, str], *proofs: str) -> httpx2.Response:
    headers = [*site.auth.items(), *(("DPoP", text) for text in proofs)]
    async with site.house.client() as client:
        return await client.post(path, data=form, headers=headers)


def shown(house: House, path: str, method: str = "POST", **more: Any) -> str:
    return proof(KEY, method, f"{ISSUER}{path}", house.clock.now(), **more)


async def form_of(site: Site, **changes: str | None) -> dict[str, str]:
    arrival = await connect(await member(site.house), site, scope=OFFLINE, tick=("offline_access",), **changes)
    return {
        "grant_type": "authorization_code",
        "code": arrival.code,
        "redirect_uri": site.redirect_uri,
        "code_verifier": site.verifier_of(arrival),
    }


async def bound_token(house: House) -> dict[str, Any]:
    forum = house.site("forum")
    answer = await post(forum, "/token", await form_of(forum), shown(house, "/token"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def ask(house: House, *headers: tuple[str, str], path: str = "/userinfo") -> httpx2.Response:
    async with house.client() as client:
        return await client.get(path, headers=list(headers))


async def test_a_key_shown_at_the_token_endpoint_binds_what_it_gets(house: House) -> None:
    """And every answer to a proof has a nonce for the next one (RFC 9449 §5, §8.2)."""
    forum = house.site("forum")
    answer = await post(forum, "/token", await form_of(forum), shown(house, "/token"))
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
    nonce = answer.headers["dpop-nonce"]
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    again = await post(forum, "/token", refresh, shown(house, "/token", nonce=nonce))
    assert (again.status_code, again.headers["dpop-nonce"]) == (200, nonce)
    described = await forum.introspect(again.json()["access_token"])
    assert described["cnf"] == {"jkt": thumbprint(KEY)}


async def test_without_a_proof_there_is_no_nonce(house: House) -> None:
    forum = house.site("forum")
    answer = await post(forum, "/token", await form_of(forum))
    assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")
    assert "dpop-nonce" not in answer.headers
    assert "dpop-nonce" not in (await forum.userinfo(answer.json()["access_token"])).headers


async def test_a_site_held_to_nonces_is_given_one_and_comes_again(house: House) -> None:
    """Its code is still good then (RFC 9449 §8)."""
    bound = house.site("bound")
    form = await form_of(bound)
    none = await post(bound, "/token", form)
    assert (none.status_code, none.json()["error"]) == (400, "invalid_dpop_proof")
    first = await post(bound, "/token", form, shown(house, "/token"))
    assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
    assert "www-authenticate" not in first.headers
    second = await post(bound, "/token", form, shown(house, "/token", nonce=first.headers["dpop-nonce"]))
    assert second.status_code == 200, second.text
    token = second.json()["access_token"]
    named = ("Authorization", f"DPoP {token}")
    asked = await ask(house, named, ("DPoP", shown(house, "/userinfo", "GET", token=token)))
    assert (asked.status_code, asked.json()["error"]) == (401, "use_dpop_nonce")
    assert asked.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    good = shown(house, "/userinfo", "GET", token=token, nonce=asked.headers["dpop-nonce"])
    assert (await ask(house, named, ("DPoP", good))).status_code == 200

    path = "/api/v4/user"
    assert (await ask(house, ("Authorization", f"Bearer {token}"), path=path)).status_code == 401
    assert (await ask(house, named, ("DPoP", good), path=path)).status_code == 401
    nonce = asked.headers["dpop-nonce"]
    there = ("DPoP", shown(house, path, "GET", token=token, nonce=nonce))
    found = await ask(house, named, there, path=path)
    assert (found.status_code, found.json()["username"]) == (200, "ana")


async def test_a_nonce_outlives_an_access_token_and_then_ends(house: House) -> None:
    """Whoever renews at the end of ten minutes need not ask twice."""
    bound = house.site("bound")
    form = await form_of(bound)
    nonce = (await post(bound, "/token", form, shown(house, "/token"))).headers["dpop-nonce"]
    answer = await post(bound, "/token", form, shown(house, "/token", nonce=nonce))
    house.clock.move(minutes=10)
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    renewed = await post(bound, "/token", refresh, shown(house, "/token", nonce=nonce))
    assert renewed.status_code == 200
    assert renewed.headers["dpop-nonce"] != nonce
    house.clock.move(minutes=5)
    refresh["refresh_token"] = renewed.json()["refresh_token"]
    over = await post(bound, "/token", refresh, shown(house, "/token", nonce=nonce))
    assert (over.status_code, over.json()["error"]) == (400, "use_dpop_nonce")


async def test_a_bound_token_is_taken_with_its_key_alone(house: House) -> None:
    """Neither as a bearer token, in a header or a form, nor with another key, an old proof or none (RFC 9449 §7; catalogue 79)."""
    token = (await bound_token(house))["access_token"]
    named = ("Authorization", f"dpop {token}")
    mine = shown(house, "/userinfo", "GET", token=token)
    good = await ask(house, named, ("DPoP", mine))
    assert (good.status_code, good.json()["preferred_username"]) == (200, "ana")
    assert "dpop-nonce" in good.headers
    other = proof(new_key("ES256", "other"), "GET", f"{ISSUER}/userinfo", house.clock.now(), token=token)
    fresh = [shown(house, "/userinfo", "GET", token=token) for _ in range(3)]
    bearer = ("Authorization", f"Bearer {token}")
    refused = [
        ([bearer], "invalid_token"),
        ([bearer, ("DPoP", fresh[0])], "invalid_token"),
        ([named], "invalid_dpop_proof"),
        ([named, ("DPoP", mine)], "invalid_dpop_proof"),
        ([named, ("DPoP", shown(house, "/userinfo", "POST", token=token))], "invalid_dpop_proof"),
        ([named, ("DPoP", shown(house, "/token", "GET", token=token))], "invalid_dpop_proof"),
        ([named, ("DPoP", shown(house, "/userinfo", "GET"))], "invalid_dpop_proof"),
        ([named, ("DPoP", "x")], "invalid_dpop_proof"),
        ([named, ("DPoP", fresh[1]), ("DPoP", fresh[2])], "invalid_dpop_proof"),
        ([named, ("DPoP", other)], "invalid_token"),
        ([("Authorization", f"DPoP {token}x"), ("DPoP", fresh[0])], "invalid_token"),
        ([("Authorization", "DPoP"), ("DPoP", fresh[0])], "invalid_token"),
    ]
    for headers, error in refused:
        answer = await ask(house, *headers)
        assert (answer.status_code, answer.json()["error"]) == (401, error), headers
        assert answer.headers["www-authenticate"].startswith(f'DPoP error="{error}"'), headers
        assert answer.headers["www-authenticate"].endswith('algs="PS256 ES256 Ed25519"')
    async with house.client() as client:
        posted = await client.post("/userinfo", data={"access_token": token}, headers={"DPoP": fresh[0]})
    assert (posted.status_code, posted.json()["error"]) == (401, "invalid_token")


async def test_a_token_of_no_key_is_a_bearer_token_alone(house: House) -> None:
    forum = house.site("forum")
    token = (await post(forum, "/token", await form_of(forum))).json()["access_token"]
    answer = await ask(
        house, ("Authorization", f"DPoP {token}"), ("DPoP", shown(house, "/userinfo", "GET", token=token))
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert (await forum.userinfo(token)).status_code == 200


async def test_a_proof_that_is_not_good_is_refused_before_the_code_is_touched(house: House) -> None:
    """As 400, with a nonce; the log has the check, and nothing of the proof (RFC 9449 §5)."""
    forum = house.site("forum")
    form = await form_of(forum)
    good = shown(house, "/token")
    bad = [
        (["x"], "proof proof_form"),
        ([shown(house, "/par")], "proof htu"),
        ([shown(house, "/token", iat=1)], "proof iat"),
        ([good, good], "more than one proof"),
    ]
    for proofs, check in bad:
        answer = await post(forum, "/token", form, *proofs)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof"), check
        assert "dpop-nonce" in answer.headers
        line = orjson.loads(house.log.strip().splitlines()[-1])
        assert (line["client"], line["check"]) == ("forum", check)
        assert not any(len(text) > 9 and text in house.log for text in proofs)
    assert (await post(forum, "/token", form, good)).status_code == 200


async def test_a_pushed_request_is_tied_to_the_key_shown_beside_it(house: House) -> None:
    """RFC 9449 §10.1."""
    forum, ana = house.site("forum"), await member(house)
    form = dict(parse_qsl(urlsplit(forum.request_url()).query))
    wrong = await post(forum, "/par", form | {"dpop_jkt": "x" * 43}, shown(house, "/par"))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_request")
    answer = await post(forum, "/par", form, shown(house, "/par"))
    assert (answer.status_code, "dpop-nonce" in answer.headers) == (201, True)
    await ana.open(f"{ISSUER}/authorize?client_id=forum&request_uri={answer.json()['request_uri']}")
    arrival = await ana.press("decision=share")
    code = {"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": forum.redirect_uri}  # type: ignore[union-attr]
    code["code_verifier"] = forum.verifier_of(arrival)  # type: ignore[arg-type]
    assert (await post(forum, "/token", code)).json()["error"] == "invalid_grant"


async def test_proofs_of_nobody_are_counted(house: House) -> None:
    """Each one is written down: whoever knows a public site's name could fill a disk (catalogue 186)."""
    app = {"client_id": "app", "grant_type": "refresh_token", "refresh_token": "made-up"}
    async with house.client() as client:
        for _ in range(PROOFS_PER_MINUTE):
            answer = await client.post("/token", data=app, headers={"DPoP": shown(house, "/token")})
            assert answer.status_code == 400
        over = await client.post("/token", data=app, headers={"DPoP": shown(house, "/token")})
    assert (over.status_code, "retry-after" in over.headers) == (429, True)
    forum = house.site("forum")
    answer = await post(forum, "/token", {"grant_type": "refresh_token", "refresh_token": "x"}, shown(house, "/token"))
    assert answer.status_code == 400, "a site that proves itself is not counted"

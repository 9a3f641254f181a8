"""`/events` over HTTP: a site fetches what happened to accounts (RFC 8936)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwk, jwt
from tests.support.house import ISSUER, House, Sandboxes, Site, site_secret
from tests.web.desk import MORE_SITES, connect, member, wide_house

ALL = '["session-revoked", "credential-change", "account-disabled", "account-enabled", "account-purged"]'
MAIL_SITE = f"""
[archive]
name = "Archive"
url = "https://archive.test"
redirect_uris = ["https://archive.test/callback"]
client_secret = {{ env = "ARCHIVE_SECRET" }}
security_events = {ALL}

[archive.asks.preferred_username]
use = "needed"
why = {{ en = "To greet you.", fr = "Pour vous saluer." }}
"""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    environ = {"OLD_SECRET": site_secret("old"), "ARCHIVE_SECRET": site_secret("archive")}
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES + MAIL_SITE, environ=environ) as opened:
        yield opened


@pytest.fixture
def archive(house: House) -> Site:
    return Site(house=house, name="archive", redirect_uri="https://archive.test/callback")


async def fetch(site: Site, asked: Any = None, **headers: str) -> httpx2.Response:
    async with site.house.client() as client:
        kind = {"Content-Type": "application/json"}
        return await client.post("/events", content=json.dumps(asked or {}), headers={**site.auth, **kind, **headers})


async def read(house: House, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    async with house.client() as client:
        keys = (await client.get("/jwks")).json()
    decoded = jwt.decode(token, jwk.KeySet.import_key_set(keys), algorithms=["RS256"])
    return decoded.header, decoded.claims


async def test_a_site_fetches_what_happened_to_somebody_it_knows(house: House, archive: Site) -> None:
    """Signed out, then erased: under the number of the site's own ID token, and each until it is acknowledged."""
    ana = await member(house)
    tokens = await archive.redeem(await connect(ana, archive))
    claims = await archive.claims(tokens["access_token"])
    assert (await fetch(archive)).json() == {"sets": {}, "moreAvailable": False}
    await ana.open("/me/close")
    await ana.press("Close my account")
    answer = await fetch(archive)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    sets = answer.json()["sets"]
    found = {}
    for jti, token in sets.items():
        header, said = await read(house, token)
        assert (header["typ"], said["jti"], said["aud"], said["iss"]) == ("secevent+jwt", jti, "archive", ISSUER)
        (uri,) = said["events"]
        found[uri.rpartition("/")[2]] = said["sub_id"]
    assert set(found) == {"session-revoked", "account-purged"}
    assert found["account-purged"] == {"format": "iss_sub", "iss": ISSUER, "sub": claims["sub"]}
    assert found["session-revoked"]["user"] == found["account-purged"]
    first, *others = sets
    left = (await fetch(archive, {"ack": [first], "maxEvents": 0})).json()
    assert left == {"sets": {}, "moreAvailable": True}
    assert list((await fetch(archive, {"returnImmediately": True})).json()["sets"]) == others
    refused = {jti: {"err": "jwtAud", "description": "not us"} for jti in others}
    assert (await fetch(archive, {"setErrs": refused})).json() == {"sets": {}, "moreAvailable": False}


async def test_only_a_site_that_fetches_events_gets_any(house: House, archive: Site) -> None:
    answer = await fetch(house.site("forum"))
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    wrong = await fetch(archive, None, Authorization="Basic YXJjaGl2ZTp3cm9uZw==")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    async with house.client() as client:
        nobody = await client.post("/events", content="{}", headers={"Content-Type": "application/json"})
    assert nobody.status_code == 401


@pytest.mark.parametrize(
    "asked",
    [
        [], "x", {"ack": "x"}, {"ack": [1]}, {"ack": [""]}, {"ack": ["é"]}, {"ack": ["x"] * 1001}, {"maxEvents": -1},
        {"maxEvents": True}, {"maxEvents": "9"}, {"setErrs": []}, {"setErrs": {"x": "y"}}, {"setErrs": {"x": {}}},
        {"setErrs": {"x": {"err": 1}}}, {"returnImmediately": "no"},
    ],
)  # fmt: skip
async def test_what_a_site_asks_wrongly_is_said(archive: Site, asked: Any) -> None:
    async with archive.house.client() as client:
        headers = {**archive.auth, "Content-Type": "application/json"}
        answer = await client.post("/events", content=json.dumps(asked), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(("body", "kind"), [("{", "application/json"), ("ack=x", "application/x-www-form-urlencoded")])
async def test_what_is_no_json_is_refused(archive: Site, body: str, kind: str) -> None:
    async with archive.house.client() as client:
        answer = await client.post("/events", content=body, headers={**archive.auth, "Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")

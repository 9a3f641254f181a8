"""Receivers read about us, and look after their stream over HTTP (SSF 1.0 §7.1, §8.1)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.house import ISSUER, House, Sandboxes, Site, site_secret
from tests.web.desk import MORE_SITES, member, tokens_of, wide_house
from tests.web.oidc.test_events import MAIL_SITE, read

SITES = MORE_SITES + MAIL_SITE.replace(
    "security_events", 'service_scopes = ["ssf.read", "ssf.manage"]\nsecurity_events'
)
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    environ = {"OLD_SECRET": site_secret("old"), "ARCHIVE_SECRET": site_secret("archive")}
    async with wide_house(tmp_path, sandboxes, sites=SITES, environ=environ) as opened:
        yield opened


@pytest.fixture
def archive(house: House) -> Site:
    return Site(house=house, name="archive", redirect_uri="https://archive.test/callback")


async def bearer(site: Site, scope: str = "ssf.read ssf.manage") -> dict[str, str]:
    answer = await site.post("/token", {"grant_type": "client_credentials", "scope": scope})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def ask(house: House, path: str, proof: dict[str, str], asked: Any = None) -> httpx2.Response:
    """GET, or POST where there is something to say."""
    async with house.client() as client:
        if asked is None:
            return await client.get(path, headers=proof)
        return await client.post(path, json=asked, headers=proof)


async def test_receivers_read_about_us(house: House) -> None:
    """Every address that is told answers, but not to anybody."""
    told = (await ask(house, "/.well-known/ssf-configuration", {})).json()
    assert (await ask(house, "/jwks", {})).status_code == 200
    assert told == {
        "spec_version": "1_0",
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/jwks",
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
        "configuration_endpoint": f"{ISSUER}/events/stream",
        "status_endpoint": f"{ISSUER}/events/status",
        "add_subject_endpoint": f"{ISSUER}/events/subjects/add",
        "remove_subject_endpoint": f"{ISSUER}/events/subjects/remove",
        "verification_endpoint": f"{ISSUER}/events/verify",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}, {"spec_urn": "urn:ietf:rfc:7617"}],
        "default_subjects": "ALL",
    }
    for path, asked in (("/events/status?stream_id=archive", None), ("/events/verify", {"stream_id": "archive"})):
        assert (await ask(house, path, {}, asked)).status_code == 401, path


async def test_a_site_verifies_and_fetches_with_a_token_of_its_own(house: House, archive: Site) -> None:
    """The whole way of a receiver: status, verification, the event, and its acknowledgement (RFC 6750 §2.1)."""
    proof = await bearer(archive)
    status = await ask(house, "/events/status?stream_id=archive", proof)
    assert (status.status_code, status.json()) == (200, {"stream_id": "archive", "status": "enabled"})
    assert status.headers["cache-control"] == "no-store"
    answer = await ask(house, "/events/verify", proof, {"stream_id": "archive", "state": "é 1"})
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (204, b"", "no-store")
    sets = (await ask(house, "/events", proof, {})).json()["sets"]
    ((jti, token),) = sets.items()
    _, said = await read(house, token)
    assert said["events"] == {VERIFICATION: {"state": "é 1"}}
    assert said["sub_id"] == {"format": "opaque", "id": "archive"}
    assert (await ask(house, "/events", proof, {"ack": [jti]})).json() == {"sets": {}, "moreAvailable": False}


async def test_its_id_and_secret_do_as_well(house: House, archive: Site) -> None:
    assert (await ask(house, "/events/status?stream_id=archive", archive.auth)).status_code == 200
    assert (await ask(house, "/events/verify", archive.auth, {"stream_id": "archive"})).status_code == 204


async def test_the_secret_of_a_site_does_no_more_than_its_tokens_may(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Where the admin lets it read and no more, its id and secret do not end its stream."""
    sites = SITES.replace('"ssf.read", "ssf.manage"', '"ssf.read"')
    environ = {"OLD_SECRET": site_secret("old"), "ARCHIVE_SECRET": site_secret("archive")}
    async with wide_house(tmp_path, sandboxes, sites=sites, environ=environ) as house, house.client() as client:
        archive = Site(house=house, name="archive", redirect_uri="https://archive.test/callback")
        asked: Any = {"headers": archive.auth, "params": {"stream_id": archive.name}}
        assert (await client.get("/events/stream", **asked)).status_code == 200
        refused = await client.delete("/events/stream", **asked)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
        assert (await client.get("/events/stream", **asked)).status_code == 200


async def test_a_token_that_only_reads_verifies_nothing(house: House, archive: Site) -> None:
    proof = await bearer(archive, "ssf.read")
    assert (await ask(house, "/events", proof, {})).status_code == 200
    answer = await ask(house, "/events/verify", proof, {"stream_id": "archive"})
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope"')
    assert (await ask(house, "/events", proof, {})).json()["sets"] == {}


async def test_no_other_token_is_let_in(house: House, archive: Site) -> None:
    """A made-up one, one in the address, and a person's."""
    ana = await tokens_of(await member(house), archive)
    for token in ("nonsense", ana["access_token"], ana["id_token"]):
        for path, asked in (("/events", {}), ("/events/status?stream_id=archive", None)):
            answer = await ask(house, path, {"Authorization": f"Bearer {token}"}, asked)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    token = (await bearer(archive))["Authorization"].removeprefix("Bearer ")
    answer = await ask(house, f"/events/status?stream_id=archive&access_token={token}", {})
    assert answer.status_code == 401


async def test_a_site_reaches_no_stream_but_its_own(house: House, archive: Site) -> None:
    """Nor has a site one that wants no events."""
    proof = await bearer(archive)
    secret = base64.b64encode(f"forum:{site_secret('forum')}".encode()).decode()
    for who, stream in ((proof, "forum"), (proof, "nobody"), ({"Authorization": f"Basic {secret}"}, "forum")):
        for path, asked in ((f"/events/status?stream_id={stream}", None), ("/events/verify", {"stream_id": stream})):
            answer = await ask(house, path, who, asked)
            assert (answer.status_code, answer.json()["error"]) == (404, "unknown_stream")


@pytest.mark.parametrize(
    "asked",
    [[], {}, {"stream_id": 1}, {"stream_id": "archive", "state": 1}, {"stream_id": "archive", "state": "x" * 1001}],
)
async def test_what_a_site_asks_wrongly_is_said(house: House, archive: Site, asked: Any) -> None:
    answer = await ask(house, "/events/verify", await bearer(archive), asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("query", ["", "?stream_id=archive&stream_id=archive"])
async def test_the_stream_is_named_once(house: House, archive: Site, query: str) -> None:
    assert (await ask(house, f"/events/status{query}", await bearer(archive))).status_code == 400


async def test_too_many_verifications_have_to_wait(house: House, archive: Site) -> None:
    proof = await bearer(archive)
    answers = [await ask(house, "/events/verify", proof, {"stream_id": "archive"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [204] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_site_sets_its_stream_up_over_http(house: House, archive: Site) -> None:
    """SSF 1.0 §8.1.1, §8.1.2: read, second one, update, replace, pause, end, begin again."""
    proof = await bearer(archive)
    place = "/events/stream?stream_id=archive"
    purged = "https://schemas.openid.net/secevent/risc/event-type/account-purged"
    async with house.client() as client:
        client.headers.update(proof)
        told = (await client.get(place)).json()
        assert (await client.get("/events/stream")).json() == [told]
        assert (told["stream_id"], told["iss"], told["aud"]) == ("archive", ISSUER, "archive")
        assert told["delivery"] == {"method": "urn:ietf:rfc:8936", "endpoint_url": f"{ISSUER}/events"}
        second = await client.post("/events/stream", json={})
        assert (second.status_code, second.json()["error"]) == (409, "stream_exists")
        fewer = await client.patch("/events/stream", json={"stream_id": "archive", "events_requested": [purged]})
        assert (fewer.status_code, fewer.json()["events_delivered"]) == (200, [purged])
        assert (await client.put("/events/stream", json=told | {"events_delivered": [purged]})).json() == told
        paused = {"stream_id": "archive", "status": "paused"}
        assert (await client.post("/events/status", json=paused)).json() == paused
        assert (await client.get("/events/status?stream_id=archive")).json() == paused
        gone = await client.delete(place)
        assert (gone.status_code, gone.content, gone.headers["cache-control"]) == (204, b"", "no-store")
        assert (await client.get(place)).status_code == (await client.delete(place)).status_code == 404
        assert (await client.get("/events/stream")).json() == []
        new = await client.post("/events/stream", json={})
        assert (new.status_code, new.json()) == (201, told)


async def test_a_token_that_only_reads_changes_no_stream(house: House, archive: Site) -> None:
    async with house.client() as client:
        client.headers.update(await bearer(archive, "ssf.read"))
        place, named = "/events/stream?stream_id=archive", {"stream_id": "archive", "status": "paused"}
        answers = [
            await client.post("/events/stream", json=named),
            await client.patch("/events/stream", json=named),
            await client.put("/events/stream", json=named),
            await client.delete(place),
            await client.post("/events/status", json=named),
        ]
        assert {answer.status_code for answer in answers} == {403}
        assert (await client.get(place)).status_code == 200


async def test_a_site_takes_people_out_and_in_and_learns_nothing_of_them(house: House, archive: Site) -> None:
    """SSF 1.0 §8.1.3.2, §8.1.3.3, §9.1: one answer for who is known, who is not, and who could never be."""
    proof, people = await bearer(archive), {name: await member(house, name) for name in ("ana", "ben")}
    known = {}
    for name, browser in people.items():
        claims = await archive.claims((await tokens_of(browser, archive))["access_token"])
        known[name] = {"format": "iss_sub", "iss": ISSUER, "sub": claims["sub"]}
    others = [
        known["ana"] | {"sub": "A" * 43},
        known["ana"] | {"sub": "x"},
        {"format": "email", "email": "a@mail.test"},
    ]
    for what, expected, subjects in (
        ("remove", 204, (*known.values(), *others)),
        ("add", 200, (known["ben"], *others)),
    ):
        told = []
        for subject in subjects:
            asked = {"stream_id": "archive", "subject": subject}
            answer = await ask(house, f"/events/subjects/{what}", proof, asked)
            assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (expected, b"", "no-store")
            told.append(sorted(answer.headers.keys()))
        assert all(names == told[0] for names in told)
    for browser in people.values():
        await browser.open("/me/close")
        await browser.press("Close my account")
    found = [(await read(house, token))[1]["sub_id"] for token in (await fetched(house, proof)).values()]
    assert {subject.get("user", subject)["sub"] for subject in found} == {known["ben"]["sub"]}
    assert len(found) == 2


async def fetched(house: House, proof: dict[str, str]) -> dict[str, str]:
    return dict((await ask(house, "/events", proof, {})).json()["sets"])


@pytest.mark.parametrize("what", ["add", "remove"])
async def test_who_may_only_read_takes_nobody_out(house: House, archive: Site, what: str) -> None:
    """Nor does one without a token, or one that names no subject or another's stream."""
    subject = {"format": "iss_sub", "iss": ISSUER, "sub": "A" * 43}
    proof, asked = await bearer(archive), {"stream_id": "archive", "subject": subject}
    for who, said, expected in (
        ({}, asked, (401, "invalid_client")),
        ({"Authorization": "Bearer nonsense"}, asked, (401, "invalid_token")),
        (await bearer(archive, "ssf.read"), asked, (403, "insufficient_scope")),
        (proof, asked | {"stream_id": "forum"}, (404, "unknown_stream")),
        (proof, {"stream_id": "archive"}, (400, "invalid_request")),
        (proof, asked | {"subject": {"format": "name"}}, (400, "invalid_request")),
    ):
        answer = await ask(house, f"/events/subjects/{what}", who, said)
        assert (answer.status_code, answer.json()["error"]) == expected

"""Signing in through `@atproto/pds`, the server that Bluesky's own people have: every quirk of it as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.providers.pds import HANDLE, Pds, running_pds
from tests.providers.rig import OneApp, attempt

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import PREFERRED_USERNAME
from broker.domain.provider import Attempt, Us
from broker.egress import Egress, Exemption
from broker.errors import FormInvalid, SignInCancelled, UpstreamInvalid, UpstreamRejected
from providers.atproto import PROVIDER, ATProto
from providers.preset import Preset

US = Us(name="Club", issuer="https://login.club-sailing.org", kept=OneApp())
"""It takes no client whose name ends in one that is nobody's."""


def server(url: str, directory: str, egress: Egress) -> ATProto:
    table: dict[str, object] = {
        "kind": "atproto", "discovery": "any", "sandbox": True, "issuer": url, "fields": ["name", "preferred_username", "profile"],
        "endpoints": {"directory": directory},
    }  # fmt: skip
    provider = PROVIDER(Preset.from_table("example", table), egress, SystemClock())
    provider.introduce(US)
    return provider


@pytest.fixture(scope="module")
def pds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pds]:
    nowhere = "https://unused.test"
    described = server(nowhere, nowhere, Egress()).described()
    with running_pds(described, tmp_path_factory.mktemp("pds")) as running:
        yield running


@pytest.fixture(scope="module")
def ana(pds: Pds) -> str:
    """Her DID."""
    return pds.sign_up()


@pytest.fixture
async def one(pds: Pds) -> AsyncIterator[ATProto]:
    client = Egress(exemptions=[Exemption.parse(urlsplit(url).netloc) for url in (pds.url, pds.directory)])
    yield server(pds.url, pds.directory, client)
    await client.aclose()


async def leave(one: ATProto, typed: str) -> Attempt:
    entropy = SystemEntropy()
    return attempt(
        found=await one.find(typed),
        redirect_uri=US.callback(one.id),
        nonce=entropy.token(24),
        code_verifier=entropy.token(48),
    )


async def allowed(one: ATProto, pds: Pds, left: Attempt) -> dict[str, str]:
    """Sent there; she signs in and says yes."""
    back = await pds.agree(await one.authorization_url(left))
    assert back.startswith(left.redirect_uri)
    return dict(parse_qsl(urlsplit(back).query))


async def test_it_takes_what_we_push_and_gives_us_who_it_is(pds: Pds, ana: str, one: ATProto) -> None:
    """Pushed, proved and with its nonces; what it gave is given back, which it wants proved too."""
    for typed in (HANDLE, ana, ""):
        left = await leave(one, typed)
        answer = await allowed(one, pds, left)
        assert (answer["state"], answer["iss"]) == (left.state, pds.url)
        found = await one.identify(left, answer)
        assert found.identity.key.subject == ana
        assert found.identity.claims == {
            "name": "Ana Marković", "preferred_username": HANDLE, "profile": f"https://bsky.app/profile/{HANDLE}",
        }  # fmt: skip
        assert await pds.tokens(ana) == 0, "given back"


async def test_its_code_is_of_use_to_the_attempt_that_it_belongs_to_alone(pds: Pds, ana: str, one: ATProto) -> None:
    """catalogue 37: neither a second time, nor with another key or verifier."""
    left, other = await leave(one, ""), await leave(one, "")
    answer = await allowed(one, pds, left)
    with pytest.raises(UpstreamInvalid, match="response_iss"):
        await one.identify(left, {**answer, "iss": "https://evil.test"})
    with pytest.raises(UpstreamRejected, match="token"):
        await one.identify(other, answer)
    answer = await allowed(one, pds, other)
    await one.identify(other, answer)
    with pytest.raises(UpstreamRejected, match="token"):
        await one.identify(other, answer)
    assert await pds.tokens(ana) == 0


async def test_who_says_no_there_has_cancelled_here(pds: Pds, ana: str, one: ATProto) -> None:
    """catalogue 56"""
    left = await leave(one, HANDLE)
    answer = dict(parse_qsl(urlsplit(await pds.refuse(await one.authorization_url(left))).query))
    assert answer["error"] == "access_denied"
    with pytest.raises(SignInCancelled):
        await one.identify(left, answer)
    assert await pds.tokens(ana) == 0


async def test_a_handle_that_nobody_has_there_leads_nowhere(ana: str, one: ATProto) -> None:
    with pytest.raises(FormInvalid) as found:
        await one.find("nobody.people.test")
    assert found.value.fields == {"identifier": "handle_none"}


async def test_the_key_of_a_person_stays_when_their_handle_changes(pds: Pds, one: ATProto) -> None:
    """Changed there, over its directory: whoever comes is the same, under the new name."""
    did = pds.sign_up("ben.people.test", "Ben")
    left = await leave(one, "ben.people.test")
    pds.rename(did, "benny.people.test")
    back = await pds.agree(await one.authorization_url(left), "benny.people.test")
    found = await one.identify(left, dict(parse_qsl(urlsplit(back).query)))
    assert (found.identity.key.subject, found.identity.claims[PREFERRED_USERNAME]) == (did, "benny.people.test")

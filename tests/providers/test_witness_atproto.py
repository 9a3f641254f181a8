"""Signing in through `@atproto/oauth-provider`, the software that Bluesky's own servers run: every quirk of it as it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.providers.rig import OneApp, attempt
from tests.support.servers import free_port, program

from broker.chance import SystemClock, SystemEntropy
from broker.domain.provider import Attempt, Us
from broker.egress import Egress, Exemption
from broker.errors import UpstreamInvalid, UpstreamRejected
from providers.atproto import PROVIDER, ATProto
from providers.preset import Preset

SCRIPT: Final = Path(__file__).parents[1] / "node" / "atproto" / "provider.mjs"
US: Final = Us(name="Club", issuer="https://login.club-sailing.org", kept=OneApp())
"""It takes no client whose name ends in one that is nobody's."""


def server(base: str, egress: Egress) -> ATProto:
    table: dict[str, object] = {
        "kind": "atproto", "discovery": "any", "sandbox": True, "issuer": base, "fields": ["name", "preferred_username"],
        "endpoints": {"directory": f"{base}/plc"},
    }  # fmt: skip
    provider = PROVIDER(Preset.from_table("example", table), egress, SystemClock())
    provider.introduce(US)
    return provider


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """A running server, told what we say of ourselves."""
    port, nobody = free_port(), Egress()
    described = json.dumps(dict(server("https://unused.test", nobody).described()))
    command = [program("setpriv"), "--pdeathsig", "TERM", program("node"), str(SCRIPT), str(port), described]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SCRIPT.parent) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n", "it did not start; `make test` fetches what the tests need"
            yield f"http://localhost:{port}"
        finally:
            process.terminate()


@pytest.fixture
async def egress(base: str) -> AsyncIterator[Egress]:
    client = Egress(exemptions=[Exemption.parse(urlsplit(base).netloc)])
    yield client
    await client.aclose()


async def ask(base: str, path: str) -> Any:
    async with httpx2.AsyncClient() as client:
        return (await client.get(base + path)).json()


async def leave(one: ATProto, typed: str) -> Attempt:
    entropy = SystemEntropy()
    return attempt(
        found=await one.find(typed),
        redirect_uri=US.callback(one.id),
        nonce=entropy.token(24),
        code_verifier=entropy.token(48),
    )


async def allowed(one: ATProto, base: str, left: Attempt) -> dict[str, str]:
    """Sent there; the person says yes."""
    url = urlsplit(await one.authorization_url(left))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{base}/oauth/authorize"
    return dict(await ask(base, f"/allow?{url.query}"))


async def test_it_takes_what_we_push_and_gives_us_who_it_is(base: str, egress: Egress) -> None:
    """Pushed, proved and with its nonces; what it gave is given back, which it wants proved too."""
    one = server(base, egress)
    for typed in ("ana.people.test", ""):
        left = await leave(one, typed)
        answer = await allowed(one, base, left)
        assert (answer.pop("hint"), answer["state"]) == (typed, left.state)
        found = await one.identify(left, answer)
        assert found.identity.key.subject == "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
        assert found.identity.claims == {"name": "Ana", "preferred_username": "ana.people.test"}
        assert await ask(base, "/tokens") == 0, "given back"


async def test_its_code_is_of_use_to_the_attempt_that_it_belongs_to_alone(base: str, egress: Egress) -> None:
    """catalogue 37: neither a second time, nor with another key or verifier."""
    one = server(base, egress)
    left, other = await leave(one, ""), await leave(one, "")
    answer = await allowed(one, base, left)
    with pytest.raises(UpstreamInvalid, match="response_iss"):
        await one.identify(left, {**answer, "iss": "https://evil.test"})
    with pytest.raises(UpstreamRejected, match="token"):
        await one.identify(other, answer)
    answer = await allowed(one, base, other)
    await one.identify(other, answer)
    with pytest.raises(UpstreamRejected, match="token"):
        await one.identify(other, answer)

"""Signing in through python3-openid's server, somebody else's OpenID 2.0: over TLS, through discovery, without associations.

And the other way round: its client takes the answers of our sandbox.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from tests.support.house import ISSUER, Sandboxes
from tests.support.servers import free_port
from tests.support.tls import Authority, names_on_loopback

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import EMAIL, GIVEN_NAME, NAME
from broker.domain.provider import Attempt, Finder
from broker.domain.values import ClaimName, IdentityKey, ProviderId
from broker.egress import Egress, Exemption
from broker.errors import SignInCancelled, UpstreamInvalid
from providers._openid2 import NS
from providers.openid2 import PROVIDER, TypedOpenID2
from providers.preset import Preset
from tests.providers.witness import HOST

SCRIPT = Path(__file__).with_name("openid2_server.py")
REDIRECT = f"{ISSUER}/callback/address"


@dataclass(frozen=True)
class Witness:
    """The running provider."""

    base: str
    authority: Authority

    async def decide(self, url: str, person: str, **headers: str) -> dict[str, str]:
        """A browser's visit as this person; what it is sent back with."""
        assert url.startswith(f"{self.base}/openidserver?")
        context = self.authority.client_context()
        async with httpx2.AsyncClient(verify=context, timeout=20, follow_redirects=False) as browser:
            answer = await browser.get(url, headers={"X-Person": person, **headers})
        if answer.status_code == 200:  # an answer too long for an address comes as a form
            assert unescape(_ACTION.findall(answer.text)[0]).startswith(REDIRECT)
            fields = {name: unescape(value) for name, value in _fields(answer.text)}
            query = dict(parse_qsl(urlsplit(unescape(_ACTION.findall(answer.text)[0])).query))
            return {**query, **fields}
        assert answer.status_code == 302, answer.text
        assert answer.headers["location"].startswith(REDIRECT)
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


_ACTION = re.compile(r'<form [^>]*action="([^"]*)"')
_INPUT = re.compile(r"<input ([^>]*)>")


def _fields(page: str) -> Iterator[tuple[str, str]]:
    """Names and values of the form's hidden fields."""
    for attributes in _INPUT.findall(page):
        found = dict(re.findall(r'(\w+)="([^"]*)"', attributes))
        if "name" in found:
            yield unescape(found["name"]), found.get("value", "")


@contextmanager
def running(authority: Authority) -> Iterator[Witness]:
    port, leaf = free_port(), authority.leaf(HOST)
    command = [sys.executable, str(SCRIPT), str(port), str(leaf.certificate), str(leaf.key)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        with names_on_loopback():
            yield Witness(f"https://{HOST}:{port}", authority)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="module")
def witness(authority: Authority) -> Iterator[Witness]:
    with running(authority) as started:
        yield started


@pytest.fixture
async def provider(witness: Witness) -> AsyncIterator[TypedOpenID2]:
    port = int(witness.base.rpartition(":")[2])
    egress = Egress(exemptions=[Exemption(host=HOST, port=port, ca_file=witness.authority.ca)])
    table = {"kind": "openid2", "discovery": "hosts", "hosts": [HOST],
             "fields": ["name", "given_name", "nickname", "email", "birthdate", "locale"]}  # fmt: skip
    made = PROVIDER(Preset.from_table("address", table), egress, SystemClock())
    assert isinstance(made, TypedOpenID2)
    yield made
    await egress.aclose()


async def leave(provider: Finder, typed: str, **changes: Any) -> Attempt:
    entropy = SystemEntropy()
    usual: dict[str, Any] = {
        "provider": ProviderId("address"), "redirect_uri": REDIRECT, "state": entropy.token(), "nonce": "", "code_verifier": "",
        "scopes": (), "found": await provider.find(typed),
    }  # fmt: skip
    return Attempt(**{**usual, **changes})


@pytest.mark.parametrize("address", ["/id/ana", "/html/ana", "/", ""])
async def test_an_address_leads_through_somebody_elses_provider(
    witness: Witness, provider: TypedOpenID2, address: str
) -> None:
    """catalogue 57, 59, 62: found by XRDS, by the head of a page, and as the provider's own address."""
    attempt = await leave(provider, f"{HOST}{witness.base.rpartition(HOST)[2]}{address}")
    callback = await witness.decide(await provider.authorization_url(attempt), "ana")
    found = await provider.identify(attempt, callback)
    assert found.identity.key == IdentityKey(
        issuer=NS, subject=f"{witness.base}{address if len(address) > 1 else '/id/ana'}"
    )
    assert found.identity.claims == {
        NAME: "Ana Witness", GIVEN_NAME: "Ana", ClaimName("nickname"): "ana", EMAIL: "ana@ax.test",
        ClaimName("birthdate"): "1990", ClaimName("locale"): "fr",
    }  # fmt: skip
    assert found.identity.verified == frozenset()
    assert found.once is not None


async def test_an_answer_too_long_for_an_address_comes_as_a_form(witness: Witness, provider: TypedOpenID2) -> None:
    """OpenID 2.0 §5.2.2: python3-openid does so beyond 2,047 characters."""
    attempt = await leave(provider, f"{witness.base}/id/ana", state="s" * 700)
    callback = await witness.decide(await provider.authorization_url(attempt), "ana")
    assert callback["state"] == attempt.state
    assert len(str(callback)) > 2047
    found = await provider.identify(attempt, callback)
    assert found.identity.claims[NAME] == "Ana Witness"


async def test_its_answer_is_good_once_and_not_when_altered(witness: Witness, provider: TypedOpenID2) -> None:
    """catalogue 57, 60: it confirms an answer once; another value under its signature is none of its answers."""
    attempt = await leave(provider, f"{witness.base}/id/ana")
    callback = await witness.decide(await provider.authorization_url(attempt), "ana")
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await provider.identify(attempt, {**callback, "openid.sreg.email": "evil@evil.test"})
    attempt = await leave(provider, f"{witness.base}/id/ana")
    callback = await witness.decide(await provider.authorization_url(attempt), "ana")
    await provider.identify(attempt, callback)
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await provider.identify(attempt, callback)


async def test_saying_no_there_is_no_sign_in(witness: Witness, provider: TypedOpenID2) -> None:
    """Also where somebody else is signed in there than the one who was asked for."""
    attempt = await leave(provider, f"{witness.base}/id/ana")
    for person in ("", "bob"):
        callback = await witness.decide(await provider.authorization_url(attempt), person)
        with pytest.raises(SignInCancelled):
            await provider.identify(attempt, callback)


async def test_a_fresh_sign_in_is_believed_by_its_signed_time(witness: Witness, provider: TypedOpenID2) -> None:
    """PAPE, as somebody else writes it."""
    attempt = replace(await leave(provider, witness.base), fresh=True)
    url = await provider.authorization_url(attempt)
    now = datetime.now(UTC).replace(microsecond=0)
    proved = now - timedelta(seconds=20)
    callback = await witness.decide(url, "bob", **{"X-Proved": f"{proved:%Y-%m-%dT%H:%M:%SZ}"})
    assert (await provider.identify(attempt, callback)).identity.authenticated_at == proved
    old = now - timedelta(hours=1)
    callback = await witness.decide(url, "bob", **{"X-Proved": f"{old:%Y-%m-%dT%H:%M:%SZ}"})
    with pytest.raises(UpstreamInvalid, match="auth_time"):
        await provider.identify(attempt, callback)


@pytest.mark.parametrize("address", ["/people/ana", "/"])
async def test_somebody_elses_client_takes_the_answers_of_our_sandbox(sandboxes: Sandboxes, address: str) -> None:
    """Discovery, request, answer, confirmation and Simple Registration, as its authors read the specification."""
    from openid import fetchers
    from openid.consumer import consumer
    from openid.extensions import sreg

    class PlainFetcher(fetchers.HTTPFetcher):  # type: ignore[misc]  # no types there
        """Its way out, to loopback."""

        def fetch(self, url: str, body: Any = None, headers: Any = None) -> Any:
            form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}  # as urllib adds by itself
            with httpx2.Client(timeout=20, follow_redirects=True) as client:
                sent = {**form, **(headers or {})}
                answer = client.request("POST" if body else "GET", url, content=body, headers=sent)
            return fetchers.HTTPResponse(str(answer.url), answer.status_code, dict(answer.headers), answer.content)

    openid = sandboxes.openid
    await openid.order(persona="ana")
    fetchers.setDefaultFetcher(PlainFetcher(), wrap_exceptions=False)
    try:
        asking = consumer.Consumer({}, None)
        request = asking.begin(f"{openid.url}{address}")
        request.addExtension(sreg.SRegRequest(required=["fullname"]))
        async with httpx2.AsyncClient(follow_redirects=False) as browser:
            answer = await browser.get(request.redirectURL(f"{ISSUER}/", f"{ISSUER}/callback/address"))
        back = answer.headers["location"]
        found = asking.complete(dict(parse_qsl(urlsplit(back).query, keep_blank_values=True)), back.partition("?")[0])
        assert found.status == consumer.SUCCESS, getattr(found, "message", "")
        assert found.identity_url == f"{openid.url}/people/ana"
        assert sreg.SRegResponse.fromSuccessResponse(found)["fullname"] == "Ana Marković"
    finally:
        fetchers.setDefaultFetcher(None)

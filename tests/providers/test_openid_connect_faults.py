"""Every fault of the misbehaving sandbox provider, over real sockets, through the guarded client and our provider.

The table must name every fault there is: a new one fails here until somebody says what has to happen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import EMAIL, NAME
from broker.domain.provider import Attempt, Identified, Us
from broker.domain.values import ProviderId, Secret
from broker.egress import Egress, Exemption
from broker.errors import (
    FormInvalid,
    SignInCancelled,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers.openid_connect import OpenIDConnect
from providers.preset import Preset
from providers.sandbox.openid_connect import Client, create_app
from providers.sandbox.openid_connect_faults import ALL, ENDPOINTS, WIRE_FAULTS
from providers.typed_openid_connect import TypedOpenIDConnect
from tests.providers.rig import OneApp
from tests.providers.walk import come_back, log_of, order
from tests.support.sandbox import serve

REDIRECT = "http://localhost:8000/callback/sandbox"
SECRET = "sandbox secret: with % odd + characters"
FINE = "fine"
FOUND = {"webfinger", "register"}
"""Asked only for an address that somebody typed."""

CHECKS: dict[str, str] = {
    "iss-wrong": "iss", "iss-prefix": "iss", "iss-slash": "iss", "iss-not-text": "iss", "iss-missing": "iss",
    "aud-wrong": "aud", "aud-missing": "aud", "aud-array-foreign": "aud", "azp-wrong": "azp",
    "aud-foreign-azp-ours": "aud",
    "nonce-wrong": "nonce", "nonce-missing": "nonce",
    "exp-past": "exp", "exp-missing": "exp", "exp-absurd": "exp", "exp-text": "exp", "exp-fraction": FINE,
    "iat-missing": "iat", "iat-future": "iat", "iat-old": "iat", "nbf-future": "nbf",
    "sub-missing": "sub", "sub-empty": "sub", "sub-number": "sub", "sub-long": "sub", "sub-control": "sub",
    "at-hash-wrong": "at_hash",
    "sid-named": FINE,
    "auth-time-missing": FINE, "auth-time-old": FINE,
    "id-token-missing": "id_token", "id-token-not-text": "id_token",
    "alg-none": "alg", "alg-hs256-public-key": "alg", "alg-hs256-client-secret": "alg",
    "signature-wrong": "signature", "signature-missing": "signature",
    "kid-unknown": "kid", "kid-missing-many": "kid", "kid-missing-one": FINE, "key-rotated": FINE,
    "expires-in-missing": FINE, "expires-in-text": "expires_in", "token-type-missing": "token_type",
    "token-error": "rejected token invalid_grant",
    "response-iss-missing": "response_iss", "response-iss-wrong": "response_iss",
    "response-error": "rejected authorization temporarily_unavailable",
    "discovery-issuer-other": "discovery_issuer", "discovery-issuer-slash": "discovery_issuer",
    "discovery-issuer-case": "discovery_issuer", "discovery-no-token-endpoint": "discovery_token",
    "discovery-no-jwks": "discovery_jwks", "discovery-pkce-unsaid": FINE,
    "discovery-no-end-session": FINE,
    "userinfo-other-sub": "userinfo_sub", "userinfo-no-sub": "userinfo_sub",
    "userinfo-signed": FINE, "userinfo-signed-wrong-key": "signature",
    "jwks-flapping": FINE, "jwks-junk": FINE, "jwks-empty": "jwks", "jwks-other-key": "kid",
}  # fmt: skip
"""Fault -> the check that catches it, `fine` where it is allowed, or what the provider's refusal is called."""
ELSEWHERE = {
    "response-state-wrong", "response-state-missing",  # the sign-in flow's, before any provider is asked
    "post-accept-then-hang", "post-accept-then-500", "post-revoked", "post-forbidden", "post-rate-limited",
    "post-duplicate",  # the publisher's
    "refresh-not-rotated", "sub-other",  # of tokens that are renewed
    "logout-state-wrong", "logout-state-missing",  # of the page that people come back to
}  # fmt: skip
WIRE: dict[str, str] = {
    "status": "unavailable", "hang": "unavailable", "html": "json", "html-plain": "json", "truncated": "json",
    "duplicate-keys": "json", "nan": "json", "bom": "json", "deep": "json", "list": "json", "null": "json",
    "empty": "json", "charset": "json", "redirect": "status", "huge": "unavailable", "gzip-bomb": "unavailable",
    "drip": "unavailable", "endless": "unavailable", "cut": "unavailable",
}  # fmt: skip


@dataclass(frozen=True)
class Rig:
    """A running sandbox and our provider for it."""

    base: str
    provider: OpenIDConnect

    def attempt(self, **changes: Any) -> Attempt:
        entropy = SystemEntropy()
        usual: dict[str, Any] = {
            "provider": ProviderId("sandbox"),
            "redirect_uri": REDIRECT,
            "state": entropy.token(),
            "nonce": entropy.token(),
            "code_verifier": entropy.token(48),
            "scopes": self.provider.sign_in_scopes,
        }
        return Attempt(**{**usual, **changes})

    async def sign_in(self, **changes: Any) -> Identified:
        attempt = self.attempt(**changes)
        callback = await come_back(await self.provider.authorization_url(attempt))
        return await self.provider.identify(attempt, callback)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with serve(create_app([Client(id="doorward", secret=SECRET, redirect_uris=[REDIRECT])]), host="localhost") as url:
        yield url


@pytest.fixture
async def rig(base: str) -> AsyncIterator[Rig]:
    await order(base, reset=True, faults=[], persona="ana")
    exemption = Exemption(host="localhost", port=urlsplit(base).port or 0)
    egress = Egress(exemptions=[exemption], total_seconds=1.0)
    preset = Preset(
        id=ProviderId("sandbox"), kind="openid_connect", label="Sandbox", client_id="doorward",
        client_secret=Secret(SECRET), issuer=base, trusts_email=True,
    )  # fmt: skip
    yield Rig(base, OpenIDConnect(preset, egress, SystemClock()))
    await egress.aclose()
    await order(base, faults=[])


def test_every_fault_has_an_expectation() -> None:
    """A new fault of the sandbox fails here until somebody decides."""
    assert set(CHECKS) | ELSEWHERE | set(WIRE) == set(ALL)
    assert set(WIRE) == set(WIRE_FAULTS)


async def test_an_honest_sign_in(rig: Rig) -> None:
    found = await rig.sign_in()
    assert found.identity.key.issuer == rig.base
    assert found.identity.key.subject == "sandbox-ana"
    assert found.identity.claims[NAME] == "Ana Marković"
    assert found.identity.verified == {EMAIL}


@pytest.mark.parametrize("name", sorted(CHECKS))
async def test_a_fault_of_the_provider_is_caught_by_its_check(rig: Rig, name: str) -> None:
    """catalogue 38, 39, 41, 42, 43, 44, 45, 46, 47, 48, 70, 75, 173, 175: each by name over real sockets."""
    wanted = CHECKS[name]
    if name.startswith(("kid-", "jwks-")):
        await order(rig.base, rotate_keys=True)  # one key again, whatever a fault before left
    if name not in {"jwks-junk", "jwks-empty", "jwks-other-key", "kid-missing-many"} and not name.startswith(
        "discovery-"
    ):
        await rig.sign_in()  # so that metadata and keys are known, as on a server that runs
    await order(rig.base, faults=[{"name": name}])
    if wanted == FINE:
        assert (await rig.sign_in()).identity.key.subject == "sandbox-ana"
        return
    if wanted.startswith("rejected "):
        with pytest.raises(UpstreamRejected, match=wanted.removeprefix("rejected ")):
            await rig.sign_in()
        return
    provider = rig.provider
    if name.startswith("userinfo-"):  # asked only when a promised field is missing
        await order(rig.base, persona="no-email")
    with pytest.raises(UpstreamInvalid) as caught:
        await Rig(rig.base, provider).sign_in()
    assert caught.value.check == wanted
    assert "sandbox-ana" not in str(caught.value)


@pytest.mark.parametrize("name", ["auth-time-missing", "auth-time-old"])
async def test_a_fresh_sign_in_that_is_not_fresh_is_refused(rig: Rig, name: str) -> None:
    await order(rig.base, faults=[{"name": name}])
    with pytest.raises(UpstreamInvalid, match="auth_time"):
        await rig.sign_in(fresh=True)
    await order(rig.base, faults=[])
    assert (await rig.sign_in(fresh=True)).identity.authenticated_at is not None


@pytest.mark.parametrize(
    "at", [endpoint for endpoint in ENDPOINTS if endpoint not in {"authorize", "statuses", "revoke", *FOUND}]
)
@pytest.mark.parametrize("name", sorted(WIRE))
async def test_a_spoiled_answer_is_refused_in_time_with_its_reason(rig: Rig, name: str, at: str) -> None:
    """catalogue 140, 172, 173, 174: every endpoint with every kind of garbage, within the time allowed, never an accident."""
    fault: dict[str, Any] = {"name": name, "at": at}
    if name in {"hang", "drip"}:
        fault["seconds"] = 3 if name == "hang" else 0.2
    if at == "userinfo":
        await order(rig.base, persona="no-email")
    await order(rig.base, faults=[fault])
    began = time.monotonic()
    with pytest.raises(UpstreamError) as caught:
        await rig.sign_in()
    assert time.monotonic() - began < 3
    wanted = WIRE[name]
    if wanted == "unavailable":
        assert isinstance(caught.value, UpstreamUnavailable)
    else:
        assert isinstance(caught.value, UpstreamInvalid)
        assert caught.value.check.startswith(at)
    await order(rig.base, faults=[])


@pytest.mark.parametrize("name", sorted(WIRE))
async def test_a_spoiled_answer_to_what_is_given_back_hides_no_reason(rig: Rig, name: str) -> None:
    """catalogue 140, 172, 173, 174: a sign-in that fails after the token answer says why, whatever comes of giving it back."""
    fault: dict[str, Any] = {"name": name, "at": "revoke"}
    if name in {"hang", "drip"}:
        fault["seconds"] = 3 if name == "hang" else 0.2
    await order(rig.base, faults=[{"name": "iss-wrong"}, fault])
    began = time.monotonic()
    with pytest.raises(UpstreamInvalid) as caught:
        await rig.sign_in()
    assert time.monotonic() - began < 3
    assert caught.value.check == CHECKS["iss-wrong"]
    if name not in {"hang", "endless"}:  # those are not over when we hang up, and noted only then
        assert "/oauth/revoke" in [line["path"] for line in await log_of(rig.base)]
    await order(rig.base, faults=[])


@pytest.mark.parametrize("at", ["webfinger", "discovery", "register"])
@pytest.mark.parametrize("name", sorted(WIRE))
async def test_a_spoiled_answer_to_a_typed_address_is_said_in_time(base: str, name: str, at: str) -> None:
    """catalogue 140, 172, 173, 174: wherever an address leads, with every kind of garbage; the page says it in one of three words."""
    fault: dict[str, Any] = {"name": name, "at": at}
    if name in {"hang", "drip"}:
        fault["seconds"] = 3 if name == "hang" else 0.2
    await order(base, reset=True, faults=[fault])
    where = urlsplit(base).netloc
    egress = Egress(exemptions=[Exemption.parse(where)], total_seconds=1.0)
    preset = Preset(id=ProviderId("own"), kind="typed_openid_connect", label="Own", discovery="any", sandbox=True)
    one = TypedOpenIDConnect(preset, egress, SystemClock())
    one.introduce(Us(name="Club", issuer="https://login.test", kept=OneApp()))
    began = time.monotonic()
    with pytest.raises(FormInvalid) as caught:
        await one.find(f"ana@{where}")
    assert time.monotonic() - began < 3
    wrong = "address_refused" if at == "register" else "address_none"
    assert caught.value.fields == {"identifier": "address_silent" if WIRE[name] == "unavailable" else wrong}
    await order(base, faults=[])
    assert (await one.find(f"ana@{where}")).server == base
    await egress.aclose()


async def test_one_provider_that_hangs_leaves_the_code_unspent_elsewhere(rig: Rig) -> None:
    """catalogue 37, 172: a token request that got no answer is never sent a second time."""
    attempt = rig.attempt()
    callback = await come_back(await rig.provider.authorization_url(attempt))
    await order(rig.base, faults=[{"name": "hang", "at": "token", "seconds": 3}])
    with pytest.raises(UpstreamUnavailable, match="timeout"):
        await rig.provider.identify(attempt, callback)
    seen: list[str] = []
    for _ in range(40):  # the sandbox notes a request when it is over
        await asyncio.sleep(0.1)
        seen = [line["path"] for line in await log_of(rig.base)]
        if "/token" in seen:
            break
    assert seen.count("/token") == 1


async def test_a_code_is_bound_to_its_own_attempt(rig: Rig) -> None:
    """catalogue 37, 38, 53: somebody else's code brings nothing, and neither does a code that was used."""
    mine, theirs = rig.attempt(), rig.attempt()
    callback = await come_back(await rig.provider.authorization_url(theirs))
    with pytest.raises(UpstreamRejected, match="invalid_grant"):
        await rig.provider.identify(mine, callback)
    attempt = rig.attempt()
    callback = await come_back(await rig.provider.authorization_url(attempt))
    await rig.provider.identify(attempt, callback)
    with pytest.raises(UpstreamRejected, match="invalid_grant"):
        await rig.provider.identify(attempt, callback)


async def test_the_person_says_no(rig: Rig) -> None:
    """catalogue 56."""
    with pytest.raises(SignInCancelled):
        await rig.provider.identify(rig.attempt(), {"error": "access_denied", "iss": rig.base})


@pytest.mark.parametrize(
    ("persona", "email", "verified"),
    [
        ("ana", "ana.markovic@people.test", True),
        ("no-email", None, False),
        ("email-unverified", "victim@corp.test", False),
        ("email-verified-text", "stella@people.test", True),
        ("html", "html@people.test", True),
    ],
)
async def test_people_of_the_sandbox(rig: Rig, persona: str, email: str | None, verified: bool) -> None:
    await order(rig.base, persona=persona)
    identity = (await rig.sign_in()).identity
    assert identity.claims.get(EMAIL) == email
    assert (EMAIL in identity.verified) is verified
    if persona == "html":
        assert identity.claims[NAME].startswith("<b>")  # kept as text; pages escape it

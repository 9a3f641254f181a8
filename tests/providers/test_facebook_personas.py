"""Every persona of the Facebook-like sandbox through our provider, over real sockets (protocols.md §6.5).

The table must name every persona there is: a new one fails here until somebody says what has to happen.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import EMAIL, FAMILY_NAME, NAME, PICTURE
from broker.domain.provider import Attempt, Identified
from broker.domain.values import ClaimName, IdentityKey, ProviderId, Secret
from broker.egress import Egress, Exemption
from broker.errors import (
    BrokerError,
    SignInCancelled,
    UpstreamInvalid,
    UpstreamNeedsVisit,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers.facebook import Facebook
from providers.openid_connect import OpenIDConnect
from providers.preset import Preset
from providers.sandbox.facebook import App, create_app
from providers.sandbox.facebook_people import PEOPLE
from tests.providers.walk import assert_harmless, come_back, log_of, order
from tests.support.sandbox import serve

APP_ID, OTHER_APP = "100000000000001", "100000000000002"
SECRET = "sandbox-secret"
REDIRECT = "http://localhost:8000/callback/facebook"

FAILS: dict[str, tuple[type[BrokerError], str]] = {
    "expired": (UpstreamRejected, "190/463"),
    "ratelimited": (UpstreamUnavailable, "4/"),
    "server-error": (UpstreamUnavailable, "2/"),
    "server-error-html": (UpstreamUnavailable, "graph"),
    "server-error-false": (UpstreamUnavailable, "graph"),
    "slow": (UpstreamUnavailable, "timeout"),
    "never": (UpstreamUnavailable, "timeout"),
    "cancels": (SignInCancelled, "access_denied"),
    "bare-error": (UpstreamRejected, "dialog"),
    "checkpoint": (UpstreamNeedsVisit, "190/459"),
    "password-changed": (UpstreamRejected, "190/460"),
    "dev-mode-business": (SignInCancelled, "access_denied"),
    "replayed-code": (UpstreamRejected, "100/36009"),
    "swapped-code": (UpstreamRejected, "100/36008"),
    "foreign-app-token": (UpstreamInvalid, "token_app"),
    "other-user-token": (UpstreamInvalid, "token_user"),
}
"""Persona -> the error that a sign-in ends in, and a word of its detail."""
ELSEWHERE = {"wrong-state", "missing-state"}
"""Caught by the sign-in flow before any provider is asked."""
NEVER_BACK = {"dev-mode"}
"""Stay at the provider, on a page of its own."""


@dataclass(frozen=True)
class Rig:
    """A running sandbox and our provider for it."""

    base: str
    provider: Facebook | OpenIDConnect

    def attempt(self, **changes: Any) -> Attempt:
        entropy = SystemEntropy()
        usual: dict[str, Any] = {
            "provider": ProviderId("facebook"),
            "redirect_uri": REDIRECT,
            "state": entropy.token(),
            "nonce": entropy.token(),
            "code_verifier": entropy.token(48),
            "scopes": self.provider.sign_in_scopes,
        }
        return Attempt(**{**usual, **changes})

    async def sign_in(self, persona: str | None = None, **changes: Any) -> Identified:
        if persona is not None:
            await order(self.base, persona=persona)
        attempt = self.attempt(**changes)
        callback = await come_back(await self.provider.authorization_url(attempt))
        return await self.provider.identify(attempt, callback)


def preset(base: str, **changes: Any) -> Preset:
    usual = Preset(
        id=ProviderId("facebook"),
        kind="facebook",
        label="Facebook",
        client_id=APP_ID,
        client_secret=Secret(SECRET),
        endpoints={"authorization": f"{base}/v26.0/dialog/oauth", "graph": base},
    )
    return replace(usual, **changes)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    apps = [
        App(id=APP_ID, secret=SECRET, redirect_uris=[REDIRECT], require_proof=True),
        App(id=OTHER_APP, secret=SECRET, redirect_uris=[REDIRECT]),
    ]
    with serve(create_app(apps), host="localhost") as url:
        yield url


@pytest.fixture
async def egress(base: str) -> AsyncIterator[Egress]:
    await order(base, reset=True, auto=True)
    client = Egress(exemptions=[Exemption(host="localhost", port=urlsplit(base).port or 0)], total_seconds=1.0)
    yield client
    await client.aclose()
    assert_harmless(await log_of(base))


@pytest.fixture
def rig(base: str, egress: Egress) -> Rig:
    return Rig(base, Facebook(preset(base), egress, SystemClock()))


def test_every_persona_has_an_expectation() -> None:
    """A persona that is not in a table must be able to sign in; a new broken one fails in the test below."""
    assert set(FAILS) | ELSEWHERE | NEVER_BACK <= set(PEOPLE)


@pytest.mark.parametrize("slug", sorted(set(PEOPLE) - set(FAILS) - ELSEWHERE - NEVER_BACK))
async def test_a_person_signs_in_and_is_who_they_are(rig: Rig, slug: str) -> None:
    found = await rig.sign_in(slug)
    person = PEOPLE[slug]
    assert found.identity.key == IdentityKey(issuer=f"{rig.base}/app/{APP_ID}", subject=person.id_in(APP_ID))
    assert found.identity.verified == frozenset(), "Facebook's word about an address never counts"
    assert found.identity.claims[NAME][:20] == " ".join(person.name.split())[:20]
    declined = "email" in person.declines
    assert found.identity.claims.get(EMAIL) == (None if declined else person.email)
    assert found.identity.declined == (frozenset({EMAIL}) if declined else frozenset())
    assert (PICTURE in found.identity.claims) is not person.silhouette
    assert found.identity.authenticated_at is None
    assert found.tokens is not None


@pytest.mark.parametrize("slug", sorted(FAILS))
async def test_what_goes_wrong_there_ends_in_the_right_words_here(rig: Rig, slug: str) -> None:
    """catalogue 37, 49, 56, 172, 173: each persona's fault, the code exchanged once, nobody waits long."""
    kind, word = FAILS[slug]
    began = time.monotonic()
    with pytest.raises(kind, match=word) as caught:
        await rig.sign_in(slug)
    assert time.monotonic() - began < 4
    assert slug not in str(caught.value)
    exchanges = [line for line in await log_of(rig.base) if line["path"].endswith("/oauth/access_token")]
    assert len(exchanges) <= 1


@pytest.mark.parametrize("slug", sorted(NEVER_BACK))
async def test_who_never_comes_back_leaves_nothing_to_redeem(rig: Rig, slug: str) -> None:
    with pytest.raises(AssertionError, match="App not active"):
        await rig.sign_in(slug)
    assert not [line for line in await log_of(rig.base) if line["path"].endswith("/oauth/access_token")]


async def test_a_checkpoint_tells_the_person_where_to_go(rig: Rig) -> None:
    with pytest.raises(UpstreamNeedsVisit) as caught:
        await rig.sign_in("checkpoint")
    assert "Visit it" in caught.value.public


@pytest.mark.parametrize("slug", ["server-error", "server-error-html", "server-error-false"])
async def test_the_person_is_asked_for_a_second_time_if_facebook_is_unwell(rig: Rig, slug: str) -> None:
    """protocols.md §6.5: once more on GET /me only, and never when throttled."""
    with pytest.raises(UpstreamUnavailable):
        await rig.sign_in(slug)
    asked = [line["path"] for line in await log_of(rig.base)]
    assert sum(path.endswith("/me") for path in asked) == 2
    assert sum(path.endswith("/permissions") for path in asked) == 1
    await order(rig.base, reset=True, auto=True)
    with pytest.raises(UpstreamUnavailable):
        await rig.sign_in("ratelimited")
    asked = [line["path"] for line in await log_of(rig.base)]
    assert sum(path.endswith("/me") for path in asked) == 1


async def test_declined_is_asked_again_once_and_then_there(rig: Rig) -> None:
    """A silent second sign-in does not ask; `auth_type=rerequest` does."""
    assert (await rig.sign_in("declines-email")).identity.declined == {EMAIL}
    assert (await rig.sign_in("declines-email")).identity.declined == {EMAIL}
    await order(rig.base, rerequest_grants=True)
    found = (await rig.sign_in("declines-email", ask_again=True)).identity
    assert found.declined == frozenset()
    assert found.claims[EMAIL] == "declines-email@people.test"


async def test_granted_does_not_mean_present(rig: Rig) -> None:
    found = (await rig.sign_in("no-email")).identity
    assert "email" in found.granted
    assert (EMAIL in found.claims, EMAIL in found.declined) == (False, False)


async def test_an_unconfirmed_address_never_counts_even_if_it_leaks(rig: Rig) -> None:
    found = (await rig.sign_in("unverified-leaks")).identity
    assert found.claims[EMAIL] == "victim@corp.test"
    assert found.verified == frozenset()


async def test_two_people_with_one_address_are_two_people(rig: Rig) -> None:
    first, second = (await rig.sign_in("same-email-1")).identity, (await rig.sign_in("same-email-2")).identity
    assert first.claims[EMAIL] == second.claims[EMAIL]
    assert first.key != second.key


async def test_another_app_knows_the_same_person_by_another_key(rig: Rig, egress: Egress) -> None:
    other = Rig(rig.base, Facebook(preset(rig.base, client_id=OTHER_APP), egress, SystemClock()))
    first, second = (
        (await rig.sign_in("id-changes-per-app")).identity,
        (await other.sign_in("id-changes-per-app")).identity,
    )
    assert first.key.issuer != second.key.issuer
    assert first.key.subject != second.key.subject


async def test_a_person_without_last_name_has_none(rig: Rig) -> None:
    fields = (NAME, FAMILY_NAME)
    one = Rig(rig.base, Facebook(replace(rig.provider._preset, fields=fields), rig.provider._http, SystemClock()))
    assert FAMILY_NAME not in (await one.sign_in("no-last-name")).identity.claims
    assert (await one.sign_in("normal")).identity.claims[FAMILY_NAME] == "Marković"


@pytest.mark.parametrize(("slug", "date"), [("normal", "1990-04-09"), ("minor", "0000-05-01"), ("amina", "1975")])
async def test_birthdays_come_whole_or_in_part(rig: Rig, slug: str, date: str) -> None:
    fields = (NAME, ClaimName("birthdate"))
    one = Rig(rig.base, Facebook(replace(rig.provider._preset, fields=fields), rig.provider._http, SystemClock()))
    assert (await one.sign_in(slug)).identity.claims[ClaimName("birthdate")] == date


async def test_who_removes_the_app_is_asked_anew_and_their_old_token_is_dead(rig: Rig) -> None:
    """protocols.md §6.5: 190/458 is an end, not an outage."""
    found = await rig.sign_in("removes-app")
    assert found.tokens is not None
    await order(rig.base, deauthorize="removes-app")
    with pytest.raises(UpstreamRejected, match="190/458"):
        await rig.provider.revoke(found.tokens)
    assert (await rig.sign_in("removes-app")).identity.key == found.identity.key


async def test_an_expired_token_ends_the_sign_in_without_a_loop(rig: Rig) -> None:
    """An expired token ends the sign-in at once: no loop, no second exchange (protocols.md §6.5)."""
    with pytest.raises(UpstreamRejected, match="190/463"):
        await rig.sign_in("expired")
    asked = [line["path"] for line in await log_of(rig.base)]
    assert sum(path.endswith("/oauth/access_token") for path in asked) == 1
    assert sum("/dialog/oauth" in path for path in asked) == 1


OPENID_FAULTS = {
    "oidc-bad-aud": "aud",
    "oidc-bad-iss": "iss",
    "oidc-stale-key": "kid",
    "oidc-no-nonce": "nonce",
    "oidc-alg-none": "alg",
}


def as_openid(base: str, egress: Egress) -> OpenIDConnect:
    """The same network by its OpenID side: no token address in its metadata, so the preset names one (protocols.md §1.11)."""
    found = Preset(
        id=ProviderId("facebook"),
        kind="openid_connect",
        label="Facebook",
        client_id=APP_ID,
        client_secret=Secret(SECRET),
        issuer=base,
        fields=(NAME, EMAIL),
        scopes=("openid", "email"),
        token_endpoint_auth_method="client_secret_post",
        endpoints={"token": f"{base}/v26.0/oauth/access_token"},
        trusts_email=True,
    )
    return OpenIDConnect(found, egress, SystemClock())


async def test_facebook_signs_in_by_its_openid_side_too(base: str, egress: Egress) -> None:
    """Same person, same number; its key differs, because the issuer says it signed this one."""
    rig = Rig(base, as_openid(base, egress))
    found = (await rig.sign_in("normal")).identity
    assert found.key == IdentityKey(issuer=base, subject=PEOPLE["normal"].id_in(APP_ID))
    assert (found.claims[EMAIL], found.verified) == (PEOPLE["normal"].email, frozenset())


@pytest.mark.parametrize("slug", sorted(OPENID_FAULTS))
async def test_an_id_token_of_facebook_that_is_wrong_signs_nobody_in(base: str, egress: Egress, slug: str) -> None:
    """catalogue 38, 42, 43, 46, 70"""
    rig = Rig(base, as_openid(base, egress))
    await rig.sign_in("normal")  # so that keys are known, as on a server that runs
    with pytest.raises(UpstreamInvalid) as caught:
        await rig.sign_in(slug)
    assert caught.value.check == OPENID_FAULTS[slug]


async def test_what_the_sandbox_saw_holds_what_it_must_and_nothing_it_must_not(rig: Rig) -> None:
    """catalogue 49: proof on every Graph call, tokens in headers, no posting scope, one exchange, client_secret_post."""
    await rig.sign_in("normal")
    lines = await log_of(rig.base)
    graph = [line for line in lines if not line["path"].startswith("/__emu__") and "dialog" not in line["path"]]
    assert sorted(line["path"] for line in graph) == [
        "/v26.0/debug_token", "/v26.0/me", "/v26.0/me/permissions", "/v26.0/oauth/access_token",
    ]  # fmt: skip
    for line in graph:
        if line["path"].endswith("access_token"):
            assert (line["method"], line["auth"]) == ("POST", "form")
            continue
        assert line["proof"] == "valid"
        assert line["auth"] == "bearer"
        assert "access_token" not in line["query"]
    (dialog,) = [line for line in lines if "dialog" in line["path"]]
    assert set(dialog["query"]["scope"].split()) == {"public_profile", "email"}


async def test_a_fresh_sign_in_is_proved_by_its_own_nonce(rig: Rig) -> None:
    """catalogue 38: `auth_type=reauthenticate` with `auth_nonce`, read back with the token."""
    before = SystemClock().now()
    found = await rig.sign_in("normal", fresh=True)
    assert found.identity.authenticated_at is not None
    assert found.identity.authenticated_at >= before
    attempt = rig.attempt(fresh=True)
    callback = await come_back(await rig.provider.authorization_url(attempt))
    with pytest.raises(UpstreamInvalid, match="auth_nonce"):
        await rig.provider.identify(replace(attempt, nonce="another"), callback)
    plain = rig.attempt()
    callback = await come_back(await rig.provider.authorization_url(plain))
    with pytest.raises(UpstreamInvalid, match="auth_nonce"):
        await rig.provider.identify(replace(plain, fresh=True), callback)


async def test_revoking_takes_the_app_out_of_the_account(rig: Rig) -> None:
    for answers_true in (False, True):
        await order(rig.base, delete_answers_true=answers_true)
        found = await rig.sign_in("normal")
        assert found.tokens is not None
        await rig.provider.revoke(found.tokens)
        with pytest.raises(UpstreamRejected, match="190/458"):
            await rig.provider.revoke(found.tokens)


async def test_check_tells_a_wrong_secret_from_a_right_one(rig: Rig, egress: Egress) -> None:
    await rig.provider.check()
    for changes in ({"client_secret": Secret("wrong")}, {"client_id": "999"}):
        with pytest.raises(UpstreamRejected):
            await Facebook(preset(rig.base, **changes), egress, SystemClock()).check()


async def test_a_wrong_secret_reaches_nobody(rig: Rig, egress: Egress) -> None:
    """catalogue 37."""
    wrong = Rig(rig.base, Facebook(preset(rig.base, client_secret=Secret("wrong")), egress, SystemClock()))
    with pytest.raises(UpstreamRejected, match="1/"):
        await wrong.sign_in("normal")


async def test_a_missing_lifetime_and_the_other_throttle_status_change_nothing(rig: Rig) -> None:
    """protocols.md §8: what could not be verified is tested both ways."""
    await order(rig.base, omit_expires_in=True)
    found = await rig.sign_in("normal")
    assert found.tokens is not None
    assert found.tokens.expires_at is None
    for status in (400, 403):
        await order(rig.base, throttle_status=status)
        with pytest.raises(UpstreamUnavailable, match="graph 4/"):
            await rig.sign_in("ratelimited")


async def test_the_old_text_answer_is_not_understood(rig: Rig) -> None:
    """catalogue 173: form text instead of JSON ended with v2.3."""
    await order(rig.base, legacy_text=True)
    with pytest.raises(UpstreamInvalid, match="token"):
        await rig.sign_in("normal")


async def test_pkce_works_where_the_operator_switches_it_on(rig: Rig, egress: Egress) -> None:
    one = Rig(rig.base, Facebook(preset(rig.base, pkce=True), egress, SystemClock()))
    assert "code_challenge" in parse_qs(urlsplit(await one.provider.authorization_url(one.attempt())).query)
    assert (await one.sign_in("normal")).identity.claims[NAME] == "Ana Marković"
    assert "code_challenge" not in await rig.provider.authorization_url(rig.attempt())

"""Sign in with OpenID 2.0: at a provider whose address the operator pinned, or at whichever one a typed address names.

*Pinned*: nothing is discovered. The endpoint and the beginnings of the identifiers stand in the settings, so neither an
answer nor a page on the internet can name another provider for somebody.

*Typed* (`discovery = "hosts"` or `"any"`): the address says by itself who may speak for it. An answer counts only if the
provider found there confirms it, and only for an identifier that names this very provider when it is asked.

The key of a person is the identifier itself, its fragment included: an identifier that was given to somebody else has
another one (§11.5.1). It is the same key either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from urllib.parse import urlsplit

from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Found, Identified, Identity, Provider, UpstreamTokens
from broker.domain.values import IdentityKey
from broker.errors import FormInvalid, Problem, UpstreamError, UpstreamInvalid, UpstreamUnavailable
from providers._claims import hint, offers_of, read_claims
from providers._described import Described
from providers._findings import Findings
from providers._http import SERVER_FAULT, Unnamed, UpstreamHTTP
from providers._openid2 import (
    NS,
    SELECT,
    Assertion,
    build_request,
    confirm,
    is_identifier,
    normal_form,
    read_assertion,
    read_fields,
)
from providers._openid2_fields import SCOPE_OF, SREG_OF, ask_for, read_authentication, standard
from providers._typed import Policy, policy_problems
from providers._yadis import FIELD, Service, discover, normalise
from providers.preset import Preset, is_address

__all__ = ["BINDINGS", "IGNORED", "PROVIDER", "SREG_OF", "OpenID2", "TypedOpenID2"]

BINDINGS: Final = frozenset({"state", "signed_assertion"})
IGNORED: Final = frozenset({"postcode", "country"})
"""What Simple Registration also knows; it is never asked for."""
DISCOVERY_SECONDS: Final = 10.0
"""How long finding out who speaks for an address may take, all requests together."""


class OpenID2(Described):
    """One OpenID 2.0 provider, as its preset describes it."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, http, clock
        self._offers = offers_of(preset.fields, SCOPE_OF)
        self._endpoint = preset.endpoints.get("authorization", "")

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return ()

    async def authorization_url(self, attempt: Attempt) -> str:
        """The provider's page, asked to say who is there."""
        return build_request(self._endpoint, attempt, extensions=ask_for(self._offers, fresh=self._is_fresh(attempt)))

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: the answer's form, whom it names, and then the provider's own word that it made it."""
        now = self._clock.now()
        assertion = read_assertion(read_fields(callback), attempt, self._endpoint, now)
        if not may_name(assertion.claimed_id, self._preset.identifiers):
            raise UpstreamInvalid("claimed_id", "not theirs")
        await confirm(self._http, assertion)
        return self._identified(attempt, assertion, now)

    def _identified(self, attempt: Attempt, assertion: Assertion, now: datetime) -> Identified:
        """What a confirmed answer says: whom, and the promised fields as far as they are signed."""
        proved, methods, level = read_authentication(assertion, now, fresh=self._is_fresh(attempt))
        claims = read_claims({str(name): value for name, value in standard(assertion).items()}, self._offers)
        identity = Identity(
            provider=self._preset.id,
            key=IdentityKey(issuer=NS, subject=assertion.claimed_id),
            claims=claims,
            verified=frozenset(),
            granted=frozenset(offer.scope for offer in self._offers if offer.claim in claims),
            declined=frozenset(),  # fields are optional there, and an answer does not say why one is missing
            authenticated_at=proved,
            amr=methods,
            acr=self._preset.believed(level),
            account_hint=hint(claims) or assertion.claimed_id,
        )
        return Identified(identity=identity, tokens=None, once=assertion.once)

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """OpenID 2.0 grants nothing that could be taken back."""

    async def check(self) -> None:
        """The endpoint answers. What it says to a question without a message is its own affair."""
        response = await self._http.request("GET", self._endpoint)
        if response.status >= SERVER_FAULT:
            raise UpstreamUnavailable(f"status {response.status} endpoint")

    def _is_fresh(self, attempt: Attempt) -> bool:
        return attempt.fresh and self._preset.can_force_fresh


class TypedOpenID2(OpenID2):
    """Every OpenID 2.0 provider that the policy lets in: the address that somebody types says which."""

    asks = "openid"

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        super().__init__(preset, Unnamed(http), clock)
        self._policy = Policy.of(preset)

    async def find(self, typed: str) -> Found:
        """Who may speak for an address. Whatever is wrong on the way there, the page tells apart only three things:

        that hosts there are not let in, that nothing speaks for it, and that it did not answer. The last covers all that
        the guarded client refuses, so that nobody can look around in our network with it.
        """
        address = normalise(typed, scheme=self._policy.scheme)
        try:
            async with asyncio.timeout(DISCOVERY_SECONDS):
                found = await discover(self._http, address, self._allows)
        except UpstreamInvalid as error:
            code = "identifier_host" if error.detail == "discovery policy" else "identifier_none"
            raise FormInvalid({FIELD: code}, detail=error.detail) from None
        except (UpstreamError, TimeoutError) as error:
            reason = error.detail if isinstance(error, UpstreamError) else "timeout"
            raise FormInvalid({FIELD: "identifier_silent"}, detail=f"discovery {reason}") from None
        usable = [one for one in found.services if is_address(one.endpoint)]
        service = next((one for one in usable if self._allows(one.endpoint)), None)
        if service is None:
            code = "identifier_host" if usable else "identifier_none"
            raise FormInvalid({FIELD: code}, detail="discovery no service")
        if service.is_server:
            return Found(endpoint=service.endpoint)
        return Found(endpoint=service.endpoint, claimed_id=found.address, local_id=_local(service, found.address))

    async def authorization_url(self, attempt: Attempt) -> str:
        """The page of the provider that was found, asked about the address that was typed, or who is there."""
        found = _found(attempt)
        return build_request(
            found.endpoint,
            attempt,
            claimed_id=found.claimed_id or SELECT,
            identity=found.local_id or SELECT,
            extensions=ask_for(self._offers, fresh=self._is_fresh(attempt)),
        )

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back. The provider's own word first, so that a made-up answer makes us ask nobody else (CVE-2019-11027).

        Then, unless it is about the very address that was asked at the start: that address must name this provider and
        this person itself (§11.2). Without that, every provider could speak for everybody.
        """
        found, now = _found(attempt), self._clock.now()
        assertion = read_assertion(read_fields(callback), attempt, found.endpoint, now)
        claimed, identity = (text.partition("#")[0] for text in (assertion.claimed_id, assertion.identity))
        if normal_form(assertion.claimed_id) != assertion.claimed_id or not self._allows(claimed):
            raise UpstreamInvalid("claimed_id", "policy")
        await confirm(self._http, assertion)
        if (claimed, identity) != (found.claimed_id, found.local_id):
            await self._check_named(claimed, identity, found.endpoint)
        return self._identified(attempt, assertion, now)

    async def _check_named(self, claimed: str, identity: str, endpoint: str) -> None:
        try:
            async with asyncio.timeout(DISCOVERY_SECONDS):
                named = await discover(self._http, claimed, self._allows)
        except TimeoutError:
            raise UpstreamUnavailable("timeout discovery") from None
        if named.address != claimed or not any(
            not one.is_server and one.endpoint == endpoint and _local(one, claimed) == identity
            for one in named.services
        ):
            raise UpstreamInvalid("claimed_id", "not theirs")

    async def check(self) -> None:
        """There is no one provider whose state would say anything."""

    def _allows(self, address: str) -> bool:
        return self._policy.allows(address)


def _found(attempt: Attempt) -> Found:
    if attempt.found is None:
        raise UpstreamInvalid("discovery", "missing")
    return attempt.found


def _local(service: Service, address: str) -> str:
    """What the provider calls the person of this address (§7.3.1): the address itself where nothing else is said."""
    return service.local_id or address


class _Kind:
    """Makes the one or the other, as the preset has it."""

    def __call__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> Provider:
        return (OpenID2 if preset.discovery == "off" else TypedOpenID2)(preset, http, clock)

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        return problems(preset)


PROVIDER = _Kind()


def problems(preset: Preset) -> list[Problem]:
    """What is wrong with a preset of this kind; file and line are filled in by the loader."""
    found = Findings()
    if preset.discovery == "off":
        _pinned_problems(preset, found)
    else:
        _typed_problems(preset, found)
    for claim in preset.fields:
        if claim not in SCOPE_OF:
            found.add(
                "fields",
                f"names {claim!r}, for which OpenID 2.0 has no word.",
                f"Known: {', '.join(sorted(SCOPE_OF))}.",
            )
    if preset.trusts_email:
        found.add(
            "trusts_email",
            "has no effect: OpenID 2.0 never says that an address was proved.",
            "Remove it.",
            "warning",
        )
    return found


def _pinned_problems(preset: Preset, found: Findings) -> None:
    if not preset.endpoints.get("authorization"):
        fix = 'Write the provider\'s OpenID 2.0 endpoint, or let people type an address: discovery = "hosts".'
        found.add("endpoints.authorization", "is missing.", fix)
    if not preset.identifiers:
        fix = 'Write how its identifiers start: identifiers = ["https://people.example.org/"].'
        found.add("identifiers", "is missing, so it could name anybody.", fix)
    if preset.hosts:
        found.add("hosts", "has no effect without discovery.", 'Remove it, or write discovery = "hosts".')
    for start in preset.identifiers:
        if not is_identifier(start) or normal_form(start) != start or not start.endswith("/"):
            fix = "Give scheme, host and path up to a /, in small letters."
            found.add("identifiers", f"names {start!r}, which is no beginning of an address.", fix)
        elif urlsplit(start).scheme != "https" and not preset.sandbox:
            found.add("identifiers", f"names {start!r}: on the way anybody can answer for it.", "Use https.", "warning")


def _typed_problems(preset: Preset, found: Findings) -> None:
    for key, value in (
        ("endpoints.authorization", preset.endpoints.get("authorization")),
        ("identifiers", preset.identifiers),
    ):
        if value:
            found.add(key, "is pinned, but discovery lets the typed address choose.", f"Remove {key}, or discovery.")
    policy_problems(preset, found)


def may_name(claimed_id: str, beginnings: tuple[str, ...]) -> bool:
    """Whether the provider may speak for this identifier: one spelling only, and under one of these beginnings."""
    return normal_form(claimed_id) == claimed_id and any(
        claimed_id.startswith(start) and len(claimed_id) > len(start) for start in beginnings
    )

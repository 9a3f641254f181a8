"""Sign in at whichever OpenID Connect provider somebody's own address leads to; we register ourselves there, once.

An address says where its provider is (`_webfinger`), the provider says of itself how it signs people in (OpenID Connect
Discovery 1.0 §4) and what it knows us by (RFC 7591), and from there on all is as with a provider of the configuration. The
key of a person is the issuer and its `sub`: an issuer speaks for its own people, and for those of no other. One that the
configuration names has a way in of its own, and this is none around it. Nothing that it vouches for counts: anybody can run
one ("nOAuth", catalogue 113).

One address to come back to for each issuer: with a common one, an issuer could send people on to another and have us redeem
that one's code at itself (RFC 9700 §4.4.2).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Final

from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Found, Identified, UpstreamTokens, Us
from broker.domain.values import ProviderId, Secret
from broker.errors import (
    FormInvalid,
    Problem,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
)
from providers._claims import SCOPE_OF, offers_of, scopes_for
from providers._findings import Findings
from providers._http import Unnamed, UpstreamHTTP, UpstreamResponse, read_success
from providers._oauth import given_back, is_issuer
from providers._openid_connect import BINDINGS, IGNORED, Metadata, OpenIDConnect, read_metadata
from providers._registration import METHODS, introduction, register_at, registration_endpoint
from providers._typed import Policy, Registers, in_time, place_of, policy_problems, told_apart
from providers._webfinger import WORD, Asked, find_issuer, normalise
from providers._yadis import FIELD
from providers.preset import Preset, is_address

__all__ = ["BINDINGS", "IGNORED", "PROVIDER", "TypedOpenIDConnect"]

MAX_KNOWN: Final = 256
"""Issuers whose addresses and keys are remembered here; of more, those that were asked for last."""

_USELESS: Final = (
    "issuer", "client_id", "client_secret", "team_id", "key_id", "endpoints", "identifiers", "openid2_realm",
    "trusted_audiences", "acr_values", "subject_within", "email_scope", "claims", "posting", "secret_ends",
    "userinfo_signed_response_alg", "frontchannel_logout", "rp_initiated_logout", "id_token_hint", "response_mode",
)  # fmt: skip
"""Options that are about one provider and no other."""


class Issuer(OpenIDConnect):
    """One issuer that an address led to, as it says of itself; `known_as` says who we are there."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock, policy: Policy) -> None:
        super().__init__(preset, http, clock)
        self._policy = policy
        self._registering: Mapping[str, Any] = {}

    def known_as(self, client_id: str, secret: str = "", method: str = METHODS[0]) -> Issuer:
        """The same with our name there; metadata and keys are shared."""
        ours = copy.copy(self)
        ours._preset = replace(
            self._preset, client_id=client_id, client_secret=Secret(secret), token_endpoint_auth_method=method
        )
        return ours

    async def endpoint(self) -> str:
        """Where people sign in there, by metadata that is good: its issuer is this one, to the letter."""
        return (await self._where()).authorization

    async def register(self, us: Us) -> Mapping[str, str]:
        """What it knows us by from now on. Raises `UpstreamRejected` where it takes nobody, or not as we are."""
        upstream, told = self._preset.issuer, self._registering
        about = introduction(name=us.name, issuer=us.issuer, redirect=us.callback(self.id, place_of(upstream)))
        methods, signs = (
            told.get("token_endpoint_auth_methods_supported"),
            _list(told, "id_token_signing_alg_values_supported"),
        )
        able = [one for one in METHODS if not isinstance(methods, list) or one in methods]
        algorithm = next((one for one in self._preset.algorithms if not signs or one in signs), None)
        if not able or algorithm is None:
            raise UpstreamRejected("registration unfit")
        about |= {"token_endpoint_auth_method": able[0], "id_token_signed_response_alg": algorithm}
        try:
            address = registration_endpoint(told, upstream)
            made = await register_at(self._http, address, upstream, about, None)
        except UpstreamInvalid as error:
            raise UpstreamRejected(error.detail) from None
        return {
            "client_id": made.client_id,
            "client_secret": made.secret.reveal(),
            "method": made.method,
            **({"ends": str(made.ends)} if made.ends else {}),
        }

    def _read_metadata(self, response: UpstreamResponse) -> Metadata:
        told = read_success(response, "discovery")
        metadata = read_metadata(self._preset, told)
        named = (metadata.authorization, metadata.token, metadata.jwks, metadata.userinfo, metadata.revocation)
        registers = told.get("registration_endpoint")
        if isinstance(registers, str) and not is_address(registers):
            raise UpstreamInvalid("registration_endpoint")
        if not all(self._policy.allows(one) for one in (*named, registers) if isinstance(one, str)):
            raise UpstreamInvalid("discovery", "policy")
        self._registering = {name: told[name] for name in _REGISTERING if name in told}
        return metadata


_REGISTERING: Final = (
    "registration_endpoint", "token_endpoint_auth_methods_supported", "id_token_signing_alg_values_supported",
)  # fmt: skip


class TypedOpenIDConnect(Registers):
    """Every OpenID Connect provider that the policy lets in."""

    asks = "address"
    called = "openid"

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset = replace(preset, trusts_email=False, trusts_phone=False, acr_values=())
        self._http, self._clock = Unnamed(http), clock
        self._offers = offers_of(preset.fields, SCOPE_OF)
        self._scopes = tuple(dict.fromkeys(("openid", *(preset.scopes or scopes_for(self._offers)))))
        self._policy = Policy.of(preset)
        self._issuers: dict[str, Issuer] = {}

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return self._scopes

    async def find(self, typed: str) -> Found:
        """The issuer that an address leads to, and how it knows us."""
        asked = normalise(typed, self._policy.scheme)
        if not self._policy.allows(asked.origin):
            raise FormInvalid({FIELD: f"{WORD}_host"}, detail="webfinger policy")
        return await told_apart(self._find(asked), WORD)

    async def _find(self, asked: Asked) -> Found:
        named = await find_issuer(self._http, asked, self._policy)
        candidates = asked.issuers if named is None else (named,)
        instead = next((one for one in map(self._configured, candidates) if one is not None), None)
        if instead is not None:
            return Found(endpoint="", instead=instead)
        issuer, one = await self._first(candidates)
        kept = await self._known_as(issuer, one.register)
        return Found(
            endpoint=await one.endpoint(),
            local_id=asked.hint or None,
            server=issuer,
            place=place_of(issuer),
            told={"client_id": kept["client_id"]},
        )

    def _configured(self, issuer: str) -> ProviderId | None:
        """The provider of the configuration that this issuer is."""
        return next((id_ for known, id_ in self._introduced().issuers.items() if is_issuer(known, issuer)), None)

    async def _first(self, candidates: tuple[str, ...]) -> tuple[str, Issuer]:
        """The first of these that is an issuer by its own word."""
        wrong = UpstreamInvalid("webfinger", "none")
        for issuer in candidates:
            if not self._policy.allows(issuer):
                raise UpstreamInvalid("discovery", "policy")
            one = self._remembered(issuer)
            try:
                await one.endpoint()
            except UpstreamError as error:
                self._issuers.pop(issuer, None)  # so that nothing stands in the way of who tries again
                if isinstance(error, UpstreamRejected):
                    raise UpstreamInvalid("discovery", "none") from None
                if not isinstance(error, UpstreamInvalid) or error.check != "discovery_issuer":
                    raise
                wrong = error
            else:
                return issuer, one
        raise wrong

    def _remembered(self, issuer: str) -> Issuer:
        one = self._issuers.pop(issuer, None)
        if one is None:
            preset = replace(self._preset, issuer=issuer, discovery="off", scopes=self._scopes)
            one = Issuer(preset, self._http, self._clock, self._policy)
        self._issuers[issuer] = one
        while len(self._issuers) > MAX_KNOWN:
            del self._issuers[next(iter(self._issuers))]
        return one

    async def authorization_url(self, attempt: Attempt) -> str:
        """The issuer's own page (OpenID Connect Core §3.1.2.1); it is told who is expected, as that was typed for it."""
        found = _found(attempt)
        ours = self._remembered(found.server).known_as(found.told["client_id"])
        hinted = replace(attempt, login_hint=found.local_id or attempt.login_hint)
        return await in_time(ours.authorization_url(hinted), "discovery")

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back, as with any issuer; then what was given to us is given back."""
        found = _found(attempt)
        if not self._policy.allows(found.server) or self._configured(found.server) is not None:
            raise UpstreamInvalid("server", "policy")
        return await in_time(self._identify(attempt, found, callback), "sign-in")

    async def _identify(self, attempt: Attempt, found: Found, callback: Mapping[str, str]) -> Identified:
        kept = await self._still_known_as(found.server, found.told["client_id"])
        ours = self._remembered(found.server).known_as(kept["client_id"], kept["client_secret"], kept["method"])
        try:
            identified = await ours.identify(attempt, callback)
        except UpstreamRejected as error:
            await self._forgotten(found.server, error)
            raise
        if identified.tokens is not None:
            await given_back(ours.revoke(identified.tokens))
        await self._came_back(found.server, kept)
        return Identified(identity=replace(identified.identity, amr=()), tokens=None)

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Nothing is held that could be given back: it was, before anybody was shown anything."""

    async def check(self) -> None:
        """There is no one issuer whose state would say anything."""

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        if preset.discovery == "off":
            fix = 'Write discovery = "hosts" and hosts = ["id.example.org"], or discovery = "any".'
            found.add("discovery", "is off, so no address could be typed.", fix)
        else:
            policy_problems(preset, found)
        usual = Preset(id=preset.id, kind=preset.kind, label=preset.label)
        for key in _USELESS:
            if getattr(preset, key) != getattr(usual, key):
                fix = 'Remove it. For one provider and no other, write kind = "openid_connect".'
                found.add(key, "has no effect: each provider has its own.", fix)
        for key in ("trusts_email", "trusts_phone"):
            if getattr(preset, key):
                what = "has no effect: anybody can run a provider that vouches for anything."
                found.add(key, what, "Remove it. People prove their address here.", "warning")
        for key in ("nonce", "pkce"):
            if getattr(preset, key) is False:
                found.add(key, "is off, and nobody knows which provider would need that.", "Remove it.")
        return found


PROVIDER = TypedOpenIDConnect


def _list(told: Mapping[str, Any], key: str) -> list[object]:
    value = told.get(key)
    return value if isinstance(value, list) else []


def _found(attempt: Attempt) -> Found:
    if attempt.found is None or "client_id" not in attempt.found.told:
        raise UpstreamInvalid("server", "missing")
    return attempt.found

"""Sign in with an OpenID 2.0 provider whose address the operator pinned, together with whom it may speak for.

Nothing is discovered: the endpoint and the beginnings of the identifiers stand in the settings, so neither an answer
nor a page on the internet can name another provider for somebody. The key of a person is the identifier itself, its
fragment included: an identifier that was given to somebody else has another one (§11.5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Identified, Identity, UpstreamTokens
from broker.domain.values import IdentityKey
from broker.errors import Problem, UpstreamInvalid, UpstreamUnavailable
from providers._claims import hint, offers_of, read_claims
from providers._described import Described
from providers._http import SERVER_FAULT, UpstreamHTTP
from providers._openid2 import NS, build_request, confirm, is_identifier, normal_form, read_assertion, read_fields
from providers._openid2_fields import SCOPE_OF, SREG_OF, ask_for, read_authentication, standard
from providers.preset import Preset

__all__ = ["BINDINGS", "IGNORED", "PROVIDER", "SREG_OF", "OpenID2"]

BINDINGS: Final = frozenset({"state", "signed_assertion"})
IGNORED: Final = frozenset({"postcode", "country"})
"""What Simple Registration also knows; it is never asked for."""


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
        proved, methods, level = read_authentication(assertion, now, fresh=self._is_fresh(attempt))
        claims = read_claims({str(name): value for name, value in standard(assertion).items()}, self._offers)
        identity = Identity(
            provider=self._preset.id,
            key=IdentityKey(issuer=NS, subject=assertion.claimed_id),
            claims=claims,
            verified=frozenset(),
            granted=frozenset(offer.scope for offer in self._offers if offer.claim in claims),
            declined=frozenset(offer.claim for offer in self._offers if offer.claim not in claims),
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

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found: list[Problem] = []

        def add(key: str, what: str, fix: str, severity: str = "error") -> None:
            found.append(Problem(file="", line=0, key=key, what=what, fix=fix, severity=severity))

        if not preset.endpoints.get("authorization"):
            add("endpoints.authorization", "is missing.", "Write the provider's OpenID 2.0 endpoint.")
        if not preset.identifiers:
            fix = 'Write how its identifiers start: identifiers = ["https://people.example.org/"].'
            add("identifiers", "is missing, so it could name anybody.", fix)
        for start in preset.identifiers:
            if not is_identifier(start) or normal_form(start) != start or not start.endswith("/"):
                fix = "Give scheme, host and path up to a /, in small letters."
                add("identifiers", f"names {start!r}, which is no beginning of an address.", fix)
            elif urlsplit(start).scheme != "https" and not preset.sandbox:
                add("identifiers", f"names {start!r}: on the way anybody can answer for it.", "Use https.", "warning")
        for claim in preset.fields:
            if claim not in SCOPE_OF:
                add(
                    "fields",
                    f"names {claim!r}, for which OpenID 2.0 has no word.",
                    f"Known: {', '.join(sorted(SCOPE_OF))}.",
                )
        if preset.trusts_email:
            add(
                "trusts_email",
                "has no effect: OpenID 2.0 never says that an address was proved.",
                "Remove it.",
                "warning",
            )
        return found


PROVIDER = OpenID2


def may_name(claimed_id: str, beginnings: tuple[str, ...]) -> bool:
    """Whether the provider may speak for this identifier: one spelling only, and under one of these beginnings."""
    return normal_form(claimed_id) == claimed_id and any(
        claimed_id.startswith(start) and len(claimed_id) > len(start) for start in beginnings
    )

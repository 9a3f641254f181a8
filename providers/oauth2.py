"""Sign in with a service that speaks plain OAuth 2.0 (RFC 6749) and is not OpenID Connect, as its preset describes it.

OAuth says what may be done, not who is there. So the answer about the person counts only when it was fetched with a token
that this very attempt got: PKCE ties the token to the attempt, and a preset without PKCE is refused. Nothing says when
the person last typed a password, so a fresh sign-in cannot be asked for.

Where the answer has what is said by the preset: `subject` and each of `claims` is a path (`data.id`) or an address with
paths in it (`https://cdn.example/{id}/{avatar}.png`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from urllib.parse import quote

from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, GIVEN
from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Identified, Identity, UpstreamTokens
from broker.domain.values import IdentityKey
from broker.errors import Problem, UpstreamInvalid, UpstreamUnavailable
from providers._claims import hint, is_true, offers_of, read_claims, scopes_for
from providers._described import Described
from providers._findings import Findings
from providers._http import (
    JSON,
    SERVER_FAULT,
    TOO_MANY,
    UpstreamHTTP,
    UpstreamResponse,
    read_list,
    read_success,
)
from providers._id_token import read_subject
from providers._oauth import (
    TokenAnswer,
    build_authorization_url,
    check_response_issuer,
    given_back,
    post_as,
    read_callback,
    read_token_answer,
    renewed,
)
from providers.preset import Preset

BINDINGS: Final = frozenset({"state", "pkce"})
IGNORED: Final[frozenset[str]] = frozenset()
"""What is read is what the preset names: nothing else is looked at."""
NEEDED: Final = ("authorization", "token", "userinfo")
VERIFIED: Final = "email_verified"
"""In `claims`: where the answer says that the address was proved."""
MAX_REPLY: Final = 64 * 1024
MOST_ADDRESSES: Final = 100

_PLACE = re.compile(r"\{([^{}]+)\}")


class OAuth2(Described):
    """One OAuth 2.0 service."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, http, clock
        usual = preset.scopes[0] if preset.scopes else ""
        scope_of = dict.fromkeys(preset.fields, usual) | ({EMAIL: preset.email_scope} if preset.email_scope else {})
        self._offers = offers_of(preset.fields, scope_of)
        self._scopes = tuple(scope for scope in scopes_for(self._offers, *preset.scopes) if scope)

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return self._scopes

    @property
    def can_force_fresh(self) -> bool:
        return False

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where to send the browser (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
        return build_authorization_url(
            self._preset.endpoints["authorization"],
            client_id=self._preset.client_id,
            redirect_uri=attempt.redirect_uri,
            scopes=attempt.scopes,
            state=attempt.state,
            code_challenge=challenge_of(attempt.code_verifier),
            code_challenge_method="S256",
            response_mode=self._preset.response_mode,
            prompt="consent" if attempt.ask_again else None,
        )

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: one exchange of the code, then what the service says of whoever the token is for.

        A token that it names nobody for is given back.
        """
        check_response_issuer(callback, self._preset.issuer, promised=False)
        answer = await self._redeem(attempt, read_callback(callback))
        tokens = answer.tokens(self._clock.now(), attempt.scopes)
        try:
            return Identified(identity=await self._identity(tokens), tokens=tokens)
        except BaseException:
            await given_back(self.revoke(tokens))
            raise

    async def _identity(self, tokens: UpstreamTokens) -> Identity:
        """Whom the service names for a token."""
        preset = self._preset
        reads_address = EMAIL in preset.fields and preset.email_scope in tokens.scopes
        where = "userinfo_email" if reads_address and "userinfo_email" in preset.endpoints else "userinfo"
        person = read_success(await self._get(preset.endpoints[where], tokens), "userinfo")
        subject = read_name(value_at(person, preset.subject))
        raw: dict[str, object] = {claim: value_at(person, path) for claim, path in preset.claims.items()}
        if reads_address and "emails" in preset.endpoints:
            response = await self._get(preset.endpoints["emails"], tokens)
            raw |= primary(read_list(response, "emails")[:MOST_ADDRESSES])
        claims = read_claims(raw, self._offers)
        is_proved = preset.trusts_email and EMAIL in claims and is_true(raw.get(VERIFIED))
        return Identity(
            provider=preset.id,
            key=IdentityKey(issuer=preset.issuer, subject=subject),
            claims=claims,
            verified=frozenset({EMAIL}) if is_proved else frozenset(),
            granted=tokens.scopes,
            declined=frozenset(
                one.claim for one in self._offers if one.scope not in tokens.scopes and one.claim not in claims
            ),
            authenticated_at=None,
            account_hint=hint(claims) or subject,
        )

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Revoke what we hold, where there is an endpoint for it (RFC 7009)."""
        address = self._preset.endpoints.get("revocation")
        if address is None:
            return
        response = await post_as(
            self._http, self._preset, address, {"token": tokens.refresh_token or tokens.access_token}
        )
        if response.status not in {200, 204}:
            read_success(response, "revocation")

    async def renew(self, tokens: UpstreamTokens) -> UpstreamTokens:
        """New tokens for those that have run out (RFC 6749 §6). Nobody is named: they are for whom the old ones were."""
        now = self._clock.now()
        fresh, _ = await renewed(self._http, self._preset, self._preset.endpoints["token"], tokens, now)
        return fresh

    async def check(self) -> None:
        """Its page for signing in answers, whatever it says to a request without parameters."""
        response = await self._http.request("GET", self._preset.endpoints["authorization"])
        if response.status >= SERVER_FAULT or response.status == TOO_MANY:
            raise UpstreamUnavailable(f"status {response.status} authorization")

    async def _redeem(self, attempt: Attempt, code: str) -> TokenAnswer:
        """Exchange the code, once (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.code_verifier,
        }
        return read_token_answer(await post_as(self._http, self._preset, self._preset.endpoints["token"], form))

    async def _get(self, address: str, tokens: UpstreamTokens) -> UpstreamResponse:
        headers = {**JSON, "Authorization": f"Bearer {tokens.access_token}"}
        response = await self._http.request("GET", address, headers=headers)
        if len(response.body) > MAX_REPLY:
            raise UpstreamInvalid("userinfo_size")
        return response

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        for name in NEEDED:
            if name not in preset.endpoints:
                found.add(f"endpoints.{name}", "is missing.", f'Write {name} = "https://…" in [{preset.id}.endpoints].')
        if not preset.issuer:
            fix = 'Write issuer = "https://…": with it people are told apart from those of other services.'
            found.add("issuer", "is missing.", fix)
        if preset.pkce is False:
            found.add("pkce", "is off, and nothing else ties an answer to its attempt here.", "Remove it.")
        if "userinfo_email" in preset.endpoints and not preset.email_scope:
            fix = f'Write email_scope = "…" in [{preset.id}], or remove it.'
            found.add("endpoints.userinfo_email", "is never asked: no scope lets us read the address.", fix)
        for claim in preset.claims:
            if claim not in GIVEN and claim != VERIFIED:
                found.add(f"claims.{claim}", "is no claim.", f"Known: {', '.join(sorted([*GIVEN, VERIFIED]))}.")
        for claim in preset.fields:
            if claim not in preset.claims and not (claim == EMAIL and "emails" in preset.endpoints):
                fix = f'Write {claim} = "…" in [{preset.id}.claims]: where its answer has it; or leave it out.'
                found.add("fields", f"names {claim!r}, and nothing says where it is found.", fix)
        if preset.trusts_email and VERIFIED not in preset.claims and "emails" not in preset.endpoints:
            fix = f"Write {VERIFIED} in [{preset.id}.claims] or emails in [{preset.id}.endpoints], or remove it."
            found.add(
                "trusts_email", "has no effect: nothing says where it tells that an address is proved.", fix, "warning"
            )
        return found


PROVIDER = OAuth2


def value_at(answer: Mapping[str, Any], path: str) -> object:
    """What stands in an answer at a path, or an address made from several; `None` where anything is missing."""
    places = _PLACE.findall(path)
    if not places:
        found: object = answer
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found
    made = path
    for place in places:
        value = value_at(answer, place)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return None
        made = made.replace("{" + place + "}", quote(str(value), safe=""))
    return made


def read_name(raw: object) -> str:
    """The lasting name of a person; many services number theirs. Raises `UpstreamInvalid("sub")`."""
    return read_subject(str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw, "sub")


def primary(addresses: Sequence[Any]) -> dict[str, object]:
    """Of a person's addresses the one they made their main one, and what is said about its being proved."""
    for one in addresses:
        if isinstance(one, Mapping) and one.get("primary") is True:
            return {EMAIL: one.get("email"), VERIFIED: one.get("verified")}
    return {EMAIL: None, VERIFIED: None}

"""OpenID Connect as a relying party (OpenID Connect Core 1.0, Discovery 1.0, RFC 9207), for every kind that speaks it.

One instance serves all sign-ins: metadata and keys are kept (`_keys`), so that a sign-in costs one token request and one
signature check. The userinfo endpoint is asked only when the ID token lacks a field that was promised: providers that
follow OpenID Connect Core §5.4 to the letter put names and addresses there and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from broker.domain.browser_state import origin_of
from broker.domain.checks.token import challenge_of
from broker.domain.claims import COMPANIONS, EMAIL, PHONE
from broker.domain.ports import Clock
from broker.domain.provider import (
    Attempt,
    Identified,
    Identity,
    Named,
    OfferedField,
    Once,
    OurRequests,
    SignedOut,
    UpstreamTokens,
    Us,
    session_name,
)
from broker.domain.values import ClaimName, IdentityKey, Secret
from broker.errors import NotRenewed, Problem, UpstreamError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from broker.verification import Cached, verified
from providers._claims import SCOPE_OF, hint, is_true, offers_of, read_claims, scopes_for
from providers._described import Described
from providers._findings import Findings
from providers._http import JSON, OK, Unnamed, UpstreamHTTP, UpstreamResponse, is_jwt, read_success
from providers._id_token import FRESH, SKEW, Expected, VerifiedClaims, read_subject, read_time, verify_id_token
from providers._keys import METADATA_FRESH, IssuerKeys
from providers._oauth import (
    TokenAnswer,
    build_authorization_url,
    check_response_issuer,
    given_back,
    post_as,
    read_callback,
    read_token_answer,
    renewed,
    safe_code,
)
from providers._openid2 import NS, is_identifier, normal_form
from providers.preset import PRIVATE_KEY, UNSIGNED, Preset, is_address

BINDINGS: Final = frozenset({"state", "nonce", "pkce", "signed_assertion"})
"""What ties an answer to the attempt it belongs to (decision 23)."""

OFFLINE: Final = "offline_access"
"""Asks for a refresh token, which needs the person's consent on the spot (OpenID Connect Core §11)."""
GOOGLE: Final = "https://accounts.google.com"
LOGOUT: Final = "http://schemas.openid.net/event/backchannel-logout"
OLDEST_LOGOUT: Final = timedelta(minutes=10)
"""How long after it was made a logout token is taken: providers try again for some minutes."""
MAX_SID: Final = 255
"""Characters of a session's name."""
MAX_JTI: Final = 255
MAX_HINT: Final = 2048
"""Characters of an ID token that is kept: it goes through an address, which servers and proxies take up to some length."""
_LOGOUT_TYPES: Final = frozenset({"logout+jwt", "application/logout+jwt", "jwt", "application/jwt"})
"""Many providers still write the old one, or none (Back-Channel Logout §2.4)."""
_USERINFO_TYPES: Final = frozenset({"jwt", "application/jwt"})
MAX_REPLY: Final = 64 * 1024
"""Bytes of a userinfo answer. Authlib and most clients set no bound; a person's details fit many times over."""

IGNORED: Final = frozenset(
    {
        # about the token or the sign-in, checked or of no use
        "iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "auth_time", "acr", "amr", "at_hash", "c_hash",
        "s_hash", "jti", "sid", "session_state", "typ", "ver", "rat", "updated_at",
        # who this was in OpenID 2.0: read only where a preset asks for it
        "openid2_id",
        # used for judging an address, never kept
        "email_verified", "phone_number_verified", "hd",
        # said by some provider, of no use here
        "groups", "groups_direct", "sub_legacy", "https://gitlab.org/claims/groups/owner", "tid", "oid",
        # never fetched: addresses the provider would have us call (OpenID Connect Core §5.6.2)
        "_claim_names", "_claim_sources",
        # Slack: the workspace, and pictures in every size
        "https://slack.com/user_id", "https://slack.com/team_id", "https://slack.com/team_name",
        "https://slack.com/team_domain", "https://slack.com/team_image_default", "date_email_verified", "ok",
        *(f"https://slack.com/user_image_{size}" for size in (24, 32, 48, 72, 192, 512)),
        *(f"https://slack.com/team_image_{size}" for size in (34, 44, 68, 88, 102, 132, 230)),
        # Yahoo
        "profile_images",
    }
)  # fmt: skip
"""Claims that may arrive and are left where they are. A new one makes a recording's test fail until someone decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What we use of a provider's metadata (OpenID Connect Discovery §3), after checking it."""

    authorization: str
    token: str
    jwks: str
    userinfo: str | None
    revocation: str | None
    end_session: str | None = None
    """Where people sign out there (RP-Initiated Logout §2.1)."""
    sends_iss: bool
    """Whether every authorization response carries `iss` (RFC 9207 §3)."""


_TAKES: Final = {"by_value": "request_parameter_supported", "by_reference": "request_uri_parameter_supported"}


class OpenIDConnect(Described):
    """One OpenID provider, as its preset describes it."""

    signs_requests = True
    """Whether what goes there can be signed with our keys."""
    scope_of: Mapping[ClaimName, str] = SCOPE_OF
    ends_a_token: bool = True
    """Whether giving a token back ends that token and its grant, and not all that the person ever allowed us there."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, http, clock
        self._offers = offers_of(preset.fields, _scopes_of(preset) if preset.email_scope else self.scope_of)
        is_told = preset.scopes and not preset.email_scope
        asked = preset.scopes if is_told else scopes_for(self._offers, *preset.scopes)
        former = ("openid2",) if preset.openid2_realm else ()
        self._scopes = tuple(dict.fromkeys(("openid", *asked, *former)))
        self._metadata: Cached[Metadata] = Cached(self._discover, self._read_metadata, clock, METADATA_FRESH)
        self._keys = IssuerKeys(http, self._jwks_address, clock)
        self._ours: OurRequests | None = None

    def introduce(self, us: Us) -> None:
        """Say what signs for us: without it nobody is sent where a signature is wanted."""
        self._ours = us.requests

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return self._scopes

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where to send the browser (OpenID Connect Core §3.1.2.1); what we ask stands there, or in an object (§6)."""
        preset, endpoint = self._preset, (await self._where()).authorization
        if preset.request_object is None:
            return build_sign_in_url(preset, endpoint, attempt)
        requests = self._requests()
        request = requests.request(
            object_parameters(preset, attempt),
            client_id=preset.client_id,
            provider_issuer=preset.issuer,
            algorithm=preset.request_object_signing_alg,
        )
        if preset.request_object == "by_value":
            return build_object_url(preset, endpoint, request=request)
        return build_object_url(preset, endpoint, request_uri=await requests.leave(preset.id, request))

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back. The order matters: who answers, then what, then one exchange of the code.

        What came with an answer that nobody can be known by is given back.
        """
        metadata = await self._where()
        check_response_issuer(callback, self._preset.issuer, promised=metadata.sends_iss)
        answer = await self._redeem(metadata, attempt, read_callback(callback))
        tokens = answer.tokens(self._clock.now(), attempt.scopes)
        try:
            return await self._identified(metadata, attempt, callback, answer, tokens)
        except BaseException:
            if self.ends_a_token:
                await given_back(self.revoke(tokens))
            raise

    async def _identified(
        self,
        metadata: Metadata,
        attempt: Attempt,
        callback: Mapping[str, str],
        answer: TokenAnswer,
        tokens: UpstreamTokens,
    ) -> Identified:
        """Whom an answer names."""
        claims = await self._verify(attempt, answer, self._clock.now())
        self._admit(claims)
        if tokens.refresh_token is not None:
            tokens = replace(tokens, named=named_in(claims))
        more = {**self._told(callback), **await self._userinfo(metadata, claims, tokens)}
        identity = read_identity(self._preset, self._offers, claims, more, tokens.scopes)
        if self.keeps_hints and len(answer.id_token or "") <= MAX_HINT:
            identity = replace(identity, id_token=answer.id_token)
        return Identified(
            identity=identity,
            tokens=tokens,
            former=former_of(claims) if self._preset.openid2_realm else None,
        )

    async def read_logout(self, token: str) -> SignedOut:
        """Who signed out there (OpenID Connect Back-Channel Logout 1.0 §2.6).

        A token that names a session alone is refused: we know people by their subject. Raises `UpstreamInvalid(check)`.
        """
        preset = self._preset
        _, claims = await verified(token, self._keys, algorithms=preset.algorithms, types=_LOGOUT_TYPES, check="logout")
        if claims.get("iss") != preset.issuer:
            raise UpstreamInvalid("logout_iss")
        audience = claims.get("aud")
        if preset.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise UpstreamInvalid("logout_aud")
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT), dict):
            raise UpstreamInvalid("logout_events")
        if "nonce" in claims:  # an ID token that somebody caught is none (§2.4)
            raise UpstreamInvalid("logout_nonce")
        made, now = read_time(claims, "iat"), self._clock.now()
        over = read_time(claims, "exp", needed=False)
        if made is None or not now - OLDEST_LOGOUT <= made <= now + SKEW:
            raise UpstreamInvalid("logout_iat")
        if over is not None and now >= over + SKEW:
            raise UpstreamInvalid("logout_exp")
        name = claims.get("jti")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_JTI:
            raise UpstreamInvalid("logout_jti")
        subject = read_subject(claims.get("sub"), "logout_sub")
        return SignedOut(
            key=IdentityKey(issuer=preset.issuer, subject=subject),
            session=_session_of(preset.issuer, claims),
            at=made,
            once=Once(key=f"{preset.issuer} {name}", until=made + OLDEST_LOGOUT + SKEW),
        )

    @property
    def framed_by(self) -> str:
        """Whose pages may tell us of sign-outs in a frame."""
        return origin_of(self._preset.issuer) if self._preset.frontchannel_logout else ""

    def read_frame(self, params: Mapping[str, str]) -> str:
        """Which session is over (OpenID Connect Front-Channel Logout 1.0 §2): both names, to the letter.

        Raises `UpstreamInvalid("frame_iss")` and `UpstreamInvalid("frame_sid")`.
        """
        if params.get("iss") != self._preset.issuer:
            raise UpstreamInvalid("frame_iss")
        named = _session_of(self._preset.issuer, params)
        if named is None:
            raise UpstreamInvalid("frame_sid")
        return named

    @property
    def keeps_hints(self) -> bool:
        """Whether its ID token is kept, to be shown there when the person signs out."""
        return self._preset.rp_initiated_logout and self._preset.id_token_hint

    @property
    def ends_sessions(self) -> bool:
        """Whether people are offered to sign out there too."""
        return self._preset.rp_initiated_logout

    async def sign_out_url(self, *, back: str, state: str, locale: str, hint: str | None = None) -> str:
        """Where people sign out there (OpenID Connect RP-Initiated Logout 1.0 §2).

        Without a `hint` the provider asks the person. Raises `UpstreamInvalid("discovery_end_session")`.
        """
        address = (await self._where()).end_session
        if address is None:
            raise UpstreamInvalid("discovery_end_session", "missing")
        asked = {
            "client_id": self._preset.client_id,
            "post_logout_redirect_uri": back,
            "state": state,
            "ui_locales": locale,
            **({"id_token_hint": hint} if hint is not None and self.keeps_hints else {}),
        }
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    async def succeeds(self, former: IdentityKey, key: IdentityKey) -> bool:
        """Ask the OpenID 2.0 identifier itself who speaks for it now (OpenID 2.0 to Connect Migration §5).

        Always, also where both are at one host: others may have pages there. Redirects are not followed.
        """
        response = await Unnamed(self._http).request("GET", former.subject.partition("#")[0], headers=JSON)
        try:
            return read_success(response, "openid2_id").get("iss") == key.issuer
        except (UpstreamInvalid, UpstreamRejected):
            return False

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Revoke what we hold, where there is an endpoint for it (RFC 7009): the refresh token ends the grant."""
        address = (await self._where()).revocation
        if address is None:
            return
        token = tokens.refresh_token or tokens.access_token
        kind = "refresh_token" if tokens.refresh_token else "access_token"
        response = await post_as(self._http, self._us(), address, {"token": token, "token_type_hint": kind})
        if response.status not in {200, 204}:
            read_success(response, "revocation")

    async def renew(self, tokens: UpstreamTokens) -> UpstreamTokens:
        """New tokens for those that have run out (RFC 6749 §6), for the same person (OpenID Connect Core §12.2).

        An ID token may be left out. One that comes is checked like any other, and says what the first one said. What came
        with one that does not is given back: nobody would hold it any more, and the old tokens are no help to end it.
        """
        if tokens.named is None:  # kept by a version that did not write down whom they are of
            raise NotRenewed("nobody was named")
        now = self._clock.now()
        fresh, answer = await renewed(self._http, self._us(), (await self._where()).token, tokens, now)
        if answer.id_token is None:
            return fresh
        try:
            check_renewed(await self._verify_renewed(answer, now), tokens.named)
        except UpstreamError as error:
            is_other = fresh.refresh_token != tokens.refresh_token
            if is_other or isinstance(error, UpstreamInvalid):
                new = fresh if is_other else replace(fresh, refresh_token=None)
                await given_back(self.revoke(new))
            raise
        return fresh

    async def check(self) -> None:
        """Metadata and keys are there and usable."""
        await self._where()
        await self._keys.load()

    def _us(self) -> Preset:
        """How we prove ourselves, now. Raises `UpstreamUnavailable` where a signature is wanted and nobody can sign."""
        preset = self._preset
        if preset.token_endpoint_auth_method != PRIVATE_KEY:
            return preset
        proof = self._requests().assertion(
            client_id=preset.client_id,
            provider_issuer=preset.issuer,
            algorithm=preset.token_endpoint_auth_signing_alg,
        )
        return replace(preset, client_secret=Secret(proof))

    def _requests(self) -> OurRequests:
        if self._ours is None:
            raise UpstreamUnavailable("request nobody can sign it")
        return self._ours

    async def _where(self) -> Metadata:
        """The provider's addresses."""
        return await self._metadata.value()

    def _admit(self, claims: VerifiedClaims) -> None:
        """A last word on whom the provider named. Raises `UpstreamInvalid`."""

    @staticmethod
    def _told(callback: Mapping[str, str]) -> Mapping[str, object]:  # noqa: ARG004 - some providers tell something
        """What the answer itself says about the person, in standard claims. Signed by nobody."""
        return {}

    async def _redeem(self, metadata: Metadata, attempt: Attempt, code: str) -> TokenAnswer:
        """Exchange the code, once: a code whose exchange failed is never tried again (RFC 6749 §4.1.2)."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": attempt.redirect_uri}
        if self._preset.pkce is not False:
            form["code_verifier"] = attempt.code_verifier
        response = await post_as(self._http, self._us(), metadata.token, form)
        return read_token_answer(response, signed=self._preset.signed.proofs)

    async def _verify_renewed(self, answer: TokenAnswer, now: datetime) -> VerifiedClaims:
        preset = self._preset
        expected = Expected(
            issuer=preset.issuer,
            client_id=preset.client_id,
            nonce=None,
            algorithms=preset.algorithms,
            access_token=answer.access_token,
            trusted_audiences=preset.trusted_audiences,
        )
        return await verify_id_token(answer.id_token or "", expected, self._keys, now)

    async def _verify(self, attempt: Attempt, answer: TokenAnswer, now: datetime) -> VerifiedClaims:
        if answer.id_token is None:  # without it nobody was named: an access token says nothing about who asked
            raise UpstreamInvalid("id_token", "missing")
        preset = self._preset
        expected = Expected(
            issuer=preset.issuer,
            client_id=preset.client_id,
            nonce=attempt.nonce if preset.nonce else None,
            algorithms=preset.algorithms,
            access_token=answer.access_token,
            trusted_audiences=preset.trusted_audiences,
            fresh=attempt.fresh and preset.can_force_fresh,
        )
        return await verify_id_token(answer.id_token, expected, self._keys, now)

    async def _userinfo(self, metadata: Metadata, claims: VerifiedClaims, tokens: UpstreamTokens) -> Mapping[str, Any]:
        """What the userinfo endpoint adds, about the same person or not at all (OpenID Connect Core §5.3.2)."""
        wanted = (offer.claim for offer in self._offers if offer.scope in tokens.scopes)
        if metadata.userinfo is None or all(claim in claims.claims for claim in wanted):
            return {}
        accept = {"Accept": "application/jwt"} if self._preset.userinfo_signed_response_alg else JSON
        headers = {**accept, "Authorization": f"Bearer {tokens.access_token}"}
        response = await self._http.request("GET", metadata.userinfo, headers=headers)
        if len(response.body) > MAX_REPLY:
            raise UpstreamInvalid("userinfo_size")
        found = await self._read_userinfo(response, claims.issuer)
        if "error" in found and "sub" not in found:  # some say so with status 200
            raise UpstreamRejected(f"userinfo {safe_code(found['error'])}")
        if found.get("sub") != claims.subject:
            raise UpstreamInvalid("userinfo_sub")
        return found

    async def _read_userinfo(self, response: UpstreamResponse, issuer: str) -> Mapping[str, Any]:
        """What the answer says. One that is signed counts only if the provider signed it, for us (OpenID Connect Core §5.3.2).

        Both names may be missing, as LemonLDAP::NG 2.16 leaves them out: they became a must with the second set of errata.
        No other token of a provider lacks them, and the answer came over TLS for our access token.
        """
        wanted = self._preset.userinfo_signed_response_alg
        if response.status != OK or not (wanted or is_jwt(response)):
            return read_success(response, "userinfo")
        if not is_jwt(response):
            raise UpstreamInvalid("userinfo_unsigned")
        text = response.body.decode("ascii", "replace").strip()
        allowed = (wanted,) if wanted else self._preset.algorithms
        _, claims = await verified(text, self._keys, algorithms=allowed, types=_USERINFO_TYPES, check="userinfo")
        if claims.get("iss", issuer) != issuer:
            raise UpstreamInvalid("userinfo_iss")
        audience = claims.get("aud", self._preset.client_id)
        if self._preset.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise UpstreamInvalid("userinfo_aud")
        over = read_time(claims, "exp", needed=False)
        if over is not None and self._clock.now() >= over + SKEW:
            raise UpstreamInvalid("userinfo_exp")
        return claims

    async def _jwks_address(self) -> str:
        return (await self._where()).jwks

    async def _discover(self) -> UpstreamResponse:
        preset = self._preset
        default = preset.issuer.removesuffix("/") + "/.well-known/openid-configuration"
        return await self._http.request("GET", preset.endpoints.get("discovery", default), headers=JSON)

    def _read_metadata(self, response: UpstreamResponse) -> Metadata:
        return read_metadata(self._preset, read_success(response, "discovery"))

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        if not preset.issuer:
            found.add("issuer", "is missing.", 'Write issuer = "https://…", exactly as the provider spells it.')
        elif "?" in preset.issuer or "#" in preset.issuer:
            found.add("issuer", "has a query.", "Give the issuer as its metadata spells it.")
        if not preset.nonce and preset.pkce is False:
            text = "is off, and so is PKCE: who steals a code before it is used can sign in with it."
            found.add("nonce", text, "Only for a provider that knows neither, as LinkedIn.", "warning")
        elif not preset.nonce:
            text = "is off, so a stolen code is stopped by PKCE alone."
            found.add("nonce", text, "Remove it unless the provider forgets the nonce.", "warning")
        elif preset.pkce is False:
            text = "switches PKCE off, so a stolen code is stopped by the nonce alone."
            found.add("pkce", text, "Remove it unless the provider refuses PKCE.", "warning")
        if preset.id_token_hint and not preset.rp_initiated_logout:
            fix = "Write rp_initiated_logout = true beside it, or remove it."
            found.add("id_token_hint", "has no effect: nobody is sent there to sign out.", fix)
        if preset.request_object_signing_alg == UNSIGNED and preset.request_object == "by_value":
            text = "is none, and the object stands in the address: anybody could write it, so it proves nothing."
            found.add(
                "request_object_signing_alg", text, 'Choose RS256 or ES256, or write request_object = "by_reference".'
            )
        elif preset.request_object_signing_alg == UNSIGNED and preset.request_object:
            text = "is none: nothing proves to the provider that we ask but where it fetches what."
            found.add("request_object_signing_alg", text, "Choose RS256 or ES256 if it takes one of them.", "warning")
        return found


def build_sign_in_url(preset: Preset, endpoint: str, attempt: Attempt) -> str:
    """The authorization request for an attempt as an address (RFC 6749 §4.1.1)."""
    return build_authorization_url(endpoint, client_id=preset.client_id, **_asked(preset, attempt))


def object_parameters(preset: Preset, attempt: Attempt) -> dict[str, Any]:
    """The same for a request object: as JSON has it, numbers as numbers (OpenID Connect Core §6.1)."""
    asked = {name: value for name, value in _asked(preset, attempt).items() if value is not None}
    scopes = asked.pop("scopes")
    found: dict[str, Any] = {"response_type": "code", "scope": " ".join(scopes), **asked}
    if "max_age" in found:
        found["max_age"] = int(found["max_age"])
    if "claims" in found:
        found["claims"] = json.loads(found["claims"])
    return found


def build_object_url(preset: Preset, endpoint: str, **where: str) -> str:
    """An address with a request object in it or its own address, and what OAuth 2.0 and OpenID Connect want to see beside it
    (Core §6.1). `where`: `request` or `request_uri`."""
    asked = {"client_id": preset.client_id, "response_type": "code", "scope": "openid", **where}
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


def _asked(preset: Preset, attempt: Attempt) -> dict[str, Any]:
    """What is asked, by name. `prompt=login` and `max_age` together make a fresh sign-in provable."""
    fresh = attempt.fresh and preset.can_force_fresh
    pkce = preset.pkce is not False
    return {
        "redirect_uri": attempt.redirect_uri,
        "scopes": attempt.scopes,
        "state": attempt.state,
        "nonce": attempt.nonce if preset.nonce else None,
        "claims": asked_claims(preset.fields) if preset.asks_claims else None,
        "code_challenge": challenge_of(attempt.code_verifier) if pkce else None,
        "code_challenge_method": "S256" if pkce else None,
        "prompt": "login" if fresh else "consent" if attempt.ask_again or OFFLINE in attempt.scopes else None,
        "max_age": str(int(FRESH.total_seconds())) if fresh else None,
        "login_hint": attempt.login_hint,
        "ui_locales": " ".join(attempt.ui_locales) or None,
        "response_mode": preset.response_mode,
        "openid2_realm": preset.openid2_realm or None,
        "acr_values": " ".join(acr for acr in attempt.acr_values if acr in preset.acr_values) or None,
    }


def asked_claims(fields: Iterable[ClaimName]) -> str:
    """Each field by name, in either place (OpenID Connect Core §5.5), and whether an address was proved."""
    names = [str(name) for field in fields for name in (field, COMPANIONS.get(field)) if name]
    asked: dict[str, None] = dict.fromkeys(names)
    return json.dumps({"id_token": asked, "userinfo": asked}, separators=(",", ":"))


def _scopes_of(preset: Preset) -> Mapping[ClaimName, str]:
    """Scopes of a provider that has its own word for e-mail: it has one word for all the rest, too."""
    usual = next(iter(preset.scopes), "openid")
    return {**dict.fromkeys(preset.fields, usual), EMAIL: preset.email_scope}


def subject_of(preset: Preset, token: VerifiedClaims) -> str:
    """What never changes about a person: `sub`, with what it is unique in, where that is not the issuer.

    Raises `UpstreamInvalid("subject_within")`.
    """
    if not preset.subject_within:
        return token.subject
    within = read_subject(token.claims.get(preset.subject_within), "subject_within")
    if ":" in within:
        raise UpstreamInvalid("subject_within")
    return read_subject(f"{within}:{token.subject}", "subject_within")


def read_metadata(preset: Preset, raw: Mapping[str, Any]) -> Metadata:
    """The metadata document, with the preset's own addresses in place of the provider's.

    Raises `UpstreamInvalid` if its `issuer` is not ours to the last character (Discovery §4.3), if an address is
    missing or weaker than the issuer's, or if the provider cannot do what we always do.
    """
    if raw.get("issuer") != preset.issuer or not isinstance(raw.get("issuer"), str):
        raise UpstreamInvalid("discovery_issuer")
    types, methods = raw.get("response_types_supported", ["code"]), raw.get("code_challenge_methods_supported")
    if (not isinstance(types, list) or "code" not in types) and "token" not in preset.endpoints:
        raise UpstreamInvalid(
            "discovery_response_types"
        )  # who names a token address knows of a code flow not told here
    if isinstance(methods, list) and methods and "S256" not in methods and preset.pkce is not False:
        raise UpstreamInvalid("discovery_pkce")
    modes = raw.get("response_modes_supported")
    if preset.response_mode and isinstance(modes, list) and preset.response_mode not in modes:
        raise UpstreamInvalid("discovery_response_modes")
    if preset.request_object is not None and raw.get(_TAKES[preset.request_object]) is False:
        raise UpstreamInvalid("discovery_request_object")
    requests = raw.get("request_object_signing_alg_values_supported")
    if preset.request_object and isinstance(requests, list) and preset.request_object_signing_alg not in requests:
        raise UpstreamInvalid("discovery_request_object_alg")
    signed = raw.get("userinfo_signing_alg_values_supported")
    if preset.userinfo_signed_response_alg and preset.userinfo_signed_response_alg not in (
        signed if isinstance(signed, list) else [preset.userinfo_signed_response_alg]
    ):
        raise UpstreamInvalid("discovery_userinfo_alg")
    return Metadata(
        authorization=_needed(preset, raw, "authorization", "authorization_endpoint"),
        token=_needed(preset, raw, "token", "token_endpoint"),
        jwks=_needed(preset, raw, "jwks", "jwks_uri"),
        userinfo=_address(preset, raw, "userinfo", "userinfo_endpoint"),
        revocation=_address(preset, raw, "revocation", "revocation_endpoint"),
        end_session=_address(preset, raw, "end_session", "end_session_endpoint"),
        sends_iss=raw.get("authorization_response_iss_parameter_supported") is True,
    )


def _needed(preset: Preset, raw: Mapping[str, Any], name: str, key: str) -> str:
    address = _address(preset, raw, name, key)
    if address is None:
        raise UpstreamInvalid(f"discovery_{name}", "missing")
    return address


def _address(preset: Preset, raw: Mapping[str, Any], name: str, key: str) -> str | None:
    """An endpoint's address: the operator's, or the provider's if it is no less protected than the issuer."""
    if name in preset.endpoints:
        return preset.endpoints[name]
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not is_address(value):
        raise UpstreamInvalid(f"discovery_{name}")
    if urlsplit(preset.issuer).scheme == "https" and urlsplit(value).scheme != "https":
        raise UpstreamInvalid(f"discovery_{name}", "not https")
    return value


def read_identity(
    preset: Preset,
    offers: tuple[OfferedField, ...],
    token: VerifiedClaims,
    userinfo: Mapping[str, Any],
    granted: frozenset[str],
) -> Identity:
    """Who this is. The ID token wins over userinfo, and alone says which person it is about."""
    raw = {**userinfo, **token.claims}
    for claim, companion in COMPANIONS.items():
        # A word about an address or number counts only from whoever named that very one.
        naming = [told for told in (token.claims, userinfo) if claim in told and told[claim] == raw[claim]]
        raw[companion] = next((told[companion] for told in naming if companion in told), None)
    claims = read_claims(raw, offers)
    vouched = {EMAIL: vouches_for_email(preset, raw), PHONE: vouches_for_phone(preset, raw)}
    verified = frozenset(claim for claim, is_vouched_for in vouched.items() if is_vouched_for and claim in claims)
    return Identity(
        provider=preset.id,
        key=IdentityKey(issuer=token.issuer, subject=subject_of(preset, token)),
        claims=claims,
        verified=verified,
        granted=granted,
        declined=_declined(offers, claims, granted),
        authenticated_at=token.auth_time,
        amr=token.amr,
        acr=preset.believed(token.acr),
        account_hint=hint(claims),
        session=_session_of(token.issuer, token.claims),
    )


def _session_of(issuer: str, claims: Mapping[str, Any]) -> str | None:
    """The provider's session, where it names one we can keep (Back-Channel Logout §2.1)."""
    sid = claims.get("sid")
    return session_name(issuer, sid) if isinstance(sid, str) and 0 < len(sid) <= MAX_SID else None


def former_of(token: VerifiedClaims) -> IdentityKey | None:
    """The OpenID 2.0 identifier that the ID token names, if it is one (Migration §4); userinfo does not count."""
    former = token.claims.get("openid2_id")
    if not isinstance(former, str) or not is_identifier(former) or normal_form(former) != former:
        return None
    return IdentityKey(issuer=NS, subject=former)


def vouches_for_phone(preset: Preset, raw: Mapping[str, Any]) -> bool:
    """Whether the number counts as verified: the operator trusts this provider, and the provider says so."""
    return preset.trusts_phone and is_true(raw.get("phone_number_verified"))


def vouches_for_email(preset: Preset, raw: Mapping[str, Any]) -> bool:
    """Whether the address counts as verified: the operator trusts this provider, and the provider says so.

    Google runs only gmail.com and Workspace domains (`hd`); any other mailbox may have changed hands since (§3.4).
    """
    if not preset.trusts_email or not is_true(raw.get("email_verified")):
        return False
    if preset.issuer != GOOGLE:
        return True
    address, workspace = raw.get("email"), raw.get("hd")
    return (isinstance(address, str) and address.lower().endswith("@gmail.com")) or (
        isinstance(workspace, str) and bool(workspace)
    )


def named_in(token: VerifiedClaims) -> Named:
    """What of an ID token has to be the same in those that come with renewed tokens."""
    nonce, azp = token.claims.get("nonce"), token.claims.get("azp")
    return Named(
        issuer=token.issuer,
        subject=token.subject,
        nonce=nonce if isinstance(nonce, str) else None,
        azp=azp if isinstance(azp, str) else None,
        auth_time=token.auth_time,
        issued_at=read_time(token.claims, "iat"),
    )


def check_renewed(token: VerifiedClaims, first: Named) -> None:
    """Whether an ID token that came with renewed tokens is about whom the first one was (OpenID Connect Core §12.2).

    A nonce need not come again, but is the first one if it does; the time of the sign-in is the first one's if it comes;
    `azp` comes if it came. Raises `UpstreamInvalid(check)`.
    """
    found = named_in(token)
    for name, is_same in (
        ("iss", found.issuer == first.issuer),
        ("sub", found.subject == first.subject),
        ("azp", found.azp == first.azp),
        ("nonce", "nonce" not in token.claims or (found.nonce is not None and found.nonce == first.nonce)),
        ("iat", found.issued_at is None or first.issued_at is None or found.issued_at >= first.issued_at),
        ("auth_time", found.auth_time is None or first.auth_time is None or found.auth_time == first.auth_time),
    ):
        if not is_same:
            raise UpstreamInvalid(f"renewed_{name}")


def _declined(
    offers: tuple[OfferedField, ...], claims: Mapping[ClaimName, str], granted: frozenset[str]
) -> frozenset[ClaimName]:
    """Fields whose scope the person did not grant there."""
    return frozenset(offer.claim for offer in offers if offer.scope not in granted and offer.claim not in claims)

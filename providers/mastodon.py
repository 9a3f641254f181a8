"""Sign in with whichever Mastodon server somebody names: we register ourselves there, once, and keep what it gave us.

Source: docs.joinmastodon.org (methods/apps, methods/oauth, methods/accounts); other software that speaks the same
interface counts as well. A server says who its own people are and nobody else's: the key of a person is the server and
the address of their account (its ActivityPub actor), as the table of one pinned server has it, so that both are one.

One address to come back to for each server: with a common one, a server could send people on to another and have us
redeem that one's code at itself (RFC 9700 §4.4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import quote

from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, NAME, PICTURE, PREFERRED_USERNAME
from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Found, Identified, Identity, OfferedField, UpstreamTokens, Us
from broker.domain.values import ClaimName, IdentityKey, ProviderId, Secret
from broker.errors import FormInvalid, Problem, UpstreamInvalid, UpstreamRejected
from providers._claims import hint, offers_of, read_claims
from providers._findings import Findings
from providers._http import JSON, Unnamed, UpstreamHTTP, post_form, read_success
from providers._id_token import read_subject
from providers._oauth import (
    TokenAnswer,
    authenticate,
    build_authorization_url,
    check_response_issuer,
    given_back,
    read_callback,
    read_token_answer,
)
from providers._typed import (
    KEPT_FOR,
    Policy,
    Registers,
    in_time,
    own_address,
    place_of,
    policy_problems,
    read_origin,
    told_apart,
    written_origin,
)
from providers._yadis import FIELD
from providers.preset import Preset, is_address

BINDINGS: Final = frozenset({"state", "pkce"})
IGNORED: Final = frozenset(
    {
        "id", "acct", "locked", "bot", "discoverable", "group", "created_at", "note", "avatar_static", "header",
        "header_static", "followers_count", "following_count", "statuses_count", "last_status_at", "fields", "source",
        "role", "indexable", "hide_collections", "noindex", "roles",
    }
)  # fmt: skip
"""What an account's own answer also tells."""
FIELD_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "display_name", PREFERRED_USERNAME: "username", PICTURE: "avatar", ClaimName("profile"): "url",
}  # fmt: skip
READ_BESIDE: Final = frozenset({"uri", "emojis"})
PROFILE_SCOPE: Final = "profile"
"""No more than who it is; since Mastodon 4.3."""
OLD_SCOPE: Final = "read:accounts"
"""The least that older servers have."""
KEPT_FOR_OLD: Final = timedelta(hours=12)
"""Servers before 4.3 throw away programs that nobody has used for a day."""
MAX_REPLY: Final = 256 * 1024
LONGEST: Final = 2048
"""Characters of an id or a secret."""

_METADATA = "/.well-known/oauth-authorization-server"
_NOT_FOUND = 404
_NO_PICTURE = "/missing.png"
"""The picture of who has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server says of itself (RFC 8414), with Mastodon's own addresses where it is too old to say."""

    issuer: str
    authorization: str
    token: str
    revocation: str
    apps: str
    scope: str
    promises_issuer: bool
    is_old: bool


class Mastodon(Registers):
    """Every server that the policy lets in."""

    asks = "server"
    called = "mastodon"

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, Unnamed(http), clock
        self._offers = offers_of(preset.fields, dict.fromkeys(FIELD_OF, PROFILE_SCOPE))
        self._policy = Policy.of(preset)

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return (PROFILE_SCOPE,)

    @property
    def can_force_fresh(self) -> bool:
        return False

    async def find(self, typed: str) -> Found:
        """The server that somebody named, and how it knows us."""
        origin = read_origin(typed, self._policy.scheme, "server")
        if not self._policy.allows(origin):
            raise FormInvalid({FIELD: "server_host"}, detail="server policy")
        return await told_apart(self._find(origin), "server")

    async def _find(self, origin: str) -> Found:
        server = await self._describe(origin)
        kept = await self._known_as(origin, lambda us: self._register(server, us, origin))
        return Found(
            endpoint=server.authorization,
            server=origin,
            place=place_of(origin),
            told={
                "client_id": kept["client_id"],
                "issuer": server.issuer,
                "token": server.token,
                "revocation": server.revocation,
                "scope": server.scope,
                **({"promises_issuer": "yes"} if server.promises_issuer else {}),
                **({"is_old": "yes"} if server.is_old else {}),
            },
        )

    async def _describe(self, origin: str) -> Server:
        response = await self._http.request("GET", origin + _METADATA, headers=JSON)
        if response.status == _NOT_FOUND:
            return read_server({}, origin, is_old=True)
        return read_server(read_success(response, "server"), origin, is_old=False)

    async def _register(self, server: Server, us: Us, origin: str) -> Mapping[str, str]:
        form = {
            "client_name": us.name,
            "redirect_uris": us.callback(self.id, place_of(origin)),
            "scopes": server.scope,
            "website": us.issuer,
        }
        response = await post_form(self._http, server.apps, form)
        if response.status in {_NOT_FOUND, 405, 501}:
            raise UpstreamInvalid("server_apps", f"status {response.status}")
        told = read_success(response, "registration")
        return {name: _text(told, name) for name in ("client_id", "client_secret")}

    async def authorization_url(self, attempt: Attempt) -> str:
        """The server's own page (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
        found = _found(attempt)
        return build_authorization_url(
            found.endpoint,
            client_id=found.told["client_id"],
            redirect_uri=attempt.redirect_uri,
            scopes=(found.told["scope"],),
            state=attempt.state,
            code_challenge=challenge_of(attempt.code_verifier),
            code_challenge_method="S256",
            lang=next(iter(attempt.ui_locales), None),
            force_login="true" if attempt.fresh else None,
        )

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: one exchange of the code, who that is, and then what was given to us is given back."""
        found = _found(attempt)
        check_response_issuer(callback, found.told["issuer"], promised="promises_issuer" in found.told)
        code = read_callback(callback)
        if not self._policy.allows(found.server):
            raise UpstreamInvalid("server", "policy")
        return await in_time(self._identify(attempt, found, code), "sign-in")

    async def _identify(self, attempt: Attempt, found: Found, code: str) -> Identified:
        kept = await self._still_known_as(found.server, found.told["client_id"])
        answer = await self._redeem(attempt, found, code, Secret(kept["client_secret"]))
        try:
            person = await self._person(found, answer.access_token)
        finally:
            await given_back(self._give_back(found, answer.access_token, Secret(kept["client_secret"])))
        is_granted = answer.scopes is None or found.told["scope"] in answer.scopes
        identity = read_identity(self._preset.id, self._offers, found.server, person, is_granted=is_granted)
        await self._came_back(found.server, kept, KEPT_FOR_OLD if "is_old" in found.told else KEPT_FOR)
        return Identified(identity=identity, tokens=None)

    async def _redeem(self, attempt: Attempt, found: Found, code: str, secret: Secret) -> TokenAnswer:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.code_verifier,
        }
        body, headers = authenticate("client_secret_post", found.told["client_id"], secret, form)
        try:
            return read_token_answer(await post_form(self._http, found.told["token"], body, headers))
        except UpstreamRejected as error:
            await self._forgotten(found.server, error)
            raise

    async def _person(self, found: Found, token: str) -> dict[str, Any]:
        address = f"{found.server}/api/v1/accounts/verify_credentials"
        response = await self._http.request("GET", address, headers={**JSON, "Authorization": f"Bearer {token}"})
        if len(response.body) > MAX_REPLY:
            raise UpstreamInvalid("account_size")
        return read_success(response, "account")

    async def _give_back(self, found: Found, token: str, secret: Secret) -> None:
        body, headers = authenticate("client_secret_post", found.told["client_id"], secret, {"token": token})
        await post_form(self._http, found.told["revocation"], body, headers)

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Nothing is held that could be given back: it was, before anybody was shown anything."""

    async def check(self) -> None:
        """There is no one server whose state would say anything."""

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        if preset.discovery == "off":
            fix = 'Write discovery = "hosts" and hosts = ["social.example"], or discovery = "any".'
            found.add("discovery", "is off, so no server could be named.", fix)
        else:
            policy_problems(preset, found)
        if preset.endpoints:
            fix = 'Remove it. For one server and no other, write kind = "oauth2" as the guide `mastodon` has it.'
            found.add("endpoints", "has no effect: each server has its own.", fix)
        for claim in preset.fields:
            if claim not in FIELD_OF:
                what = "which Mastodon never tells." if claim == EMAIL else "for which Mastodon has no word."
                found.add("fields", f"names {claim!r}, {what}", f"Known: {', '.join(sorted(FIELD_OF))}.")
        if preset.trusts_email:
            found.add("trusts_email", "has no effect: Mastodon tells no address.", "Remove it.", "warning")
        return found


PROVIDER = Mastodon


def read_server(told: Mapping[str, Any], origin: str, *, is_old: bool) -> Server:
    """A server's metadata (RFC 8414 §2): it is about this very server, and names nobody else's addresses.

    Mastodon's own issuer ends in a slash, whatever RFC 8414 §3.3 makes of that. Raises `UpstreamInvalid`.
    """
    issuer = told.get("issuer", origin)
    if not isinstance(issuer, str) or issuer.removesuffix("/") != origin:
        raise UpstreamInvalid("server_issuer")
    scopes = told.get("scopes_supported")
    return Server(
        issuer=issuer,
        authorization=own_address(told, "authorization_endpoint", origin, f"{origin}/oauth/authorize"),
        token=own_address(told, "token_endpoint", origin, f"{origin}/oauth/token"),
        revocation=own_address(told, "revocation_endpoint", origin, f"{origin}/oauth/revoke"),
        apps=own_address(told, "app_registration_endpoint", origin, f"{origin}/api/v1/apps"),
        scope=PROFILE_SCOPE if isinstance(scopes, list) and PROFILE_SCOPE in scopes else OLD_SCOPE,
        promises_issuer=told.get("authorization_response_iss_parameter_supported") is True,
        is_old=is_old,
    )


def read_identity(
    provider: ProviderId,
    offers: tuple[OfferedField, ...],
    server: str,
    person: Mapping[str, Any],
    *,
    is_granted: bool = True,
) -> Identity:
    """Who it is, as their own server says. Raises `UpstreamInvalid("account…")`."""
    name = read_subject(person.get("username"), "account_name")
    raw = {str(claim): person.get(field) for claim, field in FIELD_OF.items()} | {"name": plain_name(person)}
    if str(raw["picture"]).endswith(_NO_PICTURE):
        raw["picture"] = None
    if not is_theirs(raw["profile"], server):  # a stranger's server could name the page of somebody known elsewhere
        raw["profile"] = None
    claims = read_claims(raw, offers) if is_granted else {}
    return Identity(
        provider=provider,
        key=IdentityKey(issuer=server, subject=actor_of(person, server, name)),
        claims=claims,
        verified=frozenset(),
        granted=frozenset({PROFILE_SCOPE}) if is_granted else frozenset(),
        declined=frozenset() if is_granted else frozenset(offer.claim for offer in offers),
        authenticated_at=None,
        account_hint=hint(claims),
    )


def actor_of(person: Mapping[str, Any], server: str, name: str) -> str:
    """The address of the account (ActivityPub §3.1): at this server. Older ones do not tell it, and all make it alike."""
    actor = person.get("uri", f"{server}/users/{quote(name, safe='')}")
    if not is_theirs(actor, server):
        raise UpstreamInvalid("account_uri")
    return read_subject(actor, "account_uri")


def is_theirs(address: object, server: str) -> bool:
    """Whether it is an address at this very server: it speaks for no other."""
    return isinstance(address, str) and is_address(address) and written_origin(address) == server


def plain_name(person: Mapping[str, Any]) -> object:
    """A display name without the server's own little pictures, which stand in it as `:blobcat:`."""
    name, emojis = person.get("display_name"), person.get("emojis")
    if not isinstance(name, str) or not isinstance(emojis, list):
        return name
    for emoji in emojis:
        code = emoji.get("shortcode") if isinstance(emoji, Mapping) else None
        if isinstance(code, str) and code:
            name = name.replace(f":{code}:", "")
    return " ".join(name.split())


def _found(attempt: Attempt) -> Found:
    if attempt.found is None or "client_id" not in attempt.found.told:
        raise UpstreamInvalid("server", "missing")
    return attempt.found


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isascii() or not value.isprintable():
        raise UpstreamInvalid(f"registration_{name}")
    return value

"""Sign in with an account of the AT Protocol, as Bluesky's: whoever runs the person's server, by the handle they type.

Source: atproto.com/specs/oauth. The handle says which DID, the DID where its data lies, and that place which server signs
people in. Nothing is registered: a server reads what we say of ourselves at the address that is our client id. Requests are
pushed (RFC 9126), and each carries a proof of a key (RFC 9449).

A server can say of anybody that they signed in: so the DID it names must itself name that server. The key of a person is the
DID alone, which stays the same when they move to another server.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any, Final
from urllib.parse import quote, urlencode

from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, NAME, PICTURE, PREFERRED_USERNAME
from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Found, Identified, Identity, UpstreamTokens, Us
from broker.domain.values import ClaimName, IdentityKey
from broker.errors import FormInvalid, Problem, UpstreamError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._claims import hint, offers_of, read_claims
from providers._described import Described
from providers._did import Names, Person, is_did, is_handle
from providers._dpop import ProofKey
from providers._findings import Findings
from providers._http import JSON, SERVER_FAULT, TOO_MANY, Unnamed, UpstreamHTTP, read_object, read_success
from providers._oauth import (
    check_response_issuer,
    given_back,
    read_callback,
    read_token_answer,
    safe_code,
)
from providers._typed import Policy, in_time, own_address, policy_problems, told_apart, written_origin
from providers._yadis import FIELD
from providers.preset import Preset, is_address

BINDINGS: Final = frozenset({"state", "pkce"})
IGNORED: Final = frozenset(
    {
        "$type",
        "createdAt",
        "banner",
        "description",
        "labels",
        "joinedViaStarterPack",
        "pinnedPost",
        "pronouns",
        "website",
    }
)
"""What a profile also tells."""
READ: Final = frozenset({"displayName", "avatar"})
PROFILE: Final = ClaimName("profile")
KNOWN: Final = (NAME, PREFERRED_USERNAME, PICTURE, PROFILE)
SCOPE: Final = "atproto"
"""Who it is, and no more."""
ISSUER: Final = "https://atproto.com"
"""Whose people these are: DIDs mean the same wherever they are said."""
DIRECTORY: Final = "https://plc.directory"
MAX_REPLY: Final = 256 * 1024
_CREATED: Final = 201


class ATProto(Described):
    """Every server of the AT Protocol that the policy lets in."""

    asks = "handle"

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, Unnamed(http), clock
        self._offers = offers_of(preset.fields, dict.fromkeys(KNOWN, SCOPE))
        self._policy = Policy.of(preset)
        self._default = preset.issuer.rstrip("/")
        resolver = f"{self._default}/xrpc/com.atproto.identity.resolveHandle" if self._default else ""
        self._names = Names(
            http=self._http,
            allows=self._policy.allows,
            directory=preset.endpoints.get("directory", DIRECTORY),
            resolver=preset.endpoints.get("resolver", resolver),
            scheme=self._policy.scheme,
        )
        # Where the one server is named in the settings, its people's data may lie anywhere: the server speaks for them.
        is_pinned = preset.discovery == "off"
        self._vouchers = replace(self._names, allows=lambda _address: True) if is_pinned else self._names
        self._us: Us | None = None

    def introduce(self, us: Us) -> None:
        """Say who we are: without it nobody can be sent anywhere."""
        self._us = us

    @property
    def issuer(self) -> str:
        return ISSUER

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return (SCOPE,)

    @property
    def can_force_fresh(self) -> bool:
        return False

    def described(self) -> Mapping[str, Any]:
        """What we say of ourselves at the address that is our client id (§Client ID metadata document)."""
        us = self._introduced()
        return {
            "client_id": us.client_id(self.id),
            "client_name": us.name,
            "client_uri": us.issuer,
            "policy_uri": f"{us.issuer}/privacy",
            "tos_uri": f"{us.issuer}/terms",
            "application_type": "web",
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "redirect_uris": [us.callback(self.id)],
            "scope": SCOPE,
            "token_endpoint_auth_method": "none",
            "dpop_bound_access_tokens": True,
        }

    async def find(self, typed: str) -> Found:
        """Where the person of a handle signs in; with nothing typed, at the server that stands in the settings."""
        text = typed.strip().removeprefix("at://").removeprefix("@").rstrip("/")
        if not text and self._default:
            return await told_apart(self._server(self._default, None), "handle")
        if not text:
            raise FormInvalid({FIELD: "handle_missing"})
        if is_did(text, self._policy.scheme):
            return await told_apart(self._by_did(text, ""), "handle")
        try:
            handle = text.lower() if text.isascii() else text.lower().encode("idna").decode("ascii")
        except UnicodeError:
            handle = ""
        if not is_handle(handle):
            raise FormInvalid({FIELD: "handle_bad"})
        return await told_apart(self._by_did("", handle), "handle")

    async def _by_did(self, did: str, handle: str) -> Found:
        person = await self._names.person(did or await self._names.did_of(handle))
        if handle and person.handle != handle:
            raise UpstreamInvalid("handle", "not theirs")
        return await self._server(await self._signs_in(person), person, hint=handle or did)

    async def _signs_in(self, person: Person) -> str:
        """Which server signs in whose data lies there (§Authorization server metadata; RFC 9728 §3.2)."""
        address = f"{person.pds}/.well-known/oauth-protected-resource"
        told = read_success(await self._http.request("GET", address, headers=JSON), "resource")
        servers = told.get("authorization_servers")
        if told.get("resource") != person.pds or not isinstance(servers, list) or len(servers) != 1:
            raise UpstreamInvalid("resource")
        server = servers[0]
        if not isinstance(server, str) or not is_address(server) or written_origin(server) != server:
            raise UpstreamInvalid("resource_server")
        return server

    async def _server(self, issuer: str, person: Person | None, *, hint: str = "") -> Found:
        if issuer != self._default and not self._policy.allows(issuer):
            raise UpstreamInvalid("server", "policy")
        address = f"{issuer}/.well-known/oauth-authorization-server"
        told = read_success(await self._http.request("GET", address, headers=JSON), "server")
        check_server(told, issuer)
        return Found(
            endpoint=_needed(told, "authorization_endpoint", issuer),
            claimed_id=person.did if person else None,
            local_id=hint or None,
            server=issuer,
            told={
                "par": _needed(told, "pushed_authorization_request_endpoint", issuer),
                "token": _needed(told, "token_endpoint", issuer),
                "revocation": own_address(told, "revocation_endpoint", issuer, f"{issuer}/oauth/revoke"),
            },
        )

    async def authorization_url(self, attempt: Attempt) -> str:
        """The server's page, with a request that was pushed there (RFC 9126 §2, §4)."""
        found = _found(attempt)
        client_id = self._introduced().client_id(self.id)
        form = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": attempt.redirect_uri,
            "scope": SCOPE,
            "state": attempt.state,
            "code_challenge": challenge_of(attempt.code_verifier),
            "code_challenge_method": "S256",
            **({"login_hint": found.local_id} if found.local_id else {}),
        }
        pushed = ProofKey(attempt.nonce).post(self._http, found.told["par"], form, self._clock.now())
        response = await in_time(pushed, "par")
        if response.status >= SERVER_FAULT or response.status == TOO_MANY:
            raise UpstreamUnavailable(f"status {response.status} par")
        told = read_object(response, "par")
        if response.status != _CREATED:
            raise UpstreamRejected(f"par {safe_code(told.get('error'))}")
        request = told.get("request_uri")
        if (
            not isinstance(request, str)
            or not 0 < len(request) <= 512
            or not request.isascii()
            or not request.isprintable()
        ):
            raise UpstreamInvalid("par_request_uri")
        return f"{found.endpoint}?{urlencode({'client_id': client_id, 'request_uri': request})}"

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: the code for a token that names a DID, which must name this server; then its public profile."""
        found = _found(attempt)
        check_response_issuer(callback, found.server, promised=True)
        return await in_time(self._identify(attempt, found, read_callback(callback)), "sign-in")

    async def _identify(self, attempt: Attempt, found: Found, code: str) -> Identified:
        client_id = self._introduced().client_id(self.id)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.code_verifier,
            "client_id": client_id,
        }
        key, now = ProofKey(attempt.nonce), self._clock.now()
        response = await key.post(self._http, found.told["token"], form, now)
        answer = read_token_answer(response, kind="dpop")
        try:
            if answer.scopes is None or SCOPE not in answer.scopes:
                raise UpstreamInvalid("scope")
            person = await self._vouched(read_object(response, "token").get("sub"), found)
            profile = await self._profile(person)
            handle = await self._handle(person, found)
        finally:
            held = {"token": answer.refresh_token or answer.access_token, "client_id": client_id}
            await given_back(key.post(self._http, found.told["revocation"], held, now))
        claims = read_claims(_raw(person, handle, profile), self._offers)
        identity = Identity(
            provider=self.id,
            key=IdentityKey(issuer=ISSUER, subject=person.did),
            claims=claims,
            verified=frozenset(),
            granted=frozenset({SCOPE}),
            declined=frozenset(),
            authenticated_at=None,
            account_hint=hint(claims),
        )
        return Identified(identity=identity, tokens=None)

    async def _vouched(self, sub: object, found: Found) -> Person:
        """The person of a token: their own document leads to the very server that says so (§Identity authentication)."""
        if not isinstance(sub, str) or not is_did(sub, self._policy.scheme):
            raise UpstreamInvalid("sub")
        person = await self._vouchers.person(sub)
        if await self._signs_in(person) != found.server:
            raise UpstreamInvalid("sub", "not theirs")
        return person

    async def _handle(self, person: Person, found: Found) -> str:
        """Their handle, if it names them back; whoever typed it was looked up by it already."""
        if not person.handle or PREFERRED_USERNAME not in self._preset.fields:
            return ""
        if person.did == found.claimed_id and person.handle == found.local_id:
            return person.handle
        with suppress(UpstreamError):
            if await self._vouchers.did_of(person.handle) == person.did:
                return person.handle
        return ""

    async def _profile(self, person: Person) -> Mapping[str, Any]:
        """What everybody may read of them; nothing where they have none."""
        if not {NAME, PICTURE} & set(self._preset.fields):
            return {}
        query = urlencode({"repo": person.did, "collection": "app.bsky.actor.profile", "rkey": "self"})
        response = await self._http.request(
            "GET", f"{person.pds}/xrpc/com.atproto.repo.getRecord?{query}", headers=JSON
        )
        if len(response.body) > MAX_REPLY:
            raise UpstreamInvalid("profile_size")
        if response.status in {400, 404}:
            return {}
        value = read_success(response, "profile").get("value")
        return value if isinstance(value, Mapping) else {}

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Nothing is held that could be given back: it was, before anybody was shown anything."""

    async def check(self) -> None:
        """The server of the settings, where there is one; else there is none whose state would say anything."""
        if self._default:
            await self._server(self._default, None)

    def _introduced(self) -> Us:
        if self._us is None:
            raise UpstreamUnavailable("client nobody said who we are")
        return self._us

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        if preset.discovery != "off":
            policy_problems(preset, found)
        elif not preset.issuer:
            fix = 'Write discovery = "any" or "hosts", or issuer = "https://bsky.social" for that server alone.'
            found.add("discovery", "is off, and no server is named.", fix)
        for name in preset.endpoints:
            if name not in {"directory", "resolver"}:
                found.add(f"endpoints.{name}", "has no effect: each server has its own.", "Remove it.")
        if preset.issuer and written_origin(preset.issuer) != preset.issuer.rstrip("/"):
            found.add("issuer", "is no server.", 'Write scheme and host: issuer = "https://bsky.social".')
        for claim in preset.fields:
            if claim not in KNOWN:
                what = "which is not asked for." if claim == EMAIL else "for which the AT Protocol has no word."
                found.add("fields", f"names {claim!r}, {what}", f"Known: {', '.join(sorted(KNOWN))}.")
        if preset.trusts_email:
            found.add("trusts_email", "has no effect: no address is asked for.", "Remove it.", "warning")
        return found


PROVIDER = ATProto


def check_server(told: Mapping[str, Any], issuer: str) -> None:
    """What a server must be able to do (§Authorization server metadata). Raises `UpstreamInvalid("server_…")`."""
    if told.get("issuer") != issuer:
        raise UpstreamInvalid("server_issuer")
    for key, word in (
        ("scopes_supported", SCOPE),
        ("code_challenge_methods_supported", "S256"),
        ("dpop_signing_alg_values_supported", "ES256"),
        ("token_endpoint_auth_methods_supported", "none"),
    ):
        words = told.get(key)
        if not isinstance(words, list) or word not in words:
            raise UpstreamInvalid(f"server_{key}")
    for key in (
        "client_id_metadata_document_supported",
        "authorization_response_iss_parameter_supported",
        "require_pushed_authorization_requests",
    ):
        if told.get(key) is not True:
            raise UpstreamInvalid(f"server_{key}")


def _needed(told: Mapping[str, Any], key: str, issuer: str) -> str:
    return own_address(told, key, issuer, "")


def _raw(person: Person, handle: str, profile: Mapping[str, Any]) -> dict[str, object]:
    page = f"https://bsky.app/profile/{quote(handle or person.did, safe=':')}"
    return {
        "name": profile.get("displayName"),
        "preferred_username": handle or None,
        "picture": _picture(person, profile),
        "profile": page,
    }


def _picture(person: Person, profile: Mapping[str, Any]) -> str | None:
    avatar = profile.get("avatar")
    ref = avatar.get("ref") if isinstance(avatar, Mapping) else None
    cid = ref.get("$link") if isinstance(ref, Mapping) else None
    if not isinstance(cid, str) or not cid.isalnum() or len(cid) > 128:
        return None
    return f"{person.pds}/xrpc/com.atproto.sync.getBlob?{urlencode({'did': person.did, 'cid': cid})}"


def _found(attempt: Attempt) -> Found:
    if attempt.found is None or "par" not in attempt.found.told:
        raise UpstreamInvalid("server", "missing")
    return attempt.found

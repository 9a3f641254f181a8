"""`Verifier`: is this session token, or access token, good for this site, now?"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

from .access_token import TYPES as ACCESS_TYPES
from .access_token import AccessToken, read_access_token
from .claims import SKEW, TYP, check_audience, check_issuer, read_session
from .client_auth import basic_authorization
from .errors import ConfigurationError, NeedsNetwork, Scheme, SessionError
from .fetch import Fetcher, Unreachable
from .jws import MAX_TOKEN, Parsed, check_signature, parse, read_json, time_claim
from .keys import KeySource, Metadata, read_keys
from .proof import KeyProofs
from .replay import ReplayRegister
from .session import Session
from .status_list import TYP as LIST_TYP
from .status_list import StatusLists, read_reference

__all__ = ["Mode", "Verifier"]

Mode = Literal["local", "status", "online"]

INTROSPECTION_CACHE: Final = 30.0
SEEN: Final = 4096


class _Told(Protocol):
    """What every kind of token says."""

    @property
    def sub(self) -> str: ...
    @property
    def expires_at(self) -> int: ...


T = TypeVar("T", bound=_Told)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """One kind of token: what its header calls it, how it is read, and what an introspection must agree about."""

    types: tuple[str, ...]
    read: Callable[..., T]
    same: str


_SESSION: Final[_Kind[Session]] = _Kind((TYP,), read_session, "sid")
_ACCESS: Final[_Kind[AccessToken]] = _Kind(ACCESS_TYPES, read_access_token, "client_id")


class Verifier:
    """Checks session tokens and access tokens of one issuer for one site, or for one interface of a site.

    ``audience`` is the site's id, or for access tokens the address of the interface they are meant for.

    ``mode="local"`` (default) makes no call per request. ``mode="status"`` makes one a minute for
    all tokens together and sees what ended before its time (`doorward_verify.status_list` says what
    happens when the broker does not answer). ``mode="online"`` also asks the broker
    (RFC 7662, answer kept 30 s) and needs ``client_secret``; whatever ends a session ends it here
    within that time. It asks as ``client_id``, by default the audience. ``is_revoked`` is asked for every session token,
    also for one seen before. ``keys`` is a JWK set to
    use instead of the one at the issuer. ``replay`` and ``nonce_key`` are for `verify_request`: see
    `doorward_verify.proof.KeyProofs`. ``clock`` gives seconds since 1970; tests may stop it.

    Thread-safe. Blocks only when keys have to be loaded, in online mode, or where ``replay`` does.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
        mode: Mode = "local",
        client_id: str | None = None,
        client_secret: str | None = None,
        is_revoked: Callable[[Session], bool] | None = None,
        replay: ReplayRegister | None = None,
        nonce_key: bytes | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise ConfigurationError("issuer and audience are both needed")
        if mode not in ("local", "status", "online"):
            raise ConfigurationError('mode must be "local", "status" or "online"')
        if mode == "online" and client_secret is None:
            raise ConfigurationError('mode="online" needs client_secret')
        self.issuer, self.audience, self.mode = issuer, audience, mode
        self.fetcher = Fetcher(timeout=timeout, ssl_context=ssl_context)
        self.metadata = Metadata(issuer, self.fetcher)
        self.keys = KeySource(self.metadata, self.fetcher, fixed=read_keys(keys) if keys is not None else None)
        self.statuses = StatusLists(issuer, self.fetcher, self._check_list, wall=clock)
        self._client_id, self._client_secret = client_id or audience, client_secret
        self._is_revoked = is_revoked
        self.proofs = KeyProofs(replay=replay, nonce_key=nonce_key, clock=clock)
        self._clock = clock
        # digest of the token -> what it said. Tokens themselves are not kept.
        self._seen: dict[bytes, _Seen[Any]] = {}
        # By the token's name: see `_name_of`.
        self._asked: dict[bytes, tuple[bool, float]] = {}
        self._given_up: dict[bytes, int] = {}

    def verify(self, token: str | None, *, network: bool = True) -> Session:
        """Return the `Session` of a token, or raise `SessionError`.

        With ``network=False`` nothing blocks: `NeedsNetwork` is raised where a call would be made.
        """
        return self._verify(token, _SESSION, network=network)

    def verify_access_token(self, token: str | None, *, network: bool = True) -> AccessToken:
        """Return the `AccessToken` of a token (RFC 9068), or raise `SessionError`. ``network`` as for `verify`.

        For sites with ``access_tokens = "jwt"``. An ID token or a session token never passes, whatever it says. Neither does
        a token that is bound to a key (``wrong_type``): `verify_request` takes those.
        """
        return _unbound(self._verify(token, _ACCESS, network=network))

    def verify_request(
        self,
        authorization: str | Sequence[str] | None,
        *,
        method: str,
        url: str,
        proofs: str | Sequence[str] | None,
        network: bool = True,
    ) -> AccessToken:
        """Return the `AccessToken` of a request that brings it as a bearer token, or with a DPoP proof of its key.

        ``authorization`` and ``proofs`` are the values of the headers `Authorization` and `DPoP`, all of them; ``url`` is
        the whole address that was asked for, as the outside names it, escapes and all. A token that is bound to a key
        comes with the scheme ``DPoP`` and one good proof (RFC 9449 §4.3, §7.1), any other one with ``Bearer``.

        Raises `SessionError` as `verify_access_token`, and ``invalid_dpop_proof``, ``use_dpop_nonce``, ``wrong_key``,
        ``too_busy``; `ConfigurationError` for an address that is not whole. ``network`` as for `verify`.
        """
        scheme: Scheme = "none"
        try:
            scheme, token = _read_authorization(_values(authorization))
            # The token first: who has none costs no second signature and no memory.
            access = self._verify(token, _ACCESS, network=network)
            if scheme != "DPoP":
                return _unbound(access)
            if access.jkt is None:
                raise SessionError("wrong_type", "This access token is bound to no key: send it as Bearer.")
            self.proofs.check(_values(proofs), method=method, url=url, token=token, jkt=access.jkt, network=network)
        except SessionError as error:
            error.scheme = scheme
            raise
        return access

    def _verify(self, token: str | None, kind: _Kind[T], *, network: bool) -> T:
        if not token:
            raise SessionError("missing")
        if len(token) > MAX_TOKEN:
            raise SessionError("malformed")
        digest = _digest(token)
        known: _Seen[T] | None = self._seen.get(digest)
        if known is None or known.generation != self.keys.generation:
            known = self._verify_cold(token, digest, kind, network=network)
        elif known.kind is not kind:
            raise SessionError("wrong_type")
        elif known.told.expires_at <= self._clock():
            self._seen.pop(digest, None)
            raise SessionError("expired")
        if known.name in self._given_up:
            raise SessionError("revoked")
        if self._is_revoked is not None and isinstance(known.told, Session) and self._is_revoked(known.told):
            raise SessionError("revoked")
        if self.mode == "status" and known.status and self.statuses.is_ended(known.status, network=network):
            raise SessionError("revoked")
        if self.mode == "online" and not self._is_active(token, known, network=network):
            raise SessionError("revoked")
        return known.told

    def verify_signed(self, token: str, *, types: tuple[str | None, ...]) -> dict[str, Any]:
        """The claims of another token of the same issuer for this site (ID token, logout token).

        Checked: type, signature, ``iss``, ``aud``. Everything else is the caller's.
        """
        parsed = parse(token)
        if (parsed.typ.lower() if parsed.typ else None) not in types:
            raise SessionError("wrong_type")
        check_signature(parsed, self.keys.find(parsed.kid))
        claims = read_json(parsed.payload)
        check_issuer(claims, self.issuer)
        check_audience(claims, self.audience)
        return claims

    def give_up(self, token: str) -> None:
        """Refuse this one token from now on: its browser has signed out of this site."""
        now = int(self._clock())
        self._given_up = {key: end for key, end in self._given_up.items() if end > now}
        known = self._seen.get(_digest(token))
        if known is not None:
            self._given_up[known.name] = known.told.expires_at

    def check_times(self, claims: Mapping[str, Any]) -> None:
        """Raise ``expired`` or ``not_yet_valid`` for a token other than a session token."""
        now = self._clock()
        if time_claim(claims, "iat") > now + SKEW:
            raise SessionError("not_yet_valid")
        if time_claim(claims, "exp") <= now:
            raise SessionError("expired")

    def _verify_cold(self, token: str, digest: bytes, kind: _Kind[T], *, network: bool) -> _Seen[T]:
        parsed = parse(token)
        if parsed.typ not in kind.types:
            raise SessionError("wrong_type")
        check_signature(parsed, self.keys.find(parsed.kid, network=network))
        claims = read_json(parsed.payload)
        told = kind.read(claims, issuer=self.issuer, audience=self.audience, now=self._clock())
        status = read_reference(claims, self.issuer) if self.mode == "status" else None
        if len(self._seen) >= SEEN:
            self._forget_oldest()
        known = self._seen[digest] = _Seen(told, kind, self.keys.generation, _name_of(parsed), status)
        return known

    def _check_list(self, parsed: Parsed) -> dict[str, Any]:
        """The claims of a status list token of this issuer; the rest is the list's own."""
        if parsed.typ != LIST_TYP:
            raise SessionError("wrong_type")
        check_signature(parsed, self.keys.find(parsed.kid))
        claims = read_json(parsed.payload)
        check_issuer(claims, self.issuer)
        self.check_times(claims)
        return claims

    def _forget_oldest(self) -> None:
        """Dictionaries keep their order: the first entries are the oldest tokens."""
        for old in list(self._seen)[: SEEN // 8]:
            self._seen.pop(old, None)

    def _is_active(self, token: str, known: _Seen[Any], *, network: bool) -> bool:
        now = time.monotonic()
        asked = self._asked.get(known.name)
        if asked is not None and now - asked[1] < INTROSPECTION_CACHE:
            return asked[0]
        if not network:
            raise NeedsNetwork
        active = self._introspect(token, known)
        if len(self._asked) >= SEEN:
            self._asked.clear()
        self._asked[known.name] = (active, now)
        return active

    def _introspect(self, token: str, known: _Seen[Any]) -> bool:
        try:
            address = self.metadata.endpoint("introspection_endpoint")
            if address is None:
                raise Unreachable
            headers = basic_authorization(self._client_id, self._client_secret or "")
            reply = self.fetcher.post(address, {"token": token}, headers)
        except Unreachable:
            raise SessionError("keys_unavailable") from None
        if reply.status != 200:
            raise SessionError("keys_unavailable")
        answer, told, same = reply.body, known.told, known.kind.same
        return answer.get("active") is True and (answer.get("sub"), answer.get(same)) == (told.sub, getattr(told, same))


class _Seen(NamedTuple, Generic[T]):
    """What a token said that was verified with the keys of that generation."""

    told: T
    kind: _Kind[T]
    generation: int
    name: bytes
    status: tuple[str, int] | None


def _unbound(access: AccessToken) -> AccessToken:
    """Whoever only copied a token that is bound to a key sends it as a bearer token (RFC 9449 §7.2)."""
    if access.jkt is not None:
        raise SessionError("wrong_type", "This access token is bound to a key: send it as DPoP, with a proof.")
    return access


def _values(header: str | Sequence[str] | None) -> Sequence[str]:
    return (header,) if isinstance(header, str) else header or ()


def _read_authorization(values: Sequence[str]) -> tuple[Scheme, str]:
    """Scheme and token of a request. Raises ``missing`` or ``malformed``."""
    if len(values) > 1:
        raise SessionError("malformed")
    scheme, _space, token = values[0].partition(" ") if values else ("", "", "")
    if scheme.lower() not in {"bearer", "dpop"}:
        raise SessionError("missing")
    return "DPoP" if scheme.lower() == "dpop" else "Bearer of two", token.strip(" ") or "-"


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()


def _name_of(parsed: Parsed) -> bytes:
    """What was signed, without the signature: anybody can turn one good ES256 signature into a second
    one (n - s for s), so the whole text of a token does not name it."""
    return sha256(parsed.signing_input).digest()

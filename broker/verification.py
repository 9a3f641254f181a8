"""What others signed: their keys, and compact JWS checked against them. joserfc's checking side lives here.

Used for ID tokens of providers and for what sites sign. Keys are fetched rarely, kept while their owner is down, and
refetched for a key nobody knows yet: a flood of tokens with made-up key ids costs one request a minute.

Whatever is wrong is an `UpstreamInvalid` that names the check; what it means there, the caller says.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Generic, Protocol, TypeVar

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

from broker.domain import base64url
from broker.domain.ports import Clock
from broker.errors import UpstreamError, UpstreamInvalid
from broker.strict_json import read_json

KEYS_FRESH: Final = (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=24))
STALE: Final = timedelta(days=7)
"""How long what was last good is used while the issuer does not answer."""
BETWEEN_LOOKS: Final = timedelta(minutes=1)
"""Between two fetches made because of an unknown key."""
AFTER_FAILURE: Final = timedelta(seconds=5)
"""Until a failed fetch is tried again; in between, everybody gets the same error at once."""
MAX_KEYS: Final = 64
"""Keys looked at in a set; 10,000 of them are somebody's joke (catalogue 75)."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MAX_EXPONENT: Final = 6
"""Characters: 32 bits. A check with one as long as the modulus takes ten times as long."""

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "Ed25519"}
_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})

_GAP: Final = "{tenantid}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One key and the algorithms it may check."""

    kid: str | None
    algorithms: frozenset[str]
    key: RSAKey | ECKey | OKPKey | OctKey = field(repr=False)
    issuer: str | None = None
    """Whose tokens alone it may have signed, where the set says so; `{tenantid}` stands for the token's `tid`."""


class Fetched(Protocol):
    """An answer, whole."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes: ...


class KeySource(Protocol):
    """Where verification looks for keys."""

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]: ...


class Cached(Generic[T]):
    """One document: its last good reading, when to look again, and at most one fetch at a time."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Fetched]],
        read: Callable[[Fetched], T],
        clock: Clock,
        fresh: tuple[timedelta, timedelta, timedelta],
    ) -> None:
        self._fetch, self._read, self._clock, self._fresh = fetch, read, clock, fresh
        self._value: T | None = None
        self._fetched_at: datetime | None = None
        self._fresh_for = timedelta()
        self._failed_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._error: UpstreamError | None = None
        self._lock = asyncio.Lock()

    async def value(self) -> T:
        """The document, at most as old as its issuer allows; older while the issuer is down."""
        if self._value is not None and self._is_within(self._fetched_at, self._fresh_for):
            return self._value
        return await self._renewed()

    async def newer(self) -> T:
        """The document fetched anew, unless that was tried less than a minute ago."""
        return await self._renewed(always=True)

    async def _renewed(self, *, always: bool = False) -> T:
        async with self._lock:
            if always:
                due = not self._is_within(self._looked_at, BETWEEN_LOOKS)
                self._looked_at = self._clock.now() if due else self._looked_at
            else:  # perhaps somebody else fetched it while this one waited
                due = self._value is None or not self._is_within(self._fetched_at, self._fresh_for)
            if due and not self._is_within(self._failed_at, AFTER_FAILURE):
                await self._try()
            if self._value is not None and self._is_within(self._fetched_at, self._fresh_for + STALE):
                return self._value
            raise self._error or UpstreamInvalid("metadata")

    async def _try(self) -> None:
        """Fetch once. What was last good is replaced by something good only."""
        try:
            response = await self._fetch()
            value = self._read(response)
        except UpstreamError as error:
            self._error, self._failed_at = type(error)(*_again(error)), self._clock.now()
        else:
            self._value, self._fetched_at, self._failed_at = value, self._clock.now(), None
            self._fresh_for = _fresh_for(response.headers.get("cache-control", ""), self._fresh)

    def _is_within(self, since: datetime | None, span: timedelta) -> bool:
        """Whether less than `span` has passed. A clock that jumped back counts as time passed."""
        return since is not None and timedelta() <= self._clock.now() - since < span


def _again(error: UpstreamError) -> tuple[str, ...]:
    """Arguments for a copy of an error, so that one traceback does not grow with every reader."""
    if isinstance(error, UpstreamInvalid):
        return (error.check, error.detail.removeprefix(error.check).strip())
    return (error.detail,)


def _fresh_for(cache_control: str, bounds: tuple[timedelta, timedelta, timedelta]) -> timedelta:
    least, usual, most = bounds
    lowered = cache_control.lower()
    if "no-store" in lowered or "no-cache" in lowered:
        return least
    found = _MAX_AGE.search(lowered)
    return min(max(timedelta(seconds=int(found[1])), least), most) if found else usual


class KeySet:
    """The keys of one owner, fetched from where they publish them."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Fetched]],
        read: Callable[[Fetched], tuple[VerificationKey, ...]],
        clock: Clock,
    ) -> None:
        self._cached: Cached[tuple[VerificationKey, ...]] = Cached(fetch, read, clock, KEYS_FRESH)

    async def load(self) -> None:
        """Have keys. Raises an `UpstreamError` if there are none to be had."""
        await self._cached.value()

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed: the one of that name, or the only one when the token names none.

        Raises `UpstreamInvalid("kid")` if there is no such key, also after looking once more.
        """
        found = _fitting(await self._cached.value(), kid, algorithm)
        if not found:
            found = _fitting(await self._cached.newer(), kid, algorithm)
        if not found or (kid is None and len(found) > 1):
            raise UpstreamInvalid("kid")
        return found


class FixedKeys:
    """Keys that are known already. `named=False`: whatever name a token gives them, each is tried."""

    def __init__(self, keys: tuple[VerificationKey, ...], *, named: bool = True) -> None:
        self._keys, self._named = keys, named

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed. Raises `UpstreamInvalid("kid")`."""
        found = _fitting(self._keys, kid if self._named else None, algorithm)
        if not found or (self._named and kid is None and len(found) > 1):
            raise UpstreamInvalid("kid")
        return found


def _fitting(keys: Sequence[VerificationKey], kid: str | None, algorithm: str) -> list[VerificationKey]:
    return [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]


def read_set(document: Mapping[str, Any]) -> tuple[VerificationKey, ...]:
    """The usable keys of a JWK set (RFC 7517 §5). Others are skipped; none usable is an error."""
    raw = document.get("keys")
    if not isinstance(raw, list):
        raise UpstreamInvalid("jwks", "no keys")
    usable = [key for key in (_read_key(item) for item in raw[:MAX_KEYS]) if key is not None]
    names = Counter((key.kid, type(key.key)) for key in usable)
    # A name that stands for two keys names neither.
    kept = tuple(key for key in usable if key.kid is None or names[key.kid, type(key.key)] == 1)
    if not kept:
        raise UpstreamInvalid("jwks", "no usable key")
    return kept


def _read_key(raw: object) -> VerificationKey | None:
    """One public signing key, or `None` for anything else: symmetric, private, for encryption, weak, odd."""
    if not isinstance(raw, Mapping) or raw.get("kty") not in ("RSA", "EC", "OKP") or "d" in raw or _is_odd_size(raw):
        return None
    operations = raw.get("key_ops", ["verify"])
    if raw.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kid = raw.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid):
        return None
    algorithms = _algorithms(raw)
    try:
        key = import_key({name: raw[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in raw})
        if not isinstance(key, RSAKey | ECKey | OKPKey) or not algorithms:
            return None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    issuer = raw.get("issuer")
    return VerificationKey(kid=kid, algorithms=algorithms, key=key, issuer=issuer if isinstance(issuer, str) else None)


def _is_odd_size(raw: Mapping[str, Any]) -> bool:
    """Whether an RSA key is too short to trust or too long to compute with; looked at before it is a key."""
    if raw["kty"] != "RSA":
        return False
    exponent = raw.get("e")
    if not isinstance(exponent, str) or len(exponent) > MAX_EXPONENT:
        return True
    text = raw.get("n")
    if not isinstance(text, str) or len(text) > MAX_RSA_BITS // 4:
        return True
    try:
        number = int.from_bytes(base64url.decoded_loosely(text), "big")
    except ValueError:
        return True
    return not MIN_RSA_BITS <= number.bit_length() <= MAX_RSA_BITS


def _algorithms(raw: Mapping[str, Any]) -> frozenset[str]:
    """What a key may check: what its kind can, narrowed to its `alg` if it names one."""
    if raw["kty"] == "RSA":
        able = _RSA_ALGORITHMS
    else:
        curve = raw.get("crv")
        able = frozenset({_CURVES[curve]}) if isinstance(curve, str) and curve in _CURVES else frozenset()
    named = raw.get("alg")
    return able if named is None else able & {named} if isinstance(named, str) else frozenset()


MAX_TOKEN: Final = 32 * 1024
"""Looked at before anything is decoded (catalogue 74)."""
MAX_HEADER: Final = 2048
MAX_KID: Final = 255


async def verified(
    token: str,
    keys: KeySource,
    *,
    algorithms: tuple[str, ...],
    types: frozenset[str],
    check: str,
    max_size: int = MAX_TOKEN,
) -> tuple[str, Mapping[str, Any]]:
    """Algorithm and claims of a compact JWS that one of these keys signed with one of these algorithms.

    `types`: values of `typ`, in lower case, that are taken; a token without one counts as `jwt`. `check` names the token
    in errors. Raises `UpstreamInvalid(check)`; `UpstreamUnavailable` when the keys cannot be had at all.
    """
    header, payload = _parts(token, types, check, max_size)
    algorithm = _algorithm(header, algorithms)
    key_id = _key_id(header)
    key = _check_signature(token, algorithm, await keys.candidates(key_id, algorithm))
    claims = read_json(payload, f"{check}_json")
    if key.issuer is not None and claims.get("iss") != key.issuer.replace(_GAP, str(claims.get("tid"))):
        raise UpstreamInvalid("key_issuer")
    return algorithm, claims


def self_signed(
    token: str, *, algorithms: tuple[str, ...], types: frozenset[str], check: str, max_size: int
) -> tuple[str, Mapping[str, Any]]:
    """Thumbprint (RFC 7638) and claims of a compact JWS that was signed by the very key in its header.

    It shows that whoever made it holds that key, and nothing else about them. Arguments and errors: as for `verified`.
    """
    header, payload = _parts(token, types, check, max_size)
    algorithm = _algorithm(header, algorithms)
    key = _read_key(header.get("jwk"))
    if key is None or algorithm not in key.algorithms:
        raise UpstreamInvalid("jwk")
    _check_signature(token, algorithm, [key])
    return key.key.thumbprint(), read_json(payload, f"{check}_json")


def _parts(token: str, types: frozenset[str], check: str, max_size: int) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a compact JWS: three parts, small. Five parts would be encrypted, which we never accept."""
    if len(token) > max_size or not token.isascii():
        raise UpstreamInvalid(f"{check}_size")
    parts = token.split(".")
    if len(parts) != 3 or not parts[0] or not parts[1] or len(parts[0]) > MAX_HEADER:
        raise UpstreamInvalid(f"{check}_form")
    header = read_json(_decode(parts[0], check), f"{check}_header")
    if (
        "crit" in header or "b64" in header
    ):  # no extension is understood here, so none may be critical (RFC 7515 §4.1.11)
        raise UpstreamInvalid("crit")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in types:  # each kind of token for its own purpose
        raise UpstreamInvalid("typ")
    return header, _decode(parts[1], check)


def _decode(part: str, check: str) -> bytes:
    if not part.replace("-", "").replace("_", "").isalnum():
        raise UpstreamInvalid(f"{check}_form")
    try:
        return base64url.decoded_loosely(part)
    except (binascii.Error, ValueError):
        raise UpstreamInvalid(f"{check}_form") from None


def _algorithm(header: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    """The algorithm, if the preset allows it. Never what the token or the provider's metadata would like."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise UpstreamInvalid("alg")
    return algorithm


def _key_id(header: Mapping[str, Any]) -> str | None:
    """An opaque name to look up, nothing else. `jwk`, `jku`, `x5u` and `x5c` say nothing of whose it is (catalogue 70, 71)."""
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or not key_id or len(key_id) > MAX_KID):
        raise UpstreamInvalid("kid")
    return key_id


def _check_signature(token: str, algorithm: str, keys: Sequence[VerificationKey]) -> VerificationKey:
    """The key that signed."""
    registry = _registry(algorithm)
    for key in keys:
        try:
            jws.deserialize_compact(token, key.key, registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return key
    raise UpstreamInvalid("signature")


@cache
def _registry(algorithm: str) -> jws.JWSRegistry:
    """joserfc's rules for exactly one algorithm, made once."""
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length, registry.max_payload_length = MAX_HEADER, MAX_TOKEN
    return registry

"""An issuer's metadata and keys: fetched rarely, kept while the issuer is down, refetched for a key nobody knows yet.

A sign-in normally costs no request here. A flood of tokens with made-up key ids costs one request a minute.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from broker.domain.ports import Clock
from broker.errors import UpstreamError, UpstreamInvalid
from providers._http import JSON, UpstreamHTTP, UpstreamResponse, read_success

METADATA_FRESH: Final = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
"""How long metadata is used: at least, when the issuer does not say, at most."""
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

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "Ed25519"}
_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key and the algorithms it may check."""

    kid: str | None
    algorithms: frozenset[str]
    key: RSAKey | ECKey | OKPKey = field(repr=False)


class KeySource(Protocol):
    """Where verification looks for keys."""

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]: ...


class Cached(Generic[T]):
    """One document: its last good reading, when to look again, and at most one fetch at a time."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[UpstreamResponse]],
        read: Callable[[UpstreamResponse], T],
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


class IssuerKeys:
    """The keys of one issuer, from an address that may itself have to be looked up."""

    def __init__(self, http: UpstreamHTTP, address: Callable[[], Awaitable[str]], clock: Clock) -> None:
        async def fetch() -> UpstreamResponse:
            return await http.request("GET", await address(), headers=JSON)

        self._cached: Cached[tuple[VerificationKey, ...]] = Cached(fetch, _read_set, clock, KEYS_FRESH)

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


def _fitting(keys: Sequence[VerificationKey], kid: str | None, algorithm: str) -> list[VerificationKey]:
    return [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]


def _read_set(response: UpstreamResponse) -> tuple[VerificationKey, ...]:
    """The usable keys of a JWK set (RFC 7517 §5). Others are skipped; none usable is an error."""
    raw = read_success(response, "jwks").get("keys")
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
    return VerificationKey(kid=kid, algorithms=algorithms, key=key)


def _is_odd_size(raw: Mapping[str, Any]) -> bool:
    """Whether an RSA modulus is too short to trust or too long to compute with; looked at before it is a key."""
    if raw["kty"] != "RSA":
        return False
    text = raw.get("n")
    if not isinstance(text, str) or len(text) > MAX_RSA_BITS // 4:
        return True
    try:
        number = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
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

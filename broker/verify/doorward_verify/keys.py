"""The issuer's keys: found by discovery, kept ten minutes, used one period longer in an outage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from .errors import ConfigurationError, NeedsNetwork, SessionError
from .fetch import Fetcher, Unreachable, check_url
from .jws import Key

__all__ = ["KeySource", "Metadata", "read_keys"]

log = logging.getLogger("doorward_verify")

CACHE: Final = 600.0
COOLDOWN: Final = 30.0
FIRST_COOLDOWN: Final = 1.0
MOST_KEYS: Final = 64
MODULUS: Final = 342
"""Letters of a 2048-bit modulus in base64url: anything shorter is too weak (RFC 7518 §3.3)."""


def _read_key(jwk: Mapping[str, Any]) -> Key | None:
    """One JWK as a `Key`, or ``None`` for a kind that is not used here."""
    if jwk.get("use", "sig") != "sig" or (jwk.get("kty") == "RSA" and len(str(jwk.get("n"))) < MODULUS):
        return None
    try:
        public: Any
        if jwk.get("kty") == "RSA" and jwk.get("alg", "RS256") == "RS256":
            public = RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")}).public_key
            fine, alg = isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048, "RS256"
        elif jwk.get("kty") == "EC" and jwk.get("crv") == "P-256" and jwk.get("alg", "ES256") == "ES256":
            public = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")}).public_key
            fine, alg = isinstance(public, ec.EllipticCurvePublicKey), "ES256"
        else:
            return None
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return Key(alg, public) if fine else None


def read_keys(jwks: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> dict[str, Key]:
    """A JWK set as ``{kid: Key}``. Entries that cannot be used are left out (RFC 7517 §5)."""
    entries = jwks.get("keys") if isinstance(jwks, Mapping) else list(jwks)
    found: dict[str, Key] = {}
    for jwk in entries[:MOST_KEYS] if isinstance(entries, list) else ():
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        key = _read_key(jwk) if isinstance(kid, str) else None
        if key is not None and isinstance(kid, str):
            found[kid] = key
    return found


class Metadata:
    """The issuer's discovery document, loaded when first needed (OpenID Connect Discovery §4)."""

    def __init__(self, issuer: str, fetcher: Fetcher) -> None:
        self.issuer = check_url(issuer, "issuer")
        self._fetcher = fetcher
        self._document: Mapping[str, Any] | None = None
        self._loaded_at = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether `load` answers without a call."""
        return self._document is not None and time.monotonic() - self._loaded_at < CACHE

    def load(self) -> Mapping[str, Any]:
        """The document, at most ten minutes old; an older one during an outage. Raises `Unreachable`."""
        if self._document is not None and self.is_loaded:
            return self._document
        try:
            reply = self._fetcher.load(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if reply.status != 200:
                raise Unreachable
            named = reply.body.get("issuer")
            if named != self.issuer:
                if isinstance(named, str):
                    log.error(
                        "the issuer is not %r: it calls itself %.200r, so configure exactly that", self.issuer, named
                    )
                raise Unreachable
        except Unreachable:
            if self._document is None:
                raise
            self._loaded_at = time.monotonic() - CACHE + COOLDOWN
            return self._document
        self._document, self._loaded_at = reply.body, time.monotonic()
        return reply.body

    def endpoint(self, name: str) -> str | None:
        """An address of the document, checked, or ``None``. Raises `Unreachable`."""
        url = self.load().get(name)
        if url is None:
            return None
        try:
            return check_url(url if isinstance(url, str) else "", name)
        except ConfigurationError:
            raise Unreachable from None


class KeySource:
    """Finds a public key by its id. Thread-safe; at most one call to the broker at a time."""

    def __init__(
        self,
        metadata: Metadata,
        fetcher: Fetcher,
        *,
        fixed: Mapping[str, Key] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metadata, self._fetcher, self._clock = metadata, fetcher, clock
        self._fixed = fixed is not None
        self._keys: dict[str, Key] = dict(fixed or {})
        self._lock = Lock()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._failed = False
        self.generation = 0
        """Goes up whenever the set of keys is another one: what was verified before is verified anew."""

    def find(self, kid: str, *, network: bool = True) -> Key:
        """The key called ``kid``.

        Raises `SessionError` ``unknown_key``, ``keys_unavailable``; `NeedsNetwork` when a call is
        needed and ``network`` is false.
        """
        if self._fixed:
            return self._known(kid)
        age = self._clock() - self._fetched_at
        if (age >= CACHE or kid not in self._keys) and self._is_due():
            if not network:
                raise NeedsNetwork
            # Readers that have a usable key do not wait for the one who fetches.
            self._refetch(wait=age >= 2 * CACHE or kid not in self._keys)
        if self._clock() - self._fetched_at >= 2 * CACHE:
            raise SessionError("keys_unavailable")
        if kid not in self._keys and self._failed:
            # Nobody can say whether this key exists: an outage, not a forgery.
            raise SessionError("keys_unavailable")
        return self._known(kid)

    def _known(self, kid: str) -> Key:
        key = self._keys.get(kid)
        if key is None:
            raise SessionError("unknown_key")
        return key

    def _is_due(self) -> bool:
        """An unknown key id asks again at most every 30 s, whoever sends it."""
        pause = COOLDOWN if self._keys else FIRST_COOLDOWN
        return self._clock() - self._tried_at >= pause

    def _refetch(self, *, wait: bool) -> None:
        if not self._lock.acquire(blocking=wait):
            return
        try:
            # Whoever waited for the lock finds the work done.
            if not self._is_due():
                return
            try:
                keys = self._load()
            except Unreachable:
                self._failed = True
                return
            finally:
                self._tried_at = self._clock()
            if {kid: key.public for kid, key in keys.items()} != {kid: key.public for kid, key in self._keys.items()}:
                self.generation += 1
            self._keys, self._fetched_at, self._failed = keys, self._clock(), False
        finally:
            self._lock.release()

    def _load(self) -> dict[str, Key]:
        address = self._metadata.endpoint("jwks_uri")
        if address is None:
            raise Unreachable
        reply = self._fetcher.load(address)
        keys = read_keys(reply.body) if reply.status == 200 else {}
        if not keys:
            raise Unreachable
        return keys

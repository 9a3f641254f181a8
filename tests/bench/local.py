"""What it costs a site to verify a session token by itself: with the kit, and with a JOSE library doing the same checks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from doorward_verify import Verifier
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, RSAKey

ISSUER: Final = "https://login.example.org"
AUDIENCE: Final = "forum"
TOKENS: Final = 400
ROUNDS: Final = 7
"""The median of so many is printed."""


@dataclass(frozen=True, slots=True)
class Local:
    """Microseconds of CPU for one verification."""

    algorithm: str
    cold: float
    seen: float
    library: float


def _claims(number: int, now: int) -> dict[str, Any]:
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": f"subject-{number:08}", "sid": f"sid-{number:08}", "iat": now,
        "exp": now + 600, "auth_time": now - 5, "acr": "1", "amr": ["fed"], "preferred_username": f"user{number}",
    }  # fmt: skip


def measure(algorithm: str) -> Local:
    """Tokens never seen before, tokens seen before, and the library's own way, in turn."""
    key: Key = (
        RSAKey.generate_key(2048, {"kid": "k"}) if algorithm == "RS256" else ECKey.generate_key("P-256", {"kid": "k"})
    )
    now = int(time.time())
    header = {"alg": algorithm, "kid": "k", "typ": "session+jwt"}
    tokens = [jwt.encode(header, _claims(number, now), key, algorithms=[algorithm]) for number in range(TOKENS)]
    public = {"keys": [key.as_dict(private=False)]}
    cold, seen, library = [], [], []
    for _ in range(ROUNDS):
        verifier = Verifier(ISSUER, AUDIENCE, keys=public)
        cold.append(_each(tokens, verifier.verify))
        seen.append(min(_each(tokens, verifier.verify) for _ in range(5)))
        library.append(_each(tokens, lambda token: _by_library(token, key, algorithm, now)))
    return Local(algorithm, statistics.median(cold), statistics.median(seen), statistics.median(library))


def _each(tokens: list[str], verify: Callable[[str], object]) -> float:
    start = time.process_time()
    for token in tokens:
        verify(token)
    return (time.process_time() - start) * 1e6 / len(tokens)


def _by_library(token: str, key: Key, algorithm: str, now: int) -> None:
    decoded = jwt.decode(token, key, algorithms=[algorithm], registry=jws.JWSRegistry(algorithms=[algorithm]))
    jwt.JWTClaimsRegistry(
        now=now, iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    ).validate(decoded.claims)  # fmt: skip

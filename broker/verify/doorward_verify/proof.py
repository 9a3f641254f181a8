"""Proofs that whoever sends a request holds the key its access token is bound to (DPoP, RFC 9449 §4.3)."""

from __future__ import annotations

import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

from .errors import ALGORITHMS, ConfigurationError, NeedsNetwork, SessionError
from .jws import decode_segment, is_compact, read_json
from .proof_key import is_signed, read_proof_key, thumbprint
from .replay import MemoryReplays, ReplayRegister

__all__ = ["KeyProofs", "is_same_place"]

RECENT: Final = 60
"""Seconds a proof may be old (RFC 9449 §11.1)."""
AHEAD: Final = 30
"""Seconds the clock of whoever made it may be ahead of ours."""
NONCE_STEP: Final = 300
NONCE_STEPS: Final = 3
"""A nonce is good for ten to fifteen minutes."""
MAX_PROOF: Final = 4096
MAX_HEADER: Final = 2048
MAX_JTI: Final = 255
_LAST_SECOND: Final = 253402300799
_PORTS: Final = {"https": 443, "http": 80}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")

WHY: Final = {
    "missing": "The request has no DPoP header.",
    "several": "The request has more than one DPoP header.",
    "form": "The proof is no signed JWT of at most 4096 letters.",
    "crit": "The proof has an extension that nobody knows here.",
    "typ": "The header of the proof must say typ dpop+jwt.",
    "alg": f"The proof must be signed with one of {', '.join(ALGORITHMS)}.",
    "jwk": "The header of the proof must hold the public key it was signed with, and nothing private.",
    "signature": "The signature of the proof does not fit its key.",
    "htm": "The proof is for another method (htm).",
    "htu": "The proof is for another address (htu).",
    "iat": "The proof was not made within the last minute (iat). Check the clock of whoever made it.",
    "exp": "The proof is over, or not yet good (exp, nbf).",
    "ath": "The proof is for another access token (ath).",
    "jti": "The proof has no name of its own (jti).",
    "used": "The proof was used before. Make a new one for each request.",
    "nonce": "The proof must hold the nonce of the DPoP-Nonce header.",
    "jkt": "The proof is of another key than the one the access token is bound to.",
}


def _refuse(check: str, code: str = "invalid_dpop_proof", nonce: str | None = None) -> NoReturn:
    raise SessionError(code, WHY[check], nonce=nonce) from None


class KeyProofs:
    """Checks proofs for one site. Thread-safe.

    ``replay`` remembers which were used; by default in the memory of this process. ``nonce_key`` (32 bytes or more, the
    same in all processes) makes every proof hold a nonce of ours (§9). ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        *,
        replay: ReplayRegister | None = None,
        nonce_key: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if nonce_key is not None and len(nonce_key) < 32:
            raise ConfigurationError("nonce_key needs 32 bytes or more")
        self._replay: ReplayRegister = MemoryReplays(clock=clock) if replay is None else replay
        self._may_block = replay is not None and not isinstance(replay, MemoryReplays)
        self._nonce_key, self._clock = nonce_key, clock

    def check(
        self, proofs: Sequence[str], *, method: str, url: str, token: str, jkt: str, network: bool = True
    ) -> None:
        """Return if the request shows the key ``jkt``. ``proofs``: all values of its `DPoP` headers.

        Raises `SessionError` ``invalid_dpop_proof``, ``use_dpop_nonce``, ``wrong_key``, ``too_busy``; `NeedsNetwork`
        where the register may block and ``network`` is false.
        """
        if "://" not in url:
            raise ConfigurationError("url must be the whole address that was asked for, https://… and all")
        if len(proofs) != 1:
            _refuse("several" if proofs else "missing")
        shown, claims = _read_proof(proofs[0])
        now = self._clock()
        _check_place(claims, method, url)
        made = _check_times(claims, now)
        if not _is_of(claims.get("ath"), token):
            _refuse("ath")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
            _refuse("jti")
        if shown != jkt:
            _refuse("jkt", "wrong_key")
        if self._nonce_key is not None and not self._is_good(self._nonce_key, claims.get("nonce"), now):
            _refuse("nonce", "use_dpop_nonce", self._nonce(self._nonce_key, _step(now)))
        if self._may_block and not network:
            raise NeedsNetwork
        name = f"proof:{shown}:{sha256(jti.encode('utf-8', 'surrogatepass')).hexdigest()}"
        if not self._replay.remember(name, made + RECENT + AHEAD):  # clocks of processes may be apart, too
            _refuse("used")

    @staticmethod
    def _nonce(key: bytes, step: int) -> str:
        return urlsafe_b64encode(hmac.digest(key, f"dpop nonce {step}".encode(), "sha256")[:18]).decode()

    def _is_good(self, key: bytes, nonce: object, now: float) -> bool:
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        steps = range(_step(now), _step(now) - NONCE_STEPS, -1)
        return any(hmac.compare_digest(nonce, self._nonce(key, step)) for step in steps)


def _step(now: float) -> int:
    return int(now // NONCE_STEP)


def _read_proof(proof: str) -> tuple[str, dict[str, Any]]:
    """Thumbprint of the key a proof carries and the claims it signed (§4.3, 2 to 7). Nothing is fetched."""
    parts = proof.split(".") if is_compact(proof, longest=MAX_PROOF) else []
    if len(parts) != 3 or not all(parts) or len(parts[0]) > MAX_HEADER:
        _refuse("form")
    try:
        header = read_json(decode_segment(parts[0]))
        signature, payload = decode_segment(parts[2]), decode_segment(parts[1])
    except SessionError:
        _refuse("form")
    if "crit" in header or "b64" in header:
        _refuse("crit")
    typ, alg, jwk = header.get("typ"), header.get("alg"), header.get("jwk")
    if not isinstance(typ, str) or typ.lower() != "dpop+jwt":
        _refuse("typ")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        _refuse("alg")
    key = read_proof_key(jwk, alg)
    if key is None or not isinstance(jwk, dict):
        _refuse("jwk")
    if not is_signed(key, f"{parts[0]}.{parts[1]}".encode("ascii"), signature):
        _refuse("signature")
    try:
        return thumbprint(jwk), read_json(payload)
    except SessionError:
        _refuse("form")


def _check_place(claims: Mapping[str, Any], method: str, url: str) -> None:
    if claims.get("htm") != method:
        _refuse("htm")
    if not is_same_place(claims.get("htu"), url):
        _refuse("htu")


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """When it was made. `exp` and `nbf`, which no proof needs, count where they stand (RFC 7519 §4.1)."""
    made = _read_time(claims, "iat")
    if made is None or not now - RECENT <= made <= now + AHEAD:
        _refuse("iat")
    if "exp" in claims and ((ends := _read_time(claims, "exp")) is None or ends <= now):
        _refuse("exp")
    if "nbf" in claims and ((begins := _read_time(claims, "nbf")) is None or begins > now + AHEAD):
        _refuse("exp")
    return made


def _read_time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2), fractions allowed."""
    raw = claims.get(name)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= _LAST_SECOND:
        return None
    return float(raw)


def _is_of(ath: object, token: str) -> bool:
    """Whether this is the hash of that access token (§4.2)."""
    if not isinstance(ath, str) or not ath.isascii():
        return False
    digest = urlsafe_b64encode(sha256(token.encode("ascii")).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(ath, digest)


def is_same_place(htu: object, url: str) -> bool:
    """Whether two addresses name one place, whatever query or fragment they have (§4.3, 9; RFC 3986 §6.2.2, §6.2.3)."""
    if not isinstance(htu, str) or not htu.isascii() or any(ch <= " " or ch == "\x7f" for ch in htu):
        return False
    try:
        return _place(htu) == _place(url)
    except ValueError:
        return False


def _place(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("no address of a resource")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port, _plain_path(parts.path)


def _plain_path(path: str) -> str:
    """One spelling of a path: escapes only where needed and in capitals, no dot segments."""
    # What a framework unescaped already (an é, a space) is escaped again.
    escaped = _ESCAPE.sub(_plain_escape, quote(path, safe="%/:@!$&'()*+,;=-._~"))
    pieces = escaped.split("/")[1:] or [""]
    kept: list[str] = []
    for piece in pieces:
        if piece == "..":
            del kept[-1:]
        elif piece != ".":
            kept.append(piece)
    if pieces[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _plain_escape(found: re.Match[str]) -> str:
    letter = chr(int(found[1], 16))
    return letter if letter.isascii() and (letter.isalnum() or letter in "-._~") else found[0].upper()

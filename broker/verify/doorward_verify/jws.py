"""The cold path: one compact JWS, two algorithms, no options.

Put together from the primitives of ``cryptography`` because a general JOSE library costs more than
the signature itself. ``tests/verify`` holds it against joserfc, token by token. What is *not*
checked here: every claim (see `doorward_verify.claims`).
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from .errors import SessionError

__all__ = ["MAX_TOKEN", "Key", "Parsed", "check_signature", "decode_segment", "is_compact", "parse", "read_json"]

MAX_TOKEN: Final = 8192
"""Longer input is refused before anything is decoded (CVE-2025-61920, CVE-2025-65015)."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_SHA256: Final = hashes.SHA256()
_PKCS1: Final = padding.PKCS1v15()
_ECDSA: Final = ec.ECDSA(_SHA256)
_HEADER_CACHE: dict[str, dict[str, Any]] = {}
_HEADER_CACHE_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the only algorithm it may be used with."""

    alg: str
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Parsed(NamedTuple):
    """A token taken apart, not yet believed."""

    alg: str
    kid: str
    typ: str | None
    signing_input: bytes
    signature: bytes
    payload: str


def _malformed() -> NoReturn:
    # `from None`: the cause would carry bytes of the token into a traceback.
    raise SessionError("malformed") from None


def decode_segment(segment: str) -> bytes:
    """base64url without padding; RFC 7515 §2. A non-canonical last character is refused."""
    spare = len(segment) % 4
    if spare == 1:
        _malformed()
    try:
        raw = binascii.a2b_base64(segment.encode("ascii").translate(_FROM_URL) + b"==="[: (4 - spare) % 4])
    except ValueError:  # and `binascii.Error`, which is one
        _malformed()
    if spare and segment[-1] not in ("AQgw" if spare == 2 else "AEIMQUYcgkosw048"):
        _malformed()
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated member")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def read_json(text: bytes | str) -> dict[str, Any]:
    """One JSON object with no member twice. Raises `SessionError` ``malformed``."""
    try:
        if not isinstance(text, str):
            text = text.decode("utf-8")
        # What has space around it goes the library's own way; that would be a tenth of the check for everybody else.
        value, end = _JSON.raw_decode(text) if text[:1] == "{" else (None, 0)
        if end != len(text):
            value = _JSON.decode(text)
    except (ValueError, RecursionError):
        _malformed()
    if not isinstance(value, dict):
        _malformed()
    return value


def is_compact(token: str, *, longest: int) -> bool:
    """Whether it is short enough and has no letters but those of a compact JWS (RFC 7515 §3.1)."""
    return len(token) <= longest and token.isascii() and not token.encode("ascii").translate(None, _ALPHABET)


def _header(segment: str) -> dict[str, Any]:
    """The same header stands before every token of one key: decode it once."""
    known = _HEADER_CACHE.get(segment)
    if known is not None:
        return known
    header = read_json(decode_segment(segment))
    if len(segment) <= 256:
        if len(_HEADER_CACHE) >= _HEADER_CACHE_SIZE:
            _HEADER_CACHE.clear()
        _HEADER_CACHE[segment] = header
    return header


def parse(token: str, *, longest: int = MAX_TOKEN) -> Parsed:
    """Take a compact JWS apart. ``jku``, ``jwk``, ``x5u`` and ``x5c`` are never looked at: keys come
    from the issuer alone (RFC 8725 §3.10); ``crit`` is refused since no extension is known here
    (RFC 7515 §4.1.11).

    Raises `SessionError` ``missing`` or ``malformed``.
    """
    if not token:
        raise SessionError("missing")
    if not is_compact(token, longest=longest):
        _malformed()
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        _malformed()
    header = _header(parts[0])
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if alg not in ("RS256", "ES256") or "crit" in header or "b64" in header:
        _malformed()
    if not isinstance(kid, str) or not 0 < len(kid) <= 200:
        _malformed()
    if typ is not None and not isinstance(typ, str):
        _malformed()
    try:
        payload = decode_segment(parts[1]).decode("utf-8")
    except UnicodeDecodeError:
        _malformed()
    signing_input = token[: -len(parts[2]) - 1].encode("ascii")
    return Parsed(alg, kid, typ, signing_input, decode_segment(parts[2]), payload)


def check_signature(parsed: Parsed, key: Key) -> None:
    """Raise `SessionError` ``bad_signature`` unless ``key`` made the signature with its own algorithm."""
    if parsed.alg != key.alg:
        raise SessionError("bad_signature")
    signature = parsed.signature
    try:
        if isinstance(key.public, rsa.RSAPublicKey):
            key.public.verify(signature, parsed.signing_input, _PKCS1, _SHA256)
            return
        if len(signature) != 64:
            raise SessionError("bad_signature")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.public.verify(utils.encode_dss_signature(r, s), parsed.signing_input, _ECDSA)
    except InvalidSignature:
        raise SessionError("bad_signature") from None


def text_claim(claims: Mapping[str, Any], name: str, *, longest: int = 2048) -> str | None:
    """An optional claim that is a string of bounded length. Raises ``malformed`` otherwise."""
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        _malformed()
    return value


def time_claim(claims: Mapping[str, Any], name: str) -> int:
    """A needed NumericDate: a whole number from 1970 to 2200. Raises ``malformed`` otherwise."""
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= 7_258_118_400:
        _malformed()
    return value

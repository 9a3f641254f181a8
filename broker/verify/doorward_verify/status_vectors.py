"""Status lists and tokens that name them, with the code each must be given, for software in any language.

`build_status_vectors` gives the part of ``vectors.json`` called ``status``: ``lists`` holds what is found at each
address (a token, or nothing), and ``vectors`` the same as elsewhere, for a verifier that reads the lists. Where a list
is not to be believed, nobody can say whether a token has ended: that is an outage, ``keys_unavailable``.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["build_status_vectors"]

PLACES: Final = 1 << 20
BOMB: Final = 64 * 1024 * 1024


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _packed(ended: Iterable[int], *, size: int = PLACES // 8) -> str:
    bits = bytearray(size)
    for place in ended:
        bits[place >> 3] |= 1 << (place & 7)
    return _b64(zlib.compress(bytes(bits), 9))


def build_status_vectors(issuer: str, now: int, token: Callable[..., str], stranger: Any) -> dict[str, Any]:
    """``token(header=, key=, **claims)`` signs a session token with changes; ``stranger`` is a key that is not ours."""

    def uri(name: str) -> str:
        return f"{issuer}/status/{name}"

    def made(name: str, *, typ: str = "statuslist+jwt", key: Any = None, listed: Any = None, **changes: Any) -> str:
        only_sessions = {
            "aud": None,
            "sid": None,
            "auth_time": None,
            "acr": None,
            "amr": None,
            "preferred_username": None,
        }
        own = {"sub": uri(name), "iat": now, "exp": now + 900, "ttl": 60, "status_list": listed or whole}
        return token(header={"typ": typ}, key=key, **{**only_sessions, **own, **changes})

    whole = {"bits": 1, "lst": _packed([3, PLACES - 1])}
    lists = {
        "good": made("good"),
        "type": made("type", typ="JWT"),
        "issuer": made("issuer", iss="https://login.example.com"),
        "address": made("good"),
        "over": made("over", iat=now - 1000, exp=now - 1),
        "ahead": made("ahead", iat=now + 400, exp=now + 1300),
        "stranger": made("stranger", key=stranger),
        "bits": made("bits", listed={**whole, "bits": 2}),
        "packing": made("packing", listed={"bits": 1, "lst": _b64(b"not compressed")}),
        "bomb": made("bomb", listed={"bits": 1, "lst": _packed([], size=BOMB)}),
        "nothing": made("nothing", listed={"bits": 1}),
        "gone": None,
    }

    def naming(place: Any, name: str = "good", at: str | None = None) -> str:
        return token(status={"status_list": {"idx": place, "uri": at or uri(name)}})

    cases = {
        "its bit is not set": (naming(4), "ok"),
        "revoked": (naming(3), "revoked"),
        "revoked, in the last place": (naming(PLACES - 1), "revoked"),
        "names no list": (token(), "ok"),
        "outside the list": (naming(PLACES), "malformed"),
        "place is negative": (naming(-1), "malformed"),
        "place is text": (naming("3"), "malformed"),
        "place is a fraction": (naming(3.5), "malformed"),
        "list of another house": (naming(3, at="https://evil.example/status/good"), "malformed"),
        "list by a name like ours": (naming(3, at=f"{issuer}.evil.example/status/good"), "malformed"),
        "status is text": (token(status="revoked"), "malformed"),
        "no status list in it": (token(status={}), "malformed"),
        **{f"list that is wrong: {name}": (naming(4, name), "keys_unavailable") for name in lists if name != "good"},
    }
    return {
        "lists": {uri(name): text for name, text in lists.items()},
        "vectors": [
            {"name": name, "token": text, "expect": code, "accept": [code]} for name, (text, code) in cases.items()
        ],
    }

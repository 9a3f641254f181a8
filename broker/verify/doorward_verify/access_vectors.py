"""Access tokens with the code each must be given at an interface of a site, for software in any language (RFC 9068).

`build_access_vectors` gives the part of ``vectors.json`` called ``access``: the ``audience`` of the interface, and
``vectors`` as elsewhere. A session token and an ID token are among them: neither passes for an access token, also where
it says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["build_access_vectors"]

API: Final = "https://api.forum.example.org/"


def build_access_vectors(now: int, token: Callable[..., str], keys: Mapping[str, Any]) -> dict[str, Any]:
    """``token(header=, key=, **claims)`` signs a session token with changes; ``keys`` are others it can sign with."""

    def made(*, typ: str | None = "at+jwt", key: Any = None, **changes: Any) -> str:
        own = {
            "aud": API,
            "client_id": "forum",
            "jti": "grant-1.token-1",
            "scope": "openid posts:write",
            "sid": None,
            "preferred_username": None,
        }
        return token(header={"typ": typ}, key=key, **{**own, **changes})

    bound = {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
    cases = {
        "access: good RS256": (made(), "ok"),
        "access: good ES256": (made(key=keys["key of ES256"]), "ok"),
        "access: good, the long name of the type": (made(typ="application/at+jwt"), "ok"),
        "access: good, for two interfaces": (made(aud=[API, "https://other.example.org/"]), "ok"),
        "access: good, of a site without a person": (made(sub="forum", auth_time=None, acr=None, amr=None), "ok"),
        "access: good, without a scope": (made(scope=None), "ok"),
        "access: ID token": (made(typ="JWT"), "wrong_type"),
        "access: session token": (made(typ="session+jwt"), "wrong_type"),
        "access: answer of an introspection": (made(typ="token-introspection+jwt"), "wrong_type"),
        "access: status list": (made(typ="statuslist+jwt"), "wrong_type"),
        "access: no typ": (made(typ=None), "wrong_type"),
        "access: bound to a key, without its proof": (made(cnf=bound), "wrong_type"),
        "access: for the site, not its interface": (made(aud="forum"), "wrong_audience"),
        "access: for another interface": (made(aud=["https://other.example.org/"]), "wrong_audience"),
        "access: audience without its slash": (made(aud=API.rstrip("/")), "wrong_audience"),
        "access: no aud": (made(aud=None), "wrong_audience"),
        "access: wrong iss": (made(iss="https://login.example.com"), "wrong_issuer"),
        "access: signed by a stranger": (made(key=keys["stranger"]), "bad_signature"),
        "access: no client_id": (made(client_id=None), "malformed"),
        "access: no sub": (made(sub=None), "malformed"),
        "access: no jti": (made(jti=None), "malformed"),
        "access: no exp": (made(exp=None), "malformed"),
        "access: scope is a list": (made(scope=["openid"]), "malformed"),
        "access: expired": (made(iat=now - 900, exp=now - 1, auth_time=now - 900), "expired"),
        "access: not yet valid": (made(iat=now + 120, exp=now + 700), "not_yet_valid"),
        "access: lives two days": (made(exp=now + 2 * 86400), "malformed"),
    }
    return {
        "audience": API,
        "vectors": [
            {"name": name, "token": given, "expect": code, "accept": [code]} for name, (given, code) in cases.items()
        ],
    }

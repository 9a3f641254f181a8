"""Keys of sites and what they sign with them: joserfc's signing side, so that nothing of ours checks itself.

key = new_key("ES256")
assertion(key, client_id="shop", audience=ISSUER, now=clock.now())
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey | OctKey
JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def new_key(algorithm: str = "ES256", kid: str = "site-1") -> Key:
    """A key for that algorithm, made once for each name: RSA keys are slow to make."""
    return _made(algorithm, kid)


@functools.cache
def _made(algorithm: str, kid: str) -> Key:
    parameters: Any = {"kid": kid}
    if algorithm.startswith(("RS", "PS")):
        return RSAKey.generate_key(2048, parameters)
    if algorithm == "Ed25519":
        return OKPKey.generate_key("Ed25519", parameters)
    return ECKey.generate_key("P-256", parameters)


def public(key: Key) -> dict[str, Any]:
    """The public half."""
    return dict(key.as_dict(private=False))


def key_set(*keys: Key) -> str:
    """A JWK set of public halves."""
    return json.dumps({"keys": [public(key) for key in keys]})


def signed(claims: Mapping[str, Any] | bytes, key: Key, algorithm: str = "ES256", **header: Any) -> str:
    """A compact JWS. `header=None` leaves a member out, `kid` included."""
    named: dict[str, Any] = {"alg": algorithm, "kid": key.kid, **header}
    kept = {name: value for name, value in named.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(dict(claims)).encode()
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(kept, payload, key, registry=registry)


def assertion_claims(client_id: str, audience: object, now: datetime, **changes: Any) -> dict[str, Any]:
    """The claims of a good assertion (RFC 7523 §3); `name=None` leaves one out."""
    at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": at,
        "exp": at + 60,
        "jti": secrets.token_urlsafe(16),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def assertion(
    key: Key, *, client_id: str, audience: object, now: datetime, algorithm: str = "ES256", **changes: Any
) -> dict[str, str]:
    """The form parameters by which a site proves itself with a signature."""
    token = signed(assertion_claims(client_id, audience, now, **changes), key, algorithm)
    return {"client_assertion_type": JWT_BEARER, "client_assertion": token}


def proof_claims(method: str, url: str, now: datetime, *, token: str | None = None, **changes: Any) -> dict[str, Any]:
    """The claims of a good DPoP proof (RFC 9449 §4.2), beside an access token if there is one; `name=None` leaves one out."""
    claims: dict[str, Any] = {
        "htm": method,
        "htu": url,
        "iat": int(now.timestamp()),
        "jti": secrets.token_urlsafe(16),
        "ath": None if token is None else ath(token),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def proof(
    key: Key, method: str, url: str, now: datetime, *, algorithm: str = "ES256", header: Mapping[str, Any] = {}, **claims: Any
) -> str:  # fmt: skip
    """A DPoP proof; `header` replaces members of its header."""
    named = {"typ": "dpop+jwt", "kid": None, "jwk": public(key), **header}
    return signed(proof_claims(method, url, now, **claims), key, algorithm, **named)


def ath(token: str) -> str:
    """The hash of an access token in a proof."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def thumbprint(key: Key) -> str:
    """What a key is known by (RFC 7638), computed by hand."""
    members = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
    full = public(key)
    text = json.dumps({name: full[name] for name in members[full["kty"]]}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def object_claims(site: str, audience: object, now: datetime, /, **changes: Any) -> dict[str, Any]:
    """The claims of a good request object (RFC 9101 §4), also for a strict site; `name=None` leaves one out."""
    at = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": site,
        "aud": audience,
        "client_id": site,
        "iat": at,
        "nbf": at,
        "exp": at + 300,
        "response_type": "code",
        "redirect_uri": f"https://{site}.test/callback",
        "scope": "openid profile email",
        "state": "state-signed",
        "nonce": "nonce-signed",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def request_object(
    key: Key, site: str, audience: object, now: datetime, /, *, algorithm: str = "ES256", header: Mapping[str, Any] = {}, **claims: Any
) -> str:  # fmt: skip
    """A request that a site signed; `header` replaces members of its header."""
    named = {"typ": "oauth-authz-req+jwt", **header}
    return signed(object_claims(site, audience, now, **claims), key, algorithm, **named)

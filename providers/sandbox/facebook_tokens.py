"""ID tokens and signed requests of the Facebook-like sandbox (protocols.md §1.10, §1.11)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlencode

from providers.sandbox.facebook_people import Person
from providers.sandbox.facebook_state import TOKEN_LIFETIME, App, Sandbox
from providers.sandbox.signing import Json, SigningKey, b64url, compact_json, half_hash, sign_rs256, unsigned

EXPIRED_BEFORE = 3_600  # seconds by which the `expired` persona's token is too old
TAMPERINGS = ("bad-mac", "wrong-alg", "old-issued-at", "extra-padding", "truncated")


def lifetime(person: Person) -> int:
    """Seconds for `expires_in`: about 60 days, or one second for the persona whose token has expired."""
    return 1 if person.fault == "expired" else TOKEN_LIFETIME


def id_token(sandbox: Sandbox, issuer: str, app: App, person: Person, nonce: str, access_token: str | None) -> str:
    """A signed ID token with Facebook's claims: no `email_verified`, `aud` one string, `jti` unique."""
    claims = _claims(sandbox, issuer, app, person, nonce)
    if access_token is not None:
        claims["at_hash"] = half_hash(access_token)
    return _signed(sandbox, claims, app, person, sandbox.signing_key())


def limited_token(sandbox: Sandbox, issuer: str, app: App, person: Person, nonce: str) -> str:
    """What the SDK gets from Limited Login: the same with a picture, by a key of its own, and nothing to ask Graph with."""
    claims = _claims(sandbox, issuer, app, person, nonce)
    if not person.silhouette:
        query = urlencode({"asid": claims["sub"], "width": 320, "height": 320, "ext": claims["exp"]})
        claims["picture"] = f"{issuer}/platform/profilepic/?{query}"
    if person.fault == "expired":
        claims |= {"iat": claims["iat"] - 2 * EXPIRED_BEFORE, "exp": claims["exp"] - 2 * EXPIRED_BEFORE}
    return _signed(sandbox, claims, app, person, sandbox.limited_key())


def _signed(sandbox: Sandbox, claims: Json, app: App, person: Person, key: SigningKey) -> str:
    """The token, or what the persona's fault makes of it."""
    issuer = claims["iss"]
    if person.fault == "oidc-bad-aud":
        claims["aud"] = "1" + app.id
    if person.fault == "oidc-bad-iss":
        claims["iss"] = issuer + ".evil.test"
    if person.fault == "oidc-no-nonce":
        claims.pop("nonce", None)
    if person.fault == "oidc-alg-none":
        return unsigned(claims)
    return sign_rs256(claims, sandbox.withdrawn_key() if person.fault == "oidc-stale-key" else key)


def _claims(sandbox: Sandbox, issuer: str, app: App, person: Person, nonce: str) -> Json:
    now = int(sandbox.now())
    granted = sandbox.granted(app.id, person.slug)
    values = person.fields()
    claims: Json = {
        "iss": issuer,
        "aud": app.id,
        "sub": person.id_in(app.id),
        "iat": now,
        "exp": now + 3600,
        "jti": secrets.token_urlsafe(12),
        "name": person.name,
        "given_name": person.first_name,
    }
    optional = {
        "nonce": nonce,
        "family_name": person.last_name,
        "email": values.get("email") if "email" in granted else None,
        "user_birthday": values.get("birthday") if "user_birthday" in granted else None,
        "user_age_range": values.get("age_range") if "user_age_range" in granted else None,
    }
    return claims | {name: value for name, value in optional.items() if value}


def signed_request(sandbox: Sandbox, app: App, person: Person, *, tamper: str | None = None) -> str:
    """A `signed_request` about a person, or one made wrong in one of the TAMPERINGS."""
    now = int(sandbox.now())
    payload = {
        "user_id": person.id_in(app.id),
        "algorithm": "HMAC-SHA1" if tamper == "wrong-alg" else "HMAC-SHA256",
        "issued_at": now - 30 * 86_400 if tamper == "old-issued-at" else now,
    }
    body = b64url(compact_json(payload))
    mac = hmac.new(app.secret.encode(), body.encode(), hashlib.sha256).digest()
    if tamper == "bad-mac":
        mac = bytes([mac[0] ^ 1]) + mac[1:]
    text = f"{b64url(mac)}.{body}"
    if tamper == "extra-padding":
        return text + "=="
    return text[: len(text) // 2].replace(".", "") if tamper == "truncated" else text

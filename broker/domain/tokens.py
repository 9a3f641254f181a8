"""What goes into each token: claim sets, lifetimes, subjects. Nothing here signs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.domain.client import Client
from broker.domain.disclosure import Disclosure
from broker.domain.grant import ID_TOKEN_LIFETIME, SESSION_TOKEN_LIFETIME, Grant
from broker.domain.ports import AccessToken
from broker.domain.status import status_claim
from broker.domain.values import AccountId, ClientId, GrantId

LOGOUT_TOKEN_LIFETIME: Final = timedelta(minutes=2)
ASSERTION_LIFETIME: Final = timedelta(seconds=60)
BACKCHANNEL_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

ID_TOKEN_TYPE: Final = "JWT"
SESSION_TOKEN_TYPE: Final = "session+jwt"
ACCESS_TOKEN_TYPE: Final = "at+jwt"
USERINFO_TYPE: Final = "userinfo+jwt"
"""A type of its own, so that nobody takes the answer for an ID token."""
INTROSPECTION_TYPE: Final = "token-introspection+jwt"
LOGOUT_TOKEN_TYPE: Final = "logout+jwt"
RESPONSE_TYPE: Final = "oauth-authz-resp+jwt"
"""An answer to an authorization request: of a type of its own, so that it passes for no token (RFC 8725 §3.11)."""
RESPONSE_LIFETIME: Final = timedelta(minutes=10)
ASSERTION_TYPE: Final = "fwd+jwt"
"""What a proxy hands on for one request."""


def subject_for(account: AccountId, client: Client, key: bytes) -> str:
    """The person's number at this client: the same for clients of one sector, different elsewhere.

    `account`: whose number it is there (`Account.number_at`, `Grant.number_of`).

    HMAC-SHA256 over sector and account (OpenID Connect Core §8.1, method 2). Account ids are never used again,
    so neither are subjects.
    """
    digest = hmac.digest(key, f"sub\x00{client.subject_sector}\x00{account}".encode(), "sha256")
    return base64url.encoded(digest)


def id_token(
    disclosure: Disclosure, *, issuer: str, sid: str, nonce: str | None, access_token: str | None
) -> dict[str, Any]:
    """The ID token's claims (OpenID Connect Core §2): minimal, plus what the disclosure holds."""
    grant = disclosure.grant
    payload = _about_sign_in(disclosure, issuer=issuer, sid=sid, lifetime=ID_TOKEN_LIFETIME)
    if nonce is not None:
        payload["nonce"] = nonce
    if access_token is not None:
        payload["at_hash"] = half_hash(access_token)
    payload["azp"] = grant.client
    return payload


def session_token(disclosure: Disclosure, *, issuer: str, sid: str, token_id: str) -> dict[str, Any]:
    """The session token's claims: who is signed in, for one site's own code.

    Its `jti` names the grant, as an access token does: whether it still counts is one look-up away. A grant is one
    person's at one site, so its name tells no two sites anything.
    """
    payload = _about_sign_in(disclosure, issuer=issuer, sid=sid, lifetime=SESSION_TOKEN_LIFETIME)
    payload["jti"] = f"{disclosure.grant.id}.{token_id}"
    return payload | status_claim(disclosure.grant, issuer)


def access_token(disclosure: Disclosure, access: AccessToken, *, issuer: str) -> dict[str, Any]:
    """An access token's claims (RFC 9068 §2.2): never claims of the profile. Without another audience it is for us.

    The audience is never the site's id: a site that takes our ID tokens without looking at their type would take this.
    """
    grant = disclosure.grant
    payload: dict[str, Any] = {
        "iss": issuer,
        "aud": _one_or_all(access.audience or (issuer,)),
        "sub": disclosure.subject,
        "client_id": grant.client,
        "iat": int(access.issued_at.timestamp()),
        "exp": int(access.expires_at.timestamp()),
        "jti": f"{grant.id}.{access.token_id}",
        "scope": " ".join(sorted(access.scopes)),
    }
    return payload | _sign_in(grant) | status_claim(grant, issuer) | _confirmation(access)


def service_token(access: AccessToken, *, issuer: str) -> dict[str, Any]:
    """The claims of an access token that a site has for itself (RFC 9068 §2.2): its own id stands for the person's."""
    return {
        "iss": issuer,
        "aud": _one_or_all(access.audience or (issuer,)),
        "sub": access.client,
        "client_id": access.client,
        "iat": int(access.issued_at.timestamp()),
        "exp": int(access.expires_at.timestamp()),
        "jti": f".{access.token_id}",
        "scope": " ".join(sorted(access.scopes)),
    } | _confirmation(access)


def read_access_token(claims: Mapping[str, Any]) -> AccessToken:
    """What the claims of an access token of ours stand for."""
    stated = claims["aud"]
    read = read_session_token(claims)
    return replace(
        read,
        scopes=frozenset(claims["scope"].split()),
        audience=(stated,) if isinstance(stated, str) else tuple(stated),
        client=None if read.grant else ClientId(claims["client_id"]),
        jkt=claims.get("cnf", {}).get("jkt"),
    )


def _confirmation(access: AccessToken) -> dict[str, Any]:
    """Which key a token is of use with (RFC 9449 §6.1)."""
    return {} if access.jkt is None else {"cnf": {"jkt": access.jkt}}


def _one_or_all(audience: tuple[str, ...]) -> str | list[str]:
    """As software expects it: one audience is text (RFC 7519 §4.1.3)."""
    return audience[0] if len(audience) == 1 else list(audience)


def login_assertion(disclosure: Disclosure, *, issuer: str, sid: str) -> dict[str, Any]:
    """The claims of the assertion beside a proxy's headers: for this one request, and checked by the site if it can."""
    return _about_sign_in(disclosure, issuer=issuer, sid=sid, lifetime=ASSERTION_LIFETIME)


def read_session_token(claims: Mapping[str, Any]) -> AccessToken:
    """What the claims of a session token of ours stand for: a grant, and no scopes."""
    grant, _, token_id = str(claims.get("jti", "")).partition(".")
    return AccessToken(
        grant=GrantId(grant),
        token_id=token_id,
        scopes=frozenset(),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _about_sign_in(disclosure: Disclosure, *, issuer: str, sid: str, lifetime: timedelta) -> dict[str, Any]:
    grant, now = disclosure.grant, disclosure.released_at
    payload: dict[str, Any] = {str(name): value for name, value in disclosure.claims.items()}
    payload |= {
        "iss": issuer,
        "aud": grant.client,
        "sub": disclosure.subject,
        "sid": sid,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    return payload | _sign_in(grant)


def _sign_in(grant: Grant) -> dict[str, Any]:
    """When and how the person proved who they are."""
    said: dict[str, Any] = {"auth_time": int(grant.auth_time.timestamp())}
    if grant.amr:
        said["amr"] = list(grant.amr)
    if grant.acr:
        said["acr"] = grant.acr
    return said


def logout_token(
    *, issuer: str, client: ClientId, subject: str, sid: str | None, jti: str, now: datetime
) -> dict[str, Any]:
    """A logout token's claims (OpenID Connect Back-Channel Logout §2.4): no nonce, two minutes at most."""
    payload: dict[str, Any] = {
        "iss": issuer,
        "aud": client,
        "sub": subject,
        "iat": int(now.timestamp()),
        "exp": int((now + LOGOUT_TOKEN_LIFETIME).timestamp()),
        "jti": jti,
        "events": {BACKCHANNEL_EVENT: {}},
    }
    if sid is not None:
        payload["sid"] = sid
    return payload


def authorization_response(params: Mapping[str, str], *, client: ClientId, now: datetime) -> dict[str, Any]:
    """The claims of an answer that we sign (JARM §2.1). `params`: the answer as it would travel by itself, `iss` included."""
    return {**params, "aud": client, "exp": int((now + RESPONSE_LIFETIME).timestamp())}


def half_hash(token: str) -> str:
    """`at_hash`: the left half of the token's SHA-256, base64url (OpenID Connect Core §3.1.3.6)."""
    return base64url.encoded(hashlib.sha256(token.encode("ascii")).digest()[:16])


def userinfo(disclosure: Disclosure) -> Mapping[str, Any]:
    """The userinfo answer (OpenID Connect Core §5.3.2): the subject and what was released."""
    return {"sub": disclosure.subject, **{str(name): value for name, value in disclosure.claims.items()}}


def userinfo_response(claims: Mapping[str, Any], *, issuer: str, client: ClientId) -> dict[str, Any]:
    """The claims of a userinfo answer that is signed (OpenID Connect Core §5.3.2): whose word it is, and for whom."""
    return {**claims, "iss": issuer, "aud": client}


def introspection(disclosure: Disclosure, presented: AccessToken, *, issuer: str, token_type: str) -> dict[str, Any]:
    """An active token's description (RFC 7662 §2.2): never claims of the profile.

    A session token has no scopes and is no bearer token of OAuth: whoever asks for either does not find it.
    """
    grant = disclosure.grant
    described: dict[str, Any] = {
        "active": True,
        "iss": issuer,
        "client_id": grant.client,
        "sub": disclosure.subject,
        "aud": _one_or_all(presented.audience or (grant.client,)),
        "token_type": token_type,
        "exp": int(presented.expires_at.timestamp()),
        "iat": int(presented.issued_at.timestamp()),
        "auth_time": int(grant.auth_time.timestamp()),
    }
    if presented.scopes:
        described["scope"] = " ".join(sorted(presented.scopes))
    return described | _confirmation(presented)


def service_introspection(presented: AccessToken, *, issuer: str, token_type: str) -> dict[str, Any]:
    """The description of a token that a site has for itself (RFC 7662 §2.2)."""
    whose = str(presented.client)
    return service_token(presented, issuer=issuer) | {
        "active": True,
        "aud": _one_or_all(presented.audience or (whose,)),
        "token_type": token_type,
    }


def introspection_response(
    described: Mapping[str, Any], *, issuer: str, caller: ClientId, now: datetime
) -> dict[str, Any]:
    """The claims of an introspection's answer that is signed (RFC 9701 §5): for whoever asked, and no token itself."""
    return {"iss": issuer, "aud": caller, "iat": int(now.timestamp()), "token_introspection": dict(described)}

"""The token request, checked (RFC 6749 §4.1.3 and §6, RFC 7636 §4.6)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from broker.domain import base64url
from broker.domain.checks.resource import RESOURCE
from broker.domain.client import Client
from broker.domain.grant import AuthorizationCode, Grant, is_standing
from broker.domain.values import Scope
from broker.errors import InvalidGrant, InvalidRequest, InvalidScope

Params = Mapping[str, str]
MAX_VALUE: Final = 4096
MAX_OBJECT: Final = 8192
"""Of `request`, which a site signed (RFC 9101), and of a provider's `id_token`."""
_LONG: Final = frozenset({"request", "id_token"})


def read_params(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Form parameters by name. Raises `InvalidRequest` if any is repeated or too long (RFC 6749 §3.2)."""
    params: dict[str, str] = {}
    for name, value in pairs:
        if name in params and name != RESOURCE:  # the one that may be repeated (RFC 8707 §2)
            raise InvalidRequest(detail="parameter repeated")
        if len(value) > (MAX_OBJECT if name in _LONG else MAX_VALUE) or len(name) > 100:
            raise InvalidRequest(detail="parameter too long")
        if value:
            params[name] = f"{params[name]} {value}" if name in params else value
    return params


def _client(code: AuthorizationCode, _grant: Grant, client: Client, _params: Params, _now: datetime) -> None:
    if code.client != client.client_id:
        raise InvalidGrant(detail="code of another client")


def _lifetime(code: AuthorizationCode, grant: Grant, _client: Client, _params: Params, now: datetime) -> None:
    if now >= code.expires_at:
        raise InvalidGrant(detail="code expired")
    if not is_standing(grant, now):
        raise InvalidGrant(detail="grant revoked")


def _redirect_uri(code: AuthorizationCode, _grant: Grant, _client: Client, params: Params, _now: datetime) -> None:
    if params.get("redirect_uri") != code.redirect_uri:
        raise InvalidGrant(detail="redirect_uri differs")


def _code_verifier(code: AuthorizationCode, _grant: Grant, _client: Client, params: Params, _now: datetime) -> None:
    """RFC 7636 §4.6; a verifier without a challenge is a downgrade attempt (RFC 9700 §4.8.2)."""
    verifier = params.get("code_verifier")
    if code.code_challenge is None:
        if verifier is not None:
            raise InvalidGrant(detail="code_verifier without code_challenge")
        return
    if verifier is None or not is_code_verifier(verifier):
        raise InvalidGrant(detail="code_verifier missing or malformed")
    if not hmac.compare_digest(challenge_of(verifier), code.code_challenge):
        raise InvalidGrant(detail="code_verifier wrong")


CODE_CHECKS: Final[tuple[Callable[[AuthorizationCode, Grant, Client, Params, datetime], None], ...]] = (
    _client,
    _lifetime,
    _redirect_uri,
    _code_verifier,
)


def check_code(code: AuthorizationCode, grant: Grant, client: Client, params: Params, now: datetime) -> None:
    """Raises `InvalidGrant` unless this client may have what this code stands for. The code is used up either way."""
    for check in CODE_CHECKS:
        check(code, grant, client, params, now)


def narrowed(grant: Grant, params: Params) -> frozenset[Scope]:
    """The scopes of a refresh: the same or fewer (RFC 6749 §6). Raises `InvalidScope` on any other."""
    asked = frozenset(Scope(scope) for scope in params.get("scope", "").split(" ") if scope)
    if asked - grant.scopes:
        raise InvalidScope(detail="scope not granted")
    return asked or grant.scopes


def is_code_verifier(text: str) -> bool:
    """43 to 128 unreserved characters (RFC 7636 §4.1)."""
    return 43 <= len(text) <= 128 and all(ch.isascii() and (ch.isalnum() or ch in "-._~") for ch in text)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return base64url.encoded(hashlib.sha256(verifier.encode("ascii")).digest())

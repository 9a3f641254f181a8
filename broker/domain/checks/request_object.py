"""A request that the site itself signed (JAR, RFC 9101): nobody on the way changed it, and it is for us.

Its signature was checked before. What it says counts, and nothing of what a browser brought beside it (§6.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from broker.domain.checks.authorization import KNOWN_PARAMETERS, Params
from broker.domain.checks.client import AHEAD, CLIENT_ALGORITHMS, STRICT_ALGORITHMS, is_for_us, read_time
from broker.domain.checks.resource import RESOURCE
from broker.domain.client import Client, RequestObjectUse
from broker.errors import InvalidRequest, InvalidRequestObject

TYPES: Final = frozenset({"oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "jwt"})
"""`typ` of a request object, in lower case; where none stands it is `jwt`. Of a strict site too: FAPI 2.0 Message Signing
§5.3.2 only advises its own type, and what tells it from a proof of who the site is is `sub` (RFC 9101 §10.8)."""
LONGEST: Final = timedelta(minutes=60)
"""How long a strict site's request may be good (FAPI 2.0 Message Signing §5.3.1)."""
_BY: Final = frozenset({"request", "request_uri"})


def is_signed(params: Params) -> bool:
    """Whether a request says that the site signed it."""
    return not _BY.isdisjoint(params)


def check_signed(client: Client, *, is_signed: bool) -> None:
    """Raises `InvalidRequest` for what anybody could have written, if the site signs all it asks (RFC 9101 §10.5)."""
    if client.request_object is RequestObjectUse.REQUIRED and not is_signed:
        raise InvalidRequest(detail="request was not signed", public="Requests of this site have to be signed.")


def object_algorithms_of(client: Client) -> tuple[str, ...]:
    """What this site may sign a request with."""
    return STRICT_ALGORITHMS if client.strict_jwt else CLIENT_ALGORITHMS


def check_object(claims: Mapping[str, Any], client: Client, *, issuer: str, now: datetime) -> Params:
    """The parameters that a request object holds, as a query would bring them. Raises `InvalidRequestObject`."""
    if not _BY.isdisjoint(claims):
        raise InvalidRequestObject(detail="request object holds another")
    if claims.get("iss") != client.client_id or claims.get("client_id", client.client_id) != client.client_id:
        raise InvalidRequestObject(detail="request object iss or client_id")
    if claims.get("sub") == client.client_id:  # that is how a site proves who it is, and no request (RFC 9101 §10.8)
        raise InvalidRequestObject(detail="request object sub")
    if not _is_for_us(claims.get("aud"), client, issuer):
        raise InvalidRequestObject(detail="request object aud")
    _check_times(claims, client, now)
    params = {name: _text(name, claims[name]) for name in KNOWN_PARAMETERS & claims.keys()}
    return {name: text for name, text in params.items() if text} | {"client_id": client.client_id}


def _is_for_us(audience: object, client: Client, issuer: str) -> bool:
    """FAPI 2.0 Message Signing §5.3.1 lets a request name others beside us; no other kind of token has its type."""
    if client.is_told_signed and isinstance(audience, list):
        return issuer in audience
    return is_for_us(audience, issuer, frozenset(), alone=client.strict_jwt)


def _check_times(claims: Mapping[str, Any], client: Client, now: datetime) -> None:
    """What stands there counts; a strict site says from when to when, and no more than an hour."""
    begins, ends = read_time(claims, "nbf"), read_time(claims, "exp")
    if "exp" in claims and (ends is None or ends <= now):
        raise InvalidRequestObject(detail="request object exp")
    for name in ("iat", "nbf"):
        if name in claims and ((said := read_time(claims, name)) is None or said > now + AHEAD):
            raise InvalidRequestObject(detail=f"request object {name}")
    if not client.strict_jwt:
        return
    if begins is None or ends is None or now - begins > LONGEST or ends - begins > LONGEST:
        raise InvalidRequestObject(detail="request object lifetime")


def _text(name: str, value: object) -> str:
    """A value as a query has it: numbers as they are written, `claims` as JSON, resources one by one (RFC 9101 §4)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if name == "claims" and isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    if name == RESOURCE and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)  # as the reader of a query has it
    raise InvalidRequestObject(detail=f"request object {name}")

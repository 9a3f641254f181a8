"""Which interfaces a token is meant for (resource indicators, RFC 8707). Without one it is for us and the site itself.

A site may name the addresses that are registered for it, and no others. What it named when the person was sent here is
all that any token of that grant can be meant for; each request for a token may choose fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from broker.domain.client import Client
from broker.domain.grant import Grant
from broker.domain.ports import AccessToken
from broker.domain.values import ClientId
from broker.errors import InvalidTarget

RESOURCE: Final = "resource"


def asked(params: Mapping[str, str]) -> tuple[str, ...]:
    """The addresses a request names, each once; readers of parameters put a blank between them (RFC 8707 §2)."""
    return tuple(dict.fromkeys(one for one in params.get(RESOURCE, "").split(" ") if one))


def check_resources(params: Mapping[str, str], client: Client, issuer: str = "") -> None:
    """Raises `InvalidTarget` for an address that is not registered for this site. `issuer`: ours, where we may be named."""
    if not {*client.resources, issuer}.issuperset(asked(params)):
        raise InvalidTarget(detail="resource not registered")


def heard(access: AccessToken, owner: ClientId, client: Client, issuer: str) -> AccessToken | None:
    """A token as far as this client may hear of it: its own whole, another site's only where it is meant for what it serves.

    `owner`: whose it is. `None`: as good as unknown (catalogue 77). Who serves one interface does not learn of the others.
    """
    if owner == client.client_id:
        return access
    served = tuple(one for one in access.audience if one in client.serves and one != issuer)
    return replace(access, audience=served) if served else None


def meant(grant: Grant, params: Mapping[str, str], client: Client, issuer: str) -> Grant:
    """The grant as far as a token of it is meant for what this request names, or all it was given for (RFC 8707 §2.2).

    `issuer` may always be named: a token for userinfo, which every grant has. Raises `InvalidTarget` for anything else,
    and where nothing is left because the admin took an address away: fewer addresses never make a token go further.
    """
    left = tuple(one for one in grant.resources if one in client.resources)
    wanted = asked(params)
    if not {*left, issuer}.issuperset(wanted) or (grant.resources and not left and not wanted):
        raise InvalidTarget(detail="resource not granted")
    return replace(grant, resources=wanted or left)

"""What a site may have for itself, with no person behind it (client credentials, RFC 6749 §4.4)."""

from __future__ import annotations

from collections.abc import Mapping

from broker.domain.checks.resource import asked
from broker.domain.client import Client
from broker.domain.values import Scope
from broker.errors import InvalidScope, UnauthorizedClient


def service_scopes(params: Mapping[str, str], client: Client) -> frozenset[Scope]:
    """The scopes it asks for of those its admin listed for it; all of them if it asks for none (RFC 6749 §3.3).

    Raises `UnauthorizedClient` for a site without any, or that cannot prove itself; `InvalidScope` for any other scope:
    here, where nobody is asked, nothing is left out in silence.
    """
    if client.is_public or not client.service_scopes:
        raise UnauthorizedClient(detail="no service_scopes for this site")
    wanted = frozenset(Scope(scope) for scope in params.get("scope", "").split(" ") if scope)
    if wanted - client.service_scopes:
        raise InvalidScope(detail="scope not among service_scopes")
    return wanted or client.service_scopes


def service_audience(params: Mapping[str, str], client: Client) -> tuple[str, ...]:
    """Whom such a token is for: what it names, checked before, or every interface that is registered (RFC 8707 §2)."""
    return asked(params) or tuple(sorted(client.resources))

"""A device's request, checked (RFC 8628 §3.1)."""

from __future__ import annotations

from broker.domain.checks.resource import check_resources
from broker.domain.checks.token import Params
from broker.domain.client import Client
from broker.domain.values import Scope
from broker.errors import InvalidScope, UnauthorizedClient


def check_device(params: Params, client: Client) -> frozenset[Scope]:
    """The scopes it gets: those it may have of those it asks for.

    Raises `UnauthorizedClient` for a site whose admin did not allow it, `InvalidScope` without `openid`, and
    `InvalidTarget` for an interface that is not registered for it.
    """
    check_allowed(client)
    check_resources(params, client)
    asked = frozenset(Scope(scope) for scope in params.get("scope", "").split(" ") if scope)
    if "openid" not in asked & client.scopes:
        raise InvalidScope(detail="openid scope missing", public="The scope openid is required.")
    return asked & client.scopes


def check_allowed(client: Client) -> None:
    """Raises `UnauthorizedClient` unless this site's people may sign in on devices."""
    if not client.device_grant:
        raise UnauthorizedClient(detail="device_grant is off for this site")

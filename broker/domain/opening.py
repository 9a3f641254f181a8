"""A site is opened from here: where the browser is sent, so that the site signs the person in (OpenID Connect Core §4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from broker.domain.browser_state import origin_of
from broker.domain.client import Client, is_redirect_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A page of a site."""

    client: Client
    path: str
    """What follows the site's origin, with its query."""


def place_of(target: str, clients: Iterable[Client]) -> Place | None:
    """Whose page an address is; of sites that share an origin the one whose home page is nearest. `None`: of none."""
    if not is_redirect_uri(target):
        return None
    origin, parts = origin_of(target), urlsplit(target)
    path = parts.path or "/"
    near = [one for one in clients if one.enabled and origin_of(one.url) == origin]
    if not near:
        return None
    depth = {one.client_id: _depth(urlsplit(one.url).path, path) for one in near}
    return Place(
        client=max(near, key=lambda one: depth[one.client_id]),
        path=f"{path}?{parts.query}" if parts.query else path,
    )


def _depth(home: str, path: str) -> int:
    """How much of `path` is the home page's; -1: it is elsewhere."""
    folder = home.rpartition("/")[0] + "/"
    return len(folder) if path.startswith(folder) else -1


def opening_address(client: Client, issuer: str, path: str = "") -> str:
    """Where to send a browser that opens this site, and there `path`, which begins with a slash; nothing: its home page.

    Never anywhere but to the site: what is asked for is a path on the origin of its own home page.
    """
    target = f"{origin_of(client.url)}{path}" if path else client.url
    if not client.initiate_login_uri:
        return target
    known = urlsplit(client.initiate_login_uri)
    more = urlencode({"iss": issuer, "target_link_uri": target})
    return known._replace(query=f"{known.query}&{more}" if known.query else more).geturl()

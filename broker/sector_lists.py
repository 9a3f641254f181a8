"""The list of redirect addresses that sites of one sector share (OpenID Connect Core §8.1, Registration §5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from broker.egress import Egress, Exemption
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from broker.strict_json import read_json_list

if TYPE_CHECKING:
    from broker.domain.client import Client
    from broker.settings import EgressException

_OK: Final = 200


async def read_list(http: Egress, address: str) -> frozenset[str]:
    """The addresses in the JSON array there, fetched by the guarded client and followed nowhere.

    Raises `UpstreamUnavailable` when nothing came, `UpstreamInvalid` for anything but an array of texts.
    """
    answer = await http.request("GET", address, headers={"Accept": "application/json"})
    if answer.status != _OK:
        raise UpstreamUnavailable(f"status {answer.status} sector")
    listed = read_json_list(answer.body, "sector")
    if not all(isinstance(one, str) for one in listed):
        raise UpstreamInvalid("sector", "not texts")
    return frozenset(listed)


async def unlisted(exceptions: Iterable[EgressException], client: Client, address: str) -> tuple[str, ...]:
    """Redirect addresses of the site that the list lacks, compared character by character. Errors as `read_list`."""
    http = Egress(exemptions=[Exemption.parse(one.address, one.ca_file) for one in exceptions])
    try:
        listed = await read_list(http, address)
    finally:
        await http.aclose()
    return tuple(uri for uri in client.redirect_uris if uri not in listed)

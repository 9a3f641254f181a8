"""Who a handle of the AT Protocol is, and where their data lies: handles, DIDs and their documents.

Source: atproto.com/specs/handle, /specs/did. A handle is a host name that names a DID, and the DID's document must name the
handle back; else anybody could point a name of theirs at somebody. Everything read here was written by a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from broker.errors import UpstreamError, UpstreamInvalid
from providers._http import JSON, OK, UpstreamHTTP, read_object, read_success
from providers._typed import is_host_name, written_origin
from providers.preset import is_address

MAX_DID: Final = 255
MAX_DOCUMENT: Final = 256 * 1024

_PLC = re.compile(r"did:plc:[a-z2-7]{24}")
_LOCAL_WEB = re.compile(r"did:web:(?:127\.0\.0\.1|localhost)(?:%3A[0-9]{1,5})?")
"""In tests."""
_NEVER: Final = frozenset({"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"})
"""Ends of names that are nobody's (§Additional non-syntax restrictions); `test` is for tests."""

Allows = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the document of a DID says."""

    did: str = field(repr=False)
    handle: str = field(repr=False)
    """What it calls itself; nobody asked the handle yet. Nothing: it does not say."""
    pds: str = field(repr=False)
    """Where its data lies: an origin."""


def is_handle(text: str) -> bool:
    """Whether this is a handle (§Handle identifier syntax), in small letters."""
    last = text.rpartition(".")[2]
    return is_host_name(text) and not last[0].isdigit() and last not in _NEVER


def is_did(text: object, scheme: str = "https") -> bool:
    """Whether this is a DID of one of the two blessed methods."""
    if not isinstance(text, str) or len(text) > MAX_DID:
        return False
    is_web = text.startswith("did:web:") and is_host_name(text.removeprefix("did:web:"))
    return bool(_PLC.fullmatch(text)) or is_web or (scheme == "http" and bool(_LOCAL_WEB.fullmatch(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Looks handles and DIDs up."""

    http: UpstreamHTTP
    allows: Allows
    """Whether the installation's policy lets an address be asked."""
    directory: str
    """Where did:plc documents are; ours to name, so that no policy is asked."""
    resolver: str
    """Who is asked about a handle that does not say itself who it is, as one that says so in the DNS; nothing: nobody."""
    scheme: str

    async def did_of(self, handle: str) -> str:
        """The DID that a handle names: by its own word first (§HTTPS well-known method), else by the resolver's.

        Raises `UpstreamInvalid("handle")` and what the client raises when nobody answers.
        """
        own = f"{self.scheme}://{handle}/.well-known/atproto-did"
        if not self.allows(own):
            raise UpstreamInvalid("handle", "policy")
        with suppress(UpstreamError):
            response = await self.http.request("GET", own)
            text = response.body[: MAX_DID + 2].decode("ascii", "replace").strip()
            if response.status == OK and is_did(text, self.scheme):
                return text
        if not self.resolver:
            raise UpstreamInvalid("handle", "silent")
        response = await self.http.request("GET", f"{self.resolver}?handle={quote(handle, safe='')}", headers=JSON)
        if response.status == 400:  # InvalidRequest: unable to resolve handle
            raise UpstreamInvalid("handle", "unknown")
        did = read_success(response, "handle").get("did")
        if not isinstance(did, str) or not is_did(did, self.scheme):
            raise UpstreamInvalid("handle", "did")
        return did

    async def person(self, did: str) -> Person:
        """What a DID's document says. Raises `UpstreamInvalid("did…")`."""
        if did.startswith("did:plc:"):
            address = f"{self.directory.rstrip('/')}/{did}"
        else:
            address = f"{self.scheme}://{did.removeprefix('did:web:').replace('%3A', ':')}/.well-known/did.json"
            if not self.allows(address):
                raise UpstreamInvalid("did", "policy")
        response = await self.http.request(
            "GET", address, headers={"Accept": "application/did+ld+json, application/json"}
        )
        if len(response.body) > MAX_DOCUMENT:
            raise UpstreamInvalid("did", "large")
        if response.status in {404, 410}:
            raise UpstreamInvalid("did", "gone")
        person = read_document(
            read_object(response, "did") if response.status == OK else read_success(response, "did"), did, self.scheme
        )
        if not self.allows(person.pds):
            raise UpstreamInvalid("did", "policy")
        return person


def read_document(document: Mapping[str, Any], did: str, scheme: str) -> Person:
    """A DID's document (§DID documents): it is about this very DID, and names one place for its data."""
    if document.get("id") != did:
        raise UpstreamInvalid("did_id")
    services = document.get("service")
    pds = next((found for one in services if (found := _pds(one, did))), "") if isinstance(services, list) else ""
    if (
        not is_address(pds)
        or written_origin(pds) != pds.rstrip("/").lower()
        or urlsplit(pds).scheme not in {"https", scheme}
    ):
        raise UpstreamInvalid("did_pds")
    names = document.get("alsoKnownAs")
    handles = (
        [one[5:].lower() for one in names if isinstance(one, str) and one.startswith("at://")]
        if isinstance(names, list)
        else []
    )
    first = handles[0] if handles else ""
    return Person(did=did, handle=first if is_handle(first) else "", pds=written_origin(pds))


def _pds(service: object, did: str) -> str:
    if not isinstance(service, Mapping) or service.get("id") not in {"#atproto_pds", f"{did}#atproto_pds"}:
        return ""
    where = service.get("serviceEndpoint")
    return where if isinstance(where, str) and service.get("type") == "AtprotoPersonalDataServer" else ""

"""Finding out who may speak for an address that somebody typed: OpenID Authentication 2.0 §7.2 and §7.3, and Yadis 1.0.

Everything read here was written by a stranger, at an address that a stranger chose. So every address is looked at before
it is asked, by the installation's own policy here and then by the guarded client; documents are small, their XML has no
document type (so neither entities nor anything to fetch), and of HTML nothing counts but the links of its head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

from broker.errors import FormInvalid, UpstreamInvalid
from providers._http import OK, UpstreamHTTP, UpstreamResponse
from providers._openid2 import MAX_IDENTIFIER, NS, is_identifier, normal_form
from providers.preset import is_address

SERVER: Final = f"{NS}/server"
"""The address of a provider: it says by itself who is there (directed identity)."""
SIGNON: Final = f"{NS}/signon"
"""The address of a person."""
FIELD: Final = "identifier"
"""What the box on the page is called, in problems."""
MAX_ASKED: Final = 6
"""Requests for one address, redirects and the XRDS document included."""
MAX_XRDS: Final = 128 * 1024
MAX_HEAD: Final = 64 * 1024
MAX_ELEMENTS: Final = 2000
MAX_DEPTH: Final = 16

_XRDS_TYPE: Final = "application/xrds+xml"
_ACCEPT: Final = {"Accept": f"{_XRDS_TYPE}, text/html;q=0.5, application/xhtml+xml;q=0.5"}
_XRI: Final = tuple("=@+$!(")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")
_LAST: Final = 2**31
"""The priority of what has none: after everything that has one (Yadis, XRI Resolution 2.0 §4.3.3)."""
_PRIORITY = re.compile(r"\d{1,9}")
_XRD: Final = "xri://$xrd*($v*2.0) "
_WHERE: Final = ["xri://$xrds XRDS", f"{_XRD}XRD", f"{_XRD}Service"]
_OF_A_HEAD: Final = frozenset({"title", "base", "meta", "link", "style", "script", "noscript", "template"})
_CLOSED: Final = frozenset({"title", "style", "script", "noscript", "template"})
"""Elements of a head whose inside is no markup of it."""

Allows = Callable[[str], bool]
"""Whether the installation's policy lets an address be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One way that an address names to prove it: where the provider is, and what it calls the person there."""

    endpoint: str
    is_server: bool = False
    local_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What an address says about itself. `address` is where it really is, after redirects: the claimed identifier."""

    address: str = field(repr=False)
    services: tuple[Service, ...]


def normalise(typed: str, *, scheme: str = "https") -> str:
    """The address that somebody means (§7.2), without fragment. Raises `FormInvalid` with a code for the page.

    One departure from the specification: what has no scheme is https, not http, because on the way anybody could answer
    for an address that is not.
    """
    text = typed.strip()
    if not text:
        raise FormInvalid({FIELD: "identifier_missing"})
    if text.lower().startswith("xri:") or text.startswith(_XRI):
        raise FormInvalid({FIELD: "identifier_xri"})
    if not _SCHEME.match(text):
        text = f"{scheme}://{text}"
    text = text.partition("#")[0]
    if text[:7].lower() == "http://" and scheme == "https":
        raise FormInvalid({FIELD: "identifier_http"})
    if len(text) > MAX_IDENTIFIER or not is_identifier(text):
        raise FormInvalid({FIELD: "identifier_bad"})
    found = normal_form(text)
    if found is None:
        raise FormInvalid({FIELD: "identifier_bad"})
    return found


async def discover(http: UpstreamHTTP, address: str, allows: Allows) -> Discovered:
    """Ask an address who may speak for it: by Yadis first, by the links of its page where Yadis finds nothing (§7.3).

    Raises `UpstreamInvalid("discovery")` for what cannot be used or is not allowed; its detail is one word, never an
    address. Raises what the client raises when there is no answer.
    """
    asked = _Asked(http, allows)
    where, answer = await asked.get(address)
    location = answer.headers.get("x-xrds-location")
    if _kind(answer) == _XRDS_TYPE:
        return Discovered(address=where, services=read_xrds(answer.body))
    links = read_head(answer.body) if _kind(answer) in {"text/html", "application/xhtml+xml"} else Head()
    location = location or links.xrds
    if location:
        _, document = await asked.get(joined(where, location))
        if _kind(document) != _XRDS_TYPE:
            raise UpstreamInvalid("discovery", "content")
        services = read_xrds(document.body)
        if services:
            return Discovered(address=where, services=services)
    return Discovered(address=where, services=links.services)


@dataclass(slots=True)
class _Asked:
    """The requests for one address, counted."""

    http: UpstreamHTTP
    allows: Allows
    count: int = 0

    async def get(self, address: str) -> tuple[str, UpstreamResponse]:
        """An address and its page, redirects followed; every address on the way is looked at like the first."""
        while True:
            found = normal_form(address.partition("#")[0]) if is_address(address, fragment=True) else None
            if found is None or len(found) > MAX_IDENTIFIER:
                raise UpstreamInvalid("discovery", "address")
            if not self.allows(found):
                raise UpstreamInvalid("discovery", "policy")
            if self.count == MAX_ASKED:
                raise UpstreamInvalid("discovery", "redirects")
            self.count += 1
            answer = await self.http.request("GET", found, headers=_ACCEPT)
            if answer.status == OK:
                return found, answer
            if answer.status // 100 != 3 or "location" not in answer.headers:
                raise UpstreamInvalid("discovery", "status")
            address = joined(found, answer.headers["location"])


def joined(base: str, reference: str) -> str:
    """Where a reference leads from an address (RFC 3986 §5.2); nothing that is an address, where it is none itself."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def _kind(answer: UpstreamResponse) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


# --- XRDS -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """One `Service` element while it is read."""

    priority: int
    types: list[str] = field(default_factory=list)
    uris: list[tuple[int, str]] = field(default_factory=list)
    local_ids: list[tuple[int, str]] = field(default_factory=list)


class _Xrds:
    """Reads the services of the last XRD (Yadis §7.2; XRI Resolution 2.0 §4). No namespace but theirs counts."""

    def __init__(self) -> None:
        self.services: list[_Entry] = []
        self._path: list[str] = []
        self._elements = 0
        self._text: list[str] | None = None
        self._priority = _LAST
        self._entry: _Entry | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._path.append(name)
        if self._elements > MAX_ELEMENTS or len(self._path) > MAX_DEPTH:
            raise UpstreamInvalid("discovery", "large")
        if self._path == _WHERE[:2]:
            self.services = []
        elif self._path == _WHERE:
            self._entry = _Entry(_priority(attributes))
        elif self._entry is not None and len(self._path) == 4:
            self._text, self._priority = [], _priority(attributes)

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        self._path.pop()
        if self._text is not None and self._entry is not None and len(self._path) == 3:
            text = "".join(self._text).strip()
            self._text = None
            if name == f"{_XRD}Type":
                self._entry.types.append(text)
            elif name == f"{_XRD}URI":
                self._entry.uris.append((self._priority, text))
            elif name == f"{_XRD}LocalID":
                self._entry.local_ids.append((self._priority, text))
        elif self._entry is not None and len(self._path) == 2:
            self.services.append(self._entry)
            self._entry = None


def _priority(attributes: dict[str, str]) -> int:
    raw = attributes.get("priority", "")
    return int(raw) if _PRIORITY.fullmatch(raw) else _LAST


def read_xrds(body: bytes) -> tuple[Service, ...]:
    """The services of OpenID 2.0 in the order to try: providers before persons, then by priority (§7.3.2.2).

    Raises `UpstreamInvalid("discovery")` for anything that is not plain, small XML in UTF-8 without a document type.
    """
    if len(body) > MAX_XRDS:
        raise UpstreamInvalid("discovery", "large")
    reader = _Xrds()
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _no_document_type
    try:
        parser.Parse(body.decode("utf-8"), True)
    except (UnicodeDecodeError, expat.ExpatError):
        raise UpstreamInvalid("discovery", "xml") from None
    found: list[tuple[bool, int, int, Service]] = []
    for entry in reader.services:
        is_server = SERVER in entry.types
        if not is_server and SIGNON not in entry.types:
            continue
        local = min(entry.local_ids, default=(0, ""), key=_first)[1] or None
        for priority, uri in sorted(entry.uris, key=_first):
            service = Service(endpoint=uri, is_server=is_server, local_id=None if is_server else local)
            found.append((not is_server, entry.priority, priority, service))
    return tuple(one[3] for one in sorted(found, key=lambda one: one[:3]))


def _first(pair: tuple[int, str]) -> int:
    return pair[0]


def _no_document_type(*_: object) -> None:
    """Without one there are no entities: nothing grows, and nothing is fetched (CVE-2013-4701, CVE-2013-1812)."""
    raise UpstreamInvalid("discovery", "doctype")


# --- HTML -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the head of a page says about who may speak for it."""

    xrds: str = ""
    services: tuple[Service, ...] = ()


class _HeadReader(HTMLParser):
    """Stops where a browser would see the head end: at its end tag, or at anything that no head can hold."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: dict[str, str] = {}
        self.xrds = ""
        self._in_head = self._is_over = False
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._is_over or self._inside:
            return
        if not self._in_head:
            self._in_head = tag == "head"
            self._is_over = tag not in {"html", "head"}
        elif tag not in _OF_A_HEAD:
            self._is_over = True
        elif tag in _CLOSED:
            self._inside = tag
        else:
            self._take(tag, {name: value or "" for name, value in reversed(attrs)})  # the first of two counts

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """HTML has no such tags: the slash means nothing."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._inside:
            self._inside = "" if tag == self._inside else self._inside
        elif tag in {"head", "html", "body"}:
            self._is_over = True

    def handle_data(self, data: str) -> None:
        if not self._inside and data.strip():
            self._is_over = True

    def _take(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "link":
            for word in attributes.get("rel", "").lower().split():
                self.links.setdefault(word, attributes.get("href", "").strip())
        elif tag == "meta" and attributes.get("http-equiv", "").lower() == "x-xrds-location":
            self.xrds = self.xrds or attributes.get("content", "").strip()


def read_head(body: bytes) -> Head:
    """The links of a page's head; not of its body, comments, scripts or templates (§7.3.3)."""
    reader = _HeadReader()
    with suppress(
        AssertionError
    ):  # Python's reader of HTML gives up on some declarations; what came before them counts
        reader.feed(body[:MAX_HEAD].decode("utf-8-sig", "replace"))
    endpoint, local = reader.links.get("openid2.provider", ""), reader.links.get("openid2.local_id", "")
    services = (Service(endpoint=endpoint, local_id=local or None),) if endpoint else ()
    return Head(xrds=reader.xrds, services=services)


def host_allowed(address: str, hosts: tuple[str, ...]) -> bool:
    """Whether an address is at one of these hosts; `*.example.org` means every host under it, and not itself."""
    host = urlsplit(address).hostname or ""
    return any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in hosts)

"""The outermost layer: refuses requests that are no business of ours before anything is parsed.

Wrong host names (catalogue 145), header floods (180), and who the browser is, as far as *trusted* proxies say (143).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.domain.gate import ENTRY_PATH, HEADERS
from broker.web.headers import SecurityHeaders

MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
HEALTH: Final = frozenset({"/healthz", "/readyz"})
ASK: Final = "/forward-auth"
"""Where a proxy asks who sends a request that it holds."""


class Edge:
    """ASGI middleware. `trusted` are the networks of our own proxies; nobody else's forwarding headers count."""

    def __init__(self, app: ASGIApp, *, public_url: str, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        parts = urlsplit(public_url)
        host = parts.netloc.lower()
        default = {"https": "443", "http": "80"}[parts.scheme]
        self._hosts = {host.encode(), f"{host}:{default}".encode() if parts.port is None else host.encode()}
        self._trusted = tuple(trusted)
        self._headers = SecurityHeaders(secure=parts.scheme == "https")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size, hosts = 0, []
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts.append(value.lower())
        if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            await self._refuse("The request has too many or too large headers.", 431, scope, receive, send)
            return
        if not scope["query_string"].isascii():
            await self._refuse(
                "The address of the request has letters that no address may have.", 400, scope, receive, send
            )
            return
        path: str = scope["path"]
        if (path == ASK or path.startswith(ENTRY_PATH)) and self._hosts.isdisjoint(hosts):
            await self._at_the_gate(scope, receive, send, hosts)
            return
        if (len(hosts) != 1 or hosts[0] not in self._hosts) and path not in HEALTH:
            await self._refuse("This server does not answer for that host name.", 421, scope, receive, send)
            return
        client = scope.get("client")
        scope["doorward.address"] = counted_as(self._address(client[0] if client else "", headers))
        await self._app(scope, receive, send)

    async def _at_the_gate(self, scope: Scope, receive: Receive, send: Send, hosts: list[bytes]) -> None:
        """For sites' proxies alone, which ask under other names than ours: the public never reaches it by our name.

        A proxy that is not named in `trusted_proxies`, or a malformed chain of addresses, is refused: whoever cannot say
        who asks gets no answer to build on (catalogue 142, 143).
        """
        if scope["path"] == ASK:
            send = _with_names(send)
        peer = (scope.get("client") or ("",))[0]
        if not self._is_trusted(peer):
            await self._refuse("Only proxies named in trusted_proxies are answered here.", 421, scope, receive, send)
            return
        chain = [hop.strip() for hop in _values(scope["headers"], b"x-forwarded-for") for hop in hop.split(",")]
        if len(hosts) != 1 or not all(_is_address(hop) for hop in chain):
            await self._refuse("The proxy sent headers that contradict each other.", 400, scope, receive, send)
            return
        scope["doorward.gate"] = True
        scope["doorward.address"] = counted_as(self._address(peer, scope["headers"]))
        await self._app(scope, receive, send)

    async def _refuse(self, words: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
        """A refusal in plain text; it names nothing of the request and carries the headers of every answer."""
        response = PlainTextResponse(words, status)
        self._headers.add(response)
        await response(scope, receive, send)

    def _address(self, peer: str, headers: list[tuple[bytes, bytes]]) -> str:
        """The peer, or behind trusted proxies the last address that is not one of them (RFC 7239 §7.4)."""
        if not self._trusted or not self._is_trusted(peer):
            return peer
        chain = ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for").split(",")
        for hop in reversed([hop.strip() for hop in chain]):
            try:
                address = str(ip_address(hop))
            except ValueError:
                return peer  # malformed: believe nothing
            if not self._is_trusted(address):
                return address
        return peer

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found.version == network.version and found in network for network in self._trusted)


def counted_as(address: str) -> str:
    """What limits count an address as: IPv6 by its /64, of which everybody has at least one (RFC 6177 §2)."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False).network_address)


def _with_names(send: Send) -> Send:
    """Every identity header in every answer, faults too: empty where nobody is named (catalogue 142)."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            blank = [(name.encode(), b"") for name in HEADERS if name.encode() not in present]
            message = {**message, "headers": [*message["headers"], *blank]}
        await send(message)

    return sent


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

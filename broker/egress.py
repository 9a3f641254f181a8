"""The one way out: a guarded HTTP client for everything this server fetches or sends (aiohttp lives here).

What it guards against (catalogue 138-140, 172, 174):

* **Addresses that are not public.** Names are resolved here, every answer is looked at, and the connection goes to the
  address that was looked at: a second answer (DNS rebinding) is never asked for. Literals are refused.
* **Answers without end.** 5 s in all, 2 s to connect, 1 MB of body, 64 headers, no compression, no redirects.
* **One hanging provider.** Each host has its own connections and its own circuit breaker; nobody waits in another's queue.

What it does not do: cookies, proxies from the environment, retries. The caller decides what an answer means.
Log lines and errors name host and reason, never path or query: those carry codes and tokens.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from broker.domain.hosts import is_literal
from broker.errors import UpstreamUnavailable

TOTAL_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 2.0
MAX_BODY: Final = 1024 * 1024
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 8190
CONNECTIONS_PER_HOST: Final = 32
IN_FLIGHT_PER_HOST: Final = 128
"""Beyond this many requests at once to one host the next is refused at once, so that no queue grows."""
MAX_HOSTS: Final = 4096
"""Hosts remembered. They come from settings and registrations, and from people who type an address."""
FAILURES_TO_OPEN: Final = 5
OPEN_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 15.0
NAMES_FRESH_SECONDS: Final = 30

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?")
_UNICAST = ipaddress.ip_network("2000::/3")
"""The only part of IPv6 in use for the internet: outside lie loopback, mapped, NAT64, local and multicast addresses."""
_NEVER_PUBLIC = tuple(
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


class EgressRefused(UpstreamUnavailable):
    """A request we did not make. `detail` starts with the reason; a person is told no more than for any outage."""

    code = "egress_refused"


class EgressFailed(UpstreamUnavailable):
    """A request that did not end in an answer. `detail` starts with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """One exact `host:port` that may be reached although the rules say no: plain http, another port, a private address.

    TLS stays verified, against `ca_file` where one is given.
    """

    host: str
    port: int
    ca_file: Path | None = None

    @classmethod
    def parse(cls, text: str, ca_file: Path | None = None) -> Exemption:
        """`host:port` or `[v6]:port`. Raises `ValueError` for anything else: wildcards and bare hosts are not exact."""
        host, colon, port = text.strip().lower().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or not _is_host(host):
            msg = "an exemption is an exact host:port"
            raise ValueError(msg)
        return cls(host=host, port=int(port), ca_file=ca_file)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, headers (names in lower case), and the whole body, which is at most as large as was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port in, addresses out. Raises `OSError` when there are none."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet and to one machine there, spelled in its plain form."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id is not None or ip not in _UNICAST):
        return False
    if any(ip in net for net in _NEVER_PUBLIC if net.version == ip.version):
        return False
    return ip.is_global


def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host)) or is_literal(host)


@dataclass(slots=True)
class _Host:
    """What is known of one host: requests under way, failures in a row, and until when it is left alone."""

    in_flight: int = 0
    failures: int = 0
    open_until: float = 0.0
    probing: bool = False


class _SafeResolver(AbstractResolver):
    """aiohttp asks here for addresses and connects to exactly those."""

    def __init__(self, resolve: Resolver, exempt: Callable[[str, int], bool]) -> None:
        self._resolve, self._exempt = resolve, exempt

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise EgressFailed(f"dns {host}") from error
        if not addresses:
            raise EgressFailed(f"dns {host}")
        if not self._exempt(host, port) and not all(is_public(address) for address in addresses):
            raise EgressRefused(f"address {host}")
        return [_pinned(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing is held."""


def _pinned(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


class SystemResolver:
    """The operating system's resolver, on threads of its own so that a dead DNS server blocks nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Egress:
    """The guarded client. One per process; belongs to the event loop that uses it first."""

    def __init__(
        self,
        *,
        exemptions: Iterable[Exemption] = (),
        resolver: Resolver | None = None,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._exemptions = {(item.host, item.port): item for item in exemptions}
        self._resolver = resolver or SystemResolver()
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds)
        self._total = total_seconds
        self._contexts: dict[Path | None, ssl.SSLContext] = {}
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        most: int = MAX_BODY,
    ) -> Response:
        """One request, one answer, whatever its status. `most`: bytes of the answer's body that are read at all.

        Raises `EgressRefused` for what may not be asked and `EgressFailed` when no whole answer came in time.
        Both start their `detail` with a reason: `url`, `scheme`, `credentials`, `port`, `literal`, `address`, `busy`,
        `circuit`, `dns`, `connect`, `tls` (nothing was sent), `timeout`, `broken`, `large`, `encoding` (perhaps sent).
        """
        target, where = self._target(url)
        host = self._admit(where)
        host.in_flight += 1
        try:
            answer = await self._exchange(method, target, where, headers, body, most)
            host.failures = 0
            return answer
        except _BadAnswer as error:
            host.failures = 0  # it answers; what it says is another matter
            raise EgressFailed(f"{error} {where[0]}") from None
        except EgressFailed:
            self._count_failure(host)
            raise
        finally:
            host.in_flight -= 1
            host.probing = False

    async def certificate_ends(self, host: str, port: int = 443) -> datetime:
        """Until when the certificate of a host is good; the connection is guarded like any other.

        Raises `EgressRefused` and `EgressFailed` as `request` does; `tls` for a certificate that is not good.
        """
        target, where = self._target(f"https://{host}:{port}/")
        (found, *_) = await _SafeResolver(self._resolver, self._is_exempt).resolve(where[0], port)
        try:
            async with asyncio.timeout(self._total):
                _, writer = await asyncio.open_connection(
                    found["host"], port, ssl=self._context(where), server_hostname=target.raw_host
                )
        except ssl.SSLError:
            raise EgressFailed(f"tls {host}") from None
        except (TimeoutError, OSError):
            raise EgressFailed(f"connect {host}") from None
        certificate = writer.get_extra_info("peercert")
        writer.close()
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _target(self, text: str) -> tuple[URL, tuple[str, int]]:
        """The address, parsed once by the parser that the connection uses too, or `EgressRefused`."""
        if not text.isascii() or any(ch <= " " or ch in '\\"<>^`{|}' or ch == "\x7f" for ch in text):
            raise EgressRefused("url malformed")
        try:
            url = URL(text, encoded=True)
            host, port = (url.raw_host or "").lower(), url.port
        except ValueError:
            raise EgressRefused("url malformed") from None
        if not host or port is None or not _is_host(host) or url.raw_fragment:
            raise EgressRefused("url malformed")
        exempt = (host, port) in self._exemptions
        if url.scheme != "https" and not (url.scheme == "http" and exempt):
            raise EgressRefused(f"scheme {host}")
        if "@" in url.raw_authority:
            raise EgressRefused(f"credentials {host}")
        if port != 443 and not exempt:
            raise EgressRefused(f"port {host}")
        if is_literal(host) and not exempt:
            raise EgressRefused(f"literal {host}")
        return url, (host, port)

    def _admit(self, where: tuple[str, int]) -> _Host:
        """Let one more request through to this host, unless it is full or failing.

        After `FAILURES_TO_OPEN` failures in a row the host is left alone for `OPEN_SECONDS`; then one request tries.
        """
        if len(self._hosts) > MAX_HOSTS:
            now = asyncio.get_running_loop().time()
            self._hosts = {key: host for key, host in self._hosts.items() if host.in_flight or now < host.open_until}
        host = self._hosts.setdefault(where, _Host())
        if host.in_flight >= IN_FLIGHT_PER_HOST:
            raise EgressRefused(f"busy {where[0]}")
        if host.failures >= FAILURES_TO_OPEN:
            if host.probing or asyncio.get_running_loop().time() < host.open_until:
                raise EgressRefused(f"circuit {where[0]}")
            host.probing = True
        return host

    @staticmethod
    def _count_failure(host: _Host) -> None:
        host.failures += 1
        if host.failures >= FAILURES_TO_OPEN:
            host.open_until = asyncio.get_running_loop().time() + OPEN_SECONDS

    async def _exchange(
        self,
        method: str,
        url: URL,
        where: tuple[str, int],
        headers: Mapping[str, str] | None,
        body: bytes | None,
        most: int,
    ) -> Response:
        session = self._session or self._open()
        tls: ssl.SSLContext | bool = self._context(where) if url.scheme == "https" else True
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        try:
            async with session.request(method, url, headers=sent, data=body, ssl=tls, allow_redirects=False) as answer:
                return await _read(answer, most)
        except TimeoutError as error:
            reason = "connect" if isinstance(error, aiohttp.ConnectionTimeoutError) else "timeout"
            raise EgressFailed(f"{reason} {where[0]}") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
            raise EgressFailed(f"tls {where[0]}") from None
        except aiohttp.ClientConnectorError:
            raise EgressFailed(f"connect {where[0]}") from None
        except (aiohttp.ClientError, ValueError):  # ValueError: a status line or header that is none
            raise EgressFailed(f"broken {where[0]}") from None

    def _is_exempt(self, host: str, port: int) -> bool:
        return (host.lower(), port) in self._exemptions

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_SafeResolver(self._resolver, self._is_exempt),
            limit=0,  # no common pool: a host that hangs holds only its own connections
            limit_per_host=CONNECTIONS_PER_HOST,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ttl_dns_cache=NAMES_FRESH_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            skip_auto_headers=("User-Agent",),
            headers={"User-Agent": "Doorward"},
        )
        return self._session

    def _context(self, where: tuple[str, int]) -> ssl.SSLContext:
        """The TLS context for a host, made once: names and chains are always checked."""
        exemption = self._exemptions.get(where)
        ca_file = exemption.ca_file if exemption else None
        context = self._contexts.get(ca_file)
        if context is None:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._contexts[ca_file] = context
        return context


class _BadAnswer(Exception):
    """The host answered, with something we do not read."""


async def _read(answer: aiohttp.ClientResponse, most: int) -> Response:
    """The answer, as long as it is plain and small."""
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        answer.close()
        raise _BadAnswer("encoding")
    if (answer.content_length or 0) > most:
        answer.close()
        raise _BadAnswer("large")
    kept = bytearray()
    async for chunk in answer.content.iter_any():
        kept += chunk
        if len(kept) > most:
            answer.close()
            raise _BadAnswer("large")
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return Response(answer.status, headers, bytes(kept))


@dataclass(frozen=True, slots=True)
class Forms:
    """What the outbox sends through the guarded client."""

    egress: Egress

    async def post_form(self, url: str, form: Mapping[str, str]) -> int:
        """The status of one POST."""
        answer = await self.egress.request(
            "POST",
            url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
        return answer.status

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The same for any body."""
        return (await self.egress.request("POST", url, headers=headers, body=body)).status

"""Kinds of which there are many servers: what people type, which servers are let in, and what a server says of itself."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from broker.domain.ports import Clock
from broker.domain.provider import Us
from broker.errors import FormInvalid, UpstreamError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._described import Described
from providers._findings import Findings
from providers._yadis import FIELD, host_allowed
from providers.preset import Preset, is_address

FIND_SECONDS: Final = 10.0
"""How long finding a server and all that belongs to it may take, all requests together."""
SIGN_IN_SECONDS: Final = 10.0
"""How long all that a server is asked about somebody who came back from there may take, and before they are sent there."""
KEPT_FOR: Final = timedelta(days=30)
"""A server that threw us away and does not say so takes us again after this."""
KEPT_UNUSED: Final = timedelta(hours=1)
"""Until somebody came back from there: else whoever names servers that are none fills the store with them."""
MAX_HOST: Final = 253
MAX_ADDRESS: Final = 512
"""Characters of an address that a server gives: it goes with the sign-in, which is to fit into a cookie."""

_USED = "used"
"""Marks a registration that somebody came back with."""
_LABEL = re.compile(r"[a-z0-9-]{1,63}")
_LOCAL = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")
"""In the demo and in tests a server is a loopback address with a port."""
_HERE = re.compile(r"(?:127(?:\.[0-9]{1,3}){3}|localhost)(?::[0-9]{1,5})?")
_NAMED = re.compile(r"(?:\*\.)?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which servers may be asked: the installation's own word, before the guarded client has its say."""

    hosts: tuple[str, ...]
    is_open: bool
    """Any host."""
    scheme: str

    @classmethod
    def of(cls, preset: Preset) -> Policy:
        """As a preset has it. Only a sandbox speaks plain http."""
        return cls(hosts=preset.hosts, is_open=preset.discovery == "any", scheme="http" if preset.sandbox else "https")

    def allows(self, address: str) -> bool:
        """Whether this address may be asked; what is no address may not."""
        if not is_address(address):
            return False
        is_safe = self.scheme == "http" or urlsplit(address).scheme == "https"
        return is_safe and (self.is_open or host_allowed(address, self.hosts))


def read_origin(typed: str, scheme: str, word: str) -> str:
    """The server that somebody means, as an origin: typed bare, as an address of any page there, or as `@ana@host`.

    `word`: what problems begin with. Raises `FormInvalid` with `<word>_missing`, `<word>_http` or `<word>_bad`.
    """
    text = typed.strip()
    if not text:
        raise FormInvalid({FIELD: f"{word}_missing"})
    if text[:7].lower() == "http://" and scheme == "https":
        raise FormInvalid({FIELD: "identifier_http"})
    given, slashes, rest = text.partition("://")
    if slashes and given.lower() not in {"https", scheme}:
        raise FormInvalid({FIELD: f"{word}_bad"})
    host = re.split(r"[/?#]", rest if slashes else text, maxsplit=1)[0]
    if not slashes:
        host = host.rpartition("@")[2]
    return f"{scheme}://{read_host(host, scheme, word)}"


def read_host(text: str, scheme: str, word: str) -> str:
    """A host in small letters, a name in other scripts in its plain form (RFC 5890). Raises `FormInvalid`."""
    host = text.lower().removesuffix(".")
    try:
        plain = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise FormInvalid({FIELD: f"{word}_bad"}) from None
    is_local = scheme == "http" and bool(_LOCAL.fullmatch(plain))
    if not (is_local or is_host_name(plain)) or not is_address(f"{scheme}://{plain}"):
        raise FormInvalid({FIELD: f"{word}_bad"})
    return plain


def is_host_name(text: str) -> bool:
    """Whether this is the name of a host, in small letters and with a dot; no port."""
    labels = text.split(".")
    is_each = all(_LABEL.fullmatch(one) and one[0] != "-" and one[-1] != "-" for one in labels)
    return len(text) <= MAX_HOST and len(labels) > 1 and is_each


class Registers(Described):
    """A kind that registers at each server that somebody names, and keeps what the server gave it for that."""

    called: str
    """The first word of what that is kept under."""
    _clock: Clock
    _us: Us | None = None

    def introduce(self, us: Us) -> None:
        """Say who we are: without it nobody is registered at."""
        self._us = us

    def _introduced(self) -> Us:
        if self._us is None:
            raise UpstreamUnavailable("registration nobody said who we are")
        return self._us

    def _name(self, server: str) -> str:
        """What a server's answer is kept under: it registered this address to come back to, and no other."""
        return f"{self.called} {self._introduced().callback(self.id, place_of(server))} {server}"

    async def _known_as(self, server: str, register: Callable[[Us], Awaitable[Mapping[str, str]]]) -> Mapping[str, str]:
        """How this server knows us: kept from before, or asked for now. Of two who ask at once the first one counts."""
        us, name = self._introduced(), self._name(server)
        kept = await us.kept.load(name)
        if kept is not None and _USED in kept:
            return kept
        if kept is None:
            made = await register(us)
            kept = await us.kept.load(name) or made
        await self._keep(server, kept, KEPT_UNUSED)
        return kept

    async def _still_known_as(self, server: str, client_id: str) -> Mapping[str, str]:
        """The same for who came back. Raises `UpstreamInvalid("registration")` if it is another one by now, or none."""
        kept = await self._introduced().kept.load(self._name(server))
        if kept is None or kept["client_id"] != client_id:
            raise UpstreamInvalid("registration", "gone")
        return kept

    async def _forgotten(self, server: str, refusal: UpstreamRejected) -> None:
        """It said no: if because it knows us no more, the next attempt registers anew."""
        if "invalid_client" in refusal.detail:
            await self._introduced().kept.drop(self._name(server))

    async def _came_back(self, server: str, kept: Mapping[str, str], span: timedelta = KEPT_FOR) -> None:
        """Somebody came back from there: what it gave is worth keeping."""
        if _USED not in kept:
            await self._keep(server, {**kept, _USED: "yes"}, span)

    async def _keep(self, server: str, kept: Mapping[str, str], span: timedelta) -> None:
        until = self._clock.now() + span
        if "ends" in kept:  # it said when
            until = min(until, datetime.fromtimestamp(int(kept["ends"]), UTC))
        await self._introduced().kept.save(self._name(server), kept, until)


async def told_apart(asked: Awaitable[T], word: str) -> T:
    """What a stranger's server answered. Whatever was wrong on the way, the page tells apart four things only:

    that servers there are not let in, that none is there, that it refused us, and that it did not answer. The last covers
    all that the guarded client refuses, so that nobody can look around in our network with it.
    Raises `FormInvalid` with `<word>_host`, `<word>_none`, `<word>_refused` or `<word>_silent`.
    """
    try:
        async with asyncio.timeout(FIND_SECONDS):
            return await asked
    except UpstreamInvalid as error:
        code = f"{word}_host" if error.detail.endswith(" policy") else f"{word}_none"
        raise FormInvalid({FIELD: code}, detail=error.detail) from None
    except UpstreamRejected as error:
        raise FormInvalid({FIELD: f"{word}_refused"}, detail=error.detail) from None
    except (UpstreamError, TimeoutError) as error:
        reason = error.detail.partition(" ")[0] if isinstance(error, UpstreamError) else "timeout"
        raise FormInvalid({FIELD: f"{word}_silent"}, detail=f"server {reason}") from None


async def in_time(asked: Awaitable[T], what: str) -> T:
    """What a stranger's server answered, all its answers together in time. Raises `UpstreamUnavailable("timeout <what>")`."""
    try:
        async with asyncio.timeout(SIGN_IN_SECONDS):
            return await asked
    except TimeoutError:
        raise UpstreamUnavailable(f"timeout {what}") from None


def own_address(told: Mapping[str, Any], key: str, origin: str, usual: str) -> str:
    """An address that a server gives for itself, `usual` where it gives none: never one of somebody else.

    Raises `UpstreamInvalid("server_<key>")`.
    """
    value = told.get(key, usual)
    is_own = (
        isinstance(value, str) and len(value) <= MAX_ADDRESS and is_address(value) and written_origin(value) == origin
    )
    if not isinstance(value, str) or not is_own:
        raise UpstreamInvalid(f"server_{key}")
    return value


def written_origin(address: str) -> str:
    """Scheme, host and port as they are written: a server that writes a port it need not is another one."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def place_of(server: str) -> str:
    """What tells this server from all others in the address that people come back to."""
    return hashlib.sha256(server.encode()).hexdigest()[:24]


def policy_problems(preset: Preset, found: Findings) -> None:
    """What is wrong with how a preset lets hosts in; `discovery` is on by then."""
    if preset.discovery == "hosts" and not preset.hosts:
        fix = 'Write which hosts may be asked: hosts = ["people.example.org", "*.example.net"].'
        found.add("hosts", "is missing, so no address could be used.", fix)
    if preset.discovery == "any" and preset.hosts:
        found.add("hosts", 'has no effect with discovery = "any".', 'Remove it, or write discovery = "hosts".')
    for host in preset.hosts:
        if _HERE.fullmatch(host) and (not preset.sandbox or ":" in host):
            plain = host.partition(":")[0]
            fix = (
                f'In development write hosts = ["{plain}"] without a port, sandbox = true beside it, and '
                f'[egress."{plain}:9311"], with its port, in doorward.toml. Else remove it.'
            )
            what = f"names {host!r}, which is this machine: it is asked by https alone, and hosts have no port."
            found.add("hosts", what, fix, "error" if ":" in host else "warning")
        elif not _NAMED.fullmatch(host):
            found.add(
                "hosts",
                f"names {host!r}, which is no host.",
                "Write people.example.org, or *.example.org for all under it.",
            )

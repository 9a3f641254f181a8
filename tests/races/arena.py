"""Two `doorward serve` on the same stores, a connection to their database, and the power to kill one of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random as chance
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from tests.bench.client import Answer, Broken, Connections
from tests.serve.rig import HOST, Folder, Server, starter, token_headers

from broker.chance import SystemClock
from broker.domain.ports import Durable
from broker.settings import Settings, load_settings
from broker.stores import Stores, open_stores

LOST: Final = (Broken, OSError, EOFError, TimeoutError)
DIES_WITHIN: Final = 0.03
"""Seconds after the takers began: some deaths come before the first answer, some after the last."""


@dataclass
class Arena:
    """What a round needs."""

    servers: tuple[Server, Server]
    stores: Stores
    settings: Settings
    takers: tuple[tuple[Connections, str], ...]
    """A connection of its own for each taker, and whose address it calls: one server and the other in turn."""
    clock: SystemClock = field(default_factory=SystemClock)
    _kills: int = 0

    @property
    def durable(self) -> Durable:
        return self.stores.durable

    async def post(self, taker: int, path: str, form: Mapping[str, str]) -> Answer | None:
        """The forum's request as that taker; `None` if no whole answer came, as when the server died."""
        return await self._send(taker, "POST", path, token_headers(), urlencode(form).encode())

    async def get(self, taker: int, path: str, cookie: str) -> Answer | None:
        """A browser's request as that taker; `None` as with `post`."""
        return await self._send(taker, "GET", path, {"Cookie": cookie, "X-Forwarded-Proto": "https"}, b"")

    async def _send(self, taker: int, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        connections, netloc = self.takers[taker % len(self.takers)]
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            return await connections.send(netloc, path, ("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        except LOST:
            return None

    async def at_once(self, ask: Callable[[int], Awaitable[Answer | None]], *, kills: bool) -> list[Answer | None]:
        """Every taker's answer to the same request, sent together; `kills`: while one server dies."""
        work = [asyncio.ensure_future(ask(taker)) for taker in range(len(self.takers))]
        if kills:
            await asyncio.sleep(chance.uniform(0, DIES_WITHIN))
            self.kill()
        return list(await asyncio.gather(*work))

    def kill(self) -> None:
        """End one process that answers requests, at once and without a word (`kill -9`); the servers take turns."""
        server = self.servers[self._kills % 2]
        self._kills += 1
        os.kill(server.children[0], signal.SIGKILL)

    def wait_until_whole(self) -> None:
        """Until whoever was killed is there again."""
        for server in self.servers:
            server.wait_for(partial(_is_whole, server), "coming back")


def _is_whole(server: Server) -> bool:
    return bool(server.children) and server.status("/readyz") == 200


@contextlib.asynccontextmanager
async def open_arena(folder: Path, *, database_url: str, redis_url: str | None, many: int) -> AsyncIterator[Arena]:
    """Two servers, ready. `database_url` names an empty database; without `redis_url` it also keeps what browsers do."""
    more = f'database_url = "{database_url}"\n' + (f'redis_url = "{redis_url}"\n' if redis_url else "")
    first, second = Folder(folder / "one"), Folder(folder / "two")
    with starter(first) as start_first, starter(second) as start_second:
        one = start_first(more=more)
        second.path.mkdir()
        shutil.copy(first.path / "master.key", second.path / "master.key")
        two = start_second(more=more)
        clock = SystemClock()
        settings = load_settings(first.path, {})
        key = settings.broker.master_key_bytes
        stores = await open_stores(database_url=database_url, redis_url=redis_url, master_key=key, clock=clock)
        ports = (first.port, second.port)
        takers = tuple((Connections(), f"127.0.0.1:{ports[number % 2]}") for number in range(many))
        try:
            yield Arena((one, two), stores, settings, takers, clock)
        finally:
            for connections, _ in takers:
                connections.close()
            await stores.close()

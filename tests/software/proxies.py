"""What stands before software in a proxy's tests: the proxy's own process, and Doorward as a proxy on its machine reaches it."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.browser.town import HOSTS
from tests.software.apache import wait_for
from tests.support.servers import program


@contextmanager
def without_tls(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """The town's Doorward once more, as proxies on its own machine reach it.

    One thread for everything: two threads must not read and write one TLS connection at once.
    """

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOSTS["broker"])
        try:
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        finally:
            there[1].transport.abort()
            writer.transport.abort()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(relay, "127.0.0.1", 0), loop).result(10)
        yield server.sockets[0].getsockname()[1]
        asyncio.run_coroutine_threadsafe(stopped(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """What comes from one side goes to the other, until it ends; then both end, since TLS cannot end by halves."""
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def stopped(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


@contextmanager
def in_front(command: list[str], folder: Path, port: int) -> Iterator[None]:
    own = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        proxy = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "TERM", *command], stdout=output, stderr=output, env=own
        )
    try:
        wait_for(port, proxy, folder / "output")
        yield
    finally:
        proxy.terminate()
        proxy.wait(30)

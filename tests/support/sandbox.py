"""Run an ASGI application with uvicorn in a thread on a free loopback port.

with serve(create_app([...])) as base_url: ...
async with served(create_app([...]), certificate=cert, key=key) as base_url: ...
async with served_here(app) as port: ...      in the test's own loop, for an application whose lifespan it runs
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

START_LIMIT = 15.0  # seconds


@contextmanager
def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
    key: Path | None = None,
    port: int = 0,
) -> Iterator[str]:
    """Serve `app` until the block ends; yields its base URL, with `host` (a name of loopback) in it.

    Raises RuntimeError when the application did not start within 15 seconds.
    """
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_LIMIT
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the application did not start")
            time.sleep(0.01)
        yield f"{'https' if certificate else 'http'}://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@asynccontextmanager
async def served(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
    key: Path | None = None,
    port: int = 0,
) -> AsyncIterator[str]:
    """The same for asynchronous tests: starting and stopping do not block their loop."""
    manager = serve(app, host=host, certificate=certificate, key=key, port=port)
    base = await asyncio.to_thread(manager.__enter__)
    try:
        yield base
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


class _InThisLoop(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served_here(
    app: ASGIApp, *, port: int = 0, certificate: Path | None = None, key: Path | None = None
) -> AsyncIterator[int]:
    """Serve an application that is running already; yields its port."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )
    server = _InThisLoop(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task

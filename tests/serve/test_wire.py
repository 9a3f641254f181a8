"""How answers leave the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from broker.server.wire import OneWriteProtocol
from tests.support.servers import free_port

BODY = b"x" * 3000


class _Counted:
    """A real transport whose writes are counted."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        self._transport, self._writes = transport, writes

    def write(self, data: bytes) -> None:
        if data:
            self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def _serving(app: Callable[..., Any]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server with that application; its port, and what it writes."""
    writes: list[bytes] = []

    class Protocol(OneWriteProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(_Counted(transport, writes))  # type: ignore[arg-type]

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, http=Protocol, lifespan="off", ws="none", log_config=None, access_log=False)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield port, writes
    finally:
        server.should_exit = True
        await serving


async def _ask(port: int, *requests: bytes) -> bytes:
    """All of what is answered on one connection until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def _plain(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def _request(method: str, *headers: str, close: bool = True) -> bytes:
    lines = [f"{method} / HTTP/1.1", "Host: localhost", *headers, *(["Connection: close"] if close else [])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_head_and_body_leave_in_one_write() -> None:
    async with _serving(_plain) as (port, writes):
        answer = await _ask(port, _request("GET", close=False), _request("GET"))

    assert [write.startswith(b"HTTP/1.1 200") and write.endswith(b"\r\n\r\n" + BODY) for write in writes] == [True] * 2
    assert answer == b"".join(writes)


async def test_an_answer_without_a_body_leaves_as_well() -> None:
    async with _serving(_plain) as (port, writes):
        answer = await _ask(port, _request("HEAD"))

    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n") and answer == b"".join(writes)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 is what this says\r\n\r\n"])
async def test_the_head_of_a_stream_does_not_wait_for_its_body(first: bytes) -> None:
    goes_on = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if first:
            await send({"type": "http.response.body", "body": first, "more_body": True})
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"the end"})

    async with _serving(stream) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request("GET"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        begun = await asyncio.wait_for(reader.readuntil(first), 5) if first else b""
        goes_on.set()
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert head.startswith(b"HTTP/1.1 200") and begun.endswith(first) and b"the end" in rest


async def test_whoever_waits_to_be_told_to_go_on_is_told_at_once() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": body})

    async with _serving(echo) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request("POST", "Content-Length: 3", "Expect: 100-continue"))
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(b"abc")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert told.startswith(b"HTTP/1.1 100") and answer.endswith(b"\r\n\r\nabc")


async def test_a_request_that_is_none_is_refused_whole() -> None:
    async with _serving(_plain) as (port, _):
        answer = await _ask(port, b"nonsense\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400") and answer.endswith(b"Invalid HTTP request received.")

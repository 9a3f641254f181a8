"""How answers leave: head and body in one write.

uvicorn writes them one after the other, and uvloop hands each to the system at once. The second write and the second
waking of whoever waits are a tenth of what a small answer costs.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1."
_END: Final = b"\r\n\r\n"


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that keeps the head of an answer back until its body follows."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvloop's are such
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", _HoldsHead(transport, self.loop))


class _HoldsHead:
    """A transport. Only `write` differs, and what ends the connection: nothing that was written is lost by it."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """A head by itself waits for what follows in this round of the loop: the body, or nothing for `HEAD` and streams."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data.endswith(_END) and data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._let_go)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

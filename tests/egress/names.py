"""A name server on loopback that answers as it is told, a new answer to each question; and a resolver that asks it.

Real datagrams (RFC 1035 §4.1), so that what is tested is what an attacker who owns a name can do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

HEADER = struct.Struct(">HHHHHH")
ANSWER = struct.Struct(">HHHIH")
A, INTERNET, POINTER_TO_QUESTION = 1, 1, 0xC00C
RESPONSE, NO_SUCH_NAME = 0x8180, 3


class NameServer(asyncio.DatagramProtocol):
    """`answers`: the addresses of each answer in turn, the last one for ever. Nothing may be kept: TTL 0."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.where = ("", 0)
        self._line: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number, *_ = HEADER.unpack_from(data)
        name, end = read_name(data, HEADER.size)
        self.asked.append(name)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0] if self.answers else ()
        flags = RESPONSE if addresses else RESPONSE | NO_SUCH_NAME
        head = HEADER.pack(number, flags, 1, len(addresses), 0, 0)
        rows = [
            ANSWER.pack(POINTER_TO_QUESTION, A, INTERNET, 0, 4) + ipaddress.IPv4Address(one).packed for one in addresses
        ]
        self._line.sendto(head + data[HEADER.size : end + 4] + b"".join(rows), addr)


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name without pointers, and where it ends."""
    labels = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1


@contextlib.asynccontextmanager
async def name_server(*answers: Sequence[str]) -> AsyncIterator[NameServer]:
    server = NameServer(*answers)
    line, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    server.where = line.get_extra_info("sockname")
    try:
        yield server
    finally:
        line.close()


class _Question(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answer.set_result(data)


class Asking:
    """A `Resolver` that asks this name server."""

    def __init__(self, server: NameServer) -> None:
        self._where = server.where

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        question = HEADER.pack(7, 0x0100, 1, 0, 0, 0) + labels + b"\x00" + struct.pack(">HH", A, INTERNET)
        line, asking = await asyncio.get_running_loop().create_datagram_endpoint(_Question, remote_addr=self._where)
        try:
            line.sendto(question)
            data = await asyncio.wait_for(asking.answer, 2)
        finally:
            line.close()
        count = HEADER.unpack_from(data)[3]
        _, at = read_name(data, HEADER.size)
        rows = [at + 4 + number * (ANSWER.size + 4) + ANSWER.size for number in range(count)]
        if not rows:
            raise OSError("no such name")
        return [str(ipaddress.IPv4Address(data[row : row + 4])) for row in rows]

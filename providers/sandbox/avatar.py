"""Small generated PNG portraits, so that the sandbox ships no pictures of anybody."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib

MAX_SIDE = 720


def clamp_side(value: str | None, default: int = 50) -> int:
    """Pixels asked for as text, kept within 1 to 720; `default` when missing or not a number."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 6:
        return default
    return max(1, min(MAX_SIDE, int(value)))


def portrait(seed: str, width: int, height: int, *, silhouette: bool = False) -> bytes:
    """A PNG of `width` x `height`: a head and shoulders in a colour that follows from `seed`."""
    back, front = _colours(seed, silhouette)
    head_y, head_r = height * 0.38, min(width, height) * 0.2
    body_y, body_rx, body_ry = height * 1.02, width * 0.36, height * 0.4
    rows = bytearray()
    for y in range(height):
        half = max(_half_width(y - head_y, head_r, head_r), _half_width(y - body_y, body_rx, body_ry))
        inner = min(width, int(half * 2))
        left = (width - inner) // 2
        rows += b"\0" + back * left + front * inner + back * (width - left - inner)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(rows), 6))
        + _chunk(b"IEND", b"")
    )


def _half_width(dy: float, rx: float, ry: float) -> float:
    if abs(dy) >= ry:
        return 0.0
    return rx * math.sqrt(1 - (dy / ry) ** 2)


def _colours(seed: str, silhouette: bool) -> tuple[bytes, bytes]:
    if silhouette:
        return b"\xd8\xd8\xd8", b"\xa0\xa0\xa0"
    r, g, b = (value // 2 + 40 for value in hashlib.sha256(seed.encode()).digest()[:3])
    return bytes((r, g, b)), bytes((min(r + 80, 255), min(g + 80, 255), min(b + 80, 255)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

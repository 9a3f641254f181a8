"""Find canaries: strings planted in a journey that must be nowhere afterwards.

    canaries = Canaries({"email": "canary-7f3a@mail.test", …})
    canaries.check_bytes("the log", text.encode())
    canaries.check_files(data_folder)             the raw bytes of every file, SQLite's write-ahead log included
    canaries.check_log(caplog)

Each canary is searched as it is, percent-encoded, in the three phases of base64, in hexadecimal, as UTF-16 and as JSON
and HTML would escape it; compressed data is not opened, so servers under search must not compress.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

SHORTEST = 6  # bytes; anything shorter is found by chance


def forms(text: str) -> frozenset[bytes]:
    """How `text` may look inside stored bytes. Raises ValueError for one too short to be telling."""
    raw = text.encode()
    if len(raw) < SHORTEST:
        raise ValueError("a canary of less than six bytes is found by chance")
    found = {
        raw,
        quote(text, safe="").encode(),
        quote_plus(text).encode(),
        html.escape(text).encode(),
        json.dumps(text)[1:-1].encode(),
        text.encode("utf-16-le"),
        binascii.hexlify(raw),
        binascii.hexlify(raw).upper(),
    }
    for shift in range(3):
        # Base64 of a substring depends on where it starts; the characters that mix with neighbours are cut off.
        standard = base64.b64encode(b"\0" * shift + raw)
        start, end = (0, 2, 3)[shift], len(standard) - (0 if (len(raw) + shift) % 3 == 0 else 4)
        for piece in (standard[start:end], standard[start:end].replace(b"+", b"-").replace(b"/", b"_")):
            if len(piece) >= SHORTEST:
                found.add(piece)
    return frozenset(found)


@dataclass
class Canaries:
    """Label -> planted text. Failures name the label and the place, never the whole line."""

    planted: Mapping[str, str]
    _forms: dict[str, frozenset[bytes]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._forms = {label: forms(text) for label, text in self.planted.items()}

    def seen_in(self, data: bytes) -> Iterator[str]:
        """Labels of the canaries that `data` contains."""
        for label, shapes in self._forms.items():
            if any(shape in data for shape in shapes):
                yield label

    def check_bytes(self, place: str, data: bytes) -> None:
        found = sorted(self.seen_in(data))
        assert not found, f"{place} contains {', '.join(found)}"

    def check_texts(self, place: str, texts: Iterable[str]) -> None:
        for number, text in enumerate(texts, 1):
            self.check_bytes(f"{place}, line {number}", text.encode())

    def check_files(self, folder: Path) -> int:
        """Search the raw bytes of every file below `folder`; gives how many there were, so that a test can want some."""
        count = 0
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.check_bytes(str(path.relative_to(folder)), path.read_bytes())
                count += 1
        return count

    def check_log(self, log: pytest.LogCaptureFixture) -> int:
        """Search every captured record: its message, arguments, extra fields and exception text; gives how many."""
        formatter = logging.Formatter()
        for record in log.records:
            text = f"{formatter.format(record)} {record.__dict__!r}"
            self.check_bytes(f"a log record of {record.name}", text.encode())
        return len(log.records)

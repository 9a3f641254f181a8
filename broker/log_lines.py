"""What a log line may hold, and how it is written: ids and codes on one line, never people.

Standard library and orjson only: the parent of the server processes writes lines too, and stays small.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from broker.chance import SystemClock
from broker.errors import BrokerError

Fact = str | int | float | bool | None
Event = MutableMapping[str, Any]

ALLOWED: Final = frozenset(
    {
        "attempts", "check", "client", "count", "error", "event", "exit_code", "file", "grant_type", "host", "key", "kid",
        "letter", "level", "library", "line", "message", "method", "ms", "outcome", "pid", "port", "provider", "reason", "reference",
        "route", "seconds", "signal", "status", "step", "table", "timestamp", "via", "where", "worker", "workers",
    }
)  # fmt: skip
"""Every key a log line may hold. A new one is a decision: nothing in it may name a person or open a door."""
MAX_VALUE: Final = 300
MAX_FRAMES: Final = 12

_UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Line ends, terminal codes, bidirectional and invisible letters: they could forge or hide lines (catalogue 152)."""
_SECRET_LIKE: Final = re.compile(r"[^\s@]@[^\s@]|[A-Za-z0-9+/_=-]{40,}|eyJ[A-Za-z0-9_-]{8,}")
"""An address, or a run that only a token or digest has."""
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def escape(text: str) -> str:
    """The text on one line, with nothing in it that moves a cursor or turns letters round."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def clean(value: object) -> Fact:
    """A value fit for a log line. Anything that is no text, number or truth becomes the name of its class."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    if _SECRET_LIKE.search(value):
        return "<withheld>"
    return escape(value[:MAX_VALUE])


def redact(_logger: object, _name: str, event: Event) -> Event:
    """The processor that lets through what is allowed and nothing else."""
    kept = {key: clean(value) if key != "where" else value for key, value in event.items() if key in ALLOWED}
    if len(kept) < len(event):
        kept["dropped"] = len(event) - len(kept)
    return kept


def frames(error: BaseException) -> list[str]:
    """Where an exception and its causes arose: module, line, function and class. No message: it could hold a value."""
    out: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        out.append(type(current).__name__)
        places = traceback.extract_tb(current.__traceback__)[-MAX_FRAMES:]
        out += [f"{Path(frame.filename).name}:{frame.lineno} {escape(frame.name)}" for frame in places]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return out


def as_json(_logger: object, _name: str, event: Event) -> bytes:
    return orjson.dumps(event)


def readable(_logger: object, _name: str, event: Event) -> bytes:
    """`16:20:07 info    request  route=chooser status=200`."""
    time, level, name = str(event.pop("timestamp", ""))[11:19], event.pop("level", ""), event.pop("event", "")
    where = event.pop("where", None)
    facts = " ".join(f"{key}={value}" for key, value in event.items())
    lines = [f"{time} {level:<7} {name}  {facts}".rstrip(), *(f"    {frame}" for frame in where or ())]
    return "\n".join(lines).encode()


class Journal:
    """The parent's log: the same lines as `telemetry.Log` writes, without what several tasks at once would need."""

    def __init__(self, stream: BinaryIO | None = None, *, level: str = "info", console: bool = False) -> None:
        self._stream = stream or cast("BinaryIO", sys.stdout.buffer)
        self._least, self._format = LEVELS[level], readable if console else as_json

    def event(self, name: str, /, **facts: Fact) -> None:
        """Something happened, as it should."""
        self._write("info", name, facts)

    def warn(self, name: str, /, **facts: Fact) -> None:
        """Something an admin should look at."""
        self._write("warning", name, facts)

    def fault(self, name: str, error: BaseException, /, **facts: Fact) -> None:
        """Something broke: the classes and places of the exception, not what it says."""
        self._write("error", name, {**faults(error, facts), "where": frames(error)})

    def _write(self, level: str, name: str, facts: dict[str, Any]) -> None:
        if LEVELS[level] < self._least:
            return
        time = SystemClock().now().astimezone(UTC).isoformat().replace("+00:00", "Z")
        line = redact(None, "", {**facts, "event": name, "level": level, "timestamp": time})
        self._stream.write(self._format(None, "", line) + b"\n")
        self._stream.flush()


def faults(error: BaseException, facts: dict[str, Any]) -> dict[str, Any]:
    """What is said of an exception: its class, and of ours the code and the check."""
    named = {"reason": error.code, "check": error.detail} if isinstance(error, BrokerError) else {}
    return {**named, **facts, "error": type(error).__name__}

"""Strict reading of JSON that others sent: what is ambiguous or absurd is refused, with the reason's name."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from broker.errors import UpstreamInvalid

MAX_DEPTH: Final = 32


class _Refused(ValueError):
    """Carries the reason."""


def read_json(raw: bytes, check: str) -> dict[str, Any]:
    """One JSON object out of UTF-8 bytes.

    Raises `UpstreamInvalid(check)` with the reason: not UTF-8, a byte-order mark, not JSON, a name that occurs twice,
    NaN or Infinity, more than 32 levels, or not an object (catalogue 173).
    """
    value = _read(raw, check)
    if not isinstance(value, dict):
        raise UpstreamInvalid(check, "not an object")
    return value


def read_json_list(raw: bytes, check: str) -> list[Any]:
    """The same for a JSON array."""
    value = _read(raw, check)
    if not isinstance(value, list):
        raise UpstreamInvalid(check, "not an array")
    return value


def _read(raw: bytes, check: str) -> object:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise UpstreamInvalid(check, "byte-order mark")
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise UpstreamInvalid(check, "not utf-8") from None
    except _Refused as error:
        raise UpstreamInvalid(check, str(error)) from None
    except RecursionError:
        raise UpstreamInvalid(check, "too deep") from None
    except ValueError:  # JSONDecodeError quotes the text, so it goes no further
        raise UpstreamInvalid(check, "not json") from None
    # Counting brackets is an upper bound that nearly every real answer stays under; only then is a walk needed.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(value):
        raise UpstreamInvalid(check, "too deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("duplicate name")
    return made


def _no_constant(_: str) -> float:
    raise _Refused("not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused("not a number")
    return value


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _is_too_deep(value: object) -> bool:
    """Whether nesting passes `MAX_DEPTH`; level by level, so that depth costs no stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(item: object) -> list[object]:
    if isinstance(item, dict):
        return [inner for inner in item.values() if isinstance(inner, dict | list)]
    if isinstance(item, list):
        return [inner for inner in item if isinstance(inner, dict | list)]
    return []

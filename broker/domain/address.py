"""A postal address: parts where a provider sent parts, one text where a person typed one (OpenID Connect Core §5.1.1).

It is kept as one text like every other value: a JSON object of its parts. What was kept before there were parts is read
as the address itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

FORMATTED: Final = "formatted"
PARTS: Final = ("street_address", "locality", "region", "postal_code", "country")
MAX_PART: Final = 1000
"""Characters kept of one part."""
MAX_LINES: Final = 8


def read_address(raw: object, clean: Callable[[str], str]) -> str | None:
    """An address as we keep it; `None` if there is none in `raw`, an address object or plain text.

    `clean`: makes text of one line fit to be kept. Members that are no text, unknown ones and empty ones are left out.
    """
    given = {FORMATTED: raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping):
        return None
    parts = {
        name: text
        for name in (FORMATTED, *PARTS)
        if isinstance(value := given.get(name), str) and (text := _lines(value, clean))
    }
    return json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if parts else None


def _lines(text: str, clean: Callable[[str], str]) -> str:
    """Lines may stay lines in `formatted` and `street_address`; at most so many, and none empty."""
    lines = [clean(line) for line in text.splitlines()[:MAX_LINES]]
    return "\n".join(line for line in lines if line)[:MAX_PART].strip()


def address_claim(kept: str) -> Mapping[str, str]:
    """What sites read: the object of §5.1.1, with the parts there are."""
    try:
        parts = json.loads(kept)
    except ValueError:
        parts = None
    if not isinstance(parts, dict) or not parts or not all(isinstance(value, str) for value in parts.values()):
        return {FORMATTED: kept}
    return parts


def address_words(kept: str) -> str:
    """The same on one line, as people read it."""
    parts = address_claim(kept)
    if FORMATTED in parts:
        return ", ".join(parts[FORMATTED].splitlines())
    town = " ".join(parts[name] for name in ("postal_code", "locality") if name in parts)
    lines = [*parts.get("street_address", "").splitlines(), town, parts.get("region", ""), parts.get("country", "")]
    return ", ".join(line for line in lines if line)

"""What the spelling of a host tells by itself, before anybody is asked where it leads."""

from __future__ import annotations

import re
from typing import Final

_LOCAL: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".in-addr.arpa", ".ip6.arpa")
"""Names that lead nowhere public (RFC 6761, 6762, 8375; `.internal` by ICANN)."""


def is_literal(host: str) -> bool:
    """An address rather than a name, in any spelling that some resolver reads: `127.1`, `0x7f000001`, `2130706433`."""
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or bool(re.fullmatch(r"0x[0-9a-f]*", last))


def is_inside(host: str) -> bool:
    """Whether it is no name of the public internet: an address, one word, or a name of a local network."""
    name = host.rstrip(".").lower()
    return is_literal(name) or "." not in name or name.endswith(_LOCAL)

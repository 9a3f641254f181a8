"""Where a person may be sent back to: a page of this site, written plainly, or the default."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["safe_next"]

LONGEST: Final = 1024
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*\Z")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _is_clean(path: str) -> bool:
    return not (
        path.startswith(("//", "/\\"))
        or "\\" in path
        or any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in path)
        or any(piece in {".", ".."} for piece in path.split("/"))
        or "//" in path
    )


def safe_next(wanted: str | None, *, default: str = "/", prefix: str = "/_login") -> str:
    """Return ``wanted`` if it is a path (and query) of this same origin, else ``default``.

    Only letters a browser cannot read as another host are let through, and the path is looked at
    again after each round of percent-decoding, since some servers decode before they redirect
    (CVE-2022-23527). The kit's own pages are refused so that nobody is sent in circles.
    """
    if not wanted or len(wanted) > LONGEST:
        return default
    if not _PLAIN.match(wanted) or _BAD_ESCAPE.search(wanted):
        return default
    path = wanted.partition("?")[0]
    for _round in range(3):
        if not _is_clean(path):
            return default
        decoded = unquote(path, errors="strict") if _is_utf8(path) else "\\"
        if decoded == path:
            break
        path = decoded
    else:
        return default
    if path == prefix or path.startswith(prefix + "/"):
        return default
    return wanted


def _is_utf8(path: str) -> bool:
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return True

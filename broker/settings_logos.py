"""The option `logo` of sites and providers: an https address, or a file beside the configuration."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import urlsplit

from broker.domain.client import is_redirect_uri
from broker.domain.hosts import is_inside
from broker.domain.logo import PROBLEMS
from broker.locator import Path as Key
from broker.settings_sources import Draft

SIZE_MOST: Final = 1024 * 1024
"""Bytes; as of what is fetched."""


def read_logo(draft: Draft, key: Key, given: object, *, exempt: AbstractSet[str]) -> str:
    """The address, or the whole path of the file; empty for none, and for what cannot be one, which is written down.

    `exempt`: each `host:port` that may be called although it is no public https address.
    """
    if not isinstance(given, str):
        draft.problem(key, "is not text.", 'Write logo = "https://…", or the name of a file.')
        return ""
    if not given:
        return ""
    if ":" in given.partition("/")[0]:
        return given if _is_callable(draft, key, given, exempt) else ""
    path = draft.path(given)
    if path.suffix.lower() in {".svg", ".svgz"}:
        draft.problem(key, "is an SVG, which can hold programs.", "Give a PNG, WebP or JPEG.")
    elif not path.is_file():
        draft.problem(key, f"There is no file {path}.", "Check the path.")
    elif path.stat().st_size > SIZE_MOST:
        draft.problem(key, PROBLEMS["large"], "128 by 128 pixels are enough.")
    else:
        return str(path)
    return ""


def _is_callable(draft: Draft, key: Key, address: str, exempt: AbstractSet[str]) -> bool:
    if not is_redirect_uri(address):
        draft.problem(key, "is neither a whole web address nor a file.", "Write https://…, or the name of a file.")
        return False
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if f"{host}:{port}" in exempt:
        return True
    if parts.scheme == "http":
        draft.problem(key, "is plain http: on the way somebody could put another picture there.", "Use https.")
        return False
    if port != 443 or is_inside(parts.hostname or ""):
        draft.problem(
            key,
            "is not on the public internet, or not https on port 443, so we do not call it.",
            f'Allow this one address in doorward.toml: [egress."{host}:{port}"]',
            severity="warning",
        )
    return True

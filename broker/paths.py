"""Where the templates and the commented configuration lie: in a checkout, or inside the installed package.

A leaf: standard library only. The wheel carries both folders under `broker/_shipped` (see `pyproject.toml`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
_SHIPPED: Final = _PACKAGE / "_shipped"


def templates() -> Path:
    """The folder of page templates, static files and locales. Raises `FileNotFoundError` when it is nowhere."""
    return _find("templates")


def config() -> Path:
    """The folder of the shipped, commented configuration. Raises `FileNotFoundError` when it is nowhere."""
    return _find("config")


def _find(name: str) -> Path:
    """An installed copy first: beside an installed package there is no checkout, and `name` could be a stranger's."""
    for folder in (_SHIPPED / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name} is neither beside nor inside the package broker")

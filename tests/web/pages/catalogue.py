"""The catalogue's sentences, as the templates and the page contexts have them.

`python -m tests.web.pages.catalogue fr` lists what a language still lacks, as entries ready to be filled in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from broker import paths
from broker.domain.claims import LABELS

ROOT: Final = paths.templates().parent
_JINJA: Final = {"extensions": "jinja2.ext.i18n", "trimmed": "true", "silent": "false"}


def extracted() -> Catalog:
    """Every sentence that a page can show."""
    catalog = Catalog(domain="doorward", charset="utf-8")
    for entry in _entries():
        catalog.add(entry)
    return catalog


def _entries() -> Iterator[str | tuple[str, str]]:
    yield from LABELS.values()
    for folder, method, options in (
        ("templates", "jinja2", _JINJA),
        ("broker/web", "python", {}),
    ):
        pattern = "**.html" if method == "jinja2" else "**.py"
        found = extract_from_dir(
            ROOT / folder,
            [(pattern, method)],
            {pattern: options},
            keywords={"_": None, "N_": None, "ngettext": (1, 2), "_ngettext": (1, 2), "gettext": None},
        )
        for _, _, message, _, _ in found:
            if message and message != ("",):
                yield (message[0], message[1]) if isinstance(message, tuple) else message


def translated(tag: str) -> Catalog:
    """A language's catalogue as it lies in the folder."""
    path = paths.templates() / "locales" / tag / "LC_MESSAGES" / "doorward.po"
    with path.open("rb") as source:
        return read_po(source, locale=tag)


def strings_of(message: Message) -> list[str]:
    """Its translations: one, or one for each plural form."""
    if message.string is None or isinstance(message.string, str):
        return [message.string or ""]
    return list(message.string)


def missing(tag: str) -> list[str | tuple[str, str]]:
    """Sentences without a translation."""
    held = translated(tag)
    out: list[str | tuple[str, str]] = []
    for message in extracted():
        if message.id:
            found = held.get(message.id)
            strings = [] if found is None else strings_of(found)
            if not strings or not all(strings):
                out.append(message.id if isinstance(message.id, str) else (message.id[0], message.id[1]))
    return out


def main(tag: str) -> None:
    """Print the entries that are missing."""
    catalog = Catalog(locale=tag, charset="utf-8")
    for message in missing(tag):
        catalog.add(message)
    write_po(sys.stdout.buffer, catalog, omit_header=True, no_location=True, width=0)


if __name__ == "__main__":
    main(sys.argv[1])

"""The guides of `config/guides`: what a site needs in `sites.toml` for some software, and what to enter in the software.

A guide is Markdown with a TOML head between two lines `+++`. `<issuer>`, `<site>`, `<host>`, `<id>`, `<secret>` and
`<random>` in it stand for a site's own values.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from broker import paths
from broker.domain.browser_state import origin_of

_MARK: Final = "+++"
_PLACE: Final = re.compile(r"<(issuer|site|host|id|secret|random)>")
WHY: Final[Mapping[str, Mapping[str, str]]] = {
    "preferred_username": {
        "en": "What you write there is signed with it.",
        "fr": "Ce que vous y écrivez en est signé.",
    },
    "name": {"en": "Shown beside your user name.", "fr": "Affiché à côté de votre pseudonyme."},
    "given_name": {"en": "Shown as your first name.", "fr": "Affiché comme votre prénom."},
    "family_name": {"en": "Shown as your last name.", "fr": "Affiché comme votre nom."},
    "email": {"en": "To tell you when somebody answers.", "fr": "Pour vous prévenir des réponses."},
    "picture": {"en": "Shown beside what you write.", "fr": "Affichée à côté de ce que vous écrivez."},
}
"""Reasons to begin with: an admin writes the site's own in their place."""
_AUDIENCE: Final = {"email": "admins"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """One software."""

    id: str
    software: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    site: Mapping[str, Any]
    """What stands in the site's table, with places to fill in."""
    text: str

    secret_option: str | None
    """Where the secret stands that the software is given; `None`: it is given none."""

    @property
    def has_secret(self) -> bool:
        """Whether the software is given a secret."""
        return self.secret_option is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a guide's places stand for."""

    issuer: str
    url: str
    id: str
    secret: str
    random: str
    """A secret of the software's own, which Doorward never needs."""

    def filled(self, text: str) -> str:
        """The text with every place filled in."""
        site = origin_of(self.url) + urlsplit(self.url).path.rstrip("/")
        values = {
            "issuer": self.issuer,
            "site": site,
            "host": urlsplit(self.url).netloc,
            "id": self.id,
            "secret": self.secret,
            "random": self.random,
        }
        return _PLACE.sub(lambda found: values[found[1]], text)


def names() -> tuple[str, ...]:
    """Every software there is a guide for."""
    return tuple(sorted(path.stem for path in _folder().glob("*.md") if path.stem != "README"))


def read(name: str) -> Guide:
    """The guide of a software out of `names()`."""
    _, head, text = (_folder() / f"{name}.md").read_text(encoding="utf-8").split(_MARK, 2)
    table = tomllib.loads(head)
    return Guide(
        id=name,
        software=table["software"],
        needed=tuple(table["needed"]),
        optional=tuple(table["optional"]),
        site=table["site"],
        secret_option=table.get("secret_option", "client_secret" if table["site"]["auth_method"] != "none" else None),
        text=text.strip(),
    )


def block(guide: Guide, values: Values, *, name: str, secret_file: str) -> str:
    """The site's table as TOML, ready for a file in `conf.d`."""
    lines = [
        f"[sites.{quoted(values.id)}]",
        f"name = {toml_of(name)}",
        f"url = {toml_of(values.url)}",
        *(f"{option} = {toml_of(_filled(value, values))}" for option, value in guide.site.items()),
    ]
    if guide.has_secret:
        lines.append(f"{guide.secret_option} = {{ file = {toml_of(secret_file)} }}")
    for claim in (*guide.needed, *guide.optional):
        why = ", ".join(f"{tag} = {toml_of(words)}" for tag, words in WHY[claim].items())
        lines += ["", f"[sites.{quoted(values.id)}.asks.{claim}]"]
        lines += [f'use = "{"needed" if claim in guide.needed else "optional"}"', f"why = {{ {why} }}"]
        lines += [f'audience = "{_AUDIENCE[claim]}"'] if claim in _AUDIENCE else []
    return "\n".join(lines)


def _filled(value: Any, values: Values) -> Any:
    if isinstance(value, str):
        return values.filled(value)
    return [values.filled(one) for one in value] if isinstance(value, list) else value


def toml_of(value: Any) -> str:
    """A text, a list of texts or a flag; JSON's spelling of these is TOML's."""
    return json.dumps(value, ensure_ascii=False)


def quoted(key: str) -> str:
    """A key as TOML has it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_of(key)


def _folder() -> Path:
    return paths.config() / "guides"

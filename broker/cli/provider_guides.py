"""The guides of `config/guides/providers`: what stands in `providers.toml` for a provider, and what to enter there.

A guide is Markdown with a TOML head between two lines `+++`. `<issuer>`, `<host>`, `<redirect>`, `<id>`, `<upstream>` and
`<upstream_host>` in it stand for one installation's values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from broker import paths
from broker.cli.guides import quoted, toml_of
from providers.preset import NAMELESS, PRIVATE_KEY

_MARK: Final = "+++"
_PLACE: Final = re.compile(r"<(issuer|host|redirect|id|upstream|upstream_host)>")
_KNOWING: Final = "\n## Worth knowing\n"
_ENTER: Final = "\n## Enter there\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """One provider."""

    id: str
    provider: str
    minutes: int
    preset: Mapping[str, Any]
    """What stands in the provider's table, with places to fill in."""
    secret: str
    """What is kept secret between the two, in words."""
    upstream: str
    """Its usual address, where there are many of its kind; nothing: it must be named."""
    enter: str
    knowing: str

    @property
    def needs_upstream(self) -> bool:
        """Whether somebody must say which one of its kind is meant."""
        return "<upstream" in toml_of(self.preset) and not self.upstream

    @property
    def has_id(self) -> bool:
        """Whether the provider knows us by a client id."""
        return self.preset["kind"] not in NAMELESS

    @property
    def has_secret(self) -> bool:
        """Whether something is kept secret between the two that the operator brings; Steam's key counts."""
        return self.preset["kind"] not in NAMELESS - {"steam"} and self.preset.get(
            "token_endpoint_auth_method"
        ) not in {"none", PRIVATE_KEY}

    @property
    def proves_by(self) -> str:
        """With what we sign who we are; nothing: no signature says it."""
        is_signed = self.preset.get("token_endpoint_auth_method") == PRIVATE_KEY
        return str(self.preset["token_endpoint_auth_signing_alg"]) if is_signed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a guide's places stand for."""

    issuer: str
    id: str
    upstream: str

    @property
    def redirect(self) -> str:
        """Where the provider sends people back to."""
        return f"{self.issuer}/callback/{self.id}"

    def filled(self, text: str) -> str:
        """The text with every place filled in."""
        values = {
            "issuer": self.issuer,
            "host": urlsplit(self.issuer).netloc,
            "redirect": self.redirect,
            "id": self.id,
            "upstream": self.upstream,
            "upstream_host": urlsplit(self.upstream).netloc,
        }
        return _PLACE.sub(lambda found: values[found[1]], text)


def names() -> tuple[str, ...]:
    """Every provider there is a guide for."""
    return tuple(sorted(path.stem for path in _folder().glob("*.md") if path.stem != "README"))


def read(name: str) -> Guide:
    """The guide of a provider out of `names()`."""
    _, head, text = (_folder() / f"{name}.md").read_text(encoding="utf-8").split(_MARK, 2)
    table = tomllib.loads(head)
    enter, _, knowing = text.partition(_ENTER)[2].partition(_KNOWING)
    return Guide(
        id=name,
        provider=table["provider"],
        minutes=table["minutes"],
        preset=table["preset"],
        secret=table.get("secret", "the secret it gave you"),
        upstream=table.get("usual", {}).get("upstream", ""),
        enter=enter.strip(),
        knowing=knowing.strip(),
    )


def block(guide: Guide, values: Values, *, client_id: str, secret_file: str, state: str) -> str:
    """The provider's table as TOML, ready for a file in `conf.d`."""
    own = {"state": state}
    if guide.has_id:
        own["client_id"] = client_id
    name = f"providers.{quoted(values.id)}"
    preset = {option: value for option, value in guide.preset.items() if not isinstance(value, Mapping)}
    lines = [f"[{name}]", *_lines({**own, **preset}, values)]
    if guide.has_secret:
        lines.append(f"client_secret = {{ file = {toml_of(secret_file)} }}")
    for option, table in guide.preset.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}.{option}]", *_lines(table, values)]
    return "\n".join(lines)


def _lines(table: Mapping[str, Any], values: Values) -> Iterator[str]:
    for option, value in table.items():
        yield f"{quoted(option)} = {values.filled(toml_of(value))}"


def _folder() -> Path:
    return paths.config() / "guides" / "providers"

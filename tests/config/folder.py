"""A small configuration that is right, to be made wrong in one place."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from broker.errors import ConfigurationError, Problem
from broker.settings import Settings, load_settings, read_settings

KEY: Final = base64.b64encode(bytes(range(32))).decode()
SECRET: Final = "forum-secret-0123456789abcdef0123"

DOORWARD: Final = """\
[broker]
public_url = "https://login.club.example"
master_key = { env = "MASTER" }
operator_name = "The Club"
operator_contact = "help@club.example"
trusted_proxies = ["127.0.0.1"]

[fields.name]
purpose = "Shown next to your posts."
audience = "everyone"

[fields.email]
purpose = { en = "To reach you.", fr = "Pour vous joindre." }
audience = "admins"
use = "needed"

[terms.1]
effective_from = 2026-01-01

[privacy.1]
effective_from = 2026-01-01
"""
PROVIDERS: Final = """\
[idp]
kind = "openid_connect"
issuer = "https://idp.example.org"
client_id = "doorward"
client_secret = { env = "IDP" }
"""
SITES: Final = """\
[forum]
name = "Forum"
url = "https://forum.example.org/"
redirect_uris = ["https://forum.example.org/callback"]
client_secret = { env = "FORUM" }

[forum.asks.name]
why = "Shown beside your posts."
"""
ENVIRON: Final = {"MASTER": KEY, "IDP": "idp-secret-0123456789abcdef01234", "FORUM": SECRET}


def write(
    folder: Path, *, doorward: str = DOORWARD, providers: str = PROVIDERS, sites: str = SITES, **more: str
) -> Path:
    """The files; `more` are files of `conf.d` by name, without their ending."""
    for name, text in (("doorward", doorward), ("providers", providers), ("sites", sites)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    for name, text in more.items():
        (folder / "conf.d").mkdir(exist_ok=True)
        (folder / "conf.d" / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def load(folder: Path, environ: Mapping[str, str] = ENVIRON) -> Settings:
    return load_settings(folder, environ)


def problems(folder: Path, environ: Mapping[str, str] = ENVIRON) -> tuple[Problem, ...]:
    return read_settings(folder, environ, make_master_key=False).warnings


def only_problem(folder: Path, environ: Mapping[str, str] = ENVIRON) -> Problem:
    found = problems(folder, environ)
    assert len(found) == 1, [str(problem) for problem in found]
    if found[0].severity == "error":
        with pytest.raises(ConfigurationError):
            load_settings(folder, environ)
    return found[0]

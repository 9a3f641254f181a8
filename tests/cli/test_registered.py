"""Sites that register by themselves, at the command line: invited, listed, reviewed, put out."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_sites import doorward
from tests.config.folder import DOORWARD, ENVIRON, write

from broker.app import open_world
from broker.settings import load_settings
from broker.telemetry import Log, NoMetrics, Telemetry

SAID = {"client_name": "Library", "redirect_uris": ["https://library.example.org/cb"]}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    text = DOORWARD.replace("[broker]\n", f'[broker]\nregistration = "invited"\ndata_dir = "{tmp_path / "data"}"\n')
    return write(folder, doorward=text)


def registered(config: Path, token: str, metadata: dict[str, Any]) -> str:
    """What `/register` does with it; the site's id."""

    async def work() -> str:
        telemetry = Telemetry(log=Log(sys.stderr.buffer), metrics=NoMetrics())
        async with open_world(load_settings(config, ENVIRON), telemetry) as opened:
            flow = opened.world.registrations
            assert flow is not None
            return str((await flow.register(token, metadata, address="192.0.2.1")).registration.client_id)

    return asyncio.run(work())


def listed(config: Path) -> dict[str, str]:
    rows = json.loads(doorward("list", "--json", config=config).stdout)
    return {row["id"]: row["notes"] for row in rows}


def test_an_invited_site_is_listed_reviewed_and_put_out(config: Path) -> None:
    token = doorward("invite", "--note", "the library", config=config).stdout.splitlines()[0]
    assert len(token) == 43
    name = registered(config, token, SAID)
    assert listed(config)[name] == "not reviewed"
    shown = doorward("review", name, config=config)
    assert shown.stdout == "Library (library.example.org) is reviewed now.\n"
    assert "was reviewed already" in doorward("review", name, config=config).stdout
    assert listed(config)[name] == ""
    assert doorward("remove", name, config=config).returncode == 0
    assert name not in listed(config)
    gone = doorward("remove", name, config=config)
    assert gone.returncode == 1
    assert f"No site {name} registered by itself." in gone.stderr


def test_an_invitation_says_what_it_is_good_for(config: Path) -> None:
    said = doorward("invite", "--uses", "2", "--days", "1", "--scope", "email", config=config).stdout
    assert "For 2 sites within 1 day, as bearer token at https://login.club.example/register." in said
    token = said.splitlines()[0]
    for _ in range(2):
        registered(config, token, SAID)
    unknown = doorward("invite", "--scope", "emails", config=config)
    assert unknown.returncode == 1
    assert "There is no scope emails." in unknown.stderr


def test_nobody_is_invited_where_no_site_may_register(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    write(folder, doorward=DOORWARD.replace("[broker]\n", f'[broker]\ndata_dir = "{tmp_path / "data"}"\n'))
    refused = doorward("invite", config=folder)
    assert refused.returncode == 1
    assert 'Write registration = "invited" under [broker] first.' in refused.stderr

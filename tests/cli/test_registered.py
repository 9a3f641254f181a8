"""Sites that register by themselves, at the command line: invited, listed, reviewed, put out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.cli.test_sites import doorward
from tests.config.folder import DOORWARD, ENVIRON, write
from tests.support.sandbox import serve

from broker.app import open_world
from broker.cli.commands import main
from broker.domain.documents import mark
from broker.domain.registration import Registration
from broker.domain.values import ClientId
from broker.errors import InvalidToken
from broker.settings import load_settings
from broker.telemetry import Log, NoMetrics, Telemetry
from providers.sandbox.avatar import portrait

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


def changed(config: Path, name: str, metadata: dict[str, Any]) -> None:
    """What the site does by `PUT /register/…`."""

    async def work() -> None:
        telemetry = Telemetry(log=Log(sys.stderr.buffer), metrics=NoMetrics())
        async with open_world(load_settings(config, ENVIRON), telemetry) as opened:
            flow, kept = opened.world.registrations, await opened.world.durable.registrations.load(ClientId(name))
            assert flow is not None
            assert kept is not None
            await flow.change(kept, metadata, address="192.0.2.1")

    asyncio.run(work())


def listed(config: Path) -> dict[str, str]:
    rows = json.loads(doorward("list", "--json", config=config).stdout)
    return {row["id"]: row["notes"] for row in rows}


def version_of(config: Path, name: str) -> str:
    shown = doorward("review", name, config=config).stdout
    assert "redirect addresses    https://library.example.org/cb" in shown
    found = re.search(r"--seen ([0-9a-f]{12})\n", shown)
    assert found is not None
    return found[1]


def test_a_site_that_changed_is_not_reviewed_unseen(config: Path) -> None:
    token = doorward("invite", config=config).stdout.splitlines()[0]
    name = registered(config, token, SAID)
    version = version_of(config, name)
    changed(config, name, {**SAID, "client_name": "True Club Login"})
    refused = doorward("review", name, "--seen", version, config=config)
    assert refused.returncode == 1
    assert "True Club Login" in refused.stdout
    assert "it changed" in refused.stderr
    assert listed(config)[name] == "not reviewed"
    assert doorward("review", name, "--seen", version_of(config, name), config=config).returncode == 0
    assert listed(config)[name] == ""


def test_an_invitation_is_listed_and_taken_back(config: Path) -> None:
    token = doorward("invite", "--uses", "3", "--note", "the library", config=config).stdout.splitlines()[0]
    (row,) = json.loads(doorward("invitations", "--json", config=config).stdout)
    assert (row["uses_left"], row["note"]) == ("3", "the library")
    assert row["id"] in doorward("invitations", config=config).stdout
    assert token not in json.dumps(row)
    assert doorward("uninvite", row["id"], config=config).returncode == 0
    assert doorward("invitations", config=config).stdout == "No invitation is good at present.\n"
    again = doorward("uninvite", row["id"], config=config)
    assert again.returncode == 1
    assert "`doorward site invitations` shows those that are." in again.stderr
    with pytest.raises(InvalidToken):
        registered(config, token, SAID)


def test_an_invited_site_is_listed_reviewed_and_put_out(config: Path) -> None:
    token = doorward("invite", "--note", "the library", config=config).stdout.splitlines()[0]
    assert len(token) == 43
    name = registered(config, token, SAID)
    assert listed(config)[name] == "not reviewed"
    version = version_of(config, name)
    assert listed(config)[name] == "not reviewed"
    shown = doorward("review", name, "--seen", version, "--why", "they asked", config=config)
    assert shown.stdout == "Library (library.example.org) is reviewed now.\n"
    assert "was reviewed already" in doorward("review", name, "--seen", version, config=config).stdout
    assert listed(config)[name] == ""
    assert doorward("remove", name, config=config).returncode == 0
    assert name not in listed(config)
    gone = doorward("remove", name, config=config)
    assert gone.returncode == 1
    assert f"No site {name} put itself in." in gone.stderr


def test_an_invitation_says_what_it_is_good_for(config: Path) -> None:
    said = doorward("invite", "--uses", "2", "--days", "1", "--scope", "email", config=config).stdout
    assert "For 2 sites within 1 day, as bearer token at https://login.club.example/register." in said
    token = said.splitlines()[0]
    for _ in range(2):
        registered(config, token, SAID)
    unknown = doorward("invite", "--scope", "emails", config=config)
    assert unknown.returncode == 1
    assert "There is no scope emails." in unknown.stderr


def test_people_see_the_logo_that_was_looked_at(tmp_path: Path) -> None:
    """(catalogue 141)"""
    lies = [portrait("library", 64, 48), portrait("facebook", 64, 48)]
    with serve(Starlette(routes=[Route("/l.png", lambda _: Response(lies[0], media_type="image/png"))])) as url:
        host = urlsplit(url).netloc
        lent = f'registration = "invited"\ndata_dir = "{tmp_path / "data"}"'
        opened = f'[egress."{host}"]\nregistered_sites = true\n'
        config = tmp_path / "config"
        config.mkdir()
        write(config, doorward=DOORWARD.replace("[broker]", f"[broker]\n{lent}") + opened)

        def review(*words: str) -> str:
            done = CliRunner().invoke(main, ["site", "review", name, *words, "-c", str(config)], env=ENVIRON)
            assert done.exit_code == 0, done.output
            return done.stdout

        token = CliRunner().invoke(main, ["site", "invite", "-c", str(config)], env=ENVIRON).stdout.splitlines()[0]
        name = registered(config, token, {"redirect_uris": [f"{url}/cb"], "logo_uri": f"{url}/l.png"})
        shown = review("--logo", str(tmp_path / "seen.png"))
        assert f"{url}/l.png (64 by 48 pixels, " in shown
        assert "people do not see it yet" in shown
        digest = hashlib.sha256((tmp_path / "seen.png").read_bytes()).hexdigest()
        assert f"SHA-256 {digest[:12]}" in shown
        lies.reverse()
        assert "is reviewed now" in review("--seen", shown.split()[-1])
        again = review()
        assert "people do not see it yet" in again
        assert again.split()[-1] != shown.split()[-1]
        lies.reverse()
        assert review().split()[-1] == shown.split()[-1]
        assert "is reviewed now" in review("--seen", shown.split()[-1])
        lies[0] = b"<svg></svg>"
        last = review()
    assert "people see it. What lies there now is another matter" in last
    assert "It is an SVG." in last


@pytest.fixture
def open_to_documents(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    lines = f'[broker]\nclient_documents = "any"\ndata_dir = "{tmp_path / "data"}"\n'
    return write(folder, doorward=DOORWARD.replace("[broker]\n", lines))


def used(config: Path, name: str) -> None:
    """Somebody shared something with the site of this document."""
    text = json.dumps({"client_id": name, "client_name": "App", "redirect_uris": [f"{name}/cb"]})

    async def work() -> None:
        telemetry = Telemetry(log=Log(sys.stderr.buffer), metrics=NoMetrics())
        async with open_world(load_settings(config, ENVIRON), telemetry) as opened:
            now = opened.world.clock.now()
            unit = opened.world.durable.unit()
            unit.keep_document(
                Registration(
                    client_id=ClientId(name),
                    invitation="",
                    metadata=text,
                    scopes=frozenset(),
                    token_digest=mark(text),
                    registered_at=now,
                    fresh_until=now,
                )
            )
            await unit.commit()

    asyncio.run(work())


def test_a_site_with_a_document_is_listed_reviewed_and_shut_out(open_to_documents: Path) -> None:
    """Nobody is asked for it: what is kept is what is looked at."""
    config, name = open_to_documents, "https://app.example.org/client"
    assert listed(config) == {"forum": ""}
    used(config, name)
    assert "not reviewed" in listed(config)[name]
    shown = doorward("review", name, config=config).stdout
    version = shown.split()[-1]
    assert (
        doorward("review", name, "--seen", version, config=config).stdout == "App (app.example.org) is reviewed now.\n"
    )
    assert "not reviewed" not in listed(config)[name]
    refused = doorward("remove", name, config=config)
    assert refused.returncode == 1
    assert f"doorward site block {name}" in refused.stderr
    assert "is shut out" in doorward("block", name, config=config).stdout
    assert listed(config)[name] == "shut out"
    assert doorward("unblock", name, config=config).returncode == 0
    assert name not in listed(config)
    assert doorward("unblock", name, config=config).returncode == 1


def test_a_site_is_shut_out_before_it_came(open_to_documents: Path) -> None:
    other = "https://evil.example.org/client"
    assert doorward("block", other, config=open_to_documents).returncode == 0
    assert listed(open_to_documents)[other] == "shut out"
    for name in ("forum", "http://evil.example.org/client", "https://evil.example.org"):
        refused = doorward("block", name, config=open_to_documents)
        assert refused.returncode == 1
        assert "is no address of a document" in refused.stderr


def test_nobody_is_invited_where_no_site_may_register(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    write(folder, doorward=DOORWARD.replace("[broker]\n", f'[broker]\ndata_dir = "{tmp_path / "data"}"\n'))
    refused = doorward("invite", config=folder)
    assert refused.returncode == 1
    assert 'Write registration = "invited" under [broker] first.' in refused.stderr

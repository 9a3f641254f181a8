"""Starting and stopping: everything is checked first, everything wrong is said, and stopping is clean."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest
from tests.serve.rig import Folder, Start, command
from tests.support.servers import free_port
from tests.support.source import ROOT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_answers_and_stops_cleanly(start: Start, number: signal.Signals) -> None:
    server = start()
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/.well-known/openid-configuration").json()["issuer"] == "https://login.test"
    assert server.stop(number) == 0
    assert server.status("/healthz") == 0
    assert server.children == []


NOT_OURS = (
    "/metrics", "/debug", "/docs", "/redoc", "/openapi.json", "/admin", "/status", "/health", "/info", "/env", "/config",
    "/actuator", "/server-status", "/.env", "/.git/config", "/static/../broker.db", "/static/%2e%2e/doorward.toml",
    "/__emu__", "/mailbox", "/data/doorward.db",
)  # fmt: skip


def test_nobody_is_told_more_than_that_it_lives(start: Start) -> None:
    """Neither version nor paths, and nothing for operators on the port for everybody (catalogue 156)."""
    server = start()
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ready"}
    for path in NOT_OURS:
        answer = server.get(path)
        assert answer.status == 404, path
        assert str(server.folder.path) not in answer.text
        assert "Traceback" not in answer.text
    told = {name.lower() for name in server.get("/healthz").headers}
    assert not told & {"server", "x-powered-by"}


def test_every_line_of_the_log_is_json_and_holds_no_query(start: Start) -> None:
    server = start()
    server.get("/authorize?client_id=canary-query-q7731x&state=canary-state-q7731x")
    server.stop()
    assert server.lines
    assert all(isinstance(json.loads(line), dict) for line in server.lines)
    assert "q7731x" not in server.log


def test_production_does_not_start_without_a_master_key(start: Start, folder: Folder) -> None:
    folder.write()
    text = (folder.path / "doorward.toml").read_text().replace('master_key = { file = "master.key" }\n', "")
    (folder.path / "doorward.toml").write_text(text)
    done = subprocess.run(command("serve", "--config", str(folder.path)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "broker.master_key: is missing" in done.stderr
    assert "whoever loses it loses all accounts" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_enough_to_start_in(start: Start, folder: Folder) -> None:
    """The data folder is made, for this account alone, and the database in it."""
    server = start(template=None)
    assert (folder.path / "data").stat().st_mode & 0o777 == 0o700
    assert server.token_request().status == 400


def test_all_that_is_wrong_is_said_at_once_and_nothing_starts(folder: Folder) -> None:
    folder.template = None
    folder.write(more='colour = "red"\nlog_level = "loud"')
    (folder.path / "providers.toml").write_text(
        '[x]\nkind = "telepathy"\nclient_id = "a"\nclient_secret = { env = "NOWHERE" }\n'
    )
    (folder.path / "sites.toml").write_text('[forum]\nname = "Forum"\n')
    done = subprocess.run(command("serve", "--config", str(folder.path)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    for words in (
        "broker.colour: is not a known option", "broker.log_level: is not one of the choices",
        "x.kind: 'telepathy' is not a kind of provider", "environment variable NOWHERE is not set",
        "forum.url: is missing", "forum.redirect_uris: is missing", "forum.client_secret: is missing",
    ):  # fmt: skip
        assert words in done.stderr
    assert not (folder.path / "data").exists()


def test_a_taken_port_is_named_with_the_way_out(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        folder.write(port=port)
        done = subprocess.run(command("serve", "--config", str(folder.path)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} on 127.0.0.1 is taken by another program. Stop that one, or choose another port: --port {port + 1}.\n"
    )


def test_an_address_of_another_machine_is_named(folder: Folder) -> None:
    folder.write()
    words = command("serve", "--config", str(folder.path), "--host", "192.0.2.1")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Cannot listen on 192.0.2.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_metrics_port_is_named(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        folder.write(more=f"metrics_port = {port}")
        done = subprocess.run(command("serve", "--config", str(folder.path)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken by another program." in done.stderr


def test_the_command_line_counts_more_than_the_files(start: Start, folder: Folder) -> None:
    folder.write(port=free_port())
    port = free_port()
    server = start(ready=False, words=("--port", str(port), "--workers", "2"))
    server.folder.port = port
    server.wait_until_ready()
    server.wait_for(lambda: len(server.children) == 2, "two workers")


def test_another_master_key_is_refused_and_changes_nothing(start: Start, folder: Folder) -> None:
    """(catalogue 167)"""
    start().stop()
    before = _rows(folder, "SELECT id, wrapped FROM data_keys ORDER BY id")
    right = (folder.path / "master.key").read_text()
    folder.secret("master.key", base64.b64encode(secrets.token_bytes(32)).decode())
    server = start(ready=False)
    assert server.wait() == 1
    assert "The master key is not the one this database was set up with." in server.log
    assert _rows(folder, "SELECT id, wrapped FROM data_keys ORDER BY id") == before
    folder.secret("master.key", right.strip())
    assert start().get("/readyz").status == 200


def test_a_corrupt_signing_key_keeps_the_server_from_starting(start: Start, folder: Folder) -> None:
    """(catalogue 167)"""
    start().stop()
    database = sqlite3.connect(folder.path / "data" / "doorward.db")
    with database:
        database.execute("UPDATE signing_keys SET sealed = zeroblob(length(sealed))")
    database.close()
    server = start(ready=False)
    assert server.wait() == 1
    assert "Traceback" not in server.log
    assert "Restore it from a backup." in server.log


def test_a_missing_master_key_file_keeps_the_server_from_starting(folder: Folder) -> None:
    """(catalogue 167)"""
    folder.write()
    (folder.path / "master.key").unlink()
    done = subprocess.run(command("serve", "--config", str(folder.path)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "master.key cannot be read" in done.stderr


def test_the_parent_loads_nothing_of_the_application() -> None:
    """The parent lives as long as the server and answers nothing, so it stays small."""
    program = (
        "import sys, broker.cli, broker.cli.judging, broker.server.supervisor, broker.settings, broker.log_lines; "
        "print([n for n in ('broker.app', 'broker.web', 'providers', 'sqlalchemy', 'starlette', 'uvicorn', 'aiohttp', "
        "'asyncio', 'prometheus_client') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_log_says_when_it_started_and_stopped(start: Start) -> None:
    server = start()
    started = server.wait_for_log("server_started")
    assert (started["port"], started["workers"]) == (server.folder.port, 1)
    server.stop()
    assert [len(server.events(name)) for name in ("server_stopping", "server_stopped")] == [1, 1]


def _rows(folder: Folder, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(folder.path / "data" / "doorward.db")
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_each_request_gets_a_line_if_asked_for(start: Start) -> None:
    """By the name of its route: its address could hold a code (decision 33, catalogue 152)."""
    server = start(more="log_requests = true")
    server.get("/f/canary-path-q5512x/continue?code=canary-query-q5512x")
    server.token_request()
    assert server.stop() == 0
    lines = {line["route"]: line for line in server.events("request")}
    assert (lines["token"]["method"], lines["token"]["status"]) == ("POST", 400)
    assert lines["token"]["reference"]
    assert "q5512x" not in server.log

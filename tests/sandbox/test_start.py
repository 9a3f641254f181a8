"""The sandboxes start by themselves, and never in production mode."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from providers.sandbox import SandboxRefused, refuse_in_production
from providers.sandbox.avatar import clamp_side, portrait
from providers.sandbox.facebook import App, create_app
from providers.sandbox.signing import SigningKey
from tests.support.sandbox import serve

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "facebook": ["--app-id", "1", "--app-secret-file", "SECRET", "--redirect-uri", "http://localhost/cb"],
    "openid_connect": [
        "--client-id",
        "1",
        "--client-secret-file",
        "SECRET",
        "--redirect-uri",
        "http://localhost/cb",
    ],
}


@pytest.mark.parametrize("mode", ["production", "", "prod", "Production", "develop", "staging"])
def test_every_mode_that_is_not_development_is_production(mode: str) -> None:
    with pytest.raises(SandboxRefused, match="production"):
        refuse_in_production(mode)


@pytest.mark.parametrize("mode", ["development", "test", " Development "])
def test_development_and_test_load(mode: str) -> None:
    refuse_in_production(mode)


def _run(name: str, secret: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(secret) if word == "SECRET" else word for word in PROGRAMS[name]]
    command = [sys.executable, "-m", f"providers.sandbox.{name}", *arguments, *more]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
@pytest.mark.parametrize("environment", [{}, {"DOORWARD_MODE": "production"}])
def test_the_programs_refuse_production_with_exit_code_2(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    ended = _run(name, secret, **environment)
    assert ended.returncode == 2 and "production mode" in ended.stderr


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_the_programs_serve_in_development_and_stop_when_told(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = [str(secret) if word == "SECRET" else word for word in PROGRAMS[name]]
    command = [sys.executable, "-m", f"providers.sandbox.{name}", *arguments, "--port", str(port)]
    running = subprocess.Popen(command, cwd=ROOT, env={"DOORWARD_MODE": "development"})
    try:
        assert _first_answer(f"http://localhost:{port}/.well-known/openid-configuration")["issuer"].endswith(str(port))
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(15)
    assert running.returncode in {0, -signal.SIGINT}


def _first_answer(url: str) -> dict[str, str]:
    for _ in range(150):
        try:
            return dict(httpx2.get(url).json())
        except httpx2.ConnectError:
            time.sleep(0.1)
    raise AssertionError("the program did not start")


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_an_empty_secret_file_is_refused(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("\n")
    ended = _run(name, secret, "--development")
    assert ended.returncode == 1 and "is empty" in ended.stderr


def test_an_application_runs_in_process_on_a_free_port_and_stops() -> None:
    app = create_app([App(id="1", secret="s", redirect_uris=("http://localhost/cb",))])
    with serve(app) as first, serve(app, host="localhost") as second:
        assert first != second and second.startswith("http://localhost:")
        page = httpx2.get(first)
        style = httpx2.get(first + "/sandbox.css")
        assert "made-up person" in httpx2.get(first + "/privacy").text
        assert "SANDBOX - not the real Facebook" in page.text and style.headers["content-type"].startswith("text/css")
        assert "<script" not in page.text and 'name="viewport"' in page.text
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(first)


def test_an_application_runs_over_tls(tmp_path: Path) -> None:
    made = SigningKey.generate()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.certificate_pem())
    key.write_bytes(made.private_pem())
    with serve(create_app([]), certificate=certificate, key=key) as base:
        assert base.startswith("https://") and httpx2.get(base, verify=False).status_code == 200


def test_bodies_above_a_megabyte_are_refused() -> None:
    app = create_app([App(id="1", secret="s", redirect_uris=("http://localhost/cb",))])
    with serve(app) as base:
        assert httpx2.post(base + "/oauth/access_token", content=b"x" * 1_000_001).status_code == 413


def test_portraits_follow_from_the_seed_and_stay_small() -> None:
    assert portrait("a", 50, 50) == portrait("a", 50, 50) != portrait("b", 50, 50)
    assert len(portrait("a", 720, 720)) < 50_000
    assert [clamp_side(text) for text in ("200", "0", "99999", "x", None, "²")] == [200, 1, 720, 50, 50, 50]


def test_the_sandbox_imports_nothing_of_the_broker() -> None:
    for path in (ROOT / "providers" / "sandbox").glob("*.py"):
        words = path.read_text(encoding="utf-8")
        assert "import broker" not in words and "from broker" not in words, path.name

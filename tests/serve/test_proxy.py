"""The recipe for nginx, in a real nginx with TLS in front of a real server: only what it says is believed."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.serve.rig import LIMIT, Answer, Server, Start, token_form, token_headers
from tests.support.servers import free_port, program
from tests.support.source import ROOT
from tests.support.tls import Authority

RECIPE = ROOT / "config" / "deploy" / "nginx.conf"
AUTHORIZE = (
    "/authorize?client_id=forum&response_type=code&scope=openid&state=canary-4471&nonce=n"
    "&redirect_uri=https%3A%2F%2Fforum.test%2Fcallback&code_challenge_method=S256"
    "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)


@dataclass
class Front:
    """nginx, and the server behind it."""

    server: Server
    folder: Path
    https: int
    http: int
    tls: ssl.SSLContext

    def ask(
        self, method: str, path: str, *, visitor: str = "127.0.0.2", host: str = "login.test", body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """One request of a visitor with this address."""
        plain = socket.create_connection(("127.0.0.1", self.https), LIMIT, (visitor, 0))
        connection = http.client.HTTPConnection("127.0.0.1")
        connection.sock = self.tls.wrap_socket(plain, server_hostname="login.test")
        try:
            connection.request(method, path, body, {"Host": host, **(headers or {})})
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def guess(self, visitor: str, **headers: str) -> int:
        """A try with a wrong site secret; the status."""
        wrong = token_headers("wrong-secret-0123456789abcdefgh")
        return self.ask("POST", "/token", visitor=visitor, body=token_form(), headers={**wrong, **headers}).status


def adapted(folder: Path, authority: Authority, *, server: int, https: int, http: int) -> str:
    """The recipe with this test's names, ports and files in the place of the example's. Nothing else is touched."""
    leaf = authority.leaf("login.test")
    text = RECIPE.read_text()
    for old, new in (
        (
            "login.example.org;\n    return 301 https://login.example.org",
            f"login.test;\n    return 301 https://login.test:{https}",
        ),
        ("/etc/letsencrypt/live/login.example.org/fullchain.pem", str(leaf.certificate)),
        ("/etc/letsencrypt/live/login.example.org/privkey.pem", str(leaf.key)),
        ("login.example.org", "login.test"),
        ("127.0.0.1:8000", f"127.0.0.1:{server}"),
        ("    listen 80;\n    listen [::]:80;\n", f"    listen 127.0.0.1:{http};\n"),
        ("    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen 127.0.0.1:{https} ssl;\n"),
        ("/var/log/nginx/doorward.log", str(folder / "access.log")),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture
def front(start: Start, tmp_path: Path, authority: Authority) -> Iterator[Front]:
    server = start(limits="[limits]\nclient_failures_per_minute = 5\n")
    folder, https, plain = tmp_path / "nginx", free_port(), free_port()
    folder.mkdir()
    (folder / "site.conf").write_text(adapted(folder, authority, server=server.folder.port, https=https, http=plain))
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}} http {{ {places} include {folder}/site.conf; }}"
    )
    command = [program("nginx", "usr/sbin"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    running = subprocess.Popen(
        [program("setpriv"), "--pdeathsig", "TERM", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(https)
        yield Front(server, folder, https, plain, ssl.create_default_context(cafile=str(authority.ca)))
    finally:
        running.terminate()
        running.wait(20)


def test_visitors_count_one_by_one_and_nobody_can_pretend_to_be_another(front: Front) -> None:
    """What a visitor writes into forwarding headers is overwritten by nginx (catalogue 128, 142, 143)."""
    assert [front.guess("127.0.0.2") for _ in range(7)][-1] == 429
    assert front.guess("127.0.0.3") == 401
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "x_forwarded_for", "X-Client-IP", "True-Client-IP"):
        assert front.guess("127.0.0.2", **{name: "for=198.51.100.7" if name == "Forwarded" else "198.51.100.7"}) == 429
    assert front.guess("127.0.0.2", **{"X-Forwarded-For": "a"}) == 429


def test_who_comes_round_the_proxy_speaks_for_nobody_but_this_machine(front: Front) -> None:
    """The header counts from the proxy's address only; there the last hop does (catalogue 143)."""
    assert front.server.get("/healthz").status == 200
    status = [
        front.server.ask(
            "POST", "/token", body=token_form(),
            headers={**token_headers("wrong-secret-0123456789abcdefgh"), "X-Forwarded-For": "203.0.113.1, 203.0.113.9"},
        ).status
        for _ in range(7)
    ]  # fmt: skip
    assert status[-1] == 429
    assert front.guess("127.0.0.4") == 401


def test_cookies_and_addresses_come_from_public_url(front: Front) -> None:
    """`__Host-` cookies and https addresses, although the server itself speaks plain http (catalogue 126, 143, 145)."""
    lies = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/evil"}
    begun = front.ask("GET", AUTHORIZE, headers=lies)
    assert begun.status == 303
    assert begun.headers["location"].startswith("/f/")
    assert begun.headers["set-cookie"].startswith("__Host-")
    assert "secure" in begun.headers["set-cookie"].lower()
    metadata = front.ask("GET", "/.well-known/openid-configuration", headers=lies)
    assert metadata.json()["token_endpoint"] == "https://login.test/token"
    assert b"evil" not in metadata.body
    assert "strict-transport-security" in front.ask("GET", "/help").headers


def test_another_host_is_not_answered_for(front: Front) -> None:
    """(catalogue 145)"""
    assert front.ask("GET", "/", host="evil.test").status == 421


def test_plain_http_leads_to_https_and_nowhere_else(front: Front) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.http, timeout=LIMIT)
    connection.request("GET", "/help?a=b", headers={"Host": "evil.test"})
    response = connection.getresponse()
    assert (response.status, response.getheader("location")) == (301, f"https://login.test:{front.https}/help?a=b")
    response.read()
    connection.close()


def test_the_proxy_writes_down_no_query(front: Front) -> None:
    """A code or state in its log would be as good as a key (catalogue 152)."""
    front.ask("GET", AUTHORIZE)
    log = front.folder / "access.log"
    end = time.monotonic() + LIMIT
    while "/authorize" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert '"GET /authorize" 303' in log.read_text()
    assert "canary-4471" not in log.read_text() + front.server.log


def test_what_is_too_large_is_stopped_at_the_door(front: Front) -> None:
    """(catalogue 181)"""
    assert front.ask("POST", "/token", body=b"a" * 300_000).status == 413
    assert front.ask("GET", "/help", headers={"Cookie": "a=" + "b" * 6_000}).status == 200


def test_requests_that_two_servers_could_read_differently_are_refused(front: Front) -> None:
    """(catalogue 183)"""
    for lines in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ):
        plain = socket.create_connection(("127.0.0.1", front.https), LIMIT)
        with front.tls.wrap_socket(plain, server_hostname="login.test") as wire:
            wire.sendall(b"POST /token HTTP/1.1\r\nHost: login.test\r\n" + lines)
            first = wire.recv(64)
        assert first.split()[1] in {b"400", b"501"}, lines


def test_nobody_notices_that_the_server_reads_its_configuration_again(front: Front) -> None:
    """nginx keeps connections open; none of them is closed under a request (catalogue 179)."""
    ended = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        while not ended.is_set():
            answers.append(front.ask("GET", "/jwks").status)
            time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        front.server.folder.write(brand="Second Brand")
        front.server.reload()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 10
    assert set(answers) == {200}


def test_caddys_recipe_says_the_same_as_nginxs() -> None:
    """One header says who asks, written by the proxy; nothing of the visitor's goes through; no log of addresses."""
    lines = [line.strip() for line in (ROOT / "config/deploy/Caddyfile").read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "login.example.org {"
    assert "header_up X-Forwarded-For {remote_host}" in lines
    assert {"header_up -Forwarded", "header_up -X-Real-Ip"} <= set(lines)
    assert "reverse_proxy 127.0.0.1:8000 {" in lines
    assert not any(line.split()[0] == "log" for line in lines)
    assert sum(line.count("{") - line.count("}") for line in lines) == 0


def _wait_for(port: int) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)

"""Software that knows no OpenID Connect behind a real nginx and a real Caddy with the recipes, in Chromium: it names who signed in."""

from __future__ import annotations

import html
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town, open_town
from tests.serve.guarded import HOST, RECIPES
from tests.software.printed import add
from tests.software.proxies import in_front, without_tls
from tests.support.chromium import Chromium
from tests.support.servers import free_port
from tests.support.tls import Authority

pytestmark = pytest.mark.browser


class Software(BaseHTTPRequestHandler):
    """Believes the headers of its proxy."""

    def do_GET(self) -> None:
        name, user = (
            self.headers.get(header, "").encode("latin-1").decode() for header in ("Remote-Name", "Remote-User")
        )
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title><h1>Notes of {html.escape(user)}</h1>'
        body = f"{page}<p>{html.escape(name)}</p>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name the base class has
        """Say nothing."""


@contextmanager
def software() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Software) as server, running(server):
        yield server.server_address[1]


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize("proxy", list(RECIPES))
def test_the_software_behind_a_proxy_names_who_signed_in(
    proxy: str, tmp_path: Path, chromium: Chromium, authority: Authority
) -> None:
    """What a browser sends of itself under the same names reaches nobody; signing out with us is signing out there."""
    port = free_port()
    site = f"https://{HOST}:{port}/"

    def prepare(town: Town, config: Path) -> None:
        add(config, "notes", software=proxy, title="Club Notes", url=site)
        (config / "conf.d" / "50-proxy.toml").write_text('[broker]\ntrusted_proxies = ["127.0.0.1"]\n')

    folder = tmp_path / "proxy"
    folder.mkdir()
    chromium.hosts[HOST] = port
    context = authority.client_context()
    with ExitStack() as stack:
        town = stack.enter_context(open_town(tmp_path / "town", chromium, authority, prepare=prepare))
        plain = stack.enter_context(without_tls(town.ports["broker"], context))
        command = RECIPES[proxy](folder, authority, https=port, doorward=plain, site=stack.enter_context(software()))
        stack.enter_context(in_front(command, folder, port))
        visitor = stack.enter_context(town.visitor(checked=False))
        page = visitor.page
        visitor.open(f"{site}boats")
        visitor.meet("Sign in to Club Notes")
        visitor.be("normal")
        visitor.sign_up("ana")
        visitor.meet("Share these with Club Notes?")
        visitor.tick("Share: Display name")
        visitor.press("Share and continue")
        expect(page.get_by_role("heading", level=1)).to_have_text("Notes of ana")
        visitor.person.context.set_extra_http_headers({"Remote-User": "admin", "Remote_Name": "admin"})
        visitor.open(f"{site}boats")
        expect(page.get_by_role("heading", level=1)).to_have_text("Notes of ana")
        expect(page.get_by_text("Ana Marković")).to_be_visible()
        visitor.person.context.set_extra_http_headers({})

        visitor.open(town.login + "/signout")
        page.locator("button[value=everything]").click()
        visitor.meet("You are signed out")
        visitor.open(f"{site}boats")
        visitor.meet("Sign in to Club Notes")

"""Software that knows no OpenID Connect behind a real nginx and a real Caddy with the recipes, in Chromium: it names who signed in."""

from __future__ import annotations

import asyncio
import html
import os
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.town import HOSTS, Town, open_town
from tests.serve.guarded import HOST, RECIPES
from tests.software.apache import wait_for
from tests.software.printed import add
from tests.support.chromium import Chromium
from tests.support.servers import free_port, program
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
def without_tls(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """The town's Doorward once more, as proxies on its own machine reach it.

    One thread for everything: two threads must not read and write one TLS connection at once.
    """

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOSTS["broker"])
        try:
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        finally:
            there[1].transport.abort()
            writer.transport.abort()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(relay, "127.0.0.1", 0), loop).result(10)
        yield server.sockets[0].getsockname()[1]
        asyncio.run_coroutine_threadsafe(stopped(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """What comes from one side goes to the other, until it ends; then both end, since TLS cannot end by halves."""
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def stopped(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)


@contextmanager
def in_front(command: list[str], folder: Path, port: int) -> Iterator[None]:
    own = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        proxy = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "TERM", *command], stdout=output, stderr=output, env=own
        )
    try:
        wait_for(port, proxy, folder / "output")
        yield
    finally:
        proxy.terminate()
        proxy.wait(30)


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

"""A site behind a real proxy with the recipe of `config/deploy`: nginx or Caddy in front, a whole Doorward beside it.

The site's own server knows nothing of Doorward: it writes down which headers reach it, each line as it came.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import httpx2
from tests.serve.rig import LIMIT
from tests.support.house import SITES_TOML, Browser, House, Sandboxes, Shown, open_house
from tests.support.sandbox import served_here
from tests.support.servers import free_port, program
from tests.support.source import ROOT
from tests.support.tls import Authority

HOST: Final = "guarded.test"
DEPLOY: Final = ROOT / "config" / "deploy"
SITE: Final = """
[notes]
name = "Notes"
url = "https://%(host)s:%(port)d/"
redirect_uris = ["https://%(host)s:%(port)d/.doorward/callback"]
auth_method = "none"
forward_auth = true
signing_algorithm = "ES256"

[notes.asks.preferred_username]
use = "needed"
why = { en = "Notes are signed with it.", fr = "Les notes en sont signées." }

[notes.asks.name]
use = "optional"
why = { en = "Shown beside your notes.", fr = "Affiché à côté." }
"""


@dataclass
class Behind:
    """The site's own server."""

    port: int
    requests: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)

    def last(self) -> list[tuple[str, str]]:
        """The headers of the newest request, in lower case."""
        return [(name.lower(), value) for name, value in self.requests[-1][2]]

    def named(self) -> dict[str, list[str]]:
        """What the newest request says of who sent it, each spelling that some server reads as the same taken as one."""
        found: dict[str, list[str]] = {}
        for name, value in self.last():
            plain = name.replace("_", "-")
            if plain.startswith(("remote-", "x-login-")) and value:
                found.setdefault(plain, []).append(value)
        return found


@contextmanager
def behind() -> Iterator[Behind]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            site.requests.append((self.command, self.path, list(self.headers.items())))
            body = b"" if self.command == "HEAD" else json.dumps({"path": self.path}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_HEAD = do_OPTIONS = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Behind(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def nginx(
    folder: Path, authority: Authority, *, https: int, doorward: int, site: int, host: str = HOST, client: str = "notes"
) -> list[str]:
    """The recipe with this test's names, ports and files; nothing else is touched. The command that starts it."""
    leaf = authority.leaf(host)
    text = _changed(
        DEPLOY / "forward-auth.nginx.conf",
        ("client=wiki", f"client={client}"),
        ("/etc/letsencrypt/live/wiki.example.org/fullchain.pem", str(leaf.certificate)),
        ("/etc/letsencrypt/live/wiki.example.org/privkey.pem", str(leaf.key)),
        ("wiki.example.org", host),
        ("127.0.0.1:8000", f"127.0.0.1:{doorward}"),
        ("127.0.0.1:8080", f"127.0.0.1:{site}"),
        ("    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen 127.0.0.1:{https} ssl;\n"),
        ("/var/log/nginx/wiki.log", str(folder / "access.log")),
    )
    (folder / "site.conf").write_text(text)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}} http {{ {places} include {folder}/site.conf; }}"
    )
    command = [program("nginx", "usr/sbin"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    return command


def caddy(folder: Path, authority: Authority, *, https: int, doorward: int, site: int) -> list[str]:
    """The same for Caddy, which would fetch a certificate for a real name."""
    leaf = authority.leaf(HOST)
    text = _changed(
        DEPLOY / "forward-auth.Caddyfile",
        ("client=wiki", "client=notes"),
        ("wiki.example.org {", f"https://{HOST}:{https} {{\n\ttls {leaf.certificate} {leaf.key}\n"),
        ("127.0.0.1:8000", f"127.0.0.1:{doorward}"),
        ("127.0.0.1:8080", f"127.0.0.1:{site}"),
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}}\n{text}")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _changed(recipe: Path, *changes: tuple[str, str]) -> str:
    text = recipe.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


Recipe = Callable[..., list[str]]
RECIPES: Final[Mapping[str, Recipe]] = {"nginx": nginx, "caddy": caddy}


class _Loopback(httpx2.AsyncBaseTransport):
    """`guarded.test` is this machine; the certificate is checked against the tests' authority."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=tls)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        there = httpx2.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers.raw,
            content=await request.aread(),
            extensions={**request.extensions, "sni_hostname": HOST},
        )
        return await self._inner.handle_async_request(there)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Visitor(Browser):
    """A browser that reaches the guarded site as well."""

    def __init__(self, house: House, origin: str, tls: ssl.SSLContext) -> None:
        super().__init__(house, origin)
        self.origin, self._tls = origin, tls

    async def send(self, method: str, url: str, *, data: Any = None, headers: Any = None) -> httpx2.Response:
        if not url.startswith(f"{self.origin}/"):
            return await super().send(method, url, data=data, headers=headers)
        return await self.ask(method, url.removeprefix(self.origin), headers={"Sec-Fetch-Mode": "navigate", **headers})

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | list[tuple[str, str]] = {}, cookies: bool = True
    ) -> httpx2.Response:
        """One request to the site, as a program sends it that says nothing of itself; follows nothing."""
        jar = self.jar if cookies else httpx2.Cookies()
        pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
        async with httpx2.AsyncClient(transport=_Loopback(self._tls), cookies=jar, timeout=LIMIT) as client:
            response = await client.request(method, f"{self.origin}{path}", headers=pairs)
            if cookies:
                self.jar = client.cookies
        self.history.append(response)
        return response


@dataclass
class Guarded:
    """Everything together."""

    house: House
    site: Behind
    origin: str
    tls: ssl.SSLContext
    folder: Path
    doorward: int

    def visitor(self) -> Visitor:
        return Visitor(self.house, self.origin, self.tls)

    async def member(self, page: str = "/", **more: Any) -> Visitor:
        """Somebody who opened a page, made an account, shared what the site asks, and is back at the page."""
        visitor = self.visitor()
        chooser = await visitor.go(f"{self.origin}{page}")
        assert isinstance(chooser, Shown), chooser
        assert chooser.path.endswith("/sign-in"), chooser.text
        await visitor.choose()
        await visitor.press("decision=continue")
        share = await visitor.press("decision=create", fill={"preferred_username": "zoe"})
        assert isinstance(share, Shown), share
        assert share.path.endswith("/site"), share.text
        await visitor.press("decision=share", **more)
        return visitor


@asynccontextmanager
async def guarded(folder: Path, sandboxes: Sandboxes, authority: Authority, recipe: Recipe) -> AsyncIterator[Guarded]:
    """Start all of it; the proxy ends with the test, however that ends."""
    https, place = free_port(), folder / "proxy"
    place.mkdir()
    sites = SITES_TOML + SITE % {"host": HOST, "port": https}
    trusted = {"trusted_proxies": (ip_network("127.0.0.1"),)}
    with behind() as site:
        async with (
            open_house(folder, sandboxes, sites=sites, change=trusted) as house,
            served_here(house.app) as doorward,
        ):
            command = recipe(place, authority, https=https, doorward=doorward, site=site.port)
            own = {**os.environ, "HOME": str(place), "XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
            with (place / "output").open("wb") as output:
                running = subprocess.Popen(
                    [program("setpriv"), "--pdeathsig", "TERM", *command], stdout=output, stderr=output, env=own
                )
            try:
                await _wait_for(https, running, place / "output")
                tls = ssl.create_default_context(cafile=str(authority.ca))
                yield Guarded(house, site, f"https://{HOST}:{https}", tls, place, doorward)
            finally:
                running.terminate()
                await asyncio.to_thread(running.wait, 30)


async def _wait_for(port: int, running: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert running.poll() is None, output.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(f"the proxy does not listen\n{output.read_text()}")

"""A Doorward on a real socket behind TLS, the Node programs that are its community sites, and a browser for both.

    async with on_the_wire(tmp_path, sandboxes, authority) as town:
        ana = await town.visitor("ana")
        flow = await town.start_flow("node")

The certificate is signed by the tests' own authority; the Node programs are told that authority by NODE_EXTRA_CA_CERTS
and know no other way to trust anybody.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

import httpx2
import uvicorn
from starlette.types import ASGIApp
from tests.support.house import DOORWARD_TOML, SITES_TOML, Browser, House, Sandboxes, open_house, site_secret
from tests.support.servers import free_port, program
from tests.support.source import ROOT
from tests.support.tls import Authority, Leaf
from tests.web.desk import member

FLOW: Final = ROOT / "tests/node/flow.mjs"
SITE: Final = ROOT / "broker/verify/examples/node/site.mjs"
LIMIT: Final = 40.0
"""Seconds that a Node program may take on a machine shared with others."""
NODE_SITES: Final = (
    SITES_TOML
    + """
[node]
name = "Node Site"
url = "https://node.test"
redirect_uris = ["https://node.test/callback"]
post_logout_redirect_uris = ["https://node.test/", "https://node.test/callback"]
client_secret = { env = "NODE_SECRET" }
signing_algorithm = "ES256"
session_token = true

[node.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }

[node.asks.email]
use = "optional"
audience = "admins"
why = { en = "To write to you.", fr = "Pour vous écrire." }
"""
)


class _Server(uvicorn.Server):
    """uvicorn in the test's own loop, without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: ASGIApp, leaf: Leaf, port: int) -> AsyncIterator[None]:
    """Serve a running application over TLS until the block ends."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=str(leaf.certificate),
        ssl_keyfile=str(leaf.key),
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(LIMIT):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            await running


class Visitor(Browser):
    """A browser that reaches the broker over the network, and trusts the tests' authority alone."""

    def __init__(self, house: House, base: str, context: ssl.SSLContext) -> None:
        super().__init__(house)
        self.base, self.context = base, context

    async def send(
        self,
        method: str,
        url: str,
        *,
        data: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        async with httpx2.AsyncClient(verify=self.context, cookies=self.jar, timeout=LIMIT) as client:
            form = None if data is None else dict(data)
            response = await client.request(method, url, data=form, headers={**self.headers, **(headers or {})})
            self.jar = client.cookies
        self.history.append(response)
        assert response.status_code != 500, self.house.log[-3000:]
        return response

    def _is_known(self, url: str) -> bool:
        return url.startswith(f"{self.base}/")


@dataclass
class NodeProgram:
    """One running Node program."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    async def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT):
            line = (await self.process.stdout.readline()).decode()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError((await self.process.stderr.read()).decode()[-2000:])
        return line

    async def said(self) -> dict[str, Any]:
        return dict(json.loads(await self.line()))

    async def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


@dataclass
class Town:
    """The broker on the wire."""

    house: House
    base: str
    authority: Authority

    async def visitor(self, name: str) -> Visitor:
        """A browser in which that person is signed in."""
        signed_in = await member(self.house, name)
        visitor = Visitor(self.house, self.base, self.authority.client_context())
        for cookie, value in signed_in.cookies.items():
            visitor.jar.set(cookie, value, domain="127.0.0.1", path="/")
        return visitor

    @asynccontextmanager
    async def node(
        self, *words: str, trusting: bool = True, environ: Mapping[str, str] | None = None
    ) -> AsyncIterator[NodeProgram]:
        """Run a Node program; its environment holds what it needs and nothing else."""
        own = {"PATH": os.environ["PATH"], **(self.authority.environment() if trusting else {}), **(environ or {})}
        process = await asyncio.create_subprocess_exec(
            program("node"),
            *words,
            env=own,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        running = NodeProgram(process)
        try:
            yield running
        finally:
            await running.end()

    def flow(self, name: str, *, trusting: bool = True) -> Any:
        """One sign-in by `openid-client`, judged by `jose`: see tests/node/flow.mjs."""
        redirect = f"https://{name}.test/callback"
        return self.node(str(FLOW), self.base, name, site_secret(name), redirect, trusting=trusting)

    @asynccontextmanager
    async def site(self, name: str = "node") -> AsyncIterator[NodeSite]:
        """The example site of the sign-in kit, as it is shown to people who write sites in Node."""
        port = free_port()
        environ = {
            "ISSUER": self.base,
            "CLIENT_ID": name,
            "CLIENT_SECRET": site_secret(name),
            "PORT": str(port),
            "PUBLIC_URL": f"https://{name}.test",
        }
        async with self.node(str(SITE), environ=environ) as running:
            assert "is ready" in await running.line()
            yield NodeSite(f"http://127.0.0.1:{port}", f"https://{name}.test")


@dataclass
class NodeSite:
    """The site as seen through whatever ends TLS in front of it."""

    inside: str
    outside: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, url: str, **headers: str) -> httpx2.Response:
        """One request of a browser that keeps this site's cookies."""
        path = url.removeprefix(self.outside)
        named = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        async with httpx2.AsyncClient(timeout=LIMIT) as client:
            answer = await client.request(method, self.inside + path, headers=named)
        for line in answer.headers.get_list("set-cookie"):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return answer


@asynccontextmanager
async def on_the_wire(
    folder: Path,
    sandboxes: Sandboxes,
    authority: Authority,
    *,
    sites: str = NODE_SITES,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Town]:
    """A Doorward over https on loopback."""
    port = free_port()
    base = f"https://127.0.0.1:{port}"
    doorward = DOORWARD_TOML.replace("https://login.test", base)
    environ = {"NODE_SECRET": site_secret("node"), **(environ or {})}
    async with open_house(folder, sandboxes, doorward=doorward, sites=sites, environ=environ) as house:
        async with listening(house.app, authority.leaf("127.0.0.1"), port):
            yield Town(house, base, authority)

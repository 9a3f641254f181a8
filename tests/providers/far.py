"""A Facebook emulator elsewhere: another program, other host names, TLS under a private authority.

Doorward knows it only by what an admin writes down: `providers.toml`, and the exact `host:port` it may call.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support.house import DOORWARD_TOML, ISSUER, SECRETS, Browser, House, Sandboxes, open_house
from tests.support.servers import free_port
from tests.support.tls import Authority, names_on_loopback

APP: Final = "2026000000000077"
SECRET: Final = "secret-of-the-far-app-0123456789"
DIALOG_HOST, GRAPH_HOST = "www.facebook.test", "graph.facebook.test"
START_WITHIN: Final = 30.0

PROVIDERS: Final = """
[facebook]
kind = "facebook"
label = "Facebook"
client_id = "@APP@"
client_secret = { env = "FAR_SECRET" }
fields = ["name", "email", "picture", "given_name", "family_name", "birthdate"]
host = "www.facebook.test"
privacy_policy_url = "https://www.facebook.test:@PORT@/privacy"

[facebook.endpoints]
authorization = "https://www.facebook.test:@PORT@/v26.0/dialog/oauth"
graph = "https://graph.facebook.test:@PORT@"
"""
EGRESS: Final = """
[egress."graph.facebook.test:@PORT@"]
ca_file = "@CA@"
"""


@dataclass(frozen=True)
class Far:
    """The running emulator."""

    port: int
    authority: Authority

    @property
    def dialog(self) -> str:
        return f"https://{DIALOG_HOST}:{self.port}"

    @property
    def graph(self) -> str:
        return f"https://{GRAPH_HOST}:{self.port}"

    def filled(self, text: str) -> str:
        for name, value in {"@PORT@": str(self.port), "@APP@": APP, "@CA@": str(self.authority.ca)}.items():
            text = text.replace(name, value)
        return text

    def client(self, **more: Any) -> httpx2.AsyncClient:
        """Trusts the private authority and nothing else."""
        return httpx2.AsyncClient(verify=self.authority.client_context(), timeout=20, **more)

    async def order(self, **orders: Any) -> dict[str, Any]:
        async with self.client() as client:
            answer = await client.post(f"{self.graph}/__emu__", json=orders)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def log(self) -> list[dict[str, Any]]:
        async with self.client() as client:
            return list((await client.get(f"{self.graph}/__emu__/log")).json()["entries"])


@contextmanager
def running_far(authority: Authority, folder: Path) -> Iterator[Far]:
    """Start the program and wait until it answers; end it afterwards."""
    far, leaf = Far(free_port(), authority), authority.leaf(GRAPH_HOST, DIALOG_HOST)
    secret = folder / "far.secret"
    secret.write_text(SECRET, encoding="utf-8")
    command = [
        sys.executable, "-m", "providers.sandbox.facebook", "--port", str(far.port), "--app-id", APP,
        "--app-secret-file", str(secret), "--redirect-uri", f"{ISSUER}/callback/facebook", "--require-proof",
        "--enforce-https", "--base-url", far.graph, "--tls-certificate", str(leaf.certificate), "--tls-key", str(leaf.key),
    ]  # fmt: skip
    environment = {**os.environ, "DOORWARD_MODE": "development"}
    log = (folder / "far.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    log.close()
    try:
        with names_on_loopback():
            _wait(far, process, folder / "far.log")
            yield far
    finally:
        process.terminate()
        process.wait(10)


def _wait(far: Far, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    handler = urllib.request.HTTPSHandler(context=far.authority.client_context())
    opener = urllib.request.build_opener(handler, urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"{far.graph}/", timeout=2):
                return
        except (urllib.error.URLError, ssl.SSLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the emulator did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)


class FarBrowser(Browser):
    """The same browser, with the private authority installed, for whom the emulator's hosts are the provider."""

    def __init__(self, house: House, far: Far) -> None:
        super().__init__(house)
        self.far = far
        self.forum = house.site("forum")
        """The site this person comes from."""

    def _is_known(self, url: str) -> bool:
        return super()._is_known(url) or self._is_far(url)

    def _is_far(self, url: str) -> bool:
        return url.startswith((f"{self.far.dialog}/", f"{self.far.graph}/"))

    async def send(
        self,
        method: str,
        url: str,
        *,
        data: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        if not self._is_far(url):
            return await super().send(method, url, data=data, headers=headers)
        async with self.far.client(cookies=self.jar) as client:
            response = await client.request(
                method, url, data=dict(data or ()) or None, headers={**self.headers, **(headers or {})}
            )
            self.jar = client.cookies
        self.history.append(response)
        return response


@asynccontextmanager
async def house_beside(far: Far, folder: Path, sandboxes: Sandboxes, **more: Any) -> AsyncIterator[House]:
    """A Doorward in production mode: its usual `doorward.toml` with one address to call, and another `providers.toml`."""
    doorward = DOORWARD_TOML.replace('mode = "development"', 'mode = "production"')
    doorward = (
        doorward.partition('[egress."%(facebook_host)s"]')[0] + doorward.partition('[egress."%(openid_host)s"]')[2]
    )
    environ = {"FAR_SECRET": SECRET, **SECRETS}
    async with open_house(
        folder,
        sandboxes,
        doorward=doorward + far.filled(EGRESS),
        providers=far.filled(PROVIDERS),
        environ=environ,
        **more,
    ) as house:
        yield house

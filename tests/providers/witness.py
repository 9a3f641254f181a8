"""npm `oidc-provider` as an upstream: real provider software of somebody else, over TLS under a private authority."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2
from tests.support.house import ISSUER
from tests.support.servers import free_port, program
from tests.support.tls import Authority, names_on_loopback

HOST: Final = "openid.test"
CLIENT: Final = "doorward"
SECRET: Final = "secret of the witness: with % odd + characters"
REDIRECT: Final = f"{ISSUER}/callback/witness"
LOGOUT: Final = f"{ISSUER}/hooks/witness/logout"
SCRIPT: Final = Path(__file__).parents[1] / "node" / "provider.mjs"
MOST_HOPS: Final = 12


@dataclass(frozen=True)
class Witness:
    """The running provider."""

    port: int
    hook_port: int
    """Where whoever is to hear of sign-outs has to listen, over TLS."""
    authority: Authority
    process: subprocess.Popen[str]

    @property
    def issuer(self) -> str:
        return f"https://{HOST}:{self.port}"

    def rotate(self) -> None:
        """Sign with a new key and publish no other. Everything it remembered is gone too."""
        assert self.process.stdin is not None
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()
        self.wait_for("rotated")

    def wait_for(self, word: str) -> None:
        """Until it prints this line; it prints notices of its own between."""
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) != f"{word}\n":
            assert line, f"oidc-provider ended before it said {word!r}"

    def browser(self) -> httpx2.AsyncClient:
        """A browser that keeps its session there."""
        return httpx2.AsyncClient(verify=self.authority.client_context(), timeout=20, follow_redirects=False)

    async def sign_in(
        self, url: str, name: str, *, cancel: bool = False, there: httpx2.AsyncClient | None = None
    ) -> str:
        """A browser's way through its pages as this person; the address it sends the browser back to."""
        if there is None:
            async with self.browser() as fresh:
                return await self.sign_in(url, name, cancel=cancel, there=fresh)
        answer = await there.get(url)
        for _ in range(MOST_HOPS):
            target = answer.headers.get("location")
            if target is not None:
                target = urljoin(str(answer.url), target)
                if not target.startswith(f"{self.issuer}/"):
                    return target
                answer = await there.get(target)
                continue
            page = _Page.of(answer)
            if cancel:
                answer = await there.get(urljoin(str(answer.url), page.abort))
                continue
            data = {**page.fields, **({"login": name, "password": "any"} if "login" in page.names else {})}
            answer = await there.post(urljoin(str(answer.url), page.action), data=data)
        raise AssertionError("redirects without end")

    async def sign_out(self, browser: httpx2.AsyncClient, url: str = "") -> str:
        """At the provider, by its own page, or sent there; where it leads to once it has told whom it tells."""
        page = _Page.of(await browser.get(url or f"{self.issuer}/session/end"))
        answer = await browser.post(urljoin(self.issuer, page.action), data={**page.fields, "logout": "yes"})
        assert answer.status_code == 303, answer.text[:500]
        return answer.headers["location"]


class _Page(HTMLParser):
    """The one form of a development page, and its Cancel link."""

    def __init__(self) -> None:
        super().__init__()
        self.action, self.abort = "", ""
        self.fields: dict[str, str] = {}
        self.names: set[str] = set()

    @classmethod
    def of(cls, answer: httpx2.Response) -> _Page:
        assert answer.status_code == 200, answer.text[:500]
        page = cls()
        page.feed(answer.text)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found.get("action", "")
        elif tag == "a" and found.get("href", "").endswith("/abort"):
            self.abort = found["href"]
        elif tag == "input" and "name" in found:
            self.names.add(found["name"])
            if found.get("type") == "hidden":
                self.fields[found["name"]] = found.get("value", "")


@contextmanager
def running_witness(authority: Authority, **environment: Any) -> Iterator[Witness]:
    """Start it and wait until it answers; it ends when its standard input does."""
    port, hook_port, leaf = free_port(), free_port(), authority.leaf(HOST)
    command = [
        program("node"), str(SCRIPT), str(port), str(leaf.certificate), str(leaf.key), CLIENT, SECRET, REDIRECT,
        LOGOUT, str(hook_port),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **authority.environment(), **environment},
    )  # fmt: skip
    try:
        witness = Witness(port, hook_port, authority, process)
        witness.wait_for("ready")
        with names_on_loopback():
            yield witness
    finally:
        process.terminate()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

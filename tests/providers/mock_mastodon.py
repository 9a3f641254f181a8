"""`mastodon-mock` as an upstream: somebody else's stand-in for Mastodon, with its interface, its words and its faults.

What it proves is that our messages and its answers fit together. It checks neither PKCE, nor the address that people come
back to, nor a client's secret, nor what a token may be used for: that we send those rightly, `tests/support/mastodon_server.py`
asks for, which forgives no slip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2
from tests.software.apache import wait_for
from tests.support.servers import free_port, program
from tests.support.source import ROOT

PACKAGES: Final = ROOT / ".venv-mastodon"
PERSON: Final = "testuser"
"""Whom it knows when it is new: Test User."""
SCOPES: Final = ("profile", "write:statuses")


@dataclass(frozen=True)
class MockMastodon:
    """The running server."""

    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def call(self, method: str, path: str, **more: Any) -> Any:
        """What it answers to a request of its own control plane, or of anybody's."""
        answer = httpx2.request(method, self.url + path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def renew(self) -> None:
        """As when it started: one person, no statuses, no faults. Who was registered is forgotten."""
        self.call("POST", "/api/v1/_mock/reset")

    def register(self, redirect_uri: str) -> Mapping[str, str]:
        """The id and the secret that it gives to a program whose people come back to this address."""
        form = {"client_name": "Doorward", "redirect_uris": redirect_uri, "scopes": " ".join(SCOPES)}
        told = self.call("POST", "/api/v1/apps", data=form)
        return {name: told[name] for name in ("client_id", "client_secret")}

    def token(self) -> str:
        """One of this person's, for whatever they may do."""
        return str(self.call("POST", "/api/v1/_mock/login", json={"username": PERSON})["access_token"])

    def fault(self, effect: str, *, count: int = 1, path: str = "/api/v1/statuses", **more: Any) -> None:
        """Go wrong so, this often, where statuses are posted."""
        rule = {"match": {"methods": ["POST"], "path": path}, "effect": {"type": effect, **more}, "count": count}
        self.call("POST", "/api/v1/_mock/faults", json=rule)

    def statuses(self) -> list[dict[str, Any]]:
        """What the person posted, newest first."""
        bearer = {"Authorization": f"Bearer {self.token()}"}
        me = self.call("GET", "/api/v1/accounts/verify_credentials", headers=bearer)
        return list(self.call("GET", f"/api/v1/accounts/{me['id']}/statuses", headers=bearer))

    async def agree(self, url: str, person: str = PERSON) -> str:
        """On its page, which asks who is there: this person; the address that it sends the browser back to."""
        async with httpx2.AsyncClient() as browser:
            page = _Picker.of(await browser.get(url))
            assert person in page.people, page.people
            target = urljoin(url, page.action)
            answer = await browser.post(target, data={**page.fields, "username": person})
        assert answer.is_redirect, answer.text
        return str(answer.headers["location"])


class _Picker(HTMLParser):
    """Its one form, with a button for each person."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.people: list[str] = []

    @classmethod
    def of(cls, answer: httpx2.Response) -> _Picker:
        assert answer.status_code == 200, answer.text
        page = cls()
        page.feed(answer.text)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found["action"]
        elif tag == "input":
            self.fields[found["name"]] = found["value"]
        elif tag == "button":
            self.people.append(found["value"])


@contextmanager
def running_mastodon(folder: Path) -> Iterator[MockMastodon]:
    """Start it and wait until it answers. What it keeps is in its memory."""
    if not (PACKAGES / "mastodon_mock").exists():
        raise RuntimeError("mastodon-mock is missing; `make test` fetches what the tests need")
    server = MockMastodon(free_port())
    command = [
        program("setpriv"), "--pdeathsig", "TERM", sys.executable, "-P", "-m", "mastodon_mock", "serve", "--in-memory",
        "--host", "127.0.0.1", "--port", str(server.port), "--domain", server.host,
    ]  # fmt: skip
    log = folder / "mastodon.log"
    own = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=own, cwd=folder) as process,
    ):
        try:
            wait_for(server.port, process, log)
            yield server
        finally:
            process.kill()  # it would wait for the answers that a fault of its own holds back
            process.wait(10)

"""`@atproto/pds` as an upstream: the server that Bluesky's own people have, with a person whose account was made there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
from tests.support.servers import free_port, program

SCRIPT: Final = Path(__file__).parents[1] / "node" / "atproto" / "server.mjs"
HANDLE: Final = "ana.people.test"
PASSWORD: Final = "correct horse battery"
_PAGES: Final = "/@atproto/oauth-provider/~api"


@dataclass(frozen=True)
class Pds:
    """The running server."""

    port: int
    directory_port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def directory(self) -> str:
        """Where it is said which server a person is at."""
        return f"http://localhost:{self.directory_port}"

    def sign_up(self, handle: str = HANDLE, name: str = "Ana Marković") -> str:
        """Somebody gets an account there and fills in their profile; their DID."""
        made = self._call(
            "server.createAccount", {"email": f"{handle}@mail.test", "handle": handle, "password": PASSWORD}
        )
        did = str(made["did"])
        record = {"$type": "app.bsky.actor.profile", "displayName": name}
        profile = {"repo": did, "collection": "app.bsky.actor.profile", "rkey": "self", "record": record}
        self._call("repo.putRecord", profile, Authorization=f"Bearer {made['accessJwt']}")
        return did

    def rename(self, did: str, handle: str) -> None:
        """The person takes another handle there."""
        session = self._call("server.createSession", {"identifier": did, "password": PASSWORD})
        self._call("identity.updateHandle", {"handle": handle}, Authorization=f"Bearer {session['accessJwt']}")

    def _call(self, method: str, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        answer = httpx2.post(f"{self.url}/xrpc/com.atproto.{method}", json=body, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()) if answer.content else {}

    async def tokens(self, did: str) -> int:
        """How many tokens of this person are good."""
        async with httpx2.AsyncClient() as client:
            return int((await client.get(f"{self.directory}/tokens", params={"did": did})).text)

    async def agree(self, url: str, handle: str = HANDLE) -> str:
        """On its pages: the password, and yes; the address that it sends the browser back to."""
        return await self._decide(url, handle)

    async def refuse(self, url: str) -> str:
        """On its pages: no."""
        return await self._decide(url, "")

    async def _decide(self, url: str, handle: str) -> str:
        """What its script in a browser does. Its cookies are for https, which this is not: so they are carried by hand."""
        cookies: dict[str, str] = {}
        async with httpx2.AsyncClient(timeout=20) as browser:

            def keep(answer: httpx2.Response) -> httpx2.Response:
                for line in answer.headers.get_list("set-cookie"):
                    name, _, value = line.partition(";")[0].partition("=")
                    cookies[name] = value
                assert answer.status_code < 400, answer.text
                return answer

            def sent(site: str, mode: str, to: str) -> dict[str, str]:
                return {
                    "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Referer": url,
                    "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": to,
                }  # fmt: skip

            async def tell(page: str, body: Mapping[str, Any], **more: str) -> dict[str, Any]:
                headers = {
                    **sent("same-origin", "same-origin", "empty"), "Origin": self.url, "X-CSRF-Token": cookies["csrf-token"], **more,
                }  # fmt: skip
                return dict(keep(await browser.post(f"{self.url}{_PAGES}/{page}", json=body, headers=headers)).json())

            page = keep(await browser.get(url, headers=sent("cross-site", "navigate", "document")))
            assert "html" in page.headers["content-type"]
            if handle:
                known = await tell("sign-in", {"locale": "en", "username": handle, "password": PASSWORD})
                bearer = f"Bearer {known['ephemeralToken']}"
                end = await tell("consent", {"sub": known["account"]["sub"]}, Authorization=bearer)
            else:
                end = await tell("reject", {})
            gone = await browser.get(end["url"], headers=sent("same-origin", "navigate", "document"))
        assert gone.is_redirect, gone.text
        return str(gone.headers["location"])


@contextmanager
def running_pds(described: Mapping[str, Any], folder: Path) -> Iterator[Pds]:
    """Start it, told what we say of ourselves, and wait until it answers."""
    server = Pds(free_port(), free_port())
    command = [
        program("setpriv"), "--pdeathsig", "TERM", program("node"), str(SCRIPT), str(server.port), str(server.directory_port),
        str(folder), json.dumps(described),
    ]  # fmt: skip
    environment = {**os.environ, "LOG_ENABLED": "false"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=SCRIPT.parent, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n", "it did not start; `make test` fetches what the tests need"
            yield server
        finally:
            process.kill()

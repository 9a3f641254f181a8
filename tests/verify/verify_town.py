"""A real Doorward on a real socket, and a site that is nothing but the kit: no stand-in between the two.

async with kit_town(tmp_path, sandboxes, authority) as town:
    site = KitSite.of(town, mode="online")
    await site.sign_in(await town.visitor("ana"))
    assert await site.code() == "ok"
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from doorward_verify import SessionError, SignInKit
from doorward_verify.wire import Answer, Request
from tests.journeys.node_sites import NODE_SITES, Town, Visitor, listening
from tests.support.house import DOORWARD_TOML, Arrival, Sandboxes, open_house, site_secret
from tests.support.servers import free_port
from tests.support.tls import Authority

__all__ = ["KitSite", "kit_town"]

_SITES: Final = NODE_SITES.replace("forum.test/callback", "forum.test/_login/callback").replace(
    "node.test/callback", "node.test/_login/callback"
)
"""The forum signs with RS256, the other with ES256; both have session tokens."""


@asynccontextmanager
async def kit_town(folder: Path, sandboxes: Sandboxes, authority: Authority, **more: Any) -> AsyncIterator[Town]:
    """A Doorward over https on loopback, whose sites are the kit's."""
    port = free_port()
    base = f"https://127.0.0.1:{port}"
    doorward = DOORWARD_TOML.replace("https://login.test", base)
    environ = {"NODE_SECRET": site_secret("node")}
    async with open_house(folder, sandboxes, doorward=doorward, sites=_SITES, environ=environ, **more) as house:
        async with listening(house.app, authority.leaf("127.0.0.1"), port):
            yield Town(house, base, authority)


@dataclass
class KitSite:
    """One site and one browser's cookies there. The kit blocks, so it runs in a thread, as in an asyncio site."""

    kit: SignInKit
    cookies: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, town: Town, name: str = "forum", *, mode: Any = "local") -> Self:
        return cls(
            SignInKit(
                issuer=town.base,
                client_id=name,
                client_secret=site_secret(name),
                public_url=f"https://{name}.test",
                mode=mode,
                ssl_context=town.authority.client_context(),
            )
        )

    @property
    def token(self) -> str:
        return self.cookies[self.kit.cookies.session]

    async def ask(self, method: str, url: str, **headers: str) -> Answer:
        """A request for one of the kit's own addresses; a browser keeps what it sets."""
        parts = urlsplit(url)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = [("cookie", cookie), *((name.replace("_", "-"), value) for name, value in headers.items())]
        request = Request(method=method, path=parts.path, query=parts.query, headers=sent)
        answer = await asyncio.to_thread(self.kit.handle, request)
        for line in (value for name, value in answer.headers if name == "Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies.pop(name, None)
                if morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        return answer

    async def sign_in(self, visitor: Visitor) -> None:
        """The whole way, sharing nothing optional."""
        shown = await visitor.go(dict((await self.ask("GET", "/_login/start")).headers)["Location"])
        if not isinstance(shown, Arrival):
            shown = await visitor.press("decision=share")
        assert isinstance(shown, Arrival), shown
        answer = await self.ask("GET", shown.url)
        assert answer.status == 303, answer.body

    async def code(self, token: str | None = None) -> str:
        """What the site's verifier says of its browser's token."""
        try:
            await asyncio.to_thread(self.kit.verifier.verify, token or self.token)
        except SessionError as error:
            return error.code
        return "ok"

    def forget(self) -> None:
        """What was asked is asked again, as it is a minute later."""
        self.kit.verifier._asked.clear()
        for copy in self.kit.verifier.statuses._copies.values():
            copy.good_at -= 60

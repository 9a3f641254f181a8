"""A community site's ear: a real server on loopback that hears logout tokens and verifies them as a stranger would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.house import DOORWARD_TOML, ISSUER, SITES_TOML, House
from tests.support.sandbox import serve


@dataclass
class Ear:
    """What one site heard."""

    url: str = ""
    heard: list[str] = field(default_factory=list)
    fields: list[set[str]] = field(default_factory=list)
    """Names of what each message held."""
    answers: list[int] = field(default_factory=list)
    """What it answers next; 200 when there is nothing here."""

    @property
    def doorward(self) -> str:
        """The broker's settings, with this address allowed."""
        return f'[egress."{urlsplit(self.url).netloc}"]\n' + DOORWARD_TOML

    @property
    def sites(self) -> str:
        """The sites' settings, with the forum listening here."""
        return SITES_TOML.replace("https://forum.test/backchannel", f"{self.url}/backchannel")

    async def tokens(self, house: House, count: int) -> list[dict[str, Any]]:
        """Deliver what is due, and read `count` logout tokens with the published keys."""
        for _ in range(50):
            await house.opened.deliverer.once()
            if len(self.heard) >= count:
                break
            await asyncio.sleep(0.05)
        assert len(self.heard) == count, self.heard
        async with house.client() as client:
            keys = KeySet.import_key_set((await client.get("/jwks")).json())
        claims = []
        for text in self.heard:
            token = jwt.decode(text, keys, algorithms=["RS256", "ES256"])
            assert token.header["typ"] == "logout+jwt"
            claims.append(dict(token.claims))
        for told in claims:
            assert told["iss"] == ISSUER
            assert told["aud"] == "forum"
            assert "nonce" not in told
            assert told["exp"] - told["iat"] <= 120
            assert told["jti"]
            assert "http://schemas.openid.net/event/backchannel-logout" in told["events"]
        return claims


@contextmanager
def listening() -> Iterator[Ear]:
    ear = Ear()

    async def hear(request: Request) -> Response:
        form = await request.form()
        ear.fields.append(set(form))
        ear.heard.append(str(form["logout_token"]))
        return Response(status_code=ear.answers.pop(0) if ear.answers else 200)

    with serve(Starlette(routes=[Route("/backchannel", hear, methods=["POST"])])) as url:
        ear.url = url
        yield ear

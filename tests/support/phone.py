"""A site's app on a phone: it signs people in by Facebook's Limited Login and brings what the SDK gave it.

phone = Phone(house.site("app"))
made = await phone.sign_in("normal")                    what the SDK gives
url = await phone.brings(made)                          pushed; the address to open in the system's browser
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from tests.support.house import FACEBOOK_APP, ISSUER, Site

PATH = "/par/facebook/limited-login"


def s256(verifier: str) -> str:
    """The nonce for the SDK (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Made:
    """A token, and what only the app that asked for it knows."""

    token: str
    verifier: str


@dataclass
class Phone:
    """The app of one site."""

    site: Site

    async def sign_in(self, persona: str = "normal", *, scope: str = "public_profile email", **changes: str) -> Made:
        """Limited Login as this persona; `changes` replace what the SDK is told."""
        verifier = secrets.token_urlsafe(48)
        told = {"app_id": FACEBOOK_APP, "nonce": s256(verifier), "persona": persona, "scope": scope, **changes}
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"{self.site.house.facebook.url}/limited/login", data=told)
        assert answer.status_code == 200, answer.text
        return Made(answer.json()["authentication_token"], verifier)

    async def push(
        self, made: Made, *, form: Mapping[str, str | None] | None = None, **changes: str | None
    ) -> httpx2.Response:
        """What the endpoint answers to a good request, changed like that; `form` changes what stands beside it."""
        asked: dict[str, Any] = dict(parse_qsl(urlsplit(self.site.request_url(**changes)).query))
        asked |= {"id_token": made.token, "nonce_verifier": made.verifier, **(form or {})}
        is_public = self.site.name == "app"
        sent = {name: value for name, value in asked.items() if value is not None}
        return await self.site.post(PATH, sent, auth=not is_public)

    async def brings(self, made: Made, **changes: str | None) -> str:
        answer = await self.push(made, form=None, **changes)
        assert answer.status_code == 201, answer.text
        return self.url(answer.json()["request_uri"])

    def url(self, request_uri: str) -> str:
        return f"{ISSUER}/authorize?{urlencode({'client_id': self.site.name, 'request_uri': request_uri})}"

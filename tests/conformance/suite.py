"""What the conformance suite is in our tests: a client of its own, against a Doorward on the shipped configuration.

Requests by hand, tokens checked with joserfc, nothing imported from the broker. The person is the sandbox's Evren, who
has every standard claim and clicks as `config/conformance/suite.json` has it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.support.house import ISSUER, OPENID_SECRET, Arrival, Browser, House, Sandboxes, Shown, open_house
from tests.support.source import ROOT
from tests.support.tls import Authority

SHIPPED: Final = ROOT / "config" / "conformance"
PUBLIC: Final = "https://login.club.example"
PROVIDER: Final = "127.0.0.1:8011"
SITES: Final = (
    "conformance", "conformance-2", "conformance-post", "conformance-logout", "conformance-front", "conformance-back",
    "conformance-events", "conformance-push",
)  # fmt: skip
CALLBACK: Final = "https://suite.club.example:8443/test/a/doorward/callback"


def secret_of(client: str) -> str:
    return f"{client}-secret-0123456789abcdef"


def shipped(name: str, sandboxes: Sandboxes) -> str:
    """A file of the shipped configuration with the addresses that a reader replaces."""
    text = (SHIPPED / name).read_text(encoding="utf-8").replace(PUBLIC, ISSUER)
    return text.replace(PROVIDER, sandboxes.openid.host)


@asynccontextmanager
async def conformance(
    folder: Path,
    sandboxes: Sandboxes,
    authority: Authority,
    *,
    change: Callable[[str], str] = str,
    broker: Callable[[str], str] = str,
) -> AsyncIterator[House]:
    """A Doorward started from `config/conformance`; `change` puts keys into its sites, `broker` changes its own settings."""
    kept = folder / "config" / "secrets"
    kept.mkdir(parents=True, mode=0o700)
    texts = {f"{name}.secret": secret_of(name) for name in SITES}
    texts |= {"openid.secret": OPENID_SECRET, "suite-ca.pem": authority.ca.read_text()}
    texts["master.key"] = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    for name, text in texts.items():
        (kept / name).touch(mode=0o600)
        (kept / name).write_text(text)
    doorward, providers, sites = (shipped(f"{part}.toml", sandboxes) for part in ("doorward", "providers", "sites"))
    opening = open_house(folder, sandboxes, doorward=broker(doorward), providers=providers, sites=change(sites))
    async with opening as house:
        yield house


@dataclass
class Signed:
    """What one authorization came to."""

    answer: dict[str, str]
    tokens: dict[str, Any]
    header: dict[str, Any]
    claims: dict[str, Any]
    """Of the ID token, checked."""

    @property
    def access_token(self) -> str:
        return str(self.tokens["access_token"])


@dataclass
class Suite:
    """One client of the suite, and one browser."""

    house: House
    mode: str
    metadata: dict[str, Any]
    browser: Browser
    client: str = "conformance"
    steps: list[str] = field(default_factory=list)
    """Our pages that the last authorization showed."""

    @classmethod
    async def begin(cls, house: House, mode: str) -> Suite:
        async with house.client() as client:
            metadata = (await client.get("/.well-known/openid-configuration")).json()
        return cls(house, mode, metadata, house.browser())

    def another(self, client: str) -> Suite:
        return Suite(self.house, self.mode, self.metadata, self.house.browser(), client)

    # --- the authorization endpoint -------------------------------------------------------------------

    def request(self, **changes: str | None) -> dict[str, str]:
        """A request as the modules begin with it: no PKCE, a nonce and a state."""
        params: dict[str, str | None] = {
            "client_id": self.client,
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": secrets.token_urlsafe(12),
            "nonce": secrets.token_urlsafe(12),
            "response_type": "code",
            "response_mode": self.mode if self.mode != "query" else None,
            **changes,
        }
        return {name: value for name, value in params.items() if value is not None}

    async def authorize(self, params: dict[str, str], *, method: str = "GET") -> dict[str, str] | Shown:
        """Through every page that comes: the parameters of the answer, or the page that ends it."""
        endpoint, self.steps = self.metadata["authorization_endpoint"], []
        if method == "GET":
            end = await self.browser.go(f"{endpoint}?{urlencode(params)}")
        else:
            headers = {"Origin": "https://suite.club.example:8443", "Sec-Fetch-Site": "cross-site"}
            posted = await self.browser.send("POST", endpoint, data=list(params.items()), headers=headers)
            end = await self.browser._follow(posted)
        while isinstance(end, Shown):
            if (answer := self._posted(end)) is not None:
                return answer
            step = end.path.rpartition("/")[2]
            if not end.path.startswith("/f/"):
                return end
            self.steps.append(step)
            end = await self._click(step, end)
        assert self.mode == "query", "asked for a form, answered in the address"
        assert end.url.partition("?")[0] == params.get("redirect_uri", CALLBACK).partition("?")[0]
        return end.params

    async def _click(self, step: str, page: Shown) -> Shown | Arrival:
        if step == "sign-in":
            return await self.browser.choose("openid", "every-claim")
        if step == "details":
            return await self.browser.press("decision=continue")
        if step == "finish":
            return await self.browser.press("decision=create", fill={"preferred_username": "evren"})
        assert step == "site", f"{page.url}: {page.text[:300]}"
        boxes = {value for form in page.forms for values in form.boxes.values() for value in values}
        return await self.browser.press("decision=share", tick=sorted(boxes & {"offline_access"}))

    def _posted(self, page: Shown) -> dict[str, str] | None:
        """What a form to the callback holds (OAuth 2.0 Form Post Response Mode §2)."""
        for form in page.forms:
            if form.action == CALLBACK:
                assert self.mode == "form_post"
                assert form.method == "post"
                assert "?" not in form.action
                assert "location" not in page.response.headers
                return dict(form.fields)
        return None

    async def answered(self, **changes: str | None) -> dict[str, str]:
        """The answer, which has our state and name in it (RFC 9207)."""
        params = self.request(**changes)
        answer = await self.authorize(params)
        assert isinstance(answer, dict), answer.text
        assert (answer.get("state"), answer["iss"]) == (params.get("state"), ISSUER)
        return answer

    async def refused(self, **changes: str | None) -> str:
        """The error code of the answer, which is in order otherwise."""
        answer = await self.answered(**changes)
        assert "code" not in answer
        assert answer.keys() <= {"error", "error_description", "state", "iss"}
        return answer["error"]

    # --- the other endpoints --------------------------------------------------------------------------

    async def token(self, form: dict[str, str]) -> httpx2.Response:
        """The token endpoint, with the client's secret as it is registered."""
        secret, headers = secret_of(self.client), {}
        if self.client == "conformance-post":
            form = {**form, "client_id": self.client, "client_secret": secret}
        else:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.client}:{secret}".encode()).decode()
        async with self.house.client() as client:
            return await client.post(urlsplit(self.metadata["token_endpoint"]).path, data=form, headers=headers)

    async def redeem(self, code: str, **more: str) -> httpx2.Response:
        return await self.token({"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **more})

    async def sign_in(self, *, method: str = "GET", verifier: str = "", **changes: str | None) -> Signed:
        """The whole flow, with all that every module checks of it."""
        params = self.request(**changes)
        answer = await self.authorize(params, method=method)
        assert isinstance(answer, dict), answer.text
        assert "code" in answer, answer
        assert (answer.get("state"), answer["iss"]) == (params.get("state"), ISSUER)
        response = await self.redeem(answer["code"], **({"code_verifier": verifier} if verifier else {}))
        return await self.read(answer, response, params.get("nonce"))

    async def read(self, answer: dict[str, str], response: httpx2.Response, nonce: str | None) -> Signed:
        """A token endpoint's answer (OpenID Connect Core §3.1.3.3, §3.1.3.7)."""
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/json")
        assert "no-store" in response.headers["cache-control"]
        tokens = response.json()
        assert tokens["token_type"].lower() == "bearer"
        assert tokens["expires_in"] > 0
        read = jwt.decode(tokens["id_token"], await self.keys(), algorithms=["RS256"])
        header, claims = dict(read.header), dict(read.claims)
        now = self.house.clock.now().timestamp()
        assert claims["iss"] == self.metadata["issuer"] == ISSUER
        assert claims["aud"] in (self.client, [self.client])
        assert claims.get("azp", self.client) == self.client
        assert claims["iat"] - 5 <= now < claims["exp"]
        assert claims.get("nonce") == nonce
        half = sha256(tokens["access_token"].encode()).digest()[:16]
        assert claims["at_hash"] == base64.urlsafe_b64encode(half).decode().rstrip("=")
        assert 0 < len(claims["sub"]) <= 255
        return Signed(answer, tokens, header, claims)

    async def keys(self) -> KeySet:
        async with self.house.client() as client:
            return KeySet.import_key_set((await client.get(urlsplit(self.metadata["jwks_uri"]).path)).json())

    async def userinfo(self, signed: Signed, *, way: str = "get") -> dict[str, Any]:
        """The claims, about the person of the ID token (OpenID Connect Core §5.3)."""
        path, bearer = (
            urlsplit(self.metadata["userinfo_endpoint"]).path,
            {"Authorization": f"Bearer {signed.access_token}"},
        )
        async with self.house.client() as client:
            if way == "get":
                answer = await client.get(path, headers=bearer)
            elif way == "post-header":
                answer = await client.post(path, headers=bearer)
            else:
                answer = await client.post(path, data={"access_token": signed.access_token})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        claims = dict(answer.json())
        assert claims["sub"] == signed.claims["sub"]
        return claims

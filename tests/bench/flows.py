"""The operations that are measured, as a browser and a community site do them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from tests.bench.client import Answer, Broken, Browser, Connections

CLIENT: Final = "bench"
SECRET: Final = "bench-secret-bench-secret-bench-secret"
REDIRECT: Final = "http://127.0.0.1:9/cb"
SCOPE: Final = "openid profile email offline_access"
SERVICE_SCOPE: Final = "reports:read"
OPERATIONS: Final = (
    "login", "first", "repeat", "refresh", "introspect", "userinfo", "service", "jwks", "discovery",
)  # fmt: skip
_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<(input|button)\b([^>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([\w-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?""")
_BASIC = {"Authorization": "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()}


def attributes(text: str) -> dict[str, str]:
    return {found[0].lower(): html.unescape(found[1] or found[2] or found[3]) for found in _ATTRIBUTE.findall(text)}


@dataclass(frozen=True, slots=True)
class Form:
    """The first form of a page that has the wanted button or field."""

    action: str
    fields: list[tuple[str, str]]


def read_form(page: Answer, press: tuple[str, str] | None, fill: dict[str, str]) -> Form:
    """What a browser sends when that button is pressed, with the named fields filled in."""
    for tag, inner in _FORM.findall(page.text):
        fields: list[tuple[str, str]] = []
        found = press is None
        for kind, text in _TAG.findall(inner):
            given = attributes(text)
            name, value = given.get("name", ""), given.get("value", "")
            if kind.lower() == "button":
                if (name, value) == press:
                    found = True
                    fields.append((name, value))
            elif given.get("type") not in {"checkbox", "radio", "submit"} or "checked" in given:
                fields.append((name, fill.get(name, value)))
        if found:
            return Form(urljoin(page.url, attributes(tag).get("action") or page.url), fields)
    raise Broken(f"no form with {press} on {page.url} ({page.status}): {page.text[:300]}")


Answering = Callable[[Answer, str], Form]
"""Answers one page of a provider for one person."""


def answer_doorward(page: Answer, who: str) -> Form:
    """Doorward's pages: choose the provider, keep nothing optional, create, share what is needed."""
    step = urlsplit(page.url).path.rpartition("/")[2]
    if step == "sign-in":
        return read_form(page, ("provider", "up"), {})
    if step == "details":
        return read_form(page, ("decision", "continue"), {})
    if step == "finish":
        return read_form(page, ("decision", "create"), {"preferred_username": f"user{who}"})
    form = read_form(page, ("decision", "share"), {})
    return Form(form.action, [*form.fields, ("share", "offline_access")])


def answer_peer(page: Answer, who: str) -> Form:
    """oidc-provider's development pages: a name and any password, then a button."""
    return read_form(page, None, {"login": f"user{who}", "password": "pw"})


@dataclass(slots=True)
class Target:
    """One provider under measure."""

    issuer: str
    answer: Answering
    first_params: dict[str, str] = field(default_factory=dict)
    """What a request that must lead to all tokens adds."""
    metadata: dict[str, Any] = field(default_factory=dict)

    async def discover(self) -> None:
        browser = Browser(Connections())
        answer = await browser.get(f"{self.issuer}/.well-known/openid-configuration")
        self.metadata = _json(answer)
        browser.connections.close()


def _json(answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise Broken(f"{answer.url}: {answer.status} {answer.text[:300]}")
    return dict(json.loads(answer.body))


@dataclass(slots=True)
class Visit:
    """One person with one browser, and the site's server behind it."""

    target: Target
    connections: Connections
    who: str
    browser: Browser = field(init=False)
    site: Browser = field(init=False)
    tokens: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.browser, self.site = Browser(self.connections), Browser(self.connections, is_site=True)

    async def sign_in(self, scope: str = SCOPE, params: dict[str, str] | None = None) -> None:
        """From the site's request to its tokens and the person's claims, through whatever pages there are."""
        verifier, state = _random(32), _random(12)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = {
            "client_id": CLIENT, "redirect_uri": REDIRECT, "response_type": "code", "scope": scope, "state": state,
            "nonce": _random(12), "code_challenge": challenge, "code_challenge_method": "S256", "login_hint": self.who,
            **(params or {}),
        }  # fmt: skip
        code = await self._walk(f"{self.target.metadata['authorization_endpoint']}?{urlencode(request)}", state)
        form = [
            ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", verifier),
        ]  # fmt: skip
        self.tokens = _json(await self.site.post(self.target.metadata["token_endpoint"], form, _BASIC))
        if "id_token" not in self.tokens:
            raise Broken(f"no ID token: {sorted(self.tokens)}")
        await self.userinfo()

    async def _walk(self, url: str, state: str) -> str:
        answer = await self.browser.get(url)
        for _ in range(30):
            target = self.browser.target(answer)
            if target is None:
                form = self.target.answer(answer, self.who)
                answer = await self.browser.post(form.action, form.fields)
            elif target.startswith(REDIRECT):
                params = parse_qs(urlsplit(target).query)
                if params.get("state") != [state] or "code" not in params:
                    raise Broken(f"came back without a code: {target[:300]}")
                return params["code"][0]
            else:
                answer = await self.browser.get(target)
        raise Broken("too many steps")

    async def refresh(self) -> None:
        form = [("grant_type", "refresh_token"), ("refresh_token", self.tokens["refresh_token"])]
        self.tokens |= _json(await self.site.post(self.target.metadata["token_endpoint"], form, _BASIC))

    async def userinfo(self) -> None:
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        claims = _json(await self.site.get(self.target.metadata["userinfo_endpoint"], bearer))
        if "sub" not in claims:
            raise Broken(f"no subject: {sorted(claims)}")

    async def service(self) -> None:
        """A token of the site's own."""
        form = [("grant_type", "client_credentials"), ("scope", SERVICE_SCOPE)]
        found = _json(await self.site.post(self.target.metadata["token_endpoint"], form, _BASIC))
        if (found.get("scope"), "id_token" in found, "refresh_token" in found) != (SERVICE_SCOPE, False, False):
            raise Broken(f"not a token of the site's own: {sorted(found)}")

    async def introspect(self) -> None:
        form = [("token", self.tokens["access_token"])]
        found = _json(await self.site.post(self.target.metadata["introspection_endpoint"], form, _BASIC))
        if found.get("active") is not True:
            raise Broken("the token is not active")


def _random(size: int) -> str:
    return base64.urlsafe_b64encode(os.urandom(size)).rstrip(b"=").decode()


async def prepare(operation: str, target: Target, connections: Connections, who: str) -> Visit:
    """What has to be there before the clock starts: an account, a session, tokens."""
    visit = Visit(target, connections, who)
    if operation not in {"first", "service", "jwks", "discovery"}:
        await visit.sign_in(params=target.first_params)
    if operation == "refresh" and "refresh_token" not in visit.tokens:
        raise Broken("no refresh token was given")
    return visit


async def perform(operation: str, visit: Visit, fresh: str) -> None:
    """The operation once. `fresh`: somebody who was never here, for a first sign-in."""
    target = visit.target
    match operation:
        case "login":  # a fresh browser of a known person
            again = Visit(target, visit.connections, visit.who)
            await again.sign_in(params=target.first_params)
        case "first":
            await Visit(target, visit.connections, fresh).sign_in(params=target.first_params)
        case "repeat":  # session and consent stand: no page
            await visit.sign_in("openid profile email")
        case "refresh":
            await visit.refresh()
        case "introspect":
            await visit.introspect()
        case "userinfo":
            await visit.userinfo()
        case "service":
            await visit.service()
        case "jwks":
            _json(await visit.site.get(target.metadata["jwks_uri"]))
        case "discovery":
            _json(await visit.site.get(f"{target.issuer}/.well-known/openid-configuration"))
        case _:
            raise Broken(f"no such operation: {operation}")

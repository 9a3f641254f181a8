"""A whole Doorward in this process, and the people and sites that use it: real HTTP messages, no network but the sandboxes.

    async with open_house(tmp_path, sandboxes) as house:
        browser = house.browser()
        arrived = await browser.sign_up(house.site("forum"), user_name="zoe")
        tokens = await house.site("forum").redeem(arrived)

`house.world` is what handlers see, `house.clock` stands until moved, `house.log` is what was logged, and
`house.facebook` and `house.openid` steer the sandbox providers, which are real servers on loopback.

Fixtures: `sandboxes` (one pair for each test process, reset for each test) and `house` (three sites, memory stores).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from tests.support.sandbox import serve
from tests.support.watch import Watched

from broker.app import Opened, create_app
from broker.settings import Settings, load_settings
from broker.telemetry import Log, NoMetrics, Telemetry
from broker.web.world import World
from providers.sandbox import facebook as facebook_sandbox
from providers.sandbox import openid_connect as openid_sandbox

ISSUER: Final = "https://login.test"
FACEBOOK_APP: Final = "1000000000000001"
FACEBOOK_SECRET: Final = "facebook-secret-of-the-tests-0123"
OPENID_CLIENT: Final = "doorward"
OPENID_SECRET: Final = "openid-secret-of-the-tests-4567"
SITES: Final = ("forum", "wiki", "tracker")
MASTER_KEY: Final = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def site_secret(name: str) -> str:
    """What a site of the configuration proves itself with."""
    return f"{name}-secret-0123456789abcdef0123"


SECRETS: Final = {
    "MASTER_KEY": MASTER_KEY,
    "FACEBOOK_SECRET": FACEBOOK_SECRET,
    "OPENID_SECRET": OPENID_SECRET,
    **{f"{name.upper()}_SECRET": site_secret(name) for name in SITES},
}
"""The environment that the configuration takes its secrets from."""
MOST_HOPS: Final = 20
_PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: for plain HTTP to loopback, without reading the machine's authorities for each client."""


@dataclass
class HouseClock:
    """A clock that stands until it is told to move. It starts at the real time, which the sandboxes live in."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.at

    def move(self, by: timedelta | None = None, **span: float) -> None:
        """`move(minutes=5)`."""
        self.at += by if by is not None else timedelta(**span)


# --- sandboxes ----------------------------------------------------------------------------------------


@dataclass
class SandboxServer:
    """One sandbox provider: its address, its state, its control plane."""

    url: str
    app: Starlette

    @property
    def state(self) -> Any:
        return self.app.state.sandbox

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    async def order(self, **orders: Any) -> dict[str, Any]:
        """Steer it: `order(persona="normal")`, `order(fault={"name": …})`, `order(reset=True)`."""
        async with httpx2.AsyncClient(verify=_PLAIN) as client:
            answer = await client.post(f"{self.url}/__emu__", json=orders)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def log(self) -> list[dict[str, Any]]:
        """Every request it was asked, oldest first."""
        async with httpx2.AsyncClient(verify=_PLAIN) as client:
            answer = await client.get(f"{self.url}/__emu__/log")
        return list(answer.json()["entries"])


@dataclass
class Sandboxes:
    facebook: SandboxServer
    openid: SandboxServer

    async def reset(self) -> None:
        for one in (self.facebook, self.openid):
            await one.order(reset=True)


@pytest.fixture(scope="session")
def _sandbox_servers() -> Iterator[Sandboxes]:
    """Both sandbox providers, once for each test process."""
    app = facebook_sandbox.App(
        id=FACEBOOK_APP,
        secret=FACEBOOK_SECRET,
        redirect_uris=[f"{ISSUER}/callback/facebook"],
        require_proof=True,
    )
    client = openid_sandbox.Client(
        id=OPENID_CLIENT,
        secret=OPENID_SECRET,
        redirect_uris=[f"{ISSUER}/callback/openid"],
        post_logout_redirect_uris=[f"{ISSUER}/signed-out/openid"],
    )
    facebook = facebook_sandbox.create_app([app])
    openid = openid_sandbox.create_app([client])
    with serve(facebook) as facebook_url, serve(openid) as openid_url:
        yield Sandboxes(SandboxServer(facebook_url, facebook), SandboxServer(openid_url, openid))


@pytest.fixture
async def sandboxes(_sandbox_servers: Sandboxes) -> Sandboxes:
    """Both sandbox providers as new: nobody signed in, no faults, nothing logged."""
    await _sandbox_servers.reset()
    return _sandbox_servers


# --- configuration ------------------------------------------------------------------------------------

DOORWARD_TOML: Final = """
[broker]
public_url = "https://login.test"
mode = "development"
brand = "Club Login"
operator_name = "The Club"
operator_contact = "help@club.test"
posting_enabled = true
master_key = { env = "MASTER_KEY" }

[limits]
client_failures_per_minute = 30
sign_ins_per_minute = 600

[egress."%(facebook_host)s"]
[egress."%(openid_host)s"]

[fields.name]
use = "needed"
audience = "everyone"
purpose = { en = "Shown next to your posts.", fr = "Affiché à côté de vos messages." }

[fields.email]
use = "needed"
audience = "admins"
purpose = { en = "So that we can reach you.", fr = "Pour vous joindre." }

[fields.picture]
use = "optional"
audience = "everyone"
purpose = { en = "Shown next to your posts.", fr = "Affichée à côté de vos messages." }

[fields.given_name]
use = "optional"
audience = "members"
purpose = { en = "So that members can greet you.", fr = "Pour vous saluer." }

[fields.family_name]
use = "optional"
audience = "members"
purpose = { en = "So that members can find you.", fr = "Pour vous trouver." }

[fields.zoneinfo]
use = "optional"
audience = "only_you"
purpose = { en = "So that times are right for you.", fr = "Pour les heures." }

[fields.locale]
use = "optional"
audience = "only_you"
purpose = { en = "So that pages start in your language.", fr = "Pour la langue." }

[terms.3]
effective_from = 2026-11-02

[privacy.2]
effective_from = 2026-11-02

[newsletters.club]
label = { en = "Club news", fr = "Nouvelles du club" }
rhythm = { en = "once a month", fr = "une fois par mois" }
sender = "The Club"
"""

PROVIDERS_TOML: Final = """
[facebook]
kind = "facebook"
label = "Facebook"
brand = "facebook"
sandbox = true
client_id = "%(facebook_app)s"
client_secret = { env = "FACEBOOK_SECRET" }
fields = ["name", "email", "picture", "given_name", "family_name"]
privacy_policy_url = "%(facebook_url)s/privacy"
limited_login = true
order = 1

[facebook.endpoints]
authorization = "%(facebook_url)s/v26.0/dialog/oauth"
token = "%(facebook_url)s/v26.0/oauth/access_token"
graph = "%(facebook_url)s"
share = "%(facebook_url)s/v26.0/dialog/share"
jwks = "%(facebook_url)s/limited/.well-known/oauth/openid/jwks/"

[openid]
kind = "openid_connect"
label = "Club OpenID"
sandbox = true
client_id = "%(openid_client)s"
client_secret = { env = "OPENID_SECRET" }
issuer = "%(openid_url)s"
fields = ["name", "email", "picture", "locale", "zoneinfo"]
trusts_email = true
privacy_policy_url = "%(openid_url)s/privacy"
order = 2
"""

SITES_TOML: Final = """
[forum]
name = "Forum"
url = "https://forum.test"
run_by = "The Club"
redirect_uris = ["https://forum.test/callback"]
post_logout_redirect_uris = ["https://forum.test/bye"]
backchannel_logout_uri = "https://forum.test/backchannel"
client_secret = { env = "FORUM_SECRET" }
session_token = true
may_post = true

[forum.asks.preferred_username]
use = "needed"
why = { en = "Your posts are signed with it.", fr = "Vos messages en sont signés." }

[forum.asks.name]
use = "optional"
audience = "everyone"
why = { en = "Shown beside your user name.", fr = "Affiché à côté." }

[forum.asks.email]
use = "optional"
audience = "admins"
why = { en = "To tell you when somebody answers.", fr = "Pour vous prévenir." }

[wiki]
name = "Wiki"
url = "https://wiki.test"
run_by = "The Club"
redirect_uris = ["https://wiki.test/callback"]
post_logout_redirect_uris = ["https://wiki.test/bye"]
client_secret = { env = "WIKI_SECRET" }
signing_algorithm = "ES256"

[wiki.asks.preferred_username]
use = "needed"
why = { en = "Your edits are signed with it.", fr = "Vos modifications." }

[tracker]
name = "Tracker"
url = "https://tracker.test"
run_by = "Somebody else"
redirect_uris = ["https://tracker.test/callback"]
backchannel_logout_uri = "https://tracker.test/backchannel"
client_secret = { env = "TRACKER_SECRET" }
auth_method = "client_secret_post"
claims_in_id_token = true

[tracker.asks.name]
use = "needed"
why = { en = "Reports carry your name.", fr = "Les rapports portent votre nom." }

[tracker.asks.email]
use = "needed"
why = { en = "To ask you back.", fr = "Pour vous questionner." }
"""


def write_config(
    folder: Path,
    sandboxes: Sandboxes,
    *,
    doorward: str = DOORWARD_TOML,
    providers: str = PROVIDERS_TOML,
    sites: str = SITES_TOML,
) -> Path:
    """The three files in `folder`, with the sandboxes' addresses filled in (`%(facebook_url)s` and so on)."""
    values = {
        "facebook_url": sandboxes.facebook.url,
        "facebook_host": sandboxes.facebook.host,
        "facebook_app": FACEBOOK_APP,
        "openid_url": sandboxes.openid.url,
        "openid_host": sandboxes.openid.host,
        "openid_client": OPENID_CLIENT,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("doorward.toml", doorward), ("providers.toml", providers), ("sites.toml", sites)):
        (folder / name).write_text(text % values, encoding="utf-8")
    return folder


# --- the house ----------------------------------------------------------------------------------------


@dataclass
class House:
    """One running Doorward."""

    app: Any
    settings: Settings
    clock: HouseClock
    sandboxes: Sandboxes
    log_stream: io.BytesIO
    opened: Opened

    @property
    def world(self) -> World:
        return self.opened.world

    @property
    def facebook(self) -> SandboxServer:
        return self.sandboxes.facebook

    @property
    def openid(self) -> SandboxServer:
        return self.sandboxes.openid

    @property
    def log(self) -> str:
        """Everything logged so far."""
        return self.log_stream.getvalue().decode()

    async def move(self, **span: float) -> None:
        """Let time pass here and at the sandbox providers: `await house.move(minutes=5)`."""
        self.clock.move(timedelta(**span))
        ahead = (self.clock.now() - datetime.now(UTC)).total_seconds()
        for sandbox in (self.facebook, self.openid):
            await sandbox.order(clock=ahead)

    def client(self, **more: Any) -> httpx2.AsyncClient:
        """A plain HTTP client that reaches the broker in process: no cookies kept between hosts, no redirects followed."""
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx2.AsyncClient(transport=transport, base_url=ISSUER, **more)

    def browser(self, *beside: str) -> Browser:
        """A fresh browser."""
        return Browser(self, *beside)

    def site(self, name: str) -> Site:
        """A community site of the configuration."""
        return Site(self, name, self.settings.clients[name].redirect_uris[0])  # type: ignore[index]

    async def accounts(self) -> int:
        """How many accounts there are (memory stores only)."""
        return len(self.world.durable.tables.accounts)  # type: ignore[attr-defined]


@asynccontextmanager
async def open_house(
    folder: Path,
    sandboxes: Sandboxes,
    *,
    database_url: str = "memory://",
    redis_url: str | None = None,
    doorward: str = DOORWARD_TOML,
    providers: str = PROVIDERS_TOML,
    sites: str = SITES_TOML,
    change: Mapping[str, Any] | None = None,
    clock: HouseClock | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[House]:
    """Start a Doorward on this configuration. `change` replaces values of the broker's settings."""
    config = write_config(folder / "config", sandboxes, doorward=doorward, providers=providers, sites=sites)
    settings = load_settings(config, {**SECRETS, **(environ or {})})
    broker = replace(settings.broker, database_url=database_url, redis_url=redis_url, **(change or {}))
    settings = replace(settings, broker=broker)
    stream = io.BytesIO()
    telemetry = Telemetry(log=Log(stream), metrics=NoMetrics())
    clock = clock or HouseClock()
    app = Watched(create_app(settings, telemetry, clock), lambda: stream.getvalue().decode())
    async with _running(app) as state:
        yield House(
            app=app, settings=settings, clock=clock, sandboxes=sandboxes, log_stream=stream, opened=state.opened
        )


@asynccontextmanager
async def _running(app: Any) -> AsyncIterator[Any]:
    """The ASGI lifespan, as a server runs it; gives the application's state."""
    inner = app
    while not isinstance(inner, Starlette):
        inner = inner._app
    async with inner.router.lifespan_context(inner):
        yield inner.state


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """Three sites, two sandbox providers, everything in memory."""
    async with open_house(tmp_path, sandboxes) as opened:
        yield opened


# --- sites --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrival:
    """A browser came (back) to a site, or to anywhere that is neither broker nor provider."""

    url: str
    verifier: str = ""

    @property
    def params(self) -> dict[str, str]:
        pairs = parse_qsl(urlsplit(self.url).query, keep_blank_values=True)
        assert len(dict(pairs)) == len(pairs), f"a parameter occurs twice: {self.url}"
        return dict(pairs)

    @property
    def code(self) -> str:
        assert "code" in self.params, self.params
        return self.params["code"]


@dataclass
class Site:
    """A community site that speaks OpenID Connect by hand, so that it can also speak it wrongly."""

    house: House
    name: str
    redirect_uri: str
    verifiers: dict[str, str] = field(default_factory=dict)

    @property
    def secret(self) -> str:
        return site_secret(self.name)

    @property
    def auth(self) -> dict[str, str]:
        """Headers of client_secret_basic."""
        text = base64.b64encode(f"{self.name}:{self.secret}".encode()).decode()
        return {"Authorization": f"Basic {text}"}

    def request_url(self, **changes: str | None) -> str:
        """A good authorization request with PKCE, state and nonce; `name=None` leaves one out."""
        verifier = secrets.token_urlsafe(40)
        state = secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        params: dict[str, str | None] = {
            "client_id": self.name,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid profile email",
            "state": state,
            "nonce": f"nonce-{state}",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        self.verifiers[params["state"] or ""] = verifier
        return f"{ISSUER}/authorize?{urlencode({name: value for name, value in params.items() if value is not None})}"

    def verifier_of(self, arrival: Arrival) -> str:
        return self.verifiers[arrival.params.get("state", "")]

    async def post(self, path: str, form: Mapping[str, str], *, auth: bool = True) -> httpx2.Response:
        """A server-to-server form POST, authenticated as this site."""
        data = dict(form)
        headers = {}
        if auth and self.name == "tracker":
            data |= {"client_id": self.name, "client_secret": self.secret}
        elif auth:
            headers = self.auth
        async with self.house.client() as client:
            return await client.post(path, data=data, headers=headers)

    async def token(self, arrival: Arrival, **changes: str) -> httpx2.Response:
        """Redeem the code of this arrival; the raw answer."""
        form = {
            "grant_type": "authorization_code",
            "code": arrival.code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier_of(arrival),
            **changes,
        }
        return await self.post("/token", form)

    async def redeem(self, arrival: Arrival) -> dict[str, Any]:
        """The tokens of this arrival."""
        answer = await self.token(arrival)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def refresh(self, refresh_token: str) -> httpx2.Response:
        return await self.post("/token", {"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def userinfo(self, access_token: str) -> httpx2.Response:
        async with self.house.client() as client:
            return await client.get("/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    async def claims(self, access_token: str) -> dict[str, Any]:
        answer = await self.userinfo(access_token)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def introspect(self, token: str) -> dict[str, Any]:
        answer = await self.post("/introspect", {"token": token})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def revoke(self, token: str) -> httpx2.Response:
        return await self.post("/revoke", {"token": token})


def peek(token: str) -> dict[str, Any]:
    """The claims of a JWS, unverified: for looking only."""
    body = token.split(".")[1]
    import orjson

    return dict(orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


# --- browser ------------------------------------------------------------------------------------------


@dataclass
class Button:
    """A submit button: what it says and what it sends."""

    text: str
    name: str = ""
    value: str = ""
    action: str = ""
    form: str = ""


@dataclass
class PageForm:
    """One form as a browser sees it."""

    action: str
    method: str
    id: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    """What would be sent if nothing was touched, in order, buttons left out."""
    boxes: dict[str, list[str]] = field(default_factory=dict)
    """Every checkbox and radio button: name → values, ticked or not."""
    buttons: list[Button] = field(default_factory=list)


_INLINE: Final = frozenset({"a", "b", "bdi", "code", "em", "i", "label", "small", "span", "strong", "time"})
"""Elements that begin and end in the middle of a sentence."""


class _Reader(HTMLParser):
    """Forms, headings and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[PageForm] = []
        self.loose: list[Button] = []
        self.headings: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.title = ""
        self._form: PageForm | None = None
        self._button: Button | None = None
        self._select: str | None = None
        self._option: tuple[str | None, bool] | None = None
        self._options: list[tuple[str, bool]] = []
        self._area: str | None = None
        self._area_text = ""
        self._in: list[str] = []
        self._link: str | None = None
        self._words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        flags = {name for name, _ in attrs}
        self._in.append(tag)
        if tag not in _INLINE:
            self.text.append(" ")
        if tag == "form":
            self._form = PageForm(
                action=given.get("action", ""), method=given.get("method", "get").lower(), id=given.get("id", "")
            )
            self.forms.append(self._form)
        elif tag == "button" and given.get("type", "submit") == "submit":
            self._button = Button(
                "", given.get("name", ""), given.get("value", ""), given.get("formaction", ""), given.get("form", "")
            )
        elif tag == "input" and self._form is not None and "disabled" not in flags:
            self._input(given, flags)
        elif tag == "select":
            self._select, self._options = given.get("name", ""), []
        elif tag == "option":
            self._option, self._words = (given.get("value") if "value" in flags else None, "selected" in flags), ""
        elif tag == "textarea":
            self._area, self._area_text = given.get("name", ""), ""
        elif tag == "a" and "href" in flags:
            self._link, self._words = given["href"], ""
        elif tag in {"h1", "h2"}:
            self._words = ""

    def _input(self, given: dict[str, str], flags: set[str]) -> None:
        assert self._form is not None
        kind, name = given.get("type", "text"), given.get("name", "")
        if kind in {"checkbox", "radio"}:
            self._form.boxes.setdefault(name, []).append(given.get("value", "on"))
            if "checked" in flags:
                self._form.fields.append((name, given.get("value", "on")))
        elif kind in {"submit", "image"}:
            self._form.buttons.append(Button(given.get("value", ""), name, given.get("value", "")))
        elif kind not in {"button", "reset"} and name:
            self._form.fields.append((name, given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._in:
            while self._in and self._in.pop() != tag:
                pass
        if tag not in _INLINE:
            self.text.append(" ")
        if tag == "form":
            self._form = None
        elif tag == "button" and self._button is not None:
            self._button.text = " ".join(self._button.text.split())
            if self._button.form:
                self.loose.append(self._button)
            elif self._form is not None:
                self._form.buttons.append(self._button)
            self._button = None
        elif tag == "option" and self._option is not None:
            value, chosen = self._option
            self._options.append((value if value is not None else " ".join(self._words.split()), chosen))
            self._option = None
        elif tag == "select" and self._select is not None:
            chosen_values = [value for value, chosen in self._options if chosen] or [v for v, _ in self._options[:1]]
            if self._form is not None:
                self._form.fields += [(self._select, value) for value in chosen_values]
            self._select = None
        elif tag == "textarea" and self._area is not None:
            if self._form is not None:
                self._form.fields.append((self._area, self._area_text))
            self._area = None
        elif tag == "a" and self._link is not None:
            self.links.append((" ".join(self._words.split()), self._link))
            self._link = None
        elif tag in {"h1", "h2"}:
            self.headings.append(" ".join(self._words.split()))

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button.text += data
        if self._area is not None:
            self._area_text += data
        self._words += data
        if self._in and self._in[-1] == "title":
            self.title += data
        if not {"script", "style"} & set(self._in):
            self.text.append(data)


@dataclass
class Shown:
    """A page that a browser shows."""

    url: str
    response: httpx2.Response
    forms: list[PageForm]
    headings: list[str]
    links: list[tuple[str, str]]
    text: str
    title: str

    @classmethod
    def read(cls, response: httpx2.Response) -> Self:
        reader = _Reader()
        if "html" in response.headers.get("content-type", ""):
            reader.feed(response.text)
        for button in reader.loose:
            for form in reader.forms:
                if form.id == button.form:
                    form.buttons.append(button)
        text = " ".join("".join(reader.text).split())
        return cls(str(response.url), response, reader.forms, reader.headings, reader.links, text, reader.title.strip())

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    def find(self, button: str) -> tuple[PageForm, Button]:
        """The form and button whose text starts with, or whose `name=value` is, `button`."""
        for form in self.forms:
            for one in form.buttons:
                if one.text.startswith(button) or f"{one.name}={one.value}" == button:
                    return form, one
        labels = [one.text for form in self.forms for one in form.buttons]
        raise AssertionError(
            f"no button {button!r} on {self.url} ({self.headings}); there are {labels}\n{self.text[:800]}"
        )

    def value(self, name: str) -> str:
        """What a field holds."""
        for form in self.forms:
            for field_name, value in form.fields:
                if field_name == name:
                    return value
        raise AssertionError(f"no field {name!r} on {self.url}")


_REFRESH: Final = re.compile(r"^0;\s*url=(.+)$", re.IGNORECASE)


class Browser:
    """What a person uses, without JavaScript: keeps cookies, follows redirects and refreshes, fills in forms.

    `go` and `press` give the page shown at the end, or the `Arrival` at a site. `beside`: addresses of more providers.
    """

    def __init__(self, house: House, *beside: str) -> None:
        self.house, self.beside = house, beside
        self.headers = {"Accept-Language": "en", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) TestBrowser/1.0"}
        self.jar = httpx2.Cookies()
        self.history: list[httpx2.Response] = []
        """Every answer so far, redirects included."""
        self.shown: Shown | None = None

    @property
    def page(self) -> Shown:
        assert self.shown is not None, "no page is shown"
        return self.shown

    @property
    def cookies(self) -> dict[str, str]:
        """The broker's cookies in this browser."""
        return {one.name: one.value or "" for one in self.jar.jar if one.domain.lstrip(".").startswith("login.test")}

    async def send(
        self,
        method: str,
        url: str,
        *,
        data: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """One request with this browser's cookies; follows nothing."""
        named = {**self.headers, **(headers or {})}
        broker = url.startswith(ISSUER + "/") or url == ISSUER
        transport: Any = httpx2.ASGITransport(app=self.house.app) if broker else None
        async with httpx2.AsyncClient(transport=transport, verify=_PLAIN, cookies=self.jar, timeout=20) as client:
            content = urlencode(data).encode() if data is not None else None
            if content is not None:
                named["Content-Type"] = "application/x-www-form-urlencoded"
            response = await client.request(method, url, content=content, headers=named)
            self.jar = client.cookies
        self.history.append(response)
        assert response.status_code != 500, f"{method} {url} broke:\n{self.house.log[-3000:]}"
        return response

    async def go(self, url: str) -> Shown | Arrival:
        """Open an address as if typed or followed from elsewhere."""
        return await self._follow(await self.send("GET", urljoin(ISSUER, url), headers={"Sec-Fetch-Site": "none"}))

    async def open(self, url: str) -> Shown:
        """The same, where a page is expected."""
        shown = await self.go(url)
        assert isinstance(shown, Shown), shown
        return shown

    async def press(
        self,
        button: str,
        *,
        tick: list[str] | tuple[str, ...] = (),
        untick: list[str] | tuple[str, ...] = (),
        fill: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Shown | Arrival:
        """Press a button of the page shown. `tick` names `value` or `name=value` of check boxes."""
        page = self.page
        form, pressed = page.find(button)
        fields = list(form.fields)
        for wanted in tick:
            match = [(n, v) for n, values in form.boxes.items() for v in values if wanted in {v, f"{n}={v}"}]
            assert match, f"no box {wanted!r} on {page.url}; there are {form.boxes}"
            fields += [pair for pair in match if pair not in fields]
        fields = [(n, v) for n, v in fields if v not in untick and f"{n}={v}" not in untick]
        for name, value in (fill or {}).items():
            assert name in {n for n, _ in fields}, (
                f"no field {name!r} on {page.url}; there are {[n for n, _ in fields]}"
            )
            fields = [(n, value if n == name else v) for n, v in fields]
        if pressed.name:
            fields.append((pressed.name, pressed.value))
        url = urljoin(page.url, pressed.action or form.action or page.url)
        return await self.submit(form.method, url, fields, headers=headers)

    async def submit(
        self, method: str, url: str, fields: list[tuple[str, str]], *, headers: Mapping[str, str] | None = None
    ) -> Shown | Arrival:
        """Send a form as a browser does from a page of the same origin."""
        if method == "get":
            query = urlencode(fields)
            return await self._follow(await self.send("GET", f"{url.partition('?')[0]}?{query}"))
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        same = {"Origin": origin, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        return await self._follow(await self.send("POST", url, data=fields, headers=same))

    async def _follow(self, response: httpx2.Response) -> Shown | Arrival:
        for _ in range(MOST_HOPS):
            target = response.headers.get("location") if response.is_redirect else None
            refresh = _REFRESH.match(response.headers.get("refresh", ""))
            if target is None and refresh is not None:
                target = refresh[1]
            if target is None:
                self.shown = Shown.read(response)
                return self.shown
            url = urljoin(str(response.url), target)
            if not self._is_known(url):
                return Arrival(url)
            response = await self.send("GET", url, headers={"Sec-Fetch-Site": "cross-site"})
        raise AssertionError(f"redirected {MOST_HOPS} times, last to {response.headers.get('location')}")

    def _is_known(self, url: str) -> bool:
        known = (ISSUER, self.house.facebook.url, self.house.openid.url, *self.beside)
        return any(url == one or url.startswith((f"{one}/", f"{one}?")) for one in known)

    # --- whole ways through ---------------------------------------------------------------------------

    async def choose(self, provider: str = "facebook", persona: str | None = None) -> Shown | Arrival:
        """On the chooser: go to the provider and come back as this persona."""
        usual = {"facebook": "normal", "openid": "ana"}[provider]
        await getattr(self.house, provider).order(persona=persona or usual)
        shown = await self.press(f"provider={provider}")
        return await self.agree_upstream(shown)

    async def agree_upstream(self, shown: Shown | Arrival) -> Shown | Arrival:
        """On the provider's own page: continue, as a person does who lets it tell us what it asks for."""
        while isinstance(shown, Shown) and not shown.url.startswith(ISSUER):
            continues = [b.text for f in shown.forms for b in f.buttons if b.text.startswith(("Continue", "Allow"))]
            if not continues:
                break
            shown = await self.press(continues[0])
        return shown

    async def sign_up(
        self,
        site: Site | None = None,
        *,
        provider: str = "facebook",
        persona: str | None = None,
        use: tuple[str, ...] = (),
        share: tuple[str, ...] = (),
        user_name: str | None = None,
        fill: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> Shown | Arrival:
        """From the site's request (or /sign-in) to a new account, and back at the site with what is ticked shared."""
        start = await self.open(url or (site.request_url() if site else "/sign-in"))
        assert start.path.endswith("/sign-in"), start.text
        shown = await self.choose(provider, persona)
        assert isinstance(shown, Shown) and shown.path.endswith("/details"), shown
        shown = await self.press("decision=continue", tick=use)
        assert isinstance(shown, Shown) and shown.path.endswith("/finish"), shown
        typed = dict(fill or {}) | ({"preferred_username": user_name} if user_name else {})
        end = await self.press("decision=create", fill=typed)
        if site is None or isinstance(end, Arrival):
            return end
        assert end.path.endswith("/site"), f"{end.url}: {end.text[:500]}"
        return await self.press("decision=share", tick=share)

    async def sign_in(
        self,
        site: Site | None = None,
        *,
        provider: str = "facebook",
        persona: str | None = None,
        url: str | None = None,
    ) -> Shown | Arrival:
        """Somebody known comes back, through the provider."""
        await self.open(url or (site.request_url() if site else "/sign-in"))
        return await self.choose(provider, persona)

    async def arrive(self, site: Site, **changes: str | None) -> Arrival:
        """A signed-in person comes to a site whose request is covered: straight through."""
        end = await self.go(site.request_url(**changes))
        assert isinstance(end, Arrival), f"{end.url}: {end.text[:500]}"
        return end


def query_of(url: str) -> dict[str, list[str]]:
    """Every parameter of an address."""
    return parse_qs(urlsplit(url).query, keep_blank_values=True)


async def settle() -> None:
    """Let background work of the loop run once."""
    await asyncio.sleep(0)

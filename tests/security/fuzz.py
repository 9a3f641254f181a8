"""Generated requests for every route, sent as somebody who holds what such a visitor really holds.

`Larder` keeps the valid pieces: sign-ins at every step, sessions, codes, tokens, form tokens, sealed requests, postings.
It makes new ones as they are used up. `Plan` makes one request of them. `check` says what every answer must be.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.support.builders import posting
from tests.security.hostile import CONTENT_TYPES, LANGUAGES, MARK, MARKUP, METHODS, Dice
from tests.security.raw import Answer, Asked, ask, lower
from tests.support.house import ISSUER, SITES, Arrival, House, Shown, Site, site_secret
from tests.support.phone import Phone

from broker.domain.posting import Message, PostState
from broker.domain.session import Session
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId, ClientId, ProviderId
from broker.flows.transactions import OVER
from broker.web.guards import Guard
from broker.web.routes import Route

ACTORS: Final = ("anonymous", "person", "site", "bearer")
FORM: Final = "application/x-www-form-urlencoded"
REDIRECTS: Final = tuple(f"https://{name}.test/callback" for name in SITES)
CLAIMS: Final = (
    "name",
    "email",
    "picture",
    "given_name",
    "family_name",
    "zoneinfo",
    "locale",
    "preferred_username",
    "sub",
)
PROVIDERS: Final = ("facebook", "openid", "gone")
DOCUMENT_HOST: Final = "localhost:1"
DOCUMENT: Final = f"https://{DOCUMENT_HOST}/client"
"""A site that introduces itself, at an address that is refused before anybody is asked."""


@dataclass
class Held:
    """What one visitor holds for one batch of requests."""

    session: str = ""
    sid: str = ""
    transactions: list[tuple[str, str]] = field(default_factory=list)
    """Id and cookie of sign-ins at every step."""
    states: list[str] = field(default_factory=list)
    codes: list[tuple[str, str]] = field(default_factory=list)
    """Code and verifier."""
    tokens: dict[str, str] = field(default_factory=dict)
    sealed: list[str] = field(default_factory=list)
    postings: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    """Digests of the posts that wait."""
    opt_ins: list[str] = field(default_factory=list)

    def secrets(self) -> list[str]:
        """Everything of it that no log may hold."""
        found = [self.session, *self.tokens.values(), *self.states, *self.sealed, *self.opt_ins]
        found += [cookie for _, cookie in self.transactions]
        found += [text for pair in self.codes for text in pair]
        return [text for text in found if len(text) >= 12]


@dataclass
class Larder:
    """A house with people in it, and templates of everything that they can hold."""

    house: House
    account: AccountId | None = None
    subject: str = ""
    session: Session | None = None
    strangers: list[SignInTransaction] = field(default_factory=list)
    """Sign-ins of people without an account, at each step."""
    own: list[SignInTransaction] = field(default_factory=list)
    """Sign-ins of the person of `session`."""
    used: int = 0

    async def fill(self) -> None:
        """People sign up for real; what they carry at each step becomes a template."""
        house, browser = self.house, self.house.browser()
        await self._person()
        for url in (house.site("forum").request_url(), "/sign-in"):
            await browser.go(url)
            await self._keep(browser, self.strangers)
            await browser.choose("openid", "lucas")
            await self._keep(browser, self.strangers)
            await browser.press("decision=continue")
            await self._keep(browser, self.strangers)
            browser = house.browser()
        phone = Phone(house.site("forum"))
        await browser.go(await phone.brings(await phone.sign_in("amina")))
        await self._keep(browser, self.strangers)

    async def _person(self) -> None:
        """Somebody with an account who shares with the forum, and has a request of the wiki waiting."""
        browser, forum = self.house.browser(), self.house.site("forum")
        url = forum.request_url(scope="openid profile email offline_access")
        name = f"canary-zoe-{self.used}"
        end = await browser.sign_up(forum, user_name=name, share=("name", "email", "offline_access"), url=url)
        assert isinstance(end, Arrival), end
        self.used += 1
        self.session = await self._session_of(browser)
        self.account = self.session.account
        self.subject = str((await forum.claims((await forum.redeem(end))["access_token"]))["sub"])
        await browser.go(self.house.site("wiki").request_url())
        self.own = []
        await self._keep(browser, self.own)

    async def _session_of(self, browser: Any) -> Session:
        world = self.house.world
        secret = browser.cookies[world.cookies.session_name]
        session = await world.sessions.load(secret.rpartition(".")[0])
        assert session is not None
        return session

    async def _keep(self, browser: Any, where: list[SignInTransaction]) -> None:
        world = self.house.world
        for name, cookie in browser.cookies.items():
            if name.startswith(world.cookies.transaction_prefix) and not cookie.startswith(OVER):
                carried = await world.box.open(name.removeprefix(world.cookies.transaction_prefix), cookie)
                where.append(carried.transaction)

    async def held(self) -> Held:
        """A visitor's new set."""
        world = self.house.world
        if self.account is None or await world.durable.accounts.load(self.account) is None:
            await self._person()
        template = self.session
        assert template is not None
        started = await world.sessions.start(
            account=template.account, provider=template.provider, key=template.key, auth_time=world.clock.now(),
            amr=template.amr, acr=template.acr, user_agent="Mozilla/5.0", replaces=None,
        )  # fmt: skip
        held = Held(session=world.cookies._signer.sign(started.secret).decode(), sid=started.session.sid)
        for transaction in (*self.strangers, *self.own):
            await self._clone(held, transaction, started.session)
        for purpose in (
            TransactionPurpose.LINK,
            TransactionPurpose.FRESHEN,
            TransactionPurpose.POSTING,
            TransactionPurpose.MERGE,
        ):
            await self._start(held, purpose, started.session)
        await self._codes(held)
        await self._sealed(held)
        await self._postings(held, started.session)
        return held

    async def _clone(self, held: Held, template: SignInTransaction, session: Session) -> None:
        """The same sign-in again under a new id, in this session where it was in one."""
        world = self.house.world
        sid = session.sid if template.sid is not None else None
        now = world.clock.now()
        copy = replace(template, id=world.box.new_id(), sid=sid, created_at=now)
        if template.identity is not None and template.account is None:
            self.used += 1
            key = replace(template.identity.key, subject=f"stranger-{self.used}")
            copy = replace(copy, identity=replace(template.identity, key=key))
        carried = await (world.box.hold(copy) if template.identity is None else world.box.keep(copy))
        held.transactions.append((copy.id, carried.cookie))
        if template.identity is None and template.account is None:
            another = await world.box.hold(replace(copy, id=world.box.new_id()))
            leaving = await world.sign_in.begin(another, ProviderId("openid"))
            held.transactions.append((another.transaction.id, leaving.carried.cookie))
            held.states.append(parse_qs(urlsplit(leaving.url).query)["state"][0])

    async def _start(self, held: Held, purpose: TransactionPurpose, session: Session) -> None:
        world, now = self.house.world, self.house.clock.now()
        sealed = world.box.seal_text('["forum","facebook","https://forum.test/t/1"]', "posting-opt-in")
        transaction = SignInTransaction(
            id=world.box.new_id(), purpose=purpose, created_at=now, expires_at=now, account=session.account, sid=session.sid,
            return_to=f"/posting/opt-in?request={sealed}" if purpose is TransactionPurpose.POSTING else "/me",
        )  # fmt: skip
        leaving = await world.sign_in.begin(await world.box.hold(transaction), ProviderId("facebook"))
        held.transactions.append((transaction.id, leaving.carried.cookie))
        held.states.append(parse_qs(urlsplit(leaving.url).query)["state"][0])
        held.opt_ins.append(sealed)

    async def _codes(self, held: Held) -> None:
        """Codes of the forum, and the tokens of one more."""
        await self._share_again(held)
        forum, cookie = self.house.site("forum"), f"{self.house.world.cookies.session_name}={held.session}"
        for _ in range(3):
            url = urlsplit(forum.request_url(scope="openid profile email offline_access"))
            answer = await ask(
                self.app, Asked(path=url.path, query=url.query.encode(), headers=lower([("cookie", cookie)]))
            )
            arrival = Arrival(answer["location"])
            held.codes.append((arrival.code, forum.verifier_of(arrival)))
        code, verifier = held.codes.pop()
        tokens = await redeem(self.app, forum, code, verifier)
        held.tokens = {name: text for name, text in tokens.items() if name.endswith("_token") and isinstance(text, str)}

    async def _share_again(self, held: Held) -> None:
        """A request before may have stopped sharing with the forum, or disconnected it: the person comes back and shares."""
        browser = self.house.browser()
        browser.jar.set(self.house.world.cookies.session_name, held.session, domain="login.test", path="/")
        shown = await browser.go(self.house.site("forum").request_url(scope="openid profile email offline_access"))
        if isinstance(shown, Shown):
            offered = {box for form in shown.forms for box in form.boxes.get("share", ())}
            shown = await browser.press("decision=share", tick=sorted(offered & {"name", "email", "offline_access"}))
        assert isinstance(shown, Arrival), f"{shown.url}: {shown.text[:300]}"

    async def _sealed(self, held: Held) -> None:
        world = self.house.world
        stamp = int(world.clock.now().timestamp())
        query = urlsplit(self.house.site("wiki").request_url()).query
        held.sealed = [
            world.box.seal_text(f"{stamp} {query}", "authorization request"),
            world.box.seal_text(
                "client_id=forum&post_logout_redirect_uri=https%3A%2F%2Fforum.test%2Fbye", "end-session request"
            ),
        ]

    async def _postings(self, held: Held, session: Session) -> None:
        """Posting is on for the forum at Facebook, and several posts wait for a decision."""
        world, now = self.house.world, self.house.clock.now()
        await world.posting.allow(
            session, ProviderId("facebook"), ClientId("forum"), tokens=None, pressed_at=now, transaction="", locale="en"
        )
        for state in (PostState.ASKED, PostState.ASKED, PostState.ASKED, PostState.POSTED):
            self.used += 1
            waiting = posting(
                session.account, id=f"posting-{self.used}", state=state, client=ClientId("forum"), created_at=now,
                expires_at=now + timedelta(minutes=30), return_to="https://forum.test/t/1", settled_at=None,
                message=Message(text="Hello", url=None, return_url=f"{ISSUER}/posting/{self.used}/returned?key=key-{self.used}",
                                idempotency_key=f"key-{self.used}"),
            )  # fmt: skip
            unit = world.durable.unit()
            unit.add_posting(waiting)
            await unit.commit()
            held.postings.append(waiting.id)
            held.shown.append(waiting.message.digest)

    @property
    def app(self) -> Any:
        """The application without the watch around it: the fuzz does its own searching."""
        return self.house.app._app


async def redeem(app: Any, site: Site, code: str, verifier: str) -> dict[str, Any]:
    """The tokens of a code."""
    import json

    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": site.redirect_uri,
        "code_verifier": verifier,
    }
    body = "&".join(f"{name}={text}" for name, text in form.items()).encode()
    headers = lower([("authorization", site.auth["Authorization"]), ("content-type", FORM)])
    answer = await ask(app, Asked(method="POST", path="/token", headers=headers, body=(body,)))
    return dict(json.loads(answer.body))


# --- making requests ----------------------------------------------------------------------------------

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "/authorize": (
        "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
        "prompt", "max_age", "login_hint", "idp_hint", "ui_locales", "response_mode", "request", "request_uri", "claims",
        "id_token_hint", "acr_values", "display", "resource", "registration", "sealed",
    ),
    "/par": (
        "client_id", "client_secret", "client_assertion", "client_assertion_type", "redirect_uri", "response_type", "scope",
        "state", "code_challenge", "code_challenge_method", "request", "request_uri", "claims", "prompt", "response_mode",
    ),
    "/par/{provider}/limited-login": (
        "client_id", "client_secret", "redirect_uri", "response_type", "scope", "state", "code_challenge",
        "code_challenge_method", "prompt", "max_age", "request", "id_token", "nonce_verifier",
    ),
    "/device-authorization": ("client_id", "client_secret", "scope"),
    "/device": ("user_code",),
    "/device/go": ("user_code", "decision"),
    "/device/answer": ("state", "code", "error"),
    "/device/done": ("result",),
    "/discourse/sso": ("sso", "sig"),
    "/hooks/{provider}/front-logout": ("iss", "sid"),
    "/sign-in/with": ("iss", "login_hint", "target_link_uri", "sealed"),
    "/me/sites/open": ("site", "to"),
    "/discourse/answer": ("state", "code", "error", "iss"),
    "/token": (
        "grant_type", "code", "device_code", "redirect_uri", "code_verifier", "refresh_token", "client_id", "client_secret", "scope",
        "resource", "client_assertion", "client_assertion_type",
    ),
    "/events": ("ack", "maxEvents", "setErrs", "returnImmediately", "client_id", "client_secret"),
    "/events/stream": ("stream_id", "delivery", "events_requested", "description"),
    "/events/status": ("stream_id", "status", "reason"),
    "/events/subjects/add": ("stream_id", "subject", "verified"),
    "/events/subjects/remove": ("stream_id", "subject"),
    "/events/verify": ("stream_id", "state"),
    "/oauth/authorize": ("client_id", "redirect_uri", "response_type", "scope", "state"),
    "/oauth/token": ("grant_type", "code", "redirect_uri", "client_id", "client_secret"),
    "/api/v4/user": ("access_token", "sudo"),
    "/userinfo": ("access_token", "schema"),
    "/introspect": ("token", "token_type_hint", "client_id", "client_secret"),
    "/revoke": ("token", "token_type_hint", "client_id", "client_secret"),
    "/sign-in": ("next", "for"),
    "/sign-in/again": ("next", "for"),
    "/callback/{provider}": (
        "state", "code", "error", "error_description", "error_reason", "error_code", "iss", "scope", "access_token", "id_token",
        "signed_request", "denied_scopes", "granted_scopes",
    ),
    "/callback/{provider}/{server}": ("state", "code", "error", "iss"),
    "/client-metadata/{provider}": ("client_id",),
    "/f/{id}/sign-in": ("provider", "use", "remember_provider", "age"),
    "/f/{id}/code": ("email", "other", "code"),
    "/f/{id}/code/check": ("code", "email"),
    "/f/{id}/passkey": ("credential", "client_data", "authenticator_data", "signature", "user_handle"),
    "/f/{id}/confirm": ("decision", "shown"),
    "/f/{id}/known": ("whose", "decision", "email"),
    "/f/{id}/details": ("decision", "use", "v-name", "v-email", "v-picture", "v-given_name", "v-zoneinfo", "v-sub", "v-role"),
    "/f/{id}/finish": (
        "decision", "preferred_username", "v-name", "v-email", "newsletter", "zoneinfo", "locale", "role", "account", "status",
    ),
    "/f/{id}/policy": ("decision",),
    "/f/{id}/site": ("decision", "shown", "share", "v-name", "v-email", "claims", "scope"),
    "/f/{id}/merge": ("decision", "stays", "seen", "way", "v-name", "v-email", "v-preferred_username"),
    "/me/merge": ("with", "decision"),
    "/signout": ("what", "request"),
    "/signed-out": ("seen",),
    "/signed-out/{provider}": ("state",),
    "/end-session": ("id_token_hint", "post_logout_redirect_uri", "state", "client_id", "logout_hint", "ui_locales", "sealed"),
    "/me/details": ("v-name", "v-email", "v-preferred_username", "v-picture", "v-sub", "v-zoneinfo", "v-locale", "status"),
    "/me/ways/add": ("provider",),
    "/me/ways/remove": ("link",),
    "/me/ways/passkey": ("name", "credential", "client_data", "attestation", "attachment"),
    "/me/sites/stop": ("client", "claim"),
    "/me/sites/disconnect": ("client",),
    "/me/history": ("field", "site", "claim", "client", "from", "to", "page", "before"),
    "/me/devices/end": ("sid", "all"),
    "/me/posting/off": ("provider", "client"),
    "/me/news": ("newsletter",),
    "/me/close": ("decision", "user_name"),
    "/posting/requests": ("sub", "provider", "text", "url", "return_to", "idempotency_key"),
    "/posting/opt-in": ("request", "decision"),
    "/posting/{id}": ("decision", "shown"),
    "/posting/{id}/returned": ("key", "post_id", "error_code", "error_message"),
    "/language": ("to", "back"),
}  # fmt: skip
"""What each address reads, and a few that it must not."""


@dataclass
class Plan:
    """Makes requests for one route and one kind of visitor."""

    larder: Larder
    held: Held
    route: Route
    actor: str
    dice: Dice

    def request(self) -> Asked:
        dice, route = self.dice, self.route
        method = route.method if dice.random() < 0.94 else dice.choice(METHODS)
        path, transaction = self._path()
        cookies = self._cookies(transaction)
        headers = [*self._headers(), *cookies, *self._authorization()]
        query, body, kind = self._content(method, transaction)
        if kind is not None and dice.random() < 0.97:
            headers.append(("content-type", kind))
        chunks = dice.chunks(body) if body else ()
        if body and dice.random() < 0.6:
            length = str(len(body)) if dice.random() < 0.97 else dice.choice(("0", "-1", "²", "abc", "9" * 30, "1e3"))
            headers.append(("content-length", length))
        dice.shuffle(headers)
        return Asked(
            method=method,
            path=path,
            query=query,
            headers=lower(headers),
            body=chunks,
            host=b"login.test" if dice.random() < 0.98 else dice.choice((b"evil.test", b"login.test.evil.test", b"", b"LOGIN.test:443")),
            peer=f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
            hangs_up=bool(chunks) and dice.random() < 0.01,
        )  # fmt: skip

    # --- pieces of it ---

    def _path(self) -> tuple[str, tuple[str, str] | None]:
        dice, path, transaction = self.dice, self.route.path, None
        if "{id}" in path and path.startswith("/f/"):
            transaction = dice.choice(self.held.transactions)
            path = path.replace("{id}", transaction[0] if dice.random() < 0.9 else self._segment())
        elif "{id}" in path:
            known = self.held.postings
            path = path.replace("{id}", dice.choice(known) if known and dice.random() < 0.8 else self._segment())
        path = path.replace("{name}", dice.choice(tuple(self.larder.house.world.renderer.files)))
        path = path.replace("{provider}", dice.choice(PROVIDERS) if dice.random() < 0.9 else self._segment())
        if dice.random() < 0.03:
            path += dice.choice(
                ("/", "//", "%00", "%2f", "/..;/", "?", ".json", "%0d%0aSet-Cookie:%20a=b", "/%2e%2e/me", ";x=1")
            )
        return path, transaction

    def _segment(self) -> str:
        from urllib.parse import quote

        return quote(self.dice.hostile().encode("utf-8", "surrogatepass")[:2000], safe="") or "-"

    def _cookies(self, transaction: tuple[str, str] | None) -> list[tuple[str, str | bytes]]:
        dice, cookies = self.dice, self.larder.house.world.cookies
        pairs: list[tuple[str, str]] = []
        if self.actor == "person" or dice.random() < 0.1:
            pairs.append(
                (cookies.session_name, dice.value([self.held.session]) if dice.random() < 0.1 else self.held.session)
            )
        if transaction is not None and dice.random() < 0.95:
            value = transaction[1] if dice.random() < 0.95 else dice.twisted(transaction[1])
            pairs.append((cookies.transaction_prefix + transaction[0], value))
        elif self.route.name == "callback":
            pairs += [(cookies.transaction_prefix + id_, cookie) for id_, cookie in self.held.transactions]
        if dice.random() < 0.1:
            name = dice.choice((cookies.last_name, cookies.locale_name, cookies.session_name, dice.hostile()[:50]))
            pairs.append((name, dice.value(["fr", "facebook"])))
        if dice.random() < 0.02:
            pairs += [(f"{cookies.transaction_prefix}{number}", "k." + "A" * 3000) for number in range(8)]
        if dice.random() < 0.02 and pairs:
            pairs.append(pairs[0])
        if not pairs:
            return []
        text = dice.choice(("; ", "; ", ";", ";;")).join(f"{name}={value}" for name, value in pairs)
        return [("cookie", text)] if dice.random() < 0.97 else [("cookie", text), ("cookie", text)]

    def _headers(self) -> list[tuple[str, str | bytes]]:
        dice = self.dice
        found: list[tuple[str, str | bytes]] = [("user-agent", "Mozilla/5.0")]
        if dice.random() < 0.7:
            found.append(
                ("origin", ISSUER if dice.random() < 0.95 else dice.choice(("null", "https://evil.test", "", "x")))
            )
            found.append(
                ("sec-fetch-site", "same-origin" if dice.random() < 0.95 else dice.choice(("cross-site", "none", "²")))
            )
        if dice.random() < 0.1:
            found.append(("accept-language", dice.choice(LANGUAGES)))
        if dice.random() < 0.1:
            name = dice.choice(
                ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip", "x-original-url", "remote-user",
                 "x-http-method-override", "if-none-match", "range", "accept", "referer", "accept-encoding", "expect")
            )  # fmt: skip
            found.append((name, dice.value(["127.0.0.1", "https", "evil.test", "bytes=0-1,2-3", "text/html"])))
        if dice.random() < 0.01:
            found += [(f"x-{number}", "a") for number in range(200)]
        if dice.random() < 0.01:
            found.append(("x-long", "b" * 40_000))
        return found

    def _authorization(self) -> list[tuple[str, str | bytes]]:
        dice, tokens = self.dice, list(self.held.tokens.values())
        if self.actor == "site" and dice.random() < 0.9:
            name = dice.choice(SITES)
            secret = site_secret(name) if dice.random() < 0.85 else dice.value([site_secret(name)])
            pair = f"{name}:{secret}".encode("utf-8", "surrogatepass")
            text = base64.b64encode(pair).decode() if dice.random() < 0.95 else dice.hostile()
            found: list[tuple[str, str | bytes]] = [
                ("authorization", f"{dice.choice(('Basic', 'Basic', 'basic', 'BASIC'))} {text}")
            ]
        elif self.actor == "bearer" and tokens and dice.random() < 0.9:
            found = [("authorization", f"{dice.choice(('Bearer', 'Bearer', 'bearer', 'DPoP'))} {dice.value(tokens)}")]
        elif dice.random() < 0.03:
            found = [
                (
                    "authorization",
                    dice.choice((b"Bearer", b"Bearer \xff\xfe", b"Basic =====", b"Basic \xff", b"", b"x " * 2000)),
                )
            ]
        else:
            return []
        return found * 2 if dice.random() < 0.02 else found

    def _content(self, method: str, transaction: tuple[str, str] | None) -> tuple[bytes, bytes, str | None]:
        """Query, body and content type."""
        dice, route = self.dice, self.route
        pairs = self._pairs(transaction)
        extra = [(dice.hostile()[:60], dice.hostile())] if dice.random() < 0.05 else []
        if method not in {"POST", "PUT", "PATCH"}:
            return dice.encoded(pairs + extra), b"" if dice.random() < 0.98 else b"body", None
        query = dice.encoded(extra) if dice.random() < 0.95 else dice.encoded(pairs)
        if route.path == "/posting/requests" and dice.random() < 0.9:
            return query, dice.json(pairs), "application/json"
        roll = dice.random()
        if roll < 0.9:
            return query, dice.encoded(pairs + extra), FORM
        if roll < 0.93:
            return query, dice.json(pairs), dice.choice(CONTENT_TYPES)
        if roll < 0.95:
            part = b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\nx\r\n'
            return query, part * dice.choice((1, 500)) + b"--x--\r\n", "multipart/form-data; boundary=x"
        if roll < 0.96:
            return query, b"a=1&" * 20_000, FORM
        if roll < 0.98:
            return query, dice.choice((b"\xff\xfe\x00", b"%", b"&&&&", b"=", b"csrf", b"\0" * 100)), FORM
        return query, dice.encoded(pairs), dice.choice(CONTENT_TYPES)

    def _pairs(self, transaction: tuple[str, str] | None) -> list[tuple[str, str]]:
        dice, route = self.dice, self.route
        names = NAMES.get(route.path, ())
        if route.path == "/authorize" and dice.random() < 0.85:
            names = tuple(name for name in names if name in _BASE or dice.random() < 0.08)
        elif route.path == "/token" and dice.random() < 0.8:
            kind = dice.choice(("authorization_code", "refresh_token"))
            names = _TOKEN[kind]
            pairs = [
                (name, kind if name == "grant_type" and dice.random() < 0.97 else self._value(name)) for name in names
            ]
            return self._disturbed(pairs)
        elif len(names) > 6:
            names = tuple(name for name in names if dice.random() < 0.6)
        pairs = [(name, self._value(name)) for name in names]
        if route.guard in {Guard.TRANSACTION, Guard.SIGNED_IN, Guard.FRESH, Guard.BROWSER} and route.method == "POST":
            pairs.append(("csrf", self._form_token(transaction)))
        return self._disturbed(pairs)

    def _disturbed(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        dice = self.dice
        if pairs and dice.random() < 0.05:
            pairs.append(dice.choice(pairs))
        if pairs and dice.random() < 0.05:
            pairs.pop(dice.randrange(len(pairs)))
        if dice.random() < 0.1:
            dice.shuffle(pairs)
        return pairs

    def _form_token(self, transaction: tuple[str, str] | None) -> str:
        bindings = [f"s:{self.held.sid}" if self.actor == "person" else "anonymous"]
        if transaction is not None:
            bindings = [f"f:{transaction[0]}"]
        good = self.larder.house.world.cookies.form_token(self.dice.choice(bindings))
        return good if self.dice.random() < 0.93 else self.dice.value([good])

    def _value(self, name: str) -> str:
        valid = self._valid(name)
        return self.dice.choice(valid) if valid and self.dice.random() < 0.8 else self.dice.value(valid)

    def _valid(self, name: str) -> Sequence[str]:
        held = self.held
        codes = [code for code, _ in held.codes]
        verifiers = [verifier for _, verifier in held.codes]
        tokens = list(held.tokens.values())
        found: dict[str, Sequence[str]] = {
            "client_id": (*SITES, DOCUMENT), "client": (*SITES, DOCUMENT), "redirect_uri": REDIRECTS, "response_type": ("code",),
            "scope": ("openid", "openid profile email", "openid offline_access"), "state": held.states or ("s",), "nonce": ("n-1",),
            "code_challenge": ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",), "code_challenge_method": ("S256", "plain"),
            "prompt": ("none", "login", "consent", "select_account"), "max_age": ("0", "10", "100000"),
            "ui_locales": ("fr en", "qps"), "response_mode": ("query", "form_post"), "code": codes, "code_verifier": verifiers,
            "refresh_token": [held.tokens.get("refresh_token", "x")], "grant_type": ("authorization_code", "refresh_token"),
            "access_token": tokens, "token": tokens + codes, "id_token_hint": [held.tokens.get("id_token", "x")],
            "client_secret": [site_secret(name) for name in SITES], "token_type_hint": ("access_token", "refresh_token"),
            "id_token": [held.tokens.get("id_token", "x")], "nonce_verifier": ("v" * 43,),
            "next": ("/me", "/me/sites", "/posting/opt-in"), "back": ("/", "/help"), "to": ("fr", "en"), "for": ("posting", "close"),
            "provider": PROVIDERS, "use": ("current", "forget", *CLAIMS), "remember_provider": ("1",), "error": ("access_denied",),
            "iss": (ISSUER, self.larder.house.openid.url), "share": CLAIMS, "claim": CLAIMS, "newsletter": ("club",),
            "decision": ("continue", "create", "share", "keep", "agree", "refuse", "ask_again", "allow", "post", "dont", "close"),
            "preferred_username": ("canary-zoe-0", "somebody"), "v-name": ("Canary Zoë",), "v-email": ("canary@mail.test",),
            "zoneinfo": ("Europe/Paris",), "locale": ("fr",), "what": ("everything", *SITES), "sid": (held.sid,), "all": ("1",),
            "sealed": held.sealed, "request": (*held.sealed, *held.opt_ins), "post_logout_redirect_uri": ("https://forum.test/bye",),
            "sub": (self.larder.subject,), "shown": held.shown, "text": ("Hello from the forum",), "url": ("https://forum.test/t/1",),
            "return_to": ("https://forum.test/t/1",),
        }  # fmt: skip
        return found.get(name, ())


_BASE: Final = {
    "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
}  # fmt: skip
_TOKEN: Final = {
    "authorization_code": ("grant_type", "code", "redirect_uri", "code_verifier"),
    "refresh_token": ("grant_type", "refresh_token"),
}

# --- judging answers ----------------------------------------------------------------------------------

INTERNALS: Final = re.compile(
    r"Traceback|File &quot;|File \"/|sqlalchemy|asyncpg|site-packages|\.py:\d|orjson|Exception\b"
)
COOKIE_FLAGS: Final = ("HttpOnly", "Secure", "SameSite=lax", "Path=/")


def check(house: House, asked: Asked, answer: Answer) -> list[str]:
    """What is wrong with an answer, in words."""
    wrong = []
    status = answer.status
    if status >= 500 and not (status == 503 and answer["retry-after"]):
        wrong.append(f"status {status}")
    if status in {307, 308} or not 200 <= status < 600:
        wrong.append(f"status {status}")
    needed = SECURITY_HEADERS[1:] if answer.all("access-control-allow-origin") else SECURITY_HEADERS
    wrong += [f"no {name}" for name in needed if not answer.all(name)]
    if "frame-ancestors 'none'" not in answer["content-security-policy"]:
        wrong.append("can be framed")
    if any(b"\r" in value or b"\n" in value or b"\0" in value for _, value in answer.headers):
        wrong.append("line end in a header")
    for target in (*answer.all("location"), *(text.partition("url=")[2] for text in answer.all("refresh"))):
        if not is_allowed(house, target):
            wrong.append(f"leads to {target!r}")
    for cookie in answer.all("set-cookie"):
        missing = [flag for flag in COOKIE_FLAGS if flag.lower() not in cookie.lower()]
        if missing or not cookie.startswith("__Host-doorward"):
            wrong.append(f"cookie without {missing or 'our name'}: {cookie[:60]!r}")
    text = answer.text
    if INTERNALS.search(text):
        wrong.append("internals in the body")
    if MARKUP in text or f"<script>{MARK}" in text:
        wrong.append("markup not escaped")
    if answer.all("access-control-allow-origin") and answer["access-control-allow-origin"] != "*":
        wrong.append("an origin is reflected")
    return wrong


SECURITY_HEADERS: Final = (
    "cross-origin-resource-policy", "x-content-type-options", "x-frame-options", "content-security-policy",
    "referrer-policy", "permissions-policy", "strict-transport-security", "cache-control",
)  # fmt: skip
PUBLIC: Final = "/.well-known/"


def is_allowed(house: House, target: str) -> bool:
    """A path of ours, an address of a registered site, or a provider."""
    if target.startswith("/"):
        return not target.startswith(("//", "/\\")) and "\\" not in target.partition("?")[0]
    parts = urlsplit(html.unescape(target))
    hosts = {f"{name}.test" for name in SITES} | {"login.test"}
    if parts.scheme == "https" and parts.netloc in hosts:
        return True
    return target.startswith((house.facebook.url + "/", house.openid.url + "/"))


def leaks(log: str, held: Held) -> list[str]:
    """Which secrets or planted marks a log holds."""
    found = [f"{secret[:6]}…" for secret in held.secrets() if secret in log]
    return (
        found + (["a planted mark"] if MARK in log else []) + (["an e-mail address"] if "@people.test" in log else [])
    )


__all__ = ["ACTORS", "Dice", "Larder", "Plan", "Shown", "check", "leaks"]

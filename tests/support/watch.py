"""Watch a Doorward while people use it, and search what it logged for what must never be logged.

`Watched(app, log)` stands around an application and notes every secret and personal value that passes: cookies, codes,
states, tokens, passwords of sites, what people type. The fixture `quiet_log` (automatic in every journey) searches our
own log and Python's for each of them at the end, whatever the journey did, and wants every line to be one JSON object
with a reference code where something went wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.support.canaries import SHORTEST, Canaries

from providers.sandbox.facebook_people import PEOPLE as FACEBOOK_PEOPLE
from providers.sandbox.openid_connect_state import PEOPLE as OPENID_PEOPLE

SECRET_PARAMETERS: Final = frozenset(
    {
        "access_token", "client_secret", "code", "code_challenge", "code_verifier", "csrf", "id_token", "id_token_hint",
        "login_hint", "logout_token", "nonce", "refresh_token", "request", "sealed", "session_token", "state", "token",
    }
)  # fmt: skip
"""Parameters of requests, forms, addresses and JSON answers whose values are nobody else's business."""
TYPED: Final = frozenset({"preferred_username", "text"})
LONG_ENOUGH: Final = 12
"""A token or cookie shorter than this is found by chance."""
READ_AT_MOST: Final = 256 * 1024
FACEBOOK_APP: Final = "1000000000000001"

_open: list[Watched] = []


class Watched:
    """ASGI middleware that notes what passes. `log` gives everything logged so far."""

    def __init__(self, app: ASGIApp, log: Callable[[], str] | None = None, *, is_json: bool = True) -> None:
        self._app = app
        self.log = log or (lambda: "")
        self.is_json = is_json
        self.seen: dict[str, str] = {}
        """What must not be logged -> where it came from."""
        _open.append(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._note_request(scope)
        posted = bytearray()
        answered = bytearray()
        kind = ""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request" and len(posted) < READ_AT_MOST:
                posted.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal kind
            if message["type"] == "http.response.start":
                kind = self._note_headers(message["headers"])
            elif len(answered) < READ_AT_MOST:
                answered.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receiving, sending)
        self._note_pairs("a form", posted.decode("latin-1"))
        if "json" in kind:
            self._note_json(bytes(answered))

    def add(self, value: str, source: str, least: int = LONG_ENOUGH) -> None:
        """Note one value, if it is long enough to be told from chance."""
        if len(value.encode("utf-8", "replace")) >= least and not value.isspace():
            self.seen.setdefault(value, source)

    def _note_request(self, scope: Scope) -> None:
        self._note_pairs("a query", scope["query_string"].decode("latin-1"))
        for name, value in scope["headers"]:
            if name == b"cookie":
                self._note_cookie(value.decode("latin-1"))
            elif name == b"authorization":
                self._note_authorization(value.decode("latin-1"))

    def _note_cookie(self, header: str) -> None:
        for part in header.split(";"):
            self.add(part.partition("=")[2].strip(), "a cookie")

    def _note_authorization(self, header: str) -> None:
        scheme, _, credential = header.partition(" ")
        self.add(credential, "an authorization header")
        if scheme.lower() == "basic":
            try:
                decoded = base64.b64decode(credential).decode()
            except (binascii.Error, UnicodeError):
                return
            self.add(decoded.partition(":")[2], "a site's secret")

    def _note_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        kind = ""
        for name, raw in headers:
            value = raw.decode("latin-1")
            if name == b"content-type":
                kind = value
            elif name == b"set-cookie":
                try:
                    for morsel in SimpleCookie(value).values():
                        self.add(morsel.value, "a cookie that was set")
                except CookieError:
                    self.add(value, "a cookie that was set")
            elif name in {b"location", b"refresh"}:
                self._note_pairs("an address", urlsplit(value.partition("url=")[2] or value).query)
        return kind

    def _note_pairs(self, source: str, text: str) -> None:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
        except ValueError:
            return
        for name, value in pairs:
            if name in SECRET_PARAMETERS:
                self.add(value, f"{name} in {source}", 8)
            elif name in TYPED or name.startswith("v-"):
                self.add(value, f"{name} in {source}", SHORTEST)

    def _note_json(self, body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            return
        if isinstance(answer, dict):
            for name, value in answer.items():
                if name in SECRET_PARAMETERS and isinstance(value, str):
                    self.add(value, f"{name} in an answer")

    def labelled(self) -> dict[str, str]:
        """What was seen, under labels that say where it came from."""
        return {f"{source} ({number})": value for number, (value, source) in enumerate(list(self.seen.items()))}

    def check(self) -> None:
        """Search the log. Raises `AssertionError` naming what was found, never its value."""
        text = self.log()
        check_text("the log", text, {**self.labelled(), **PERSONAL})
        if self.is_json:
            check_lines(text)

    def end(self) -> None:
        """Search it for the last time, and watch it no more."""
        if self in _open:
            _open.remove(self)
        self.check()


def check_text(place: str, text: str, secrets: dict[str, str]) -> None:
    """Search a text for values. One pass over the whole finds whether any is there; only then is it named."""
    Canaries({label: value for label, value in secrets.items() if len(value.encode()) >= SHORTEST}).check_bytes(
        place, text.encode("utf-8", "replace")
    )


def check_lines(text: str) -> None:
    """One event is one line and one JSON object, and what went wrong has its reference code (catalogue 151)."""
    for line in text.splitlines():
        event = json.loads(line)
        assert isinstance(event, dict), line
        assert {"event", "level", "timestamp"} <= set(event), line
        assert "dropped" not in event, f"a fact that no log line may hold: {line}"
        if event["event"] in {"problem", "fault"}:
            assert event.get("reference"), line


def _personal() -> dict[str, str]:
    """Names, addresses and ids of everybody in the sandboxes."""
    found: dict[str, str] = {}
    for person in FACEBOOK_PEOPLE.values():
        own_id = person.id_in(FACEBOOK_APP)
        for label, value in (
            ("name", person.name),
            ("email", person.email),
            ("leaked email", person.leaked_email),
            ("id", own_id),
        ):
            if value:
                found[f"{label} of {person.slug}"] = value
    for slug, one in OPENID_PEOPLE.items():
        claims: dict[str, Any] = {"name": one.name, "sub": one.subject, **one.email, **one.profile}
        for label in ("name", "email", "sub", "given_name", "family_name"):
            value = claims.get(label)
            if isinstance(value, str) and len(value.encode()) >= SHORTEST:
                found[f"{label} of {slug}"] = value
    return found


PERSONAL: Final = _personal()


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """At the end of the test: no secret and no person in any log of any Doorward that was open in it.

    One that lives longer than a test is searched by whoever closes it: `Watched.end`.
    """
    before = len(_open)
    yield
    told = "\n".join(_lines(caplog))
    watching, opened = list(_open), _open[before:]
    del _open[before:]
    for watched in opened:
        watched.check()
    for watched in watching if told else ():
        check_text("Python's log", told, {**watched.labelled(), **PERSONAL})


def _lines(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    for record in caplog.get_records("setup") + caplog.get_records("call"):
        yield f"{record.name} {record.getMessage()} {record.exc_text or ''}"

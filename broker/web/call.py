"""One request on its way through a handler: who asks, what they sent, and how to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.session import Session
from broker.domain.values import ProviderId
from broker.flows.answers import AnswerTo
from broker.flows.sign_in import SignInFlow
from broker.flows.transactions import Carried
from broker.web.forms import Form, is_local_path

if TYPE_CHECKING:
    from broker.web.pages import Page
    from broker.web.world import World


@dataclass(slots=True, kw_only=True)
class Call:
    """Made by `web.endpoint`, filled in by the route's guard."""

    request: Request
    world: World
    locale: str = "en"
    form: Form = field(default_factory=lambda: Form([]), repr=False)
    session: Session | None = field(default=None, repr=False)
    client: Client | None = None
    """The authenticated client (guard `client`), or the one an authorization request names."""
    answer_to: AnswerTo | None = field(default=None, repr=False)
    carried: Carried | None = field(default=None, repr=False)
    """The sign-in transaction of an `/f/<id>/…` page."""
    back_to: str = field(default="", repr=False)
    """Where the site wants the person back, checked; nothing: its home page."""
    scheme: str = ""
    """How an access token came, at an endpoint that wants one: `Bearer` or `DPoP`."""
    shows_key: bool = False
    """Whether it came with a DPoP proof, good or not: then the answer has a nonce for the next one."""
    reference: str = ""
    """What the person can read out so that the log line is found."""
    opened: list[str] = field(default_factory=list)
    """Parameters of its address without which this page is another one. Ours: what anybody can write stands on no page."""

    _sign_in: SignInFlow | None = field(default=None, repr=False)

    async def sign_in(self) -> SignInFlow:
        """The sign-in of who asks, with the providers that they may use."""
        if self._sign_in is None:
            self._sign_in = await self.world.circles.of(self.session)
        return self._sign_in

    def hides(self, provider: ProviderId) -> bool:
        """Whether this provider is only for some, and who asks was not found to be one of them."""
        seen = self._sign_in or self.world.sign_in
        return provider in self.world.circles.circles and provider not in seen.providers

    @property
    def signed_in(self) -> Session:
        """The session, behind a guard that made sure of it."""
        if self.session is None:
            msg = "the route's guard lets nobody in without a session"
            raise TypeError(msg)
        return self.session

    @property
    def authenticated(self) -> Client:
        """The site that asks, behind a guard that made sure of it."""
        if self.client is None:
            msg = "the route's guard lets nobody in who has not proved which site they are"
            raise TypeError(msg)
        return self.client

    @property
    def transaction_id(self) -> str:
        """The transaction's id in the path."""
        return str(self.request.path_params["id"])

    @property
    def place(self) -> str:
        """Where this page can be opened again, in another language: a provider's answer is good only once."""
        if self.path.startswith("/callback/"):
            return f"/f/{self.carried.transaction.id}/continue" if self.carried is not None else "/"
        kept = [(name, self.request.query_params[name]) for name in self.opened if name in self.request.query_params]
        whole = f"{self.path}?{urlencode(kept)}"
        return whole if kept and is_local_path(whole) else self.path

    @property
    def binding(self) -> str:
        """What this page's forms are bound to."""
        if self.path.startswith("/f/") and "id" in self.request.path_params:
            return f"f:{self.transaction_id}"
        return f"s:{self.session.sid}" if self.session is not None else "anonymous"

    @property
    def path(self) -> str:
        """The path that was asked for, as it is decoded. Not `request.url`, which costs 8 µs to put together."""
        return str(self.request.scope["path"])

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("user-agent", "")

    @property
    def address(self) -> str:
        """The browser's network address, as far as trusted proxies tell it; for limits only, never kept."""
        return str(self.request.scope.get("doorward.address", ""))

    def page(self, page: Page, status: int = 200) -> Response:
        """A page in the person's language."""
        body = self.world.renderer.page(
            page,
            locale=self.locale,
            csrf_token=self.world.cookies.form_token(self.binding),
            request_path=self.place,
        )
        return Response(body, status, media_type="text/html; charset=utf-8")


def see_other(url: str) -> Response:
    """303 to one of our own pages after a POST, or after a GET to anywhere verified (never 307 or 308: catalogue 14)."""
    return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": url})


def answer_json(data: Any, status: int = 200) -> Response:
    """A JSON answer that nobody may store."""
    return Response(orjson.dumps(data), status, headers={"Cache-Control": "no-store"}, media_type="application/json")

"""Demo forum: Starlette with the sign-in kit. Reading is public, writing needs a sign-in.

Run: ``python -m broker.demo.sites.forum --client-secret-file FILE``
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html import escape
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from doorward_verify import Session, SignInKit, require_session
from doorward_verify.asgi import SignInMiddleware
from doorward_verify.wire import Request as KitRequest

from .look import DECLINED, STYLE, Look, Visitor, only_shared
from .posting import NETWORKS, ask_to_post, returned_note, say_outcome
from .run import read_settings

__all__ = ["create_app"]

LONGEST = 2000
MOST = 500


@dataclass(slots=True)
class Post:
    """One contribution."""

    sub: str
    author: str = field(repr=False)
    text: str = field(repr=False)
    picture: str | None = field(repr=False, default=None)
    """Its address is good for as long as its owner shares it here."""


@dataclass(slots=True)
class Topic:
    """A title and what was written under it."""

    title: str
    posts: list[Post]


def first_topics() -> list[Topic]:
    """What a new forum starts with."""
    return [
        Topic(
            "Welcome to the forum",
            [Post("-", "The gardeners", "Say hello. Anyone can read, members can write.")],
        ),
        Topic("Seed swap on Saturday", [Post("-", "Robin", "I have far too many tomatoes. Who wants some?")]),
    ]


class Forum:
    """The forum's pages. Topics live in memory and are gone when it stops."""

    def __init__(self, kit: SignInKit, *, issuer: str, client_id: str, client_secret: str) -> None:
        self.kit, self.topics = kit, first_topics()
        self._issuer, self._client_id, self._secret = issuer, client_id, client_secret
        self.look = Look(title="Forum", kind="forum", theme="forum", issuer=issuer, logout_path=kit.logout_path)

    def routes(self) -> list[Route]:
        """All addresses of the site."""
        return [
            Route("/", self.show_topics),
            Route("/topics", self.start_topic, methods=["POST"]),
            Route("/t/{topic:int}", self.show_topic),
            Route("/t/{topic:int}/reply", self.reply, methods=["POST"]),
            Route("/t/{topic:int}/share", self.share, methods=["POST"]),
            Route("/me", self.show_me),
            Route("/style.css", self.show_style),
        ]

    def render(
        self,
        request: Request,
        heading: str,
        body: str,
        *,
        note: str = "",
        status: int = 200,
        refresh: str | None = None,
    ) -> Response:
        """A page in the forum's frame."""
        here = request.url.path if request.method == "GET" else "/"
        if request.state.sign_in_notice == "declined":
            note = DECLINED + note
        html = self.look.page(
            heading,
            body,
            visitor=visitor_of(request.state.session),
            sign_in=self.kit.start_url(here),
            note=note,
        )
        more = {"Refresh": f"0; url={refresh}"} if refresh else {}
        return HTMLResponse(html, status, headers={**self.look.headers, **more})

    async def show_topics(self, request: Request) -> Response:
        """The first page."""
        items = "".join(
            f'<li><a href="/t/{number}">{escape(topic.title)}</a><br>'
            f'<span class="by">{len(topic.posts)} {"post" if len(topic.posts) == 1 else "posts"}, '
            f"started by {escape(topic.posts[0].author)}</span></li>"
            for number, topic in enumerate(self.topics)
        )
        form = (
            '<h2>Start a topic</h2><form method="post" action="/topics"><label for="title">Title</label>'
            '<input id="title" name="title" required maxlength="120"><label for="text">Your post</label>'
            f'<textarea id="text" name="text" required maxlength="{LONGEST}"></textarea><button>Start the topic</button></form>'
            if request.state.session
            else "<p>Sign in to start a topic. Reading needs no account.</p>"
        )
        return self.render(request, "Topics", f'<ul class="list">{items}</ul>{form}')

    async def show_topic(self, request: Request) -> Response:
        """One topic with its posts."""
        number, topic = self._topic(request)
        session: Session | None = request.state.session
        posts = "".join(self._post(number, index, post, session) for index, post in enumerate(topic.posts))
        form = (
            f'<h2>Reply</h2><form method="post" action="/t/{number}/reply"><label for="text">Your post</label>'
            f'<textarea id="text" name="text" required maxlength="{LONGEST}"></textarea><button>Reply</button></form>'
            if session
            else "<p>Sign in to reply. Reading needs no account.</p>"
        )
        note = returned_note(request.query_params.get("posting"))
        return self.render(request, topic.title, posts + form + '<p><a href="/">All topics</a></p>', note=note)

    def _post(self, number: int, index: int, post: Post, session: Session | None) -> str:
        share = ""
        if session and session.sub == post.sub:
            share = (
                f'<form method="post" action="/t/{number}/share"><input type="hidden" name="post" value="{index}">'
                + " ".join(
                    f'<button class="quiet" name="network" value="{network}">Share what I wrote'
                    f'<span class="by"> on {escape(label)}</span></button>'
                    for network, label in NETWORKS.items()
                )
                + "</form>"
            )
        portrait = self.look.portrait(post.picture)
        return f'<article><p class="by">{portrait}{escape(post.author)} wrote:</p><p>{escape(post.text)}</p>{share}</article>'

    async def start_topic(self, request: Request) -> Response:
        """Begin a topic."""
        session, form = await self._form(request)
        title, text = form.get("title", "").strip()[:120], form.get("text", "").strip()[:LONGEST]
        if not title or not text or len(self.topics) >= MOST:
            raise HTTPException(422)
        self.topics.append(Topic(title, [Post(session.sub, name_of(session), text, session.picture)]))
        return RedirectResponse(f"/t/{len(self.topics) - 1}", 303)

    async def reply(self, request: Request) -> Response:
        """Write under a topic."""
        session, form = await self._form(request)
        number, topic = self._topic(request)
        text = form.get("text", "").strip()[:LONGEST]
        if not text or len(topic.posts) >= MOST:
            raise HTTPException(422)
        topic.posts.append(Post(session.sub, name_of(session), text, session.picture))
        return RedirectResponse(f"/t/{number}", 303)

    async def share(self, request: Request) -> Response:
        """Ask the broker to post what this person wrote; the answer is shown in words."""
        session, form = await self._form(request)
        number, topic = self._topic(request)
        index = form.get("post", "")
        if not index.isascii() or not index.isdigit() or int(index[:6]) >= len(topic.posts):
            raise HTTPException(404)
        post = topic.posts[int(index[:6])]
        if post.sub != session.sub:
            raise HTTPException(403)
        network = form.get("network", "facebook")
        if network not in NETWORKS:
            raise HTTPException(404)
        outcome = await asyncio.to_thread(
            ask_to_post,
            issuer=self._issuer,
            client_id=self._client_id,
            client_secret=self._secret,
            sub=session.sub,
            text=post.text,
            url=f"{self.kit.origin}/t/{number}",
            network=network,
        )
        heading, body = say_outcome(outcome, f"/t/{number}", NETWORKS[network])
        # A form that leads away is answered with a page, since form-action covers redirects too.
        return self.render(request, heading, body, refresh=outcome.continue_url)

    async def show_me(self, request: Request) -> Response:
        """Exactly what this site received."""
        visitor = visitor_of(require_session(request.state.session))
        if visitor is None:
            raise HTTPException(401)
        return self.render(request, "What the forum knows about you", self.look.about_person(visitor))

    async def show_style(self, _request: Request) -> Response:
        """The style sheet."""
        return Response(STYLE, media_type="text/css")

    async def show_problem(self, request: Request, error: Exception) -> Response:
        """A page for what went wrong."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {
            403: ("Not allowed", "This form did not come from this site, or the post is not yours."),
            404: ("Page not found", "There is no such page."),
            405: ("Not possible here", "Use the forms of this site."),
            422: ("Something is missing", "Write something first, then send it again."),
        }
        heading, text = words.get(status, ("Something went wrong", "Please try again."))
        return self.render(request, heading, f'<p>{escape(text)}</p><p><a href="/">All topics</a></p>', status=status)

    def _topic(self, request: Request) -> tuple[int, Topic]:
        number = request.path_params["topic"]
        if number >= len(self.topics):
            raise HTTPException(404)
        return number, self.topics[number]

    async def _form(self, request: Request) -> tuple[Session, dict[str, str]]:
        """The form of a signed-in person, sent from a page of this site."""
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        if not self.kit.is_same_origin(KitRequest(method="POST", path="/", headers=headers)):
            raise HTTPException(403)
        session = require_session(request.state.session)
        form = await request.form(max_files=0, max_fields=10)
        return session, {name: value for name, value in form.items() if isinstance(value, str)}


def visitor_of(session: Session | None) -> Visitor | None:
    """The person of a session, for showing."""
    return None if session is None else Visitor(sub=session.sub, shared=only_shared(session.claims))


def name_of(session: Session) -> str:
    """What to write over a post."""
    return Visitor(sub=session.sub, shared=only_shared(session.claims)).name


def create_app(*, issuer: str, client_id: str, client_secret: str, public_url: str, **kit_options: Any) -> Starlette:
    """The forum as an ASGI application."""
    kit = SignInKit(
        issuer=issuer, client_id=client_id, client_secret=client_secret, public_url=public_url, **kit_options
    )
    forum = Forum(kit, issuer=issuer, client_id=client_id, client_secret=client_secret)
    app = Starlette(routes=forum.routes(), exception_handlers={HTTPException: forum.show_problem})
    app.add_middleware(SignInMiddleware, kit=kit)
    return app


def main() -> None:
    """Serve the forum on this machine."""
    given = read_settings("forum", port=8001)
    app = create_app(
        issuer=given.issuer,
        client_id=given.client_id,
        client_secret=given.client_secret,
        public_url=given.public_url,
    )
    # The access log would print codes and states.
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False, server_header=False)


if __name__ == "__main__":
    main()

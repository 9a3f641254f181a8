"""Demo issue tracker: a plain OpenID Connect client made with Authlib, without the sign-in kit.

Run: ``python -m broker.demo.sites.tracker --client-secret-file FILE``
Redirect address ``/callback``, back-channel logout address ``/backchannel``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from urllib.parse import quote

import httpx2
import uvicorn
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from doorward_verify.paths import safe_next

from .look import DECLINED, STYLE, Look, Visitor, message, only_shared
from .run import read_settings

__all__ = ["create_app"]

SESSION_LIFE: Final = 8 * 3600
MOST: Final = 2000
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(slots=True)
class Issue:
    """One thing to do."""

    title: str
    text: str = field(repr=False)
    author: str = field(repr=False)
    is_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A signed-in browser. Kept here, not in its cookie, so that the broker can end it."""

    sub: str
    sid: str | None
    id_token: str = field(repr=False)
    shared: Mapping[str, Any] = field(repr=False)
    until: float


def first_issues() -> list[Issue]:
    """What a new tracker starts with."""
    return [
        Issue("The gate squeaks", "It does so since spring.", "The gardeners"),
        Issue("Buy a new hose", "The old one leaks in three places.", "Robin", is_open=False),
    ]


class Tracker:
    """The tracker's pages. Issues and sessions live in memory and are gone when it stops."""

    def __init__(self, *, issuer: str, client_id: str, client_secret: str, public_url: str, **client: Any) -> None:
        self._issuer, self._client_id, self._url = issuer, client_id, public_url
        self.issues = first_issues()
        self._people: dict[str, Person] = {}
        self._logout_ids: dict[str, float] = {}
        self.look = Look(title="Tracker", kind="issue tracker", theme="tracker", issuer=issuer, logout_path="/sign-out")
        oauth = OAuth()
        oauth.register(
            name="doorward",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=issuer + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic",
                "timeout": 5.0,
                "trust_env": False,
                **client,
            },
        )
        self._oidc = oauth.create_client("doorward")

    def routes(self) -> list[Route]:
        """All addresses of the site."""
        return [
            Route("/", self.show_issues),
            Route("/issues", self.report, methods=["POST"]),
            Route("/issues/{number:int}", self.show_issue),
            Route("/issues/{number:int}/close", self.close, methods=["POST"]),
            Route("/me", self.show_me),
            Route("/sign-in", self.sign_in),
            Route("/callback", self.callback),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/backchannel", self.backchannel, methods=["POST"]),
            Route("/style.css", self.show_style),
        ]

    # ---- sign-in: authorization code with PKCE, state and nonce, all kept by Authlib -------------------

    async def sign_in(self, request: Request) -> Response:
        """Send the browser to the broker and remember the page it came from."""
        state = secrets.token_urlsafe(24)
        pages = dict(list(request.session.get("pages", {}).items())[-3:])
        request.session["pages"] = {
            **pages,
            state: safe_next(request.query_params.get("next"), prefix="/sign-in"),
        }
        try:
            answer: Response = await self._oidc.authorize_redirect(request, self._url + "/callback", state=state)
        except (httpx2.HTTPError, OAuthError, RuntimeError, ValueError):
            return self._unavailable(request)
        return answer

    async def callback(self, request: Request) -> Response:
        """The browser is back: redeem the code, ask for the person's fields, begin a session."""
        pages = request.session.get("pages", {})
        back = pages.pop(request.query_params.get("state", ""), None)
        # RFC 9207 §2.4: the broker promises to name itself, so an answer that does not is somebody else's.
        if back is None or request.query_params.getlist("iss") != [self._issuer]:
            return self._failed(request, "/")
        if "error" in request.query_params:
            request.session["pages"] = pages
            if request.query_params["error"] != "access_denied":
                return self._failed(request, back)
            request.session["declined"] = True
            return RedirectResponse(back, 303)
        try:
            token = await self._oidc.authorize_access_token(request, leeway=60)
            claims = token["userinfo"]
            fields = await self._oidc.userinfo(token=token)
        except httpx2.HTTPError:
            return self._unavailable(request)
        except (OAuthError, JoseError, KeyError, RuntimeError, ValueError):
            return self._failed(request, back)
        # OpenID Connect Core §5.3.2: fields of another subject must not be used.
        if fields.get("sub") != claims["sub"] or claims.get("aud") not in (
            self._client_id,
            [self._client_id],
        ):
            return self._failed(request, back)
        self._begin(request, dict(claims), dict(fields), token["id_token"])
        return RedirectResponse(back, 303)

    def _begin(self, request: Request, claims: dict[str, Any], fields: dict[str, Any], id_token: str) -> None:
        now = time.time()
        self._people = {key: person for key, person in self._people.items() if person.until > now}
        while len(self._people) >= MOST:
            del self._people[next(iter(self._people))]
        # A new id at sign-in: one that was planted before is worth nothing.
        self._people.pop(request.session.get("id", ""), None)
        request.session.clear()
        request.session["id"] = secrets.token_urlsafe(32)
        self._people[request.session["id"]] = Person(
            sub=claims["sub"],
            sid=claims.get("sid"),
            id_token=id_token,
            shared=only_shared(fields),
            until=now + SESSION_LIFE,
        )

    def person_of(self, request: Request) -> Person | None:
        """Who is signed in with this browser."""
        person = self._people.get(request.session.get("id", ""))
        return person if person is not None and person.until > time.time() else None

    async def sign_out(self, request: Request) -> Response:
        """Sign out here, then at the broker (RP-Initiated Logout 1.0)."""
        if not self._is_same_origin(request):
            raise HTTPException(403)
        person = self._people.pop(request.session.get("id", ""), None)
        request.session.clear()
        target = "/"
        if person is not None:
            try:
                found = await self._oidc.create_logout_url(
                    post_logout_redirect_uri=self._url + "/",
                    id_token_hint=person.id_token,
                    client_id=self._client_id,
                )
                target = found["url"]
            except (httpx2.HTTPError, RuntimeError, ValueError):
                target = "/"
        body = (
            "<p>One more step at the sign-in service follows by itself.</p>"
            f'<p><a class="button" href="{escape(target)}">Continue</a></p>'
        )
        return self.render(request, "You are signed out of this site", body, Refresh=f"0; url={target}")

    async def backchannel(self, request: Request) -> Response:
        """The broker says a session has ended (Back-Channel Logout 1.0 §2.6)."""
        form = await request.form(max_files=0, max_fields=5)
        try:
            claims = await self._read_logout_token(str(form.get("logout_token", ""))[:8192])
        except (JoseError, ValueError, httpx2.HTTPError, RuntimeError):
            return JSONResponse({"error": "invalid_request"}, 400, headers={"Cache-Control": "no-store"})
        sid, sub = claims.get("sid"), claims.get("sub")
        self._people = {
            key: person
            for key, person in self._people.items()
            if not (person.sid == sid if sid is not None else person.sub == sub)
        }
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    async def _read_logout_token(self, value: str) -> dict[str, Any]:
        """Raises `JoseError` or `ValueError` unless this is a good, new logout token for this site."""
        try:
            decoded = jwt.decode(value, await self._keys(), algorithms=["RS256", "ES256"])
        except JoseError:
            # It may be signed with a key that is newer than our copy.
            decoded = jwt.decode(value, await self._keys(force=True), algorithms=["RS256", "ES256"])
        claims, now = decoded.claims, time.time()
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            iat={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
            events={"essential": True},
        ).validate(claims)
        jti = str(claims["jti"])
        self._logout_ids = {key: end for key, end in self._logout_ids.items() if end > now}
        events = claims["events"]
        if (
            decoded.header.get("typ") != "logout+jwt"
            or not isinstance(events, dict)
            or not isinstance(events.get(LOGOUT_EVENT), dict)
            or "nonce" in claims
            or not (isinstance(claims.get("sid"), str) or isinstance(claims.get("sub"), str))
            or claims["exp"] - claims["iat"] > 120
            or jti in self._logout_ids
        ):
            raise ValueError("not a logout token")
        self._logout_ids[jti] = now + 300
        return claims

    async def _keys(self, *, force: bool = False) -> KeySet:
        return KeySet.import_key_set(await self._oidc.fetch_jwk_set(force=force))

    # ---- pages --------------------------------------------------------------------------------------

    def render(
        self, request: Request, heading: str, body: str, *, note: str = "", status: int = 200, **more: str
    ) -> Response:
        """A page in the tracker's frame."""
        person = self.person_of(request)
        visitor = None if person is None else Visitor(sub=person.sub, shared=person.shared)
        if request.session.pop("declined", False):
            note = DECLINED + note
        here = request.url.path if request.method == "GET" and request.url.path != "/callback" else "/"
        sign_in = f"/sign-in?next={quote(here)}"
        html = self.look.page(heading, body, visitor=visitor, sign_in=sign_in, note=note)
        return HTMLResponse(html, status, headers={**self.look.headers, **more})

    async def show_issues(self, request: Request) -> Response:
        """The first page."""
        items = "".join(
            f'<li><a href="/issues/{number}">{escape(issue.title)}</a><br><span class="by">'
            f"{'Open' if issue.is_open else 'Closed'}, reported by {escape(issue.author)}</span></li>"
            for number, issue in enumerate(self.issues)
        )
        form = (
            '<h2>Report an issue</h2><form method="post" action="/issues"><label for="title">What is wrong?</label>'
            '<input id="title" name="title" required maxlength="120"><label for="text">Details</label>'
            '<textarea id="text" name="text" maxlength="4000"></textarea><button>Report it</button></form>'
            if self.person_of(request)
            else "<p>Sign in to report an issue. Reading needs no account.</p>"
        )
        return self.render(request, "Issues", f'<ul class="list">{items}</ul>{form}')

    async def show_issue(self, request: Request) -> Response:
        """One issue."""
        number, issue = self._issue(request)
        form = (
            f'<form method="post" action="/issues/{number}/close"><button class="quiet">Close this issue</button></form>'
            if issue.is_open and self.person_of(request)
            else ""
        )
        state = "Open" if issue.is_open else "Closed"
        body = (
            f'<p class="by">{state}, reported by {escape(issue.author)}</p>'
            f'<article><p>{escape(issue.text or "No details.")}</p></article>{form}<p><a href="/">All issues</a></p>'
        )
        return self.render(request, issue.title, body)

    async def report(self, request: Request) -> Response:
        """Take a new issue."""
        person, form = await self._form(request)
        title, text = form.get("title", "").strip()[:120], form.get("text", "").strip()[:4000]
        if not title or len(self.issues) >= MOST:
            raise HTTPException(422)
        self.issues.append(Issue(title, text, Visitor(sub=person.sub, shared=person.shared).name))
        return RedirectResponse(f"/issues/{len(self.issues) - 1}", 303)

    async def close(self, request: Request) -> Response:
        """Close an issue."""
        await self._form(request)
        number, issue = self._issue(request)
        issue.is_open = False
        return RedirectResponse(f"/issues/{number}", 303)

    async def show_me(self, request: Request) -> Response:
        """Exactly what this site received."""
        person = self.person_of(request)
        if person is None:
            return RedirectResponse("/sign-in?next=/me", 303)
        visitor = Visitor(sub=person.sub, shared=person.shared)
        return self.render(request, "What the tracker knows about you", self.look.about_person(visitor))

    async def show_style(self, _request: Request) -> Response:
        """The style sheet."""
        return Response(STYLE, media_type="text/css")

    async def show_problem(self, request: Request, error: Exception) -> Response:
        """A page for what went wrong."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {
            401: ("Sign in first", "Your session has ended, or you were not signed in."),
            403: ("Not allowed", "This form did not come from this site."),
            404: ("Page not found", "There is no such page."),
            422: ("Something is missing", "Say what is wrong, then send it again."),
        }
        heading, text = words.get(status, ("Something went wrong", "Please try again."))
        return self.render(request, heading, f'<p>{escape(text)}</p><p><a href="/">All issues</a></p>', status=status)

    def _failed(self, request: Request, back: str) -> Response:
        note = message("You are not signed in.", "The sign-in was not finished or took too long.", kind="warn")
        body = f'<p><a href="/sign-in?next={quote(back)}">Sign in again</a></p><p><a href="{escape(back)}">Go on without signing in</a></p>'
        return self.render(request, "Sign-in did not work", body, note=note, status=400)

    def _unavailable(self, request: Request) -> Response:
        body = "<p>The sign-in service cannot be reached just now. Please try again in a moment.</p>"
        return self.render(request, "Please try again", body, status=503, **{"Retry-After": "5"})

    def _issue(self, request: Request) -> tuple[int, Issue]:
        number = request.path_params["number"]
        if number >= len(self.issues):
            raise HTTPException(404)
        return number, self.issues[number]

    def _is_same_origin(self, request: Request) -> bool:
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        return origin in (None, self._url) and (site == "same-origin" or (site is None and origin == self._url))

    async def _form(self, request: Request) -> tuple[Person, dict[str, str]]:
        """The form of a signed-in person, sent from a page of this site."""
        if not self._is_same_origin(request):
            raise HTTPException(403)
        person = self.person_of(request)
        if person is None:
            raise HTTPException(401)
        form = await request.form(max_files=0, max_fields=10)
        return person, {name: value for name, value in form.items() if isinstance(value, str)}


def create_app(*, issuer: str, client_id: str, client_secret: str, public_url: str, **client_options: Any) -> Starlette:
    """The tracker as an ASGI application."""
    tracker = Tracker(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        public_url=public_url,
        **client_options,
    )
    app = Starlette(routes=tracker.routes(), exception_handlers={HTTPException: tracker.show_problem})
    https = public_url.startswith("https:")
    # Signed with a key of this process: sessions live in its memory and end with it. The name carries
    # the client id because all ports of localhost share one cookie jar.
    app.add_middleware(
        SessionMiddleware,
        secret_key=secrets.token_urlsafe(32),
        session_cookie=f"{'__Host-' if https else ''}{quote(client_id, safe='')}_session",
        max_age=SESSION_LIFE,
        same_site="lax",
        https_only=https,
    )
    return app


def main() -> None:
    """Serve the tracker on this machine."""
    given = read_settings("tracker", port=8003)
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

"""The sign-in kit: everything between a site's "Sign in" link and a verified session.

Framework-neutral. An adapter asks `SignInKit.owns`; if so it hands the request to `handle`,
otherwise to `identify`, whose `Visit` says who is there.

```
/_login/start?next=/page   ->  the broker, with code + PKCE + state + nonce bound to a sealed cookie
             (or target_link_uri, an address of this site: to be registered as initiate_login_uri)
/_login/callback           <-  checks, redeems server to server, sets two cookies, back to /page
/_login/logout (POST)      ->  clears them, goes to the broker's sign-out
/_login/backchannel (POST) <-  the broker says a session has ended
```
"""

from __future__ import annotations

import logging
import secrets
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from .errors import ConfigurationError, SessionError
from .fetch import Unreachable, check_url
from .logout_token import take_logout_token
from .paths import safe_next
from .provider import Provider, Refused, Tokens, log_code
from .renewal import Renewals
from .revocation import MemoryRegister, RevocationRegister
from .sealing import Sealer
from .site_cookies import SiteCookies
from .verifier import Mode, Verifier
from .visit import identify
from .wire import Answer, Request, Visit, page, problem, read_form, redirect

__all__ = ["SignInKit"]

TRANSACTION_LIFE: Final = 1800
MOST_TRANSACTIONS: Final = 4
HANDLE_LIFE: Final = 400 * 24 * 3600
NOTICE_LIFE: Final = 60
NOT_SIGNED_IN: Final = frozenset({"login_required", "consent_required", "interaction_required"})
SOMEBODY_ELSE: Final = frozenset({"another_person", "login_required"})
"""How a sign-in ends by which somebody was to confirm who they are, and somebody else came."""

log = logging.getLogger("doorward_verify")


class SignInKit:
    """Signs people in at one site.

    issuer         the broker's address
    client_id      this site's id there (also the audience of its tokens)
    client_secret  its secret; ``None`` for a public client, which then needs ``cookie_secret``
    public_url     the address people see, e.g. ``https://forum.example.org``
    cookie_secret  seals the kit's cookies; default: derived from ``client_secret``
    previous_secrets  older cookie secrets that still open cookies, while one is being changed
    on_declined    called with the remembered page when a person refuses; may give another page
    mode           how what ended before its time is seen: ``"local"``, ``"status"`` or ``"online"``, see `Verifier`
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        public_url: str,
        scope: str = "openid profile email",
        prefix: str = "/_login",
        cookie_secret: str | None = None,
        previous_secrets: Sequence[str] = (),
        register: RevocationRegister | None = None,
        on_declined: Callable[[str], str | None] | None = None,
        accept_bearer: bool = True,
        mode: Mode = "local",
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
    ) -> None:
        secret = cookie_secret or client_secret
        if not secret or len(secret) < 16:
            raise ConfigurationError("client_secret or cookie_secret of at least 16 letters is needed")
        if "openid" not in scope.split():
            raise ConfigurationError("scope must contain openid")
        if not prefix.startswith("/") or prefix.endswith("/") or safe_next(prefix, prefix="/?") != prefix:
            raise ConfigurationError("prefix must be a plain path such as /_login")
        parts = urlsplit(check_url(public_url, "public_url"))
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base = parts.path.rstrip("/")
        self.prefix, self.scope, self.accept_bearer = prefix, scope, accept_bearer
        self.register: RevocationRegister = register or MemoryRegister()
        self.verifier = Verifier(
            issuer,
            client_id,
            mode=mode,
            client_secret=client_secret,
            is_revoked=self.register.is_ended,
            ssl_context=ssl_context,
            timeout=timeout,
        )
        self.provider = Provider(self.verifier, client_id, client_secret)
        self.renewals = Renewals(self.provider)
        self.cookies = SiteCookies(client_id, secure=parts.scheme == "https")
        self.sealer = Sealer([secret, *previous_secrets], context=f"kit v1 {client_id}")
        self._on_declined = on_declined

    # ---- addresses ------------------------------------------------------------------------------

    @property
    def redirect_uri(self) -> str:
        """To be registered at the broker."""
        return f"{self.origin}{self.base}{self.prefix}/callback"

    @property
    def home(self) -> str:
        """The site's first page, as a path."""
        return f"{self.base}/"

    def start_url(self, next_path: str = "/") -> str:
        """Where a "Sign in" link points; the person comes back to ``next_path``."""
        return self._start(next=next_path)

    def fresh_url(self, next_path: str, max_age: int = 300) -> str:
        """Where to send somebody who has to confirm that it is them (step-up).

        Whoever comes back as somebody else changes nothing: who was signed in still is, and reads what happened.
        """
        return self._start(next=next_path, max_age=str(max_age))

    def silent_url(self, next_path: str) -> str:
        """Sign in again if the broker still knows the browser; otherwise come back anonymous."""
        return self._start(next=next_path, silent="1")

    @property
    def logout_path(self) -> str:
        """Where a "Sign out" form posts to."""
        return f"{self.base}{self.prefix}/logout"

    def _start(self, **query: str) -> str:
        return f"{self.base}{self.prefix}/start?{urlencode(query, quote_via=quote, safe='/')}"

    def next_of(self, wanted: str | None) -> str:
        """A safe page of this site to return to."""
        return safe_next(wanted, default=self.home, prefix=self.base + self.prefix)

    # ---- what adapters call ---------------------------------------------------------------------

    def owns(self, path: str) -> bool:
        """Whether the path (below the site's root) belongs to the kit."""
        return path == self.prefix or path.startswith(self.prefix + "/")

    def identify(self, request: Request, *, network: bool = True) -> Visit:
        """Who is there? Renews an expired session first. See `doorward_verify.visit`."""
        return identify(self, request, network=network)

    def look_up(self, request: Request) -> None:
        """Ask the broker for whatever `identify` needs to judge the token that is there; renews nothing."""
        _scheme, _space, bearer = request.one("authorization").partition(" ")
        for token in (*request.cookies(self.cookies.session)[:1], bearer.strip(" ")):
            with suppress(SessionError):
                self.verifier.verify(token)

    def handle(self, request: Request, body: bytes = b"") -> Answer:
        """Answer a request for one of the kit's own paths."""
        routes: dict[tuple[str, str], Callable[[Request, bytes], Answer]] = {
            ("GET", "/start"): self._handle_start,
            ("GET", "/callback"): self._handle_callback,
            ("POST", "/logout"): self._handle_logout,
            ("POST", "/backchannel"): self._handle_backchannel,
        }
        tail = request.path[len(self.prefix) :]
        route = routes.get((request.method, tail))
        if route is not None:
            return route(request, body)
        if any(known == tail for _method, known in routes):
            return page(405, "This does not work here", "Go back and use the button of the site.", self._links())
        return page(404, "Page not found", "There is no such page.", self._links())

    def is_same_origin(self, request: Request) -> bool:
        """Whether a POST comes from a page of this site (for its own forms, too)."""
        origin, site = request.one("origin"), request.one("sec-fetch-site")
        if len(request.all("origin")) > 1 or len(request.all("sec-fetch-site")) > 1:
            return False
        if origin and origin not in {"null", self.origin}:
            return False
        if site:
            return site == "same-origin"
        if origin:
            return origin == self.origin
        return request.one("referer").startswith(self.origin + "/")

    # ---- start ----------------------------------------------------------------------------------

    def _path_of(self, target: str) -> str | None:
        """The page that the broker says a person wants (OpenID Connect Core §4); of this site or none."""
        return target.removeprefix(self.origin) if target.startswith(f"{self.origin}/") else None

    def _handle_start(self, request: Request, _body: bytes) -> Answer:
        query = read_form(request.query) or {}
        next_path = self.next_of(query.get("next") or self._path_of(query.get("target_link_uri", "")))
        wanted_age = query.get("max_age", "")
        max_age = int(wanted_age) if wanted_age.isascii() and wanted_age.isdigit() and len(wanted_age) < 7 else None
        silent = query.get("silent") == "1"
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        parameters = {
            "response_type": "code",
            "scope": self.scope,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if max_age is not None:
            parameters["max_age"] = str(max_age)
        if silent:
            parameters["prompt"] = "none"
        who = self.read_handle(request) if max_age is not None else None
        if who is not None and who.get("idt"):
            parameters["id_token_hint"] = who["idt"]
        try:
            url = self.provider.authorization_url(parameters)
        except Unreachable:
            return self.unavailable(next_path)
        name = self.cookies.transaction(state)
        kept = {"s": state, "n": nonce, "v": verifier, "next": next_path, "age": max_age, "silent": silent}
        if who is not None:
            kept["sub"] = who["sub"]
        sealed = self.sealer.seal(name, kept, seconds=TRANSACTION_LIFE)
        cookies = self.cookies.drop_oldest(request, MOST_TRANSACTIONS)
        cookies.append(self.cookies.set(name, sealed, seconds=TRANSACTION_LIFE))
        return redirect(url).with_cookies(cookies)

    # ---- callback -------------------------------------------------------------------------------

    def _handle_callback(self, request: Request, _body: bytes) -> Answer:
        query = read_form(request.query) or {}
        name = self.cookies.transaction(query.get("state", ""))
        values = request.cookies(name) if self.cookies.is_transaction(name) else []
        kept = self.sealer.open(name, values[0]) if len(values) == 1 else None
        if kept is None or not secrets.compare_digest(kept["s"].encode(), query["state"].encode()):
            return self._failed("This sign-in was already finished, or took too long.", self.home)
        done = [self.cookies.clear(name)]
        try:
            answer = self._finish(query, kept)
        except Unreachable:
            answer = self.unavailable(kept["next"])
        except SessionError as error:
            log.warning("sign-in refused: %s", error.code)
            answer = (
                self.unavailable(kept["next"])
                if error.status == 503
                else self._failed("The answer of the sign-in service did not pass our checks.", kept["next"])
            )
        except Refused as refused:
            log.warning("sign-in refused: %s", log_code(refused.code))
            is_other = kept.get("sub") is not None and refused.code in SOMEBODY_ELSE
            answer = (
                self._is_other(kept)
                if is_other
                else self._failed("The sign-in service did not finish the sign-in.", kept["next"])
            )
        return answer.with_cookies(done)

    def _finish(self, query: dict[str, str], kept: dict[str, Any]) -> Answer:
        stated = query.get("iss")
        # RFC 9207 §2.4: an answer of another issuer is dropped before anything in it is used.
        if stated != self.verifier.issuer and (stated is not None or self.provider.answers_with_issuer()):
            raise SessionError("wrong_issuer")
        if "error" in query:
            return self._declined(query["error"], kept)
        if not query.get("code"):
            raise Refused("no_code")
        tokens = self.provider.redeem(
            code=query["code"], verifier=kept["v"], redirect_uri=self.redirect_uri, nonce=kept["n"]
        )
        if kept.get("sub") not in {None, tokens.session.sub}:
            if tokens.refresh_token:
                self.provider.revoke(tokens.refresh_token)
            raise Refused("another_person")
        if kept["age"] is not None and time.time() - tokens.auth_time > kept["age"] + 60:
            raise Refused("not_recent")
        return redirect(kept["next"]).with_cookies(self.session_cookies(tokens))

    def _declined(self, error: str, kept: dict[str, Any]) -> Answer:
        next_path: str = kept["next"]
        if kept["silent"] and error in NOT_SIGNED_IN:
            return redirect(next_path).with_cookies(self.cookies.clear_session())
        if error == "temporarily_unavailable":
            raise Unreachable
        if error != "access_denied":
            raise Refused(error)
        if self._on_declined is not None:
            next_path = self.next_of(self._on_declined(next_path) or next_path)
        notice = self.cookies.set(self.cookies.notice, "declined", seconds=NOTICE_LIFE)
        return redirect(next_path).with_cookies([notice])

    def session_cookies(self, tokens: Tokens, *, before: dict[str, Any] | None = None) -> list[str]:
        """The two cookies of a signed-in browser. Raises `Refused` if they are too large to be kept."""
        if not self.cookies.fits(self.cookies.session, tokens.session_token):
            raise Refused("session_token_too_large")
        found = [self.cookies.set(self.cookies.session, tokens.session_token)]
        old = before or {}
        refresh_token = tokens.refresh_token or old.get("rt")
        kept: dict[str, Any] = {
            "rt": refresh_token,
            "sub": tokens.session.sub,
            "idt": tokens.id_token or old.get("idt"),
        }
        handle = self.sealer.seal(self.cookies.handle, kept, seconds=HANDLE_LIFE)
        if not self.cookies.fits(self.cookies.handle, handle):
            # The ID token is only a hint for signing out; the handle works without it.
            handle = self.sealer.seal(self.cookies.handle, {**kept, "idt": None}, seconds=HANDLE_LIFE)
        if self.cookies.fits(self.cookies.handle, handle):
            found.append(self.cookies.set(self.cookies.handle, handle))
        else:
            found.append(self.cookies.clear(self.cookies.handle))
        return found

    def read_handle(self, request: Request) -> dict[str, Any] | None:
        """The sealed refresh handle, if exactly one good one was sent."""
        values = request.cookies(self.cookies.handle)
        return self.sealer.open(self.cookies.handle, values[0]) if len(values) == 1 else None

    # ---- sign-out -------------------------------------------------------------------------------

    def _handle_logout(self, request: Request, _body: bytes) -> Answer:
        if not self.is_same_origin(request):
            return page(403, "Sign out from the site itself", "This request came from elsewhere.", self._links())
        handle = self.read_handle(request) or {}
        self._end_here(request)
        parameters = {"post_logout_redirect_uri": self.origin + self.home}
        if handle.get("idt"):
            parameters["id_token_hint"] = handle["idt"]
        try:
            if handle.get("rt"):
                self.provider.revoke(handle["rt"])
            url = self.provider.sign_out_url(parameters)
        except Unreachable:
            url = None
        target = url or self.home
        answer = page(
            200,
            "You are signed out of this site",
            "One more step at the sign-in service follows by itself.",
            [("Continue", target)],
            refresh=target,
        )
        return answer.with_cookies(self.cookies.clear_session())

    def _end_here(self, request: Request) -> None:
        """A copy of the token that was just given up is refused from now on."""
        for token in request.cookies(self.cookies.session)[:2]:
            with suppress(SessionError):
                self.verifier.verify(token)
                self.verifier.give_up(token)

    def _handle_backchannel(self, request: Request, body: bytes) -> Answer:
        headers = (("Cache-Control", "no-store"), ("Content-Type", "application/json"))
        kind = request.one("content-type").partition(";")[0].strip().lower()
        form = read_form(body.decode("ascii", "replace")) if body else None
        if kind != "application/x-www-form-urlencoded" or not form or not form.get("logout_token"):
            return Answer(status=400, headers=headers, body=b'{"error":"invalid_request"}')
        try:
            take_logout_token(form["logout_token"], self.verifier, self.register)
        except SessionError as error:
            log.warning("logout token refused: %s", error.code)
            status = 503 if error.status == 503 else 400
            return Answer(status=status, headers=headers, body=b'{"error":"invalid_request"}')
        return Answer(status=200, headers=headers, body=b"{}")

    # ---- pages ----------------------------------------------------------------------------------

    def _links(self) -> list[tuple[str, str]]:
        return [("Go to the site", self.home)]

    def _failed(self, why: str, next_path: str) -> Answer:
        links = [("Sign in again", self.start_url(next_path)), ("Go on without signing in", next_path)]
        return page(400, "You are not signed in", why, links)

    def _is_other(self, kept: dict[str, Any]) -> Answer:
        text = "To go on you have to confirm with the account that is signed in here. Nothing was changed here."
        again = self.fresh_url(kept["next"], kept["age"])
        return page(403, "That was another account", text, [("Try again", again), *self._links()])

    def here(self, request: Request) -> str:
        """The page that was asked for, as a place to come back to."""
        return self.next_of(self.base + request.path + (f"?{request.query}" if request.query else ""))

    def answer_error(self, request: Request, error: SessionError) -> Answer:
        """What a `SessionError` raised by the site means: a page load goes to sign in (or to confirm
        it is the same person), everything else gets the code."""
        if not request.is_page_load or error.status == 503:
            return problem(error)
        here = self.here(request)
        return redirect(self.fresh_url(here) if error.code == "needs_recent_login" else self.start_url(here))

    def unavailable(self, next_path: str) -> Answer:
        """The broker cannot be reached: nobody is signed out by that."""
        text = "The sign-in service cannot be reached just now. If you were signed in, you still are."
        return page(503, "Please try again in a moment", text, [("Try again", next_path)])

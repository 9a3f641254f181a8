"""The token endpoint of the Facebook-like sandbox (protocols.md §1.4, §6.3)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from providers.sandbox import web
from providers.sandbox.facebook_errors import GraphError, invalid_code, invalid_token
from providers.sandbox.facebook_state import (
    CODE_LIFETIME,
    FOREIGN_APP,
    TOKEN_LIFETIME,
    App,
    Code,
    Sandbox,
    Token,
)
from providers.sandbox.facebook_tokens import EXPIRED_BEFORE, id_token, lifetime
from providers.sandbox.signing import challenge_matches

_USED = "This authorization code has been used."
_EXPIRED = "This authorization code has expired."
_OTHER_URI = (
    "Error validating verification code. Please make sure your redirect_uri is identical to the one you used "
    "in the OAuth dialog request"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """The app that called, whether it showed its secret, and its merged parameters."""

    app: App
    has_secret: bool
    params: dict[str, str]


async def access_token(request: Request, sandbox: Sandbox) -> Response:
    """`GET|POST /oauth/access_token`. Raises GraphError in the order §6.3 lists the checks."""
    params = {**request.query_params, **web.form(request)}
    web.note(
        request,
        grant_type=params.get("grant_type"),
        code_ref=web.ref(params["code"]) if "code" in params else None,
        verifier="code_verifier" in params,
    )
    caller = _caller(request, sandbox, params)
    kind = params.get("grant_type", "authorization_code")
    if kind == "client_credentials" and caller.has_secret:
        return _answer(sandbox, {"access_token": f"{caller.app.id}|{caller.app.secret}", "token_type": "bearer"})
    if kind == "fb_exchange_token" and caller.has_secret:
        return _answer(sandbox, _exchange(sandbox, caller))
    if kind != "authorization_code":
        raise GraphError(100, "Invalid grant_type.")
    code = _spend(sandbox, caller)
    if sandbox.people[code.slug].fault in {"slow", "never"} and sandbox.switches.slow_token:
        seconds = sandbox.switches.slow_seconds if sandbox.people[code.slug].fault == "slow" else None
        await web.wait_for_hang_up(request, seconds)
    return _answer(sandbox, _issue(request, sandbox, caller.app, code))


def _caller(request: Request, sandbox: Sandbox, params: dict[str, str]) -> _Caller:
    basic = web.basic_credentials(request.headers.get("authorization")) if sandbox.switches.basic_auth else None
    client_id = params.get("client_id") or (basic[0] if basic else "")
    secret = params.get("client_secret") or (basic[1] if basic else None)
    if not client_id:
        raise GraphError(101, "Missing client_id parameter.")
    app = sandbox.apps.get(client_id)
    if app is None:
        raise GraphError(101, "Error validating application. Invalid application ID.")
    if secret is None and "code_verifier" not in params:
        raise GraphError(1, "Error validating client secret.")
    if secret is not None and not hmac.compare_digest(secret.encode(), app.secret.encode()):
        raise GraphError(1, "Error validating client secret.")
    return _Caller(app=app, has_secret=secret is not None, params=params)


def _spend(sandbox: Sandbox, caller: _Caller) -> Code:
    """Check a code in the specified order and mark it used."""
    params = caller.params
    if "redirect_uri" not in params:
        raise GraphError(191, "Missing redirect_uri parameter.")
    code = sandbox.codes.get(params.get("code", ""))
    if code is None or code.app_id != caller.app.id:
        raise invalid_code(None, "Invalid verification code format.")
    if code.used:
        if code.token and sandbox.switches.revoke_token_on_replay:
            sandbox.tokens[code.token].broken = 467
        raise invalid_code(36009, _USED)
    if sandbox.now() > code.issued_at + CODE_LIFETIME:
        raise invalid_code(36007, _EXPIRED)
    if params["redirect_uri"] != code.redirect_uri:
        raise invalid_code(36008, _OTHER_URI)
    _check_verifier(sandbox, caller, code)
    code.used = True
    return code


def _check_verifier(sandbox: Sandbox, caller: _Caller, code: Code) -> None:
    verifier = caller.params.get("code_verifier")
    if verifier is None:
        if code.challenge and sandbox.switches.pkce_strict:
            raise invalid_code(None, "Missing code_verifier parameter.")
    elif not code.challenge or not challenge_matches(code.challenge, code.challenge_method, verifier):
        raise invalid_code(None, "Code verifier does not match code challenge.")


def _issue(request: Request, sandbox: Sandbox, app: App, code: Code) -> dict[str, str | int]:
    person = sandbox.people[code.slug]
    now = sandbox.now()
    foreign = person.fault == "foreign-app-token"
    token = Token(
        app_id=FOREIGN_APP if foreign else app.id,
        slug=code.slug,
        issued_at=now,
        expires_at=now - EXPIRED_BEFORE if person.fault == "expired" else now + lifetime(person),
        auth_type=code.auth_type,
        auth_nonce=code.auth_nonce,
        shown_user=sandbox.people["jonas"].id_in(app.id) if person.fault == "other-user-token" else None,
        broken={"checkpoint": 459, "password-changed": 460}.get(person.fault or ""),
    )
    code.token = sandbox.new_token(token)
    body: dict[str, str | int] = {"access_token": code.token, "token_type": "bearer"}
    if not sandbox.switches.omit_expires_in:
        body["expires_in"] = lifetime(person)
    if code.openid:
        issuer = web.base_url(request, sandbox.base_url)
        body["id_token"] = id_token(sandbox, issuer, app, person, code.nonce, code.token)
    return body


def _exchange(sandbox: Sandbox, caller: _Caller) -> dict[str, str | int]:
    """A long-lived token for a living one; an expired token cannot be exchanged."""
    old = sandbox.tokens.get(caller.params.get("fb_exchange_token", ""))
    if old is None or old.app_id != caller.app.id:
        raise invalid_token(None, "Invalid OAuth access token - Cannot parse access token")
    if old.broken is not None or sandbox.now() >= old.expires_at:
        raise invalid_token(old.broken or 463, "Error validating access token: it can no longer be exchanged.")
    now = sandbox.now()
    made = Token(app_id=old.app_id, slug=old.slug, issued_at=now, expires_at=now + TOKEN_LIFETIME)
    return {"access_token": sandbox.new_token(made), "token_type": "bearer", "expires_in": TOKEN_LIFETIME}


def _answer(sandbox: Sandbox, body: dict[str, str | int]) -> Response:
    headers = {"cache-control": "no-store"}
    if sandbox.switches.legacy_text:
        old = {"access_token": body["access_token"], "expires": body.get("expires_in", 0)}
        return PlainTextResponse(urlencode(old), headers=headers)
    return JSONResponse(body, headers=headers)


async def access_token_info(request: Request, sandbox: Sandbox) -> Response:
    """`GET /oauth/access_token_info?client_id&access_token`: reads back `auth_nonce`."""
    text = request.query_params.get("access_token", "")
    token = sandbox.tokens.get(text)
    if token is None or token.app_id != request.query_params.get("client_id"):
        raise invalid_token(None, "Invalid OAuth access token - Cannot parse access token")
    body: dict[str, str | int] = {
        "access_token": text,
        "token_type": "bearer",
        "expires_in": max(0, int(token.expires_at - sandbox.now())),
    }
    if token.auth_nonce:
        body["auth_nonce"] = token.auth_nonce
    return JSONResponse(body, headers={"cache-control": "no-store"})

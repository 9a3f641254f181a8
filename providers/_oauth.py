"""OAuth 2.0 as a client: addresses, client authentication, token answers. Authlib lives here.

Authlib knows PKCE and how an authorization request is written. It moves no bytes (the guarded client does), and what it
does not check is checked here: RFC 6749 §2.3.1 encoding, an answer without what was asked, the type of every member.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri

from broker.domain.provider import UpstreamTokens
from broker.domain.trial import SIGNED
from broker.domain.values import Secret
from broker.errors import (
    GrantOver,
    NotRenewed,
    SignInCancelled,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers._http import OK, SERVER_FAULT, TOO_MANY, UpstreamHTTP, UpstreamResponse, post_form, read_object
from providers._id_token import TENANT, is_tenant
from providers.preset import PRIVATE_KEY, Preset

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OVER: Final = "invalid_grant"
"""What is said of a refresh token that is good no more (RFC 6749 §5.2)."""
OVER_AT_X: Final = "Value passed for the token was invalid."
"""The same in X's words."""
_WHO_WE_ARE: Final = frozenset({"invalid_client", "unauthorized_client"})
"""What is said of us, and not of what we brought (RFC 6749 §5.2)."""
GIVE_BACK_SECONDS: Final = 3.0
"""How long giving back what a provider gave may take: the person waits for that too."""
MAX_CODE: Final = 4096
MAX_TOKEN: Final = 16 * 1024
MAX_LIFETIME: Final = timedelta(days=3660)

AUTHORIZATION_ERRORS: Final = frozenset(
    {
        "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
        "server_error", "temporarily_unavailable", "interaction_required", "login_required",
        "account_selection_required", "consent_required", "invalid_request_uri", "invalid_request_object",
        "request_not_supported", "request_uri_not_supported", "registration_not_supported", "invalid_client",
    }
)  # fmt: skip
"""What a callback may say and a log line may repeat (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6): it came through
somebody's browser, so any other word could be anything."""
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_CANCELLED: Final = frozenset({"access_denied", "user_cancelled_authorize", "user_cancelled_login"})
"""The second is Apple's spelling; LinkedIn has it too, and the third for who did not even sign in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """A token response that has the right shape (RFC 6749 §5.1). Nothing in it is verified yet."""

    access_token: str = field(repr=False)
    id_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    lifetime: timedelta | None = None
    """How long the access token lives; `None` where the provider does not say (it is only recommended to)."""
    scopes: frozenset[str] | None = None
    """What was granted; `None`: all that was asked (RFC 6749 §5.1)."""

    def tokens(self, now: datetime, asked: tuple[str, ...]) -> UpstreamTokens:
        """These tokens as the domain keeps them."""
        return UpstreamTokens(
            access_token=self.access_token,
            refresh_token=self.refresh_token,
            expires_at=now + self.lifetime if self.lifetime is not None else None,
            scopes=frozenset(asked) if self.scopes is None else self.scopes,
        )


def build_authorization_url(
    endpoint: str, *, client_id: str, redirect_uri: str, scopes: tuple[str, ...], state: str, **more: str | None
) -> str:
    """The authorization request as an address (RFC 6749 §4.1.1). Parameters in `more` that are `None` are left out."""
    return str(
        prepare_grant_uri(
            endpoint,
            client_id=client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=" ".join(scopes),
            state=state,
            **more,
        )
    )


def authenticate(
    method: str, client_id: str, secret: Secret, form: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Form and headers that say who we are, for `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.

    `secret` of `private_key_jwt` is a client assertion, made for this call (OpenID Connect Core §9, RFC 7523 §2.2). Basic encodes both halves as form values first (RFC 6749 §2.3.1): without it `:` or `%` in a secret break.
    """
    if method == "client_secret_basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
        return dict(form), {"Authorization": "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")}
    if method == "client_secret_post":
        return {**form, "client_id": client_id, "client_secret": secret.reveal()}, {}
    if method == PRIVATE_KEY:
        return {
            **form,
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": secret.reveal(),
        }, {}
    return {**form, "client_id": client_id}, {}


async def post_as(http: UpstreamHTTP, preset: Preset, address: str, form: Mapping[str, str]) -> UpstreamResponse:
    """`POST` a form to an endpoint that wants to know who we are, in the way the preset says."""
    body, headers = authenticate(preset.token_endpoint_auth_method, preset.client_id, preset.client_secret, form)
    return await post_form(http, address, body, headers)


async def renewed(
    http: UpstreamHTTP, preset: Preset, address: str, tokens: UpstreamTokens, now: datetime
) -> tuple[UpstreamTokens, TokenAnswer]:
    """Tokens from the refresh token (RFC 6749 §6), and the answer as it came, whose ID token nobody has looked at.

    No scope is asked for: that asks for all that was granted. A refresh token that is not replaced stays the one to use.
    Raises `GrantOver`, `UpstreamRejected`, `UpstreamUnavailable`, `UpstreamInvalid(check)`.
    """
    if tokens.refresh_token is None:
        raise NotRenewed("no refresh token")
    form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
    response = await post_as(http, preset, address, form)
    try:
        answer = read_token_answer(response, signed=preset.signed.proofs)
    except UpstreamRejected as refusal:
        if refusal.detail == f"token {OVER}" or _is_over_at_x(response):
            raise GrantOver(refusal.detail) from refusal
        raise
    fresh = answer.tokens(now, tuple(sorted(tokens.scopes)))
    return replace(fresh, refresh_token=fresh.refresh_token or tokens.refresh_token, named=tokens.named), answer


def _is_over_at_x(response: UpstreamResponse) -> bool:
    """X calls a refresh token that is over an invalid request, which RFC 6749 §5.2 keeps for what is malformed."""
    answer = read_object(response, "token_json")
    return answer.get("error") == "invalid_request" and answer.get("error_description") == OVER_AT_X


async def given_back(asked: Awaitable[object]) -> None:
    """What was asked for one answer is given back, and dies with it as far as we can help it: whether that worked or not."""
    with suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(GIVE_BACK_SECONDS):
            await asked


def check_response_issuer(callback: Mapping[str, str], issuer: str, *, promised: bool) -> None:
    """RFC 9207 §2.4: `iss` is ours if it is there, and is there if the provider promises it; on errors too."""
    found = callback.get("iss")
    if found is None and promised:
        raise UpstreamInvalid("response_iss", "missing")
    if found is not None and not is_issuer(issuer, found):
        raise UpstreamInvalid("response_iss")


def is_issuer(issuer: str, found: str) -> bool:
    """Whether this is the issuer, or one of the tenants of one that has many. Which of them, the ID token says."""
    if found == issuer:
        return True
    before, gap, after = issuer.partition(TENANT)
    named = found.removeprefix(before).removesuffix(after)
    return bool(gap) and is_tenant(named) and found == f"{before}{named}{after}"


def read_callback(callback: Mapping[str, str]) -> str:
    """The code of a callback whose `state` and `iss` were checked.

    Raises `SignInCancelled` when the person said no, `UpstreamRejected` for other errors, `UpstreamInvalid("code")`
    when there is no code: an access token or assertion sent straight here is never looked at (catalogue 50, 56).
    """
    error = callback.get("error")
    if error is not None:
        if error in _CANCELLED:
            raise SignInCancelled(f"upstream {error}")
        raise UpstreamRejected(f"authorization {error if error in AUTHORIZATION_ERRORS else 'other'}")
    code = callback.get("code", "")
    if not code or len(code) > MAX_CODE or not code.isprintable():
        raise UpstreamInvalid("code")
    return code


def safe_code(raw: object) -> str:
    """An error code that a provider's server sent, fit for a log line, or `other`."""
    return raw if isinstance(raw, str) and _ERROR_CODE.fullmatch(raw) else "other"


def read_token_answer(response: UpstreamResponse, *, kind: str = "bearer", signed: str = "") -> TokenAnswer:
    """A token response. `kind`: of token, in small letters; `dpop` for one that is bound to a key (RFC 9449 §5).

    `signed`: the algorithm of the signature by which we said who we are; nothing: by none.

    Raises `UpstreamUnavailable` (5xx, 429), `UpstreamRejected` with the provider's code (RFC 6749 §5.2, also where it
    comes with status 200), or `UpstreamInvalid(check)` for anything that is no token response.
    """
    if response.status >= SERVER_FAULT or response.status == TOO_MANY:
        raise UpstreamUnavailable(f"status {response.status} token")
    if not (response.status == OK or 400 <= response.status < SERVER_FAULT):
        raise UpstreamInvalid("token_status", str(response.status))
    answer = read_object(response, "token_json")
    if "error" in answer or response.status != OK:
        code = safe_code(answer.get("error"))
        how = f" {SIGNED} {signed}" if signed and code in _WHO_WE_ARE else ""
        raise UpstreamRejected(f"token {code}{how}")
    return read_token(answer, kind=kind)


def read_token(answer: Mapping[str, Any], *, kind: str = "bearer") -> TokenAnswer:
    """A successful token response. Raises `UpstreamInvalid(member)` where one is missing or of the wrong kind."""
    return TokenAnswer(
        access_token=_access_token(answer, kind),
        id_token=_optional_text(answer, "id_token"),
        refresh_token=_refresh_token(answer),
        lifetime=_lifetime(answer.get("expires_in")),
        scopes=_scopes(answer.get("scope")),
    )


def _access_token(answer: Mapping[str, Any], wanted: str) -> str:
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != wanted:
        raise UpstreamInvalid("token_type")
    token = _optional_text(answer, "access_token")
    if token is None or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UpstreamInvalid("access_token")
    return token


def _refresh_token(answer: Mapping[str, Any]) -> str | None:
    """Of what can be sent back as it came (RFC 6749 §A.17)."""
    token = _optional_text(answer, "refresh_token")
    if token is not None and (len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable()):
        raise UpstreamInvalid("refresh_token")
    return token


def _optional_text(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise UpstreamInvalid(name)
    return value


def _lifetime(raw: object) -> timedelta | None:
    """Seconds as a whole, sane number. Text for a number is refused (catalogue 173)."""
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= MAX_LIFETIME.total_seconds():
        raise UpstreamInvalid("expires_in")
    return timedelta(seconds=int(raw))


def _scopes(raw: object) -> frozenset[str] | None:
    """Text with blanks between them; GitHub and LinkedIn write commas, and Twitch sends a list."""
    if raw is None:
        return None
    if isinstance(raw, str):
        return frozenset(raw.replace(",", " ").split())
    if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
        return frozenset(raw)
    raise UpstreamInvalid("scope")

"""The authorization request, checked (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1, RFC 9700 §2.1).

`find_client` and `check_redirect_uri` come first and alone: until they have passed, nothing may be redirected anywhere.
The rest is `CHECKS`, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from broker.domain.checks.dpop import is_thumbprint
from broker.domain.checks.resource import RESOURCE, asked, check_resources
from broker.domain.claims_request import NOTHING, read_claims_request
from broker.domain.client import Client, difference, redirect_matches
from broker.domain.grant import JWT, QUERY, RESPONSE_MODES, SIGNED_MODES, AuthorizationRequest
from broker.domain.values import ClientId, Scope
from broker.errors import (
    InvalidRedirectURI,
    InvalidRequest,
    InvalidScope,
    ProtocolError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnknownClient,
    UnsupportedResponseType,
)

Params = Mapping[str, str]
KNOWN_PARAMETERS: Final = frozenset(
    {"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce"}
    | {"code_challenge", "code_challenge_method", "prompt", "max_age", "login_hint", "idp_hint", "ui_locales"}
    | {"acr_values", "id_token_hint", "request", "request_uri", "registration", "display", "claims"}
    | {"claims_locales", "resource", "dpop_jkt"}
)
PROMPTS: Final = frozenset({"none", "login", "consent", "select_account", "create"})
CHOOSING: Final = frozenset({"select_account", "create"})
"""Who is signed in decides nothing by itself: the person says as whom they go on, or makes an account."""
_REPEATED: Final = "repeated parameters"
"""Where `read_params` notes them: no parameter a request can send has this name."""
NOT_REGISTERED: Final = "redirect_uri not registered"
MAX_STATE: Final = 4096
MAX_PARAMETER: Final = 2048
MAX_SCOPES: Final = 50


def read_params(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name. Unknown and empty ones are dropped (RFC 6749 §3.1).

    A repeated known parameter is left out and noted, for `CHECKS` to refuse; a repeated `client_id` or `redirect_uri`
    raises an error that is never redirected, because then nobody can say where to (catalogue 8).
    """
    params: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for name, value in pairs:
        if name not in KNOWN_PARAMETERS or not value:
            continue
        if name in params:
            if name == RESOURCE:  # the one parameter that may be repeated (RFC 8707 §2)
                params[name] += f" {value}"
                continue
            if name == "client_id":
                raise UnknownClient(detail="client_id repeated")
            if name == "redirect_uri":
                raise InvalidRedirectURI(detail="redirect_uri repeated")
            repeated[name] = None
            continue
        params[name] = value
    for name in repeated:
        del params[name]
    if repeated:
        params[_REPEATED] = " ".join(repeated)
    return params


def find_client(params: Params, clients: Mapping[ClientId, Client]) -> Client:
    """The client that asks. Raises `UnknownClient` (a page, never a redirect)."""
    client = clients.get(ClientId(params.get("client_id", "")))
    if client is None or not client.enabled:
        raise UnknownClient(detail="client unknown or disabled")
    return client


def check_redirect_uri(params: Params, client: Client) -> str:
    """The address to answer to. Raises `InvalidRedirectURI` (a page) unless it is one the client registered.

    May be left out only by a client with exactly one (OpenID Connect requires it; RFC 6749 §3.1.2.3 allows it): we
    require it always, as the certification suite does.
    """
    uri = params.get("redirect_uri")
    if uri is None:
        raise InvalidRedirectURI(detail="redirect_uri missing")
    if not redirect_matches(client, uri):
        raise InvalidRedirectURI(detail=_not_registered(client, uri))
    return uri


def _not_registered(client: Client, uri: str) -> str:
    """For the log: how the address differs from which registered one, and nothing of the address itself."""
    found = difference(client, uri)
    if found is None:
        return NOT_REGISTERED
    return f"{NOT_REGISTERED}: {found.kind} of {client.redirect_uris.index(found.registered) + 1}"


def check_pushed(params: Params, client: Client) -> None:
    """A request that a site's server pushes (RFC 9126 §2.1). Raises what is to be told the server; nothing is redirected."""
    if "request_uri" in params:
        raise InvalidRequest(detail="request_uri pushed")
    uri = params.get("redirect_uri", "")
    if not redirect_matches(client, uri):
        raise InvalidRequest(detail=_not_registered(client, uri), public="The redirect_uri is not registered.")
    read_request(params, client, uri)


def check_way(client: Client, *, is_pushed: bool) -> None:
    """Raises `InvalidRequest` for what a browser brought by itself if the site only pushes (RFC 9126 §6)."""
    if client.par_required and not is_pushed:
        raise InvalidRequest(detail="request was not pushed", public="Requests of this site have to be pushed first.")


def _repeated(params: Params, _client: Client) -> None:
    if _REPEATED in params:
        raise InvalidRequest(detail=f"repeated: {params[_REPEATED]}")


def _has_odd(text: str) -> bool:
    """Whether there are control characters in it, or halves of characters, which JSON can spell."""
    return any(ch < " " or ch == "\x7f" or "\ud800" <= ch <= "\udfff" for ch in text)


def _sizes(params: Params, _client: Client) -> None:
    for name, value in params.items():
        if len(value) > (MAX_STATE if name == "state" else MAX_PARAMETER):
            raise InvalidRequest(detail=f"{name} too long")
        if _has_odd(value):
            raise InvalidRequest(detail=f"{name} has control characters, or half of one")


def _response_type(params: Params, _client: Client) -> None:
    kind = params.get("response_type")
    if kind is None:
        raise InvalidRequest(detail="response_type missing")
    if kind != "code":
        raise UnsupportedResponseType(detail="response_type is not code")


def _response_mode(params: Params, client: Client) -> None:
    if client.is_told_signed and params.get("response_mode") not in SIGNED_MODES:
        raise InvalidRequest(
            detail="response_mode is not signed",
            public="Answers to this site are signed: response_mode has to be jwt, query.jwt or form_post.jwt.",
        )
    if params.get("response_mode", QUERY) not in RESPONSE_MODES:
        raise InvalidRequest(
            detail="response_mode unknown",
            public="The response modes are query and form_post, signed (jwt) or not, for a code never fragment.",
        )


def _request_objects(params: Params, _client: Client) -> None:
    if "request" in params:
        raise RequestNotSupported
    if "request_uri" in params:
        raise RequestUriNotSupported
    if "registration" in params:
        raise RegistrationNotSupported


def _scope(params: Params, client: Client) -> None:
    scopes = params.get("scope", "").split(" ")
    if len(scopes) > MAX_SCOPES:
        raise InvalidScope(detail="too many scopes")
    if "openid" not in scopes or Scope("openid") not in client.scopes:
        raise InvalidScope(detail="openid scope missing", public="The scope openid is required.")


def _pkce(params: Params, client: Client) -> None:
    """S256 only (RFC 7636 §4.2, RFC 9700 §2.1.1); required unless an admin switched it off for a confidential client."""
    challenge, method = params.get("code_challenge"), params.get("code_challenge_method")
    if challenge is None:
        if method is not None:
            raise InvalidRequest(detail="code_challenge_method without code_challenge")
        if client.pkce_required or client.is_public:
            raise InvalidRequest(detail="code_challenge missing", public="PKCE with S256 is required.")
        return
    if method != "S256":
        raise InvalidRequest(detail="code_challenge_method is not S256", public="PKCE with S256 is required.")
    if len(challenge) != 43 or not all(ch.isascii() and (ch.isalnum() or ch in "-_") for ch in challenge):
        raise InvalidRequest(detail="code_challenge is no SHA-256 in base64url")


def _prompt(params: Params, _client: Client) -> None:
    prompts = frozenset(params.get("prompt", "").split())
    if prompts - PROMPTS:
        raise InvalidRequest(detail="unknown prompt")
    if "none" in prompts and len(prompts) > 1:
        raise InvalidRequest(detail="prompt none with others")


def _max_age(params: Params, _client: Client) -> None:
    value = params.get("max_age")
    if value is not None and not (value.isascii() and value.isdigit() and len(value) < 10):
        raise InvalidRequest(detail="max_age is no number of seconds")


def _dpop_jkt(params: Params, _client: Client) -> None:
    if "dpop_jkt" in params and not is_thumbprint(params["dpop_jkt"]):
        raise InvalidRequest(detail="dpop_jkt is no SHA-256 in base64url")


CHECKS: Final[tuple[Callable[[Params, Client], None], ...]] = (
    _repeated,
    _sizes,
    _response_type,
    _response_mode,
    _request_objects,
    _scope,
    _pkce,
    _prompt,
    _max_age,
    _dpop_jkt,
    check_resources,
)


def read_request(params: Params, client: Client, redirect_uri: str) -> AuthorizationRequest:
    """The request, once every check has passed. Raises a redirectable `ProtocolError` at the first that has not.

    Scopes the client may not have are left out rather than refused (RFC 6749 §3.3): the answer names what was granted.
    """
    for check in CHECKS:
        check(params, client)
    scopes = frozenset(Scope(scope) for scope in params["scope"].split(" ") if scope)
    max_age = params.get("max_age")
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        response_type="code",
        response_mode=params.get("response_mode", QUERY),
        scopes=scopes & client.scopes,
        state=params.get("state"),
        nonce=params.get("nonce"),
        code_challenge=params.get("code_challenge"),
        prompt=frozenset(params.get("prompt", "").split()),
        max_age=int(max_age) if max_age is not None else None,
        login_hint=params.get("login_hint"),
        idp_hint=params.get("idp_hint"),
        ui_locales=tuple(params.get("ui_locales", "").split()[:10]),
        acr_values=tuple(params.get("acr_values", "").split()[:10]),
        id_token_hint=params.get("id_token_hint"),
        claims=read_claims_request(params["claims"]) if "claims" in params else NOTHING,
        dpop_jkt=params.get("dpop_jkt"),
        resources=asked(params),
    )


def answerable_state(params: Params) -> str | None:
    """The `state` to echo in an error answer: only one that was sent once and is of bearable size."""
    state = params.get("state")
    if state is None or len(state) > MAX_STATE:
        return None
    return None if _has_odd(state) else state


def answerable_mode(params: Params, client: Client) -> str:
    """How an error answer travels: as the site asked if it asked for a way that it has, else as it does by itself."""
    mode = params.get("response_mode", QUERY)
    if client.is_told_signed:
        return mode if mode in SIGNED_MODES else JWT
    return mode if mode in RESPONSE_MODES else QUERY


__all__ = [
    "CHECKS",
    "KNOWN_PARAMETERS",
    "Params",
    "ProtocolError",
    "answerable_mode",
    "answerable_state",
    "check_pushed",
    "check_redirect_uri",
    "check_way",
    "find_client",
    "read_params",
    "read_request",
]

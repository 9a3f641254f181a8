"""We register ourselves at a provider that lets others do so (OpenID Connect Dynamic Client Registration 1.0, RFC 7591)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.domain.provider import our_keys_of, requests_of
from broker.domain.values import ProviderId, Secret
from broker.errors import UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._http import JSON, OK, SERVER_FAULT, TOO_MANY, UpstreamHTTP, UpstreamResponse, read_object, read_success
from providers._oauth import safe_code
from providers.preset import PRIVATE_KEY, UNSIGNED, is_address

CREATED: Final = 201
METHODS: Final = ("client_secret_basic", "client_secret_post")
"""How we may have to prove ourselves there; the first is asked for."""
MAX_TIME: Final = 2**40
LONGEST: Final = 2048
"""Characters of an id or a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What the provider answered (RFC 7591 §3.2.1)."""

    client_id: str
    secret: Secret
    """Nothing where our keys say who we are."""
    method: str
    address: str = ""
    """Where the registration is read, changed and removed (RFC 7592 §3); nothing: nowhere."""
    token: Secret | None = None
    """What that takes."""
    ends: int = 0
    """When the secret stops working, in seconds since 1970; 0: never."""


def introduction(*, name: str, issuer: str, redirect: str) -> dict[str, Any]:
    """What we say of ourselves to whoever signs people in. `issuer`: our own address; `redirect`: where they come back to."""
    return {
        "application_type": "web",
        "client_name": name,
        "client_uri": issuer,
        "policy_uri": f"{issuer}/privacy",
        "redirect_uris": [redirect],
        "response_types": ["code"],
        "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": METHODS[0],
    }


def about_us(
    *,
    name: str,
    issuer: str,
    provider: str,
    request_object: str | None = None,
    request_object_signing_alg: str = "RS256",
    private_key_jwt: str | None = None,
) -> dict[str, Any]:
    """The same to a provider of the configuration, which also tells us of sign-outs. `provider`: its id here.

    `request_object`, `request_object_signing_alg`: as the preset will have them (Dynamic Client Registration §2).
    `private_key_jwt`: with what we sign who we are; `None`: a secret says it.
    """
    asking: dict[str, Any] = {}
    if request_object is not None:
        asking["request_object_signing_alg"] = request_object_signing_alg
        if request_object_signing_alg != UNSIGNED:
            asking["jwks_uri"] = our_keys_of(issuer)
        if request_object == "by_reference":
            asking["request_uris"] = [f"{requests_of(issuer, ProviderId(provider))}*"]
    if private_key_jwt is not None:
        asking |= {
            "token_endpoint_auth_method": PRIVATE_KEY,
            "token_endpoint_auth_signing_alg": private_key_jwt,
            "jwks_uri": our_keys_of(issuer),
        }
    return {
        **introduction(name=name, issuer=issuer, redirect=f"{issuer}/callback/{provider}"),
        "post_logout_redirect_uris": [f"{issuer}/signed-out/{provider}"],
        "initiate_login_uri": f"{issuer}/sign-in/with",
        "backchannel_logout_uri": f"{issuer}/hooks/{provider}/logout",
        "backchannel_logout_session_required": True,
        **asking,
    }


async def register(http: UpstreamHTTP, upstream: str, metadata: Mapping[str, Any], token: Secret | None) -> Registered:
    """Register at the provider of this issuer; `token`: its initial access token, where it wants one.

    Raises `UpstreamInvalid`: `discovery_issuer` if it calls itself otherwise, `registration_endpoint` if it lets nobody
    register, `registration_no_signature` and `registration_no_algorithm` if it does not say that it takes such a proof of
    who we are, `registration…` for an answer that is none; `UpstreamRejected` with its code; `UpstreamUnavailable`.
    """
    where = upstream.removesuffix("/") + "/.well-known/openid-configuration"
    told = read_success(await http.request("GET", where, headers=JSON), "discovery")
    if told.get("issuer") != upstream:
        raise UpstreamInvalid("discovery_issuer")
    address = registration_endpoint(told, upstream)
    _check_method(told, metadata)
    return await register_at(http, address, upstream, metadata, token)


def _check_method(told: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Before anything is registered. Who tells no methods takes a secret alone (OpenID Connect Discovery §3)."""
    if metadata["token_endpoint_auth_method"] != PRIVATE_KEY:
        return
    methods = told.get("token_endpoint_auth_methods_supported")
    if not isinstance(methods, list) or PRIVATE_KEY not in methods:
        raise UpstreamInvalid("registration_no_signature")
    algorithms = told.get("token_endpoint_auth_signing_alg_values_supported")
    if isinstance(algorithms, list) and metadata["token_endpoint_auth_signing_alg"] not in algorithms:
        raise UpstreamInvalid("registration_no_algorithm")


def registration_endpoint(told: Mapping[str, Any], upstream: str) -> str:
    """Where the metadata says that programs register. Raises `UpstreamInvalid("registration_endpoint")` if nowhere."""
    address = told.get("registration_endpoint")
    if not _is_fit(address, upstream):
        raise UpstreamInvalid("registration_endpoint")
    return str(address)


async def register_at(
    http: UpstreamHTTP, address: str, upstream: str, metadata: Mapping[str, Any], token: Secret | None
) -> Registered:
    """Register at this address of the provider; arguments and errors as for `register`."""
    headers = {**JSON, "Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    answer = await http.request("POST", address, headers=headers, body=json.dumps(dict(metadata)).encode())
    return read_answer(answer, metadata, upstream)


def read_answer(response: UpstreamResponse, metadata: Mapping[str, Any], upstream: str) -> Registered:
    """The answer, if it is about us as we are (RFC 7591 §3.2.1: the provider may have registered something else)."""
    if response.status >= SERVER_FAULT or response.status == TOO_MANY:
        raise UpstreamUnavailable(f"status {response.status} registration")
    if response.status not in {OK, CREATED}:
        raise UpstreamRejected(f"registration {_code(response)}")
    told = read_object(response, "registration")
    method = told.get("token_endpoint_auth_method", METHODS[0])
    is_signed = metadata["token_endpoint_auth_method"] == PRIVATE_KEY
    if is_signed:
        _check_signed(told, metadata)
    elif method not in METHODS:
        raise UpstreamInvalid("registration_method")
    if told.get("redirect_uris", metadata["redirect_uris"]) != metadata["redirect_uris"]:
        raise UpstreamInvalid("registration_redirect_uris")
    address, token = told.get("registration_client_uri"), told.get("registration_access_token")
    manages = _is_fit(address, upstream) and _is_text(token)
    return Registered(
        client_id=_text(told, "client_id"),
        secret=Secret("" if is_signed else _text(told, "client_secret")),
        method=str(method),
        address=str(address) if manages else "",
        token=Secret(str(token)) if manages else None,
        ends=_seconds(told.get("client_secret_expires_at", 0)),
    )


def _check_signed(told: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """It registered our keys. The method has to stand there, as without it a secret is meant (RFC 7591 §2)."""
    if told.get("token_endpoint_auth_method") != PRIVATE_KEY:
        raise UpstreamInvalid("registration_by_secret")
    for name in ("token_endpoint_auth_signing_alg", "jwks_uri"):
        if told.get(name, metadata[name]) != metadata[name]:
            raise UpstreamInvalid("registration_other_keys")


def _seconds(value: object) -> int:
    if value is None:  # some write so what never ends
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_TIME:
        raise UpstreamInvalid("registration_client_secret_expires_at")
    return value


def _code(response: UpstreamResponse) -> str:
    try:
        return safe_code(read_object(response, "registration").get("error"))
    except UpstreamInvalid:
        return f"status {response.status}"


def _text(told: Mapping[str, Any], name: str) -> str:
    if not _is_text(told.get(name)):
        raise UpstreamInvalid(f"registration_{name}")
    return str(told[name])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isascii() and value.isprintable()


def _is_fit(address: object, upstream: str) -> bool:
    """Whether it is an address, and no weaker than the provider's own."""
    is_one = isinstance(address, str) and is_address(address)
    return is_one and (str(address).startswith("https://") or not upstream.startswith("https://"))

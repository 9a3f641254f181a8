"""Discovery and keys: bytes made once, sent as they are (OpenID Connect Discovery §3, RFC 8414, RFC 7517)."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from broker.domain.checks.authorization import PROMPTS
from broker.domain.checks.client import CLIENT_ALGORITHMS, SECRET_ALGORITHMS
from broker.domain.checks.dpop import PROOF_ALGORITHMS
from broker.domain.claims import COMPANIONS, SCOPES
from broker.domain.client import AuthMethod
from broker.domain.grant import RESPONSE_MODES
from broker.flows.device import GRANT_TYPE as DEVICE_GRANT
from broker.flows.keys import CACHED_FOR
from broker.web.call import Call

CACHE = {
    "Cache-Control": f"public, max-age={int(CACHED_FOR.total_seconds())}",
    "Access-Control-Allow-Origin": "*",
}
"""Public documents without credentials: any page may read them (catalogue 145: nothing is reflected)."""


_SIGNED_BY_SITES = [*CLIENT_ALGORITHMS, *SECRET_ALGORITHMS]


def build_metadata(
    issuer: str,
    locales: tuple[str, ...],
    claims: frozenset[str],
    policy: str,
    terms: str,
    *,
    watches_sessions: bool = False,
    acr_values: tuple[str, ...] = (),
    registers: bool = False,
    reads_documents: bool = False,
) -> bytes:
    """The discovery document. Only what is there is in it."""
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "device_authorization_endpoint": f"{issuer}/device-authorization",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
        "end_session_endpoint": f"{issuer}/end-session",
        "scopes_supported": [str(scope) for scope in SCOPES],
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "authorization_signing_alg_values_supported": ["RS256", "ES256"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT],
        "subject_types_supported": ["pairwise", "public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "userinfo_signing_alg_values_supported": ["RS256", "ES256"],
        "token_endpoint_auth_methods_supported": [str(method) for method in AuthMethod],
        "token_endpoint_auth_signing_alg_values_supported": _SIGNED_BY_SITES,
        "introspection_endpoint_auth_methods_supported": [str(m) for m in AuthMethod if m is not AuthMethod.NONE],
        "introspection_endpoint_auth_signing_alg_values_supported": _SIGNED_BY_SITES,
        "introspection_signing_alg_values_supported": ["RS256", "ES256"],
        "revocation_endpoint_auth_methods_supported": [str(method) for method in AuthMethod],
        "revocation_endpoint_auth_signing_alg_values_supported": _SIGNED_BY_SITES,
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "prompt_values_supported": sorted(PROMPTS),
        "claims_supported": sorted(
            {"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "sid"}
            | claims
            | {str(companion) for claim, companion in COMPANIONS.items() if claim in claims}
        ),
        "claims_parameter_supported": True,
        "require_pushed_authorization_requests": False,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
        "require_signed_request_object": False,
        "request_object_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
        "ui_locales_supported": list(locales),
        "op_policy_uri": policy,
        "op_tos_uri": terms,
    }
    if acr_values:
        document["acr_values_supported"] = list(acr_values)
    if registers:
        document["registration_endpoint"] = f"{issuer}/register"
    if reads_documents:
        document["client_id_metadata_document_supported"] = True
    if watches_sessions:
        document["check_session_iframe"] = f"{issuer}/session/check"
    return orjson.dumps(document)


async def discovery(call: Call) -> Response:
    """`/.well-known/openid-configuration`."""
    return Response(call.world.metadata, headers=CACHE, media_type="application/json")


async def jwks(call: Call) -> Response:
    """The public keys (RFC 7517 §5)."""
    return Response(call.world.key_box.jwks, headers=CACHE, media_type="application/json")

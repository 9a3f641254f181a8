"""Discovery, keys, token endpoint and userinfo of the OpenID Connect sandbox."""

from __future__ import annotations

import hmac
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from providers.sandbox import web
from providers.sandbox.openid_connect_faults import sign, spoil_claims
from providers.sandbox.openid_connect_request import ALGORITHMS
from providers.sandbox.openid_connect_state import (
    ACR_VALUES,
    CODE_LIFETIME,
    POSTING_SCOPE,
    RESPONSE_MODES,
    SCOPES,
    TOKEN_LIFETIME,
    Client,
    Code,
    Person,
    Sandbox,
    Token,
)
from providers.sandbox.signing import Json, SigningKey, challenge_matches, half_hash, sign_rs256

_NO_STORE = {"cache-control": "no-store"}


class TokenError(Exception):
    """An OAuth error answer: `error` and its description (RFC 6749 §5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.description, self.status = error, description, status

    def response(self) -> Response:
        """The JSON answer."""
        headers = {**_NO_STORE, **({"www-authenticate": "Basic"} if self.status == 401 else {})}
        body = {"error": self.error, "error_description": self.description}
        return JSONResponse(body, status_code=self.status, headers=headers)


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


async def discovery(request: Request) -> Response:
    """`/.well-known/openid-configuration`."""
    sandbox = _sandbox(request)
    issuer = web.base_url(request, sandbox.fixed_issuer)
    document: Json = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "registration_endpoint": f"{issuer}/register",
        "end_session_endpoint": f"{issuer}/end-session",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "request_object_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "acr_values_supported": list(ACR_VALUES),
        "scopes_supported": list(SCOPES),
        "claims_supported": ["sub", "name", "given_name", "family_name", "email", "email_verified", "locale"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": True,
    }
    faults = sandbox.faults
    for name, other in (
        ("discovery-issuer-other", "https://evil.test"),
        ("discovery-issuer-slash", issuer + "/"),
        ("discovery-issuer-case", issuer.upper()),
    ):
        if faults.has(name):
            document["issuer"] = other
    for name, member in (
        ("discovery-no-token-endpoint", "token_endpoint"),
        ("discovery-no-jwks", "jwks_uri"),
        ("discovery-no-end-session", "end_session_endpoint"),
        ("discovery-pkce-unsaid", "code_challenge_methods_supported"),
    ):
        if faults.has(name):
            del document[member]
    return JSONResponse(document, headers={"cache-control": "max-age=300"})


async def jwks(request: Request) -> Response:
    """The published keys."""
    sandbox = _sandbox(request)
    sandbox.signing_key()
    faults = sandbox.faults
    if faults.has("jwks-flapping") and faults.flap():
        return JSONResponse({"error": "sandbox"}, status_code=500)
    keys: list[Any] = [key.public_jwk() for key in sandbox.keys]
    if faults.has("jwks-junk"):
        keys = [{"kty": "ZZ"}, {"kty": "RSA", "kid": "junk", "n": "!", "e": "AQAB"}, 7, None, {}, *keys]
    if faults.has("jwks-empty"):
        keys = []
    if faults.has("jwks-other-key"):
        keys = [SigningKey.generate().public_jwk()]
    return JSONResponse({"keys": keys}, headers={"cache-control": "max-age=300"})


async def token(request: Request) -> Response:
    """`POST /token`: authorization codes, and refresh tokens that are good once (RFC 6749 §6, RFC 9700 §2.2.2)."""
    sandbox = _sandbox(request)
    fields = web.form(request)
    web.note(
        request,
        code_ref=web.ref(fields["code"]) if "code" in fields else None,
        verifier="code_verifier" in fields,
        refresh_ref=web.ref(fields["refresh_token"]) if "refresh_token" in fields else None,
    )
    try:
        if sandbox.faults.has("token-error"):
            raise TokenError("invalid_grant", "A fault was asked for.")
        client = authenticate(request, sandbox)
        match fields.get("grant_type"):
            case "authorization_code":
                body = _issue(request, sandbox, client, _spend(sandbox, client, fields))
            case "refresh_token":
                body = _issue(request, sandbox, client, _spend_refresh(sandbox, client, fields), anew=True)
            case _:
                raise TokenError("unsupported_grant_type", "authorization_code and refresh_token are offered.")
        return JSONResponse(body, headers=_NO_STORE)
    except TokenError as error:
        return error.response()


def authenticate(request: Request, sandbox: Sandbox) -> Client:
    """The client of a call by Basic, form, or `client_id` alone when it has no secret. Raises TokenError."""
    fields = web.form(request)
    basic = web.basic_credentials(request.headers.get("authorization"))
    client_id, secret = basic or (fields.get("client_id", ""), fields.get("client_secret"))
    client = sandbox.clients.get(client_id)
    if client is None:
        raise TokenError("invalid_client", "The client is not known.", 401)
    right = hmac.compare_digest((secret or "").encode(), (client.secret or "").encode())
    if not right or (basic and "client_secret" in fields):
        raise TokenError("invalid_client", "The client's secret is wrong or was sent twice.", 401)
    return client


def _spend(sandbox: Sandbox, client: Client, fields: dict[str, str]) -> Code:
    code = sandbox.codes.get(fields.get("code", ""))
    if code is None or code.client_id != client.id:
        raise TokenError("invalid_grant", "The code is not known.")
    if code.used:
        if code.token is not None:
            sandbox.tokens[code.token].revoked = True
        raise TokenError("invalid_grant", "The code was used.")
    code.used = True
    if sandbox.now() > code.issued_at + CODE_LIFETIME:
        raise TokenError("invalid_grant", "The code has expired.")
    if fields.get("redirect_uri") != code.redirect_uri:
        raise TokenError("invalid_grant", "The redirect_uri differs.")
    verifier = fields.get("code_verifier")
    if bool(code.challenge) != (verifier is not None):
        raise TokenError("invalid_grant", "Code challenge and verifier must come together.")
    if verifier is not None and not challenge_matches(code.challenge, "S256", verifier):
        raise TokenError("invalid_grant", "The code verifier is wrong.")
    return code


def _spend_refresh(sandbox: Sandbox, client: Client, fields: dict[str, str]) -> Code:
    """What a refresh token is for. One that was used ends all that came of the same code."""
    found = sandbox.refreshes.get(fields.get("refresh_token", ""))
    if found is None or found.code.client_id != client.id or found.revoked:
        raise TokenError("invalid_grant", "The refresh token is not known.")
    if found.used:
        sandbox.end_refreshes(found.code)
        raise TokenError("invalid_grant", "The refresh token was used.")
    found.used = not sandbox.faults.has("refresh-not-rotated")
    return found.code


def _issue(request: Request, sandbox: Sandbox, client: Client, code: Code, *, anew: bool = False) -> Json:
    """The answer; `anew`: to a refresh token, whose ID token says again what the first one said (Core §12.2)."""
    made = Token(client_id=client.id, slug=code.slug, scopes=code.scopes, expires_at=sandbox.now() + TOKEN_LIFETIME)
    code.token = sandbox.new_token(made)
    body: Json = {
        "access_token": code.token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": " ".join(sorted(code.scopes)),
    }
    faults = sandbox.faults
    if code.offline and not (anew and faults.has("refresh-not-rotated")):
        body["refresh_token"] = sandbox.new_refresh(code)
    if "openid" in code.scopes and not faults.has("id-token-missing"):
        issuer = web.base_url(request, sandbox.fixed_issuer)
        claims = _claims(sandbox, issuer, client, code, code.token)
        if anew:
            claims.pop("nonce", None)  # "SHOULD NOT have a nonce Claim" (Core §12.2)
        sandbox.signing_key()
        text = sign(faults, spoil_claims(faults, claims, client.id), sandbox.keys, client.secret)
        body["id_token"] = {"jwt": text} if faults.has("id-token-not-text") else text
    if faults.has("expires-in-missing"):
        del body["expires_in"]
    if faults.has("expires-in-text"):
        body["expires_in"] = "soon"
    if faults.has("token-type-missing"):
        del body["token_type"]
    return body


def _claims(sandbox: Sandbox, issuer: str, client: Client, code: Code, access_token: str) -> Json:
    now = int(sandbox.now())
    person = sandbox.people[code.slug]
    claims: Json = {
        "iss": issuer,
        "aud": client.id,
        "iat": now,
        "exp": now + 600,
        "at_hash": half_hash(access_token),
        **_shown(person, code.scopes, issuer),
    }
    if "openid2" in code.scopes:  # OpenID 2.0 to OpenID Connect Migration §4
        claims["openid2_id"] = f"{issuer}/people/{person.slug}"
    if code.nonce:
        claims["nonce"] = code.nonce
    if code.acr:
        claims["acr"] = code.acr
    if code.show_auth_time:
        claims["auth_time"] = code.auth_time
    return claims


def _shown(person: Person, scopes: set[str], issuer: str) -> Json:
    """A person's claims, the picture's address made complete."""
    claims = person.claims(scopes)
    if claims.get("picture") == "sandbox:picture":
        claims["picture"] = f"{issuer}/picture/{person.slug}.png"
    return claims


async def userinfo(request: Request) -> Response:
    """`GET|POST /userinfo` with a Bearer token of scope openid."""
    sandbox = _sandbox(request)
    found = bearer(request, sandbox)
    if found is None or "openid" not in found.scopes:
        return JSONResponse(
            {"error": "invalid_token"},
            status_code=401,
            headers={"www-authenticate": 'Bearer error="invalid_token"'},
        )
    claims = _shown(sandbox.people[found.slug], found.scopes, web.base_url(request, sandbox.fixed_issuer))
    if sandbox.faults.has("userinfo-other-sub"):
        claims["sub"] = "sandbox-somebody-else"
    if sandbox.faults.has("userinfo-no-sub"):
        del claims["sub"]
    is_spoiled = sandbox.faults.has("userinfo-signed-wrong-key")
    if is_spoiled or sandbox.faults.has("userinfo-signed"):  # OpenID Connect Core §5.3.2
        claims |= {"iss": web.base_url(request, sandbox.fixed_issuer), "aud": found.client_id}
        key = sandbox.signing_key()
        text = sign_rs256(claims, SigningKey.generate() if is_spoiled else key, kid=key.kid)
        return Response(text, headers=_NO_STORE, media_type="application/jwt")
    return JSONResponse(claims, headers=_NO_STORE)


def bearer(request: Request, sandbox: Sandbox) -> Token | None:
    """The living access token of an Authorization header, or None."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text = text.strip() if scheme.lower() == "bearer" else ""
    web.note(request, token_ref=web.ref(text) if text else None)
    found = sandbox.live_token(text)
    if found is not None:
        web.note(request, may_post=POSTING_SCOPE in found.scopes)
    return found

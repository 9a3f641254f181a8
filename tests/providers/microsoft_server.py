"""Microsoft as far as its documentation tells: one address, many tenants, keys that say whose tokens they sign, and the
addresses that each tenant's owner wrote down for its people."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.providers.rig import rsa_jwk, rsa_key, sign

CLIENT: Final = "6731de76-14a6-49ae-97bc-6eba6914391e"
SECRET: Final = "8Q~made~up/with+signs"


@dataclass
class MicrosoftServer:
    """`person`: the claims of whoever signs in next; `tid` says in which tenant."""

    back: str
    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/{tenant}/v2.0/.well-known/openid-configuration", self._metadata),
                Route("/{tenant}/oauth2/v2.0/authorize", self._authorize),
                Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
                Route("/{tenant}/discovery/v2.0/keys", self._keys),
            ]
        )

    async def _metadata(self, request: Request) -> Response:
        tenant = request.path_params["tenant"]
        base = f"{self.url}/{tenant}"
        named = "{tenantid}" if tenant in {"common", "organizations"} else tenant
        return JSONResponse(
            {
                "issuer": f"{self.url}/{named}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [rsa_jwk(rsa_key(), issuer=f"{self.url}/{{tenantid}}/v2.0")]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["redirect_uri"]) == (CLIENT, self.back)
        code = f"0.made-up.{len(self.codes)}"
        self.codes[code] = asked
        return RedirectResponse(f"{self.back}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client", "error_codes": [7000215]}, 401)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked.get("code_challenge") != challenge or form.get("redirect_uri") != self.back:
            return JSONResponse({"error": "invalid_grant", "error_codes": [70008]}, 400)
        now = int(time.time())
        claims = {
            "ver": "2.0", "iss": f"{self.url}/{self.person['tid']}/v2.0", "aud": CLIENT, "iat": now, "nbf": now,
            "exp": now + 3600, "nonce": asked["nonce"], **self.person,
        }  # fmt: skip
        token = {
            "token_type": "Bearer",
            "scope": "openid profile email",
            "expires_in": 4131,
            "access_token": "eyJ.made.up",
        }
        return JSONResponse({**token, "id_token": sign(claims)})

"""The suite as a client of the FAPI 2.0 plans: by hand and with joserfc, against the shipped configuration.

`signs` is what tells the two plans apart: with it requests are signed and answers come signed (Message Signing).
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.conformance.suite import Suite
from tests.support.client_keys import Key, assertion, key_set, new_key, proof, signed, thumbprint
from tests.support.house import ISSUER, Arrival, House, Shown

CALLBACK: Final = "https://suite.club.example:8443/test/a/doorward-fapi/callback"
SECOND: Final = f"{CALLBACK}?dummy1=lorem&dummy2=ipsum"
"""Where the second client comes back to: an address with a query of its own."""
PLAIN, SIGNED = "conformance-fapi", "conformance-fapi-signing"
_KEYS: Final = re.compile(r"^jwks = .*$", re.MULTILINE)


def with_keys(sites: str) -> str:
    """The shipped sites with keys that are ours, as the document says."""
    for name in (PLAIN, f"{PLAIN}-2", SIGNED, f"{SIGNED}-2"):
        before, table, after = sites.partition(f"[{name}]\n")
        assert table, name
        sites = before + table + _KEYS.sub(f"jwks = '{key_set(key_of(name), rsa_of(name))}'", after, count=1)
    return sites


def key_of(name: str) -> Key:
    return new_key("ES256", name)


def rsa_of(name: str) -> Key:
    return new_key("RS256", f"{name}-rsa")


def code_challenge(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Fapi:
    """One client of the suite, and one browser."""

    house: House
    signs: bool
    metadata: dict[str, Any]
    suite: Suite
    name: str
    key: Key
    shown: Key
    """What it shows with DPoP."""
    callback: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    steps: list[str] = field(default_factory=list)

    @classmethod
    async def begin(cls, house: House, *, signs: bool, second: bool = False) -> Fapi:
        suite = await Suite.begin(house, "query")
        name = (SIGNED if signs else PLAIN) + ("-2" if second else "")
        callback = SECOND if second else CALLBACK
        shown = new_key("ES256", f"dpop-{name}")
        return cls(house, signs, suite.metadata, suite, name, key_of(name), shown, callback)

    @property
    def now(self) -> int:
        return int(self.house.clock.now().timestamp())

    # --- what is sent ---------------------------------------------------------------------------------

    def request(self, **changes: str | None) -> dict[str, str]:
        """As the modules begin with it; `None` leaves a parameter out."""
        params = {
            "redirect_uri": self.callback,
            "response_type": "code",
            "scope": "openid profile offline_access",
            "state": secrets.token_urlsafe(12),
            "nonce": secrets.token_urlsafe(12),
            "code_challenge": code_challenge(self.verifier),
            "code_challenge_method": "S256",
            "response_mode": "jwt" if self.signs else None,
            **changes,
        }
        return {name: value for name, value in params.items() if value is not None}

    def signed_request(
        self, request: Mapping[str, str], *, key: Key | None = None, algorithm: str = "ES256", **claims: Any
    ) -> str:
        """The same as a request object: the suite's first client names no type, its second does in odd letters."""
        said = {
            "iss": self.name, "client_id": self.name, "aud": ISSUER,
            "nbf": self.now, "exp": self.now + 300, **request, **claims,
        }  # fmt: skip
        kept = {name: value for name, value in said.items() if value is not None}
        kind = "OautH-auThZ-REQ+jWt" if self.name.endswith("-2") else None
        return signed(kept, key or self.key, algorithm, typ=kind)

    def proved(self, *, key: Key | None = None, audience: object = ISSUER, **claims: Any) -> dict[str, str]:
        """The client's own proof."""
        now = self.house.clock.now()
        return assertion(key or self.key, client_id=self.name, audience=audience, now=now, **claims)

    def dpop(self, path: str, *, key: Key | None = None, method: str = "POST", **claims: Any) -> dict[str, str]:
        return {"DPoP": proof(key or self.shown, method, f"{ISSUER}{path}", self.house.clock.now(), **claims)}

    async def post(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        async with self.house.client() as client:
            return await client.post(path, data=dict(form), headers=dict(headers or {}))

    async def push(
        self,
        request: Mapping[str, str] | None = None,
        *,
        proved: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **objects: Any,
    ) -> httpx2.Response:
        """The PAR endpoint; `objects` change the request object of a client that signs."""
        asked = self.request() if request is None else request
        form = {"request": self.signed_request(asked, **objects)} if self.signs else dict(asked)
        return await self.post("/par", form | dict(proved or self.proved()), headers)

    async def reference(self, request: Mapping[str, str] | None = None, **more: Any) -> str:
        answer = await self.push(request, **more)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        assert 0 < told["expires_in"] < 600
        return str(told["request_uri"])

    @staticmethod
    def encoded(params: Mapping[str, str]) -> str:
        return urlencode(params)

    # --- the browser ----------------------------------------------------------------------------------

    async def visit(self, request_uri: str, *, decision: str = "share", **outside: str) -> dict[str, str] | Shown:
        """With nothing but the reference (and what `outside` adds): the answer, checked, or the page that ends it."""
        params = {"client_id": self.name, "request_uri": request_uri, **outside}
        return await self.walk(await self.suite.browser.go(f"/authorize?{urlencode(params)}"), decision)

    async def walk(self, end: Shown | Arrival, decision: str = "share") -> dict[str, str] | Shown:
        while isinstance(end, Shown):
            if not end.path.startswith("/f/"):
                return end
            step = end.path.rpartition("/")[2]
            if step == "site" and decision != "share":
                end = await self.suite.browser.press(f"decision={decision}")
            else:
                end = await self.suite._click(step, end)
        assert end.url.startswith(self.callback), end.url
        return await self._read(end.params)

    async def _read(self, params: dict[str, str]) -> dict[str, str]:
        """With our name in it (RFC 9207); for a client that signs it is signed as a whole (JARM §2.4)."""
        if not self.signs:
            assert params["iss"] == ISSUER
            return params
        assert params.keys() - {"dummy1", "dummy2"} == {"response"}
        read = jwt.decode(params["response"], await self.keys(), algorithms=["ES256"])
        claims = dict(read.claims)
        assert (claims.pop("iss"), claims.pop("aud")) == (ISSUER, self.name)
        assert self.now < claims.pop("exp") <= self.now + 600
        return claims | {"iss": ISSUER}

    async def code(self, **changes: str | None) -> str:
        """One sign-in up to its code."""
        request = self.request(**changes)
        answer = await self.visit(await self.reference(request))
        assert isinstance(answer, dict), answer.text
        assert (answer.get("state"), "code" in answer) == (request.get("state"), True), answer
        return answer["code"]

    # --- tokens ---------------------------------------------------------------------------------------

    async def keys(self) -> KeySet:
        return await self.suite.keys()

    async def redeem(
        self,
        code: str,
        *,
        proved: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verifier: str | None = None,
    ) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.callback}
        form |= {"code_verifier": verifier or self.verifier} if verifier != "" else {}
        proved = self.proved() if proved is None else proved
        return await self.post("/token", form | dict(proved), self.dpop("/token") if headers is None else headers)

    async def tokens(self, code: str, nonce: str | None = None) -> dict[str, Any]:
        """A code's tokens with all that every module checks of them."""
        answer = await self.redeem(code)
        assert answer.status_code == 200, answer.text
        assert "no-store" in answer.headers["cache-control"]
        return await self.checked(answer.json(), nonce)

    async def checked(self, told: dict[str, Any], nonce: str | None = None) -> dict[str, Any]:
        assert told["token_type"].lower() == "dpop"
        assert told["expires_in"] > 0
        read = jwt.decode(told["id_token"], await self.keys(), algorithms=["ES256"])
        claims = dict(read.claims)
        assert (claims["iss"], claims["aud"]) == (ISSUER, self.name)
        assert claims["iat"] - 5 <= self.now < claims["exp"]
        if nonce is not None:
            assert claims["nonce"] == nonce
        half = sha256(told["access_token"].encode()).digest()[:16]
        assert claims["at_hash"] == urlsafe_b64encode(half).decode().rstrip("=")
        return told | {"claims": claims}

    async def sign_in(self, **changes: str | None) -> dict[str, Any]:
        request = self.request(**changes)
        answer = await self.visit(await self.reference(request))
        assert isinstance(answer, dict), answer.text
        assert answer.get("state") == request.get("state")
        tokens = await self.tokens(answer["code"], request.get("nonce"))
        claims = await self.userinfo(tokens["access_token"])
        assert claims["sub"] == tokens["claims"]["sub"]
        return tokens | {"userinfo": claims}

    async def ask(
        self, token: str, *, scheme: str = "DPoP", headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """The protected resource, which is userinfo."""
        shown = self.dpop("/userinfo", method="GET", token=token) if headers is None else headers
        path = urlsplit(self.metadata["userinfo_endpoint"]).path
        async with self.house.client() as client:
            return await client.get(path, headers={"Authorization": f"{scheme} {token}", **shown})

    async def userinfo(self, token: str, **more: Any) -> dict[str, Any]:
        answer = await self.ask(token, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def renew(
        self, token: str, *, proved: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        proved = self.proved() if proved is None else proved
        return await self.post("/token", form | dict(proved), self.dpop("/token") if headers is None else headers)

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.shown)

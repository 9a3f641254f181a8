"""What the provider tests share: a clock that stands, an HTTP client that follows a script, an issuer that signs anything.

The issuer signs with `cryptography` by hand, so that it can also make tokens no library would make.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from broker.domain.provider import Attempt
from broker.domain.values import ProviderId, Secret
from broker.errors import UpstreamUnavailable
from providers.preset import Preset

ISSUER = "https://op.example"
CLIENT_ID = "client-7"
REDIRECT = "https://login.example/callback/example"
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
VERIFIER = "v" * 20 + "-._~" + "V" * 40
NONCE = "nonce-of-this-attempt"
ACCESS_TOKEN = "at-4711"
SUBJECT = "subject-0815"

Json = dict[str, Any]


class StandingClock:
    """Stands until moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def move(self, **span: float) -> None:
        self.time += timedelta(**span)


def attempt(**changes: Any) -> Attempt:
    """An attempt with a value in every field."""
    usual = Attempt(
        provider=ProviderId("example"),
        redirect_uri=REDIRECT,
        state="state-of-this-attempt",
        nonce=NONCE,
        code_verifier=VERIFIER,
        scopes=("openid", "profile", "email"),
        ui_locales=("fr", "en"),
    )
    return replace(usual, **changes)


def preset(**changes: Any) -> Preset:
    """A preset of an OpenID provider at `ISSUER`."""
    usual = Preset(
        id=ProviderId("example"),
        kind="openid_connect",
        label="Example",
        client_id=CLIENT_ID,
        client_secret=Secret("s3cr:et%/ é"),
        issuer=ISSUER,
    )
    return replace(usual, **changes)


@dataclass(frozen=True)
class Answer:
    """What the script answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b"{}"


def json_answer(value: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; header names are written with `_`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, json.dumps(value).encode())


@dataclass(frozen=True)
class Asked:
    """One request the script saw."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Script = Callable[[Asked], Answer]


class ScriptedHTTP:
    """Answers by path, remembers everything. A path without a line in the script is an outage."""

    def __init__(self, script: Mapping[str, Answer | Script | Exception]) -> None:
        self.script = dict(script)
        self.asked: list[Asked] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        asked = Asked(method, url, dict(headers or {}), body or b"")
        self.asked.append(asked)
        line = self.script.get(asked.path, UpstreamUnavailable(f"connect {urlsplit(url).hostname}"))
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, Answer) else line(asked)

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def only(self, path: str) -> Asked:
        (found,) = [asked for asked in self.asked if asked.path == path]
        return found


class OneApp:
    """What one server gave us when we registered: kept under whatever name it is asked for."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values, self.until = values, NOW
        self.names: set[str] = set()

    async def load(self, name: str) -> Mapping[str, str] | None:
        self.names.add(name)
        return self.values

    async def save(self, name: str, values: Mapping[str, str], until: datetime) -> None:
        self.values, self.until = values, until

    async def drop(self, name: str) -> None:
        self.values = None


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, length: int = 0) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


@cache
def rsa_key(bits: int = 2048, name: str = "") -> rsa.RSAPrivateKey:
    """An RSA key, made once per size and name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str = "", curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1() if curve == "P-384" else ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str | None = "rsa-1", **more: Any) -> Json:
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e), "use": "sig", "alg": "RS256", **more}
    return jwk if kid is None else {**jwk, "kid": kid}


def ec_jwk(key: ec.EllipticCurvePrivateKey, kid: str = "ec-1", **more: Any) -> Json:
    numbers = key.public_key().public_numbers()
    size = (key.curve.key_size + 7) // 8
    crv = {256: "P-256", 384: "P-384"}[key.curve.key_size]
    return {"kty": "EC", "crv": crv, "x": _number(numbers.x, size), "y": _number(numbers.y, size), "kid": kid, **more}


def ed_jwk(key: ed25519.Ed25519PrivateKey, kid: str = "ed-1") -> Json:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), "kid": kid}


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def p8(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as a service hands it out to be downloaded: PKCS #8, in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def sign(claims: Json | bytes, key: Any = None, *, alg: str = "RS256", header: Json | None = None) -> str:
    """A compact JWS over claims or over any bytes. `header` is merged over the usual one; `None` values are left out."""
    head: Json = {"alg": alg, "typ": "JWT", "kid": "rsa-1", **(header or {})}
    head = {name: value for name, value in head.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{b64(json.dumps(head).encode())}.{b64(payload)}"
    return f"{signed}.{b64(_signature(signed.encode(), key if key is not None else rsa_key(), alg))}"


def _signature(data: bytes, key: Any, alg: str) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        if alg.startswith("PS"):
            return key.sign(
                data, padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size), hashes.SHA256()
            )
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        digest = hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA256()
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, bytes):
        return hmac.new(key, data, hashlib.sha256).digest() if key else b""
    raise TypeError(type(key))


def at_hash(access_token: str = ACCESS_TOKEN) -> str:
    return b64(hashlib.sha256(access_token.encode()).digest()[:16])


def id_claims(**changes: Any) -> Json:
    """The claims of a good ID token; a change to `None` leaves one out."""
    now = int(NOW.timestamp())
    usual: Json = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": CLIENT_ID,
        "exp": now + 300,
        "iat": now - 1,
        "nonce": NONCE,
        "at_hash": at_hash(),
        "auth_time": now - 100,
        "amr": ["pwd", "otp"],
        "acr": "urn:example:strong",
        "name": "Ana Marković",
        "email": "ana@example.org",
        "email_verified": True,
        "picture": "https://op.example/ana.png",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


DISCOVERY: Json = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
    "jwks_uri": f"{ISSUER}/jwks",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "response_types_supported": ["code", "id_token"],
    "code_challenge_methods_supported": ["S256"],
    "authorization_response_iss_parameter_supported": True,
}


def token_answer(id_token: Any, **changes: Any) -> Answer:
    """A token response; a change to `None` leaves a member out."""
    body = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600, "id_token": id_token, **changes}
    return json_answer({name: value for name, value in body.items() if value is not None})


def upstream(**changes: Any) -> ScriptedHTTP:
    """A provider at `ISSUER` that behaves. Keyword `token`, `userinfo`, … replace what one address answers."""
    script: dict[str, Any] = {
        "/.well-known/openid-configuration": json_answer(DISCOVERY, cache_control="max-age=600"),
        "/jwks": json_answer({"keys": [rsa_jwk(rsa_key()), ec_jwk(ec_key())]}, cache_control="max-age=600"),
        "/token": token_answer(sign(id_claims())),
        "/userinfo": json_answer({"sub": SUBJECT, "name": "Ana Marković", "email": "ana@example.org"}),
        "/revoke": json_answer({}),
    }
    names = {"discovery": "/.well-known/openid-configuration"}
    return ScriptedHTTP({**script, **{names.get(name, f"/{name}"): value for name, value in changes.items()}})


CALLBACK = {"code": "code-42", "state": "state-of-this-attempt", "iss": ISSUER}

"""An OpenID Connect provider that approves at once: whoever `login_hint` names is who comes back.

Its CPU is nobody's to count: it runs on the client's core.  `python -m tests.bench.upstream --port 4900 [--hangs]`:
with `--hangs` it sends people back and never answers when their code is redeemed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import time
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY = rsa.generate_private_key(65537, 2048)
KID = "up-1"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


HEADER = encode(json.dumps({"alg": "RS256", "kid": KID, "typ": "JWT"}).encode())


def sign(claims: dict[str, object]) -> str:
    signed = f"{HEADER}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def person(number: str) -> dict[str, object]:
    return {
        "sub": f"up{number}",
        "name": f"Up User {number}",
        "email": f"up{number}@up.example.org",
        "email_verified": True,
    }


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, issuer: str, numbers: itertools.count[int], *, hangs: bool = False) -> None:
        self.issuer, self.numbers, self.hangs, self.received = issuer, numbers, hangs, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].decode("latin-1")
            lower = head.lower()
            at = lower.find("\r\ncontent-length:")
            length = int(lower[at + 17 :].split("\r\n", 1)[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + length:
                return
            body = self.received[end + 4 : end + 4 + length]
            self.received = self.received[end + 4 + length :]
            at = lower.find("\r\nauthorization: bearer ")
            bearer = head[at + 24 :].split("\r\n", 1)[0] if at >= 0 else ""
            target = urlsplit(head.split(" ", 2)[1])
            self.transport.write(self.answer(target.path, target.query, body.decode("latin-1"), bearer))

    def answer(self, path: str, query: str, body: str, bearer: str) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if path == "/.well-known/openid-configuration":
            return self._json(self._metadata())
        if path == "/jwks":
            return self._json({"keys": [self._key()]})
        if path == "/authorize":
            return self._back(asked)
        if path == "/token" and self.hangs:
            return b""
        if path == "/token":
            return self._json(self._tokens({name: values[0] for name, values in parse_qs(body).items()}))
        if path == "/userinfo":
            return self._json(person(bearer.removeprefix("at")))
        return self._json({"error": "not_found"}, "404 Not Found")

    def _metadata(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
        }

    @staticmethod
    def _key() -> dict[str, object]:
        numbers = KEY.public_key().public_numbers()

        def number(value: int) -> str:
            return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))

        return {"kty": "RSA", "kid": KID, "use": "sig", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)}

    def _back(self, asked: dict[str, str]) -> bytes:
        who = asked.get("login_hint") or str(next(self.numbers))
        code = encode(json.dumps({"who": who, "nonce": asked.get("nonce"), "to": asked["client_id"]}).encode())
        target = f"{asked['redirect_uri']}?code={quote(code)}&state={quote(asked['state'])}"
        return f"HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()

    def _tokens(self, form: dict[str, str]) -> dict[str, object]:
        code, now = json.loads(decode(form["code"])), int(time.time())
        claims = {**person(code["who"]), "iss": self.issuer, "aud": code["to"], "iat": now, "exp": now + 3600}
        if code["nonce"]:
            claims["nonce"] = code["nonce"]
        return {
            "access_token": f"at{code['who']}",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "openid profile email",
            "id_token": sign(claims),
        }

    @staticmethod
    def _json(value: object, status: str = "200 OK") -> bytes:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def main(port: int, *, hangs: bool) -> None:
    numbers = itertools.count(1_000_000)
    server = await asyncio.get_running_loop().create_server(
        lambda: Upstream(f"http://127.0.0.1:{port}", numbers, hangs=hangs), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=4900)
    parser.add_argument("--hangs", action="store_true")
    options = parser.parse_args()
    asyncio.run(main(options.port, hangs=options.hangs))

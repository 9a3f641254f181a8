"""The OpenID Connect sandbox is honest until told otherwise, and each fault breaks exactly what it names."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from providers.sandbox.openid_connect import Client, create_app
from providers.sandbox.openid_connect_faults import ANSWER_FAULTS, CLAIM_FAULTS, WIRE_FAULTS
from providers.sandbox.openid_connect_state import PEOPLE, POSTING_SCOPE
from tests.support.sandbox import served

BASE = "http://openid.test"
CALLBACK = "https://login.test/callback/sandbox"
CLIENT = Client(
    id="doorward",
    secret="s3cret",
    redirect_uris=(CALLBACK,),
    post_logout_redirect_uris=("https://login.test/bye",),
)
PUBLIC = Client(id="public", redirect_uris=(CALLBACK,))
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Rig:
    """The sandbox application, a browser, a server-side client, and the control plane."""

    def __init__(self, **options: Any) -> None:
        self.app = create_app([CLIENT, PUBLIC], **options)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url=BASE)

    async def emu(self, **orders: Any) -> None:
        answer = await self.http.post("/__emu__", json=orders)
        assert answer.status_code == 200, answer.text

    async def fault(self, name: str, **more: Any) -> None:
        await self.emu(faults=[{"name": name, **more}])

    async def authorize(self, **params: str) -> httpx2.Response:
        sent = {
            "client_id": CLIENT.id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile email",
            "state": "st-1",
            "nonce": "n-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **params,
        }
        return await self.http.get("/authorize", params={k: v for k, v in sent.items() if v != "-"})

    async def sign_in(self, slug: str = "ana", **params: str) -> dict[str, str]:
        """A click on the chooser page; what comes back to the callback."""
        page = await self.authorize(prompt="login", **params)
        answer = await self.http.post("/sign-in", data={"pending": pending_of(page), "persona": slug})
        if answer.status_code == 200:
            answer = await self.http.post("/allow", data={"pending": pending_of(answer), "action": "continue"})
        return back(answer)

    async def exchange(self, code: str, **params: str) -> httpx2.Response:
        sent = {
            "grant_type": "authorization_code",
            "client_id": CLIENT.id,
            "client_secret": str(CLIENT.secret),
            "redirect_uri": CALLBACK,
            "code": code,
            "code_verifier": VERIFIER,
            **params,
        }
        return await self.http.post("/token", data={k: v for k, v in sent.items() if v != "-"})

    async def tokens(self, slug: str = "ana", **params: str) -> dict[str, Any]:
        await self.emu(next=slug)
        answer = await self.exchange(back(await self.authorize(**params))["code"])
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def userinfo(self, token: str) -> httpx2.Response:
        return await self.http.get("/userinfo", headers={"authorization": f"Bearer {token}"})

    async def keys(self) -> list[dict[str, Any]]:
        return list((await self.http.get("/jwks")).json()["keys"])

    async def post(self, token: str, text: str = "hello", key: str | None = None, **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token}", **({"idempotency-key": key} if key else {})}
        return await self.http.post("/api/v1/statuses", data={"status": text, **more}, headers=headers)


def back(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(CALLBACK)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


def pending_of(page: httpx2.Response) -> str:
    found = re.search(r'name="pending" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body = (json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in token.split(".")[:2])
    return head, body


def verifies(token: str, keys: list[dict[str, Any]]) -> bool:
    try:
        jwt.decode(token, KeySet.import_key_set({"keys": keys}), algorithms=["RS256"])
    except (JoseError, ValueError):
        return False
    return True


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.http.aclose()


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
async def test_authlib_signs_in(rig: Rig, auth: str) -> None:
    config = (await rig.http.get("/.well-known/openid-configuration")).json()
    assert config["issuer"] == BASE and config["authorization_response_iss_parameter_supported"] is True
    async with AsyncOAuth2Client(
        CLIENT.id,
        CLIENT.secret,
        transport=httpx2.ASGITransport(app=rig.app),
        scope="openid profile email",
        redirect_uri=CALLBACK,
        token_endpoint_auth_method=auth,
        code_challenge_method="S256",
    ) as client:
        url, state = client.create_authorization_url(
            config["authorization_endpoint"], code_verifier=VERIFIER, nonce="n-1"
        )
        page = await rig.http.get(url)
        assert "SANDBOX - not a real provider" in page.text and "Ana Marković" in page.text
        answer = await rig.http.post("/sign-in", data={"pending": pending_of(page), "persona": "ana"})
        assert back(answer)["iss"] == BASE
        location = answer.headers["location"]
        token = await client.fetch_token(
            config["token_endpoint"], authorization_response=location, state=state, code_verifier=VERIFIER
        )
        info = (await client.get(config["userinfo_endpoint"])).json()
    claims = jwt.decode(token["id_token"], KeySet.import_key_set({"keys": await rig.keys()})).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (BASE, CLIENT.id, "n-1")
    digest = hashlib.sha256(token["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert info["sub"] == claims["sub"] == "sandbox-ana" and info["email_verified"] is True
    assert (await rig.http.get(urlsplit(info["picture"]).path)).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("asked", "said"),
    [("urn:sandbox:strong urn:sandbox:basic", "urn:sandbox:strong"), ("urn:other urn:sandbox:basic", "urn:sandbox:basic"),
     ("urn:other", None), (None, None)],
)  # fmt: skip
async def test_a_level_of_authentication_is_said_if_it_was_asked_for(
    rig: Rig, asked: str | None, said: str | None
) -> None:
    tokens = await rig.tokens("ana", **({"acr_values": asked} if asked else {}))
    assert jwt.decode(tokens["id_token"], KeySet.import_key_set({"keys": await rig.keys()})).claims.get("acr") == said


@pytest.mark.parametrize("slug", sorted(PEOPLE))
async def test_every_persona_says_what_it_is_made_of(rig: Rig, slug: str) -> None:
    tokens = await rig.tokens(slug)
    info = (await rig.userinfo(tokens["access_token"])).json()
    person = PEOPLE[slug]
    assert info["sub"] == person.subject
    expected = {**person.profile, **person.email}
    assert {k: v for k, v in info.items() if k not in {"sub", "picture"}} == {
        k: v for k, v in expected.items() if k != "picture"
    }


async def test_persona_edges() -> None:
    assert PEOPLE["no-email"].email == {} and PEOPLE["email-unverified"].email["email_verified"] is False
    assert PEOPLE["email-verified-text"].email["email_verified"] == "true"
    assert isinstance(PEOPLE["locale-object"].profile["locale"], dict)
    assert "family_name" not in PEOPLE["single-name"].profile


async def test_scopes_limit_what_is_said(rig: Rig) -> None:
    tokens = await rig.tokens("ana", scope="openid")
    assert (await rig.userinfo(tokens["access_token"])).json() == {"sub": "sandbox-ana"}


async def test_markup_in_a_name_is_escaped(rig: Rig) -> None:
    page = await rig.authorize()
    assert "<script" not in page.text and "&lt;b&gt;Bobby" in page.text
    await rig.http.post("/sign-in", data={"pending": pending_of(page), "persona": "html"})
    assert "&lt;b&gt;Bobby" in (await rig.http.get("/")).text


async def test_cancel_is_access_denied_with_state_and_iss(rig: Rig) -> None:
    page = await rig.authorize()
    found = back(await rig.http.post("/sign-in", data={"pending": pending_of(page), "persona": ""}))
    assert (found["error"], found["state"], found["iss"]) == ("access_denied", "st-1", BASE)


async def test_prompts_and_max_age(rig: Rig) -> None:
    assert back(await rig.authorize(prompt="none"))["error"] == "login_required"
    await rig.sign_in()
    assert "code" in back(await rig.authorize(prompt="none"))
    assert (await rig.authorize(prompt="login")).status_code == 200
    assert (await rig.authorize(prompt="select_account")).status_code == 200
    await rig.emu(clock=100)
    assert (await rig.authorize(max_age="50")).status_code == 200
    answer = await rig.exchange(back(await rig.authorize(max_age="500"))["code"])
    claims = parts(answer.json()["id_token"])[1]
    assert 99 <= claims["iat"] - claims["auth_time"] <= 110


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "-", "code_challenge_method": "-"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"request_uri": "https://x.test/"}, "request_uri_not_supported"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request": "e30.e30.", "request_uri": "https://x.test/"}, "invalid_request"),
    ],
)
async def test_wrong_requests_go_back_with_an_error(rig: Rig, params: dict[str, str], error: str) -> None:
    found = back(await rig.authorize(**params))
    assert (found["error"], found["state"], found["iss"]) == (error, "st-1", BASE)


@pytest.mark.parametrize("params", [{"client_id": "x"}, {"redirect_uri": CALLBACK + "/"}, {"redirect_uri": "-"}])
async def test_nothing_is_sent_to_an_address_that_is_not_registered(rig: Rig, params: dict[str, str]) -> None:
    answer = await rig.authorize(**params)
    assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "x"}, 401, "invalid_client"),
        ({"client_id": "public", "client_secret": "-"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"code": "x"}, 400, "invalid_grant"),
        ({"redirect_uri": "https://x.test/"}, 400, "invalid_grant"),
        ({"code_verifier": "x" * 43}, 400, "invalid_grant"),
        ({"code_verifier": "-"}, 400, "invalid_grant"),
    ],
)
async def test_token_endpoint_refusals(rig: Rig, change: dict[str, str], status: int, error: str) -> None:
    code = (await rig.sign_in())["code"]
    answer = await rig.exchange(**{"code": code, **change})
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_code_works_once_and_its_replay_revokes_the_token(rig: Rig) -> None:
    code = (await rig.sign_in())["code"]
    token = (await rig.exchange(code)).json()["access_token"]
    assert (await rig.userinfo(token)).status_code == 200
    assert (await rig.exchange(code)).json()["error"] == "invalid_grant"
    assert (await rig.userinfo(token)).status_code == 401
    old = (await rig.sign_in())["code"]
    await rig.emu(clock=301)
    assert (await rig.exchange(old)).json()["error"] == "invalid_grant"


async def refreshed(rig: Rig, token: str, **params: str) -> httpx2.Response:
    return await rig.exchange(
        "-", grant_type="refresh_token", refresh_token=token, redirect_uri="-", code_verifier="-", **params
    )


async def offline(rig: Rig, **params: str) -> dict[str, Any]:
    """Tokens of somebody who agreed on the spot that it goes on without them."""
    return await rig.tokens(scope="openid offline_access write:statuses", prompt="consent", **params)


async def test_a_refresh_token_is_good_once_and_its_replay_ends_all(rig: Rig) -> None:
    """RFC 9700 §2.2.2."""
    first = await offline(rig)
    second = (await refreshed(rig, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (await rig.post(second["access_token"])).status_code == 200
    assert (await refreshed(rig, first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await refreshed(rig, second["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await rig.post(second["access_token"])).status_code == 401


async def test_the_id_token_of_a_refresh_says_again_what_the_first_one_said(rig: Rig) -> None:
    """Core §12.2."""
    first = await offline(rig, max_age="1000")
    again = parts((await refreshed(rig, first["refresh_token"])).json()["id_token"])[1]
    before = parts(first["id_token"])[1]
    same = ("iss", "sub", "aud", "auth_time")
    assert [again[name] for name in same] == [before[name] for name in same]
    assert "nonce" in before
    assert "nonce" not in again


@pytest.mark.parametrize(
    ("scope", "prompt"), [("openid offline_access", "-"), ("openid", "consent"), ("openid write:statuses", "-")]
)
async def test_no_refresh_token_without_being_asked_for_one_and_asking_the_person(
    rig: Rig, scope: str, prompt: str
) -> None:
    """Core §11."""
    assert "refresh_token" not in await rig.tokens(scope=scope, prompt=prompt)


async def test_refresh_tokens_that_are_not_good(rig: Rig) -> None:
    tokens = await offline(rig)
    assert (await refreshed(rig, "never given")).json()["error"] == "invalid_grant"
    other = {"client_id": PUBLIC.id, "client_secret": "-"}
    assert (await refreshed(rig, tokens["refresh_token"], **other)).json()["error"] == "invalid_grant"
    assert (await refreshed(rig, tokens["refresh_token"], client_secret="wrong")).status_code == 401
    form = {"token": tokens["refresh_token"], "client_id": CLIENT.id, "client_secret": str(CLIENT.secret)}
    assert (await rig.http.post("/oauth/revoke", data=form)).status_code == 200
    assert (await refreshed(rig, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await rig.post(tokens["access_token"])).status_code == 401


async def test_a_refresh_token_that_is_never_replaced(rig: Rig) -> None:
    tokens = await offline(rig)
    await rig.fault("refresh-not-rotated")
    for _ in range(2):
        assert "refresh_token" not in (await refreshed(rig, tokens["refresh_token"])).json()


async def test_end_session_goes_back_only_to_a_registered_address(rig: Rig) -> None:
    await rig.sign_in()
    params = {"client_id": CLIENT.id, "post_logout_redirect_uri": "https://evil.test/", "state": "s"}
    assert (await rig.http.get("/end-session", params=params)).status_code == 200
    assert back(await rig.authorize(prompt="none"))["error"] == "login_required"
    hint = (await rig.tokens())["id_token"]
    good = {"id_token_hint": hint, "post_logout_redirect_uri": "https://login.test/bye", "state": "s"}
    answer = await rig.http.get("/end-session", params=good)
    assert answer.headers["location"] == "https://login.test/bye?state=s"


# Fault → what the claim then is, given the honest claims.
_CLAIM_EXPECTATIONS: dict[str, Any] = {
    "sid-named": "session-over-there",
    "iss-wrong": "https://evil.test",
    "iss-prefix": BASE + ".evil.test",
    "iss-slash": BASE + "/",
    "iss-not-text": [BASE],
    "aud-wrong": "somebody-else",
    "aud-array-foreign": [CLIENT.id, "somebody-else"],
    "azp-wrong": "somebody-else",
    "nonce-wrong": "another-nonce",
    "exp-absurd": 1e308,
    "sub-empty": "",
    "sub-other": "sandbox-somebody-else",
    "sub-number": 12345,
    "sub-long": "s" * 256,
    "sub-control": "sand\nbox\x00",
    "at-hash-wrong": "A" * 22,
}
_OFFSETS = {
    "exp-past": -3600,
    "exp-fraction": 600.5,
    "iat-future": 3600,
    "iat-old": -86_400,
    "nbf-future": 3600,
    "auth-time-old": -86_400,
}


@pytest.mark.parametrize("name", sorted(CLAIM_FAULTS))
async def test_a_claim_fault_changes_one_claim_under_a_good_signature(rig: Rig, name: str) -> None:
    before = int(time.time())
    await rig.fault(name)
    token = (await rig.tokens(max_age="1000"))["id_token"]
    assert verifies(token, await rig.keys())
    claims = parts(token)[1]
    claim = CLAIM_FAULTS[name][0]
    if name.endswith("-missing"):
        assert claim not in claims
    elif name in _OFFSETS:
        assert before + _OFFSETS[name] - 2 <= claims[claim] <= time.time() + _OFFSETS[name] + 2
    elif name == "exp-text":
        assert isinstance(claims["exp"], str)
    else:
        assert claims[claim] == _CLAIM_EXPECTATIONS[name]
    honest = {"iss": BASE, "aud": CLIENT.id, "nonce": "n-1", "sub": "sandbox-ana"}
    assert all(claims[key] == value for key, value in honest.items() if key != claim)


async def test_foreign_audience_with_our_azp(rig: Rig) -> None:
    await rig.fault("aud-foreign-azp-ours")
    claims = parts((await rig.tokens())["id_token"])[1]
    assert (claims["aud"], claims["azp"]) == ("somebody-else", CLIENT.id)


async def test_signature_faults(rig: Rig) -> None:
    public_pem = rig.app.state.sandbox.signing_key().public_pem()
    for name, alg in (
        ("alg-none", "none"),
        ("alg-hs256-public-key", "HS256"),
        ("alg-hs256-client-secret", "HS256"),
    ):
        await rig.fault(name)
        token = (await rig.tokens())["id_token"]
        assert parts(token)[0]["alg"] == alg
        signed, _, signature = token.rpartition(".")
        secret = {"alg-hs256-public-key": public_pem, "alg-hs256-client-secret": b"s3cret"}.get(name)
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
        assert base64.urlsafe_b64encode(mac).rstrip(b"=").decode() == signature
    for name in ("signature-wrong", "signature-missing", "kid-unknown"):
        await rig.fault(name)
        assert not verifies((await rig.tokens())["id_token"], await rig.keys()), name


async def test_key_faults_that_a_client_must_survive(rig: Rig) -> None:
    known = await rig.keys()
    await rig.fault("key-rotated", times=1)
    token = (await rig.tokens())["id_token"]
    assert not verifies(token, known) and verifies(token, await rig.keys())
    await rig.fault("kid-missing-one")
    token = (await rig.tokens())["id_token"]
    assert "kid" not in parts(token)[0] and len(await rig.keys()) == 1
    await rig.fault("kid-missing-many")
    token = (await rig.tokens())["id_token"]
    assert "kid" not in parts(token)[0] and len(await rig.keys()) == 2
    await rig.emu(rotate_keys="overlap", faults=[])
    assert len(await rig.keys()) == 3 and verifies((await rig.tokens())["id_token"], await rig.keys())


async def test_token_answer_faults(rig: Rig) -> None:
    for name, member in (
        ("id-token-missing", "id_token"),
        ("expires-in-missing", "expires_in"),
        ("token-type-missing", "token_type"),
    ):
        await rig.fault(name)
        assert member not in await rig.tokens()
    await rig.fault("id-token-not-text")
    assert isinstance((await rig.tokens())["id_token"], dict)
    await rig.fault("expires-in-text")
    assert (await rig.tokens())["expires_in"] == "soon"
    await rig.fault("token-error")
    assert (await rig.exchange("x")).json()["error"] == "invalid_grant"


async def test_authorization_response_faults(rig: Rig) -> None:
    seen = {}
    for name in ("iss-missing", "iss-wrong", "state-missing", "state-wrong", "error"):
        await rig.fault(f"response-{name}")
        await rig.emu(next="ana")
        seen[name] = back(await rig.authorize())
    assert "iss" not in seen["iss-missing"] and seen["iss-wrong"]["iss"] == "https://evil.test"
    assert "state" not in seen["state-missing"] and seen["state-wrong"]["state"] == "another-state"
    assert seen["error"]["error"] == "temporarily_unavailable"


@pytest.mark.parametrize(
    ("name", "issuer"),
    [
        ("discovery-issuer-other", "https://evil.test"),
        ("discovery-issuer-slash", BASE + "/"),
        ("discovery-issuer-case", BASE.upper()),
    ],
)
async def test_discovery_issuer_faults(rig: Rig, name: str, issuer: str) -> None:
    await rig.fault(name)
    assert (await rig.http.get("/.well-known/openid-configuration")).json()["issuer"] == issuer


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("discovery-no-token-endpoint", "token_endpoint"),
        ("discovery-no-jwks", "jwks_uri"),
        ("discovery-pkce-unsaid", "code_challenge_methods_supported"),
    ],
)
async def test_discovery_member_faults(rig: Rig, name: str, member: str) -> None:
    await rig.fault(name)
    assert member not in (await rig.http.get("/.well-known/openid-configuration")).json()


async def test_userinfo_faults(rig: Rig) -> None:
    token = (await rig.tokens())["access_token"]
    await rig.fault("userinfo-other-sub")
    assert (await rig.userinfo(token)).json()["sub"] != "sandbox-ana"
    await rig.fault("userinfo-no-sub")
    assert "sub" not in (await rig.userinfo(token)).json()


async def test_key_set_faults(rig: Rig) -> None:
    await rig.keys()
    await rig.fault("jwks-flapping")
    assert [(await rig.http.get("/jwks")).status_code for _ in range(4)] == [200, 500, 200, 500]
    await rig.fault("jwks-junk")
    junk = await rig.keys()
    assert len(junk) == 6 and junk[-1]["kid"]
    await rig.fault("jwks-empty")
    assert await rig.keys() == []
    await rig.fault("jwks-other-key")
    token = (await rig.tokens())["id_token"]
    assert not verifies(token, await rig.keys())


WELL_KNOWN = "/.well-known/openid-configuration"


@pytest.mark.parametrize("name", sorted(set(WIRE_FAULTS) - {"endless", "drip", "hang", "cut"}))
async def test_wire_faults_spoil_the_named_endpoint_only(rig: Rig, name: str) -> None:
    await rig.fault(name, at="discovery", **({"size": 3_000_000} if name == "gzip-bomb" else {}))
    async with rig.http.stream("GET", WELL_KNOWN) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert (await rig.http.get("/jwks")).json()["keys"]
    if name == "status":
        assert answer.status_code == 503
    elif name == "redirect":
        assert answer.status_code == 302
    elif name == "huge":
        assert 1_999_000 < len(raw) < 2_001_000 and json.loads(raw)["issuer"] == BASE
    elif name == "gzip-bomb":
        assert len(raw) < 10_000 and len(gzip.decompress(raw)) > 3_000_000
    elif name == "bom":
        assert raw.startswith(b"\xef\xbb\xbf{")
    elif name == "nan":
        assert b"NaN" in raw
    elif name == "duplicate-keys":
        pairs = json.loads(raw, object_pairs_hook=list)
        assert [key for key, _ in pairs].count("issuer") == 2 and dict(pairs)["issuer"] == BASE
    elif name == "deep":
        with pytest.raises(RecursionError):
            json.loads(raw)
    elif name in {"list", "null"}:
        assert not isinstance(json.loads(raw), dict)
    else:  # html, html-plain, truncated, empty, charset
        with pytest.raises(ValueError):
            json.loads(raw.decode("utf-8"))


@pytest.mark.parametrize("endpoint", ["jwks", "authorize", "token", "userinfo", "statuses", "revoke"])
async def test_every_endpoint_can_fail(rig: Rig, endpoint: str) -> None:
    tokens = await rig.tokens(scope=f"openid {POSTING_SCOPE}")
    await rig.fault("status", at=endpoint, status=500, times=1)
    calls: dict[str, Callable[[], Awaitable[httpx2.Response]]] = {
        "jwks": lambda: rig.http.get("/jwks"),
        "authorize": rig.authorize,
        "token": lambda: rig.exchange("x"),
        "userinfo": lambda: rig.userinfo(tokens["access_token"]),
        "statuses": lambda: rig.post(tokens["access_token"]),
        "revoke": lambda: rig.http.post("/oauth/revoke"),
    }
    assert [(await calls[endpoint]()).status_code == 500 for _ in range(2)] == [True, False]


async def test_hang_drip_endless_and_cut_over_a_real_socket() -> None:
    app = create_app([CLIENT])
    async with served(app) as base, httpx2.AsyncClient(base_url=base, timeout=20) as http:
        await http.post("/__emu__", json={"faults": [{"name": "hang", "at": "discovery", "seconds": None}]})
        with pytest.raises(httpx2.TimeoutException):
            await http.get(WELL_KNOWN, timeout=0.3)
        await http.post("/__emu__", json={"faults": [{"name": "hang", "at": "discovery", "seconds": 0.2}]})
        started = time.monotonic()
        assert (await http.get(WELL_KNOWN)).json()["issuer"] == base and time.monotonic() - started > 0.19
        await http.post("/__emu__", json={"faults": [{"name": "drip", "at": "discovery", "seconds": 0.05}]})
        assert await _bytes_in(http, 0.4, enough=50) < 50
        await http.post("/__emu__", json={"faults": [{"name": "endless", "at": "discovery"}]})
        assert await _bytes_in(http, 20, enough=200_000) > 200_000
        await http.post("/__emu__", json={"faults": [{"name": "cut", "at": "discovery"}]})
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(WELL_KNOWN)
        assert (await http.get("/jwks")).status_code == 200


async def _bytes_in(http: httpx2.AsyncClient, seconds: float, *, enough: int) -> int:
    """How many come within the time; reading ends with the piece that makes it more than `enough`."""
    count = 0

    async def read() -> None:
        nonlocal count
        async with http.stream("GET", WELL_KNOWN) as answer:
            async for piece in answer.aiter_raw():
                count += len(piece)
                if count > enough:
                    return

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(read(), seconds)
    return count


async def test_faults_that_are_not_known_are_named(rig: Rig) -> None:
    for order in (
        {"name": "x"},
        {"name": "html"},
        {"name": "alg-none", "at": "token"},
        {"name": "html", "at": "x"},
    ):
        answer = await rig.http.post("/__emu__", json={"faults": [order]})
        assert answer.status_code == 400 and answer.json()["error"]
    shown = (await rig.http.get("/__emu__")).json()["known_faults"]
    assert set(shown["answers"]) == set(ANSWER_FAULTS) and set(shown["wire"]) == set(WIRE_FAULTS)


async def test_the_log_shows_facts_and_no_secrets(rig: Rig) -> None:
    tokens = await rig.tokens()
    await rig.userinfo(tokens["access_token"])
    answer = await rig.http.get("/__emu__/log")
    assert not any(word in answer.text for word in ("s3cret", tokens["access_token"], VERIFIER, "st-1", 'n-1"'))
    paths = [entry["path"] for entry in answer.json()["entries"]]
    assert paths == ["/authorize", "/token", "/userinfo"]
    exchange = answer.json()["entries"][1]
    assert exchange["auth"] == "form" and exchange["verifier"] is True and exchange["code_ref"]


async def test_the_control_plane_answers_this_machine_only(rig: Rig) -> None:
    transport = httpx2.ASGITransport(app=rig.app, client=("203.0.113.9", 4))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as away:
        for path in ("/__emu__", "/__emu__/log"):
            assert (await away.get(path)).status_code == 403


# Sandbox Social


async def _posting_token(rig: Rig, slug: str = "ana") -> str:
    found = await rig.sign_in(slug, scope=POSTING_SCOPE)
    return str((await rig.exchange(found["code"])).json()["access_token"])


async def test_posting_is_asked_on_its_own_page_and_never_silently(rig: Rig) -> None:
    await rig.sign_in()
    page = await rig.authorize(scope=POSTING_SCOPE)
    assert page.status_code == 200 and "Allow Doorward to post for you?" in page.text
    refused = back(await rig.http.post("/allow", data={"pending": pending_of(page), "action": "cancel"}))
    assert refused["error"] == "access_denied"
    assert back(await rig.authorize(scope=POSTING_SCOPE, prompt="none"))["error"] == "consent_required"


async def test_a_sign_in_token_may_not_post(rig: Rig) -> None:
    answer = await rig.post((await rig.tokens())["access_token"])
    assert answer.status_code == 403 and "outside the authorized scopes" in answer.json()["error"]
    assert (await rig.post("nonsense")).status_code == 401


async def test_a_posted_status_is_shown_and_can_be_taken_back(rig: Rig) -> None:
    token = await _posting_token(rig, "html")
    answer = await rig.post(token, "<i>hi</i> & bye", visibility="unlisted")
    status = answer.json()
    assert answer.status_code == 200 and status["visibility"] == "unlisted"
    assert status["content"] == "<p>&lt;i&gt;hi&lt;/i&gt; &amp; bye</p>" and answer.headers["x-ratelimit-remaining"]
    wall = (await rig.http.get("/social")).text
    assert "&lt;i&gt;hi&lt;/i&gt; &amp; bye" in wall and "&lt;b&gt;Bobby" in wall and "<i>" not in wall
    url = f"/api/v1/statuses/{status['id']}"
    stranger = {"authorization": f"Bearer {await _posting_token(rig, 'lucas')}"}
    assert (await rig.http.request("DELETE", url, headers=stranger)).status_code == 404
    own = {"authorization": f"Bearer {token}"}
    assert (await rig.http.request("DELETE", url, headers=own)).json()["text"] == "<i>hi</i> & bye"
    assert (await rig.http.get(url)).status_code == 404 and "Nothing was posted yet" in (
        await rig.http.get("/social")
    ).text


async def test_an_idempotency_key_returns_the_same_status_for_an_hour(rig: Rig) -> None:
    token = await _posting_token(rig)
    ids = [(await rig.post(token, key="k-1")).json()["id"] for _ in range(2)]
    other = (await rig.post(token, key="k-2")).json()["id"]
    assert ids[0] == ids[1] != other
    await rig.emu(clock=3590)
    rig.app.state.sandbox.tokens[token].expires_at += 10_000
    assert (await rig.post(token, key="k-1")).json()["id"] == ids[0]
    await rig.emu(clock=3700)
    assert (await rig.post(token, key="k-1")).json()["id"] != ids[0]


@pytest.mark.parametrize("text", ["", "   ", "x" * 501])
async def test_text_that_cannot_be_posted(rig: Rig, text: str) -> None:
    answer = await rig.post(await _posting_token(rig), text)
    assert answer.status_code == 422 and answer.json()["error"].startswith("Validation failed: ")


@pytest.mark.parametrize(
    ("fault", "status", "kept"),
    [
        ("post-revoked", 401, 0),
        ("post-forbidden", 403, 0),
        ("post-rate-limited", 429, 0),
        ("post-duplicate", 422, 0),
        ("post-accept-then-500", 500, 1),
    ],
)
async def test_posting_faults(rig: Rig, fault: str, status: int, kept: int) -> None:
    token = await _posting_token(rig)
    await rig.fault(fault, times=1)
    answer = await rig.post(token, key="k")
    shown = (await rig.http.get("/__emu__")).json()["statuses"]
    assert (answer.status_code, len(shown)) == (status, kept)
    assert fault != "post-rate-limited" or answer.headers["x-ratelimit-reset"].endswith("Z")
    assert (await rig.post(token, key="k")).status_code == 200
    assert len((await rig.http.get("/__emu__")).json()["statuses"]) == 1


async def test_a_status_accepted_before_a_time_out_is_found_by_its_key(rig: Rig) -> None:
    token = await _posting_token(rig)
    await rig.fault("post-accept-then-hang", seconds=0.1, times=1)
    assert (await rig.post(token, key="k")).status_code == 503
    first = (await rig.http.get("/__emu__")).json()["statuses"][0]["id"]
    assert (await rig.post(token, key="k")).json()["id"] == first


async def test_the_allowance_is_300_calls_in_five_minutes(rig: Rig) -> None:
    token = await _posting_token(rig)
    now = time.time()
    rig.app.state.sandbox.posts["ana"] = [now] * 299
    assert [(await rig.post(token)).status_code for _ in range(2)] == [200, 429]


async def test_revocation_ends_posting_and_the_permission(rig: Rig) -> None:
    token = await _posting_token(rig)
    form = {"client_id": CLIENT.id, "client_secret": "wrong", "token": token}
    assert (await rig.http.post("/oauth/revoke", data=form)).status_code == 401
    answer = await rig.http.post("/oauth/revoke", data={**form, "client_secret": "s3cret"})
    assert answer.json() == {} and (await rig.post(token)).status_code == 401
    assert (await rig.authorize(scope=POSTING_SCOPE)).status_code == 200  # asked again
    assert (await rig.http.get("/api/v2/instance")).json()["configuration"]["statuses"]["max_characters"] == 500


# --- found by an address, and open to registration --------------------------------------------------------


async def test_webfinger_names_the_issuer_of_the_people_there_are(rig: Rig) -> None:
    """RFC 7033 §4.3: what was not asked for is left out; who is not there is not found."""
    rel = "http://openid.net/specs/connect/1.0/issuer"
    for resource in ("acct:ana@openid.test", f"{BASE}/ana", f"{BASE}/"):
        for asked in ({}, {"rel": rel}):
            answer = await rig.http.get("/.well-known/webfinger", params={"resource": resource, **asked})
            assert answer.headers["content-type"] == "application/jrd+json"
            assert answer.json() == {"subject": resource, "links": [{"rel": rel, "href": BASE}]}
    other = await rig.http.get("/.well-known/webfinger", params={"resource": f"{BASE}/", "rel": "self"})
    assert other.json()["links"] == []
    for params, status in (
        ({}, 400),
        ({"resource": "acct:nobody@openid.test"}, 404),
        ({"resource": "acct:ana@evil.test"}, 404),
    ):
        assert (await rig.http.get("/.well-known/webfinger", params=params)).status_code == status
    await rig.fault("status", at="webfinger", status=404)
    assert (await rig.http.get("/.well-known/webfinger", params={"resource": f"{BASE}/"})).status_code == 404


async def test_who_registers_is_a_client_until_the_sandbox_is_as_new(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7591 §3.2.1"""
    told = (await rig.http.get("/.well-known/openid-configuration")).json()
    made = await rig.http.post(told["registration_endpoint"], json={"client_name": "Club", "redirect_uris": [CALLBACK]})
    assert made.status_code == 201
    assert made.json()["redirect_uris"] == [CALLBACK]
    client = made.json()["client_id"]
    assert client in (await rig.http.get("/__emu__")).text
    for wrong, error in (
        ({}, "invalid_redirect_uri"), ({"redirect_uris": ["javascript:x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
        ([], "invalid_client_metadata"),
    ):  # fmt: skip
        refused = await rig.http.post("/register", json=wrong)
        assert (refused.status_code, refused.json()["error"]) == (400, error)
    monkeypatch.setattr("providers.sandbox.openid_connect_found.MOST_REGISTERED", 1)
    other = (await rig.http.post("/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]
    shown = (await rig.http.get("/__emu__")).text
    assert other in shown
    assert client not in shown
    await rig.emu(reset=True)
    shown = (await rig.http.get("/__emu__")).text
    assert other not in shown
    assert CLIENT.id in shown

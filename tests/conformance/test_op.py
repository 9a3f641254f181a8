"""The OpenID Foundation's modules for Basic OP, Form Post OP and Config OP, each as a test of the same name that does what
the module does. Basic and Form Post share their modules.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from tests.conformance.suite import CALLBACK, PUBLIC, Signed, Suite, conformance
from tests.support.house import ISSUER, House, Sandboxes, Shown
from tests.support.tls import Authority

UI_NEEDED: Final = {"login_required", "interaction_required", "consent_required", "account_selection_required"}
PROFILE: Final = {
    "name": "Evren Kaya", "given_name": "Evren", "family_name": "Kaya", "middle_name": "Deniz", "nickname": "Evo",
    "preferred_username": "evren", "profile": "https://evren.people.test/about", "website": "https://evren.people.test/",
    "gender": "other", "birthdate": "1988-02-29", "zoneinfo": "Europe/Istanbul", "locale": "tr-TR",
}  # fmt: skip
EMAIL: Final = {"email": "every-claim@people.test", "email_verified": True}
PHONE: Final = {"phone_number": "+902165550123", "phone_number_verified": True}
ADDRESS: Final = {
    "address": {
        "formatted": "Moda Caddesi 5\n34710 Kadıköy\nİstanbul\nTürkiye",
        "street_address": "Moda Caddesi 5",
        "locality": "Kadıköy",
        "region": "İstanbul",
        "postal_code": "34710",
        "country": "Türkiye",
    }
}


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[House]:
    async with conformance(tmp_path, sandboxes, authority) as opened:
        yield opened


@pytest.fixture(params=["query", "form_post"])
async def suite(request: pytest.FixtureRequest, house: House) -> Suite:
    return await Suite.begin(house, request.param)


def assert_error(response: httpx2.Response, error: str) -> None:
    """As RFC 6749 §5.2 has it, its text without what could break a header."""
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/json")
    told = response.json()
    assert told["error"] == error
    words = told.get("error_description", "")
    assert all(" " <= ch <= "~" and ch not in '"\\' for ch in words)


def assert_page(end: dict[str, str] | Shown) -> None:
    """A page of ours and no way on, with the reference that `suite.json` waits for."""
    assert isinstance(end, Shown), end
    assert 400 <= end.status < 500
    assert end.url.startswith(ISSUER)
    assert "Reference" in end.text
    assert "location" not in end.response.headers
    assert "refresh" not in end.response.headers


def assert_same_person(first: Signed, second: Signed) -> None:
    assert second.claims["sub"] == first.claims["sub"]
    assert second.claims["auth_time"] == first.claims["auth_time"]


# --- Basic and Form Post --------------------------------------------------------------------------------------------


async def test_oidcc_server(suite: Suite) -> None:
    signed = await suite.sign_in()
    assert len(signed.access_token) >= 22
    assert await suite.userinfo(signed)


async def test_oidcc_response_type_missing(suite: Suite) -> None:
    assert await suite.refused(response_type=None) in {"invalid_request", "unsupported_response_type"}


async def test_oidcc_idtoken_signature(suite: Suite) -> None:
    signed = await suite.sign_in()
    assert signed.header["alg"] == "RS256"
    assert signed.header["kid"] in {key.kid for key in (await suite.keys()).keys}


async def test_oidcc_idtoken_unsigned(suite: Suite) -> None:
    """The module is skipped where `none` is not offered: it is not, and nobody gets it."""
    assert "none" not in suite.metadata["id_token_signing_alg_values_supported"]
    signed = await suite.sign_in()
    assert signed.tokens["id_token"].split(".")[2]


async def test_oidcc_userinfo_get(suite: Suite) -> None:
    signed = await suite.sign_in(scope="openid profile")
    assert (await suite.userinfo(signed))["name"] == "Evren Kaya"


async def test_oidcc_userinfo_post_header(suite: Suite) -> None:
    signed = await suite.sign_in(scope="openid profile")
    assert await suite.userinfo(signed, way="post-header") == await suite.userinfo(signed)


async def test_oidcc_userinfo_post_body(suite: Suite) -> None:
    signed = await suite.sign_in(scope="openid profile")
    assert await suite.userinfo(signed, way="post-body") == await suite.userinfo(signed)


async def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(suite: Suite) -> None:
    signed = await suite.sign_in(nonce=None)
    assert "nonce" not in signed.claims


async def assert_scope(suite: Suite, scope: str, expected: dict[str, Any], *, profile: bool = False) -> None:
    """Exactly the scope's claims, of their types, and none of them in the ID token."""
    signed = await suite.sign_in(scope=f"openid {scope}")
    told = await suite.userinfo(signed)
    assert told.pop("sub")
    if profile:
        changed = told.pop("updated_at")
        assert type(changed) is int
        assert abs(changed - suite.house.clock.now().timestamp()) < 60
        assert told.pop("picture").startswith("http")
    assert told == expected
    assert not set(expected) & set(signed.claims)
    assert set(expected) <= set(suite.metadata["claims_supported"])
    assert set(scope.split()) <= set(suite.metadata["scopes_supported"])


async def test_oidcc_scope_profile(suite: Suite) -> None:
    await assert_scope(suite, "profile", PROFILE, profile=True)


async def test_oidcc_scope_email(suite: Suite) -> None:
    await assert_scope(suite, "email", EMAIL)


async def test_oidcc_scope_address(suite: Suite) -> None:
    await assert_scope(suite, "address", ADDRESS)


async def test_oidcc_scope_phone(suite: Suite) -> None:
    await assert_scope(suite, "phone", PHONE)


async def test_oidcc_scope_all(suite: Suite) -> None:
    await assert_scope(suite, "address email phone profile", {**PROFILE, **EMAIL, **PHONE, **ADDRESS}, profile=True)


async def test_oidcc_alternate_happy_flow(suite: Suite) -> None:
    """The order of scopes and parameters means nothing (RFC 6749 §3.3; catalogue 18)."""
    params = dict(reversed(suite.request(scope="email openid").items()))
    answer = await suite.authorize(params)
    assert isinstance(answer, dict)
    signed = await suite.read(answer, await suite.redeem(answer["code"]), params["nonce"])
    assert (await suite.userinfo(signed))["email"] == EMAIL["email"]


async def test_oidcc_display_page(suite: Suite) -> None:
    await suite.sign_in(display="page")


async def test_oidcc_display_popup(suite: Suite) -> None:
    await suite.sign_in(display="popup")


async def test_oidcc_prompt_login(suite: Suite) -> None:
    first = await suite.sign_in()
    await suite.house.move(seconds=1)
    second = await suite.sign_in(prompt="login")
    assert suite.steps == ["sign-in"]
    assert second.claims["auth_time"] > first.claims["auth_time"]
    assert second.claims["sub"] == first.claims["sub"]


async def test_oidcc_prompt_none_not_logged_in(suite: Suite) -> None:
    state = secrets.token_urlsafe(96)
    assert len(state) == 128
    assert await suite.refused(prompt="none", state=state) in UI_NEEDED
    assert suite.steps == []


async def test_oidcc_prompt_none_logged_in(suite: Suite) -> None:
    first = await suite.sign_in()
    await suite.house.move(seconds=2)
    second = await suite.sign_in(prompt="none")
    assert suite.steps == []
    assert_same_person(first, second)


async def test_oidcc_max_age_1(suite: Suite) -> None:
    first = await suite.sign_in()
    await suite.house.move(seconds=2)
    second = await suite.sign_in(max_age="1")
    assert suite.steps == ["sign-in"]
    assert second.claims["auth_time"] > first.claims["auth_time"]
    assert abs(second.claims["auth_time"] - suite.house.clock.now().timestamp()) < 60


async def test_oidcc_max_age_10000(suite: Suite) -> None:
    first = await suite.sign_in(max_age="15000")
    await suite.house.move(seconds=2)
    second = await suite.sign_in(max_age="10000")
    assert suite.steps == []
    assert_same_person(first, second)


async def test_oidcc_ensure_request_with_unknown_parameter_succeeds(suite: Suite) -> None:
    """(catalogue 18)"""
    await suite.sign_in(extra="foobar")


async def test_oidcc_id_token_hint(suite: Suite) -> None:
    first = await suite.sign_in()
    await suite.house.move(seconds=2)
    second = await suite.sign_in(prompt="none", id_token_hint=first.tokens["id_token"])
    assert suite.steps == []
    assert_same_person(first, second)


async def test_oidcc_login_hint(suite: Suite) -> None:
    await suite.sign_in(login_hint="buffy@login.test")


async def test_oidcc_ui_locales(suite: Suite) -> None:
    """A language that we have none of our pages in is no error."""
    await suite.sign_in(ui_locales="se")


async def test_oidcc_claims_locales(suite: Suite) -> None:
    await suite.sign_in(claims_locales="se")


async def test_oidcc_ensure_request_with_acr_values_succeeds(suite: Suite) -> None:
    """Those that discovery lists are asked for, and one of them is told."""
    offered = suite.metadata["acr_values_supported"]
    signed = await suite.sign_in(acr_values=" ".join(offered))
    assert signed.claims["acr"] in offered


async def test_oidcc_codereuse(suite: Suite) -> None:
    """(catalogue 20)"""
    signed = await suite.sign_in()
    assert_error(await suite.redeem(signed.answer["code"]), "invalid_grant")


async def test_oidcc_codereuse_30seconds(suite: Suite) -> None:
    """And what the first use brought is dead (RFC 6749 §4.1.2; catalogue 20)."""
    signed = await suite.sign_in()
    await suite.house.move(seconds=30)
    await suite.userinfo(signed)
    assert_error(await suite.redeem(signed.answer["code"]), "invalid_grant")
    async with suite.house.client() as client:
        answer = await client.get("/userinfo", headers={"Authorization": f"Bearer {signed.access_token}"})
    assert answer.status_code == 401


async def test_oidcc_ensure_registered_redirect_uri(suite: Suite) -> None:
    """A page of ours, and nobody is sent anywhere (catalogue 1)."""
    assert_page(await suite.authorize(suite.request(redirect_uri=f"{CALLBACK}/{secrets.token_hex(4)}")))


async def test_oidcc_ensure_post_request_succeeds(suite: Suite) -> None:
    """The suite's page posts the request from its own origin (catalogue 18)."""
    await suite.sign_in(method="POST")


async def test_oidcc_server_client_secret_post(suite: Suite) -> None:
    assert "client_secret_post" in suite.metadata["token_endpoint_auth_methods_supported"]
    await suite.another("conformance-post").sign_in()


def unsigned(params: dict[str, str]) -> str:
    """A request object under `alg: none` (OpenID Connect Core §6.1)."""
    parts = ({"alg": "none"}, params)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(suite: Suite) -> None:
    """Rejected, as discovery says; nobody is asked for it (catalogue 16)."""
    assert "none" not in suite.metadata["request_object_signing_alg_values_supported"]
    where = "https://suite.club.example:8443/test/a/doorward/requesturi#1"
    assert await suite.refused(request_uri=where) == "request_uri_not_supported"


async def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(suite: Suite) -> None:
    """(catalogue 16)"""
    inside = unsigned(suite.request(state=None))
    assert "none" not in suite.metadata["request_object_signing_alg_values_supported"]
    assert await suite.refused(request=inside) == "request_not_supported"


async def test_oidcc_ensure_request_object_with_redirect_uri(suite: Suite) -> None:
    """A good address inside does not mend a bad one outside where the object is not read (catalogue 9, 16)."""
    inside = unsigned(suite.request())
    assert_page(await suite.authorize(suite.request(request=inside, redirect_uri=f"{CALLBACK}/{secrets.token_hex(4)}")))


async def test_oidcc_claims_essential(suite: Suite) -> None:
    """Told by userinfo, where it was asked for, and not in the ID token."""
    assert suite.metadata["claims_parameter_supported"] is True
    signed = await suite.sign_in(claims=json.dumps({"userinfo": {"name": {"essential": True}}}))
    assert (await suite.userinfo(signed))["name"] == "Evren Kaya"
    assert "name" not in signed.claims


async def test_oidcc_refresh_token(suite: Suite) -> None:
    """It brings new tokens for the same person, and for no other client (RFC 6749 §6, OpenID Connect Core §12.2)."""
    assert "refresh_token" in suite.metadata["grant_types_supported"]
    other = suite.another("conformance-2")
    refresh: dict[str, str] = {}
    for one in (suite, other):
        signed = await one.sign_in(scope="openid offline_access", prompt="consent")
        assert one.steps[-1] == "site"
        refresh[one.client] = token = signed.tokens["refresh_token"]
        assert all(" " <= ch <= "~" for ch in token)
        await suite.house.move(seconds=1)
        answer = await one.token({"grant_type": "refresh_token", "refresh_token": token})
        again = await one.read({}, answer, None)
        assert_same_person(signed, again)
        assert again.access_token != signed.access_token
        assert again.claims["iat"] > signed.claims["iat"]
        assert await one.userinfo(again)
        refresh[one.client] = again.tokens["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh["conformance-2"]}
    assert_error(await suite.token(form), "invalid_grant")


async def test_oidcc_ensure_request_with_valid_pkce_succeeds(suite: Suite) -> None:
    verifier = secrets.token_urlsafe(40)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    await suite.sign_in(verifier=verifier, code_challenge=challenge, code_challenge_method="S256")
    answer = await suite.answered(code_challenge=challenge, code_challenge_method="S256")
    assert_error(await suite.redeem(answer["code"]), "invalid_grant")


# --- Config ---------------------------------------------------------------------------------------------------------

FLAGS: Final = (
    "claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported",
    "authorization_response_iss_parameter_supported", "backchannel_logout_supported",
)  # fmt: skip


async def test_oidcc_discovery_endpoint_verification(house: House) -> None:
    """OpenID Connect Discovery §3, §4; RFC 7517 §4.5."""
    async with house.client() as client:
        answer = await client.get("/.well-known/openid-configuration")
        keys = (await client.get("/jwks")).json()["keys"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["issuer"] == ISSUER
    assert "RS256" in told["id_token_signing_alg_values_supported"]
    assert set(told["subject_types_supported"]) <= {"pairwise", "public"}
    assert "openid" in told["scopes_supported"]
    assert "code" in told["response_types_supported"]
    assert "authorization_code" in told["grant_types_supported"]
    assert {"sub", "name", "email", "address", "phone_number", "updated_at"} <= set(told["claims_supported"])
    assert "S256" in told["code_challenge_methods_supported"]
    for name in ("authorization", "token", "userinfo", "end_session"):
        assert f"{name}_endpoint" in told
    for name, value in told.items():
        if name.endswith(("_endpoint", "_uri", "_iframe")):
            assert value.startswith(f"{ISSUER}/"), name
        if name.endswith("_supported"):
            assert isinstance(value, list | bool), name
            assert value != [], name
    assert all(isinstance(told[name], bool) for name in FLAGS)
    names = [key["kid"] for key in keys]
    assert len(names) == len(set(names)) > 0
    assert not any({"d", "p", "q", "k"} & set(key) for key in keys)
    assert PUBLIC not in answer.text

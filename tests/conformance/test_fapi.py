"""The OpenID Foundation's modules for the FAPI 2.0 Security Profile and for Message Signing, each as a test of the same name
that does what the module does. Both plans share most of them; the rest is in `test_fapi_signed`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.fapi import Fapi, code_challenge, rsa_of, with_keys
from tests.conformance.suite import conformance
from tests.support.client_keys import new_key, thumbprint
from tests.support.house import House, Sandboxes, Shown
from tests.support.tls import Authority

REQUEST_ERRORS = {"invalid_request", "invalid_request_object"}


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[House]:
    async with conformance(tmp_path, sandboxes, authority, change=with_keys) as opened:
        yield opened


@pytest.fixture(params=[False, True], ids=["security-profile", "message-signing"])
async def fapi(request: pytest.FixtureRequest, house: House) -> Fapi:
    return await Fapi.begin(house, signs=request.param)


@pytest.fixture
async def other(fapi: Fapi) -> Fapi:
    return await Fapi.begin(fapi.house, signs=fapi.signs, second=True)


def refused(answer: Any, *errors: str) -> bool:
    """In JSON, with one of these, and nothing of value beside it."""
    told = answer.json()
    assert told.keys() <= {"error", "error_description", "reference"}
    assert answer.status_code in (400, 401), answer.text
    return told["error"] in errors


# --- what goes well -----------------------------------------------------------------------------------


async def test_fapi2_security_profile_final_discovery_end_point_verification(fapi: Fapi) -> None:
    told = fapi.metadata
    assert "code" in told["response_types_supported"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["pushed_authorization_request_endpoint"].endswith("/par")
    assert told["authorization_response_iss_parameter_supported"] is True
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    assert {"PS256", "ES256"} <= set(told["dpop_signing_alg_values_supported"])
    assert {"PS256", "ES256"} <= set(told["token_endpoint_auth_signing_alg_values_supported"])
    assert {"PS256", "ES256"} <= set(told["request_object_signing_alg_values_supported"])
    assert "ES256" in told["id_token_signing_alg_values_supported"]
    assert "jwt" in told["response_modes_supported"]
    assert "ES256" in told["authorization_signing_alg_values_supported"]


async def test_fapi2_security_profile_final_happy_flow(fapi: Fapi, other: Fapi) -> None:
    """Both clients."""
    for client in (fapi, other):
        tokens = await client.sign_in()
        assert tokens["userinfo"]["preferred_username"] == "evren"


async def test_fapi2_security_profile_final_user_rejects_authentication(fapi: Fapi) -> None:
    answer = await fapi.visit(await fapi.reference(), decision="refuse")
    assert isinstance(answer, dict)
    assert (answer["error"], "code" in answer) == ("access_denied", False)


async def test_fapi2_security_profile_final_ensure_authorization_request_without_state_success(fapi: Fapi) -> None:
    await fapi.sign_in(state=None)


async def test_fapi2_security_profile_final_ensure_authorization_request_without_nonce_success(fapi: Fapi) -> None:
    assert "nonce" not in (await fapi.sign_in(nonce=None))["claims"]


@pytest.mark.parametrize("length", [64])
async def test_fapi2_security_profile_final_ensure_authorization_request_with_64_char_nonce_success(
    fapi: Fapi, length: int
) -> None:
    await fapi.sign_in(nonce="n" * length)


async def test_fapi2_security_profile_final_ensure_other_scope_order_succeeds(fapi: Fapi) -> None:
    await fapi.sign_in(scope="profile offline_access openid")


async def test_fapi2_security_profile_final_test_claims_parameter_identity_claims(fapi: Fapi) -> None:
    claims = (
        '{"id_token":{"email":null,"zzz":{"essential":true}},"userinfo":{"gender":null,"address":{"essential":true}}}'
    )
    tokens = await fapi.sign_in(claims=claims)
    assert tokens["claims"]["email"] == "every-claim@people.test"
    assert tokens["userinfo"]["gender"] == "other"
    assert tokens["userinfo"]["address"]["locality"] == "Kadıköy"


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "dPoP"])
async def test_fapi2_security_profile_final_access_token_type_header_case_sensitivity(fapi: Fapi, scheme: str) -> None:
    token = (await fapi.tokens(await fapi.code()))["access_token"]
    assert (await fapi.userinfo(token, scheme=scheme))["sub"]


# --- DPoP ---------------------------------------------------------------------------------------------


async def test_fapi2_security_profile_final_check_dpop_proof_nbf_exp(fapi: Fapi) -> None:
    """Good ones are taken; what is over or has not begun is not."""
    token = (await fapi.tokens(await fapi.code()))["access_token"]
    goods: list[dict[str, Any]] = [{"nbf": fapi.now - 10, "exp": fapi.now + 300}, {"nbf": fapi.now + 10}]
    bads: list[dict[str, Any]] = [{"exp": fapi.now - 300}, {"nbf": fapi.now + 300}]
    for good in goods:
        assert (
            await fapi.ask(token, headers=fapi.dpop("/userinfo", method="GET", token=token, **good))
        ).status_code == 200
    for bad in bads:
        answer = await fapi.ask(token, headers=fapi.dpop("/userinfo", method="GET", token=token, **bad))
        assert refused(answer, "invalid_dpop_proof")


async def with_proof_of(fapi: Fapi, seconds: int) -> None:
    made: dict[str, Any] = {"iat": fapi.now + seconds}
    answer = await fapi.redeem(await fapi.code(), headers=fapi.dpop("/token", **made))
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    shown = fapi.dpop("/userinfo", method="GET", token=token, **made)
    assert (await fapi.ask(token, headers=shown)).status_code == 200


async def test_fapi2_security_profile_final_ensure_dpopproof_with_iat_10seconds_before_succeeds(fapi: Fapi) -> None:
    await with_proof_of(fapi, -10)


async def test_fapi2_security_profile_final_ensure_dpopproof_with_iat_10seconds_after_succeeds(fapi: Fapi) -> None:
    await with_proof_of(fapi, 10)


async def test_fapi2_security_profile_final_ensure_mismatched_dpop_jkt_fails(fapi: Fapi) -> None:
    request = fapi.request(dpop_jkt=thumbprint(new_key("ES256", "another")))
    assert refused(await fapi.push(request, headers=fapi.dpop("/par")), "invalid_request", "invalid_dpop_proof")


async def test_fapi2_security_profile_final_ensure_token_endpoint_fails_with_mismatched_dpop_proof_jkt(
    fapi: Fapi,
) -> None:
    answer = await fapi.visit(await fapi.reference(headers=fapi.dpop("/par")))
    assert isinstance(answer, dict)
    stranger = fapi.dpop("/token", key=new_key("ES256", "another"))
    assert refused(await fapi.redeem(answer["code"], headers=stranger), "invalid_grant", "invalid_dpop_proof")


async def test_fapi2_security_profile_final_ensure_token_endpoint_fails_with_mismatched_dpop_jkt(fapi: Fapi) -> None:
    code = await fapi.code(dpop_jkt=thumbprint(new_key("ES256", "another")))
    assert refused(await fapi.redeem(code), "invalid_grant", "invalid_dpop_proof")


async def test_fapi2_security_profile_final_ensure_dpopproof_at_par_endpoint_binding_success(fapi: Fapi) -> None:
    answer = await fapi.visit(await fapi.reference(headers=fapi.dpop("/par")))
    assert isinstance(answer, dict)
    await fapi.tokens(answer["code"])


async def test_fapi2_security_profile_final_ensure_dpop_auth_code_binding_success(fapi: Fapi) -> None:
    request = fapi.request(dpop_jkt=fapi.thumbprint)
    answer = await fapi.visit(await fapi.reference(request, headers=fapi.dpop("/par")))
    assert isinstance(answer, dict)
    await fapi.tokens(answer["code"])


async def test_fapi2_security_profile_final_dpop_negative_tests(fapi: Fapi) -> None:
    """At the token endpoint, then at the resource."""
    stranger = new_key("ES256", "another")
    tokens = await fapi.tokens(await fapi.code())
    token = tokens["access_token"]
    at: dict[str, Any] = {"method": "GET", "token": token}
    changes: list[dict[str, Any]] = [
        {"htm": "POST"}, {"htu": "https://other.test/userinfo"}, {"iat": fapi.now - 3600}, {"iat": fapi.now + 3600},
        {"jti": None}, {"ath": None}, {"ath": "x" * 43},
    ]  # fmt: skip
    for claims in changes:
        answer = await fapi.ask(token, headers=fapi.dpop("/userinfo", **at, **claims))
        assert (answer.status_code, refused(answer, "invalid_dpop_proof")) == (401, True), claims
        renewed = await fapi.renew(tokens["refresh_token"], headers=fapi.dpop("/token", htm="GET"))
        assert refused(renewed, "invalid_dpop_proof")
    once = fapi.dpop("/userinfo", **at)
    assert (await fapi.ask(token, headers=once)).status_code == 200
    assert refused(await fapi.ask(token, headers=once), "invalid_dpop_proof")
    assert refused(await fapi.ask(token, headers=fapi.dpop("/userinfo", key=stranger, **at)), "invalid_token")
    for header in ({"typ": "jwt"}, {"jwk": dict(fapi.shown.as_dict(private=True))}):
        answer = await fapi.ask(token, headers=fapi.dpop("/userinfo", **at, header=header))
        assert refused(answer, "invalid_dpop_proof")
    assert refused(await fapi.ask(token, scheme="Bearer", headers={}), "invalid_token")
    assert refused(await fapi.ask(token, headers={}), "invalid_dpop_proof", "invalid_token")


# --- the authorization request ------------------------------------------------------------------------


async def test_fapi2_security_profile_final_ensure_different_nonce_inside_and_outside_request_object(
    fapi: Fapi,
) -> None:
    """Only what was pushed counts."""
    request = fapi.request()
    answer = await fapi.visit(await fapi.reference(request), nonce="outside")
    assert isinstance(answer, dict)
    assert (await fapi.tokens(answer["code"], request["nonce"]))["claims"]["nonce"] != "outside"


async def test_fapi2_security_profile_final_ensure_different_state_inside_and_outside_request_object(
    fapi: Fapi,
) -> None:
    request = fapi.request()
    answer = await fapi.visit(await fapi.reference(request), state="outside")
    assert isinstance(answer, dict)
    assert answer["state"] == request["state"]


async def test_fapi2_security_profile_final_state_only_outside_request_object_not_used(fapi: Fapi) -> None:
    answer = await fapi.visit(await fapi.reference(fapi.request(state=None)), state="outside")
    assert isinstance(answer, dict)
    assert ("code" in answer, "state" in answer) == (True, False)


async def test_fapi2_security_profile_final_ensure_authorization_request_with_long_nonce(fapi: Fapi) -> None:
    nonce = secrets.token_urlsafe(288)
    assert len(nonce) == 384
    assert (await fapi.sign_in(nonce=nonce))["claims"]["nonce"] == nonce


async def test_fapi2_security_profile_final_ensure_authorization_request_with_long_state(fapi: Fapi) -> None:
    await fapi.sign_in(state=secrets.token_urlsafe(288))


async def test_fapi2_security_profile_final_ensure_request_object_without_redirect_uri_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(fapi.request(redirect_uri=None)), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_redirect_uri_in_authorization_request(fapi: Fapi) -> None:
    """Nothing beside the reference makes up for it."""
    assert refused(await fapi.push(fapi.request(redirect_uri=None)), *REQUEST_ERRORS)
    page = await fapi.suite.browser.go(f"/authorize?client_id={fapi.name}&response_type=code&scope=openid")
    assert isinstance(page, Shown)
    assert page.status == 400


async def test_fapi2_security_profile_final_plain_fapi_tolerate_unregistered_redirect_uri(fapi: Fapi) -> None:
    """A server may take it from a client that proves itself; we do not."""
    answer = await fapi.push(fapi.request(redirect_uri="https://suite.club.example:8443/test/a/doorward-fapi/other"))
    assert refused(answer, "invalid_request", "invalid_redirect_uri")


async def test_fapi2_security_profile_final_ensure_unsigned_authorization_request_without_using_par_fails(
    fapi: Fapi,
) -> None:
    """The refusal itself is signed for a client that is answered in no other way."""
    request = fapi.request(response_mode=None) | {"client_id": fapi.name}
    answer = await fapi.walk(await fapi.suite.browser.go(f"/authorize?{fapi.encoded(request)}"))
    assert isinstance(answer, dict)
    assert (answer["error"], answer["state"], "code" in answer) == ("invalid_request", request["state"], False)


async def test_fapi2_security_profile_final_ensure_response_type_code_idtoken_fails(fapi: Fapi) -> None:
    answer = await fapi.push(fapi.request(response_type="code id_token"))
    assert refused(answer, "unsupported_response_type", *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_response_type_token_fails(fapi: Fapi) -> None:
    answer = await fapi.push(fapi.request(response_type="token"))
    assert refused(answer, "unsupported_response_type", *REQUEST_ERRORS)


# --- PAR ----------------------------------------------------------------------------------------------


async def test_fapi2_security_profile_final_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds(
    fapi: Fapi,
) -> None:
    request_uri = await fapi.reference()
    begun = await fapi.suite.browser.go(
        f"/authorize?{fapi.encoded({'client_id': fapi.name, 'request_uri': request_uri})}"
    )
    assert isinstance(begun, Shown)
    answer = await fapi.visit(request_uri)
    assert isinstance(answer, dict)
    await fapi.tokens(answer["code"])


async def test_fapi2_security_profile_final_par_attempt_reuse_request_uri(fapi: Fapi) -> None:
    request_uri = await fapi.reference()
    assert isinstance(await fapi.visit(request_uri), dict)
    page = await fapi.visit(request_uri)
    assert isinstance(page, Shown)
    assert page.status == 410


async def test_fapi2_security_profile_final_par_attempt_to_use_expired_request_uri(fapi: Fapi) -> None:
    request_uri = await fapi.reference()
    await fapi.house.move(seconds=61)
    assert isinstance(await fapi.visit(request_uri), Shown)


async def test_fapi2_security_profile_final_par_attempt_to_use_request_uri_for_different_client(
    fapi: Fapi, other: Fapi
) -> None:
    assert isinstance(await other.visit(await fapi.reference()), Shown)


async def test_fapi2_security_profile_final_par_authorization_request_containing_request_uri_form_param(
    fapi: Fapi,
) -> None:
    asked = fapi.request()
    form = {"request": fapi.signed_request(asked)} if fapi.signs else asked
    form |= {"request_uri": "urn:ietf:params:oauth:request_uri:some"} | fapi.proved()
    assert refused(await fapi.post("/par", form), "request_uri_not_supported", *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_par_attempt_invalid_http_method(fapi: Fapi) -> None:
    async with fapi.house.client() as client:
        assert (await client.put("/par", data=fapi.request() | fapi.proved())).status_code == 405


async def test_fapi2_security_profile_final_par_without_duplicate_parameters(fapi: Fapi) -> None:
    """The address holds client and reference alone."""
    answer = await fapi.visit(await fapi.reference())
    assert isinstance(answer, dict)
    await fapi.tokens(answer["code"])


async def test_fapi2_security_profile_final_par_ensure_pkce_required(fapi: Fapi) -> None:
    request = fapi.request(code_challenge=None, code_challenge_method=None)
    assert refused(await fapi.push(request), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_par_plain_pkce_rejected(fapi: Fapi) -> None:
    request = fapi.request(code_challenge=fapi.verifier, code_challenge_method="plain")
    assert refused(await fapi.push(request), *REQUEST_ERRORS)
    assert refused(await fapi.push(fapi.request(code_challenge_method=None)), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_pkce_code_verifier_required(fapi: Fapi) -> None:
    assert refused(await fapi.redeem(await fapi.code(), verifier=""), "invalid_grant", "invalid_request")


async def test_fapi2_security_profile_final_incorrect_pkce_code_verifier_rejected(fapi: Fapi) -> None:
    code = await fapi.code(code_challenge=code_challenge("x" * 64))
    assert refused(await fapi.redeem(code), "invalid_grant")


# --- codes and refresh tokens -------------------------------------------------------------------------


async def test_fapi2_security_profile_final_ensure_client_id_in_token_endpoint(fapi: Fapi, other: Fapi) -> None:
    """Named and proved for the second client, with the key of the first."""
    proved = other.proved(key=fapi.key) | {"client_id": other.name}
    assert refused(await fapi.redeem(await fapi.code(), proved=proved), "invalid_client", "invalid_grant")


async def test_fapi2_security_profile_final_ensure_holder_of_key_required(fapi: Fapi) -> None:
    """What the module says of TLS is for the proxy in front."""
    assert refused(await fapi.redeem(await fapi.code(), headers={}), "invalid_request", "invalid_dpop_proof")


async def test_fapi2_security_profile_final_ensure_authorization_code_is_bound_to_client(
    fapi: Fapi, other: Fapi
) -> None:
    code = await fapi.code()
    other.verifier = fapi.verifier
    assert refused(await other.redeem(code), "invalid_grant")
    assert refused(await fapi.redeem(code), "invalid_grant")


async def test_fapi2_security_profile_final_attempt_reuse_authorization_code_after_one_second(fapi: Fapi) -> None:
    """And what it had led to is over."""
    code = await fapi.code()
    token = (await fapi.tokens(code))["access_token"]
    await fapi.house.move(seconds=1)
    assert refused(await fapi.redeem(code), "invalid_grant")
    assert refused(await fapi.ask(token), "invalid_token")


async def test_fapi2_security_profile_final_ensure_token_endpoint_fails_with_expired_auth_code(fapi: Fapi) -> None:
    code = await fapi.code()
    await fapi.house.move(seconds=61)
    assert refused(await fapi.redeem(code), "invalid_grant")


async def test_fapi2_security_profile_final_refresh_token(fapi: Fapi, other: Fapi) -> None:
    """Not rotated, so that a lost answer costs nothing; of no use to another client, without proof or without a key."""
    token = (await fapi.tokens(await fapi.code()))["refresh_token"]
    for _ in range(2):
        renewed = await fapi.checked((await fapi.renew(token)).json())
        assert renewed["refresh_token"] == token
        assert (await fapi.userinfo(renewed["access_token"]))["sub"] == renewed["claims"]["sub"]
        await fapi.house.move(seconds=60)
    assert refused(await fapi.renew(token, proved={}), "invalid_client")
    assert refused(await fapi.renew(token, proved={"client_id": fapi.name}), "invalid_client")
    assert refused(await fapi.renew(token, headers={}), "invalid_dpop_proof", "invalid_request")
    assert refused(await other.renew(token), "invalid_grant")
    assert (await fapi.renew(token)).status_code == 200


# --- the client's own proof ---------------------------------------------------------------------------


async def test_fapi2_security_profile_final_ensure_signed_client_assertion_with_rs256_fails(fapi: Fapi) -> None:
    proved = fapi.proved(key=rsa_of(fapi.name), algorithm="RS256")
    assert refused(await fapi.redeem(await fapi.code(), proved=proved), "invalid_client")
    proved = fapi.proved(key=rsa_of(fapi.name), algorithm="PS256")
    assert (await fapi.redeem(await fapi.code(), proved=proved)).status_code == 200


async def test_fapi2_security_profile_final_ensure_client_assertion_in_token_endpoint(fapi: Fapi) -> None:
    for proved in ({}, {"client_id": fapi.name}):
        assert refused(await fapi.redeem(await fapi.code(), proved=proved), "invalid_client", "invalid_request")


async def test_fapi2_security_profile_final_ensure_client_assertion_with_exp_is_5_minutes_in_past_fails(
    fapi: Fapi,
) -> None:
    assert refused(await fapi.redeem(await fapi.code(), proved=fapi.proved(exp=fapi.now - 300)), "invalid_client")


async def test_fapi2_security_profile_final_ensure_client_assertion_with_wrong_aud_fails(fapi: Fapi) -> None:
    proved = fapi.proved(audience="https://other.example")
    assert refused(await fapi.redeem(await fapi.code(), proved=proved), "invalid_client")


async def test_fapi2_security_profile_final_ensure_client_assertion_with_no_sub_fails(fapi: Fapi) -> None:
    assert refused(await fapi.redeem(await fapi.code(), proved=fapi.proved(sub=None)), "invalid_client")


async def test_fapi2_security_profile_final_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted(
    fapi: Fapi,
) -> None:
    proved = fapi.proved(iat=fapi.now + 8, nbf=fapi.now + 8)
    assert (await fapi.push(proved=proved)).status_code == 201


async def test_fapi2_security_profile_final_par_ensure_jwt_client_assertions_nbf_over_60_seconds_in_the_future_fails(
    fapi: Fapi,
) -> None:
    late = fapi.now + 61
    changes: list[dict[str, Any]] = [{"iat": late, "nbf": late}, {"iat": late}, {"nbf": late}]
    for at in changes:
        assert refused(await fapi.push(proved=fapi.proved(exp=fapi.now + 120, **at)), "invalid_client")


async def test_fapi2_security_profile_final_par_test_array_as_audience_fails(fapi: Fapi) -> None:
    issuer = fapi.metadata["issuer"]
    for audience in ([issuer], [issuer, fapi.metadata["token_endpoint"]]):
        assert refused(await fapi.push(proved=fapi.proved(audience=audience)), "invalid_client")


async def test_fapi2_security_profile_final_par_test_par_endpoint_url_as_audience_fails(fapi: Fapi) -> None:
    audience = fapi.metadata["pushed_authorization_request_endpoint"]
    assert refused(await fapi.push(proved=fapi.proved(audience=audience)), "invalid_client")


async def test_fapi2_security_profile_final_par_test_token_endpoint_url_as_audience_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(proved=fapi.proved(audience=fapi.metadata["token_endpoint"])), "invalid_client")

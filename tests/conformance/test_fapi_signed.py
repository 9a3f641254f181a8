"""The modules of FAPI 2.0 Message Signing that only signed requests can be tried with, each as a test of the same name; and
introspection, which no module looks at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from joserfc import jwt
from tests.conformance.fapi import Fapi, key_of, rsa_of, with_keys
from tests.conformance.suite import conformance
from tests.conformance.test_fapi import REQUEST_ERRORS, refused
from tests.support.client_keys import new_key
from tests.support.house import ISSUER, House, Sandboxes
from tests.support.tls import Authority


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes, authority: Authority) -> AsyncIterator[House]:
    async with conformance(tmp_path, sandboxes, authority, change=with_keys) as opened:
        yield opened


@pytest.fixture
async def fapi(house: House) -> Fapi:
    return await Fapi.begin(house, signs=True)


async def test_fapi2_security_profile_final_ensure_request_object_with_multiple_aud_succeeds(fapi: Fapi) -> None:
    answer = await fapi.visit(await fapi.reference(aud=["https://other.example", ISSUER]))
    assert isinstance(answer, dict)
    await fapi.tokens(answer["code"])


async def test_fapi2_security_profile_final_ensure_request_object_with_nbf_8_seconds_in_the_future_is_accepted(
    fapi: Fapi,
) -> None:
    assert await fapi.reference(nbf=fapi.now + 8, iat=fapi.now + 8)
    assert refused(await fapi.push(nbf=fapi.now + 61), *REQUEST_ERRORS)
    assert refused(await fapi.push(iat=fapi.now + 61), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_request_object_without_exp_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(exp=None), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_request_object_without_nbf_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(nbf=None), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_expired_request_object_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(nbf=fapi.now - 600, exp=fapi.now - 300), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_request_object_with_bad_aud_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(aud="https://other.example"), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_request_object_with_exp_over_60_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(exp=fapi.now + 70 * 60), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_request_object_with_nbf_over_60_fails(fapi: Fapi) -> None:
    assert refused(await fapi.push(nbf=fapi.now - 70 * 60), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_signed_request_object_with_rs256_fails(fapi: Fapi) -> None:
    answer = await fapi.push(key=rsa_of(fapi.name), algorithm="RS256")
    assert refused(answer, "invalid_request_object")
    assert await fapi.reference(key=rsa_of(fapi.name), algorithm="PS256")


async def test_fapi2_security_profile_final_ensure_request_object_signature_algorithm_is_not_none(fapi: Fapi) -> None:
    _, body, _ = fapi.signed_request(fapi.request()).split(".")
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtYXV0aHotcmVxK2p3dCJ9.{body}."
    assert refused(await fapi.post("/par", {"request": unsigned} | fapi.proved()), "invalid_request_object")


async def test_fapi2_security_profile_final_ensure_request_object_with_invalid_signature_fails(fapi: Fapi) -> None:
    head, body, signature = fapi.signed_request(fapi.request()).split(".")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    form = {"request": f"{head}.{body}.{changed}"} | fapi.proved()
    assert refused(await fapi.post("/par", form), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_matching_key_in_authorization_request(fapi: Fapi) -> None:
    """Signed with the key of the second client, under its own name and under that of the first."""
    assert refused(await fapi.push(key=key_of(f"{fapi.name}-2")), *REQUEST_ERRORS)
    disguised = new_key("ES256", "stranger")
    assert refused(await fapi.push(key=disguised), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_ensure_unsigned_request_at_par_endpoint_fails(fapi: Fapi) -> None:
    assert refused(await fapi.post("/par", fapi.request() | fapi.proved()), *REQUEST_ERRORS)


async def test_fapi2_security_profile_final_par_authorization_request_containing_request_uri(fapi: Fapi) -> None:
    answer = await fapi.push(request_uri="urn:ietf:params:oauth:request_uri:some")
    assert refused(answer, "invalid_request_object")


@pytest.mark.parametrize("mode", [None, "query", "form_post"])
async def test_answers_travel_in_no_mode_that_is_not_signed(fapi: Fapi, mode: str | None) -> None:
    """FAPI 2.0 Message Signing §5.4.1."""
    assert refused(await fapi.push(fapi.request(response_mode=mode)), "invalid_request")


@pytest.mark.parametrize("accept", ["application/json", "application/token-introspection+jwt"])
async def test_what_a_token_is_worth_is_told_signed(fapi: Fapi, accept: str) -> None:
    """FAPI 2.0 Message Signing §5.5.1, RFC 9701 §5: whatever the client asks for."""
    token = (await fapi.tokens(await fapi.code()))["access_token"]
    answer = await fapi.post("/introspect", {"token": token} | fapi.proved(), {"Accept": accept})
    assert answer.headers["content-type"] == "application/token-introspection+jwt"
    read = jwt.decode(answer.text, await fapi.keys(), algorithms=["ES256"])
    assert (read.header["typ"], read.claims["iss"], read.claims["aud"]) == (
        "token-introspection+jwt",
        ISSUER,
        fapi.name,
    )
    described = read.claims["token_introspection"]
    assert (described["active"], described["cnf"]) == (True, {"jkt": fapi.thumbprint})

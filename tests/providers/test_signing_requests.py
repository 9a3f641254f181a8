"""What we ask as one object, and who we are by a signature: what is sent where, and what is refused before anybody is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.flows.test_upstream_requests import HERE, Desk
from tests.providers.rig import (
    CALLBACK,
    CLIENT_ID,
    DISCOVERY,
    ISSUER,
    OneApp,
    ScriptedHTTP,
    StandingClock,
    attempt,
    json_answer,
    preset,
    upstream,
)
from tests.providers.test_renewing import OLD
from tests.providers.witness import HOST, REDIRECT, running_witness
from tests.support.tls import Authority

import providers
from broker.chance import SystemClock, SystemEntropy
from broker.domain.provider import Us
from broker.domain.values import Secret
from broker.egress import Egress, Exemption
from broker.errors import ConfigurationError, Problem, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers.openid_connect import OpenIDConnect
from providers.preset import Preset

PROOF = {"token_endpoint_auth_method": "private_key_jwt", "client_secret": Secret("")}


def provider(desk: Desk, http: ScriptedHTTP | None = None, **changes: Any) -> OpenIDConnect:
    one = OpenIDConnect(preset(**changes), http or upstream(), StandingClock())
    one.introduce(Us(name="Club", issuer=HERE, kept=OneApp(), requests=desk.flow))
    return one


def read(desk: Desk, text: str, algorithm: str) -> dict[str, Any]:
    """The claims, if the keys that we publish signed it."""
    keys = KeySet.import_key_set(json.loads(desk.box.jwks))
    said: dict[str, Any] = json.loads(jws.deserialize_compact(text, keys, algorithms=[algorithm]).payload)
    return said


@pytest.fixture
def desk() -> Desk:
    return Desk()


def query(url: str) -> dict[str, str]:
    return {name: one for name, (one,) in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_every_binding_is_in_the_object_and_nothing_else_in_the_address(desk: Desk, algorithm: str) -> None:
    """catalogue 36, 38; OpenID Connect Core §6.1: what the address keeps is what OAuth 2.0 wants to see there."""
    one = provider(desk, request_object="by_value", request_object_signing_alg=algorithm, asks_claims=True)
    plain = query(
        await provider(desk, asks_claims=True).authorization_url(attempt(fresh=True, login_hint="ana@x.test"))
    )
    sent = query(await one.authorization_url(attempt(fresh=True, login_hint="ana@x.test")))
    said = read(desk, sent.pop("request"), algorithm)
    assert sent == {"client_id": CLIENT_ID, "response_type": "code", "scope": "openid"}
    assert (said["iss"], said["aud"]) == (CLIENT_ID, ISSUER)
    assert said["claims"] == json.loads(plain.pop("claims"))
    assert said["max_age"] == int(plain.pop("max_age"))
    assert {name: said[name] for name in plain} == plain


async def test_by_reference_the_provider_is_told_where_and_nobody_else(desk: Desk) -> None:
    one = provider(desk, request_object="by_reference")
    sent = query(await one.authorization_url(attempt()))
    assert set(sent) == {"client_id", "response_type", "scope", "request_uri"}
    base = f"{HERE}/requests/{one.id}/"
    assert sent["request_uri"].startswith(base)
    kept = await desk.flow.fetch(one.id, sent["request_uri"].removeprefix(base))
    assert read(desk, str(kept), "RS256")["nonce"]


async def test_an_endpoint_with_a_query_of_its_own_keeps_it(desk: Desk) -> None:
    http = upstream(discovery=json_answer({**DISCOVERY, "authorization_endpoint": f"{ISSUER}/authorize?tenant=1"}))
    url = await provider(desk, http, request_object="by_value").authorization_url(attempt())
    assert url.startswith(f"{ISSUER}/authorize?tenant=1&client_id=")


async def test_who_we_are_is_proved_by_a_signature_for_each_call(desk: Desk) -> None:
    """OpenID Connect Core §9, RFC 7523: the audience is the provider, not one of its addresses, and no secret goes along."""
    http = upstream()
    one = provider(desk, http, **PROOF, token_endpoint_auth_signing_alg="ES256")
    found = await one.identify(attempt(), CALLBACK)
    assert found.tokens is not None
    await one.revoke(found.tokens)
    seen = []
    for path in ("/token", "/revoke"):
        asked = http.only(path)
        assert "Authorization" not in asked.headers
        form = asked.form
        assert form["client_id"] == CLIENT_ID
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert "client_secret" not in form
        said = read(desk, form["client_assertion"], "ES256")
        assert (said["iss"], said["sub"], said["aud"]) == (CLIENT_ID, CLIENT_ID, ISSUER)
        seen.append(said["jti"])
    assert len(set(seen)) == 2


@pytest.mark.parametrize(("code", "more"), [("invalid_client", " signed ES256"), ("invalid_grant", "")])
async def test_who_is_not_known_by_a_signature_is_told_so(desk: Desk, code: str, more: str) -> None:
    """Nobody is to look for a secret where there is none, and what was brought is told from who we are."""
    http = upstream(token=json_answer({"error": code}, 401))
    one = provider(desk, http, **PROOF, token_endpoint_auth_signing_alg="ES256")
    with pytest.raises(UpstreamRejected) as raised:
        await one.identify(attempt(), CALLBACK)
    assert raised.value.detail == f"token {code}{more}"
    with pytest.raises(UpstreamRejected) as renewing:
        await one.renew(OLD)
    assert renewing.value.detail == f"token {code}{more}"
    with pytest.raises(UpstreamRejected) as known_by_secret:
        await provider(desk, http).identify(attempt(), CALLBACK)
    assert known_by_secret.value.detail == f"token {code}"


@pytest.mark.parametrize("changes", [{"request_object": "by_value"}, {"request_object": "by_reference"}, PROOF])
async def test_where_nobody_can_sign_nothing_weaker_is_sent(changes: dict[str, Any]) -> None:
    one = OpenIDConnect(preset(**changes), http := upstream(), StandingClock())
    asking = one.authorization_url(attempt()) if "request_object" in changes else one.identify(attempt(), CALLBACK)
    with pytest.raises(UpstreamUnavailable, match="nobody can sign"):
        await asking
    assert http.count("/token") == 0


@pytest.mark.parametrize(
    ("told", "changes", "check"),
    [
        ({"request_parameter_supported": False}, {"request_object": "by_value"}, "discovery_request_object"),
        ({"request_uri_parameter_supported": False}, {"request_object": "by_reference"}, "discovery_request_object"),
        (
            {"request_object_signing_alg_values_supported": ["ES256", "none"]},
            {"request_object": "by_value"},
            "discovery_request_object_alg",
        ),
    ],
)
async def test_a_provider_that_says_it_takes_no_such_object_is_not_sent_one(
    desk: Desk, told: dict[str, Any], changes: dict[str, Any], check: str
) -> None:
    http = upstream(discovery=json_answer({**DISCOVERY, **told}))
    with pytest.raises(UpstreamInvalid, match=check):
        await provider(desk, http, **changes).check()
    await provider(desk, upstream(discovery=json_answer({**DISCOVERY, **told}))).check()
    await provider(desk, **changes).check()  # saying nothing is allowed


def problems_of(one: Preset) -> list[Problem]:
    try:
        return list(providers.load([one], ScriptedHTTP({}), StandingClock()).warnings)
    except ConfigurationError as error:
        return list(error.problems)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"request_object": "by_value"}, []),
        ({"request_object": "by_reference", "request_object_signing_alg": "ES256"}, []),
        (PROOF, []),
        ({"request_object": "by_value", "request_object_signing_alg": "none"}, ["request_object_signing_alg"]),
        ({"id_token_hint": True}, ["id_token_hint"]),
        ({"request_object_signing_alg": "ES256"}, ["request_object_signing_alg"]),
        ({"token_endpoint_auth_signing_alg": "ES256"}, ["token_endpoint_auth_signing_alg"]),
        ({**PROOF, "client_secret": Secret("s")}, ["client_secret"]),
        ({"kind": "microsoft", "issuer": "", "request_object": "by_value"}, ["request_object"]),
        ({"kind": "oauth2", "subject": "id", **PROOF}, ["token_endpoint_auth_method"]),
    ],
)
def test_what_cannot_work_or_changes_nothing_is_told(changes: dict[str, Any], keys: list[str]) -> None:
    found = [problem.key.partition(".")[2] for problem in problems_of(replace(preset(), **changes))]
    assert [key for key in found if key in {*keys, "request_object", "request_object_signing_alg"}] == keys


def test_an_object_that_nobody_signs_is_a_warning_and_only_by_reference() -> None:
    (warning,) = problems_of(replace(preset(), request_object="by_reference", request_object_signing_alg="none"))
    assert (warning.key, warning.severity) == ("example.request_object_signing_alg", "warning")
    assert "nothing proves" in warning.what


def test_no_secret_is_wanted_where_a_signature_proves_who_we_are() -> None:
    table = {
        "kind": "openid_connect",
        "client_id": "c",
        "issuer": ISSUER,
        "token_endpoint_auth_method": "private_key_jwt",
    }
    made = Preset.from_table("club", table)
    assert made.wants_our_keys
    assert not Preset.from_table("club", {**table, "token_endpoint_auth_method": "none"}).wants_our_keys
    unsigned = replace(made, token_endpoint_auth_method="none", request_object="by_reference")
    assert unsigned.wants_our_keys
    assert not replace(unsigned, request_object_signing_alg="none").wants_our_keys


# --- somebody else's provider ---------------------------------------------------------------------------------------


class Here(Desk):
    """The same at the time that it really is, as the provider has no other."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = replace(self.flow, clock=SystemClock(), entropy=SystemEntropy())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_somebody_elses_provider_takes_what_we_sign_and_nothing_else(
    authority: Authority, algorithm: str
) -> None:
    """`oidc-provider` knows us by our keys alone, and takes requests only if we signed them with RS256."""
    here = Here()
    with running_witness(authority, SIGNED_JWKS=here.box.jwks.decode()) as witness:
        egress = Egress(exemptions=[Exemption(host=HOST, port=witness.port, ca_file=authority.ca)])
        made = preset(
            issuer=witness.issuer,
            client_id="doorward-signed",
            request_object="by_value",
            request_object_signing_alg=algorithm,
            token_endpoint_auth_signing_alg="ES256",
            **PROOF,
        )
        one = OpenIDConnect(made, egress, SystemClock())
        one.introduce(Us(name="Club", issuer=HERE, kept=OneApp(), requests=here.flow))
        asked = replace(attempt(), redirect_uri=REDIRECT)
        url = await one.authorization_url(asked)
        if algorithm == "RS256":
            back = await witness.sign_in(url, "ana")
            found = await one.identify(asked, dict(parse_qsl(urlsplit(back).query)))
            assert found.identity.key.subject == "ana"
        else:
            async with witness.browser() as browser:
                answer = await browser.get(url)
            assert "error" in answer.headers.get("location", "") or answer.status_code == 400
        await egress.aclose()

"""Discovery and keys: everything that is listed works, and nothing works that is not listed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.support.house import ISSUER, PROVIDERS_TOML, Arrival, House, Sandboxes, open_house, peek
from tests.web.desk import OFFLINE, connect, member, tokens_of, wide_house

from broker.flows.device import GRANT_TYPE as DEVICE_GRANT
from broker.domain.claims import SCOPES
from broker.domain.client import AuthMethod
from broker.domain.values import ClientId
from broker.web.routes import ROUTES


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


async def get(house: House, path: str) -> httpx2.Response:
    async with house.client() as client:
        return await client.get(path)


async def metadata(house: House) -> dict[str, Any]:
    answer = await get(house, "/.well-known/openid-configuration")
    assert answer.status_code == 200
    return dict(answer.json())


async def test_the_issuer_is_ours_to_the_letter(house: House) -> None:
    """And the same document is served for plain OAuth (RFC 8414 §3)."""
    told = await metadata(house)
    assert told["issuer"] == ISSUER
    assert (await get(house, "/.well-known/oauth-authorization-server")).json() == told


async def test_documents_are_public_and_cached_for_minutes(house: House) -> None:
    """For any page to read, whoever asks; nothing is reflected (catalogue 145)."""
    for path in ("/.well-known/openid-configuration", "/jwks"):
        async with house.client() as client:
            answer = await client.get(path, headers={"Origin": "https://evil.test"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "public, max-age=600"
        assert answer.headers["content-type"] == "application/json"
        assert "set-cookie" not in answer.headers
        assert "evil" not in answer.text


async def test_every_endpoint_that_is_listed_is_there(house: House) -> None:
    told = await metadata(house)
    places = {
        name: url for name, url in told.items() if name.endswith(("_endpoint", "jwks_uri", "_policy_uri", "_tos_uri"))
    }
    assert set(places) == {
        "authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "device_authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
        "jwks_uri",
        "op_policy_uri",
        "op_tos_uri",
    }
    routes = {route.path for route in ROUTES}
    for url in places.values():
        assert url.startswith(f"{ISSUER}/")
        assert urlsplit(url).path in routes


async def test_every_protocol_endpoint_is_listed(house: House) -> None:
    """No hidden registration, device or token-exchange endpoint."""
    told = await metadata(house)
    listed = {urlsplit(str(url)).path for url in told.values() if str(url).startswith(ISSUER)}
    answering = {route.path for route in ROUTES if route.answers == "json"}
    elsewhere = {
        "/healthz",
        "/readyz",
        "/posting/requests",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/forward-auth",  # these three are for proxies
        "/.doorward/sign-in",
        "/.doorward/callback",
        "/status/{list}",  # each token says where its own is
        "/register",  # listed where sites may register
        "/register/{client}",  # each site is told its own
        "/events",  # sites that fetch events are told by the admin
        "/events/stream",  # these five stand in the last one
        "/events/status",
        "/events/subjects/add",
        "/events/subjects/remove",
        "/events/verify",
        "/.well-known/ssf-configuration",
        "/client-jwks",  # providers of which we are a client: our keys, and what we ask
        "/requests/{provider}/{reference}",
        "/client-metadata/{provider}",  # servers of the AT Protocol ask who we are
        "/par/{provider}/limited-login",  # whoever writes the app of a site is told by the admin
        "/oauth/token",  # where software looks for GitLab
        "/api/v4/user",
        "/hooks/{provider}/deauthorize",  # a provider calls these, no site
        "/hooks/{provider}/deletion",
        "/hooks/{provider}/notice",
        "/hooks/{provider}/logout",
        "/hooks/{provider}/front-logout",
    }
    assert answering - elsewhere <= listed


async def test_what_is_listed_is_what_a_relying_party_needs(house: House) -> None:
    """OpenID Connect Discovery §3, RFC 8414 §2, RFC 9207 §3, RP-Initiated and Back-Channel Logout."""
    told = await metadata(house)
    assert told["response_types_supported"] == ["code"]
    assert told["response_modes_supported"] == ["query", "form_post", "jwt", "query.jwt", "form_post.jwt"]
    assert told["authorization_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert told["grant_types_supported"] == [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        DEVICE_GRANT,
    ]
    assert told["subject_types_supported"] == ["pairwise", "public"]
    assert told["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert told["introspection_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["dpop_signing_alg_values_supported"] == ["PS256", "ES256", "Ed25519"]
    assert told["prompt_values_supported"] == ["consent", "create", "login", "none", "select_account"]
    assert told["scopes_supported"] == list(SCOPES)
    assert told["ui_locales_supported"] == ["en", "fr"]
    assert told["authorization_response_iss_parameter_supported"] is True
    assert told["backchannel_logout_supported"] is told["backchannel_logout_session_supported"] is True
    assert told["claims_parameter_supported"] is True
    assert told["request_parameter_supported"] is told["request_uri_parameter_supported"] is True
    assert told["require_request_uri_registration"] is True
    assert told["require_signed_request_object"] is False  # each site's own matter
    assert told["request_object_signing_alg_values_supported"] == ["RS256", "PS256", "ES256", "Ed25519"]
    assert told["require_pushed_authorization_requests"] is False  # each site's own matter
    assert "none" not in told["introspection_endpoint_auth_methods_supported"]
    assert {"registration_endpoint", "check_session_iframe"}.isdisjoint(told)


async def test_every_scope_that_is_listed_is_granted(house: House) -> None:
    told = await metadata(house)
    ana, old = await member(house), house.site("old")
    tokens = await tokens_of(ana, old, scope=" ".join(told["scopes_supported"]), tick=("offline_access",))
    assert set(tokens["scope"].split()) == set(told["scopes_supported"])


async def test_every_claim_that_is_told_is_listed(house: House) -> None:
    told = set((await metadata(house))["claims_supported"])
    ana = await member(house)
    for name in ("forum", "tracker", "wiki"):
        site = house.site(name)
        asks = house.settings.clients[ClientId(name)].asks
        tokens = await tokens_of(ana, site, tick=tuple(str(ask.claim) for ask in asks if not ask.needed))
        seen = set(peek(tokens["id_token"])) | set(await site.claims(tokens["access_token"]))
        assert seen <= told, name


async def test_every_prompt_that_is_listed_is_understood(house: House) -> None:
    ana, forum = await member(house), house.site("forum")
    await connect(ana, forum)
    for prompt in (await metadata(house))["prompt_values_supported"]:
        end = await ana.go(forum.request_url(prompt=prompt))
        if isinstance(end, Arrival):
            assert "code" in end.params, prompt
        else:
            assert end.path.endswith(
                {"login": "/sign-in", "select_account": "/sign-in", "create": "/sign-in", "consent": "/site"}[prompt]
            )


async def test_every_way_to_prove_oneself_that_is_listed_works(house: House) -> None:
    told = await metadata(house)
    methods = [str(method) for method in AuthMethod]
    assert methods == ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
    for endpoint in ("token", "introspection", "revocation"):
        public = endpoint == "introspection"
        assert told[f"{endpoint}_endpoint_auth_methods_supported"] == (methods[:-1] if public else methods)
        signed = told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert signed == ["RS256", "PS256", "ES256", "Ed25519", "HS256"]
    ana = await member(house)  # those by signature: test_client_assertions.py
    await tokens_of(ana, house.site("forum"))
    await tokens_of(ana, house.site("tracker"))
    app = house.site("app")
    arrival = await connect(ana, app, redirect_uri="http://127.0.0.1/cb")
    form = {
        "grant_type": "authorization_code",
        "client_id": "app",
        "code": arrival.code,
        "redirect_uri": "http://127.0.0.1/cb",
    }
    assert (await app.post("/token", form | {"code_verifier": app.verifier_of(arrival)}, auth=False)).status_code == 200


async def test_other_grants_do_not_work_unlisted(house: House) -> None:
    forum = house.site("forum")
    for grant_type in (
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ):
        answer = await forum.post("/token", {"grant_type": grant_type})
        assert answer.json()["error"] == "unsupported_grant_type", grant_type


async def test_a_site_finds_out_which_levels_of_authentication_it_can_ask_for(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Those that some provider is believed for; with it, one is asked for, done, and said in the ID token."""
    strong = "urn:sandbox:strong"
    providers = PROVIDERS_TOML.replace("trusts_email = true", f'trusts_email = true\nacr_values = ["{strong}"]')
    async with open_house(tmp_path, sandboxes, providers=providers) as house:
        assert (await metadata(house))["acr_values_supported"] == [strong]
        browser, forum = house.browser(), house.site("forum")
        assert isinstance(await browser.sign_up(forum, provider="openid", user_name="ana"), Arrival)
        plain = await forum.redeem(await browser.arrive(forum, acr_values=strong))
        assert "acr" not in peek(plain["id_token"])  # somebody signed in is not asked anew for what is only liked
        insisting = json.dumps({"id_token": {"acr": {"essential": True, "values": [strong]}}})
        end = await browser.sign_in(forum, provider="openid", url=forum.request_url(claims=insisting))
        assert isinstance(end, Arrival), end.text[:300]
        assert peek((await forum.redeem(end))["id_token"])["acr"] == strong


@pytest.mark.parametrize("state", ["test", "testers"])
async def test_levels_of_a_provider_that_is_not_for_everybody_are_not_told(
    tmp_path: Path, sandboxes: Sandboxes, state: str
) -> None:
    more = f'trusts_email = true\nstate = "{state}"\nacr_values = ["urn:sandbox:strong"]'
    async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML.replace("trusts_email = true", more)) as house:
        assert "acr_values_supported" not in await metadata(house)


async def test_without_levels_there_is_nothing_to_ask_for(house: House) -> None:
    assert "acr_values_supported" not in await metadata(house)


async def test_the_key_set_holds_public_keys_with_distinct_names(house: House) -> None:
    """RFC 7517; no private member, whatever the algorithm."""
    keys = (await get(house, "/jwks")).json()["keys"]
    assert [key["alg"] for key in keys] == ["RS256", "ES256"]
    assert len({key["kid"] for key in keys}) == len(keys)
    for key in keys:
        assert {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}.isdisjoint(key)
        assert key["use"] == "sig"


async def test_a_rotation_is_published_at_once_and_refuses_no_token(house: House) -> None:
    """The new key is there before it signs; what the old one signed stays verifiable (catalogue 166)."""
    ana, forum = await member(house), house.site("forum")
    before = await tokens_of(ana, forum, scope=OFFLINE)
    made = await house.opened.keys.rotate()
    kids = [key["kid"] for key in (await get(house, "/jwks")).json()["keys"]]
    assert set(made) < set(kids)
    assert len(kids) == 4
    still = await forum.redeem(await ana.arrive(forum))
    assert header(still["id_token"])["kid"] == header(before["id_token"])["kid"]
    house.clock.move(minutes=31)
    await house.opened.keys.load()
    after = await forum.redeem(await ana.arrive(forum, id_token_hint=before["id_token"]))
    assert header(after["id_token"])["kid"] in made
    assert {header(one["id_token"])["kid"] for one in (before, after)} <= set(kids)


def header(token: str) -> dict[str, Any]:
    text = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))

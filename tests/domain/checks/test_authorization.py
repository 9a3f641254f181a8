"""The authorization request, checked: what may be asked, in which order the checks stand, and what is never redirected."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import FORUM, WIKI, client

from broker.domain.checks import authorization as checks
from broker.domain.client import AuthMethod, Client, Profile
from broker.domain.grant import AuthorizationRequest
from broker.domain.values import Scope
from broker.errors import (
    InvalidRedirectURI,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    ProtocolError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnknownClient,
    UnsupportedResponseType,
)

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
URI = "https://forum.example/callback"
SITE = client(auth_method=AuthMethod.BASIC, pkce_required=True)
TOLD_SIGNED = replace(SITE, profile=Profile.FAPI2_MESSAGE_SIGNING)
GOOD = {
    "client_id": "forum",
    "redirect_uri": URI,
    "response_type": "code",
    "scope": "openid profile",
    "state": "s-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def asked(site: Client = SITE, /, **changes: str | None) -> AuthorizationRequest:
    """The request read as the endpoint reads it; `None` leaves a parameter out."""
    pairs = [(name, value) for name, value in (GOOD | changes).items() if value is not None]
    return checks.read_request(checks.read_params(pairs), site, URI)


# --- parameters ---------------------------------------------------------------------------------------


def test_unknown_parameters_and_their_order_do_not_matter() -> None:
    """RFC 6749 §3.1 (catalogue 18)."""
    pairs = list(GOOD.items())
    odd = [("x", "1"), *reversed(pairs), ("x", "2"), ("__proto__", "y"), ("repeated parameters", "state")]
    assert checks.read_params(odd) == checks.read_params(pairs) == GOOD


def test_a_parameter_without_a_value_is_left_out() -> None:
    """RFC 6749 §3.1."""
    assert checks.read_params([("state", ""), ("nonce", "n")]) == {"nonce": "n"}


@pytest.mark.parametrize("name", sorted(checks.KNOWN_PARAMETERS - {"client_id", "redirect_uri", "resource"}))
def test_a_parameter_given_twice_is_refused(name: str) -> None:
    """Even with the same value, and even one we ignore (catalogue 8)."""
    value = GOOD.get(name, "1")
    params = checks.read_params([*GOOD.items(), (name, value), (name, value)])
    with pytest.raises(InvalidRequest, match="repeated"):
        checks.read_request(params, SITE, URI)


@pytest.mark.parametrize(("name", "error"), [("client_id", UnknownClient), ("redirect_uri", InvalidRedirectURI)])
def test_an_ambiguous_client_or_address_is_never_redirected(name: str, error: type[ProtocolError]) -> None:
    """Nobody can say where to (catalogue 8)."""
    with pytest.raises(error) as raised:
        checks.read_params([*GOOD.items(), (name, GOOD[name])])
    assert not raised.value.redirectable


def test_several_interfaces_may_be_named_each_that_is_registered() -> None:
    """RFC 8707 §2: the one parameter that may be given more than once; any other address is refused (catalogue 90)."""
    api, search = sorted(SITE.resources)
    pairs = [*GOOD.items(), ("resource", search), ("resource", api), ("resource", search)]
    assert checks.read_request(checks.read_params(pairs), SITE, URI).resources == (search, api)
    assert asked().resources == ()
    for wrong in ("https://api.forum.example", f"{api}posts", "https://evil.test/", "forum", f"{api}#x", f"{api}\x85"):
        for more in ((), (("resource", wrong),)):
            params = checks.read_params([*GOOD.items(), ("resource", wrong if not more else api), *more])
            with pytest.raises(InvalidTarget) as raised:
                checks.read_request(params, SITE, URI)
            assert raised.value.redirectable


def test_an_ambiguous_state_is_not_echoed() -> None:
    """Whatever else is repeated as well (catalogue 7, 8)."""
    params = checks.read_params([*GOOD.items(), ("scope", "openid"), ("state", "s-2")])
    assert checks.answerable_state(params) is None
    with pytest.raises(InvalidRequest, match="scope state"):
        checks.read_request(params, SITE, URI)


@pytest.mark.parametrize(
    ("state", "echoed"),
    [
        ("s-1", "s-1"),
        ("s" * 1024, "s" * 1024),
        ("s" * 4096, "s" * 4096),
        ("s" * 4097, None),
        ("a\r\nSet-Cookie: x", None),
        ("a\x7f", None),
        ("&code=evil", "&code=evil"),
        ("é", "é"),
    ],
)
def test_a_state_is_echoed_as_it_came_or_not_at_all(state: str, echoed: str | None) -> None:
    """Catalogue 7, 17."""
    assert checks.answerable_state({"state": state}) == echoed


def test_without_a_state_there_is_none() -> None:
    assert checks.answerable_state({}) is None
    assert asked(state=None).state is None


# --- client and address -------------------------------------------------------------------------------


def test_the_client_is_the_one_that_is_named() -> None:
    assert checks.find_client(GOOD, {FORUM: SITE}) is SITE


@pytest.mark.parametrize("params", [{}, {"client_id": "nobody"}, {"client_id": "FORUM"}, {"client_id": "forum "}])
def test_an_unknown_client_gets_a_page(params: dict[str, str]) -> None:
    with pytest.raises(UnknownClient) as raised:
        checks.find_client(params, {FORUM: SITE})
    assert not raised.value.redirectable


def test_a_disabled_client_is_unknown() -> None:
    """Catalogue 19."""
    with pytest.raises(UnknownClient):
        checks.find_client(GOOD, {FORUM: replace(SITE, enabled=False)})


def test_a_registered_address_is_the_one_to_answer_to() -> None:
    assert checks.check_redirect_uri(GOOD, SITE) == URI


@pytest.mark.parametrize("uri", [None, "https://evil.test/cb", URI + "/", URI + "#x"])
def test_any_other_address_gets_a_page(uri: str | None) -> None:
    """Also a missing one, however many are registered (catalogue 1, 10)."""
    params = {name: value for name, value in GOOD.items() if name != "redirect_uri"} | (
        {"redirect_uri": uri} if uri else {}
    )
    for site in (SITE, replace(SITE, redirect_uris=(URI,))):
        with pytest.raises(InvalidRedirectURI) as raised:
            checks.check_redirect_uri(params, site)
        assert not raised.value.redirectable


# --- the request --------------------------------------------------------------------------------------


def test_a_good_request_is_read_whole() -> None:
    request = asked(
        nonce="n" * 384,
        prompt="login consent",
        max_age="0",
        login_hint="ana@example.test",
        idp_hint="facebook",
        ui_locales="fr-CA fr en",
        acr_values="urn:1 urn:2",
        id_token_hint="a.b.c",
        claims='{"userinfo": {"email": null}}',
        claims_locales="fr en",
    )
    assert (request.client_id, request.redirect_uri, request.response_type, request.response_mode) == (
        FORUM,
        URI,
        "code",
        "query",
    )
    assert (request.state, request.nonce, request.code_challenge) == ("s-1", "n" * 384, CHALLENGE)
    assert (request.prompt, request.max_age) == (frozenset({"login", "consent"}), 0)
    assert (request.login_hint, request.idp_hint, request.id_token_hint) == ("ana@example.test", "facebook", "a.b.c")
    assert (request.ui_locales, request.acr_values) == (("fr-CA", "fr", "en"), ("urn:1", "urn:2"))
    assert request.scopes == {"openid", "profile"}
    assert request.claims.names == {"email"}


@pytest.mark.parametrize("text", ["x", "[]", '{"id_token": 1}', '{"a": 1, "a": 2}', "[" * 2000])
def test_a_claims_parameter_that_does_not_read_is_refused(text: str) -> None:
    """OpenID Connect Core §5.5 (catalogue 184)."""
    with pytest.raises(InvalidRequest):
        asked(claims=text)


def test_a_small_request_has_no_wishes() -> None:
    request = asked()
    assert (request.prompt, request.max_age, request.login_hint, request.ui_locales) == (frozenset(), None, None, ())


def test_scopes_a_site_may_not_have_are_left_out() -> None:
    """RFC 6749 §3.3."""
    site = replace(SITE, scopes=frozenset({Scope("openid"), Scope("email")}))
    assert asked(site, scope="openid email profile address whatever").scopes == {"openid", "email"}


@pytest.mark.parametrize(
    "kind", ["token", "id_token", "id_token token", "code token", "code id_token", "none", "CODE", "code ", "code\tx"]
)
def test_only_the_code_flow_is_answered(kind: str) -> None:
    """Catalogue 12."""
    with pytest.raises((UnsupportedResponseType, InvalidRequest)):
        asked(response_type=kind)


def test_the_response_type_is_required() -> None:
    with pytest.raises(InvalidRequest, match="missing"):
        asked(response_type=None)


@pytest.mark.parametrize("mode", ["fragment", "web_message", "Query", "form_post ", "fragment.jwt"])
def test_a_code_never_goes_behind_a_fragment(mode: str) -> None:
    """Nor any other way than those there are; the site hears it as it does by itself (catalogue 12)."""
    with pytest.raises(InvalidRequest) as raised:
        asked(response_mode=mode)
    assert raised.value.redirectable
    assert checks.answerable_mode({"response_mode": mode}, SITE) == "query"


@pytest.mark.parametrize("mode", ["query", "form_post", "jwt", "query.jwt", "form_post.jwt"])
def test_the_answer_goes_the_way_the_site_asked_for(mode: str) -> None:
    """So does an error (OAuth 2.0 Multiple Response Types §2.1)."""
    assert asked(response_mode=mode).response_mode == mode
    assert checks.answerable_mode({"response_mode": mode}, SITE) == mode


def test_a_site_that_asks_for_no_way_is_answered_in_the_query() -> None:
    assert asked().response_mode == checks.answerable_mode({}, SITE) == "query"


@pytest.mark.parametrize("mode", ["jwt", "query.jwt", "form_post.jwt"])
def test_a_site_that_is_told_signed_may_choose_how_that_travels(mode: str) -> None:
    assert asked(TOLD_SIGNED, response_mode=mode).response_mode == mode
    assert checks.answerable_mode({"response_mode": mode}, TOLD_SIGNED) == mode


@pytest.mark.parametrize("mode", [None, "query", "form_post", "fragment"])
def test_a_site_that_is_told_signed_is_answered_in_no_other_way(mode: str | None) -> None:
    """Not even an error (FAPI 2.0 Message Signing §5.4.1)."""
    with pytest.raises(InvalidRequest, match="not signed"):
        asked(TOLD_SIGNED, response_mode=mode)
    assert checks.answerable_mode({} if mode is None else {"response_mode": mode}, TOLD_SIGNED) == "jwt"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("request", RequestNotSupported),
        ("request_uri", RequestUriNotSupported),
        ("registration", RegistrationNotSupported),
    ],
)
def test_request_objects_are_refused_by_their_own_names(name: str, error: type[ProtocolError]) -> None:
    """Catalogue 16."""
    with pytest.raises(error):
        asked(**{name: "https://evil.test/"})


@pytest.mark.parametrize("scope", [None, "profile", "OpenID", "openid,profile", "openidx", "profile\u00a0openid"])
def test_the_scope_openid_is_required(scope: str | None) -> None:
    with pytest.raises(InvalidScope):
        asked(scope=scope)


def test_a_site_without_openid_cannot_ask() -> None:
    with pytest.raises(InvalidScope):
        asked(replace(SITE, scopes=frozenset({Scope("email")})))


@pytest.mark.parametrize("prompt", ["create none", "Login", "none login", "none none x", "consent none", "magic"])
def test_unknown_and_contradicting_prompts_are_refused(prompt: str) -> None:
    """OpenID Connect Core §3.1.2.1: none stands alone."""
    with pytest.raises(InvalidRequest, match="prompt"):
        asked(prompt=prompt)


@pytest.mark.parametrize("prompt", sorted(checks.PROMPTS))
def test_every_prompt_that_metadata_lists_is_taken(prompt: str) -> None:
    assert asked(prompt=prompt).prompt == {prompt}


@pytest.mark.parametrize("age", ["-1", "1.5", "1e3", "x", "٣", " 5", "9999999999"])
def test_max_age_is_a_number_of_seconds(age: str) -> None:
    with pytest.raises(InvalidRequest, match="max_age"):
        asked(max_age=age)


# --- PKCE ---------------------------------------------------------------------------------------------


def test_a_public_client_needs_a_challenge_whatever_is_configured() -> None:
    """Catalogue 27."""
    for required in (True, False):
        site = client(auth_method=AuthMethod.NONE, pkce_required=required)
        with pytest.raises(InvalidRequest, match="code_challenge missing"):
            asked(site, code_challenge=None, code_challenge_method=None)


def test_a_confidential_client_needs_a_challenge_unless_an_admin_switched_it_off() -> None:
    """The downgrade of one site (catalogue 27)."""
    with pytest.raises(InvalidRequest):
        asked(code_challenge=None, code_challenge_method=None)
    assert (
        asked(replace(SITE, pkce_required=False), code_challenge=None, code_challenge_method=None).code_challenge
        is None
    )


@pytest.mark.parametrize("method", ["plain", "s256", None, "S512"])
def test_the_challenge_is_s256_only(method: str | None) -> None:
    """RFC 9700 §2.1.1: also where PKCE is not required (catalogue 27)."""
    for site in (SITE, replace(SITE, pkce_required=False)):
        with pytest.raises(InvalidRequest):
            asked(site, code_challenge_method=method)


def test_a_method_without_a_challenge_is_refused() -> None:
    """Catalogue 28."""
    with pytest.raises(InvalidRequest, match="without code_challenge"):
        asked(replace(SITE, pkce_required=False), code_challenge=None)


@pytest.mark.parametrize(
    "challenge", [CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "=", CHALLENGE[:-1] + "é", CHALLENGE[:-1] + "+"]
)
def test_a_challenge_is_a_sha256_in_base64url(challenge: str) -> None:
    with pytest.raises(InvalidRequest):
        asked(code_challenge=challenge)


# --- sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "s" * 65_536},
        {"nonce": "n" * 2049},
        {"scope": "openid " + " ".join(f"s{n}" for n in range(10_000))},
        {"claims": "[" * 5000},
        {"login_hint": "a" * 100_000},
        {"login_hint": "a\x00b"},
        {"state": "a\nb"},
    ],
)
def test_huge_and_unprintable_parameters_are_refused_at_once(changes: dict[str, str]) -> None:
    """Bounded work for bounded input (catalogue 17)."""
    start = time.process_time()
    with pytest.raises(InvalidRequest):
        asked(**changes)
    assert time.process_time() - start < 0.05


def test_more_than_fifty_scopes_are_refused() -> None:
    """Catalogue 17."""
    with pytest.raises(InvalidScope, match="too many"):
        asked(scope="openid " + "a " * 50)


def test_long_states_and_nonces_of_real_sites_are_taken() -> None:
    """1 KB and 384 characters (catalogue 17)."""
    request = asked(state="s" * 1024, nonce="n" * 384)
    assert request.state == "s" * 1024
    assert request.nonce == "n" * 384


# --- whatever is sent ---------------------------------------------------------------------------------


def test_there_are_checks() -> None:
    """An empty table would let everything through."""
    assert len(checks.CHECKS) >= 9


_NAMES = st.sampled_from([*sorted(checks.KNOWN_PARAMETERS), "unknown"])
_VALUES = st.text(max_size=30) | st.sampled_from([*GOOD.values(), "none", "login none", "0", "plain"])


@settings(max_examples=25)
@given(extra=st.lists(st.tuples(_NAMES, _VALUES), max_size=6), drop=st.sets(st.sampled_from(sorted(GOOD)), max_size=2))
def test_a_request_is_read_or_refused_and_never_breaks(extra: list[tuple[str, str]], drop: set[str]) -> None:
    """Only protocol errors, and what is read keeps the promises of the checks."""
    try:
        params = checks.read_params([*((n, v) for n, v in GOOD.items() if n not in drop), *extra])
        site = checks.find_client(params, {FORUM: SITE, WIKI: replace(SITE, client_id=WIKI)})
        uri = checks.check_redirect_uri(params, site)
        request = checks.read_request(params, site, uri)
    except ProtocolError:
        return
    assert uri in SITE.redirect_uris
    assert request.code_challenge is not None
    assert "openid" in request.scopes <= site.scopes
    assert request.prompt <= checks.PROMPTS


# --- pushed requests ----------------------------------------------------------------------------------


def params_of(**changes: str | None) -> checks.Params:
    return checks.read_params([(name, value) for name, value in (GOOD | changes).items() if value is not None])


def test_a_pushed_request_is_checked_like_one_that_a_browser_brings() -> None:
    """RFC 9126 §2.1: the same checks, told to the server; and a reference is never pushed itself."""
    checks.check_pushed(params_of(), SITE)
    with pytest.raises(InvalidRequest, match="request_uri pushed"):
        checks.check_pushed(params_of(request_uri="urn:ietf:params:oauth:request_uri:x"), SITE)
    for uri in ("https://evil.test/cb", None):
        with pytest.raises(InvalidRequest, match="redirect_uri not registered"):
            checks.check_pushed(params_of(redirect_uri=uri), SITE)
    with pytest.raises(UnsupportedResponseType):
        checks.check_pushed(params_of(response_type="token"), SITE)


def test_a_site_that_pushes_only_is_asked_in_no_other_way() -> None:
    """RFC 9126 §6."""
    free, strict = replace(SITE, par_required=False), replace(SITE, par_required=True)
    checks.check_way(free, is_pushed=False)
    checks.check_way(strict, is_pushed=True)
    with pytest.raises(InvalidRequest, match="not pushed"):
        checks.check_way(strict, is_pushed=False)

"""The OpenID Connect provider against a scripted issuer: what is sent, in which order, and what is made of the answers."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest

from broker.domain.checks.token import challenge_of
from broker.domain.claims import ADDRESS, EMAIL, PHONE, NAME
from broker.domain.provider import UpstreamTokens
from broker.domain.values import ClaimName, IdentityKey, Secret
from broker.errors import (
    BrokerError,
    SignInCancelled,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers._oauth import read_callback
from providers.openid_connect import OpenIDConnect
from tests.providers.rig import (
    ACCESS_TOKEN,
    CALLBACK,
    CLIENT_ID,
    DISCOVERY,
    ISSUER,
    NONCE,
    NOW,
    REDIRECT,
    SUBJECT,
    VERIFIER,
    Answer,
    Asked,
    ScriptedHTTP,
    StandingClock,
    attempt,
    ec_key,
    id_claims,
    json_answer,
    preset,
    rsa_key,
    sign,
    token_answer,
    upstream,
)


def provider(http: ScriptedHTTP | None = None, **changes: Any) -> OpenIDConnect:
    return OpenIDConnect(preset(**changes), http or upstream(), StandingClock())


async def test_the_authorization_request_carries_every_binding() -> None:
    """catalogue 36, 38: state, nonce and an S256 challenge, exactly as the attempt has them."""
    url = urlsplit(await provider().authorization_url(attempt(login_hint="ana@example.org")))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/authorize"
    assert parse_qs(url.query) == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [REDIRECT],
        "scope": ["openid profile email"],
        "state": ["state-of-this-attempt"],
        "nonce": [NONCE],
        "code_challenge": [challenge_of(VERIFIER)],
        "code_challenge_method": ["S256"],
        "login_hint": ["ana@example.org"],
        "ui_locales": ["fr en"],
    }
    assert VERIFIER not in url.query


async def test_a_fresh_sign_in_is_asked_for_and_proved() -> None:
    url = await provider().authorization_url(attempt(fresh=True))
    assert parse_qs(urlsplit(url).query)["prompt"] == ["login"]
    assert parse_qs(urlsplit(url).query)["max_age"] == ["300"]
    now = int(NOW.timestamp())
    good = upstream(token=token_answer(sign(id_claims(auth_time=now - 10))))
    assert (await provider(good).identify(attempt(fresh=True), CALLBACK)).identity.authenticated_at is not None
    old = upstream(token=token_answer(sign(id_claims(auth_time=now - 3600))))
    with pytest.raises(UpstreamInvalid, match="auth_time"):
        await provider(old).identify(attempt(fresh=True), CALLBACK)


async def test_a_provider_that_cannot_force_a_new_sign_in_is_not_asked_to() -> None:
    one = provider(can_force_fresh=False)
    assert not one.can_force_fresh
    assert "prompt" not in parse_qs(urlsplit(await one.authorization_url(attempt(fresh=True))).query)


async def test_where_to_sign_out_there_is_what_the_provider_says() -> None:
    """RP-Initiated Logout 1.0 §2: our name and the way back, nothing about the person; a query of its own stays."""
    told = {"back": "https://login.example/signed-out/op", "state": "s&1", "locale": "fr"}
    sent = "client_id=client-1&post_logout_redirect_uri=https%3A%2F%2Flogin.example%2Fsigned-out%2Fop&state=s%261&ui_locales=fr"
    sent = sent.replace("client-1", CLIENT_ID)
    for address, mark in ((f"{ISSUER}/bye", "?"), (f"{ISSUER}/bye?p=x", "&")):
        http = upstream(discovery=json_answer({**DISCOVERY, "end_session_endpoint": address}))
        assert await provider(http).sign_out_url(**told) == f"{address}{mark}{sent}"
    with pytest.raises(UpstreamInvalid, match="discovery_end_session"):
        await provider().sign_out_url(**told)
    own = provider(endpoints={"end_session": "https://own.example/bye"})
    assert (await own.sign_out_url(**told)).startswith("https://own.example/bye?")
    assert not own.ends_sessions
    assert provider(rp_initiated_logout=True).ends_sessions


KEEPING: Any = {"rp_initiated_logout": True, "id_token_hint": True}


async def test_its_own_word_is_kept_to_sign_out_there_only_where_that_is_chosen_twice() -> None:
    """RP-Initiated Logout 1.0 §2; it is about a person, and one that is long fits into no address."""
    for is_offered in (False, True):
        half = provider(rp_initiated_logout=is_offered)
        assert (await half.identify(attempt(), CALLBACK)).identity.id_token is None
    token = sign(id_claims())
    found = await provider(upstream(token=token_answer(token)), **KEEPING).identify(attempt(), CALLBACK)
    assert found.identity.id_token == token
    assert token not in repr(found)
    long = upstream(token=token_answer(sign(id_claims(groups=["g" * 100] * 20))))
    assert (await provider(long, **KEEPING).identify(attempt(), CALLBACK)).identity.id_token is None


async def test_the_word_that_was_kept_tells_it_who_signs_out() -> None:
    told = {"back": "https://login.example/signed-out/op", "state": "s", "locale": "fr", "hint": "a.b.c"}
    http = upstream(discovery=json_answer({**DISCOVERY, "end_session_endpoint": f"{ISSUER}/bye"}))
    sent = parse_qs(urlsplit(await provider(http, **KEEPING).sign_out_url(**told)).query)
    assert (sent["id_token_hint"], sent["client_id"]) == (["a.b.c"], [CLIENT_ID])
    off = await provider(http, rp_initiated_logout=True).sign_out_url(**told)
    assert "id_token_hint" not in off, "switched off since"


async def test_asking_again_shows_the_consent_page() -> None:
    url = await provider().authorization_url(attempt(ask_again=True))
    assert parse_qs(urlsplit(url).query)["prompt"] == ["consent"]


async def test_who_asks_for_a_refresh_token_has_the_person_asked() -> None:
    """OpenID Connect Core §11: offline access needs prompt=consent."""
    url = await provider().authorization_url(attempt(scopes=("openid", "write:statuses", "offline_access")))
    assert parse_qs(urlsplit(url).query)["prompt"] == ["consent"]


async def test_a_sign_in_costs_one_token_request_and_says_who_it_is() -> None:
    http = upstream()
    one = provider(http, trusts_email=True, acr_values=("urn:example:strong",))
    await one.check()
    before = len(http.asked)
    found = await one.identify(attempt(), CALLBACK)
    assert [asked.path for asked in http.asked[before:]] == ["/token"]
    assert found.identity.key == IdentityKey(issuer=ISSUER, subject=SUBJECT)
    assert found.identity.claims == {
        NAME: "Ana Marković", EMAIL: "ana@example.org", ClaimName("picture"): "https://op.example/ana.png",
    }  # fmt: skip
    assert found.identity.verified == {EMAIL}
    assert (found.identity.acr, found.identity.amr) == ("urn:example:strong", ("pwd", "otp"))
    assert found.tokens is not None
    assert found.tokens.access_token == ACCESS_TOKEN
    assert found.tokens.expires_at is not None


async def test_a_level_of_authentication_counts_only_where_the_operator_believes_it() -> None:
    """Anybody who runs a provider can write any `acr` (OpenID Connect Core §2)."""
    for believed, found in (
        ((), None),
        (("urn:example:other",), None),
        (("urn:example:strong",), "urn:example:strong"),
    ):
        one = provider(acr_values=believed)
        assert (await one.identify(attempt(), CALLBACK)).identity.acr == found


async def test_a_level_of_authentication_is_asked_of_a_provider_that_is_believed_for_it() -> None:
    wanted = attempt(acr_values=("urn:example:other", "urn:example:stronger", "urn:example:strong"))
    one = provider(acr_values=("urn:example:strong", "urn:example:stronger"))
    query = parse_qs(urlsplit(await one.authorization_url(wanted)).query)
    assert query["acr_values"] == ["urn:example:stronger urn:example:strong"]
    assert "acr_values" not in parse_qs(urlsplit(await provider().authorization_url(wanted)).query)


async def test_the_code_is_redeemed_with_everything_it_was_bound_to() -> None:
    """catalogue 37: redirect address and verifier of this attempt, client authentication properly encoded."""
    http = upstream()
    await provider(http).identify(attempt(), CALLBACK)
    asked = http.only("/token")
    assert asked.form == {
        "grant_type": "authorization_code", "code": "code-42", "redirect_uri": REDIRECT, "code_verifier": VERIFIER,
    }  # fmt: skip
    kind, _, pair = asked.headers["Authorization"].partition(" ")
    identifier, _, secret = base64.b64decode(pair).decode().partition(":")
    assert (kind, unquote_plus(identifier), unquote_plus(secret)) == ("Basic", CLIENT_ID, "s3cr:et%/ é")


async def test_a_client_id_with_odd_characters_is_encoded_too() -> None:
    """RFC 6749 §2.3.1: both halves of the pair."""
    http = upstream(token=token_answer(sign(id_claims(aud="https://club.example:1/%"))))
    await provider(http, client_id="https://club.example:1/%").identify(attempt(), CALLBACK)
    pair = base64.b64decode(http.only("/token").headers["Authorization"].removeprefix("Basic ")).decode()
    assert unquote_plus(pair.partition(":")[0]) == "https://club.example:1/%"


async def test_granted_scopes_may_come_as_a_list() -> None:
    """protocols.md §3.4: one provider answers a JSON array."""
    http = upstream(token=token_answer(sign(id_claims()), scope=["openid", "email"]))
    assert (await provider(http).identify(attempt(), CALLBACK)).identity.granted == {"openid", "email"}


async def test_metadata_is_found_under_an_issuer_with_a_final_slash() -> None:
    """OpenID Connect Discovery §4.1: the slash is not doubled; the issuer still has to match to the letter."""
    issuer = f"{ISSUER}/"
    http = upstream(discovery=json_answer({**DISCOVERY, "issuer": issuer}))
    await provider(http, issuer=issuer).authorization_url(attempt())
    assert http.asked[0].url == f"{ISSUER}/.well-known/openid-configuration"


async def test_other_client_authentication_methods() -> None:
    for method, secret in (("client_secret_post", "s3cr:et%/ é"), ("none", None)):
        http = upstream()
        await provider(http, token_endpoint_auth_method=method).identify(attempt(), CALLBACK)
        asked = http.only("/token")
        assert "Authorization" not in asked.headers
        assert (asked.form["client_id"], asked.form.get("client_secret")) == (CLIENT_ID, secret)


@pytest.mark.parametrize("issuer", [None, "", ISSUER + "/", "https://evil.test", ISSUER.upper()])
async def test_the_response_issuer_is_checked_before_any_request(issuer: str | None) -> None:
    """catalogue 39, 40: missing although promised, another one; on errors too; the code goes nowhere."""
    for callback in (dict(CALLBACK), {"error": "access_denied", "state": "x"}):
        callback.pop("iss", None)
        http = upstream()
        with pytest.raises(UpstreamInvalid, match="response_iss"):
            await provider(http).identify(attempt(), {**callback, **({} if issuer is None else {"iss": issuer})})
        assert http.count("/token") == 0


async def test_without_the_promise_a_response_issuer_may_be_absent_but_not_wrong() -> None:
    """catalogue 39."""
    document = {**DISCOVERY, "authorization_response_iss_parameter_supported": False}
    callback = {"code": "code-42", "state": "x"}
    http = upstream(discovery=json_answer(document))
    assert (await provider(http).identify(attempt(), callback)).identity.key.subject == SUBJECT
    with pytest.raises(UpstreamInvalid, match="response_iss"):
        await provider(upstream(discovery=json_answer(document))).identify(
            attempt(), {**callback, "iss": "https://evil.test"}
        )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("access_denied", SignInCancelled),
        ("user_cancelled_authorize", SignInCancelled),
        ("temporarily_unavailable", UpstreamRejected),
        ("login_required", UpstreamRejected),
        ("server_error", UpstreamRejected),
        ("<script>alert(1)</script>", UpstreamRejected),
        ("", UpstreamRejected),
        ("x" * 5000, UpstreamRejected),
    ],
)
async def test_errors_on_the_callback_are_told_apart_and_never_quoted(error: str, kind: type[BrokerError]) -> None:
    """catalogue 56: the person said no, or the provider did; no token request either way."""
    http = upstream()
    callback = {"error": error, "error_description": "Ana said no", "iss": ISSUER, "code": "code-42"}
    with pytest.raises(kind) as caught:
        await provider(http).identify(attempt(), callback)
    assert "script" not in str(caught.value)
    assert "Ana" not in str(caught.value)
    assert len(str(caught.value)) < 150
    assert http.count("/token") == 0


@pytest.mark.parametrize(
    "callback",
    [
        {},
        {"code": ""},
        {"code": "x" * 5000},
        {"code": "a\nb"},
        {"access_token": "stolen", "token_type": "bearer"},
        {"id_token": "a.b.c"},
        {"signed_request": "a.b"},
    ],
)
async def test_only_a_code_is_accepted_on_the_callback(callback: dict[str, str]) -> None:
    """catalogue 50: tokens and assertions put straight on our callback are not looked at."""
    http = upstream()
    with pytest.raises(UpstreamInvalid, match="code"):
        await provider(http).identify(attempt(), {**callback, "iss": ISSUER})
    assert http.count("/token") == 0


TOKEN_ANSWERS: dict[str, tuple[Answer | Exception, type[BrokerError], str]] = {
    "no id token": (token_answer(None), UpstreamInvalid, "id_token"),
    "id token is an object": (token_answer({"a": 1}), UpstreamInvalid, "id_token"),
    "no access token": (token_answer("a.b.c", access_token=None), UpstreamInvalid, "access_token"),
    "access token is a number": (token_answer("a.b.c", access_token=5), UpstreamInvalid, "access_token"),
    "access token with a newline": (token_answer("a.b.c", access_token="a\nb"), UpstreamInvalid, "access_token"),
    "no token type": (token_answer("a.b.c", token_type=None), UpstreamInvalid, "token_type"),
    "another token type": (token_answer("a.b.c", token_type="DPoP"), UpstreamInvalid, "token_type"),
    "lifetime is text": (token_answer("a.b.c", expires_in="3600"), UpstreamInvalid, "expires_in"),
    "lifetime is negative": (token_answer("a.b.c", expires_in=-1), UpstreamInvalid, "expires_in"),
    "lifetime is endless": (token_answer("a.b.c", expires_in=10**30), UpstreamInvalid, "expires_in"),
    "lifetime is truth": (token_answer("a.b.c", expires_in=True), UpstreamInvalid, "expires_in"),
    "scope is a number": (token_answer("a.b.c", scope=5), UpstreamInvalid, "scope"),
    "refresh token is empty": (token_answer("a.b.c", refresh_token=""), UpstreamInvalid, "refresh_token"),
    "refresh token is half a letter": (token_answer("a.b.c", refresh_token="\ud800"), UpstreamInvalid, "refresh_token"),
    "refresh token has a line": (token_answer("a.b.c", refresh_token="a\nb"), UpstreamInvalid, "refresh_token"),
    "refresh token has no end": (token_answer("a.b.c", refresh_token="a" * 20_000), UpstreamInvalid, "refresh_token"),
    "html": (Answer(200, {"content-type": "text/html"}, b"<html>"), UpstreamInvalid, "token_json"),
    "html as json": (Answer(body=b"<html>"), UpstreamInvalid, "token_json"),
    "no media type": (Answer(200, {}, b"{}"), UpstreamInvalid, "token_json"),
    "another charset": (
        Answer(200, {"content-type": "application/json; charset=utf-16"}, b"{}"),
        UpstreamInvalid,
        "token_json",
    ),
    "empty": (Answer(body=b""), UpstreamInvalid, "token_json"),
    "truncated": (Answer(body=b'{"access_token":"a"'), UpstreamInvalid, "token_json"),
    "a list": (json_answer([]), UpstreamInvalid, "token_json"),
    "null": (json_answer(None), UpstreamInvalid, "token_json"),
    "redirect": (Answer(302, {"location": "http://169.254.169.254/"}, b""), UpstreamInvalid, "token_status"),
    "created": (json_answer({"access_token": "x"}, 201), UpstreamInvalid, "token_status"),
    "invalid_grant": (
        json_answer({"error": "invalid_grant", "error_description": "Ana"}, 400),
        UpstreamRejected,
        "invalid_grant",
    ),
    "error with status 200": (
        json_answer({"error": "bad_verification_code"}, 200),
        UpstreamRejected,
        "bad_verification_code",
    ),
    "odd error": (json_answer({"error": {"a": "Ana"}}, 400), UpstreamRejected, "other"),
    "server error": (json_answer({"error": "x"}, 500), UpstreamUnavailable, "status 500"),
    "too many": (json_answer({}, 429), UpstreamUnavailable, "status 429"),
    "time-out": (UpstreamUnavailable("timeout op.example"), UpstreamUnavailable, "timeout"),
    "too large": (UpstreamUnavailable("large op.example"), UpstreamUnavailable, "large"),
}


@pytest.mark.parametrize("case", list(TOKEN_ANSWERS))
async def test_a_token_answer_that_is_none_is_refused_with_its_reason(case: str) -> None:
    """catalogue 172, 173, 174: each with a reason code, none with an accident; and the code is tried once only."""
    answer, kind, word = TOKEN_ANSWERS[case]
    http = upstream(token=answer)
    with pytest.raises(kind, match=word) as caught:
        await provider(http).identify(attempt(), CALLBACK)
    assert "Ana" not in str(caught.value)
    assert http.count("/token") == 1


async def test_a_missing_lifetime_is_allowed() -> None:
    """catalogue 173: `expires_in` is recommended only (RFC 6749 §5.1); then nothing is known of the token's end."""
    found = await provider(upstream(token=token_answer(sign(id_claims()), expires_in=None))).identify(
        attempt(), CALLBACK
    )
    assert found.tokens is not None
    assert found.tokens.expires_at is None


async def test_userinfo_is_asked_only_for_a_promised_field_that_is_missing() -> None:
    http = upstream(token=token_answer(sign(id_claims(picture=None))))
    found = await provider(http).identify(attempt(), CALLBACK)
    assert http.only("/userinfo").headers["Authorization"] == f"Bearer {ACCESS_TOKEN}"
    assert ClaimName("picture") not in found.identity.claims
    http = upstream(token=token_answer(sign(id_claims(picture=None))))
    await provider(http, fields=(NAME, EMAIL)).identify(attempt(), CALLBACK)
    assert http.count("/userinfo") == 0


@pytest.mark.parametrize("subject", [None, "", "somebody-else", SUBJECT + " ", 5, [SUBJECT]])
async def test_userinfo_is_about_the_same_person_or_nobody_signs_in(subject: object) -> None:
    """catalogue 47."""
    told = {"sub": subject, "name": "Mallory", "email": "mallory@evil.test", "email_verified": True}
    http = upstream(token=token_answer(sign(id_claims(name=None))), userinfo=json_answer(told))
    with pytest.raises(UpstreamInvalid, match="userinfo_sub"):
        await provider(http, trusts_email=True).identify(attempt(), CALLBACK)


async def test_userinfo_cannot_overrule_the_id_token() -> None:
    """catalogue 47: what the issuer signed wins, and a word about another address is no word about this one."""
    told = {
        "sub": SUBJECT,
        "email": "other@evil.test",
        "email_verified": True,
        "picture": "https://op.example/p.png",
        "iss": "x",
    }
    token = token_answer(sign(id_claims(picture=None, email_verified=None)))
    found = (
        await provider(upstream(token=token, userinfo=json_answer(told)), trusts_email=True).identify(
            attempt(), CALLBACK
        )
    ).identity
    assert found.key == IdentityKey(issuer=ISSUER, subject=SUBJECT)
    assert found.claims[EMAIL] == "ana@example.org"
    assert found.verified == frozenset()
    assert found.claims[ClaimName("picture")] == "https://op.example/p.png"


async def test_a_word_about_an_address_counts_only_from_who_named_it() -> None:
    """catalogue 113: the ID token says "verified" without an address, userinfo names one and says it is not."""
    told = {"sub": SUBJECT, "email": "ana@example.org", "email_verified": False}
    token = token_answer(sign(id_claims(email=None, email_verified=True)))
    found = (
        await provider(upstream(token=token, userinfo=json_answer(told)), trusts_email=True).identify(
            attempt(), CALLBACK
        )
    ).identity
    assert found.claims[EMAIL] == "ana@example.org"
    assert found.verified == frozenset()
    both = {"sub": SUBJECT, "email": "ana@example.org", "email_verified": True}
    token = token_answer(sign(id_claims(picture=None, email_verified=None)))
    found = (
        await provider(upstream(token=token, userinfo=json_answer(both)), trusts_email=True).identify(
            attempt(), CALLBACK
        )
    ).identity
    assert found.verified == {EMAIL}, "both name the same address, and one says it was proved"


@pytest.mark.parametrize(
    ("trusts", "said", "named", "counts"),
    [
        (True, True, "+33199001234", True),
        (True, True, "+33199009999", False),
        (True, False, "+33199001234", False),
        (True, "yes", "+33199001234", False),
        (False, True, "+33199001234", False),
    ],
)
async def test_a_number_is_checked_by_whoever_names_it_and_is_trusted(
    trusts: bool, said: object, named: str, counts: bool
) -> None:
    """As with an address: another number's word is no word (catalogue 113)."""
    told = {"sub": SUBJECT, "phone_number": named, "phone_number_verified": said}
    token = token_answer(sign(id_claims(phone_number="+33199001234")), scope="openid phone address")
    one = provider(upstream(token=token, userinfo=json_answer(told)), fields=(PHONE, ADDRESS), trusts_phone=trusts)
    found = (await one.identify(attempt(), CALLBACK)).identity
    assert found.claims[PHONE] == "+33199001234"
    assert (PHONE in found.verified) is counts


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, {"content-type": "application/jwt"}, b"a.b.c"), UpstreamInvalid),
        (Answer(body=b'{"sub":"subject-0815","pad":"' + b"x" * 70_000 + b'"}'), UpstreamInvalid),
        (Answer(body=b'{"sub":"subject-0815","sub":"b"}'), UpstreamInvalid),
        (json_answer({"error": "invalid_token"}, 401), UpstreamRejected),
        (json_answer({}, 503), UpstreamUnavailable),
        (UpstreamUnavailable("timeout op.example"), UpstreamUnavailable),
    ],
)
async def test_a_bad_userinfo_answer_ends_the_sign_in(answer: Answer | Exception, kind: type[BrokerError]) -> None:
    """catalogue 173, 174: signed, oversized, ambiguous, refused, absent."""
    http = upstream(token=token_answer(sign(id_claims(name=None))), userinfo=answer)
    with pytest.raises(kind):
        await provider(http).identify(attempt(), CALLBACK)


def signed_userinfo(alg: str = "RS256", **changes: Any) -> Answer:
    """What Ana's userinfo says, signed by `ISSUER` for us; a change to `None` leaves a claim out."""
    said = {"iss": ISSUER, "aud": CLIENT_ID, "sub": SUBJECT, "name": "Ana Marković", **changes}
    claims = {name: value for name, value in said.items() if value is not None}
    key, kid = (ec_key(), "ec-1") if alg == "ES256" else (rsa_key(), "rsa-1")
    text = sign(claims, key, alg=alg, header={"kid": kid})
    return Answer(200, {"content-type": "application/jwt; charset=utf-8"}, text.encode())


async def told_by(userinfo: Answer, **options: Any) -> tuple[str, str]:
    """The name that comes of an ID token without one, and what kind of answer was asked for."""
    http = upstream(token=token_answer(sign(id_claims(name=None))), userinfo=userinfo)
    found = await provider(http, **options).identify(attempt(), CALLBACK)
    return found.identity.claims[NAME], http.only("/userinfo").headers["Accept"]


async def test_a_signed_userinfo_answer_is_taken_from_who_signs_it_by_itself() -> None:
    """OpenID Connect Core §5.3.2: the provider may sign without being asked."""
    assert await told_by(signed_userinfo()) == ("Ana Marković", "application/json")
    assert await told_by(signed_userinfo(aud=["other", CLIENT_ID])) == ("Ana Marković", "application/json")
    assert await told_by(signed_userinfo(iss=None, aud=None)) == ("Ana Marković", "application/json")


async def test_userinfo_is_asked_for_signed_where_that_is_registered() -> None:
    wanted = {"userinfo_signed_response_alg": "ES256"}
    assert await told_by(signed_userinfo("ES256"), **wanted) == ("Ana Marković", "application/jwt")
    with pytest.raises(UpstreamInvalid, match="alg"):
        await told_by(signed_userinfo("RS256"), **wanted)
    with pytest.raises(UpstreamInvalid, match="userinfo_unsigned"):
        await told_by(json_answer({"sub": SUBJECT, "name": "Ana Marković"}), **wanted)
    with pytest.raises(UpstreamRejected, match="401"):
        await told_by(json_answer({"error": "invalid_token"}, 401), **wanted)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"iss": "https://evil.example"}, "userinfo_iss"), ({"iss": ""}, "userinfo_iss"), ({"iss": 7}, "userinfo_iss"),
        ({"aud": "somebody-else"}, "userinfo_aud"), ({"aud": ""}, "userinfo_aud"), ({"aud": []}, "userinfo_aud"),
        ({"sub": "somebody-else"}, "userinfo_sub"), ({"sub": None}, "userinfo_sub"),
        ({"exp": int(NOW.timestamp()) - 61}, "userinfo_exp"), ({"exp": "soon"}, "exp"),
    ],
)  # fmt: skip
async def test_a_signed_userinfo_answer_counts_only_if_it_is_this_providers_for_us(
    changes: dict[str, Any], check: str
) -> None:
    """What the same provider signed for another site, or about another person, is no word to us (catalogue 47)."""
    with pytest.raises(UpstreamInvalid) as caught:
        await told_by(signed_userinfo(**changes))
    assert caught.value.check == check


@pytest.mark.parametrize(
    "text", ["a.b.c", "é.é.é", "", sign(id_claims(), b"", alg="none"), sign(id_claims(), b"secret", alg="HS256")]
)
async def test_userinfo_that_nobody_signed_is_no_signed_userinfo(text: str) -> None:
    with pytest.raises(UpstreamInvalid):
        await told_by(Answer(200, {"content-type": "application/jwt"}, text.encode()))


async def test_a_provider_that_cannot_sign_userinfo_so_is_not_used_for_it() -> None:
    """Its metadata say so before anybody is sent there; saying nothing is allowed (Discovery §3)."""
    found = json_answer({**DISCOVERY, "userinfo_signing_alg_values_supported": ["RS256"]})
    await provider(upstream(discovery=found), userinfo_signed_response_alg="RS256").check()
    with pytest.raises(UpstreamInvalid, match="discovery_userinfo_alg"):
        await provider(upstream(discovery=found), userinfo_signed_response_alg="ES256").check()
    await provider(userinfo_signed_response_alg="ES256").check()


@pytest.mark.parametrize(
    ("trusted", "said", "counts"),
    [
        (True, True, True), (True, "true", True), (True, "True", False), (True, 1, False), (True, None, False),
        (True, False, False), (True, "false", False), (False, True, False), (False, "true", False),
    ],
)  # fmt: skip
async def test_an_address_is_verified_only_if_the_operator_trusts_and_the_provider_says_so(
    trusted: bool, said: object, counts: bool
) -> None:
    http = upstream(token=token_answer(sign(id_claims(email_verified=said))))
    found = await provider(http, trusts_email=trusted).identify(attempt(), CALLBACK)
    assert (EMAIL in found.identity.verified) is counts


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({"email": "ana@gmail.com"}, True), ({"email": "Ana@GMail.com"}, True), ({"email": "ana@example.org"}, False),
        ({"email": "ana@example.org", "hd": "example.org"}, True), ({"email": "ana@gmail.com.evil.test"}, False),
        ({"email": "ana@example.org", "hd": ""}, False), ({"email": "ana@example.org", "hd": True}, False),
    ],
)  # fmt: skip
async def test_google_vouches_for_its_own_mailboxes_only(claims: dict[str, Any], counts: bool) -> None:
    """protocols.md §3.4: gmail.com or a Workspace domain; any other mailbox may have changed hands."""
    google = "https://accounts.google.com"
    document = {**DISCOVERY, "issuer": google}
    http = upstream(discovery=json_answer(document), token=token_answer(sign(id_claims(iss=google, **claims))))
    found = await provider(http, issuer=google, trusts_email=True).identify(attempt(), {**CALLBACK, "iss": google})
    assert (EMAIL in found.identity.verified) is counts


async def test_what_the_person_did_not_grant_is_declined_and_not_asked_at_userinfo() -> None:
    token = token_answer(sign(id_claims(email=None, email_verified=None)), scope="openid profile")
    http = upstream(token=token)
    found = (await provider(http).identify(attempt(), CALLBACK)).identity
    assert found.declined == {EMAIL}
    assert found.granted == {"openid", "profile"}
    assert http.count("/userinfo") == 0


async def test_only_promised_standard_claims_come_out_normalised() -> None:
    odd = id_claims(
        name="  Ana\u202e\x00 Marković  ", email="not an address", picture="javascript:alert(1)", groups=["admin"],
        _claim_sources={"src": {"endpoint": "http://169.254.169.254/"}}, _claim_names={"address": "src"},
        preferred_username="ana",
    )  # fmt: skip
    http = upstream(token=token_answer(sign(odd)))
    found = (await provider(http).identify(attempt(), CALLBACK)).identity
    assert found.claims == {NAME: "Ana Marković"}
    assert {asked.path for asked in http.asked} == {"/.well-known/openid-configuration", "/token", "/jwks"}


async def test_revoking_ends_the_grant_where_there_is_an_address_for_it() -> None:
    http = upstream()
    one = provider(http)
    await one.revoke(UpstreamTokens(access_token="at", refresh_token="rt"))
    assert http.only("/revoke").form["token"] == "rt"
    without = {name: value for name, value in DISCOVERY.items() if name != "revocation_endpoint"}
    http = upstream(discovery=json_answer(without))
    await provider(http).revoke(UpstreamTokens(access_token="at"))
    assert http.count("/revoke") == 0
    with pytest.raises(UpstreamRejected):
        await provider(upstream(revoke=json_answer({"error": "x"}, 400))).revoke(UpstreamTokens(access_token="at"))


async def test_check_finds_what_is_broken() -> None:
    """catalogue 172."""
    await provider().check()
    for broken in ({"discovery": json_answer({}, 500)}, {"jwks": UpstreamUnavailable("tls op.example")}):
        with pytest.raises(UpstreamUnavailable):
            await provider(upstream(**broken)).check()


async def test_attempts_of_one_instance_do_not_mix() -> None:
    """catalogue 34, 35: many people at once on one object; each gets their own answer or none."""

    def by_code(asked: Asked) -> Answer:
        number = asked.form["code"]
        return token_answer(sign(id_claims(nonce=f"nonce-{number}", sub=f"person-{number}")))

    one = provider(upstream(token=by_code))
    found = await asyncio.gather(
        *(one.identify(attempt(nonce=f"nonce-{n}"), {**CALLBACK, "code": str(n)}) for n in range(20))
    )
    assert [item.identity.key.subject for item in found] == [f"person-{n}" for n in range(20)]
    with pytest.raises(UpstreamInvalid, match="nonce"):
        await one.identify(attempt(nonce="nonce-1"), {**CALLBACK, "code": "2"})


async def test_nothing_secret_shows() -> None:
    """habit 13: neither object, attempt, identity, tokens nor an error prints a value."""
    one = provider(client_secret=Secret("s3cret"))
    found = await one.identify(attempt(), CALLBACK)
    shown = f"{one!r}{one._preset!r}{attempt()!r}{found!r}"
    for value in ("s3cret", NONCE, VERIFIER, "state-of-this-attempt", ACCESS_TOKEN, SUBJECT, "Ana", "example.org"):
        assert value not in shown
    assert json.dumps(DISCOVERY)


@pytest.mark.parametrize("word", ["zoe.miller", "nullcanary", "server_error2", "x" * 64])
def test_a_word_from_the_browser_reaches_no_log(word: str) -> None:
    """An error code that no specification has is not repeated (catalogue 152)."""
    with pytest.raises(UpstreamRejected) as caught:
        read_callback({"error": word})
    assert word not in f"{caught.value.detail}"

"""OpenID Connect at a provider that somebody's own address leads to: what is read, who is asked, and what strangers may make us do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.providers.rig import (
    NOW,
    Answer,
    Asked,
    OneApp,
    ScriptedHTTP,
    StandingClock,
    attempt,
    id_claims,
    json_answer,
    rsa_jwk,
    rsa_key,
    sign,
    token_answer,
)

import providers
from broker.domain.provider import Attempt, Finder, Found, Identified, UpstreamTokens, Us
from broker.domain.values import ProviderId
from broker.egress import Egress
from broker.errors import FormInvalid, SignInCancelled, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._typed import place_of
from providers._webfinger import MAX_JRD, REL, normalise
from providers.preset import Preset
from providers._typed import KEPT_FOR, KEPT_UNUSED
from providers.typed_openid_connect import MAX_KNOWN, PROVIDER, TypedOpenIDConnect

OP = "https://op.example"
FINGER, METADATA, REGISTER = "/.well-known/webfinger", "/.well-known/openid-configuration", "/register"
TOLD: dict[str, Any] = {
    "issuer": OP, "authorization_endpoint": f"{OP}/authorize", "token_endpoint": f"{OP}/token", "jwks_uri": f"{OP}/jwks",
    "userinfo_endpoint": f"{OP}/userinfo", "revocation_endpoint": f"{OP}/revoke", "registration_endpoint": f"{OP}/register",
    "response_types_supported": ["code"], "authorization_response_iss_parameter_supported": True,
}  # fmt: skip
CLIENT = {"client_id": "client-7", "client_secret": "secret-1", "client_secret_expires_at": 0}
LINK = {"rel": REL, "href": OP}


def jrd(*links: object, **more: Any) -> Answer:
    return json_answer(
        {"subject": "acct:ana@people.example", "links": list(links)}, content_type="application/jrd+json", **more
    )


def told(**changes: Any) -> Answer:
    return json_answer({name: value for name, value in {**TOLD, **changes}.items() if value is not None})


def script(**changes: Any) -> dict[str, Any]:
    usual = {
        FINGER: jrd(LINK), METADATA: told(), REGISTER: json_answer(CLIENT, 201), "/revoke": json_answer({}),
        "/jwks": json_answer({"keys": [rsa_jwk(rsa_key())]}), "/token": token_answer(sign(id_claims())),
        "/userinfo": json_answer({"sub": "subject-0815"}),
    }  # fmt: skip
    return {**usual, **changes}


def typed_kind(
    http: Any, kept: OneApp | None = None, clock: StandingClock | None = None, **changes: Any
) -> TypedOpenIDConnect:
    table: dict[str, object] = {"kind": "typed_openid_connect", "discovery": "any", **changes}
    issuers = table.pop("issuers", {})
    provider = PROVIDER(Preset.from_table("own", table), http, clock or StandingClock())
    provider.introduce(Us(name="Club", issuer="https://login.example", kept=kept or OneApp(), issuers=issuers))  # type: ignore[arg-type]
    return provider


async def refused(http: Any, typed: str, **changes: Any) -> tuple[str, str]:
    """The code for the page, and the word for the log."""
    with pytest.raises(FormInvalid) as found:
        await typed_kind(http, **changes).find(typed)
    return found.value.fields["identifier"], found.value.detail


async def leave(one: TypedOpenIDConnect, typed: str = "ana@people.example", **changes: Any) -> Attempt:
    found = await one.find(typed)
    return attempt(found=found, redirect_uri=f"https://login.example/callback/own/{found.place}", **changes)


async def come_back(one: TypedOpenIDConnect, left: Attempt, **callback: str) -> Identified:
    return await one.identify(left, {"code": "c", "state": left.state, "iss": OP, **callback})


# --- what is typed (OpenID Connect Discovery 1.0 §2.1.2) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "resource", "host"),
    [
        ("ana@people.example", "acct:ana@people.example", "people.example"),
        (" Ana@People.Example. ", "acct:Ana@people.example", "people.example"),
        ("acct:ana@people.example", "acct:ana@people.example", "people.example"),
        ("ACCT:ana+x@people.example", "acct:ana+x@people.example", "people.example"),
        ("juliet@capulet.example@shop.example", "acct:juliet%40capulet.example@shop.example", "shop.example"),
        ("acct:juliet%40capulet.example@shop.example", "acct:juliet%40capulet.example@shop.example", "shop.example"),
        ("zoé@münchen.example", "acct:zo%C3%A9@xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("people.example", "https://people.example/", "people.example"),
        ("https://people.example", "https://people.example/", "people.example"),
        ("HTTPS://People.example/ana#me", "https://people.example/ana", "people.example"),
        ("people.example/ana?x=1", "https://people.example/ana?x=1", "people.example"),
        ("people.example?x=1", "https://people.example/?x=1", "people.example"),
    ],
)  # fmt: skip
def test_an_address_is_read_as_the_specification_has_it(typed: str, resource: str, host: str) -> None:
    """OpenID Connect Discovery 1.0 §2.1.2, RFC 7565."""
    asked = normalise(typed, "https")
    assert (asked.resource, asked.origin) == (resource, f"https://{host}")
    assert "ana" not in repr(asked)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "address_missing"), ("  ", "address_missing"), ("http://people.example", "identifier_http"), ("ana", "address_bad"),
        ("=ana", "address_bad"), ("@ana@people.example", "address_bad"), ("!ana", "address_bad"), ("acct:", "address_bad"),
        ("acct:people.example", "address_bad"), ("@people.example", "address_bad"), ("ana@", "address_bad"),
        ("ana:pw@people.example", "address_bad"), ("https://ana@people.example/", "address_bad"), ("ana@people.example/x", "address_bad"),
        ("ana@people.example:8443", "address_bad"), ("people.example:8443", "address_bad"), ("ftp://people.example", "address_bad"),
        ("mailto:ana@people.example", "address_bad"), ("javascript:alert(1)", "address_bad"),
        ("[::1]", "address_bad"), ("ana@[::1]", "address_bad"), ("ana%zz@people.example", "address_bad"),
        ("people..example", "address_bad"), ("a\x00na@people.example", "address_bad"), ("x" * 300 + "@people.example", "address_bad"),
        ("https://people.example/a b", "address_bad"), ("people.example\\@evil.test", "address_bad"), ("https://", "address_bad"),
    ],
)  # fmt: skip
async def test_what_is_no_address_is_said_to_be_none_and_asks_nobody(typed: str, code: str) -> None:
    """catalogue 67"""
    http = ScriptedHTTP(script())
    assert (await refused(http, typed))[0] == code
    assert http.asked == []


# --- who is asked -------------------------------------------------------------------------------------------------------


async def test_the_host_of_an_address_is_asked_for_its_issuer_and_the_issuer_for_the_rest() -> None:
    """RFC 7033 §4.1: one question with resource and relation; §4.3 of RFC 7591 for the rest."""
    http, kept = ScriptedHTTP(script()), OneApp()
    one = typed_kind(http, kept)
    left = await leave(one)
    assert [(each.method, each.path) for each in http.asked] == [("GET", FINGER), ("GET", METADATA), ("POST", REGISTER)]
    asked = http.asked[0]
    assert urlsplit(asked.url).netloc == "people.example"
    assert asked.query == {"resource": "acct:ana@people.example", "rel": REL}
    assert asked.headers["Accept"].startswith("application/jrd+json")
    assert json.loads(http.only(REGISTER).body) == {
        "application_type": "web", "client_name": "Club", "client_uri": "https://login.example",
        "policy_uri": "https://login.example/privacy", "response_types": ["code"], "grant_types": ["authorization_code"],
        "redirect_uris": [left.redirect_uri], "token_endpoint_auth_method": "client_secret_basic",
        "id_token_signed_response_alg": "RS256",
    }  # fmt: skip
    url = urlsplit(await one.authorization_url(left))
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{OP}/authorize"
    assert (query["client_id"], query["redirect_uri"], query["scope"]) == (
        "client-7",
        left.redirect_uri,
        "openid profile email",
    )
    assert query["login_hint"] == "ana@people.example"
    assert not {"secret-1", "people", OP} & set(repr(left).split('"'))


async def test_each_issuer_has_an_address_of_its_own_to_come_back_to() -> None:
    """RFC 9700 §4.4.2: with a common one, one issuer could have the code of another redeemed at itself (catalogue 39)."""
    left = await leave(typed_kind(ScriptedHTTP(script())))
    assert left.found is not None
    assert left.found.place == place_of(OP) != place_of(f"{OP}/")


async def test_we_register_once_and_stay_where_somebody_came_back_from() -> None:
    """Else whoever names issuers that are none fills the store with what they answer."""
    http, kept = ScriptedHTTP(script()), OneApp()
    one = typed_kind(http, kept)
    left = await leave(one)
    assert kept.until == NOW + KEPT_UNUSED
    await leave(typed_kind(http, kept), "https://op.example/")
    assert (http.count(REGISTER), len(kept.names)) == (1, 1)
    found = await come_back(one, left)
    assert (found.identity.key.issuer, found.identity.key.subject) == (OP, "subject-0815")
    assert kept.until == NOW + KEPT_FOR
    await leave(one)
    assert kept.until == NOW + KEPT_FOR, "somebody did, so it stays"
    assert http.count(REGISTER) == 1


async def test_of_two_who_register_at_once_the_first_one_counts() -> None:
    kept = OneApp()

    def slow(asked: Asked) -> Answer:
        kept.values = {"client_id": "first", "client_secret": "s", "method": "client_secret_post"}
        return json_answer(CLIENT, 201)

    found = await typed_kind(ScriptedHTTP(script(**{REGISTER: slow})), kept).find("ana@people.example")
    assert found.told["client_id"] == "first"


async def test_a_secret_that_ends_is_not_kept_beyond_its_end() -> None:
    """RFC 7591 §3.2.1"""
    ends = int((NOW + timedelta(days=2)).timestamp())
    kept = OneApp()
    one = typed_kind(
        ScriptedHTTP(script(**{REGISTER: json_answer({**CLIENT, "client_secret_expires_at": ends}, 201)})), kept
    )
    left = await leave(one)
    assert kept.until == NOW + KEPT_UNUSED
    await come_back(one, left)
    assert kept.until == NOW + timedelta(days=2)


async def test_the_way_we_prove_ourselves_is_one_that_the_issuer_has() -> None:
    methods, signs = ["private_key_jwt", "client_secret_post"], ["ES256", "EdDSA"]
    http, kept = ScriptedHTTP(script()), OneApp()
    http.script[METADATA] = told(
        token_endpoint_auth_methods_supported=methods, id_token_signing_alg_values_supported=signs
    )
    http.script[REGISTER] = json_answer({**CLIENT, "token_endpoint_auth_method": "client_secret_post"}, 201)
    one = typed_kind(http, kept)
    left = await leave(one)
    about = json.loads(http.only(REGISTER).body)
    assert about["token_endpoint_auth_method"] == "client_secret_post"
    assert about["id_token_signed_response_alg"] == "ES256"
    await come_back(one, left)
    assert http.only("/token").form["client_secret"] == "secret-1"


async def test_a_host_without_webfinger_may_be_the_issuer_itself() -> None:
    """A bare host or an address: its own metadata says which of both it is, with or without a slash, to the letter."""
    answers = (
        Answer(404), Answer(410), Answer(200, {"content-type": "text/html"}, b"<html>"), json_answer([]), jrd(),
        jrd({"rel": "self", "href": OP}), json_answer({"links": "none"}), jrd(7, {"rel": 7}),
    )  # fmt: skip
    for answer in answers:
        http = ScriptedHTTP(script(**{FINGER: answer}))
        assert (await typed_kind(http).find("op.example")).server == OP
    slash = ScriptedHTTP(script(**{FINGER: Answer(404), METADATA: told(issuer=f"{OP}/")}))
    one = typed_kind(slash)
    assert (await one.find("op.example")).server == f"{OP}/"
    await one.find("op.example")
    deep = ScriptedHTTP({**script(**{FINGER: Answer(404)}), f"/t1{METADATA}": told(issuer=f"{OP}/t1/")})
    for typed in ("op.example/t1", "https://op.example/t1/"):
        assert (await typed_kind(deep).find(typed)).server == f"{OP}/t1/"
    for typed in ("ana@op.example", "op.example/?a=b"):
        assert (await refused(ScriptedHTTP(script(**{FINGER: Answer(404)})), typed))[0] == "address_none"


@pytest.mark.parametrize(
    "issuer",
    ["https://evil.test", f"{OP}/x", "HTTPS://op.example", "https://OP.example", 7, None, [OP], f"{OP}.evil.test"],
)
async def test_an_issuer_is_who_it_says_to_the_letter(issuer: object) -> None:
    """Discovery §4.3 (catalogue 66): whoever is named and calls itself otherwise is nobody."""
    http = ScriptedHTTP(script(**{METADATA: told(issuer=issuer)}))
    assert (await refused(http, "ana@people.example"))[0] == "address_none"
    assert http.count(REGISTER) == 0


@pytest.mark.parametrize(
    "href",
    [
        "http://op.example", "javascript:alert(1)", "", None, 7, ["https://op.example"], "https://op.example?x", "https://op.example#x",
        "https://ana@op.example", "https://op.example/" + "x" * 600, "//op.example", "ftp://op.example",
    ],
)  # fmt: skip
async def test_what_is_named_and_is_no_issuer_leads_nowhere(href: object) -> None:
    """Discovery §2.2: https, without query and fragment; the host is not tried instead."""
    for typed in ("ana@people.example", "people.example"):
        http = ScriptedHTTP(script(**{FINGER: jrd({"rel": REL, "href": href}, LINK)}))
        assert await refused(http, typed) == ("address_none", "webfinger issuer")
        assert http.count(METADATA) == 0


async def test_the_first_issuer_that_is_named_counts() -> None:
    """RFC 7033 §4.4.4"""
    http = ScriptedHTTP(
        script(**{FINGER: jrd({"rel": "self", "href": "https://x.test"}, LINK, {"rel": REL, "href": "https://x.test"})})
    )
    assert (await typed_kind(http).find("ana@people.example")).server == OP


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ({FINGER: Answer(503)}, "address_silent"), ({FINGER: Answer(429)}, "address_silent"),
        ({FINGER: UpstreamUnavailable("connect people.example")}, "address_silent"),
        ({FINGER: Answer(200, {"content-type": "application/jrd+json"}, b"x" * (MAX_JRD + 1))}, "address_none"),
        ({METADATA: Answer(404)}, "address_none"), ({METADATA: Answer(503)}, "address_silent"),
        ({METADATA: Answer(200, {"content-type": "text/html"}, b"<html>")}, "address_none"), ({METADATA: Answer(302)}, "address_none"),
        ({METADATA: told(token_endpoint=None)}, "address_none"), ({METADATA: told(token_endpoint="http://op.example/t")}, "address_none"),
        ({METADATA: told(code_challenge_methods_supported=["plain"])}, "address_none"),
        ({METADATA: told(registration_endpoint=None)}, "address_refused"), ({METADATA: told(registration_endpoint=7)}, "address_refused"),
        ({METADATA: told(token_endpoint_auth_methods_supported=["private_key_jwt"])}, "address_refused"),
        ({METADATA: told(id_token_signing_alg_values_supported=["HS256", "none"])}, "address_refused"),
        ({REGISTER: json_answer({"error": "invalid_token"}, 401)}, "address_refused"), ({REGISTER: Answer(404)}, "address_refused"),
        ({REGISTER: json_answer({"client_id": "x"}, 201)}, "address_refused"),
        ({REGISTER: json_answer({**CLIENT, "redirect_uris": ["https://evil.test"]}, 201)}, "address_refused"),
        ({REGISTER: json_answer({**CLIENT, "client_secret_expires_at": "never"}, 201)}, "address_refused"),
        ({REGISTER: json_answer({**CLIENT, "client_id": "x" * 3000}, 201)}, "address_refused"), ({REGISTER: Answer(503)}, "address_silent"),
    ],
)  # fmt: skip
async def test_a_lookup_that_fails_says_what_happened_and_names_nobody(lines: dict[str, Any], code: str) -> None:
    kept = OneApp()
    found = await refused(ScriptedHTTP(script(**lines)), "ana@people.example", kept=kept)
    assert found[0] == code
    assert not any(word in found[1] for word in ("people", "op.example", "ana"))
    assert kept.values is None


# --- redirects, policy and our own network ------------------------------------------------------------------------------


def redirects(*places: str) -> Any:
    """A host that sends on to each of these in turn, and names the issuer at the last."""
    left = list(places)

    def answer(asked: Asked) -> Answer:
        return Answer(302, {"location": left.pop(0)}) if left else jrd(LINK)

    return answer


async def test_a_host_may_send_the_question_on_to_another() -> None:
    """RFC 7033 §4.2: over https, and each place is looked at like the first; where it leads out of TLS, or on and on, it ends."""
    http = ScriptedHTTP(script(**{FINGER: redirects(f"https://finger.example{FINGER}?resource=x", f"{FINGER}?y")}))
    assert (await typed_kind(http).find("ana@people.example")).server == OP
    assert [urlsplit(each.url).netloc for each in http.asked[:3]] == [
        "people.example",
        "finger.example",
        "finger.example",
    ]
    for place in (
        f"http://people.example{FINGER}",
        "ftp://people.example/",
        "https://ana@people.example/",
        "\\\\x",
        "https://[/",
    ):
        http = ScriptedHTTP(script(**{FINGER: redirects(place)}))
        assert await refused(http, "ana@people.example") == ("address_none", "webfinger redirect"), place
        assert len(http.asked) == 1
    http = ScriptedHTTP(script(**{FINGER: redirects(*[FINGER] * 9)}))
    assert await refused(http, "people.example") == ("address_none", "webfinger redirects")
    assert len(http.asked) == 4


async def test_with_a_list_of_hosts_no_other_is_asked() -> None:
    """catalogue 66: of addresses, on the way, of issuers, and of all that an issuer names."""
    hosts: dict[str, Any] = {"discovery": "hosts", "hosts": ["people.example", "op.example", "*.people.example"]}
    for typed, lines, asked in (
        ("ana@evil.example", {}, 0),
        ("evil.example", {}, 0),
        ("ana@people.example", {FINGER: redirects("https://evil.example/")}, 1),
        ("ana@people.example", {FINGER: jrd({"rel": REL, "href": "https://evil.example"})}, 1),
        *(
            ("ana@people.example", {METADATA: told(**{name: "https://evil.example/"})}, 2)
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint", "registration_endpoint")
        ),
    ):  # fmt: skip
        http = ScriptedHTTP(script(**lines))
        code, detail = await refused(http, typed, **hosts)
        assert (code, len(http.asked)) == ("address_host", asked)
        assert "evil" not in detail
    assert (await typed_kind(ScriptedHTTP(script()), **hosts).find("ana@x.people.example")).server == OP


async def test_a_host_may_name_the_issuer_of_another() -> None:
    """That is what it is for (Discovery §2); the issuer speaks for its own people only."""
    one = typed_kind(ScriptedHTTP(script()))
    for typed in ("ana@people.example", "bob@other.example", "third.example"):
        assert (await one.find(typed)).server == OP


@pytest.mark.parametrize(
    "typed", ["ana@intranet.test", "intranet.test", "ana@169.254.169.254", "127.0.0.1", "https://2130706433.test/x"]
)
async def test_no_address_leads_into_our_own_network(typed: str) -> None:
    """catalogue 66: by its name, or by what the name stands for; the page says no more than that it does not answer."""

    async def inside(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.7"]

    egress = Egress(resolver=inside)
    try:
        assert (await refused(egress, typed))[0] == "address_silent"
    finally:
        await egress.aclose()


async def test_an_issuer_leads_nobody_into_our_own_network() -> None:
    """catalogue 66: not by its name, and not by the addresses it gives as its own."""

    class Mixed(ScriptedHTTP):
        """WebFinger and metadata by the script; all else by the guarded client."""

        async def request(self, method: str, url: str, **more: Any) -> Any:
            if urlsplit(url).path in {FINGER, METADATA} and "10." not in url:
                return await super().request(method, url, **more)
            return await egress.request(method, url, **more)

    egress = Egress()
    try:
        for lines in (
            {FINGER: jrd({"rel": REL, "href": "https://10.0.0.7"})},
            {METADATA: told(registration_endpoint="https://10.0.0.7/register")},
            {METADATA: told(registration_endpoint="https://op.example:8443/register")},
        ):
            assert (await refused(Mixed(script(**lines)), "ana@people.example"))[0] == "address_silent"
    finally:
        await egress.aclose()


async def test_a_host_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers._typed.FIND_SECONDS", 0.01)

    class Never(ScriptedHTTP):
        async def request(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

    assert await refused(Never({}), "ana@people.example") == ("address_silent", "server timeout")


async def test_an_issuer_that_answers_slowly_is_given_up_however_many_answers_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One time for all requests about one person together, and a short one to give back what was given."""

    class Slow(ScriptedHTTP):
        seconds, revoking = 0.0, 0.0

        async def request(self, method: str, url: str, **named: Any) -> Any:
            answer = await super().request(method, url, **named)
            await asyncio.sleep(self.revoking if url.endswith("/revoke") else self.seconds)
            return answer

    monkeypatch.setattr("providers._typed.SIGN_IN_SECONDS", 0.15)
    monkeypatch.setattr("providers._oauth.GIVE_BACK_SECONDS", 0.02)
    http, clock = Slow(script()), StandingClock()
    one = typed_kind(http, clock=clock)
    left = await leave(one)
    http.revoking = 60.0
    assert (await come_back(one, left)).identity.key.subject == "subject-0815", "it need not be taken back"
    one = typed_kind(http, clock=clock)  # a process that knows neither its addresses nor its keys yet
    again = await leave(one)
    http.seconds = 0.08
    with pytest.raises(UpstreamUnavailable, match="timeout sign-in"):
        await come_back(one, again)
    http.seconds = 60.0
    with pytest.raises(UpstreamUnavailable, match="timeout discovery"):
        await typed_kind(http, clock=clock).authorization_url(again)


@pytest.mark.parametrize("name", [name for name, value in TOLD.items() if str(value).startswith(OP)])
@pytest.mark.parametrize("text", ["https://[::1", "https://[x]/", "https://op.example]/", "https://a\u2100b.example/"])
async def test_an_address_that_is_none_is_the_issuers_mistake_and_no_error_of_ours(name: str, text: str) -> None:
    """catalogue 67"""
    http = ScriptedHTTP(script(**{METADATA: told(**{name: text})}))
    code, _ = await refused(http, "ana@people.example")
    assert code in {"address_none", "address_host"}
    assert http.count(REGISTER) == 0


async def test_whoever_names_many_issuers_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.typed_openid_connect.MAX_KNOWN", 3)
    assert MAX_KNOWN >= 100

    def here(asked: Asked) -> Answer:
        origin = f"https://{urlsplit(asked.url).netloc}"
        return json_answer(
            {name: value.replace(OP, origin) if isinstance(value, str) else value for name, value in TOLD.items()}
        )

    http = ScriptedHTTP(script(**{FINGER: Answer(404), METADATA: here}))
    one = typed_kind(http)
    for number in (1, 2, 3, 1, 4):
        await one.find(f"op{number}.example")
    assert list(one._issuers) == [f"https://op{number}.example" for number in (3, 1, 4)]
    http.script[METADATA] = Answer(404)
    with pytest.raises(FormInvalid):
        await one.find("op9.example")
    assert "https://op9.example" not in one._issuers
    http.script[METADATA] = here
    assert (await one.find("op9.example")).server == "https://op9.example", (
        "nothing stands in the way of who tries again"
    )


# --- who comes back -----------------------------------------------------------------------------------------------------


async def test_nothing_that_a_typed_issuer_vouches_for_counts() -> None:
    """Anybody can run one: no address, no number, no level, no method ("nOAuth", catalogue 113)."""
    claims = id_claims(email_verified=True, phone_number="+381641234567", phone_number_verified=True)
    http = ScriptedHTTP(script(**{"/token": token_answer(sign(claims))}))
    fields = ["name", "email", "phone_number"]
    one = typed_kind(http, trusts_email=True, trusts_phone=True, acr_values=["urn:example:strong"], fields=fields)
    identity = (await come_back(one, await leave(one))).identity
    assert identity.claims["email"] == "ana@example.org"  # type: ignore[index]
    assert (identity.verified, identity.acr, identity.amr) == (frozenset(), None, ())


async def test_an_issuer_speaks_for_its_own_people_and_no_others() -> None:
    """(catalogue 59): whatever its ID token and its answers say."""
    for claims in (id_claims(iss="https://accounts.google.com"), id_claims(iss=f"{OP}/"), id_claims(aud="client-8")):
        http = ScriptedHTTP(script(**{"/token": token_answer(sign(claims))}))
        one = typed_kind(http)
        with pytest.raises(UpstreamInvalid, match=r"iss|aud"):
            await come_back(one, await leave(one))


async def test_an_issuer_of_the_configuration_keeps_its_own_way_in() -> None:
    """Whatever is typed leads to that provider's own sign-in: nothing is registered, and nobody comes back as its people."""
    tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
    microsoft = "https://login.microsoftonline.com/{tenantid}/v2.0"
    issuers = {
        OP: ProviderId("club"),
        microsoft: ProviderId("microsoft"),
        "https://slash.example/": ProviderId("slash"),
    }
    for typed, href, instead in (
        ("ana@people.example", OP, "club"),
        ("people.example", OP, "club"),
        ("ana@people.example", f"https://login.microsoftonline.com/{tenant}/v2.0", "microsoft"),
        ("slash.example", None, "slash"),
    ):
        http = ScriptedHTTP(script(**{FINGER: jrd({"rel": REL, "href": href}) if href else Answer(404)}))
        hosts: dict[str, Any] = {"discovery": "hosts", "hosts": ["people.example", "slash.example"]}
        found = await typed_kind(http, issuers=issuers, **hosts).find(typed)
        assert found == Found(endpoint="", instead=ProviderId(instead))
        assert http.count(METADATA) == http.count(REGISTER) == 0
    http, kept = ScriptedHTTP(script()), OneApp()
    left = await leave(typed_kind(http, kept))
    with pytest.raises(UpstreamInvalid, match="server policy"):  # it got a table while somebody was on the way
        await come_back(typed_kind(http, kept, issuers=issuers), left)
    assert http.count("/token") == 0


@pytest.mark.parametrize(
    "named",
    [
        f"{OP}:443",
        f"{OP}:0443",
        f"{OP}:",
        f"{OP}.",
        f"{OP}.:8443",
        "https://OP.example",
        "https://op.EXAMPLE/",
        "HTTPS://op.example",
    ],
)
async def test_an_issuer_has_one_spelling_of_its_host(named: str) -> None:
    """One that repeats whichever host it is asked by is no second issuer, with the same people and a way in of its own (catalogue 59)."""
    http = ScriptedHTTP(script(**{FINGER: jrd({"rel": REL, "href": named}), METADATA: told(issuer=named)}))
    configured = {OP: ProviderId("club")}
    assert await refused(http, "ana@people.example", issuers=configured) == ("address_none", "webfinger issuer")
    assert http.count(METADATA) == 0


def test_all_of_the_configuration_is_known_also_what_is_off() -> None:
    """Who speaks for whose people: by the first half of their keys; one that is on before one that is off."""
    tables: dict[str, dict[str, Any]] = {
        "own": {"kind": "typed_openid_connect", "discovery": "any"},
        "fediverse": {"kind": "mastodon", "discovery": "any", "fields": ["name"]},
        "old": {"kind": "openid_connect", "issuer": OP, "client_id": "x", "client_secret": "y", "state": "off", "order": 1},
        "club": {"kind": "openid_connect", "issuer": OP, "client_id": "x", "client_secret": "y", "order": 2},
        "shut": {"kind": "openid_connect", "issuer": f"{OP}/shut", "client_id": "x", "client_secret": "y", "state": "off"},
        "steam": {"kind": "steam", "fields": []},
        "bluesky": {"kind": "atproto", "discovery": "any", "fields": ["name"]},
        "facebook": {"kind": "facebook", "client_id": "1000", "client_secret": "y" * 32, "fields": ["name"]},
        "microsoft": {
            "kind": "microsoft", "issuer": "https://login.microsoftonline.com/common/v2.0", "client_id": "x", "client_secret": "y",
            "fields": ["name"],
        },
    }  # fmt: skip
    us = Us(name="Club", issuer="https://login.example", kept=OneApp())
    presets = [Preset.from_table(name, table) for name, table in tables.items()]
    loaded = providers.load(presets, ScriptedHTTP({}), StandingClock(), us=us)
    own = loaded.providers[ProviderId("own")]
    assert isinstance(own, TypedOpenIDConnect)
    assert own._us is not None
    assert dict(own._us.issuers) == {
        OP: "club", f"{OP}/shut": "shut", "https://steamcommunity.com/openid": "steam", "https://atproto.com": "bluesky",
        "https://www.facebook.com/app/1000": "facebook", "https://login.microsoftonline.com/{tenantid}/v2.0": "microsoft",
    }  # fmt: skip


async def test_an_answer_of_another_issuer_is_refused_before_the_code_goes_anywhere() -> None:
    """RFC 9207 §2.4 (catalogue 39, 40)"""
    http = ScriptedHTTP(script())
    one = typed_kind(http)
    left = await leave(one)
    for iss in ("https://evil.test", f"{OP}/", ""):
        with pytest.raises(UpstreamInvalid, match="response_iss"):
            await come_back(one, left, iss=iss)
    with pytest.raises(UpstreamInvalid, match="response_iss missing"):
        await one.identify(left, {"code": "c", "state": left.state})
    assert http.count("/token") == 0


async def test_a_key_that_changed_is_looked_for_once() -> None:
    """Key rotation: the new one is found without a restart, and a stranger's never."""
    clock, kept = StandingClock(), OneApp()
    http = ScriptedHTTP(script())
    one = typed_kind(http, kept, clock)
    await come_back(one, await leave(one))
    rotated = rsa_key(2048, "rotated")
    http.script["/jwks"] = json_answer({"keys": [rsa_jwk(rotated, "rsa-2")]})
    http.script["/token"] = token_answer(sign(id_claims(), rotated, header={"kid": "rsa-2"}))
    clock.move(minutes=2)
    http.script["/token"] = token_answer(
        sign(id_claims(exp=int(clock.now().timestamp()) + 60), rotated, header={"kid": "rsa-2"})
    )
    await come_back(one, await leave(one))
    assert http.count("/jwks") == 2
    assert http.count(METADATA) == 1, "one issuer's metadata is asked for once"
    http.script["/token"] = token_answer(
        sign(id_claims(exp=int(clock.now().timestamp()) + 60), rsa_key(2048, "stranger"), header={"kid": "rsa-2"})
    )
    with pytest.raises(UpstreamInvalid, match="signature"):
        await come_back(one, await leave(one))


async def test_what_was_given_is_given_back_and_nothing_is_kept() -> None:
    """RFC 7009, where the issuer has it; its failure is not the person's."""
    http, kept = ScriptedHTTP(script()), OneApp()
    one = typed_kind(http, kept)
    left = await leave(one)
    found = await come_back(one, left)
    assert found.tokens is None
    assert http.only("/revoke").form["token"] == "at-4711"
    http.script["/revoke"] = UpstreamUnavailable("connect")
    assert (await come_back(one, left)).identity == found.identity
    http.script[METADATA] = told(revocation_endpoint=None)
    await come_back(typed_kind(http, kept), left)
    assert http.count("/revoke") == 2
    await one.revoke(UpstreamTokens(access_token="x"))
    await one.check()
    assert http.count("/revoke") == 2


async def test_an_issuer_that_forgot_us_is_registered_at_anew_by_the_next_attempt() -> None:
    http, kept = ScriptedHTTP(script(**{"/token": json_answer({"error": "invalid_client"}, 401)})), OneApp()
    one = typed_kind(http, kept)
    left = await leave(one)
    with pytest.raises(UpstreamRejected):
        await come_back(one, left)
    assert kept.values is None
    with pytest.raises(UpstreamInvalid, match="registration gone"):
        await come_back(one, left)
    http.script["/token"] = json_answer({"error": "invalid_grant"}, 400)
    left = await leave(one)
    with pytest.raises(UpstreamRejected):
        await come_back(one, left)
    assert http.count(REGISTER) == 2
    await leave(one)
    assert http.count(REGISTER) == 2, "it knows us still"


async def test_whom_nobody_sent_and_whom_the_policy_lets_in_no_more_is_not_signed_in() -> None:
    http, kept = ScriptedHTTP(script()), OneApp()
    one = typed_kind(http, kept)
    left = await leave(one)
    with pytest.raises(UpstreamInvalid, match="server missing"):
        await one.identify(attempt(), {"code": "c"})
    with pytest.raises(UpstreamInvalid, match="server policy"):
        await come_back(typed_kind(http, kept, discovery="hosts", hosts=["x.test"]), left)
    with pytest.raises(SignInCancelled):
        await one.identify(left, {"error": "access_denied", "state": left.state, "iss": OP})


async def test_somebody_who_must_show_who_they_are_anew_is_asked_to() -> None:
    one = typed_kind(ScriptedHTTP(script()))
    assert "prompt=login" in await one.authorization_url(await leave(one, fresh=True))
    left = await leave(one, "people.example", login_hint="ana")
    assert "login_hint=ana" in await one.authorization_url(left)
    assert "prompt" not in await one.authorization_url(left)


async def test_without_a_word_who_we_are_nobody_is_sent_anywhere() -> None:
    preset = Preset.from_table("own", {"kind": "typed_openid_connect", "discovery": "any"})
    one = PROVIDER(preset, ScriptedHTTP(script()), StandingClock())
    assert isinstance(one, Finder)
    with pytest.raises(FormInvalid):
        await one.find("ana@people.example")


@pytest.mark.parametrize(
    ("host", "severity"),
    [("localhost", "warning"), ("127.0.0.1", "warning"), ("localhost:9311", "error"), ("127.0.0.1:9311", "error")],
)
def test_a_host_on_this_machine_is_told_what_it_needs(host: str, severity: str) -> None:
    """As in the demo, where addresses of the sandbox are typed: `sandbox` lets plain http and a port in there."""
    table = {"kind": "typed_openid_connect", "discovery": "hosts", "hosts": [host], "fields": ["name"]}
    (found,) = PROVIDER.problems(Preset.from_table("own", table), date(2026, 11, 24))
    plain = host.partition(":")[0]
    assert (found.key, found.severity) == ("hosts", severity)
    assert "which is this machine" in found.what
    assert f'hosts = ["{plain}"] without a port, sandbox = true beside it' in found.fix
    mended = {**table, "hosts": [plain], "sandbox": True}
    assert list(PROVIDER.problems(Preset.from_table("own", mended), date(2026, 11, 24))) == []
    typed = "ana@" + plain + ":9311"
    assert normalise(typed, "http").origin == f"http://{plain}:9311"
    with pytest.raises(FormInvalid):
        normalise(typed, "https")


def test_a_preset_says_which_hosts_and_nothing_of_one_provider() -> None:
    def keys(**more: object) -> list[str]:
        table = {"kind": "typed_openid_connect", "discovery": "any", "fields": ["name"], **more}
        return [one.key for one in PROVIDER.problems(Preset.from_table("own", table), date(2026, 11, 24))]

    assert keys() == keys(discovery="hosts", hosts=["a.test"]) == keys(scopes=["openid", "profile"]) == []
    assert keys(discovery="off") == ["discovery"]
    assert keys(discovery="hosts") == ["hosts"]
    assert keys(discovery="any", hosts=["a.test"]) == ["hosts"]
    assert keys(issuer=OP, endpoints={"token": "https://x.test"}) == ["issuer", "endpoints"]
    assert keys(trusts_email=True, trusts_phone=True, nonce=False, pkce=False) == [
        "trusts_email",
        "trusts_phone",
        "nonce",
        "pkce",
    ]
    own = replace(Preset.from_table("own", {"kind": "typed_openid_connect", "discovery": "any"}), client_id="x")
    assert [one.key for one in PROVIDER.problems(own, date(2026, 11, 24))] == ["client_id"]

"""Mastodon at a server that somebody types: what counts as one, what is asked there, and what strangers may make us do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.providers.rig import NOW, Answer, Asked, OneApp, ScriptedHTTP, StandingClock, attempt, json_answer

from broker.domain.provider import Attempt, Finder, Found, Identified, Us
from broker.egress import Egress
from broker.errors import FormInvalid, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._typed import place_of, read_origin
from providers._typed import KEPT_FOR, KEPT_UNUSED
from providers.mastodon import KEPT_FOR_OLD, PROVIDER, Mastodon
from providers.preset import Preset

HERE = "https://social.example"
APPS, TOKEN, REVOKE, ACCOUNT = "/api/v1/apps", "/oauth/token", "/oauth/revoke", "/api/v1/accounts/verify_credentials"
METADATA = "/.well-known/oauth-authorization-server"
APP = {"client_id": "key-1", "client_secret": "secret-1"}
TOLD: dict[str, Any] = {
    "issuer": f"{HERE}/", "authorization_endpoint": f"{HERE}/oauth/authorize", "token_endpoint": f"{HERE}/oauth/token",
    "revocation_endpoint": f"{HERE}/oauth/revoke", "app_registration_endpoint": f"{HERE}/api/v1/apps",
    "scopes_supported": ["read", "profile", "write"], "code_challenge_methods_supported": ["S256"],
}  # fmt: skip
ANA: dict[str, Any] = {
    "id": "1", "username": "ana", "acct": "ana", "display_name": "Ana", "url": f"{HERE}/@ana", "uri": f"{HERE}/users/ana",
    "avatar": f"{HERE}/a.png",
}  # fmt: skip


def script(**changes: Any) -> dict[str, Any]:
    usual = {
        METADATA: json_answer(TOLD), APPS: json_answer({**APP, "name": "Doorward"}), REVOKE: json_answer({}),
        TOKEN: json_answer({"access_token": "at", "token_type": "Bearer", "scope": "profile"}), ACCOUNT: json_answer(ANA),
    }  # fmt: skip
    return {**usual, **changes}


def told(**changes: Any) -> Answer:
    return json_answer({name: value for name, value in {**TOLD, **changes}.items() if value is not None})


def server(http: Any, kept: OneApp | None = None, **changes: Any) -> Mastodon:
    fields = ["name", "preferred_username", "picture", "profile"]
    table: dict[str, object] = {"kind": "mastodon", "discovery": "any", "fields": fields, **changes}
    provider = PROVIDER(Preset.from_table("example", table), http, StandingClock())
    provider.introduce(Us(name="Club", issuer="https://login.example", kept=kept or OneApp()))
    return provider


async def refused(http: Any, typed: str, **changes: Any) -> tuple[str, str]:
    """The code for the page, and the word for the log."""
    with pytest.raises(FormInvalid) as found:
        await server(http, **changes).find(typed)
    return found.value.fields["identifier"], found.value.detail


async def leave(http: ScriptedHTTP, kept: OneApp, **changes: Any) -> Attempt:
    found = await server(http, kept).find("social.example")
    return attempt(found=found, redirect_uri=f"https://login.example/callback/example/{found.place}", **changes)


async def come_back(http: ScriptedHTTP, kept: OneApp, left: Attempt, **callback: str) -> Identified:
    return await server(http, kept).identify(left, {"code": "c", "state": left.state, **callback})


# --- what is typed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "social.example", " Social.Example. ", "https://social.example", "HTTPS://social.example/@ana", "@ana@social.example",
        "ana@social.example", "social.example/@ana", "https://social.example/about?x=1#y",
    ],
)  # fmt: skip
def test_a_server_is_named_as_people_know_it(typed: str) -> None:
    """Bare, as the address of a page there, or with the person's own name before it."""
    assert read_origin(typed, "https", "server") == HERE


def test_a_name_in_another_script_is_read_in_its_plain_form() -> None:
    assert read_origin("@ana@münchen.example", "https", "server") == "https://xn--mnchen-3ya.example"


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "server_missing"), ("  ", "server_missing"), ("http://social.example", "identifier_http"), ("ana", "server_bad"),
        ("@ana", "server_bad"), ("social..example", "server_bad"), ("ftp://social.example", "server_bad"), ("social.example:8080", "server_bad"),
        ("https://ana@social.example", "server_bad"), ("https://social.example@evil.test", "server_bad"), ("127.0.0.1:22", "server_bad"),
        ("[::1]", "server_bad"), ("so cial.example", "server_bad"), ("x" * 64 + ".example", "server_bad"), ("-a.example", "server_bad"),
        ("a." * 130 + "example", "server_bad"), ("social.example\\.evil.test", "server_bad"), ("javascript://x.test", "server_bad"),
        ("ü" * 70 + ".example", "server_bad"),
    ],
)  # fmt: skip
async def test_what_is_no_server_is_said_to_be_none_and_asks_nobody(typed: str, code: str) -> None:
    """catalogue 67"""
    http = ScriptedHTTP(script())
    assert (await refused(http, typed))[0] == code
    assert http.asked == []


async def test_with_a_list_of_hosts_no_other_is_asked() -> None:
    """catalogue 66"""
    for typed, is_in in (
        ("social.example", True),
        ("evil.example", False),
        ("x.social.example", False),
        ("a.homes.test", True),
    ):
        origin = f"https://{typed}"
        here = {name: value.replace(HERE, origin) if isinstance(value, str) else value for name, value in TOLD.items()}
        http = ScriptedHTTP(script(**{METADATA: json_answer(here)}))
        one = server(http, discovery="hosts", hosts=["social.example", "*.homes.test"])
        if is_in:
            assert (await one.find(typed)).server == origin
        else:
            with pytest.raises(FormInvalid, match="server policy") as found:
                await one.find(typed)
            assert found.value.fields == {"identifier": "server_host"}
            assert http.asked == []


# --- what is found ------------------------------------------------------------------------------------


async def test_we_register_once_at_each_server_and_are_sent_back_to_an_address_of_its_own() -> None:
    """RFC 9700 §4.4.2: with a common address one server could have the code of another redeemed at itself."""
    http, kept = ScriptedHTTP(script()), OneApp()
    left = await leave(http, kept)
    place = place_of(HERE)
    assert http.only(APPS).form == {
        "client_name": "Club", "redirect_uris": f"https://login.example/callback/example/{place}", "scopes": "profile",
        "website": "https://login.example",
    }  # fmt: skip
    assert left.found is not None and left.found.place == place != place_of("https://other.example")
    assert kept.until == NOW + KEPT_UNUSED
    await leave(http, kept)
    assert http.count(APPS) == 1, "kept"
    assert len(kept.names) == 1
    await server(http, kept, discovery="any").find("social.example")
    url = urlsplit(await server(http, kept).authorization_url(left))
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{HERE}/oauth/authorize"
    assert (query["client_id"], query["redirect_uri"], query["scope"]) == ("key-1", left.redirect_uri, "profile")
    assert "secret-1" not in repr(left)
    assert "social" not in repr(left)


async def test_a_server_that_nobody_came_back_from_is_soon_forgotten() -> None:
    """Else whoever names servers that are none fills the store with what they answer."""
    http, kept = ScriptedHTTP(script()), OneApp()
    left = await leave(http, kept)
    http.script[ACCOUNT] = json_answer({**ANA, "uri": "https://evil.test/users/ana"})
    with pytest.raises(UpstreamInvalid, match="account_uri"):
        await come_back(http, kept, left)
    assert kept.until == NOW + KEPT_UNUSED
    http.script[ACCOUNT] = json_answer(ANA)
    await come_back(http, kept, left)
    assert kept.until == NOW + KEPT_FOR
    await leave(http, kept)
    assert kept.until == NOW + KEPT_FOR, "somebody did, so it stays"
    assert http.count(APPS) == 1


async def test_of_two_who_register_at_once_the_first_one_counts() -> None:
    kept = OneApp()

    def slow(asked: Asked) -> Answer:
        kept.values = {"client_id": "first", "client_secret": "s"}
        return json_answer(APP)

    found = await server(ScriptedHTTP(script(**{APPS: slow})), kept).find("social.example")
    assert found.told["client_id"] == "first"


async def test_a_server_that_knows_no_narrow_scope_is_asked_for_the_least_it_has() -> None:
    http = ScriptedHTTP(script(**{METADATA: told(scopes_supported=["read", "write"])}))
    left = await leave(http, OneApp())
    assert http.only(APPS).form["scopes"] == "read:accounts"
    assert "scope=read%3Aaccounts" in await server(http).authorization_url(left)


async def test_an_old_server_says_nothing_of_itself_and_forgets_us_soon() -> None:
    """Before 4.3 there is no metadata, and programs that nobody used for a day are thrown away."""
    http, kept = ScriptedHTTP(script(**{METADATA: Answer(404)})), OneApp()
    old = {name: value for name, value in ANA.items() if name != "uri"}
    http.script[ACCOUNT] = json_answer(old)
    http.script[TOKEN] = json_answer({"access_token": "at", "token_type": "Bearer", "scope": "read:accounts"})
    left = await leave(http, kept)
    identity = (await come_back(http, kept, left)).identity
    assert kept.until == NOW + KEPT_FOR_OLD
    assert (identity.key.issuer, identity.key.subject) == (HERE, f"{HERE}/users/ana")


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.test/"}, {"issuer": "https://evil.test"}, {"issuer": 7}, {"issuer": f"{HERE}.evil.test"},
        {"authorization_endpoint": "https://evil.test/oauth/authorize"}, {"authorization_endpoint": "http://social.example/oauth"},
        {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": "https://evil.test/"}, {"token_endpoint": 7},
        {"revocation_endpoint": "https://social.example:8443/"}, {"app_registration_endpoint": "https://10.0.0.1/"},
        {"authorization_endpoint": "https://social.example@evil.test/"}, {"token_endpoint": f"{HERE}/{'x' * 500}"},
    ],
)  # fmt: skip
async def test_a_server_names_no_addresses_but_its_own(changes: dict[str, Any]) -> None:
    """catalogue 66, 90: nobody is sent, and nothing is told, to where it points."""
    http = ScriptedHTTP(script(**{METADATA: told(**changes)}))
    code, detail = await refused(http, "social.example")
    assert (code, [one.path for one in http.asked]) == ("server_none", [METADATA])
    assert "social" not in detail


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ({METADATA: Answer(200, {"content-type": "text/html"}, b"<html>")}, "server_none"), ({METADATA: Answer(301)}, "server_none"),
        ({METADATA: Answer(404), APPS: Answer(404)}, "server_none"), ({METADATA: Answer(404), APPS: Answer(405)}, "server_none"),
        ({APPS: json_answer({"error": "no"}, 403)}, "server_refused"), ({APPS: json_answer({"error": "no"}, 422)}, "server_refused"),
        ({APPS: json_answer({"client_id": "x"})}, "server_none"), ({APPS: json_answer({**APP, "client_id": 7})}, "server_none"),
        ({APPS: json_answer({**APP, "client_secret": "x" * 3000})}, "server_none"), ({METADATA: Answer(503)}, "server_silent"),
        ({APPS: Answer(429)}, "server_silent"), ({METADATA: UpstreamUnavailable("connect social.example")}, "server_silent"),
    ],
)  # fmt: skip
async def test_a_lookup_that_fails_says_what_happened_and_names_nobody(lines: dict[str, Any], code: str) -> None:
    found = await refused(ScriptedHTTP(script(**lines)), "social.example")
    assert found[0] == code
    assert "social" not in found[1]


async def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers._typed.FIND_SECONDS", 0.01)

    class Never(ScriptedHTTP):
        async def request(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

    assert await refused(Never({}), "social.example") == ("server_silent", "server timeout")


async def test_a_server_that_answers_slowly_is_given_up_however_many_answers_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One time for all requests about one person together; and what was given is given back."""

    class Slow(ScriptedHTTP):
        seconds = 0.0

        async def request(self, *given: Any, **named: Any) -> Any:
            answer = await super().request(*given, **named)
            await asyncio.sleep(self.seconds)
            return answer

    monkeypatch.setattr("providers._typed.SIGN_IN_SECONDS", 0.15)
    monkeypatch.setattr("providers._oauth.GIVE_BACK_SECONDS", 0.05)
    http, kept = Slow(script()), OneApp()
    left = await leave(http, kept)
    http.seconds = 0.1
    with pytest.raises(UpstreamUnavailable, match="timeout sign-in"):
        await come_back(http, kept, left)
    assert http.only(REVOKE).form["token"] == "at"


@pytest.mark.parametrize("typed", ["intranet.test", "127.0.0.1", "169.254.169.254", "2130706433.test"])
async def test_no_server_leads_into_our_own_network(typed: str) -> None:
    """catalogue 66: by its name, or by what the name stands for; the page says no more than that it does not answer."""

    async def inside(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.7"]

    egress = Egress(resolver=inside)
    try:
        assert (await refused(egress, typed))[0] == "server_silent"
    finally:
        await egress.aclose()


# --- who comes back -----------------------------------------------------------------------------------


async def test_what_was_given_is_given_back_and_nothing_is_kept() -> None:
    http, kept = ScriptedHTTP(script()), OneApp()
    left = await leave(http, kept)
    found = await come_back(http, kept, left)
    assert found.tokens is None
    assert http.only(REVOKE).form == {"token": "at", **APP}
    assert [one.path for one in http.asked[-3:]] == [TOKEN, ACCOUNT, REVOKE]
    http.script[REVOKE] = UpstreamUnavailable("connect")
    assert (await come_back(http, kept, left)).identity == found.identity
    http.script[ACCOUNT] = Answer(500)
    with pytest.raises(UpstreamUnavailable):
        await come_back(http, kept, left)
    assert http.count(REVOKE) == 3, "also where it is of no use"


async def test_two_servers_never_name_the_same_person() -> None:
    """A server says who its own people are: an address of another one is refused (catalogue 59)."""
    for uri in (
        "https://other.example/users/ana",
        "http://social.example/users/ana",
        "https://social.example.evil.test/users/ana",
    ):
        http, kept = ScriptedHTTP(script(**{ACCOUNT: json_answer({**ANA, "uri": uri})})), OneApp()
        with pytest.raises(UpstreamInvalid, match="account_uri"):
            await come_back(http, kept, await leave(http, kept))


async def test_an_issuer_that_was_promised_must_come() -> None:
    """RFC 9207 §2.4; Mastodon's own does not send one."""
    http = ScriptedHTTP(script(**{METADATA: told(authorization_response_iss_parameter_supported=True)}))
    kept = OneApp()
    left = await leave(http, kept)
    with pytest.raises(UpstreamInvalid, match="response_iss missing"):
        await come_back(http, kept, left)
    assert (await come_back(http, kept, left, iss=f"{HERE}/")).identity.account_hint == "ana"
    assert http.count(TOKEN) == 1


async def test_a_server_that_forgot_us_is_registered_at_anew_by_the_next_attempt() -> None:
    http, kept = ScriptedHTTP(script(**{TOKEN: json_answer({"error": "invalid_client"}, 401)})), OneApp()
    left = await leave(http, kept)
    with pytest.raises(UpstreamRejected):
        await come_back(http, kept, left)
    assert kept.values is None
    with pytest.raises(UpstreamInvalid, match="registration gone"):
        await come_back(http, kept, left)
    await leave(http, kept)
    assert http.count(APPS) == 2
    http.script[TOKEN] = json_answer({"error": "invalid_grant"}, 400)
    with pytest.raises(UpstreamRejected):
        await come_back(http, kept, left)
    assert kept.values is not None


async def test_a_server_that_is_let_in_no_more_signs_nobody_in() -> None:
    http, kept = ScriptedHTTP(script()), OneApp()
    left = await leave(http, kept)
    with pytest.raises(UpstreamInvalid, match="server policy"):
        await server(http, kept, discovery="hosts", hosts=["other.example"]).identify(left, {"code": "c"})
    for nothing in (None, Found(endpoint="x")):
        with pytest.raises(UpstreamInvalid, match="server missing"):
            await server(http, kept).identify(attempt(found=nothing), {"code": "c"})
    assert http.count(TOKEN) == 0


@pytest.mark.parametrize(
    ("changes", "claims"),
    [
        ({"display_name": "Ana :blob: :x:", "emojis": [{"shortcode": "blob"}, {"shortcode": ""}, 7]}, {"name": "Ana :x:"}),
        ({"display_name": "Ana :blob:", "emojis": "none"}, {"name": "Ana :blob:"}), ({"display_name": ""}, {"name": None}),
        ({"avatar": f"{HERE}/avatars/original/missing.png"}, {"picture": None}),
        ({"url": "https://famous.example/@somebody"}, {"profile": None}), ({"url": f"{HERE}.evil.test/@ana"}, {"profile": None}),
    ],
)  # fmt: skip
async def test_what_is_no_name_and_no_picture_is_left_out(
    changes: Mapping[str, Any], claims: Mapping[str, Any]
) -> None:
    http, kept = ScriptedHTTP(script(**{ACCOUNT: json_answer({**ANA, **changes})})), OneApp()
    found = (await come_back(http, kept, await leave(http, kept))).identity.claims
    assert {name: found.get(name) for name in claims} == claims  # type: ignore[call-overload]


async def test_somebody_who_must_show_who_they_are_anew_is_asked_to() -> None:
    http, kept = ScriptedHTTP(script()), OneApp()
    one = server(http, kept)
    assert "force_login=true" in await one.authorization_url(await leave(http, kept, fresh=True))
    assert "force_login" not in await one.authorization_url(await leave(http, kept))
    assert not one.can_force_fresh, "and nothing proves that they were"


async def test_without_a_word_who_we_are_nobody_is_sent_anywhere() -> None:
    one = PROVIDER(
        Preset.from_table("m", {"kind": "mastodon", "discovery": "any"}), ScriptedHTTP(script()), StandingClock()
    )
    assert isinstance(one, Finder)
    with pytest.raises(FormInvalid):
        await one.find("social.example")


def test_a_preset_says_which_servers() -> None:
    today = date(2026, 11, 24)

    def keys(**more: object) -> list[str]:
        table = {"kind": "mastodon", "discovery": "any", "fields": ["name"], **more}
        return [one.key for one in PROVIDER.problems(Preset.from_table("v", table), today)]

    assert keys() == keys(discovery="hosts", hosts=["a.test"]) == []
    assert keys(discovery="off") == ["discovery"]
    assert keys(discovery="hosts") == ["hosts"]
    assert keys(fields=["name", "email", "birthdate"]) == ["fields", "fields"]
    assert keys(endpoints={"token": "https://x.test"}) == ["endpoints"]
    assert keys(trusts_email=True) == ["trusts_email"]
    assert timedelta(hours=24) > KEPT_FOR_OLD

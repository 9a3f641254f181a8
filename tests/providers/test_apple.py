"""Sign in with Apple: a secret made for each call, an answer by form, a name told once, and addresses of a relay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.providers.beside import open_house_beside
from tests.providers.apple_server import CLIENT, KEY, RELAY, TEAM, AppleServer
from tests.providers.contract import Recording
from tests.providers.rig import ScriptedHTTP, StandingClock, ec_key, json_answer, p8, pem, rsa_key
from tests.providers.walk import _HIDDEN
from tests.support.house import Arrival, Browser, House, Sandboxes, Shown
from tests.support.sandbox import served

import providers
from broker.domain.claims import EMAIL, NAME
from broker.errors import ConfigurationError, UpstreamInvalid
from html import unescape
from providers.apple import SECRET_LIFE, read_user
from providers.preset import Preset


@pytest.fixture
def apple() -> Recording:
    return Recording.read("apple")


# --- the client secret --------------------------------------------------------------------------------


async def test_the_secret_is_made_anew_for_each_call_from_the_teams_key(apple: Recording) -> None:
    """What Apple's documentation asks of it, read with a library that is not ours."""
    http, clock = apple.http(), StandingClock()
    (one,) = providers.load([apple.preset], http, clock).providers.values()
    for _ in range(2):
        await one.identify(apple.attempt(), apple.callback())
        clock.move(seconds=30)
    first, second = (asked.form for asked in http.asked if asked.path == "/auth/token")
    assert first["client_secret"] != second["client_secret"]
    for form, after in ((first, 0), (second, 30)):
        token = jwt.decode(form["client_secret"], ECKey.import_key(ec_key("p8")), algorithms=["ES256"])
        assert token.header == {"alg": "ES256", "kid": KEY, "typ": "JWT"}
        now = int(StandingClock().now().timestamp()) + after
        life = int(SECRET_LIFE.total_seconds())
        assert token.claims == {
            "iss": TEAM, "sub": CLIENT, "aud": "https://appleid.apple.com", "iat": now, "exp": now + life,
        }  # fmt: skip
        assert form["client_id"] == CLIENT
        assert "code_verifier" not in form
    assert all("Authorization" not in asked.headers for asked in http.asked)


async def test_nothing_is_discovered(apple: Recording) -> None:
    """Apple's metadata once named another issuer than its ID tokens; nobody signed in where it was believed."""
    http = apple.http()
    await apple.provider(http).authorization_url(apple.attempt())
    await apple.sign_in(http)
    assert sorted({asked.path for asked in http.asked}) == ["/auth/keys", "/auth/token"]
    where, _ = await apple.url()
    assert where == "https://appleid.apple.com/auth/authorize"


def key_problems(**changes: Any) -> list[tuple[str, str]]:
    table = {**Recording.read("apple").raw["preset"], "client_secret": p8(ec_key("p8")), **changes}
    found = Preset.from_table("apple", {name: value for name, value in table.items() if value is not None})
    try:
        loaded = providers.load([found], ScriptedHTTP({}), StandingClock())
    except ConfigurationError as error:
        return [(problem.key, problem.severity) for problem in error.problems]
    return [(problem.key, problem.severity) for problem in loaded.warnings]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"team_id": None}, "team_id"),
        ({"team_id": "a1b2c3d4e5"}, "team_id"),
        ({"team_id": "A1B2C3D4E5F"}, "team_id"),
        ({"key_id": None}, "key_id"),
        ({"key_id": "AuthKey_K6L7M8N9P0.p8"}, "key_id"),
        ({"client_secret": "eyJhbGciOiJFUzI1NiIsImtpZCI6Iks2TDdNOE45UDAifQ.eyJpc3MiOiJBMSJ9.c2ln"}, "client_secret"),
        ({"client_secret": "not a key"}, "client_secret"),
        ({"client_secret": p8(ec_key("p8", "P-384"))}, "client_secret"),
        ({"client_secret": pem(rsa_key()).decode()}, "client_secret"),
        ({"fields": ["name", "picture"]}, "fields"),
    ],
)
def test_what_apple_would_refuse_is_told_before_anybody_tries(changes: Mapping[str, Any], key: str) -> None:
    assert key_problems(**changes) == [(f"apple.{key}", "error")]


def test_a_ready_made_secret_is_known_for_what_it_is() -> None:
    """Others ask for one; it would stop working within six months, at night."""
    table = {**Recording.read("apple").raw["preset"], "client_secret": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}
    with pytest.raises(ConfigurationError) as caught:
        providers.load([Preset.from_table("apple", table)], ScriptedHTTP({}), StandingClock())
    assert "six months" in caught.value.problems[0].what


def test_a_team_instead_of_a_services_id_is_noticed() -> None:
    assert key_problems() == []
    assert key_problems(client_id=TEAM) == [("apple.client_id", "warning")]


def test_a_key_that_is_none_is_not_quoted() -> None:
    """catalogue 152"""
    found = Preset.from_table(
        "apple", {**Recording.read("apple").raw["preset"], "client_secret": "canary-of-the-key-file"}
    )
    with pytest.raises(ConfigurationError) as caught:
        providers.load([found], ScriptedHTTP({}), StandingClock())
    assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.problems}"


# --- the name -----------------------------------------------------------------------------------------


async def test_the_name_comes_with_the_first_answer_only(apple: Recording) -> None:
    """Who comes back is somebody all the same, and declined nothing."""
    assert (await apple.sign_in()).identity.claims[NAME] == "Ana Marković"
    later = replace(apple, raw={name: value for name, value in apple.raw.items() if name != "user"})
    found = (await later.sign_in()).identity
    assert set(found.claims) == {EMAIL}
    assert found.declined == frozenset()
    assert found.key == (await apple.sign_in()).identity.key


async def test_only_the_name_is_taken_from_what_nobody_signed(apple: Recording) -> None:
    """catalogue 113: the form came through a browser; whoever holds it can write any address into it."""
    user = {"email": "victim@example.org", "email_verified": True, "sub": "000001.victim", "name": {"firstName": "Eve"}}
    forged = replace(apple, raw={**apple.raw, "user": user})
    found = (await forged.sign_in()).identity
    assert found.key.subject == apple.raw["identity"]["subject"]
    assert (found.claims[EMAIL], found.claims[NAME]) == (RELAY, "Eve")
    unsaid = forged.changed("id_token", email=None, email_verified=None)
    found = (await unsaid.sign_in()).identity
    assert EMAIL not in found.claims
    assert found.verified == frozenset()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"name":{"firstName":"Ana","lastName":"Marković"}}', "Ana Marković"),
        ('{"name":{"firstName":" Ana ","lastName":""}}', "Ana"),
        ('{"name":{"lastName":"Marković"}}', "Marković"),
        ('{"name":{"firstName":7,"lastName":["x"]}}', ""),
        ('{"name":"Ana"}', None),
        ('{"email":"a@x.org"}', None),
        ("{}", None), ("", None), ("null", None), ("[1]", None), ("{", None), ('{"a":1,"a":2}', None), ("\ud800", None),
        ('{"name":{"firstName":"' + "x" * 5000 + '"}}', None),
    ],
)  # fmt: skip
def test_a_user_field_that_makes_no_sense_names_nobody(text: str, name: str | None) -> None:
    """catalogue 173: and keeps nobody from signing in."""
    assert read_user(text).get("name") == name


# --- what is asked ------------------------------------------------------------------------------------


async def test_the_answer_is_asked_for_as_a_form(apple: Recording) -> None:
    """Apple refuses any request for a name or an address that does not."""
    _, query = await apple.url(fresh=True)
    assert query["response_mode"] == "form_post"
    assert query["scope"] == "openid name email"
    assert not {"code_challenge", "prompt", "max_age"} & set(query)
    assert apple.provider(apple.http()).can_force_fresh is False


@pytest.mark.parametrize(("said", "proved"), [("true", True), (True, True), ("false", False), (False, False)])
async def test_an_address_is_proved_in_apples_two_spellings(apple: Recording, said: object, proved: bool) -> None:
    found = (await apple.changed("id_token", email_verified=said).sign_in()).identity
    assert (EMAIL in found.verified) is proved
    assert found.claims[EMAIL] == RELAY


async def test_our_access_can_be_given_back(apple: Recording) -> None:
    found = await apple.sign_in()
    http = apple.http()
    http.script["/auth/revoke"] = json_answer({})
    assert found.tokens is not None
    await apple.provider(http).revoke(found.tokens)
    form = http.only("/auth/revoke").form
    assert (form["token"], form["token_type_hint"]) == (apple.raw["token"]["refresh_token"], "refresh_token")
    jwt.decode(form["client_secret"], ECKey.import_key(ec_key("p8")), algorithms=["ES256"])


async def test_a_form_for_another_issuers_person_is_refused(apple: Recording) -> None:
    """catalogue 42: also what its metadata named for a day."""
    with pytest.raises(UpstreamInvalid, match="iss"):
        await apple.changed("id_token", iss="https://account.apple.com").sign_in()


# --- over real sockets --------------------------------------------------------------------------------

APPLE = """
[apple]
kind = "apple"
label = "Apple"
brand = "apple"
client_id = "%(client)s"
team_id = "%(team)s"
key_id = "%(key)s"
client_secret = { env = "APPLE_KEY" }
fields = ["name", "email"]
trusts_email = true
privacy_policy_url = "https://www.apple.com/legal/privacy/"

[apple.endpoints]
authorization = "%(url)s/auth/authorize"
token = "%(url)s/auth/token"
jwks = "%(url)s/auth/keys"
revocation = "%(url)s/auth/revoke"
"""


async def come_by_form(house: House, browser: Browser, left: Shown | Arrival) -> Shown | Arrival:
    """Apple's page posts its form to us: from another site, so without our cookies."""
    assert isinstance(left, Arrival)
    async with httpx2.AsyncClient() as client:
        page = await client.get(left.url)
    assert page.status_code == 200, page.text
    fields = [(unescape(name), unescape(value)) for name, value in _HIDDEN.findall(page.text)]
    kept, browser.jar = browser.jar, httpx2.Cookies()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(left.url))
    posted = await browser.send(
        "POST",
        "https://login.test/callback/apple",
        data=fields,
        headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"},
    )
    browser.jar = kept
    assert posted.status_code == 303, posted.text
    return await browser._follow(posted)


async def test_somebody_signs_up_with_apple_and_comes_back(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The form's name survives the way through our own address, fills in the form, and is not needed later."""
    server = AppleServer(back="https://login.test/callback/apple")
    async with served(server.app()) as url:
        values = {"client": CLIENT, "team": TEAM, "key": KEY, "url": url}
        async with open_house_beside(url, APPLE % values, tmp_path, sandboxes, APPLE_KEY=p8(ec_key("p8"))) as house:
            forum = house.site("forum")
            browser = house.browser()
            await browser.open(forum.request_url())
            shown = await come_by_form(house, browser, await browser.press("provider=apple"))
            assert isinstance(shown, Shown)
            assert "Ana Marković" in shown.text
            assert RELAY in shown.text
            await browser.press("decision=continue")
            await browser.press("decision=create", fill={"preferred_username": "ana"})
            arrived = await browser.press("decision=share", tick=["name"])
            assert isinstance(arrived, Arrival)
            tokens = await forum.redeem(arrived)
            assert (await forum.claims(tokens["access_token"]))["name"] == "Ana Marković"
            other = house.browser()
            await other.open(forum.request_url())
            back = await come_by_form(house, other, await other.press("provider=apple"))
            assert isinstance(back, Arrival)
            assert (await forum.claims((await forum.redeem(back))["access_token"]))["name"] == "Ana Marković"
            assert await house.accounts() == 1
            assert server.refused == []
            assert "Markovi" not in house.log

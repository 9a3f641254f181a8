"""Steam's habits, each by the rule that it needs. What holds for every provider is in `test_contract.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from urllib.parse import urlsplit

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import Answer, ScriptedHTTP, StandingClock, json_answer

import providers
from broker.domain.claims import PICTURE
from broker.domain.values import ClaimName, IdentityKey, Secret
from broker.errors import ConfigurationError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers.preset import Preset
from providers.steam import LOGIN, Steam

LOGIN_PATH = urlsplit(LOGIN).path
SUMMARIES_PATH = "/ISteamUser/GetPlayerSummaries/v0002/"
NUMBER = "76561197960287930"


@pytest.fixture
def steam() -> Recording:
    return Recording.read("steam")


def page(status: int) -> Answer:
    return Answer(status, {"content-type": "text/html"}, b"<html>Access is denied.</html>")


async def test_steam_is_asked_who_is_there_and_answers_to_the_address_with_our_state(steam: Recording) -> None:
    """catalogue 61: the state is inside the return address, which Steam signs."""
    address, query = await steam.url()
    asked = steam.attempt()
    assert address == LOGIN
    assert query == {
        "openid.ns": "http://specs.openid.net/auth/2.0",
        "openid.mode": "checkid_setup",
        "openid.claimed_id": "http://specs.openid.net/auth/2.0/identifier_select",
        "openid.identity": "http://specs.openid.net/auth/2.0/identifier_select",
        "openid.return_to": f"{asked.redirect_uri}?state={asked.state}",
        "openid.realm": "https://login.example/",
    }


async def test_the_answer_is_confirmed_at_steams_own_address_and_nowhere_else(steam: Recording) -> None:
    """catalogue 62, 63: whatever endpoint an answer names, and without any shared key."""
    http = steam.http()
    await steam.sign_in(http)
    assert http.only(LOGIN_PATH).url == LOGIN
    spoiled = steam.changed("answer", **{"openid.op_endpoint": "https://evil.test/openid/login"})
    http = spoiled.http()
    with pytest.raises(UpstreamInvalid, match="op_endpoint"):
        await spoiled.sign_in(http)
    assert http.asked == []


@pytest.mark.parametrize(
    "claimed",
    ["https://evil.test/openid/id/76561197960287930", "https://steamcommunity.com/profiles/76561197960287930"],
)
async def test_steam_speaks_for_nobody_but_its_own_numbers(steam: Recording, claimed: str) -> None:
    """catalogue 59: nothing is asked about anybody else."""
    spoiled = steam.changed("answer", **{"openid.claimed_id": claimed, "openid.identity": claimed})
    http = spoiled.http()
    with pytest.raises(UpstreamInvalid, match="claimed_id"):
        await spoiled.sign_in(http)
    assert http.asked == []


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_a_steam_that_turns_callers_away_is_an_outage(steam: Recording, status: int) -> None:
    """catalogue 172: 403 is how Valve throttles; the person may try again later."""
    http = steam.http()
    http.script[LOGIN_PATH] = page(status)
    with pytest.raises(UpstreamUnavailable):
        await steam.sign_in(http)


async def test_a_question_that_steam_does_not_understand_is_refused(steam: Recording) -> None:
    http = steam.http()
    http.script[LOGIN_PATH] = page(400)
    with pytest.raises(UpstreamRejected):
        await steam.sign_in(http)
    http.script[LOGIN_PATH] = page(302)
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await steam.sign_in(http)


async def test_one_answer_has_one_name_by_which_it_is_known_again(steam: Recording) -> None:
    """catalogue 60: by provider and nonce, for as long as the nonce would be accepted."""
    first, second = (await steam.sign_in()).once, (await steam.sign_in()).once
    assert first is not None
    assert first == second
    assert (first.until - StandingClock().now()).total_seconds() >= 300
    other = steam.changed("answer", **{"openid.response_nonce": "2026-11-24T12:00:00Zother"})
    found = (await other.sign_in()).once
    assert found is not None
    assert found.key != first.key


async def test_without_a_key_only_the_number_is_known_and_nothing_more_is_asked(steam: Recording) -> None:
    bare = steam.with_preset(client_secret=Secret(""), fields=())
    http = bare.http()
    found = (await bare.sign_in(http)).identity
    assert (found.key.subject, found.claims, found.account_hint) == (NUMBER, {}, NUMBER)
    assert http.count(SUMMARIES_PATH) == 0
    assert bare.provider(http).offers == ()


async def test_a_number_that_the_web_api_does_not_know_is_a_person_without_name(steam: Recording) -> None:
    for others in ([], [{"steamid": "76561197960287931", "personaname": "Somebody Else"}], ["odd"]):
        http = steam.http()
        http.script[SUMMARIES_PATH] = json_answer({"response": {"players": others}})
        assert (await steam.sign_in(http)).identity.claims == {}


@pytest.mark.parametrize("raw", [{}, {"response": []}, {"response": {"players": {}}}])
async def test_an_answer_of_another_shape_is_no_profile(steam: Recording, raw: Mapping[str, object]) -> None:
    http = steam.http()
    http.script[SUMMARIES_PATH] = json_answer(raw)
    with pytest.raises(UpstreamInvalid, match="summary"):
        await steam.sign_in(http)


async def test_the_question_mark_is_not_a_picture(steam: Recording) -> None:
    """Steam sends it for everybody who has none."""
    address = "https://avatars.steamstatic.com/fef49e7fa7e1997310d705b2a6158ff8dc1cdfeb_full.jpg"
    found = await steam.changed("player", avatarfull=address).sign_in()
    assert PICTURE not in found.identity.claims


async def test_the_real_name_stays_at_steam(steam: Recording) -> None:
    """What people show is the name they play under; the other one is not asked for."""
    assert "Marković" not in str(dict((await steam.sign_in()).identity.claims))


async def test_a_wrong_key_is_found_before_anybody_signs_in(steam: Recording) -> None:
    http = steam.http()
    http.script[SUMMARIES_PATH] = page(403)
    with pytest.raises(UpstreamRejected, match="403"):
        await steam.provider(http).check()
    http.script[LOGIN_PATH] = page(404)
    with pytest.raises(UpstreamRejected, match="404"):
        await steam.provider(http).check()


async def test_a_check_without_a_key_asks_the_login_page_alone(steam: Recording) -> None:
    bare = steam.with_preset(client_secret=Secret(""), fields=())
    http = bare.http()
    await bare.provider(http).check()
    assert [asked.path for asked in http.asked] == [LOGIN_PATH]


async def test_a_steam_elsewhere_makes_no_identity_of_the_real_one(steam: Recording) -> None:
    """A sandbox's people are the sandbox's."""
    login = "https://steam.test:8443/openid/login"
    who = f"https://steam.test:8443/openid/id/{NUMBER}"
    one = steam.with_preset(endpoints={"authorization": login}).changed(
        "answer", **{"openid.op_endpoint": login, "openid.claimed_id": who, "openid.identity": who}
    )
    assert (await one.sign_in()).identity.key == IdentityKey(issuer="https://steam.test:8443/openid", subject=NUMBER)
    with pytest.raises(UpstreamInvalid, match="op_endpoint"):
        await replace(one, preset=steam.preset).sign_in()


async def test_steam_cannot_be_made_to_ask_again_and_gives_nothing_to_take_back(steam: Recording) -> None:
    one = steam.provider(steam.http())
    assert isinstance(one, Steam)
    assert (one.can_force_fresh, one.sign_in_scopes, one.label) == (False, (), "Steam")
    found = await steam.sign_in()
    assert (found.tokens, found.identity.authenticated_at, found.identity.verified) == (None, None, frozenset())


def test_a_preset_needs_neither_client_id_nor_secret() -> None:
    found = Preset.from_table("steam", {"kind": "steam", "fields": []})
    assert (found.client_id, found.shown_host) == ("", "steamcommunity.com")
    assert Steam.problems(found, date(2026, 11, 24)) == []


def test_what_steam_cannot_tell_is_a_problem_of_the_settings() -> None:
    today = date(2026, 11, 24)
    preset = Preset.from_table(
        "steam", {"kind": "steam", "client_secret": "k", "fields": ["email"], "trusts_email": True}
    )
    assert [(one.key, one.severity) for one in Steam.problems(preset, today)] == [
        ("fields", "error"), ("trusts_email", "warning"),
    ]  # fmt: skip
    keyless = Preset.from_table("steam", {"kind": "steam", "fields": [ClaimName("name")]})
    with pytest.raises(ConfigurationError, match="Web API key"):
        providers.load([keyless], ScriptedHTTP({}), StandingClock())

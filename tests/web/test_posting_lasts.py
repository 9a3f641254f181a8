"""Posting that was turned on works on when access tokens run out, over the pages and with a provider that gives refresh tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.house import PROVIDERS_TOML, Arrival, House, Sandboxes, Shown, open_house
from tests.web.test_posting import POSTING_TOML, Member, asked_scopes, is_on, states, statuses

from broker.domain.values import ProviderId

LASTING = PROVIDERS_TOML + POSTING_TOML + 'lasting_scopes = ["offline_access"]\n'
NOT_POSTED = "failed"
PLAIN = """
[openid]
kind = "oauth2"
label = "Club OpenID"
sandbox = true
client_id = "%(openid_client)s"
client_secret = { env = "OPENID_SECRET" }
issuer = "%(openid_url)s"
fields = ["name", "email"]
scopes = ["openid", "profile"]
email_scope = "email"
subject = "sub"
privacy_policy_url = "%(openid_url)s/privacy"

[openid.claims]
name = "name"
email = "email"

[openid.endpoints]
authorization = "%(openid_url)s/authorize?prompt=consent"
token = "%(openid_url)s/token"
userinfo = "%(openid_url)s/userinfo"
revocation = "%(openid_url)s/oauth/revoke"
"""
OFF_NOW = "Club OpenID no longer lets us post for you, so posting is off now."


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=LASTING) as opened:
        yield opened


async def post(member: Member) -> Shown:
    """Look at one and press."""
    await member.preview()
    shown = await member.browser.press("decision=post")
    assert isinstance(shown, Shown)
    return shown


def grants(house: House) -> list[str]:
    """The refresh tokens that are good at the provider."""
    return [text for text, one in house.openid.state.refreshes.items() if not (one.used or one.revoked)]


async def test_a_refresh_token_is_asked_for_on_opting_in_and_never_before(house: House) -> None:
    """(catalogue 189)"""
    member = await Member.join(house)
    assert not any("offline_access" in scopes for scopes in await asked_scopes(house))
    assert house.openid.state.refreshes == {}
    refused = await member.ask()
    page = await member.browser.open(refused.json()["opt_in_url"])
    assert "to post, for longer than this visit" in page.text
    await member.opt_in()
    asked = [scopes for scopes in await asked_scopes(house) if "offline_access" in scopes]
    assert asked
    assert all(scopes == {"openid", "write:statuses", "offline_access"} for scopes in asked)
    assert len(grants(house)) == 1


async def test_the_privacy_notice_and_my_account_say_which_keys_are_kept(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Of a network that lasts both, of one that does not the first alone, of a Share window none."""
    for providers, lasts in ((LASTING, True), (PROVIDERS_TOML + POSTING_TOML, False)):
        folder = tmp_path / str(lasts)
        folder.mkdir()
        async with open_house(folder, sandboxes, providers=providers) as house:
            member = await Member.join(house)
            await member.opt_in()
            notice = (await member.browser.open("/privacy")).text
            assert "(an access token)" in notice
            assert notice.count("That is so with: Club OpenID.") == 1 + lasts, "and not with Facebook"
            assert ("(a refresh token)" in notice) is lasts
            mine = (await member.browser.open("/me/posting")).text
            assert ("For this we keep keys of Club OpenID" in mine) is lasts
            assert ("For this we keep a key of Club OpenID" in mine) is not lasts


async def test_where_the_preset_says_nothing_none_is_asked_for(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Then posting ends with the access token, as it says."""
    async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML + POSTING_TOML) as house:
        member = await Member.join(house)
        refused = await member.ask()
        assert "one more permission: to post. " in (await member.browser.open(refused.json()["opt_in_url"])).text
        await member.opt_in()
        assert not any("offline_access" in scopes for scopes in await asked_scopes(house))
        await house.move(hours=2)
        await post(member)
        assert await states(member) == [NOT_POSTED]
        assert not await is_on(member)


async def test_a_post_goes_out_long_after_the_access_token_ran_out(house: House) -> None:
    member = await Member.join(house)
    await member.opt_in()
    for _ in range(3):
        await house.move(hours=2)
        await post(member)
    assert await states(member) == ["posted"] * 3
    assert len(await statuses(house)) == 3
    assert len(grants(house)) == 1, "the last one, and only that, is ours"


async def test_a_token_that_stopped_working_early_is_had_anew(house: House) -> None:
    member = await Member.join(house)
    await member.opt_in()
    await house.openid.order(revoke="ana")
    await post(member)
    assert await states(member) == ["posted"]
    assert len(await statuses(house)) == 1


async def test_who_took_it_back_over_there_is_told_and_posting_is_off(house: House) -> None:
    """As ever: nobody tries again and again (catalogue 193)."""
    member = await Member.join(house)
    await member.opt_in()
    await house.move(hours=2)
    await house.openid.order(fault={"name": "token-error"})
    shown = await post(member)
    assert await states(member) == [NOT_POSTED]
    assert not await is_on(member)
    assert OFF_NOW in shown.text
    assert await statuses(house) == []
    assert '"check":"tokeninvalid_grant"' in house.log.replace(" ", "")


async def test_a_provider_that_is_down_costs_one_post_and_no_opt_in(house: House) -> None:
    member = await Member.join(house)
    await member.opt_in()
    await house.move(hours=2)
    await house.openid.order(fault={"name": "status", "at": "token"})
    shown = await post(member)
    assert await states(member) == [NOT_POSTED]
    assert await is_on(member)
    assert OFF_NOW not in shown.text
    await house.openid.order(faults=[])
    await post(member)
    assert sorted(await states(member)) == [NOT_POSTED, "posted"]


async def test_turned_off_nothing_is_left_there_or_here(house: House) -> None:
    """The refresh token that is good by then is taken back at the provider and erased (RFC 7009)."""
    member = await Member.join(house)
    await member.opt_in()
    await house.move(hours=2)
    await post(member)
    await member.browser.open("/me/posting")
    await member.browser.press("Turn off")
    assert not await is_on(member)
    await house.opened.deliverer.once()
    assert grants(house) == []
    assert not await house.world.durable.vault.holds(await member.account, ProviderId("openid"))


async def test_a_network_that_is_away_hears_of_it_when_it_is_back(house: House) -> None:
    """Nobody waits for it, and nothing is left there in the end."""
    member = await Member.join(house)
    await member.opt_in()
    await house.openid.order(fault={"name": "status", "at": "revoke"})
    await member.browser.open("/me/posting")
    await member.browser.press("Turn off")
    assert not await is_on(member)
    await house.opened.deliverer.once()
    assert len(grants(house)) == 1
    await house.openid.order(faults=[])
    await house.move(minutes=1)
    await house.opened.deliverer.once()
    assert grants(house) == []
    assert not any(token in house.log for token in house.openid.state.refreshes)


async def test_turned_on_once_more_one_grant_is_left(house: House) -> None:
    member = await Member.join(house)
    page = (await member.ask()).json()["opt_in_url"]
    for _ in range(3):
        await member.browser.open(page)
        arrived = await member.browser.agree_upstream(await member.at_the_network("decision=allow"))
        assert isinstance(arrived, Arrival)
        await house.opened.deliverer.once()
        assert len(grants(house)) == 1
    await post(member)
    assert await states(member) == ["posted"]


async def test_so_it_does_at_a_service_that_speaks_plain_oauth(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """As X does: nobody is named anew, and the last refresh token is taken back in the end."""
    facebook, _, _ = PROVIDERS_TOML.partition("[openid]")
    providers = facebook + PLAIN + POSTING_TOML + 'lasting_scopes = ["offline_access"]\n'
    async with open_house(tmp_path, sandboxes, providers=providers) as house:
        member = await Member.join(house)
        await member.opt_in()
        await house.move(hours=2)
        await post(member)
        await house.openid.order(revoke="ana")
        await post(member)
        assert await states(member) == ["posted"] * 2
        assert len(grants(house)) == 1
        await member.browser.open("/me/posting")
        await member.browser.press("Turn off")
        await house.opened.deliverer.once()
        assert grants(house) == []

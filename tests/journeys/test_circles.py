"""A provider that only admins or testers may use yet: who sees it, and that it does not exist for anybody else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.house import (
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)

from broker.domain.staff import Member, Role
from broker.domain.values import ProviderId

FOR_TESTERS = PROVIDERS_TOML.replace("[openid]\n", '[openid]\nstate = "testers"\n')
FOR_ADMINS = PROVIDERS_TOML.replace("[openid]\n", '[openid]\nstate = "admins"\n')


@pytest.fixture
async def early(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """Facebook is for everybody, Club OpenID for testers."""
    async with open_house(tmp_path, sandboxes, providers=FOR_TESTERS) as house:
        yield house


async def give(house: House, role: Role | None) -> None:
    """To the only account that there is."""
    (account,) = house.world.durable.tables.accounts  # type: ignore[attr-defined]
    unit = house.world.durable.unit()
    if role is None:
        unit.drop_member(account)
    else:
        unit.put_member(Member(account=account, role=role, since=house.clock.now()))
    await unit.commit()


async def member(house: House, role: Role | None) -> Browser:
    """Somebody who signed up by Facebook, with this role."""
    browser = house.browser()
    await browser.sign_up(user_name="anna")
    await give(house, role)
    return browser


def alike(shown: Shown | Arrival, provider: str, transaction: str) -> tuple[int, str, str]:
    """What a page says, without what differs by chance and by the name that was asked for."""
    assert isinstance(shown, Shown)
    assert "Club OpenID" not in shown.response.text
    text = shown.response.text.replace(provider, "PROVIDER").replace(transaction, "TRANSACTION")
    text = re.sub(r"Reference: <[^>]*>[^<]*|[A-Z0-9]{4}-[A-Z0-9]{4}|[A-Za-z0-9_.-]{24,}|\d\d:\d\d", "", text)
    return shown.status, shown.path.replace(provider, "PROVIDER").replace(transaction, "TRANSACTION"), text


async def asked_for(house: House, browser: Browser, provider: str) -> list[tuple[int, str, str]]:
    """Every way to ask for a provider by its name."""
    chooser = await browser.open(house.site("forum").request_url(prompt="login"))
    fields = [("csrf", chooser.value("csrf")), ("provider", provider)]
    answers: list[Shown | Arrival] = [await browser.submit("post", chooser.url, fields)]
    callback = f"{ISSUER}/callback/{provider}"
    transaction = chooser.url.split("/")[4]
    for query in ("", "?code=c", "?code=c&state=s", f"?code=c&state={transaction}.x"):
        answers.append(await browser.go(callback + query))
    for state in ("", f"{transaction}.x"):
        answers.append(await browser.submit("post", callback, [("code", "c"), ("state", state)]))
    return [alike(one, provider, transaction) for one in answers]


@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "member"])
async def test_for_everybody_else_it_does_not_exist(early: House, signed_in: bool) -> None:
    """Every answer is the one that a name gets which nobody ever gave to a provider (catalogue 52)."""
    browser = await member(early, Role.SUPPORT) if signed_in else early.browser()
    for page in ("/sign-in", "/", "/privacy", "/help", *(["/me/ways"] if signed_in else [])):
        assert "Club OpenID" not in (await browser.open(page)).response.text, page
    there, nowhere = await asked_for(early, browser, "openid"), await asked_for(early, browser, "nobody")
    assert there == nowhere
    assert {status for status, _, _ in there} == {404}
    assert not [line for line in await early.openid.log() if line["path"].endswith(("/authorize", "/token"))]


@pytest.mark.parametrize("what", ["logout", "deauthorize", "deletion", "notice"])
async def test_what_only_the_provider_may_tell_us_is_answered_to_others_as_if_it_were_none(
    early: House, what: str
) -> None:
    """A message without its proof tells nobody that there is such a provider, nor how it speaks (catalogue 52)."""
    sent = (
        {"data": {"logout_token": "x", "signed_request": "x"}},
        {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {"content": b"x=" + b"y" * 100_000, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    )
    async with early.client() as client:
        for body in sent:
            answers = [await client.post(f"/hooks/{name}/{what}", **body) for name in ("openid", "nowhere")]
            said = [(answer.status_code, {**answer.json(), "reference": ""}) for answer in answers]
            assert said[0] == said[1]
            assert said[0][0] == 404


async def test_a_tester_sees_it_marked_adds_it_and_signs_in_again_by_it(early: House) -> None:
    browser = await member(early, Role.TESTER)
    ways = await browser.open("/me/ways")
    assert "Only for testers for now" in ways.text
    await early.openid.order(persona="lucas")
    added = await browser.agree_upstream(await browser.press("provider=openid"))
    assert isinstance(added, Shown)
    assert (added.path, "done=added" in added.url) == ("/me/ways", True)
    again = await browser.open("/sign-in/again?next=/me&for=close")
    assert "Only for testers for now" in again.text
    back = await browser.choose("openid", "lucas")
    assert isinstance(back, Shown)
    assert back.path == "/me"
    # Signed out, the browser is anybody's.
    assert "Club OpenID" not in (await early.browser().open("/sign-in")).text


async def test_a_role_that_is_taken_on_the_way_leads_nowhere_and_links_nothing(early: House) -> None:
    browser = await member(early, Role.TESTER)
    ways = await browser.open("/me/ways")
    await early.openid.order(persona="lucas")
    form, pressed = ways.find("provider=openid")
    fields = [*form.fields, (pressed.name, pressed.value)]
    same = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
    left = await browser.send("POST", f"{ISSUER}{form.action}", data=fields, headers=same)
    there = await browser.send("GET", left.headers["refresh"].partition("url=")[2])
    await give(early, None)
    refused = await browser.open(there.headers["location"])
    assert isinstance(refused, Shown)
    assert (refused.status, refused.headings[0]) == (404, "This way to sign in is not available")
    assert "Club OpenID" not in refused.text
    (account,) = early.world.durable.tables.accounts  # type: ignore[attr-defined]
    assert [link.provider for link in await early.world.durable.accounts.links(account)] == ["facebook"]
    assert not [line for line in await early.openid.log() if line["path"].endswith("/token")]


async def test_what_is_for_admins_no_tester_sees(tmp_path: Path, sandboxes: Sandboxes) -> None:
    async with open_house(tmp_path, sandboxes, providers=FOR_ADMINS) as house:
        browser = await member(house, Role.TESTER)
        assert "Club OpenID" not in (await browser.open("/me/ways")).text
        await give(house, Role.ADMIN)
        assert "Only for admins for now" in (await browser.open("/me/ways")).text


async def test_who_runs_the_server_tries_it_without_a_role(early: House) -> None:
    """By the link that the command line prints, as with one in state test."""
    browser = early.browser()
    await early.openid.order(persona="ana")
    await browser.open(f"/trial?link={early.world.trials.links.make(ProviderId('openid'))}")
    shown = await browser.agree_upstream(await browser.press("Start the test"))
    assert isinstance(shown, Shown)
    assert shown.headings[0].endswith("went through")

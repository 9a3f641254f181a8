"""The share page over HTTP: what is displayed is what can be granted, and every button does what it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders import asked
from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, peek
from tests.web.desk import account_of, connect, member, tokens_of, wide_house

from broker.domain.claims import EMAIL
from broker.domain.client import SubjectType
from broker.domain.values import ClaimName, ClientId

FORUM = ClientId("forum")


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
def forum(house: House) -> Site:
    return house.site("forum")


@pytest.fixture
async def ana(house: House) -> Browser:
    return await member(house, "ana")


def change(house: House, **more: Any) -> None:
    """An admin changes the site while people use it."""
    clients: dict[ClientId, Any] = house.settings.clients  # type: ignore[assignment]
    clients[FORUM] = replace(clients[FORUM], **more)


async def told(end: Shown | Arrival, forum: Site) -> set[str]:
    """The names of what the site gets."""
    assert isinstance(end, Arrival), end.text[:300]
    return set(await forum.claims((await forum.redeem(end))["access_token"])) - {"sub", "email_verified"}


async def test_only_what_is_ticked_is_shared(house: House, forum: Site, ana: Browser) -> None:
    """Needed fields always, optional ones only by a tick, which starts off (catalogue 86, 135)."""
    shown = await ana.open(forum.request_url())
    assert [value for name, value in shown.forms[0].fields if name == "share"] == []
    assert await told(await ana.press("decision=share"), forum) == {"preferred_username"}
    await ana.open(forum.request_url(prompt="consent"))
    assert await told(await ana.press("decision=share", tick=("email",)), forum) == {"preferred_username", "email"}


async def test_a_claim_asked_by_name_is_shown_and_shared_like_the_others(forum: Site, ana: Browser) -> None:
    """OpenID Connect Core §5.5: it starts off, the page says what depends on it, and it goes where it was asked for."""
    wanted = json.dumps({"id_token": {"email": {"essential": True}}, "userinfo": {"name": None}})
    shown = await ana.open(forum.request_url(scope="openid", claims=wanted))
    assert [value for name, value in shown.forms[0].fields if name == "share"] == []
    assert shown.forms[0].boxes["share"] == ["name", "email"]
    assert shown.text.count("Without it, what you are about to do there may not work.") == 1
    end = await ana.press("decision=share", tick=("email", "name"))
    assert isinstance(end, Arrival), end.text[:300]
    tokens = await forum.redeem(end)
    claims = peek(tokens["id_token"])
    assert (claims["email"], claims["email_verified"]) == ("ana@mail.test", False)
    assert "name" not in claims
    assert set(await forum.claims(tokens["access_token"])) == {"sub", "name"}


async def test_a_site_that_insists_on_another_way_to_sign_in_hears_that_it_cannot_be(
    house: House, forum: Site, ana: Browser
) -> None:
    """After the person signed in anew, instead of for ever (OpenID Connect Core §5.5.1.1)."""
    await connect(ana, forum)
    wanted = json.dumps({"id_token": {"acr": {"essential": True, "value": "strong"}}})
    silent = await ana.go(forum.request_url(claims=wanted, prompt="none"))
    assert isinstance(silent, Arrival)
    assert silent.params["error"] == "login_required"
    zoe = house.browser()
    await zoe.sign_up(forum, user_name="zoe-of-claims")
    end = await zoe.sign_in(forum, url=forum.request_url(claims=wanted))
    assert isinstance(end, Arrival), end.text[:300]
    assert end.params["error"] == "unmet_authentication_requirements"


async def test_what_was_not_displayed_cannot_be_granted(house: House, forum: Site, ana: Browser) -> None:
    """A name added to the form by whoever sends it counts for nothing (catalogue 134)."""
    shown = await ana.open(forum.request_url())
    form, _ = shown.find("decision=share")
    for name in ("picture", "gender", "offline_access", "sub", "role"):
        form.fields.append(("share", name))
    assert await told(await ana.press("decision=share"), forum) == {"preferred_username"}


@pytest.mark.parametrize("kind", ["asks more", "another purpose", "another name", "now needed"])
async def test_what_changed_while_the_page_was_open_is_shown_before_it_counts(
    house: House, forum: Site, ana: Browser, kind: str
) -> None:
    """The page comes again, says so, and nothing was recorded (catalogue 134)."""
    asks = house.world.clients[FORUM].asks
    await ana.open(forum.request_url())
    changes: dict[str, dict[str, Any]] = {
        "asks more": {"asks": (*asks, asked(ClaimName("picture"), needed=True))},
        "another purpose": {"asks": (*asks[:2], asked(EMAIL, needed=False, why={"en": "to sell it"}))},
        "another name": {"name": "Forum of Somebody Else"},
        "now needed": {"asks": (*asks[:2], replace(asks[2], needed=True))},
    }
    change(house, **changes[kind])
    again = await ana.press("decision=share", tick=("email",))
    assert isinstance(again, Shown)
    assert again.status == 409
    assert again.path.endswith("/site")
    receipts = await house.world.durable.ledger.receipts(await account_of(house, "ana"))
    assert receipts == ()
    if kind != "asks more":
        assert "email" in await told(
            await ana.press("decision=share", tick=() if kind == "now needed" else ("email",)), forum
        )


async def test_refusing_needs_no_page_to_be_current(house: House, forum: Site, ana: Browser) -> None:
    await ana.open(forum.request_url())
    change(house, name="Forum of Somebody Else")
    end = await ana.press("decision=refuse")
    assert isinstance(end, Arrival)
    assert end.params["error"] == "access_denied"


async def test_keeping_is_for_those_who_share_something_already(house: House, forum: Site, ana: Browser) -> None:
    """Decision 13."""
    shown = await ana.open(forum.request_url())
    form, _ = shown.find("decision=share")
    answer = await ana.submit("post", ISSUER + form.action, [*form.fields, ("decision", "keep")])
    assert isinstance(answer, Shown)
    assert answer.status == 400
    await connect(ana, forum, tick=("name",))
    await ana.open(forum.request_url(prompt="consent"))
    assert await told(await ana.press("decision=keep"), forum) == {"preferred_username", "name"}
    assert await told(await ana.arrive(forum), forum) == {"preferred_username", "name"}


@pytest.mark.parametrize("decision", [[], [("decision", "")], [("decision", "everything")], [("decision", "SHARE")]])
async def test_no_decision_is_no_consent(
    house: House, forum: Site, ana: Browser, decision: list[tuple[str, str]]
) -> None:
    shown = await ana.open(forum.request_url())
    form, _ = shown.find("decision=share")
    answer = await ana.submit("post", ISSUER + form.action, [*form.fields, *decision])
    assert isinstance(answer, Shown)
    assert answer.status == 400
    assert await house.world.durable.ledger.receipts(await account_of(house, "ana")) == ()


async def test_a_form_from_elsewhere_decides_nothing(house: House, forum: Site, ana: Browser) -> None:
    """No token, another's token, another origin, a cross-site request (catalogue 97)."""
    shown = await ana.open(forum.request_url())
    form, _ = shown.find("decision=share")
    fields = [*form.fields, ("decision", "share")]
    without = [(name, value) for name, value in fields if name != "csrf"]
    ben = await member(house, "ben")
    theirs = (await ben.open(forum.request_url())).value("csrf")
    attempts: list[tuple[list[tuple[str, str]], dict[str, str]]] = [
        (without, {}),
        ([*without, ("csrf", theirs)], {}),
        (fields, {"Origin": "https://evil.test"}),
        (fields, {"Origin": "null"}),
        (fields, {"Sec-Fetch-Site": "cross-site"}),
        (fields, {"Sec-Fetch-Site": "same-site"}),
    ]
    for pairs, headers in attempts:
        answer = await ana.submit("post", ISSUER + form.action, pairs, headers=headers)
        assert isinstance(answer, Shown), headers
        assert answer.status == 403, headers
    assert await house.world.durable.ledger.receipts(await account_of(house, "ana")) == ()


async def test_a_needed_field_without_a_value_is_asked_for_on_the_page(house: House, forum: Site, ana: Browser) -> None:
    """And said beside it; what was ticked stays ticked."""
    nickname = ClaimName("nickname")
    change(house, asks=(asked(nickname, needed=True), house.world.clients[FORUM].asks[2]))
    await ana.open(forum.request_url())
    again = await ana.press("decision=share", tick=("email",))
    assert isinstance(again, Shown)
    assert (again.status, again.response.request.method) == (200, "GET")
    assert ("share", "email") in again.find("decision=share")[0].fields
    end = await ana.press("decision=share", fill={"v-nickname": "Nan"})
    assert await told(end, forum) == {"nickname", "email"}


async def test_the_page_is_for_who_is_signed_in_now(house: House, forum: Site, ana: Browser) -> None:
    """Signed out in between, it leads back to the beginning."""
    shown = await ana.open(forum.request_url())
    await house.world.sessions.sign_out_everywhere(await account_of(house, "ana"))
    assert (await ana.open(shown.url)).status == 410
    assert not isinstance(await ana.go(forum.request_url(prompt="none")), Shown)


async def test_a_page_without_a_waiting_site_is_over(house: House, ana: Browser) -> None:
    """A sign-in that nobody but the person asked for has nothing to share."""
    stranger = house.browser()
    shown = await stranger.open("/sign-in")
    answer = await stranger.open(shown.url.replace("/sign-in", "/site"))
    assert answer.status == 410


async def test_the_page_does_not_open_before_the_sign_in_that_was_asked_for(
    house: House, forum: Site, ana: Browser
) -> None:
    """`prompt=login` cannot be skipped by its address (catalogue 129)."""
    shown = await ana.open(forum.request_url(prompt="login"))
    assert shown.path.endswith("/sign-in")
    assert (await ana.open(shown.url.replace("/sign-in", "/site"))).status == 410


async def test_new_terms_come_before_a_decision_counts(house: House, forum: Site, ana: Browser) -> None:
    await ana.open(forum.request_url())
    durable = house.world.durable
    account = await durable.accounts.load(await account_of(house, "ana"))
    assert account is not None
    unit = durable.unit()
    unit.save_account(replace(account, agreed_notice="terms:1 privacy:1"))
    await unit.commit()
    shown = await ana.press("decision=share")
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/policy")
    assert await durable.ledger.receipts(account.id) == ()


async def test_a_site_that_runs_without_pkce_still_gets_people_here(house: House, ana: Browser) -> None:
    old = house.site("old")
    tokens = await tokens_of(ana, old)
    assert (await old.claims(tokens["access_token"]))["preferred_username"] == "ana"


@pytest.mark.parametrize(
    ("more", "heading", "words"),
    [
        ({}, "A private number for you", "Other sites get a different one."),
        ({"sector": "wiki.test"}, "A number for you", "The same one goes to The Wiki, a different one to other sites."),
        ({"subject_type": SubjectType.PUBLIC}, "A number for you", "Other sites may get the same one"),
    ],
)
async def test_the_page_says_who_else_knows_the_person_by_this_number(
    house: House, ana: Browser, forum: Site, more: dict[str, Any], heading: str, words: str
) -> None:
    """And it is so: the subjects are compared."""
    clients: dict[ClientId, Any] = house.settings.clients  # type: ignore[assignment]
    wiki = house.site("wiki")
    clients[ClientId("wiki")] = replace(clients[ClientId("wiki")], name="The Wiki")
    change(house, **more)
    page = await ana.open(forum.request_url())
    assert heading in page.text
    assert words in page.text
    arrival = await ana.press("decision=share", tick=("name", "email"))
    assert isinstance(arrival, Arrival)
    here = peek((await forum.redeem(arrival))["id_token"])["sub"]
    there = peek((await tokens_of(ana, wiki))["id_token"])["sub"]
    assert (here == there) is ("sector" in more)


async def test_closing_says_which_sites_cannot_be_told(house: House, ana: Browser, forum: Site) -> None:
    await connect(ana, forum)
    page = await ana.open("/me/close")
    assert "These sites are told that you are gone." in page.text
    assert "These sites cannot be told." not in page.text
    change(house, backchannel_logout_uri=None)
    page = await ana.open("/me/close")
    assert "These sites cannot be told." in page.text
    assert "These sites are told that you are gone." not in page.text

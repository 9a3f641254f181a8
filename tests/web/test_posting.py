"""Posting over HTTP: a site asks, the person decides, the sandbox networks show what reached them."""

from __future__ import annotations

import itertools
import re
import types
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
    peek,
)
from tests.support.network import Network

from broker.domain.consent import Purpose
from broker.domain.session import Session
from broker.domain.posting import Message, Posting, PostState
from broker.domain.values import AccountId, ClientId, ProviderId
from broker.flows import transactions
from broker.web.guards import Guard
from broker.web.routes import ROUTES, Route

POSTING_TOML = """
[facebook.posting]
kind = "facebook_share"

[openid.posting]
kind = "mastodon"
url = "%(openid_url)s/api/v1/statuses"
scopes = ["write:statuses"]
"""
TEXT = "Seed swap on Saturday 🍅\nBring a bag, שלום"
TOPIC = "https://forum.test/t/1"
_numbers = itertools.count()


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML + POSTING_TOML) as opened:
        yield opened


async def test_who_has_not_added_the_network_hears_what_to_add_and_finds_the_way_back(house: House) -> None:
    """Sharing there needs it as a way to sign in: a page says so, links to where it is added, and back to the topic."""
    ana = await Member.join(house, "facebook")
    refused = await ana.ask("openid")
    assert refused.json()["error"] == "posting_not_permitted", "the site hears one refusal for every reason"
    shown = await ana.browser.open(refused.json()["opt_in_url"])
    assert (shown.status, shown.headings[0]) == (403, "Add Club OpenID to your account first")
    assert "Nothing was posted." in shown.text
    assert ("Add a way to sign in", "/me/ways") in shown.links
    back = dict(shown.links)["Back to Forum"]
    assert back == f"{TOPIC}?posting=not_permitted"
    assert "Club OpenID" in (await ana.browser.open("/me/ways")).text


@pytest.mark.parametrize(("provider", "label"), [("facebook", "Facebook"), ("openid", "Club OpenID")])
async def test_who_signs_up_reads_of_the_network_that_they_came_by_that_posting_is_off(
    house: House, provider: str, label: str
) -> None:
    """And of no other: it is none of theirs."""
    browser = house.browser()
    await browser.open("/sign-in")
    await browser.choose(provider)
    finish = await browser.press("decision=continue")
    assert isinstance(finish, Shown)
    assert re.findall(r"Posting to (.+?) is off\.", finish.text) == [label]


class Member:
    """A person with an account, connected to the forum."""

    def __init__(self, house: House, browser: Browser, sub: str) -> None:
        self.house, self.browser, self.sub = house, browser, sub

    @classmethod
    async def join(cls, house: House, provider: str = "openid", persona: str | None = None) -> Member:
        browser, forum = house.browser(), house.site("forum")
        name = f"gardener-{next(_numbers)}"
        arrived = await browser.sign_up(forum, provider=provider, persona=persona, user_name=name)
        assert isinstance(arrived, Arrival)
        tokens = await forum.redeem(arrived)
        return cls(house, browser, peek(tokens["id_token"])["sub"])

    @property
    async def account(self) -> AccountId:
        session = await session_of(self)
        assert session is not None
        return session.account

    async def ask(self, provider: str = "openid", **changes: object) -> httpx2.Response:
        """What the forum's server sends about them."""
        body = {"sub": self.sub, "provider": provider, "text": TEXT, "url": TOPIC, "return_to": TOPIC} | changes
        return await ask(self.house, body)

    async def opt_in(self, provider: str = "openid") -> Arrival:
        """The whole way: the page, and the network's own question."""
        refused = await self.ask(provider)
        assert refused.status_code == 403, refused.text
        await self.browser.open(refused.json()["opt_in_url"])
        shown = await self.at_the_network("decision=allow")
        arrived = await self.browser.agree_upstream(shown)
        assert isinstance(arrived, Arrival), arrived.text[:500]
        return arrived

    async def at_the_network(self, button: str) -> Shown | Arrival:
        """Press it and, where the network asks who they are, say so there by hand: it asks about posting then."""
        await self.house.openid.order(persona=None)
        shown = await self.browser.press(button)
        if isinstance(shown, Shown) and "persona" in {one.name for form in shown.forms for one in form.buttons}:
            shown = await self.browser.press("persona=ana")
        return shown

    async def preview(self, provider: str = "openid", **changes: object) -> Shown:
        answer = await self.ask(provider, **changes)
        assert answer.status_code == 201, answer.text
        return await self.browser.open(answer.json()["continue_url"])


async def ask(house: House, body: object, **more: Any) -> httpx2.Response:
    async with house.client() as client:
        return await client.post("/posting/requests", json=body, headers=house.site("forum").auth, **more)


async def statuses(house: House) -> list[str]:
    """The texts that reached Sandbox Social."""
    return [status.text for status in house.openid.state.statuses.values()]


async def asked_scopes(house: House) -> list[set[str]]:
    """What every browser was sent upstream to allow."""
    found = []
    for sandbox in (house.openid, house.facebook):
        for entry in await sandbox.log():
            found += [set(text.replace(",", " ").split()) for text in _find(entry, "scope")]
    return found


def _find(entry: object, name: str) -> list[str]:
    if isinstance(entry, dict):
        own = [str(value) for key, value in entry.items() if key == name and isinstance(value, str)]
        return own + [text for value in entry.values() for text in _find(value, name)]
    if isinstance(entry, list):
        return [text for value in entry for text in _find(value, name)]
    return []


async def shown(going: Awaitable[Shown | Arrival]) -> Shown:
    """A page, where one is expected."""
    page = await going
    assert isinstance(page, Shown), page
    return page


async def is_on(member: Member) -> bool:
    return bool(await member.house.world.posting.switches(await member.account))


async def states(member: Member) -> list[str]:
    return [post.state.value for post in await member.house.world.posting.recent(await member.account)]


# --- a site asks --------------------------------------------------------------------------------------


async def test_a_site_hears_the_same_about_somebody_unknown_and_somebody_who_did_not_opt_in(house: House) -> None:
    """Apart from the sealed address of the opt-in page nothing differs (catalogue 189)."""
    ana = await Member.join(house)
    answers = [
        await ana.ask(),
        await ana.ask(sub="nobody"),
        await ana.ask(provider="nowhere"),
        await ana.ask(provider="facebook"),
        await ana.ask(sub="nobody", provider="nowhere"),
    ]
    bodies = [answer.json() for answer in answers]
    links = [body.pop("opt_in_url") for body in bodies]
    assert {answer.status_code for answer in answers} == {403}
    assert all(body == {"error": "posting_not_permitted", "error_description": "Posting is off."} for body in bodies)
    assert all(link.startswith(f"{ISSUER}/posting/opt-in?request=") for link in links)
    headers = [
        {name: value for name, value in answer.headers.items() if name != "content-length"} for answer in answers
    ]
    assert all(one == headers[0] for one in headers)
    assert ana.sub not in "".join(links)
    assert await statuses(house) == []


async def test_only_an_authenticated_site_can_ask(house: House) -> None:
    ana = await Member.join(house)
    body = {"sub": ana.sub, "provider": "openid", "text": TEXT, "url": TOPIC, "return_to": TOPIC}
    forum = house.site("forum")
    async with house.client() as client:
        for headers, more in (
            ({}, body),
            ({"Authorization": "Basic Zm9ydW06d3Jvbmc="}, body),
            ({"Authorization": "Bearer x"}, body),
            ({}, body | {"client_id": "forum", "client_secret": forum.secret}),
        ):
            answer = await client.post("/posting/requests", json=more, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_site_that_may_not_post_is_refused_like_any_other(house: House) -> None:
    """(catalogue 189)"""
    ana = await Member.join(house)
    await ana.opt_in()
    async with house.client() as client:
        body = {"sub": ana.sub, "provider": "openid", "text": TEXT, "return_to": "https://wiki.test/"}
        answer = await client.post("/posting/requests", json=body, headers=house.site("wiki").auth)
    assert (answer.status_code, answer.json()["error"]) == (403, "posting_not_permitted")


@pytest.mark.parametrize(
    "change",
    [
        {"text": 7}, {"text": None}, {"text": ""}, {"text": "a\x00b"}, {"text": "x" * 10_000}, {"sub": ""}, {"sub": "x" * 256},
        {"sub": ["a"]}, {"provider": None}, {"url": 7}, {"url": "javascript:alert(1)"}, {"return_to": "https://evil.test/"},
        {"return_to": "https://forum.test.evil.test/"}, {"return_to": "/t/1"}, {"return_to": None},
    ],
)  # fmt: skip
async def test_a_request_that_makes_no_sense_is_the_sites_mistake(house: House, change: dict[str, Any]) -> None:
    """(catalogue 195)"""
    ana = await Member.join(house)
    answer = await ana.ask(**change)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b'{"text": "\\ud800"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b"sub=x&provider=openid", "application/x-www-form-urlencoded", 400),
        (b"{}", "text/plain", 400),
        (b'{"text": "' + b"x" * 70_000 + b'"}', "application/json", 413),
    ],
    ids=["empty", "cut off", "a list", "a text", "half a character", "no text", "deep", "a form", "plain", "too large"],
)
async def test_a_body_that_cannot_be_read_is_refused(house: House, content: bytes, kind: str, status: int) -> None:
    headers = house.site("forum").auth | {"Content-Type": kind}
    async with house.client() as client:
        answer = await client.post("/posting/requests", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_a_site_that_asks_too_often_is_told_when_to_come_back(house: House) -> None:
    """Whether there is such a person or not (catalogue 195)."""
    limit = 3 * house.settings.broker.limits.posts_per_hour
    for _ in range(limit):
        assert (
            await ask(house, {"sub": "nobody", "provider": "openid", "text": "x", "return_to": TOPIC})
        ).status_code == 403
    answer = await ask(house, {"sub": "nobody", "provider": "openid", "text": "x", "return_to": TOPIC})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_what_is_logged_about_a_request_names_nobody(house: House) -> None:
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    await ana.ask("facebook")
    for secret in (ana.sub, "Seed swap", "forum.test/t/1"):
        assert secret not in house.log


# --- opting in ----------------------------------------------------------------------------------------


async def test_posting_is_asked_for_on_a_page_of_its_own_and_nothing_is_ticked(house: House) -> None:
    """Yes and no are buttons of the same weight; there is no box to be ticked beforehand."""
    ana = await Member.join(house)
    page = await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    assert page.path == "/posting/opt-in"
    (form,) = [form for form in page.forms if form.action == "/posting/opt-in"]
    assert form.boxes == {}
    assert [button.value for button in form.buttons] == ["allow", "refuse"]
    assert 'class="actions equal"' in page.response.text
    assert not await is_on(ana)


async def test_posting_through_a_network_from_beginning_to_end(house: House) -> None:
    """Refused, opted in, previewed, posted, taken back: and each step where the person said so (catalogue 189, 191)."""
    ana = await Member.join(house)
    before = await asked_scopes(house)
    assert before
    assert not any("write:statuses" in scopes for scopes in before)

    arrived = await ana.opt_in()
    assert arrived.url == f"{TOPIC}?posting=allowed"
    assert next(scopes for scopes in await asked_scopes(house) if "write:statuses" in scopes) == {
        "openid",
        "write:statuses",
    }
    assert await is_on(ana)
    assert await statuses(house) == []

    answer = await ana.ask()
    assert answer.json()["outcome"] == "asked"
    page = await ana.browser.open(answer.json()["continue_url"])
    assert page.headings[0] == "Post this to Club OpenID?"
    quoted = page.response.text.partition("<blockquote")[2].partition("</blockquote>")[0]
    assert TEXT in quoted
    assert TOPIC in quoted
    form, _ = page.find("decision=post")
    assert [button.value for button in form.buttons] == ["post", "dont"]
    assert await statuses(house) == []

    posted = await ana.browser.press("decision=post")
    assert isinstance(posted, Shown)
    assert posted.headings[0] == "Posted"
    assert "See it there" in posted.text
    assert await statuses(house) == [f"{TEXT}\n\n{TOPIC}"]
    assert f"{TOPIC}?posting=posted" in {url for _, url in posted.links}

    gone = await ana.browser.press("Delete there")
    assert isinstance(gone, Shown)
    assert gone.headings[0] == "Deleted"
    assert "See it there" not in gone.text
    assert f"{TOPIC}?posting=undone" in {url for _, url in gone.links}
    assert await statuses(house) == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_every_database_keeps_what_was_decided(
    tmp_path: Path, sandboxes: Sandboxes, database: str, request: pytest.FixtureRequest
) -> None:
    """Opted in, posted, taken back, turned off, opted in again, and closed, on real databases (catalogue 189, 194)."""
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else f"sqlite:///{tmp_path}/house.db"
    async with open_house(tmp_path, sandboxes, providers=PROVIDERS_TOML + POSTING_TOML, database_url=url) as house:
        ana = await Member.join(house)
        account = await ana.account
        for _ in range(2):
            await ana.opt_in()
            await ana.preview()
            await ana.browser.press("decision=post")
            assert await statuses(house) == [f"{TEXT}\n\n{TOPIC}"]
            await ana.browser.press("Delete there")
            assert await statuses(house) == []
            await ana.preview()
            await ana.browser.open("/me/posting")
            await ana.browser.press("Turn off")
            assert not await house.world.durable.vault.holds(account, ProviderId("openid"))
            assert (await ana.ask()).status_code == 403
        assert sorted(await states(ana)) == ["cancelled", "cancelled", "undone", "undone"]
        receipts = await house.world.durable.ledger.receipts(account, Purpose.POST_UPSTREAM)
        assert [(one.counterparty, bool(one.accepted), one.withdraws is not None) for one in receipts] == 2 * [
            ("openid/forum", True, False), ("post:openid/forum", True, False), ("openid/forum", False, True),
        ]  # fmt: skip
        await ana.opt_in()
        await ana.preview()
        await ana.browser.open("/me/close")
        await ana.browser.press("decision=close")
        assert not await house.world.durable.vault.holds(account, ProviderId("openid"))
        assert await house.world.durable.postings.recent(account) == ()
        assert await house.world.durable.postings.account_of(ClientId("forum"), ana.sub) is None
        await house.opened.deliverer.once()
        held = [token for token in house.openid.state.tokens.values() if "write:statuses" in token.scopes]
        assert len(held) >= 3
        assert all(token.revoked for token in held)


async def test_leaving_it_off_is_recorded_and_the_person_is_back_where_they_were(house: House) -> None:
    ana = await Member.join(house)
    await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    arrived = await ana.browser.press("decision=refuse")
    assert isinstance(arrived, Arrival)
    assert arrived.url == f"{TOPIC}?posting=not_permitted"
    receipts = await house.world.durable.ledger.receipts(await ana.account, Purpose.POST_UPSTREAM)
    assert [(bool(one.accepted), one.denied) for one in receipts] == [(False, True)]
    assert (await ana.ask()).status_code == 403


async def test_saying_no_at_the_network_leaves_posting_off(house: House) -> None:
    """And is recorded as a refusal (catalogue 189)."""
    ana = await Member.join(house)
    await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    shown = await ana.at_the_network("decision=allow")
    assert isinstance(shown, Shown)
    assert "May post statuses in your name" in shown.text
    arrived = await ana.browser.press("Cancel")
    assert isinstance(arrived, Arrival), arrived.text
    assert arrived.url == f"{TOPIC}?posting=not_permitted"
    assert not await is_on(ana)
    assert not await house.world.durable.vault.holds(await ana.account, ProviderId("openid"))
    receipts = await house.world.durable.ledger.receipts(await ana.account, Purpose.POST_UPSTREAM)
    assert [(bool(one.accepted), one.denied) for one in receipts] == [(False, True)]


async def test_opting_in_needs_a_fresh_sign_in_and_goes_on_from_there(house: House) -> None:
    ana = await Member.join(house)
    link = (await ana.ask()).json()["opt_in_url"]
    await house.move(minutes=6)
    page = await ana.browser.open(link)
    assert page.path.endswith("/sign-in")
    assert "Sign in again to change posting" in page.text
    assert (await shown(ana.browser.choose("openid"))).path == "/posting/opt-in"

    await house.move(minutes=6)
    stale = await ana.browser.press("decision=allow")
    assert isinstance(stale, Shown)
    assert stale.headings[0] == "Sign in again to change posting"
    assert (await shown(ana.browser.choose("openid"))).path == "/posting/opt-in"
    assert not await is_on(ana)


async def test_who_is_signed_out_comes_back_to_the_page_they_opened(house: House) -> None:
    ana = await Member.join(house)
    link = (await ana.ask()).json()["opt_in_url"]
    ana.browser = house.browser()
    page = await ana.browser.open(link)
    assert page.path.endswith("/sign-in")
    assert (await shown(ana.browser.choose("openid"))).path == "/posting/opt-in"
    await ana.opt_in()

    answer = await ana.ask()
    ana.browser = house.browser()
    await ana.browser.open(answer.json()["continue_url"])
    page = await shown(ana.browser.choose("openid"))
    assert page.path == urlsplit(answer.json()["continue_url"]).path
    assert page.headings[0].startswith("Post this")


async def test_the_opt_in_page_goes_on_in_the_language_that_is_chosen_there(house: House) -> None:
    ana = await Member.join(house)
    asked = await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    page = await ana.browser.open(dict(asked.links)["Français"])
    assert (page.status, page.url) == (200, asked.url)
    assert '<html lang="fr"' in page.response.text
    answer = await ana.browser.press("decision=allow")
    assert isinstance(answer, Arrival)
    assert answer.params["posting"] == "allowed"


@pytest.mark.parametrize("request_", ["", "x", "e30", "A" * 200])
async def test_nobody_but_us_makes_an_opt_in_page(house: House, request_: str) -> None:
    ana = await Member.join(house)
    page = await ana.browser.open(f"/posting/opt-in?request={request_}")
    assert page.status == 400
    sealed = house.world.box.seal_text('["forum","openid","https://evil.test/"]', "another purpose")
    assert (await ana.browser.open(f"/posting/opt-in?request={sealed}")).status == 400
    token = await form_token(ana)
    fields = [("csrf", token), ("request", request_), ("decision", "allow")]
    answer = await ana.browser.submit("post", f"{ISSUER}/posting/opt-in", fields)
    assert isinstance(answer, Shown)
    assert answer.status == 400
    assert not await is_on(ana)


async def session_of(member: Member) -> Session | None:
    """The session of their browser."""
    cookie = "; ".join(f"{name}={value}" for name, value in member.browser.cookies.items())
    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})
    secret = member.house.world.cookies.session_secret(request)
    return await member.house.world.sessions.load(secret) if secret is not None else None


async def form_token(member: Member) -> str:
    """What the forms of their pages carry."""
    session = await session_of(member)
    assert session is not None
    return member.house.world.cookies.form_token(f"s:{session.sid}")


async def test_a_yes_counts_for_the_network_it_was_asked_for_only(house: House) -> None:
    """Whoever wanders to another provider on the way allows nothing at all (catalogue 189)."""
    ana = await Member.join(house)
    await ana.browser.open("/me/ways")
    await house.facebook.order(persona="normal")
    await ana.browser.agree_upstream(await ana.browser.press("provider=facebook"))
    await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    before = set(ana.browser.cookies)
    await ana.at_the_network("decision=allow")
    (transaction,) = {name.partition("tx_")[2] for name in set(ana.browser.cookies) - before}
    back = await ana.browser.open(f"/f/{transaction}/sign-in")
    assert back.path == "/posting/opt-in", "its chooser is the page that asked"
    fields = [("csrf", house.world.cookies.form_token(f"f:{transaction}")), ("provider", "facebook")]
    page = await ana.browser.submit("post", f"{ISSUER}/f/{transaction}/sign-in", fields)
    assert isinstance(page, Shown)
    assert page.path == "/posting/opt-in", "nor does a form sent by hand choose another"
    assert not await is_on(ana)
    assert not await house.world.durable.vault.holds(await ana.account, ProviderId("facebook"))


async def test_only_ones_own_identity_can_be_posted_with(house: House) -> None:
    """Somebody else who is signed in at the network allows nothing for this account (catalogue 189)."""
    ana = await Member.join(house, persona="ana")
    await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    other = next(slug for slug in house.openid.state.people if slug != "ana")
    await house.openid.order(persona=other)
    page = await ana.browser.press("decision=allow")
    assert isinstance(page, Shown)
    assert page.status == 409
    assert not await is_on(ana)
    assert given_for_posting(house) == [True], "and what they granted there is taken back"


async def test_a_yes_that_another_request_took_leaves_nothing_at_the_network(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that come with one transaction, one wins (catalogue 177)."""
    monkeypatch.setattr(transactions, "MAX_COOKIE", 0)  # it lies in the store, where one of them takes it
    ana = await Member.join(house)
    await ana.browser.open((await ana.ask()).json()["opt_in_url"])
    redeem = type(house.world.box).finish

    async def taken(box: Any, carried: Any) -> None:
        await box.store.delete(carried.transaction.id)
        await redeem(box, carried)

    monkeypatch.setattr(type(house.world.box), "finish", taken)
    await ana.browser.press("decision=allow")
    assert not await is_on(ana)
    assert given_for_posting(house) == [True]


def given_for_posting(house: House) -> list[bool]:
    """Whether each token that the network gave for posting was taken back."""
    return [token.revoked for token in house.openid.state.tokens.values() if "write:statuses" in token.scopes]


# --- one post -----------------------------------------------------------------------------------------


async def test_a_post_that_waits_is_found_again_under_my_account(house: House) -> None:
    """Whoever left its page unanswered gets back to it, until it is decided."""
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    mine = await ana.browser.open("/me/posting")
    (there,) = [url for words, url in mine.links if words.startswith("Look at it and decide")]
    page = await ana.browser.open(there)
    assert page.headings[0].startswith("Post this to")
    arrived = await ana.browser.press("decision=dont")
    assert isinstance(arrived, Arrival)
    decided = await ana.browser.open("/me/posting")
    assert "Not posted: you said no." in decided.text
    assert not [words for words, _ in decided.links if words.startswith("Look at it and decide")]


async def test_do_not_post_posts_nothing(house: House) -> None:
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    arrived = await ana.browser.press("decision=dont")
    assert isinstance(arrived, Arrival)
    assert arrived.url == f"{TOPIC}?posting=declined"
    assert await statuses(house) == []
    assert await states(ana) == ["declined"]


@pytest.mark.parametrize(
    "text", ["👩🏽‍🚀 🏳️‍🌈", "\u200fשלום, مرحبا\u200e", "@ben #tag <b>&amp;</b> https://example.org", "  two  blanks  "]
)
async def test_a_text_arrives_as_it_was_asked_and_shown(house: House, text: str) -> None:
    """(catalogue 191, 195)"""
    from html import unescape

    ana = await Member.join(house)
    await ana.opt_in()
    page = await ana.preview(text=text, url=None)
    assert text in unescape(page.response.text.partition("<blockquote")[2].partition("</blockquote>")[0])
    await ana.browser.press("decision=post")
    assert await statuses(house) == [text]


async def test_pressing_post_twice_posts_once(house: House) -> None:
    """(catalogue 192)"""
    ana = await Member.join(house)
    await ana.opt_in()
    preview = await ana.preview()
    await ana.browser.press("decision=post")
    ana.browser.shown = preview
    again = await ana.browser.press("decision=post")
    assert isinstance(again, Shown)
    assert again.headings[0] == "Posted"
    assert len(await statuses(house)) == 1


async def test_a_form_that_shows_something_else_posts_nothing(house: House) -> None:
    """(catalogue 191)"""
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    answer = await ana.browser.press("decision=post", fill={"shown": Message(text="something else").digest})
    assert isinstance(answer, Shown)
    assert answer.status == 403
    assert await statuses(house) == []
    assert await states(ana) == ["asked"]


@pytest.mark.parametrize("decision", ["", "yes", "allow"])
async def test_no_decision_is_no_decision(house: House, decision: str) -> None:
    ana = await Member.join(house)
    await ana.opt_in()
    page = await ana.preview()
    form, _ = page.find("decision=post")
    answer = await ana.browser.submit("post", f"{ISSUER}{form.action}", [*form.fields, ("decision", decision)])
    assert isinstance(answer, Shown)
    assert answer.status == 400
    assert await states(ana) == ["asked"]
    assert await statuses(house) == []


async def test_nobody_sees_or_decides_another_persons_post(house: House) -> None:
    ana, ben = await Member.join(house, persona="ana"), await Member.join(house, provider="facebook")
    await ana.opt_in()
    page = await ana.preview()
    form, _ = page.find("decision=post")
    seen = await ben.browser.open(page.url)
    assert seen.status == 404
    assert "Seed swap" not in seen.response.text
    token = await form_token(ben)
    for path in (form.action, f"{form.action}/undo"):
        fields = [("csrf", token), ("shown", page.value("shown")), ("decision", "post")]
        answer = await ben.browser.submit("post", f"{ISSUER}{path}", fields)
        assert isinstance(answer, Shown)
        assert answer.status == 404
    assert await statuses(house) == []


@pytest.mark.parametrize(
    ("fault", "heading", "kept", "stays_on"),
    [
        ("post-revoked", "Not posted: they refused it", 0, False),
        ("post-forbidden", "Not posted: they refused it", 0, False),
        ("post-rate-limited", "Not posted: they refused it", 0, True),
        ("post-duplicate", "Not posted: they refused it", 0, True),
        ("post-accept-then-500", "Not known: they did not answer. Look there before you try again", 1, True),
    ],
)
async def test_what_the_network_answers_is_said_and_never_tried_again(
    house: House, fault: str, heading: str, kept: int, stays_on: bool
) -> None:
    """A permission that ended there turns posting off here (catalogue 192, 193)."""
    ana = await Member.join(house)
    await ana.opt_in()
    preview = await ana.preview()
    await house.openid.order(fault={"name": fault})
    page = await ana.browser.press("decision=post")
    assert isinstance(page, Shown)
    assert page.headings[0] == heading
    assert ("no longer lets us post for you" in page.text) is not stays_on
    assert await is_on(ana) is stays_on
    assert await house.world.durable.vault.holds(await ana.account, ProviderId("openid")) is stays_on
    await house.openid.order(faults=[])
    ana.browser.shown = preview
    again = await ana.browser.press("decision=post")
    assert isinstance(again, Shown)
    assert again.headings[0] == heading
    assert len(await statuses(house)) == kept
    assert (await ana.ask()).status_code == (201 if stays_on else 403)


async def test_a_person_posts_only_so_often(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """(catalogue 195)"""
    few = DOORWARD_TOML.replace("[limits]", "[limits]\nposts_per_hour = 2")
    async with open_house(tmp_path, sandboxes, doorward=few, providers=PROVIDERS_TOML + POSTING_TOML) as house:
        ana = await Member.join(house)
        await ana.opt_in()
        for _ in range(2):
            await ana.preview()
            await ana.browser.press("decision=post")
        await ana.preview()
        page = await ana.browser.press("decision=post")
        assert isinstance(page, Shown)
        assert page.status == 429
        assert len(await statuses(house)) == 2


# --- the network's own window -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("button", "outcome", "state"),
    [("action=share", "needs_person", "needs_person"), ("action=cancel", "declined", "cancelled")],
)
async def test_only_the_person_shares_in_facebooks_window(house: House, button: str, outcome: str, state: str) -> None:
    ana = await Member.join(house, provider="facebook")
    before = await asked_scopes(house)
    arrived = await ana.opt_in("facebook")
    assert arrived.url == f"{TOPIC}?posting=allowed"
    assert await asked_scopes(house) == before, "a network without a permission is not asked for one"
    answer = await ana.ask("facebook")
    assert answer.json()["outcome"] == "needs_person"
    page = await ana.browser.open(answer.json()["continue_url"])
    assert page.headings[0] == "Share this link on Facebook?"
    assert "We can't post for you there." in page.text
    assert "Only the link goes along." in page.text
    window = await ana.browser.press("decision=post")
    assert isinstance(window, Shown)
    assert window.url.startswith(house.facebook.url)
    assert "Seed swap" not in window.url + window.text, "as the page said"
    assert await states(ana) == ["needs_person"]
    back = await ana.browser.press(button)
    assert isinstance(back, Arrival)
    assert urlsplit(back.url)._replace(fragment="").geturl() == f"{TOPIC}?posting={outcome}"
    assert await states(ana) == [state]
    assert not await house.world.durable.vault.holds(await ana.account, ProviderId("facebook"))


async def test_the_way_back_from_the_window_cannot_be_guessed_by_the_site(house: House) -> None:
    ana = await Member.join(house, provider="facebook")
    await ana.opt_in("facebook")
    page = await ana.preview("facebook")
    await ana.browser.press("decision=post")
    for query in ("", "?error_code=4201", "?key=x&error_code=4201"):
        assert (await ana.browser.open(f"{page.url}/returned{query}")).status == 404
    assert await states(ana) == ["needs_person"]


# --- my account ---------------------------------------------------------------------------------------


async def test_my_account_says_posting_is_off_until_it_is_on(house: House) -> None:
    ana = await Member.join(house)
    page = await ana.browser.open("/me/posting")
    assert "Posting is off." in page.text
    await ana.opt_in()
    page = await ana.browser.open("/me/posting")
    assert "Forum to Club OpenID" in page.text
    assert [form.action for form in page.forms if "posting" in form.action] == ["/me/posting/off"]


async def test_turning_off_revokes_there_and_cancels_what_waits(house: House) -> None:
    """(catalogue 194)"""
    ana = await Member.join(house)
    await ana.opt_in()
    preview = await ana.preview()
    await ana.browser.open("/me/posting")
    page = await ana.browser.press("Turn off")
    assert isinstance(page, Shown)
    assert "Posting is off for that site." in page.text
    assert await states(ana) == ["cancelled"]
    await house.opened.deliverer.once()
    held = [token for token in house.openid.state.tokens.values() if "write:statuses" in token.scopes]
    assert held
    assert all(token.revoked for token in held)
    ana.browser.shown = preview
    late = await ana.browser.press("decision=post")
    assert isinstance(late, Shown)
    assert late.headings[0] == "Not posted: it was cancelled"
    assert await statuses(house) == []
    assert (await ana.ask()).status_code == 403


@pytest.mark.parametrize("odd", ["", "\x00", "a\x00b", "x" * 3000, "🍅"])
async def test_turning_off_what_does_not_exist_changes_nothing(
    tmp_path: Path, sandboxes: Sandboxes, postgres_url: str, odd: str
) -> None:
    """Whatever the form says: nothing of it reaches the database, which could not hold some of it."""
    providers = PROVIDERS_TOML + POSTING_TOML
    async with open_house(tmp_path, sandboxes, providers=providers, database_url=postgres_url) as house:
        ana = await Member.join(house)
        fields = [("csrf", await form_token(ana)), ("provider", odd), ("client", odd)]
        page = await ana.browser.submit("post", f"{ISSUER}/me/posting/off", fields)
        assert isinstance(page, Shown)
        assert (page.path, page.status) == ("/me/posting", 200)
        assert (await ana.ask(provider=odd)).status_code == 403
        assert await house.world.durable.ledger.receipts(await ana.account, Purpose.POST_UPSTREAM) == ()


async def test_an_old_post_is_deleted_from_my_account(house: House) -> None:
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    await ana.browser.press("decision=post")
    await ana.browser.open("/me/posting")
    page = await ana.browser.press("Delete there")
    assert isinstance(page, Shown)
    assert page.path == "/me/posting"
    assert "The post was deleted." in page.text
    assert await statuses(house) == []


async def test_a_post_that_cannot_be_deleted_from_here_is_said_so(house: House) -> None:
    ana = await Member.join(house)
    await ana.opt_in()
    await ana.preview()
    await ana.browser.press("decision=post")
    await house.openid.order(fault={"name": "post-forbidden"})
    page = await ana.browser.press("Delete there")
    assert isinstance(page, Shown)
    assert "could not be deleted from here" in page.text
    assert len(await statuses(house)) == 1
    assert await states(ana) == ["posted"]


@pytest.mark.parametrize("end", ["close", "disconnect"])
async def test_closing_and_disconnecting_end_posting_there_too(house: House, end: str) -> None:
    """(catalogue 194)"""
    ana = await Member.join(house)
    await ana.opt_in()
    answer = await ana.ask()
    await ana.browser.open("/me/close" if end == "close" else "/me/sites")
    await ana.browser.press("decision=close" if end == "close" else "Disconnect")
    await house.opened.deliverer.once()
    held = [token for token in house.openid.state.tokens.values() if "write:statuses" in token.scopes]
    assert held
    assert all(token.revoked for token in held)
    assert (await ana.ask()).status_code == 403
    page = await ana.browser.open(answer.json()["continue_url"])
    assert not any(button.value == "post" for form in page.forms for button in form.buttons)
    assert await statuses(house) == []


async def test_where_posting_is_switched_off_nobody_can_turn_it_on(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The broker's own switch: no publisher is made, whatever the providers' tables say (catalogue 189)."""
    providers = PROVIDERS_TOML + POSTING_TOML
    async with open_house(tmp_path, sandboxes, providers=providers, change={"posting_enabled": False}) as house:
        ana = await Member.join(house)
        assert house.world.posting.networks == ()
        refused = await ana.ask()
        assert (refused.status_code, refused.json()["error"]) == (403, "posting_not_permitted")
        assert (await ana.browser.open(refused.json()["opt_in_url"])).status == 403
        assert "Posting is switched off for everybody here." in (await ana.browser.open("/me/posting")).text


# --- no way round -------------------------------------------------------------------------------------


def _inner(app: Any) -> Starlette:
    while not isinstance(app, Starlette):
        app = app._app
    return app


@pytest.fixture
def networks(house: House) -> Iterator[dict[ProviderId, Network]]:
    """The house with recording networks instead of the sandbox ones, and everything else as it is."""
    made = {
        ProviderId("openid"): Network(house.clock, provider=ProviderId("openid")),
        ProviderId("facebook"): Network(house.clock, provider=ProviderId("facebook"), scopes=(), needs_person=True),
    }
    state = _inner(house.app).state
    state.world = replace(house.world, posting=replace(house.world.posting, publishers=made))
    yield made
    state.world = house.world


async def waiting_without_opt_in(house: House, account: AccountId, provider: str) -> Posting:
    """A posting that lies in the store although nobody opted in: as if an earlier lock had failed."""
    now = house.clock.now()
    posting = Posting(
        id=f"waiting-{next(_numbers)}",
        account=account,
        provider=ProviderId(provider),
        client=ClientId("forum"),
        message=Message(text=TEXT, url=TOPIC, return_url=f"{ISSUER}/x?key=known", idempotency_key="k"),
        return_to=TOPIC,
        state=PostState.ASKED,
        created_at=now,
        expires_at=now + timedelta(minutes=30),
    )
    unit = house.world.durable.unit()
    unit.add_posting(posting)
    await unit.commit()
    return posting


def _fill(path: str, **ids: str) -> str:
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    return path


OPENS_NOTHING = [route for route in ROUTES if not (route.path == "/posting/opt-in" and route.method == "POST")]
"""Every route but the one yes that opts in: that one is pressed in a walk of its own."""


async def test_no_route_posts_for_a_person_who_did_not_opt_in(
    house: House, networks: dict[ProviderId, Network]
) -> None:
    """Every route as a signed-in person with every decision there is, and a post of theirs lying in the store
    (catalogue 189).
    """
    ends = {"/me/close", "/signout", "/me/ways/remove", "/me/devices/end"}
    walked = set()
    member = await Member.join(house)
    for route in sorted(OPENS_NOTHING, key=lambda route: route.path in ends):
        for provider in ("openid", "facebook"):
            if not await house.accounts():
                member = await Member.join(house)
            elif await session_of(member) is None:
                member.browser = house.browser()
                await member.browser.sign_in(provider="openid")
            posting = await waiting_without_opt_in(house, await member.account, provider)
            for decision in ("post", "allow", "share", "continue", "create", "agree"):
                await _try(member, route, posting, provider, decision)
        walked.add((route.method, route.path))
    assert walked == {(route.method, route.path) for route in OPENS_NOTHING}
    assert networks[ProviderId("openid")].sent == []
    assert networks[ProviderId("facebook")].sent == []
    assert await statuses(house) == []
    assert not any("write:statuses" in scopes for scopes in await asked_scopes(house))


async def _try(member: Member, route: Route, posting: Posting, provider: str, decision: str) -> None:
    house, browser = member.house, member.browser
    session = await session_of(member)
    if session is None:
        return
    transaction = "none"
    if route.guard is Guard.TRANSACTION:
        request = house.site("forum").request_url(prompt="login")
        answer = await browser.send("GET", request)
        transaction = urlsplit(answer.headers["location"]).path.split("/")[2]
    ids = {"provider": provider, "id": transaction if route.guard is Guard.TRANSACTION else posting.id}
    url = f"{ISSUER}{_fill(route.path, **ids)}"
    binding = f"f:{transaction}" if route.guard is Guard.TRANSACTION else f"s:{session.sid}"
    fields = {
        "csrf": house.world.cookies.form_token(binding), "decision": decision, "shown": posting.message.digest,
        "provider": provider, "client": "forum", "what": "everything", "claim": "name", "newsletter": "club",
        "key": "known", "error_code": "", "all": "1", "use": "current", "text": TEXT, "url": TOPIC,
    }  # fmt: skip
    if route.method == "GET":
        await browser.send(
            "GET", str(httpx2.URL(url, params={"key": "known", "provider": provider, "client": "forum"}))
        )
    else:
        same = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
        await browser.send("POST", url, data=list(fields.items()), headers=same)


async def test_no_route_posts_for_a_site_or_a_token(house: House, networks: dict[ProviderId, Network]) -> None:
    """Every route with the site's credentials, as form and as JSON, and with an access token (catalogue 189)."""
    browser, forum = house.browser(), house.site("forum")
    arrived = await browser.sign_up(forum, provider="openid", user_name="ana")
    assert isinstance(arrived, Arrival)
    tokens = await forum.redeem(arrived)
    sub = peek(tokens["id_token"])["sub"]
    account = next(iter(house.world.durable.tables.accounts))  # type: ignore[attr-defined]
    body = {
        "sub": sub, "provider": "openid", "text": TEXT, "url": TOPIC, "return_to": TOPIC, "decision": "post",
        "account": account, "client": "forum", "opt_in": "true", "token": tokens["access_token"], "grant_type": "client_credentials",
        "scope": "openid write:statuses posting",
    }  # fmt: skip
    async with house.client() as client:
        for route in ROUTES:
            posting = await waiting_without_opt_in(house, account, "openid")
            url = _fill(route.path, id=posting.id, provider="openid")
            shown = body | {"shown": posting.message.digest, "id": posting.id}
            for auth in (forum.auth, {"Authorization": f"Bearer {tokens['access_token']}"}):
                if route.method == "GET":
                    answers = [await client.get(url, headers=auth, params={"sub": sub, "provider": "openid"})]
                else:
                    answers = [
                        await client.post(url, headers=auth, data=shown),
                        await client.post(url, headers=auth, json=shown),
                    ]
                assert all(answer.status_code < 500 for answer in answers), (route.method, route.path)
    assert networks[ProviderId("openid")].sent == []
    assert networks[ProviderId("facebook")].sent == []
    assert await house.world.durable.ledger.receipts(account, Purpose.POST_UPSTREAM) == ()
    assert not any("write:statuses" in scopes for scopes in await asked_scopes(house))


async def test_the_recording_networks_do_record(house: House, networks: dict[ProviderId, Network]) -> None:
    """The walks would see a post: the same house posts once somebody opted in."""
    ana = await Member.join(house, provider="facebook")
    await ana.opt_in("facebook")
    await ana.preview("facebook")
    await ana.browser.send("GET", ISSUER)
    form, _ = ana.browser.page.find("decision=post")
    await ana.browser.send(
        "POST",
        f"{ISSUER}{form.action}",
        data=[*form.fields, ("decision", "post")],
        headers={"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"},
    )
    assert [one.message.text for one in networks[ProviderId("facebook")].sent] == [TEXT]


_HOLDERS = (dict, types.MappingProxyType, list, tuple, set, types.MethodType, types.FunctionType, types.CellType)


def _is_ours(item: object) -> bool:
    """Objects of our own classes, and what holds others: libraries' insides lead nowhere of ours but through these."""
    module = type(item).__module__.partition(".")[0]
    return isinstance(item, _HOLDERS) or (module in {"broker", "providers"} and not isinstance(item, type))


def reachable(root: object) -> Iterator[tuple[str, object]]:
    """Every attribute and item that can be reached from an object without calling anything, with its path."""
    seen: set[int] = set()
    todo: deque[tuple[str, object]] = deque([(type(root).__name__, root)])
    kept: list[object] = []
    while todo:
        path, item = todo.popleft()
        if id(item) in seen or not _is_ours(item):
            continue
        seen.add(id(item))
        kept.append(item)
        if isinstance(item, dict | types.MappingProxyType):
            todo += [(f"{path}[{key!r}]", value) for key, value in item.items()]
        elif isinstance(item, list | tuple | set):
            todo += [(f"{path}[]", value) for value in item]
        for name in dir(item):
            if name.startswith("__") and name not in {"__self__", "__wrapped__", "__closure__", "cell_contents"}:
                continue
            try:
                value = getattr(item, name)
            except Exception:  # a property that is not to be had now
                continue
            yield f"{path}.{name}", value
            todo.append((f"{path}.{name}", value))


async def test_nothing_reachable_from_a_provider_can_publish(house: House) -> None:
    """Holding a provider gives no way to post (lock 5; catalogue 189)."""
    for provider in house.world.providers.values():
        found = [(path, value) for path, value in reachable(provider)]
        assert len(found) > 100
        names = {path.rpartition(".")[2] for path, _ in found}
        assert "authorization_url" in names
        assert not names & {"publish", "undo", "post_status", "publishers"}
        assert not [path for path, value in found if callable(getattr(value, "publish", None))]
    assert any(path.endswith(".publish") for path, _ in reachable(house.world.posting))

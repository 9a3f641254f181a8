"""Every state that is not the good one: reached over HTTP, said in words, with a way out and a reference that finds
the log line.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from tests.support.house import ISSUER, House, Shown
from tests.web.desk import member

from broker.domain.account import AccountStatus
from broker.errors import BrokerError, Conflict, InteractionError, ProtocolError, UpstreamError
from broker.web.call import Call
from broker.web.pages.problems import ALIASES, WORDS
from broker.web.problems import answer_problem
from broker.web.routes import ROUTES

REFERENCE = re.compile(r"Reference: ([2-9A-Z]{4}-[2-9A-Z]{4})")


async def expired(house: House) -> Shown:
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    details = await browser.choose()
    assert isinstance(details, Shown)
    house.clock.move(minutes=31)
    return await browser.open(details.url)


async def finished(house: House) -> Shown:
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    await browser.press("Cancel and go back")
    return await browser.open(chooser.url)


async def cookies_off(house: House) -> Shown:
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    browser.jar.clear()
    return await browser.open(chooser.url)


async def elsewhere(house: House) -> Shown:
    """An address that another browser had, opened in one that was never here."""
    chooser = await house.browser().open(house.site("forum").request_url())
    house.clock.move(minutes=5)
    return await house.browser().open(chooser.url)


async def too_many(house: House) -> Shown:
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    limits = house.settings.broker.limits
    for _ in range(limits.sign_ins_per_minute):
        await house.world.limits.hit(
            "start:127.0.0.1", limit=limits.sign_ins_per_minute, window=60, now=house.clock.now()
        )
    browser.shown = chooser
    return shown(await browser.press("provider=facebook"))


async def provider_down(house: House) -> Shown:
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    return shown(await browser.choose("facebook", "server-error"))


async def provider_untrusted(house: House) -> Shown:
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    return shown(await browser.choose("facebook", "foreign-app-token"))


async def provider_wants_a_visit(house: House) -> Shown:
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    return shown(await browser.choose("facebook", "checkpoint"))


async def cancelled(house: House) -> Shown:
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    return shown(await browser.choose("facebook", "cancels"))


async def forged(house: House) -> Shown:
    browser = await member(house, "ana")
    return await browser.open("/callback/facebook?code=x&state=000000000made-up.y")


async def misconfigured(house: House) -> Shown:
    return await house.browser().open(house.site("forum").request_url(redirect_uri="https://forum.test/callbacks"))


async def unknown_site(house: House) -> Shown:
    return await house.browser().open(house.site("forum").request_url(client_id="nobody"))


async def unknown_service(house: House) -> Shown:
    return await house.browser().open("/sign-in/with?iss=https://id.elsewhere.test")


async def unknown_place(house: House) -> Shown:
    target = "https://forum.test.elsewhere.test/"
    return await house.browser().open(f"/sign-in/with?iss={house.openid.url}&target_link_uri={target}")


async def held(house: House) -> Shown:
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    tables: Any = house.world.durable.tables  # type: ignore[attr-defined]
    (account,) = tables.accounts.values()
    tables.accounts[account.id] = replace(account, status=AccountStatus.HELD)
    await browser.open("/signout")
    await browser.press("what=everything")
    return shown(await house.browser().sign_in(house.site("forum")))


async def letter_over(house: House) -> Shown:
    """The link of a letter, used or made up."""
    return await house.browser().open("/mail/check?token=none")


async def trial_over(house: House) -> Shown:
    """The link that lets somebody try a provider, used or made up."""
    return await house.browser().open("/trial?link=none")


async def not_let_in(house: House) -> Shown:
    return await house.browser().open("/entry?site=forum&why=refused")


async def identity_taken(house: House) -> Shown:
    await house.browser().sign_up(provider="openid", persona="lucas", user_name="lucas")
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/me/ways")
    await house.openid.order(persona="lucas")
    return shown(await browser.agree_upstream(await browser.press("provider=openid")))


async def merging(house: House, provider: str, persona: str) -> Shown:
    """Signed in by Facebook, and on to the other account's way."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/me/merge")
    await browser.press("Sign in to the other account")
    return shown(await browser.choose(provider, persona))


async def merge_same(house: House) -> Shown:
    return await merging(house, "facebook", "normal")


async def merge_nobody(house: House) -> Shown:
    return await merging(house, "openid", "lucas")


async def not_your_way(house: House) -> Shown:
    """A fresh sign-in, and at the provider as somebody else."""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    await browser.open("/sign-in/again?next=/me&for=ways")
    return shown(await browser.choose("facebook", "unverified-leaks"))


async def signed_out(house: House) -> Shown:
    browser = await member(house, "ana")
    await browser.open("/me/news")
    browser.jar.clear()
    return shown(await browser.press("Save my choice"))


async def not_our_form(house: House) -> Shown:
    browser = await member(house, "ana")
    return shown(await browser.submit("post", f"{ISSUER}/me/news", [("csrf", "x")]))


async def nowhere(house: House) -> Shown:
    return await house.browser().open("/nowhere")


async def wrong_method(house: House) -> Shown:
    browser = house.browser()
    answer = await browser.send("POST", f"{ISSUER}/privacy", data=[])
    return Shown.read(answer)


async def unreadable(house: House) -> Shown:
    return await house.browser().open("/callback/facebook?state=a.b&state=c.d")


async def too_large(house: House) -> Shown:
    browser = await member(house, "ana")
    page = await browser.open("/me/news")
    fields = [("csrf", page.value("csrf")), ("x", "y" * 70_000)]
    return shown(await browser.submit("post", f"{ISSUER}/me/news", fields))


async def way_is_off(house: House) -> Shown:
    browser = house.browser()
    chooser = await browser.open(house.site("forum").request_url())
    fields = [("csrf", chooser.value("csrf")), ("provider", "myspace")]
    return shown(await browser.submit("post", chooser.url, fields))


async def stores_away(house: House) -> Shown:
    browser = await member(house, "ana")
    await house.world.durable.close()
    return await browser.open("/me")


async def broken(house: House) -> Shown:
    browser = await member(house, "ana")
    tables, durable = house.world.durable.tables, house.world.durable  # type: ignore[attr-defined]
    durable.tables = None  # type: ignore[attr-defined]
    try:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        async with house.client() as client:
            return Shown.read(await client.get("/me", headers={"cookie": cookie}))
    finally:
        durable.tables = tables  # type: ignore[attr-defined]


def shown(end: object) -> Shown:
    assert isinstance(end, Shown), end
    return end


State = tuple[Callable[[House], Awaitable[Shown]], int, str, str, str]
STATES: list[State] = [
    (expired, 410, "You took longer than 30 minutes", "Nothing was saved.", "Start again"),
    (finished, 409, "You already did this step", "nothing more to do", "Continue to Forum"),
    (cookies_off, 400, "Your browser is blocking our cookie", "It is not for ads.", "Try again"),
    (elsewhere, 410, "This sign-in is not open in this browser", "begun in another browser", "Start again"),
    (too_many, 429, "Too many tries", "You can try again at", "Back to Forum"),
    (provider_down, 503, "Facebook is not answering", "Your account is safe.", "Choose another way to sign in"),
    (provider_untrusted, 503, "We could not trust what Facebook sent", "Nothing was saved.", "Choose another way"),
    (provider_wants_a_visit, 503, "Facebook wants to see you first", "sort out what it asks there.", "Try again"),
    (cancelled, 400, "You did not let Facebook tell us who you are", "Nothing was shared.", "Choose another way"),
    (forged, 403, "We could not be sure this sign-in was yours", "Nothing was saved.", "Start again"),
    (misconfigured, 400, "Forum sent us here the wrong way", "Only its admins can fix this.", "Back to Forum"),
    (unknown_site, 400, "We do not know the site that sent you here", "Only its admins can fix this.", "Home page"),
    (
        unknown_service,
        404,
        "We do not know the service that sent you here",
        "Nothing was changed.",
        "Choose another way",
    ),
    (unknown_place, 404, "This link leads to a place that we do not know", "So we stopped.", "Home page"),
    (held, 403, "This account is on hold", "Write to us and give the reference below.", "Write to us"),
    (not_let_in, 403, "Forum did not let you in", "Nothing was shared.", "Back to Forum"),
    (letter_over, 410, "This link does not work any more", "Nothing was changed.", "My account"),
    (trial_over, 410, "This link to try a provider does not work any more", "Nothing was changed.", "Home page"),
    (identity_taken, 409, "This way to sign in cannot be added", "Nothing was changed.", "Merge two accounts"),
    (merge_same, 409, "That way opens this same account", "There is nothing to merge", "Merge two accounts"),
    (merge_nobody, 409, "That way opens no other account here", "Nothing was changed.", "Ways to sign in"),
    (not_your_way, 409, "That is not one of your ways to sign in", "Nothing was changed.", "Ways to sign in"),
    (signed_out, 401, "Please sign in to see this page", "You are not signed in", "Sign in"),
    (not_our_form, 403, "This request did not come from our own page", "we did nothing", "My account"),
    (nowhere, 404, "There is no page at this address", "go on from one of these", "Home page"),
    (wrong_method, 405, "This page cannot be opened like that", "Go on from one of these.", "Home page"),
    (unreadable, 400, "We could not read this request", "Nothing was changed.", "Home page"),
    (too_large, 413, "This is too much at once", "Nothing was changed.", "Home page"),
    (way_is_off, 404, "This way to sign in is not available", "Your account is safe.", "Choose another way"),
    (stores_away, 503, "We cannot answer right now", "Nothing was lost.", "Try again"),
    (broken, 500, "Something broke on our side", "It is not you.", "Try again"),
]


@pytest.mark.parametrize("state", STATES, ids=[state[0].__name__ for state in STATES])
async def test_every_state_has_its_page_its_words_and_its_way_out(house: House, state: State) -> None:
    """(catalogue 13, 108, 109)"""
    reach, status, title, words, way = state
    page = await reach(house)
    assert page.status == status
    assert page.headings[0] == title
    assert page.title.startswith(title) or page.title.startswith("Error: ")
    assert words in page.text
    ways = [*page.links, *[(b.text, f.action) for f in page.forms for b in f.buttons]]
    url = next((url for text, url in ways if text.startswith(way)), None)
    assert url, ways
    assert url.startswith(("/", "https://forum.test"))
    if status in {429, 503} and reach is not provider_down and reach is not provider_untrusted:
        assert int(page.response.headers["retry-after"]) > 0
    found = REFERENCE.search(page.text)
    assert found, page.text
    assert re.search(r"\d{4}, \d{2}:\d{2} UTC", page.text)
    assert ("Get help", "/help") in page.links
    lines = [orjson.loads(line) for line in house.log.splitlines()]
    logged = [line for line in lines if line.get("reference") == found[1] and line["event"] == "problem"]
    assert len(logged) == 1
    assert logged[0]["reason"], logged


@pytest.mark.parametrize(
    ("minutes", "came", "is_blamed"),
    [(0, None, True), (1, "cross-site", True), (0, "none", True), (3, None, False), (45, "cross-site", False)],
)
async def test_cookies_are_blamed_only_where_one_should_have_come_back(
    house: House, minutes: int, came: str | None, is_blamed: bool
) -> None:
    """Just sent here, and nothing came back: blocked. Of a while ago: begun elsewhere or over (catalogue 98, 109)."""
    chooser = await house.browser().open(house.site("forum").request_url())
    house.clock.move(minutes=minutes)
    headers = {"Sec-Fetch-Site": came} if came else {}
    answer = await house.browser().send("GET", chooser.url, headers=headers)
    assert ("Your browser is blocking our cookie" in answer.text) is is_blamed
    assert ("This sign-in is not open in this browser" in answer.text) is not is_blamed


async def test_an_address_that_is_no_sign_ins_at_all_is_nobodys_cookie_trouble(house: House) -> None:
    """(catalogue 98)"""
    for path in ("/f/nonsense/sign-in", "/f/zzzzzzzzzAAAA/finish"):
        shown = await house.browser().open(path)
        assert (shown.status, shown.headings[0]) == (410, "This sign-in is not open in this browser")


def errors() -> set[type[BrokerError]]:
    found: set[type[BrokerError]] = set()
    waiting: list[type[BrokerError]] = [InteractionError, UpstreamError, ProtocolError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return {kind for kind in found if kind.code != "error"}


def test_every_error_a_person_can_meet_has_words_of_its_own() -> None:
    """Whatever is raised, nobody reads "bad request" where something better is known."""
    for kind in errors():
        if not issubclass(kind, ProtocolError):
            assert kind.code in WORDS or kind.code in ALIASES, kind.__name__


def test_no_state_is_reached_by_nobody() -> None:
    """Each page of the catalogue is either walked to above or by a test of what it is about."""
    walked = {
        "sign_in_expired", "sign_in_elsewhere", "sign_in_finished", "cookies_off", "too_many_attempts", "upstream_unavailable",
        "upstream_invalid", "sign_in_cancelled", "wrong_browser", "site_misconfigured", "unknown_client", "account_held",
        "identity_taken", "merge_same", "merge_nobody", "letter_over", "sign_in_required", "forbidden", "not_found", "method_not_allowed",
        "bad_request", "too_large", "provider_off", "unavailable", "server_fault",
        "upstream_needs_visit", "not_let_in", "trial_over", "unknown_issuer", "unknown_place", "not_your_way", "client_document_unread", "request_over",
    }  # fmt: skip
    others = {
        "way_missing",
        "last_link",
        "merge_of_staff",
        "merge_waits",
        "last_owner",
        "not_sent_on",
        "not_that_account",
        "posting_not_permitted",
        "form_invalid",
        "upstream_rejected",
        "passkey_refused",
        "sign_out_unknown",
    }
    assert set(WORDS) == walked | others


@pytest.mark.parametrize(
    ("error", "status"), [(Conflict("account"), 401), (Conflict("grant"), 500), (RuntimeError("x"), 500)]
)
async def test_an_account_closed_at_that_very_moment_is_no_fault(house: House, error: Exception, status: int) -> None:
    """What a store says when the account went between two looks; anything else unexpected is ours (catalogue 130)."""
    scope = {"type": "http", "method": "POST", "path": "/me/news", "query_string": b"", "headers": []}
    route = next(route for route in ROUTES if (route.method, route.path) == ("POST", "/me/news"))
    answer = answer_problem(Call(request=Request(scope), world=house.world), route, error)
    assert answer.status_code == status


async def test_what_sites_ask_for_wrongly_is_json_where_servers_listen(house: House) -> None:
    """The same mapping, for machines: a code, a sentence and the reference; never a page (catalogue 13)."""
    async with house.client() as client:
        for method, path in (("POST", "/token"), ("GET", "/userinfo"), ("POST", "/introspect"), ("POST", "/revoke")):
            answer = await client.request(method, path)
            assert answer.status_code in {400, 401}
            told = answer.json()
            assert set(told) == {"error", "error_description", "reference"}
            assert answer.headers["cache-control"] == "no-store"

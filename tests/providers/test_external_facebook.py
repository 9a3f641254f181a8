"""Doorward beside a Facebook emulator it knows only from `providers.toml`: another program, other hosts, TLS.

Every persona of the emulator goes through the whole application (protocols.md §6.5): what the person sees, what is kept,
and what the emulator was never asked.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.providers.far import DIALOG_HOST, PROVIDERS, Far, FarBrowser, house_beside, running_far
from tests.providers.walk import assert_harmless
from tests.support.house import Arrival, House, Sandboxes, Shown
from tests.support.tls import Authority

from providers.sandbox.facebook_people import PEOPLE

REFERENCE = re.compile(r"Reference: [0-9A-Z]{4}-[0-9A-Z]{4}")


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How a sign-in that does not succeed ends: the page's heading, and what its log line says of the reason."""

    heading: str
    log: str
    seconds: float = 10.0


_DOWN = "Facebook is not answering"
_REFUSED = "Facebook refused to answer us"
_NO = "You did not let Facebook tell us who you are"
_DISTRUST = "We could not trust what Facebook sent"
_STRANGER = "We could not be sure this sign-in was yours"
ENDS = {
    "expired": Ends(heading=_REFUSED, log="190/463"),
    "ratelimited": Ends(heading=_DOWN, log="graph 4/"),
    "server-error": Ends(heading=_DOWN, log="graph 2/"),
    "server-error-html": Ends(heading=_DOWN, log="graph"),
    "server-error-false": Ends(heading=_DOWN, log="graph"),
    "slow": Ends(heading=_DOWN, log="timeout"),
    "never": Ends(heading=_DOWN, log="timeout"),
    "cancels": Ends(heading=_NO, log="access_denied"),
    "dev-mode-business": Ends(heading=_NO, log="access_denied"),
    "bare-error": Ends(heading=_REFUSED, log="dialog 1349048"),
    "checkpoint": Ends(heading="Facebook wants to see you first", log="190/459"),
    "password-changed": Ends(heading=_REFUSED, log="190/460"),
    "wrong-state": Ends(heading=_STRANGER, log="state"),
    "missing-state": Ends(heading=_STRANGER, log="state"),
    "replayed-code": Ends(heading=_REFUSED, log="100/36009"),
    "swapped-code": Ends(heading=_REFUSED, log="100/36008"),
    "foreign-app-token": Ends(heading=_DISTRUST, log="token_app"),
    "other-user-token": Ends(heading=_DISTRUST, log="token_user"),
}
BY_OPENID = {slug for slug in PEOPLE if slug.startswith("oidc-")}
"""Wrong only in their ID token, which a sign-in through Graph never asks for."""
NEVER_BACK = {"dev-mode"}
"""Stay at Facebook, on a page of its own."""
WITHOUT_EMAIL = {"no-email", "unverified", "declines-email"}


@pytest.fixture(scope="module")
def far(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with running_far(authority, tmp_path_factory.mktemp("far")) as running:
        yield running


@pytest.fixture
async def house(far: Far, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    await far.order(reset=True, auto=True)
    async with house_beside(far, tmp_path, sandboxes) as opened:
        yield opened
        lines = await far.log()
        assert_harmless(lines)
        for line in lines:
            asked = line["query"].get("scope", "").split()
            assert set(asked) <= {"public_profile", "email", "user_birthday"}, asked
            assert line["path"] != "/dialog/oauth" or line["host"].startswith(DIALOG_HOST)
        assert not [line for line in lines if line["path"].endswith(("/feed", "/dialog/share"))]


async def arrive_at_facebook(house: House, far: Far, slug: str) -> tuple[FarBrowser, Shown]:
    """From the forum to the provider as this persona; what is shown at the end."""
    await far.order(persona=slug)
    browser = FarBrowser(house, far)
    chooser = await browser.open(browser.forum.request_url())
    assert DIALOG_HOST in chooser.text, "the chooser names the host that a person is sent to"
    shown = await browser.press("provider=facebook")
    assert isinstance(shown, Shown), shown
    return browser, shown


def test_only_the_providers_file_names_the_emulator() -> None:
    """Every address of it is an option of that file."""
    table = tomllib.loads(PROVIDERS.replace("@PORT@", "443"))["facebook"]
    assert set(table["endpoints"]) == {"authorization", "graph"}
    assert "sandbox" not in table


def test_every_persona_has_an_end() -> None:
    assert set(ENDS) | BY_OPENID | NEVER_BACK | WITHOUT_EMAIL <= set(PEOPLE)


@pytest.mark.parametrize("slug", sorted(set(PEOPLE) - set(ENDS) - NEVER_BACK))
async def test_a_person_arrives_at_the_site_with_what_they_share(house: House, far: Far, slug: str) -> None:
    """catalogue 113, 115, 131: every name and every missing field; an address is never taken as proved."""
    browser, shown = await arrive_at_facebook(house, far, slug)
    person = PEOPLE[slug]
    assert shown.headings[0] == "Choose what to use from Facebook"
    assert ("You did not let Facebook share this" in shown.text) is (slug == "declines-email")
    assert ("Profile picture Not sent" in shown.headings) is person.silhouette
    told = shown.text if person.email and slug not in WITHOUT_EMAIL else ""
    assert (person.email or "@people.test") in told or slug in WITHOUT_EMAIL
    typed = {"v-email": f"{slug}@typed.test"} if slug in WITHOUT_EMAIL else {}
    finish = await browser.press("decision=continue", fill=typed)
    assert isinstance(finish, Shown)
    assert finish.path.endswith("/finish"), finish.text
    share = await browser.press("decision=create", fill={"preferred_username": "somebody"})
    assert isinstance(share, Shown)
    end = await browser.press("decision=share", tick=["name", "email"])
    assert isinstance(end, Arrival), end
    claims = await browser.forum.claims((await browser.forum.redeem(end))["access_token"])
    assert claims["name"][:20] == " ".join(person.name.split())[:20]
    assert claims["email"] == (typed["v-email"] if typed else person.email)
    assert claims.get("email_verified", False) is False
    assert "picture" not in claims
    assert await house.accounts() == 1


@pytest.mark.parametrize("slug", sorted(ENDS))
async def test_what_goes_wrong_there_is_said_in_words_and_leaves_nothing(house: House, far: Far, slug: str) -> None:
    """catalogue 32, 33, 34, 37, 49, 53, 56, 172, 173: each persona's fault, in time, with a reference, and a way on."""
    ends, began = ENDS[slug], time.monotonic()
    browser, shown = await arrive_at_facebook(house, far, slug)
    assert time.monotonic() - began < ends.seconds
    assert shown.headings[0] == ends.heading
    assert shown.status in {400, 403, 503}
    found = REFERENCE.search(shown.text)
    assert found is not None
    (line,) = [line for line in house.log.splitlines() if found[0].removeprefix("Reference: ") in line]
    assert ends.log in line
    assert PEOPLE[slug].first_name not in house.log
    assert await house.accounts() == 0
    assert not [name for name in browser.cookies if "session" in name]
    exchanges = [line for line in await far.log() if line.get("code_ref")]
    assert len(exchanges) <= 1
    if ends.heading == _STRANGER:
        assert exchanges == [], "a code of somebody else's sign-in goes nowhere"
        return
    ways = {text: address for text, address in shown.links}
    if ends.heading != _NO:
        assert ways["Try again"] == ways["Choose another way to sign in"]
    await far.order(persona="normal")
    again = await browser.open(ways["Choose another way to sign in"])
    assert again.headings[0].startswith("Sign in to"), "the sign-in itself is still there"
    shown_again = await browser.press("provider=facebook")
    assert isinstance(shown_again, Shown)
    assert shown_again.headings[0] == "Choose what to use from Facebook"


@pytest.mark.parametrize("slug", sorted(NEVER_BACK))
async def test_who_facebook_keeps_can_go_back_and_choose_another_way(house: House, far: Far, slug: str) -> None:
    """The app is not live: nothing ever reaches us, so nothing is kept, and the sign-in still stands."""
    await far.order(persona=slug)
    browser = FarBrowser(house, far)
    chooser = await browser.open(browser.forum.request_url())
    stays = await browser.press("provider=facebook")
    assert not isinstance(stays, Arrival)
    assert stays.headings[0] == "App not active"
    assert urlsplit(stays.url).hostname == DIALOG_HOST
    assert await house.accounts() == 0
    again = await browser.open(chooser.url)
    assert again.headings[0].startswith("Sign in to")


async def test_a_declined_address_can_be_asked_again_once(house: House, far: Far) -> None:
    """protocols.md §6.5: `auth_type=rerequest`, on the person's own press of a button, and not a third time."""
    browser, shown = await arrive_at_facebook(house, far, "declines-email")
    await far.order(rerequest_grants=True)
    shown = await browser.open(shown.url)
    again = await browser.press("decision=ask_again")
    assert isinstance(again, Shown)
    assert "declines-email@people.test" in again.text
    assert "Ask Facebook again" not in again.text
    kinds = [line["query"].get("auth_type") for line in await far.log() if line["path"].endswith("/dialog/oauth")]
    assert kinds == [None, "rerequest"]


async def test_two_people_with_one_address_become_two_accounts(house: House, far: Far) -> None:
    """catalogue 113, 116: the second is never led into the first one's account."""
    seen = []
    for slug, user_name in (("same-email-1", "kim1"), ("same-email-2", "kim2")):
        browser, _ = await arrive_at_facebook(house, far, slug)
        await browser.press("decision=continue")
        await browser.press("decision=create", fill={"preferred_username": user_name})
        end = await browser.press("decision=share")
        assert isinstance(end, Arrival)
        seen.append(await browser.forum.claims((await browser.forum.redeem(end))["access_token"]))
    assert seen[0]["sub"] != seen[1]["sub"]
    assert [claims["preferred_username"] for claims in seen] == ["kim1", "kim2"]
    assert await house.accounts() == 2


async def test_who_removed_the_app_can_come_back_to_the_same_account(house: House, far: Far) -> None:
    browser, _ = await arrive_at_facebook(house, far, "removes-app")
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "remy"})
    assert isinstance(await browser.press("decision=share"), Arrival)
    await far.order(deauthorize="removes-app")
    fresh = FarBrowser(house, far)
    await fresh.open(fresh.forum.request_url())
    assert isinstance(await fresh.press("provider=facebook"), Arrival)
    assert await house.accounts() == 1


async def test_an_emulator_under_another_authority_is_an_outage(
    far: Far, tmp_path: Path, sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """catalogue 172: a certificate nobody vouches for is never accepted, and the page says no more than for any outage."""
    await far.order(reset=True, auto=True)
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    async with house_beside(Far(far.port, stranger), tmp_path, sandboxes) as house:
        _, shown = await arrive_at_facebook(house, far, "normal")
        assert shown.headings[0] == _DOWN
        assert "tls" not in shown.text.lower().split()
        assert "tls graph.facebook.test" in house.log
        assert await house.accounts() == 0
    assert not [line for line in await far.log() if "/dialog/" not in line["path"]]

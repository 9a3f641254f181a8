"""Signing in and posting through `mastodon-mock`, somebody else's stand-in for Mastodon, with the faults that it can play.

It would also take what a real server refuses (see `mock_mastodon.py`): what is proved here is that people get through, that
a post arrives once, and what is said when it does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.providers.mock_mastodon import SCOPES, MockMastodon, running_mastodon
from tests.support import builders as make
from tests.support.builders import FORUM, NOW, FixedClock
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

from broker.domain.posting import Message, PostingPermit, opt_in, permit, permit_to_take_back
from broker.domain.provider import Posted, PostUnknown, UpstreamTokens
from broker.domain.values import AccountId, ProviderId
from broker.egress import Egress, Exemption
from broker.errors import PostingNotPermitted, UpstreamRejected, UpstreamUnavailable
from providers.preset import Preset
from providers.publishing.mastodon import Mastodon

CLUB: Final = ProviderId("club")
ANA: Final = AccountId("ana")
TEXT: Final = "Seed swap on Saturday 🍅\nBring a bag, שלום"
TOPIC: Final = "https://forum.test/t/1"
HELLO: Final = Message(text=TEXT, url=TOPIC, idempotency_key="key-1")
PATIENCE: Final = 0.4
"""Seconds that the publisher waits here for an answer."""

PROVIDERS: Final = """
[fediverse]
kind = "mastodon"
label = "Mastodon"
sandbox = true
discovery = "hosts"
hosts = ["127.0.0.1"]
fields = ["name", "preferred_username", "picture", "profile"]

[club]
kind = "oauth2"
label = "Club Mastodon"
sandbox = true
client_id = "{client_id}"
client_secret = {{ env = "CLUB_SECRET" }}
issuer = "{url}"
token_endpoint_auth_method = "client_secret_post"
fields = ["name", "preferred_username", "profile"]
scopes = ["profile"]
subject = "sub"

[club.claims]
name = "name"
preferred_username = "preferred_username"
profile = "profile"

[club.endpoints]
authorization = "{url}/oauth/authorize"
token = "{url}/oauth/token"
userinfo = "{url}/oauth/userinfo"
revocation = "{url}/oauth/revoke"

[club.posting]
kind = "mastodon"
url = "{url}/api/v1/statuses"
scopes = ["write:statuses"]
"""
"""Any server that somebody types, and one that the installation names, as the guides have them."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockMastodon]:
    with running_mastodon(tmp_path_factory.mktemp("mastodon")) as server:
        yield server


@pytest.fixture
def server(running: MockMastodon) -> MockMastodon:
    running.renew()
    return running


# --- through the whole application --------------------------------------------------------------------


@pytest.fixture
async def house(server: MockMastodon, tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    app = server.register(f"{ISSUER}/callback/club")
    doorward = DOORWARD_TOML.replace('[fields.email]\nuse = "needed"', '[fields.email]\nuse = "optional"')
    doorward += f'\n[egress."{server.host}"]\n'
    providers = PROVIDERS_TOML + PROVIDERS.format(url=server.url, client_id=app["client_id"])
    environ = {"CLUB_SECRET": app["client_secret"]}
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=providers, environ=environ) as opened:
        yield opened


async def through_it(server: MockMastodon, browser: Browser, button: str, **how: Any) -> Shown | Arrival:
    """Press it, be sent there, say who one is, and come back."""
    away = await browser.press(button, **how)
    assert isinstance(away, Arrival), away.text
    return await browser.go(await server.agree(away.url))


async def join(house: House, server: MockMastodon) -> tuple[Browser, str]:
    """Somebody new who came by the server that the installation names; and who they are for the forum."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url())
    shown = await through_it(server, browser, "provider=club")
    assert isinstance(shown, Shown)
    assert "Test User" in shown.text
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    arrived = await browser.press("decision=share")
    assert isinstance(arrived, Arrival)
    return browser, peek((await forum.redeem(arrived))["id_token"])["sub"]


async def ask(house: House, subject: str) -> dict[str, Any]:
    body = {"sub": subject, "provider": "club", "text": TEXT, "url": TOPIC, "return_to": TOPIC}
    async with house.client() as client:
        answer = await client.post("/posting/requests", json=body, headers=house.site("forum").auth)
    return dict(answer.json())


async def allow(house: House, server: MockMastodon) -> tuple[Browser, str]:
    """Somebody new who lets the forum post for them."""
    browser, subject = await join(house, server)
    await browser.open((await ask(house, subject))["opt_in_url"])
    arrived = await through_it(server, browser, "decision=allow")
    assert isinstance(arrived, Arrival), arrived.text
    assert arrived.url == f"{TOPIC}?posting=allowed"
    return browser, subject


async def preview(house: House, browser: Browser, subject: str) -> Shown:
    return await browser.open((await ask(house, subject))["continue_url"])


async def test_whoever_names_that_server_gets_an_account_and_comes_back_to_it(
    house: House, server: MockMastodon
) -> None:
    """It is asked who we may be, registers us, and tells who is there; the second time it is the same person."""
    for heading in ("Choose what to use from Mastodon", ""):
        browser = house.browser()
        await browser.open("/sign-in")
        shown = await through_it(server, browser, "provider=fediverse", fill={"identifier": f"@testuser@{server.host}"})
        assert isinstance(shown, Shown)
        if heading:
            assert shown.headings[0] == heading
            assert "Test User" in shown.text
            await browser.press("decision=continue")
            await browser.press("decision=create", fill={"preferred_username": "ana"})
        else:
            assert shown.path == "/me"
    assert await house.accounts() == 1


async def test_a_post_goes_out_once_after_the_person_said_so_and_can_be_taken_back(
    house: House, server: MockMastodon
) -> None:
    """catalogue 189, 191: from signing in with it, over the question, to the status as it stands there."""
    browser, subject = await allow(house, server)
    assert server.statuses() == []
    page = await preview(house, browser, subject)
    assert page.headings[0] == "Post this to Club Mastodon?"
    assert server.statuses() == []
    for _ in range(2):  # the second time with the back button
        browser.shown = page
        posted = await browser.press("decision=post")
        assert isinstance(posted, Shown)
        assert posted.headings[0] == "Posted"
        there = dict(posted.links)["See it there"]
    (status,) = server.statuses()
    assert (status["visibility"], "Seed swap on Saturday 🍅" in status["content"]) == ("public", True)
    assert there == status["url"]
    gone = await browser.press("Delete there")
    assert isinstance(gone, Shown)
    assert gone.headings[0] == "Deleted"
    assert server.statuses() == []


@pytest.mark.parametrize(
    ("effect", "more", "heading"),
    [
        ("ratelimit", {}, "Not posted: they refused it"),
        ("status", {"status": 422}, "Not posted: they refused it"),
        ("status", {"status": 500}, "Not known: they did not answer. Look there before you try again"),
        ("malformed", {}, "Not known: they did not answer. Look there before you try again"),
    ],
)
async def test_what_goes_wrong_there_is_said_and_not_tried_again(
    house: House, server: MockMastodon, effect: str, more: dict[str, Any], heading: str
) -> None:
    """catalogue 192: refused is refused, and what may have arrived is never said to have failed."""
    browser, subject = await allow(house, server)
    page = await preview(house, browser, subject)
    server.fault(effect, **more)
    for _ in range(2):  # the second time without the fault
        browser.shown = page
        shown = await browser.press("decision=post")
        assert isinstance(shown, Shown)
        assert shown.headings[0] == heading
    assert server.statuses() == []
    assert "opt_in_url" not in await ask(house, subject), "posting stays on"


async def test_a_permission_that_was_taken_back_there_turns_posting_off_here(
    house: House, server: MockMastodon
) -> None:
    """catalogue 193"""
    browser, subject = await allow(house, server)
    await preview(house, browser, subject)
    server.fault("status", status=403, body={"error": "This action is outside the authorized scopes"})
    shown = await browser.press("decision=post")
    assert isinstance(shown, Shown)
    assert "no longer lets us post for you" in shown.text
    assert "opt_in_url" in await ask(house, subject)
    assert server.statuses() == []


# --- the publisher alone ------------------------------------------------------------------------------


class Alone:
    """What posts there, with a token that it gave out, and little patience."""

    def __init__(self, server: MockMastodon) -> None:
        self.http = Egress(exemptions=[Exemption.parse(server.host)], total_seconds=PATIENCE)
        table = {
            "kind": "mastodon", "discovery": "any",
            "posting": {"kind": "mastodon", "url": f"{server.url}/api/v1/statuses", "scopes": [SCOPES[1]]},
        }  # fmt: skip
        self.publisher = Mastodon(Preset.from_table("club", table), self.http, FixedClock())
        self.token = UpstreamTokens(access_token=server.token(), scopes=frozenset(SCOPES))

    async def publish(self, message: Message = HELLO) -> Posted | PostUnknown:
        opted = opt_in([make.posting_receipt(ANA, CLUB, FORUM)], ANA, CLUB, FORUM)
        allowed = permit(opted, make.client(client_id=FORUM, may_post=True), ANA, message, NOW)
        return await self.publisher.publish(allowed, message, self.token)

    async def undo(self, remote_id: str) -> bool:
        return await self.publisher.undo(self.take_back(), remote_id, self.token)

    @staticmethod
    def take_back() -> PostingPermit:
        opted = opt_in([make.posting_receipt(ANA, CLUB, FORUM)], ANA, CLUB, FORUM)
        assert opted is not None
        return permit_to_take_back(opted, ANA, NOW)


@pytest.fixture
async def alone(server: MockMastodon) -> AsyncIterator[Alone]:
    made = Alone(server)
    yield made
    await made.http.aclose()


async def test_one_key_is_one_status_however_often_it_is_sent(server: MockMastodon, alone: Alone) -> None:
    """catalogue 192"""
    first = await alone.publish()
    assert isinstance(first, Posted)
    assert await alone.publish() == first
    assert await alone.publish(replace(HELLO, idempotency_key="key-2")) != first
    assert [status["id"] for status in server.statuses()].count(first.remote_id) == 1
    assert len(server.statuses()) == 2


async def test_an_answer_that_does_not_come_is_asked_for_once_more_under_the_same_key(
    server: MockMastodon, alone: Alone
) -> None:
    """catalogue 192"""
    server.fault("timeout")
    posted = await alone.publish()
    assert isinstance(posted, Posted)
    assert await alone.publish() == posted
    assert [status["id"] for status in server.statuses()] == [posted.remote_id]


async def test_a_server_that_stays_silent_leaves_it_unknown(server: MockMastodon, alone: Alone) -> None:
    """catalogue 192"""
    server.fault("timeout", count=2)
    assert await alone.publish() == PostUnknown(reason="timeout")
    assert server.statuses() == []


async def test_each_refusal_has_its_own_meaning(server: MockMastodon, alone: Alone) -> None:
    """catalogue 192, 193: come back later, not so, not any more."""
    server.fault("ratelimit")
    with pytest.raises(UpstreamUnavailable):
        await alone.publish()
    with pytest.raises(UpstreamRejected):
        await alone.publish(replace(HELLO, text="x" * 600))
    alone.token = replace(alone.token, access_token="nobody's")
    with pytest.raises(PostingNotPermitted):
        await alone.publish()
    assert server.statuses() == []


async def test_what_was_posted_is_deleted_there_and_deleting_it_twice_is_no_mistake(
    server: MockMastodon, alone: Alone
) -> None:
    posted = await alone.publish()
    assert isinstance(posted, Posted)
    for _ in range(2):
        assert await alone.undo(posted.remote_id)
    assert server.statuses() == []

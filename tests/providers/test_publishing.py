"""The publishers: Sandbox Social over real loopback HTTP as Mastodon would answer, and Facebook's Share window."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.providers.rig import Answer, Asked, ScriptedHTTP
from tests.support import builders as make
from tests.support.builders import FORUM, NOW, FixedClock
from tests.support.sandbox import serve

from broker.domain.posting import Message, PostingPermit, opt_in, permit, permit_to_take_back
from broker.domain.provider import NeedsPerson, Posted, PostUnknown, UpstreamTokens
from broker.domain.values import AccountId, ProviderId
from broker.egress import Egress, Exemption
from broker.errors import ConfigurationError, PostingNotPermitted, TokenOver, UpstreamRejected, UpstreamUnavailable
from providers.preset import Preset
from providers.publishing import known_publishers, load_publishers
from providers.publishing.facebook_share import FacebookShare
from providers.publishing.mastodon import Mastodon
from providers.sandbox import openid_connect as openid_sandbox
from providers.sandbox.openid_connect_state import Token

ANA = AccountId("ana")
SOCIAL = ProviderId("social")
HELLO = Message(text="Hello 🍅\nשלום", url="https://forum.example/t/1", idempotency_key="key-1")
GOOD = UpstreamTokens(access_token="good", scopes=frozenset({"openid", "write:statuses"}))


def permit_for(message: Message, provider: ProviderId = SOCIAL) -> PostingPermit:
    opted = opt_in([make.posting_receipt(ANA, provider, FORUM)], ANA, provider, FORUM)
    return permit(opted, make.client(client_id=FORUM, may_post=True), ANA, message, NOW)


def take_back() -> PostingPermit:
    opted = opt_in([make.posting_receipt(ANA, SOCIAL, FORUM)], ANA, SOCIAL, FORUM)
    assert opted is not None
    return permit_to_take_back(opted, ANA, NOW)


def preset(issuer: str, **posting: Any) -> Preset:
    table = {"kind": "mastodon", "url": f"{issuer}/api/v1/statuses", "scopes": ["write:statuses"]} | posting
    return Preset.from_table(
        "social",
        {
            "kind": "openid_connect",
            "client_id": "doorward",
            "client_secret": "s" * 20,
            "issuer": issuer,
            "label": "Social",
            "posting": table,
        },
    )


class Social:
    """Sandbox Social with one token that may post, and the publisher that speaks to it."""

    def __init__(self, url: str, app: Any) -> None:
        self.url, self.state = url, app.state.sandbox
        self.clock = FixedClock()
        exemption = Exemption.parse(urlsplit(url).netloc)
        self.http = Egress(exemptions=[exemption], total_seconds=1.0)
        self.publisher = Mastodon(preset(url), self.http, self.clock)
        later = self.state.now() + 3600
        for name, scopes in (("good", {"openid", "write:statuses"}), ("bare", {"openid"})):
            self.state.tokens[name] = Token(client_id="doorward", slug="ana", scopes=scopes, expires_at=later)

    def fault(self, name: str, **more: Any) -> None:
        self.state.faults.add({"name": name, **more})

    @property
    def texts(self) -> list[str]:
        return [status.text for status in self.state.statuses.values()]

    async def publish(self, message: Message = HELLO, token: UpstreamTokens | None = GOOD) -> Posted | PostUnknown:
        return await self.publisher.publish(permit_for(message), message, token)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Any]]:
    client = openid_sandbox.Client(id="doorward", secret="s" * 20, redirect_uris=["https://login.test/callback/social"])
    app = openid_sandbox.create_app([client])
    with serve(app) as url:
        yield url, app


@pytest.fixture
async def social(served: tuple[str, Any]) -> AsyncIterator[Social]:
    url, app = served
    app.state.sandbox.faults.active.clear()
    app.state.sandbox.statuses.clear()
    app.state.sandbox.posted_keys.clear()
    app.state.sandbox.posts.clear()
    made = Social(url, app)
    yield made
    await made.http.aclose()


# --- Mastodon -----------------------------------------------------------------------------------------


async def test_a_message_is_posted_as_it_is_and_can_be_deleted(social: Social) -> None:
    posted = await social.publish()
    assert isinstance(posted, Posted)
    assert social.texts == [f"{HELLO.text}\n\n{HELLO.url}"]
    assert posted.url == f"{social.url}/social/{posted.remote_id}"
    assert await social.publisher.undo(take_back(), posted.remote_id, GOOD)
    assert social.texts == []


async def test_deleting_what_is_gone_already_succeeds(social: Social) -> None:
    assert await social.publisher.undo(take_back(), "999", GOOD)
    assert await social.publisher.undo(take_back(), "../accounts", GOOD)


async def test_the_same_key_is_the_same_post(social: Social) -> None:
    """(catalogue 192)"""
    first, second = await social.publish(), await social.publish()
    other = await social.publish(replace(HELLO, idempotency_key="key-2"))
    assert first == second != other
    assert len(social.texts) == 2


async def test_a_lost_answer_is_asked_for_once_more_and_posts_once(social: Social) -> None:
    """(catalogue 192)"""
    social.fault("post-accept-then-hang", seconds=3, times=1)
    assert isinstance(await social.publish(), Posted)
    assert len(social.texts) == 1


@pytest.mark.parametrize(
    "fault", [{"name": "post-accept-then-500"}, {"name": "post-accept-then-hang", "seconds": 3}], ids=["500", "hang"]
)
async def test_an_answer_that_does_not_come_is_unknown(social: Social, fault: dict[str, Any]) -> None:
    """And posts once at most: the second try carries the same key (catalogue 192)."""
    social.state.faults.add(fault)
    assert isinstance(await social.publish(), PostUnknown)
    assert len(social.texts) == 1


@pytest.mark.parametrize("fault", ["post-revoked", "post-forbidden"])
async def test_a_token_that_is_good_no_more_is_said_so(social: Social, fault: str) -> None:
    """(catalogue 193)"""
    social.fault(fault)
    with pytest.raises(PostingNotPermitted):
        await social.publish()
    assert social.texts == []


async def test_what_was_certainly_not_taken_is_an_error(social: Social) -> None:
    social.fault("post-duplicate")
    with pytest.raises(UpstreamRejected):
        await social.publish()
    social.state.faults.active.clear()
    social.fault("post-rate-limited")
    with pytest.raises(UpstreamUnavailable):
        await social.publish()
    social.state.faults.active.clear()
    with pytest.raises(UpstreamRejected):
        await social.publish(replace(HELLO, text="x" * 600, idempotency_key="long"))
    assert social.texts == []


@pytest.mark.parametrize("token", [None, replace(GOOD, scopes=frozenset({"openid"}))], ids=["none", "not for posting"])
async def test_nothing_is_sent_without_a_token_for_posting(social: Social, token: UpstreamTokens | None) -> None:
    with pytest.raises(PostingNotPermitted):
        await social.publish(token=token)
    with pytest.raises(PostingNotPermitted):
        await social.publisher.undo(take_back(), "1", token)
    assert social.texts == []


async def test_a_token_that_is_not_known_is_told_from_one_that_is_not_enough(social: Social) -> None:
    """RFC 6750 §3.1: of the first kind there may be a new one."""
    social.fault("post-revoked")
    with pytest.raises(TokenOver):
        await social.publish()
    social.state.faults.active.clear()
    social.fault("post-forbidden")
    with pytest.raises(PostingNotPermitted) as refused:
        await social.publish()
    assert not isinstance(refused.value, TokenOver)
    assert social.texts == []


async def test_a_permit_for_another_message_or_another_time_sends_nothing(social: Social) -> None:
    """(catalogue 191)"""
    other = replace(HELLO, text="something else")
    with pytest.raises(PostingNotPermitted):
        await social.publisher.publish(permit_for(HELLO), other, GOOD)
    with pytest.raises(PostingNotPermitted):
        await social.publisher.publish(take_back(), HELLO, GOOD)
    granted = permit_for(HELLO)
    social.clock.move(timedelta(minutes=1))
    with pytest.raises(PostingNotPermitted):
        await social.publisher.publish(granted, HELLO, GOOD)
    assert social.texts == []


async def test_a_message_without_a_key_is_not_sent(social: Social) -> None:
    """(catalogue 192)"""
    with pytest.raises(PostingNotPermitted):
        await social.publish(replace(HELLO, idempotency_key=""))
    assert social.texts == []


# --- Mastodon, answers that a script gives ------------------------------------------------------------


def scripted(*answers: Answer | UpstreamUnavailable) -> tuple[Mastodon, list[Asked]]:
    """A publisher whose network answers so, one after the other, and what it was asked."""
    todo = list(answers)

    def script(_asked: Asked) -> Answer:
        given = todo.pop(0)
        if isinstance(given, UpstreamUnavailable):
            raise given
        return given

    http = ScriptedHTTP({"/api/v1/statuses": script})
    return Mastodon(preset("https://social.example"), http, FixedClock()), http.asked


def answer(status: int, body: bytes = b"{}") -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=body)


@pytest.mark.parametrize("status", [401, 403, 422, 429, 500])
async def test_a_refusal_after_a_lost_answer_says_nothing_about_the_lost_one(status: int) -> None:
    """(catalogue 192)"""
    publisher, sent = scripted(UpstreamUnavailable("timeout"), answer(status))
    assert isinstance(await publisher.publish(permit_for(HELLO), HELLO, GOOD), PostUnknown)
    assert [asked.headers["Idempotency-Key"] for asked in sent] == ["key-1", "key-1"]


@pytest.mark.parametrize("second", ["timeout", "connect", "circuit"])
async def test_two_lost_answers_are_unknown_and_there_is_no_third_try(second: str) -> None:
    """(catalogue 192)"""
    publisher, sent = scripted(UpstreamUnavailable("broken"), UpstreamUnavailable(second))
    assert isinstance(await publisher.publish(permit_for(HELLO), HELLO, GOOD), PostUnknown)
    assert len(sent) == 2


@pytest.mark.parametrize("reason", ["connect", "dns", "tls", "circuit", "address"])
async def test_what_never_left_is_an_error_and_is_not_tried_again(reason: str) -> None:
    publisher, sent = scripted(UpstreamUnavailable(reason))
    with pytest.raises(UpstreamUnavailable):
        await publisher.publish(permit_for(HELLO), HELLO, GOOD)
    assert len(sent) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"<html>",
        b'{"id": 1}',
        b'{"id": ""}',
        b'{"id": "\\u0000"}',
        json.dumps({"id": "x" * 201}).encode(),
    ],
)
async def test_an_answer_that_cannot_be_read_is_unknown(body: bytes) -> None:
    """It was taken, whatever it became (catalogue 192)."""
    publisher, _ = scripted(answer(200, body))
    assert isinstance(await publisher.publish(permit_for(HELLO), HELLO, GOOD), PostUnknown)


@pytest.mark.parametrize("url", ["javascript:alert(1)", 7, None, "https://a@b/"])
async def test_a_link_that_cannot_be_shown_is_left_out(url: object) -> None:
    publisher, _ = scripted(answer(200, json.dumps({"id": "1", "url": url}).encode()))
    assert await publisher.publish(permit_for(HELLO), HELLO, GOOD) == Posted(remote_id="1", url=None)


# --- Facebook's Share window --------------------------------------------------------------------------

FACEBOOK = ProviderId("facebook")


def share_window(url: str | None = None) -> FacebookShare:
    table: dict[str, Any] = {"kind": "facebook_share"} | ({"url": url} if url else {})
    made = Preset.from_table(
        "facebook", {"kind": "facebook", "client_id": "1234567890", "client_secret": "s" * 32, "posting": table}
    )
    return FacebookShare(made, ScriptedHTTP({}), FixedClock())


async def test_the_share_window_gets_the_address_and_no_text() -> None:
    """Text cannot be filled in there, and no permission is asked for."""
    window = share_window()
    message = replace(HELLO, return_url="https://login.example/posting/1/returned?key=k")
    sent = await window.publish(permit_for(message, FACEBOOK), message, None)
    assert isinstance(sent, NeedsPerson)
    parts = urlsplit(sent.url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "www.facebook.com", "/dialog/share")
    assert parse_qs(parts.query) == {
        "app_id": ["1234567890"], "display": ["page"], "href": [message.url], "redirect_uri": [message.return_url],
    }  # fmt: skip
    assert window.scopes == ()
    assert window.needs_person


@pytest.mark.parametrize("url", [None, "", "javascript:alert(1)", "ftp://forum.example/"])
async def test_the_share_window_shares_web_addresses_only(url: str | None) -> None:
    message = replace(HELLO, url=url)
    with pytest.raises(PostingNotPermitted):
        await share_window().publish(permit_for(message, FACEBOOK), message, None)


async def test_the_share_window_opens_for_a_permit_only() -> None:
    """(catalogue 191)"""
    other = replace(HELLO, url="https://forum.example/t/2")
    with pytest.raises(PostingNotPermitted):
        await share_window().publish(permit_for(HELLO, FACEBOOK), other, None)


async def test_what_was_shared_there_only_the_person_can_delete() -> None:
    assert not await share_window().undo(take_back(), "1", None)


# --- presets ------------------------------------------------------------------------------------------


def test_the_kinds_of_publishers_are_found_by_looking() -> None:
    assert set(known_publishers()) >= {"facebook_share", "mastodon"}


def test_only_providers_that_are_on_and_have_a_table_can_be_posted_to() -> None:
    bare = Preset.from_table(
        "bare", {"kind": "openid_connect", "client_id": "x", "client_secret": "s", "issuer": "https://op.example"}
    )
    off = replace(preset("https://social.example"), id=ProviderId("off"), state="off")
    made = load_publishers([preset("https://social.example"), bare, off], ScriptedHTTP({}), FixedClock())
    assert list(made) == [SOCIAL]
    with pytest.raises(TypeError):
        made[FACEBOOK] = made[SOCIAL]  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"kind": "unknown"}, "posting.kind"),
        ({"url": "https://social.example/api?x=1"}, "posting.url"),
        ({"scopes": []}, "posting.scopes"),
        ({"kind": "facebook_share"}, "posting.scopes"),
    ],
)
def test_a_posting_table_that_cannot_work_is_told_at_start(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_publishers([preset("https://social.example", **change)], ScriptedHTTP({}), FixedClock())
    assert [problem.key for problem in caught.value.problems] == [f"social.{key}"]

"""Posting at X: its answers as X writes them, and what is made of each. Nothing is ever sent twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.providers.rig import Answer, Asked, ScriptedHTTP
from tests.providers.test_publishing import HELLO, permit_for, take_back
from tests.support.builders import FixedClock

from broker.domain.provider import Posted, PostUnknown, UpstreamTokens
from broker.errors import (
    ConfigurationError,
    PostingNotPermitted,
    TokenOver,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers.preset import Preset
from providers.publishing import load_publishers
from providers.publishing.x import X

GOOD = UpstreamTokens(
    access_token="good", scopes=frozenset({"tweet.read", "tweet.write", "users.read", "offline.access"})
)
POSTED = {"data": {"id": "1445880548472328192", "text": "hello", "edit_history_tweet_ids": ["1445880548472328192"]}}
PROBLEM = "https://api.twitter.com/2/problems"
UNAUTHORIZED = {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}
TWICE = {
    "detail": "You are not allowed to create a Tweet with duplicate content.",
    "type": "about:blank",
    "title": "Forbidden",
    "status": 403,
}
TOO_MANY = {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}


def preset(**posting: Any) -> Preset:
    table = {"kind": "x", "scopes": ["tweet.write"], "lasting_scopes": ["offline.access"]} | posting
    endpoints = {name: f"https://api.x.com/{name}" for name in ("authorization", "token", "userinfo")}
    return Preset.from_table(
        "x",
        {
            "kind": "oauth2",
            "issuer": "https://x.com",
            "client_id": "c",
            "client_secret": "s" * 20,
            "subject": "data.id",
            "fields": [],
            "scopes": ["users.read", "tweet.read"],
            "endpoints": endpoints,
            "posting": {name: value for name, value in table.items() if value is not None},
        },
    )


def answer(status: int, body: object, kind: str = "application/json") -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={"content-type": kind}, body=raw)


def scripted(given: Answer | UpstreamUnavailable) -> tuple[X, list[Asked]]:
    """A publisher whose network answers so, and what it was asked."""

    def script(_asked: Asked) -> Answer:
        if isinstance(given, UpstreamUnavailable):
            raise given
        return given

    http = ScriptedHTTP({"/2/tweets": script, "/2/tweets/1445880548472328192": script})
    return X(preset(), http, FixedClock()), http.asked


async def publish(publisher: X, token: UpstreamTokens | None = GOOD) -> Posted | PostUnknown:
    return await publisher.publish(permit_for(HELLO, publisher.provider), HELLO, token)


async def test_a_post_goes_out_exactly_as_it_was_shown() -> None:
    publisher, asked = scripted(answer(201, POSTED))
    found = await publish(publisher)
    assert found == Posted(remote_id="1445880548472328192", url="https://x.com/i/web/status/1445880548472328192")
    (sent,) = asked
    assert (sent.method, sent.headers["Authorization"]) == ("POST", "Bearer good")
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body or b"") == {"text": f"{HELLO.text}\n\n{HELLO.url}"}


async def test_what_is_asked_for_is_to_post_to_say_who_and_to_last() -> None:
    publisher, _ = scripted(answer(201, POSTED))
    assert publisher.scopes == ("tweet.write", "tweet.read", "users.read")
    assert publisher.lasting == ("offline.access",)
    assert not publisher.needs_person
    assert repr(publisher) == "X('x')"


async def test_a_token_that_ran_out_is_told_from_everything_else() -> None:
    """Of it there may be a new one: X's access tokens last two hours."""
    publisher, _ = scripted(answer(401, UNAUTHORIZED, "application/problem+json"))
    with pytest.raises(TokenOver):
        await publish(publisher)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(403, TWICE, "application/problem+json"), UpstreamRejected),
        (answer(400, {"errors": [{"message": "text too long"}]}), UpstreamRejected),
        (answer(402, {"title": "CreditsDepleted"}), UpstreamRejected),
        (answer(429, TOO_MANY), UpstreamUnavailable),
        (UpstreamUnavailable("connect"), UpstreamUnavailable),
    ],
    ids=["twice", "too long", "no money", "too many", "never left"],
)
async def test_what_was_certainly_not_taken_ends_no_opt_in(
    given: Answer | UpstreamUnavailable, error: type[Exception]
) -> None:
    publisher, asked = scripted(given)
    with pytest.raises(error) as refused:
        await publish(publisher)
    assert not isinstance(refused.value, PostingNotPermitted)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "given",
    [
        UpstreamUnavailable("timeout"),
        answer(500, {}),
        answer(503, b"<html>", "text/html"),
        answer(201, b"<html>", "text/html"),
        answer(201, {"data": {}}),
        answer(201, {"data": {"id": 1445880548472328192}}),
        answer(201, {"data": {"id": "../1"}}),
        answer(201, {"data": []}),
        answer(302, {}),
    ],
    ids=["lost", "500", "503", "no JSON", "no id", "a number", "a path", "a list", "elsewhere"],
)
async def test_what_may_have_been_taken_is_unknown_and_is_not_sent_again(given: Answer | UpstreamUnavailable) -> None:
    """There is no idempotency key: a second try could be a second post (catalogue 192)."""
    publisher, asked = scripted(given)
    assert isinstance(await publish(publisher), PostUnknown)
    assert len(asked) == 1


@pytest.mark.parametrize("token", [None, replace(GOOD, scopes=frozenset({"tweet.read", "users.read"}))])
async def test_nothing_is_sent_without_a_token_for_posting(token: UpstreamTokens | None) -> None:
    publisher, asked = scripted(answer(201, POSTED))
    with pytest.raises(PostingNotPermitted):
        await publish(publisher, token)
    with pytest.raises(PostingNotPermitted):
        await publisher.undo(take_back(), "1", token)
    assert asked == []


async def test_a_permit_for_another_message_sends_nothing() -> None:
    """(catalogue 191)"""
    publisher, asked = scripted(answer(201, POSTED))
    with pytest.raises(PostingNotPermitted):
        await publisher.publish(permit_for(HELLO), replace(HELLO, text="something else"), GOOD)
    assert asked == []


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        (answer(200, {"data": {"deleted": True}}), True),
        (answer(404, {"title": "Not Found Error"}), True),
        (answer(200, {"data": {"deleted": False}}), False),
        (answer(200, {"errors": []}), False),
    ],
)
async def test_a_post_is_deleted_where_it_says_so(given: Answer, gone: bool) -> None:
    publisher, asked = scripted(given)
    assert await publisher.undo(take_back(), "1445880548472328192", GOOD) is gone
    (sent,) = asked
    assert (sent.method, sent.path) == ("DELETE", "/2/tweets/1445880548472328192")


async def test_a_post_that_cannot_be_deleted_is_no_post_that_is_gone() -> None:
    publisher, _ = scripted(answer(403, TWICE))
    with pytest.raises(UpstreamRejected):
        await publisher.undo(take_back(), "1445880548472328192", GOOD)


def test_its_table_needs_the_scope_to_post() -> None:
    made = load_publishers([preset()], ScriptedHTTP({}), FixedClock())
    assert list(made) == ["x"]
    with pytest.raises(ConfigurationError) as refused:
        load_publishers([preset(scopes=None, lasting_scopes=None)], ScriptedHTTP({}), FixedClock())
    assert [problem.key for problem in refused.value.problems] == ["x.posting.scopes"]

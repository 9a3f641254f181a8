"""Pushed authorization requests: checked as if a browser had brought them, kept for a minute, good for one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.flows.op import APP, FORUM, WIKI, Op, answered

from broker.domain.checks.authorization import read_request
from broker.domain.checks.token import challenge_of
from broker.domain.grant import AuthorizationRequest
from broker.domain.session import Session
from broker.domain.values import ClientId
from broker.errors import InvalidGrant, InvalidRequest, SignInExpired, TooManyAttempts
from broker.flows.authorize import Situation
from broker.flows.pushed import PREFIX, STRANGERS_PER_MINUTE

GOOD = {
    "redirect_uri": "https://forum.test/cb",
    "response_type": "code",
    "scope": "openid profile email",
    "state": "state-1",
    "code_challenge": challenge_of("v" * 43),
    "code_challenge_method": "S256",
}


@pytest.fixture
def op() -> Op:
    return Op()


async def push(op: Op, client: ClientId = FORUM, **changes: str) -> str:
    params = GOOD | {"redirect_uri": op.clients[client].redirect_uris[0]} | changes
    return await op.pushed.push(op.clients[client], params, address="192.0.2.1")


async def opened(op: Op, request_uri: str, client: ClientId = FORUM) -> AuthorizationRequest:
    """The request as the endpoint reads it."""
    one = op.clients[client]
    found = await op.pushed.open(request_uri, one)
    return replace(read_request(found.params, one, found.params["redirect_uri"]), pushed=found.name)


async def look(op: Op, session: Session, request_uri: str) -> Situation:
    return await op.authorize.look(op.clients[FORUM], await opened(op, request_uri), session)


async def test_a_reference_leads_to_the_request_for_a_minute(op: Op) -> None:
    """And may be opened again, as when a page is loaded again (RFC 9126 §2.2, §4)."""
    request_uri = await push(op)
    assert request_uri.startswith(PREFIX)
    op.move(seconds=59)
    for _ in range(2):
        assert (await opened(op, request_uri)).state == "state-1"
    op.move(seconds=1)
    with pytest.raises(SignInExpired):
        await opened(op, request_uri)


async def test_what_is_kept_says_nothing_and_opens_nothing(op: Op) -> None:
    """Neither the request nor its reference can be read from the store."""
    request_uri = await push(op, state="state-of-somebody")
    ((name, (_, sealed)),) = op.memory.transactions.rows.items()
    assert request_uri.removeprefix(PREFIX) not in name
    assert b"state-of-somebody" not in sealed
    with pytest.raises(SignInExpired):
        await op.pushed.open(f"{PREFIX}{name}", op.clients[FORUM])


@pytest.mark.parametrize("request_uri", [PREFIX, f"{PREFIX}x", "", "https://forum.test/x", f"{PREFIX}\ud800"])
async def test_a_made_up_reference_leads_nowhere(op: Op, request_uri: str) -> None:
    await push(op)
    with pytest.raises(SignInExpired):
        await op.pushed.open(request_uri, op.clients[FORUM])


async def test_a_reference_is_its_own_sites(op: Op) -> None:
    """RFC 9126 §4: bound to the client that pushed."""
    request_uri = await push(op)
    with pytest.raises(SignInExpired):
        await op.pushed.open(request_uri, op.clients[WIKI])
    await op.pushed.open(request_uri, op.clients[FORUM])


async def test_what_is_wrong_is_told_before_anything_is_kept(op: Op) -> None:
    for changes in ({"redirect_uri": "https://evil.test/cb"}, {"code_challenge": ""}, {"request_uri": f"{PREFIX}x"}):
        with pytest.raises(InvalidRequest):
            await push(op, FORUM, **changes)
    assert not op.memory.transactions.rows


async def test_sites_that_prove_nothing_push_so_many_a_minute(op: Op) -> None:
    for _ in range(STRANGERS_PER_MINUTE):
        await push(op, APP)
    with pytest.raises(TooManyAttempts):
        await push(op, APP)
    await push(op)


async def test_a_reference_leads_to_one_answer(op: Op) -> None:
    """The second one hears an error, its grant ends, and the reference is over (catalogue 25)."""
    ana = await op.person("ana")
    request_uri = await push(op)
    first, second = await look(op, ana, request_uri), await look(op, ana, request_uri)
    shared = frozenset(ask.claim for ask in first.asked)
    answer = await op.authorize.share(first, op.transaction(), ticked=shared, typed={}, locale="en")
    assert "code" in answered(answer)
    again = await op.authorize.issue(await op.authorize.look(op.clients[FORUM], second.request, ana))
    assert answered(again)["error"] == "invalid_request"
    assert len(await op.durable.grants.of_account(ana.account)) == 1
    with pytest.raises(SignInExpired):
        await opened(op, request_uri)


async def test_a_sign_in_may_take_longer_than_the_reference_lives(op: Op) -> None:
    """It still leads to one answer, two hours later too."""
    ana = await op.person("ana")
    situation = await look(op, ana, await push(op))
    shared = frozenset(ask.claim for ask in situation.asked)
    op.move(minutes=119)
    answer = await op.authorize.share(situation, op.transaction(), ticked=shared, typed={}, locale="en")
    assert "code" in answered(answer)
    again = await op.authorize.issue(await op.authorize.look(op.clients[FORUM], situation.request, ana))
    assert answered(again)["error"] == "invalid_request"


async def test_a_refusal_is_an_answer(op: Op) -> None:
    ana = await op.person("ana")
    request_uri = await push(op)
    situation = await look(op, ana, request_uri)
    answer = await op.authorize.refuse(situation, op.transaction(), locale="en")
    assert answered(answer)["error"] == "access_denied"
    with pytest.raises(SignInExpired):
        await opened(op, request_uri)


async def test_a_reference_is_no_code(op: Op) -> None:
    """Sent as one it redeems nothing and stays as it was (catalogue 25)."""
    request_uri = await push(op)
    for text in (request_uri, request_uri.removeprefix(PREFIX)):
        with pytest.raises(InvalidGrant):
            await op.redeem(text)
    await opened(op, request_uri)

"""A site looks after its stream of security events: with a token of its own, and with nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.flows.test_events import writer_of
from tests.flows.test_key_proofs import MINE

from broker.domain.client import AccessTokenFormat, Client, DpopUse
from broker.domain.events import CHOICES, MANAGE, READ, URIS, SecurityEvent
from broker.domain.values import ClientId, Scope
from broker.errors import BoundToken, InsufficientScope, InvalidToken, TooManyAttempts, UnknownStream, UseDpopNonce
from broker.flows.events import EventPolls
from broker.flows.streams import TRIES_PER_MINUTE, EventStreams

API = "https://api.forum.test/"
OTHER = Scope("reports:read")


@pytest.fixture(params=list(AccessTokenFormat))
def op(request: pytest.FixtureRequest) -> Op:
    op = Op()
    op.clients[FORUM] = replace(
        op.clients[FORUM],
        access_tokens=request.param,
        service_scopes=frozenset({READ, MANAGE, OTHER}),
        security_events=frozenset(CHOICES),
    )
    return op


def streams_of(op: Op) -> EventStreams:
    return EventStreams(
        durable=op.durable,
        access=op.access,
        writer=writer_of(op),
        limits=op.memory.limits,
        clients=op.clients,
        issuer=ISSUER,
    )


async def own(op: Op, **more: str) -> str:
    answer = await op.exchange.exchange(op.clients[FORUM], {"grant_type": "client_credentials", **more})
    return str(answer["access_token"])


@pytest.mark.parametrize(
    ("scope", "reads", "manages"), [(READ, True, False), (MANAGE, True, True), (OTHER, False, False)]
)
async def test_a_token_does_what_its_scopes_say(op: Op, scope: str, reads: bool, manages: bool) -> None:
    """Who may manage may read, and not the other way round."""
    token = await own(op, scope=scope)
    for fine, needs in ((reads, False), (manages, True)):
        if fine:
            assert (await streams_of(op).holder(token, None, manages=needs)).client_id == FORUM
        else:
            with pytest.raises(InsufficientScope):
                await streams_of(op).holder(token, None, manages=needs)


async def test_a_persons_token_is_none_of_a_site(op: Op) -> None:
    code = await op.code(await op.person("ana"))
    token = (await op.redeem(code))["access_token"]
    with pytest.raises(InvalidToken):
        await streams_of(op).holder(token, None, manages=False)


async def test_a_token_for_another_interface_is_refused_here(op: Op) -> None:
    """RFC 8707 §2: meant for the API alone; meant for us it is good."""
    op.clients[FORUM] = replace(op.clients[FORUM], resources=frozenset({API}))
    with pytest.raises(InvalidToken):
        await streams_of(op).holder(await own(op), None, manages=False)
    assert (await streams_of(op).holder(await own(op, resource=ISSUER), None, manages=True)).client_id == FORUM


@pytest.mark.parametrize("changes", [None, {"enabled": False}, {"service_scopes": frozenset({READ})}])
async def test_a_token_ends_with_what_its_admin_takes_away(op: Op, changes: Mapping[str, object] | None) -> None:
    token = await own(op)
    if changes is None:
        del op.clients[FORUM]
    else:
        op.clients[FORUM] = replace(op.clients[FORUM], **changes)  # type: ignore[arg-type]
    with pytest.raises(InvalidToken):
        await streams_of(op).holder(token, None, manages=False)


async def test_a_revoked_or_expired_token_is_refused(op: Op) -> None:
    token, other = await own(op), await own(op)
    await op.exchange.revoke(op.clients[FORUM], token)
    with pytest.raises(InvalidToken):
        await streams_of(op).holder(token, None, manages=False)
    assert (await streams_of(op).holder(other, None, manages=False)).client_id == FORUM
    op.move(minutes=10)
    with pytest.raises(InvalidToken):
        await streams_of(op).holder(other, None, manages=False)


async def test_a_token_of_a_key_comes_with_it(op: Op) -> None:
    """RFC 9449 §7.1, and with a nonce where the site's proofs need one (§8)."""
    answer = await op.exchange.exchange(op.clients[FORUM], {"grant_type": "client_credentials"}, MINE)
    token = str(answer["access_token"])
    with pytest.raises(BoundToken):
        await streams_of(op).holder(token, None, manages=False)
    assert (await streams_of(op).holder(token, MINE, manages=False)).client_id == FORUM
    op.clients[FORUM] = replace(op.clients[FORUM], dpop=DpopUse.NONCE)
    with pytest.raises(UseDpopNonce):
        await streams_of(op).holder(token, replace(MINE, has_nonce=False), manages=False)


async def test_a_site_reads_how_its_own_stream_fares_and_no_other(op: Op) -> None:
    assert await streams_of(op).status(op.clients[FORUM], "forum") == {"stream_id": "forum", "status": "enabled"}
    for client, stream in ((FORUM, "wiki"), (WIKI, "wiki"), (WIKI, "forum")):
        with pytest.raises(UnknownStream):
            await streams_of(op).status(op.clients[client], stream)


def polled(op: Op) -> EventPolls:
    return EventPolls(durable=op.durable, signer=op.event_signer)


async def verifications(op: Op, client: Client) -> list[object]:
    found = await op.durable.outbox.pending("stream", client.client_id)
    return [one.payload.get("state") for one in found if one.payload["event"] == SecurityEvent.VERIFICATION]


@pytest.mark.parametrize("state", [None, "", "once more"])
async def test_a_verification_says_again_what_the_site_said(op: Op, state: str | None) -> None:
    """SSF 1.0 §8.1.4.1: `state` as it came, or none; `sub_id` is the stream."""
    await streams_of(op).verify(op.clients[FORUM], "forum", state)
    sets, _ = await polled(op).poll(op.clients[FORUM], got=(), refused={}, most=10)
    (token,) = sets.values()
    claims = op.box.own(token, typ="secevent+jwt", now=op.clock.now())
    assert claims is not None
    assert claims["events"] == {URIS[SecurityEvent.VERIFICATION]: {} if state is None else {"state": state}}
    assert claims["sub_id"] == {"format": "opaque", "id": "forum"}


async def test_nobody_verifies_what_is_another_sites(op: Op) -> None:
    with pytest.raises(UnknownStream):
        await streams_of(op).verify(op.clients[FORUM], ClientId("wiki"), None)
    assert await op.durable.outbox.pending("stream", "wiki") == ()


async def test_a_site_asks_for_no_more_verifications_than_we_bear(op: Op) -> None:
    for _ in range(TRIES_PER_MINUTE):
        await streams_of(op).verify(op.clients[FORUM], "forum", "x")
    with pytest.raises(TooManyAttempts):
        await streams_of(op).verify(op.clients[FORUM], "forum", "x")
    assert await verifications(op, op.clients[FORUM]) == ["x"] * TRIES_PER_MINUTE
    op.clock.move(timedelta(minutes=1))
    await streams_of(op).verify(op.clients[FORUM], "forum", "y")

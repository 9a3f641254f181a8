"""Grants get places, and the lists say which of them ended, soon and for as long as it matters."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.flows.op import FORUM, ISSUER, KIT, Op
from tests.flows.test_exchange import header, payload

from broker.domain.account import AccountStatus
from broker.domain.grant import StatusPlace
from broker.domain.session import Session
from broker.domain.status import KEEP, RENEW, SIZE
from broker.flows.status import BLOCK, LOOK_EVERY, StatusLists


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


async def bits(lists: StatusLists, name: str) -> set[int]:
    """The places that are marked in a list now."""
    found = await lists.current(name)
    assert found is not None
    lst = payload(found.token.decode())["status_list"]["lst"]
    data = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    return {8 * at + bit for at, byte in enumerate(data) if byte for bit in range(8) if byte >> bit & 1}


def place(token: str) -> StatusPlace:
    """Where a token says its status is."""
    said = payload(token)["status"]["status_list"]
    assert said["uri"].startswith(f"{ISSUER}/status/")
    return StatusPlace(list=said["uri"].rpartition("/")[2], index=said["idx"])


async def sign_out(op: Op, session: Session) -> None:
    unit = op.durable.unit()
    unit.revoke_grants(session.account, op.clock.now(), sid=session.sid)
    await unit.commit()


async def test_a_session_token_keeps_its_place_when_it_is_refreshed(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, KIT)
    second = await op.refresh(first["refresh_token"], KIT)
    assert place(first["session_token"]) == place(second["session_token"])
    assert place((await op.tokens(ana, KIT))["session_token"]) != place(first["session_token"])


async def test_only_tokens_that_a_site_checks_by_itself_have_a_place(op: Op, ana: Session) -> None:
    """ID tokens are looked at once; and where nobody wants them, no number is spent."""
    assert "status" not in payload((await op.tokens(ana, KIT))["id_token"])
    before = await op.durable.statuses.reserved()
    op.statuses._next = op.statuses._end
    await op.tokens(ana, FORUM)
    assert await op.durable.statuses.reserved() == before


async def test_a_house_that_does_without_has_tokens_without(op: Op, ana: Session) -> None:
    op.authorize = replace(op.authorize, statuses=None)
    assert "status" not in payload((await op.tokens(ana, KIT))["session_token"])


async def test_signing_out_marks_the_place_and_nothing_else(op: Op, ana: Session) -> None:
    """catalogue 83"""
    ben = await op.person("ben")
    mine, theirs = [place((await op.tokens(one, KIT))["session_token"]) for one in (ana, ben)]
    assert await bits(op.statuses, mine.list) == set()
    await sign_out(op, ana)
    assert await bits(op.statuses, mine.list) == set(), "what was just looked at is good for three seconds"
    op.clock.move(LOOK_EVERY)
    assert await bits(op.statuses, mine.list) == {mine.index}
    same = await op.statuses.current(mine.list)
    op.clock.move(LOOK_EVERY)
    assert await op.statuses.current(mine.list) is same, "looked again, and nothing was new"
    op.clock.move(LOOK_EVERY)
    await sign_out(op, ben)
    assert await bits(op.statuses, theirs.list) == {mine.index, theirs.index}


async def test_a_held_account_is_marked(op: Op, ana: Session) -> None:
    mine = place((await op.tokens(ana, KIT))["session_token"])
    await op.change(ana.account, status=AccountStatus.HELD)
    assert await bits(op.statuses, mine.list) == {mine.index}


async def test_a_mark_stays_until_the_last_token_is_dead(op: Op, ana: Session) -> None:
    mine = place((await op.tokens(ana, KIT))["session_token"])
    await sign_out(op, ana)
    op.clock.move(KEEP - timedelta(seconds=1))
    assert await bits(op.statuses, mine.list) == {mine.index}
    op.clock.move(LOOK_EVERY)
    assert await bits(op.statuses, mine.list) == set()


async def test_what_was_written_late_or_by_a_slow_clock_is_seen(op: Op, ana: Session) -> None:
    """Another machine's minute is not ours: each look goes back over the last one."""
    mine = place((await op.tokens(ana, KIT))["session_token"])
    assert await bits(op.statuses, mine.list) == set()
    unit = op.durable.unit()
    unit.revoke_grants(ana.account, op.clock.now() - timedelta(seconds=60))
    await unit.commit()
    op.clock.move(LOOK_EVERY)
    assert await bits(op.statuses, mine.list) == {mine.index}


async def test_what_a_fast_clock_wrote_is_seen(op: Op, ana: Session) -> None:
    mine = place((await op.tokens(ana, KIT))["session_token"])
    unit = op.durable.unit()
    unit.revoke_grants(ana.account, op.clock.now() + timedelta(seconds=60))
    await unit.commit()
    assert await bits(op.statuses, mine.list) == {mine.index}


async def test_a_list_is_signed_by_us_under_its_own_type(op: Op, ana: Session) -> None:
    """§5.1; and it passes for nothing else (catalogue 76)."""
    name = place((await op.tokens(ana, KIT))["session_token"]).list
    found = await op.statuses.current(name)
    assert found is not None
    token = found.token.decode()
    assert header(token)["typ"] == "statuslist+jwt"
    assert op.box.own(token, typ="statuslist+jwt", now=op.clock.now()) is not None
    assert not await op.is_active(token, KIT)


async def test_a_list_that_stays_the_same_is_the_same_bytes_for_minutes(op: Op, ana: Session) -> None:
    name = place((await op.tokens(ana, KIT))["session_token"]).list
    first = await op.statuses.current(name)
    op.clock.move(RENEW - timedelta(seconds=1))
    assert await op.statuses.current(name) is first
    op.clock.move(timedelta(seconds=1))
    second = await op.statuses.current(name)
    assert first is not None and second is not None
    assert (second.etag != first.etag, second.version == first.version) == (True, True)


async def test_there_is_no_other_list(op: Op, ana: Session) -> None:
    assert await op.statuses.current("nobody") is None
    name = place((await op.tokens(ana, KIT))["session_token"]).list
    op.clock.move(LOOK_EVERY)
    assert await op.statuses.current("") is None
    assert await op.statuses.current(name) is not None


async def test_another_process_knows_the_same_lists(op: Op, ana: Session) -> None:
    """One of them drew the place, the other is asked for the list."""
    other = StatusLists(statuses=op.durable.statuses, signer=op.box, clock=op.clock, issuer=ISSUER, key=op.statuses.key)
    mine = place((await op.tokens(ana, KIT))["session_token"])
    theirs = await other.draw()
    assert mine.list == theirs.list
    assert mine.index != theirs.index
    await sign_out(op, ana)
    assert await bits(other, mine.list) == {mine.index}


async def test_places_are_drawn_once_whoever_comes_at_once(op: Op) -> None:
    places = await asyncio.gather(*(op.statuses.draw() for _ in range(2 * BLOCK + 1)))
    assert len(set(places)) == 2 * BLOCK + 1
    assert await op.durable.statuses.reserved() == 3 * BLOCK


class Slow:
    """A store that answers when it is let, and counts."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.calls, self.gate = inner, 0, asyncio.Event()

    async def reserve(self, count: int) -> int:
        return int(await self._wait(self.inner.reserve(count)))

    async def reserved(self) -> int:
        return int(await self.inner.reserved())

    async def ended(self, after: datetime, until: datetime) -> Any:
        return await self._wait(self.inner.ended(after, until))

    async def _wait(self, answer: Awaitable[Any]) -> Any:
        self.calls += 1
        await self.gate.wait()
        return await answer


async def test_a_crowd_asks_the_store_once(op: Op) -> None:
    slow = Slow(op.durable.statuses)
    lists = replace(op.statuses, statuses=slow)
    drawing = [asyncio.create_task(lists.draw()) for _ in range(20)]
    await asyncio.sleep(0)
    slow.gate.set()
    names = {one.list for one in await asyncio.gather(*drawing)}
    assert slow.calls == 1
    slow.gate.clear()
    asking = [asyncio.create_task(lists.current(name)) for name in names for _ in range(20)]
    await asyncio.sleep(0)
    slow.gate.set()
    assert len({one.etag for one in await asyncio.gather(*asking) if one}) == 1
    assert slow.calls == 2


async def test_a_second_list_begins_where_the_first_is_full(op: Op, ana: Session) -> None:
    await op.durable.statuses.reserve(SIZE - 1)
    places = [await op.statuses.draw() for _ in range(2)]
    assert len({one.list for one in places}) == 2
    for one in places:
        assert await bits(op.statuses, one.list) == set()

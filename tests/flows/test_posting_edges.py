"""The posting gate where something gives way: a network that refuses late, an account that closes meanwhile, odd addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.flows.test_posting import FACEBOOK, MASTODON, Room
from tests.support.builders import FORUM, NOW

from broker.domain.posting import PostState
from broker.domain.values import AccountId
from broker.errors import PostingNotPermitted, UpstreamInvalid, UpstreamUnavailable
from broker.flows.posting import is_of_site
from broker.stores.memory import MemoryDurable


class ClosingMeanwhile:
    """A store in which an account is closed at the very moment somebody commits something of it."""

    def __init__(self, inner: MemoryDurable) -> None:
        self.inner = inner
        self.closing: AccountId | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def unit(self) -> Any:
        return _LateUnit(self, self.inner.unit())


class _LateUnit:
    def __init__(self, store: ClosingMeanwhile, unit: Any) -> None:
        self._store, self._unit = store, unit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    async def commit(self) -> None:
        if self._store.closing is not None:
            first = self._store.inner.unit()
            first.erase_account(self._store.closing, NOW)
            self._store.closing = None
            await first.commit()
        await self._unit.commit()


async def test_a_request_for_an_account_that_closes_meanwhile_is_refused_like_any_other() -> None:
    """catalogue 130, 194."""
    room = Room()
    room = Room(durable=ClosingMeanwhile(room.durable), clock=room.clock)
    ana = await room.person()
    await room.allow(ana)
    room.durable.closing = ana.account.id
    with pytest.raises(PostingNotPermitted):
        await room.ask(ana)
    assert room.sent() == []


def test_the_gate_knows_its_networks_and_which_of_them_need_the_person() -> None:
    room = Room()
    assert set(room.gate.networks) == {MASTODON, FACEBOOK}
    assert room.gate.needs_person(FACEBOOK)
    assert not room.gate.needs_person(MASTODON)
    assert room.gate.scopes(FACEBOOK) == ()


async def test_a_network_that_refuses_without_having_granted_anything_leaves_the_opt_in() -> None:
    """There is no permission there that could have ended (catalogue 193)."""
    room = Room()
    ana = await room.person()
    await room.allow(ana, FACEBOOK)
    room.facebook.outcome = PostingNotPermitted(detail="not today")
    posting = await room.ask(ana, FACEBOOK)
    assert (await room.post(ana, posting)).posting.state is PostState.FAILED
    assert [one.provider for one in await room.gate.switches(ana.account.id)] == [FACEBOOK]


async def test_a_post_that_the_network_keeps_is_not_called_gone() -> None:
    room = Room()
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    room.mastodon.can_undo = False
    assert not await room.gate.undo(ana.session, posting.id)
    assert await room.state(posting) is PostState.POSTED


@pytest.mark.parametrize("error", [UpstreamUnavailable(detail="timeout"), UpstreamInvalid("json", "delete")])
async def test_a_post_that_cannot_be_taken_back_now_can_be_later(error: Exception) -> None:
    room = Room()
    ana = await room.person()
    await room.allow(ana)
    posting = await room.ask(ana)
    await room.post(ana, posting)
    room.mastodon.undo_outcome = error
    assert not await room.gate.undo(ana.session, posting.id)
    assert await room.state(posting) is PostState.POSTED
    room.mastodon.undo_outcome = None
    assert await room.gate.undo(ana.session, posting.id)


def test_an_unusable_answer_names_its_check() -> None:
    assert UpstreamInvalid("json").check == "json"
    assert UpstreamInvalid("json", "token answer").detail == "json token answer"


@pytest.mark.parametrize("address", ["https://[", "https://forum.example:abc/", "https://[::1"])
def test_an_address_that_cannot_be_read_is_nobodys(address: str) -> None:
    room = Room()
    assert not is_of_site(room.clients[FORUM], address)
    broken = replace(room.clients[FORUM], url=address)
    assert not is_of_site(broken, address)

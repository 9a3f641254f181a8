"""Whom a name at the command line means."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.flows.front import ACT, Front

from broker.domain.claims import PREFERRED_USERNAME
from broker.errors import NotFound
from broker.flows.support import AccountSupport


async def test_an_id_means_its_account_whoever_took_it_for_a_name() -> None:
    front = Front()
    ana = (await front.person("ana")).started.session.account
    bo = (await front.person("bob")).started.session.account
    front.clock.move(timedelta(days=1))
    await front.account.change(bo, PREFERRED_USERNAME, str(ana))
    support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
    assert (await support.find(str(ana))).id == ana
    assert (await support.find(str(bo))).id == bo
    with pytest.raises(NotFound):
        await support.find("nobody")


async def test_an_account_that_closed_meanwhile_is_not_held() -> None:
    front = Front()
    session = (await front.person("ana")).started.session
    account = await front.account.load(session.account)
    await front.account.close(session)
    support = AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)
    with pytest.raises(NotFound):
        await support.hold(account, ACT)

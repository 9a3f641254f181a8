"""What the people who run the service can do to an account, and cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.flows.front import ACT, Front
from tests.flows.op import FORUM

from broker.domain.account import AccountStatus
from broker.domain.audit import Action
from broker.domain.claims import EMAIL, PICTURE
from broker.errors import AccountHeld, NotFound
from broker.flows.support import AccountSupport


@pytest.fixture
def front() -> Front:
    return Front()


def support(front: Front) -> AccountSupport:
    return AccountSupport(durable=front.durable, sessions=front.sessions, trail=front.trail)


async def test_an_account_is_found_by_its_name_however_spelled_or_by_its_id(front: Front) -> None:
    session = (await front.person("anna")).started.session
    for name in ("anna", "ANNA", str(session.account)):
        assert (await support(front).find(name)).id == session.account
    for name in ("ann", ""):
        with pytest.raises(NotFound):
            await support(front).find(name)


async def test_an_account_is_found_by_an_address_proved_to_be_theirs_and_by_no_other(front: Front) -> None:
    account = await front.account.load((await front.person("anna")).started.session.account)
    proved = replace(account.profile[EMAIL], verified=True)
    await front.save(account.with_profile({**account.profile, EMAIL: proved}, front.clock.now()))
    found = await support(front).find("ANNA@mail.test")
    assert found.id == account.id
    unproved = replace(proved, verified=False)
    await front.save(found.with_profile({**found.profile, EMAIL: unproved}, front.clock.now()))
    with pytest.raises(NotFound):
        await support(front).find("anna@mail.test")


async def test_on_hold_nobody_is_signed_in_or_signs_in_and_nothing_is_lost(front: Front) -> None:
    """Sessions, sites' tokens and new sign-ins; the site is told."""
    session = (await front.person("anna")).started.session
    grant = await front.grant(session, FORUM)
    before = await front.account.load(session.account)
    assert await support(front).hold(before, ACT)
    assert await front.memory.sessions.of_account(session.account, front.clock.now()) == ()
    assert not await front.is_standing(grant)
    assert front.told() == [(FORUM, session.sid)]
    with pytest.raises(AccountHeld):
        await front.back(await front.leave(), "anna")
    held = await support(front).find("anna")
    assert held.status is AccountStatus.HELD
    assert held.profile == before.profile
    assert not await support(front).hold(held, ACT)
    assert await support(front).release(held, ACT)
    assert await support(front).find("anna") == before
    assert not await support(front).release(before, ACT)
    await front.back(await front.leave(), "anna")
    entries = [entry async for entry in front.trail.entries()]
    assert [(entry.action, entry.subject, entry.by, entry.why) for entry in entries] == [
        (Action.ACCOUNT_HELD, before.id, "deploy", "Spam."),
        (Action.ACCOUNT_RELEASED, before.id, "deploy", "Spam."),
    ]


async def test_a_hold_undoes_no_change_of_the_person(front: Front) -> None:
    """Looked at, then changed or closed by its owner before the hold."""
    session = (await front.person("anna")).started.session
    before = await front.account.load(session.account)
    await front.account.change(session.account, PICTURE, "")
    assert await support(front).hold(before, ACT)
    assert PICTURE not in front.accounts[session.account].profile
    await front.account.close(session)
    with pytest.raises(NotFound):
        await support(front).release(before, ACT)

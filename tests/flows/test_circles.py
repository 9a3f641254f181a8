"""Providers that only some may use yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.flows.front import AGENT, FACEBOOK, OPENID, Front, ScriptedProvider, state_of

from broker.domain.session import Session
from broker.domain.staff import Circle, Member, Role
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, ProviderId
from broker.errors import ProviderOff
from broker.flows.circles import SignInCircles
from broker.flows.sign_in import Linked

EARLY, EARLIEST = ProviderId("early"), ProviderId("earliest")


@dataclass
class CountingStaff:
    """The roles of a front, and how often somebody looked one up."""

    staff: Any
    asked: list[AccountId] = field(default_factory=list)

    async def role(self, account: AccountId) -> Role | None:
        self.asked.append(account)
        role: Role | None = await self.staff.role(account)
        return role


class Desk:
    """A front with one provider for testers and one for admins between the others."""

    def __init__(self, circles: dict[ProviderId, Circle]) -> None:
        self.front = Front()
        self.staff = CountingStaff(self.front.durable.staff)
        self.front.durable.staff = self.staff  # type: ignore[assignment]
        early, earliest = ScriptedProvider(EARLY), ScriptedProvider(EARLIEST)
        providers = {EARLY: early, FACEBOOK: self.front.facebook, EARLIEST: earliest, OPENID: self.front.openid}
        every = replace(self.front.sign_in, providers=providers)
        self.circles = SignInCircles(every=every, circles=circles)

    async def person(self, name: str, role: Role | None) -> Session:
        session = (await self.front.person(name)).started.session
        await self.give(session, role)
        return session

    async def give(self, session: Session, role: Role | None) -> None:
        unit = self.front.durable.unit()
        if role is None:
            unit.drop_member(session.account)
        else:
            unit.put_member(Member(account=session.account, role=role, since=self.front.clock.now()))
        await unit.commit()

    async def shown(self, session: Session | None) -> list[ProviderId]:
        return list((await self.circles.of(session)).providers)


@pytest.fixture
def desk() -> Desk:
    return Desk({EARLY: Circle.TESTERS, EARLIEST: Circle.ADMINS})


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        (None, [FACEBOOK, OPENID]),
        (Role.SUPPORT, [FACEBOOK, OPENID]),
        (Role.AUDITOR, [FACEBOOK, OPENID]),
        (Role.TESTER, [EARLY, FACEBOOK, OPENID]),
        (Role.ADMIN, [EARLY, FACEBOOK, EARLIEST, OPENID]),
        (Role.OWNER, [EARLY, FACEBOOK, EARLIEST, OPENID]),
    ],
)
async def test_each_role_has_its_providers_in_the_order_to_show(
    desk: Desk, role: Role | None, shown: list[ProviderId]
) -> None:
    assert await desk.shown(await desk.person("anna", role)) == shown


async def test_nobody_is_looked_up_who_is_not_signed_in_or_where_all_is_for_everybody(desk: Desk) -> None:
    assert await desk.shown(None) == [FACEBOOK, OPENID]
    everybodys = Desk({})
    session = await everybodys.person("anna", Role.OWNER)
    assert await everybodys.shown(session) == [EARLY, FACEBOOK, EARLIEST, OPENID]
    assert (desk.staff.asked, everybodys.staff.asked) == ([], [])


async def test_a_role_that_was_taken_on_the_way_opens_nothing_at_the_callback(desk: Desk) -> None:
    front, session = desk.front, await desk.person("anna", Role.TESTER)

    async def gone() -> tuple[Any, dict[str, str]]:
        carried = await front.box.hold(front.transaction(TransactionPurpose.LINK, session))
        left = await (await desk.circles.of(session)).begin(carried, EARLY)
        return left.carried, {"state": state_of(left), "code": "anna"}

    carried, params = await gone()
    await desk.give(session, None)
    without = await desk.circles.of(session)
    with pytest.raises(ProviderOff):
        await without.complete(carried, EARLY, params, session=session, user_agent=AGENT)
    await desk.give(session, Role.TESTER)
    carried, params = await gone()
    again = await desk.circles.of(session)
    outcome = await again.complete(carried, EARLY, params, session=session, user_agent=AGENT)
    assert isinstance(outcome, Linked)

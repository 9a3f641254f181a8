"""Sites that register by themselves: with an invitation, as often as it says, and with nobody else's token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.builders import FixedClock

from broker import hashing
from broker.chance import SystemEntropy
from broker.domain.audit import Act, Action
from broker.domain.client import AuthMethod, Client
from broker.domain.registration import PREFIX, Registration
from broker.domain.values import ClientId, Scope, Secret
from broker.errors import Conflict, InvalidClientMetadata, InvalidToken, NotFound, TooManyAttempts
from broker.flows.audit import AuditTrail
from broker.flows.registration import (
    CHANGES_PER_HOUR,
    REFUSALS_PER_MINUTE,
    TRIES_PER_HOUR,
    Answer,
    Registrations,
    Reviews,
)
from broker.stores.memory import MemoryBrowser, MemoryDurable

ACT = Act(by="admin", why="asked for")
OPENID = frozenset({Scope("openid")})
SAID: dict[str, Any] = {"redirect_uris": ["https://forum.example.org/cb"]}


class Taking:
    """Takes every site as it is: what is refused is not the flow's business."""

    def needs_secret(self, metadata: Mapping[str, Any]) -> bool:
        return metadata.get("token_endpoint_auth_method") != "none"

    def client(
        self, metadata: Mapping[str, Any], client_id: ClientId, secret: Secret | None, scopes: frozenset[Scope]
    ) -> Client:
        return Client(
            client_id=client_id,
            name="Forum",
            url="https://forum.example.org/",
            redirect_uris=tuple(metadata["redirect_uris"]),
            auth_method=AuthMethod.NONE if secret is None else AuthMethod.BASIC,
            scopes=scopes,
        )

    def kept(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for name, value in metadata.items() if name != "invented"}

    def moves(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        return bool(before["redirect_uris"] != after["redirect_uris"])

    async def look_around(self, client: Client) -> None:
        if "https://elsewhere.example/cb" in client.redirect_uris:
            raise InvalidClientMetadata(detail="not listed")


class Rig:
    def __init__(self) -> None:
        self.clock = FixedClock()
        self.durable = MemoryDurable(self.clock)
        trail = AuditTrail(durable=self.durable, clock=self.clock, key=b"k" * 32)
        self.reviews = Reviews(durable=self.durable, trail=trail, clock=self.clock)
        self.flow = Registrations(
            durable=self.durable,
            limits=MemoryBrowser(self.clock).limits,
            judge=Taking(),
            reviews=self.reviews,
            digest=hashing.digest,
            clock=self.clock,
            entropy=SystemEntropy(),
        )

    async def invited(self, uses: int = 1) -> str:
        return (await self.flow.invite(OPENID, uses=uses, days=1, note="", act=ACT)).reveal()

    async def register(self, token: str, address: str = "192.0.2.1", **more: Any) -> Answer:
        return await self.flow.register(token, {**SAID, **more}, address=address)

    async def opened(self, answer: Answer, token: str) -> Any:
        return await self.flow.opened(answer.registration.client_id, token, address="192.0.2.1")


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_an_invitation_registers_a_site_and_is_used_up(rig: Rig) -> None:
    """RFC 7591 §3.2.1"""
    token = await rig.invited()
    answer = await rig.register(token)
    assert answer.registration.client_id.startswith(PREFIX)
    assert answer.client.scopes == OPENID
    assert answer.secret is not None
    assert await rig.opened(answer, answer.token.reveal()) == answer.registration
    with pytest.raises(InvalidToken, match="initial access token"):
        await rig.register(token)


async def test_nothing_that_is_kept_is_a_secret(rig: Rig) -> None:
    """(catalogue 152)"""
    token = await rig.invited()
    answer = await rig.register(token)
    assert answer.secret is not None
    kept = repr(vars(answer.registration) if hasattr(answer.registration, "__dict__") else answer.registration)
    invitation = await rig.durable.registrations.invitation(hashing.digest(token))
    for secret in (token, answer.secret.reveal(), answer.token.reveal()):
        assert secret not in kept + repr(invitation) + answer.registration.metadata


async def test_a_site_without_a_secret_gets_none(rig: Rig) -> None:
    answer = await rig.register(await rig.invited(), token_endpoint_auth_method="none")
    assert answer.secret is None
    assert answer.registration.secret_digest is None


async def test_many_at_once_use_an_invitation_as_often_as_it_says(rig: Rig) -> None:
    token = await rig.invited(3)
    tries = (rig.register(token, address=f"192.0.2.{number}") for number in range(8))
    ends = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(end, Answer) for end in ends) == 3
    assert sum(isinstance(end, InvalidToken) for end in ends) == 5
    assert len(await rig.durable.registrations.after(ClientId(""))) == 3


async def test_the_last_use_that_went_to_somebody_else_is_a_refusal(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and counting."""
    token = await rig.invited()
    seen = await rig.durable.registrations.invitation(hashing.digest(token))
    await rig.register(token)

    async def stale(_: bytes) -> Any:
        return seen

    monkeypatch.setattr(rig.durable.registrations, "invitation", stale)
    with pytest.raises(InvalidToken, match="initial access token: invitation"):
        await rig.register(token)


async def test_an_invitation_is_over_when_it_says(rig: Rig) -> None:
    token = await rig.invited()
    rig.clock.move(timedelta(days=1))
    with pytest.raises(InvalidToken):
        await rig.register(token)


async def test_guessing_is_slowed_down_and_holds_nobody_else_up(rig: Rig) -> None:
    for _ in range(REFUSALS_PER_MINUTE):
        with pytest.raises(InvalidToken):
            await rig.register("guessed")
    with pytest.raises(TooManyAttempts):
        await rig.register("guessed")
    with pytest.raises(InvalidToken):
        await rig.register("guessed", address="192.0.2.2")
    await rig.register(await rig.invited())


async def test_a_token_opens_its_own_registration_only(rig: Rig) -> None:
    """(catalogue 157) RFC 7592 §2.1"""
    token = await rig.invited(2)
    one, other = await rig.register(token), await rig.register(token)
    for wrong in (other.token.reveal(), token, ""):
        with pytest.raises(InvalidToken, match="registration access token"):
            await rig.opened(one, wrong)
    with pytest.raises(InvalidToken):
        await rig.flow.opened("forum", one.token.reveal(), address="192.0.2.1")


async def test_a_change_gives_other_secrets_and_wants_another_look(rig: Rig) -> None:
    """RFC 7592 §2.2: the old token is of no use afterwards."""
    first = await rig.register(await rig.invited())
    second = await rig.flow.change(first.registration, {**SAID, "client_name": "Bank"}, address="192.0.2.1")
    assert second.registration.client_id == first.registration.client_id
    assert second.registration.reviewed_at is None
    assert second.registration.secret_digest != first.registration.secret_digest
    with pytest.raises(InvalidToken):
        await rig.opened(first, first.token.reveal())
    with pytest.raises(InvalidToken, match="used meanwhile"):
        await rig.flow.change(first.registration, SAID, address="192.0.2.1")
    assert await rig.opened(first, second.token.reveal()) == second.registration


async def test_a_site_stays_where_it_is(rig: Rig) -> None:
    """What it was granted would tell it there by which number others know people (decision 11)."""
    answer = await rig.register(await rig.invited(), invented="x" * 1000)
    assert "invented" not in answer.registration.metadata
    with pytest.raises(InvalidClientMetadata):
        await rig.flow.change(answer.registration, {"redirect_uris": ["https://wiki.example.org/cb"]}, address="")
    assert await rig.opened(answer, answer.token.reveal()) == answer.registration


async def test_judging_is_not_done_without_end(rig: Rig) -> None:
    """Refused tries use no invitation up, and each may have us call somewhere."""
    token = await rig.invited(100)
    for _ in range(TRIES_PER_HOUR):
        with pytest.raises(InvalidClientMetadata):
            await rig.register(token, redirect_uris=["https://elsewhere.example/cb"])
    with pytest.raises(TooManyAttempts):
        await rig.register(token)
    assert (await rig.register(await rig.invited())).client.name == "Forum"
    rig.clock.move(timedelta(hours=1))
    kept = (await rig.register(token)).registration
    for _ in range(CHANGES_PER_HOUR):
        kept = (await rig.flow.change(kept, SAID, address="")).registration
    with pytest.raises(TooManyAttempts):
        await rig.flow.change(kept, SAID, address="")


async def test_what_is_refused_elsewhere_uses_nothing_up(rig: Rig) -> None:
    token = await rig.invited()
    with pytest.raises(InvalidClientMetadata):
        await rig.register(token, redirect_uris=["https://elsewhere.example/cb"])
    await rig.register(token)


async def test_a_site_leaves_once(rig: Rig) -> None:
    """RFC 7592 §2.3"""
    answer = await rig.register(await rig.invited())
    await rig.flow.remove(answer.registration, address="192.0.2.1")
    with pytest.raises(InvalidToken, match="gone meanwhile"):
        await rig.flow.remove(answer.registration, address="192.0.2.1")
    with pytest.raises(InvalidToken):
        await rig.opened(answer, answer.token.reveal())


async def test_a_review_is_of_what_was_seen(rig: Rig) -> None:
    """Not of what the site made of itself meanwhile."""
    first = await rig.register(await rig.invited())
    assert await rig.reviews.reviewed(first.registration, ACT)
    kept = await rig.durable.registrations.load(first.registration.client_id)
    assert kept is not None
    assert kept.reviewed_at == rig.clock.now()
    assert not await rig.reviews.reviewed(kept, ACT)
    await rig.flow.change(kept, SAID, address="192.0.2.1")
    with pytest.raises(Conflict):
        await rig.reviews.reviewed(first.registration, ACT)


async def test_a_site_is_shut_out_whether_known_or_not_and_let_in_again(rig: Rig) -> None:
    """A site that registered is none of them."""
    await rig.register(await rig.invited())
    names = [ClientId("https://app.example.org/client"), ClientId("https://zoo.example.org/client")]
    for name in names:
        await rig.reviews.block(name, ACT)
    assert await rig.reviews.blocked() == tuple(names)
    assert await rig.reviews.unblock(names[0], ACT)
    assert await rig.reviews.blocked() == (names[1],)
    assert not await rig.reviews.unblock(names[0], ACT)


async def test_a_site_that_is_not_shut_out_is_not_let_in(rig: Rig) -> None:
    """Nor does it lose what is kept of it."""
    answer = await rig.register(await rig.invited())
    assert not await rig.reviews.unblock(answer.registration.client_id, ACT)
    assert await rig.durable.registrations.load(answer.registration.client_id) is not None


async def test_what_a_document_says_is_no_token(rig: Rig) -> None:
    """It is public, so it opens no registration."""
    name = ClientId("https://app.example.org/client")
    unit = rig.durable.unit()
    kept = Registration(
        client_id=name,
        invitation="",
        metadata="{}",
        scopes=OPENID,
        token_digest=hashing.digest("a token of somebody's"),
        registered_at=rig.clock.now(),
        fresh_until=rig.clock.now(),
    )
    unit.keep_document(kept)
    await unit.commit()
    with pytest.raises(InvalidToken):
        await rig.flow.opened(name, "a token of somebody's", address="192.0.2.1")


async def test_a_secret_is_told_from_others(rig: Rig) -> None:
    answer = await rig.register(await rig.invited())
    assert answer.secret is not None
    said = (answer.secret.reveal(), "another", 7, None)
    assert [rig.flow.is_secret_of(answer.registration, one) for one in said] == [True, False, False, False]


@pytest.mark.parametrize(("uses", "days"), [(0, 1), (101, 1), (1, 0), (1, 91)])
async def test_an_invitation_is_for_few_sites_and_not_for_long(rig: Rig, uses: int, days: int) -> None:
    with pytest.raises(ValueError, match="uses"):
        await rig.flow.invite(OPENID, uses=uses, days=days, note="", act=ACT)


async def acts(rig: Rig) -> list[tuple[Action, str, str]]:
    return [(entry.action, entry.subject, entry.by) async for entry in rig.reviews.trail.entries()]


async def test_an_invitation_is_seen_and_taken_back(rig: Rig) -> None:
    token = await rig.invited(2)
    rig.clock.move(timedelta(hours=1))
    other = await rig.invited()
    (first, second) = await rig.flow.invitations()
    kept = (await rig.register(token)).registration
    await rig.flow.uninvite(first.id, ACT)
    assert [one.id for one in await rig.flow.invitations()] == [second.id]
    with pytest.raises(InvalidToken):
        await rig.register(token)
    with pytest.raises(NotFound):
        await rig.flow.uninvite(first.id, ACT)
    assert await rig.durable.registrations.load(kept.client_id) == kept
    assert (await acts(rig))[-1] == (Action.INVITATION_ENDED, first.id, "admin")
    await rig.register(other)
    assert await rig.flow.invitations() == ()
    await rig.invited()
    rig.clock.move(timedelta(days=1))
    assert await rig.flow.invitations() == ()


async def test_a_site_that_an_admin_puts_out_does_not_register_again(rig: Rig) -> None:
    """Its invitation ends with it; what admins do is in the trail."""
    token = await rig.invited(5)
    kept = (await rig.register(token)).registration
    await rig.reviews.reviewed(kept, ACT)
    kept = replace(kept, reviewed_at=rig.clock.now())
    await rig.reviews.put_out(kept, ACT)
    assert await rig.durable.registrations.load(kept.client_id) is None
    with pytest.raises(InvalidToken):
        await rig.register(token)
    assert [(action, subject) for action, subject, _ in await acts(rig)] == [
        (Action.SITE_INVITED, f"{kept.invitation} 5"),
        (Action.SITE_REVIEWED, f"{kept.client_id} {kept.version}"),
        (Action.SITE_REMOVED, kept.client_id),
    ]

"""What every store must do with sites that register by themselves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.documents import KEEP
from broker.domain.grant import Redeemed, StatusPlace
from broker.domain.ports import Durable
from broker.domain.registration import Invitation, Registration
from broker.domain.values import ClientId, Scope
from broker.errors import Conflict
from tests.contracts.stores import kept_account, kept_family, kept_grant
from tests.support import builders as make
from tests.support.builders import NOW

NOBODY = ClientId("")
OPENID = frozenset({Scope("openid")})


def invitation(uses: int = 1) -> Invitation:
    return Invitation(
        id="i-1",
        digest=b"i" * 32,
        scopes=OPENID | {Scope("email")},
        uses_left=uses,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        note="For the library.",
    )


def registration(name: str = "r-1") -> Registration:
    return Registration(
        client_id=ClientId(name),
        invitation="i-1",
        metadata='{"client_name":"Forum"}',
        scopes=OPENID,
        secret_digest=b"s" * 32,
        token_digest=b"t" * 32,
        registered_at=NOW,
    )


def document() -> Registration:
    """A site whose id is the address of what it says."""
    return replace(
        registration("https://app.example.org/client"),
        invitation="",
        secret_digest=None,
        fresh_until=NOW + timedelta(hours=1),
    )


async def invite(durable: Durable, uses: int = 1) -> Invitation:
    unit = durable.unit()
    unit.add_invitation(invitation(uses))
    await unit.commit()
    return invitation(uses)


async def register(durable: Durable, kept: Registration, *, later: timedelta = timedelta()) -> Registration:
    unit = durable.unit()
    unit.register(kept, NOW + later)
    await unit.commit()
    return kept


class RegistrationsContract:
    async def test_what_was_registered_is_read_as_it_was(self, durable: Durable) -> None:
        invited = await invite(durable, 2)
        assert await durable.registrations.invitation(invited.digest) == invited
        assert await durable.registrations.invitation(b"o" * 32) is None
        first = await register(durable, registration())
        public = replace(registration("r-2"), secret_digest=None, reviewed_at=NOW)
        await register(durable, public)
        assert await durable.registrations.load(first.client_id) == first
        assert await durable.registrations.load(ClientId("nobody")) is None
        assert await durable.registrations.after(NOBODY) == (first, public)
        assert await durable.registrations.after(NOBODY, 1) == (first,)
        assert await durable.registrations.after(first.client_id) == (public,)

    async def test_an_invitation_is_good_as_often_as_it_says(self, durable: Durable) -> None:
        """All at once: none of them slips through between looking and counting."""
        await invite(durable, 3)
        tries = (register(durable, registration(f"r-{number}")) for number in range(8))
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(end, Registration) for end in ends) == 3
        assert {str(end) for end in ends if not isinstance(end, Registration)} == {"invitation"}
        assert len(await durable.registrations.after(NOBODY)) == 3

    async def test_invitations_come_in_the_order_of_their_ids(self, durable: Durable) -> None:
        first = await invite(durable, 1)
        second = replace(invitation(2), id="i-2", digest=b"2" * 32)
        unit = durable.unit()
        unit.add_invitation(second)
        await unit.commit()
        assert await durable.registrations.invitations("") == (first, second)
        assert await durable.registrations.invitations("", 1) == (first,)
        assert await durable.registrations.invitations(first.id) == (second,)

    async def test_an_invitation_that_was_taken_back_is_none(self, durable: Durable) -> None:
        invited = await invite(durable, 2)
        unit = durable.unit()
        unit.drop_invitation(invited.id)
        unit.drop_invitation("i-none")
        await unit.commit()
        assert await durable.registrations.invitation(invited.digest) is None
        with pytest.raises(Conflict, match="invitation"):
            await register(durable, registration())

    async def test_an_invitation_that_is_over_is_none(self, durable: Durable) -> None:
        await invite(durable)
        with pytest.raises(Conflict, match="invitation"):
            await register(durable, registration(), later=timedelta(days=1))
        with pytest.raises(Conflict, match="invitation"):
            await register(durable, replace(registration(), invitation="i-2"))
        assert await durable.registrations.after(NOBODY) == ()

    async def test_a_site_that_is_there_costs_no_use(self, durable: Durable) -> None:
        await invite(durable, 2)
        await register(durable, registration())
        with pytest.raises(Conflict, match="registration"):
            await register(durable, registration())
        await register(durable, registration("r-2"))

    async def test_a_registration_is_changed_with_the_token_that_is_good_now(self, durable: Durable) -> None:
        await invite(durable)
        old = await register(durable, registration())
        new = replace(old, token_digest=b"n" * 32, metadata="{}", secret_digest=None)
        for kept, fine in ((new, True), (replace(new, metadata="[]"), False)):
            unit = durable.unit()
            unit.save_registration(kept, shown=old.token_digest)
            if fine:
                await unit.commit()
            else:
                with pytest.raises(Conflict, match="registration"):
                    await unit.commit()
        assert await durable.registrations.load(old.client_id) == new

    async def test_a_registration_that_is_removed_is_gone(self, durable: Durable) -> None:
        await invite(durable)
        kept = await register(durable, registration())
        for fine in (True, False):
            unit = durable.unit()
            unit.remove_registration(kept.client_id, NOW)
            if fine:
                await unit.commit()
            else:
                with pytest.raises(Conflict, match="registration"):
                    await unit.commit()
        assert await durable.registrations.load(kept.client_id) is None

    async def test_a_document_is_kept_as_it_says_now(self, durable: Durable) -> None:
        """Read anew, it is fresh for longer; when it was first seen stays."""
        first = document()
        later = replace(first, fresh_until=NOW + timedelta(days=1), registered_at=NOW + timedelta(hours=2))
        changed = replace(later, metadata="{}", token_digest=b"n" * 32)
        for told, held in ((first, first), (later, replace(later, registered_at=NOW))):
            await _keep(durable, told)
            assert await durable.registrations.load(first.client_id) == held
        await _keep(durable, changed)
        assert await durable.registrations.after(NOBODY) == (replace(changed, registered_at=NOW),)

    async def test_a_look_at_a_document_lasts_until_it_says_something_else(self, durable: Durable) -> None:
        kept = document()
        await _keep(durable, kept)
        unit = durable.unit()
        unit.save_registration(replace(kept, reviewed_at=NOW), shown=kept.token_digest)
        await unit.commit()
        await _keep(durable, kept)
        same = await durable.registrations.load(kept.client_id)
        assert same is not None
        assert same.reviewed_at == NOW
        await _keep(durable, replace(kept, token_digest=b"n" * 32))
        other = await durable.registrations.load(kept.client_id)
        assert other is not None
        assert other.reviewed_at is None

    async def test_a_blocked_site_stays_blocked_and_loses_what_it_was_granted(self, durable: Durable) -> None:
        """Known before or not; and nothing of any other site ends."""
        kept = document()
        person, _ = await kept_account(durable)
        own = await kept_grant(durable, person.id, client=kept.client_id)
        other = await kept_grant(durable, person.id)
        later = NOW + timedelta(minutes=1)
        for moment in (NOW, later):
            unit = durable.unit()
            unit.block_document(kept, moment)
            await unit.commit()
            assert await durable.registrations.load(kept.client_id) == replace(kept, blocked_at=moment)
        await _keep(durable, replace(kept, token_digest=b"n" * 32))
        held = await durable.registrations.load(kept.client_id)
        assert held is not None
        assert held.blocked_at == later
        assert [await durable.grants.load(grant.id) for grant in (own, other)] == [replace(own, revoked_at=NOW), other]

    async def test_a_document_that_nobody_uses_goes_after_a_while(self, durable: Durable) -> None:
        """Not while something granted is good, nor one that an admin looked at or shut out; registered sites stay."""
        await invite(durable)
        kept, read_until = document(), NOW + timedelta(hours=1)
        looked_at = replace(kept, client_id=ClientId("https://app.example.org/looked-at"))
        shut_out = replace(kept, client_id=ClientId("https://app.example.org/shut-out"))
        registered = await register(durable, registration())
        for one in (kept, looked_at):
            await _keep(durable, one)
        unit = durable.unit()
        unit.save_registration(replace(looked_at, reviewed_at=NOW), shown=looked_at.token_digest)
        unit.block_document(shut_out, NOW)
        await unit.commit()
        person, _ = await kept_account(durable)
        end = read_until + KEEP + timedelta(minutes=1)
        await kept_grant(durable, person.id, client=kept.client_id, expires_at=end)
        assert await durable.purge(read_until + KEEP) == 0
        assert await durable.purge(end) == 2  # the grant, too
        left = {one.client_id for one in await durable.registrations.after(NOBODY)}
        assert left == {looked_at.client_id, shut_out.client_id, registered.client_id}

    async def test_what_a_removed_site_was_granted_ends_with_it(self, durable: Durable) -> None:
        """And nothing of any other site."""
        await invite(durable)
        kept = await register(durable, registration())
        person, _ = await kept_account(durable)
        place = StatusPlace(list="list-1", index=7)
        own = await kept_grant(durable, person.id, client=kept.client_id, status=place)
        other = await kept_grant(durable, person.id, status=replace(place, index=8))
        families = [await kept_family(durable, grant) for grant in (own, other)]
        codes = [make.code(own, digest=b"o" * 32), make.code(other, digest=b"f" * 32)]
        unit = durable.unit()
        for code in codes:
            unit.add_code(code)
        await unit.commit()
        unit = durable.unit()
        unit.remove_registration(kept.client_id, NOW)
        await unit.commit()
        assert [await durable.grants.load(grant.id) for grant in (own, other)] == [replace(own, revoked_at=NOW), other]
        assert [await durable.grants.load_family(one.id) for one in families] == [
            replace(families[0], revoked_at=NOW),
            families[1],
        ]
        redeemed = [await durable.grants.consume_code(code.digest, NOW) for code in codes]
        assert [isinstance(end, Redeemed) for end in redeemed] == [False, True]
        assert await durable.statuses.ended(NOW - timedelta(seconds=1), NOW) == ((place, NOW),)


async def _keep(durable: Durable, kept: Registration) -> None:
    unit = durable.unit()
    unit.keep_document(kept)
    await unit.commit()

"""What every store must do, whatever it is made of. `test_memory`, `test_sqlite`, `test_postgres` and `test_redis` run it.

A new store is a test file of twenty lines: a fixture `stores`, and one subclass per contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.domain.account import Account, AccountStatus, KeptNumber, Link, Passkey, ProfileValue, alone, user_name_key
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME, email_key
from broker.domain.consent import Purpose
from broker.domain.disclosure import Via
from broker.domain.grant import (
    OFFLINE_ACCESS,
    AlreadyRedeemed,
    Grant,
    Redeemed,
    RefreshFamily,
    Reused,
    Rotated,
    StatusPlace,
)
from broker.domain.passkey import BY_PASSKEY, key_of
from broker.domain.ports import BrowserMemory, Durable, KeyUse, UnitOfWork
from broker.domain.posting import Posting, PostState
from broker.domain.status import KEEP
from broker.domain.values import AccountId, ClientId, GrantId, IdentityKey, ProviderId, Scope, Sid
from broker.errors import Conflict
from tests.support import builders as make
from tests.support.builders import FACEBOOK, FORUM, NOW, WIKI, FixedClock

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TAKERS = 20


async def kept_account(durable: Durable, **more: Any) -> tuple[Account, Link]:
    """An account with one link, committed."""
    account = make.account(**more)
    link = make.link(account)
    unit = durable.unit()
    unit.add_account(account)
    unit.add_link(link)
    await unit.commit()
    return account, link


async def kept_grant(durable: Durable, account: AccountId | None = None, **more: Any) -> Grant:
    """A grant, committed."""
    owner = account or (await kept_account(durable))[0].id
    grant = make.grant(owner, **more)
    unit = durable.unit()
    unit.add_grant(grant)
    await unit.commit()
    return grant


async def kept_family(durable: Durable, grant: Grant, **more: Any) -> RefreshFamily:
    family = make.family(grant, **more)
    unit = durable.unit()
    unit.add_family(family)
    await unit.commit()
    return family


async def outcomes(takers: list[Callable[[], Awaitable[object]]]) -> list[object]:
    """What each of many concurrent takers got; a `Conflict` counts as an answer."""

    async def take(taker: Callable[[], Awaitable[object]]) -> object:
        try:
            return await taker()
        except Conflict as conflict:
            return conflict

    return await asyncio.gather(*(take(taker) for taker in takers))


async def is_kept(unit: UnitOfWork) -> bool:
    """Whether nothing else was there first."""
    try:
        await unit.commit()
    except Conflict:
        return False
    return True


def cancelled(posting: Posting) -> Posting:
    return replace(posting, state=PostState.CANCELLED, settled_at=NOW)


async def conflict_of(commit: Awaitable[None]) -> str:
    with pytest.raises(Conflict) as caught:
        await commit
    return caught.value.what


class AccountsContract:
    async def test_every_field_of_an_account_and_a_link_comes_back(self, durable: Durable) -> None:
        account, link = await kept_account(durable)
        assert await durable.accounts.load(account.id) == account
        assert await durable.accounts.links(account.id) == (link,)
        assert await durable.accounts.by_identity(link.key) == (account, link)

    async def test_nothing_is_written_before_commit(self, durable: Durable) -> None:
        account = make.account()
        durable.unit().add_account(account)
        assert await durable.accounts.load(account.id) is None

    async def test_a_time_of_any_zone_comes_back_as_the_same_moment(self, durable: Durable) -> None:
        """(catalogue 165)"""
        kathmandu, zurich = timezone(timedelta(hours=5, minutes=45)), ZoneInfo("Europe/Zurich")
        account, _ = await kept_account(durable)
        grant = await kept_grant(
            durable,
            account.id,
            created_at=datetime(2026, 3, 29, 3, 0, 0, 1, zurich),  # the first microsecond of summer time
            expires_at=datetime(2026, 12, 31, 23, 59, 59, 999_999, kathmandu),
        )
        family = await kept_family(durable, grant, rotated_at=datetime(2026, 7, 1, 12, tzinfo=kathmandu))
        session_end = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zurich)
        link = make.link(account, last_used_at=session_end)
        unit = durable.unit()
        unit.add_link(link)
        await unit.commit()
        found = await durable.grants.load(grant.id)
        again = await durable.grants.load_family(family.id)
        links = {one.id: one for one in await durable.accounts.links(account.id)}
        assert found is not None
        assert again is not None
        assert found.created_at.astimezone(UTC) == datetime(2026, 3, 29, 1, 0, 0, 1, UTC)
        assert found.expires_at.astimezone(UTC) == datetime(2026, 12, 31, 18, 14, 59, 999_999, UTC)
        assert again.rotated_at.astimezone(UTC) == datetime(2026, 7, 1, 6, 15, tzinfo=UTC)
        assert links[link.id].last_used_at.astimezone(UTC) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)

    async def test_letters_of_every_script_come_back_unchanged(self, durable: Durable) -> None:
        """(catalogue 131)"""
        names = [
            "Zoë O’Ünal",
            "ياسمين",
            "李小龙",
            "👩‍👩‍👧‍👦 family",
            "e\u0301",
            "<b>'\"--; DROP TABLE",
            "\\x00 %s $1 ?",
            "x" * 4000,
        ]
        for number, name in enumerate(names):
            profile = make.profile(f"letters{number}") | {NAME: ProfileValue(value=name, source="person")}
            account, link = await kept_account(durable, profile=profile)
            assert await durable.accounts.load(account.id) == account
            subject = IdentityKey(issuer="https://i.example/ü", subject=f"{name} {account.id}")
            unit = durable.unit()
            unit.add_link(make.link(account, key=subject, hint=name))
            await unit.commit()
            found = await durable.accounts.by_identity(subject)
            assert found is not None
            assert (found[0], found[1].key, found[1].hint) == (account, subject, name)
            assert await durable.accounts.by_identity(link.key) == (account, link)

    async def test_the_unknown_is_none(self, durable: Durable) -> None:
        nobody = AccountId("nobody")
        assert await durable.accounts.load(nobody) is None
        assert await durable.accounts.links(nobody) == ()
        assert await durable.accounts.by_identity(IdentityKey(issuer="i", subject="s")) is None
        assert await durable.accounts.with_receipts(nobody, Purpose.SHARE_WITH_CLIENT, "forum") is None

    async def test_a_saved_account_replaces_the_one_before(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        profile = {NAME: ProfileValue(value="Other", source="person", verified=True)}
        changed = replace(
            account, profile=profile, status=AccountStatus.ACTIVE, agreed_notice="n2", newsletters=(), locale=None
        )
        unit = durable.unit()
        unit.save_account(changed)
        await unit.commit()
        assert await durable.accounts.load(account.id) == changed

    async def test_a_number_kept_by_a_merge_comes_with_the_account_however_it_is_loaded(self, durable: Durable) -> None:
        """So nothing is asked twice, and it goes with the account."""
        account, link = await kept_account(durable)
        number = KeptNumber(of=AccountId("gone"), sites=(FORUM, WIKI))
        kept = replace(account, kept_numbers={"forum.example": number, alone(WIKI): number})
        grant = make.grant(account.id, known_as=AccountId("gone"))
        unit = durable.unit()
        unit.save_account(kept)
        unit.add_grant(grant)
        await unit.commit()
        with_receipts = await durable.accounts.with_receipts(account.id, Purpose.SHARE_WITH_CLIENT, FORUM)
        by_identity = await durable.accounts.by_identity(link.key)
        with_account = await durable.grants.with_account(grant.id, "")
        assert with_receipts is not None
        assert by_identity is not None
        assert with_account == (grant, kept)
        for loaded in (await durable.accounts.load(account.id), with_receipts[0], by_identity[0]):
            assert loaded == kept
        unit = durable.unit()
        unit.erase_account(account.id, NOW)
        await unit.commit()
        assert await durable.accounts.load(account.id) is None

    async def test_saving_an_unknown_account_is_a_conflict(self, durable: Durable) -> None:
        unit = durable.unit()
        unit.save_account(make.account())
        assert await conflict_of(unit.commit()) == "stale"

    async def test_an_account_is_saved_over_what_was_loaded_only(self, durable: Durable) -> None:
        """Whichever way it was loaded."""
        account, link = await kept_account(durable)
        everything = (Purpose.SHARE_WITH_CLIENT, "forum")
        with_receipts = await durable.accounts.with_receipts(account.id, *everything)
        by_identity = await durable.accounts.by_identity(link.key)
        loaded = await durable.accounts.load(account.id)
        assert with_receipts is not None
        assert by_identity is not None
        assert loaded is not None
        for turn, seen in enumerate((with_receipts[0], by_identity[0], loaded)):
            now = await durable.accounts.load(account.id)
            assert now is not None
            unit = durable.unit()
            unit.save_account(replace(now, locale=f"x-{turn}"))
            await unit.commit()
            unit = durable.unit()
            receipt = make.receipt(account.id)
            unit.append_receipt(receipt)
            unit.save_account(replace(seen, locale="lost"))
            assert await conflict_of(unit.commit()) == "stale"
            kept = await durable.accounts.load(account.id)
            assert kept == replace(account, locale=f"x-{turn}")
            assert await durable.ledger.receipts(account.id) == ()
        for turn in range(3):  # whichever way it was loaded, it can be saved again
            found = await durable.accounts.with_receipts(account.id, *everything)
            known = await durable.accounts.by_identity(link.key)
            assert found is not None
            assert known is not None
            unit = durable.unit()
            unit.save_account(replace(found[0] if turn % 2 else known[0], locale=f"y-{turn}"))
            await unit.commit()

    async def test_of_twenty_that_loaded_the_same_one_saves(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)

        def save(number: int) -> Callable[[], Awaitable[object]]:
            unit = durable.unit()
            unit.save_account(replace(account, locale=f"x-{number}"))
            return unit.commit

        got = await outcomes([save(number) for number in range(TAKERS)])
        assert got.count(None) == 1
        assert {conflict.what for conflict in got if isinstance(conflict, Conflict)} == {"stale"}
        kept = await durable.accounts.load(account.id)
        assert kept == replace(account, locale=f"x-{got.index(None)}")

    async def test_look_alike_user_names_are_one(self, durable: Durable) -> None:
        await kept_account(durable, profile=make.profile("Robin-Smith"))
        assert not await durable.accounts.is_user_name_free(user_name_key("r0bin.smith"))
        unit = durable.unit()
        unit.add_account(make.account(profile=make.profile("R0bin_Smith", verified=False)))
        assert await conflict_of(unit.commit()) == "user_name"

    async def test_an_account_is_found_by_its_user_name(self, durable: Durable) -> None:
        """As it is now, look-alikes included; not once it is erased."""
        account, _ = await kept_account(durable, profile=make.profile("Robin-Smith"))
        assert await durable.accounts.by_user_name(user_name_key("r0bin.smith")) == account
        assert await durable.accounts.by_user_name(user_name_key("robin")) is None
        unit = durable.unit()
        unit.erase_account(account.id, NOW)
        await unit.commit()
        assert await durable.accounts.by_user_name(user_name_key("Robin-Smith")) is None

    async def test_an_account_is_found_by_the_address_it_proved(self, durable: Durable) -> None:
        """In any spelling, while it is its own and proved; not by one that somebody only typed, nor once it is erased."""
        account, _ = await kept_account(durable, profile=make.profile("Robin"))
        await kept_account(durable, profile=make.profile("typed", verified=False))
        key = email_key(account.profile[EMAIL].value)
        assert await durable.accounts.by_email(key) == account
        assert await durable.accounts.by_email(email_key("typed@canary.example")) is None
        unit = durable.unit()
        unit.save_account(replace(account, profile=make.profile("Robin", verified=False)))
        await unit.commit()
        assert await durable.accounts.by_email(key) is None
        other, _ = await kept_account(durable, profile=make.profile("second"))
        unit = durable.unit()
        unit.erase_account(other.id, NOW)
        await unit.commit()
        assert await durable.accounts.by_email(email_key("second@canary.example")) is None

    async def test_a_user_name_given_up_is_nobody_elses(self, durable: Durable) -> None:
        account, _ = await kept_account(durable, profile=make.profile("firstname"))
        other, _ = await kept_account(durable, profile=make.profile("somebody-else"))
        unit = durable.unit()
        unit.save_account(replace(account, profile=make.profile("secondname")))
        await unit.commit()
        for name in ("firstname", "secondname"):
            assert not await durable.accounts.is_user_name_free(user_name_key(name))
            unit = durable.unit()
            unit.save_account(replace(other, profile=make.profile(name)))
            assert await conflict_of(unit.commit()) == "user_name"
            unit = durable.unit()
            unit.add_account(make.account(profile=make.profile(name)))
            assert await conflict_of(unit.commit()) == "user_name"
        assert await durable.accounts.load(other.id) == other

    async def test_a_user_name_given_up_can_be_taken_back(self, durable: Durable) -> None:
        account, _ = await kept_account(durable, profile=make.profile("firstname"))
        for name in ("secondname", "firstname", "f1rstname"):
            now = await durable.accounts.load(account.id)
            assert now is not None
            unit = durable.unit()
            unit.save_account(replace(now, profile=make.profile(name)))
            await unit.commit()
            assert await durable.accounts.by_user_name(user_name_key(name)) == replace(
                account, profile=make.profile(name)
            )

    async def test_a_user_name_that_was_wanted_in_a_unit_that_failed_is_free(self, durable: Durable) -> None:
        account, _ = await kept_account(durable, profile=make.profile("firstname"))
        unit = durable.unit()
        unit.save_account(replace(account, profile=make.profile("wanted"), version=account.version + 1))
        assert await conflict_of(unit.commit()) == "stale"
        assert await durable.accounts.is_user_name_free(user_name_key("wanted"))
        await kept_account(durable, profile=make.profile("wanted"))

    async def test_of_twenty_that_want_one_user_name_one_gets_it(self, durable: Durable) -> None:
        """New ones and ones that take another name, while its owner gives it up."""
        owner, _ = await kept_account(durable, profile=make.profile("owner"))
        others = [(await kept_account(durable, profile=make.profile(f"other{n}")))[0] for n in range(TAKERS // 2)]
        wanting: list[Callable[[], Awaitable[object]]] = []
        for other in others:
            for account, is_new in ((make.account(), True), (other, False)):
                unit = durable.unit()
                taker = replace(account, profile=make.profile("wanted"))
                (unit.add_account if is_new else unit.save_account)(taker)
                wanting.append(unit.commit)
        unit = durable.unit()
        unit.save_account(replace(owner, profile=make.profile("renamed")))
        got = await outcomes([unit.commit, *wanting])
        assert got[0] is None
        assert got[1:].count(None) == 1
        assert {conflict.what for conflict in got if isinstance(conflict, Conflict)} == {"user_name"}
        assert not await durable.accounts.is_user_name_free(user_name_key("owner"))

    async def test_a_verified_address_belongs_to_one_account(self, durable: Durable) -> None:
        """catalogue 121"""
        await kept_account(durable, profile=make.profile("ada"))
        other = make.account(
            profile=make.profile("bea") | {EMAIL: ProfileValue(value="ADA@canary.example", source="x", verified=True)}
        )
        unit = durable.unit()
        unit.add_account(other)
        assert await conflict_of(unit.commit()) == "email"

    async def test_an_unverified_address_may_be_anybodys(self, durable: Durable) -> None:
        first, _ = await kept_account(durable, profile=make.profile("cleo"))
        claimed = {EMAIL: ProfileValue(value="cleo@canary.example", source="person")}
        second, _ = await kept_account(durable, profile=make.profile("dora") | claimed)
        unit = durable.unit()
        unit.save_account(
            replace(second, profile=make.profile("dora") | {EMAIL: replace(claimed[EMAIL], verified=True)})
        )
        assert await conflict_of(unit.commit()) == "email"
        assert await durable.accounts.load(first.id) == first
        assert await durable.accounts.load(second.id) == second

    async def test_an_identity_belongs_to_one_account(self, durable: Durable) -> None:
        """catalogue 176"""
        account, link = await kept_account(durable)
        other, _ = await kept_account(durable)
        unit = durable.unit()
        unit.add_link(make.link(other, key=link.key))
        assert await conflict_of(unit.commit()) == "link"
        assert await durable.accounts.by_identity(link.key) == (account, link)

    async def test_the_same_subject_of_another_issuer_is_somebody_else(self, durable: Durable) -> None:
        _, link = await kept_account(durable)
        assert await durable.accounts.by_identity(replace(link.key, issuer="https://other.example")) is None

    async def test_one_failed_step_undoes_the_whole_unit(self, durable: Durable) -> None:
        """catalogue 164"""
        _, taken = await kept_account(durable)
        account = make.account()
        receipt = make.receipt(account.id)
        unit = durable.unit()
        unit.append_receipt(receipt)
        unit.add_account(account)
        unit.add_link(make.link(account, key=taken.key))
        assert await conflict_of(unit.commit()) == "link"
        assert await durable.accounts.load(account.id) is None
        assert await durable.ledger.receipts(account.id) == ()

    async def test_twenty_sign_ups_of_one_identity_make_one_account(self, durable: Durable) -> None:
        """catalogue 176"""
        key = IdentityKey(issuer="https://facebook.example", subject="raced")

        def sign_up() -> Callable[[], Awaitable[object]]:
            account = make.account()
            unit = durable.unit()
            unit.add_account(account)
            unit.add_link(make.link(account, key=key))
            return unit.commit

        got = await outcomes([sign_up() for _ in range(TAKERS)])
        assert got.count(None) == 1
        assert {conflict.what for conflict in got if isinstance(conflict, Conflict)} == {"link"}

    async def test_a_used_link_says_when(self, durable: Durable) -> None:
        account, link = await kept_account(durable)
        unit = durable.unit()
        unit.touch_link(link.id, NOW)
        await unit.commit()
        assert await durable.accounts.links(account.id) == (replace(link, last_used_at=NOW),)

    async def test_a_renamed_link_stands_for_the_new_identity_alone(self, durable: Durable) -> None:
        account, link = await kept_account(durable)
        _, somebody = await kept_account(durable)
        now_named = make.link(account)
        renamed = replace(link, provider=now_named.provider, key=now_named.key, last_used_at=NOW, hint="new")
        unit = durable.unit()
        unit.rename_link(renamed, link.key)
        await unit.commit()
        assert await durable.accounts.links(account.id) == (renamed,)
        assert await durable.accounts.by_identity(link.key) is None
        assert await durable.accounts.by_identity(renamed.key) == (account, renamed)
        for wrong, former in (
            (renamed, link.key),  # it is another one by now
            (replace(renamed, key=somebody.key), renamed.key),  # somebody has that
            (replace(renamed, account=somebody.account), renamed.key),
            (make.link(account), now_named.key),  # there is no such link
        ):
            unit = durable.unit()
            unit.rename_link(wrong, former)
            assert await conflict_of(unit.commit()) == "link"
        assert await durable.accounts.links(account.id) == (renamed,)

    async def test_a_passkey_is_found_by_its_id_and_remembers_what_it_said_last(self, durable: Durable) -> None:
        """Written over its own name; nothing of it comes back once it is removed."""
        account, other = await kept_account(durable)
        first = Passkey(public_key=b"\xa5\x00key", owner=b"\xffowner", counter=1, can_be_copied=True, is_copied=False)
        link = make.link(account, provider=BY_PASSKEY, key=key_of(b"credential"), hint="My phone", passkey=first)
        unit = durable.unit()
        unit.add_link(link)
        await unit.commit()
        assert await durable.accounts.by_identity(key_of(b"credential")) == (account, link)
        used = replace(link, passkey=replace(first, counter=9, is_copied=True), last_used_at=NOW)
        unit = durable.unit()
        unit.use_link(used, link.last_used_at)
        await unit.commit()
        assert await durable.accounts.by_identity(link.key) == (account, used)
        for late, seen in ((used, link.last_used_at), (replace(used, account=make.account().id), NOW)):
            unit = durable.unit()
            unit.use_link(replace(late, last_used_at=NOW + timedelta(hours=1)), seen)
            assert await conflict_of(unit.commit()) == "stale"
        assert set(await durable.accounts.links(account.id)) == {other, used}
        unit = durable.unit()
        unit.remove_link(account.id, link.id)
        await unit.commit()
        unit = durable.unit()
        unit.use_link(used, NOW)
        assert await conflict_of(unit.commit()) == "stale"
        assert await durable.accounts.by_identity(link.key) is None

    async def test_the_last_link_stays(self, durable: Durable) -> None:
        """catalogue 124"""
        account, link = await kept_account(durable)
        second = make.link(account)
        unit = durable.unit()
        unit.add_link(second)
        unit.remove_link(account.id, link.id)
        await unit.commit()
        assert await durable.accounts.links(account.id) == (second,)
        unit = durable.unit()
        unit.remove_link(account.id, link.id)  # gone already: nothing
        await unit.commit()
        unit = durable.unit()
        unit.remove_link(account.id, second.id)
        assert await conflict_of(unit.commit()) == "last_link"

    async def test_two_links_removed_at_once_leave_one(self, durable: Durable) -> None:
        """catalogue 124"""
        account, link = await kept_account(durable)
        second = make.link(account)
        unit = durable.unit()
        unit.add_link(second)
        await unit.commit()

        def removal(link_id: str) -> Callable[[], Awaitable[object]]:
            unit = durable.unit()
            unit.remove_link(account.id, link_id)
            return unit.commit

        got = await outcomes([removal(link.id), removal(second.id)])
        assert sum(isinstance(one, Conflict) for one in got) == 1
        assert len(await durable.accounts.links(account.id)) == 1

    async def test_a_link_of_somebody_else_is_not_removed(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        other, link = await kept_account(durable)
        unit = durable.unit()
        unit.add_link(make.link(other))
        unit.remove_link(account.id, link.id)
        await unit.commit()
        assert link in await durable.accounts.links(other.id)

    async def test_account_and_receipts_come_together_and_in_order(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        receipts = [make.receipt(account.id, decided_at=NOW - n * SECOND) for n in range(3)]
        unit = durable.unit()
        for receipt in receipts:
            unit.append_receipt(receipt)
        unit.append_receipt(make.receipt(account.id, counterparty=str(WIKI)))
        unit.append_receipt(make.receipt(account.id, purpose=Purpose.PREFILL_SIGN_UP))
        await unit.commit()
        found = await durable.accounts.with_receipts(account.id, Purpose.SHARE_WITH_CLIENT, str(FORUM))
        assert found == (account, tuple(receipts))
        assert await durable.accounts.with_receipts(account.id, Purpose.POST_UPSTREAM, "x") == (account, ())

    async def test_an_erased_account_leaves_its_records_and_its_name_taken(self, durable: Durable) -> None:
        account, link = await kept_account(durable, profile=make.profile("gone-away"))
        grant = await kept_grant(durable, account.id)
        family = await kept_family(durable, grant)
        code, posting = make.code(grant), make.posting(account.id)
        receipt, row = make.receipt(account.id), make.disclosure_row(grant)
        unit = durable.unit()
        unit.add_code(code)
        unit.add_posting(posting)
        unit.save_upstream_tokens(account.id, FACEBOOK, make.upstream_tokens())
        unit.add_posting_subject(account.id, FORUM, f"number-of-{account.id}")
        unit.append_receipt(receipt)
        unit.append_disclosure(row)
        await unit.commit()

        unit = durable.unit()
        unit.erase_account(account.id, NOW)
        await unit.commit()

        assert await durable.accounts.load(account.id) is None
        assert await durable.accounts.links(account.id) == ()
        assert await durable.accounts.by_identity(link.key) is None
        assert await durable.accounts.with_receipts(account.id, Purpose.SHARE_WITH_CLIENT, str(FORUM)) is None
        assert await durable.grants.load(grant.id) is None
        assert await durable.grants.load_family(family.id) is None
        assert await durable.grants.consume_code(code.digest, NOW) is None
        assert await durable.grants.with_account(grant.id, "t") is None
        assert await durable.postings.load(posting.id) is None
        assert not await durable.vault.holds(account.id, FACEBOOK)
        assert await durable.postings.account_of(FORUM, f"number-of-{account.id}") is None
        assert await durable.ledger.receipts(account.id) == (receipt,)
        assert await durable.ledger.disclosures(account.id) == (row,)
        assert not await durable.accounts.is_user_name_free(user_name_key("gone-away"))
        unit = durable.unit()
        unit.add_account(make.account(account.id, profile={}))
        assert await conflict_of(unit.commit()) == "account"
        unit = durable.unit()
        unit.add_account(make.account(profile=make.profile("gone_away", verified=False)))
        assert await conflict_of(unit.commit()) == "user_name"

    async def test_an_erased_accounts_address_and_identity_may_sign_up_anew(self, durable: Durable) -> None:
        account, link = await kept_account(durable, profile=make.profile("again"))
        unit = durable.unit()
        unit.erase_account(account.id, NOW)
        await unit.commit()
        fresh = make.account(
            profile=make.profile("again") | {PREFERRED_USERNAME: ProfileValue(value="newname", source="person")}
        )
        unit = durable.unit()
        unit.add_account(fresh)
        unit.add_link(make.link(fresh, key=link.key))
        await unit.commit()
        assert (await durable.accounts.by_identity(link.key) or (None,))[0] == fresh

    async def test_nothing_is_added_to_an_erased_account(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        unit = durable.unit()
        unit.erase_account(account.id, NOW)
        await unit.commit()
        adding: tuple[Callable[[UnitOfWork], None], ...] = (
            lambda unit: unit.add_grant(make.grant(account.id)),
            lambda unit: unit.add_link(make.link(account)),
            lambda unit: unit.add_posting(make.posting(account.id)),
            lambda unit: unit.save_upstream_tokens(account.id, FACEBOOK, make.upstream_tokens()),
            lambda unit: unit.add_posting_subject(account.id, FORUM, "a number"),
        )
        for add in adding:
            unit = durable.unit()
            add(unit)
            assert await conflict_of(unit.commit()) == "account"
        unit = durable.unit()
        unit.save_account(account)
        assert await conflict_of(unit.commit()) == "stale"


class LedgerContract:
    async def test_every_field_of_a_receipt_comes_back(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        receipt = make.receipt(account.id)
        plain = make.receipt(account.id, sid=None, withdraws=None, scopes=frozenset(), refused=())
        unit = durable.unit()
        unit.append_receipt(receipt)
        unit.append_receipt(plain)
        await unit.commit()
        assert await durable.ledger.receipts(account.id) == (receipt, plain)

    async def test_receipts_are_found_by_purpose_and_party(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        forum, wiki = make.receipt(account.id), make.receipt(account.id, counterparty=str(WIKI))
        prefill = make.receipt(account.id, purpose=Purpose.PREFILL_SIGN_UP)
        unit = durable.unit()
        for receipt in (forum, wiki, prefill, make.receipt(AccountId("somebody-else"))):
            unit.append_receipt(receipt)
        await unit.commit()
        ledger = durable.ledger
        assert await ledger.receipts(account.id) == (forum, wiki, prefill)
        assert await ledger.receipts(account.id, Purpose.SHARE_WITH_CLIENT) == (forum, wiki)
        assert await ledger.receipts(account.id, counterparty=str(FORUM)) == (forum, prefill)
        assert await ledger.receipts(account.id, Purpose.SHARE_WITH_CLIENT, str(WIKI)) == (wiki,)

    async def test_a_receipt_is_written_once(self, durable: Durable) -> None:
        receipt = make.receipt(AccountId("somebody"))
        for expected in (None, "receipt"):
            unit = durable.unit()
            unit.append_receipt(receipt)
            if expected is None:
                await unit.commit()
            else:
                assert await conflict_of(unit.commit()) == expected

    async def test_one_disclosure_per_grant_claims_way_and_day(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        row = make.disclosure_row(grant)
        others = [
            make.disclosure_row(grant, via=Via.ID_TOKEN, released_at=NOW + SECOND),
            make.disclosure_row(grant, claims=(NAME,), released_at=NOW + 2 * SECOND),
            make.disclosure_row(grant, day=NOW.date() + timedelta(days=1), released_at=NOW + 3 * SECOND),
            make.disclosure_row(grant, claims=(), released_at=NOW + 4 * SECOND),
        ]
        for one in (row, replace(row, released_at=NOW + 9 * SECOND), *others):
            unit = durable.unit()
            unit.append_disclosure(one)
            await unit.commit()
        assert await durable.ledger.disclosures(grant.account) == (*reversed(others), row)

    async def test_disclosures_are_found_by_site_day_and_page(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        wiki = await kept_grant(durable, grant.account, client=WIKI)
        day = timedelta(days=1)
        rows = [make.disclosure_row(grant, day=NOW.date() - n * day, released_at=NOW - n * day) for n in range(4)]
        at_wiki = make.disclosure_row(wiki, released_at=NOW - timedelta(days=9), day=NOW.date() - timedelta(days=9))
        unit = durable.unit()
        for row in (*rows, at_wiki):
            unit.append_disclosure(row)
        await unit.commit()
        found = durable.ledger.disclosures
        assert await found(grant.account, client=WIKI) == (at_wiki,)
        assert await found(grant.account, since=NOW.date() - 2 * day, until=NOW.date() - day) == tuple(rows[1:3])
        assert await found(grant.account, limit=2, offset=1) == tuple(rows[1:3])
        assert await found(AccountId("somebody-else")) == ()


class GrantsContract:
    async def test_every_field_of_a_grant_comes_back(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        plain = await kept_grant(durable, grant.account, acr=None, amr=(), claims={}, revoked_at=NOW)
        assert await durable.grants.load(grant.id) == grant
        assert await durable.grants.load(plain.id) == plain
        assert await durable.grants.load(GrantId("unknown")) is None

    async def test_every_field_of_a_family_comes_back(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        family = await kept_family(durable, grant)
        assert await durable.grants.load_family(family.id) == family
        assert await durable.grants.load_family("unknown") is None

    async def test_a_code_is_redeemed_once(self, durable: Durable) -> None:
        """catalogue 20"""
        grant = await kept_grant(durable)
        code = make.code(grant)
        unit = durable.unit()
        unit.add_code(code)
        await unit.commit()
        redeemed = await durable.grants.consume_code(code.digest, NOW)
        assert redeemed == Redeemed(code=replace(code, used_at=NOW), grant=grant)
        assert await durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)
        assert await durable.grants.consume_code(b"x" * 32, NOW) is None

    async def test_a_code_without_nonce_or_challenge_comes_back_so(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        code = make.code(grant, nonce=None, code_challenge=None)
        unit = durable.unit()
        unit.add_code(code)
        await unit.commit()
        assert await durable.grants.consume_code(code.digest, NOW) == Redeemed(
            code=replace(code, used_at=NOW), grant=grant
        )

    async def test_of_twenty_takers_of_a_code_one_wins(self, durable: Durable) -> None:
        """catalogue 21"""
        grant = await kept_grant(durable)
        code = make.code(grant)
        unit = durable.unit()
        unit.add_code(code)
        await unit.commit()
        got = await outcomes([lambda: durable.grants.consume_code(code.digest, NOW)] * TAKERS)
        assert sum(isinstance(one, Redeemed) for one in got) == 1
        assert sum(one == AlreadyRedeemed(grant=grant.id) for one in got) == TAKERS - 1

    async def test_grant_code_and_receipt_are_written_together_or_not_at_all(self, durable: Durable) -> None:
        """catalogue 164"""
        account = AccountId("nobody-here")
        grant, receipt = make.grant(account), make.receipt(account)
        code = make.code(grant)
        unit = durable.unit()
        unit.append_receipt(receipt)
        unit.add_grant(grant)
        unit.add_code(code)
        assert await conflict_of(unit.commit()) == "account"
        assert await durable.grants.consume_code(code.digest, NOW) is None
        assert await durable.ledger.receipts(account) == ()

    async def test_the_current_refresh_token_steps_the_family(self, durable: Durable) -> None:
        family = await kept_family(durable, await kept_grant(durable))
        rotated = await durable.grants.rotate(family.id, 7, FORUM, NOW)
        assert isinstance(rotated, Rotated)
        assert rotated.family == replace(
            family, generation=8, rotated_at=NOW, retried=False, idle_expires_at=NOW + timedelta(days=30)
        )
        assert await durable.grants.load_family(family.id) == rotated.family

    async def test_a_lost_answer_may_be_asked_for_once(self, durable: Durable) -> None:
        """catalogue 92"""
        grant = await kept_grant(durable)
        family = await kept_family(durable, grant)
        first = await durable.grants.rotate(family.id, 7, FORUM, NOW)
        again = await durable.grants.rotate(family.id, 7, FORUM, NOW + 29 * SECOND)
        assert isinstance(first, Rotated)
        assert again == Rotated(family=replace(first.family, retried=True))
        third = await durable.grants.rotate(family.id, 7, FORUM, NOW + 29 * SECOND)
        assert isinstance(third, Reused)
        assert (await durable.grants.load(grant.id) or grant).revoked_at is not None

    async def test_a_retry_that_comes_too_late_is_reuse(self, durable: Durable) -> None:
        """catalogue 92"""
        family = await kept_family(durable, await kept_grant(durable))
        await durable.grants.rotate(family.id, 7, FORUM, NOW)
        assert isinstance(await durable.grants.rotate(family.id, 7, FORUM, NOW + 31 * SECOND), Reused)

    async def test_reuse_revokes_family_grant_and_codes_for_good(self, durable: Durable) -> None:
        """catalogue 87, 89"""
        grant = await kept_grant(durable)
        family, sibling = await kept_family(durable, grant), await kept_family(durable, grant)
        code = make.code(grant)
        unit = durable.unit()
        unit.add_code(code)
        await unit.commit()
        reused = await durable.grants.rotate(family.id, 5, FORUM, NOW)
        assert reused == Reused(family=replace(family, revoked_at=NOW))
        assert await durable.grants.load(grant.id) == replace(grant, revoked_at=NOW)
        assert await durable.grants.load_family(sibling.id) == replace(sibling, revoked_at=NOW)
        assert await durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=grant.id)
        assert await durable.grants.rotate(family.id, 7, FORUM, NOW) is None
        assert await durable.grants.rotate(sibling.id, 7, FORUM, NOW) is None

    async def test_what_cannot_be_rotated_is_none_and_changes_nothing(self, durable: Durable) -> None:
        """catalogue 90, 91"""
        grant = await kept_grant(durable)
        family = await kept_family(durable, grant)
        idle = await kept_family(durable, grant, idle_expires_at=NOW)
        old = await kept_family(durable, grant, expires_at=NOW)
        rotate = durable.grants.rotate
        assert await rotate("unknown", 7, FORUM, NOW) is None
        assert await rotate(family.id, 7, WIKI, NOW) is None
        assert await rotate(family.id, 5, WIKI, NOW) is None
        assert await rotate(family.id, 8, FORUM, NOW) is None
        assert await rotate(idle.id, 7, FORUM, NOW) is None
        assert await rotate(idle.id, 5, FORUM, NOW) is None
        assert await rotate(old.id, 7, FORUM, NOW) is None
        for before in (family, idle, old):
            assert await durable.grants.load_family(before.id) == before
        assert await durable.grants.load(grant.id) == grant

    async def test_a_renewed_family_keeps_its_token(self, durable: Durable) -> None:
        """Without rotation only the idle time begins anew; twenty at once are all answered the same."""
        family = await kept_family(durable, await kept_grant(durable))
        renewed = replace(family, idle_expires_at=NOW + timedelta(days=30))
        got = await outcomes([lambda: durable.grants.renew(family.id, 7, FORUM, NOW)] * TAKERS)
        assert got == [renewed] * TAKERS
        assert await durable.grants.load_family(family.id) == renewed

    async def test_what_cannot_be_renewed_is_none_and_changes_nothing(self, durable: Durable) -> None:
        """catalogue 90, 91"""
        grant = await kept_grant(durable)
        family = await kept_family(durable, grant)
        idle = await kept_family(durable, grant, idle_expires_at=NOW)
        old = await kept_family(durable, grant, expires_at=NOW)
        renew = durable.grants.renew
        for one, presented, client in (
            ("unknown", 7, FORUM), (family.id, 7, WIKI), (family.id, 6, FORUM), (family.id, 8, FORUM),
            (idle.id, 7, FORUM), (old.id, 7, FORUM),
        ):  # fmt: skip
            assert await renew(one, presented, client, NOW) is None
        for before in (family, idle, old):
            assert await durable.grants.load_family(before.id) == before
        unit = durable.unit()
        unit.revoke_grant(grant.id, NOW)
        await unit.commit()
        assert await renew(family.id, 7, FORUM, NOW) is None

    async def test_of_twenty_refreshes_one_steps_and_one_retries(self, durable: Durable) -> None:
        """catalogue 88: what is answered twice is the same successor; one more try and the family is dead."""
        family = await kept_family(durable, await kept_grant(durable))
        got = await outcomes([lambda: durable.grants.rotate(family.id, 7, FORUM, NOW)] * 2)
        assert [type(one) for one in got] == [Rotated, Rotated]
        assert {one.family.generation for one in got if isinstance(one, Rotated)} == {8}
        got = await outcomes([lambda: durable.grants.rotate(family.id, 8, FORUM, NOW)] * TAKERS)
        assert sum(isinstance(one, Rotated) for one in got) == 2
        assert sum(isinstance(one, Reused) for one in got) == 1
        assert sum(one is None for one in got) == TAKERS - 3
        assert (await durable.grants.load_family(family.id) or family).revoked_at is not None

    async def test_no_family_grows_on_a_revoked_grant(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        unit = durable.unit()
        unit.revoke_grant(grant.id, NOW)
        await unit.commit()
        unit = durable.unit()
        family = make.family(grant)
        unit.append_disclosure(make.disclosure_row(grant))
        unit.add_family(family)
        assert await conflict_of(unit.commit()) == "grant"
        assert await durable.grants.load_family(family.id) is None
        assert await durable.ledger.disclosures(grant.account) == ()

    async def test_families_and_a_revocation_at_once_leave_none_alive(self, durable: Durable) -> None:
        """catalogue 20, 83"""
        grant = await kept_grant(durable)
        families = [make.family(grant) for _ in range(10)]

        async def add(family: RefreshFamily) -> None:
            unit = durable.unit()
            unit.add_family(family)
            await unit.commit()

        async def revoke() -> None:
            unit = durable.unit()
            unit.revoke_grant(grant.id, NOW)
            await unit.commit()

        adding: list[Callable[[], Awaitable[object]]] = [lambda family=family: add(family) for family in families]  # type: ignore[misc]
        await outcomes([*adding[:5], revoke, *adding[5:]])
        left = [await durable.grants.load_family(family.id) for family in families]
        assert [family for family in left if family is not None and family.revoked_at is None] == []

    async def test_revoking_reaches_exactly_what_matches(self, durable: Durable) -> None:
        """catalogue 83, 84"""
        account, _ = await kept_account(durable)
        here, there = Sid("here"), Sid("there")
        online = frozenset({Scope("openid")})
        a = await kept_grant(durable, account.id, sid=here, scopes=online)
        b = await kept_grant(durable, account.id, sid=here, client=WIKI)
        c = await kept_grant(durable, account.id, sid=there, scopes=online)
        d = await kept_grant(durable, sid=here)

        async def standing() -> set[GrantId]:
            found = [await durable.grants.load(grant.id) for grant in (a, b, c, d)]
            return {grant.id for grant in found if grant is not None and grant.revoked_at is None}

        unit = durable.unit()
        unit.revoke_grants(account.id, NOW, sid=here, keep_offline=True)
        await unit.commit()
        assert await standing() == {b.id, c.id, d.id}
        unit = durable.unit()
        unit.revoke_grants(account.id, NOW, client=ClientId("forum"), sid=there)
        await unit.commit()
        assert await standing() == {b.id, d.id}
        family, code = await kept_family(durable, b), make.code(b)
        unit = durable.unit()
        unit.add_code(code)
        await unit.commit()
        unit = durable.unit()
        unit.revoke_grants(account.id, NOW)
        await unit.commit()
        assert await standing() == {d.id}
        assert await durable.grants.rotate(family.id, 7, WIKI, NOW) is None
        assert await durable.grants.consume_code(code.digest, NOW) == AlreadyRedeemed(grant=b.id)

    async def test_revoking_again_keeps_the_first_time(self, durable: Durable) -> None:
        grant = await kept_grant(durable)
        for at in (NOW, NOW + SECOND):
            unit = durable.unit()
            unit.revoke_grant(grant.id, at)
            await unit.commit()
        assert await durable.grants.load(grant.id) == replace(grant, revoked_at=NOW)

    async def test_grant_and_account_come_together(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        grant = await kept_grant(durable, account.id)
        assert await durable.grants.with_account(grant.id, "token-1") == (grant, account)
        assert await durable.grants.with_account(GrantId("unknown"), "token-1") is None

    async def test_one_access_token_can_be_revoked_alone(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        grant = await kept_grant(durable, account.id)
        for _ in range(2):  # a second time is no error
            unit = durable.unit()
            unit.revoke_access_token("token-1", NOW + timedelta(minutes=10))
            await unit.commit()
        assert await durable.grants.with_account(grant.id, "token-1") is None
        assert await durable.grants.with_account(grant.id, "token-2") == (grant, account)
        assert [await durable.grants.is_revoked(token) for token in ("token-1", "token-2")] == [True, False]

    async def test_standing_grants_newest_first(self, durable: Durable, clock: FixedClock) -> None:
        account, _ = await kept_account(durable)
        old = await kept_grant(durable, account.id, created_at=NOW - timedelta(days=9))
        new = await kept_grant(durable, account.id, client=WIKI)
        await kept_grant(durable, account.id, revoked_at=NOW)
        brief = await kept_grant(durable, account.id, expires_at=NOW + SECOND, created_at=NOW - timedelta(days=99))
        assert await durable.grants.of_account(account.id) == (new, old, brief)
        clock.move(SECOND)
        assert await durable.grants.of_account(account.id) == (new, old)
        assert await durable.grants.of_account(account.id, client=WIKI) == (new,)


def place(index: int, name: str = "list-1") -> StatusPlace:
    return StatusPlace(list=name, index=index)


class StatusesContract:
    async def test_no_number_is_given_out_twice(self, durable: Durable) -> None:
        assert await durable.statuses.reserved() == 0
        firsts = await asyncio.gather(*(durable.statuses.reserve(7) for _ in range(TAKERS)))
        assert sorted(firsts) == list(range(0, 7 * TAKERS, 7))
        assert await durable.statuses.reserved() == 7 * TAKERS

    async def test_a_grant_keeps_its_place(self, durable: Durable) -> None:
        grant = await kept_grant(durable, status=place(5))
        assert await durable.grants.load(grant.id) == grant
        assert await durable.statuses.ended(NOW - SECOND, NOW) == ()

    @pytest.mark.parametrize("end", ["one grant", "a session", "a site", "everything", "the account", "held"])
    async def test_whatever_ends_a_grant_marks_its_place(self, durable: Durable, end: str) -> None:
        """In the same unit of work; a grant without a place has none to mark (catalogue 83)."""
        mine = await kept_grant(durable, status=place(5), sid=Sid("s-1"), client=FORUM)
        await kept_grant(durable, mine.account, sid=mine.sid, client=FORUM)
        other = await kept_grant(durable, mine.account, status=place(6), sid=Sid("s-2"), client=WIKI)
        await kept_grant(durable, status=place(5, "list-2"), sid=mine.sid)
        unit = durable.unit()
        if end == "one grant":
            unit.revoke_grant(mine.id, NOW)
        elif end == "a session":
            unit.revoke_grants(mine.account, NOW, sid=mine.sid)
        elif end == "a site":
            unit.revoke_grants(mine.account, NOW, client=FORUM)
        elif end == "everything":
            unit.revoke_grants(mine.account, NOW)
        elif end == "held":
            account = await durable.accounts.load(mine.account)
            assert account is not None
            unit.save_account(account)
            unit.save_account(replace(account, status=AccountStatus.HELD, version=account.version + 1))
        else:
            unit.erase_account(mine.account, NOW)
        await unit.commit()
        reached = {mine.status} if end in {"one grant", "a session", "a site"} else {mine.status, other.status}
        assert set(await durable.statuses.ended(NOW - SECOND, NOW)) == {(one, NOW) for one in reached}

    async def test_a_refresh_token_that_comes_back_marks_the_place(self, durable: Durable) -> None:
        """catalogue 22"""
        family = await kept_family(durable, await kept_grant(durable, status=place(5)), generation=5)
        assert isinstance(await durable.grants.rotate(family.id, 2, family.client, NOW), Reused)
        assert await durable.statuses.ended(NOW - SECOND, NOW) == ((place(5), NOW),)

    async def test_a_place_is_marked_at_the_first_end(self, durable: Durable) -> None:
        grant = await kept_grant(durable, status=place(5))
        for seconds in (0, 1, 2):
            unit = durable.unit()
            unit.revoke_grants(grant.account, NOW + seconds * SECOND)
            await unit.commit()
        assert await durable.statuses.ended(NOW - SECOND, NOW) == ((place(5), NOW),)
        assert await durable.statuses.ended(NOW, NOW + 9 * SECOND) == ()

    async def test_a_grant_that_outlives_the_session_keeps_its_bit(self, durable: Durable) -> None:
        grant = await kept_grant(durable, status=place(5), scopes=frozenset({Scope("openid"), OFFLINE_ACCESS}))
        unit = durable.unit()
        unit.revoke_grants(grant.account, NOW, keep_offline=True)
        await unit.commit()
        assert await durable.statuses.ended(NOW - SECOND, NOW) == ()

    async def test_a_place_is_forgotten_when_no_token_can_name_it(self, durable: Durable) -> None:
        grant = await kept_grant(durable, status=place(5), expires_at=NOW + timedelta(days=1))
        unit = durable.unit()
        unit.revoke_grant(grant.id, NOW)
        await unit.commit()
        assert await durable.purge(NOW + KEEP - SECOND) == 0
        assert await durable.statuses.ended(NOW - SECOND, NOW) != ()
        assert await durable.purge(NOW + KEEP) == 1
        assert await durable.statuses.ended(NOW - SECOND, NOW) == ()


class PostingsContract:
    async def test_a_number_at_a_site_leads_to_its_account_until_it_is_dropped(self, durable: Durable) -> None:
        (account, _), (other, _) = await kept_account(durable), await kept_account(durable)
        number, foreign = f"number-of-{account.id}", f"number-of-{other.id}"
        unit = durable.unit()
        for owner, client, subject in ((account, FORUM, number), (account, WIKI, number), (other, FORUM, foreign)):
            unit.add_posting_subject(owner.id, client, subject)
        unit.add_posting_subject(account.id, FORUM, number)
        await unit.commit()
        assert await durable.postings.account_of(FORUM, number) == account.id
        assert await durable.postings.account_of(FORUM, foreign) == other.id
        assert await durable.postings.account_of(WIKI, foreign) is None
        unit = durable.unit()
        unit.drop_posting_subject(account.id, FORUM)
        unit.drop_posting_subject(account.id, FORUM)
        await unit.commit()
        assert await durable.postings.account_of(FORUM, number) is None
        assert await durable.postings.account_of(WIKI, number) == account.id
        assert await durable.postings.account_of(FORUM, foreign) == other.id

    async def test_every_field_of_a_posting_comes_back(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        posting = make.posting(account.id)
        plain = make.posting(account.id, receipt=None, remote_id=None, remote_url=None, settled_at=None, created_at=NOW)
        unit = durable.unit()
        unit.add_posting(posting)
        unit.add_posting(plain)
        await unit.commit()
        assert await durable.postings.load(posting.id) == posting
        assert await durable.postings.recent(account.id) == (plain, posting)
        assert await durable.postings.recent(account.id, limit=1) == (plain,)
        assert await durable.postings.load("unknown") is None

    async def test_a_posting_moves_only_from_where_it_is_expected(self, durable: Durable) -> None:
        """catalogue 192"""
        account, _ = await kept_account(durable)
        posting = make.posting(account.id, remote_id=None, remote_url=None, settled_at=None)
        unit = durable.unit()
        unit.add_posting(posting)
        await unit.commit()
        unit = durable.unit()
        unit.move_posting(posting.id, expected=PostState.ASKED, state=PostState.SENDING, now=NOW)
        await unit.commit()
        assert await durable.postings.load(posting.id) == replace(posting, state=PostState.SENDING)
        unit = durable.unit()
        unit.move_posting(posting.id, expected=PostState.ASKED, state=PostState.DECLINED, now=NOW)
        assert await conflict_of(unit.commit()) == "posting"
        unit = durable.unit()
        unit.move_posting(
            posting.id,
            expected=PostState.SENDING,
            state=PostState.POSTED,
            now=NOW,
            remote_id="r",
            remote_url="https://r",
        )
        await unit.commit()
        unit = durable.unit()
        unit.move_posting(posting.id, expected=PostState.POSTED, state=PostState.UNDONE, now=NOW + SECOND)
        await unit.commit()
        assert await durable.postings.load(posting.id) == replace(
            posting, state=PostState.UNDONE, remote_id="r", remote_url="https://r", settled_at=NOW + SECOND
        )

    async def test_of_twenty_movers_one_wins(self, durable: Durable) -> None:
        """catalogue 192"""
        account, _ = await kept_account(durable)
        posting = make.posting(account.id)
        unit = durable.unit()
        unit.add_posting(posting)
        await unit.commit()

        def move() -> Callable[[], Awaitable[object]]:
            unit = durable.unit()
            unit.move_posting(posting.id, expected=PostState.ASKED, state=PostState.SENDING, now=NOW)
            return unit.commit

        got = await outcomes([move() for _ in range(TAKERS)])
        assert got.count(None) == 1

    async def test_cancelling_reaches_what_was_asked_and_not_handed_over(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        other, _ = await kept_account(durable)
        asked = make.posting(account.id, settled_at=None)
        at_wiki = make.posting(account.id, client=WIKI, settled_at=None)
        elsewhere = make.posting(account.id, provider=ProviderId("mastodon"), settled_at=None)
        sending = make.posting(account.id, state=PostState.SENDING)
        foreign = make.posting(other.id)
        unit = durable.unit()
        for posting in (asked, at_wiki, elsewhere, sending, foreign):
            unit.add_posting(posting)
        await unit.commit()
        unit = durable.unit()
        unit.cancel_postings(account.id, NOW, client=FORUM, provider=FACEBOOK)
        await unit.commit()
        assert await durable.postings.load(asked.id) == cancelled(asked)
        for posting in (at_wiki, elsewhere, sending, foreign):
            assert await durable.postings.load(posting.id) == posting
        unit = durable.unit()
        unit.cancel_postings(account.id, NOW, client=WIKI)
        unit.cancel_postings(account.id, NOW, provider=ProviderId("mastodon"))
        unit.cancel_postings(account.id, NOW)
        await unit.commit()
        assert await durable.postings.load(at_wiki.id) == cancelled(at_wiki)
        assert await durable.postings.load(elsewhere.id) == cancelled(elsewhere)
        assert await durable.postings.load(sending.id) == sending
        assert await durable.postings.load(foreign.id) == foreign

    async def test_upstream_tokens_open_with_a_permit_for_them(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        other, _ = await kept_account(durable)
        tokens, fresh = make.upstream_tokens(), make.upstream_tokens(refresh_token=None, expires_at=None)
        for held in (tokens, fresh):
            unit = durable.unit()
            unit.save_upstream_tokens(account.id, FACEBOOK, held)
            await unit.commit()
            assert await durable.vault.open(make.posting_permit(account.id)) == held
        assert await durable.vault.holds(account.id, FACEBOOK)
        assert not await durable.vault.holds(account.id, ProviderId("mastodon"))
        assert await durable.vault.open(make.posting_permit(other.id)) is None
        unit = durable.unit()
        unit.drop_upstream_tokens(account.id, FACEBOOK)
        unit.drop_upstream_tokens(other.id, FACEBOOK)
        await unit.commit()
        assert await durable.vault.open(make.posting_permit(account.id)) is None

    async def test_of_any_number_one_renews_the_tokens(self, durable: Durable) -> None:
        """And only that one puts new ones there, which lets the next one at them."""
        account, _ = await kept_account(durable)
        old, new = make.upstream_tokens(), make.upstream_tokens(access_token="renewed")
        unit = durable.unit()
        unit.save_upstream_tokens(account.id, FACEBOOK, old)
        await unit.commit()

        async def claim(since: datetime) -> bool:
            unit = durable.unit()
            unit.claim_upstream_tokens(account.id, FACEBOOK, since=since, given_up=since - MINUTE)
            return await is_kept(unit)

        async def renew(since: datetime) -> bool:
            unit = durable.unit()
            unit.renew_upstream_tokens(account.id, FACEBOOK, new, since=since)
            return await is_kept(unit)

        assert not await renew(NOW)
        claims = await asyncio.gather(*(claim(NOW + SECOND * number) for number in range(TAKERS)))
        assert sum(claims) == 1
        mine = NOW + SECOND * claims.index(True)
        assert not await renew(mine + SECOND)
        assert await durable.vault.open(make.posting_permit(account.id)) == old
        assert await renew(mine)
        assert await durable.vault.open(make.posting_permit(account.id)) == new
        assert not await renew(mine)
        assert await claim(NOW)

    async def test_a_claim_that_was_cut_off_or_given_back_stops_nobody(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        key = (account.id, FACEBOOK)
        unit = durable.unit()
        unit.claim_upstream_tokens(*key, since=NOW, given_up=NOW - MINUTE)
        assert not await is_kept(unit)  # there is nothing to renew
        unit = durable.unit()
        unit.save_upstream_tokens(*key, make.upstream_tokens())
        unit.claim_upstream_tokens(*key, since=NOW, given_up=NOW - MINUTE)
        await unit.commit()
        unit = durable.unit()
        unit.release_upstream_tokens(*key, since=NOW - SECOND)  # somebody else's: stays
        unit.claim_upstream_tokens(*key, since=NOW + SECOND, given_up=NOW - MINUTE)
        assert not await is_kept(unit)
        unit = durable.unit()
        unit.release_upstream_tokens(*key, since=NOW)
        unit.claim_upstream_tokens(*key, since=NOW + SECOND, given_up=NOW - MINUTE)
        await unit.commit()
        unit = durable.unit()
        unit.claim_upstream_tokens(*key, since=NOW + MINUTE + SECOND, given_up=NOW + SECOND)
        await unit.commit()

    async def test_tokens_of_a_new_opt_in_are_nobodys_to_renew(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        key = (account.id, FACEBOOK)
        anew = make.upstream_tokens(access_token="of the new opt-in")
        for ended in ("dropped", "replaced"):
            unit = durable.unit()
            unit.save_upstream_tokens(*key, make.upstream_tokens())
            unit.claim_upstream_tokens(*key, since=NOW, given_up=NOW - MINUTE)
            await unit.commit()
            unit = durable.unit()
            if ended == "dropped":
                unit.drop_upstream_tokens(*key)
            else:
                unit.save_upstream_tokens(*key, anew)
            await unit.commit()
            unit = durable.unit()
            unit.renew_upstream_tokens(*key, make.upstream_tokens(access_token="late"), since=NOW)
            assert not await is_kept(unit)
            found = await durable.vault.open(make.posting_permit(account.id))
            assert found == (None if ended == "dropped" else anew)


class OutboxContract:
    async def test_every_field_of_a_delivery_comes_back(self, durable: Durable) -> None:
        delivery = make.delivery()
        unit = durable.unit()
        unit.enqueue(delivery)
        unit.enqueue(make.delivery(due_at=NOW + SECOND))
        await unit.commit()
        assert await durable.outbox.claim(NOW, 10) == (delivery,)

    async def test_a_delivery_goes_away_with_the_unit_that_caused_it(self, durable: Durable) -> None:
        unit = durable.unit()
        unit.enqueue(make.delivery())
        unit.save_account(make.account())
        assert await conflict_of(unit.commit()) == "stale"
        assert await durable.outbox.claim(NOW, 10) == ()

    async def test_what_is_claimed_is_claimed_for_a_minute(self, durable: Durable) -> None:
        deliveries = [make.delivery(due_at=NOW - n * SECOND) for n in range(3)]
        unit = durable.unit()
        for delivery in deliveries:
            unit.enqueue(delivery)
        await unit.commit()
        assert await durable.outbox.claim(NOW, 1) == (deliveries[2],)
        assert await durable.outbox.claim(NOW, 1) == (deliveries[1],), "what is claimed hides nothing behind it"
        assert await durable.outbox.claim(NOW, 10) == (deliveries[0],)
        assert await durable.outbox.claim(NOW + 59 * SECOND, 10) == ()
        assert len(await durable.outbox.claim(NOW + 60 * SECOND, 10)) == 3

    async def test_twenty_claimers_share_without_overlap(self, durable: Durable) -> None:
        unit = durable.unit()
        for _ in range(30):
            unit.enqueue(make.delivery())
        await unit.commit()
        got = await asyncio.gather(*(durable.outbox.claim(NOW, 3) for _ in range(TAKERS)))
        claimed = [delivery.id for some in got for delivery in some]
        assert len(claimed) == len(set(claimed))
        rest = [delivery.id for delivery in await durable.outbox.claim(NOW, 30)]
        assert len(set(claimed + rest)) == 30

    async def test_done_retry_and_give_up(self, durable: Durable) -> None:
        done, later, never = make.delivery(), make.delivery(), make.delivery()
        unit = durable.unit()
        for delivery in (done, later, never):
            unit.enqueue(delivery)
        await unit.commit()
        await durable.outbox.claim(NOW, 10)
        await durable.outbox.done(done.id)
        await durable.outbox.retry(later.id, NOW + 5 * SECOND, "http_500")
        await durable.outbox.give_up(never.id, "gone")
        retried = replace(later, due_at=NOW + 5 * SECOND, attempts=4, last_error="http_500")
        assert await durable.outbox.pending("sub", "pairwise-1") == (retried,)
        given_up = replace(never, attempts=4, last_error="gone")
        assert sorted(await durable.outbox.traces("sub", "pairwise-1"), key=lambda one: one[1]) == [
            (retried, False),
            (given_up, True),
        ]
        assert await durable.outbox.traces("sub", "pairwise-2") == ()
        assert await durable.outbox.claim(NOW + 5 * SECOND, 10) == (retried,)
        assert await durable.outbox.claim(NOW + timedelta(days=1), 10) == (retried,)

    async def test_what_is_put_off_was_not_tried(self, durable: Durable) -> None:
        waiting = make.delivery()
        unit = durable.unit()
        unit.enqueue(waiting)
        await unit.commit()
        assert await durable.outbox.claim(NOW, 10) == (waiting,)
        await durable.outbox.put_off(waiting.id, NOW + 5 * SECOND)
        assert await durable.outbox.claim(NOW, 10) == ()
        assert await durable.outbox.claim(NOW + 5 * SECOND, 10) == (replace(waiting, due_at=NOW + 5 * SECOND),)

    async def test_what_is_on_its_way_is_found_by_its_payload(self, durable: Durable) -> None:
        first, second = make.delivery(), make.delivery(payload={"sub": "pairwise-2"})
        unit = durable.unit()
        unit.enqueue(first)
        unit.enqueue(second)
        await unit.commit()
        assert await durable.outbox.pending("sub", "pairwise-2") == (second,)
        assert await durable.outbox.pending("uri", "https://forum.example/backchannel") == (first,)
        assert await durable.outbox.pending("sid", "pairwise-2") == ()
        await durable.outbox.done(first.id)
        assert await durable.outbox.pending("sub", "pairwise-1") == ()

    async def test_what_is_called_off_is_delivered_by_nobody(self, durable: Durable) -> None:
        payload = {"provider": "mastodon", "access_token": "a", "refresh_token": "r"}
        gone = [make.delivery(kind="back", payload=payload | {"refresh_token": other}) for other in "rs"]
        stays = [
            make.delivery(kind="other", payload=payload),
            make.delivery(kind="back", payload=payload | {"access_token": "b"}),
            make.delivery(kind="back", payload=payload | {"provider": "x"}),
            make.delivery(kind="back", payload={"provider": "mastodon", "refresh_token": "a"}),
        ]
        unit = durable.unit()
        for delivery in (*gone, *stays):
            unit.enqueue(delivery)
        await unit.commit()
        unit = durable.unit()
        unit.call_off("back", {"provider": "mastodon", "access_token": "a"}, NOW)
        await unit.commit()
        assert await durable.outbox.traces("refresh_token", "s") == ()
        assert {one.id for one in await durable.outbox.claim(NOW, 10)} == {one.id for one in stays}

    async def test_what_somebody_delivers_right_now_is_not_called_off(self, durable: Durable) -> None:
        """Nor is anything else written then; what was tried in vain, or cut off a minute ago, is."""
        account, _ = await kept_account(durable)
        delivery = make.delivery(kind="back", payload={"provider": "mastodon", "access_token": "a"})

        async def call_off(now: datetime) -> None:
            unit = durable.unit()
            unit.save_upstream_tokens(account.id, FACEBOOK, make.upstream_tokens())
            unit.call_off("back", {"provider": "mastodon", "access_token": "a"}, now)
            await unit.commit()

        for end in ("tried", "cut off"):
            unit = durable.unit()
            unit.enqueue(delivery)
            await unit.commit()
            assert await durable.outbox.claim(NOW, 1) == (delivery,)
            assert await conflict_of(call_off(NOW + 59 * SECOND)) == "under_way"
            assert await durable.outbox.pending("access_token", "a") == (delivery,)
            assert await durable.vault.holds(account.id, FACEBOOK) == (end != "tried")
            if end == "tried":
                await durable.outbox.retry(delivery.id, NOW, "connect")
            await call_off(NOW + (SECOND if end == "tried" else MINUTE))
            assert await durable.outbox.pending("access_token", "a") == ()
            await durable.outbox.retry(delivery.id, NOW, "too late to matter")
            assert await durable.outbox.claim(NOW + timedelta(days=1), 1) == ()

    async def test_of_what_is_on_its_way_the_oldest_are_found_first(self, durable: Durable) -> None:
        """What was given up takes nobody's place."""
        waiting = [make.delivery(created_at=NOW + number * SECOND) for number in range(5)]
        unit = durable.unit()
        for delivery in reversed(waiting):
            unit.enqueue(delivery)
        await unit.commit()
        await durable.outbox.give_up(waiting[0].id, "gone")
        assert await durable.outbox.pending("sub", "pairwise-1", 3) == tuple(waiting[1:4])
        assert await durable.outbox.pending("sub", "pairwise-1", 9) == tuple(waiting[1:])

    async def test_what_fails_is_found_whoever_it_is_for(self, durable: Durable) -> None:
        fine = make.delivery(attempts=0, last_error="")
        first = make.delivery(attempts=0, last_error="", created_at=NOW - 2 * SECOND)
        second = make.delivery(attempts=0, last_error="", payload={"sub": "x"}, created_at=NOW - SECOND)
        unit = durable.unit()
        for delivery in (fine, second, first):
            unit.enqueue(delivery)
        await unit.commit()
        assert await durable.outbox.failing(10) == ()
        await durable.outbox.retry(second.id, NOW + SECOND, "status 500")
        await durable.outbox.give_up(first.id, "status 404")
        failing = (
            (replace(first, attempts=1, last_error="status 404"), True),
            (replace(second, attempts=1, last_error="status 500", due_at=NOW + SECOND), False),
        )
        assert await durable.outbox.failing(10) == failing
        assert await durable.outbox.failing(1) == failing[:1]
        await durable.outbox.done(second.id)
        assert await durable.outbox.failing(10) == failing[:1]


class SigningKeysContract:
    async def test_every_field_of_a_key_comes_back(self, durable: Durable) -> None:
        old = make.signing_key()
        new = make.signing_key(retires_at=None, created_at=NOW, use=KeyUse.REQUESTS)
        await durable.keys.add(new, old)
        assert await durable.keys.all() == (old, new)

    async def test_a_key_id_is_used_once(self, durable: Durable) -> None:
        key, other = make.signing_key(), make.signing_key()
        await durable.keys.add(key)
        assert await conflict_of(durable.keys.add(other, key)) == "kid"
        assert await durable.keys.all() == (key,)

    async def test_a_key_retires_and_goes(self, durable: Durable) -> None:
        key = make.signing_key(retires_at=None)
        await durable.keys.add(key)
        await durable.keys.retire(key.kid, NOW)
        assert await durable.keys.all() == (replace(key, retires_at=NOW),)
        await durable.keys.remove(key.kid)
        assert await durable.keys.all() == ()


class PurgeContract:
    async def test_what_has_expired_goes_and_the_rest_stays(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        dead = await kept_grant(durable, account.id, expires_at=NOW)
        live = await kept_grant(durable, account.id)
        needed = await kept_grant(durable, account.id, expires_at=NOW)
        family = await kept_family(durable, needed)
        gone_family = await kept_family(durable, live, idle_expires_at=NOW)
        hour = timedelta(hours=1)
        old_code, used_code = make.code(dead, expires_at=NOW - hour), make.code(live, expires_at=NOW - hour + SECOND)
        settled = make.posting(account.id, state=PostState.POSTED, settled_at=NOW - timedelta(days=30))
        recent = make.posting(account.id, state=PostState.POSTED, settled_at=NOW - timedelta(days=29))
        unit = durable.unit()
        for code in (old_code, used_code):
            unit.add_code(code)
        for posting in (settled, recent):
            unit.add_posting(posting)
        unit.revoke_access_token("old", NOW)
        unit.revoke_access_token("new", NOW + SECOND)
        receipt = make.receipt(account.id)
        unit.append_receipt(receipt)
        unit.append_disclosure(make.disclosure_row(dead))
        await unit.commit()

        assert await durable.purge(NOW) == 5

        grants = durable.grants
        assert await grants.load(dead.id) is None
        assert await grants.load(live.id) == live
        assert await grants.load(needed.id) == needed
        assert await grants.load_family(family.id) == family
        assert await grants.load_family(gone_family.id) is None
        assert await grants.consume_code(old_code.digest, NOW) is None
        assert isinstance(await grants.consume_code(used_code.digest, NOW), Redeemed)
        assert await grants.with_account(live.id, "old") is not None
        assert await grants.with_account(live.id, "new") is None
        assert await durable.postings.recent(account.id) == (recent,)
        assert await durable.ledger.receipts(account.id) == (receipt,)
        assert len(await durable.ledger.disclosures(account.id)) == 1
        assert await durable.purge(NOW) == 0

    async def test_a_purge_is_a_small_batch_of_each_kind(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        grant, long_ago = await kept_grant(durable, account.id), NOW - timedelta(days=40)
        deliveries = [make.delivery(due_at=long_ago) for _ in range(7)]
        unit = durable.unit()
        for n in range(7):
            unit.revoke_access_token(f"token-{n}", NOW)
            unit.add_code(make.code(grant, expires_at=long_ago))
            unit.add_family(make.family(grant, idle_expires_at=NOW))
            unit.add_grant(make.grant(account.id, expires_at=NOW))
            unit.add_posting(make.posting(account.id, state=PostState.POSTED, settled_at=long_ago))
            unit.enqueue(deliveries[n])
        await unit.commit()
        for delivery in deliveries:
            await durable.outbox.give_up(delivery.id, "gone")
        assert [await durable.purge(NOW, limit=3) for _ in range(4)] == [18, 18, 6, 0]
        assert await durable.grants.load(grant.id) == grant

    async def test_two_purges_at_once_delete_each_row_once(self, durable: Durable) -> None:
        unit = durable.unit()
        for n in range(30):
            unit.revoke_access_token(f"token-{n}", NOW)
        await unit.commit()
        gone = await asyncio.gather(*(durable.purge(NOW, limit=10) for _ in range(5)))
        while more := await durable.purge(NOW, limit=10):
            gone.append(more)
        assert sum(gone) == 30

    async def test_a_posting_nobody_answered_goes_a_month_after_its_end(self, durable: Durable) -> None:
        account, _ = await kept_account(durable)
        posting = make.posting(account.id, settled_at=None, expires_at=NOW)
        unit = durable.unit()
        unit.add_posting(posting)
        await unit.commit()
        assert await durable.purge(NOW + timedelta(days=30) - SECOND) == 0
        assert await durable.purge(NOW + timedelta(days=30)) == 1
        assert await durable.postings.load(posting.id) is None

    async def test_a_delivery_given_up_is_kept_for_a_while(self, durable: Durable) -> None:
        delivery = make.delivery(due_at=NOW)
        unit = durable.unit()
        unit.enqueue(delivery)
        await unit.commit()
        await durable.outbox.give_up(delivery.id, "gone")
        assert await durable.purge(NOW + timedelta(days=29)) == 0
        assert await durable.purge(NOW + timedelta(days=30)) == 1

    async def test_a_store_that_is_there_says_so(self, durable: Durable) -> None:
        await durable.ping()


class TransactionsContract:
    async def test_a_transaction_is_kept_until_it_expires(self, memory: BrowserMemory) -> None:
        """catalogue 186"""
        await memory.transactions.save("tx-1", b"\x00sealed\xff", NOW + 2 * SECOND)
        assert await memory.transactions.load("tx-1", NOW) == b"\x00sealed\xff"
        assert await memory.transactions.load("tx-1", NOW + 2 * SECOND) is None
        assert await memory.transactions.load("tx-2", NOW) is None

    async def test_a_saved_transaction_replaces_the_one_before(self, memory: BrowserMemory) -> None:
        await memory.transactions.save("tx-1", b"one", NOW + SECOND)
        await memory.transactions.save("tx-1", b"two", NOW + 60 * SECOND)
        assert await memory.transactions.load("tx-1", NOW + 30 * SECOND) == b"two"

    async def test_of_twenty_takers_of_a_transaction_one_wins(self, memory: BrowserMemory) -> None:
        await memory.transactions.save("tx-1", b"one", NOW + 60 * SECOND)
        got = await outcomes([lambda: memory.transactions.delete("tx-1")] * TAKERS)
        assert got.count(True) == 1
        assert await memory.transactions.load("tx-1", NOW) is None


class SessionsContract:
    async def test_every_field_of_a_session_comes_back(self, memory: BrowserMemory) -> None:
        account = AccountId(make.new_id("account"))
        session, plain = make.session(account), make.session(account, acr=None, amr=(), device="")
        for one in (session, plain):
            await memory.sessions.save(one)
            assert await memory.sessions.by_digest(one.secret_digest, NOW) == one
        assert await memory.sessions.by_digest(b"x" * 32, NOW) is None

    async def test_a_session_is_live_until_it_idles_or_expires(self, memory: BrowserMemory) -> None:
        account = AccountId(make.new_id("account"))
        idles = make.session(account, idle_expires_at=NOW + 5 * SECOND)
        expires = make.session(account, expires_at=NOW + 5 * SECOND)
        for session in (idles, expires):
            await memory.sessions.save(session)
            assert await memory.sessions.by_digest(session.secret_digest, NOW + 4 * SECOND) == session
            assert await memory.sessions.by_digest(session.secret_digest, NOW + 5 * SECOND) is None
        assert await memory.sessions.of_account(account, NOW + 5 * SECOND) == ()

    async def test_a_new_cookie_replaces_the_old_one(self, memory: BrowserMemory) -> None:
        account = AccountId(make.new_id("account"))
        before = make.session(account)
        after = replace(before, secret_digest=b"n" * 32, last_seen_at=NOW)
        await memory.sessions.save(before)
        await memory.sessions.save(after)
        assert await memory.sessions.by_digest(before.secret_digest, NOW) is None
        assert await memory.sessions.by_digest(b"n" * 32, NOW) == after
        assert await memory.sessions.of_account(account, NOW) == (after,)

    async def test_a_cookie_opens_one_session(self, memory: BrowserMemory) -> None:
        session = make.session(AccountId(make.new_id("account")))
        await memory.sessions.save(session)
        other = make.session(AccountId(make.new_id("account")), secret_digest=session.secret_digest)
        with pytest.raises(Conflict):
            await memory.sessions.save(other)
        assert await memory.sessions.by_digest(session.secret_digest, NOW) == session

    async def test_live_sessions_newest_first(self, memory: BrowserMemory) -> None:
        account = AccountId(make.new_id("account"))
        old = make.session(account, created_at=NOW - timedelta(hours=5))
        new = make.session(account)
        for session in (new, old, make.session(AccountId(make.new_id("account")))):
            await memory.sessions.save(session)
        assert await memory.sessions.of_account(account, NOW) == (new, old)

    async def test_sessions_are_found_by_the_one_they_began_with_elsewhere(self, memory: BrowserMemory) -> None:
        """Only live ones, and by what they began with last."""
        account, there = AccountId(make.new_id("account")), make.new_id("upstream")
        old = make.session(
            account, upstream=there, created_at=NOW - timedelta(hours=5), idle_expires_at=NOW + 5 * SECOND
        )
        new = make.session(account, upstream=there)
        other = make.session(account, upstream=f"{there}x")
        for session in (new, old, other, make.session(account)):
            await memory.sessions.save(session)
        assert await memory.sessions.of_upstream(there, NOW) == (new, old)
        assert await memory.sessions.of_upstream(there, NOW + 5 * SECOND) == (new,)
        await memory.sessions.save(replace(new, upstream=f"{there}y", secret_digest=b"a" * 32))
        assert await memory.sessions.of_upstream(there, NOW) == (old,)
        await memory.sessions.end(old.sid)
        assert await memory.sessions.of_upstream(there, NOW) == ()
        assert await memory.sessions.of_upstream(make.new_id("upstream"), NOW) == ()

    async def test_of_twenty_enders_one_gets_the_session(self, memory: BrowserMemory) -> None:
        session = make.session(AccountId(make.new_id("account")))
        await memory.sessions.save(session)
        got = await outcomes([lambda: memory.sessions.end(session.sid)] * TAKERS)
        assert [one for one in got if one is not None] == [session]
        assert await memory.sessions.by_digest(session.secret_digest, NOW) is None
        assert await memory.sessions.of_account(session.account, NOW) == ()
        assert await memory.sessions.end(Sid("unknown")) is None

    async def test_an_ended_session_does_not_come_back(self, memory: BrowserMemory) -> None:
        """catalogue 84: a page that was on its way when the person signed out saves what it had loaded."""
        session = make.session(AccountId(make.new_id("account")))
        await memory.sessions.save(session)
        await memory.sessions.end(session.sid)
        await memory.sessions.save(replace(session, last_seen_at=NOW))
        assert await memory.sessions.by_digest(session.secret_digest, NOW) is None
        assert await memory.sessions.of_account(session.account, NOW) == ()

    async def test_signing_out_everywhere_spares_nobody_but_the_one_kept(self, memory: BrowserMemory) -> None:
        account = AccountId(make.new_id("account"))
        sessions = [make.session(account, created_at=NOW - n * SECOND) for n in range(3)]
        foreign = make.session(AccountId(make.new_id("account")))
        for session in (*sessions, foreign):
            await memory.sessions.save(session)
        assert await memory.sessions.end_all(account, keep=sessions[1].sid) == (sessions[0], sessions[2])
        assert await memory.sessions.of_account(account, NOW) == (sessions[1],)
        assert await memory.sessions.end_all(account) == (sessions[1],)
        assert await memory.sessions.end_all(account) == ()
        assert await memory.sessions.by_digest(foreign.secret_digest, NOW) == foreign

    async def test_a_cookie_of_a_session_that_was_replaced_opens_nothing_in_any_order(
        self, memory: BrowserMemory
    ) -> None:
        """(catalogue 93)"""
        session = make.session(AccountId(make.new_id("account")))
        digests = [bytes([number]) * 32 for number in range(5)]
        for digest in digests:
            await memory.sessions.save(replace(session, secret_digest=digest))
        found = [await memory.sessions.by_digest(digest, NOW) for digest in digests]
        assert [one is not None for one in found] == [False] * 4 + [True]

    async def test_a_session_seen_again_brings_nothing_back(self, memory: BrowserMemory) -> None:
        """A page that was on its way while the person signed in anew, or out, saves what it had loaded (catalogue 93)."""
        session = make.session(AccountId(make.new_id("account")))
        await memory.sessions.touch(session)
        assert await memory.sessions.by_digest(session.secret_digest, NOW) is None
        await memory.sessions.save(session)
        seen = replace(session, last_seen_at=NOW, idle_expires_at=session.idle_expires_at + 60 * SECOND)
        await memory.sessions.touch(seen)
        assert await memory.sessions.by_digest(session.secret_digest, NOW) == seen
        renewed = replace(session, secret_digest=b"n" * 32, auth_time=NOW)
        await memory.sessions.save(renewed)
        await memory.sessions.touch(replace(seen, last_seen_at=NOW + SECOND))
        assert await memory.sessions.by_digest(session.secret_digest, NOW) is None
        assert await memory.sessions.by_digest(renewed.secret_digest, NOW) == renewed
        await memory.sessions.end(session.sid)
        await memory.sessions.touch(renewed)
        assert await memory.sessions.by_digest(renewed.secret_digest, NOW) is None
        assert await memory.sessions.of_account(session.account, NOW) == ()

    async def test_twenty_saves_and_an_end_at_once_leave_it_ended(self, memory: BrowserMemory) -> None:
        """(catalogue 84)"""
        session = make.session(AccountId(make.new_id("account")))
        await memory.sessions.save(session)
        saving: list[Callable[[], Awaitable[object]]] = [
            lambda n=n: memory.sessions.save(replace(session, last_seen_at=NOW + n * SECOND))  # type: ignore[misc]
            for n in range(TAKERS)
        ]
        await outcomes([*saving[:10], lambda: memory.sessions.end(session.sid), *saving[10:]])
        assert await memory.sessions.by_digest(session.secret_digest, NOW) is None


class ReplayContract:
    async def test_a_key_is_seen_for_the_first_time_once(self, memory: BrowserMemory) -> None:
        key = make.new_id("state")
        got = await outcomes([lambda: memory.replay.first_time(key, NOW + 60 * SECOND)] * TAKERS)
        assert got.count(True) == 1
        assert got.count(False) == TAKERS - 1
        assert await memory.replay.first_time(make.new_id("state"), NOW + 60 * SECOND)

    async def test_a_key_is_remembered_until_it_expires_and_no_shorter(
        self, memory: BrowserMemory, clock: FixedClock
    ) -> None:
        key, other = make.new_id("state"), make.new_id("state")
        assert await memory.replay.first_time(key, NOW + 60 * SECOND)
        clock.move(59 * SECOND)
        assert not await memory.replay.first_time(key, NOW + 120 * SECOND)
        assert await memory.replay.first_time(other, NOW + 60 * SECOND)

    async def test_keys_that_look_alike_are_different(self, memory: BrowserMemory) -> None:
        base = make.new_id("state")
        keys = [base, base.upper(), f"{base} ", f" {base}", f"{base}\x00", f"{base}é", f"{base}e\u0301"]
        assert [await memory.replay.first_time(key, NOW + 60 * SECOND) for key in keys] == [True] * len(keys)


class LimitsContract:
    async def test_as_many_tries_as_allowed_and_then_a_wait(self, memory: BrowserMemory) -> None:
        key = make.new_id("limit")
        assert [await memory.limits.hit(key, limit=3, window=60, now=NOW) for _ in range(5)] == [0, 0, 0, 20, 20]
        assert await memory.limits.hit(key, limit=3, window=60, now=NOW + 19 * SECOND) == 1
        assert await memory.limits.hit(key, limit=3, window=60, now=NOW + 20 * SECOND) == 0
        assert await memory.limits.hit(key, limit=3, window=60, now=NOW + 20 * SECOND) == 20

    async def test_after_the_window_all_is_as_new(self, memory: BrowserMemory) -> None:
        key = make.new_id("limit")
        for at in (NOW, NOW + 60 * SECOND):
            assert [await memory.limits.hit(key, limit=2, window=60, now=at) for _ in range(3)] == [0, 0, 30]

    async def test_keys_are_counted_apart(self, memory: BrowserMemory) -> None:
        keys = [make.new_id("limit") for _ in range(3)]
        assert [await memory.limits.hit(key, limit=1, window=60, now=NOW) for key in keys] == [0, 0, 0]

    async def test_twenty_at_once_are_counted_one_by_one(self, memory: BrowserMemory) -> None:
        key = make.new_id("limit")
        got = await outcomes([lambda: memory.limits.hit(key, limit=7, window=60, now=NOW)] * TAKERS)
        assert got.count(0) == 7

    async def test_a_clock_that_jumps_gives_nobody_more_tries(self, memory: BrowserMemory) -> None:
        """(catalogue 165)"""
        key = make.new_id("limit")
        assert [await memory.limits.hit(key, limit=2, window=60, now=NOW) for _ in range(2)] == [0, 0]
        assert await memory.limits.hit(key, limit=2, window=60, now=NOW - timedelta(hours=1)) > 0
        assert await memory.limits.hit(key, limit=2, window=60, now=NOW + 29 * SECOND) == 1


class MemoryPurgeContract:
    async def test_what_has_expired_leaves_no_row(self, memory: BrowserMemory) -> None:
        """catalogue 186. Stores whose rows expire by themselves may have nothing to do."""
        await memory.transactions.save("tx-1", b"one", NOW + SECOND)
        session = make.session(AccountId(make.new_id("account")), idle_expires_at=NOW + 5 * SECOND)
        await memory.sessions.save(session)
        await memory.replay.first_time(make.new_id("state"), NOW + SECOND)
        await memory.limits.hit(make.new_id("limit"), limit=1, window=1, now=NOW)
        assert await memory.purge(NOW) == 0
        assert await memory.purge(NOW + 5 * SECOND) in {0, 4}
        assert await memory.transactions.load("tx-1", NOW + 5 * SECOND) is None
        await memory.ping()

    async def test_a_purge_is_a_small_batch(self, memory: BrowserMemory) -> None:
        """(catalogue 186)"""
        for number in range(7):
            await memory.transactions.save(f"tx-{number}", b"one", NOW + SECOND)
        await memory.transactions.save("living", b"one", NOW + 60 * SECOND)
        assert [await memory.purge(NOW + SECOND, limit=3) for _ in range(4)] in ([3, 3, 1, 0], [0, 0, 0, 0])
        assert await memory.transactions.load("living", NOW + SECOND) == b"one"

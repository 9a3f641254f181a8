"""Whose address it is: proved by a code or a link, once, for one account; and what an account's address is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front, identity
from tests.support import builders

from broker.domain.account import Account, AccountStatus, NamedBy, Places
from broker.domain.claims import EMAIL
from broker.domain.letters import Letter
from broker.domain.policy import Use
from broker.domain.ports import Delivery
from broker.domain.provider import UpstreamTokens
from broker.domain.session import Session
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId
from broker.errors import Conflict, FormInvalid, LetterOver, TooManyAttempts
from broker.flows.address import CODE, GOOD_FOR, LETTERS_PER_HOUR, TRIES_PER_HOUR, UNDO_WITHIN
from broker.flows.letters import LetterWriter

NEW = "new-address@mail.test"


@pytest.fixture
def front() -> Front:
    return Front()


async def letters(front: Front) -> list[Delivery]:
    """What waits to be sent, oldest first."""
    found = [one for letter in Letter for one in await front.durable.outbox.pending("letter", letter)]
    return sorted(found, key=lambda one: one.created_at)


async def unproved(front: Front, name: str = "ana", address: str = NEW) -> tuple[Account, Session]:
    """Somebody who typed an address that nobody has checked."""
    front.facebook.people[name] = identity(name, verified=frozenset())
    session = (await front.person(name)).started.session
    await front.account.change(session.account, EMAIL, address)
    return await front.account.load(session.account), session


async def is_proved(front: Front, account: AccountId) -> bool:
    return (await front.account.load(account)).profile[EMAIL].verified


async def sent(front: Front, account: Account, session: Session) -> Delivery:
    """Ask for a letter; it."""
    await front.address.send(account, session)
    return (await letters(front))[-1]


async def test_the_code_proves_the_address(front: Front) -> None:
    """Spaces are how it is written, not part of it."""
    account, session = await unproved(front)
    letter = await sent(front, account, session)
    assert letter.payload["to"] == NEW
    code = letter.payload["code"]
    await front.address.confirm(session, f" {code[:3]} {code[3:]}")
    assert await is_proved(front, account.id)
    with pytest.raises(FormInvalid) as again:
        await front.address.confirm(session, code)
    assert again.value.fields == {CODE: "over"}


async def test_the_link_proves_the_address_in_any_browser_once(front: Front) -> None:
    """It needs no session and makes none (catalogue 120)."""
    account, session = await unproved(front)
    token = (await sent(front, account, session)).payload["token"]
    assert await front.address.is_link_good(token)
    await front.address.confirm_link(token)
    assert await is_proved(front, account.id)
    assert len(await front.memory.sessions.of_account(account.id, front.clock.now())) == 1
    assert not await front.address.is_link_good(token)
    with pytest.raises(LetterOver):
        await front.address.confirm_link(token)


async def test_a_wrong_code_proves_nothing_and_leaves_the_right_one(front: Front) -> None:
    account, session = await unproved(front)
    code = (await sent(front, account, session)).payload["code"]
    for wrong in ("", "abc", "1" * 7, f"{(int(code) + 1) % 1_000_000:06}"):
        with pytest.raises(FormInvalid) as refused:
            await front.address.confirm(session, wrong)
        assert refused.value.fields == {CODE: "wrong"}
    await front.address.confirm(session, code)
    assert await is_proved(front, account.id)


async def test_codes_are_not_guessed(front: Front) -> None:
    """A million codes, ten tries in an hour."""
    account, session = await unproved(front)
    await sent(front, account, session)
    for _ in range(TRIES_PER_HOUR):
        with pytest.raises(FormInvalid):
            await front.address.confirm(session, "x")
    with pytest.raises(TooManyAttempts):
        await front.address.confirm(session, "x")


async def test_a_code_is_for_the_session_that_asked(front: Front) -> None:
    """Bound to browser, account and address (catalogue 120)."""
    account, session = await unproved(front)
    code = (await sent(front, account, session)).payload["code"]
    with pytest.raises(FormInvalid) as elsewhere:
        await front.address.confirm(replace(session, sid="another"), code)  # type: ignore[arg-type]
    assert elsewhere.value.fields == {CODE: "over"}
    assert not await is_proved(front, account.id)


async def test_asking_again_ends_the_letter_before(front: Front) -> None:
    account, session = await unproved(front)
    first = await sent(front, account, session)
    second = await sent(front, account, session)
    assert not await front.address.is_link_good(first.payload["token"])
    with pytest.raises(LetterOver):
        await front.address.confirm_link(first.payload["token"])
    await front.address.confirm_link(second.payload["token"])
    assert await is_proved(front, account.id)


async def test_a_proof_ends_after_an_hour(front: Front) -> None:
    account, session = await unproved(front)
    letter = await sent(front, account, session)
    front.clock.move(GOOD_FOR)
    with pytest.raises(FormInvalid):
        await front.address.confirm(session, letter.payload["code"])
    with pytest.raises(LetterOver):
        await front.address.confirm_link(letter.payload["token"])
    assert not await is_proved(front, account.id)


@pytest.mark.parametrize("instead", ["other@mail.test", ""])
async def test_a_letter_proves_only_the_address_it_went_to(front: Front, instead: str) -> None:
    """Changed or removed meanwhile: neither is proved (catalogue 118)."""
    front.fields[EMAIL] = replace(front.fields[EMAIL], use=Use.OPTIONAL)
    account, session = await unproved(front)
    letter = await sent(front, account, session)
    await front.account.change(account.id, EMAIL, instead)
    with pytest.raises(FormInvalid) as refused:
        await front.address.confirm(session, letter.payload["code"])
    assert refused.value.fields == {CODE: "over"}
    held = (await front.account.load(account.id)).profile.get(EMAIL)
    assert held is None or not held.verified


@pytest.mark.parametrize("state", ["closed", "held"])
async def test_an_account_that_is_not_active_proves_nothing(front: Front, state: str) -> None:
    account, session = await unproved(front)
    letter = await sent(front, account, session)
    if state == "closed":
        await front.account.close(session)
    else:
        unit = front.durable.unit()
        unit.save_account(replace(account, status=AccountStatus.HELD))
        await unit.commit()
    with pytest.raises(LetterOver):
        await front.address.confirm_link(letter.payload["token"])


async def test_an_address_that_another_account_proved_is_not_proved_twice(front: Front) -> None:
    """Unique once verified, and nothing is merged or linked (decision 18)."""
    first = await front.person("ana")
    ana = (await front.account.load(first.started.session.account)).profile[EMAIL]
    assert ana.verified
    account, session = await unproved(front, "mallory", ana.value)
    letter = await sent(front, account, session)
    with pytest.raises(FormInvalid) as refused:
        await front.address.confirm(session, letter.payload["code"])
    assert refused.value.fields == {CODE: "anothers"}
    assert not await is_proved(front, account.id)


async def test_any_other_conflict_is_no_word_about_the_address(front: Front) -> None:
    account, session = await unproved(front)
    letter = await sent(front, account, session)
    flow = replace(front.address, durable=Breaking(front.durable))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await flow.confirm(session, letter.payload["code"])


class Breaking:
    """A store whose every write breaks on something else."""

    def __init__(self, durable: object) -> None:
        self.accounts = durable.accounts  # type: ignore[attr-defined]

    def unit(self) -> Breaking:
        return self

    def save_account(self, account: Account) -> None:
        """Queued."""

    async def commit(self) -> None:
        raise Conflict("account")


async def test_letters_fill_nobodys_box(front: Front) -> None:
    """So many an hour for one account, and to one address whoever asks."""
    account, session = await unproved(front)
    for _ in range(LETTERS_PER_HOUR):
        await front.address.send(account, session)
    with pytest.raises(TooManyAttempts):
        await front.address.send(account, session)
    other, other_session = await unproved(front, "bob")
    with pytest.raises(TooManyAttempts):
        await front.address.send(other, other_session)


async def test_there_is_nothing_to_check_where_nothing_is_unproved(front: Front) -> None:
    proved = await front.person("ana")
    account = await front.account.load(proved.started.session.account)
    bare = replace(account, profile={})
    unproved_one, session = await unproved(front, "bob")
    off = replace(front.address, letters=replace(front.letters, is_on=False))
    assert front.address.is_on
    assert not off.is_on
    for flow, who in ((front.address, account), (front.address, bare), (off, unproved_one)):
        with pytest.raises(FormInvalid):
            await flow.send(who, session)
    assert await letters(front) == []


@pytest.mark.parametrize("token", ["", "x", "a" * 200])
async def test_a_link_that_is_not_ours_opens_nothing(front: Front, token: str) -> None:
    assert not await front.address.is_link_good(token)
    for use in (front.address.confirm_link, front.address.check_undo, front.address.undo_change):
        with pytest.raises(LetterOver):
            await use(token)


async def test_a_link_is_good_for_its_own_deed_only(front: Front) -> None:
    account, session = await unproved(front)
    token = (await sent(front, account, session)).payload["token"]
    with pytest.raises(LetterOver):
        await front.address.undo_change(token)


async def test_of_two_who_use_one_proof_at_once_one_does(front: Front) -> None:
    """The code in one tab and the link in another: the store gives the proof to one of them."""
    account, session = await unproved(front)
    letter = await sent(front, account, session)

    class Slow:
        """Both have read the proof before either takes it."""

        load = staticmethod(front.memory.transactions.load)

        async def delete(self, _place: str) -> bool:
            return False

    flow = replace(front.address, proofs=Slow())  # type: ignore[arg-type]
    with pytest.raises(FormInvalid) as late:
        await flow.confirm(session, letter.payload["code"])
    assert late.value.fields == {CODE: "over"}
    assert not await is_proved(front, account.id)


# --- what an address is told --------------------------------------------------------------------------


async def changed(front: Front, to: str = NEW) -> tuple[Session, str, Delivery]:
    """Somebody whose proved address is changed: session, the old address, the letter to it."""
    session = (await front.person("ana")).started.session
    old = (await front.account.load(session.account)).profile[EMAIL].value
    front.fields[EMAIL] = replace(front.fields[EMAIL], use=Use.OPTIONAL)
    await front.account.change(session.account, EMAIL, to)
    return session, old, (await letters(front))[-1]


async def test_the_old_address_is_told_and_can_take_the_change_back(front: Front) -> None:
    """And everybody is signed out: whoever changed it was in the account (catalogue 118)."""
    session, old, letter = await changed(front)
    assert (letter.payload["letter"], letter.payload["to"]) == ("address_changed", old)
    assert NEW not in letter.payload.values()
    await front.address.check_undo(letter.payload["token"])
    await front.address.undo_change(letter.payload["token"])
    email = (await front.account.load(session.account)).profile[EMAIL]
    assert (email.value, email.verified) == (old, True)
    with pytest.raises(LetterOver):  # before the button, too
        await front.address.check_undo(letter.payload["token"])
    assert await front.memory.sessions.of_account(session.account, front.clock.now()) == ()


async def test_the_address_that_goes_again_is_told_if_it_was_proved(front: Front) -> None:
    """An owner whose old mailbox somebody else reads hears of it; a letter to an unproved address could reach anybody."""
    session, _, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.address.send(await front.account.load(session.account), session)
    await front.address.confirm(session, (await letters(front))[-1].payload["code"])
    front.clock.move(timedelta(minutes=1))
    await front.address.undo_change(letter.payload["token"])
    told = (await letters(front))[-1]
    assert (told.payload["letter"], told.payload["to"]) == (Letter.ADDRESS_TAKEN_BACK, NEW)


@pytest.mark.parametrize("to", [NEW, ""], ids=["not proved", "none"])
async def test_nobody_is_told_of_an_address_that_was_not_proved(front: Front, to: str) -> None:
    _, _, letter = await changed(front, to)
    before = len(await letters(front))
    await front.address.undo_change(letter.payload["token"])
    assert len(await letters(front)) == before


async def test_an_address_that_came_back_by_itself_is_not_told_that_it_goes(front: Front) -> None:
    session, old, letter = await changed(front)
    await front.account.change(session.account, EMAIL, old)
    front.clock.move(timedelta(minutes=1))
    await front.address.send(await front.account.load(session.account), session)
    await front.address.confirm(session, (await letters(front))[-1].payload["code"])
    await front.address.undo_change(letter.payload["token"])
    assert Letter.ADDRESS_TAKEN_BACK not in {one.payload["letter"] for one in await letters(front)}


async def test_a_removed_address_can_be_taken_back_too(front: Front) -> None:
    session, old, letter = await changed(front, "")
    await front.address.undo_change(letter.payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == old


async def test_a_second_change_does_not_close_the_way_back(front: Front) -> None:
    """Whoever is in the account changes it again, even to one they prove: the first address still wins (catalogue 118)."""
    session, old, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    account = await front.account.load(session.account)
    await front.address.send(account, session)
    await front.address.confirm(session, (await letters(front))[-1].payload["code"])
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "third@mail.test")
    second = (await letters(front))[-1]
    assert second.payload["to"] == NEW
    assert await front.address.undo_change(letter.payload["token"]) == session.account
    assert (await front.account.load(session.account)).profile[EMAIL].value == old
    with pytest.raises(LetterOver):  # the stranger's own way back went with the rest
        await front.address.undo_change(second.payload["token"])


async def test_the_first_address_wins_over_the_way_back_of_a_later_one(front: Front) -> None:
    """The stranger takes back first, to their own address: that does not use up the owner's way."""
    session, old, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.address.send(await front.account.load(session.account), session)
    await front.address.confirm(session, (await letters(front))[-1].payload["code"])
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "third@mail.test")
    await front.address.undo_change((await letters(front))[-1].payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == NEW
    await front.address.undo_change(letter.payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == old


async def test_a_change_is_taken_back_once_and_a_later_one_again(front: Front) -> None:
    session, old, letter = await changed(front)
    await front.address.undo_change(letter.payload["token"])
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, NEW)
    with pytest.raises(LetterOver):
        await front.address.undo_change(letter.payload["token"])
    await front.address.undo_change((await letters(front))[-1].payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == old


async def test_what_was_taken_back_stays_so_whatever_is_taken_back_later(front: Front) -> None:
    """The stranger's own way back is not opened again by the next change that the owner takes back (catalogue 118)."""
    session, old, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.address.send(await front.account.load(session.account), session)
    await front.address.confirm(session, (await letters(front))[-1].payload["code"])
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "third@mail.test")
    strangers = (await letters(front))[-1]
    await front.address.undo_change(letter.payload["token"])
    front.clock.move(timedelta(minutes=1))
    await front.account.change(session.account, EMAIL, "fourth@mail.test")
    front.clock.move(timedelta(minutes=1))
    await front.address.undo_change((await letters(front))[-1].payload["token"])
    with pytest.raises(LetterOver):
        await front.address.undo_change(strangers.payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == old


async def test_what_a_way_that_goes_was_given_for_posting_is_taken_back_there(front: Front) -> None:
    """Whoever was in the account let sites post by a way of theirs: that ends here and over there (catalogue 117, 194)."""
    session, _, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "eve", session=session, provider=OPENID
    )
    kept, gone = UpstreamTokens(access_token="of the older way"), UpstreamTokens(access_token="of the way that goes")
    unit = front.durable.unit()
    for provider, tokens in ((FACEBOOK, kept), (OPENID, gone)):
        unit.append_receipt(builders.posting_receipt(session.account, provider))
        unit.save_upstream_tokens(session.account, provider, tokens)
    await unit.commit()
    await front.address.undo_change(letter.payload["token"])
    assert await front.going_back() == [(OPENID, gone)]
    assert front.durable.tables.upstream_tokens == {(session.account, FACEBOOK): kept}
    assert [one.provider for one in await front.gate.switches(session.account)] == [FACEBOOK]
    assert await front.memory.sessions.of_account(session.account, front.clock.now()) == ()


async def test_a_change_that_cannot_be_taken_back_leaves_posting_as_it_is(front: Front) -> None:
    """Somebody else proved the address meanwhile: nothing ended, and tokens are renewed as before."""
    session, old, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "eve", session=session, provider=OPENID
    )
    unit = front.durable.unit()
    unit.append_receipt(builders.posting_receipt(session.account, OPENID))
    unit.save_upstream_tokens(session.account, OPENID, UpstreamTokens(access_token="kept"))
    await unit.commit()
    front.fields[EMAIL] = replace(front.fields[EMAIL], use=Use.NEEDED)
    front.facebook.people["ben"] = identity("ben", claims={**identity("ben").claims, EMAIL: old})
    await front.person("ben")
    with pytest.raises(FormInvalid):
        await front.address.undo_change(letter.payload["token"])
    assert await front.going_back() == []
    assert (session.account, OPENID) in front.durable.tables.upstream_tokens
    assert front.durable.tables.renewing == {}


async def test_where_nothing_can_be_posted_a_change_is_taken_back_all_the_same(front: Front) -> None:
    session, old, letter = await changed(front)
    front.clock.move(timedelta(minutes=1))
    await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "eve", session=session, provider=OPENID
    )
    await replace(front.address, posting=None).undo_change(letter.payload["token"])
    assert (await front.account.load(session.account)).profile[EMAIL].value == old
    assert [link.provider for link in front.links] == [FACEBOOK]


async def test_a_closed_account_leaves_no_proof_of_its_address(front: Front) -> None:
    """Neither what waits to prove it nor what was taken back (catalogue 130)."""
    account, session = await unproved(front)
    before = set(front.memory.transactions.rows)
    await sent(front, account, session)
    assert len(set(front.memory.transactions.rows) - before) == 1
    await front.account.close(replace(session, auth_time=front.clock.now()))
    assert set(front.memory.transactions.rows) == before


async def test_taking_back_ends_after_a_week(front: Front) -> None:
    _, _, letter = await changed(front)
    front.clock.move(UNDO_WITHIN)
    with pytest.raises(LetterOver):
        await front.address.undo_change(letter.payload["token"])


async def test_an_account_that_is_gone_takes_nothing_back(front: Front) -> None:
    session, _, letter = await changed(front)
    await front.account.close(session)
    with pytest.raises(LetterOver):
        await front.address.undo_change(letter.payload["token"])


async def test_an_address_nobody_proved_is_told_nothing(front: Front) -> None:
    """It may be a stranger's."""
    account, _ = await unproved(front)
    await front.account.change(account.id, EMAIL, "third@mail.test")
    assert await letters(front) == []


async def test_the_same_address_again_is_no_change(front: Front) -> None:
    session = (await front.person("ana")).started.session
    old = (await front.account.load(session.account)).profile[EMAIL].value
    await front.account.change(session.account, EMAIL, old)
    assert await letters(front) == []


async def test_a_new_way_in_and_one_less_are_told(front: Front) -> None:
    """To the address that is known to be theirs, by the provider's name only."""
    session = (await front.person("ana")).started.session
    outcome = await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "ana", session=session, provider=OPENID
    )
    added = await letters(front)
    assert [(one.payload["letter"], one.payload["provider"]) for one in added] == [("way_added", OPENID)]
    await front.account.unlink(session, outcome.link.id)  # type: ignore[union-attr]
    told = {one.payload["letter"] for one in await letters(front)}
    assert told == {"way_added", "way_removed"}


async def test_a_letter_says_which_of_many_servers_a_way_is_at(front: Front) -> None:
    writer = replace(front.letters, places=Places({OPENID: NamedBy.ISSUER}))
    front.sign_in = replace(front.sign_in, letters=writer)
    front.account = replace(front.account, address=replace(front.address, letters=writer))
    session = (await front.person("ana")).started.session
    left = await front.leave(OPENID, TransactionPurpose.LINK, session)
    outcome = await front.back(left, "ana", session=session, provider=OPENID)
    await front.account.unlink(session, outcome.link.id)  # type: ignore[union-attr]
    place = outcome.link.key.issuer.removeprefix("https://")  # type: ignore[union-attr]
    told = [(one.payload["letter"], one.payload["place"]) for one in await letters(front)]
    assert sorted(told) == [("way_added", place), ("way_removed", place)]


async def test_a_new_way_in_is_not_told_to_an_address_nobody_proved(front: Front) -> None:
    """It may be a stranger's."""
    _, session = await unproved(front)
    await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "ana", session=session, provider=OPENID
    )
    assert await letters(front) == []


async def test_without_a_mail_server_nothing_is_written(front: Front) -> None:
    """And nothing else changes."""
    front.sign_in = replace(front.sign_in, letters=None)
    front.account = replace(front.account, address=None)
    session = (await front.person("ana")).started.session
    outcome = await front.back(
        await front.leave(OPENID, TransactionPurpose.LINK, session), "ana", session=session, provider=OPENID
    )
    await front.account.change(session.account, EMAIL, NEW)
    await front.account.unlink(session, outcome.link.id)  # type: ignore[union-attr]
    assert await letters(front) == []


async def test_a_writer_that_is_off_writes_nothing(front: Front) -> None:
    off = LetterWriter(clock=front.clock, entropy=front.entropy, is_on=False)
    account = await front.account.load((await front.person("ana")).started.session.account)
    unit = front.durable.unit()
    off.tell(unit, account, "way_added")  # type: ignore[arg-type]
    await unit.commit()
    assert await letters(front) == []

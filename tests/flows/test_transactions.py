"""Where a sign-in transaction is while it lasts, and who can read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.flows.front import Front, identity, request
from tests.flows.op import FORUM

from broker.domain.transaction import AT_MOST, SLIDING, SignInTransaction
from broker.errors import SignInExpired, SignInFinished
from broker.flows.transactions import IN_COOKIE, IN_STORE, MAX_COOKIE, OVER, Carried
from broker.sealing import TransactionSeal

MOMENT = timedelta(microseconds=1)


@pytest.fixture
def front() -> Front:
    return Front()


async def stored(front: Front, **more: Any) -> Carried:
    """A transaction after the callback: in the store, under the browser's key."""
    return await front.box.keep(replace(front.transaction(request=request()), identity=identity("ana"), **more))


async def open_again(front: Front, carried: Carried) -> SignInTransaction:
    return (await front.box.open(carried.transaction.id, carried.cookie)).transaction


# --- where it is --------------------------------------------------------------------------------------


async def test_a_new_transaction_fills_no_store(front: Front) -> None:
    """Until the callback the browser carries everything: strangers fill nothing (catalogue 186)."""
    for _ in range(50):
        carried = await front.box.hold(front.transaction(request=request()))
        assert carried.cookie.startswith(IN_COOKIE)
        assert await open_again(front, carried) == carried.transaction
    assert front.memory.transactions.rows == {}


async def test_one_too_large_for_a_cookie_is_stored(front: Front) -> None:
    carried = await front.box.hold(front.transaction(request=request(state="s" * MAX_COOKIE)))
    assert carried.is_stored
    assert len(carried.cookie) < 300
    assert await open_again(front, carried) == carried.transaction


async def test_what_is_stored_stays_stored_under_the_same_key(front: Front) -> None:
    carried = await stored(front)
    again = await front.box.hold(replace(carried.transaction, locale="fr"), carried)
    assert Carried.key_in(again.cookie) == Carried.key_in(carried.cookie)
    assert (await open_again(front, carried)).locale == "fr"


async def test_ids_sort_by_age(front: Front) -> None:
    """The oldest tab's cookie is known by its name alone (decision 4)."""
    ids = []
    for _ in range(3):
        ids.append(front.box.new_id())
        front.clock.move(timedelta(seconds=1))
    assert ids == sorted(ids)


# --- who can read it ----------------------------------------------------------------------------------


async def test_the_server_alone_cannot_read_what_is_stored(front: Front) -> None:
    """The key is in the browser's cookie and nowhere else: dropping either shreds it (decisions 4, 20)."""
    carried = await stored(front)
    _, sealed = front.memory.transactions.rows[carried.transaction.id]
    key = Carried.key_in(carried.cookie)
    assert b"ana@mail.test" not in sealed
    assert front.seal.from_store(sealed, key, carried.transaction.id) == carried.transaction
    another = front.seal.new_key()
    assert front.seal.from_store(sealed, another, carried.transaction.id) is None
    assert key.encode() not in sealed
    with pytest.raises(InvalidTag):
        AESGCM(b"t" * 32).decrypt(sealed[:12], sealed[12:], f"store:{carried.transaction.id}".encode())


@pytest.mark.parametrize("key", ["", "short", "!" * 43, "A" * 42, "A" * 44])
async def test_a_key_that_is_none_opens_nothing(front: Front, key: str) -> None:
    """(catalogue 95)"""
    carried = await stored(front)
    with pytest.raises(SignInExpired):
        await front.box.open(carried.transaction.id, f"{IN_STORE}{key}")


async def test_a_cookie_of_one_transaction_opens_no_other(front: Front) -> None:
    """Ids and cookies cannot be mixed (catalogue 98)."""
    one, other = await stored(front), await stored(front)
    with pytest.raises(SignInExpired):
        await front.box.open(other.transaction.id, one.cookie)
    in_cookie = await front.box.hold(front.transaction())
    with pytest.raises(SignInExpired):
        await front.box.open(one.transaction.id, in_cookie.cookie)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: cookie[:-2] + ("AA" if cookie[-2:] != "AA" else "BB"),
        lambda cookie: cookie[:20],
        lambda cookie: cookie[2:],
        lambda _: "",
        lambda _: IN_COOKIE,
        lambda _: IN_STORE,
        lambda cookie: cookie.replace(IN_COOKIE, "x."),
        lambda cookie: cookie + "é",
        lambda _: IN_COOKIE + "A" * 2000,
    ],
)  # fmt: skip
async def test_an_altered_cookie_opens_nothing(front: Front, spoil: Any) -> None:
    """(catalogue 95)"""
    carried = await front.box.hold(front.transaction(request=request()))
    with pytest.raises((SignInExpired, SignInFinished)):
        await front.box.open(carried.transaction.id, spoil(carried.cookie))


async def test_without_a_cookie_there_is_nothing(front: Front) -> None:
    """(catalogue 98)"""
    carried = await stored(front)
    with pytest.raises(SignInExpired):
        await front.box.open(carried.transaction.id, None)


async def test_another_server_key_opens_nothing(front: Front) -> None:
    carried = await front.box.hold(front.transaction())
    stranger = TransactionSeal(b"o" * 32, front.entropy)
    assert stranger.from_cookie(carried.cookie.removeprefix(IN_COOKIE), carried.transaction.id) is None


async def test_one_written_by_another_version_starts_again(front: Front) -> None:
    """It opens and cannot be understood: as if it had run out (catalogue 109)."""
    transaction = front.transaction()
    nonce = b"n" * 12
    sealed = nonce + AESGCM(b"t" * 32).encrypt(
        nonce, msgspec.msgpack.encode({"id": 5}), f"cookie:{transaction.id}".encode()
    )
    text = msgspec.json.encode(sealed).decode().strip('"').replace("+", "-").replace("/", "_").rstrip("=")
    with pytest.raises(SignInExpired):
        await front.box.open(transaction.id, IN_COOKIE + text)


def test_a_sealed_text_is_good_for_its_purpose_only(front: Front) -> None:
    sealed = front.box.seal_text("state=1", "sign-out")
    assert "state" not in sealed
    assert front.box.open_text(sealed, "sign-out") == "state=1"
    assert front.box.open_text(sealed, "sign-in") is None
    assert front.box.open_text("x" + sealed, "sign-out") is None
    assert front.box.open_text("", "sign-out") is None


# --- how long it lasts --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stored", [False, True])
async def test_half_an_hour_after_the_last_step_it_is_over(front: Front, is_stored: bool) -> None:
    """(catalogue 109)"""
    carried = await stored(front) if is_stored else await front.box.hold(front.transaction(request=request()))
    assert carried.is_stored == is_stored
    front.clock.move(SLIDING - MOMENT)
    await front.box.open(carried.transaction.id, carried.cookie)
    front.clock.move(MOMENT)
    with pytest.raises(SignInExpired):
        await front.box.open(carried.transaction.id, carried.cookie)


async def test_each_step_gives_half_an_hour_more_and_two_hours_at_most(front: Front) -> None:
    carried = await stored(front)
    born = carried.transaction.created_at
    for _ in range(5):
        front.clock.move(timedelta(minutes=29))
        if front.clock.now() >= carried.transaction.expires_at:
            break
        carried = await front.box.keep(carried.transaction, carried)
        assert carried.transaction.expires_at == min(front.clock.now() + SLIDING, born + AT_MOST)
    with pytest.raises(SignInExpired):
        await front.box.open(carried.transaction.id, carried.cookie)
    assert front.clock.now() >= born + AT_MOST


# --- how it ends --------------------------------------------------------------------------------------


async def test_one_of_two_takers_finishes_it(front: Front) -> None:
    """(catalogue 34, 177)"""
    carried = await stored(front)
    await front.box.finish(carried)
    with pytest.raises(SignInFinished):
        await front.box.finish(carried)
    assert front.memory.transactions.rows == {}


async def test_finishing_what_the_browser_carries_touches_no_store(front: Front) -> None:
    carried = await front.box.hold(front.transaction())
    await front.box.finish(carried)
    await front.box.drop(carried)


async def test_dropping_shreds_it_in_any_state(front: Front) -> None:
    carried = await stored(front)
    await front.box.drop(carried)
    await front.box.drop(carried)
    assert front.memory.transactions.rows == {}


async def test_who_comes_back_to_one_that_is_over_hears_so(front: Front) -> None:
    """Not "you took too long": this step is done (catalogue 177)."""
    carried = await stored(front)
    await front.box.finish(carried)
    over = front.box.over(carried.transaction)
    assert over.startswith(OVER)
    for cookie in (over, carried.cookie):
        with pytest.raises(SignInFinished):
            await front.box.open(carried.transaction.id, cookie)


async def test_one_that_ran_out_in_the_store_took_too_long(front: Front) -> None:
    """(catalogue 109)"""
    carried = await stored(front)
    front.clock.move(SLIDING)
    await front.memory.purge(front.clock.now())
    with pytest.raises(SignInExpired):
        await front.box.open(carried.transaction.id, carried.cookie)
    with pytest.raises(SignInExpired):
        await front.box.open("no id of ours", carried.cookie)


async def test_the_way_back_to_the_site_outlives_the_transaction(front: Front) -> None:
    """Who ran out of time finds the site they came from: sealed by us, never guessed (catalogue 109)."""
    in_cookie = await front.box.hold(front.transaction(request=request()))
    in_store = await stored(front)
    front.clock.move(AT_MOST * 2)
    await front.memory.purge(front.clock.now())
    assert front.box.site_of(in_cookie.transaction.id, in_cookie.cookie) == FORUM
    assert front.box.site_of(in_store.transaction.id, in_store.cookie) == FORUM
    assert front.box.site_of(in_store.transaction.id, front.box.over(in_store.transaction)) == FORUM


async def test_a_site_is_never_guessed(front: Front) -> None:
    """(catalogue 109)"""
    one, other = await stored(front), await stored(front)
    direct = await front.box.keep(front.transaction())
    in_cookie = await front.box.hold(front.transaction())
    assert front.box.site_of(other.transaction.id, one.cookie) is None
    assert front.box.site_of(direct.transaction.id, direct.cookie) is None
    assert front.box.site_of(direct.transaction.id, front.box.over(direct.transaction)) is None
    assert front.box.site_of(in_cookie.transaction.id, in_cookie.cookie) is None
    for cookie in ("", "c.", "k.", "o.", "c.AAAA", "k.AAAA.forum", "o.forum", "forum", "k." + "A" * 43):
        assert front.box.site_of(one.transaction.id, cookie) is None

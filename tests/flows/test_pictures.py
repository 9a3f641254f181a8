"""Pictures of people: fetched once, kept or dropped as the person decides, shown where it is shared and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from tests.flows.front import AGENT, FACEBOOK, Front, identity
from tests.flows.op import FORUM, ISSUER, WIKI, Op
from tests.support.builders import asked

from broker.domain.account import AccountStatus, ProfileValue
from broker.domain.claims import NAME, PICTURE
from broker.domain.client import Client
from broker.domain.consent import Purpose
from broker.domain.picture import Picture, SharedPicture, kept_as, picture_of
from broker.domain.session import Session
from broker.domain.values import AccountId, ClientId
from broker.errors import FormInvalid, NotFound
from broker.flows.pictures import PictureFlow
from broker.flows.sign_in import SignedIn
from broker.flows.transactions import Carried

DRAWN = b"drawn from https://pictures.test/ana"


@pytest.fixture
def front() -> Front:
    return Front()


async def account_of(front: Front, carried: Carried, *ticked: str) -> AccountId:
    decided = await front.sign_up.decide(carried, ticked=frozenset(map(type(PICTURE), ticked)), edits={})
    created = await front.sign_up.create(decided, front.form("ana"), session=None, user_agent=AGENT)
    assert isinstance(created, SignedIn)
    return created.started.session.account


# --- fetched, and decided on --------------------------------------------------------------------------


async def test_a_picture_is_fetched_once_and_shown_before_the_decision(front: Front) -> None:
    """(catalogue 141)"""
    carried = await front.new_person("ana")
    assert front.pictures.asked == ["https://pictures.test/ana"]
    picture = front.sign_up.picture(carried.transaction)
    assert picture is not None
    assert picture.jpeg == DRAWN
    account = await account_of(front, carried, PICTURE)
    assert front.pictures.asked == ["https://pictures.test/ana"]
    assert front.durable.tables.pictures == {account: picture}
    assert front.accounts[account].profile[PICTURE] == ProfileValue(
        value=kept_as(picture.id), source="provider:facebook"
    )
    assert "pictures.test" not in repr(front.accounts[account].claims)


async def test_a_picture_that_is_not_ticked_is_gone_at_once(front: Front) -> None:
    """(catalogue 141)"""
    carried = await front.new_person("ana")
    decided = await front.sign_up.decide(carried, ticked=frozenset(), edits={})
    assert decided.transaction.picture is None
    assert front.sign_up.picture(decided.transaction) is None
    created = await front.sign_up.create(decided, front.form("ana"), session=None, user_agent=AGENT)
    assert isinstance(created, SignedIn)
    assert front.durable.tables.pictures == {}
    assert PICTURE not in front.accounts[created.started.session.account].profile


async def test_without_a_picture_the_sign_up_goes_on(front: Front) -> None:
    """(catalogue 141)"""
    front.pictures.is_down = True
    carried = await front.new_person("ana")
    assert carried.transaction.picture_failed
    assert front.sign_up.picture(carried.transaction) is None
    assert {row.claim: row.value for row in front.sign_up.rows(carried.transaction)}[PICTURE] is None
    account = await account_of(front, carried, PICTURE)
    assert front.durable.tables.pictures == {}
    assert PICTURE not in front.accounts[account].profile
    assert front.accounts[account].claims[NAME] == "Ana Marković"


async def test_who_has_no_picture_there_is_not_told_that_one_failed(front: Front) -> None:
    front.facebook.people["ana"] = identity("ana", claims={NAME: "Ana"})
    carried = await front.new_person("ana")
    assert (front.pictures.asked, carried.transaction.picture_failed) == ([], False)


async def test_where_no_picture_is_kept_none_is_fetched(front: Front) -> None:
    front.sign_up = replace(front.sign_up, sign_in=replace(front.sign_in, pictures=None))
    front.sign_in = front.sign_up.sign_in
    carried = await front.new_person("ana")
    assert front.pictures.asked == []
    assert carried.transaction.identity is not None
    assert PICTURE not in carried.transaction.identity.claims


async def test_who_is_known_already_is_not_looked_at_again(front: Front) -> None:
    """A picture is fetched when somebody can still decide about it, and never behind their back."""
    await front.person("ana")
    front.pictures.asked.clear()
    await front.back(await front.leave(), "ana")
    assert front.pictures.asked == []


async def test_asking_the_provider_anew_forgets_the_picture(front: Front) -> None:
    carried = await front.new_person("ana")
    again = await front.sign_in.begin(carried, FACEBOOK, ask_again=True)
    assert again.carried.transaction.picture is None
    assert not again.carried.transaction.picture_failed


async def test_nobody_who_only_began_has_a_picture(front: Front) -> None:
    assert front.sign_up.picture(front.transaction()) is None


# --- kept ---------------------------------------------------------------------------------------------


async def test_a_removed_picture_is_gone_and_none_can_be_typed(front: Front) -> None:
    """(catalogue 141)"""
    session = (await front.person("ana")).started.session
    with pytest.raises(FormInvalid):
        await front.account.change(session.account, PICTURE, "https://pictures.test/other")
    assert len(front.durable.tables.pictures) == 1
    await front.account.change(session.account, PICTURE, "")
    assert front.durable.tables.pictures == {}


async def test_a_closed_account_leaves_no_picture(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.account.close(session)
    assert front.durable.tables.pictures == {}


def test_what_is_no_picture_of_ours_stands_for_none() -> None:
    """An address that an older version had kept is neither shown nor shared."""
    assert picture_of(kept_as("p-1")) == "p-1"
    assert picture_of("https://pictures.test/ana") is None
    assert picture_of(None) is None


# --- shared -------------------------------------------------------------------------------------------


@pytest.fixture
def op() -> Op:
    op = Op()
    for name in (FORUM, WIKI):
        client = op.clients[name]
        op.clients[name] = replace(client, asks=(*client.asks, asked(PICTURE, needed=False)))
    return op


@pytest.fixture
def flow(op: Op) -> PictureFlow:
    return PictureFlow(durable=op.durable, clients=op.clients, addresses=op.releaser.pictures)


@pytest.fixture
async def ana(op: Op) -> Session:
    session = await op.person("ana")
    account = op.durable.tables.accounts[session.account]
    held = ProfileValue(value=kept_as("p-1"), source="provider:facebook")
    unit = op.durable.unit()
    unit.save_account(replace(account, profile={**account.profile, PICTURE: held}))
    unit.put_picture(account.id, Picture(id="p-1", jpeg=b"jpeg of ana"))
    await unit.commit()
    return session


async def address(op: Op, session: Session, client: ClientId = FORUM) -> str:
    """What the site hears."""
    told = await op.releaser.userinfo((await op.tokens(session, client))["access_token"])
    return str(told["picture"])


def name_in(address: str) -> str:
    assert address.startswith(f"{ISSUER}/picture/")
    return urlsplit(address).path.removeprefix("/picture/")


async def test_each_site_has_its_own_address_of_the_same_picture(op: Op, flow: PictureFlow, ana: Session) -> None:
    """Two sites cannot find one person by it (decision 11); the same site may keep what it loaded."""
    forum, wiki = await address(op, ana), await address(op, ana, WIKI)
    assert forum == await address(op, ana)
    assert forum != wiki
    for one in (forum, wiki):
        assert one.endswith(".jpg")
        assert "p-1" not in one
        assert (await flow.shared(name_in(one))).jpeg == b"jpeg of ana"
    assert (await flow.own(ana.account)).jpeg == b"jpeg of ana"


async def test_what_an_older_version_kept_is_not_shared(op: Op, ana: Session) -> None:
    account = op.durable.tables.accounts[ana.account]
    held = ProfileValue(value="https://pictures.test/ana", source="provider:facebook")
    await op.change(ana.account, profile={**account.profile, PICTURE: held})
    told = await op.releaser.userinfo((await op.tokens(ana))["access_token"])
    assert "picture" not in told


async def test_an_address_ends_with_the_sharing(op: Op, flow: PictureFlow, ana: Session) -> None:
    """(promise P6)"""
    name = name_in(await address(op, ana))
    client = op.clients[FORUM]
    (receipt,) = await op.durable.ledger.receipts(ana.account, Purpose.SHARE_WITH_CLIENT)
    unit = op.durable.unit()
    op.ledger.withdraw(unit, receipt, sid=ana.sid, locale="en", notice_version="")
    await unit.commit()
    with pytest.raises(NotFound):
        await flow.shared(name)
    assert op.clients[FORUM] == client


@pytest.mark.parametrize(
    "client",
    [
        None,
        {"enabled": False},
        {"asks": ()},
        {"asks": (asked(PICTURE, needed=False, why={"en": "For another purpose."}),)},
    ],
)
async def test_an_address_is_good_for_what_was_agreed_to(
    op: Op, flow: PictureFlow, ana: Session, client: dict[str, object] | None
) -> None:
    """A site that is gone or off, asks no more or for another purpose (promise P6)."""
    name, before = name_in(await address(op, ana)), op.clients.pop(FORUM)
    if client is not None:
        op.clients[FORUM] = changed(before, **client)
    with pytest.raises(NotFound):
        await flow.shared(name)
    op.clients[FORUM] = before
    assert (await flow.shared(name)).id == "p-1"


def changed(client: Client, **more: object) -> Client:
    return replace(client, **more)  # type: ignore[arg-type]


async def test_an_address_leads_to_the_picture_it_was_made_for(op: Op, flow: PictureFlow, ana: Session) -> None:
    name = name_in(await address(op, ana))
    account = op.durable.tables.accounts[ana.account]
    held = ProfileValue(value=kept_as("p-2"), source="provider:facebook")
    await op.change(ana.account, profile={**account.profile, PICTURE: held})
    with pytest.raises(NotFound):
        await flow.shared(name)


@pytest.mark.parametrize("status", [AccountStatus.HELD, AccountStatus.CLOSED])
async def test_an_account_on_hold_shows_no_picture(
    op: Op, flow: PictureFlow, ana: Session, status: AccountStatus
) -> None:
    name = name_in(await address(op, ana))
    await op.change(ana.account, status=status)
    with pytest.raises(NotFound):
        await flow.shared(name)


async def test_nothing_is_behind_what_we_did_not_make(op: Op, flow: PictureFlow, ana: Session) -> None:
    with pytest.raises(NotFound):
        await flow.shared("x.jpg")
    stranger = SharedPicture(account=AccountId("nobody"), picture="p-1", client=FORUM)
    with pytest.raises(NotFound):
        await flow.shared(flow.addresses.path(stranger).removeprefix("/picture/"))
    with pytest.raises(NotFound):
        await flow.own(AccountId("nobody"))

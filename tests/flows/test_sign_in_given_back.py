"""A sign-in that comes to nothing keeps nothing at the provider either; that of somebody with an account there stays as it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front, ScriptedProvider
from tests.support import builders

from broker.domain.account import AccountStatus
from broker.domain.provider import UpstreamTokens
from broker.domain.session import Session
from broker.domain.transaction import TransactionPurpose
from broker.domain.values import AccountId, ProviderId
from broker.errors import (
    AccountHeld,
    BrokerError,
    IdentityTaken,
    NotYourWay,
    ProviderOff,
    SignInExpired,
    SignInRequired,
    StoreUnavailable,
    UpstreamUnavailable,
    WrongBrowser,
)
from broker.flows import sign_in

POSTING, LINK = TransactionPurpose.POSTING, TransactionPurpose.LINK
FRESHEN, MERGE, SIGN_IN = TransactionPurpose.FRESHEN, TransactionPurpose.MERGE, TransactionPurpose.SIGN_IN


@pytest.fixture
def front() -> Front:
    return Front()


async def came_to_nothing(
    front: Front,
    purpose: TransactionPurpose,
    name: str,
    error: type[BrokerError],
    *,
    session: Session | None,
    by: Session | None = None,
    after: timedelta = timedelta(),
) -> list[UpstreamTokens]:
    """What was given back when `name` came back from Facebook for `session`, to a browser where `by` is signed in."""
    left = await front.leave(FACEBOOK, purpose, session)
    front.clock.move(after)
    front.facebook.revoked.clear()
    with pytest.raises(error):
        await front.back(left, name, session=by or session)
    return front.facebook.revoked


@pytest.mark.parametrize("name", ["ben", "nobody"])
async def test_what_another_person_granted_for_posting_is_taken_back(front: Front, name: str) -> None:
    """Whoever it is: it was asked for posting here, and nobody posts with it (catalogue 189)."""
    session = (await front.person("ana")).started.session
    await front.person("ben")
    given = await came_to_nothing(front, POSTING, name, NotYourWay, session=session)
    assert given == [front.facebook.tokens[name]]


async def test_what_came_for_posting_too_late_or_to_another_browser_is_taken_back(front: Front) -> None:
    ana, ben = (await front.person("ana")).started.session, (await front.person("ben")).started.session
    mine = [front.facebook.tokens["ana"]]
    assert await came_to_nothing(front, POSTING, "ana", WrongBrowser, session=ana, by=ben) == mine
    late = timedelta(minutes=11)
    assert await came_to_nothing(front, POSTING, "ana", SignInExpired, session=ana, after=late) == mine
    left = await front.leave(FACEBOOK, POSTING, ana)
    await front.sessions.sign_out_everywhere(ana.account)
    front.facebook.revoked.clear()
    with pytest.raises(SignInRequired):
        await front.back(left, "ana", session=ana)
    assert front.facebook.revoked == mine


async def test_a_second_yes_that_came_to_nothing_leaves_the_first_as_it_is(front: Front) -> None:
    """Some providers give the same token for both: taken back, it would end what another site posts with (catalogue 189)."""
    ana, ben = (await front.person("ana")).started.session, (await front.person("ben")).started.session
    given = front.facebook.tokens["ana"]
    asked = []

    async def keeps(account: AccountId, provider: ProviderId, tokens: UpstreamTokens | None) -> bool:
        asked.append((account, provider))
        return tokens == given

    front.sign_in = replace(front.sign_in, keeps=keeps)
    assert await came_to_nothing(front, POSTING, "ana", WrongBrowser, session=ana, by=ben) == []
    assert asked == [(ana.account, FACEBOOK)], "whose way it is, and not who is here"
    assert await came_to_nothing(front, POSTING, "ben", NotYourWay, session=ana) == [front.facebook.tokens["ben"]]


async def test_what_is_granted_for_posting_is_kept_for_the_gate(front: Front) -> None:
    session = (await front.person("ana")).started.session
    await front.back(await front.leave(FACEBOOK, POSTING, session), "ana", session=session)
    assert front.facebook.revoked == []


@pytest.mark.parametrize("purpose", [LINK, FRESHEN, MERGE])
async def test_nobody_who_came_to_nothing_stays_at_the_provider(front: Front, purpose: TransactionPurpose) -> None:
    ana, ben = (await front.person("ana")).started.session, (await front.person("ben")).started.session
    given = await came_to_nothing(front, purpose, "nobody", WrongBrowser, session=ana, by=ben)
    assert given == [front.facebook.tokens["nobody"]]


async def test_who_has_an_account_is_not_taken_out_over_there_for_a_sign_in_that_failed(front: Front) -> None:
    """One token given back may end all they ever allowed us; Facebook tells us so, and the way in would be gone."""
    ana = (await front.person("ana")).started.session
    await front.person("ben")
    for purpose, error in ((LINK, IdentityTaken), (FRESHEN, NotYourWay)):
        assert await came_to_nothing(front, purpose, "ben", error, session=ana) == []
    account = front.accounts[ana.account]
    unit = front.durable.unit()
    unit.save_account(replace(account, status=AccountStatus.HELD))
    await unit.commit()
    assert await came_to_nothing(front, SIGN_IN, "ana", AccountHeld, session=None) == []


@pytest.mark.parametrize("purpose", [LINK, POSTING])
async def test_where_nobody_can_tell_whose_it_is_only_what_is_for_posting_is_given_back(
    front: Front, purpose: TransactionPurpose
) -> None:
    ana, ben = (await front.person("ana")).started.session, (await front.person("ben")).started.session
    left = await front.leave(FACEBOOK, purpose, ana)

    async def away(_key: object) -> None:
        raise StoreUnavailable("disk")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front.durable.accounts, "by_identity", away)
        with pytest.raises(WrongBrowser):
            await front.back(left, "nobody", session=ben)
    assert front.facebook.revoked == ([front.facebook.tokens["nobody"]] if purpose is POSTING else [])


@pytest.mark.parametrize("provider", [OPENID, FACEBOOK])
async def test_who_goes_to_another_provider_instead_leaves_nothing_at_the_first(
    front: Front, provider: ProviderId
) -> None:
    """Or to the same once more: what comes then is all that is kept."""
    carried = await front.new_person("ana")
    held = front.facebook.tokens["ana"]
    left = await front.sign_in.begin(carried, provider)
    assert front.facebook.revoked == [held]
    assert left.carried.transaction.tokens is None
    await front.sign_in.begin(left.carried, FACEBOOK)
    assert front.facebook.revoked == [held], "once"


@pytest.mark.parametrize("provider", [OPENID, ProviderId("gone")])
async def test_who_cannot_go_elsewhere_loses_nothing(front: Front, provider: ProviderId) -> None:
    carried = await front.new_person("ana")
    front.openid.is_down = True
    with pytest.raises((UpstreamUnavailable, ProviderOff)):
        await front.sign_in.begin(carried, provider)
    assert front.facebook.revoked == []
    kept = await front.box.open(carried.transaction.id, carried.cookie)
    assert kept.transaction.tokens == front.facebook.tokens["ana"]


async def test_a_provider_that_is_switched_off_is_given_back_what_it_gave(front: Front) -> None:
    """Nobody signs in with it any more, and what is held of it ends as ever."""
    off, tokens = ScriptedProvider(ProviderId("off")), builders.upstream_tokens()
    await front.sign_in.drop_upstream(off.id, tokens)
    assert off.revoked == []
    await replace(front.sign_in, beside={off.id: off}).drop_upstream(off.id, tokens)
    assert off.revoked == [tokens]
    with pytest.raises(ProviderOff):
        replace(front.sign_in, beside={off.id: off}).provider(off.id)


async def test_nobody_waits_long_for_a_provider_that_takes_nothing_back(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in.TAKE_BACK_SECONDS <= 5
    monkeypatch.setattr(sign_in, "TAKE_BACK_SECONDS", 0.02)

    class Hanging(ScriptedProvider):
        async def revoke(self, tokens: UpstreamTokens) -> None:
            await asyncio.sleep(60)

    flow = replace(front.sign_in, providers={OPENID: Hanging(OPENID)})
    async with asyncio.timeout(1):
        await flow.drop_upstream(OPENID, builders.upstream_tokens())
        with pytest.raises(UpstreamUnavailable):
            await flow.take_back(OPENID, builders.upstream_tokens())

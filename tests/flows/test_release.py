"""Claims leave: only what is agreed to, only once it is recorded, and not a moment after it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.op import FORUM, KIT, Op
from tests.support.builders import asked

from broker.domain import tokens
from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import Client
from broker.domain.consent import Purpose
from broker.domain.disclosure import Via
from broker.domain.session import Session
from broker.errors import InsufficientScope, InvalidToken, NotFound, StoreUnavailable
from broker.flows.release import within

AWAY = "openid profile email offline_access"


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


async def userinfo(op: Op, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return await op.releaser.userinfo(answer["access_token"])


async def test_userinfo_is_what_the_person_shares_with_this_site(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.3 (catalogue 86)."""
    answer = await op.tokens(ana)
    told = await userinfo(op, answer)
    assert {name: value for name, value in told.items() if name != "sub"} == {
        "preferred_username": "ana",
        "name": "Ana Lund",
        "email": "ana@mail.test",
        "email_verified": True,
    }
    assert told["sub"] == (await op.exchange.introspect(op.clients[FORUM], answer["access_token"]))["sub"]


async def test_what_was_not_ticked_is_not_told(op: Op, ana: Session) -> None:
    """Catalogue 86, 135."""
    told = await userinfo(op, await op.tokens(ana, ticked=frozenset({NAME})))
    assert set(told) == {"sub", "preferred_username", "name"}


async def test_what_was_not_asked_by_this_request_is_not_told(op: Op, ana: Session) -> None:
    """Though an earlier request was granted it (catalogue 86)."""
    await op.share(ana)
    assert set(await userinfo(op, await op.tokens(ana, scope="openid email"))) == {"sub", "email", "email_verified"}


async def test_a_claim_asked_by_name_goes_where_it_was_asked_for(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.5: the ID token, userinfo, or both; by no scope (catalogue 86)."""
    wanted = json.dumps({"id_token": {"name": None, "email": None}, "userinfo": {"email": None}})
    answer = await op.tokens(ana, scope="openid", claims=wanted)
    told = await userinfo(op, answer)
    assert set(told) == {"sub", "email", "email_verified"}
    signed = op.box.own(answer["id_token"], typ=tokens.ID_TOKEN_TYPE, now=op.clock.now())
    assert signed is not None
    assert (signed["name"], signed["email"]) == ("Ana Lund", "ana@mail.test")
    assert {row.via for row in op.durable.tables.disclosures.values()} == {Via.USERINFO, Via.ID_TOKEN}


async def test_a_claim_with_another_value_than_the_site_can_use_stays(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.5.1: and the site learns no more than that."""
    wanted = json.dumps({"userinfo": {"email": {"value": "ben@mail.test"}, "name": {"value": "Ana Lund"}}})
    told = await userinfo(op, await op.tokens(ana, scope="openid email", claims=wanted))
    assert set(told) == {"sub", "name"}


async def test_what_was_not_ticked_does_not_come_back_by_its_name(op: Op, ana: Session) -> None:
    """(catalogue 135)"""
    wanted = json.dumps({"id_token": {"email": {"essential": True}}, "userinfo": {"email": {"essential": True}}})
    answer = await op.tokens(ana, ticked=frozenset({NAME}), claims=wanted)
    assert set(await userinfo(op, answer)) == {"sub", "name", "preferred_username"}
    signed = op.box.own(answer["id_token"], typ=tokens.ID_TOKEN_TYPE, now=op.clock.now())
    assert signed is not None
    assert "email" not in signed


async def test_a_narrowed_token_leaves_what_was_asked_by_name_behind(op: Op, ana: Session) -> None:
    """RFC 6749 §6."""
    wanted = json.dumps({"userinfo": {"email": None}})
    answer = await op.tokens(ana, scope="openid profile offline_access", claims=wanted)
    narrowed = await op.refresh(answer["refresh_token"], scope="openid profile")
    assert set(await userinfo(op, narrowed)) == {"sub", "name", "preferred_username"}


async def test_a_purpose_that_changed_stops_the_claim_at_once(op: Op, ana: Session) -> None:
    """Tokens already given keep the old agreement, which no longer covers it (promise P6)."""
    answer = await op.tokens(ana)
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, asks=(*site.asks[:2], asked(EMAIL, needed=False, why={"en": "to sell it"})))
    assert set(await userinfo(op, answer)) == {"sub", "preferred_username", "name"}


async def test_a_corrected_value_is_the_one_that_is_told(op: Op, ana: Session) -> None:
    answer = await op.tokens(ana)
    account = await op.durable.accounts.load(ana.account)
    assert account is not None
    profile = {**account.profile, NAME: replace(account.profile[NAME], value="Ana Nova")}
    await op.change(ana.account, profile={name: held for name, held in profile.items() if name != EMAIL})
    told = await userinfo(op, answer)
    assert told["name"] == "Ana Nova"
    assert {"email", "email_verified"}.isdisjoint(told)


async def test_a_disclosure_is_recorded_before_it_leaves_and_once_a_day(op: Op, ana: Session) -> None:
    """Names, never values (decision 14)."""
    answer = await op.tokens(ana, scope=AWAY)
    for _ in range(3):
        await userinfo(op, answer)
    (row,) = op.durable.tables.disclosures.values()
    assert (row.via, row.claims, row.day) == (Via.USERINFO, (EMAIL, NAME, PREFERRED_USERNAME), op.clock.now().date())
    assert "Lund" not in repr(row)


async def test_no_record_no_claims(op: Op, ana: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the ledger cannot be written, nothing is answered, now or at the next try."""
    answer = await op.tokens(ana)
    unit_of = op.durable.unit

    def broken() -> Any:
        unit = unit_of()

        async def commit() -> None:
            raise StoreUnavailable("disk full")

        unit.commit = commit  # type: ignore[method-assign]
        return unit

    monkeypatch.setattr(op.durable, "unit", broken)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await userinfo(op, answer)
    monkeypatch.undo()
    assert not op.durable.tables.disclosures
    await userinfo(op, answer)
    assert len(op.durable.tables.disclosures) == 1


async def test_who_may_not_ask_in_this_way_is_told_nothing(op: Op, ana: Session) -> None:
    answer, asked = await op.tokens(ana, scope="openid"), []

    def refuse(client: Client) -> None:
        asked.append(client.client_id)
        raise NotFound(detail="not for this site")

    with pytest.raises(NotFound):
        await op.releaser.userinfo(answer["access_token"], for_whom=refuse)
    assert asked == [FORUM]


async def test_a_token_without_openid_opens_no_userinfo(op: Op, ana: Session) -> None:
    first = await op.tokens(ana, scope=AWAY)
    narrow = await op.refresh(first["refresh_token"], scope="email")
    with pytest.raises(InsufficientScope):
        await userinfo(op, narrow)


@pytest.mark.parametrize("status", [AccountStatus.HELD, AccountStatus.CLOSED])
async def test_an_account_that_is_not_active_tells_nothing(op: Op, ana: Session, status: AccountStatus) -> None:
    """Catalogue 83."""
    answer = await op.tokens(ana)
    await op.change(ana.account, status=status)
    with pytest.raises(InvalidToken):
        await userinfo(op, answer)


async def test_an_erased_account_tells_nothing(op: Op, ana: Session) -> None:
    """Catalogue 83, 130."""
    answer = await op.tokens(ana)
    unit = op.durable.unit()
    unit.erase_account(ana.account, op.clock.now())
    await unit.commit()
    with pytest.raises(InvalidToken):
        await userinfo(op, answer)


async def test_a_withdrawn_consent_tells_nothing(op: Op, ana: Session) -> None:
    """From the very next call (catalogue 83, 137)."""
    answer = await op.tokens(ana)
    (receipt,) = await op.durable.ledger.receipts(ana.account, Purpose.SHARE_WITH_CLIENT, FORUM)
    unit = op.durable.unit()
    op.ledger.withdraw(unit, receipt, sid=None, locale="en", notice_version="")
    unit.revoke_grants(ana.account, op.clock.now(), client=FORUM)
    await unit.commit()
    with pytest.raises(InvalidToken, match="revoked"):
        await userinfo(op, answer)


@pytest.mark.parametrize("scope", [AWAY, "openid email"])
@pytest.mark.parametrize("by", ["account", "client", "sid"])
async def test_whatever_is_revoked_for_all_is_over_for_every_token_before_it(
    op: Op, ana: Session, scope: str, by: str
) -> None:
    """Of the person, the site, the session; also after a restart, and not for what comes later (catalogue 84)."""
    before = await op.tokens(ana, scope=scope)
    which = {"account": {}, "client": {"client": FORUM}, "sid": {"sid": ana.sid}}[by]
    unit = op.durable.unit()
    unit.revoke_grants(ana.account, op.clock.now(), **which)  # type: ignore[arg-type]
    await unit.commit()
    op.restart()
    for minutes in (0, -5):
        op.move(minutes=minutes)
        assert not await op.is_active(before["access_token"])
        with pytest.raises(InvalidToken):
            await userinfo(op, before)
    assert await op.is_active((await op.tokens(ana, scope=scope))["access_token"])


async def test_signing_out_spares_what_was_granted_for_absence(op: Op, ana: Session) -> None:
    near, away = await op.tokens(ana), await op.tokens(ana, scope=AWAY)
    unit = op.durable.unit()
    unit.revoke_grants(ana.account, op.clock.now(), sid=ana.sid, keep_offline=True)
    await unit.commit()
    assert not await op.is_active(near["access_token"])
    assert await op.is_active(away["access_token"])


async def test_a_site_that_is_gone_or_disabled_is_told_nothing(op: Op, ana: Session) -> None:
    """Catalogue 19."""
    answer = await op.tokens(ana)
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, enabled=False)
    with pytest.raises(InvalidToken, match="disabled"):
        await userinfo(op, answer)
    del op.clients[FORUM]
    with pytest.raises(InvalidToken, match="gone"):
        await userinfo(op, answer)


@pytest.mark.parametrize("token", ["", "dwa_", "dwa_AAAA", "Bearer x", "x" * 3000, "\u2603"])
async def test_what_we_did_not_make_opens_nothing(op: Op, token: str) -> None:
    with pytest.raises(InvalidToken):
        await op.releaser.userinfo(token)


async def test_an_access_token_is_good_for_ten_minutes(op: Op, ana: Session) -> None:
    answer = await op.tokens(ana)
    op.move(minutes=9, seconds=59)
    await userinfo(op, answer)
    op.move(seconds=1)
    with pytest.raises(InvalidToken):
        await userinfo(op, answer)


async def test_what_is_prepared_for_nobody_is_refused(op: Op, ana: Session) -> None:
    """The rule is asked again at the gate itself."""
    await op.tokens(ana)
    (grant,) = op.durable.tables.grants.values()
    account = op.durable.tables.accounts[ana.account]
    over = op.clock.now() + timedelta(days=15)
    op.clock.at = over
    with pytest.raises(InvalidToken):
        op.releaser.prepare(grant, op.clients[FORUM], account, Via.USERINFO, op.durable.unit())


async def test_the_grant_within_all_its_scopes_is_itself(op: Op, ana: Session) -> None:
    await op.tokens(ana, KIT)
    (grant,) = op.durable.tables.grants.values()
    site = op.clients[KIT]
    assert within(grant, site, grant.scopes) is grant
    narrow = within(grant, site, {"openid", "address"})
    assert (narrow.scopes, dict(narrow.claims)) == (frozenset({"openid"}), {})

"""A sign-in handed over to a site's own host, and what is told there until it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.flows.op import ISSUER, WIKI, Op, answered, site
from tests.support.builders import asked

from broker.domain import tokens
from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import AuthMethod, Client
from broker.domain.disclosure import Via
from broker.domain.gate import CALLBACK
from broker.domain.session import Session
from broker.domain.values import ClientId, GrantId
from broker.errors import InvalidGrant, WrongBrowser
from broker.flows.gate import Entered, GateFlow
from broker.sealing import TransactionSeal

NOTES = ClientId("notes")
PAGE = "https://notes.test/a?b=c"
BROWSER = "browser-of-ana-0123456789"


class Gate(Op):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.clients[NOTES] = site(
            NOTES, auth_method=AuthMethod.NONE, redirect_uris=(f"https://notes.test{CALLBACK}",), forward_auth=True
        )
        self.gate = GateFlow(
            durable=self.durable,
            exchange=self.exchange,
            releaser=self.releaser,
            ledger=self.ledger,
            handles=self.handles,
            signer=self.box,
            seal=TransactionSeal(b"t" * 32, self.entropy),
            clients=self.clients,
            clock=self.clock,
            entropy=self.entropy,
            issuer=ISSUER,
        )

    @property
    def notes(self) -> Client:
        return self.clients[NOTES]

    async def handed(self, session: Session) -> tuple[str, str]:
        """Code and state of a handover that the person agreed to."""
        begun = urlsplit(self.gate.begin(self.notes, PAGE, BROWSER))
        params: dict[str, Any] = {name: values[0] for name, values in parse_qs(begun.query).items()}
        assert params.pop("redirect_uri") == self.notes.redirect_uris[0]
        params.pop("client_id")
        found = answered(await self.share(session, NOTES, nonce=None, **params))
        return found["code"], found["state"]

    async def enter(self, session: Session) -> Entered:
        code, state = await self.handed(session)
        found = self.gate.asked_by(state)
        assert found is not None
        return await self.gate.finish(*found, code=code, state=state, browser=BROWSER)


@pytest.fixture
def op() -> Gate:
    return Gate()


@pytest.fixture
async def ana(op: Gate) -> Session:
    return await op.person("ana")


async def test_a_handover_ends_at_its_page_and_names_the_person(op: Gate, ana: Session) -> None:
    """The record is written before the headers leave (catalogue 86)."""
    entered = await op.enter(ana)
    assert entered.page == PAGE
    headers = await op.gate.who(op.notes, entered.entry)
    assert headers is not None
    assertion = headers.pop("x-login-assertion")
    assert headers == {
        "remote-user": "ana",
        "remote-name": "Ana Lund",
        "remote-email": "ana@mail.test",
        "remote-groups": "",
    }
    (row,) = op.durable.tables.disclosures.values()
    assert (row.via, set(row.claims)) == (Via.FORWARD_AUTH, {"email", "name", "preferred_username"})
    claims = op.box.own(assertion, typ=tokens.ASSERTION_TYPE, now=op.clock.now())
    assert claims is not None
    assert (claims["aud"], claims["iss"], claims["exp"] - claims["iat"]) == (NOTES, ISSUER, 60)
    assert (claims["preferred_username"], claims["email_verified"]) == ("ana", True)
    assert op.box.own(assertion, typ=tokens.SESSION_TOKEN_TYPE, now=op.clock.now()) is None
    assert await op.gate.who(op.notes, entered.entry) is not None
    assert len(op.durable.tables.disclosures) == 1


async def test_what_was_not_ticked_is_not_told(op: Gate, ana: Session) -> None:
    """(catalogue 135)"""
    await op.share(ana, NOTES, ticked=frozenset({NAME}))
    situation = await op.look(ana, NOTES)
    code = answered(await op.authorize.issue(situation))["code"]
    redeemed = await op.exchange.redeem(
        op.notes, {"code": code, "redirect_uri": op.notes.redirect_uris[0], "code_verifier": VERIFIER}
    )
    headers = await op.gate.who(op.notes, op.handles.entry(redeemed.grant.id))
    assert headers is not None
    assert (headers["remote-name"], headers["remote-email"]) == ("Ana Lund", "")


VERIFIER = "verifier-of-one-tab-0123456789-0123456789-abc"


@pytest.mark.parametrize("browser", [None, "browser-of-ben-0123456789"])
async def test_another_browser_cannot_finish_a_handover(op: Gate, ana: Session, browser: str | None) -> None:
    """Who plants their own answer into somebody else's browser gets nowhere (catalogue 98)."""
    code, state = await op.handed(ana)
    found = op.gate.asked_by(state)
    assert found is not None
    with pytest.raises((WrongBrowser, InvalidGrant)):
        await op.gate.finish(*found, code=code, state=state, browser=browser)


async def test_a_handover_is_finished_once(op: Gate, ana: Session) -> None:
    """The second time ends what the first one gave (catalogue 20)."""
    code, state = await op.handed(ana)
    found = op.gate.asked_by(state)
    assert found is not None
    entered = await op.gate.finish(*found, code=code, state=state, browser=BROWSER)
    with pytest.raises(InvalidGrant):
        await op.gate.finish(*found, code=code, state=state, browser=BROWSER)
    assert await op.gate.who(op.notes, entered.entry) is None


async def test_every_end_of_a_sign_in_reaches_the_gate(op: Gate, ana: Session) -> None:
    """Signing out, an account on hold, the grant's own end: at the next request (catalogue 83)."""
    entered = await op.enter(ana)
    await op.change(ana.account, status=AccountStatus.HELD)
    assert await op.gate.who(op.notes, entered.entry) is None
    await op.change(ana.account, status=AccountStatus.ACTIVE)
    assert await op.gate.who(op.notes, entered.entry) is not None
    unit = op.durable.unit()
    for grant in list(op.durable.tables.grants.values()):
        unit.revoke_grant(grant.id, op.clock.now())
    await unit.commit()
    assert await op.gate.who(op.notes, entered.entry) is None
    again = await op.enter(ana)
    op.move(days=15)
    assert await op.gate.who(op.notes, again.entry) is None


async def test_a_reason_that_changed_closes_the_gate_until_it_is_agreed_to(op: Gate, ana: Session) -> None:
    """(promise P6)"""
    entered = await op.enter(ana)
    changed = asked(PREFERRED_USERNAME, needed=True, why={"en": "to sell it"})
    op.clients[NOTES] = replace(op.notes, asks=(changed, asked(NAME, needed=False), asked(EMAIL, needed=False)))
    assert await op.gate.who(op.notes, entered.entry) is None


async def test_what_opens_one_gate_opens_no_other(op: Gate, ana: Session) -> None:
    """Nor does anything else that we make (catalogue 77)."""
    entered = await op.enter(ana)
    assert await op.gate.who(replace(op.notes, client_id=WIKI), entered.entry) is None
    answer = await op.tokens(ana)
    for text in (
        "",
        "dwe_x",
        answer["access_token"],
        entered.entry + "A",
        entered.entry[:-1],
        op.handles.entry(GrantId("x")),
    ):
        assert await op.gate.who(op.notes, text) is None
    for token in (entered.entry,):
        assert not await op.is_active(token)


async def test_sealed_ways_lead_to_gates_of_ours_only(op: Gate) -> None:
    """One is not good for the other, nor after the site left (catalogue 99)."""
    way = op.gate.way_to(op.notes, PAGE)
    assert op.gate.destination(way) == (op.notes, PAGE)
    assert op.gate.asked_by(way) is None
    assert op.gate.destination("made-up") is None
    moved = op.clients[NOTES]
    op.clients[NOTES] = replace(moved, url="https://new.test/")
    assert op.gate.destination(way) == (op.notes, "https://new.test/")
    op.clients[NOTES] = replace(moved, forward_auth=False)
    assert op.gate.destination(way) is None
    assert op.gate.site(NOTES) is None
    assert op.gate.site("nobody") is None

"""A forum's question becomes an ordinary sign-in, and its end the forum's answer."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.domain.test_discourse import RETURN, SECRET, question
from tests.flows.op import FORUM, ISSUER, Op, answered, site
from tests.support.builders import asked

from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import AuthMethod, Client
from broker.domain.disclosure import Via
from broker.domain.grant import OFFLINE_ACCESS, AuthorizationRequest
from broker.domain.session import Session
from broker.domain.values import ClientId
from broker.errors import BadRequest, NotLetIn, SignInExpired
from broker.flows.discourse import DiscourseFlow
from broker.sealing import TransactionSeal

TALK = ClientId("talk")
SILENT = {"nonce": "n-1", "return_sso_url": RETURN, "prompt": "none"}


class Forum(Op):
    def __post_init__(self) -> None:
        super().__post_init__()
        asks = (asked(PREFERRED_USERNAME, needed=True), asked(EMAIL, needed=True), asked(NAME, needed=False))
        self.clients[TALK] = site(
            TALK, auth_method=AuthMethod.NONE, redirect_uris=(RETURN,), discourse_connect_secret=SECRET, asks=asks
        )
        self.discourse = DiscourseFlow(
            durable=self.durable,
            exchange=self.exchange,
            releaser=self.releaser,
            ledger=self.ledger,
            seal=TransactionSeal(b"t" * 32, self.entropy),
            clients=self.clients,
            issuer=ISSUER,
            key=b"d" * 32,
        )

    @property
    def talk(self) -> Client:
        return self.clients[TALK]

    def begin(self, params: dict[str, str]) -> tuple[Client, AuthorizationRequest]:
        client = self.discourse.forum(params)
        return client, self.discourse.begin(client, params)

    async def finish(self, params: dict[str, str]) -> str:
        client, asked = self.discourse.asked_by(params.get("state", ""))
        return await self.discourse.finish(client, asked, params)

    async def consent(self, session: Session) -> dict[str, str]:
        """What the browser brings to our own address, once the person shared everything."""
        client, request = self.begin(question())
        assert self.discourse.knows(client, request)
        situation = await self.authorize.look(client, request, session)
        everything = frozenset(ask.claim for ask in situation.asked)
        answer = await self.authorize.share(situation, self.transaction(), ticked=everything, typed={}, locale="en")
        assert answer.redirect_uri == f"{ISSUER}/discourse/answer"
        return answered(answer)


def told(url: str) -> dict[str, str]:
    query = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith(f"{RETURN}?")
    return dict(parse_qsl(base64.b64decode(query["sso"]).decode()))


@pytest.fixture
def op() -> Forum:
    return Forum()


@pytest.fixture
async def ana(op: Forum) -> Session:
    return await op.person("ana")


async def test_a_forum_hears_what_the_person_shares_and_it_is_recorded(op: Forum, ana: Session) -> None:
    params = await op.consent(ana)
    found = told(await op.finish(params))
    grant = (await op.durable.grants.of_account(ana.account))[0]
    subject = op.releaser.subject(grant, op.talk)
    assert found == {
        "nonce": "n-1",
        "external_id": subject,
        "username": "ana",
        "name": "Ana Lund",
        "email": "ana@mail.test",
        "require_activation": "false",
    }
    rows = [row for row in await op.durable.ledger.disclosures(ana.account) if row.via == Via.DISCOURSE_CONNECT]
    assert {claim for row in rows for claim in row.claims} >= {PREFERRED_USERNAME, EMAIL, NAME}


async def test_it_is_asked_for_nothing_while_the_person_is_away(op: Forum) -> None:
    _, request = op.begin(question())
    assert OFFLINE_ACCESS in op.talk.scopes
    assert request.scopes == op.talk.scopes - {OFFLINE_ACCESS}
    assert request.prompt == frozenset()
    assert op.begin(question(SILENT))[1].prompt == {"none"}
    with pytest.raises(BadRequest):
        op.begin({})


async def test_who_agreed_comes_in_at_once_and_each_time_is_recorded(op: Forum, ana: Session) -> None:
    await op.finish(await op.consent(ana))
    before = await op.durable.ledger.disclosures(ana.account)
    client, request = op.begin(question())
    answer = await op.authorize.issue(await op.authorize.look(client, request, ana))
    assert told(await op.finish(answered(answer)))["username"] == "ana"
    assert len(await op.durable.ledger.disclosures(ana.account)) == len(before) + 1, "each sign-in, as everywhere"


async def test_an_answer_is_good_once_and_its_code_nowhere_else(op: Forum, ana: Session) -> None:
    params = await op.consent(ana)
    await op.finish(params)
    with pytest.raises(SignInExpired):
        await op.finish(params)
    assert not await op.durable.grants.of_account(ana.account), "a code that comes twice ends what it stood for"


@pytest.mark.parametrize(
    "spoil", [{"state": "made-up"}, {"state": ""}, {"iss": "https://other.test"}, {"iss": ""}, {"code": "dwc_made-up"}]
)
async def test_what_did_not_begin_here_ends_nowhere(op: Forum, ana: Session, spoil: dict[str, str]) -> None:
    params = await op.consent(ana)
    with pytest.raises(SignInExpired):
        await op.finish(params | spoil)


async def test_a_code_of_another_question_is_refused(op: Forum, ana: Session) -> None:
    """PKCE binds a code to the state it was asked with."""
    first, second = await op.consent(ana), await op.consent(ana)
    with pytest.raises(SignInExpired):
        await op.finish({**first, "code": second["code"]})


async def test_saying_no_is_said_here_and_in_silence_to_the_forum(op: Forum) -> None:
    _, loud = op.begin(question())
    _, silent = op.begin(question(SILENT))
    assert loud.state is not None
    assert silent.state is not None
    params = {"state": loud.state, "iss": ISSUER}
    with pytest.raises(NotLetIn):
        await op.finish({**params, "error": "access_denied"})
    with pytest.raises(SignInExpired):
        await op.finish({**params, "error": "server_error"})
    params = {"state": silent.state, "iss": ISSUER, "error": "login_required"}
    assert told(await op.finish(params)) == {"nonce": "n-1", "failed": "true"}


@pytest.mark.parametrize("change", ["gone", "no secret", "other address"])
async def test_a_forum_that_changed_meanwhile_is_not_answered(op: Forum, ana: Session, change: str) -> None:
    params = await op.consent(ana)
    _, request = op.begin(question())
    if change == "gone":
        del op.clients[TALK]
    elif change == "no secret":
        op.clients[TALK] = replace(op.talk, discourse_connect_secret=None)
        assert not op.discourse.knows(op.talk, request)
    else:
        op.clients[TALK] = replace(op.talk, redirect_uris=("https://talk.test/other",))
        assert not op.discourse.knows(op.talk, request)
    with pytest.raises(SignInExpired):
        await op.finish(params)
    assert not op.discourse.knows(op.clients[FORUM], op.request(FORUM))


async def test_a_held_or_closed_account_is_nobody(op: Forum, ana: Session) -> None:
    params = await op.consent(ana)
    account = await op.durable.accounts.load(ana.account)
    assert account is not None
    unit = op.durable.unit()
    unit.save_account(replace(account, status=AccountStatus.HELD))
    await unit.commit()
    with pytest.raises(SignInExpired):
        await op.finish(params)

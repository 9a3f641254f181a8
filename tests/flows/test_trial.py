"""Trying a provider: what is read out of its answers, what is proposed, and what is given back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.front import FACEBOOK, OPENID, Front, identity, state_of
from tests.support.builders import NOW

from broker.domain.account import AccountStatus
from broker.domain.claims import EMAIL, LOCALE, NAME, PICTURE
from broker.domain.policy import Use
from broker.domain.provider import OfferedField
from broker.domain.transaction import TransactionPurpose
from broker.domain.trial import MAX_TEXT, Exchange, LeftOut, Trial, Verdict, answers_of, is_disbelieved
from broker.domain.values import ClaimName, ProviderId
from broker.errors import ProviderOff, TrialOver, WrongBrowser
from broker.flows.sign_in import Leaving
from broker.flows.trial import GOOD_FOR, TrialFlow, TrialLinks

PAGE = {"content-type": "text/html; charset=utf-8"}
TESTED = ProviderId("tested")


def exchange(body: object, **more: Any) -> Exchange:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    values = {
        "method": "GET",
        "host": "idp.test",
        "path": "/me",
        "is_tls": True,
        "at": NOW,
        "milliseconds": 5,
        "status": 200,
    }
    return Exchange(**{**values, "body": raw, **more})


def token(claims: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{middle}.c2ln"


class Desk:
    """A front with a provider in state test, and what a watch sees by script."""

    def __init__(self) -> None:
        self.front = Front()
        self.tested = replace(self.front.facebook, id=TESTED)
        self.seen: list[Exchange] = []
        providers = {**self.front.sign_in.providers, TESTED: self.tested}
        links = TrialLinks(key=b"k" * 32, clock=self.front.clock, entropy=self.front.entropy)
        self.flow = TrialFlow(
            durable=self.front.durable,
            replay=self.front.memory.replay,
            links=links,
            sign_in=replace(self.front.sign_in, providers=providers),
            fields=self.front.fields,
            watch=self.watch,
            clock=self.front.clock,
        )

    @contextmanager
    def watch(self) -> Iterator[list[Exchange]]:
        yield self.seen

    async def begin(self, link: str = "") -> Leaving | Trial:
        carried = await self.front.box.hold(self.front.transaction(TransactionPurpose.TRIAL))
        return await self.flow.begin(link or self.flow.links.make(TESTED), carried, typed=None)

    async def back(self, left: Leaving | Trial, **params: str) -> Trial:
        assert isinstance(left, Leaving)
        return await self.flow.complete(left.carried, TESTED, {"state": state_of(left), **params})

    async def tried(self, name: str = "ana") -> Trial:
        return await self.back(await self.begin(), code=name)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_only_a_trial_reaches_a_provider_in_test(desk: Desk) -> None:
    assert set(desk.flow.providers) == {FACEBOOK, OPENID, TESTED}
    with pytest.raises(ProviderOff):
        await desk.front.leave(TESTED)
    with pytest.raises(ProviderOff):
        await desk.flow.opened(desk.flow.links.make(ProviderId("nobody")))
    assert (await desk.flow.opened(desk.flow.links.make(TESTED))).id == TESTED


async def test_a_link_ends(desk: Desk) -> None:
    link = desk.flow.links.make(TESTED)
    other = replace(desk.flow.links, key=b"o" * 32)
    for bad in ("", "a.b", other.make(TESTED), link + "x", f"{link}.{'x' * 400}"):
        with pytest.raises(TrialOver):
            desk.flow.links.read(bad)
    assert isinstance(await desk.begin(link), Leaving)
    with pytest.raises(TrialOver):
        await desk.begin(link)
    late = desk.flow.links.make(TESTED)
    desk.front.clock.move(GOOD_FOR)
    with pytest.raises(TrialOver):
        desk.flow.links.read(late)


async def test_a_trial_signs_nobody_in(desk: Desk) -> None:
    """Whoever sends its answer to the place of a sign-in gets nowhere."""
    left = await desk.begin()
    assert isinstance(left, Leaving)
    params = {"state": state_of(left), "code": "ana"}
    with pytest.raises(WrongBrowser):
        await desk.front.sign_in.complete(left.carried, TESTED, params, session=None, user_agent="")
    with pytest.raises(WrongBrowser):
        await desk.flow.complete(left.carried, FACEBOOK, params)
    with pytest.raises(WrongBrowser):
        await desk.flow.complete(left.carried, TESTED, {**params, "state": "another"})


async def test_a_provider_that_is_away_is_the_result(desk: Desk) -> None:
    desk.tested.is_down = True
    link = desk.flow.links.make(TESTED)
    failed = await desk.begin(link)
    assert isinstance(failed, Trial)
    assert (failed.verdict, failed.failure, failed.detail, failed.came_back) == (
        Verdict.FAILED,
        "unknown",
        "script",
        (),
    )
    desk.tested.is_down = False
    left = await desk.begin(link)
    desk.tested.is_down = True
    desk.front.clock.move(timedelta(seconds=8))
    failed = await desk.back(left, code="ana")
    assert (failed.verdict, failed.away, failed.came_back) == (Verdict.FAILED, 8, ("state", "code"))


async def test_saying_no_is_the_result(desk: Desk) -> None:
    assert (await desk.back(await desk.begin(), error="access_denied")).verdict is Verdict.FAILED


async def test_an_attempt_without_a_beginning_has_no_duration(desk: Desk) -> None:
    left = await desk.begin()
    assert isinstance(left, Leaving)
    carried = replace(left.carried, transaction=replace(left.carried.transaction, started_at=None))
    found = await desk.flow.complete(carried, TESTED, {"state": state_of(left), "code": "ana"})
    assert found.away == 0


async def test_what_was_granted_is_given_back_unless_it_is_somebodys(desk: Desk) -> None:
    assert (await desk.tried()).is_revoked
    assert len(desk.tested.revoked) == 1
    desk.tested.tokens["bob"] = None  # type: ignore[assignment]
    assert not (await desk.tried("bob")).is_revoked
    ana = await desk.front.person("ana")
    desk.tested.people["ana"] = identity("ana", provider=TESTED, key=identity("ana").key)
    found = await desk.tried()
    assert (found.verdict, found.is_revoked, len(desk.tested.revoked)) == (Verdict.KNOWN, False, 1)
    account = desk.front.accounts[ana.started.session.account]
    await desk.front.save(replace(account, status=AccountStatus.HELD))
    assert (await desk.tried()).verdict is Verdict.HELD


async def test_what_cannot_be_given_back_is_not_said_to_be(desk: Desk) -> None:
    left = await desk.begin()
    original = desk.tested.identify

    async def identify_and_go_down(*args: Any) -> Any:
        found = await original(*args)
        desk.tested.is_down = True
        return found

    setattr(desk.tested, "identify", identify_and_go_down)
    found = await desk.back(left, code="ana")
    assert (found.verdict, found.is_revoked) == (Verdict.NEW, False)


async def test_each_field_is_proposed_or_has_its_reason(desk: Desk) -> None:
    phone, website = ClaimName("phone_number"), ClaimName("website")
    claims = (NAME, EMAIL, PICTURE, LOCALE, phone, website)
    desk.tested.offers = tuple(OfferedField(claim=claim, scope="x") for claim in claims)
    desk.front.fields[website] = replace(desk.front.fields[NAME], claim=website, use=Use.NEVER)
    told = {NAME: "Ana", phone: "1", website: "https://ana.example"}
    desk.tested.people["ana"] = identity(
        "ana", provider=TESTED, claims=told, declined=frozenset({EMAIL}), verified=frozenset()
    )
    desk.seen = [exchange({"locale": [], "name": "Ana"})]
    found = await desk.tried()
    assert [(one.claim, one.value, one.verified) for one in found.proposed] == [(NAME, "Ana", False)]
    assert found.left_out == (
        (EMAIL, LeftOut.DECLINED),
        (PICTURE, LeftOut.ABSENT),
        (LOCALE, LeftOut.UNUSABLE),
        (phone, LeftOut.NO_FIELD),
        (website, LeftOut.NO_FIELD),
    )


# --- answers --------------------------------------------------------------------------------------------


def test_answers_are_laid_out_without_what_opens_something() -> None:
    secret = token({"sub": "1", "nonce": "n" * 20})
    body = {
        "access_token": "at-1",
        "id_token": secret,
        "expires_in": 5,
        "list": [{"refresh_token": "rt-1"}],
        "token": 7,
    }
    first, second = answers_of([exchange(body)])
    assert (first.place, first.names) == ("idp.test/me", tuple(body))
    assert json.loads(first.text)["list"] == [{"refresh_token": "(4 characters)"}]
    assert json.loads(first.text)["token"] == 7
    assert "at-1" not in first.text
    assert secret not in first.text
    assert (second.place, second.names) == ("id_token", ("sub", "nonce"))
    assert json.loads(second.text) == {"sub": "1", "nonce": "(20 characters)"}


def test_what_the_browser_brought_is_shown_where_it_says_anything() -> None:
    assert answers_of([], {"code": "c-1", "state": "s-1", "iss": "https://idp.test"}) == ()
    (told,) = answers_of([], {"openid.sreg.email": "a@b.test", "openid.sig": "sig-1", "state": "s-1"})
    assert (told.place, told.names) == ("callback", ("openid.sreg.email", "openid.sig", "state"))
    assert "a@b.test" in told.text
    assert "sig-1" not in told.text
    assert "s-1" not in told.text


def test_what_opens_something_is_hidden_under_every_name_and_in_every_shape() -> None:
    body = {
        "Access_Token": "at-secret-1",
        "page_access_token": {"value": "at-secret-2"},
        "clientSecret": ["cs-secret-3"],
        "ADMIN_PASSWORD": "pw-secret-4",
        "deep": [{"client_assertion": "ca-secret-5"}],
        "passwd": 123456789,
        "token_type": "bearer",
        "error": {"code": 190, "is_token": True, "token": None, "message": "Invalid"},
    }
    (told,) = answers_of([exchange(body)])
    assert "secret-" not in told.text
    assert json.loads(told.text) == {
        "Access_Token": "(11 characters)",
        "page_access_token": "(not shown)",
        "clientSecret": "(not shown)",
        "ADMIN_PASSWORD": "(11 characters)",
        "deep": [{"client_assertion": "(11 characters)"}],
        "passwd": "(not shown)",
        "token_type": "bearer",
        "error": {"code": 190, "is_token": True, "token": None, "message": "Invalid"},
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "form", [b"access_token=at-secret-1&expires=5", b"<p>at-secret-1</p>", b'"at-secret-1', b"\xff"]
)
def test_an_answer_in_another_form_is_shown_by_its_length(form: bytes, method: str) -> None:
    """A provider that answers its token endpoint in a form of its own says the tokens in it."""
    (told,) = answers_of([exchange(form, method=method, headers={"content-type": "text/plain; charset=utf-8"})])
    assert told.text == f"(text/plain, {len(form)} bytes, not JSON)"


def test_a_signed_answer_is_shown_like_any_other() -> None:
    """Userinfo may be a JWT (OpenID Connect Core §5.3.2); one that cannot be read is not shown."""
    kind = {"content-type": "application/jwt"}
    said = exchange(token({"sub": "s-1", "email": "ana@people.test", "email_verified": True}).encode(), headers=kind)
    (told,) = answers_of([said])
    assert told.names == ("sub", "email", "email_verified")
    assert "ana@people.test" in told.text
    assert is_disbelieved(identity("ana", verified=frozenset()), [said])
    (told,) = answers_of([exchange(b"not.a.token", headers=kind)])
    assert told.text == "(application/jwt, 11 bytes, not JSON)"


def test_a_yes_or_no_of_openid_2_is_shown() -> None:
    (told,) = answers_of([exchange(b"ns:x\nis_valid:false\naccess:at-secret-1", method="POST")])
    assert told.text == "is_valid:false\n(no type, 38 bytes, not JSON)"


def test_what_opened_something_is_hidden_where_it_is_said_again() -> None:
    """A code in words about it, a token as part of an address, a secret that we sent and got back."""
    params = {"code": "c-secret-1", "state": "s-secret-2", "error_description": "about c-secret-1"}
    said = [
        exchange({"access_token": 'at-"secret"-3', "next": "https://idp.test/?t=c-secret-1"}, method="POST"),
        exchange({"echo": 'of at-"secret"-3', "list": [["cs-secret-4"]]}, sent=("cs-secret-4", "short")),
        exchange(b"<p>c-secret-1 is over, short", headers=PAGE),
    ]
    answers = answers_of(said, params)
    assert len(answers) == 4
    text = "".join(answer.text for answer in answers)
    assert "secret" not in text
    assert "about (10 characters)" in text
    assert "over, short" in text


@pytest.mark.parametrize("depth", [19, 20, 900, 100_000])
@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}")])
def test_an_answer_of_many_levels_ends_nothing(depth: int, before: str, after: str) -> None:
    (told,) = answers_of([exchange((before * depth + "7" + after * depth).encode())])
    assert ("7" in told.text) == (depth <= 20)
    assert len(told.text) <= MAX_TEXT


@pytest.mark.parametrize("id_token", ["e30.!.e30", "a.b", "e30.W10.x", "e30.x.y", 7])
def test_a_token_that_is_none_is_not_looked_into(id_token: object) -> None:
    assert len(answers_of([exchange({"id_token": id_token})])) == 1


def test_metadata_and_keys_are_no_answers_about_anybody() -> None:
    assert (
        answers_of([exchange({"jwks_uri": "x"}), exchange({"keys": []}), exchange(b""), exchange(b"x", status=None)])
        == ()
    )


def test_other_answers_are_shown_as_they_are_and_not_without_end() -> None:
    plain, addresses, long = answers_of(
        [exchange(b"unwell\n\xff", headers=PAGE), exchange([{"email": "a@b.test"}]), exchange({"a": "x" * 99_999})]
    )
    assert (plain.text, plain.names) == ("unwell\n\ufffd", ())
    assert json.loads(addresses.text) == [{"email": "a@b.test"}]
    assert len(long.text) == MAX_TEXT


@pytest.mark.parametrize(
    ("body", "is_it"),
    [
        ({"email_verified": True}, True),
        ({"email_verified": "true"}, True),
        ({"id_token": token({"email_verified": True})}, True),
        ({"email_verified": False}, False),
        ([], False),
    ],
)
def test_a_word_that_does_not_count_is_noticed(body: object, is_it: bool) -> None:
    unproved = identity("ana", verified=frozenset())
    assert is_disbelieved(unproved, [exchange(body)]) is is_it
    assert not is_disbelieved(identity("ana"), [exchange(body)])
    assert not is_disbelieved(identity("ana", claims={}, verified=frozenset()), [exchange(body)])

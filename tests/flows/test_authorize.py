"""A site's request: who is signed in well enough for it, what they agreed to, and the code."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.flows.op import APP, FORUM, ISSUER, KIT, WIKI, Op, answered
from tests.support.builders import NOW, asked

from broker.domain import tokens
from broker.domain.account import AccountStatus, KeptNumber
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME, UPDATED_AT
from broker.domain.consent import Purpose
from broker.domain.session import Session
from broker.domain.transaction import Step, next_step
from broker.domain.values import AccountId, ClaimName
from broker.errors import FormInvalid, SignInRequired
from broker.flows.answers import answer_url


@pytest.fixture
def op() -> Op:
    return Op()


@pytest.fixture
async def ana(op: Op) -> Session:
    return await op.person("ana")


async def step(op: Op, session: Session | None, *, transaction: object = None, **changes: str | None) -> Step:
    return next_step(op.authorize.facts(await op.look(session, **changes), transaction))  # type: ignore[arg-type]


# --- who is signed in ---------------------------------------------------------------------------------


async def test_a_stranger_signs_in_first(op: Op) -> None:
    assert await step(op, None) is Step.AUTHENTICATE


async def test_somebody_signed_in_is_asked_what_to_share(op: Op, ana: Session) -> None:
    assert await step(op, ana) is Step.CONSENT


async def test_somebody_who_shared_before_goes_straight_through(op: Op, ana: Session) -> None:
    """Decision 12."""
    await op.share(ana)
    assert await step(op, ana) is Step.DONE


@pytest.mark.parametrize("status", [AccountStatus.HELD, AccountStatus.CLOSED])
async def test_a_session_of_an_account_that_is_not_active_is_nobodys(
    op: Op, ana: Session, status: AccountStatus
) -> None:
    """Catalogue 83."""
    await op.share(ana)
    await op.change(ana.account, status=status)
    situation = await op.look(ana)
    assert situation.session is None
    assert situation.account is None
    assert await step(op, ana) is Step.AUTHENTICATE


async def test_a_session_of_an_erased_account_is_nobodys(op: Op, ana: Session) -> None:
    unit = op.durable.unit()
    unit.erase_account(ana.account, op.clock.now())
    await unit.commit()
    assert await step(op, ana) is Step.AUTHENTICATE


async def test_new_terms_come_before_anything_is_shared(op: Op, ana: Session) -> None:
    await op.share(ana)
    await op.change(ana.account, agreed_notice="terms:0 privacy:0")
    assert await step(op, ana) is Step.AGREE


async def test_prompt_login_wants_a_sign_in_of_this_very_attempt(op: Op, ana: Session) -> None:
    """A session from before is not enough, one from this attempt is."""
    await op.share(ana)
    assert await step(op, ana, prompt="login") is Step.AUTHENTICATE
    transaction = op.transaction(sid=ana.sid)
    assert await step(op, ana, transaction=transaction, prompt="login") is Step.DONE
    older = replace(ana, auth_time=ana.auth_time - timedelta(seconds=1))
    assert await step(op, older, transaction=transaction, prompt="login") is Step.AUTHENTICATE


async def test_prompt_consent_asks_again_what_is_shared_already(op: Op, ana: Session) -> None:
    await op.share(ana)
    assert await step(op, ana, prompt="consent") is Step.CONSENT
    situation = await op.look(ana, prompt="consent")
    assert [ask.claim for ask in situation.to_show] == [PREFERRED_USERNAME, NAME, EMAIL]


@pytest.mark.parametrize("prompt", ["select_account", "create"])
async def test_prompt_select_account_and_create_want_a_choice(op: Op, ana: Session, prompt: str) -> None:
    """Going on as who is signed in is a choice too, even with an old sign-in."""
    await op.share(ana)
    assert await step(op, ana, prompt=prompt) is Step.AUTHENTICATE
    old = replace(ana, auth_time=ana.auth_time - timedelta(hours=1))
    chosen = op.transaction(sid=ana.sid)
    assert await step(op, old, transaction=chosen, prompt=prompt) is Step.DONE
    assert await step(op, old, transaction=op.transaction(), prompt=prompt) is Step.AUTHENTICATE


@pytest.mark.parametrize(
    ("max_age", "since", "expected"),
    [
        ("300", 300, Step.DONE),
        ("300", 301, Step.AUTHENTICATE),
        ("10000", 300, Step.DONE),
        ("1", 2, Step.AUTHENTICATE),
        ("0", 0, Step.AUTHENTICATE),
    ],
)
async def test_max_age_counts_from_the_last_proof(
    op: Op, ana: Session, max_age: str, since: int, expected: Step
) -> None:
    """OpenID Connect Core §3.1.2.1; 0 means now."""
    await op.share(ana)
    op.move(seconds=since)
    assert await step(op, ana, max_age=max_age) is expected


async def test_max_age_0_is_met_by_a_sign_in_of_this_attempt(op: Op, ana: Session) -> None:
    await op.share(ana)
    transaction = op.transaction(sid=ana.sid)
    op.move(minutes=5)
    assert await step(op, ana, transaction=transaction, max_age="0") is Step.DONE


# --- the hint -----------------------------------------------------------------------------------------


def hint_of(op: Op, session: Session, client: str = "forum", typ: str = tokens.ID_TOKEN_TYPE) -> str:
    one = op.clients[client]  # type: ignore[index]
    subject = tokens.subject_for(session.account, one, b"s" * 32)
    payload = {"iss": ISSUER, "aud": client, "sub": subject, "exp": int(op.clock.now().timestamp()) + 600}
    return op.box.sign(payload, typ=typ, algorithm=one.signing_algorithm)


async def test_a_hint_at_who_is_signed_in_changes_nothing(op: Op, ana: Session) -> None:
    await op.share(ana)
    assert await step(op, ana, id_token_hint=hint_of(op, ana), prompt="none") is Step.DONE


async def test_a_hint_names_who_the_site_knows_the_person_by(op: Op, ana: Session) -> None:
    """After a merge that is the number it had from before, and the account's own is nobody there."""
    ben = await op.person("ben")
    hints = {name: (await op.tokens(one))["id_token"] for name, one in (("ana", ana), ("ben", ben))}
    await op.change(ana.account, kept_numbers={"forum.test": KeptNumber(of=ben.account, sites=(FORUM,))})
    forum = op.clients[FORUM]
    assert await op.authorize.subject_of(ana.account, forum) == await op.authorize.subject_of(ben.account, forum)
    assert await op.authorize.subject_of(AccountId("nobody"), forum) is None
    known = {name: op.authorize.facts(await op.look(ana, id_token_hint=hint), None) for name, hint in hints.items()}
    assert {name: facts.identified for name, facts in known.items()} == {"ana": False, "ben": True}


async def test_a_hint_that_is_over_signs_nobody_in_silently(op: Op, ana: Session) -> None:
    """With pages it still says who is meant (catalogue 78)."""
    await op.share(ana)
    ben = await op.person("ben")
    mine, theirs = hint_of(op, ana), hint_of(op, ben)
    op.move(minutes=10)
    assert await step(op, ana, id_token_hint=mine, prompt="none") is Step.AUTHENTICATE
    assert await step(op, ana, id_token_hint=mine) is Step.DONE
    assert await step(op, ana, id_token_hint=theirs) is Step.AUTHENTICATE


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"max_age": "60"}, True),
        ({"max_age": "59"}, False),
        ({"max_age": "0"}, False),
        ({"max_age": None}, False),
        ({"id_token_hint": None}, False),
        ({"id_token_hint": "nonsense"}, False),
        ({"prompt": "login"}, False),
        ({"prompt": "select_account"}, False),
        ({"prompt": "consent"}, True),
    ],
)
async def test_who_is_named_and_signed_in_too_long_ago_is_to_confirm(
    op: Op, ana: Session, more: dict[str, str | None], expected: bool
) -> None:
    """OpenID Connect Core §3.1.2.1: the site means this person, and only asks whether it is still them."""
    await op.share(ana)
    asked = {"max_age": "300", "id_token_hint": hint_of(op, ana), **more}
    op.move(seconds=301)
    situation = await op.look(ana, **{name: value for name, value in asked.items() if value is not None})
    assert op.authorize.is_to_confirm(situation) is expected


async def test_nobody_is_to_confirm_for_somebody_else(op: Op, ana: Session) -> None:
    ben = await op.person("ben")
    asked = {"max_age": "300", "id_token_hint": hint_of(op, ben)}
    assert not op.authorize.is_to_confirm(await op.look(ana, **asked))
    assert not op.authorize.is_to_confirm(await op.look(None, **asked))


async def test_a_hint_at_somebody_else_means_that_nobody_is_signed_in(op: Op, ana: Session) -> None:
    """`prompt=none` then answers login_required (catalogue 78)."""
    ben = await op.person("ben")
    await op.share(ana)
    assert await step(op, ana, id_token_hint=hint_of(op, ben), prompt="none") is Step.AUTHENTICATE


@pytest.mark.parametrize(
    "kind", ["foreign", "unsigned", "another site's", "access token", "logout token", "session token"]
)
async def test_a_hint_that_is_not_ours_for_this_site_proves_nothing(op: Op, ana: Session, kind: str) -> None:
    """Nor is it ever taken for one (catalogue 69, 76, 78)."""
    await op.share(ana)
    hints = {
        "foreign": "a.b.c",
        "unsigned": "eyJhbGciOiJub25lIn0." + hint_of(op, ana).split(".")[1] + ".",
        "another site's": hint_of(op, ana, "wiki"),
        "access token": (await op.tokens(ana))["access_token"],
        "logout token": hint_of(op, ana, typ=tokens.LOGOUT_TOKEN_TYPE),
        "session token": hint_of(op, ana, typ=tokens.SESSION_TOKEN_TYPE),
    }
    assert await step(op, ana, id_token_hint=hints[kind], prompt="none") is Step.AUTHENTICATE
    # Who then proves who they are goes on: asking them again would go round for ever.
    assert await step(op, ana, transaction=op.transaction(sid=ana.sid), id_token_hint=hints[kind]) is Step.DONE


async def test_signing_in_as_somebody_else_than_hinted_ends_the_attempt(op: Op, ana: Session) -> None:
    """The site hears login_required instead of the person being asked for ever (OpenID Connect Core §3.1.2.1)."""
    ben = await op.person("ben")
    await op.share(ana)
    fresh = op.transaction(sid=ana.sid)
    hinted = await op.look(ana, id_token_hint=hint_of(op, ben))
    assert next_step(op.authorize.facts(hinted, fresh)) is Step.AUTHENTICATE
    assert op.authorize.refusal(hinted, fresh) == "login_required"


async def test_nobody_is_somebody_else_without_a_readable_hint_and_a_fresh_sign_in(op: Op, ana: Session) -> None:
    ben = await op.person("ben")
    hint = hint_of(op, ben)
    fresh = op.transaction(sid=ana.sid)
    assert not op.authorize.refusal(await op.look(ana), fresh)
    assert not op.authorize.refusal(await op.look(None, id_token_hint=hint), fresh)
    assert not op.authorize.refusal(await op.look(ana, id_token_hint=hint), op.transaction())
    assert not op.authorize.refusal(await op.look(ana, id_token_hint="x"), fresh)
    assert not op.authorize.refusal(await op.look(ana, id_token_hint=hint_of(op, ana)), fresh)


async def test_somebody_the_provider_knew_from_before_is_not_asked_for_ever_either(op: Op, ana: Session) -> None:
    """The provider says that it was proved to an hour ago: let in by this attempt is let in by this attempt (§3.1.2.1)."""
    ben = await op.person("ben")
    known = replace(ana, auth_time=op.clock.now() - timedelta(hours=1))
    let_in = op.transaction(sid=ana.sid, account=ana.account)
    hinted = await op.look(known, id_token_hint=hint_of(op, ben))
    assert op.authorize.refusal(hinted, let_in) == "login_required"
    assert op.authorize.refusal(hinted, op.transaction(sid=ana.sid)) is None
    unreadable = await op.look(known, id_token_hint="x")
    assert op.authorize.facts(unreadable, let_in).identified
    assert not op.authorize.facts(unreadable, op.transaction(sid=ana.sid)).identified


# --- asked by name ------------------------------------------------------------------------------------


def naming(**members: object) -> str:
    return json.dumps(members)


async def test_a_site_that_insists_on_a_person_gets_no_other(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.5.1: `sub` with a value (catalogue 78)."""
    ben = await op.person("ben")
    await op.share(ana)
    number = tokens.subject_for(ana.account, op.clients[FORUM], op.authorize.subject_key)
    wanted = naming(id_token={"sub": {"value": number}})
    assert await step(op, ana, claims=wanted) is Step.DONE
    assert await step(op, ben, claims=wanted) is Step.AUTHENTICATE
    fresh = op.transaction(sid=ben.sid)
    assert await step(op, ben, claims=wanted, transaction=fresh) is Step.AUTHENTICATE
    assert op.authorize.refusal(await op.look(ben, claims=wanted), fresh) == "login_required"
    assert op.authorize.refusal(await op.look(ana, claims=wanted), op.transaction(sid=ana.sid)) is None


async def test_a_site_that_insists_on_a_way_to_sign_in_gets_it_or_hears_that_it_cannot_be(op: Op, ana: Session) -> None:
    """OpenID Connect Core §5.5.1.1: an essential `acr` with values; a voluntary one stops nobody."""
    await op.share(ana)
    insisting = naming(id_token={"acr": {"essential": True, "values": ["strong", "stronger"]}})
    assert await step(op, ana, claims=naming(id_token={"acr": {"values": ["strong"]}})) is Step.DONE
    assert await step(op, ana, claims=insisting) is Step.AUTHENTICATE
    fresh = op.transaction(sid=ana.sid)
    assert op.authorize.refusal(await op.look(ana, claims=insisting), fresh) == "unmet_authentication_requirements"
    strong = replace(ana, acr="strong")
    assert await step(op, strong, claims=insisting) is Step.DONE
    assert op.authorize.refusal(await op.look(strong, claims=insisting), fresh) is None


async def test_a_claim_asked_by_name_is_asked_of_the_person(op: Op, ana: Session) -> None:
    """Without the scope that unlocks it; what the admin gave no purpose for is asked of nobody (promise P6)."""
    wanted = naming(userinfo={"email": {"essential": True}, "birthdate": None, "no_such_claim": None})
    situation = await op.look(ana, scope="openid", claims=wanted)
    assert [ask.claim for ask in situation.asked] == [EMAIL]
    assert next_step(op.authorize.facts(situation, None)) is Step.CONSENT
    await op.share(ana, scope="openid", claims=wanted)
    assert await step(op, ana, scope="openid", claims=wanted) is Step.DONE
    assert await step(op, ana, scope="openid profile", claims=wanted) is Step.CONSENT


async def test_essential_is_a_word_and_no_force(op: Op, ana: Session) -> None:
    """What was left unticked is not shared, and the site gets its code all the same (§5.5.1; catalogue 135)."""
    wanted = naming(userinfo={"email": {"essential": True}})
    answer = await op.share(ana, scope="openid", claims=wanted, ticked=frozenset())
    told = await op.releaser.userinfo((await op.redeem(answered(answer)["code"]))["access_token"])
    assert set(told) == {"sub"}


# --- the code -----------------------------------------------------------------------------------------


async def test_sharing_leads_back_with_code_state_and_issuer(op: Op, ana: Session) -> None:
    """RFC 9207: the issuer to the letter (catalogue 13)."""
    answer = await op.share(ana)
    assert answer.url.startswith("https://forum.test/cb?")
    assert answered(answer) == {"code": answered(answer)["code"], "state": "state-1", "iss": ISSUER}


async def test_a_code_is_random_and_kept_as_a_digest(op: Op, ana: Session) -> None:
    """Catalogue 168."""
    code = await op.code(ana)
    assert code.startswith("dwc_")
    assert code not in repr(op.durable.tables)
    assert len(op.durable.tables.codes) == 1


async def test_receipt_grant_and_code_come_in_one_unit_of_work(op: Op, ana: Session) -> None:
    """A grant names the receipt that allows it."""
    await op.share(ana, ticked=frozenset({NAME}))
    (grant,) = op.durable.tables.grants.values()
    (receipt,) = await op.durable.ledger.receipts(ana.account, Purpose.SHARE_WITH_CLIENT, FORUM)
    assert (grant.receipt, grant.account, grant.client, grant.sid) == (receipt.id, ana.account, FORUM, ana.sid)
    assert (receipt.accepted, receipt.refused) == ((PREFERRED_USERNAME, NAME), (EMAIL,))
    assert dict(grant.claims) == {ask.claim: ask.version for ask in op.clients[FORUM].asks[:2]}
    assert (grant.auth_time, grant.amr, grant.expires_at) == (ana.auth_time, ana.amr, ana.expires_at)


async def test_a_code_on_earlier_consent_names_the_earlier_receipt(op: Op, ana: Session) -> None:
    await op.share(ana)
    (receipt,) = await op.durable.ledger.receipts(ana.account)
    answer = await op.authorize.issue(await op.look(ana, state=None, scope="openid profile"))
    assert "state" not in answered(answer)
    newest = list(op.durable.tables.grants.values())[-1]
    assert newest.receipt == receipt.id
    assert set(newest.claims) == {PREFERRED_USERNAME, NAME}
    assert len(await op.durable.ledger.receipts(ana.account)) == 1


@pytest.mark.parametrize(
    ("end", "error"),
    [("sign-out", "login_required"), ("withdrawal", "consent_required"), ("merge", "consent_required")],
)
async def test_a_code_that_was_overtaken_never_leaves(op: Op, ana: Session, end: str, error: str) -> None:
    """The grant is written, looked at once more, and taken back (catalogue 83, 110)."""
    await op.share(ana)
    situation = await op.look(ana)
    if end == "sign-out":
        await op.memory.sessions.end(ana.sid)
    elif end == "merge":  # the forum knows the person by another number from now on
        await op.change(ana.account, kept_numbers={"forum.test": KeptNumber(of=AccountId("ben"), sites=(FORUM,))})
    else:
        (given,) = await op.durable.ledger.receipts(ana.account)
        unit = op.durable.unit()
        op.ledger.withdraw(unit, given, sid=None, locale="en", notice_version="n")
        unit.revoke_grants(ana.account, op.clock.now())
        await unit.commit()
    before = {grant.id for grant in await op.durable.grants.of_account(ana.account)}
    told = answered(await op.authorize.issue(situation))
    assert (told["error"], "code" in told) == (error, False)
    assert {grant.id for grant in await op.durable.grants.of_account(ana.account)} == before


async def test_no_code_without_session_account_and_receipt(op: Op, ana: Session) -> None:
    """A handler that lost its way makes no token."""
    for situation in (await op.look(None), await op.look(ana)):
        with pytest.raises(TypeError):
            await op.authorize.issue(situation)
    for call in (op.authorize.refuse, op.authorize.keep):
        with pytest.raises(TypeError):
            await call(await op.look(None), op.transaction(), locale="en")
    with pytest.raises(TypeError):
        await op.authorize.share(await op.look(None), op.transaction(), ticked=frozenset(), typed={}, locale="en")
    assert not op.durable.tables.codes


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://a.test/cb", "https://a.test/cb?code=c&iss=i"),
        ("https://a.test/cb?x=1", "https://a.test/cb?x=1&code=c&iss=i"),
        ("https://a.test", "https://a.test?code=c&iss=i"),
    ],
)
def test_the_answer_goes_behind_the_addresss_own_query(uri: str, expected: str) -> None:
    assert answer_url(uri, {"code": "c", "state": None, "iss": "i"}) == expected


@pytest.mark.parametrize(
    "state", ["a&code=evil", "a#b", "a?b", "a=b;c", "a b+c%26", "\u2603", '"><script>', "x" * 1024]
)
async def test_a_state_cannot_add_parameters(op: Op, ana: Session, state: str) -> None:
    """Each of code, state and iss exactly once (catalogue 7)."""
    assert set(answered(await op.share(ana, state=state))) == {"code", "state", "iss"}
    assert answered(await op.share(ana, state=state))["state"] == state


async def test_a_denial_carries_the_sites_state_and_our_name(op: Op) -> None:
    """RFC 9207 also for errors (catalogue 13)."""
    request = op.request(APP, state="s&x")
    assert answered(op.authorize.deny(request)) == {"error": "access_denied", "state": "s&x", "iss": ISSUER}
    assert answered(op.authorize.deny(request, "login_required"))["error"] == "login_required"


# --- what is shared -----------------------------------------------------------------------------------


async def test_refusing_is_recorded_and_shares_nothing(op: Op, ana: Session) -> None:
    situation = await op.look(ana)
    answer = await op.authorize.refuse(situation, op.transaction(), locale="fr")
    assert answered(answer)["error"] == "access_denied"
    (receipt,) = await op.durable.ledger.receipts(ana.account)
    assert receipt.denied
    assert receipt.locale == "fr"
    assert not op.durable.tables.grants
    assert await step(op, ana) is Step.CONSENT


async def test_refusing_more_leaves_what_was_shared(op: Op, ana: Session) -> None:
    await op.share(ana)
    await op.authorize.refuse(await op.look(ana, prompt="consent"), op.transaction(), locale="en")
    assert await step(op, ana) is Step.DONE


async def test_a_site_that_asks_for_more_is_shown_what_is_new(op: Op, ana: Session) -> None:
    """Decision 13."""
    await op.share(ana, ticked=frozenset())
    picture = ClaimName("picture")
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, asks=(*site.asks, asked(picture, needed=False)))
    situation = await op.look(ana)
    assert situation.asks_for_more
    assert [ask.claim for ask in situation.to_show] == [picture]
    assert not situation.is_covered


async def test_keeping_shares_what_was_shared_and_nothing_new(op: Op, ana: Session) -> None:
    """The middle button of decision 13."""
    await op.share(ana, ticked=frozenset({NAME}))
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, asks=(*site.asks, asked(ClaimName("nickname"), needed=False)))
    await op.authorize.keep(await op.look(ana), op.transaction(), locale="en")
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {PREFERRED_USERNAME, NAME}
    assert await step(op, ana) is Step.DONE


async def test_keeping_when_everything_is_shown_again_loses_nothing(op: Op, ana: Session) -> None:
    """`prompt=consent`, and a site that looks different, show everything; keeping still keeps."""
    await op.share(ana, ticked=frozenset({NAME}))
    await op.authorize.keep(await op.look(ana, prompt="consent"), op.transaction(), locale="en")
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {PREFERRED_USERNAME, NAME}
    op.clients[FORUM] = replace(op.clients[FORUM], name="Forum of the Club")
    await op.authorize.keep(await op.look(ana), op.transaction(), locale="en")
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {PREFERRED_USERNAME, NAME}
    assert await step(op, ana) is Step.DONE


async def test_a_purpose_that_changed_is_asked_again_and_keeping_does_not_agree_to_it(op: Op, ana: Session) -> None:
    """Promise P6."""
    await op.share(ana)
    site = op.clients[FORUM]
    op.clients[FORUM] = replace(site, asks=(*site.asks[:2], asked(EMAIL, needed=False, why={"en": "to sell it"})))
    situation = await op.look(ana)
    assert [ask.claim for ask in situation.to_show] == [EMAIL]
    await op.authorize.keep(situation, op.transaction(), locale="en")
    assert EMAIL not in list(op.durable.tables.grants.values())[-1].claims


async def test_what_is_shown_has_a_fingerprint_of_names_and_purposes(op: Op, ana: Session) -> None:
    """Whatever changes between page and answer changes it (catalogue 134)."""
    before = (await op.look(ana)).shown_digest
    assert (await op.look(await op.person("ben"))).shown_digest == before
    site = op.clients[FORUM]
    for other in (replace(site, name="Other"), replace(site, asks=site.asks[:2])):
        op.clients[FORUM] = other
        assert (await op.look(ana)).shown_digest != before


async def test_a_form_is_answered_by_whom_it_was_shown_to(op: Op, ana: Session) -> None:
    """The same page for another session, or for nobody, is another form (catalogue 134)."""
    mine, theirs = (await op.look(ana)).form_digest, (await op.look(await op.person("ben"))).form_digest
    nobody = replace(await op.look(ana), session=None).form_digest
    assert len({mine, theirs, nobody}) == 3
    assert (await op.look(ana)).form_digest == mine


async def test_a_needed_value_that_nobody_gave_is_typed_on_the_page(op: Op, ana: Session) -> None:
    nickname, website = ClaimName("nickname"), ClaimName("website")
    op.clients[FORUM] = replace(op.clients[FORUM], asks=(asked(nickname, needed=True), asked(website, needed=False)))
    situation = await op.look(ana)

    async def share(typed: dict[ClaimName, str], *ticked: ClaimName) -> object:
        return await op.authorize.share(situation, op.transaction(), ticked=frozenset(ticked), typed=typed, locale="en")

    with pytest.raises(FormInvalid) as missing:
        await share({nickname: "  "})
    assert missing.value.fields == {nickname: "missing"}
    with pytest.raises(FormInvalid) as bad:
        await share({nickname: "Nan", website: "javascript:x"}, website)
    assert bad.value.fields == {website: "bad_value"}
    assert not op.durable.tables.receipts
    await share({nickname: "Nan", website: "https://not.ticked"})
    account = await op.durable.accounts.load(ana.account)
    assert account is not None
    assert account.profile[nickname].value == "Nan"
    assert website not in account.profile
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {nickname}


async def test_a_value_typed_while_another_is_removed_brings_nothing_back(op: Op, ana: Session) -> None:
    """Shown, then changed in another tab before the answer is saved."""
    nickname = ClaimName("nickname")
    op.clients[FORUM] = replace(op.clients[FORUM], asks=(asked(NAME, needed=False), asked(nickname, needed=True)))
    situation = await op.look(ana)
    await op.change(ana.account, profile={})
    typed, ticked = {nickname: "Nan"}, frozenset({NAME})
    answered(await op.authorize.share(situation, op.transaction(), ticked=ticked, typed=typed, locale="en"))
    account = await op.durable.accounts.load(ana.account)
    assert account is not None
    assert set(account.profile) == {nickname}
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {nickname}
    (receipt,) = op.durable.tables.receipts.values()
    assert receipt.accepted == (nickname,)


async def test_a_value_typed_into_an_account_that_is_gone_is_nobodys(op: Op, ana: Session) -> None:
    """(catalogue 130)"""
    nickname = ClaimName("nickname")
    op.clients[FORUM] = replace(op.clients[FORUM], asks=(asked(nickname, needed=True),))
    situation = await op.look(ana)
    unit = op.durable.unit()
    unit.erase_account(ana.account, NOW)
    await unit.commit()
    with pytest.raises(SignInRequired):
        await op.authorize.share(situation, op.transaction(), ticked=frozenset(), typed={nickname: "Nan"}, locale="en")
    assert not op.durable.tables.grants


async def test_acting_while_away_is_only_granted_when_ticked(op: Op, ana: Session) -> None:
    """Catalogue 91."""
    scope = "openid profile offline_access"
    await op.share(ana, ticked=frozenset(), scope=scope)
    (near,) = op.durable.tables.grants.values()
    assert not near.outlives_session
    assert near.expires_at == ana.expires_at
    await op.share(ana, scope=scope, prompt="consent")
    away = list(op.durable.tables.grants.values())[-1]
    assert away.outlives_session
    assert away.expires_at == op.clock.now() + timedelta(days=180)


async def test_consent_for_one_site_covers_no_other(op: Op, ana: Session) -> None:
    await op.share(ana)
    for other in (WIKI, APP, KIT):
        assert not (await op.look(ana, other)).is_covered


async def test_when_it_last_changed_is_shared_like_any_field(op: Op, ana: Session) -> None:
    """`updated_at` has no box to type it in: the account itself says (OpenID Connect Core §5.1)."""
    op.clients[FORUM] = replace(op.clients[FORUM], asks=(asked(NAME, needed=False), asked(UPDATED_AT, needed=False)))
    situation = await op.look(ana)
    answered(await op.authorize.share(situation, op.transaction(), ticked=frozenset({NAME}), typed={}, locale="en"))
    (receipt,) = op.durable.tables.receipts.values()
    assert (receipt.accepted, receipt.refused) == ((NAME,), (UPDATED_AT,))
    situation = await op.look(ana)
    assert situation.is_covered
    op.clients[FORUM] = replace(op.clients[FORUM], asks=(asked(UPDATED_AT, needed=True),))
    situation = await op.look(ana)
    answered(await op.authorize.share(situation, op.transaction(), ticked=frozenset(), typed={}, locale="en"))
    assert set(list(op.durable.tables.grants.values())[-1].claims) == {UPDATED_AT}

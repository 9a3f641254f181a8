"""Choose what to use, finish signing up, agree to changed terms."""

from __future__ import annotations

from starlette.responses import Response

from broker.domain.claims import LOCALE, PREFERRED_USERNAME, ZONEINFO
from broker.domain.joining import Address
from broker.domain.values import ClaimName
from broker.errors import BadRequest, FormInvalid, SignInExpired, SignInFinished
from broker.flows.sign_up import AddressTaken, SignUpForm
from broker.flows.transactions import Carried
from broker.web import views
from broker.web.again import ask_again, shown_again
from broker.web.call import Call
from broker.web.sign_in import depart, signed_in
from broker.web.steps import go_on, opened, situation_of, with_transaction, without_transaction


async def known(call: Call) -> Response:
    """An account already uses the address that came: whose is it?"""
    carried = opened(call)
    _check_open(call)
    if not _is_asked(carried):
        return await go_on(call, carried)
    situation = await situation_of(call, carried.transaction)
    return call.page(views.known(call, carried.transaction, situation))


async def decide_known(call: Call) -> Response:
    """Mine: show that account, too. Not mine: on to a new one, without that address."""
    carried = opened(call)
    if carried.transaction.joining is not None:  # a second click: what the first one decided stands (catalogue 177)
        return await go_on(call, carried)
    _check_open(call)
    if not _is_asked(carried):
        return await go_on(call, carried)
    match call.form.get("whose"):
        case "mine":
            return await go_on(call, await call.world.sign_up.is_mine(carried))
        case "other":
            return await go_on(call, await call.world.sign_up.is_anothers(carried))
        case _:
            raise BadRequest(detail="no decision")


async def details(call: Call) -> Response:
    """Each field the provider sent: keep it, change it, or have it thrown away."""
    carried = opened(call)
    _check_open(call)
    if carried.transaction.decision is not None or _is_asked(carried):
        return await go_on(call, carried)
    situation = await situation_of(call, carried.transaction)
    form, problems = shown_again(call)
    return call.page(views.preview(call, carried.transaction, situation, form=form, problems=problems))


async def decide_details(call: Call) -> Response:
    """Continue, do not use this provider, or ask it once more for what was declined."""
    carried = opened(call)
    _check_open(call)
    transaction = carried.transaction
    if _is_asked(carried):
        return await go_on(call, carried)
    if transaction.decision is not None:  # a second click: what the first one decided stands (catalogue 177)
        return await go_on(call, carried)
    match call.form.get("decision"):
        case "refuse":
            fresh = await call.world.sign_up.refuse(carried)
            response = call.page(views.kept_nothing(call, transaction, fresh))
            without_transaction(call, response, transaction)
            return with_transaction(call, response, await call.world.box.hold(fresh))
        case "ask_again" if not transaction.asked_again and transaction.provider is not None:
            return await depart(call, carried, transaction.provider, ask_again=True)
        case "continue":
            ticked = frozenset(ClaimName(name) for name in call.form.all("use"))
            edits = {ClaimName(name): value for name, value in call.form.prefixed("v-").items()}
            try:
                decided = await call.world.sign_up.decide(carried, ticked=ticked, edits=edits)
            except FormInvalid as problem:
                back = ask_again(call, call.path, problem.fields, call.form.pairs)
                if back is not None:
                    return back
                situation = await situation_of(call, transaction)
                page = views.preview(call, transaction, situation, form=call.form, problems=problem.fields)
                return call.page(page, problem.status)
            return await go_on(call, decided)
        case _:
            raise BadRequest(detail="no decision")


async def finish(call: Call) -> Response:
    """Only what is missing is asked."""
    carried = opened(call)
    _check_open(call)
    if carried.transaction.decision is None or _is_asked(carried):
        return await go_on(call, carried)
    situation = await situation_of(call, carried.transaction)
    form, problems = shown_again(call)
    return call.page(await views.finish(call, carried.transaction, situation, form=form, problems=problems))


async def create(call: Call) -> Response:
    """Create my account."""
    carried = opened(call)
    _check_open(call)
    if carried.transaction.decision is None or _is_asked(carried):
        return await go_on(call, carried)
    if call.form.get("decision") != "create":
        raise BadRequest(detail="no decision")
    if carried.transaction.provider is not None:  # one that was hidden from them meanwhile makes no accounts
        (await call.sign_in()).provider(carried.transaction.provider)
    world = call.world
    form = SignUpForm(
        user_name=call.form.get(PREFERRED_USERNAME, ""),
        typed={ClaimName(name): value for name, value in call.form.prefixed("v-").items()},
        newsletters=frozenset(call.form.all("newsletter")),
        zoneinfo=call.form.get(ZONEINFO, "")[:64],
        locale=world.renderer.supported(call.form.get(LOCALE, "")) or call.locale,
    )
    try:
        outcome = await world.sign_up.create(carried, form, session=call.session, user_agent=call.user_agent)
    except FormInvalid as problem:
        back = ask_again(call, call.path, problem.fields, call.form.pairs)
        if back is not None:
            return back
        situation = await situation_of(call, carried.transaction)
        page = await views.finish(call, carried.transaction, situation, form=call.form, problems=problem.fields)
        return call.page(page, problem.status)
    if isinstance(outcome, AddressTaken):
        world.metrics.sign_in(str(carried.transaction.provider), "sign_up", "address_taken")
        return await go_on(call, outcome.carried)
    world.metrics.sign_in(str(carried.transaction.provider), "sign_up", "created")
    return await signed_in(call, carried, outcome)


async def policy(call: Call) -> Response:
    """The terms or the privacy notice changed since the person last agreed."""
    return call.page(await views.policy(call, opened(call).transaction))


async def agree(call: Call) -> Response:
    """I have read this, continue."""
    carried = opened(call)
    if call.form.get("decision") != "agree" or call.session is None:
        raise BadRequest(detail="no decision")
    await call.world.account.agree(call.session.account)
    return await go_on(call, carried)


def _is_asked(carried: Carried) -> bool:
    """Whether the page about the address comes first."""
    return carried.transaction.address is Address.ASKED


def _check_open(call: Call) -> None:
    """Preview and sign-up are for somebody who came back from a provider and has no account yet (catalogue 129)."""
    transaction = opened(call).transaction
    if transaction.account is not None:
        raise SignInFinished(detail="sign-up is done")
    if transaction.identity is None:
        raise SignInExpired(detail="nobody came back from a provider yet")

"""The pages of one sign-in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from broker.domain.age import AgeAnswer
from broker.domain.checks.authorization import CHOOSING
from broker.domain.claims import EMAIL, LOCALE, NAME, PICTURE, PREFERRED_USERNAME, ZONEINFO, words_of
from broker.domain.client import OFFLINE, SubjectType
from broker.domain.joining import Address
from broker.domain.mail_code import BY_MAIL
from broker.domain.passkey import BY_PASSKEY
from broker.domain.policy import in_force, text_version
from broker.domain.sharing import FieldShare, FieldStatus
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import ClaimName, ProviderId
from broker.flows.authorize import Situation
from broker.web import pages
from broker.web.call import Call
from broker.web.forms import Form
from broker.web.views.common import (
    TypedBox,
    held_value,
    in_language,
    name_of,
    policy_ref,
    provider_button,
    provider_label,
    site_card,
    takes_typed,
    typed_way,
    way_label,
)

Problems = Mapping[str, str]


async def chooser(
    call: Call,
    transaction: SignInTransaction,
    situation: Situation | None,
    *,
    offers_current: bool = True,
    box: TypedBox | None = None,
    passkey_problem: str = "",
) -> pages.Chooser:
    """Every way to sign in; for a fresh sign-in only the person's own ways."""
    world = call.world
    shown = tuple((await call.sign_in()).providers)
    merges = transaction.purpose is TransactionPurpose.MERGE
    step_up = transaction.purpose is not TransactionPurpose.SIGN_IN and not merges
    has_codes, has_passkeys = world.mail_code.is_on, world.passkeys.is_on
    if step_up and call.session is not None:
        own = {link.provider for link in await world.durable.accounts.links(call.session.account)}
        shown = tuple(provider for provider in shown if provider in own)
        has_codes, has_passkeys = has_codes and BY_MAIL in own, has_passkeys and BY_PASSKEY in own
    request = transaction.request
    hinted = request.idp_hint if request else transaction.hinted
    if hinted in shown:
        shown = (ProviderId(hinted), *(provider for provider in shown if provider != hinted))
    last = world.cookies.last_provider(call.request) or ""
    joining = transaction.joining
    goes_on = offers_current and joining is None and not merges
    signed_in = await _offer_current(call, transaction, situation) if goes_on else ""
    is_sent = transaction.hinted in shown and joining is None and not merges
    return pages.Chooser(
        action=f"/f/{transaction.id}/sign-in",
        providers=tuple(provider_button(call, one) for one in shown if not takes_typed(call, one)),
        typed=tuple(typed_way(call, one, box) for one in shown if takes_typed(call, one)),
        site=site_card(call, situation.client if situation else None),
        sent_by=provider_label(call, transaction.hinted) if is_sent else "",
        last_used=last if last in shown and transaction.hinted in {None, last} else "",
        cancel_action=f"/f/{transaction.id}/cancel" if situation is not None or joining is not None or merges else "",
        connects=way_label(call, joining.identity.provider, joining.identity.key) if joining is not None else "",
        connects_to=joining.address if joining is not None else "",
        step_up=transaction.step_up or ("site" if step_up else ""),
        is_step_up=step_up,
        merges=merges,
        signed_in_as=signed_in,
        makes_account=request is not None and "create" in request.prompt,
        code_url=f"/f/{transaction.id}/code" if has_codes else "",
        passkey=_passkey(call, transaction, passkey_problem) if has_passkeys else None,
        works_until=transaction.expires_at,
    )


def _passkey(call: Call, transaction: SignInTransaction, problem: str) -> pages.PasskeyRow:
    return pages.PasskeyRow(
        action=f"/f/{transaction.id}/passkey",
        challenge=call.world.passkeys.challenge(transaction),
        party=call.world.passkeys.party.id,
        problem=problem,
    )


async def sign_in_code(
    call: Call,
    transaction: SignInTransaction,
    situation: Situation | None,
    *,
    typed: str | None = None,
    problem: str = "",
) -> pages.SignInCode:
    """The address, or once a letter is on its way the code; `typed`: an address that was none."""
    is_fresh = transaction.purpose is TransactionPurpose.FRESHEN and call.session is not None
    wants_other = typed is not None or "other" in call.request.query_params
    base = f"/f/{transaction.id}/code"
    if typed is None and transaction.joining is not None:
        typed = transaction.joining.address
    return pages.SignInCode(
        send_action=base,
        check_action=f"{base}/check",
        chooser_url=f"/f/{transaction.id}/sign-in",
        sent_to="" if wants_other else transaction.code_to or "",
        typed=typed or "",
        own=await _own_address(call) if is_fresh else "",
        other_url="" if is_fresh else f"{base}?other",
        problem=problem,
        site=site_card(call, situation.client if situation else None),
        works_until=transaction.expires_at,
    )


async def _own_address(call: Call) -> str:
    account = await call.world.account.load(call.signed_in.account)
    return account.claims.get(EMAIL, "")


async def _offer_current(call: Call, transaction: SignInTransaction, situation: Situation | None) -> str:
    """Who is signed in, where going on as them would do: when the site asked to choose an account, or make one, and for
    who was sent here by a link."""
    if transaction.hinted is not None and call.session is not None:
        return name_of(await call.world.account.load(call.session.account))
    if situation is None or call.session is None or CHOOSING.isdisjoint(situation.request.prompt):
        return ""
    return name_of(situation.account) if situation.account else ""


def age(
    call: Call,
    transaction: SignInTransaction,
    situation: Situation | None,
    *,
    form: Form | None = None,
    problems: Problems | None = None,
) -> pages.AgeQuestion:
    """When were you born?"""
    found = problems or {}
    came_back = transaction.age is AgeAnswer.UNKNOWN_PERSON
    return pages.AgeQuestion(
        action=f"/f/{transaction.id}/age",
        site=site_card(call, situation.client if situation else None),
        unknown_at=provider_label(call, transaction.provider) if came_back else "",
        month=form.get("birth_month", "") if form is not None else "",
        year=form.get("birth_year", "") if form is not None else "",
        month_problem="birth_month" in found,
        year_problem="birth_year" in found,
        cancel_action=f"/f/{transaction.id}/cancel" if situation is not None else "",
        works_until=transaction.expires_at,
    )


def too_young(call: Call, transaction: SignInTransaction | None, situation: Situation | None) -> pages.TooYoung:
    """No account here yet; `transaction` while this attempt is not over."""
    return pages.TooYoung(
        action=f"/f/{transaction.id}/age" if transaction is not None else "",
        site=site_card(call, situation.client if situation else None),
    )


def confirm_digest(call: Call, transaction: SignInTransaction) -> str:
    """What the page about it shows: another tab may sign somebody else in while it is read (catalogue 134)."""
    return text_version(transaction.id, call.session.account if call.session is not None else "")


async def confirm(
    call: Call, transaction: SignInTransaction, situation: Situation | None, *, changed: bool = False
) -> pages.Confirm:
    """Whom an app brought, by the account's own name, or by what the provider says where there is none yet."""
    world, brought = call.world, transaction.brought
    identity = brought.identity if brought is not None else None
    known = await world.durable.accounts.by_identity(identity.key) if identity is not None else None
    current = await world.account.load(call.session.account) if call.session is not None else None
    if known is not None:
        name = name_of(known[0])
    else:
        name = (identity.claims.get(NAME) or identity.account_hint or "") if identity is not None else ""
    is_other = current is not None and (known is None or current.id != known[0].id)
    return pages.Confirm(
        action=f"/f/{transaction.id}/confirm",
        provider=provider_label(call, transaction.provider),
        name=name,
        shown=confirm_digest(call, transaction),
        is_changed=changed,
        is_known=known is not None,
        replaces=name_of(current) if current is not None and is_other else "",
        cancel_action=f"/f/{transaction.id}/cancel",
        site=site_card(call, situation.client if situation else None),
        works_until=transaction.expires_at,
    )


def leaving(to: str, url: str, *, shows_host: bool = True) -> pages.Leaving:
    """On the way out of our origin. Not `shows_host`: by way of an address of our own."""
    return pages.Leaving(to=to, url=url, host=urlsplit(url).netloc if shows_host else "")


def post_back(to: str, action: str, params: Mapping[str, str]) -> pages.PostBack:
    """The answer to a site that wants it posted."""
    return pages.PostBack(to=to, action=action, fields=tuple(params.items()), host=urlsplit(action).netloc)


def known(call: Call, transaction: SignInTransaction, situation: Situation | None) -> pages.AlreadyKnown:
    """An account already uses the address that came."""
    return pages.AlreadyKnown(
        action=f"/f/{transaction.id}/known",
        provider=provider_label(call, transaction.provider),
        address=call.world.sign_up.address(transaction),
        has_codes=call.world.mail_code.is_on,
        cancel_action=f"/f/{transaction.id}/cancel",
        site=site_card(call, situation.client if situation else None),
        works_until=transaction.expires_at,
    )


def preview(
    call: Call,
    transaction: SignInTransaction,
    situation: Situation | None,
    *,
    form: Form | None = None,
    problems: Problems | None = None,
) -> pages.Preview:
    """Each field the provider sent."""
    shares = call.world.sign_up.rows(transaction)
    ticked = frozenset(form.all("use")) if form is not None else frozenset()
    declined = any(share.status is FieldStatus.DECLINED for share in shares)
    return pages.Preview(
        action=f"/f/{transaction.id}/details",
        provider=provider_label(call, transaction.provider),
        rows=tuple(_preview_row(call, transaction, share, form, ticked, problems or {}) for share in shares),
        site=site_card(call, situation.client if situation else None),
        can_ask_again=declined and not transaction.asked_again,
        works_until=transaction.expires_at,
        not_asked=_not_asked(shares),
    )


def _preview_row(
    call: Call,
    transaction: SignInTransaction,
    share: FieldShare,
    form: Form | None,
    ticked: frozenset[str],
    problems: Problems,
) -> pages.PreviewRow:
    purpose, lang = in_language(share.policy.purpose, call.locale)
    return pages.PreviewRow(
        claim=share.claim,
        value=_shown(transaction, share.claim, share.value or ""),
        status=share.status,
        is_needed=share.required,
        purpose=purpose,
        purpose_lang=lang,
        audience=share.policy.audience,
        is_checked_by_provider=share.verified,
        is_editable=share.policy.editable,
        is_ticked=share.claim in ticked,
        typed=form.get(f"v-{share.claim}") if form is not None else None,
        problem=problems.get(share.claim, ""),
        is_failed=share.claim == PICTURE and transaction.picture_failed,
        is_left_out=share.claim == EMAIL and transaction.address is Address.ANOTHERS,
    )


def _shown(transaction: SignInTransaction, claim: ClaimName, value: str) -> str:
    """A value as people read it; a picture by the address where this sign-up shows it."""
    return f"/f/{transaction.id}/picture" if claim == PICTURE and value else words_of(claim, value)


def _not_asked(shares: tuple[FieldShare, ...]) -> tuple[str, ...]:
    birthday = () if any(share.claim == "birthdate" for share in shares) else ("birthday",)
    return ("friends", "posts", "messages", *birthday)


def kept_nothing(call: Call, before: SignInTransaction, fresh: SignInTransaction) -> pages.KeptNothing:
    """After "Do not use Facebook"."""
    client = call.world.clients.get(fresh.request.client_id) if fresh.request else None
    return pages.KeptNothing(
        provider=provider_label(call, before.provider),
        continue_url=f"/f/{fresh.id}/sign-in",
        site=site_card(call, client),
    )


async def finish(
    call: Call,
    transaction: SignInTransaction,
    situation: Situation | None,
    *,
    form: Form | None = None,
    problems: Problems | None = None,
) -> pages.Finish:
    """Only what is missing is asked; what was chosen before is shown, not asked again."""
    world, problems = call.world, problems or {}
    decision = transaction.decision
    kept = decision.kept if decision else {}
    suggestions = await world.sign_up.suggestions(transaction)
    typed_name = form.get(PREFERRED_USERNAME) if form is not None else None
    held = kept.get(PREFERRED_USERNAME)
    today = world.clock.now().date()
    policies = world.settings.policies
    return pages.Finish(
        action=f"/f/{transaction.id}/finish",
        provider=provider_label(call, transaction.provider),
        kept=tuple(
            pages.KeptRow(claim=claim, value=_shown(transaction, claim, value.value)) for claim, value in kept.items()
        ),
        asks=tuple(_asked_row(call, claim, form, problems) for claim in world.sign_up.to_ask(transaction)),
        user_name=typed_name
        if typed_name is not None
        else (held.value if held else (suggestions[0] if suggestions else "")),
        user_name_problem=problems.get(PREFERRED_USERNAME, ""),
        suggestions=suggestions,
        asks_zone=ZONEINFO in world.fields and ZONEINFO not in kept,
        zone=form.get(ZONEINFO, "") if form is not None else "",
        asks_locale=LOCALE in world.fields and LOCALE not in kept,
        locale=(form.get(LOCALE, "") if form is not None else "") or call.locale,
        newsletters=newsletters(call, frozenset(form.all("newsletter")) if form is not None else frozenset()),
        terms=policy_ref(in_force(policies.terms, today)),
        privacy=policy_ref(in_force(policies.privacy, today)),
        change_url="",
        cancel_action=f"/f/{transaction.id}/cancel",
        posting_off=(provider_label(call, transaction.provider),)
        if transaction.provider in world.posting.networks
        else (),
        site=site_card(call, situation.client if situation else None),
        works_until=transaction.expires_at,
    )


def _asked_row(call: Call, claim: ClaimName, form: Form | None, problems: Problems) -> pages.AskedRow:
    policy = call.world.fields[claim]
    purpose, lang = in_language(policy.purpose, call.locale)
    return pages.AskedRow(
        claim=claim,
        value=form.get(f"v-{claim}", "") if form is not None else "",
        purpose=purpose,
        purpose_lang=lang,
        audience=policy.audience,
        problem=problems.get(claim, ""),
    )


def newsletters(call: Call, ticked: frozenset[str]) -> tuple[pages.NewsletterTick, ...]:
    """Every list, ticked only because the person did."""
    out = []
    for one in call.world.settings.newsletters:
        label, lang = in_language(one.label, call.locale)
        rhythm, rhythm_lang = in_language(one.rhythm, call.locale)
        out.append(
            pages.NewsletterTick(
                id=one.id,
                label=label,
                rhythm=rhythm,
                sender=one.sender,
                is_ticked=one.id in ticked,
                lang=lang,
                rhythm_lang=rhythm_lang,
            )
        )
    return tuple(out)


async def policy(call: Call, transaction: SignInTransaction) -> pages.PolicyChanged:
    """What changed since the person last agreed."""
    today, policies = call.world.clock.now().date(), call.world.settings.policies
    changes = [
        pages.PolicyChange(
            kind=kind, version=version.version, effective_from=version.effective_from, changes=version.changes
        )
        for kind, version in (
            ("terms", in_force(policies.terms, today)),
            ("privacy", in_force(policies.privacy, today)),
        )
        if version is not None
    ]
    client = call.world.clients.get(transaction.request.client_id) if transaction.request else None
    return pages.PolicyChanged(
        action=f"/f/{transaction.id}/policy", changes=tuple(changes), site=site_card(call, client)
    )


def share(
    call: Call,
    situation: Situation,
    *,
    form: Form | None = None,
    problems: Problems | None = None,
    changed: bool = False,
) -> pages.Share:
    """What the site asks for, split into what it has already and what is new."""
    account = situation.account
    if account is None or call.carried is None:
        msg = "the share page is for somebody signed in"
        raise TypeError(msg)
    to_show = {ask.claim for ask in situation.to_show}
    ticked = frozenset(form.all("share")) if form is not None else frozenset()
    rows = []
    for ask in situation.asked:
        already = ask.claim not in to_show
        if already and ask.claim not in situation.standing.granted:
            continue
        if ask.claim == OFFLINE.claim:
            continue
        why, lang = in_language(ask.why, call.locale)
        rows.append(
            pages.ShareRow(
                claim=ask.claim,
                value=held_value(account, ask.claim),
                is_needed=ask.needed,
                is_essential=not ask.needed and ask.claim in situation.request.claims.essential,
                why=why,
                why_lang=lang,
                audience=ask.audience,
                is_shared_already=already,
                is_ticked=ask.claim in ticked,
                typed=form.get(f"v-{ask.claim}") if form is not None else None,
                problem=_needed((problems or {}).get(ask.claim, "")),
            )
        )
    return pages.Share(
        action=f"/f/{call.carried.transaction.id}/site",
        site=site_card(call, situation.client, first_time=not situation.asks_for_more)
        or pages.SiteCard(name="", host="", url=""),
        rows=tuple(rows),
        shown=situation.form_digest,
        signed_in_as=name_of(account),
        asks_for_more=situation.asks_for_more,
        has_private_number=situation.client.subject_type is SubjectType.PAIRWISE,
        same_number_at=tuple(
            other.name
            for other in call.world.clients.values()
            if other.client_id != situation.client.client_id
            and other.subject_type is SubjectType.PAIRWISE
            and other.sector_identifier == situation.client.sector_identifier
        ),
        wants_offline_access=OFFLINE.claim in to_show,
        is_offline_ticked=OFFLINE.claim in ticked,
        is_changed=changed,
        works_until=call.carried.transaction.expires_at,
    )


def _needed(problem: str) -> str:
    return "needed_missing" if problem == "missing" else problem

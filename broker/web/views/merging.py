"""Merging two accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from broker.domain.claims import PICTURE, PREFERRED_USERNAME
from broker.domain.mail_code import BY_MAIL
from broker.domain.merging import Side
from broker.domain.session import needs_fresh_sign_in
from broker.domain.transaction import SignInTransaction
from broker.domain.values import ClaimName, ClientId, ProviderId
from broker.flows.merging import Both
from broker.web import pages
from broker.web.call import Call
from broker.web.forms import Form
from broker.web.views.common import held_value, line_label, name_of, provider_label


async def merge_start(call: Call) -> pages.MergeStart:
    """What merging means."""
    account = await call.world.account.load(call.signed_in.account)
    named = ProviderId(call.request.query_params.get("with", ""))
    is_shown = named in (await call.sign_in()).providers
    return pages.MergeStart(
        name=name_of(account),
        with_=named if is_shown else "",
        with_label=provider_label(call, named) if is_shown else "",
        is_fresh=not needs_fresh_sign_in(call.signed_in, call.world.clock.now()),
    )


def merge(
    call: Call, transaction: SignInTransaction, both: Both, *, form: Form | None = None, problem: str = ""
) -> pages.MergeAccounts:
    """Both accounts side by side; with a problem, as they were chosen."""
    return pages.MergeAccounts(
        action=f"/f/{transaction.id}/merge",
        halves=tuple(_half(call, both, side, form) for side in Side),
        fields=tuple(_field(call, transaction, both, claim, form) for claim in both.fields),
        numbers=tuple(_numbers(call, both, form)),
        stays=form.get("stays", "") if form is not None else "",
        seen=both.seen,
        problem=problem,
    )


def _names(call: Call, sites: Iterable[ClientId]) -> tuple[str, ...]:
    found = map(call.world.clients.get, dict.fromkeys(sites))
    return tuple(site.name for site in found if site is not None)


def _numbers(call: Call, both: Both, form: Form | None) -> Iterator[pages.MergeNumber]:
    """Where none of the sites is set up any more there is nothing to ask."""
    for sector in both.sectors:
        sites = _names(call, (*both.this.known_in[sector], *both.other.known_in[sector]))
        if sites:
            chosen = form.get(f"n-{sector}", "") if form is not None else ""
            yield pages.MergeNumber(sector=sector, sites=sites, chosen=chosen)


def _half(call: Call, both: Both, side: Side, form: Form | None) -> pages.MergeHalf:
    half, ticked = both.half(side), form.all("way") if form is not None else []
    user_name = half.account.profile.get(PREFERRED_USERNAME)
    return pages.MergeHalf(
        side=side,
        name=name_of(half.account),
        user_name=user_name.value if user_name else "",
        since=half.account.created_at,
        ways=tuple(
            pages.MergeWay(
                id=link.id,
                label=line_label(call, link.provider),
                hint=link.hint or "",
                place=call.world.places.of(link.provider, link.key),
                added_at=link.linked_at,
                is_proved=link.key == half.proved,
                is_by_mail=link.provider == BY_MAIL,
                is_ticked=link.id in ticked,
            )
            for link in half.links
        ),
        sites=_names(
            call, [site for sector, sites in half.known_in.items() if sector not in both.sectors for site in sites]
        ),
        is_known=bool(_names(call, half.sites)),
    )


def _field(
    call: Call, transaction: SignInTransaction, both: Both, claim: ClaimName, form: Form | None
) -> pages.MergeField:
    needed = claim in call.world.merging.needed
    values = []
    for side in Side:
        held = both.half(side).account.profile.get(claim)
        if held is None and needed:
            continue
        text = held_value(both.half(side).account, claim)
        if claim == PICTURE and text and side is Side.OTHER:
            text = f"/f/{transaction.id}/merge/picture"
        values.append(
            pages.MergeValue(side=side, value=text, is_there=held is not None, is_verified=bool(held and held.verified))
        )
    return pages.MergeField(
        claim=claim, values=tuple(values), chosen=form.get(f"v-{claim}", "") if form is not None else ""
    )

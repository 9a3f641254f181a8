"""My Account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict
from urllib.parse import urlencode

from broker.domain.account import Account, is_only_way
from broker.domain.claims import EMAIL, PREFERRED_USERNAME
from broker.domain.client import OFFLINE, Client
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.disclosure import DisclosureRow
from broker.domain.mail_code import BY_MAIL, mail_link
from broker.domain.passkey import AT_MOST, passkeys_of
from broker.domain.policy import Use
from broker.domain.session import device_in_words, needs_fresh_sign_in
from broker.domain.values import ClaimName, ClientId
from broker.flows.account import ConnectedSite
from broker.web import pages
from broker.web.call import Call
from broker.web.forms import Form
from broker.web.pages.words import DONE, VIAS
from broker.web.views.common import (
    TypedBox,
    held_value,
    in_language,
    name_of,
    provider_button,
    provider_label,
    takes_typed,
    typed_way,
    way_label,
)
from broker.web.views.steps import newsletters

PAGE_ROWS = 50


def _done(call: Call) -> str:
    code = call.request.query_params.get("done", "")
    return code if code in DONE else ""


async def _account(call: Call) -> Account:
    return await call.world.account.load(call.signed_in.account)


async def overview(call: Call) -> pages.Overview:
    """Who I am as others see it."""
    account, session, world = await _account(call), call.signed_in, call.world
    links = await world.durable.accounts.links(session.account)
    devices = await world.memory.sessions.of_account(session.account, world.clock.now())
    only = links[0].provider if len(links) == 1 else None
    email = account.profile.get(EMAIL)
    user_name = account.profile.get(PREFERRED_USERNAME)
    failing = only is not None and only in world.providers and world.provider_health(only) != "ok"
    return pages.Overview(
        name=name_of(account),
        done=_done(call),
        user_name=user_name.value if user_name else "",
        ways=len(links),
        sites=len(await world.account.sites(session.account)),
        devices=len(devices),
        has_email=email is not None,
        is_email_checked=bool(email and email.verified),
        can_check_email=world.address.is_on,
        last_sign_in=session.auth_time,
        last_sign_in_with=way_label(call, session.provider, session.key),
        is_posting_on=bool(await world.posting.switches(session.account)),
        failing_way=way_label(call, only, links[0].key) if failing else "",
    )


async def account_details(
    call: Call, *, form: Form | None = None, problems: dict[str, str] | None = None
) -> pages.AccountDetails:
    """Each field: value, source, who sees it, which sites get it."""
    account = await _account(call)
    sites = await call.world.account.sites(account.id)
    names = [PREFERRED_USERNAME, *(name for name, policy in call.world.fields.items() if policy.use is not Use.NEVER)]
    fields = tuple(
        _field(call, account, name, sites, form, (problems or {}).get(name, "")) for name in dict.fromkeys(names)
    )
    return pages.AccountDetails(name=name_of(account), done=_done(call), fields=fields)


def _field(
    call: Call,
    account: Account,
    claim: ClaimName,
    sites: tuple[ConnectedSite, ...],
    form: Form | None,
    problem: str,
) -> pages.AccountField:
    held, policy = account.profile.get(claim), call.world.fields.get(claim)
    kind, _, provider = (held.source if held else "person").partition(":")
    purpose, lang = in_language(policy.purpose, call.locale) if policy else ("", "")
    return pages.AccountField(
        claim=claim,
        value=held_value(account, claim),
        source=kind,
        source_name=provider_label(call, provider) if provider else "",
        is_verified=bool(held and held.verified),
        can_check=claim == EMAIL and held is not None and not held.verified and call.world.address.is_on,
        audience=policy.audience if policy else "everyone",
        purpose=purpose,
        purpose_lang=lang,
        is_editable=policy.editable if policy else True,
        is_needed=claim == PREFERRED_USERNAME or (policy is not None and policy.use is Use.NEEDED),
        sites=tuple(site.client.name for site in sites if claim in site.standing.granted),
        typed=form.get(f"v-{claim}") if form is not None else None,
        problem=problem,
    )


async def address(call: Call, *, problem: str = "") -> pages.CheckAddress:
    """Where the code is typed."""
    account = await _account(call)
    held = account.profile.get(EMAIL)
    return pages.CheckAddress(
        name=name_of(account),
        address=held.value if held is not None and not held.verified else "",
        is_sent="sent" in call.request.query_params,
        problem=problem,
    )


async def ways(call: Call, box: TypedBox | None = None) -> pages.Ways:
    """Every linked identity, and what can be added; with a problem, what was typed."""
    account, session, world = await _account(call), call.signed_in, call.world
    links, shown = await world.durable.accounts.links(session.account), (await call.sign_in()).providers
    linked = tuple(
        pages.LinkedWay(
            id=link.id,
            provider=provider_label(call, link.provider),
            brand=world.faces[link.provider].brand if link.provider in world.faces else "",
            logo_url=world.logos.of_provider(link.provider),
            hint=link.hint or "",
            place=world.places.of(link.provider, link.key),
            linked_at=link.linked_at,
            last_used_at=link.last_used_at,
            is_this_session=link.key == session.key,
            is_by_mail=link.provider == BY_MAIL,
            is_passkey=link.passkey is not None,
            is_off=not world.account.opens(link),
            is_only=is_only_way(links, link, world.account.opens),
        )
        for link in links
    )
    email = account.profile.get(EMAIL)
    codes = ""
    if world.mail_code.is_on and mail_link(links) is None:
        codes = "no_address" if email is None else "can" if email.verified else "unchecked"
    is_fresh, passkeys = not needs_fresh_sign_in(session, world.clock.now()), ""
    if world.passkeys.is_on:
        passkeys = "can" if len(passkeys_of(links)) < AT_MOST else "full"
    return pages.Ways(
        name=name_of(account),
        done=_done(call),
        ways=linked,
        addable=tuple(provider_button(call, one) for one in shown if not takes_typed(call, one)),
        typed=tuple(typed_way(call, one, box) for one in shown if takes_typed(call, one)),
        is_fresh=is_fresh,
        codes=codes,
        codes_to=email.value if email is not None else "",
        passkeys=passkeys,
        passkey_url="/me/ways/passkey" if is_fresh else "/sign-in/again?next=/me/ways/passkey&for=ways",
    )


async def add_passkey(call: Call, *, typed: str | None = None, problem: str = "") -> pages.AddPasskey:
    """Where a passkey is made; the name proposed is the browser's. Raises `ProviderOff`, `FreshSignInRequired`."""
    account, making = await _account(call), await call.world.passkeys.begin(call.signed_in)
    user_name = account.profile.get(PREFERRED_USERNAME)
    return pages.AddPasskey(
        name=name_of(account),
        challenge=making.challenge,
        party=call.world.passkeys.party.id,
        owner=making.owner,
        owner_name=user_name.value if user_name else name_of(account),
        owner_label=name_of(account),
        others=making.others,
        typed=typed if typed is not None else device_in_words(call.user_agent),
        problem=problem or ("too_many" if making.is_full else ""),
    )


async def sites(call: Call) -> pages.Sites:
    """Every connected site and what it gets."""
    account = await _account(call)
    cards = []
    for site in await call.world.account.sites(account.id):
        needed = {ask.claim for ask in site.client.asks if ask.needed}
        shared = tuple(str(claim) for claim in site.standing.granted if claim != OFFLINE.claim)
        cards.append(
            pages.ConnectedSite(
                client=site.client.client_id,
                name=site.client.name,
                host=site.client.host,
                logo_url=call.world.logos.of_site(site.client),
                url=site.client.url,
                since=site.standing.since,
                shared=shared,
                needed=tuple(claim for claim in shared if claim in needed),
                has_offline_access=OFFLINE.claim in site.standing.granted,
                open_url=_open_url(site.client),
            )
        )
    kept = filter(None, map(call.world.clients.get, account.sites_from_before))
    merged = tuple(sorted(site.name for site in kept))
    return pages.Sites(name=name_of(account), done=_done(call), sites=tuple(cards), merged=merged)


def _open_url(client: Client) -> str:
    is_opened = client.initiate_login_uri and client.enabled and not client.is_unreviewed
    return "/me/sites/open?" + urlencode({"site": client.client_id}) if is_opened else ""


async def history(call: Call) -> pages.History:
    """Who got which fields on which day, and what was decided."""
    account, world, query = await _account(call), call.world, call.request.query_params
    client, claim = query.get("site", ""), query.get("field", "")
    text = query.get("page", "1")
    page = int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 10_000 else 1
    receipts = await world.durable.ledger.receipts(account.id, Purpose.SHARE_WITH_CLIENT)
    names = _site_names(call, receipts)
    rows = await world.durable.ledger.disclosures(
        account.id,
        client=ClientId(client) if client in names else None,
        limit=PAGE_ROWS + 1,
        offset=(page - 1) * PAGE_ROWS,
    )
    wanted = [row for row in rows[:PAGE_ROWS] if not claim or claim in row.claims]
    shown = [_disclosed(call, same, names) for same in _by_sign_in(wanted)]
    if page == 1:
        chosen = [one for one in receipts if not client or one.counterparty == client]
        shown += [_decided(call, one, names) for one in chosen if not claim or claim in one.shown]
    shown.sort(key=lambda row: row.at, reverse=True)

    def page_url(number: int) -> str:
        return "/me/history?" + urlencode({"site": client, "field": claim, "page": number})

    return pages.History(
        name=name_of(account),
        done=_done(call),
        rows=tuple(shown),
        summaries=_summaries(rows[:PAGE_ROWS], names),
        sites=tuple(names.items()),
        claims=tuple(sorted({str(name) for one in receipts for name in one.shown if name != OFFLINE.claim})),
        site=client,
        claim=claim,
        newer_url=page_url(page - 1) if page > 1 else "",
        older_url=page_url(page + 1) if len(rows) > PAGE_ROWS else "",
    )


def _site_names(call: Call, receipts: tuple[ConsentReceipt, ...]) -> dict[str, str]:
    """Id → name of every site that ever asked; of one that is gone, what it was called when it did so last."""
    names = {one.counterparty: one.counterparty_name or one.counterparty for one in receipts}
    known = ((id_, call.world.clients.get(ClientId(id_))) for id_ in names)
    return names | {id_: client.name for id_, client in known if client}


def _by_sign_in(rows: Iterable[DisclosureRow]) -> list[list[DisclosureRow]]:
    """Those together that tell of the same fields of one sign-in on one day, and differ in how they went: oldest first."""
    found: dict[tuple[object, ...], list[DisclosureRow]] = {}
    for row in rows:
        found.setdefault((row.client, row.grant, row.day, frozenset(row.claims)), []).append(row)
    order = tuple(VIAS)
    return [sorted(same, key=lambda row: (row.released_at, order.index(row.via))) for same in found.values()]


def _disclosed(call: Call, same: list[DisclosureRow], names: Mapping[str, str]) -> pages.HistoryRow:
    first = same[0]
    ways: dict[str, str] = {}  # two ways may be called the same
    for row in same:
        ways.setdefault(VIAS[row.via], str(row.via))
    via, *also = ways.values()
    fields = _as_asked(call, first.client, first.claims)
    return pages.HistoryRow(
        at=first.released_at, site=names.get(first.client, first.client), via=via, also=tuple(also), **fields
    )


class _Fields(TypedDict):
    claims: tuple[str, ...]
    why: tuple[str, ...]


def _as_asked(call: Call, client_id: str, claims: Iterable[ClaimName]) -> _Fields:
    """Fields in the order in which the site asks for them, and its reasons; what it does not ask for any more comes last."""
    client, names = call.world.clients.get(ClientId(client_id)), set(claims)
    asks = [ask for ask in (client.asks if client else ()) if ask.claim in names]
    rest = names - {ask.claim for ask in asks}
    return {
        "claims": tuple(str(name) for name in (*(ask.claim for ask in asks), *sorted(rest))),
        "why": tuple(in_language(ask.why, call.locale)[0] for ask in asks),
    }


def _decided(call: Call, receipt: ConsentReceipt, names: Mapping[str, str]) -> pages.HistoryRow:
    if receipt.withdraws is not None:
        via, claims = "disconnected", receipt.shown
    elif receipt.accepted:
        via, claims = "agreed", receipt.accepted
    elif receipt.preview_digest:
        via, claims = "refused", receipt.refused
    else:
        via, claims = "stopped", receipt.refused
    fields = _as_asked(call, receipt.counterparty, (name for name in claims if name != OFFLINE.claim))
    return pages.HistoryRow(at=receipt.decided_at, site=names[receipt.counterparty], via=via, **fields)


def _summaries(rows: tuple[DisclosureRow, ...], names: Mapping[str, str]) -> tuple[pages.HistorySummary, ...]:
    out = []
    for client in dict.fromkeys(row.client for row in rows):
        ours = [row for row in rows if row.client == client]
        out.append(
            pages.HistorySummary(
                site=names.get(client, client),
                fields=len({name for row in ours for name in row.claims}),
                times=len({row.day for row in ours}),
                last_at=max(row.released_at for row in ours),
            )
        )
    return tuple(out)


async def devices(call: Call) -> pages.Devices:
    """Every browser that is signed in."""
    account, session = await _account(call), call.signed_in
    live = await call.world.memory.sessions.of_account(account.id, call.world.clock.now())
    return pages.Devices(
        name=name_of(account),
        done=_done(call),
        devices=tuple(
            pages.Device(
                sid=one.sid,
                name=one.device,
                first_seen_at=one.created_at,
                last_seen_at=one.last_seen_at,
                is_this=one.sid == session.sid,
                provider=way_label(call, one.provider, one.key),
            )
            for one in live
        ),
    )


async def news(call: Call) -> pages.News:
    """News e-mails."""
    account = await _account(call)
    return pages.News(name=name_of(account), done=_done(call), lists=newsletters(call, frozenset(account.newsletters)))


async def close(call: Call) -> pages.CloseAccount:
    """What closing means, in numbers."""
    account, session, world = await _account(call), call.signed_in, call.world
    user_name = account.profile.get(PREFERRED_USERNAME)
    sites = await world.account.sites(account.id)
    return pages.CloseAccount(
        name=name_of(account),
        user_name=user_name.value if user_name else "",
        ways=len(await world.durable.accounts.links(account.id)),
        devices=len(await world.memory.sessions.of_account(account.id, world.clock.now())),
        sites=tuple(site.client.name for site in sites if site.client.backchannel_logout_uri),
        untold=tuple(site.client.name for site in sites if not site.client.backchannel_logout_uri),
        is_fresh=not needs_fresh_sign_in(session, world.clock.now()),
    )


def closed(_call: Call) -> pages.AccountClosed:
    return pages.AccountClosed()

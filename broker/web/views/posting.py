"""Posting: My Account's page, the opt-in, the preview and the outcome."""

from __future__ import annotations

from broker.domain.client import Client
from broker.domain.posting import Posting, PostState
from broker.domain.values import ClientId, ProviderId
from broker.errors import NotFound
from broker.web import pages
from broker.web.call import Call
from broker.web.pages.words import DONE
from broker.web.views.common import name_of, provider_label, site_card


async def posting_settings(call: Call) -> pages.PostingSettings:
    """Where posting is on, and what became of the last posts."""
    gate, session = call.world.posting, call.signed_in
    account = await call.world.account.load(session.account)
    switches = await gate.switches(account.id)
    done = call.request.query_params.get("done", "")
    return pages.PostingSettings(
        name=name_of(account),
        done=done if done in DONE else "",
        is_available=bool(gate.networks),
        switches=tuple(
            pages.PostingSwitch(
                provider=one.provider,
                provider_label=provider_label(call, one.provider),
                client=one.client,
                site=_site_name(call, one.client),
                since=one.since,
                has_key=one.provider in gate.networks and bool(gate.scopes(one.provider)),
                lasts=one.provider in gate.networks and gate.lasts(one.provider),
            )
            for one in switches
        ),
        posts=tuple(
            pages.PastPost(
                id=post.id,
                provider_label=provider_label(call, post.provider),
                site=_site_name(call, post.client),
                at=post.settled_at or post.created_at,
                text=post.message.text,
                state=post.state.value,
                remote_url=_link(post),
                undo_action=f"/posting/{post.id}/undo" if gate.can_undo(post, switches) else "",
                ask_url=f"/posting/{post.id}" if _still_waits(call, post) else "",
            )
            for post in await gate.recent(account.id)
        ),
    )


def posting_opt_in(call: Call, client: Client, provider: ProviderId, sealed: str) -> pages.PostingOptIn:
    """Let this site offer posts there?"""
    return pages.PostingOptIn(
        action="/posting/opt-in",
        provider=provider_label(call, provider),
        site=_card(call, client),
        hidden=(("request", sealed),),
        needs_person=call.world.posting.needs_person(provider),
        lasts=call.world.posting.lasts(provider),
    )


async def posting(call: Call, post: Posting, *, back: str) -> pages.PostPreview | pages.PostOutcome:
    """The preview while it waits for the person; afterwards what became of it."""
    gate, client = call.world.posting, call.world.clients.get(post.client)
    label = provider_label(call, post.provider)
    if client is not None and _still_waits(call, post):
        links = await call.world.durable.accounts.links(post.account)
        ours = [link.hint for link in links if link.provider == post.provider and link.hint]
        return pages.PostPreview(
            action=f"/posting/{post.id}",
            provider=label,
            site=_card(call, client),
            text=post.message.text,
            url=post.message.url or "",
            who=ours[0] if len(ours) == 1 else "",
            needs_person=gate.needs_person(post.provider),
            hidden=(("shown", post.message.digest),),
        )
    switches = await gate.switches(post.account)
    pair = (post.provider, post.client)
    is_on = any((one.provider, one.client) == pair for one in switches)
    return pages.PostOutcome(
        state=post.state.value,
        provider=label,
        site=site_card(call, client),
        return_url=back,
        remote_url=_link(post),
        undo_action=f"/posting/{post.id}/undo" if gate.can_undo(post, switches) else "",
        is_turned_off=post.state is PostState.FAILED and not is_on,
    )


def _still_waits(call: Call, post: Posting) -> bool:
    """Whether the person can still say yes or no to it."""
    is_there = post.client in call.world.clients and post.provider in call.world.posting.networks
    return is_there and post.state is PostState.ASKED


def _link(post: Posting) -> str:
    """Where to see it, while it is there."""
    return (post.remote_url or "") if post.state is PostState.POSTED else ""


def _card(call: Call, client: Client) -> pages.SiteCard:
    card = site_card(call, client)
    if card is None:
        raise NotFound(detail="no such site")
    return card


def _site_name(call: Call, client: ClientId) -> str:
    found = call.world.clients.get(client)
    return found.name if found else client

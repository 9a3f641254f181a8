"""The pages without a sign-in, made from the settings so that they cannot drift apart."""

from __future__ import annotations

from collections.abc import Mapping

from broker.domain.policy import Use, in_force
from broker.domain.provider import EndsSessions
from broker.domain.removal import NOBODY, Removal
from broker.web import pages
from broker.web.call import Call
from broker.web.views.common import in_language, name_of, policy_ref, provider_button, provider_label, site_card


async def home(call: Call) -> pages.Home:
    """For somebody who comes directly."""
    name = ""
    if call.session is not None:
        name = name_of(await call.world.account.load(call.session.account))
    return pages.Home(
        sites=_sites(call),
        providers=tuple(provider_button(call, provider) for provider in call.world.providers),
        name=name,
    )


def privacy(call: Call) -> pages.PrivacyNotice:
    """What is kept, why, who sees it, who gets it."""
    settings = call.world.settings
    version = in_force(settings.policies.privacy, call.world.clock.now().date())
    gate = call.world.posting
    return pages.PrivacyNotice(
        fields=tuple(
            _notice_field(
                call, policy.claim, policy.purpose, policy.audience, policy.use is Use.NEEDED, policy.retention
            )
            for policy in settings.fields.values()
            if policy.use is not Use.NEVER
        ),
        providers=tuple(provider_button(call, provider) for provider in call.world.providers),
        sites=tuple(
            pages.NoticeSite(
                site=card,
                asks=tuple(_notice_field(call, ask.claim, ask.why, ask.audience, ask.needed) for ask in client.asks),
            )
            for client in settings.clients.values()
            if client.enabled and (card := site_card(call, client)) is not None
        ),
        version=policy_ref(version),
        changes=version.changes if version else (),
        operator=settings.broker.operator_name,
        contact=settings.broker.operator_contact,
        is_posting_possible=bool(gate.networks),
        posting_keys=tuple(provider_label(call, one) for one in gate.networks if gate.scopes(one)),
        lasting_keys=tuple(provider_label(call, one) for one in gate.networks if gate.lasts(one)),
        kept_words=tuple(
            provider_label(call, id_)
            for id_, provider in call.world.providers.items()
            if isinstance(provider, EndsSessions) and provider.keeps_hints
        ),
    )


def _notice_field(
    call: Call, claim: str, texts: Mapping[str, str], audience: str, needed: bool, retention: str = "until_closed"
) -> pages.NoticeField:
    purpose, lang = in_language(texts, call.locale)
    return pages.NoticeField(
        claim=claim, purpose=purpose, audience=audience, is_needed=needed, purpose_lang=lang, retention=retention
    )


def terms(call: Call) -> pages.Terms:
    """The terms in force."""
    settings = call.world.settings
    version = in_force(settings.policies.terms, call.world.clock.now().date())
    return pages.Terms(
        version=policy_ref(version),
        changes=version.changes if version else (),
        operator=settings.broker.operator_name,
        contact=settings.broker.operator_contact,
    )


def help_page(call: Call) -> pages.Help:
    broker = call.world.settings.broker
    labels = tuple(call.world.faces[provider].label for provider in call.world.providers)
    return pages.Help(
        providers=labels,
        has_codes=call.world.mail_code.is_on,
        has_passkeys=call.world.passkeys.is_on,
        operator=broker.operator_name,
        contact=broker.operator_contact,
    )


def cookies(call: Call) -> pages.CookieList:
    """Made from the code's own list."""
    return pages.CookieList(
        cookies=tuple(
            pages.CookieRow(name=notice.name, purpose=notice.purpose, lifetime=notice.lifetime)
            for notice in call.world.cookies.notices
        )
    )


def accessibility(call: Call) -> pages.Accessibility:
    broker = call.world.settings.broker
    return pages.Accessibility(operator=broker.operator_name, contact=broker.operator_contact)


def removal(call: Call, found: Removal) -> pages.RemovalStatus:
    """What becomes of a request to delete."""
    broker = call.world.settings.broker
    return pages.RemovalStatus(
        code=found.code,
        state=found.state.value,
        provider=provider_label(call, found.provider),
        asked_on=found.asked_at.date(),
        decided_on=found.decided_at.date() if found.decided_at else None,
        had_account=found.account != NOBODY,
        reason=found.reason,
        operator=broker.operator_name,
        contact=broker.operator_contact,
    )


def _sites(call: Call) -> tuple[pages.SiteCard, ...]:
    cards = (site_card(call, client) for client in call.world.clients.values() if client.enabled)
    return tuple(card for card in cards if card is not None)

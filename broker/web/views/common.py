"""Pieces that several pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.domain.account import Account
from broker.domain.claims import NAME, PICTURE, PREFERRED_USERNAME, words_of
from broker.domain.client import Client
from broker.domain.mail_code import BY_MAIL
from broker.domain.passkey import BY_PASSKEY
from broker.domain.picture import picture_of
from broker.domain.policy import PolicyVersion
from broker.domain.values import ClaimName, IdentityKey, ProviderId
from broker.web import pages
from broker.web.call import Call
from broker.web.pages import words


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedBox:
    """An address that somebody typed for one provider, and what is wrong with it."""

    provider: str
    typed: str = field(repr=False)
    problems: Mapping[str, str]


def held_value(account: Account, claim: ClaimName) -> str:
    """What the person's profile holds, as they read it; a picture by the address where they see it."""
    value = account.claims.get(claim, "")
    if claim != PICTURE:
        return words_of(claim, value)
    return "/me/picture" if picture_of(value) is not None else ""


def in_language(texts: Mapping[str, str], locale: str) -> tuple[str, str]:
    """The text in the page's language, or in English with its language named."""
    text = texts.get(locale) or texts.get(locale.partition("-")[0])
    return (text, "") if text else (texts.get("en", ""), "en" if not locale.startswith("en") else "")


def site_card(call: Call, client: Client | None, *, first_time: bool = False) -> pages.SiteCard | None:
    """A site as people see it, with its logo if it may be shown: as we have it, for pages load nothing from elsewhere."""
    if client is None:
        return None
    return pages.SiteCard(
        name=client.name,
        host=client.host,
        url=client.url,
        run_by=client.run_by,
        logo_url=call.world.logos.of_site(client),
        policy_url=client.policy_uri,
        terms_url=client.tos_uri,
        is_first_time=first_time,
        is_unreviewed=client.is_unreviewed,
        introduces_itself=client.introduces_itself,
    )


def provider_label(call: Call, provider: str | None) -> str:
    """A provider's name for people; its id if it is gone."""
    if provider == BY_MAIL:
        return call.world.renderer.plain(words.CODE_BY_MAIL, call.locale, {})
    if provider == BY_PASSKEY:
        return call.world.renderer.plain(words.PASSKEY, call.locale, {})
    face = call.world.faces.get(ProviderId(provider or ""))
    return face.label if face else (provider or "")


def way_label(call: Call, provider: ProviderId | None, key: IdentityKey) -> str:
    """The same with its server where people name one: ways of one kind are told apart."""
    label, place = provider_label(call, provider), call.world.places.of(provider, key)
    return f"{label} ({place})" if place else label


def line_label(call: Call, provider: str) -> str:
    """The same where a line begins with it: what is no name of somebody's begins with a capital there."""
    label = provider_label(call, provider)
    return label[:1].upper() + label[1:] if provider in {BY_MAIL, BY_PASSKEY} else label


def provider_button(call: Call, provider: ProviderId) -> pages.ProviderButton:
    """One way to sign in, with what it tells us and where it is."""
    face = call.world.faces[provider]
    known = call.world.circles.every.providers[provider]
    return pages.ProviderButton(
        id=provider,
        label=face.label,
        host=face.host,
        brand=face.brand,
        logo_url=call.world.logos.of_provider(provider),
        privacy_policy_url=face.privacy_policy_url,
        tells=tuple(str(offer.claim) for offer in known.offers if offer.claim in call.world.fields),
        state=call.world.provider_health(provider),
        is_sandbox=face.is_sandbox,
        only_for=call.world.circles.circles.get(provider, ""),
        asks=face.asks,
    )


def typed_way(call: Call, provider: ProviderId, box: TypedBox | None = None) -> pages.TypedWay:
    """A way to sign in that needs an address typed; with what was typed and its problem, after one."""
    is_it = box is not None and box.provider == provider
    return pages.TypedWay(
        provider=provider_button(call, provider),
        typed=box.typed if box is not None and is_it else "",
        problem=box.problems.get("identifier", "") if box is not None and is_it else "",
    )


def takes_typed(call: Call, provider: ProviderId) -> bool:
    """Whether an address must be typed for it."""
    return bool(call.world.faces[provider].asks)


def policy_ref(version: PolicyVersion | None) -> pages.PolicyRef | None:
    """A version by name and date."""
    return pages.PolicyRef(version=version.version, effective_from=version.effective_from) if version else None


def name_of(account: Account) -> str:
    """How we address somebody."""
    held = account.profile.get(NAME) or account.profile.get(PREFERRED_USERNAME)
    return held.value if held else ""

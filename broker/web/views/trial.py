"""A provider that is tried."""

from __future__ import annotations

from broker.domain.policy import Use
from broker.domain.provider import Provider, our_keys_of
from broker.domain.trial import Signed, Trial
from broker.domain.values import ProviderId
from broker.web import pages
from broker.web.call import Call
from broker.web.views.common import provider_label


def trial_start(call: Call, provider: Provider, link: str, *, typed: str = "", problem: str = "") -> pages.TrialStart:
    """What will happen."""
    face = call.world.faces[provider.id]
    button = pages.ProviderButton(
        id=provider.id,
        label=provider_label(call, provider.id),
        host=face.host,
        brand=face.brand,
        privacy_policy_url=face.privacy_policy_url,
        tells=tuple(str(offer.claim) for offer in provider.offers),
        is_sandbox=face.is_sandbox,
        asks=face.asks,
    )
    signed = call.world.trials.signed.get(provider.id, Signed())
    way = pages.TypedWay(provider=button, typed=typed, problem=problem) if face.asks else None
    return pages.TrialStart(
        provider=button,
        link=link,
        scopes=provider.sign_in_scopes,
        redirect=_redirect(call, provider.id),
        our_keys=_our_keys(call, signed.requests or signed.proofs),
        requests_signed=signed.requests,
        proofs_signed=signed.proofs,
        is_on=provider.id in call.world.providers,
        way=way,
    )


def trial_result(call: Call, outcome: Trial) -> pages.TrialResult:
    """What came of it."""
    ours = call.world.trials.signed.get(outcome.provider, Signed())
    signed = {"our_keys": ours.proofs, "request_object": ours.requests}.get(outcome.failure, "")
    return pages.TrialResult(
        provider=provider_label(call, outcome.provider),
        verdict=outcome.verdict.value,
        failure=outcome.failure,
        detail=outcome.detail,
        is_on=outcome.provider in call.world.providers,
        redirect=_redirect(call, outcome.provider),
        our_keys=_our_keys(call, signed),
        signed=signed,
        away=outcome.away,
        came_back=outcome.came_back,
        steps=tuple(
            pages.TrialStep(
                method=step.method,
                place=f"{step.host}{step.path}",
                milliseconds=step.milliseconds,
                status=step.status,
                failure=step.failure,
            )
            for step in outcome.steps
        ),
        answers=tuple(pages.TrialAnswer(place=one.place, names=one.names, text=one.text) for one in outcome.answers),
        fields=tuple(
            pages.TrialField(
                claim=one.claim,
                value=one.value,
                is_checked=one.verified,
                is_needed=one.policy.use is Use.NEEDED,
                audience=one.policy.audience.value,
            )
            for one in outcome.proposed
        ),
        left_out=tuple((str(claim), why.value) for claim, why in outcome.left_out),
        is_disbelieved=outcome.disbelieved,
        is_revoked=outcome.is_revoked,
    )


def _our_keys(call: Call, signed: str) -> str:
    """Where they are; nothing if nothing is signed."""
    return our_keys_of(call.world.settings.broker.public_url) if signed else ""


def _redirect(call: Call, provider: ProviderId) -> str:
    return f"{call.world.settings.broker.public_url}/callback/{provider}"

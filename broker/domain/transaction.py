"""One attempt of one browser to sign in, and the one place that decides what it needs next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.domain.age import AgeAnswer
from broker.domain.grant import AuthorizationRequest
from broker.domain.joining import Address, Joining
from broker.domain.merging import Merging
from broker.domain.provider import Brought, Found, Identity, UpstreamTokens
from broker.domain.sharing import SharingDecision
from broker.domain.values import AccountId, ProviderId, Sid
from broker.errors import ConsentRequired, InteractionRequired, LoginRequired, ProtocolError

SLIDING: Final = timedelta(minutes=30)
AT_MOST: Final = timedelta(hours=2)


class TransactionPurpose(StrEnum):
    SIGN_IN = "sign_in"
    LINK = "link"
    FRESHEN = "freshen"
    POSTING = "posting"
    MERGE = "merge"
    """Somebody who is signed in shows another account of theirs, to make one of the two."""
    TRIAL = "trial"
    """Whoever runs the server tries a provider: nobody is signed in by it, and nothing of it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInTransaction:
    """Everything one attempt knows. Sealed in the browser's cookie until the callback, then encrypted in the store."""

    id: str
    purpose: TransactionPurpose
    created_at: datetime
    expires_at: datetime
    request: AuthorizationRequest | None = None
    """What the site asked for; `None` when somebody came to us directly."""
    return_to: str = "/me"
    """Where to go afterwards when there is no request: a path of ours."""
    locale: str = "en"
    code_to: str | None = field(default=None, repr=False)
    """The address that was typed for a code, so that the page can name it: in the browser's hands alone."""
    hinted: ProviderId | None = None
    """The provider that somebody was sent here to sign in with: offered first, and chosen by nobody but the person."""
    login_hint: str | None = field(default=None, repr=False)
    """Who that provider is to expect, as the link said: for its eyes only."""
    # sent upstream
    provider: ProviderId | None = None
    typed: str | None = field(default=None, repr=False)
    """The address that says which provider, while a page comes between typing it and leaving."""
    found: Found | None = field(default=None, repr=False)
    """What that address said, until its provider has answered."""
    state_digest: bytes | None = field(default=None, repr=False)
    nonce: str | None = field(default=None, repr=False)
    code_verifier: str | None = field(default=None, repr=False)
    asked_again: bool = False
    forced_fresh: bool = False
    started_at: datetime | None = None
    # came with an app
    brought: Brought | None = field(default=None, repr=False)
    """Who it is by an app's word, until the person at this browser says that it is they: nobody is signed in by it before."""
    brought_known: bool = False
    """Whether an account has that identity."""
    # came back
    identity: Identity | None = field(default=None, repr=False)
    picture: bytes | None = field(default=None, repr=False)
    """The picture of that identity, fetched and drawn anew: kept or dropped as the person decides."""
    picture_failed: bool = False
    """The provider named a picture, and it could not be had."""
    answered_at: datetime | None = None
    """When the provider said who this is, where the person then has forms to fill in first."""
    tokens: UpstreamTokens | None = field(default=None, repr=False)
    """Only until the person decides, so that "Do not use Facebook" can revoke there (decision 19)."""
    # decided
    decision: SharingDecision | None = field(default=None, repr=False)
    account: AccountId | None = None
    """Whose sign-in this is, once known; for link, freshen, merge and posting the account that started it."""
    sid: Sid | None = None
    """The session it was started in, or that it led to."""
    step_up: str = ""
    """What the fresh sign-in is for, in a word the page knows."""
    client: str | None = None
    """Posting: the site that is to post."""
    remember_provider: bool = False
    """Remember the way once it is taken: ticked before a page that came in between."""
    age: AgeAnswer = AgeAnswer.NONE
    address: Address = Address.SETTLED
    """Whether the person still has to say whose the address is that came."""
    joining: Joining | None = field(default=None, repr=False)
    """What waits to be added to the account that the person signs in to in this attempt."""
    merging: Merging | None = field(default=None, repr=False)
    """The other account that was shown, to be merged with the one that started this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the dispatcher looks at. Small on purpose: a test walks all combinations."""

    identified: bool
    """Somebody proved who they are, recently enough for this request."""
    known: bool
    """There is an account for that identity."""
    age_known: bool
    """Old enough to make an account, or nobody here asks."""
    confirmed: bool
    """No app brought this sign-in, or the person said that it is theirs."""
    address_settled: bool
    """No account has the address that came checked, or the person said whose it is."""
    preview_decided: bool
    policy_agreed: bool
    """The account agreed to the terms and privacy notice now in force."""
    client_request: bool
    """A site is waiting for an answer."""
    consented: bool
    """What the site asks for is covered by an earlier decision, or was just decided."""


class Step(StrEnum):
    AUTHENTICATE = "sign-in"
    AGE = "age"
    CONFIRM = "confirm"
    ADDRESS = "known"
    PREVIEW = "details"
    SIGN_UP = "finish"
    AGREE = "policy"
    CONSENT = "site"
    DONE = "done"


def next_step(facts: Facts) -> Step:
    """Decide what this sign-in needs next. The only place that does."""
    if not facts.identified:
        return Step.AUTHENTICATE
    if not facts.known and not facts.age_known:
        return Step.AGE
    if not facts.confirmed:
        return Step.CONFIRM
    if not facts.known and not facts.address_settled:
        return Step.ADDRESS
    if not facts.known:
        return Step.SIGN_UP if facts.preview_decided else Step.PREVIEW
    if not facts.policy_agreed:
        return Step.AGREE
    if facts.client_request and not facts.consented:
        return Step.CONSENT
    return Step.DONE


_WITHOUT_PAGES: Final[Mapping[Step, type[ProtocolError]]] = {
    Step.AUTHENTICATE: LoginRequired,
    Step.AGE: InteractionRequired,
    Step.CONFIRM: InteractionRequired,
    Step.ADDRESS: InteractionRequired,
    Step.PREVIEW: InteractionRequired,
    Step.SIGN_UP: InteractionRequired,
    Step.AGREE: InteractionRequired,
    Step.CONSENT: ConsentRequired,
}


def without_pages(step: Step) -> ProtocolError | None:
    """The answer to `prompt=none` when a page would be needed (OpenID Connect Core §3.1.2.6)."""
    error = _WITHOUT_PAGES.get(step)
    return error() if error is not None else None

"""Everything handlers may use, put together once by `broker.app`. Flows, not stores: a handler decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from broker.domain.account import Places
from broker.domain.app_origins import AppOrigins
from broker.domain.browser_state import BrowserStates
from broker.domain.policy import FieldPolicy
from broker.domain.ports import BrowserMemory, Clock, Durable, Entropy, Limits, Signer
from broker.domain.provider import Provider
from broker.domain.values import ClaimName, ProviderId
from broker.flows.account import AccountFlow
from broker.flows.address import AddressFlow
from broker.flows.app_sign_in import AppSignIns
from broker.flows.authorize import AuthorizeFlow
from broker.flows.circles import SignInCircles
from broker.flows.client_auth import ClientAuth
from broker.flows.device import DeviceRequests
from broker.flows.discourse import DiscourseFlow
from broker.flows.events import EventPolls
from broker.flows.exchange import ExchangeFlow
from broker.flows.gate import GateFlow
from broker.flows.key_proofs import KeyProofs
from broker.flows.logos import LogoFlow
from broker.flows.mail_code import MailCodeFlow
from broker.flows.merging import MergeFlow
from broker.flows.passkey import PasskeyFlow
from broker.flows.pictures import PictureFlow
from broker.flows.posting import PostingGate
from broker.flows.pushed import PushedRequests
from broker.flows.registration import Registrations
from broker.flows.release import Releaser
from broker.flows.removal import RemovalFlow
from broker.flows.request_objects import RequestObjects
from broker.flows.session import SessionFlow
from broker.flows.sign_in import SignInFlow
from broker.flows.sign_up import SignUpFlow
from broker.flows.status import StatusLists
from broker.flows.streams import EventStreams
from broker.flows.transactions import TransactionBox
from broker.flows.trial import TrialFlow
from broker.flows.upstream_logout import UpstreamLogout
from broker.flows.upstream_requests import UpstreamRequests
from broker.registered_sites import KnownSites
from broker.web.cookies import Cookies
from broker.web.headers import SecurityHeaders

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.web.render import Renderer


class PublishedKeys(Protocol):
    """What the key endpoint sends."""

    @property
    def jwks(self) -> bytes: ...


class Log(Protocol):
    """Structured events: names, ids and codes only."""

    def event(self, name: str, /, **facts: str | float | None) -> None: ...
    def fault(self, name: str, error: BaseException, /, **facts: str | float | None) -> None: ...
    def access(self, route: str, method: str, status: int, seconds: float, reference: str = "") -> None: ...


class Metrics(Protocol):
    """Counters without people in them."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None: ...
    def sign_in(self, provider: str, step: str, outcome: str) -> None: ...
    def token_issued(self, grant_type: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFace:
    """What people see of a provider before they choose it."""

    id: ProviderId
    label: str
    brand: str
    host: str
    privacy_policy_url: str
    is_sandbox: bool
    issuer: str = ""
    """What it calls itself by; nothing: it has no such name."""
    speaks_openid2: bool = False
    """Whether it may look up where people come back to."""
    asks: str = ""
    """For a `Finder`: what people are to type; nothing: it needs nothing of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    settings: Settings
    durable: Durable
    memory: BrowserMemory
    clock: Clock
    entropy: Entropy
    signer: Signer
    key_box: PublishedKeys
    request_keys: PublishedKeys
    """Those that providers know us by as their client."""
    upstream_requests: UpstreamRequests
    cookies: Cookies
    headers: SecurityHeaders
    renderer: Renderer
    log: Log
    metrics: Metrics
    metadata: bytes = field(repr=False)
    clients: KnownSites
    app_origins: AppOrigins
    fields: Mapping[ClaimName, FieldPolicy]
    providers: Mapping[ProviderId, Provider]
    """Those for everybody."""
    faces: Mapping[ProviderId, ProviderFace]
    places: Places
    """Where ways in are whose provider is one of many servers."""
    provider_health: Callable[[ProviderId], str]
    """`ok`, `failing` or `unavailable`."""
    client_auth: ClientAuth
    proofs: KeyProofs
    box: TransactionBox
    sessions: SessionFlow
    sign_in: SignInFlow
    """Everybody's: knows no provider that only some may use."""
    circles: SignInCircles
    mail_code: MailCodeFlow
    passkeys: PasskeyFlow
    trials: TrialFlow
    sign_up: SignUpFlow
    authorize: AuthorizeFlow
    pushed: PushedRequests
    app_sign_ins: AppSignIns
    devices: DeviceRequests
    polls: EventPolls
    streams: EventStreams
    registrations: Registrations | None
    """`None`: no site registers by itself."""
    request_objects: RequestObjects
    exchange: ExchangeFlow
    gate: GateFlow
    discourse: DiscourseFlow
    statuses: StatusLists
    states: BrowserStates | None
    """What sites' pages may watch of sessions; `None`: nothing."""
    releaser: Releaser
    account: AccountFlow
    address: AddressFlow
    merging: MergeFlow
    removals: RemovalFlow
    upstream_logout: UpstreamLogout
    posting: PostingGate
    pictures: PictureFlow
    logos: LogoFlow

    @property
    def limits(self) -> Limits:
        """Who has tried how often."""
        return self.memory.limits

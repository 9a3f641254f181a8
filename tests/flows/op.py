"""The provider side without HTTP: the flows behind /authorize, /token, /userinfo, /introspect and /revoke on memory stores.

op = Op()
ana = await op.person("ana")
code = await op.code(ana)                   shares everything the site asks, as a person who ticks all
tokens = await op.redeem(code)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.support.builders import NOW, FixedClock, asked

from broker.client_tokens import SiteTokens
from broker.domain.account import Account, AccountStatus, ProfileValue, Source
from broker.domain.checks.authorization import read_params, read_request
from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.client import AuthMethod, Client, SigningAlgorithm
from broker.domain.grant import AuthorizationRequest
from broker.domain.policy import Policies
from broker.domain.ports import SigningKeyRecord
from broker.domain.session import Session
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey, ProviderId, Sid
from broker.egress import Egress
from broker.flows.access import AccessTokens
from broker.flows.answers import Answer
from broker.flows.authorize import AuthorizeFlow, Situation
from broker.flows.device import DeviceRequests
from broker.flows.events import EventSigner
from broker.flows.exchange import ExchangeFlow
from broker.flows.keys import KeyFlow
from broker.flows.ledger import LedgerWriter
from broker.flows.pushed import PushedRequests
from broker.flows.release import Releaser
from broker.flows.request_objects import RequestObjects
from broker.flows.status import StatusLists
from broker.handles import KeyedHandles
from broker.picture_addresses import SealedPictureAddresses
from broker.sealing import TransactionSeal
from broker.signing import KeyBox, make_key
from broker.stores.memory import MemoryBrowser, MemoryDurable

ISSUER: Final = "https://login.test"
NOTICE: Final = "terms:- privacy:-"
VERIFIER: Final = "verifier-of-one-tab-0123456789-0123456789-abc"
FORUM, WIKI, APP, KIT = ClientId("forum"), ClientId("wiki"), ClientId("app"), ClientId("kit")


@dataclass(slots=True)
class CountingEntropy:
    """Randomness that never repeats and is the same in every run."""

    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def token(self, nbytes: int = 32) -> str:
        return f"t{next(self._numbers)}-{'x' * nbytes}"

    def bytes(self, nbytes: int) -> bytes:
        return int(next(self._numbers)).to_bytes(nbytes, "big")

    def reference(self) -> str:
        return f"REF-{next(self._numbers)}"


@functools.cache
def signing_keys() -> tuple[SigningKeyRecord, ...]:
    """One key of each algorithm, made once: RSA keys are slow to make."""
    return tuple(
        make_key(algorithm, f"{algorithm.value.lower()}-1", now=NOW, signs_from=NOW) for algorithm in SigningAlgorithm
    )


def site(name: ClientId, **more: Any) -> Client:
    values: dict[str, Any] = {
        "client_id": name,
        "name": name.title(),
        "url": f"https://{name}.test",
        "redirect_uris": (f"https://{name}.test/cb",),
        "auth_method": AuthMethod.BASIC,
        "asks": (
            asked(PREFERRED_USERNAME, needed=True),
            asked(NAME, needed=False),
            asked(EMAIL, needed=False),
        ),
    }
    return Client(**(values | more))


@dataclass
class Op:
    """Flows, stores and a clock. `clients` may be changed: the flows see it at once."""

    clock: FixedClock = field(default_factory=FixedClock)

    def __post_init__(self) -> None:
        self.entropy = CountingEntropy()
        self.durable = MemoryDurable(self.clock)
        self.memory = MemoryBrowser(self.clock)
        self.clients: dict[ClientId, Client] = {
            FORUM: site(FORUM),
            WIKI: site(WIKI, signing_algorithm=SigningAlgorithm.ES256, claims_in_id_token=True),
            APP: site(APP, auth_method=AuthMethod.NONE),
            KIT: site(KIT, session_token=True),
        }
        self.box = KeyBox()
        self.box.load(signing_keys(), self.clock.now())
        self.handles = KeyedHandles(b"h" * 32)
        self.access = AccessTokens(
            handles=self.handles, signer=self.box, clock=self.clock, entropy=self.entropy, issuer=ISSUER
        )
        self.ledger = LedgerWriter(clock=self.clock, entropy=self.entropy)
        self.releaser = Releaser(
            durable=self.durable,
            ledger=self.ledger,
            signer=self.box,
            access=self.access,
            clients=self.clients,
            clock=self.clock,
            issuer=ISSUER,
            subject_key=b"s" * 32,
            sid_key=b"i" * 32,
            pictures=SealedPictureAddresses(b"p" * 32),
            look=self._look,
        )
        self.statuses = StatusLists(
            statuses=self.durable.statuses, signer=self.box, clock=self.clock, issuer=ISSUER, key=b"l" * 32
        )
        self.objects = RequestObjects(
            tokens=SiteTokens(Egress(), self.clock), limits=self.memory.limits, clock=self.clock, issuer=ISSUER
        )
        self.pushed = PushedRequests(
            objects=self.objects,
            store=self.memory.transactions,
            seal=TransactionSeal(b"t" * 32, self.entropy),
            replay=self.memory.replay,
            limits=self.memory.limits,
            clock=self.clock,
            entropy=self.entropy,
        )
        self.devices = DeviceRequests(
            store=self.memory.transactions,
            seal=TransactionSeal(b"t" * 32, self.entropy),
            replay=self.memory.replay,
            limits=self.memory.limits,
            durable=self.durable,
            clock=self.clock,
            entropy=self.entropy,
            issuer=ISSUER,
            key=b"u" * 32,
        )
        self.authorize = AuthorizeFlow(
            pushed=self.pushed,
            durable=self.durable,
            sessions=self.memory.sessions,
            ledger=self.ledger,
            clients=self.clients,
            policies=Policies(terms=(), privacy=()),
            clock=self.clock,
            entropy=self.entropy,
            signer=self.box,
            issuer=ISSUER,
            subject_key=b"s" * 32,
            statuses=self.statuses,
        )
        self.exchange = ExchangeFlow(
            durable=self.durable,
            releaser=self.releaser,
            ledger=self.ledger,
            signer=self.box,
            handles=self.handles,
            access=self.access,
            clock=self.clock,
            entropy=self.entropy,
            issuer=ISSUER,
            devices=self.devices,
        )
        self.event_signer = EventSigner(
            signer=self.box, clock=self.clock, issuer=ISSUER, subject_key=b"s" * 32, sid_key=b"i" * 32
        )
        self.keys = KeyFlow(keys=self.durable.keys, box=self.box, clock=self.clock, entropy=self.entropy)

    async def _look(self, client: ClientId) -> Client | None:
        return self.clients.get(client)

    def restart(self) -> None:
        """Everything a process remembers by itself is forgotten; the store stays."""
        self.ledger._recorded.clear()

    async def person(self, name: str, *, email: str | None = None, **more: Any) -> Session:
        """An account and a session of it."""
        profile = {
            NAME: ProfileValue(value=f"{name.title()} Lund", source=Source.PERSON),
            PREFERRED_USERNAME: ProfileValue(value=name, source=Source.PERSON),
            EMAIL: ProfileValue(value=email or f"{name}@mail.test", source="provider:facebook", verified=True),
        }
        values: dict[str, Any] = {
            "id": AccountId(f"account-{name}"),
            "profile": profile,
            "status": AccountStatus.ACTIVE,
            "created_at": self.clock.now(),
            "agreed_notice": NOTICE,
        }
        account = Account(**(values | more))
        unit = self.durable.unit()
        unit.add_account(account)
        await unit.commit()
        session = self.session(account.id)
        await self.memory.sessions.save(session)
        return session

    def session(self, account: AccountId, **more: Any) -> Session:
        now = self.clock.now()
        values: dict[str, Any] = {
            "sid": Sid(self.entropy.token(4)),
            "account": account,
            "secret_digest": self.entropy.bytes(32),
            "provider": ProviderId("facebook"),
            "key": IdentityKey(issuer="https://facebook.test", subject="1"),
            "auth_time": now,
            "amr": ("fed",),
            "acr": None,
            "created_at": now,
            "last_seen_at": now,
            "idle_expires_at": now + timedelta(hours=24),
            "expires_at": now + timedelta(days=14),
        }
        return Session(**(values | more))

    def transaction(self, **more: Any) -> SignInTransaction:
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": self.entropy.token(4),
            "purpose": TransactionPurpose.SIGN_IN,
            "created_at": now,
            "expires_at": now + timedelta(minutes=30),
        }
        return SignInTransaction(**(values | more))

    def request(self, client: ClientId = FORUM, /, **changes: str | None) -> AuthorizationRequest:
        """What the site asks, read by the checks of the endpoint."""
        one = self.clients[client]
        values = {
            "client_id": client,
            "redirect_uri": one.redirect_uris[0],
            "response_type": "code",
            "scope": "openid profile email",
            "state": "state-1",
            "nonce": "nonce-1",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        } | changes
        params = read_params([(name, value) for name, value in values.items() if value is not None])
        return read_request(params, one, one.redirect_uris[0])

    async def look(self, session: Session | None, client: ClientId = FORUM, /, **changes: str | None) -> Situation:
        return await self.authorize.look(self.clients[client], self.request(client, **changes), session)

    async def share(
        self,
        session: Session,
        client: ClientId = FORUM,
        /,
        *,
        ticked: frozenset[ClaimName] | None = None,
        **changes: str | None,
    ) -> Answer:
        """The person shares everything asked, or what is ticked of it."""
        situation = await self.look(session, client, **changes)
        all_asked = frozenset(ask.claim for ask in situation.asked)
        return await self.authorize.share(
            situation, self.transaction(), ticked=all_asked if ticked is None else ticked, typed={}, locale="en"
        )

    async def code(self, session: Session, client: ClientId = FORUM, /, **changes: Any) -> str:
        return answered(await self.share(session, client, **changes))["code"]

    async def redeem(self, code: str, client: ClientId = FORUM, /, **changes: str | None) -> Mapping[str, Any]:
        params = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.clients[client].redirect_uris[0],
            "code_verifier": VERIFIER,
        } | changes
        return await self.exchange.exchange(self.clients[client], {n: v for n, v in params.items() if v is not None})

    async def tokens(self, session: Session, client: ClientId = FORUM, /, **changes: Any) -> Mapping[str, Any]:
        return await self.redeem(await self.code(session, client, **changes), client)

    async def refresh(self, token: str, client: ClientId = FORUM, /, **more: str) -> Mapping[str, Any]:
        params = {"grant_type": "refresh_token", "refresh_token": token, **more}
        return await self.exchange.exchange(self.clients[client], params)

    async def is_active(self, token: str, client: ClientId = FORUM) -> bool:
        return bool((await self.exchange.introspect(self.clients[client], token))["active"])

    async def change(self, account: AccountId, **more: Any) -> None:
        """Another status, another profile."""
        found = await self.durable.accounts.load(account)
        assert found is not None
        unit = self.durable.unit()
        unit.save_account(replace(found, **more))
        await unit.commit()

    def move(self, **span: float) -> datetime:
        self.clock.move(timedelta(**span))
        return self.clock.now()


def answered(answer: Answer) -> dict[str, str]:
    """The parameters of an answer; each occurs once."""
    found = parse_qs(urlsplit(answer.url).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), answer.url
    return {name: values[0] for name, values in found.items()}

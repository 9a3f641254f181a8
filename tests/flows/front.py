"""The person's side without HTTP: sign-in, sign-up, account and sessions on memory stores, with a provider by script.

front = Front()
ana = await front.person("ana")                 an account with one way to sign in, and a session
left = await front.leave()                      an attempt on its way to the provider
outcome = await front.back(left, "ana")         back from there as whoever the script calls ana
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.flows.op import FORUM, WIKI, CountingEntropy, site
from tests.support.builders import NOW, FixedClock, grant, posting, upstream_tokens

from broker.domain.account import Account, Link
from broker.domain.audit import Act
from broker.domain.claims import EMAIL, LOCALE, NAME, PICTURE, ZONEINFO
from broker.domain.client import Client
from broker.domain.grant import AuthorizationRequest, Grant
from broker.domain.passkey import Party
from broker.domain.policy import Audience, FieldPolicy, Policies, PolicyVersion, Use
from broker.domain.posting import Posting
from broker.domain.provider import Attempt, Identified, Identity, OfferedField, Once, UpstreamTokens
from broker.domain.session import Session
from broker.domain.taking_back import TAKE_BACK, tokens_of
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId, ClaimName, ClientId, IdentityKey, ProviderId, Scope
from broker.errors import SignInCancelled, UpstreamUnavailable
from broker.flows.account import AccountFlow
from broker.flows.address import AddressFlow
from broker.flows.audit import AuditTrail
from broker.flows.events import EventWriter
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.mail_code import MailCodeFlow
from broker.flows.merging import MergeFlow
from broker.flows.passkey import PasskeyFlow
from broker.flows.posting import PostingGate
from broker.flows.removal import RemovalFlow
from broker.flows.session import LOGOUT_TOKEN, SessionFlow
from broker.flows.sign_in import Leaving, Outcome, SignedIn, SignInFlow
from broker.flows.sign_up import SignUpFlow, SignUpForm
from broker.flows.transactions import Carried, TransactionBox
from broker.passkeys import PasskeyReader
from broker.sealing import TransactionSeal
from broker.stores.memory import MemoryBrowser, MemoryDurable

FACEBOOK, OPENID = ProviderId("facebook"), ProviderId("openid")
CALLBACKS: Final = "https://login.test/callback/"
ACT: Final = Act(by="deploy", why="Spam.")
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"


def field_policy(claim: ClaimName, use: Use) -> FieldPolicy:
    return FieldPolicy(claim=claim, use=use, audience=Audience.MEMBERS, purpose={"en": f"why {claim}"})


def identity(name: str, *, provider: ProviderId = FACEBOOK, **more: Any) -> Identity:
    """Who `provider` says somebody called `name` is."""
    values: dict[str, Any] = {
        "provider": provider,
        "key": IdentityKey(issuer=f"https://{provider}.example", subject=f"subject-of-{name}"),
        "claims": {
            NAME: f"{name.title()} Marković",
            EMAIL: f"{name}@mail.test",
            PICTURE: f"https://pictures.test/{name}",
        },
        "verified": frozenset({EMAIL}),
        "granted": frozenset({"email", "public_profile"}),
        "declined": frozenset(),
        "authenticated_at": None,
        "amr": ("fed",),
        "acr": "urn:example:1",
        "account_hint": f"{name}@mail.test",
    }
    return Identity(**(values | more))


@dataclass
class ScriptedProvider:
    """A provider that knows whom it is told to know: the callback's `code` is their name."""

    id: ProviderId
    label: str = "Scripted"
    people: dict[str, Identity] = field(default_factory=dict)
    tokens: dict[str, UpstreamTokens] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    once: Once | None = None
    identified: list[tuple[Attempt, Mapping[str, str]]] = field(default_factory=list)
    revoked: list[UpstreamTokens] = field(default_factory=list)
    is_down: bool = False
    can_force_fresh: bool = True
    sign_in_scopes: tuple[str, ...] = ("public_profile", "email")
    offers: tuple[OfferedField, ...] = tuple(
        OfferedField(claim=claim, scope="public_profile") for claim in (NAME, EMAIL, PICTURE)
    )

    async def authorization_url(self, attempt: Attempt) -> str:
        if self.is_down:
            raise UpstreamUnavailable(detail="script")
        self.attempts.append(attempt)
        return f"https://{self.id}.example/authorize?{urlencode({'state': attempt.state})}"

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        if self.is_down:
            raise UpstreamUnavailable(detail="script")
        if "error" in callback:
            raise SignInCancelled(detail="script")
        self.identified.append((attempt, callback))
        name = callback["code"]
        person = self.people.get(name) or identity(name, provider=self.id)
        tokens = self.tokens.setdefault(name, upstream_tokens())
        return Identified(identity=person, tokens=tokens, once=self.once)

    async def revoke(self, tokens: UpstreamTokens) -> None:
        if self.is_down:
            raise UpstreamUnavailable(detail="script")
        self.revoked.append(tokens)

    async def check(self) -> None:
        """Always usable."""


@dataclass
class ScriptedPictures:
    """Has a picture at each address, unless it is told to have none."""

    asked: list[str] = field(default_factory=list)
    is_down: bool = False

    async def fetch(self, address: str) -> bytes | None:
        self.asked.append(address)
        return None if self.is_down else f"drawn from {address}".encode()


@dataclass
class Front:
    """Flows, stores, a clock, two providers. `clients` and `fields` may be changed: the flows see it at once."""

    clock: FixedClock = field(default_factory=FixedClock)

    def __post_init__(self) -> None:
        self.entropy = CountingEntropy()
        self.durable = MemoryDurable(self.clock)
        self.memory = MemoryBrowser(self.clock)
        self.clients: dict[ClientId, Client] = {
            FORUM: site(FORUM, backchannel_logout_uri="https://forum.test/backchannel"),
            WIKI: site(WIKI),
        }
        self.fields = {
            NAME: field_policy(NAME, Use.NEEDED),
            EMAIL: field_policy(EMAIL, Use.NEEDED),
            PICTURE: field_policy(PICTURE, Use.OPTIONAL),
            LOCALE: field_policy(LOCALE, Use.OPTIONAL),
            ZONEINFO: field_policy(ZONEINFO, Use.OPTIONAL),
        }
        self.policies = Policies(
            terms=(PolicyVersion(version="3", effective_from=NOW.date()),),
            privacy=(PolicyVersion(version="2", effective_from=NOW.date()),),
        )
        self.facebook, self.openid = ScriptedProvider(FACEBOOK), ScriptedProvider(OPENID)
        self.pictures = ScriptedPictures()
        self.ledger = LedgerWriter(clock=self.clock, entropy=self.entropy)
        self.seal = TransactionSeal(b"t" * 32, self.entropy)
        self.box = TransactionBox(
            store=self.memory.transactions, seal=self.seal, clock=self.clock, entropy=self.entropy
        )
        self.sessions = SessionFlow(
            durable=self.durable,
            sessions=self.memory.sessions,
            clients=self.clients,
            clock=self.clock,
            entropy=self.entropy,
            events=EventWriter(
                durable=self.durable,
                clients=self.clients,
                clock=self.clock,
                entropy=self.entropy,
                subject_key=b"s" * 32,
            ),
        )
        self.letters = LetterWriter(clock=self.clock, entropy=self.entropy, is_on=True)
        self.sign_in = SignInFlow(
            durable=self.durable,
            replay=self.memory.replay,
            box=self.box,
            sessions=self.sessions,
            ledger=self.ledger,
            providers={FACEBOOK: self.facebook, OPENID: self.openid},
            policies=self.policies,
            clock=self.clock,
            entropy=self.entropy,
            callback_base=CALLBACKS,
            letters=self.letters,
            pictures=self.pictures,
        )
        self.mail_code = MailCodeFlow(
            durable=self.durable,
            sign_in=self.sign_in,
            proofs=self.memory.transactions,
            seal=self.seal,
            limits=self.memory.limits,
            letters=self.letters,
            ledger=self.ledger,
            policies=self.policies,
            clock=self.clock,
            entropy=self.entropy,
            is_on=True,
        )
        self.trail = AuditTrail(durable=self.durable, clock=self.clock, key=b"a" * 32)
        self.passkeys = PasskeyFlow(
            durable=self.durable,
            sign_in=self.sign_in,
            replay=self.memory.replay,
            seal=self.seal,
            letters=self.letters,
            ledger=self.ledger,
            policies=self.policies,
            clock=self.clock,
            entropy=self.entropy,
            trail=self.trail,
            limits=self.memory.limits,
            reader=PasskeyReader(),
            party=Party(id="login.test", origin="https://login.test"),
            is_on=True,
        )
        self.sign_up = SignUpFlow(
            durable=self.durable,
            box=self.box,
            ledger=self.ledger,
            sign_in=self.sign_in,
            fields=self.fields,
            policies=self.policies,
            newsletters=frozenset({"club"}),
            clock=self.clock,
            entropy=self.entropy,
        )
        self.gate = PostingGate(
            durable=self.durable,
            limits=self.memory.limits,
            publishers={},
            clients=self.clients,
            policies=self.policies,
            clock=self.clock,
            entropy=self.entropy,
            ledger=self.ledger,
            issuer="https://login.test",
            subject_key=b"s" * 32,
            posts_per_hour=10,
            renew=self.sign_in.renew_upstream,
            revoke=self.sign_in.drop_upstream,
        )
        self.address = AddressFlow(
            durable=self.durable,
            proofs=self.memory.transactions,
            seal=self.seal,
            limits=self.memory.limits,
            letters=self.letters,
            sessions=self.sessions,
            clock=self.clock,
            entropy=self.entropy,
            codes_open=True,
            posting=self.gate,
        )
        self.account = AccountFlow(
            durable=self.durable,
            sessions=self.sessions,
            ledger=self.ledger,
            clients=self.clients,
            fields=self.fields,
            policies=self.policies,
            newsletters=frozenset({"club", "events"}),
            limits=self.memory.limits,
            clock=self.clock,
            posting=self.gate,
            address=self.address,
            trail=self.trail,
        )
        self.merging = MergeFlow(
            durable=self.durable,
            sign_in=self.sign_in,
            account=self.account,
            posting=self.gate,
            ledger=self.ledger,
            letters=self.letters,
            trail=self.trail,
            policies=self.policies,
            clock=self.clock,
            entropy=self.entropy,
        )
        self.removals = RemovalFlow(
            durable=self.durable,
            sessions=self.sessions,
            account=self.account,
            posting=self.gate,
            letters=self.letters,
            trail=self.trail,
            clock=self.clock,
            key=b"r" * 32,
        )

    # --- attempts -------------------------------------------------------------------------------------

    def transaction(
        self, purpose: TransactionPurpose = TransactionPurpose.SIGN_IN, session: Session | None = None, **more: Any
    ) -> SignInTransaction:
        """As the pages make one: bound to the session that starts it, unless it signs in."""
        bound = session if purpose is not TransactionPurpose.SIGN_IN else None
        return SignInTransaction(
            id=self.box.new_id(),
            purpose=purpose,
            created_at=self.clock.now(),
            expires_at=self.clock.now(),
            account=bound.account if bound else None,
            sid=bound.sid if bound else None,
            **more,
        )

    async def leave(
        self,
        provider: ProviderId = FACEBOOK,
        purpose: TransactionPurpose = TransactionPurpose.SIGN_IN,
        session: Session | None = None,
        **more: Any,
    ) -> Leaving:
        """An attempt on its way to the provider."""
        carried = await self.box.hold(self.transaction(purpose, session, **more))
        return await self.sign_in.begin(carried, provider)

    async def back(
        self,
        left: Leaving,
        name: str,
        *,
        session: Session | None = None,
        provider: ProviderId | None = None,
        **changes: str,
    ) -> Outcome:
        """The browser that left is sent back, as somebody."""
        params = {"state": state_of(left), "code": name, **changes}
        carried = await self.box.open(left.carried.transaction.id, left.carried.cookie)
        return await self.sign_in.complete(
            carried, provider or left.provider.id, params, session=session, user_agent=AGENT
        )

    async def new_person(self, name: str, provider: ProviderId = FACEBOOK, **more: Any) -> Carried:
        """Somebody unknown, back from the provider."""
        outcome = await self.back(await self.leave(provider, **more), name)
        return outcome.carried  # type: ignore[union-attr]

    async def person(self, name: str, provider: ProviderId = FACEBOOK) -> SignedIn:
        """Somebody who signed up: account, link, receipt, session."""
        decided = await self.sign_up.decide(
            await self.new_person(name, provider), ticked=frozenset({PICTURE}), edits={}
        )
        outcome = await self.sign_up.create(decided, self.form(name), session=None, user_agent=AGENT)
        if not isinstance(outcome, SignedIn):
            raise TypeError(outcome)
        return outcome

    def form(self, user_name: str, **more: Any) -> SignUpForm:
        return SignUpForm(**({"user_name": user_name, "typed": {}, "newsletters": frozenset()} | more))

    async def going_back(self) -> list[tuple[ProviderId, UpstreamTokens]]:
        """What is on its way back to the providers that gave it."""
        sent = [one.payload for one in self.durable.tables.deliveries.values() if one.kind == TAKE_BACK]
        return [(ProviderId(one["provider"]), tokens_of(one)) for one in sent]

    # --- what is there --------------------------------------------------------------------------------

    @property
    def accounts(self) -> dict[AccountId, Account]:
        return self.durable.tables.accounts

    @property
    def links(self) -> list[Link]:
        return list(self.durable.tables.links.values())

    async def grant(self, session: Session, client: ClientId = FORUM, **more: Any) -> Grant:
        """What the site got from this session."""
        values = {"client": client, "sid": session.sid, "scopes": frozenset({Scope("openid")}), "created_at": NOW}
        made = grant(session.account, **(values | more))
        unit = self.durable.unit()
        unit.add_grant(made)
        await unit.commit()
        return made

    async def posting(self, session: Session, **more: Any) -> Posting:
        """Something asked to be posted and not sent yet."""
        made = posting(session.account, **more)
        unit = self.durable.unit()
        unit.add_posting(made)
        await unit.commit()
        return made

    async def save(self, account: Account) -> None:
        unit = self.durable.unit()
        unit.save_account(account)
        await unit.commit()

    async def is_standing(self, grant: Grant) -> bool:
        found = await self.durable.grants.load(grant.id)
        return found is not None and found.revoked_at is None

    def told(self) -> list[tuple[str, str]]:
        """Site and session of every logout token on its way."""
        deliveries = self.durable.tables.deliveries.values()
        return sorted((one.client, one.payload["sid"]) for one in deliveries if one.kind == LOGOUT_TOKEN)


def state_of(left: Leaving) -> str:
    return parse_qs(urlsplit(left.url).query)["state"][0]


def request(client: ClientId = FORUM, **more: Any) -> AuthorizationRequest:
    """What a site asked for."""
    values: dict[str, Any] = {
        "client_id": client,
        "redirect_uri": f"https://{client}.test/cb",
        "response_type": "code",
        "response_mode": "query",
        "scopes": frozenset({Scope("openid"), Scope("profile")}),
        "state": "state-of-the-site",
    }
    return AuthorizationRequest(**(values | more))


def stale(session: Session, by: Any) -> Session:
    """The same session, signed in longer ago."""
    return replace(session, auth_time=session.auth_time - by)

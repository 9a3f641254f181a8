"""The composition root: settings become stores, keys, providers, flows and at last an application.

Knows everyone; known by no one. Opening touches the database and nothing beyond: a provider that is down is found out
in the background, and its button says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

import providers
from broker import hashing, paths
from broker.chance import SystemClock, SystemEntropy
from broker.client_documents import ClientDocuments
from broker.client_metadata import Rules
from broker.client_tokens import SiteTokens, read_key_proof
from broker.domain.account import Places
from broker.domain.app_origins import AppOrigins
from broker.domain.browser_state import BrowserStates
from broker.domain.checks.dpop import Nonces
from broker.domain.claims import PICTURE
from broker.domain.documents import DocumentRules
from broker.domain.logo import of_provider, whose
from broker.domain.mail_code import BY_MAIL
from broker.domain.passkey import BY_PASSKEY, Party
from broker.domain.ports import Clock, Entropy, KeyUse
from broker.domain.provider import Finder, Provider, UpstreamTokens, Us
from broker.domain.staff import Circle
from broker.domain.values import AccountId, ProviderId
from broker.egress import Egress, Exemption, Forms
from broker.errors import ConfigurationError, Problem, StoreUnavailable
from broker.flows.access import AccessTokens
from broker.flows.account import AccountFlow
from broker.flows.address import AddressFlow
from broker.flows.app_sign_in import AppSignIns
from broker.flows.audit import AuditTrail
from broker.flows.authorize import AuthorizeFlow
from broker.flows.circles import SignInCircles
from broker.flows.client_auth import ClientAuth
from broker.flows.device import DeviceRequests
from broker.flows.discourse import DiscourseFlow
from broker.flows.events import EventPolls, EventSigner, EventWriter
from broker.flows.exchange import ExchangeFlow
from broker.flows.failures import FailureTrace
from broker.flows.gate import GateFlow
from broker.flows.key_proofs import KeyProofs
from broker.flows.keys import KeyFlow
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.logos import LogoFlow
from broker.flows.mail_code import MailCodeFlow
from broker.flows.merging import MergeFlow
from broker.flows.passkey import PasskeyFlow
from broker.flows.pictures import PictureFlow
from broker.flows.posting import PostingGate
from broker.flows.pushed import PushedRequests
from broker.flows.registration import Registrations, Reviews
from broker.flows.release import Releaser
from broker.flows.removal import RemovalFlow
from broker.flows.request_objects import RequestObjects
from broker.flows.session import SessionFlow
from broker.flows.sign_in import SignInFlow
from broker.flows.sign_up import SignUpFlow
from broker.flows.status import StatusLists
from broker.flows.streams import EventStreams
from broker.flows.transactions import TransactionBox
from broker.flows.trial import TrialFlow, TrialLinks
from broker.flows.upstream_logout import UpstreamLogout
from broker.flows.upstream_requests import UpstreamRequests
from broker.handles import KeyedHandles
from broker.mail import Mailer, MailServer
from broker.outbox import Deliverer
from broker.passkeys import PasskeyReader
from broker.picture_addresses import SealedPictureAddresses
from broker.pictures import FETCH_SECONDS, LogoPictures, Pictures
from broker.providers_health import ProviderHealth
from broker.registered_sites import KnownSites, RegistrationJudge
from broker.sealing import TransactionSeal
from broker.settings import Settings
from broker.signing import KeyBox
from broker.stores import Stores, open_stores
from broker.telemetry import Log, Telemetry
from broker.traced_log import TracedLog
from broker.upstream_apps import UpstreamApps
from broker.watching import Watched, watching
from broker.web.cookies import Cookies
from broker.web.edge import Edge
from broker.web.endpoint import endpoint, unmatched
from broker.web.headers import SecurityHeaders
from broker.web.letters import Letters
from broker.web.oidc.metadata import build_metadata
from broker.web.render import Renderer
from broker.web.routes import ROUTES
from broker.web.shortcut import Shortcut
from broker.web.world import ProviderFace, World
from providers.preset import OPENID2, Preset
from providers.publishing import load_publishers

KEYS_RELOADED_EVERY: Final = 60.0
"""Seconds: far less than a new key is published ahead of its first use."""
SITES_RELOADED_EVERY: Final = 2.0
"""Seconds, or more where there are very many: for what no request names, as sign-outs; see `registered_sites`."""
LOGOS_LOOKED_AFTER_EVERY: Final = 30.0
"""Seconds until a file that changed, or a logo that an admin looked at, is seen in every process."""
PURGED_EVERY: Final = 30.0
FAILURES_WRITTEN_EVERY: Final = 3.0
PAGES_COMPILED_EVERY: Final = 0.02
"""Seconds: a page takes as long to compile, and requests come in between."""
PURGE_BATCH: Final = 500
PURGE_BATCHES: Final = 200
"""At once: more than anybody can write between two purges."""
STARTED_ANEW_AFTER: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A world that works, and what runs beside the requests."""

    world: World
    keys: KeyFlow
    request_keys: KeyFlow | None
    """For what we ask providers; `None` where none of them wants a signature."""
    deliverer: Deliverer
    health: ProviderHealth
    stores: Stores
    trail: AuditTrail
    trace: FailureTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """The clients of one provider whose people say themselves which servers are asked."""

    http: Egress
    for_pictures: Egress
    pictures: Pictures

    @classmethod
    def of(cls, preset: Preset, exemptions: Sequence[Exemption], log: Log) -> Strangers:
        """No exception holds for what a stranger names, but for hosts that the admin wrote down by name for this very provider."""
        lent = [one for one in exemptions if preset.sandbox or one.host in preset.named_hosts]
        for_pictures = Egress(exemptions=lent, total_seconds=FETCH_SECONDS)
        pictures = Pictures(for_pictures, lambda reason: log.event("no_picture", reason=reason))
        return cls(http=Egress(exemptions=lent), for_pictures=for_pictures, pictures=pictures)


def load_presets(settings: Settings) -> tuple[Preset, ...]:
    """The presets of `providers.toml`. Raises `ConfigurationError` with every problem of every preset."""
    presets: list[Preset] = []
    problems: list[Problem] = []
    for table in settings.providers:
        try:
            presets.append(Preset.from_table(table.id, table.table, table.where))
        except ConfigurationError as error:
            problems += error.problems
    if settings.broker.mode == "production":
        problems += [
            Problem(
                file="providers.toml",
                line=0,
                key=f"{preset.id}.sandbox",
                what="is a sandbox provider: anybody can be anybody there.",
                fix='Remove it, or set mode = "development".',
            )
            for preset in presets
            if preset.sandbox
        ]
    if problems:
        raise ConfigurationError(tuple(problems))
    return tuple(presets)


@asynccontextmanager
async def open_world(settings: Settings, telemetry: Telemetry, clock: Clock | None = None) -> AsyncIterator[Opened]:
    """Open everything, close it again in the opposite order. `clock`: another one than the system's."""
    async with AsyncExitStack() as stack:
        clock, entropy = clock or SystemClock(), SystemEntropy()
        stores = await open_stores(
            database_url=settings.broker.database_url,
            redis_url=settings.broker.redis_url,
            master_key=settings.broker.master_key_bytes,
            clock=clock,
        )
        stack.push_async_callback(stores.close)
        exemptions = [Exemption.parse(text.address, text.ca_file) for text in settings.broker.egress]
        egress, for_pictures = Egress(exemptions=exemptions), Egress(exemptions=exemptions, total_seconds=FETCH_SECONDS)
        # Each of its own, so that hosts whose names take their time keep nobody from the providers of the configuration, and
        # what any visitor can name keeps no site from its keys and from hearing who signed out.
        named, for_sites = Egress(exemptions=exemptions), Egress(exemptions=exemptions)
        stack.push_async_callback(egress.aclose)
        stack.push_async_callback(named.aclose)
        stack.push_async_callback(for_sites.aclose)
        stack.push_async_callback(for_pictures.aclose)
        strangers = {
            preset.id: Strangers.of(preset, exemptions, telemetry.log)
            for preset in load_presets(settings)
            if preset.is_named_by_people
        }
        for one in strangers.values():
            stack.push_async_callback(one.http.aclose)
            stack.push_async_callback(one.for_pictures.aclose)
        pictures = Pictures(for_pictures, lambda reason: telemetry.log.event("no_picture", reason=reason))
        opened = _compose(
            settings,
            telemetry,
            stores,
            egress,
            named,
            for_sites,
            strangers,
            pictures,
            LogoPictures(for_pictures),
            clock,
            entropy,
        )
        await _load_keys(opened)
        await opened.world.clients.reload()
        await opened.world.logos.reload()
        yield opened


async def load_keys(opened: Opened) -> None:
    """All keys that are there now. Raises what `KeyFlow.load` does."""
    await opened.keys.load()
    if opened.request_keys is not None:
        await opened.request_keys.load()


async def _load_keys(opened: Opened) -> None:
    """Raises `ValueError` if they are there but cannot be used: then nothing may start (catalogue 167)."""
    try:
        await load_keys(opened)
    except StoreUnavailable as error:
        await opened.stores.durable.ping()  # raises if it is the database that is away
        msg = f"the signing keys cannot be opened: {error.detail}"
        raise ValueError(msg) from None


def _compose(
    settings: Settings,
    telemetry: Telemetry,
    stores: Stores,
    egress: Egress,
    named: Egress,
    for_sites: Egress,
    strangers: Mapping[ProviderId, Strangers],
    pictures: Pictures,
    logo_pictures: LogoPictures,
    clock: Clock,
    entropy: Entropy,
) -> Opened:
    """`named`: for what any visitor names, `for_sites`: for what sites that there are name, `strangers`: for what whoever
    signs in names, `egress`: for what the admin wrote down."""
    trace = FailureTrace(durable=stores.durable, clock=clock, entropy=entropy)
    log = TracedLog(telemetry.log, trace)
    durable, memory, issuer = stores.durable, stores.memory, settings.broker.public_url
    rules = registration_rules(settings)
    documents = client_documents(settings, stores, named, clock, log)
    sites = KnownSites(settings.clients, durable.registrations, rules, documents)
    subject_key, sid_key = stores.derive("subjects"), stores.derive("sids")
    tables = {table.id: table.where for table in settings.providers}
    box = TransactionBox(
        store=memory.transactions,
        seal=TransactionSeal(stores.derive("transactions"), entropy),
        clock=clock,
        entropy=entropy,
    )
    apps = UpstreamApps(store=memory.transactions, seal=box.seal, clock=clock)
    request_box = KeyBox()
    upstream_requests = UpstreamRequests(
        signer=request_box, store=memory.transactions, seal=box.seal, clock=clock, entropy=entropy, issuer=issuer
    )
    loaded = providers.load(
        load_presets(settings),
        Watched(egress),
        clock,
        locate=lambda id_, key: tables[id_](key),
        named={id_: Watched(one.http) for id_, one in strangers.items()},
        us=Us(name=settings.broker.brand, issuer=issuer, kept=apps, requests=upstream_requests),
    )
    publishers = load_publishers(loaded.presets.values(), egress, clock) if settings.broker.posting_enabled else {}
    addresses = SealedPictureAddresses(stores.derive("pictures"))
    key_box, handles = KeyBox(), KeyedHandles(stores.derive("handles"))
    access = AccessTokens(handles=handles, signer=key_box, clock=clock, entropy=entropy, issuer=issuer)
    ledger = LedgerWriter(clock=clock, entropy=entropy)
    event_writer = EventWriter(durable=durable, clients=sites, clock=clock, entropy=entropy, subject_key=subject_key)
    sessions = SessionFlow(
        durable=durable,
        sessions=memory.sessions,
        clients=sites,
        clock=clock,
        entropy=entropy,
        lifetime=settings.broker.session_lifetime,
        idle_lifetime=settings.broker.session_idle,
        events=event_writer,
    )
    event_signer = EventSigner(signer=key_box, clock=clock, issuer=issuer, subject_key=subject_key, sid_key=sid_key)
    site_tokens = SiteTokens(for_sites, clock)
    request_objects = RequestObjects(tokens=site_tokens, limits=memory.limits, clock=clock, issuer=issuer)
    pushed = PushedRequests(
        objects=request_objects,
        store=memory.transactions,
        seal=box.seal,
        replay=memory.replay,
        limits=memory.limits,
        clock=clock,
        entropy=entropy,
    )
    devices = DeviceRequests(
        store=memory.transactions,
        seal=box.seal,
        replay=memory.replay,
        limits=memory.limits,
        durable=durable,
        clock=clock,
        entropy=entropy,
        issuer=issuer,
        key=stores.derive("user codes"),
    )
    named_by = {id_: preset.ways_named_by for id_, preset in loaded.presets.items()}
    places = Places({id_: half for id_, half in named_by.items() if half is not None})
    letters = LetterWriter(clock=clock, entropy=entropy, is_on=settings.mail.is_on, places=places)

    async def kept_for_posting(account: AccountId, provider: ProviderId, tokens: UpstreamTokens | None) -> bool:
        return await posting.keeps(account, provider, tokens)  # the gate, which takes tokens back by way of `every`

    every = SignInFlow(
        durable=durable,
        replay=memory.replay,
        box=box,
        sessions=sessions,
        ledger=ledger,
        providers=_usable(loaded),
        policies=settings.policies,
        clock=clock,
        entropy=entropy,
        callback_base=f"{issuer}/callback/",
        beside={**loaded.retired, **loaded.trials, **loaded.early},
        age=settings.age,
        letters=letters,
        pictures=pictures if PICTURE in settings.fields else None,
        pictures_of={id_: one.pictures for id_, one in strangers.items()},
        keeps=kept_for_posting,
    )
    circles = SignInCircles(every=every, circles={id_: Circle(loaded.presets[id_].state) for id_ in loaded.early})
    sign_in = circles.open_to(None)
    trials = TrialFlow(
        durable=durable,
        replay=memory.replay,
        links=TrialLinks(key=stores.derive("trials"), clock=clock, entropy=entropy),
        sign_in=replace(every, providers={**every.providers, **loaded.trials}),
        fields=settings.fields,
        watch=watching,
        clock=clock,
        signed=loaded.signed,
    )
    posting = PostingGate(
        durable=durable,
        limits=memory.limits,
        publishers=publishers,
        clients=sites,
        policies=settings.policies,
        clock=clock,
        entropy=entropy,
        ledger=ledger,
        issuer=issuer,
        subject_key=subject_key,
        posts_per_hour=settings.broker.limits.posts_per_hour,
        renew=every.renew_upstream,
        revoke=every.drop_upstream,
    )
    address = AddressFlow(
        durable=durable,
        proofs=memory.transactions,
        seal=box.seal,
        limits=memory.limits,
        letters=letters,
        sessions=sessions,
        clock=clock,
        entropy=entropy,
        codes_open=settings.mail.sign_in_codes,
        posting=posting,
    )
    mail_code = MailCodeFlow(
        durable=durable,
        sign_in=sign_in,
        proofs=memory.transactions,
        seal=box.seal,
        limits=memory.limits,
        letters=letters,
        ledger=ledger,
        policies=settings.policies,
        clock=clock,
        entropy=entropy,
        is_on=settings.mail.sign_in_codes,
    )
    trail = AuditTrail(durable=durable, clock=clock, key=stores.derive("audit"))
    passkeys = PasskeyFlow(
        durable=durable,
        sign_in=sign_in,
        replay=memory.replay,
        seal=box.seal,
        letters=letters,
        ledger=ledger,
        policies=settings.policies,
        clock=clock,
        entropy=entropy,
        trail=trail,
        limits=memory.limits,
        reader=PasskeyReader(),
        party=Party(id=urlsplit(issuer).hostname or "", origin=issuer),
        is_on=settings.broker.passkeys,
    )
    newsletters = frozenset(newsletter.id for newsletter in settings.newsletters)
    releaser = Releaser(
        durable=durable,
        ledger=ledger,
        signer=key_box,
        access=access,
        clients=sites,
        clock=clock,
        issuer=issuer,
        subject_key=subject_key,
        sid_key=sid_key,
        pictures=addresses,
        look=sites.look,
    )
    health = ProviderHealth(
        providers=every.providers,
        report=lambda provider, reason: log.event("provider_state", provider=provider, reason=reason),
    )
    statuses = StatusLists(
        statuses=durable.statuses, signer=key_box, clock=clock, issuer=issuer, key=stores.derive("statuses")
    )
    on = {*every.providers, *([BY_MAIL] if mail_code.is_on else []), *([BY_PASSKEY] if passkeys.is_on else [])}
    account = AccountFlow(
        durable=durable,
        sessions=sessions,
        ledger=ledger,
        clients=sites,
        fields=settings.fields,
        policies=settings.policies,
        newsletters=newsletters,
        limits=memory.limits,
        trail=trail,
        clock=clock,
        posting=posting,
        address=address,
        opens=lambda link: link.provider in on,
    )
    states = BrowserStates(key=stores.derive("browser states")) if settings.broker.session_management else None
    locales = tuple(settings.broker.locales)
    claims = frozenset(str(ask.claim) for client in settings.clients.values() for ask in client.asks)
    exchange = ExchangeFlow(
        durable=durable,
        releaser=releaser,
        ledger=ledger,
        signer=key_box,
        handles=handles,
        access=access,
        clock=clock,
        entropy=entropy,
        issuer=issuer,
        devices=devices,
    )
    gate = GateFlow(
        durable=durable,
        exchange=exchange,
        releaser=releaser,
        ledger=ledger,
        handles=handles,
        signer=key_box,
        seal=box.seal,
        clients=sites,
        clock=clock,
        entropy=entropy,
        issuer=issuer,
    )
    discourse = DiscourseFlow(
        durable=durable,
        exchange=exchange,
        releaser=releaser,
        ledger=ledger,
        seal=box.seal,
        clients=sites,
        issuer=issuer,
        key=stores.derive("verifiers of forums"),
    )
    world = World(
        settings=settings,
        durable=durable,
        memory=memory,
        clock=clock,
        entropy=entropy,
        signer=key_box,
        key_box=key_box,
        cookies=Cookies(
            key=stores.derive("cookies"),
            secure=settings.broker.secure,
            port=urlsplit(issuer).port,
            asks_age=settings.age is not None,
            keeps_state=states is not None,
            has_gates=any(client.forward_auth for client in settings.clients.values()),
        ),
        headers=SecurityHeaders(secure=settings.broker.secure),
        renderer=_renderer(settings),
        log=log,
        metrics=telemetry.metrics,
        metadata=build_metadata(
            issuer,
            locales,
            claims,
            f"{issuer}/privacy",
            f"{issuer}/terms",
            watches_sessions=states is not None,
            # Of those that are for everybody: nobody else knows of the others.
            acr_values=tuple(sorted({acr for id_ in sign_in.providers for acr in loaded.presets[id_].acr_values})),
            registers=rules is not None,
            reads_documents=documents is not None,
        ),
        clients=sites,
        app_origins=AppOrigins.of(settings.clients.values()),
        fields=settings.fields,
        providers=loaded.providers,
        faces={id_: _face(preset, trials.providers.get(id_)) for id_, preset in loaded.presets.items()},
        places=places,
        provider_health=health.state,
        client_auth=ClientAuth(
            clients=sites,
            secret_matches=hashing.matches,
            tokens=site_tokens,
            replay=memory.replay,
            limits=memory.limits,
            clock=clock,
            issuer=issuer,
            failures_per_minute=settings.broker.limits.client_failures_per_minute,
        ),
        proofs=KeyProofs(
            read=read_key_proof,
            nonces=Nonces(stores.derive("proof nonces")),
            replay=memory.replay,
            clock=clock,
            issuer=issuer,
        ),
        box=box,
        sessions=sessions,
        sign_in=sign_in,
        circles=circles,
        mail_code=mail_code,
        passkeys=passkeys,
        trials=trials,
        sign_up=SignUpFlow(
            durable=durable,
            box=box,
            ledger=ledger,
            sign_in=every,
            fields=settings.fields,
            policies=settings.policies,
            newsletters=newsletters,
            clock=clock,
            entropy=entropy,
        ),
        authorize=AuthorizeFlow(
            durable=durable,
            sessions=memory.sessions,
            ledger=ledger,
            clients=sites,
            policies=settings.policies,
            clock=clock,
            entropy=entropy,
            signer=key_box,
            issuer=issuer,
            subject_key=subject_key,
            pushed=pushed,
            statuses=statuses if settings.broker.status_lists else None,
            states=states,
            keep_site=sites.keep,
        ),
        pushed=pushed,
        app_sign_ins=AppSignIns(
            pushed=pushed,
            durable=durable,
            store=memory.transactions,
            seal=box.seal,
            replay=memory.replay,
            providers=sign_in.providers,
            clock=clock,
            entropy=entropy,
        ),
        devices=devices,
        polls=EventPolls(durable=durable, signer=event_signer),
        streams=EventStreams(
            durable=durable,
            access=access,
            writer=event_writer,
            limits=memory.limits,
            clients=sites,
            issuer=issuer,
        ),
        registrations=None
        if rules is None
        else Registrations(
            durable=durable,
            limits=memory.limits,
            judge=RegistrationJudge(rules, named),
            reviews=Reviews(durable=durable, trail=trail, clock=clock),
            digest=hashing.digest,
            clock=clock,
            entropy=entropy,
        ),
        request_objects=request_objects,
        statuses=statuses,
        states=states,
        exchange=exchange,
        gate=gate,
        discourse=discourse,
        releaser=releaser,
        account=account,
        address=address,
        upstream_requests=upstream_requests,
        request_keys=request_box,
        upstream_logout=UpstreamLogout(
            durable=durable,
            sessions=sessions,
            replay=memory.replay,
            clock=clock,
            store=memory.transactions,
            seal=box.seal,
        ),
        merging=MergeFlow(
            durable=durable,
            sign_in=sign_in,
            account=account,
            posting=posting,
            ledger=ledger,
            letters=letters,
            trail=trail,
            policies=settings.policies,
            clock=clock,
            entropy=entropy,
        ),
        removals=RemovalFlow(
            durable=durable,
            sessions=sessions,
            account=account,
            posting=posting,
            letters=letters,
            trail=trail,
            clock=clock,
            key=stores.derive("removals"),
        ),
        posting=posting,
        pictures=PictureFlow(durable=durable, clients=sites, addresses=addresses),
        logos=LogoFlow(
            durable=durable,
            source=logo_pictures,
            limits=memory.limits,
            clock=clock,
            wanted=_logos(settings, loaded.presets),
            report=lambda owner, reason: log.event("no_logo", **whose(owner), reason=reason),
        ),
    )
    deliverer = Deliverer(
        durable=durable,
        clients=sites,
        http=Forms(for_sites),
        signer=key_box,
        clock=clock,
        entropy=entropy,
        log=telemetry.log,
        issuer=issuer,
        subject_key=subject_key,
        sid_key=sid_key,
        events=event_signer,
        take_back=circles.every.take_back,
        letters=_mailer(settings, world, loaded.presets),
        count=telemetry.metrics.logout_token,
    )
    keys = KeyFlow(keys=durable.keys, box=key_box, clock=clock, entropy=entropy)
    is_wanted = any(preset.wants_our_keys for preset in loaded.presets.values())
    return Opened(
        world=world,
        keys=keys,
        request_keys=replace(keys, box=request_box, use=KeyUse.REQUESTS) if is_wanted else None,
        deliverer=deliverer,
        health=health,
        stores=stores,
        trail=trail,
        trace=trace,
    )


def _usable(loaded: providers.LoadedProviders) -> dict[ProviderId, Provider]:
    """Every provider that somebody may use, in the order to show."""
    known = {**loaded.providers, **loaded.early}
    return {id_: known[id_] for id_ in loaded.presets if id_ in known}


def _logos(settings: Settings, presets: Mapping[ProviderId, Preset]) -> dict[str, str]:
    """Where logos are, by whose they are."""
    sites = {str(client.client_id): client.logo for client in settings.clients.values() if client.logo}
    return sites | {of_provider(preset.id): preset.logo for preset in presets.values() if preset.logo}


def registration_rules(settings: Settings) -> Rules | None:
    """What holds for sites that register by themselves; `None`: they may not."""
    return None if settings.broker.registration == "off" else _rules(settings)


def client_documents(
    settings: Settings, stores: Stores, egress: Egress, clock: Clock, log: TracedLog
) -> ClientDocuments | None:
    """Reads what sites say of themselves at the address that is their id; `None`: none of them is known here."""
    if settings.broker.client_documents == "off":
        return None
    whose = document_rules(settings)
    return ClientDocuments(
        http=egress,
        whose=whose,
        rules=_rules(settings, listed=whose.hosts),
        limits=stores.memory.limits,
        clock=clock,
        unit=stores.durable.unit,
        report=lambda host, outcome: log.event("client_document", host=host, outcome=outcome),
    )


def document_rules(settings: Settings) -> DocumentRules:
    """Whose documents may be read."""
    return DocumentRules(
        issuer=settings.broker.public_url,
        hosts=frozenset(settings.broker.client_document_hosts),
        closed=_rules(settings).closed_names,
        only_listed=settings.broker.client_documents == "listed",
    )


def _rules(settings: Settings, *, listed: frozenset[str] = frozenset()) -> Rules:
    """`listed`: hosts of which the admin said that documents lie there, so that they may be called there, too."""
    exceptions = settings.broker.egress
    lent = frozenset(
        one.address.lower()
        for one in exceptions
        if one.registered_sites or settings.broker.development or one.address.lower().removesuffix(":443") in listed
    )
    return Rules(
        issuer=settings.broker.public_url,
        fields=settings.fields,
        exempt=lent,
        closed=frozenset(one.address.lower() for one in exceptions) - lent,
        development=settings.broker.development,
        pkce_required=settings.broker.registration_pkce,
    )


def _mailer(settings: Settings, world: World, presets: Mapping[ProviderId, Preset]) -> Mailer:
    mail = settings.mail
    server = MailServer(
        host=mail.host,
        port=mail.port,
        security=mail.security,
        user_name=mail.user_name,
        password=mail.password,
        ca_file=mail.ca_file,
    )
    words = Letters(
        renderer=world.renderer,
        public_url=settings.broker.public_url,
        brand=settings.broker.brand,
        labels={id_: preset.label for id_, preset in presets.items()},
    )
    return Mailer(
        server=server if mail.host else None,
        folder=mail.folder,
        sender=mail.sender,
        sender_name=mail.sender_name,
        compose=words.compose,
        clock=world.clock,
        entropy=world.entropy,
    )


def _face(preset: Preset, provider: object) -> ProviderFace:
    return ProviderFace(
        id=preset.id,
        label=preset.label,
        brand=preset.brand,
        host=preset.shown_host,
        privacy_policy_url=preset.privacy_policy_url,
        is_sandbox=preset.sandbox,
        issuer=preset.issuer,
        speaks_openid2=preset.kind in OPENID2,
        asks=provider.asks if isinstance(provider, Finder) else "",
    )


def _renderer(settings: Settings) -> Renderer:
    return Renderer(
        brand=settings.broker.brand,
        locales=settings.broker.locales,
        default_locale=settings.broker.default_locale,
        templates=paths.templates(),
    )


def create_app(
    settings: Settings, telemetry: Telemetry | None = None, clock: Clock | None = None, *, warm: bool = False
) -> ASGIApp:
    """The application. Stores open at start-up, background work starts with them and stops with them.

    `warm`: compile all pages beside the first requests, for an application that will be asked for most of them.
    """
    telemetry = telemetry or Telemetry.for_settings(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_world(settings, telemetry, clock) as opened:
            app.state.opened, app.state.world = opened, opened.world
            tasks = [asyncio.create_task(work) for work in background(opened)]
            if warm:
                tasks.append(asyncio.create_task(opened.world.renderer.warm(PAGES_COMPILED_EVERY)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                with suppress(StoreUnavailable):
                    await opened.trace.flush()

    routes = [
        StarletteRoute(route.path, endpoint(route), methods=[route.method], name=f"{route.method} {route.name}")
        for route in ROUTES
    ]
    app = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={404: unmatched, 405: unmatched, 400: unmatched}
    )
    app.router.redirect_slashes = False
    return Edge(Shortcut(app, ROUTES), public_url=settings.broker.public_url, trusted=settings.broker.trusted_proxies)


def background(opened: Opened) -> tuple[Any, ...]:
    """What runs beside the requests: deliveries, key reloads, purging, provider checks. None of it ends by a failure."""
    log = opened.world.log
    return (
        _kept_up(log, "deliveries", opened.deliverer.run),
        _kept_up(log, "providers", opened.health.run),
        _every(log, "keys", KEYS_RELOADED_EVERY, lambda: load_keys(opened)),
        _every(log, "failures", FAILURES_WRITTEN_EVERY, opened.trace.flush),
        _every(log, "registered sites", SITES_RELOADED_EVERY, opened.world.clients.keep_up),
        _every(log, "logos", LOGOS_LOOKED_AFTER_EVERY, opened.world.logos.bring_up_to_date, first=0.0),
        _every(log, "purge", PURGED_EVERY, lambda: purge_all(opened)),
    )


async def _kept_up(log: Any, name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Work that goes on for good: if it breaks all the same, that is said and it starts anew."""
    while True:
        try:
            await work()
        except Exception as error:  # whatever it is, the next delivery must not be lost to it
            log.fault("background_broke", error, step=name)
        await asyncio.sleep(STARTED_ANEW_AFTER)


async def _every(
    log: Any, name: str, seconds: float, work: Callable[[], Awaitable[object]], *, first: float | None = None
) -> None:
    """Again and again; `first`: so many seconds until the first time, where that is another. A store that is away, or a key that is corrupt, is said; what was there before stays in use."""
    wait = seconds if first is None else first
    while True:
        await asyncio.sleep(wait)
        wait = seconds
        try:
            await work()
        except Exception as error:  # nothing that goes wrong here may end the work for good
            log.fault("background_failed", error, step=name)


async def purge_all(opened: Opened) -> None:
    """What is over goes, in small steps, as long as whole batches of it are there: nothing fills a disk for good."""
    now, until = opened.world.clock.now(), time.monotonic() + PURGED_EVERY / 2
    for purge in (opened.stores.durable.purge, opened.stores.memory.purge):
        for _ in range(PURGE_BATCHES):
            if await purge(now, PURGE_BATCH) < PURGE_BATCH or time.monotonic() >= until:
                break
            await asyncio.sleep(0)

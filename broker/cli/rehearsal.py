"""A rehearsal: an example person signs in at a site, in a world of its own that is gone afterwards.

The configuration is the real one, the flows are the server's own, and nothing leaves this process: memory in the place of
the database, and no provider, site or mail server is asked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from broker.app import open_world
from broker.chance import SystemClock
from broker.domain import base64url
from broker.domain.account import Account, AccountStatus, ProfileValue, Source
from broker.domain.checks.authorization import check_redirect_uri, read_request
from broker.domain.checks.dpop import Shown
from broker.domain.checks.token import challenge_of
from broker.domain.claims import ADDRESS, GIVEN, LABELS, LOCALE, PHONE, PICTURE, PREFERRED_USERNAME, normalise
from broker.domain.client import Client, DpopUse, asked_claims
from broker.domain.discourse import returns_to, signature
from broker.domain.gate import scope_of
from broker.domain.grant import JWT, AuthorizationRequest
from broker.domain.picture import kept_as
from broker.domain.policy import notice_version
from broker.domain.session import Session
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId, ClaimName, IdentityKey, ProviderId
from broker.flows.answers import Answer
from broker.flows.device import GRANT_TYPE as DEVICE_GRANT
from broker.telemetry import Log, NoMetrics, Telemetry

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.web.world import World

EXAMPLE: Final[Mapping[ClaimName, str]] = {name: f"example {LABELS[name].lower()}" for name in GIVEN} | {
    PREFERRED_USERNAME: "ana",
    ClaimName("name"): "Ana Example",
    ClaimName("given_name"): "Ana",
    ClaimName("family_name"): "Example",
    ClaimName("email"): "ana@example.org",
    PICTURE: kept_as("example"),
    ClaimName("profile"): "https://www.example.org/ana",
    ClaimName("website"): "https://www.example.org/",
    ClaimName("birthdate"): "1990-05-17",
    ClaimName("zoneinfo"): "Europe/Paris",
    PHONE: "+33199001234",
    ADDRESS: normalise(ADDRESS, {"street_address": "1 rue de l'Exemple", "locality": "Paris", "country": "France"})
    or "",
    LOCALE: "en",
}
"""Who rehearses: everything a person can share, and nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What the site would get."""

    own: Mapping[str, Any] | None
    """What a token of the site's own is worth; nothing for a site that gets none."""
    redirect_uri: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The token endpoint's answer; empty for a site where nobody signs in by a browser."""
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """What a proxy would hand on; nothing for a site without one."""
    forum: Mapping[str, str] = field(default_factory=dict)
    """What a forum that asks by DiscourseConnect is answered; nothing for a site that asks otherwise."""

    @property
    def is_sign_in(self) -> bool:
        """Whether anybody was signed in."""
        return bool(self.answer or self.forum)

    @property
    def id_token(self) -> Mapping[str, Any] | None:
        """What the ID token says."""
        return claims_of(self.answer["id_token"]) if self.answer else None

    @property
    def access_token(self) -> Mapping[str, Any] | None:
        """What the access token says, for a site whose interfaces can read it."""
        token = str(self.answer.get("access_token", ""))
        return claims_of(token) if "." in token else None

    @property
    def session_token(self) -> Mapping[str, Any] | None:
        """What the session token says, for a site that gets one."""
        return claims_of(self.answer["session_token"]) if "session_token" in self.answer else None


def claims_of(token: str) -> Mapping[str, Any]:
    """The claims of a token of ours, just made: nothing here needs its signature."""
    body = token.split(".")[1]
    claims: Mapping[str, Any] = json.loads(base64url.decoded_loosely(body))
    return claims


async def rehearse(settings: Settings, client: Client, *, refused: frozenset[ClaimName] = frozenset()) -> Rehearsed:
    """From the site's request to what it learns, for the example person who shares all but `refused`.

    Raises what the server would: a `BrokerError`.
    """
    broker = replace(settings.broker, database_url="memory://", redis_url=None)
    quiet = Telemetry(log=Log(BytesIO()), metrics=NoMetrics())
    async with open_world(replace(settings, broker=broker), quiet) as opened:
        return await _Rehearsal(opened.world, client, refused).run()


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    world: World
    client: Client
    refused: frozenset[ClaimName]

    async def run(self) -> Rehearsed:
        client, world = self.client, self.world
        if not client.redirect_uris and not client.device_grant:
            return Rehearsed(own=await self._own())
        return_to = returns_to(client)
        if return_to is not None:
            return Rehearsed(redirect_uri=return_to, forum=await self._forum(return_to), own=await self._own())
        verifier, redirect_uri = world.entropy.token(32), ""
        if client.redirect_uris:
            code, redirect_uri = await self._code(verifier)
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
            if client.pkce_required:
                form["code_verifier"] = verifier
        else:
            form = {"grant_type": DEVICE_GRANT, "device_code": await self._device_code()}
        shown = self._shown()
        answer = await world.exchange.exchange(client, form, shown)
        userinfo = await world.releaser.userinfo(str(answer["access_token"]), shown)
        headers = await self._headers(str(answer["access_token"])) if client.forward_auth else {}
        return Rehearsed(
            own=await self._own(), redirect_uri=redirect_uri, answer=answer, userinfo=userinfo, headers=headers
        )

    async def _forum(self, return_to: str) -> Mapping[str, str]:
        """A forum's question, signed as it would be, and what the answer tells it."""
        client, flow, secret = self.client, self.world.discourse, self.client.discourse_connect_secret
        question = urlencode({"nonce": self.world.entropy.token(12), "return_sso_url": return_to})
        sso = base64.b64encode(question.encode()).decode()
        params = {"sso": sso, "sig": signature(sso, secret) if secret else ""}
        answered = (await self._share(flow.begin(flow.forum(params), params))).params
        _, asked = flow.asked_by(answered["state"])
        end = urlsplit(await flow.finish(client, asked, answered))
        told = dict(parse_qsl(end.query))
        return dict(parse_qsl(base64.b64decode(told["sso"]).decode()))

    def _shown(self) -> Shown | None:
        """The key of a site that has to show one."""
        if self.client.dpop is DpopUse.OPTIONAL:
            return None
        return Shown(jkt=challenge_of(self.world.entropy.token(32)), has_nonce=True)

    async def _own(self) -> Mapping[str, Any] | None:
        client, exchange = self.client, self.world.exchange
        if not client.service_scopes:
            return None
        answer = await exchange.exchange(client, {"grant_type": "client_credentials"}, self._shown())
        return await exchange.introspect(client, str(answer["access_token"]))

    async def _headers(self, access_token: str) -> Mapping[str, str]:
        exchange = self.world.exchange
        entry = exchange.handles.entry(exchange.access.read(access_token).grant)
        return await self.world.gate.who(self.client, entry) or {}

    async def _code(self, verifier: str) -> tuple[str, str]:
        """The person shares, and the site's code with the address it is sent to."""
        client, world = self.client, self.world
        params = {
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uris[0],
            "response_type": "code",
            "scope": scope_of(client),
            "state": world.entropy.token(12),
            "nonce": world.entropy.token(12),
        }
        if client.pkce_required:
            params |= {"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"}
        if client.is_told_signed:
            params["response_mode"] = JWT
        redirect_uri = check_redirect_uri(params, client)
        answered = (await self._share(read_request(params, client, redirect_uri))).params
        said = claims_of(answered["response"]) if client.is_told_signed else answered
        return said["code"], redirect_uri

    async def _device_code(self) -> str:
        """The same for a site whose people sign in on devices alone: the device's code, which the person let in."""
        devices = self.world.devices
        begun = await devices.begin(self.client, {"scope": scope_of(self.client)}, address="")
        device = await devices.find(begun.user_code, address="")
        await devices.answered((await self._share(devices.request(device))).params)
        return begun.device_code

    async def _share(self, request: AuthorizationRequest) -> Answer:
        world, client = self.world, self.client
        situation = await world.authorize.look(client, request, await self._signed_in())
        ticked = frozenset(ask.claim for ask in asked_claims(client, request.scopes)) - self.refused
        return await world.authorize.share(situation, self._transaction(), ticked=ticked, typed={}, locale="en")

    async def _signed_in(self) -> Session:
        world, now = self.world, self.world.clock.now()
        account = Account(
            id=AccountId(f"rehearsal-{world.entropy.token(8)}"),
            profile={name: self._value(text) for name, text in EXAMPLE.items()},
            status=AccountStatus.ACTIVE,
            created_at=now,
            agreed_notice=notice_version(world.settings.policies, now.date()),
        )
        unit = world.durable.unit()
        unit.add_account(account)
        await unit.commit()
        started = await world.sessions.start(
            account=account.id,
            provider=ProviderId("rehearsal"),
            key=IdentityKey(issuer="rehearsal", subject="1"),
            auth_time=now,
            amr=("fed",),
            acr=None,
            user_agent="",
            replaces=None,
        )
        return started.session

    @staticmethod
    def _value(text: str) -> ProfileValue:
        return ProfileValue(value=text, source=Source.PERSON, verified=True)

    def _transaction(self) -> SignInTransaction:
        now: datetime = self.world.clock.now()
        return SignInTransaction(
            id=self.world.entropy.token(12),
            purpose=TransactionPurpose.SIGN_IN,
            created_at=now,
            expires_at=now + timedelta(minutes=5),
        )


def now() -> datetime:
    """The time, for names of files."""
    return SystemClock().now()

"""What many take at once, and what must hold afterwards, whoever died in between.

A kind lays something into the database as the pages would, lets every taker send the same request, and then checks from
outside (what the tokens are worth) and from inside (what the database holds).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import Response
from tests.bench.client import Answer
from tests.races.arena import Arena
from tests.serve.rig import HOST
from tests.support.builders import account, code, grant, link, receipt

from broker.chance import SystemEntropy
from broker.domain.account import AccountStatus
from broker.domain.claims import NAME
from broker.domain.checks.token import challenge_of
from broker.domain.device import ANSWER_PATH, EARLY, INTERVAL
from broker.domain.grant import OFFLINE_ACCESS, Redeemed
from broker.domain.policy import notice_version
from broker.domain.values import AccountId, ClientId, IdentityKey, ProviderId, Scope
from broker.flows.device import GRANT_TYPE as DEVICE_GRANT
from broker.flows.device import DeviceRequests
from broker.flows.session import SessionFlow
from broker.sealing import TransactionSeal
from broker.web.cookies import Cookies

FORUM: Final = ClientId("forum")
ISSUER: Final = f"https://{HOST}"
REDIRECT: Final = "https://forum.test/callback"
VERIFIER: Final = "v" * 64
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REQUEST: Final[Mapping[str, str]] = {
    "scope": "openid profile",
    "redirect_uri": REDIRECT,
    "state": "s",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
DAY: Final = timedelta(days=1)


class Kind(Protocol):
    """One kind of race."""

    async def race(self, arena: Arena, *, kills: bool) -> int:
        """One round. Returns how many takers succeeded; raises `AssertionError` if a rule is broken."""
        ...


async def lay_code(arena: Arena, *, challenge: str = CHALLENGE, redirect: str = REDIRECT) -> str:
    """A code of somebody new who lets the forum act while they are away."""
    secret, now = f"dwc_{secrets.token_urlsafe(32)}", arena.clock.now()
    who = account(secrets.token_hex(12), status=AccountStatus.ACTIVE)
    ours = grant(
        who.id,
        id=secrets.token_hex(12),
        created_at=now,
        auth_time=now,
        resources=(),
        expires_at=now + DAY,
        scopes=frozenset({Scope("openid"), Scope("profile"), OFFLINE_ACCESS}),
        claims={NAME: "v"},
    )
    unit = arena.durable.unit()
    unit.add_account(who)
    unit.add_grant(ours)
    unit.add_code(
        code(
            ours,
            digest=hashlib.sha256(secret.encode()).digest(),
            redirect_uri=redirect,
            code_challenge=challenge,
            expires_at=now + timedelta(minutes=5),
        )
    )
    await unit.commit()
    return secret


def redemption(secret: str) -> Mapping[str, str]:
    return {"grant_type": "authorization_code", "code": secret, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}


def refreshing(token: str) -> Mapping[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token}


def sort(answers: list[Answer | None]) -> list[dict[str, Any]]:
    """The tokens that were given out; every other answer that came must be a plain `invalid_grant`."""
    good = [json.loads(one.body) for one in answers if one is not None and one.status == 200]
    others = {(one.status, one.text) for one in answers if one is not None and one.status != 200}
    assert {(status, json.loads(text).get("error")) for status, text in others} <= {(400, "invalid_grant")}, others
    return good


async def surely(arena: Arena, path: str, form: Mapping[str, str]) -> Answer:
    """An answer of whichever server is there."""
    for taker in range(len(arena.takers)):
        if (answer := await arena.post(taker, path, form)) is not None:
            return answer
    raise AssertionError("nobody answers")


async def check_dead(arena: Arena, tokens: Mapping[str, Any]) -> None:
    """Neither token is worth anything any more."""
    active = json.loads((await surely(arena, "/introspect", {"token": tokens["access_token"]})).body)
    assert active == {"active": False}
    refused = await surely(arena, "/token", refreshing(tokens["refresh_token"]))
    assert (refused.status, json.loads(refused.body)["error"]) == (400, "invalid_grant")


class Redemption:
    """One code: at most one gets tokens, and since it came back, those are worth nothing (catalogue 21)."""

    async def race(self, arena: Arena, *, kills: bool) -> int:
        form = redemption(await lay_code(arena))
        good = sort(await arena.at_once(lambda taker: arena.post(taker, "/token", form), kills=kills))
        if kills:
            arena.wait_until_whole()
        assert len(good) <= 1, "one code was redeemed twice"
        again = await surely(arena, "/token", form)
        assert (again.status, json.loads(again.body)["error"]) == (400, "invalid_grant") or (kills and not good)
        if again.status == 200:  # every taker was on the server that died, before it wrote
            assert (await surely(arena, "/token", form)).status == 400
            good = [json.loads(again.body)]
        for tokens in good:
            await check_dead(arena, tokens)
        return len(good)


class Rotation:
    """One refresh token: never two different children; one retry at most; then the family is over (catalogue 88)."""

    async def race(self, arena: Arena, *, kills: bool) -> int:
        first = json.loads((await surely(arena, "/token", redemption(await lay_code(arena)))).body)
        form = refreshing(first["refresh_token"])
        good = sort(await arena.at_once(lambda taker: arena.post(taker, "/token", form), kills=kills))
        if kills:
            arena.wait_until_whole()
        for _ in range(2 if kills else 0):  # what was lost may have been the first step, its retry, or nothing
            good += sort([await surely(arena, "/token", form)])
        assert len({one["refresh_token"] for one in good}) <= 1, "one refresh token has two children"
        assert len(good) <= 2, "one refresh token was used three times"
        refused = await surely(arena, "/token", form)
        assert (refused.status, json.loads(refused.body)["error"]) == (400, "invalid_grant")
        for tokens in (first, *good):
            await check_dead(arena, tokens)
        return len(good)


class Pushed:
    """One pushed request of somebody signed in who agreed before: it leads to one answer (RFC 9126 §4, catalogue 53)."""

    async def race(self, arena: Arena, *, kills: bool) -> int:
        who, cookie = await lay_session(arena)
        answer = await surely(arena, "/par", {"response_type": "code", **REQUEST})
        assert answer.status == 201, answer.text
        asked = {"client_id": FORUM, "request_uri": json.loads(answer.body)["request_uri"]}
        path = f"/authorize?{urlencode(asked)}"
        codes = found_codes(await arena.at_once(lambda taker: arena.get(taker, path, cookie), kills=kills))
        if kills:
            arena.wait_until_whole()
        assert len(codes) <= 1, "one pushed request led to two codes"
        assert not found_codes([await arena.get(0, path, cookie)]) or (kills and not codes)
        for secret in codes:
            tokens = await surely(arena, "/token", redemption(secret))
            assert tokens.status == 200, tokens.text
        if not kills:  # whom the server's death stopped may have written a code that nobody was given
            live = [one for one in await arena.durable.grants.of_account(who) if one.revoked_at is None]
            assert len(live) == len(codes), "an answer that was not given left something behind"
        return len(codes)


class Devices:
    """One device, eight people who let it in and eight processes of it that ask: one answer counts, one asker gets it.

    What was given in vain is taken back (RFC 8628 §3.5).
    """

    async def race(self, arena: Arena, *, kills: bool) -> int:
        answer = await surely(arena, "/device-authorization", {"scope": "openid profile"})
        assert answer.status == 200, answer.text
        told = json.loads(answer.body)
        devices = devices_of(arena)
        device = await devices.find(told["user_code"], address=secrets.token_hex(8))
        state = devices.request(device).state or ""
        verifier = challenge_of(device.code_verifier)
        codes = [await lay_code(arena, challenge=verifier, redirect=f"{ISSUER}{ANSWER_PATH}") for _ in arena.takers]
        paths = [f"{ANSWER_PATH}?{urlencode({'state': state, 'code': code})}" for code in codes]
        brought = await arena.at_once(lambda taker: arena.get(taker, paths[taker], ""), kills=False)
        assert {one.status for one in brought if one is not None} == {303}
        form = {"grant_type": DEVICE_GRANT, "device_code": told["device_code"]}
        good = self._sort(await arena.at_once(lambda taker: arena.post(taker, "/token", form), kills=kills))
        if kills:
            arena.wait_until_whole()
        assert len(good) <= 1, "one device got in twice"
        await asyncio.sleep((INTERVAL - EARLY).total_seconds() if kills else 0)
        again = self._sort([await surely(arena, "/token", form)])
        assert not again or (kills and not good), "one device got in twice"
        good += again
        for tokens in good:
            active = json.loads((await surely(arena, "/introspect", {"token": tokens["access_token"]})).body)
            assert active["active"] is True
        left = [secret for secret in codes if await self._is_good(arena, secret)]
        # A server that died between taking the device and redeeming its code leaves that one behind; its verifier, which
        # this test knows and nobody else ever did, is gone.
        assert len(left) <= (kills and not good), "a code that nobody got is still good"
        return len(good)

    @staticmethod
    def _sort(answers: list[Answer | None]) -> list[dict[str, Any]]:
        """The tokens that were given out; whoever else was answered is too fast, or too late."""
        found = [(one.status, json.loads(one.body)) for one in answers if one is not None]
        refused = {(status, body["error"]) for status, body in found if status != 200}
        assert refused <= {(400, "invalid_grant"), (400, "slow_down")}, refused
        return [body for status, body in found if status == 200]

    @staticmethod
    async def _is_good(arena: Arena, secret: str) -> bool:
        digest = hashlib.sha256(secret.encode()).digest()
        return isinstance(await arena.durable.grants.consume_code(digest, arena.clock.now()), Redeemed)


def devices_of(arena: Arena) -> DeviceRequests:
    """What the servers know of devices, seen from here: a person's pages are not what is raced."""
    memory, entropy = arena.stores.memory, SystemEntropy()
    return DeviceRequests(
        store=memory.transactions,
        seal=TransactionSeal(arena.stores.derive("transactions"), entropy),
        replay=memory.replay,
        limits=memory.limits,
        durable=arena.durable,
        clock=arena.clock,
        entropy=entropy,
        issuer=ISSUER,
        key=arena.stores.derive("user codes"),
    )


async def lay_session(arena: Arena) -> tuple[AccountId, str]:
    """Somebody new who is signed in and has agreed to what the forum asks: their account and their browser's cookie."""
    now, settings = arena.clock.now(), arena.settings
    forum = settings.clients[FORUM]
    key = IdentityKey(issuer="https://idp.test", subject=secrets.token_hex(12))
    who = account(
        secrets.token_hex(12),
        status=AccountStatus.ACTIVE,
        agreed_notice=notice_version(settings.policies, now.date()),
    )
    unit = arena.durable.unit()
    unit.add_account(who)
    unit.add_link(link(who, provider=ProviderId("idp"), key=key))
    unit.append_receipt(
        receipt(
            who.id,
            counterparty=str(FORUM),
            shown=tuple(ask.claim for ask in forum.asks),
            accepted=tuple(ask.claim for ask in forum.asks),
            refused=(),
            versions={ask.claim: ask.version for ask in forum.asks},
            counterparty_version=forum.version,
            decided_at=now,
            withdraws=None,
        )
    )
    await unit.commit()
    sessions = SessionFlow(
        durable=arena.durable,
        sessions=arena.stores.memory.sessions,
        clients=settings.clients,
        clock=arena.clock,
        entropy=SystemEntropy(),
    )
    started = await sessions.start(
        account=who.id,
        provider=ProviderId("idp"),
        key=key,
        auth_time=now,
        amr=("fed",),
        acr=None,
        user_agent="",
        replaces=None,
    )
    cookies, response = Cookies(key=arena.stores.derive("cookies"), secure=True, port=None), Response()
    cookies.set_session(response, started.secret)
    return who.id, response.headers["set-cookie"].partition(";")[0]


def found_codes(answers: list[Answer | None]) -> list[str]:
    """The codes that browsers were sent off with; every other answer that came must be a refusal."""
    queries = [dict(parse_qsl(urlsplit(one.header("location")).query)) for one in answers if one and one.status == 303]
    pages = {one.status for one in answers if one is not None and one.status != 303}
    assert pages <= {410}, pages  # over: its answer was given
    assert {query.get("error", "none") for query in queries if "code" not in query} <= {"invalid_request"}, queries
    return [query["code"] for query in queries if "code" in query]


KINDS: Final[Mapping[str, Kind]] = {
    "code": Redemption(),
    "refresh": Rotation(),
    "pushed": Pushed(),
    "device": Devices(),
}

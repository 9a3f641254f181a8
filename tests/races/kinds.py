"""What many take at once, and what must hold afterwards, whoever died in between.

A kind lays something into the database as the pages would, lets every taker send the same request, and then checks from
outside (what the tokens are worth) and from inside (what the database holds).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from tests.bench.client import Answer
from tests.races.arena import Arena
from tests.support.builders import account, code, grant

from broker.domain.account import AccountStatus
from broker.domain.claims import NAME
from broker.domain.grant import OFFLINE_ACCESS
from broker.domain.values import Scope

REDIRECT: Final = "https://forum.test/callback"
VERIFIER: Final = "v" * 64
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
DAY: Final = timedelta(days=1)


class Kind(Protocol):
    """One kind of race."""

    async def race(self, arena: Arena, *, kills: bool) -> int:
        """One round. Returns how many takers succeeded; raises `AssertionError` if a rule is broken."""
        ...


async def lay_code(arena: Arena) -> str:
    """A code of somebody new who lets the forum act while they are away."""
    secret, now = f"dwc_{secrets.token_urlsafe(32)}", arena.clock.now()
    who = account(secrets.token_hex(12), status=AccountStatus.ACTIVE)
    ours = grant(
        who.id,
        id=secrets.token_hex(12),
        created_at=now,
        auth_time=now,
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
            redirect_uri=REDIRECT,
            code_challenge=CHALLENGE,
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
        good = sort(await arena.at_once("/token", form, kills=kills))
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
        good = sort(await arena.at_once("/token", form, kills=kills))
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


KINDS: Final[Mapping[str, Kind]] = {"code": Redemption(), "refresh": Rotation()}

"""A device asks, a person answers in a browser somewhere else, the device hears of it (RFC 8628).

The browser goes through an ordinary authorization request, made by us: its answer comes back to us, and the code in it
waits for the device. So everything that holds for a site's sign-in holds for a device's: the same pages, consent,
records and gates, and one code that is good once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.domain.checks.device import check_allowed, check_device
from broker.domain.checks.resource import asked
from broker.domain.checks.token import Params, challenge_of
from broker.domain.client import Client
from broker.domain.device import (
    ANSWER_PATH,
    EARLY,
    INTERVAL,
    KEPT,
    LIFETIME,
    DeviceRequest,
    make_user_code,
    read_user_code,
    spelled,
)
from broker.domain.grant import AuthorizationRequest, Redeemed
from broker.domain.ports import Clock, Durable, Entropy, Limits, Replay, Transactions
from broker.domain.values import ClientId, Scope
from broker.errors import (
    AuthorizationPending,
    DeviceRefused,
    ExpiredDeviceCode,
    FormInvalid,
    InvalidGrant,
    InvalidRequest,
    SignInExpired,
    SlowDown,
    TooManyAttempts,
)
from broker.flows.transactions import Seal

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
USER_CODE: Final = "user_code"
REQUESTS_PER_MINUTE: Final = 30
"""From one address, for sites that prove nothing."""
GUESSES: Final = 20
"""Codes typed from one address in `GUESSING`: enough for somebody who reads badly."""
GUESSING: Final = 600
_STATE: Final = "state of a device"


class Outcome(StrEnum):
    """What the person's answer came to."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    """Nobody refused, and nothing was given: the sign-in did not come about."""
    LATE = "late"
    """The device's time was over, or somebody had answered it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the device is told (RFC 8628 §3.2)."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    lifetime: timedelta = LIFETIME
    interval: timedelta = INTERVAL


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequests:
    """`store` keeps them sealed, under digests; `key` blinds the codes that people type, which are short."""

    store: Transactions
    seal: Seal
    replay: Replay
    limits: Limits
    durable: Durable
    clock: Clock
    entropy: Entropy
    issuer: str
    key: bytes

    async def begin(self, client: Client, params: Params, *, address: str) -> Begun:
        """A device asks. Raises what `check_device` raises, and `TooManyAttempts`."""
        scopes = check_device(params, client)
        now = self.clock.now()
        if client.is_public:
            await self._limit(f"device:{address}", REQUESTS_PER_MINUTE, 60, "device requests of a public client")
        device_code, user_code = f"dwd_{self.entropy.token(32)}", await self._free_code(now)
        name, typed = _name(device_code), self._typed(user_code)
        kept = json.dumps(
            {
                "client": client.client_id,
                "scopes": sorted(scopes),
                "resources": asked(params),
                "at": now.isoformat(),
                "verifier": self.entropy.token(48),
                "typed": typed,
            }
        )
        await self.store.save(name, self.seal.seal_text(kept, name).encode(), now + LIFETIME + KEPT)
        await self.store.save(typed, self.seal.seal_text(name, typed).encode(), now + LIFETIME)
        return Begun(device_code=device_code, user_code=spelled(user_code))

    async def find(self, text: str, *, address: str) -> DeviceRequest:
        """Whose code a person typed.

        Raises `FormInvalid` (`no_device_code`, `unknown_device_code`) and, for who tries many, `TooManyAttempts`.
        """
        user_code = read_user_code(text)
        if user_code is None:
            raise FormInvalid({USER_CODE: "no_device_code"})
        await self._limit(f"user code:{address}", GUESSES, GUESSING, "device codes typed")
        typed = self._typed(user_code)
        sealed = await self.store.load(typed, self.clock.now())
        name = self.seal.open_text(sealed.decode(), typed) if sealed is not None else None
        found = await self._load(name) if name is not None else None
        if found is None:
            raise FormInvalid({USER_CODE: "unknown_device_code"})
        return found

    def request(self, device: DeviceRequest) -> AuthorizationRequest:
        """What the person's browser asks for it."""
        return AuthorizationRequest(
            client_id=device.client_id,
            redirect_uri=f"{self.issuer}{ANSWER_PATH}",
            response_type="code",
            response_mode="query",
            scopes=device.scopes,
            resources=device.resources,
            state=self.seal.seal_text(device.name, _STATE),
            code_challenge=challenge_of(device.code_verifier),
            device=device.name,
        )

    async def refuse(self, device: DeviceRequest) -> Outcome:
        """The person does not know this device."""
        return await self._answer(device, "", "access_denied")

    async def answered(self, params: Mapping[str, str]) -> tuple[ClientId | None, Outcome]:
        """The browser brings the answer: for which site, and what it came to. Raises `SignInExpired` for none of ours.

        The same answer brought once more changes nothing. One that comes second is taken back: its grant ends.
        """
        name = self.seal.open_text(params.get("state", ""), _STATE)
        code, error = params.get("code", ""), params.get("error", "")
        if name is None or bool(code) == bool(error):
            raise SignInExpired(detail="no answer for a device")
        found = await self._load(name, is_over_too=True)
        if found is None:
            if code:
                await self._take_back(code)
            return None, Outcome.LATE
        return found.client_id, await self._answer(found, code, error)

    async def poll(self, client: Client, params: Params) -> Params:
        """The device asks whether it may come in: what it redeems its code with, once.

        Raises `AuthorizationPending`, `SlowDown`, `DeviceRefused`, `ExpiredDeviceCode` (RFC 8628 §3.5), `InvalidGrant`
        for a code that is unknown, used or another site's, and `UnauthorizedClient`.
        """
        check_allowed(client)
        device_code = params.get("device_code")
        if device_code is None:
            raise InvalidRequest(detail="device_code missing", public="The parameter device_code is missing.")
        name = _name(device_code)
        device, now = await self._load(name, is_over_too=True), self.clock.now()
        if device is None or device.client_id != client.client_id:
            raise InvalidGrant(detail="device code unknown, used or of another site")
        window = int((INTERVAL - EARLY).total_seconds())
        if await self.limits.hit(f"poll:{name}", limit=1, window=window, now=now):
            raise SlowDown(detail="device asks too often")
        if now >= device.expires_at:
            raise ExpiredDeviceCode(detail="device code over")
        sealed = await self.store.load(f"{name}:answer", now)
        if sealed is None:
            raise AuthorizationPending(detail="nobody answered yet")
        answer = json.loads(self.seal.open_text(sealed.decode(), f"{name}:answer") or "{}")
        if not await self.store.delete(name):
            raise InvalidGrant(detail="device code used by another request")
        await self.store.delete(f"{name}:answer")
        if not answer.get("code"):
            raise DeviceRefused(detail="the person refused, or could not sign in")
        return {
            **{key: value for key, value in params.items() if key != "device_code"},
            "code": answer["code"],
            "code_verifier": device.code_verifier,
            "redirect_uri": f"{self.issuer}{ANSWER_PATH}",
        }

    async def _answer(self, device: DeviceRequest, code: str, error: str) -> Outcome:
        outcome = Outcome.DONE if code else Outcome.REFUSED if error == "access_denied" else Outcome.FAILED
        until = device.expires_at + KEPT
        same = hashlib.sha256(f"{code}{error}".encode()).hexdigest()
        if not await self.replay.first_time(f"{device.name}:{same}", until):
            winner = await self.store.load(f"{device.name}:winner", self.clock.now())
            return outcome if winner in {None, same.encode()} else Outcome.LATE
        if await self.replay.first_time(f"{device.name}:answered", until) and self.clock.now() < device.expires_at:
            await self.store.save(f"{device.name}:winner", same.encode(), until)
            place = f"{device.name}:answer"
            kept = self.seal.seal_text(json.dumps({"code": code}), place)
            await self.store.save(place, kept.encode(), until)
            await self.store.delete(device.typed)
            return outcome
        if code:
            await self._take_back(code)
        return Outcome.LATE

    async def _take_back(self, code: str) -> None:
        """Nobody gets what the person gave."""
        now = self.clock.now()
        found = await self.durable.grants.consume_code(hashlib.sha256(code.encode()).digest(), now)
        if isinstance(found, Redeemed):
            unit = self.durable.unit()
            unit.revoke_grant(found.grant.id, now)
            await unit.commit()

    async def _free_code(self, now: datetime) -> str:
        """One that no other device shows."""
        while True:
            user_code = make_user_code(self.entropy.bytes(16))
            if await self.store.load(self._typed(user_code), now) is None:
                return user_code

    async def _load(self, name: str, *, is_over_too: bool = False) -> DeviceRequest | None:
        """A waiting device; `None` if there is none by that name, or its time is over."""
        now = self.clock.now()
        sealed = await self.store.load(name, now)
        text = self.seal.open_text(sealed.decode(), name) if sealed is not None else None
        if text is None:
            return None
        kept = json.loads(text)
        device = DeviceRequest(
            name=name,
            client_id=ClientId(kept["client"]),
            scopes=frozenset(Scope(scope) for scope in kept["scopes"]),
            resources=tuple(kept.get("resources", ())),  # those of a version before have none
            created_at=datetime.fromisoformat(kept["at"]),
            typed=kept["typed"],
            code_verifier=kept["verifier"],
        )
        return device if is_over_too or now < device.expires_at else None

    async def _limit(self, key: str, limit: int, window: int, what: str) -> None:
        if wait := await self.limits.hit(key, limit=limit, window=window, now=self.clock.now()):
            raise TooManyAttempts(wait, detail=what)

    def _typed(self, user_code: str) -> str:
        return f"user-code:{hmac.digest(self.key, user_code.encode(), 'sha256').hex()}"


def _name(device_code: str) -> str:
    return f"device:{hashlib.sha256(device_code.encode('utf-8', 'surrogatepass')).hexdigest()}"

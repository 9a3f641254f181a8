"""Browser memory in Redis: transactions, sessions, replay marks and limits; one round trip per step.

A round trip costs more than what it carries, so a step that looks before it writes is a short script on the server, and
what is asked at the same time travels together (`broker.stores.redis_lines`). Everything has a time to live: an empty
Redis signs people out and loses nothing else. Values about people are sealed; keys hold random ids, digests and blind
indexes. One Redis (or a replicated one), not a cluster: the scripts touch keys of different slots.

Lifetimes are counted from our `Clock` and handed over as a number of milliseconds, so that a clock of the Redis machine
that is wrong ends nothing early.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from broker.domain.ports import Clock
from broker.domain.session import Session, is_live
from broker.domain.values import AccountId, Sid
from broker.errors import Conflict
from broker.stores.records import decode_session, encode, micros
from broker.stores.redis_lines import Lines
from broker.stores.vault import KeyRing

PREFIX: Final = "dw:"

# KEYS: the session by sid, by digest, the account's index; ARGV: digest, account, sealed, milliseconds, sid, prefix,
# end in ms since 1970, now in ms, `save` or `touch`, and the index of the provider's session it began with, or empty. The pointer by sid is `digest account`, or empty once the session
# has ended.
_SAVE_SESSION: Final = """
local before = redis.call('GET', KEYS[1])
if before == '' then return 0 end
if ARGV[9] == 'touch' and (not before or string.sub(before, 1, 64) ~= ARGV[1]) then return 0 end
local owner = redis.call('HGET', KEYS[2], 's')
if owner and owner ~= ARGV[5] then return -1 end
if before then
  local digest = string.sub(before, 1, 64)
  if digest ~= ARGV[1] then redis.call('DEL', ARGV[6] .. 'd:' .. digest) end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[4])
redis.call('HSET', KEYS[2], 's', ARGV[5], 'v', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[8])
redis.call('ZADD', KEYS[3], ARGV[7], ARGV[5])
if ARGV[10] ~= '' then redis.call('SET', ARGV[10], ARGV[2], 'PX', ARGV[4]) end
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[3], ARGV[4]) end
return 1
"""

# KEYS: the account's index; ARGV: prefix. Answers sealed sessions, each behind its sid.
_OF_ACCOUNT: Final = """
local found = {}
for _, sid in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local pointer = redis.call('GET', ARGV[1] .. 's:' .. sid)
  if pointer and pointer ~= '' then
    local sealed = redis.call('HGET', ARGV[1] .. 'd:' .. string.sub(pointer, 1, 64), 'v')
    if sealed then found[#found + 1] = sid; found[#found + 1] = sealed end
  else
    redis.call('ZREM', KEYS[1], sid)
  end
end
return found
"""

# ARGV: prefix, then either one sid, or empty, the account and the sid to keep. Ends them; answers them as they were.
_END: Final = """
local sids = {ARGV[2]}
if ARGV[2] == '' then sids = redis.call('ZRANGE', ARGV[1] .. 'a:' .. ARGV[3], 0, -1) end
local ended = {}
for _, sid in ipairs(sids) do
  local key = ARGV[1] .. 's:' .. sid
  local pointer = sid ~= ARGV[4] and redis.call('GET', key)
  if pointer and pointer ~= '' then
    local by_digest = ARGV[1] .. 'd:' .. string.sub(pointer, 1, 64)
    local sealed = redis.call('HGET', by_digest, 'v')
    if sealed then ended[#ended + 1] = sid; ended[#ended + 1] = sealed end
    redis.call('DEL', by_digest)
    redis.call('SET', key, '', 'KEEPTTL')
    redis.call('ZREM', ARGV[1] .. 'a:' .. string.sub(pointer, 66), sid)
  end
end
return ended
"""

# The generic cell rate algorithm (see `broker.stores.sql.browser`). Whole microseconds as text: a Lua number holds them.
# KEYS: the key; ARGV: now, step, window, milliseconds to live. Answers 0, or the microseconds to wait.
_HIT: Final = """
local now, step, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if free_at + step > now + window then return free_at + step - now - window end
redis.call('SET', KEYS[1], string.format('%.0f', free_at + step), 'PX', ARGV[4])
return 0
"""


class _Connection:
    """The client and what all four stores need from it."""

    def __init__(self, url: str, ring: KeyRing, clock: Clock) -> None:
        self.ring = ring
        self.clock = clock
        lines = Lines(url)
        self.ask: Final = lines.ask
        self.script: Final = lines.script
        self.close: Final = lines.close

    def milliseconds(self, until: datetime) -> int:
        """How long something lives that ends at `until`; at least one millisecond."""
        return max(1, (until - self.clock.now()) // timedelta(milliseconds=1))


class RedisTransactions:
    """`ports.Transactions`. The end stands before the value, so that `now` decides and not Redis's clock alone."""

    def __init__(self, connection: _Connection) -> None:
        self._redis = connection

    async def save(self, transaction_id: str, sealed: bytes, expires_at: datetime) -> None:
        value = micros(expires_at).to_bytes(8, "big") + sealed
        await self._redis.ask("SET", _transaction(transaction_id), value, "PX", self._redis.milliseconds(expires_at))

    async def load(self, transaction_id: str, now: datetime) -> bytes | None:
        value: bytes | None = await self._redis.ask("GET", _transaction(transaction_id))
        return value[8:] if value is not None and micros(now) < int.from_bytes(value[:8], "big") else None

    async def delete(self, transaction_id: str) -> bool:
        return bool(await self._redis.ask("DEL", _transaction(transaction_id)))


def _transaction(transaction_id: str) -> str:
    return f"{PREFIX}t:{transaction_id}"


class RedisSessions:
    """`ports.Sessions`: the session under its cookie's digest, a pointer under its sid, an index for each account."""

    def __init__(self, connection: _Connection) -> None:
        self._redis = connection

    async def save(self, session: Session) -> None:
        """An ended session stays ended: a page that was on its way must not bring it back."""
        await self._save(session, "save")

    async def touch(self, session: Session) -> None:
        await self._save(session, "touch")

    async def _save(self, session: Session, how: str) -> None:
        until = min(session.idle_expires_at, session.expires_at)
        digest = session.secret_digest.hex()
        keys = [f"{PREFIX}s:{session.sid}", f"{PREFIX}d:{digest}", f"{PREFIX}a:{session.account}"]
        saved = await self._redis.script(
            _SAVE_SESSION,
            keys,
            digest,
            session.account,
            self._redis.ring.seal(encode(session), _place(session.sid)),
            self._redis.milliseconds(until),
            session.sid,
            PREFIX,
            micros(until) // 1000,
            micros(self._redis.clock.now()) // 1000,
            how,
            "" if session.upstream is None else self._upstream(session.upstream),
        )
        if saved == -1:
            raise Conflict("session")

    async def by_digest(self, secret_digest: bytes, now: datetime) -> Session | None:
        sid, sealed = await self._redis.ask("HMGET", f"{PREFIX}d:{secret_digest.hex()}", "s", "v")
        if sealed is None:
            return None
        session = await self._redis.ring.reading(lambda: self._open(sid, sealed))
        return session if is_live(session, now) else None

    async def of_account(self, account: AccountId, now: datetime) -> tuple[Session, ...]:
        found = await self._redis.script(_OF_ACCOUNT, [f"{PREFIX}a:{account}"], PREFIX)
        return tuple(session for session in await self._opened(found) if is_live(session, now))

    async def of_upstream(self, upstream: str, now: datetime) -> tuple[Session, ...]:
        """By way of the account: over there a session is one person's."""
        account = await self._redis.ask("GET", self._upstream(upstream))
        if account is None:
            return ()
        sessions = await self.of_account(AccountId(account.decode()), now)
        return tuple(session for session in sessions if session.upstream == upstream)

    def _upstream(self, upstream: str) -> str:
        return f"{PREFIX}u:{self._redis.ring.blind('upstream_session', upstream).hex()}"

    async def end(self, sid: Sid) -> Session | None:
        ended = await self._opened(await self._redis.script(_END, [], PREFIX, sid, "", ""))
        return ended[0] if ended else None

    async def end_all(self, account: AccountId, *, keep: Sid | None = None) -> tuple[Session, ...]:
        """Newest first."""
        return await self._opened(await self._redis.script(_END, [], PREFIX, "", account, keep or ""))

    async def _opened(self, flat: Sequence[bytes]) -> tuple[Session, ...]:
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        sessions = await self._redis.ring.reading(lambda: [self._open(sid, sealed) for sid, sealed in pairs])
        return tuple(sorted(sessions, key=lambda held: (held.created_at, held.sid), reverse=True))

    def _open(self, sid: bytes, sealed: bytes) -> Session:
        return decode_session(self._redis.ring.open(sealed, _place(sid.decode())))


def _place(sid: str) -> str:
    return f"redis sessions/{sid}/v"


class RedisReplay:
    """`ports.Replay`."""

    def __init__(self, connection: _Connection) -> None:
        self._redis = connection

    async def first_time(self, key: str, expires_at: datetime) -> bool:
        name = f"{PREFIX}r:{self._redis.ring.blind('replay', key).hex()}"
        return bool(await self._redis.ask("SET", name, b"1", "PX", self._redis.milliseconds(expires_at), "NX"))


class RedisLimits:
    """`ports.Limits`."""

    def __init__(self, connection: _Connection) -> None:
        self._redis = connection

    async def hit(self, key: str, *, limit: int, window: int, now: datetime) -> int:
        name = f"{PREFIX}l:{self._redis.ring.blind('limit', key).hex()}"
        whole = window * 1_000_000
        wait = int(await self._redis.script(_HIT, [name], micros(now), whole // limit, whole, window * 1000 + 1000))
        return -(-wait // 1_000_000)


class RedisMemory:
    """`ports.BrowserMemory` in Redis. Connects at first use, and again whenever a connection was lost."""

    def __init__(self, url: str, ring: KeyRing, clock: Clock) -> None:
        self._redis = _Connection(url, ring, clock)
        self.transactions = RedisTransactions(self._redis)
        self.sessions = RedisSessions(self._redis)
        self.replay = RedisReplay(self._redis)
        self.limits = RedisLimits(self._redis)

    async def purge(self, now: datetime, limit: int = 500) -> int:
        """Nothing to do: everything here has a time to live."""
        return 0

    async def ping(self) -> None:
        await self._redis.ask("PING")

    async def close(self) -> None:
        await self._redis.close()

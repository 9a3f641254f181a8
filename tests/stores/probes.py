"""One call of every port, for tests of what happens when a store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from tests.support import builders as make
from tests.support.builders import FACEBOOK, FORUM, NOW

from broker.domain.consent import Purpose
from broker.domain.ports import BrowserMemory, Durable, UnitOfWork
from broker.domain.stream import Stream
from broker.domain.values import AccountId, ClientId, GrantId, IdentityKey, Sid
from broker.errors import StoreUnavailable

Probe = Callable[[], Awaitable[object]]
NOBODY = AccountId("nobody")


def durable_probes(durable: Durable) -> Mapping[str, Probe]:
    """Every reading and every single-step call of the durable store, and a unit of work."""

    def unit(*works: Callable[[UnitOfWork], None]) -> Probe:
        async def commit() -> None:
            unit = durable.unit()
            for work in works:
                work(unit)
            await unit.commit()

        return commit

    account = make.account(make.new_id("probed"), profile={})
    return {
        "accounts.load": lambda: durable.accounts.load(NOBODY),
        "accounts.links": lambda: durable.accounts.links(NOBODY),
        "accounts.by_identity": lambda: durable.accounts.by_identity(IdentityKey(issuer="i", subject="s")),
        "accounts.is_user_name_free": lambda: durable.accounts.is_user_name_free("nobody"),
        "accounts.with_receipts": lambda: durable.accounts.with_receipts(NOBODY, Purpose.SHARE_WITH_CLIENT, "forum"),
        "ledger.receipts": lambda: durable.ledger.receipts(NOBODY),
        "ledger.disclosures": lambda: durable.ledger.disclosures(NOBODY),
        "grants.load": lambda: durable.grants.load(GrantId("none")),
        "grants.with_account": lambda: durable.grants.with_account(GrantId("none"), "none"),
        "grants.of_account": lambda: durable.grants.of_account(NOBODY),
        "grants.consume_code": lambda: durable.grants.consume_code(b"none", NOW),
        "grants.load_family": lambda: durable.grants.load_family("none"),
        "grants.rotate": lambda: durable.grants.rotate("none", 1, FORUM, NOW),
        "postings.load": lambda: durable.postings.load("none"),
        "postings.recent": lambda: durable.postings.recent(NOBODY),
        "staff.all": durable.staff.all,
        "streams.load": lambda: durable.streams.load(FORUM),
        "streams.is_removed": lambda: durable.streams.is_removed(FORUM, "nobody"),
        "streams.remove_subject": lambda: durable.streams.remove_subject(FORUM, "nobody", 9),
        "streams.add_subject": lambda: durable.streams.add_subject(FORUM, "nobody"),
        "streams.add_everybody": lambda: durable.streams.add_everybody(FORUM),
        "streams.put": lambda: durable.streams.put(Stream(client=ClientId(make.new_id("site")))),
        "staff.role": lambda: durable.staff.role(NOBODY),
        "failures.newest": lambda: durable.failures.newest(FACEBOOK, 1),
        "failures.load": lambda: durable.failures.load("none"),
        "audit.last": durable.audit.last,
        "audit.entries": lambda: durable.audit.entries(0, 1),
        "accounts.by_email": lambda: durable.accounts.by_email("nobody@mail.example"),
        "registrations.invitation": lambda: durable.registrations.invitation(b"none"),
        "registrations.invitations": lambda: durable.registrations.invitations("", 1),
        "registrations.load": lambda: durable.registrations.load(ClientId("none")),
        "registrations.after": lambda: durable.registrations.after(ClientId(""), 1),
        "logos.load": lambda: durable.logos.load("none"),
        "logos.after": lambda: durable.logos.after("", 1),
        "logos.shown": lambda: durable.logos.shown("none"),
        "removals.load": lambda: durable.removals.load("none"),
        "removals.waiting": lambda: durable.removals.waiting(1),
        "vault.open": lambda: durable.vault.open(make.posting_permit(NOBODY)),
        "vault.holds": lambda: durable.vault.holds(NOBODY, FACEBOOK),
        "outbox.claim": lambda: durable.outbox.claim(NOW, 1),
        "outbox.done": lambda: durable.outbox.done("none"),
        "outbox.put_off": lambda: durable.outbox.put_off("none", NOW),
        "outbox.retry": lambda: durable.outbox.retry("none", NOW, ""),
        "outbox.give_up": lambda: durable.outbox.give_up("none", ""),
        "outbox.pending": lambda: durable.outbox.pending("sub", "nobody"),
        "outbox.traces": lambda: durable.outbox.traces("sub", "nobody"),
        "outbox.failing": lambda: durable.outbox.failing(1),
        "keys.all": durable.keys.all,
        "keys.add": lambda: durable.keys.add(make.signing_key()),
        "keys.retire": lambda: durable.keys.retire("none", NOW),
        "keys.remove": lambda: durable.keys.remove("none"),
        "unit of one step": unit(lambda unit: unit.append_receipt(make.receipt(NOBODY))),
        "unit of many steps": unit(
            lambda unit: unit.add_account(account),
            lambda unit: unit.add_link(make.link(account)),
            lambda unit: unit.append_receipt(make.receipt(account.id)),
        ),
        "purge": lambda: durable.purge(NOW),
        "ping": durable.ping,
    }


def memory_probes(memory: BrowserMemory) -> Mapping[str, Probe]:
    """Every call of browser memory."""
    session = make.session(NOBODY)
    return {
        "transactions.save": lambda: memory.transactions.save("none", b"sealed", NOW + timedelta(minutes=1)),
        "transactions.load": lambda: memory.transactions.load("none", NOW),
        "transactions.delete": lambda: memory.transactions.delete("none"),
        "sessions.save": lambda: memory.sessions.save(session),
        "sessions.touch": lambda: memory.sessions.touch(session),
        "sessions.by_digest": lambda: memory.sessions.by_digest(b"none", NOW),
        "sessions.of_account": lambda: memory.sessions.of_account(NOBODY, NOW),
        "sessions.of_upstream": lambda: memory.sessions.of_upstream("none", NOW),
        "sessions.end": lambda: memory.sessions.end(Sid("none")),
        "sessions.end_all": lambda: memory.sessions.end_all(NOBODY),
        "replay.first_time": lambda: memory.replay.first_time(make.new_id("state"), NOW + timedelta(minutes=1)),
        "limits.hit": lambda: memory.limits.hit(make.new_id("limit"), limit=1, window=60, now=NOW),
        "ping": memory.ping,
    }


async def outcomes(probes: Mapping[str, Probe]) -> dict[str, str]:
    """What each probe came to, all at once: `answered`, or the name of what it raised."""

    async def one(probe: Probe) -> str:
        try:
            await probe()
        except StoreUnavailable:
            return "StoreUnavailable"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "answered"

    found = await asyncio.gather(*(one(probe) for probe in probes.values()))
    return dict(zip(probes, found, strict=True))


async def all_come_to(outcome: str, probes: Mapping[str, Probe]) -> None:
    """Asserts that every probe comes to the same."""
    assert await outcomes(probes) == dict.fromkeys(probes, outcome)

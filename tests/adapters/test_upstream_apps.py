"""What servers gave us when we registered there: sealed, and under names that say nothing."""

from __future__ import annotations

from datetime import timedelta

from tests.flows.front import Front

from broker.chance import SystemEntropy
from broker.sealing import TransactionSeal
from broker.upstream_apps import UpstreamApps

SERVER = "https://social.example"
APP = {"client_id": "key", "client_secret": "the secret of ours there"}


async def test_it_is_kept_sealed_for_a_while_and_names_no_server() -> None:
    front = Front()
    store, now = front.memory.transactions, front.clock.now()
    apps = UpstreamApps(store=store, seal=TransactionSeal(b"k" * 32, SystemEntropy()), clock=front.clock)
    assert await apps.load(SERVER) is None
    await apps.save(SERVER, APP, now + timedelta(days=1))
    assert await apps.load(SERVER) == APP
    assert await apps.load(f"{SERVER}.evil.test") is None
    kept = repr(vars(store)) + repr(front.memory)
    assert "social.example" not in kept
    assert APP["client_secret"] not in kept
    other = UpstreamApps(store=store, seal=TransactionSeal(b"o" * 32, SystemEntropy()), clock=front.clock)
    assert await other.load(SERVER) is None, "under another key"
    front.clock.move(timedelta(days=2))
    assert await apps.load(SERVER) is None
    await apps.save(SERVER, APP, front.clock.now() + timedelta(days=1))
    await apps.drop(SERVER)
    await apps.drop(SERVER)
    assert await apps.load(SERVER) is None

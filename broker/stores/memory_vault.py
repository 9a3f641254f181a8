"""Tokens of posting opt-ins in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from broker.domain.posting import PostingPermit
from broker.domain.provider import UpstreamTokens
from broker.domain.values import AccountId, ProviderId
from broker.errors import Conflict

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable, Tables


class VaultSteps:
    """What a unit of work does to them: see the port."""

    _steps: list[Callable[[Tables], object]]

    def save_upstream_tokens(self, permit_holder: AccountId, provider: ProviderId, tokens: UpstreamTokens) -> None:
        def step(tables: Tables) -> None:
            tables.check_account(permit_holder)
            tables.upstream_tokens[permit_holder, provider] = tokens
            tables.renewing.pop((permit_holder, provider), None)

        self._steps.append(step)

    def claim_upstream_tokens(
        self, account: AccountId, provider: ProviderId, *, since: datetime, given_up: datetime
    ) -> None:
        def step(tables: Tables) -> None:
            begun = tables.renewing.get((account, provider))
            if (account, provider) not in tables.upstream_tokens or (begun is not None and begun > given_up):
                raise Conflict("tokens")
            tables.renewing[account, provider] = since

        self._steps.append(step)

    def renew_upstream_tokens(
        self, account: AccountId, provider: ProviderId, tokens: UpstreamTokens, *, since: datetime
    ) -> None:
        def step(tables: Tables) -> None:
            if tables.renewing.get((account, provider)) != since:
                raise Conflict("tokens")
            tables.upstream_tokens[account, provider] = tokens
            del tables.renewing[account, provider]

        self._steps.append(step)

    def release_upstream_tokens(self, account: AccountId, provider: ProviderId, *, since: datetime) -> None:
        def step(tables: Tables) -> None:
            if tables.renewing.get((account, provider)) == since:
                del tables.renewing[account, provider]

        self._steps.append(step)

    def drop_upstream_tokens(self, account: AccountId, provider: ProviderId) -> None:
        def step(tables: Tables) -> None:
            tables.upstream_tokens.pop((account, provider), None)
            tables.renewing.pop((account, provider), None)

        self._steps.append(step)


class MemoryVault:
    """`ports.Vault`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def open(self, permit: PostingPermit) -> UpstreamTokens | None:
        return self._store.open_tables().upstream_tokens.get((permit.account, permit.provider))

    async def holds(self, account: AccountId, provider: ProviderId) -> bool:
        return (account, provider) in self._store.open_tables().upstream_tokens

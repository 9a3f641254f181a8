"""Invitations and registered sites in this process's memory; the rest of the reference implementation is in `memory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from broker.domain.documents import KEEP
from broker.domain.registration import Invitation, Registration
from broker.domain.values import ClientId
from broker.errors import Conflict

if TYPE_CHECKING:
    from broker.stores.memory import MemoryDurable, Tables


class RegistrationSteps:
    """What a unit of work does to them."""

    _steps: list[Callable[[Tables], object]]

    def add_invitation(self, invitation: Invitation) -> None:
        """See the port."""
        self._steps.append(lambda tables: tables.invitations.update({invitation.id: invitation}))

    def drop_invitation(self, invitation: str) -> None:
        """See the port."""
        self._steps.append(lambda tables: tables.invitations.pop(invitation, None))

    def register(self, registration: Registration, now: datetime) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            invited = tables.invitations.get(registration.invitation)
            if invited is None or not invited.uses_left or invited.expires_at <= now:
                raise Conflict("invitation")
            if registration.client_id in tables.registrations:
                raise Conflict("registration")
            tables.invitations[invited.id] = replace(invited, uses_left=invited.uses_left - 1)
            tables.registrations[registration.client_id] = registration

        self._steps.append(step)

    def save_registration(self, registration: Registration, *, shown: bytes) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            kept = tables.registrations.get(registration.client_id)
            if kept is None or kept.token_digest != shown:
                raise Conflict("registration")
            tables.registrations[registration.client_id] = registration

        self._steps.append(step)

    def remove_registration(self, client: ClientId, now: datetime) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            if tables.registrations.pop(client, None) is None:
                raise Conflict("registration")
            tables.logos.pop(client, None)
            _revoke_all(tables, client, now)

        self._steps.append(step)

    def keep_document(self, document: Registration) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            kept = tables.registrations.get(document.client_id)
            is_same = kept is not None and kept.token_digest == document.token_digest
            tables.registrations[document.client_id] = replace(
                document,
                registered_at=document.registered_at if kept is None else kept.registered_at,
                reviewed_at=kept.reviewed_at if kept is not None and is_same else None,
                blocked_at=None if kept is None else kept.blocked_at,
            )

        self._steps.append(step)

    def block_document(self, document: Registration, now: datetime) -> None:
        """See the port."""

        def step(tables: Tables) -> None:
            kept = tables.registrations.get(document.client_id, document)
            tables.registrations[document.client_id] = replace(kept, blocked_at=now)
            tables.logos.pop(document.client_id, None)
            _revoke_all(tables, document.client_id, now)

        self._steps.append(step)


def _revoke_all(tables: Tables, client: ClientId, now: datetime) -> None:
    for grant in [grant for grant in tables.grants.values() if grant.client == client]:
        tables.revoke(grant, now)


def is_unused(kept: Registration, now: datetime) -> bool:
    """Whether it is a document that nobody has read for long, and no admin looked at."""
    is_old = kept.fresh_until is not None and kept.fresh_until + KEEP <= now
    return is_old and kept.reviewed_at is None and kept.blocked_at is None


class MemoryRegistrations:
    """`ports.Registrations`."""

    def __init__(self, store: MemoryDurable) -> None:
        self._store = store

    async def invitation(self, digest: bytes) -> Invitation | None:
        found = self._store.open_tables().invitations.values()
        return next((one for one in found if one.digest == digest), None)

    async def invitations(self, after: str, limit: int = 200) -> tuple[Invitation, ...]:
        found = self._store.open_tables().invitations.values()
        return tuple(sorted((one for one in found if one.id > after), key=lambda one: one.id)[:limit])

    async def load(self, client: ClientId) -> Registration | None:
        return self._store.open_tables().registrations.get(client)

    async def after(self, client: ClientId, limit: int = 200) -> tuple[Registration, ...]:
        found = self._store.open_tables().registrations.values()
        return tuple(sorted((one for one in found if one.client_id > client), key=lambda one: one.client_id)[:limit])

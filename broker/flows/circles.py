"""Providers that only some may use yet: to everybody else they are as unknown as one that never was here.

Who it is, is the session's account; asked at the start and once more at the callback, as a role may be taken in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.domain.session import Session
from broker.domain.staff import Circle, Role, is_inside
from broker.domain.values import ProviderId
from broker.flows.sign_in import SignInFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCircles:
    """The same sign-in for each of those who may use different providers."""

    every: SignInFlow
    """With all providers, in the order to show."""
    circles: Mapping[ProviderId, Circle]
    """Those that are not for everybody yet, each with its circle."""

    def open_to(self, role: Role | None) -> SignInFlow:
        """The sign-in of whoever has this role; `None`: of everybody."""
        if not self.circles:
            return self.every
        shown = {
            id_: provider
            for id_, provider in self.every.providers.items()
            if id_ not in self.circles or is_inside(role, self.circles[id_])
        }
        return replace(self.every, providers=shown)

    async def of(self, session: Session | None) -> SignInFlow:
        """The sign-in of who is signed in. Nobody's role is looked up where every provider is for everybody."""
        if not self.circles or session is None:
            return self.open_to(None)
        return self.open_to(await self.every.durable.staff.role(session.account))

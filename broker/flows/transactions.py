"""Where a sign-in transaction is while it lasts: in the browser's cookie, later in the store under the cookie's key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from broker.domain.ports import Clock, Entropy, Transactions
from broker.domain.transaction import AT_MOST, SLIDING, SignInTransaction
from broker.errors import SignInExpired, SignInFinished

IN_COOKIE: Final = "c."
IN_STORE: Final = "k."
MAX_COOKIE: Final = 3000
"""Bytes a browser is asked to carry for one transaction."""


class Seal(Protocol):
    """How transactions are made unreadable; see `broker.sealing`."""

    def to_cookie(self, transaction: SignInTransaction) -> str: ...
    def from_cookie(self, text: str, transaction_id: str) -> SignInTransaction | None: ...
    def new_key(self) -> str: ...
    def to_store(self, transaction: SignInTransaction, key: str) -> bytes: ...
    def from_store(self, sealed: bytes, key: str, transaction_id: str) -> SignInTransaction | None: ...
    def seal_text(self, text: str, purpose: str) -> str: ...
    def open_text(self, sealed: str, purpose: str) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A transaction and the cookie value that carries it."""

    transaction: SignInTransaction
    cookie: str

    @property
    def is_stored(self) -> bool:
        """Whether it lies in the store: from the callback on, or because it is large."""
        return self.cookie.startswith(IN_STORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionBox:
    """Opens, keeps and shreds transactions."""

    store: Transactions
    seal: Seal
    clock: Clock
    entropy: Entropy

    def new_id(self) -> str:
        """An id fit for a path and a cookie name; ids sort by age, so that the oldest tab's is known."""
        return f"{int(self.clock.now().timestamp()):09x}{self.entropy.token(9)}"

    async def open(self, transaction_id: str, cookie: str | None) -> Carried:
        """The transaction this browser carries under that id.

        Raises `SignInExpired` if it never was, is over its time or is not this browser's; `SignInFinished` if it came
        to its end already.
        """
        if cookie is None:
            raise SignInExpired(detail="no cookie for this transaction")
        now = self.clock.now()
        if cookie.startswith(IN_COOKIE):
            transaction = self.seal.from_cookie(cookie[len(IN_COOKIE) :], transaction_id)
        elif cookie.startswith(IN_STORE):
            sealed = await self.store.load(transaction_id, now)
            if sealed is None:
                raise SignInFinished(detail="transaction is gone from the store")
            transaction = self.seal.from_store(sealed, cookie[len(IN_STORE) :], transaction_id)
        else:
            transaction = None
        if transaction is None or now >= transaction.expires_at:
            raise SignInExpired(detail="transaction does not open or is over its time")
        return Carried(transaction=transaction, cookie=cookie)

    async def hold(self, transaction: SignInTransaction, carried: Carried | None = None) -> Carried:
        """Save it wherever it is; let the browser carry a new one, so that strangers fill no store.

        One too large for a cookie goes to the store, of which each address may have a few (decision 4).
        """
        if carried is not None and carried.is_stored:
            return await self.keep(transaction, carried)
        slid = self._slide(transaction)
        cookie = IN_COOKIE + self.seal.to_cookie(slid)
        return Carried(transaction=slid, cookie=cookie) if len(cookie) <= MAX_COOKIE else await self.keep(slid)

    async def keep(self, transaction: SignInTransaction, carried: Carried | None = None) -> Carried:
        """Put it in the store under the browser's key, a new one if it was in the cookie until now."""
        slid = self._slide(transaction)
        key = carried.cookie[len(IN_STORE) :] if carried is not None and carried.is_stored else self.seal.new_key()
        await self.store.save(slid.id, self.seal.to_store(slid, key), slid.expires_at)
        return Carried(transaction=slid, cookie=IN_STORE + key)

    def seal_text(self, text: str, purpose: str) -> str:
        """A text that travels through the browser unreadable."""
        return self.seal.seal_text(text, purpose)

    def open_text(self, sealed: str, purpose: str) -> str | None:
        """`None` unless we sealed it for that purpose."""
        return self.seal.open_text(sealed, purpose)

    async def finish(self, carried: Carried) -> None:
        """Take it out of the store. Raises `SignInFinished` if somebody else just did: one taker wins."""
        if carried.is_stored and not await self.store.delete(carried.transaction.id):
            raise SignInFinished(detail="transaction finished by another request")

    async def drop(self, carried: Carried) -> None:
        """Shred it, whatever state it is in."""
        if carried.is_stored:
            await self.store.delete(carried.transaction.id)

    def _slide(self, transaction: SignInTransaction) -> SignInTransaction:
        end = min(self.clock.now() + SLIDING, transaction.created_at + AT_MOST)
        return replace(transaction, expires_at=end)

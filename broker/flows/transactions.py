"""Where a sign-in transaction is while it lasts: in the browser's cookie, later in the store under the cookie's key.

What a browser carries is `c.` and the sealed transaction, `k.` and its key, or `o.` once it is over, so that who comes
back to a page of it hears that this step is done. Behind `k.` and `o.` stands the sealed name of the waiting site: when
nothing else is left, the person still finds the way back there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from broker.domain.ports import Clock, Entropy, Transactions
from broker.domain.transaction import AT_MOST, SLIDING, SignInTransaction
from broker.domain.values import ClientId
from broker.errors import SignInExpired, SignInFinished

IN_COOKIE: Final = "c."
IN_STORE: Final = "k."
OVER: Final = "o."
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

    @staticmethod
    def key_in(cookie: str) -> str:
        """What opens it in the store."""
        return cookie.removeprefix(IN_STORE).partition(".")[0]


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

    @staticmethod
    def born(transaction_id: str) -> datetime | None:
        """When an id was made; `None` for what is no id of ours."""
        try:
            return datetime.fromtimestamp(int(transaction_id[:9], 16), UTC)
        except (ValueError, OverflowError, OSError):
            return None

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
                raise self._gone(transaction_id, now)
            transaction = self.seal.from_store(sealed, Carried.key_in(cookie), transaction_id)
        elif cookie.startswith(OVER):
            raise SignInFinished(detail="transaction is over")
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
        key = Carried.key_in(carried.cookie) if carried is not None and carried.is_stored else self.seal.new_key()
        await self.store.save(slid.id, self.seal.to_store(slid, key), slid.expires_at)
        return Carried(transaction=slid, cookie=f"{IN_STORE}{key}{self._site(slid)}")

    def over(self, transaction: SignInTransaction) -> str:
        """What the browser carries instead once it is over: nothing of it but which site it was for."""
        return OVER + self._site(transaction).removeprefix(".")

    def site_of(self, transaction_id: str, cookie: str) -> ClientId | None:
        """The site that a transaction was for, even if nothing else of it is left. Never a guess: we sealed it."""
        if cookie.startswith(IN_COOKIE):
            transaction = self.seal.from_cookie(cookie[len(IN_COOKIE) :], transaction_id)
            return transaction.request.client_id if transaction is not None and transaction.request else None
        sealed = cookie[2:].rpartition(".")[2]
        client = self.seal.open_text(sealed, _site_purpose(transaction_id))
        return ClientId(client) if client else None

    def _site(self, transaction: SignInTransaction) -> str:
        if transaction.request is None:
            return ""
        return f".{self.seal.seal_text(transaction.request.client_id, _site_purpose(transaction.id))}"

    def _gone(self, transaction_id: str, now: datetime) -> SignInExpired | SignInFinished:
        """Why the store has it no more: younger than half an hour it cannot have run out."""
        detail = "transaction is gone from the store"
        born = self.born(transaction_id)
        young = born is not None and now < born + SLIDING
        return SignInFinished(detail=detail) if young else SignInExpired(detail=detail)

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


def _site_purpose(transaction_id: str) -> str:
    return f"site of {transaction_id}"

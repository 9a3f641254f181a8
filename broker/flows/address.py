"""Prove that an e-mail address is the person's: a code for the page that asked, or a link for any browser.

Neither signs anybody in, and neither links anything (decision 18; catalogue 120). One proof stands for each account:
asking again ends the one before, and changing the address ends it too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from broker.domain.account import Account, AccountStatus, Link, ProfileValue, Source, ways_since
from broker.domain.claims import EMAIL, email_key
from broker.domain.letters import Letter
from broker.domain.mail_code import mail_link, new_link
from broker.domain.ports import Clock, Durable, Entropy, Limits, Transactions, UnitOfWork
from broker.domain.session import Session
from broker.domain.values import AccountId, ReceiptId
from broker.errors import Conflict, FormInvalid, LetterOver, TooManyAttempts
from broker.flows.anew import anew
from broker.flows.letters import LetterWriter
from broker.flows.posting import Ended, PostingGate
from broker.flows.session import SessionFlow
from broker.flows.transactions import Seal

GOOD_FOR: Final = timedelta(hours=1)
UNDO_WITHIN: Final = timedelta(days=7)
LETTERS_PER_HOUR: Final = 5
"""To one address and for one account: nobody's letter box is filled through us."""
TRIES_PER_HOUR: Final = 10
"""Of a million codes."""
CODE: Final = "code"
"""The field of the page where a code is typed."""
_PROOF: Final = "proof of an address"
_LINK: Final = "link that proves an address"
_UNDO: Final = "link that takes a changed address back"
_UNDONE: Final = "what was taken back"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFlow:
    durable: Durable
    proofs: Transactions
    """Where a proof waits, sealed."""
    seal: Seal
    limits: Limits
    letters: LetterWriter
    sessions: SessionFlow
    clock: Clock
    entropy: Entropy
    codes_open: bool = False
    """Whether a code to a proved address opens an account whose owner turned that on."""
    posting: PostingGate | None = None
    """Ends what posting hung on a way in that goes; `None` where nothing can be posted anyway."""

    @property
    def is_on(self) -> bool:
        """Whether anybody can be written to at all."""
        return self.letters.is_on

    async def send(self, account: Account, session: Session) -> None:
        """Write to the account's address. Raises `FormInvalid` (nothing to prove), `TooManyAttempts`."""
        email = account.profile.get(EMAIL)
        if email is None or email.verified or not self.is_on:
            raise FormInvalid({EMAIL: "nothing_to_check"})
        now = self.clock.now()
        for key in (f"letters:{account.id}", f"letters to:{email_key(email.value)}"):
            wait = await self.limits.hit(key, limit=LETTERS_PER_HOUR, window=3600, now=now)
            if wait:
                raise TooManyAttempts(wait, detail="letters that prove an address")
        end = now + GOOD_FOR
        code = f"{int.from_bytes(self.entropy.bytes(8), 'big') % 1_000_000:06}"
        proof = {
            "account": account.id,
            "to": email.value,
            "code": code,
            "sid": session.sid,
            "id": self.entropy.token(12),
        }
        await self.proofs.save(_place(account.id), self.seal.seal_text(json.dumps(proof), _PROOF).encode(), end)
        link = {"account": account.id, "id": proof["id"]}
        unit = self.durable.unit()
        self.letters.write(
            unit,
            Letter.CHECK_ADDRESS,
            email.value,
            locale=account.locale or "",
            until=end,
            values={"code": code, "token": self.seal.seal_text(json.dumps(link), _LINK)},
        )
        await unit.commit()

    async def confirm(self, session: Session, typed: str) -> None:
        """The code, in the session that asked. Raises `FormInvalid` on `code` (`wrong`, `over`), `TooManyAttempts`."""
        wait = await self.limits.hit(
            f"address code:{session.account}", limit=TRIES_PER_HOUR, window=3600, now=self.clock.now()
        )
        if wait:
            raise TooManyAttempts(wait, detail="codes that prove an address")
        proof = await self._proof(session.account)
        if proof is None or proof["sid"] != session.sid:
            raise FormInvalid({CODE: "over"})
        digits = "".join(ch for ch in typed if ch.isdigit())
        if not hmac.compare_digest(digits.encode(), proof["code"].encode()):
            raise FormInvalid({CODE: "wrong"})
        if not await self._settle(session.account, proof["to"]):
            raise FormInvalid({CODE: "over"})

    async def confirm_link(self, token: str) -> None:
        """The link, in whatever browser it is opened. Raises `LetterOver`, `FormInvalid` (the address is another's)."""
        link = self._opened(token, _LINK)
        account = AccountId(link["account"])
        proof = await self._proof(account)
        if proof is None or proof["id"] != link["id"] or not await self._settle(account, proof["to"]):
            raise LetterOver(detail="proof of an address is over")

    async def is_link_good(self, token: str) -> bool:
        """Whether the link still proves something: for the page before the button."""
        try:
            link = self._opened(token, _LINK)
        except LetterOver:
            return False
        proof = await self._proof(AccountId(link["account"]))
        return proof is not None and proof["id"] == link["id"]

    # --- a changed address ----------------------------------------------------------------------------

    def changed(self, unit: UnitOfWork, before: Account, codes: Link | None = None) -> None:
        """In the unit of work that changes it: tell the address that was known to be theirs, with a way back.

        `codes`: by which codes to that address let in until now; taking the change back lets them in again.

        The way back stays open through further changes: else whoever is in the account would close it by a second one.
        """
        old = before.profile.get(EMAIL)
        if old is None or not old.verified:
            return
        undo = {"account": before.id, "old": old.value, "at": self.clock.now().isoformat()}
        if codes is not None:
            undo["receipt"] = codes.receipt
        token = self.seal.seal_text(json.dumps(undo), _UNDO)
        self.letters.tell(unit, before, Letter.ADDRESS_CHANGED, {"token": token})

    async def undo_change(self, token: str) -> AccountId:
        """Take a change back and sign everybody out: whoever changed it was in the account. Raises `LetterOver`.

        Returns whose change it was. With it goes whatever was changed after it, the ways back of those changes, and the
        ways to sign in that were added since (catalogue 117), unless nothing else opens the account.
        """
        undo = self._opened(token, _UNDO)
        account = await anew(lambda: self._undo(undo))
        await self.sessions.sign_out_everywhere(account)
        return account

    async def check_undo(self, token: str) -> None:
        """Whether the link still takes a change back: for the page before the button. Raises `LetterOver` if not."""
        await self._undoable(self._opened(token, _UNDO), self.clock.now())

    async def _undoable(
        self, undo: Mapping[str, str], now: datetime
    ) -> tuple[Account, list[tuple[datetime, datetime]]]:
        """Whose change it was, and what was taken back there so far. Raises `LetterOver`."""
        at = datetime.fromisoformat(undo["at"])
        account = await self.durable.accounts.load(AccountId(undo["account"]))
        if account is None or now >= at + UNDO_WITHIN:
            raise LetterOver(detail="taking a change back is over")
        undone = [span for span in await self._undone(account.id) if now < span[1] + UNDO_WITHIN]
        if any(start <= at <= end for start, end in undone):
            raise LetterOver(detail="change was taken back already")
        return account, undone

    async def _undo(self, undo: Mapping[str, str]) -> AccountId:
        now, at = self.clock.now(), datetime.fromisoformat(undo["at"])
        account, undone = await self._undoable(undo, now)
        unit = self.durable.unit()
        added, gone = await self._ways(account, undo)
        if added is not None:
            unit.add_link(added)
        ended = []
        for link in gone:
            unit.remove_link(account.id, link.id)
        for provider in dict.fromkeys(link.provider for link in gone):
            unit.drop_upstream_tokens(account.id, provider)
            unit.cancel_postings(account.id, now, provider=provider)
            if self.posting is not None:
                locale = account.locale or ""
                ended.append(await self.posting.queue_end(unit, account.id, sid=None, locale=locale, provider=provider))
        await self.sessions.tell_of_ways(unit, account.id, "revoke", *gone)
        held = account.profile.get(EMAIL)
        if held is not None and email_key(held.value) != email_key(undo["old"]):
            self.letters.tell(unit, account, Letter.ADDRESS_TAKEN_BACK)
        held = ProfileValue(value=undo["old"], source=Source.PERSON, verified=True)
        await self._save(unit, account, held, *ended)
        text = json.dumps([[start.isoformat(), end.isoformat()] for start, end in (*undone, (at, now))])
        place = _place(account.id, "undone")
        await self.proofs.save(place, self.seal.seal_text(text, _UNDONE).encode(), now + UNDO_WITHIN)
        return account.id

    async def _ways(self, account: Account, undo: Mapping[str, str]) -> tuple[Link | None, tuple[Link, ...]]:
        """Which way in comes with the address, and which go: whoever changed it may have added theirs (catalogue 117).

        Codes let in by the address that came back if they did before. If they were turned on since, they do only where no
        way in that is older than the change is left: else whoever reads the old mailbox would get a way they never had.
        """
        links = await self.durable.accounts.links(account.id)
        until_now, at = mail_link(links), datetime.fromisoformat(undo["at"])
        others = tuple(link for link in links if link != until_now)
        receipt = undo.get("receipt")
        if not receipt and until_now is not None and all(link.linked_at > at for link in others):
            receipt = until_now.receipt
        gone = ways_since(others, at, is_open=bool(receipt) and self.codes_open)
        if until_now is not None:
            gone = (*gone, until_now)
        if not receipt:
            return None, gone
        return new_link(account.id, ReceiptId(receipt), self.entropy, self.clock.now()), gone

    async def _undone(self, account: AccountId) -> list[tuple[datetime, datetime]]:
        """From when to when changes were taken back: as long as a way back of one of them could be tried again."""
        sealed = await self.proofs.load(_place(account, "undone"), self.clock.now())
        text = self.seal.open_text(sealed.decode(), _UNDONE) if sealed is not None else None
        spans = json.loads(text) if text is not None else []
        return [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in spans]

    async def forget(self, account: AccountId) -> None:
        """The account is gone: so is what waited to prove its address, which holds that address."""
        for place in (_place(account), _place(account, "undone")):
            await self.proofs.delete(place)

    # --- inside ---------------------------------------------------------------------------------------

    async def _proof(self, account: AccountId) -> Mapping[str, str] | None:
        sealed = await self.proofs.load(_place(account), self.clock.now())
        text = self.seal.open_text(sealed.decode(), _PROOF) if sealed is not None else None
        return json.loads(text) if text is not None else None

    def _opened(self, token: str, purpose: str) -> Mapping[str, str]:
        text = self.seal.open_text(token, purpose)
        if text is None:
            raise LetterOver(detail="link is not ours")
        opened: Mapping[str, str] = json.loads(text)
        return opened

    async def _settle(self, account_id: AccountId, address: str) -> bool:
        """Use the proof up, once; whether it proved the address that the account still has."""
        if not await self.proofs.delete(_place(account_id)):
            return False
        return await anew(lambda: self._verify(account_id, address))

    async def _verify(self, account_id: AccountId, address: str) -> bool:
        account = await self.durable.accounts.load(account_id)
        if account is None or account.status is not AccountStatus.ACTIVE:
            return False
        held = account.profile.get(EMAIL)
        if held is None or held.value != address:
            return False
        await self._save(self.durable.unit(), account, replace(held, verified=True))
        return True

    async def _save(self, unit: UnitOfWork, account: Account, email: ProfileValue, *ended: Ended) -> None:
        """Commits, with what of posting ends. Raises `FormInvalid` if another account proved the same address before (decision 18)."""
        unit.save_account(account.with_profile({**account.profile, EMAIL: email}, self.clock.now()))
        try:
            await (unit.commit() if self.posting is None else self.posting.commit(unit, *ended))
        except Conflict as conflict:
            if conflict.what != "email":
                raise
            raise FormInvalid({CODE: "anothers"}) from conflict


def _place(account: AccountId, what: str = "address") -> str:
    return f"{what}-{hashlib.sha256(account.encode()).hexdigest()[:32]}"

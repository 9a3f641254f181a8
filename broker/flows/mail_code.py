"""Sign in with a code by e-mail, for who turned that on in their account.

Whoever asks hears the same, whether or not an account opens that way, and one letter is written in either case: to the
address as the account keeps it, or to the one that was typed, which then says that it opens nothing here. A code is
good in the browser and for the sign-in that asked, so that guesses cost whoever makes them their own code and nobody
else anything (catalogue 127, 128).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from broker.domain.account import Account, Link
from broker.domain.claims import EMAIL, email_key, read_typed
from broker.domain.letters import Letter
from broker.domain.mail_code import (
    AMR,
    BY_MAIL,
    GOOD_FOR,
    digest_of,
    mail_link,
    make_code,
    new_key,
    new_link,
    read_code,
)
from broker.domain.policy import Policies, notice_version
from broker.domain.ports import Clock, Durable, Entropy, Limits, Transactions
from broker.domain.provider import Identified, Identity
from broker.domain.session import Session
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import AccountId
from broker.errors import FormInvalid, ProviderOff, SignInRequired, TooManyAttempts, WayEnded
from broker.flows.address import CODE
from broker.flows.anew import anew
from broker.flows.ledger import LedgerWriter
from broker.flows.letters import LetterWriter
from broker.flows.sign_in import OtherShown, SignedIn, SignInFlow
from broker.flows.transactions import Carried, Seal

TRIES: Final = 5
"""For one code."""
HOUR: Final = 3600
LETTERS_FROM: Final = 20
"""In an hour from one network address."""
LETTERS_TO_FROM: Final = 4
"""In an hour to one address from one network address."""
LETTERS_TO: Final = 40
"""In an hour to one address from all of them: far more than one network address may cause, so that none locks an owner out."""
_PROOF: Final = "code by e-mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailCodeFlow:
    durable: Durable
    sign_in: SignInFlow
    proofs: Transactions
    """Where the digest of a code waits, sealed."""
    seal: Seal
    limits: Limits
    letters: LetterWriter
    ledger: LedgerWriter
    policies: Policies
    clock: Clock
    entropy: Entropy
    is_on: bool
    """Whether whoever runs this lets codes by e-mail in."""

    # --- turning it on --------------------------------------------------------------------------------

    async def add(self, session: Session, *, locale: str) -> Link:
        """Codes to the address that the account proved let in from now on; the caller made sure of a fresh sign-in.

        Raises `ProviderOff`, `FormInvalid` on `email` (`not_checked`), `SignInRequired`.
        """
        self.check_on()
        link = await anew(lambda: self._add(session, locale))
        if await self.sign_in.sessions.sessions.by_digest(session.secret_digest, self.clock.now()) is None:
            unit = (
                self.durable.unit()
            )  # signed out from elsewhere in this very moment: whoever did that wanted them out
            unit.remove_link(session.account, link.id)
            await unit.commit()
            raise SignInRequired(detail="session ended while codes by e-mail were turned on")
        return link

    async def _add(self, session: Session, locale: str) -> Link:
        account = await self.durable.accounts.load(session.account)
        if account is None:
            raise SignInRequired(detail="account gone")
        email = account.profile.get(EMAIL)
        if email is None or not email.verified:
            raise FormInvalid({EMAIL: "not_checked"})
        standing = mail_link(await self.durable.accounts.links(account.id))
        if standing is not None:
            return standing
        now, unit = self.clock.now(), self.durable.unit()
        notice = notice_version(self.policies, now.date())
        receipt = self.ledger.way_turned_on(unit, session, BY_MAIL, notice_version=notice, locale=locale)
        link = new_link(account.id, receipt.id, self.entropy, now)
        unit.save_account(account)  # so that it fails if the address is changed in this very moment
        unit.add_link(link)
        self.letters.tell(unit, account, Letter.WAY_ADDED, {"provider": BY_MAIL})
        await self.sign_in.sessions.tell_of_ways(unit, account.id, "create", link)
        await unit.commit()
        return link

    # --- a code ---------------------------------------------------------------------------------------

    def check_on(self) -> None:
        """Raises `ProviderOff` where codes by e-mail let nobody in."""
        if not self.is_on:
            raise ProviderOff(detail="codes by e-mail are off")

    async def send(self, carried: Carried, typed: str, *, session: Session | None, network: str) -> Carried:
        """Write to an address, whoever's it is. A fresh sign-in writes to the account's own, whatever was typed.

        `network`: where the browser is, for limits only. Raises `ProviderOff`, `FormInvalid` on `email` (`missing`,
        `bad_value`), `TooManyAttempts`.
        """
        self.check_on()
        transaction = carried.transaction
        to = await self._own_address(session) if transaction.purpose is TransactionPurpose.FRESHEN else typed
        address = read_typed(EMAIL, to)
        if address is None:
            raise FormInvalid({EMAIL: "bad_value" if to.strip() else "missing"})
        await self._count(address, network)
        account = await self.durable.accounts.by_email(email_key(address))
        link = mail_link(await self.durable.accounts.links(account.id if account is not None else AccountId("")))
        await self._write(transaction, address, account if link is not None else None, link)
        return await self.sign_in.box.hold(replace(transaction, code_to=address), carried)

    async def _own_address(self, session: Session | None) -> str:
        account = await self.durable.accounts.load(session.account) if session is not None else None
        email = account.profile.get(EMAIL) if account is not None else None
        return email.value if email is not None else ""

    async def _count(self, address: str, network: str) -> None:
        """Nobody's letter box is filled through us; counted by what was typed, whether or not it opens anything."""
        key = email_key(address)
        for name, limit in (
            (f"code from:{network}", LETTERS_FROM),
            (f"code to:{key} from:{network}", LETTERS_TO_FROM),
            (f"code to:{key}", LETTERS_TO),
        ):
            wait = await self.limits.hit(name, limit=limit, window=HOUR, now=self.clock.now())
            if wait:
                raise TooManyAttempts(wait, detail="letters with a code to sign in")

    async def _write(
        self, transaction: SignInTransaction, address: str, account: Account | None, link: Link | None
    ) -> None:
        """One letter and one proof, whoever it is: nobody else's code is ever good for a proof without a key."""
        code, salt, end = make_code(self.entropy.bytes(16)), self.entropy.token(12), self.clock.now() + GOOD_FOR
        proof = {"id": salt, "digest": digest_of(code, salt), "key": link.key.subject if link is not None else ""}
        await self.proofs.save(_place(transaction), self.seal.seal_text(json.dumps(proof), _PROOF).encode(), end)
        unit = self.durable.unit()
        if account is not None:
            # As the account has it: another spelling that counts as the same may be another person's letter box.
            to, locale, values = account.claims[EMAIL], account.locale or transaction.locale, {"code": code}
            self.letters.write(unit, Letter.SIGN_IN_CODE, to, values=values, locale=locale, until=end)
        else:
            self.letters.write(unit, Letter.NO_SIGN_IN_CODE, address, values={}, locale=transaction.locale, until=end)
        await unit.commit()

    async def redeem(
        self, carried: Carried, typed: str, *, session: Session | None, user_agent: str
    ) -> SignedIn | OtherShown:
        """The code, in the browser and the sign-in that asked for it; once.

        Raises `ProviderOff`, `FormInvalid` on `code` (`wrong`, `over`), `AccountHeld`, `IdentityTaken`; to merge two accounts what
        `SignInFlow.show_other` does.
        """
        self.check_on()
        transaction, now = carried.transaction, self.clock.now()
        proof = await self._proof(transaction)
        if proof is None:
            raise FormInvalid({CODE: "over"})
        tries = await self.limits.hit(
            f"code tries:{proof['id']}", limit=TRIES, window=int(GOOD_FOR.total_seconds()), now=now
        )
        if tries:
            await self.proofs.delete(_place(transaction))
            raise FormInvalid({CODE: "over"})
        if not hmac.compare_digest(digest_of(read_code(typed), proof["id"]), proof["digest"]):
            raise FormInvalid({CODE: "wrong"})
        if not await self.proofs.delete(_place(transaction)):
            raise FormInvalid({CODE: "over"})
        return await self._enter(carried, proof["key"], session, user_agent)

    async def _enter(
        self, carried: Carried, subject: str, session: Session | None, user_agent: str
    ) -> SignedIn | OtherShown:
        transaction = carried.transaction
        identity = Identity(
            provider=BY_MAIL,
            key=new_key(subject),
            claims={},
            verified=frozenset(),
            granted=frozenset(),
            declined=frozenset(),
            authenticated_at=self.clock.now(),
            amr=AMR,
        )
        proved = replace(transaction, code_to=None)
        known = await self.durable.accounts.by_identity(identity.key)
        if known is None:  # turned off, or the address changed, since the letter was written
            raise FormInvalid({CODE: "over"})
        identified = Identified(identity=identity, tokens=None)
        if transaction.purpose is TransactionPurpose.FRESHEN:
            return await self.sign_in.freshen(proved, identified, session, user_agent)
        if transaction.purpose is TransactionPurpose.MERGE:
            return await self.sign_in.show_other(carried, identified, session)
        try:
            signed_in = await self.sign_in.admit(proved, *known, identity, session, user_agent)
        except WayEnded as ended:
            raise FormInvalid({CODE: "over"}) from ended
        unit = self.durable.unit()
        device = signed_in.started.session.device
        self.letters.tell(unit, known[0], Letter.SIGNED_IN_BY_CODE, {"device": device})
        await unit.commit()
        return signed_in

    async def _proof(self, transaction: SignInTransaction) -> Mapping[str, str] | None:
        sealed = await self.proofs.load(_place(transaction), self.clock.now())
        text = self.seal.open_text(sealed.decode(), _PROOF) if sealed is not None else None
        return json.loads(text) if text is not None else None


def _place(transaction: SignInTransaction) -> str:
    return f"code-{hashlib.sha256(transaction.id.encode()).hexdigest()[:32]}"

"""Preview, decision, account: nothing about a person reaches the database before they say yes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from broker.domain.account import (
    Account,
    AccountStatus,
    Link,
    ProfileValue,
    Source,
    suggest_user_names,
    user_name_key,
    user_name_problem,
)
from broker.domain.claims import LOCALE, NAME, PICTURE, PREFERRED_USERNAME, ZONEINFO, clean_text, read_typed
from broker.domain.consent import Purpose
from broker.domain.joining import (
    Address,
    checked_address,
    decided_without_address,
    joining_of,
    without_address,
)
from broker.domain.picture import Picture, picture_of
from broker.domain.policy import FieldPolicy, Policies, notice_version
from broker.domain.ports import Clock, Durable, Entropy
from broker.domain.provider import Identity
from broker.domain.session import Session
from broker.domain.sharing import FieldShare, SharingDecision, decide, missing, preview, preview_digest
from broker.domain.transaction import SignInTransaction
from broker.domain.values import AccountId, ClaimName, ReceiptId
from broker.errors import BadRequest, Conflict, FormInvalid, SignInExpired
from broker.flows.ledger import LedgerWriter
from broker.flows.sign_in import SignedIn, SignInFlow
from broker.flows.transactions import Carried, TransactionBox


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpForm:
    """What the person filled in on "Finish signing up"."""

    user_name: str = field(repr=False)
    typed: Mapping[ClaimName, str] = field(repr=False)
    newsletters: frozenset[str]
    zoneinfo: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressTaken:
    """Another account proved the address in the meantime: nothing was saved, and the person says whose it is."""

    carried: Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpFlow:
    durable: Durable
    box: TransactionBox
    ledger: LedgerWriter
    sign_in: SignInFlow
    fields: Mapping[ClaimName, FieldPolicy]
    policies: Policies
    newsletters: frozenset[str]
    clock: Clock
    entropy: Entropy

    def notice(self) -> str:
        """The terms and privacy notice in force."""
        return notice_version(self.policies, self.clock.now().date())

    def rows(self, transaction: SignInTransaction) -> tuple[FieldShare, ...]:
        """The preview's rows. Raises `SignInExpired` if nobody came back from a provider."""
        identity = self._identity(transaction)
        return preview(identity, self.sign_in.provider(identity.provider).offers, self.fields)

    def picture(self, transaction: SignInTransaction) -> Picture | None:
        """The picture that the person decides on, or decided to keep."""
        decision, identity = transaction.decision, transaction.identity
        if decision is not None:
            held = decision.kept.get(PICTURE)
            value = held.value if held is not None else None
        else:
            value = identity.claims.get(PICTURE) if identity is not None else None
        picture_id = picture_of(value)
        if picture_id is None or transaction.picture is None:
            return None
        return Picture(id=picture_id, jpeg=transaction.picture)

    async def decide(
        self, carried: Carried, *, ticked: frozenset[ClaimName], edits: Mapping[ClaimName, str]
    ) -> Carried:
        """Keep what the person keeps; everything else the provider sent is gone from here on, its tokens too.

        Raises `FormInvalid` with a problem per field; then nothing has changed.
        """
        transaction = carried.transaction
        identity = self._identity(transaction)
        shares = self.rows(transaction)
        decision, problems = decide(
            shares,
            ticked=ticked,
            edits=edits,
            identity=identity,
            digest=preview_digest(shares, self.notice()),
            now=self.clock.now(),
        )
        if problems:
            raise FormInvalid({str(name): problem for name, problem in problems.items()})
        kept_values = {held.value for held in decision.kept.values()}
        stripped = replace(
            identity, claims={}, account_hint=identity.account_hint if identity.account_hint in kept_values else None
        )
        picture = transaction.picture if PICTURE in decision.kept else None
        decided = replace(transaction, identity=stripped, picture=picture, decision=decision, tokens=None)
        return await self.box.keep(decided, carried)

    async def refuse(self, carried: Carried) -> SignInTransaction:
        """ "Do not use Facebook": shred what it sent, take back what it granted, start over (decision 19)."""
        transaction = carried.transaction
        await self.box.drop(carried)
        if transaction.provider is not None:
            await self.sign_in.drop_upstream(transaction.provider, transaction.tokens)
        return SignInTransaction(
            id=self.box.new_id(),
            purpose=transaction.purpose,
            created_at=self.clock.now(),
            expires_at=transaction.expires_at,
            request=transaction.request,
            return_to=transaction.return_to,
            locale=transaction.locale,
            age=transaction.age,
        )

    # --- an address that an account has already -------------------------------------------------------

    def address(self, transaction: SignInTransaction) -> str:
        """The address that the person is asked about. Raises `SignInExpired` if there is none."""
        address = checked_address(self._identity(transaction), transaction.decision)
        if address is None or transaction.address is not Address.ASKED:
            raise SignInExpired(detail="nothing to ask about an address")
        return address

    async def is_mine(self, carried: Carried) -> Carried:
        """What came waits for the account that has the address; all of it but that is gone, tokens too."""
        transaction = carried.transaction
        joining = joining_of(
            self._identity(transaction),
            self.address(transaction),
            transaction.answered_at or self.clock.now(),
        )
        waiting = replace(
            transaction,
            joining=joining,
            address=Address.SETTLED,
            identity=None,
            picture=None,
            picture_failed=False,
            answered_at=None,
            tokens=None,
            decision=None,
        )
        return await self.box.keep(waiting, carried)

    async def is_anothers(self, carried: Carried) -> Carried:
        """The sign-up goes on as if that address had not been sent."""
        transaction = carried.transaction
        self.address(transaction)
        identity, decision = self._identity(transaction), transaction.decision
        without = replace(
            transaction,
            identity=without_address(identity),
            decision=decided_without_address(decision) if decision is not None else None,
            address=Address.ANOTHERS,
        )
        return await self.box.keep(without, carried)

    def to_ask(self, transaction: SignInTransaction) -> tuple[ClaimName, ...]:
        """Needed fields nothing was kept for; the user name is asked in any case."""
        decision = self._decision(transaction)
        return tuple(name for name in missing(self.fields, decision.kept) if name != PREFERRED_USERNAME)

    async def suggestions(self, transaction: SignInTransaction) -> tuple[str, ...]:
        """Up to three free user names made from the name the person keeps, if they keep one."""
        decision = self._decision(transaction)
        held = decision.kept.get(PREFERRED_USERNAME) or decision.kept.get(NAME)
        salt = str(int.from_bytes(self.entropy.bytes(2), "big") % 900 + 100)
        free: list[str] = []
        for idea in suggest_user_names(held.value if held else None, salt):
            if len(free) < 3 and await self.durable.accounts.is_user_name_free(user_name_key(idea)):
                free.append(idea)
        return tuple(free)

    async def create(
        self, carried: Carried, form: SignUpForm, *, session: Session | None, user_agent: str
    ) -> SignedIn | AddressTaken:
        """Account, link and receipt in one unit of work; then the session.

        Raises `FormInvalid` per field (`missing`, `bad_value`, `taken` or a code of `user_name_problem`), and
        `ProviderOff` if the way that vouched for the person was switched off since. If the same identity was signed up
        meanwhile, the person lands in that account: there is never a second (catalogue 176). If the address was proved
        by another account meanwhile, nothing is saved.
        """
        transaction = carried.transaction
        identity, decision = self._identity(transaction), self._decision(transaction)
        self.sign_in.provider(identity.provider)  # one that was switched off meanwhile makes no accounts any more
        if not self.sign_in.knows_age(transaction):
            raise BadRequest(detail="sign-up without an answer to the age question")
        profile = self._profile(decision, form)
        now = self.clock.now()
        account = Account(
            id=AccountId(self.entropy.token(16)),
            profile=profile,
            status=AccountStatus.ACTIVE,
            created_at=now,
            agreed_notice=self.notice(),
            newsletters=tuple(sorted(form.newsletters & self.newsletters)),
            locale=form.locale or transaction.locale,
        )
        unit = self.durable.unit()
        unit.add_account(account)
        receipt = self.ledger.receipt(
            unit,
            account=account.id,
            purpose=Purpose.PREFILL_SIGN_UP,
            counterparty=identity.provider,
            shown=(*decision.accepted, *decision.refused),
            accepted=decision.accepted,
            refused=decision.refused,
            versions={name: self.fields[name].version for name in (*decision.accepted, *decision.refused)},
            notice_version=account.agreed_notice,
            preview_digest=decision.preview_digest,
            transaction=transaction.id,
            sid=None,
            locale=transaction.locale,
        )
        link = self._link(account.id, identity, receipt.id)
        unit.add_link(link)
        picture = self.picture(transaction)
        if picture is not None:
            unit.put_picture(account.id, picture)
        try:
            await unit.commit()
        except Conflict as conflict:
            return await self._lost(conflict, carried, identity, session, user_agent)
        return await self._admit(carried, account, link, identity, session, user_agent)

    async def _lost(
        self, conflict: Conflict, carried: Carried, identity: Identity, session: Session | None, user_agent: str
    ) -> SignedIn | AddressTaken:
        known = await self.durable.accounts.by_identity(identity.key)
        if known is not None:
            return await self._admit(carried, known[0], known[1], identity, session, user_agent)
        if conflict.what == "user_name":
            raise FormInvalid({PREFERRED_USERNAME: "taken"}) from conflict
        if conflict.what == "email":
            asked = replace(carried.transaction, address=Address.ASKED)
            return AddressTaken(carried=await self.box.keep(asked, carried))
        raise conflict

    async def _admit(
        self,
        carried: Carried,
        account: Account,
        link: Link,
        identity: Identity,
        session: Session | None,
        user_agent: str,
    ) -> SignedIn:
        signed_in = await self.sign_in.admit(carried.transaction, account, link, identity, session, user_agent)
        return replace(signed_in, transaction=replace(signed_in.transaction, decision=None))

    def _link(self, account: AccountId, identity: Identity, receipt: ReceiptId) -> Link:
        now = self.clock.now()
        return Link(
            id=self.entropy.token(12),
            account=account,
            provider=identity.provider,
            key=identity.key,
            receipt=receipt,
            linked_at=now,
            last_used_at=now,
            hint=identity.account_hint,
        )

    def _profile(self, decision: SharingDecision, form: SignUpForm) -> dict[ClaimName, ProfileValue]:
        problems: dict[str, str] = {}
        profile = dict(decision.kept)
        for name in missing(self.fields, decision.kept):
            if name == PREFERRED_USERNAME:
                continue
            text = form.typed.get(name, "").strip()
            value = read_typed(name, text)
            if value is None:
                problems[name] = "bad_value" if text else "missing"
            else:
                profile[name] = ProfileValue(value=value, source=Source.PERSON)
        user_name = clean_text(form.user_name, limit=100)
        problem = user_name_problem(user_name) if user_name else "missing"
        if problem is not None:
            problems[PREFERRED_USERNAME] = problem
        if problems:
            raise FormInvalid(problems)
        profile[PREFERRED_USERNAME] = ProfileValue(value=user_name, source=Source.PERSON)
        for name, text in ((ZONEINFO, form.zoneinfo), (LOCALE, form.locale)):
            value = read_typed(name, text)
            if value is not None and name not in profile and name in self.fields:
                profile[name] = ProfileValue(value=value, source=Source.BROWSER)
        return profile

    def _identity(self, transaction: SignInTransaction) -> Identity:
        if transaction.identity is None:
            raise SignInExpired(detail="nobody came back from a provider in this transaction")
        return transaction.identity

    def _decision(self, transaction: SignInTransaction) -> SharingDecision:
        if transaction.decision is None:
            raise SignInExpired(detail="the preview was not decided in this transaction")
        return transaction.decision

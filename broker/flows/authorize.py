"""A relying party's request: is somebody signed in, is it covered by what they agreed to, and if so, a code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from broker.domain import tokens
from broker.domain.account import Account, AccountStatus, ProfileValue, Source
from broker.domain.browser_state import BrowserStates
from broker.domain.checks.authorization import CHOOSING
from broker.domain.claims import claims_of, read_typed
from broker.domain.client import OFFLINE, AskedClaim, Client, asked_claims
from broker.domain.consent import Purpose, Standing, covers, grantable, standing, undecided
from broker.domain.device import LIFETIME as DEVICE_LIFETIME
from broker.domain.grant import (
    CODE_LIFETIME,
    OFFLINE_ACCESS,
    REFRESH_LIFETIME,
    SIGNED_MODES,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
)
from broker.domain.joining import Address
from broker.domain.policy import Policies, needs_agreement, notice_version, text_version
from broker.domain.ports import Clock, Durable, Entropy, Sessions, Signer, UnitOfWork
from broker.domain.session import Session, is_live
from broker.domain.transaction import Facts, SignInTransaction
from broker.domain.values import AccountId, ClaimName, ClientId, GrantId, ReceiptId
from broker.errors import (
    ConsentRequired,
    FormInvalid,
    InvalidRequest,
    LoginRequired,
    SignInRequired,
    UnmetAuthenticationRequirements,
)
from broker.flows.anew import anew
from broker.flows.answers import Answer, AnswerTo, answer, to_whom
from broker.flows.ledger import LedgerWriter
from broker.flows.pushed import PushedRequests
from broker.flows.status import StatusLists

SHORTEST_CONFIRMED: Final = 60
"""Seconds of `max_age` from which on a person confirms with their own account alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that decides what happens with a request, read once."""

    client: Client
    request: AuthorizationRequest
    session: Session | None
    account: Account | None
    standing: Standing
    asked: tuple[AskedClaim, ...]

    @property
    def number_of(self) -> AccountId | None:
        """The account whose number the site knows the person by; `None` for a stranger."""
        account, client = self.account, self.client
        return account.number_for(client.client_id, client.subject_sector) if account is not None else None

    @property
    def is_covered(self) -> bool:
        """Whether the person need not be asked."""
        return covers(self.standing, self.asked, client_version=self.client.version)

    @property
    def to_show(self) -> tuple[AskedClaim, ...]:
        """What the share page asks: everything to a new site or one that looks different, else only what is new."""
        if self.standing.receipt is None or self.standing.counterparty_version != self.client.version:
            return self.asked
        return undecided(self.standing, self.asked) or self.asked

    @property
    def asks_for_more(self) -> bool:
        """Whether the person already shares something with this site."""
        return self.standing.receipt is not None

    @property
    def shown_digest(self) -> str:
        """Fingerprint of what the share page shows."""
        return shown_digest(self.client, self.to_show)

    @property
    def form_digest(self) -> str:
        """The same, and to whom it is shown; the form carries it back (catalogue 134).

        Another tab may have signed somebody else in meanwhile: what one person was shown decides nothing for another.
        """
        return text_version(self.shown_digest, self.session.sid if self.session else "")


def shown_digest(client: Client, asked: tuple[AskedClaim, ...]) -> str:
    """Names, purposes and versions, never values (decision 15)."""
    rows = [f"{ask.claim}:{ask.version}:{ask.needed}" for ask in asked]
    return text_version(client.client_id, client.version, *rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeFlow:
    durable: Durable
    sessions: Sessions
    ledger: LedgerWriter
    clients: Mapping[ClientId, Client]
    policies: Policies
    clock: Clock
    entropy: Entropy
    signer: Signer
    issuer: str
    subject_key: bytes
    pushed: PushedRequests
    statuses: StatusLists | None = None
    """Where tokens that a site checks by itself are said to have ended; `None`: nowhere."""
    keep_site: Callable[[ClientId, UnitOfWork], None] = lambda _client, _unit: None
    """Writes down what is known of the site with what it is given, for sites that nobody put in."""
    states: BrowserStates | None = None
    """What a site's page may watch of the session; `None`: nothing."""

    async def look(self, client: Client, request: AuthorizationRequest, session: Session | None) -> Situation:
        """Read what is needed to decide: one round trip for somebody signed in, none for a stranger."""
        account, now = None, standing(())
        if session is not None:
            found = await self.durable.accounts.with_receipts(
                session.account, Purpose.SHARE_WITH_CLIENT, client.client_id
            )
            if found is not None and found[0].status is AccountStatus.ACTIVE:
                account, now = found[0], standing(found[1])
        return Situation(
            client=client,
            request=request,
            session=session if account is not None else None,
            account=account,
            standing=now,
            asked=asked_claims(client, request.scopes, request.claims.names),
        )

    def facts(self, situation: Situation, transaction: SignInTransaction | None, *, age_known: bool = True) -> Facts:
        """What the dispatcher looks at for a site's request. `age_known`: see `Facts`."""
        account = situation.account
        # Who came back from a provider in this attempt counts, and nobody who was signed in here before.
        is_new = transaction is not None and transaction.identity is not None
        # Who is to show an account of theirs shows it now: an older session proves nothing of that.
        joins = transaction is not None and transaction.joining is not None
        # Whom an app brought comes before whoever is signed in here.
        brought = transaction is not None and transaction.brought is not None
        known = transaction.brought_known if transaction is not None and brought else account is not None and not is_new
        return Facts(
            identified=is_new or brought or (not joins and self._is_identified(situation, transaction)),
            known=known,
            age_known=age_known,
            confirmed=not brought,
            address_settled=transaction is None or transaction.address is not Address.ASKED,
            preview_decided=transaction is not None and transaction.decision is not None,
            policy_agreed=account is not None
            and not needs_agreement(account.agreed_notice, self.policies, self.clock.now().date()),
            client_request=True,
            consented=situation.is_covered and "consent" not in situation.request.prompt,
        )

    def _is_identified(self, situation: Situation, transaction: SignInTransaction | None) -> bool:
        """Whether the session at hand is good enough for this request (OpenID Connect Core §3.1.2.3)."""
        session, request = situation.session, situation.request
        if session is None:
            return False
        just_now = self._is_from(transaction, session)
        if request.id_token_hint is not None:
            hinted = self._hinted(situation)
            if hinted != self._subject(session, situation) and not (just_now and hinted is None):
                return False
        if not self._is_asked_for(session, situation) or not self._is_strong_enough(session, situation):
            return False
        if just_now:
            return True
        if "login" in request.prompt:
            return False
        if not CHOOSING.isdisjoint(request.prompt) and (transaction is None or transaction.sid != session.sid):
            return False
        if request.max_age is not None:
            return (self.clock.now() - session.auth_time).total_seconds() <= request.max_age and request.max_age > 0
        return True

    def is_to_confirm(self, situation: Situation) -> bool:
        """Whether the site means who is signed in, and only wants to know that it is still them: `max_age` is over.

        Then nobody else can answer for them (OpenID Connect Core §3.1.2.1, `id_token_hint`). A moment of less than a minute
        may be over on the way back; whoever asks for that is answered by a sign-in of this very attempt.
        """
        session, request = situation.session, situation.request
        if session is None or (request.max_age or 0) < SHORTEST_CONFIRMED or request.prompt & ({"login"} | CHOOSING):
            return False
        return self._hinted(situation) == self._subject(session, situation) and self._is_strong_enough(
            session, situation
        )

    def refusal(self, situation: Situation, transaction: SignInTransaction) -> str | None:
        """The error a site hears where the person just signed in and still is not who, or not as, it insists on.

        Asking again would go round for ever (OpenID Connect Core §3.1.2.1, `id_token_hint`; §5.5.1, `sub` and `acr`).
        """
        session = situation.session
        if session is None or not self._is_from(transaction, session):
            return None
        hinted = self._hinted(situation) if situation.request.id_token_hint is not None else None
        if hinted not in {None, self._subject(session, situation)} or not self._is_asked_for(session, situation):
            return LoginRequired.code
        return None if self._is_strong_enough(session, situation) else UnmetAuthenticationRequirements.code

    def _is_asked_for(self, session: Session, situation: Situation) -> bool:
        """Whether the site wants this person, or anybody (OpenID Connect Core §5.5.1)."""
        wanted = situation.request.claims.subjects
        return wanted is None or self._subject(session, situation) in wanted

    def _is_strong_enough(self, session: Session, situation: Situation) -> bool:
        """Whether the person signed in as the site insists on, if it does (OpenID Connect Core §5.5.1.1)."""
        wanted = situation.request.claims.acr
        return wanted is None or session.acr in wanted

    def _is_from(self, transaction: SignInTransaction | None, session: Session) -> bool:
        """Whether the session comes from this very attempt to sign in.

        Who was let in by it counts, also where the provider knew them from before: asked again, it would say the same.
        Where the site wants a new sign-in the provider is asked for one, and its answer is the moment (decision 26).
        """
        if transaction is None or session.sid != transaction.sid:
            return False
        return transaction.account == session.account or session.auth_time >= transaction.created_at

    def _hinted(self, situation: Situation) -> object:
        """Whom the site's hint names; `None` for one that is not ours for this site (catalogue 69, 78).

        One that is over says nothing where the person sees no page.
        """
        request, now = situation.request, self.clock.now()
        claims = self.signer.own(request.id_token_hint or "", typ=tokens.ID_TOKEN_TYPE, now=now)
        if claims is None or claims.get("aud") != situation.client.client_id:
            return None
        is_over = claims["exp"] <= now.timestamp()
        return None if is_over and "none" in request.prompt else claims.get("sub")

    def _subject(self, session: Session, situation: Situation) -> str:
        return tokens.subject_for(situation.number_of or session.account, situation.client, self.subject_key)

    async def subject_of(self, account_id: AccountId, client: Client) -> str | None:
        """The person's number at this site; `None` if the account is gone."""
        account = await self.durable.accounts.load(account_id)
        if account is None:
            return None
        return tokens.subject_for(account.number_for(client.client_id, client.subject_sector), client, self.subject_key)

    async def issue(self, situation: Situation) -> Answer:
        """A code on what the person agreed to before."""
        unit = self.durable.unit()
        return await self._issue(situation, situation.standing, situation.standing.receipt, unit)

    async def _issue(
        self, situation: Situation, now_standing: Standing, receipt: ReceiptId | None, unit: UnitOfWork
    ) -> Answer:
        session, account, request = situation.session, situation.account, situation.request
        if session is None or account is None or receipt is None:
            msg = "a code needs a session, an account and a receipt"
            raise TypeError(msg)
        now = self.clock.now()
        claims, values = grantable(now_standing, situation.asked), account.claims
        away = OFFLINE.claim in claims
        grant = Grant(
            id=GrantId(self.entropy.token(12)),
            account=account.id,
            client=situation.client.client_id,
            scopes=request.scopes if away else request.scopes - {OFFLINE_ACCESS},
            claims=claims,
            receipt=receipt,
            sid=session.sid,
            auth_time=session.auth_time,
            amr=session.amr,
            acr=session.acr,
            created_at=now,
            expires_at=now + REFRESH_LIFETIME if away else session.expires_at,
            status=await self.statuses.draw() if self.statuses and situation.client.checks_by_itself else None,
            in_id_token=request.claims.in_id_token(claims, values),
            resources=request.resources,
            code_jkt=request.dpop_jkt,
            not_in_userinfo=request.claims.not_in_userinfo(claims, claims_of(request.scopes), values),
            known_as=situation.number_of if situation.number_of != account.id else None,
        )
        secret = f"dwc_{self.entropy.token(32)}"
        self.keep_site(grant.client, unit)
        unit.add_grant(grant)
        unit.add_code(
            AuthorizationCode(
                digest=hashlib.sha256(secret.encode()).digest(),
                grant=grant.id,
                client=grant.client,
                redirect_uri=request.redirect_uri,
                nonce=request.nonce,
                code_challenge=request.code_challenge,
                expires_at=now + (CODE_LIFETIME if request.device is None else DEVICE_LIFETIME),
            )
        )
        await unit.commit()
        if not await self._is_live(session):
            return await self._take_back(grant, request, LoginRequired.code)
        if not await self._is_agreed(situation, grant):
            return await self._take_back(grant, request, ConsentRequired.code)
        if request.pushed is not None and not await self.pushed.spend(request.pushed):
            return await self._take_back(grant, request, InvalidRequest.code)
        return self.answer(to_whom(request), {"code": secret, **self._watched(request, session)})

    def _watched(self, request: AuthorizationRequest, session: Session) -> Mapping[str, str]:
        """`session_state` where sites may watch it (Session Management 1.0 §2)."""
        if self.states is None:
            return {}
        salt = self.entropy.token(12)
        return {"session_state": self.states.for_site(request.client_id, request.redirect_uri, session.sid, salt)}

    async def _is_live(self, session: Session) -> bool:
        """Whether it was not ended since this request began.

        Asked after the grant is written: signing out ends the session first and lists its grants second, so that one of
        the two sees the other, whichever comes first (catalogue 110).
        """
        now = self.clock.now()
        held = await self.sessions.by_digest(session.secret_digest, now)
        return held is not None and held.sid == session.sid and is_live(held, now)

    async def _is_agreed(self, situation: Situation, grant: Grant) -> bool:
        """Whether nothing of this was withdrawn since the request began; asked after the grant is written, likewise.

        A withdrawal ends every grant it finds in the unit that records it: one that came later ended this one, too. So it
        is with a merge by which the site knows the person by another number.
        """
        after = await self.look(situation.client, situation.request, situation.session)
        now = after.standing
        if after.number_of != grant.number_of:
            return False
        return now.receipt is not None and grant.claims.items() <= grantable(now, situation.asked).items()

    async def _take_back(self, grant: Grant, request: AuthorizationRequest, error: str) -> Answer:
        """The code never leaves: its grant ends, and the site hears why."""
        unit = self.durable.unit()
        unit.revoke_grant(grant.id, self.clock.now())
        await unit.commit()
        return self.deny(request, error)

    async def share(
        self,
        situation: Situation,
        transaction: SignInTransaction,
        *,
        ticked: frozenset[ClaimName],
        typed: Mapping[ClaimName, str],
        locale: str,
    ) -> Answer:
        """The person shares what they ticked: receipt, grant and code in one unit of work.

        Raises `FormInvalid` (`missing`, `bad_value`) when a needed claim has no value.
        """
        tries = count()

        async def once() -> Answer:
            now = situation if next(tries) == 0 else await self._reloaded(situation)
            return await self._share(now, transaction, ticked, typed, locale)

        return await anew(once)

    async def _reloaded(self, situation: Situation) -> Situation:
        """With the account as it is now: another tab changed it. What was shown stays what is answered."""
        now = await self.look(situation.client, situation.request, situation.session)
        if now.account is None:
            raise SignInRequired(detail="account gone")
        return replace(situation, account=now.account)

    async def _share(
        self,
        situation: Situation,
        transaction: SignInTransaction,
        ticked: frozenset[ClaimName],
        typed: Mapping[ClaimName, str],
        locale: str,
    ) -> Answer:
        unit = self.durable.unit()
        situation = self._fill_in(situation, ticked, typed, unit)
        shown = situation.to_show
        account = situation.account
        held = account.claims if account is not None else {}
        accepted = tuple(
            ask.claim
            for ask in shown
            if (ask.needed or ask.claim in ticked) and (ask.claim in held or ask.claim == OFFLINE.claim)
        )
        return await self._decided(situation, transaction, shown, accepted, unit, locale)

    async def keep(self, situation: Situation, transaction: SignInTransaction, *, locale: str) -> Answer:
        """The person goes on sharing what they share, and nothing new (decision 13)."""
        shown = situation.to_show
        shared = tuple(grantable(situation.standing, shown))
        return await self._decided(situation, transaction, shown, shared, self.durable.unit(), locale)

    async def refuse(self, situation: Situation, transaction: SignInTransaction, *, locale: str) -> Answer:
        """The person does not share: recorded, and the site hears `access_denied`."""
        unit = self.durable.unit()
        self._receipt(situation, transaction, situation.to_show, (), unit, locale, denied=True)
        await unit.commit()
        if situation.request.pushed is not None:
            await self.pushed.spend(situation.request.pushed)
        return self.deny(situation.request)

    def deny(self, request: AuthorizationRequest, error: str = "access_denied") -> Answer:
        """An error answer to a verified address."""
        return self.answer(to_whom(request), {"error": error})

    def answer(self, to: AnswerTo, params: Mapping[str, str]) -> Answer:
        """What the site hears, with its own state and our name; signed, if it asked in such a mode (JARM)."""
        plain = answer(to, params, self.issuer)
        carrier = SIGNED_MODES.get(to.mode)
        if carrier is None:
            return plain
        claims = tokens.authorization_response(plain.params, client=to.client_id, now=self.clock.now())
        algorithm = self.clients[to.client_id].signing_algorithm
        signed = self.signer.sign(claims, typ=tokens.RESPONSE_TYPE, algorithm=algorithm)
        return Answer(redirect_uri=to.redirect_uri, params={"response": signed}, mode=carrier)

    async def _decided(
        self,
        situation: Situation,
        transaction: SignInTransaction,
        shown: tuple[AskedClaim, ...],
        accepted: tuple[ClaimName, ...],
        unit: UnitOfWork,
        locale: str,
    ) -> Answer:
        receipt = self._receipt(situation, transaction, shown, accepted, unit, locale)
        before = situation.standing
        versions = {ask.claim: ask.version for ask in shown}
        after = replace(
            before,
            granted={name: version for name, version in before.granted.items() if name not in versions}
            | {name: versions[name] for name in accepted},
            receipt=receipt,
        )
        return await self._issue(situation, after, receipt, unit)

    def _receipt(
        self,
        situation: Situation,
        transaction: SignInTransaction,
        shown: tuple[AskedClaim, ...],
        accepted: tuple[ClaimName, ...],
        unit: UnitOfWork,
        locale: str,
        *,
        denied: bool = False,
    ) -> ReceiptId:
        if situation.account is None or situation.session is None:
            msg = "a receipt needs an account and a session"
            raise TypeError(msg)
        names = tuple(ask.claim for ask in shown)
        return self.ledger.receipt(
            unit,
            account=situation.account.id,
            purpose=Purpose.SHARE_WITH_CLIENT,
            counterparty=situation.client.client_id,
            counterparty_name=situation.client.name,
            shown=names,
            accepted=accepted,
            refused=tuple(name for name in names if name not in accepted),
            versions={ask.claim: ask.version for ask in shown},
            scopes=situation.request.scopes,
            counterparty_version=situation.client.version,
            notice_version=notice_version(self.policies, self.clock.now().date()),
            preview_digest=shown_digest(situation.client, shown),
            transaction=transaction.id,
            sid=situation.session.sid,
            locale=locale,
            denied=denied,
        ).id

    def _fill_in(
        self, situation: Situation, ticked: frozenset[ClaimName], typed: Mapping[ClaimName, str], unit: UnitOfWork
    ) -> Situation:
        """Values the person typed on the share page because they never gave them: theirs from now on."""
        account = situation.account
        if account is None:
            msg = "nobody is signed in"
            raise TypeError(msg)
        added: dict[ClaimName, ProfileValue] = {}
        held = account.claims
        problems: dict[str, str] = {}
        for ask in situation.to_show:
            if ask.claim in held or ask.claim == OFFLINE.claim:
                continue
            text = typed.get(ask.claim, "").strip()
            if text and (ask.needed or ask.claim in ticked):
                value = read_typed(ask.claim, text)
                if value is None:
                    problems[ask.claim] = "bad_value"
                else:
                    added[ask.claim] = ProfileValue(value=value, source=Source.PERSON)
            elif ask.needed:
                problems[ask.claim] = "missing"
        if problems:
            raise FormInvalid(problems)
        if not added:
            return situation
        account = account.with_profile({**account.profile, **added}, self.clock.now())
        unit.save_account(account)
        return replace(situation, account=account)

"""A site registers by itself, looks at what is kept of it, changes it, and leaves (RFC 7591 §3, RFC 7592 §2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Protocol

from broker.domain.audit import Act, Action
from broker.domain.client import Client
from broker.domain.documents import mark
from broker.domain.logo import Logo, seen_version
from broker.domain.ports import Clock, Durable, Entropy, Limits, UnitOfWork
from broker.domain.registration import PREFIX, Invitation, Registration
from broker.domain.values import ClientId, Scope, Secret
from broker.errors import Conflict, InvalidClientMetadata, InvalidToken, NotFound, TooManyAttempts
from broker.flows.anew import anew
from broker.flows.audit import AuditTrail

TOKEN_BYTES: Final = 32
ID_BYTES: Final = 12
REFUSALS_PER_MINUTE: Final = 10
"""Bad tokens of one address; a good one is never held up by them."""
TRIES_PER_HOUR: Final = 200
"""Of one invitation, whatever became of them."""
CHANGES_PER_HOUR: Final = 60
"""Of one site."""
MOST_USES: Final = 100
MOST_DAYS: Final = 90


class Judge(Protocol):
    """What a site said of itself, judged by the rules of configured sites. Raises a refusal with the RFC's code."""

    def needs_secret(self, metadata: Mapping[str, Any]) -> bool: ...
    def client(
        self, metadata: Mapping[str, Any], client_id: ClientId, secret: Secret | None, scopes: frozenset[Scope]
    ) -> Client: ...
    def kept(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """What of it means something here."""
        ...

    def moves(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether the site would be at another host, or in another sector, than it was."""
        ...

    async def look_around(self, client: Client) -> None:
        """What cannot be judged without asking elsewhere; refusals as `client`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the site is told; both secrets for the only time."""

    registration: Registration
    client: Client
    metadata: Mapping[str, Any]
    secret: Secret | None
    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """What an admin decides about sites that put themselves in."""

    durable: Durable
    trail: AuditTrail
    clock: Clock

    async def reviewed(self, kept: Registration, act: Act, logo: Logo | None = None) -> bool:
        """Somebody looked at it as it is, with this logo. Whether that is new; raises `Conflict` if either changed meanwhile."""
        is_new_logo = logo is not None and not logo.is_shown
        if kept.reviewed_at is not None and not is_new_logo:
            return False

        def work(unit: UnitOfWork) -> None:
            # With the logo alone, too: what stands beside it is what it was.
            reviewed_at = kept.reviewed_at or self.clock.now()
            unit.save_registration(replace(kept, reviewed_at=reviewed_at), shown=kept.token_digest)
            if logo is not None and is_new_logo:
                unit.show_logo(logo.owner, logo.digest)

        await self.noted(work, Action.SITE_REVIEWED, f"{kept.client_id} {seen_version(kept, logo)}", act)
        return True

    async def put_out(self, kept: Registration, act: Act) -> None:
        """A site that registered goes, and its invitation ends with it, else it would register again."""

        def work(unit: UnitOfWork) -> None:
            unit.drop_invitation(kept.invitation)
            unit.remove_registration(kept.client_id, self.clock.now())

        await self.noted(work, Action.SITE_REMOVED, kept.client_id, act)

    async def block(self, client_id: ClientId, act: Act) -> None:
        """The site whose document is at that address is known here no more, and whatever it was granted ends."""
        now, nothing = self.clock.now(), "{}"
        unknown = Registration(
            client_id=client_id,
            invitation="",
            metadata=nothing,
            scopes=frozenset(),
            token_digest=mark(nothing),
            registered_at=now,
            fresh_until=now,
        )

        def work(unit: UnitOfWork) -> None:
            unit.block_document(unknown, now)

        await self.noted(work, Action.SITE_BLOCKED, client_id, act)

    async def unblock(self, client_id: ClientId, act: Act) -> bool:
        """It may come again, and has nothing of what it was granted. Whether it was blocked."""
        kept = await self.durable.registrations.load(client_id)
        if kept is None or kept.blocked_at is None:
            return False

        def work(unit: UnitOfWork) -> None:
            unit.remove_registration(client_id, self.clock.now())

        await self.noted(work, Action.SITE_UNBLOCKED, client_id, act)
        return True

    async def blocked(self) -> tuple[ClientId, ...]:
        """Who is, by id."""
        last, found = ClientId(""), list[ClientId]()
        while page := await self.durable.registrations.after(last):
            found += [kept.client_id for kept in page if kept.blocked_at is not None]
            last = page[-1].client_id
        return tuple(found)

    async def noted(self, work: Callable[[UnitOfWork], None], action: Action, subject: str, act: Act) -> None:
        """What an admin does, and the entry that tells it."""

        async def once() -> None:
            unit = self.durable.unit()
            work(unit)
            await self.trail.noted(unit, action, subject, act)
            await unit.commit()

        await anew(once)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrations:
    durable: Durable
    limits: Limits
    judge: Judge
    reviews: Reviews
    digest: Callable[[str], bytes]
    clock: Clock
    entropy: Entropy

    async def invite(self, scopes: frozenset[Scope], *, uses: int, days: int, note: str, act: Act) -> Secret:
        """An initial access token for so many sites and days. It is told here and kept nowhere."""
        if not 0 < uses <= MOST_USES or not 0 < days <= MOST_DAYS:
            msg = f"1 to {MOST_USES} uses, 1 to {MOST_DAYS} days"
            raise ValueError(msg)
        token, now = self.entropy.token(TOKEN_BYTES), self.clock.now()
        invitation = Invitation(
            id=self.entropy.token(ID_BYTES),
            digest=self.digest(token),
            scopes=scopes,
            uses_left=uses,
            created_at=now,
            expires_at=now + timedelta(days=days),
            note=note,
        )

        def work(unit: UnitOfWork) -> None:
            unit.add_invitation(invitation)

        await self.reviews.noted(work, Action.SITE_INVITED, f"{invitation.id} {uses}", act)
        return Secret(token)

    async def invitations(self) -> tuple[Invitation, ...]:
        """Those that somebody can still register with, oldest first."""
        now, last, good = self.clock.now(), "", list[Invitation]()
        while page := await self.durable.registrations.invitations(last):
            good += [one for one in page if one.uses_left and one.expires_at > now]
            last = page[-1].id
        return tuple(sorted(good, key=lambda one: one.created_at))

    async def uninvite(self, id_: str, act: Act) -> None:
        """Nobody registers with it any more; who did stays. Raises `NotFound`."""
        if id_ not in {one.id for one in await self.invitations()}:
            raise NotFound(detail="invitation")

        def work(unit: UnitOfWork) -> None:
            unit.drop_invitation(id_)

        await self.reviews.noted(work, Action.INVITATION_ENDED, id_, act)

    async def register(self, token: str, metadata: Mapping[str, Any], *, address: str) -> Answer:
        """A new site. Raises `InvalidToken` for a token that is none, over or used up, and the judge's refusal."""
        now = self.clock.now()
        invitation = await self.durable.registrations.invitation(self.digest(token))
        if invitation is None or not invitation.uses_left or invitation.expires_at <= now:
            raise await self._refused(address, "initial access token")
        await self._counted(invitation.id, TRIES_PER_HOUR)
        kept = Registration(
            client_id=ClientId(f"{PREFIX}{self.entropy.token(ID_BYTES)}"),
            invitation=invitation.id,
            metadata="",
            scopes=invitation.scopes,
            token_digest=b"",
            registered_at=now,
        )
        answer = await self._judged(kept, metadata)
        unit = self.durable.unit()
        unit.register(answer.registration, now)
        try:
            await unit.commit()
        except Conflict as error:  # the last use went to somebody else meanwhile
            raise await self._refused(address, f"initial access token: {error.what}") from None
        return answer

    async def opened(self, client_id: str, token: str, *, address: str) -> Registration:
        """The registration that this token is for. One refusal for every reason (RFC 7592 §2.1): nobody learns which exist."""
        kept = await self.durable.registrations.load(ClientId(client_id))
        if kept is None or kept.has_document or kept.token_digest != self.digest(token):
            raise await self._refused(address, "registration access token")
        return kept

    def is_secret_of(self, kept: Registration, secret: object) -> bool:
        """Whether this is the secret that the site has now."""
        return isinstance(secret, str) and kept.secret_digest == self.digest(secret)

    async def change(self, kept: Registration, metadata: Mapping[str, Any], *, address: str) -> Answer:
        """Everything anew (RFC 7592 §2.2), with other secrets; and nobody has looked at it yet. Errors as `register`.

        It stays where it is: elsewhere it would learn, by what it was granted here, by which number others know people.
        """
        await self._counted(kept.client_id, CHANGES_PER_HOUR)
        answer = await self._judged(replace(kept, reviewed_at=None), metadata)
        unit = self.durable.unit()
        unit.save_registration(answer.registration, shown=kept.token_digest)
        try:
            await unit.commit()
        except Conflict:
            raise await self._refused(address, "registration access token used meanwhile") from None
        return answer

    async def remove(self, kept: Registration, *, address: str) -> None:
        """The site goes, and whatever it was granted ends (RFC 7592 §2.3). Raises `InvalidToken` if it is gone already."""
        unit = self.durable.unit()
        unit.remove_registration(kept.client_id, self.clock.now())
        try:
            await unit.commit()
        except Conflict:
            raise await self._refused(address, "registration gone meanwhile") from None

    async def _judged(self, kept: Registration, metadata: Mapping[str, Any]) -> Answer:
        secret = Secret(self.entropy.token(TOKEN_BYTES)) if self.judge.needs_secret(metadata) else None
        token = Secret(self.entropy.token(TOKEN_BYTES))
        client = self.judge.client(metadata, kept.client_id, secret, kept.scopes)
        metadata = self.judge.kept(metadata)
        if kept.metadata and self.judge.moves(json.loads(kept.metadata), metadata):
            raise InvalidClientMetadata(detail="site moves", public="A site stays at its host; register one there")
        await self.judge.look_around(client)
        registration = replace(
            kept,
            metadata=json.dumps(metadata),
            secret_digest=None if secret is None else self.digest(secret.reveal()),
            token_digest=self.digest(token.reveal()),
        )
        return Answer(registration=registration, client=client, metadata=metadata, secret=secret, token=token)

    async def _counted(self, whose: str, limit: int) -> None:
        """Judging costs us time, and calls to addresses of the site's choice. Raises `TooManyAttempts`."""
        wait = await self.limits.hit(f"registering:{whose}", limit=limit, window=3600, now=self.clock.now())
        if wait:
            raise TooManyAttempts(wait, detail="registrations of one invitation or site")

    async def _refused(self, address: str, why: str) -> InvalidToken | TooManyAttempts:
        wait = await self.limits.hit(
            f"registration:{address}", limit=REFUSALS_PER_MINUTE, window=60, now=self.clock.now()
        )
        return TooManyAttempts(wait, detail=why) if wait else InvalidToken(detail=why)

"""Who gets to see a kept picture: its owner, and whoever asks at an address that a site was given and may still use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.domain.account import AccountStatus
from broker.domain.claims import PICTURE
from broker.domain.client import Client
from broker.domain.consent import Purpose, standing
from broker.domain.picture import Picture, is_shared, picture_of
from broker.domain.ports import Durable, PictureAddresses
from broker.domain.values import AccountId, ClientId
from broker.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFlow:
    durable: Durable
    clients: Mapping[ClientId, Client]
    addresses: PictureAddresses

    async def own(self, account: AccountId) -> Picture:
        """The picture of the account, for the person themselves. Raises `NotFound`."""
        found = await self.durable.pictures.load(account)
        if found is None:
            raise NotFound(detail="no picture")
        return found

    async def shared(self, name: str) -> Picture:
        """The picture behind a site's address, as long as the person shares it with that site. Raises `NotFound`."""
        where = self.addresses.read(name)
        client = self.clients.get(where.client) if where is not None else None
        if where is None or client is None:
            raise NotFound(detail="no address of a picture")
        found = await self.durable.accounts.with_receipts(where.account, Purpose.SHARE_WITH_CLIENT, where.client)
        if found is None or found[0].status is not AccountStatus.ACTIVE or not is_shared(client, standing(found[1])):
            raise NotFound(detail="picture not shared with this site")
        if picture_of(found[0].claims.get(PICTURE)) != where.picture:
            raise NotFound(detail="picture gone or replaced")
        return await self.own(where.account)

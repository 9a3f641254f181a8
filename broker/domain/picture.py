"""Pictures of people: what a profile holds of one, and what one of its addresses stands for.

A provider's own address of a picture is never kept, shown or shared: its host would learn who looks, and the picture
behind it may change (catalogue 141). The picture is fetched once, drawn anew, and kept by us or nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from broker.domain.claims import PICTURE
from broker.domain.client import Client
from broker.domain.consent import Standing
from broker.domain.values import AccountId, ClientId

MEDIA_TYPE: Final = "image/jpeg"
"""What sites' software reads everywhere."""
_KEPT: Final = "picture:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of one account, as we drew it. Another picture has another id."""

    id: str
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPicture:
    """What an address of a picture stands for: one picture, at one site. Elsewhere it has another address."""

    account: AccountId
    picture: str
    client: ClientId


def kept_as(picture_id: str) -> str:
    """How a profile holds a picture."""
    return f"{_KEPT}{picture_id}"


def picture_of(value: str | None) -> str | None:
    """The id of the picture that a profile's value stands for; `None` if it stands for none that we have."""
    return value[len(_KEPT) :] if value is not None and value.startswith(_KEPT) else None


def is_shared(client: Client, standing: Standing) -> bool:
    """Whether this site may show the picture now: agreed to, for the purpose in force (promise P6)."""
    in_force = {ask.claim: ask.version for ask in client.asks}
    return client.enabled and PICTURE in in_force and standing.granted.get(PICTURE) == in_force[PICTURE]

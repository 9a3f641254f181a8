"""Values to bytes and back. msgspec checks types while it decodes and costs about a microsecond per record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

import msgspec

from broker.domain.account import Account, Passkey
from broker.domain.consent import ConsentReceipt
from broker.domain.grant import Grant
from broker.domain.posting import Posting
from broker.domain.provider import UpstreamTokens
from broker.domain.session import Session
from broker.errors import StoreUnavailable

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode


def _decoder(what: str, kind: type[T]) -> Callable[[bytes], T]:
    """Reads records of a kind. One that does not read was damaged: `StoreUnavailable`, without a value of it."""
    decode = msgspec.json.Decoder(kind).decode

    def read(data: bytes) -> T:
        try:
            return decode(data)
        except msgspec.DecodeError:
            raise StoreUnavailable(f"{what} does not read") from None

    return read


class Sealed(NamedTuple):
    """What a link's cell holds. Without a passkey it is as before there were any, so that an older program reads it."""

    issuer: str
    subject: str
    hint: str | None
    passkey: Passkey | None = None


decode_account: Final = _decoder("account", Account)
decode_receipt: Final = _decoder("receipt", ConsentReceipt)
decode_grant: Final = _decoder("grant", Grant)
decode_posting: Final = _decoder("posting", Posting)
decode_session: Final = _decoder("session", Session)
decode_tokens: Final = _decoder("upstream tokens", UpstreamTokens)
decode_texts: Final = _decoder("texts", dict[str, str])
decode_identity: Final = _decoder("identity", Sealed)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC: how every time lies in the databases. Raises `TypeError` on a naive time."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The aware UTC time `at` microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=at)


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def moment_or_none(at: int | None) -> datetime | None:
    return None if at is None else moment(at)

"""Values to bytes and back. msgspec checks types while it decodes and costs about a microsecond per record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from broker.domain.account import Account
from broker.domain.consent import ConsentReceipt
from broker.domain.grant import Grant
from broker.domain.posting import Posting
from broker.domain.provider import UpstreamTokens
from broker.domain.session import Session

encode: Final = msgspec.json.Encoder().encode

decode_account: Final = msgspec.json.Decoder(Account).decode
decode_receipt: Final = msgspec.json.Decoder(ConsentReceipt).decode
decode_grant: Final = msgspec.json.Decoder(Grant).decode
decode_posting: Final = msgspec.json.Decoder(Posting).decode
decode_session: Final = msgspec.json.Decoder(Session).decode
decode_tokens: Final = msgspec.json.Decoder(UpstreamTokens).decode
decode_texts: Final = msgspec.json.Decoder(dict[str, str]).decode
decode_identity: Final = msgspec.json.Decoder(tuple[str, str, str | None]).decode

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

"""Values that an older program kept are read by this one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support import builders as make

from broker.domain.values import AccountId
from broker.errors import StoreUnavailable
from broker.stores.records import decode_account, decode_grant, encode

OWNER = AccountId("ana")


@pytest.mark.parametrize(
    ("value", "decode", "newer"),
    [
        (make.account("ana"), decode_account, {"kept_numbers"}),
        (make.grant(OWNER), decode_grant, {"known_as"}),
    ],
)
def test_what_was_kept_before_numbers_were_reads_as_without_any(
    value: Any, decode: Callable[[bytes], Any], newer: set[str]
) -> None:
    kept = json.loads(encode(value))
    assert newer <= set(kept)
    older = json.dumps({name: one for name, one in kept.items() if name not in newer}).encode()
    assert decode(older) == value


def test_a_kept_number_that_was_damaged_is_no_account_without_one() -> None:
    """Nobody is given another number because a record does not read."""
    kept = json.loads(encode(make.account("ana"))) | {"kept_numbers": {"forum.test": {"sites": []}}}
    with pytest.raises(StoreUnavailable):
        decode_account(json.dumps(kept).encode())

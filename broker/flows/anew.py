"""Changing what somebody else may change at the same moment: over what was loaded and nothing else, or else anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from broker.errors import Conflict, Overtaken

T = TypeVar("T")

TRIES: Final = 5


async def anew(change: Callable[[], Awaitable[T]]) -> T:
    """`change` loads, decides and saves. Where what it had loaded was saved by another meanwhile, it is done over.

    Raises `Overtaken` if that happens each time.
    """
    for _ in range(TRIES):
        try:
            return await change()
        except Conflict as conflict:
            if conflict.what != "stale":
                raise
    raise Overtaken(detail="changed elsewhere each time")

"""The two databases behind one small interface. Owns connections and what their errors mean; knows no table's purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from broker.stores.sql.statements import Params, Row, Script, Statement, Step

T = TypeVar("T")


class Driver(Protocol):
    """Runs statements. Raises `Conflict` or `StoreUnavailable` and no error of its own library."""

    async def read(self, statement: Statement, params: Params) -> Sequence[Row]:
        """Rows of one SELECT."""
        ...

    async def write(self, statement: Statement, params: Params, *, lasting: bool = True) -> Sequence[Row]:
        """One statement in a transaction of its own. `lasting=False`: a power cut may forget it."""
        ...

    async def commit(self, steps: Sequence[Step]) -> None:
        """All steps in one transaction, in order, or none."""
        ...

    async def run(self, script: Callable[[], Script[T]], *, lasting: bool = True) -> T:
        """One transaction whose later steps depend on the rows of earlier ones."""
        ...

    async def close(self) -> None: ...

"""Rounds of one kind on one pair of stores, counted."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import asyncpg
from tests.races.arena import Arena
from tests.races.kinds import Kind

TAKERS: Final = 8
FAMILIES: Final = (
    "SELECT count(*) FROM (SELECT grant_id FROM refresh_families GROUP BY grant_id HAVING count(*) > 1) AS doubled"
)
ORPHANS: Final = "SELECT count(*) FROM refresh_families WHERE grant_id NOT IN (SELECT id FROM grants)"


@dataclass
class Count:
    """What came of it."""

    rounds: int = 0
    won: int = 0
    """Rounds in which somebody succeeded."""
    killed: int = 0


async def run(
    arena: Arena, kind: Kind, *, rounds: int, kills: int, seed: int, tell: Callable[[Count], None] | None = None
) -> Count:
    """Run them; in `kills` of them, chosen by `seed`, a server dies. Raises `AssertionError` with the round's number."""
    count, deadly = Count(), set(random.Random(seed).sample(range(rounds), min(kills, rounds)))
    for number in range(rounds):
        try:
            won = await kind.race(arena, kills=number in deadly)
        except AssertionError as broken:
            raise AssertionError(f"round {number} of {rounds} (seed {seed}): {broken}") from broken
        count.rounds += 1
        count.won += won > 0
        count.killed += number in deadly
        if tell is not None:
            tell(count)
    return count


async def check_database(url: str) -> None:
    """Nothing half-written: no grant with two families, no family without its grant, and a file that is whole."""
    if url.startswith("sqlite"):
        with sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True) as connection:
            found = [connection.execute(query).fetchone()[0] for query in (FAMILIES, ORPHANS)]
            found += [connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok"]
        connection.close()
    else:
        postgres = await asyncpg.connect(url)
        try:
            found = [await postgres.fetchval(query) for query in (FAMILIES, ORPHANS)]
        finally:
            await postgres.close()
    assert not any(found), f"doubled families, orphans, a broken file: {found}"

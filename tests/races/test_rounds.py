"""Two hundred rounds of every race on both kinds of stores, a server killed in three of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.races.arena import open_arena
from tests.races.kinds import KINDS
from tests.races.rounds import TAKERS, check_database, run
from tests.support.servers import PostgresServer, RedisServer

ROUNDS, KILLS = 200, 3


@pytest.mark.parametrize("stores", ["sqlite", "postgresql"])
@pytest.mark.parametrize("kind", KINDS)
async def test_of_eight_takers_at_two_servers_there_is_never_a_second_success(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer, kind: str, stores: str
) -> None:
    """Also while one of the servers is killed (catalogue 21, 88)."""
    url = postgres_server.create() if stores == "postgresql" else f"sqlite:///{tmp_path / 'doorward.db'}"
    memory = redis_server.url if stores == "postgresql" else None
    async with open_arena(tmp_path, database_url=url, redis_url=memory, many=TAKERS) as arena:
        count = await run(arena, KINDS[kind], rounds=ROUNDS, kills=KILLS, seed=7)
    await check_database(url)
    assert (count.rounds, count.killed) == (ROUNDS, KILLS)
    assert count.won > ROUNDS // 2, "hardly anybody ever succeeds: this proves nothing"

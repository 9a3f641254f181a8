"""`make races`: every kind on both kinds of stores, as many rounds as asked for; exit code 0 only if every rule held."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.races.arena import open_arena
from tests.races.kinds import KINDS
from tests.races.rounds import TAKERS, Count, check_database, run
from tests.support.servers import PostgresServer, RedisServer, free_port

STORES: Final = ("sqlite", "postgresql")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100, help="rounds in which a server is killed")
    parser.add_argument("--takers", type=int, default=TAKERS)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, with commas")
    parser.add_argument("--stores", default=",".join(STORES), help="stores, with commas")
    asked = parser.parse_args(words)
    broken = 0
    for stores in asked.stores.split(","):
        for name in asked.only.split(","):
            begun = time.monotonic()
            try:
                count = asyncio.run(_race(stores, name, asked))
            except AssertionError as error:
                broken += 1
                print(f"BROKEN  {stores:<11} {name:<8} {error}", flush=True)
                continue
            print(
                f"held    {stores:<11} {name:<8} {count.rounds} rounds of {asked.takers} takers, somebody won in {count.won}, "
                f"a server was killed in {count.killed}; {time.monotonic() - begun:.0f} s, seed {asked.seed}",
                flush=True,
            )
    return 1 if broken else 0


async def _race(stores: str, name: str, asked: argparse.Namespace) -> Count:
    with _stores(stores) as (folder, url, memory):
        async with open_arena(folder, database_url=url, redis_url=memory, many=asked.takers) as arena:
            count = await run(
                arena,
                KINDS[name],
                rounds=asked.rounds,
                kills=asked.kills,
                seed=asked.seed,
                tell=_Progress(f"{stores} {name}"),
            )
        await check_database(url)
    return count


class _Progress:
    """A line every few seconds, where somebody looks on."""

    def __init__(self, words: str) -> None:
        self.words, self.last = words, time.monotonic()

    def __call__(self, count: Count) -> None:
        if time.monotonic() - self.last > 20:
            self.last = time.monotonic()
            print(f"        {self.words}: {count.rounds} rounds", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _stores(kind: str) -> Iterator[tuple[Path, str, str | None]]:
    """A folder, an empty database, and Redis where it belongs to it."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-races-", ignore_cleanup_errors=True))
        )
        if kind == "sqlite":
            yield folder, f"sqlite:///{folder / 'doorward.db'}", None
            return
        places = [folder / "postgres", folder / "redis"]
        for place in places:
            place.mkdir(mode=0o700)
        folder.chmod(0o711)
        database, memory = PostgresServer(places[0], free_port()), RedisServer(places[1], free_port())
        database.start()
        stack.callback(database.stop)
        memory.start()
        stack.callback(memory.stop)
        yield folder, database.create(), memory.url


if __name__ == "__main__":
    raise SystemExit(main())

"""The tests of the route fuzz, shared by the files that run them on one database each.

The seed is pytest-randomly's, printed by `make test`; `SEED=123 make test` or `pytest -p randomly_seed=123` repeats a run.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.security.fuzz import DOCUMENT_HOST, Larder, Plan, check, leaks
from tests.security.hostile import Dice
from tests.security.raw import ask
from tests.support.house import DOORWARD_TOML, PROVIDERS_TOML, Sandboxes, open_house
from tests.support.watch import check_lines

from broker.web.routes import ROUTES, Route

REQUESTS: Final = int(os.environ.get("DOORWARD_FUZZ", "200"))
"""For each route, visitor and database."""
FRESH_EVERY: Final = 50
"""Requests after which a visitor gets new pieces: by then many are used up."""


POSTING: Final = """
[facebook.posting]
kind = "facebook_share"
url = "%(facebook_url)s/v26.0/dialog/share"
"""


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@asynccontextmanager
async def open_larder(
    folder: Path, sandboxes: Sandboxes, database_url: str, redis_url: str | None = None
) -> AsyncIterator[Larder]:
    """A house on this database, with people in it."""
    await sandboxes.reset()
    providers = PROVIDERS_TOML + POSTING
    async with open_house(
        folder,
        sandboxes,
        database_url=database_url,
        redis_url=redis_url,
        providers=providers,
        doorward=DOORWARD_TOML.replace("[broker]\n", "[broker]\npasskeys = true\n"),
        change={"client_documents": "listed", "client_document_hosts": (DOCUMENT_HOST,)},
    ) as house:
        larder = Larder(house)
        await larder.fill()
        yield larder


async def shoot(larder: Larder, route: Route, actor: str, seed: int) -> None:
    """Generated requests for one route as one visitor; raises `AssertionError` with the first that goes wrong."""
    dice = Dice(zlib.crc32(f"{seed} {name_of(route)} {actor}".encode()))
    for first in range(0, REQUESTS, FRESH_EVERY):
        held = await larder.held()
        start = larder.house.log_stream.tell()
        plan = Plan(larder, held, route, actor, dice)
        for number in range(first, min(first + FRESH_EVERY, REQUESTS)):
            asked = plan.request()
            answer = await ask(larder.app, asked)
            wrong = check(larder.house, asked, answer)
            assert not wrong, (
                f"{', '.join(wrong)}\nrequest {number} as {actor} with seed {seed}:\n{asked}\n\n{_shown(answer.text)}\n{_tail(larder, start)}"
            )
        log = _tail(larder, start)
        found = leaks(log, held)
        assert not found, f"the log holds {', '.join(found)} after {name_of(route)} as {actor} with seed {seed}"
        check_lines(log)


def _tail(larder: Larder, start: int) -> str:
    stream = larder.house.log_stream
    return stream.getvalue()[start:].decode()


def _shown(text: str) -> str:
    try:
        return json.dumps(json.loads(text))[:400]
    except ValueError:
        return text[-600:]


__all__ = ["ROUTES", "Larder", "name_of", "open_larder", "shoot"]

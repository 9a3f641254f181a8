"""Generated requests on every route, with SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.security.fuzz import ACTORS
from tests.security.routes_under_fire import ROUTES, Larder, name_of, open_larder, shoot
from tests.support.house import Sandboxes

from broker.web.routes import Route

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def larder(tmp_path_factory: pytest.TempPathFactory, _sandbox_servers: Sandboxes) -> AsyncIterator[Larder]:
    folder = tmp_path_factory.mktemp("fuzz")
    async with open_larder(folder, _sandbox_servers, f"sqlite:///{folder / 'doorward.db'}") as opened:
        yield opened


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_no_request_breaks_a_route(larder: Larder, route: Route, actor: str, pytestconfig: pytest.Config) -> None:
    """No 5xx but a deliberate 503, the same headers, no foreign target, nothing in the log (catalogue 17, 79, 95, 131, 148, 150, 151, 152, 184)."""
    await shoot(larder, route, actor, pytestconfig.getoption("randomly_seed"))

"""A house with one more provider than the sandboxes: an emulator on a socket of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.house import DOORWARD_TOML, PROVIDERS_TOML, House, Sandboxes, open_house


@asynccontextmanager
async def open_house_beside(
    url: str, table: str, folder: Path, sandboxes: Sandboxes, **environ: str
) -> AsyncIterator[House]:
    """`url`: where the emulator is; `table`: the provider's table in the configuration; `environ`: its secrets."""
    doorward = f'{DOORWARD_TOML}\n[egress."{urlsplit(url).netloc}"]\n'
    providers = PROVIDERS_TOML + table
    async with open_house(folder, sandboxes, doorward=doorward, providers=providers, environ=environ) as house:
        yield house

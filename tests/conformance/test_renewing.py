"""The plan for refresh tokens (oidcc-client-refreshtoken-test-plan), each module as a test of the same name.

A refresh token is kept of nobody but those who turned posting on, and used when they post after their access token ran out.
As in the suite, the module that renews passes when the new access token is used; one that spoils the ID token of the answer
passes when the answer is refused: nothing is posted, and what came with it is never used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.house import PROVIDERS_TOML, House, Sandboxes, Shown, open_house
from tests.web.test_posting import POSTING_TOML, Member, is_on, states, statuses

from broker.cli.provider_attempts import of_failures
from broker.domain.values import ProviderId

LASTING = PROVIDERS_TOML + POSTING_TOML + 'lasting_scopes = ["offline_access"]\n'
POST = "decision=post"


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=LASTING) as opened:
        yield opened


async def later(house: House, member: Member) -> Shown:
    """They post two hours after they turned it on, when the first access token has run out."""
    await member.opt_in()
    await house.move(hours=2)
    return await member.preview()


async def press(member: Member) -> Shown:
    shown = await member.browser.press(POST)
    assert isinstance(shown, Shown)
    return shown


async def asked(house: House, path: str = "/token") -> list[dict[str, Any]]:
    return [line for line in await house.openid.log() if line["path"] == path]


async def refreshes(house: House) -> list[dict[str, Any]]:
    return [line for line in await asked(house) if line["form"].get("grant_type") == "refresh_token"]


async def refused(house: House, fault: str, check: str) -> None:
    """Nothing is posted, nothing ends, and it is written down. When the provider is right again, posting works again, if its
    refresh token still does.
    """
    member = await Member.join(house)
    await later(house, member)
    await house.openid.order(faults=[{"name": fault}, {"name": "refresh-not-rotated"}])
    shown = await press(member)
    assert await states(member) == ["failed"]
    assert await statuses(house) == []
    assert await asked(house, "/api/v1/statuses") == []
    assert f'"check":"{check}"' in house.log.replace(" ", "")
    assert '"event":"posting_failed"' in house.log.replace(" ", "")
    await house.opened.trace.flush()
    (kept,) = of_failures(await house.world.durable.failures.newest(ProviderId("openid"), 9))
    assert kept.what.startswith("A post was not taken: ")
    assert f"({check})" in kept.what
    assert "Not posted" in shown.text or "not posted" in shown.text
    assert await is_on(member)
    await house.openid.order(faults=[])
    await member.preview()
    await press(member)
    assert sorted(await states(member)) == ["failed", "posted"]


async def test_oidcc_client_test_refresh_token(house: House) -> None:
    member = await Member.join(house)
    await later(house, member)
    await press(member)
    assert await states(member) == ["posted"]
    (refresh,) = await refreshes(house)
    assert refresh["auth"] == "basic"
    (posted,) = await asked(house, "/api/v1/statuses")
    assert posted["status"] == 200
    assert len(await statuses(house)) == 1
    await house.move(hours=2)
    await member.preview(text="Later that day")
    await press(member)
    first, second = await refreshes(house)
    assert first["refresh_ref"] != second["refresh_ref"]
    assert await states(member) == ["posted", "posted"]


async def test_oidcc_client_test_refresh_token_invalid_issuer(house: House) -> None:
    await refused(house, "iss-wrong", "iss")


async def test_oidcc_client_test_refresh_token_invalid_sub(house: House) -> None:
    await refused(house, "sub-other", "renewed_sub")

"""Providers that work and providers that do not, side by side: nothing stops, and the button says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.providers.rig import ScriptedHTTP, StandingClock, attempt, json_answer, preset, upstream
from tests.support.house import DOORWARD_TOML, PROVIDERS_TOML, Arrival, House, Sandboxes, Shown, open_house
from tests.support.servers import free_port

from broker.domain.provider import Provider
from broker.domain.values import ProviderId
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from broker.providers_health import ProviderHealth
from providers.openid_connect import OpenIDConnect

GOOD, BAD = ProviderId("good"), ProviderId("bad")


class Broken(OpenIDConnect):
    """A kind of provider with a mistake in it."""

    async def check(self) -> None:
        raise ZeroDivisionError


class Hanging(OpenIDConnect):
    async def check(self) -> None:
        await asyncio.sleep(3600)


def provider(name: ProviderId, http: ScriptedHTTP | None = None, kind: type[OpenIDConnect] = OpenIDConnect) -> Provider:
    return kind(preset(id=name), http or upstream(), StandingClock())


@asynccontextmanager
async def watching(*providers: Provider) -> AsyncIterator[tuple[ProviderHealth, list[tuple[str, str]]]]:
    told: list[tuple[str, str]] = []
    health = ProviderHealth(
        providers={one.id: one for one in providers},
        report=lambda name, reason: told.append((name, reason)),
        every=0.01,
        while_down=0.01,
    )
    task = asyncio.create_task(health.run())
    try:
        yield health, told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_before_the_first_look_a_provider_counts_as_working() -> None:
    assert ProviderHealth(providers={GOOD: provider(GOOD)}).state(GOOD) == "ok"


@pytest.mark.parametrize("kind", [Broken, Hanging])
async def test_one_that_fails_or_hangs_keeps_no_look_at_another(kind: type[OpenIDConnect]) -> None:
    """catalogue 172: also when the failure is a mistake of ours, which is no `UpstreamError`."""
    http = upstream()
    async with watching(provider(BAD, kind=kind), provider(GOOD, http)) as (health, _):
        await until(lambda: http.count("/jwks") >= 1)
        await asyncio.sleep(0.05)
        assert health.state(GOOD) == "ok"
        assert health.state(BAD) == ("unavailable" if kind is Broken else "ok")


async def test_a_provider_that_comes_back_is_found_out_and_told_once() -> None:
    """catalogue 172, 175: down and up again are one line each, with the reason."""
    http = upstream(discovery=UpstreamUnavailable("connect op.example"))
    clock = StandingClock()
    one = OpenIDConnect(preset(id=BAD), http, clock)
    async with watching(one) as (health, told):
        await until(lambda: health.state(BAD) == "unavailable")
        await asyncio.sleep(0.05)
        assert told == [(BAD, "connect op.example")]
        http.script = upstream().script
        clock.move(seconds=6)
        await until(lambda: health.state(BAD) == "ok")
        assert told == [(BAD, "connect op.example"), (BAD, "ok")]


async def test_wrong_metadata_is_unavailable_too() -> None:
    """catalogue 41"""
    http = upstream(discovery=json_answer({"issuer": "https://evil.test"}))
    async with watching(provider(BAD, http)) as (health, told):
        await until(lambda: health.state(BAD) == "unavailable")
        assert told == [(BAD, "discovery_issuer")]
        with pytest.raises(UpstreamInvalid):
            await provider(BAD, http).authorization_url(attempt())


# --- through the whole application --------------------------------------------------------------------

UNREACHABLE = """
[away]
kind = "openid_connect"
label = "Away"
client_id = "x"
client_secret = { env = "OPENID_SECRET" }
issuer = "http://127.0.0.1:%d"
order = 3
"""


@pytest.fixture
async def beside_a_dead_one(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """Facebook and the club's OpenID work; a third provider's port is closed."""
    port = free_port()
    async with open_house(
        tmp_path,
        sandboxes,
        doorward=f'{DOORWARD_TOML}\n[egress."127.0.0.1:{port}"]\n',
        providers=PROVIDERS_TOML + UNREACHABLE % port,
    ) as house:
        yield house


async def test_a_dead_provider_stops_nothing_and_its_button_says_so(beside_a_dead_one: House) -> None:
    """catalogue 172: the broker starts, the others sign people in, and the chooser says which one is away."""
    house = beside_a_dead_one
    await until(lambda: house.world.provider_health(ProviderId("away")) == "unavailable")
    browser, forum = house.browser(), house.site("forum")
    chooser = await browser.open(forum.request_url())
    assert "Continue with Away Not answering right now." in chooser.text
    assert chooser.text.count("Not answering right now.") == 1
    end = await browser.sign_up(forum, user_name="zoe")
    assert isinstance(end, Arrival)
    assert "provider_state" in house.log
    readiness = await browser.send("GET", "https://login.test/readyz")
    assert readiness.status_code == 200


async def test_choosing_a_dead_provider_leads_to_a_page_with_another_way(beside_a_dead_one: House) -> None:
    """catalogue 172: within seconds, with a reference."""
    house = beside_a_dead_one
    browser = house.browser()
    await browser.open(house.site("forum").request_url())
    async with asyncio.timeout(6):
        shown = await browser.submit(
            "post", f"{browser.page.url}", [("csrf", browser.page.value("csrf")), ("provider", "away")]
        )
    assert isinstance(shown, Shown)
    assert (shown.status, shown.headings[0]) == (503, "Away is not answering")
    assert "Choose another way to sign in" in [text for text, _ in shown.links]
    assert "Reference:" in shown.text

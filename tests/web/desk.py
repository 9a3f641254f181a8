"""Short ways to a signed-in browser for tests of the protocol endpoints, and sites that the shared house has not.

ana = await member(house, "ana")            a browser in which Ana is signed in; no provider was asked
arrival = await connect(ana, house.site("forum"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response
from tests.support.house import SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, Site, open_house, site_secret

from broker.domain.account import Account, AccountStatus, ProfileValue, Source
from broker.domain.claims import EMAIL, NAME, PREFERRED_USERNAME
from broker.domain.policy import notice_version
from broker.domain.values import AccountId, ClaimName, IdentityKey, ProviderId

MORE_SITES: Final = (
    SITES_TOML
    + """
[app]
name = "Phone App"
url = "https://app.test"
redirect_uris = ["http://127.0.0.1/cb", "https://app.test/cb"]
sector = "app.test"
auth_method = "none"

[app.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }

[old]
name = "Old Site"
url = "https://old.test"
redirect_uris = ["https://old.test/cb", "https://old.test/other"]
client_secret = { env = "OLD_SECRET" }
pkce_required = false

[old.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }
"""
)
"""The house's three, an app without a secret, and old software without PKCE."""
PLAYER: Final = """
[player]
name = "Player"
url = "https://player.test"
redirect_uris = []
auth_method = "none"
device_grant = true

[player.asks.preferred_username]
use = "needed"
why = { en = "To greet you.", fr = "Pour vous saluer." }
"""
"""A site of devices alone."""
OFFLINE: Final = "openid profile email offline_access"


@asynccontextmanager
async def wide_house(folder: Path, sandboxes: Sandboxes, **more: Any) -> AsyncIterator[House]:
    """A house with five sites."""
    given = {"sites": MORE_SITES, "environ": {"OLD_SECRET": site_secret("old")}} | more
    async with open_house(folder, sandboxes, **given) as opened:
        yield opened


async def member(house: House, name: str = "ana", *, profile: Mapping[ClaimName, str] | None = None) -> Browser:
    """An account of that user name, and a browser in which it is signed in."""
    world, now = house.world, house.clock.now()
    values = {NAME: f"{name.title()} Lund", PREFERRED_USERNAME: name, EMAIL: f"{name}@mail.test", **(profile or {})}
    account = Account(
        id=AccountId(world.entropy.token(12)),
        profile={claim: ProfileValue(value=value, source=Source.PERSON) for claim, value in values.items()},
        status=AccountStatus.ACTIVE,
        created_at=now,
        agreed_notice=notice_version(house.settings.policies, now.date()),
    )
    unit = world.durable.unit()
    unit.add_account(account)
    await unit.commit()
    return await signed_in(house, account.id)


async def signed_in(house: House, account: AccountId) -> Browser:
    """Another browser of the same person."""
    world = house.world
    started = await world.sessions.start(
        account=account,
        provider=ProviderId("facebook"),
        key=IdentityKey(issuer="https://facebook.test", subject=str(account)),
        auth_time=house.clock.now(),
        amr=("fed",),
        acr=None,
        user_agent="TestBrowser",
        replaces=None,
    )
    response = Response()
    world.cookies.set_session(response, started.secret)
    browser = house.browser()
    for name, morsel in SimpleCookie(response.headers["set-cookie"]).items():
        browser.jar.set(name, morsel.value, domain="login.test", path="/")
    return browser


async def account_of(house: House, name: str) -> AccountId:
    """The account with that user name (memory stores only)."""
    accounts = house.world.durable.tables.accounts  # type: ignore[attr-defined]
    return AccountId(next(one.id for one in accounts.values() if one.profile[PREFERRED_USERNAME].value == name))


async def connect(browser: Browser, site: Site, *, tick: tuple[str, ...] = (), **changes: str | None) -> Arrival:
    """To the site and back with a code; on the share page, if there is one, share what is needed and ticked."""
    end = await browser.go(site.request_url(**changes))
    if isinstance(end, Shown):
        assert end.path.endswith("/site"), f"{end.url}: {end.text[:500]}"
        end = await browser.press("decision=share", tick=tick)
    assert isinstance(end, Arrival), f"{end.url}: {end.text[:500]}"
    return end


async def tokens_of(
    browser: Browser, site: Site, *, tick: tuple[str, ...] = (), **changes: str | None
) -> dict[str, Any]:
    """The tokens of a first visit."""
    return await site.redeem(await connect(browser, site, tick=tick, **changes))

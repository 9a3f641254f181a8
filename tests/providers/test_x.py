"""Signing in with X and posting there, at an emulator that is as strict as X, over real sockets (protocols.md §3.4)."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.providers.beside import open_house_beside
from tests.providers.test_publishing import HELLO, permit_for
from tests.providers.walk import come_back
from tests.providers.x_server import CLIENT, CODE_SECONDS, SECRET, TOKEN_SECONDS, XServer
from tests.support.builders import FixedClock
from tests.support.house import Sandboxes, Shown
from tests.support.sandbox import served
from tests.support.source import ROOT

from broker.chance import SystemClock, SystemEntropy
from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.provider import Attempt, Identified, Posted
from broker.domain.values import ClaimName, ProviderId, Secret
from broker.egress import Egress, Exemption
from broker.errors import GrantOver, TokenOver, UpstreamRejected
from providers.oauth2 import OAuth2
from providers.preset import Posting, Preset
from providers.publishing.x import X

BACK = "https://login.test/callback/x"
SIGN_IN = "users.read tweet.read users.email"


def shipped(url: str) -> dict[str, Any]:
    """The table of the guide, at the emulator."""
    front = (ROOT / "config/guides/providers/x.md").read_text().split("+++")[1]
    table = dict(tomllib.loads(front)["preset"])
    table["endpoints"] = {
        name: url + address.removeprefix("https://x.com").removeprefix("https://api.x.com")
        for name, address in table["endpoints"].items()
    }
    return table


@dataclass
class Rig:
    """The emulator, and our provider and publisher for it."""

    server: XServer
    url: str
    egress: Egress

    def preset(self, **changes: Any) -> Preset:
        table = {**shipped(self.url), "client_id": CLIENT, "client_secret": SECRET}
        made = Preset.from_table("x", table)
        return replace(made, sandbox=True, client_secret=Secret(SECRET), **changes)

    def provider(self, **changes: Any) -> OAuth2:
        return OAuth2(self.preset(**changes), self.egress, SystemClock())

    async def back(self, provider: OAuth2, attempt: Attempt) -> dict[str, str]:
        """What the person comes back with."""
        return await come_back(await provider.authorization_url(attempt))

    async def sign_in(self, provider: OAuth2 | None = None, *, seconds: float = 0, **changes: Any) -> Identified:
        """`seconds`: how long it takes from the page to us."""
        one = provider or self.provider()
        attempt = attempt_of(one, **changes)
        callback = await self.back(one, attempt)
        began = self.server.now()
        self.server.now = lambda: began + seconds
        return await one.identify(attempt, callback)


def attempt_of(provider: OAuth2, **changes: Any) -> Attempt:
    entropy = SystemEntropy()
    usual = Attempt(
        provider=ProviderId("x"),
        redirect_uri=BACK,
        state=entropy.token(),
        nonce=entropy.token(),
        code_verifier=entropy.token(48),
        scopes=provider.sign_in_scopes,
    )
    return replace(usual, **changes)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    server = XServer(back=BACK)
    async with served(server.app()) as url:
        egress = Egress(exemptions=[Exemption.parse(urlsplit(url).netloc)], total_seconds=3.0)
        yield Rig(server, url, egress)
        await egress.aclose()


async def test_a_person_signs_in_by_the_table_of_the_guide(rig: Rig) -> None:
    """Basic alone, S256, one read of the user: it costs the operator money."""
    found = (await rig.sign_in()).identity
    assert rig.server.refused == []
    assert rig.server.scopes_asked == [SIGN_IN]
    assert rig.server.reads == ["profile_image_url,confirmed_email"]
    assert found.key.subject == "2244994945"
    assert (found.claims[NAME], found.claims[EMAIL]) == ("Ana Marković", "ana@example.org")
    assert found.claims[ClaimName("profile")] == "https://x.com/ana_m"
    assert PICTURE in found.claims
    assert found.verified == frozenset(), "confirmed there is no proof here (catalogue 114)"


async def test_the_address_is_asked_for_only_with_its_scope(rig: Rig) -> None:
    rig.server.declines = frozenset({"users.email"})
    found = (await rig.sign_in()).identity
    assert rig.server.refused == []
    assert rig.server.reads == ["profile_image_url"]
    assert found.declined == {EMAIL}
    assert EMAIL not in found.claims
    assert found.claims[NAME] == "Ana Marković"


async def test_where_no_address_is_wanted_neither_scope_nor_field_is_asked(rig: Rig) -> None:
    """Also where whoever runs it left the scope in the table."""
    await rig.sign_in(rig.provider(fields=(NAME,)))
    assert rig.server.scopes_asked == ["users.read tweet.read"]
    assert rig.server.reads == ["profile_image_url"]
    assert rig.server.refused == []


@pytest.mark.parametrize(
    ("seconds", "is_good"), [(CODE_SECONDS - 1, True), (CODE_SECONDS + 1, False)], ids=["in time", "too late"]
)
async def test_codes_last_for_thirty_seconds(rig: Rig, seconds: float, is_good: bool) -> None:
    if is_good:
        await rig.sign_in(seconds=seconds)
        return
    with pytest.raises(UpstreamRejected, match="token invalid_request"):
        await rig.sign_in(seconds=seconds)
    assert rig.server.refused == ["authorization code"]
    assert rig.server.reads == [], "nobody is read by a code that is over"


async def test_a_secret_in_the_form_is_refused_there(rig: Rig) -> None:
    with pytest.raises(UpstreamRejected, match="token unauthorized_client"):
        await rig.sign_in(rig.provider(token_endpoint_auth_method="client_secret_post"))
    assert rig.server.refused == ["client"]


async def test_what_is_revoked_is_gone(rig: Rig) -> None:
    provider = rig.provider()
    found = await rig.sign_in(provider)
    assert found.tokens is not None
    await provider.revoke(found.tokens)
    assert rig.server.revoked == [found.tokens.access_token]
    assert rig.server.tokens == {}


# --- posting ------------------------------------------------------------------------------------------


def publisher_of(rig: Rig) -> X:
    posting = Posting(kind="x", url=f"{rig.url}/2/tweets", scopes=("tweet.write",), lasting_scopes=("offline.access",))
    return X(rig.preset(posting=posting), rig.egress, FixedClock())


async def test_posting_lasts_past_two_hours_and_each_refresh_token_works_once(rig: Rig) -> None:
    provider, publisher = rig.provider(), publisher_of(rig)
    permit = permit_for(HELLO, publisher.provider)
    found = await rig.sign_in(provider, scopes=(*publisher.scopes, *publisher.lasting))
    first = found.tokens
    assert first is not None
    assert "users.email" not in rig.server.scopes_asked[0], "posting wants no address"
    posted = await publisher.publish(permit, HELLO, first)
    assert isinstance(posted, Posted)
    assert list(rig.server.posts) == [posted.remote_id]
    with pytest.raises(UpstreamRejected):  # X takes no text twice
        await publisher.publish(permit, HELLO, first)

    later = rig.server.now() + TOKEN_SECONDS + 1
    rig.server.now = lambda: later
    with pytest.raises(TokenOver):
        await publisher.publish(permit, HELLO, first)
    second = await provider.renew(first)
    assert second.refresh_token not in {None, first.refresh_token}
    assert await publisher.undo(permit, posted.remote_id, second)
    assert await publisher.undo(permit, posted.remote_id, second), "gone before is gone"
    with pytest.raises(GrantOver):
        await provider.renew(first)
    assert rig.server.refused == ["token"]


async def test_a_refusal_that_says_nothing_of_the_token_ends_no_opt_in(rig: Rig) -> None:
    """`invalid_request` in other words, and a wrong secret, are the operator's affair: the person's yes stands."""
    provider = rig.provider()
    found = await rig.sign_in(provider, scopes=("users.read", "tweet.read", "offline.access"))
    assert found.tokens is not None
    wrong = OAuth2(replace(rig.preset(), client_secret=Secret("another")), rig.egress, SystemClock())
    with pytest.raises(UpstreamRejected) as refused:
        await wrong.renew(found.tokens)
    assert not isinstance(refused.value, GrantOver)


# --- the whole way ------------------------------------------------------------------------------------

TABLE = """
[x]
kind = "oauth2"
label = "X"
brand = "x"
issuer = "https://x.com"
client_id = "%(client)s"
client_secret = { env = "X_SECRET" }
fields = ["name", "preferred_username", "email", "profile"]
scopes = ["users.read", "tweet.read"]
email_scope = "users.email"
subject = "data.id"
privacy_policy_url = "https://x.com/en/privacy"
order = 4

[x.claims]
name = "data.name"
preferred_username = "data.username"
email = "data.confirmed_email"
profile = "https://x.com/{data.username}"

[x.endpoints]
authorization = "%(url)s/i/oauth2/authorize"
token = "%(url)s/2/oauth2/token"
userinfo = "%(url)s/2/users/me"
userinfo_email = "%(url)s/2/users/me?user.fields=confirmed_email"
revocation = "%(url)s/2/oauth2/revoke"
"""


async def test_who_keeps_the_address_back_signs_up_without_it(tmp_path: Path, sandboxes: Sandboxes) -> None:
    server = XServer(back=BACK, declines=frozenset({"users.email"}))
    async with served(server.app()) as url:
        async with open_house_beside(
            url, TABLE % {"url": url, "client": CLIENT}, tmp_path, sandboxes, X_SECRET=SECRET
        ) as house:
            browser = house.browser(url)
            await browser.open("/sign-in")
            shown = await browser.press("provider=x")
            assert isinstance(shown, Shown)
            assert "You did not let X share this" in shown.text
            assert "Ana Marković" in shown.text
            await browser.press("decision=continue", fill={"v-email": "ana@typed.test"})
            await browser.press("decision=create", fill={"preferred_username": "ana"})
            again = house.browser(url)
            await again.open("/sign-in")
            assert isinstance(await again.press("provider=x"), Shown)
            assert (await again.open("/me")).path == "/me"
            assert await house.accounts() == 1
            assert server.refused == []

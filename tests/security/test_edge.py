"""What is refused before anything is read, and whom the outermost layer believes: hosts, proxies, floods."""

from __future__ import annotations

import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.security.fuzz import SECURITY_HEADERS
from tests.security.raw import Answer, Asked, ask, lower
from tests.support.house import ISSUER, House, Sandboxes, open_house

from broker.web.edge import MAX_HEADER_BYTES, MAX_HEADERS
from broker.web.guards import Guard
from broker.web.routes import ROUTES

ORDINARY = [route for route in ROUTES if route.path not in {"/healthz", "/readyz"}]
EVIL = "evil.test"


def path_of(path: str) -> str:
    return path.replace("{id}", "0").replace("{provider}", "facebook").replace("{name}", "base.css")


async def get(house: House, path: str, **more: object) -> Answer:
    return await ask(house.app, Asked(path=path, **more))  # type: ignore[arg-type]


# --- host names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"evil.test", b"login.test.evil.test", b"evil.test/login.test", b"login.test:80", b"login.test:8443", b"login.test.",
        b"login.test@evil.test", b"user@login.test", b"", b"login.test, evil.test", b"127.0.0.1", b"xn--lgin-5qa.test", b"login.test\xff",
    ],
)  # fmt: skip
async def test_a_foreign_host_name_is_refused(house: House, host: bytes) -> None:
    """On every path but the health checks (catalogue 145)."""
    for route in ORDINARY:
        answer = await get(house, path_of(route.path), method=route.method, host=host)
        assert answer.status == 421, route.path
        assert not answer.all("set-cookie")
        assert not answer.all("location")


@pytest.mark.parametrize("host", [b"login.test", b"LOGIN.TEST", b"login.test:443"])
async def test_our_own_host_name_is_known_in_each_spelling(house: House, host: bytes) -> None:
    """catalogue 145."""
    assert (await get(house, "/", host=host)).status == 200


async def test_two_host_headers_are_refused(house: House) -> None:
    """Whichever comes first, and even the same twice (catalogue 145)."""
    for other in ("evil.test", "login.test"):
        answer = await get(house, "/", headers=lower([("host", other)]))
        assert answer.status == 421


@pytest.mark.parametrize(
    "name", ["x-forwarded-host", "forwarded", "x-host", "x-original-host", "x-forwarded-server", "origin"]
)
async def test_no_header_changes_the_addresses_we_name(house: House, name: str) -> None:
    """Issuer, links, targets and cookies come from the settings (catalogue 126, 143, 145)."""
    headers = lower(
        [(name, f"host={EVIL};proto=http" if name == "forwarded" else f"https://{EVIL}"), ("x-forwarded-proto", "http")]
    )
    for path in ("/.well-known/openid-configuration", "/", "/me", "/sign-in", "/privacy", "/nowhere"):
        answer = await get(house, path, headers=headers)
        assert EVIL not in answer.text, path
        assert not [text for _, text in answer.headers if EVIL.encode() in text], path
        for cookie in answer.all("set-cookie"):
            assert cookie.startswith("__Host-"), path
            assert "secure" in cookie.lower(), path
    assert f'"issuer":"{ISSUER}"' in (await get(house, "/.well-known/openid-configuration", headers=headers)).text


async def test_no_origin_is_ever_reflected(house: House) -> None:
    """Public documents are for every page, everything else for none; no cookie goes with either (catalogue 145)."""
    for origin in ("https://evil.test", "null", "https://forum.test", ISSUER):
        for route in ORDINARY:
            headers = lower([("origin", origin), ("access-control-request-method", "POST")])
            for method in (route.method, "OPTIONS"):
                answer = await get(house, path_of(route.path), method=method, headers=headers)
                assert answer["access-control-allow-origin"] in {"", "*"}, route.path
                assert not answer.all("access-control-allow-credentials"), route.path
                if answer["access-control-allow-origin"]:
                    assert route.guard is Guard.PUBLIC


# --- proxies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Remote-User",
        "X-Remote-User",
        "X-Auth-User",
        "X-Forwarded-User",
        "X-Auth-Request-Email",
        "X_Auth_User",
        "REMOTE_USER",
    ],
)
async def test_identity_headers_from_outside_mean_nothing(house: House, name: str) -> None:
    """In any spelling, with any method: nobody is signed in by a header (catalogue 142)."""
    browser = house.browser()
    await browser.sign_up(house.site("forum"), user_name="zoe-of-headers")
    for route in ROUTES:
        if route.guard in {Guard.SIGNED_IN, Guard.FRESH}:
            for method in (route.method, "OPTIONS", "HEAD"):
                answer = await get(house, path_of(route.path), method=method, headers=lower([(name, "zoe-of-headers")]))
                assert answer.status in {303, 401, 405}, (route.path, method, answer.status)
                assert "zoe-of-headers" not in answer.text


TRUSTED = {"trusted_proxies": (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))}


async def failures_until_refused(house: House, peer: str, forwarded: list[str]) -> int:
    """How many wrong secrets are answered before the limit, each request with the next of `forwarded`."""
    for number in range(200):
        headers = [("authorization", "Basic Zm9ydW06d3Jvbmc="), ("content-type", "application/x-www-form-urlencoded")]
        if forwarded:
            headers.append(("x-forwarded-for", forwarded[number % len(forwarded)]))
        answer = await get(house, "/introspect", method="POST", headers=lower(headers), body=(b"token=x",), peer=peer)
        if answer.status == 429:
            return number
        assert answer.status == 401
    return 200


async def test_a_strangers_forwarding_header_does_not_move_a_limit(house: House) -> None:
    """Without trusted proxies the header means nothing (catalogue 128, 143)."""
    limit = house.settings.broker.limits.client_failures_per_minute
    forged = [f"198.51.100.{number}" for number in range(200)]
    assert await failures_until_refused(house, "192.0.2.77", forged) == limit


async def test_a_stranger_beside_trusted_proxies_is_not_believed(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Only our own proxies may speak for somebody else (catalogue 128, 143)."""
    async with open_house(tmp_path, sandboxes, change=TRUSTED) as house:
        limit = house.settings.broker.limits.client_failures_per_minute
        forged = [f"198.51.100.{number}" for number in range(200)]
        assert await failures_until_refused(house, "192.0.2.77", forged) == limit


async def test_what_the_browser_put_before_our_proxy_is_not_believed(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The last address that is not one of our proxies counts: what stands before it anybody can write (catalogue 143)."""
    async with open_house(tmp_path, sandboxes, change=TRUSTED) as house:
        limit = house.settings.broker.limits.client_failures_per_minute
        forged = [f"198.51.100.{number}, 203.0.113.9, 10.1.2.3" for number in range(200)]
        assert await failures_until_refused(house, "10.0.0.1", forged) == limit


async def test_people_behind_our_proxy_are_told_apart(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Otherwise one of them could lock all others out (catalogue 128, 143)."""
    async with open_house(tmp_path, sandboxes, change=TRUSTED) as house:
        limit = house.settings.broker.limits.client_failures_per_minute
        assert await failures_until_refused(house, "10.0.0.1", ["203.0.113.9"]) == limit
        assert await failures_until_refused(house, "10.0.0.1", ["203.0.113.10"]) == limit
        assert await failures_until_refused(house, "fd00::1", ["2001:db8::5"]) == limit


MALFORMED = ("a", "", "203.0.113.9:80", "unknown", "::ffff:1.2.3.4.5", "1.2.3.4, x", "'", "\xff", "1" * 5000)


async def test_a_malformed_forwarding_header_is_not_believed(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The peer counts then, and the request is answered (catalogue 143)."""
    async with open_house(tmp_path, sandboxes, change=TRUSTED) as house:
        limit = house.settings.broker.limits.client_failures_per_minute
        for number, malformed in enumerate(MALFORMED):
            assert await failures_until_refused(house, f"10.0.0.{number}", [malformed]) == limit
        assert await failures_until_refused(house, "10.0.1.1", []) == limit


# --- floods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("x", "y")] * (MAX_HEADERS - 1), 200),
        ([("x", "y")] * MAX_HEADERS, 431),
        ([(f"x-{number}", "y") for number in range(1000)], 431),
        ([("x", "y" * (MAX_HEADER_BYTES - 100))], 200),
        ([("x", "y" * MAX_HEADER_BYTES)], 431),
        ([("x", "y" * 65_536)], 431),
        ([("cookie", f"c{number}={'z' * 8192}") for number in range(50)], 431),
    ],
)
async def test_a_flood_of_headers_is_refused_at_once(house: House, headers: list[tuple[str, str]], status: int) -> None:
    """1,000 headers, a line of 64 KB, fifty cookies of 8 KB: in less than 10 ms (catalogue 180)."""
    asked = Asked(path="/healthz", headers=lower(headers))
    await ask(house.app, asked)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        answer = await ask(house.app, asked)
        spent.append(time.perf_counter() - start)
        assert answer.status == status
    if status != 200:
        assert min(spent) < 0.010


async def test_a_refusal_at_the_edge_has_the_headers_of_every_answer(house: House) -> None:
    """catalogue 96, 145, 180."""
    refusals = [
        await get(house, "/", host=b"evil.test"),
        await get(house, "/", headers=lower([("x", "y" * 65_536)])),
        await get(house, "/", query=b"a=\xff"),
    ]
    assert [answer.status for answer in refusals] == [421, 431, 400]
    for answer in refusals:
        assert not [name for name in SECURITY_HEADERS if len(answer.all(name)) != 1]
        assert answer["content-type"].startswith("text/plain")

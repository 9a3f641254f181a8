"""What a single request, or very many, may cost: bodies, parts, fields, ranges, sign-ins that nobody finishes."""

from __future__ import annotations

import itertools
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.security.raw import Answer, Asked, ask, lower
from tests.support.house import ISSUER, Arrival, House, Sandboxes, open_house

from broker.stores.memory import MemoryTransactions
from broker.web.forms import MAX_BODY, MAX_FIELDS
from broker.web.routes import ROUTES
from broker.web.steps import LARGE_PER_MINUTE

FORM = "application/x-www-form-urlencoded"
POSTS = [route for route in ROUTES if route.method == "POST"]
MEGABYTE = 1024 * 1024


async def cookies_of_somebody(house: House) -> str:
    """A signed-in browser's cookie header, with a sign-in under way."""
    browser = house.browser()
    await browser.sign_up(house.site("forum"), user_name="zoe-of-limits")
    await browser.go(house.site("wiki").request_url())
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def transaction_in(cookie: str) -> str:
    return next(part.partition("=")[0].rpartition("_tx_")[2] for part in cookie.split("; ") if "_tx_" in part)


class Drip:
    """A body that never ends, and counts how much of it was taken."""

    def __init__(self, part: bytes, parts: int) -> None:
        self.part, self.left, self.taken = part, parts, 0

    async def send_to(self, house: House, path: str, headers: list[tuple[str, str]]) -> Answer:
        answer = Answer()

        async def receive() -> dict[str, object]:
            self.left -= 1
            self.taken += len(self.part)
            return {"type": "http.request", "body": self.part, "more_body": self.left > 0}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                answer.status = int(str(message["status"]))

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https", "path": path,
            "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("192.0.2.8", 1), "server": ("x", 443),
            "headers": [(b"host", b"login.test"), *lower(headers)], "state": {},
        }  # fmt: skip
        await house.app(scope, receive, send)
        return answer


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    """One gigabyte announced: not a byte of it is taken, on any route (catalogue 181)."""
    cookie = await cookies_of_somebody(house)
    basic = house.site("forum").auth["Authorization"]
    for route in POSTS:
        path = route.path.replace("{id}", transaction_in(cookie))
        for kind in (FORM, "application/json", "multipart/form-data; boundary=x"):
            drip = Drip(b"a" * 1000, 10)
            headers = [
                ("content-type", kind),
                ("content-length", str(1024 * MEGABYTE)),
                ("cookie", cookie),
                ("authorization", basic),
            ]
            answer = await drip.send_to(house, path, headers)
            assert 400 <= answer.status < 500, (path, kind, answer.status)
            assert drip.taken == 0, (path, kind)


async def test_a_body_without_end_is_cut_off(house: House) -> None:
    """Nobody says how long it is: reading stops at the limit, and memory stays flat (catalogue 181)."""
    cookie = await cookies_of_somebody(house)
    basic = house.site("forum").auth["Authorization"]
    tracemalloc.start()
    try:
        for route in POSTS:
            path = route.path.replace("{id}", transaction_in(cookie))
            kind = "application/json" if route.path == "/posting/requests" else FORM
            drip = Drip(b"a=1&" * 2048, 2_000)
            answer = await drip.send_to(
                house, path, [("content-type", kind), ("cookie", cookie), ("authorization", basic)]
            )
            assert 400 <= answer.status < 500, (path, answer.status)
            assert drip.taken <= MAX_BODY + len(drip.part), path
        assert tracemalloc.get_traced_memory()[1] < 12 * MEGABYTE
    finally:
        tracemalloc.stop()


async def test_a_thousand_thousand_parts_are_never_parsed(house: House) -> None:
    """Files are uploaded nowhere here: multipart is refused by its name (catalogue 181)."""
    cookie = await cookies_of_somebody(house)
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n\r\n'
    for route in POSTS:
        path = route.path.replace("{id}", transaction_in(cookie))
        drip = Drip(part * 100, 10_000)
        headers = [
            ("content-type", "multipart/form-data; boundary=x"),
            ("cookie", cookie),
            ("authorization", house.site("forum").auth["Authorization"]),
        ]
        start = time.perf_counter()
        answer = await drip.send_to(house, path, headers)
        assert answer.status in {400, 401, 403, 404, 410, 415}, (path, answer.status)
        assert drip.taken <= MAX_BODY + len(drip.part), path
        assert time.perf_counter() - start < 1


@pytest.mark.parametrize(("fields", "status"), [(MAX_FIELDS, 401), (MAX_FIELDS + 1, 400), (10_000, 400)])
async def test_fields_of_a_form_are_counted(house: House, fields: int, status: int) -> None:
    """10,000 fields are refused (catalogue 181)."""
    body = "&".join(f"f{number}=" for number in range(fields)).encode()
    asked = Asked(method="POST", path="/token", headers=lower([("content-type", FORM)]), body=(body,))
    assert (await ask(house.app, asked)).status in ({status, 413} if fields > 1000 else {status})


async def test_ranges_of_a_static_file_are_not_computed(house: House) -> None:
    """100,000 ranges cost nothing: the file comes whole (catalogue 182)."""
    for name in house.world.renderer.files:
        whole = await ask(house.app, Asked(path=f"/static/{name}"))
        assert whole.status == 200
        for ranges in (
            "bytes=0-",
            "bytes=-1",
            "bytes=0-0,1-1",
            "bytes=" + ",".join(f"{at}-{at}" for at in range(2500)),
        ):
            start = time.perf_counter()
            answer = await ask(
                house.app, Asked(path=f"/static/{name}", headers=lower([("range", ranges), ("if-range", '"x"')]))
            )
            assert (answer.status, answer.body) == (200, whole.body)
            assert time.perf_counter() - start < 0.5
    flood = ",".join(f"{at}-{at}" for at in range(100_000))
    assert (
        await ask(house.app, Asked(path="/static/base.css", headers=lower([("range", f"bytes={flood}")])))
    ).status == 431


@pytest.mark.parametrize(
    "name",
    ["base.css", "..%2fbase.css", "%2e%2e/%2e%2e/pyproject.toml", "base.css%00", "app.js/", "%5c..%5capp.js", "."],
)
async def test_no_other_file_is_served(house: House, name: str) -> None:
    """Static files are known by name from the start: a path leads nowhere (catalogue 2, 182)."""
    answer = await ask(house.app, Asked(path=f"/static/{name}"))
    assert answer.status == 404
    assert "[project]" not in answer.text


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """The best of three."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        await work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _collide(count: int) -> str:
    """Names that a naive hash would put in one place."""
    return "&".join(
        "".join(pair) + "=1" for pair in itertools.islice(itertools.product(("Aa", "BB"), repeat=12), count)
    )


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        (lambda n: "scope=" + "openid+" * n, 60_000 // 7),
        (lambda n: "scope=" + "+".join(f"s{number}" for number in range(n)), 60_000 // 8),
        (lambda n: "claims=" + "%7B%22a%22%3A" * n, 60_000 // 14),
        (lambda n: "claims=" + "[" * n, 60_000),
        (lambda n: "claims=%7B%22userinfo%22:%7B" + "%22name%22:null," * n + "%22sub%22:null%7D%7D", 120),
        (_collide, 2500),
        (lambda n: "&".join(["state=x"] * n), 7000),
        (lambda n: "prompt=" + "none+" * n, 12_000),
        (lambda n: "ui_locales=" + "fr-" * n, 20_000),
        (lambda n: "acr_values=" + "%20" * n, 20_000),
        (lambda n: "state=" + "%F0%9F%A4%96" * n, 5000),
        (lambda n: "login_hint=" + "a@" * n, 30_000),
        (lambda n: "&" * n, 60_000),
        (lambda n: ";" * n, 60_000),
    ],
)
async def test_time_follows_size(house: House, shape: Callable[[int], str], most: int) -> None:
    """Words, nesting, repeats, colliding names: twenty times as much never takes a hundred times as long (catalogue 17, 184)."""
    base = "client_id=forum&redirect_uri=https%3A%2F%2Fforum.test%2Fcallback&response_type=code&"

    async def send(count: int) -> None:
        for method in ("GET", "POST"):
            query = (base + shape(count)).encode()[:63_000]
            body = (query,) if method == "POST" else ()
            asked = Asked(
                method=method,
                path="/authorize",
                query=b"" if body else query,
                headers=lower([("content-type", FORM)]),
                body=body,
            )
            assert (await ask(house.app, asked)).status < 500

    small, large = await seconds(lambda: send(max(1, most // 20))), await seconds(lambda: send(most))
    assert large < max(100 * small, 0.1)
    assert large < 0.5


async def test_huge_parameters_are_errors_and_long_ones_are_not(house: House) -> None:
    """64 KB of state are refused at once; a nonce of 384 letters and a state of 1 KB go through (catalogue 17)."""
    forum = house.site("forum")
    browser = house.browser()
    await browser.sign_up(forum, user_name="zoe-of-sizes")
    long = await browser.arrive(forum, state="s" * 1024, nonce="n" * 384)
    assert long.params["state"] == "s" * 1024
    for changes in (
        {"state": "s" * 65_536},
        {"nonce": "n" * 5000},
        {"scope": "openid " + "w " * 10_000},
        {"claims": "[" * 5000},
    ):
        parts = urlsplit(forum.request_url(**changes))
        start = time.perf_counter()
        answer = await ask(house.app, Asked(path=parts.path, query=parts.query.encode()))
        assert time.perf_counter() - start < 0.25
        assert "code=" not in answer["location"]
        assert 300 <= answer.status < 500


async def test_strangers_sign_ins_fill_no_store(house: House) -> None:
    """Until somebody comes back from a provider, a sign-in lives in the browser's cookie (catalogue 186)."""
    forum = house.site("forum")
    known = house.browser()
    await known.sign_up(forum, user_name="zoe-of-storms")
    before = stored(house)
    start = time.perf_counter()
    for number in range(300):
        url = forum.request_url() if number % 2 else f"{ISSUER}/sign-in"
        parts = urlsplit(url)
        answer = await ask(
            house.app, Asked(path=parts.path, query=parts.query.encode(), peer=f"198.51.100.{number % 250}")
        )
        assert answer.status == 303
        assert "_tx_" in answer["set-cookie"]
    assert time.perf_counter() - start < 60
    assert stored(house) == before
    assert isinstance(await known.arrive(forum), Arrival)


def stored(house: House) -> int:
    """How many sign-ins the store holds."""
    transactions = house.world.memory.transactions
    assert isinstance(transactions, MemoryTransactions)
    return len(transactions.rows)


async def test_large_requests_are_few_for_each_address(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Only a request too large for a cookie is stored, a few a minute for each address; others are not held up (catalogue 186)."""
    async with open_house(tmp_path, sandboxes) as house:
        forum = house.site("forum")
        large = urlsplit(forum.request_url(state="x" * 3500))
        statuses = [
            (await ask(house.app, Asked(path=large.path, query=large.query.encode(), peer="192.0.2.50"))).status
            for _ in range(LARGE_PER_MINUTE + 10)
        ]
        assert statuses.count(303) == LARGE_PER_MINUTE
        assert statuses.count(429) == 10
        assert stored(house) <= LARGE_PER_MINUTE
        other = await ask(house.app, Asked(path=large.path, query=large.query.encode(), peer="192.0.2.51"))
        assert other.status == 303
        small = urlsplit(forum.request_url())
        assert (
            await ask(house.app, Asked(path=small.path, query=small.query.encode(), peer="192.0.2.50"))
        ).status == 303
        house.clock.move(hours=3)
        await house.world.memory.purge(house.clock.now(), 1000)
        assert stored(house) == 0


async def test_each_address_starts_so_many_sign_ins_a_minute(house: House) -> None:
    """And the log tells only that it was too many (catalogue 128, 186)."""
    limits = replace(house.settings.broker.limits, sign_ins_per_minute=5)
    settings = replace(house.settings, broker=replace(house.settings.broker, limits=limits))
    inner = house.app
    while not hasattr(inner, "router"):
        inner = inner._app
    inner.state.world = replace(house.world, settings=settings)
    browser = house.browser()
    statuses = []
    for _ in range(8):
        await browser.open("/sign-in")
        form, button = browser.page.find("provider=facebook")
        answer = await browser.send(
            "POST", ISSUER + form.action, data=[*form.fields, (button.name, button.value)], headers={"Origin": ISSUER}
        )
        statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [429] * 3
    assert int(answer.headers["retry-after"]) <= 60
    events = [json.loads(line) for line in house.log.splitlines()]
    assert [event["check"] for event in events if event.get("reason") == "too_many_attempts"] == ["sign-in starts"] * 3
    house.clock.move(seconds=61)
    await browser.open("/sign-in")
    assert not isinstance(await browser.choose(), Arrival)

"""What an answer may be: small, plain, in time. What a broken host may cost the others: nothing."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
from pathlib import Path

import pytest

from broker.egress import FAILURES_TO_OPEN, IN_FLIGHT_PER_HOST, MAX_BODY, Egress, EgressFailed, EgressRefused, Exemption
from broker.errors import UpstreamUnavailable
from broker.watching import MOST, Watched, watching
from tests.egress.wire import Canary, certificate, plain, speaking


def client(*canaries: Canary, seconds: float = 1.0) -> Egress:
    """A client that may talk to these and gives up soon."""
    return Egress(
        exemptions=[Exemption(host="localhost", port=canary.port) for canary in canaries], total_seconds=seconds
    )


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await reader.read()


async def fails(egress: Egress, canary: Canary, reason: str) -> None:
    with pytest.raises(EgressFailed, match=rf"^upstream_unavailable: {reason} localhost$"):
        await egress.request("GET", f"http://localhost:{canary.port}/x?code=SECRET")


async def test_an_answer_comes_back_whole() -> None:
    async with speaking(plain(b"x" * 1000, "X-One: 1", "Cache-Control: max-age=5", "Set-Cookie: a=b")) as canary:
        egress = client(canary)
        answer = await egress.request(
            "POST", f"http://localhost:{canary.port}/token", headers={"Authorization": "Basic eA=="}, body=b"a=b"
        )
        await egress.aclose()
    assert (answer.status, len(answer.body), answer.headers["cache-control"]) == (200, 1000, "max-age=5")
    head = canary.requests[0].lower()
    assert b"accept-encoding: identity" in head
    assert b"authorization: basic eA==".lower() in head
    assert b"cookie" not in head


async def test_a_drip_is_cut_at_the_total_time() -> None:
    """catalogue 140, 174: one byte now and then for ever."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with speaking(drip) as canary:
        egress = client(canary, seconds=0.4)
        began = time.monotonic()
        await fails(egress, canary, "timeout")
        assert time.monotonic() - began < 1.5
        await egress.aclose()


async def test_endless_headers_are_cut() -> None:
    """catalogue 140: in number and in size."""

    async def many(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            writer.write(f"X-{number}: y\r\n".encode())
            await writer.drain()

    async def long(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _number in range(1000):
            writer.write(b"y" * 4096)
            await writer.drain()

    for talk in (many, long):
        async with speaking(talk) as canary:
            egress = client(canary)
            await fails(egress, canary, "(broken|timeout)")
            await egress.aclose()


async def test_a_huge_body_is_cut_at_one_megabyte() -> None:
    """catalogue 140, 174: announced, chunked without end, and until the line is closed."""
    read = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _number in range(10_000):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
            read += 65536

    async def until_closed(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _number in range(10_000):
            writer.write(b"x" * 65536)
            await writer.drain()

    announced = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nx"
    for talk in (endless, until_closed, announced):
        async with speaking(talk) as canary:
            egress = client(canary, seconds=5)
            await fails(egress, canary, "large")
            await egress.aclose()
    assert read < 16 * MAX_BODY


async def test_exactly_one_megabyte_is_still_read() -> None:
    async with speaking(plain(b"x" * MAX_BODY)) as canary:
        egress = client(canary, seconds=5)
        assert len((await egress.request("GET", f"http://localhost:{canary.port}/")).body) == MAX_BODY
        await egress.aclose()


async def test_who_wants_less_reads_less() -> None:
    """(catalogue 140) Announced or not, one byte more is too much."""
    silent = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 101
    for said, is_fine in ((plain(b"x" * 100), True), (plain(b"x" * 101), False), (silent, False)):
        async with speaking(said) as canary:
            egress, url = client(canary, seconds=5), f"http://localhost:{canary.port}/"
            if is_fine:
                assert len((await egress.request("GET", url, most=100)).body) == 100
            else:
                with pytest.raises(EgressFailed, match="large"):
                    await egress.request("GET", url, most=100)
            await egress.aclose()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
async def test_a_compressed_answer_is_refused_unread(encoding: str) -> None:
    """catalogue 140: we ask for none, so a bomb never meets a decompressor."""
    async with speaking(plain(gzip.compress(b"0" * 50_000_000), f"Content-Encoding: {encoding}")) as canary:
        egress = client(canary)
        await fails(egress, canary, "encoding")
        await egress.aclose()


async def test_redirects_are_handed_back_not_followed() -> None:
    """catalogue 139, 140: the second server is never visited."""
    async with speaking(plain(b"inside")) as target:
        away = plain(b"", f"Location: http://localhost:{target.port}/", status="302 Found")
        async with speaking(away) as canary:
            egress = client(canary, target)
            answer = await egress.request("GET", f"http://localhost:{canary.port}/")
            await egress.aclose()
    assert (answer.status, target.connections) == (302, 0)


@pytest.mark.parametrize(
    "garbage", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100, plain(b"x" * 9)[:-5]]
)
async def test_something_that_is_not_http_is_an_outage(garbage: bytes) -> None:
    """catalogue 173."""
    async with speaking(garbage) as canary:
        egress = client(canary)
        await fails(egress, canary, "broken")
        await egress.aclose()


async def test_a_closed_port_is_an_outage() -> None:
    """catalogue 172."""
    async with speaking(b"") as canary:
        pass
    egress = client(canary)
    await fails(egress, canary, "connect")
    await egress.aclose()


async def test_a_hanging_host_does_not_hold_up_another() -> None:
    """catalogue 172: more requests hang at one host than any pool holds; the other host answers at once."""
    async with speaking(silent) as dead, speaking(plain(b"fine")) as healthy:
        egress = client(dead, healthy, seconds=3)
        hanging = [
            asyncio.create_task(egress.request("GET", f"http://localhost:{dead.port}/"))
            for _ in range(IN_FLIGHT_PER_HOST)
        ]
        await asyncio.sleep(0.1)
        with pytest.raises(EgressRefused, match="busy"):
            await egress.request("GET", f"http://localhost:{dead.port}/")
        began = time.monotonic()
        assert (await egress.request("GET", f"http://localhost:{healthy.port}/")).body == b"fine"
        assert time.monotonic() - began < 1
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await egress.aclose()


async def test_after_failures_in_a_row_a_host_is_left_alone_and_then_tried_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """catalogue 172, 175: the circuit opens, half-opens for one request, and closes on the first answer."""
    monkeypatch.setattr("broker.egress.OPEN_SECONDS", 0.4)
    answers = [b""] * (FAILURES_TO_OPEN + 1) + [plain(b"back")] * 3

    async def scripted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))
        await writer.drain()

    async with speaking(scripted) as canary:
        egress = client(canary)
        url = f"http://localhost:{canary.port}/"
        for _ in range(FAILURES_TO_OPEN):  # POST: nothing below us asks again on its own
            with pytest.raises(EgressFailed, match="broken"):
                await egress.request("POST", url)
        with pytest.raises(EgressRefused, match="circuit"):
            await egress.request("POST", url)
        assert canary.connections == FAILURES_TO_OPEN
        await asyncio.sleep(0.5)
        outcomes = await asyncio.gather(*(egress.request("POST", url) for _ in range(3)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in outcomes) == ["EgressFailed", "EgressRefused", "EgressRefused"]
        with pytest.raises(EgressRefused, match="circuit"):
            await egress.request("POST", url)
        await asyncio.sleep(0.5)
        assert (await egress.request("POST", url)).body == b"back"
        assert (await egress.request("POST", url)).body == b"back"
        await egress.aclose()


async def test_tls_is_verified_against_the_name_and_the_given_authority(tmp_path: Path) -> None:
    """catalogue 172: a stranger's certificate, and a good one for another name, are outages with the reason `tls`."""
    for names, trusted, works in (
        (("provider.test",), True, True),
        (("provider.test",), False, False),
        (("other.test",), True, False),
    ):
        context, ca_file = certificate(tmp_path, *names)
        async with speaking(plain(b"fine"), tls=context) as canary:

            async def resolve(host: str, port: int) -> list[str]:
                assert (host, port) == ("provider.test", canary.port)
                return ["127.0.0.1"]

            exemption = Exemption(host="provider.test", port=canary.port, ca_file=ca_file if trusted else None)
            egress = Egress(exemptions=[exemption], resolver=resolve)
            url = f"https://provider.test:{canary.port}/"
            if works:
                assert (await egress.request("GET", url)).body == b"fine"
            else:
                with pytest.raises(EgressFailed, match="tls provider.test"):
                    await egress.request("GET", url)
                assert canary.requests == []
            await egress.aclose()


async def test_errors_hold_neither_path_nor_query_and_tell_the_person_nothing() -> None:
    """catalogue 140: no port-scan oracle, no token in a log line."""
    async with speaking(silent) as canary:
        egress = client(canary, seconds=0.1)
        found: list[UpstreamUnavailable] = []
        for url in (
            f"http://localhost:{canary.port}/p?code=SECRET",
            "https://8.8.8.8/p?code=SECRET",
            "http://localhost:9/SECRET",
        ):
            with pytest.raises(UpstreamUnavailable) as caught:
                await egress.request("GET", url, headers={"Authorization": "Bearer SECRET"}, body=b"SECRET")
            found.append(caught.value)
        await egress.aclose()
    assert all("SECRET" not in f"{error!r}{error}{error.detail}{error.__cause__!r}" for error in found)
    assert {error.public for error in found} == {UpstreamUnavailable.public}


async def test_it_is_known_until_when_a_certificate_is_good(tmp_path: Path) -> None:
    """Guarded like a request: another authority's certificate is `tls`, and an address that may not be called is not."""
    context, ca_file = certificate(tmp_path, "localhost")
    async with speaking(plain(b""), tls=context) as canary:
        egress = Egress(exemptions=[Exemption(host="localhost", port=canary.port, ca_file=ca_file)])
        left = (await egress.certificate_ends("localhost", canary.port)).timestamp() - time.time()
        assert 3500 < left < 3700
        with pytest.raises(EgressFailed, match="tls localhost"):
            await client(canary).certificate_ends("localhost", canary.port)
    with pytest.raises(EgressRefused, match="port localhost"):
        await Egress().certificate_ends("localhost", canary.port)
    with pytest.raises(EgressFailed, match="connect localhost"):
        await egress.certificate_ends("localhost", canary.port)


async def test_a_watch_sees_what_its_own_task_asks_and_nothing_else() -> None:
    """Who tries a provider sees no other person's sign-in; without a query, which carries tokens."""

    async def ask(path: str) -> None:
        await watched.request("GET", f"http://localhost:{canary.port}{path}?token=SECRET")

    async with speaking(plain(b"{}", "X-One: 1")) as canary:
        egress = client(canary)
        watched = Watched(egress)
        with watching() as seen:
            await asyncio.gather(ask("/one"), ask("/two"))
            with pytest.raises(EgressRefused):
                await watched.request("GET", "http://other.example/?token=SECRET")
        await ask("/after")
        with watching() as second:
            assert second == []
        await egress.aclose()
    assert {one.path for one in seen if one.status == 200} == {"/one", "/two"}
    (refused,) = (one for one in seen if one.status is None)
    assert (refused.host, refused.failure) == ("other.example", "scheme other.example")
    assert {one.headers.get("x-one") for one in seen} == {"1", None}
    assert "SECRET" not in repr(seen)


async def test_a_watch_knows_what_was_sent_that_opens_something() -> None:
    """So that it can be hidden where an answer says it again."""
    basic = base64.b64encode(b"app:se%2Fcret").decode()
    async with speaking(plain(b"{}")) as canary:
        egress, root = client(canary), f"http://localhost:{canary.port}"
        with watching() as seen:
            http = Watched(egress)
            await http.request(
                "POST", f"{root}/token", headers={"Authorization": f"Basic {basic}"}, body=b"code=c-1&grant_type=x"
            )
            await http.request("GET", f"{root}/me?fields=a&access_token=a-1", headers={"Authorization": "Bearer b-1"})
            await http.request("GET", f"{root}/plain")
        await egress.aclose()
    assert [set(one.sent) - {""} for one in seen] == [{basic, "se/cret", "c-1"}, {"a-1", "b-1"}, set()]


async def test_a_watch_has_an_end() -> None:
    async with speaking(plain(b"{}")) as canary:
        egress = client(canary)
        with watching() as seen:
            for _ in range(MOST + 2):
                await Watched(egress).request("GET", f"http://localhost:{canary.port}/")
        await egress.aclose()
    assert len(seen) == MOST

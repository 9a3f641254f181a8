"""Where the guarded client goes and where it does not: every refusal is proved by a canary that nobody visits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broker.egress import FAILURES_TO_OPEN, Egress, EgressFailed, EgressRefused, Exemption, is_public
from tests.egress.wire import plain, speaking


class Names:
    """A resolver that answers from a table, a new answer each time, and remembers what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if not self.answers:
            raise OSError("no such name")
        return self.answers.pop(0)


INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:db8::1", "fc00::1",
    "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1", "3fff::1", "5f00::1",
    "2606:4700::1%eth0", "not an address", "", "127.1", "0x7f000001", "2130706433", "0177.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_never_public(address: str) -> None:
    """catalogue 138, 139: every range that is not one machine of the public internet, in every spelling."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "157.240.1.35", "2606:4700:4700::1111", "2a03:2880::1"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [a for a in INSIDE if a[:1].isdigit() or ":" in a if " " not in a])
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    """catalogue 138, 139: what counts is where the name leads, not how it looks."""
    names = Names([address])
    egress = Egress(resolver=names)
    try:
        with pytest.raises(EgressRefused, match="address api.example"):
            await egress.request("GET", "https://api.example.com/")
    finally:
        await egress.aclose()
    assert names.asked == [("api.example.com", 443)]


async def test_one_inside_address_among_public_ones_refuses_all() -> None:
    """catalogue 139."""
    egress = Egress(resolver=Names(["8.8.8.8", "127.0.0.1"]))
    with pytest.raises(EgressRefused, match="address"):
        await egress.request("GET", "https://api.example.com/")
    await egress.aclose()


async def test_nothing_connects_to_a_refused_loopback_service() -> None:
    """catalogue 138, 139: the canary on loopback sees no connection, however it is spelled."""
    async with speaking(plain(b"secret")) as canary:
        port = canary.port
        for url in (
            f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/", f"http://localhost:{port}/",
            f"https://localhost:{port}/", f"http://[::1]:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://127.1:{port}/", f"http://2130706433:{port}/", f"http://0x7f000001:{port}/",
            f"http://0177.0.0.1:{port}/", f"http://user:pass@127.0.0.1:{port}/", f"http://0:{port}/",
            f"http://127.0.0.1:{port}\\@api.example.com/", f"http://api.example.com@127.0.0.1:{port}/",
            f"http://localhost.:{port}/", f"http://LOCALHOST:{port}/",
        ):  # fmt: skip
            egress = Egress()
            with pytest.raises(EgressRefused):
                await egress.request("GET", url)
            await egress.aclose()
        assert canary.connections == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.com/", "scheme"),
        ("ftp://api.example.com/", "url|scheme"),
        ("file:///etc/passwd", "url"),
        ("gopher://api.example.com:70/", "scheme"),
        ("unix:/run/docker.sock", "url"),
        ("https://user@api.example.com/", "credentials"),
        ("https://user:secret@api.example.com/", "credentials"),
        ("https://@api.example.com/", "credentials|url"),
        ("https://api.example.com:8443/", "port"),
        ("https://api.example.com:22/", "port"),
        ("https://api.example.com:99999/", "url"),
        ("https://8.8.8.8/", "literal"),
        ("https://134744072/", "literal"),
        ("https://0x08080808/", "literal"),
        ("https://010.010.010.010/", "literal"),
        ("https://[2606:4700::1]/", "literal"),
        ("https:///path", "url"),
        ("https://api_example.com/", "url"),
        ("https://api.example.com/#part", "url"),
        ("https://bücher.example/", "url"),
        ("https://api.example.com/ two", "url"),
        ("https://api.example.com/\r\nHost: inside", "url"),
        ("//api.example.com/", "url"),
        ("", "url"),
    ],
)
async def test_an_address_that_is_not_plain_https_is_refused_before_any_name_is_asked(url: str, reason: str) -> None:
    """catalogue 139: schemes, ports, credentials, literals and malformed addresses."""
    names = Names(["8.8.8.8"])
    egress = Egress(resolver=names)
    with pytest.raises(EgressRefused, match=rf"^egress_refused: ({reason})"):
        await egress.request("GET", url)
    await egress.aclose()
    assert names.asked == []


async def test_a_second_answer_of_the_name_server_is_never_used() -> None:
    """catalogue 139: DNS rebinding. Public at the check, loopback at the connection: there is only one question."""
    async with speaking(plain(b"secret")) as canary:
        names = Names(["203.0.113.1"], ["127.0.0.1"], ["127.0.0.1"])
        egress = Egress(resolver=names, connect_seconds=0.3, total_seconds=0.6)
        for _ in range(3):
            with pytest.raises((EgressRefused, EgressFailed)):
                await egress.request("GET", "https://rebind.example.com/")
        await egress.aclose()
        assert canary.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """catalogue 139: an exempted name is connected to where the resolver said, with the name kept in `Host`."""
    async with speaking(plain(b"hello")) as canary:
        names = Names(["127.0.0.1"])
        exemption = Exemption(host="provider.test", port=canary.port)
        egress = Egress(resolver=names, exemptions=[exemption])
        answer = await egress.request("GET", f"http://provider.test:{canary.port}/a?b=c%20d")
        await egress.aclose()
    assert answer.body == b"hello"
    assert canary.requests[0].startswith(b"GET /a?b=c%20d HTTP/1.1\r\n")
    assert f"Host: provider.test:{canary.port}".encode() in canary.requests[0]
    assert names.asked == [("provider.test", canary.port)]


async def test_an_exemption_is_for_one_exact_host_and_port() -> None:
    """catalogue 139: the neighbour port of an exempted service stays closed."""
    async with speaking(plain(b"yes")) as allowed, speaking(plain(b"no")) as forbidden:
        egress = Egress(exemptions=[Exemption(host="localhost", port=allowed.port)])
        assert (await egress.request("GET", f"http://localhost:{allowed.port}/")).body == b"yes"
        for url in (
            f"http://localhost:{forbidden.port}/",
            f"http://127.0.0.1:{allowed.port}/",
            f"http://x.localhost:{allowed.port}/",
            f"http://localhost.:{allowed.port}/",
        ):
            with pytest.raises(EgressRefused):
                await egress.request("GET", url)
        await egress.aclose()
        assert (allowed.connections, forbidden.connections) == (1, 0)


def test_exemptions_are_exact() -> None:
    assert Exemption.parse("LocalHost:8010") == Exemption(host="localhost", port=8010)
    assert Exemption.parse("[::1]:8010") == Exemption(host="::1", port=8010)
    for text in (
        "localhost",
        "*:8010",
        "*.example.com:443",
        "localhost:",
        "localhost:0",
        "localhost:70000",
        ":1",
        "a b:1",
    ):
        with pytest.raises(ValueError, match="exact host:port"):
            Exemption.parse(text)


async def test_no_name_no_request() -> None:
    """catalogue 172: a name that does not resolve is an outage of that provider and nothing worse."""
    egress = Egress(resolver=Names())
    with pytest.raises(EgressFailed, match="dns gone"):
        await egress.request("GET", "https://gone.example.com/")
    await egress.aclose()
    egress = Egress(resolver=Names([]))
    with pytest.raises(EgressFailed, match="dns gone"):
        await egress.request("GET", "https://gone.example.com/")
    await egress.aclose()


async def test_a_cancelled_request_does_not_count_as_a_failure_of_the_host() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(silent) as canary:
        egress = Egress(exemptions=[Exemption(host="localhost", port=canary.port)])
        for number in range(8):
            task = asyncio.create_task(egress.request("GET", f"http://localhost:{canary.port}/"))
            async with asyncio.timeout(5):
                while canary.connections <= number:
                    await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await egress.aclose()
        assert canary.connections == 8, "more than open the circuit if they were failures"


async def test_hosts_that_people_named_are_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """catalogue 66: whoever types one wrong name after another fills no memory; a host that is left alone stays so."""
    monkeypatch.setattr("broker.egress.MAX_HOSTS", 8)
    egress = Egress(resolver=Names())
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(EgressFailed):
            await egress.request("GET", "https://down.example.com/")
    for number in range(64):
        with pytest.raises(EgressFailed):
            await egress.request("GET", f"https://a{number}.example.com/")
        assert len(egress._hosts) <= 10
    with pytest.raises(EgressRefused, match="circuit"):
        await egress.request("GET", "https://down.example.com/")
    await egress.aclose()

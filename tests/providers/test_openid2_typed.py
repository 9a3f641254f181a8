"""OpenID 2.0 by an address that somebody types: what counts as one, whom it may name, and what strangers may make us do."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.rig import NOW, Answer, Asked, StandingClock, attempt

from broker.domain.claims import EMAIL, NAME
from broker.domain.provider import Attempt, Finder, Found, Identified
from broker.egress import Egress
from broker.errors import FormInvalid, SignInCancelled, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._openid2 import NS
from providers._yadis import MAX_ASKED, MAX_ELEMENTS, MAX_XRDS, discover, normalise, read_head, read_xrds
from providers.openid2 import PROVIDER, TypedOpenID2
from providers.preset import Preset

ANA = "https://people.test/ana"
OP = "https://op.test/openid"
EVIL = "https://evil.test/openid"
BACK = "https://login.example/callback/example"
HTML = {"content-type": "text/html; charset=utf-8"}
XRDS = {"content-type": "application/xrds+xml"}
Line = Answer | Callable[[Asked], Answer] | Exception


class Net:
    """Whole addresses and what they answer; what is not among them goes to `beyond`, or is an outage."""

    def __init__(self, lines: Mapping[str, Line], beyond: Egress | None = None) -> None:
        self.lines, self.beyond = dict(lines), beyond
        self.asked: list[Asked] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Any:
        asked = Asked(method, url, dict(headers or {}), body or b"")
        self.asked.append(asked)
        if url not in self.lines and self.beyond is not None:
            return await self.beyond.request(method, url, headers=headers, body=body)
        line = self.lines.get(url, UpstreamUnavailable("connect somebody.people.test"))
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, Answer) else line(asked)

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.asked]


def service(kind: str, *uris: str, priority: str = "0", local: str = "") -> str:
    where = "".join(f"<URI>{uri}</URI>" for uri in uris)
    local_id = f"<LocalID>{local}</LocalID>" if local else ""
    return f'<Service priority="{priority}"><Type>{NS}/{kind}</Type>{where}{local_id}</Service>'


def xrds(*services: str) -> bytes:
    inside = "".join(services)
    return f'<xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)"><XRD>{inside}</XRD></xrds:XRDS>'.encode()


def page(head: str, body: str = "") -> Answer:
    return Answer(200, HTML, f"<!doctype html><html><head>{head}</head><body>{body}</body></html>".encode())


def document(*services: str) -> Answer:
    return Answer(200, XRDS, xrds(*services))


def moved(to: str) -> Answer:
    return Answer(302, {"location": to}, b"")


YES = Answer(200, {"content-type": "text/plain"}, f"ns:{NS}\nis_valid:true\n".encode())
USUAL: Mapping[str, Line] = {
    ANA: page(f'<link rel="openid2.provider" href="{OP}">'),
    "https://op.test/": document(service("server", OP)),
    "https://evil.test/": document(service("server", EVIL)),
    OP: YES,
    EVIL: YES,
}


def typed(net: Net, **changes: Any) -> TypedOpenID2:
    table: dict[str, object] = {"kind": "openid2", "discovery": "any", "fields": ["name", "email"], **changes}
    provider = PROVIDER(Preset.from_table("example", table), net, StandingClock())
    assert isinstance(provider, TypedOpenID2)
    return provider


async def leave(net: Net, address: str, **changes: Any) -> Attempt:
    return attempt(found=await typed(net, **changes).find(address))


def answer(left: Attempt, claimed: str = ANA, identity: str | None = None, **changes: str) -> dict[str, str]:
    assert left.found is not None
    fields = {
        "ns": NS, "mode": "id_res", "op_endpoint": left.found.endpoint, "claimed_id": claimed,
        "identity": identity or claimed.partition("#")[0], "return_to": f"{BACK}?state={left.state}",
        "response_nonce": f"{NOW:%Y-%m-%dT%H:%M:%SZ}x", "assoc_handle": "h", "sig": "c2ln",
    }  # fmt: skip
    fields["signed"] = "op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle"
    return {"state": left.state, **{f"openid.{name}": value for name, value in {**fields, **changes}.items()}}


async def come_back(net: Net, left: Attempt, callback: Mapping[str, str], **changes: Any) -> Identified:
    return await typed(net, **changes).identify(left, callback)


async def refused(net: Net, address: str, **changes: Any) -> tuple[str, str]:
    """The code for the page, and the word for the log."""
    with pytest.raises(FormInvalid) as found:
        await typed(net, **changes).find(address)
    return found.value.fields["identifier"], found.value.detail


# --- what is typed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("people.test/ana", ANA), ("  https://people.test/ana ", ANA), ("HTTPS://People.TEST/ana#gen2", ANA),
        ("people.test", "https://people.test/"), ("people.test:443/ana", ANA), ("op.test", "https://op.test/"),
    ],
)  # fmt: skip
async def test_an_address_is_read_as_the_specification_says(text: str, asked: str) -> None:
    """Except that what has no scheme is https: on the way to anything else anybody could answer for it."""
    net = Net({**USUAL, "https://people.test/": page(f'<link rel="openid2.provider" href="{OP}">')})
    await typed(net).find(text)
    assert net.urls == [asked]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "missing"), ("   ", "missing"), ("=ana", "xri"), ("@club*ana", "xri"), ("xri://=ana", "xri"), ("+x", "xri"),
        ("http://people.test/ana", "http"), ("HTTP://people.test/ana", "http"), ("ana@people.test", "bad"),
        ("mailto:ana", "bad"), ("file:///etc/passwd", "bad"), ("gopher://people.test/", "bad"), ("ana marković", "bad"),
        ("https://ana@people.test/", "bad"), ("https://people.test/" + "a" * 300, "bad"), ("https://people.test/a/../b", "bad"),
        ("https://", "bad"), ("https://[::1", "bad"), ("people.test:x/", "bad"), ("javascript:alert(1)", "bad"),
    ],
)  # fmt: skip
async def test_what_is_no_address_is_said_to_be_none_and_asks_nobody(text: str, code: str) -> None:
    """catalogue 67: names of the old directory (XRI) among them."""
    net = Net(USUAL)
    assert (await refused(net, text))[0] == f"identifier_{code}"
    assert net.asked == []


async def test_the_identifier_is_where_the_address_really_is() -> None:
    net = Net({**USUAL, "https://short.test/": moved("https://www.people.test/x"), "https://www.people.test/x": moved("/ana"),
               "https://www.people.test/ana": page(f'<link rel="openid2.provider openid.server" href="{OP}">')})  # fmt: skip
    found = await typed(net).find("short.test")
    assert (found.claimed_id, found.local_id) == ("https://www.people.test/ana",) * 2
    url = await typed(net).authorization_url(attempt(found=found))
    assert url.startswith(f"{OP}?openid.ns=")
    assert (
        "openid.claimed_id=https%3A%2F%2Fwww.people.test%2Fana&openid.identity=https%3A%2F%2Fwww.people.test%2Fana"
        in url
    )


async def test_the_address_of_a_provider_lets_it_say_who_is_there() -> None:
    net = Net(USUAL)
    left = await leave(net, "op.test")
    assert left.found == Found(endpoint=OP)
    assert f"openid.claimed_id={NS.replace(':', '%3A').replace('/', '%2F')}%2Fidentifier_select" in (
        await typed(net).authorization_url(left)
    )
    identity = (await come_back(net, left, answer(left))).identity
    assert (identity.key.issuer, identity.key.subject) == (NS, ANA)


@pytest.mark.parametrize(
    ("first", "services", "endpoint"),
    [
        ("header", [service("signon", OP)], OP),
        ("meta", [service("signon", OP)], OP),
        ("type", [service("signon", OP)], OP),
        ("type", [service("signon", EVIL, priority="20"), service("signon", OP, priority="10")], OP),
        ("type", [service("signon", EVIL), service("server", OP, priority="99")], OP),
        ("type", ["<Service><Type>http://openid.net/signon/1.1</Type><URI>https://old.test/</URI></Service>", service("signon", OP)], OP),
        ("type", ['<Service xmlns="urn:x"><Type>x</Type></Service>', service("signon", "nonsense", OP)], OP),
    ],
)  # fmt: skip
async def test_yadis_says_where_the_provider_is(first: str, services: list[str], endpoint: str) -> None:
    """By content type, header or meta element; providers before persons, then by priority."""
    there = "https://people.test/ana.xrds"
    says = {
        "type": document(*services),
        "header": Answer(200, {**HTML, "x-xrds-location": there}, b"<html><head></head></html>"),
        "meta": page('<meta http-equiv="X-XRDS-Location" content="/ana.xrds">'),
    }
    net = Net({ANA: says[first], there: document(*services)})
    assert (await typed(net).find(ANA)).endpoint == endpoint
    assert net.asked[0].headers["Accept"].startswith("application/xrds+xml")


def test_the_last_description_counts_and_nothing_else_is_read() -> None:
    root = '<xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)">%s</xrds:XRDS>'
    two = root % f"<XRD>{service('signon', EVIL)}</XRD><XRD>{service('signon', OP)}</XRD>"
    assert [one.endpoint for one in read_xrds(two.encode())] == [OP]
    deep = root % f"<XRD><Extension>{service('signon', EVIL)}</Extension></XRD>"
    assert read_xrds(deep.encode()) == ()
    assert read_xrds(f"<XRDS><XRD>{service('signon', EVIL)}</XRD></XRDS>".encode()) == ()
    names = root % f"<XRD>{service('signon', OP, local='https://op.test/ana')}</XRD>"
    assert [one.local_id for one in read_xrds(names.encode())] == ["https://op.test/ana"]


async def test_the_providers_own_name_for_somebody_travels_beside_the_identifier() -> None:
    """Delegation: the person may change the provider and stay who they are."""
    local = "https://op.test/u/ana"
    net = Net(
        {**USUAL, ANA: page(f'<link rel="openid2.provider" href="{OP}"><link rel="openid2.local_id" href="{local}">')}
    )
    left = await leave(net, ANA)
    assert left.found == Found(endpoint=OP, claimed_id=ANA, local_id=local)
    assert (await come_back(net, left, answer(left, ANA, local))).identity.key.subject == ANA
    with pytest.raises(UpstreamInvalid, match="claimed_id"):
        await come_back(net, left, answer(left, ANA, "https://op.test/u/bob"))


@pytest.mark.parametrize(
    "line",
    [
        page(""), page('<link rel="openid.server" href="https://old.test/">'), page('<link rel="openid2.provider" href="nonsense">'),
        document(), Answer(200, XRDS, b"<no xml"), Answer(404), Answer(302), Answer(200, {"content-type": "image/png"}, b"\x89PNG"),
        Answer(200, {**HTML, "x-xrds-location": ANA}, b""), Answer(200, {**HTML, "x-xrds-location": "https://[/"}, b""),
        moved("https://[/"),
    ],
)  # fmt: skip
async def test_an_address_that_names_no_provider_is_said_to_be_none(line: Answer) -> None:
    code, detail = await refused(Net({ANA: line}), ANA)
    assert code == "identifier_none"
    assert "people.test" not in detail


async def test_what_cannot_be_reached_is_told_without_naming_it() -> None:
    for error in ("connect people.test", "dns people.test", "timeout people.test", "tls people.test"):
        code, detail = await refused(Net({ANA: UpstreamUnavailable(error)}), ANA)
        assert (code, detail) == ("identifier_silent", f"discovery {error.partition(' ')[0]}")


# --- who may speak for whom ---------------------------------------------------------------------------


async def test_an_identifier_must_name_the_provider_that_speaks_for_it() -> None:
    """catalogue 59: the attacker's own provider confirms its answer about Ana; Ana's address names another."""
    net = Net(USUAL)
    left = await leave(net, "evil.test")
    with pytest.raises(UpstreamInvalid, match="claimed_id"):
        await come_back(net, left, answer(left))
    assert net.urls[-2:] == [EVIL, ANA]
    net.lines[ANA] = page(f'<link rel="openid2.provider" href="{EVIL}">')  # the same, where Ana's address does name it
    assert (await come_back(net, left, answer(left))).identity.key.subject == ANA


@pytest.mark.parametrize(
    "line",
    [
        document(service("server", EVIL)),
        page(f'<link rel="openid2.provider" href="{EVIL}"><link rel="openid2.local_id" href="https://evil.test/x">'),
        moved("https://evil.test/ana"),
        page("", f'<link rel="openid2.provider" href="{EVIL}">'),
        page(f'<link rel="openid2.provider" href="{EVIL}/">'),
        page(""),
        Answer(500),
    ],
)
async def test_an_identifier_that_names_it_only_nearly_does_not_name_it(line: Answer) -> None:
    """catalogue 59: as a provider and not as a person, as another person, by moving away, in its body, at another address."""
    ours = page(f'<link rel="openid2.provider" href="{EVIL}">')
    net = Net({**USUAL, ANA: line, "https://evil.test/ana": ours})
    left = await leave(net, "evil.test")
    with pytest.raises(UpstreamInvalid, match="claimed_id|discovery"):
        await come_back(net, left, answer(left))


async def test_an_identifier_that_is_known_by_now_is_asked_again_only_if_it_differs() -> None:
    """catalogue 59: found before leaving and sealed with the attempt; another one is looked at anew."""
    net = Net({**USUAL, "https://people.test/bob": page(f'<link rel="openid2.provider" href="{OP}">')})
    left = await leave(net, ANA)
    await come_back(net, left, answer(left))
    assert net.urls == [ANA, OP]
    assert (await come_back(net, left, answer(left, "https://people.test/bob"))).identity.key.subject.endswith("/bob")
    assert net.urls[2:] == [OP, "https://people.test/bob"]


async def test_only_the_provider_that_was_found_confirms_an_answer() -> None:
    """catalogue 62: the message's own word where to ask is compared, never followed."""
    net = Net(USUAL)
    left = await leave(net, ANA)
    net.asked.clear()
    with pytest.raises(UpstreamInvalid, match="op_endpoint"):
        await come_back(net, left, answer(left, op_endpoint=EVIL))
    assert net.asked == []
    net.lines[OP] = Answer(200, {"content-type": "text/plain"}, f"ns:{NS}\nis_valid:false\n".encode())
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await come_back(net, left, answer(left))
    assert net.urls == [OP]


async def test_a_made_up_answer_makes_us_ask_nobody_but_the_provider() -> None:
    """catalogue 62, 66: its claimed identifier is not looked at before the provider has confirmed the answer."""
    net = Net({**USUAL, OP: Answer(200, {"content-type": "text/plain"}, b"is_valid:false\n")})
    left = await leave(net, "op.test")
    net.asked.clear()
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await come_back(net, left, answer(left, "https://intranet.test/admin"))
    assert net.urls == [OP]
    with pytest.raises(UpstreamInvalid, match="discovery"):
        await come_back(net, attempt(), answer(left))


async def test_no_association_is_made_however_a_provider_asks_for_one() -> None:
    """catalogue 63: no shared key: not asked for, not made after an `invalidate_handle`, no handle of another provider used."""
    net = Net(
        {
            **USUAL,
            OP: Answer(200, {"content-type": "text/plain"}, f"ns:{NS}\nis_valid:true\ninvalidate_handle:h\n".encode()),
        }
    )
    left = await leave(net, ANA)
    assert "assoc" not in await typed(net).authorization_url(left)
    callback = answer(left, assoc_handle="{HMAC-SHA1}{evil}", invalidate_handle="{HMAC-SHA256}{ours}")
    await come_back(net, left, callback)
    again = await leave(net, ANA)
    assert "assoc" not in await typed(net).authorization_url(again)
    posts = [one.form["openid.mode"] for one in net.asked if one.method == "POST"]
    assert posts == ["check_authentication"]


async def test_only_signed_fields_fill_in_the_form() -> None:
    """catalogue 57"""
    net = Net(USUAL)
    left = await leave(net, ANA)
    told = {"ns.sreg": "http://openid.net/extensions/sreg/1.1", "sreg.fullname": "Ana", "sreg.email": "evil@evil.test"}
    signed = "op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle,ns.sreg,sreg.fullname"
    identity = (await come_back(net, left, answer(left, **told, signed=signed))).identity
    assert identity.claims == {NAME: "Ana"}
    assert identity.verified == frozenset()


async def test_what_does_not_come_was_not_declined_as_far_as_anybody_knows() -> None:
    """Fields are optional there (AX 1.0 §5.1), and no answer says why one is missing: nobody is told that they held it back."""
    net = Net(USUAL)
    left = await leave(net, ANA)
    told = {"ns.sreg": "http://openid.net/extensions/sreg/1.1", "sreg.fullname": "Ana"}
    signed = "op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle,ns.sreg,sreg.fullname"
    identity = (await come_back(net, left, answer(left, **told, signed=signed))).identity
    assert EMAIL not in identity.claims
    assert identity.declined == frozenset()
    assert EMAIL in {offer.claim for offer in typed(net).offers}


async def test_generations_schemes_and_slashes_are_different_people() -> None:
    """catalogue 67: the fragment tells who has the address now; nobody is asked with it."""
    names = [ANA, f"{ANA}#gen1", f"{ANA}#gen2", f"{ANA}/", "https://people.test:8443/ana", "http://people.test/ana"]
    lines = {name.partition("#")[0]: page(f'<link rel="openid2.provider" href="{OP}">') for name in names}
    net = Net({**USUAL, **lines})
    left = (
        await leave(net, "http://op.test", sandbox=True)
        if "http://op.test/" in net.lines
        else await leave(net, "op.test")
    )
    keys = {(await come_back(net, left, answer(left, name), sandbox=True)).identity.key for name in names}
    assert len(keys) == len(names)
    assert not any("#" in one for one in net.urls)
    with pytest.raises(UpstreamInvalid, match="policy"):
        await come_back(net, left, answer(left, "http://people.test/ana"))
    with pytest.raises(UpstreamInvalid, match="claimed_id"):
        await come_back(net, left, answer(left, "HTTPS://people.test/ana"))


# --- policy -------------------------------------------------------------------------------------------


async def test_with_a_list_of_hosts_no_other_is_asked() -> None:
    """catalogue 66: not at the start, not by a redirect, not for the document, not as the provider."""
    hosts = ["people.test", "*.homes.test"]
    for address, line in (
        ("https://other.test/", page("")),
        ("https://homes.test/", page("")),
        ("https://xhomes.test/", page("")),
        (ANA, moved("https://other.test/")),
        (ANA, Answer(200, {**HTML, "x-xrds-location": "https://other.test/"}, b"")),
        (ANA, page(f'<link rel="openid2.provider" href="{OP}">')),
    ):
        net = Net({address: line})
        assert (await refused(net, address, discovery="hosts", hosts=hosts))[0] == "identifier_host"
        assert set(net.urls) <= {ANA}
    net = Net({"https://ana.homes.test/": page('<link rel="openid2.provider" href="https://people.test/op">')})
    left = await leave(net, "ana.homes.test", discovery="hosts", hosts=hosts)
    with pytest.raises(UpstreamInvalid, match="policy"):
        await come_back(net, left, answer(left, "https://other.test/ana"), discovery="hosts", hosts=hosts)


async def test_a_service_that_is_not_let_in_is_passed_over() -> None:
    net = Net({ANA: document(service("signon", EVIL, priority="1"), service("signon", OP, priority="2"))})
    found = await typed(net, discovery="hosts", hosts=["people.test", "op.test"]).find(ANA)
    assert found.endpoint == OP


def test_a_preset_is_pinned_or_typed_and_says_for_whom() -> None:
    today = date(2026, 11, 24)
    base: dict[str, object] = {"kind": "openid2"}

    def keys(**more: object) -> list[str]:
        return [one.key for one in PROVIDER.problems(Preset.from_table("v", {**base, **more}), today)]

    pinned = {"endpoints": {"authorization": OP}, "identifiers": ["https://op.test/"]}
    assert (
        keys(discovery="any")
        == keys(discovery="hosts", hosts=["a.test", "*.a.test", "localhost"], sandbox=True)
        == keys(**pinned)
        == []
    )
    assert keys(discovery="hosts") == keys(discovery="any", hosts=["a.test"]) == ["hosts"]
    assert keys(discovery="any", **pinned) == ["endpoints.authorization", "identifiers"]
    assert keys(**pinned, hosts=["a.test"]) == ["hosts"]
    assert keys(discovery="hosts", hosts=["*", "https://a.test", "A.test", "a.*", "*a.test"]) == ["hosts"] * 5


async def test_one_kind_makes_both_and_only_one_of_them_takes_an_address() -> None:
    table = {"kind": "openid2", "endpoints": {"authorization": OP}, "identifiers": ["https://op.test/"]}
    pinned = PROVIDER(Preset.from_table("v", table), Net({}), StandingClock())
    assert not isinstance(pinned, Finder)
    free = typed(Net({}))
    assert isinstance(free, Finder)
    await free.check()


# --- what strangers write -----------------------------------------------------------------------------


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{ENTITIES}]>'.encode() + xrds(service("signon", "&e9;"))


@pytest.mark.parametrize(
    "start",
    [
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', b'<!DOCTYPE x [<!ENTITY e SYSTEM "https://evil.test/e">]>',
        b'<!DOCTYPE x SYSTEM "https://evil.test/x.dtd">', b'<!DOCTYPE x PUBLIC "-//x//x" "https://evil.test/x.dtd">', b"<!DOCTYPE x>",
        b'<!DOCTYPE x [<!ENTITY % e SYSTEM "https://evil.test/e"> %e;]>',
    ],
)  # fmt: skip
async def test_a_document_with_a_type_is_not_read_and_makes_us_fetch_nothing(start: bytes) -> None:
    """catalogue 64: neither files nor addresses come in by XML."""
    net = Net({ANA: Answer(200, XRDS, start + xrds(service("signon", "&e;")))})
    with pytest.raises(UpstreamInvalid, match="doctype"):
        await discover(net, ANA, lambda _: True)
    assert net.urls == [ANA]
    assert await refused(net, ANA) == ("identifier_none", "discovery doctype")


@pytest.mark.parametrize(
    "body",
    [
        BOMB, b" " * (MAX_XRDS + 1), xrds(*[service("signon", OP)] * (MAX_ELEMENTS // 3 + 1)), b"<a>" * 40_000,
        b"<a " + b" ".join(b'a%d="x"' % n for n in range(12_000)) + b"/>",
        f'<?xml version="1.0" encoding="utf-16"?>{xrds(service("signon", OP)).decode()}'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?>' + xrds(service("signon", OP)).replace(b"<Service", b"+ADw-Service"),
        xrds(service("signon", OP)).replace(b"signon", b"\xff\xfe"), xrds(service("signon", "&undefined;")), b"",
    ],
)  # fmt: skip
def test_a_document_that_would_eat_us_is_refused_soon_and_small(body: bytes) -> None:
    """catalogue 65: entities, size, number of elements, depth, attributes, other encodings."""
    tracemalloc.start()
    started = time.process_time()
    try:
        found: object = read_xrds(body)
    except UpstreamInvalid:
        found = ()
    spent = time.process_time() - started
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ()
    assert spent < 1, "tracing memory makes it several times slower than it is"
    assert most < 20 * 1024 * 1024


@pytest.mark.parametrize(
    "piece", ["<!--", "<link ", "<!DOCTYPE ", "<![", "&", "<a href='", "<script>", "</", "<meta http-equiv=x "]
)
def test_a_page_that_would_eat_us_is_read_soon(piece: str) -> None:
    """catalogue 65: only the beginning of a page is read."""
    started = time.process_time()
    found = read_head(f"<html><head>{piece * (1024 * 1024 // len(piece))}".encode())
    assert time.process_time() - started < 3
    assert found.services == ()


def numbers(*addresses: str) -> Callable[[str, int], Any]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


INSIDE = [
    "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "https://127.0.0.1:6379/", "https://[::1]/",
    "https://0x7f000001/", "https://2130706433/", "https://127.1/", "https://intranet.test/", "https://intranet.test:8080/",
    "http://intranet.test/", "https://[::ffff:10.0.0.1]/", "https://localhost/",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
async def test_no_address_leads_into_our_own_network(address: str) -> None:
    """catalogue 66: typed, by a redirect, as the document's place, as the provider, or claimed in an answer."""
    egress = Egress(resolver=numbers("10.0.0.7"))
    try:
        outcomes = {await refused(Net({}, egress), address)} if not address.startswith("http:") else set()
        for line in (moved(address), Answer(200, {**HTML, "x-xrds-location": address}, b"")):
            net = Net({ANA: line}, egress)
            outcomes.add(await refused(net, ANA))
        assert {code for code, _ in outcomes} <= {"identifier_silent", "identifier_host"}
        assert all(address.split("/")[2] not in detail for _, detail in outcomes)
        net = Net({**USUAL, ANA: page(f'<link rel="openid2.provider" href="{address}">')}, egress)
        if not address.startswith("http:"):
            left = await leave(net, ANA)
            with pytest.raises(UpstreamUnavailable):
                await come_back(net, left, answer(left))
        left = await leave(net, "op.test")
        with pytest.raises((UpstreamUnavailable, UpstreamInvalid)):
            await come_back(net, left, answer(left, address))
    finally:
        await egress.aclose()


async def test_an_address_costs_a_few_requests_at_most() -> None:
    """catalogue 66: however it is moved around."""
    net = Net({ANA: moved(ANA)})
    assert await refused(net, ANA) == ("identifier_none", "discovery redirects")
    assert len(net.asked) == MAX_ASKED
    net = Net({ANA: moved("javascript:alert(1)")})
    assert (await refused(net, ANA))[1] == "discovery address"


@pytest.mark.parametrize(
    "text",
    [
        f'<html><head></head><body><link rel="openid2.provider" href="{EVIL}"></body></html>',
        f'<html><head><!-- <link rel="openid2.provider" href="{EVIL}"> --></head></html>',
        f'<html><head><script>"<link rel=openid2.provider href={EVIL}>"</script></head></html>',
        f'<html><head><style><link rel="openid2.provider" href="{EVIL}"></style></head></html>',
        f'<html><head><title><link rel="openid2.provider" href="{EVIL}"></title></head></html>',
        f'<html><head><template><link rel="openid2.provider" href="{EVIL}"></template></head></html>',
        f'<html><head><noscript><link rel="openid2.provider" href="{EVIL}"></noscript></head></html>',
        f'<html><head><div><link rel="openid2.provider" href="{EVIL}"></div></head></html>',
        f'<html><head>words <link rel="openid2.provider" href="{EVIL}"></head></html>',
        f'<html><body><head><link rel="openid2.provider" href="{EVIL}"></head></body></html>',
        f'<p>words</p><html><head><link rel="openid2.provider" href="{EVIL}"></head></html>',
        f'<link rel="openid2.provider" href="{EVIL}">',
        f'<html><head></head><link rel="openid2.provider" href="{EVIL}"></html>',
        f'<html><head><meta name="x" content=\'<link rel="openid2.provider" href="{EVIL}">\'></head></html>',
    ],
)
def test_a_link_counts_in_the_head_only(text: str) -> None:
    """catalogue 68: what visitors may write on a page is its body, a comment, a quoted text."""
    assert read_head(text.encode()).services == ()
    ours = f'<link rel="openid2.provider" href="{OP}">'
    both = (
        text.replace("<head>", f"<head>{ours}", 1)
        if text.startswith("<html><head>")
        else f"<html><head>{ours}</head>{text}"
    )
    assert [one.endpoint for one in read_head(both.encode()).services] == [OP]


def test_the_first_link_of_a_kind_counts() -> None:
    """catalogue 68"""
    text = f'<HTML><HEAD profile="x"><LINK HREF="{OP}" REL="Openid2.Provider other" href="{EVIL}"/><link rel="openid2.provider" href="{EVIL}">'
    assert [one.endpoint for one in read_head(b"\xef\xbb\xbf" + text.encode()).services] == [OP]


async def test_a_fresh_sign_in_is_proved_by_a_signed_time_there_too() -> None:
    net = Net(USUAL)
    left = replace(await leave(net, ANA), fresh=True)
    assert "openid.pape.max_auth_age=0" in await typed(net).authorization_url(left)
    with pytest.raises(UpstreamInvalid, match="not fresh"):
        await come_back(net, left, answer(left))


PIECES = st.sampled_from([
    b"<", b">", b"<head>", b"</head>", b"<html>", b"<link rel=openid2.provider href=", b'"', b"'", b"<!--", b"-->", b"<![CDATA[", b"<!", b"<?",
    b"<meta http-equiv=x-xrds-location content=", b"<title>", b"<script>", b"</script>", b"&#x", b"&amp;", b"/", b" ", b"=", b"\x00", b"\xff",
    b'<xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)">', b"<XRD>", b"<Service>", b"<Type>", b"</Type>", b"<URI>", b"</URI>",
    b"</Service>", b"</XRD>", b"</xrds:XRDS>", NS.encode(), b"/signon", b"https://u.test/", b'priority="-1"', b"\xef\xbb\xbf", b"]]>",
])  # fmt: skip


@settings(max_examples=300)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join))
def test_whatever_stands_at_an_address_is_read_or_refused(body: bytes) -> None:
    """catalogue 64, 65, 68: nothing but our own refusal comes out of either reader."""
    head = read_head(body)
    assert all(one.endpoint for one in head.services)
    try:
        services = read_xrds(body)
    except UpstreamInvalid:
        return
    assert all(b"<" not in one.endpoint.encode() for one in services)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["https://", "http://", "u.test", ":", "@", "/", "#", "?", "[", "]", "%", ".", "..", "443", "=", " ", "é", "\\"])
                | st.text(max_size=4), max_size=12).map("".join))  # fmt: skip
def test_whatever_is_typed_is_one_plain_https_address_or_refused(text: str) -> None:
    """catalogue 66, 67: and what comes out means the same when it is read again."""
    try:
        found = normalise(text)
    except FormInvalid:
        return
    assert found.startswith("https://")
    assert found.isascii()
    assert "#" not in found
    assert "@" not in found.split("/")[2]
    assert normalise(found) == found


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "signed", "sig", "mode", "ns",
                                        "ns.ax", "ax.mode", "ax.type.a", "ax.value.a", "ns.pape", "pape.auth_time"]), st.text(max_size=30)))  # fmt: skip
def test_whatever_an_answer_says_signs_nobody_in_by_itself(changes: dict[str, str]) -> None:
    """catalogue 58, 62: without the provider's own yes there is nobody."""
    net = Net({OP: Answer(200, {"content-type": "text/plain"}, b"is_valid:false\n")})
    left = attempt(found=Found(endpoint=OP, claimed_id=ANA, local_id=ANA))
    with pytest.raises((UpstreamInvalid, UpstreamRejected, SignInCancelled)):
        asyncio.run(come_back(net, left, answer(left, **changes)))

"""The sandbox's OpenID 2.0 side on the wire: addresses, requests, signed answers, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from providers.sandbox import openid_connect
from providers.sandbox.openid2 import AX, NS, PAPE, SELECT, SREG

BASE = "http://sandbox.test"
BACK = "https://login.test/callback/address"
ANA = f"{BASE}/people/ana"
CHECKID = {"ns": NS, "mode": "checkid_setup", "return_to": f"{BACK}?state=s", "realm": "https://login.test/",
           "claimed_id": SELECT, "identity": SELECT}  # fmt: skip


@pytest.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    client = openid_connect.Client(id="doorward", secret="s", redirect_uris=["https://login.test/callback/openid"])
    transport = httpx2.ASGITransport(app=openid_connect.create_app([client]), client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as opened:
        yield opened


def named(fields: dict[str, str]) -> dict[str, str]:
    return {f"openid.{name}": value for name, value in fields.items()}


async def answer(browser: httpx2.AsyncClient, persona: str | None = "ana", **more: str) -> dict[str, str]:
    """What the browser is sent back with; dots are written `__`."""
    if persona is not None:
        await browser.post("/__emu__", json={"next": persona})
    asked = {**CHECKID, **{name.replace("__", "."): value for name, value in more.items()}}
    response = await browser.get("/openid2", params=named(asked))
    assert response.status_code == 302, response.text
    assert response.headers["location"].startswith(f"{BACK}?state=s&")
    pairs = parse_qsl(urlsplit(response.headers["location"]).query, keep_blank_values=True)
    return {name.removeprefix("openid."): value for name, value in pairs if name.startswith("openid.")}


async def direct(browser: httpx2.AsyncClient, fields: dict[str, str]) -> tuple[int, dict[str, str]]:
    response = await browser.post("/openid2", data=named(fields))
    return response.status_code, dict(line.split(":", 1) for line in response.text.splitlines())


async def test_addresses_say_who_speaks_for_them(browser: httpx2.AsyncClient) -> None:
    home = await browser.get("/")
    assert home.headers["x-xrds-location"] == f"{BASE}/xrds"
    assert f"<Type>{NS}/server</Type><URI>{BASE}/openid2</URI>" in (await browser.get("/xrds")).text
    page = await browser.get("/people/ana")
    assert f'<link rel="openid2.provider" href="{BASE}/openid2">' in page.text.partition("</head>")[0]
    there = await browser.get(page.headers["x-xrds-location"])
    assert there.headers["content-type"].startswith("application/xrds+xml")
    assert f"<Type>{NS}/signon</Type>" in there.text
    for path in ("/people/nobody", "/people/nobody/xrds"):
        assert (await browser.get(path)).status_code == 404


async def test_an_answer_is_signed_and_confirmed_once(browser: httpx2.AsyncClient) -> None:
    found = await answer(browser)
    assert (found["claimed_id"], found["identity"], found["op_endpoint"]) == (ANA, ANA, f"{BASE}/openid2")
    assert set(found["signed"].split(",")) == {
        "op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "assoc_handle",
    }  # fmt: skip
    question = {**found, "mode": "check_authentication"}
    for spoiled in (
        {"claimed_id": f"{BASE}/people/lucas"},
        {"sig": "x"},
        {"response_nonce": "x"},
        {"signed": "claimed_id"},
    ):
        assert (await direct(browser, {**question, **spoiled}))[1]["is_valid"] == "false"
    assert await direct(browser, question) == (200, {"ns": NS, "is_valid": "true"})
    assert (await direct(browser, question))[1]["is_valid"] == "false"


async def test_only_what_is_asked_is_told(browser: httpx2.AsyncClient) -> None:
    bare = await answer(browser)
    assert not [name for name in bare if name.startswith(("sreg", "ax", "pape"))]
    told = await answer(
        browser, ns__sreg=SREG, sreg__optional="fullname,postcode", ns__ax=AX, ax__mode="fetch_request",
        ax__type__mail="http://axschema.org/contact/email", ax__type__x="http://axschema.org/person/gender", ns__pape=PAPE,
    )  # fmt: skip
    assert (told["sreg.fullname"], told["ax.value.mail"]) == ("Ana Marković", "ana.markovic@people.test")
    assert not {"sreg.postcode", "ax.value.x", "sreg.email"} & set(told)
    assert told["pape.auth_time"].endswith("Z")
    assert {"ns.sreg", "sreg.fullname", "ns.ax", "ax.mode", "ax.value.mail", "pape.auth_time"} <= set(
        told["signed"].split(",")
    )


async def test_a_person_is_asked_and_may_say_no(browser: httpx2.AsyncClient) -> None:
    for persona, mode in (("", "cancel"), ("lucas", "cancel"), ("ana", "id_res")):
        page = await browser.get("/openid2", params=named({**CHECKID, "claimed_id": ANA, "identity": ANA}))
        assert "Are you Ana" in page.text
        pending = page.text.partition('name="pending" value="')[2].partition('"')[0]
        back = await browser.post("/openid2/sign-in", data={"pending": pending, "persona": persona})
        assert f"openid.mode={mode}" in back.headers["location"]
    assert (await answer(browser, None))["mode"] == "id_res", "signed in now"
    assert (await answer(browser, None, mode="checkid_immediate", ns__pape=PAPE, pape__max_auth_age="0"))[
        "mode"
    ] == "setup_needed"


async def test_what_it_does_not_do_is_refused(browser: httpx2.AsyncClient) -> None:
    assert (await direct(browser, {"ns": NS, "mode": "associate"}))[1]["error_code"] == "unsupported-type"
    for fields in ({"mode": "checkid_setup"}, {"ns": NS, "mode": "guess"}):
        assert (await direct(browser, fields))[0] == 400
    for more in (
        {"return_to": "https://evil.test/"},
        {"realm": "https://evil.test/"},
        {"realm": f"{BACK}/deeper"},
        {"identity": "x"},
    ):
        response = await browser.get("/openid2", params=named({**CHECKID, **more}))
        assert response.status_code == 400, "no redirect anywhere else"

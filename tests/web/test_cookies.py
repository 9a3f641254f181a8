"""Cookies: exactly those of the cookie page, with exactly those flags; whatever else a browser sends is nobody."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.support.house import ISSUER, Browser, House, Shown
from tests.web.desk import account_of, member

from broker.web.cookies import MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS, Cookies, single

HOURS = 3600


def set_by(browser: Browser) -> list[tuple[str, Any]]:
    """Every cookie that the broker set in this browser, in order."""
    found = []
    for answer in browser.history:
        if str(answer.url).startswith(ISSUER):
            for line in answer.headers.get_list("set-cookie"):
                found += list(SimpleCookie(line).items())
    return found


async def everything(house: House) -> Browser:
    """A browser that has met every cookie there is."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open("/language?to=fr&back=/")
    await browser.open("/language?to=en&back=/")
    await browser.open(forum.request_url())
    await house.facebook.order(persona="normal")
    there = await browser.press("provider=facebook", tick=("1",))
    await browser.agree_upstream(there)
    await browser.press("decision=continue")
    await browser.press("decision=create", fill={"preferred_username": "ana"})
    await browser.press("decision=share")
    return browser


async def to_the_end(house: House) -> Browser:
    """The same, up to signing out."""
    browser = await everything(house)
    await browser.open("/signout")
    await browser.press("what=everything")
    return browser


async def test_the_cookie_page_lists_exactly_what_is_set(house: House) -> None:
    """Every cookie of a whole visit is on the page, and every one on the page is met on the way (issue: `/cookies`)."""
    browser = await to_the_end(house)
    names = {name for name, _ in set_by(browser)}
    listed = {notice.name for notice in house.world.cookies.notices}
    prefixes = {name.removesuffix("…") for name in listed if name.endswith("…")}
    plain = listed - {f"{prefix}…" for prefix in prefixes}
    met = {name if name in plain else next((f"{p}…" for p in prefixes if name.startswith(p)), name) for name in names}
    assert met == listed
    page = await browser.open("/cookies")
    for notice in house.world.cookies.notices:
        assert notice.name in page.text
        assert notice.purpose in page.text
        assert notice.lifetime in page.text


async def test_every_cookie_is_for_this_host_and_out_of_reach_of_scripts(house: House) -> None:
    """`__Host-`, Secure, HttpOnly, Lax, no domain: on every one of them, clearing included (catalogue 94)."""
    browser = await to_the_end(house)
    cookies = set_by(browser)
    assert len(cookies) > 8
    for name, morsel in cookies:
        assert name.startswith("__Host-doorward_"), name
        assert (morsel["path"], morsel["domain"], morsel["samesite"]) == ("/", "", "lax"), name
        assert morsel["secure"] and morsel["httponly"], name


async def test_each_cookie_lives_as_long_as_the_page_says(house: House) -> None:
    browser = await to_the_end(house)
    ages: dict[str, set[str]] = {}
    for name, morsel in set_by(browser):
        kind = name.removeprefix("__Host-doorward_").partition("_")[0]
        if morsel.value:
            ages.setdefault(kind, set()).add(morsel["max-age"])
    assert ages == {
        "session": {""},
        "lang": {""},
        "last": {str(180 * 24 * HOURS)},
        "tx": {str(2 * HOURS)},
        "ended": {str(HOURS // 2)},
    }


async def test_a_visit_without_a_sign_in_sets_nothing(house: House) -> None:
    """No banner is needed: reading costs no cookie."""
    browser = house.browser()
    for path in (
        "/",
        "/privacy",
        "/terms",
        "/help",
        "/cookies",
        "/accessibility",
        "/signout",
        "/signed-out",
        "/nowhere",
    ):
        await browser.open(path)
    assert set_by(browser) == []


async def test_the_last_way_is_remembered_only_if_ticked_and_can_be_forgotten(house: House) -> None:
    """(decision 9)"""
    browser = house.browser()
    await browser.sign_up(user_name="ana")
    assert not [name for name in browser.cookies if name.endswith("_last")]
    await browser.open("/signout")
    await browser.press("what=everything")
    await browser.open("/sign-in")
    await house.facebook.order(persona="normal")
    await browser.agree_upstream(await browser.press("provider=facebook", tick=("1",)))
    assert [name for name in browser.cookies if name.endswith("_last")]
    await browser.open("/signout")
    await browser.press("what=everything")
    shown = await browser.open("/sign-in")
    assert "You used this last time" in shown.text
    forgotten = await browser.press("use=forget")
    assert isinstance(forgotten, Shown)
    assert "You used this last time" not in forgotten.text


async def test_signing_out_leaves_only_what_names_nobody(house: House) -> None:
    """Session and sign-ins go; the language and the last way, which the person chose, stay (decision 7); and for half an hour
    that it is this browser which was signed out.
    """
    browser = await to_the_end(house)
    kinds = {name.removeprefix("__Host-doorward_").partition("_")[0] for name in browser.cookies}
    assert kinds == {"lang", "last", "ended"}


# --- cookies that are not ours ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value + "x",
        lambda value: value[:-9] + ("A" if value[-9] != "A" else "B") + value[-8:],
        lambda value: value.partition(".")[0],
        lambda value: value.partition(".")[0] + ".",
        lambda value: "." + value,
        lambda value: value.upper(),
        lambda _: "",
        lambda _: "\x7f",
        lambda _: "a" * 8192,
        lambda _: "%00",
        lambda _: '"',
        lambda value: f'"{value}"x',
        lambda _: "é".encode().decode("latin-1"),
        lambda _: "null",
        lambda _: "{}",
    ],
)  # fmt: skip
async def test_a_spoiled_session_cookie_is_nobody(house: House, spoil: Any) -> None:
    """Forged, cut, oversized, garbled: anonymous, and never an error (catalogue 95)."""
    browser = await member(house, "ana")
    name, value = next((n, v) for n, v in browser.cookies.items() if n.endswith("_session"))
    raw = f"{name}={spoil(value)}".encode("latin-1", "replace")
    async with house.client() as client:
        assert (await client.get("/me", headers={"cookie": f"{name}={value}"})).status_code == 200
        answer = await client.get("/me", headers=[(b"cookie", raw)])
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")
        assert (await client.get("/", headers=[(b"cookie", raw)])).status_code == 200


async def test_a_doubled_session_cookie_is_nobody(house: House) -> None:
    """A sibling host planted a second one: neither counts, in whatever order or header (catalogue 94)."""
    ana, ben = await member(house, "ana"), await member(house, "ben")
    pairs = [next(f"{n}={v}" for n, v in one.cookies.items() if n.endswith("_session")) for one in (ana, ben)]
    async with house.client() as client:
        for headers in (
            [("cookie", f"{pairs[0]}; {pairs[1]}")],
            [("cookie", f"{pairs[1]}; {pairs[0]}")],
            [("cookie", pairs[0]), ("cookie", pairs[1])],
            [("cookie", f"{pairs[0]}; {pairs[0]}")],
        ):
            answer = await client.get("/me", headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/me")


async def test_a_cookie_without_the_prefix_is_not_ours(house: House) -> None:
    """What a sibling host or plain http can set has another name (catalogue 94)."""
    ana = await member(house, "ana")
    value = next(v for n, v in ana.cookies.items() if n.endswith("_session"))
    async with house.client() as client:
        for name in (
            "doorward_session",
            "__Secure-doorward_session",
            "__host-doorward_session",
            "__Host-doorward_Session",
        ):
            answer = await client.get("/me", headers={"cookie": f"{name}={value}"})
            assert answer.status_code == 303, name


async def test_a_cookie_planted_before_signing_in_is_not_the_session_after(house: House) -> None:
    """The attacker knows the value the victim's browser had: it opens nothing afterwards (catalogue 93)."""
    attacker = await member(house, "eve")
    planted = dict(attacker.cookies)
    victim = house.browser()
    for name, value in planted.items():
        victim.jar.set(name, value, domain="login.test", path="/")
    await victim.open(house.site("forum").request_url(prompt="login"))
    await victim.choose()
    await victim.press("decision=continue")
    await victim.press("decision=create", fill={"preferred_username": "ana"})
    session = next(name for name in planted if name.endswith("_session"))
    assert victim.cookies[session] != planted[session]
    assert (await attacker.open("/me")).path.endswith("/sign-in")
    assert "Ana Marković" in (await victim.open("/me")).text


# --- the class ----------------------------------------------------------------------------------------


def request_with(*cookies: str) -> Request:
    headers = [(b"cookie", "; ".join(cookies).encode("latin-1"))] if cookies else []
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


def cleared(response: Response) -> list[str]:
    lines = [value.decode() for name, value in response.raw_headers if name == b"set-cookie"]
    return [line.partition("=")[0] for line in lines if "Max-Age=0" in line]


@pytest.fixture
def cookies() -> Cookies:
    return Cookies(key=b"k" * 32, secure=True, port=None)


def test_plain_http_has_names_of_its_own_for_each_port() -> None:
    """Ports share cookies: two brokers on one machine leave each other alone (decisions 2, 3)."""
    first, second = (Cookies(key=b"k" * 32, secure=False, port=port) for port in (8000, 9000))
    assert first.session_name == "doorward8000_session"
    assert not {notice.name for notice in first.notices} & {notice.name for notice in second.notices}
    response = Response()
    first.set_session(response, "secret")
    assert b"Secure" not in response.raw_headers[-1][1]
    assert b"HttpOnly" in response.raw_headers[-1][1]


def test_a_signature_is_good_for_one_key(cookies: Cookies) -> None:
    response = Response()
    Cookies(key=b"o" * 32, secure=True, port=None).set_session(response, "secret")
    pair = response.raw_headers[-1][1].decode().partition(";")[0]
    assert cookies.session_secret(request_with(pair)) is None
    cookies.set_session(response, "secret")
    pair = response.raw_headers[-1][1].decode().partition(";")[0]
    assert cookies.session_secret(request_with(pair)) == "secret"


def test_a_signature_is_good_for_one_cookie_or_form(cookies: Cookies) -> None:
    """A form's token is no session, and the other way round."""
    token = cookies.form_token("secret")
    assert cookies.session_secret(request_with(f"{cookies.session_name}=secret.{token}")) is None
    response = Response()
    cookies.set_session(response, "s:1")
    signature = response.raw_headers[-1][1].decode().partition(";")[0].rpartition(".")[2]
    assert not cookies.is_form_token(signature, "s:1")
    assert cookies.is_form_token(token, "secret")
    assert not cookies.is_form_token(token, "another")


def test_too_many_sign_ins_drop_the_oldest(cookies: Cookies) -> None:
    """(decision 4)"""
    names = [f"{cookies.transaction_prefix}{number:09x}" for number in range(6)]
    request = request_with(*(f"{name}=c.x" for name in reversed(names)))
    response = Response()
    cookies.set_transaction(request, response, "00000000f", "c.y")
    assert cleared(response) == names[:3]
    assert len(names) - 3 + 1 == MAX_TRANSACTIONS


def test_too_large_sign_ins_drop_the_oldest(cookies: Cookies) -> None:
    """Together they stay below what a server takes in one header (catalogue 180)."""
    names = [f"{cookies.transaction_prefix}{number:09x}" for number in range(3)]
    request = request_with(*(f"{name}=c.{'x' * 2500}" for name in names))
    response = Response()
    cookies.set_transaction(request, response, "00000000f", "c." + "y" * 2500)
    assert cleared(response) == names[:2]
    assert 2 * 2502 <= MAX_TRANSACTION_BYTES < 3 * 2502


def test_what_is_over_goes_first(cookies: Cookies) -> None:
    old, *over = (f"{cookies.transaction_prefix}{number:09x}" for number in range(4))
    request = request_with(f"{old}=c.x", *(f"{name}=o." for name in over))
    response = Response()
    cookies.set_transaction(request, response, "00000000f", "c.y")
    assert cleared(response) == over[:1]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (["a=1"], "1"),
        (["a=1; b=2"], "1"),
        (["b=2", "a=1"], "1"),
        (["a=1; a=1"], None),
        (["a=1", "a=2"], None),
        (["a=1;a=2"], None),
        (["a="], None),
        (["b=1"], None),
        ([f"a={'x' * 8193}"], None),
        ([], None),
    ],
)
def test_a_cookie_counts_if_it_came_once(header: list[str], value: str | None) -> None:
    """(catalogue 94, 95)"""
    headers = [(b"cookie", line.encode()) for line in header]
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})
    assert single(request, "a") == value


async def test_closing_the_account_leaves_no_cookie_of_ours(house: House) -> None:
    """Neither the way used last nor the language: the account they belong to is gone."""
    browser = await everything(house)
    assert {house.world.cookies.last_name, house.world.cookies.locale_name} <= browser.cookies.keys()
    await browser.open("/me/close")
    await browser.press("decision=close")
    assert browser.cookies == {}
    await browser.open("/")
    assert browser.cookies == {}


async def test_signing_out_keeps_the_way_that_the_person_asked_to_have_remembered(house: House) -> None:
    browser = await everything(house)
    await browser.open("/signout")
    await browser.press("what=everything")
    assert house.world.cookies.session_name not in browser.cookies
    assert {house.world.cookies.last_name, house.world.cookies.locale_name} <= browser.cookies.keys()


@pytest.mark.parametrize(
    ("came_from", "kept"),
    [("same-origin", "fr"), ("none", "fr"), (None, "fr"), ("cross-site", None), ("same-site", None), ("x", None)],
)
async def test_another_site_chooses_no_language_for_an_account(
    house: House, came_from: str | None, kept: str | None
) -> None:
    """A link there changes what this browser shows until it is closed, and nothing that is kept of the person."""
    browser = await member(house, "ana")
    before = await house.world.account.load(await account_of(house, "ana"))
    headers = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    async with house.client() as client:
        answer = await client.get(
            "/language?to=fr&back=/me", headers=headers | ({"sec-fetch-site": came_from} if came_from else {})
        )
    assert answer.status_code == 303
    assert house.world.cookies.locale_name in answer.headers["set-cookie"]
    after = await house.world.account.load(before.id)
    assert before.locale != "fr"
    assert after.locale == (kept or before.locale)


@pytest.mark.parametrize("odd", ["a(b)", "a@b", "é", "a b", "a/b", "[x]", "a,b", 'a"b', "a:b", "a\x01", ""])
async def test_names_that_others_planted_break_nothing(house: House, odd: str) -> None:
    """Whoever may set a cookie for our host may name it as they like (catalogue 94)."""
    browser = house.browser()
    await browser.sign_up(house.site("forum"), user_name="zoe")
    planted = "; ".join(
        f"{house.world.cookies.transaction_prefix}{odd}{number if odd else ''}=o." for number in range(12)
    )
    wiki = house.site("wiki")
    async with house.client() as client:
        headers = {b"Cookie": planted.encode()}
        begun = await client.get(wiki.request_url().removeprefix(ISSUER), headers=headers)
        assert begun.status_code == 303
        await browser.open("/signout")
        form, button = browser.page.find("what=everything")
        theirs = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = {
            b"Cookie": f"{theirs}; {planted}".encode(),
            b"Origin": ISSUER.encode(),
            b"Sec-Fetch-Site": b"same-origin",
        }
        over = await client.post("/signout", data=dict(form.fields) | {button.name: button.value}, headers=headers)
        assert over.status_code == 303

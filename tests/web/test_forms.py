"""Forms and steps: only our own pages change anything, in their order, and every address to go to is ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.house import ISSUER, Arrival, Browser, House, Shown
from tests.web.desk import member

from broker.errors import BadRequest
from broker.web.forms import Form, is_local_path, parse_pairs
from broker.web.guards import Guard
from broker.web.routes import ROUTES

OURS = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
POSTED = [
    route for route in ROUTES if route.method == "POST" and route.answers == "page" and route.guard != Guard.PROTOCOL
]


async def prepared(house: House) -> tuple[Browser, str]:
    """Somebody signed in with a sign-in open, as every posted page may need; and the sign-in's id."""
    browser = await member(house, "ana")
    shown = await browser.open(house.site("forum").request_url())
    return browser, shown.path.split("/")[2]


def path_of(route: Any, transaction: str) -> str:
    return (
        str(route.path)
        .replace("/f/{id}", f"/f/{transaction}")
        .replace("{id}", "unknown")
        .replace("{provider}", "openid")
    )


async def a_token(browser: Browser, path: str, transaction: str) -> str:
    """A token as the form of this page would carry."""
    shown = await browser.open(f"/f/{transaction}/site" if path.startswith("/f/") else "/signout")
    return shown.value("csrf")


FORGERIES: list[tuple[str, Callable[[str, str], tuple[dict[str, str], list[tuple[str, str]]]]]] = [
    ("without a token", lambda token, other: (OURS, [])),
    ("with an empty token", lambda token, other: (OURS, [("csrf", "")])),
    ("with an altered token", lambda token, other: (OURS, [("csrf", token[:-9] + ("B" if token[-9] == "A" else "A") + token[-8:])])),
    ("with another person's token", lambda token, other: (OURS, [("csrf", other)])),
    ("from another origin", lambda token, other: ({**OURS, "Origin": "https://forum.test"}, [("csrf", token)])),
    ("from the null origin", lambda token, other: ({**OURS, "Origin": "null"}, [("csrf", token)])),
    ("from our name over http", lambda token, other: ({**OURS, "Origin": "http://login.test"}, [("csrf", token)])),
    ("from a name that begins like ours",
     lambda token, other: ({**OURS, "Origin": "https://login.test.evil.test"}, [("csrf", token)])),
    ("from another site", lambda token, other: ({**OURS, "Sec-Fetch-Site": "cross-site"}, [("csrf", token)])),
    ("from a sibling host", lambda token, other: ({**OURS, "Sec-Fetch-Site": "same-site"}, [("csrf", token)])),
]  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES, ids=[name for name, _ in FORGERIES])
async def test_no_page_takes_a_form_that_is_not_its_own(
    house: House, forgery: tuple[str, Callable[[str, str], tuple[dict[str, str], list[tuple[str, str]]]]]
) -> None:
    """Consent, link, unlink, correction, closing, sign-out, and the start of a sign-in or link: every posted page
    (catalogue 51, 97).
    """
    browser, transaction = await prepared(house)
    ben, other_transaction = await prepared_as(house, "ben")
    before = repr(house.world.durable.tables)  # type: ignore[attr-defined]
    places = ("/f/", "/me")
    tokens = {place: await a_token(browser, place, transaction) for place in places}
    others = {place: await a_token(ben, place, other_transaction) for place in places}
    for route in POSTED:
        path = path_of(route, transaction)
        place = places[0] if path.startswith("/f/") else places[1]
        headers, fields = forgery[1](tokens[place], others[place])
        decisions = [("decision", "share"), ("what", "everything"), ("provider", "openid"), ("all", "1")]
        answer = await browser.send("POST", urljoin(ISSUER, path), data=[*fields, *decisions], headers=headers)
        assert answer.status_code == 403, (route.path, answer.status_code)
        assert "This request did not come from our own page" in answer.text
        assert "refresh" not in answer.headers
    assert repr(house.world.durable.tables) == before  # type: ignore[attr-defined]
    assert (await browser.open("/me")).path == "/me"


async def prepared_as(house: House, name: str) -> tuple[Browser, str]:
    browser = await member(house, name)
    shown = await browser.open(house.site("forum").request_url())
    return browser, shown.path.split("/")[2]


async def test_a_form_stays_good_for_a_day(house: House) -> None:
    browser = await member(house, "ana")
    shown = await browser.open("/me/news")
    assert (await browser.press("Save my choice")).status == 200  # type: ignore[union-attr]
    assert shown.value("csrf")


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", ""])
async def test_only_forms_are_forms(house: House, kind: str) -> None:
    """What a simple cross-site request may send as well is no form here (catalogue 97)."""
    browser = await member(house, "ana")
    shown = await browser.open("/me/news")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with house.client() as client:
        body = f"csrf={quote(shown.value('csrf'))}&newsletter=club".encode()
        headers = {**OURS, "cookie": cookie, **({"content-type": kind} if kind else {})}
        answer = await client.post("/me/news", content=body, headers=headers)
    assert answer.status_code == (400 if kind else 303)


# --- steps in their order -----------------------------------------------------------------------------


async def test_no_step_of_a_sign_in_can_be_skipped(house: House) -> None:
    """Later pages, empty posts, replayed posts: back to where one is, and nothing is made (catalogue 129)."""
    forum, browser = house.site("forum"), house.browser()
    chooser = await browser.open(forum.request_url())
    base = urljoin(ISSUER, chooser.path.rpartition("/")[0])
    token = chooser.value("csrf")
    for step, decision in (("details", "continue"), ("finish", "create"), ("policy", "agree"), ("site", "share")):
        answer = await browser.submit("post", f"{base}/{step}", [("csrf", token), ("decision", decision)])
        assert isinstance(answer, Shown), step
        assert answer.status >= 400, step
    assert (await browser.open(f"{base}/continue")).path == chooser.path
    details = await browser.choose()
    assert isinstance(details, Shown)
    skipped = await browser.submit(
        "post", f"{base}/finish", [("csrf", token), ("decision", "create"), ("preferred_username", "ana")]
    )
    assert isinstance(skipped, Shown)
    assert skipped.path.endswith("/details")
    for step, decision in (("policy", "agree"), ("site", "share")):
        answer = await browser.submit("post", f"{base}/{step}", [("csrf", token), ("decision", decision)])
        assert isinstance(answer, Shown), step
        assert answer.status >= 400, step
    assert await house.accounts() == 0


@pytest.mark.parametrize("step", ["details", "finish", "policy", "site", "sign-in"])
async def test_an_empty_form_decides_nothing(house: House, step: str) -> None:
    """(catalogue 129)"""
    forum, browser = house.site("forum"), house.browser()
    chooser = await browser.open(forum.request_url())
    base = urljoin(ISSUER, chooser.path.rpartition("/")[0])
    if step != "sign-in":
        await browser.choose()
    if step in {"finish", "policy", "site"}:
        await browser.press("decision=continue")
    if step in {"policy", "site"}:
        await browser.press("decision=create", fill={"preferred_username": "ana"})
    accounts, receipts = await house.accounts(), len(house.world.durable.tables.receipts)  # type: ignore[attr-defined]
    answer = await browser.submit("post", f"{base}/{step}", [("csrf", chooser.value("csrf"))])
    assert isinstance(answer, Shown)
    assert answer.status in {400, 409}
    assert await house.accounts() == accounts
    assert len(house.world.durable.tables.receipts) == receipts  # type: ignore[attr-defined]


async def test_extra_fields_of_a_sign_up_are_ignored(house: House) -> None:
    """Role, subject, checked address, consents: posted, and nowhere (catalogue 125)."""
    forum, browser = house.site("forum"), house.browser()
    chooser = await browser.open(forum.request_url())
    await browser.choose()
    await browser.press("decision=continue")
    base = urljoin(ISSUER, chooser.path.rpartition("/")[0])
    evil = [
        ("role", "admin"), ("v-role", "admin"), ("sub", "1"), ("v-sub", "1"), ("email_verified", "true"),
        ("v-email_verified", "true"), ("v-email", "evil@mail.test"), ("account", "x"), ("created_at", "2000-01-01"),
        ("share", "email"), ("consents", "all"), ("status", "held"), ("agreed_notice", "none"),
    ]  # fmt: skip
    fields = [("csrf", chooser.value("csrf")), ("decision", "create"), ("preferred_username", "ana"), *evil]
    shown = await browser.submit("post", f"{base}/finish", fields)
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/site")
    (account,) = house.world.durable.tables.accounts.values()  # type: ignore[attr-defined]
    assert set(account.profile) == {"name", "email", "preferred_username", "locale"}
    assert account.claims["email"] == "ana.markovic@people.test"
    assert account.verified == frozenset()
    end = await browser.press("decision=share")
    assert isinstance(end, Arrival)
    assert "email" not in await forum.claims((await forum.redeem(end))["access_token"])


async def test_a_chooser_without_a_choice_goes_nowhere(house: House) -> None:
    browser = house.browser()
    chooser = await browser.open("/sign-in")
    for fields in (
        [],
        [("provider", "")],
        [("provider", "nobody")],
        [("provider", "../facebook")],
        [("use", "nonsense")],
    ):
        answer = await browser.submit("post", chooser.url, [("csrf", chooser.value("csrf")), *fields])
        assert isinstance(answer, Shown)
        assert answer.status in {400, 404}
        browser.shown = chooser


async def test_opening_a_page_never_leaves_for_a_provider(house: House) -> None:
    """A foreign page can link here, and start nothing (catalogue 51)."""
    browser = await member(house, "ana")
    shown = await browser.open(house.site("forum").request_url(prompt="login"))
    base = shown.path.rpartition("/")[0]
    for path in (f"{base}/sign-in?provider=facebook", f"{base}/continue?provider=facebook", "/sign-in?provider=facebook",
                 "/sign-in/again?provider=facebook", "/me/ways?provider=openid", "/me/ways/add?provider=openid"):  # fmt: skip
        await browser.go(path)
    asked = [entry["path"] for entry in (*await house.facebook.log(), *await house.openid.log())]
    assert not [path for path in asked if "dialog" in path or "authorize" in path]


# --- where to go afterwards ---------------------------------------------------------------------------

HOSTS = (
    "evil.test",
    "evil.test/x",
    "login.test.evil.test",
    "login.test@evil.test",
    "3627734734",
    "[::1]",
    "evil.test:443",
)
STARTS = (
    "//", "///", "////", "/\\", "\\\\", "\\/", "/\t/", "/\n/", "/\r/", "/%09/", "/%0a/", "/%0d/", "/%5c", "/%2f", "/%2f%2f",
    "%2f%2f", "/%2F", "/%5C", "https:", "https:/", "https://", "http://", "HTTPS://", "hTtPs:\\\\", "//%0d%0a", "/@", "@",
    "//user@", "/.//", "/..//", "/./\\", "javascript:", "JaVaScRiPt://", "data:text/html,", "vbscript:", "ftp://", "ws://",
    "\u2215\u2215", "\uff0f\uff0f", "/\uff0f", "\u3002", "/\u200b/", " //", "\x00//", "/\x00/", "//\x7f", ";//", "?//", "#//",
    "/#//", "./", "", "/a//../..//", "/;@", "/?next=//", "/%E3%80%82", "/\u00a0/", "/%ef%bc%8f", "https;//", "/<>//", '/"//',
)  # fmt: skip
PAYLOADS = sorted({f"{start}{host}" for start in STARTS for host in HOSTS})


def lands_outside(target: str) -> bool:
    """Whether some browser could leave our host: read as browsers read, without blanks, with backslashes as slashes."""
    cleaned = "".join(ch for ch in target if ch > " " and ch != "\x7f").replace("\\", "/")
    for text in (cleaned, target, target.replace("\\", "/")):
        try:
            parts = urlsplit(urljoin(f"{ISSUER}/sign-in", text))
        except ValueError:
            return True
        if (parts.scheme, parts.netloc) != ("https", "login.test"):
            return True
    return False


def test_the_list_of_tricks_is_long() -> None:
    assert len(PAYLOADS) > 350


@pytest.mark.parametrize("target", PAYLOADS)
def test_no_trick_passes_as_a_path_of_ours(target: str) -> None:
    """Slashes, backslashes, encodings, blanks, schemes, look-alikes (catalogue 99)."""
    if is_local_path(target):
        assert not lands_outside(target)
        assert target.startswith("/")
        assert target[1:2] not in {"/", "\\"}


@pytest.mark.parametrize(
    "target", ["/me", "/me/ways", "/me/history?site=forum&page=2", "/f/00abc/site", "/", "/posting/opt-in?a=b%20c"]
)
def test_our_own_pages_pass(target: str) -> None:
    assert is_local_path(target)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="/\\.:@%?#;aht 2f5c09\t\r\n\x00é\u3002\uff0f", max_size=12))
def test_whatever_passes_stays_here(target: str) -> None:
    """(catalogue 99)"""
    if is_local_path(target):
        assert not lands_outside(target)


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/help", "/help"),
        ("/help?", "/help"),
        ("/help?lang=en", "/help"),
        ("/signed-out?seen=x", "/signed-out"),
        ("/mail/check?token=x", "/mail/check"),
        ("/mail/changed?token=x", "/mail/changed"),
        ("/trial?link=x", "/trial"),
        ("/device?user_code=x&again=x", "/device"),
        ("/callback/openid?code=c&state=s", "/"),
    ],
)
async def test_a_link_to_another_language_repeats_nothing_that_anybody_can_write(
    house: House, asked: str, path: str
) -> None:
    """Of an address it keeps the path, and a parameter only where we sealed it (catalogue 147)."""
    browser = house.browser()
    page = await browser.open(asked)
    answer = await browser.send("GET", f"{ISSUER}{dict(page.links)['Français']}")
    assert answer.headers["location"] == path


@pytest.mark.parametrize("where", ["/sign-in?next={}", "/sign-in/again?next={}", "/language?to=fr&back={}"])
async def test_nobody_is_sent_anywhere_else(house: House, where: str) -> None:
    """Every parameter that says where to go, with every trick: our own page or the default (catalogue 99)."""
    browser = await member(house, "ana")
    async with house.client() as client:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        for target in PAYLOADS:
            answer = await client.get(where.format(quote(target, safe="")), headers={"cookie": cookie})
            assert answer.status_code == 303, target
            location = answer.headers["location"]
            assert not lands_outside(location), (target, location)


# --- reading forms ------------------------------------------------------------------------------------


def test_a_form_gives_the_first_or_all_of_a_name() -> None:
    form = Form([("a", "1"), ("a", "2"), ("v-x", "3"), ("v-x", "4")])
    assert (form["a"], form.get("b"), form.all("a"), form.all("b")) == ("1", None, ("1", "2"), ())
    assert form.prefixed("v-") == {"x": "3"}
    assert (list(form), len(form)) == (["a", "v-x"], 2)


def test_text_that_is_no_utf8_is_refused() -> None:
    """(catalogue 131)"""
    for raw in (b"a=%ff", b"a=\xff", "a=%ed%a0%80", b"&".join([b"a=1"] * 201)):
        with pytest.raises(BadRequest):
            parse_pairs(raw)
    assert parse_pairs("a=%00&b=") == [("a", "\x00"), ("b", "")]

"""Hostile texts, from wherever they come: inert on pages, in headers, in queries and in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from starlette.applications import Starlette
from tests.security.raw import Asked, ask, lower
from tests.support.canaries import Canaries
from tests.support.house import ISSUER, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, Site, open_house
from tests.support.servers import NewDatabase

from broker.domain.claims import EMAIL, GIVEN_NAME, NAME, PICTURE
from broker.domain.grant import AuthorizationRequest
from broker.domain.provider import Identity
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import ClaimName, ClientId, IdentityKey, ProviderId, Scope
from broker.errors import Conflict

pytestmark = pytest.mark.usefixtures("quiet_log")

SCRIPTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover=alert(1) x='",
    "<svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<bdi><base href=//evil.test>",
    "<meta http-equiv=refresh content=0;url=//evil.test>",
    "<!--<script>",
    "javascript:alert(1)",
)
FORMATS = (
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "{% raw %}",
    "%(x)s %s %d",
    "{0.__class__}",
    "{name}",
    "<%= 7*7 %>",
    "%%",
    "\\u0041 \\x41",
)
TAGS = re.compile(r"<(script|img|svg|a|base|meta|iframe|form|input|button|link|object)\b[^>]*>", re.IGNORECASE)


async def come_back(
    house: House, claims: Mapping[ClaimName, str], site: Site | None = None, number: int = 0
) -> Browser:
    """A browser that just came back from a provider, as somebody new about whom it said `claims`."""
    world, now, browser = house.world, house.clock.now(), house.browser()
    request = None
    if site is not None:
        request = AuthorizationRequest(
            client_id=ClientId(site.name), redirect_uri=site.redirect_uri, response_type="code", response_mode="query", scopes=frozenset({Scope("openid"), Scope("profile")}),
            state="state-of-the-site", nonce="nonce-of-the-site", code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        )  # fmt: skip
    identity = Identity(
        provider=ProviderId("facebook"), key=IdentityKey(issuer="https://facebook.test", subject=f"subject-of-somebody-{number}"),
        claims=claims, verified=frozenset(), granted=frozenset({"public_profile"}), declined=frozenset(), authenticated_at=now,
    )  # fmt: skip
    transaction = SignInTransaction(
        id=world.box.new_id(), purpose=TransactionPurpose.SIGN_IN, created_at=now, expires_at=now + timedelta(minutes=30),
        provider=ProviderId("facebook"), identity=identity, request=request,
    )  # fmt: skip
    carried = await world.box.keep(transaction)
    browser.jar.set(world.cookies.transaction_prefix + transaction.id, carried.cookie, domain="login.test", path="/")
    await browser.open(f"/f/{transaction.id}/details")
    return browser


def tags(page: Shown) -> list[str]:
    """Every tag that could do harm, in order: a hostile text must not add one or change one."""
    return [found[1].lower() for found in TAGS.finditer(page.response.text)]


def hurts(page: Shown, text: str) -> bool:
    """Whether a text is on a page as markup."""
    body = page.response.text
    return "<" in text and text in body and "&lt;" not in text


# --- pages --------------------------------------------------------------------------------------------


async def test_a_hostile_name_is_inert_on_every_page(house: House) -> None:
    """From the provider's answer to the end: preview, sign-up, share, every page of My Account (catalogue 131, 146)."""
    for number, text in enumerate(SCRIPTS):
        await _is_inert(house, text, number)


async def _is_inert(house: House, text: str, number: int) -> None:
    plain = await come_back(house, {NAME: "Plain Person", EMAIL: "plain@mail.test", GIVEN_NAME: "Plain"})
    browser = await come_back(
        house,
        {NAME: text, EMAIL: f"mail{number}@mail.test", GIVEN_NAME: text, PICTURE: text},
        house.site("forum"),
        number,
    )
    assert not hurts(browser.page, text)
    without = [tag for tag in tags(plain.page) if tag in {"script", "base", "meta", "iframe"}]
    assert [tag for tag in tags(browser.page) if tag in {"script", "base", "meta", "iframe"}] == without
    await browser.press(
        "decision=continue", tick=("given_name",) if "use=given_name" in str(browser.page.forms) else ()
    )
    assert not hurts(browser.page, text)
    end = await browser.press("decision=create", fill={"preferred_username": f"plain-person-{number}"})
    assert isinstance(end, Shown)
    if end.path.endswith("/finish"):  # a name with a letter that no name may have is refused, by rule
        return
    assert not hurts(end, text)
    end = await browser.press("decision=share", tick=("name",))
    assert isinstance(end, Arrival)
    for path in (
        "/me",
        "/me/details",
        "/me/ways",
        "/me/sites",
        "/me/history",
        "/me/devices",
        "/me/posting",
        "/me/news",
        "/me/close",
        "/signout",
    ):
        page = await browser.open(path)
        assert page.status == 200, path
        assert not hurts(page, text), path
        assert not [
            url for _, url in page.links if not url.startswith(("/", "https://", "http://127.0.0.1:", "#", "mailto:"))
        ], path


async def test_a_hostile_site_is_inert_on_every_page(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Its name, who runs it, why it asks (catalogue 146)."""
    text = "<script>alert(1)</script>"
    sites = SITES_TOML.replace('name = "Forum"', f'name = "Forum {text}"').replace('"The Club"', f'"{text}"')
    sites = sites.replace('"Shown beside your user name."', f'"{text}"')
    async with open_house(tmp_path, sandboxes, sites=sites) as house:
        forum, browser = house.site("forum"), house.browser()
        page: Shown | Arrival = await browser.open(forum.request_url())
        assert isinstance(page, Shown)
        assert text not in page.response.text
        assert "&lt;script&gt;" in page.response.text
        await browser.choose("openid", "lucas")
        await browser.press("decision=continue")
        page = await browser.press("decision=create", fill={"preferred_username": "lucas-m"})
        assert isinstance(page, Shown)
        assert text not in page.response.text
        assert text in page.text
        await browser.press("decision=share")
        for path in ("/me/sites", "/me/history", "/me/posting", "/signout", "/me/close"):
            assert text not in (await browser.open(path)).response.text


async def test_template_and_format_syntax_stays_as_it_is(house: House) -> None:
    """In names, on every page on the way (catalogue 149)."""
    for number, text in enumerate(FORMATS):
        await _keeps(house, text, number)


async def _keeps(house: House, text: str, number: int) -> None:
    name = f"Ann {text}"
    browser = await come_back(house, {NAME: name, EMAIL: f"ann{number}@mail.test"}, house.site("forum"), number)
    assert name in browser.page.value("v-name") or name in browser.page.text
    assert "Ann 49" not in browser.page.response.text
    await browser.press("decision=continue")
    shown = await browser.press("decision=create", fill={"preferred_username": f"ann-of-formats-{number}"})
    assert isinstance(shown, Shown)
    assert name in shown.text
    assert name in (await browser.open("/me/details")).response.text.replace("&#39;", "'").replace("&lt;", "<").replace(
        "&gt;", ">"
    )


NEVER = "Your account is blocked, call 555-0199 now"


@pytest.mark.parametrize(
    "path",
    [
        "/?error={0}&error_description={0}&message={0}",
        "/sign-in?next=/&error={0}&message={0}",
        "/callback/facebook?error=access_denied&error_description={0}&state={0}",
        "/callback/openid?error={0}&error_description={0}",
        "/callback/gone?error={0}",
        "/authorize?client_id={0}",
        "/authorize?client_id=forum&redirect_uri=https://forum.test/callback&scope={0}&response_type={0}",
        "/f/x/sign-in?error={0}",
        "/end-session?id_token_hint={0}&state={0}",
        "/end-session?post_logout_redirect_uri={0}&client_id={0}",
        "/signed-out?message={0}",
        "/me?done={0}",
        "/language?to={0}&back={0}",
        "/nowhere/{0}",
        "/help?topic={0}",
        "/posting/opt-in?request={0}",
    ],
)
async def test_no_page_repeats_a_text_from_its_address(house: House, path: str) -> None:
    """A link could put words in our mouth otherwise: pages have texts of their own (catalogue 147)."""
    url = path.format(quote(NEVER))
    browser = house.browser()
    page = await browser.go(url)
    if isinstance(page, Arrival):  # an error for a site that asked properly: in the words of the RFC
        assert "555-0199" not in page.url
        return
    assert NEVER not in page.text
    where = urlsplit(url).path  # the language links lead back to the page itself, so its path is in their addresses
    assert "555-0199" not in page.response.text.replace(where, "").replace(quote(where, safe="/%"), "")


@pytest.mark.parametrize("where", ["done", "error", "message", "for"])
async def test_a_signed_in_page_repeats_no_text_from_its_address(house: House, where: str) -> None:
    """catalogue 147."""
    browser = house.browser()
    await browser.sign_up(user_name="zoe-words")
    for path in ("/me", "/me/sites", "/me/ways", "/me/devices", "/me/posting", "/me/details", "/sign-in/again"):
        page = await browser.go(f"{path}?{where}={quote(NEVER)}")
        assert isinstance(page, Shown)
        assert "555-0199" not in page.response.text, path


async def test_a_providers_own_error_text_is_never_shown(house: House) -> None:
    """Neither on our page nor to the site (catalogue 56, 147)."""
    forum, browser = house.site("forum"), house.browser()
    await browser.open(forum.request_url(state="state-of-forum"))
    await house.facebook.order(persona="normal")
    form, button = browser.page.find("provider=facebook")
    fields = [*form.fields, (button.name, button.value)]
    answer = await browser.send("POST", f"{ISSUER}{form.action}", data=fields, headers={"Origin": ISSUER})
    state = str(
        dict(pair.split("=") for pair in urlsplit(answer.headers["refresh"].partition("url=")[2]).query.split("&"))[
            "state"
        ]
    )
    page = await browser.go(
        f"/callback/facebook?error=server_error&error_description={quote(NEVER)}&error_reason={quote(NEVER)}&state={state}"
    )
    assert isinstance(page, Shown)
    assert page.status in {400, 503}
    assert "555-0199" not in page.response.text


# --- headers ------------------------------------------------------------------------------------------

BREAKS = (
    "a\r\nSet-Cookie: evil=1",
    "a\nLocation: https://evil.test",
    "a\r\n\r\n<b>body",
    "a\rX: y",
    "a\x0bX: y",
    "a\u2028X: y",
    "a\u560d\u560aX: y",
)


async def test_a_line_end_splits_no_header(house: House) -> None:
    """In state, scope, addresses, next, back and paths, signed in or not (catalogue 148)."""
    browser = house.browser()
    await browser.sign_up(house.site("forum"), user_name="zoe-of-lines")
    for text in BREAKS:
        await _splits_nothing(house, browser, text)


async def _splits_nothing(house: House, browser: Browser, text: str) -> None:
    encoded = quote(text)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    forum = house.site("forum")
    paths = [
        urlsplit(forum.request_url(state=text)), urlsplit(forum.request_url(scope=f"openid {text}")), urlsplit(forum.request_url(redirect_uri=text)),
        urlsplit(f"/sign-in?next={encoded}"), urlsplit(f"/sign-in/again?next={encoded}"), urlsplit(f"/language?to=fr&back={encoded}"),
        urlsplit(f"/language?to={encoded}"), urlsplit(f"/end-session?client_id=forum&post_logout_redirect_uri=https%3A%2F%2Fforum.test%2Fbye&state={encoded}"),
        urlsplit(f"/me/{encoded}"), urlsplit(f"/signed-out?{encoded}"),
    ]  # fmt: skip
    for parts in paths:
        for headers in ((), lower([("cookie", cookie)])):
            answer = await ask(house.app, Asked(path=parts.path, query=parts.query.encode(), headers=headers))
            assert answer.status < 500
            for name, value in answer.headers:
                assert not re.search(rb"[\r\n\x00\x0b]", value), (parts.path, name)
                assert b"evil" not in name
            assert not [text for text in answer.all("set-cookie") if text.startswith("evil")]
            assert "evil.test" not in urlsplit(answer["location"]).netloc


# --- queries ------------------------------------------------------------------------------------------

QUERIES = (
    "' OR '1'='1", "'; DROP TABLE accounts; --", '" OR ""="', "%", "_", "\\", "*", "x' UNION SELECT 1 --", "$1", ":name", "?", "NULL", "\x00",
    '{"$gt": ""}', "$.a", "[0]", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.database
async def test_query_syntax_in_a_value_stays_a_value(
    database: str, tmp_path: Path, sandboxes: Sandboxes, new_database: NewDatabase
) -> None:
    """It finds nothing, changes nothing and breaks nothing, wherever a value becomes part of a query (catalogue 150)."""
    url = f"sqlite:///{tmp_path / 'doorward.db'}" if database == "sqlite" else new_database()
    async with open_house(tmp_path, sandboxes, database_url=url) as house:
        forum, browser = house.site("forum"), house.browser()
        end = await browser.sign_up(forum, user_name="zoe-of-queries", share=("name",))
        assert isinstance(end, Arrival)
        tokens = await forum.redeem(end)
        for text in QUERIES:
            encoded = quote(text.encode("utf-8", "surrogatepass"))
            for form in ({"token": text}, {"token": f"{tokens['access_token']}{text}"}):
                safe = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
                assert await forum.introspect(safe["token"]) == {"active": False}
                assert (await forum.revoke(safe["token"])).status_code == 200
            for path in (
                f"/me/history?client={encoded}&claim={encoded}",
                f"/posting/{encoded}",
                f"/f/{encoded}/sign-in",
                f"/me/history?site={encoded}&field={encoded}",
            ):
                answer = await browser.send("GET", f"{ISSUER}{path}")
                assert answer.status_code in {200, 400, 403, 404, 410}, (path, answer.status_code)
            for path, name in (
                ("/me/sites/disconnect", "client"),
                ("/me/ways/remove", "link"),
                ("/me/devices/end", "sid"),
            ):
                await browser.open("/me/devices")
                token = browser.page.value("csrf") if browser.page.forms else house.world.cookies.form_token("x")
                answer = await browser.send(
                    "POST", f"{ISSUER}{path}", data=[("csrf", token), (name, text.encode("utf-8", "replace").decode())]
                )
                assert answer.status_code < 500, (path, answer.status_code)
        assert (await forum.claims(tokens["access_token"]))["name"] == "Ana Marković"
        assert (await browser.open("/me")).status == 200


def starlette_of(house: House) -> Starlette:
    """The application inside its outer layers."""
    inner = house.app
    while not isinstance(inner, Starlette):
        inner = inner._app
    return inner


# --- the log ------------------------------------------------------------------------------------------

LINES = (
    "a\nb",
    "a\r\nlevel=error",
    '"}\n{"event":"forged"}',
    "\x1b[2J\x1b[31m",
    "\u202egol eht",
    "\u2028forged",
    "\x00",
    "a\\nb",
    "\x9b31m",
)


async def test_one_event_is_one_log_line(house: House) -> None:
    """Whatever a request holds: each line is one JSON object, nothing in it moves a cursor or forges an event (catalogue 151)."""
    for text in LINES:
        await _is_one_line(house, text)


async def _is_one_line(house: House, text: str) -> None:
    encoded = quote(text)
    for path in (f"/authorize?client_id={encoded}", f"/authorize?client_id=forum&redirect_uri={encoded}", f"/f/{encoded}/sign-in",
                 f"/callback/{quote(text, safe='')}?state={encoded}", f"/nowhere/{encoded}"):  # fmt: skip
        parts = urlsplit(path)
        await ask(
            house.app,
            Asked(
                path=parts.path, query=parts.query.encode(), headers=lower([("user-agent", text), ("referer", text)])
            ),
        )
    async with house.client() as client:
        await client.post("/token", data={"grant_type": text, "code": text}, auth=("forum", house.site("forum").secret))
        await client.post("/token", data={"grant_type": text, "client_id": text})
    assert house.log
    for line in house.log.splitlines():
        event = json.loads(line)
        assert event["event"] != "forged"
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2028]", line), line
    assert house.log.endswith("\n")


async def test_a_fault_names_its_place_and_nothing_else(house: House) -> None:
    """What an exception says may hold a value: only its class and where it arose are logged (catalogue 152)."""
    secret = "canary-secret-0123456789"

    def broken(_provider: ProviderId) -> str:
        raise RuntimeError(
            f"could not reach postgresql://doorward:{secret}@db.test/doorward for ana.markovic@people.test"
        )

    browser = house.browser()
    url = (await browser.open("/sign-in")).url
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    starlette_of(house).state.world = replace(house.world, provider_health=broken)
    page = await ask(house.app, Asked(path=urlsplit(url).path, headers=lower([("cookie", cookie)])))
    assert page.status == 500
    Canaries({"secret": secret, "person": "ana.markovic@people.test"}).check_bytes(
        "page and log", page.body + house.log.encode()
    )
    fault = next(json.loads(line) for line in house.log.splitlines() if '"fault"' in line)
    assert fault["error"] == "RuntimeError"
    assert fault["reference"] in page.text
    assert any("broken" in frame for frame in fault["where"])


async def test_what_is_no_fault_is_not_logged_as_one(house: House) -> None:
    """Somebody closes their account in another tab just now: this page asks to sign in (catalogue 130, 151)."""
    browser = house.browser()
    url = (await browser.open("/sign-in")).url

    def gone(_provider: ProviderId) -> str:
        raise Conflict("account")

    starlette_of(house).state.world = replace(house.world, provider_health=gone)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = await ask(house.app, Asked(path=urlsplit(url).path, headers=lower([("cookie", cookie)])))
    assert (answer.status, answer["location"].partition("?")[0]) == (303, "/sign-in")
    assert '"fault"' not in house.log


@pytest.mark.parametrize(
    "value", ["Bearer abc", "postgresql://doorward:secret-0123456789@db.test/x", "redis://:secret-0123456789@db.test"]
)
async def test_settings_tell_no_secret(house: House, value: str) -> None:
    """Whoever prints an object of ours, in a debugger or an exception, reads no secret (catalogue 152)."""
    told = repr(house.settings) + repr(house.world) + repr(house.opened) + str(house.settings)
    for secret in ("forum-secret", "facebook-secret", "openid-secret", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="):
        assert secret not in told
    assert value not in repr(replace(house.settings.broker, database_url=value, redis_url=value))

"""`/authorize` over HTTP: what is answered with a page, what with a redirect, and what with a code."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from tests.support.house import ISSUER, PROVIDERS_TOML, Arrival, Browser, House, Sandboxes, Shown, Site, peek
from tests.web.desk import account_of, connect, member, signed_in, tokens_of, wide_house

from broker.domain.values import ClientId


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
def forum(house: House) -> Site:
    return house.site("forum")


def changed(url: str, *extra: tuple[str, str], without: str = "") -> str:
    """The request with more parameters behind it."""
    path, _, query = url.partition("?")
    pairs = [(name, value) for name, value in parse_qsl(query) if name != without]
    return f"{path}?{urlencode([*pairs, *extra])}"


async def ask(house: House, url: str, browser: Browser | None = None) -> httpx2.Response:
    return await (browser or house.browser()).send("GET", url)


def assert_page(answer: httpx2.Response, which: str = "") -> None:
    """A page on our own origin that sends nobody anywhere, with a reference code."""
    assert 400 <= answer.status_code < 500, which
    assert answer.headers["content-type"].startswith("text/html"), which
    assert "location" not in answer.headers, which
    assert "refresh" not in answer.headers, which
    assert re.search(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b", Shown.read(answer).text), which


def error_of(answer: httpx2.Response, site: Site) -> dict[str, str]:
    """The error that the site hears: by 303, to its own address, each parameter once, and with our name (catalogue 13, 14)."""
    assert answer.status_code == 303, answer.text[:300]
    target = answer.headers["location"]
    assert target.startswith(site.redirect_uri + "?"), target
    pairs = parse_qsl(urlsplit(target).query, keep_blank_values=True)
    params = dict(pairs)
    assert len(params) == len(pairs)
    assert params["iss"] == ISSUER
    assert "code" not in params
    return params


# --- where to answer ----------------------------------------------------------------------------------

WRONG = [
    "https://forum.test/callback/",
    "https://forum.test/callback/more",
    "https://forum.test/Callback",
    "https://FORUM.test/callback",
    "https://forum.test:443/callback",
    "https://forum.test./callback",
    "https://forum.test/callback?x=1",
    "https://forum.test.evil.test/callback",
    "http://forum.test/callback",
    "https://forum.test/callback/../evil",
    "https://forum.test/callback/..%2fevil",
    "https://forum.test/callback%252f..%252fevil",
    "https://forum.test/callback/..;/evil",
    "https://forum.test\\callback",
    "https://forum.test/callback\x00",
    "https://forum.test/callback\t",
    "https://forum.test@evil.test/callback",
    "http://localhost:80@attacker.test/callback",
    "http://[::ffff:7f00:1]/callback",
    "https://f\u043erum.test/callback",
    "https://forumatest/callback",
    "*",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    " https://forum.test/callback",
    "https://forum.test/callback#",
    "https://forum.test/callback#x",
    "https://forum.test/callback?code=x&iss=y",
    "https://evil.test/",
    "",
]


async def test_a_wrong_address_gets_a_page_and_no_redirect(house: House, forum: Site) -> None:
    """Whatever it resembles (catalogue 1, 2, 3, 4, 5, 6, 7)."""
    for uri in WRONG:
        assert_page(await ask(house, forum.request_url(redirect_uri=uri)), uri)


ALSO: list[dict[str, str | None]] = [
    {"scope": "nonsense"},
    {"response_type": "token"},
    {"prompt": "none"},
    {"prompt": "magic"},
    {"code_challenge": None},
    {"request": "x"},
    {"max_age": "x"},
    {"state": "x" * 5000},
]


async def test_nothing_else_wrong_makes_a_redirect_of_it(house: House, forum: Site) -> None:
    """The address is looked at before anything may be redirected (catalogue 9)."""
    for browser in (house.browser(), await member(house)):
        for also in ALSO:
            url = forum.request_url(redirect_uri="https://evil.test/", **also)
            assert_page(await ask(house, url, browser), str(also))


async def test_the_address_is_required_however_many_are_registered(house: House) -> None:
    """Catalogue 10."""
    for name in ("forum", "old", "app"):
        assert_page(await ask(house, house.site(name).request_url(redirect_uri=None)), name)


async def test_an_unknown_site_gets_a_page(house: House, forum: Site) -> None:
    for client_id in ("nobody", "FORUM", "forum ", "", "forum\x00", "../forum", "' OR 1=1 --"):
        assert_page(await ask(house, forum.request_url(client_id=client_id)), client_id)


async def test_an_ambiguous_site_or_address_gets_a_page(house: House, forum: Site) -> None:
    """Twice the same is twice (catalogue 8)."""
    url = forum.request_url()
    for name in ("client_id", "redirect_uri"):
        value = dict(parse_qsl(urlsplit(url).query))[name]
        assert_page(await ask(house, changed(url, (name, value))), name)
        assert_page(await ask(house, changed(url, (name, "https://evil.test/"))), name)


async def test_any_other_parameter_given_twice_is_refused(house: House, forum: Site) -> None:
    """And an ambiguous state is not echoed (catalogue 7, 8)."""
    for name in ("scope", "state", "response_type", "nonce", "prompt", "code_challenge", "max_age"):
        answer = await ask(house, changed(forum.request_url(state="s-1"), (name, "1"), (name, "1")))
        params = error_of(answer, forum)
        assert params["error"] == "invalid_request", name
        assert params.get("state") == (None if name == "state" else "s-1"), name


async def test_a_native_app_comes_back_to_any_loopback_port(house: House) -> None:
    """By number only (catalogue 11)."""
    app, ana = house.site("app"), await member(house)
    arrival = await connect(ana, app, redirect_uri="http://127.0.0.1:51004/cb")
    assert arrival.url.startswith("http://127.0.0.1:51004/cb?code=")
    answer = await app.post(
        "/token",
        {
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": arrival.code,
            "redirect_uri": "http://127.0.0.1:51004/cb",
            "code_verifier": app.verifier_of(arrival),
        },
        auth=False,
    )
    assert answer.status_code == 200
    for other in ("http://localhost:51004/cb", "http://127.0.0.1:51004/other", "https://app.test:51004/cb"):
        assert_page(await ask(house, app.request_url(redirect_uri=other), ana))


async def test_a_confidential_site_may_not_use_another_port(house: House, forum: Site) -> None:
    """Catalogue 11."""
    assert_page(await ask(house, forum.request_url(redirect_uri="https://forum.test:8443/callback")))


async def test_the_nearest_registered_address_is_shown_in_development_only(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Decision 25."""
    async with wide_house(tmp_path / "a", sandboxes) as house:
        url = house.site("forum").request_url(redirect_uri="https://forum.test/callback/")
        assert "Nearest registered address" in (await ask(house, url)).text
    real = PROVIDERS_TOML.replace("sandbox = true", "")
    async with wide_house(tmp_path / "b", sandboxes, change={"mode": "production"}, providers=real) as house:
        answer = await ask(house, url)
        assert_page(answer)
        assert "https://forum.test/callback" not in answer.text


# --- what is asked ------------------------------------------------------------------------------------


UNSUPPORTED: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "id_token"}, "unsupported_response_type"),
    ({"response_type": "id_token token"}, "unsupported_response_type"),
    ({"response_type": "code token"}, "unsupported_response_type"),
    ({"response_type": None}, "invalid_request"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "web_message"}, "invalid_request"),
    ({"response_mode": "fragment.jwt"}, "invalid_request"),
    ({"scope": None}, "invalid_scope"),
    ({"scope": "profile"}, "invalid_scope"),
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"prompt": "Create"}, "invalid_request"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"registration": "{}"}, "registration_not_supported"),
    ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
    ({"nonce": "n" * 5000}, "invalid_request"),
    ({"scope": "openid " + "x " * 60}, "invalid_scope"),
]


async def test_what_is_not_supported_is_refused_by_its_name(house: House, forum: Site) -> None:
    """The site hears it with its state and our name, signed in or not (catalogue 9, 12, 13, 16, 17, 27)."""
    for browser in (house.browser(), await member(house)):
        for changes, error in UNSUPPORTED:
            params = error_of(await ask(house, forum.request_url(state="s-1", **changes), browser), forum)
            assert (params["error"], params["state"]) == (error, "s-1"), changes
            assert params["error_description"].isascii()


async def test_a_public_client_cannot_do_without_pkce(house: House) -> None:
    """Catalogue 27."""
    app = house.site("app")
    answer = await ask(house, app.request_url(code_challenge=None, code_challenge_method=None))
    assert error_of(answer, app)["error"] == "invalid_request"


async def test_old_software_may_do_without_pkce_where_an_admin_said_so(house: House) -> None:
    """For one confidential site, and told as a downgrade; `plain` is no way out there either (catalogue 27)."""
    (told,) = [problem for problem in house.settings.warnings if problem.key.endswith("pkce_required")]
    assert "old" in told.key
    assert "downgrade" in told.what
    old, ana = house.site("old"), await member(house)
    arrival = await connect(ana, old, code_challenge=None, code_challenge_method=None)
    form = {"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": old.redirect_uri}
    assert (await old.post("/token", form)).status_code == 200
    answer = await ask(house, old.request_url(code_challenge_method="plain"), ana)
    assert error_of(answer, old)["error"] == "invalid_request"


async def test_a_request_by_reference_is_refused_without_looking(house: House, forum: Site) -> None:
    """Not one connection is opened (catalogue 16)."""
    came: list[Any] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        answer = await ask(house, forum.request_url(request_uri=f"http://127.0.0.1:{port}/request.jwt"))
        assert error_of(answer, forum)["error"] == "request_uri_not_supported"
        await asyncio.sleep(0.1)
    assert not came


HUGE = [
    {"state": "s" * 64_000},
    {"scope": "openid " + " ".join(f"s{n}" for n in range(10_000))},
    {"claims": "[" * 5000 + "]" * 5000},
    {"login_hint": "é" * 10_000},
    {"ui_locales": "fr " * 5000},
]


async def test_a_huge_request_is_refused_in_no_time(house: House, forum: Site) -> None:
    """Bounded work, and a huge state is not echoed (catalogue 17)."""
    for changes in HUGE:
        url = forum.request_url(**changes)
        await ask(house, url)
        start = time.process_time()
        answer = await ask(house, url)
        spent = time.process_time() - start
        params = error_of(answer, forum)
        assert params["error"] in {"invalid_request", "invalid_scope"}
        assert len(answer.headers["location"]) < 6000
        assert spent < 0.25, next(iter(changes))


async def test_long_states_and_nonces_of_real_sites_are_taken(house: House, forum: Site) -> None:
    """1 KB and 384 characters, through every page (catalogue 17)."""
    ana = await member(house)
    arrival = await connect(ana, forum, state="s" * 1024, nonce="n" * 384)
    assert arrival.params["state"] == "s" * 1024
    assert peek((await forum.redeem(arrival))["id_token"])["nonce"] == "n" * 384


async def test_unknown_parameters_and_their_order_do_not_matter(house: House, forum: Site) -> None:
    """Catalogue 18."""
    ana = await member(house)
    await connect(ana, forum)
    url = forum.request_url(state="s-1")
    pairs = parse_qsl(urlsplit(url).query)
    odd = f"{ISSUER}/authorize?{urlencode([('x', '1'), ('x', '2'), ('utm_source', 'y'), *reversed(pairs)])}"
    end = await ana.go(odd)
    assert isinstance(end, Arrival)
    assert set(end.params) == {"code", "state", "iss"}


async def test_a_posted_request_is_the_same_request(house: House, forum: Site) -> None:
    """It comes back as a GET of our own, where the session cookie is (catalogue 18; decision 5)."""
    ana = await member(house)
    await connect(ana, forum)
    query = urlsplit(forum.request_url(state="s-1")).query
    cross = {"Origin": "https://forum.test", "Sec-Fetch-Site": "cross-site"}
    answer = await ana.send("POST", f"{ISSUER}/authorize", data=parse_qsl(query), headers=cross)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/authorize?sealed=")
    assert "s-1" not in answer.headers["location"]
    end = await ana.go(answer.headers["location"])
    assert isinstance(end, Arrival)
    assert end.params["state"] == "s-1"


async def test_a_posted_request_is_checked_like_any_other(house: House, forum: Site) -> None:
    """Catalogue 8, 9."""
    browser = house.browser()
    pairs = parse_qsl(urlsplit(forum.request_url()).query)
    for bad in (("redirect_uri", "https://evil.test/"), ("client_id", "wiki")):
        answer = await browser.send("POST", f"{ISSUER}/authorize", data=[*pairs, bad])
        assert_page(await browser.send("GET", ISSUER + answer.headers["location"]))


async def test_a_posted_request_waits_for_a_minute(house: House, forum: Site) -> None:
    browser = house.browser()
    pairs = parse_qsl(urlsplit(forum.request_url()).query)
    answer = await browser.send("POST", f"{ISSUER}/authorize", data=pairs)
    house.clock.move(seconds=62)
    assert_page(await browser.send("GET", ISSUER + answer.headers["location"]))


async def test_a_sealed_request_is_ours_or_nothing(house: House, forum: Site) -> None:
    """And it stands alone: nothing beside it counts."""
    for sealed in ("", "x", "AAAA", "a" * 5000, "%00", "\u2603"):
        url = f"{forum.request_url()}&{urlencode({'sealed': sealed})}"
        assert_page(await ask(house, url), sealed)


async def test_a_posted_request_is_a_form(house: House) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        async with house.client() as client:
            answer = await client.post("/authorize", content=b"client_id=forum", headers={"Content-Type": kind})
        assert_page(answer, kind)


async def test_a_posted_request_is_small(house: House, forum: Site) -> None:
    answer = await house.browser().send("POST", f"{ISSUER}/authorize", data=[("state", "s" * 9000)])
    assert answer.status_code == 413


# --- who is signed in ---------------------------------------------------------------------------------


async def test_without_pages_nobody_signed_in_is_an_answer(house: House, forum: Site) -> None:
    """OpenID Connect Core §3.1.2.6 (catalogue 13)."""
    answer = await ask(house, forum.request_url(state="s-1", prompt="none"))
    assert error_of(answer, forum) | {"error_description": ""} == {
        "error": "login_required",
        "error_description": "",
        "state": "s-1",
        "iss": ISSUER,
    }


async def test_without_pages_nothing_new_is_shared(house: House, forum: Site) -> None:
    """consent_required before anything was agreed to, and for one claim more (catalogue 132)."""
    ana = await member(house)
    silent = forum.request_url(prompt="none")
    assert error_of(await ask(house, silent, ana), forum)["error"] == "consent_required"
    await connect(ana, forum, scope="openid profile")
    assert error_of(await ask(house, silent, ana), forum)["error"] == "consent_required"
    end = await ana.go(forum.request_url(prompt="none", scope="openid profile"))
    assert isinstance(end, Arrival)
    assert "code" in end.params


async def test_without_pages_new_terms_are_an_answer(house: House, forum: Site) -> None:
    ana = await member(house)
    await connect(ana, forum)
    durable = house.world.durable
    account = await durable.accounts.load(await account_of(house, "ana"))
    assert account is not None
    unit = durable.unit()
    unit.save_account(replace(account, agreed_notice="terms:1 privacy:1"))
    await unit.commit()
    answer = await ask(house, forum.request_url(prompt="none"), ana)
    assert error_of(answer, forum)["error"] == "interaction_required"


async def test_a_silent_answer_repeats_who_and_since_when(house: House, forum: Site) -> None:
    """The same subject and auth_time as before."""
    ana = await member(house)
    first = await tokens_of(ana, forum)
    house.clock.move(minutes=5)
    second = await forum.redeem(await ana.arrive(forum, prompt="none"))
    before, after = peek(first["id_token"]), peek(second["id_token"])
    assert (before["sub"], before["auth_time"], before["sid"]) == (after["sub"], after["auth_time"], after["sid"])
    assert after["iat"] == before["iat"] + 300


async def test_prompt_login_asks_again_and_tells_the_new_time(house: House, forum: Site) -> None:
    """The person proves it upstream anew, and auth_time says so."""
    browser = house.browser()
    arrived = await browser.sign_up(forum, provider="openid", user_name="ana")
    assert isinstance(arrived, Arrival)
    before = peek((await forum.redeem(arrived))["id_token"])
    await house.move(minutes=2)
    shown = await browser.open(forum.request_url(prompt="login"))
    assert shown.path.endswith("/sign-in")
    again = await browser.choose("openid")
    assert isinstance(again, Arrival)
    after = peek((await forum.redeem(again))["id_token"])
    assert after["sub"] == before["sub"]
    assert after["auth_time"] >= before["auth_time"] + 120
    upstream = [dict(parse_qsl(urlsplit(one["path"]).query)) | one.get("query", {}) for one in await house.openid.log()]
    assert any(one.get("prompt") == "login" or one.get("max_age") == "0" for one in upstream), upstream


async def test_max_age_asks_again_once_it_is_over(house: House, forum: Site) -> None:
    """And not a second before; auth_time is always told."""
    ana = await member(house)
    await connect(ana, forum)
    house.clock.move(seconds=100)
    arrival = await ana.arrive(forum, max_age="100")
    assert "auth_time" in peek((await forum.redeem(arrival))["id_token"])
    house.clock.move(seconds=1)
    shown = await ana.open(forum.request_url(max_age="100"))
    assert shown.path.endswith("/sign-in")
    answer = await ask(house, forum.request_url(max_age="100", prompt="none"), ana)
    assert error_of(answer, forum)["error"] == "login_required"


async def test_who_is_to_confirm_does_so_with_their_own_account_alone(house: House, forum: Site) -> None:
    """A site that names who is signed in hears of nobody else, and nobody else is signed in by it (catalogue 78)."""
    ana = house.browser()
    await ana.sign_up(user_name="ana")
    hint = (await tokens_of(ana, forum))["id_token"]
    house.clock.move(seconds=301)
    url = forum.request_url(max_age="300", id_token_hint=hint)

    page = await ana.open(url)
    assert (page.path.split("/")[1], page.headings[0]) == ("f", "Sign in again")
    other = await ana.choose("facebook", "jonas")
    assert isinstance(other, Shown)
    assert (other.status, other.headings[0]) == (409, "That is not one of your ways to sign in")
    assert (await ana.open("/me")).status == 200  # and she is still signed in

    house.clock.move(seconds=2)  # a browser has room for so many tabs: those begun first go first
    await ana.open(url)
    arrival = await ana.choose("facebook", "normal")
    assert isinstance(arrival, Arrival)
    claims = peek((await forum.redeem(arrival))["id_token"])
    assert (claims["sub"], claims["auth_time"]) == (peek(hint)["sub"], int(house.clock.now().timestamp()))


@pytest.mark.parametrize("more", [{"prompt": "login"}, {"max_age": "59"}, {"max_age": "0"}, {"id_token_hint": ""}])
async def test_any_other_wish_for_a_new_sign_in_is_open_to_whoever_comes(
    house: House, forum: Site, more: dict[str, str]
) -> None:
    ana = await member(house)
    hint = (await tokens_of(ana, forum))["id_token"]
    house.clock.move(seconds=301)

    page = await ana.open(forum.request_url(**{"max_age": "300", "id_token_hint": hint, **more}))

    assert page.headings[0] == "Sign in to Forum"


async def test_prompt_select_account_offers_who_is_signed_in(house: House, forum: Site) -> None:
    ana = await member(house)
    await connect(ana, forum)
    shown = await ana.open(forum.request_url(prompt="select_account"))
    assert shown.path.endswith("/sign-in")
    assert "Ana Lund" in shown.text or "ana" in shown.text
    end = await ana.press("use=current")
    assert isinstance(end, Arrival)
    assert "code" in end.params


async def test_prompt_create_asks_for_a_new_account(house: House, forum: Site) -> None:
    """Initiating User Registration 1.0 §4: who is signed in may go on; who is not makes an account, or has one."""
    browser = house.browser()
    shown = await browser.open(forum.request_url(prompt="create"))
    assert shown.title.startswith("Make an account for ")
    end = await browser.sign_up(forum, user_name="ana", share=("name",), url=forum.request_url(prompt="create"))
    assert isinstance(end, Arrival)
    again = await browser.open(forum.request_url(prompt="create"))
    assert again.path.endswith("/sign-in")
    assert isinstance(await browser.press("use=current"), Arrival)
    both = await ask(house, forum.request_url(prompt="create none"))
    assert error_of(both, forum)["error"] == "invalid_request"


async def test_prompt_consent_shows_the_share_page_again(house: House, forum: Site) -> None:
    ana = await member(house)
    await connect(ana, forum, tick=("name",))
    shown = await ana.open(forum.request_url(prompt="consent"))
    assert shown.path.endswith("/site")
    end = await ana.press("decision=share", tick=("name", "email"))
    assert isinstance(end, Arrival)
    told = await forum.claims((await forum.redeem(end))["access_token"])
    assert told["email"] == "ana@mail.test"


async def test_a_login_hint_goes_upstream_and_nowhere_else(house: House, forum: Site) -> None:
    browser = house.browser()
    await browser.open(forum.request_url(login_hint="ana-canary@mail.test"))
    await house.openid.order(persona="ana")
    await browser.press("provider=openid")
    upstream = [str(one.url) for one in browser.history if str(one.url).startswith(house.openid.url)]
    assert "login_hint=ana-canary%40mail.test" in upstream[0]
    ours = [one for one in browser.history[1:] if str(one.url).startswith(ISSUER)]
    assert not any("ana-canary" in str(one.url) for one in ours)
    assert "ana-canary" not in house.log


async def test_the_sites_language_is_the_pages_language(house: House, forum: Site) -> None:
    """`ui_locales`, first known one first; a language the person chose here comes before it."""
    for locales, language in (("fr-CA en", "fr"), ("en fr", "en"), ("xx-YY fr", "fr"), ("xx", "en"), ("", "en")):
        shown = await house.browser().open(forum.request_url(ui_locales=locales))
        assert f'<html lang="{language}"' in shown.response.text, locales
    browser = house.browser()
    await browser.go("/language?to=en")
    assert '<html lang="en"' in (await browser.open(forum.request_url(ui_locales="fr"))).response.text


async def test_a_hint_at_somebody_else_is_answered_without_a_code(house: House, forum: Site) -> None:
    """Silently with login_required; with pages, after the wrong person signed in (catalogue 78)."""
    ana, ben = await member(house, "ana"), await member(house, "ben")
    hint = (await tokens_of(ben, forum))["id_token"]
    await connect(ana, forum)
    answer = await ask(house, forum.request_url(prompt="none", id_token_hint=hint), ana)
    assert error_of(answer, forum)["error"] == "login_required"
    browser = house.browser()
    await browser.sign_up(forum, user_name="zoe")
    shown = await browser.open(forum.request_url(id_token_hint=hint, state="s-1"))
    assert shown.path.endswith("/sign-in")
    end = await browser.choose()
    assert isinstance(end, Arrival)
    assert (end.params["error"], end.params["state"]) == ("login_required", "s-1")
    assert isinstance(await browser.go(forum.request_url(prompt="none")), Arrival)


async def test_ones_own_hint_goes_through_silently_while_it_lasts(house: House, forum: Site) -> None:
    """An expired one is good for signing out, and on pages, but signs nobody in silently (catalogue 78)."""
    ana = await member(house)
    hint = (await tokens_of(ana, forum))["id_token"]
    assert "code" in (await ana.arrive(forum, prompt="none", id_token_hint=hint)).params
    house.clock.move(hours=1)
    answer = await ask(house, forum.request_url(prompt="none", id_token_hint=hint), ana)
    assert error_of(answer, forum)["error"] == "login_required"
    assert "code" in (await ana.arrive(forum, id_token_hint=hint)).params
    assert "Forum" in (await ana.open(f"/end-session?{urlencode({'id_token_hint': hint})}")).text


async def test_forged_and_foreign_hints_prove_nothing(house: House, forum: Site) -> None:
    """No signature, another site's, another kind of token (catalogue 69, 76, 78)."""
    ana = await member(house)
    mine = await tokens_of(ana, forum)
    theirs = await tokens_of(ana, house.site("wiki"))
    head, body, _ = mine["id_token"].split(".")
    hints = [
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"{head}.{body}.",
        theirs["id_token"],
        mine["session_token"],
        mine["access_token"],
        "x",
    ]
    for hint in hints:
        answer = await ask(house, forum.request_url(prompt="none", id_token_hint=hint), ana)
        assert error_of(answer, forum)["error"] == "login_required"


# --- the answer ---------------------------------------------------------------------------------------


async def test_every_answer_names_the_issuer_and_each_parameter_once(house: House, forum: Site) -> None:
    """Code, denial, cancellation and error; whatever the state holds (catalogue 7, 13)."""
    state = "a&code=evil&iss=https://evil.test#x"
    ana = await member(house)
    denied = house.browser()
    await denied.open(forum.request_url(state=state))
    cancelled = await denied.press("Cancel")
    await ana.open(forum.request_url(state=state))
    refused = await ana.press("decision=refuse")
    await ana.open(forum.request_url(state=state))
    shared = await ana.press("decision=share")
    silent = await ana.go(forum.request_url(state=state, prompt="none"))
    for end, names in (
        (cancelled, {"error", "state", "iss"}),
        (refused, {"error", "state", "iss"}),
        (shared, {"code", "state", "iss"}),
        (silent, {"code", "state", "iss"}),
    ):
        assert isinstance(end, Arrival)
        assert set(end.params) == names
        assert (end.params["iss"], end.params["state"]) == (ISSUER, state)


async def test_a_site_without_state_gets_none(house: House, forum: Site) -> None:
    ana = await member(house)
    assert set((await connect(ana, forum, state=None)).params) == {"code", "iss"}


async def test_nothing_is_ever_redirected_with_its_body(house: House, forum: Site) -> None:
    """303 only, and away from our origin never as the answer to a POST (catalogue 14; decision 1)."""
    browser = house.browser()
    await browser.sign_up(forum, user_name="zoe")
    pairs = parse_qsl(urlsplit(forum.request_url()).query)
    await browser.send("POST", f"{ISSUER}/authorize", data=pairs)
    ours = [one for one in browser.history if str(one.url).startswith(ISSUER)]
    posts = [one for one in ours if one.request.method == "POST"]
    assert len(posts) >= 5
    assert {one.status_code for one in ours} <= {200, 303}
    for one in posts:
        assert one.headers.get("location", "/").startswith("/")


async def test_a_code_leaks_from_no_page(house: House, forum: Site) -> None:
    """No referrer to anywhere else, nothing from third parties, nothing stored (catalogue 26)."""
    browser = house.browser()
    await browser.sign_up(forum, user_name="zoe")
    for one in [one for one in browser.history if str(one.url).startswith(ISSUER)]:
        assert one.headers["cache-control"] == "no-store", one.url
        assert one.headers["referrer-policy"] in {"no-referrer", "same-origin"}
        policy = one.headers["content-security-policy"]
        assert "https:" not in policy
        assert "default-src 'none'" in policy
    callbacks = [one for one in browser.history if "/callback/" in str(one.url)]
    assert callbacks
    assert {one.headers["referrer-policy"] for one in callbacks} == {"no-referrer"}
    pages = [
        one
        for one in browser.history
        if str(one.url).startswith(ISSUER) and "html" in one.headers.get("content-type", "")
    ]
    for one in pages:
        for attribute in ('src="', 'rel="stylesheet" href="'):
            places = [piece.split('"')[0] for piece in one.text.split(attribute)[1:]]
            assert all(place.startswith(("/static/", "/f/", "data:image/")) for place in places), (one.url, places)


async def test_a_site_that_is_disabled_meanwhile_is_over_everywhere(house: House, forum: Site) -> None:
    """A page at authorize and on every step, invalid_client for its code, its tokens dead (catalogue 19)."""
    ana = await member(house)
    tokens = await tokens_of(ana, forum)
    pending = await ana.arrive(forum)
    stranger = house.browser()
    step = await stranger.open(forum.request_url())
    asked = await (await signed_in(house, await account_of(house, "ana"))).open(forum.request_url(prompt="consent"))
    clients: dict[ClientId, Any] = house.settings.clients  # type: ignore[assignment]
    clients[ClientId("forum")] = replace(clients[ClientId("forum")], enabled=False)
    assert_page(await ask(house, forum.request_url(), ana))
    assert_page(await stranger.send("GET", step.url))
    assert asked.path.endswith("/site")
    answer = await forum.token(pending)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert (await forum.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"
    clients[ClientId("forum")] = replace(clients[ClientId("forum")], enabled=True)
    assert (await forum.token(pending)).status_code == 200


async def test_a_site_that_was_deleted_is_unknown(house: House, forum: Site) -> None:
    """Catalogue 19."""
    ana = await member(house)
    pending = await connect(ana, forum)
    del house.settings.clients[ClientId("forum")]  # type: ignore[attr-defined]
    assert_page(await ask(house, forum.request_url(), ana))
    assert (await forum.token(pending)).json()["error"] == "invalid_client"

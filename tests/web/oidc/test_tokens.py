"""`/token`, `/userinfo`, `/introspect` and `/revoke` over HTTP: who may ask, how, and what the answers look like."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import httpx2
import orjson
import pytest
from starlette.requests import Request
from tests.support.house import Arrival, Browser, House, Sandboxes, Site, peek, site_secret
from tests.web.desk import OFFLINE, account_of, connect, member, signed_in, tokens_of, wide_house

from broker.domain.account import AccountStatus
from broker.web.call import Call


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
def forum(house: House) -> Site:
    return house.site("forum")


@pytest.fixture
async def ana(house: House) -> Browser:
    return await member(house, "ana")


async def post(
    house: House, path: str, form: Mapping[str, str] | list[tuple[str, str]], **headers: str
) -> httpx2.Response:
    pairs = list(form.items()) if isinstance(form, Mapping) else form
    named = {"Content-Type": "application/x-www-form-urlencoded"} | {k.replace("_", "-"): v for k, v in headers.items()}
    async with house.client() as client:
        return await client.post(path, content=urlencode(pairs).encode(), headers=named)


def parameters(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query)


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


def assert_refused(answer: httpx2.Response, status: int, error: str, which: object = "") -> None:
    """An error of RFC 6749 §5.2: JSON, a fixed text, nothing that was sent, and nobody may store it."""
    assert answer.status_code == status, (which, answer.text)
    assert answer.headers["content-type"] == "application/json", which
    assert answer.headers["cache-control"] == "no-store", which
    told = answer.json()
    assert told["error"] == error, (which, told)
    assert set(told) == {"error", "error_description", "reference"}, which
    assert all(" " <= ch <= "~" and ch not in '"\\' for ch in told["error_description"]), which


# --- who asks -----------------------------------------------------------------------------------------


async def test_a_site_proves_itself_by_header_or_in_the_form(house: House, ana: Browser) -> None:
    """client_secret_basic and client_secret_post (RFC 6749 §2.3.1)."""
    for name in ("forum", "tracker"):
        assert "access_token" in await tokens_of(ana, house.site(name))


async def test_nobody_else_is_answered(house: House, forum: Site, ana: Browser) -> None:
    """The same words for an unknown site and a wrong secret."""
    arrival = await connect(ana, forum)
    form = {"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": forum.redirect_uri}
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"client_id": "forum"}, {}),
        ({"client_id": "forum", "client_secret": "wrong"}, {}),
        ({"client_id": "nobody", "client_secret": "x"}, {}),
        ({"client_id": "app", "client_secret": "x"}, {}),
        ({}, {"Authorization": basic("forum", "wrong")}),
        ({}, {"Authorization": basic("nobody", site_secret("forum"))}),
        ({}, {"Authorization": basic("forum", "")}),
        ({}, {"Authorization": basic("app", "")}),
        ({}, {"Authorization": basic("wiki", site_secret("forum"))}),
        ({}, {"Authorization": "Basic"}),
        ({}, {"Authorization": "Basic !!!"}),
        ({}, {"Authorization": "Basic " + base64.b64encode(b"forum").decode()}),
        ({}, {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()}),
        ({}, {"Authorization": "Bearer x"}),
        ({}, {"Authorization": f"Digest {site_secret('forum')}"}),
        (
            {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": "eyJhbGciOiJub25lIn0.e30.",
            },
            {},
        ),
    ]
    for extra, headers in attempts:
        answer = await post(house, "/token", form | extra, **headers)
        assert_refused(answer, 401, "invalid_client", (extra, headers))
        assert answer.json()["error_description"] == "Client authentication failed."
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert (await forum.token(arrival)).status_code == 200


async def test_the_log_says_which_of_our_sites_was_refused(house: House) -> None:
    """A site's admin finds out why nobody can sign in; a name we do not know and a secret are never written down."""
    for name, secret in (("forum", "wrong-secret-of-the-forum"), ("forum\n; nobody's", "x"), ("ana@people.test", "x")):
        await post(house, "/token", {"grant_type": "x"}, Authorization=basic(name, secret))
    problems = [line for line in map(orjson.loads, house.log.splitlines()) if line["event"] == "problem"]
    assert [(line["client"], line["check"]) for line in problems] == [
        ("forum", "client secret wrong"),
        (None, "client unknown"),
        (None, "client unknown"),
    ]
    assert "wrong-secret" not in house.log
    assert "nobody" not in house.log
    assert "ana@" not in house.log


async def test_two_proofs_are_no_proof(house: House, forum: Site) -> None:
    """RFC 6749 §2.3: one method per request."""
    proof = basic("forum", site_secret("forum"))
    for form in ({"client_secret": site_secret("forum")}, {"client_id": "wiki"}):
        assert_refused(
            await post(house, "/token", {"grant_type": "x"} | form, Authorization=proof), 400, "invalid_request"
        )
    async with house.client() as client:
        answer = await client.post(
            "/token", data={"grant_type": "x"}, headers=[("Authorization", proof), ("Authorization", proof)]
        )
    assert_refused(answer, 400, "invalid_request")


async def test_a_scheme_in_small_letters_is_fine(house: House) -> None:
    answer = await post(
        house,
        "/token",
        {"grant_type": "x"},
        Authorization=basic("forum", site_secret("forum")).replace("Basic", "bAsIc"),
    )
    assert_refused(answer, 400, "unsupported_grant_type")


async def test_guessing_secrets_gets_slower(house: House, forum: Site) -> None:
    """At all endpoints together, by address; a site with the right secret is not in its way (catalogue 81)."""
    answers = []
    for number in range(42):
        path = ("/token", "/introspect", "/revoke")[number % 3]
        form = {"grant_type": "x", "token": "x"}
        answers.append(await post(house, path, form, Authorization=basic("forum", f"guess-{number}")))
    assert [answer.status_code for answer in answers] == [401] * 30 + [429] * 12
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await forum.introspect("x")) == {"active": False}
    house.clock.move(seconds=60)
    assert_refused(await post(house, "/token", {}, Authorization=basic("forum", "guess")), 401, "invalid_client")


async def test_a_cookie_counts_for_nothing_here(house: House, ana: Browser) -> None:
    for path in ("/token", "/introspect", "/revoke"):
        answer = await ana.send("POST", f"https://login.test{path}", data=[("token", "x"), ("client_id", "forum")])
        assert_refused(answer, 401, "invalid_client", path)
    assert (await ana.send("GET", "https://login.test/userinfo")).status_code == 401


def test_a_handler_never_works_for_nobody() -> None:
    """Were a route given the wrong guard, it would break rather than answer."""
    with pytest.raises(TypeError):
        _ = Call(request=Request({"type": "http"}), world=None).authenticated  # type: ignore[arg-type]


# --- how it is asked ----------------------------------------------------------------------------------


async def test_only_a_form_is_read(house: House, forum: Site) -> None:
    async with house.client() as client:
        for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
            answer = await client.post("/token", content=b"{}", headers={**forum.auth, "Content-Type": kind})
            assert_refused(answer, 400, "invalid_request", kind)


async def test_a_parameter_given_twice_is_refused(house: House, forum: Site, ana: Browser) -> None:
    """RFC 6749 §3.2; and the code is not used up by it (catalogue 8)."""
    arrival = await connect(ana, forum)
    form = [("grant_type", "authorization_code"), ("code", arrival.code), ("redirect_uri", forum.redirect_uri)]
    form.append(("code_verifier", forum.verifier_of(arrival)))
    for name in ("code", "grant_type", "redirect_uri", "code_verifier", "unknown"):
        twice = [*form, (name, dict(form).get(name, "x")), (name, "x")]
        assert_refused(await post(house, "/token", twice, **forum.auth), 400, "invalid_request", name)
    assert (await post(house, "/token", form, **forum.auth)).status_code == 200


async def test_what_is_asked_in_the_query_is_not_seen(house: House, forum: Site, ana: Browser) -> None:
    arrival = await connect(ana, forum)
    query = urlencode({"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": forum.redirect_uri})
    assert_refused(await post(house, f"/token?{query}", {}, **forum.auth), 400, "invalid_request")


async def test_huge_requests_are_refused_before_they_are_read(house: House, forum: Site) -> None:
    """Catalogue 74. The best of three counts: what else this process did, such as tidying its memory, is no part of it."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        for form in ({"code": "c" * 200_000}, {f"n{n}": "x" for n in range(500)}, {"code": "c" * 5000}):
            answer = await post(house, "/token", {"grant_type": "authorization_code"} | form, **forum.auth)
            assert answer.status_code in {400, 413}
            assert answer.json()["error"] == "invalid_request"
            assert "cccc" not in answer.text
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5


async def test_other_methods_are_not_allowed(house: House, forum: Site) -> None:
    async with house.client() as client:
        for path in ("/token", "/introspect", "/revoke"):
            assert (await client.get(path, headers=forum.auth)).status_code == 405
            assert (await client.put(path, headers=forum.auth)).status_code == 405


# --- codes --------------------------------------------------------------------------------------------


async def test_the_answer_is_json_that_nobody_stores(house: House, forum: Site, ana: Browser) -> None:
    """RFC 6749 §5.1."""
    answer = await forum.token(await connect(ana, forum))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    told = answer.json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 600)


async def test_a_code_is_redeemed_once_and_coming_back_kills_what_it_led_to(
    house: House, forum: Site, ana: Browser
) -> None:
    """invalid_grant, introspection inactive, userinfo 401, refresh dead; and the log says so (catalogue 20)."""
    arrival = await connect(ana, forum, scope=OFFLINE, tick=("name", "offline_access"))
    tokens = await forum.redeem(arrival)
    assert (await forum.introspect(tokens["access_token"]))["active"]
    house.clock.move(seconds=31)
    assert_refused(await forum.token(arrival), 400, "invalid_grant")
    assert await forum.introspect(tokens["access_token"]) == {"active": False}
    assert (await forum.userinfo(tokens["access_token"])).status_code == 401
    assert_refused(await forum.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert "code used before: grant revoked" in house.log
    assert arrival.code not in house.log


async def test_another_sites_code_is_burned_by_the_try(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 22, 23, 30."""
    wiki = house.site("wiki")
    arrival = await connect(ana, forum)
    form = {"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": forum.redirect_uri}
    answer = await wiki.post("/token", form | {"code_verifier": forum.verifier_of(arrival)})
    assert_refused(answer, 400, "invalid_grant")
    assert_refused(await forum.token(arrival), 400, "invalid_grant")
    assert "code of another client" in house.log
    for changes in ({"redirect_uri": "https://forum.test/other"}, {"code_verifier": "x" * 43}, {"code_verifier": ""}):
        arrival = await connect(ana, forum)
        assert_refused(await forum.token(arrival, **changes), 400, "invalid_grant", changes)
        assert_refused(await forum.token(arrival), 400, "invalid_grant", changes)


async def test_a_registered_address_is_not_the_one_it_was_sent_to(house: House, ana: Browser) -> None:
    """Catalogue 23."""
    old = house.site("old")
    arrival = await connect(ana, old)
    assert_refused(await old.token(arrival, redirect_uri="https://old.test/other"), 400, "invalid_grant")


async def test_a_code_is_good_for_a_minute(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 24."""
    arrival = await connect(ana, forum)
    house.clock.move(seconds=61)
    assert_refused(await forum.token(arrival), 400, "invalid_grant")


async def test_tabs_cannot_swap_codes(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 31."""
    one, two = await connect(ana, forum), await connect(ana, forum)
    assert_refused(await forum.token(one, code_verifier=forum.verifier_of(two)), 400, "invalid_grant")


async def test_a_verifier_without_a_challenge_is_a_downgrade(house: House, ana: Browser) -> None:
    """Catalogue 28."""
    old = house.site("old")
    arrival = await connect(ana, old, code_challenge=None, code_challenge_method=None)
    assert_refused(await old.token(arrival), 400, "invalid_grant")


async def test_nothing_else_passes_for_a_code(house: House, forum: Site, ana: Browser) -> None:
    """And is not used up by the try (catalogue 25)."""
    tokens = await tokens_of(ana, forum, scope=OFFLINE, tick=("offline_access",))
    others = [
        tokens["refresh_token"],
        tokens["access_token"],
        tokens["id_token"],
        next(iter(ana.cookies.values())),
        "dwc_x",
        "'; --",
    ]
    for other in others:
        form = {"grant_type": "authorization_code", "code": other, "redirect_uri": forum.redirect_uri}
        assert_refused(await forum.post("/token", form), 400, "invalid_grant")
    assert (await forum.refresh(tokens["refresh_token"])).status_code == 200
    assert (await forum.introspect(tokens["access_token"]))["active"]


async def test_of_parallel_takers_at_most_one_is_answered(house: House, forum: Site, ana: Browser) -> None:
    """Twenty requests for one code (catalogue 21)."""
    arrival = await connect(ana, forum)
    answers = await asyncio.gather(*(forum.token(arrival) for _ in range(20)))
    good = [one for one in answers if one.status_code == 200]
    assert len(good) <= 1
    assert {one.json()["error"] for one in answers if one not in good} == {"invalid_grant"}
    for one in good:
        assert await forum.introspect(one.json()["access_token"]) == {"active": False}


# --- refresh ------------------------------------------------------------------------------------------


async def away(ana: Browser, site: Site) -> dict[str, Any]:
    return await tokens_of(ana, site, scope=OFFLINE, tick=("name", "email", "offline_access"))


async def test_refreshing_rotates_and_reuse_ends_the_family(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 87."""
    first = await away(ana, forum)
    house.clock.move(seconds=31)
    second = (await forum.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    house.clock.move(seconds=31)
    assert_refused(await forum.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert_refused(await forum.refresh(second["refresh_token"]), 400, "invalid_grant")
    assert (await forum.userinfo(second["access_token"])).status_code == 401
    assert "refresh token reused: family revoked" in house.log


async def test_a_lost_answer_is_repeated_once(house: House, forum: Site, ana: Browser) -> None:
    """The very same refresh token, within half a minute (catalogue 92)."""
    first = await away(ana, forum)
    lost = (await forum.refresh(first["refresh_token"])).json()
    house.clock.move(seconds=29)
    again = (await forum.refresh(first["refresh_token"])).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert (await forum.refresh(lost["refresh_token"])).status_code == 200
    assert_refused(await forum.refresh(first["refresh_token"]), 400, "invalid_grant")


async def test_of_parallel_refreshes_there_is_one_child(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 88."""
    first = await away(ana, forum)
    answers = await asyncio.gather(*(forum.refresh(first["refresh_token"]) for _ in range(20)))
    children = {one.json()["refresh_token"] for one in answers if one.status_code == 200}
    assert len(children) == 1
    assert {one.status_code for one in answers} == {200, 400}


async def test_a_refresh_is_for_its_site_and_its_scope(house: House, forum: Site, ana: Browser) -> None:
    """Catalogue 90."""
    first = await tokens_of(ana, forum, scope="openid profile offline_access", tick=("offline_access",))
    assert_refused(await house.site("wiki").refresh(first["refresh_token"]), 400, "invalid_grant")
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    assert_refused(await forum.post("/token", form | {"scope": "openid email"}), 400, "invalid_scope")
    assert_refused(await forum.post("/token", form | {"resource": "https://api.test"}), 400, "invalid_target")
    answer = await forum.post("/token", form | {"scope": "openid"})
    assert answer.json()["scope"] == "openid"


async def test_a_family_has_an_end(house: House, forum: Site, ana: Browser) -> None:
    """Thirty days idle (catalogue 91)."""
    first = await away(ana, forum)
    house.clock.move(days=30)
    assert_refused(await forum.refresh(first["refresh_token"]), 400, "invalid_grant")


async def test_no_refresh_without_consent_to_being_away(house: House, ana: Browser) -> None:
    """Catalogue 91."""
    wiki = house.site("wiki")
    assert "refresh_token" not in await tokens_of(ana, wiki)
    assert "refresh_token" not in await tokens_of(await member(house, "ben"), wiki, scope="openid offline_access")


# --- userinfo and bearer tokens -----------------------------------------------------------------------


async def test_userinfo_answers_get_and_post(house: House, forum: Site, ana: Browser) -> None:
    """By header in any case, or in the form (RFC 6750 §2.1, §2.2)."""
    token = (await tokens_of(ana, forum, tick=("name",)))["access_token"]
    async with house.client() as client:
        answers = [
            await client.get("/userinfo", headers={"Authorization": f"Bearer {token}"}),
            await client.get("/userinfo", headers={"Authorization": f"bearer {token}"}),
            await client.post("/userinfo", headers={"Authorization": f"BEARER {token}"}),
            await client.post("/userinfo", data={"access_token": token}),
        ]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert {name: told[name] for name in told if name != "sub"} == {"preferred_username": "ana", "name": "Ana Lund"}


async def test_odd_bearer_tokens_are_refused_and_never_a_fault(house: House, forum: Site, ana: Browser) -> None:
    """Two headers, header and form, tabs, NUL, what is not ASCII, no token, other schemes (catalogue 79)."""
    token = (await tokens_of(ana, forum))["access_token"]
    good = ("Authorization", f"Bearer {token}")
    odd: list[list[tuple[bytes, bytes]]] = [
        [(b"Authorization", value)]
        for value in (
            b"",
            b"Bearer",
            b"Bearer ",
            f"Bearer  {token}".encode(),
            f"Bearer\t{token}".encode(),
            f"Bearer {token} x".encode(),
            f"Bearer {token},{token}".encode(),
            f"Bearer {token}\x7f".encode(),
            "Bearer é".encode("latin-1"),
            b"Bearer \xf0\x9f\x92\xa9",
            f"Basic {token}".encode(),
            b"Bearer " + b"x" * 20_000,
            b"Bearer dwa_" + b"A" * 900,
        )
    ]
    async with house.client() as client:
        for headers in odd:
            answer = await client.get("/userinfo", headers=headers)
            assert answer.status_code in {400, 401}, headers
            assert answer.headers["www-authenticate"].startswith("Bearer ") or answer.status_code == 400
        assert (await client.get("/userinfo", headers=[good, good])).status_code == 400
        both = await client.post("/userinfo", headers=[good], data={"access_token": token})
        assert_refused(both, 400, "invalid_request")
        twice = await client.post(
            "/userinfo",
            content=urlencode([("access_token", token)] * 2),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert_refused(twice, 400, "invalid_request")
        assert (await client.get("/userinfo")).status_code == 401


async def test_a_token_in_the_query_is_refused_and_not_logged(
    house: House, forum: Site, ana: Browser, quiet_log: None
) -> None:
    """RFC 9700 §4.3.2 (catalogue 80)."""
    token = (await tokens_of(ana, forum))["access_token"]
    async with house.client() as client:
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            answer = await client.get(f"/userinfo?access_token={token}", headers=headers)
            assert_refused(answer, 400, "invalid_request")
            assert token not in answer.text
    assert token not in house.log


async def test_no_other_token_opens_userinfo(house: House, forum: Site, ana: Browser) -> None:
    """ID, session and refresh tokens are no access tokens; of these, a site asks about its session token only (catalogue 76)."""
    tokens = await away(ana, forum)
    for name in ("id_token", "session_token", "refresh_token"):
        answer = await forum.userinfo(tokens[name])
        assert answer.status_code == 401, name
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for name in ("id_token", "refresh_token"):
        assert await forum.introspect(tokens[name]) == {"active": False}, name
    assert (await forum.introspect(tokens["session_token"]))["token_type"] == "session+jwt"


async def test_tokens_say_no_more_than_was_shared(house: House, ana: Browser) -> None:
    """Nothing in the ID token unless the site has its claims there; nothing unticked anywhere (catalogue 86, 135)."""
    forum, tracker = house.site("forum"), house.site("tracker")
    tokens = await tokens_of(ana, forum, tick=("name",))
    assert {"name", "email", "preferred_username"}.isdisjoint(peek(tokens["id_token"]))
    assert peek(tokens["session_token"])["name"] == "Ana Lund"
    for told in (peek(tokens["session_token"]), await forum.claims(tokens["access_token"])):
        assert {"email", "email_verified"}.isdisjoint(told)
    assert {"name", "email"}.isdisjoint(await forum.introspect(tokens["access_token"]))
    theirs = peek((await tokens_of(ana, tracker))["id_token"])
    assert (theirs["name"], theirs["email"], theirs["email_verified"]) == ("Ana Lund", "ana@mail.test", False)
    wanted = '{"userinfo":{"email":{"essential":true}},"id_token":{"name":null,"email":{"essential":true}}}'
    asked = await tokens_of(ana, forum, claims=wanted)
    assert "email" not in await forum.claims(asked["access_token"])
    assert peek(asked["id_token"])["name"] == "Ana Lund"
    assert "email" not in peek(asked["id_token"])


async def test_a_held_or_closed_account_ends_every_token_at_once(house: House, forum: Site, ana: Browser) -> None:
    """Introspection, userinfo and refresh (catalogue 83)."""
    durable = house.world.durable
    for end in ("held", "closed"):
        browser = await member(house, end)
        account = await account_of(house, end)
        tokens = await away(browser, forum)
        found = await durable.accounts.load(account)
        assert found is not None
        unit = durable.unit()
        if end == "held":
            unit.save_account(replace(found, status=AccountStatus.HELD))
        else:
            unit.erase_account(account, house.clock.now())
        await unit.commit()
        assert await forum.introspect(tokens["access_token"]) == {"active": False}
        assert (await forum.userinfo(tokens["access_token"])).status_code == 401
        assert_refused(await forum.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_signing_out_everywhere_ends_the_tokens_of_every_session(house: House, forum: Site, ana: Browser) -> None:
    """Those of the sites, too; a new sign-in gets new ones (catalogue 84)."""
    account = await account_of(house, "ana")
    second = await signed_in(house, account)
    before = [await tokens_of(ana, forum), await tokens_of(second, forum)]
    await house.world.sessions.sign_out_everywhere(account)
    for tokens in before:
        assert await forum.introspect(tokens["access_token"]) == {"active": False}
        assert_refused(await forum.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    after = await tokens_of(await signed_in(house, account), forum)
    assert (await forum.introspect(after["access_token"]))["active"]


# --- introspection and revocation ---------------------------------------------------------------------


async def test_a_site_learns_nothing_of_another_sites_token(house: House, forum: Site, ana: Browser) -> None:
    """The same answer as for an unknown one, to the byte (catalogue 77)."""
    token = (await tokens_of(ana, house.site("wiki")))["access_token"]
    foreign = await forum.post("/introspect", {"token": token})
    unknown = await forum.post("/introspect", {"token": "unknown"})
    assert foreign.content == unknown.content == b'{"active":false}'
    assert foreign.status_code == unknown.status_code == 200
    assert foreign.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "signed"),
    [
        ("application/token-introspection+jwt", True),
        ("Application/Token-Introspection+JWT; q=0.9, application/json", True),
        ("application/json, application/token-introspection+jwt;q=0", False),
        ("application/token-introspection+jwt; q=0.000", False),
        ("application/json", False),
        ("application/*", False),
        ("*/*", False),
        ("", False),
    ],
)
async def test_a_site_may_have_the_answer_signed(
    house: House, forum: Site, ana: Browser, accept: str, signed: bool
) -> None:
    """RFC 9701 §4: whoever asks for it by its name, and nobody else; nobody stores it (catalogue 81)."""
    token = (await tokens_of(ana, forum))["access_token"]
    form = {"token": token}
    answer = await post(house, "/introspect", form, Authorization=basic("forum", site_secret("forum")), Accept=accept)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    if not signed:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["active"] is True
        return
    assert answer.headers["content-type"] == "application/token-introspection+jwt"
    told = peek(answer.text)
    assert (told["aud"], told["token_introspection"]["active"]) == ("forum", True)
    refused = await post(house, "/introspect", form, Authorization=basic("forum", "wrong"), Accept=accept)
    assert_refused(refused, 401, "invalid_client")


async def test_several_resources_are_read_and_unknown_ones_refused(house: House, forum: Site, ana: Browser) -> None:
    """RFC 8707 §2: at the authorization, PAR and token endpoints; nobody registered any here (catalogue 8, 90)."""
    named = [("resource", "https://a.test/"), ("resource", "https://b.test/")]
    told = await ana.go(f"{forum.request_url()}&{urlencode(named)}")
    assert isinstance(told, Arrival)
    assert (told.params["error"], told.params["state"] != "") == ("invalid_target", True)
    proof = basic("forum", site_secret("forum"))
    for path, form in (("/token", [("grant_type", "refresh_token")]), ("/par", [*parameters(forum.request_url())])):
        assert_refused(await post(house, path, [*form, *named], Authorization=proof), 400, "invalid_target", path)
        twice = [*form, *named, ("scope", "openid"), ("scope", "openid")]
        assert_refused(await post(house, path, twice, Authorization=proof), 400, "invalid_request", path)


async def test_a_sites_own_token_is_refused_where_it_is_not_allowed(house: House) -> None:
    """RFC 6749 §4.4: neither a site without scopes of its own nor one without a secret."""
    form = {"grant_type": "client_credentials"}
    proof = basic("forum", site_secret("forum"))
    assert_refused(await post(house, "/token", form, Authorization=proof), 400, "unauthorized_client")
    assert_refused(await post(house, "/token", {**form, "client_id": "app"}), 400, "unauthorized_client")
    assert_refused(await post(house, "/token", form, Authorization=basic("forum", "wrong")), 401, "invalid_client")


async def test_only_a_site_with_a_secret_may_introspect(house: House, ana: Browser) -> None:
    """Not nobody, not a public client (catalogue 81)."""
    app = house.site("app")
    arrival = await connect(ana, app, redirect_uri="http://127.0.0.1/cb")
    form = {
        "grant_type": "authorization_code",
        "client_id": "app",
        "code": arrival.code,
        "redirect_uri": "http://127.0.0.1/cb",
    }
    answer = await app.post("/token", form | {"code_verifier": app.verifier_of(arrival)}, auth=False)
    token = answer.json()["access_token"]
    assert_refused(await post(house, "/introspect", {"token": token}), 401, "invalid_client")
    assert_refused(await post(house, "/introspect", {"token": token, "client_id": "app"}), 401, "invalid_client")
    assert (await app.userinfo(token)).status_code == 200


async def test_a_token_must_be_named(house: House, forum: Site) -> None:
    for path in ("/introspect", "/revoke"):
        assert_refused(await forum.post(path, {"token_type_hint": "access_token"}), 400, "invalid_request", path)


async def test_revoking_answers_the_same_whatever_it_was(house: House, forum: Site, ana: Browser) -> None:
    """RFC 7009 §2.2; and only one's own token ends (catalogue 82)."""
    tokens = await away(ana, forum)
    for token in (tokens["refresh_token"], tokens["access_token"], "unknown"):
        answer = await house.site("wiki").revoke(token)
        assert (answer.status_code, answer.content) == (200, b"{}")
    assert (await forum.introspect(tokens["access_token"]))["active"]
    answer = await forum.revoke(tokens["refresh_token"])
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert await forum.introspect(tokens["access_token"]) == {"active": False}
    assert_refused(await forum.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert (await forum.revoke(tokens["refresh_token"])).status_code == 200


async def test_a_wrong_type_hint_does_not_mislead(house: House, forum: Site, ana: Browser) -> None:
    """RFC 7009 §2.1."""
    tokens = await away(ana, forum)
    await forum.post("/revoke", {"token": tokens["refresh_token"], "token_type_hint": "access_token"})
    assert await forum.introspect(tokens["access_token"]) == {"active": False}


async def test_a_public_client_may_revoke_its_own(house: House, ana: Browser) -> None:
    app = house.site("app")
    arrival = await connect(ana, app, redirect_uri="http://127.0.0.1/cb")
    form = {
        "grant_type": "authorization_code",
        "client_id": "app",
        "code": arrival.code,
        "redirect_uri": "http://127.0.0.1/cb",
    }
    answer = await app.post("/token", form | {"code_verifier": app.verifier_of(arrival)}, auth=False)
    token = answer.json()["access_token"]
    assert (await post(house, "/revoke", {"token": token, "client_id": "app"})).status_code == 200
    assert (await app.userinfo(token)).status_code == 401


async def test_without_a_store_nothing_is_said_to_be_done(house: House, forum: Site, ana: Browser) -> None:
    """503 with a time to try again, never a 200 for what is still alive (catalogue 82)."""
    tokens = await away(ana, forum)
    arrival = await connect(ana, forum)
    durable = house.world.durable
    durable._closed = True  # type: ignore[attr-defined]
    try:
        for answer in (
            await forum.revoke(tokens["refresh_token"]),
            await forum.revoke(tokens["access_token"]),
            await forum.refresh(tokens["refresh_token"]),
            await forum.token(arrival),
            await forum.post("/introspect", {"token": tokens["access_token"]}),
            await forum.userinfo(tokens["access_token"]),
        ):
            assert_refused(answer, 503, "temporarily_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
    finally:
        durable._closed = False  # type: ignore[attr-defined]
    assert (await forum.token(arrival)).status_code == 200

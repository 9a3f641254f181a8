"""The OpenID Foundation's modules for relying parties, each as a test of the same name that does what the module does.

We are the relying party, and a misbehaving provider is the suite. As there, a module that spoils something passes when
nothing follows: no account, no session, no further call with what was spoiled. Basic and Form Post share their modules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.house import ISSUER, PROVIDERS_TOML, Arrival, House, Sandboxes, Shown, open_house

FORM_POST = PROVIDERS_TOML + 'response_mode = "form_post"\n'
CALLBACK = f"{ISSUER}/callback/openid"

Start = Callable[[], AbstractAsyncContextManager[House]]


@pytest.fixture(params=["query", "form_post"])
def start(request: pytest.FixtureRequest, tmp_path: Path, sandboxes: Sandboxes) -> Start:
    """Starts a Doorward whose provider answers in the address, or with a form."""
    providers = FORM_POST if request.param == "form_post" else PROVIDERS_TOML

    @asynccontextmanager
    async def started() -> AsyncIterator[House]:
        async with open_house(tmp_path, sandboxes, providers=providers) as house:
            yield house

    return started


@pytest.fixture(autouse=True)
async def _one_key(sandboxes: Sandboxes) -> AsyncIterator[None]:
    """As in the suite, where every module's provider has keys of its own."""
    await sandboxes.openid.order(rotate_keys=True)
    yield
    await sandboxes.openid.order(rotate_keys=True)


async def come_in(house: House, persona: str = "lucas") -> Shown:
    """Sign in at the provider, up to the page we answer with. Lucas has fields that only userinfo could add."""
    browser = house.browser()
    await browser.open("/sign-in")
    shown = await browser.choose("openid", persona)
    assert isinstance(shown, Shown)
    return shown


async def let_in(house: House) -> list[dict[str, Any]]:
    """It works, and the person sees what the provider said. What the provider was asked."""
    shown = await come_in(house)
    assert shown.path.endswith("/details"), shown.text
    assert "Lucas Moreau" in shown.text
    return await house.openid.log()


async def refused(house: House, fault: str, *, check: str, may_ask: str = "/token") -> None:
    """With the fault nobody comes in, and the last thing the provider is asked is `may_ask`; then its token goes back."""
    await house.openid.order(fault={"name": fault})
    shown = await come_in(house)
    assert shown.path == "/callback/openid"
    assert shown.status >= 400
    assert "Reference" in shown.text
    assert "lucas@people.test" not in shown.text
    assert f'"check":"{check}' in house.log.replace(" ", "")
    assert await house.accounts() == 0
    asked = [line["path"] for line in await house.openid.log() if line["path"] not in {"/jwks", "/sign-in"}]
    assert asked[-2:] == [may_ask, "/oauth/revoke"]


# --- Basic (oidcc-client-basic-certification-test-plan) and Form Post (…-formpost-basic-…) ---------------------


async def test_oidcc_client_test(start: Start) -> None:
    """The code flow from end to end."""
    async with start() as house:
        browser = house.browser()
        arrived = await browser.sign_up(house.site("forum"), provider="openid", persona="lucas", user_name="lucas")
        assert isinstance(arrived, Arrival)
        assert arrived.code


async def test_oidcc_client_test_invalid_iss(start: Start) -> None:
    async with start() as house:
        await refused(house, "iss-wrong", check="iss")


async def test_oidcc_client_test_missing_sub(start: Start) -> None:
    async with start() as house:
        await refused(house, "sub-missing", check="sub")


async def test_oidcc_client_test_invalid_aud(start: Start) -> None:
    async with start() as house:
        await refused(house, "aud-wrong", check="aud")


async def test_oidcc_client_test_missing_iat(start: Start) -> None:
    async with start() as house:
        await refused(house, "iat-missing", check="iat")


async def test_oidcc_client_test_kid_absent_single_jwks(start: Start) -> None:
    """One key needs no name."""
    async with start() as house:
        await house.openid.order(fault={"name": "kid-missing-one"})
        await let_in(house)


async def test_oidcc_client_test_kid_absent_multiple_jwks(start: Start, sandboxes: Sandboxes) -> None:
    """Of several keys the token has to name one: trying each in turn would be allowed too, and is not done."""
    await sandboxes.openid.order(rotate_keys="overlap")
    async with start() as house:
        await refused(house, "kid-missing-many", check="kid")


async def test_oidcc_client_test_idtoken_sig_rs256(start: Start, sandboxes: Sandboxes) -> None:
    async with start() as house:
        await let_in(house)
    assert sandboxes.openid.state.signing_key().public_jwk()["alg"] == "RS256"


async def test_oidcc_client_test_idtoken_sig_none(start: Start) -> None:
    """Not even over TLS from the token endpoint, where OpenID Connect Core §3.1.3.7 would let a client have it."""
    async with start() as house:
        await refused(house, "alg-none", check="alg")


async def test_oidcc_client_test_invalid_sig_rs256(start: Start) -> None:
    async with start() as house:
        await refused(house, "signature-wrong", check="signature")


async def test_oidcc_client_test_userinfo_bearer_header(start: Start) -> None:
    async with start() as house:
        (asked,) = [line for line in await let_in(house) if line["path"] == "/userinfo"]
        assert (asked["method"], asked["auth"], asked["query"]) == ("GET", "bearer", {})


async def test_oidcc_client_test_userinfo_bearer_body(start: Start) -> None:
    """The module wants the token in a header or a body, and in one of them only (RFC 6750 §2): ours is the header."""
    async with start() as house:
        (asked,) = [line for line in await let_in(house) if line["path"] == "/userinfo"]
        assert asked["form"] == {}


async def test_oidcc_client_test_userinfo_invalid_sub(start: Start) -> None:
    async with start() as house:
        await refused(house, "userinfo-other-sub", check="userinfo_sub", may_ask="/userinfo")


async def test_oidcc_client_test_nonce_invalid(start: Start) -> None:
    async with start() as house:
        await refused(house, "nonce-wrong", check="nonce")


async def test_oidcc_client_test_scope_userinfo_claims(start: Start) -> None:
    """What is asked for by scope comes, and is shown to the person before it is used."""
    async with start() as house:
        shown = await come_in(house)
        (asked,) = [line for line in await house.openid.log() if line["path"] == "/authorize"]
        assert {"openid", "profile", "email"} == set(asked["query"]["scope"].split())
        assert "Lucas Moreau" in shown.text
        assert "lucas@people.test" in shown.text


async def test_oidcc_client_test_client_secret_basic(start: Start) -> None:
    async with start() as house:
        (asked,) = [line for line in await let_in(house) if line["path"] == "/token"]
        assert asked["auth"] == "basic"
        assert "client_secret" not in asked["form"]


# --- Config (oidcc-client-config-certification-test-plan) ------------------------------------------------------


async def test_oidcc_client_test_discovery_openid_config(start: Start) -> None:
    """Every address in use comes from the provider's metadata: the preset names its issuer only."""
    async with start() as house:
        asked = [line["path"] for line in await let_in(house)]
        assert asked.index("/.well-known/openid-configuration") < asked.index("/authorize") < asked.index("/token")


async def test_oidcc_client_test_discovery_jwks_uri_keys(start: Start) -> None:
    async with start() as house:
        asked = [line["path"] for line in await let_in(house)]
        assert asked.count("/jwks") == 1


async def test_oidcc_client_test_discovery_issuer_mismatch(start: Start, sandboxes: Sandboxes) -> None:
    """(catalogue 41)"""
    await sandboxes.openid.order(fault={"name": "discovery-issuer-other"})
    async with start() as house:
        browser = house.browser()
        await browser.open("/sign-in")
        shown = await browser.press("provider=openid")
        assert isinstance(shown, Shown)
        assert shown.url.startswith(ISSUER)
        assert shown.status >= 500
        assert "Reference" in shown.text
        assert {line["path"] for line in await house.openid.log()} == {"/.well-known/openid-configuration"}


async def test_oidcc_client_test_discovery_sig_none(start: Start) -> None:
    async with start() as house:
        await refused(house, "alg-none", check="alg")


async def test_oidcc_client_test_signing_key_rotation_just_before_signing(start: Start) -> None:
    """A key that nobody has seen is looked up before its token is refused."""
    async with start() as house:
        await house.openid.order(fault={"name": "key-rotated"})
        asked = [line["path"] for line in await let_in(house)]
        assert asked.count("/jwks") == 2


async def test_oidcc_client_test_signing_key_rotation(start: Start) -> None:
    """Between two sign-ins of one server."""
    async with start() as house:
        await let_in(house)
        await house.openid.order(rotate_keys=True)
        await let_in(house)


# --- Dynamic (oidcc-client-dynamic-certification-test-plan), what is not above ----------------------------------


SIGNED = PROVIDERS_TOML + 'userinfo_signed_response_alg = "RS256"\n'


async def test_oidcc_client_test_userinfo_signed(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Asked for and taken where we are registered so; whatever somebody else signed, or nobody, lets nobody in."""
    async with open_house(tmp_path, sandboxes, providers=SIGNED) as house:
        await house.openid.order(fault={"name": "userinfo-signed"})
        (asked,) = [line for line in await let_in(house) if line["path"] == "/userinfo"]
        assert (asked["method"], asked["auth"]) == ("GET", "bearer")
        await house.openid.order(faults=[])
        await refused(house, "userinfo-signed-wrong-key", check="signature", may_ask="/userinfo")
        await house.openid.order(faults=[{"name": "userinfo-other-sub"}])
        await refused(house, "userinfo-signed", check="userinfo_sub", may_ask="/userinfo")
        await house.openid.order(faults=[{"name": "userinfo-no-sub"}])
        shown = await come_in(house)
        assert shown.status >= 400
        assert '"check":"userinfo_unsigned' in house.log.replace(" ", "")


# --- the answer as a form -------------------------------------------------------------------------------------


@pytest.fixture
async def posting(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, providers=FORM_POST) as house:
        yield house


async def answer_form(house: House) -> tuple[Any, list[tuple[str, str]]]:
    """A browser on the provider's page with the answer for us, before it is sent."""
    browser = house.browser()
    await browser.open("/sign-in")
    await house.openid.order(persona="lucas")
    page = await browser.press("provider=openid")
    assert isinstance(page, Shown)
    (form,) = [one for one in page.forms if one.action == CALLBACK]
    return browser, form.fields


async def test_an_answer_comes_as_a_form_although_the_browser_withholds_its_cookies(posting: House) -> None:
    """Form Post Response Mode §2: what another site POSTs has none of our cookies, so it comes again as our own GET. Not one
    cookie of ours goes along to other sites for it (catalogue 112)."""
    browser, fields = await answer_form(posting)
    async with posting.client() as client:  # no cookie
        response = await client.post("/callback/openid", data=dict(fields), headers={"Origin": posting.openid.url})
    assert response.status_code == 303
    target = response.headers["location"]
    assert urlsplit(target).path == "/callback/openid"
    assert set(parse_qs(urlsplit(target).query)) == {"sealed"}
    assert dict(fields)["code"] not in target
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    shown = await browser.go(target)
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")


async def test_a_form_of_another_browser_lets_nobody_in(posting: House) -> None:
    """(catalogue 33)"""
    _, fields = await answer_form(posting)
    victim = posting.browser()
    await victim.open("/sign-in")
    shown = await victim.submit("post", CALLBACK, fields, headers={"Origin": posting.openid.url})
    assert isinstance(shown, Shown)
    assert shown.status == 403
    assert "/token" not in [line["path"] for line in await posting.openid.log()]


async def test_a_form_is_good_for_a_minute(posting: House) -> None:
    browser, fields = await answer_form(posting)
    async with posting.client() as client:
        target = (await client.post("/callback/openid", data=dict(fields))).headers["location"]
    await posting.move(seconds=61)
    shown = await browser.go(target)
    assert isinstance(shown, Shown)
    assert shown.status == 400
    assert "/token" not in [line["path"] for line in await posting.openid.log()]


async def test_a_form_for_one_provider_opens_at_no_other(posting: House) -> None:
    """(catalogue 35)"""
    browser, fields = await answer_form(posting)
    async with posting.client() as client:
        target = (await client.post("/callback/facebook", data=dict(fields))).headers["location"]
    for moved, status in ((target.replace("/facebook", "/openid"), 400), (target, 403)):
        shown = await browser.go(moved)
        assert isinstance(shown, Shown)
        assert shown.status == status
    assert "/token" not in [line["path"] for line in await posting.openid.log()]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 400),
        ("multipart/form-data; boundary=x", b"--x--", 400),
        ("application/x-www-form-urlencoded", b"code=" + b"x" * 9000, 413),
    ],
    ids=["json", "multipart", "huge"],
)
async def test_only_a_small_form_is_an_answer(posting: House, kind: str, body: bytes, status: int) -> None:
    async with posting.client() as client:
        response = await client.post("/callback/openid", content=body, headers={"Content-Type": kind})
    assert response.status_code == status
    assert "Reference" in response.text


async def test_a_form_that_says_something_twice_is_refused(posting: House) -> None:
    """(catalogue 8)"""
    browser, fields = await answer_form(posting)
    shown = await browser.submit("post", CALLBACK, [*fields, ("code", "another")])
    assert isinstance(shown, Shown)
    assert shown.status == 400
    assert "/token" not in [line["path"] for line in await posting.openid.log()]


async def test_an_address_with_our_state_in_it_may_be_posted_to(posting: House) -> None:
    """OpenID 2.0 §5.2.2: what is in the address and what is in the form are one answer, and nothing twice."""
    browser, fields = await answer_form(posting)
    state = dict(fields)["state"]
    rest = [pair for pair in fields if pair[0] != "state"]
    shown = await browser.submit("post", f"{CALLBACK}?state={state}", fields)
    assert isinstance(shown, Shown)
    assert shown.status == 400
    shown = await browser.submit("post", f"{CALLBACK}?state={state}", rest)
    assert isinstance(shown, Shown)
    assert shown.path.endswith("/details")


async def test_a_form_for_a_provider_that_does_not_exist_is_not_found(posting: House) -> None:
    async with posting.client() as client:
        response = await client.post("/callback/nobody", data={"code": "x", "state": "y"})
    assert response.status_code == 404


async def test_cancelling_comes_as_a_form_too(posting: House) -> None:
    """(catalogue 56)"""
    await posting.openid.order(fault={"name": "response-error"})
    shown = await come_in(posting)
    assert shown.path == "/callback/openid"
    assert shown.status >= 400
    assert "Reference" in shown.text

"""Somebody tries a provider before people see it: what they are shown, what is kept (nothing), and who cannot."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
import pytest
from tests.support.house import (
    DOORWARD_TOML,
    ISSUER,
    PROVIDERS_TOML,
    Arrival,
    Browser,
    House,
    Sandboxes,
    Shown,
    open_house,
)

from broker.cli.provider_attempts import of_failures, read_attempts
from broker.domain.values import ProviderId
from broker.flows.trial import GOOD_FOR

IN_TEST = re.sub(r'(kind = "\w+")', r'\1\nstate = "test"', PROVIDERS_TOML)


@pytest.fixture
async def quiet_house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """Both providers in state test."""
    async with open_house(tmp_path, sandboxes, providers=IN_TEST) as house:
        yield house


def link(house: House, provider: str = "facebook") -> str:
    """What the command line prints."""
    return f"/trial?link={house.world.trials.links.make(ProviderId(provider))}"


async def through(
    house: House, provider: str = "facebook", persona: str = "normal", browser: Browser | None = None
) -> Shown:
    """The whole trial."""
    browser = browser or house.browser()
    await getattr(house, provider).order(persona=persona)
    start = await browser.open(link(house, provider))
    assert start.headings[0].startswith("Try ")
    shown = await browser.agree_upstream(await browser.press("Start the test"))
    assert isinstance(shown, Shown), shown
    return shown


def tables(house: House) -> dict[str, Any]:
    """Everything that is stored for good."""
    kept: Any = house.world.durable.tables  # type: ignore[attr-defined]
    return {name: copy.copy(getattr(kept, name)) for name in kept.__slots__}


async def test_a_provider_in_test_is_seen_by_nobody(quiet_house: House) -> None:
    """(catalogue 52)"""
    browser = quiet_house.browser()
    chooser = await browser.open("/sign-in")
    assert "Facebook" not in chooser.text
    assert chooser.forms == []
    transaction = chooser.url.split("/")[4]
    csrf = quiet_house.world.cookies.form_token(f"f:{transaction}")
    refused = await browser.submit("post", chooser.url, [("csrf", csrf), ("provider", "facebook")])
    assert isinstance(refused, Shown)
    assert refused.headings[0] == "This way to sign in is not available"
    assert "Facebook" not in (await browser.open("/")).text + (await browser.open("/privacy")).text


@pytest.mark.parametrize(("provider", "persona"), [("facebook", "normal"), ("openid", "ana")])
async def test_the_whole_sign_in_is_shown_and_nothing_is_kept(quiet_house: House, provider: str, persona: str) -> None:
    """What it sent, what would be proposed, and each step; no account, no session, no row, no upstream grant (catalogue 56)."""
    before = tables(quiet_house)
    browser = quiet_house.browser()
    shown = await through(quiet_house, provider, persona, browser)
    assert shown.status == 200
    assert shown.headings[0].endswith("went through")
    assert "No account here has this identity." in shown.text
    for words in (
        "What would be proposed",
        "Display name",
        "E-mail address",
        "What it sent",
        "Step by step",
        "You came back with:",
    ):
        assert words in shown.text
    assert '"name": "' in shown.text
    assert "POST 127.0.0.1:" in shown.text
    assert 'Write state = "on" and reload the server' in shown.text
    assert tables(quiet_house) == before
    assert await quiet_house.accounts() == 0
    assert not [name for name in browser.cookies if name.endswith("_session")]
    assert (await browser.open("/me")).path.endswith("/sign-in")
    (line,) = [orjson.loads(line) for line in quiet_house.log.splitlines() if b"provider_tried" in line.encode()]
    assert (line["provider"], line["outcome"]) == (provider, "new")


async def test_what_opens_something_is_not_shown(quiet_house: House) -> None:
    """Not on the page, not in its address: tokens, code, state, secret (catalogue 152)."""
    browser = quiet_house.browser()
    shown = await through(quiet_house, "openid", "ana", browser)
    page = shown.response.text
    assert shown.response.headers["cache-control"] == "no-store"
    query = dict(pair.split("=", 1) for pair in shown.url.partition("?")[2].split("&"))
    assert query["code"] not in page
    assert query["state"] not in page
    assert not re.search(r"eyJ[A-Za-z0-9_-]{20}", page)
    assert "characters)" in page
    tokens = [token for token in quiet_house.openid.state.tokens if token in page]
    assert not tokens


async def test_who_has_an_account_is_told_so_and_stays_signed_out(house: House) -> None:
    """What they granted is theirs: it is not given back behind their account's back."""
    await house.browser().sign_up(user_name="zoe")
    await house.facebook.order(persona="normal")
    browser = house.browser()
    shown = await through(house, "facebook", "normal", browser)
    assert "An account here has this identity. It would have been signed in." in shown.text
    assert "given back" not in shown.text
    assert "reload the server" not in shown.text
    assert (await browser.open("/me")).path.endswith("/sign-in")
    assert not [one for one in await house.facebook.log() if one["method"] == "DELETE"]


async def test_what_was_allowed_for_the_trial_is_given_back(quiet_house: House) -> None:
    shown = await through(quiet_house)
    assert "What you allowed there was given back" in shown.text
    assert [one for one in await quiet_house.facebook.log() if one["method"] == "DELETE"]


async def test_what_would_not_be_proposed_has_its_reason(quiet_house: House) -> None:
    declined = await through(quiet_house, "facebook", "declines-email")
    assert "E-mail address: somebody said no to it there" in declined.text
    silhouette = await through(quiet_house, "facebook", "silhouette")
    assert "Profile picture: what it sent cannot be used" in silhouette.text


async def test_a_word_that_does_not_count_is_told(tmp_path: Path, sandboxes: Sandboxes) -> None:
    providers = IN_TEST.replace("trusts_email = true\n", "").replace(
        '"picture", "locale", "zoneinfo"', '"nickname", "locale"'
    )
    async with open_house(tmp_path, sandboxes, providers=providers) as house:
        shown = await through(house, "openid", "ana")
    assert "Its word does not count here, as trusts_email is not set." in shown.text
    assert "Nickname: there is no field of that name here" in shown.text


async def test_saying_no_is_a_result_like_any_other(quiet_house: House) -> None:
    browser = quiet_house.browser()
    await browser.open(link(quiet_house))
    await quiet_house.facebook.order(persona="cancels")
    shown = await browser.agree_upstream(await browser.press("Start the test"))
    assert isinstance(shown, Shown)
    assert shown.status == 200
    assert shown.headings[0] == "The test of Facebook did not go through"
    assert "Somebody said no there. Try again, and agree there." in shown.text
    assert '"error_reason": "user_denied"' in shown.text


async def test_a_wrong_secret_is_said_in_words(tmp_path: Path, sandboxes: Sandboxes) -> None:
    environ = {"FACEBOOK_SECRET": "another-secret-0123456789abcdef01"}
    async with open_house(tmp_path, sandboxes, providers=IN_TEST, environ=environ) as house:
        shown = await through(house)
    assert "It does not know us by this client secret." in shown.text
    assert "The log calls it: graph 1/0 token" in shown.text
    assert ": 400, " in shown.text


PROVED = re.sub(
    r'client_secret = { env = "OPENID_SECRET" }',
    'token_endpoint_auth_method = "private_key_jwt"\ntoken_endpoint_auth_signing_alg = "ES256"',
    IN_TEST,
)
ASKED = IN_TEST.replace('kind = "openid_connect"', 'kind = "openid_connect"\nrequest_object = "by_value"')


async def test_where_a_signature_says_who_we_are_nobody_looks_for_a_secret(
    tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """The page before shows what to enter there, and the one after it where that failed: our keys, and the algorithm."""
    async with open_house(tmp_path, sandboxes, providers=PROVED) as house:
        start = await house.browser().open(link(house, "openid"))
        shown = await through(house, "openid", "ana")
        (found,) = [one for one in read_attempts(house.log.splitlines(), "openid")]
    assert f"Our keys are at {ISSUER}/client-jwks" in start.text
    assert "What we ask is signed" not in start.text
    assert "In place of a secret we sign with ES256" in start.text
    assert "It does not know us by our signature (private_key_jwt)." in shown.text
    assert "this client secret" not in shown.text
    assert f"Our keys are at: {ISSUER}/client-jwks We sign with: ES256" in shown.text
    assert "The log calls it: token invalid_client signed ES256" in shown.text
    assert "It does not know us by our signature" in found.what
    assert "/client-jwks" in found.fix


async def test_who_signs_requests_sees_where_the_keys_are(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Before they go, and where the provider did not take what we signed."""
    async with open_house(tmp_path, sandboxes, providers=ASKED) as house:
        browser = house.browser()
        start = await browser.open(link(house, "openid"))
        assert "Our keys" not in (await house.browser().open(link(house))).text
        await browser.press("Start the test")
        request = dict(parse_qsl(urlsplit(str(browser.history[-1].url)).query))["request"].split(".")[1]
        state = orjson.loads(base64.urlsafe_b64decode(request + "=="))["state"]
        back = {"state": state, "error": "invalid_request_object", "iss": sandboxes.openid.url}
        shown = await browser.open(f"/callback/openid?{urlencode(back)}")
    assert f"Our keys are at {ISSUER}/client-jwks" in start.text
    assert "What we ask is signed with RS256" in start.text
    assert "In place of a secret" not in start.text
    assert "It does not take what we ask in the way that request_object says." in shown.text
    assert f"Our keys are at: {ISSUER}/client-jwks We sign with: RS256" in shown.text


async def test_what_went_wrong_with_a_sign_in_is_found_by_its_reference(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """The person reads a code out; the command line says in words what it was, from what is kept or from the log."""
    environ = {"FACEBOOK_SECRET": "another-secret-0123456789abcdef01"}
    async with open_house(tmp_path, sandboxes, environ=environ) as house:
        browser = house.browser()
        await browser.open("/sign-in")
        shown = await browser.choose()
        assert isinstance(shown, Shown)
        (found,) = [one for one in read_attempts(house.log.splitlines(), "facebook") if one.reference]
        await house.opened.trace.flush()
        kept = await house.world.durable.failures.load(found.reference)
    assert found.reference in shown.text
    assert kept is not None
    assert [replace(one, at="") for one in of_failures([kept])] == [replace(found, at="")]
    assert (
        found.what
        == "It does not know us by this client secret. The secret is wrong, or it has run out. (graph 1/0 token)"
    )


async def test_a_provider_that_cannot_be_left_for_leaves_the_link_good(quiet_house: House) -> None:
    """Put it right and press again."""
    browser = quiet_house.browser()
    await quiet_house.openid.order(fault={"name": "discovery-issuer-other"})
    address = link(quiet_house, "openid")
    await browser.open(address)
    shown = await browser.press("Start the test")
    assert isinstance(shown, Shown)
    assert "It calls itself by another name than issuer says." in shown.text
    await quiet_house.openid.order(reset=True)
    await quiet_house.move(minutes=10)
    await browser.open(address)
    gone = await browser.press("Start the test")
    assert isinstance(gone, Shown)
    assert gone.url.startswith(quiet_house.openid.url)


async def test_an_address_that_is_typed_is_tried_too(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """OpenID 2.0 tells everything through the browser; a typing mistake uses nothing up."""
    typed = (
        '[address]\nkind = "openid2"\nstate = "test"\nlabel = "OpenID 2.0"\nsandbox = true\ndiscovery = "hosts"\n'
        'hosts = ["127.0.0.1"]\nfields = ["name", "email"]\n'
    )
    async with open_house(tmp_path, sandboxes, providers=IN_TEST + typed) as house:
        browser = house.browser()
        await browser.open(link(house, "address"))
        wrong = await browser.press("Start the test", fill={"identifier": "=ana"})
        assert isinstance(wrong, Shown)
        assert (wrong.status, wrong.value("identifier")) == (200, "=ana")
        assert "do not work any more" in wrong.text
        await browser.press("Start the test", fill={"identifier": f"{house.openid.url}/people/ana"})
        shown = await browser.press("persona=ana")
        assert isinstance(shown, Shown)
        assert shown.headings[0] == "The test of OpenID 2.0 went through"
        assert "openid.sreg.email" in shown.text or "openid.ax" in shown.text
        assert "is_valid:true" in shown.text
        assert await house.accounts() == 0


# --- who cannot -----------------------------------------------------------------------------------------


def is_over(shown: Shown | Arrival) -> bool:
    assert isinstance(shown, Shown)
    return (shown.status, shown.headings[0]) == (410, "This link to try a provider does not work any more")


async def test_a_link_is_good_once_and_not_for_long(quiet_house: House) -> None:
    """Looking at its page uses nothing up: programs that look into messages open every link."""
    browser, address = quiet_house.browser(), link(quiet_house)
    for _ in range(3):
        await browser.open(address)
    await browser.press("Start the test")
    await browser.open(address)
    assert is_over(await browser.press("Start the test"))
    late = link(quiet_house)
    fields = (await browser.open(late)).find("Start the test")[0].fields
    quiet_house.clock.move(GOOD_FOR)
    assert is_over(await browser.open(late))
    assert is_over(await browser.submit("post", f"{ISSUER}/trial", fields))


@pytest.mark.parametrize("spoil", ["provider", "time", "mac", "none", "long", "odd"])
async def test_a_link_that_was_not_made_here_opens_nothing(quiet_house: House, spoil: str) -> None:
    token = link(quiet_house).partition("=")[2]
    provider, until, id_, mac = token.split(".")
    other = {
        "provider": f"openid.{until}.{id_}.{mac}",
        "time": f"{provider}.{int(until) + 9}.{id_}.{mac}",
        "mac": f"{provider}.{until}.{id_}.{mac[:-1]}",
        "none": "",
        "long": f"{token}{'x' * 5000}",
        "odd": "%C3%A9.1.%00.x",
    }[spoil]
    browser = quiet_house.browser()
    assert is_over(await browser.open(f"/trial?link={other}"))
    await browser.open(link(quiet_house))
    fields = [("csrf", browser.page.value("csrf")), ("link", other)]
    assert is_over(await browser.submit("post", f"{ISSUER}/trial", fields))


async def test_a_trial_cannot_be_turned_into_a_sign_in(house: House) -> None:
    """Its pages lead nowhere, and its answer in another browser is nobody's (catalogue 32, 36)."""
    await house.browser().sign_up(user_name="zoe")
    browser = house.browser()
    await house.facebook.order(persona="normal", auto=True)
    await browser.open(link(house))
    form, _ = browser.page.find("Start the test")
    answer = await browser.send(
        "POST", f"{ISSUER}/trial", data=form.fields, headers={"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
    )
    there = answer.headers["refresh"].partition("url=")[2]
    back = (await browser.send("GET", there)).headers["location"]
    transaction = next(name for name in browser.cookies if "_tx_" in name).partition("_tx_")[2]
    for page in ("sign-in", "continue", "details", "finish"):
        shown = await browser.open(f"/f/{transaction}/{page}")
        assert not [form for form in shown.forms if form.action.startswith("/f/")], page
    stranger = await house.browser().open(back)
    assert stranger.status in {400, 403}
    shown = await browser.open(back)
    assert shown.headings[0] == "The test of Facebook went through"
    again = await browser.open(back)
    assert "went through" not in again.text
    assert (await browser.open("/me")).path.endswith("/sign-in")


async def test_a_sign_in_that_comes_back_to_a_provider_in_test_is_refused(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Put into test while somebody was on the way: their answer is worth nothing (catalogue 52)."""
    async with open_house(tmp_path / "before", sandboxes) as before:
        await sandboxes.facebook.order(persona="normal", auto=True)
        browser = before.browser()
        chooser = await browser.open("/sign-in")
        fields = [("csrf", chooser.value("csrf")), ("provider", "facebook")]
        answer = await browser.send(
            "POST", chooser.url, data=fields, headers={"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
        )
        back = (await browser.send("GET", answer.headers["refresh"].partition("url=")[2])).headers["location"]
        async with open_house(tmp_path / "after", sandboxes, providers=IN_TEST) as after:
            other = after.browser()
            other.jar = browser.jar
            shown = await other.open(back)
            assert (shown.status, shown.headings[0]) == (404, "This way to sign in is not available")
            assert await after.accounts() == 0


async def test_starts_are_limited(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """A link that is passed round starts no flood (catalogue 180)."""
    few = DOORWARD_TOML.replace("sign_ins_per_minute = 600", "sign_ins_per_minute = 2")
    async with open_house(tmp_path, sandboxes, providers=IN_TEST, doorward=few) as house:
        browser = house.browser()
        for number in range(3):
            await browser.open(link(house))
            shown = await browser.press("Start the test")
            assert isinstance(shown, Shown)
            assert (shown.status == 429) == (number == 2)

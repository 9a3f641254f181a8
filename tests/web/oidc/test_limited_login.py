"""`/par/{provider}/limited-login` over HTTP: what the app of a site hears, and what is kept of what it sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.support.house import FACEBOOK_APP, PROVIDERS_TOML, House, Sandboxes, Shown
from tests.support.phone import PATH, Made, Phone
from tests.web.desk import wide_house

from broker.egress import Egress


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with wide_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
def phone(house: House) -> Phone:
    return Phone(house.site("app"))


def error_of(answer: httpx2.Response, status: int = 400) -> tuple[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told["error"], told["error_description"]


async def test_it_answers_as_the_endpoint_for_pushed_requests_does(phone: Phone) -> None:
    """RFC 9126 §2.2, for an app without a secret, too."""
    answer = await phone.push(await phone.sign_in())
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"request_uri", "expires_in"}
    assert answer.json()["expires_in"] == 60
    assert "set-cookie" not in answer.headers


async def test_a_site_with_a_secret_shows_it(house: House) -> None:
    forum = Phone(house.site("forum"))
    made = await forum.sign_in()
    form = {"id_token": made.token, "nonce_verifier": made.verifier, "client_id": "forum"}
    answer = await house.site("forum").post(PATH, form, auth=False)
    assert error_of(answer, 401)[0] == "invalid_client"
    assert (await forum.push(made)).status_code == 201


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("openid", "Provider openid takes no tokens of apps"),
        ("gone", "No provider for everybody has the id in this address."),
    ],
)
async def test_there_is_no_such_address_for_other_providers(
    house: House, phone: Phone, provider: str, words: str
) -> None:
    made = await phone.sign_in()
    form = {"client_id": "app", "id_token": made.token, "nonce_verifier": made.verifier}
    answer = await house.site("app").post(PATH.replace("facebook", provider), form, auth=False)
    assert error_of(answer, 404)[1].startswith(words)


async def test_nor_where_nobody_switched_it_on(tmp_path: Path, sandboxes: Sandboxes) -> None:
    off = PROVIDERS_TOML.replace("limited_login = true\n", "")
    async with wide_house(tmp_path, sandboxes, providers=off) as house:
        phone = Phone(house.site("app"))
        error, said = error_of(await phone.push(await phone.sign_in()), 404)
        assert error == "invalid_request"
        assert said.startswith(
            "Provider facebook takes no tokens of apps: limited_login of a Facebook provider is off."
        )


async def test_nor_for_a_provider_that_only_some_may_use(tmp_path: Path, sandboxes: Sandboxes) -> None:
    early = PROVIDERS_TOML.replace("limited_login = true\n", 'limited_login = true\nstate = "testers"\n')
    async with wide_house(tmp_path, sandboxes, providers=early) as house:
        phone = Phone(house.site("app"))
        assert "id in this address" in error_of(await phone.push(await phone.sign_in()), 404)[1], (
            "as if there were none"
        )


@pytest.mark.parametrize(
    ("persona", "words"),
    [
        ("oidc-bad-aud", "another app"),
        ("oidc-bad-iss", "another issuer"),
        ("oidc-stale-key", "does not publish"),
        ("oidc-no-nonce", "nonce_verifier"),
        ("oidc-alg-none", "RS256"),
        ("expired", "expired"),
    ],
)
async def test_each_check_that_fails_is_named(phone: Phone, persona: str, words: str) -> None:
    """To whoever writes the app, and nothing is kept (catalogue 38, 42, 43, 44, 46)."""
    error, said = error_of(await phone.push(await phone.sign_in(persona)))
    assert error == "invalid_grant"
    assert words in said
    assert not phone.site.house.world.memory.transactions.rows  # type: ignore[attr-defined]


async def test_a_token_of_the_website_is_none_of_an_app(house: House, phone: Phone) -> None:
    """Other keys sign it, and Facebook gave it for another use (catalogue 76)."""
    made = await phone.sign_in()
    from providers.sandbox.facebook_tokens import id_token

    state = house.facebook.state
    app = state.apps[FACEBOOK_APP]
    nonce = "x" * 43
    website = id_token(state, house.facebook.url, app, state.people["normal"], nonce, None)
    error, said = error_of(await phone.push(Made(website, made.verifier)))
    assert error == "invalid_grant"
    assert "does not publish" in said


async def test_an_encrypted_token_is_refused_as_that(phone: Phone) -> None:
    """catalogue 73"""
    made = await phone.sign_in()
    error, said = error_of(await phone.push(Made(f"{made.token}.x.y", made.verifier)))
    assert (error, "encrypted" in said) == ("invalid_grant", True)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 8193, "é.é.é", "EAAmadeup"])
async def test_what_is_no_token_is_no_fault_of_ours(phone: Phone, text: str) -> None:
    made = await phone.sign_in()
    answer = await phone.push(Made(text, made.verifier))
    assert error_of(answer)[0] in {"invalid_request", "invalid_grant"}
    assert not text or text not in answer.text


async def test_a_token_is_good_once_at_whatever_site(house: House, phone: Phone) -> None:
    """catalogue 34, 53"""
    made = await phone.sign_in()
    assert (await phone.push(made)).status_code == 201
    for again in (phone, Phone(house.site("forum"))):
        error, said = error_of(await again.push(made))
        assert (error, "used before" in said) == ("invalid_grant", True)


async def test_who_has_seen_the_token_alone_brings_nobody(phone: Phone) -> None:
    """catalogue 37, 38: what was hashed into its nonce never left the app."""
    made = await phone.sign_in()
    stranger = await phone.sign_in("jonas")
    error, said = error_of(await phone.push(Made(made.token, stranger.verifier)))
    assert (error, "nonce_verifier" in said) == ("invalid_grant", True)
    assert error_of(await phone.push(made, form={"nonce_verifier": None}))[0] == "invalid_request"
    assert (await phone.push(made)).status_code == 201


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.test/cb"},
        {"redirect_uri": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"prompt": "none"},
        {"prompt": "login"},
        {"max_age": "60"},
    ],
)
async def test_a_mistake_in_the_request_costs_no_token(phone: Phone, changes: dict[str, Any]) -> None:
    """Nobody has to sign in at Facebook a second time for it."""
    made = await phone.sign_in()
    error, said = error_of(await phone.push(made, **changes))
    assert error == "invalid_request"
    assert said
    assert (await phone.push(made)).status_code == 201


async def test_a_parameter_twice_is_refused(house: House, phone: Phone) -> None:
    made = await phone.sign_in()
    body = f"client_id=app&id_token={made.token}&id_token={made.token}&nonce_verifier={made.verifier}"
    async with house.client() as client:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await client.post(PATH, content=body.encode(), headers=headers)
    assert error_of(answer)[0] == "invalid_request"


async def test_while_facebooks_keys_hang_the_app_hears_so_and_keeps_its_token(
    tmp_path: Path, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and when to come back; nobody waits for ever (catalogue 173)."""
    assert Egress.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Egress.__init__.__kwdefaults__, "total_seconds", 0.3)
    async with wide_house(tmp_path, sandboxes) as house:
        phone = Phone(house.site("app"))
        made = await phone.sign_in()
        await house.facebook.order(limited_keys_hang=True)
        answer = await phone.push(made)
        assert error_of(answer, 503)[0] == "temporarily_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        await house.facebook.order(limited_keys_hang=False)
        await house.move(seconds=10)
        assert (await phone.push(made)).status_code == 201


async def test_nothing_of_the_token_stands_in_the_log_or_an_answer(house: House, phone: Phone) -> None:
    """catalogue 151"""
    good, bad = await phone.sign_in(), await phone.sign_in("oidc-bad-aud")
    texts = [(await phone.push(made)).text for made in (good, bad, good)]
    for secret in (good.token, bad.token, good.verifier, "ana.markovic@people.test", "Markovi"):
        assert secret not in house.log
        assert not any(secret in text for text in texts)


async def test_the_reference_is_the_sites_own(house: House, phone: Phone) -> None:
    """RFC 9126 §4; another site's address with it shows a page of ours and takes nothing out."""
    request_uri = (await phone.push(await phone.sign_in())).json()["request_uri"]
    wrong = await house.browser().go(Phone(house.site("forum")).url(request_uri))
    assert isinstance(wrong, Shown)
    assert wrong.status == 410
    right = await house.browser().open(phone.url(request_uri))
    assert urlsplit(right.url).path.endswith("/confirm")

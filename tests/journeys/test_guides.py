"""Each guide's site over HTTP, with the quirks of the software that the guide is about: secret in a header or in the form,
with or without PKCE, a `claims` parameter and parameters nobody knows, names from the ID token or from userinfo.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.support.house import ISSUER, Arrival, Browser, House, Sandboxes, Shown, Site, open_house

from broker.cli import guides

SECRET = "guide-{}-secret-0123456789abcdef"
WITH_SECRET = [name for name in guides.names() if guides.read(name).secret_option == "client_secret"]
MORE = {
    "nextcloud": {"claims": '{"id_token":{"email":null,"name":null},"userinfo":{"email":null,"name":null}}'},
    "discourse": {"p": ""},
    "wikijs": {"display": "popup"},
    "apache": {"response_mode": "query"},
}
"""What the software sends beside the usual."""


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """The usual sites, and one for each guide."""
    folder = tmp_path / "config" / "conf.d"
    folder.mkdir(parents=True)
    for name in WITH_SECRET:
        secret = SECRET.format(name)
        values = guides.Values(issuer=ISSUER, url=f"https://{name}.test/", id=name, secret=secret, random="r" * 43)
        secret_file = tmp_path / f"{name}.secret"
        secret_file.touch(mode=0o600)
        secret_file.write_text(values.secret)
        guide = guides.read(name)
        (folder / f"{name}.toml").write_text(guides.block(guide, values, name=name, secret_file=str(secret_file)))
    async with open_house(tmp_path, sandboxes) as opened:
        yield opened


@pytest.fixture
async def ana(house: House) -> Browser:
    browser = house.browser()
    everything = ("name", "email", "picture", "given_name", "family_name")
    await browser.sign_up(user_name="ana", use=everything[2:])
    return browser


async def arrive(browser: Browser, site: Site, **more: str | None) -> Arrival:
    """To the site, past its question, and back."""
    question = await browser.open(site.request_url(**more))
    assert question.path.endswith("/site"), question.text
    boxes = [value for form in question.forms for values in form.boxes.values() for value in values]
    end = await browser.press("decision=share", tick=[box for box in boxes if box != "offline_access"])
    assert isinstance(end, Arrival), end
    return end


async def redeem(site: Site, arrival: Arrival, method: str, *, pkce: bool) -> Any:
    form = {"grant_type": "authorization_code", "code": arrival.code, "redirect_uri": site.redirect_uri}
    if pkce:
        form["code_verifier"] = site.verifier_of(arrival)
    secret, headers = SECRET.format(site.name), {}
    if method == "client_secret_post":
        form |= {"client_id": site.name, "client_secret": secret}
    else:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{site.name}:{secret}'.encode()).decode()}"
    async with site.house.client() as client:
        return await client.post("/token", data=form, headers=headers)


@pytest.mark.parametrize("name", WITH_SECRET)
async def test_the_software_of_a_guide_signs_people_in(house: House, ana: Browser, name: str) -> None:
    """As the guide says, and in no other way."""
    guide, site = guides.read(name), house.site(name)
    pkce = bool(guide.site.get("pkce_required", True))
    method = guide.site["auth_method"]
    without = {} if pkce else {"code_challenge": None, "code_challenge_method": None}
    arrival = await arrive(ana, site, **without, **MORE.get(name, {}))
    assert arrival.url.startswith(f"{site.redirect_uri}?")
    assert arrival.params["iss"] == ISSUER
    answer = await redeem(site, arrival, method, pkce=pkce)
    assert answer.status_code == 200, answer.text
    told = await site.claims(answer.json()["access_token"])
    assert told["preferred_username"] == "ana"
    assert set(guide.needed) <= set(told)
    if "email" in guide.needed:
        assert told["email_verified"] in {True, False}
    async with house.client() as client:
        keys = KeySet.import_key_set((await client.get("/jwks")).json())
    token = jws.deserialize_compact(answer.json()["id_token"], keys, algorithms=["RS256"])
    assert token.headers()["alg"] == "RS256"
    assert (b'"preferred_username"' in token.payload) == bool(guide.site.get("claims_in_id_token"))
    other = {"client_secret_post": "client_secret_basic", "client_secret_basic": "client_secret_post"}[method]
    again = await ana.go(site.request_url(**without))
    assert isinstance(again, Arrival)
    refused = await redeem(site, again, other, pkce=pkce)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_a_site_that_can_do_pkce_is_held_to_it(house: House, ana: Browser) -> None:
    """What a guide does not name as a downgrade is none."""
    end = await ana.go(house.site("discourse").request_url(code_challenge=None, code_challenge_method=None))
    assert not isinstance(end, Shown)
    assert end.params["error"] == "invalid_request"

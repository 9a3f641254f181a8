"""What every answer carries, whatever the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.responses import Response
from tests.support.house import ISSUER, House, Shown
from tests.web.desk import member

from broker.web.headers import SecurityHeaders
from broker.web.routes import ROUTES

ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
}
GETS = sorted({route.path for route in ROUTES if route.method == "GET"})


def path_of(path: str, transaction: str) -> str:
    return path.replace("/f/{id}", f"/f/{transaction}").replace("{id}", "unknown").replace("{provider}", "facebook")


def policy_of(answer: Any) -> dict[str, str]:
    lines = answer.headers.get_list("content-security-policy")
    assert len(lines) == 1
    parts = [part.strip().partition(" ") for part in lines[0].split(";")]
    names = [name for name, _, _ in parts]
    assert len(set(names)) == len(names)
    return {name: value for name, _, value in parts}


PUBLISHED = {
    "/jwks",
    "/client-jwks",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/ssf-configuration",
}
"""Documents without people in them, which anybody may keep for a while."""


@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_every_answer_forbids_frames_and_guessing(house: House, is_signed_in: bool) -> None:
    """All routes, pages and errors, signed in or not: no answer can be framed, sniffed or stored (catalogue 96, 106)."""
    browser = await member(house, "ana") if is_signed_in else house.browser()
    shown = await browser.open(house.site("forum").request_url())
    transaction = shown.path.split("/")[2]
    paths = [path_of(path, transaction) for path in GETS]
    paths += [path_of(path, "unknown") for path in GETS if "{id}" in path] + ["/nowhere", "/token", "/f/x/y/z"]
    for path in paths:
        answer = await browser.send("GET", f"{ISSUER}{path}")
        for name, value in ALWAYS.items():
            assert answer.headers.get_list(name) == [value], (path, name)
        policy = policy_of(answer)
        assert policy["frame-ancestors"] == "'none'", path
        assert policy["default-src"] == "'none'", path
        assert len(answer.headers.get_list("cache-control")) == 1, path
        if "/static/" not in path and answer.headers["cache-control"] != "no-store":
            assert path in PUBLISHED, path


async def test_a_page_runs_nothing_inline_and_loads_nothing_foreign(house: House) -> None:
    """The policy in full, and pages that need no exception from it (catalogue 111)."""
    browser = house.browser()
    await browser.sign_up(house.site("forum"), user_name="ana", share=("name",))
    for tab in ("", "/details", "/ways", "/sites", "/history", "/devices", "/close"):
        await browser.open(f"/me{tab}")
    await browser.open("/privacy")
    pages = [
        one for one in browser.history if str(one.url).startswith(ISSUER) and one.text.startswith("<!doctype html")
    ]
    assert len(pages) > 10
    for page in pages:
        policy = policy_of(page)
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["base-uri"] == policy["object-src"] == "'none'"
        assert not [value for value in policy.values() if "unsafe" in value or "nonce" in value or "*" in value]
        assert "upgrade-insecure-requests" in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page.text)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page.text)
        for address in re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="([^"]*)"', page.text):
            assert address.startswith(("/", "data:image/")) and not address.startswith("//"), address


async def test_a_callback_tells_nobody_where_it_came_from(house: House) -> None:
    """Pages with forms name their own origin to themselves; a callback, whose address holds a code, names nothing
    (decision 6).
    """
    browser = house.browser()
    page = await browser.open("/sign-in")
    assert page.response.headers["referrer-policy"] == "same-origin"
    callback = await browser.send("GET", f"{ISSUER}/callback/facebook?code=x&state=y.z")
    assert callback.headers["referrer-policy"] == "no-referrer"
    assert callback.status_code >= 400


async def test_leaving_after_a_form_is_a_page_and_never_a_redirect(house: House) -> None:
    """`form-action` covers the whole chain of a form, so 303 would be blocked at its end (decision 1)."""
    browser = house.browser()
    chooser = await browser.open("/sign-in")
    form, pressed = chooser.find("provider=facebook")
    headers = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
    answer = await browser.send(
        "POST", f"{ISSUER}{form.action}", data=[*form.fields, (pressed.name, pressed.value)], headers=headers
    )
    assert answer.status_code == 200
    target = answer.headers["refresh"].removeprefix("0; url=")
    assert target.startswith(f"{house.facebook.url}/")
    shown = Shown.read(answer)
    assert ("Continue to Facebook", target) in shown.links
    assert house.facebook.host in shown.text


@pytest.mark.parametrize("secure", [True, False])
def test_only_https_carries_what_only_https_can(secure: bool) -> None:
    """(decision 2)"""
    response = Response("<p>", media_type="text/html")
    SecurityHeaders(secure=secure).add(response)
    assert ("strict-transport-security" in response.headers) is secure
    assert ("upgrade-insecure-requests" in response.headers["content-security-policy"]) is secure

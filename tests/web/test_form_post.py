"""`response_mode=form_post`: the answer is a form that the browser posts to the site, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.responses import HTMLResponse
from tests.support.house import ISSUER, SITES_TOML, Arrival, Browser, House, Sandboxes, Shown, Site, open_house
from tests.web.desk import connect, member

from broker.web.headers import SecurityHeaders

HOSTILE = SITES_TOML.replace("https://forum.test/callback", "https://forum.test:8443/callback?from=login&x=1")


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    async with open_house(tmp_path, sandboxes, sites=HOSTILE) as opened:
        yield opened


@pytest.fixture
def forum(house: House) -> Site:
    return house.site("forum")


def posted(shown: Shown, site: Site) -> dict[str, str]:
    """What the one form of the page posts to the site: each parameter once."""
    assert shown.status == 200
    (form,) = shown.forms
    assert (form.method, form.action) == ("post", site.redirect_uri)
    assert len(form.buttons) == 1
    fields = dict(form.fields)
    assert len(fields) == len(form.fields)
    assert fields["iss"] == ISSUER
    return fields


def form_action(answer: httpx2.Response) -> str:
    (policy,) = answer.headers.get_list("content-security-policy")
    (found,) = [part.strip() for part in policy.split(";") if part.strip().startswith("form-action")]
    return str(found)


async def shared(ana: Browser, forum: Site, **changes: str | None) -> Shown:
    """Ana shares at once, and sees the page that posts the answer."""
    end = await ana.go(forum.request_url(response_mode="form_post", **changes))
    assert isinstance(end, Shown), end
    if end.path.endswith("/site"):
        end = await ana.press("decision=share")
    assert isinstance(end, Shown), end
    return end


async def test_a_code_is_posted_to_the_site(house: House, forum: Site) -> None:
    """After the share page and without it; the code is as good as any (OAuth 2.0 Form Post Response Mode §2)."""
    ana = await member(house)
    for _ in range(2):
        fields = posted(await shared(ana, forum, state="s-1"), forum)
        assert set(fields) == {"code", "state", "iss"}
        told = await forum.redeem(Arrival(f"https://forum.test/?code={fields['code']}&state=s-1"))
        assert told["id_token"]
    assert ana.page.path == "/authorize"


async def test_the_page_posts_to_the_sites_origin_and_nowhere_else(house: House, forum: Site) -> None:
    """Nothing inline, kept nowhere, framed nowhere, no referrer (catalogue 26, 111)."""
    ana = await member(house)
    for _ in range(2):
        answer = (await shared(ana, forum)).response
        assert form_action(answer) == "form-action https://forum.test:8443"
        (policy,) = answer.headers.get_list("content-security-policy")
        assert "unsafe" not in policy
        assert "default-src 'none'; script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
        assert answer.headers.get_list("strict-transport-security")
        assert "location" not in answer.headers
        assert "refresh" not in answer.headers
        assert "<script>" not in answer.text
        assert "onload" not in answer.text
    other = await ana.open("/me")
    assert form_action(other.response) == "form-action 'self'"


async def test_a_refusal_and_a_cancelled_sign_in_are_posted(house: House, forum: Site) -> None:
    ana = await member(house)
    await ana.open(forum.request_url(response_mode="form_post", state="s-1"))
    end = await ana.press("decision=refuse")
    assert isinstance(end, Shown)
    assert posted(end, forum) == {"error": "access_denied", "state": "s-1", "iss": ISSUER}
    stranger = house.browser()
    start = await stranger.open(forum.request_url(response_mode="form_post", state=None))
    cancel = next(form for form in start.forms if form.action.endswith("/cancel"))
    end = await stranger.submit("post", ISSUER + cancel.action, cancel.fields)
    assert isinstance(end, Shown)
    assert posted(end, forum) == {"error": "access_denied", "iss": ISSUER}


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"prompt": "none"}, "login_required"), ({"scope": "x"}, "invalid_scope"), ({"max_age": "x"}, "invalid_request")],
)
async def test_an_error_is_posted_too(house: House, forum: Site, changes: dict[str, str], error: str) -> None:
    """With the site's state, once (catalogue 7, 13)."""
    shown = await house.browser().open(forum.request_url(response_mode="form_post", state='"><b>&code=x', **changes))
    fields = posted(shown, forum)
    assert (fields["error"], fields["state"]) == (error, '"><b>&code=x')
    assert set(fields) == {"error", "error_description", "state", "iss"}
    assert form_action(shown.response) == "form-action https://forum.test:8443"


async def test_a_state_cannot_break_out_of_the_page(house: House, forum: Site) -> None:
    """Catalogue 111."""
    for state in (
        '"><script>alert(1)</script>',
        "'><img src=x onerror=x>",
        "</form><form action=//evil.test>",
        "{{ 7*7 }}",
    ):
        shown = await house.browser().open(forum.request_url(response_mode="form_post", prompt="none", state=state))
        assert posted(shown, forum)["state"] == state
        assert state.strip("{} ") == "7*7" or state not in shown.response.text


async def test_an_unknown_way_is_told_by_redirect(house: House, forum: Site) -> None:
    """`fragment` is for tokens, which we never send through a browser (catalogue 12)."""
    for mode in ("fragment", "web_message"):
        answer = await house.browser().send("GET", forum.request_url(response_mode=mode))
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{forum.redirect_uri}&error=invalid_request&")
        assert "#" not in answer.headers["location"]


async def test_a_wrong_address_is_never_posted_to(house: House, forum: Site) -> None:
    """Whatever way was asked for, a page comes first (catalogue 5, 9)."""
    for uri in ("https://evil.test/", "javascript:alert(1)", forum.redirect_uri + "&more=1"):
        url = forum.request_url(redirect_uri=uri, response_mode="form_post")
        answer = await house.browser().send("GET", url)
        assert answer.status_code == 400
        assert form_action(answer) == "form-action 'self'"
        assert "post-back" not in answer.text


async def test_a_site_that_does_not_ask_is_answered_by_redirect(house: House) -> None:
    wiki, ana = house.site("wiki"), await member(house)
    await connect(ana, wiki)
    answer = await ana.send("GET", wiki.request_url())
    assert answer.status_code == 303
    assert "post-back" not in answer.text


@pytest.mark.parametrize(
    ("netloc", "source"),
    [("127.0.0.1:4000", "http://127.0.0.1:4000"), ("[::1]:4000", "http:"), ("localhost", "http://localhost")],
)
def test_a_program_on_the_persons_own_machine_can_be_posted_to(netloc: str, source: str) -> None:
    """Its plain address is not upgraded; a policy has no words for IPv6 (RFC 8252 §7.3)."""
    response, headers = HTMLResponse(""), SecurityHeaders(secure=True)
    headers.posting_to(response, "http", netloc)
    headers.add(response)
    policies = response.headers.getlist("content-security-policy")
    assert len(policies) == 1
    assert f"; form-action {source};" in policies[0]
    assert "upgrade-insecure-requests" not in policies[0]

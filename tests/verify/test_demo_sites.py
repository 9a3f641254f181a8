"""The three demo sites against the stub provider, over real sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from verify_servers import Browser, Page, free_socket, serving, serving_wsgi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stub_op import CLIENT_ID, CLIENT_SECRET, StubOP

from broker.demo.sites import forum, tracker, wiki


@dataclass
class Demo:
    """A running demo site."""

    name: str
    url: str
    browser: Browser
    op: StubOP
    posting: list[dict[str, Any]]
    answer: list[tuple[int, dict[str, Any]]]

    def open(self, path: str) -> Page:
        return self.browser.open(self.url + path)

    def sign_in(self, path: str) -> Page:
        page = self.open(path)
        target = re.search(r'class="button" href="([^"]+)">Sign in', page.text)
        assert target, page.text
        return self.open(target[1].replace("&amp;", "&"))

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Page:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url, **(headers or {})}
        page = self.browser.send("POST", self.url + path, body=urlencode(form).encode(), headers=sent)
        target = page.header("location")
        return self.open(target) if target.startswith("/") else page


@pytest.fixture(params=["forum", "wiki", "tracker"])
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    op, listener, posting = StubOP(), free_socket(), []
    answers: list[tuple[int, dict[str, Any]]] = []

    async def take_posting(asked: Request) -> Response:
        posting.append({"auth": asked.headers["authorization"], **await asked.json()})
        status, body = answers[0]
        return JSONResponse(body, status)

    app = op.build_app()
    app.router.routes.append(Route("/posting/requests", take_posting, methods=["POST"]))
    with serving(app, listener) as issuer:
        op.issuer = issuer
        site = free_socket()
        url = f"http://localhost:{site.getsockname()[1]}"
        settings = {
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "public_url": url,
        }
        module = {"forum": forum, "wiki": wiki, "tracker": tracker}[request.param]
        serve = serving_wsgi if module is wiki else serving
        with serve(module.create_app(**settings), site):
            yield Demo(request.param, url, Browser(), op, posting, answers)


PAGES = {"forum": "/t/1", "wiki": "/page/Compost", "tracker": "/issues/0"}
only = pytest.mark.parametrize


def test_reading_is_public_and_every_page_says_it_is_a_demo(demo: Demo) -> None:
    for path in ("/", PAGES[demo.name], "/nowhere"):
        page = demo.open(path)
        assert "Demo site." in page.text
        assert "<script" not in page.text
        assert 'lang="en"' in page.text
        assert page.text.count("<h1>") == 1
        assert page.header("content-security-policy").startswith("default-src 'none'")
        assert page.status == (404 if path == "/nowhere" else 200)
    assert demo.open("/style.css").status == 200


def test_signing_in_returns_to_the_page_and_shows_exactly_the_shared_fields(demo: Demo) -> None:
    page = demo.sign_in(PAGES[demo.name])
    assert page.url == demo.url + PAGES[demo.name]
    assert "Signed in as <strong>Ann Été</strong>" in page.text
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td>([^<]+)</td>', demo.open("/me").text)
    assert rows == [("Your subject at this site", "subject-1"), ("User name", "ann"), ("Name", "Ann Été")]
    assert "Sign out everywhere" in page.text
    assert demo.op.issuer + "/signout" in page.text


def test_me_sends_an_anonymous_visitor_to_sign_in(demo: Demo) -> None:
    assert demo.open("/me").url == demo.url + "/me"
    assert demo.op.calls["/authorize"] == 1


def test_refusing_leads_back_with_one_plain_message(demo: Demo) -> None:
    demo.op.faults.add("error access_denied")
    page = demo.sign_in(PAGES[demo.name])
    assert page.url == demo.url + PAGES[demo.name]
    assert "You did not sign in." in page.text
    assert "You did not sign in." not in demo.open(PAGES[demo.name]).text


def test_sign_out_ends_it_here_and_goes_on_to_the_broker(demo: Demo) -> None:
    page = demo.sign_in("/")
    form = re.search(r'action="([^"]+)"><button class="quiet">Sign out', page.text)
    assert form
    page = demo.post(form[1])
    assert page.header("refresh").startswith(f"0; url={demo.op.issuer}/end-session?")
    assert "id_token_hint=" in page.header("refresh")
    assert "Sign in</a>" in demo.open("/").text


def test_a_form_from_elsewhere_is_refused(demo: Demo) -> None:
    demo.sign_in("/")
    path = {"forum": "/topics", "wiki": "/edit/Compost", "tracker": "/issues"}[demo.name]
    page = demo.post(path, {"Origin": "https://evil.example"}, title="Spam", text="Spam")
    assert page.status == 403
    assert "Spam" not in demo.open("/").text


def test_writing_works_and_markup_is_only_text(demo: Demo) -> None:
    demo.sign_in("/")
    path = {"forum": "/topics", "wiki": "/edit/Mulch", "tracker": "/issues"}[demo.name]
    page = demo.post(path, title="Mulch <b>", text="<script>alert(1)</script>")
    assert page.status == 200
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text


def test_back_channel_logout_signs_the_person_out(demo: Demo) -> None:
    """catalogue 105, as the receiver"""
    demo.sign_in("/")
    path = "/backchannel" if demo.name == "tracker" else "/_login/backchannel"
    for token, status in ((demo.op.logout_token(typ="JWT"), 400), (demo.op.logout_token(), 200)):
        assert "Signed in as" in demo.open("/").text
        page = Browser().send(
            "POST",
            demo.url + path,
            body=f"logout_token={quote(token)}".encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert page.status == status
    assert "Signed in as" not in demo.open("/").text


def test_an_outage_is_a_page_that_says_so(demo: Demo) -> None:
    demo.op.faults.add("down")
    target = re.search(r'class="button" href="([^"]+)">Sign in', demo.open("/").text)
    assert target
    page = demo.open(target[1])
    assert page.status == 503
    assert "cannot be reached" in page.text


ISSUER_PATHS = [
    (
        (201, {"outcome": "needs_person", "continue_url": "{issuer}/posting/1"}),
        "You decide first",
        "{issuer}/posting/1",
    ),
    (
        (403, {"error": "posting_not_permitted", "opt_in_url": "{issuer}/account/posting"}),
        "Posting is off",
        None,
    ),
    ((201, {"outcome": "needs_person", "continue_url": "https://evil.example/"}), "Nothing was posted", None),
    ((201, {"outcome": "posted"}), "It was posted", None),
    ((400, {"error": "invalid_request"}), "Nothing was posted", None),
    ((429, {"error": "temporarily_unavailable"}), "asked too often", None),
    ((500, {}), "may be away", None),
]


@only("demo", ["forum"], indirect=True)
@only(("answer", "words", "refresh"), ISSUER_PATHS)
def test_each_posting_outcome_is_said_in_words(
    demo: Demo, answer: tuple[int, dict[str, str]], words: str, refresh: str | None
) -> None:
    body = {name: value.replace("{issuer}", demo.op.issuer) for name, value in answer[1].items()}
    demo.answer.append((answer[0], body))
    demo.sign_in("/")
    topic = demo.post("/topics", title="Mulch", text="Leaves are good")
    path = topic.url.removeprefix(demo.url)
    page = demo.post(path + "/share", post="0")
    assert words in page.text
    assert page.header("refresh") == (f"0; url={refresh.replace('{issuer}', demo.op.issuer)}" if refresh else "")
    assert demo.posting[0]["sub"] == "subject-1"
    assert demo.posting[0]["text"] == "Leaves are good"
    assert demo.posting[0]["return_to"] == topic.url
    assert demo.posting[0]["auth"].startswith("Basic ")


@only("demo", ["forum"], indirect=True)
def test_each_network_has_a_button_of_its_own(demo: Demo) -> None:
    demo.sign_in("/")
    topic = demo.post("/topics", title="Mulch", text="Leaves are good")
    path = topic.url.removeprefix(demo.url)
    offered = re.findall(r'name="network" value="(\w+)"', topic.text)
    assert offered == ["facebook", "openid"]
    for network in offered:
        opt_in = f"{demo.op.issuer}/posting/opt-in"
        demo.answer.append((403, {"error": "posting_not_permitted", "opt_in_url": opt_in}))
        page = demo.post(path + "/share", post="0", network=network)
        assert f'href="{opt_in}"' in page.text
    assert [asked["provider"] for asked in demo.posting] == offered
    assert demo.post(path + "/share", post="0", network="elsewhere").status == 404
    assert len(demo.posting) == len(offered)


@only("demo", ["forum"], indirect=True)
def test_only_ones_own_post_can_be_shared(demo: Demo) -> None:
    demo.sign_in("/")
    assert demo.post("/t/0/share", post="0").status == 403
    assert demo.post("/t/0/share", post="9").status == 404
    assert not demo.posting


@only("demo", ["forum"], indirect=True)
@only(
    "outcome",
    ["allowed", "posted", "declined", "needs_person", "not_permitted", "failed", "unknown", "sending", "undone"],
)
def test_the_page_one_returns_to_says_what_became_of_the_post(demo: Demo, outcome: str) -> None:
    assert 'role="status"' in demo.open(f"/t/0?posting={outcome}&posting_id=1").text
    assert 'role="status"' not in demo.open("/t/0?posting=<script>").text


@only("demo", ["tracker"], indirect=True)
@only(
    "changes",
    [{"nonce": "x"}, {"aud": "wiki"}, {"iss": "https://evil.example"}, {"sub": "somebody-else"}],
    ids=str,
)
def test_the_tracker_refuses_a_wrong_id_token(demo: Demo, changes: dict[str, Any]) -> None:
    demo.op.id_changes = changes
    assert demo.sign_in("/").status == 400
    assert "Signed in as" not in demo.open("/").text


@only("fault", ["no response iss", "wrong response iss"])
def test_an_answer_that_does_not_name_the_broker_signs_nobody_in(demo: Demo, fault: str) -> None:
    """RFC 9207 §2.4: discovery promises the name, so its absence is as wrong as another one (catalogue 13)."""
    demo.op.faults.add(fault)
    assert demo.sign_in("/").status == 400
    assert "/token" not in demo.op.calls
    assert "Signed in as" not in demo.open("/").text
    demo.op.faults.clear()
    assert "Signed in as" in demo.sign_in("/").text

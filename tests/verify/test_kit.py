"""The whole way through the kit, on real sockets, for ASGI and WSGI alike."""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest


def test_signing_in_returns_to_the_page_one_came_from(any_site: Any) -> None:
    page = any_site.sign_in("/who%3Fa%3D1")
    assert page.url == any_site.url + "/who?a=1"
    assert json.loads(page.text)["sub"] == "subject-1"
    assert json.loads(page.text)["name"] == "Ann Été"


def test_the_request_carries_pkce_state_nonce_and_nothing_of_the_secret(any_site: Any) -> None:
    any_site.sign_in()
    asked = any_site.op.requests[0]
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    assert asked["redirect_uri"] == any_site.url + "/_login/callback"
    assert "client_secret" not in asked
    second = any_site.sign_in()
    assert second.status == 200
    assert any_site.op.requests[1]["state"] != asked["state"]


def test_cookies_are_host_only_and_out_of_reach_of_scripts(any_site: Any) -> None:
    start = any_site.browser.open(any_site.url + "/_login/start", follow=False)
    for cookie in start.set_cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Domain" not in cookie
        assert "Path=/" in cookie


def test_https_sites_use_host_prefixed_secure_cookies(op: Any) -> None:
    from verify_sites import build_kit

    kit = build_kit(op, "https://forum.example.org")
    assert kit.cookies.session.startswith("__Host-forum_")
    assert kit.cookies.set(kit.cookies.session, "x").endswith("; Secure")


def test_several_tabs_can_sign_in_at_once(any_site: Any) -> None:
    browser = any_site.browser
    first = browser.open(any_site.url + "/_login/start?next=/who?tab=1", follow=False).header("location")
    second = browser.open(any_site.url + "/_login/start?next=/who?tab=2", follow=False).header("location")
    assert browser.open(second).url.endswith("tab=2")
    assert browser.open(first).url.endswith("tab=1")


def test_the_broker_may_name_the_page_that_a_person_wants(any_site: Any) -> None:
    """OpenID Connect Core §4: with the start as `initiate_login_uri`. An address of anybody else's is none."""
    browser, start = any_site.browser, f"{any_site.url}/_login/start?iss=https://login.example.org&target_link_uri="
    assert browser.open(f"{start}{any_site.url}/who?tab=3").url.endswith("/who?tab=3")
    for target in (
        "https://evil.example/who",
        f"{any_site.url}.evil.example/who",
        f"{any_site.url}//evil.example/",
        "/who",
    ):
        arrived = browser.open(start + target)
        assert arrived.status == 200
        assert arrived.url == f"{any_site.url}/", target


def test_a_fifth_tab_drops_the_oldest(any_site: Any) -> None:
    browser = any_site.browser
    starts = [browser.open(any_site.url + "/_login/start", follow=False) for _ in range(6)]
    kept = [name for name in browser.cookies if any_site.kit.cookies.is_transaction(name)]
    assert len(kept) == 4
    assert browser.open(starts[0].header("location")).status == 400
    assert browser.open(starts[5].header("location")).status == 200


def test_a_callback_in_another_browser_signs_nobody_in(any_site: Any) -> None:
    """Login CSRF: the state is bound to a cookie of the browser that started."""
    from verify_servers import Browser

    location = any_site.browser.open(any_site.url + "/_login/start", follow=False).header("location")
    other = Browser()
    assert other.open(location).status == 400
    assert any_site.who(other)["sub"] is None
    assert any_site.op.calls.get("/token", 0) == 0


def test_a_callback_cannot_be_used_twice(any_site: Any) -> None:
    browser = any_site.browser
    location = browser.open(any_site.url + "/_login/start", follow=False).header("location")
    callback = browser.open(location, follow=False).header("location")
    assert browser.open(callback).status == 200
    assert browser.open(callback).status == 400
    assert any_site.op.calls["/token"] == 1


@pytest.mark.parametrize(
    "fault",
    ["wrong response iss", "no response iss", "no id_token", "no session_token", "id token as session"],
)
def test_a_wrong_answer_signs_nobody_in(any_site: Any, fault: str) -> None:
    """catalogue 76: an ID token is no session token; RFC 9207 mix-up answers are dropped."""
    any_site.op.faults.add(fault)
    assert any_site.sign_in().status == 400
    assert any_site.who()["sub"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "wiki"},
        {"aud": ["forum", "wiki"]},
        {"azp": "wiki"},
        {"iss": "https://evil.example"},
        {"sub": "somebody-else"},
        {"sub": None},
        {"exp": 1},
        {"iat": 4_000_000_000},
    ],
    ids=str,
)
def test_a_wrong_id_token_signs_nobody_in(site: Any, changes: dict[str, Any]) -> None:
    site.op.id_changes = changes
    assert site.sign_in().status == 400
    assert site.who()["sub"] is None


def test_a_broker_that_never_promised_to_name_itself_need_not(site: Any) -> None:
    """RFC 9207 §2.4: but where it does, the name has to be right."""
    site.op.faults |= {"no promise of iss", "no response iss"}
    assert site.sign_in().status == 200
    site.op.faults = {"no promise of iss", "wrong response iss"}
    assert site.sign_in().status == 400


def test_repeated_parameters_in_a_callback_are_refused(site: Any) -> None:
    location = site.browser.open(site.url + "/_login/start", follow=False).header("location")
    callback = site.browser.open(location, follow=False).header("location")
    assert site.browser.open(callback + "&code=x", follow=False).status == 400
    assert site.op.calls.get("/token", 0) == 0


def test_a_planted_session_does_not_survive_a_sign_in(any_site: Any) -> None:
    """catalogue 93"""
    any_site.set_token(sub="attacker", sid="attacker-sid")
    any_site.sign_in()
    assert any_site.who()["sub"] == "subject-1"


def test_two_session_cookies_are_no_session(any_site: Any) -> None:
    """catalogue 94: one of them was tossed in by a neighbour; nobody can say which."""
    any_site.sign_in()
    name, token = any_site.kit.cookies.session, any_site.browser.cookies[any_site.kit.cookies.session]
    other = any_site.op.session_token(sub="attacker")
    for cookie in (f"{name}={token}; {name}={other}", f"{name}={other}; {name}={token}"):
        page = any_site.browser.send("GET", any_site.url + "/who", headers={"Cookie": cookie})
        assert json.loads(page.text)["sub"] is None


@pytest.mark.parametrize(
    "value",
    ["", "x", "a.b.c", "A" * 6000, "..", "%00", "a.b.c.d", '"quoted"', "é".encode().decode("latin-1")],
)
def test_a_broken_cookie_is_an_anonymous_visitor(any_site: Any, value: str) -> None:
    """catalogue 95"""
    for name in (any_site.kit.cookies.session, any_site.kit.cookies.handle, any_site.kit.cookies.notice):
        page = any_site.browser.send("GET", any_site.url + "/who", headers={"Cookie": f"{name}={value}"})
        assert page.status == 200
        assert json.loads(page.text)["sub"] is None
        any_site.browser.cookies.clear()


def test_an_expired_token_is_renewed_before_a_form_is_handled(any_site: Any) -> None:
    any_site.sign_in()
    old = any_site.op.session_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    any_site.browser.cookies[any_site.kit.cookies.session] = old
    page = any_site.browser.send("POST", any_site.url + "/private", body=b"a long text")
    assert page.status == 200
    assert json.loads(page.text) | {"identity": 0} == {
        "sub": "subject-1",
        "body": "a long text",
        "identity": 0,
    }
    assert any_site.browser.cookies[any_site.kit.cookies.session] != old
    assert "no-store" in page.header("cache-control")
    assert any_site.op.calls["refresh"] == 1


def test_a_missing_token_is_renewed_from_the_handle(any_site: Any) -> None:
    any_site.sign_in()
    del any_site.browser.cookies[any_site.kit.cookies.session]
    assert any_site.who()["sub"] == "subject-1"


def test_many_requests_with_one_expired_token_renew_once(any_site: Any) -> None:
    any_site.sign_in()
    any_site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    any_site.op.delay = 0.2
    jar = dict(any_site.browser.cookies)
    found: list[Any] = []

    def load() -> None:
        from verify_servers import Browser

        found.append(any_site.who(Browser(cookies=dict(jar)))["sub"])

    threads = [threading.Thread(target=load) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["subject-1"] * 12
    assert any_site.op.calls["refresh"] == 1


def test_a_lost_answer_can_be_repeated_for_thirty_seconds(any_site: Any) -> None:
    any_site.sign_in()
    any_site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    from verify_servers import Browser

    jar = dict(any_site.browser.cookies)
    for _ in range(3):
        assert any_site.who(Browser(cookies=dict(jar)))["sub"] == "subject-1"
    assert any_site.op.calls["refresh"] == 1


def test_where_renewal_fails_a_page_load_goes_to_sign_in_and_anything_else_gets_401(any_site: Any) -> None:
    any_site.sign_in()
    any_site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    any_site.op.faults |= {"refuse refresh", "error login_required"}
    jar = dict(any_site.browser.cookies)
    page = any_site.browser.send("POST", any_site.url + "/private", body=b"text")
    assert page.status == 401
    assert page.header("content-type") == "application/problem+json"
    assert json.loads(page.text)["code"] == "expired"
    any_site.browser.cookies = jar
    page = any_site.browser.open(any_site.url + "/who?x=1", follow=False)
    assert page.status == 303
    assert urlsplit(page.header("location")).path == "/_login/start"
    assert any_site.browser.open(any_site.url + page.header("location")).url == any_site.url + "/who?x=1"
    assert any_site.op.requests[-1]["prompt"] == "none"


def test_a_renewal_for_another_person_is_refused(site: Any) -> None:
    site.sign_in()
    site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    site.op.sub = "somebody-else"
    assert site.browser.send("POST", site.url + "/private").status == 401


def test_an_outage_is_503_and_signs_nobody_out(any_site: Any) -> None:
    any_site.sign_in()
    any_site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    any_site.op.faults.add("down")
    before = dict(any_site.browser.cookies)
    page = any_site.browser.open(any_site.url + "/who")
    assert page.status == 503
    assert "still are" in page.text
    assert page.header("retry-after")
    page = any_site.browser.send("POST", any_site.url + "/private")
    assert page.status == 503
    assert json.loads(page.text)["code"] == "keys_unavailable"
    assert any_site.browser.cookies == before
    any_site.op.faults.clear()
    assert any_site.who()["sub"] == "subject-1"


def test_declining_leads_back_with_a_notice_that_shows_once(any_site: Any) -> None:
    any_site.op.faults.add("error access_denied")
    page = any_site.sign_in("/who?p=2")
    assert page.url.endswith("/who?p=2")
    assert json.loads(page.text) | {"identity": 0} == {
        "sub": None,
        "sid": None,
        "name": None,
        "notice": "declined",
        "identity": 0,
    }
    assert any_site.who()["notice"] is None


def test_sign_out_clears_both_cookies_and_the_copy_is_dead(any_site: Any) -> None:
    any_site.sign_in()
    jar = dict(any_site.browser.cookies)
    page = any_site.browser.send("POST", any_site.url + "/_login/logout", headers={"Origin": any_site.url})
    assert page.status == 200
    target = re.sub(r"^0; url=", "", page.header("refresh"))
    query = parse_qs(urlsplit(target).query)
    assert urlsplit(target).path == "/end-session"
    assert query["post_logout_redirect_uri"] == [any_site.url + "/"]
    assert query["client_id"] == ["forum"]
    assert query["id_token_hint"][0].count(".") == 2
    assert not any_site.browser.cookies
    assert len(any_site.op.revoked) == 1
    from verify_servers import Browser

    assert any_site.who(Browser(cookies=jar))["sub"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "https://evil.example/"},
    ],
    ids=str,
)
def test_sign_out_from_elsewhere_is_refused(any_site: Any, headers: dict[str, str]) -> None:
    any_site.sign_in()
    assert any_site.browser.send("POST", any_site.url + "/_login/logout", headers=headers).status == 403
    assert any_site.browser.open(any_site.url + "/_login/logout").status == 405
    assert any_site.who()["sub"] == "subject-1"


def _backchannel(site: Any, token: str) -> Any:
    return site.browser.send(
        "POST",
        site.url + "/_login/backchannel",
        body=f"logout_token={quote(token)}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Cookie": ""},
    )


@pytest.mark.parametrize("changes", [{}, {"sub": "subject-1", "sid": None}, {"sub": "subject-1"}], ids=str)
def test_a_logout_token_ends_the_session_at_once(any_site: Any, changes: dict[str, Any]) -> None:
    """catalogue 105, as the receiver"""
    any_site.sign_in()
    page = _backchannel(any_site, any_site.op.logout_token(**changes))
    assert page.status == 200
    assert page.header("cache-control") == "no-store"
    jar = dict(any_site.browser.cookies)
    assert any_site.who()["sub"] is None
    any_site.browser.cookies = jar
    page = any_site.browser.send("POST", any_site.url + "/private")
    assert page.status == 401
    assert json.loads(page.text)["code"] == "revoked"


def test_a_later_sign_in_is_not_touched_by_an_older_logout_token(site: Any) -> None:
    token = site.op.logout_token(iat=int(time.time()) - 5, exp=int(time.time()) + 60)
    assert _backchannel(site, token).status == 200
    site.sign_in()
    assert site.who()["sub"] == "subject-1"


def test_who_comes_back_within_the_second_of_a_sign_out_is_let_in(any_site: Any) -> None:
    """Sharing was stopped in the broker, which ends what the site has; and then the site is opened again at once."""
    any_site.sign_in()
    at = int(time.time()) + 1
    assert _backchannel(any_site, any_site.op.logout_token(iat=at, exp=at + 60)).status == 200
    any_site.browser.cookies = {}
    time.sleep(max(0.0, at - time.time()))
    any_site.sign_in()
    assert any_site.op.calls["refresh"] == 1, "it was made in the same second"
    assert any_site.who()["sub"] == "subject-1"


def test_a_session_that_was_ended_while_somebody_came_back_lets_nobody_in(site: Any) -> None:
    """catalogue 105, as the receiver: the broker has the last word."""
    at = int(time.time()) + 1
    assert _backchannel(site, site.op.logout_token(iat=at, exp=at + 60)).status == 200
    site.op.faults.add("refuse refresh")
    time.sleep(max(0.0, at - time.time()))
    page = site.browser.open(site.url + "/private")
    assert (page.status, "did not finish the sign-in" in page.text) == (400, True)
    assert site.who()["sub"] is None


EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.mark.parametrize(
    ("typ", "changes"),
    [
        ("JWT", {}),
        (None, {}),
        ("session+jwt", {}),
        ("at+jwt", {}),
        ("secevent+jwt", {}),
        ("logout+jwt", {"nonce": "n"}),
        ("logout+jwt", {"events": None}),
        ("logout+jwt", {"events": {}}),
        ("logout+jwt", {"events": {EVENT: True}}),
        ("logout+jwt", {"events": [EVENT]}),
        ("logout+jwt", {"sid": None}),
        ("logout+jwt", {"sid": 7}),
        ("logout+jwt", {"jti": None}),
        ("logout+jwt", {"aud": "wiki"}),
        ("logout+jwt", {"iss": "https://evil.example"}),
        ("logout+jwt", {"exp": 1}),
        ("logout+jwt", {"exp": None}),
        ("logout+jwt", {"iat": None}),
        ("logout+jwt", {"exp": 4_000_000_000}),
    ],
    ids=str,
)
def test_a_wrong_logout_token_ends_nothing(site: Any, typ: str | None, changes: dict[str, Any]) -> None:
    """catalogue 105, 76"""
    site.sign_in()
    assert _backchannel(site, site.op.logout_token(typ=typ, **changes)).status == 400
    assert site.who()["sub"] == "subject-1"


def test_a_logout_token_is_taken_once(site: Any) -> None:
    """catalogue 105"""
    token = site.op.logout_token()
    assert [_backchannel(site, token).status for _ in range(2)] == [200, 400]


def test_back_channel_takes_only_a_form(site: Any) -> None:
    page = site.browser.send(
        "POST",
        site.url + "/_login/backchannel",
        body=json.dumps({"logout_token": site.op.logout_token()}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert page.status == 400
    page = site.browser.send(
        "POST",
        site.url + "/_login/backchannel",
        body=b"logout_token=" + b"a" * 100_000,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert page.status == 413


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer {good}", 200),
        ("bearer {good}", 200),
        ("BEARER {good}", 200),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer\t{good}", 200),
        ("Bearer {good} x", 401),
        ("Bearer {good},{good}", 401),
        ("Bearer é", 401),
        ("Bearer " + "A" * 9000, 401),
        ("Basic Zm9vOmJhcg==", 200),
    ],
)
def test_bearer_parsing_never_fails_with_a_server_error(any_site: Any, header: str, status: int) -> None:
    """catalogue 79, 74"""
    value = header.replace("{good}", any_site.op.session_token(sub="api"))
    page = any_site.browser.send("GET", any_site.url + "/who", headers={"Authorization": value})
    assert page.status == status
    if status == 401:
        assert json.loads(page.text)["code"] == "malformed"
        assert page.header("www-authenticate").startswith("Bearer")


def test_bearer_beats_cookie(any_site: Any) -> None:
    """catalogue 79"""
    any_site.sign_in()
    assert any_site.who(Authorization="Bearer " + any_site.op.session_token(sub="api"))["sub"] == "api"


def test_a_page_that_needs_a_session_sends_people_to_sign_in_and_programs_away(any_site: Any) -> None:
    page = any_site.browser.open(any_site.url + "/private?a=b", follow=False)
    assert page.status == 303
    assert page.header("location") == "/_login/start?next=/private%3Fa%3Db"
    page = any_site.browser.send("GET", any_site.url + "/private", headers={"Accept": "application/json"})
    assert page.status == 401
    assert json.loads(page.text)["code"] == "missing"


def test_a_step_up_asks_for_a_fresh_sign_in(site: Any) -> None:
    site.op.auth_time = int(time.time()) - 4000
    site.sign_in()
    page = site.browser.open(site.url + "/fresh", follow=False)
    assert "max_age=300" in page.header("location")
    page = site.browser.send("POST", site.url + "/_login/start")
    assert page.status == 405
    assert site.browser.open(site.url + "/fresh").status == 400
    site.op.auth_time = int(time.time())
    assert json.loads(site.browser.open(site.url + "/_login/start?next=/fresh&max_age=60").text) == {"fresh": True}
    assert site.op.requests[-1]["max_age"] == "60"


def test_whoever_confirms_as_somebody_else_changes_nothing(site: Any) -> None:
    site.op.auth_time = int(time.time()) - 4000
    site.sign_in()
    before, cookies = site.who(), dict(site.browser.cookies)
    site.op.sub, site.op.auth_time = "somebody-else", int(time.time())
    page = site.browser.open(site.url + "/_login/start?next=/fresh&max_age=300")
    assert (page.status, "That was another account" in page.text) == (403, True)
    assert "/_login/start?next=/fresh&amp;max_age=300" in page.text
    assert site.who() == before
    assert dict(site.browser.cookies) == cookies
    assert site.op.calls["/revoke"] == 1  # what came for somebody else is given back


def test_a_step_up_says_who_is_to_confirm(site: Any) -> None:
    page = site.browser.open(site.url + "/_login/start?next=/fresh&max_age=300", follow=False)
    assert "id_token_hint" not in page.header("location")
    site.sign_in()
    site.browser.open(site.url + "/_login/start?next=/fresh&max_age=300")
    payload = site.op.requests[-1]["id_token_hint"].split(".")[1]
    assert json.loads(urlsafe_b64decode(payload + "=="))["sub"] == site.who()["sub"]
    site.browser.open(site.url + "/_login/start?next=/")
    assert "id_token_hint" not in site.op.requests[-1]


def test_a_broker_that_refuses_somebody_else_leaves_who_was_signed_in(site: Any) -> None:
    site.sign_in()
    before = site.who()
    site.op.faults.add("error login_required")
    page = site.browser.open(site.url + "/_login/start?next=/fresh&max_age=300")
    assert (page.status, "That was another account" in page.text) == (403, True)
    site.op.faults.clear()
    assert site.who() == before


def test_no_log_line_quotes_a_person_or_a_token(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="doorward_verify")
    site.sign_in()
    site.set_token(iat=int(time.time()) - 900, exp=int(time.time()) - 1, auth_time=1)
    site.op.faults.add("refuse refresh")
    site.browser.send("POST", site.url + "/private")
    site.op.faults = {"error <b>canary@example.org"}
    site.sign_in()
    assert "invalid_grant" in caplog.text
    assert "unreadable" in caplog.text
    for canary in ("canary", "Ann", "subject-1", "sid-1", "eyJ"):
        assert canary not in caplog.text

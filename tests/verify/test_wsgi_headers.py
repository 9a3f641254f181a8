"""Identity a client claims for itself never reaches a WSGI site."""

from __future__ import annotations

import json
from typing import Any

import pytest
from doorward_verify.wsgi import WSGISession
from stub_op import StubOP
from verify_sites import build_kit, wsgi_site

FORGED = ["Remote-User", "Remote_User", "REMOTE-USER", "remote_user", "Remote-Groups", "Remote-Email", "Remote-Name",
          "X-Remote-User", "X_Remote_User", "X-Login-Assertion", "Remote-Anything", "Remote_Groups"]  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "PUT"])
def test_forged_identity_headers_are_deleted(wsgi: Any, name: str, method: str) -> None:
    """catalogue 142"""
    page = wsgi.browser.send(method, wsgi.url + "/who", headers={name: "admin"})
    assert page.status == 200
    assert "admin" not in page.text
    if method != "HEAD":
        assert json.loads(page.text)["identity"] == {"REMOTE_USER": None}


def test_a_server_set_remote_user_does_not_get_through_either() -> None:
    """catalogue 142: every spelling in the environment itself"""
    from doorward_verify.wsgi import remove_forged

    environ: dict[str, Any] = {
        "REMOTE_USER": "a", "HTTP_REMOTE_USER": "a", "http_remote_user": "a", "HTTP_REMOTE-USER": "a",
        "AUTH_TYPE": "a", "community.session": "a", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "h",
    }  # fmt: skip
    remove_forged(environ)
    assert environ == {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "h"}


def test_a_signed_in_person_is_remote_user_whatever_they_send(wsgi: Any) -> None:
    """catalogue 142"""
    wsgi.sign_in()
    page = wsgi.browser.open(wsgi.url + "/who", **{"Remote-User": "admin"})
    assert json.loads(page.text)["identity"] == {"REMOTE_USER": "subject-1"}


def test_remote_user_stays_the_same_when_a_person_changes_their_name(wsgi: Any) -> None:
    """Names change and are shared or not; records kept by them would pass into other hands or be lost."""
    wsgi.sign_in()
    before = wsgi.who()["identity"]
    for shared in ({"preferred_username": "anna"}, {}):
        wsgi.op.shared = shared
        wsgi.sign_in()
        assert wsgi.who()["identity"] == before == {"REMOTE_USER": "subject-1"}


def test_old_software_may_have_the_user_name_instead(op: StubOP) -> None:
    """Without a shared one the subject stands in, marked as such."""
    kit = build_kit(op, "http://localhost:8000")
    app = WSGISession(wsgi_site, kit, set_remote_user=True, remote_user="username")

    def remote_user() -> Any:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/who",
            "HTTP_AUTHORIZATION": f"Bearer {op.session_token()}",
        }
        return json.loads(b"".join(app(environ, lambda *_: None)))["identity"]["REMOTE_USER"]

    assert remote_user() == "ann"
    op.shared = {}
    assert remote_user() == "sub:subject-1"

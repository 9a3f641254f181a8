"""What may be sent and asked, as the code has it: forms of ours, posting scopes nowhere, cookies on their page."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
from tests.support.source import ROOT, product_modules, tree

from broker.web.cookies import Cookies
from broker.web.guards import GUARDS, Guard
from broker.web.routes import ROUTES
from providers.facebook import Facebook
from providers.preset import is_posting_scope

FORMS = {Guard.BROWSER, Guard.TRANSACTION, Guard.SIGNED_IN, Guard.FRESH}
"""Guards that want a form of ours with its token."""
SERVERS = {
    "/token", "/oauth/token", "/par", "/par/{provider}/limited-login", "/device-authorization", "/introspect", "/revoke", "/events", "/events/stream", "/events/status", "/events/subjects/add", "/events/subjects/remove", "/events/verify", "/userinfo", "/register", "/authorize", "/sign-in/with", "/end-session", "/posting/requests",
    "/hooks/{provider}/deauthorize", "/hooks/{provider}/deletion", "/hooks/{provider}/notice", "/hooks/{provider}/logout", "/callback/{provider}",
}  # fmt: skip
"""What is POSTed by sites and providers: no cookie of ours counts there."""


def test_every_guard_is_there() -> None:
    assert set(GUARDS) == set(Guard)


def test_what_people_send_wants_a_form_of_ours() -> None:
    for route in ROUTES:
        if route.method == "POST":
            assert (route.guard in FORMS) != (route.path in SERVERS), route.path


def test_no_page_changes_anything_by_being_opened() -> None:
    """GET routes have names of things, not of deeds; what they may set is a language and a new sign-in.
    A provider's frame, which can send nothing else, is called what it tells of."""
    deeds = {"remove", "stop", "disconnect", "end", "off", "close_now", "undo", "create", "delete"}
    for route in ROUTES:
        if route.method == "GET":
            assert not deeds & set(route.path.strip("/").split("/")), route.path


def test_templates_post_forms_with_their_token_and_escape_everything() -> None:
    """In the files themselves, whatever the gallery happens to show (catalogue 97, 111, 146)."""
    templates = sorted((ROOT / "templates").rglob("*.html"))
    assert len(templates) > 25
    for path in templates:
        text = path.read_text(encoding="utf-8")
        for form in re.finditer(r"<form\b[^>]*>(.{0,16})", text, re.DOTALL):
            wants = 'method="post"' in form[0] and 'id="post-back"' not in form[0]  # that one is for a site
            assert form[1].startswith("{{ csrf }}") == wants, f"{path.name}: {form[0]}"
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup\(", text), path.name
        forbidden = r"<style|\son[a-z]+=|javascript:|<script(?![^>]*\bsrc=)"
        if path.parent.name != "email":  # letters have no policy, and mail programs know no other style
            forbidden += "|style="
        assert not re.search(forbidden, text), path.name


def test_no_posting_scope_is_asked_at_sign_in() -> None:
    """In the presets we ship and in the provider's own defaults (catalogue 189)."""
    asked = set(re.findall(r'"([a-z_]+)"', (ROOT / "providers" / "facebook.py").read_text(encoding="utf-8")))
    assert "public_profile" in asked
    assert not {scope for scope in asked if is_posting_scope(scope)}
    for path in (ROOT / "config" / "providers.toml", ROOT / "broker/demo/config/providers.toml"):
        for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if isinstance(table, dict):
                assert not [scope for scope in table.get("scopes", ()) if is_posting_scope(scope)], name
    assert Facebook.__module__ == "providers.facebook"


@pytest.mark.parametrize(
    "scope", ["publish_actions", "write:statuses", "pages_manage_posts", "w_member_social", "https://x/auth/youtube"]
)
def test_a_posting_scope_is_known_as_one(scope: str) -> None:
    """catalogue 189."""
    assert is_posting_scope(scope)


@pytest.mark.parametrize("secure", [True, False])
def test_every_cookie_there_is_stands_on_the_cookie_page(secure: bool) -> None:
    """Whatever name the class holds is in the list that the page is made from."""
    cookies = Cookies(key=b"0" * 32, secure=secure, port=8000, asks_age=True, keeps_state=True, has_gates=True)
    told = {notice.name.rstrip("…") for notice in cookies.notices}
    held = {value for name, value in vars(cookies).items() if name.endswith(("_name", "_prefix"))}
    assert held == told
    assert all(name.startswith("__Host-") for name in held) == secure


def test_only_one_place_sets_cookies() -> None:
    for path in product_modules():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("broker/web/cookies.py", "broker/demo/", "providers/sandbox/", "broker/verify/")):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"set_cookie", "delete_cookie"}, f"{name}:{node.lineno}"


def test_no_answer_asks_to_repeat_a_form() -> None:
    """Statuses 307 and 308 are in no module (catalogue 14)."""
    for path in product_modules():
        if "/sandbox/" in path.as_posix():
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
                assert node.value not in {307, 308}, f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"}, f"{path.name}:{node.lineno}"


def test_nothing_is_printed_and_nothing_logged_past_the_log() -> None:
    """`broker/telemetry.py` is the only way to a log (catalogue 151, 152)."""
    programs = (
        "broker/demo/",
        "broker/cli",
        "broker/__main__",
        "broker/verify/",
        "providers/sandbox/",
        "broker/server/",
    )
    for path in product_modules():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith((*programs, "broker/telemetry.py")):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{name}:{node.lineno}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert "logging" not in modules, f"{name}:{node.lineno}"


def test_no_random_or_clock_but_the_ones_handed_in() -> None:
    """`broker/chance.py` is their one home; ruff's banned list is not quietly emptied."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    banned = set(settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
    assert {"datetime.datetime.now", "time.time", "random", "secrets", "os.urandom", "uuid.uuid4"} <= banned
    ignores = settings["tool"]["ruff"]["lint"]["per-file-ignores"]
    allowed = {"broker/chance.py", "providers/sandbox/**", "broker/demo/**", "broker/verify/**", "tests/**"}
    assert {pattern for pattern, codes in ignores.items() if "TID251" in codes} <= allowed

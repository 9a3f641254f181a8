"""The kit's README, executed: every Python example runs as it stands, with only the broker's address replaced."""

from __future__ import annotations

import ast
import contextlib
import re
import tempfile
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from doorward_verify import Session, SessionError, SignInKit, Verifier
from doorward_verify.errors import STATUS
from doorward_verify.status_list import FRESH, MOST_BYTES, PAUSE, STALE
from doorward_verify.verifier import Mode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stub_op import CLIENT_SECRET, StubOP
from tests.support.client_keys import new_key, proof, thumbprint
from verify_servers import Browser, free_socket, serving

from broker.domain.status import KEEP, SIZE
from broker.flows.status import BLOCK, LOOK_EVERY

README = (Path(__file__).parents[2] / "broker" / "verify" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CHECK, ACCESS, BOUND, KIT, ASGI, WSGI, DJANGO = range(7)


def prepared(number: int, issuer: str) -> str:
    return str(BLOCKS[number]).replace("https://login.example.org", issuer)


def execute(number: int, names: dict[str, Any], issuer: str = "https://login.example.org") -> Any:
    """Run a block; gives the value of its last line where that is an expression."""
    tree = ast.parse(prepared(number, issuer))
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "README.md", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    return None


def test_there_is_one_example_for_everything() -> None:
    """A new example needs a test here."""
    assert len(BLOCKS) == 7


def test_the_first_example_checks_a_token(op: StubOP) -> None:
    names: dict[str, Any] = {"token": op.session_token()}
    execute(CHECK, names, op.issuer)
    assert isinstance(names["session"], Session)
    assert names["session"].sub == "subject-1"
    op.auth_time = 1
    with pytest.raises(SessionError, match="needs_recent_login"):
        execute(CHECK, {"token": op.session_token(auth_time=1)}, op.issuer)


def test_the_second_example_checks_an_access_token(op: StubOP) -> None:
    names: dict[str, Any] = {"token": op.access_token()}
    execute(ACCESS, names, op.issuer)
    assert (names["access"].client_id, "answer" in names) == ("forum", False)
    for token, challenge in (
        (op.access_token(scope="email"), 'Bearer error="insufficient_scope"'),
        (op.session_token(), 'Bearer error="invalid_token"'),
        ("", "Bearer"),
    ):
        names = {"token": token}
        execute(ACCESS, names, op.issuer)
        assert names["answer"][1] == {"WWW-Authenticate": challenge}


def test_the_example_for_bound_tokens_checks_a_request(op: StubOP) -> None:
    names: dict[str, Any] = {}
    execute(BOUND, names, op.issuer)
    key = new_key()
    token = op.access_token(cnf={"jkt": thumbprint(key)})

    def asked(path: str) -> Any:
        made = proof(key, "GET", f"https://api.forum.example.org{path}", datetime.now(UTC), token=token)
        sent = [(b"authorization", f"DPoP {token}".encode()), (b"dpop", made.encode()), (b"host", b"evil.example")]
        scope = {"type": "http", "method": "GET", "path": "/posts", "query_string": b"a=b", "headers": sent}
        return names["check"](Request(scope))

    assert asked("/posts") == thumbprint(key)
    status, headers, body = asked("/other")
    assert (status, b"htu" in body) == (401, True)
    assert headers["WWW-Authenticate"].startswith('DPoP error="invalid_dpop_proof"')


def made_kit(issuer: str) -> SignInKit:
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        secret = Path("secrets/forum.secret")
        secret.parent.mkdir()
        secret.write_text(f"{CLIENT_SECRET}\n")
        execute(KIT, names, issuer)
    kit: SignInKit = names["kit"]
    return kit


def test_the_addresses_to_register_are_the_kits_own(op: StubOP) -> None:
    kit = made_kit(op.issuer)
    assert "https://forum.example.org/_login/callback" in README
    assert "https://forum.example.org/_login/backchannel" in README
    for line in ("/_login/start", "/_login/callback", "/_login/logout", "/_login/backchannel"):
        assert kit.owns(line)
    assert kit.logout_path == "/_login/logout"
    assert kit.start_url("/page").startswith("/_login/start?next=")
    assert "max_age=300" in kit.fresh_url("/page", 300)


def test_the_asgi_example_guards_a_page(op: StubOP) -> None:
    names: dict[str, Any] = {"kit": made_kit(op.issuer)}

    async def write(request: Request) -> Response:
        await names["write"](request)
        return JSONResponse({"written": True})

    app = names["app"] = Starlette(routes=[Route("/write", write, methods=["POST"])])
    execute(ASGI, names)
    listener = free_socket()
    with serving(app, listener) as url:
        assert Browser().send("POST", f"{url}/write").status == 401
        bearer = {"Authorization": f"Bearer {op.session_token()}"}
        assert Browser().send("POST", f"{url}/write", headers=bearer).status == 200


def test_the_wsgi_example_names_the_user(op: StubOP) -> None:
    names: dict[str, Any] = {"kit": made_kit(op.issuer)}

    def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        names["environ"] = environ
        start_response("200 OK", [])
        return []

    names["app"] = SimpleNamespace(wsgi_app=site)
    tree = ast.parse(BLOCKS[WSGI])
    exec(compile(ast.Module(tree.body[:-1], []), "README.md", "exec"), names)
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "HTTP_REMOTE_USER": "admin", "REMOTE_USER": "admin",
        "HTTP_AUTHORIZATION": f"Bearer {op.session_token()}",
    }  # fmt: skip
    list(names["app"].wsgi_app(environ, lambda *_: None))
    last = tree.body[-1]
    assert isinstance(last, ast.Expr)
    session = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    assert session.sub == "subject-1"
    assert names["environ"]["REMOTE_USER"] == "subject-1"
    assert "HTTP_REMOTE_USER" not in names["environ"]


def test_the_django_example_names_what_there_is() -> None:
    names: dict[str, Any] = {"request": SimpleNamespace(community_session="there")}
    assert execute(DJANGO, names) == "there"
    module, _, name = names["MIDDLEWARE"][0].rpartition(".")
    assert hasattr(import_module(module), name)
    given = {key.lower(): value for key, value in names["COMMUNITY_LOGIN"].items()}
    SignInKit(
        **{**given, "issuer": "https://login.example.org", "client_secret": "x" * 32, "public_url": "https://f.example"}
    )


def test_every_code_stands_in_the_table_with_its_status() -> None:
    """They never change: sites and other languages compare with them."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", README, re.MULTILINE))
    assert {code: int(status) for code, status in rows.items()} == dict(STATUS)


def test_the_command_in_the_readme_is_the_command() -> None:
    assert "python -m doorward_verify testvectors FOLDER" in README
    assert (Path(__file__).parents[2] / "broker" / "verify" / "examples" / "node" / "verify.mjs").is_file()


def test_every_mode_stands_in_the_table_and_can_be_chosen() -> None:
    modes = re.findall(r'^\| `"([a-z]+)"` \|', README, re.MULTILINE)
    assert modes == list(get_args(Mode))
    for mode in modes:
        assert Verifier("https://login.example.org", "forum", mode=mode, client_secret=CLIENT_SECRET).mode == mode


def test_the_page_about_status_lists_says_what_the_code_does() -> None:
    """Minutes, seconds, megabytes: the same numbers in both."""
    page = " ".join((Path(__file__).parents[2] / "broker" / "verify" / "STATUS.md").read_text(encoding="utf-8").split())
    assert (FRESH, STALE, PAUSE, MOST_BYTES) == (60, 600, 10, 2 * 1024 * 1024)
    assert "for ten minutes since it was good, then 503; tried every ten seconds" in page
    assert "unpacks to more than 2 MB" in page
    assert f"{SIZE:,} places, which is {SIZE // 8 // 1024} KB" in page
    assert timedelta(minutes=12) == KEEP and "set for twelve minutes" in page
    assert timedelta(seconds=3) == LOOK_EVERY and "most every three seconds" in page
    assert f"one write in {BLOCK}" in page

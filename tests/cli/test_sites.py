"""One site at the command line: put in, shown, checked, previewed, given another secret, and what went wrong with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.config.folder import DOORWARD, ENVIRON, SECRET, SITES, write
from tests.support.source import ROOT

from broker.cli.attempts import WORDS, read_attempts
from broker.cli.common import open_durable
from broker.domain.client import DIFFERENCES
from broker.domain.stream import Stream, StreamStatus
from broker.domain.values import ClientId
from broker.settings import load_settings


def doorward(
    *words: str, config: Path, said: str = "", environ: Mapping[str, str] = ENVIRON
) -> subprocess.CompletedProcess[str]:
    """Run the command on this configuration; no traceback, whatever it says."""
    command = [sys.executable, "-m", "broker", "site", *words, "-c", str(config)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("DOORWARD")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**own, **environ}, input=said)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return write(folder)


# --- putting one in -------------------------------------------------------------------------------------


def test_what_is_printed_puts_the_site_in(config: Path) -> None:
    """Pasted as it stands, with the secret where it is said to go, the configuration is whole."""
    shown = doorward(
        "add", "wiki", "--software", "bookstack", "--url", "https://wiki.example.org/", config=config
    ).stdout
    parts = re.split(r"(?m)^\d\. ", shown)
    block = "\n".join(line.removeprefix("    ") for line in parts[1].splitlines()[1:])
    secret = parts[2].split()[-1]
    assert f"OIDC_CLIENT_SECRET={secret}" in parts[4]
    assert "OIDC_ISSUER=https://login.club.example\n" in parts[4]
    (config / "conf.d").mkdir()
    (config / "conf.d" / "wiki.toml").write_text(block)
    (config / "secrets").mkdir()
    (config / "secrets" / "wiki.secret").touch(mode=0o600)
    (config / "secrets" / "wiki.secret").write_text(secret)
    client = load_settings(config, ENVIRON).clients["wiki"]  # type: ignore[index]
    assert client.redirect_uris == ("https://wiki.example.org/oidc/callback",)
    assert client.claims_in_id_token
    again = doorward("add", "wiki", "--url", "https://wiki.example.org/", config=config)
    assert (again.returncode, again.stdout) == (1, "")
    assert "There is a site wiki already" in again.stderr
    fine = doorward("check", "wiki", "--offline", "--secret-file", str(config / "secrets/wiki.secret"), config=config)
    assert fine.returncode == 0, fine.stdout
    assert "fine   The secret is right." in fine.stdout


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("a b", "--url", "https://a.example.org/"), "is not usable as an id", 1),
        (("wiki", "--url", "http://wiki.example.org/"), "is plain http", 1),
        (("wiki", "--url", "wiki.example.org"), "is not the address of a home page", 1),
        (("wiki", "--url", "https://wiki.example.org/?a=b"), "is not the address of a home page", 1),
        (("wiki", "--url", "https://wiki.example.org/", "--software", "nothing"), "There are: apache, api", 2),
        (("wiki",), "Missing option", 2),
    ],
)
def test_a_site_that_cannot_be_put_in_is_said_in_a_sentence(
    config: Path, words: tuple[str, ...], said: str, code: int
) -> None:
    done = doorward("add", *words, config=config)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_two_sites_never_get_one_secret(config: Path) -> None:
    words = ("add", "wiki", "--url", "https://wiki.example.org/")
    first, second = (doorward(*words, config=config).stdout for _ in range(2))
    assert first != second
    assert not (config / "conf.d").exists()


# --- looking --------------------------------------------------------------------------------------------


def test_a_site_is_shown_without_its_secret(config: Path) -> None:
    """(catalogue 152)"""
    shown = doorward("show", "forum", "--software", "discourse", config=config).stdout
    for words in (
        "https://forum.example.org/callback",
        "client_secret_basic, 1 secret",
        "name (optional): Shown beside",
    ):
        assert words in shown
    assert "| `openid_connect_client_id` | `forum` |" in shown
    facts = json.loads(doorward("show", "forum", "--json", config=config).stdout)
    assert facts["redirect_addresses"] == ["https://forum.example.org/callback"]
    assert SECRET not in shown + json.dumps(facts)
    unknown = doorward("show", "nobody", config=config)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There are: forum." in unknown.stderr


def test_a_preview_shows_what_an_example_person_would_send(config: Path) -> None:
    parts = json.loads(doorward("preview", "forum", "--json", config=config).stdout)
    assert parts["question"] == [{"field": "Display name", "needed": False, "why": "Shown beside your posts."}]
    assert (parts["id_token"]["aud"], parts["id_token"]["iss"]) == ("forum", "https://login.club.example")
    assert parts["userinfo"]["name"] == "Ana Example"
    assert set(parts) == {"question", "id_token", "userinfo"}
    without = doorward("preview", "forum", "--without", "name", config=config).stdout
    assert "your choice  Display name: Shown beside your posts." in without
    assert "Ana Example" not in without
    assert not (config / "data").exists()


def test_a_preview_shows_session_token_and_headers_where_there_are_any(config: Path) -> None:
    (config / "sites.toml").write_text(
        SITES.replace(
            "[forum]",
            "[forum]\nsession_token = true\nforward_auth = true\nclaims_in_id_token = true",
        ).replace("/callback", "/.doorward/callback")
    )
    parts = json.loads(doorward("preview", "forum", "--json", config=config).stdout)
    assert parts["session_token"]["name"] == parts["id_token"]["name"] == "Ana Example"
    assert parts["headers"]["remote-user"] == parts["userinfo"]["sub"]
    assert parts["headers"]["remote-name"] == "Ana Example"


def test_a_preview_shows_an_access_token_that_can_be_read(config: Path) -> None:
    (config / "sites.toml").write_text(
        SITES.replace("[forum]", '[forum]\naccess_tokens = "jwt"\nresources = ["https://api.example.org/"]')
    )
    token = json.loads(doorward("preview", "forum", "--json", config=config).stdout)["access_token"]
    assert (token["aud"], token["client_id"]) == ("https://login.club.example", "forum")
    facts = json.loads(doorward("show", "forum", "--json", config=config).stdout)
    assert (facts["access_tokens"], facts["interfaces"]) == ("jwt", ["https://api.example.org/"])


def test_a_token_of_the_sites_own_is_shown_and_tried(config: Path) -> None:
    (config / "sites.toml").write_text(SITES.replace("[forum]", '[forum]\nservice_scopes = ["reports:read"]'))
    token = json.loads(doorward("preview", "forum", "--json", config=config).stdout)["token_of_its_own"]
    assert (token["sub"], token["scope"], token["active"]) == ("forum", "reports:read", True)
    assert (
        "Its server got a token of its own for reports:read."
        in doorward("check", "forum", "--offline", config=config).stdout
    )
    assert json.loads(doorward("show", "forum", "--json", config=config).stdout)["for_itself"] == ["reports:read"]


def test_the_pages_that_may_read_are_shown(config: Path) -> None:
    """Those of a site without a secret, and no other's."""

    def told() -> object:
        return json.loads(doorward("show", "forum", "--json", config=config).stdout)["pages_may_read"]

    assert told() == "nothing: its server asks"
    (config / "sites.toml").write_text(SITES.replace('client_secret = { env = "FORUM" }', 'auth_method = "none"'))
    assert told() == ["https://forum.example.org"]


@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing"])
def test_a_site_of_a_profile_is_shown_and_tried(config: Path, profile: str) -> None:
    """With a key where it has to show one, also for its server's own token, and a signed answer where it gets no other."""
    own = f'profile = "{profile}"\njwks_uri = "https://forum.example.org/jwks"\nservice_scopes = ["reports:read"]'
    (config / "sites.toml").write_text(SITES.replace('client_secret = { env = "FORUM" }', own))
    facts = json.loads(doorward("show", "forum", "--json", config=config).stdout)
    assert facts["profile"].startswith(f"{profile}: private_key_jwt, PAR, PKCE, DPoP")
    assert ("introspection signed" in facts["profile"]) is (profile == "fapi2-message-signing")
    assert facts["signed_with"] == "ES256"
    assert (facts["asks_by_pushing"], facts["shows_a_key"]) == ("always", "always")
    assert facts["signs_what_it_asks"] == ("always" if profile == "fapi2-message-signing" else "as it likes")
    done = doorward("check", "forum", "--offline", config=config)
    assert done.returncode == 0, done.stdout
    assert "A sign-in went through" in done.stdout
    preview = json.loads(doorward("preview", "forum", "--json", config=config).stdout)
    assert preview["token_of_its_own"]["token_type"] == "DPoP"


def test_a_site_where_nobody_signs_in_by_a_browser_is_tried_as_far_as_it_goes(config: Path) -> None:
    """Only an interface, or jobs that call one."""
    own = '[forum]\nservice_scopes = ["reports:read"]\nserves = ["https://api.example.org/"]'
    alone = SITES.replace("[forum]", own).replace('["https://forum.example.org/callback"]', "[]")
    (config / "sites.toml").write_text(alone)
    done = doorward("check", "forum", "--offline", config=config)
    assert done.returncode == 0, done.stdout
    assert "nobody is sent back to this site. Its server got a token of its own for reports:read." in done.stdout
    assert set(json.loads(doorward("preview", "forum", "--json", config=config).stdout)) == {"token_of_its_own"}
    assert "Nobody is sent back to" in doorward("preview", "forum", config=config).stdout
    shown = doorward("show", "forum", config=config).stdout
    assert re.search(r"(?m)^serves +https://api.example.org/$", shown)
    assert "nobody signs in by a browser" in shown


def test_a_preview_that_gives_nothing_says_why(config: Path) -> None:
    (config / "sites.toml").write_text(SITES.replace("[forum]", '[forum]\nscopes = ["openid"]'))
    parts = json.loads(doorward("preview", "forum", "--json", config=config).stdout)
    assert set(parts["userinfo"]) == {"sub"}


# --- checking -------------------------------------------------------------------------------------------


@contextmanager
def issuer(told: Any) -> Iterator[int]:
    """A server that calls itself so in its discovery document."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = f"http://127.0.0.1:{server.server_address[1]}"
            body = told if isinstance(told, bytes) else json.dumps({"issuer": told or own}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


FORUM = "https://forum.example.org/callback"


def test_a_logo_that_people_do_not_see_is_told(config: Path) -> None:
    (config / "logo.png").write_bytes(b"<svg></svg>")
    write(config, sites=SITES.replace("[forum]\n", '[forum]\nlogo = "logo.png"\n'))
    told = doorward("check", "forum", "--offline", config=config)
    assert told.returncode == 1
    assert f"The logo {config / 'logo.png'} cannot be shown. It is an SVG." in told.stdout
    write(config, sites=SITES.replace("[forum]\n", '[forum]\nlogo = "https://club.example/logo.png"\n'))
    told = doorward("check", "forum", "--offline", config=config)
    assert "The logo https://club.example/logo.png was not fetched." in told.stdout
    assert "logo                  https://club.example/logo.png\n" in doorward("show", "forum", config=config).stdout


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (json.dumps([FORUM, "https://wiki.example.org/cb"]).encode(), "lists every redirect address"),
        (json.dumps([f"{FORUM}/", FORUM.upper()]).encode(), f"does not list {FORUM}, so"),
        (json.dumps({"redirect_uris": [FORUM]}).encode(), "(sector not an array)"),
        (json.dumps([FORUM, 1]).encode(), "(sector not texts)"),
        (b"<html>", "(sector not json)"),
    ],
)
def test_the_list_of_a_sector_is_fetched_and_compared(config: Path, told: bytes, words: str) -> None:
    """OpenID Connect Registration §5: each redirect address is in it, character for character."""
    with issuer(told) as port:
        address = f"http://127.0.0.1:{port}/sites.json"
        (config / "sites.toml").write_text(
            SITES.replace("[forum]\n", f'[forum]\nsector_identifier_uri = "{address}"\n')
        )
        (config / "doorward.toml").write_text(f'{DOORWARD}\n[egress."127.0.0.1:{port}"]\n')
        assert words in doorward("check", "forum", config=config).stdout
        assert f"{address} was not asked" in doorward("check", "forum", "--offline", config=config).stdout
    assert "that we can read (connect 127.0.0.1)" in doorward("check", "forum", config=config).stdout
    (config / "doorward.toml").write_text(DOORWARD)
    assert "that we can read (scheme 127.0.0.1)" in doorward("check", "forum", config=config).stdout


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        ("", 0, "answers, as http://127.0.0.1:"),
        ("https://other.example.org", 1, "calls itself https://other.example.org"),
        (b"<html>", 1, "does not answer as it should"),
        (b"[]", 1, "does not answer as it should"),
    ],
)
def test_the_running_server_is_asked_who_it_is(config: Path, told: str | bytes, code: int, words: str) -> None:
    with issuer(told) as port:
        own = DOORWARD.replace("https://login.club.example", f"http://127.0.0.1:{port}")
        (config / "doorward.toml").write_text(own.replace("[broker]", '[broker]\nmode = "development"'))
        done = doorward("check", "forum", config=config)
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout
    away = doorward("check", "forum", config=config)
    assert away.returncode == 1
    assert "Does the server run" in away.stdout


def test_addresses_and_secrets_that_differ_are_told(config: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(f"{SECRET}\n")
    bad.write_text(f" {SECRET}")
    fine = doorward(
        "check", "forum", "--offline", "--secret-file", str(good), "--redirect-uri", "https://forum.example.org/callback",
        config=config,
    )  # fmt: skip
    assert (fine.returncode, "WRONG" in fine.stdout) == (0, False)
    assert "A sign-in went through: a code was redeemed, and the site got name." in fine.stdout
    wrong = doorward(
        "check", "forum", "--offline", "--secret-file", str(bad), "--redirect-uri", "https://forum.example.org/callback/",
        config=config,
    )  # fmt: skip
    assert wrong.returncode == 1
    assert "It has blanks around it." in wrong.stdout
    assert "one ends with a slash, the other does not" in wrong.stdout
    assert SECRET not in fine.stdout + wrong.stdout


def test_a_sign_in_that_cannot_be_is_wrong(config: Path) -> None:
    """A site that is switched off gets nothing; the configuration alone is not at fault."""
    (config / "sites.toml").write_text(SITES.replace("[forum]", "[forum]\nenabled = false"))
    done = doorward("check", "forum", "--offline", config=config)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("WRONG  A sign-in failed (invalid_token)")
    none = doorward("preview", "forum", config=config)
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("The site would get nothing (invalid_token)")


DISCOURSE_SECRET = "s" * 40
TALK = """
[talk]
name = "Talk"
url = "https://talk.example.org/"
redirect_uris = ["https://talk.example.org/session/sso_login"]
auth_method = "none"
discourse_connect_secret = {{ file = {secret!r} }}
asks.name = {{ use = "needed", why.en = "Shown beside your posts." }}
"""


def test_a_forum_that_asks_in_its_own_way_is_tried_in_that_way(config: Path, tmp_path: Path) -> None:
    """Its secret is the one that both sign with: it is compared, used in the trial, and shown nowhere (catalogue 152)."""
    secret, other = tmp_path / "talk.secret", tmp_path / "other.secret"
    for path, text in ((secret, DISCOURSE_SECRET), (other, "o" * 40)):
        path.touch(mode=0o600)
        path.write_text(text)
    sites = config / "sites.toml"
    sites.write_text(sites.read_text() + TALK.format(secret=str(secret)))
    fine = doorward("check", "talk", "--offline", "--secret-file", str(secret), config=config)
    assert fine.returncode == 0, fine.stdout
    assert "The secret is right." in fine.stdout
    assert "A sign-in went through: by DiscourseConnect the forum got " in fine.stdout
    wrong = doorward("check", "talk", "--offline", "--secret-file", str(other), config=config)
    assert wrong.returncode == 1
    assert "Give the site the one that discourse_connect_secret names." in wrong.stdout
    told = json.loads(doorward("preview", "talk", "--json", config=config).stdout)
    assert set(told) == {"question", "discourse_connect"}
    assert told["discourse_connect"]["name"] == "Ana Example"
    shown = doorward("show", "talk", config=config).stdout
    assert "by DiscourseConnect, with the secret that both sign with" in shown
    assert DISCOURSE_SECRET not in fine.stdout + wrong.stdout + shown + json.dumps(told)
    (row,) = [row for row in json.loads(doorward("list", "--json", config=config).stdout) if row["id"] == "talk"]
    assert "no secret" not in row["notes"]


# --- another secret -------------------------------------------------------------------------------------


def test_a_secret_is_changed_while_both_are_good(config: Path) -> None:
    """The new one is written once; the line that is printed puts both in force."""
    shown = doorward("rotate-secret", "forum", config=config).stdout
    (file,) = (config / "secrets").iterdir()
    assert (file.stat().st_mode & 0o777) & ~0o640 == 0
    assert file.read_text().strip() not in shown
    assert f"{config}/sites.toml:5" in shown
    line = re.search(r"client_secret = \[.*\]", shown)
    assert line is not None
    (config / "sites.toml").write_text(SITES.replace('client_secret = { env = "FORUM" }', line[0]))
    assert len(load_settings(config, ENVIRON).clients["forum"].secret_digests) == 2  # type: ignore[index]
    for which, number in ((SECRET, 2), (file.read_text(), 1)):
        (config / "given").write_text(which)
        done = doorward("check", "forum", "--offline", "--secret-file", str(config / "given"), config=config)
        assert f"(number {number} of 2)" in done.stdout
    again = doorward("rotate-secret", "forum", config=config)
    assert (again.returncode, again.stdout) == (1, "")
    assert "has two secrets already" in again.stderr


@pytest.mark.parametrize(
    ("secret", "environ", "words"),
    [
        ('auth_method = "none"', {}, "has no secret"),
        (f'client_secret = "{SECRET}"', {}, "Put it into a file first"),
        ("", {"DOORWARD__SITES__FORUM__CLIENT_SECRET": SECRET}, "is named in the environment"),
    ],
)
def test_a_secret_that_cannot_be_two_at_once_is_left_alone(
    config: Path, secret: str, environ: dict[str, str], words: str
) -> None:
    (config / "sites.toml").write_text(SITES.replace('client_secret = { env = "FORUM" }', secret))
    done = doorward("rotate-secret", "forum", config=config, environ={**ENVIRON, **environ})
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert SECRET not in done.stderr
    assert not (config / "secrets").exists()


# --- what went wrong ------------------------------------------------------------------------------------


def line(check: str, *, client: str = "forum", event: str = "problem", reason: str = "invalid_client") -> str:
    return json.dumps(
        {
            "reference": "ABCD-EFGH", "route": "authorize", "reason": reason, "check": check, "client": client, "event": event,
            "timestamp": "2026-11-26T12:00:00.123Z",
        }
    )  # fmt: skip


def test_attempts_are_told_in_words(config: Path) -> None:
    log = "\n".join(
        [
            "nothing of ours", "{broken", line("client secret wrong", client="wiki"), line("", event="reloaded"),
            line("client secret wrong"), "Nov 26 host doorward: " + line("redirect_uri not registered: last_slash of 1"),
        ]
    )  # fmt: skip
    done = doorward("attempts", "forum", config=config, said=log)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("2026-11-26T12:00:00  ABCD-EFGH  It sent another secret.")
    assert (
        "It asked for https://forum.example.org/callback/, registered is https://forum.example.org/callback." in second
    )
    (row,) = json.loads(doorward("attempts", "forum", "--json", "--last", "1", config=config, said=log).stdout)
    assert row["what"].startswith("It asked for")
    none = doorward("attempts", "forum", config=config, said="")
    assert (none.returncode, none.stdout.strip()) == (0, "The log tells of nothing that went wrong with forum.")


def test_a_log_that_cannot_be_read_is_not_taken_for_a_good_one(config: Path) -> None:
    """Lines for reading, as a development server writes them."""
    done = doorward(
        "attempts", "forum", config=config, said="12:00:01 problem  client=forum check=client secret wrong\n"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'log_format = "json"' in done.stderr


def test_every_kind_of_attempt_has_words(config: Path) -> None:
    client = load_settings(config, ENVIRON).clients["forum"]  # type: ignore[index]
    checks = [*WORDS, *(f"redirect_uri not registered: {kind} of 1" for kind in DIFFERENCES)]
    checks += [
        "redirect_uri not registered",
        "redirect_uri not registered: path of 9",
        "client_secret_post used, none registered",
    ]
    found = list(read_attempts([line(check) for check in checks], client))
    assert len(found) == len(checks)
    assert all(one.what.endswith(".") and one.fix.endswith(".") for one in found)
    (odd,) = read_attempts([line("something new", reason="odd")], client)
    assert (odd.what, odd.fix) == ("It was refused: odd (something new).", "")
    told = [line("", event=f"logout_token_{end}", reason="status 500") for end in ("delayed", "given_up")]
    assert [one.fix for one in read_attempts(told, client)] == ["It is tried again.", "It is not tried again."]
    (over,) = read_attempts([line("not ours", reason="invalid_token")], client)
    assert over.what == "It used an access token that is over or was never one."


def test_what_the_words_are_for_is_what_the_program_says() -> None:
    """No check has words here that the program does not raise."""
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "broker").rglob("*.py") if "cli" not in path.parts
    )
    assert not [
        check for check in WORDS if f'"{check}"' not in text and check != "refresh token reused: family revoked"
    ]


# --- security events --------------------------------------------------------------------------------------


def with_events(config: Path, *lines: str) -> None:
    sites = config / "sites.toml"
    sites.write_text(sites.read_text().replace("[forum]\n", "[forum]\n" + "".join(f"{line}\n" for line in lines), 1))


def test_an_event_about_nobody_waits_for_the_site(config: Path) -> None:
    refused = doorward("try-events", "forum", config=config)
    assert refused.returncode == 1
    assert "wants no security events" in refused.stderr
    with_events(config, 'security_events = ["account-purged"]')
    assert "account-purged; fetched by the site" in doorward("show", "forum", config=config).stdout
    told = doorward("try-events", "forum", config=config)
    assert told.returncode == 0, told.stderr
    assert "waits for forum at https://login.club.example/events" in told.stdout
    with_events(config, 'security_events_uri = "https://forum.example.org/events"')
    assert "is on its way to https://forum.example.org/events" in doorward("try-events", "forum", config=config).stdout


async def stream_of(config: Path, stream: Stream | None = None) -> list[str]:
    """Put the stream so, if there is one; the events that wait."""
    settings = load_settings(config, ENVIRON)
    stores = await open_durable(settings)
    try:
        if stream is not None:
            version = (await stores.durable.streams.load(stream.client)).version
            await stores.durable.streams.put(replace(stream, version=version))
        return [one.payload["event"] for one in await stores.durable.outbox.pending("stream", "forum")]
    finally:
        await stores.close()


@pytest.mark.parametrize("pushed", [False, True])
def test_no_event_is_said_to_go_out_that_does_not(config: Path, pushed: bool) -> None:
    """A stream that is off or ended gets none, one that is paused keeps it; the site's own words are shown as text."""
    with_events(config, 'security_events = ["account-purged"]')
    if pushed:
        with_events(config, 'security_events_uri = "https://forum.example.org/events"')
    assert doorward("try-events", "forum", config=config).returncode == 0
    why = "Moving \x1b[31m house"
    for stream, sentence in (
        (Stream(client=ClientId("forum"), status=StreamStatus.DISABLED, reason=why), "forum switched its stream off"),
        (Stream(client=ClientId("forum"), deleted=True), "forum ended its stream"),
    ):
        asyncio.run(stream_of(config, stream))
        told = doorward("try-events", "forum", config=config)
        assert (told.returncode, told.stdout) == (1, "")
        assert f"Nothing was sent: {sentence}." in told.stderr
        assert ("It says why: Moving \N{REPLACEMENT CHARACTER}[31m house" in told.stderr) is bool(stream.reason)
        assert asyncio.run(stream_of(config)) == ["verification"]
    asyncio.run(stream_of(config, Stream(client=ClientId("forum"), status=StreamStatus.PAUSED)))
    told = doorward("try-events", "forum", config=config)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "forum paused its stream: the event waits until it goes on, for a week at most.\n"
    assert asyncio.run(stream_of(config)) == ["verification", "verification"]


def test_a_site_of_devices_alone_is_rehearsed_by_a_device(config: Path) -> None:
    """No address to come back to, and still a whole sign-in."""
    (config / "conf.d").mkdir()
    (config / "conf.d" / "player.toml").write_text(
        """[sites.player]
name = "Player"
url = "https://player.example.org/"
redirect_uris = []
auth_method = "none"
device_grant = true

[sites.player.asks.name]
use = "needed"
why = "The player greets you by it."
"""
    )
    checked = doorward("check", "player", "--offline", config=config)
    assert "A sign-in went through" in checked.stdout
    assert doorward("show", "player", config=config).returncode == 0
    parts = json.loads(doorward("preview", "player", "--json", config=config).stdout)
    assert parts["id_token"]["aud"] == "player"
    assert "name" in parts["userinfo"]

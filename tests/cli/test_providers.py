"""One provider at the command line: put in, shown, and checked against a real one that knows us or does not."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from tests.cli.test_sites import issuer
from tests.config.folder import DOORWARD, ENVIRON, PROVIDERS, write
from tests.providers.rig import ec_jwk, ec_key, p8
from tests.support import builders as make
from tests.support.builders import NOW
from tests.support.sandbox import serve
from tests.support.source import ROOT

from broker.cli.common import open_durable
from broker.cli.own_server import takes
from broker.cli.provider_attempts import WORDS, read_attempts
from broker.flows.app_sign_in import _WORDS as APP_WORDS
from broker.cli.provider_check import clock_of
from broker.cli.provider_registering import why_not
from broker.domain.failures import PROBE, Failure
from broker.domain.trial import Exchange
from broker.domain.values import ProviderId
from broker.chance import SystemClock, SystemEntropy
from broker.errors import BrokerError, InteractionError
from broker.flows.trial import Ticket, TrialLinks
from broker.settings import load_settings
from broker.web.pages.words import FAILURES
from providers.sandbox import facebook, openid_connect

PUBLIC = "https://login.club.example"
FB = "facebook-secret-0123456789abcdef01"
APP: dict[str, Any] = {
    "id": "1000000000000001", "secret": FB, "redirect_uris": [f"{PUBLIC}/callback/facebook"], "require_proof": True,
}  # fmt: skip
SECRETS = {**ENVIRON, "FB": FB}


def doorward(
    *words: str, config: Path, environ: Mapping[str, str] = SECRETS, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command on this configuration; no traceback and no secret, whatever it says."""
    command = [sys.executable, "-m", "broker", "provider", *words, "-c", str(config)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("DOORWARD")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**own, **environ}, input=said)
    assert "Traceback" not in done.stderr, done.stderr
    assert not [name for name, value in environ.items() if value in done.stdout + done.stderr]
    return done


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return write(folder)


# --- putting one in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("facebook", "--client-id", "1000000000000001"), "facebook"),
        (("google", "--client-id", "1-a.apps.googleusercontent.com"), "google"),
        (("github", "--client-id", "Iv1.1", "--id", "hub"), "hub"),
        (("discord", "--client-id", "11"), "discord"),
        (("gitlab", "--client-id", "a1"), "gitlab"),
        (("gitlab", "--client-id", "a1", "--issuer", "https://git.club.example/"), "gitlab"),
        (("openid-connect", "--client-id", "doorward", "--issuer", "https://id.club.example"), "club"),
        (("openid2", "--issuer", "https://people.example.org"), "people"),
        (("mastodon", "--client-id", "k", "--issuer", "https://social.club.example"), "social"),
        (("fediverse",), "fediverse"),
        (("own",), "own"),
        (("bluesky",), "bluesky"),
        (("microsoft", "--client-id", "a-b"), "microsoft"),
        (("facebook-openid", "--client-id", "1000000000000001"), "facebookopenid"),
        (("steam",), "steam"),
    ],
)
def test_what_is_printed_puts_the_provider_in(config: Path, words: tuple[str, ...], name: str) -> None:
    """Pasted as it stands, with the secret where it is said to go, the configuration is whole and nobody sees it yet."""
    shown = doorward("add", *words, config=config).stdout
    redirect = f"{PUBLIC}/callback/{name}"
    assert redirect in shown
    parts = re.split(r"(?m)^\d\. ", shown)
    assert redirect in parts[1]
    block = "\n".join(line.removeprefix("    ") for line in parts[2].splitlines()[1:])
    assert 'state = "test"' in block
    (config / "conf.d").mkdir()
    (config / "conf.d" / f"{name}.toml").write_text(block)
    (config / "secrets").mkdir()
    (config / "secrets" / f"{name}.secret").touch(mode=0o600)
    (config / "secrets" / f"{name}.secret").write_text("x" * 40)
    settings = load_settings(config, ENVIRON)
    assert [problem for problem in settings.warnings if name in problem.key] == []
    facts = json.loads(doorward("show", name, "--json", config=config).stdout)
    assert (facts["redirect_address"], facts["is"]) == (redirect, "in test: only who tries it")
    assert "<" not in re.sub(r"<https?:[^>]*>", "", shown), shown
    again = doorward("add", *words, config=config)
    assert (again.returncode, again.stdout) == (1, "")
    assert f"There is a provider {name} already" in again.stderr


@pytest.mark.parametrize(
    ("issuer", "what", "fix"),
    [
        (
            "http://localhost:9311",
            "egress_refused: scheme localhost). It has an address of a kind",
            '[egress."localhost:9311"]',
        ),
        ("https://127.0.0.1", "egress_refused: literal 127.0.0.1). It has", '[egress."127.0.0.1:443"]'),
        (
            "https://nope.invalid",
            "upstream_unavailable: dns nope.invalid). The name of its host is not known.",
            "typing mistakes",
        ),
    ],
)
def test_who_cannot_be_asked_to_register_us_is_told_in_words(config: Path, issuer: str, what: str, fix: str) -> None:
    done = doorward("add", "openid-connect", "--issuer", issuer, "--id", "there", "--register", config=config)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{issuer} did not register us ({what}" in done.stderr
    assert fix in done.stderr
    assert list((config / "secrets").iterdir()) == []


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("discovery_issuer", "It calls itself by another address."),
        ("registration_endpoint", "Leave --register out"),
        ("registration invalid_token", "give it with --token-file"),
        ("registration status 403", "It takes no registration like ours."),
        ("registration invalid_client_metadata", "It takes no program like us."),
        ("registration_no_signature", "It does not say that it takes private_key_jwt"),
        ("registration_no_algorithm", "It takes private_key_jwt with other algorithms"),
        ("registration_by_secret", "It registered us with a secret and not with our keys."),
        ("registration_other_keys", "It registered another address of keys or another algorithm"),
        ("registration odd", "It refused. Look at its documentation"),
        ("registration_client_id", "Its answer is none that can be used."),
        ("status 503 registration", "It is unwell right now. Try again later."),
        ("status 404 discovery", "There is nothing at the address."),
        ("address id.club.example", '[egress."id.club.example:443"]'),
    ],
)
def test_why_a_provider_did_not_register_us_is_told_in_words(detail: str, words: str) -> None:
    assert words in why_not("https://id.club.example", detail)
    assert '"[::1]:8443"' in why_not("https://[::1]:8443", "literal ::1")


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("google", "--id", "Go ogle"), "is not usable as an id", 1),
        (("google", "--issuer", "https://other.example"), "Leave --issuer out", 1),
        (("openid-connect",), "Name the one you mean", 1),
        (("openid-connect", "--issuer", "id.club.example"), "is not the address of a provider", 1),
        (("openid-connect", "--issuer", "https://id.club.example/?a=b"), "is not the address of a provider", 1),
        (("myspace",), "There are: amazon, apple", 2),
        ((), "Missing argument", 2),
    ],
)
def test_a_provider_that_cannot_be_put_in_is_said_in_a_sentence(
    config: Path, words: tuple[str, ...], said: str, code: int
) -> None:
    done = doorward("add", *words, config=config)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not (config / "conf.d").exists()


# --- looking --------------------------------------------------------------------------------------------


def test_a_provider_is_shown_without_its_secret(config: Path) -> None:
    """(catalogue 152)"""
    (config / "providers.toml").write_text(
        '[facebook]\nkind = "facebook"\nclient_id = "1000000000000001"\nclient_secret = { env = "FB" }\n'
    )
    shown = doorward("show", "facebook", config=config).stdout
    for words in (
        f"redirect address      {PUBLIC}/callback/facebook",
        f"{PUBLIC}/hooks/facebook/deauthorize",
        "asked for             public_profile\n                      email\n",
        "picture: not kept, there is no field of that name here",
        "its word does not count",
    ):
        assert words in shown
    unknown = doorward("show", "nobody", config=config)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There are: facebook." in unknown.stderr


# --- checking -------------------------------------------------------------------------------------------


@contextmanager
def checked(
    config: Path, *, app: Mapping[str, Any] = {}, redirects: tuple[str, ...] = (f"{PUBLIC}/callback/idp",)
) -> Iterator[tuple[str, str]]:
    """Both sandbox providers, and a configuration that has them."""
    apps = [facebook.App(**{**APP, **app})]
    clients = [openid_connect.Client(id="doorward", secret=ENVIRON["IDP"], redirect_uris=list(redirects))]
    with serve(facebook.create_app(apps)) as fb, serve(openid_connect.create_app(clients)) as idp:
        (config / "providers.toml").write_text(
            f'[idp]\nkind = "openid_connect"\nlabel = "Club"\nissuer = "{idp}"\nclient_id = "doorward"\n'
            'client_secret = { env = "IDP" }\nfields = ["name", "email"]\n\n'
            '[facebook]\nkind = "facebook"\nclient_id = "1000000000000001"\nclient_secret = { env = "FB" }\n\n'
            f'[facebook.endpoints]\nauthorization = "{fb}/v26.0/dialog/oauth"\n'
            f'token = "{fb}/v26.0/oauth/access_token"\ngraph = "{fb}"\n'
        )
        allowed = "".join(f'\n[egress."{url.removeprefix("http://")}"]\n' for url in (fb, idp))
        (config / "doorward.toml").write_text(DOORWARD + allowed)
        yield fb, idp


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server of one's own; its port."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def found(done: subprocess.CompletedProcess[str], kind: str = "WRONG") -> list[str]:
    return [line[len(kind) :].strip() for line in done.stdout.splitlines() if line.startswith(kind)]


def test_a_provider_that_knows_us_is_fine(config: Path) -> None:
    with checked(config):
        done = doorward("check", "idp", "--offline", config=config)
    assert (done.returncode, found(done)) == (0, []), done.stdout
    fine = "\n".join(found(done, "fine"))
    for words in (
        "Club answers (",
        "It knows the address that people come back to, and gives what is asked for.",
        "It takes the client secret: a wrong one is refused (token invalid_client), and ours is not (token invalid_grant).",
        "This machine's clock is right.",
    ):
        assert words in fine
    assert f"Registered there must be, to the letter: {PUBLIC}/callback/idp" in done.stdout


def test_a_secret_that_runs_out_is_told(config: Path) -> None:
    with checked(config):
        text = (config / "providers.toml").read_text()
        for day, code, words in (
            ("2999-01-01", 0, "The client secret is good until 2999-01-01."),
            ("2020-01-01", 1, "The client secret has run out on 2020-01-01. Make a new one there."),
        ):
            (config / "providers.toml").write_text(
                text.replace('label = "Club"', f'label = "Club"\nsecret_ends = {day}')
            )
            done = doorward("check", "idp", "--offline", config=config)
            assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr


def test_a_wrong_secret_is_told_from_a_right_one(config: Path) -> None:
    with checked(config):
        done = doorward(
            "check", "idp", "--offline", config=config, environ={**SECRETS, "IDP": "another-0123456789abcdef0123456"}
        )
        (wrong,) = found(done)
        assert "It does not know us by this client secret." in wrong
        assert wrong.endswith("(token invalid_client)")
        fb = doorward(
            "check",
            "facebook",
            "--offline",
            config=config,
            environ={**SECRETS, "FB": "another-0123456789abcdef0123456"},
        )
    (wrong,) = found(fb)
    assert "Facebook cannot be used. It does not know us by this client secret." in wrong
    assert (done.returncode, fb.returncode) == (1, 1)


def test_an_address_that_is_not_registered_is_found(config: Path) -> None:
    with checked(config, redirects=(f"{PUBLIC}/callback/idp/",), app={"redirect_uris": [f"{PUBLIC}/elsewhere"]}):
        for name in ("idp", "facebook"):
            done = doorward("check", name, "--offline", config=config)
            assert any(line.startswith("Its page for signing in answers 4") for line in found(done)), done.stdout


def test_an_issuer_that_differs_is_shown_beside_ours(config: Path) -> None:
    with checked(config) as (_, idp):
        text = (config / "providers.toml").read_text()
        (config / "providers.toml").write_text(text.replace(f'issuer = "{idp}"', f'issuer = "{idp}/"'))
        done = doorward("check", "idp", "--offline", config=config)
    (wrong,) = found(done)
    assert f"It says '{idp}', issuer is '{idp}/'." in wrong


def test_what_is_not_given_or_not_signed_so_is_said(config: Path) -> None:
    with checked(config) as (_, idp):
        httpx2.post(f"{idp}/__emu__", json={"fault": {"name": "discovery-no-end-session"}})
        text = (config / "providers.toml").read_text()
        asked = 'scopes = ["profile", "email", "groups"]\nalgorithms = ["ES384"]\nfields = ["name", "picture"]\nrp_initiated_logout = true'
        (config / "providers.toml").write_text(text.replace('fields = ["name", "email"]', asked))
        done = doorward("check", "idp", "--offline", config=config)
    fix = "Write endpoints.end_session if it has one, or remove rp_initiated_logout."
    assert found(done) == [
        f"It names no end_session_endpoint: nobody can be sent there to sign out. {fix}",
        "It signs with RS256, and algorithms allows ES384.",
        f"It knows the address that people come back to. {' '.join(FAILURES['scope'])} (authorization invalid_scope)",
    ]
    assert f"And as post-logout redirect address: {PUBLIC}/signed-out/idp" in done.stdout
    assert "It does not list groups among its scopes" in done.stdout
    assert "It does not list picture among its claims" in done.stdout


def test_what_we_sign_is_told_where_it_is_looked_for(config: Path) -> None:
    """Our keys are with the server, so nothing is tried that would have to be signed; it is said what tries it."""
    with checked(config):
        text = (config / "providers.toml").read_text()
        asking = 'label = "Club"\nrequest_object = "by_reference"'
        (config / "providers.toml").write_text(text.replace('label = "Club"', asking))
        done = doorward("check", "idp", "--offline", config=config)
        shown = doorward("show", "idp", config=config).stdout
    assert (done.returncode, found(done)) == (0, []), done.stdout
    assert f"It must know where our keys are (jwks_uri): {PUBLIC}/client-jwks" in done.stdout
    assert f"whatever begins with {PUBLIC}/requests/idp/" in done.stdout
    assert "`doorward provider try idp` tells" in done.stdout
    assert "People are sent to" not in done.stdout
    assert "It takes the client secret" in done.stdout
    assert f"our keys address      {PUBLIC}/client-jwks" in shown
    assert f"requests are at       {PUBLIC}/requests/idp/…" in shown
    assert "what we ask goes      as one object, signed with RS256, fetched from us" in shown
    assert "we show who we are" not in shown


class Tells(BaseHTTPRequestHandler):
    """A provider that says which proofs of who we are it takes."""

    def do_GET(self) -> None:
        here = f"http://{self.headers['Host']}"
        keys = {"keys": [ec_jwk(ec_key())]}
        told = {
            "issuer": here, "jwks_uri": f"{here}/jwks", "authorization_endpoint": f"{here}/authorize",
            "token_endpoint": f"{here}/token", "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
        }  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(keys if self.path == "/jwks" else told).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing on the test's terminal."""


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_proof_that_it_does_not_list_is_said(config: Path, algorithm: str) -> None:
    with serving(Tells) as port:
        (config / "providers.toml").write_text(
            f'[idp]\nkind = "openid_connect"\nlabel = "Club"\nissuer = "http://127.0.0.1:{port}"\nclient_id = "doorward"\n'
            f'token_endpoint_auth_method = "private_key_jwt"\ntoken_endpoint_auth_signing_alg = "{algorithm}"\n'
        )
        (config / "doorward.toml").write_text(f'{DOORWARD}\n[egress."127.0.0.1:{port}"]\n')
        done = doorward("check", "idp", "--offline", config=config)
    assert f"It must know where our keys are (jwks_uri): {PUBLIC}/client-jwks" in done.stdout
    said = "It lists RS256, PS256 as algorithms of such a proof, and token_endpoint_auth_signing_alg is ES256."
    assert (said in done.stdout) is (algorithm == "ES256"), done.stdout


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        ('request_object = "by_value"\nrequest_object_signing_alg = "ES256"', "signed with ES256, in the address"),
        ('request_object = "by_reference"\nrequest_object_signing_alg = "none"', "which nobody signs, fetched from us"),
    ],
)
def test_how_a_provider_is_asked_and_knows_us_is_shown(config: Path, asking: str, said: str) -> None:
    table = (
        '[signed]\nkind = "openid_connect"\nissuer = "https://id.club.test"\nlabel = "Signed"\nclient_id = "doorward"\n'
    )
    proof = 'token_endpoint_auth_method = "private_key_jwt"\ntoken_endpoint_auth_signing_alg = "ES256"\n'
    with (config / "providers.toml").open("a") as file:
        file.write(f"\n{table}{proof}{asking}\n")
    done = doorward("show", "signed", config=config)
    assert done.returncode == 0, done.stderr
    assert "we show who we are    by a signature, ES256 (private_key_jwt)\n" in done.stdout
    assert f"what we ask goes      as one object, {said}\n" in done.stdout


def test_who_is_known_by_a_signature_needs_no_secret(config: Path) -> None:
    """What is printed puts the provider in whole, and says where our keys are instead of where a secret goes."""
    words = ("openid-connect", "--client-id", "doorward", "--issuer", "https://id.club.example")
    shown = doorward("add", *words, "--private-key-jwt", "ES256", config=config).stdout
    parts = re.split(r"(?m)^\d\. ", shown)
    block = "\n".join(line.removeprefix("    ") for line in parts[2].splitlines()[1:])
    assert "client_secret" not in block
    assert "There is no secret: at OpenID Connect choose private_key_jwt with ES256" in parts[3]
    assert f"enter {PUBLIC}/client-jwks as address of our keys (jwks_uri)" in parts[3]
    assert "club.secret" not in shown
    (config / "conf.d").mkdir()
    (config / "conf.d/club.toml").write_text(block)
    known = doorward("show", "club", config=config)
    assert "we show who we are    by a signature, ES256 (private_key_jwt)\n" in known.stdout, known.stderr


def test_who_knows_nobody_by_a_signature_is_said(config: Path) -> None:
    done = doorward("add", "github", "--private-key-jwt", "RS256", config=config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "GitHub knows nobody by a signature. Leave --private-key-jwt out." in done.stderr


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ("mastodon", "For whichever people name: doorward provider add fediverse."),
        ("openid-connect", "For whichever people name: doorward provider add own."),
        ("openid2", 'For whichever people name: take any, and write discovery = "any" in the place of hosts.'),
    ],
)
def test_one_of_many_is_named_or_it_is_said_how_people_name_theirs(config: Path, guide: str, said: str) -> None:
    done = doorward("add", guide, config=config)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--request-object", "by_value"), "--request-object is for --register."),
        (("--register", "--request-object-signing-alg", "ES256"), "is for --request-object."),
        (
            ("--register", "--request-object", "by_value", "--request-object-signing-alg", "none"),
            "that nobody signs proves nothing",
        ),
    ],
)
def test_a_way_of_asking_that_is_none_registers_nobody(config: Path, words: tuple[str, ...], said: str) -> None:
    done = doorward("add", "openid-connect", "--issuer", "https://id.club.test", *words, config=config)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_provider_that_is_away_names_the_guard_that_stopped_it(config: Path) -> None:
    (config / "providers.toml").write_text(
        '[idp]\nkind = "openid_connect"\nissuer = "https://127.0.0.1:9"\nclient_id = "a"\nclient_secret = { env = "IDP" }\nstate = "off"\n'
    )
    done = doorward("check", "idp", "--offline", config=config)
    assert done.returncode == 1
    assert "an address of a kind that is never called" in found(done)[0]
    assert 'It is off. Write state = "test" to try it' in done.stdout


@pytest.mark.parametrize(("state", "who"), [("testers", "tester, admin or owner"), ("admins", "admin or owner")])
def test_for_whom_a_provider_is_before_it_is_for_everybody_is_told(config: Path, state: str, who: str) -> None:
    (config / "providers.toml").write_text(
        '[idp]\nkind = "openid_connect"\nissuer = "https://127.0.0.1:9"\nclient_id = "a"\n'
        f'client_secret = {{ env = "IDP" }}\nstate = "{state}"\n'
    )
    assert json.loads(doorward("show", "idp", "--json", config=config).stdout)["is"] == (
        f"only for people signed in as {who}"
    )
    told = f"It is for {state}: people signed in as {who} see it, and nobody else."
    assert told in doorward("check", "idp", "--offline", config=config).stdout
    assert [row["state"] for row in json.loads(doorward("list", "--json", config=config).stdout)] == [state]


def test_facebooks_own_settings_are_read(config: Path) -> None:
    hook = f"{PUBLIC}/hooks/facebook/deauthorize"
    good = {"deauthorize_url": hook, "privacy_url": f"{PUBLIC}/privacy", "domains": ["club.example"], "name": "Club"}
    with checked(config, app=good):
        done = doorward("check", "facebook", "--offline", config=config)
    assert (done.returncode, found(done)) == (0, []), done.stdout
    assert "The app is called 'Club' there" in done.stdout
    assert "not among the app domains" not in done.stdout
    told = "Facebook cannot tell us that somebody removes the app:"
    with checked(config, app={"deauthorize_url": "https://old.example/x"}):
        done = doorward("check", "facebook", "--offline", config=config)
    assert found(done) == [
        f"{told} there stands https://old.example/x. Enter {hook} as deauthorize callback URL.",
        f"The app has no privacy policy URL, without which it cannot go live. Enter {PUBLIC}/privacy.",
    ]
    assert "login.club.example is not among the app domains (none)." in done.stdout


def test_the_keys_of_limited_login_are_asked_for_where_it_is_on(config: Path) -> None:
    hook = f"{PUBLIC}/hooks/facebook/deauthorize"
    with checked(config, app={"deauthorize_url": hook, "privacy_url": f"{PUBLIC}/privacy"}) as (fb, _):
        off = doorward("check", "facebook", "--offline", config=config)
        text = (config / "providers.toml").read_text()
        on = text.replace('kind = "facebook"', 'kind = "facebook"\nlimited_login = true')
        for keys, code, words in (
            (
                "/limited/.well-known/oauth/openid/jwks/",
                0,
                "The keys of Limited Login are there. Apps bring its tokens to",
            ),
            ("/nowhere", 1, "The keys of Limited Login cannot be had, so no app can bring anybody."),
        ):
            (config / "providers.toml").write_text(f'{on}jwks = "{fb}{keys}"\n')
            done = doorward("check", "facebook", "--offline", config=config)
            assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
        shown = json.loads(doorward("show", "facebook", "--json", config=config).stdout)
    assert "Limited Login" not in off.stdout
    assert shown["limited_login_address"] == f"{PUBLIC}/par/facebook/limited-login"


def test_the_running_server_is_asked_for_the_addresses_that_are_called(config: Path) -> None:
    with issuer("") as port, checked(config):
        own = (config / "doorward.toml").read_text().replace(PUBLIC, f"http://127.0.0.1:{port}")
        (config / "doorward.toml").write_text(own.replace("[broker]", '[broker]\nmode = "development"'))
        done = doorward("check", "facebook", config=config)
        providers = (config / "providers.toml").read_text()
        (config / "providers.toml").write_text(providers.replace("[facebook]", '[facebook]\nstate = "test"'))
        tested = doorward("check", "facebook", config=config)
    assert f"http://127.0.0.1:{port}/callback/facebook is there." in done.stdout
    assert any("/hooks/facebook/deletion answers 501" in line for line in found(done)), done.stdout
    assert "/hooks/facebook/deletion" not in tested.stdout
    assert "Where it tells us things by itself there is an answer once it is on: look again then." in tested.stdout
    with checked(config):
        away = doorward("check", "idp", config=config)
    assert "Does the server run" in found(away)[0]


@pytest.mark.parametrize("posts", [False, True])
def test_who_looks_whether_an_address_is_there_says_so_and_brings_nothing(posts: bool) -> None:
    """What the server takes for a check, and not for an answer that went wrong (`web.problems`)."""
    asked: list[tuple[str, str | None, str | None]] = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.command, self.headers["user-agent"], self.headers["content-length"]))
            self.send_response(400)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with serving(Listening) as port:
        assert takes(f"http://127.0.0.1:{port}/callback/idp", posts=posts).is_fine
    assert asked == [("POST", PROBE, "0") if posts else ("GET", PROBE, None)]


@pytest.mark.parametrize(
    ("is_off", "words"),
    [
        (False, "idp. Reload the server."),
        (True, 'idp. Write state = "test", "admins", "testers" or "on", and reload the'),
    ],
)
def test_an_address_that_the_server_does_not_know_says_what_is_left_to_do(is_off: bool, words: str) -> None:
    """Who wrote the state already is not told to write it."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with serving(Nothing) as port:
        found = takes(f"http://127.0.0.1:{port}/callback/idp", is_off=is_off)
    assert found.is_fine is False
    assert words in found.words


def test_apple_is_asked_with_a_wrong_key_as_with_a_right_one(config: Path, tmp_path: Path) -> None:
    """Its secret is made from a key file: what is wrong beside it is the name of the key, which a token endpoint refuses."""
    (tmp_path / "apple.p8").touch(mode=0o600)
    (tmp_path / "apple.p8").write_text(p8(ec_key("p8")))

    class Apple(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"keys": [ec_jwk(ec_key())]})

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            head = json.loads(base64.urlsafe_b64decode(form["client_secret"].split(".")[0] + "=="))
            self.answer({"error": "invalid_grant" if head["kid"] == "K6L7M8N9P0" else "invalid_client"}, 400)

        def answer(self, said: object, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            return

    with serving(Apple) as port:
        base = f"http://127.0.0.1:{port}"
        (config / "doorward.toml").write_text(f'{DOORWARD}\n[egress."127.0.0.1:{port}"]\n')
        (config / "providers.toml").write_text(
            '[apple]\nkind = "apple"\nclient_id = "org.example.login"\nteam_id = "A1B2C3D4E5"\nkey_id = "K6L7M8N9P0"\n'
            f'client_secret = {{ file = "{tmp_path}/apple.p8" }}\nfields = ["name", "email"]\n\n[apple.endpoints]\n'
            f'authorization = "{base}/authorize"\ntoken = "{base}/token"\njwks = "{base}/keys"\n'
        )
        done = doorward("check", "apple", "--offline", config=config)
    assert (done.returncode, found(done)) == (0, []), done.stdout + done.stderr
    assert "a wrong one is refused (token invalid_client), and ours is not (token invalid_grant)" in done.stdout


def test_where_people_type_an_address_there_is_nobody_to_ask(config: Path) -> None:
    (config / "providers.toml").write_text('[people]\nkind = "openid2"\ndiscovery = "any"\nfields = ["name"]\n')
    done = doorward("check", "people", "--offline", config=config)
    assert done.returncode == 0
    assert f"Nothing is registered there. People come back to {PUBLIC}/callback/people." in done.stdout
    assert "There is no one provider to ask" in done.stdout
    assert "People can name servers on the public internet alone, and those are asked by https." in done.stdout
    assert "sandbox" not in done.stdout, "production refuses it"


@pytest.mark.parametrize("kind", ["openid2", "mastodon", "typed_openid_connect"])
def test_where_people_type_an_address_what_this_machine_needs_is_said(config: Path, kind: str) -> None:
    """In development: without `sandbox = true` nobody gets to a server here, whatever `[egress]` names."""
    table = f'[people]\nkind = "{kind}"\ndiscovery = "any"\nfields = ["name"]\n'
    doorward_toml = DOORWARD.replace("[broker]", '[broker]\nmode = "development"', 1)
    (config / "providers.toml").write_text(table)
    (config / "doorward.toml").write_text(doorward_toml)
    done = doorward("check", "people", "--offline", config=config)
    told = (
        'For one on this machine write sandbox = true in [people] and [egress."localhost:9311"], with its own port, in'
    )
    assert told in done.stdout, done.stdout
    (config / "doorward.toml").write_text(f'{doorward_toml}\n[egress."localhost:9412"]\n')
    done = doorward("check", "people", "--offline", config=config)
    assert "For localhost:9412, which [egress] names, write sandbox = true in [people]." in done.stdout, done.stdout
    (config / "providers.toml").write_text(f"{table}sandbox = true\n")
    done = doorward("check", "people", "--offline", config=config)
    assert "Plain http and servers that [egress] names in doorward.toml are let in too: it is a sandbox." in done.stdout
    assert "write sandbox" not in done.stdout


# --- trying ---------------------------------------------------------------------------------------------


def test_a_link_is_printed_that_the_server_takes(config: Path) -> None:
    """Made by one process and read by another, as both have the key ring; nothing else stands on standard output."""
    done = doorward("try", "idp", config=config)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{PUBLIC}/trial?link=idp.")
    assert "good once" in done.stderr
    settings = load_settings(config, ENVIRON)

    async def read() -> Ticket:
        stores = await open_durable(settings)
        try:
            links = TrialLinks(key=stores.derive("trials"), clock=SystemClock(), entropy=SystemEntropy())
            return links.read(line.partition("=")[2])
        finally:
            await stores.close()

    assert asyncio.run(read()).provider == "idp"


def test_a_provider_that_is_off_cannot_be_tried(config: Path) -> None:
    (config / "providers.toml").write_text(PROVIDERS + 'state = "off"\n')
    done = doorward("try", "idp", config=config)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'Write state = "test", and reload the server' in done.stderr


# --- what went wrong ------------------------------------------------------------------------------------


def line(reason: str, check: str = "", *, event: str = "problem", provider: str = "idp", **more: str) -> str:
    return json.dumps(
        {
            "reference": "ABCD-EFGH", "reason": reason, "check": check, "provider": provider, "event": event,
            "timestamp": "2026-11-26T12:00:00.123Z", **more,
        }
    )  # fmt: skip


def test_attempts_are_told_in_words(config: Path) -> None:
    log = "\n".join(
        [
            "nothing of ours", line("upstream_rejected", "token invalid_client", provider="facebook"),
            line("ok", event="provider_state"), line("", event="provider_tried", outcome="new"),
            "Nov 26 host doorward: " + line("upstream_rejected", "token invalid_client"),
            line("dns idp.example.org", event="provider_state", reference=""), line("sign_in_cancelled", "upstream access_denied"),
            line("", "kid", event="provider_tried", outcome="failed"), line("odd"), line("wrong_browser", reference="K7Q2-91XM"),
        ]
    )  # fmt: skip
    done = doorward("attempts", "idp", "--log", "-", config=config, said=log)
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert [row.split("  ", 2)[2].split(". ")[0] for row in rows] == [
        "It does not know us by this client secret",
        "Asked in the background: The name of its host is not known",
        "Somebody said no there",
        "Tried: Its answer is not signed with a key that it publishes",
        "Refused: odd (no more is known).",
        "An answer came to a browser that had not asked for it",
    ]
    assert "(token invalid_client) Make a new one there" in rows[0]
    (row,) = json.loads(
        doorward("attempts", "idp", "--json", "--log", "-", "--reference", "K7Q2-91XM", config=config, said=log).stdout
    )
    assert row["reference"] == "K7Q2-91XM"
    none = doorward("attempts", "idp", "--log", "-", config=config)
    assert (none.returncode, none.stdout.strip()) == (0, "The log tells of nothing that went wrong with idp.")
    assert doorward("attempts", "nobody", "--log", "-", config=config).returncode == 1
    other = doorward("attempts", "idp", "--log", "-", config=config, said="12:00:01 problem  provider=idp\n")
    assert (other.returncode, other.stdout) == (2, "")
    assert 'log_format = "json"' in other.stderr


@pytest.mark.parametrize(
    ("check", "what", "fix"),
    [
        ("identifier", "Somebody typed what is no address.", "Nothing."),
        ("webfinger policy", "Somebody typed an address that is at a host that is not let in", "add it to hosts"),
        ("server connect", "Its host takes no connection from this machine. (server connect)", "Look for a firewall"),
        ("server scheme", "It has an address of a kind that is never called. (server scheme)", "in egress"),
        ("server status", "It is unwell right now. (server status)", "Try again later."),
        ("discovery timeout", "It did not answer in time. (discovery timeout)", "Try again."),
        ("registration invalid_redirect_uri", "The server there does not take us.", "Ask whoever runs it"),
        ("registration_endpoint missing", "The server there does not take us.", "Ask whoever runs it"),
        ("webfinger none", "Nothing there says", "A typing mistake"),
        ("discovery no service", "Nothing there says", "A typing mistake"),
    ],
)
def test_what_a_typed_address_failed_at_is_told_in_words(check: str, what: str, fix: str) -> None:
    said = line("form_invalid", check, event="address_failed", reference="")
    (found,) = read_attempts([said], "idp")
    assert what in found.what
    assert fix in found.fix
    assert not list(read_attempts([line("form_invalid", check, event="sign_in_failed")], "idp"))


@pytest.mark.parametrize(
    ("reason", "check", "what", "fix"),
    [
        (
            "upstream_rejected",
            "token invalid_grant",
            "what somebody had let us do there is over",
            "can turn it on again",
        ),
        (
            "posting_not_permitted",
            "status 403",
            "it does not let us post for somebody any more.",
            "can turn it on again",
        ),
        (
            "upstream_unavailable",
            "status 503 statuses",
            "It is unwell right now. (status 503 statuses)",
            "Try again later.",
        ),
        ("upstream_unavailable", "timeout", "It did not answer in time. (timeout)", "Try again."),
    ],
)
def test_why_a_post_was_not_taken_is_told_in_words(reason: str, check: str, what: str, fix: str) -> None:
    (found,) = read_attempts([line(reason, check, event="posting_failed", reference="", client="forum")], "idp")
    assert found.what.startswith(f"A post was not taken: {what}")
    assert fix in found.fix


@pytest.mark.parametrize(
    ("reason", "check", "what", "fix"),
    [
        ("invalid_grant", "replayed", "An app brought a token of Limited Login a second time.", "with the SDK again"),
        ("invalid_grant", "nonce", "another nonce than its nonce_verifier gives", "the S256 hash of nonce_verifier"),
        ("invalid_grant", "signature", "An app brought a token of Limited Login that did not", "config/guides/ios.md"),
        (
            "invalid_request",
            "new sign-in asked with a token",
            "asked for a new sign-in",
            "leave prompt=login and max_age out",
        ),
        ("not_found", "no provider whose tokens apps may bring", "no app may bring one", "write limited_login = true"),
        ("way_missing", "provider is not linked", "Somebody wanted to turn posting on", "Nothing: the page offers"),
        (
            "invalid_request",
            "signed_request_signature",
            "A message to one of its hooks",
            "compare client_id, client_secret",
        ),
        ("invalid_request", "logout_iss", "A message to one of its hooks", "issuer"),
        ("invalid_client", "client secret wrong", "A site's app was refused: invalid_client", "doorward site attempts"),
    ],
)
def test_what_an_app_or_a_hook_was_refused_for_is_told_in_words(reason: str, check: str, what: str, fix: str) -> None:
    (found,) = read_attempts([line(reason, check)], "idp")
    assert what in found.what
    assert check in found.what
    assert fix in found.fix


def test_every_check_that_has_words_for_the_app_has_words_here() -> None:
    """Words for whoever writes the app, and words for whoever runs the service."""
    for check in APP_WORDS:
        (found,) = read_attempts([line("invalid_grant", check)], "idp")
        assert not found.what.startswith("Refused")
        assert found.fix.endswith(".")


def test_what_is_kept_is_told_in_words_without_the_log(config: Path) -> None:
    """Of this provider alone, the newest ones, or the one whose code somebody read out."""
    empty = doorward("attempts", "idp", config=config)
    assert (empty.returncode, empty.stdout.strip()) == (
        0,
        "The last seven days tell of nothing that went wrong with idp.",
    )
    idp = ProviderId("idp")
    asyncio.run(
        keep(
            config,
            make.failure(provider=idp),
            make.failure(id="made-up", provider=idp, at=NOW + timedelta(hours=1), step="provider_state", detail="", reason="dns"),
            make.failure(id="ABCD-EFGH", at=NOW + timedelta(hours=2)),
        )
    )  # fmt: skip
    done = doorward("attempts", "idp", config=config)
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert len(rows) == 2
    assert rows[0].startswith(f"{NOW.isoformat()[:19]}  K7Q2-91XM  It does not know us by this client secret.")
    assert "  -  Asked in the background: " in rows[1]
    (last,) = json.loads(doorward("attempts", "idp", "--json", "--last", "1", config=config).stdout)
    assert last["reference"] == ""
    (one,) = json.loads(doorward("attempts", "idp", "--json", "--reference", "K7Q2-91XM", config=config).stdout)
    assert one["fix"].startswith("Make a new one there")
    for code in ("ABCD-EFGH", "made-up", "none"):
        none = doorward("attempts", "idp", "--reference", code, config=config)
        assert (none.returncode, none.stdout.strip().endswith("with idp under this code.")) == (0, True)
    assert doorward("attempts", "nobody", config=config).returncode == 1


async def keep(config: Path, *failures: Failure) -> None:
    stores = await open_durable(load_settings(config, SECRETS))
    try:
        unit = stores.durable.unit()
        for failure in failures:
            unit.add_failure(failure)
        await unit.commit()
    finally:
        await stores.close()


def test_the_codes_with_words_are_codes_of_the_program() -> None:
    codes = {kind.code for kind in BrokerError.__subclasses__()} | {
        kind.code for kind in InteractionError.__subclasses__()
    }
    assert set(WORDS) <= codes | {
        kind.code for one in InteractionError.__subclasses__() for kind in one.__subclasses__()
    }
    assert all(what.endswith(".") and fix.endswith(".") for what, fix in WORDS.values())


def answered(seconds: float, **headers: str) -> Exchange:
    at = SystemClock().now().replace(microsecond=0)
    date = format_datetime(at - timedelta(seconds=seconds), usegmt=True)
    return Exchange(
        method="GET", host="idp", path="/", is_tls=True, at=at, milliseconds=1, status=200, headers={"date": date, **headers}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "is_fine", "words"),
    [
        ([answered(0)], True, "This machine's clock is right."),
        ([answered(30)], True, "This machine's clock is 30 s ahead of theirs."),
        ([answered(-90)], False, "This machine's clock is 90 s behind theirs. Answers are refused"),
        ([answered(600), answered(1)], True, "This machine's clock is right."),
        ([answered(600, age="600")], True, "This machine's clock is right."),
    ],
)
def test_a_clock_that_is_wrong_is_told(seen: list[Exchange], is_fine: bool, words: str) -> None:
    (finding,) = clock_of(seen)
    assert finding.is_fine is is_fine
    assert finding.words.startswith(words)


def test_without_a_date_nothing_is_said_of_clocks() -> None:
    assert not list(clock_of([answered(0, date="yesterday"), answered(0, age="old")]))

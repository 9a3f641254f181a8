"""The command line as an operator meets it: help everywhere, a sentence instead of a traceback, codes for scripts."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from tests.config.folder import ENVIRON, KEY, PROVIDERS, SITES, write
from tests.support.builders import account, delivery, link, receipt, removal
from tests.support.servers import PostgresServer
from tests.support.source import ROOT

from broker import __version__
from broker.chance import SystemClock, SystemEntropy
from broker.cli import main
from broker.cli.common import open_durable
from broker.domain.account import Account, AccountStatus
from broker.domain.claims import PREFERRED_USERNAME
from broker.domain.ports import KeyUse
from broker.domain.removal import Removal
from broker.domain.values import AccountId, ClientId
from broker.flows.keys import KeyFlow
from broker.settings import load_settings
from broker.signing import KeyBox
from broker.stores import open_stores
from broker.stores.sql.schema import HEAD


def doorward(
    *words: str, environ: Mapping[str, str] = ENVIRON, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command; no traceback, whatever it says."""
    command = [sys.executable, "-m", "broker", *words]
    own = {name: value for name, value in os.environ.items() if not name.startswith("DOORWARD")}
    done = subprocess.run(command, cwd=folder or ROOT, capture_output=True, text=True, env={**own, **environ})
    assert "Traceback" not in done.stderr, done.stderr
    return done


def commands(group: click.Group, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    out = []
    for name, command in group.commands.items():
        out.append((*at, name))
        if isinstance(command, click.Group):
            out += commands(command, (*at, name))
    return out


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return write(folder)


@pytest.fixture
def postgres(postgres_url: str) -> dict[str, str]:
    return {**ENVIRON, "DOORWARD__BROKER__DATABASE_URL": postgres_url}


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in [(), *commands(main)]])
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    text = command.get_help(click.Context(command, info_name=" ".join(words)))
    assert len(text.splitlines()) > 5
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    for option in command.params:
        assert isinstance(option, click.Argument) or option.help, option.name


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_the_version_is_told(words: tuple[str, ...]) -> None:
    assert doorward(*words).stdout == f"doorward {__version__}\n"


def test_a_mistyped_command_is_answered_with_2() -> None:
    done = doorward("serv")
    assert done.returncode == 2
    assert "serve" in done.stderr


# --- check ----------------------------------------------------------------------------------------------


def test_check_says_that_all_is_well(config: Path) -> None:
    done = doorward("check", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, f"The configuration in {config} is fine.\n")


def test_check_prints_file_line_key_what_and_how(config: Path) -> None:
    (config / "sites.toml").write_text(SITES.replace("url =", "ulr ="))
    done = doorward("check", "--config", str(config))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{config}/sites.toml:1: error: forum.url: is missing. Its home page. Write url = …",
        f"{config}/sites.toml:3: error: forum.ulr: is not a known option. Did you mean url?",
        "2 errors, 0 warnings.",
    ]


def test_check_tells_programs_the_same(config: Path) -> None:
    (config / "providers.toml").write_text(PROVIDERS.replace("openid_connect", "telepathy"))
    done = doorward("check", "--json", "--config", str(config))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    (problem,) = told["problems"]
    assert (problem["file"], problem["line"], problem["key"], problem["severity"]) == (
        f"{config}/providers.toml", 2, "idp.kind", "error",
    )  # fmt: skip
    assert problem["what"]
    assert problem["fix"]


def test_warnings_alone_are_no_failure_unless_asked_for(config: Path) -> None:
    (config / "sites.toml").write_text(SITES.replace("[forum]", "[forum]\npkce_required = false"))
    assert doorward("check", "-c", str(config)).returncode == 0
    assert doorward("check", "-c", str(config), "--strict").returncode == 1


def test_check_judges_what_only_the_providers_code_knows(config: Path) -> None:
    (config / "providers.toml").write_text(
        '[facebook]\nkind = "facebook"\nclient_id = "1"\nclient_secret = { env = "IDP" }\ngraph_version = "v1"\n'
    )
    done = doorward("check", "-c", str(config))
    assert done.returncode == 1
    assert f"{config}/providers.toml:5: error: facebook.graph_version" in done.stdout


def test_check_makes_nothing(config: Path) -> None:
    before = sorted(config.rglob("*"))
    doorward("check", "-c", str(config))
    assert sorted(config.rglob("*")) == before


@pytest.mark.parametrize("name", ["check", "serve", "migrate"])
def test_a_folder_that_is_not_there_is_answered_with_2(tmp_path: Path, name: str) -> None:
    done = doorward(name, "--config", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"There is no folder {tmp_path}/nowhere. Name the one with doorward.toml: --config DIR.\n"


def test_a_folder_without_the_file_is_answered_with_2(tmp_path: Path) -> None:
    done = doorward("check", "--config", str(tmp_path))
    assert done.returncode == 2
    assert "There is no doorward.toml here." in done.stdout


def test_whoever_names_the_file_means_its_folder(config: Path) -> None:
    assert doorward("check", "--config", str(config / "doorward.toml")).returncode == 0


def test_the_folder_may_be_named_in_the_environment_or_lie_here(config: Path) -> None:
    assert doorward("check", environ={**ENVIRON, "DOORWARD_CONFIG": str(config)}).returncode == 0
    assert doorward("check", folder=config.parent).returncode == 0


# --- schema ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--file", "sites.toml")])
def test_the_schema_is_printed(words: tuple[str, ...]) -> None:
    schema = json.loads(doorward("schema", *words).stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


# --- keys and the database ------------------------------------------------------------------------------


def test_a_new_master_key_is_fit_for_use_and_new_each_time() -> None:
    first, second = (doorward("keys", "new-master").stdout.strip() for _ in range(2))
    assert first != second
    assert len(base64.b64decode(first, validate=True)) == 32


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_database_is_migrated_once_and_again_without_harm(
    config: Path, database: str, request: pytest.FixtureRequest
) -> None:
    environ = ENVIRON if database == "sqlite" else request.getfixturevalue("postgres")
    words = ("migrate", "-c", str(config))
    assert doorward(*words, environ=environ).stdout == f"The database went from empty to {HEAD}.\n"
    assert doorward(*words, environ=environ).stdout == f"The database is at {HEAD}, the newest.\n"


def test_rotated_signing_keys_are_published_ahead_of_their_use(config: Path) -> None:
    """(catalogue 166)"""
    assert "no signing keys yet" in doorward("keys", "list", "-c", str(config)).stdout
    done = doorward("keys", "rotate", "-c", str(config))
    assert done.returncode == 0
    made = re.findall(r"^(\S+) \((RS256|ES256)\) signs tokens for sites from (\S+)\.$", done.stdout, re.MULTILINE)
    assert {algorithm for _, algorithm, _ in made} == {"RS256", "ES256"}
    for _, _, at in made:
        ahead = datetime.fromisoformat(at) - SystemClock().now()
        assert timedelta(minutes=25) < ahead < timedelta(minutes=31)
    listed = json.loads(doorward("keys", "list", "--json", "-c", str(config)).stdout)
    assert len(listed) == 4
    assert {kid for kid, _, _ in made} < {row["key"] for row in listed}
    shown = doorward("keys", "list", "-c", str(config)).stdout
    assert all(row["key"] in shown for row in listed)
    assert "PRIVATE" not in shown
    assert "requests" not in shown


async def make_request_keys(config: Path) -> None:
    """As the server does where a provider wants them."""
    stores = await open_durable(load_settings(config, ENVIRON))
    try:
        flow = KeyFlow(
            keys=stores.durable.keys, box=KeyBox(), clock=SystemClock(), entropy=SystemEntropy(), use=KeyUse.REQUESTS
        )
        await flow.load()
    finally:
        await stores.close()


def test_keys_for_requests_are_told_from_those_for_tokens(config: Path) -> None:
    """Whoever rotates them sees what each is for, and which providers will look for the new ones where."""
    doorward("keys", "rotate", "-c", str(config))
    asyncio.run(make_request_keys(config))
    done = doorward("keys", "rotate", "-c", str(config))
    for algorithm in ("RS256", "ES256"):
        for purpose in ("tokens for sites", "requests at providers"):
            assert len(re.findall(rf"(?m)^\S+ \({algorithm}\) signs {purpose} from ", done.stdout)) == 1
    shown = doorward("keys", "list", "-c", str(config)).stdout
    assert re.search(r"(?m)^requests-es256-1 +requests at providers +ES256 ", shown)
    assert "No provider wants those for requests now: they are at https://login.club.example/client-jwks." in shown
    text = (config / "providers.toml").read_text().replace("[idp]\n", '[idp]\nrequest_object = "by_value"\n')
    (config / "providers.toml").write_text(text)
    shown = doorward("keys", "list", "-c", str(config)).stdout
    assert "Those for requests are for idp: they are at https://login.club.example/client-jwks." in shown


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_new_data_key_seals_everything_again(config: Path, database: str, request: pytest.FixtureRequest) -> None:
    """The old key opens nothing of what is stored any more, and everybody's values are still there (catalogue 168)."""
    environ = ENVIRON if database == "sqlite" else request.getfixturevalue("postgres")
    url = environ.get("DOORWARD__BROKER__DATABASE_URL", f"sqlite:///{config}/data/doorward.db")
    assert doorward("migrate", "-c", str(config), environ=environ).returncode == 0
    owner = account("account-77")
    asyncio.run(_save(url, owner))
    done = doorward("keys", "rotate", "--data", "-c", str(config), environ=environ)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.split()[0])
    assert count >= 2
    assert asyncio.run(_read(url)) == owner
    again = doorward("keys", "rotate", "--data", "--resume", "-c", str(config), environ=environ)
    assert again.stdout == "0 stored values are encrypted under the newest data key.\n"


def test_resume_alone_means_nothing(config: Path) -> None:
    done = doorward("keys", "rotate", "--resume", "-c", str(config))
    assert (done.returncode, done.stderr) == (2, "--resume belongs to --data.\n")


@pytest.mark.parametrize("words", [("keys", "list"), ("keys", "rotate"), ("keys", "rotate", "--data"), ("migrate",)])
def test_a_database_that_is_away_is_said_in_a_sentence(config: Path, words: tuple[str, ...]) -> None:
    environ = {**ENVIRON, "DOORWARD__BROKER__DATABASE_URL": "postgresql://nobody:canary-word@127.0.0.1:9/nowhere"}
    done = doorward(*words, "-c", str(config), environ=environ)
    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer (")
    assert "canary-word" not in done.stderr


def test_a_wrong_password_for_the_database_is_said_in_a_sentence(config: Path, postgres_server: PostgresServer) -> None:
    url = f"postgresql://doorward:canary-word@127.0.0.1:{postgres_server.port}/postgres"
    done = doorward("keys", "list", "-c", str(config), environ={**ENVIRON, "DOORWARD__BROKER__DATABASE_URL": url})
    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer (postgresql InvalidPassword")
    assert "canary-word" not in done.stderr


@pytest.mark.parametrize("words", [("keys", "list"), ("keys", "rotate"), ("keys", "rotate", "--data")])
def test_another_master_key_is_said_and_changes_nothing(config: Path, words: tuple[str, ...]) -> None:
    """(catalogue 167)"""
    assert doorward("keys", "rotate", "-c", str(config)).returncode == 0
    before = _dump(config)
    other = {**ENVIRON, "MASTER": base64.b64encode(bytes(range(1, 33))).decode()}
    done = doorward(*words, "-c", str(config), environ=other)
    assert done.returncode == 1
    assert done.stderr.startswith("The master key is not the one this database was set up with.")
    assert _dump(config) == before


def test_a_database_of_a_newer_version_is_left_alone(config: Path) -> None:
    doorward("migrate", "-c", str(config))
    database = sqlite3.connect(config / "data" / "doorward.db")
    with database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = _dump(config)
    for words in (("migrate",), ("keys", "list")):
        done = doorward(*words, "-c", str(config))
        assert done.returncode == 1
        assert "newer version of Doorward" in done.stderr
    assert _dump(config) == before


# --- lists ----------------------------------------------------------------------------------------------


def test_providers_are_listed_with_the_address_to_enter_there(config: Path) -> None:
    shown = doorward("provider", "list", "-c", str(config)).stdout
    assert "https://login.club.example/callback/idp" in shown
    rows = json.loads(doorward("provider", "list", "--json", "-c", str(config)).stdout)
    assert rows == [
        {
            "id": "idp",
            "kind": "openid_connect",
            "state": "on",
            "redirect_uri": "https://login.club.example/callback/idp",
        }
    ]


def test_sites_are_listed_with_what_is_weaker_there(config: Path) -> None:
    (config / "sites.toml").write_text(SITES.replace("[forum]", "[forum]\npkce_required = false\nmay_post = true"))
    shown = doorward("site", "list", "-c", str(config)).stdout
    assert "without PKCE, may post" in shown
    assert "name?" in shown


def test_sites_that_did_not_confirm_a_sign_out_are_listed_without_people(config: Path) -> None:
    """Since when, how often, why and when next: enough to find out what is wrong there, and no more (catalogue 105)."""
    assert doorward("keys", "rotate", "-c", str(config)).returncode == 0
    assert (
        doorward("site", "untold", "-c", str(config)).stdout.strip() == "Every site that was to be told has confirmed."
    )

    async def fail_twice() -> None:
        url = f"sqlite:///{next(config.rglob('*.db'))}"
        stores = await open_stores(
            database_url=url, redis_url=None, master_key=base64.b64decode(KEY), clock=SystemClock()
        )
        whose = {"client": ClientId("forum"), "payload": {"account": "ana-0", "sid": "sid-0"}}
        late, fine = (delivery(kind="logout_token", attempts=0, **whose) for _ in range(2))
        about = {"event": "account-purged", "account": "ana-0", "session": "sid-0"}
        lost = delivery(kind="security_event", attempts=0, client=ClientId("forum"), payload=about)
        unit = stores.durable.unit()
        for one in (late, lost, fine):
            unit.enqueue(one)
        await unit.commit()
        await stores.durable.outbox.retry(late.id, SystemClock().now() + timedelta(hours=1), "status 500")
        await stores.durable.outbox.give_up(lost.id, "upstream_unavailable")
        await stores.close()

    asyncio.run(fail_twice())
    done = doorward("site", "untold", "-c", str(config))
    assert done.returncode == 1
    assert [word in done.stdout for word in ("forum", "status 500", "upstream_unavailable", "given up")] == [True] * 4
    assert "ana-0" not in done.stdout
    assert "sid-0" not in done.stdout
    rows = json.loads(doorward("site", "untold", "--json", "-c", str(config)).stdout)
    assert sorted((row["what"], row["tries"], row["went_wrong"]) for row in rows) == [
        ("account-purged", "1", "upstream_unavailable"),
        ("signed out", "1", "status 500"),
    ]


def test_lists_hold_no_secret(config: Path) -> None:
    """(catalogue 152)"""
    text = "".join(
        doorward(kind, "list", *more, "-c", str(config)).stdout
        for kind in ("provider", "site")
        for more in ((), ("--json",))
    )
    assert not [secret for secret in ENVIRON.values() if secret in text]


def test_a_new_site_secret_is_strong_and_its_place_is_told(config: Path) -> None:
    done = doorward("site", "secret", "forum", "-c", str(config))
    assert len(done.stdout.strip()) >= 43
    assert f"{config}/sites.toml:5" in done.stderr
    unknown = doorward("site", "secret", "wiki", "-c", str(config))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There are: forum." in unknown.stderr
    assert doorward("site", "secret").stdout.strip() != doorward("site", "secret").stdout.strip()


# --- mistakes of other kinds ----------------------------------------------------------------------------


def test_a_data_folder_that_cannot_be_is_named(config: Path) -> None:
    (config / "data").write_text("a file")
    done = doorward("migrate", "-c", str(config))
    assert done.returncode == 1
    assert done.stderr.startswith(f"The folder {config}/data cannot be made: File exists.")


async def _save(url: str, owner: Account) -> None:
    stores = await open_stores(database_url=url, redis_url=None, master_key=base64.b64decode(KEY), clock=SystemClock())
    try:
        unit, proof = stores.durable.unit(), receipt(owner.id)
        unit.add_account(owner)
        unit.append_receipt(proof)
        unit.add_link(link(owner, receipt=proof.id))
        await unit.commit()
    finally:
        await stores.close()


async def _read(url: str) -> object:
    stores = await open_stores(database_url=url, redis_url=None, master_key=base64.b64decode(KEY), clock=SystemClock())
    try:
        return await stores.durable.accounts.load(AccountId("account-77"))
    finally:
        await stores.close()


def _dump(config: Path) -> list[str]:
    database = sqlite3.connect(config / "data" / "doorward.db")
    try:
        return list(database.iterdump())
    finally:
        database.close()


# --- accounts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_account_is_held_and_released_by_its_user_name(
    config: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """What people keep is not shown: numbers and names of things."""
    environ = ENVIRON if database == "sqlite" else request.getfixturevalue("postgres")
    url = environ.get("DOORWARD__BROKER__DATABASE_URL", f"sqlite:///{config}/data/doorward.db")
    assert doorward("migrate", "-c", str(config), environ=environ).returncode == 0
    owner = replace(account("account-77"), status=AccountStatus.ACTIVE)
    asyncio.run(_save(url, owner))
    name = owner.profile[PREFERRED_USERNAME].value

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return doorward("account", *words, "-c", str(config), environ=environ)

    shown = json.loads(run("show", name, "--json").stdout)
    assert (shown["id"], shown["state"], shown["devices"]) == ("account-77", "active", "0")
    assert not [held.value for held in owner.profile.values() if held.value in str(shown)]
    assert f"{name} is on hold and signed out everywhere." in run("hold", name, "--why", "Spam.").stdout
    assert json.loads(run("show", "account-77", "--json").stdout)["state"] == "held"
    assert "was on hold already" in run("hold", name, "--why", "Spam.").stdout
    assert run("release", name, "--why", "They wrote.").stdout == f"{name} can sign in again.\n"
    assert run("release", name, "--why", "They wrote.").stdout == f"{name} was not on hold.\n"
    kept = asyncio.run(_read(url))
    assert isinstance(kept, Account)
    assert (kept.status, kept.profile) == (owner.status, owner.profile)
    assert "account-77" in run("show", name).stdout


@pytest.mark.parametrize("command", ["show", "hold", "release"])
def test_an_account_that_is_not_there_is_said_in_a_sentence(config: Path, command: str) -> None:
    why = () if command == "show" else ("--why", "Spam.")
    done = doorward("account", command, "nobody", *why, "-c", str(config))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "There is no account nobody: neither a user name nor a proved e-mail address nor an id. "
        "Whoever has none yet signs up first, as everybody does.\n"
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_requests_to_delete_are_listed_approved_and_dismissed(
    config: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """Nothing is deleted until somebody decides, and nobody decides twice."""
    environ = ENVIRON if database == "sqlite" else request.getfixturevalue("postgres")
    url = environ.get("DOORWARD__BROKER__DATABASE_URL", f"sqlite:///{config}/data/doorward.db")
    assert doorward("migrate", "-c", str(config), environ=environ).returncode == 0
    owner = replace(account("account-77"), status=AccountStatus.ACTIVE)
    asyncio.run(_save(url, owner))
    asyncio.run(
        _ask_for_deletion(url, removal(code="CODE1", account=owner.id), removal(code="CODE2", account=owner.id))
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return doorward("account", "review", *words, "-c", str(config), environ=environ)

    listed = run("list")
    assert listed.returncode == 1
    assert [word in listed.stdout for word in ("CODE1", "CODE2", "account-77", "facebook")] == [True] * 4
    assert not [held.value for held in owner.profile.values() if held.value in listed.stdout]
    assert [row["code"] for row in json.loads(run("list", "--json").stdout)] == ["CODE1", "CODE2"]
    assert run("dismiss", "CODE1").returncode == 2
    assert run("dismiss", "CODE1", "--reason", " ").stderr == "Give a reason: the person reads it.\n"
    assert "The page of CODE1 gives the reason." in run("dismiss", "CODE1", "--reason", "They stay.").stdout
    assert isinstance(asyncio.run(_read(url)), Account)
    assert run("approve", "CODE2", "--why", "As asked.").stdout.startswith("The account account-77 is deleted.")
    assert asyncio.run(_read(url)) is None
    for words in (("approve", "CODE1", "--why", "As asked."), ("dismiss", "CODE2", "--reason", "Too late.")):
        done = run(*words)
        assert (done.returncode, done.stderr) == (
            1,
            f"No request {words[1]} waits. `doorward account review list` shows those that do.\n",
        )
    done = run("list")
    assert (done.returncode, done.stdout) == (0, "No request waits.\n")


async def _ask_for_deletion(url: str, *asked: Removal) -> None:
    stores = await open_stores(database_url=url, redis_url=None, master_key=base64.b64decode(KEY), clock=SystemClock())
    try:
        unit = stores.durable.unit()
        for one in asked:
            unit.put_removal(one, over=None)
        await unit.commit()
    finally:
        await stores.close()


# --- who has a role, and what was done ------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_first_owner_is_made_by_a_command_and_what_is_done_is_told_in_a_chain(
    config: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """The last owner stays one; who did it, for whom and why is kept, and a change of it is named."""
    environ = ENVIRON if database == "sqlite" else request.getfixturevalue("postgres")
    url = environ.get("DOORWARD__BROKER__DATABASE_URL", f"sqlite:///{config}/data/doorward.db")
    assert doorward("migrate", "-c", str(config), environ=environ).returncode == 0
    ana, ben = (replace(account(f"account-{number}"), status=AccountStatus.ACTIVE) for number in (77, 78))
    asyncio.run(_save(url, ana))
    asyncio.run(_save(url, replace(ben, profile={})))
    name = ana.profile[PREFERRED_USERNAME].value

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return doorward(*words, "-c", str(config), environ=environ)

    assert "Nobody has a role." in run("admin", "list").stdout
    assert run("admin", "log").stdout == "Nothing was done yet.\n"
    assert run("admin", "add", name, "--role", "owner").returncode == 2
    assert run("admin", "add", name, "--role", "owner", "--why", " ").stderr.endswith("Say why: --why TEXT.\n")
    early = run("admin", "add", name, "--role", "admin", "--why", "Helps.")
    assert (early.returncode, "There is no owner yet." in early.stderr) == (1, True)
    assert run("admin", "add", name, "--role", "owner", "--why", "First.").stdout == f"{name} is owner now.\n"
    assert run("admin", "add", name, "--role", "owner", "--why", "First.").stdout == f"{name} was owner already.\n"
    assert "is the only owner" in run("admin", "remove", name, "--why", "Left.").stderr
    assert "has no role here" in run("account", "hold", name, "--why", "Spam.", "--by", "account-78").stderr
    assert run("account", "hold", "account-78", "--why", "Spam.", "--by", name).returncode == 0
    assert "has no role." in run("admin", "remove", "account-78", "--why", "Left.").stderr
    assert run("admin", "add", "account-78", "--role", "tester", "--why", "Looks.").returncode == 0
    assert "has no role here" in run("account", "hold", name, "--why", "Spam.", "--by", "account-78").stderr
    assert run("admin", "remove", "account-78", "--why", "Left.").returncode == 0
    rows = json.loads(run("admin", "list", "--json").stdout)
    assert [(row["name"], row["role"], row["account"]) for row in rows] == [(name, "owner", "account-77")]
    assert name in run("admin", "list").stdout
    told = run("admin", "log", "--json")
    assert told.returncode == 0
    who = pwd.getpwuid(os.getuid()).pw_name
    assert [tuple(row[key] for key in ("who", "what", "whom", "why")) for row in json.loads(told.stdout)] == [
        (who, "role given", "account-77 owner", "First."),
        (f"{who} for account-77 (owner)", "account held", "account-78", "Spam."),
        (who, "role given", "account-78 tester", "Looks."),
        (who, "role taken", "account-78 tester", "Left."),
    ]
    newest = run("admin", "log", "--json", "--last", "1")
    assert [row["number"] for row in json.loads(newest.stdout)] == ["4"], "the newest, and what is left off is said"
    assert newest.stderr == "3 older entries are left off; --last 4 shows all.\n"
    assert run("admin", "log", "--last", "3").stderr == "1 older entry is left off; --last 4 shows all.\n"
    assert told.stderr == ""
    if database == "sqlite":
        _change_the_past(config)
        broken = run("admin", "log")
        assert (broken.returncode, "Entry 1 is not as it was written" in broken.stderr) == (1, True)


def _change_the_past(config: Path) -> None:
    """As somebody could who has the database: the trigger goes first."""
    database = sqlite3.connect(config / "data" / "doorward.db")
    try:
        database.executescript("DROP TRIGGER audit_no_update; UPDATE audit SET why = 'Nothing.' WHERE number = 1")
    finally:
        database.close()


def test_what_a_command_does_is_never_cut_in_the_list_of_commands() -> None:
    """Every group's `--help` has each command's first sentence whole, over as many lines as it takes."""
    groups: list[tuple[tuple[str, ...], click.Group]] = [((), main)]
    for words, group in groups:
        groups += [((*words, name), one) for name, one in group.commands.items() if isinstance(one, click.Group)]
        shown = " ".join(doorward(*words, "--help").stdout.partition("Commands:")[2].split())
        assert "..." not in shown, words
        for name, one in group.commands.items():
            sentence = " ".join((one.help or "").split("\n\n")[0].split())
            assert f"{name} {sentence.partition('. ')[0].removesuffix('.')}" in shown, (words, name)
    assert len(groups) > 4

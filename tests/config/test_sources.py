"""Where settings come from: files, `conf.d`, the environment, and the secrets they point at."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.folder import DOORWARD, ENVIRON, KEY, PROVIDERS, SECRET, SITES, load, only_problem, problems, write

from broker.domain.values import ClientId
from broker.settings import read_settings


def test_a_right_configuration_has_no_problem(tmp_path: Path) -> None:
    assert problems(write(tmp_path)) == ()


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    """Defaults, files, `conf.d` by name, environment."""
    write(tmp_path)
    assert load(tmp_path).broker.port == 8000
    write(tmp_path, doorward=DOORWARD.replace("[broker]", "[broker]\nport = 8001"))
    assert load(tmp_path).broker.port == 8001
    write(tmp_path, a="[broker]\nport = 8003", b="[broker]\nport = 8004")
    assert load(tmp_path).broker.port == 8004
    assert load(tmp_path, {**ENVIRON, "DOORWARD__BROKER__PORT": "8005"}).broker.port == 8005


def test_a_file_of_conf_d_adds_sites_and_providers(tmp_path: Path) -> None:
    wiki = SITES.replace("[forum", "[sites.wiki").replace("forum.example", "wiki.example").replace("FORUM", "WIKI")
    write(tmp_path, wiki=wiki)
    settings = load(tmp_path, {**ENVIRON, "WIKI": "wiki-secret-0123456789abcdef01234"})
    assert set(settings.clients) == {"forum", "wiki"}


def test_the_environment_reaches_every_kind_of_option(tmp_path: Path) -> None:
    environ = {
        "DOORWARD__BROKER__POSTING_ENABLED": "true", "DOORWARD__BROKER__LOCALES": "fr, en",
        "DOORWARD__BROKER__TRUSTED_PROXIES": "10.0.0.0/8,::1", "DOORWARD__FIELDS__NAME__PURPOSE": "For you.",
        "DOORWARD__TERMS__1__EFFECTIVE_FROM": "2026-02-03", "DOORWARD__SITES__FORUM__ENABLED": "false",
        "DOORWARD__PROVIDERS__IDP__CLIENT_ID": "another", "DOORWARD__LIMITS__POSTS_PER_HOUR": "7",
    }  # fmt: skip
    settings = load(write(tmp_path), {**ENVIRON, **environ})
    assert settings.broker.posting_enabled
    assert settings.broker.locales == ("fr", "en")
    assert [str(network) for network in settings.broker.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert next(iter(settings.fields.values())).purpose == {"en": "For you."}
    assert settings.policies.terms[0].effective_from.isoformat() == "2026-02-03"
    assert not settings.clients[ClientId("forum")].enabled
    assert settings.providers[0].table["client_id"] == "another"
    assert settings.broker.limits.posts_per_hour == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOORWARD__BROKER__PORT", "many"), ("DOORWARD__BROKER__PORT", "0"), ("DOORWARD__BROKER__POSTING_ENABLED", "perhaps"),
        ("DOORWARD__BROKER__COLOUR", "red"), ("DOORWARD__COLOUR", "red"), ("DOORWARD__", "x"), ("DOORWARD__BROKER", "x"),
        ("DOORWARD__TERMS__1__EFFECTIVE_FROM", "tomorrow"),
    ],
)  # fmt: skip
def test_what_the_environment_says_wrongly_is_said_to_stand_there(tmp_path: Path, name: str, value: str) -> None:
    found = only_problem(write(tmp_path), {**ENVIRON, name: value})
    assert found.file == f"environment {name}"


def test_ids_with_capitals_and_dashes_are_found_from_the_environment(tmp_path: Path) -> None:
    write(tmp_path, sites=SITES.replace("[forum", "[My-Forum"))
    settings = load(tmp_path, {**ENVIRON, "DOORWARD__SITES__MY_FORUM__RUN_BY": "The Club"})
    assert settings.clients[ClientId("My-Forum")].run_by == "The Club"


# --- secrets --------------------------------------------------------------------------------------------


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return path


def with_key(source: str) -> str:
    return DOORWARD.replace('{ env = "MASTER" }', source)


def test_a_secret_comes_from_a_file_and_loses_one_newline(tmp_path: Path) -> None:
    write(tmp_path, providers=PROVIDERS.replace('{ env = "IDP" }', '{ file = "secret" }'))
    secret_file(tmp_path, "word\n\n")
    secret = load(tmp_path).providers[0].table["client_secret"]
    assert secret.reveal() == "word\n"  # type: ignore[attr-defined]


def test_a_secret_comes_from_a_credential_of_systemd(tmp_path: Path) -> None:
    write(tmp_path, doorward=with_key('{ credential = "secret" }'))
    secret_file(tmp_path, KEY)
    assert load(tmp_path, {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path)}).broker.master_key_bytes == bytes(
        range(32)
    )
    assert "nobody handed any over" in only_problem(tmp_path).what


@pytest.mark.parametrize("name", ["../secret", "..", "a/b"])
def test_a_credential_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path, doorward=with_key(f'{{ credential = "{name}" }}'))
    secret_file(tmp_path, KEY)
    assert only_problem(tmp_path, {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path / "x")}).key == "broker.master_key"


def test_a_secret_comes_from_a_file_that_the_environment_names(tmp_path: Path) -> None:
    write(tmp_path, doorward=DOORWARD.replace('master_key = { env = "MASTER" }\n', ""))
    secret_file(tmp_path, KEY)
    environ = {**ENVIRON, "DOORWARD__BROKER__MASTER_KEY_FILE": str(tmp_path / "secret")}
    assert load(tmp_path, environ).broker.master_key_bytes == bytes(range(32))


def test_a_secret_given_in_two_places_is_an_error(tmp_path: Path) -> None:
    """Somebody believes in the wrong one."""
    found = only_problem(write(tmp_path), {**ENVIRON, "DOORWARD__BROKER__MASTER_KEY": KEY})
    assert (found.severity, found.key) == ("error", "broker.master_key")
    assert "given twice" in found.what
    assert f"{tmp_path}/doorward.toml:3" in found.what


def test_a_secret_with_two_sources_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, doorward=with_key('{ env = "MASTER", file = "secret" }'))
    assert "given twice" in only_problem(tmp_path).what


def test_a_secret_in_plain_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, sites=SITES.replace('{ env = "FORUM" }', f'"{SECRET}"'))
    found = only_problem(tmp_path)
    assert (found.severity, found.file, found.line) == ("warning", str(tmp_path / "sites.toml"), 5)
    assert SECRET not in str(found)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o604])
def test_a_secrets_file_that_others_may_read_is_a_warning(tmp_path: Path, mode: int) -> None:
    write(tmp_path, doorward=with_key('{ file = "secret" }'))
    secret_file(tmp_path, KEY, mode)
    assert f"mode {mode:04o}" in only_problem(tmp_path).what


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_secrets_file_that_few_may_read_is_fine(tmp_path: Path, mode: int) -> None:
    write(tmp_path, doorward=with_key('{ file = "secret" }'))
    secret_file(tmp_path, KEY, mode)
    assert problems(tmp_path) == ()


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('{ file = "nowhere" }', "cannot be read: No such file"), ('{ file = "." }', "cannot be read: Is a directory"),
        ('{ env = "NOWHERE" }', "NOWHERE is not set"), ('{ file = "" }', "needs a name"), ('""', "is empty"),
        ('{ vault = "x" }', "no source of a secret"), ("7", "no source of a secret"), ("[]", "no source of a secret"),
        ('{ file = "empty" }', "is empty"), ('{ file = "binary" }', "not text"),
    ],
)  # fmt: skip
def test_a_secret_that_cannot_be_had_is_named_with_its_place(tmp_path: Path, source: str, what: str) -> None:
    """(catalogue 167)"""
    write(tmp_path, doorward=with_key(source))
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    found = only_problem(tmp_path)
    assert (found.key, found.line, found.severity) == ("broker.master_key", 3, "error")
    assert what in found.what
    assert found.fix


@pytest.mark.parametrize(
    ("doorward", "sites", "command"),
    [
        (with_key('{ file = "nowhere" }'), None, "doorward keys new-master > "),
        (None, SITES.replace('{ env = "FORUM" }', '{ file = "nowhere" }'), "doorward site secret > "),
    ],
)
def test_for_a_secret_that_is_not_there_the_command_that_makes_one_is_named(
    tmp_path: Path, doorward: str | None, sites: str | None, command: str
) -> None:
    given = {name: text for name, text in (("doorward", doorward), ("sites", sites)) if text is not None}
    write(tmp_path, **given)
    found = only_problem(tmp_path)
    assert found.fix == f"Make one: (umask 027; {command}{tmp_path / 'nowhere'})"


def test_a_table_of_a_site_by_its_bare_name_is_told_where_it_belongs(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "club.toml").write_text('[club]\nname = "Club"\n')
    found = only_problem(tmp_path)
    assert found.key == "club"
    assert "For a site write [sites.club], for a provider [providers.club]." in found.fix


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Neither by the settings themselves nor by what is said about them (catalogue 152)."""
    url = "postgresql://user:canary-word@db/x"
    settings = read_settings(write(tmp_path), {**ENVIRON, "DOORWARD__BROKER__DATABASE_URL": url}, make_master_key=False)
    shown = f"{settings!r} {settings.broker!r} {settings.providers!r} {settings.clients!r} {settings.warnings!r}"
    for secret in (KEY, SECRET, ENVIRON["IDP"], "canary-word"):
        assert secret not in shown


# --- files ----------------------------------------------------------------------------------------------


def test_a_file_that_is_no_toml_is_the_only_thing_said(tmp_path: Path) -> None:
    """What stands in it is missing everywhere else; telling that too would bury the one mistake."""
    write(tmp_path, doorward=DOORWARD.replace('audience = "everyone"', "audience = everyone"))
    found = only_problem(tmp_path)
    assert (found.file, found.line) == (str(tmp_path / "doorward.toml"), 10)
    assert found.what.startswith("This is not TOML")


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = '\udcff'", "[a]\n[a]", "a = 1\na = 2", "\x00"])
def test_hostile_files_are_named_and_nothing_breaks(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    (tmp_path / "sites.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert only_problem(tmp_path).file == str(tmp_path / "sites.toml")


def test_a_folder_without_the_main_file_is_named(tmp_path: Path) -> None:
    assert "There is no doorward.toml" in only_problem(tmp_path).what


def test_a_table_in_the_place_of_a_value_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        doorward=DOORWARD + "\n[limits]\nposts_per_hour = { a = 1 }\n",
        providers="idp = 7\n",
        sites='forum = "x"\n',
    )
    keys = {problem.key for problem in problems(tmp_path)}
    assert {"limits.posts_per_hour", "idp", "forum"} <= keys

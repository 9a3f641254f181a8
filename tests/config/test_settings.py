"""What a configuration may say: production by default, nothing weak by accident, every mistake named at once."""

from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path

import pytest
from tests.config.folder import DOORWARD, ENVIRON, PROVIDERS, SITES, load, only_problem, problems, write

from broker.domain.values import ClientId
from broker.egress import Exemption
from broker.errors import ConfigurationError, Problem
from broker.settings import collect_problems, load_settings, merged_problems, read_master_key
from broker.settings_schema import EVERYTHING, Kind, Option, json_schema, option_at

DEVELOPMENT = DOORWARD.replace("https://login.club.example", "http://localhost:8000").replace(
    "[broker]", '[broker]\nmode = "development"'
)


def broker_with(line: str) -> str:
    return DOORWARD.replace("[broker]\n", f"[broker]\n{line}\n")


def test_production_is_the_default(tmp_path: Path) -> None:
    broker = load(write(tmp_path)).broker
    assert (broker.mode, broker.secure, broker.development, broker.console_log) == ("production", True, False, False)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://login.club.example", "plain http"), ("http://localhost:8000", "plain http in production"),
        ("https://login.club.example/", "something after the host"), ("https://login.club.example/auth", "something after"),
        ("https://LOGIN.example.org", "not spelled"), ("https://login.club.example:443", "not spelled"),
        ("https://login.club.example.", "not spelled"), ("login.club.example", "not a whole web address"),
        ("https://me@login.club.example", "not a whole web address"), ("javascript:alert(1)", "not a whole web address"),
        ("", "not a whole web address"),
    ],
)  # fmt: skip
def test_an_address_that_browsers_would_not_show_is_refused(tmp_path: Path, url: str, what: str) -> None:
    write(tmp_path, doorward=DOORWARD.replace("https://login.club.example", url))
    assert any(what in problem.what and problem.key == "broker.public_url" for problem in problems(tmp_path))
    with pytest.raises(ConfigurationError):
        load(tmp_path)


def test_development_makes_its_own_master_key_once(tmp_path: Path) -> None:
    write(tmp_path, doorward=DEVELOPMENT.replace('master_key = { env = "MASTER" }\n', ""))
    first = load(tmp_path).broker.master_key_bytes
    path = tmp_path / "data" / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(tmp_path).broker.master_key_bytes == first == read_master_key(path.read_text())
    path.write_text("not a key")
    assert "does not hold a key" in only_problem(tmp_path).what


def test_looking_makes_nothing(tmp_path: Path) -> None:
    write(tmp_path, doorward=DEVELOPMENT.replace('master_key = { env = "MASTER" }\n', ""))
    assert problems(tmp_path) == ()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "key", ["short", "A" * 44, "0" * 64, base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"ab" * 16).decode()]
)
def test_a_weak_master_key_is_refused(tmp_path: Path, key: str) -> None:
    """(catalogue 167)"""
    found = only_problem(write(tmp_path), {**ENVIRON, "MASTER": key})
    assert (found.key, found.severity) == ("broker.master_key", "error")
    assert key not in str(found)


@pytest.mark.parametrize(
    "text", [bytes(range(32)).hex(), base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")]
)
def test_a_master_key_may_be_written_in_hex_or_base64(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path), {**ENVIRON, "MASTER": text}).broker.master_key_bytes == bytes(range(32))


@pytest.mark.parametrize(
    ("given", "named"), [('"de"', "'de'"), ('"fr", "xx", "FR"', "'xx', 'FR'"), ('"en", ".."', "'..'")]
)
def test_a_language_without_words_is_refused_with_those_that_there_are(tmp_path: Path, given: str, named: str) -> None:
    tag = given.partition(",")[0].strip('"')
    write(tmp_path, doorward=broker_with(f'locales = [{given}]\ndefault_locale = "{tag}"'))
    (found,) = [problem for problem in problems(tmp_path) if problem.severity == "error"]
    assert (found.key, found.what) == ("broker.locales", f"names {named}, for which there are no words.")
    assert found.fix == "Choose of: en, fr."


def test_english_has_its_kinds(tmp_path: Path) -> None:
    write(tmp_path, doorward=broker_with('locales = ["en-GB", "fr"]\ndefault_locale = "en-GB"'))
    assert load(tmp_path).broker.locales == ("en-GB", "fr")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('default_locale = "de"', "broker.default_locale"), ("session_idle_hours = 500", "broker.session_idle_hours"),
        ("metrics_port = 8000", "broker.metrics_port"), ('trusted_proxies = ["0.0.0.0/0"]', "broker.trusted_proxies.0"),
        ('trusted_proxies = ["proxy"]', "broker.trusted_proxies.0"), ('database_url = "mysql://x/y"', "broker.database_url"),
        ('redis_url = "http://x"', "broker.redis_url"), ("port = 70000", "broker.port"), ("port = true", "broker.port"),
        ("workers = 0", "broker.workers"), ('brand = "a\\u0007"', "broker.brand"), ("locales = 7", "broker.locales"),
        ('mode = "prodution"', "broker.mode"), ('colour = "red"', "broker.colour"), ('log_level = "DEBUG"', "broker.log_level"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_by_its_key_and_says_what_to_do(tmp_path: Path, line: str, key: str) -> None:
    text = broker_with(line)
    if "trusted" in line:
        text = text.replace('trusted_proxies = ["127.0.0.1"]\n', "")
    write(tmp_path, doorward=text)
    errors = [problem for problem in problems(tmp_path) if problem.severity == "error"]
    assert [problem.key for problem in errors] == [key]
    assert errors[0].line == 2
    assert errors[0].fix


def test_what_was_probably_meant_is_offered(tmp_path: Path) -> None:
    write(tmp_path, doorward=broker_with('brnad = "x"').replace('audience = "everyone"', 'audience = "everyon"'))
    fixes = " ".join(problem.fix for problem in problems(tmp_path))
    assert "Did you mean brand?" in fixes
    assert "Did you mean everyone?" in fixes


def test_two_versions_of_the_terms_on_one_day_are_refused(tmp_path: Path) -> None:
    found = only_problem(write(tmp_path, doorward=DOORWARD + "\n[terms.2]\neffective_from = 2026-01-01\n"))
    assert found.key == "terms.2.effective_from"


@pytest.mark.parametrize("retention", ["forever", "0", "-3", "1.5"])
def test_a_retention_that_is_no_time_is_refused(tmp_path: Path, retention: str) -> None:
    text = DOORWARD.replace('audience = "everyone"', f'audience = "everyone"\nretention = "{retention}"')
    assert only_problem(write(tmp_path, doorward=text)).key == "fields.name.retention"


@pytest.mark.parametrize(
    "address",
    [
        "*:443", "idp.test", "idp.test:0", "idp.test:99999", "idp.test:https", ":443", "ana@idp.test:443", "idp.test/x:443", "a b:443",
        "[zz]:443",
    ],
)  # fmt: skip
def test_an_egress_exception_is_one_exact_address(tmp_path: Path, address: str) -> None:
    found = only_problem(write(tmp_path, doorward=f'{DOORWARD}\n[egress."{address}"]\n'))
    assert (found.key, found.fix) == (f"egress.{address}", 'Write [egress."idp.example.org:8443"].')


def test_an_egress_exception_that_is_an_address_with_a_scheme_is_told_what_to_write(tmp_path: Path) -> None:
    for address, meant in (("http://localhost:99", "localhost:99"), ("https://idp.test:8443/x", "idp.test:8443")):
        found = only_problem(write(tmp_path, doorward=f'{DOORWARD}\n[egress."{address}"]\n'))
        assert (found.key, found.fix) == (f"egress.{address}", f'Write [egress."{meant}"].')


@pytest.mark.parametrize(
    "address", ["localhost:99", "IDP.test:8443", "127.0.0.1:1", "[::1]:8443", "::1:8443", "idp.test.:443"]
)
def test_what_the_settings_take_as_an_egress_exception_the_client_takes_too(tmp_path: Path, address: str) -> None:
    """What is fine for `doorward check` must not stop the server."""
    assert problems(write(tmp_path, doorward=f'{DOORWARD}\n[egress."{address}"]\n')) == ()
    assert Exemption.parse(address).port


def test_a_missing_certificate_of_an_egress_exception_is_named(tmp_path: Path) -> None:
    text = f'{DOORWARD}\n[egress."idp.test:8443"]\nca_file = "ca.pem"\n'
    assert "There is no file" in only_problem(write(tmp_path, doorward=text)).what


def test_a_service_without_terms_ways_in_or_sites_is_warned_about(tmp_path: Path) -> None:
    text = DOORWARD.partition("[fields.name]")[0]
    found = problems(write(tmp_path, doorward=text, providers="", sites=""))
    assert {problem.severity for problem in found} == {"warning"}
    assert {problem.key for problem in found} == {"providers", "sites", "fields", "terms", "privacy"}
    load(tmp_path)


def test_production_without_a_proxy_or_an_operator_is_warned_about(tmp_path: Path) -> None:
    text = "\n".join(line for line in DOORWARD.splitlines() if not line.startswith(("operator", "trusted")))
    assert {problem.key for problem in problems(write(tmp_path, doorward=text))} == {
        "broker.operator_name", "broker.operator_contact", "broker.trusted_proxies",
    }  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        "App.example.org", "app.example.org:443", "app.example.org/client", "https://app.example.org", "app.example.org.",
        "me@app.example.org", "app.example.org?", "app example.org", "*.example.org", "app.example.org:", "app.example.org#x",
    ],
)  # fmt: skip
def test_a_host_of_documents_is_written_as_ids_have_it(tmp_path: Path, host: str) -> None:
    """Ids are compared letter by letter: any other spelling would let nobody in, and nobody would know why."""
    lines = f'client_documents = "listed"\nclient_document_hosts = ["ok.example.org:8443", "{host}"]'
    found = only_problem(write(tmp_path, doorward=broker_with(lines)))
    assert (found.key, found.severity) == ("broker.client_document_hosts.1", "error")


def test_documents_of_listed_hosts_need_a_list_and_a_list_needs_them(tmp_path: Path) -> None:
    found = only_problem(write(tmp_path, doorward=broker_with('client_documents = "listed"')))
    assert (found.key, found.severity) == ("broker.client_document_hosts", "error")
    listed = 'client_document_hosts = ["app.example.org"]'
    found = only_problem(write(tmp_path, doorward=broker_with(listed)))
    assert (found.key, found.severity) == ("broker.client_document_hosts", "warning")
    for mode in ("listed", "any"):
        write(tmp_path, doorward=broker_with(f'client_documents = "{mode}"\n{listed}'))
        assert not problems(tmp_path)
    assert load(tmp_path).broker.client_document_hosts == ("app.example.org",)


def test_development_on_a_public_address_is_warned_about(tmp_path: Path) -> None:
    assert only_problem(write(tmp_path, doorward=broker_with('mode = "development"'))).key == "broker.mode"


def test_a_sandbox_is_refused_in_production(tmp_path: Path) -> None:
    found = only_problem(write(tmp_path, providers=PROVIDERS + "sandbox = true\n"))
    assert (found.key, found.line) == ("idp.sandbox", 6)
    write(tmp_path, doorward=DEVELOPMENT, providers=PROVIDERS + "sandbox = true\n")
    load(tmp_path)


# --- sites ----------------------------------------------------------------------------------------------


def site_with(line: str) -> str:
    return SITES.replace("[forum]\n", f"[forum]\n{line}\n")


def test_a_logo_is_a_file_beside_the_configuration_or_an_address(tmp_path: Path) -> None:
    write(
        tmp_path,
        sites=site_with('logo = "forum.png"'),
        providers=PROVIDERS + 'logo = "https://idp.example.org/a.png"\n',
    )
    assert only_problem(tmp_path).what == f"There is no file {tmp_path / 'forum.png'}."
    (tmp_path / "forum.png").write_bytes(bytes(1024 * 1024))
    settings = load(tmp_path)
    assert settings.clients[ClientId("forum")].logo == str(tmp_path / "forum.png")
    assert settings.providers[0].table["logo"] == "https://idp.example.org/a.png"
    (tmp_path / "forum.png").write_bytes(bytes(1024 * 1024 + 1))
    assert only_problem(tmp_path).what == "It has more than 1 MB."


def test_an_issuer_in_plain_http_is_said_unless_the_very_address_may_be_called(tmp_path: Path) -> None:
    for issuer, address in (
        ("http://idp.example.org", "idp.example.org:80"),
        ("http://idp.example.org:8080/a", "idp.example.org:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ):
        providers = PROVIDERS.replace("https://idp.example.org", issuer)
        found = only_problem(write(tmp_path, providers=providers))
        assert (found.key, found.severity) == ("idp.issuer", "warning")
        assert f'[egress."{address}"]' in found.fix
        assert problems(write(tmp_path, doorward=f'{DOORWARD}\n[egress."{address}"]\n', providers=providers)) == ()
    assert problems(write(tmp_path, providers=PROVIDERS.replace("https://idp.example.org", "http://idp:x"))) == ()


@pytest.mark.parametrize(
    ("given", "words", "severity"),
    [
        ('"logo.svg"', "is an SVG", "error"),
        ('"https:logo.png"', "neither a whole web address nor a file", "error"),
        ('"http://idp.example.org/a.png"', "is plain http", "error"),
        ('"https://10.0.0.1/a.png"', "so we do not call it", "warning"),
        ('"https://idp.example.org:8443/a.png"', "so we do not call it", "warning"),
        ("1", "is not text", "error"),
    ],
)
def test_a_logo_that_could_not_be_shown_is_said(tmp_path: Path, given: str, words: str, severity: str) -> None:
    for files in ({"sites": site_with(f"logo = {given}")}, {"providers": f"{PROVIDERS}logo = {given}\n"}):
        found = only_problem(write(tmp_path, **{"sites": SITES, "providers": PROVIDERS} | files))
        assert words in found.what
        assert found.severity == severity
        assert found.key.endswith(".logo")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('pkce_required = false\nauth_method = "none"', "forum.client_secret"), ('scopes = ["profile"]', "forum.scopes"),
        ('scopes = ["openid", "everything"]', "forum.scopes.everything"), ('backchannel_logout_uri = "http://forum.example.org/x"', "forum.backchannel_logout_uri"),
        ('policy_uri = "http://forum.example.org/x"', "forum.policy_uri"), ('logo = "ftp://x"', "forum.logo"),
        ('post_logout_redirect_uris = ["https://forum.example.org/*"]', "forum.post_logout_redirect_uris.0"),
        ('access_tokens = "paseto"', "forum.access_tokens"), ('resources = ["api"]', "forum.resources.0"),
        ('resources = ["https://api.example.org/#x"]', "forum.resources.0"), ('resources = ["https://*.example.org/"]', "forum.resources.0"),
        ('resources = ["http://api.example.org/"]', "forum.resources.0"), (f'resources = ["https://a.example/{"x" * 200}"]', "forum.resources.0"),
        (f"resources = {[f'https://a{n}.example/' for n in range(11)]}", "forum.resources"),
        ('service_scopes = ["openid"]', "forum.service_scopes.0"), ('service_scopes = ["a b"]', "forum.service_scopes.0"),
        ('service_scopes = ["a+b"]', "forum.service_scopes.0"), ('service_scopes = [""]', "forum.service_scopes"),
        (f"service_scopes = {[f's{n}' for n in range(21)]}", "forum.service_scopes"),
        ('service_scopes = ["a"]\nauth_method = "none"', "forum.service_scopes"),
        ('serves = ["https://login.club.example"]', "forum.serves"), ('serves = ["api"]', "forum.serves.0"),
        ('serves = ["https://a.example/"]\nauth_method = "none"', "forum.serves"),
        ('subject_type = "private"', "forum.subject_type"), ('signing_algorithm = "none"', "forum.signing_algorithm"),
        ('signing_algorithm = "HS256"', "forum.signing_algorithm"),
    ],
)  # fmt: skip
def test_a_site_that_would_be_weak_is_refused(tmp_path: Path, line: str, key: str) -> None:
    errors = [
        problem.key for problem in problems(write(tmp_path, sites=site_with(line))) if problem.severity == "error"
    ]
    assert key in errors


@pytest.mark.parametrize(
    "uri",
    [
        "http://forum.example.org/callback", "https://forum.example.org/cb#x", "https://*.example.org/cb", "/callback",
        "https://me@forum.example.org/cb", "https://forum.example.org/a/../cb", "javascript:alert(1)", "",
    ],
)  # fmt: skip
def test_a_redirect_address_that_could_lead_elsewhere_is_refused(tmp_path: Path, uri: str) -> None:
    """(catalogue 4)"""
    write(tmp_path, sites=SITES.replace('["https://forum.example.org/callback"]', f'["{uri}"]'))
    assert [problem.key for problem in problems(tmp_path) if problem.severity == "error"] in (
        ["forum.redirect_uris.0"], ["forum.redirect_uris"],
    )  # fmt: skip


def test_a_secret_that_can_be_guessed_is_refused_in_production_and_warned_about_in_development(tmp_path: Path) -> None:
    environ = {**ENVIRON, "FORUM": "club"}
    assert only_problem(write(tmp_path), environ).severity == "error"
    assert only_problem(write(tmp_path, doorward=DEVELOPMENT), environ).severity == "warning"


def test_two_sites_with_one_secret_are_refused(tmp_path: Path) -> None:
    wiki = SITES.replace("[forum", "[wiki").replace("forum.example", "wiki.example")
    found = only_problem(write(tmp_path, sites=SITES + wiki))
    assert found.key == "wiki.client_secret"
    assert "each can pretend to be the other" in found.what


def test_two_secrets_hold_while_one_is_replaced_and_three_never(tmp_path: Path) -> None:
    environ = {**ENVIRON, "NEW": "new-secret-0123456789abcdef012345"}
    two = '[{ env = "NEW" }, { env = "FORUM" }]'
    write(tmp_path, sites=SITES.replace('{ env = "FORUM" }', two))
    assert len(load(tmp_path, environ).clients[ClientId("forum")].secret_digests) == 2
    write(tmp_path, sites=SITES.replace('{ env = "FORUM" }', two.replace("]", ', { env = "IDP" }]')))
    assert only_problem(tmp_path, environ).key == "forum.client_secret"


def test_pkce_off_is_a_warning_and_without_a_secret_an_error(tmp_path: Path) -> None:
    assert only_problem(write(tmp_path, sites=site_with("pkce_required = false"))).severity == "warning"
    public = site_with('pkce_required = false\nauth_method = "none"').replace('client_secret = { env = "FORUM" }\n', "")
    assert only_problem(write(tmp_path, sites=public)).severity == "error"


def test_a_pairwise_site_with_several_hosts_names_its_sector(tmp_path: Path) -> None:
    several = SITES.replace(
        '"https://forum.example.org/callback"', '"https://forum.example.org/cb", "https://old.example.org/cb"'
    )
    assert only_problem(write(tmp_path, sites=several)).key == "forum.redirect_uris"
    load(write(tmp_path, sites=several.replace("[forum]\n", '[forum]\nsector = "forum.example.org"\n')))


SHARED = 'sector_identifier_uri = "https://club.example.org/sites.json"'


def test_several_hosts_of_one_sector_may_be_listed_at_an_address(tmp_path: Path) -> None:
    several = site_with(SHARED).replace(
        '"https://forum.example.org/callback"', '"https://forum.example.org/cb", "https://old.example.org/cb"'
    )
    assert load(write(tmp_path, sites=several)).clients[ClientId("forum")].sector_identifier == "club.example.org"
    assert problems(tmp_path) == ()


@pytest.mark.parametrize(
    ("lines", "severity", "words"),
    [
        (f'{SHARED}\nsector = "club"', "error", "is of no use beside sector"),
        (f'{SHARED}\nsubject_type = "public"', "error", "with public numbers"),
        (SHARED.replace("https", "http"), "error", "is plain http"),
        (SHARED.replace("club.example.org", "127.0.0.1"), "warning", "we do not call it"),
        (SHARED.replace("club.example.org", "club.example.org:8443"), "warning", "we do not call it"),
        (SHARED.replace("https://", "https://u:p@"), "error", ""),
        ('sector_identifier_uri = "javascript:alert(1)"', "error", ""),
    ],
)
def test_the_list_of_a_sector_is_somewhere_we_may_fetch_it(
    tmp_path: Path, lines: str, severity: str, words: str
) -> None:
    """(catalogue 138)"""
    found = only_problem(write(tmp_path, sites=site_with(lines)))
    assert (found.key, found.severity) == ("forum.sector_identifier_uri", severity)
    assert words in found.what


def test_what_a_site_needs_must_be_kept(tmp_path: Path) -> None:
    needed = SITES + '\n[forum.asks.birthdate]\nwhy = "x"\nuse = "needed"\n'
    assert only_problem(write(tmp_path, sites=needed)).severity == "error"
    assert only_problem(write(tmp_path, sites=needed.replace('"needed"', '"optional"'))).severity == "warning"


def test_words_need_an_english_text(tmp_path: Path) -> None:
    write(tmp_path, sites=SITES.replace('"Shown beside your posts."', '{ fr = "À côté." }'))
    assert "no English text" in only_problem(tmp_path).what


# --- all at once ----------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_in_the_order_it_stands(tmp_path: Path) -> None:
    write(
        tmp_path,
        doorward=broker_with('port = "x"').replace("2026-01-01", '"soon"'),
        providers=PROVIDERS.replace("IDP", "NOWHERE"),
        sites=site_with("enabled = 1").replace("https://forum.example.org/callback", "x"),
    )
    with pytest.raises(ConfigurationError) as raised:
        load_settings(tmp_path, ENVIRON)
    found = [(Path(problem.file).name, problem.line, problem.key) for problem in raised.value.problems]
    assert found == [
        ("doorward.toml", 2, "broker.port"), ("doorward.toml", 19, "terms.1.effective_from"),
        ("doorward.toml", 22, "privacy.1.effective_from"), ("providers.toml", 5, "idp.client_secret"),
        ("sites.toml", 2, "forum.enabled"), ("sites.toml", 5, "forum.redirect_uris.0"),
    ]  # fmt: skip


def test_what_two_judges_say_about_one_key_is_told_once(tmp_path: Path) -> None:
    settings = load(write(tmp_path))
    warning = Problem(file="a", line=1, key="k", what="w", fix="", severity="warning")
    error = Problem(file="a", line=1, key="k", what="e", fix="")
    assert merged_problems([warning], [error]) == (error,)
    assert collect_problems(settings, [warning]) == (warning,)
    with pytest.raises(ConfigurationError):
        collect_problems(settings, [error])


# --- the list of options --------------------------------------------------------------------------------


def options(inside: tuple[Option, ...] = EVERYTHING, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Option]]:
    out = []
    for option in inside:
        path = (*at, option.name)
        out.append((path, option))
        out += options(option.inside, path if option.by_name is None else (*path, (option.by_name or ("x",))[0]))
    return out


def test_every_option_says_what_it_means_and_is_found_by_its_path() -> None:
    for path, option in options():
        assert option.doc.endswith((".", "…", "?")) or "://" in option.doc, path
        found = option_at(path)
        assert found is option, path


def test_every_option_is_in_the_schema_with_its_meaning_default_and_bounds() -> None:
    schema = json_schema()
    for path, option in options():
        here: object = schema
        for part in path:
            assert isinstance(here, dict)
            inside = here.get("properties")
            here = inside[part] if isinstance(inside, dict) and part in inside else here["additionalProperties"]
        assert isinstance(here, dict)
        assert here["description"] == option.doc
        if option.kind is Kind.NUMBER:
            assert (here["minimum"], here["maximum"], here["default"]) == (option.least, option.most, option.default)
        if option.choices:
            assert here["enum"] == list(option.choices)


def test_defaults_of_the_list_are_the_defaults_of_the_settings(tmp_path: Path) -> None:
    """One truth: what is documented is what holds."""
    broker = load(write(tmp_path)).broker
    named = {option.name: option for path, option in options() if path[0] in {"broker", "limits"} and len(path) == 2}
    for name, option in named.items():
        if option.default is None or name in {"data_dir", "trusted_proxies", "operator_name", "operator_contact"}:
            continue
        holder = broker.limits if hasattr(broker.limits, name) else broker
        value = {
            "session_idle_hours": lambda: broker.session_idle.total_seconds() / 3600,
            "session_days": lambda: broker.session_lifetime.days,
            "metrics_port": lambda: broker.metrics_port or 0,
        }.get(name, lambda holder=holder, name=name: getattr(holder, name))()
        assert value == option.default, name


def test_the_schema_of_conf_d_knows_every_table() -> None:
    known = json_schema()["properties"]
    assert isinstance(known, dict)
    assert tomllib.loads(DOORWARD).keys() <= known.keys()


# --- profiles -----------------------------------------------------------------------------------------


def profiled(*lines: str, profile: str = "fapi2") -> str:
    own = (f'profile = "{profile}"', 'jwks_uri = "https://forum.example.org/jwks"', *lines)
    return SITES.replace('client_secret = { env = "FORUM" }', "\n".join(own))


@pytest.mark.parametrize(("profile", "signs"), [("fapi2", "optional"), ("fapi2-message-signing", "required")])
def test_a_profile_sets_all_it_needs(tmp_path: Path, profile: str, signs: str) -> None:
    """FAPI 2.0 Security Profile §5.3.2, Message Signing §5.3: by one line."""
    forum = load(write(tmp_path, sites=profiled(profile=profile))).clients[ClientId("forum")]
    held = (forum.auth_method, forum.strict_jwt, forum.pkce_required, forum.par_required, forum.dpop)
    assert held == ("private_key_jwt", True, True, True, "required")
    assert (forum.signing_algorithm, forum.request_object) == ("ES256", signs)
    assert forum.rotates is False
    assert forum.is_told_signed is (signs == "required")
    assert problems(tmp_path) == ()


def test_what_a_profile_takes_may_stand_beside_it(tmp_path: Path) -> None:
    lines = ('auth_method = "private_key_jwt"', 'dpop = "nonce"', 'request_object = "required"', "device_grant = false")
    forum = load(write(tmp_path, sites=profiled(*lines))).clients[ClientId("forum")]
    assert (forum.dpop, forum.request_object, forum.is_told_signed) == ("nonce", "required", False)
    assert problems(tmp_path) == ()


@pytest.mark.parametrize(
    "line",
    [
        'auth_method = "client_secret_basic"', 'client_secret = { env = "FORUM" }', "strict_jwt = false",
        "pkce_required = false", "par_required = false", 'dpop = "optional"', 'signing_algorithm = "RS256"',
        'request_uris = ["https://forum.example.org/request"]', "device_grant = true", "gitlab_endpoints = true",
        "forward_auth = true",
    ],
)  # fmt: skip
@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing"])
def test_what_contradicts_a_profile_is_an_error_that_names_both(tmp_path: Path, line: str, profile: str) -> None:
    write(tmp_path, sites=profiled(line, profile=profile))
    found = [problem for problem in problems(tmp_path) if problem.severity == "error"]
    option = line.partition(" ")[0]
    assert [problem.key for problem in found if "contradicts" in problem.what] == [f"forum.{option}"]
    assert f'contradicts profile = "{profile}"' in found[0].what
    with pytest.raises(ConfigurationError):
        load(tmp_path)


def test_message_signing_is_contradicted_by_unsigned_requests_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    line = 'request_object = "optional"'
    assert problems(write(tmp_path / "one", sites=profiled(line))) == ()
    found = only_problem(write(tmp_path, sites=profiled(line, profile="fapi2-message-signing")))
    assert (found.key, found.fix) == ("forum.request_object", 'Write request_object = "required", or remove profile.')


def test_a_profile_sends_nobody_back_in_the_clear(tmp_path: Path) -> None:
    """Not even to this machine, nor in development (FAPI 2.0 Security Profile §5.3.2.2, 8)."""
    sites = profiled().replace('["https://forum.example.org/callback"]', '["http://localhost:9000/callback"]')
    found = only_problem(write(tmp_path, doorward=DEVELOPMENT, sites=sites))
    assert (found.key, found.severity) == ("forum.redirect_uris.0", "error")
    assert 'contradicts profile = "fapi2": it is not https.' in found.what


# --- sites that sign ----------------------------------------------------------------------------------

EC = '{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}'
PRIVATE = EC.replace('"kid"', '"d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kid"')
WITHOUT_SECRET = SITES.replace('client_secret = { env = "FORUM" }', 'auth_method = "private_key_jwt"\n%s')


def test_a_site_may_prove_itself_with_keys_written_down_or_published(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    written = load(
        write(tmp_path / "one", sites=WITHOUT_SECRET % f"jwks = '''\n{{\"keys\":\n[{EC}]}}'''\nstrict_jwt = true")
    )
    forum = written.clients[ClientId("forum")]
    assert (forum.auth_method, forum.strict_jwt, forum.secret_digests, forum.secrets) == (
        "private_key_jwt",
        True,
        (),
        (),
    )
    assert forum.jwks
    assert forum.jwks_uri is None
    published = load(write(tmp_path / "two", sites=WITHOUT_SECRET % 'jwks_uri = "https://forum.example.org/jwks"'))
    assert published.clients[ClientId("forum")].jwks_uri == "https://forum.example.org/jwks"


@pytest.mark.parametrize(
    ("lines", "key", "what"),
    [
        ("", "forum.jwks", "is missing"),
        (f"jwks = '{{\"keys\":[{EC}]}}'\njwks_uri = \"https://forum.example.org/jwks\"", "forum.jwks", "in two places"),
        (f"jwks = '{{\"keys\":[{PRIVATE}]}}'", "forum.jwks", "private key"),
        (f"jwks = '{{\"keys\":[{EC},{EC}]}}'", "forum.jwks", "cannot check"),
        ("jwks = '{\"keys\":[]}'", "forum.jwks", "cannot check"),
        ("jwks = '{\"keys\":7}'", "forum.jwks", "cannot check"),
        ('jwks_uri = "http://forum.example.org/jwks"', "forum.jwks_uri", "plain http"),
        (f'jwks = \'{{"keys":[{EC}]}}\'\nclient_secret = {{ env = "FORUM" }}', "forum.client_secret", "has no secret"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_used_are_refused(tmp_path: Path, lines: str, key: str, what: str) -> None:
    """Nobody's private half stands in our files, and each key has one place and one name (catalogue 75)."""
    found = only_problem(write(tmp_path, sites=WITHOUT_SECRET % lines))
    assert (found.key, found.severity) == (key, "error")
    assert what in found.what
    assert "870MB6" not in str(found)


@pytest.mark.parametrize("text", ["'{'", "'[]'", "7", '"%s"' % ("[" * 5000)])
def test_keys_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    keys = [problem.key for problem in problems(write(tmp_path, sites=WITHOUT_SECRET % f"jwks = {text}"))]
    assert "forum.jwks" in keys


def test_a_secret_that_signs_stays_readable_and_is_warned_about(tmp_path: Path) -> None:
    """Only there: every other secret is kept as a digest (decision 22), and 32 characters are the least (RFC 7518 §3.2)."""
    assert load(write(tmp_path)).clients[ClientId("forum")].secrets == ()
    signing = SITES.replace("client_secret = {", 'auth_method = "client_secret_jwt"\nclient_secret = {')
    warned = only_problem(write(tmp_path, sites=signing))
    assert (warned.key, warned.severity) == ("forum.auth_method", "warning")
    forum = load(tmp_path).clients[ClientId("forum")]
    assert [secret.reveal() for secret in forum.secrets] == [ENVIRON["FORUM"]]
    assert ENVIRON["FORUM"] not in repr(forum)
    found = [problem.key for problem in problems(tmp_path, {**ENVIRON, "FORUM": "f" * 31})]
    assert sorted(found) == ["forum.auth_method", "forum.client_secret"]


def test_two_sites_on_one_host_are_told_that_they_share_a_number(tmp_path: Path) -> None:
    """Unless it is said that this is meant, or each has a sector of its own."""
    second = SITES.replace("[forum", "[sites.wiki").replace("/callback", "/wiki/callback").replace("FORUM", "WIKI")
    environ = {**ENVIRON, "WIKI": "wiki-secret-0123456789abcdef01234"}
    write(tmp_path, a=second)
    [found] = problems(tmp_path, environ)
    assert (found.key, found.severity) == ("wiki.redirect_uris", "warning")
    assert "on the same host as those of forum" in found.what
    for sector in ("wiki", "forum.example.org"):
        write(tmp_path, a=second.replace("client_secret", f'sector = "{sector}"\nclient_secret', 1))
        assert problems(tmp_path, environ) == ()


ADDRESSES = 'redirect_uris = ["https://forum.example.org/callback"]'


def test_only_a_site_of_devices_has_no_address_to_come_back_to(tmp_path: Path) -> None:
    empty = SITES.replace(ADDRESSES, "redirect_uris = []")
    assert only_problem(write(tmp_path, sites=empty)).key == "forum.redirect_uris"
    load(write(tmp_path, sites=empty.replace("[forum]\n", "[forum]\ndevice_grant = true\n")))


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('security_events = ["session-revoked", "acount-purged"]', "forum.security_events.acount-purged"),
        ('security_events_uri = "https://forum.example.org/events"', "forum.security_events"),
        ('security_events_authorization = { env = "IDP" }', "forum.security_events_authorization"),
        ('security_events = ["account-purged"]\nauth_method = "client_secret_post"', "forum.security_events"),
        (
            'security_events = ["account-purged"]\nsecurity_events_uri = "http://forum.example.org/events"',
            "forum.security_events_uri",
        ),
    ],
)
def test_security_events_that_could_not_arrive_are_said(tmp_path: Path, lines: str, key: str) -> None:
    """Unknown ones, a push of nothing, a header without a push, a fetch that proves nothing, an open way."""
    assert only_problem(write(tmp_path, sites=site_with(lines))).key == key


def test_a_site_has_its_events_pushed_or_fetches_them(tmp_path: Path) -> None:
    wanted = 'security_events = ["account-purged"]'
    fetched = load(write(tmp_path, sites=site_with(wanted))).clients[ClientId("forum")]
    assert fetched.security_events == {"account-purged"}
    assert fetched.security_events_uri is None
    push = f'{wanted}\nsecurity_events_uri = "https://forum.example.org/events"'
    push += '\nsecurity_events_authorization = { env = "IDP" }\nauth_method = "client_secret_post"'
    pushed = load(write(tmp_path, sites=site_with(push))).clients[ClientId("forum")]
    assert pushed.security_events_uri == "https://forum.example.org/events"
    assert pushed.security_events_authorization is not None
    assert ENVIRON["IDP"] not in repr(pushed)


@pytest.mark.parametrize("scope", ["ssf.read", "ssf.manage"])
def test_a_site_that_proves_itself_otherwise_fetches_with_a_token_of_its_own(tmp_path: Path, scope: str) -> None:
    lines = f'security_events = ["account-purged"]\nauth_method = "client_secret_post"\nservice_scopes = ["{scope}"]'
    assert load(write(tmp_path, sites=site_with(lines))).clients[ClientId("forum")].security_events


@pytest.mark.parametrize("use", ["required", "nonce"])
def test_what_is_bound_to_a_key_is_not_beside_what_is_not(tmp_path: Path, use: str) -> None:
    """A session token is good for whoever holds it."""
    found = only_problem(write(tmp_path, sites=site_with(f'session_token = true\ndpop = "{use}"')))
    assert (found.key, found.severity) == ("forum.session_token", "error")


def test_a_forum_that_asks_by_discourse_connect_needs_its_address_and_a_long_secret(tmp_path: Path) -> None:
    """And Discourse fails for people without a name and an address: the admin is warned, and decides."""
    warned = {("forum.asks.preferred_username", "warning"), ("forum.asks.email", "warning")}
    write(tmp_path, sites=site_with('discourse_connect_secret = { env = "SHORT" }'))
    found = {(problem.key, problem.severity) for problem in problems(tmp_path, {**ENVIRON, "SHORT": "x" * 31})}
    assert found == {("forum.redirect_uris", "error"), ("forum.discourse_connect_secret", "error"), *warned}
    good = site_with('discourse_connect_secret = { env = "SHORT" }').replace("/callback", "/session/sso_login")
    write(tmp_path, sites=good)
    assert {(problem.key, problem.severity) for problem in problems(tmp_path, {**ENVIRON, "SHORT": "x" * 32})} == warned


@pytest.mark.parametrize(
    "line", ["par_required = true", 'dpop = "required"', 'dpop = "nonce"', 'request_object = "required"']
)
def test_no_demand_is_walked_around_by_discourse_connect(tmp_path: Path, line: str) -> None:
    lines = f'discourse_connect_secret = {{ env = "LONG" }}\njwks_uri = "https://forum.example.org/jwks"\n{line}'
    write(tmp_path, sites=site_with(lines).replace("/callback", "/session/sso_login"))
    found = [one for one in problems(tmp_path, {**ENVIRON, "LONG": "x" * 32}) if one.severity == "error"]
    assert [one.key for one in found] == [f"forum.{line.split(maxsplit=1)[0]}"]


@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing"])
def test_no_profile_is_walked_around_by_discourse_connect(tmp_path: Path, profile: str) -> None:
    write(tmp_path, sites=profiled('discourse_connect_secret = { env = "LONG" }', profile=profile))
    found = [one for one in problems(tmp_path, {**ENVIRON, "LONG": "x" * 32}) if one.severity == "error"]
    assert [one.key for one in found] == ["forum.discourse_connect_secret"]


def test_a_site_at_gitlabs_addresses_needs_a_name_and_an_address(tmp_path: Path) -> None:
    """Such software fails without them; the admin is warned, and decides."""
    write(tmp_path, sites=site_with("gitlab_endpoints = true"))
    found = {(problem.key, problem.severity) for problem in problems(tmp_path)}
    assert found == {("forum.asks.preferred_username", "warning"), ("forum.asks.email", "warning")}


def test_codes_by_e_mail_need_somebody_who_carries_them(tmp_path: Path) -> None:
    """Off unless switched on; in development the folder will do."""
    assert not load(write(tmp_path)).mail.sign_in_codes
    text = DOORWARD + "\n[mail]\nsign_in_codes = true\n"
    assert only_problem(write(tmp_path, doorward=text)).key == "mail.sign_in_codes"
    served = text + 'host = "mail.club.example"\nsender = "login@club.example"\n'
    assert load(write(tmp_path, doorward=served)).mail.sign_in_codes
    development = text.replace("[broker]\n", '[broker]\nmode = "development"\n')
    assert load(write(tmp_path, doorward=development)).mail.sign_in_codes


def test_passkeys_belong_to_a_name(tmp_path: Path) -> None:
    """Off unless switched on; browsers make none for a number."""
    assert not load(write(tmp_path)).broker.passkeys
    text = DOORWARD.replace("[broker]\n", "[broker]\npasskeys = true\n")
    assert load(write(tmp_path, doorward=text)).broker.passkeys
    address = text.replace("[broker]\n", '[broker]\nmode = "development"\n')
    for url, is_fine in (
        ("http://localhost:8000", True),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
    ):
        told = re.sub(r'public_url = "[^"]*"', f'public_url = "{url}"', address)
        assert url in told
        found = [one.key for one in problems(write(tmp_path, doorward=told)) if one.severity == "error"]
        assert found == ([] if is_fine else ["broker.passkeys"])

"""Configuration files, environment and secret files become one frozen `Settings`; every mistake is found at once.

`load_settings` reads and judges; it touches no network. What only a provider's own code can judge about its table is
judged by `broker.app` and put beside the rest by `collect_problems`. The order of sources is in `settings_sources`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from broker import paths
from broker.chance import SystemEntropy
from broker.domain.age import AgeRule
from broker.domain.client import Client
from broker.domain.documents import SCHEME, host_of, is_document_id
from broker.domain.policy import Audience, FieldPolicy, Policies, PolicyVersion, Use
from broker.domain.registration import PREFIX
from broker.domain.values import ClaimName, ClientId, ProviderId, Secret
from broker.errors import ConfigurationError, Problem
from broker.locator import Path as Key
from broker.settings_logos import read_logo
from broker.settings_mail import MailSettings, read_mail
from broker.settings_reader import Reader
from broker.settings_schema import AGE, BROKER, DOORWARD, LIMITS, PROVIDER, Kind, option_at
from broker.settings_sites import is_loopback, read_sites
from broker.settings_sources import UNREADABLE, Draft, Origin, Where, nearest, shown, top_level

Network: TypeAlias = IPv4Network | IPv6Network
_HOST_NAME: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?")
MASTER_KEY_BYTES: Final = 32
MASTER_KEY_FILE: Final = "master.key"
_DATABASES: Final = frozenset({"sqlite", "postgresql", "postgres"})
_REDIS: Final = frozenset({"redis", "rediss", "unix"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]`: how often things may be tried."""

    client_failures_per_minute: int = 30
    sign_ins_per_minute: int = 60
    sign_ups_per_hour: int = 20
    posts_per_hour: int = 20
    connections: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressException:
    """One exact `host:port` that may be reached against the rules; TLS stays verified, against `ca_file` if given."""

    address: str
    ca_file: Path | None = None
    registered_sites: bool = False
    """Whether sites that registered by themselves may name it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """`[broker]`: the service itself."""

    public_url: str
    mode: str = "production"
    brand: str = "Doorward"
    operator_name: str = ""
    operator_contact: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    data_dir: Path
    database_url: str = field(repr=False)
    """`sqlite:////absolute/path` or `postgresql://…`; always set."""
    redis_url: str | None = field(default=None, repr=False)
    master_key: Secret = field(repr=False)
    """As it was given: base64 or hex. See `master_key_bytes`."""
    trusted_proxies: tuple[Network, ...] = ()
    locales: tuple[str, ...] = ("en", "fr")
    default_locale: str = "en"
    posting_enabled: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    log_level: str = "info"
    log_format: str = "auto"
    log_requests: bool = False
    status_lists: bool = True
    session_management: bool = False
    passkeys: bool = False
    registration: str = "off"
    registration_pkce: bool = True
    client_documents: str = "off"
    client_document_hosts: tuple[str, ...] = ()
    session_idle: timedelta = timedelta(hours=24)
    session_lifetime: timedelta = timedelta(days=14)
    stop_seconds: int = 30
    drain_seconds: int = 0
    egress: tuple[EgressException, ...] = ()
    limits: Limits = Limits()

    @property
    def development(self) -> bool:
        return self.mode == "development"

    @property
    def secure(self) -> bool:
        """Whether cookies get the `__Host-` prefix and `Secure` (decision 2)."""
        return self.public_url.startswith("https://")

    @property
    def master_key_bytes(self) -> bytes:
        """The 32 bytes themselves."""
        return read_master_key(self.master_key.reveal()) or b""

    @property
    def console_log(self) -> bool:
        """Whether log lines are for reading by people."""
        return self.log_format == "console" or (self.log_format == "auto" and self.development)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newsletter:
    """`[newsletters.ID]`: something people can choose to get."""

    id: str
    label: Mapping[str, str]
    rhythm: Mapping[str, str]
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTable:
    """One table of `providers.toml`, secrets resolved, for `providers.preset` to read."""

    id: ProviderId
    table: Mapping[str, object] = field(repr=False)
    where: Where = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the admin decided."""

    broker: BrokerSettings
    fields: Mapping[ClaimName, FieldPolicy]
    policies: Policies
    newsletters: tuple[Newsletter, ...] = ()
    providers: tuple[ProviderTable, ...] = ()
    mail: MailSettings = field(default_factory=MailSettings)
    age: AgeRule | None = None
    """`None`: nobody is asked how old they are."""
    clients: Mapping[ClientId, Client]
    folder: Path
    """Where the configuration lies."""
    warnings: tuple[Problem, ...] = ()
    """What is not wrong but not right either."""
    origins: Mapping[Key, Origin] = field(default_factory=dict, repr=False)


def load_settings(config_dir: Path, environ: Mapping[str, str], *, make_master_key: bool = True) -> Settings:
    """Read the configuration folder. Raises `ConfigurationError` with every problem, warnings included.

    In development a missing master key is made in the data folder, unless `make_master_key` is off (then a passing
    one stands in, for checks only).
    """
    settings = read_settings(config_dir, environ, make_master_key=make_master_key)
    if any(problem.severity == "error" for problem in settings.warnings):
        raise ConfigurationError(settings.warnings)
    return settings


EXAMPLE: Final = "https://login.example.org"
"""The `public_url` that the configuration is shipped with."""


def read_settings(config_dir: Path, environ: Mapping[str, str], *, make_master_key: bool = True) -> Settings:
    """The same without raising: every problem is among `warnings`, and harmless values stand in for what is wrong.

    Only for telling what is wrong; nothing can be served with it.
    """
    draft = Draft(config_dir, environ)
    draft.read()
    settings = _Loader(draft, make_master_key=make_master_key).settings()
    unreadable = [problem for problem in draft.problems if problem.what.startswith(UNREADABLE)]
    # What stands in a file that cannot be read is missing everywhere else: telling that too would bury the one mistake.
    return replace(settings, warnings=tuple(_in_order(unreadable or draft.problems)))


def collect_problems(settings: Settings, preset_problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """All problems of the settings and of the providers' tables, each once, warnings first noted by `load_settings`.

    Raises `ConfigurationError` with all of them if one is an error.
    """
    problems = merged_problems(settings.warnings, preset_problems)
    if any(problem.severity == "error" for problem in problems):
        raise ConfigurationError(problems)
    return problems


_WORDLESS: Final = frozenset({"en", "qps"})
"""Languages without a catalogue: the one that pages are written in, in all its kinds, and the one that tries pages out."""


def _languages() -> tuple[str, ...]:
    """The languages that the pages have words for: English is in the templates, and each other one has a catalogue."""
    return ("en", *sorted(folder.name for folder in (paths.templates() / "locales").iterdir() if folder.is_dir()))


def merged_problems(*lists: Iterable[Problem]) -> tuple[Problem, ...]:
    """All of them in the order they stand in; of several about one key the first, an error before a warning."""
    merged: dict[tuple[str, int, str], Problem] = {}
    for problem in sorted(
        (problem for problems in lists for problem in problems), key=lambda one: one.severity != "error"
    ):
        merged.setdefault((problem.file, problem.line, problem.key), problem)
    return tuple(_in_order(merged.values()))


def read_master_key(text: str) -> bytes | None:
    """32 bytes from base64 (either alphabet) or hex; `None` for anything else."""
    text = text.strip()
    try:
        if len(text) == 2 * MASTER_KEY_BYTES:
            return bytes.fromhex(text)
        raw = base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == MASTER_KEY_BYTES else None


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.key))


class _Loader:
    def __init__(self, draft: Draft, *, make_master_key: bool) -> None:
        self.draft, self.make_master_key = draft, make_master_key
        self.reader = Reader(draft)
        self.tree: Mapping[str, Any] = draft.tree

    def settings(self) -> Settings:
        self.reader.unknown((), self.tree, top_level())
        limits = self.reader.table(("limits",), self.tree.get("limits", {}), LIMITS)
        egress = self._egress()
        broker = self._broker(Limits(**limits), egress)
        fields = self._fields()
        given = self.tree.get("broker")
        development = isinstance(given, Mapping) and given.get("mode") == "development"
        exempt = frozenset(one.address.lower() for one in egress)
        clients = read_sites(
            self.reader,
            fields,
            issuer=broker.public_url,
            development=development,
            exempt=exempt,
        )
        self._registered_ids(clients)
        providers = self._providers(exempt, development=development)
        policies = Policies(terms=self._policy("terms"), privacy=self._policy("privacy"))
        newsletters = self._newsletters()
        minimum = self.reader.table(("age",), self.tree.get("age", {}), AGE)["minimum"]
        mail = read_mail(
            self.reader,
            self.tree.get("mail", {}),
            brand=broker.brand,
            public_host=urlsplit(broker.public_url).hostname or "localhost",
            data_dir=broker.data_dir,
            development=development,
        )
        self._emptiness(fields)
        return Settings(
            broker=broker,
            fields=fields,
            policies=policies,
            newsletters=newsletters,
            providers=providers,
            mail=mail,
            age=AgeRule(minimum=minimum) if minimum else None,
            clients=clients,
            folder=self.draft.folder,
            origins=self.draft.origins,
        )

    # --- [broker] -------------------------------------------------------------------------------------

    def _registered_ids(self, clients: Mapping[ClientId, Client]) -> None:
        for client_id in clients:
            if client_id.startswith(PREFIX):
                self.draft.problem(
                    ("sites", client_id),
                    f"begins with {PREFIX}, as ids of sites do that registered by themselves.",
                    "Give it another id.",
                )

    def _broker(self, limits: Limits, egress: tuple[EgressException, ...]) -> BrokerSettings:
        values = self.reader.table(("broker",), self.tree.get("broker", {}), BROKER)
        development = values["mode"] == "development"
        public_url = self._public_url(values["public_url"], development=development)
        data_dir = self.draft.path(values["data_dir"])
        database_url = self._database(values["database_url"], data_dir)
        redis_url = self._redis(values["redis_url"])
        self._agreement(values)
        master_key = self._master_key(values["master_key"], data_dir, development=development)
        plain = {name: values[name] for name in _AS_GIVEN}
        return BrokerSettings(
            **plain,
            public_url=public_url,
            data_dir=data_dir,
            database_url=database_url,
            redis_url=redis_url,
            master_key=master_key,
            metrics_port=values["metrics_port"] or None,
            session_idle=timedelta(hours=values["session_idle_hours"]),
            session_lifetime=timedelta(days=values["session_days"]),
            egress=egress,
            limits=limits,
        )

    def _public_url(self, url: str, *, development: bool) -> str:
        key = ("broker", "public_url")
        if not url:
            return url  # wrong or missing, and said already
        parts = urlsplit(url)
        bare = f"{parts.scheme}://{parts.netloc}"
        if url != bare:
            self.draft.problem(key, "has something after the host.", f'Write public_url = "{bare}".')
        if parts.netloc != parts.netloc.lower() or parts.netloc.endswith(
            (":443" if parts.scheme == "https" else ":80", ".")
        ):
            self.draft.problem(key, "is not spelled as browsers do.", "Small letters, no default port, no last dot.")
        if url == EXAMPLE:
            fix = "Write the address that people will see in their browser."
            self.draft.problem(key, "is still the example's.", fix, severity="warning")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            self.draft.problem(key, "is plain http.", "Use https; plain http works on this machine alone.")
        elif parts.scheme == "http" and not development:
            self.draft.problem(
                key, "is plain http in production mode.", 'Use https, or write mode = "development" to try things out.'
            )
        if development and not is_loopback(parts.hostname):
            self.draft.problem(
                ("broker", "mode"),
                "Development mode on an address that others can reach tells them more than it should.",
                "Remove mode.",
                severity="warning",
            )
        return url

    def _database(self, given: Secret | None, data_dir: Path) -> str:
        if given is None:
            return f"sqlite:///{data_dir / 'doorward.db'}"
        url = given.reveal()
        if url and urlsplit(url).scheme not in _DATABASES:
            self.draft.problem(
                ("broker", "database_url"),
                "is no database we know.",
                "Write postgresql://user:word@host/name, or nothing.",
            )
        return url

    def _redis(self, given: Secret | None) -> str | None:
        if given and urlsplit(given.reveal()).scheme not in _REDIS:
            self.draft.problem(("broker", "redis_url"), "is not Redis.", "Write redis://host:6379/0, or nothing.")
        return given.reveal() if given is not None else None

    def _agreement(self, values: Mapping[str, Any]) -> None:
        """Options that must fit each other."""
        there = _languages()
        unknown = [tag for tag in values["locales"] if tag not in there and tag.partition("-")[0] not in _WORDLESS]
        if unknown:
            self.draft.problem(
                ("broker", "locales"),
                f"names {', '.join(map(repr, unknown))}, for which there are no words.",
                f"Choose of: {', '.join(there)}.",
            )
        if values["default_locale"] not in values["locales"]:
            self.draft.problem(
                ("broker", "default_locale"),
                "is not one of locales.",
                f"Choose one of: {', '.join(values['locales'])}.",
            )
        if values["session_idle_hours"] > values["session_days"] * 24:
            self.draft.problem(
                ("broker", "session_idle_hours"),
                "is longer than session_days.",
                "A browser would never be signed out for idleness.",
            )
        if values["passkeys"] and _is_number(urlsplit(values["public_url"] or "").hostname):
            self.draft.problem(
                ("broker", "passkeys"),
                "needs a public_url with a name: browsers make no passkeys for a number.",
                "Use a name, such as localhost to try things out, or remove passkeys.",
            )
        if values["metrics_port"] == values["port"]:
            self.draft.problem(("broker", "metrics_port"), "is the port people use.", "Choose another.")
        if values["metrics_port"] and not is_loopback(values["metrics_host"]):
            self.draft.problem(
                ("broker", "metrics_host"), "Whoever reaches this address reads the numbers.", "Let only Prometheus reach it.",
                severity="warning",
            )  # fmt: skip
        self._documents(values)
        for number, network in enumerate(values["trusted_proxies"]):
            if network.prefixlen == 0:
                self.draft.problem(
                    ("broker", "trusted_proxies", str(number)),
                    "believes everybody.",
                    "Name the networks of your proxies.",
                )
        if values["mode"] == "production" and not values["trusted_proxies"]:
            self.draft.problem(
                ("broker", "trusted_proxies"),
                "No proxy is believed, so everybody behind yours counts as one visitor.",
                'Write trusted_proxies = ["127.0.0.1", "::1"] if your proxy runs on this machine.',
                severity="warning",
            )
        for name in ("operator_name", "operator_contact"):
            if values["mode"] == "production" and not values[name]:
                self.draft.problem(
                    ("broker", name), "is missing in the privacy notice.", f'Write {name} = "…".', severity="warning"
                )

    def _documents(self, values: Mapping[str, Any]) -> None:
        """Hosts as ids of sites have them, for ids are compared letter by letter."""
        at, hosts = ("broker", "client_document_hosts"), values["client_document_hosts"]
        for number, host in enumerate(hosts):
            if not is_document_id(f"{SCHEME}{host}/x") or host_of(f"{SCHEME}{host}/x") != host:
                self.draft.problem(
                    (*at, str(number)),
                    "is no host.",
                    'Write it as in the address: "app.example.org", in small letters.',
                )
        if values["client_documents"] == "listed" and not hosts:
            self.draft.problem(at, "is empty, so no document is read.", 'Write client_document_hosts = ["…"].')
        if values["client_documents"] == "off" and hosts:
            self.draft.problem(
                at, "is of no use while client_documents is off.", 'Write client_documents = "listed", or remove it.',
                severity="warning",
            )  # fmt: skip

    def _master_key(self, given: Secret | None, data_dir: Path, *, development: bool) -> Secret:
        key = ("broker", "master_key")
        if given is None and development:
            return self._own_master_key(data_dir)
        if given is None:
            self.draft.problem(
                key,
                "is missing. It protects everything that is stored; whoever loses it loses all accounts.",
                'Make one with `openssl rand -base64 32`, keep a copy elsewhere, and write master_key = { file = "…" }.',
            )
            return Secret("")
        if not given:
            return given  # its source is wrong, and that is said already
        raw = read_master_key(given.reveal())
        if raw is None or len(set(raw)) < MASTER_KEY_BYTES // 4:
            self.draft.problem(
                key, "is not 32 random bytes as base64 or hex.", "Make one with `openssl rand -base64 32`."
            )
            return Secret("")
        return given

    def _own_master_key(self, data_dir: Path) -> Secret:
        """Development: the key beside the data, made the first time. Losing it is losing the data folder."""
        path = data_dir / MASTER_KEY_FILE
        key = ("broker", "master_key")
        fresh = base64.b64encode(SystemEntropy().bytes(MASTER_KEY_BYTES)).decode()
        if not path.exists():
            if not self.make_master_key:
                return Secret(fresh)
            try:
                data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(f"{fresh}\n")
            except FileExistsError:
                pass  # another process was faster; its key is read below
            except OSError as error:
                self.draft.problem(
                    key, f"{path} cannot be written: {error.strerror}.", "Check owner and mode of data_dir."
                )
                return Secret("")
        found = self.draft.secret(key, {"file": str(path)})
        if found is not None and read_master_key(found.reveal()) is None:
            self.draft.problem(
                key, f"{path} does not hold a key.", "Put the right one back, or remove the data folder."
            )
            return Secret("")
        return found or Secret("")

    # --- the other tables -----------------------------------------------------------------------------

    def _named(self, name: str) -> dict[str, dict[str, Any]]:
        option = next(option for option in DOORWARD if option.name == name)
        return self.reader.tables((name,), self.tree.get(name, {}), option)

    def _egress(self) -> tuple[EgressException, ...]:
        out = []
        for address, table in self._named("egress").items():
            host, colon, port = address.rpartition(":")
            is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
            if not colon or not _is_host(host) or not is_port:
                meant = address.rpartition("://")[2].partition("/")[0]
                named = meant if "://" in address and ":" in meant else "idp.example.org:8443"
                self.draft.problem(("egress", address), "is not an exact host:port.", f'Write [egress."{named}"].')
                continue
            ca_file = self.draft.path(table["ca_file"]) if table["ca_file"] else None
            if ca_file is not None and not ca_file.is_file():
                self.draft.problem(("egress", address, "ca_file"), f"There is no file {ca_file}.", "Check the path.")
            out.append(EgressException(address=address, ca_file=ca_file, registered_sites=table["registered_sites"]))
        return tuple(out)

    def _fields(self) -> dict[ClaimName, FieldPolicy]:
        fields = {}
        for name, table in self._named("fields").items():
            retention = table["retention"]
            if retention != "until_closed" and not (retention.isascii() and retention.isdigit() and int(retention) > 0):
                self.draft.problem(
                    ("fields", name, "retention"), "is no time.", 'Write "until_closed" or a number of days: "365".'
                )
            fields[ClaimName(name)] = FieldPolicy(
                claim=ClaimName(name),
                use=Use(table["use"]),
                audience=Audience(table["audience"]),
                purpose=table["purpose"],
                editable=table["editable"],
                retention=retention,
            )
        return fields

    def _policy(self, name: str) -> tuple[PolicyVersion, ...]:
        versions = tuple(
            PolicyVersion(version=version, effective_from=table["effective_from"], changes=table["changes"])
            for version, table in self._named(name).items()
        )
        days: dict[date, str] = {}
        for version in versions:
            other = days.setdefault(version.effective_from, version.version)
            if other != version.version:
                self.draft.problem(
                    (name, version.version, "effective_from"),
                    f"is also the day of {other}.",
                    "Which is in force? Change one.",
                )
        return tuple(sorted(versions, key=lambda version: version.effective_from))

    def _newsletters(self) -> tuple[Newsletter, ...]:
        return tuple(
            Newsletter(id=name, label=table["label"], rhythm=table["rhythm"], sender=table["sender"])
            for name, table in self._named("newsletters").items()
        )

    def _providers(self, exempt: frozenset[str], *, development: bool) -> tuple[ProviderTable, ...]:
        """The raw tables, secrets resolved. Kinds and values are judged by the providers' own code."""
        given = self.tree.get("providers", {})
        out = []
        for name, table in (given if isinstance(given, Mapping) else {}).items():
            key = ("providers", name)
            if not isinstance(table, Mapping):
                self.draft.problem(key, "is not a table.", f"Write [{name}].")
                continue
            self.reader.unknown(key, table, tuple(option.name for option in PROVIDER))
            if table.get("sandbox") is True and not development:
                self.draft.problem(
                    (*key, "sandbox"), "A sandbox signs in anybody as anybody.", "Remove it in production."
                )
            out.append(self._provider(key, table, exempt))
        return tuple(out)

    def _provider(self, key: Key, table: Mapping[str, object], exempt: frozenset[str]) -> ProviderTable:
        resolved: dict[str, object] = {}
        for name, value in table.items():
            option = option_at((*key, name))
            if option is not None and option.kind is Kind.SECRET:
                found = self.draft.secret((*key, name), value)
                if found is not None:
                    resolved[name] = found
            elif name == "logo":
                if logo := read_logo(self.draft, (*key, name), value, exempt=exempt):
                    resolved[name] = logo
            elif option is not None:
                resolved[name] = value
        self._issuer((*key, "issuer"), table.get("issuer"), exempt)
        return ProviderTable(id=ProviderId(key[1]), table=resolved, where=Where(self.draft.origins, key))

    def _issuer(self, key: Key, issuer: object, exempt: frozenset[str]) -> None:
        """Plain http is called nowhere but where an exception names host and port. What is no address is judged elsewhere."""
        try:
            parts = urlsplit(issuer if isinstance(issuer, str) else "")
            host, port = parts.netloc.rpartition("@")[2].lower(), parts.port or 80
        except ValueError:
            return
        if parts.scheme == "http" and host:
            address = f"{host.removesuffix(f':{port}')}:{port}"
            if address not in exempt:
                self.draft.problem(
                    key,
                    "is plain http, so we do not call it.",
                    f'Use https, or allow this one address in doorward.toml: [egress."{address}"]',
                    severity="warning",
                )

    def _emptiness(self, fields: Mapping[ClaimName, FieldPolicy]) -> None:
        """What a service for people needs, and this one has not got."""
        for key, given, what, fix in (
            (("providers",), self.tree.get("providers"), "There is no way to sign in.", "Add one to providers.toml."),
            (("sites",), self.tree.get("sites"), "There is no site to sign in to.", "Add one to sites.toml."),
            (("fields",), fields, "Nothing is kept about people, not even a name.", "Add [fields.name] with purpose and audience."),
            (("terms",), self.tree.get("terms"), "There is no version of the terms.", "Add [terms.1] with effective_from."),
            (("privacy",), self.tree.get("privacy"), "There is no version of the privacy notice.", "Add [privacy.1] with effective_from."),
        ):  # fmt: skip
            if not given:
                self.draft.problem(key, what, fix, severity="warning")


def _is_number(host: str | None) -> bool:
    """Whether a host is a network address and no name."""
    try:
        ip_address(host or "")
    except ValueError:
        return False
    return True


_AS_GIVEN: Final = (
    "mode", "brand", "operator_name", "operator_contact", "host", "port", "workers", "trusted_proxies", "locales",
    "default_locale", "posting_enabled", "metrics_host", "log_level", "log_format", "log_requests", "stop_seconds", "drain_seconds",
    "status_lists", "session_management", "passkeys", "registration", "registration_pkce",
    "client_documents", "client_document_hosts",
)  # fmt: skip


def _is_host(text: str) -> bool:
    """A name, or an address (IPv6 with or without its brackets): what the guarded client takes for an exception."""
    if _HOST_NAME.fullmatch(text.lower()):
        return True
    try:
        ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


__all__ = [
    "BrokerSettings", "EgressException", "Limits", "Newsletter", "ProviderTable", "Settings", "collect_problems",
    "load_settings", "merged_problems", "nearest", "read_master_key", "read_settings", "shown",
]  # fmt: skip

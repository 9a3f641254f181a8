"""Where settings come from: the three files, `conf.d`, the environment, and the secrets they point at.

Order: defaults < `doorward.toml`, `providers.toml`, `sites.toml` < `conf.d/*.toml` by name < environment. A later source
overrides an earlier one, except for secrets: a secret given twice is an error, because somebody believes in the wrong one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from broker.domain.values import Secret
from broker.errors import Problem
from broker.locator import Path as Key
from broker.locator import locate
from broker.settings_schema import EVERYTHING, Kind, Option, option_at

ENVIRONMENT: Final = "DOORWARD__"
_TOO_OPEN: Final = 0o777 & ~0o640
_AT_LINE: Final = re.compile(r"\s?\(at line (\d+), column \d+\)")
ABSENT: Final = ("There is no doorward.toml here", "The file cannot be read")
UNREADABLE: Final = (*ABSENT, "This is not TOML")
"""How a problem begins that keeps a whole file from being read."""
_SOURCES: Final = ("file", "env", "credential")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given: a file and a line, or an environment variable and line 0."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Where:
    """Answers in which file and on which line a dotted key of one table stands."""

    origins: Mapping[Key, Origin] = field(repr=False)
    table: Key

    def __call__(self, key: str = "") -> tuple[str, int]:
        """File and line of the key, or of the nearest table around it."""
        origin = nearest(self.origins, (*self.table, *(key.split(".") if key else ())))
        return origin.file, origin.line


def nearest(origins: Mapping[Key, Origin], key: Key) -> Origin:
    """Where a key stands, or the nearest table around it."""
    for length in range(len(key), 0, -1):
        if key[:length] in origins:
            return origins[key[:length]]
    return origins.get((), Origin("doorward.toml"))


def shown(key: Key) -> str:
    """A key as the admin wrote it: tables of `providers.toml` and `sites.toml` stand at the top there."""
    return ".".join(key[1:] if len(key) > 1 and key[0] in {"providers", "sites"} else key)


@dataclass(slots=True)
class Draft:
    """Everything that was given, merged but not yet judged."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    tree: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: dict[Key, Origin] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, key: Key, what: str, fix: str, *, severity: str = "error", origin: Origin | None = None) -> None:
        """Write down one thing that is wrong."""
        place = origin or nearest(self.origins, key)
        self.problems.append(
            Problem(file=place.file, line=place.line, key=shown(key), what=what, fix=fix, severity=severity)
        )

    def read(self) -> None:
        """Read all sources. What cannot be read becomes a problem."""
        main = self.folder / "doorward.toml"
        self.origins[()] = Origin(str(main))
        if not main.is_file():
            self.problem((), "There is no doorward.toml here.", "Name the folder it lies in: --config DIR.")
        else:
            self._file(main, ())
        for name, under in (("providers.toml", ("providers",)), ("sites.toml", ("sites",))):
            self.origins[under] = Origin(str(self.folder / name))
            if (self.folder / name).is_file():
                self._file(self.folder / name, under)
        for path in sorted((self.folder / "conf.d").glob("*.toml")):
            self._file(path, ())
        self._environment()

    def _file(self, path: Path, under: Key) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
            self.problem(
                (), f"The file cannot be read: {reason}.", "Check its owner and mode.", origin=Origin(str(path))
            )
            return
        try:
            tree = tomllib.loads(text)
        except RecursionError:
            self.problem(
                (), "This is not TOML that can be read: too deep.", "Write flat tables.", origin=Origin(str(path))
            )
            return
        except tomllib.TOMLDecodeError as error:
            at = _AT_LINE.search(str(error))
            line = int(at[1]) if at else text.count("\n") + 1
            what = f"This is not TOML: {_AT_LINE.sub('', str(error))}."
            self.problem((), what, "Look at this line and the one before.", origin=Origin(str(path), line))
            return
        lines = locate(text)
        places = {(*under, *key): Origin(str(path), line) for key, line in lines.items()}
        for part in reversed(under):
            tree = {part: tree}
        self._merge(self.tree, tree, (), places)

    def _merge(self, into: dict[str, Any], table: Mapping[str, Any], at: Key, places: Mapping[Key, Origin]) -> None:
        for name, value in table.items():
            key = (*at, name)
            place = nearest(places, key) if places else Origin(str(self.folder))
            is_secret = _is_secret(option_at(key))
            if isinstance(value, dict) and isinstance(into.get(name), dict) and not is_secret:
                self._merge(into[name], value, key, places)
                continue
            if name in into and is_secret:
                self._given_twice(key, place)
            into[name] = value
            for inner in [inner for inner in self.origins if inner[: len(key)] == key and len(inner) >= len(key)]:
                if inner not in {("providers",), ("sites",)}:
                    del self.origins[inner]
            self.origins.update({inner: where for inner, where in places.items() if inner[: len(key)] == key})
            self.origins.setdefault(key, place)

    def _given_twice(self, key: Key, place: Origin) -> None:
        self.problem(
            key, f"This secret is given twice: here and at {nearest(self.origins, key)}.", "Keep one.", origin=place
        )

    def _environment(self) -> None:
        for name in sorted(self.environ):
            if name.startswith(ENVIRONMENT):
                self._variable(name, self.environ[name])

    def _variable(self, name: str, text: str) -> None:
        origin = Origin(f"environment {name}")
        key = self._named([part for part in name.removeprefix(ENVIRONMENT).lower().split("__") if part])
        option = option_at(key)
        value: object
        stem = (*key[:-1], key[-1].removesuffix("_file")) if key else key
        if option is None and stem != key and _is_secret(option_at(stem)):
            key, value = stem, {"file": text}
        elif option is None or option.kind is Kind.TABLE:
            self.problem(
                key or ("environment",), "is not a known option.", "Write DOORWARD__TABLE__KEY.", origin=origin
            )
            return
        else:
            value = _from_text(option, text)
        tree: dict[str, Any] = {key[-1]: value}
        for part in reversed(key[:-1]):
            tree = {part: tree}
        self._merge(self.tree, tree, (), {key: origin})

    def _named(self, parts: list[str]) -> Key:
        """The key that a variable means: ids of tables may be written with capitals and dashes in the files."""
        out: list[str] = []
        table: object = self.tree
        for part in parts:
            names = table if isinstance(table, dict) else {}
            match = next((known for known in names if known.lower().replace("-", "_") == part), part)
            out.append(match)
            table = names.get(match)
        return tuple(out)

    def secret(self, key: Key, given: object) -> Secret | None:
        """The secret that a source leads to, its last newline cut; `None`, and a problem, if there is none."""
        if isinstance(given, str):
            return self._plain(key, given)
        if not isinstance(given, Mapping) or len(given) != 1 or not set(given) <= set(_SOURCES):
            twice = isinstance(given, Mapping) and len(given) > 1 and set(given) <= set(_SOURCES)
            what = "This secret is given twice." if twice else "This is no source of a secret."
            self.problem(key, what, 'Write one of { file = "…" }, { env = "…" }, { credential = "…" }.')
            return None
        source, name = next(iter(given.items()))
        if not isinstance(name, str) or not name:
            self.problem(key, f"{source} needs a name.", f'Write {{ {source} = "…" }}.')
            return None
        if source == "env":
            return self._from_variable(key, name)
        return self._from_file(key, self._credential(key, name) if source == "credential" else self.path(name))

    def path(self, name: str) -> Path:
        """A path of the configuration; relative ones start at the configuration folder."""
        return (self.folder / Path(name).expanduser()).resolve()

    def _plain(self, key: Key, text: str) -> Secret | None:
        origin = nearest(self.origins, key)
        if not text:
            self.problem(key, "This secret is empty.", 'Name a source, such as { file = "…" }.')
            return None
        if origin.line:
            self.problem(
                key,
                "This secret stands in the file in plain.",
                'Better name a source: { file = "…" }.',
                severity="warning",
            )
        return Secret(text)

    def _from_variable(self, key: Key, name: str) -> Secret | None:
        text = self.environ.get(name, "").removesuffix("\n").removesuffix("\r")
        if not text:
            self.problem(key, f"The environment variable {name} is not set.", "Set it, or name another source.")
            return None
        return Secret(text)

    def _credential(self, key: Key, name: str) -> Path | None:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            self.problem(
                key,
                f"There is no credential {name}: nobody handed any over.",
                f"Start by systemd with LoadCredential={name}:….",
            )
            return None
        if "/" in name or name in {".", ".."}:
            self.problem(key, "A credential's name holds no slash.", "Name it as LoadCredential= does.")
            return None
        return Path(folder) / name

    def _from_file(self, key: Key, path: Path | None) -> Secret | None:
        if path is None:
            return None
        try:
            text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not text"
            fix = "Check its owner and mode." if path.exists() else _how_to_make(key, path)
            self.problem(key, f"The secret's file {path} cannot be read: {reason}.", fix)
            return None
        if not text:
            self.problem(key, f"The secret's file {path} is empty.", "Write the secret into it.")
            return None
        if mode & _TOO_OPEN:
            what = f"The secret's file {path} is open to others (mode {mode & 0o777:04o})."
            self.problem(key, what, f"chmod 0640 {path}", severity="warning")
        return Secret(text)


def _how_to_make(key: Key, path: Path) -> str:
    """What brings a secret's file about that is not there."""
    command = {"broker": "keys new-master", "sites": "site secret"}.get(key[0])
    if command is None or key[-1] not in {"master_key", "client_secret"}:
        return "Write the secret into it, readable for the server alone."
    return f"Make one: (umask 027; doorward {command} > {path})"


def _is_secret(option: Option | None) -> bool:
    return option is not None and option.kind in {Kind.SECRET, Kind.SECRETS}


def _from_text(option: Option, text: str) -> object:
    """What a variable's text means for this option. Wrong ones stay text, and the reader says so."""
    if option.kind is Kind.FLAG:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if option.kind is Kind.NUMBER:
        return int(text) if text.strip().isascii() and text.strip().lstrip("-").isdigit() else text
    if option.kind in {Kind.TEXTS, Kind.ADDRESSES, Kind.FETCHED, Kind.NETWORKS}:
        return [part.strip() for part in text.split(",") if part.strip()]
    if option.kind is Kind.DATE:
        return next(_dates(text), text)
    return text


def _dates(text: str) -> Iterator[object]:
    try:
        yield tomllib.loads(f"day = {text}")["day"]
    except tomllib.TOMLDecodeError:
        return


def top_level() -> tuple[str, ...]:
    """The names of all top tables."""
    return tuple(option.name for option in EVERYTHING)

"""Every problem of a configuration: what the settings' own reader finds, and what only the providers' code can judge."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from broker.settings import ProviderTable, Settings


def all_problems(folder: Path, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """Errors and warnings in the order they stand in. Makes and changes nothing, and touches no network."""
    from broker.settings import merged_problems, read_settings
    from broker.settings_sources import UNREADABLE

    settings = read_settings(folder, environ, make_master_key=False)
    if any(problem.what.startswith(UNREADABLE) for problem in settings.warnings):
        return settings.warnings
    return merged_problems(settings.warnings, provider_problems(settings))


def all_problems_apart(folder: Path, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """The same, found by a process of its own: what judging loads is gone with it, and the parent of workers stays small."""
    from_child, to_parent = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with os.fdopen(to_parent, "wb") as pipe:
                pipe.write(pickle.dumps(all_problems(folder, environ)))
        finally:
            os._exit(0)
    os.close(to_parent)
    with os.fdopen(from_child, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    problems: tuple[Problem, ...] = pickle.loads(answer)  # noqa: S301 - written by our own child just now
    return problems


def provider_problems(settings: Settings) -> tuple[Problem, ...]:
    """What is wrong with the tables of `providers.toml`."""
    import providers
    from broker.chance import SystemClock

    problems: list[Problem] = []
    presets: list[providers.Preset] = []
    places = {table.id: table.where for table in settings.providers}
    for table in settings.providers:
        try:
            presets.append(providers.Preset.from_table(table.id, table.table, table.where))
        except ConfigurationError as error:
            problems += error.problems
            problems += _unknown_kind(table, providers.known_kinds())
    nobody: Any = None  # loading asks nobody; see providers.load
    try:
        loaded = providers.load(presets, nobody, SystemClock(), locate=lambda id_, key: places[id_](key))
        problems += loaded.warnings
    except ConfigurationError as error:
        problems += error.problems
    return tuple(problems)


def _unknown_kind(table: ProviderTable, kinds: tuple[str, ...]) -> list[Problem]:
    """Said here only when other mistakes in the table keep the loader from saying it."""
    import providers

    kind = table.table.get("kind")
    if not isinstance(kind, str) or kind in kinds:
        return []
    file, line = table.where("kind")
    return [Problem(file=file, line=line, key=f"{table.id}.kind", **providers.unknown_kind(kind, kinds))]

"""What every command shares: the option that names the configuration, reading it, and saying what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from broker.errors import Problem
    from broker.settings import Settings

DONE: Final = 0
REFUSED: Final = 1
UNREADABLE: Final = 2

WHOLE: Final = 10_000
"""Characters of what a command says of itself: all of them."""

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")


class Group(click.Group):
    """Commands under one name; what each does is said whole in the list of them, over as many lines as it takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, without cutting anything."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, one.get_short_help_str(limit=WHOLE)) for name, one in found if one is not None and not one.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def config_option(command: Command) -> Command:
    """`--config DIR`, `DOORWARD_CONFIG`, or the folder `config` here."""
    option = click.option(
        "--config", "-c",
        type=click.Path(path_type=Path, file_okay=True),
        envvar="DOORWARD_CONFIG",
        default=Path("config"),
        show_default=True,
        show_envvar=True,
        metavar="DIR",
        help="The folder with doorward.toml, providers.toml and sites.toml.",
    )  # fmt: skip
    return option(command)


def fail(*sentences: str, code: int = REFUSED) -> NoReturn:
    """Say what is wrong on standard error and end."""
    for sentence in sentences:
        click.echo(sentence, err=True)
    raise SystemExit(code)


def folder_of(config: Path) -> Path:
    """The folder itself, made absolute; whoever names a file in it means the folder. Ends the program if it is none."""
    if config.is_file() and config.suffix == ".toml":
        config = config.parent
    if not config.is_dir():
        fail(f"There is no folder {config}. Name the one with doorward.toml: --config DIR.", code=UNREADABLE)
    if not os.access(config, os.R_OK | os.X_OK):
        fail(f"The folder {config} cannot be read by this account. Check its owner and mode.", code=UNREADABLE)
    return config.resolve()


def environment(**overrides: object) -> Mapping[str, str]:
    """The environment with options of the command line on top, as if they had been set there."""
    given = {f"DOORWARD__BROKER__{name.upper()}": str(value) for name, value in overrides.items() if value is not None}
    return {**os.environ, **given}


def loaded(config: Path, **overrides: object) -> Settings:
    """The settings, checked; otherwise every problem is printed and the program ends with 1."""
    from broker.cli.judging import all_problems
    from broker.errors import ConfigurationError
    from broker.settings import load_settings

    folder = folder_of(config)
    try:
        return load_settings(folder, environment(**overrides))
    except ConfigurationError:
        problems = all_problems(folder, environment(**overrides))
        fail(*map(described, errors_of(problems)), f"{counted(problems)} Nothing was started or changed.")


def make_data_folder(settings: Settings) -> None:
    """The folder of the embedded database, readable by this account alone, if it is not there yet."""
    folder = settings.broker.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(
            f"The folder {folder} cannot be made: {error.strerror}. Set data_dir to a place this account may write to."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        fail(f"The folder {folder} cannot be written to by this account. Check its owner, or set data_dir.")


def ready(config: Path) -> Settings:
    """The settings, and a place for the embedded database."""
    settings = loaded(config)
    make_data_folder(settings)
    return settings


async def open_durable(settings: Settings) -> Any:
    """The stores, without Redis: nothing here concerns browsers."""
    from broker.chance import SystemClock
    from broker.stores import open_stores

    broker = settings.broker
    return await open_stores(
        database_url=broker.database_url, redis_url=None, master_key=broker.master_key_bytes, clock=SystemClock()
    )


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Do it; a database that is away, or another one's master key, is the operator's to know, in a sentence."""
    import asyncio

    from broker.errors import StoreUnavailable
    from broker.stores import NewerSchema, WrongMasterKey

    try:
        return asyncio.run(work)
    except StoreUnavailable as error:
        fail(f"The database does not answer ({error.detail}). Check database_url, and that the database runs.")
    except NewerSchema as error:
        fail(str(error))
    except WrongMasterKey:
        fail(
            "The master key is not the one this database was set up with. Put the right key back; nothing was changed."
        )
    except ValueError as error:
        fail(f"What the database holds cannot be used ({error}). Restore it from a backup.")


def errors_of(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.severity == "error")


def described(problem: Problem) -> str:
    """`config/sites.toml:12: error: forum.url: is missing. Its home page. Write url = …`."""
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    key = f" {problem.key}:" if problem.key else ""
    return f"{place}: {problem.severity}:{key} {problem.what} {problem.fix}".rstrip()


def counted(problems: tuple[Problem, ...]) -> str:
    """`2 errors, 1 warning.`"""
    errors = len(errors_of(problems))
    numbers = ((errors, "error"), (len(problems) - errors, "warning"))
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in numbers) + "."


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)

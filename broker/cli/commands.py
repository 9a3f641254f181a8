"""The group of commands, and those that are one call each."""

from __future__ import annotations

import json
from pathlib import Path

import click

from broker import __version__
from broker.cli.accounts import account
from broker.cli.admins import admin
from broker.cli.common import (
    DONE,
    REFUSED,
    UNREADABLE,
    Group,
    config_option,
    counted,
    described,
    environment,
    errors_of,
    fail,
    folder_of,
    loaded,
    make_data_folder,
)
from broker.cli.keys import keys, migrate
from broker.cli.providers import provider
from broker.cli.registered import block, invitations, invite, remove, review, unblock, uninvite
from broker.cli.sites import site


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`doorward COMMAND --help` says more. To try everything out without any configuration, run `make demo` in a checkout.",
)
@click.version_option(__version__, prog_name="doorward", message="%(prog)s %(version)s")
def main() -> None:
    """Doorward lets people sign in to community sites with Facebook or an OpenID, and shows them what is shared.

    Start with a folder of configuration: `doorward check --config config/` tells what is missing in it, and
    `doorward serve --config config/` starts the server.
    """


@main.command()
@config_option
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes; overrides the configuration.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on; overrides the configuration.")
@click.option("--host", help="The network address to listen on; overrides the configuration.")
def serve(config: Path, workers: int | None, port: int | None, host: str | None) -> None:
    """Start the server.

    Everything in the configuration is checked first, and every mistake is told at once. SIGTERM or Ctrl-C finishes the
    requests that are running and stops. SIGHUP reads the configuration again and replaces the server processes one by
    one; if something in it is wrong, nothing changes.
    """
    from broker.cli.judging import all_problems_apart
    from broker.errors import ConfigurationError
    from broker.log_lines import Journal
    from broker.server.supervisor import CannotServe, Supervisor
    from broker.settings import Settings, load_settings

    overrides = {"workers": workers, "port": port, "host": host}
    settings = loaded(config, **overrides)
    make_data_folder(settings)
    folder = folder_of(config)
    journal = Journal(level=settings.broker.log_level, console=settings.broker.console_log)
    for problem in settings.warnings:
        journal.warn("configuration", message=described(problem))

    def read_again() -> Settings:
        problems = all_problems_apart(folder, environment(**overrides))
        if errors_of(problems):
            raise ConfigurationError(problems)
        return load_settings(folder, environment(**overrides))

    try:
        raise SystemExit(Supervisor(settings, read_again, journal).run())
    except CannotServe as error:
        fail(*error.reasons)


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@click.option("--strict", is_flag=True, help="Warnings count as problems.")
def check(config: Path, *, as_json: bool, strict: bool) -> None:
    """Tell everything that is wrong with the configuration.

    Each problem is printed with file, line, key, what is wrong and how to put it right. Starts nothing, changes
    nothing and asks nobody on the network. Exit code 0: fine, 1: problems, 2: the folder cannot be read.
    """
    from broker.cli.judging import all_problems
    from broker.settings_sources import ABSENT

    folder = folder_of(config)
    problems = all_problems(folder, environment())
    bad = bool(problems if strict else errors_of(problems))
    if as_json:
        names = ("file", "line", "key", "what", "fix", "severity")
        rows = [{name: getattr(problem, name) for name in names} for problem in problems]
        click.echo(json.dumps({"ok": not bad, "problems": rows}, ensure_ascii=False, indent=2))
    else:
        for problem in problems:
            click.echo(described(problem))
        click.echo(counted(problems) if problems else f"The configuration in {folder} is fine.")
    absent = any(problem.what.startswith(ABSENT) for problem in problems)
    raise SystemExit(UNREADABLE if absent else REFUSED if bad else DONE)


@main.command()
@click.option(
    "--file",
    "name",
    type=click.Choice(["doorward.toml", "providers.toml", "sites.toml"]),
    help="Only this file's part.",
)
def schema(name: str | None) -> None:
    """Print the JSON Schema of the configuration, for editors.

    Save it and name it in the first line of a file: `#:schema ./doorward.schema.json`. Editors with TOML support then
    complete and explain every option.
    """
    from broker.settings_schema import json_schema

    whole = json_schema()
    definitions = whole["$defs"]
    if name is not None and isinstance(definitions, dict):
        whole = {"$schema": whole["$schema"], "title": f"Doorward: {name}", **definitions[name]}
    click.echo(json.dumps(whole, indent=2, ensure_ascii=False))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"doorward {__version__}")


@main.command()
def demo() -> None:
    """Say how to try everything out on this machine."""
    click.echo(
        "In a checkout of Doorward, run `make demo`: it starts the server, three sites and two providers of its own."
    )


for of_site in (invite, invitations, uninvite, review, remove, block, unblock):
    site.add_command(of_site)
for command in (account, admin, keys, migrate, provider, site):
    main.add_command(command)

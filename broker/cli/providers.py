"""One provider: put it in, look at it, check it, and try it before people see it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import urlsplit

import click

from broker.cli.common import (
    DONE,
    REFUSED,
    UNREADABLE,
    config_option,
    environment,
    fail,
    folder_of,
    loaded,
    open_durable,
    ready,
    run,
)
from broker.cli.findings import tell
from broker.cli.lists import provider

if TYPE_CHECKING:
    from broker.cli.provider_guides import Guide, Values
    from broker.domain.failures import Failure
    from broker.domain.values import ProviderId
    from broker.settings import Settings
    from providers import Preset

__all__ = ["provider"]

_IS: Final = {
    "on": "on",
    "testers": "only for people signed in as tester, admin or owner",
    "admins": "only for people signed in as admin or owner",
    "test": "in test: only who tries it",
    "off": "off",
}
_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ANY_SERVER: Final = {
    "mastodon": "doorward provider add fediverse",
    "openid-connect": "doorward provider add own",
    "openid2": 'take any, and write discovery = "any" in the place of hosts',
}
"""By the guide for one server, what to do for whichever server people name."""


class _Known(click.ParamType[str]):
    """A name out of the guides, which are read when they are needed."""

    name = "provider"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from broker.cli.provider_guides import names

        value = str(value).replace("_", "-")  # as `kind` spells it
        if value not in names():
            self.fail(
                f"there is no guide for {value}. There are: {', '.join(names())}. Any provider of OpenID Connect: "
                "openid-connect --issuer https://…",
                param,
                ctx,
            )
        return str(value)


@provider.command("add")
@click.argument("which", metavar="PROVIDER", type=_Known())
@click.option("--id", "name", help="Its id here, part of the redirect address. Nothing: its name, or of its host's.")
@click.option("--issuer", help="The provider's own address, where there are many of its kind.")
@click.option("--client-id", default="", help="What it knows us as, if it has told already.")
@click.option("--register", "registers", is_flag=True, help="Register us there by its interface, if it has one.")
@click.option("--token-file", type=click.File(), help="With --register: the initial access token it wants; - reads it.")
@click.option(
    "--request-object",
    type=click.Choice(["by_value", "by_reference"]),
    help="With --register: that we send what we ask as one object.",
)
@click.option(
    "--request-object-signing-alg",
    type=click.Choice(["RS256", "ES256", "none"]),
    default="RS256",
    show_default=True,
    help="With --request-object: what we sign it with.",
)
@click.option(
    "--private-key-jwt",
    type=click.Choice(["RS256", "ES256"]),
    help="That a signature of ours says who we are, made so, and no secret.",
)
@config_option
def add(
    which: str,
    name: str | None,
    issuer: str | None,
    client_id: str,
    token_file: TextIO | None,
    request_object: str | None,
    request_object_signing_alg: str,
    private_key_jwt: str | None,
    config: Path,
    *,
    registers: bool,
) -> None:
    """Print what puts a provider in: what to enter there, a block for the configuration, and how to try it.

    Nothing is written, and nobody is asked, unless you --register: then what the provider gives us is put into secrets/.
    PROVIDER is one of the guides in config/guides/providers. The block is in state test: nobody sees the provider until
    you write on.
    """
    from dataclasses import replace

    from broker.cli import provider_guides

    settings = _read(config)
    guide = provider_guides.read(which)
    name = name or _own_name(guide, issuer)
    _check_new(name, issuer, guide, settings)
    values = provider_guides.Values(
        issuer=settings.broker.public_url, id=name, upstream=(issuer or guide.upstream).rstrip("/")
    )
    if token_file is not None and not registers:
        fail("--token-file is for --register.")
    if request_object is not None and not registers:
        fail("--request-object is for --register. Without it, write request_object into the block.")
    if request_object is None and request_object_signing_alg != "RS256":
        fail("--request-object-signing-alg is for --request-object.")
    if request_object == "by_value" and request_object_signing_alg == "none":
        fail("An object in the address that nobody signs proves nothing. Choose RS256 or ES256, or by_reference.")
    if private_key_jwt is not None:
        guide = _by_signature(guide, private_key_jwt)
    if registers:
        asking = {"request_object": request_object, "request_object_signing_alg": request_object_signing_alg}
        if request_object is not None:
            guide = replace(guide, preset={**guide.preset, **asking})
        steps = _registering(
            guide, values, settings, config, token_file.read().strip() if token_file else "", client_id
        )
    else:
        steps = _steps(guide, values, client_id, config)
    click.echo("\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))
    click.echo(f"\nWorth knowing:\n\n{values.filled(guide.knowing)}")


def _by_signature(guide: Guide, algorithm: str) -> Guide:
    """The guide where our keys say who we are."""
    from dataclasses import replace

    from providers import signs
    from providers.preset import PRIVATE_KEY

    if not signs(guide.preset["kind"]):
        fail(f"{guide.provider} knows nobody by a signature. Leave --private-key-jwt out.")
    proof = {"token_endpoint_auth_method": PRIVATE_KEY, "token_endpoint_auth_signing_alg": algorithm}
    return replace(guide, preset={**guide.preset, **proof})


def _registering(
    guide: Guide, values: Values, settings: Settings, config: Path, token: str, client_id: str
) -> list[str]:
    from dataclasses import replace

    from broker.cli.provider_registering import Kept, registered_at
    from broker.domain.provider import our_keys_of
    from broker.domain.values import Secret

    if guide.preset["kind"] != "openid_connect":
        fail(f"{guide.provider} has no such interface. Leave --register out, and enter the values there yourself.")
    if client_id:
        fail("It knows us already, as --client-id says. Leave the one or the other out.")
    kept = Kept(folder_of(config), values.id, has_secret=guide.has_secret)
    upstream = values.filled(str(guide.preset["issuer"]))
    asking = {key: value for key, value in guide.preset.items() if key.startswith("request_object")}
    asking["private_key_jwt"] = guide.proves_by or None
    registered = run(registered_at(settings, upstream, values.id, Secret(token) if token else None, kept, asking))
    if guide.has_secret and registered.method != "client_secret_basic":
        guide = replace(guide, preset={**guide.preset, "token_endpoint_auth_method": registered.method})
    _, block, _, *rest = _steps(guide, values, registered.client_id, config)
    done = [
        f"{upstream} knows us now. Its secret is in {kept.secret}, readable by you alone: let the server's account read it."
        if guide.has_secret
        else f"{upstream} knows us now, and there is no secret: it finds our keys at {our_keys_of(values.issuer)}, where they are "
        "once the server was reloaded."
    ]
    if registered.address:
        done.append(
            f"What changes or removes the registration there is in {kept.registration}: the server needs it not."
        )
    return [*done, block, *rest]


def _steps(guide: Guide, values: Values, client_id: str, config: Path) -> list[str]:
    from broker.cli import provider_guides
    from broker.domain.provider import our_keys_of

    folder = folder_of(config)
    secret_file = f"secrets/{values.id}.secret"
    block = provider_guides.block(guide, values, client_id=client_id, secret_file=secret_file, state="test")
    where = f"Put this into conf.d/{values.id}.toml in {folder} (make conf.d if it is not there)"
    filled = f"{where}, with what it gave you between the empty quotes:" if ' = ""' in block else f"{where}:"
    there = f"At {guide.provider}, about {guide.minutes} minutes. People come back to {values.redirect}"
    steps = [f"{there}\n\n{values.filled(guide.enter)}", f"{filled}\n\n{_indented(block)}"]
    if guide.has_secret:
        steps.append(f"Put {guide.secret} into {secret_file} there, readable by the server's account alone.")
    elif guide.proves_by:
        steps.append(
            f"There is no secret: at {guide.provider} choose private_key_jwt with {guide.proves_by}, and enter "
            f"{our_keys_of(values.issuer)} as address of our keys (jwks_uri). They are there once the server was reloaded."
        )
    steps += [
        f"`doorward check --config {folder}`, then reload the server.",
        f"`doorward provider check {values.id} --config {folder}` asks the provider what can be asked without a person.",
        f"`doorward provider try {values.id} --config {folder}` prints a link: sign in there once yourself, and see what comes.",
        'Write state = "on" and reload the server: people see it from then on.',
    ]
    return steps


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _own_name(guide: Guide, issuer: str | None) -> str:
    """The provider's name; for one of many the first part of its host that says something."""
    if not guide.needs_upstream or issuer is None:
        return guide.id.replace("-", "")
    parts = (urlsplit(issuer).hostname or "").split(".")
    name = next(
        (part for part in parts[:-1] if part not in {"www", "id", "login", "auth", "sso", "accounts"}), parts[0]
    )
    return name if _ID.fullmatch(name) else guide.id.replace("-", "")


def _check_new(name: str, issuer: str | None, guide: Guide, settings: Settings) -> None:
    from providers.preset import is_address

    if not _ID.fullmatch(name):
        fail(f"{name} is not usable as an id. Use small letters, digits, - and _; at most 32, a letter first.")
    if any(str(table.id) == name for table in settings.providers):
        fail(f"There is a provider {name} already. `doorward provider show {name}` tells of it; --id names another.")
    if guide.needs_upstream and issuer is None:
        other = _ANY_SERVER.get(guide.id)
        fail(
            f"There are many of its kind. Name the one you mean: doorward provider add {guide.id} --issuer https://…"
            + (f" For whichever people name: {other}." if other else "")
        )
    if issuer is not None and "<upstream" not in json.dumps(guide.preset):
        fail(f"The guide {guide.id} needs no address of a provider. Leave --issuer out.")
    if issuer is not None and (not is_address(issuer) or "?" in issuer):
        fail(f"{issuer} is not the address of a provider. Write https://… without query.")


def _read(config: Path) -> Settings:
    """The settings as far as they can be read: a provider is put in while other things are still missing."""
    from broker.settings import read_settings

    return read_settings(folder_of(config), environment(), make_master_key=False)


def _preset(settings: Settings, name: str) -> Preset:
    from providers import Preset

    table = next((one for one in settings.providers if str(one.id) == name), None)
    if table is None:
        known = ", ".join(str(one.id) for one in settings.providers) or "none"
        fail(f"There is no provider {name} in providers.toml. There are: {known}.")
    return Preset.from_table(table.id, table.table, table.where)


@provider.command("show")
@click.argument("name")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show(name: str, config: Path, *, as_json: bool) -> None:
    """Show a provider: where people are sent, what is asked for, what it may tell us. Never a secret."""
    settings = loaded(config)
    facts = _facts(_preset(settings, name), settings)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for label, value in facts.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            click.echo(f"{label.replace('_', ' ') if not number else '':<22}{line}".rstrip())


def _facts(preset: Preset, settings: Settings) -> dict[str, str | list[str]]:
    from dataclasses import replace

    from broker.chance import SystemClock
    from broker.cli.own_server import HOOKS
    from broker.domain.provider import our_keys_of, requests_of
    from providers import load
    from providers.preset import NAMELESS

    nobody: Any = None  # loading asks nobody; see providers.load
    known = load([replace(preset, state="on")], nobody, SystemClock()).providers[preset.id]
    issuer = settings.broker.public_url
    facts: dict[str, str | list[str]] = {
        "id": str(preset.id),
        "kind": preset.kind,
        "button_says": preset.label,
        "is": _IS[preset.state],
        "people_are_sent_to": preset.shown_host or "wherever a typed address leads",
        "redirect_address": f"{issuer}/callback/{preset.id}",
    }
    for hook in HOOKS.get(preset.kind, ()):
        facts[f"{hook}_address"] = f"{issuer}/hooks/{preset.id}/{hook}"
    if preset.frontchannel_logout:
        facts["front_logout_address"] = f"{issuer}/hooks/{preset.id}/front-logout"
    if preset.limited_login:
        facts["limited_login_address"] = f"{issuer}/par/{preset.id}/limited-login"
    if preset.rp_initiated_logout:
        facts["post_logout_redirect_address"] = f"{issuer}/signed-out/{preset.id}"
    if preset.token_endpoint_auth_method == "private_key_jwt":
        facts["we_show_who_we_are"] = f"by a signature, {preset.token_endpoint_auth_signing_alg} (private_key_jwt)"
    if preset.request_object is not None:
        facts["what_we_ask_goes"] = _asking(preset)
    if preset.wants_our_keys:
        facts["our_keys_address"] = our_keys_of(issuer)
    if preset.request_object == "by_reference":
        facts["requests_are_at"] = f"{requests_of(issuer, preset.id)}…"
    if preset.issuer:
        facts["issuer"] = preset.issuer
    if preset.kind not in NAMELESS:
        facts["knows_us_as"] = preset.client_id
    facts["asked_for"] = list(known.sign_in_scopes) or "nothing"
    facts["may_tell"] = [
        f"{offer.claim}{'' if offer.claim in settings.fields else ': not kept, there is no field of that name here'}"
        for offer in known.offers
    ] or "only a number that stands for somebody there"
    facts["proved_addresses"] = "its word counts" if preset.trusts_email else "its word does not count"
    facts["asks_anew"] = "yes" if known.can_force_fresh else "cannot be made to"
    return facts


def _asking(preset: Preset) -> str:
    """How a request object goes there, in words."""
    signed = (
        "which nobody signs"
        if preset.request_object_signing_alg == "none"
        else f"signed with {preset.request_object_signing_alg}"
    )
    where = "in the address" if preset.request_object == "by_value" else "fetched from us"
    return f"as one object, {signed}, {where}"


@provider.command("try")
@click.argument("name")
@config_option
def try_provider(name: str, config: Path) -> None:
    """Print a link that lets you sign in with a provider before people see it.

    You go through the whole sign-in in your browser. The page after it shows each step, what the provider sent, what
    would be proposed to somebody who signs up, and what not and why. Nobody is signed in by it and nothing is kept. The link
    is good once, for 15 minutes, and for whoever has it. The server must run, with this provider on or in state test.
    """
    settings = ready(config)
    preset = _preset(settings, name)
    if preset.state == "off":
        fail(f'{name} is off. Write state = "test", and reload the server: then nobody but you sees it.')
    token = run(_link(settings, preset))
    click.echo(f"{settings.broker.public_url}/trial?link={token}")
    click.echo(
        "Open it within 15 minutes. It is good once, and shows whoever opens it their own answer alone.", err=True
    )


@provider.command("attempts")
@click.argument("name")
@click.option(
    "--log",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Read the server's log, lines of JSON, instead; -: standard input.",
)
@click.option("--reference", help="Only the one with this code, which the person read out.")
@click.option("--last", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def attempts(name: str, log: TextIO | None, reference: str | None, last: int, config: Path, *, as_json: bool) -> None:
    """Tell in words what went wrong with a provider lately, newest last, and what to do.

    The server keeps it for seven days: which step, which check, when, and the code that a page showed; nothing of people.
    What is older is in its log: `journalctl -u doorward -o cat | doorward provider attempts facebook --log -`. Exit code 1
    if there is anything.
    """
    from broker.cli.attempts import NO_LOG, LogText
    from broker.cli.provider_attempts import of_failures, read_attempts

    if log is not None:
        _preset(_read(config), name)
        text = LogText(log)
        found = [one for one in read_attempts(text, name) if reference in {None, one.reference}][-last:]
        if text.is_other:
            fail(NO_LOG, code=UNREADABLE)
    else:
        settings = ready(config)
        provider_id = _preset(settings, name).id
        found = list(of_failures(run(_failures(settings, provider_id, reference, last))))
    rows = [one.row for one in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        where = "The log tells" if log is not None else "The last seven days tell"
        click.echo(f"{where} of nothing that went wrong with {name}{' under this code' if reference else ''}.")
    else:
        for row in rows:
            click.echo(f"{row['at']}  {row['reference'] or '-'}  {row['what']} {row['fix']}".rstrip())
    raise SystemExit(REFUSED if rows else DONE)


async def _failures(settings: Settings, provider: ProviderId, reference: str | None, last: int) -> tuple[Failure, ...]:
    stores = await open_durable(settings)
    try:
        if reference is None:
            newest: tuple[Failure, ...] = await stores.durable.failures.newest(provider, last)
            return newest
        one = await stores.durable.failures.load(reference)
        return (one,) if one is not None and one.provider == provider and one.reference else ()
    finally:
        await stores.close()


async def _link(settings: Settings, preset: Preset) -> str:
    from broker.chance import SystemClock, SystemEntropy
    from broker.flows.trial import TrialLinks

    stores = await open_durable(settings)
    try:
        links = TrialLinks(key=stores.derive("trials"), clock=SystemClock(), entropy=SystemEntropy())
        return links.make(preset.id)
    finally:
        await stores.close()


@provider.command("check")
@click.argument("name")
@click.option("--offline", is_flag=True, help="Do not ask the running server; the provider is asked all the same.")
@config_option
def check_provider(name: str, config: Path, *, offline: bool) -> None:
    """Check a provider: it is asked everything that needs no person, and what it says is told in words.

    Whether it answers, with which certificate and by which clock; what it says of itself; whether it knows the address
    that people come back to; whether it knows us by the secret, found out with a code that was never given; Facebook's app
    settings; and our own addresses that it calls. What our keys would have to sign is left to `doorward provider try`: they are
    with the server alone. Exit code 1 if something is wrong.
    """
    from broker.cli.provider_check import findings

    settings = loaded(config)
    tell(run(findings(settings, _preset(settings, name), offline=offline)))

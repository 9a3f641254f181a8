"""One site: put it in, look at it, check it, see what it would get, give it another secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO
from urllib.parse import urlsplit

import click

from broker.cli.common import DONE, REFUSED, UNREADABLE, config_option, environment, fail, folder_of, loaded, run
from broker.cli.findings import Finding, plain, tell
from broker.cli.lists import SECRET_BYTES, site

if TYPE_CHECKING:
    from broker.cli.guides import Guide, Values
    from broker.cli.rehearsal import Rehearsed
    from broker.domain.client import Client
    from broker.domain.stream import Stream
    from broker.settings import Settings

__all__ = ["site"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Software(click.ParamType[str]):
    """A name out of the guides, which are read when they are needed."""

    name = "software"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from broker.cli.guides import names

        if value not in names():
            self.fail(f"there is no guide for {value}. There are: {', '.join(names())}.", param, ctx)
        return str(value)


@site.command("add")
@click.argument("name")
@click.option("--software", type=_Software(), default="generic", show_default=True, help="What the site runs on.")
@click.option("--url", required=True, help="The site's home page.")
@click.option("--title", help="What people know the site as. Nothing: its host name.")
@config_option
def add(name: str, software: str, url: str, title: str | None, config: Path) -> None:
    """Print what puts a site in: a block for the configuration, a secret, and what to enter in the site's software.

    Nothing is written, and the secret is kept nowhere. NAME is the site's id; `--software` is one of the guides in
    config/guides.
    """
    from broker.chance import SystemEntropy
    from broker.cli import guides

    settings = _read(config)
    _check_new(name, url, settings)
    guide = guides.read(software)
    chance = SystemEntropy()
    secret = chance.token(SECRET_BYTES) if guide.has_secret else ""
    own = chance.token(SECRET_BYTES)
    values = guides.Values(issuer=settings.broker.public_url, url=url, id=name, secret=secret, random=own)
    secret_file = f"secrets/{name}.secret"
    block = guides.block(guide, values, name=title or urlsplit(url).netloc, secret_file=secret_file)
    steps = [
        f"Put this into conf.d/{name}.toml in {folder_of(config)} (make conf.d if it is not there):\n\n{_indented(block)}"
    ]
    if secret:
        steps.append(
            f"Put this secret into {secret_file} there, readable by the server's account alone:\n\n    {secret}"
        )
    steps.append(f"`doorward check --config {folder_of(config)}`, then reload the server.")
    steps.append(_to_enter(guide, values))
    steps.append(f"`doorward site check {name} --config {folder_of(config)}`")
    click.echo("\n\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))


def _to_enter(guide: Guide, values: Values) -> str:
    return f"The other side:\n\n{values.filled(guide.text)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _check_new(name: str, url: str, settings: Settings) -> None:
    from broker.settings_sites import is_loopback

    parts = urlsplit(url)
    if not _ID.fullmatch(name):
        fail(f"{name} is not usable as an id. Use letters, digits, dot, - and _; at most 64.")
    if name in settings.clients:
        fail(f"There is a site {name} already. `doorward site show {name}` tells of it.")
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
        fail(f"{url} is not the address of a home page. Write https://… without query.")
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not settings.broker.development:
        fail(f"{url} is plain http: what passes there can be read and changed. Use https.")


def _read(config: Path) -> Settings:
    """The settings as far as they can be read: a site is put in while other things are still missing."""
    from broker.settings import read_settings

    return read_settings(folder_of(config), environment(), make_master_key=False)


def _found(settings: Settings, name: str) -> Client:
    from broker.domain.values import ClientId

    client = settings.clients.get(ClientId(name))
    if client is None:
        known = ", ".join(sorted(settings.clients)) or "none"
        fail(f"There is no site {name} in sites.toml. There are: {known}.")
    return client


@site.command("show")
@click.argument("name")
@click.option("--software", type=_Software(), help="Add what to enter there.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show(name: str, software: str | None, config: Path, *, as_json: bool) -> None:
    """Show a site: its addresses, what it asks for and why, how it proves itself. Never a secret."""
    from broker.cli import guides

    settings = _read(config)
    client = _found(settings, name)
    facts = _facts(client, settings)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for label, value in facts.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            click.echo(f"{label.replace('_', ' ') if not number else '':<22}{line}".rstrip())
    if software is not None:
        values = guides.Values(
            issuer=settings.broker.public_url,
            url=client.url,
            id=name,
            secret="(the site's secret)",
            random="(a long secret of your own)",
        )
        click.echo(f"\n{values.filled(guides.read(software).text)}")


def _events(client: Client) -> str:
    if not client.security_events:
        return "told of none"
    way = f"pushed to {client.security_events_uri}" if client.security_events_uri else "fetched by the site"
    return f"{', '.join(sorted(client.security_events))}; {way}"


def _proof(client: Client) -> str:
    number = len(client.secret_digests)
    if client.discourse_connect_secret is not None and not number:
        return f"by DiscourseConnect, with the secret that both sign with; at /token {client.auth_method}"
    return f"{client.auth_method}" + (f", {number} secret{'s' if number > 1 else ''}" if number else "")


def _profile(client: Client) -> str:
    from broker.domain.client import Profile

    if client.profile is Profile.NONE:
        return "none"
    signed = "; requests, answers and introspection signed" if client.is_told_signed else ""
    return f"{client.profile}: private_key_jwt, PAR, PKCE, DPoP, no refresh rotation{signed}"


def _facts(client: Client, settings: Settings) -> dict[str, str | list[str]]:
    from broker.domain.app_origins import AppOrigins

    issuer = settings.broker.public_url
    asks = [f"{ask.claim} ({'needed' if ask.needed else 'optional'}): {ask.why['en']}" for ask in client.asks]
    return {
        "id": str(client.client_id),
        "name": client.name,
        "home_page": client.url,
        "logo": client.logo or "none",
        "is": "on" if client.enabled else "off",
        "redirect_addresses": list(client.redirect_uris) or "nobody signs in by a browser",
        "sector": client.sector_identifier if client.subject_type == "pairwise" else "none: numbers are public",
        "after_signing_out": list(client.post_logout_redirect_uris) or "nothing registered",
        "back_channel": client.backchannel_logout_uri or "not told of sign-outs",
        "opened_at": client.initiate_login_uri or "its home page",
        "security_events": _events(client),
        "proves_itself": _proof(client),
        "profile": _profile(client),
        "PKCE": "required" if client.pkce_required else "not required: a downgrade",
        "asks_by_pushing": "always" if client.par_required else "as it likes",
        "signs_what_it_asks": "always" if client.request_object == "required" else "as it likes",
        "shows_a_key": {"optional": "as it likes", "required": "always", "nonce": "always, with our nonce"}[
            client.dpop
        ],
        "pages_may_read": sorted(AppOrigins.of([client]).sites) or "nothing: its server asks",
        "behind_a_proxy": "yes" if client.forward_auth else "no",
        "discourse_connect": "yes" if client.discourse_connect_secret else "no",
        "session_token": "yes" if client.session_token else "no",
        "access_tokens": str(client.access_tokens),
        "interfaces": sorted(client.resources) or "none registered",
        "serves": sorted(client.serves) or "no interface",
        "for_itself": sorted(client.service_scopes) or "no tokens without a person",
        "signed_with": str(client.signing_algorithm),
        "asks": asks or "nothing but the private number",
        "issuer": issuer,
        "discovery": f"{issuer}/.well-known/openid-configuration",
    }


@site.command("check")
@click.argument("name")
@click.option(
    "--secret-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The secret the site was given."
)
@click.option("--redirect-uri", help="The address that the site's software sends, to compare.")
@click.option("--offline", is_flag=True, help="Do not ask the running server.")
@config_option
def check_site(name: str, secret_file: Path | None, redirect_uri: str | None, config: Path, *, offline: bool) -> None:
    """Check a site: what the running server says of itself, its addresses, its secret, and a whole sign-in.

    The sign-in is an example person's, in a world of its own: a code is made, redeemed and used, and nothing of it is
    kept. Exit code 1 if something is wrong.
    """
    from broker.cli.own_server import discovery

    settings = loaded(config)
    client = _found(settings, name)
    tell(
        [
            *([Finding(None, "The running server was not asked.")] if offline else [discovery(settings)]),
            *_addresses(client, redirect_uri),
            *_sector(settings, client, offline=offline),
            *_logo(settings, client, offline=offline),
            _secret(client, secret_file),
            _sign_in(settings, client),
        ]
    )


def _addresses(client: Client, sent: str | None) -> Iterator[Finding]:
    from broker.domain.client import difference, redirect_matches

    home = urlsplit(client.url).hostname
    for uri in client.redirect_uris:
        words = f"Redirect address {uri}"
        if urlsplit(uri).hostname != home:
            yield Finding(None, f"{words} is on another host than the home page. Is that meant?")
        else:
            yield Finding(True, f"{words} can be used.")
    if sent is None:
        return
    if redirect_matches(client, sent):
        yield Finding(True, f"The software's address {sent} is registered.")
    else:
        found = difference(client, sent)
        nearest = f" Registered is {found.registered}: {found.words}." if found else ""
        yield Finding(False, f"The software's address {sent} is not registered.{nearest}")


def _sector(settings: Settings, client: Client, *, offline: bool) -> Iterator[Finding]:
    """Whether the list that the site shares its sector by has its own addresses in it."""
    from broker.errors import UpstreamError
    from broker.sector_lists import unlisted

    address = client.sector_identifier_uri
    if address is None:
        return
    if offline:
        yield Finding(None, f"{address} was not asked.")
        return
    try:
        gone = run(unlisted(settings.broker.egress, client, address))
    except UpstreamError as error:
        yield Finding(False, f"{address} holds no list of redirect addresses that we can read ({error.detail}).")
        return
    for uri in gone:
        yield Finding(False, f"{address} does not list {uri}, so this site is none of that sector.")
    if not gone:
        yield Finding(True, f"{address} lists every redirect address.")


def _logo(settings: Settings, client: Client, *, offline: bool) -> list[Finding]:
    from broker.cli.logos import findings

    return run(findings(settings, client.logo, offline=offline))


def _secret(client: Client, secret_file: Path | None) -> Finding:
    known = client.secret_digests
    if client.discourse_connect_secret is not None:
        known = (*known, hashlib.sha256(client.discourse_connect_secret.reveal().encode()).digest())
    if not known:
        return Finding(None, f"The site has no secret: it proves itself by {client.auth_method}.")
    if secret_file is None:
        return Finding(
            None, "The secret was not compared. Name the file with the one the site has: --secret-file FILE."
        )
    text = secret_file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    digest = hashlib.sha256(text.encode()).digest()
    matches = [hmac.compare_digest(digest, one) for one in known]
    if any(matches):
        which = f" (number {matches.index(True) + 1} of {len(matches)})" if len(matches) > 1 else ""
        return Finding(True, f"The secret is right{which}.")
    option = "client_secret" if client.secret_digests else "discourse_connect_secret"
    blank = " It has blanks around it." if text != text.strip() else ""
    return Finding(False, f"The secret is another than the one here.{blank} Give the site the one that {option} names.")


def _sign_in(settings: Settings, client: Client) -> Finding:
    from broker.cli.rehearsal import rehearse
    from broker.errors import BrokerError

    try:
        got = run(rehearse(settings, client))
    except BrokerError as error:
        return Finding(False, f"A sign-in failed ({error.code}): {error.detail or error.public}.")
    if got.forum:
        names = ", ".join(name for name in got.forum if name not in {"nonce", "external_id"})
        return Finding(True, f"A sign-in went through: by DiscourseConnect the forum got {names}.{_own(got)}")
    if not got.answer:
        return Finding(None, f"No sign-in was tried: nobody is sent back to this site.{_own(got)}")
    names = ", ".join(name for name in got.userinfo if name != "sub") or "nothing but the private number"
    return Finding(True, f"A sign-in went through: a code was redeemed, and the site got {names}.{_own(got)}")


def _own(got: Rehearsed) -> str:
    return f" Its server got a token of its own for {got.own['scope']}." if got.own is not None else ""


@site.command("preview")
@click.argument("name")
@click.option("--without", multiple=True, metavar="FIELD", help="A field that the example person does not share.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def preview(name: str, without: tuple[str, ...], config: Path, *, as_json: bool) -> None:
    """Show what a site would get of an example person: the question, the tokens, userinfo, a proxy's headers.

    Nobody's data is read: the person is made up, in a world of its own.
    """
    from broker.cli.rehearsal import rehearse
    from broker.domain.values import ClaimName
    from broker.errors import BrokerError

    settings = loaded(config)
    client = _found(settings, name)
    try:
        got = run(rehearse(settings, client, refused=frozenset(map(ClaimName, without))))
    except BrokerError as error:
        fail(f"The site would get nothing ({error.code}): {error.detail or error.public}.")
    parts: dict[str, Any] = {
        "question": _question(client) if got.is_sign_in else None,
        "id_token": got.id_token,
        "userinfo": got.userinfo or None,
        "access_token": got.access_token,
        "token_of_its_own": got.own,
        "session_token": got.session_token,
        "headers": got.headers or None,
        "discourse_connect": got.forum or None,
    }
    parts = {part: content for part, content in parts.items() if content is not None}
    if as_json:
        click.echo(json.dumps(parts, indent=2, ensure_ascii=False))
        return
    click.echo(f"Share these with {client.name}?\n" if got.is_sign_in else f"Nobody is sent back to {client.name}.")
    for row in parts.pop("question", ()):
        click.echo(f"  {'needed     ' if row['needed'] else 'your choice'}  {row['field']}: {row['why']}")
    for part, content in parts.items():
        click.echo(f"\n{part.replace('_', ' ')}\n{_indented(json.dumps(content, indent=2, ensure_ascii=False))}")


def _question(client: Client) -> list[dict[str, Any]]:
    from broker.domain.claims import LABELS

    return [
        {"field": LABELS.get(ask.claim, ask.claim), "needed": ask.needed, "why": ask.why["en"]} for ask in client.asks
    ]


@site.command("rotate-secret")
@click.argument("name")
@config_option
def rotate_secret(name: str, config: Path) -> None:
    """Write a new secret for a site into a file beside the old one, and say how to change over. Both are good meanwhile.

    The configuration is left as it is: the line to put there is printed. Run `doorward site show` to see that two
    secrets are in force, and take the old one out once the site uses the new one.
    """
    from broker.chance import SystemEntropy
    from broker.cli.rehearsal import now

    settings = _read(config)
    client = _found(settings, name)
    if not client.secret_digests:
        fail(f"The site {name} has no secret: it proves itself by {client.auth_method}.")
    if len(client.secret_digests) > 1:
        fail(f"The site {name} has two secrets already. Take the old one out of client_secret first.")
    place, old = _source(settings, name)
    folder = folder_of(config)
    file = f"secrets/{name}-{now():%Y%m%d-%H%M%S}.secret"
    _write_secret(folder / file, SystemEntropy().token(SECRET_BYTES))
    new = f"{{ file = {json.dumps(file)} }}"
    click.echo(f"A new secret is in {folder / file}.")
    click.echo(f"1. At {place}, write both, and reload the server:\n\n    client_secret = [{new}, {old}]\n")
    click.echo("2. Give the site the new one.")
    click.echo(
        f"3. Once it signs people in with it, write the new one alone and reload:\n\n    client_secret = {new}\n"
    )


def _source(settings: Settings, name: str) -> tuple[str, str]:
    """Where the secret is named, and how, to be written again."""
    origin = settings.origins.get(("sites", name, "client_secret"))
    if origin is None or not origin.line:
        fail(f"The secret of {name} is named in the environment. Name it in sites.toml to have two at once.")
    tree: Mapping[str, Any] = tomllib.loads(Path(origin.file).read_text(encoding="utf-8"))
    table = tree.get("sites", {}).get(name) or tree[name]
    given = table["client_secret"]
    given = given[0] if isinstance(given, list) else given
    if not isinstance(given, Mapping):
        fail(
            f"The secret of {name} stands at {origin} itself. Put it into a file first: client_secret = {{ file = … }}."
        )
    return str(origin), "{ " + ", ".join(f"{source} = {json.dumps(where)}" for source, where in given.items()) + " }"


def _write_secret(path: Path, secret: str) -> None:
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}. Nothing was changed.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")


@site.command("attempts")
@click.argument("name")
@click.option(
    "--log",
    type=click.File(encoding="utf-8", errors="replace"),
    default="-",
    help="The server's log, lines of JSON. Nothing: standard input.",
)
@click.option("--last", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def attempts(name: str, log: TextIO, last: int, config: Path, *, as_json: bool) -> None:
    """Tell in words what went wrong between a site and the server lately, newest last, and what to do.

    Reads the server's own log: `journalctl -u doorward -o cat | doorward site attempts forum`. The log holds nothing of
    people, so neither does this. Exit code 1 if there is anything.
    """
    from broker.cli.attempts import NO_LOG, LogText, read_attempts

    client, text = _found(_read(config), name), LogText(log)
    if log.isatty():
        fail(
            f"Name the log: --log FILE, or journalctl -u doorward -o cat | doorward site attempts {name}",
            code=UNREADABLE,
        )
    rows = [attempt.row for attempt in read_attempts(text, client)][-last:]
    if text.is_other:
        fail(NO_LOG, code=UNREADABLE)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        click.echo(f"The log tells of nothing that went wrong with {name}.")
    else:
        for row in rows:
            click.echo(f"{row['at']}  {row['reference'] or '-'}  {row['what']} {row['fix']}".rstrip())
    raise SystemExit(REFUSED if rows else DONE)


@site.command("try-events")
@click.argument("name")
@config_option
def try_events(name: str, config: Path) -> None:
    """Send a site a security event about nobody, to see that it arrives (SSF 1.0 §8.1.4).

    The running server pushes it within seconds, or the site fetches it; what failed is listed by `doorward site untold`.
    """
    from broker.chance import SystemClock, SystemEntropy
    from broker.cli.common import open_durable, ready, run
    from broker.domain.stream import StreamStatus
    from broker.flows.events import EventWriter

    settings = ready(config)
    client = _found(settings, name)
    if not client.security_events:
        fail(f"The site {name} wants no security events: write security_events for it.")

    async def write() -> Stream:
        stores = await open_durable(settings)
        try:
            stream: Stream = await stores.durable.streams.load(client.client_id)
            if not stream.is_over:
                writer = EventWriter(
                    durable=stores.durable,
                    clients=settings.clients,
                    clock=SystemClock(),
                    entropy=SystemEntropy(),
                    subject_key=stores.derive("subjects"),
                )
                unit = stores.durable.unit()
                writer.verify(unit, client)
                await unit.commit()
            return stream
        finally:
            await stores.close()

    stream = run(write())
    why = f" It says why: {plain(stream.reason)}" if stream.reason else ""
    if stream.deleted:
        fail(f"Nothing was sent: {name} ended its stream. It can begin it again (POST /events/stream).")
    if stream.is_over:
        fail(f"Nothing was sent: {name} switched its stream off. It can switch it on again (POST /events/status).{why}")
    if stream.status is StreamStatus.PAUSED:
        click.echo(f"{name} paused its stream: the event waits until it goes on, for a week at most.{why}")
    elif client.security_events_uri is not None:
        click.echo(
            f"An event is on its way to {client.security_events_uri}. `doorward site untold` lists it if it fails."
        )
    else:
        click.echo(f"An event waits for {name} at {settings.broker.public_url}/events.")

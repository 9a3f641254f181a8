"""What the server's log says of one site, in words: what its software did, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from broker.domain.checks.authorization import NOT_REGISTERED
from broker.domain.client import DIFFERENCES, Client
from broker.domain.discourse import NOT_SIGNED

LONGEST: Final = 4096
"""A line of the log is shorter than this."""
_EVENTS: Final = frozenset({"problem", "gate_refused", "logout_token_delayed", "logout_token_given_up"})
_DIFFERENCE: Final = re.compile(re.escape(NOT_REGISTERED) + r": (\w{1,40}) of (\d{1,9})")
_METHODS: Final = re.compile(r"\b(\w{1,40}) used, (\w{1,40}) registered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One thing that went wrong."""

    at: str
    reference: str
    """What the person was shown, if there was one."""
    what: str
    fix: str

    @classmethod
    def of(cls, said: Mapping[str, Any], what: str, fix: str) -> Attempt:
        """From a line of the log and the words for it."""
        return cls(
            at=str(said.get("timestamp", ""))[:19], reference=str(said.get("reference") or ""), what=what, fix=fix
        )

    @property
    def row(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "client secret wrong": (
        "It sent another secret.",
        "Give it the one that client_secret names: doorward site check --secret-file compares.",
    ),
    NOT_SIGNED: (
        "It asked by DiscourseConnect and signed with another secret.",
        "Give its discourse_connect_secret the text of the file that ours names: doorward site check --secret-file compares.",
    ),
    "client disabled": ("It is switched off here.", "Write enabled = true."),
    "redirect_uri missing": ("It sent no redirect address.", "Set one in its software."),
    "redirect_uri differs": (
        "It redeemed a code with another redirect address than it had asked with.",
        "Its software must send the same one twice; look for a proxy that changes host or scheme.",
    ),
    "code_challenge missing": (
        "It asked without PKCE.",
        "Switch PKCE on in its software, or write pkce_required = false if it cannot.",
    ),
    "code_challenge_method is not S256": ("It asked with a PKCE method that protects nothing.", "Choose S256 there."),
    "code_verifier missing or malformed": (
        "It asked with PKCE and redeemed the code without.",
        "Its software lost its session meanwhile, or does PKCE by halves.",
    ),
    "code_verifier wrong": (
        "It redeemed a code with the PKCE secret of another request.",
        "Its software mixes up two tabs, or somebody tried a stolen code.",
    ),
    "code expired": ("It redeemed a code after its minute was over.", "Check that its server reaches /token quickly."),
    "code unknown": ("It redeemed a code that was never made.", "Look for software that cuts or changes addresses."),
    "code used before: grant revoked": (
        "It redeemed a code twice; what the first time gave has ended.",
        "Look for two workers, or a reload of its callback page.",
    ),
    "code of another client": ("It redeemed a code that was made for another site.", "Check its client id."),
    "openid scope missing": ("It asked without the scope openid.", "Add openid to its scopes."),
    "response_type is not code": ("It asked for another answer than a code.", "Choose the authorization code flow."),
    "response_mode unknown": ("It asked for an answer behind a #.", "Choose response_mode query or form_post."),
    "request was not pushed": (
        "It did not push its request.",
        "Switch PAR on there, or par_required (or profile) off here.",
    ),
    "request was not signed": (
        "It did not sign its request.",
        "Switch JAR on there, or request_object (or profile) off here.",
    ),
    "response_mode is not signed": (
        "It asked for an answer that is not signed, and its profile has no other.",
        "Switch JARM on there: response_mode jwt.",
    ),
    "client_assertion aud": (
        "What it proved itself with was not made for us.",
        "Its software must name our address as the one audience; strict_jwt (or profile) takes no endpoint's.",
    ),
    "resource not registered": (
        "It asked for a token for an interface that is not written here.",
        "Add the address to resources, character by character.",
    ),
    "request_uri not registered": (
        "It named an address of its request that is not written here.",
        "Add it to request_uris, character by character.",
    ),
    "proof missing": ("It showed no key (DPoP).", "Switch DPoP on in its software, or dpop (or profile) off here."),
    "proof iat": ("What it shows its key with was made at another time than now.", "Set the clock of its server."),
    "proof htu": (
        "It showed its key for another address than it asked.",
        "Check that its software knows our address as discovery names it.",
    ),
    "token without its key": (
        "It used an access token without the key it is bound to.",
        "Its software must send the token as DPoP, not as Bearer.",
    ),
    "more than one client authentication": (
        "It proved itself in two ways at once.",
        "Choose one way to send the secret in its software.",
    ),
    "handover without its cookie": (
        "A browser came back without the cookie of the site's host.",
        "The proxy must pass /.doorward/ on, cookies and all.",
    ),
    "refresh token reused: family revoked": (
        "It used a refresh token that it had already changed for a newer one; the person signs in anew.",
        "Its software must keep the newest one; look for two workers.",
    ),
    "scope not granted": ("It asked for more with a refresh token than people agreed to.", "Ask again at /authorize."),
}
"""By what the log calls the check: what happened, and what to do."""
_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "invalid_token": ("It used an access token that is over or was never one.", "It must renew it, or sign in anew."),
    "too_many_attempts": ("It failed too often in a minute.", "Look at the lines before this one."),
}
"""The same by the error code, where every check behind it reads alike."""


def read_attempts(lines: Iterable[str], client: Client) -> Iterator[Attempt]:
    """What lines of the log say about this site, in their order. Lines that are no log of ours are passed over."""
    for said in said_in(lines):
        if said.get("client") == client.client_id and said.get("event") in _EVENTS:
            yield Attempt.of(said, *_words(said, client))


class LogText:
    """The lines of a log, and whether any of them was one that can be read here."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.is_other = False
        """Whether there were lines, and none of them was JSON: lines for reading, or another program's."""

    def __iter__(self) -> Iterator[str]:
        seen = ours = 0
        for line in self._lines:
            seen += bool(line.strip())
            ours += "{" in line
            self.is_other = seen > 0 and not ours
            yield line


NO_LOG: Final = (
    "None of these lines is JSON, so nothing in them can be told. Does the server write lines for reading? Then put "
    'log_format = "json" under [broker], and look again at what it writes from then on.'
)


def said_in(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The lines that are ours, whatever a journal wrote before them."""
    for line in lines:
        start = line.find("{")
        if start < 0 or len(line) > LONGEST:
            continue
        try:
            said = json.loads(line[start:])
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said


def _words(said: Mapping[str, Any], client: Client) -> tuple[str, str]:
    event, check, reason = str(said["event"]), str(said.get("check") or ""), str(said.get("reason") or "")
    if event.startswith("logout_token"):
        last = "It is not tried again." if event.endswith("given_up") else "It is tried again."
        return f"It did not confirm that somebody signed out ({reason}).", last
    if check.startswith(NOT_REGISTERED):
        return _address(check, client)
    if found := _METHODS.fullmatch(check):
        return (
            f"It proved itself by {found[1]}; {found[2]} is registered.",
            f'Change its software, or write auth_method = "{found[1]}".',
        )
    known = WORDS.get(check) or _CODES.get(reason)
    return known or (f"It was refused: {reason} ({check or 'no more is known'}).", "")


def _address(check: str, client: Client) -> tuple[str, str]:
    """`it asked for …/callback/, registered is …/callback`: as far as it is known, for the log holds no addresses."""
    found = _DIFFERENCE.fullmatch(check)
    if found is None or not 0 < int(found[2]) <= len(client.redirect_uris):
        known = ", ".join(client.redirect_uris)
        return "It asked for a redirect address that is like none here.", f"Registered is {known}."
    kind, registered = found[1], client.redirect_uris[int(found[2]) - 1]
    if kind == "last_slash":
        asked = registered.rstrip("/") if registered.endswith("/") else f"{registered}/"
        return f"It asked for {asked}, registered is {registered}.", "Make them the same, to the letter."
    words = DIFFERENCES.get(kind, "they differ")
    return f"It asked for a redirect address like {registered}, but {words}.", "Make them the same, to the letter."

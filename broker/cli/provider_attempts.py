"""What went wrong with one provider, in words, and what to do about it: from what the server keeps, or from its log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from broker.cli.attempts import Attempt, said_in
from broker.domain.failures import ADDRESS, POSTING, Failure
from broker.domain.trial import UNKNOWN, failure_of
from broker.web.pages.words import FAILURES

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "wrong_browser": (
        "An answer came to a browser that had not asked for it.",
        "Somebody opened an old answer, or another browser; often, and from many: look whether cookies reach /callback.",
    ),
    "cookies_off": ("A browser came back without any cookie of ours.", "It blocks them, or a proxy does."),
    "sign_in_expired": ("Somebody came back too late, or twice.", "Nothing, unless it is often."),
    "sign_in_elsewhere": ("Somebody came back in another browser than they left with.", "Nothing, unless it is often."),
    "bad_request": (
        "It sent people back with an answer that has a parameter twice.",
        "Look for a proxy that adds to it.",
    ),
    "provider_off": ("Somebody came back after it was switched off.", "Nothing, unless it should be on."),
    "account_held": ("Somebody whose account is on hold came back.", "Nothing."),
    "identity_taken": ("Somebody tried to add a way that another account has.", "Nothing."),
    "not_your_way": ("Somebody signed in again as somebody who has another account, or none.", "Nothing."),
    "merge_same": ("Somebody tried to merge an account with itself.", "Nothing."),
    "merge_nobody": ("Somebody tried to merge an account with one that is not there.", "Nothing."),
    "not_that_account": (
        "Somebody whose address an account has already signed in to another account, or to none.",
        "Nothing. If one person is stuck: they sign in the way they did before, or use another address.",
    ),
}
"""By the error code, where it is not the provider's answer that is wrong."""
_EVENTS: Final = frozenset({ADDRESS, POSTING, "problem", "provider_state", "provider_tried"})
_OF_APP: Final = "Whoever writes the app reads in the answer what to change; config/guides/ios.md has every step."
_AGAIN: Final = (
    "Nothing: the app has to sign in with the SDK again. Often: it keeps tokens and sends them late, or twice."
)
_BROUGHT: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("invalid_grant", "replayed"): ("An app brought a token of Limited Login a second time.", _AGAIN),
    ("invalid_grant", "exp"): ("An app brought a token of Limited Login that was over.", _AGAIN),
    ("invalid_grant", "iat"): (
        "An app brought a token of Limited Login that is older than 10 minutes, or from the future.",
        f"{_AGAIN} From the future: set this machine's clock by NTP.",
    ),
    ("invalid_grant", "nonce"): (
        "An app brought a token of Limited Login with another nonce than its nonce_verifier gives.",
        "The app must give the SDK the S256 hash of nonce_verifier as nonce, and send nonce_verifier itself to us.",
    ),
    ("invalid_grant", "nonce_verifier"): (
        "An app sent a nonce_verifier that is none.",
        "The app must make 43 to 128 letters, digits, -, ., _ or ~ for each sign-in.",
    ),
    ("invalid_grant", "aud"): (
        "An app brought a token of Limited Login that was made for another app.",
        "Compare client_id here with the app id in the app's own settings (FacebookAppID).",
    ),
    ("invalid_grant", "azp"): (
        "An app brought a token of Limited Login that was made for another app.",
        "Compare client_id here with the app id in the app's own settings (FacebookAppID).",
    ),
    ("invalid_request", "id_token missing"): ("An app brought no token of Limited Login.", _OF_APP),
    ("invalid_request", "nonce_verifier missing"): (
        "An app brought a token of Limited Login without nonce_verifier.",
        _OF_APP,
    ),
    ("invalid_request", "no code_challenge with a token"): (
        "An app brought a token of Limited Login without PKCE.",
        "The app must send code_challenge and code_challenge_method=S256.",
    ),
    ("invalid_request", "prompt none with a token"): (
        "An app brought a token of Limited Login and asked for prompt=none.",
        "The app must leave prompt=none out: the person is asked first.",
    ),
    ("invalid_request", "new sign-in asked with a token"): (
        "An app brought a token of Limited Login and asked for a new sign-in.",
        "The app must leave prompt=login and max_age out, or send the person to /authorize without a token.",
    ),
    ("not_found", "no provider whose tokens apps may bring"): (
        "An app brought a token of Limited Login, and no app may bring one from here.",
        "If apps may, write limited_login = true in its table, see that it is on, and reload the server. Else nothing.",
    ),
    ("way_missing", "provider is not linked"): (
        "Somebody wanted to turn posting on who does not sign in with it.",
        "Nothing: the page offers them to add it as a way to sign in.",
    ),
}
"""By the error code and the check: what apps do wrong that bring people (`flows.app_sign_in`), and what is no fault."""
_HOOKS: Final = frozenset({"signed", "issued", "notice", "event", "logout", "frame"})
"""How the checks begin that a message of the provider's server did not pass (`web.hooks`)."""
_FORGED: Final = (
    "Anybody can send one. If those it sends itself are refused: compare client_id, client_secret and issuer with what "
    "stands there."
)
_OF_SITE: Final = frozenset(
    {
        "invalid_client", "invalid_scope", "invalid_request", "invalid_redirect_uri", "unauthorized_client", "unknown_client",
        "unsupported_response_type",
    }
)  # fmt: skip
"""Where it is the site that is wrong, on its way to the provider."""
_ASK_SITE: Final = "doorward site attempts, with the site's id, tells what it did and what to do."
_POST: Final = "A post was not taken: "
_GRANT_OVER: Final = frozenset(
    {"token invalid_grant", "no refresh token", "provider renews no tokens", "nobody was named"}
)
_TURN_ON: Final = "Nothing: posting is off for them now, and they can turn it on again."
_TYPED: Final = "At an address that somebody typed: "
_NO_ADDRESS: Final = ("Somebody typed what is no address.", "Nothing.")
_NOT_LET_IN: Final = (
    "Somebody typed an address that is at a host that is not let in, or leads to one.",
    'If it should be let in, add it to hosts, or write discovery = "any".',
)
_REFUSED_THERE: Final = (
    "The server there does not take us.",
    "Ask whoever runs it whether programs may register there by themselves.",
)
_NOBODY_THERE: Final = (
    "Nothing there says in a way that can be used who signs its people in.",
    "A typing mistake, if it is not often. Else ask whoever runs that host what it offers.",
)


def read_attempts(lines: Iterable[str], provider: str) -> Iterator[Attempt]:
    """What lines of the log say about this provider, in their order. What went well is passed over."""
    for said in said_in(lines):
        if said.get("provider") == provider and said.get("event") in _EVENTS:
            words = _words(said)
            if words is not None:
                yield Attempt.of(said, *words)


def of_failures(failures: Iterable[Failure]) -> Iterator[Attempt]:
    """The same of what the server keeps."""
    for one in failures:
        said = {
            "event": one.step,
            "reason": one.reason,
            "check": one.detail,
            "outcome": "failed",
            "reference": one.reference,
            "timestamp": one.at.isoformat(),
        }
        words = _words(said)
        if words is not None:
            yield Attempt.of(said, *words)


def _words(said: Mapping[str, Any]) -> tuple[str, str] | None:
    event, reason, check = (str(said.get(name) or "") for name in ("event", "reason", "check"))
    if event == "provider_state":
        return None if reason == "ok" else _told("Asked in the background: ", reason)
    if event == "provider_tried":
        return _told("Tried: ", check) if said.get("outcome") == "failed" else None
    if event == ADDRESS:
        return _at_typed(check)
    if event == POSTING:
        return _of_post(reason, check)
    if reason in WORDS:
        return WORDS[reason]
    if reason.startswith("upstream_") or reason in {"sign_in_cancelled", "egress_refused"}:
        return _told("", check)
    if (reason, check) in _BROUGHT:
        what, fix = _BROUGHT[reason, check]
        return f"{what} ({check})", fix
    if reason == "invalid_grant":
        return f"An app brought a token of Limited Login that did not pass our checks. ({check})", _OF_APP
    if reason == "invalid_request" and check.partition("_")[0].partition(" ")[0] in _HOOKS:
        return f"A message to one of its hooks did not pass our checks, and did nothing. ({check})", _FORGED
    if reason in _OF_SITE:
        return f"A site's app was refused: {reason} ({check or 'no more is known'}).", _ASK_SITE
    return f"Refused: {reason} ({check or 'no more is known'}).", ""


def _told(before: str, detail: str) -> tuple[str, str]:
    what, fix = FAILURES[failure_of(detail)]
    return f"{before}{what} ({detail})", fix


def _at_typed(check: str) -> tuple[str, str]:
    """By what a typed address failed at. Which address it was nobody wrote down."""
    if check == "identifier":
        return _NO_ADDRESS
    if check.endswith(" policy"):
        return _NOT_LET_IN
    first, _, rest = check.partition(" ")
    if first in {"server", "discovery"}:  # no answer came, for a reason of the guarded client or a status of the server
        failure = "unwell" if rest.startswith("status") else failure_of(rest)
        if failure != UNKNOWN:
            what, fix = FAILURES[failure]
            return f"{_TYPED}{what} ({check})", fix
    what, fix = (
        _REFUSED_THERE
        if first in {"registration", "registration_endpoint", "registration_method", "status"}
        else _NOBODY_THERE
    )
    return f"{_TYPED}{what} ({check})", fix


def _of_post(reason: str, check: str) -> tuple[str, str]:
    """Why the network did not take a post. Where it is no longer let, the person's opt-in went off (`flows.posting`)."""
    if check in _GRANT_OVER:
        return f"{_POST}what somebody had let us do there is over, or they took it back. ({check})", _TURN_ON
    if reason == "posting_not_permitted":
        return f"{_POST}it does not let us post for somebody any more. ({check})", _TURN_ON
    return _told(_POST, check)

"""Every state that is not the good one, in words (one catalogue, one template)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

from broker.web.pages.base import Page, Sentence, SiteCard
from broker.web.pages.words import N_


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way out: a link, or a button if it changes something. `kind` is a code of `words.WAYS`."""

    kind: str
    url: str = field(repr=False)
    site: str = ""
    """For the kinds that name a site."""
    method: str = "get"
    is_primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One technical line for whoever helps; the label is a sentence of the catalogue. `near` shows the difference to `value`."""

    label: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage(Page):
    """What happened, whether anything was lost, what to do now, and the reference that finds the log line."""

    template: ClassVar[str] = "problem.html"
    code: str
    title: Sentence
    paragraphs: tuple[Sentence, ...]
    reference: str
    at: datetime
    ways: tuple[Way, ...] = ()
    details: tuple[Detail, ...] = ()
    contact: str = ""
    shows_cookie_help: bool = False
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    title: str
    paragraphs: tuple[str, ...]
    ways: tuple[str, ...] = ("start_again",)


WORDS: Final[Mapping[str, _Words]] = {
    "sign_in_expired": _Words(
        title=N_("You took longer than 30 minutes"),
        paragraphs=(N_("To keep you safe we threw away what %(provider)s sent. Nothing was saved."),),
    ),
    "request_over": _Words(
        title=N_("The site has to send you again"),
        paragraphs=(
            N_("It may send you here once, and within a minute. That is over, or was used already. Nothing was saved."),
        ),
    ),
    "sign_out_unknown": _Words(
        title=N_("We cannot say whether you are signed out at %(provider)s"),
        paragraphs=(
            N_("What brought you here is not the answer to a sign-out that was begun here, or it is too old."),
            N_("To be sure, open %(provider)s and sign out there. Nothing was changed here."),
        ),
        ways=("home", "my_account"),
    ),
    "sign_in_elsewhere": _Words(
        title=N_("This sign-in is not open in this browser"),
        paragraphs=(
            N_(
                "This page belongs to a sign-in that was begun in another browser, or that is over: finished, ended or too old."
            ),
            N_("Nothing was saved. You can begin a new one here."),
        ),
        ways=("start_again", "home"),
    ),
    "sign_in_finished": _Words(
        title=N_("You already did this step"),
        paragraphs=(N_("There is nothing more to do on this page."),),
        ways=("continue_to_site", "my_account"),
    ),
    "sign_in_cancelled": _Words(
        title=N_("You did not let %(provider)s tell us who you are"),
        paragraphs=(N_("That is fine. Nothing was shared."),),
        ways=("another_way", "back_to_site"),
    ),
    "wrong_browser": _Words(
        title=N_("We could not be sure this sign-in was yours"),
        paragraphs=(
            N_("So we stopped. Nothing was saved."),
            N_(
                "This happens when a sign-in is started in one browser and finished in another, or when a link was passed on."
            ),
        ),
    ),
    "not_let_in": _Words(
        title=N_("%(site)s did not let you in"),
        paragraphs=(
            N_("You did not share what it needs to know you. Nothing was shared."),
            N_("If you open it again, you are asked again."),
        ),
        ways=("back_to_site", "my_account"),
    ),
    "cookies_off": _Words(
        title=N_("Your browser is blocking our cookie"),
        paragraphs=(
            N_("We need one small cookie to remember you between two pages. It is not for ads."),
            N_("If you began to sign in in another browser, go on there instead."),
        ),
        ways=("try_again", "back_to_site"),
    ),
    "too_many_attempts": _Words(
        title=N_("Too many tries"),
        paragraphs=(N_("You can try again at %(time)s (in %(minutes)s)."),),
        ways=("back_to_site", "home"),
    ),
    "upstream_unavailable": _Words(
        title=N_("%(provider)s is not answering"),
        paragraphs=(N_("It is not you. Your account is safe."),),
        ways=("try_again", "another_way", "back_to_site"),
    ),
    "upstream_rejected": _Words(
        title=N_("%(provider)s refused to answer us"),
        paragraphs=(N_("It is not you. Your account is safe. You can try again or use another way."),),
        ways=("try_again", "another_way", "back_to_site"),
    ),
    "upstream_needs_visit": _Words(
        title=N_("%(provider)s wants to see you first"),
        paragraphs=(
            N_("Open %(provider)s in another tab and sort out what it asks there. Then try again here."),
            N_("It is not you. Your account is safe."),
        ),
        ways=("try_again", "another_way", "back_to_site"),
    ),
    "upstream_invalid": _Words(
        title=N_("We could not trust what %(provider)s sent"),
        paragraphs=(N_("Its answer did not pass our checks, so we stopped. Nothing was saved."),),
        ways=("try_again", "another_way", "back_to_site"),
    ),
    "provider_off": _Words(
        title=N_("This way to sign in is not available"),
        paragraphs=(N_("It may have been switched off. Your account is safe."),),
        ways=("another_way", "back_to_site"),
    ),
    "unknown_issuer": _Words(
        title=N_("We do not know the service that sent you here"),
        paragraphs=(N_("It is not a way to sign in here. Nothing was changed."),),
        ways=("another_way", "home"),
    ),
    "unknown_place": _Words(
        title=N_("This link leads to a place that we do not know"),
        paragraphs=(
            N_("Whoever made it wants you to sign in here and to go on to somewhere that is not one of our sites."),
            N_("So we stopped. Nothing was changed."),
        ),
        ways=("home", "my_account"),
    ),
    "site_misconfigured": _Words(
        title=N_("%(site)s sent us here the wrong way"),
        paragraphs=(N_("Only its admins can fix this. Nothing was shared."),),
        ways=("back_to_site", "home"),
    ),
    "not_sent_on": _Words(
        title=N_("%(site)s could not sign you in"),
        paragraphs=(
            N_(
                "It asked for something that cannot be, or for somebody who is signed in here already. Nothing was shared."
            ),
            N_(
                "Nobody here has looked at this site yet, so we do not send you back to it by ourselves. Its address is %(host)s. Look at it before you go there."
            ),
        ),
        ways=("back_to_site", "home"),
    ),
    "unknown_client": _Words(
        title=N_("We do not know the site that sent you here"),
        paragraphs=(N_("Only its admins can fix this. Nothing was shared."),),
        ways=("home",),
    ),
    "client_document_unread": _Words(
        title=N_("We could not read what the site that sent you here says of itself"),
        paragraphs=(
            N_("It introduces itself at its own address. There is nothing there now, or nothing we can take."),
            N_("Try again in a few minutes. If it stays like this, only its admins can fix it. Nothing was shared."),
        ),
        ways=("home",),
    ),
    "account_held": _Words(
        title=N_("This account is on hold"),
        paragraphs=(N_("Write to us and give the reference below."),),
        ways=("contact", "back_to_site"),
    ),
    "not_that_account": _Words(
        title=N_("That is not the account that uses this address"),
        paragraphs=(
            N_("You were not signed in, and nothing was connected."),
            N_("Sign in to it the way you did before. If you cannot, start again and use another address."),
        ),
        ways=("try_again", "start_again"),
    ),
    "passkey_refused": _Words(
        title=N_("This passkey did not let you in"),
        paragraphs=(
            N_("It may have been removed from your account, or it is for another service. Your account is safe."),
            N_("Try once more, with another passkey if your device offers one, or use another way to sign in."),
        ),
        ways=("try_again", "back_to_site"),
    ),
    "letter_over": _Words(
        title=N_("This link does not work any more"),
        paragraphs=(
            N_("It was used already, a newer one was sent, or too much time went by. Nothing was changed."),
            N_("You can ask for another one under My account, Details."),
        ),
        ways=("my_account", "home"),
    ),
    "trial_over": _Words(
        title=N_("This link to try a provider does not work any more"),
        paragraphs=(
            N_("It was used already, or 15 minutes went by. Nothing was changed."),
            N_("Make another one with the same command."),
        ),
        ways=("home",),
    ),
    "identity_taken": _Words(
        title=N_("This way to sign in cannot be added"),
        paragraphs=(
            N_("It opens an account here already. Nothing was changed."),
            N_("If that account is yours too, you can make one of the two: you see both before anything changes."),
            N_(
                "Or keep both: sign in to the other account that way and remove the way there. If it is its only way, add "
                "another one there first. Then add it here."
            ),
        ),
        ways=("merge", "ways"),
    ),
    "merge_same": _Words(
        title=N_("That way opens this same account"),
        paragraphs=(
            N_("There is nothing to merge: it is the account you are signed in to. Nothing was changed."),
            N_("Choose the way that opens your other account."),
        ),
        ways=("merge", "my_account"),
    ),
    "merge_nobody": _Words(
        title=N_("That way opens no other account here"),
        paragraphs=(
            N_("So there is nothing to merge. Nothing was changed."),
            N_("If you want it to open your account, add it under Ways to sign in."),
        ),
        ways=("ways", "merge"),
    ),
    "merge_of_staff": _Words(
        title=N_("These two accounts cannot be merged"),
        paragraphs=(
            N_("One of them helps to run this service. What it may do must not pass to another account like this."),
            N_("Nothing was changed. Whoever runs this service can take the role away first."),
        ),
        ways=("my_account", "contact"),
    ),
    "merge_waits": _Words(
        title=N_("These two accounts cannot be merged now"),
        paragraphs=(
            N_("A provider told us that one of them is to be deleted, and nobody here has decided about that yet."),
            N_("Nothing was changed. Try again once it is decided, or write to us if you did not ask for it."),
        ),
        ways=("my_account", "contact"),
    ),
    "not_your_way": _Words(
        title=N_("That is not one of your ways to sign in"),
        paragraphs=(N_("Nothing was changed. Please use one that is listed in your account."),),
        ways=("try_again", "ways"),
    ),
    "last_link": _Words(
        title=N_("This is your only way to sign in"),
        paragraphs=(N_("Add another way first, then you can remove this one. Nothing was changed."),),
        ways=("ways",),
    ),
    "last_owner": _Words(
        title=N_("Your account cannot be closed yet"),
        paragraphs=(
            N_("You are the only owner of this service: without you nobody could run it. Nothing was changed."),
            N_("Make somebody else an owner first, with doorward admin add."),
        ),
        ways=("my_account",),
    ),
    "sign_in_required": _Words(
        title=N_("Please sign in to see this page"),
        paragraphs=(N_("You are not signed in in this browser, or you were away for a long time."),),
        ways=("sign_in", "home"),
    ),
    "posting_not_permitted": _Words(
        title=N_("Posting is off"),
        paragraphs=(N_("Nothing was posted. Nothing is ever posted unless you turn it on and say yes to each post."),),
        ways=("posting", "back_to_site"),
    ),
    "way_missing": _Words(
        title=N_("Add %(provider)s to your account first"),
        paragraphs=(
            N_(
                "Posting to %(provider)s needs it as one of your ways to sign in, and it is not one yet. Nothing was posted."
            ),
            N_("Add it, then go back to the site and share once more."),
        ),
        ways=("add_way", "back_to_site"),
    ),
    "form_invalid": _Words(
        title=N_("There is a problem"),
        paragraphs=(N_("Something in the form could not be used. Nothing was changed."),),
        ways=("back", "home"),
    ),
    "forbidden": _Words(
        title=N_("This request did not come from our own page"),
        paragraphs=(N_("So we did nothing. Open the page again and try once more."),),
        ways=("my_account", "home"),
    ),
    "not_found": _Words(
        title=N_("There is no page at this address"),
        paragraphs=(N_("Check the address for typing mistakes, or go on from one of these."),),
        ways=("home", "my_account"),
    ),
    "method_not_allowed": _Words(
        title=N_("This page cannot be opened like that"),
        paragraphs=(N_("Go on from one of these."),),
        ways=("home", "my_account"),
    ),
    "bad_request": _Words(
        title=N_("We could not read this request"),
        paragraphs=(N_("Nothing was changed. Go back and try once more."),),
        ways=("home", "my_account"),
    ),
    "too_large": _Words(
        title=N_("This is too much at once"),
        paragraphs=(N_("The request was larger than we accept. Nothing was changed."),),
        ways=("home", "my_account"),
    ),
    "unavailable": _Words(
        title=N_("We cannot answer right now"),
        paragraphs=(N_("It is not you. Nothing was lost. Try again in a minute."),),
        ways=("try_again", "back_to_site"),
    ),
    "server_fault": _Words(
        title=N_("Something broke on our side"),
        paragraphs=(N_("It is not you. Try again; if it happens again, write to us and give the reference below."),),
        ways=("try_again", "back_to_site", "home"),
    ),
}
"""By error code (`broker.errors`), or by a name of `ALIASES`."""

ALIASES: Final[Mapping[str, str]] = {
    "expired_flow": "sign_in_expired",
    "already_done": "sign_in_finished",
    "too_many_tries": "too_many_attempts",
    "provider_down": "upstream_unavailable",
    "egress_refused": "upstream_unavailable",
    "cancelled_at_provider": "sign_in_cancelled",
    "not_yours": "wrong_browser",
    "provider_answer_invalid": "upstream_invalid",
    "user_name_taken": "form_invalid",
    "csrf": "forbidden",
    "store_unavailable": "unavailable",
    "overtaken": "unavailable",
    "temporarily_unavailable": "unavailable",
    "invalid_redirect_uri": "site_misconfigured",
    "unsupported_response_type": "site_misconfigured",
    "invalid_request": "site_misconfigured",
    "invalid_scope": "site_misconfigured",
    "unauthorized_client": "site_misconfigured",
    "request_not_supported": "site_misconfigured",
    "request_uri_not_supported": "site_misconfigured",
    "invalid_request_object": "site_misconfigured",
    "invalid_request_uri": "site_misconfigured",
    "registration_not_supported": "site_misconfigured",
    "access_denied": "forbidden",
    "fresh_sign_in_required": "sign_in_required",
}

_PROVIDER = N_("the provider")
_SITE = N_("A site")
_WITHOUT_SITE: Final = frozenset({"back_to_site", "continue_to_site"})
_PLACES: Final[Mapping[str, str]] = {
    "start_again": "/sign-in",
    "try_again": "/sign-in",
    "another_way": "/sign-in",
    "sign_in": "/sign-in",
    "my_account": "/me",
    "ways": "/me/ways",
    "add_way": "/me/ways",
    "merge": "/me/merge",
    "posting": "/me/posting",
    "home": "/",
    "back": "/me",
    "contact": "/help",
}


def error_page(
    code: str,
    *,
    reference: str,
    at: datetime,
    provider: str = "",
    site: SiteCard | None = None,
    urls: Mapping[str, str] | None = None,
    retry_at: datetime | None = None,
    contact: str = "",
    details: tuple[Detail, ...] = (),
) -> ErrorPage:
    """The page for an error code; an unknown code reads like `bad_request`.

    `provider` is a label. `urls` overrides where a way leads by its kind (`start_again`, `try_again`, `another_way` …);
    an empty address leaves that way out. Ways that name a site appear only with a site.
    """
    known = ALIASES.get(code, code)
    words = WORDS.get(known, WORDS["bad_request"])
    if known == "site_misconfigured" and site is None:
        words = WORDS["unknown_client"]
    minutes = max(1, -(-int((retry_at - at).total_seconds()) // 60)) if retry_at else 1
    values: tuple[tuple[str, str | int | datetime], ...] = (
        ("provider", provider or _PROVIDER),
        ("site", site.name if site else _SITE),
        ("host", site.host if site else ""),
        ("minutes", minutes),
        ("time", retry_at or at),
    )
    return ErrorPage(
        code=known if known in WORDS else "bad_request",
        title=Sentence(text=words.title, values=values),
        paragraphs=tuple(Sentence(text=text, values=values) for text in words.paragraphs),
        reference=reference,
        at=at,
        ways=_ways(words.ways, site, urls or {}),
        details=details,
        contact=contact,
        shows_cookie_help=known == "cookies_off",
        retry_at=retry_at,
    )


def _ways(kinds: tuple[str, ...], site: SiteCard | None, urls: Mapping[str, str]) -> tuple[Way, ...]:
    """The ways out that can be walked here; never none."""
    ways: list[Way] = []
    for kind in kinds:
        names_site = kind in _WITHOUT_SITE
        if names_site and site is None:
            continue
        url = urls.get(kind, site.url if names_site and site else _PLACES.get(kind, "/"))
        if url:
            ways.append(Way(kind=kind, url=url, site=site.name if names_site and site else "", is_primary=not ways))
    return tuple(ways) or (Way(kind="home", url="/", is_primary=True),)

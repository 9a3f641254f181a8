"""Codes and what they say. The English sentence is the key of the translation catalogues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for "translate this later"
    """Mark a sentence for the catalogue; it is translated when it is shown."""
    return text


AUDIENCES: Final[Mapping[str, str]] = {
    "only_you": N_("Only you see it."),
    "admins": N_("Only you and the admins see it."),
    "members": N_("Signed-in members see it."),
    "everyone": N_("Everyone can see it."),
}

PROBLEMS: Final[Mapping[str, str]] = {
    "missing": N_("%(field)s: please fill this in"),
    "bad_value": N_("%(field)s: this does not look right. Check it for typing mistakes"),
    "taken": N_("%(field)s: this one is taken. Try another"),
    "too_short": N_("%(field)s: use at least 3 characters"),
    "too_long": N_("%(field)s: this is too long. Use fewer characters"),
    "characters": N_("%(field)s: use letters, numbers, dots, dashes and underscores only"),
    "mixed_scripts": N_("%(field)s: use letters of one alphabet only"),
    "edges": N_("%(field)s: start with a letter or number, and do not end with a dot, dash or underscore"),
    "reserved": N_("%(field)s: this one cannot be used. Try another"),
    "birth_year": N_("Enter a year with 4 numbers"),
    "birth_month": N_("Choose a month"),
    "identifier_missing": N_("Type the address of your OpenID, or choose another way"),
    "identifier_bad": N_("This is no address of an OpenID. Check it for typing mistakes"),
    "identifier_http": N_("Addresses that start with http:// are not safe. Try yours with https://"),
    "identifier_xri": N_("Names that start with a sign such as = or @ do not work any more. Type an address"),
    "identifier_host": N_("An OpenID at that place cannot be used here. Choose another way"),
    "identifier_none": N_("There is no OpenID at this address. Check it for typing mistakes"),
    "identifier_silent": N_("That address does not answer. Check it for typing mistakes, or try again later"),
    "needed_missing": N_("%(field)s: the site needs this. Fill it in, or choose not to share"),
}

CODE_PROBLEMS: Final[Mapping[str, str]] = {
    "wrong": N_("This is not the code we sent last. Check the numbers"),
    "over": N_("This code does not work any more. Send another letter"),
    "anothers": N_("Another account proved this address before. Sign in to that one, or use another address"),
}

DEVICE_PROBLEMS: Final[Mapping[str, str]] = {
    "no_device_code": N_("Type the 8 letters that your device shows"),
    "unknown_device_code": N_("No device waits with this code. Look at it again, or let the device show a new one"),
}

NOTICES: Final[Mapping[str, str]] = {
    "kept_nothing": N_("Done. We kept nothing."),
    "another": N_("Choose the way that belongs to your other account."),
    "forgotten": N_("Done. We forgot which way you used last."),
}

DONE: Final[Mapping[str, str]] = {
    "saved": N_("Your changes are saved."),
    "added": N_("You can now sign in this way too."),
    "removed": N_("You can no longer sign in that way."),
    "stopped": N_("Stopped. The site gets this no more. It keeps what it already has; ask it to delete that."),
    "disconnected": N_(
        "Disconnected. The site gets nothing more and was told. It keeps what it already has; ask it to delete that."
    ),
    "checked": N_("Your e-mail address is checked."),
    "ended": N_("Signed out there."),
    "off": N_("Posting is off for that site."),
    "allowed": N_("Posting is on for that site. It will still ask you each time."),
    "undone": N_("The post was deleted."),
    "not_undone": N_("The post could not be deleted from here. Delete it there yourself."),
}

POST_STATES: Final[Mapping[str, str]] = {
    "asked": N_("Waiting for you"),
    "declined": N_("Not posted: you said no"),
    "sending": N_("On its way"),
    "posted": N_("Posted"),
    "needs_person": N_("Opened in their Share window; only you know whether you posted it"),
    "unknown": N_("Not known: they did not answer. Look there before you try again"),
    "failed": N_("Not posted: they refused it"),
    "undone": N_("Deleted"),
    "cancelled": N_("Not posted: it was cancelled"),
}

VIAS: Final[Mapping[str, str]] = {
    "id_token": N_("when you signed in"),
    "session_token": N_("when you signed in"),
    "userinfo": N_("the site asked us"),
    "introspection": N_("the site asked us"),
    "forward_auth": N_("you opened a page there"),
    "agreed": N_("you chose to share"),
    "refused": N_("you chose not to share"),
    "stopped": N_("you stopped sharing"),
    "disconnected": N_("you disconnected the site"),
}

STEP_UP: Final[Mapping[str, str]] = {
    "close": N_("Sign in again to close your account"),
    "ways": N_("Sign in again to change your ways to sign in"),
    "posting": N_("Sign in again to change posting"),
    "site": N_("Sign in again"),
}

NOT_ASKED: Final[Mapping[str, str]] = {
    "friends": N_("your friends"),
    "posts": N_("your posts"),
    "messages": N_("your messages"),
    "birthday": N_("your birthday"),
    "phone": N_("your phone number"),
    "address": N_("your postal address"),
    "contacts": N_("your contacts"),
}

COOKIES: Final = (
    N_("keeps you signed in"),
    N_("remembers one sign-in from page to page; sealed, one per tab"),
    N_("remembers which way to sign in you used last, only if you ticked it"),
    N_("remembers the language you chose"),
    N_("lets sites you signed in to notice that you signed out; says nothing about you"),
    N_("remembers that an account could not be made here yet; holds no date of birth"),
    N_("finds out whether your browser takes cookies"),
    N_("until you close the browser"),
    N_("30 minutes, 2 hours at most"),
    N_("2 hours at most"),
    N_("keeps you signed in at one site, whose own address it belongs to"),
    N_("makes sure that a sign-in at that site ends in the browser where it began"),
    N_("24 hours"),
    N_("180 days"),
    N_("5 minutes"),
)
"""The words of `web.cookies`, which may not import this."""

WAYS: Final[Mapping[str, str]] = {
    "start_again": N_("Start again"),
    "try_again": N_("Try again"),
    "another_way": N_("Choose another way to sign in"),
    "sign_in": N_("Sign in"),
    "sign_in_again": N_("Sign in again"),
    "back_to_site": N_("Back to %(site)s"),
    "continue_to_site": N_("Continue to %(site)s"),
    "my_account": N_("My account"),
    "ways": N_("Ways to sign in"),
    "add_way": N_("Add a way to sign in"),
    "posting": N_("Posting"),
    "home": N_("Home page"),
    "back": N_("Back"),
    "contact": N_("Write to us"),
}

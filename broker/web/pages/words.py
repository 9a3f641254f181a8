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
    "server_missing": N_("Type the name of your server, or choose another way"),
    "server_bad": N_("This is no name of a server. Check it for typing mistakes"),
    "server_host": N_("People of that server cannot sign in here. Choose another way"),
    "server_none": N_(
        "There is no server of this kind under that name. Type what your browser shows first when you are signed in at yours"
    ),
    "server_refused": N_("That server does not let us ask it who you are. Choose another way, or try again later"),
    "server_silent": N_("That server does not answer. Check its name for typing mistakes, or try again later"),
    "handle_missing": N_("Type your handle, or choose another way"),
    "handle_bad": N_("This is no handle. Type the whole of it, such as ana.bsky.social"),
    "handle_host": N_("People of that server cannot sign in here. Choose another way"),
    "handle_none": N_("Nobody is found by this handle. Check it for typing mistakes"),
    "handle_refused": N_(
        "The server of this handle does not let us ask it who you are. Choose another way, or try again later"
    ),
    "handle_silent": N_("The server of this handle does not answer. Check it for typing mistakes, or try again later"),
    "address_missing": N_("Type your address, or choose another way"),
    "address_bad": N_(
        "This is no address that can be asked. Type the whole of it, such as ana@example.org or example.org"
    ),
    "address_host": N_("Addresses of that place cannot be used here. Choose another way"),
    "address_none": N_(
        "No provider that can be used is found by this address. Check it for typing mistakes, or choose another way"
    ),
    "address_refused": N_(
        "The provider of this address takes no new sites by itself. Ask those who run it, or choose another way"
    ),
    "address_silent": N_("That address does not answer. Check it for typing mistakes, or try again later"),
    "only_way": N_("%(field)s: codes to this address are your only way to sign in. Add another way first"),
    "needed_missing": N_("%(field)s: the site needs this. Fill it in, or choose not to share"),
}

CODE_PROBLEMS: Final[Mapping[str, str]] = {
    "wrong": N_("This is not the code we sent last. Check the numbers"),
    "over": N_("This code does not work any more. Send another letter"),
    "anothers": N_("Another account proved this address before. Sign in to that one, or use another address"),
}

CODE_BY_MAIL: Final = N_("a code by e-mail")
"""What this way to sign in is called inside a sentence."""

SIGN_IN_CODE_PROBLEMS: Final[Mapping[str, str]] = {
    "missing": N_("Type your e-mail address"),
    "bad_value": N_("Type an e-mail address such as ana@example.org"),
    "wrong": N_("This is not the code we sent last. Check the numbers"),
    "over": N_("This code does not work any more. Send another letter"),
}

PASSKEY: Final = N_("a passkey")
"""What this way to sign in is called inside a sentence."""

PASSKEY_PROBLEMS: Final[Mapping[str, str]] = {
    "refused": N_("We could not use what your browser made. Try once more, or use another browser or device"),
    "over": N_("This page waited for more than 10 minutes. Try once more"),
    "there": N_("This passkey is in use already. Choose another device, or another place to keep it"),
    "too_many": N_("You have 10 passkeys already. Remove one first"),
}

MERGE_PROBLEMS: Final[Mapping[str, str]] = {
    "stays": N_("Choose which of the two accounts stays. Nothing is merged yet"),
    "changed": N_(
        "One of the two accounts was changed while you looked at them. Nothing is merged yet. Look once more"
    ),
    "passkeys": N_("There cannot be more than 10 passkeys on one account. Nothing is merged yet. Untick some"),
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
    "removed_passkey": N_(
        "This passkey no longer signs you in. Your device may still list it; you can delete it there too."
    ),
    "stopped": N_("Stopped. The site gets this no more. It keeps what it already has; ask it to delete that."),
    "disconnected": N_(
        "Disconnected. The site gets nothing more and was told. It keeps what it already has; ask it to delete that."
    ),
    "checked": N_("Your e-mail address is checked."),
    "saved_without_codes": N_(
        "Your changes are saved. Codes by e-mail let nobody in any more, until you turn them on for the new address."
    ),
    "ended": N_("Signed out there."),
    "merged": N_(
        "Done. Your two accounts are one now, and posting is off. Look through it, and at what the sites get."
    ),
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
    "discourse_connect": N_("when you signed in"),
    "agreed": N_("you chose to share"),
    "refused": N_("you chose not to share"),
    "stopped": N_("you stopped sharing"),
    "disconnected": N_("you disconnected the site"),
}

STEP_UP: Final[Mapping[str, str]] = {
    "close": N_("Sign in again to close your account"),
    "ways": N_("Sign in again to change your ways to sign in"),
    "posting": N_("Sign in again to change posting"),
    "merge": N_("Sign in again to merge two accounts"),
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
    N_("shows what you signed out of in this browser alone; says nothing about you"),
    N_("30 minutes"),
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
    "back_to_site": N_("Back to %(site)s"),
    "continue_to_site": N_("Continue to %(site)s"),
    "my_account": N_("My account"),
    "ways": N_("Ways to sign in"),
    "add_way": N_("Add a way to sign in"),
    "merge": N_("Merge two accounts"),
    "posting": N_("Posting"),
    "home": N_("Home page"),
    "back": N_("Back"),
    "contact": N_("Write to us"),
}

LEFT_OUT: Final[Mapping[str, str]] = {
    "declined": N_("somebody said no to it there"),
    "absent": N_("it sent none, or none that can be used"),
    "unusable": N_("what it sent cannot be used"),
    "no_field": N_("there is no field of that name here, or it is never asked for"),
}
"""Why a field that a provider may tell is not proposed."""

FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "unknown": (
        N_("Its answer did not pass our checks."),
        N_("Look for what the log calls it in the provider's settings."),
    ),
    "said_no": (N_("Somebody said no there."), N_("Try again, and agree there.")),
    "refused": (N_("It refused."), N_("Look for what it said in the provider's documentation.")),
    "unwell": (N_("It is unwell right now."), N_("Try again later.")),
    "too_often": (N_("It was asked too often."), N_("Wait for some minutes, and look for its limits.")),
    "forbidden": (
        N_("It does not let this machine in."),
        N_("Look for a list of allowed addresses there, and at how often it was asked."),
    ),
    "not_there": (N_("There is nothing at the address."), N_("Check issuer and endpoints for typing mistakes.")),
    "no_name": (
        N_("The name of its host is not known."),
        N_("Check the address for typing mistakes, and that this machine can look names up."),
    ),
    "no_connection": (
        N_("Its host takes no connection from this machine."),
        N_("Look for a firewall or a proxy between the two."),
    ),
    "certificate": (
        N_("Its certificate is not good."),
        N_(
            "It has run out, is for another name, or is from an authority that this machine does not know. Certificates "
            "are never passed over; name the authority's file in egress if it is your own."
        ),
    ),
    "no_answer": (N_("It did not answer in time."), N_("Try again. If it stays so, ask whoever runs it.")),
    "not_readable": (
        N_("Its answer is too large, packed or broken off."),
        N_("Check that the address is the right one, and that no proxy changes what passes."),
    ),
    "private_address": (
        N_("Its name leads to an address that is not public, and such addresses are never called."),
        N_("If that is meant, name its host and port in egress."),
    ),
    "kind_of_address": (
        N_("It has an address of a kind that is never called."),
        N_("Use https, a host name and port 443; or name its host and port in egress."),
    ),
    "left_alone": (
        N_("It failed so often that it is left alone for a moment."),
        N_("Wait for some seconds and try again."),
    ),
    "discovery": (
        N_("Its description of itself lacks something, or has it in a way that is not safe."),
        N_("What is missing can be written in endpoints."),
    ),
    "issuer": (
        N_("It calls itself by another name than issuer says."),
        N_("Write issuer exactly as the provider spells it; a slash at the end counts."),
    ),
    "no_code_flow": (
        N_("It does not offer the authorization code flow."),
        N_("Switch it on there. Nothing else is safe enough."),
    ),
    "pkce": (
        N_("It says that it does not do PKCE with S256."),
        N_("Write pkce = false if it cannot be switched on there."),
    ),
    "unsigned": (
        N_("It does not sign its userinfo in the way that userinfo_signed_response_alg says."),
        N_("Switch it on for us there, or remove userinfo_signed_response_alg."),
    ),
    "request_object": (
        N_("It does not take what we ask in the way that request_object says."),
        N_("Look there at how requests may be signed and where our keys are, or remove request_object."),
    ),
    "response_mode": (N_("It does not answer in the way that response_mode says."), N_("Remove response_mode.")),
    "secret": (
        N_("It does not know us by this client secret. The secret is wrong, or it has run out."),
        N_("Make a new one there, put it where client_secret looks, and reload the server."),
    ),
    "our_keys": (
        N_("It does not know us by our signature (private_key_jwt)."),
        N_(
            "Enter the address of our keys there (jwks_uri), which is public_url with /client-jwks, and look whether it can reach "
            "that. Choose private_key_jwt there, with the algorithm of token_endpoint_auth_signing_alg, and compare the client id."
        ),
    ),
    "client_id": (
        N_("It does not know the client id, or does not let it sign people in."),
        N_("Copy the client id again, and look whether the app is switched on there."),
    ),
    "redirect": (
        N_("It does not know the address that people come back to."),
        N_("Register it there to the letter: https or http, host, last slash."),
    ),
    "scope": (
        N_("It does not give what is asked for."),
        N_("Switch the permissions on there, or take them out of fields and scopes."),
    ),
    "code": (
        N_("It did not take the code that it had just given."),
        N_("Codes last for some seconds only. Try again; if it stays so, compare the redirect address and the clocks."),
    ),
    "audience": (
        N_("Its answer is meant for another app."),
        N_("Compare the client id. If it is right, list the other one in trusted_audiences only if you know it."),
    ),
    "nonce": (
        N_("Its answer belongs to another sign-in."),
        N_("Try again in one tab. If it stays so, the provider does not send the nonce back as it must."),
    ),
    "clock": (
        N_("By this machine's clock its answer is too old, or from the future."),
        N_("Set this machine's clock by NTP."),
    ),
    "keys": (
        N_("Its answer is not signed with a key that it publishes."),
        N_("Try again in a minute. If it stays so, look whether issuer is the right one."),
    ),
    "algorithm": (
        N_("Its answer is signed in a way that is not allowed here."),
        N_("Choose RS256 or ES256 there, or list another one in algorithms."),
    ),
    "not_fresh": (
        N_("It did not ask anew who is there, or does not say when it did."),
        N_("Write can_force_fresh = false if it cannot."),
    ),
    "replayed": (N_("The same answer came twice."), N_("Try again.")),
    "no_subject": (
        N_("It does not say who is there in a way that can be believed."),
        N_("Its answers name different people, or nobody. Check subject and endpoints."),
    ),
    "no_id_token": (N_("It sent no ID token."), N_("The provider must give the scope openid. Look for it there.")),
    "not_confirmed": (
        N_("It does not confirm what came back."),
        N_("Try again. If it stays so, somebody changed the answer."),
    ),
    "not_theirs": (
        N_("It named somebody it may not name."),
        N_("Look at identifiers: how the addresses of its people begin."),
    ),
}
"""What can go wrong with a provider, by `domain.trial.FAILURES`: what happened, and what to do."""

"""What we write to people, in words: a subject, a few sentences, at most one code and one link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.domain.letters import Letter
from broker.domain.mail_code import BY_MAIL
from broker.domain.passkey import BY_PASSKEY
from broker.domain.values import ProviderId
from broker.web.pages.base import Page
from broker.web.pages.words import CODE_BY_MAIL, N_, PASSKEY
from broker.web.render import Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A letter ready to send."""

    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage(Page):
    """The HTML part. `code` and `link` stand between `before` and `after`."""

    template = "email/letter.html"
    subject: str
    before: tuple[str, ...]
    code: str = ""
    link: str = ""
    link_text: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    subject: str
    before: tuple[str, ...]
    """A line that says `%(sites)s` is left out where there are none."""
    link: str = ""
    """The path of the link; the letter's token follows."""
    link_text: str = ""
    after: tuple[str, ...] = ()


_OTHER_NUMBER: Final = N_(
    "These sites knew both accounts and go on with the other one: %(sites)s. What was done there with this account does not move over."
)

_BEFORE_LINK: Final = N_("%(what)s:")
"""In the plain part, the line above an address."""
WORDS: Final[Mapping[Letter, _Words]] = {
    Letter.CHECK_ADDRESS: _Words(
        subject=N_("%(code)s is your %(brand)s code"),
        before=(
            N_("You asked us to check that this address is yours. Type this code on the page that asked for it, or open the link below."),
        ),
        link="/mail/check?token=",
        link_text=N_("Yes, this address is mine"),
        after=(
            N_("The code and the link work for 1 hour, once. Nobody is signed in by them."),
            N_("If you did not ask for this, do nothing: nobody can use your address then."),
        ),
    ),
    Letter.SIGN_IN_CODE: _Words(
        subject=N_("%(code)s is your %(brand)s code"),
        before=(N_("Type this code on the page that asked for it. It signs you in."),),
        after=(
            N_("It works for 10 minutes, once, and only in the browser that asked."),
            N_("Never give it to anybody: we do not ask for it by telephone, letter or message."),
            N_("If you did not ask for this, do nothing: without the code nobody gets in."),
        ),
    ),
    Letter.NO_SIGN_IN_CODE: _Words(
        subject=N_("No code to sign in to %(brand)s"),
        before=(
            N_("Somebody asked for a code to sign in, and typed this address. Codes to it open no account here."),
            N_("If that was you: sign in another way, or with another address. Codes can be turned on in the account, under Ways to sign in."),
            N_("If it was not you, do nothing."),
        ),
        link="/sign-in",
        link_text=N_("Sign in"),
    ),
    Letter.SIGNED_IN_BY_CODE: _Words(
        subject=N_("Somebody signed in to your %(brand)s account with a code"),
        before=(
            N_("A code that we sent to this address was just used to sign in, in this browser: %(device)s."),
            N_("If that was not you, somebody else reads your letters. Sign in another way, turn codes by e-mail off, and sign out of everything."),
        ),
        link="/me/devices",
        link_text=N_("Where you are signed in"),
    ),
    Letter.ADDRESS_CHANGED: _Words(
        subject=N_("The address of your %(brand)s account was changed"),
        before=(
            N_("Your account uses another e-mail address from now on."),
            N_("If that was not you, open the link below within 7 days. Your account gets this address back, and everybody is signed out of it."),
        ),
        link="/mail/changed?token=",
        link_text=N_("That was not me: take it back"),
    ),
    Letter.ADDRESS_TAKEN_BACK: _Words(
        subject=N_("Your address was taken off a %(brand)s account"),
        before=(
            N_("Somebody who reads the address that the account had before took the change to this one back. Everybody was signed out, and this address does not open the account any more."),
            N_("If the account is yours and it was not you who took the change back, sign in another way soon, or ask us for help."),
        ),
        link="/sign-in",
        link_text=N_("Sign in"),
    ),
    Letter.WAY_ADDED: _Words(
        subject=N_("A way to sign in was added to your %(brand)s account"),
        before=(
            N_("From now on, %(provider)s opens your account too."),
            N_("If that was not you, sign in, remove that way, and sign out of everything."),
        ),
        link="/me/ways",
        link_text=N_("Ways to sign in"),
    ),
    Letter.WAY_REMOVED: _Words(
        subject=N_("A way to sign in was removed from your %(brand)s account"),
        before=(
            N_("%(provider)s does not open your account any more."),
            N_("If that was not you, sign in another way and look at your ways to sign in."),
        ),
        link="/me/ways",
        link_text=N_("Ways to sign in"),
    ),
    Letter.PASSKEY_REFUSED: _Words(
        subject=N_("A passkey of your %(brand)s account was refused"),
        before=(
            N_("Passkeys count how often they are used. “%(passkey)s” was just used in this browser: %(device)s. It had counted less than we know of, so there may be a copy of it. Nobody was signed in."),
            N_("If you cannot explain that, sign in another way, remove this passkey, and make a new one."),
        ),
        link="/me/ways",
        link_text=N_("Ways to sign in"),
    ),
    Letter.MERGED: _Words(
        subject=N_("Two %(brand)s accounts were merged"),
        before=(
            N_("Somebody who signed in to your account and to another one made one of the two. The account with this address was one of them, and it stays."),
            N_("The way that opened the other account opens this one too. Details that were chosen may have come from there, and posting is off."),
            _OTHER_NUMBER,
            N_("If that was not you, sign in, remove the ways you do not know, sign out of everything, and write to us."),
        ),
        link="/me/ways",
        link_text=N_("Ways to sign in"),
    ),
    Letter.MERGED_AWAY: _Words(
        subject=N_("Your %(brand)s account went into another one"),
        before=(
            N_("Somebody who signed in to your account and to another one made one of the two. The account with this address was deleted, and its way to sign in opens the other one now."),
            N_("Sites that knew only this account go on knowing you: what you did there is still yours. They ask you anew what they may have."),
            _OTHER_NUMBER,
            N_("If that was not you, write to us soon, and change the password of the way you signed in with. The page behind the link says how to reach us."),
        ),
        link="/help",
        link_text=N_("Write to us"),
    ),
    Letter.LEFT_THERE: _Words(
        subject=N_("%(provider)s tells us that you removed %(brand)s there"),
        before=(
            N_("You are signed out here, and posting to %(provider)s is off."),
            N_("Your account here still exists. Sign in with %(provider)s again to use it."),
            N_("If you do not want it any more, sign in and close it."),
        ),
        link="/me/close",
        link_text=N_("Close my account"),
    ),
    Letter.DELETION_ASKED: _Words(
        subject=N_("%(provider)s asks us to delete your %(brand)s account"),
        before=(
            N_("%(provider)s tells us that you want everything deleted that we keep about you."),
            N_("Posting to %(provider)s is off, and you are signed out here. Nothing is deleted yet: one of us looks at the request first."),
        ),
        link="/removal/",
        link_text=N_("See what happens with the request"),
        after=(N_("If you did not ask for this, or want to keep your account, tell us soon. The page behind the link says how."),),
    ),
    Letter.DELETION_DONE: _Words(
        subject=N_("Your %(brand)s account is deleted"),
        before=(N_("You asked for this at %(provider)s. Your account and your details are deleted, and the sites you used were told."),),
        link="/removal/",
        link_text=N_("The request"),
        after=(N_("This is our last letter."),),
    ),
    Letter.DELETION_REFUSED: _Words(
        subject=N_("Your %(brand)s account was not deleted"),
        before=(N_("%(provider)s told us that you want it deleted. We looked at the request and kept the account. The page behind the link says why."),),
        link="/removal/",
        link_text=N_("Why it was kept"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Words for the outbox's letters. `public_url` is where their links lead."""

    renderer: Renderer
    public_url: str
    brand: str
    labels: Mapping[str, str]
    """What providers are called, by id."""

    def compose(self, payload: Mapping[str, str]) -> Composed:
        """In the language of the account, which the payload names; raises `KeyError` for a letter we do not know."""
        words = WORDS[Letter(payload["letter"])]
        code = payload.get("code", "")
        provider = payload.get("provider", "")
        locale = payload["locale"]
        own = {BY_MAIL: CODE_BY_MAIL, BY_PASSKEY: PASSKEY}.get(ProviderId(provider))
        label = self.renderer.plain(own, locale, {}) if own is not None else self.labels.get(provider, provider)
        place = payload.get("place", "")
        values = {
            "brand": self.brand,
            "code": _spaced(code),
            "provider": f"{label} ({place})" if place else label,
            "device": payload.get("device", ""),
            "passkey": payload.get("passkey", ""),
            "sites": payload.get("sites", ""),
        }

        def say(text: str) -> str:
            return self.renderer.plain(text, locale, values)

        page = LetterPage(
            subject=say(words.subject),
            before=tuple(say(line) for line in words.before if values["sites"] or "%(sites)s" not in line),
            code=_spaced(code),
            link=f"{self.public_url}{words.link}{payload.get('token', '')}" if words.link else "",
            link_text=say(words.link_text) if words.link_text else "",
            after=tuple(say(line) for line in words.after),
        )
        html = self.renderer.page(page, locale=locale, csrf_token="", request_path="/").decode()
        before_link = self.renderer.plain(_BEFORE_LINK, locale, {"what": page.link_text})
        return Composed(subject=page.subject, text=_text(page, before_link, self.public_url), html=html)


def _text(page: LetterPage, before_link: str, public_url: str) -> str:
    link = f"{before_link}\n{page.link}" if page.link else ""
    parts = [*page.before, page.code, link, *page.after, f"-- \n{public_url}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _spaced(code: str) -> str:
    """`482 913` or `4829 1374`: easier to read and to keep in mind."""
    half = len(code) // 2
    return f"{code[:half]} {code[half:]}".strip()

"""The pages behind the links of our letters, and the development mailbox."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as mail_policy
from pathlib import Path
from typing import Final

from broker.errors import NotFound
from broker.web import pages
from broker.web.call import Call

SHOWN: Final = 50


def letter_link(call: Call, token: str, *, problem: str = "") -> pages.LetterLink:
    """Before the button that confirms an address."""
    return pages.LetterLink(what="check", token=token, problem=problem, is_signed_in=call.session is not None)


def letter_link_done(call: Call) -> pages.LetterLink:
    """The address is confirmed."""
    return pages.LetterLink(what="check", is_done=True, is_signed_in=call.session is not None)


def undo_link(call: Call, token: str) -> pages.LetterLink:
    """Before the button that takes a changed address back."""
    return pages.LetterLink(what="undo", token=token, is_signed_in=call.session is not None)


def undo_link_done(call: Call) -> pages.LetterLink:
    """It is taken back, and nobody is signed in any more."""
    del call
    return pages.LetterLink(what="undo", is_done=True)


def mailbox(call: Call) -> pages.Mailbox:
    """Newest first. Raises `NotFound` where letters really are sent."""
    folder = call.world.settings.mail.folder
    if folder is None:
        raise NotFound(detail="no development mailbox")
    newest = sorted(folder.glob("*.eml"), reverse=True)[:SHOWN]
    return pages.Mailbox(letters=tuple(_kept(path) for path in newest))


def _kept(path: Path) -> pages.KeptLetter:
    message = message_from_bytes(path.read_bytes(), EmailMessage, policy=mail_policy)
    body = message.get_body(("plain",))
    return pages.KeptLetter(
        to=str(message["To"]),
        subject=str(message["Subject"]),
        at=str(message["Date"]),
        text=body.get_content() if body is not None else "",
    )

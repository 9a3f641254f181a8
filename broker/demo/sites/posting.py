"""Asking the broker to post something for a person, and saying in words what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final
from urllib.parse import urlsplit

from doorward_verify.client_auth import basic_authorization
from doorward_verify.fetch import Fetcher, Unreachable

from .look import message

__all__ = ["NETWORKS", "Outcome", "ask_to_post", "returned_note", "say_outcome"]

NETWORKS: Final = {"facebook": "Facebook", "openid": "Sandbox Social"}
"""Where this forum can ask to post: the broker's name for it, and how people call it."""

RETURNED: Final = {
    "posted": ("It was posted.", "You can take it back from My Account, where the network allows that."),
    "declined": ("Nothing was posted.", "You decided against it."),
    "needs_person": ("Facebook took over from here.", "Whether it was shared is between you and Facebook."),
    "not_permitted": ("Nothing was posted.", "Posting is off for this site."),
    "allowed": ("Posting is on for this site.", "Press the button again: you see each post before it goes out."),
    "failed": ("Nothing was posted.", "The network refused it."),
    "unknown": ("Nobody knows whether it was posted.", "The network did not answer. Look there before you try again."),
    "sending": ("It is on its way.", "My Account shows what became of it."),
    "undone": ("The post was taken back.", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the broker answered: go on at ``continue_url``, switch it on at ``opt_in_url``, or neither."""

    kind: str
    continue_url: str | None = None
    opt_in_url: str | None = None


def ask_to_post(
    *, issuer: str, client_id: str, client_secret: str, sub: str, text: str, url: str, network: str = "facebook"
) -> Outcome:
    """Ask for one post. Nothing is posted by this call alone. Blocks; never raises."""
    body = {"sub": sub, "provider": network, "text": text, "url": url, "return_to": url}
    try:
        reply = Fetcher().post_json(issuer + "/posting/requests", body, basic_authorization(client_id, client_secret))
    except Unreachable:
        return Outcome(kind="unreachable")
    if reply.status == 201:
        continue_url = _at_issuer(reply.body.get("continue_url"), issuer)
        return Outcome(kind=str(reply.body.get("outcome", "refused")), continue_url=continue_url)
    if reply.status == 403 and reply.body.get("error") == "posting_not_permitted":
        return Outcome(kind="not_permitted", opt_in_url=_at_issuer(reply.body.get("opt_in_url"), issuer))
    return Outcome(kind="refused")


def _at_issuer(url: object, issuer: str) -> str | None:
    """An address the browser may be sent to: the broker's own, no other."""
    if not isinstance(url, str):
        return None
    wanted, ours = urlsplit(url), urlsplit(issuer)
    return url if (wanted.scheme, wanted.netloc) == (ours.scheme, ours.netloc) else None


def say_outcome(outcome: Outcome, back: str, network: str = "Facebook") -> tuple[str, str]:
    """Heading and body of the page that follows the button."""
    again = f'<p><a href="{escape(back)}">Back to the topic</a></p>'
    if outcome.continue_url:
        go = f'<p><a class="button" href="{escape(outcome.continue_url)}">Continue</a></p>'
        return (
            "You decide first",
            f"<p>Next you see exactly what would be posted. Nothing is posted yet.</p>{go}{again}",
        )
    if outcome.kind == "not_permitted":
        link = (
            f'<p><a class="button" href="{escape(outcome.opt_in_url)}">See what posting would mean</a></p>'
            if outcome.opt_in_url
            else ""
        )
        text = (
            f"<p>Posting to {escape(network)} is off, so nothing was posted. "
            "It stays off unless you switch it on yourself.</p>"
        )
        return "Posting is off", text + link + again
    if outcome.kind == "unreachable":
        text = "The sign-in service takes no post just now. It may be away, or it was asked too often. Try again later."
        return "Nothing was posted", f"<p>{text}</p>{again}"
    if outcome.kind == "posted":
        return "It was posted", f"<p>It is on your profile now.</p>{again}"
    return "Nothing was posted", f"<p>The sign-in service refused this post.</p>{again}"


def returned_note(outcome: str | None) -> str:
    """The message on the page a person comes back to after deciding."""
    words = RETURNED.get(outcome or "")
    return message(*words) if words else ""

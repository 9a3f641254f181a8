"""How the demo sites look: one page frame, one style sheet, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["STYLE", "Look", "Visitor", "field_table", "message"]

STYLE: Final = (Path(__file__).parent / "style.css").read_bytes()

LABELS: Final = {
    "preferred_username": "User name",
    "name": "Name",
    "given_name": "Given name",
    "family_name": "Family name",
    "email": "E-mail address",
    "email_verified": "E-mail address confirmed",
    "picture": "Picture",
    "locale": "Language",
    "zoneinfo": "Time zone",
    "groups": "Groups",
}
PROTOCOL: Final = frozenset(
    [
        "iss",
        "aud",
        "sub",
        "sid",
        "iat",
        "exp",
        "nbf",
        "jti",
        "status",
        "auth_time",
        "acr",
        "amr",
        "azp",
        "nonce",
        "at_hash",
        "c_hash",
        "client_id",
        "scope",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who is looking at a page, as far as the site knows."""

    sub: str
    shared: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What to call this person: what was shared, or a short form of the subject."""
        for claim in ("name", "preferred_username"):
            value = self.shared.get(claim)
            if isinstance(value, str):
                return value
        return f"Visitor {self.sub[:6]}"


def only_shared(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The fields about the person, without the protocol's own claims."""
    return {name: value for name, value in claims.items() if name not in PROTOCOL and value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The frame of one site's pages."""

    title: str
    kind: str
    theme: str
    issuer: str
    logout_path: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every page."""
        policy = (
            f"default-src 'none'; style-src 'self'; img-src {self.issuer}/picture/; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "private, no-store",
        }

    def page(self, heading: str, body: str, *, visitor: Visitor | None, sign_in: str, note: str = "") -> str:
        """A whole page. ``body`` is markup, everything else is text."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(heading)} – {escape(self.title)} (demo site)</title>\n"
            '<link rel="stylesheet" href="/style.css">\n</head>\n'
            f'<body class="{self.theme}">\n<a class="skip" href="#main">Skip to content</a>\n'
            f'<p class="demo"><strong>Demo site.</strong> Nothing here is real: a small {escape(self.kind)} '
            "to try signing in with.</p>\n"
            f'<header><a class="brand" href="/">{escape(self.title)}</a>{self._account(visitor, sign_in)}</header>\n'
            f'<main id="main">\n{note}<h1>{escape(heading)}</h1>\n{body}\n</main>\n'
            f'<footer><p>Demo site. Signing in is done by <a href="{escape(self.issuer)}">'
            f"{escape(urlsplit(self.issuer).netloc)}</a>.</p></footer>\n</body>\n</html>\n"
        )

    def _account(self, visitor: Visitor | None, sign_in: str) -> str:
        if visitor is None:
            return f'<nav aria-label="Account"><a class="button" href="{escape(sign_in)}">Sign in</a></nav>'
        return (
            '<nav aria-label="Account">'
            f'<a href="/me">Signed in as <strong>{escape(visitor.name)}</strong></a>'
            f'<form method="post" action="{escape(self.logout_path)}">'
            '<button class="quiet">Sign out of this site</button></form>'
            f'<a href="{escape(self.issuer)}/signout">Sign out everywhere</a></nav>'
        )

    def portrait(self, address: object) -> str:
        """A person's picture, which the broker serves; nothing for any other address."""
        if not isinstance(address, str) or not address.startswith(f"{self.issuer}/picture/"):
            return ""
        return f'<img class="portrait" src="{escape(address)}" alt="" width="48" height="48">'

    def about_person(self, visitor: Visitor) -> str:
        """The page body that shows exactly what this site received."""
        return (
            f"<p>When you signed in, {escape(self.title)} received these fields and no others.</p>"
            + field_table(visitor, self.portrait(visitor.shared.get("picture")))
            + f'<p>To change that, see <a href="{escape(self.issuer)}/me/sites">your account: '
            "connected sites</a>.</p>"
        )


def field_table(visitor: Visitor, portrait: str = "") -> str:
    """The received fields as a table, each with its value; `portrait`: markup beside the picture's address."""
    rows = [("Your subject at this site", escape(visitor.sub))]
    for name, value in visitor.shared.items():
        beside = portrait if name == "picture" else ""
        rows.append((LABELS.get(name, name), beside + escape(_words(value))))
    cells = "".join(f'<tr><th scope="row">{escape(label)}</th><td>{cell}</td></tr>' for label, cell in rows)
    none = "" if visitor.shared else "<p>You shared no field. That is fine.</p>"
    return (
        '<table class="fields"><caption>What this site received about you</caption>'
        f'<thead><tr><th scope="col">Field</th><th scope="col">Value</th></tr></thead><tbody>{cells}</tbody></table>{none}'
    )


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value) or "None"
    return str(value)


def message(title: str, text: str = "", *, kind: str = "info", links: Sequence[tuple[str, str]] = ()) -> str:
    """A boxed message above the heading; read out by screen readers."""
    items = " ".join(f'<a href="{escape(href)}">{escape(label)}</a>' for label, href in links)
    return (
        f'<div class="message {kind}" role="status"><p><strong>{escape(title)}</strong> {escape(text)}</p>'
        f"{f'<p>{items}</p>' if items else ''}</div>\n"
    )


DECLINED: Final = message("You did not sign in.", "Nothing about you was shared with this site. You can go on reading.")

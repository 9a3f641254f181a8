"""Logos of sites and of providers: what is kept of one, and when people are shown it.

No page ever loads one from where it lies: that host would learn who looks, and another picture may lie there tomorrow. It is
fetched once, drawn anew, and sent by us from an address that leads to this one picture for good (catalogue 141). A site that
put itself in can show anybody's logo as its own, so people see it only after an admin did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from broker.domain.client import Client
from broker.domain.documents import SCHEME
from broker.domain.policy import text_version
from broker.domain.registration import PREFIX, Registration
from broker.domain.values import ProviderId

MEDIA_TYPE: Final = "image/png"
FOLDER: Final = "/logo/"
_SUFFIX: Final = ".png"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PROVIDER: Final = "provider:"

PROBLEMS: Final = {
    "svg": "It is an SVG. Such a picture can hold programs and call other hosts, so it is not taken: give a PNG, WebP or JPEG.",
    "type": "It is none of PNG, WebP and JPEG.",
    "image": "It is no picture that can be read, or one of more than 16 million pixels.",
    "large": "It has more than 1 MB.",
    "status": "What answers there is no picture but an error.",
    "redirects": "That address leads on to another one. Give the last one.",
    "file": "That file cannot be read.",
    "timeout": "It took too long.",
    "drawing": "It took too long to draw.",
    "process": "There was no room here to draw it. Try again.",
    "dns": "That host has no address.",
    "connect": "That host does not answer.",
    "tls": "That host has no good certificate.",
    "scheme": "That address is not https.",
    "port": "That address is not on port 443, and no [egress] table allows it.",
    "address": "That host is not on the public internet, and no [egress] table allows it.",
    "literal": "That address has a number for a host, and no [egress] table allows it.",
}
"""What is wrong with one, for who can put it right; by `LogoUnusable.reason`."""


class LogoUnusable(Exception):
    """There is none to be had. `reason` is a word, `words` say it to an admin, on whose screen nothing of it moves a cursor: the
    host of the logo may have written `detail`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail if detail.isprintable() else ""

    @property
    def words(self) -> str:
        more = f" ({self.detail})" if self.detail else ""
        return f"{PROBLEMS.get(self.reason, f'It could not be had: {self.reason}.')}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logo:
    """One logo as it is kept, without its bytes."""

    owner: str
    """A site's id, or `of_provider`."""
    source: str
    """Where it is from: an address; of a file its path, `#`, and what stood in it as a digest."""
    digest: str
    """SHA-256 of what we send, in hex: another picture has another one."""
    size: int
    """Bytes of what we send."""
    is_shown: bool
    """Whether an admin wants it shown: they configured it, or looked at it."""

    def is_from(self, option: str) -> bool:
        """Whether it is from where this says: an address, or the path of a file."""
        return self.source == option or self.source.startswith(f"{option}#")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLogo:
    """One with its bytes."""

    logo: Logo
    png: bytes = field(repr=False)


def of_provider(provider: ProviderId) -> str:
    """Whose logo a provider's is: no site has such an id."""
    return f"{_PROVIDER}{provider}"


def whose(owner: str) -> dict[str, str]:
    """The same as a log says it: `client` or `provider`."""
    is_provider = owner.startswith(_PROVIDER)
    return {"provider": owner.removeprefix(_PROVIDER)} if is_provider else {"client": owner}


def put_itself_in(owner: str) -> bool:
    """Whether it is a site's that no admin configured."""
    return owner.startswith((PREFIX, SCHEME))


def is_address(option: str) -> bool:
    """Whether it lies elsewhere; else in a file here, which only an admin can name."""
    return option.startswith((SCHEME, "http://"))


def shown_logo(client: Client, logo: Logo | None) -> str:
    """The digest of what people see beside the site's name; empty: its name alone.

    Never of a site that nobody looked at, never one that nobody looked at, and never one from elsewhere than the site says now.
    """
    if logo is None or not client.logo or client.is_unreviewed or not logo.is_shown or not logo.is_from(client.logo):
        return ""
    return logo.digest


def seen_version(kept: Registration, logo: Logo | None) -> str:
    """What an admin names when they say what they looked at: another one for other words, and for another logo."""
    return kept.version if logo is None else text_version(kept.version, logo.digest)


def path_of(digest: str) -> str:
    """The address that leads to it, for good; empty for none."""
    return f"{FOLDER}{digest}{_SUFFIX}" if digest else ""


def read_name(name: str) -> str | None:
    """The digest in the last part of such an address; `None` if it is none."""
    text = name.removesuffix(_SUFFIX)
    return text if text != name and _DIGEST.fullmatch(text) else None

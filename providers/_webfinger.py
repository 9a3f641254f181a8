"""Where somebody's OpenID provider is, by an address that they type: OpenID Connect Discovery 1.0 §2, WebFinger (RFC 7033).

Any host may name any issuer: who names one says where their people sign in, and no more. Whether the issuer is one, it says
itself, when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from broker.errors import FormInvalid, UpstreamInvalid
from providers._http import SERVER_FAULT, TOO_MANY, UpstreamHTTP, UpstreamResponse, read_success
from providers._typed import MAX_ADDRESS, Policy, read_host
from providers._yadis import FIELD, joined
from providers.preset import is_address

WORD: Final = "address"
"""What the codes of problems begin with."""
REL: Final = "http://openid.net/specs/connect/1.0/issuer"
PATH: Final = "/.well-known/webfinger"
MAX_TYPED: Final = 300
MAX_REDIRECTS: Final = 3
MAX_JRD: Final = 64 * 1024
MAX_LINKS: Final = 100

_ACCEPT: Final = {"Accept": "application/jrd+json, application/json;q=0.9"}
_RESERVED: Final = tuple("=@+$!(")
"""XRIs begin so; what they would mean is left open (§2.1.2)."""
_PORTS: Final = {"https": 443, "http": 80}
_USER = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
"""The first half of an `acct:` address (RFC 7565 §7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An address as it is asked about."""

    resource: str = field(repr=False)
    origin: str = field(repr=False)
    """Who is asked."""
    issuers: tuple[str, ...] = field(default=(), repr=False)
    """What it may be itself, where nobody there speaks WebFinger: with a slash at its end, or without."""
    hint: str = field(default="", repr=False)
    """What the person is called at their provider."""


def normalise(typed: str, scheme: str) -> Asked:
    """What somebody means (§2.1.2). Raises `FormInvalid` with `address_missing`, `address_bad` or `identifier_http`.

    One departure: a port makes no address of what has a name before an `@`; outside of sandboxes no port is taken at all.
    """
    text = typed.strip()
    if not text:
        raise FormInvalid({FIELD: f"{WORD}_missing"})
    if len(text) > MAX_TYPED or text.startswith(_RESERVED) or not text.isprintable():
        raise _bad()
    if text[:5].lower() == "acct:":
        return _account(text[5:], scheme)
    given, slashes, rest = text.partition("://")
    if not slashes:
        return _account(text, scheme) if "@" in text and not re.search("[/?#]", text) else _place(text, scheme)
    if given.lower() == "http" and scheme == "https":
        raise FormInvalid({FIELD: "identifier_http"})
    if given.lower() not in {"https", scheme}:
        raise _bad()
    return _place(rest, scheme)


def _account(text: str, scheme: str) -> Asked:
    user, _, host = text.rpartition("@")
    user = "".join(one if one.isascii() else quote(one) for one in user).replace("@", "%40")
    if not _USER.fullmatch(user):
        raise _bad()
    plain = read_host(host, scheme, WORD)
    return Asked(resource=f"acct:{user}@{plain}", origin=f"{scheme}://{plain}", hint=f"{user}@{plain}")


def _place(text: str, scheme: str) -> Asked:
    host, path = re.fullmatch("([^/?#]*)(.*)", text.partition("#")[0], re.DOTALL).groups()  # type: ignore[union-attr]
    origin = f"{scheme}://{read_host(host, scheme, WORD)}"
    path = path if path.startswith("/") else f"/{path}"
    if not is_address(f"{origin}{path}"):
        raise _bad()
    bare = f"{origin}{path}".removesuffix("/")
    issuers = () if "?" in path else (f"{bare}/", bare) if path.endswith("/") and path != "/" else (bare, f"{bare}/")
    return Asked(resource=f"{origin}{path}", origin=origin, issuers=issuers)


def _bad() -> FormInvalid:
    return FormInvalid({FIELD: f"{WORD}_bad"})


async def find_issuer(http: UpstreamHTTP, asked: Asked, policy: Policy) -> str | None:
    """The issuer that is named for an address (§2.2, RFC 7033 §4); `None` where nobody there speaks WebFinger or names one.

    Raises `UpstreamInvalid("webfinger")` for an answer that cannot be used, and for a way there that is not let in; its
    detail is one word. Raises what the client raises when there is no answer.
    """
    answer = await _fetch(http, f"{asked.origin}{PATH}?{urlencode({'resource': asked.resource, 'rel': REL})}", policy)
    if 400 <= answer.status < SERVER_FAULT and answer.status != TOO_MANY:
        return None
    if len(answer.body) > MAX_JRD:
        raise UpstreamInvalid("webfinger", "large")
    try:
        links = read_success(answer, "webfinger").get("links")
    except UpstreamInvalid:  # a page for every address there is, as many a site has it
        return None
    for link in links[:MAX_LINKS] if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == REL:  # the first is the one to take (RFC 7033 §4.4.4)
            issuer = link.get("href")
            if not isinstance(issuer, str) or not is_issuer(issuer, policy.scheme):
                raise UpstreamInvalid("webfinger", "issuer")
            return issuer
    return None


async def _fetch(http: UpstreamHTTP, address: str, policy: Policy) -> UpstreamResponse:
    """The answer, redirects followed: each address on the way is looked at like the first, and none leads out of TLS (§4.2)."""
    for _ in range(MAX_REDIRECTS + 1):
        if not is_address(address) or urlsplit(address).scheme not in {"https", policy.scheme}:
            raise UpstreamInvalid("webfinger", "redirect")
        if not policy.allows(address):
            raise UpstreamInvalid("webfinger", "policy")
        answer = await http.request("GET", address, headers=_ACCEPT)
        if answer.status // 100 != 3 or "location" not in answer.headers:
            return answer
        address = joined(address, answer.headers["location"])
    raise UpstreamInvalid("webfinger", "redirects")


def is_issuer(text: str, scheme: str) -> bool:
    """Whether this can name an issuer: an address with neither query nor fragment (Discovery §2), its host in the one spelling.

    An issuer that repeats whichever host it is asked by would else be as many as there are spellings of it.
    """
    if len(text) > MAX_ADDRESS or not is_address(text) or "?" in text:
        return False
    parts = urlsplit(text)
    port = "" if parts.port in {None, _PORTS.get(parts.scheme)} else f":{parts.port}"
    origin = f"{parts.scheme}://{parts.hostname}{port}"
    is_plain = (
        text.startswith(origin) and text[len(origin) :][:1] in {"", "/"} and not f"{parts.hostname}".endswith(".")
    )
    return is_plain and parts.scheme in {"https", scheme}

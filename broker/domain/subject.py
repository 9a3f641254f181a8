"""Whom a site means when it adds somebody to its stream or takes them out (RFC 9493 §3, SSF 1.0 §3, §8.1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LONGEST: Final = 1000
"""Characters of one value."""
MOST_PARTS: Final = 20
"""Members of a subject, and identifiers of one that has several."""
_NUMBER: Final = 43
"""Characters of a person's number: 32 bytes in base64url (`tokens.subject_for`)."""
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("uri",),
    "did": ("url",),
    "email": ("email",),
    "iss_sub": ("iss", "sub"),
    "jwt_id": ("iss", "jti"),
    "opaque": ("id",),
    "phone_number": ("phone_number",),
    "saml_assertion_id": ("issuer", "assertion_id"),
    "uri": ("uri",),
}
"""Texts that a simple subject of each format has to have."""
ALIASES: Final = "aliases"
COMPLEX: Final = "complex"
IP_ADDRESSES: Final = "ip-addresses"


def named_subject(said: object, issuer: str) -> str | None:
    """The person's number at the site, as our events name people; `None` for whoever our events never name so.

    Those are people of other issuers, and all formats but `iss_sub`, alone or as the `user` of a complex subject that
    says nothing else. Nobody is looked up. Raises `ValueError` for what is no subject.
    """
    subject = _checked(said)
    if subject["format"] == COMPLEX:
        if subject.keys() != {"format", "user"}:
            return None
        subject = subject["user"]
    if subject["format"] != "iss_sub" or subject["iss"] != issuer:
        return None
    number = str(subject["sub"])
    is_ours = len(number) == _NUMBER and number.isascii() and number.replace("-", "a").replace("_", "a").isalnum()
    return number if is_ours else None


def _checked(said: object) -> Mapping[str, Any]:
    """A subject of a format that there is. Raises `ValueError`."""
    if isinstance(said, dict) and len(said) <= MOST_PARTS:
        parts: object = [said]
        if said.get("format") == COMPLEX:
            parts = [part for name, part in said.items() if name != "format"]
        elif said.get("format") == ALIASES:
            parts = said.get("identifiers")
        if isinstance(parts, list) and 0 < len(parts) <= MOST_PARTS and all(map(_is_simple, parts)):
            return said
    msg = "no subject of a format that there is"
    raise ValueError(msg)


def _is_simple(said: object) -> bool:
    """Whether this is a subject of a format that has no others inside."""
    if not isinstance(said, dict):
        return False
    format_ = said.get("format")
    if format_ == IP_ADDRESSES:
        addresses = said.get(IP_ADDRESSES)
        return isinstance(addresses, list) and 0 < len(addresses) <= MOST_PARTS and all(map(_is_text, addresses))
    names = _MEMBERS.get(format_) if isinstance(format_, str) else None
    return names is not None and all(_is_text(said.get(name)) for name in names)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and "\0" not in value

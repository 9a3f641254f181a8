"""The standard claims: which exist, how they are grouped by scope, and how a raw value is made one of ours.

Source: OpenID Connect Core §5.1 (claims), §5.4 (scopes). Labels for people are in `LABELS`; the templates translate them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from broker.domain.values import ClaimName, ClaimValue, Scope

NAME: Final = ClaimName("name")
GIVEN_NAME: Final = ClaimName("given_name")
FAMILY_NAME: Final = ClaimName("family_name")
PREFERRED_USERNAME: Final = ClaimName("preferred_username")
EMAIL: Final = ClaimName("email")
EMAIL_VERIFIED: Final = ClaimName("email_verified")
PICTURE: Final = ClaimName("picture")
LOCALE: Final = ClaimName("locale")
ZONEINFO: Final = ClaimName("zoneinfo")
ADDRESS: Final = ClaimName("address")

LABELS: Final[Mapping[ClaimName, str]] = {
    NAME: "Display name",
    GIVEN_NAME: "First name",
    FAMILY_NAME: "Last name",
    ClaimName("middle_name"): "Middle name",
    ClaimName("nickname"): "Nickname",
    PREFERRED_USERNAME: "User name",
    EMAIL: "E-mail address",
    PICTURE: "Profile picture",
    ClaimName("profile"): "Profile page",
    ClaimName("website"): "Web site",
    ClaimName("gender"): "Gender",
    ClaimName("birthdate"): "Date of birth",
    ZONEINFO: "Time zone",
    LOCALE: "Language",
    ClaimName("phone_number"): "Phone number",
    ClaimName("address"): "Postal address",
}
"""Every claim a person can share, with its plain English label."""

SCOPES: Final[Mapping[Scope, tuple[ClaimName, ...]]] = {
    Scope("openid"): (),
    Scope("profile"): (
        NAME,
        GIVEN_NAME,
        FAMILY_NAME,
        ClaimName("middle_name"),
        ClaimName("nickname"),
        PREFERRED_USERNAME,
        ClaimName("profile"),
        PICTURE,
        ClaimName("website"),
        ClaimName("gender"),
        ClaimName("birthdate"),
        ZONEINFO,
        LOCALE,
    ),
    Scope("email"): (EMAIL,),
    Scope("address"): (ClaimName("address"),),
    Scope("phone"): (ClaimName("phone_number"),),
    Scope("offline_access"): (),
}
"""Which scope unlocks which claim. `email_verified` and `phone_number_verified` travel with their claim."""

COMPANIONS: Final[Mapping[ClaimName, ClaimName]] = {
    EMAIL: EMAIL_VERIFIED,
    ClaimName("phone_number"): ClaimName("phone_number_verified"),
}

MAX_LENGTH: Final = 1000
"""Characters kept of one claim; longer values are refused where people type and cut where providers send."""

_LIMITS: Final[Mapping[ClaimName, int]] = {
    NAME: 200,
    GIVEN_NAME: 100,
    FAMILY_NAME: 100,
    PREFERRED_USERNAME: 40,
    EMAIL: 254,
    LOCALE: 35,
    ZONEINFO: 64,
}


def claims_of(scopes: frozenset[Scope]) -> frozenset[ClaimName]:
    """The claims that these scopes unlock (OpenID Connect Core §5.4)."""
    return frozenset(claim for scope in scopes for claim in SCOPES.get(scope, ()))


def limit_of(claim: ClaimName) -> int:
    """How many characters of this claim are kept."""
    return _LIMITS.get(claim, MAX_LENGTH)


def clean_text(raw: str, *, limit: int) -> str:
    """Text fit to be kept: NFC, no control characters, single-spaced, at most `limit` characters.

    Keeps emoji joiners and right-to-left letters; drops bidirectional overrides, lone surrogates and NUL,
    which can reorder or break the page around them (catalogue 131).
    """
    kept = "".join(" " if ch in "\r\n\t" else ch for ch in raw[: limit * 4] if ch in "\r\n\t" or _is_kept(ch))
    return " ".join(unicodedata.normalize("NFC", kept).split())[:limit].strip()


def _is_kept(ch: str) -> bool:
    if ch in "\u200c\u200d":  # joiners: needed in Persian and in emoji
        return True
    return unicodedata.category(ch) not in {"Cc", "Cs", "Cf", "Co", "Cn"} or "\U000e0020" <= ch <= "\U000e007f"


_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}")
"""How names of the time zone database are spelled: `Europe/Paris`, `America/Argentina/Salta`."""


def normalise(claim: ClaimName, raw: object) -> str | None:
    """One claim's value as we keep it, or `None` when there is nothing usable in `raw`.

    Accepts text and numbers; a locale may come as an object (`{"language": …, "country": …}`).
    """
    if claim == LOCALE and isinstance(raw, Mapping):
        raw = "-".join(str(part) for part in (raw.get("language"), raw.get("country")) if part)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = clean_text(str(raw), limit=limit_of(claim))
    if claim == EMAIL:
        return normalise_email(text)
    if claim == LOCALE:
        return text.replace("_", "-") or None
    if claim == ZONEINFO:
        return text if _ZONE.fullmatch(text) else None
    if claim in {PICTURE, ClaimName("profile"), ClaimName("website")} and not text.startswith(("https://", "http://")):
        return None
    return text or None


def read_typed(claim: ClaimName, text: str) -> str | None:
    """What a person typed for this claim, as we keep it; `None` if it is no such claim or longer than we keep.

    Nobody's words are cut behind their back: too long is a problem to be told (catalogue 131).
    """
    text = text.strip()
    return normalise(claim, text) if text and len(text) <= limit_of(claim) else None


def normalise_email(raw: str) -> str | None:
    """The canonical form of an e-mail address, or `None` if it is not one we accept (catalogue 121).

    NFKC first, so that look-alikes of `@` and `.` are seen; exactly one `@`; no quoted local part; the domain in
    lower case, IDNA-encodable, with a dot inside. The local part keeps its case for mail, compare with `casefold()`.
    """
    text = unicodedata.normalize("NFKC", raw).strip().removesuffix(".")
    local, at, domain = text.partition("@")
    if not at or "@" in domain or not local or len(text) > 254 or len(local) > 64:
        return None
    if any(ch.isspace() or ch in '"(),:;<>[]\\' or not ch.isprintable() for ch in text):
        return None
    if local.startswith(".") or local.endswith(".") or ".." in text:
        return None
    try:
        ascii_domain = domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return None
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(label and not label.startswith("-") and not label.endswith("-") for label in labels):
        return None
    if not all(ch.isalnum() or ch == "-" for label in labels for ch in label):
        return None
    return f"{local}@{ascii_domain}"


def email_key(address: str) -> str:
    """What two spellings of one address have in common: for uniqueness and look-up."""
    return address.casefold()


def with_companions(claims: Mapping[ClaimName, str], verified: frozenset[ClaimName]) -> dict[ClaimName, ClaimValue]:
    """The claims as sites read them: `email_verified` and `phone_number_verified` beside theirs, as JSON booleans,
    always present; the address as the object it is on the wire (OpenID Connect Core §5.1.1).
    """
    out: dict[ClaimName, ClaimValue] = dict(claims)
    if ADDRESS in claims:
        out[ADDRESS] = {"formatted": claims[ADDRESS]}
    for claim, companion in COMPANIONS.items():
        if claim in out:
            out[companion] = claim in verified
    return out

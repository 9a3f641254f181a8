"""The standard claims: which exist, how they are grouped by scope, and how a raw value is made one of ours.

Source: OpenID Connect Core §5.1 (claims), §5.4 (scopes). Labels for people are in `LABELS`; the templates translate them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Final

from broker.domain.address import MAX_PART, address_claim, address_words, read_address
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
PHONE: Final = ClaimName("phone_number")
BIRTHDATE: Final = ClaimName("birthdate")
UPDATED_AT: Final = ClaimName("updated_at")

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
    BIRTHDATE: "Date of birth",
    ZONEINFO: "Time zone",
    LOCALE: "Language",
    PHONE: "Phone number",
    ADDRESS: "Postal address",
    UPDATED_AT: "Day of the last change to your details",
}
"""Every claim a person can share, with its plain English label."""

GIVEN: Final = tuple(claim for claim in LABELS if claim != UPDATED_AT)
"""Those that people type or providers send; the others are known here by themselves."""

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
        BIRTHDATE,
        ZONEINFO,
        LOCALE,
        UPDATED_AT,
    ),
    Scope("email"): (EMAIL,),
    Scope("address"): (ADDRESS,),
    Scope("phone"): (PHONE,),
    Scope("offline_access"): (),
}
"""Which scope unlocks which claim. `email_verified` and `phone_number_verified` travel with their claim."""

COMPANIONS: Final[Mapping[ClaimName, ClaimName]] = {
    EMAIL: EMAIL_VERIFIED,
    PHONE: ClaimName("phone_number_verified"),
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

    Accepts text and numbers; a locale may come as an object (`{"language": …, "country": …}`), an address does.
    """
    if claim == ADDRESS:
        return read_address(raw, partial(clean_text, limit=MAX_PART))
    if claim == LOCALE and isinstance(raw, Mapping):
        raw = "-".join(str(part) for part in (raw.get("language"), raw.get("country")) if part)
    if claim == UPDATED_AT or isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = clean_text(str(raw), limit=limit_of(claim))
    if claim == EMAIL:
        return normalise_email(text)
    if claim == PHONE:
        return normalise_phone(text)
    if claim == LOCALE:
        return text.replace("_", "-") or None
    if claim == ZONEINFO:
        return text if _ZONE.fullmatch(text) else None
    if claim == BIRTHDATE:
        return text if _is_birthdate(text) else None
    if claim in {PICTURE, ClaimName("profile"), ClaimName("website")} and not text.startswith(("https://", "http://")):
        return None
    return text or None


_DAY: Final = re.compile(r"([0-9]{4})(-[0-9]{2}-[0-9]{2})?")
_NO_YEAR: Final = "0000"
_LEAP_YEAR: Final = "2000"


def _is_birthdate(text: str) -> bool:
    """A day, a year, or a day without its year, which is 0000 then (§5.1)."""
    found = _DAY.fullmatch(text)
    if found is None:
        return False
    year, rest = found[1], found[2]
    if year == _NO_YEAR:
        year = _LEAP_YEAR if rest else "0"
    try:
        date.fromisoformat(f"{year}{rest or '-01-01'}")
    except ValueError:
        return False
    return True


_PHONE: Final = frozenset("0123456789+-./() ")
_PHONE_DIGITS: Final = range(7, 16)
"""How many an international number has (E.164 §6.2.1; seven is the shortest in use)."""


def normalise_phone(text: str) -> str | None:
    """A phone number: in the form of E.164 where it begins with + (§5.1), else as it is; `None` for what is none.

    An extension stays as RFC 3966 has it (`+33199001234;ext=12`).
    """
    number, _, extension = text.partition(";ext=")
    digits = "".join(ch for ch in number if ch in "0123456789")
    if not digits or not _PHONE.issuperset(number) or "+" in number[1:]:
        return None
    if extension and not (extension.isascii() and extension.isdigit()):
        return None
    if number.startswith("+"):
        if len(digits) not in _PHONE_DIGITS:
            return None
        number = f"+{digits}"
    return f"{number};ext={extension}" if extension else number


def words_of(claim: ClaimName, kept: str) -> str:
    """A kept value as text that people read and change. `read_typed` takes it back."""
    return address_words(kept) if claim == ADDRESS else kept


def read_typed(claim: ClaimName, text: str) -> str | None:
    """What a person typed for this claim, as we keep it; `None` if it is no such claim or longer than we keep.

    Nobody's words are cut behind their back: too long is a problem to be told (catalogue 131). A picture has no words.
    `Paris` is no time zone and `French` no language that a site could use, though people call them so.
    """
    text = text.strip()
    if claim == PICTURE:
        return None
    value = normalise(claim, text) if text and len(text) <= limit_of(claim) else None
    return value if value is None or _is_spelled_right(claim, value) else None


def _is_spelled_right(claim: ClaimName, value: str) -> bool:
    """A place of the time zone database, a language tag (RFC 5646 §2.1); whatever people like for everything else."""
    if claim == ZONEINFO:
        return "/" in value or value in {"UTC", "GMT"}
    if claim == LOCALE:
        first, *rest = value.split("-")
        return len(first) in {2, 3} and first.isalpha() and value.isascii() and all(part.isalnum() for part in rest)
    return True


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
    always present; the address as the object and `updated_at` as the number they are on the wire (§5.1).
    """
    out: dict[ClaimName, ClaimValue] = dict(claims)
    if ADDRESS in claims:
        out[ADDRESS] = address_claim(claims[ADDRESS])
    if UPDATED_AT in claims:
        out[UPDATED_AT] = int(claims[UPDATED_AT])
    for claim, companion in COMPANIONS.items():
        if claim in out:
            out[companion] = claim in verified
    return out

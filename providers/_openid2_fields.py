"""What an OpenID 2.0 provider can tell beside "it is them": Simple Registration, Attribute Exchange, and PAPE.

All three are read out of the signed part of an answer only (`Assertion.extension`). Nothing here proves an e-mail
address: neither extension has a word for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Final

from broker.domain.claims import EMAIL, FAMILY_NAME, GIVEN_NAME, LOCALE, NAME, PICTURE, ZONEINFO
from broker.domain.provider import OfferedField
from broker.domain.values import ClaimName
from broker.errors import UpstreamInvalid
from providers._id_token import FRESH, SKEW
from providers._openid2 import Assertion

SREG: Final = "http://openid.net/extensions/sreg/1.1"
SREG_1_0: Final = "http://openid.net/sreg/1.0"
AX: Final = "http://openid.net/srv/ax/1.0"
PAPE: Final = "http://specs.openid.net/extensions/pape/1.0"

NICKNAME: Final = ClaimName("nickname")
BIRTHDATE: Final = ClaimName("birthdate")
GENDER: Final = ClaimName("gender")
WEBSITE: Final = ClaimName("website")

SREG_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "fullname", NICKNAME: "nickname", EMAIL: "email", BIRTHDATE: "dob", GENDER: "gender", LOCALE: "language",
    ZONEINFO: "timezone",
}  # fmt: skip
"""The Simple Registration field of a claim."""
AX_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "http://axschema.org/namePerson",
    GIVEN_NAME: "http://axschema.org/namePerson/first",
    FAMILY_NAME: "http://axschema.org/namePerson/last",
    NICKNAME: "http://axschema.org/namePerson/friendly",
    EMAIL: "http://axschema.org/contact/email",
    PICTURE: "http://axschema.org/media/image/default",
    WEBSITE: "http://axschema.org/contact/web/default",
    BIRTHDATE: "http://axschema.org/birthDate",
    GENDER: "http://axschema.org/person/gender",
    LOCALE: "http://axschema.org/pref/language",
    ZONEINFO: "http://axschema.org/pref/timezone",
}
"""The Attribute Exchange type of a claim: every claim that such a provider can tell."""
SCOPE_OF: Final[Mapping[ClaimName, str]] = {claim: str(claim) for claim in AX_OF}
"""There are no scopes; each field is asked for by itself."""

_POLICIES: Final = "http://schemas.openid.net/pape/policies/2007/06/"
_GENDERS: Final = {"m": "male", "f": "female", "male": "male", "female": "female"}
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


def ask_for(offers: Iterable[OfferedField], *, fresh: bool) -> dict[str, str]:
    """The extension fields of a request: what is promised and no more, all of it optional."""
    claims = [offer.claim for offer in offers]
    asked: dict[str, str] = {}
    registered = [SREG_OF[claim] for claim in claims if claim in SREG_OF]
    if registered:
        asked |= {"ns.sreg": SREG, "sreg.optional": ",".join(registered)}
    if claims:
        asked |= {"ns.ax": AX, "ax.mode": "fetch_request", "ax.if_available": ",".join(claims)}
        asked |= {f"ax.type.{claim}": AX_OF[claim] for claim in claims}
    if fresh:
        asked |= {"ns.pape": PAPE, "pape.max_auth_age": "0", "pape.preferred_auth_policies": ""}
    return asked


def standard(assertion: Assertion) -> dict[str, object]:
    """What the provider signed of the person, under the names of OpenID Connect; exchanged attributes come first."""
    registered, exchanged = assertion.extension(SREG, SREG_1_0), read_attributes(assertion.extension(AX))
    raw: dict[str, str | None] = {claim: registered.get(name) for claim, name in SREG_OF.items()}
    raw |= {claim: exchanged[type_] for claim, type_ in AX_OF.items() if exchanged.get(type_)}
    birthdate, gender = raw.get(BIRTHDATE), raw.get(GENDER)
    return {
        **raw,
        BIRTHDATE: read_birthdate(birthdate) if birthdate else None,
        GENDER: _GENDERS.get(gender.lower()) if gender else None,
    }


def read_attributes(fields: Mapping[str, str]) -> dict[str, str]:
    """Type and value of each attribute of a fetch response; of several values the first."""
    if fields.get("mode") != "fetch_response":
        return {}
    found: dict[str, str] = {}
    for name, type_ in fields.items():
        alias = name.removeprefix("type.")
        value = fields.get(f"value.{alias}", fields.get(f"value.{alias}.1"))
        if alias != name and value:
            found[type_] = value
    return found


def read_birthdate(raw: str) -> str | None:
    """A date whose unknown parts are zeros, as OpenID Connect writes it: whole, without a year, or the year alone."""
    found = _DATE.fullmatch(raw)
    if found is None:
        return None
    year, month, day = found.groups()
    if "00" in {month, day}:
        return None if year == "0000" else year
    try:
        date(int(year) or 2000, int(month), int(day))  # 2000 was a leap year
    except ValueError:
        return None
    return raw


def read_authentication(
    assertion: Assertion, now: datetime, *, fresh: bool
) -> tuple[datetime | None, tuple[str, ...], str | None]:
    """When and how the person proved who they are, as far as the provider signs it: time, methods, class.

    With `fresh` the time must be there and new, or the sign-in is refused: no word is not a yes.
    """
    said = assertion.extension(PAPE)
    proved = _time(said["auth_time"]) if said.get("auth_time") else None
    if proved is not None and proved > now + SKEW:
        raise UpstreamInvalid("auth_time")
    if fresh and (proved is None or proved < now - FRESH - SKEW):
        raise UpstreamInvalid("auth_time", "not fresh")
    policies = {
        each.removeprefix(_POLICIES) for each in said.get("auth_policies", "").split() if each.startswith(_POLICIES)
    }
    methods = ("mfa",) if policies & {"multi-factor", "multi-factor-physical"} else ()
    return proved, methods, "phr" if "phishing-resistant" in policies else None


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise UpstreamInvalid("auth_time") from None

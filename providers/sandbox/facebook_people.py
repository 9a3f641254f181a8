"""Personas of the Facebook-like sandbox (protocols.md §6.5): who they are, and what goes wrong then."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

ORDINARY = "People"
UNUSUAL = "Unusual details"
TROUBLE = "Something goes wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One persona. `fault` names what goes wrong around it; `decides` answers the dialog without a click."""

    slug: str
    first_name: str
    last_name: str = ""
    middle_name: str = ""
    note: str = ""
    group: str = ORDINARY
    email: str | None = None
    leaked_email: str | None = None
    birthday: str | None = "04/09/1990"
    age_range: tuple[int, int | None] = (21, None)
    gender: str | None = None
    location: str | None = None
    declines: frozenset[str] = frozenset()
    decides: bool = False
    silhouette: bool = False
    dead_picture: bool = False
    fault: str | None = None

    @property
    def name(self) -> str:
        """The whole name as Facebook writes it."""
        return " ".join(part for part in (self.first_name, self.middle_name, self.last_name) if part)

    def id_in(self, app_id: str) -> str:
        """The app-scoped id: 17 digits that follow from app and persona, another one in every app."""
        digest = hashlib.sha256(f"{app_id}:{self.slug}".encode()).digest()
        return str(10**16 + int.from_bytes(digest[:8], "big") % (9 * 10**16))

    def fields(self) -> dict[str, Any]:
        """Every Graph field that has a value, without `id` and `picture`."""
        low, high = self.age_range
        place = {"id": "110000000000001", "name": self.location} if self.location else None
        values = {
            "name": self.name,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "middle_name": self.middle_name,
            "name_format": "{first} {last}",
            "short_name": self.first_name,
            "email": self.email,
            "birthday": self.birthday,
            "age_range": {"min": low} if high is None else {"min": low, "max": high},
            "gender": self.gender,
            "location": place,
            "hometown": place,
        }
        return {name: value for name, value in values.items() if value}


def _broken(slug: str, first: str, note: str, *, fault: str | None = None, decides: bool = False) -> Person:
    return Person(
        slug=slug,
        first_name=first,
        last_name="Test",
        note=note,
        group=TROUBLE,
        fault=fault or slug,
        email=f"{slug}@people.test",
        decides=decides,
    )


def _unusual(slug: str, first: str, last: str, note: str, **more: Any) -> Person:
    return Person(
        **{
            "slug": slug,
            "first_name": first,
            "last_name": last,
            "note": note,
            "group": UNUSUAL,
            "email": f"{slug}@people.test",
            **more,
        }
    )


_ALL = (
    Person(
        slug="normal",
        first_name="Ana",
        last_name="Marković",
        note="has a name, e-mail, picture and birthday",
        email="ana.markovic@people.test",
        gender="female",
        location="Novi Sad, Serbia",
    ),
    Person(
        slug="jonas",
        first_name="Jonas",
        last_name="Weber",
        note="has a name, e-mail and picture",
        email="jonas.weber@people.test",
        birthday="11/23/1982",
        gender="male",
        location="Leipzig, Germany",
    ),
    Person(
        slug="amina",
        first_name="Amina",
        last_name="Diallo",
        note="has a name, e-mail and picture",
        email="amina.diallo@people.test",
        birthday="1975",
        gender="female",
        location="Dakar, Senegal",
    ),
    _unusual(
        "declines-email",
        "Petra",
        "Novak",
        "does not share the e-mail address",
        declines=frozenset({"email"}),
        decides=True,
    ),
    _unusual("no-email", "Tomas", "Berg", "has only a phone number", email=None),
    _unusual(
        "unverified",
        "Victor",
        "Lind",
        "has an address that was never confirmed",
        email=None,
        leaked_email="victim@corp.test",
    ),
    _unusual(
        "unverified-leaks",
        "Victor",
        "Lind",
        "has an unconfirmed address that is handed out anyway",
        email="victim@corp.test",
    ),
    _unusual(
        "minor",
        "Mia",
        "Young",
        "is 13 to 17 years old, birthday without a year",
        birthday="05/01",
        age_range=(13, 17),
    ),
    _unusual(
        "long-name",
        "Wolfeschlegelsteinhausenbergerdorff" * 3,
        "Keihanaikukauakahihulihee" * 4,
        "has a very long name",
    ),
    _unusual("rtl", "יעל", "כהן", "has a name written from right to left"),
    _unusual("emoji", "Zoë 🦊", "👩‍👩‍👧‍👦 Ríos", "has emoji in the name"),
    _unusual("html", "<b>Bobby</b>", '<script>alert(1)</script>" onload="x', "has HTML in the name"),
    _unusual("no-last-name", "Suharto", "", "has one name only"),
    _unusual(
        "same-email-1",
        "Kim",
        "Larsen",
        "shares an e-mail address with the other Kim",
        email="kim.larsen@people.test",
    ),
    _unusual(
        "same-email-2",
        "Kim",
        "Larsen-Holm",
        "shares an e-mail address with the other Kim",
        email="kim.larsen@people.test",
    ),
    _unusual("id-changes-per-app", "Ida", "Scope", "has another id in every app"),
    _unusual("silhouette", "Sil", "Houette", "never set a picture", silhouette=True),
    _unusual("dead-picture", "Dee", "Broken", "has a picture that is gone", dead_picture=True),
    _broken("removes-app", "Remy", "removes the app afterwards", fault="none"),
    _broken("expired", "Eve", "gets a token that has expired"),
    _broken("ratelimited", "Rafe", "meets the request limit"),
    _broken("server-error", "Serge", "meets a server error"),
    _broken("server-error-html", "Serge", "meets a server error as an HTML page"),
    _broken("server-error-false", "Serge", "gets the answer false"),
    _broken("slow", "Sloan", "waits long for every answer"),
    _broken("never", "Neve", "never gets an answer"),
    _broken("cancels", "Carla", "presses Cancel", decides=True),
    _broken("bare-error", "Barry", "gets an error without the OAuth parameters", decides=True),
    _broken("checkpoint", "Chet", "must visit the network first"),
    _broken("password-changed", "Paz", "changed the password"),
    _broken("dev-mode", "Devi", "has no role in an app that is not live: a page there, and no way back", decides=True),
    _broken(
        "dev-mode-business",
        "Devi",
        "has no role in an app that is not live and for business: as if cancelled",
        decides=True,
    ),
    _broken("wrong-state", "Wanda", "comes back with another state", decides=True),
    _broken("missing-state", "Wanda", "comes back without a state", decides=True),
    _broken("replayed-code", "Ray", "comes back with a code that was used", decides=True),
    _broken("swapped-code", "Swen", "comes back with a code made for another address", decides=True),
    _broken("foreign-app-token", "Fiona", "gets a token that belongs to another app"),
    _broken("other-user-token", "Otto", "gets a token whose owner differs from its inspection"),
    _broken("oidc-bad-aud", "Oda", "gets an ID token for somebody else"),
    _broken("oidc-bad-iss", "Oda", "gets an ID token of another issuer"),
    _broken("oidc-stale-key", "Oda", "gets an ID token signed with a withdrawn key"),
    _broken("oidc-no-nonce", "Oda", "gets an ID token without nonce"),
    _broken("oidc-alg-none", "Oda", "gets an ID token that nobody signed"),
)

PEOPLE: Mapping[str, Person] = MappingProxyType({person.slug: person for person in _ALL})


def grouped(*, id_token: bool) -> list[tuple[str, list[Person]]]:
    """Personas under their headings, for the chooser page; those whose ID token is bad only where one is asked for."""
    offered = [p for p in _ALL if id_token or not (p.fault or "").startswith("oidc-")]
    return [(group, [p for p in offered if p.group == group]) for group in (ORDINARY, UNUSUAL, TROUBLE)]

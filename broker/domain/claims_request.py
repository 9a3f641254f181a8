"""The `claims` parameter: single claims that a site asks for by name, and where it wants them (OpenID Connect Core §5.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from broker.domain.claims import LABELS
from broker.domain.values import ClaimName
from broker.errors import InvalidRequest

Wanted: TypeAlias = tuple[str, ...] | None
"""The values a site can use, as text; `None`: any. Values that are no text can be nobody's."""

ACR: Final = "acr"
SUB: Final = "sub"
MAX_NESTING: Final = 200
"""Most brackets of a request: reading it takes no longer than its length allows (catalogue 17, 184)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsRequest:
    """What was asked by name. Claims that nobody here knows are not in it."""

    id_token: Mapping[ClaimName, Wanted] = field(default_factory=dict, repr=False)
    userinfo: Mapping[ClaimName, Wanted] = field(default_factory=dict, repr=False)
    essential: frozenset[ClaimName] = frozenset()
    """What the person is told is wanted most; nobody has to give it (§5.5.1)."""
    subjects: Wanted = field(default=None, repr=False)
    """The person's number at the site, where it wants this person and no other."""
    acr: Wanted = None
    """The authentication that the site insists on, as an essential claim with values (§5.5.1.1)."""

    @property
    def names(self) -> frozenset[ClaimName]:
        """Every claim of the profile that is asked by name."""
        return frozenset(self.id_token) | frozenset(self.userinfo)

    def in_id_token(self, agreed: Iterable[ClaimName], values: Mapping[ClaimName, str]) -> frozenset[ClaimName]:
        """Of what the person agreed to, what goes into the ID token because it was asked for there by name."""
        return frozenset(name for name in agreed if name in self.id_token and _fits(self.id_token, name, values))

    def not_in_userinfo(
        self, agreed: Iterable[ClaimName], unlocked: frozenset[ClaimName], values: Mapping[ClaimName, str]
    ) -> frozenset[ClaimName]:
        """Of what the person agreed to, what userinfo leaves out: asked for in the ID token alone, or with other values.

        `unlocked`: what the scopes ask for by themselves.
        """
        return frozenset(
            name
            for name in agreed
            if (name in self.id_token and name not in self.userinfo and name not in unlocked)
            or not _fits(self.userinfo, name, values)
        )


NOTHING: Final = ClaimsRequest()


def _fits(member: Mapping[ClaimName, Wanted], name: ClaimName, values: Mapping[ClaimName, str]) -> bool:
    wanted = member.get(name)
    return wanted is None or values.get(name) in wanted


def read_claims_request(text: str) -> ClaimsRequest:
    """The parameter, read. Raises `InvalidRequest` on what is no such JSON object.

    Unknown members and unknown claims are left out (§5.5); a name that occurs twice is refused (catalogue 184).
    """
    if text.count("{") + text.count("[") > MAX_NESTING:
        raise InvalidRequest(detail="claims nested too deep")
    try:
        read = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError:
        raise InvalidRequest(detail="claims is no JSON") from None
    members = _object(read)
    id_token, userinfo = _member(members, "id_token"), _member(members, "userinfo")
    acr = id_token.get(ACR, {})
    return ClaimsRequest(
        id_token={ClaimName(name): _wanted(ask) for name, ask in id_token.items() if name in LABELS},
        userinfo={ClaimName(name): _wanted(ask) for name, ask in userinfo.items() if name in LABELS},
        essential=frozenset(
            ClaimName(name)
            for asks in (id_token, userinfo)
            for name, ask in asks.items()
            if name in LABELS and ask.get("essential")
        ),
        subjects=_both(_wanted(id_token.get(SUB, {})), _wanted(userinfo.get(SUB, {}))),
        acr=_wanted(acr) if acr.get("essential") else None,
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest(detail="claims names something twice")
    return found


def _no_constant(_text: str) -> object:
    raise InvalidRequest(detail="claims is no JSON")


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidRequest(detail="claims holds something else than an object")
    return value


def _member(members: Mapping[str, object], name: str) -> dict[str, dict[str, object]]:
    asks = _object(members.get(name, {}))
    return {claim: _ask(ask) for claim, ask in asks.items() if claim in LABELS or claim in {ACR, SUB}}


def _ask(value: object) -> dict[str, object]:
    """What is said about one claim: `null` for nothing. Raises `InvalidRequest` on what §5.5.1 does not allow."""
    ask = {} if value is None else _object(value)
    if not isinstance(ask.get("essential", False), bool):
        raise InvalidRequest(detail="essential is neither true nor false")
    if not isinstance(ask.get("values", []), list) or ("value" in ask and "values" in ask):
        raise InvalidRequest(detail="values is no list, or stands beside value")
    return ask


def _wanted(ask: Mapping[str, object]) -> Wanted:
    if "value" in ask:
        return _texts([ask["value"]])
    values = ask.get("values")
    return _texts(values) if isinstance(values, list) else None


def _texts(values: list[object]) -> tuple[str, ...]:
    """Half of a character, which JSON can write, is nobody's value and no database's."""
    texts = (value for value in values if isinstance(value, str))
    return tuple(text for text in texts if not any("\ud800" <= ch <= "\udfff" for ch in text))


def _both(one: Wanted, other: Wanted) -> Wanted:
    if one is None or other is None:
        return one if other is None else other
    return tuple(value for value in one if value in other)

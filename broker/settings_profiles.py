"""A site's `profile`: one switch for a whole set of options, and nothing beside it that says otherwise.

The rules are those of the FAPI 2.0 Security Profile and of FAPI 2.0 Message Signing. What has no option of its own (no
refresh rotation, signed answers) follows from `Client.profile`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from broker.domain.client import Profile
from broker.locator import Path as Key
from broker.settings_sources import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One option that a profile sets."""

    option: str
    values: tuple[Any, ...] = ()
    """What it may be; the first is what it is where nothing is written. None: it has no place beside the profile."""
    why: str


_SECURITY: Final = (
    Demand(option="auth_method", values=("private_key_jwt",), why="The site proves itself with a key."),
    Demand(option="client_secret", why="The site proves itself with a key and has no secret."),
    Demand(option="strict_jwt", values=(True,), why="What it signs names our address alone, and not with RS256."),
    Demand(option="pkce_required", values=(True,), why="Each code is held by PKCE."),
    Demand(option="par_required", values=(True,), why="All its requests are pushed."),
    Demand(option="dpop", values=("required", "nonce"), why="All its tokens are bound to a key."),
    Demand(option="signing_algorithm", values=("ES256",), why="RS256 is not taken."),
    Demand(option="request_uris", why="All its requests are pushed."),
    Demand(option="device_grant", values=(False,), why="A device's request is not pushed."),
    Demand(option="gitlab_endpoints", values=(False,), why="Such software pushes no requests."),
    Demand(option="discourse_connect_secret", why="Such software pushes no requests and holds no key."),
    Demand(option="forward_auth", values=(False,), why="A proxy pushes no requests and holds no key."),
)
DEMANDS: Final[Mapping[Profile, tuple[Demand, ...]]] = {
    Profile.NONE: (),
    Profile.FAPI2: _SECURITY,
    Profile.FAPI2_MESSAGE_SIGNING: (
        *_SECURITY,
        Demand(option="request_object", values=("required",), why="What it asks is signed."),
    ),
}


def apply_profile(draft: Draft, key: Key, table: MutableMapping[str, Any]) -> None:
    """Set what the profile sets in a site's checked table; write down what says otherwise, or is not https."""
    profile = Profile(table["profile"])
    for demand in DEMANDS[profile]:
        held = table[demand.option]
        if held in demand.values or not (held or demand.values):
            continue
        if demand.option in _given(draft, key):
            values = " or ".join(_written(value) for value in demand.values)
            fix = f"Write {demand.option} = {values}, or" if values else "Remove it, or"
            draft.problem(
                (*key, demand.option), f'contradicts profile = "{profile}". {demand.why}', f"{fix} remove profile."
            )
        table[demand.option] = demand.values[0] if demand.values else ()
    if profile is not Profile.NONE:
        _https(draft, key, profile, table["redirect_uris"])


def _https(draft: Draft, key: Key, profile: Profile, addresses: tuple[str, ...]) -> None:
    """FAPI 2.0 Security Profile §5.3.2.2, 8: no answer travels in the clear, not even in development."""
    for number, address in enumerate(addresses):
        if urlsplit(address).scheme != "https":
            draft.problem(
                (*key, "redirect_uris", str(number)),
                f'contradicts profile = "{profile}": it is not https.',
                "Use https, or remove profile.",
            )


def _given(draft: Draft, key: Key) -> Mapping[str, Any]:
    """What somebody wrote into the site's table."""
    table: object = draft.tree
    for part in key:
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    return table if isinstance(table, Mapping) else {}


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'

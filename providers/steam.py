"""Sign in through Steam: OpenID 2.0 with one provider, whose address never comes from anybody's message.

Steam knows no associations (its `assoc_handle` is always `1234567890`), signs exactly the fields of `SIGNED`, and sends
nothing but a number. Names and pictures come from Valve's Web API, if the operator has a key for it; without one only
the number is known. There is no e-mail address, and no way to make Steam ask for the password again.

The key of a person is the endpoint's folder and the number, so a sandbox on another origin never produces a real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from broker.domain.claims import NAME, PICTURE
from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Identified, Identity, UpstreamTokens
from broker.domain.values import ClaimName, IdentityKey
from broker.errors import Problem, UpstreamInvalid, UpstreamRejected
from providers._claims import hint, offers_of, read_claims
from providers._described import Described
from providers._findings import Findings
from providers._http import JSON, TOO_MANY, UpstreamHTTP, read_success
from providers._openid2 import build_request, confirm, read_assertion, read_fields
from providers.preset import Preset

BINDINGS: Final = frozenset({"state", "signed_assertion"})
LOGIN: Final = "https://steamcommunity.com/openid/login"
SUMMARIES: Final = "https://api.steampowered.com/ISteamUser/GetPlayerSummaries/v0002/"
SIGNED: Final = ("signed", "op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "assoc_handle")
"""Steam's list, in its order; it names itself first."""
SCOPE: Final = "summary"
"""Steam has no scopes: one word for all that its Web API tells."""
FIELD_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "personaname",
    ClaimName("nickname"): "personaname",
    PICTURE: "avatarfull",
    ClaimName("profile"): "profileurl",
}
IGNORED: Final = frozenset(
    {
        "steamid", "communityvisibilitystate", "profilestate", "commentpermission", "avatar", "avatarmedium",
        "avatarhash", "lastlogoff", "personastate", "personastateflags", "primaryclanid", "timecreated", "realname",
        "loccountrycode", "locstatecode", "loccityid", "gameid", "gameextrainfo", "gameserverip",
    }
)  # fmt: skip
"""What the Web API also says of a person; nobody asked them about it."""

_BUSY: Final = (403, TOO_MANY)
"""How Valve turns callers away who ask too often."""
_NO_PICTURE: Final = "fef49e7fa7e1997310d705b2a6158ff8dc1cdfeb"
"""The question mark that stands for having no picture."""
_NUMBER = re.compile(r"76561[0-9]{12}")


class Steam(Described):
    """Steam, as an OpenID 2.0 provider with a pinned endpoint."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, http, clock
        self._offers = offers_of(preset.fields, dict.fromkeys(FIELD_OF, SCOPE)) if preset.client_secret else ()
        self._login = preset.endpoints.get("authorization", LOGIN)
        self._summaries = preset.endpoints.get("userinfo", SUMMARIES)
        self._issuer = self._login.rpartition("/")[0]

    @property
    def issuer(self) -> str:
        return self._issuer

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return ()

    @property
    def can_force_fresh(self) -> bool:
        return False

    async def authorization_url(self, attempt: Attempt) -> str:
        """Steam's page, asked to say who is there."""
        return build_request(self._login, attempt)

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: the answer's form, then its number, then Steam's own word that it made the answer."""
        assertion = read_assertion(read_fields(callback), attempt, self._login, self._clock.now())
        if assertion.signed != SIGNED:
            raise UpstreamInvalid("signed")
        number = read_number(assertion.claimed_id, assertion.identity, self._issuer)
        await confirm(self._http, assertion, busy=_BUSY)
        claims = read_claims(standard(await self._summary(number)), self._offers) if self._offers else {}
        identity = Identity(
            provider=self._preset.id,
            key=IdentityKey(issuer=self._issuer, subject=number),
            claims=claims,
            verified=frozenset(),
            granted=frozenset(offer.scope for offer in self._offers),
            declined=frozenset(),
            authenticated_at=None,
            account_hint=hint(claims) or claims.get(ClaimName("nickname")) or number,
        )
        return Identified(identity=identity, tokens=None, once=assertion.once)

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Steam grants nothing that could be taken back."""

    async def check(self) -> None:
        """Steam answers; and takes the key, if there is one."""
        response = await self._http.request("GET", self._login)
        if response.status >= 400:
            raise UpstreamRejected(f"status {response.status} login")
        if self._preset.client_secret:
            await self._ask("")

    async def _summary(self, number: str) -> Mapping[str, Any]:
        """What the Web API says of this very number; nothing for a number it does not know."""
        people = await self._ask(number)
        found = next((one for one in people if isinstance(one, Mapping) and one.get("steamid") == number), None)
        return found if found is not None else {}

    async def _ask(self, numbers: str) -> list[Any]:
        """`GetPlayerSummaries`. The key goes in a header: addresses end up in logs."""
        headers = {**JSON, "x-webapi-key": self._preset.client_secret.reveal()}
        address = f"{self._summaries}?{urlencode({'steamids': numbers})}"
        raw = read_success(await self._http.request("GET", address, headers=headers), "summary").get("response")
        people = raw.get("players") if isinstance(raw, Mapping) else None
        if not isinstance(people, list):
            raise UpstreamInvalid("summary")
        return people

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        for claim in preset.fields:
            if claim not in FIELD_OF:
                known = ", ".join(sorted(FIELD_OF))
                found.add("fields", f"names {claim!r}, which Steam does not tell.", f"Known: {known}.")
        if preset.fields and not preset.client_secret:
            fix = "Give the Web API key as client_secret (steamcommunity.com/dev/apikey), or write fields = []."
            found.add("fields", "cannot be told without a Web API key.", fix)
        if preset.trusts_email:
            found.add("trusts_email", "has no effect: Steam tells no address.", "Remove it.", "warning")
        return found


PROVIDER = Steam


def read_number(claimed_id: str, identity: str, issuer: str) -> str:
    """The person's number out of the identifier: under Steam's own address, 17 digits, and nothing after them."""
    number = claimed_id.removeprefix(f"{issuer}/id/")
    if claimed_id != identity or number == claimed_id or not _NUMBER.fullmatch(number):
        raise UpstreamInvalid("claimed_id")
    return number


def standard(person: Mapping[str, Any]) -> dict[str, object]:
    """The Web API's fields under the names of OpenID Connect."""
    picture = person.get("avatarfull")
    has_picture = isinstance(picture, str) and _NO_PICTURE not in picture
    return {
        "name": person.get("personaname"),
        "nickname": person.get("personaname"),
        "picture": picture if has_picture else None,
        "profile": person.get("profileurl"),
    }

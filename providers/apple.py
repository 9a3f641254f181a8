"""Sign in with Apple: OpenID Connect with habits of its own (developer.apple.com/documentation/signinwithapplerestapi).

- Nothing is discovered: for a day in June 2025 Apple's metadata named another issuer than its ID tokens. Addresses and
  issuer stand here.
- The client secret is a token that we sign with the team's key, anew for each call: there is none that could run out.
- Whoever asks for a name or an address gets the answer as a form.
- The name stands in that form and nowhere else, and only the first time somebody says yes. It came through the browser
  and nobody signed it: it is a suggestion for a form, like anything the person types.
- An address is often a relay's (`@privaterelay.appleid.com`). It is as good as any other.
- Who revokes their consent or gives their Apple account up is told to us in a signed notice.
- A new sign-in cannot be forced, and PKCE is not documented: the nonce ties the answer to its attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from broker.domain.claims import EMAIL, FAMILY_NAME, GIVEN_NAME, NAME
from broker.domain.ports import Clock
from broker.domain.removal import Removed
from broker.domain.values import ClaimName, IdentityKey, Secret
from broker.errors import Problem, UpstreamInvalid
from broker.strict_json import read_json
from broker.verification import verified
from providers._findings import Findings
from providers._http import UpstreamHTTP
from providers._id_token import SKEW, read_subject, read_time
from providers._openid_connect import IGNORED as USUALLY_IGNORED
from providers._openid_connect import Metadata, OpenIDConnect
from providers._signed import read_signing_key, sign
from providers.preset import Preset

BINDINGS: Final = frozenset({"state", "nonce"})
ISSUER: Final = "https://appleid.apple.com"
SCOPE_OF: Final[Mapping[ClaimName, str]] = {NAME: "name", GIVEN_NAME: "name", FAMILY_NAME: "name", EMAIL: "email"}
IGNORED: Final = USUALLY_IGNORED | {"is_private_email", "real_user_status", "nonce_supported", "transfer_sub", "org_id"}
SECRET_LIFE: Final = timedelta(minutes=5)
"""Apple takes up to six months."""
MAX_USER: Final = 4096
"""Characters of the form's `user`."""

OLDEST_NOTICE: Final = timedelta(days=1)
"""How long after it was made one is still taken: Apple repeats those that we did not answer."""

_ENDS: Final = ("consent-revoked", "account-deleted", "account-delete")
"""The second as it is documented, the third as it is sent. Whether letters are relayed ends nothing here."""
_TYPES: Final = frozenset({"jwt", "application/jwt"})
_TEN = re.compile(r"[A-Z0-9]{10}")


class Apple(OpenIDConnect):
    """Sign in with Apple for one Services ID."""

    scope_of = SCOPE_OF
    ends_a_token = False
    """It ends their authorization of us (docs, "Revoke tokens"): they would be strangers for one sign-in that failed."""
    signs_requests = False

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        usual = replace(
            preset,
            issuer=preset.issuer or ISSUER,
            token_endpoint_auth_method="client_secret_post",
            response_mode="form_post",
            pkce=False,
            can_force_fresh=False,
        )
        super().__init__(usual, http, clock)
        self._key = read_signing_key(preset.client_secret)

    def _us(self) -> Preset:
        """With a secret made just now: issuer the team, subject our Services ID, audience Apple alone."""
        preset, now = self._preset, int(self._clock.now().timestamp())
        life = int(SECRET_LIFE.total_seconds())
        claims = {"iss": preset.team_id, "sub": preset.client_id, "aud": preset.issuer, "iat": now, "exp": now + life}
        return replace(preset, client_secret=Secret(sign(self._key, preset.key_id, claims)))

    async def _where(self) -> Metadata:
        ends, base = self._preset.endpoints, f"{self._preset.issuer}/auth"
        return Metadata(
            authorization=ends.get("authorization", f"{base}/authorize"),
            token=ends.get("token", f"{base}/token"),
            jwks=ends.get("jwks", f"{base}/keys"),
            userinfo=None,
            revocation=ends.get("revocation", f"{base}/revoke"),
            sends_iss=False,
        )

    async def read_notice(self, text: str) -> Removed | None:
        """Who revoked their consent or has no Apple account any more (server-to-server notifications).

        The token says for which app: the Services ID, or the primary App ID, which `trusted_audiences` names.
        """
        token = read_json(text.encode("utf-8", "replace"), "notice").get("payload")
        if not isinstance(token, str):
            raise UpstreamInvalid("notice", "no payload")
        preset = self._preset
        _, claims = await verified(token, self._keys, algorithms=preset.algorithms, types=_TYPES, check="notice")
        if claims.get("iss") != preset.issuer:
            raise UpstreamInvalid("notice_iss")
        if claims.get("aud") not in [preset.client_id, *preset.trusted_audiences]:
            raise UpstreamInvalid("notice_aud")
        made, now = read_time(claims, "iat"), self._clock.now()
        if made is None or not now - OLDEST_NOTICE <= made <= now + SKEW:
            raise UpstreamInvalid("notice_iat")
        return read_event(claims.get("events"), preset.issuer, made)

    @staticmethod
    def _told(callback: Mapping[str, str]) -> Mapping[str, object]:
        return read_user(callback.get("user", ""))

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        for key, where in (("team_id", "Membership details"), ("key_id", "Keys, or in the name of AuthKey_….p8")):
            value = getattr(preset, key)
            if not _TEN.fullmatch(value):
                what = "is not ten capital letters and digits." if value else "is missing."
                found.add(key, what, f"Copy it from developer.apple.com → Account → {where}.")
        if preset.client_secret.reveal().startswith("eyJ"):
            fix = "Give the key file AuthKey_….p8 instead: we make a new token for each call."
            found.add("client_secret", "is a ready-made token, which runs out within six months.", fix)
        else:
            try:
                read_signing_key(preset.client_secret)
            except ValueError:
                fix = "Give the whole file AuthKey_….p8, as it was downloaded."
                found.add("client_secret", "is not Apple's key file.", fix)
        if "." not in preset.client_id:
            fix = "Use the Services ID: something like org.example.login. The Team ID and the App ID do not work here."
            found.add("client_id", "does not look like a Services ID.", fix, "warning")
        for claim in preset.fields:
            if claim not in SCOPE_OF:
                known = ", ".join(sorted(SCOPE_OF))
                found.add("fields", f"names {claim!r}, which Apple does not tell.", f"Known: {known}.")
        return found


PROVIDER = Apple


def read_event(raw: object, issuer: str, made: datetime) -> Removed | None:
    """The event of a notice made at `made`: JSON within JSON. `None` for those that end nothing, and for new kinds.

    Raises `UpstreamInvalid(check)`.
    """
    event = raw if isinstance(raw, Mapping) else read_json(str(raw).encode("utf-8", "replace"), "notice_event")
    if event.get("type") not in _ENDS:
        return None
    when = event.get("event_time")
    if isinstance(when, bool) or not isinstance(when, int) or not 0 <= when <= (int(made.timestamp()) + 60) * 1000:
        raise UpstreamInvalid("event_time")
    subject = read_subject(event.get("sub"), "notice_sub")
    return Removed(key=IdentityKey(issuer=issuer, subject=subject), at=datetime.fromtimestamp(when // 1000, UTC))


def read_user(text: str) -> dict[str, object]:
    """The name out of the form's `user`, under standard names; nothing if there is none or it makes no sense.

    Its `email` is not read: only the ID token's is Apple's word.
    """
    try:
        user = read_json(text.encode("utf-8", "replace"), "user") if 0 < len(text) <= MAX_USER else {}
    except UpstreamInvalid:
        return {}
    name = user.get("name")
    if not isinstance(name, Mapping):
        return {}
    first, last = (
        part.strip() if isinstance(part, str) else "" for part in (name.get("firstName"), name.get("lastName"))
    )
    return {"given_name": first, "family_name": last, "name": f"{first} {last}".strip()}

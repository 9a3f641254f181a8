"""Security events that sites hear of: which there are, and what is said (RFC 8417, CAEP 1.0, RISC 1.0, SSF 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from broker.domain.values import ClientId, Scope

SECURITY_EVENT: Final = "security_event"
"""The kind of delivery that an event is."""
EVENT_TOKEN_TYPE: Final = "secevent+jwt"
PUSH: Final = "urn:ietf:rfc:8935"
POLL: Final = "urn:ietf:rfc:8936"
READ: Final = Scope("ssf.read")
MANAGE: Final = Scope("ssf.manage")
"""The scopes of a receiver (CAEP Interoperability Profile 1.0, OAuth Scopes): who may manage may read, too."""


class SecurityEvent(StrEnum):
    SESSION_REVOKED = "session-revoked"
    """Somebody is signed out: the session at this site is over."""
    CREDENTIAL_CHANGE = "credential-change"
    """A way to sign in was added or removed: of which kind, and not which one."""
    ACCOUNT_DISABLED = "account-disabled"
    """Nobody can sign in to the account for now."""
    ACCOUNT_ENABLED = "account-enabled"
    ACCOUNT_PURGED = "account-purged"
    """The account is erased, or goes by another number there after a merge: this one is never given to anybody again, so a
    site can erase its own, too.
    """
    VERIFICATION = "verification"
    """The admin or the site tries the way to the site; about nobody."""


CHOICES: Final = tuple(str(event) for event in SecurityEvent if event is not SecurityEvent.VERIFICATION)
_SCHEMAS: Final = "https://schemas.openid.net/secevent"
URIS: Final[Mapping[SecurityEvent, str]] = {
    SecurityEvent.SESSION_REVOKED: f"{_SCHEMAS}/caep/event-type/session-revoked",
    SecurityEvent.CREDENTIAL_CHANGE: f"{_SCHEMAS}/caep/event-type/credential-change",
    SecurityEvent.ACCOUNT_DISABLED: f"{_SCHEMAS}/risc/event-type/account-disabled",
    SecurityEvent.ACCOUNT_ENABLED: f"{_SCHEMAS}/risc/event-type/account-enabled",
    SecurityEvent.ACCOUNT_PURGED: f"{_SCHEMAS}/risc/event-type/account-purged",
    SecurityEvent.VERIFICATION: f"{_SCHEMAS}/ssf/event-type/verification",
}
FEDERATED: Final = "federated"
"""What a provider is; CAEP §3.3.1 lists none of that kind and leaves others to those concerned."""


def event_claims(
    event: SecurityEvent,
    *,
    issuer: str,
    client: ClientId,
    subject: str,
    sid: str,
    change: str,
    credential: str,
    state: str | None,
    jti: str,
    at: datetime,
    now: datetime,
) -> dict[str, Any]:
    """The claims of a security event token: no `sub` and no `exp`, so that it passes for no other token (RFC 8417 §4).

    `subject`: the person's number at this site, `sid` their session there, or nothing; `change`: `create`, `update` or
    `revoke`, and `credential`: of which kind it is, of a way to sign in; `state`: what a site sent to see again, in a verification; `at`: when it happened; `jti`: the same each time this event is sent.
    """
    user = {"format": "iss_sub", "iss": issuer, "sub": subject}
    about: dict[str, Any] = user
    if event is SecurityEvent.VERIFICATION:
        about = {"format": "opaque", "id": client}
    elif sid:
        about = {"format": "complex", "user": user, "session": {"format": "opaque", "id": sid}}
    said: dict[str, Any] = {}
    if event in {SecurityEvent.SESSION_REVOKED, SecurityEvent.CREDENTIAL_CHANGE}:
        said["event_timestamp"] = int(at.timestamp())
    if event is SecurityEvent.CREDENTIAL_CHANGE:
        said |= {"credential_type": credential, "change_type": change}
    if state is not None:
        said["state"] = state
    return {
        "iss": issuer,
        "aud": client,
        "jti": jti,
        "iat": int(now.timestamp()),
        "sub_id": about,
        "events": {URIS[event]: said},
    }

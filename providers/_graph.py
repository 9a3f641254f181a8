"""Facebook's Graph API: proofs, its error envelope, and which of our errors each of its codes is.

Source: developers.facebook.com/docs/graph-api/guides/error-handling. Codes decide, never HTTP statuses: throttling was
seen with 400 and with 403.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from broker.domain.values import Secret
from broker.errors import UpstreamError, UpstreamInvalid, UpstreamNeedsVisit, UpstreamRejected, UpstreamUnavailable
from providers._http import OK, SERVER_FAULT, UpstreamResponse, read_object

LATEST: Final = "v26.0"
VERSION_ENDS: Final[Mapping[str, date | None]] = {
    "v26.0": None,
    "v25.0": date(2028, 7, 29),
    "v24.0": date(2028, 2, 18),
    "v23.0": date(2027, 10, 8),
    "v22.0": date(2027, 5, 20),
    "v21.0": date(2027, 1, 21),
    "v20.0": date(2026, 9, 24),
    "v19.0": date(2026, 5, 21),
}
"""Until when each version is served (developers.facebook.com/docs/graph-api/changelog); `None`: not announced."""
WARN_DAYS: Final = 120

_DOWN: Final = frozenset({1, 2})
_THROTTLED: Final = frozenset({4, 9, 17, 32, 341, 613})
TOKEN_NEEDED: Final = frozenset({104, 2500})
_CHECKPOINT: Final = frozenset({459, 464})


class GraphFault(Exception):
    """An error of the Graph API, or an answer that is not one of its answers."""

    def __init__(self, call: str, code: int = 0, subcode: int = 0, *, transient: bool = False) -> None:
        super().__init__(f"{code}/{subcode} {call}")
        self.call, self.code, self.subcode, self.transient = call, code, subcode, transient

    def as_error(self) -> UpstreamError:
        """The error of ours that this is. Codes go to the log; the message, which may hold names, goes nowhere."""
        detail = f"graph {self.code}/{self.subcode} {self.call}"
        if self.transient or self.code in _THROTTLED or (self.code in _DOWN and self.call != "token"):
            return UpstreamUnavailable(detail)  # at the token endpoint code 1 is a wrong secret
        if self.subcode in _CHECKPOINT:
            return UpstreamNeedsVisit(detail)
        return UpstreamRejected(detail)

    @property
    def may_retry(self) -> bool:
        """Whether asking once more, at once, is sensible. Never when throttled: that only makes it longer."""
        return self.code in _DOWN or (self.transient and self.code not in _THROTTLED)


def proof_of(token: str, secret: Secret) -> str:
    """`appsecret_proof`: shows that the caller knows the secret, so that a stolen token alone is worth nothing.

    Hex HMAC-SHA256 of the token under the app's secret (developers.facebook.com/docs/graph-api/securing-requests).
    """
    return hmac.new(secret.reveal().encode(), token.encode(), hashlib.sha256).hexdigest()


def read_graph(response: UpstreamResponse, call: str) -> dict[str, Any]:
    """The object a Graph call answered with. Raises `GraphFault`, or `UpstreamInvalid(call)` for garbage.

    A server error in HTML and the bare answer `false` both occur when Facebook is unwell; they count as passing faults.
    """
    try:
        raw = read_object(response, call)
    except UpstreamInvalid:
        if response.status >= SERVER_FAULT or response.body.strip() == b"false":
            raise GraphFault(call, transient=True) from None
        raise
    if "error" in raw:
        raise _fault(raw["error"], call, response.status)
    if response.status != OK:
        raise GraphFault(call, transient=response.status >= SERVER_FAULT)
    return raw


def _fault(raw: object, call: str, status: int) -> GraphFault:
    if not isinstance(raw, Mapping):
        raise UpstreamInvalid(call, "error envelope")
    transient = raw.get("is_transient") is True or status >= SERVER_FAULT
    return GraphFault(call, read_code(raw.get("code")), read_code(raw.get("error_subcode")), transient=transient)


def read_code(raw: object) -> int:
    """An error code as a number, from JSON or from a callback; 0 if it is none."""
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 10:
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < 10**9 else 0


def version_warning(version: str, today: date) -> str | None:
    """What to tell the operator about a version that ends soon or has ended; `None` if all is well."""
    ends = VERSION_ENDS.get(version)
    if ends is None or (ends - today).days > WARN_DAYS:
        return None
    verb = "ended" if ends <= today else "ends"
    return f"{version} {verb} on {ends.isoformat()}."

"""Facebook's `signed_request`: what it says to us directly, proved with the app's secret.

`base64url(signature).base64url(payload)`, without padding; the signature is HMAC-SHA256 of the payload's text as it came
(developers.facebook.com/docs/facebook-login/guides/advanced/confirm; protocol of the deauthorize and deletion callbacks).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from typing import Any, Final

from broker.domain import base64url
from broker.domain.values import Secret
from broker.errors import UpstreamInvalid
from broker.strict_json import read_json
from providers._id_token import SKEW, read_time

MAX_TEXT: Final = 4096
"""Characters; real ones have some two hundred. Looked at before anything is decoded."""
OLDEST: Final = timedelta(days=1)
"""How long after it was made it is still taken."""
ALGORITHM: Final = "HMAC-SHA256"

_FORM: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]+)")
"""43 characters are 32 bytes: no other digest fits."""


def read_signed_request(text: str, secret: Secret, now: datetime) -> tuple[dict[str, Any], datetime]:
    """The payload and when it was made. Raises `UpstreamInvalid(check)`.

    The signature is checked first, over the text as it came: nothing of an unsigned payload is even decoded.
    """
    found = _FORM.fullmatch(text) if len(text) <= MAX_TEXT else None
    if found is None:
        raise UpstreamInvalid("signed_request_form")
    given, payload = found.groups()
    wanted = hmac.new(secret.reveal().encode(), payload.encode("ascii"), hashlib.sha256).digest()
    if not hmac.compare_digest(base64url.encoded(wanted), given):
        raise UpstreamInvalid("signed_request_signature")
    said = read_json(_decode(payload), "signed_request_json")
    if said.get("algorithm") != ALGORITHM:
        raise UpstreamInvalid("signed_request_algorithm")
    made = read_time(said, "issued_at")
    if made is None or not now - OLDEST <= made <= now + SKEW:
        raise UpstreamInvalid("issued_at")
    return said, made


def _decode(part: str) -> bytes:
    try:
        return base64url.decoded_loosely(part)
    except ValueError:
        raise UpstreamInvalid("signed_request_form") from None

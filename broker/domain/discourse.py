"""DiscourseConnect: a forum's own way to ask who somebody is, in words that both sides sign with one secret.

Pure rules: what a forum asked, and what it is answered. The format is Discourse's (`lib/discourse_connect_base.rb`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from broker.domain.claims import EMAIL, EMAIL_VERIFIED, NAME, PICTURE, PREFERRED_USERNAME
from broker.domain.client import Client
from broker.domain.values import Secret
from broker.errors import BadRequest

ENTRY_PATH: Final = "/discourse/sso"
"""Where a forum sends people to: its setting `discourse_connect_url`."""
ANSWER_PATH: Final = "/discourse/answer"
"""Where the sign-in that it begins comes to its end: we are the site that asked, for the forum."""
RETURN_PATH: Final = "/session/sso_login"
"""Where every forum wants its answer, behind its own address."""
MIN_SECRET: Final = 32
"""Characters of a secret: a shorter one could be guessed from one signed answer."""
NOT_SIGNED: Final = "signature of a forum"
"""What the log says of a forum that signs with another secret."""
MAX_LENGTH: Final = 4000
"""Characters of what a forum asks; it asks with some 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a forum asked, once its signature was good."""

    nonce: str = field(repr=False)
    return_to: str
    is_silent: bool
    """It wants an answer at once, from whoever is signed in already or from nobody."""


def signature(sso: str, secret: Secret) -> str:
    """HMAC-SHA256 of the text as it travels, in hexadecimal."""
    return hmac.new(secret.reveal().encode(), sso.encode(), hashlib.sha256).hexdigest()


def returns_to(client: Client) -> str | None:
    """The one address that a site's answers go to; `None` for a site that does not ask in this way."""
    if client.discourse_connect_secret is None:
        return None
    return next((one for one in client.redirect_uris if one.endswith(RETURN_PATH)), None)


def forum_of(params: Mapping[str, str], clients: Mapping[Any, Client]) -> Client:
    """Which forum says that it asks: whether it did, `read` finds out. Raises `BadRequest` if it is none of ours."""
    wanted = _said(params.get("sso", "")).get("return_sso_url", "")
    client = next((one for one in clients.values() if wanted and returns_to(one) == wanted), None)
    if client is None or not client.enabled:
        raise BadRequest(detail="return_sso_url is no forum's")
    return client


def read(params: Mapping[str, str], client: Client) -> Asked:
    """What this forum asks. Raises `BadRequest` for anything that it did not sign."""
    sso, sig = params.get("sso", ""), params.get("sig", "")
    said, secret = _said(sso), client.discourse_connect_secret
    if secret is None or not hmac.compare_digest(signature(sso, secret).encode(), sig.encode("utf-8", "surrogatepass")):
        raise BadRequest(detail=NOT_SIGNED)
    nonce = said.get("nonce", "")
    if not nonce:
        raise BadRequest(detail="nonce of a forum missing")
    return Asked(nonce=nonce, return_to=said["return_sso_url"], is_silent=said.get("prompt") == "none")


def _said(sso: str) -> dict[str, str]:
    """Names and values; of a name that comes twice nothing, since programs differ on which of them counts."""
    if len(sso) > MAX_LENGTH:
        raise BadRequest(detail="sso too long")
    try:
        # Discourse breaks the text into lines of 60 in older versions; the signature is over the text as it came.
        text = base64.b64decode("".join(sso.split()), validate=True).decode()
        pairs = parse_qsl(text, keep_blank_values=True)
    except ValueError:
        raise BadRequest(detail="sso is not readable") from None
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def answered(asked: Asked, subject: str, claims: Mapping[str, Any]) -> dict[str, str]:
    """Who somebody is, of what the forum may know.

    An address nobody proved is sent as one that the forum must prove itself: otherwise it signs people in by it.
    """
    told = {
        "nonce": asked.nonce,
        "external_id": subject,
        "username": claims.get(PREFERRED_USERNAME),
        "name": claims.get(NAME),
        "email": claims.get(EMAIL),
        "require_activation": "false" if claims.get(EMAIL_VERIFIED) is True else "true",
        "avatar_url": claims.get(PICTURE),
    }
    return {name: str(value) for name, value in told.items() if value}


def failed(asked: Asked) -> dict[str, str]:
    """Nobody is signed in, and it asked in silence."""
    return {"nonce": asked.nonce, "failed": "true"}


def address(asked: Asked, told: Mapping[str, str], secret: Secret) -> str:
    """Where the browser brings the answer."""
    sso = base64.b64encode(urlencode(told).encode()).decode()
    return f"{asked.return_to}?{urlencode({'sso': sso, 'sig': signature(sso, secret)})}"

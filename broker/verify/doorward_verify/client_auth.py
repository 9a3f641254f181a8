"""How a site proves to the broker who it is."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

__all__ = ["basic_authorization"]


def basic_authorization(client_id: str, secret: str) -> dict[str, str]:
    """The header of ``client_secret_basic``; both halves are form-encoded first (RFC 6749 §2.3.1).

    The newline at the end of a file that the secret was read from is none of it, as at the broker.
    """
    secret = secret.removesuffix("\n").removesuffix("\r")
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}

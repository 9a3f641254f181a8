"""The running server, asked at its own public address: whether it is there, and whether it knows a provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from broker.cli.findings import Finding
from broker.domain.failures import PROBE

if TYPE_CHECKING:
    from broker.settings import Settings

ASK_WITHIN: Final = 10.0
"""Seconds for the running server to tell what it knows of itself."""
MOST: Final = 256 * 1024
NOT_THERE: Final = 404
HOOKS: Final = {"facebook": ("deauthorize", "deletion"), "apple": ("notice",), "openid_connect": ("logout",)}
"""By kind of provider: what it tells us by itself, at `/hooks/ID/…`."""


def discovery(settings: Settings) -> Finding:
    """What the server publishes under its own public address."""
    issuer = settings.broker.public_url
    address = f"{issuer}/.well-known/openid-configuration"
    try:
        with urlopen(Request(address), timeout=ASK_WITHIN) as answer:
            told = json.loads(answer.read(MOST))["issuer"]
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        return Finding(False, f"{address} does not answer as it should ({reason}). Does the server run, and its proxy?")
    if told != issuer:
        return Finding(False, f"The server there calls itself {told}; public_url says {issuer}.")
    return Finding(True, f"{address} answers, as {issuer}.")


def takes(address: str, *, posts: bool = False, is_off: bool = False) -> Finding:
    """Whether the server has something at an address of ours that a provider calls. It is sent nothing there.

    `is_off`: that there is nothing because the configuration says so, and not because the server did not read it yet.
    We say who asks, so that nobody reads of it as something that went wrong with the provider.
    """
    asked = Request(address, data=b"" if posts else None, headers={"User-Agent": PROBE})
    try:
        with urlopen(asked, timeout=ASK_WITHIN) as answer:
            status = answer.status
    except HTTPError as error:
        with error:
            status = error.code
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        return Finding(False, f"{address} does not answer ({reason}). Does the server run, and its proxy?")
    if status == NOT_THERE:
        do = 'Write state = "test", "admins", "testers" or "on", and reload' if is_off else "Reload"
        return Finding(False, f"There is nothing at {address}. {do} the server.")
    if status >= 500:
        return Finding(False, f"{address} answers {status}. Look at the server's log, and at its proxy's.")
    return Finding(True, f"{address} is there.")

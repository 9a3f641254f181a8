"""Renewing an expired session token: one call per handle, whoever else is waiting for it.

A page and its pictures arrive together with the same expired token. The broker lets a lost answer be
repeated once within 30 s and takes any further use of the same refresh token for theft, so the
answer is shared by all of them and remembered that long.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from hashlib import sha256
from threading import Lock
from typing import Final

from .errors import SessionError
from .fetch import Unreachable
from .provider import Provider, Refused, Tokens

__all__ = ["Renewals"]

REMEMBER: Final = 30.0
WAIT: Final = 30.0


class Renewals:
    """Single flight over `Provider.renew`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._flights: dict[bytes, tuple[Future[Tokens], float]] = {}
        self._lock = Lock()

    def renew(self, refresh_token: str, *, sub: str) -> Tokens:
        """New tokens for this handle.

        Raises `Refused` when the broker says no, `Unreachable` when it cannot be asked,
        `SessionError` when what it gave does not verify.
        """
        key = sha256(refresh_token.encode()).digest()
        with self._lock:
            self._forget()
            known = self._flights.get(key)
            if known is None:
                flight: Future[Tokens] = Future()
                self._flights[key] = (flight, time.monotonic() + REMEMBER)
        if known is not None:
            try:
                return known[0].result(timeout=WAIT)
            except TimeoutError:
                raise Unreachable from None
        try:
            tokens = self._provider.renew(refresh_token, sub=sub)
        except BaseException as error:
            if not isinstance(error, Refused):
                # No answer: the next request may ask again.
                with self._lock:
                    self._flights.pop(key, None)
            flight.set_exception(error if isinstance(error, Refused | SessionError) else Unreachable())
            raise
        flight.set_result(tokens)
        return tokens

    def _forget(self) -> None:
        now = time.monotonic()
        for key in [key for key, (flight, end) in self._flights.items() if end < now and flight.done()]:
            del self._flights[key]

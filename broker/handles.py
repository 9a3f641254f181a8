"""Access and refresh tokens, and what opens a host behind a proxy: text that carries what it stands for, under a key, and is stored nowhere.

An access token costs no write to issue and one keyed digest to recognise; whether it still counts is asked of its
grant. A refresh token is computed from its family and generation, so that a lost answer can be given again (decision
21) and a stolen database holds none.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

from broker.domain import base64url
from broker.domain.ports import AccessToken, RefreshToken
from broker.domain.values import ClientId, GrantId

_ACCESS = "dwa_"
_REFRESH = "dwr_"
_ENTRY = "dwe_"
_SITE = "~"
"""Stands before the id of a site that has a token for itself; no grant's name begins so."""
_MAC = 24
_MAX = 4096
"""Letters of what is read at all; the longest have the addresses of several interfaces in them."""


class KeyedHandles:
    """Implements the `Handles` port. `key` is 32 bytes derived from the key ring."""

    def __init__(self, key: bytes) -> None:
        self._begun = hmac.new(key, digestmod="sha256")

    def access_token(self, access: AccessToken) -> str:
        """`dwa_…`: grant or site, own id, start, end (seconds) and key, scopes, audience; a keyed digest over all of it."""
        times = f"{int(access.issued_at.timestamp()):x}.{int(access.expires_at.timestamp()):x}"
        limits = times if access.jkt is None else f"{times}.{access.jkt}"
        whose = access.grant if access.client is None else f"{_SITE}{access.client}"
        fixed = (whose, access.token_id, limits, "+".join(sorted(access.scopes)))
        return self._pack(_ACCESS, " ".join((*fixed, *access.audience)))

    def read_access_token(self, token: str) -> AccessToken | None:
        """What it says, if we made it; `None` otherwise. Its end is the caller's to check."""
        body = self._unpack(_ACCESS, token)
        if body is None:
            return None
        whose, token_id, limits, scopes, *audience = body.split(" ")
        issued, expires, *bound = limits.split(".")
        return AccessToken(
            grant=GrantId("" if whose.startswith(_SITE) else whose),
            client=ClientId(whose.removeprefix(_SITE)) if whose.startswith(_SITE) else None,
            token_id=token_id,
            scopes=frozenset(scopes.split("+")),
            issued_at=datetime.fromtimestamp(int(issued, 16), UTC),
            expires_at=datetime.fromtimestamp(int(expires, 16), UTC),
            audience=tuple(audience),
            jkt=bound[0] if bound else None,
        )

    def refresh_token(self, family_id: str, generation: int, jkt: str | None = None) -> str:
        """`dwr_…`: family, generation and key, and a keyed digest over all of it."""
        return self._pack(_REFRESH, f"{family_id} {generation:x}{_bound(jkt)}")

    def read_refresh_token(self, token: str) -> RefreshToken | None:
        """What it says, if we made it; `None` otherwise."""
        body = self._unpack(_REFRESH, token)
        if body is None:
            return None
        family, generation, *bound = body.split(" ")
        return RefreshToken(family=family, generation=int(generation, 16), jkt=bound[0] if bound else None)

    def entry(self, grant: GrantId) -> str:
        """`dwe_…`: the grant, and a keyed digest over it."""
        return self._pack(_ENTRY, grant)

    def read_entry(self, text: str) -> GrantId | None:
        """The grant, if we made it; `None` otherwise."""
        body = self._unpack(_ENTRY, text)
        return GrantId(body) if body is not None else None

    def _mac(self, kind: str, body: bytes) -> bytes:
        running = self._begun.copy()  # a third cheaper than to begin with the key each time
        running.update(kind.encode() + body)
        return running.digest()[:_MAC]

    def _pack(self, kind: str, text: str) -> str:
        body = text.encode("ascii")
        return kind + base64url.encoded(self._mac(kind, body) + body)

    def _unpack(self, kind: str, token: str) -> str | None:
        if not token.startswith(kind) or len(token) > _MAX or not token.isascii():
            return None
        text = token[len(kind) :]
        try:
            body = base64url.decoded_loosely(text)[_MAC:]
        except ValueError:
            return None
        ours = base64url.encoded(self._mac(kind, body) + body)
        if not hmac.compare_digest(ours, text):  # as text: one spelling each, no aliases of a token
            return None
        return body.decode("ascii")


def _bound(jkt: str | None) -> str:
    return "" if jkt is None else f" {jkt}"

"""Posting a status the way Mastodon does it: `POST /api/v1/statuses` with an `Idempotency-Key`, undone by `DELETE`.

Source: docs.joinmastodon.org/methods/statuses. The key makes a second try safe: within an hour the same key answers with
the same status, so a lost answer is asked for once more instead of being posted twice (catalogue 192).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlencode

from broker.domain.ports import Clock
from broker.domain.posting import Message, PostingPermit, check_permit
from broker.domain.provider import Posted, PostUnknown, UpstreamTokens
from broker.errors import (
    PostingNotPermitted,
    Problem,
    TokenOver,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers._http import FORM, JSON, TOO_MANY, UpstreamHTTP, UpstreamResponse, read_success, was_perhaps_sent
from providers.preset import Posting, Preset, is_address
from providers.publishing._by_token import ByToken, text_of

MAX_ID: Final = 200
_GONE: Final = frozenset({404, 410})
_NOT_KNOWN: Final = 401
_NOT_ALLOWED: Final = 403


class Mastodon(ByToken):
    """A server with Mastodon's statuses interface."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        super().__init__(preset, http, clock, preset.posting or Posting(kind="mastodon"))
        self._address = (self._posting.url or "").rstrip("/")

    async def publish(
        self, permit: PostingPermit, message: Message, token: UpstreamTokens | None
    ) -> Posted | PostUnknown:
        """Post exactly this message.

        Raises `PostingNotPermitted` if permit or token is not good for it; `UpstreamRejected` or `UpstreamUnavailable`
        when the network certainly did not take it. `PostUnknown`: it may have.
        """
        check_permit(permit, message, self._clock.now())
        bearer = self._bearer(token)
        if not message.idempotency_key:
            raise PostingNotPermitted("no idempotency key")
        body = urlencode({"status": text_of(message), "visibility": self._posting.visibility}).encode("ascii")
        headers = {**FORM, **bearer, "Idempotency-Key": message.idempotency_key}
        try:
            response, was_lost = await self._send(body, headers)
        except UpstreamUnavailable as error:
            if was_perhaps_sent(error):
                return PostUnknown(reason=error.detail.partition(" ")[0])
            raise
        try:
            return _read_posted(response)
        except UpstreamInvalid as error:  # it was taken, but what it became cannot be read
            return PostUnknown(reason=error.check)
        except UpstreamUnavailable:  # a server error after the text was sent says nothing about the text
            if response.status == TOO_MANY and not was_lost:
                raise
            return PostUnknown(reason=f"status {response.status}")
        except (UpstreamRejected, PostingNotPermitted):  # this try was refused, which says nothing about a lost one
            if not was_lost:
                raise
            return PostUnknown(reason=f"status {response.status} after a lost answer")

    async def undo(self, permit: PostingPermit, remote_id: str, token: UpstreamTokens | None) -> bool:
        """Delete a status; true when it is gone, also when it was gone before. Copies elsewhere follow in their time.

        Raises `UpstreamRejected` or `UpstreamUnavailable`.
        """
        address = f"{self._address}/{quote(remote_id, safe='')}"
        response = await self._http.request("DELETE", address, headers={**JSON, **self._bearer(token)})
        if response.status in _GONE:
            return True
        if response.status == 204:
            return True
        read_success(response, "undo")
        return True

    async def _send(self, body: bytes, headers: dict[str, str]) -> tuple[UpstreamResponse, bool]:
        """Send, and if the answer was lost ask once more under the same key. The answer, and whether one was lost."""
        try:
            return await self._http.request("POST", self._address, headers=headers, body=body), False
        except UpstreamUnavailable as error:
            if not was_perhaps_sent(error):
                raise
        try:
            return await self._http.request("POST", self._address, headers=headers, body=body), True
        except UpstreamUnavailable as error:
            if was_perhaps_sent(error):
                raise
            raise UpstreamUnavailable("timeout and then no connection") from None  # the first try may have arrived

    @staticmethod
    def problems(preset: Preset) -> Iterable[Problem]:
        """A statuses address and a scope to ask for are needed."""
        posting = preset.posting
        found = []
        if posting is None or not posting.url or not is_address(posting.url) or "?" in posting.url:
            found.append(("posting.url", "is missing.", 'Write url = "https://…/api/v1/statuses".'))
        if posting is None or not posting.scopes:
            found.append(("posting.scopes", "is missing.", 'Write scopes = ["write:statuses"].'))
        return [
            Problem(file="providers.toml", line=0, key=f"{preset.id}.{key}", what=what, fix=fix)
            for key, what, fix in found
        ]


PUBLISHER = Mastodon


def _read_posted(response: UpstreamResponse) -> Posted:
    """The status that came of it. Its id is kept as text; numbers lose digits.

    Raises `PostingNotPermitted` when the token is not good for posting any more (catalogue 193), as `TokenOver` if a new
    one may be.
    """
    if response.status == _NOT_KNOWN:
        raise TokenOver(f"status {response.status}")
    if response.status == _NOT_ALLOWED:
        raise PostingNotPermitted(f"status {response.status}")
    raw = read_success(response, "status")
    remote, url = raw.get("id"), raw.get("url")
    if not isinstance(remote, str) or not 0 < len(remote) <= MAX_ID or not remote.isprintable():
        raise UpstreamInvalid("status_id")
    return Posted(remote_id=remote, url=url if isinstance(url, str) and is_address(url) else None)

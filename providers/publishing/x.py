"""Posting at X: `POST /2/tweets`, undone by `DELETE /2/tweets/:id` (docs.x.com, X API v2).

There is no idempotency key, so nothing is sent a second time: a lost answer leaves "unknown" (catalogue 192). 403 says either
that the text was posted before or that the app may not: nothing tells which, so it ends no opt-in. X bills the operator for
each post, and an access token lasts two hours: `lasting_scopes = ["offline.access"]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from broker.domain.ports import Clock
from broker.domain.posting import Message, PostingPermit, check_permit
from broker.domain.provider import Posted, PostUnknown, UpstreamTokens
from broker.errors import Problem, TokenOver, UpstreamInvalid, UpstreamUnavailable
from providers._http import JSON, TOO_MANY, UpstreamHTTP, UpstreamResponse, read_object, read_success, was_perhaps_sent
from providers.preset import Posting, Preset
from providers.publishing._by_token import ByToken, text_of

POSTS: Final = "https://api.x.com/2/tweets"
READING: Final = ("tweet.read", "users.read")
"""What X wants beside `tweet.write` to post at all, and to say who posts."""
MADE: Final = 201
_NOT_KNOWN: Final = 401
_GONE: Final = 404
_NUMBER = re.compile(r"[0-9]{1,20}")


class X(ByToken):
    """Posts at X, of whoever let us."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        super().__init__(preset, http, clock, preset.posting or Posting(kind="x"))
        self.scopes = tuple(dict.fromkeys((*self.scopes, *READING)))
        self._address = (self._posting.url or POSTS).rstrip("/")

    async def publish(
        self, permit: PostingPermit, message: Message, token: UpstreamTokens | None
    ) -> Posted | PostUnknown:
        """Post exactly this message, once.

        Raises `PostingNotPermitted` if permit or token is not good for it, as `TokenOver` if a new token may be;
        `UpstreamRejected` or `UpstreamUnavailable` when X certainly did not take it. `PostUnknown`: it may have.
        """
        check_permit(permit, message, self._clock.now())
        headers = {"Content-Type": "application/json", **JSON, **self._bearer(token)}
        body = json.dumps({"text": text_of(message)}, ensure_ascii=False).encode()
        try:
            response = await self._http.request("POST", self._address, headers=headers, body=body)
        except UpstreamUnavailable as error:
            if was_perhaps_sent(error):
                return PostUnknown(reason=error.detail.partition(" ")[0])
            raise
        try:
            return _read_posted(response)
        except UpstreamInvalid as error:  # it was taken, but what it became cannot be read
            return PostUnknown(reason=error.check)
        except UpstreamUnavailable:  # a server error after the text was sent says nothing about the text
            if response.status == TOO_MANY:
                raise
            return PostUnknown(reason=f"status {response.status}")

    async def undo(self, permit: PostingPermit, remote_id: str, token: UpstreamTokens | None) -> bool:
        """Delete a post; true when it is gone, also when it was gone before. Raises `UpstreamRejected`, `UpstreamUnavailable`."""
        address = f"{self._address}/{quote(remote_id, safe='')}"
        response = await self._http.request("DELETE", address, headers={**JSON, **self._bearer(token)})
        if response.status == _GONE:
            return True
        data = read_success(response, "undo").get("data")
        return isinstance(data, dict) and data.get("deleted") is True

    @staticmethod
    def problems(preset: Preset) -> Iterable[Problem]:
        """A scope to ask for is needed."""
        if preset.posting is not None and preset.posting.scopes:
            return []
        what, fix = "is missing.", 'Write scopes = ["tweet.write"].'
        return [Problem(file="providers.toml", line=0, key=f"{preset.id}.posting.scopes", what=what, fix=fix)]


PUBLISHER = X


def _read_posted(response: UpstreamResponse) -> Posted:
    """The post that came of it; its number is kept as text, since numbers lose digits.

    Raises `TokenOver`, `UpstreamRejected`, `UpstreamUnavailable`, `UpstreamInvalid(check)`.
    """
    if response.status == _NOT_KNOWN:
        raise TokenOver(f"status {response.status}")
    raw = read_object(response, "post_json") if response.status == MADE else read_success(response, "post")
    data = raw.get("data")
    number = data.get("id") if isinstance(data, dict) else None
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        raise UpstreamInvalid("post_id")
    return Posted(remote_id=number, url=f"https://x.com/i/web/status/{number}")

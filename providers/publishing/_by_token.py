"""What networks have in common that are posted to with a person's own access token."""

from __future__ import annotations

from broker.domain.ports import Clock
from broker.domain.posting import Message
from broker.domain.provider import UpstreamTokens
from broker.errors import PostingNotPermitted
from providers._http import UpstreamHTTP
from providers.preset import Posting, Preset


class ByToken:
    """A publisher but for `publish` and `undo`."""

    needs_person = False

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock, posting: Posting) -> None:
        self._preset, self._http, self._clock, self._posting = preset, http, clock, posting
        self.provider, self.label = preset.id, preset.label
        self.scopes, self.lasting = posting.scopes, posting.lasting_scopes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._preset.id!r})"

    def _bearer(self, token: UpstreamTokens | None) -> dict[str, str]:
        """The header that posts. Raises `PostingNotPermitted` if the token cannot be good for it."""
        if token is None or (token.scopes and not set(self.scopes) <= token.scopes):
            raise PostingNotPermitted("no token for posting")
        return {"Authorization": f"Bearer {token.access_token}"}


def text_of(message: Message) -> str:
    """What is posted: the text, and the address below it."""
    return f"{message.text}\n\n{message.url}" if message.url else message.text

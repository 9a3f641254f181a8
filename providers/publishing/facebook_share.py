"""Facebook's own Share window: the only way to a person's timeline since `publish_actions` ended on 1 August 2018.

We open it; the person decides there. Text cannot be filled in for them, we are not told what they did, and there is
nothing for us to undo (developers.facebook.com/docs/sharing/reference/share-dialog).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode, urlsplit

from broker.domain.ports import Clock
from broker.domain.posting import Message, PostingPermit, check_permit
from broker.domain.provider import NeedsPerson, UpstreamTokens
from broker.errors import PostingNotPermitted, Problem
from providers._http import UpstreamHTTP
from providers.preset import Preset

SHARE_DIALOG: Final = "https://www.facebook.com/dialog/share"


class FacebookShare:
    """The Share window of one Facebook app. Needs no permission and no token, so it can leak none."""

    scopes: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    needs_person = True

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._clock = preset, clock
        self.provider, self.label = preset.id, preset.label
        posting = preset.posting
        self._dialog = (posting.url if posting else None) or preset.endpoints.get("share") or SHARE_DIALOG

    def __repr__(self) -> str:
        return f"FacebookShare({self._preset.id!r})"

    async def publish(self, permit: PostingPermit, message: Message, token: UpstreamTokens | None) -> NeedsPerson:
        """Where to send the person. The window shares an address, so a message without one cannot be shared.

        Raises `PostingNotPermitted` if the permit is not for this message, or if there is no http(s) address to share.
        """
        check_permit(permit, message, self._clock.now())
        if not message.url or urlsplit(message.url).scheme not in {"https", "http"}:
            raise PostingNotPermitted("nothing to share")
        query = {"app_id": self._preset.client_id, "display": "page", "href": message.url}
        if message.return_url:  # marked deprecated there, still honoured: without it the person is left on Facebook
            query["redirect_uri"] = message.return_url
        return NeedsPerson(url=f"{self._dialog}?{urlencode(query)}")

    async def undo(self, permit: PostingPermit, remote_id: str, token: UpstreamTokens | None) -> bool:
        """Never possible for us: only the person can delete what they shared."""
        return False

    @staticmethod
    def problems(preset: Preset) -> Iterable[Problem]:
        """A share window asks for nothing, so scopes here are a misunderstanding."""
        if preset.posting is None or not preset.posting.scopes:
            return []
        what, fix = "are of no use: the Share window needs none.", "Remove them."
        return [Problem(file="providers.toml", line=0, key=f"{preset.id}.posting.scopes", what=what, fix=fix)]


PUBLISHER = FacebookShare

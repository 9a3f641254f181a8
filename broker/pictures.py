"""Pictures of people, and logos, fetched once through the guarded client and drawn anew by a process of their own.

Nothing that can be wrong with one is anybody's trouble but the picture's: whoever signs up goes on without it. What is
fetched is bounded like all we fetch (`broker.egress`), and by less time; each redirect is looked at as if it were the
first address, and there are few of them (catalogue 139-141). A logo is for an admin to put right, so why there is none is
told them in words.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from broker.domain.logo import LogoUnusable, is_address
from broker.egress import MAX_BODY, Egress, Response
from broker.errors import UpstreamError

FETCH_SECONDS: Final = 3.0
"""For each address; somebody is waiting for the page."""
DRAW_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 5.0
"""For all of it, redirects and drawing."""
MAX_REDIRECTS: Final = 2
"""Facebook's addresses of pictures lead to another host of theirs."""
AT_ONCE: Final = 2
"""Drawings in one server process; the others wait their turn within their time."""
TYPES: Final = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif"})
_PROGRAM: Final = Path(__file__).with_name("portrait.py")
_HEADERS: Final = {"Accept": ", ".join(sorted(TYPES - {"image/jpg"}))}


class _NoPicture(Exception):
    """There is none; the first argument says why, in a word for the log."""


class Pictures:
    """Implements the `PictureSource` port. `egress` should be its own: slow pictures are no reason to call their host down.

    `report` hears in a word why there was no picture.
    """

    def __init__(self, egress: Egress, report: Callable[[str], None], *, draw_seconds: float = DRAW_SECONDS) -> None:
        self._egress, self._report = egress, report
        self._draw_seconds = draw_seconds
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, address: str) -> bytes | None:
        """The picture, drawn anew as a JPEG; `None` for whatever went wrong."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await self._drawn(await self._load(address))
        except TimeoutError:
            self._report("timeout")
        except UpstreamError as error:
            self._report((error.detail or "").partition(" ")[0])
        except _NoPicture as why:
            self._report(str(why))
        return None

    async def _load(self, address: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._egress.request("GET", address, headers=_HEADERS)
            if not 300 < answer.status < 400:
                return _body(answer)
            try:
                address = urljoin(address, answer.headers.get("location", ""))
            except ValueError:
                raise _NoPicture("url") from None
        raise _NoPicture("redirects")

    async def _drawn(self, raw: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._draw_seconds), self._turns:
                return await _draw(raw)
        except TimeoutError:
            raise _NoPicture("drawing") from None
        except OSError:  # no process, no memory, no file left for it
            raise _NoPicture("process") from None


def _body(answer: Response) -> bytes:
    if answer.status != 200:
        raise _NoPicture("status")
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() not in TYPES:
        raise _NoPicture("type")
    return answer.body


LOGO_TYPES: Final = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp"})
_LOGO_HEADERS: Final = {"Accept": ", ".join(sorted(LOGO_TYPES - {"image/jpg"}))}
LOGO: Final = "logo"
_SVG: Final = "image/svg+xml"
_HEAD: Final = 1024


class LogoPictures:
    """Implements the `LogoSource` port. `egress` may be that of the pictures."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def source(self, option: str) -> str:
        """An address stands for itself; a file for what is in it now, if it can be read."""
        if is_address(option):
            return option
        try:
            return f"{option}#{hashlib.sha256(_file(option)).hexdigest()}"
        except LogoUnusable:
            return f"{option}#"

    async def draw(self, option: str) -> bytes:
        """The logo there, drawn anew as a PNG. Raises `LogoUnusable`."""
        raw = await self._load(option) if is_address(option) else _file(option)
        if _is_svg(raw):
            raise LogoUnusable("svg")
        try:
            async with asyncio.timeout(DRAW_SECONDS):
                return await _draw(raw, LOGO)
        except TimeoutError:
            raise LogoUnusable("drawing") from None
        except OSError:
            raise LogoUnusable("process") from None
        except _NoPicture as why:
            raise LogoUnusable(str(why)) from None

    async def _load(self, address: str) -> bytes:
        try:
            answer = await self._egress.request("GET", address, headers=_LOGO_HEADERS)
        except UpstreamError as error:
            raise LogoUnusable((error.detail or "").partition(" ")[0]) from error
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if 300 < answer.status < 400:
            raise LogoUnusable("redirects")
        if answer.status != 200:
            raise LogoUnusable("status", str(answer.status))
        if kind == _SVG:
            raise LogoUnusable("svg")
        if kind not in LOGO_TYPES:
            raise LogoUnusable("type", kind)
        return answer.body


def _file(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BODY + 1)
    except OSError as error:
        raise LogoUnusable("file", error.strerror or "") from None
    if len(raw) > MAX_BODY:
        raise LogoUnusable("large")
    return raw


def _is_svg(raw: bytes) -> bool:
    head = raw[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and b"<svg" in raw


async def _draw(raw: bytes, *how: str) -> bytes:
    """By a process with nothing of ours in it: no variable, no open file, no module of the server."""
    pipe = asyncio.subprocess.PIPE
    drawing = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_PROGRAM), *how, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env={}
    )
    try:
        picture, _ = await drawing.communicate(raw)
    except BaseException:
        with suppress(ProcessLookupError):
            drawing.kill()
        await drawing.wait()
        raise
    if drawing.returncode != 0 or not picture:
        raise _NoPicture("image")
    return picture

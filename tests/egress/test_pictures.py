"""Pictures of strangers: fetched within bounds, drawn anew by a process of their own, and nobody's trouble."""

from __future__ import annotations

import asyncio
import io
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from yarl import URL

from broker import pictures, portrait
from broker.egress import Egress, Exemption
from broker.pictures import Pictures
from providers.sandbox.avatar import portrait as sandbox_portrait
from tests.egress.names import Asking, name_server
from tests.egress.wire import Canary, plain, speaking

SECRET = b"canary-of-the-metadata"
SIZE = (portrait.SIDE, portrait.SIDE)


class Rig:
    """Pictures fetched from these servers, and what was said of each that failed."""

    def __init__(self, egress: Egress, **more: Any) -> None:
        self.egress, self.reasons = egress, list[str]()
        self.pictures = Pictures(egress, self.reasons.append, **more)

    async def fetch(self, canary: Canary, path: str = "/ana.png") -> bytes | None:
        return await self.pictures.fetch(f"http://localhost:{canary.port}{path}")


@pytest.fixture
async def rigged() -> AsyncIterator[Callable[..., Rig]]:
    opened: list[Egress] = []

    def rig(*canaries: Canary, seconds: float = 2.0, **more: Any) -> Rig:
        exemptions = [Exemption(host="localhost", port=canary.port) for canary in canaries]
        opened.append(Egress(exemptions=exemptions, total_seconds=seconds))
        return Rig(opened[-1], **more)

    yield rig
    for egress in opened:
        await egress.aclose()


def encoded(kind: str, *, mode: str = "RGB", size: tuple[int, int] = (300, 200), **more: Any) -> bytes:
    """A picture that is red on the left and blue on the right."""
    image = Image.new(mode, size, 0 if mode == "P" else "red")
    if mode != "P":
        image.paste("blue", (size[0] // 2, 0, *size))
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def with_secrets() -> bytes:
    """A JPEG with a place, a comment, a colour profile and a tail behind its end."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (44.0, 48.0, 59.0), 29: SECRET.decode()})
    return encoded("JPEG", exif=exif, comment=SECRET, icc_profile=SECRET * 8) + b"<script>" + SECRET


def text_in_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode())
    return encoded("PNG", pnginfo=info)


# --- what comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("image/jpeg", encoded("JPEG")),
        ("image/jpg; charset=binary", encoded("JPEG", progressive=True)),
        ("IMAGE/PNG", encoded("PNG", mode="RGBA")),
        ("image/png", encoded("PNG", mode="P")),
        ("image/png", encoded("PNG", mode="1", size=(1, 1))),
        ("image/png", encoded("PNG", size=(3000, 2))),
        ("image/webp", encoded("WEBP", lossless=True)),
        ("image/gif", encoded("GIF", mode="P", save_all=True, append_images=[Image.new("P", (300, 200), 1)] * 3)),
        ("image/png", sandbox_portrait("ana", 128, 128)),
    ],
)
async def test_whatever_was_sent_a_small_square_jpeg_comes_out(
    rigged: Callable[..., Rig], kind: str, raw: bytes
) -> None:
    """(catalogue 141)"""
    async with speaking(plain(raw, f"Content-Type: {kind}")) as canary:
        rig = rigged(canary)
        drawn = await rig.fetch(canary)
    assert drawn is not None, rig.reasons
    with Image.open(io.BytesIO(drawn)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", SIZE)
    assert b"accept: image/gif, image/jpeg, image/png, image/webp" in canary.requests[0].lower()
    assert b"cookie" not in canary.requests[0].lower()
    assert b"referer" not in canary.requests[0].lower()


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("image/jpeg", with_secrets()),
        ("image/png", text_in_png()),
        ("image/png", encoded("PNG") + SECRET),
        ("image/gif", encoded("GIF", mode="P", comment=SECRET)),
        ("image/webp", encoded("WEBP", xmp=SECRET)),
    ],
)
async def test_nothing_but_pixels_comes_through(rigged: Callable[..., Rig], kind: str, raw: bytes) -> None:
    """No place, no comment, no profile, no script behind the end of a polyglot (catalogue 141)."""
    assert SECRET in raw
    async with speaking(plain(raw, f"Content-Type: {kind}")) as canary:
        drawn = await rigged(canary).fetch(canary)
    assert drawn is not None
    assert SECRET not in drawn
    assert b"<script>" not in drawn
    with Image.open(io.BytesIO(drawn)) as image:
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


async def test_a_picture_stands_as_its_camera_was_held(rigged: Callable[..., Rig]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    async with speaking(plain(encoded("JPEG", exif=exif, quality=95), "Content-Type: image/jpeg")) as canary:
        drawn = await rigged(canary).fetch(canary)
    assert drawn is not None
    with Image.open(io.BytesIO(drawn)) as image:
        left, right = image.getpixel((20, 128)), image.getpixel((236, 128))
    assert isinstance(left, tuple) and left[2] > 200 and left[0] < 60, "blue"
    assert isinstance(right, tuple) and right[0] > 200 and right[2] < 60, "red"


async def test_what_is_see_through_becomes_white(rigged: Callable[..., Rig]) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    out = io.BytesIO()
    image.save(out, "PNG")
    async with speaking(plain(out.getvalue(), "Content-Type: image/png")) as canary:
        drawn = await rigged(canary).fetch(canary)
    assert drawn is not None
    with Image.open(io.BytesIO(drawn)) as shown:
        assert shown.getpixel((128, 128)) == (255, 255, 255)


# --- what is no picture -------------------------------------------------------------------------------

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def wide_webp() -> bytes:
    """An animation whose canvas has 16,384 times as many pixels, and nothing on it."""
    side = struct.pack("<I", 16383)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + side + side


BOMB = png_of(4096, 4097, zlib.compress(bytes(3 * 4096 * 4097 + 4097), 9))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (plain(SVG, "Content-Type: image/svg+xml"), "type"),
        (plain(SVG, "Content-Type: image/png"), "image"),
        (plain(b"<script>alert(1)</script>", "Content-Type: text/html"), "type"),
        (plain(encoded("PNG")), "type"),
        (plain(encoded("BMP"), "Content-Type: image/png"), "image"),
        (plain(encoded("TIFF"), "Content-Type: image/png"), "image"),
        (plain(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "Content-Type: image/png"), "image"),
        (plain(b"", "Content-Type: image/png"), "image"),
        (plain(encoded("PNG")[:60], "Content-Type: image/png"), "image"),
        (plain(encoded("JPEG")[:200], "Content-Type: image/jpeg"), "image"),
        (plain(BOMB, "Content-Type: image/png"), "image"),
        (plain(png_of(60_000, 60_000), "Content-Type: image/png"), "image"),
        (plain(png_of(0, 0), "Content-Type: image/png"), "image"),
        (plain(wide_webp(), "Content-Type: image/webp"), "image"),
        (plain(encoded("PNG"), "Content-Type: image/png", "Content-Encoding: gzip"), "encoding"),
        (plain(bytes(portrait.MAX_BYTES + 1), "Content-Type: image/png"), "large"),
        (plain(b"gone", "Content-Type: image/png", status="404 Not Found"), "status"),
        (plain(encoded("PNG"), "Content-Type: image/png", status="500 Oh"), "status"),
        (plain(b"", "Location: /round", status="302 Found"), "redirects"),
        (plain(b"", status="302 Found"), "redirects"),
        (plain(b"", "Location: http://[", status="302 Found"), "url"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nContent-Type: image/png\r\n\r\nx", "broken"),
        (b"nonsense\r\n\r\n", "broken"),
        (b"", "broken"),
    ],
)
async def test_what_is_no_picture_costs_nothing_but_the_picture(
    rigged: Callable[..., Rig], answer: bytes, reason: str
) -> None:
    """Scripts, bombs, strange formats, half answers (catalogue 140, 141): no error, and a word for the log."""
    async with speaking(answer) as canary:
        rig = rigged(canary)
        assert await rig.fetch(canary) is None
    assert rig.reasons == [reason]
    assert canary.connections <= pictures.MAX_REDIRECTS + 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_the_same_picture_is_drawn_the_same_each_time(kind: str) -> None:
    raw = encoded(kind)
    assert portrait.drawn(raw) == portrait.drawn(raw)


def test_the_bomb_is_one() -> None:
    assert len(BOMB) < portrait.MAX_BYTES / 10
    with pytest.raises(ValueError, match="pixels"):
        portrait.drawn(BOMB)


def scanned_over(scans: int) -> bytes:
    """A progressive JPEG whose last scan stands there again and again."""
    whole = encoded("JPEG", size=(4096, 4096), progressive=True)
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:last] + whole[last:end] * scans + whole[end:]


def test_a_picture_that_is_drawn_over_and_over_is_refused() -> None:
    """Thousands of scans in one megabyte would keep a drawing place for all of its seconds (catalogue 141)."""
    assert portrait.drawn(scanned_over(20))
    bomb = scanned_over(101)
    started = time.monotonic()
    with pytest.raises(ValueError, match="scans"):
        portrait.drawn(bomb)
    assert time.monotonic() - started < 1


async def test_a_dead_or_silent_host_costs_seconds_and_no_more(rigged: Callable[..., Rig]) -> None:
    """(catalogue 140)"""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(silent) as canary:
        rig = rigged(canary, seconds=0.3)
        started = time.monotonic()
        assert await rig.fetch(canary) is None
        assert time.monotonic() - started < 2
    assert await rig.fetch(canary) is None
    assert rig.reasons == ["timeout", "connect"]


async def test_a_chain_of_slow_answers_ends_as_a_whole(
    rigged: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each redirect in time, all of them not (catalogue 140)."""
    monkeypatch.setattr(pictures, "TOTAL_SECONDS", 0.4)

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        writer.write(plain(b"", "Location: /next", status="302 Found"))
        await writer.drain()

    async with speaking(slow) as canary:
        rig = rigged(canary)
        assert await rig.fetch(canary) is None
    assert rig.reasons == ["timeout"]


async def test_an_address_that_is_none_is_refused(rigged: Callable[..., Rig]) -> None:
    """(catalogue 139)"""
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as canary:
        rig = rigged()
        for address in (
            f"http://localhost:{canary.port}/", f"http://127.0.0.1:{canary.port}/", "file:///etc/passwd", "data:image/png,x",
            "https://user@pictures.example/", "https://169.254.169.254/latest/", "",
        ):  # fmt: skip
            assert await rig.pictures.fetch(address) is None
    assert canary.connections == 0
    assert set(rig.reasons) <= {"scheme", "url", "credentials", "literal"}


# --- redirects and rebinding --------------------------------------------------------------------------


async def test_a_redirect_to_another_host_of_theirs_is_followed(rigged: Callable[..., Rig]) -> None:
    """Each hop is looked at as the first one was (catalogue 139)."""
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as second:
        there = plain(b"", f"Location: http://localhost:{second.port}/there.png", status="302 Found")
        async with speaking(there) as first:
            assert await rigged(first, second).fetch(first) is not None
    assert (first.connections, second.connections) == (1, 1)
    assert second.requests[0].startswith(b"GET /there.png ")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
async def test_a_redirect_inside_is_refused(rigged: Callable[..., Rig], status: str) -> None:
    """(catalogue 139)"""
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as inside:
        for location in (
            f"http://127.0.0.1:{inside.port}/",
            f"https://localhost:{inside.port}/",
            f"//127.0.0.1:{inside.port}/",
            f"http://[::1]:{inside.port}/",
            "file:///etc/passwd",
        ):
            async with speaking(plain(b"", f"Location: {location}", status=status)) as outside:
                rig = rigged(outside)
                assert await rig.fetch(outside) is None
                assert rig.reasons[0] in {"scheme", "port", "literal", "url"}
        assert inside.connections == 0


class AnyPort(Egress):
    """All of the guarded client but the rules for scheme and port, so that its servers can stand on loopback."""

    def _target(self, text: str) -> tuple[URL, tuple[str, int]]:
        url = URL(text, encoded=True)
        return url, (str(url.raw_host), url.port or 0)


PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
"""The first stands for the internet in the tests below: nothing here leaves this machine."""


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.egress.is_public", lambda address: address == PUBLIC)


async def one_port_of_both(answer: bytes) -> tuple[asyncio.Server, asyncio.Server, int, dict[str, int]]:
    """A server on the "public" address and one inside, at the same port, and how many came to each."""
    came = {PUBLIC: 0, INSIDE: 0}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came[writer.get_extra_info("sockname")[0]] += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    public = await asyncio.start_server(serve, PUBLIC, 0)
    port = public.sockets[0].getsockname()[1]
    return public, await asyncio.start_server(serve, INSIDE, port), port, came


@pytest.mark.usefixtures("internet")
@pytest.mark.parametrize(
    ("answers", "reached"),
    [
        ([[PUBLIC], [INSIDE]], True),
        ([[INSIDE], [PUBLIC]], False),
        ([[PUBLIC, INSIDE]], False),
        ([[INSIDE, PUBLIC]], False),
        ([[]], False),
    ],
)
async def test_a_name_that_turns_round_between_two_questions_leads_nowhere_inside(
    answers: list[list[str]], reached: bool
) -> None:
    """A rebinding name server with real datagrams (catalogue 139): one question for one connection, and the connection
    goes to the answer that was looked at.
    """
    public, inside, port, came = await one_port_of_both(plain(encoded("PNG"), "Content-Type: image/png"))
    async with public, inside, name_server(*answers) as names:
        rig = Rig(AnyPort(resolver=Asking(names)))
        drawn = await rig.pictures.fetch(f"http://rebind.example:{port}/ana.png")
        await rig.egress.aclose()
    assert (drawn is not None) is reached, rig.reasons
    assert names.asked == ["rebind.example"]
    assert came == {PUBLIC: int(reached), INSIDE: 0}


@pytest.mark.usefixtures("internet")
async def test_a_redirect_to_a_name_that_turns_round_leads_nowhere_inside() -> None:
    """The second hop asks anew, under another name, and is looked at anew (catalogue 139)."""
    public, inside, port, came = await one_port_of_both(b"")
    public.close()
    inside.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came[writer.get_extra_info("sockname")[0]] += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(plain(b"", f"Location: http://second.example:{port}/", status="302 Found"))
        await writer.drain()
        writer.close()

    first = await asyncio.start_server(serve, PUBLIC, port)
    second = await asyncio.start_server(serve, INSIDE, port)
    async with first, second, name_server([PUBLIC], [INSIDE]) as names:
        rig = Rig(AnyPort(resolver=Asking(names)))
        assert await rig.pictures.fetch(f"http://first.example:{port}/") is None
        await rig.egress.aclose()
    assert rig.reasons == ["address"]
    assert names.asked == ["first.example", "second.example"]
    assert came == {PUBLIC: 1, INSIDE: 0}


# --- the process that draws ---------------------------------------------------------------------------


async def test_a_drawing_that_takes_too_long_is_ended(
    rigged: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """(catalogue 140)"""
    program = tmp_path / "sleeps.py"
    program.write_text(
        f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(pictures, "_PROGRAM", program)
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as canary:
        rig = rigged(canary, draw_seconds=1.0)
        started = time.monotonic()
        assert await rig.fetch(canary) is None
        assert time.monotonic() - started < 5
    assert rig.reasons == ["drawing"]
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


async def test_the_process_that_draws_gets_nothing_of_the_server(
    rigged: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No variable with a secret in it, no open file, no module of ours (catalogue 168)."""
    monkeypatch.setenv("MASTER_KEY", "secret")
    program = tmp_path / "tells.py"
    program.write_text(
        "import os, sys\nnames = set(os.environ) - {'LC_CTYPE'}\n"
        "files = sorted(os.listdir('/proc/self/fd'))[:-1]\n"
        "modules = [name for name in sys.modules if name.startswith(('broker', 'providers'))]\n"
        "print(sorted(names), files, modules, end='')\n"
    )
    monkeypatch.setattr(pictures, "_PROGRAM", program)
    with (tmp_path / "open").open("w"):
        async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as canary:
            assert await rigged(canary).fetch(canary) == b"[] ['0', '1', '2'] []"


async def test_where_no_process_can_be_started_there_is_no_picture(
    rigged: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as canary:
        rig = rigged(canary)
        assert await rig.fetch(canary) is None
    assert rig.reasons == ["process"]


async def test_many_at_once_all_get_their_turn(rigged: Callable[..., Rig]) -> None:
    async with speaking(plain(encoded("PNG"), "Content-Type: image/png")) as canary:
        rig = rigged(canary, draw_seconds=30.0)
        drawn = await asyncio.gather(*(rig.fetch(canary) for _ in range(2 * pictures.AT_ONCE)))
    assert None not in drawn, rig.reasons


def test_the_server_itself_holds_no_decoder() -> None:
    """Its start-up and memory stay as they were."""
    import subprocess
    import sys

    code = "import sys, broker.app; print([name for name in sys.modules if name.partition('.')[0] == 'PIL'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

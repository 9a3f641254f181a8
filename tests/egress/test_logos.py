"""Logos: fetched within bounds and followed nowhere, drawn anew with what is see-through, and every fault has words."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from broker import pictures
from broker.domain.logo import PROBLEMS, LogoUnusable
from broker.egress import MAX_BODY, Egress, Exemption
from broker.pictures import LogoPictures
from tests.egress.test_pictures import encoded, with_secrets
from tests.egress.wire import plain, speaking

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def fetched(answer: bytes, *, seconds: float = 2.0, is_open: bool = True) -> bytes:
    async with speaking(answer) as canary:
        exemptions = [Exemption(host="localhost", port=canary.port)] if is_open else []
        egress = Egress(exemptions=exemptions, total_seconds=seconds)
        try:
            return await LogoPictures(egress).draw(f"http://localhost:{canary.port}/logo")
        finally:
            await egress.aclose()
            assert len(canary.requests) == int(is_open)


@pytest.mark.parametrize(
    ("kind", "raw", "size"),
    [
        ("image/png", encoded("PNG", mode="RGBA", size=(400, 100)), (128, 32)),
        ("IMAGE/JPEG; q=1", with_secrets(), (128, 85)),
        ("image/webp", encoded("WEBP", lossless=True, size=(16, 16)), (16, 16)),
    ],
)
async def test_whatever_was_sent_a_small_png_without_anything_but_pixels_comes_out(
    kind: str, raw: bytes, size: tuple[int, int]
) -> None:
    """(catalogue 141)"""
    drawn = await fetched(plain(raw, f"Content-Type: {kind}"))
    with Image.open(io.BytesIO(drawn)) as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGBA", size, {})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (plain(SVG, "Content-Type: image/svg+xml"), "svg"),
        (plain(SVG, "Content-Type: image/png"), "svg"),
        (plain(b"<html>", "Content-Type: text/html"), "type"),
        (plain(encoded("GIF", mode="P"), "Content-Type: image/gif"), "type"),
        (plain(encoded("GIF", mode="P"), "Content-Type: image/png"), "image"),
        (plain(b"<html>", "Content-Type: image/png"), "image"),
        (plain(encoded("PNG", size=(4097, 4096)), "Content-Type: image/png"), "image"),
        (plain(bytes(MAX_BODY + 1), "Content-Type: image/png"), "large"),
        (plain(b"", status="404 Not Found"), "status"),
        (plain(b"", "Location: https://elsewhere.example/", status="302 Found"), "redirects"),
        (b"nonsense\r\n\r\n", "broken"),
    ],
)
async def test_a_logo_that_cannot_be_shown_says_why(answer: bytes, reason: str) -> None:
    """(catalogue 141)"""
    with pytest.raises(LogoUnusable) as caught:
        await fetched(answer)
    assert caught.value.reason == reason
    assert reason in PROBLEMS or reason == "broken"


async def test_a_host_of_a_logo_moves_no_cursor_on_the_screen_of_who_looks() -> None:
    """Else it could write there what `site review` did not say."""
    for kind, words in (("text/html", "(text/html)"), ("text/\x1b[2Jhtml", "")):
        with pytest.raises(LogoUnusable, match="type") as caught:
            await fetched(plain(b"x", f"Content-Type: {kind}"))
        assert caught.value.words == f"{PROBLEMS['type']} {words}".rstrip()


async def test_a_logo_inside_is_not_fetched() -> None:
    """(catalogue 138)"""
    with pytest.raises(LogoUnusable, match="scheme"):
        await fetched(plain(b""), is_open=False)


async def test_a_file_is_what_stands_in_it_now(tmp_path: Path) -> None:
    logos, path = LogoPictures(Egress()), tmp_path / "logo.png"
    absent = await logos.source(str(path))
    with pytest.raises(LogoUnusable, match="file"):
        await logos.draw(str(path))
    sources = {absent}
    for size in ((9, 9), (8, 8)):
        path.write_bytes(encoded("PNG", size=size))
        sources.add(await logos.source(str(path)))
        with Image.open(io.BytesIO(await logos.draw(str(path)))) as image:
            assert image.size == size
    assert len(sources) == 3
    assert all(one.startswith(f"{path}#") for one in sources)
    path.write_bytes(bytes(MAX_BODY + 1))
    with pytest.raises(LogoUnusable, match="large"):
        await logos.draw(str(path))
    assert await logos.source("https://club.example/x") == "https://club.example/x"


async def test_a_drawing_that_takes_too_long_or_has_no_room_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logos, path = LogoPictures(Egress()), tmp_path / "logo.png"
    path.write_bytes(encoded("PNG"))
    monkeypatch.setattr(pictures, "DRAW_SECONDS", 0.001)
    with pytest.raises(LogoUnusable, match="drawing"):
        await logos.draw(str(path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    monkeypatch.setattr(pictures, "DRAW_SECONDS", 3.0)
    with pytest.raises(LogoUnusable, match="process"):
        await logos.draw(str(path))

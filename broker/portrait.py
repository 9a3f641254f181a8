"""Draws a picture anew: bytes of strangers on standard input, a small picture of ours on standard output.

Of people a square JPEG; with `logo` as its argument a PNG, with what is see-through as it is. A program of its own, started for one picture and gone after it (`broker.pictures`): decoders are old C code, and what
goes wrong in one must reach neither the server's memory nor its keys. It knows nothing of the server, holds no secret,
and may use little memory and time. Whatever it cannot read, it ends with 1.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import Final

from PIL import Image, ImageOps

LOGO: Final = "logo"
SIDE: Final = 256
"""Pixels; square, as sites show it (OpenID Connect Core §5.1 asks for a picture fit to be shown as it is)."""
LOGO_SIDE: Final = 128
"""Pixels of its longer side at most: shown at 48, on screens that have some three for each."""
MAX_PIXELS: Final = 4096 * 4096
MAX_BYTES: Final = 1024 * 1024
MEMORY: Final = 512 * 1024 * 1024
SECONDS: Final = 3
MAX_SCANS: Final = 100
"""Of a JPEG; real ones have some ten. Each goes over all of the picture again, and thousands fit into few bytes."""
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
LOGO_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_QUALITY: Final = 88


def drawn(raw: bytes) -> bytes:
    """The picture as a JPEG of `SIDE` by `SIDE` with nothing beside its pixels: no EXIF, no comment, no profile.

    The first image of several; turned as its EXIF says; what is see-through becomes white. Raises what Pillow raises,
    `ValueError` for too many pixels or scans.
    """
    upright = _opened(raw, FORMATS, 2 * SIDE)
    square = ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    paper.paste(square, mask=square.getchannel("A"))
    out = io.BytesIO()
    paper.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def drawn_logo(raw: bytes) -> bytes:
    """The same as a PNG of at most `LOGO_SIDE` by `LOGO_SIDE`, in its own proportions; a smaller one stays as small."""
    upright = _opened(raw, LOGO_FORMATS, 2 * LOGO_SIDE)
    upright.thumbnail((LOGO_SIDE, LOGO_SIDE), Image.Resampling.LANCZOS)
    clean = Image.new("RGBA", upright.size)
    clean.paste(upright)
    out = io.BytesIO()
    clean.save(out, "PNG", optimize=True)
    return out.getvalue()


def _opened(raw: bytes, formats: tuple[str, ...], of_use: int) -> Image.Image:
    with Image.open(io.BytesIO(raw), formats=formats) as image:
        width, height = image.size
        if not 0 < width * height <= MAX_PIXELS:
            msg = "too many pixels"
            raise ValueError(msg)
        if image.format == "JPEG" and raw.count(b"\xff\xda") > MAX_SCANS:
            msg = "too many scans"
            raise ValueError(msg)
        image.draft("RGB", (of_use, of_use))  # a JPEG is decoded no larger than it is of use
        image.load()
        return ImageOps.exif_transpose(image).convert("RGBA")


def main() -> int:
    """Exit code: 0 with the picture on standard output, 1 without one."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        draw = drawn_logo if sys.argv[1:] == [LOGO] else drawn
        picture = draw(sys.stdin.buffer.read(MAX_BYTES + 1))
    except Exception:  # whatever strangers' bytes can lead to: there is no picture
        return 1
    sys.stdout.buffer.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())

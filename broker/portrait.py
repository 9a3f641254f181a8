"""Draws a picture anew: bytes of strangers on standard input, a small square JPEG of ours on standard output.

A program of its own, started for one picture and gone after it (`broker.pictures`): decoders are old C code, and what
goes wrong in one must reach neither the server's memory nor its keys. It knows nothing of the server, holds no secret,
and may use little memory and time. Whatever it cannot read, it ends with 1.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import Final

from PIL import Image, ImageOps

SIDE: Final = 256
"""Pixels; square, as sites show it (OpenID Connect Core §5.1 asks for a picture fit to be shown as it is)."""
MAX_PIXELS: Final = 4096 * 4096
MAX_BYTES: Final = 1024 * 1024
MEMORY: Final = 512 * 1024 * 1024
SECONDS: Final = 3
MAX_SCANS: Final = 100
"""Of a JPEG; real ones have some ten. Each goes over all of the picture again, and thousands fit into few bytes."""
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_QUALITY: Final = 88


def drawn(raw: bytes) -> bytes:
    """The picture as a JPEG of `SIDE` by `SIDE` with nothing beside its pixels: no EXIF, no comment, no profile.

    The first image of several; turned as its EXIF says; what is see-through becomes white. Raises what Pillow raises,
    `ValueError` for too many pixels or scans.
    """
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        width, height = image.size
        if not 0 < width * height <= MAX_PIXELS:
            msg = "too many pixels"
            raise ValueError(msg)
        if image.format == "JPEG" and raw.count(b"\xff\xda") > MAX_SCANS:
            msg = "too many scans"
            raise ValueError(msg)
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded no larger than it is of use
        image.load()
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    square = ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    paper.paste(square, mask=square.getchannel("A"))
    out = io.BytesIO()
    paper.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def main() -> int:
    """Exit code: 0 with the picture on standard output, 1 without one."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        picture = drawn(sys.stdin.buffer.read(MAX_BYTES + 1))
    except Exception:  # whatever strangers' bytes can lead to: there is no picture
        return 1
    sys.stdout.buffer.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())

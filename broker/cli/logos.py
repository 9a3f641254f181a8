"""Logos at the command line: what is wrong with one that is configured."""

from __future__ import annotations

from broker.cli.findings import Finding
from broker.domain.logo import LogoUnusable, is_address
from broker.egress import Egress, Exemption
from broker.pictures import FETCH_SECONDS, LogoPictures
from broker.settings import Settings


async def drawn(settings: Settings, option: str) -> bytes:
    """The logo there, as the server would draw it; nothing is kept. Raises `LogoUnusable`."""
    exemptions = [Exemption.parse(one.address, one.ca_file) for one in settings.broker.egress]
    egress = Egress(exemptions=exemptions, total_seconds=FETCH_SECONDS)
    try:
        return await LogoPictures(egress).draw(option)
    finally:
        await egress.aclose()


async def findings(settings: Settings, option: str, *, offline: bool) -> list[Finding]:
    """Whether it can be shown. Nothing for no logo."""
    if not option:
        return []
    if offline and is_address(option):
        return [Finding(None, f"The logo {option} was not fetched.")]
    try:
        png = await drawn(settings, option)
    except LogoUnusable as problem:
        words = f"The logo {option} cannot be shown. {problem.words} Without one, people see the name alone."
        return [Finding(False, words)]
    return [Finding(True, f"The logo {option} can be shown: {size_of(png)}.")]


def size_of(png: bytes) -> str:
    """Width and height as a PNG has them (ISO/IEC 15948 §11.2.2), and bytes."""
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    return f"{width} by {height} pixels, {len(png)} bytes"

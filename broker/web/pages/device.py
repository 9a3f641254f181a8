"""Letting a device in that has no browser of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from broker.web.pages.base import Page, SiteCard


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode(Page):
    """Type the code that the device shows. Posts `user_code`."""

    template: ClassVar[str] = "device/code.html"
    action: str = "/device"
    typed: str = field(default="", repr=False)
    problem: str = ""
    """A code of `words.DEVICE_PROBLEMS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceQuestion(Page):
    """Is this your device? Posts `user_code` and `decision=yes|no`."""

    template: ClassVar[str] = "device/question.html"
    action: str = "/device/go"
    user_code: str = field(repr=False)
    """As the device shows it."""
    site: SiteCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDone(Page):
    """What came of it: `done`, `refused`, `failed` or `late`."""

    template: ClassVar[str] = "device/done.html"
    outcome: str
    site: SiteCard | None = None

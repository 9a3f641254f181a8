"""The town of every browser test."""

from __future__ import annotations

from tests.browser.town import town

__all__ = ["town"]

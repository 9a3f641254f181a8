"""What every test can ask for: see `tests/support`."""

from __future__ import annotations

pytest_plugins = (
    "tests.support.strict",
    "tests.support.thrift",
    "tests.support.servers",
    "tests.support.tls",
    "tests.support.chromium",
    "tests.support.watch",
    "tests.support.house",
)

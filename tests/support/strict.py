"""A pytest plugin: nothing is skipped, expected to fail or left out. Whoever wants a part of the suite says so.

Works with and without pytest-xdist: workers report outcomes to the controller, which decides at the end.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code; suites with a limit measure their own.
settings.register_profile("doorward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("doorward")

_MISSED = pytest.StashKey[list[str]]()
_SOCKETLESS = ("tests/domain/", "tests/flows/")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MISSED] = []
    config.pluginmanager.register(_Watch(config), "doorward-strict")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The domain and the flows are tested without sockets: whatever opens one there has lost its way."""
    for item in items:
        if item.nodeid.startswith(_SOCKETLESS):
            item.add_marker(pytest.mark.disable_socket)


class _Watch:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._missed = config.stash[_MISSED]

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        if not _asked_for_a_part(self._config):
            self._missed += [f"deselected: {item.nodeid}" for item in items]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._missed.append(f"not collected: {report.nodeid}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            self._missed.append(f"expected to fail: {report.nodeid}")
        elif report.skipped:
            self._missed.append(f"skipped: {report.nodeid}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of pytest-xdist left out never became a report."""
        with contextlib.suppress(AttributeError):
            self._missed += node.workeroutput.get("doorward_missed", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["doorward_missed"] = [line for line in self._missed if line.startswith(("deselected", "not coll"))]
        elif self._missed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        missed = sorted(set(self._missed))
        if not missed or hasattr(self._config, "workeroutput"):
            return
        terminalreporter.section("nothing may be left out", sep="=", red=True, bold=True)
        for line in missed:
            terminalreporter.line(line)


def _asked_for_a_part(config: pytest.Config) -> bool:
    option = config.option
    return bool(option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False))

"""What is wrong with a preset, as its kind finds it."""

from __future__ import annotations

from broker.errors import Problem


class Findings(list[Problem]):
    """Problems of one preset. The loader knows its file and lines, and fills them in."""

    def add(self, key: str, what: str, fix: str, severity: str = "error") -> None:
        """Note one. `key` is the option, `what` goes on after its name, `severity` is `error` or `warning`."""
        self.append(Problem(file="", line=0, key=key, what=what, fix=fix, severity=severity))

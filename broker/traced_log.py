"""The log, from which what went wrong with providers is also kept for a week (`flows.failures`), cleaned as it is for a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.domain.failures import ADDRESS, POSTING, SHOWN
from broker.domain.values import ProviderId
from broker.flows.failures import FailureTrace
from broker.log_lines import clean
from broker.web.world import Log


@dataclass(frozen=True, slots=True)
class TracedLog:
    """`web.world.Log`."""

    log: Log
    trace: FailureTrace

    def event(self, name: str, /, **facts: str | float | None) -> None:
        self.log.event(name, **facts)
        if facts.get("provider") and _went_wrong(name, facts):
            provider, reason, check, reference = (
                str(clean(facts.get(key)) or "") for key in ("provider", "reason", "check", "reference")
            )
            self.trace.note(ProviderId(provider), step=name, reason=reason, detail=check, reference=reference)

    def fault(self, name: str, error: BaseException, /, **facts: str | float | None) -> None:
        self.log.fault(name, error, **facts)

    def access(self, route: str, method: str, status: int, seconds: float, reference: str = "") -> None:
        self.log.access(route, method, status, seconds, reference)


def _went_wrong(name: str, facts: Mapping[str, str | float | None]) -> bool:
    match name:
        case "provider_state":
            return facts.get("reason") != "ok"
        case "provider_tried":
            return facts.get("outcome") == "failed"
        case _:
            return name in {SHOWN, ADDRESS, POSTING}

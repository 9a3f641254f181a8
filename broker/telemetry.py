"""Logs and metrics: ids and codes, never people (structlog and prometheus_client live here).

A log line is one JSON object on standard output, or in development one readable line. It can only hold keys of
`ALLOWED`: whatever else a caller hands over is dropped, and only the number of dropped keys is said. Values are short,
on one line, and without anything that could pass for an e-mail address or a token.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars

from broker.log_lines import ALLOWED, LEVELS, Fact, as_json, clean, escape, faults, frames, readable, redact

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from broker.settings import Settings


class Log:
    """Structured events: names, ids and codes."""

    def __init__(self, stream: BinaryIO, *, level: str = "info", console: bool = False) -> None:
        self._logger = structlog.wrap_logger(
            structlog.BytesLogger(stream),
            processors=[
                merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                redact,
                readable if console else as_json,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            cache_logger_on_first_use=True,
        )

    def event(self, name: str, /, **facts: Fact) -> None:
        """Something happened, as it should."""
        self._logger.info(name, **facts)

    def warn(self, name: str, /, **facts: Fact) -> None:
        """Something an admin should look at."""
        self._logger.warning(name, **facts)

    def fault(self, name: str, error: BaseException, /, **facts: Fact) -> None:
        """Something broke: the classes and places of the exception, not what it says."""
        self._logger.error(name, where=frames(error), **faults(error, facts))

    def access(self, route: str, method: str, status: int, seconds: float, reference: str = "") -> None:
        """One request: the template of its route, never its path or query."""
        facts: dict[str, Fact] = {"route": route, "method": method, "status": status, "ms": round(seconds * 1000, 1)}
        if reference:
            facts["reference"] = reference
        self._logger.info("request", **facts)

    @staticmethod
    def bind(**facts: Fact) -> None:
        """Put `reference`, `route`, `client` or `provider` on every line of this request."""
        bind_contextvars(**facts)

    @staticmethod
    def clear() -> None:
        """Forget what was bound: the next request starts without."""
        clear_contextvars()


class LibraryHandler(logging.Handler):
    """Passes on what libraries log: the sentence without what they filled into it, which could be anything.

    A sentence that came without values may have been filled in before, as asyncio does with callbacks and what they were
    called with: of such a line only where it was written is said.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        said: dict[str, Fact] = {"library": record.name, "file": record.filename, "line": record.lineno}
        if record.args and isinstance(record.msg, str):
            said["message"] = record.msg
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._log.fault("library", error, **said)
        else:
            self._log.warn("library", **said)


class NoMetrics:
    """Counts nothing: nobody asked for a metrics page."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None: ...
    def sign_in(self, provider: str, step: str, outcome: str) -> None: ...
    def token_issued(self, grant_type: str) -> None: ...
    def egress(self, host: str, outcome: str, seconds: float) -> None: ...
    def logout_token(self, site: str, outcome: str) -> None: ...


_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_GRANTS: Final = frozenset({"authorization_code", "refresh_token"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counters without people in them. Labels come from short lists only: a stranger cannot make new ones."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry`: where to count; `None` for the process's own, which is the shared one of several workers."""
        import prometheus_client as prometheus

        where = registry or prometheus.REGISTRY
        counter, histogram = prometheus.Counter, prometheus.Histogram
        self._requests: Counter = counter(
            "doorward_http_requests", "Requests answered.", ("route", "method", "status"), registry=where
        )
        self._seconds: Histogram = histogram(
            "doorward_http_request_seconds", "Time to answer.", ("route",), registry=where, buckets=_BUCKETS
        )
        self._sign_ins: Counter = counter(
            "doorward_sign_in_attempts", "Steps of sign-ins.", ("provider", "step", "outcome"), registry=where
        )
        self._tokens: Counter = counter("doorward_tokens_issued", "Token answers.", ("grant_type",), registry=where)
        self._egress: Counter = counter(
            "doorward_egress_requests", "Requests to others.", ("host", "outcome"), registry=where
        )
        self._egress_seconds: Histogram = histogram(
            "doorward_egress_request_seconds", "Time others took.", ("host",), registry=where, buckets=_BUCKETS
        )
        self._logout_tokens: Counter = counter(
            "doorward_logout_tokens",
            "Tries to tell a site that a session is over.",
            ("site", "outcome"),
            registry=where,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request answered; `route` is its name in the table."""
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def sign_in(self, provider: str, step: str, outcome: str) -> None:
        """One step of a sign-in: `begin`, `callback`, …; `ok` or an error's code."""
        self._sign_ins.labels(provider, step, outcome).inc()

    def token_issued(self, grant_type: str) -> None:
        """One token answer."""
        self._tokens.labels(grant_type if grant_type in _GRANTS else "other").inc()

    def egress(self, host: str, outcome: str, seconds: float) -> None:
        """One request to somebody else; hosts come from settings."""
        self._egress.labels(host, outcome).inc()
        self._egress_seconds.labels(host).observe(seconds)

    def logout_token(self, site: str, outcome: str) -> None:
        """One try to tell a site: `delivered`, `delayed` or `given_up`; sites come from settings."""
        self._logout_tokens.labels(site, outcome).inc()


AnyMetrics = Metrics | NoMetrics


__all__ = [
    "ALLOWED", "AnyMetrics", "Fact", "LibraryHandler", "Log", "Metrics", "NoMetrics", "Telemetry", "clean", "escape",
    "forget_worker", "frames", "redact", "serve_metrics",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What the application counts with and writes to."""

    log: Log
    metrics: AnyMetrics

    @classmethod
    def for_settings(cls, settings: Settings, stream: BinaryIO | None = None) -> Telemetry:
        """Logs to standard output; counts only if the settings name a port to read the numbers at."""
        log = Log(
            stream or cast("BinaryIO", sys.stdout.buffer),
            level=settings.broker.log_level,
            console=settings.broker.console_log,
        )
        return cls(log=log, metrics=NoMetrics() if settings.broker.metrics_port is None else _process_metrics())

    def capture_libraries(self) -> None:
        """From now on what uvicorn, asyncio and others log goes through our rules, and nowhere else."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(LibraryHandler(self.log))
        root.setLevel(logging.WARNING)


_made: list[Metrics] = []


def _process_metrics() -> Metrics:
    """The counters of this process: they can be registered only once."""
    if not _made:
        _made.append(Metrics())
    return _made[0]


def serve_metrics(host: str, port: int, folder: Path) -> Callable[[], None]:
    """Serve the sum of all workers' numbers, which lie in `folder`, at `/metrics`. Returns what stops it.

    Raises `OSError` if the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    server, thread = start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return stop


def forget_worker(pid: int, folder: Path) -> None:
    """A worker is gone: what it counted stays, what it measured does not."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]

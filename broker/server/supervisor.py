"""The parent process: owns the listening socket and watches over the workers.

One thread, no event loop: it sleeps until a signal, a word from a worker or the end of a worker wakes it, so it costs
nothing while nothing happens and can fork safely. SIGTERM and SIGINT stop it gracefully, SIGHUP reads the configuration
again (decision 32): everything is checked first, then one worker after another is replaced; on any error the old ones
stay. A worker that dies is replaced, ever more slowly while that keeps failing.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.errors import ConfigurationError
from broker.server.systemd import notify, reloading

if TYPE_CHECKING:
    from broker.log_lines import Journal
    from broker.settings import Settings

READY_WITHIN: Final = 30.0
"""Seconds that a new worker gets to become ready while the configuration is read again."""
LISTENING_WITHIN: Final = 60.0
"""Seconds that a worker gets to listen when the server starts."""
GIVE_UP_AFTER: Final = 6
"""Deaths in a row, none of them after a worker was ready, until the server stops trying."""
PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a dead worker is replaced, by deaths in a row."""
BACKLOG: Final = 2048
EXTRA_TO_STOP: Final = 5.0
"""Seconds beyond `stop_seconds` until a worker that does not stop is killed."""

Read = Callable[[], "Settings"]


class CannotServe(Exception):
    """The server cannot start. `reasons`: sentences that say why and what to do."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(slots=True, eq=False)
class Child:
    """One worker process, or the one that serves the metrics."""

    pid: int
    settings: Settings
    pipe: int
    is_metrics: bool = False
    heard: bytes = b""
    state: str = "starting"
    reasons: tuple[str, ...] = ()
    stopping: bool = False
    started_at: float = field(default_factory=time.monotonic)
    exit_code: int | None = None


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises `CannotServe` with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        listener.close()
        raise CannotServe(_why_not(host, port, error)) from None
    listener.setblocking(False)
    return listener


def _why_not(host: str, port: int, error: OSError | UnicodeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    names = {98: "taken", 48: "taken", 13: "forbidden", 1: "forbidden"}
    kind = names.get(number or 0)
    if kind == "taken":
        return f"Port {port} on {host} is taken by another program. Stop that one, or choose another port: --port {port + 1}."
    if kind == "forbidden":
        return (
            f"Port {port} needs rights this account has not got. Choose one above 1023 and let a proxy stand in front."
        )
    words = error.strerror if isinstance(error, OSError) and error.strerror else "it is no address of this machine"
    return f"Cannot listen on {host} port {port}: {words}. Set host to an address of this machine, such as 127.0.0.1."


class Supervisor:
    """`read` gives checked settings or raises `ConfigurationError`; it is called again at each SIGHUP."""

    def __init__(self, settings: Settings, read: Read, log: Journal) -> None:
        self._settings, self._read, self._log = settings, read, log
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        self._deaths = 0
        self._next_start = self._next_metrics = 0.0
        self._last_reasons: tuple[str, ...] = ()
        self._reload_wanted = False
        self._stops_asked = 0
        self._metrics_folder: Path | None = None
        self._listener: socket.socket

    # --- the whole life ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop; the exit code. Raises `CannotServe` if it never got that far."""
        broker = self._settings.broker
        self._listener = listen(broker.host, broker.port)
        self._listen_to_signals()
        try:
            self._begin()
            self._log.event("server_started", port=broker.port, workers=broker.workers, pid=os.getpid())
            notify("READY=1", f"MAINPID={os.getpid()}")
            while not self._stops_asked:
                self._pump(self._pause())
                self._mend()
                if self._reload_wanted and not self._stops_asked:
                    self._reload()
            notify("STOPPING=1")
            self._log.event("server_stopping", pid=os.getpid())
            return 0
        finally:
            self._end()
            self._log.event("server_stopped", pid=os.getpid())

    def _begin(self) -> None:
        broker = self._settings.broker
        if broker.metrics_port is not None:
            listen(broker.metrics_host, broker.metrics_port).close()  # whether it is free, said in words
            self._start_metrics(self._settings)
        first = [self._start_worker(self._settings, patient=True) for _ in range(self._settings.broker.workers)]
        self._wait(
            lambda: all(child.state != "starting" or child.exit_code is not None for child in first), LISTENING_WITHIN
        )
        for child in first:
            if child.state == "failed":
                raise CannotServe(*child.reasons)
        if self._stops_asked or any(child.exit_code is None and child.state != "starting" for child in first):
            return  # whoever is missing is started again, as at any other time
        ended = next((child.exit_code for child in first if child.exit_code is not None), None)
        if ended is not None:
            raise CannotServe(f"The server processes ended with {ended} while starting; the log says more.")
        raise CannotServe(f"No server process started within {LISTENING_WITHIN:.0f} seconds.")

    def _end(self) -> None:
        """Stop everybody: no new connections from now on, running requests get their time."""
        self._listener.close()
        for child in self._children.values():
            self._stop(child)
        broker = self._settings.broker
        patience = broker.stop_seconds + broker.drain_seconds + EXTRA_TO_STOP
        asked = self._stops_asked
        self._wait(lambda: not self._children or self._stops_asked > max(asked, 1), patience)
        for child in self._children.values():
            self._signal(child, signal.SIGKILL)
        self._wait(lambda: not self._children, EXTRA_TO_STOP)
        if self._metrics_folder is not None:
            shutil.rmtree(self._metrics_folder, ignore_errors=True)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for fd in (self._lifeline_read, self._lifeline_write, self._wake_read, self._wake_write):
            os.close(fd)

    # --- waiting ----------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._heard_signal)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def _heard_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        elif number != signal.SIGCHLD:
            self._stops_asked += 1

    def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true in time. Ends early when somebody wants the server to stop, unless it is stopping."""
        end = time.monotonic() + seconds
        asked = self._stops_asked
        while not done():
            left = end - time.monotonic()
            if left <= 0 or (self._stops_asked and not asked):
                return done()
            self._pump(min(left, 1.0))
        return True

    def _pump(self, seconds: float) -> None:
        """Sleep until something happens; take in what it was."""
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if key.data is None:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._listen_to(key.data)
        self._reap()

    def _listen_to(self, child: Child) -> None:
        said = b""
        with suppress(OSError):
            said = os.read(child.pipe, 65536)
        if not said:
            self._selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1
            return
        *lines, child.heard = (child.heard + said).split(b"\n")
        for line in lines:
            words = json.loads(line)
            child.state = words["state"]
            child.reasons = tuple(words.get("reasons", ()))
            if child.state == "ready":
                self._deaths = 0
                self._log.event("worker_ready", worker=child.pid)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        while child.pipe >= 0:
            self._listen_to(child)
        child.exit_code = code
        if self._metrics_folder is not None and not child.is_metrics:
            from broker.telemetry import forget_worker

            forget_worker(child.pid, self._metrics_folder)
        if child.stopping:
            return
        if child.is_metrics:
            self._next_metrics = time.monotonic() + PAUSES[-1]
            self._log.warn("metrics_died", worker=child.pid, exit_code=code, seconds=PAUSES[-1])
            return
        self._deaths = 1 if child.state == "ready" else self._deaths + 1
        self._last_reasons = child.reasons or self._last_reasons
        pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
        self._next_start = max(self._next_start, time.monotonic() + pause)
        self._log.warn("worker_died", worker=child.pid, exit_code=code, count=self._deaths, seconds=pause)

    # --- keeping the number -----------------------------------------------------------------------------

    @property
    def _workers(self) -> list[Child]:
        return [child for child in self._children.values() if not child.is_metrics and not child.stopping]

    def _missing(self) -> int:
        return self._settings.broker.workers - len(self._workers)

    def _metrics_missing(self) -> bool:
        wanted = self._settings.broker.metrics_port is not None
        return wanted and not any(child.is_metrics and not child.stopping for child in self._children.values())

    def _pause(self) -> float:
        """Seconds to sleep if nothing happens."""
        due = [self._next_start] if self._missing() > 0 else []
        due += [self._next_metrics] if self._metrics_missing() else []
        return min(due) - time.monotonic() if due else 3600.0

    def _mend(self) -> None:
        """Start what is missing, once its pause is over."""
        if self._stops_asked:
            return
        now = time.monotonic()
        if self._metrics_missing() and now >= self._next_metrics:
            self._next_metrics = now + PAUSES[-1]
            self._try(lambda: self._start_metrics(self._settings))
        if self._missing() <= 0 or now < self._next_start:
            return
        if self._deaths >= GIVE_UP_AFTER and not any(child.state == "ready" for child in self._workers):
            why = self._last_reasons or ("The lines above say why; `doorward check` may know more.",)
            raise CannotServe(f"The server processes died {self._deaths} times in a row, so this makes no sense.", *why)
        self._next_start = now + PAUSES[1]
        for _ in range(self._missing()):
            self._try(lambda: self._start_worker(self._settings, patient=True))

    def _try(self, start: Callable[[], object]) -> None:
        """Start a process. A system that has none to give has one later."""
        try:
            start()
        except CannotServe as error:
            self._log.warn("worker_not_started", message=str(error))

    # --- reading the configuration again ----------------------------------------------------------------

    def _reload(self) -> None:
        """Check everything, then replace one worker after another. On any error the old ones stay."""
        self._reload_wanted = False
        notify(*reloading())
        self._log.event("reload_begun", pid=os.getpid())
        try:
            settings = self._read()
            listener = self._listener_for(settings)
        except ConfigurationError as error:
            for problem in error.problems:
                if problem.severity == "error":
                    self._refused(f"{problem.what} {problem.fix}", problem.file, problem.line, problem.key)
        except CannotServe as error:
            for reason in error.reasons:
                self._refused(reason)
        except Exception as error:  # a configuration must not be able to end a server that works
            self._log.fault("reload_refused", error)
        else:
            self._take_over(settings, listener)
        notify("READY=1")

    def _refused(self, message: str, file: str = "", line: int = 0, key: str = "") -> None:
        """Say why nothing changed. Files by their name in the configuration folder: long paths are withheld from logs."""
        here = f"{self._settings.folder}/"
        self._log.warn(
            "reload_refused", message=message.replace(here, ""), file=file.replace(here, ""), line=line, key=key
        )

    def _listener_for(self, settings: Settings) -> socket.socket:
        old, new = self._settings.broker, settings.broker
        return self._listener if (old.host, old.port) == (new.host, new.port) else listen(new.host, new.port)

    def _take_over(self, settings: Settings, listener: socket.socket) -> None:
        before, old_listener = self._settings, self._listener
        self._listener = listener
        try:
            self._replace_all(settings)
        except CannotServe as error:
            self._listener = old_listener
            if listener is not old_listener:
                listener.close()
            for reason in error.reasons:
                self._refused(reason)
            for child in [child for child in self._workers if child.settings is settings]:
                self._stop(child)  # `_mend` starts others as before
            return
        self._settings = settings
        if listener is not old_listener:
            old_listener.close()
        if (before.broker.metrics_host, before.broker.metrics_port) != (
            settings.broker.metrics_host,
            settings.broker.metrics_port,
        ):
            self._replace_metrics()
        self._log.event("reloaded", workers=settings.broker.workers)

    def _replace_all(self, settings: Settings) -> None:
        """A new worker first, then an old one less. Raises `CannotServe` if a new one does not become ready."""
        old = self._workers
        for number in range(max(settings.broker.workers, len(old))):
            if number < settings.broker.workers:
                self._must_become_ready(self._start_worker(settings, patient=False))
            if number < len(old):
                self._stop(old[number])
                patience = (
                    old[number].settings.broker.stop_seconds + old[number].settings.broker.drain_seconds + EXTRA_TO_STOP
                )
                if not self._wait(lambda gone=old[number]: gone.exit_code is not None, patience):  # type: ignore[misc]
                    self._signal(old[number], signal.SIGKILL)

    def _must_become_ready(self, child: Child) -> None:
        child.stopping = True  # its end is expected until it has shown that it works
        self._wait(lambda: child.state in {"ready", "failed"} or child.exit_code is not None, READY_WITHIN)
        if child.state == "ready" and child.exit_code is None:
            child.stopping = False
            return
        self._signal(child, signal.SIGKILL)
        self._wait(lambda: child.exit_code is not None, EXTRA_TO_STOP)
        raise CannotServe(*(child.reasons or ("A server process with the new configuration did not become ready.",)))

    # --- processes --------------------------------------------------------------------------------------

    def _start_worker(self, settings: Settings, *, patient: bool) -> Child:
        from_child, to_parent = os.pipe()
        listener, lifeline = self._listener, self._lifeline_read

        def work() -> int:
            from broker.server.worker import Assignment, run

            return run(
                Assignment(settings=settings, listener=listener, report=to_parent, lifeline=lifeline, patient=patient)
            )

        return self._fork(work, settings, from_child, to_parent)

    def _start_metrics(self, settings: Settings) -> None:
        if self._metrics_folder is None:
            self._metrics_folder = Path(tempfile.mkdtemp(prefix="doorward-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._metrics_folder)  # read when a worker first counts
        folder, lifeline = self._metrics_folder, self._lifeline_read
        from_child, to_parent = os.pipe()

        def work() -> int:
            from broker.server.metrics import serve

            return serve(settings.broker.metrics_host, settings.broker.metrics_port or 0, folder, lifeline)

        self._fork(work, settings, from_child, to_parent, is_metrics=True)

    def _replace_metrics(self) -> None:
        for child in self._children.values():
            if child.is_metrics:
                self._stop(child)
        if self._settings.broker.metrics_port is not None:
            self._start_metrics(self._settings)

    def _fork(
        self, work: Callable[[], int], settings: Settings, from_child: int, to_parent: int, *, is_metrics: bool = False
    ) -> Child:
        try:
            pid = os.fork()
        except OSError as error:
            os.close(from_child)
            os.close(to_parent)
            raise CannotServe(f"The system gives no further process ({error.strerror}). Raise its limit.") from None
        if not pid:
            code = 1
            try:
                self._become_child(from_child)
                code = work()
            except BaseException as error:  # nothing of the parent's may run in the child
                self._log.fault("worker_broke", error)
            finally:
                os._exit(code)
        os.close(to_parent)
        child = Child(pid=pid, settings=settings, pipe=from_child, is_metrics=is_metrics)
        self._children[pid] = child
        self._selector.register(from_child, selectors.EVENT_READ, child)
        return child

    def _become_child(self, from_child: int) -> None:
        """Let go of everything that is the parent's: its signals, its pipes, its end of the lifeline."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends these to everybody; the parent decides
            signal.signal(number, signal.SIG_IGN)
        self._selector.close()
        others = [child.pipe for child in self._children.values() if child.pipe >= 0]
        for fd in (from_child, self._lifeline_write, self._wake_read, self._wake_write, *others):
            os.close(fd)

    def _stop(self, child: Child) -> None:
        child.stopping = True
        self._signal(child, signal.SIGTERM)

    @staticmethod
    def _signal(child: Child, number: signal.Signals) -> None:
        if child.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

"""Inside one worker process: the application under uvicorn, until the parent says stop or is gone.

The worker tells its parent three things through a pipe, a JSON object a line: that it listens, that it is ready (its
stores answer), or why it cannot work.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
import uvloop

from broker.app import create_app
from broker.chance import SystemEntropy
from broker.errors import ConfigurationError, StoreUnavailable
from broker.server.admission import Admission
from broker.server.wire import OneWriteProtocol
from broker.settings import Settings
from broker.stores import NewerSchema, WrongMasterKey
from broker.telemetry import Telemetry

CANNOT_WORK: Final = 3
"""Exit code of a worker that has said why it cannot work."""
TRY_AGAIN_EVERY: Final = 1.0
"""Seconds between two tries to reach stores that are away."""
FIRST_TRY: Final = 10.0
"""Seconds until a patient worker listens although its stores have not answered yet."""
FIRST_WORDS: Final = 2.0
"""Seconds that a new connection gets to say what it wants when the worker stops."""
KEEP_ALIVE: Final = 75
"""Seconds that a quiet connection is kept: longer than a proxy keeps its own, so that it never writes into a closed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What the parent hands to a worker."""

    settings: Settings
    listener: socket.socket
    report: int
    """The pipe to tell the parent."""
    lifeline: int
    """A pipe that ends when the parent is gone."""
    patient: bool
    """Serve 503 while stores are away, and go on trying; otherwise that is a reason to give up."""

    def tell(self, **words: object) -> None:
        """One line to the parent; a parent that is gone hears nothing."""
        with suppress(OSError):
            os.write(self.report, json.dumps(words).encode() + b"\n")


def run(assignment: Assignment) -> int:
    """The exit code, once everything has stopped."""
    telemetry = Telemetry.for_settings(assignment.settings)
    telemetry.capture_libraries()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Worker(assignment, telemetry).run())


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, and saying when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more, but answer whoever was let in already and is still speaking; uvicorn would cut them off."""
        for server in self.servers:
            server.close()
        for _ in range(int(FIRST_WORDS / 0.05)):
            await asyncio.sleep(0.05)
            if all(getattr(connection, "cycle", None) for connection in self.server_state.connections):
                break
        await super().shutdown(sockets)


class _Worker:
    def __init__(self, assignment: Assignment, telemetry: Telemetry) -> None:
        settings = assignment.settings.broker
        self._assignment, self._telemetry = assignment, telemetry
        self._application = Lifespan(create_app(assignment.settings, telemetry, warm=True))
        self._admission = Admission(
            self._application.app,
            limit=settings.limits.connections,
            reference=SystemEntropy().reference,
            log=telemetry.log,
        )
        self._server = _Server(
            uvicorn.Config(
                self._admission,
                lifespan="off",
                ws="none",
                http=OneWriteProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=settings.stop_seconds,
            )
        )
        self._tried = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._begin_to_stop)
        loop.add_reader(self._assignment.lifeline, self._parent_is_gone)
        tasks = [asyncio.create_task(work) for work in (self._open(), self._tell_how_it_goes())]
        await self._tried.wait()
        if self._server.should_exit:
            return self._code
        await self._server.serve(sockets=[self._assignment.listener])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._application.close()
        return self._code

    async def _tell_how_it_goes(self) -> None:
        await self._server.listens.wait()
        self._assignment.tell(state="listening")
        await self._admission.opened.wait()
        self._assignment.tell(state="ready")

    async def _open(self) -> None:
        """Open the application; while stores are away, again and again."""
        asyncio.get_running_loop().call_later(FIRST_TRY, self._tried_or_give_up)
        while not self._admission.opened.is_set() and not self._server.should_exit:
            await self._try_to_open()
            self._tried.set()
            if not self._admission.opened.is_set():
                await asyncio.sleep(TRY_AGAIN_EVERY)

    def _tried_or_give_up(self) -> None:
        """A store that does not even say no: whoever is patient serves 503 meanwhile."""
        if self._assignment.patient:
            self._tried.set()

    async def _try_to_open(self) -> None:
        try:
            await self._application.open()
        except StoreUnavailable as error:
            if not self._assignment.patient:
                self._give_up(f"A store does not answer ({error.detail}).")
            elif not self._tried.is_set():
                self._telemetry.log.fault("store_away", error)
        except Exception as error:
            self._telemetry.log.fault("cannot_open", error)
            self._give_up(*_reasons(error))
        else:
            self._admission.opened.set()
            # What is loaded by now stays for good: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()

    def _give_up(self, *reasons: str) -> None:
        self._assignment.tell(state="failed", reasons=reasons)
        self._code = CANNOT_WORK
        self._server.should_exit = True

    def _begin_to_stop(self) -> None:
        """First say on /readyz that others should be asked, then stop listening, then finish what runs."""
        self._admission.stopping = True
        drain = self._assignment.settings.broker.drain_seconds
        asyncio.get_running_loop().call_later(drain, self._stop)

    def _stop(self) -> None:
        self._server.should_exit = True

    def _parent_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._assignment.lifeline)
        self._begin_to_stop()


_WRONG_KEY: Final = (
    "The master key is not the one this database was set up with. Put the right key back; "
    "without it nothing in the database can be read."
)


def _reasons(error: Exception) -> tuple[str, ...]:
    """What the operator reads: sentences that hold no secret."""
    if isinstance(error, ConfigurationError):
        return tuple(str(problem) for problem in error.problems)
    if isinstance(error, NewerSchema):
        return (str(error),)
    if isinstance(error, WrongMasterKey):
        return (_WRONG_KEY,)
    if isinstance(error, NewerSchema):
        return (str(error),)
    if isinstance(error, ValueError):
        return (f"What the database holds cannot be used ({error}). Restore it from a backup.",)
    return (f"Something broke while starting ({type(error).__name__}); the log has the places.",)


@dataclass(slots=True)
class Lifespan:
    """Drives an ASGI application's lifespan by hand, so that opening can be tried again and failures keep their class."""

    app: Any
    _ends: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the application. Raises what it raised; then it can be tried again."""
        started, self._ends = asyncio.Event(), asyncio.Event()
        begun = False

        async def receive() -> dict[str, str]:
            nonlocal begun
            if not begun:
                begun = True
                return {"type": "lifespan.startup"}
            await self._ends.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()

        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        task = asyncio.create_task(self.app(scope, receive, send))
        waiting = asyncio.create_task(started.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done():
            await task  # raises what went wrong
            msg = "the application ended its lifespan by itself"
            raise RuntimeError(msg)
        self._task = task

    async def close(self) -> None:
        """Stop the application, if it was started."""
        if self._task is not None:
            self._ends.set()
            task, self._task = self._task, None
            await task

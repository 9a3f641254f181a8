"""Several server processes: they share what counts, and the loss of one is nobody's problem."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
from pathlib import Path

from tests.serve.rig import Half, Start
from tests.support.servers import PostgresServer, free_port


def test_a_killed_worker_is_replaced_while_the_others_answer(start: Start) -> None:
    server = start(workers=2)
    before = server.children
    os.kill(before[0], signal.SIGKILL)
    assert [server.get("/.well-known/openid-configuration").status for _ in range(20)] == [200] * 20
    server.wait_for(lambda: len(server.children) == 2 and server.children != before, "a new worker")
    died = server.wait_for_log("worker_died")
    assert (died["worker"], died["exit_code"]) == (before[0], -9)
    assert server.stop() == 0


def test_a_killed_worker_takes_no_request_of_the_other_with_it(start: Start) -> None:
    server = start(workers=2)
    running = [Half(server.folder.port) for _ in range(12)]
    os.kill(server.children[0], signal.SIGKILL)
    ends = [half.finish()[0] for half in running]
    assert set(ends) <= {0, 400}
    assert server.token_request().status == 400


def test_the_only_worker_is_replaced_too(start: Start) -> None:
    server = start()
    old = server.children
    os.kill(old[0], signal.SIGKILL)
    server.wait_for(lambda: server.children not in ([], old), "a new worker")
    server.wait_until_ready()


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    """Nobody would ever stop them."""
    server = start(workers=2)
    workers = server.children
    server.process.kill()
    server.process.wait()
    server.wait_for(lambda: not any(_is_alive(pid) for pid in workers), "the end of the workers")
    assert server.status("/healthz") == 0


def test_workers_that_only_die_are_given_up(start: Start) -> None:
    server = start()
    database = sqlite3.connect(server.folder.path / "data" / "doorward.db")
    with database:
        database.execute("UPDATE data_keys SET wrapped = zeroblob(length(wrapped))")
    database.close()
    os.kill(server.children[0], signal.SIGKILL)
    assert server.wait() == 1
    assert "makes no sense" in server.log
    assert "The master key is not the one this database was set up with." in server.log
    pauses = [line["seconds"] for line in server.events("worker_died")]
    assert pauses == sorted(pauses)
    assert len(pauses) == 6


def test_a_limit_counts_over_all_workers(start: Start) -> None:
    """Another process is no way round a limit (catalogue 128)."""
    server = start(workers=3, limits="[limits]\nclient_failures_per_minute = 6\n")
    statuses = [server.wrong_secret().status for _ in range(12)]
    assert statuses.count(401) <= 6
    assert statuses[-1] == 429


def test_several_workers_write_to_one_sqlite_file(start: Start) -> None:
    """Decision 30: nobody is told that the database is busy."""
    server = start(workers=3, limits="[limits]\nclient_failures_per_minute = 9000\n")
    statuses: list[int] = []

    def hammer() -> None:
        statuses.extend(server.wrong_secret().status for _ in range(15))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [401] * 120


def test_all_workers_publish_the_same_keys(start: Start) -> None:
    server = start(workers=3)
    assert len({server.get("/jwks").body for _ in range(30)}) == 1


def test_two_servers_started_at_once_on_an_empty_database_work_on_the_same(
    start: Start, postgres_server: PostgresServer
) -> None:
    """One migrates while the other waits; both end up with one set of keys (catalogue 178)."""
    url = postgres_server.create()
    try:
        more = f'database_url = "{url}"'
        first = start(ready=False, more=more)
        port = free_port()
        second = start(ready=False, words=("--port", str(port)), more=more)
        second.folder = type(first.folder)(first.folder.path, port=port)
        first.wait_until_ready()
        second.wait_until_ready()
        assert first.get("/jwks").body == second.get("/jwks").body
        assert postgres_server.run("SELECT count(*) FROM alembic_version", url.rsplit("/", 1)[1]) == "1"
        assert postgres_server.run("SELECT count(*) FROM signing_keys", url.rsplit("/", 1)[1]) == "2"
        assert first.stop() == 0
        assert second.token_request().status == 400
        assert second.stop() == 0
    finally:
        postgres_server.drop(url)


def test_the_metrics_page_sums_over_all_workers(start: Start) -> None:
    """Prometheus asks one port, and hears of every process; nothing on it names a person (catalogue 152)."""
    port = free_port()
    server = start(workers=3, more=f"metrics_port = {port}")
    for _ in range(30):
        assert server.get("/jwks").status == 200
    assert server.get("/metrics").status == 404
    server.folder.port, public = port, server.folder.port
    page = server.get("/metrics").text
    server.folder.port = public
    counted = re.findall(r'doorward_http_requests_total\{method="GET",route="jwks",status="200"\} ([\d.]+)', page)
    assert [float(number) for number in counted] == [30.0]
    server.wait_for(lambda: len(server.children) == 4, "three workers and the metrics page")


def test_a_dead_metrics_page_comes_back_and_takes_nobody_with_it(start: Start) -> None:
    port = free_port()
    server = start(more=f"metrics_port = {port}")
    server.wait_for(lambda: len(server.children) == 2, "the metrics page")
    owner = next(pid for pid in server.children if _listens_on(pid, port))
    os.kill(owner, signal.SIGKILL)
    server.wait_for_log("metrics_died")
    assert server.get("/readyz").status == 200
    server.wait_for(lambda: any(_listens_on(pid, port) for pid in server.children), "the metrics page again")


def _is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _listens_on(pid: int, port: int) -> bool:
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    }
    try:
        return any(
            os.readlink(fd) in {f"socket:[{inode}]" for inode in inodes} for fd in Path(f"/proc/{pid}/fd").iterdir()
        )
    except OSError:
        return False

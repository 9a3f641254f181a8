"""Reading the configuration again while people are signed in: all checked first, one process after another, or nothing."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time

from tests.serve.rig import Answer, Half, Server, Start
from tests.support.servers import free_port


def brand(server: Server) -> str:
    page = server.get("/help").text
    return "First Brand" if "First Brand" in page else "Second Brand" if "Second Brand" in page else ""


def test_a_changed_configuration_is_taken_over_without_stopping(start: Start) -> None:
    server = start(workers=2)
    before = server.children
    assert brand(server) == "First Brand"
    server.folder.write(brand="Second Brand")
    server.reload()
    assert {brand(server) for _ in range(10)} == {"Second Brand"}
    assert len(server.children) == 2
    assert not set(before) & set(server.children)


def test_a_reload_is_one_line_at_its_start_and_one_at_its_end(start: Start) -> None:
    """Whoever sent the signal sees at once that it was heard, and later what came of it."""
    server = start()
    server.reload()
    server.folder.write(more='colour = "red"')
    server.hang_up()
    server.wait_for_log("reload_refused")
    counts = [len(server.events(name)) for name in ("reload_begun", "reloaded", "reload_refused")]
    assert counts == [2, 1, 1]
    order = [
        name for line in server.lines for name in ("reload_begun", "reloaded", "reload_refused") if f'"{name}"' in line
    ]
    assert order == ["reload_begun", "reloaded", "reload_begun", "reload_refused"]


def test_a_wrong_configuration_changes_nothing_and_is_named(start: Start) -> None:
    server = start(workers=2)
    before = server.children
    server.folder.write(brand="Second Brand", more='colour = "red"')
    server.hang_up()
    refused = server.wait_for_log("reload_refused")
    assert (refused["file"], refused["line"], refused["key"]) == ("doorward.toml", 12, "broker.colour")
    assert "is not a known option." in refused["message"]
    assert server.children == before
    assert brand(server) == "First Brand"
    server.folder.write(more="")
    server.reload()
    assert brand(server) == "Second Brand"


def test_what_only_a_provider_can_judge_is_judged_before_anything_changes(start: Start) -> None:
    server = start()
    before = server.children
    (server.folder.path / "providers.toml").write_text(
        '[facebook]\nkind = "facebook"\nclient_id = "no app id"\nclient_secret = { file = "idp.secret" }\n'
    )
    server.hang_up()
    refused = server.wait_for_log("reload_refused")
    assert (refused["file"], refused["line"], refused["key"]) == ("providers.toml", 3, "facebook.client_id")
    assert "is not an app id." in refused["message"]
    assert server.children == before


def test_a_configuration_that_is_gone_changes_nothing(start: Start) -> None:
    server = start()
    before = server.children
    (server.folder.path / "doorward.toml").rename(server.folder.path / "elsewhere")
    server.hang_up()
    assert "There is no doorward.toml" in server.wait_for_log("reload_refused")["message"]
    assert server.children == before
    assert server.get("/readyz").status == 200


def test_a_database_that_does_not_answer_keeps_the_old_workers(start: Start) -> None:
    server = start(workers=2)
    before = server.children
    server.folder.write(more=f'database_url = "postgresql://nobody:nothing@127.0.0.1:{free_port()}/nowhere"')
    server.hang_up()
    assert "A store does not answer" in server.wait_for_log("reload_refused")["message"]
    assert server.children == before
    assert server.token_request().status == 400


def test_a_corrupt_signing_key_at_reload_keeps_the_old_workers_and_says_so(start: Start) -> None:
    """(catalogue 167)"""
    server = start()
    before, published = server.children, server.get("/jwks").body
    database = sqlite3.connect(server.folder.path / "data" / "doorward.db")
    with database:
        database.execute("UPDATE signing_keys SET sealed = zeroblob(length(sealed))")
    database.close()
    server.hang_up()
    assert "signing keys cannot be opened" in server.wait_for_log("reload_refused")["message"]
    assert server.children == before
    assert server.get("/jwks").body == published


def test_no_request_is_lost_while_workers_are_replaced(start: Start) -> None:
    """(catalogue 179)"""
    server = start(workers=2)
    ended = threading.Event()
    answers: list[int] = []

    def ask() -> None:
        while not ended.is_set():
            answers.append(server.status("/jwks"))
            answers.append(server.token_request().status)
            time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for name in ("Second Brand", "First Brand"):
            server.folder.write(brand=name)
            server.reload()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 40
    assert set(answers) == {200, 400}


def test_a_running_request_ends_in_the_worker_that_began_it(start: Start) -> None:
    """(catalogue 179)"""
    server = start()
    running = Half(server.folder.port)
    server.folder.write(brand="Second Brand")
    done = len(server.events("reloaded"))
    server.hang_up()
    server.wait_for(lambda: brand(server) == "Second Brand", "the new worker")
    status, body = running.finish()
    assert status == 400
    assert b"invalid_grant" in body
    server.wait_for_log("reloaded", done + 1)


def test_the_number_of_workers_can_change(start: Start) -> None:
    server = start(workers=1)
    for number in (3, 2):
        server.folder.write(workers=number)
        server.reload()
        assert len(server.children) == number


def test_the_port_can_change(start: Start) -> None:
    server = start()
    old = server.folder.port
    server.folder.write(port=free_port())
    server.reload()
    assert server.get("/readyz").status == 200
    server.folder.port, new = old, server.folder.port
    assert server.status("/readyz") == 0
    server.folder.port = new


def test_a_taken_port_keeps_the_old_one(start: Start) -> None:
    server = start()
    old = server.folder.port
    with socket.create_server(("127.0.0.1", 0)) as other:
        server.folder.write(port=other.getsockname()[1], brand="Second Brand")
        server.hang_up()
        assert "is taken by another program" in server.wait_for_log("reload_refused")["message"]
    server.folder.port = old
    assert brand(server) == "First Brand"


def test_the_metrics_page_can_be_switched_on_and_off(start: Start) -> None:
    server = start()
    port = free_port()

    def is_there() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 5):
                return True
        except OSError:
            return False

    server.folder.write(more=f"metrics_port = {port}")
    server.reload()
    server.wait_for(is_there, "a metrics page")
    server.folder.write(more="")
    server.reload()
    server.wait_for(lambda: not is_there(), "the end of the metrics page")


def test_a_stop_in_the_middle_of_a_reload_stops(start: Start) -> None:
    server = start(workers=2)
    running = Half(server.folder.port)  # keeps one old worker from ending at once
    server.folder.write(brand="Second Brand")
    server.hang_up()
    server.wait_for(lambda: len(server.children) > 2, "a new worker")
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert running.finish()[0] in {0, 400}
    assert server.wait() == 0
    assert server.children == []


def test_people_stay_known_after_a_reload(start: Start) -> None:
    """Cookies and tokens are sealed under keys of the database, not of a process."""
    server = start()
    first = server.get("/jwks").body
    server.folder.write(brand="Second Brand")
    server.reload()
    assert server.get("/jwks").body == first
    os.kill(server.children[0], signal.SIGKILL)
    server.wait_for_log("worker_ready", 3)
    answer: Answer = server.get("/jwks")
    assert answer.body == first

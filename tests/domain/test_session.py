"""Sessions: how long they live, and what a fresh sign-in is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support import builders
from tests.support.builders import NOW

from broker.domain.session import (
    FRESH,
    TOUCH_EVERY,
    device_in_words,
    is_live,
    needs_fresh_sign_in,
    needs_touch,
    sid_for,
)
from broker.domain.values import AccountId, ClientId, Sid

SESSION = builders.session(AccountId("me"))
MOMENT = timedelta(microseconds=1)


def test_a_session_lives_until_its_first_end() -> None:
    assert is_live(SESSION, NOW)
    assert is_live(SESSION, SESSION.idle_expires_at - MOMENT)
    assert not is_live(SESSION, SESSION.idle_expires_at)
    busy = replace(SESSION, idle_expires_at=SESSION.expires_at + timedelta(days=1))
    assert is_live(busy, SESSION.expires_at - MOMENT)
    assert not is_live(busy, SESSION.expires_at)
    assert not is_live(replace(SESSION, ended_at=NOW - timedelta(days=1)), NOW)


def test_a_fresh_sign_in_is_five_minutes_old_at_most() -> None:
    """One constant, everywhere (decision 26; catalogue 122)."""
    assert timedelta(minutes=5) == FRESH
    assert not needs_fresh_sign_in(SESSION, SESSION.auth_time + FRESH)
    assert needs_fresh_sign_in(SESSION, SESSION.auth_time + FRESH + MOMENT)


def test_seen_is_written_every_few_minutes_at_most() -> None:
    assert not needs_touch(SESSION, SESSION.last_seen_at + TOUCH_EVERY - MOMENT)
    assert needs_touch(SESSION, SESSION.last_seen_at + TOUCH_EVERY)


def test_each_site_sees_another_session_id() -> None:
    """Sites cannot compare notes (decision 11)."""
    key = b"k" * 32
    seen = {sid_for(Sid(sid), ClientId(client), key) for sid in ("one", "two") for client in ("forum", "wiki")}
    assert len(seen) == 4
    assert sid_for(Sid("one"), ClientId("forum"), key) in seen
    assert sid_for(Sid("one"), ClientId("forum"), b"j" * 32) not in seen
    assert not [text for text in seen if "one" in text or "forum" in text]


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36 Edg/150.0",
         "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19.0 Safari/604.1",
         "Safari on iPhone"),
        ("Mozilla/5.0 (iPad; CPU OS 19_0 like Mac OS X) Safari/604.1", "Safari on iPad"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Chrome/150.0 Safari/537.36 OPR/110.0", "Opera on Mac"),
        ("Mozilla/5.0 (X11; CrOS x86_64) Chrome/150.0", "Chrome on ChromeOS"),
        ("Mozilla/5.0 HeadlessChrome/150.0", "Chrome"),
        ("curl/8.0", "A browser"),
        ("", "A browser"),
        ("<script>alert(1)</script> on Windows", "A browser on Windows"),
    ],
)  # fmt: skip
def test_a_device_is_named_in_our_own_words(user_agent: str, words: str) -> None:
    """Nothing of what a browser sends is shown (catalogue 131)."""
    assert device_in_words(user_agent) == words


def test_a_session_shows_neither_secret_nor_device() -> None:
    assert "Firefox" not in repr(SESSION)
    assert repr(SESSION.secret_digest) not in repr(SESSION)

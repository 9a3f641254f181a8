"""An answer carries what a site's page may watch, where the admin switched it on, and nothing where not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.flows.op import FORUM, Op

from broker.domain.browser_state import BrowserStates

STATES = BrowserStates(key=b"k" * 32)


@pytest.fixture
def op() -> Op:
    return Op()


async def test_every_answer_states_the_session_with_a_salt_of_its_own(op: Op) -> None:
    """(catalogue 103)"""
    ana = await op.person("ana")
    op.authorize = replace(op.authorize, states=STATES)
    stated = [
        (await op.share(ana)).params["session_state"],
        (await op.authorize.issue(await op.look(ana))).params["session_state"],
    ]
    assert stated[0] != stated[1]
    for one in stated:
        salt = one.partition(".")[2]
        assert one == STATES.for_site(FORUM, "https://forum.test/cb", ana.sid, salt)
    assert "session_state" not in op.authorize.deny((await op.look(ana)).request).params


async def test_nothing_is_stated_where_it_is_off(op: Op) -> None:
    ana = await op.person("ana")
    assert "session_state" not in (await op.share(ana)).params

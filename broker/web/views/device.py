"""The pages that let a device in."""

from __future__ import annotations

from broker.domain.client import Client
from broker.domain.device import read_user_code, spelled
from broker.flows.device import Outcome
from broker.web import pages
from broker.web.call import Call
from broker.web.views.common import site_card


def device_code(typed: str, *, problem: str = "") -> pages.DeviceCode:
    """The box; what was typed stands in it, spelled as the device spells it if it can be a code."""
    code = read_user_code(typed)
    return pages.DeviceCode(typed=spelled(code) if code is not None else typed[:100], problem=problem)


def device_question(call: Call, client: Client, typed: str) -> pages.DeviceQuestion:
    """Whose device it is, and its code once more to compare."""
    return pages.DeviceQuestion(user_code=spelled(read_user_code(typed) or ""), site=site_card(call, client))


def device_done(call: Call, client: Client | None, outcome: Outcome) -> pages.DeviceDone:
    """The end."""
    return pages.DeviceDone(outcome=outcome.value, site=site_card(call, client))

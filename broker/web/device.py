"""The pages where a person lets a device in: type its code, see whose it is, say yes, and hear what came of it."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from broker.domain.client import Client
from broker.domain.device import DeviceRequest
from broker.domain.values import ClientId
from broker.errors import BadRequest, FormInvalid
from broker.flows.device import USER_CODE, Outcome
from broker.web import views
from broker.web.again import MAX_TYPED, ask_again, shown_again
from broker.web.call import Call, see_other
from broker.web.forms import parse_pairs
from broker.web.steps import go_on, hold, new_transaction

RESULT: Final = "what came of a device"


async def enter(call: Call) -> Response:
    """Where the code is typed. A code in the address fills the box in and does nothing else (RFC 8628 §3.3.1, §5.4)."""
    form, problems = shown_again(call)
    typed = call.request.query_params.get(USER_CODE, "") if form is None else form.get(USER_CODE, "")
    return call.page(views.device_code(typed, problem=(problems or {}).get(USER_CODE, "")))


async def find(call: Call) -> Response:
    """The code: whose device is it?"""
    try:
        _, client = await _found(call)
    except FormInvalid as problem:
        return _typed_again(call, call.form.get(USER_CODE, ""), problem)
    return call.page(views.device_question(call, client, call.form[USER_CODE]))


async def decide(call: Call) -> Response:
    """Yes: an ordinary sign-in for that site begins. No: the device hears it, and nothing was shared."""
    try:
        device, client = await _found(call)
    except FormInvalid as problem:
        return _typed_again(call, "", problem)
    match call.form.get("decision"):
        case "no":
            return _result(call, device.client_id, await call.world.devices.refuse(device))
        case "yes":
            return await _sign_in(call, client, device)
        case _:
            raise BadRequest(detail="no decision")


async def answer(call: Call) -> Response:
    """The end of that sign-in: what it gave goes to the device, and this address leaves the browser's history."""
    params = dict(parse_pairs(call.request.url.query))
    client, outcome = await call.world.devices.answered(params)
    return _result(call, client, outcome)


async def done(call: Call) -> Response:
    """What came of it. Shown again as often as it is opened."""
    sealed = call.request.query_params.get("result", "")
    text = call.world.box.open_text(sealed, RESULT)
    if text is None:
        return see_other("/device")
    call.opened.append("result")
    name, outcome = json.loads(text)
    return call.page(views.device_done(call, call.world.clients.get(ClientId(name)), Outcome(outcome)))


def _typed_again(call: Call, typed: str, problem: FormInvalid) -> Response:
    """Back to the box."""
    back = ask_again(call, "/device", problem.fields, [(USER_CODE, typed[:MAX_TYPED])])
    return back or see_other("/device")  # never: a code is cut


async def _found(call: Call) -> tuple[DeviceRequest, Client]:
    """The device of the typed code, and its site. Raises `FormInvalid`, `TooManyAttempts`."""
    device = await call.world.devices.find(call.form.get(USER_CODE, ""), address=call.address)
    client = await call.world.clients.look(device.client_id)
    if client is None or not client.enabled or not client.device_grant:
        raise FormInvalid({USER_CODE: "unknown_device_code"})
    return device, client


async def _sign_in(call: Call, client: Client, device: DeviceRequest) -> Response:
    call.client = client
    return await go_on(call, await hold(call, new_transaction(call, request=call.world.devices.request(device))))


def _result(call: Call, client: ClientId | None, outcome: Outcome) -> Response:
    sealed = call.world.box.seal_text(json.dumps([client or "", outcome]), RESULT)
    return see_other(f"/device/done?{urlencode({'result': sealed})}")

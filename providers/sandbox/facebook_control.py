"""The control plane of the Facebook-like sandbox (protocols.md §6.6). Loopback only.

`GET /__emu__` shows everything; `POST /__emu__` takes a JSON object with any of these keys:

    next            persona of the next dialog without a cookie, once (null: nobody)
    persona         persona of every dialog from now on, over any cookie (null: nobody)
    clock           seconds the sandbox's clock runs ahead
    rotate_keys     true: sign with a new key and publish only that one
    deauthorize     persona: remove the app and POST the signed_request to the app's deauthorize address
    delete          persona: POST the signed_request to the app's deletion address and check the answer
    tamper          makes that signed_request wrong: one of facebook_tokens.TAMPERINGS
    signed_request  persona: only build the signed_request (with `tamper`) and return it
    app             which app deauthorize, delete and signed_request mean (default: the first)
    app_settings    {app id: {mode, is_for_business, require_proof, deauthorize_url, deletion_url, roles}}
    reset           true: forget grants, codes, tokens, presets, faults and log; switches to their defaults
    …               every switch of facebook_state.Switches

`deauthorize:<persona>` and `delete:<persona>` are taken as keys too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from providers.sandbox import web
from providers.sandbox.facebook_state import App, Sandbox, Switches
from providers.sandbox.facebook_tokens import TAMPERINGS, signed_request

_APP_SETTINGS = {
    "mode": str,
    "require_proof": bool,
    "deauthorize_url": str,
    "deletion_url": str,
    "roles": list,
    "is_for_business": bool,
}


async def control(request: Request) -> Response:
    """`GET` shows, `POST` changes. 400 with the reason when a key or value is not understood."""
    if not web.is_loopback(request):
        return web.control_refused()
    sandbox: Sandbox = request.app.state.sandbox
    if request.method == "GET":
        return JSONResponse(_shown(sandbox))
    try:
        orders = await web.json_object(request)
        result = await _obey(sandbox, orders)
    except (ValueError, KeyError, TypeError, OSError) as problem:
        return JSONResponse({"error": str(problem)}, status_code=400)
    return JSONResponse({"ok": True, **result, "switches": asdict(sandbox.switches)})


def _shown(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "apps": [
            {"id": app.id, "mode": app.mode, "redirect_uris": list(app.redirect_uris)} for app in sandbox.apps.values()
        ],
        "personas": {
            slug: {"note": p.note, "ids": {app: p.id_in(app) for app in sandbox.apps}}
            for slug, p in sandbox.people.items()
        },
        "next": sandbox.next_persona,
        "persona": sandbox.persona,
        "clock": sandbox.clock_offset,
        "switches": asdict(sandbox.switches),
        "grants": {f"{app}:{slug}": row for (app, slug), row in sandbox.grants.items()},
    }


async def _obey(sandbox: Sandbox, orders: dict[str, Any]) -> dict[str, Any]:
    orders = _unfold(orders)
    if orders.pop("reset", False):
        _reset(sandbox)
    for key, attribute in (("next", "next_persona"), ("persona", "persona")):
        if key in orders:
            setattr(sandbox, attribute, _slug(sandbox, orders.pop(key)))
    if "clock" in orders:
        sandbox.clock_offset = float(orders.pop("clock"))
    if orders.pop("rotate_keys", False):
        sandbox.rotate_keys()
    for app_id, settings in orders.pop("app_settings", {}).items():
        sandbox.apps[app_id] = _changed(sandbox.apps[app_id], settings)
    app = sandbox.apps[orders.pop("app", next(iter(sandbox.apps)))]
    tamper = orders.pop("tamper", None)
    if tamper is not None and tamper not in TAMPERINGS:
        raise ValueError(f"tamper is one of {', '.join(TAMPERINGS)}")
    acts = {name: orders.pop(name) for name in ("deauthorize", "delete", "signed_request") if name in orders}
    sandbox.switches.update(orders)
    result: dict[str, Any] = {}
    for name, slug in acts.items():
        result[name] = await _act(sandbox, app, name, slug, tamper)
    return result


def _unfold(orders: dict[str, Any]) -> dict[str, Any]:
    """`deauthorize:<slug>` → `deauthorize: <slug>`, as the specification writes it."""
    return {
        (key.split(":", 1)[0] if ":" in key else key): (key.split(":", 1)[1] if ":" in key else value)
        for key, value in orders.items()
    }


def _slug(sandbox: Sandbox, value: Any) -> str | None:
    if value is not None and value not in sandbox.people:
        raise ValueError(f"no persona {value!r}")
    return None if value is None else str(value)


def _reset(sandbox: Sandbox) -> None:
    for kept in (
        sandbox.grants,
        sandbox.codes,
        sandbox.tokens,
        sandbox.pending,
        sandbox.calls,
        sandbox.faults_shown,
    ):
        kept.clear()
    sandbox.switches = Switches()
    sandbox.next_persona = sandbox.persona = None
    sandbox.clock_offset = 0.0
    sandbox.log.clear()
    sandbox.keep()


def _changed(app: App, settings: dict[str, Any]) -> App:
    for name, value in settings.items():
        if name not in _APP_SETTINGS or not isinstance(value, _APP_SETTINGS[name]):
            raise ValueError(f"no app setting {name!r} with such a value")
    if "roles" in settings:
        settings = {**settings, "roles": frozenset(settings["roles"])}
    return replace(app, **settings)


async def _act(sandbox: Sandbox, app: App, name: str, slug: str, tamper: str | None) -> Any:
    person = sandbox.people[slug]
    text = signed_request(sandbox, app, person, tamper=tamper)
    if name == "signed_request":
        return text
    target = app.deauthorize_url if name == "deauthorize" else app.deletion_url
    if name == "deauthorize" and tamper is None:
        sandbox.remove_app(app.id, slug)
    if target is None:
        return {"sent": False, "reason": f"the app has no {name} address"}
    status, body = await asyncio.to_thread(_post, target, {"signed_request": text})
    answer: dict[str, Any] = {"sent": True, "status": status, "body": body[:5000]}
    if name == "delete":
        answer["valid"], answer["problems"] = _judge_deletion(status, body, urlsplit(target).scheme)
    return answer


def _judge_deletion(status: int, body: str, scheme: str) -> tuple[bool, list[str]]:
    """What Facebook wants of a deletion callback: 200, a JSON object, an https URL, an alphanumeric code."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    found = found if isinstance(found, dict) else {}
    problems = ["status is not 200"] if status != 200 else []
    url = str(found.get("url", ""))
    # On loopback without TLS the address may be http, as the callback itself was.
    if not url.startswith("https://") and not (scheme == "http" and url.startswith("http://")):
        problems.append("url is not an https address")
    if not re.fullmatch(r"[A-Za-z0-9]{1,200}", str(found.get("confirmation_code", ""))):
        problems.append("confirmation_code is not alphanumeric")
    return not problems, problems


def _post(url: str, fields: dict[str, str]) -> tuple[int, str]:
    """POST a form to an address on this machine, following nothing. ValueError for any other address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = {info[4][0] for info in socket.getaddrinfo(parts.hostname or "", port)}
    if parts.scheme not in {"http", "https"} or not all(ipaddress.ip_address(a).is_loopback for a in addresses):
        raise ValueError("the sandbox calls addresses on this machine only")
    # The peer is this machine with a throw-away certificate; the signed_request proves who speaks.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        _NoRedirect, urllib.request.HTTPSHandler(context=trusting), urllib.request.ProxyHandler({})
    )
    call = urllib.request.Request(url, data=urlencode(fields).encode(), method="POST")
    try:
        with opener.open(call, timeout=10) as answer:
            return answer.status, answer.read(100_000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(100_000).decode("utf-8", "replace")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""
        return

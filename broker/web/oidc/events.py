"""Security events for sites that fetch them (RFC 8936)."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from broker.errors import InvalidRequest, UnauthorizedClient
from broker.flows.events import MOST_AT_ONCE
from broker.web.call import Call, answer_json
from broker.web.oidc.streams import receiver, said

MOST_NAMED: Final = 1000
"""Events that one request may say it has."""
LONGEST: Final = 200


async def poll(call: Call) -> Response:
    """What a site has not had yet, and what it says it had (RFC 8936 §2.4, §2.5). Answered at once, always."""
    client = await receiver(call)
    if not client.security_events or client.security_events_uri is not None:
        raise UnauthorizedClient(detail="site fetches no security events")
    asked = await _asked(call)
    sets, more = await call.world.polls.poll(client, got=_got(asked), refused=_refused(asked), most=_most(asked))
    return answer_json({"sets": sets, "moreAvailable": more})


async def _asked(call: Call) -> dict[str, Any]:
    asked = await said(call)
    if not isinstance(asked.get("returnImmediately", True), bool):
        raise InvalidRequest(detail="returnImmediately is neither true nor false")
    return asked


def _most(asked: dict[str, Any]) -> int:
    most = asked.get("maxEvents", MOST_AT_ONCE)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise InvalidRequest(detail="maxEvents is no number")
    return most


def _got(asked: dict[str, Any]) -> list[str]:
    names = asked.get("ack", [])
    if not isinstance(names, list) or len(names) > MOST_NAMED or not all(_is_name(name) for name in names):
        raise InvalidRequest(detail="ack is no list of names")
    return names


def _refused(asked: dict[str, Any]) -> dict[str, str]:
    """By name, the code of what was wrong (RFC 8936 §2.6)."""
    errors = asked.get("setErrs", {})
    if not isinstance(errors, dict) or len(errors) > MOST_NAMED:
        raise InvalidRequest(detail="setErrs is no object")
    found = {name: said.get("err") if isinstance(said, dict) else None for name, said in errors.items()}
    if not all(_is_name(name) and _is_name(error) for name, error in found.items()):
        raise InvalidRequest(detail="setErrs has an entry without err")
    return {name: str(error) for name, error in found.items()}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isascii() and value.isprintable()

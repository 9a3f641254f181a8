"""What providers tell us by themselves: that a person took us out of their account there, or wants everything deleted.

Both are answered to the provider's server, without a browser: nobody is signed in there, and the provider's signature is
the only proof. And the page on which a person follows what becomes of a deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.responses import Response

from broker.domain.checks.token import read_params
from broker.domain.provider import FramesLogout, TellsOfLogout
from broker.domain.removal import RemovalKind, SendsNotices, TellsOfRemoval
from broker.domain.values import ProviderId
from broker.errors import BadRequest, InvalidRequest, NotFound, TooLarge, TooManyAttempts, UpstreamInvalid
from broker.web import views
from broker.web.call import Call, answer_json
from broker.web.forms import parse_pairs, read_body
from broker.web.guards import read_protocol_form

MAX_NOTICE: Final = 16 * 1024
"""Bytes; real ones have one."""
FRAMES_PER_MINUTE: Final = 60
_SIGNED_OUT: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signed out</title></head></html>'
)
"""In a frame that nobody sees."""


async def deauthorize(call: Call) -> Response:
    """The person took us out (developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow, "Deauthorize callback")."""
    await _take(call, RemovalKind.APP_REMOVED)
    return answer_json({})


async def deletion(call: Call) -> Response:
    """The person wants what we keep deleted: where that can be followed, and its code.

    Source: developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback.
    """
    code = await _take(call, RemovalKind.DELETION)
    url = f"{call.world.settings.broker.public_url}/removal/{code}"
    return answer_json({"url": url, "confirmation_code": code})


async def notice(call: Call) -> Response:
    """The person took us out, or has no account there any more (developer.apple.com/documentation/signinwithapple,
    "Processing changes for Sign in with Apple accounts"). A notice about anything else is taken and does nothing."""
    id_, provider = _caller(call)
    if not isinstance(provider, SendsNotices):
        raise NotFound(detail="no provider that sends notices")
    with _refusing(call, id_):
        text = (await read_body(call.request, MAX_NOTICE)).decode("utf-8", "replace")
        said = await provider.read_notice(text)
    if said is not None:
        await call.world.removals.take(id_, RemovalKind.APP_REMOVED, said)
        call.world.log.event("provider_removal", provider=id_, reason=RemovalKind.APP_REMOVED.value)
    return answer_json({})


async def logout(call: Call) -> Response:
    """Somebody signed out there (OpenID Connect Back-Channel Logout 1.0 §2.5)."""
    id_, provider = _caller(call)
    if not isinstance(provider, TellsOfLogout):
        raise NotFound(detail="no provider that tells of sign-outs")
    with _refusing(call, id_):
        form = await read_protocol_form(call)
        said = await provider.read_logout(form.get("logout_token", ""))
    ended = await call.world.upstream_logout.take(said)
    call.world.log.event("provider_sign_out", provider=id_, count=ended)
    return answer_json({})


async def front_logout(call: Call) -> Response:
    """The same from a frame of the provider's own page (OpenID Connect Front-Channel Logout 1.0 §2): no cookie comes along.

    The answer is the same whether anybody was signed in or not. Raises `TooManyAttempts` for who tries many names.
    """
    id_, provider = _caller(call)
    if not isinstance(provider, FramesLogout) or not provider.framed_by:
        raise NotFound(detail="no provider that tells of sign-outs in frames")
    world = call.world
    wait = await world.limits.hit(f"frame:{call.address}", limit=FRAMES_PER_MINUTE, window=60, now=world.clock.now())
    if wait:
        raise TooManyAttempts(wait, detail="frames of providers")
    params = read_params(parse_pairs(call.request.url.query))
    with _refusing(call, id_):
        named = provider.read_frame(params)
    ended = await world.upstream_logout.take_frame(id_, named)
    world.log.event("provider_sign_out", provider=id_, count=ended)
    response = Response(_SIGNED_OUT, media_type="text/html; charset=utf-8")
    world.headers.framable(response, [provider.framed_by])
    return response


async def removal(call: Call) -> Response:
    """What becomes of a deletion, in words and without anything about anybody. Raises `NotFound` for another code."""
    found = await call.world.removals.look_up(str(call.request.path_params["code"]))
    return call.page(views.removal(call, found))


def _caller(call: Call) -> tuple[ProviderId, object]:
    """Which provider an address of ours was made for, also one in state `test`; `None` for none of ours."""
    id_ = ProviderId(str(call.request.path_params["provider"]))
    return id_, call.world.trials.providers.get(id_)


@contextmanager
def _refusing(call: Call, provider: ProviderId) -> Iterator[None]:
    """What is not the provider's own word is refused, with the check that it did not pass in the log.

    Where the provider is not for everybody yet, the answer is that there is none: only itself may know better.
    """
    try:
        yield
    except (UpstreamInvalid, BadRequest, InvalidRequest, TooLarge) as error:
        if provider not in call.world.circles.open_to(None).providers:
            raise NotFound(detail="no proof of a provider that is not for everybody yet") from error
        if isinstance(error, UpstreamInvalid):
            raise InvalidRequest(detail=error.check) from error
        raise


async def _take(call: Call, kind: RemovalKind) -> str:
    id_, provider = _caller(call)
    if not isinstance(provider, TellsOfRemoval):
        raise NotFound(detail="no provider that tells of removals")
    with _refusing(call, id_):
        form = await read_protocol_form(call)
        said = provider.read_removal(form)
    code = await call.world.removals.take(id_, kind, said)
    call.world.log.event("provider_removal", provider=id_, reason=kind.value)
    return code

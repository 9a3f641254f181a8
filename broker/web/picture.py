"""Logos, to everybody. Pictures of people: to their owner behind a sign-in, to everybody at the addresses that sites were given."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from broker.domain.logo import MEDIA_TYPE as LOGO_TYPE
from broker.domain.picture import MEDIA_TYPE, Picture
from broker.errors import NotFound
from broker.web.call import Call
from broker.web.steps import opened

_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_KEPT_FOR: Final = "private, max-age=3600"
"""An address leads to one picture for good; how long a browser shows what is not shared any more is an hour."""


async def sent(call: Call) -> Response:
    """The picture that the person is deciding on."""
    picture = call.world.sign_up.picture(opened(call).transaction)
    if picture is None:
        raise NotFound(detail="no picture in this sign-up")
    return image(picture)


async def mine(call: Call) -> Response:
    """The picture of who is signed in."""
    return image(await call.world.pictures.own(call.signed_in.account))


async def shared(call: Call) -> Response:
    """The picture behind a site's address: pages there show it, whoever reads them."""
    picture = await call.world.pictures.shared(str(call.request.path_params["name"]))
    response = image(picture)
    response.headers["Cache-Control"] = _KEPT_FOR
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


async def logo(call: Call) -> Response:
    """The logo behind an address that stands on our pages: another logo has another address."""
    png = await call.world.logos.sent(str(call.request.path_params["name"]))
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": _FOR_GOOD}
    return Response(png, headers=headers, media_type=LOGO_TYPE)


def image(picture: Picture) -> Response:
    """A picture as an answer that is nothing but a picture."""
    return Response(picture.jpeg, headers={"Content-Security-Policy": _POLICY}, media_type=MEDIA_TYPE)

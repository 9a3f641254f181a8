r"""The Facebook-like sandbox provider (protocols.md §6), as an ASGI application and as a program.

    DOORWARD_MODE=development python -m providers.sandbox.facebook --port 8010 \
        --app-id 100000000000001 --app-secret-file secret --redirect-uri http://localhost:8000/callback/facebook

One process plays every host by path: the dialogs, Graph, the OpenID documents, the picture server. Its first
page, `/`, says who is signed in to the sandbox and lets them sign out. Tests steer it at `/__emu__`
(facebook_control) and read what it was asked at `/__emu__/log`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from providers.sandbox import facebook_dialog as dialog
from providers.sandbox import web
from providers.sandbox.avatar import clamp_side, portrait
from providers.sandbox.facebook_control import control
from providers.sandbox.facebook_graph import graph
from providers.sandbox.facebook_limited import ROUTES as LIMITED
from providers.sandbox.facebook_people import Person
from providers.sandbox.facebook_state import App, Sandbox
from providers.sandbox.start import read_secret, require_development, run

__all__ = ["App", "create_app"]


def create_app(
    apps: Sequence[App],
    *,
    base_url: str | None = None,
    people: Mapping[str, Person] | None = None,
    switches: Mapping[str, Any] | None = None,
    data: Path | None = None,
) -> Starlette:
    """The provider as an ASGI application; its state is `app.state.sandbox`.

    `base_url` fixes the addresses it prints (default: what the client called); `data` keeps grants between
    runs.
    """
    sandbox = Sandbox({app.id: app for app in apps}, base_url=base_url, data=data)
    if people is not None:
        sandbox.people = people
    sandbox.switches.update(switches or {})
    sandbox.load()
    app = Starlette(routes=_routes(sandbox), middleware=[Middleware(web.LogMiddleware, log=sandbox.log)])
    app.state.sandbox = sandbox
    return app


class _Version(Convertor[str]):
    """A path segment like `v26.0`."""

    regex = r"v[0-9]{1,4}\.[0-9]{1,4}"

    def convert(self, value: str) -> str:
        """Path text to value."""
        return value

    def to_string(self, value: str) -> str:
        """Value to path text."""
        return value


register_url_convertor("version", _Version())


def _routes(sandbox: Sandbox) -> list[Route]:
    pages = [
        Route(prefix + path + slash, handler, methods=["GET"])
        for prefix in ("/{v:version}", "")
        for path, handler in (
            ("/dialog/oauth", dialog.login),
            ("/dialog/share", dialog.share),
            ("/dialog/feed", dialog.share),
        )
        for slash in ("", "/")
    ]
    documents = [
        Route(path + slash, handler, methods=["GET"])
        for path, handler in (
            ("/.well-known/openid-configuration", _discovery),
            ("/.well-known/oauth/openid/jwks", _jwks),
            ("/.well-known/oauth/openid/keys", _keys),
            ("/.well-known/oauth/openid/certs", _certificates),
        )
        for slash in ("", "/")
    ]
    return [
        Route("/", _home, methods=["GET"]),
        Route("/privacy", _privacy, methods=["GET"]),
        Route("/sandbox.css", web.stylesheet, methods=["GET"]),
        Route("/favicon.ico", web.icon, methods=["GET"]),
        Route("/sandbox/sign-out", _sign_out, methods=["POST"]),
        Route("/__emu__", control, methods=["GET", "POST"]),
        Route("/__emu__/log", sandbox.log.endpoint, methods=["GET", "DELETE"]),
        *pages,
        Route("/dialog/choose", dialog.choose, methods=["POST"]),
        Route("/dialog/confirm", dialog.confirm, methods=["POST"]),
        Route("/dialog/share/answer", dialog.share_answer, methods=["POST"]),
        *documents,
        *LIMITED,
        Route("/platform/profilepic/", _picture, methods=["GET"]),
        Route("/platform/uninstall/", _uninstall, methods=["POST"]),
        Route("/{path:path}", graph, methods=["GET", "POST", "DELETE"]),
    ]


async def _home(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    person = sandbox.people.get(request.cookies.get(dialog.COOKIE, ""))
    return web.page("home.html", label=dialog.LABEL, title="Sandbox network", person=person, links=[])


async def _sign_out(request: Request) -> Response:
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(dialog.COOKIE)
    return answer


async def _discovery(request: Request) -> Response:
    """As captured from the real one: no token endpoint, no userinfo, no `code` (protocols.md §1.11)."""
    sandbox: Sandbox = request.app.state.sandbox
    base = web.base_url(request, sandbox.base_url)
    claims = (
        "iss aud sub iat exp jti nonce at_hash name given_name middle_name family_name email picture "
        "user_friends "
        "user_birthday user_age_range user_link user_hometown user_location user_gender"
    )
    return JSONResponse(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/dialog/oauth/",
            "jwks_uri": f"{base}/.well-known/oauth/openid/jwks/",
            "response_types_supported": ["id_token", "token id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": claims.split(),
        }
    )


async def _jwks(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    sandbox.signing_key()
    return JSONResponse({"keys": [key.public_jwk() for key in sandbox.keys]})


async def _keys(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    sandbox.signing_key()
    return JSONResponse({key.kid: key.public_pem().decode() for key in sandbox.keys})


async def _certificates(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    sandbox.signing_key()
    return JSONResponse({key.kid: key.certificate_pem().decode() for key in sandbox.keys})


async def _privacy(request: Request) -> Response:
    return web.privacy_page(dialog.LABEL)


async def _picture(request: Request) -> Response:
    """The image behind `picture.url`; 404 for the dead picture, and for everybody by switch."""
    sandbox: Sandbox = request.app.state.sandbox
    asked = request.query_params.get("asid", "")
    person = next((p for app in sandbox.apps if (p := sandbox.person_of_id(app, asked))), None)
    ends = request.query_params.get("ext", "0")
    gone = not ends.isdigit() or float(ends) < sandbox.now()
    if person is None or person.dead_picture or sandbox.switches.picture_404 or gone:
        return Response("Not found.", status_code=404, media_type="text/plain")
    width = clamp_side(request.query_params.get("width"))
    height = clamp_side(request.query_params.get("height"), width)
    image = portrait(person.slug, width, height, silhouette=person.silhouette)
    return Response(image, media_type="image/png", headers={"cache-control": "max-age=1209600"})


async def _uninstall(request: Request) -> Response:
    """`POST /platform/uninstall/` with `id_token` and `app_id`: the person removes the app."""
    sandbox: Sandbox = request.app.state.sandbox
    fields = web.form(request)
    person_id = _subject(sandbox, fields.get("id_token", ""))
    app_id = fields.get("app_id", "")
    person = sandbox.person_of_id(app_id, person_id) if app_id in sandbox.apps else None
    if person is None:
        return JSONResponse({"success": False}, status_code=400)
    sandbox.remove_app(app_id, person.slug)
    return JSONResponse({"success": True})


def _subject(sandbox: Sandbox, token: str) -> str:
    """`sub` of an ID token that one of our keys signed, else nothing."""
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    for key in sandbox.keys:
        try:
            return str(jwt.decode(token, RSAKey.import_key(key.public_pem()), algorithms=["RS256"]).claims["sub"])
        except (JoseError, ValueError, KeyError):
            continue
    return ""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8010, show_default=True, type=click.IntRange(1, 65535))
@click.option("--app-id", required=True, help="The app's numeric id.")
@click.option("--app-secret-file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--redirect-uri", "redirect_uris", required=True, multiple=True, help="May be given several times.")
@click.option("--app-name", default="Doorward", show_default=True, help="Name shown on the permission page.")
@click.option("--deauthorize-url", help="Where the signed_request of a removed app is sent.")
@click.option("--deletion-url", help="Where the signed_request of a deletion request is sent.")
@click.option("--privacy-url", help="The app's privacy policy, without which no app goes live.")
@click.option("--require-proof", is_flag=True, help="Refuse Graph calls without appsecret_proof.")
@click.option("--enforce-https", is_flag=True, help="Refuse http redirect addresses.")
@click.option("--base-url", help="Own address as clients see it, e.g. http://localhost:8010.")
@click.option("--data", type=click.Path(dir_okay=False, path_type=Path), help="Keep grants in this JSON file.")
@click.option("--tls-certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--development", is_flag=True, help="Say that no real person signs in here.")
def main(
    *,
    host: str,
    port: int,
    app_id: str,
    app_secret_file: Path,
    redirect_uris: tuple[str, ...],
    app_name: str,
    deauthorize_url: str | None,
    deletion_url: str | None,
    privacy_url: str | None,
    require_proof: bool,
    enforce_https: bool,
    base_url: str | None,
    data: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    development: bool,
) -> None:
    """Run the Facebook-like sandbox until interrupted."""
    require_development(development)
    app = App(
        id=app_id,
        secret=read_secret(app_secret_file),
        redirect_uris=redirect_uris,
        name=app_name,
        require_proof=require_proof,
        deauthorize_url=deauthorize_url,
        deletion_url=deletion_url,
        privacy_url=privacy_url,
        domains=sorted({urlsplit(uri).hostname or "" for uri in redirect_uris}),
    )
    served = create_app([app], base_url=base_url, switches={"enforce_https": enforce_https}, data=data)
    run(served, host=host, port=port, certificate=tls_certificate, key=tls_key)


if __name__ == "__main__":
    main()

"""The sandbox's OpenID 2.0 side: addresses of made-up people, what they say about themselves, and the provider's endpoint.

`/people/<name>` is a person's address and names its provider by XRDS and by HTML; the sandbox's own front page is an
address of the provider, so that whoever types that chooses there who they are. Stateless: no associations are made, every
answer is confirmed directly, and once (OpenID Authentication 2.0 §11.4.2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import secrets
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from providers.sandbox import web
from providers.sandbox.openid_connect_authorize import COOKIE, LABEL, error_page
from providers.sandbox.openid_connect_state import Person, Sandbox, Session, grouped

NS = "http://specs.openid.net/auth/2.0"
SELECT = f"{NS}/identifier_select"
SREG = "http://openid.net/extensions/sreg/1.1"
AX = "http://openid.net/srv/ax/1.0"
PAPE = "http://specs.openid.net/extensions/pape/1.0"
_SREG_OF = {
    "fullname": "name", "nickname": "preferred_username", "email": "email", "dob": "birthdate", "language": "locale",
    "timezone": "zoneinfo",
}  # fmt: skip
_AX_OF = {
    "http://axschema.org/namePerson": "name",
    "http://axschema.org/namePerson/first": "given_name",
    "http://axschema.org/namePerson/last": "family_name",
    "http://axschema.org/namePerson/friendly": "preferred_username",
    "http://axschema.org/contact/email": "email",
    "http://axschema.org/media/image/default": "picture",
    "http://axschema.org/contact/web/default": "website",
    "http://axschema.org/birthDate": "birthdate",
    "http://axschema.org/pref/language": "locale",
    "http://axschema.org/pref/timezone": "zoneinfo",
}
_ALWAYS = ("op_endpoint", "claimed_id", "identity", "return_to", "response_nonce", "assoc_handle")
_NONCES_KEPT = 10_000

XRDS = """<?xml version="1.0" encoding="UTF-8"?>
<xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)"><XRD><Service priority="0">
<Type>{type}</Type><URI>{endpoint}</URI></Service></XRD></xrds:XRDS>
"""


def routes() -> list[Route]:
    """What the OpenID Connect sandbox serves beside itself."""
    return [
        Route("/xrds", own_xrds, methods=["GET"]),
        Route("/people/{slug}", person, methods=["GET"]),
        Route("/people/{slug}/xrds", persons_xrds, methods=["GET"]),
        Route("/openid2", endpoint, methods=["GET", "POST"]),
        Route("/openid2/sign-in", sign_in, methods=["POST"]),
    ]


class Answers:
    """What the endpoint signed and was not asked about yet. The key lives as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._open: dict[str, None] = {}

    def sign(self, message: dict[str, str]) -> dict[str, str]:
        """The message with `signed` and `sig` (§6)."""
        names = [name for name in message if name not in {"ns", "mode"}]
        whole = {**message, "signed": ",".join(names)}
        while len(self._open) >= _NONCES_KEPT:
            del self._open[next(iter(self._open))]
        self._open[message["response_nonce"]] = None
        return {**whole, "sig": self._sig(whole)}

    def confirm(self, message: dict[str, str]) -> bool:
        """Whether this is an answer of ours; only the first time (§11.4.2.1)."""
        known = message.get("response_nonce", "") in self._open
        if not known or not hmac.compare_digest(self._sig(message).encode(), message.get("sig", "").encode()):
            return False
        del self._open[message["response_nonce"]]
        return True

    def _sig(self, message: dict[str, str]) -> str:
        text = "".join(f"{name}:{message.get(name, '')}\n" for name in message.get("signed", "").split(","))
        return base64.b64encode(hmac.digest(self._key, text.encode(), hashlib.sha256)).decode()


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


def _answers(request: Request) -> Answers:
    found: Answers = request.app.state.openid2
    return found


def _base(request: Request) -> str:
    return web.base_url(request, _sandbox(request).fixed_issuer)


def _address(request: Request, slug: str) -> str:
    return f"{_base(request)}/people/{slug}"


# --- addresses ----------------------------------------------------------------------------------------


def _xrds(request: Request, kind: str) -> Response:
    document = XRDS.format(type=f"{NS}/{kind}", endpoint=html.escape(f"{_base(request)}/openid2"))
    return Response(document, media_type="application/xrds+xml")


async def own_xrds(request: Request) -> Response:
    """The provider's own address: whoever it is chooses here."""
    return _xrds(request, "server")


async def persons_xrds(request: Request) -> Response:
    """A person's address."""
    if request.path_params["slug"] not in _sandbox(request).people:
        return Response("Not found.", status_code=404, media_type="text/plain")
    return _xrds(request, "signon")


async def person(request: Request) -> Response:
    """A person's page: it says in its head, and by a header, who may speak for it (§7.3)."""
    found = _sandbox(request).people.get(request.path_params["slug"])
    if found is None:
        return Response("Not found.", status_code=404, media_type="text/plain")
    if "application/json" in request.headers.get("accept", ""):  # OpenID 2.0 to OpenID Connect Migration §5
        return JSONResponse({"iss": _base(request)})
    response = web.page(
        "person.html", label=LABEL, title=found.name, person=found, address=_address(request, found.slug),
        endpoint=f"{_base(request)}/openid2",
    )  # fmt: skip
    response.headers["X-XRDS-Location"] = f"{_address(request, found.slug)}/xrds"
    return response


# --- the endpoint -------------------------------------------------------------------------------------


async def endpoint(request: Request) -> Response:
    """`GET|POST /openid2`: who is there (§9), or whether an answer was ours (§11.4.2)."""
    given = {**request.query_params, **web.form(request)}
    message = {name.removeprefix("openid."): value for name, value in given.items() if name.startswith("openid.")}
    mode = message.get("mode", "")
    if not message:
        return web.page(
            "message.html",
            label=LABEL,
            title="OpenID 2.0 endpoint",
            text="Community sites send people here to sign in.",
        )
    if message.get("ns") != NS:
        return _direct({"error": "Only OpenID 2.0 is offered."}, status=400)
    if mode == "check_authentication":
        return _direct({"is_valid": "true" if _answers(request).confirm(message) else "false"})
    if mode == "associate":
        refusal = {"error": "No associations are made: confirm each answer.", "error_code": "unsupported-type"}
        return _direct(refusal, status=400)
    if mode not in {"checkid_setup", "checkid_immediate"}:
        return _direct({"error": "There is no such mode."}, status=400)
    if not _may_return(request, message):
        return error_page("The return address is not one of a site that is known here.")
    return _who(request, message)


def _direct(fields: dict[str, str], *, status: int = 200) -> Response:
    """Key-value form (§4.1.1)."""
    lines = {"ns": NS, **fields}
    return PlainTextResponse("".join(f"{key}:{value}\n" for key, value in lines.items()), status_code=status)


def _may_return(request: Request, message: dict[str, str]) -> bool:
    """Under its realm (§9.2), and at the origin of a registered site: a sandbox sends nobody anywhere else."""
    target, realm = message.get("return_to", ""), message.get("realm", message.get("return_to", ""))
    origins = {_origin(uri) for client in _sandbox(request).clients.values() for uri in client.redirect_uris}
    return _origin(target) in origins and target.startswith(realm) and _origin(realm) == _origin(target)


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _who(request: Request, message: dict[str, str]) -> Response:
    """Answer for whoever is signed in and was asked for; otherwise ask."""
    sandbox = _sandbox(request)
    wanted = _wanted(request, message)
    if wanted is None:
        return error_page("There is nobody with that address here.")
    preset = sandbox.persona or sandbox.next_persona
    sandbox.next_persona = None
    session = sandbox.sessions.get(request.cookies.get(COOKIE, ""))
    if preset is not None:
        session = Session(slug=preset, auth_time=int(sandbox.now()))
    is_fresh = preset is not None or "pape.max_auth_age" not in message
    if session is not None and is_fresh and wanted in {"", session.slug}:
        return _positive(request, message, session)
    if message["mode"] == "checkid_immediate":
        return _back(message, {"ns": NS, "mode": "setup_needed"})
    return web.page(
        "choose.html",
        label=LABEL,
        title="Sign in as …" if not wanted else f"Are you {sandbox.people[wanted].name}?",
        text=f"You will be taken back to {_origin(message['return_to'])}.",
        action="/openid2/sign-in",
        pending=sandbox.new_pending(message),
        groups=[("This address", [sandbox.people[wanted]])] if wanted else grouped(),
    )


def _wanted(request: Request, message: dict[str, str]) -> str | None:
    """Whose address was asked for; nothing: whoever is there; `None`: nobody of ours."""
    identity = message.get("identity", SELECT)
    if identity == SELECT:
        return ""
    slug = identity.removeprefix(_address(request, ""))
    return slug if slug != identity and slug in _sandbox(request).people else None


async def sign_in(request: Request) -> Response:
    """`POST /openid2/sign-in`: a persona was picked, or Cancel."""
    sandbox, fields = _sandbox(request), web.form(request)
    message = sandbox.pending.pop(fields.get("pending", ""), None)
    if message is None or "return_to" not in message:
        return error_page("This page is too old. Go back to the site and start again.")
    slug = fields.get("persona", "")
    if slug not in sandbox.people or _wanted(request, message) not in {"", slug}:
        return _back(message, {"ns": NS, "mode": "cancel"})
    session, name = Session(slug=slug, auth_time=int(sandbox.now())), secrets.token_urlsafe(16)
    sandbox.sessions.pop(request.cookies.get(COOKIE, ""), None)
    sandbox.sessions[name] = session
    response = _positive(request, message, session)
    response.set_cookie(COOKIE, name, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return response


def _positive(request: Request, message: dict[str, str], session: Session) -> Response:
    """The signed answer (§10.1), with what was asked of the person."""
    sandbox = _sandbox(request)
    found, address = sandbox.people[session.slug], _address(request, session.slug)
    claimed = message.get("claimed_id", SELECT)
    now = datetime.fromtimestamp(sandbox.now(), UTC)
    values = dict(
        zip(
            _ALWAYS,
            (
                f"{_base(request)}/openid2",
                address if claimed == SELECT else claimed,
                address,
                message["return_to"],
                f"{now:%Y-%m-%dT%H:%M:%SZ}{secrets.token_hex(8)}",
                "stateless",
            ),
            strict=True,
        )
    )
    answer = {"ns": NS, "mode": "id_res", **values, **_told(request, message, found, session)}
    return _back(message, _answers(request).sign(answer))


def _told(request: Request, message: dict[str, str], found: Person, session: Session) -> dict[str, str]:
    """Simple Registration, Attribute Exchange and PAPE, as far as they were asked."""
    claims = found.claims({"profile", "email"})
    if claims.get("picture") == "sandbox:picture":
        claims["picture"] = f"{_base(request)}/picture/{found.slug}.png"
    known = {name: value for name, value in claims.items() if isinstance(value, str)}
    told: dict[str, str] = {}
    if message.get("ns.sreg") == SREG:
        names = f"{message.get('sreg.required', '')},{message.get('sreg.optional', '')}".split(",")
        told["ns.sreg"] = SREG
        told |= {f"sreg.{name}": known[_SREG_OF[name]] for name in names if _SREG_OF.get(name) in known}
    if message.get("ns.ax") == AX and message.get("ax.mode") == "fetch_request":
        told |= {"ns.ax": AX, "ax.mode": "fetch_response"}
        for name, type_ in message.items():
            alias = name.removeprefix("ax.type.")
            if alias != name and _AX_OF.get(type_) in known:
                told |= {f"ax.type.{alias}": type_, f"ax.value.{alias}": known[_AX_OF[type_]]}
    if message.get("ns.pape") == PAPE:
        when = datetime.fromtimestamp(session.auth_time, UTC)
        told |= {"ns.pape": PAPE, "pape.auth_policies": "", "pape.auth_time": f"{when:%Y-%m-%dT%H:%M:%SZ}"}
    return told


def _back(message: dict[str, str], answer: dict[str, str]) -> Response:
    """Send the browser back with an answer."""
    return web.redirect(message["return_to"], [(f"openid.{name}", value) for name, value in answer.items()])

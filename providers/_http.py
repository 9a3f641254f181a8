"""What providers see of the guarded HTTP client, and how its answers are read.

Providers get the client handed in: they cannot make one, and cannot reach anything the guard refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from broker.errors import UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from broker.strict_json import read_json, read_json_list

JSON: Final = {"Accept": "application/json"}
FORM: Final = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}

_NEVER_SENT: Final = frozenset(
    {"url", "scheme", "credentials", "port", "literal", "address", "busy", "circuit", "dns", "connect", "tls"}
)
_JSON_TYPES: Final = ("application/json", "text/javascript", "text/json")
"""`text/javascript`: Facebook's Graph API has been answering JSON under this name for years."""

OK: Final = 200
TOO_MANY: Final = 429
SERVER_FAULT: Final = 500


class UpstreamResponse(Protocol):
    """An answer, whole."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes: ...


class UpstreamHTTP(Protocol):
    """The guarded client (`broker.egress.Egress`)."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> UpstreamResponse:
        """One request, no redirects, no retries.

        Raises `UpstreamUnavailable`, whose `detail` starts with the reason, when no whole answer came.
        """
        ...


class Unnamed:
    """The guarded client, with errors that do not name the host: part of an address may be a person's name."""

    def __init__(self, http: UpstreamHTTP) -> None:
        self._http = http

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> UpstreamResponse:
        try:
            return await self._http.request(method, url, headers=headers, body=body)
        except UpstreamUnavailable as error:
            raise UpstreamUnavailable(error.detail.partition(" ")[0]) from None


async def post_form(
    http: UpstreamHTTP, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> UpstreamResponse:
    """`POST` a form (RFC 6749 Appendix B)."""
    sent = FORM if headers is None else {**FORM, **headers}
    return await http.request("POST", url, headers=sent, body=urlencode(form).encode("ascii"))


def was_perhaps_sent(error: UpstreamUnavailable) -> bool:
    """Whether the other side may have acted on the request although no answer came."""
    return error.detail.partition(" ")[0] not in _NEVER_SENT


def read_object(response: UpstreamResponse, check: str) -> dict[str, Any]:
    """The JSON object of an answer, whatever its status.

    Raises `UpstreamInvalid(check)` for another content type or charset, or for anything `read_json` refuses.
    """
    _check_type(response, check)
    return read_json(response.body, check)


def is_jwt(response: UpstreamResponse) -> bool:
    """Whether the answer calls itself a JWT (RFC 7519 §10.3.1)."""
    return _media_type(response)[0] == "application/jwt"


def read_list(response: UpstreamResponse, check: str) -> list[Any]:
    """The JSON array of a 200 answer; see `read_success`."""
    if response.status != OK:
        read_success(response, check)
    _check_type(response, check)
    return read_json_list(response.body, check)


def _check_type(response: UpstreamResponse, check: str) -> None:
    kind, parameters = _media_type(response)
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise UpstreamInvalid(check, "content type")
    if "charset=" in parameters and "charset=utf-8" not in parameters and "charset=utf8" not in parameters:
        raise UpstreamInvalid(check, "charset")


def _media_type(response: UpstreamResponse) -> tuple[str, str]:
    kind, _, parameters = response.headers.get("content-type", "").partition(";")
    return kind.strip().lower(), parameters.replace(" ", "").replace('"', "").lower()


def read_success(response: UpstreamResponse, check: str) -> dict[str, Any]:
    """The JSON object of a 200 answer; anything else is the provider's error.

    Raises `UpstreamUnavailable` (5xx, 429), `UpstreamRejected` (4xx) or `UpstreamInvalid(check)`.
    """
    if response.status == OK:
        return read_object(response, check)
    if response.status >= SERVER_FAULT or response.status == TOO_MANY:
        raise UpstreamUnavailable(f"status {response.status} {check}")
    if response.status >= 400:
        raise UpstreamRejected(f"status {response.status} {check}")
    raise UpstreamInvalid(check, f"status {response.status}")

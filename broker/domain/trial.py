"""A provider is tried: what was asked and answered on the way, what came of it, and what went wrong by one of a few names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from broker.domain import base64url
from broker.domain.claims import EMAIL, EMAIL_VERIFIED
from broker.domain.policy import FieldPolicy, Use
from broker.domain.provider import Identity, OfferedField
from broker.domain.values import ClaimName, ProviderId

UNKNOWN: Final = "unknown"

_BY_REASON: Final[Mapping[str, str]] = {
    "url": "kind_of_address", "scheme": "kind_of_address", "credentials": "kind_of_address", "port": "kind_of_address",
    "literal": "kind_of_address", "address": "private_address", "busy": "left_alone", "circuit": "left_alone", "dns": "no_name",
    "connect": "no_connection", "tls": "certificate", "timeout": "no_answer", "broken": "not_readable", "large": "not_readable",
    "encoding": "not_readable",
}  # fmt: skip
"""By the first word of what the guarded client says when no whole answer came."""
_BY_CHECK: Final[Mapping[str, str]] = {
    "discovery_issuer": "issuer", "iss": "issuer", "response_iss": "issuer", "aud": "audience", "azp": "audience",
    "token_app": "audience", "nonce": "nonce", "auth_nonce": "nonce", "exp": "clock", "iat": "clock", "nbf": "clock",
    "response_nonce": "clock", "token_expired": "clock", "kid": "keys", "jwks": "keys", "signature": "keys", "alg": "algorithm",
    "discovery_pkce": "pkce", "discovery_response_modes": "response_mode", "discovery_response_types": "no_code_flow",
    "auth_time": "not_fresh", "replayed": "replayed", "sub": "no_subject", "me_id": "no_subject", "token_user": "no_subject",
    "userinfo_sub": "no_subject", "id_token": "no_id_token", "is_valid": "not_confirmed", "signed": "not_confirmed",
    "claimed_id": "not_theirs", "userinfo_iss": "issuer", "userinfo_aud": "audience", "userinfo_exp": "clock",
    "userinfo_unsigned": "unsigned", "discovery_userinfo_alg": "unsigned", "discovery_request_object": "request_object",
    "discovery_request_object_alg": "request_object",
}  # fmt: skip
"""By the check that an answer did not pass."""
_SECRET: Final = frozenset({"invalid_client", "unauthorized_client", "incorrect_client_credentials", "access_denied"})
SIGNED: Final = "signed"
"""Stands behind the code where we proved who we are by a signature; the algorithm follows."""
_CODE: Final = frozenset({"invalid_grant", "bad_verification_code", "code_already_used", "authorization_code_expired"})
_REDIRECT: Final = frozenset({"redirect_uri_mismatch", "invalid_redirect_uri"})
_REQUEST: Final = frozenset(
    {"invalid_request_object", "invalid_request_uri", "request_not_supported", "request_uri_not_supported"}
)
_GRAPH: Final[Mapping[str, str]] = {
    "1": "secret", "100": "code", "100/36008": "redirect", "101": "client_id", "191": "redirect",
}  # fmt: skip
"""Facebook at its token endpoint, by code or code and subcode (developers.facebook.com, "Handling errors")."""
_STATUS: Final[Mapping[str, str]] = {"403": "forbidden", "404": "not_there", "429": "too_often"}

FAILURES: Final = frozenset(
    {
        UNKNOWN, "said_no", "refused", "scope", "forbidden", "not_there", "too_often", "unwell", "discovery", "secret", "client_id",
        "our_keys", "code", "redirect", *_BY_REASON.values(), *_BY_CHECK.values(),
    }
)  # fmt: skip
"""Every name that `failure_of` gives; each has its words for people."""


def failure_of(detail: str) -> str:
    """What went wrong, by the detail of an `UpstreamError` or of `SignInCancelled`; `unknown` for one that is not known."""
    first, _, rest = detail.partition(" ")
    second = rest.partition(" ")[0]
    if first == "upstream":
        return "said_no"
    if first in {"authorization", "dialog", "openid"}:
        return _at_their_page(second)
    if first == "token":
        return _of_token(second, is_signed=f" {SIGNED} " in rest)
    if first == "graph":
        return _of_graph(second, rest.partition(" ")[2])
    if first == "status":
        return _of_status(second)
    known = _BY_REASON.get(first) or _BY_CHECK.get(first)
    return known or ("discovery" if first.startswith("discovery") else UNKNOWN)


def _at_their_page(code: str) -> str:
    if code == "invalid_scope":
        return "scope"
    if code in {"unauthorized_client", "invalid_client"}:
        return "client_id"
    if code in _REQUEST:
        return "request_object"
    return "unwell" if code in {"server_error", "temporarily_unavailable"} else "refused"


def _of_token(code: str, *, is_signed: bool) -> str:
    if code in _REDIRECT:
        return "redirect"
    if code in _SECRET and is_signed:
        return "our_keys"
    return "secret" if code in _SECRET else "code" if code in _CODE else "refused"


def _of_graph(code: str, call: str) -> str:
    main = code.partition("/")[0]
    if call != "token":
        return "unwell" if main in {"1", "2"} else "too_often" if main in {"4", "17", "32", "613"} else "refused"
    return _GRAPH.get(code) or _GRAPH.get(main, "refused")


def _of_status(status: str) -> str:
    return _STATUS.get(status) or ("unwell" if status.startswith("5") else "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request to a provider, and what came of it."""

    method: str
    host: str
    path: str
    """Without its query: that carries codes and tokens."""
    is_tls: bool
    at: datetime
    """When the answer was there."""
    milliseconds: int
    status: int | None = None
    """`None`: no whole answer came."""
    failure: str = ""
    """Why none came, as the guarded client says it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    sent: tuple[str, ...] = field(default=(), repr=False)
    """Values in the request that open something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What goes to a provider signed with our keys, by the algorithm; nothing: that does not."""

    requests: str = ""
    """What we ask (`request_object`)."""
    proofs: str = ""
    """Who we are (`private_key_jwt`)."""


class Verdict(StrEnum):
    """What a real sign-in would have come to."""

    FAILED = "failed"
    NEW = "new"
    KNOWN = "known"
    HELD = "held"


class LeftOut(StrEnum):
    """Why a field that the provider may tell is not proposed."""

    DECLINED = "declined"
    ABSENT = "absent"
    UNUSABLE = "unusable"
    NO_FIELD = "no_field"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A field as somebody who signs up would see it."""

    claim: ClaimName
    value: str = field(repr=False)
    verified: bool
    policy: FieldPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider sent in one of its answers."""

    place: str
    """Host and path, or the name of a part in it."""
    names: tuple[str, ...]
    text: str = field(repr=False)
    """Laid out to be read, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial, for a single page: kept nowhere."""

    provider: ProviderId
    verdict: Verdict
    failure: str = ""
    """One of `FAILURES`."""
    detail: str = ""
    """What the log calls it."""
    away: int = 0
    """Seconds that the browser was at the provider."""
    came_back: tuple[str, ...] = ()
    """Names of what the browser brought back."""
    steps: tuple[Exchange, ...] = ()
    answers: tuple[Answer, ...] = ()
    proposed: tuple[Proposed, ...] = ()
    left_out: tuple[tuple[ClaimName, LeftOut], ...] = ()
    disbelieved: bool = False
    """It said that the e-mail address is proved, and its word does not count here."""
    is_revoked: bool = False
    """What was granted for the trial was given back."""


_SECRET_NAMES: Final = frozenset(
    {
        "code", "state", "nonce", "at_hash", "c_hash", "s_hash", "openid.sig", "openid.assoc_handle", "openid.response_nonce",
        "state_hash", "appsecret_proof", "jwt", "sid", "cookie", "authorization",
    }
)  # fmt: skip
_SECRET_PARTS: Final = (
    "token",
    "secret",
    "passw",
    "assertion",
    "credential",
    "device_code",
    "auth_code",
    "authorization_code",
)
_NO_SECRETS: Final = frozenset(
    {"token_type", "token_use", "issued_token_type", "token_expires_in", "refresh_token_expires_in"}
)
MAX_TEXT: Final = 8000
"""Characters of one answer."""
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml", "application/xrds+xml", "application/xml", "text/xml"})
_MAX_DEPTH: Final = 20
"""Levels of an answer that are read: an answer about a person has two or three."""
_MIN_SECRET: Final = 8
"""Characters of a value that is looked for everywhere: shorter ones stand in ordinary words."""


def is_secret(name: str) -> bool:
    """Whether what is called so opens something, or is of use to nobody who looks: its length is shown."""
    plain = name.casefold()
    return plain in _SECRET_NAMES or (plain not in _NO_SECRETS and any(part in plain for part in _SECRET_PARTS))


def answers_of(exchanges: Iterable[Exchange], params: Mapping[str, str] | None = None) -> tuple[Answer, ...]:
    """What was said of the person and of tokens: not the provider's description of itself, and not its keys.

    `params`: what came back through the browser, which is shown where it says anything: OpenID 2.0 tells everything so, and
    others why they refused.
    """
    seen, came = tuple(exchanges), params or {}
    secrets = sorted(_secrets_in(seen, came), key=len, reverse=True)
    told = [answer for exchange in seen for answer in _answers_of(exchange)]
    if any(not is_secret(name) for name in set(came) - {"iss", "session_state"}):
        told.insert(0, Answer(place="callback", names=tuple(came), text=_laid_out(dict(came))))
    return tuple(replace(answer, text=_blanked(answer.text, secrets)[:MAX_TEXT]) for answer in told)


def _answers_of(exchange: Exchange) -> Iterator[Answer]:
    place = f"{exchange.host}{exchange.path}"
    said = _said(exchange)
    if said is None:
        if exchange.body and exchange.status is not None:
            yield Answer(place=place, names=(), text=_not_json(exchange))
        return
    if not isinstance(said, dict):
        yield Answer(place=place, names=(), text=_laid_out(said))
    elif not {"jwks_uri", "keys"} & set(said):
        yield Answer(place=place, names=tuple(said), text=_laid_out(said))
        token = _claims_in(said.get("id_token"))
        if token is not None:
            yield Answer(place="id_token", names=tuple(token), text=_laid_out(token))


def _said(exchange: Exchange) -> Any:
    """The answer, whether it is JSON or signed (OpenID Connect Core §5.3.2)."""
    if _media_type(exchange) == "application/jwt":
        return _claims_in(exchange.body.decode("ascii", "replace").strip())
    return _json(exchange.body)


def _media_type(exchange: Exchange) -> str:
    return exchange.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_json(exchange: Exchange) -> str:
    """A page may say what is wrong. Anything else may be a token in a form of its own: only OpenID 2.0's yes or no is shown."""
    text = exchange.body.decode("utf-8", "replace")
    kind = _media_type(exchange)
    if exchange.method == "GET" and kind in _PAGES:
        return text
    lines = [line for line in text.splitlines() if line in {"is_valid:true", "is_valid:false"}]
    return "\n".join([*lines, f"({kind or 'no type'}, {len(exchange.body)} bytes, not JSON)"])


def _secrets_in(exchanges: Iterable[Exchange], params: Mapping[str, str]) -> set[str]:
    """Values that open something, wherever they may be said once more."""
    found = {value for name, value in params.items() if is_secret(name)}
    for exchange in exchanges:
        found.update(exchange.sent)
        found.update(_named_secrets(_json(exchange.body), _MAX_DEPTH))
    return {value for value in found if len(value) >= _MIN_SECRET}


def _named_secrets(said: Any, depth: int) -> Iterator[str]:
    if depth and isinstance(said, dict):
        for name, value in said.items():
            if is_secret(name) and isinstance(value, str):
                yield value
            else:
                yield from _named_secrets(value, depth - 1)
    elif depth and isinstance(said, list):
        for one in said:
            yield from _named_secrets(one, depth - 1)


def _blanked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        for written in (secret, json.dumps(secret, ensure_ascii=False)[1:-1]):
            text = text.replace(written, f"({len(secret)} characters)")
    return text


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _claims_in(token: object) -> dict[str, Any] | None:
    """What a JWT says, unverified: it is shown, never believed."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:
        return None
    try:
        said = _json(base64url.decoded_loosely(parts[1]))
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _laid_out(said: Any) -> str:
    return json.dumps(_without_secrets(said, _MAX_DEPTH), indent=2, ensure_ascii=False)


def _without_secrets(said: Any, depth: int) -> Any:
    if isinstance(said, dict | list) and not depth:
        return "(more levels)"
    if isinstance(said, dict):
        return {
            name: _length(value) if is_secret(name) else _without_secrets(value, depth - 1)
            for name, value in said.items()
        }
    return [_without_secrets(one, depth - 1) for one in said] if isinstance(said, list) else said


def _length(value: Any) -> Any:
    """Numbers stay where they are short: an error's `code` is one."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 10_000):
        return value
    return f"({len(value)} characters)" if isinstance(value, str) else "(not shown)"


def proposals(
    identity: Identity, offers: Iterable[OfferedField], fields: Mapping[ClaimName, FieldPolicy], arrived: frozenset[str]
) -> tuple[tuple[Proposed, ...], tuple[tuple[ClaimName, LeftOut], ...]]:
    """What somebody who signs up would be shown, and what not, with the reason. `arrived`: names of what was sent."""
    proposed, left_out = [], []
    for claim in (offer.claim for offer in offers):
        policy, value = fields.get(claim), identity.claims.get(claim)
        if policy is None or policy.use is Use.NEVER:
            left_out.append((claim, LeftOut.NO_FIELD))
        elif value:
            proposed.append(Proposed(claim=claim, value=value, verified=claim in identity.verified, policy=policy))
        elif claim in identity.declined:
            left_out.append((claim, LeftOut.DECLINED))
        else:
            left_out.append((claim, LeftOut.UNUSABLE if claim in arrived else LeftOut.ABSENT))
    return tuple(proposed), tuple(left_out)


def is_disbelieved(identity: Identity, exchanges: Iterable[Exchange]) -> bool:
    """Whether it vouches for the e-mail address, and that does not count."""
    if EMAIL not in identity.claims or EMAIL in identity.verified:
        return False
    for exchange in exchanges:
        said = _said(exchange)
        told = said if isinstance(said, dict) else {}
        for part in (told, _claims_in(told.get("id_token")) or {}):
            if part.get(EMAIL_VERIFIED) in (True, "true"):
                return True
    return False

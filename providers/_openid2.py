"""OpenID 2.0 as a relying party: requests, what an answer must look like, and the question whether it is true.

Stateless throughout (OpenID Authentication 2.0 §11.4.2): no association is ever made, so there is no shared key to
downgrade, to confuse or to expire; each answer is shown once to the provider, at the address *we* know, which says
whether it signed it. What an answer says about its own endpoint is compared, never followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from broker.domain.provider import Attempt, Once
from broker.errors import SignInCancelled, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._http import OK, SERVER_FAULT, TOO_MANY, UpstreamHTTP, UpstreamResponse
from providers._id_token import SKEW
from providers.preset import is_address

NS: Final = "http://specs.openid.net/auth/2.0"
SELECT: Final = f"{NS}/identifier_select"
"""Stands for "whoever that is": the provider chooses the identifier with the person."""
MUST_SIGN: Final = frozenset({"op_endpoint", "return_to", "response_nonce", "assoc_handle", "claimed_id", "identity"})
"""§10.1; the last two only where somebody was named, and here somebody always must be."""
NONCE_LIFE: Final = timedelta(minutes=5)
MAX_ANSWER: Final = 16 * 1024
"""Characters of all fields of an answer together; a browser carries no more."""
MAX_IDENTIFIER: Final = 255
MAX_VERDICT: Final = 8 * 1024

_PREFIX: Final = "openid."
_NONCE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)[\x21-\x7e]{0,235}")
_TEXT: Final = {"Accept": "text/plain, */*;q=0.1", "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A positive answer that is whole, fresh and meant for this attempt. Whether it is *true* was not asked yet."""

    endpoint: str
    claimed_id: str = field(repr=False)
    identity: str = field(repr=False)
    nonce: str = field(repr=False)
    made_at: datetime
    fields: Mapping[str, str] = field(repr=False)
    """All fields of the message, without `openid.`."""
    signed: tuple[str, ...]

    @property
    def once(self) -> Once:
        """By provider and nonce, for as long as the nonce's time is accepted (§11.3)."""
        return Once(key=f"openid2:{self.endpoint} {self.nonce}", until=self.made_at + NONCE_LIFE + SKEW)

    def extension(self, *namespaces: str) -> dict[str, str]:
        """The signed fields of an extension, by their names inside it; nothing if it is absent or its name unsigned.

        What is not in `openid.signed` was perhaps added on the way (the alert of May 2011): it is not even looked at.
        """
        signed = set(self.signed)
        for name, value in self.fields.items():
            if name.startswith("ns.") and value in namespaces and name in signed:
                alias = name.removeprefix("ns.") + "."
                return {
                    key.removeprefix(alias): text
                    for key, text in self.fields.items()
                    if key.startswith(alias) and key in signed
                }
        return {}


def return_address(attempt: Attempt) -> str:
    """Where the answer must come, to the last character: the state inside it ties it to this browser's attempt."""
    return f"{attempt.redirect_uri}?{urlencode({'state': attempt.state})}"


def build_request(
    endpoint: str,
    attempt: Attempt,
    *,
    claimed_id: str = SELECT,
    identity: str = SELECT,
    extensions: Mapping[str, str] | None = None,
) -> str:
    """The `checkid_setup` request as an address (§9.1). Extension fields come without `openid.`."""
    back = urlsplit(attempt.redirect_uri)
    message = {
        "ns": NS,
        "mode": "checkid_setup",
        "claimed_id": claimed_id,
        "identity": identity,
        "return_to": return_address(attempt),
        "realm": f"{back.scheme}://{back.netloc}/",
        **(extensions or {}),
    }
    joint = "&" if urlsplit(endpoint).query else "?"
    return f"{endpoint}{joint}{urlencode({_PREFIX + name: value for name, value in message.items()})}"


def read_fields(callback: Mapping[str, str]) -> dict[str, str]:
    """The message's fields without `openid.`, if it is a positive answer of version 2.0.

    Raises `SignInCancelled` when the person said no, `UpstreamRejected` for the provider's own error, and
    `UpstreamInvalid` for anything else: version 1 signs too little and is not read.
    """
    fields = {name.removeprefix(_PREFIX): value for name, value in callback.items() if name.startswith(_PREFIX)}
    if sum(len(name) + len(value) for name, value in fields.items()) > MAX_ANSWER:
        raise UpstreamInvalid("openid_size")
    if fields.get("ns") != NS:
        raise UpstreamInvalid("openid_ns")
    mode = fields.get("mode")
    if mode == "cancel":
        raise SignInCancelled("upstream cancel")
    if mode in {"error", "setup_needed"}:
        raise UpstreamRejected(f"openid {mode}")
    if mode != "id_res":
        raise UpstreamInvalid("openid_mode")
    return fields


def read_assertion(fields: Mapping[str, str], attempt: Attempt, endpoint: str, now: datetime) -> Assertion:
    """An answer for this attempt from this endpoint (§11). Raises `UpstreamInvalid(check)`; asks nobody."""
    if fields.get("return_to") != return_address(attempt):
        raise UpstreamInvalid("return_to")
    if fields.get("op_endpoint") != endpoint:
        raise UpstreamInvalid("op_endpoint")
    signed = tuple(fields.get("signed", "").split(","))
    if len(set(signed)) != len(signed) or not set(signed) >= MUST_SIGN:
        raise UpstreamInvalid("signed")
    if any(name not in fields for name in signed) or not fields.get("sig"):
        raise UpstreamInvalid("signed", "fields missing")
    claimed_id, identity = fields["claimed_id"], fields["identity"]
    if not is_identifier(claimed_id) or not is_identifier(identity):
        raise UpstreamInvalid("claimed_id")
    return Assertion(
        endpoint=endpoint,
        claimed_id=claimed_id,
        identity=identity,
        nonce=fields["response_nonce"],
        made_at=read_nonce(fields["response_nonce"], now),
        fields=fields,
        signed=signed,
    )


def is_identifier(text: str) -> bool:
    """Whether this is an address that can name a person: http(s), no user name, nothing that is not plain text."""
    return len(text) <= MAX_IDENTIFIER and is_address(text, fragment=True)


def normal_form(identifier: str) -> str | None:
    """The one spelling of an identifier (§7.2, RFC 3986 §6): `None` where dot segments make it mean something else.

    The fragment stays. Scheme and host are small, a standard port is left out, an empty path is `/`; everything after
    the host means what its server makes of it, so two spellings there are two identifiers.
    """
    parts = urlsplit(identifier)
    host, standard = (parts.hostname or "").lower(), {"https": 443, "http": 80}[parts.scheme]
    if any(segment.replace("%2e", ".").replace("%2E", ".") in {".", ".."} for segment in parts.path.split("/")):
        return None
    where = f"[{host}]" if ":" in host else host
    netloc = where if parts.port in {None, standard} else f"{where}:{parts.port}"
    return urlunsplit(parts._replace(netloc=netloc, path=parts.path or "/"))


def read_nonce(nonce: str, now: datetime) -> datetime:
    """When the answer was made, by the nonce's own words (§10.1): five minutes ago at most."""
    found = _NONCE.fullmatch(nonce)
    if found is None:
        raise UpstreamInvalid("response_nonce")
    try:
        made = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise UpstreamInvalid("response_nonce") from None
    if made > now + SKEW or made < now - NONCE_LIFE:
        raise UpstreamInvalid("response_nonce", "time")
    return made


async def confirm(http: UpstreamHTTP, assertion: Assertion, *, busy: Iterable[int] = (TOO_MANY,)) -> None:
    """Ask the provider, at the address that we know it by, whether it made this answer (§11.4.2).

    Raises `UpstreamInvalid("is_valid")` unless it says so; `busy` are answers that mean "ask later".
    """
    asked = {_PREFIX + name: value for name, value in assertion.fields.items()} | {
        "openid.mode": "check_authentication"
    }
    response = await http.request("POST", assertion.endpoint, headers=_TEXT, body=urlencode(asked).encode("ascii"))
    if response.status >= SERVER_FAULT or response.status in busy:
        raise UpstreamUnavailable(f"status {response.status} check_authentication")
    if response.status >= 400:
        raise UpstreamRejected(f"status {response.status} check_authentication")
    verdict = read_key_values(response)
    if verdict.get("ns", NS) != NS or verdict.get("is_valid") != "true":
        raise UpstreamInvalid("is_valid")


def read_key_values(response: UpstreamResponse) -> dict[str, str]:
    """The lines of a direct answer (§4.1.1), `key:value` each. A key that occurs twice says nothing."""
    if response.status != OK or len(response.body) > MAX_VERDICT:
        raise UpstreamInvalid("is_valid", "no answer")
    try:
        lines = response.body.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise UpstreamInvalid("is_valid", "not utf-8") from None
    pairs = [line.partition(":") for line in lines if line]
    found = {key: value for key, _, value in pairs}
    if len(found) != len(pairs) or not all(colon for _, colon, _ in pairs):
        raise UpstreamInvalid("is_valid", "not key:value lines")
    return found

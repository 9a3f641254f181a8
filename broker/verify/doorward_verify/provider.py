"""The broker as the kit sees it: authorization address, token endpoint, sign-out address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from .claims import check_audience
from .client_auth import basic_authorization
from .errors import SessionError
from .fetch import Reply, Unreachable
from .jws import text_claim, time_claim
from .session import Session
from .verifier import Verifier

__all__ = ["Provider", "Refused", "Tokens", "log_code"]

SECOND: Final = 1.0
"""The times in tokens are whole seconds."""


class Refused(Exception):
    """The broker said no; ``code`` is its OAuth error code, or ours if its answer was wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the token endpoint gave, checked."""

    session: Session
    session_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)
    auth_time: int


class Provider:
    """Requests a site makes, and the checks of what comes back. Blocks on the network."""

    def __init__(self, verifier: Verifier, client_id: str, client_secret: str | None) -> None:
        self.verifier = verifier
        self.client_id = client_id
        self._secret = client_secret

    def authorization_url(self, parameters: Mapping[str, str]) -> str:
        """Raises `Unreachable` before the first discovery."""
        address = self.verifier.metadata.endpoint("authorization_endpoint")
        if address is None:
            raise Unreachable
        return _with_query(address, {"client_id": self.client_id, **parameters})

    def answers_with_issuer(self) -> bool:
        """Whether every authorization response names its issuer (RFC 9207 §3)."""
        load = self.verifier.metadata.load()
        return load.get("authorization_response_iss_parameter_supported") is True

    def sign_out_url(self, parameters: Mapping[str, str]) -> str | None:
        """The broker's end-session address (RP-Initiated Logout 1.0 §2), if it has one."""
        address = self.verifier.metadata.endpoint("end_session_endpoint")
        if address is None:
            return None
        return _with_query(address, {"client_id": self.client_id, **parameters})

    def redeem(self, *, code: str, verifier: str, redirect_uri: str, nonce: str) -> Tokens:
        """Trade the code for tokens and check all of them. Raises `Refused`, `Unreachable`, `SessionError`.

        A sign-out covers all that was made in its second, also after it: who comes back within that second waits it out,
        and the broker says whether their session goes on.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        body = self._token(form)
        id_token = body.get("id_token")
        if not isinstance(id_token, str):
            raise Refused("no_id_token")
        claims = self._read_id_token(id_token)
        if claims.get("nonce") != nonce:
            raise Refused("wrong_nonce")
        auth_time = claims.get("auth_time")
        try:
            return self._tokens(body, sub=claims["sub"], id_token=id_token, auth_time=auth_time)
        except SessionError as error:
            refresh_token = body.get("refresh_token")
            if error.code != "revoked" or not isinstance(refresh_token, str):
                raise
        time.sleep(SECOND)
        later = self.renew(refresh_token, sub=claims["sub"])
        return replace(later, id_token=later.id_token or id_token)

    def renew(self, refresh_token: str, *, sub: str) -> Tokens:
        """Trade the refresh token for a new session token of the same person."""
        body = self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})
        id_token = body.get("id_token")
        if isinstance(id_token, str):
            if self._read_id_token(id_token)["sub"] != sub:
                raise Refused("another_person")
        else:
            id_token = None
        return self._tokens(body, sub=sub, id_token=id_token, auth_time=None)

    def revoke(self, refresh_token: str) -> None:
        """Give the refresh token back (RFC 7009). Failing to do so does not stop a sign-out."""
        try:
            address = self.verifier.metadata.endpoint("revocation_endpoint")
            if address is not None:
                form = {"token": refresh_token, "token_type_hint": "refresh_token"}
                self._post(address, form)
        except Unreachable:
            return

    def _token(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        address = self.verifier.metadata.endpoint("token_endpoint")
        if address is None:
            raise Unreachable
        reply = self._post(address, form)
        if reply.status != 200:
            code = reply.body.get("error")
            # Only the name of the error travels on: its description may quote what was sent.
            raise Refused(code if isinstance(code, str) and len(code) < 64 else "refused")
        return reply.body

    def _post(self, address: str, form: Mapping[str, str]) -> Reply:
        if self._secret is None:
            return self.verifier.fetcher.post(address, {**form, "client_id": self.client_id}, {})
        headers = basic_authorization(self.client_id, self._secret)
        return self.verifier.fetcher.post(address, form, headers)

    def _read_id_token(self, id_token: str) -> dict[str, Any]:
        """OpenID Connect Core §3.1.3.7; the nonce is compared by the caller."""
        claims = self.verifier.verify_signed(id_token, types=(None, "jwt"))
        check_audience(claims, self.client_id)
        if claims.get("azp", self.client_id) != self.client_id:
            raise SessionError("wrong_audience")
        if text_claim(claims, "sub", longest=255) is None:
            raise SessionError("malformed")
        self.verifier.check_times(claims)
        return claims

    def _tokens(self, body: Mapping[str, Any], *, sub: str, id_token: str | None, auth_time: object) -> Tokens:
        session_token = body.get("session_token")
        if not isinstance(session_token, str):
            raise Refused("no_session_token")
        session = self.verifier.verify(session_token)
        if session.sub != sub:
            raise Refused("another_person")
        refresh_token = body.get("refresh_token")
        return Tokens(
            session=session,
            session_token=session_token,
            refresh_token=refresh_token if isinstance(refresh_token, str) else None,
            id_token=id_token,
            auth_time=time_claim({"t": auth_time}, "t") if auth_time is not None else session.auth_time,
        )


def _with_query(address: str, parameters: Mapping[str, str]) -> str:
    return address + ("&" if "?" in address else "?") + urlencode(parameters)


def log_code(code: str) -> str:
    """An error name fit for a log: what a stranger wrote into an address never gets there."""
    return code if code.replace("_", "").isalpha() and code.isascii() and len(code) < 40 else "unreadable"

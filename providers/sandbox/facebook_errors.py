"""Graph's error envelope and the errors the Facebook-like sandbox gives (protocols.md §1.4, §1.8)."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.responses import JSONResponse


class GraphError(Exception):
    """One Graph error: HTTP status, code, subcode, type, and the word of its WWW-Authenticate header."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 400,
        subcode: int | None = None,
        kind: str = "OAuthException",
        word: str = "invalid_request",
        transient: bool | None = None,
    ) -> None:
        super().__init__(f"graph error {code}")
        self.code, self.message, self.status, self.subcode = code, message, status, subcode
        self.kind, self.word, self.transient = kind, word, transient

    def response(self) -> JSONResponse:
        """The envelope with a fresh trace id and the header Facebook adds."""
        trace = secrets.token_urlsafe(9)
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        error["fbtrace_id"] = trace
        quoted = self.message.replace('"', "'").replace("\n", " ")
        quoted = quoted.encode("latin-1", "replace").decode("latin-1")
        headers = {
            "www-authenticate": f'OAuth "Facebook Platform" "{self.word}" "{quoted}"',
            "cache-control": "no-store",
            "x-fb-trace-id": trace,
        }
        return JSONResponse({"error": error}, status_code=self.status, headers=headers)


def invalid_token(subcode: int | None, message: str) -> GraphError:
    """Error 190 with its subcode."""
    return GraphError(190, message, subcode=subcode, word="invalid_token")


def invalid_code(subcode: int | None, message: str) -> GraphError:
    """Error 100 of the token endpoint."""
    return GraphError(100, message, subcode=subcode, word="invalid_code")


TOKEN_MESSAGES = {
    458: "Error validating access token: The user has not authorized application {app}.",
    459: "Error validating access token: You cannot access the app till you log in to www.facebook.com "
    "and follow the instructions given.",
    460: "Error validating access token: The session has been invalidated because the user changed their "
    "password or Facebook has changed the session for security reasons.",
    463: "Error validating access token: Session has expired on {ended}. The current time is {now}.",
    467: "Error validating access token: The session is invalid because the user logged out.",
}

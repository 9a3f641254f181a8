"""Sign-in for community sites: verify session and access tokens locally, sign people in through Doorward."""

from .access_token import AccessToken
from .errors import ConfigurationError, SessionError
from .kit import SignInKit
from .replay import MemoryReplays, ReplayRegister
from .revocation import MemoryRegister, RevocationRegister
from .session import Session, require_session
from .verifier import Verifier

__all__ = [
    "AccessToken",
    "ConfigurationError",
    "MemoryRegister",
    "MemoryReplays",
    "ReplayRegister",
    "RevocationRegister",
    "Session",
    "SessionError",
    "SignInKit",
    "Verifier",
    "require_session",
]

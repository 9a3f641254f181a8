"""Of which kind a way to sign in is, for sites that hear of its change."""

from __future__ import annotations

from broker.domain.account import Link
from broker.domain.events import FEDERATED
from broker.domain.mail_code import BY_MAIL


def credential_type(link: Link) -> str:
    """In the words of CAEP 1.0 §3.3.1, where it has some."""
    if link.passkey is not None:
        return "fido2-roaming" if link.passkey.is_roaming else "fido2-platform"
    return "email" if link.provider == BY_MAIL else FEDERATED

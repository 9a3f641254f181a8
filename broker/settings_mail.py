"""`[mail]`: who carries our letters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Any

from broker.domain.values import Secret
from broker.settings_reader import Reader
from broker.settings_schema import MAIL
from broker.settings_sites import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Nothing is ever written where both `host` and `folder` are empty."""

    host: str = ""
    port: int = 587
    security: str = "starttls"
    user_name: str = ""
    password: Secret | None = field(default=None, repr=False)
    sender: str = ""
    sender_name: str = ""
    ca_file: Path | None = None
    folder: Path | None = None
    """Development without a mail server: where letters are kept for reading."""
    sign_in_codes: bool = False
    """Whether a code by e-mail can be a way to sign in."""

    @property
    def is_on(self) -> bool:
        """Whether anybody can be written to."""
        return bool(self.host) or self.folder is not None


def read_mail(
    reader: Reader, given: object, *, brand: str, public_host: str, data_dir: Path, development: bool
) -> MailSettings:
    """The table, its problems noted. In development a folder stands in for a mail server."""
    values = reader.table(("mail",), given, MAIL)
    name = values["sender_name"] or brand
    if not values["host"]:
        folder = data_dir / "mailbox" if development else None
        if values["sign_in_codes"] and folder is None:
            what, fix = "needs a mail server that takes the letters.", "Set host, or remove sign_in_codes."
            reader.draft.problem(("mail", "sign_in_codes"), what, fix)
        return MailSettings(
            sender=values["sender"] or f"login@{public_host}",
            sender_name=name,
            folder=folder,
            sign_in_codes=values["sign_in_codes"],
        )
    _check(reader, values)
    ca_file = reader.draft.path(values["ca_file"]) if values["ca_file"] else None
    if ca_file is not None and not ca_file.is_file():
        reader.draft.problem(("mail", "ca_file"), f"There is no file {ca_file}.", "Check the path.")
    return MailSettings(
        host=values["host"],
        port=values["port"],
        security=values["security"],
        user_name=values["user_name"],
        password=values["password"],
        sender=values["sender"],
        sender_name=name,
        ca_file=ca_file,
        sign_in_codes=values["sign_in_codes"],
    )


def _check(reader: Reader, values: Mapping[str, Any]) -> None:
    problem = reader.draft.problem
    if not values["sender"]:
        problem(("mail", "sender"), "is missing.", 'Write the address letters come from: sender = "login@example.org".')
    elif not _is_address(values["sender"]):
        problem(("mail", "sender"), "is no e-mail address.", 'Write it bare: sender = "login@example.org".')
    if values["security"] == "none" and not is_loopback(values["host"]):
        problem(
            ("mail", "security"),
            "sends letters and password readable through the network.",
            'Write security = "starttls" or "tls"; none is for a relay on this machine.',
        )
    if bool(values["user_name"]) != (values["password"] is not None):
        problem(("mail", "user_name"), "and password belong together.", "Give both or neither.")


def _is_address(text: str) -> bool:
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):
        return False
    return bool(address.username and address.domain)

"""Send letters: to a mail server by SMTP, or into a folder where a developer reads them.

A letter has a text and an HTML part, loads nothing from anywhere and is marked as sent by a machine (RFC 3834). What a
mail server says goes into no log but as its three digits: its texts repeat addresses.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Protocol

from broker.domain.ports import Clock, Entropy
from broker.domain.values import Secret

TIMEOUT: Final = 20.0
"""Seconds for one letter, from connecting to the server's last word."""


class Composed(Protocol):
    """A letter in words; see `broker.web.letters`."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def html(self) -> str: ...


Compose = Callable[[Mapping[str, str]], Composed]


class NotSent(Exception):
    """A letter that did not go out. `is_final`: trying again would be of no use."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_final = reason, is_final


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where letters are handed over (RFC 5321, RFC 8314)."""

    host: str
    port: int
    security: str
    """`starttls`, `tls` or `none`."""
    user_name: str = ""
    password: Secret | None = field(default=None, repr=False)
    ca_file: Path | None = None


class Mailer:
    """Writes letters and hands them over. `sender` is the address in From; `sender_name` the name beside it."""

    def __init__(
        self,
        *,
        server: MailServer | None,
        folder: Path | None,
        sender: str,
        sender_name: str,
        compose: Compose,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._server, self._folder, self._compose = server, folder, compose
        self._clock, self._entropy = clock, entropy
        self._sender = Address(sender_name, addr_spec=sender)
        self._tls = _tls(server) if server is not None and server.security != "none" else None

    async def send(self, payload: Mapping[str, str]) -> None:
        """One letter. Raises `NotSent`."""
        message = self._message(payload)
        if self._server is None:
            self._keep(message)
            return
        import aiosmtplib  # only where letters are sent

        server = self._server
        try:
            await aiosmtplib.send(
                message,
                hostname=server.host,
                port=server.port,
                use_tls=server.security == "tls",
                start_tls=server.security == "starttls",
                tls_context=self._tls,
                username=server.user_name or None,
                password=server.password.reveal() if server.password is not None else None,
                timeout=TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refusal.code for refusal in error.recipients]
            raise NotSent(f"refused {codes[0]}", is_final=all(code >= 500 for code in codes)) from None
        except aiosmtplib.SMTPResponseException as error:
            raise NotSent(f"{type(error).__name__} {error.code}") from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise NotSent(type(error).__name__) from None

    def _message(self, payload: Mapping[str, str]) -> EmailMessage:
        composed = self._compose(payload)
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        try:
            message["To"] = Address(addr_spec=payload["to"])
        except (ValueError, IndexError, MessageError):
            raise NotSent("address is none", is_final=True) from None
        message["Subject"] = composed.subject
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = f"<{self._entropy.token(15)}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(composed.text)
        message.add_alternative(composed.html, subtype="html")
        return message

    def _keep(self, message: EmailMessage) -> None:
        """Development without a mail server: one file for each letter, newest last by name."""
        if self._folder is None:
            raise NotSent("no mail server", is_final=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{self._clock.now():%Y%m%dT%H%M%S.%f}-{self._entropy.token(6)}.eml"
        (self._folder / name).write_bytes(message.as_bytes())


def _tls(server: MailServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.ca_file) if server.ca_file else None)

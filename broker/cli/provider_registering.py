"""`doorward provider add … --register`: we register ourselves at the provider, and keep what it gives us in files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from broker.cli.common import fail
from broker.domain.trial import UNKNOWN, failure_of
from broker.domain.values import Secret
from broker.egress import Egress, Exemption
from broker.errors import UpstreamError
from broker.settings import Settings
from broker.web.pages.words import FAILURES
from providers._registration import Registered, about_us, register

MODE: Final = 0o600
_WHY: Final = {
    "discovery_issuer": "It calls itself by another address. Open its /.well-known/openid-configuration and look for issuer.",
    "registration_endpoint": "It lets nobody register by a program. Leave --register out, and enter the values there yourself.",
    "registration invalid_token": "It wants an initial access token, or takes ours not. Get one there, and give it with --token-file.",
    "registration access_denied": "It lets only some register. Ask whoever runs it for an initial access token, and give it with --token-file.",
    "registration status": "It takes no registration like ours. Leave --register out, and enter the values there yourself.",
    "registration invalid_redirect_uri": "It takes no address like ours to come back to. Look at public_url, and ask whoever runs it.",
    "registration invalid_client_metadata": "It takes no program like us. Leave --register out, and enter the values there yourself.",
    "registration_no_signature": "It does not say that it takes private_key_jwt (token_endpoint_auth_methods_supported). Nothing was registered. Leave --private-key-jwt out: then a secret says who we are.",
    "registration_no_algorithm": "It takes private_key_jwt with other algorithms (token_endpoint_auth_signing_alg_values_supported). Nothing was registered. Name one of them with --private-key-jwt, or leave it out.",
    "registration_by_secret": "It registered us with a secret and not with our keys. Remove that registration there, and leave --private-key-jwt out.",
    "registration_other_keys": "It registered another address of keys or another algorithm than ours. Look at the registration there, and remove it.",
    "registration_method": "It wants us to prove ourselves in a way that we do not know. Register there yourself.",
    "registration_redirect_uris": "It registered other addresses than ours. Look at the registration there, and remove it.",
}


_BY_HAND: Final = "Look at its documentation, or leave --register out and enter the values there yourself."


class Kept:
    """Files for what the provider will give us, made before it is asked: what cannot be kept is not asked for."""

    def __init__(self, folder: Path, name: str, *, has_secret: bool) -> None:
        self.secret, self.registration = (folder / "secrets" / f"{name}.{end}" for end in ("secret", "registration"))
        self._files = (self.secret, self.registration) if has_secret else (self.registration,)

    def make(self) -> None:
        """Ends the program if they are there, or cannot be made."""
        made: list[Path] = []
        try:
            self.secret.parent.mkdir(mode=0o700, exist_ok=True)
            for path in self._files:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE))
                made.append(path)
        except OSError as error:
            for path in made:
                path.unlink()
            if isinstance(error, FileExistsError):
                fail(
                    f"{error.filename} is there already, from another registration. Nobody was asked, and nothing was registered. "
                    "Name this provider otherwise with --id, or remove the file if nothing needs it any more."
                )
            fail(f"{error.filename} cannot be made ({error.strerror}). Nobody was asked, and nothing was registered.")

    def fill(self, registered: Registered) -> None:
        """With what only we may know."""
        if self.secret in self._files:
            self.secret.write_text(registered.secret.reveal(), encoding="ascii")
        if registered.token is None:
            self.registration.unlink()
            return
        told = {"registration_client_uri": registered.address, "registration_access_token": registered.token.reveal()}
        self.registration.write_text(json.dumps(told, indent=2) + "\n", encoding="ascii")

    def drop(self) -> None:
        """Nothing came of it."""
        for path in self._files:
            with suppress(FileNotFoundError):
                path.unlink()


async def registered_at(
    settings: Settings, upstream: str, name: str, token: Secret | None, kept: Kept, asking: Mapping[str, Any]
) -> Registered:
    """Register, and keep what comes. `asking`: what `about_us` takes beside.

    Ends the program with a sentence if nothing comes of it.
    """
    egress = Egress(exemptions=[Exemption.parse(one.address, one.ca_file) for one in settings.broker.egress])
    us = about_us(name=settings.broker.brand, issuer=settings.broker.public_url, provider=name, **asking)
    kept.make()
    try:
        registered = await register(egress, upstream, us, token)
        kept.fill(registered)
    except UpstreamError as error:
        kept.drop()
        fail(f"{upstream} did not register us ({error.code}: {error.detail}). {why_not(upstream, error.detail)}")
    except BaseException:
        kept.drop()
        raise
    finally:
        await egress.aclose()
    return registered


def why_not(upstream: str, detail: str) -> str:
    """What went wrong at a provider that did not register us, and what to do. `detail`: as the error names it."""
    first, _, rest = detail.partition(" ")
    second = rest.partition(" ")[0]
    known = _WHY.get(f"{first} {second}") or _WHY.get(first)
    if known:
        return known
    if first == "registration":
        return f"It refused. {_BY_HAND}"
    found = failure_of(detail)
    if found == UNKNOWN:
        return f"Its answer is none that can be used. {_BY_HAND}"
    what, fix = FAILURES[found]
    if found in {"kind_of_address", "private_address"}:
        return f'{what} {fix} In doorward.toml: [egress."{_host_and_port(upstream)}"]'
    return f"{what} {fix}"


def _host_and_port(address: str) -> str:
    """As an exception names it."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

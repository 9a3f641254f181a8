"""Debian's LemonLDAP::NG as an upstream: real provider software of somebody else, in Perl, over TLS under a private authority.

It is there as it would be behind any web server: its portal as a PSGI program, its configuration in a file. Who may sign in
are the people of its demonstration, each with the name for a password. It signs them in by OpenID Connect and by OpenID 2.0;
for the latter two slips of its own are mended on the way in (`lemon.psgi`), and it tells nothing of a person but who they are:
what is asked for as optional, as we do, it never gives.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.providers.rig import pem, rsa_key
from tests.support.house import ISSUER
from tests.software.apache import wait_for
from tests.support.servers import free_port, program
from tests.support.tls import Authority, names_on_loopback

HOST: Final = "lemon.test"
CLIENT: Final = "doorward"
SECRET: Final = "secret of the lemon: with % odd + characters"
PORTAL: Final = Path("/usr/share/lemonldap-ng/portal")
PROGRAM: Final = Path(__file__).with_suffix(".psgi")
MOST_HOPS: Final = 12


@dataclass(frozen=True)
class Lemon:
    """The running portal."""

    port: int
    authority: Authority

    @property
    def issuer(self) -> str:
        return f"https://{HOST}:{self.port}/"

    def browser(self) -> httpx2.AsyncClient:
        """A browser that keeps its session there."""
        return httpx2.AsyncClient(verify=self.authority.client_context(), timeout=20, follow_redirects=False)

    async def walk(self, there: httpx2.AsyncClient, url: str, **typed: str) -> str:
        """Through its pages, each with one form, to where it sends the browser away; nothing: it asks who is there, and stays."""
        answer = await there.get(url)
        for _ in range(MOST_HOPS):
            target = answer.headers.get("location")
            if target is not None:
                target = urljoin(str(answer.url), target)
                if not target.startswith(self.issuer):
                    return target
                answer = await there.get(target)
                continue
            page = Page.of(answer)
            if "password" in page.fields and "password" not in typed:
                return ""
            data = {name: typed.get(name, value) for name, value in page.fields.items()}
            assert page.method == "post"
            answer = await there.post(urljoin(str(answer.url), page.action), data=data)
        raise AssertionError("redirects without end")


class Page(HTMLParser):
    """The first form of a page of the portal."""

    def __init__(self) -> None:
        super().__init__()
        self.action, self.method = "", ""
        self.fields: dict[str, str] = {}
        self.inside = False

    @classmethod
    def of(cls, answer: httpx2.Response) -> Page:
        assert answer.status_code == 200, answer.text[:500]
        page = cls()
        page.feed(answer.text)
        assert page.method, answer.text
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.method:
            self.action, self.method = found.get("action", ""), found.get("method", "get").lower()
            self.inside = True
        elif tag in {"input", "button"} and self.inside and found.get("name"):
            self.fields.setdefault(found["name"], found.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False


def configuration(folder: Path, issuer: str) -> dict[str, Any]:
    """What an administrator sets in its manager: one relying party, which is us."""
    key = rsa_key(name="lemon")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    def kept(name: str) -> dict[str, str]:
        (folder / name / "lock").mkdir(parents=True)
        return {
            "Directory": str(folder / name),
            "LockDirectory": str(folder / name / "lock"),
            "generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256",
        }

    party = {
        "ClientID": CLIENT,
        "ClientSecret": SECRET,
        "DisplayName": "Doorward",
        "RedirectUris": f"{ISSUER}/callback/lemon",
        "PostLogoutRedirectUris": f"{ISSUER}/signed-out/lemon",
        "IDTokenSignAlg": "RS256",
        "UserInfoSignAlg": "RS256",
        "RequirePKCE": 1,
        "IDTokenExpiration": 600,
        "AccessTokenExpiration": 600,
    }
    return {
        "cfgNum": 1, "cfgDate": "1700000000", "cfgVersion": "2.16.1", "key": "0123456789abcdef0123456789abcdef",
        "cookieName": "lemonldap", "domain": HOST, "portal": issuer.rstrip("/"), "securedCookie": 1,
        "authentication": "Demo", "userDB": "Same", "passwordDB": "Null", "registerDB": "Null",
        "demoExportedVars": {"cn": "cn", "mail": "mail", "uid": "uid"},
        "globalStorage": "Apache::Session::File", "globalStorageOptions": kept("sessions"),
        "persistentStorage": "Apache::Session::File", "persistentStorageOptions": kept("remembered"),
        "locationRules": {}, "exportedHeaders": {}, "exportedVars": {}, "groups": {},
        "macros": {"_whatToTrace": "lc($_user)"}, "whatToTrace": "_whatToTrace",
        "requireToken": 0,
        "captcha": "::Main::Plugin",  # none: drawing one takes packages that nothing else here needs
        "issuerDBOpenIDActivation": 1, "issuerDBOpenIDPath": "^/openidserver/", "issuerDBOpenIDRule": 1,
        "openIdSPList": "0;",
        "issuerDBOpenIDConnectActivation": 1,
        "oidcServiceMetaDataIssuer": issuer,
        "oidcServiceKeyIdSig": "lemon-1",
        "oidcServicePrivateKeySig": private,
        "oidcServicePublicKeySig": pem(key).decode(),
        "oidcServiceAllowAuthorizationCodeFlow": 1,
        "oidcRPMetaDataOptions": {CLIENT: {f"oidcRPMetaDataOptions{name}": value for name, value in party.items()}},
        "oidcRPMetaDataExportedVars": {CLIENT: {"email": "mail", "name": "cn", "preferred_username": "uid"}},
    }  # fmt: skip


@contextmanager
def running_lemon(authority: Authority, folder: Path) -> Iterator[Lemon]:
    """Start it and wait until it answers."""
    port, leaf = free_port(), authority.leaf(HOST)
    lemon = Lemon(port, authority)
    told = configuration(folder, lemon.issuer)
    (folder / "conf").mkdir()
    (folder / "conf" / "lmConf-1.json").write_text(json.dumps(told), encoding="ascii")
    settings = folder / "lemonldap-ng.ini"
    settings.write_text(
        "[all]\nlogLevel = warn\nlogger = Lemonldap::NG::Common::Logger::Std\n"
        "userLogger = Lemonldap::NG::Common::Logger::Std\n"
        f"[configuration]\ntype = File\ndirName = {folder}/conf\n"
        f"[portal]\nstaticPrefix = /static\ntemplateDir = {PORTAL}/templates\nlanguages = en\n",
        encoding="ascii",
    )
    command = [
        program("setpriv"), "--pdeathsig", "TERM", program("plackup"), "--server", "HTTP::Server::PSGI", "--env", "deployment",
        "--host", "127.0.0.1", "--port", str(port), "--enable-ssl",
        "--ssl-cert-file", str(leaf.certificate), "--ssl-key-file", str(leaf.key), str(PROGRAM),
    ]  # fmt: skip
    log = folder / "portal.log"
    environment = {**os.environ, "LLNG_DEFAULTCONFFILE": str(settings)}
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
        try:
            wait_for(port, process, log)
            with names_on_loopback():
                yield lemon
        finally:
            process.terminate()
            process.wait(10)

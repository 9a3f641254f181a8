"""The shipped conformance configuration starts a real server, and its test person gets through as its document says."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.conformance.suite import CALLBACK, PROVIDER, PUBLIC, SHIPPED, SITES, secret_of
from tests.support.house import Shown
from tests.support.sandbox import serve
from tests.support.servers import free_port
from tests.support.source import ROOT
from tests.support.tls import Authority

from providers.sandbox import openid_connect as openid_sandbox

PROVIDER_SECRET: Final = "openid-secret-of-this-test-0123"
LIMIT: Final = 60.0


@pytest.fixture
def public() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def folder(tmp_path: Path, public: str, authority: Authority) -> Iterator[Path]:
    """The shipped files, filled in as the document says; the provider they name is there."""
    person = openid_sandbox.Client(id="doorward", secret=PROVIDER_SECRET, redirect_uris=[f"{public}/callback/openid"])
    with serve(openid_sandbox.create_app([person])) as provider:
        config = tmp_path / "conformance"
        (config / "secrets").mkdir(parents=True, mode=0o700)
        for name in ("doorward.toml", "providers.toml", "sites.toml"):
            text = (SHIPPED / name).read_text().replace(PUBLIC, public).replace(PROVIDER, urlsplit(provider).netloc)
            (config / name).write_text(text.replace("port = 8000", f"port = {urlsplit(public).port}"))
        secrets = {f"{name}.secret": secret_of(name) for name in SITES} | {"openid.secret": PROVIDER_SECRET}
        secrets |= {"master.key": base64.b64encode(os.urandom(32)).decode(), "suite-ca.pem": authority.ca.read_text()}
        for name, text in secrets.items():
            (config / "secrets" / name).touch(mode=0o600)
            (config / "secrets" / name).write_text(text)
        yield config


@pytest.fixture
def server(folder: Path, public: str) -> Iterator[str]:
    command = [sys.executable, "-m", "broker", "serve", "--config", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            end = time.monotonic() + LIMIT
            while not _is_ready(public):
                assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield public
        finally:
            process.terminate()
            process.wait(LIMIT)


def _is_ready(public: str) -> bool:
    try:
        return httpx2.get(f"{public}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def selector(command: list[str]) -> str:
    """`button[name=decision][value=share]` as our page reader knows a button: `decision=share`."""
    name, _, value = command[2].removeprefix("button[name=").removesuffix("]").partition("][value=")
    return f"{name}={value}"


class Clicks:
    """A browser that does what `suite.json` tells the suite's browser, and nothing else."""

    def __init__(self, client: httpx2.Client, public: str, provider: str) -> None:
        script = json.loads((SHIPPED / "suite.json").read_text())["browser"][0]["tasks"]
        self.tasks = [{**task, "match": task["match"].replace(PUBLIC, public)} for task in script]
        self.provider, self.client = provider, client

    def go(self, url: str) -> dict[str, str]:
        """From the request to the callback."""
        answer = self.client.get(url)
        for _ in range(40):
            where = self._onward(answer)
            if where is not None and where.startswith(CALLBACK):
                return dict(parse_qsl(urlsplit(where).query))
            answer = self.client.get(where) if where is not None else self._click(Shown.read(answer))
        raise AssertionError(f"went round at {answer.url}")

    def _onward(self, answer: httpx2.Response) -> str | None:
        refresh = answer.headers.get("refresh", "").partition("url=")[2]
        where = answer.headers.get("location") or refresh
        return urljoin(str(answer.url), where) if where else None

    def _click(self, page: Shown) -> httpx2.Response:
        url = page.url.replace(self.provider, f"http://{PROVIDER}")
        while not fnmatchcase(url, self.tasks[0]["match"]):
            assert self.tasks.pop(0)["optional"], f"{url}: {page.text[:300]}"
        task = self.tasks.pop(0)
        typed = {command[2]: command[3] for command in task["commands"] if command[0] == "text"}
        form, button = page.find(selector(task["commands"][-1]))
        fields = {name: typed.get(name, value) for name, value in form.fields} | {button.name: button.value}
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
        return self.client.post(urljoin(page.url, form.action), data=fields, headers={"Origin": origin})


def test_what_is_shipped_starts_and_signs_its_test_person_in(server: str, folder: Path) -> None:
    provider = folder.joinpath("providers.toml").read_text().partition('issuer = "')[2].partition('"')[0]
    request = {
        "client_id": "conformance", "redirect_uri": CALLBACK, "response_type": "code", "state": "some-state",
        "scope": "openid profile email address phone", "nonce": "some-nonce",
    }  # fmt: skip
    metadata = httpx2.get(f"{server}/.well-known/openid-configuration").json()
    with httpx2.Client(timeout=LIMIT) as client:
        answer = Clicks(client, server, provider).go(f"{metadata['authorization_endpoint']}?{urlencode(request)}")
    assert (answer["state"], answer["iss"]) == ("some-state", server)
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": CALLBACK}
    tokens = httpx2.post(metadata["token_endpoint"], data=form, auth=("conformance", secret_of("conformance"))).json()
    keys = KeySet.import_key_set(httpx2.get(metadata["jwks_uri"]).json())
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (server, "conformance", "some-nonce")
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    told: dict[str, Any] = httpx2.get(metadata["userinfo_endpoint"], headers=bearer).json()
    assert told["sub"] == claims["sub"]
    assert told["address"]["locality"] == "Kadıköy"
    assert told.keys() - {"sub"} == {
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
        "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified", "address",
        "phone_number", "phone_number_verified",
    }  # fmt: skip


def test_it_may_call_the_suite_and_nobody_else(folder: Path) -> None:
    """Each exception names host and port; without them the suite's logout address would not be called."""
    text = (folder / "doorward.toml").read_text()
    assert text.count("[egress.") == 2
    (folder / "doorward.toml").write_text(
        text.replace('[egress."suite.club.example:8443"]', '[egress."suite.club.example:8444"]')
    )
    done = subprocess.run(
        [sys.executable, "-m", "broker", "check", "--json", "--config", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "conformance-back.backchannel_logout_uri" in done.stdout

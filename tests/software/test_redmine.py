"""Debian's Redmine behind a real nginx, set up with the recipe and the plugin that `doorward site add` prints, in Chromium."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser.town import Town, open_town
from tests.browser.visitor import Visitor
from tests.serve.guarded import nginx
from tests.software.printed import Printed, add
from tests.software.proxies import in_front, without_tls
from tests.software.redmine import Redmine, first_administrator, redmine
from tests.support.chromium import Chromium
from tests.support.servers import free_port, held
from tests.support.tls import Authority

pytestmark = pytest.mark.browser
HOST = "redmine.test"
PROJECTS = "Club Projects"
GIVEN = 'User.find_by_login("jonas").update!(auth_source: AuthSourceDoorward.find_or_create_by!(name: "Doorward"))'
"""What an administrator's form does under *Authentication mode*."""


@dataclass
class Street:
    """A town with Redmine in it."""

    town: Town
    redmine: Redmine
    printed: Printed
    port: int
    """Redmine's own, behind nginx."""

    @property
    def url(self) -> str:
        return self.printed.url


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority) -> Iterator[Street]:
    place, port, own = tmp_path_factory.mktemp("town"), free_port(), free_port()
    told: list[Printed] = []

    def prepare(town: Town, config: Path) -> None:
        told.append(add(config, "projects", software="redmine", title=PROJECTS, url=f"https://{HOST}:{port}/"))
        (config / "conf.d" / "50-proxy.toml").write_text('[broker]\ntrusted_proxies = ["127.0.0.1"]\n')

    folder = tmp_path_factory.mktemp("proxy")
    chromium.hosts[HOST] = port
    with ExitStack() as stack:
        with held(port, own):
            town = stack.enter_context(open_town(place, chromium, authority, prepare=prepare))
            made = redmine(tmp_path_factory.mktemp("redmine") / "redmine", told[0], authority)
        plain = stack.enter_context(without_tls(town.ports["broker"], authority.client_context()))
        stack.enter_context(made.running(own))
        command = nginx(folder, authority, https=port, doorward=plain, site=own, host=HOST, client="projects")
        stack.enter_context(in_front(command, folder, port))
        yield Street(town, made, told[0], own)


@pytest.fixture
def visitor(street: Street) -> Iterator[Visitor]:
    """Somebody who has been nowhere with this browser."""
    street.town.reset_providers()
    with street.town.visitor(checked=False) as visitor:
        yield visitor


def share(visitor: Visitor, persona: str, name: str) -> None:
    """From the chooser to Redmine, with all that it asks; a newcomer makes an account first."""
    visitor.meet(f"Sign in to {PROJECTS}")
    visitor.be(persona)
    visitor.sign_up(name)
    visitor.meet(f"Share these with {PROJECTS}?")
    visitor.press("Share and continue")


def test_redmine_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """Whatever a browser sends as a name (catalogue 142); what somebody writes is theirs, and Sign out ends it."""
    page = visitor.page
    visitor.open(f"{street.url}projects")
    share(visitor, "normal", "ana")
    expect(page.locator("#loggedas")).to_have_text("Logged in as ana")
    forged = {"Remote-User": "jonas", "X-Login-Assertion": "a.b.c", "X_Login_Assertion": "a.b.c"}
    visitor.person.context.set_extra_http_headers(forged)
    page.get_by_role("link", name="ana", exact=True).click()
    expect(page.get_by_role("heading", level=2)).to_have_text("Ana Marković")
    expect(page.locator("#loggedas")).to_have_text("Logged in as ana")
    visitor.person.context.set_extra_http_headers({})

    street.redmine.run(*first_administrator(street.printed))
    visitor.open(f"{street.url}projects/new")
    page.get_by_label("Name").fill("Boats")
    page.get_by_label("Identifier").fill("boats")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_text("Successful creation.")).to_be_visible()

    page.get_by_role("link", name="Sign out").click()
    visitor.meet("Sign out of what?")
    expect(page.get_by_text(f"{PROJECTS} asks to sign you out.")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    visitor.meet("You are signed out")
    visitor.open(street.url)
    visitor.meet(f"Sign in to {PROJECTS}")


def test_a_name_that_no_login_holds_is_written_in_letters_that_it_does(street: Street, visitor: Visitor) -> None:
    """Which nobody's user name can be."""
    page = visitor.page
    visitor.open(street.url)
    share(visitor, "amina", "amína")
    expect(page.locator("#loggedas")).to_have_text("Logged in as @xn--amna-wpa")


def test_an_account_with_a_password_of_redmines_own_stays_shut(street: Street, visitor: Visitor) -> None:
    """Even to the person who has that user name, until an administrator gives it to them as the guide says."""
    page = visitor.page
    visitor.open(street.url)
    share(visitor, "jonas", "jonas")
    refused = page.get_by_text("Doorward names nobody who has an account here that it opens.")
    expect(refused).to_be_visible()
    expect(page.locator("#loggedas")).to_have_count(0)
    street.redmine.run("bundle", "exec", "rails", "runner", GIVEN)
    visitor.open(street.url)
    expect(page.locator("#loggedas")).to_have_text("Logged in as jonas")


def test_whoever_passes_by_nginx_is_nobody(street: Street) -> None:
    """Whatever name, assertion that we did not sign, or password they send to Redmine's own server (catalogue 142)."""
    with urllib.request.urlopen(f"{street.town.login}/jwks", context=street.town.authority.client_context()) as answer:
        kid = next(key["kid"] for key in json.load(answer)["keys"] if key["kty"] == "RSA")
    for headers in (
        {},
        {"Remote-User": "mallory", "Remote-Name": "Mallory"},
        {"X-Login-Assertion": forged(street, alg="none")},
        {"X-Login-Assertion": forged(street, alg="RS256", kid="unknown")},
        {"X-Login-Assertion": forged(street, alg="RS256", kid=kid)},
        {"Authorization": "Basic " + base64.b64encode(b"admin:admin").decode()},
    ):
        asked = urllib.request.Request(f"http://127.0.0.1:{street.port}/projects", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=30)
        with refused.value as answer:
            assert answer.code == 403
            assert b"Doorward names nobody" in answer.read()


def forged(street: Street, **head: str) -> str:
    """All that we would say of somebody whom Redmine would make an account for, with another signature."""
    person = {"sub": "mallory", "preferred_username": "mallory", "name": "Mallory", "email": "mallory@club.example"}
    said = {"iss": street.town.login, "aud": "projects", "exp": int(time.time()) + 60, "email_verified": True, **person}
    parts = [json.dumps({"typ": "fwd+jwt", **head}).encode(), json.dumps(said).encode(), bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

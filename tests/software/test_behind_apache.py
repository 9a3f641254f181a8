"""Software of others behind Debian's Apache with mod_auth_openidc, set up with what `doorward site add` prints and nothing else.

Everything is on loopback over TLS by the tests' authority; somebody signs in with Chromium, and the software names them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Locator, expect
from tests.browser.town import HOSTS, Town, open_town
from tests.browser.visitor import Visitor
from tests.software.apache import Apache
from tests.software.dokuwiki import dokuwiki
from tests.software.mediawiki import mediawiki
from tests.software.printed import Printed, add, show
from tests.software.trac import trac, wrapped
from tests.support.chromium import Chromium, clear_cookies_of
from tests.support.servers import free_port, held
from tests.support.tls import Authority

pytestmark = pytest.mark.browser
PLAIN = "apache.test"
NOTES = "Sailing Notes"
DOKUWIKI = "dokuwiki.test"
WIKI = "Club DokuWiki"
MEDIAWIKI = "mediawiki.test"
ARCHIVE = "Club Archive"
TRAC = "trac.test"
TICKETS = "Club Tickets"
WRAPPED = "wrapped.test"
REPORTS = "Club Reports"
PEOPLE = {"normal": "ana", "jonas": "jonas", "amina": "amína"}
"""Persona of the provider -> user name here."""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title>
<h1>Notes of <!--#echo var="REMOTE_USER" --></h1>
<dl><dt>Name<dd id="name"><!--#echo var="OIDC_CLAIM_name" --><dt>Header<dd id="header"><!--#echo var="HTTP_REMOTE_USER" --></dl>
<p><a href="/secure/redirect_uri?logout=%(url)s">Sign out</a>"""


@dataclass
class Street:
    """A town with Apache's sites in it."""

    town: Town
    apache: Apache
    wrapped: str
    """Where Trac under the sign-in kit is."""

    @property
    def plain(self) -> str:
        return self.apache.url(PLAIN)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority) -> Iterator[Street]:
    with tempfile.TemporaryDirectory(prefix="doorward-apache-", ignore_cleanup_errors=True) as folder:
        apache = Apache(Path(folder), authority)
        place, port = tmp_path_factory.mktemp("town"), free_port()
        kept = f"https://{WRAPPED}:{port}"

        def prepare(town: Town, config: Path) -> None:
            with held(apache.port, port):
                for host, (name, title, software, lay_out) in SITES.items():
                    printed = add(config, name, software=software, title=title, url=apache.url(host))
                    apache.hosts[host] = lay_out(apache, printed)
            add(config, "reports", software="python", title=REPORTS, url=f"{kept}/")
            called = [*(f"{host}:{apache.port}" for host in SITES), f"{WRAPPED}:{port}"]
            known = "".join(f'[egress."{host}"]\nca_file = "{authority.ca}"\n' for host in called)
            (config / "conf.d" / "50-called.toml").write_text(known)

        chromium.hosts |= {**dict.fromkeys(SITES, apache.port), WRAPPED: port}
        with open_town(place, chromium, authority, prepare=prepare) as town, apache.running(list(HOSTS.values())):
            leaf, secret = authority.leaf(WRAPPED), place / "config" / "secrets" / "reports.secret"
            files = [str(path) for path in (leaf.certificate, leaf.key, authority.ca)]
            told = show(place / "config", "reports", software="trac", url=kept)
            with wrapped(place / "trac", told, str(port), *files, town.login, "reports", str(secret), kept):
                yield Street(town, apache, kept)


def plain(apache: Apache, printed: Printed) -> str:
    """Pages that Apache itself makes."""
    pages = apache.folder / "notes"
    pages.mkdir()
    (pages / "index.shtml").write_text(PAGE % {"url": printed.url})
    served = (
        f"DocumentRoot {pages}\nDirectoryIndex index.shtml\nAddType text/html .shtml\nAddOutputFilter INCLUDES .shtml"
    )
    return f"{served}\n<Directory {pages}>\nOptions +Includes\n</Directory>\n{printed.code('VirtualHost')}"


SITES: Final[dict[str, tuple[str, str, str, Callable[[Apache, Printed], str]]]] = {
    PLAIN: ("notes", NOTES, "apache", plain),
    DOKUWIKI: ("wiki-of-others", WIKI, "dokuwiki", dokuwiki),
    MEDIAWIKI: ("archive", ARCHIVE, "mediawiki", mediawiki),
    TRAC: ("tickets", TICKETS, "trac", trac),
}
"""Host -> id, name, guide, and what lays it out."""


@pytest.fixture
def visitor(street: Street) -> Iterator[Visitor]:
    """Somebody nobody knows yet."""
    street.town.reset_providers()
    with street.town.visitor(checked=False) as visitor:
        yield visitor


def arrive(visitor: Visitor, url: str, name: str, persona: str) -> None:
    """Open a page of the site that lets nobody in unknown, and come back to it."""
    visitor.open(url)
    share(visitor, name, persona)
    be_at(visitor, url)


def be_at(visitor: Visitor, url: str) -> None:
    """Wait for this address, with whatever a provider hung on to it."""
    visitor.page.wait_for_url(re.compile(re.escape(url) + "(#.*)?$"))


def open_until(visitor: Visitor, url: str, sight: Locator) -> None:
    """Open a page again and again until this is on it: our server tells the site of a sign-out when it comes to it."""
    for _ in range(50):
        visitor.open(url)
        if sight.count():
            return
        visitor.page.wait_for_timeout(200)
    raise AssertionError(f"{sight} is not on {url}")


def share(visitor: Visitor, name: str, persona: str) -> None:
    """From the chooser to a site that the person has not been at, with all that it asks; a newcomer makes an account first."""
    visitor.meet(f"Sign in to {name}")
    visitor.be(persona)
    heading = visitor.page.get_by_role("heading", level=1)
    expect(heading).to_have_text(re.compile("^(Choose what to use|Share these)"))
    if heading.inner_text().startswith("Choose"):
        visitor.sign_up(PEOPLE[persona])
    visitor.meet(f"Share these with {name}?")
    for box in visitor.page.get_by_role("checkbox").all():
        box.check()
    visitor.press("Share and continue")


def test_apache_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """By the user name; names of every script arrive whole, and a header somebody sends names nobody (catalogue 142)."""
    forged = {"Remote-User": "admin", "OIDC_CLAIM_name": "admin", "OIDC-CLAIM-name": "admin", "REMOTE_USER": "admin"}
    arrive(visitor, street.plain, NOTES, "normal")
    visitor.person.context.set_extra_http_headers(forged)
    visitor.open(street.plain)
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Notes of ana")
    expect(visitor.page.locator("#name")).to_have_text("Ana Marković")


def test_who_signs_out_at_the_site_is_signed_out_of_doorward_too(street: Street, visitor: Visitor) -> None:
    arrive(visitor, street.plain, NOTES, "jonas")
    visitor.press("Sign out")
    visitor.meet("Sign out of what?")
    expect(visitor.page.get_by_text(f"{NOTES} asks to sign you out.")).to_be_visible()
    visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    # The address it asked to come back to: signed out here as there, the person is asked to sign in again.
    visitor.meet(f"Sign in to {NOTES}")


def test_who_signs_out_of_everything_is_signed_out_of_the_site(street: Street, visitor: Visitor) -> None:
    """Doorward tells mod_auth_openidc, which forgets the session."""
    arrive(visitor, street.plain, NOTES, "amina")
    visitor.open(street.town.login + "/signout")
    visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    visitor.meet("You are signed out")
    open_until(visitor, street.plain, visitor.page.get_by_role("heading", name=f"Sign in to {NOTES}"))


def test_dokuwiki_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """From its own link, with the printed blocks alone; what they write there is theirs, and Log Out ends it."""
    page = visitor.page
    wiki = street.apache.url(DOKUWIKI)
    visitor.open(f"{wiki}doku.php?id=boats")
    expect(page.get_by_text("Logged in as")).to_have_count(0)
    page.get_by_role("link", name="Log In").first.click()
    share(visitor, WIKI, "normal")
    be_at(visitor, f"{wiki}doku.php?id=boats")
    expect(page.get_by_text("Logged in as: Ana Marković (ana)")).to_be_visible()

    page.get_by_role("link", name="Create this page").first.click()
    page.locator("#wiki__text").fill("All boats are blue.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("All boats are blue.")).to_be_visible()
    expect(page.locator(".docInfo")).to_contain_text("by ana")

    page.get_by_role("link", name="Log Out").first.click()
    visitor.meet("Sign out of what?")
    visitor.page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    be_at(visitor, wiki)
    expect(page.get_by_role("link", name="Log In").first).to_be_visible()

    visitor.person.context.set_extra_http_headers(
        {"Remote-User": "ana", "REMOTE_USER": "ana", "OIDC_CLAIM_name": "ana"}
    )
    visitor.open(f"{wiki}doku.php?id=boats&do=edit")
    expect(page.get_by_text("This page is read only.")).to_be_visible()
    expect(page.get_by_text("Logged in as")).to_have_count(0)


def test_mediawiki_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """From its own link, with the printed blocks alone; what they write is theirs, and who comes next is somebody else."""
    page = visitor.page
    wiki = street.apache.url(MEDIAWIKI)
    visitor.open(f"{wiki}index.php/Main_Page")
    page.locator("#pt-login a").click()
    share(visitor, ARCHIVE, "normal")
    be_at(visitor, f"{wiki}index.php/Main_Page")
    expect(page.locator("#pt-userpage")).to_have_text("Ana")

    visitor.open(f"{wiki}index.php?title=Boats&action=edit")
    page.locator("#wpTextbox1").fill("All boats are blue.")
    page.locator("#wpSave").click()
    expect(page.get_by_text("All boats are blue.")).to_be_visible()
    visitor.open(f"{wiki}index.php?title=Boats&action=history")
    expect(page.locator("#pagehistory .mw-userlink")).to_have_text("Ana")
    visitor.open(f"{wiki}index.php/Special:Preferences")
    expect(page.locator("input[name=wprealname]")).to_have_value("Ana Marković")

    page.locator("#pt-logout a").click()
    visitor.meet("Sign out of what?")
    page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    be_at(visitor, f"{wiki}index.php/Main_Page")
    expect(page.locator("#pt-userpage")).to_have_count(0)
    clear_cookies_of(visitor.person, "facebook.test")  # where Ana still is
    page.locator("#pt-login a").click()
    share(visitor, ARCHIVE, "jonas")
    be_at(visitor, f"{wiki}index.php/Main_Page")
    expect(page.locator("#pt-userpage")).to_have_text("Jonas")


def test_trac_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """From its own link, with the printed blocks alone; what they report is theirs, and Logout ends it."""
    page = visitor.page
    site = street.apache.url(TRAC)
    visitor.open(f"{site}wiki/TracGuide")
    page.get_by_role("link", name="Login").click()
    share(visitor, TICKETS, "amina")
    be_at(visitor, f"{site}wiki/TracGuide")
    expect(page.get_by_text("logged in as amína")).to_be_visible()

    visitor.open(f"{site}newticket")
    page.locator("#field-summary").fill("The jetty is loose")
    page.get_by_role("button", name="Create ticket").click()
    expect(page.locator("#h_reporter + td")).to_have_text("amína")

    page.get_by_role("link", name="Logout").click()
    visitor.meet("Sign out of what?")
    page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    be_at(visitor, site)
    expect(page.get_by_role("link", name="Login")).to_be_visible()
    visitor.open(f"{site}newticket")
    page.get_by_role("link", name="do so").click()
    visitor.meet(f"Sign in to {TICKETS}")


def test_trac_under_the_sign_in_kit_names_who_signed_in(street: Street, visitor: Visitor) -> None:
    """No Apache: the kit signs people in, and hears of it when they sign out of everything."""
    page = visitor.page
    visitor.open(f"{street.wrapped}/wiki/TracGuide")
    page.get_by_role("link", name="Login").click()
    share(visitor, REPORTS, "amina")
    be_at(visitor, f"{street.wrapped}/wiki/TracGuide")
    expect(page.get_by_text("logged in as amína")).to_be_visible()

    page.get_by_role("link", name="Logout").click()
    visitor.meet("Sign out of what?")
    page.get_by_role("button", name=re.compile("^Sign out of everything")).click()
    visitor.meet("You are signed out")
    open_until(visitor, f"{street.wrapped}/wiki/TracGuide", page.get_by_role("link", name="Login"))

"""Logos: fetched once and kept; of sites that put themselves in only what an admin looked at; gone with whose they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from tests.flows.op import FORUM, WIKI, site
from tests.support.builders import NOW, FixedClock

from broker.domain.audit import Act
from broker.domain.client import Client
from broker.domain.documents import mark
from broker.domain.logo import LogoUnusable, of_provider, path_of
from broker.domain.registration import Registration
from broker.domain.values import ClientId, ProviderId
from broker.errors import Conflict, NotFound
from broker.flows.audit import AuditTrail
from broker.flows.logos import TRIED_EVERY, LogoFlow
from broker.flows.registration import Reviews
from broker.stores.memory import MemoryBrowser, MemoryDurable

ADDRESS, FILE = "https://forum.test/logo.png", "/etc/doorward/wiki.png"
APP = ClientId("https://app.test/client")
ACME = ProviderId("acme")
ACT = Act(by="test", why="test")


def address_of(png: bytes) -> str:
    return path_of(hashlib.sha256(png).hexdigest())


@dataclass
class Source:
    """What lies where, and what was asked for."""

    lies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def source(self, option: str) -> str:
        return option if "://" in option else f"{option}#{self.lies.get(option, b'').hex()}"

    async def draw(self, option: str) -> bytes:
        self.asked.append(option)
        if option not in self.lies:
            raise LogoUnusable("status")
        return self.lies[option]


class Rig:
    def __init__(self) -> None:
        self.clock = FixedClock()
        self.durable, self.source = MemoryDurable(self.clock), Source()
        self.limits, self.reports = MemoryBrowser(self.clock).limits, list[tuple[str, str]]()
        self.wanted: dict[str, str] = {}
        self.reviews = Reviews(
            durable=self.durable,
            trail=AuditTrail(durable=self.durable, clock=self.clock, key=b"k" * 32),
            clock=self.clock,
        )
        self.flow = self.another()

    def another(self) -> LogoFlow:
        """The same in another process."""
        return LogoFlow(
            durable=self.durable,
            source=self.source,
            limits=self.limits,
            clock=self.clock,
            wanted=self.wanted,
            report=lambda owner, reason: self.reports.append((owner, reason)),
        )

    async def came_by_itself(self, logo: str = "https://app.test/logo.png") -> tuple[Registration, Client]:
        text = '{"client_name":"App"}'
        kept = Registration(
            client_id=APP, invitation="", metadata=text, scopes=frozenset(), token_digest=mark(text), registered_at=NOW,
            fresh_until=NOW,
        )  # fmt: skip
        unit = self.durable.unit()
        unit.keep_document(kept)
        await unit.commit()
        return kept, site(APP, logo=logo, is_unreviewed=True)


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- what an admin configured -------------------------------------------------------------------------


async def test_a_configured_logo_is_fetched_once_for_all_processes(rig: Rig) -> None:
    """(catalogue 141)"""
    rig.wanted |= {FORUM: ADDRESS, of_provider(ACME): "https://acme.test/a.png"}
    rig.source.lies |= {ADDRESS: b"forum", "https://acme.test/a.png": b"acme"}
    forum = site(FORUM, logo=ADDRESS)
    assert rig.flow.of_site(forum) == rig.flow.of_provider(ACME) == ""
    other = rig.another()
    for flow in (rig.flow, other, rig.flow):
        await flow.bring_up_to_date()
    assert rig.source.asked == [ADDRESS, "https://acme.test/a.png"]
    assert rig.flow.of_site(forum) == other.of_site(forum) == address_of(b"forum")
    assert rig.flow.of_provider(ACME) == address_of(b"acme")
    assert await other.sent(address_of(b"forum").rpartition("/")[2]) == b"forum"
    rig.source.lies[ADDRESS] = b"another"
    await rig.flow.bring_up_to_date()
    assert rig.flow.of_site(forum) == address_of(b"forum")


async def test_a_file_is_read_anew_when_something_else_stands_in_it(rig: Rig) -> None:
    rig.wanted[WIKI] = FILE
    rig.source.lies[FILE] = b"one"
    wiki = site(WIKI, logo=FILE)
    await rig.flow.bring_up_to_date()
    rig.source.lies[FILE] = b"two"
    for _ in range(2):
        await rig.flow.bring_up_to_date()
    assert rig.flow.of_site(wiki) == address_of(b"two")
    assert rig.source.asked == [FILE, FILE]
    with pytest.raises(NotFound):
        await rig.flow.sent(address_of(b"one").rpartition("/")[2])


async def test_a_logo_that_cannot_be_had_changes_nothing_and_is_asked_for_seldom(rig: Rig) -> None:
    rig.wanted |= {FORUM: ADDRESS, WIKI: FILE}
    rig.source.lies[FILE] = b"wiki"
    for _ in range(3):
        await rig.another().bring_up_to_date()
    assert rig.source.asked == [ADDRESS, FILE]
    assert rig.reports == [(FORUM, "status")]
    await rig.flow.reload()
    assert rig.flow.of_site(site(FORUM, logo=ADDRESS)) == ""
    rig.source.lies[ADDRESS] = b"forum"
    rig.clock.move(timedelta(seconds=TRIED_EVERY))
    await rig.flow.bring_up_to_date()
    assert rig.flow.of_site(site(FORUM, logo=ADDRESS)) == address_of(b"forum")


async def test_a_logo_goes_with_whose_it_is(rig: Rig) -> None:
    rig.wanted |= {FORUM: ADDRESS, of_provider(ACME): ADDRESS}
    rig.source.lies[ADDRESS] = b"forum"
    kept, app = await rig.came_by_itself(ADDRESS)
    await rig.flow.looked_at(app)
    await rig.flow.bring_up_to_date()
    assert len(await rig.durable.logos.after("")) == 3
    rig.wanted.clear()
    await rig.flow.bring_up_to_date()
    assert [logo.owner for logo in await rig.durable.logos.after("")] == [APP]
    assert rig.flow.of_provider(ACME) == ""
    rig.durable.tables.registrations.pop(kept.client_id)  # while somebody looked at it
    await rig.flow.bring_up_to_date()
    assert await rig.durable.logos.after("") == ()


@pytest.mark.parametrize("name", ["x.png", f"{'a' * 64}.png"])
async def test_a_logo_that_is_not_there_is_not_found(rig: Rig, name: str) -> None:
    with pytest.raises(NotFound):
        await rig.flow.sent(name)


# --- of a site that put itself in ---------------------------------------------------------------------


async def test_nobody_is_called_for_a_site_before_an_admin_looks_at_it(rig: Rig) -> None:
    """(catalogue 138)"""
    await rig.came_by_itself()
    await rig.flow.bring_up_to_date()
    assert rig.source.asked == []


async def test_people_see_the_picture_that_an_admin_looked_at_and_no_other(rig: Rig) -> None:
    """(catalogue 141)"""
    kept, app = await rig.came_by_itself()
    rig.source.lies[app.logo] = b"own"
    drawn = await rig.flow.looked_at(app)
    assert drawn is not None
    assert drawn == await rig.flow.kept_of(app)
    with pytest.raises(NotFound):
        await rig.flow.sent(f"{drawn.logo.digest}.png")
    assert await rig.reviews.reviewed(kept, ACT, drawn.logo)
    held, reviewed = await rig.durable.registrations.load(APP), replace(app, is_unreviewed=False)
    assert held is not None
    assert held.reviewed_at is not None
    await rig.flow.reload()
    assert rig.flow.of_site(reviewed) == address_of(b"own")
    assert rig.flow.of_site(app) == ""
    again = await rig.flow.looked_at(reviewed)
    assert again is not None
    assert again.logo.is_shown
    assert not await rig.reviews.reviewed(held, ACT, again.logo)

    rig.source.lies[app.logo] = b"facebook's"
    other = await rig.flow.looked_at(reviewed)
    await rig.flow.reload()
    assert rig.flow.of_site(reviewed) == ""
    assert other is not None
    assert await rig.reviews.reviewed(held, ACT, other.logo)
    await rig.flow.reload()
    assert rig.flow.of_site(reviewed) == address_of(b"facebook's")
    noted = [entry.subject for entry in await rig.durable.audit.entries(0, 9)]
    assert len(noted) == len(set(noted)) == 2


async def test_a_logo_that_changed_under_the_admins_eyes_is_not_shown(rig: Rig) -> None:
    kept, app = await rig.came_by_itself()
    rig.source.lies[app.logo] = b"own"
    drawn = await rig.flow.looked_at(app)
    rig.source.lies[app.logo] = b"facebook's"
    await rig.flow.looked_at(app)
    assert drawn is not None
    with pytest.raises(Conflict, match="logo"):
        await rig.reviews.reviewed(kept, ACT, drawn.logo)
    held = await rig.durable.registrations.load(APP)
    assert held is not None
    assert held.reviewed_at is None


async def test_a_site_is_reviewed_without_the_logo_that_it_has_not(rig: Rig) -> None:
    kept, app = await rig.came_by_itself("")
    assert await rig.flow.looked_at(app) is None
    assert await rig.flow.kept_of(app) is None
    assert await rig.reviews.reviewed(kept, ACT)
    with_one = replace(app, logo=ADDRESS)
    with pytest.raises(LogoUnusable, match="status"):
        await rig.flow.looked_at(with_one)
    assert await rig.flow.kept_of(with_one) is None


async def test_no_file_of_ours_is_a_sites_to_show(rig: Rig) -> None:
    """(catalogue 138)"""
    _, app = await rig.came_by_itself("/etc/doorward/wiki.png")
    rig.source.lies["/etc/doorward/wiki.png"] = b"wiki"
    with pytest.raises(LogoUnusable, match="scheme"):
        await rig.flow.looked_at(app)
    assert rig.source.asked == []

"""A Discourse forum signs people in by DiscourseConnect, asking as Discourse asks and reading as it reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.support.house import ISSUER, Arrival, House, Sandboxes, Shown, open_house, site_secret
from tests.web.desk import MORE_SITES, account_of, member, signed_in, wide_house

from broker.cli import guides
from broker.cli.attempts import read_attempts
from broker.domain.values import ClientId

SITE = "https://discourse-connect.test"
SECRET = "forum-secret-0123456789abcdef0123456789"


class Discourse:
    """What `DiscourseConnectBase` does: base64 of a query, and HMAC-SHA256 of that text in hexadecimal."""

    def __init__(self) -> None:
        self.nonces: set[str] = set()

    def question(self, **more: str) -> str:
        nonce = secrets.token_hex(16)
        self.nonces.add(nonce)
        said = {"nonce": nonce, "return_sso_url": f"{SITE}/session/sso_login", **more}
        sso = base64.b64encode(urlencode(said).encode()).decode()
        return f"{ISSUER}/discourse/sso?{urlencode({'sso': sso, 'sig': self.sign(sso)})}"

    def sign(self, sso: str) -> str:
        return hmac.new(SECRET.encode(), sso.encode(), hashlib.sha256).hexdigest()

    def read(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{SITE}/session/sso_login"
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert hmac.compare_digest(self.sign(query["sso"]), query["sig"])
        said = {name: values[0] for name, values in parse_qs(base64.b64decode(query["sso"]).decode()).items()}
        self.nonces.remove(said["nonce"])
        return said


@pytest.fixture
async def house(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[House]:
    """The usual sites, and a forum just as its guide has it."""
    folder = tmp_path / "config" / "conf.d"
    folder.mkdir(parents=True)
    secret_file = tmp_path / "forum.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(SECRET)
    guide = guides.read("discourse-connect")
    values = guides.Values(issuer=ISSUER, url=f"{SITE}/", id="talk", secret=SECRET, random="r" * 43)
    (folder / "talk.toml").write_text(guides.block(guide, values, name="Talk", secret_file=str(secret_file)))
    async with wide_house(tmp_path, sandboxes, sites=MORE_SITES, environ={"OLD_SECRET": site_secret("old")}) as opened:
        yield opened


@pytest.fixture
def forum() -> Discourse:
    return Discourse()


async def test_a_forum_signs_a_person_in(house: House, forum: Discourse) -> None:
    """Past the forum's own consent page; the second time at once; always as the same person."""
    browser = await member(house, "ana")
    question = await browser.open(forum.question())
    assert question.path.endswith("/site")
    assert "Talk" in question.text
    end = await browser.press("decision=share", tick=["name"])
    assert isinstance(end, Arrival)
    told = forum.read(end.url)
    assert (told["username"], told["email"], told["name"]) == ("ana", "ana@mail.test", "Ana Lund")
    assert told["require_activation"] == "true", "nobody proved this address"
    again = await browser.go(forum.question())
    assert isinstance(again, Arrival)
    assert forum.read(again.url)["external_id"] == told["external_id"]
    assert not forum.nonces


async def test_the_forum_stands_among_the_persons_sites(house: House, forum: Discourse) -> None:
    browser = await member(house, "ana")
    await browser.open(forum.question())
    await browser.press("decision=share")
    session = await signed_in(house, await account_of(house, "ana"))
    assert "Talk" in (await session.open("/me/sites")).text
    assert "Talk" in (await session.open("/me/history")).text


async def test_asked_in_silence_the_forum_hears_that_nobody_is_there(house: House, forum: Discourse) -> None:
    end = await house.browser().go(forum.question(prompt="none"))
    assert isinstance(end, Arrival)
    assert set(forum.read(end.url)) == {"nonce", "failed"}


async def test_saying_no_ends_here_with_words(house: House, forum: Discourse) -> None:
    browser = await member(house, "ana")
    await browser.open(forum.question())
    end = await browser.press("decision=refuse")
    assert isinstance(end, Shown)
    assert end.status == 403
    assert "Talk did not let you in" in end.text


@pytest.mark.parametrize("change", [{"return_sso_url": "https://evil.test/session/sso_login"}, {"nonce": ""}])
async def test_nobody_is_sent_where_no_forum_of_ours_is(house: House, forum: Discourse, change: dict[str, str]) -> None:
    shown = await (await member(house, "ana")).go(forum.question(**change))
    assert isinstance(shown, Shown)
    assert shown.status == 400
    assert "evil.test" not in shown.text


async def test_a_question_that_was_changed_on_its_way_is_refused(house: House, forum: Discourse) -> None:
    url = forum.question()
    shown = await (await member(house, "ana")).open(f"{url[:-1]}{'0' if url[-1] != '0' else '1'}")
    assert shown.status == 400


async def test_what_the_log_says_of_another_secret_names_the_forum(house: House, forum: Discourse) -> None:
    """So that its admin finds it among the forum's attempts."""
    url = forum.question()
    await house.browser().open(url[:-1] + ("0" if url[-1] != "0" else "1"))
    (found,) = read_attempts(house.log.splitlines(), house.settings.clients[ClientId("talk")])
    assert found.what == "It asked by DiscourseConnect and signed with another secret."


async def test_an_address_of_ours_is_no_way_around_the_sites_own(house: House, forum: Discourse) -> None:
    """Neither for the forum at `/authorize`, nor for another site."""
    for name in ("talk", "forum"):
        asked = {
            "client_id": name,
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": f"{ISSUER}/discourse/answer",
            "code_challenge": "x" * 43,
            "code_challenge_method": "S256",
        }
        shown = await (await member(house, f"ana-{name}")).open(f"/authorize?{urlencode(asked)}")
        assert shown.status == 400


async def test_without_a_forum_there_is_no_such_way(tmp_path: Path, sandboxes: Sandboxes, forum: Discourse) -> None:
    async with open_house(tmp_path, sandboxes) as plain:
        assert (await plain.browser().open(forum.question())).status == 400
        assert (await plain.browser().open("/discourse/answer?state=x&code=y")).status == 410

"""Letters over real SMTP: protected on the way, in two parts, refused where trying again is of no use."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as mail_policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from tests.flows.op import CountingEntropy
from tests.support.builders import FixedClock
from tests.support.servers import free_port
from tests.support.tls import Authority

from broker import paths
from broker.domain.letters import LETTER, Letter
from broker.domain.ports import Delivery
from broker.domain.values import ClientId, Secret
from broker.mail import Mailer, MailServer, NotSent
from broker.outbox import RETRIES, Deliverer
from broker.stores.memory import MemoryDurable
from broker.web.letters import WORDS, Letters
from broker.web.render import Renderer

TO = "ana@people.test"
PASSWORD = "password-of-the-mail-server"


@dataclass
class Box:
    """What the mail server took, and what it says to the next recipient."""

    got: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    says: str = ""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.says:
            return self.says
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, EmailMessage, policy=mail_policy)
        self.got.append((envelope.mail_from, envelope.rcpt_tos, message))
        return "250 OK"


@contextmanager
def serving(box: Box, authority: Authority, security: str) -> Iterator[int]:
    """A mail server on loopback; its port."""
    leaf = authority.leaf("127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(leaf.certificate, leaf.key)

    def allow(_server: Any, _session: Any, _envelope: Any, _mechanism: Any, data: Any) -> AuthResult:
        return AuthResult(success=data.login == b"doorward" and data.password == PASSWORD.encode(), handled=False)

    more: dict[str, Any] = {"ssl_context": tls} if security == "tls" else {}
    if security == "starttls":
        more = {"tls_context": tls, "require_starttls": True}
    if security != "none":
        more |= {
            "authenticator": allow,
            "auth_required": security == "starttls",
            "auth_require_tls": security == "starttls",
        }
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **more)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mailer(port: int, security: str, authority: Authority | None, *, password: str = PASSWORD) -> Mailer:
    renderer = Renderer(brand="Club & Co", locales=("en", "fr"), default_locale="en", templates=paths.templates())
    words = Letters(
        renderer=renderer, public_url="https://login.test", brand="Club & Co", labels={"facebook": "Facebook (sandbox)"}
    )
    named = security != "none"
    return Mailer(
        server=MailServer(
            host="127.0.0.1",
            port=port,
            security=security,
            user_name="doorward" if named else "",
            password=Secret(password) if named else None,
            ca_file=authority.ca if authority is not None else None,
        ),
        folder=None,
        sender="login@club.test",
        sender_name="Club & Co",
        compose=words.compose,
        clock=FixedClock(),
        entropy=CountingEntropy(),
    )


def payload(letter: Letter = Letter.CHECK_ADDRESS, **more: str) -> dict[str, str]:
    values = {"letter": str(letter), "to": TO, "locale": "en", "code": "482913", "token": "t-1", "provider": "facebook"}
    return values | {"until": (FixedClock().now() + timedelta(hours=1)).isoformat()} | more


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_letter_arrives_in_two_parts(authority: Authority, security: str) -> None:
    """Protected and signed in where the settings say so; the certificate is checked."""
    box = Box()
    with serving(box, authority, security) as port:
        await mailer(port, security, authority).send(payload())
    ((sender, recipients, message),) = box.got
    assert (sender, recipients) == ("login@club.test", [TO])
    assert message["Subject"] == "482 913 is your Club & Co code"
    (author,) = message["From"].addresses
    assert (author.display_name, author.addr_spec) == ("Club & Co", "login@club.test")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@club.test>")
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text.get_content(), html.get_content()):
        assert "482 913" in part
        assert "https://login.test/mail/check?token=t-1" in part
    assert "Club &amp; Co" in html.get_content()
    assert not [word for word in ("<img", "<script", "<link", "url(") if word in html.get_content()]


async def test_a_server_that_cannot_be_trusted_gets_nothing(authority: Authority) -> None:
    """A certificate of somebody else; a server that offers no protection where it is wanted."""
    box = Box()
    for offered, wanted, trusted in (
        ("starttls", "starttls", None),
        ("tls", "tls", None),
        ("none", "starttls", authority),
    ):
        with serving(box, authority, offered) as port:
            with pytest.raises(NotSent) as refused:
                await mailer(port, wanted, trusted).send(payload())
        assert not refused.value.is_final
    assert box.got == []


async def test_what_a_mail_server_says_is_kept_as_its_number_only(authority: Authority) -> None:
    """Its words repeat addresses. 5xx about the recipient is the last word, 4xx is not."""
    for says, is_final in ((f"550 no {TO} here", True), (f"451 {TO} later", False)):
        with serving(Box(says=says), authority, "none") as port:
            with pytest.raises(NotSent) as refused:
                await mailer(port, "none", None).send(payload())
        assert refused.value.reason == f"refused {says[:3]}"
        assert refused.value.is_final is is_final
        assert TO not in repr(refused.value)


async def test_a_wrong_password_and_a_dead_server_are_tried_again(authority: Authority) -> None:
    """An admin can mend both, and the letter is not lost."""
    box = Box()
    with serving(box, authority, "starttls") as port:
        with pytest.raises(NotSent) as wrong:
            await mailer(port, "starttls", authority, password="not-it").send(payload())
    assert wrong.value.reason == "SMTPAuthenticationError 535"
    with pytest.raises(NotSent) as dead:
        await mailer(free_port(), "none", None).send(payload())
    assert not wrong.value.is_final
    assert not dead.value.is_final


@pytest.mark.parametrize("to", ["", "no address", "a@b@c", "ana@people.test\r\nBcc: all@people.test"])
async def test_an_address_that_is_none_is_not_tried(to: str) -> None:
    """Nor does it bring headers of its own (CWE-93)."""
    with pytest.raises(NotSent) as refused:
        await mailer(free_port(), "none", None).send(payload(to=to))
    assert refused.value.is_final


@pytest.mark.parametrize("locale", ["en", "fr", "", "xx"])
@pytest.mark.parametrize("letter", list(Letter))
def test_every_letter_has_its_words_in_every_language(tmp_path: Path, letter: Letter, locale: str) -> None:
    """Values stay as they are: what looks like a template is text (catalogue 149)."""
    renderer = Renderer(brand="%(x)s {{7*7}}", locales=("en", "fr"), default_locale="en", templates=paths.templates())
    words = Letters(renderer=renderer, public_url="https://login.test", brand="%(x)s {{7*7}}", labels={})
    composed = words.compose(payload(letter, locale=locale, provider="${7*7}"))
    assert "%(x)s {{7*7}}" in composed.subject
    assert "49" not in composed.subject + composed.text
    assert "\n" not in composed.subject
    assert ("\u00a0:\nhttps" if locale == "fr" else ":\nhttps") in composed.text or not WORDS[letter].link
    assert (f'<html lang="{"fr" if locale == "fr" else "en"}"') in composed.html
    assert set(WORDS) == set(Letter)
    assert composed.text.endswith("https://login.test\n")


@pytest.mark.parametrize("letter", [Letter.WAY_ADDED, Letter.WAY_REMOVED])
def test_a_way_at_one_of_many_servers_is_named_with_it(letter: Letter) -> None:
    renderer = Renderer(brand="Club", locales=("en", "fr"), default_locale="en", templates=paths.templates())
    words = Letters(renderer=renderer, public_url="https://login.test", brand="Club", labels={"fedi": "Mastodon"})
    for locale in ("en", "fr"):
        composed = words.compose(payload(letter, locale=locale, provider="fedi", place="social.example"))
        assert "Mastodon (social.example)" in composed.text
        assert "Mastodon (social.example)" in composed.html


@pytest.mark.parametrize("letter", [Letter.MERGED, Letter.MERGED_AWAY])
def test_after_a_merge_a_letter_names_the_sites_that_go_on_with_the_other_account(letter: Letter) -> None:
    """Where there are none, nothing is said of them."""
    renderer = Renderer(brand="Club", locales=("en", "fr"), default_locale="en", templates=paths.templates())
    words = Letters(renderer=renderer, public_url="https://login.test", brand="Club", labels={})
    for locale, line in (("en", "go on with the other one: Forum, Wiki."), ("fr", "avec l’autre\u00a0: Forum, Wiki.")):
        named = words.compose(payload(letter, locale=locale, sites="Forum, Wiki"))
        without = words.compose(payload(letter, locale=locale))
        assert line in named.text
        assert line in named.html
        assert len(without.text.split("\n\n")) == len(named.text.split("\n\n")) - 1


async def test_without_a_mail_server_letters_are_kept_for_reading(tmp_path: Path) -> None:
    """Development: a file each, for this user's eyes only."""
    folder = tmp_path / "mailbox"
    box = mailer(1, "none", None)
    box._server, box._folder = None, folder
    await box.send(payload())
    (path,) = folder.iterdir()
    assert TO in path.read_text()
    assert folder.stat().st_mode & 0o077 == 0
    box._folder = None
    with pytest.raises(NotSent):
        await box.send(payload())


# --- through the outbox -------------------------------------------------------------------------------


@dataclass
class Post:
    """A mailer by script."""

    answers: list[Exception] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)

    async def send(self, letter: Any) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.sent.append(dict(letter))


@dataclass
class Events:
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def event(self, name: str, /, **facts: Any) -> None:
        self.lines.append((name, facts))


def office(post: Post | None) -> tuple[Deliverer, FixedClock, Events]:
    clock, log = FixedClock(), Events()
    unused: Any = None
    deliverer = Deliverer(
        durable=MemoryDurable(clock), clients={}, http=unused, signer=unused, clock=clock, entropy=CountingEntropy(),
        log=log, issuer="https://login.test", subject_key=b"", sid_key=b"", events=unused, take_back=unused, letters=post,
    )  # fmt: skip
    return deliverer, clock, log


async def put(deliverer: Deliverer, clock: FixedClock) -> None:
    unit = deliverer.durable.unit()
    unit.enqueue(
        Delivery(
            id="d1", kind=LETTER, client=ClientId(""), payload=payload(), created_at=clock.now(), due_at=clock.now()
        )
    )
    await unit.commit()


async def test_a_letter_is_sent_once_and_gone(authority: Authority) -> None:
    post = Post()
    deliverer, clock, log = office(post)
    await put(deliverer, clock)
    assert await deliverer.once() == 1
    assert await deliverer.once() == 0
    assert len(post.sent) == 1
    assert log.lines == [("letter_sent", {"letter": "check_address", "attempts": 1})]


async def test_a_letter_is_tried_again_while_it_is_worth_it() -> None:
    """An hour: then the code in it is dead anyway. Whatever breaks, nothing of it is logged but its kind."""
    post = Post(answers=[NotSent("refused 451"), RuntimeError(TO), *(NotSent("OSError") for _ in RETRIES)])
    deliverer, clock, log = office(post)
    await put(deliverer, clock)
    while any(name != "letter_given_up" for name, _ in log.lines[-1:]) or not log.lines:
        await deliverer.once()
        clock.move(timedelta(minutes=11))
        assert len(log.lines) < 20
    assert [name for name, _ in log.lines] == ["letter_delayed"] * (len(log.lines) - 1) + ["letter_given_up"]
    assert log.lines[-1][1]["reason"] == "too late"
    assert TO not in str(log.lines)


@pytest.mark.parametrize("post", [None, Post(answers=[NotSent("refused 550", is_final=True)])])
async def test_a_letter_nobody_takes_is_given_up_at_once(post: Post | None) -> None:
    deliverer, clock, log = office(post)
    await put(deliverer, clock)
    await deliverer.once()
    assert [name for name, _ in log.lines] == ["letter_given_up"]
    clock.move(timedelta(days=1))
    assert await deliverer.once() == 0


async def test_the_last_try_is_the_last() -> None:
    """Also where the letter would be worth sending for longer."""
    post = Post(answers=[NotSent("OSError") for _ in range(len(RETRIES) + 1)])
    deliverer, clock, log = office(post)
    unit = deliverer.durable.unit()
    long = payload() | {"until": (clock.now() + timedelta(days=90)).isoformat()}
    unit.enqueue(
        Delivery(id="d1", kind=LETTER, client=ClientId(""), payload=long, created_at=clock.now(), due_at=clock.now())
    )
    await unit.commit()
    for _ in range(len(RETRIES) + 1):
        await deliverer.once()
        clock.move(timedelta(days=2))
    assert [name for name, _ in log.lines] == ["letter_delayed"] * len(RETRIES) + ["letter_given_up"]

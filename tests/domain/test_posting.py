"""The second gate: who may post what, where and how long."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import builders as make
from tests.support.builders import FACEBOOK, FORUM, NOW, WIKI

from broker.domain import posting
from broker.domain.consent import ConsentReceipt, Purpose
from broker.domain.posting import (
    MAX_TEXT,
    PERMIT_LIFETIME,
    POST,
    THIS_POST,
    WORDING,
    Message,
    PostingOptIn,
    PostingPermit,
    check_permit,
    counterparty,
    is_address,
    message_problem,
    one_post,
    opt_in,
    parties,
    permit,
    permit_to_take_back,
)
from broker.domain.values import AccountId, ClientId, ProviderId
from broker.errors import PostingNotPermitted

ANA, BEN = AccountId("ana"), AccountId("ben")
MASTODON = ProviderId("mastodon")
HELLO = Message(text="hello", url="https://forum.example/t/1")
TICK = timedelta(microseconds=1)


def agreed(account: AccountId = ANA, provider: ProviderId = FACEBOOK, client: ClientId = FORUM) -> ConsentReceipt:
    return make.posting_receipt(account, provider, client)


def withdrawn(receipt: ConsentReceipt) -> ConsentReceipt:
    return replace(receipt, accepted=(), refused=receipt.shown, withdraws=receipt.id)


def opted(account: AccountId = ANA) -> PostingOptIn:
    found = opt_in([agreed(account)], account, FACEBOOK, FORUM)
    assert found is not None
    return found


def forum(**more: Any) -> Any:
    return make.client(**({"may_post": True} | more))


# --- the opt-in is a receipt --------------------------------------------------------------------------


def test_off_is_the_absence_of_a_receipt() -> None:
    """(catalogue 189)"""
    assert opt_in([], ANA, FACEBOOK, FORUM) is None


@pytest.mark.parametrize(
    "receipt",
    [
        agreed(account=BEN),
        agreed(provider=MASTODON),
        agreed(client=WIKI),
        replace(agreed(), purpose=Purpose.SHARE_WITH_CLIENT),
        replace(agreed(), purpose=Purpose.PREFILL_SIGN_UP),
        replace(agreed(), accepted=(), refused=(POST,)),
        replace(agreed(), denied=True),
        replace(agreed(), counterparty=one_post(FACEBOOK, FORUM)),
        replace(agreed(), shown=(THIS_POST,), accepted=(THIS_POST,), versions={THIS_POST: WORDING}),
    ],
    ids=["person", "provider", "site", "sharing", "prefill", "refused", "denied", "one post", "another word"],
)
def test_a_receipt_of_anybody_or_anything_else_is_no_opt_in(receipt: ConsentReceipt) -> None:
    """Opt-in is for one account, one provider, one site and one purpose (catalogue 189)."""
    assert opt_in([receipt], ANA, FACEBOOK, FORUM) is None


def test_a_withdrawal_ends_the_opt_in_and_a_new_one_begins_anew() -> None:
    first = agreed()
    assert opt_in([first, withdrawn(first)], ANA, FACEBOOK, FORUM) is None
    later = replace(agreed(), decided_at=NOW)
    again = opt_in([first, withdrawn(first), later], ANA, FACEBOOK, FORUM)
    assert again is not None
    assert (again.receipt, again.since) == (later.id, NOW)


def test_saying_no_to_the_page_changes_nothing_that_stood() -> None:
    first, no = agreed(), replace(agreed(), accepted=(), refused=(POST,), denied=True)
    found = opt_in([first, no], ANA, FACEBOOK, FORUM)
    assert found is not None
    assert found.receipt == first.id


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ANA, BEN]),
            st.sampled_from([FACEBOOK, MASTODON]),
            st.sampled_from([FORUM, WIKI]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_the_last_word_on_one_triple_is_what_stands_for_it(
    decisions: list[tuple[AccountId, ProviderId, ClientId, bool]],
) -> None:
    """Whatever was decided about other people, networks and sites in between (catalogue 189)."""
    receipts, last = [], {}
    for account, provider, client, yes in decisions:
        receipt = agreed(account, provider, client)
        receipts.append(receipt if yes else withdrawn(receipt))
        last[account, provider, client] = yes
    for account in (ANA, BEN):
        for provider in (FACEBOOK, MASTODON):
            for client in (FORUM, WIKI):
                stands = opt_in(receipts, account, provider, client) is not None
                assert stands is last.get((account, provider, client), False)


def test_the_receipt_of_one_post_never_names_an_opt_in() -> None:
    assert parties(counterparty(FACEBOOK, FORUM)) == (FACEBOOK, FORUM)
    assert parties(counterparty(FACEBOOK, ClientId("a/b"))) == (FACEBOOK, ClientId("a/b"))
    assert parties(one_post(FACEBOOK, FORUM)) is None
    assert parties("facebook") is None


# --- permits ------------------------------------------------------------------------------------------


def test_a_permit_is_for_one_message_of_one_person_at_one_network_and_site() -> None:
    ours = opted()
    got = permit(ours, forum(), ANA, HELLO, NOW)
    assert (got.account, got.provider, got.client, got.receipt) == (ANA, FACEBOOK, FORUM, ours.receipt)
    assert got.message_digest == HELLO.digest
    check_permit(got, HELLO, NOW)


@pytest.mark.parametrize(
    ("opt", "client", "account"),
    [
        (None, forum(), ANA),
        (opted(BEN), forum(), ANA),
        (opted(), forum(), BEN),
        (opted(), forum(client_id=WIKI), ANA),
        (opted(), forum(may_post=False), ANA),
        (opted(), forum(enabled=False), ANA),
        (opted(), forum(name="Another face"), ANA),
        (replace(opted(), wording="0"), forum(), ANA),
    ],
    ids=[
        "no opt-in",
        "of another",
        "for another",
        "other site",
        "site may not",
        "site disabled",
        "other face",
        "old words",
    ],
)
def test_without_everything_there_is_no_permit(opt: PostingOptIn | None, client: Any, account: AccountId) -> None:
    """(catalogue 189)"""
    with pytest.raises(PostingNotPermitted):
        permit(opt, client, account, HELLO, NOW)


def test_a_permit_cannot_be_made_or_changed_elsewhere() -> None:
    got = permit(opted(), forum(), ANA, HELLO, NOW)
    values = {
        name: getattr(got, name)
        for name in ("account", "provider", "client", "receipt", "message_digest", "expires_at")
    }
    with pytest.raises(TypeError, match="permit"):
        PostingPermit(**values)
    with pytest.raises(TypeError, match="permit"):
        PostingPermit(**values, mint=object())
    with pytest.raises(TypeError, match="permit"):
        replace(got, account=BEN)
    with pytest.raises((FrozenInstanceError, TypeError)):
        got.account = BEN  # type: ignore[misc]


@pytest.mark.parametrize(
    "other",
    [
        replace(HELLO, text="hello!"),
        replace(HELLO, url="https://forum.example/t/2"),
        replace(HELLO, url=None),
        Message(text=""),
    ],
)
def test_a_permit_fits_no_other_message(other: Message) -> None:
    """(catalogue 191)"""
    got = permit(opted(), forum(), ANA, HELLO, NOW)
    with pytest.raises(PostingNotPermitted):
        check_permit(got, other, NOW)


@given(st.text(), st.text(), st.text(), st.text())
def test_only_the_same_text_and_address_have_the_same_digest(text: str, url: str, other: str, other_url: str) -> None:
    """Addresses hold no NUL and neither do texts, so nothing can be moved from one to the other (catalogue 191)."""
    texts, urls = (
        (text.replace("\0", ""), other.replace("\0", "")),
        (url.replace("\0", ""), other_url.replace("\0", "")),
    )
    one, two = Message(text=texts[0], url=urls[0]), Message(text=texts[1], url=urls[1])
    assert (one.digest == two.digest) is ((texts[0], urls[0]) == (texts[1], urls[1]))


def test_a_permit_is_good_for_a_minute() -> None:
    got = permit(opted(), forum(), ANA, HELLO, NOW)
    assert timedelta(minutes=1) == PERMIT_LIFETIME
    check_permit(got, HELLO, NOW + PERMIT_LIFETIME - TICK)
    with pytest.raises(PostingNotPermitted):
        check_permit(got, HELLO, NOW + PERMIT_LIFETIME)


@given(st.text())
def test_a_permit_to_take_back_fits_no_message_at_all(text: str) -> None:
    key = permit_to_take_back(opted(), ANA, NOW)
    with pytest.raises(PostingNotPermitted):
        check_permit(key, Message(text=text), NOW)


def test_a_permit_to_take_back_is_for_ones_own_opt_in() -> None:
    with pytest.raises(PostingNotPermitted):
        permit_to_take_back(opted(), BEN, NOW)


def test_nothing_else_in_the_gate_makes_a_permit() -> None:
    makers = [
        name
        for name, item in vars(posting).items()
        if getattr(item, "__annotations__", {}).get("return") == "PostingPermit"
    ]
    assert makers == ["permit", "permit_to_take_back"]


# --- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "👩🏽‍🚀 on the moon 🏳️‍🌈",
        "שלום עולם, مرحبا",
        "\u200fשלום\u200e mixed",
        "two\nlines\r\nand\ta tab",
        "@somebody #tag https://example.org/ <b>&amp;",
        "é" * MAX_TEXT,
    ],
)
def test_any_readable_text_may_be_posted_as_it_is(text: str) -> None:
    """(catalogue 195)"""
    assert message_problem(text, None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "x" * (MAX_TEXT + 1),
        "x" * 10_000,
        "a\x00b",
        "a\x1b[31m",
        "a\x7f",
        "a\x85b",
        "\ud800",
        "\u202egnp.exe",
        "\u2066x\u2069",
    ],
)
def test_what_a_preview_cannot_show_as_it_is_is_refused(text: str) -> None:
    """Empty, too long, control characters, halves of characters, and marks that turn the order around (catalogue 195)."""
    assert message_problem(text, None)


@pytest.mark.parametrize(
    "url", ["https://forum.example/t/1", "http://localhost:8001/t/0?a=b#c", "https://xn--bcher-kva.example/"]
)
def test_an_address_to_share_is_http_or_https(url: str) -> None:
    assert is_address(url)
    assert message_problem("hello", url) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "forum.example", "//forum.example/", "javascript:alert(1)", "data:text/html,x", "ftp://forum.example/",
        "https://", "https:///t", "https://ana@forum.example/", "https://forum.example:0/", "https://forum.example:x/",
        "https://forum.example/ x", "https://forum.example/\n", "https://forum.example/\\x", 'https://forum.example/"',
        "https://forum.example/<b>", "https://bücher.example/", "https://[::1", "https://forum.example/" + "x" * 2000,
    ],
)  # fmt: skip
def test_any_other_address_is_refused(url: str) -> None:
    """(catalogue 195)"""
    assert not is_address(url)
    assert message_problem("hello", url)


def test_a_message_shows_neither_text_nor_address() -> None:
    shown = repr(make.posting(ANA, message=replace(HELLO, text="canary text", return_url="https://canary.example/")))
    assert "canary" not in shown
    assert "forum.example" not in shown

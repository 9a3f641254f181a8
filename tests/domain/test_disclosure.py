"""The first gate: claims leave by `release()`, and only those that were agreed to."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import builders
from tests.support.builders import NOW

from broker.domain.claims import EMAIL, EMAIL_VERIFIED, NAME, PICTURE, PREFERRED_USERNAME
from broker.domain.disclosure import Disclosure, Via, release, row
from broker.domain.values import AccountId, ClaimName, ClientId
from broker.errors import InvalidToken

ASKS = tuple(builders.asked(claim, needed=False) for claim in (NAME, EMAIL, PICTURE))
CLIENT = builders.client(asks=ASKS)
PROFILE = {NAME: "Zoë", EMAIL: "zoe@mail.test", PICTURE: "https://pictures.test/zoe", PREFERRED_USERNAME: "zoe"}
ALL_VERSIONS = {ask.claim: ask.version for ask in ASKS}
GRANT = builders.grant(AccountId("me"), claims=ALL_VERSIONS)


def released(**changes: Any) -> Disclosure:
    values: dict[str, Any] = {
        "grant": GRANT, "client": CLIENT, "profile": PROFILE, "verified": frozenset({EMAIL}),
        "subject": "subject", "via": Via.USERINFO, "now": NOW, **changes,
    }  # fmt: skip
    grant, client, profile, verified = (values.pop(name) for name in ("grant", "client", "profile", "verified"))
    return release(grant, client, profile, verified, **values)


def test_what_was_agreed_to_leaves() -> None:
    gone = released()
    assert gone.claims == {NAME: "Zoë", EMAIL: "zoe@mail.test", "email_verified": True, PICTURE: PROFILE[PICTURE]}
    assert gone.names == (EMAIL, NAME, PICTURE)


def test_a_claim_that_was_not_agreed_to_stays() -> None:
    """A deselected optional claim is nowhere in what leaves (catalogue 135)."""
    gone = released(grant=replace(GRANT, claims={NAME: ALL_VERSIONS[NAME]}))
    assert gone.claims == {NAME: "Zoë"}


def test_a_claim_whose_purpose_changed_stays() -> None:
    """Agreed to for something else: nothing leaves until it is agreed to anew (catalogue 133)."""
    changed = replace(ASKS[1], why={"en": "to sell it"})
    gone = released(client=replace(CLIENT, asks=(ASKS[0], changed, ASKS[2])))
    assert EMAIL not in gone.claims
    assert "email_verified" not in gone.claims


def test_a_claim_the_site_no_longer_asks_for_stays() -> None:
    assert set(released(client=replace(CLIENT, asks=ASKS[:1])).claims) == {NAME}


def test_a_claim_without_a_value_is_left_out() -> None:
    gone = released(profile={NAME: "", EMAIL: "zoe@mail.test"})
    assert gone.names == (EMAIL,)


def test_an_id_token_holds_what_was_asked_for_there() -> None:
    """By name, or because the site reads nothing else (OpenID Connect Core §5.4, §5.5; catalogue 86)."""
    lean = replace(CLIENT, claims_in_id_token=False)
    assert released(client=lean, via=Via.ID_TOKEN).claims == {}
    named = replace(GRANT, in_id_token=frozenset({NAME, PREFERRED_USERNAME}))
    assert released(client=lean, grant=named, via=Via.ID_TOKEN).claims == {NAME: "Zoë"}
    assert released(via=Via.ID_TOKEN).names == (EMAIL, NAME, PICTURE)


def test_what_was_asked_for_elsewhere_is_not_in_userinfo() -> None:
    """OpenID Connect Core §5.5; a session token holds all that is shared with the site."""
    elsewhere = replace(GRANT, not_in_userinfo=frozenset({EMAIL}))
    assert released(grant=elsewhere).names == (NAME, PICTURE)
    assert released(grant=elsewhere, via=Via.SESSION_TOKEN).names == (EMAIL, NAME, PICTURE)


@pytest.mark.parametrize(("verified", "says"), [(frozenset(), False), (frozenset({EMAIL}), True)])
def test_an_address_is_called_checked_only_by_our_word(verified: frozenset[ClaimName], says: bool) -> None:
    """`email_verified` is always there, a JSON boolean, and ours (catalogue 119)."""
    assert released(verified=verified).claims[EMAIL_VERIFIED] is says


@pytest.mark.parametrize(
    "grant",
    [
        replace(GRANT, revoked_at=NOW - timedelta(microseconds=1)),
        replace(GRANT, expires_at=NOW),
        replace(GRANT, client=ClientId("wiki")),
    ],
    ids=["revoked", "expired", "of another site"],
)
def test_a_grant_that_does_not_stand_releases_nothing(grant: Any) -> None:
    """(catalogue 137)"""
    with pytest.raises(InvalidToken):
        released(grant=grant)


def test_a_disclosure_is_made_nowhere_else() -> None:
    with pytest.raises(TypeError):
        Disclosure(grant=GRANT, subject="s", claims={}, names=(), via=Via.ID_TOKEN, released_at=NOW)
    with pytest.raises(TypeError):
        Disclosure(grant=GRANT, subject="s", claims={}, names=(), via=Via.ID_TOKEN, released_at=NOW, mint=object())


def test_a_disclosure_cannot_be_altered_into_another() -> None:
    gone = released()
    with pytest.raises((TypeError, ValueError)):
        replace(gone, claims={NAME: "somebody else"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        gone.claims = {}  # type: ignore[misc]


def test_the_record_keeps_names_and_no_values() -> None:
    kept = row(released(via=Via.SESSION_TOKEN))
    assert kept.claims == (EMAIL, NAME, PICTURE)
    assert (kept.account, kept.client, kept.grant, kept.receipt) == (
        GRANT.account, GRANT.client, GRANT.id, GRANT.receipt,
    )  # fmt: skip
    assert (kept.via, kept.day, kept.released_at) == (Via.SESSION_TOKEN, NOW.date(), NOW)
    text = repr(kept)
    assert not [value for value in PROFILE.values() if value in text]


def test_values_never_show_in_a_repr() -> None:
    text = repr(released())
    assert not [value for value in PROFILE.values() if value in text]
    assert "subject=" not in text.replace("subject_type", "")


NAMES = st.sampled_from([NAME, EMAIL, PICTURE, PREFERRED_USERNAME, ClaimName("birthdate")])
VERSIONS = st.sampled_from([*ALL_VERSIONS.values(), "an older version"])


@settings(max_examples=25, deadline=None)
@given(
    agreed=st.dictionaries(NAMES, VERSIONS),
    profile=st.dictionaries(NAMES, st.text(max_size=3)),
    asked=st.lists(st.sampled_from(ASKS), unique_by=lambda ask: ask.claim),
)
def test_nothing_leaves_that_is_not_asked_agreed_and_held(
    agreed: dict[ClaimName, str], profile: dict[ClaimName, str], asked: list[Any]
) -> None:
    """Whatever person, grant and site: the way out is the cut of the three (catalogue 135)."""
    client = replace(CLIENT, asks=tuple(asked))
    gone = released(grant=replace(GRANT, claims=agreed), client=client, profile=profile)
    assert set(gone.names) == {
        ask.claim for ask in asked if agreed.get(ask.claim) == ask.version and profile.get(ask.claim)
    }
    assert set(gone.claims) - {"email_verified"} == set(gone.names)
    assert all(gone.claims[name] == profile[name] for name in gone.names)

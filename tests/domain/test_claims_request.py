"""The `claims` parameter: what it may say, and what becomes of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.claims import EMAIL, NAME, PICTURE
from broker.domain.claims_request import NOTHING, ClaimsRequest, read_claims_request
from broker.errors import InvalidRequest

VALUES = {EMAIL: "ana@mail.test", NAME: "Ana"}


def read(**members: object) -> ClaimsRequest:
    return read_claims_request(json.dumps(members))


def test_each_member_names_its_claims() -> None:
    """OpenID Connect Core §5.5."""
    asked = read(
        userinfo={"name": {"essential": True}, "picture": None, "http://example.info/claims/groups": None},
        id_token={"email": {"value": "ana@mail.test"}, "auth_time": {"essential": True}, "acr": {"values": ["1", "2"]}},
    )
    assert asked.userinfo == {NAME: None, PICTURE: None}
    assert asked.id_token == {EMAIL: ("ana@mail.test",)}
    assert asked.essential == {NAME}
    assert asked.names == {NAME, PICTURE, EMAIL}
    assert (asked.subjects, asked.acr) == (None, None)


def test_unknown_members_and_claims_are_left_out() -> None:
    """§5.5: whatever they hold."""
    assert read(verified_claims=[1, 2], userinfo={"groups": "x", "name#fr": 5}, id_token={}) == NOTHING
    assert read() == NOTHING


def test_an_essential_acr_with_values_is_insisted_on() -> None:
    """§5.5.1.1."""
    assert read(id_token={"acr": {"essential": True, "value": "strong"}}).acr == ("strong",)
    assert read(id_token={"acr": {"essential": True, "values": ["a", "b"]}}).acr == ("a", "b")
    assert read(id_token={"acr": {"essential": True}}).acr is None
    assert read(id_token={"acr": {"essential": False, "value": "strong"}}).acr is None
    assert read(userinfo={"acr": {"essential": True, "value": "strong"}}).acr is None


def test_a_subject_in_both_members_is_one_that_fits_both() -> None:
    assert read(id_token={"sub": {"value": "a"}}).subjects == ("a",)
    assert read(userinfo={"sub": {"values": ["a", "b"]}}).subjects == ("a", "b")
    assert read(userinfo={"sub": {"values": ["a", "b"]}}, id_token={"sub": {"value": "b"}}).subjects == ("b",)
    assert read(userinfo={"sub": {"value": "a"}}, id_token={"sub": {"value": "b"}}).subjects == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "null", '"id_token"', "{", '{"id_token": []}', '{"userinfo": null}', '{"userinfo": {"name": "x"}}',
        '{"userinfo": {"name": true}}', '{"userinfo": {"name": {"essential": 1}}}', '{"userinfo": {"name": {"values": "x"}}}',
        '{"userinfo": {"name": {"value": "x", "values": ["x"]}}}', '{"id_token": {"sub": 5}}', '{"id_token": {"acr": []}}',
        '{"userinfo": {"name": {"value": NaN}}}', '{"userinfo": {"name": {"value": -Infinity}}}',
    ],
)  # fmt: skip
def test_what_is_no_such_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_claims_request(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"userinfo": {}, "userinfo": {"email": null}}',
        '{"userinfo": {"email": null, "email": {"essential": true}}}',
        '{"userinfo": {"email": {"value": "a", "value": "b"}}}',
        '{"other": {"x": 1, "x": 2}}',
    ],
)
def test_a_name_that_occurs_twice_is_refused(text: str) -> None:
    """Two parsers could read it as two requests (catalogue 184)."""
    with pytest.raises(InvalidRequest, match="twice"):
        read_claims_request(text)


@pytest.mark.parametrize("bomb", ["[" * 5000, '{"a":' * 5000, '{"userinfo":' + "[" * 300 + "]" * 300 + "}"])
def test_a_deeply_nested_request_is_refused_before_it_is_read(bomb: str) -> None:
    """(catalogue 17, 184)"""
    with pytest.raises(InvalidRequest, match="deep"):
        read_claims_request(bomb)


def test_values_that_are_no_text_are_nobodys() -> None:
    asked = read(userinfo={"email": {"values": [5, None, True, ["x"]]}, "name": {"value": "\ud800"}})
    assert asked.userinfo == {EMAIL: (), NAME: ()}


def test_the_id_token_holds_what_was_asked_for_there_and_agreed_to() -> None:
    asked = read(id_token={"name": None, "email": {"value": "other@mail.test"}, "picture": None}, userinfo={})
    assert asked.in_id_token((NAME, EMAIL), VALUES) == {NAME}
    assert asked.in_id_token((), VALUES) == frozenset()
    assert read(id_token={"email": {"values": ["x", "ana@mail.test"]}}).in_id_token((EMAIL,), VALUES) == {EMAIL}


def test_userinfo_leaves_out_what_was_asked_for_in_the_id_token_alone() -> None:
    asked = read(id_token={"name": None, "email": None}, userinfo={"email": None})
    assert asked.not_in_userinfo((NAME, EMAIL), frozenset(), VALUES) == {NAME}
    assert asked.not_in_userinfo((NAME, EMAIL), frozenset({NAME}), VALUES) == frozenset()


def test_userinfo_leaves_out_what_has_another_value_than_the_site_can_use() -> None:
    asked = read(userinfo={"email": {"value": "other@mail.test"}, "name": {"value": "Ana"}})
    assert asked.not_in_userinfo((NAME, EMAIL), frozenset({EMAIL}), VALUES) == {EMAIL}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["essential", "value", "values", "name", "sub", "acr", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["id_token", "userinfo", "x"]), JSON, max_size=3))
def test_whatever_is_sent_is_read_or_refused(members: dict[str, object]) -> None:
    """And only known claims come out of it (catalogue 184)."""
    try:
        asked = read(**members)
    except InvalidRequest:
        return
    assert asked.names <= {NAME}
    assert asked.essential <= asked.names

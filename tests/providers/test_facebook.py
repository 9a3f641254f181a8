"""Facebook's habits, one by one: what each looks like on the wire, and what is made of it (protocols.md §1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from tests.providers.contract import NOW_SECONDS, Recording
from tests.providers.rig import Answer, Asked, ScriptedHTTP, StandingClock, json_answer

import providers
from broker.domain.provider import UpstreamTokens
from broker.errors import (
    ConfigurationError,
    UpstreamInvalid,
    UpstreamNeedsVisit,
    UpstreamRejected,
    UpstreamUnavailable,
)
from providers._graph import VERSION_ENDS
from providers.facebook import Facebook, read_birthday, read_permissions, read_picture

TOKENS = UpstreamTokens(access_token="EAAmadeup")


@pytest.fixture
def recording() -> Recording:
    return Recording.read("facebook")


def inspected(recording: Recording, **changes: Any) -> Recording:
    data = {**recording.raw["debug_token"]["data"], **changes}
    return Recording(name="facebook", preset=recording.preset, raw={**recording.raw, "debug_token": {"data": data}})


async def after(recording: Recording, path: str, answer: Answer) -> ScriptedHTTP:
    """A sign-in in which one Graph address answers this."""
    http = recording.http()
    http.script[f"/v26.0/{path}"] = answer
    await recording.sign_in(http)
    return http


async def test_a_token_that_never_expires_is_not_an_expired_one(recording: Recording) -> None:
    """`expires_at: 0` means never; an end that is just past is within the allowed difference of clocks."""
    for ends in (0, NOW_SECONDS - 59):
        assert (await inspected(recording, expires_at=ends).sign_in()).identity.key.subject == "10220123456789012"


async def test_an_inspection_names_the_reason_under_its_own_key(recording: Recording) -> None:
    """catalogue 49: `subcode` there, `error_subcode` everywhere else; both with status 200."""
    for subcode, kind in ((459, UpstreamNeedsVisit), (464, UpstreamNeedsVisit), (460, UpstreamRejected)):
        error = {"code": 190, "subcode": subcode, "message": "Ana has to …"}
        with pytest.raises(kind, match=f"190/{subcode}") as caught:
            await inspected(recording, is_valid=False, error=error).sign_in()
        assert "Ana" not in f"{caught.value}{caught.value.public}"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": 4}, UpstreamUnavailable),
        (403, {"code": 17}, UpstreamUnavailable),
        (400, {"code": 613}, UpstreamUnavailable),
        (500, {"code": 2}, UpstreamUnavailable),
        (500, {"code": 1}, UpstreamUnavailable),
        (400, {"code": 77, "is_transient": True}, UpstreamUnavailable),
        (503, {"code": 77}, UpstreamUnavailable),
        (400, {"code": 77}, UpstreamRejected),
        (400, {"code": 77, "is_transient": "true"}, UpstreamRejected),
        (400, {"code": 190, "error_subcode": 463}, UpstreamRejected),
        (400, {"code": 190, "error_subcode": 459}, UpstreamNeedsVisit),
        (200, {"code": 190, "error_subcode": 464}, UpstreamNeedsVisit),
        (400, {"code": True}, UpstreamRejected),
        (400, {"code": "190"}, UpstreamRejected),
        (400, {}, UpstreamRejected),
        (400, "a text", UpstreamInvalid),
        (400, None, UpstreamInvalid),
    ],
)
async def test_codes_decide_and_never_statuses_or_words(
    recording: Recording, status: int, error: object, kind: type[Exception]
) -> None:
    """catalogue 172, 173"""
    answer = json_answer({"error": {**error, "message": "Ana"} if isinstance(error, Mapping) else error}, status)
    with pytest.raises(kind) as caught:
        await after(recording, "me/permissions", answer)
    assert type(caught.value) is kind
    assert "Ana" not in f"{caught.value}{caught.value!r}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({"data": []}, 400), UpstreamRejected),
        (json_answer({"data": []}, 502), UpstreamUnavailable),
        (Answer(502, {"content-type": "text/html"}, b"<html>"), UpstreamUnavailable),
        (Answer(200, {"content-type": "text/html"}, b"<html>"), UpstreamInvalid),
        (Answer(200, {"content-type": "application/json"}, b"false"), UpstreamUnavailable),
        (json_answer({"data": "all"}), UpstreamInvalid),
        (json_answer({"data": [{"status": "granted"}]}), UpstreamInvalid),
        (json_answer({"data": ["email"]}), UpstreamInvalid),
    ],
)
async def test_an_answer_that_is_no_answer_ends_the_sign_in(
    recording: Recording, answer: Answer, kind: type[Exception]
) -> None:
    """catalogue 173: a page instead of JSON and the bare word `false` both occur when Facebook is unwell."""
    with pytest.raises(kind):
        await after(recording, "me/permissions", answer)


async def test_a_wrong_secret_is_no_outage(recording: Recording) -> None:
    """Code 1 means "unknown, try later" at Graph, and a wrong secret at the token address."""
    http = recording.http()
    http.script["/v26.0/oauth/access_token"] = json_answer({"error": {"code": 1}}, 400)
    with pytest.raises(UpstreamRejected, match="graph 1/0 token"):
        await recording.sign_in(http)


async def test_the_app_token_goes_into_the_address_only_where_headers_are_not_read(recording: Recording) -> None:
    """First in a header, where no log writes it down; what was learnt is remembered."""

    def deaf(asked: Asked) -> Answer:
        if "access_token" not in asked.query:
            return json_answer({"error": {"code": 2500}}, 400)
        return json_answer(recording.raw["debug_token"])

    http = recording.http()
    http.script["/v26.0/debug_token"] = deaf
    provider = recording.provider(http)
    for _ in range(2):
        await provider.identify(recording.attempt(), recording.callback())
    asked = ["access_token" in one.query for one in http.asked if one.path.endswith("/debug_token")]
    assert asked == [False, True, True]
    http = recording.http()
    http.script["/v26.0/debug_token"] = json_answer({"error": {"code": 100}}, 400)
    with pytest.raises(UpstreamRejected):
        await recording.sign_in(http)
    assert http.count("/v26.0/debug_token") == 1


async def test_a_forced_sign_in_may_be_proved_at_either_of_two_places(recording: Recording) -> None:
    """catalogue 38: `auth_nonce` in the inspection, or at `access_token_info`; nowhere is not proved."""
    attempt = recording.attempt(fresh=True)
    told = inspected(recording, metadata={"auth_nonce": attempt.nonce})
    assert (await told.sign_in(fresh=True)).identity.authenticated_at is not None
    for nonce, good in ((attempt.nonce, True), ("another", False), (7, False)):
        http = recording.http()
        http.script["/v26.0/oauth/access_token_info"] = json_answer({"auth_nonce": nonce})
        if good:
            assert (await recording.sign_in(http, fresh=True)).identity.authenticated_at is not None
            continue
        with pytest.raises(UpstreamInvalid, match="auth_nonce"):
            await recording.sign_in(http, fresh=True)


@pytest.mark.parametrize("graph", ["https://graph.test", "https://graph.test/", "https://graph.test/v26.0"])
async def test_graphs_address_may_be_written_with_or_without_the_version(recording: Recording, graph: str) -> None:
    http = recording.http()
    await recording.with_preset(endpoints={"graph": graph}).sign_in(http)
    assert {asked.url.partition("?")[0] for asked in http.asked} == {
        f"https://graph.test/v26.0/{path}" for path in ("oauth/access_token", "debug_token", "me", "me/permissions")
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"true", None), (b'{"success":true}', None), (b'{"success":false}', "revoke"), (b"{}", "revoke")],
)
async def test_a_revocation_answers_in_one_of_two_ways(recording: Recording, body: bytes, kind: str | None) -> None:
    http = recording.http()
    http.script["/v26.0/me/permissions"] = Answer(body=body)
    if kind is None:
        await recording.provider(http).revoke(TOKENS)
    else:
        with pytest.raises(UpstreamInvalid, match=kind):
            await recording.provider(http).revoke(TOKENS)
    assert http.only("/v26.0/me/permissions").method == "DELETE"


def test_whatever_is_not_granted_is_declined_and_granted_wins() -> None:
    """The third status is `expired`; a permission listed twice counts as granted once it is."""
    rows = [("email", "expired"), ("user_link", "declined"), ("public_profile", "granted"), ("user_link", "granted")]
    raw = {"data": [{"permission": name, "status": status} for name, status in rows]}
    assert read_permissions(raw) == (frozenset({"public_profile", "user_link"}), frozenset({"email"}))


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("04/09/1990", "1990-04-09"), ("05/01", "0000-05-01"), ("02/29", "0000-02-29"), ("1975", "1975"),
        ("02/30/1990", None), ("02/29/1990", None), ("13/01/1990", None), ("", None), ("1990-04-09", None), (1990, None),
        (None, None), ("04/09/90", None),
    ],
)  # fmt: skip
def test_birthdays_are_read_whole_or_in_part_or_not_at_all(raw: object, read: str | None) -> None:
    assert read_birthday(raw) == read


@pytest.mark.parametrize(
    "raw", [None, "https://x.test/p", {}, {"data": None}, {"data": {}}, {"data": {"url": 5}},
            {"data": {"url": "https://x.test/silhouette", "is_silhouette": True}}],
)  # fmt: skip
def test_a_silhouette_is_no_picture(raw: object) -> None:
    assert read_picture(raw) is None


@pytest.mark.parametrize(
    ("version", "today", "word"),
    [
        ("v26.0", date(2026, 11, 25), None),
        ("v21.0", date(2026, 11, 25), "ends on 2027-01-21"),
        ("v21.0", date(2026, 9, 1), None),
        ("v20.0", date(2026, 11, 25), "ended on 2026-09-24"),
    ],
)
def test_a_version_near_its_end_is_a_warning_that_names_the_newest(
    recording: Recording, version: str, today: date, word: str | None
) -> None:
    """The server starts all the same: Facebook serves the next version under an old name."""
    preset = recording.with_preset(graph_version=version).preset
    found = Facebook.problems(preset, today)
    assert [problem.severity for problem in found] == ([] if word is None else ["warning"])
    assert all(word in problem.what and "v26.0" in problem.fix for problem in found if word)
    assert set(VERSION_ENDS) >= {"v26.0", "v21.0", "v20.0"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"graph_version": "26"}, "graph_version"),
        ({"client_id": "138483919580948|secret"}, "client_id"),
        ({"fields": ("name", "phone_number")}, "fields"),
        ({"scopes": ("publish_actions",)}, "scopes"),
        ({"scopes": ("email", "pages_manage_posts")}, "scopes"),
    ],
)
def test_a_preset_that_cannot_work_is_refused_at_start(recording: Recording, changes: dict[str, Any], key: str) -> None:
    """catalogue 189: and no sign-in can be made to ask for posting."""
    http = recording.http()
    preset = recording.with_preset(**changes).preset
    with pytest.raises(ConfigurationError) as caught:
        providers.load([preset], http, StandingClock())
    assert [problem.key for problem in caught.value.problems] == [f"facebook.{key}"]


async def test_trusting_facebooks_word_about_addresses_is_said_to_be_useless(recording: Recording) -> None:
    found = Facebook.problems(recording.with_preset(trusts_email=True).preset, date(2026, 11, 25))
    assert [(problem.key, problem.severity) for problem in found] == [("trusts_email", "warning")]

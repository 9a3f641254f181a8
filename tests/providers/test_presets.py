"""Presets: everything wrong with a table is said at once, where it stands, and a preset that cannot work starts nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.providers.rig import ScriptedHTTP, StandingClock, preset

import providers
from broker.domain.values import ClaimName, ProviderId, Secret
from broker.errors import ConfigurationError
from providers.preset import NAMELESS, Posting, Preset, is_address, is_posting_scope

GOOD: dict[str, Any] = {
    "kind": "openid_connect",
    "client_id": "c",
    "client_secret": "s",
    "issuer": "https://op.example",
}


@pytest.mark.parametrize(
    ("days", "words"),
    [(61, None), (60, "runs out on"), (1, "runs out on"), (0, "has run out on"), (-9, "has run out on")],
)
def test_a_secret_that_runs_out_is_told_in_time(days: int, words: str | None) -> None:
    """Nothing fails by it: the day is what somebody wrote down."""
    clock = StandingClock()
    ends = (clock.now() + timedelta(days=days)).date()
    loaded = providers.load([preset(secret_ends=ends)], ScriptedHTTP({}), clock)
    assert set(loaded.providers) == {ProviderId("example")}
    said = [(problem.key, problem.severity, problem.what) for problem in loaded.warnings]
    assert said == ([("example.secret_ends", "warning", f"{words} {ends}.")] if words else [])


def refused(id_: str = "club", **changes: Any) -> list[str]:
    """The keys that are wrong."""
    table = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        Preset.from_table(id_, table, lambda key: ("providers.toml", len(key)))
    for problem in caught.value.problems:
        assert problem.file == "providers.toml"
        assert problem.what.endswith(".")
        assert problem.fix
    return [problem.key for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", None), ("kind", 5), ("kind", " "), ("client_id", None), ("client_id", ["x"]),
        ("client_secret", None), ("client_secret", 7), ("label", 7), ("host", False),
        ("issuer", "op.example"), ("issuer", "https://user@op.example"), ("issuer", "ftp://op.example"),
        ("issuer", "https://op.example/#part"), ("privacy_policy_url", "javascript:alert(1)"),
        ("token_endpoint_auth_method", "client_secret_jwt"), ("state", "maybe"), ("pkce", "yes"), ("trusts_email", 1),
        ("secret_ends", "2027-03-01"), ("secret_ends", datetime(2027, 3, 1)), ("can_force_fresh", "no"), ("sandbox", 0), ("order", "first"), ("order", True), ("scopes", "openid"),
        ("scopes", ["openid", 5]), ("scopes", [""]), ("trusted_audiences", {"a": 1}), ("acr_values", "strong"), ("fields", "name"),
        ("fields", ["name", "shoe_size"]), ("algorithms", ["none"]), ("algorithms", ["HS256"]), ("algorithms", []),
        ("algorithms", "RS256"), ("endpoints", "https://op.example"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named_by_its_key(key: str, value: Any) -> None:
    """catalogue 46: no symmetric algorithm and no `none` can be allowed, in any spelling."""
    assert refused(**{key: value}) == [f"club.{key}"]


def test_an_endpoint_is_one_we_know_at_an_address_we_can_call() -> None:
    found = refused(
        endpoints={"tokens": "https://op.example/t", "token": "op.example/t", "jwks": "https://op.example/k"}
    )
    assert found == ["club.endpoints.tokens", "club.endpoints.token"]


@pytest.mark.parametrize("kind", sorted(NAMELESS))
def test_a_client_id_where_no_file_gives_one_is_named(kind: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Preset.from_table("own", {"kind": kind, "label": "Own", "client_id": "doorward"})
    (found,) = caught.value.problems
    assert (found.key, found.fix) == ("own.client_id", "Remove it.")
    assert Preset.from_table("own", {"kind": kind, "label": "Own"}).client_id == ""


def test_everything_is_said_at_once() -> None:
    assert refused(kind=None, client_id=None, pkce="x", colour="red") == [
        "club.colour", "club.kind", "club.client_id", "club.pkce",
    ]  # fmt: skip


@pytest.mark.parametrize("id_", ["", "Club", "1club", "a b", "a/b", "x" * 33, "é", "../x"])
def test_an_id_is_part_of_an_address_and_looks_like_it(id_: str) -> None:
    assert refused(id_)[0] == id_


def test_a_public_client_needs_no_secret() -> None:
    table = {**GOOD, "token_endpoint_auth_method": "none"}
    del table["client_secret"]
    assert not Preset.from_table("club", table).client_secret


def test_a_secret_that_is_resolved_already_is_taken_as_it_is() -> None:
    found = Preset.from_table("club", {**GOOD, "client_secret": Secret("s")})
    assert found.client_secret.reveal() == "s"
    assert "'s'" not in repr(found)


def test_a_preset_says_what_it_is_called_and_where_people_are_sent() -> None:
    found = Preset.from_table("my_club", GOOD)
    assert (found.label, found.shown_host) == ("My Club", "op.example")
    assert Preset.from_table("c", {**GOOD, "host": "id.club.example"}).shown_host == "id.club.example"
    elsewhere = {**GOOD, "endpoints": {"authorization": "https://login.op.example/a"}}
    assert Preset.from_table("c", elsewhere).shown_host == "login.op.example"
    assert (
        Preset.from_table("f", {"kind": "facebook", "client_id": "1", "client_secret": "s"}).shown_host
        == "www.facebook.com"
    )


@pytest.mark.parametrize(
    "scope",
    [
        "publish_actions", "publish_stream", "write:statuses", "read write", "write", "pages_manage_posts", "manage_pages",
        "w_member_social", "tweet.write", "repo:app.bsky.feed.post?action=create", "transition:generic", "chat:write",
        "webhook.incoming", "https://www.googleapis.com/auth/youtube", "WRITE:STATUSES",
    ],
)  # fmt: skip
def test_no_sign_in_can_be_made_to_ask_for_posting(scope: str) -> None:
    """catalogue 189: in any network's words; and what a `posting` table names counts whatever it is called."""
    asked = scope.split()
    assert any(is_posting_scope(one) for one in asked)
    assert "club.scopes" in refused(scopes=["openid", *asked])
    assert refused(scopes=["openid", "odd"], posting={"kind": "mastodon", "scopes": ["odd"]}) == ["club.scopes"]


@pytest.mark.parametrize(
    "scope", ["openid", "profile", "email", "public_profile", "user_birthday", "read:accounts", "identify"]
)
def test_what_only_reads_is_no_posting_scope(scope: str) -> None:
    assert not is_posting_scope(scope)


@pytest.mark.parametrize("scope", ["offline_access", "offline.access"])
def test_no_sign_in_asks_for_a_refresh_token(scope: str) -> None:
    """Nothing is kept of who only signs in; a `posting` table may ask for one, in any network's words."""
    assert refused(scopes=["openid", scope]) == ["club.scopes"]
    posting = {"kind": "mastodon", "scopes": ["write"], "lasting_scopes": ["for-long"]}
    assert refused(scopes=["openid", "for-long"], posting=posting) == ["club.scopes"]
    found = Preset.from_table("club", {**GOOD, "posting": {**posting, "lasting_scopes": [scope]}}).posting
    assert found == Posting(kind="mastodon", scopes=("write",), lasting_scopes=(scope,))


def test_what_makes_a_permission_last_needs_one() -> None:
    assert refused(posting={"kind": "facebook_share", "lasting_scopes": ["offline_access"]}) == [
        "club.posting.lasting_scopes"
    ]


def test_the_posting_table_is_read_like_the_rest() -> None:
    found = Preset.from_table(
        "c", {**GOOD, "posting": {"kind": "mastodon", "url": "https://social.test/api", "visibility": "unlisted"}}
    )
    assert found.posting == Posting(kind="mastodon", url="https://social.test/api", visibility="unlisted")
    for table, keys in (
        ("mastodon", ["club.posting.kind"]),
        ({"kind": "mastodon", "colour": "red"}, ["club.posting.colour"]),
        (
            {"kind": "mastodon", "url": "social.test", "visibility": "all"},
            ["club.posting.url", "club.posting.visibility"],
        ),
    ):
        assert refused(posting=table) == keys


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://op.example/a?b=c", True), ("http://localhost:8011", True), ("https://[::1]:8", True), ("//op.example", False),
        ("https://", False), ("https://op.example:99999", False), ("https://op.example/a b", False), ("https://op.example/\\", False),
        ("https://é.example", False), ("https://@op.example", False), ("https://op.example#", False), ("", False),
    ],
)  # fmt: skip
def test_an_address_is_absolute_and_plain(address: str, good: bool) -> None:
    assert is_address(address) is good


# --- loading ------------------------------------------------------------------------------------------


def load(*presets: Preset) -> providers.LoadedProviders:
    def located(id_: ProviderId, key: str) -> tuple[str, int]:
        return (f"{id_}.toml", len(key))

    return providers.load(presets, ScriptedHTTP({}), StandingClock(), locate=located)


def problems_of(*presets: Preset) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        load(*presets)
    return [(problem.file, problem.key) for problem in caught.value.problems]


def test_loading_asks_nobody_and_keeps_the_order_to_show() -> None:
    """catalogue 172: a provider that is away stops no start."""
    first, second = preset(id=ProviderId("b"), order=1), preset(id=ProviderId("a"), order=2)
    off = preset(id=ProviderId("off"), state="off", order=0)
    loaded = load(second, off, first)
    assert list(loaded.providers) == ["b", "a"]
    assert list(loaded.presets) == ["off", "b", "a"]
    assert list(loaded.retired) == ["off"], "what it once gave can be given back to it"


def test_problems_of_all_presets_are_told_at_once_with_their_places() -> None:
    found = problems_of(
        preset(id=ProviderId("odd"), kind="saml", order=1),
        preset(id=ProviderId("bare"), issuer="", order=2),
        preset(id=ProviderId("query"), issuer="https://op.example?x=1", order=3),
        preset(id=ProviderId("twin"), order=4),
        preset(id=ProviderId("twin"), order=5),
    )
    assert found == [
        ("odd.toml", "odd.kind"), ("bare.toml", "bare.issuer"), ("query.toml", "query.issuer"), ("twin.toml", "twin"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "meant"),
    [("openid-connect", "openid_connect"), ("OIDC_connect", "openid_connect"), ("Facebok", "facebook"), ("saml", "")],
)
def test_a_kind_that_is_none_is_told_with_the_one_that_is_nearest(kind: str, meant: str) -> None:
    """Also where the table has other mistakes, which keep it from being loaded."""
    with pytest.raises(ConfigurationError) as caught:
        load(preset(kind=kind))
    (problem,) = caught.value.problems
    hint = f"Did you mean {meant}? " if meant else ""
    assert problem.what == f"{kind!r} is not a kind of provider."
    assert problem.fix == f"{hint}Known kinds: {', '.join(providers.known_kinds())}."
    assert providers.unknown_kind(kind, providers.known_kinds()) == {"what": problem.what, "fix": problem.fix}


def test_a_weaker_sign_in_is_a_warning_that_says_what_it_costs() -> None:
    loaded = load(preset(pkce=False))
    (warning,) = loaded.warnings
    assert (warning.key, warning.severity) == ("example.pkce", "warning")
    assert "nonce" in warning.what


def test_a_scope_that_a_kind_adds_is_looked_at_too() -> None:
    """catalogue 189: the last look is at what would really be asked."""
    assert problems_of(replace(preset(), scopes=("openid", "write:statuses"))) == [("example.toml", "example.scopes")]


def test_the_kinds_are_the_modules_there_are() -> None:
    assert providers.known_kinds() == (
        "apple",
        "atproto",
        "facebook",
        "mastodon",
        "microsoft",
        "oauth2",
        "openid2",
        "openid_connect",
        "steam",
        "typed_openid_connect",
    )


def test_only_promised_fields_are_asked_for() -> None:
    one = load(preset(fields=(ClaimName("name"),))).providers[ProviderId("example")]
    assert one.sign_in_scopes == ("openid", "profile")
    assert [offer.claim for offer in one.offers] == ["name"]

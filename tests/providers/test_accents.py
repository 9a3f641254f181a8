"""Habits of single providers: each test fails without the line of code, or of the table, that gets used to one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.providers.contract import OAuth2Wire, Recording
from tests.providers.rig import ScriptedHTTP, StandingClock, json_answer

import providers
from broker.domain.claims import EMAIL, NAME
from broker.domain.values import ClaimName
from broker.errors import SignInCancelled, UpstreamInvalid, UpstreamRejected
from providers.preset import Preset


def with_raw(one: Recording, **parts: Any) -> Recording:
    """The same with whole answers replaced; `None` leaves one out."""
    raw = {**one.raw, **parts}
    return replace(one, raw={name: value for name, value in raw.items() if value is not None})


def warnings_of(**changes: Any) -> list[tuple[str, str]]:
    table = {**Recording.read("linkedin").raw["preset"], **changes}
    loaded = providers.load([Preset.from_table("linkedin", table)], ScriptedHTTP({}), StandingClock())
    return [(problem.key, problem.severity) for problem in loaded.warnings]


class TestLinkedIn:
    """No nonce, no PKCE, scopes with commas."""

    @pytest.fixture
    def one(self) -> Recording:
        return Recording.read("linkedin")

    async def test_neither_nonce_nor_pkce_is_sent(self, one: Recording) -> None:
        """With a verifier its token endpoint answers `invalid_client`."""
        _, query = await one.url()
        assert not {"nonce", "code_challenge", "code_challenge_method"} & set(query)
        http = one.http()
        await one.sign_in(http)
        assert "code_verifier" not in http.only(one.wire.token_path(one)).form

    async def test_the_missing_nonce_is_missed_anywhere_else(self, one: Recording) -> None:
        """catalogue 38"""
        with pytest.raises(UpstreamInvalid, match="nonce"):
            await one.with_preset(nonce=True).sign_in()

    @pytest.mark.parametrize(
        ("changes", "warned"),
        [
            ({}, [("linkedin.nonce", "warning")]),
            ({"pkce": True}, [("linkedin.nonce", "warning")]),
            ({"nonce": True}, [("linkedin.pkce", "warning")]),
            ({"pkce": True, "nonce": True}, []),
        ],
    )
    def test_what_that_costs_is_said(self, changes: dict[str, Any], warned: list[tuple[str, str]]) -> None:
        """catalogue 37"""
        assert warnings_of(**changes) == warned

    async def test_scopes_have_commas_between_them(self, one: Recording) -> None:
        found = await one.sign_in()
        assert found.identity.granted == {"openid", "profile", "email"}
        less = await one.changed("token", scope="openid,profile").changed("id_token", email=None).sign_in()
        assert less.identity.declined == {EMAIL}

    async def test_a_language_may_be_an_object(self, one: Recording) -> None:
        elsewhere = one.changed("id_token", locale=None)
        assert (await elsewhere.sign_in()).identity.claims[ClaimName("locale")] == "sr-RS"

    async def test_giving_up_before_signing_in_there_is_a_no(self, one: Recording) -> None:
        """catalogue 56"""
        for error in ("user_cancelled_login", "user_cancelled_authorize"):
            with pytest.raises(SignInCancelled):
                await one.provider(one.http()).identify(one.attempt(), one.callback(code=None, error=error))


class TestTwitch:
    """Claims by name, scopes as a list, a word of its own for e-mail."""

    @pytest.fixture
    def one(self) -> Recording:
        return Recording.read("twitch")

    async def test_each_field_is_asked_for_by_name_in_both_places(self, one: Recording) -> None:
        """OpenID Connect Core §5.5; without it Twitch tells a number and nothing else."""
        _, query = await one.url()
        named = dict.fromkeys(["preferred_username", "email", "email_verified", "picture"])
        assert json.loads(query["claims"]) == {"id_token": named, "userinfo": named}
        _, query = await one.with_preset(fields=(ClaimName("picture"),)).url()
        assert json.loads(query["claims"])["id_token"] == {"picture": None}
        assert query["scope"] == "openid"
        _, query = await Recording.read("google").url()
        assert "claims" not in query

    async def test_an_address_has_a_scope_of_its_own(self, one: Recording) -> None:
        _, query = await one.url()
        assert query["scope"] == "openid user:read:email"
        less = one.changed("token", scope=["openid"]).changed("id_token", email=None, email_verified=None)
        less = less.changed("userinfo", email=None, email_verified=None)
        found = (await less.sign_in()).identity
        assert found.declined == {EMAIL}
        assert found.claims[ClaimName("preferred_username")] == "AnaPlays"

    async def test_scopes_are_a_list(self, one: Recording) -> None:
        assert (await one.sign_in()).identity.granted == {"openid", "user:read:email"}


class TestSlack:
    """A member's number means something within its workspace only; failures come with status 200."""

    @pytest.fixture
    def one(self) -> Recording:
        return Recording.read("slack")

    async def test_one_number_in_two_workspaces_is_two_people(self, one: Recording) -> None:
        """catalogue 115"""
        here = (await one.sign_in()).identity.key
        elsewhere = "T0ELSEWHERE"
        there = one.changed("id_token", **{"https://slack.com/team_id": elsewhere})
        found = (await there.sign_in()).identity.key
        assert (here.subject, found.subject) == ("T0R7GR:U0R7MFMJM", "T0ELSEWHERE:U0R7MFMJM")

    @pytest.mark.parametrize("team", [None, "", 7, "T0:R7", " ", "T" * 300, "T\x00"])
    async def test_without_a_workspace_nobody_signs_in(self, one: Recording, team: object) -> None:
        """catalogue 45"""
        with pytest.raises(UpstreamInvalid, match="subject_within"):
            await one.changed("id_token", **{"https://slack.com/team_id": team}).sign_in()

    async def test_userinfo_does_not_say_which_workspace(self, one: Recording) -> None:
        """catalogue 47: only what is signed names somebody."""
        lying = one.changed("userinfo", **{"https://slack.com/team_id": "T0EVIL"})
        assert (await lying.sign_in()).identity.key.subject == "T0R7GR:U0R7MFMJM"
        with pytest.raises(UpstreamInvalid, match="subject_within"):
            await lying.changed("id_token", **{"https://slack.com/team_id": None}).sign_in()

    @pytest.mark.parametrize("error", ["invalid_code", "bad_client_secret", "ratelimited"])
    async def test_a_failed_exchange_has_status_200(self, one: Recording, error: str) -> None:
        http = one.http()
        http.script[one.wire.token_path(one)] = json_answer({"ok": False, "error": error})
        with pytest.raises(UpstreamRejected, match=f"token {error}"):
            await one.sign_in(http)

    async def test_so_has_a_failed_question_about_the_person(self, one: Recording) -> None:
        http = one.http()
        http.script["/api/openid.connect.userInfo"] = json_answer({"ok": False, "error": "token_revoked"})
        with pytest.raises(UpstreamRejected, match="userinfo token_revoked"):
            await one.sign_in(http)
        http.script["/api/openid.connect.userInfo"] = json_answer({"ok": False, "error": {"ana": "@example.org"}})
        with pytest.raises(UpstreamRejected, match="userinfo other"):
            await one.sign_in(http)

    async def test_an_address_in_anybodys_workspace_is_not_proved(self, one: Recording) -> None:
        """catalogue 114: as the table is shipped."""
        assert (await one.sign_in()).identity.verified == frozenset()


class TestYahoo:
    """Only userinfo tells; only Basic is taken."""

    async def test_everything_comes_from_userinfo(self) -> None:
        one, http = Recording.read("yahoo"), Recording.read("yahoo").http()
        found = (await one.sign_in(http)).identity
        assert found.claims[NAME] == "Ana Marković"
        assert http.count("/openid/v1/userinfo") == 1
        assert http.only("/oauth2/get_token").headers["Authorization"].startswith("Basic ")


class TestFacebookByOpenID:
    """Metadata without a code flow, at an address with a slash; a verifier instead of the secret."""

    @pytest.fixture
    def one(self) -> Recording:
        return Recording.read("facebook_openid")

    async def test_the_verifier_stands_for_the_secret(self, one: Recording) -> None:
        """Both together are unverified there; the nonce and the verifier tie the answer to its attempt."""
        http = one.http()
        await one.sign_in(http)
        form = http.only("/v26.0/oauth/access_token").form
        assert (form["client_id"], form["code_verifier"]) == (one.preset.client_id, one.attempt().code_verifier)
        assert "client_secret" not in form
        assert http.asked[0].path == "/.well-known/openid-configuration/"

    async def test_permissions_have_facebooks_names(self, one: Recording) -> None:
        where, query = await one.url()
        assert where == "https://www.facebook.com/v26.0/dialog/oauth"
        assert query["scope"] == "openid public_profile email"
        _, query = await one.with_preset(fields=(NAME,)).url()
        assert query["scope"] == "openid public_profile"

    async def test_without_a_token_address_of_ours_its_metadata_is_of_no_use(self, one: Recording) -> None:
        ends = {name: value for name, value in one.preset.endpoints.items() if name != "token"}
        http = one.http()
        with pytest.raises(UpstreamInvalid, match="discovery"):
            await one.with_preset(endpoints=ends).provider(http).authorization_url(one.attempt())

    @pytest.mark.parametrize(
        "issuer", ["https://facebook.com", "https://limited.facebook.com", "https://www.facebook.com/"]
    )
    async def test_tokens_of_its_other_hosts_are_not_taken(self, one: Recording, issuer: str) -> None:
        """catalogue 42: a Limited Login token was made for an app on a phone."""
        with pytest.raises(UpstreamInvalid, match="iss"):
            await one.changed("id_token", iss=issuer).sign_in()


class TestX:
    """Everything under `data`, an address only with its own scope."""

    async def test_an_address_comes_only_with_its_scope(self) -> None:
        one = Recording.read("x")
        _, query = await one.url()
        assert query["scope"] == "users.read tweet.read users.email"
        assert query["code_challenge_method"] == "S256"
        less = OAuth2Wire.put(one, "data.confirmed_email", None)
        found = (await less.changed("token", scope="users.read tweet.read").sign_in()).identity
        assert found.declined == {EMAIL}
        assert found.claims[ClaimName("profile")] == "https://x.com/ana_m"

    async def test_a_renamed_person_is_the_same(self) -> None:
        """catalogue 115"""
        one = Recording.read("x")
        renamed = OAuth2Wire.put(one, "data.username", "somebody_else")
        assert (await renamed.sign_in()).identity.key == (await one.sign_in()).identity.key

    async def test_an_answer_without_data_names_nobody(self) -> None:
        """catalogue 45: X reports partial failures with status 200."""
        one = with_raw(Recording.read("x"), person={"errors": [{"title": "Not Found Error"}]})
        with pytest.raises(UpstreamInvalid, match="sub"):
            await one.sign_in()


class TestAmazon:
    """Says nothing about whether an address was proved."""

    async def test_an_address_is_never_proved(self) -> None:
        """catalogue 113, 114"""
        one = (
            Recording.read("amazon")
            .with_preset(trusts_email=True)
            .changed("person", email_verified=True, verified=True)
        )
        found = (await one.sign_in()).identity
        assert found.claims[EMAIL] == "ana@example.org"
        assert found.verified == frozenset()

    async def test_the_account_and_not_the_address_says_who_it_is(self) -> None:
        """catalogue 115"""
        one = Recording.read("amazon")
        moved = one.changed("person", email="new@example.org", name="N")
        assert (await moved.sign_in()).identity.key == (await one.sign_in()).identity.key
        with pytest.raises(UpstreamInvalid, match="sub"):
            await one.changed("person", user_id=None).sign_in()


class TestMastodon:
    """One table a server; a person is the address of their account there."""

    async def test_a_server_names_its_own_people_only(self) -> None:
        """catalogue 114, 115: another server may claim any address, and it is somebody else's all the same."""
        one = Recording.read("mastodon")
        evil = one.with_preset(issuer="https://evil.example")
        here, there = (await one.sign_in()).identity.key, (await evil.sign_in()).identity.key
        assert here.subject == there.subject == "https://social.example/users/ana"
        assert here != there

    async def test_no_address_is_asked_for_and_none_is_missed(self) -> None:
        one = Recording.read("mastodon")
        _, query = await one.url()
        assert query["scope"] == "profile"
        found = (await one.sign_in()).identity
        assert EMAIL not in found.claims
        assert found.declined == frozenset()
        assert found.account_hint == "ana"

    async def test_our_access_is_given_back(self) -> None:
        """RFC 7009; it wants to know who asks."""
        one = Recording.read("mastodon")
        found = await one.sign_in()
        http = one.http()
        http.script["/oauth/revoke"] = json_answer({})
        assert found.tokens is not None
        await one.provider(http).revoke(found.tokens)
        form = http.only("/oauth/revoke").form
        assert form["token"] == one.raw["token"]["access_token"]
        assert form["client_secret"] == one.preset.client_secret.reveal()

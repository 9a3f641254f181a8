"""What a provider gave for an answer that nobody can be known by is given back (RFC 7009), and the answer fails as it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from broker.domain.claims import EMAIL, NAME
from broker.domain.provider import Provider
from broker.errors import UpstreamError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers import _oauth
from providers.openid_connect import OpenIDConnect
from tests.providers.contract import Recording
from tests.providers.rig import (
    ACCESS_TOKEN,
    CALLBACK,
    DISCOVERY,
    ISSUER,
    SUBJECT,
    Answer,
    Asked,
    ScriptedHTTP,
    attempt,
    id_claims,
    json_answer,
    sign,
    token_answer,
    upstream,
)
from tests.providers.test_renewing import OLD, answered, oauth2, openid

NAMELESS = sign(id_claims(name=None))
"""So that the userinfo endpoint has to be asked."""


def asking(http: ScriptedHTTP) -> OpenIDConnect:
    return openid(http, fields=(NAME, EMAIL))


def given(http: ScriptedHTTP) -> list[str]:
    """The tokens that were given back."""
    return [asked.form["token"] for asked in http.asked if asked.path == "/revoke"]


@pytest.mark.parametrize(
    ("made", "answers", "error"),
    [
        (asking, {"token": token_answer(None)}, UpstreamInvalid),
        (asking, {"token": token_answer(sign(id_claims(nonce="another")))}, UpstreamInvalid),
        (asking, {"token": token_answer(sign(id_claims(aud="another")))}, UpstreamInvalid),
        (asking, {"jwks": UpstreamUnavailable("timeout")}, UpstreamUnavailable),
        (asking, {"token": token_answer(NAMELESS), "userinfo": json_answer({"sub": "another"})}, UpstreamInvalid),
        (asking, {"token": token_answer(NAMELESS), "userinfo": json_answer({"error": "no"}, 403)}, UpstreamRejected),
        (asking, {"token": token_answer(NAMELESS), "userinfo": UpstreamUnavailable("connect")}, UpstreamUnavailable),
        (oauth2, {"userinfo": json_answer({})}, UpstreamInvalid),
        (oauth2, {"userinfo": json_answer({"sub": ""})}, UpstreamInvalid),
        (oauth2, {"userinfo": json_answer({}, 503)}, UpstreamUnavailable),
    ],
    ids=[
        "no id token", "another nonce", "another audience", "no keys", "userinfo of another", "userinfo refused",
        "userinfo away", "service names nobody", "service names nothing", "service away",
    ],
)  # fmt: skip
async def test_what_came_with_an_answer_that_fails_is_given_back(
    made: Callable[[ScriptedHTTP], Provider], answers: dict[str, Any], error: type[UpstreamError]
) -> None:
    """And its failure is told, whatever comes of that: also where it cannot be given back."""
    for revoked in (json_answer({}), json_answer({"error": "invalid_client"}, 401), UpstreamUnavailable("timeout")):
        http = upstream(**answers, revoke=revoked)
        with pytest.raises(error) as failed:
            await made(http).identify(attempt(), CALLBACK)
        assert given(http) == [ACCESS_TOKEN]
        assert ACCESS_TOKEN not in f"{failed.value!r} {failed.value}"


@pytest.mark.parametrize("made", [asking, oauth2])
async def test_a_refresh_token_is_what_ends_the_grant(made: Callable[[ScriptedHTTP], Provider]) -> None:
    """RFC 7009 §2.1: with it all access tokens of that grant end."""
    http = upstream(token=token_answer(NAMELESS, refresh_token="r-1"), userinfo=json_answer({"sub": 7.5}))
    with pytest.raises(UpstreamInvalid):
        await made(http).identify(attempt(), CALLBACK)
    assert given(http) == ["r-1"]


@pytest.mark.parametrize("made", [asking, oauth2])
async def test_what_names_somebody_is_not_given_back(made: Callable[[ScriptedHTTP], Provider]) -> None:
    http = upstream()
    assert (await made(http).identify(attempt(), CALLBACK)).identity.key.subject == SUBJECT
    assert given(http) == []


@pytest.mark.parametrize("made", [asking, oauth2])
async def test_nothing_is_given_back_that_never_came(made: Callable[[ScriptedHTTP], Provider]) -> None:
    http = upstream(token=json_answer({"error": "invalid_grant"}, 400))
    with pytest.raises(UpstreamRejected):
        await made(http).identify(attempt(), CALLBACK)
    assert given(http) == []


async def test_where_nothing_can_be_given_back_the_failure_is_the_same() -> None:
    told = {name: value for name, value in DISCOVERY.items() if name != "revocation_endpoint"}
    http = upstream(discovery=json_answer(told), token=token_answer(None))
    with pytest.raises(UpstreamInvalid, match="id_token"):
        await asking(http).identify(attempt(), CALLBACK)
    assert given(http) == []


class Slow(ScriptedHTTP):
    """Answers at one path only when nobody waits any more."""

    path = ""

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        answer = await super().request(method, url, **more)
        if self.asked[-1].path == self.path:
            await asyncio.sleep(60)
        return answer


@pytest.mark.parametrize("made", [asking, oauth2])
async def test_a_sign_in_that_is_cut_off_gives_back_too(made: Callable[[ScriptedHTTP], Provider]) -> None:
    http = Slow(upstream(token=token_answer(NAMELESS)).script)
    http.path = "/userinfo"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await made(http).identify(attempt(), CALLBACK)
    assert given(http) == [ACCESS_TOKEN]


async def test_nobody_waits_long_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _oauth.GIVE_BACK_SECONDS <= 3
    monkeypatch.setattr(_oauth, "GIVE_BACK_SECONDS", 0.05)
    http = Slow(upstream(token=token_answer(None)).script)
    http.path = "/revoke"
    async with asyncio.timeout(1):
        with pytest.raises(UpstreamInvalid, match="id_token"):
            await asking(http).identify(attempt(), CALLBACK)
    assert given(http) == [ACCESS_TOKEN]


# --- where more would end than a token ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part", "changes"),
    [("apple", "id_token", {"nonce": "another"}), ("facebook", "me", {"id": "10220999999999999"})],
)
async def test_where_all_that_somebody_allowed_would_end_nothing_is_given_back(
    name: str, part: str, changes: dict[str, Any]
) -> None:
    """It would make strangers of people who have an account here, and Facebook would have us take their way in away."""
    recording = Recording.read(name).changed(part, **changes)
    http = recording.http()
    with pytest.raises(UpstreamInvalid):
        await recording.sign_in(http)
    assert not [asked for asked in http.asked if asked.method == "DELETE" or asked.path.endswith("/revoke")]


# --- new tokens for old ones --------------------------------------------------------------------------


async def test_new_tokens_of_another_person_are_given_back() -> None:
    """OpenID Connect Core §12.2: nobody would hold them, and they post as somebody else."""
    http = answered(sub="somebody-else")
    with pytest.raises(UpstreamInvalid, match="renewed_sub"):
        await openid(http).renew(OLD)
    assert given(http) == ["r-2"]


async def test_a_refresh_token_that_stays_the_one_to_use_is_not_given_back() -> None:
    """What is kept must stay good: of an answer that fails the access token alone ends."""
    http = upstream(token=token_answer(sign(id_claims(nonce=None, sub="somebody-else"))))
    with pytest.raises(UpstreamInvalid, match="renewed_sub"):
        await openid(http).renew(OLD)
    assert given(http) == [ACCESS_TOKEN]


async def test_while_their_keys_cannot_be_had_only_what_would_be_lost_is_given_back() -> None:
    """An access token ends by itself; giving it back may end the refresh token that is kept (RFC 7009 §2.1)."""
    for more, back in (({}, []), ({"refresh_token": "r-2"}, ["r-2"])):
        token = token_answer(sign(id_claims(nonce=None)), **more)
        http = upstream(token=token, jwks=UpstreamUnavailable("timeout"))
        with pytest.raises(UpstreamUnavailable):
            await openid(http).renew(OLD)
        assert given(http) == back


async def test_new_tokens_for_the_same_person_are_kept() -> None:
    for http in (answered(), upstream(token=token_answer(None, refresh_token="r-2"))):
        assert (await openid(http).renew(OLD)).refresh_token == "r-2"
        assert given(http) == []
    http = upstream(token=token_answer(None, refresh_token="r-2"))
    assert (await oauth2(http).renew(replace(OLD, named=None))).refresh_token == "r-2"


def test_a_token_that_is_given_back_goes_to_its_own_provider_alone() -> None:
    """By its metadata, which was checked, or by the admin's own word."""
    http = upstream(token=token_answer(None))

    async def failed() -> None:
        with pytest.raises(UpstreamInvalid):
            await asking(http).identify(attempt(), CALLBACK)

    asyncio.run(failed())
    saw: list[Asked] = [asked for asked in http.asked if ACCESS_TOKEN.encode() in asked.body]
    assert [asked.url for asked in saw] == [f"{ISSUER}/revoke"]

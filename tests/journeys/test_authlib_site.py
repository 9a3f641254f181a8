"""A community site made with Authlib, and joserfc as the judge of every token: nothing of ours checks anything of ours.

Everything the site knows it finds by discovery; all HTTP goes to the application in process.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from joserfc import jwk, jws, jwt
from tests.support.house import ISSUER, Arrival, Browser, House, site_secret
from tests.web.desk import OFFLINE, account_of, member, signed_in

CONSENT = {"forum": ("name", "email", "offline_access"), "wiki": ("offline_access",), "tracker": ("offline_access",)}


@dataclass
class AuthlibSite:
    """One relying party."""

    house: House
    name: str
    client: Any
    metadata: dict[str, Any]
    redirect_uri: str

    @classmethod
    async def open(cls, house: House, name: str) -> AuthlibSite:
        transport = httpx2.ASGITransport(app=house.app)
        async with httpx2.AsyncClient(transport=transport) as plain:
            metadata = (await plain.get(f"{ISSUER}/.well-known/openid-configuration")).json()
        assert metadata["issuer"] == ISSUER
        redirect_uri = f"https://{name}.test/callback"
        client = AsyncOAuth2Client(
            client_id=name,
            client_secret=site_secret(name),
            token_endpoint_auth_method="client_secret_post" if name == "tracker" else "client_secret_basic",
            revocation_endpoint_auth_method="client_secret_post" if name == "tracker" else "client_secret_basic",
            redirect_uri=redirect_uri,
            scope=OFFLINE,
            code_challenge_method="S256",
            transport=transport,
        )
        return cls(house, name, client, metadata, redirect_uri)

    async def keys(self) -> jwk.KeySet:
        """The key set as published now."""
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.house.app)) as plain:
            return jwk.KeySet.import_key_set((await plain.get(self.metadata["jwks_uri"])).json())

    async def sign_in(self, browser: Browser) -> tuple[dict[str, Any], str]:
        """Through the browser and back: the token answer, and the nonce that was sent."""
        verifier, nonce = generate_token(64), generate_token(20)
        url, state = self.client.create_authorization_url(
            self.metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
        )
        end = await browser.go(url)
        if not isinstance(end, Arrival):
            end = await browser.press("decision=share", tick=CONSENT[self.name])
        assert isinstance(end, Arrival)
        assert end.params["iss"] == self.metadata["issuer"]
        token = await self.client.fetch_token(
            self.metadata["token_endpoint"], authorization_response=end.url, state=state, code_verifier=verifier
        )
        return dict(token), nonce

    async def judge(
        self, token: str, *, typ: str, nonce: str | None = None, keys: jwk.KeySet | None = None
    ) -> dict[str, Any]:
        """The claims, once joserfc has verified signature, type, issuer, audience and times."""
        header = jws.extract_compact(token.encode()).headers()
        assert header["typ"] == typ
        keys = keys or await self.keys()
        read = jwt.decode(token, keys, algorithms=self.metadata["id_token_signing_alg_values_supported"])
        now = int(self.house.clock.now().timestamp())
        expected: dict[str, Any] = {"iss": ISSUER, "aud": self.name, "sub": None, "exp": None, "iat": None}
        if nonce is not None:
            expected["nonce"] = nonce
        options: Any = {
            claim: {"essential": True} | ({} if value is None else {"value": value})
            for claim, value in expected.items()
        }
        registry = jwt.JWTClaimsRegistry(now=lambda: now, **options)
        registry.validate(read.claims)
        return dict(read.claims)

    async def userinfo(self) -> dict[str, Any]:
        answer = await self.client.get(self.metadata["userinfo_endpoint"])
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def at_hash(access_token: str) -> str:
    """OpenID Connect Core §3.1.3.6, worked out here."""
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


@pytest.mark.parametrize("name", ["forum", "wiki", "tracker"])
async def test_a_site_made_with_authlib_signs_people_in(house: House, name: str) -> None:
    """Code, PKCE, nonce, at_hash and a matching userinfo, with RS256 and ES256, by header and by form."""
    ana, site = await member(house), await AuthlibSite.open(house, name)
    token, nonce = await site.sign_in(ana)
    claims = await site.judge(token["id_token"], typ="JWT", nonce=nonce)
    assert claims["at_hash"] == at_hash(token["access_token"])
    assert claims["azp"] == name
    assert claims["auth_time"] <= claims["iat"] < claims["exp"]
    told = await site.userinfo()
    assert told["sub"] == claims["sub"]
    assert told.get("preferred_username", told.get("name")) in {"ana", "Ana Lund"}


async def test_numbers_and_sessions_cannot_be_compared_between_sites(house: House) -> None:
    ana = await member(house)
    seen = []
    for name in ("forum", "wiki", "tracker"):
        site = await AuthlibSite.open(house, name)
        token, nonce = await site.sign_in(ana)
        seen.append(await site.judge(token["id_token"], typ="JWT", nonce=nonce))
    assert len({claims["sub"] for claims in seen}) == 3
    assert len({claims["sid"] for claims in seen}) == 3
    assert len({token["at_hash"] for token in seen}) == 3


async def test_the_session_token_is_a_signed_statement_for_one_site(house: House) -> None:
    """Decision 10, read by joserfc alone."""
    site = await AuthlibSite.open(house, "forum")
    token, nonce = await site.sign_in(await member(house))
    session = await site.judge(token["session_token"], typ="session+jwt")
    identity = await site.judge(token["id_token"], typ="JWT", nonce=nonce)
    assert (session["sub"], session["sid"], session["aud"]) == (identity["sub"], identity["sid"], "forum")
    assert (session["name"], session["email"], session["email_verified"]) == ("Ana Lund", "ana@mail.test", False)
    assert session["exp"] - session["iat"] == 600


async def test_the_site_renews_introspects_and_revokes(house: House) -> None:
    """Rotation as Authlib does it, and the same person in the renewed ID token."""
    site = await AuthlibSite.open(house, "forum")
    first, nonce = await site.sign_in(await member(house))
    before = await site.judge(first["id_token"], typ="JWT", nonce=nonce)
    house.clock.move(minutes=11)
    second = await site.client.refresh_token(site.metadata["token_endpoint"], refresh_token=first["refresh_token"])
    after = await site.judge(second["id_token"], typ="JWT")
    assert (after["sub"], after["sid"], after["auth_time"]) == (before["sub"], before["sid"], before["auth_time"])
    assert second["refresh_token"] != first["refresh_token"]
    assert (await site.userinfo())["sub"] == before["sub"]
    told = (
        await site.client.introspect_token(site.metadata["introspection_endpoint"], token=second["access_token"])
    ).json()
    assert (told["active"], told["sub"], told["client_id"]) == (True, before["sub"], "forum")
    gone = await site.client.revoke_token(site.metadata["revocation_endpoint"], token=second["refresh_token"])
    assert gone.status_code == 200
    told = (
        await site.client.introspect_token(site.metadata["introspection_endpoint"], token=second["access_token"])
    ).json()
    assert told == {"active": False}
    with pytest.raises(OAuthError, match="invalid_grant"):
        await site.client.refresh_token(site.metadata["token_endpoint"], refresh_token=second["refresh_token"])


async def test_no_valid_token_is_refused_while_keys_rotate(house: House) -> None:
    """Neither what was signed before, nor what is signed now with a key set cached nine minutes ago (catalogue 166)."""
    ana, site = await member(house), await AuthlibSite.open(house, "forum")
    before = cached = await site.keys()
    tokens = []
    for _ in range(8):
        token, nonce = await site.sign_in(ana)
        tokens.append((token["id_token"], nonce))
        await site.judge(token["id_token"], typ="JWT", nonce=nonce, keys=cached)
        cached = await site.keys()
        for one, its in tokens[-2:]:
            await site.judge(one, typ="JWT", nonce=its, keys=cached)
        if len(tokens) == 2:
            await house.opened.keys.rotate()
        house.clock.move(minutes=9)
        await house.opened.keys.load()
    kids = [jws.extract_compact(one.encode()).headers()["kid"] for one, _ in tokens]
    changed = kids.index(next(kid for kid in kids if kid != kids[0]))
    assert kids == [kids[0]] * changed + [kids[-1]] * (len(kids) - changed)
    assert kids[0] in {key.kid for key in before.keys}
    assert kids[-1] not in {key.kid for key in before.keys}


async def test_an_ended_session_is_told_by_a_token_the_site_can_judge(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back-channel logout: the `sid` and `sub` of the site's own ID token (catalogue 105)."""
    ana, site = await member(house), await AuthlibSite.open(house, "forum")
    token, nonce = await site.sign_in(ana)
    identity = await site.judge(token["id_token"], typ="JWT", nonce=nonce)
    sent: list[tuple[str, dict[str, str]]] = []

    class Wire:
        async def post_form(self, url: str, form: Any) -> int:
            sent.append((url, dict(form)))
            return 200

    object.__setattr__(house.opened.deliverer, "http", Wire())
    await house.world.sessions.sign_out_everywhere(await account_of(house, "ana"))
    await house.opened.deliverer.once()
    ((url, form),) = sent
    assert url == "https://forum.test/backchannel"
    told = await site.judge(form["logout_token"], typ="logout+jwt")
    assert (told["sub"], told["sid"]) == (identity["sub"], identity["sid"])
    assert "nonce" not in told
    assert told["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}


async def test_a_code_without_the_verifier_is_worth_nothing_to_a_thief(house: House) -> None:
    """Catalogue 29, seen from outside."""
    ana, site = await member(house), await AuthlibSite.open(house, "forum")
    await site.sign_in(ana)
    url, state = site.client.create_authorization_url(
        site.metadata["authorization_endpoint"], code_verifier=generate_token(64)
    )
    end = await ana.go(url)
    assert isinstance(end, Arrival)
    for stolen in ({}, {"code_verifier": generate_token(64)}):
        with pytest.raises(OAuthError, match="invalid_grant"):
            await site.client.fetch_token(
                site.metadata["token_endpoint"], authorization_response=end.url, state=state, **stolen
            )


async def test_two_browsers_of_one_person_are_two_sessions_of_one_number(house: House) -> None:
    one, site = await member(house), await AuthlibSite.open(house, "forum")
    two = await signed_in(house, await account_of(house, "ana"))
    seen = []
    for browser in (one, two):
        token, nonce = await site.sign_in(browser)
        seen.append(await site.judge(token["id_token"], typ="JWT", nonce=nonce))
    assert seen[0]["sub"] == seen[1]["sub"]
    assert seen[0]["sid"] != seen[1]["sid"]

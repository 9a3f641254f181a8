"""A provider's word that somebody signed out there (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import NOW, pem, rsa_key, sign

from broker.domain.provider import TellsOfLogout, session_name
from broker.domain.values import IdentityKey
from broker.errors import UpstreamInvalid, UpstreamUnavailable
from providers.openid_connect import OpenIDConnect

ISSUER = "https://id.club.example/realms/club"
SUBJECT = "5f2b7a9e-0815-4711-9f9f-3f1f5a1b2c3d"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
SECONDS = int(NOW.timestamp())


def logout(key: Any = None, *, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A logout token as Keycloak writes it; a change to `None` leaves a claim out."""
    claims = {
        "iss": ISSUER, "aud": "doorward", "iat": SECONDS - 1, "exp": SECONDS + 120, "jti": "0f1e", "sub": SUBJECT,
        "sid": "f1d2", "events": {EVENT: {}}, **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return sign(claims, key, alg=alg, header={"typ": "logout+jwt", **(header or {})})


@pytest.fixture
def keycloak() -> OpenIDConnect:
    recording = Recording.read("keycloak")
    made = recording.provider(recording.http())
    assert isinstance(made, OpenIDConnect)
    assert isinstance(made, TellsOfLogout)
    return made


async def test_who_signed_out_is_named_as_they_sign_in_with_the_session_that_is_over(keycloak: OpenIDConnect) -> None:
    said = await keycloak.read_logout(logout())
    signed_in = (await Recording.read("keycloak").sign_in()).identity
    assert said.key == IdentityKey(issuer=ISSUER, subject=SUBJECT) == signed_in.key
    assert said.session == signed_in.session == session_name(ISSUER, "f1d2")
    assert said.at == datetime.fromtimestamp(SECONDS - 1, UTC)
    assert "f1d2" not in repr(said)
    again = await keycloak.read_logout(logout(iat=SECONDS - 3))
    assert again.once.key == said.once.key
    assert (await keycloak.read_logout(logout(jti="other"))).once.key != said.once.key


@pytest.mark.parametrize(
    "token",
    [
        logout(exp=None), logout(aud=["other", "doorward"]), logout(header={"typ": None}), logout(header={"typ": "JWT"}),
        logout(sid=None), logout(sid="x" * 256), logout(sid=7), logout(iat=SECONDS - 600), logout(iat=SECONDS + 60),
        logout(events={EVENT: {}, "urn:another": {}}), logout(exp=SECONDS - 59),
    ],
)  # fmt: skip
async def test_what_the_standard_leaves_open_is_taken(keycloak: OpenIDConnect, token: str) -> None:
    assert (await keycloak.read_logout(token)).key.subject == SUBJECT


@pytest.mark.parametrize(
    ("token", "check"),
    [
        ("", "logout_form"),
        ("a.b.c", "logout_form"),
        (logout(key=rsa_key(2048, "stranger")), "signature"),
        (logout(key=b"", alg="none"), "alg"),
        (logout(key=pem(rsa_key()), alg="HS256"), "alg"),
        (logout(alg="RS384"), "alg"),
        (logout(header={"typ": "at+jwt"}), "typ"),
        (logout(iss="https://id.other.example/realms/club"), "logout_iss"),
        (logout(iss=None), "logout_iss"),
        (logout(aud="other"), "logout_aud"),
        (logout(aud=None), "logout_aud"),
        (logout(aud=[]), "logout_aud"),
        (logout(events=None), "logout_events"),
        (logout(events={}), "logout_events"),
        (logout(events={"http://schemas.openid.net/event/other": {}}), "logout_events"),
        (logout(events={EVENT: "x"}), "logout_events"),
        (logout(events=[EVENT]), "logout_events"),
        (logout(nonce="n"), "logout_nonce"),
        (logout(iat=None), "iat"),
        (logout(iat="now"), "iat"),
        (logout(iat=SECONDS - 601), "logout_iat"),
        (logout(iat=SECONDS + 61), "logout_iat"),
        (logout(exp=SECONDS - 60), "logout_exp"),
        (logout(exp="x"), "exp"),
        (logout(jti=None), "logout_jti"),
        (logout(jti=7), "logout_jti"),
        (logout(jti=""), "logout_jti"),
        (logout(jti="x" * 256), "logout_jti"),
        (logout(sub=None), "logout_sub"),
        (logout(sub=""), "logout_sub"),
        (logout(sub=17), "logout_sub"),
    ],
)
async def test_what_the_provider_did_not_just_say_is_refused(keycloak: OpenIDConnect, token: str, check: str) -> None:
    """catalogue 42, 43, 46, 70, 173: nobody is signed out by a stranger, nor by an ID token somebody caught."""
    with pytest.raises(UpstreamInvalid) as caught:
        await keycloak.read_logout(token)
    assert caught.value.check == check


async def test_an_id_token_signs_nobody_out(keycloak: OpenIDConnect) -> None:
    """catalogue 43."""
    claims = {"iss": ISSUER, "aud": "doorward", "iat": SECONDS, "exp": SECONDS + 300, "sub": SUBJECT, "jti": "1"}
    with pytest.raises(UpstreamInvalid):
        await keycloak.read_logout(sign(claims))


async def test_without_the_providers_keys_nothing_is_believed() -> None:
    """catalogue 172: it says so again."""
    recording = Recording.read("keycloak")
    http = recording.http()
    http.script["/realms/club/protocol/openid-connect/certs"] = UpstreamUnavailable("timeout id.club.example")
    away = recording.provider(http)
    assert isinstance(away, OpenIDConnect)
    with pytest.raises(UpstreamUnavailable):
        await away.read_logout(logout())

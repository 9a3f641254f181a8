"""A provider that moved from OpenID 2.0 to OpenID Connect says who somebody was, and the old address has to agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import Answer, ScriptedHTTP, json_answer

from broker.domain.provider import Successor
from broker.domain.values import IdentityKey
from broker.errors import UpstreamUnavailable
from providers._openid2 import NS

REALM = "https://login.example/"
ANA = "https://people.example/ana"
FORMER = IdentityKey(issuer=NS, subject=ANA)


@pytest.fixture
def keycloak() -> Recording:
    return Recording.read("keycloak").with_preset(openid2_realm=REALM)


async def test_who_somebody_was_is_asked_for_only_where_the_admin_wants_it(keycloak: Recording) -> None:
    _, query = await keycloak.url()
    assert query["openid2_realm"] == REALM
    assert "openid2" in query["scope"].split()
    _, query = await keycloak.with_preset(openid2_realm="").url()
    assert "openid2_realm" not in query
    assert "openid2" not in query["scope"].split()
    told = keycloak.changed("id_token", openid2_id=ANA)
    assert (await told.sign_in()).former == FORMER
    assert (await told.with_preset(openid2_realm="").sign_in()).former is None
    assert (await keycloak.sign_in()).former is None


@pytest.mark.parametrize(
    "value",
    ["", "ana", 7, [ANA], {"id": ANA}, "=ana", "https://PEOPLE.example/ana", "https://people.example/x/../ana", "ftp://people.example/",
     "https://ana@people.example/", f"{ANA} ", f"{ANA}/{'a' * 300}"],
)  # fmt: skip
async def test_what_is_no_identifier_was_nobody(keycloak: Recording, value: object) -> None:
    assert (await keycloak.changed("id_token", openid2_id=value).sign_in()).former is None


async def test_userinfo_names_nobody(keycloak: Recording) -> None:
    """Only what is signed does."""
    http = keycloak.http()
    found = keycloak.raw["discovery"]
    for path, line in list(http.script.items()):
        if path == found["userinfo_endpoint"].partition(".example")[2] and isinstance(line, Answer):
            http.script[path] = json_answer({**json.loads(line.body), "openid2_id": ANA})
    asking = keycloak.wire.asking_everything(keycloak)
    assert (await asking.sign_in(http)).former is None


async def ask(recording: Recording, line: Any, former: IdentityKey = FORMER) -> tuple[bool, ScriptedHTTP]:
    http = ScriptedHTTP({"/ana": line})
    provider = recording.provider(http)
    assert isinstance(provider, Successor)
    key = IdentityKey(issuer=recording.preset.issuer, subject="anything")
    return await provider.succeeds(former, key), http


async def test_the_old_address_itself_says_who_speaks_for_it_now(keycloak: Recording) -> None:
    """Without it any provider that is let in could take any account that was opened by OpenID 2.0 (catalogue 59)."""
    issuer = keycloak.preset.issuer
    is_so, http = await ask(keycloak, json_answer({"iss": issuer}), IdentityKey(issuer=NS, subject=f"{ANA}#gen2"))
    assert is_so
    assert [(one.method, one.url, one.headers["Accept"]) for one in http.asked] == [("GET", ANA, "application/json")]
    for line in (
        json_answer({"iss": "https://evil.test"}), json_answer({"iss": f"{issuer}/"}), json_answer({"iss": [issuer]}), json_answer({}),
        json_answer([issuer]), json_answer({"iss": issuer}, 404), Answer(302, {"location": issuer}), Answer(200, {"content-type": "text/html"}),
        Answer(200, body=b"not json"),
    ):  # fmt: skip
        assert not (await ask(keycloak, line))[0]


async def test_an_old_address_that_does_not_answer_is_asked_again_later(keycloak: Recording) -> None:
    """Nobody is taken for somebody new because a server was down; and its name stays out of the log."""
    for line in (Answer(503), UpstreamUnavailable("connect ana.people.example")):
        with pytest.raises(UpstreamUnavailable) as found:
            await ask(keycloak, line)
        assert "people" not in found.value.detail

"""Sign in with Microsoft: one address for many issuers, keys that belong to one of them, and addresses nobody proved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.providers.beside import open_house_beside
from tests.providers.contract import Recording
from tests.providers.microsoft_server import CLIENT, SECRET, MicrosoftServer
from tests.providers.rig import ScriptedHTTP, StandingClock, json_answer
from tests.support.house import Sandboxes, Shown
from tests.support.sandbox import served

import providers
from broker.domain.claims import EMAIL
from broker.errors import ConfigurationError, UpstreamInvalid
from providers.microsoft import CONSUMERS, signing_issuer, tenant_of
from providers.preset import Preset

HOST = "https://login.microsoftonline.com"
CLUB = "b9419818-09af-49c2-b0c3-653adc1f376e"
OTHER = "72f988bf-86f1-41af-91ab-2d7cd011db47"
GAP = f"{HOST}/{{tenantid}}/v2.0"


@pytest.fixture
def microsoft() -> Recording:
    return Recording.read("microsoft")


def told_by(one: Recording, tenant: str, **more: Any) -> Recording:
    """The same with an ID token of that tenant."""
    return one.changed("id_token", tid=tenant, iss=f"{HOST}/{tenant}/v2.0", **more)


def at(one: Recording, whose: str, issuer: str, **more: Any) -> Recording:
    """The same for a preset of those people, where metadata and keys name this issuer."""
    found = one.with_preset(issuer=f"{HOST}/{whose}/v2.0", **more).changed("discovery", issuer=issuer)
    return replace(found, raw={**found.raw, "key_issuer": issuer})


@pytest.mark.parametrize(
    ("whose", "signs"),
    [("common", "{tenantid}"), ("organizations", "{tenantid}"), ("consumers", CONSUMERS), (CLUB, CLUB)],
)
def test_each_choice_of_people_has_its_issuer(whose: str, signs: str) -> None:
    assert tenant_of(f"{HOST}/{whose}/v2.0") == whose
    assert signing_issuer(f"{HOST}/{whose}/v2.0") == f"{HOST}/{signs}/v2.0"
    assert signing_issuer(f"https://login.microsoftonline.us/{whose}/v2.0").startswith(
        "https://login.microsoftonline.us/"
    )


async def test_everybody_comes_in_by_their_own_tenant(microsoft: Recording) -> None:
    """catalogue 42, 115: one `sub` in two tenants is two people."""
    keys = []
    for tenant in (CLUB, OTHER, CONSUMERS):
        found = (await told_by(microsoft, tenant).sign_in()).identity
        assert found.key.issuer == f"{HOST}/{tenant}/v2.0"
        keys.append(found.key)
    assert len(set(keys)) == 3


async def test_work_accounts_only_keeps_personal_ones_out(microsoft: Recording) -> None:
    work = at(microsoft, "organizations", GAP)
    assert (await told_by(work, OTHER).sign_in()).identity.key.issuer == f"{HOST}/{OTHER}/v2.0"
    with pytest.raises(UpstreamInvalid, match="tid"):
        await told_by(work, CONSUMERS).sign_in()


async def test_personal_accounts_only_keeps_work_accounts_out(microsoft: Recording) -> None:
    home = at(microsoft, "consumers", f"{HOST}/{CONSUMERS}/v2.0")
    assert (await told_by(home, CONSUMERS).sign_in()).identity.key.issuer == f"{HOST}/{CONSUMERS}/v2.0"
    with pytest.raises(UpstreamInvalid, match="iss"):
        await told_by(home, CLUB).sign_in()


async def test_one_tenant_keeps_all_others_out(microsoft: Recording) -> None:
    one = at(microsoft, CLUB, f"{HOST}/{CLUB}/v2.0")
    assert (await one.sign_in()).identity.key.issuer == f"{HOST}/{CLUB}/v2.0"
    for stranger in (OTHER, CONSUMERS):
        with pytest.raises(UpstreamInvalid, match="iss"):
            await told_by(one, stranger).sign_in()
    lying = told_by(one, CLUB).changed("id_token", iss=f"{HOST}/{OTHER}/v2.0")
    with pytest.raises(UpstreamInvalid, match="iss"):
        await lying.sign_in()


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"iss": f"{HOST}/{OTHER}/v2.0"}, "iss"),
        ({"tid": OTHER}, "iss"),
        ({"iss": GAP}, "iss"),
        ({"iss": GAP, "tid": "{tenantid}"}, "tid"),
        ({"iss": f"{HOST}/{CLUB}/v2.0/"}, "iss"),
        ({"iss": f"https://sts.windows.net/{CLUB}/"}, "iss"),
        ({"tid": None}, "tid"),
        ({"tid": 7}, "tid"),
        ({"tid": CLUB.upper(), "iss": f"{HOST}/{CLUB.upper()}/v2.0"}, "tid"),
        ({"tid": "evil.test/x", "iss": f"{HOST}/evil.test/x/v2.0"}, "tid"),
        ({"tid": f"{CLUB}\n", "iss": f"{HOST}/{CLUB}\n/v2.0"}, "tid"),
    ],
)
async def test_the_gap_is_filled_by_the_tokens_own_tenant_alone(
    microsoft: Recording, changes: dict[str, Any], check: str
) -> None:
    """catalogue 42: whether or not the key says the same."""
    unbound = replace(microsoft, raw={name: value for name, value in microsoft.raw.items() if name != "key_issuer"})
    assert (await unbound.sign_in()).identity.key.issuer == f"{HOST}/{CLUB}/v2.0"
    with pytest.raises(UpstreamInvalid) as caught:
        await unbound.changed("id_token", **changes).sign_in()
    assert caught.value.check == check


@pytest.mark.parametrize("issuer", [f"{HOST}/{OTHER}/v2.0", "https://evil.test/{tenantid}/v2.0"])
async def test_one_tenants_key_signs_for_no_other(microsoft: Recording, issuer: str) -> None:
    """catalogue 42: the set of `common` holds keys of single tenants, who must not name other tenants' people."""
    foreign = replace(microsoft, raw={**microsoft.raw, "key_issuer": issuer})
    with pytest.raises(UpstreamInvalid, match="key_issuer"):
        await foreign.sign_in()
    if OTHER in issuer:
        assert (await told_by(foreign, OTHER).sign_in()).identity.key.issuer == issuer


@pytest.mark.parametrize("issuer", [f"{HOST}/{CLUB}/v2.0", f"{HOST}/common/v2.0", "https://evil.test/{tenantid}/v2.0"])
async def test_metadata_of_somebody_else_is_not_used(microsoft: Recording, issuer: str) -> None:
    """catalogue 41"""
    with pytest.raises(UpstreamInvalid, match="discovery_issuer"):
        await microsoft.changed("discovery", issuer=issuer).sign_in()


@pytest.mark.parametrize(
    ("tenant", "more"),
    [
        (OTHER, {"email_verified": True}), (OTHER, {"email_verified": "true"}), (OTHER, {"xms_edov": True}),
        (OTHER, {"xms_edov": "1"}), (CONSUMERS, {}), (CONSUMERS, {"email_verified": True}),
        (OTHER, {"verified_primary_email": ["victim@example.org"]}),
    ],
)  # fmt: skip
async def test_no_address_is_ever_proved(microsoft: Recording, tenant: str, more: dict[str, Any]) -> None:
    """catalogue 113, 114: whoever runs a tenant can write anybody's address into it ("nOAuth")."""
    trusting = microsoft.with_preset(trusts_email=True)
    found = (await told_by(trusting, tenant, email="victim@example.org", **more).sign_in()).identity
    assert found.claims[EMAIL] == "victim@example.org"
    assert found.verified == frozenset()


async def test_names_and_addresses_do_not_say_who_somebody_is(microsoft: Recording) -> None:
    """catalogue 115"""
    first = (await microsoft.sign_in()).identity
    renamed = microsoft.changed("id_token", email="x@y.org", preferred_username="x@y.org", upn="x@y.org", name="X")
    assert (await renamed.sign_in()).identity.key == first.key


async def test_an_answers_issuer_may_be_any_tenants(microsoft: Recording) -> None:
    """catalogue 39: RFC 9207, should Microsoft begin with it; which tenant it is, the ID token says."""
    one, asked = microsoft.provider(microsoft.http()), microsoft.attempt()
    await one.identify(asked, microsoft.callback(iss=f"{HOST}/{CLUB}/v2.0"))
    for wrong in (f"{HOST}/common/v2.0", f"{HOST}/{CLUB}/v2.0/", f"{HOST}//v2.0", "https://evil.test", CLUB):
        with pytest.raises(UpstreamInvalid, match="response_iss"):
            await one.identify(asked, microsoft.callback(iss=wrong))


async def test_a_picture_is_neither_promised_nor_read(microsoft: Recording) -> None:
    """What userinfo names is an address that only our token opens."""
    http = microsoft.http()
    picture = "https://graph.microsoft.com/v1.0/me/photo/$value"
    told = microsoft.changed("id_token", email=None, picture=picture)
    sub = microsoft.raw["id_token"]["sub"]
    http = told.http()
    http.script["/oidc/userinfo"] = json_answer({"sub": sub, "email": "ana@club.example", "picture": picture})
    found = (await told.sign_in(http)).identity
    assert found.claims[EMAIL] == "ana@club.example"
    assert "picture" not in found.claims
    assert wrong_with(fields=["name", "picture"]) == [("microsoft.fields", "error")]


def wrong_with(**changes: Any) -> list[tuple[str, str]]:
    table = {**Recording.read("microsoft").raw["preset"], **changes}
    found = Preset.from_table("microsoft", {name: value for name, value in table.items() if value is not None})
    try:
        loaded = providers.load([found], ScriptedHTTP({}), StandingClock())
    except ConfigurationError as error:
        return [(problem.key, problem.severity) for problem in error.problems]
    return [(problem.key, problem.severity) for problem in loaded.warnings]


@pytest.mark.parametrize(
    ("issuer", "good"),
    [
        (f"{HOST}/{CLUB}/v2.0", True),
        (f"{HOST}/consumers/v2.0", True),
        ("https://login.microsoftonline.us/organizations/v2.0", True),
        (None, False),
        (HOST, False),
        (f"{HOST}/{CLUB}", False),
        (f"{HOST}/{CLUB}/", False),
        (f"{HOST}/{CLUB}/v2.0/", False),
        (f"{HOST}/club.onmicrosoft.com/v2.0", False),
        (f"{HOST}/Common/v2.0", False),
        (f"https://sts.windows.net/{CLUB}/", False),
    ],
)
def test_the_issuer_has_to_say_whose_people_come_in(issuer: str | None, good: bool) -> None:
    assert wrong_with(issuer=issuer) == ([] if good else [("microsoft.issuer", "error")])


def test_what_weakens_it_or_does_nothing_is_said() -> None:
    assert wrong_with(trusts_email=True) == [("microsoft.trusts_email", "warning")]
    assert wrong_with(pkce=False) == [("microsoft.pkce", "warning")]


# --- over real sockets --------------------------------------------------------------------------------

MICROSOFT = """
[microsoft]
kind = "microsoft"
label = "Microsoft"
brand = "microsoft"
issuer = "%(url)s/common/v2.0"
client_id = "%(client)s"
client_secret = { env = "MICROSOFT_SECRET" }
token_endpoint_auth_method = "client_secret_post"
fields = ["name", "email"]
can_force_fresh = false
privacy_policy_url = "https://privacy.microsoft.com/privacystatement"
"""


async def test_whoever_runs_a_tenant_takes_nobodys_account(tmp_path: Path, sandboxes: Sandboxes) -> None:
    """catalogue 113, 114, 115: the attack known as nOAuth, from a tenant made for it to the page that follows."""
    server = MicrosoftServer(back="https://login.test/callback/microsoft")
    async with served(server.app()) as url:
        server.url = url
        table = MICROSOFT % {"url": url, "client": CLIENT}
        async with open_house_beside(url, table, tmp_path, sandboxes, MICROSOFT_SECRET=SECRET) as house:
            victim = house.browser(url)
            server.person = {"tid": CLUB, "sub": "s-1", "name": "Ana Marković", "email": "ana@club.example"}
            await victim.open("/sign-in")
            shown = await victim.press("provider=microsoft")
            assert isinstance(shown, Shown)
            assert "ana@club.example" in shown.text
            await victim.press("decision=continue")
            await victim.press("decision=create", fill={"preferred_username": "ana"})
            assert (await victim.open("/me")).path == "/me"

            attacker = house.browser(url)
            server.person = {
                "tid": OTHER, "sub": "s-1", "name": "Mallory", "email": "ana@club.example", "email_verified": True,
                "preferred_username": "ana@club.example", "upn": "ana@club.example", "xms_edov": True,
            }  # fmt: skip
            await attacker.open("/sign-in")
            shown = await attacker.press("provider=microsoft")
            assert isinstance(shown, Shown)
            assert shown.path.endswith("/details")
            assert "Mallory" in shown.text
            assert "Ana Marković" not in shown.text
            assert await house.accounts() == 1
            await attacker.press("decision=continue")
            await attacker.press("decision=create", fill={"preferred_username": "mallory"})
            assert await house.accounts() == 2
            proved = [
                held.verified
                for account in house.world.durable.tables.accounts.values()  # type: ignore[attr-defined]
                for name, held in account.profile.items()
                if name == EMAIL
            ]
            assert proved == [False, False]

            again = house.browser(url)
            server.person = {"tid": CLUB, "sub": "s-1", "name": "Ana Renamed", "email": "new@club.example"}
            await again.open("/sign-in")
            await again.press("provider=microsoft")
            assert (await again.open("/me")).path == "/me"
            assert await house.accounts() == 2

"""OpenID 2.0 with a pinned provider: what its answers may say. What holds for every provider is in `test_contract.py`."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import NOW, Answer

from broker.domain.claims import EMAIL, NAME
from broker.domain.values import ClaimName
from broker.errors import UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._openid2 import normal_form
from providers._openid2_fields import read_attributes, read_birthdate
from providers.openid2 import PROVIDER
from providers.preset import Preset

ENDPOINT_PATH = "/openid/endpoint"
PAPE = "http://specs.openid.net/extensions/pape/1.0"


@pytest.fixture
def village() -> Recording:
    return Recording.read("openid2")


def signing(recording: Recording, **fields: str) -> Recording:
    """The answer with more fields, all of them signed; `__` stands for a dot."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    signed = ",".join([recording.raw["answer"]["openid.signed"], *named])
    return recording.changed(
        "answer", **{f"openid.{name}": value for name, value in named.items()}, **{"openid.signed": signed}
    )


async def test_only_promised_fields_are_asked_for(village: Recording) -> None:
    _, query = await village.with_preset(fields=(NAME, ClaimName("given_name"))).url()
    assert query["openid.sreg.optional"] == "fullname"
    assert query["openid.ax.if_available"] == "name,given_name"
    assert query["openid.ax.type.given_name"] == "http://axschema.org/namePerson/first"
    assert "openid.ns.pape" not in query
    _, query = await village.with_preset(fields=()).url()
    assert not [name for name in query if "sreg" in name or "ax" in name]


@pytest.mark.parametrize("name", ["ax.value.ext1.1", "ax.type.ext1", "ax.mode", "ns.ax"])
async def test_an_attribute_that_is_not_signed_whole_is_not_read(village: Recording, name: str) -> None:
    """catalogue 57: value, type, mode and the name of the extension; each alone would let somebody else choose it."""
    signed = village.raw["answer"]["openid.signed"].split(",")
    assert EMAIL in (await village.sign_in()).identity.claims
    spoiled = village.changed("answer", **{"openid.signed": ",".join(each for each in signed if each != name)})
    assert EMAIL not in (await spoiled.sign_in()).identity.claims


async def test_a_registered_field_added_on_the_way_is_not_read(village: Recording) -> None:
    """catalogue 57: also under an extension of the attacker's own naming."""
    added = village.changed(
        "answer",
        **{
            "openid.sreg.email": "attacker@evil.test",
            "openid.ns.evil": "http://openid.net/srv/ax/1.0",
            "openid.evil.mode": "fetch_response",
            "openid.evil.type.a": "http://axschema.org/contact/email",
            "openid.evil.value.a": "attacker@evil.test",
        },
    )
    found = (await added.sign_in()).identity
    assert found.claims[EMAIL] == "ana@village.example"


async def test_an_address_is_never_proved_by_it(village: Recording) -> None:
    """catalogue 113"""
    assert (await village.with_preset(trusts_email=True).sign_in()).identity.verified == frozenset()


async def test_an_identifier_given_to_somebody_else_is_somebody_else(village: Recording) -> None:
    """catalogue 67: by its fragment."""
    keys = set()
    for name in ("https://people.village.example/ana#1", "https://people.village.example/ana#2",
                 "https://people.village.example/ana", "https://people.village.example/ana/"):  # fmt: skip
        keys.add((await village.changed("answer", **{"openid.claimed_id": name}).sign_in()).identity.key)
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("https://U.Test", "https://u.test/"), ("HTTPS://u.test:443/a", "https://u.test/a"),
        ("http://u.test:80/", "http://u.test/"), ("http://u.test/", "http://u.test/"),
        ("https://u.test:8443/A?b#c", "https://u.test:8443/A?b#c"), ("https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
        ("https://u.test/a/../b", None), ("https://u.test/%2e%2E/b", None), ("https://u.test/.", None),
    ],
)  # fmt: skip
def test_an_identifier_has_one_spelling(typed: str, meant: str | None) -> None:
    """catalogue 67"""
    assert normal_form(typed) == meant


async def test_the_answer_is_confirmed_at_the_pinned_endpoint_only(village: Recording) -> None:
    """catalogue 59, 62, 63: an answer that names another one, or somebody of another house, asks nobody."""
    http = village.http()
    await village.sign_in(http)
    assert [asked.url for asked in http.asked] == ["https://village.example/openid/endpoint"]
    for changes in (
        {"openid.op_endpoint": "https://evil.test/openid/endpoint"},
        {"openid.claimed_id": "https://other.example/ana"},
    ):
        http = village.http()
        with pytest.raises(UpstreamInvalid):
            await village.provider(http).identify(village.attempt(), village.changed("answer", **changes).callback())
        assert http.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://login.example/callback/village?state=state-of-this-attempt",
        "https://login.example:8443/callback/village?state=state-of-this-attempt",
        "https://login.example/callback/other?state=state-of-this-attempt",
        "https://login.example/callback/village?state=another",
        "https://login.example/callback/village?state=state-of-this-attempt&more=1",
        "https://login.example/callback/village",
    ],
)
async def test_an_answer_for_another_address_is_refused(village: Recording, address: str) -> None:
    """catalogue 61: scheme, port, path, and every parameter."""
    with pytest.raises(UpstreamInvalid, match="return_to"):
        await village.changed("answer", **{"openid.return_to": address}).sign_in()


async def test_a_fresh_sign_in_is_asked_for_and_proved_by_its_signed_time(village: Recording) -> None:
    """No word about the time is not a yes."""
    _, query = await village.url(fresh=True)
    assert (query["openid.ns.pape"], query["openid.pape.max_auth_age"]) == (PAPE, "0")
    with pytest.raises(UpstreamInvalid, match="not fresh"):
        await village.sign_in(fresh=True)
    for seconds in (-20, -361, 61):
        said = f"{NOW + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
        policies = " ".join(
            f"http://schemas.openid.net/pape/policies/2007/06/{name}" for name in ("multi-factor", "phishing-resistant")
        )
        one = signing(village, ns__pape=PAPE, pape__auth_time=said, pape__auth_policies=policies)
        if seconds == -20:
            assert (await one.sign_in(fresh=True)).identity.acr is None
            found = (await one.with_preset(acr_values=("phr",)).sign_in(fresh=True)).identity
            assert (found.authenticated_at, found.amr, found.acr) == (NOW + timedelta(seconds=-20), ("mfa",), "phr")
        else:
            with pytest.raises(UpstreamInvalid, match="auth_time"):
                await one.sign_in(fresh=True)
    with pytest.raises(UpstreamInvalid, match="auth_time"):
        await signing(village, ns__pape=PAPE, pape__auth_time="yesterday").sign_in()
    assert (await village.with_preset(can_force_fresh=False).sign_in(fresh=True)).identity.authenticated_at is None


def test_attributes_are_read_from_a_fetch_response_only() -> None:
    fields = {"mode": "fetch_response", "type.a": "T", "value.a.1": "first", "value.a.2": "second", "type.b": "U"}
    assert read_attributes(fields) == {"T": "first"}
    assert read_attributes({**fields, "mode": "store_response_success"}) == {}


@pytest.mark.parametrize(
    ("raw", "date_"),
    [("1990-04-09", "1990-04-09"), ("0000-04-09", "0000-04-09"), ("1990-00-00", "1990"), ("0000-00-00", None),
     ("1990-02-30", None), ("04/09/1990", None)],
)  # fmt: skip
def test_a_date_of_birth_may_be_known_in_part(raw: str, date_: str | None) -> None:
    assert read_birthdate(raw) == date_


async def test_an_error_of_the_provider_is_no_sign_in(village: Recording) -> None:
    for mode in ("error", "setup_needed"):
        with pytest.raises(UpstreamRejected, match=mode):
            await village.changed("answer", **{"openid.mode": mode}).sign_in()
    for status, error in ((503, UpstreamUnavailable), (429, UpstreamUnavailable), (400, UpstreamRejected)):
        http = village.http()
        http.script[ENDPOINT_PATH] = Answer(status, {"content-type": "text/plain"}, b"is_valid:true\n")
        with pytest.raises(error):
            await village.sign_in(http)
    http.script[ENDPOINT_PATH] = Answer(500)
    with pytest.raises(UpstreamUnavailable):
        await village.provider(http).check()


@pytest.mark.parametrize("body", [b"\xff", b"is_valid:true\n" + b"x:" + b"y" * 9000, b"ns:other\nis_valid:true\n"])
async def test_a_verdict_that_is_none_is_a_no(village: Recording, body: bytes) -> None:
    http = village.http()
    http.script[ENDPOINT_PATH] = Answer(200, {"content-type": "text/plain"}, body)
    with pytest.raises(UpstreamInvalid, match="is_valid"):
        await village.sign_in(http)


def test_a_preset_says_where_and_for_whom() -> None:
    """catalogue 59: without a list of whom it may name, a provider could name anybody."""
    today = date(2026, 11, 24)
    bare = Preset.from_table("v", {"kind": "openid2", "trusts_email": True, "fields": ["phone_number"]})
    assert [one.key for one in PROVIDER.problems(bare, today)] == [
        "endpoints.authorization", "identifiers", "fields", "trusts_email",
    ]  # fmt: skip
    table = {"kind": "openid2", "endpoints": {"authorization": "https://v.example/op"}}
    starts = ["https://v.example", "https://v.example/p", "https://V.example/", "*", "http://v.example/"]
    found = PROVIDER.problems(Preset.from_table("v", {**table, "identifiers": starts}), today)
    assert [one.severity for one in found] == ["error"] * 4 + ["warning"]
    assert PROVIDER.problems(Preset.from_table("v", {**table, "identifiers": ["https://v.example/"]}), today) == []

"""What we ask providers, signed: from us, for one provider, for minutes, and nothing else that anybody could take it for."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.flows.op import CountingEntropy, signing_keys
from tests.support.builders import NOW, FixedClock

from broker.domain.provider import our_keys_of, requests_of
from broker.domain.values import ProviderId
from broker.flows.upstream_requests import ASSERTION_LIFE, BEHIND, REQUEST_LIFE, UpstreamRequests
from broker.sealing import TransactionSeal
from broker.signing import KeyBox
from broker.stores.memory import MemoryBrowser

HERE, THERE = "https://login.test", "https://id.there.test"
CLUB, OTHER = ProviderId("club"), ProviderId("other")


class Desk:
    def __init__(self) -> None:
        self.clock, self.entropy, self.box = FixedClock(), CountingEntropy(), KeyBox()
        self.box.load(signing_keys(), NOW)
        self.memory = MemoryBrowser(self.clock)
        self.flow = UpstreamRequests(
            signer=self.box,
            store=self.memory.transactions,
            seal=TransactionSeal(b"k" * 32, self.entropy),
            clock=self.clock,
            entropy=self.entropy,
            issuer=HERE,
        )

    def request(self, algorithm: str = "RS256", **parameters: Any) -> str:
        return self.flow.request(parameters, client_id="doorward", provider_issuer=THERE, algorithm=algorithm)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_request_is_from_us_for_one_provider_and_for_minutes(desk: Desk, algorithm: str) -> None:
    """RFC 9101 §4; the kind stands in its head, and no `sub` makes an assertion of it (RFC 9101 §10.8)."""
    made = desk.request(algorithm, scope="openid", state="s", max_age=300)
    assert part(made, 0) == {"alg": algorithm, "kid": f"{algorithm.lower()}-1", "typ": "oauth-authz-req+jwt"}
    said = part(made, 1)
    assert said == {
        "scope": "openid", "state": "s", "max_age": 300, "client_id": "doorward", "iss": "doorward", "aud": THERE,
        "iat": int(NOW.timestamp()), "nbf": int((NOW - BEHIND).timestamp()),
        "exp": int((NOW + REQUEST_LIFE).timestamp()), "jti": said["jti"],
    }  # fmt: skip
    assert desk.box.own(made, typ="oauth-authz-req+jwt", now=NOW) == said
    assert desk.box.own(made, typ="JWT", now=NOW) is None


def test_what_is_asked_cannot_say_who_asks_or_until_when(desk: Desk) -> None:
    said = part(desk.request(iss="else", aud="else", client_id="else", exp=0), 1)
    assert (said["iss"], said["aud"], said["client_id"]) == ("doorward", THERE, "doorward")
    assert said["exp"] > int(NOW.timestamp())


def test_one_that_nobody_signs_says_so(desk: Desk) -> None:
    made = desk.request("none", state="s")
    assert made.endswith(".")
    assert part(made, 0) == {"alg": "none", "typ": "oauth-authz-req+jwt"}
    assert part(made, 1)["state"] == "s"


def test_an_assertion_is_for_one_provider_and_never_the_same(desk: Desk) -> None:
    """RFC 7523 §3; OpenID Connect Core §9."""
    first, second = (
        desk.flow.assertion(client_id="doorward", provider_issuer=THERE, algorithm="ES256") for _ in range(2)
    )
    said = part(first, 1)
    assert said == {
        "iss": "doorward", "sub": "doorward", "aud": THERE, "iat": int(NOW.timestamp()),
        "nbf": int((NOW - BEHIND).timestamp()), "exp": int((NOW + ASSERTION_LIFE).timestamp()), "jti": said["jti"],
    }  # fmt: skip
    assert part(first, 0)["typ"] == "JWT"
    assert part(second, 1)["jti"] != said["jti"]


async def test_a_request_can_be_fetched_by_who_was_told_where(desk: Desk) -> None:
    address = await desk.flow.leave(CLUB, "a.b.c")
    base = requests_of(HERE, CLUB)
    assert address.startswith(base)
    reference = address.removeprefix(base)
    for _ in range(2):  # people load the page again
        assert await desk.flow.fetch(CLUB, reference) == "a.b.c"
    assert await desk.flow.fetch(OTHER, reference) is None
    assert await desk.flow.fetch(CLUB, f"{reference}x") is None
    desk.clock.move(REQUEST_LIFE - timedelta(seconds=1))
    assert await desk.flow.fetch(CLUB, reference) == "a.b.c"
    desk.clock.move(timedelta(seconds=1))
    assert await desk.flow.fetch(CLUB, reference) is None


async def test_of_two_requests_each_has_its_own_address(desk: Desk) -> None:
    first, second = await desk.flow.leave(CLUB, "first"), await desk.flow.leave(CLUB, "second")
    assert first != second
    assert await desk.flow.fetch(CLUB, first.rpartition("/")[2]) == "first"


async def test_nothing_of_a_request_can_be_read_in_the_store(desk: Desk) -> None:
    reference = (await desk.flow.leave(CLUB, "canary")).rpartition("/")[2]
    ((name, (_, sealed)),) = desk.memory.transactions.rows.items()
    assert reference not in name
    assert b"canary" not in sealed


def test_our_keys_for_providers_are_at_an_address_of_their_own() -> None:
    assert our_keys_of(HERE) == f"{HERE}/client-jwks"

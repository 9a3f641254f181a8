"""A device asks, a person answers somewhere else: one answer counts, and one question gets it (RFC 8628)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.flows.op import APP, FORUM, ISSUER, CountingEntropy, Op, answered

from broker.domain.client import AccessTokenFormat
from broker.domain.device import KEPT, LIFETIME, DeviceRequest, make_user_code
from broker.domain.session import Session
from broker.domain.values import ClientId
from broker.errors import (
    AuthorizationPending,
    DeviceRefused,
    ExpiredDeviceCode,
    FormInvalid,
    InvalidGrant,
    InvalidRequest,
    InvalidTarget,
    SignInExpired,
    SlowDown,
    TooManyAttempts,
    UnauthorizedClient,
)
from broker.stores.memory import MemoryTransactions
from broker.flows.device import GRANT_TYPE, GUESSES, REQUESTS_PER_MINUTE, Begun, Outcome

ADDRESS = "192.0.2.7"


@pytest.fixture
def op() -> Op:
    op = Op()
    for name in (FORUM, APP):
        op.clients[name] = replace(op.clients[name], device_grant=True)
    return op


async def begin(op: Op, client: ClientId = FORUM, /, scope: str = "openid profile email") -> Begun:
    return await op.devices.begin(op.clients[client], {"scope": scope}, address=ADDRESS)


API, SEARCH = "https://api.forum.test/", "https://search.forum.test/"


async def test_a_device_gets_tokens_for_the_interfaces_it_named(op: Op) -> None:
    """And for fewer of them if it says so when it asks (RFC 8707 §2.2)."""
    op.clients[FORUM] = replace(
        op.clients[FORUM], resources=frozenset({API, SEARCH}), access_tokens=AccessTokenFormat.JWT
    )
    ana = await op.person("ana")
    params = {"scope": "openid profile", "resource": f"{API} {SEARCH} {API}"}
    for chosen, audience in ((None, [API, SEARCH]), (SEARCH, SEARCH)):
        begun = await op.devices.begin(op.clients[FORUM], params, address=ADDRESS)
        await approve(op, ana, begun)
        tokens = await ask(op, begun, resource=chosen)
        claims = op.box.own(tokens["access_token"], typ="at+jwt", now=op.clock.now())
        assert claims is not None
        assert claims["aud"] == audience


@pytest.mark.parametrize("resource", ["https://evil.test/", f"{API} https://evil.test/", "api"])
async def test_a_device_names_interfaces_of_its_own_site_alone(op: Op, resource: str) -> None:
    """RFC 8707 §2."""
    op.clients[FORUM] = replace(op.clients[FORUM], resources=frozenset({API}))
    with pytest.raises(InvalidTarget):
        await op.devices.begin(op.clients[FORUM], {"scope": "openid", "resource": resource}, address=ADDRESS)
    begun = await op.devices.begin(op.clients[FORUM], {"scope": "openid", "resource": API}, address=ADDRESS)
    await approve(op, await op.person("ana"), begun)
    with pytest.raises(InvalidTarget):
        await ask(op, begun, resource=resource)


async def ask(op: Op, begun: Begun, client: ClientId = FORUM, /, *, resource: str | None = None) -> Mapping[str, Any]:
    """The device asks, after the interval."""
    op.move(seconds=5)
    params = {"grant_type": GRANT_TYPE, "device_code": begun.device_code}
    params |= {} if resource is None else {"resource": resource}
    return await op.exchange.exchange(op.clients[client], params)


async def consent(op: Op, ana: Session, device: DeviceRequest) -> dict[str, str]:
    """What the browser brings back once the person has shared everything."""
    request = op.devices.request(device)
    situation = await op.authorize.look(op.clients[device.client_id], request, ana)
    everything = frozenset(ask.claim for ask in situation.asked)
    answer = await op.authorize.share(situation, op.transaction(), ticked=everything, typed={}, locale="en")
    assert answer.redirect_uri == f"{ISSUER}/device/answer"
    return answered(answer)


async def approve(op: Op, ana: Session, begun: Begun) -> dict[str, str]:
    """The person types the code and says yes to everything: the answer, already brought."""
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    params = await consent(op, ana, device)
    assert await op.devices.answered(params) == (device.client_id, Outcome.DONE)
    return params


async def test_a_device_gets_what_the_person_agreed_to(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    with pytest.raises(AuthorizationPending):
        await ask(op, begun)
    await approve(op, ana, begun)
    tokens = await ask(op, begun)
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "email openid profile"
    claims = op.box.own(tokens["id_token"], typ="JWT", now=op.clock.now())
    assert claims is not None
    assert claims["aud"] == FORUM
    assert "nonce" not in claims
    assert await op.is_active(tokens["access_token"])


async def test_what_was_given_is_given_once(op: Op) -> None:
    """And asking again, as who lost the answer does, takes nothing back from who got it."""
    ana, begun = await op.person("ana"), await begin(op)
    await approve(op, ana, begun)
    tokens = await ask(op, begun)
    with pytest.raises(InvalidGrant):
        await ask(op, begun)
    assert await op.is_active(tokens["access_token"])


async def test_of_two_that_ask_at_once_one_gets_it(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the request out of the store first; here another server does, at the last moment."""
    ana, begun = await op.person("ana"), await begin(op)
    await approve(op, ana, begun)
    real = MemoryTransactions.delete

    async def second(self: MemoryTransactions, transaction_id: str) -> bool:
        await real(self, transaction_id)
        return await real(self, transaction_id)

    monkeypatch.setattr(MemoryTransactions, "delete", second)
    with pytest.raises(InvalidGrant):
        await ask(op, begun)


async def test_a_device_may_ask_late_but_not_too_late(op: Op) -> None:
    """A minute is the life of a code that a browser carries, not of one that waits for a device."""
    ana, begun = await op.person("ana"), await begin(op)
    await approve(op, ana, begun)
    op.move(minutes=9)
    assert "id_token" in await ask(op, begun)
    other = await begin(op)
    await approve(op, ana, other)
    op.clock.move(LIFETIME)
    with pytest.raises(ExpiredDeviceCode):
        await ask(op, other)
    op.move(minutes=11)
    with pytest.raises(InvalidGrant):
        await ask(op, other)


async def test_a_device_that_asks_too_often_is_slowed_down(op: Op) -> None:
    begun = await begin(op)
    params = {"grant_type": GRANT_TYPE, "device_code": begun.device_code}
    with pytest.raises(AuthorizationPending):
        await op.exchange.exchange(op.clients[FORUM], params)
    op.move(seconds=3)
    with pytest.raises(SlowDown):
        await op.exchange.exchange(op.clients[FORUM], params)
    with pytest.raises(AuthorizationPending):
        await ask(op, begun)


async def test_a_device_code_is_its_sites_own(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    await approve(op, ana, begun)
    with pytest.raises(InvalidGrant):
        await ask(op, begun, APP)
    with pytest.raises(InvalidGrant):
        await ask(op, Begun(device_code="dwd_made-up", user_code=""))
    assert "id_token" in await ask(op, begun)


async def test_a_question_without_a_code_or_without_leave_is_refused(op: Op) -> None:
    begun = await begin(op)
    with pytest.raises(InvalidRequest):
        await op.exchange.exchange(op.clients[FORUM], {"grant_type": GRANT_TYPE})
    op.clients[FORUM] = replace(op.clients[FORUM], device_grant=False)
    with pytest.raises(UnauthorizedClient):
        await ask(op, begun)


async def test_a_code_that_came_by_a_browser_is_worth_nothing_elsewhere(op: Op) -> None:
    """Not for the site itself either: our half of PKCE never left us, and the address is ours."""
    ana, begun = await op.person("ana"), await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    params = await consent(op, ana, device)
    with pytest.raises(InvalidGrant):
        await op.redeem(params["code"], redirect_uri=f"{ISSUER}/device/answer")


async def test_one_answer_counts_and_the_second_is_taken_back(op: Op) -> None:
    ana, bo, begun = await op.person("ana"), await op.person("bo"), await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    late = await consent(op, bo, device)
    first = await approve(op, ana, begun)
    assert await op.devices.answered(late) == (FORUM, Outcome.LATE)
    assert await op.devices.answered(late) == (FORUM, Outcome.LATE), "brought again, it changes nothing"
    assert await op.devices.answered(first) == (FORUM, Outcome.DONE)
    assert not await op.durable.grants.of_account(bo.account), "what came late is taken back"
    assert await op.durable.grants.of_account(ana.account)
    tokens = await ask(op, begun)
    found = await op.releaser.userinfo(tokens["access_token"])
    assert found["name"] == "Ana Lund"


async def test_a_refusal_after_the_answer_comes_too_late(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    await approve(op, ana, begun)
    assert await op.devices.refuse(device) is Outcome.LATE
    assert "id_token" in await ask(op, begun)


async def test_a_made_up_code_changes_nothing_for_the_one_that_came_first(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    params = await approve(op, ana, begun)
    assert await op.devices.answered(params | {"code": "dwc_made-up"}) == (FORUM, Outcome.LATE)
    assert "id_token" in await ask(op, begun)


async def test_an_answer_after_the_time_is_too_late(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    op.clock.move(LIFETIME)
    params = await consent(op, ana, device)
    assert await op.devices.answered(params) == (FORUM, Outcome.LATE)
    assert not await op.durable.grants.of_account(ana.account), "what nobody can get is taken back"


async def test_an_answer_for_a_device_that_nobody_knows_any_more_is_taken_back(op: Op) -> None:
    ana, begun = await op.person("ana"), await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    op.clock.move(LIFETIME + KEPT)
    params = await consent(op, ana, device)
    assert await op.devices.answered(params) == (None, Outcome.LATE)
    assert not await op.durable.grants.of_account(ana.account)
    assert await op.devices.answered({"state": params["state"], "error": "access_denied"}) == (None, Outcome.LATE)


@pytest.mark.parametrize(("error", "outcome"), [("access_denied", Outcome.REFUSED), ("login_required", Outcome.FAILED)])
async def test_a_refusal_reaches_the_device(op: Op, error: str, outcome: Outcome) -> None:
    begun = await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    state = op.devices.request(device).state
    assert state is not None
    for _ in range(2):
        assert await op.devices.answered({"state": state, "error": error}) == (FORUM, outcome)
    with pytest.raises(DeviceRefused):
        await ask(op, begun)
    with pytest.raises(InvalidGrant):
        await ask(op, begun)


async def test_a_person_who_does_not_know_the_device_refuses_it(op: Op) -> None:
    begun = await begin(op)
    device = await op.devices.find(begun.user_code, address=ADDRESS)
    assert await op.devices.refuse(device) is Outcome.REFUSED
    with pytest.raises(FormInvalid):
        await op.devices.find(begun.user_code, address=ADDRESS)
    with pytest.raises(DeviceRefused):
        await ask(op, begun)


@pytest.mark.parametrize("params", [{}, {"code": "x"}, {"state": "x", "code": "x"}])
async def test_what_was_not_ours_is_no_answer(op: Op, params: dict[str, str]) -> None:
    with pytest.raises(SignInExpired):
        await op.devices.answered(params)


async def test_an_answer_is_a_code_or_an_error(op: Op) -> None:
    state = op.devices.request(await op.devices.find((await begin(op)).user_code, address=ADDRESS)).state
    assert state is not None
    for params in ({"state": state}, {"state": state, "code": "x", "error": "y"}):
        with pytest.raises(SignInExpired):
            await op.devices.answered(params)


async def test_codes_are_not_guessed(op: Op) -> None:
    """Some tries in ten minutes from one address, of 20^8 codes (RFC 8628 §5.1)."""
    begun = await begin(op)
    with pytest.raises(FormInvalid) as no_code:
        await op.devices.find("hello", address=ADDRESS)
    assert no_code.value.fields == {"user_code": "no_device_code"}
    for _ in range(GUESSES):
        with pytest.raises(FormInvalid) as unknown:
            await op.devices.find("BBBB-BBBB", address=ADDRESS)
        assert unknown.value.fields == {"user_code": "unknown_device_code"}
    with pytest.raises(TooManyAttempts):
        await op.devices.find(begun.user_code, address=ADDRESS)
    found = await op.devices.find(begun.user_code, address="192.0.2.8")
    assert found.client_id == FORUM


async def test_a_typed_code_is_over_with_its_time(op: Op) -> None:
    begun = await begin(op)
    op.clock.move(LIFETIME)
    with pytest.raises(FormInvalid):
        await op.devices.find(begun.user_code, address=ADDRESS)


async def test_no_two_devices_show_one_code(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, real = iter([1, 1, 2]), CountingEntropy.bytes

    def draw(self: CountingEntropy, size: int) -> bytes:
        return next(drawn).to_bytes(size, "big") if size == 16 else real(self, size)

    monkeypatch.setattr(CountingEntropy, "bytes", draw)
    codes = [(await begin(op)).user_code.replace("-", "") for _ in range(2)]
    assert codes == [make_user_code(number.to_bytes(16, "big")) for number in (1, 2)]


async def test_strangers_fill_no_store(op: Op) -> None:
    """Apps without a secret are limited by address; a site that proves itself is not."""
    for _ in range(REQUESTS_PER_MINUTE):
        await begin(op, APP)
    with pytest.raises(TooManyAttempts):
        await begin(op, APP)
    await begin(op, FORUM)

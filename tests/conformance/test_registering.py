"""We register ourselves at a provider (oidcc-client-test-dynamic-registration), somebody else's and misbehaving ones."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.providers.witness import HOST, Witness, running_witness
from tests.support.house import DOORWARD_TOML, SECRETS, Arrival, House, Sandboxes, Shown, open_house, write_config
from tests.support.sandbox import served_here
from tests.support.tls import Authority

from broker.cli.commands import main
from broker.domain.values import Secret
from broker.egress import Egress, Exemption
from broker.errors import BrokerError, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._registration import about_us, read_answer, register

US = about_us(name="Club Login", issuer="https://login.test", provider="there")
UPSTREAM = "https://id.elsewhere.test"


@pytest.fixture(scope="module")
def witness(authority: Authority) -> Iterator[Witness]:
    with running_witness(authority) as running:
        yield running


@pytest.fixture
async def egress(witness: Witness) -> AsyncIterator[Egress]:
    client = Egress(exemptions=[Exemption(host=HOST, port=witness.port, ca_file=witness.authority.ca)])
    yield client
    await client.aclose()


def settings_with(witness: Witness) -> str:
    return f'{DOORWARD_TOML}\n[egress."{HOST}:{witness.port}"]\nca_file = "{witness.authority.ca}"\n'


async def add(config: Path, *words: str, said: str = "") -> Result:
    command = ["provider", "add", *words, "-c", str(config)]
    return await asyncio.to_thread(CliRunner().invoke, main, command, input=said, env=SECRETS)


def block_in(text: str) -> str:
    """The table that the command printed."""
    lines = text.split("[providers.there]")[1].splitlines()
    inside = [line.strip() for line in lines[1:]]
    return "\n".join(["[providers.there]", *inside[: inside.index("")]])


async def test_oidcc_client_test_dynamic_registration(witness: Witness, tmp_path: Path, sandboxes: Sandboxes) -> None:
    """Registered at somebody else's provider by one command; then a person signs in by what it printed."""
    doorward = settings_with(witness)
    config = write_config(tmp_path / "asked", sandboxes, doorward=doorward)
    done = await add(
        config, "openid-connect", "--issuer", witness.issuer, "--id", "there", "--register", "--token-file", "-",
        said="let-us-in\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    secret, kept = config / "secrets/there.secret", config / "secrets/there.registration"
    for path in (secret, kept):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() not in done.output
    assert secret.read_text() not in done.output
    block = block_in(done.output).replace('state = "test"', 'state = "on"')
    block = block.replace('"secrets/there.secret"', json.dumps(str(secret)))
    providers = block.replace("[providers.there]", "[there]")
    async with open_house(tmp_path, sandboxes, doorward=doorward, providers=providers) as house:
        shown = await signed_in(house, witness)
        assert shown.path.endswith("/details"), shown.text
        assert "Zoe Witness" in shown.text


async def test_a_way_of_asking_is_registered_and_stands_in_the_block(tmp_path: Path, sandboxes: Sandboxes) -> None:
    config = write_config(tmp_path, sandboxes)
    done = await add(
        config, "openid-connect", "--issuer", sandboxes.openid.url, "--id", "there", "--register",
        "--request-object", "by_reference", "--request-object-signing-alg", "ES256",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    block = block_in(done.output)
    assert 'request_object = "by_reference"' in block
    assert 'request_object_signing_alg = "ES256"' in block
    (client,) = (sandboxes.openid.state.clients[one] for one in sandboxes.openid.state.registered)
    assert (client.request_object_signing_alg, client.jwks_uri) == ("ES256", "https://login.test/client-jwks")


async def test_our_keys_are_registered_in_place_of_a_secret(
    witness: Witness, tmp_path: Path, sandboxes: Sandboxes
) -> None:
    """Somebody else's provider fetches them from us, and then a person signs in; no secret was made or kept."""
    doorward = settings_with(witness)
    config = write_config(tmp_path / "asked", sandboxes, doorward=doorward)
    done = await add(
        config, "openid-connect", "--issuer", witness.issuer, "--id", "there", "--register", "--token-file", "-",
        "--private-key-jwt", "ES256", said="let-us-in\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "there is no secret: it finds our keys at https://login.test/client-jwks" in done.output
    assert [path.name for path in (config / "secrets").iterdir()] == ["there.registration"]
    block = block_in(done.output).replace('state = "test"', 'state = "on"')
    assert 'token_endpoint_auth_signing_alg = "ES256"' in block
    assert "client_secret" not in block
    providers, leaf = block.replace("[providers.there]", "[there]"), witness.authority.leaf("login.test")
    async with (
        open_house(tmp_path, sandboxes, doorward=doorward, providers=providers) as house,
        served_here(house.app, port=witness.hook_port, certificate=leaf.certificate, key=leaf.key),
    ):
        shown = await signed_in(house, witness)
        assert shown.path.endswith("/details"), shown.text
        assert "Zoe Witness" in shown.text


async def test_who_takes_no_signature_is_not_asked_to_register_one(tmp_path: Path, sandboxes: Sandboxes) -> None:
    config = write_config(tmp_path, sandboxes)
    words = ("openid-connect", "--issuer", sandboxes.openid.url, "--id", "there", "--register")
    done = await add(config, *words, "--private-key-jwt", "RS256")
    assert done.exit_code == 1
    assert "It does not say that it takes private_key_jwt" in done.output
    assert "Nothing was registered. Leave --private-key-jwt out" in done.output
    assert list((config / "secrets").iterdir()) == []
    assert sandboxes.openid.state.registered == []


async def signed_in(house: House, witness: Witness) -> Shown:
    browser = house.browser()
    await browser.open("/sign-in")
    away = await browser.press("provider=there")
    assert isinstance(away, Arrival)
    shown = await browser.go(await witness.sign_in(away.url, "zoe"))
    assert isinstance(shown, Shown)
    return shown


@pytest.mark.parametrize("token", ["", "let-me-in"])
async def test_who_is_not_let_in_keeps_nothing(
    witness: Witness, tmp_path: Path, sandboxes: Sandboxes, token: str
) -> None:
    config = write_config(tmp_path, sandboxes, doorward=settings_with(witness))
    more = ("--token-file", "-") if token else ()
    done = await add(
        config, "openid-connect", "--issuer", witness.issuer, "--id", "there", "--register", *more, said=token
    )
    assert done.exit_code == 1
    assert f"{witness.issuer} did not register us (upstream_rejected: registration inv" in done.output
    assert "give it with --token-file" in done.output
    assert list((config / "secrets").iterdir()) == []
    assert not token or token not in done.output


async def test_a_secret_that_is_there_stays_and_nobody_is_asked(
    witness: Witness, tmp_path: Path, sandboxes: Sandboxes
) -> None:
    config = write_config(tmp_path, sandboxes, doorward=settings_with(witness))
    (config / "secrets").mkdir()
    (config / "secrets/there.registration").write_text("mine")
    done = await add(config, "openid-connect", "--issuer", witness.issuer, "--id", "there", "--register")
    assert done.exit_code == 1
    assert "nothing was registered" in done.output
    assert "Name this provider otherwise with --id" in done.output
    assert [path.name for path in (config / "secrets").iterdir()] == ["there.registration"]
    assert (config / "secrets/there.registration").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("facebook", "--register"), "has no such interface"),
        (("openid-connect", "--issuer", UPSTREAM, "--client-id", "x", "--register"), "knows us already"),
        (("openid-connect", "--issuer", UPSTREAM, "--token-file", "-"), "is for --register"),
    ],
)
async def test_what_does_not_go_together_is_said(
    tmp_path: Path, sandboxes: Sandboxes, words: tuple[str, ...], said: str
) -> None:
    done = await add(write_config(tmp_path, sandboxes), *words, "--id", "there")
    assert done.exit_code == 1
    assert said in done.output
    assert not (tmp_path / "secrets").exists()


# --- what it may answer ---------------------------------------------------------------------------------------


class Answer:
    """As the guarded client gives it."""

    def __init__(self, told: Any, status: int = 201, kind: str = "application/json") -> None:
        self.status, self.headers = status, {"content-type": kind}
        self.body = told if isinstance(told, bytes) else json.dumps(told).encode()


GOOD = {"client_id": "us", "client_secret": "s3cret", "redirect_uris": US["redirect_uris"]}


def test_an_answer_is_read() -> None:
    more = {"registration_client_uri": f"{UPSTREAM}/reg/us", "registration_access_token": "t"}
    found = read_answer(Answer(GOOD | more | {"token_endpoint_auth_method": "client_secret_post"}), US, UPSTREAM)
    assert (found.client_id, found.secret, found.method) == ("us", Secret("s3cret"), "client_secret_post")
    assert [
        read_answer(Answer(GOOD | {"client_secret_expires_at": one}), US, UPSTREAM).ends for one in (0, None, 7)
    ] == [0, 0, 7]
    assert (found.address, found.token) == (more["registration_client_uri"], Secret("t"))
    for missing in more:
        rest = {name: value for name, value in more.items() if name != missing}
        bare = read_answer(Answer(GOOD | rest, 200), US, UPSTREAM)
        assert (bare.address, bare.token, bare.method) == ("", None, "client_secret_basic")
    weak = read_answer(Answer(GOOD | more | {"registration_client_uri": "http://id.elsewhere.test/us"}), US, UPSTREAM)
    assert (weak.address, weak.token) == ("", None)


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        (Answer(GOOD, 503), UpstreamUnavailable, "status 503 registration"),
        (Answer({}, 429), UpstreamUnavailable, "status 429 registration"),
        (Answer({"error": "invalid_token"}, 401), UpstreamRejected, "registration invalid_token"),
        (Answer({"error": "<b>"}, 400), UpstreamRejected, "registration other"),
        (Answer(b"no", 403, "text/plain"), UpstreamRejected, "registration status 403"),
        (Answer(GOOD, 302), UpstreamRejected, "registration other"),
        (Answer(b"no", 201, "text/html"), UpstreamInvalid, "registration"),
        (Answer(GOOD | {"client_id": ""}), UpstreamInvalid, "registration_client_id"),
        (Answer(GOOD | {"client_secret": None}), UpstreamInvalid, "registration_client_secret"),
        (Answer(GOOD | {"client_secret": "a\nb"}), UpstreamInvalid, "registration_client_secret"),
        (Answer(GOOD | {"token_endpoint_auth_method": "none"}), UpstreamInvalid, "registration_method"),
        *(
            (
                Answer(GOOD | {"client_secret_expires_at": ends}),
                UpstreamInvalid,
                "registration_client_secret_expires_at",
            )
            for ends in (True, "7", -1, 2**50)
        ),
        (Answer(GOOD | {"redirect_uris": ["https://evil.test/"]}), UpstreamInvalid, "registration_redirect_uris"),
    ],
)
def test_an_answer_that_is_none_of_ours_is_refused(answer: Answer, error: type[BrokerError], detail: str) -> None:
    with pytest.raises(error) as raised:
        read_answer(answer, US, UPSTREAM)
    assert raised.value.detail.startswith(detail)


KEYED = about_us(name="Club Login", issuer="https://login.test", provider="there", private_key_jwt="ES256")
BY_KEY = {"client_id": "us", "token_endpoint_auth_method": "private_key_jwt"}


def test_an_answer_about_our_keys_is_read() -> None:
    """A secret that comes all the same is nothing to keep."""
    for more in ({}, {"client_secret": "s3cret"}, {"token_endpoint_auth_signing_alg": "ES256"}):
        found = read_answer(Answer({**BY_KEY, **more}), KEYED, UPSTREAM)
        assert (found.client_id, found.secret, found.method) == ("us", Secret(""), "private_key_jwt")


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"token_endpoint_auth_method": "client_secret_basic", "client_secret": "s"}, "registration_by_secret"),
        ({"token_endpoint_auth_method": None}, "registration_by_secret"),
        ({"token_endpoint_auth_signing_alg": "RS256"}, "registration_other_keys"),
        ({"jwks_uri": "https://evil.test/keys"}, "registration_other_keys"),
    ],
)
def test_other_keys_than_ours_are_refused(more: dict[str, Any], check: str) -> None:
    with pytest.raises(UpstreamInvalid, match=check):
        read_answer(Answer({**BY_KEY, **more}), KEYED, UPSTREAM)


async def test_who_calls_itself_otherwise_or_lets_nobody_register_is_not_told_who_we_are() -> None:
    asked: list[str] = []

    def http(told: dict[str, Any]) -> Any:
        class Client:
            async def request(self, method: str, url: str, **_: Any) -> Answer:
                asked.append(method)
                return Answer(told, 200)

        return Client()

    good = {"issuer": UPSTREAM, "registration_endpoint": f"{UPSTREAM}/reg"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**good, "issuer": f"{UPSTREAM}/"}, "discovery_issuer"),
        ({"issuer": UPSTREAM}, "registration_endpoint"),
        ({**good, "registration_endpoint": "http://id.elsewhere.test/reg"}, "registration_endpoint"),
        ({**good, "registration_endpoint": 7}, "registration_endpoint"),
    ]
    for told, detail in cases:
        with pytest.raises(UpstreamInvalid, match=detail):
            await register(http(told), UPSTREAM, US, None)
    ways, names = "token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported"
    keyed: list[tuple[dict[str, Any], str]] = [
        (good, "registration_no_signature"),
        ({**good, ways: "private_key_jwt"}, "registration_no_signature"),
        ({**good, ways: ["client_secret_basic"]}, "registration_no_signature"),
        ({**good, ways: ["private_key_jwt"], names: ["RS256"]}, "registration_no_algorithm"),
    ]
    for told, detail in keyed:
        with pytest.raises(UpstreamInvalid, match=detail):
            await register(http(told), UPSTREAM, KEYED, None)
    assert asked == ["GET"] * (len(cases) + len(keyed))

"""A provider that is ours to call names addresses that are not: nothing inside is ever visited for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.egress.wire import plain, speaking
from tests.providers.rig import (
    ACCESS_TOKEN,
    CALLBACK,
    StandingClock,
    attempt,
    id_claims,
    preset,
    rsa_jwk,
    rsa_key,
    sign,
)

from broker.egress import Egress, EgressRefused, Exemption
from broker.errors import UpstreamInvalid
from providers.openid_connect import OpenIDConnect

JSON = "Content-Type: application/json"


def inside(port: int) -> list[str]:
    """Addresses of the canary in spellings that somebody may believe to be harmless."""
    return [
        f"http://127.0.0.1:{port}/x", f"https://127.0.0.1:{port}/x", f"http://localhost:{port}/x", f"http://[::1]:{port}/x",
        f"http://[::ffff:127.0.0.1]:{port}/x", f"http://2130706433:{port}/x", f"https://localhost:{port}/x",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/x",
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["jwks_uri", "token_endpoint", "userinfo_endpoint"])
async def test_metadata_cannot_send_us_inside(member: str) -> None:
    """catalogue 138, 139: the issuer's own host and port are allowed, and nothing that its document points to."""
    async with speaking(plain(b"{}", JSON)) as canary:
        for address in inside(canary.port):
            said: dict[str, Any] = {}

            async def answer(_: Any, writer: Any, said: dict[str, Any] = said) -> None:
                asked = issuer.requests[-1].split(b" ")[1].decode()
                writer.write(plain(json.dumps(said[asked]).encode(), JSON))

            async with speaking(answer) as issuer:
                base = f"http://127.0.0.1:{issuer.port}"
                token = sign(id_claims(iss=base, name=None))  # without the name, so that userinfo is asked
                said |= {
                    "/.well-known/openid-configuration": {
                        "issuer": base, "authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/t",
                        "jwks_uri": f"{base}/k", "userinfo_endpoint": f"{base}/u", member: address,
                    },
                    "/t": {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token},
                    "/k": {"keys": [rsa_jwk(rsa_key())]},
                }  # fmt: skip
                egress = Egress(exemptions=[Exemption(host="127.0.0.1", port=issuer.port)])
                one = OpenIDConnect(preset(issuer=base), egress, StandingClock())
                with pytest.raises(EgressRefused):
                    await one.identify(attempt(), {**CALLBACK, "iss": base})
                await egress.aclose()
        assert canary.connections == 0


async def test_discovery_of_an_issuer_that_is_inside_visits_nobody() -> None:
    """catalogue 138: a preset alone opens no door; the exact address has to be allowed as well."""
    async with speaking(plain(b"{}", JSON)) as canary:
        for address in inside(canary.port):
            egress = Egress()
            with pytest.raises(EgressRefused):
                await OpenIDConnect(preset(issuer=address), egress, StandingClock()).check()
            await egress.aclose()
        assert canary.connections == 0


async def test_a_redirect_of_a_provider_is_not_followed() -> None:
    """catalogue 139: discovery that moves elsewhere is no discovery."""
    async with speaking(plain(b"{}", JSON)) as canary:
        there = plain(b"", f"Location: http://127.0.0.1:{canary.port}/", status="302 Found")
        async with speaking(there) as issuer:
            egress = Egress(exemptions=[Exemption(host="127.0.0.1", port=port) for port in (issuer.port, canary.port)])
            with pytest.raises(UpstreamInvalid, match="discovery"):
                await OpenIDConnect(preset(issuer=f"http://127.0.0.1:{issuer.port}"), egress, StandingClock()).check()
            await egress.aclose()
        assert canary.connections == 0

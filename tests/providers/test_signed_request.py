"""What Facebook tells us by itself is believed only with the app's signature, and only while it is new."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.providers.contract import Recording
from tests.providers.rig import NOW, ScriptedHTTP, StandingClock

from broker.domain.removal import TellsOfRemoval
from broker.domain.values import Secret
from broker.errors import UpstreamInvalid
from providers._signed_request import MAX_TEXT, OLDEST, read_signed_request
from providers.facebook import Facebook

SECRET = Secret("app-secret-0815")
SECONDS = int(NOW.timestamp())
PAYLOAD = {"user_id": "218471", "algorithm": "HMAC-SHA256", "issued_at": SECONDS}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: Any, *, secret: str = "app-secret-0815", digest: Callable[..., Any] = hashlib.sha256) -> str:
    body = b64(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    return f"{b64(hmac.new(secret.encode(), body.encode(), digest).digest())}.{body}"


def read(text: str) -> Any:
    return read_signed_request(text, SECRET, NOW)


def test_a_request_that_facebook_signed_is_read() -> None:
    said, made = read(signed(PAYLOAD))
    assert (said["user_id"], made) == ("218471", NOW)
    assert read(signed({**PAYLOAD, "issued_at": SECONDS - OLDEST.total_seconds()}))[0]
    assert read(signed({**PAYLOAD, "issued_at": SECONDS + 60}))[0]


FORGED = {
    "another secret": (signed(PAYLOAD, secret="another"), "signed_request_signature"),
    "a changed payload": (
        signed(PAYLOAD).partition(".")[0] + "." + signed({**PAYLOAD, "user_id": "1"}).partition(".")[2],
        "signed_request_signature",
    ),
    "a shorter digest": (signed(PAYLOAD, digest=hashlib.sha1), "signed_request_form"),
    "a longer digest": (signed(PAYLOAD, digest=hashlib.sha512), "signed_request_form"),
    "another algorithm": (signed({**PAYLOAD, "algorithm": "HMAC-SHA1"}), "signed_request_algorithm"),
    "the algorithm none": (signed({**PAYLOAD, "algorithm": "none"}), "signed_request_algorithm"),
    "the algorithm in small letters": (signed({**PAYLOAD, "algorithm": "hmac-sha256"}), "signed_request_algorithm"),
    "no algorithm": (signed({"user_id": "1", "issued_at": SECONDS}), "signed_request_algorithm"),
    "too old": (signed({**PAYLOAD, "issued_at": SECONDS - OLDEST.total_seconds() - 1}), "issued_at"),
    "of tomorrow": (signed({**PAYLOAD, "issued_at": SECONDS + 61}), "issued_at"),
    "without a time": (signed({"user_id": "1", "algorithm": "HMAC-SHA256"}), "issued_at"),
    "a time in text": (signed({**PAYLOAD, "issued_at": str(SECONDS)}), "issued_at"),
    "a time without end": (signed(b'{"algorithm":"HMAC-SHA256","issued_at":1e999}'), "signed_request_json"),
    "a name twice": (
        signed(f'{{"algorithm":"none","algorithm":"HMAC-SHA256","issued_at":{SECONDS}}}'.encode()),
        "signed_request_json",
    ),
    "a list": (signed([PAYLOAD]), "signed_request_json"),
    "no JSON": (signed(b"hello"), "signed_request_json"),
    "padding": (signed(PAYLOAD) + "==", "signed_request_form"),
    "a payload of impossible length": (
        f"{b64(hmac.new(b'app-secret-0815', b'AAAAA', hashlib.sha256).digest())}.AAAAA",
        "signed_request_form",
    ),
    "three parts": (signed(PAYLOAD) + ".e30", "signed_request_form"),
    "one part": (signed(PAYLOAD).replace(".", ""), "signed_request_form"),
    "the other alphabet": (signed(PAYLOAD).replace(".", "+.", 1), "signed_request_form"),
    "a line end": (signed(PAYLOAD) + "\n", "signed_request_form"),
    "nothing": ("", "signed_request_form"),
    "too much": (signed({**PAYLOAD, "more": "x" * MAX_TEXT}), "signed_request_form"),
}


@pytest.mark.parametrize(("text", "check"), FORGED.values(), ids=list(FORGED))
def test_anything_else_is_nobodys_word(text: str, check: str) -> None:
    """The signature is looked at before anything in it (catalogue 50, 173)."""
    with pytest.raises(UpstreamInvalid) as caught:
        read(text)
    assert caught.value.check == check


def facebook(secret: str = "app-secret-0815") -> Facebook:
    preset = Recording.read("facebook").preset
    from dataclasses import replace

    return Facebook(replace(preset, client_secret=Secret(secret)), ScriptedHTTP({}), StandingClock())


def test_the_person_is_who_signs_in_by_that_app() -> None:
    """The same issuer and id as in a sign-in, so that the link is found."""
    provider = facebook()
    assert isinstance(provider, TellsOfRemoval)
    said = provider.read_removal({"signed_request": signed(PAYLOAD)})
    preset = Recording.read("facebook").preset
    assert said.key.subject == "218471"
    assert said.key.issuer.endswith(f"/app/{preset.client_id}")
    assert said.at == NOW
    with pytest.raises(UpstreamInvalid):
        facebook("another").read_removal({"signed_request": signed(PAYLOAD)})
    with pytest.raises(UpstreamInvalid):
        provider.read_removal({})


@pytest.mark.parametrize("subject", [None, "", 218471, True, ["1"], "a\nb", "x" * 256])
def test_a_word_about_nobody_is_refused(subject: object) -> None:
    with pytest.raises(UpstreamInvalid, match="user_id"):
        facebook().read_removal({"signed_request": signed({**PAYLOAD, "user_id": subject})})


def test_what_is_refused_is_repeated_nowhere() -> None:
    """Neither the text nor the secret stands in what is logged (catalogue 152)."""
    for text, _ in FORGED.values():
        with pytest.raises(UpstreamInvalid) as caught:
            read(text)
        for secret in filter(None, (text, "app-secret-0815", "218471")):
            assert secret not in str(caught.value)
    assert timedelta(hours=1) <= OLDEST <= timedelta(days=1)

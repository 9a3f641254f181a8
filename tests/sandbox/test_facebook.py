"""The Facebook-like sandbox answers as protocols.md §1 and §6 say, to Authlib's client and to plain HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette

from providers.sandbox.facebook import App, create_app
from providers.sandbox.facebook_people import PEOPLE
from providers.sandbox.facebook_tokens import TAMPERINGS

BASE = "http://facebook.test"
V = "/v26.0"
SECRET = "s3cret&with=odd characters"
CALLBACK = "https://login.test/callback/facebook"
APP = App(id="100000000000001", secret=SECRET, redirect_uris=(CALLBACK, CALLBACK + "?x=1"))
OTHER = App(id="200000000000002", secret="other-secret", redirect_uris=(CALLBACK,))
# The personas whose Graph call is refused: slug → status, code, subcode.
REFUSED = {
    "expired": (400, 190, 463),
    "checkpoint": (400, 190, 459),
    "password-changed": (400, 190, 460),
    "ratelimited": (403, 4, None),
    "server-error": (500, 2, None),
}


class Rig:
    """The sandbox application, a browser, a server-side client, and the control plane."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE)

    async def emu(self, **orders: Any) -> dict[str, Any]:
        answer = await self.http.post("/__emu__", json=orders)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def dialog(self, **params: str) -> httpx2.Response:
        sent = {"client_id": APP.id, "redirect_uri": CALLBACK, "state": "st-1", **params}
        return await self.http.get(f"{V}/dialog/oauth", params={k: v for k, v in sent.items() if v != "-"})

    async def sign_in(self, slug: str, **params: str) -> dict[str, str]:
        """What comes back to the callback for this persona, without a click."""
        await self.emu(persona=slug, auto=True)
        return back(await self.dialog(**params))

    async def exchange(self, code: str, **params: str) -> httpx2.Response:
        sent = {
            "client_id": APP.id,
            "client_secret": SECRET,
            "redirect_uri": CALLBACK,
            "code": code,
            **params,
        }
        return await self.http.post(f"{V}/oauth/access_token", data={k: v for k, v in sent.items() if v != "-"})

    async def token(self, slug: str, **params: str) -> str:
        found = await self.sign_in(slug, **params)
        answer = await self.exchange(found["code"])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def me(self, token: str, fields: str = "id,name,email", **params: str) -> httpx2.Response:
        sent = {"fields": fields, "access_token": token, "appsecret_proof": APP.proof(token), **params}
        return await self.http.get(f"{V}/me", params={k: v for k, v in sent.items() if v != "-"})

    async def debug(self, token: str) -> dict[str, Any]:
        params = {"input_token": token, "access_token": f"{APP.id}|{SECRET}"}
        answer = await self.http.get(f"{V}/debug_token", params=params)
        assert answer.status_code == 200
        return dict(answer.json()["data"])


def back(answer: httpx2.Response) -> dict[str, str]:
    """Parameters of a redirect to the callback."""
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(CALLBACK)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


def pending_of(page: httpx2.Response) -> str:
    found = re.search(r'name="pending" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig(create_app([APP, OTHER]))
    yield made
    await made.http.aclose()


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
async def test_authlib_signs_in_with_pkce(auth: str) -> None:
    # Authlib does not form-encode the secret for Basic (protocols.md §3.2 rule 11): here it is plain.
    rig = Rig(create_app([App(id=APP.id, secret="plain-secret", redirect_uris=(CALLBACK,))]))
    await rig.emu(persona="normal", auto=True)
    async with AsyncOAuth2Client(
        APP.id,
        "plain-secret",
        transport=httpx2.ASGITransport(app=rig.app),
        scope="public_profile email",
        redirect_uri=CALLBACK,
        token_endpoint_auth_method=auth,
        code_challenge_method="S256",
    ) as client:
        verifier = secrets.token_urlsafe(48)
        url, state = client.create_authorization_url(f"{BASE}{V}/dialog/oauth", code_verifier=verifier)
        answer = await rig.http.get(url)
        assert back(answer)["state"] == state
        token = await client.fetch_token(
            f"{BASE}{V}/oauth/access_token",
            # A server never sees the fragment `#_=_`; the browser keeps it.
            authorization_response=answer.headers["location"].partition("#")[0],
            state=state,
            code_verifier=verifier,
        )
        assert token["token_type"] == "bearer" and token["expires_in"] == 5_183_944
        me = (await client.get(f"{BASE}{V}/me", params={"fields": "id,name,email"})).json()
    person = PEOPLE["normal"]
    assert me == {"name": person.name, "email": person.email, "id": person.id_in(APP.id)}
    await rig.http.aclose()


async def test_a_person_chooses_ticks_and_is_remembered(rig: Rig) -> None:
    chooser = await rig.dialog(scope="email,user_birthday", return_scopes="true")
    assert "SANDBOX - not the real Facebook" in chooser.text and "Ana Marković" in chooser.text
    fields = {"pending": pending_of(chooser), "persona": "normal"}
    consent = await rig.http.post("/dialog/choose", data=fields)
    assert 'value="email" checked' in consent.text and 'value="public_profile" checked disabled' in consent.text
    kept = {"pending": pending_of(consent), "permission": "email", "action": "continue"}
    answer = await rig.http.post("/dialog/confirm", data=kept)
    assert answer.headers["location"].endswith("#_=_")
    found = back(answer)
    assert (found["granted_scopes"], found["denied_scopes"]) == ("email,public_profile", "user_birthday")
    assert 200 <= len(found["code"]) <= 400 and re.fullmatch(r"[\w-]+", found["code"])
    # The cookie remembers the person, the grant the answer: no second page, not even for what was declined.
    assert "code" in back(await rig.dialog(scope="email,user_birthday"))
    again = await rig.dialog(scope="email,user_birthday", auth_type="rerequest")
    assert again.status_code == 200 and 'value="user_birthday"' in again.text and 'value="email"' not in again.text
    sure = await rig.dialog(scope="email", auth_type="reauthenticate")
    assert sure.status_code == 200 and "confirm that it is you" in sure.text


async def test_cancel_on_either_page_looks_like_facebooks(rig: Rig) -> None:
    chooser = await rig.dialog()
    first = back(await rig.http.post("/dialog/choose", data={"pending": pending_of(chooser), "persona": ""}))
    consent = await rig.http.post(
        "/dialog/choose", data={"pending": pending_of(await rig.dialog()), "persona": "jonas"}
    )
    second = back(await rig.http.post("/dialog/confirm", data={"pending": pending_of(consent), "action": "cancel"}))
    assert first == second == back_of_cancel()


def back_of_cancel() -> dict[str, str]:
    return {
        "error": "access_denied",
        "error_code": "200",
        "error_description": "Permissions error",
        "error_reason": "user_denied",
        "state": "st-1",
    }


async def test_another_account_can_be_chosen_on_the_permission_page(rig: Rig) -> None:
    chooser = await rig.dialog()
    consent = await rig.http.post("/dialog/choose", data={"pending": pending_of(chooser), "persona": "jonas"})
    again = await rig.http.post("/dialog/confirm", data={"pending": pending_of(consent), "action": "switch"})
    assert again.status_code == 200 and "Amina Diallo" in again.text and "emu_persona" not in rig.http.cookies


async def test_a_stale_or_invented_page_is_refused(rig: Rig) -> None:
    for path in ("/dialog/choose", "/dialog/confirm", "/dialog/share/answer"):
        assert (await rig.http.post(path, data={"pending": "x", "action": "continue"})).status_code == 400


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"client_id": "1"}, "Invalid App ID"),
        ({"redirect_uri": "https://evil.test/"}, "URL Blocked"),
        ({"redirect_uri": CALLBACK + "/"}, "URL Blocked"),
        ({"redirect_uri": "-"}, "URL Blocked"),
        ({"scope": "publish_actions"}, "Invalid Scopes"),
    ],
)
async def test_the_dialog_never_redirects_to_an_address_it_does_not_trust(
    rig: Rig, params: dict[str, str], words: str
) -> None:
    answer = await rig.dialog(**params)
    assert answer.status_code == 400 and words in answer.text and "location" not in answer.headers


async def test_http_is_refused_where_https_is_enforced_except_localhost_in_development() -> None:
    uri = "http://localhost:8000/callback"
    for mode, status in (("live", 400), ("dev", 200)):
        app = App(id="1", secret="s", redirect_uris=(uri,), mode=mode)
        rig = Rig(create_app([app], switches={"enforce_https": True}))
        assert (await rig.dialog(client_id="1", redirect_uri=uri)).status_code == status
        await rig.http.aclose()


async def test_an_unknown_response_type_is_an_error_without_the_oauth_parameters(rig: Rig) -> None:
    found = back(await rig.dialog(response_type="magic"))
    assert found["error_code"] == "100" and "error" not in found and found["state"] == "st-1"


async def test_parameters_follow_an_existing_query_and_state_comes_back_unchanged(rig: Rig) -> None:
    await rig.emu(persona="normal", auto=True)
    state = "a b/c+d&é"
    location = (await rig.dialog(redirect_uri=CALLBACK + "?x=1", state=state)).headers["location"]
    assert location.startswith(CALLBACK + "?x=1&code=") and parse_qs(urlsplit(location).query)["state"] == [state]


async def test_next_persona_serves_one_dialog_only(rig: Rig) -> None:
    await rig.emu(next="cancels")
    assert back(await rig.dialog())["error"] == "access_denied"
    assert (await rig.dialog()).status_code == 200


async def test_declined_email_is_silent_until_asked_again(rig: Rig) -> None:
    first = await rig.sign_in("declines-email", scope="email", return_scopes="true")
    assert first["denied_scopes"] == "email"
    token = str((await rig.exchange(first["code"])).json()["access_token"])
    assert "email" not in (await rig.me(token)).json()
    await rig.emu(rerequest_grants=True)
    second = back(await rig.dialog(scope="email", auth_type="rerequest", return_scopes="true"))
    assert (second["granted_scopes"], second["denied_scopes"]) == ("email,public_profile", "")
    token = str((await rig.exchange(second["code"])).json()["access_token"])
    assert (await rig.me(token)).json()["email"] == "declines-email@people.test"


async def test_email_can_be_granted_and_absent(rig: Rig) -> None:
    found = await rig.sign_in("no-email", scope="email", return_scopes="true")
    assert "email" in found["granted_scopes"].split(",")
    token = str((await rig.exchange(found["code"])).json()["access_token"])
    assert "email" not in (await rig.me(token)).json()


async def test_an_unconfirmed_address_appears_only_in_the_leaking_variants(rig: Rig) -> None:
    token = await rig.token("unverified", scope="email")
    assert "email" not in (await rig.me(token)).json()
    await rig.emu(unverified_leaks=True)
    assert (await rig.me(token)).json()["email"] == "victim@corp.test"
    leaking = await rig.token("unverified-leaks", scope="email")
    assert (await rig.me(leaking)).json()["email"] == "victim@corp.test"


async def test_birthday_and_age_come_only_with_their_permissions(rig: Rig) -> None:
    fields = "birthday,age_range"
    bare = (await rig.me(await rig.token("normal"), fields)).json()
    assert set(bare) == {"id"}
    asked = "user_birthday user_age_range"
    full = (await rig.me(await rig.token("normal", scope=asked), fields)).json()
    assert full["birthday"] == "04/09/1990" and full["age_range"] == {"min": 21}
    minor = (await rig.me(await rig.token("minor", scope=asked), fields)).json()
    assert minor["birthday"] == "05/01" and minor["age_range"] == {"min": 13, "max": 17}


@pytest.mark.parametrize("slug", ["normal", "jonas", "amina", "long-name", "rtl", "emoji", "html", "no-last-name"])
async def test_every_name_comes_back_as_it_is(rig: Rig, slug: str) -> None:
    me = (await rig.me(await rig.token(slug), "name,first_name,last_name")).json()
    person = PEOPLE[slug]
    assert me["name"] == person.name and me.get("last_name", "") == person.last_name
    assert list(me)[-1] == "id" and re.fullmatch(r"[1-9]\d{16}", me["id"])


async def test_markup_in_a_name_is_escaped_on_every_page(rig: Rig) -> None:
    chooser = await rig.dialog()
    consent = await rig.http.post("/dialog/choose", data={"pending": pending_of(chooser), "persona": "html"})
    for page in (chooser, consent, await rig.http.get("/")):
        assert "<script" not in page.text and "&lt;b&gt;Bobby" in page.text
        assert "SANDBOX - not the real Facebook" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_two_people_can_share_an_address_but_never_an_id(rig: Rig) -> None:
    one = (await rig.me(await rig.token("same-email-1", scope="email"))).json()
    two = (await rig.me(await rig.token("same-email-2", scope="email"))).json()
    assert one["email"] == two["email"] and one["id"] != two["id"]
    assert PEOPLE["id-changes-per-app"].id_in(APP.id) != PEOPLE["id-changes-per-app"].id_in(OTHER.id)
    assert len({person.id_in(APP.id) for person in PEOPLE.values()}) == len(PEOPLE)


async def test_pictures_are_real_images_with_temporary_addresses(rig: Rig) -> None:
    fields = "picture.width(200).height(100)"
    found = (await rig.me(await rig.token("normal"), fields)).json()["picture"]["data"]
    assert (found["width"], found["height"], found["is_silhouette"]) == (200, 100, False)
    image = await rig.http.get(found["url"])
    assert image.headers["content-type"] == "image/png" and image.content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(image.content[16:20]) == 200 and int.from_bytes(image.content[20:24]) == 100
    await rig.emu(clock=40 * 86_400)
    assert (await rig.http.get(found["url"])).status_code == 404
    await rig.emu(clock=0, picture_404=True)
    assert (await rig.http.get(found["url"])).status_code == 404


async def test_silhouette_and_dead_picture(rig: Rig) -> None:
    blank = (await rig.me(await rig.token("silhouette"), "picture")).json()["picture"]["data"]
    assert blank["is_silhouette"] is True and (await rig.http.get(blank["url"])).status_code == 200
    dead = (await rig.me(await rig.token("dead-picture"), "picture.type(large)")).json()["picture"]["data"]
    assert dead["width"] == 200 and (await rig.http.get(dead["url"])).status_code == 404


async def test_the_picture_edge_redirects_or_describes(rig: Rig) -> None:
    token = await rig.token("normal")
    params = {"access_token": token, "type": "large"}
    assert (await rig.http.get(f"{V}/me/picture", params=params)).status_code == 302
    described = (await rig.http.get(f"{V}/me/picture", params={**params, "redirect": "false"})).json()
    assert described["data"]["width"] == 200


@pytest.mark.parametrize("slug", sorted(REFUSED))
async def test_graph_faults_carry_facebooks_envelope(rig: Rig, slug: str) -> None:
    status, code, subcode = REFUSED[slug]
    answer = await rig.me(await rig.token(slug))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode")) == (status, code, subcode)
    assert error["fbtrace_id"] and error["type"] == "OAuthException"
    word = "invalid_token" if code == 190 else "invalid_request"
    assert answer.headers["www-authenticate"].startswith(f'OAuth "Facebook Platform" "{word}" "')


@pytest.mark.parametrize("slug", ["expired", "checkpoint", "password-changed"])
async def test_inspection_describes_a_broken_token_with_status_200(rig: Rig, slug: str) -> None:
    data = await rig.debug(await rig.token(slug))
    assert data["is_valid"] is False and data["error"]["code"] == 190 and data["error"]["subcode"] == REFUSED[slug][2]


async def test_an_expired_token_is_known_to_the_client_too(rig: Rig) -> None:
    answer = await rig.exchange((await rig.sign_in("expired"))["code"])
    assert answer.json()["expires_in"] == 1


async def test_server_errors_as_html_and_false(rig: Rig) -> None:
    page = await rig.me(await rig.token("server-error-html"))
    assert page.status_code == 502 and page.headers["content-type"].startswith("text/html")
    assert (await rig.me(await rig.token("server-error-false"))).json() is False


async def test_a_fault_heals_after_the_asked_number_of_times(rig: Rig) -> None:
    token = await rig.token("server-error")
    await rig.emu(fault_times=1)
    assert [(await rig.me(token)).status_code for _ in range(2)] == [500, 200]


async def test_slow_answers_late(rig: Rig) -> None:
    token = await rig.token("slow")
    await rig.emu(slow_seconds=0.2)
    started = time.monotonic()
    assert (await rig.me(token)).status_code == 200 and time.monotonic() - started >= 0.2


async def test_bare_error_has_no_oauth_error(rig: Rig) -> None:
    found = await rig.sign_in("bare-error")
    assert "error" not in found and found["error_code"] == "1349048" and found["error_message"]


@pytest.mark.parametrize("slug", ["cancels", "dev-mode-business"])
async def test_cancel_shaped_personas(rig: Rig, slug: str) -> None:
    assert await rig.sign_in(slug) == back_of_cancel()


async def test_an_app_in_development_lets_in_only_people_with_a_role(rig: Rig) -> None:
    """Everybody else never comes back; where it is for business, they come back as if they had pressed Cancel."""
    await rig.emu(app_settings={APP.id: {"mode": "dev", "roles": ["jonas"]}}, persona="normal", auto=True)
    stays = await rig.dialog()
    assert (stays.status_code, "location" in stays.headers) == (400, False)
    assert "App not active" in stays.text
    assert "code" in await rig.sign_in("jonas")
    await rig.emu(app_settings={APP.id: {"is_for_business": True}})
    assert await rig.sign_in("normal") == back_of_cancel()
    assert "code" in await rig.sign_in("jonas")


async def test_who_has_no_role_in_an_app_that_is_not_live_stays_there(rig: Rig) -> None:
    await rig.emu(persona="dev-mode", auto=True)
    stays = await rig.dialog()
    assert (stays.status_code, "App not active" in stays.text) == (400, True)


async def test_state_and_code_attacks(rig: Rig) -> None:
    assert (await rig.sign_in("wrong-state"))["state"] == "xst-1"
    assert "state" not in await rig.sign_in("missing-state")
    for slug, subcode in (("replayed-code", 36009), ("swapped-code", 36008)):
        answer = await rig.exchange((await rig.sign_in(slug))["code"])
        assert answer.status_code == 400 and answer.json()["error"]["error_subcode"] == subcode


async def test_inspection_gives_a_foreign_apps_token_away(rig: Rig) -> None:
    foreign = await rig.token("foreign-app-token")
    assert (await rig.me(foreign)).status_code == 200
    data = await rig.debug(foreign)
    assert data["is_valid"] is True and data["app_id"] != APP.id and isinstance(data["app_id"], str)
    other = await rig.token("other-user-token")
    assert (await rig.debug(other))["user_id"] != (await rig.me(other)).json()["id"]


async def test_inspection_of_a_good_token(rig: Rig) -> None:
    token = await rig.token("normal", scope="email", auth_type="rerequest")
    data = await rig.debug(token)
    assert data["app_id"] == APP.id and data["is_valid"] and data["type"] == "USER"
    assert data["user_id"] == PEOPLE["normal"].id_in(APP.id) and data["scopes"] == ["email", "public_profile"]
    assert data["metadata"] == {"auth_type": "rerequest"}
    refused = await rig.http.get(f"{V}/debug_token", params={"input_token": token, "access_token": token})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("change", "code", "subcode"),
    [
        ({"client_id": "-"}, 101, None),
        ({"client_id": "9"}, 101, None),
        ({"client_secret": "-"}, 1, None),
        ({"client_secret": "wrong"}, 1, None),
        ({"redirect_uri": "-"}, 191, None),
        ({"code": "nonsense"}, 100, None),
        ({"redirect_uri": CALLBACK + "?x=1"}, 100, 36008),
        ({"grant_type": "password"}, 100, None),
    ],
)
async def test_token_endpoint_refusals(rig: Rig, change: dict[str, str], code: int, subcode: int | None) -> None:
    found = (await rig.sign_in("normal"))["code"]
    answer = await rig.exchange(**{"code": found, **change})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("error_subcode")) == (400, code, subcode)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_code_works_once_for_ten_minutes_in_its_own_app(rig: Rig) -> None:
    code = (await rig.sign_in("normal"))["code"]
    elsewhere = await rig.exchange(code, client_id=OTHER.id, client_secret=OTHER.secret)
    assert elsewhere.json()["error"]["code"] == 100
    token = (await rig.exchange(code)).json()["access_token"]
    assert (await rig.exchange(code)).json()["error"]["error_subcode"] == 36009
    assert (await rig.me(token)).json()["error"]["error_subcode"] == 467
    old = (await rig.sign_in("normal"))["code"]
    await rig.emu(clock=601)
    assert (await rig.exchange(old)).json()["error"]["error_subcode"] == 36007


async def test_a_code_can_be_exchanged_by_get_as_well(rig: Rig) -> None:
    code = (await rig.sign_in("normal"))["code"]
    params = {"client_id": APP.id, "client_secret": SECRET, "redirect_uri": CALLBACK, "code": code}
    answer = await rig.http.get("/oauth/access_token", params=params)
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}


async def test_a_challenge_asks_for_its_verifier_unless_switched_off(rig: Rig) -> None:
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    sent = {
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    code = (await rig.sign_in("normal", **sent))["code"]
    assert (await rig.exchange(code)).status_code == 400
    assert (await rig.exchange(code, code_verifier="x" * 43)).status_code == 400
    assert (await rig.exchange(code, code_verifier=verifier, client_secret="-")).status_code == 200
    code = (await rig.sign_in("normal", **sent))["code"]
    await rig.emu(pkce_strict=False)
    assert (await rig.exchange(code)).status_code == 200


async def test_basic_can_be_switched_off(rig: Rig) -> None:
    code = (await rig.sign_in("normal"))["code"]
    await rig.emu(basic_auth=False)
    async with AsyncOAuth2Client(APP.id, SECRET, transport=httpx2.ASGITransport(app=rig.app)) as client:
        with pytest.raises(OAuthError):
            await client.fetch_token(f"{BASE}/oauth/access_token", code=code, redirect_uri=CALLBACK)


async def test_legacy_answers_are_form_text(rig: Rig) -> None:
    await rig.emu(legacy_text=True)
    answer = await rig.exchange((await rig.sign_in("normal"))["code"])
    assert answer.headers["content-type"].startswith("text/plain")
    assert set(dict(parse_qsl(answer.text))) == {"access_token", "expires"}


async def test_long_lived_exchange_refuses_expired_tokens(rig: Rig) -> None:
    async def exchange(token: str) -> httpx2.Response:
        return await rig.exchange("-", grant_type="fb_exchange_token", fb_exchange_token=token, redirect_uri="-")

    assert (await exchange(await rig.token("normal"))).json()["expires_in"] == 5_183_944
    assert (await exchange(await rig.token("expired"))).json()["error"]["error_subcode"] == 463


async def test_an_app_token_reads_permissions_but_not_me(rig: Rig) -> None:
    await rig.token("normal", scope="email")
    answer = await rig.exchange("-", grant_type="client_credentials", redirect_uri="-")
    token = answer.json()["access_token"]
    assert (await rig.http.get(f"{V}/me", params={"access_token": token})).json()["error"]["code"] == 2500
    person = PEOPLE["normal"].id_in(APP.id)
    rows = (await rig.http.get(f"{V}/{person}/permissions", params={"access_token": token})).json()["data"]
    assert {"permission": "email", "status": "granted"} in rows


async def test_proof_is_checked_when_sent_and_asked_for_when_required(rig: Rig) -> None:
    token = await rig.token("normal")
    mac = hmac.new(SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()
    assert (await rig.me(token, appsecret_proof=mac)).status_code == 200
    assert (await rig.me(token, appsecret_proof="-")).status_code == 200
    wrong = await rig.me(token, appsecret_proof=mac.upper())
    assert wrong.json()["error"]["type"] == "GraphMethodException" and wrong.json()["error"]["code"] == 100
    await rig.emu(require_proof=True)
    missing = await rig.me(token, appsecret_proof="-")
    assert "requires an appsecret_proof" in missing.json()["error"]["message"].replace("require an", "requires an")


@pytest.mark.parametrize("scheme", ["Bearer", "OAuth"])
async def test_a_token_may_travel_in_the_header(rig: Rig, scheme: str) -> None:
    token = await rig.token("normal")
    answer = await rig.http.get("/me", headers={"authorization": f"{scheme} {token}"})
    assert set(answer.json()) == {"id", "name"}


async def test_graph_token_errors(rig: Rig) -> None:
    assert (await rig.http.get(f"{V}/me")).json()["error"]["code"] == 2500
    assert (await rig.me("EAAnonsense")).json()["error"]["code"] == 190


async def test_fields_unknown_dead_and_headers(rig: Rig) -> None:
    token = await rig.token("normal")
    unknown = await rig.me(token, "nonsense")
    assert "(#100) Tried accessing nonexisting field (nonsense)" in unknown.json()["error"]["message"]
    dead = await rig.me(token, "verified,locale,name")
    assert set(dead.json()) == {"name", "id"}
    assert dead.headers["facebook-api-version"] == "v26.0" and "call_count" in dead.headers["x-app-usage"]
    assert dead.headers["x-fb-trace-id"] and dead.headers["content-type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize(("version", "status"), [("v26.0", 200), ("v3.2", 200), ("v27.0", 400), ("v99.9", 400)])
async def test_versions_up_to_the_latest_are_served(rig: Rig, version: str, status: int) -> None:
    token = await rig.token("normal")
    answer = await rig.http.get(f"/{version}/me", params={"access_token": token})
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["code"] == 2500


async def test_a_call_limit_answers_code_4(rig: Rig) -> None:
    token = await rig.token("normal")
    await rig.emu(call_limit=1, throttle_status=400)
    answers = [await rig.me(token) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 400] and answers[1].json()["error"]["code"] == 4
    assert json.loads(answers[1].headers["x-app-usage"])["call_count"] == 100


async def test_permissions_can_be_taken_back_one_by_one_or_all(rig: Rig) -> None:
    token = await rig.token("normal", scope="email")
    auth = {"access_token": token}
    answer = await rig.http.request("DELETE", f"{V}/me/permissions/email", params=auth)
    assert answer.json() == {"success": True}
    rows = (await rig.http.get(f"{V}/me/permissions", params=auth)).json()["data"]
    assert {"permission": "email", "status": "declined"} in rows
    await rig.emu(delete_answers_true=True)
    answer = await rig.http.post(f"{V}/me/permissions", data={**auth, "method": "delete"})
    assert answer.json() is True
    assert (await rig.me(token)).json()["error"]["error_subcode"] == 458


async def test_posting_to_a_profile_is_gone(rig: Rig) -> None:
    answer = await rig.http.post(f"{V}/me/feed", data={"message": "x", "access_token": await rig.token("normal")})
    assert answer.status_code == 403 and answer.json()["error"]["code"] == 200


async def test_the_share_window_says_nothing_about_success(rig: Rig) -> None:
    params = {"app_id": APP.id, "href": "https://forum.test/t/1", "redirect_uri": "https://login.test/shared"}
    for path in ("/dialog/share", f"{V}/dialog/feed"):
        for action, query in (
            ("share", ""),
            ("cancel", "error_code=4201&error_message=User+canceled+the+Dialog+flow"),
        ):
            page = await rig.http.get(path, params={**params, "link": params["href"]})
            assert page.status_code == 200 and "SANDBOX" in page.text
            form = {"pending": pending_of(page), "action": action}
            answer = await rig.http.post("/dialog/share/answer", data=form)
            assert urlsplit(answer.headers["location"]).query == query
    evil = await rig.http.get("/dialog/share", params={**params, "redirect_uri": "https://evil.test/"})
    assert evil.status_code == 400
    script = await rig.http.get("/dialog/share", params={**params, "href": "javascript:alert(1)"})
    assert script.status_code == 400


async def _id_token(rig: Rig, slug: str, **params: str) -> str:
    found = await rig.sign_in(slug, scope="openid email", nonce="n-1", **params)
    return str((await rig.exchange(found["code"])).json()["id_token"])


@pytest.mark.parametrize(
    ("params", "is_offered"),
    [({"scope": "email"}, False), ({"scope": "openid,email"}, True), ({"response_type": "id_token"}, True)],
)
async def test_people_with_bad_id_tokens_are_offered_where_one_is_asked_for(
    rig: Rig, params: dict[str, str], is_offered: bool
) -> None:
    """Without one nothing goes wrong for them, and their notes would promise what does not happen."""
    chooser = await rig.dialog(**params)
    assert ("ID token" in chooser.text) is is_offered
    assert ('value="oidc-bad-aud"' in chooser.text) is is_offered
    assert 'value="foreign-app-token"' in chooser.text


async def test_openid_scope_adds_a_verifiable_id_token(rig: Rig) -> None:
    text = await _id_token(rig, "normal")
    config = (await rig.http.get("/.well-known/openid-configuration/")).json()
    assert "token_endpoint" not in config and config["issuer"] == BASE
    keys = KeySet.import_key_set((await rig.http.get(config["jwks_uri"])).json())
    claims = jwt.decode(text, keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (BASE, APP.id, "n-1")
    assert claims["sub"] == PEOPLE["normal"].id_in(APP.id) and "email_verified" not in claims
    certs = (await rig.http.get("/.well-known/oauth/openid/certs")).json()
    pems = (await rig.http.get("/.well-known/oauth/openid/keys/")).json()
    assert list(certs) == list(pems) and "BEGIN CERTIFICATE" in next(iter(certs.values()))
    gone = await rig.http.post("/platform/uninstall/", data={"id_token": text, "app_id": APP.id})
    assert gone.json() == {"success": True}
    assert (await rig.http.post("/platform/uninstall/", data={"id_token": "x", "app_id": APP.id})).status_code == 400


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body = (json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in text.split(".")[:2])
    return head, body


async def test_id_token_personas_are_wrong_in_one_thing(rig: Rig) -> None:
    published = {k["kid"] for k in (await rig.http.get("/.well-known/oauth/openid/jwks")).json()["keys"]}
    good_head, _ = _parts(await _id_token(rig, "normal"))
    assert good_head["kid"] in published
    assert _parts(await _id_token(rig, "oidc-bad-aud"))[1]["aud"] != APP.id
    assert _parts(await _id_token(rig, "oidc-bad-iss"))[1]["iss"] != BASE
    assert "nonce" not in _parts(await _id_token(rig, "oidc-no-nonce"))[1]
    assert _parts(await _id_token(rig, "oidc-stale-key"))[0]["kid"] not in published
    unsigned = await _id_token(rig, "oidc-alg-none")
    assert _parts(unsigned)[0]["alg"] == "none" and unsigned.endswith(".")
    await rig.emu(rotate_keys=True)
    assert _parts(await _id_token(rig, "normal"))[0]["kid"] not in published


async def test_tokens_may_come_in_the_fragment(rig: Rig) -> None:
    await rig.emu(persona="normal", auto=True)
    answer = await rig.dialog(response_type="id_token token", scope="openid", nonce="n")
    fragment = dict(parse_qsl(urlsplit(answer.headers["location"]).fragment))
    assert set(fragment) == {"access_token", "expires_in", "id_token", "state"}
    assert urlsplit(answer.headers["location"]).query == ""


def _signed(text: str) -> bool:
    """A strict receiver's verdict (protocols.md §1.10)."""
    signature, dot, payload = text.partition(".")
    if not dot or "=" in text:
        return False
    mac = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).digest()
    if base64.urlsafe_b64encode(mac).rstrip(b"=").decode() != signature:
        return False
    body = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return bool(body["algorithm"] == "HMAC-SHA256" and time.time() - body["issued_at"] < 86_400)


async def test_signed_requests_verify_and_every_tampering_does_not(rig: Rig) -> None:
    good = (await rig.emu(signed_request="removes-app"))["signed_request"]
    assert _signed(good)
    for tamper in TAMPERINGS:
        assert not _signed((await rig.emu(signed_request="removes-app", tamper=tamper))["signed_request"]), tamper


async def test_removing_the_app_tells_it_and_kills_the_token() -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from tests.support.sandbox import served

    heard: list[tuple[str, str]] = []

    async def callback(request: Request) -> JSONResponse:
        heard.append((request.url.path, dict(parse_qsl((await request.body()).decode()))["signed_request"]))
        code = "abc123" if len(heard) < 3 else "not alnum!"
        return JSONResponse({"url": "http://localhost/deletion?id=abc123", "confirmation_code": code})

    receiver = Starlette(routes=[Route("/{what}", callback, methods=["POST"])])
    async with served(receiver) as base:
        rig = Rig(
            create_app(
                [
                    App(
                        id=APP.id,
                        secret=SECRET,
                        redirect_uris=(CALLBACK,),
                        deauthorize_url=f"{base}/gone",
                        deletion_url=f"{base}/delete",
                    )
                ]
            )
        )
        token = await rig.token("removes-app")
        answer = (await rig.emu(**{"deauthorize:removes-app": True}))["deauthorize"]
        assert answer["status"] == 200 and heard[0][0] == "/gone" and _signed(heard[0][1])
        assert (await rig.me(token)).json()["error"]["error_subcode"] == 458
        answer = (await rig.emu(delete="removes-app"))["delete"]
        assert answer["valid"] is True and answer["problems"] == []
        answer = (await rig.emu(delete="removes-app"))["delete"]
        assert answer["valid"] is False
        await rig.http.aclose()


async def test_callbacks_never_leave_this_machine(rig: Rig) -> None:
    await rig.emu(app_settings={APP.id: {"deauthorize_url": "http://192.0.2.1/x"}})
    answer = await rig.http.post("/__emu__", json={"deauthorize": "removes-app"})
    assert answer.status_code == 400 and "this machine" in answer.json()["error"]


async def test_the_log_shows_facts_and_no_secrets(rig: Rig) -> None:
    token = await rig.token("normal", scope="email")
    await rig.me(token)
    await rig.me(token, appsecret_proof="0" * 64)
    await rig.me(token, appsecret_proof="-")
    await rig.debug(token)
    answer = await rig.http.get("/__emu__/log")
    entries = answer.json()["entries"]
    assert not any(secret in answer.text for secret in (SECRET, token, "AQ"))
    dialog = next(e for e in entries if e["path"].endswith("/dialog/oauth"))
    assert dialog["query"]["scope"] == "email" and dialog["query"]["state"] == "***"
    exchanges = [e for e in entries if e["path"].endswith("/oauth/access_token")]
    assert len(exchanges) == 1 and exchanges[0]["auth"] == "form" and exchanges[0]["code_ref"]
    assert exchanges[0]["form"]["client_secret"] == "***" and exchanges[0]["verifier"] is False
    proofs = [e["proof"] for e in entries if e["path"] == f"{V}/me"]
    assert proofs == ["valid", "invalid", "missing"]
    inspected = next(e for e in entries if e["path"].endswith("debug_token"))
    assert inspected["input_token_ref"] == next(e for e in entries if e["path"] == f"{V}/me")["token_ref"]
    last = entries[-1]["n"]
    assert (await rig.http.get(f"/__emu__/log?since={last}")).json() == {"entries": []}
    await rig.http.request("DELETE", "/__emu__/log")
    assert (await rig.http.get("/__emu__/log")).json() == {"entries": []}


async def test_the_control_plane_answers_this_machine_only(rig: Rig) -> None:
    away = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=rig.app, client=("203.0.113.9", 4)), base_url=BASE)
    for path in ("/__emu__", "/__emu__/log"):
        assert (await away.get(path)).status_code == 403
        assert (await rig.http.get(path, headers={"x-forwarded-for": "127.0.0.1"})).status_code == 403
        assert (await rig.http.get(path, headers={"sec-fetch-site": "cross-site"})).status_code == 403
    await away.aclose()


@pytest.mark.parametrize(
    "orders", [{"nonsense": 1}, {"persona": "nobody"}, {"auto": 1}, {"tamper": "x"}, {"legacy_text": "yes"}]
)
async def test_control_orders_that_are_not_understood_are_named(rig: Rig, orders: dict[str, Any]) -> None:
    answer = await rig.http.post("/__emu__", json=orders)
    assert answer.status_code == 400 and answer.json()["error"]


async def test_reset_forgets_everything(rig: Rig) -> None:
    token = await rig.token("normal")
    await rig.emu(reset=True)
    assert (await rig.me(token)).json()["error"]["code"] == 190
    shown = (await rig.http.get("/__emu__")).json()
    assert shown["grants"] == {} and shown["persona"] is None and shown["switches"]["auto"] is False


async def test_grants_are_kept_between_runs(tmp_path: Any) -> None:
    data = tmp_path / "grants" / "facebook.json"
    first = Rig(create_app([APP], data=data))
    await first.token("normal", scope="email")
    await first.http.aclose()
    second = Rig(create_app([APP], data=data))
    await second.emu(persona="normal")
    assert "code" in back(await second.dialog(scope="email"))  # no page although `auto` is off
    await second.http.aclose()

"""An app that runs in a browser alone, at an origin of its own: `oauth4webapi` signs somebody in with code, PKCE and DPoP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from tests.browser.town import Town, open_town, serve_stranger
from tests.support.chromium import Chromium
from tests.support.source import ROOT
from tests.support.tls import Authority

pytestmark = pytest.mark.browser

LIBRARY = ROOT / "tests/node/node_modules/oauth4webapi/build/index.js"
PAGE = """<!doctype html><html lang="en"><title>Map</title><h1>Map</h1><button id="begin">Begin</button><pre id="said"></pre>
<script type="module">
import * as oauth from "/oauth4webapi.js";
const issuer = new URL("LOGIN"), client = { client_id: "map" }, home = location.origin + "/";
const store = (name, value) => sessionStorage.setItem(name, value), kept = (name) => sessionStorage.getItem(name);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer));
document.getElementById("begin").onclick = async () => {
  const keys = await oauth.generateKeyPair("ES256", { extractable: true });
  for (const half of ["publicKey", "privateKey"]) store(half, JSON.stringify(await crypto.subtle.exportKey("jwk", keys[half])));
  store("verifier", oauth.generateRandomCodeVerifier());
  store("nonce", oauth.generateRandomNonce());
  const url = new URL(server.authorization_endpoint);
  for (const [name, value] of Object.entries({
    client_id: "map", redirect_uri: home, response_type: "code", scope: "openid profile", nonce: kept("nonce"),
    code_challenge: await oauth.calculatePKCECodeChallenge(kept("verifier")), code_challenge_method: "S256",
  })) url.searchParams.set(name, value);
  location.assign(url);
};
const imported = (half, use) => crypto.subtle.importKey(
  "jwk", JSON.parse(kept(half)), { name: "ECDSA", namedCurve: "P-256" }, true, [use]);
if (new URL(location.href).searchParams.has("code")) {
  const params = oauth.validateAuthResponse(server, client, new URL(location.href), oauth.expectNoState);
  const keys = { publicKey: await imported("publicKey", "verify"), privateKey: await imported("privateKey", "sign") };
  const DPoP = oauth.DPoP(client, keys);
  let asked = 0;
  const again = async (ask) => {
    asked += 1;
    try { return await ask(); } catch (error) { if (oauth.isDPoPNonceError(error)) return again(ask); throw error; }
  };
  const tokens = await again(async () => oauth.processAuthorizationCodeResponse(server, client,
    await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), params, home, kept("verifier"), { DPoP }),
    { expectedNonce: kept("nonce"), requireIdToken: true }));
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);
  const read = async () => oauth.processUserInfoResponse(server, client, sub,
    await oauth.userInfoRequest(server, client, tokens.access_token, { DPoP }));
  const userinfo = await again(read);
  const bare = await oauth.userInfoRequest(server, client, tokens.access_token);
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, oauth.None(), tokens.access_token));
  const after = await read().then(() => "still good", (error) => error.cause?.[0]?.parameters?.error ?? String(error));
  document.getElementById("said").textContent = JSON.stringify({
    asked, type: tokens.token_type, name: userinfo.preferred_username, after, challenge: bare.headers.get("www-authenticate"),
  });
}
</script></html>"""
ASK = """([url, method, credentials]) => fetch(url, { method, credentials, headers: { Authorization: "Bearer x" } })
  .then((answer) => answer.status, (error) => error.name)"""


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority, stranger: str
) -> Iterator[Town]:
    """The town, with the app as one more site that holds no secret."""
    more = f"""
[sites.map]
name = "Map"
url = "{stranger}/"
redirect_uris = ["{stranger}/"]
auth_method = "none"
dpop = "nonce"

[sites.map.asks.preferred_username]
use = "needed"
why = "Your places carry it."
"""
    with open_town(tmp_path_factory.mktemp("town"), chromium, authority, more=more) as opened:

        async def page(_request: Request) -> Response:
            return HTMLResponse(PAGE.replace("LOGIN", opened.login))

        async def library(_request: Request) -> Response:
            return FileResponse(LIBRARY, media_type="text/javascript")

        served = Starlette(routes=[Route("/oauth4webapi.js", library), Route("/{path:path}", page)])
        with serve_stranger(served, chromium, authority):
            yield opened


def fetched(page: Page, url: str, method: str = "GET", credentials: str = "omit") -> object:
    """What a page's script sees: a status, or that it may not look."""
    return page.evaluate(ASK, [url, method, credentials])


def test_an_app_in_a_browser_signs_somebody_in_by_itself(town: Town, stranger: str) -> None:
    """Code, PKCE and DPoP with our nonces, from another origin and without cookies; what went wrong is told, too (catalogue 145)."""
    town.reset_providers()
    with town.visitor() as visitor:
        visitor.open(stranger)
        visitor.press("Begin")
        visitor.be("normal")
        visitor.sign_up("mapper")
        visitor.meet("Share these with Map?")
        visitor.press("Share and continue")
        visitor.page.wait_for_url(re.compile(re.escape(stranger)))
        expect(visitor.page.locator("#said")).to_contain_text("mapper")
        said = json.loads(visitor.page.locator("#said").inner_text())
        assert (said["type"], said["name"], said["after"]) == ("dpop", "mapper", "invalid_token")
        assert said["asked"] == 3  # once without a nonce, then for the code and for userinfo with ours
        assert said["challenge"].startswith("DPoP ")
        at_userinfo = f"{town.login}/userinfo"
        assert fetched(visitor.page, at_userinfo) == 401
        assert fetched(visitor.page, at_userinfo, credentials="include") == "TypeError"
        assert fetched(visitor.page, f"{town.login}/introspect", "POST") == "TypeError"
        with_cookies, closed = visitor.person.record.errors
        assert "'Access-Control-Allow-Credentials' header in the response is ''" in with_cookies
        assert "No 'Access-Control-Allow-Origin' header" in closed
        visitor.person.record.errors.clear()

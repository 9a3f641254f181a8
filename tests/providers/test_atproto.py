"""Sign in by the AT Protocol: who a handle is, whom a server may name, and what every request proves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.providers.rig import NOW, Answer, Asked, OneApp, StandingClock, attempt, json_answer

from broker.domain.provider import Attempt, Found, Identified, Us
from broker.egress import Egress
from broker.errors import FormInvalid, UpstreamInvalid, UpstreamRejected, UpstreamUnavailable
from providers._did import is_did, is_handle
from providers._dpop import ProofKey
from providers.atproto import DIRECTORY, PROVIDER, ATProto
from providers.preset import Preset

DID, BOB = "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:plc:44ybard66vv44zksje25o7dz"
PDS, SERVER, EVIL = "https://pds.test", "https://sign-in.test", "https://evil.test"
HANDLE = "ana.people.test"
WELL_KNOWN = f"https://{HANDLE}/.well-known/atproto-did"
RESOLVER = f"{SERVER}/xrpc/com.atproto.identity.resolveHandle?handle={HANDLE}"
RESOURCE, METADATA = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"
RECORD = f"{PDS}/xrpc/com.atproto.repo.getRecord?repo=did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz&collection=app.bsky.actor.profile&rkey=self"
CLIENT = "https://login.example/client-metadata/example"
Line = Any


def document(did: str = DID, handle: str = HANDLE, pds: str = PDS, **changes: Any) -> Answer:
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}
    return json_answer({"id": did, "alsoKnownAs": [f"at://{handle}"], "service": [service], **changes})


def metadata(**changes: Any) -> Answer:
    told = {
        "issuer": SERVER, "authorization_endpoint": f"{SERVER}/oauth/authorize", "token_endpoint": f"{SERVER}/oauth/token",
        "pushed_authorization_request_endpoint": f"{SERVER}/oauth/par", "revocation_endpoint": f"{SERVER}/oauth/revoke",
        "scopes_supported": ["atproto", "transition:generic"], "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": ["ES256"], "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "client_id_metadata_document_supported": True, "authorization_response_iss_parameter_supported": True,
        "require_pushed_authorization_requests": True,
    }  # fmt: skip
    return json_answer({name: value for name, value in {**told, **changes}.items() if value is not None})


def resource(**changes: Any) -> Answer:
    return json_answer({"resource": PDS, "authorization_servers": [SERVER], **changes})


def token(**changes: Any) -> Answer:
    told = {
        "access_token": "at",
        "refresh_token": "rt",
        "token_type": "DPoP",
        "scope": "atproto",
        "sub": DID,
        **changes,
    }
    return json_answer({name: value for name, value in told.items() if value is not None})


class Net:
    """Whole addresses and what they answer; what is not among them is an outage."""

    def __init__(self, **changes: Line) -> None:
        avatar = {"$type": "blob", "ref": {"$link": "bafkreia"}, "mimeType": "image/jpeg", "size": 1}
        self.lines: dict[str, Line] = {
            WELL_KNOWN: Answer(200, {"content-type": "text/plain"}, f"{DID}\n".encode()), f"{DIRECTORY}/{DID}": document(),
            PDS + RESOURCE: resource(), SERVER + METADATA: metadata(), f"{SERVER}/oauth/token": token(),
            f"{SERVER}/oauth/par": json_answer({"request_uri": "urn:ietf:params:oauth:request_uri:req-1", "expires_in": 300}, 201),
            f"{SERVER}/oauth/revoke": Answer(200), RECORD: json_answer({"value": {"displayName": "Ana", "avatar": avatar}}),
        }  # fmt: skip
        self.asked: list[Asked] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Any:
        asked = Asked(method, url, dict(headers or {}), body or b"")
        self.asked.append(asked)
        line = self.lines.get(url, UpstreamUnavailable(f"connect {urlsplit(url).hostname}"))
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, Answer) else line(asked)

    def of(self, url: str) -> list[Asked]:
        return [one for one in self.asked if one.url == url]


def net(**_: Any) -> Net:
    return Net()


def with_lines(lines: Mapping[str, Line]) -> Net:
    made = Net()
    made.lines.update(lines)
    return made


def server(http: Any, **changes: Any) -> ATProto:
    fields = ["name", "preferred_username", "picture", "profile"]
    table: dict[str, object] = {"kind": "atproto", "discovery": "any", "issuer": SERVER, "fields": fields, **changes}
    table = {name: value for name, value in table.items() if value is not None}
    provider = PROVIDER(Preset.from_table("example", table), http, StandingClock())
    provider.introduce(Us(name="Club", issuer="https://login.example", kept=OneApp()))
    return provider


async def refused(http: Any, typed: str, **changes: Any) -> tuple[str, str]:
    with pytest.raises(FormInvalid) as found:
        await server(http, **changes).find(typed)
    return found.value.fields["identifier"], found.value.detail


async def leave(http: Net, typed: str = HANDLE, **changes: Any) -> Attempt:
    return attempt(found=await server(http).find(typed), scopes=("atproto",), **changes)


async def come_back(http: Net, left: Attempt, **callback: str) -> Identified:
    return await server(http).identify(left, {"code": "c", "state": left.state, "iss": SERVER, **callback})


def read_proof(asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of the proof, whose signature is good under the key it names."""
    head, body, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in asked.headers["DPoP"].split(".")
    )
    header, claims = json.loads(head), json.loads(body)
    x, y = (int.from_bytes(base64.urlsafe_b64decode(header["jwk"][name] + "="), "big") for name in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    signed = asked.headers["DPoP"].rpartition(".")[0].encode()
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return header, claims


# --- who a handle is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [HANDLE, f"@{HANDLE}", f" At://{HANDLE}/".replace("At", "at"), HANDLE.upper(), DID])
async def test_a_handle_leads_to_the_server_that_signs_its_person_in(typed: str) -> None:
    http = net()
    found = await server(http).find(typed)
    assert (found.server, found.claimed_id, found.endpoint) == (SERVER, DID, f"{SERVER}/oauth/authorize")
    asked = [one.url for one in http.asked]
    assert asked[-3:] == [f"{DIRECTORY}/{DID}", PDS + RESOURCE, SERVER + METADATA]
    assert asked[:-3] == ([] if typed == DID else [WELL_KNOWN])
    assert "people" not in repr(attempt(found=found))


async def test_with_nothing_typed_the_server_of_the_settings_is_meant() -> None:
    http = net()
    found = await server(http).find(" ")
    assert (found.server, found.claimed_id, found.local_id) == (SERVER, None, None)
    assert (await refused(http, "", issuer=None))[0] == "handle_missing"


@pytest.mark.parametrize(
    "typed",
    [
        "ana", "ana@people.test", "https://people.test/ana", "http://people.test", "ana people.test", "did:plc:short", "did:key:z6Mk", "ana.local",
        "ana.onion", "did:web:intranet", "did:web:a.test%3A8080", "did:web:a.test:u", "127.0.0.1", "-a.test", "a..test", "x" * 64 + ".test",
        "did:plc:" + "A" * 24, "ü" * 70 + ".test", "a." * 127 + "test",
    ],
)  # fmt: skip
async def test_what_is_no_handle_is_said_to_be_none_and_asks_nobody(typed: str) -> None:
    """catalogue 67"""
    http = net()
    assert (await refused(http, typed))[0] == "handle_bad"
    assert http.asked == []


async def test_a_name_in_another_script_is_read_in_its_plain_form() -> None:
    assert is_handle("xn--mnchen-3ya.test")
    assert (await refused(net(), "münchen.test"))[0] == "handle_silent"


async def test_who_says_so_in_the_dns_is_known_to_the_resolver() -> None:
    """Its own word counts first; whoever answers no such request is asked about elsewhere."""
    for own in (Answer(404), Answer(200, {}, b"<html>"), UpstreamUnavailable("dns ana"), Answer(301)):
        http = with_lines({WELL_KNOWN: own, RESOLVER: json_answer({"did": DID})})
        assert (await server(http).find(HANDLE)).claimed_id == DID
        assert (await refused(http, HANDLE, issuer=None))[0] == "handle_none", "nobody to ask"
    http = with_lines({WELL_KNOWN: Answer(404), RESOLVER: json_answer({"error": "InvalidRequest"}, 400)})
    assert await refused(http, HANDLE) == ("handle_none", "handle unknown")
    http.lines[RESOLVER] = json_answer({"did": "did:key:x"})
    assert await refused(http, HANDLE) == ("handle_none", "handle did")
    there = "https://names.test/resolve"
    http.lines[f"{there}?handle={HANDLE}"] = json_answer({"did": DID})
    assert (await server(http, endpoints={"resolver": there}).find(HANDLE)).claimed_id == DID


async def test_a_handle_that_its_person_does_not_bear_is_refused() -> None:
    """atproto.com/specs/handle: anybody can point a name of theirs at somebody else's DID (catalogue 59)."""
    for handle in ("bob.people.test", "nonsense", "x.onion"):
        http = with_lines({f"{DIRECTORY}/{DID}": document(handle=handle)})
        assert await refused(http, HANDLE) == ("handle_none", "handle not theirs")
    http = with_lines({f"{DIRECTORY}/{DID}": document(alsoKnownAs=["at://bob.test", f"at://{HANDLE}"])})
    assert await refused(http, HANDLE) == ("handle_none", "handle not theirs")
    http = with_lines({f"{DIRECTORY}/{DID}": document(alsoKnownAs=["https://x.test", 7, f"at://{HANDLE}"])})
    assert (await server(http).find(HANDLE)).claimed_id == DID


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (document(did=BOB), "did_id"), (document(pds="http://pds.test"), "did_pds"), (document(pds="https://pds.test/x"), "did_pds"),
        (document(pds="https://ana@pds.test"), "did_pds"), (document(service=[]), "did_pds"), (document(service="x"), "did_pds"),
        (document(service=[7, {"id": "#other", "type": "AtprotoPersonalDataServer", "serviceEndpoint": PDS}]), "did_pds"),
        (document(service=[{"id": "#atproto_pds", "type": "Other", "serviceEndpoint": PDS}]), "did_pds"),
        (document(service=[{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": [PDS]}]), "did_pds"),
        (Answer(404), "did gone"), (Answer(410), "did gone"), (Answer(200, {"content-type": "application/json"}, b" " * 300_000), "did large"),
    ],
)  # fmt: skip
async def test_a_document_is_about_its_own_did_and_names_one_place(answer: Answer, detail: str) -> None:
    assert await refused(with_lines({f"{DIRECTORY}/{DID}": answer}), DID) == ("handle_none", detail)


async def test_a_did_of_a_web_host_is_asked_there_and_another_directory_may_be_named() -> None:
    web = "did:web:ana.homes.test"
    service = [{"id": f"{web}#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": f"{PDS}/"}]
    http = with_lines({"https://ana.homes.test/.well-known/did.json": document(did=web, service=service)})
    assert (await server(http).find(web)).claimed_id == web
    http = with_lines({f"https://plc.test/{DID}": document()})
    await server(http, endpoints={"directory": "https://plc.test/"}).find(DID)
    assert http.asked[0].url == f"https://plc.test/{DID}"
    assert is_did("did:web:127.0.0.1%3A80", "http") and not is_did("did:web:127.0.0.1%3A80") and not is_did(7)


# --- which server -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        resource(resource=EVIL), resource(authorization_servers=[]), resource(authorization_servers=[SERVER, EVIL]),
        resource(authorization_servers=[f"{SERVER}/x"]), resource(authorization_servers=[7]), resource(authorization_servers=SERVER),
        resource(authorization_servers=["https://["]), resource(authorization_servers=["https://a\u2100b.example"]),
        Answer(200, {"content-type": "text/html"}, b""), Answer(302),
    ],
)  # fmt: skip
async def test_the_place_of_the_data_names_one_server(answer: Answer) -> None:
    """RFC 9728 §3.3: and is about itself."""
    assert (await refused(with_lines({PDS + RESOURCE: answer}), DID))[0] == "handle_none"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": EVIL}, {"issuer": f"{SERVER}/"}, {"scopes_supported": ["openid"]}, {"code_challenge_methods_supported": ["plain"]},
        {"dpop_signing_alg_values_supported": None}, {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
        {"client_id_metadata_document_supported": None}, {"authorization_response_iss_parameter_supported": False},
        {"require_pushed_authorization_requests": "true"}, {"authorization_endpoint": f"{EVIL}/authorize"}, {"authorization_endpoint": None},
        {"token_endpoint": f"{EVIL}/token"}, {"pushed_authorization_request_endpoint": "https://10.0.0.1/"}, {"revocation_endpoint": EVIL},
        {"authorization_endpoint": "javascript:alert(1)"}, {"pushed_authorization_request_endpoint": None},
        {"token_endpoint": f"{SERVER}/{'x' * 500}"},
    ],
)  # fmt: skip
async def test_a_server_does_what_the_protocol_wants_at_addresses_of_its_own(changes: dict[str, Any]) -> None:
    """catalogue 66, 90"""
    code, detail = await refused(with_lines({SERVER + METADATA: metadata(**changes)}), DID)
    assert code == "handle_none"
    assert detail.startswith("server_")


async def test_with_a_list_of_hosts_no_other_is_asked() -> None:
    """catalogue 66: the handle's, the data's, the server's; not the directory, which the operator named."""
    all_of_them = ["ana.people.test", "pds.test", "sign-in.test"]
    for missing in all_of_them:
        http = net()
        hosts = [one for one in all_of_them if one != missing]
        code, _ = await refused(http, HANDLE, discovery="hosts", hosts=hosts, issuer="https://other.test")
        assert code == "handle_host"
        assert not [one for one in http.asked if urlsplit(one.url).hostname == missing]
    assert (await server(net(), discovery="hosts", hosts=all_of_them, issuer=None).find(HANDLE)).server == SERVER
    assert (await server(net(), discovery="hosts", hosts=["pds.test"]).find("")).server == SERVER, (
        "named by the operator"
    )
    http = net()
    assert (await refused(http, "did:web:intranet.test", discovery="hosts", hosts=["pds.test"]))[0] == "handle_host"
    assert http.asked == []


async def test_a_lookup_that_fails_names_nobody() -> None:
    for url in (f"{DIRECTORY}/{DID}", PDS + RESOURCE, SERVER + METADATA):
        for line in (Answer(503), UpstreamUnavailable(f"timeout {HANDLE}")):
            code, detail = await refused(with_lines({url: line}), HANDLE)
            assert code == "handle_silent"
            assert "people" not in detail and "pds" not in detail


@pytest.mark.parametrize("typed", ["intranet.test", "did:web:intranet.test"])
async def test_no_handle_leads_into_our_own_network(typed: str) -> None:
    """catalogue 66"""

    async def inside(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.7"]

    egress = Egress(resolver=inside)
    try:
        assert (await refused(egress, typed))[0] == "handle_silent"
    finally:
        await egress.aclose()


# --- on the way ---------------------------------------------------------------------------------------


async def test_the_request_is_pushed_and_the_browser_carries_a_word_for_it() -> None:
    """RFC 9126 §4: nothing of it is in the address."""
    http = net()
    left = await leave(http)
    url = urlsplit(await server(http).authorization_url(left))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{SERVER}/oauth/authorize"
    assert parse_qs(url.query) == {"client_id": [CLIENT], "request_uri": ["urn:ietf:params:oauth:request_uri:req-1"]}
    (pushed,) = http.of(f"{SERVER}/oauth/par")
    assert pushed.form["login_hint"] == HANDLE
    assert (pushed.form["client_id"], pushed.form["scope"], pushed.form["response_type"]) == (CLIENT, "atproto", "code")
    header, claims = read_proof(pushed)
    assert (header["typ"], header["alg"], set(header["jwk"])) == ("dpop+jwt", "ES256", {"kty", "crv", "x", "y"})
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", f"{SERVER}/oauth/par", int(NOW.timestamp()))
    assert "nonce" not in claims
    await server(http).authorization_url(await leave(http, ""))
    assert "login_hint" not in http.of(f"{SERVER}/oauth/par")[-1].form


async def test_the_one_server_of_the_settings_signs_its_people_in_wherever_their_data_lies() -> None:
    """With `discovery` off nobody can name another server; the document still has to lead to this one."""
    http = net()
    one = server(http, discovery="off")
    left = attempt(found=await one.find(""), scopes=("atproto",))
    back = {"code": "c", "state": left.state, "iss": SERVER}
    identity = (await one.identify(left, back)).identity
    assert identity.key.subject == DID
    assert HANDLE in identity.claims.values()
    http.lines[PDS + RESOURCE] = resource(authorization_servers=[EVIL])
    with pytest.raises(UpstreamInvalid, match="sub not theirs"):
        await one.identify(left, back)
    assert (await refused(net(), HANDLE, discovery="off"))[0] == "handle_host"


async def test_one_key_serves_one_attempt_and_lies_nowhere() -> None:
    """RFC 9449 §10: the code is bound to the key of the pushed request; no proof is like another."""
    http = net()
    left = await leave(http)
    await server(http).authorization_url(left)
    await come_back(http, left)
    proofs = [read_proof(one) for one in http.asked if "DPoP" in one.headers]
    assert [one[1]["htu"].rpartition("/")[2] for one in proofs] == ["par", "token", "revoke"]
    assert len({str(one[0]["jwk"]) for one in proofs}) == 1
    assert len({one[1]["jti"] for one in proofs}) == 3
    other = attempt(found=left.found, nonce="of another attempt")
    await server(http).authorization_url(other)
    assert read_proof(http.asked[-1])[0]["jwk"] != proofs[0][0]["jwk"]
    assert left.nonce not in repr(ProofKey(left.nonce))


async def test_a_server_that_wants_its_nonce_gets_it_once() -> None:
    """RFC 9449 §8: the request is made again with it; a server that is never content is left alone."""

    def wants(answer: Answer) -> Any:
        def answered(asked: Asked) -> Answer:
            nonce = read_proof(asked)[1].get("nonce")
            return answer if nonce == "n-1" else json_answer({"error": "use_dpop_nonce"}, 400, dpop_nonce="n-1")

        return answered

    http = net()
    for place in ("par", "token"):
        http.lines[f"{SERVER}/oauth/{place}"] = wants(http.lines[f"{SERVER}/oauth/{place}"])
    left = await leave(http)
    await server(http).authorization_url(left)
    assert (await come_back(http, left)).identity.key.subject == DID
    assert [len(http.of(f"{SERVER}/oauth/{place}")) for place in ("par", "token")] == [2, 2]
    tries = [read_proof(one)[1]["jti"] for one in http.of(f"{SERVER}/oauth/token")]
    assert len(set(tries)) == 2
    http.lines[f"{SERVER}/oauth/par"] = json_answer({"error": "use_dpop_nonce"}, 400, dpop_nonce="n-2")
    with pytest.raises(UpstreamRejected, match="use_dpop_nonce"):
        await server(http).authorization_url(left)
    for nonce in ("", "x" * 2000, "a\x00b"):
        http.lines[f"{SERVER}/oauth/par"] = json_answer({"error": "use_dpop_nonce"}, 401, dpop_nonce=nonce)
        with pytest.raises(UpstreamInvalid, match="dpop_nonce"):
            await server(http).authorization_url(left)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_answer({"error": "invalid_client_metadata"}, 400), UpstreamRejected), (Answer(503), UpstreamUnavailable),
        (Answer(429), UpstreamUnavailable), (json_answer({}, 201), UpstreamInvalid), (json_answer({"request_uri": "x" * 600}, 201), UpstreamInvalid),
        (json_answer({"request_uri": "urn:x"}, 200), UpstreamRejected),
    ],
)  # fmt: skip
async def test_a_request_that_is_not_taken_sends_nobody_anywhere(answer: Answer, error: type[Exception]) -> None:
    http = with_lines({f"{SERVER}/oauth/par": answer})
    with pytest.raises(error):
        await server(http).authorization_url(await leave(http))


# --- who comes back -----------------------------------------------------------------------------------


async def test_whoever_signed_in_is_known_by_a_name_that_moves_with_them() -> None:
    http = net()
    found = await come_back(http, await leave(http))
    identity = found.identity
    assert (identity.key.issuer, identity.key.subject) == ("https://atproto.com", DID)
    assert identity.claims == {
        "name": "Ana", "preferred_username": HANDLE, "profile": f"https://bsky.app/profile/{HANDLE}",
        "picture": f"{PDS}/xrpc/com.atproto.sync.getBlob?did=did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz&cid=bafkreia",
    }  # fmt: skip
    assert found.tokens is None
    assert http.of(f"{SERVER}/oauth/revoke")[0].form == {"token": "rt", "client_id": CLIENT}


class Slow(Net):
    """Every answer comes, and each takes its time."""

    seconds = 0.0

    async def request(self, *given: Any, **named: Any) -> Any:
        answer = await super().request(*given, **named)
        await asyncio.sleep(self.seconds)
        return answer


async def test_a_server_that_answers_slowly_is_given_up_however_many_answers_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One time for all requests about one person together; and what was given is given back."""
    monkeypatch.setattr("providers._typed.SIGN_IN_SECONDS", 0.2)
    monkeypatch.setattr("providers._oauth.GIVE_BACK_SECONDS", 0.05)
    http = Slow()
    left = await leave(http)
    http.seconds = 0.09
    with pytest.raises(UpstreamUnavailable, match="timeout sign-in"):
        await come_back(http, left)
    assert len(http.of(f"{SERVER}/oauth/token")) == 1
    assert [one.form["token"] for one in http.of(f"{SERVER}/oauth/revoke")] == ["rt"]
    assert http.of(RECORD) == [], "it did not come to that"
    http.seconds = 0.3
    with pytest.raises(UpstreamUnavailable, match="timeout par"):
        await server(http).authorization_url(left)


async def test_a_server_speaks_only_for_those_whose_document_leads_to_it() -> None:
    """atproto.com/specs/oauth, "Identity authentication" (catalogue 45, 59): a hostile server names Bob, whose data lies elsewhere."""
    theirs = {f"{DIRECTORY}/{BOB}": document(BOB, "bob.test", "https://bobs.test")}
    bobs = json_answer({"resource": "https://bobs.test", "authorization_servers": ["https://other.test"]})
    http = with_lines({**theirs, f"https://bobs.test{RESOURCE}": bobs, f"{SERVER}/oauth/token": token(sub=BOB)})
    for typed in (HANDLE, ""):
        with pytest.raises(UpstreamInvalid, match="sub not theirs"):
            await come_back(http, await leave(http, typed))
    assert len(http.of(f"{SERVER}/oauth/revoke")) == 2, "given back all the same"
    left = await leave(http)
    http.lines[f"{SERVER}/oauth/token"] = token()
    http.lines[PDS + RESOURCE] = resource(authorization_servers=[EVIL])
    with pytest.raises(UpstreamInvalid, match="sub not theirs"):
        await come_back(http, left)  # and it is looked at anew: they may have moved meanwhile


async def test_whoever_chooses_another_account_of_the_same_server_is_that_one() -> None:
    """Also who typed nothing. Their handle counts only if it names them back."""
    own = "https://bob.test/.well-known/atproto-did"
    record = RECORD.replace(DID.replace(":", "%3A"), BOB.replace(":", "%3A"))
    lines = {
        f"{DIRECTORY}/{BOB}": document(BOB, "bob.test"),
        f"{SERVER}/oauth/token": token(sub=BOB),
        record: Answer(400),
    }
    http = with_lines({**lines, own: Answer(200, {}, BOB.encode())})
    for typed in (HANDLE, ""):
        identity = (await come_back(http, await leave(http, typed))).identity
        assert (identity.key.subject, identity.claims.get("preferred_username")) == (BOB, "bob.test")  # type: ignore[call-overload]
    for line in (Answer(200, {}, DID.encode()), Answer(404)):
        http.lines[own] = line
        claims = (await come_back(http, await leave(http, ""))).identity.claims
        assert claims == {"profile": f"https://bsky.app/profile/{BOB}"}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"scope": "transition:generic"}, "scope"), ({"scope": None}, "scope"), ({"scope": "atprotox"}, "scope"), ({"token_type": "Bearer"}, "token_type"),
        ({"sub": None}, "sub"), ({"sub": "did:key:x"}, "sub"), ({"sub": f"{DID} "}, "sub"), ({"access_token": None}, "access_token"),
    ],
)  # fmt: skip
async def test_a_token_that_is_not_what_was_asked_signs_nobody_in(changes: dict[str, Any], check: str) -> None:
    http = with_lines({f"{SERVER}/oauth/token": token(**changes)})
    with pytest.raises(UpstreamInvalid) as caught:
        await come_back(http, await leave(http))
    assert caught.value.check == check


async def test_the_answer_says_which_server_it_is_from() -> None:
    """RFC 9207, mandatory here (catalogue 39): one address serves all servers."""
    http = net()
    left = await leave(http)
    for callback in ({"code": "c"}, {"code": "c", "iss": EVIL}, {"error": "access_denied"}):
        with pytest.raises(UpstreamInvalid, match="response_iss"):
            await server(http).identify(left, callback)
    for nothing in (None, Found(endpoint="x")):
        with pytest.raises(UpstreamInvalid, match="server missing"):
            await server(http).identify(attempt(found=nothing), {"code": "c"})
    assert http.of(f"{SERVER}/oauth/token") == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400), Answer(404), json_answer({"value": None}), json_answer({"value": {"displayName": [7], "avatar": "x"}}),
        json_answer({"value": {"avatar": {"ref": {"$link": "../x?y=z"}}}}), json_answer({"value": {"avatar": {"ref": "x"}}}),
    ],
)  # fmt: skip
async def test_who_has_no_profile_comes_without_one(answer: Answer) -> None:
    http = with_lines({RECORD: answer})
    claims = (await come_back(http, await leave(http))).identity.claims
    assert set(claims) == {"preferred_username", "profile"}


async def test_what_is_not_promised_is_not_asked() -> None:
    http = net()
    left = await leave(http)
    http.asked.clear()
    one = server(http, fields=["profile"])
    assert set((await one.identify(left, {"code": "c", "iss": SERVER})).identity.claims) == {"profile"}
    assert http.of(RECORD) == http.of(WELL_KNOWN) == []


# --- who we are ---------------------------------------------------------------------------------------


def test_what_we_say_of_ourselves_is_what_the_protocol_wants() -> None:
    assert server(net()).described() == {
        "client_id": CLIENT, "client_name": "Club", "client_uri": "https://login.example", "policy_uri": "https://login.example/privacy",
        "tos_uri": "https://login.example/terms", "application_type": "web", "grant_types": ["authorization_code"], "response_types": ["code"],
        "redirect_uris": ["https://login.example/callback/example"], "scope": "atproto", "token_endpoint_auth_method": "none",
        "dpop_bound_access_tokens": True,
    }  # fmt: skip


async def test_without_a_word_who_we_are_nobody_is_sent_anywhere() -> None:
    http = net()
    one = PROVIDER(Preset.from_table("m", {"kind": "atproto", "discovery": "any"}), http, StandingClock())
    with pytest.raises(UpstreamUnavailable):
        await one.authorization_url(await leave(http))
    await one.check()
    assert http.of(f"{SERVER}/oauth/par") == []


def test_a_preset_says_which_servers() -> None:
    today = date(2026, 11, 24)

    def keys(**more: object) -> list[str]:
        table = {"kind": "atproto", "discovery": "any", "fields": ["name"], **more}
        return [one.key for one in PROVIDER.problems(Preset.from_table("v", table), today)]

    assert keys() == keys(discovery="hosts", hosts=["a.test"]) == keys(issuer="https://a.test") == []
    assert keys(endpoints={"directory": "https://x.test", "resolver": "https://x.test"}) == []
    assert keys(discovery="off") == ["discovery"]
    assert keys(discovery="hosts") == ["hosts"]
    assert keys(issuer="https://a.test/x") == ["issuer"]
    assert keys(fields=["name", "email", "birthdate"]) == ["fields", "fields"]
    assert keys(endpoints={"token": "https://x.test"}) == ["endpoints.token"]
    assert keys(trusts_email=True) == ["trusts_email"]
    assert hashlib.sha256(DID.encode()).digest()
    assert asyncio.iscoroutinefunction(PROVIDER.find)


def test_two_requests_within_a_second_are_not_taken_for_one_that_is_replayed() -> None:
    """RFC 9449 §11.1: a server remembers the number of a proof."""
    key = ProofKey("secret of the attempt")

    def number(code: str) -> str:
        payload = key.proof("POST", f"{SERVER}/token", NOW, form={"code": code}).split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["jti"])

    assert number("one") != number("two")

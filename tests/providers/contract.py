"""What every provider must do, whatever it speaks: the Provider contract, and the recorded answers it is held against.

A recording (`recordings/<id>.json`) is a preset, the answers of one sign-in, and who must come out of them. A kind of
provider brings its own wire (`WIRES`): which address answers what, and how its answers can be spoiled.
`"*"` in a recorded ID token stands for what belongs to the attempt: times, nonce, `at_hash`.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import providers
from broker.domain.claims import EMAIL, LABELS
from broker.domain.provider import Attempt, Found, Identified, Provider, Us
from broker.domain.values import ClaimName, ProviderId
from providers.preset import Preset
from tests.providers.rig import (
    NONCE,
    NOW,
    Answer,
    Asked,
    Json,
    OneApp,
    ScriptedHTTP,
    StandingClock,
    at_hash,
    attempt,
    ec_key,
    json_answer,
    p8,
    pem,
    rsa_jwk,
    rsa_key,
    sign,
)

RECORDINGS: Final = Path(__file__).parent / "recordings"
P8: Final = "*.p8"
"""A recorded secret that stands for a key file: keys are made, not written down."""
CODE: Final = "code-of-this-attempt"
NOW_SECONDS: Final = int(NOW.timestamp())


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recorded sign-in."""

    name: str
    preset: Preset
    raw: Json = field(repr=False)

    @classmethod
    def read(cls, name: str) -> Recording:
        raw = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
        table = raw["preset"]
        if table.get("client_secret") == P8:
            table = {**table, "client_secret": p8(ec_key("p8"))}
        return cls(name=name, preset=Preset.from_table(raw["id"], table), raw=raw)

    @property
    def client_id(self) -> str:
        """What the provider knows us as."""
        return str(self.raw.get("kept", {}).get("client_id", self.preset.client_id))

    @property
    def wire(self) -> Wire:
        return WIRES[self.preset.kind]

    @property
    def bindings(self) -> frozenset[str]:
        """What ties this provider's answers to their attempt: its kind's, less what the preset says it cannot."""
        off = {"pkce"} if self.preset.pkce is False else set()
        return frozenset(self.module.BINDINGS - off - (set() if self.preset.nonce else {"nonce"}))

    @property
    def faults(self) -> list[Fault]:
        return [fault for fault in self.wire.faults if fault.check != "nonce" or "nonce" in self.bindings]

    @property
    def may_vouch(self) -> bool:
        """Whether anything in its answers says that an address was proved, for somebody to believe."""
        preset, says = self.preset, "email_verified"
        return self.wire.may_vouch and (
            preset.kind != "oauth2" or says in preset.claims or "emails" in preset.endpoints
        )

    @property
    def module(self) -> Any:
        """The module of the kind: its `BINDINGS` and `IGNORED`."""
        return importlib.import_module(f"providers.{self.preset.kind}")

    def changed(self, part: str, **changes: Any) -> Recording:
        """The same with members of one answer changed; `None` leaves one out."""
        merged = {**self.raw[part], **changes}
        return replace(
            self, raw={**self.raw, part: {name: value for name, value in merged.items() if value is not None}}
        )

    def with_preset(self, **changes: Any) -> Recording:
        return replace(self, preset=replace(self.preset, **changes))

    def attempt(self, **changes: Any) -> Attempt:
        """An attempt at this provider, asking what a sign-in asks."""
        provider = self.provider(self.http())
        usual: dict[str, Any] = {
            "provider": ProviderId(self.preset.id),
            "redirect_uri": f"https://login.example/callback/{self.preset.id}",
            "scopes": provider.sign_in_scopes,
        }
        if "found" in self.raw:
            usual["found"] = found = Found(**self.raw["found"])
            usual["redirect_uri"] += f"/{found.place}" if found.place else ""
        return attempt(**{**usual, **changes})

    def callback(self, **changes: str | None) -> dict[str, str]:
        """What the browser comes back with."""
        usual = {"code": self.wire.code, "state": self.attempt().state, **self.wire.callback(self), **changes}
        return {name: value for name, value in usual.items() if value is not None}

    def http(self) -> ScriptedHTTP:
        return ScriptedHTTP(self.wire.script(self))

    def provider(self, http: ScriptedHTTP) -> Provider:
        """Through the loader, as the broker gets it."""
        us = Us(name="Doorward", issuer="https://login.example", kept=OneApp(self.raw.get("kept")))
        loaded = providers.load([self.preset], http, StandingClock(), us=us)
        return loaded.providers[self.preset.id]

    async def sign_in(self, http: ScriptedHTTP | None = None, **changes: Any) -> Identified:
        """One whole sign-in against the recorded answers."""
        asked = self.attempt(**changes)
        return await self.provider(http or self.http()).identify(asked, self.callback())

    async def url(self, **changes: Any) -> tuple[str, dict[str, str]]:
        """Where the browser is sent: the address without query, and the query's parameters, each occurring once."""
        http = self.http()
        url = urlsplit(await self.provider(http).authorization_url(self.attempt(**changes)))
        if self.wire.pushed:
            return f"{url.scheme}://{url.netloc}{url.path}", http.only(self.wire.pushed).form
        pairs = parse_qs(url.query, keep_blank_values=True, strict_parsing=True)
        assert all(len(values) == 1 for values in pairs.values()), "a parameter occurs twice"
        return f"{url.scheme}://{url.netloc}{url.path}", {name: values[0] for name, values in pairs.items()}

    def secrets(self) -> list[str]:
        """What must not show anywhere: ours, the provider's, the person's."""
        asked, token, who = self.attempt(), self.raw.get("token", {}), self.raw["identity"]
        secret = self.preset.client_secret.reveal() or self.raw.get("kept", {}).get("client_secret", "")
        return [
            asked.state, asked.nonce, asked.code_verifier, CODE, who["subject"], *who["claims"].values(),
            *([secret] if secret else []), *(token[name] for name in ("access_token", "refresh_token") if name in token),
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to spoil the answers, and the check that must catch it."""

    name: str
    check: str
    spoil: Callable[[Recording], Recording]


class Wire:
    """How one kind of provider speaks."""

    people: tuple[str, ...]
    """The recorded answers that say something about the person."""
    faults: tuple[Fault, ...]
    pushed: str = ""
    """Where the request is pushed to, if the browser does not carry it."""
    can_decline: bool = True
    """Whether something of what is asked for can be refused there."""
    is_one: bool = True
    """Whether there is one server whose state says something."""
    may_vouch: bool = True
    """Whether its word that an address is proved can be believed at all."""
    code: str | None = CODE
    """What the browser brings to be redeemed; `None` where the answer itself is shown to the provider."""

    def script(self, recording: Recording) -> dict[str, Any]:
        raise NotImplementedError

    def callback(self, recording: Recording) -> dict[str, str]:
        return {}

    def refusal(self, recording: Recording) -> dict[str, str]:
        """What the browser comes back with when the person said no there."""
        return recording.callback(code=None, error="access_denied", error_description="Ana said no")

    def page_path(self, recording: Recording) -> str | None:
        """Where only the browser goes during a sign-in, if the script has it."""
        return None

    def token_path(self, recording: Recording) -> str:
        """Where the code is redeemed, or the answer confirmed."""
        raise NotImplementedError

    def asking_everything(self, recording: Recording) -> Recording:
        """The same with a preset that makes a sign-in ask every address of the script."""
        return recording

    def mapped(self, recording: Recording) -> frozenset[str]:
        """The raw keys that become claims."""
        raise NotImplementedError

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        raise NotImplementedError

    def with_email(self, recording: Recording, address: str, said: object) -> Recording:
        """The person has this address, and the provider says this about its being proved."""
        raise NotImplementedError

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        """The person did not grant this scope."""
        raise NotImplementedError


# --- OpenID Connect -----------------------------------------------------------------------------------


def _claims(**changes: object) -> Callable[[Recording], Recording]:
    return lambda recording: recording.changed("id_token", **changes)


def _signing(**how: Any) -> Callable[[Recording], Recording]:
    return lambda recording: replace(recording, raw={**recording.raw, "signing": how})


class OpenIDConnectWire(Wire):
    people = ("id_token", "userinfo")
    faults: tuple[Fault, ...] = (
        Fault(name="no ID token", check="id_token", spoil=_signing(missing=True)),
        Fault(name="another issuer", check="iss", spoil=_claims(iss="https://evil.test")),
        Fault(name="no issuer", check="iss", spoil=_claims(iss=None)),
        Fault(name="another audience", check="aud", spoil=_claims(aud="another-client", azp=None)),
        Fault(name="another audience with our azp", check="aud", spoil=_claims(aud="another-client")),
        Fault(name="another azp", check="azp", spoil=_claims(azp="another-client")),
        Fault(name="another nonce", check="nonce", spoil=_claims(nonce="another")),
        Fault(name="no nonce", check="nonce", spoil=_claims(nonce=None)),
        Fault(name="expired", check="exp", spoil=_claims(exp=NOW_SECONDS - 61)),
        Fault(name="no end", check="exp", spoil=_claims(exp=None)),
        Fault(name="another algorithm", check="alg", spoil=_signing(alg="RS384")),
        Fault(name="alg none", check="alg", spoil=_signing(alg="none", key=b"")),
        Fault(name="HS256 under the public key", check="alg", spoil=_signing(alg="HS256", key=pem(rsa_key()))),
        Fault(name="unknown kid", check="kid", spoil=_signing(header={"kid": "rsa-9"})),
        Fault(name="a stranger's key", check="signature", spoil=_signing(key=rsa_key(2048, "stranger"))),
        Fault(name="another access token", check="at_hash", spoil=_claims(at_hash=at_hash("another"))),
    )

    def script(self, recording: Recording) -> dict[str, Any]:
        raw, found = recording.raw, recording.raw["discovery"]
        usual = recording.preset.issuer.rstrip("/") + "/.well-known/openid-configuration"
        script: dict[str, Any] = {
            urlsplit(recording.preset.endpoints.get("discovery", usual)).path: json_answer(found),
            urlsplit(found["jwks_uri"]).path: json_answer({"keys": [rsa_jwk(rsa_key())]}),
            self.token_path(recording): json_answer(self._token(recording)),
        }
        if "userinfo" in raw:
            script[urlsplit(found["userinfo_endpoint"]).path] = json_answer(raw["userinfo"])
        return script

    def _token(self, recording: Recording) -> Json:
        how: Json = dict(recording.raw.get("signing", {}))
        if how.pop("missing", False):
            return dict(recording.raw["token"])
        belongs = {
            "iat": NOW_SECONDS - 1, "nbf": NOW_SECONDS - 1, "exp": NOW_SECONDS + 300, "auth_time": NOW_SECONDS - 90, "nonce": NONCE,
            "at_hash": at_hash(recording.raw["token"]["access_token"]),
        }  # fmt: skip
        claims = {name: belongs[name] if value == "*" else value for name, value in recording.raw["id_token"].items()}
        return {**recording.raw["token"], "id_token": sign(claims, how.pop("key", None), **how)}

    def callback(self, recording: Recording) -> dict[str, str]:
        promised = recording.raw["discovery"].get("authorization_response_iss_parameter_supported", False)
        return {"iss": recording.preset.issuer} if promised else {}

    def token_path(self, recording: Recording) -> str:
        told = recording.preset.endpoints.get("token") or recording.raw["discovery"]["token_endpoint"]
        return str(urlsplit(told).path)

    def asking_everything(self, recording: Recording) -> Recording:
        """Userinfo is asked only for a promised field that the ID token does not say."""
        return recording.with_preset(fields=(*recording.preset.fields, ClaimName("website")))

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset(str(claim) for claim in LABELS)

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        return recording.changed("id_token", sub=subject)

    def with_email(self, recording: Recording, address: str, said: object) -> Recording:
        return recording.changed("id_token", email=address, email_verified=said)

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        """Such a provider names in the token answer what was granted, and leaves out the claims of the rest."""
        gone = [offer.claim for offer in recording.provider(recording.http()).offers if offer.scope == scope]
        granted = " ".join(one for one in recording.attempt().scopes if one != scope)
        found = recording.changed("token", scope=granted).changed("id_token", **dict.fromkeys(map(str, gone)))
        return found.changed("userinfo", **dict.fromkeys(map(str, gone))) if "userinfo" in found.raw else found


class TypedOpenIDConnectWire(OpenIDConnectWire):
    """The same at the issuer that a typed address led to, and nobody's word about an address counts."""

    is_one = False
    may_vouch = False
    faults = (
        *OpenIDConnectWire.faults,
        Fault(name="an issuer that forgot us", check="registration", spoil=lambda one: one.changed("kept", client_id="other")),
        Fault(name="another issuer's metadata", check="discovery_issuer", spoil=lambda one: one.changed("discovery", issuer="https://x.test")),
        Fault(name="addresses that are not let in", check="discovery",
              spoil=lambda one: one.changed("discovery", token_endpoint="https://elsewhere.test/token")),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        at_issuer = recording.with_preset(issuer=recording.raw["found"]["server"])
        return super().script(at_issuer)

    def callback(self, recording: Recording) -> dict[str, str]:
        return {"iss": recording.raw["found"]["server"]}


class AppleWire(OpenIDConnectWire):
    """Nothing to discover, and the name in the answer that the browser posts."""

    people = ("id_token", "user")

    def script(self, recording: Recording) -> dict[str, Any]:
        keys = json_answer({"keys": [rsa_jwk(rsa_key())]})
        return {"/auth/keys": keys, self.token_path(recording): json_answer(self._token(recording))}

    def callback(self, recording: Recording) -> dict[str, str]:
        return {"user": json.dumps(recording.raw["user"], ensure_ascii=False)} if "user" in recording.raw else {}

    def refusal(self, recording: Recording) -> dict[str, str]:
        return {"state": recording.attempt().state, "error": "user_cancelled_authorize"}

    def token_path(self, recording: Recording) -> str:
        return "/auth/token"

    def asking_everything(self, recording: Recording) -> Recording:
        return recording

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        found = super().with_declined(recording, scope)
        return found.changed("user", name=None) if scope == "name" else found


class MicrosoftWire(OpenIDConnectWire):
    """Keys say whose tokens they sign, and nobody's word about an address counts."""

    may_vouch = False
    faults = tuple(
        replace(fault, check="key_issuer") if fault.check == "iss" else fault for fault in OpenIDConnectWire.faults
    )

    def script(self, recording: Recording) -> dict[str, Any]:
        named = {"issuer": recording.raw["key_issuer"]} if "key_issuer" in recording.raw else {}
        keys = {"keys": [rsa_jwk(rsa_key(), **named)]}
        return {**super().script(recording), urlsplit(recording.raw["discovery"]["jwks_uri"]).path: json_answer(keys)}


# --- Facebook -----------------------------------------------------------------------------------------


def _inspection(**changes: object) -> Callable[[Recording], Recording]:
    def spoil(recording: Recording) -> Recording:
        data = {**recording.raw["debug_token"]["data"], **changes}
        kept = {name: value for name, value in data.items() if value is not None}
        return replace(recording, raw={**recording.raw, "debug_token": {"data": kept}})

    return spoil


class FacebookWire(Wire):
    people = ("me",)
    may_vouch = False
    faults = (
        Fault(name="a token of another app", check="token_app", spoil=_inspection(app_id="999")),
        Fault(name="an app id that is a number", check="token_app", spoil=_inspection(app_id=138483919580948)),
        Fault(name="a token that is not valid", check="token_valid", spoil=_inspection(is_valid=False)),
        Fault(name="valid as text", check="token_valid", spoil=_inspection(is_valid="true")),
        Fault(name="a page's token", check="token_kind", spoil=_inspection(type="PAGE")),
        Fault(name="an expired token", check="token_expired", spoil=_inspection(expires_at=NOW_SECONDS - 61)),
        Fault(name="a token of nobody", check="token_user", spoil=_inspection(user_id=None)),
        Fault(name="a token of somebody else", check="token_user", spoil=_inspection(user_id="1")),
        Fault(
            name="no inspection",
            check="token_inspection",
            spoil=lambda one: replace(one, raw={**one.raw, "debug_token": {}}),
        ),
    )

    def script(self, recording: Recording) -> dict[str, Any]:
        raw, version = recording.raw, f"/{recording.preset.graph_version}"

        def graph(part: str) -> Callable[[Asked], Answer]:
            def answer(asked: Asked) -> Answer:
                _check_proof(recording.preset, asked)
                found = raw[part]
                if part == "me":  # Graph answers what was asked and what there is
                    wanted = {name.partition(".")[0] for name in asked.query["fields"].split(",")}
                    mapped = self.mapped(recording)
                    found = {name: value for name, value in found.items() if name in wanted or name not in mapped}
                return json_answer(found, content_type="text/javascript; charset=UTF-8")

            return answer

        return {
            f"{version}/oauth/access_token": json_answer(raw["token"]),
            f"{version}/debug_token": graph("debug_token"),
            f"{version}/me": graph("me"),
            f"{version}/me/permissions": graph("permissions"),
        }

    def token_path(self, recording: Recording) -> str:
        return f"/{recording.preset.graph_version}/oauth/access_token"

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset(value.partition(".")[0] for value in recording.module.FIELD_OF.values())

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        return _inspection(user_id=subject)(recording.changed("me", id=subject))

    def with_email(self, recording: Recording, address: str, said: object) -> Recording:
        granted = [{"permission": name, "status": "granted"} for name in ("public_profile", "email", "user_birthday")]
        found = recording.changed("me", email=address, email_verified=said, verified=said)
        return replace(found, raw={**found.raw, "permissions": {"data": granted}})

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        gone = [offer.claim for offer in recording.provider(recording.http()).offers if offer.scope == scope]
        names = [recording.module.FIELD_OF[claim].partition(".")[0] for claim in gone]
        rows = [row for row in recording.raw["permissions"]["data"] if row["permission"] != scope]
        data = [*rows, {"permission": scope, "status": "declined"}]
        found = recording.changed("me", **dict.fromkeys(names))
        return replace(found, raw={**found.raw, "permissions": {"data": data}})


def _check_proof(preset: Preset, asked: Asked) -> None:
    """Graph refuses a call without the proof that belongs to its token."""
    token = asked.headers["Authorization"].removeprefix("Bearer ")
    proof = hmac.new(preset.client_secret.reveal().encode(), token.encode(), hashlib.sha256).hexdigest()
    assert asked.query["appsecret_proof"] == proof, asked.path


# --- OpenID 2.0 ---------------------------------------------------------------------------------------


def _answer(**changes: str | None) -> Callable[[Recording], Recording]:
    """The browser's answer with fields changed (`None`: left out), their names without `openid.`."""
    return lambda one: one.changed("answer", **{f"openid.{name}": value for name, value in changes.items()})


def _verdict(body: str) -> Callable[[Recording], Recording]:
    return lambda one: replace(one, raw={**one.raw, "verdict": body})


def _nonce(seconds: int) -> Callable[[Recording], Recording]:
    made = NOW + timedelta(seconds=seconds)
    return _answer(response_nonce=f"{made:%Y-%m-%dT%H:%M:%SZ}x7Yq")


def _unsigned(name: str) -> Callable[[Recording], Recording]:
    def spoil(one: Recording) -> Recording:
        signed = one.raw["answer"]["openid.signed"].split(",")
        return _answer(signed=",".join(each for each in signed if each != name))(one)

    return spoil


class OpenID2Wire(Wire):
    """One answer through the browser, and the provider's word, asked directly, that it made it."""

    code = None
    can_decline = False
    people: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = (
        *(
            Fault(name=f"{name} unsigned", check="signed", spoil=_unsigned(name))
            for name in ("op_endpoint", "return_to", "response_nonce", "assoc_handle", "claimed_id", "identity")
        ),
        Fault(name="nothing signed", check="signed", spoil=_answer(signed=None)),
        Fault(name="no signature", check="signed", spoil=_answer(sig=None)),
        Fault(name="nobody named", check="signed", spoil=_answer(claimed_id=None, identity=None)),
        Fault(name="version 1", check="openid_ns", spoil=_answer(ns=None)),
        Fault(name="no mode", check="openid_mode", spoil=_answer(mode=None)),
        Fault(name="another endpoint", check="op_endpoint", spoil=_answer(op_endpoint="https://evil.test/openid")),
        Fault(name="a site elsewhere", check="return_to", spoil=_answer(return_to="https://evil.test/back")),
        Fault(name="too old", check="response_nonce", spoil=_nonce(-301)),
        Fault(name="from the future", check="response_nonce", spoil=_nonce(61)),
        Fault(name="a nonce without time", check="response_nonce", spoil=_answer(response_nonce="x7Yq")),
        Fault(name="a day that is none", check="response_nonce", spoil=_answer(response_nonce="2026-02-30T12:00:00Z")),
        Fault(name="not theirs", check="is_valid", spoil=_verdict("ns:http://specs.openid.net/auth/2.0\nis_valid:false\n")),
        Fault(name="no word about it", check="is_valid", spoil=_verdict("ns:http://specs.openid.net/auth/2.0\n")),
        Fault(name="two words about it", check="is_valid", spoil=_verdict("is_valid:false\nis_valid:true\n")),
        Fault(name="a page instead", check="is_valid", spoil=_verdict("<html>is_valid:true</html>")),
        Fault(name="too many fields", check="openid_size", spoil=_answer(more="x" * 20_000)),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        return {self.token_path(recording): self._confirm(recording)}

    def _confirm(self, recording: Recording) -> Callable[[Asked], Answer]:
        """The provider knows its own answer again, if it is shown whole."""

        def answer(asked: Asked) -> Answer:
            if asked.method == "POST":
                shown = {name: value for name, value in recording.callback().items() if name.startswith("openid.")}
                assert asked.form == {**shown, "openid.mode": "check_authentication"}
            body = recording.raw.get("verdict", "ns:http://specs.openid.net/auth/2.0\nis_valid:true\n")
            return Answer(200, {"content-type": "text/plain;charset=utf-8"}, body.encode())

        return answer

    def callback(self, recording: Recording) -> dict[str, str]:
        asked = recording.attempt()
        belongs = {
            "openid.return_to": f"{asked.redirect_uri}?state={asked.state}",
            "openid.response_nonce": f"{NOW:%Y-%m-%dT%H:%M:%SZ}x7Yq",
        }
        return {name: belongs[name] if value == "*" else value for name, value in recording.raw["answer"].items()}

    def refusal(self, recording: Recording) -> dict[str, str]:
        return {
            "state": recording.attempt().state,
            "openid.ns": recording.raw["answer"]["openid.ns"],
            "openid.mode": "cancel",
        }

    def token_path(self, recording: Recording) -> str:
        return str(urlsplit(recording.raw["answer"]["openid.op_endpoint"]).path)

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset(recording.module.FIELD_OF.values())


class PinnedWire(OpenID2Wire):
    """A provider whose endpoint and people's addresses the operator named. All it says comes in the one answer."""

    people = ("sreg",)
    faults = (
        *OpenID2Wire.faults,
        *(
            Fault(name=f"named {name}", check="claimed_id", spoil=_answer(claimed_id=name))
            for name in (
                "https://people.village.example/", "https://people.village.example", "http://people.village.example/ana",
                "https://people.village.example:443/ana", "https://PEOPLE.village.example/ana", "=ana",
                "https://people.village.example.evil.test/ana", "https://people.village.example@evil.test/ana",
                "https://people.village.example/../ana", "https://people.village.example/%2e%2E/ana", "https://[/ana",
            )
        ),
    )  # fmt: skip

    def callback(self, recording: Recording) -> dict[str, str]:
        """What is registered of the person travels in the same answer, signed like the rest."""
        answer, told = super().callback(recording), recording.raw["sreg"]
        if "openid.signed" in answer:
            answer["openid.signed"] = ",".join([answer["openid.signed"], *(f"sreg.{name}" for name in told)])
        return {**answer, **{f"openid.sreg.{name}": str(value) for name, value in told.items()}}

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset(recording.module.SREG_OF.values())

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        name = f"https://people.village.example/{subject}" if isinstance(subject, str) else subject and str(subject)
        return recording.changed("answer", **{"openid.claimed_id": name, "openid.identity": name})


class SteamWire(OpenID2Wire):
    people = ("player",)
    faults = (
        *OpenID2Wire.faults,
        Fault(name="one more field signed", check="signed", spoil=_answer(
            signed="signed,op_endpoint,claimed_id,identity,return_to,response_nonce,assoc_handle,mode")),
        *(
            Fault(name=f"named {name}", check="claimed_id", spoil=_answer(claimed_id=name, identity=name))
            for name in (
                "http://steamcommunity.com/openid/id/76561197960287930",
                "https://steamcommunity.com.evil.test/openid/id/76561197960287930",
                "https://steamcommunity.com/openid/id/765611979602879301",
                "https://steamcommunity.com/openid/id/76561197960287930#2",
                "https://steamcommunity.com/openid/id/../76561197960287930",
                "https://steamcommunity.com/id/anabrave",
            )
        ),
        Fault(name="two names", check="claimed_id", spoil=_answer(
            identity="https://steamcommunity.com/openid/id/76561197960287931")),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        def summaries(asked: Asked) -> Answer:
            assert asked.headers["x-webapi-key"] == recording.preset.client_secret.reveal()
            player = recording.raw["player"]
            known = [player] if asked.query["steamids"] == player["steamid"] else []
            return json_answer({"response": {"players": known}})

        return {**super().script(recording), "/ISteamUser/GetPlayerSummaries/v0002/": summaries}

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        name = None if subject is None else f"https://steamcommunity.com/openid/id/{subject}"
        return _answer(claimed_id=name, identity=name)(recording)


# --- OAuth 2.0 ----------------------------------------------------------------------------------------


class OAuth2Wire(Wire):
    """A token, and what is said of the person to whoever holds it. Where it stands is the preset's to say."""

    people = ("person",)
    faults = (
        Fault(name="no token", check="access_token", spoil=lambda one: one.changed("token", access_token=None)),
        Fault(name="another kind of token", check="token_type", spoil=lambda one: one.changed("token", token_type="mac")),
        Fault(name="a token for years", check="expires_in", spoil=lambda one: one.changed("token", expires_in=10**12)),
        Fault(name="a person too large", check="userinfo_size", spoil=lambda one: one.changed("person", more="x" * 70_000)),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        raw, preset = recording.raw, recording.preset

        def told(part: str) -> Callable[[Asked], Answer]:
            def answer(asked: Asked) -> Answer:
                assert asked.headers["Authorization"] == f"Bearer {raw['token']['access_token']}"
                return json_answer(raw[part])

            return answer

        script: dict[str, Any] = {
            self.page_path(recording): Answer(404, {"content-type": "text/html"}, b"<html>"),
            self.token_path(recording): json_answer(raw["token"]),
            urlsplit(preset.endpoints["userinfo"]).path: told("person"),
        }
        return script | ({urlsplit(preset.endpoints["emails"]).path: told("emails")} if "emails" in raw else {})

    def page_path(self, recording: Recording) -> str:
        return str(urlsplit(recording.preset.endpoints["authorization"]).path)

    def token_path(self, recording: Recording) -> str:
        return str(urlsplit(recording.preset.endpoints["token"]).path)

    def mapped(self, recording: Recording) -> frozenset[str]:
        """Here a preset decides, so its recording says what else may arrive."""
        paths = [recording.preset.subject, *recording.preset.claims.values()]
        places = [place for path in paths for place in (re.findall(r"\{([^{}]+)\}", path) or [path])]
        return frozenset([place.partition(".")[0] for place in places] + recording.raw["ignored"])

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        if isinstance(subject, int) and not isinstance(subject, bool):
            subject += 0.5  # whole numbers are names at many services
        return self.put(recording, recording.preset.subject, subject)

    def with_email(self, recording: Recording, address: str, said: object) -> Recording:
        if "emails" in recording.raw:
            found = [{"email": "old@example.org", "primary": False, "verified": True}]
            found.append({"email": address, "primary": True, "verified": said})
            return replace(recording, raw={**recording.raw, "emails": found})
        paths = recording.preset.claims
        having = self.put(recording, paths[EMAIL], address)
        return self.put(having, paths["email_verified"], said) if "email_verified" in paths else having

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        granted = " ".join(one for one in recording.attempt().scopes if one != scope)
        found = recording.changed("token", scope=granted)
        for offer in recording.provider(recording.http()).offers:
            if offer.scope == scope and offer.claim in recording.preset.claims:
                for place in re.findall(r"\{([^{}]+)\}", recording.preset.claims[offer.claim]) or [
                    recording.preset.claims[offer.claim]
                ]:
                    found = found if place == recording.preset.subject else self.put(found, place, None)
        return found

    @staticmethod
    def put(recording: Recording, path: str, value: object) -> Recording:
        """The same with another value at a path of the person's answer; `None` leaves it out."""
        person = json.loads(json.dumps(recording.raw["person"]))
        *above, last = path.split(".")
        inner = person
        for name in above:
            inner = inner[name]
        inner.pop(last, None)
        if value is not None:
            inner[last] = value
        return replace(recording, raw={**recording.raw, "person": person})


class MastodonWire(Wire):
    """A token, and the account of whoever it is for. Where all that is was found when the server was named."""

    is_one = False
    people = ("account",)
    may_vouch = False
    faults = (
        Fault(name="no token", check="access_token", spoil=lambda one: one.changed("token", access_token=None)),
        Fault(name="another kind of token", check="token_type", spoil=lambda one: one.changed("token", token_type="mac")),
        Fault(name="a person of another server", check="account_uri",
              spoil=lambda one: one.changed("account", uri="https://mastodon.example/users/ana")),
        Fault(name="no address of a person", check="account_uri", spoil=lambda one: one.changed("account", uri=7)),
        Fault(name="a person too large", check="account_size", spoil=lambda one: one.changed("account", more="x" * 300_000)),
        Fault(name="a server that forgot us", check="registration", spoil=lambda one: one.changed("kept", client_id="other")),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        raw = recording.raw

        def account(asked: Asked) -> Answer:
            assert asked.headers["Authorization"] == f"Bearer {raw['token']['access_token']}"
            return json_answer(raw["account"])

        return {
            self.token_path(recording): json_answer(raw["token"]),
            "/api/v1/accounts/verify_credentials": account,
        }

    def token_path(self, recording: Recording) -> str:
        return str(urlsplit(recording.raw["found"]["told"]["token"]).path)

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset({*recording.module.FIELD_OF.values(), *recording.module.READ_BESIDE})

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        return recording.changed("account", username=subject)

    def with_declined(self, recording: Recording, scope: str) -> Recording:
        return recording.changed("token", scope="write:bookmarks")


class ATProtoWire(Wire):
    """A pushed request, a token that names a DID, what that DID says of itself, and its public profile."""

    pushed = "/oauth/par"
    can_decline = False
    people = ("profile",)
    may_vouch = False
    faults = (
        Fault(name="no token", check="access_token", spoil=lambda one: one.changed("token", access_token=None)),
        Fault(name="a token without a key", check="token_type", spoil=lambda one: one.changed("token", token_type="Bearer")),
        Fault(name="another scope", check="scope", spoil=lambda one: one.changed("token", scope="transition:generic")),
        Fault(name="a person of another server", check="sub",
              spoil=lambda one: one.changed("resource", authorization_servers=["https://mastodon.example"])),
        Fault(name="a document of somebody else", check="did_id", spoil=lambda one: one.changed("document", id="did:web:evil.test")),
        Fault(name="a profile too large", check="profile_size", spoil=lambda one: one.changed("profile", more="x" * 300_000)),
    )  # fmt: skip

    def script(self, recording: Recording) -> dict[str, Any]:
        raw = recording.raw
        return {
            self.page_path(recording): json_answer(raw["server"]),
            self.pushed: json_answer(raw["pushed"], 201),
            self.token_path(recording): json_answer(raw["token"]),
            f"/{raw['identity']['subject']}": json_answer(raw["document"]),
            "/.well-known/oauth-protected-resource": json_answer(raw["resource"]),
            "/xrpc/com.atproto.repo.getRecord": json_answer({"uri": "at://x", "cid": "y", "value": raw["profile"]}),
        }

    def page_path(self, recording: Recording) -> str:
        """What only `find` and `check` ask."""
        return "/.well-known/oauth-authorization-server"

    def callback(self, recording: Recording) -> dict[str, str]:
        return {"iss": recording.raw["found"]["server"]}

    def token_path(self, recording: Recording) -> str:
        return str(urlsplit(recording.raw["found"]["told"]["token"]).path)

    def mapped(self, recording: Recording) -> frozenset[str]:
        return frozenset({*recording.module.READ})

    def with_subject(self, recording: Recording, subject: object) -> Recording:
        return recording.changed("token", sub=subject)


WIRES: Final[Mapping[str, Wire]] = {
    "atproto": ATProtoWire(),
    "mastodon": MastodonWire(),
    "oauth2": OAuth2Wire(),
    "openid_connect": OpenIDConnectWire(),
    "typed_openid_connect": TypedOpenIDConnectWire(),
    "apple": AppleWire(),
    "microsoft": MicrosoftWire(),
    "facebook": FacebookWire(),
    "openid2": PinnedWire(),
    "steam": SteamWire(),
}
"""Every kind there is. A new kind adds its wire here."""


def recorded() -> list[str]:
    """The recordings there are."""
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))

"""The Provider contract: one class, run over every recording, so over every preset and every kind there is."""

from __future__ import annotations

import re

import pytest

import providers
from broker.domain.checks.token import challenge_of
from broker.domain.claims import EMAIL, LABELS
from broker.domain.provider import Renews
from broker.domain.values import ClaimName, IdentityKey
from broker.errors import SignInCancelled, UpstreamInvalid, UpstreamUnavailable
from providers.preset import is_posting_scope
from tests.providers.contract import CODE, WIRES, Fault, Recording, recorded
from tests.providers.rig import ScriptedHTTP

ALL = recorded()
CODES = [name for name in ALL if Recording.read(name).wire.code is not None]
"""Those whose answer is a code to redeem (OAuth)."""
FAULTS = [pytest.param(name, fault, id=f"{name}-{fault.name}") for name in ALL for fault in Recording.read(name).faults]
RENEWING = [name for name in ALL if isinstance(Recording.read(name).provider(ScriptedHTTP({})), Renews)]
NAMING = [name for name in RENEWING if "id_token" in Recording.read(name).raw]
"""Those whose answers name somebody, also when tokens are renewed."""
ANSWERS = [
    pytest.param(one.name, path, id=f"{one.name}{path}")
    for one in map(Recording.read, ALL)
    for path in one.http().script
    if path != one.wire.page_path(one)
]


def test_every_kind_has_a_recording_and_a_wire() -> None:
    """A new kind of provider comes with a recorded answer, or this fails."""
    kinds = {Recording.read(name).preset.kind for name in ALL}
    assert kinds == set(providers.known_kinds()) == set(WIRES)


@pytest.fixture(params=ALL)
def recording(request: pytest.FixtureRequest) -> Recording:
    return Recording.read(request.param)


class TestProviderContract:
    """Rules that hold for every provider."""

    async def test_the_recorded_answers_are_this_person(self, recording: Recording) -> None:
        found = (await recording.sign_in()).identity
        wanted = recording.raw["identity"]
        assert found.provider == recording.preset.id
        assert found.key == IdentityKey(issuer=wanted["issuer"], subject=wanted["subject"])
        assert found.claims == {ClaimName(name): value for name, value in wanted["claims"].items()}
        assert found.verified == set(wanted["verified"])
        assert found.declined == set(wanted["declined"])
        assert found.account_hint == wanted["account_hint"]

    async def test_a_no_at_the_provider_is_a_cancelled_sign_in(self, recording: Recording) -> None:
        """catalogue 56: and nothing is asked any more."""
        http = recording.http()
        with pytest.raises(SignInCancelled) as caught:
            await recording.provider(http).identify(recording.attempt(), recording.wire.refusal(recording))
        assert "Ana" not in str(caught.value)
        assert http.count(recording.wire.token_path(recording)) == 0

    @pytest.mark.parametrize("subject", ["", "   ", None, 10220123456789012, True, "a\x00b", "x" * 256])
    async def test_without_a_usable_subject_nobody_signs_in(self, recording: Recording, subject: object) -> None:
        """catalogue 45"""
        with pytest.raises(UpstreamInvalid):
            await recording.wire.with_subject(recording, subject).sign_in()

    async def test_only_promised_standard_claims_come_out(self, recording: Recording) -> None:
        found = (await recording.sign_in()).identity
        offered = {offer.claim for offer in recording.provider(recording.http()).offers}
        assert offered == set(recording.preset.fields)
        assert set(found.claims) <= offered <= set(LABELS)
        assert all(found.claims.values())

    async def test_every_raw_key_is_accounted_for(self, recording: Recording) -> None:
        """A key that is neither read nor listed as ignored fails here until somebody decides."""
        known = recording.wire.mapped(recording) | recording.module.IGNORED
        answers = [recording.raw[part] for part in recording.wire.people if part in recording.raw]
        assert answers
        for answer in answers:
            assert set(answer) <= known, f"{sorted(set(answer) - known)} is news"
        assert "blood_type" not in known

    async def test_what_nobody_decided_about_goes_nowhere(self, recording: Recording) -> None:
        for part in recording.wire.people:
            if part not in recording.raw:
                continue
            found = await recording.changed(part, blood_type="canary-0", role="canary-admin").sign_in()
            assert "canary" not in str(sorted(found.identity.claims.values()))
            assert not {"blood_type", "role"} & set(found.identity.claims)

    async def test_nothing_secret_shows_in_anything_printed(self, recording: Recording) -> None:
        """catalogue 152: neither provider, preset, attempt, identity, tokens nor errors print a value."""
        http = recording.http()
        provider = recording.provider(http)
        found = await provider.identify(recording.attempt(), recording.callback())
        shown = (
            f"{provider!r} {recording.preset!r} {recording.attempt()!r} {found!r} {found.identity!r} {found.tokens!r}"
        )
        for fault in recording.faults:
            with pytest.raises(UpstreamInvalid) as caught:
                await fault.spoil(recording).sign_in()
            shown += f" {caught.value!r} {caught.value} {caught.value.public} {caught.value.detail}"
        for secret in recording.secrets():
            assert secret not in shown

    async def test_it_says_whether_it_can_be_used(self, recording: Recording) -> None:
        """catalogue 172: used in the background; an outage is an `UpstreamUnavailable` and nothing else."""
        await recording.provider(recording.http()).check()
        if not recording.wire.is_one:
            await recording.provider(ScriptedHTTP({})).check()
            return
        with pytest.raises(UpstreamUnavailable):
            await recording.provider(ScriptedHTTP({})).check()


class TestCodeContract:
    """Rules that hold for every provider whose answer is a code."""

    @pytest.fixture(params=CODES)
    def recording(self, request: pytest.FixtureRequest) -> Recording:
        return Recording.read(request.param)

    async def test_the_request_carries_state_and_the_exact_redirect_address(self, recording: Recording) -> None:
        """catalogue 32, 36"""
        attempt = recording.attempt()
        _, query = await recording.url()
        assert query["state"] == attempt.state
        assert query["redirect_uri"] == attempt.redirect_uri
        assert query["response_type"] == "code"
        assert query["client_id"] == recording.client_id

    async def test_the_bindings_that_a_kind_declares_are_there(self, recording: Recording) -> None:
        """catalogue 36, 37: `state`, and at least one more that the provider itself checks or signs."""
        declared = recording.bindings
        assert "state" in declared
        assert declared & {"pkce", "nonce", "token_inspection", "signed_assertion"}
        attempt = recording.attempt()
        _, query = await recording.url()
        http = recording.http()
        await recording.sign_in(http)
        assert ("code_challenge" in query) is ("pkce" in declared)
        assert ("nonce" in query) is ("nonce" in declared)
        if "pkce" in declared:
            assert (query["code_challenge"], query["code_challenge_method"]) == (
                challenge_of(attempt.code_verifier),
                "S256",
            )
            assert http.only(recording.wire.token_path(recording)).form["code_verifier"] == attempt.code_verifier
        if "nonce" in declared:
            assert query["nonce"] == attempt.nonce
        if "appsecret_proof" in declared:
            calls = [asked for asked in http.asked if asked.path != recording.wire.token_path(recording)]
            assert calls
            assert all(re.fullmatch(r"[0-9a-f]{64}", asked.query["appsecret_proof"]) for asked in calls)
        if "token_inspection" in declared:
            assert any(asked.query.get("input_token") == recording.raw["token"]["access_token"] for asked in http.asked)

    async def test_the_code_is_redeemed_once_at_the_address_it_was_made_for(self, recording: Recording) -> None:
        """catalogue 37: with the redirect address of the attempt, by POST, and the secret in no address."""
        http = recording.http()
        await recording.sign_in(http)
        asked = http.only(recording.wire.token_path(recording))
        assert (asked.method, asked.form["code"], asked.form["redirect_uri"]) == (
            "POST", CODE, recording.attempt().redirect_uri,
        )  # fmt: skip
        hidden = [CODE, *filter(None, [recording.preset.client_secret.reveal()])]
        assert not [one for one in http.asked if any(word in one.url for word in hidden)]

    @pytest.mark.parametrize("issuer", ["", "https://evil.test", "https://op.example/"])
    async def test_a_response_issuer_that_is_not_theirs_is_refused(self, recording: Recording, issuer: str) -> None:
        """catalogue 39, 40: before the code goes anywhere; whether or not the provider usually sends one."""
        http = recording.http()
        for callback in (
            recording.callback(iss=issuer),
            recording.callback(code=None, error="access_denied", iss=issuer),
        ):
            with pytest.raises(UpstreamInvalid, match="response_iss"):
                await recording.provider(http).identify(recording.attempt(), callback)
        assert http.count(recording.wire.token_path(recording)) == 0

    async def test_only_a_code_is_redeemed(self, recording: Recording) -> None:
        """catalogue 50"""
        http = recording.http()
        for straight in ("access_token", "id_token", "signed_request"):
            with pytest.raises(UpstreamInvalid, match="code"):
                await recording.provider(http).identify(
                    recording.attempt(), recording.callback(code=None, **{straight: "x.y.z"})
                )
        assert http.count(recording.wire.token_path(recording)) == 0

    @pytest.mark.parametrize("said", [True, "true", False, "false", "True", 1, "", None])
    async def test_an_address_counts_as_proved_only_if_said_and_trusted(
        self, recording: Recording, said: object
    ) -> None:
        """catalogue 113, 114: never where nobody trusts the provider's word, and never on any other word than true."""
        if EMAIL not in recording.preset.fields:
            assert EMAIL not in (await recording.sign_in()).identity.claims
            return
        address = "somebody@gmail.com"
        for trusts in (True, False):
            one = recording.wire.with_email(recording.with_preset(trusts_email=trusts), address, said)
            found = (await one.sign_in()).identity
            assert found.claims[EMAIL] == address
            proved = trusts and recording.may_vouch and (said is True or said == "true")
            assert (EMAIL in found.verified) is proved

    async def test_what_was_declined_is_named_as_declined(self, recording: Recording) -> None:
        offers = recording.provider(recording.http()).offers
        for scope in {offer.scope for offer in offers} if recording.wire.can_decline else ():
            found = (await recording.wire.with_declined(recording, scope).sign_in()).identity
            gone = {offer.claim for offer in offers if offer.scope == scope}
            assert gone <= found.declined
            assert not gone & set(found.claims)
            assert scope not in found.granted

    async def test_signing_in_asks_for_no_posting_and_for_no_more_than_is_promised(self, recording: Recording) -> None:
        """catalogue 189"""
        provider = recording.provider(recording.http())
        _, query = await recording.url()
        asked = query["scope"].split()
        assert tuple(asked) == provider.sign_in_scopes
        assert not [scope for scope in asked if is_posting_scope(scope)]
        needed = {offer.scope for offer in provider.offers}
        assert set(asked) - needed <= {"openid", "public_profile", *recording.preset.scopes}


@pytest.mark.parametrize(("name", "fault"), FAULTS)
async def test_what_nobody_vouches_for_signs_nobody_in(name: str, fault: Fault) -> None:
    """catalogue 37, 38, 42, 43, 44, 46, 48, 58, 59, 60, 61, 62, 70: each fault by the check that is there for it"""
    with pytest.raises(UpstreamInvalid) as caught:
        await fault.spoil(Recording.read(name)).sign_in()
    assert caught.value.check == fault.check


@pytest.mark.parametrize("reason", ["timeout", "large", "connect", "tls", "broken"])
@pytest.mark.parametrize(("name", "path"), ANSWERS)
async def test_an_answer_that_does_not_come_is_an_outage(name: str, path: str, reason: str) -> None:
    """catalogue 172, 174: too late, too large or not at all, at every address that a sign-in asks."""
    recording = Recording.read(name)
    recording = recording.wire.asking_everything(recording)
    http = recording.http()
    http.script[path] = UpstreamUnavailable(f"{reason} upstream.test")
    provider = recording.provider(http)

    async def sign_in() -> None:
        await provider.authorization_url(recording.attempt())
        await provider.identify(recording.attempt(), recording.callback())

    with pytest.raises(UpstreamUnavailable) as caught:
        await sign_in()
    assert caught.value.detail.startswith(reason)
    assert http.count(path) >= 1
    assert http.count(recording.wire.token_path(recording)) <= 1


class TestRenewing:
    """Rules that hold for every provider whose access tokens can be had anew (RFC 6749 §6)."""

    @pytest.mark.parametrize("name", RENEWING)
    async def test_tokens_are_renewed_with_the_last_refresh_token(self, name: str) -> None:
        recording = Recording.read(name).changed("token", refresh_token="first")
        tokens = (await recording.sign_in()).tokens
        assert tokens is not None
        answered = recording.changed("token", refresh_token="second", access_token="renewed")
        for refresh in ("first", "second"):
            http = answered.http()
            provider = answered.provider(http)
            assert isinstance(provider, Renews)
            tokens = await provider.renew(tokens)
            form = http.only(recording.wire.token_path(recording)).form
            assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", refresh)
            assert (tokens.access_token, tokens.refresh_token) == ("renewed", "second")

    @pytest.mark.parametrize("name", NAMING)
    async def test_tokens_of_somebody_else_are_refused(self, name: str) -> None:
        """OpenID Connect Core §12.2"""
        recording = Recording.read(name).changed("token", refresh_token="first")
        tokens = (await recording.sign_in()).tokens
        assert tokens is not None
        other = recording.wire.with_subject(recording, "somebody-else")
        provider = other.provider(other.http())
        assert isinstance(provider, Renews)
        with pytest.raises(UpstreamInvalid, match="renewed_sub"):
            await provider.renew(tokens)

    def test_both_families_of_them_are_among_the_recordings(self) -> None:
        assert {"google", "linkedin", "apple", "microsoft"} <= set(NAMING)
        assert {"x", "discord"} <= set(RENEWING) - set(NAMING)

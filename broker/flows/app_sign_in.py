"""Sign-ins that a site's app brings: its provider's SDK said who it is, where no browser of ours was.

The app pushes its authorization request together with the provider's token. What the token says is kept for a minute, under
a key that stands in the reference alone; the first browser that opens the reference takes it out. Nobody is signed in by
that: whoever has a reference could have sent it to somebody else, so the person at that browser is asked first
(`SignInFlow.confirmed`; login CSRF, RFC 9700 §4.7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from broker.domain import base64url
from broker.domain.checks.dpop import Shown
from broker.domain.client import Client
from broker.domain.ports import Clock, Durable, Entropy, Replay, Transactions
from broker.domain.provider import Brought, Provider, TakesAppTokens
from broker.domain.transaction import SignInTransaction, TransactionPurpose
from broker.domain.values import ProviderId
from broker.errors import InvalidAppToken, InvalidRequest, NotFound, SignInElsewhere, UpstreamInvalid
from broker.flows.pushed import LIFETIME, PREFIX, PushedRequests
from broker.flows.transactions import Seal

ID_TOKEN: Final = "id_token"
VERIFIER: Final = "nonce_verifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSignIns:
    pushed: PushedRequests
    durable: Durable
    store: Transactions
    seal: Seal
    replay: Replay
    providers: Mapping[ProviderId, Provider]
    """Those for everybody: an app cannot say who is in front of it before it has signed them in."""
    clock: Clock
    entropy: Entropy

    def source(self, provider: ProviderId) -> TakesAppTokens:
        """Raises `NotFound` where no app may bring anybody from there."""
        found: object = self.providers.get(provider)
        if found is None:
            public = "No provider for everybody has the id in this address. Ask the admin for the right one."
            raise NotFound(detail="no provider whose tokens apps may bring", public=public)
        if not isinstance(found, TakesAppTokens) or not found.takes_app_tokens:
            public = f"Provider {provider} takes no tokens of apps: limited_login of a Facebook provider is off. Ask the admin."
            raise NotFound(detail="no provider whose tokens apps may bring", public=public)
        return found

    async def push(
        self,
        client: Client,
        provider: ProviderId,
        params: Mapping[str, str],
        form: Mapping[str, str],
        *,
        address: str,
        shown: Shown | None = None,
    ) -> str:
        """Check a request and the token beside it, and keep both: the `request_uri`.

        `params`: the authorization request, as `read_params` gives it; `form`: everything that was sent. The token is spent last, so
        that a mistake in the request costs nobody a second sign-in at the provider. Raises what `PushedRequests.push` does,
        `NotFound`, `InvalidAppToken`, `UpstreamUnavailable`.
        """
        source = self.source(provider)
        token, verifier = form.get(ID_TOKEN, ""), form.get(VERIFIER, "")
        for name, value in ((ID_TOKEN, token), (VERIFIER, verifier)):
            if not value:
                raise InvalidRequest(detail=f"{name} missing", public=f"The parameter {name} is missing.")
        params = await self.pushed.checked(client, params, address=address, shown=shown)
        _check_possible(params)
        brought = await self._read(source, token, verifier)
        reference = self.entropy.token(32)
        await self._keep(brought, reference)
        return await self.pushed.keep(client, params, reference, brings=True)

    async def _read(self, source: TakesAppTokens, token: str, verifier: str) -> Brought:
        try:
            brought = await source.read_app_token(token, verifier)
        except UpstreamInvalid as error:
            if error.check.startswith("jwks"):  # the provider's own mistake: the token may be good
                raise
            raise InvalidAppToken(detail=error.check, public=_words(error.check)) from error
        if not await self.replay.first_time(brought.once.key, brought.once.until):
            raise InvalidAppToken(detail="replayed", public=_words("replayed"))
        return brought

    async def _keep(self, brought: Brought, reference: str) -> None:
        now = self.clock.now()
        carrier = SignInTransaction(
            id=_name(reference),
            purpose=TransactionPurpose.SIGN_IN,
            created_at=now,
            expires_at=now + LIFETIME,
            brought=brought,
        )
        await self.store.save(carrier.id, self.seal.to_store(carrier, _key(reference)), carrier.expires_at)

    async def take(self, request_uri: str, transaction: SignInTransaction) -> SignInTransaction:
        """The transaction with whom the app brought. The first browser to ask has it, and no other ever.

        Raises `SignInElsewhere` for every other.
        """
        reference = request_uri.removeprefix(PREFIX)
        name = _name(reference)
        sealed = await self.store.load(name, self.clock.now())
        carrier = self.seal.from_store(sealed, _key(reference), name) if sealed is not None else None
        if carrier is None or carrier.brought is None or not await self.store.delete(name):
            raise SignInElsewhere(detail="what an app brought was taken out before")
        identity = carrier.brought.identity
        known = await self.durable.accounts.by_identity(identity.key)
        return replace(
            transaction, brought=carrier.brought, brought_known=known is not None, provider=identity.provider
        )


def _check_possible(params: Mapping[str, str]) -> None:
    """What no token from elsewhere can do: go without a page, or show that somebody was checked just now (decision 26)."""
    if "code_challenge" not in params:
        said = "A code_challenge (PKCE, S256) is needed with a token."
        raise InvalidRequest(detail="no code_challenge with a token", public=said)
    prompt = params.get("prompt", "").split()
    if "none" in prompt:
        said = "prompt=none cannot be combined with a token: the person is asked first."
        raise InvalidRequest(detail="prompt none with a token", public=said)
    if "login" in prompt or "max_age" in params:
        said = "prompt=login and max_age need a new sign-in at the provider: send the person to /authorize without a token."
        raise InvalidRequest(detail="new sign-in asked with a token", public=said)


_WORDS: Final[Mapping[str, str]] = {
    "replayed": "The id_token was used before: sign in with the SDK again.",
    "exp": "The id_token has expired: sign in with the SDK again.",
    "iat": "The id_token is older than 10 minutes, or from the future: sign in with the SDK again.",
    "nonce": "The nonce of the id_token is not the S256 hash of nonce_verifier.",
    "nonce_verifier": "nonce_verifier has to be 43 to 128 letters, digits, -, ., _ or ~, as a code_verifier is.",
    "aud": "The id_token is for another app than the one that is configured here.",
    "azp": "The id_token is for another app than the one that is configured here.",
    "iss": "The id_token is from another issuer.",
    "encrypted": "The id_token is encrypted: send the signed one, as the SDK gives it.",
    "alg": "The id_token is not signed with RS256.",
    "kid": "The id_token is signed with a key that the provider does not publish for such sign-ins.",
    "signature": "The signature of the id_token is wrong.",
}
"""For whoever writes the app; whatever else is wrong, no app of theirs made it so."""


def _words(check: str) -> str:
    return _WORDS.get(check, InvalidAppToken.public)


def _key(reference: str) -> str:
    """What opens it: made of the reference alone, so that whoever reads the store reads nobody."""
    return base64url.encoded(hashlib.sha256(f"opens {reference}".encode("utf-8", "surrogatepass")).digest())


def _name(reference: str) -> str:
    return f"brought:{hashlib.sha256(reference.encode('utf-8', 'surrogatepass')).hexdigest()}"

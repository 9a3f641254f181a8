"""One provider, checked as far as it goes without a person: it is really asked, with nothing that opens anything.

Who we are is found out by a code that was never given: a provider that knows us complains of the code, one that does not
complains of us (RFC 6749 §5.2: `invalid_grant`, `invalid_client`). A wrong secret beside ours tells whether that means
anything there.
"""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from broker.chance import SystemClock, SystemEntropy
from broker.cli.findings import Finding
from broker.cli.logos import findings as findings_of_logo
from broker.cli.own_server import HOOKS, discovery, takes
from broker.domain.provider import Attempt, Provider, TakesAppTokens, our_keys_of, requests_of
from broker.domain.trial import Exchange, failure_of
from broker.domain.values import Secret
from broker.egress import Egress, Exemption
from broker.errors import BrokerError, UpstreamError
from broker.settings import Settings
from broker.watching import Watched, watching
from broker.web.pages.words import FAILURES
from providers import load
from providers._id_token import SKEW
from providers.facebook import Facebook
from providers.preset import NAMELESS, PRIVATE_KEY, Preset

SOON: Final = timedelta(days=7)
"""A certificate that is not renewed by then was forgotten."""
_WAITING: Final = frozenset(
    {"login_required", "interaction_required", "consent_required", "account_selection_required"}
)
"""What a provider answers without a page when nobody is signed in there: it would have asked (OpenID Connect Core §3.1.2.6)."""
_WITHOUT_PAGES: Final = frozenset({"openid_connect", "microsoft"})
"""Kinds that can be asked not to show any page."""
_NOT_REGISTERED: Final = "-not-registered"
_REFUSED: Final = frozenset({"code", "redirect", "refused"})
CLIENT_ERROR: Final = 400


async def findings(settings: Settings, preset: Preset, *, offline: bool) -> list[Finding]:
    """Everything that can be found out about a provider that is configured."""
    egress = Egress(exemptions=[Exemption.parse(one.address, one.ca_file) for one in settings.broker.egress])
    check = _Check(settings, preset, egress)
    try:
        return [finding async for finding in check.all(offline=offline)]
    finally:
        await egress.aclose()


def words_for(detail: str) -> str:
    """What went wrong, what to do, and what the log calls it."""
    what, fix = FAILURES[failure_of(detail)]
    return f"{what} {fix} ({detail})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """How a provider's page for signing in answered."""

    status: int = 0
    place: str = ""
    """Where it leads to, without what differs each time."""
    back: Mapping[str, str] | None = None
    """What it sent back to us."""
    failure: str = ""


@dataclass(slots=True)
class _Check:
    settings: Settings
    preset: Preset
    egress: Egress

    @property
    def redirect(self) -> str:
        return f"{self.settings.broker.public_url}/callback/{self.preset.id}"

    def provider(self, **changes: Any) -> Provider:
        preset = replace(self.preset, state="on", **changes)
        return load([preset], Watched(self.egress), SystemClock()).providers[preset.id]

    def attempt(self, provider: Provider, redirect: str) -> Attempt:
        entropy = SystemEntropy()
        return Attempt(
            provider=provider.id,
            redirect_uri=redirect,
            state=entropy.token(24),
            nonce=entropy.token(24),
            code_verifier=entropy.token(48),
            scopes=provider.sign_in_scopes,
        )

    async def all(self, *, offline: bool) -> AsyncIterator[Finding]:
        """One after the other; what cannot be asked any more is left out."""
        for finding in self.told():
            yield finding
        if self.preset.discovery != "off":
            yield Finding(None, "There is no one provider to ask: whoever signs in names theirs.")
            yield Finding(None, self.what_may_be_named())
        else:
            async for finding in self.asked():
                yield finding
        for finding in await findings_of_logo(self.settings, self.preset.logo, offline=offline):
            yield finding
        if not offline:
            for finding in self.own():
                yield finding

    def what_may_be_named(self) -> str:
        """Where the servers that people name may be, and what else has to be written for one on this machine."""
        name, ours = self.preset.id, self.settings.broker
        if self.preset.sandbox:
            return "Plain http and servers that [egress] names in doorward.toml are let in too: it is a sandbox."
        told = "People can name servers on the public internet alone, and those are asked by https."
        if ours.mode != "development":
            return told
        lent = [one.address for one in ours.egress if Exemption.parse(one.address).host not in self.preset.named_hosts]
        there = f"For {_and(lent)}, which [egress] names," if lent else "For one on this machine"
        beside = "" if lent else ' and [egress."localhost:9311"], with its own port, in doorward.toml'
        return f"{told} {there} write sandbox = true in [{name}]{beside}."

    async def asked(self) -> AsyncIterator[Finding]:
        """What the provider itself says."""
        provider = self.provider()
        with watching() as seen:
            try:
                await provider.check()
            except UpstreamError as error:
                yield Finding(False, f"{self.preset.label} cannot be used. {self.with_difference(error.detail, seen)}")
            else:
                yield Finding(True, f"{self.preset.label} answers{_times(seen)}.")
                for part in self.after(provider):
                    async for finding in part:
                        yield finding
        async for finding in self.certificates(seen):
            yield finding
        for finding in clock_of(seen):
            yield finding

    def after(self, provider: Provider) -> Iterator[AsyncIterator[Finding]]:
        """What is asked of a provider that answers."""
        yield self.described(provider)
        if self.preset.request_object is None:
            yield self.leaving(provider)
        if self.preset.kind not in NAMELESS and self.preset.token_endpoint_auth_method != PRIVATE_KEY:
            yield self.secret(provider)
        if isinstance(provider, Facebook):
            yield self.facebook(provider)
        if isinstance(provider, TakesAppTokens) and provider.takes_app_tokens:
            yield self.app_tokens(provider)

    def told(self) -> Iterator[Finding]:
        if self.preset.kind in NAMELESS:
            yield Finding(None, f"Nothing is registered there. People come back to {self.redirect}.")
        else:
            yield Finding(None, f"Registered there must be, to the letter: {self.redirect}")
            if self.preset.rp_initiated_logout:
                back = f"{self.settings.broker.public_url}/signed-out/{self.preset.id}"
                yield Finding(None, f"And as post-logout redirect address: {back}")
            yield from self.signing()
        states = {
            "on": "It is on: people see it.",
            "testers": "It is for testers: people signed in as tester, admin or owner see it, and nobody else.",
            "admins": "It is for admins: people signed in as admin or owner see it, and nobody else.",
            "test": f"It is in test: nobody sees it. `doorward provider try {self.preset.id}` lets you sign in there.",
            "off": 'It is off. Write state = "test" to try it, "on" for everybody.',
        }
        yield Finding(None, states[self.preset.state])

        if self.preset.secret_ends is not None:
            warning = self.preset.secret_warning(SystemClock().now().date())
            words = f"The client secret {warning} Make a new one there." if warning else ""
            yield Finding(not warning, words or f"The client secret is good until {self.preset.secret_ends}.")

    def signing(self) -> Iterator[Finding]:
        """Where it finds what shows that something is ours."""
        issuer, preset = self.settings.broker.public_url, self.preset
        if preset.wants_our_keys:
            yield Finding(None, f"It must know where our keys are (jwks_uri): {our_keys_of(issuer)}")
        if preset.request_object == "by_reference":
            where = requests_of(issuer, preset.id)
            yield Finding(None, f"It must be let to fetch, if it asks about that, whatever begins with {where}")
        if preset.request_object is not None or preset.token_endpoint_auth_method == PRIVATE_KEY:
            words = f"whether it takes what we sign, `doorward provider try {preset.id}` tells."
            yield Finding(None, f"Our keys are with the server alone: {words}")

    def with_difference(self, detail: str, seen: Sequence[Exchange]) -> str:
        """Both spellings of an issuer that differs, as nobody finds a slash by himself."""
        told = _description(seen).get("issuer")
        if failure_of(detail) == "issuer" and isinstance(told, str):
            return f"{words_for(detail)} It says {told!r}, issuer is {self.preset.issuer!r}."
        return words_for(detail)

    async def described(self, provider: Provider) -> AsyncIterator[Finding]:
        """What it says of itself, beside what stands here."""
        with watching() as seen:
            await self.provider().check()  # anew: what the first one knows is not asked for twice
        told = _description(seen)
        if not told:
            return
        missing = [scope for scope in provider.sign_in_scopes if scope not in _listed(told, "scopes_supported", scope)]
        if missing:
            yield Finding(None, f"It does not list {_and(missing)} among its scopes; what needs them may never come.")
        claims = [claim for claim in self.preset.fields if claim not in _listed(told, "claims_supported", claim)]
        if claims:
            yield Finding(None, f"It does not list {_and(claims)} among its claims; they may never come.")
        method = self.preset.token_endpoint_auth_method
        if method not in (ways := _listed(told, "token_endpoint_auth_methods_supported", method)):
            yield Finding(None, f"It lists {_and(ways)} as ways to prove ourselves, and here stands {method}.")
        ours = self.preset.signed.proofs
        if ours and ours not in (theirs := _listed(told, "token_endpoint_auth_signing_alg_values_supported", ours)):
            words = (
                f"It lists {_and(theirs)} as algorithms of such a proof, and token_endpoint_auth_signing_alg is {ours}."
            )
            yield Finding(None, words)
        ends = "end_session_endpoint" in told or "end_session" in self.preset.endpoints
        if self.preset.rp_initiated_logout and not ends:
            fix = "Write endpoints.end_session if it has one, or remove rp_initiated_logout."
            yield Finding(False, f"It names no end_session_endpoint: nobody can be sent there to sign out. {fix}")
        signed = _listed(told, "id_token_signing_alg_values_supported", *self.preset.algorithms)
        if not set(signed) & set(self.preset.algorithms):
            yield Finding(False, f"It signs with {_and(signed)}, and algorithms allows {_and(self.preset.algorithms)}.")

    async def leaving(self, provider: Provider) -> AsyncIterator[Finding]:
        """Its page for signing in: whether it knows the address that people come back to, and gives what is asked for."""
        host = urlsplit(await provider.authorization_url(self.attempt(provider, self.redirect))).netloc
        yield Finding(
            None, f"People are sent to {host}, which is asked for {_and(provider.sign_in_scopes) or 'nothing'}."
        )
        if self.preset.kind in NAMELESS:
            return
        ours = await self.ask_page(provider, self.redirect)
        if ours.back is not None:
            yield self.answered_back(ours.back)
        elif ours.failure:
            yield Finding(False, f"Its page for signing in does not answer. {words_for(ours.failure)}")
        elif ours.status >= CLIENT_ERROR:
            words = f"Its page for signing in answers {ours.status}."
            yield Finding(False, f"{words} Compare the client id, and the address that is registered there.")
        elif ours != await self.ask_page(provider, self.redirect + _NOT_REGISTERED):
            yield Finding(True, "It knows the address that people come back to: another one is answered differently.")
        else:
            yield Finding(
                None, f"Whether the address is registered there shows when somebody signs in. {self.by_trying}"
            )

    @property
    def by_trying(self) -> str:
        return f"Sign in yourself: doorward provider try {self.preset.id}."

    async def ask_page(self, provider: Provider, redirect: str) -> _Page:
        """How the page answers without anybody there, and what it sends back to us, if anything."""
        url = await provider.authorization_url(self.attempt(provider, redirect))
        if self.preset.kind in _WITHOUT_PAGES:
            url += "&prompt=none"
        try:
            answer = await Watched(self.egress).request("GET", url)
        except UpstreamError as error:
            return _Page(failure=error.detail)
        target = answer.headers.get("location", "")
        if target.startswith(redirect):
            return _Page(status=answer.status, back=dict(parse_qsl(urlsplit(target).query)))
        page = html.unescape(answer.body.decode("utf-8", "replace"))
        if self.preset.response_mode == "form_post" and f'"{redirect}"' in page:
            return _Page(status=answer.status, back={})
        parts = urlsplit(target)
        return _Page(status=answer.status, place=f"{parts.netloc}{parts.path}")

    @staticmethod
    def answered_back(back: Mapping[str, str]) -> Finding:
        error = back.get("error", "login_required")
        if error in _WAITING:
            return Finding(True, "It knows the address that people come back to, and gives what is asked for.")
        return Finding(False, f"It knows the address that people come back to. {words_for(f'authorization {error}')}")

    async def secret(self, provider: Provider) -> AsyncIterator[Finding]:
        """A code that was never given: is it the code that is refused, or we?"""
        if self.preset.token_endpoint_auth_method == "none":
            yield Finding(None, "It knows us by the client id alone: there is no secret.")
            return
        detail = await self.redeem(provider)
        found = failure_of(detail)
        if found not in _REFUSED:
            yield Finding(
                False if found != "unknown" else None, f"Asked with a code that was never given: {words_for(detail)}"
            )
            return
        if found == "redirect":
            yield Finding(False, words_for(detail))
        wrong = await self.redeem(self.provider(**self.wrong))
        if failure_of(wrong) in {"secret", "client_id"}:
            yield Finding(
                True, f"It takes the client secret: a wrong one is refused ({wrong}), and ours is not ({detail})."
            )
        else:
            words = (
                f"Whether the secret is right shows when somebody signs in: a wrong one is answered alike ({wrong})."
            )
            yield Finding(None, f"{words} {self.by_trying}")

    @property
    def wrong(self) -> Mapping[str, Any]:
        """What makes us somebody else. Apple's secret is made from a key, which must stay one: it is called by another name."""
        if self.preset.kind == "apple":
            return {"key_id": "0" * len(self.preset.key_id)}
        return {"client_secret": Secret(SystemEntropy().token(32))}

    async def redeem(self, provider: Provider) -> str:
        """What is said to a code that was never given."""
        attempt = self.attempt(provider, self.redirect)
        answer = {"code": SystemEntropy().token(24), "state": attempt.state}
        try:
            await provider.identify(attempt, answer)
        except BrokerError as error:
            if not error.detail.startswith("response_iss"):
                return error.detail
        else:
            return "taken"
        try:
            await provider.identify(attempt, {**answer, "iss": self.preset.issuer})
        except BrokerError as error:
            return error.detail
        return "taken"

    async def facebook(self, provider: Facebook) -> AsyncIterator[Finding]:
        """The app's own settings."""
        try:
            told = await provider.settings()
        except UpstreamError as error:
            yield Finding(None, f"The app's settings cannot be read. {words_for(error.detail)}")
            return
        issuer, host = self.settings.broker.public_url, urlsplit(self.settings.broker.public_url).hostname or ""
        yield Finding(True, f"The app is called {told.get('name')!r} there: people read this name.")
        hook = f"{issuer}/hooks/{self.preset.id}/deauthorize"
        set_there = told.get("deauth_callback_url")
        if set_there == hook:
            yield Finding(True, "Facebook tells us when somebody removes the app.")
        else:
            have = f"there stands {set_there}" if set_there else "there stands nothing"
            yield Finding(
                False,
                f"Facebook cannot tell us that somebody removes the app: {have}. Enter {hook} as deauthorize callback URL.",
            )
        domains = [one for one in told.get("app_domains") or [] if isinstance(one, str)]
        if not any(host == one or host.endswith(f".{one}") for one in domains):
            yield Finding(None, f"{host} is not among the app domains ({_and(domains) or 'none'}).")
        if not told.get("privacy_policy_url"):
            yield Finding(
                False, f"The app has no privacy policy URL, without which it cannot go live. Enter {issuer}/privacy."
            )
        yield Finding(
            None, "Whether the app is live Facebook shows to its admins alone: until it is, only they can sign in."
        )

    async def app_tokens(self, provider: TakesAppTokens) -> AsyncIterator[Finding]:
        """The keys by which tokens are checked that apps bring; they lie elsewhere than all the rest."""
        where = f"{self.settings.broker.public_url}/par/{self.preset.id}/limited-login"
        try:
            await provider.check_app_tokens()
        except UpstreamError as error:
            yield Finding(
                False,
                f"The keys of Limited Login cannot be had, so no app can bring anybody. {words_for(error.detail)}",
            )
        else:
            yield Finding(True, f"The keys of Limited Login are there. Apps bring its tokens to {where}.")

    async def certificates(self, seen: Sequence[Exchange]) -> AsyncIterator[Finding]:
        """Until when those of its hosts are good that were asked."""
        now = SystemClock().now()
        for host in dict.fromkeys(one.host for one in seen if one.status is not None and one.is_tls):
            name, _, port = host.partition(":")
            try:
                ends = await self.egress.certificate_ends(name, int(port or 443))
            except UpstreamError as error:
                yield Finding(False, f"The certificate of {host}: {words_for(error.detail)}")
                continue
            is_fine = ends - now > SOON
            words = "" if is_fine else " That is soon: tell whoever runs it."
            yield Finding(is_fine, f"The certificate of {host} is good until {ends:%Y-%m-%d}.{words}")

    def own(self) -> Iterator[Finding]:
        """Our own side: where it sends people and its messages to."""
        yield (found := discovery(self.settings))
        if found.is_fine is False:
            return
        yield takes(self.redirect, is_off=self.preset.state == "off")
        if HOOKS.get(self.preset.kind) and self.preset.state != "on":
            words = "Where it tells us things by itself there is an answer once it is on: look again then."
            yield Finding(None, words)
            return
        for kind in HOOKS.get(self.preset.kind, ()):
            yield takes(f"{self.settings.broker.public_url}/hooks/{self.preset.id}/{kind}", posts=True)


def clock_of(seen: Sequence[Exchange]) -> Iterator[Finding]:
    """How this machine's clock differs from the provider's; nothing where no answer had a date.

    The smallest difference counts: an answer out of somebody's cache has an old date (RFC 9111 §5.1).
    """
    skews = [skew for skew in map(_skew, seen) if skew is not None]
    if not skews:
        return
    skew = min(skews, key=abs)
    seconds = round(abs(skew.total_seconds()))
    if abs(skew) <= timedelta(seconds=2):
        yield Finding(True, "This machine's clock is right.")
    else:
        words = f"This machine's clock is {seconds} s {'ahead of' if skew > timedelta() else 'behind'} theirs."
        is_fine = abs(skew) < SKEW
        yield Finding(
            is_fine, words if is_fine else f"{words} Answers are refused as too old or from the future. Set it by NTP."
        )


def _skew(one: Exchange) -> timedelta | None:
    if "date" not in one.headers or one.at is None:
        return None
    try:
        theirs: datetime = parsedate_to_datetime(one.headers["date"])
        return one.at - theirs - timedelta(seconds=int(one.headers.get("age", "0")))
    except (ValueError, TypeError, OverflowError):
        return None


def _description(seen: Sequence[Exchange]) -> Mapping[str, Any]:
    """The provider's description of itself, if it was asked for (OpenID Connect Discovery §3)."""
    for one in seen:
        try:
            told = json.loads(one.body)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict) and "authorization_endpoint" in told:
            return told
    return {}


def _listed(told: Mapping[str, Any], name: str, *otherwise: str) -> tuple[str, ...]:
    """A list of its description; what is not told, or in no usable way, is not held against it."""
    value = told.get(name)
    return tuple(map(str, value)) if isinstance(value, list) else otherwise


def _and(words: Sequence[str]) -> str:
    return ", ".join(words)


def _times(seen: Sequence[Exchange]) -> str:
    return f" ({', '.join(f'{one.milliseconds} ms' for one in seen)})" if seen else ""

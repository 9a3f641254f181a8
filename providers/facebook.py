"""Sign in with Facebook: the manual, server-side flow (developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow).

Facebook is not an OpenID provider here: no nonce comes back and PKCE beside a secret is unverified, so an answer is tied
to us by other means (decision 23): `state`, an exact redirect address, the secret, `appsecret_proof` on every Graph call,
and `debug_token`, which says for which app and which person a token was made.

The key of a person is issuer and id, where the issuer is the dialog's origin plus `/app/<app id>`: Facebook numbers a
person differently in every app, and a sandbox on another origin can never produce an identity of the real one.

Facebook says nothing about whether an e-mail address was proved, so it never counts as verified.

Limited Login (developers.facebook.com/docs/facebook-login/limited-login) is how its SDK for iOS signs people in who are not
to be tracked: no access token, only an ID token, signed with keys of a host of its own. Its `sub` is the same number, so that
whoever comes by it is the same person here.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

from broker.domain.checks.token import challenge_of, is_code_verifier
from broker.domain.claims import EMAIL, FAMILY_NAME, GIVEN_NAME, NAME, PICTURE
from broker.domain.ports import Clock
from broker.domain.provider import Attempt, Brought, Identified, Identity, OfferedField, Once, UpstreamTokens
from broker.domain.removal import Removed
from broker.domain.values import ClaimName, IdentityKey, ProviderId
from broker.errors import Problem, UpstreamInvalid, UpstreamRejected
from providers._claims import hint, offers_of, read_claims, scopes_for
from providers._described import Described
from providers._findings import Findings
from providers._graph import (
    LATEST,
    TOKEN_NEEDED,
    GraphFault,
    proof_of,
    read_code,
    read_graph,
    version_warning,
)
from providers._http import JSON, UpstreamHTTP, UpstreamResponse, post_form
from providers._id_token import OLDEST_ISSUE, SKEW, Expected, VerifiedClaims, read_subject, read_time, verify_id_token
from providers._keys import IssuerKeys
from providers._oauth import (
    TokenAnswer,
    build_authorization_url,
    check_response_issuer,
    read_callback,
    read_token,
)
from providers._signed_request import read_signed_request
from providers.preset import Preset

BINDINGS: Final = frozenset({"state", "appsecret_proof", "token_inspection"})

_BIRTHDATE: Final = ClaimName("birthdate")
SCOPE_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "public_profile",
    GIVEN_NAME: "public_profile",
    FAMILY_NAME: "public_profile",
    ClaimName("middle_name"): "public_profile",
    ClaimName("nickname"): "public_profile",
    PICTURE: "public_profile",
    EMAIL: "email",
    _BIRTHDATE: "user_birthday",
    ClaimName("gender"): "user_gender",
    ClaimName("profile"): "user_link",
}
"""The permission each claim needs (developers.facebook.com/docs/permissions)."""
SETTINGS: Final = ("name", "app_domains", "deauth_callback_url", "privacy_policy_url")
"""What is read of an app's own settings. Whether it is live stands in none that is documented."""
FIELD_OF: Final[Mapping[ClaimName, str]] = {
    NAME: "name",
    GIVEN_NAME: "first_name",
    FAMILY_NAME: "last_name",
    ClaimName("middle_name"): "middle_name",
    ClaimName("nickname"): "short_name",
    PICTURE: "picture.width(320).height(320)",
    EMAIL: "email",
    _BIRTHDATE: "birthday",
    ClaimName("gender"): "gender",
    ClaimName("profile"): "link",
}
"""The Graph field each claim is read from; only promised ones are asked for."""
IGNORED: Final = frozenset({"id", "name_format", "age_range", "location", "hometown"})
"""Fields that may arrive and are left where they are."""

LIMITED_KEYS: Final = "https://limited.facebook.com/.well-known/oauth/openid/jwks/"
"""Of Limited Login; the keys of the other OpenID tokens lie elsewhere (docs, "OIDC Token for Limited Login")."""
_ENCRYPTED_PARTS: Final = 5

_VERSION = re.compile(r"v\d{1,3}\.\d")
_US_DATE = re.compile(r"(?:(\d\d)/(\d\d))?(?:/?(\d{4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What `debug_token` says of a token that is ours and valid."""

    user_id: str = field(repr=False)
    auth_nonce: str | None = field(repr=False)


class Facebook(Described):
    """Facebook Login for one app."""

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        self._preset, self._http, self._clock = preset, http, clock
        self._offers = offers_of(preset.fields, SCOPE_OF)
        self._scopes = (
            tuple(dict.fromkeys(("public_profile", *preset.scopes)))
            if preset.scopes
            else (scopes_for(self._offers, "public_profile"))
        )
        ends, version = preset.endpoints, preset.graph_version
        self._dialog = ends.get("authorization", f"https://www.facebook.com/{version}/dialog/oauth")
        # With or without the version: both are how people write this address down.
        base = ends.get("graph", "https://graph.facebook.com").rstrip("/").removesuffix(f"/{version}")
        self._graph = f"{base}/{version}"
        self._token = ends.get("token", f"{self._graph}/oauth/access_token")
        dialog = urlsplit(self._dialog)
        self._origin = f"{dialog.scheme}://{dialog.netloc}"
        self._issuer = f"{self._origin}/app/{preset.client_id}"
        self._app_token_in_query = False
        keys = urlsplit(ends.get("jwks", LIMITED_KEYS))
        # Which of its names stands in such tokens is documented nowhere, and the SDK takes any: the keys say who signed.
        names = {self._origin, f"{keys.scheme}://{keys.netloc}", self._origin.replace("https://www.", "https://")}
        self._limited_issuers = tuple(sorted(names))
        self._limited_keys = IssuerKeys(http, self._limited_keys_address, clock)

    async def _limited_keys_address(self) -> str:
        return self._preset.endpoints.get("jwks", LIMITED_KEYS)

    @property
    def takes_app_tokens(self) -> bool:
        return self._preset.limited_login

    async def read_app_token(self, token: str, verifier: str) -> Brought:
        """Who signed in by Limited Login (docs, "Validating the Limited Login OIDC Token"); see `TakesAppTokens`."""
        if not is_code_verifier(verifier):
            raise UpstreamInvalid("nonce_verifier")
        if token.count(".") == _ENCRYPTED_PARTS - 1:
            raise UpstreamInvalid("encrypted")
        now = self._clock.now()
        expected = Expected(
            issuer=self._origin,
            also=self._limited_issuers,
            client_id=self._preset.client_id,
            nonce=challenge_of(verifier),
            algorithms=("RS256",),
        )
        said = await verify_id_token(token, expected, self._limited_keys, now)
        made = read_time(said.claims, "iat") or now
        identity = read_limited(
            self._preset.id, IdentityKey(issuer=self._issuer, subject=said.subject), self._offers, said
        )
        return Brought(identity=identity, at=min(made, now), once=once_of(said, made))

    async def check_app_tokens(self) -> None:
        """The keys of Limited Login can be had."""
        await self._limited_keys.load()

    @property
    def issuer(self) -> str:
        return self._issuer

    @property
    def sign_in_scopes(self) -> tuple[str, ...]:
        return self._scopes

    async def authorization_url(self, attempt: Attempt) -> str:
        """The login dialog (manual flow, "Invoking the login dialog")."""
        return build_dialog_url(self._preset, self._dialog, attempt)

    async def identify(self, attempt: Attempt, callback: Mapping[str, str]) -> Identified:
        """Who came back: one exchange, then token inspection, person and permissions at the same time.

        A token of an answer that fails is not given back: Facebook ends no single token, only all that the person allowed us.
        It would tell us that they took us out, and who has an account here would lose this way in.
        """
        check_response_issuer(callback, self._origin, promised=False)
        if "error" not in callback and "error_code" in callback:  # the dialog's failures do not follow OAuth
            raise UpstreamRejected(f"dialog {read_code(callback['error_code'])}")
        answer = await self._redeem(attempt, read_callback(callback))
        now = self._clock.now()
        inspected, person, permissions = await self._ask(answer.access_token, now)
        granted, declined = read_permissions(permissions)
        if read_subject(person.get("id"), "me_id") != inspected.user_id:
            raise UpstreamInvalid("token_user")
        fresh = attempt.fresh and self._preset.can_force_fresh
        if fresh and inspected.auth_nonce != attempt.nonce and await self._auth_nonce(answer) != attempt.nonce:
            raise UpstreamInvalid("auth_nonce")
        identity = read_identity(
            self._preset.id,
            IdentityKey(issuer=self._issuer, subject=inspected.user_id),
            self._offers,
            person,
            granted=granted,
            declined=declined,
            authenticated_at=now if fresh else None,
        )
        return Identified(identity=identity, tokens=answer.tokens(now, tuple(granted)))

    async def revoke(self, tokens: UpstreamTokens) -> None:
        """Take our app out of the person's account there (`DELETE /me/permissions`)."""
        response = await self._http.request(
            "DELETE", self._url("me/permissions", tokens.access_token), headers=_bearer(tokens.access_token)
        )
        if response.body.strip() == b"true":  # documented so; `{"success":true}` is what is really sent
            return
        try:
            done = read_graph(response, "revoke").get("success")
        except GraphFault as fault:
            raise fault.as_error() from None
        if done is not True:
            raise UpstreamInvalid("revoke")

    def read_removal(self, form: Mapping[str, str]) -> Removed:
        """Who took us out of their account there: what the deauthorize and the data deletion callback post.

        Raises `UpstreamInvalid(check)` unless it is Facebook's word, and a recent one.
        """
        said, made = read_signed_request(form.get("signed_request", ""), self._preset.client_secret, self._clock.now())
        subject = read_subject(said.get("user_id"), "user_id")
        return Removed(key=IdentityKey(issuer=self._issuer, subject=subject), at=made)

    async def check(self) -> None:
        """Facebook answers and knows the app by this secret."""
        form = {"grant_type": "client_credentials", **self._credentials()}
        self._read_token(await post_form(self._http, self._token, form))

    async def settings(self) -> Mapping[str, Any]:
        """What the app's own settings say, as far as an app may read them (Graph API reference, "Application")."""
        app_token = f"{self._preset.client_id}|{self._preset.client_secret.reveal()}"
        try:
            return await self._get(self._preset.client_id, app_token, call="app", fields=",".join(SETTINGS))
        except GraphFault as fault:
            raise fault.as_error() from None

    async def _redeem(self, attempt: Attempt, code: str) -> TokenAnswer:
        """Exchange the code, once. Always with the secret in the form: whether Basic works there is not documented."""
        form = {**self._credentials(), "redirect_uri": attempt.redirect_uri, "code": code}
        if self._preset.pkce:
            form["code_verifier"] = attempt.code_verifier
        return self._read_token(await post_form(self._http, self._token, form))

    def _credentials(self) -> dict[str, str]:
        return {"client_id": self._preset.client_id, "client_secret": self._preset.client_secret.reveal()}

    @staticmethod
    def _read_token(response: UpstreamResponse) -> TokenAnswer:
        try:
            return read_token(read_graph(response, "token"))
        except GraphFault as fault:
            raise fault.as_error() from None

    async def _ask(self, token: str, now: datetime) -> tuple[Inspection, dict[str, Any], dict[str, Any]]:
        """The three questions about a token, side by side. The inspection's failure is the one that is told."""
        fields = ",".join(["id", *(FIELD_OF[offer.claim] for offer in self._offers)])
        inspected, person, permissions = await asyncio.gather(
            self._inspect(token, now),
            self._me(token, fields),
            self._get("me/permissions", token, call="permissions"),
            return_exceptions=True,
        )
        for outcome in (inspected, person, permissions):
            if isinstance(outcome, GraphFault):
                raise outcome.as_error()
            if isinstance(outcome, BaseException):
                raise outcome
        assert isinstance(inspected, Inspection)  # noqa: S101 - narrows what gather() widened
        assert isinstance(person, dict)  # noqa: S101
        assert isinstance(permissions, dict)  # noqa: S101
        return inspected, person, permissions

    async def _inspect(self, token: str, now: datetime) -> Inspection:
        """`debug_token`, asked with the app's own token: in a header, or as a parameter where headers are not read."""
        app_token = f"{self._preset.client_id}|{self._preset.client_secret.reveal()}"
        if not self._app_token_in_query:
            try:
                raw = await self._get("debug_token", app_token, call="debug_token", input_token=token)
                return read_inspection(raw, self._preset.client_id, now)
            except GraphFault as fault:
                if fault.code not in TOKEN_NEEDED:
                    raise
                self._app_token_in_query = True
        raw = await self._get("debug_token", app_token, call="debug_token", input_token=token, access_token=app_token)
        return read_inspection(raw, self._preset.client_id, now)

    async def _me(self, token: str, fields: str) -> dict[str, Any]:
        """The person. Asked a second time if Facebook is unwell; nothing else ever is."""
        try:
            return await self._get("me", token, call="me", fields=fields)
        except GraphFault as fault:
            if not fault.may_retry:
                raise
        return await self._get("me", token, call="me", fields=fields)

    async def _auth_nonce(self, answer: TokenAnswer) -> str | None:
        """The nonce of a forced sign-in, from the other place that Facebook's SDKs read it (`access_token_info`)."""
        raw = await self._get(
            "oauth/access_token_info",
            answer.access_token,
            call="token_info",
            client_id=self._preset.client_id,
            access_token=answer.access_token,
        )
        nonce = raw.get("auth_nonce")
        return nonce if isinstance(nonce, str) else None

    async def _get(self, path: str, token: str, *, call: str, **parameters: str) -> dict[str, Any]:
        response = await self._http.request("GET", self._url(path, token, **parameters), headers=_bearer(token))
        return read_graph(response, call)

    def _url(self, path: str, token: str, **parameters: str) -> str:
        query = urlencode({**parameters, "appsecret_proof": proof_of(token, self._preset.client_secret)})
        return f"{self._graph}/{path}?{query}"

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        for claim in preset.fields:
            if claim not in SCOPE_OF:
                found.add(
                    "fields",
                    f"names {claim!r}, which Facebook does not tell.",
                    f"Known: {', '.join(sorted(SCOPE_OF))}.",
                )
        if not _VERSION.fullmatch(preset.graph_version):
            found.add("graph_version", "is not a version.", f'Write graph_version = "{LATEST}".')
        warning = version_warning(preset.graph_version, today)
        if warning is not None:
            found.add("graph_version", warning, f'Try graph_version = "{LATEST}".', "warning")
        if not preset.client_id.isascii() or not preset.client_id.isalnum():
            found.add("client_id", "is not an app id.", "Copy the App ID from the app's dashboard: digits only.")
        if preset.trusts_email:
            found.add(
                "trusts_email",
                "has no effect: Facebook never says that an address was proved.",
                "Remove it.",
                "warning",
            )
        return found


PROVIDER = Facebook


def _bearer(token: str) -> dict[str, str]:
    return {**JSON, "Authorization": f"Bearer {token}"}


def build_dialog_url(preset: Preset, dialog: str, attempt: Attempt) -> str:
    """The dialog's address for an attempt. Facebook takes scopes with commas or spaces; spaces here, as in OAuth."""
    fresh = attempt.fresh and preset.can_force_fresh
    return build_authorization_url(
        dialog,
        client_id=preset.client_id,
        redirect_uri=attempt.redirect_uri,
        scopes=attempt.scopes,
        state=attempt.state,
        auth_type="reauthenticate" if fresh else "rerequest" if attempt.ask_again else None,
        auth_nonce=attempt.nonce if fresh else None,
        code_challenge=challenge_of(attempt.code_verifier) if preset.pkce else None,
        code_challenge_method="S256" if preset.pkce else None,
    )


def read_inspection(raw: Mapping[str, Any], app_id: str, now: datetime) -> Inspection:
    """Whether a token is one of ours, valid, and whose it is (catalogue 49). Raises `UpstreamInvalid` or `GraphFault`."""
    data = raw.get("data")
    if not isinstance(data, Mapping):
        raise UpstreamInvalid("token_inspection")
    if data.get("app_id") != app_id:
        raise UpstreamInvalid("token_app")
    if data.get("is_valid") is not True:
        _raise_invalid(data.get("error"))
    if data.get("type", "USER") != "USER":
        raise UpstreamInvalid("token_kind")
    expires = read_time(data, "expires_at", needed=False)
    if expires is not None and expires.timestamp() != 0 and expires + SKEW <= now:  # 0: never
        raise UpstreamInvalid("token_expired")
    metadata = data.get("metadata")
    nonce = metadata.get("auth_nonce") if isinstance(metadata, Mapping) else None
    return Inspection(
        user_id=read_subject(data.get("user_id"), "token_user"), auth_nonce=nonce if isinstance(nonce, str) else None
    )


def _raise_invalid(error: object) -> NoReturn:
    if isinstance(error, Mapping):
        raise GraphFault("debug_token", read_code(error.get("code")), read_code(error.get("subcode")))
    raise UpstreamInvalid("token_valid")


def read_permissions(raw: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Granted and not granted permissions out of `/me/permissions`."""
    rows = raw.get("data")
    if not isinstance(rows, list):
        raise UpstreamInvalid("permissions")
    granted: set[str] = set()
    declined: set[str] = set()
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("permission"), str):
            raise UpstreamInvalid("permissions")
        (granted if row.get("status") == "granted" else declined).add(row["permission"])
    return frozenset(granted), frozenset(declined - granted)


def read_identity(
    provider: ProviderId,
    key: IdentityKey,
    offers: tuple[OfferedField, ...],
    person: Mapping[str, Any],
    *,
    granted: frozenset[str],
    declined: frozenset[str],
    authenticated_at: datetime | None,
) -> Identity:
    """Who this is. A permission that was granted may still bring nothing: Facebook leaves out what it does not have."""
    claims = read_claims(standard(person), offers)
    return Identity(
        provider=provider,
        key=key,
        claims=claims,
        verified=frozenset(),
        granted=granted,
        declined=frozenset(offer.claim for offer in offers if offer.scope in declined and offer.claim not in claims),
        authenticated_at=authenticated_at,
        account_hint=hint(claims),
    )


def once_of(said: VerifiedClaims, made: datetime) -> Once:
    """What a token of Limited Login is known by. By what was signed: the same token can be spelled in more ways than one."""
    told = "\x00".join(str(said.claims.get(name)) for name in ("sub", "nonce", "iat", "jti"))
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
    return Once(key=f"limited:{digest}", until=made + OLDEST_ISSUE + 2 * SKEW)


def read_limited(
    provider: ProviderId, key: IdentityKey, offers: tuple[OfferedField, ...], said: VerifiedClaims
) -> Identity:
    """Who this is. What was declined there is not told, nor when the person proved anything: only what came."""
    claims = read_claims(standard_of_limited(said.claims), offers)
    scopes = {offer.claim: offer.scope for offer in offers}
    return Identity(
        provider=provider,
        key=key,
        claims=claims,
        verified=frozenset(),
        granted=frozenset({"public_profile", *(scopes[claim] for claim in claims)}),
        declined=frozenset(),
        authenticated_at=None,
        account_hint=hint(claims),
    )


def standard_of_limited(claims: Mapping[str, Any]) -> dict[str, object]:
    """Claims of Limited Login under the names of OpenID Connect, where they differ."""
    names = ("name", "given_name", "family_name", "middle_name", "email", "picture")
    return {
        **{name: claims.get(name) for name in names},
        "gender": claims.get("user_gender"),
        "profile": claims.get("user_link"),
        "birthdate": read_birthday(claims.get("user_birthday")),
    }


def standard(person: Mapping[str, Any]) -> dict[str, object]:
    """Graph's fields under the names of OpenID Connect."""
    return {
        "name": person.get("name"),
        "given_name": person.get("first_name"),
        "family_name": person.get("last_name"),
        "middle_name": person.get("middle_name"),
        "nickname": person.get("short_name"),
        "email": person.get("email"),
        "gender": person.get("gender"),
        "profile": person.get("link"),
        "picture": read_picture(person.get("picture")),
        "birthdate": read_birthday(person.get("birthday")),
    }


def read_picture(raw: object) -> str | None:
    """The picture's temporary address, unless it is the silhouette that stands for having none."""
    data = raw.get("data") if isinstance(raw, Mapping) else None
    if not isinstance(data, Mapping) or data.get("is_silhouette") is True:
        return None
    url = data.get("url")
    return url if isinstance(url, str) else None


def read_birthday(raw: object) -> str | None:
    """`MM/DD/YYYY`, `MM/DD` or `YYYY` as OpenID Connect writes dates: `YYYY-MM-DD`, `0000-MM-DD` or `YYYY`."""
    found = _US_DATE.fullmatch(raw) if isinstance(raw, str) and raw else None
    if found is None:
        return None
    month, day, year = found.groups()
    if month is None:
        return str(year)
    try:
        date(int(year or 2000), int(month), int(day))  # 2000 was a leap year
    except ValueError:
        return None
    return f"{year or '0000'}-{month}-{day}"

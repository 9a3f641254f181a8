"""Presets: one table of `providers.toml`, checked and frozen. Knows no provider's quirks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from broker.domain.account import NamedBy
from broker.domain.claims import GIVEN
from broker.domain.trial import Signed
from broker.domain.values import ClaimName, ProviderId, Secret
from broker.errors import ConfigurationError, Problem

Where = Callable[[str], tuple[str, int]]
"""File and line of a key of the table."""

ALGORITHMS: Final = ("RS256", "ES256", "PS256", "RS384", "RS512", "ES384", "PS384", "PS512", "Ed25519")
"""Signatures a preset may allow. Symmetric ones and `none` are not among them, so none can be switched on."""
DEFAULT_ALGORITHMS: Final = ("RS256", "ES256")
SIGNED_BY_US: Final = ("RS256", "ES256")
"""What our own keys can sign with."""
PRIVATE_KEY: Final = "private_key_jwt"
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", PRIVATE_KEY, "none")
REQUEST_OBJECTS: Final = ("by_value", "by_reference")
UNSIGNED: Final = "none"
STATES: Final = ("on", "testers", "admins", "test", "off")
"""`testers`, `admins`: whoever is signed in with such a role sees it. `test`: nobody does; who runs the server can try it."""
RESPONSE_MODES: Final = ("query", "form_post")
DISCOVERY: Final = ("off", "hosts", "any")
OPENID2: Final = frozenset({"openid2", "steam"})
"""Kinds that speak OpenID 2.0, which has neither client ids nor client secrets: they know us by our address."""
NAMELESS: Final = OPENID2 | {"atproto", "mastodon", "typed_openid_connect"}
"""Kinds at which the operator registers nothing: we say ourselves who we are."""
ENDPOINTS: Final = (
    "authorization", "token", "userinfo", "jwks", "discovery", "revocation",  # any provider
    "end_session",  # OpenID Connect
    "emails",  # OAuth 2.0: a person's addresses, each with what is known of it
    "userinfo_email",  # OAuth 2.0: asked in place of userinfo by a token that may read the address
    "graph", "share",  # Facebook: the base of its API; the share window
    "directory", "resolver",  # AT Protocol: where did:plc documents are; who is asked about handles
)  # fmt: skip

WARN_BEFORE: Final = timedelta(days=60)
"""How long before a secret runs out it is said."""
_HOSTS: Final = {"apple": "appleid.apple.com", "facebook": "www.facebook.com", "steam": "steamcommunity.com"}
_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_POSTING_SCOPES = re.compile(
    r"publish_|(?:.*[.:_/])?write(?:$|[:_./])|read_write$|w_|pages_manage_|manage_pages|.*\.manage_posts|repo:|transition:"
    r"|.*/auth/(?:youtube|blogger|plus\.stream\.write)|webhook\.incoming|chat:write"
)


OFFLINE_SCOPES: Final = frozenset({"offline_access", "offline.access"})
"""Ask for a refresh token and for nothing else: OpenID Connect Core §11; X."""


def is_posting_scope(scope: str) -> bool:
    """Whether a scope lets somebody write in a person's name at any network we know (house rule: never at sign-in)."""
    return bool(_POSTING_SCOPES.match(scope.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """The `[<provider>.posting]` table: how posts reach this network. Without it nothing can be posted there."""

    kind: str
    """A module of `providers.publishing`."""
    url: str | None = None
    """Where posts go; for a share window, its address."""
    scopes: tuple[str, ...] = ()
    """What the person must grant upstream; asked only on the opt-in page, never at sign-in."""
    lasting_scopes: tuple[str, ...] = ()
    """What is asked for beside them, so that it gives a refresh token; only there too."""
    visibility: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider as the operator describes it."""

    id: ProviderId
    kind: str
    """A module of `providers`: `openid_connect`, `facebook`, …"""
    label: str
    """What the button says."""
    client_id: str = ""
    """What it knows us as; empty for `NAMELESS` kinds only."""
    client_secret: Secret = field(default=Secret(""), repr=False)
    team_id: str = ""
    """Apple: whose key `client_secret` is."""
    key_id: str = ""
    """Apple: what that key is called."""
    issuer: str = ""
    """OpenID Connect: who must have signed, compared character by character. OAuth 2.0: whose people these are."""
    identifiers: tuple[str, ...] = ()
    """OpenID 2.0: how the addresses of people start that it may name."""
    openid2_realm: str = ""
    """OpenID Connect: the realm by which the provider knew us in OpenID 2.0; asks it who people were there."""
    discovery: str = "off"
    """OpenID 2.0, Mastodon, OpenID Connect by a typed address: whether people type an address that says where their provider is."""
    hosts: tuple[str, ...] = ()
    """With `discovery = "hosts"`: every host that may be asked, of people and of providers."""
    fields: tuple[ClaimName, ...] = (ClaimName("name"), ClaimName("email"), ClaimName("picture"))
    """Claims it may tell us, in the order to show: what the notice and the preview promise."""
    scopes: tuple[str, ...] = ()
    """Asked at sign-in; empty: whatever `fields` needs."""
    subject: str = "sub"
    """OAuth 2.0: where its answer about a person has what never changes about them."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """OAuth 2.0: where that answer has each claim: a path, or an address with paths in it."""
    email_scope: str = ""
    """What is asked for the e-mail address, where the provider has its own word for it."""
    subject_within: str = ""
    """OpenID Connect: the claim within whose value `sub` is one person; empty: within the issuer."""
    asks_claims: bool = False
    """OpenID Connect: whether each field is asked for by name."""
    nonce: bool = True
    """OpenID Connect: whether its ID tokens repeat our nonce."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Addresses that replace the provider's own, by name (`authorization`, `token`, …)."""
    token_endpoint_auth_method: str = "client_secret_basic"
    token_endpoint_auth_signing_alg: str = SIGNED_BY_US[0]
    """OpenID Connect: what we sign with where `token_endpoint_auth_method` is `private_key_jwt`."""
    request_object: str | None = None
    """OpenID Connect: how what we ask goes there as one object (Core §6); `None`: it stands in the address, piece by piece."""
    request_object_signing_alg: str = SIGNED_BY_US[0]
    """What that object is signed with; `none`, for one that is fetched only: nobody signs it."""
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    userinfo_signed_response_alg: str | None = None
    """OpenID Connect: what its userinfo must be signed with; `None`: signed answers and others are taken."""
    trusted_audiences: tuple[str, ...] = ()
    """Audiences of ID tokens accepted beside our own."""
    pkce: bool | None = None
    """Whether PKCE is used; `None`: as the kind of provider has it."""
    trusts_email: bool = False
    """Whether this provider's word that an address is verified counts."""
    trusts_phone: bool = False
    """Whether its word that a phone number is verified counts."""
    response_mode: str | None = None
    """How its answer travels (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode); `None`: not said."""
    acr_values: tuple[str, ...] = ()
    """Authentication context classes that this provider's word counts for."""
    secret_ends: date | None = None
    """The day the secret runs out, as the operator wrote it down; nobody else says."""
    frontchannel_logout: bool = False
    """OpenID Connect: whether its pages may tell us in a frame that somebody signed out there."""
    limited_login: bool = False
    """Facebook: whether apps of sites may bring tokens of Limited Login."""
    rp_initiated_logout: bool = False
    """OpenID Connect: whether people who sign out here are offered to sign out there too."""
    id_token_hint: bool = False
    """OpenID Connect: whether the ID token is kept with the session, to tell the provider who signs out there."""
    can_force_fresh: bool = True
    """Whether it checks the person anew when asked to (decision 26)."""
    graph_version: str = "v26.0"
    """Facebook: the version of the Graph API."""
    privacy_policy_url: str = ""
    host: str = ""
    """The host shown beside the button; empty: taken from the addresses."""
    brand: str = ""
    """Which mark the button wears; empty: none."""
    logo: str = ""
    """What it wears where `brand` has no mark: an address, or the path of a file."""
    state: str = "on"
    sandbox: bool = False
    """A provider of the demo; refused in production."""
    order: int = 100
    posting: Posting | None = None

    @property
    def wants_our_keys(self) -> bool:
        """Whether something that we send there is signed with keys of ours."""
        return self.signed != Signed()

    @property
    def signed(self) -> Signed:
        """What is signed so, and how."""
        is_asked_so = self.request_object is not None and self.request_object_signing_alg != UNSIGNED
        return Signed(
            requests=self.request_object_signing_alg if is_asked_so else "",
            proofs=self.token_endpoint_auth_signing_alg if self.token_endpoint_auth_method == PRIVATE_KEY else "",
        )

    @property
    def is_named_by_people(self) -> bool:
        """Whether whoever signs in says which servers are asked: by what they type, or by what their own document says."""
        return self.discovery != "off" or self.kind == "atproto"

    @property
    def named_hosts(self) -> frozenset[str]:
        """The hosts that the admin wrote down by name for it."""
        addresses = (self.issuer, *self.endpoints.values())
        return frozenset({*self.hosts, *(urlsplit(address).hostname or "" for address in addresses)})

    @property
    def ways_named_by(self) -> NamedBy | None:
        """What tells two ways in of this kind apart; `None` where it is one server, or where people have names alone."""
        if self.discovery == "off" or self.kind == "atproto":
            return None
        return NamedBy.SUBJECT if self.kind in OPENID2 else NamedBy.ISSUER

    @property
    def shown_host(self) -> str:
        """The host a person will be sent to; nothing where what they type says."""
        if self.discovery != "off":
            return self.host
        address = self.endpoints.get("authorization") or self.issuer
        return self.host or urlsplit(address).hostname or _HOSTS.get(self.kind, "")

    def secret_warning(self, today: date) -> str | None:
        """What to tell the operator about a secret that runs out soon or has; `None` if all is well."""
        if self.secret_ends is None or self.secret_ends - today > WARN_BEFORE:
            return None
        return f"{'has run out' if self.secret_ends <= today else 'runs out'} on {self.secret_ends.isoformat()}."

    def believed(self, acr: str | None) -> str | None:
        """The level of authentication that may be passed on: anybody can claim one, so only one the operator named."""
        return acr if acr in self.acr_values else None

    @classmethod
    def from_table(cls, id: str, table: Mapping[str, object], where: Where | None = None) -> Preset:  # noqa: A002
        """Read one table. Raises `ConfigurationError` with everything that is wrong with it, not only the first thing.

        Secrets come in resolved: `client_secret` is text or a `Secret`.
        """
        reader = _Reader(id, table, where or _nowhere)
        values = reader.values()
        if reader.problems:
            raise ConfigurationError(tuple(reader.problems))
        return cls(**values)  # type: ignore[arg-type]


def _nowhere(key: str) -> tuple[str, int]:
    return ("providers.toml", 0)


class _Reader:
    """Reads one table key by key and collects what is wrong."""

    def __init__(self, id: str, table: Mapping[str, object], where: Where) -> None:  # noqa: A002
        self.id, self.table, self.where = id, table, where
        self.problems: list[Problem] = []

    def problem(self, key: str, what: str, fix: str) -> None:
        file, line = self.where(key)
        self.problems.append(
            Problem(file=file, line=line, key=f"{self.id}.{key}" if key else self.id, what=what, fix=fix)
        )

    def values(self) -> dict[str, object]:
        known = {item.name for item in fields(Preset)} - {"id"}
        for key in self.table:
            if key not in known:
                self.problem(key, "is not a known option.", f"Known: {', '.join(sorted(known))}.")
        if not _ID.fullmatch(self.id):
            self.problem(
                "", "is not usable as an id.", "Use small letters, digits, - and _; at most 32, a letter first."
            )
        out: dict[str, object] = {"id": ProviderId(self.id)}
        out["kind"] = self.text("kind", needed=True)
        if self.table.get("kind") not in NAMELESS:
            out["client_id"] = self.text("client_id", needed=True)
        elif "client_id" in self.table:
            self.problem("client_id", "has no effect: this kind gets no client id from a file.", "Remove it.")
        out["label"] = self.text("label", default=self.id.replace("_", " ").title())
        for key in (
            "team_id",
            "key_id",
            "graph_version",
            "host",
            "brand",
            "logo",
            "subject",
            "email_scope",
            "subject_within",
        ):
            self._keep(out, key, self.text(key))
        for key in ("issuer", "privacy_policy_url", "openid2_realm"):
            self._keep(out, key, self.address(key))
        for key, allowed in (
            ("token_endpoint_auth_method", AUTH_METHODS),
            ("state", STATES),
            ("token_endpoint_auth_signing_alg", SIGNED_BY_US),
            ("request_object", REQUEST_OBJECTS),
            ("request_object_signing_alg", (*SIGNED_BY_US, UNSIGNED)),
            ("response_mode", RESPONSE_MODES),
            ("userinfo_signed_response_alg", ALGORITHMS),
            ("discovery", DISCOVERY),
        ):
            self._keep(out, key, self.choice(key, allowed))
        for key in (
            "pkce", "nonce", "asks_claims", "trusts_email", "trusts_phone", "frontchannel_logout", "rp_initiated_logout", "id_token_hint",
            "limited_login",
            "can_force_fresh", "sandbox",
        ):  # fmt: skip
            self._keep(out, key, self.truth(key))
        self._keep(out, "order", self.number("order"))
        self._keep(out, "secret_ends", self.day("secret_ends"))
        for key in ("scopes", "trusted_audiences", "identifiers", "hosts", "acr_values"):
            self._keep(out, key, self.texts(key))
        self._secret(out)
        self._fields(out)
        self._algorithms(out)
        self._endpoints(out)
        self._claims(out)
        self._posting(out)
        self._no_posting_scope(out)
        return out

    @staticmethod
    def _keep(out: dict[str, object], key: str, value: object) -> None:
        if value is not None:
            out[key] = value

    def text(self, key: str, *, needed: bool = False, default: str | None = None) -> str | None:
        value = self.table.get(key, default)
        if value is None and not needed:
            return None
        if not isinstance(value, str) or not value.strip():
            what = "is missing." if value is None else "is empty." if isinstance(value, str) else "is not text."
            self.problem(key, what, f'Write {key} = "…".')
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
            self.problem(key, "is not a list of texts.", f'Write {key} = ["…", "…"].')
            return None
        return tuple(value)

    def choice(self, key: str, allowed: tuple[str, ...]) -> str | None:
        value = self.table.get(key)
        if value is not None and value not in allowed:
            self.problem(key, "is not one of the choices.", f"Choose one of: {', '.join(allowed)}.")
            return None
        return value if isinstance(value, str) else None

    def truth(self, key: str) -> bool | None:
        value = self.table.get(key)
        if value is not None and not isinstance(value, bool):
            self.problem(key, "is neither true nor false.", f"Write {key} = true or {key} = false.")
            return None
        return value

    def day(self, key: str) -> date | None:
        value = self.table.get(key)
        if value is not None and (not isinstance(value, date) or isinstance(value, datetime)):
            self.problem(key, "is not a day.", f"Write {key} = 2027-03-01, without quotes.")
            return None
        return value if isinstance(value, date) else None

    def number(self, key: str) -> int | None:
        value = self.table.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.problem(key, "is not a whole number.", f"Write {key} = 10.")
            return None
        return value if isinstance(value, int) else None

    def address(self, key: str) -> str | None:
        """An absolute address. Plain http passes here; the guarded client lets it through for exempted hosts only."""
        value = self.text(key)
        if value is not None and not is_address(value):
            self.problem(key, "is not an absolute http(s) address.", "Give scheme and host, no user name, no fragment.")
            return None
        return value

    def _secret(self, out: dict[str, object]) -> None:
        value = self.table.get("client_secret", "")
        if isinstance(value, str):
            value = Secret(value)
        if not isinstance(value, Secret):
            self.problem("client_secret", "is not text.", "Name a secret source.")
            return
        public = self.table.get("token_endpoint_auth_method") in {"none", PRIVATE_KEY}
        if not value and not public and self.table.get("kind") not in NAMELESS:
            self.problem("client_secret", "is missing.", "Name a secret source, or the provider cannot know it is us.")
        out["client_secret"] = value

    def _fields(self, out: dict[str, object]) -> None:
        names = self.texts("fields")
        if names is None:
            return
        for name in names:
            if ClaimName(name) not in GIVEN:
                self.problem("fields", f"names {name!r}, which is no claim.", f"Known: {', '.join(sorted(GIVEN))}.")
        out["fields"] = tuple(ClaimName(name) for name in dict.fromkeys(names))

    def _algorithms(self, out: dict[str, object]) -> None:
        names = self.texts("algorithms")
        if names is None:
            return
        for name in names:
            if name not in ALGORITHMS:
                self.problem("algorithms", f"names {name!r}.", f"Choose from: {', '.join(ALGORITHMS)}.")
        if not names:
            self.problem("algorithms", "is empty.", 'Write algorithms = ["RS256"].')
        out["algorithms"] = names

    def _endpoints(self, out: dict[str, object]) -> None:
        table = self.table.get("endpoints", {})
        if not isinstance(table, Mapping):
            self.problem("endpoints", "is not a table.", f"Write [{self.id}.endpoints].")
            return
        for name, value in table.items():
            if name not in ENDPOINTS:
                self.problem(f"endpoints.{name}", "is not a known endpoint.", f"Known: {', '.join(ENDPOINTS)}.")
            elif not isinstance(value, str) or not is_address(value):
                self.problem(f"endpoints.{name}", "is not an absolute http(s) address.", "Give scheme and host.")
        out["endpoints"] = MappingProxyType(dict(table))

    def _claims(self, out: dict[str, object]) -> None:
        table = self.table.get("claims", {})
        if not isinstance(table, Mapping):
            self.problem("claims", "is not a table.", f"Write [{self.id}.claims].")
            return
        for name, value in table.items():
            if not isinstance(value, str) or not value.strip():
                self.problem(f"claims.{name}", "is not text.", f'Write {name} = "…": where the answer has it.')
        out["claims"] = MappingProxyType(dict(table))

    def _posting(self, out: dict[str, object]) -> None:
        table = self.table.get("posting")
        if table is None:
            return
        inner = _Reader(self.id, table if isinstance(table, Mapping) else {}, self.where)
        kind, url = inner.text("kind", needed=True), inner.address("url")
        scopes, lasting = inner.texts("scopes") or (), inner.texts("lasting_scopes") or ()
        visibility = inner.choice("visibility", ("public", "unlisted", "private"))
        for key in inner.table:
            if key not in {"kind", "url", "scopes", "lasting_scopes", "visibility"}:
                fix = "Known: kind, url, scopes, lasting_scopes, visibility."
                inner.problem(key, "is not a known option.", fix)
        if lasting and not scopes:
            fix = 'Write scopes = ["…"] beside it, or remove it.'
            inner.problem("lasting_scopes", "keeps nothing alive: nothing is asked for there.", fix)
        for found in inner.problems:
            self.problem(f"posting.{found.key.removeprefix(f'{self.id}.')}", found.what, found.fix)
        if kind and not inner.problems:
            out["posting"] = Posting(
                kind=kind, url=url, scopes=scopes, lasting_scopes=lasting, visibility=visibility or "public"
            )

    def _no_posting_scope(self, out: dict[str, object]) -> None:
        asked = out.get("scopes", ())
        posting = out.get("posting")
        declared = {*posting.scopes, *posting.lasting_scopes} if isinstance(posting, Posting) else set()
        asked = (*(asked if isinstance(asked, tuple) else ()), str(out.get("email_scope", "")))
        for scope in asked:
            if scope in OFFLINE_SCOPES:
                what = f"asks for a refresh token ({scope!r}) at sign-in, where nothing is kept."
                self.problem("scopes", what, "Remove it; lasting_scopes in its posting table asks for one there.")
            elif scope in declared or is_posting_scope(scope):
                self.problem(
                    "scopes", f"asks to post ({scope!r}) at sign-in.", "Remove it; posting has its own opt-in page."
                )


def is_address(text: str, *, fragment: bool = False) -> bool:
    """Whether this is an absolute http(s) address without user name, and without a fragment unless `fragment` lets it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = text.isascii() and all(ch > " " and ch not in '\\"<>^`{|}\x7f' for ch in text)
    return (
        plain
        and parts.scheme in {"https", "http"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and (fragment or "#" not in text)
    )

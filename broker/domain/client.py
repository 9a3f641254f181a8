"""A client: a community site that asks who somebody is (the specifications' *relying party*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from broker.domain.claims import SCOPES
from broker.domain.policy import text_version
from broker.domain.values import ClaimName, ClientId, Scope, Secret


class AuthMethod(StrEnum):
    """How a client proves who it is at the token endpoint (OpenID Connect Core §9)."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    SECRET_JWT = "client_secret_jwt"
    PRIVATE_KEY_JWT = "private_key_jwt"
    NONE = "none"


class SubjectType(StrEnum):
    """Whether two sites see the same number for one person (OpenID Connect Core §8)."""

    PAIRWISE = "pairwise"
    PUBLIC = "public"


class SigningAlgorithm(StrEnum):
    """RS256 is the default: some community software refuses everything else."""

    RS256 = "RS256"
    ES256 = "ES256"


class AccessTokenFormat(StrEnum):
    """What a site's access tokens look like: text for us alone, or something that its interfaces can check themselves."""

    OPAQUE = "opaque"
    JWT = "jwt"


class DpopUse(StrEnum):
    """Whether a client's tokens are bound to a key of whoever holds them (RFC 9449)."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    NONCE = "nonce"
    """Required, and each proof holds a nonce of ours: nobody made one in advance (§11.2)."""


class RequestObjectUse(StrEnum):
    """Whether a client signs what it asks (RFC 9101)."""

    OPTIONAL = "optional"
    REQUIRED = "required"


class Profile(StrEnum):
    """A whole set of rules that a client is held to (FAPI 2.0)."""

    NONE = "none"
    FAPI2 = "fapi2"
    """FAPI 2.0 Security Profile. Most of its rules are options of the client, which the settings give their values."""
    FAPI2_MESSAGE_SIGNING = "fapi2-message-signing"
    """The same, and what is asked, answered and told of tokens is signed (FAPI 2.0 Message Signing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedClaim:
    """One claim a client asks for, and why, in the words its admins gave."""

    claim: ClaimName
    needed: bool
    why: Mapping[str, str]
    """Purpose by language tag; `en` is always there."""
    audience: str = "members"
    """Who sees it there: one of `policy.Audience`."""
    version: str = field(init=False, repr=False, compare=False)
    """Changes whenever the reason or the audience changes, or an optional claim becomes needed."""

    def __post_init__(self) -> None:
        words = (f"{tag}={text}" for tag, text in sorted(self.why.items()))
        object.__setattr__(self, "version", text_version(self.audience, str(self.needed), *words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Everything an admin decided about one site."""

    client_id: ClientId
    name: str
    url: str
    """The site's home page: where "Back to the site" leads."""
    redirect_uris: tuple[str, ...]
    auth_method: AuthMethod
    secret_digests: tuple[bytes, ...] = field(default=(), repr=False)
    """SHA-256 of each valid secret; two may stand at once while one is being replaced."""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    """The secrets themselves: only for `client_secret_jwt`, which cannot do without (decision 22)."""
    jwks: str = field(default="", repr=False)
    """The public keys it signs with, as a JWK set in JSON (RFC 7517 §5)."""
    jwks_uri: str | None = None
    """Or where it publishes them."""
    strict_jwt: bool = False
    """What it signs is held to FAPI 2.0: our issuer as the only audience, and no RS256."""
    profile: Profile = Profile.NONE
    asks: tuple[AskedClaim, ...] = ()
    scopes: frozenset[Scope] = frozenset(SCOPES)
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    frontchannel_logout_uri: str | None = None
    frontchannel_logout_session_required: bool = True
    """Whether its address is called with the issuer and the session it knows."""
    initiate_login_uri: str = ""
    """Where somebody who opens the site from here is sent, so that it signs them in (OpenID Connect Core §4)."""
    subject_type: SubjectType = SubjectType.PAIRWISE
    sector: str = ""
    """Sites with one sector see one subject; empty means the host of the redirect addresses."""
    sector_identifier_uri: str | None = None
    """Where the redirect addresses of all sites of one sector are listed; its host is the sector then."""
    signing_algorithm: SigningAlgorithm = SigningAlgorithm.RS256
    access_tokens: AccessTokenFormat = AccessTokenFormat.OPAQUE
    resources: frozenset[str] = frozenset()
    """Addresses of interfaces that its tokens may be meant for (RFC 8707)."""
    serves: frozenset[str] = frozenset()
    """Addresses of interfaces it runs: it may ask what tokens that are meant for them are worth, whosever they are."""
    service_scopes: frozenset[Scope] = frozenset()
    """What its server may do for itself, with no person behind it; nothing: it gets no such tokens."""
    claims_in_id_token: bool = False
    userinfo_signed: bool = False
    """Whether userinfo answers it with a signed JWT instead of JSON (OpenID Connect Core §5.3.2)."""
    session_token: bool = False
    """Answer with a signed session token beside the ID token, for the sign-in kit."""
    pkce_required: bool = True
    """Off is a downgrade: possible only for a confidential client, shown wherever the site is listed."""
    par_required: bool = False
    """Whether its requests must have been pushed by its server (RFC 9126 §6)."""
    security_events: frozenset[str] = frozenset()
    """Which of `domain.events` it wants to hear of."""
    security_events_uri: str | None = None
    """Where they are pushed; `None`: it fetches them."""
    security_events_authorization: Secret | None = field(default=None, repr=False)
    """The `Authorization` header that a push carries."""
    device_grant: bool = False
    """Whether people may sign in on devices of it that have no browser (RFC 8628)."""
    gitlab_endpoints: bool = False
    """Whether its software finds us at GitLab's addresses and in GitLab's shape."""
    discourse_connect_secret: Secret | None = field(default=None, repr=False)
    """What it and we sign with, if it asks by DiscourseConnect."""
    request_object: RequestObjectUse = RequestObjectUse.OPTIONAL
    request_uris: tuple[str, ...] = ()
    """Where it may leave what it signed, for us to fetch."""
    dpop: DpopUse = DpopUse.OPTIONAL
    forward_auth: bool = False
    """Whether a proxy asks for each of its requests who sends it."""
    may_post: bool = False
    is_unreviewed: bool = False
    """Whether it registered by itself and no admin has looked at it since."""
    run_by: str = ""
    logo: str = ""
    """An address, or, as only an admin can name one, the path of a file."""
    policy_uri: str = ""
    tos_uri: str = ""
    enabled: bool = True

    @property
    def is_public(self) -> bool:
        """Whether the client holds no secret."""
        return self.auth_method is AuthMethod.NONE

    @property
    def checks_by_itself(self) -> bool:
        """Whether it gets tokens that are good without asking us, so that they need a place in a status list."""
        return self.session_token or self.access_tokens is AccessTokenFormat.JWT

    @property
    def is_told_signed(self) -> bool:
        """Whether all that it is answered, and told of tokens, is signed for it (FAPI 2.0 Message Signing §5.4, §5.5)."""
        return self.profile is Profile.FAPI2_MESSAGE_SIGNING

    @property
    def rotates(self) -> bool:
        """Whether each renewal brings another refresh token (FAPI 2.0 Security Profile §5.3.2.1, 9: it does not)."""
        return self.profile is Profile.NONE

    @property
    def signs(self) -> bool:
        """Whether it has keys to check a signature of its own with."""
        return bool(self.jwks or self.jwks_uri)

    @property
    def host(self) -> str:
        """The host people see: where they will be sent back to."""
        return urlsplit(self.url or self.redirect_uris[0]).netloc

    @property
    def sector_identifier(self) -> str:
        """What subjects are computed over (OpenID Connect Core §8.1); for a site of devices alone its own host."""
        return self.sector or _host_of(self.sector_identifier_uri or next(iter(self.redirect_uris), self.url))

    @property
    def subject_sector(self) -> str:
        """The same, and one for all sites that see public subjects: whoever is in one sees one number of a person."""
        return self.sector_identifier if self.subject_type is SubjectType.PAIRWISE else SubjectType.PUBLIC.value

    @property
    def version(self) -> str:
        """Changes when what a person recognised the site by changes: name, hosts, logo, policy, terms (catalogue 133)."""
        where = {urlsplit(uri).netloc for uri in self.redirect_uris}
        if self.introduces_itself:
            where = {*self.redirect_uris}  # nobody but the site itself sees to them
        logo = self.logo if "://" in self.logo else self.logo.rpartition("/")[2]  # wherever the configuration lies
        terms = (self.tos_uri,) if self.tos_uri else ()
        return text_version(self.name, logo, self.policy_uri, *terms, *sorted(where))

    @property
    def introduces_itself(self) -> bool:
        """Whether its id is the address of a document in which it says what it is (`domain.documents`)."""
        return self.client_id.startswith("https://")


@lru_cache(maxsize=1024)
def _host_of(address: str) -> str:
    """Asked for every token, of a few addresses."""
    return urlsplit(address).hostname or ""


OFFLINE: Final = AskedClaim(
    claim=ClaimName("offline_access"),
    needed=False,
    why={
        "en": "To keep you signed in there while you are away.",
        "fr": "Pour vous y garder connecté en votre absence.",
    },
)
"""Acting while the person is away is asked, decided and recorded like a claim; it has no value to release."""


def asked_claims(
    client: Client, scopes: frozenset[Scope], named: frozenset[ClaimName] = frozenset()
) -> tuple[AskedClaim, ...]:
    """What this request asks for: claims the admin listed whose scope is asked, that are asked by name, or that no scope
    unlocks. What the admin did not list has no purpose to show, so nobody is asked for it.
    """
    unlocked = named.union(claim for scope in scopes for claim in SCOPES.get(scope, ()))
    scoped = {claim for claims in SCOPES.values() for claim in claims}
    asks = tuple(ask for ask in client.asks if ask.claim in unlocked or ask.claim not in scoped)
    return (*asks, OFFLINE) if Scope("offline_access") in scopes else asks


def redirect_matches(client: Client, uri: str) -> bool:
    """Exact, character for character (RFC 9700 §2.1); a public client's loopback port may differ (RFC 8252 §7.3)."""
    if not is_redirect_uri(uri):
        return False
    if uri in client.redirect_uris:
        return True
    return client.is_public and any(_same_but_port(uri, registered) for registered in client.redirect_uris)


_LOOPBACK = ("127.0.0.1", "[::1]")


def _same_but_port(uri: str, registered: str) -> bool:
    for host in _LOOPBACK:
        prefix = f"http://{host}"
        if not (registered.startswith(prefix) and uri.startswith(prefix)):
            continue
        return _without_port(uri[len(prefix) :]) == _without_port(registered[len(prefix) :]) != None  # noqa: E711
    return False


def _without_port(rest: str) -> str | None:
    """`:1234/cb` and `/cb` both give `/cb`; anything that is not a plain port gives `None`."""
    if not rest.startswith(":"):
        return rest if rest.startswith("/") else None
    port, slash, path = rest[1:].partition("/")
    if not (slash and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    return f"/{path}"


_HOST_AND_PORT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")
"""No user before the host, no pattern in it, and no percent sign, which browsers decode there and others do not."""
_OURS: Final = frozenset({"code", "state", "iss", "error", "error_description", "error_uri", "response"})
"""Parameters of our answer: an address that brings its own could make them occur twice (catalogue 7)."""


def is_redirect_uri(uri: str) -> bool:
    """Whether this can be an address to send a browser to at all (catalogue 1–6). Not a check that it is registered.

    http or https, printable ASCII without blank or backslash, a host and nothing before it, no fragment, no dot segments.
    """
    if len(uri) > 2000 or not uri.isascii() or any(ch <= " " or ch in '\\"<>^`{|}\x7f' for ch in uri) or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or uri.partition("://")[0] != parts.scheme:  # as written, in lower case
        return False
    if not parts.hostname or port == 0 or not _HOST_AND_PORT.issuperset(parts.netloc):
        return False
    if any(name in _OURS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return False
    segments = parts.path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").split("/")
    return not any(segment.split(";")[0] in {".", ".."} for segment in segments)


def near_miss(client: Client, uri: str) -> str | None:
    """The registered address most like `uri`, for the site's admin and for development only (decision 25)."""

    def likeness(registered: str) -> int:
        common = 0
        for ours, theirs in zip(registered, uri, strict=False):
            if ours != theirs:
                break
            common += 1
        return common

    best = max(client.redirect_uris, key=likeness, default=None)
    return best if best is not None and likeness(best) >= len("https://x") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an address that a site sent differs from the registered one that is most like it."""

    kind: str
    """`scheme`, `host`, `port`, `last_slash`, `letter_case`, `path` or `query`: the first that is different."""
    registered: str

    @property
    def words(self) -> str:
        """The same for an admin."""
        return DIFFERENCES[self.kind]


DIFFERENCES: Final[Mapping[str, str]] = {
    "scheme": "one is http, the other https",
    "host": "the host is another one",
    "port": "the port is another one",
    "last_slash": "one ends with a slash, the other does not",
    "letter_case": "capital and small letters differ",
    "path": "the path is another one",
    "query": "what follows the question mark is different",
}


def difference(client: Client, uri: str) -> Difference | None:
    """What keeps an address from being the registered one; `None` if it is none at all, or like none of them."""
    if not is_redirect_uri(uri):
        return None
    scheme, colon, rest = uri.partition(":")
    other = f"{'http' if scheme == 'https' else 'https'}{colon}{rest}"
    registered = near_miss(client, uri) or near_miss(client, other)
    if registered is None:
        return None
    ours, theirs = urlsplit(registered), urlsplit(uri)
    kinds = {
        "scheme": ours.scheme != theirs.scheme,
        "host": ours.hostname != theirs.hostname,
        "port": ours.port != theirs.port,
        "last_slash": ours.path != theirs.path and ours.path.rstrip("/") == theirs.path.rstrip("/"),
        "letter_case": ours.path != theirs.path and ours.path.lower() == theirs.path.lower(),
        "path": ours.path != theirs.path,
        "query": ours.query != theirs.query,
    }
    kind = next((kind for kind, is_so in kinds.items() if is_so), None)
    return Difference(kind=kind, registered=registered) if kind is not None else None

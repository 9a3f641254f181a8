"""What the OpenID Connect sandbox remembers: clients, people, codes, tokens, sessions, keys and faults."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from providers.sandbox.openid_connect_faults import Faults
from providers.sandbox.signing import SigningKey
from providers.sandbox.web import RequestLog

CODE_LIFETIME = 300  # seconds
TOKEN_LIFETIME = 3600  # seconds
POSTING_SCOPE = "write:statuses"
RESPONSE_MODES = ("query", "form_post")
OFFLINE_SCOPE = "offline_access"
SCOPES = ("openid", "profile", "email", "address", "phone", "openid2", OFFLINE_SCOPE, POSTING_SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One registered client; without a secret it is public and must use PKCE."""

    id: str
    secret: str | None = field(default=None, repr=False)
    redirect_uris: Sequence[str]
    post_logout_redirect_uris: Sequence[str] = ()
    name: str = "Doorward"
    request_object_signing_alg: str | None = None
    """What its request objects have to be signed with; `None`: it has none."""
    jwks_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One persona: `profile` claims come with scope profile, and so on."""

    slug: str
    name: str
    note: str
    group: str = "People"
    profile: Mapping[str, Any] = field(default_factory=dict)
    email: Mapping[str, Any] = field(default_factory=dict)
    address: Mapping[str, Any] = field(default_factory=dict)
    phone: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """The stable `sub`."""
        return f"sandbox-{self.slug}"

    def claims(self, scopes: set[str]) -> dict[str, Any]:
        """What userinfo and the ID token say under these scopes, `sub` included."""
        found: dict[str, Any] = {"sub": self.subject}
        for scope in ("profile", "email", "address", "phone"):
            if scope in scopes:
                found.update(getattr(self, scope))
        return found


def _named(slug: str, given: str, family: str, note: str, **more: Any) -> Person:
    name = f"{given} {family}".strip()
    profile = {"name": name, "given_name": given, "family_name": family, **more.pop("profile", {})}
    address = {"email": f"{slug}@people.test", "email_verified": True}
    return Person(
        slug=slug,
        name=name,
        note=note,
        profile={key: value for key, value in profile.items() if value},
        email=more.pop("email", address),
        **more,
    )


_ODD = "Unusual details"
_ALL = (
    _named(
        "ana",
        "Ana",
        "Marković",
        "has a full profile",
        email={"email": "ana.markovic@people.test", "email_verified": True},
        profile={
            "preferred_username": "ana",
            "locale": "sr-RS",
            "zoneinfo": "Europe/Belgrade",
            "birthdate": "1990-04-09",
            "website": "https://ana.people.test/",
            "picture": "sandbox:picture",
        },
    ),
    _named("lucas", "Lucas", "Moreau", "has a name and e-mail", profile={"locale": "fr-FR"}),
    _named("farah", "Farah", "Haddad", "has a name and e-mail", profile={"preferred_username": "farah"}),
    _named(
        "every-claim",
        "Evren",
        "Kaya",
        "has every standard claim",
        profile={
            "middle_name": "Deniz",
            "nickname": "Evo",
            "preferred_username": "evren",
            "profile": "https://evren.people.test/about",
            "picture": "sandbox:picture",
            "website": "https://evren.people.test/",
            "gender": "other",
            "birthdate": "1988-02-29",
            "zoneinfo": "Europe/Istanbul",
            "locale": "tr-TR",
            "updated_at": 1767225600,
        },
        address={
            "address": {
                "formatted": "Moda Caddesi 5\n34710 Kadıköy\nİstanbul\nTürkiye",
                "street_address": "Moda Caddesi 5",
                "locality": "Kadıköy",
                "region": "İstanbul",
                "postal_code": "34710",
                "country": "Türkiye",
            }
        },
        phone={"phone_number": "+90 216 555 01 23", "phone_number_verified": True},
    ),
    _named("no-email", "Tomas", "Berg", "has no e-mail address", email={}, group=_ODD),
    _named(
        "email-unverified",
        "Victor",
        "Lind",
        "has an e-mail address nobody checked",
        group=_ODD,
        email={"email": "victim@corp.test", "email_verified": False},
    ),
    _named(
        "email-verified-text",
        "Stella",
        "Ring",
        'says email_verified "true" as text',
        group=_ODD,
        email={"email": "stella@people.test", "email_verified": "true"},
    ),
    _named("html", "<b>Bobby</b>", '<script>alert(1)</script>" onload="x', "has HTML in the name", group=_ODD),
    _named("rtl", "יעל", "כהן", "has a name written from right to left", group=_ODD),
    _named("emoji", "Zoë 🦊", "👩‍👩‍👧‍👦 Ríos", "has emoji in the name", group=_ODD),
    _named(
        "long-name",
        "Wolfeschlegelsteinhausen" * 6,
        "Keihanaikukauakahihulihee" * 6,
        "has a very long name",
        group=_ODD,
    ),
    _named("single-name", "Suharto", "", "has one name only", group=_ODD),
    _named(
        "locale-object",
        "Lola",
        "Cale",
        "has a locale that is an object",
        group=_ODD,
        profile={"locale": {"language": "es", "country": "CL"}},
    ),
    _named(
        "number-name",
        "Nia",
        "Mero",
        "has values of the wrong types",
        group=_ODD,
        profile={"name": 12345, "picture": ["x"], "preferred_username": None, "updated_at": "yesterday"},
    ),
)
PEOPLE: Mapping[str, Person] = MappingProxyType({person.slug: person for person in _ALL})


def grouped() -> list[tuple[str, list[Person]]]:
    """Personas under their headings, for the chooser page."""
    return [(group, [p for p in _ALL if p.group == group]) for group in ("People", _ODD)]


ACR_VALUES = ("urn:sandbox:basic", "urn:sandbox:strong")


@dataclass(slots=True, kw_only=True)
class Code:
    """An authorization code and everything it is bound to."""

    client_id: str
    slug: str
    redirect_uri: str
    scopes: set[str]
    challenge: str
    nonce: str
    auth_time: int
    show_auth_time: bool
    acr: str
    """How well the person was checked, where the client asked for one of `ACR_VALUES`."""
    issued_at: float
    offline: bool = False
    """Whether the person was asked on the spot and it may go on without them (Core §11)."""
    used: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class Token:
    """An access token."""

    client_id: str
    slug: str
    scopes: set[str]
    expires_at: float
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class Refresh:
    """A refresh token: good once, for what its code was for."""

    code: Code
    used: bool = False
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser signed in to the sandbox; `posting` are the clients it allowed to post."""

    slug: str
    auth_time: int
    posting: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Status:
    """One published status (Mastodon's shape is made from it)."""

    id: str
    slug: str
    author: str
    text: str
    visibility: str
    language: str | None
    created_at: str


@dataclass(slots=True)
class Sandbox:
    """The whole state of one running OpenID Connect sandbox."""

    clients: dict[str, Client]
    registered: list[str] = field(default_factory=list)
    """Those of `clients` that registered themselves."""
    fixed_issuer: str | None = None
    require_pkce: bool = True
    people: Mapping[str, Person] = field(default_factory=lambda: PEOPLE)
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(default_factory=RequestLog)
    codes: dict[str, Code] = field(default_factory=dict, repr=False)
    tokens: dict[str, Token] = field(default_factory=dict, repr=False)
    refreshes: dict[str, Refresh] = field(default_factory=dict, repr=False)
    sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    pending: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    keys: list[SigningKey] = field(default_factory=list)
    statuses: dict[str, Status] = field(default_factory=dict)
    last_status: int = 110_000_000_000_000_000
    posted_keys: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict, repr=False)
    posts: dict[str, list[float]] = field(default_factory=dict)
    clock_offset: float = 0.0
    fetch: Callable[[str], Awaitable[bytes]] | None = field(default=None, repr=False)
    """How addresses of clients are read; `None`: as anybody does."""
    next_persona: str | None = None
    persona: str | None = None

    def now(self) -> float:
        """Seconds since the epoch on the sandbox's own clock."""
        return time.time() + self.clock_offset

    def signing_key(self) -> SigningKey:
        """The current key, made at first use."""
        if not self.keys:
            self.keys.append(SigningKey.generate())
        return self.keys[-1]

    def rotate_keys(self, *, overlap: bool = False) -> None:
        """Sign with a new key from now on; the old ones stay published only with `overlap`."""
        self.keys = [*(self.keys if overlap else []), SigningKey.generate()]

    def new_code(self, code: Code) -> str:
        """Store a code and return its text."""
        text = secrets.token_urlsafe(32)
        self.codes[text] = code
        return text

    def new_token(self, token: Token) -> str:
        """Store an access token and return its text."""
        text = secrets.token_urlsafe(32)
        self.tokens[text] = token
        return text

    def new_refresh(self, code: Code) -> str:
        """Store a refresh token and return its text."""
        text = secrets.token_urlsafe(32)
        self.refreshes[text] = Refresh(code=code)
        return text

    def end_refreshes(self, code: Code) -> None:
        """All that came of one code, and its last access token."""
        for one in self.refreshes.values():
            one.revoked = one.revoked or one.code is code
        if code.token in self.tokens:
            self.tokens[code.token].revoked = True

    def new_pending(self, params: dict[str, str]) -> str:
        """Keep a request's parameters while a page is open; the oldest of a thousand goes."""
        while len(self.pending) >= 1000:
            del self.pending[next(iter(self.pending))]
        name = secrets.token_urlsafe(16)
        self.pending[name] = params
        return name

    def live_token(self, text: str) -> Token | None:
        """The token when it is known, not revoked and not expired."""
        token = self.tokens.get(text)
        return token if token and not token.revoked and self.now() < token.expires_at else None

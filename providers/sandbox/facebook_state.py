"""What the Facebook-like sandbox remembers: apps, grants, codes, tokens, switches, keys and its own clock."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from providers.sandbox.facebook_people import PEOPLE, Person
from providers.sandbox.signing import SigningKey
from providers.sandbox.web import RequestLog

LATEST = (26, 0)
CODE_LIFETIME = 600  # seconds
TOKEN_LIFETIME = 5_183_944  # seconds, what a web server flow really yields (protocols.md §1.4)
DATA_ACCESS_LIFETIME = 90 * 86_400  # seconds
FOREIGN_APP = "999000000000009"
PERMISSIONS: Mapping[str, str] = {
    "public_profile": "Name and profile picture",
    "email": "E-mail address",
    "user_birthday": "Birthday",
    "user_age_range": "Age range",
    "user_gender": "Gender",
    "user_link": "Profile link",
    "user_location": "Current city",
    "user_hometown": "Home town",
    "user_friends": "Friends who use this app",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One registered application. `roles` are the personas who may use it while `mode` is `dev`.

    Everybody else gets a page and never comes back; from an app with Facebook Login for Business (`is_for_business`) they
    come back as if they had pressed Cancel (protocols.md §1.3).
    """

    id: str
    secret: str = field(repr=False)
    redirect_uris: Sequence[str]
    name: str = "Doorward"
    mode: str = "live"
    require_proof: bool = False
    deauthorize_url: str | None = None
    deletion_url: str | None = None
    roles: frozenset[str] = frozenset()
    is_for_business: bool = False
    domains: Sequence[str] = ()
    privacy_url: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the app may read of its own settings; what is not set is left out."""
        values = {
            "name": self.name,
            "app_domains": list(self.domains),
            "deauth_callback_url": self.deauthorize_url,
            "privacy_policy_url": self.privacy_url,
        }
        return {name: value for name, value in values.items() if value}

    def proof(self, access_token: str) -> str:
        """The `appsecret_proof` that belongs to a token: lower-case hex HMAC-SHA256 (protocols.md §1.7)."""
        return hmac.new(self.secret.encode(), access_token.encode(), hashlib.sha256).hexdigest()


@dataclass(slots=True, kw_only=True)
class Switches:
    """What the control plane can turn. Seconds are real; None in `slow_seconds` never answers."""

    require_proof: bool | None = None  # None follows the app
    enforce_https: bool = False
    pkce_strict: bool = True
    basic_auth: bool = True
    legacy_text: bool = False
    picture_404: bool = False
    auto: bool = False  # answer every dialog as the persona would, without a page
    rerequest_grants: bool = False  # on auth_type=rerequest grant what was declined, without a page
    unverified_leaks: bool = False
    delete_answers_true: bool = False
    revoke_token_on_replay: bool = True
    omit_expires_in: bool = False
    throttle_status: int = 403  # public fixtures show 400 and 403
    call_limit: int | None = None  # Graph calls per app before code 4
    fault_times: int | None = None  # how often a Graph fault happens before it heals; None: always
    slow_seconds: float | None = 20.0
    limited_keys_hang: bool = False  # the keys of Limited Login are never answered
    slow_token: bool = False  # the slow personas are slow at the token endpoint too

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several switches. Raises ValueError for an unknown name or a value of another kind."""
        allowed: dict[str, tuple[type, ...]] = {
            "require_proof": (bool, type(None)),
            "throttle_status": (int,),
            "call_limit": (int, type(None)),
            "fault_times": (int, type(None)),
            "slow_seconds": (int, float, type(None)),
        }
        names = {one.name for one in fields(self)}
        for name, value in values.items():
            kinds = allowed.get(name, (bool,))
            wrong_bool = isinstance(value, bool) and bool not in kinds
            if name not in names or wrong_bool or not isinstance(value, kinds):
                raise ValueError(f"no switch {name!r} with such a value")
        for name, value in values.items():
            setattr(self, name, value)


@dataclass(slots=True, kw_only=True)
class Code:
    """An authorization code and everything it is bound to."""

    app_id: str
    slug: str
    redirect_uri: str
    openid: bool
    challenge: str
    challenge_method: str
    nonce: str
    auth_type: str
    auth_nonce: str
    issued_at: float
    used: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class Token:
    """A user access token. `broken` is the subcode of error 190 once it no longer works."""

    app_id: str
    slug: str
    issued_at: float
    expires_at: float
    auth_type: str = ""
    auth_nonce: str = ""
    shown_user: str | None = None
    broken: int | None = None


@dataclass(slots=True)
class Sandbox:
    """The whole state of one running Facebook-like sandbox."""

    apps: dict[str, App]
    base_url: str | None = None
    data: Path | None = None
    people: Mapping[str, Person] = field(default_factory=lambda: PEOPLE)
    switches: Switches = field(default_factory=Switches)
    log: RequestLog = field(default_factory=RequestLog)
    grants: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict, repr=False)
    tokens: dict[str, Token] = field(default_factory=dict, repr=False)
    pending: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    keys: list[SigningKey] = field(default_factory=list)
    limited: SigningKey | None = None
    stale_key: SigningKey | None = None
    clock_offset: float = 0.0
    next_persona: str | None = None
    persona: str | None = None
    calls: dict[str, int] = field(default_factory=dict)
    faults_shown: dict[tuple[str, str], int] = field(default_factory=dict)

    def now(self) -> float:
        """Seconds since the epoch on the sandbox's own clock."""
        return time.time() + self.clock_offset

    def load(self) -> None:
        """Read kept grants from `data`. A file that is not ours is ignored: grants matter little."""
        if self.data is None or not self.data.is_file():
            return
        try:
            kept = json.loads(self.data.read_text(encoding="utf-8"))["grants"]
            self.grants = {
                (app, slug): {str(name): str(state) for name, state in found.items()}
                for app, people in kept.items()
                for slug, found in people.items()
            }
        except (ValueError, KeyError, AttributeError, TypeError):
            self.grants = {}

    def keep(self) -> None:
        """Write the grants to `data`, if there is one, replacing the file in one step."""
        if self.data is None:
            return
        tree: dict[str, dict[str, dict[str, str]]] = {}
        for (app, slug), permissions in self.grants.items():
            tree.setdefault(app, {})[slug] = permissions
        self.data.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.data.with_suffix(".new")
        fresh.write_text(json.dumps({"grants": tree}, indent=1), encoding="utf-8")
        fresh.replace(self.data)

    def permissions(self, app_id: str, slug: str) -> dict[str, str]:
        """Permission → granted, declined or expired, for one person in one app."""
        return self.grants.get((app_id, slug), {})

    def granted(self, app_id: str, slug: str) -> list[str]:
        """The granted permissions, sorted."""
        return sorted(name for name, status in self.permissions(app_id, slug).items() if status == "granted")

    def declined(self, app_id: str, slug: str) -> list[str]:
        """The declined permissions, sorted."""
        return sorted(name for name, status in self.permissions(app_id, slug).items() if status == "declined")

    def decide(self, app_id: str, slug: str, *, granted: set[str], declined: set[str]) -> None:
        """Record what a person just ticked and left unticked."""
        row = self.grants.setdefault((app_id, slug), {})
        row.update(dict.fromkeys(granted, "granted"))
        row.update(dict.fromkeys(declined, "declined"))
        self.keep()

    def remove_app(self, app_id: str, slug: str) -> None:
        """The person removed the app: no grants, and every token of theirs answers 190/458."""
        self.grants.pop((app_id, slug), None)
        for token in self.tokens.values():
            if token.app_id == app_id and token.slug == slug:
                token.broken = 458
        self.keep()

    def new_code(self, code: Code) -> str:
        """Store a code and return its text: about 240 url-safe characters."""
        text = "AQ" + secrets.token_urlsafe(180)
        self.codes[text] = code
        return text

    def new_token(self, token: Token) -> str:
        """Store a token and return its text."""
        text = "EAA" + secrets.token_hex(90)
        self.tokens[text] = token
        return text

    def new_pending(self, params: dict[str, str]) -> str:
        """Keep a dialog's parameters while a page is open; the oldest of a thousand goes."""
        while len(self.pending) >= 1000:
            del self.pending[next(iter(self.pending))]
        name = secrets.token_urlsafe(16)
        self.pending[name] = params
        return name

    def app_of_token(self, text: str) -> App | None:
        """The app whose app token `{id}|{secret}` this is, or None."""
        app_id, _, secret = text.partition("|")
        app = self.apps.get(app_id)
        return app if app and hmac.compare_digest(secret.encode(), app.secret.encode()) else None

    def person_of_id(self, app_id: str, person_id: str) -> Person | None:
        """The persona who has this app-scoped id in this app, or None."""
        return next((p for p in self.people.values() if p.id_in(app_id) == person_id), None)

    def signing_key(self) -> SigningKey:
        """The current key, made at first use."""
        if not self.keys:
            self.keys.append(SigningKey.generate())
        return self.keys[-1]

    def limited_key(self) -> SigningKey:
        """The key of Limited Login, made at first use: another host has it there."""
        if self.limited is None:
            self.limited = SigningKey.generate()
        return self.limited

    def withdrawn_key(self) -> SigningKey:
        """A key that is in no published set."""
        if self.stale_key is None:
            self.stale_key = SigningKey.generate()
        return self.stale_key

    def rotate_keys(self) -> None:
        """Sign with a new key from now on and publish only that one."""
        self.keys = [SigningKey.generate()]

    def fault_due(self, app_id: str, slug: str) -> bool:
        """Count one occurrence of a Graph fault; False once it has healed (`fault_times`)."""
        seen = self.faults_shown.get((app_id, slug), 0)
        limit = self.switches.fault_times
        if limit is not None and seen >= limit:
            return False
        self.faults_shown[app_id, slug] = seen + 1
        return True

"""`sites.toml` to clients: what an admin decided about each community site."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from broker.domain.browser_state import origin_of
from broker.domain.claims import EMAIL, LOCALE, PREFERRED_USERNAME, SCOPES, UPDATED_AT, ZONEINFO
from broker.domain.client import (
    AccessTokenFormat,
    AskedClaim,
    AuthMethod,
    Client,
    DpopUse,
    Profile,
    RequestObjectUse,
    SigningAlgorithm,
    SubjectType,
    is_redirect_uri,
)
from broker.domain.discourse import MIN_SECRET, RETURN_PATH
from broker.domain.events import CHOICES, MANAGE, READ
from broker.domain.gate import CALLBACK
from broker.domain.hosts import is_inside
from broker.domain.policy import FieldPolicy, Use
from broker.domain.values import ClaimName, ClientId, Scope, Secret
from broker.errors import UpstreamError
from broker.locator import Path as Key
from broker.settings_logos import read_logo
from broker.settings_profiles import apply_profile
from broker.settings_reader import Reader
from broker.settings_schema import SITES

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SECRET_LEAST: Final = 24
"""Fewest characters of a site's secret: about 128 random bits as base64."""
SIGNING_LEAST: Final = 32
"""And of one that signs: as many bytes as HS256 has (RFC 7518 §3.2)."""
RESOURCE_MOST: Final = 200
RESOURCES_MOST: Final = 10
"""All of them together still fit into an access token."""
_SERVICE_SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
SERVICE_SCOPES_MOST: Final = 20
_WITHOUT_SECRET: Final = frozenset({AuthMethod.NONE, AuthMethod.PRIVATE_KEY_JWT})
_ALWAYS_KEPT: Final = frozenset({PREFERRED_USERNAME, LOCALE, ZONEINFO, UPDATED_AT})
"""Claims that every account has without a `[fields.NAME]` table."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only mean this machine."""
    name = (host or "").removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def read_sites(
    reader: Reader,
    fields: Mapping[ClaimName, FieldPolicy],
    *,
    issuer: str,
    development: bool,
    exempt: frozenset[str] = frozenset(),
) -> dict[ClientId, Client]:
    """All sites that can be used. What is wrong with the others is written down. `issuer`: our address. `exempt`: each
    `host:port` that may be called although it is no public https address."""
    sites = _Sites(reader, fields, issuer=issuer, development=development, exempt=exempt)
    for name, table in reader.tables(("sites",), reader.draft.tree.get("sites", {}), SITES).items():
        sites.read(name, table)
    sites.shared_secrets()
    sites.shared_hosts()
    return sites.clients


class _Sites:
    def __init__(
        self,
        reader: Reader,
        fields: Mapping[ClaimName, FieldPolicy],
        *,
        issuer: str,
        development: bool,
        exempt: frozenset[str],
    ) -> None:
        self.reader, self.fields, self.issuer, self.development, self.exempt = (
            reader,
            fields,
            issuer,
            development,
            exempt,
        )
        self.draft = reader.draft
        self.clients: dict[ClientId, Client] = {}

    def read(self, name: str, table: dict[str, Any]) -> None:
        key: Key = ("sites", name)
        if not _ID.fullmatch(name):
            self.draft.problem(key, "is not usable as an id.", "Use letters, digits, dot, - and _; at most 64.")
        asks = self._asks(key, table["asks"])
        apply_profile(self.draft, key, table)
        secrets: tuple[Secret, ...] = table["client_secret"] or ()
        logo = read_logo(self.draft, (*key, "logo"), table["logo"], exempt=self.exempt)
        self._proof(key, table, secrets)
        self._returns(key, table)
        self._schemes(key, table)
        self._calls(key, table)
        self._sector(key, table)
        self._frame(key, table)
        self._scopes(key, table["scopes"])
        for option in ("resources", "serves"):
            self._resources((*key, option), table[option])
        self._serves(key, table)
        self._service(key, table)
        self._gate(key, table)
        self._events(key, table)
        self._gitlab(key, table)
        self._discourse(key, table)
        self._session_token(key, table)
        self.clients[ClientId(name)] = Client(
            client_id=ClientId(name),
            auth_method=AuthMethod(table["auth_method"]),
            secret_digests=tuple(hashlib.sha256(secret.reveal().encode()).digest() for secret in secrets if secret),
            secrets=tuple(filter(None, secrets)) if table["auth_method"] == AuthMethod.SECRET_JWT else (),
            jwks_uri=table["jwks_uri"] or None,
            profile=Profile(table["profile"]),
            sector_identifier_uri=table["sector_identifier_uri"] or None,
            logo=logo,
            asks=asks,
            scopes=frozenset(Scope(scope) for scope in table["scopes"]),
            subject_type=SubjectType(table["subject_type"]),
            access_tokens=AccessTokenFormat(table["access_tokens"]),
            resources=frozenset(table["resources"]),
            serves=frozenset(table["serves"]),
            service_scopes=frozenset(Scope(scope) for scope in table["service_scopes"]),
            signing_algorithm=SigningAlgorithm(table["signing_algorithm"]),
            dpop=DpopUse(table["dpop"]),
            request_object=RequestObjectUse(table["request_object"]),
            backchannel_logout_uri=table["backchannel_logout_uri"] or None,
            frontchannel_logout_uri=table["frontchannel_logout_uri"] or None,
            security_events=frozenset(table["security_events"]),
            security_events_uri=table["security_events_uri"] or None,
            security_events_authorization=table["security_events_authorization"] or None,
            discourse_connect_secret=table["discourse_connect_secret"] or None,
            **{option: table[option] for option in _AS_GIVEN},
        )

    def _asks(self, key: Key, given: Mapping[str, dict[str, Any]]) -> tuple[AskedClaim, ...]:
        asks = []
        for name, ask in given.items():
            claim, needed = ClaimName(name), ask["use"] == "needed"
            asks.append(AskedClaim(claim=claim, needed=needed, why=ask["why"], audience=ask["audience"]))
            policy = self.fields.get(claim)
            if (policy is None and claim not in _ALWAYS_KEPT) or (policy is not None and policy.use is Use.NEVER):
                self.draft.problem(
                    (*key, "asks", name),
                    "is asked for, but nobody's account holds it.",
                    f"Add [fields.{name}] to doorward.toml, or stop asking.",
                    severity="error" if needed else "warning",
                )
        return tuple(asks)

    def _proof(self, key: Key, table: dict[str, Any], secrets: tuple[Secret, ...]) -> None:
        method = AuthMethod(table["auth_method"])
        public, signs = method is AuthMethod.NONE, method is AuthMethod.SECRET_JWT
        at = (*key, "client_secret")
        if method in _WITHOUT_SECRET and secrets:
            self.draft.problem(
                at, f'A site with auth_method = "{method}" has no secret.', "Remove the one or the other."
            )
        if method not in _WITHOUT_SECRET and not secrets:
            self.draft.problem(
                at, "is missing.", 'Name a source, or write auth_method = "none" for an app that cannot keep one.'
            )
        least = SIGNING_LEAST if signs else SECRET_LEAST
        for secret in secrets:
            if secret and len(secret.reveal()) < least:
                self.draft.problem(
                    at,
                    "This secret can be guessed.",
                    f"Use at least {least} random characters: openssl rand -base64 32.",
                    severity="warning" if self.development else "error",
                )
        if signs:
            self.draft.problem(
                (*key, "auth_method"),
                "The secret has to stay readable here while the server runs.",
                'Prefer "private_key_jwt", where the site alone holds what it signs with.',
                severity="warning",
            )
        self._keys(key, table, needed=method is AuthMethod.PRIVATE_KEY_JWT)
        if table["pkce_required"]:
            return
        if public:
            self.draft.problem(
                (*key, "pkce_required"),
                "A site without a secret cannot do without PKCE.",
                "Remove pkce_required = false.",
            )
        else:
            self.draft.problem(
                (*key, "pkce_required"),
                "This is a downgrade: stolen codes are stopped by the secret alone.",
                "Switch it on as soon as the site's software can.",
                severity="warning",
            )

    def _keys(self, key: Key, table: dict[str, Any], *, needed: bool) -> None:
        at = (*key, "jwks")
        if table["jwks"] and table["jwks_uri"]:
            self.draft.problem(at, "Its keys are in two places.", "Remove jwks or jwks_uri.")
        if needed and not table["jwks"] and not table["jwks_uri"]:
            self.draft.problem(at, "is missing.", "Write jwks or jwks_uri, so that what it signs can be checked.")
        if not table["jwks"] and not table["jwks_uri"]:
            for name in ("request_object", "request_uris"):
                if table[name] not in ("optional", ()):
                    self.draft.problem(
                        (*key, name), "What it signs cannot be checked.", "Write jwks or jwks_uri, or remove it."
                    )
        if table["jwks"] and not _are_public_keys(json.loads(table["jwks"])):
            self.draft.problem(
                at,
                "holds something that cannot check a signature, or a private key.",
                "Write public keys only: RSA of 2048 bits or more, P-256, or Ed25519, each with its own kid.",
            )

    def _returns(self, key: Key, table: dict[str, Any]) -> None:
        """Only a site where people sign in on devices alone, or not at all, has nowhere to come back to."""
        given = self.draft.tree["sites"][key[1]]
        is_fine = table["device_grant"] or table["service_scopes"] or table["serves"]
        if isinstance(given, Mapping) and given.get("redirect_uris") == [] and not is_fine:
            self.draft.problem((*key, "redirect_uris"), "is empty.", 'Write redirect_uris = ["https://…"].')

    def _schemes(self, key: Key, table: dict[str, Any]) -> None:
        """Plain http only to this machine, or anywhere in development (catalogue 4)."""
        places = [((*key, "url"), table["url"]), ((*key, "backchannel_logout_uri"), table["backchannel_logout_uri"])]
        for name in ("redirect_uris", "post_logout_redirect_uris", "resources", "serves", "request_uris"):
            places += [((*key, name, str(number)), uri) for number, uri in enumerate(table[name])]
        for name in (
            "frontchannel_logout_uri",
            "initiate_login_uri",
            "security_events_uri",
            "policy_uri",
            "tos_uri",
            "jwks_uri",
            "sector_identifier_uri",
        ):
            places.append(((*key, name), table[name]))
        for place, uri in places:
            parts = urlsplit(uri)
            if parts.scheme == "http" and not self.development and not is_loopback(parts.hostname):
                self.draft.problem(place, "is plain http: what passes there can be read and changed.", "Use https.")

    def _calls(self, key: Key, table: dict[str, Any]) -> None:
        """What we call ourselves goes to public https addresses only, unless an exception names the very host and port."""
        places = [((*key, name), table[name] or "") for name in _CALLED]
        places += [((*key, "request_uris", str(number)), uri) for number, uri in enumerate(table["request_uris"])]
        for place, uri in places:
            parts = urlsplit(uri)
            port = parts.port or (80 if parts.scheme == "http" else 443)
            if parts.scheme == "http" and not self.development and not is_loopback(parts.hostname):
                continue  # refused already
            inside = is_inside(parts.hostname or "") or parts.scheme == "http" or port != 443
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            if parts.hostname and inside and f"{host}:{port}" not in self.exempt:
                self.draft.problem(
                    place,
                    "is not on the public internet, or not https on port 443, so we do not call it.",
                    f'Allow this one address in doorward.toml: [egress."{host}:{port}"]',
                    severity="warning",
                )

    def _sector(self, key: Key, table: dict[str, Any]) -> None:
        hosts = {urlsplit(uri).hostname for uri in table["redirect_uris"]}
        listed, named = table["sector_identifier_uri"], table["sector"]
        if listed and (named or table["subject_type"] == "public"):
            self.draft.problem(
                (*key, "sector_identifier_uri"),
                "is of no use beside sector, or with public numbers.",
                "Remove the one or the other.",
            )
        if table["subject_type"] == "pairwise" and not named and not listed and len(hosts) > 1:
            self.draft.problem(
                (*key, "redirect_uris"),
                "have several hosts, so it is open over which one people's numbers are made.",
                'Write sector = "…" with the host that stays, or sector_identifier_uri.',
            )

    def _frame(self, key: Key, table: dict[str, Any]) -> None:
        """The site's own addresses, so that no page of ours frames anybody else (Front-Channel Logout 1.0 §2) or sends
        people elsewhere (OpenID Connect Core §4)."""
        origins = {_origin(address) for address in table["redirect_uris"]}
        for name in ("frontchannel_logout_uri", "initiate_login_uri"):
            if table[name] and _origin(table[name]) not in origins:
                self.draft.problem(
                    (*key, name),
                    "has another scheme, host or port than the site's redirect_uris.",
                    "Use an address of the site itself.",
                )

    def _gate(self, key: Key, table: dict[str, Any]) -> None:
        """What a site behind a proxy must have, so that everybody there has a name that is theirs for good."""
        if not table["forward_auth"]:
            return
        callback = f"{origin_of(table['url'])}{CALLBACK}"
        if callback not in table["redirect_uris"]:
            self.draft.problem(
                (*key, "redirect_uris"),
                "do not hold the address where the proxy's sign-in arrives.",
                f'Add "{callback}".',
            )
        name = table["asks"].get(PREFERRED_USERNAME)
        if name is not None and name["use"] != "needed":
            self.draft.problem(
                (*key, "asks", str(PREFERRED_USERNAME), "use"),
                "Remote-User would be a user name for some people and missing for others.",
                'Write use = "needed", or do not ask for it: Remote-User is a private number then.',
            )
        if table["par_required"]:
            self.draft.problem(
                (*key, "par_required"), "A site behind a proxy pushes no requests.", "Remove the one or the other."
            )
        if table["request_object"] != RequestObjectUse.OPTIONAL:
            self.draft.problem(
                (*key, "request_object"), "A site behind a proxy signs no requests.", "Remove the one or the other."
            )
        if table["dpop"] != DpopUse.OPTIONAL:
            self.draft.problem((*key, "dpop"), "A site behind a proxy holds no tokens.", "Remove the one or the other.")

    def _events(self, key: Key, table: dict[str, Any]) -> None:
        """Pushed, or fetched by a site that proves itself in a header (RFC 8936 §3)."""
        wanted, at = table["security_events"], (*key, "security_events")
        self.reader.unknown(at, dict.fromkeys(wanted), CHOICES)
        if table["security_events_uri"]:
            if not wanted:
                self.draft.problem(
                    at, "is empty, so nothing is pushed.", f'Write security_events = ["{CHOICES[0]}", …].'
                )
            return
        if table["security_events_authorization"]:
            self.draft.problem(
                (*key, "security_events_authorization"),
                "is for pushes, and there is no address to push to.",
                "Write security_events_uri, or remove it.",
            )
        if wanted and table["auth_method"] != AuthMethod.BASIC and not {READ, MANAGE} & {*table["service_scopes"]}:
            self.draft.problem(
                at,
                "A site that fetches its events proves itself with client_secret_basic, or with a token of its own.",
                f'Write service_scopes = ["{READ}", "{MANAGE}"], or security_events_uri to have them pushed.',
            )

    def _gitlab(self, key: Key, table: dict[str, Any]) -> None:
        """Such software takes every address as proved, and fails without a name and an address."""
        if not table["gitlab_endpoints"]:
            return
        for claim in (PREFERRED_USERNAME, EMAIL):
            ask = table["asks"].get(claim)
            if ask is None or ask["use"] != "needed":
                self.draft.problem(
                    (*key, "asks", str(claim)),
                    "is not needed, and software that speaks to GitLab fails for people without it.",
                    'Write use = "needed".',
                    severity="warning",
                )

    def _session_token(self, key: Key, table: dict[str, Any]) -> None:
        """A session token is good for whoever holds it."""
        if table["session_token"] and table["dpop"] != DpopUse.OPTIONAL:
            self.draft.problem(
                (*key, "session_token"),
                "is good without the key that dpop demands for everything the site is given.",
                "Remove the one or the other.",
            )

    def _discourse(self, key: Key, table: dict[str, Any]) -> None:
        """A forum takes an answer at one address, signs with a secret, and fails for people without a name and an address."""
        secret = table["discourse_connect_secret"]
        if not secret:
            return
        for option in ("par_required", "dpop", "request_object"):
            if table[option] not in (False, "optional"):
                self.draft.problem(
                    (*key, option),
                    "cannot be demanded of a site with discourse_connect_secret: such software neither pushes nor signs its "
                    "requests that way, and would be let in without.",
                    "Remove the one or the other, or give the forum a second id.",
                )
        if not any(address.endswith(RETURN_PATH) for address in table["redirect_uris"]):
            self.draft.problem(
                (*key, "redirect_uris"),
                "do not hold the address where the forum takes its answer.",
                f'Add "{table["url"].rstrip("/")}{RETURN_PATH}".',
            )
        if len(secret.reveal()) < MIN_SECRET:
            self.draft.problem(
                (*key, "discourse_connect_secret"),
                f"has fewer than {MIN_SECRET} characters, so that it could be guessed from one signed answer.",
                "Take a random one, such as doorward keys generate prints.",
            )
        for claim in (PREFERRED_USERNAME, EMAIL):
            ask = table["asks"].get(claim)
            if ask is None or ask["use"] != "needed":
                self.draft.problem(
                    (*key, "asks", str(claim)),
                    "is not needed, and Discourse fails for people without it.",
                    'Write use = "needed".',
                    severity="warning",
                )

    def _scopes(self, key: Key, scopes: tuple[str, ...]) -> None:
        known = tuple(str(scope) for scope in SCOPES)
        self.reader.unknown((*key, "scopes"), dict.fromkeys(scopes), known)
        if "openid" not in scopes:
            self.draft.problem((*key, "scopes"), "does not hold openid.", 'Write scopes = ["openid", …].')

    def _serves(self, key: Key, table: dict[str, Any]) -> None:
        """Who asks about tokens proves who it is; and what is meant for us is nobody else's."""
        at = (*key, "serves")
        if table["serves"] and table["auth_method"] == AuthMethod.NONE:
            self.draft.problem(
                at,
                "are of no use to a site that proves itself by nothing.",
                "Give it a secret or keys, or remove them.",
            )
        if self.issuer in table["serves"]:
            self.draft.problem(
                at, "hold our own address, which no site serves.", "Write the address of the site's interface."
            )

    def _resources(self, at: Key, resources: tuple[str, ...]) -> None:
        """Absolute addresses without a fragment (RFC 8707 §2), few and short enough to stand in each token."""
        for number, address in enumerate(resources):
            if not is_redirect_uri(address) or "*" in address or len(address) > RESOURCE_MOST:
                self.draft.problem(
                    (*at, str(number)),
                    "is not the address of an interface.",
                    f"Write scheme, host and path, at most {RESOURCE_MOST} letters; no *, blank, user name or #fragment.",
                )
        if len(resources) > RESOURCES_MOST:
            self.draft.problem(at, "are too many.", f"Name at most {RESOURCES_MOST}.")

    def _service(self, key: Key, table: dict[str, Any]) -> None:
        """Scopes of its own, which say nothing about people; and a site that can prove who it is."""
        at, scopes = (*key, "service_scopes"), table["service_scopes"]
        if scopes and table["auth_method"] == AuthMethod.NONE:
            self.draft.problem(
                at,
                "are of no use to a site that proves itself by nothing.",
                "Give it a secret or keys, or remove them: anybody could ask in its name.",
            )
        for number, scope in enumerate(scopes):
            if not _SERVICE_SCOPE.fullmatch(scope) or scope in SCOPES:
                self.draft.problem(
                    (*at, str(number)),
                    "is not usable as a scope without a person.",
                    f"Use 1 to 64 letters, digits and . _ : / -; not one of {', '.join(SCOPES)}.",
                )
        if len(scopes) > SERVICE_SCOPES_MOST:
            self.draft.problem(at, "are too many.", f"Name at most {SERVICE_SCOPES_MOST}.")

    def shared_hosts(self) -> None:
        """Two sites on one host see one number for a person; nobody means that by accident."""
        seen: dict[str, str] = {}
        for client in self.clients.values():
            meant = client.sector or client.sector_identifier_uri
            if client.subject_type is SubjectType.PAIRWISE and not meant and client.redirect_uris:
                other = seen.setdefault(client.sector_identifier, client.client_id)
                if other != client.client_id:
                    self.draft.problem(
                        ("sites", client.client_id, "redirect_uris"),
                        f"are on the same host as those of {other}, so both know a person by the same number.",
                        'Write sector = "…": a name of its own in each, or the same in both if that is meant.',
                        severity="warning",
                    )

    def shared_secrets(self) -> None:
        """Two sites with one secret can pretend to be each other."""
        seen: dict[bytes, str] = {}
        for client in self.clients.values():
            for digest in client.secret_digests:
                other = seen.setdefault(digest, client.client_id)
                if other != client.client_id:
                    self.draft.problem(
                        ("sites", client.client_id, "client_secret"),
                        f"This is also the secret of {other}: each can pretend to be the other.",
                        "Give each site its own.",
                    )


def _are_public_keys(document: Mapping[str, Any]) -> bool:
    """Whether each key of a JWK set can be used, and is nobody's secret."""
    from broker.verification import read_set  # for this alone: the server's parent reads the settings and stays small

    try:
        return len(read_set(document)) == len(document["keys"])
    except UpstreamError:
        return False


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.lower()


_CALLED: Final = ("backchannel_logout_uri", "security_events_uri", "jwks_uri", "sector_identifier_uri")
"""Addresses of a site that we call ourselves."""
_AS_GIVEN: Final = (
    "name", "url", "redirect_uris", "post_logout_redirect_uris", "sector", "claims_in_id_token", "userinfo_signed", "session_token",
    "pkce_required", "device_grant", "gitlab_endpoints", "forward_auth", "may_post", "run_by", "policy_uri", "tos_uri", "enabled",
    "frontchannel_logout_session_required", "initiate_login_uri", "jwks", "strict_jwt", "par_required", "request_uris",
)  # fmt: skip

"""What a site says of itself when it registers (RFC 7591 §2), or in a document at the address that is its id, judged by the very rules that hold for configured sites.

The members are written as the table an admin would have written, and read by the same reader. A registered site gets less:
nothing of it may point inside, it asks for no field as needed, and no member leads to a file or a variable of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from broker.domain.account import is_unseen
from broker.domain.browser_state import origin_of
from broker.domain.claims import SCOPES
from broker.domain.client import AuthMethod, Client, SigningAlgorithm, is_redirect_uri
from broker.domain.policy import FieldPolicy, Use
from broker.domain.values import ClaimName, ClientId, Scope, Secret
from broker.settings_reader import Reader
from broker.settings_sites import read_sites
from broker.settings_sources import Draft

NAME_MOST: Final = 80
ADDRESSES_MOST: Final = 20
SIZE_MOST: Final = 16 * 1024
"""Bytes of a site's keys as JSON."""
GRANTS: Final = frozenset({"authorization_code", "refresh_token"})
WITHOUT_SECRET: Final = ("none", "private_key_jwt")
_SECRET: Final = "SECRET"
_SAME: Final = (
    "redirect_uris", "post_logout_redirect_uris", "request_uris", "jwks_uri", "sector_identifier_uri",
    "backchannel_logout_uri", "frontchannel_logout_uri", "frontchannel_logout_session_required", "initiate_login_uri", "policy_uri",
    "tos_uri",
)  # fmt: skip
"""Members whose name and meaning are those of our option."""
_LOGO: Final = "logo_uri"
_CALLED: Final = ("jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "request_uris", _LOGO)
"""Members whose addresses we call."""
_OTHER_NAMES: Final = {
    "token_endpoint_auth_method": "auth_method",
    "id_token_signed_response_alg": "signing_algorithm",
    "require_pushed_authorization_requests": "par_required",
    _LOGO: "logo",
}
_SWITCHES: Final = {"dpop_bound_access_tokens": "dpop", "require_signed_request_object": "request_object"}
_ONLY: Final[Mapping[str, object]] = {
    "response_types": ["code"],
    "application_type": "web",
    "backchannel_logout_session_required": True,
    "subject_type": "pairwise",
}
"""Members that may say this or be absent: nothing else is done here (RFC 7591 §2)."""
_NOT_DONE: Final = (
    "userinfo_encrypted_response_alg", "id_token_encrypted_response_alg",
    "request_object_encryption_alg", "software_statement", "tls_client_certificate_bound_access_tokens",
)  # fmt: skip
"""Members that would change how we answer; leaving them out unsaid would be a downgrade nobody notices."""
USERINFO_SIGNED: Final = "userinfo_signed_response_alg"
_OF_ITS_ORIGIN: Final = (
    "redirect_uris", "post_logout_redirect_uris", "request_uris", "jwks_uri", "backchannel_logout_uri",
    "frontchannel_logout_uri", "initiate_login_uri", "client_uri", "policy_uri", "tos_uri",
)  # fmt: skip
"""Members of a document that lead people or us somewhere: nowhere else than where the document itself lies."""
_NOT_IN_DOCUMENTS: Final = ("client_secret", "client_secret_expires_at", "sector_identifier_uri")
_DOCUMENT: Final = ClientId("document")
"""What the site is called while it is read: an id that is an address is none of `sites.toml`."""
WHY: Final = {
    "en": "The site registered by itself and gave no reason.",
    "fr": "Le site s’est enregistré lui-même et n’a pas donné de raison.",
}


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """`code` and words of RFC 7591 §3.2.2; the words are ours, never the site's."""

    code: str
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every registration here."""

    issuer: str
    fields: Mapping[ClaimName, FieldPolicy]
    exempt: frozenset[str]
    """Each `host:port` that may be called although it is no public https address."""
    closed: frozenset[str] = frozenset()
    """Each `host:port` that only what the admin configured may name."""
    scopes: frozenset[Scope] = frozenset(SCOPES)
    """The scopes that the initial access token may give away."""
    development: bool = False
    pkce_required: bool = True
    """Off: sites that prove who they are may do without."""

    @property
    def closed_names(self) -> frozenset[str]:
        """The same as they stand in an https address, where port 443 is left out."""
        return frozenset(one.removesuffix(":443") for one in self.closed)


def read_metadata(metadata: Mapping[str, Any], client_id: ClientId, secret: Secret | None, rules: Rules) -> Client:
    """The site that this would be. `secret`: for methods that have one. Raises `Refusal`."""
    _check_bounds(metadata)
    _check_places(metadata, rules)
    table = _table(metadata, rules, has_secret=secret is not None)
    draft = Draft(Path(), {_SECRET: secret.reveal()} if secret is not None else {})
    draft.tree = {"sites": {client_id: table}}
    found = read_sites(
        Reader(draft),
        rules.fields,
        issuer=rules.issuer,
        development=rules.development,
        exempt=rules.exempt,
    )
    # Redirect addresses first: a home page taken from one of them is wrong for the same reason.
    for problem in sorted(draft.problems, key=lambda one: f"{client_id}.redirect_uris" not in one.key):
        name = problem.key.removeprefix(f"{client_id}.").split(".")[0]
        name = _LOGO if name == _OTHER_NAMES[_LOGO] else name
        if problem.severity == "error" or "do not call it" in problem.what:
            code = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
            raise Refusal(code, f"{name} {problem.what}")
    client = found[client_id]
    # A number of its own even where a configured site is on the same host: sharing one is the admin's to say.
    return replace(client, sector=f"registered {client.sector_identifier}")


def place_of(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Where a site is, of metadata that was taken: its host with the port, and the host its sector's list is on."""
    return _place(metadata["redirect_uris"][0]), _place(metadata.get("sector_identifier_uri", ""))


def _place(uri: str) -> str:
    return urlsplit(uri).netloc.lower()


def _check_places(metadata: Mapping[str, Any], rules: Rules) -> None:
    """All of a site is at one host, which people are shown, and none of it at ours or where only the admin may point."""
    places = {_place(uri) for uri in metadata["redirect_uris"]}
    if len(places) > 1:
        raise Refusal("invalid_redirect_uri", "redirect_uris are on several hosts; register a site for each")
    if urlsplit(metadata["redirect_uris"][0]).hostname == urlsplit(rules.issuer).hostname and not rules.development:
        raise Refusal("invalid_redirect_uri", "redirect_uris are on our own host")
    after = metadata.get("post_logout_redirect_uris", ())
    if not all(isinstance(uri, str) and is_redirect_uri(uri) and _place(uri) in places for uri in after):
        raise Refusal("invalid_client_metadata", "post_logout_redirect_uris holds an address on another host")
    logo = metadata.get(_LOGO)
    if logo is not None and not (isinstance(logo, str) and is_redirect_uri(logo) and _place(logo) in places):
        raise Refusal("invalid_client_metadata", f"{_LOGO} is no web address on the host of redirect_uris")
    for name in _CALLED:
        given = metadata.get(name, ())
        for uri in given if isinstance(given, list) else [given]:
            if isinstance(uri, str) and _place(uri).removesuffix(":443") in rules.closed_names:
                raise Refusal("invalid_client_metadata", f"{name} names an address that sites cannot name")


def read_document(document: Mapping[str, Any], client_id: ClientId, rules: Rules) -> Client:
    """The site that the document at `client_id` describes. Raises `Refusal`.

    Stricter than a registration, as nobody was invited: the document names itself and holds no secret (§4, §4.1),
    everything in it that leads somewhere leads to its own origin (§8.1 leaves that to us), PKCE is required, and people have
    a number of their own there even if other documents lie on the same host.
    """
    if document.get("client_id") != client_id:
        raise Refusal("invalid_client_metadata", "client_id is not the address of the document")
    for name in _NOT_IN_DOCUMENTS:
        if name in document:
            raise Refusal("invalid_client_metadata", f"{name} has no place in a document")
    method = document.get("token_endpoint_auth_method", "none")
    if method not in WITHOUT_SECRET:
        raise Refusal("invalid_client_metadata", "token_endpoint_auth_method is none or private_key_jwt")
    for name in _OF_ITS_ORIGIN:
        given = document.get(name, [])
        for uri in given if isinstance(given, list) else [given]:
            where = uri.partition("#")[0] if name == "request_uris" and isinstance(uri, str) else uri
            if not isinstance(where, str) or not is_redirect_uri(where) or origin_of(where) != origin_of(client_id):
                code = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
                raise Refusal(code, f"{name} leads elsewhere than to {origin_of(client_id)}")
    said = {**document, "token_endpoint_auth_method": method}
    if leaves_out_logo(document, client_id):
        del said[_LOGO]
    client = read_metadata(said, _DOCUMENT, None, replace(rules, pkce_required=True))
    return replace(client, client_id=client_id, sector=str(client_id))


def leaves_out_logo(document: Mapping[str, Any], client_id: str) -> bool:
    """Whether the document names a logo that is not looked at, as it lies at another origin. Nobody is kept out over a picture."""
    logo = document.get(_LOGO)
    is_there = isinstance(logo, str) and is_redirect_uri(logo) and origin_of(logo) == origin_of(client_id)
    return _LOGO in document and not is_there


def _check_bounds(metadata: Mapping[str, Any]) -> None:
    for name, wanted in _ONLY.items():
        if name in metadata and metadata[name] != wanted:
            raise Refusal("invalid_client_metadata", f"{name} can only be {json.dumps(wanted)}")
    for name in _NOT_DONE:
        if name in metadata:
            raise Refusal("invalid_client_metadata", f"{name} is not supported")
    for name in ("redirect_uris", "post_logout_redirect_uris", "request_uris"):
        given = metadata.get(name)
        if isinstance(given, list) and len(given) > ADDRESSES_MOST:
            raise Refusal("invalid_client_metadata", f"{name} holds more than {ADDRESSES_MOST}")
    grants = metadata.get("grant_types", ["authorization_code"])
    if not isinstance(grants, list) or "authorization_code" not in grants or not GRANTS.issuperset(map(str, grants)):
        raise Refusal("invalid_client_metadata", "grant_types are authorization_code, and refresh_token if wanted")
    uris = metadata.get("redirect_uris")
    if not isinstance(uris, list) or not uris:
        raise Refusal("invalid_redirect_uri", "redirect_uris is missing")
    if not all(isinstance(uri, str) and is_redirect_uri(uri) for uri in uris):
        raise Refusal("invalid_redirect_uri", "redirect_uris holds something to which nobody can be sent")


def _table(metadata: Mapping[str, Any], rules: Rules, *, has_secret: bool) -> dict[str, Any]:
    """The site's table of `sites.toml`."""
    home = _home(metadata)
    table: dict[str, Any] = {
        "name": _name(metadata, home),
        "url": home,
        "scopes": sorted(_scopes(metadata, rules)),
        "asks": {
            str(claim): {"use": "optional", "why": WHY}
            for scope in sorted(_scopes(metadata, rules))
            for claim in SCOPES[Scope(scope)]
            if (policy := rules.fields.get(claim)) is not None and policy.use is not Use.NEVER
        },
    }
    table |= {name: metadata[name] for name in _SAME if name in metadata}
    table |= {ours: metadata[name] for name, ours in _OTHER_NAMES.items() if name in metadata}
    for name, ours in _SWITCHES.items():
        if name in metadata:
            if not isinstance(metadata[name], bool):
                raise Refusal("invalid_client_metadata", f"{name} is neither true nor false")
            table[ours] = "required" if metadata[name] else "optional"
    if metadata.get("token_endpoint_auth_method") == AuthMethod.SECRET_JWT:
        raise Refusal("invalid_client_metadata", "token_endpoint_auth_method cannot be client_secret_jwt")
    if not rules.pkce_required and metadata.get("token_endpoint_auth_method") != AuthMethod.NONE:
        table["pkce_required"] = False
    if USERINFO_SIGNED in metadata:
        table["userinfo_signed"] = _userinfo_signed(metadata)
    if "jwks" in metadata:
        table["jwks"] = _keys(metadata["jwks"])
    if has_secret:
        table["client_secret"] = {"env": _SECRET}
    return table


def _userinfo_signed(metadata: Mapping[str, Any]) -> bool:
    """A site's answers have one algorithm, which that of its ID tokens names (OpenID Connect Registration §2)."""
    if metadata[USERINFO_SIGNED] != metadata.get("id_token_signed_response_alg", SigningAlgorithm.RS256):
        words = f"{USERINFO_SIGNED} can only be what id_token_signed_response_alg is; without it userinfo is JSON"
        raise Refusal("invalid_client_metadata", words)
    return True


def known_members(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a site says, what means something here; the rest is not kept in mind (RFC 7591 §2)."""
    known = {
        *_SAME,
        *_OTHER_NAMES,
        *_SWITCHES,
        *_ONLY,
        USERINFO_SIGNED,
        "jwks",
        "client_name",
        "client_uri",
        "scope",
        "grant_types",
    }
    return {name: value for name, value in metadata.items() if name in known}


def needs_secret(metadata: Mapping[str, Any]) -> bool:
    """Whether a secret is to be made for it (RFC 7591 §2: `client_secret_basic` unless it says otherwise)."""
    return metadata.get("token_endpoint_auth_method", "client_secret_basic") not in WITHOUT_SECRET


def _home(metadata: Mapping[str, Any]) -> str:
    """Its home page: on a host that people are sent back to, so that nobody shows another's address as their own."""
    home = metadata.get("client_uri", f"{origin_of(metadata['redirect_uris'][0])}/")
    if not isinstance(home, str) or not is_redirect_uri(home):
        raise Refusal("invalid_client_metadata", "client_uri is not a web address")
    if urlsplit(home).netloc not in {urlsplit(uri).netloc for uri in metadata["redirect_uris"]}:
        raise Refusal("invalid_client_metadata", "client_uri is on another host than redirect_uris")
    return home


def _name(metadata: Mapping[str, Any], home: str) -> object:
    name = metadata.get("client_name", urlsplit(home).netloc)
    if isinstance(name, str) and len(name) > NAME_MOST:
        raise Refusal("invalid_client_metadata", f"client_name is longer than {NAME_MOST} letters")
    if isinstance(name, str) and not any(ch.isalnum() and not is_unseen(ch) for ch in name):
        raise Refusal("invalid_client_metadata", "client_name holds no letter or digit that can be seen")
    return name


def _scopes(metadata: Mapping[str, Any], rules: Rules) -> frozenset[str]:
    """What it asks for, as far as it can be given (RFC 7591 §2: the server may give less)."""
    asked = metadata.get("scope", " ".join(rules.scopes))
    if not isinstance(asked, str):
        raise Refusal("invalid_client_metadata", "scope is not text")
    return frozenset(map(str, rules.scopes)).intersection(asked.split(" ")) | {"openid"}


def _keys(jwks: object) -> str:
    if not isinstance(jwks, dict):
        raise Refusal("invalid_client_metadata", "jwks is not an object")
    text = json.dumps(jwks)
    if len(text) > SIZE_MOST:
        raise Refusal("invalid_client_metadata", "jwks is too large")
    return text

"""Every option that exists: its name, kind, default and meaning. One list makes the reader, the JSON Schema and the
check that `config/` documents each of them.

Standard library only; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker.domain.claims import GIVEN, LABELS, SCOPES


class Kind(StrEnum):
    """What can stand behind an option's equals sign."""

    TEXT = "text"
    ADDRESS = "address"
    FLAG = "flag"
    NUMBER = "number"
    CHOICE = "choice"
    TEXTS = "texts"
    ADDRESSES = "addresses"
    FETCHED = "fetched"
    """Addresses that we ask; of no matter is what stands behind a `#`."""
    NETWORKS = "networks"
    FILE = "file"
    DATE = "date"
    WORDS = "words"
    """One text, or a table of texts by language tag."""
    SECRET = "secret"
    JSON = "json"
    """A JSON object, written as text."""
    SECRETS = "secrets"
    """One secret, or a list of two while one is being replaced."""
    TABLE = "table"
    """A table with options of its own, or with keys that the admin names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key of the configuration."""

    name: str
    kind: Kind
    doc: str
    default: object = None
    needed: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    inside: tuple[Option, ...] = ()
    """Kind TABLE: the options of the table, or of each of the tables inside it."""
    by_name: tuple[str, ...] | None = None
    values: Kind = Kind.ADDRESS
    """What stands behind names that the admin gives, where no table does."""
    """Kind TABLE: the table holds tables named by the admin; the names allowed, empty for any."""


def _text(name: str, doc: str, default: str = "", *, needed: bool = False) -> Option:
    return Option(name=name, kind=Kind.TEXT, doc=doc, default=None if needed else default, needed=needed)


def _address(name: str, doc: str, default: str = "", *, needed: bool = False) -> Option:
    return Option(name=name, kind=Kind.ADDRESS, doc=doc, default=None if needed else default, needed=needed)


def _flag(name: str, doc: str, *, default: bool) -> Option:
    return Option(name=name, kind=Kind.FLAG, doc=doc, default=default)


def _number(name: str, doc: str, default: int, least: int, most: int) -> Option:
    return Option(name=name, kind=Kind.NUMBER, doc=doc, default=default, least=least, most=most)


def _choice(name: str, doc: str, choices: tuple[str, ...], default: str) -> Option:
    return Option(name=name, kind=Kind.CHOICE, doc=doc, choices=choices, default=default)


def _texts(
    name: str, doc: str, default: tuple[str, ...] = (), kind: Kind = Kind.TEXTS, *, needed: bool = False
) -> Option:
    return Option(name=name, kind=kind, doc=doc, default=None if needed else default, needed=needed)


def _words(name: str, doc: str, *, needed: bool = False) -> Option:
    return Option(name=name, kind=Kind.WORDS, doc=doc, needed=needed)


def _secret(name: str, doc: str, kind: Kind = Kind.SECRET) -> Option:
    return Option(name=name, kind=kind, doc=doc)


AUDIENCES: Final = ("only_you", "admins", "members", "everyone")
CLAIMS: Final = tuple(str(claim) for claim in LABELS)
KEPT: Final = tuple(str(claim) for claim in GIVEN)

BROKER: Final = (
    _address("public_url", "The address people see in their browser: scheme and host, nothing after it.", needed=True),
    _choice(
        "mode",
        "Development allows plain http on this machine, makes a master key by itself and shows more when something fails.",
        ("production", "development"),
        "production",
    ),
    _text("brand", "The name on every page.", "Doorward"),
    _text("operator_name", "Who runs this service; named in the privacy notice."),
    _text("operator_contact", "An e-mail address or page where people reach you; named in the privacy notice."),
    _text("host", "The network address to listen on. A reverse proxy on this machine needs no more than this.", "127.0.0.1"),
    _number("port", "The port to listen on.", 8000, 1, 65535),
    _number("workers", "Server processes. One for each processor is a good number.", 1, 1, 64),
    Option(
        name="data_dir",
        kind=Kind.FILE,
        doc="Where the embedded database and run-time files lie. Relative paths start at this configuration folder.",
        default="data",
    ),
    _secret(
        "database_url",
        "The database. Nothing: one SQLite file in data_dir. Several machines need PostgreSQL: postgresql://user:word@host/name.",
    ),
    _secret("redis_url", "Redis for browser memory: redis://host:6379/0. Nothing: the database keeps it."),
    _secret(
        "master_key",
        "32 random bytes as base64 or hex; wraps every key that protects stored data. Lose it and all stored data is lost.",
    ),
    _texts(
        "trusted_proxies",
        "Networks whose X-Forwarded-For is believed. Nothing: no proxy is.",
        kind=Kind.NETWORKS,
    ),
    _texts("locales", "The languages of the pages.", ("en", "fr")),
    _text("default_locale", "The language when a browser asks for none of them.", "en"),
    _flag("posting_enabled", "Whether people may turn posting on at all. Each still has to, site by site.", default=False),
    _text("metrics_host", "The network address of the metrics page.", "127.0.0.1"),
    _number("metrics_port", "The port of the metrics page for Prometheus. 0: none.", 0, 0, 65535),
    _choice("log_level", "How much is logged.", ("debug", "info", "warning", "error"), "info"),
    _choice(
        "log_format", "JSON lines, or lines for reading. Auto: console in development, json otherwise.",
        ("auto", "json", "console"), "auto",
    ),
    _flag("log_requests", "Whether each request gets a line, by the name of its route. A proxy in front often writes one too.", default=False),
    _flag(
        "status_lists",
        "Whether session tokens say where a site finds out that they ended early, without asking for each of them.",
        default=True,
    ),
    _flag(
        "session_management",
        "Whether sites' pages may watch through a frame of ours, which has a cookie of its own, that somebody signed out.",
        default=False,
    ),
    _flag(
        "passkeys",
        "Whether people may add passkeys to their accounts and sign in with them. They belong to the host of public_url: another one ends them all.",
        default=False,
    ),
    _choice(
        "registration",
        "Whether sites may register by themselves (RFC 7591): not at all, or with an invitation of yours (doorward site invite).",
        ("off", "invited"), "off",
    ),
    _flag(
        "registration_pkce",
        "Whether sites that register have to use PKCE. Off is a downgrade, for software that cannot and for conformance suites.",
        default=True,
    ),
    _choice(
        "client_documents",
        "Whether a site may come by itself, its client_id the address of a document about it: no, from hosts you list, or from any.",
        ("off", "listed", "any"), "off",
    ),
    _texts("client_document_hosts", "Hosts of such sites: app.example.org, with a port if it is not 443.", ()),
    _number("session_idle_hours", "Hours without a visit after which a browser is signed out.", 24, 1, 720),
    _number("session_days", "Days after which a browser is signed out in any case.", 14, 1, 90),
    _number("stop_seconds", "Seconds that running requests get to finish when the server stops.", 30, 1, 600),
    _number(
        "drain_seconds", "Seconds that /readyz says no before the server stops listening, for load balancers that ask it.",
        0, 0, 120,
    ),
)  # fmt: skip

LIMITS: Final = (
    _number("client_failures_per_minute", "Wrong site secrets from one address in a minute.", 30, 1, 10_000),
    _number("sign_ins_per_minute", "Sign-ins begun from one address in a minute.", 60, 1, 10_000),
    _number("sign_ups_per_hour", "Accounts made from one address in an hour.", 20, 1, 10_000),
    _number("posts_per_hour", "Posts of one account in an hour.", 20, 1, 10_000),
    _number(
        "connections", "Requests that one server process works on at once; more are answered 503.", 512, 16, 100_000
    ),
)

AGE: Final = (
    _number(
        "minimum",
        "Years that somebody must be old to make an account. 0: nobody is asked. Above 0, month and year of birth are asked "
        "once, before any provider, and not kept; whoever has an account already says so there, and goes on to sign in.",
        0,
        0,
        25,
    ),
)

MAIL: Final = (
    _text("host", "The mail server that takes our letters. Nothing: nobody is written to."),
    _number("port", "Its port: 587 with starttls, 465 with tls, 25 for a relay on this machine.", 587, 1, 65535),
    _choice(
        "security",
        "How the way there is protected. none: only for a relay on this machine.",
        ("starttls", "tls", "none"),
        "starttls",
    ),
    _text("user_name", "What we sign in to it as. Nothing: it asks for no name."),
    _secret("password", "And with which password."),
    _text("sender", "The address that letters come from."),
    _text("sender_name", "The name beside it. Nothing: the brand."),
    Option(
        name="ca_file",
        kind=Kind.FILE,
        doc="Certificates to check the mail server's TLS against, instead of the system's.",
        default="",
    ),
    _flag(
        "sign_in_codes",
        "Whether people may turn on, each for their own account, that a code sent to their address signs them in.",
        default=False,
    ),
)

FIELD: Final = (
    _words("purpose", "What the field is for, in words that people read.", needed=True),
    Option(name="audience", kind=Kind.CHOICE, doc="Who sees it.", choices=AUDIENCES, needed=True),
    _choice(
        "use",
        "Needed to have an account, the person's choice, or never kept.",
        ("needed", "optional", "never"),
        "optional",
    ),
    _text("retention", "How long it is kept: until_closed, or a number of days.", "until_closed"),
    _flag("editable", "Whether people can change it.", default=True),
)

POLICY: Final = (
    Option(name="effective_from", kind=Kind.DATE, doc="The day it takes effect: 2026-12-01.", needed=True),
    _texts("changes", "What is different from the version before, a sentence each."),
)

NEWSLETTER: Final = (
    _words("label", "What the newsletter is called.", needed=True),
    _words("rhythm", "How often it comes.", needed=True),
    _text("sender", "Who sends it.", needed=True),
)

EGRESS: Final = (
    Option(
        name="ca_file",
        kind=Kind.FILE,
        doc="Certificates to check its TLS against, instead of the system's.",
        default="",
    ),
    _flag("registered_sites", "Whether sites that registered by themselves may name this address too.", default=False),
)

ASK: Final = (
    _choice("use", "Whether the site can do without it.", ("needed", "optional"), "optional"),
    _words("why", "Why the site asks, in words that people read.", needed=True),
    _choice("audience", "Who sees it there.", AUDIENCES, "members"),
)

SITE: Final = (
    _text("name", "What people know the site as.", needed=True),
    _address("url", "Its home page.", needed=True),
    _texts("redirect_uris", "Where people come back to after signing in, character for character.", kind=Kind.ADDRESSES, needed=True),
    _secret("client_secret", "What the site proves itself with. A list of two while one is being replaced.", Kind.SECRETS),
    _choice(
        "auth_method", "How it proves itself. none: an app that cannot keep a secret.",
        ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"), "client_secret_basic",
    ),
    Option(name="jwks", kind=Kind.JSON, doc="The public keys it signs with, as a JWK set. Nothing: it has none, or publishes them.", default=""),
    _address("jwks_uri", "Where it publishes the public keys it signs with."),
    _flag(
        "strict_jwt",
        "What it signs names our address as its only audience, and is not signed with RS256, as FAPI 2.0 has it.",
        default=False,
    ),
    _choice(
        "profile",
        "A whole set of rules for it: the FAPI 2.0 Security Profile, or that and Message Signing. Sets the options it needs.",
        ("none", "fapi2", "fapi2-message-signing"), "none",
    ),
    Option(name="asks", kind=Kind.TABLE, doc="The fields it asks for, and why.", default={}, inside=ASK, by_name=CLAIMS),
    _texts("scopes", "The scopes it may ask for.", tuple(str(scope) for scope in SCOPES)),
    _choice("subject_type", "Whether sites see different numbers for one person.", ("pairwise", "public"), "pairwise"),
    _text("sector", "Sites with one sector see one number for a person. Nothing: the host of redirect_uris."),
    _address(
        "sector_identifier_uri",
        "Where the redirect addresses of all sites that see one number for a person are listed; its host is their sector.",
    ),
    _choice("signing_algorithm", "How its tokens are signed.", ("RS256", "ES256"), "RS256"),
    _flag("session_token", "Answer with a signed session token too, for the sign-in kit.", default=False),
    _choice(
        "access_tokens",
        "What its access tokens look like. jwt: the site's own interfaces can check them without asking us (RFC 9068).",
        ("opaque", "jwt"), "opaque",
    ),
    _texts("resources", "Addresses of interfaces that its access tokens may be meant for, if it names them (resource, RFC 8707)."),
    _texts("serves", "Addresses of interfaces it runs: it may ask what tokens for them are worth, its own and other sites'."),
    _texts(
        "service_scopes",
        "Scopes that its server may have for itself, with no person behind it (client credentials). Nothing: no such tokens.",
    ),
    _flag("claims_in_id_token", "Put the fields into the ID token too, for software that reads nothing else.", default=False),
    _flag("userinfo_signed", "Answer at userinfo with a signed JWT instead of JSON, for software that wants one.", default=False),
    _flag("pkce_required", "Off is a downgrade, for old software that holds a secret.", default=True),
    _flag("par_required", "Take its requests only if its server pushed them before (PAR).", default=False),
    _texts("security_events", "Which security events it wants to hear of: session-revoked, credential-change, account-disabled, account-enabled, account-purged."),
    _address("security_events_uri", "Where they are pushed. Nothing: the site fetches them at /events."),
    _secret("security_events_authorization", "The whole Authorization header that a push carries, such as Bearer and a token of the site's."),
    _flag("device_grant", "Whether people may sign in on devices of it that have no browser, by a code they type.", default=False),
    _flag("gitlab_endpoints", "For software that has a place for GitLab and nothing else: answers at GitLab's addresses and in its shape.", default=False),
    _secret("discourse_connect_secret", "What a Discourse forum that asks by DiscourseConnect and we sign with: its discourse_connect_secret."),
    _choice(
        "request_object",
        "Whether it signs what it asks, with its keys (JAR): as it likes, or always.",
        ("optional", "required"), "optional",
    ),
    _texts("request_uris", "Where it may leave what it signed, for us to fetch. Compared character by character, up to a #.", kind=Kind.FETCHED),
    _choice(
        "dpop",
        "Whether what it is given is of use only with a key that it shows each time (DPoP): as it likes, always, or always and with a nonce of ours.",
        ("optional", "required", "nonce"), "optional",
    ),
    _flag("forward_auth", "Whether a proxy in front of it asks us for each request who sends it.", default=False),
    _flag("may_post", "Whether people can let it post for them.", default=False),
    _texts("post_logout_redirect_uris", "Where people may come back to after signing out.", kind=Kind.ADDRESSES),
    _address("backchannel_logout_uri", "Where it hears that somebody signed out."),
    _address(
        "frontchannel_logout_uri",
        "Where a browser that signs out is sent in a hidden frame. For software that knows no backchannel_logout_uri.",
    ),
    _flag(
        "frontchannel_logout_session_required",
        "Whether that address is called with the issuer and the session, so that a forged call ends nothing.",
        default=True,
    ),
    _address(
        "initiate_login_uri",
        "Where people who open the site from My account are sent, so that it signs them in at once. Nothing: to its home page.",
    ),
    _text("run_by", "Who runs the site."),
    _address("policy_uri", "Its privacy notice."),
    _address("tos_uri", "Its terms, linked beside its privacy notice."),
    _text("logo", "Its logo: a file (PNG, WebP or JPEG), or an https address, fetched once. Shown beside its name, from here."),
    _flag("enabled", "Off: nobody can sign in there.", default=True),
)  # fmt: skip

PROVIDER: Final = (
    _text("kind", "How it speaks: facebook, apple, microsoft, openid_connect, typed_openid_connect, oauth2, mastodon, atproto, openid2, steam.", needed=True),
    _text("client_id", "What it knows us as. OpenID 2.0 and Steam know us by our address alone; Mastodon servers, those of the AT Protocol and typed providers we tell ourselves."),
    _secret("client_secret", "What we prove ourselves to it with. Steam: the key of its Web API. Apple: its key file."),
    _text("team_id", "Apple: the team whose key client_secret is."),
    _text("key_id", "Apple: what that key is called."),
    _text("label", "What the button says. Nothing: the table's name."),
    _address("issuer", "OpenID Connect: who signs. Compared character by character. OAuth 2.0: the service's address, for good. AT Protocol: the server of who types nothing."),
    _texts("identifiers", "OpenID 2.0: how the addresses of people start that it may name."),
    _address(
        "openid2_realm",
        "OpenID Connect: our address in OpenID 2.0, if people signed in here by it. Asks the provider who they were, so that they keep their accounts.",
    ),
    _choice(
        "discovery",
        "OpenID 2.0, typed OpenID Connect, Mastodon, AT Protocol: whether people type an address, a server or a handle themselves: not, one of the named hosts, any.",
        ("off", "hosts", "any"), "off",
    ),
    _texts("hosts", 'With discovery = "hosts": every host that may be asked, of people and of providers. *.example.org: all under it.'),
    _texts("fields", "What it may tell us, in the order to show.", ("name", "email", "picture")),
    _texts("scopes", "What is asked for at sign-in. Nothing: what the fields need."),
    _text("subject", "OAuth 2.0: where its answer about a person has what never changes about them.", "sub"),
    Option(
        name="claims", kind=Kind.TABLE, doc="OAuth 2.0: where that answer has each field.", default={}, by_name=(),
        values=Kind.TEXT,
    ),
    _text("email_scope", "What is asked for the e-mail address, beside scopes, where the provider has its own word for it."),
    _text("subject_within", "OpenID Connect: the claim within whose value sub is one person. Nothing: sub alone is."),
    _flag("asks_claims", "OpenID Connect: ask for each field by name, for a provider that tells nothing otherwise.", default=False),
    Option(name="endpoints", kind=Kind.TABLE, doc="Addresses that replace the provider's own.", default={}, by_name=()),
    _choice(
        "token_endpoint_auth_method", "How we prove ourselves.",
        ("client_secret_basic", "client_secret_post", "private_key_jwt", "none"), "client_secret_basic",
    ),
    _texts("algorithms", "Signatures that are accepted.", ("RS256", "ES256")),
    Option(
        name="request_object",
        kind=Kind.CHOICE,
        choices=("by_value", "by_reference"),
        doc="OpenID Connect: what we ask goes there as one object that we sign: in the address, or fetched from us. Nothing: piece by piece.",
    ),
    _choice("request_object_signing_alg", "What it is signed with. none, only by_reference: nobody signs it.", ("RS256", "ES256", "none"), "RS256"),
    _choice("token_endpoint_auth_signing_alg", "OpenID Connect: what we sign with for private_key_jwt.", ("RS256", "ES256"), "RS256"),
    Option(
        name="userinfo_signed_response_alg",
        kind=Kind.CHOICE,
        choices=("RS256", "ES256", "PS256", "RS384", "RS512", "ES384", "PS384", "PS512", "Ed25519"),
        doc="OpenID Connect: what its userinfo has to be signed with. Nothing: need not be, and whatever is signed is checked.",
    ),
    _texts("trusted_audiences", "Audiences of ID tokens that are accepted beside our own."),
    _flag("nonce", "OpenID Connect: whether its ID tokens repeat our nonce. Off is a downgrade, for one that forgets it.", default=True),
    Option(name="pkce", kind=Kind.FLAG, doc="Whether PKCE is used. Nothing: as the kind of provider has it."),
    Option(
        name="response_mode",
        kind=Kind.CHOICE,
        choices=("query", "form_post"),
        doc="How its answer comes: in the address, or as a form. Nothing: as the provider does by itself.",
    ),
    _flag("trusts_email", "Whether its word that an address is verified counts.", default=False),
    _flag("trusts_phone", "OpenID Connect: whether its word that a phone number is verified counts.", default=False),
    _texts("acr_values", "Levels of authentication (acr) that its word counts for. Sites may ask for them; others are not passed on."),
    Option(name="secret_ends", kind=Kind.DATE, doc="The day the client secret runs out: 2027-03-01. doorward check warns 60 days before."),
    _flag(
        "frontchannel_logout",
        "OpenID Connect: let its page tell us, in a frame, that somebody signed out there. For one that has no back-channel logout.",
        default=False,
    ),
    _flag(
        "limited_login",
        "Facebook: let apps of sites bring tokens of Limited Login (iOS), at /par/ID/limited-login. Any other kind has no such thing.",
        default=False,
    ),
    _flag(
        "rp_initiated_logout",
        "OpenID Connect: offer people who sign out of everything here to sign out there too. It must know /signed-out/ID here.",
        default=False,
    ),
    _flag(
        "id_token_hint",
        "OpenID Connect: keep the ID token with the session, and tell the provider by it who signs out there (rp_initiated_logout).",
        default=False,
    ),
    _flag("can_force_fresh", "Whether it checks the person anew when asked to.", default=True),
    _text("graph_version", "Facebook: the version of the Graph API.", "v26.0"),
    _address("privacy_policy_url", "Its privacy policy, linked beside the button."),
    _text("host", "The host shown beside the button. Nothing: taken from the addresses."),
    _text("brand", "Which mark the button wears. Nothing: none."),
    _text("logo", "What the button wears where brand has no mark: a file (PNG, WebP or JPEG), or an https address, fetched once."),
    _choice(
        "state",
        "Whether people can use it. testers, admins: only who is signed in with such a role. test: only who tries it (doorward provider try).",
        ("on", "testers", "admins", "test", "off"), "on",
    ),
    _flag("sandbox", "A provider of the demo; refused in production.", default=False),
    _number("order", "Where it stands among the buttons; small numbers first.", 100, -10_000, 10_000),
    Option(
        name="posting", kind=Kind.TABLE, doc="How posts reach this network. Without it nothing can be posted there.",
        inside=(
            _text("kind", "How it posts: facebook_share, mastodon or x.", needed=True),
            _address("url", "Where posts go; for a share window, its address."),
            _texts("scopes", "What the person must grant; asked only on the opt-in page, never at sign-in."),
            _texts("lasting_scopes", "What is asked for beside them, so that posting works on: offline_access, or its own word."),
            _choice("visibility", "Who sees a post, where the network lets us say.", ("public", "unlisted", "private"), "public"),
        ),
    ),
)  # fmt: skip

DOORWARD: Final = (
    Option(name="broker", kind=Kind.TABLE, doc="The service itself.", inside=BROKER),
    Option(name="limits", kind=Kind.TABLE, doc="How often things may be tried.", inside=LIMITS),
    Option(name="age", kind=Kind.TABLE, doc="Who may make an account.", inside=AGE),
    Option(name="mail", kind=Kind.TABLE, doc="Who carries our letters to people.", inside=MAIL),
    Option(name="fields", kind=Kind.TABLE, doc="What is kept about people, and why.", inside=FIELD, by_name=KEPT),
    Option(name="terms", kind=Kind.TABLE, doc="Published versions of the terms.", inside=POLICY, by_name=()),
    Option(name="privacy", kind=Kind.TABLE, doc="Published versions of the privacy notice.", inside=POLICY, by_name=()),
    Option(
        name="newsletters", kind=Kind.TABLE, doc="Newsletters that people can choose.", inside=NEWSLETTER, by_name=()
    ),
    Option(
        name="egress",
        kind=Kind.TABLE,
        doc="Exact host:port addresses that may be reached although they are private, not https, or on another port. Not by what people name when they sign in, unless hosts of that provider lists the host.",
        inside=EGRESS,
        by_name=(),
    ),
)
PROVIDERS: Final = Option(name="providers", kind=Kind.TABLE, doc="Ways to sign in, by id.", inside=PROVIDER, by_name=())
SITES: Final = Option(name="sites", kind=Kind.TABLE, doc="Community sites, by client id.", inside=SITE, by_name=())
EVERYTHING: Final = (*DOORWARD, PROVIDERS, SITES)
"""All options as one tree: what a file in `conf.d` may hold."""


def option_at(path: tuple[str, ...], options: tuple[Option, ...] = EVERYTHING) -> Option | None:
    """The option that a path leads to, names given by the admin included; `None` if there is none."""
    known = {option.name: option for option in options}
    option = known.get(path[0]) if path else None
    if option is None or len(path) == 1:
        return option
    rest = path[1:]
    if option.by_name is None:
        return option_at(rest, option.inside)
    if not option.inside:  # the admin names keys, not tables: `endpoints`, `claims`
        return Option(name=rest[0], kind=option.values, doc="") if len(rest) == 1 else None
    return option_at(rest[1:], option.inside) if len(rest) > 1 else option


def json_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of the three files: `$defs` holds one for each, the top is what `conf.d` may hold."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Doorward configuration",
        **_table_schema(EVERYTHING),
        "$defs": {
            "doorward.toml": _table_schema(DOORWARD),
            "providers.toml": _schema(PROVIDERS),
            "sites.toml": _schema(SITES),
        },
    }


def _table_schema(options: tuple[Option, ...]) -> dict[str, object]:
    out: dict[str, object] = {
        "type": "object",
        "properties": {option.name: _schema(option) for option in options},
        "additionalProperties": False,
    }
    needed = [option.name for option in options if option.needed]
    return out | ({"required": needed} if needed else {})


_TEXT: Final[Mapping[str, object]] = {"type": "string"}
_LIST: Final[Mapping[str, object]] = {"type": "array", "items": _TEXT}
_URIS: Final[Mapping[str, object]] = {"type": "array", "items": {"type": "string", "format": "uri"}}
_SOURCE: Final[Mapping[str, object]] = {
    "oneOf": [
        _TEXT,
        *(
            {"type": "object", "properties": {source: _TEXT}, "required": [source], "additionalProperties": False}
            for source in ("file", "env", "credential")
        ),
    ]
}
_SHAPES: Final[Mapping[Kind, Mapping[str, object]]] = {
    Kind.TEXT: _TEXT,
    Kind.FILE: _TEXT,
    Kind.JSON: _TEXT,
    Kind.ADDRESS: {"type": "string", "format": "uri"},
    Kind.FLAG: {"type": "boolean"},
    Kind.NUMBER: {"type": "integer"},
    Kind.CHOICE: _TEXT,
    Kind.TEXTS: _LIST,
    Kind.ADDRESSES: _URIS,
    Kind.FETCHED: _URIS,
    Kind.NETWORKS: _LIST,
    Kind.DATE: {},  # a TOML date; JSON Schema has no word for it
    Kind.WORDS: {"oneOf": [_TEXT, {"type": "object", "additionalProperties": _TEXT, "required": ["en"]}]},
    Kind.SECRET: _SOURCE,
    Kind.SECRETS: {"oneOf": [_SOURCE, {"type": "array", "items": _SOURCE, "maxItems": 2}]},
}


def _schema(option: Option) -> dict[str, object]:
    out = _tables_schema(option) if option.kind is Kind.TABLE else dict(_SHAPES[option.kind])
    out["description"] = option.doc
    if option.choices:
        out["enum"] = list(option.choices)
    for word, limit in (("minimum", option.least), ("maximum", option.most)):
        if limit is not None:
            out[word] = limit
    if option.default is not None and option.kind is not Kind.TABLE:
        out["default"] = list(option.default) if isinstance(option.default, tuple) else option.default
    return out


def _tables_schema(option: Option) -> dict[str, object]:
    if option.by_name is None:
        return _table_schema(option.inside)
    single: dict[str, object] = {"type": "string", **({"format": "uri"} if option.values is Kind.ADDRESS else {})}
    each: dict[str, object] = _table_schema(option.inside) if option.inside else single
    out: dict[str, object] = {"type": "object", "additionalProperties": each}
    return out | ({"propertyNames": {"enum": list(option.by_name)}} if option.by_name else {})

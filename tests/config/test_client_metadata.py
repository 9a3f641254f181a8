"""What a site says of itself when it registers: nothing gets in that an admin could not have written, and less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.client_metadata import Refusal, Rules, needs_secret, read_document, read_metadata
from broker.domain.client import AuthMethod, Client, DpopUse, SubjectType
from broker.domain.policy import Audience, FieldPolicy, Use
from broker.domain.values import ClaimName, ClientId, Scope, Secret

SITE = ClientId("r-0123456789abcdef")
CALLBACK = "https://forum.example.org/cb"
NAME, EMAIL = ClaimName("name"), ClaimName("email")


def field(claim: ClaimName, use: Use) -> FieldPolicy:
    why = {"en": "x"}
    return FieldPolicy(
        claim=claim, use=use, audience=Audience.MEMBERS, purpose=why, editable=True, retention="until_closed"
    )


RULES = Rules(
    issuer="https://login.club.example",
    fields={NAME: field(NAME, Use.NEEDED), EMAIL: field(EMAIL, Use.NEVER)},
    exempt=frozenset(),
)


def registered(rules: Rules = RULES, **metadata: Any) -> Client:
    said = {"redirect_uris": [CALLBACK], **metadata}
    secret = Secret("s" * 43) if needs_secret(said) else None
    return read_metadata(said, SITE, secret, rules)


def refused(**metadata: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        registered(**metadata)
    return caught.value


def test_a_site_that_says_its_address_alone_gets_what_is_safe() -> None:
    """RFC 7591 §2: the defaults, and ours where they are stricter."""
    site = registered()
    assert (site.client_id, site.name, site.url) == (SITE, "forum.example.org", "https://forum.example.org/")
    assert (site.auth_method, site.subject_type) == (AuthMethod.BASIC, SubjectType.PAIRWISE)
    assert (len(site.secret_digests), site.secrets) == (1, ())
    assert site.pkce_required
    assert not site.may_post
    assert not site.forward_auth
    assert not site.service_scopes


def test_it_asks_for_what_is_kept_as_a_choice_of_the_person() -> None:
    [ask] = registered(scope="openid profile email nonsense").asks
    assert (ask.claim, ask.needed) == (NAME, False)
    assert "gave no reason" in ask.why["en"]


def test_it_gets_no_scope_that_its_invitation_does_not_give() -> None:
    """(catalogue 157)"""
    rules = replace(RULES, scopes=frozenset({Scope("openid"), Scope("email")}))
    site = registered(rules, scope="openid profile email")
    assert site.scopes == {"openid", "email"}
    assert not site.asks


def test_members_by_other_names_mean_what_our_options_mean() -> None:
    site = registered(
        token_endpoint_auth_method="none",
        id_token_signed_response_alg="ES256",
        require_pushed_authorization_requests=True,
        dpop_bound_access_tokens=True,
        sector_identifier_uri="https://club.example.org/sites.json",
        post_logout_redirect_uris=["https://forum.example.org/bye"],
        client_name="The Forum",
        client_uri="https://forum.example.org/home",
    )
    assert (site.auth_method, site.signing_algorithm, site.par_required, site.dpop) == (
        AuthMethod.NONE,
        "ES256",
        True,
        DpopUse.REQUIRED,
    )
    assert (site.sector_identifier, site.name, site.url) == (
        "registered club.example.org",
        "The Forum",
        "https://forum.example.org/home",
    )


@pytest.mark.parametrize(
    "said", [{}, {"id_token_signed_response_alg": "RS256"}, {"id_token_signed_response_alg": "ES256"}]
)
def test_userinfo_is_signed_for_a_site_that_says_so_and_as_its_tokens_are(said: dict[str, Any]) -> None:
    algorithm = said.get("id_token_signed_response_alg", "RS256")
    assert registered(userinfo_signed_response_alg=algorithm, **said).userinfo_signed
    assert not registered(**said).userinfo_signed


@pytest.mark.parametrize(
    "uris",
    [
        None,
        [],
        "https://forum.example.org/cb",
        [1],
        ["javascript:alert(1)"],
        ["JaVaScRiPt:alert(1)"],
        ["http://forum.example.org/cb"],
        ["https://u@forum.example.org/cb"],
        ["https://forum.example.org/cb#x"],
        ["https://forum.example.org/*"],
        ["https://forum.example.org/a/../cb"],
        ["https://forum.example.org/cb?code=1"],
        ["com.example.app:/cb"],
        ["https://[::1"],
        [CALLBACK, "https://other.example.org/cb"],
    ],
)
def test_an_address_that_nobody_may_be_sent_to_is_no_redirect_address(uris: object) -> None:
    """(catalogue 3) RFC 7591 §3.2.2."""
    assert refused(redirect_uris=uris).code == "invalid_redirect_uri"


INSIDE = (
    "http://10.0.0.1/x", "https://127.0.0.1/x", "https://localhost/x", "https://db.example.org:5432/x", "https://10.0.0.5/x",
    "https://169.254.169.254/x", "https://[fd00::1]/x", "https://2130706433/x", "https://0x7f000001/x", "https://127.1/x",
    "https://db/x", "https://db.local/x",
)  # fmt: skip


def test_all_of_it_is_at_the_one_host_that_people_are_shown() -> None:
    """Else it could show the host of another and be answered at its own (catalogue 133); a list of a sector does not help."""
    found = refused(
        redirect_uris=[CALLBACK, "https://bank.example.org/x"],
        sector_identifier_uri="https://forum.example.org/sites.json",
        client_uri="https://bank.example.org/",
    )
    assert found.code == "invalid_redirect_uri"
    assert "several hosts" in found.words


@pytest.mark.parametrize("inside", [True, False])
def test_a_logo_is_at_the_sites_own_host_and_nowhere_inside(*, inside: bool) -> None:
    """(catalogue 138)"""
    own = "https://localhost" if inside else "https://forum.example.org"
    said: dict[str, Any] = {"redirect_uris": [f"{own}/cb"], "logo_uri": f"{own}/logo.png"}
    if inside:
        assert refused(**said).words.startswith("logo_uri is not on the public internet")
    else:
        assert registered(**said).logo == f"{own}/logo.png"


def test_our_own_address_is_nobodys() -> None:
    assert "our own host" in refused(redirect_uris=[f"{RULES.issuer}/me"]).words


def test_people_have_another_number_there_than_at_a_configured_site_on_its_host() -> None:
    """Whoever may put a page on a host is not the site that the admin meant (decision 11)."""
    assert registered().sector_identifier == "registered forum.example.org"


def test_a_request_may_be_left_under_the_hash_of_what_it_says() -> None:
    """OpenID Connect Registration §2: a fragment says which edition lies there."""
    place = "https://forum.example.org/request"
    said: dict[str, Any] = {
        "jwks_uri": "https://forum.example.org/jwks",
        "request_uris": [f"{place}#GkurKxf5T0Y", f"{place}#9mTXeGYJ6Y0"],
    }
    assert registered(**said).request_uris == (place,)
    assert refused(**(said | {"request_uris": ["https://10.0.0.5/request#GkurKxf5T0Y"]})).words.startswith(
        "request_uris"
    )
    own: dict[str, Any] = {"jwks_uri": f"{OWN}/jwks", "token_endpoint_auth_method": "private_key_jwt"}
    assert described(**own, request_uris=[f"{OWN}/request#GkurKxf5T0Y"]).request_uris == (f"{OWN}/request",)


@pytest.mark.parametrize("name", ["jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "request_uris"])
@pytest.mark.parametrize("closed", ["keys.example.org:443", "keys.example.org:8443"])
def test_what_is_open_for_the_admins_own_addresses_is_closed_for_it(name: str, closed: str) -> None:
    """An exception for one address lets nobody else point us there (catalogue 138)."""
    address = f"https://{closed}/x".replace(":443/", "/")
    said: dict[str, Any] = {name: [address] if name == "request_uris" else address}
    if name == "request_uris":
        said["jwks_uri"] = "https://forum.example.org/jwks"
    if name == "jwks_uri":
        said["token_endpoint_auth_method"] = "private_key_jwt"
    with pytest.raises(Refusal) as caught:
        registered(replace(RULES, closed=frozenset({closed})), **said)
    assert caught.value.words == f"{name} names an address that sites cannot name"
    assert registered(replace(RULES, exempt=frozenset({closed})), **said).client_id == SITE


@pytest.mark.parametrize("name", ["jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "request_uris"])
@pytest.mark.parametrize("address", INSIDE)
def test_nothing_we_call_may_point_inside(name: str, address: str) -> None:
    """(catalogue 138)"""
    said: dict[str, Any] = {name: [address] if name == "request_uris" else address}
    if name == "request_uris":
        said["jwks_uri"] = "https://forum.example.org/jwks"
    found = refused(**said)
    assert (found.code, found.words.split()[0]) == ("invalid_client_metadata", name)


@pytest.mark.parametrize(
    "said",
    [
        {"logo_uri": "javascript:alert(1)"},
        {"logo_uri": "https://bank.example.org/logo.png"},
        {"logo_uri": "/etc/passwd"},
        {"logo_uri": ""},
        {"logo_uri": 1},
        {"policy_uri": "http://forum.example.org/"},
        {"tos_uri": "data:text/html,x"},
        {"client_uri": "https://bank.example.org/"},
        {"client_uri": 1},
        {"client_name": "a" * 81},
        {"client_name": "Forum\u202egro.knab"},
        {"client_name": "Fo\x00rum"},
        {"client_name": "Fo\u200brum"},
        {"client_name": ""},
        {"client_name": "\u3164"},
        {"client_name": "\u2800 !"},
        {"post_logout_redirect_uris": ["https://bank.example.org/"]},
        {"post_logout_redirect_uris": [1]},
        {"client_name": ["x"]},
        {"response_types": ["token"]},
        {"grant_types": ["authorization_code", "client_credentials"]},
        {"grant_types": ["implicit"]},
        {"grant_types": [{}]},
        {"application_type": "native"},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": ["none"]},
        {"id_token_signed_response_alg": "none"},
        {"userinfo_signed_response_alg": "ES256"},
        {"userinfo_signed_response_alg": "none"},
        {"userinfo_signed_response_alg": "RS256", "id_token_signed_response_alg": "ES256"},
        {"userinfo_encrypted_response_alg": "RSA-OAEP"},
        {"software_statement": "x"},
        {"subject_type": "none"},
        {"scope": ["openid"]},
        {"jwks": "{}"},
        {"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}},
        {"jwks": {"keys": [], "x": "y" * 20_000}},
        {"dpop_bound_access_tokens": 1},
        {"require_pushed_authorization_requests": "yes"},
        {"redirect_uris": [f"https://forum.example.org/{n}" for n in range(21)]},
    ],
    ids=lambda said: "-".join(f"{name}={str(value)[:24]!r}" for name, value in said.items()),
)
def test_what_cannot_be_taken_as_it_stands_is_refused(said: dict[str, Any]) -> None:
    """(catalogue 5, 157)"""
    assert refused(**said).code == "invalid_client_metadata"


def test_no_member_reaches_what_only_an_admin_decides() -> None:
    """(catalogue 157)"""
    bold: dict[str, Any] = {
        "enabled": False, "may_post": True, "pkce_required": False, "forward_auth": True, "session_token": True,
        "service_scopes": ["admin"], "serves": ["https://api.example.org/"], "sector": "club", "run_by": "The Club",
        "client_secret": {"file": "/etc/passwd"}, "asks": {"name": {"use": "needed", "why": "x"}}, "profile": "fapi2",
    }  # fmt: skip
    assert registered(**bold) == registered()


DOCUMENT = ClientId("https://app.example.org/client")
OWN = "https://app.example.org"


def described(rules: Rules = RULES, **changes: Any) -> Client:
    """The site of a document that is good but for the changes; `None` leaves a member out."""
    said = {"client_id": DOCUMENT, "client_name": "App", "redirect_uris": [f"{OWN}/cb"], **changes}
    return read_document({name: value for name, value in said.items() if value is not None}, DOCUMENT, rules)


def test_a_site_of_a_document_has_no_secret_and_its_own_numbers_for_people() -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.1: and PKCE, whatever registered sites are spared."""
    site = described(replace(RULES, pkce_required=False))
    assert (site.client_id, site.name, site.url, site.host) == (DOCUMENT, "App", f"{OWN}/", "app.example.org")
    assert (site.auth_method, site.secret_digests) == (AuthMethod.NONE, ())
    assert (site.subject_type, site.sector_identifier) == (SubjectType.PAIRWISE, DOCUMENT)
    assert site.pkce_required
    assert site.introduces_itself
    assert not registered().introduces_itself
    signing = described(
        replace(RULES, pkce_required=False), token_endpoint_auth_method="private_key_jwt", jwks_uri=f"{OWN}/k"
    )
    assert (signing.auth_method, signing.jwks_uri) == (AuthMethod.PRIVATE_KEY_JWT, f"{OWN}/k")
    assert signing.pkce_required


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": f"{DOCUMENT}/"}, "client_id"),
        ({"client_id": [DOCUMENT]}, "client_id"),
        ({"client_secret": "s" * 43}, "client_secret"),
        ({"client_secret_expires_at": 0}, "client_secret_expires_at"),
        ({"sector_identifier_uri": f"{OWN}/sector"}, "sector_identifier_uri"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": ["none"]}, "token_endpoint_auth_method"),
        ({"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}]}}, "jwks"),
        ({"software_statement": "e30.e30."}, "software_statement"),
        ({"subject_type": "public"}, "subject_type"),
    ],
)
def test_a_document_says_who_it_is_and_holds_nothing_secret(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Refusal, match=word) as caught:
        described(**changes)
    assert caught.value.code == "invalid_client_metadata"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/cb", "https://app.example.org:8443/cb", "http://app.example.org/cb", "http://127.0.0.1/cb",
        "https://sub.app.example.org/cb", "https://app.example.org.evil.example/cb", "https://app.example.org@evil.example/cb",
        "com.example.app:/cb", "", 7, ["https://app.example.org/cb"],
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name",
    [
        "redirect_uris", "post_logout_redirect_uris", "request_uris", "jwks_uri", "backchannel_logout_uri",
        "frontchannel_logout_uri", "initiate_login_uri", "client_uri", "policy_uri", "tos_uri",
    ],
)  # fmt: skip
def test_nothing_in_a_document_leads_elsewhere_than_to_where_it_lies(name: str, uri: object) -> None:
    """Or somebody's document would sign people in to another's site (§8.1)."""
    if name != "redirect_uris" and isinstance(uri, list):
        uri = 7
    with pytest.raises(Refusal) as caught:
        described(RULES, **{name: [f"{OWN}/cb", uri] if name.endswith("uris") else uri})
    assert caught.value.code == ("invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata")
    assert name in str(caught.value)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("logo", ["https://cdn.example/logo.png", "/etc/passwd", "javascript:alert(1)", 1, ""])
def test_a_logo_that_lies_elsewhere_is_left_out_of_a_document(logo: object) -> None:
    """(catalogue 138) Nobody is kept out of a site over a picture; and nobody shows one from anywhere else."""
    assert described(logo_uri=logo).logo == ""
    assert described(logo_uri=f"{OWN}/logo.png").logo == f"{OWN}/logo.png"


def test_nothing_a_document_has_us_call_may_point_inside() -> None:
    """(catalogue 138) A host of ours that the admin did not except is called by nobody's word."""
    inside = ClientId("https://localhost/client")
    said = {
        "client_id": inside,
        "redirect_uris": ["https://localhost/cb"],
        "backchannel_logout_uri": "https://localhost/out",
    }
    with pytest.raises(Refusal, match="backchannel_logout_uri"):
        read_document(said, inside, RULES)

"""The modules of the OpenID Foundation's plans for OpenID providers, by name (conformance suite 5.2.4).

`tests/architecture/test_conformance.py` holds these names to tests; `config/conformance/README.md` shows the same table.
"""

from __future__ import annotations

from typing import Final

BASIC: Final = (
    "oidcc-server",
    "oidcc-response-type-missing",
    "oidcc-idtoken-signature",
    "oidcc-idtoken-unsigned",
    "oidcc-userinfo-get",
    "oidcc-userinfo-post-header",
    "oidcc-userinfo-post-body",
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
    "oidcc-scope-profile",
    "oidcc-scope-email",
    "oidcc-scope-address",
    "oidcc-scope-phone",
    "oidcc-scope-all",
    "oidcc-alternate-happy-flow",
    "oidcc-display-page",
    "oidcc-display-popup",
    "oidcc-prompt-login",
    "oidcc-prompt-none-not-logged-in",
    "oidcc-prompt-none-logged-in",
    "oidcc-max-age-1",
    "oidcc-max-age-10000",
    "oidcc-ensure-request-with-unknown-parameter-succeeds",
    "oidcc-id-token-hint",
    "oidcc-login-hint",
    "oidcc-ui-locales",
    "oidcc-claims-locales",
    "oidcc-ensure-request-with-acr-values-succeeds",
    "oidcc-codereuse",
    "oidcc-codereuse-30seconds",
    "oidcc-ensure-registered-redirect-uri",
    "oidcc-ensure-post-request-succeeds",
    "oidcc-server-client-secret-post",
    "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
    "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
    "oidcc-claims-essential",
    "oidcc-ensure-request-object-with-redirect-uri",
    "oidcc-refresh-token",
    "oidcc-ensure-request-with-valid-pkce-succeeds",
)
PLANS: Final[dict[str, tuple[str, ...]]] = {
    "oidcc-basic-certification-test-plan": BASIC,
    "oidcc-config-certification-test-plan": ("oidcc-discovery-endpoint-verification",),
    "oidcc-formpost-basic-certification-test-plan": BASIC,
    "oidcc-dynamic-certification-test-plan": (
        "oidcc-idtoken-rs256",
        "oidcc-idtoken-unsigned",
        "oidcc-userinfo-rs256",
        "oidcc-ensure-redirect-uri-in-authorization-request",
        "oidcc-redirect-uri-query-OK",
        "oidcc-redirect-uri-query-mismatch",
        "oidcc-redirect-uri-query-added",
        "oidcc-redirect-uri-regfrag",
        "oidcc-discovery-endpoint-verification",
        "oidcc-server",
        "oidcc-registration-logo-uri",
        "oidcc-registration-policy-uri",
        "oidcc-registration-tos-uri",
        "oidcc-registration-jwks-uri",
        "oidcc-registration-sector-uri",
        "oidcc-registration-sector-bad",
        "oidcc-server-rotate-keys",
        "oidcc-refresh-token-rp-key-rotation",
        "oidcc-request-uri-unsigned",
        "oidcc-request-uri-signed-rs256",
        "oidcc-ensure-request-object-with-redirect-uri",
        "oidcc-refresh-token",
        "oidcc-ensure-client-assertion-with-iss-aud-succeeds",
    ),
    "oidcc-rp-initiated-logout-certification-test-plan": (
        "oidcc-rp-initiated-logout-discovery-endpoint-verification",
        "oidcc-rp-initiated-logout",
        "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-modified-id-token-hint",
        "oidcc-rp-initiated-logout-no-id-token-hint",
        "oidcc-rp-initiated-logout-no-params",
        "oidcc-rp-initiated-logout-no-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-no-state",
        "oidcc-rp-initiated-logout-only-state",
        "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
        "oidcc-rp-initiated-logout-bad-id-token-hint",
    ),
    "oidcc-session-management-certification-test-plan": (
        "oidcc-session-management-discovery-endpoint-verification",
        "oidcc-session-management-rp-initiated-logout",
    ),
    "oidcc-frontchannel-rp-initiated-logout-certification-test-plan": (
        "oidcc-frontchannel-logout-discovery-endpoint-verification",
        "oidcc-frontchannel-rp-initiated-logout",
    ),
    "oidcc-backchannel-rp-initiated-logout-certification-test-plan": (
        "oidcc-backchannel-logout-discovery-endpoint-verification",
        "oidcc-backchannel-rp-initiated-logout",
    ),
    "oidcc-3rdparty-init-login-certification-test-plan": (
        "oidcc-3rd_party-init-login",
        "oidcc-3rd_party-init-login-nohttps",
    ),
}
"""Modules of each plan with a dynamically registered client: 119 runs."""

NO_REGISTRATION: Final = "needs dynamic registration"
UNSIGNED: Final = "request objects that nobody signed are refused"
OF_THE_MOMENT: Final = "needs dynamic registration of `request_uris`"

MISSING: Final[dict[str, str]] = {
    "oidcc-idtoken-rs256": NO_REGISTRATION,
    "oidcc-userinfo-rs256": "userinfo is JSON and never signed",
    "oidcc-ensure-redirect-uri-in-authorization-request": NO_REGISTRATION,
    "oidcc-redirect-uri-query-OK": NO_REGISTRATION,
    "oidcc-redirect-uri-query-mismatch": NO_REGISTRATION,
    "oidcc-redirect-uri-query-added": NO_REGISTRATION,
    "oidcc-redirect-uri-regfrag": NO_REGISTRATION,
    "oidcc-registration-logo-uri": NO_REGISTRATION,
    "oidcc-registration-policy-uri": NO_REGISTRATION,
    "oidcc-registration-tos-uri": NO_REGISTRATION,
    "oidcc-registration-jwks-uri": NO_REGISTRATION,
    "oidcc-registration-sector-uri": NO_REGISTRATION,
    "oidcc-registration-sector-bad": NO_REGISTRATION,
    "oidcc-server-rotate-keys": NO_REGISTRATION,
    "oidcc-refresh-token-rp-key-rotation": NO_REGISTRATION,
    "oidcc-request-uri-unsigned": UNSIGNED,
    "oidcc-request-uri-signed-rs256": OF_THE_MOMENT,
    "oidcc-ensure-client-assertion-with-iss-aud-succeeds": NO_REGISTRATION,
    "oidcc-3rd_party-init-login": NO_REGISTRATION,
    "oidcc-3rd_party-init-login-nohttps": NO_REGISTRATION,
}
"""Modules without a test of their name, and why: what the module checks is not there, or not as the plan runs it."""


def function_of(module: str) -> str:
    """The function that does what this module does."""
    return f"test_{module.replace('-', '_').lower()}"

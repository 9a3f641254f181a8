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
FAPI2_SIGNED: Final = tuple(
    f"fapi2-security-profile-final-{name}"
    for name in (
        "ensure-request-object-with-multiple-aud-succeeds",
        "ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted",
        "ensure-request-object-without-exp-fails",
        "ensure-request-object-without-nbf-fails",
        "ensure-expired-request-object-fails",
        "ensure-request-object-with-bad-aud-fails",
        "ensure-request-object-with-exp-over-60-fails",
        "ensure-request-object-with-nbf-over-60-fails",
        "ensure-signed-request-object-with-RS256-fails",
        "ensure-request-object-signature-algorithm-is-not-none",
        "ensure-request-object-with-invalid-signature-fails",
        "ensure-matching-key-in-authorization-request",
        "ensure-unsigned-request-at-par-endpoint-fails",
        "par-authorization-request-containing-request_uri",
    )
)
"""What only requests that are signed can be tried with."""
FAPI2: Final = tuple(
    f"fapi2-security-profile-final-{name}"
    for name in (
        "discovery-end-point-verification",
        "happy-flow",
        "user-rejects-authentication",
        "ensure-authorization-request-without-state-success",
        "ensure-authorization-request-without-nonce-success",
        "ensure-authorization-request-with-64-char-nonce-success",
        "ensure-other-scope-order-succeeds",
        "test-claims-parameter-identity-claims",
        "access-token-type-header-case-sensitivity",
        "check-dpop-proof-nbf-exp",
        "ensure-dpopproof-with-iat-10seconds-before-succeeds",
        "ensure-dpopproof-with-iat-10seconds-after-succeeds",
        "ensure-mismatched-dpop-jkt-fails",
        "ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt",
        "ensure-token-endpoint-fails-with-mismatched-dpop-jkt",
        "ensure-dpopproof-at-par-endpoint-binding-success",
        "ensure-dpop-auth-code-binding-success",
        "ensure-different-nonce-inside-and-outside-request-object",
        "ensure-different-state-inside-and-outside-request-object",
        "ensure-authorization-request-with-long-nonce",
        "ensure-authorization-request-with-long-state",
        "state-only-outside-request-object-not-used",
        "ensure-request-object-without-redirect-uri-fails",
        "plain-fapi-tolerate-unregistered-redirect-uri",
        "ensure-unsigned-authorization-request-without-using-par-fails",
        "ensure-redirect-uri-in-authorization-request",
        "ensure-response-type-code-idtoken-fails",
        "ensure-response-type-token-fails",
        "ensure-client-id-in-token-endpoint",
        "ensure-holder-of-key-required",
        "ensure-authorization-code-is-bound-to-client",
        "attempt-reuse-authorization-code-after-one-second",
        "ensure-token-endpoint-fails-with-expired-auth-code",
        "ensure-signed-client-assertion-with-RS256-fails",
        "ensure-client-assertion-in-token-endpoint",
        "ensure-client-assertion-with-exp-is-5-minutes-in-past-fails",
        "ensure-client-assertion-with-wrong-aud-fails",
        "ensure-client-assertion-with-no-sub-fails",
        "dpop-negative-tests",
        "refresh-token",
        "par-ensure-reused-request-uri-prior-to-auth-completion-succeeds",
        "par-attempt-reuse-request_uri",
        "par-attempt-to-use-expired-request_uri",
        "par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted",
        "par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails",
        "par-attempt-to-use-request_uri-for-different-client",
        "par-authorization-request-containing-request_uri-form-param",
        "par-attempt-invalid-http-method",
        "par-ensure-pkce-required",
        "ensure-pkce-code-verifier-required",
        "incorrect-pkce-code-verifier-rejected",
        "par-plain-pkce-rejected",
        "par-without-duplicate-parameters",
        "par-test-array-as-audience-fails",
        "par-test-par-endpoint-url-as-audience-fails",
        "par-test-token-endpoint-url-as-audience-fails",
    )
)
SSF_CAEP: Final = (
    "openid-ssf-transmitter-metadata",
    "openid-ssf-stream-control-happy-path",
    "openid-ssf-stream-control-error-create-stream-with-broken-input",
    "openid-ssf-stream-control-error-create-stream-with-invalid-token",
    "openid-ssf-stream-control-error-create-stream-with-duplicate-config",
    "openid-ssf-stream-control-error-read-stream-with-invalid-token",
    "openid-ssf-stream-control-error-read-unknown-stream",
    "openid-ssf-stream-control-error-delete-stream-with-invalid-token",
    "openid-ssf-stream-control-error-delete-unknown-stream",
    "openid-ssf-transmitter-stream-verification-push",
    "openid-ssf-transmitter-stream-verification-poll-only",
    "openid-ssf-transmitter-stream-verification-poll-and-ack",
    "openid-ssf-transmitter-stream-verification-ack-only",
    "openid-ssf-transmitter-stream-verification-error-push-no-auth",
)
"""What both plans for transmitters of security events have."""
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
    "fapi2-security-profile-final-test-plan": FAPI2,
    "fapi2-message-signing-final-test-plan": (*FAPI2, *FAPI2_SIGNED),
    "openid-ssf-transmitter-test-plan": (
        *SSF_CAEP,
        "openid-ssf-stream-control-error-update-stream-with-invalid-token",
        "openid-ssf-stream-control-error-update-stream-with-invalid-body",
        "openid-ssf-stream-control-error-update-unknown-stream",
        "openid-ssf-stream-control-error-replace-stream-with-invalid-body",
        "openid-ssf-stream-control-error-replace-stream-with-invalid-token",
        "openid-ssf-stream-control-error-replace-unknown-stream",
        "openid-ssf-stream-subject-control",
    ),
    "openid-ssf-transmitter-caep-test-plan": (*SSF_CAEP, "openid-ssf-transmitter-stream-caep-interop"),
}
"""Modules of each plan: of OpenID Connect with a dynamically registered client, 119 runs; of FAPI 2.0 with `plain_fapi`,
`private_key_jwt`, `dpop` and `openid_connect`, and for Message Signing `signed_non_repudiation` and `jarm`, 126; of Shared Signals
both ways of delivery together, 36."""

MISSING: Final[dict[str, str]] = {
    "oidcc-request-uri-unsigned": "request objects that nobody signed are refused",
}
"""Modules without a test of their name, and why: what the module checks is not there, or not as the plan runs it."""


CLIENT_BASIC: Final = tuple(
    f"oidcc-client-test{name}"
    for name in (
        "",
        "-invalid-iss",
        "-missing-sub",
        "-invalid-aud",
        "-missing-iat",
        "-kid-absent-single-jwks",
        "-kid-absent-multiple-jwks",
        "-idtoken-sig-rs256",
        "-idtoken-sig-none",
        "-invalid-sig-rs256",
        "-userinfo-bearer-header",
        "-userinfo-bearer-body",
        "-userinfo-invalid-sub",
        "-nonce-invalid",
        "-scope-userinfo-claims",
        "-client-secret-basic",
    )
)
CLIENT_PLANS: Final[dict[str, tuple[str, ...]]] = {
    "oidcc-client-basic-certification-test-plan": CLIENT_BASIC,
    "oidcc-client-config-certification-test-plan": (
        "oidcc-client-test-discovery-openid-config",
        "oidcc-client-test-discovery-jwks-uri-keys",
        "oidcc-client-test-discovery-issuer-mismatch",
        "oidcc-client-test-discovery-sig-none",
        "oidcc-client-test-signing-key-rotation-just-before-signing",
        "oidcc-client-test-signing-key-rotation",
    ),
    "oidcc-client-formpost-basic-certification-test-plan": CLIENT_BASIC,
    "oidcc-client-dynamic-certification-test-plan": (
        "oidcc-client-test-discovery-webfinger-acct",
        "oidcc-client-test-discovery-webfinger-url",
        "oidcc-client-test-discovery-openid-config",
        "oidcc-client-test-discovery-jwks-uri-keys",
        "oidcc-client-test-discovery-issuer-mismatch",
        "oidcc-client-test-dynamic-registration",
        "oidcc-client-test-request-uri-signed-rs256",
        "oidcc-client-test-request-uri-signed-none",
        "oidcc-client-test-idtoken-sig-none",
        "oidcc-client-test-signing-key-rotation-just-before-signing",
        "oidcc-client-test-signing-key-rotation",
        "oidcc-client-test-userinfo-signed",
    ),
    "oidcc-client-refreshtoken-test-plan": (
        "oidcc-client-test-refresh-token",
        "oidcc-client-test-refresh-token-invalid-issuer",
        "oidcc-client-test-refresh-token-invalid-sub",
    ),
    "oidcc-client-rp-initiated-logout-rp-basic": (
        "oidcc-client-test-rp-init-logout",
        "oidcc-client-test-rp-init-logout-other-state",
        "oidcc-client-test-rp-init-logout-no-state",
    ),
    "oidcc-client-back-channel-logout-rp-basic": tuple(
        f"oidcc-client-test-rp-backchannel-rpinitlogout{name}"
        for name in (
            "", "-alg-none", "-wrong-alg", "-wrong-aud", "-wrong-iss", "-no-event", "-wrong-event", "-with-nonce",
        )
    ),
    "oidcc-client-front-channel-logout-rp-basic": ("oidcc-client-test-rp-frontchannel-rpinitlogout",),
    "oidcc-client-rp-session-management-rp-basic": ("oidcc-client-test-session-management",),
    "oidcc-client-test-3rd-party-init-login-test-plan": ("oidcc-client-test-3rd-party-init-login",),
}  # fmt: skip
"""Modules of each plan for relying parties, 67 runs with `response_type = code`."""
CLIENT_MISSING: Final[dict[str, str]] = {
    "oidcc-client-test-session-management": "no page of ours holds a frame of a provider",
}


def function_of(module: str) -> str:
    """The function that does what this module does."""
    return f"test_{module.replace('-', '_').lower()}"

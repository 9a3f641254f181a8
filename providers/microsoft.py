"""Sign in with Microsoft: OpenID Connect of Entra ID, which is many issuers behind one address
(learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).

- Whose people come in stands in the issuer: `common` (everybody), `organizations`, `consumers`, or one tenant's id.
- Where that is more than one tenant, metadata names an issuer with a gap, `{tenantid}`: an ID token fills it with its
  `tid`. A key may be one tenant's alone, and then signs for no other (`broker.verification`).
- Who somebody is: the tenant's issuer and `sub`, which is this app's own number for them.
- No address is ever proved: whoever runs a tenant writes what they like into it ("nOAuth", catalogue 113).
- A picture is only told to whoever may read the whole profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from broker.domain.claims import PICTURE
from broker.domain.ports import Clock
from broker.domain.values import ClaimName
from broker.errors import Problem, UpstreamInvalid
from providers._claims import SCOPE_OF as USUAL_SCOPE_OF
from providers._findings import Findings
from providers._http import UpstreamHTTP
from providers._id_token import TENANT, VerifiedClaims, is_tenant
from providers._openid_connect import BINDINGS, OpenIDConnect
from providers._openid_connect import IGNORED as USUALLY_IGNORED
from providers.preset import Preset

__all__ = ["BINDINGS", "CONSUMERS", "IGNORED", "PROVIDER", "SCOPE_OF", "Microsoft"]

CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of everybody who has a personal account."""
SEVERAL: Final = frozenset({"common", "organizations"})
SCOPE_OF: Final[Mapping[ClaimName, str]] = {claim: scope for claim, scope in USUAL_SCOPE_OF.items() if claim != PICTURE}
IGNORED: Final = USUALLY_IGNORED | {
    "aio", "rh", "uti", "xms_edov", "upn", "unique_name", "idp", "login_hint", "roles", "wids", "picture",
    "verified_primary_email", "verified_secondary_email", "tenant_ctry", "tenant_region_scope", "acct",
}  # fmt: skip
"""`xms_edov` says that a tenant owns an address's domain, and only where somebody remembered to ask for it."""


class Microsoft(OpenIDConnect):
    """Sign in with Microsoft for one application."""

    scope_of = SCOPE_OF
    signs_requests = False

    def __init__(self, preset: Preset, http: UpstreamHTTP, clock: Clock) -> None:
        discovery = preset.endpoints.get("discovery", f"{preset.issuer}/.well-known/openid-configuration")
        usual = replace(
            preset,
            issuer=signing_issuer(preset.issuer),
            endpoints={**preset.endpoints, "discovery": discovery},
            trusts_email=False,
        )
        super().__init__(usual, http, clock)
        self._is_for_work = tenant_of(preset.issuer) == "organizations"

    def _admit(self, claims: VerifiedClaims) -> None:
        if self._is_for_work and claims.claims.get("tid") == CONSUMERS:
            raise UpstreamInvalid("tid", "personal account")

    @staticmethod
    def problems(preset: Preset, today: date) -> list[Problem]:  # noqa: ARG004 - other kinds need the day
        """What is wrong with a preset of this kind; file and line are filled in by the loader."""
        found = Findings()
        tenant = tenant_of(preset.issuer)
        if tenant not in {*SEVERAL, "consumers"} and not is_tenant(tenant):
            fix = "Write https://login.microsoftonline.com/WHOSE/v2.0; WHOSE is common, organizations, consumers or a Directory (tenant) ID."
            found.add("issuer", "does not say whose people come in." if preset.issuer else "is missing.", fix)
        for claim in preset.fields:
            if claim not in SCOPE_OF:
                known = ", ".join(sorted(SCOPE_OF))
                found.add("fields", f"names {claim!r}, which Microsoft does not tell.", f"Known: {known}.")
        if preset.pkce is False:
            found.add("pkce", "is off, and Microsoft takes it.", "Remove it.", "warning")
        if preset.trusts_email:
            what = "has no effect: whoever runs a tenant there can write any address into it."
            found.add("trusts_email", what, "Remove it. People prove their address here.", "warning")
        return found


PROVIDER = Microsoft


def tenant_of(issuer: str) -> str:
    """The part of the issuer that says whose people come in; empty if there is none."""
    parts = urlsplit(issuer).path.split("/")
    return parts[1] if len(parts) == 3 and parts[2] == "v2.0" else ""


def signing_issuer(issuer: str) -> str:
    """What ID tokens and metadata name as their issuer; with a gap for the tenant where there are several."""
    tenant = tenant_of(issuer)
    named = {"consumers": CONSUMERS, **dict.fromkeys(SEVERAL, TENANT)}.get(tenant, tenant)
    return issuer.removesuffix(f"/{tenant}/v2.0") + f"/{named}/v2.0"

"""The error vocabulary: one tree with four branches, *by who hears it*. A leaf: imports nothing of ours.

```
BrokerError(code, status, public, detail)   public: safe sentence shown.  detail: for the log, never shown
├── ProtocolError        heard by a relying party; codes from the RFCs; redirectable
├── InteractionError     heard by a person; a page with what to do next
├── UpstreamError        the provider's fault; "try again or choose another"
└── ConfigurationError   heard by the operator, at start-up only; lists every problem
```

`detail` holds ids, codes and names of checks; never a name, address, token, cookie, state or claim value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class BrokerError(Exception):
    """Something this program says no to, with one text for the person and one for the log."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    public: str = "The request could not be completed."

    def __init__(self, detail: str = "", *, public: str | None = None) -> None:
        self.detail = detail
        if public is not None:
            self.public = public
        super().__init__(f"{self.code}: {detail}" if detail else self.code)


# --- heard by a relying party -------------------------------------------------------------------------


class ProtocolError(BrokerError):
    """An OAuth or OpenID Connect error. `redirectable` only matters at the authorization endpoint."""

    redirectable: ClassVar[bool] = True
    challenge: ClassVar[str] = ""
    """The `WWW-Authenticate` scheme to answer with, where the RFC wants one."""


class InvalidRequest(ProtocolError):
    code = "invalid_request"
    public = "The request is missing a parameter, repeats one, or is otherwise malformed."


class InvalidClient(ProtocolError):
    code = "invalid_client"
    status = 401
    public = "Client authentication failed."
    redirectable = False
    challenge = "Basic"


class InvalidGrant(ProtocolError):
    code = "invalid_grant"
    public = "The code or refresh token is invalid, expired, used, revoked, or belongs to another client."
    redirectable = False


class InvalidAppToken(InvalidGrant):
    """A provider's token that a site's app brought failed a check (RFC 7521 §4.1.1)."""

    public = "The id_token did not pass our checks: sign in with the SDK again."


class InvalidScope(ProtocolError):
    code = "invalid_scope"
    public = "The requested scope is unknown, malformed, or not allowed for this client."


class InvalidTarget(ProtocolError):
    code = "invalid_target"
    public = "The requested resource is unknown or not allowed."


class UnauthorizedClient(ProtocolError):
    code = "unauthorized_client"
    public = "This client may not use this method."


class UnsupportedResponseType(ProtocolError):
    code = "unsupported_response_type"
    public = "Only the response type code is supported."


class UnsupportedGrantType(ProtocolError):
    code = "unsupported_grant_type"
    public = "This grant type is not supported."
    redirectable = False


class RequestNotSupported(ProtocolError):
    code = "request_not_supported"
    public = "The request parameter is not supported."


class RequestUriNotSupported(ProtocolError):
    code = "request_uri_not_supported"
    public = "The request_uri parameter is not supported."


class InvalidRequestObject(ProtocolError):
    """RFC 9101 §7."""

    code = "invalid_request_object"
    public = "The request object is malformed, over, for somebody else, or not signed by this site."


class InvalidRequestUri(ProtocolError):
    """RFC 9101 §7."""

    code = "invalid_request_uri"
    public = "The request_uri is not registered, or what it leads to cannot be read."


class RegistrationNotSupported(ProtocolError):
    code = "registration_not_supported"
    public = "The registration parameter is not supported."


class AccessDenied(ProtocolError):
    code = "access_denied"
    status = 403
    public = "The person did not allow this."


class AuthorizationPending(ProtocolError):
    """RFC 8628 §3.5, as the three that follow."""

    code = "authorization_pending"
    public = "Nobody has answered yet. Ask again after the interval."
    redirectable = False


class SlowDown(ProtocolError):
    code = "slow_down"
    public = "The device asks too often. Wait five seconds longer between two questions."
    redirectable = False


class DeviceRefused(AccessDenied):
    status = 400
    public = "The person did not let this device in, or could not sign in."
    redirectable = False


class ExpiredDeviceCode(ProtocolError):
    code = "expired_token"
    public = "The device code is over. Ask for a new one."
    redirectable = False


class LoginRequired(ProtocolError):
    code = "login_required"
    public = "The person has to sign in."


class ConsentRequired(ProtocolError):
    code = "consent_required"
    public = "The person has to be asked first."


class InteractionRequired(ProtocolError):
    code = "interaction_required"
    public = "The person has to see a page first."


class AccountSelectionRequired(ProtocolError):
    code = "account_selection_required"
    public = "The person has to choose an account."


class UnmetAuthenticationRequirements(ProtocolError):
    """OpenID Connect Core Error Code unmet_authentication_requirements 1.0."""

    code = "unmet_authentication_requirements"
    public = "The person could not sign in in the way that is required."


class InvalidToken(ProtocolError):
    code = "invalid_token"
    status = 401
    public = "The access token is invalid, expired or revoked."
    redirectable = False
    challenge = "Bearer"


class BoundToken(InvalidToken):
    """An access token came without the key it is bound to (RFC 9449 §7.1)."""

    challenge = "DPoP"


class InvalidDpopProof(ProtocolError):
    """RFC 9449 §5; 401 beside an access token (§7.1)."""

    code = "invalid_dpop_proof"
    public = "The DPoP proof is missing, malformed, used before, or for something else."
    redirectable = False


class UseDpopNonce(InvalidDpopProof):
    """RFC 9449 §8: the answer's DPoP-Nonce header has one."""

    code = "use_dpop_nonce"
    public = "The DPoP proof has to hold the nonce that this answer gives."


class InsufficientScope(ProtocolError):
    code = "insufficient_scope"
    status = 403
    public = "The access token does not allow this."
    redirectable = False
    challenge = "Bearer"


class UnknownStream(ProtocolError):
    """A site named a stream of security events that is not its own (SSF 1.0 §8.1)."""

    code = "unknown_stream"
    status = 404
    public = "This site has no stream of that id."
    redirectable = False


class StreamExists(ProtocolError):
    """A site has one stream and no second (SSF 1.0 §8.1.1.1)."""

    code = "stream_exists"
    status = 409
    public = "This site has its stream already."
    redirectable = False


class NoStreams(ProtocolError):
    """A site that is told of no security events (SSF 1.0 §8.1.1.1)."""

    code = "no_streams"
    status = 403
    public = "This site is told of no security events."
    redirectable = False


class TooManySubjects(ProtocolError):
    """A site that took out of its stream as many people as it may (SSF 1.0 §8.1.3.3)."""

    code = "too_many_subjects"
    status = 403
    public = "This site took out as many people as it may. It can choose fewer kinds of events instead."
    redirectable = False


class TemporarilyUnavailable(ProtocolError):
    code = "temporarily_unavailable"
    status = 503
    public = "The service cannot answer right now. Try again shortly."


class InvalidRedirectURI(ProtocolError):
    """Never redirected: the address is the very thing that is wrong (RFC 6749 §4.1.2.1)."""

    code = "invalid_redirect_uri"
    public = "The site sent an address to return to that it has not registered."
    redirectable = False


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2; `public` says which member and why."""

    code = "invalid_client_metadata"
    public = "What the site says of itself cannot be registered."
    redirectable = False


class UnknownClient(ProtocolError):
    code = "unknown_client"
    public = "The site is not known here."
    redirectable = False


class ClientDocumentUnread(UnknownClient):
    """The site's id is the address of a document that says what it is, and there is none that we take."""

    code = "client_document_unread"
    public = (
        "What the site says of itself could not be read at the address that is its client_id, or is not taken here."
    )


# --- heard by a person --------------------------------------------------------------------------------


class InteractionError(BrokerError):
    """A page that says what happened and what to do next."""


class SignInExpired(InteractionError):
    code = "sign_in_expired"
    status = 410
    public = "This sign-in took too long or is no longer known. Nothing was saved."


class RequestOver(SignInExpired):
    """What a site pushed to us and sent the person with (RFC 9126 §2.2) is over, used, or not that site's."""

    code = "request_over"
    public = "What the site asked for is over or was used already. Nothing was saved."


class SignInElsewhere(InteractionError):
    """A page of a sign-in that this browser does not carry."""

    code = "sign_in_elsewhere"
    status = 410
    public = "This sign-in is not open in this browser."


class SignOutUnknown(InteractionError):
    """A provider sends somebody back from signing out who was not sent there so, or too long ago."""

    code = "sign_out_unknown"
    status = 400
    public = "This is no answer to a sign-out that was begun here."


class SignInFinished(InteractionError):
    code = "sign_in_finished"
    status = 409
    public = "You already did this step."


class SignInCancelled(InteractionError):
    code = "sign_in_cancelled"
    status = 200
    public = "You did not let the provider tell us who you are. That is fine. Nothing was shared."


class WrongBrowser(InteractionError):
    code = "wrong_browser"
    status = 403
    public = "We could not be sure this sign-in was yours, so we stopped."


class NotLetIn(InteractionError):
    """A site behind a proxy lets in only people it knows."""

    code = "not_let_in"
    status = 403
    public = "You did not share what the site needs to let you in."


class CookiesOff(InteractionError):
    code = "cookies_off"
    status = 400
    public = "Your browser is blocking our cookie."


class NotThatAccount(InteractionError):
    """Somebody was to show the account that has an address, and showed another one or none."""

    code = "not_that_account"
    status = 409
    public = "That is not the account that uses this address. You were not signed in, and nothing was connected."


class AccountHeld(InteractionError):
    code = "account_held"
    status = 403
    public = "This account is on hold."


class IdentityTaken(InteractionError):
    code = "identity_taken"
    status = 409
    public = "This way to sign in cannot be added because it is already in use."


class NotYourWay(IdentityTaken):
    """Signed in at the provider as somebody who opens another account, or none."""

    code = "not_your_way"
    public = "That is not one of your ways to sign in. Please use one of yours."


class MergeSame(InteractionError):
    """Two accounts were to be merged, and the way that was shown opens the one that is signed in to."""

    code = "merge_same"
    status = 409
    public = "That way opens the account you are signed in to. Nothing was changed."


class MergeNobody(InteractionError):
    code = "merge_nobody"
    status = 409
    public = "That way opens no other account here. Nothing was changed."


class MergeOfStaff(InteractionError):
    """One of the two has a role: what it may do must not pass to another account by a merge."""

    code = "merge_of_staff"
    status = 403
    public = "One of these accounts helps to run this service, so they cannot be merged. Nothing was changed."


class MergeWaits(InteractionError):
    code = "merge_waits"
    status = 409
    public = "Somebody asked to delete one of these accounts, and that is not decided yet. Nothing was changed."


class LastLink(InteractionError):
    code = "last_link"
    status = 409
    public = "This is your only way to sign in. Add another way first."


class LastOwner(InteractionError):
    code = "last_owner"
    status = 409
    public = "You are the only owner of this service. Give somebody else that role first."


class FreshSignInRequired(InteractionError):
    code = "fresh_sign_in_required"
    status = 403
    public = "Please sign in again to do this."


class SignInRequired(InteractionError):
    code = "sign_in_required"
    status = 401
    public = "Please sign in to see this page."


class WayEnded(SignInRequired):
    """The way somebody was just signing in with was removed, or its account closed, in this very moment."""


class PostingNotPermitted(InteractionError):
    code = "posting_not_permitted"
    status = 403
    public = "Posting is off."


class TokenOver(PostingNotPermitted):
    """The network says that the access token is good no more (RFC 6750 §3.1); a new one may be."""


class WayMissing(PostingNotPermitted):
    """Posting through a provider that is no way to sign in of the account."""

    code = "way_missing"
    status = 403
    public = "Posting is off."

    def __init__(self, provider: str, detail: str = "") -> None:
        super().__init__(detail)
        self.provider = provider


class UserNameTaken(InteractionError):
    code = "user_name_taken"
    status = 409
    public = "This user name cannot be used."


class FormInvalid(InteractionError):
    """Carries one problem code per field, so that the page can say it beside the field."""

    code = "form_invalid"
    status = 422
    public = "There is a problem with what was filled in."

    def __init__(self, fields: dict[str, str], detail: str = "") -> None:
        super().__init__(detail or ",".join(sorted(fields)))
        self.fields = fields


class LetterOver(InteractionError):
    code = "letter_over"
    status = 410
    public = "This link does not work any more. Nothing was changed."


class PasskeyRefused(InteractionError):
    """One answer to whatever is wrong with a passkey, so that nothing tells which there are."""

    code = "passkey_refused"
    status = 403
    public = "This passkey does not open an account here."


class TrialOver(InteractionError):
    code = "trial_over"
    status = 410
    public = "This link to try a provider does not work any more. Nothing was changed."


class Forbidden(InteractionError):
    code = "forbidden"
    status = 403
    public = "This request did not come from our own page, so we did nothing."


class UnknownIssuer(InteractionError):
    """A link to sign in that names no provider of ours (OpenID Connect Core §4)."""

    code = "unknown_issuer"
    status = 404
    public = "The link names a service that is no way to sign in here."


class UnknownPlace(InteractionError):
    """A link to sign in that leads on to somewhere else than to us or our sites."""

    code = "unknown_place"
    status = 404
    public = "The link leads to a place that is not one of our sites."


class NotFound(InteractionError):
    code = "not_found"
    status = 404
    public = "There is no page at this address."


class MethodNotAllowed(InteractionError):
    code = "method_not_allowed"
    status = 405
    public = "This address does not accept this kind of request."


class BadRequest(InteractionError):
    code = "bad_request"
    status = 400
    public = "The request could not be read."


class TooLarge(InteractionError):
    code = "too_large"
    status = 413
    public = "The request is too large."


class TooManyAttempts(InteractionError):
    code = "too_many_attempts"
    status = 429
    public = "Too many tries."

    def __init__(self, retry_after: int, detail: str = "") -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """Whole seconds until the next try can succeed."""


class ProviderOff(InteractionError):
    code = "provider_off"
    status = 404
    public = "This way to sign in is not available."


class StoreUnavailable(InteractionError):
    """A database or Redis did not answer. Checks that need it fail closed."""

    code = "store_unavailable"
    status = 503
    public = "Something we need is not answering. Nothing was lost. Try again in a moment."


class Overtaken(StoreUnavailable):
    """Others saved the same record at the same moment, again and again: nothing of this change was kept."""

    code = "overtaken"


class ServerFault(InteractionError):
    code = "server_fault"
    status = 500
    public = "Something broke on our side. It is not you."


# --- the provider's fault -----------------------------------------------------------------------------


class UpstreamError(BrokerError):
    """The provider failed or answered something that cannot be trusted."""


class UpstreamUnavailable(UpstreamError):
    code = "upstream_unavailable"
    status = 503
    public = "The provider is not answering. It is not you. Your account is safe."


class UpstreamRejected(UpstreamError):
    """The provider answered with an error of its own."""

    code = "upstream_rejected"
    status = 503
    public = "The provider refused to answer us. You can try again or use another way."


class UpstreamNeedsVisit(UpstreamRejected):
    """The provider wants the person to sort something out there first."""

    code = "upstream_needs_visit"
    public = "The provider wants to see you first. Visit it, sort out what it asks there, and try again."


class GrantOver(UpstreamRejected):
    """A refresh token is good no more: the person took it back there, or it was used or ran out (RFC 6749 §5.2)."""


class NotRenewed(GrantOver):
    """No new tokens can be had, and the provider was never asked: what we hold may be good there still."""


class UpstreamInvalid(UpstreamError):
    """An answer failed a check; `check` names the check, never the value."""

    code = "upstream_invalid"
    status = 503
    public = "The provider's answer did not pass our checks, so we stopped. Nothing was saved."

    def __init__(self, check: str, detail: str = "") -> None:
        super().__init__(f"{check} {detail}".strip())
        self.check = check


# --- heard by the operator ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in the configuration: where, what, and how to put it right."""

    file: str
    line: int
    key: str
    what: str
    fix: str
    severity: str = "error"
    """`error` or `warning`."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.what} {self.fix}".strip()


class ConfigurationError(BrokerError):
    """Every problem of the configuration, all at once."""

    code = "configuration"
    status = 500
    public = "The configuration cannot be used."

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


# --- heard by flows only ------------------------------------------------------------------------------


class Conflict(Exception):
    """A store's broken expectation: something unique exists already, or a compare-and-set lost."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        """`link`, `user_name`, `email`, `account` …: which expectation broke."""

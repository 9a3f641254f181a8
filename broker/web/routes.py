"""The whole surface in one table: method, path, handler, guard, and how errors are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from starlette.responses import Response

from broker.domain.device import ANSWER_PATH
from broker.domain.discourse import ANSWER_PATH as FORUM_ANSWER_PATH
from broker.domain.discourse import ENTRY_PATH
from broker.web import (
    about_us,
    age,
    app_sign_in,
    authorize,
    cross_origin,
    device,
    discourse,
    documents,
    gate,
    health,
    hooks,
    mail_code,
    merging,
    passkey,
    picture,
    posting,
    realm,
    session_check,
    share,
    sign_in,
    sign_out,
    sign_up,
    signed_out,
    trial,
)
from broker.web.account import address, close, devices, profile, sites, ways
from broker.web.call import Call
from broker.web.guards import Guard
from broker.web.oidc import device as device_authorization
from broker.web.oidc import events, gitlab, metadata, pushed, registration, status, streams, tokens

Answers = Literal["page", "json"]


@dataclass(frozen=True, slots=True)
class Route:
    """One row. `answers` says whether an error becomes a page or JSON."""

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Response]]
    guard: Guard
    answers: Answers = "page"
    apps: bool = False
    """Whether pages of sites that hold no secret may read its answers, errors included."""

    @property
    def name(self) -> str:
        """For logs and metrics: the handler's name, never the path with its ids."""
        return self.handler.__name__


ROUTES: Final[tuple[Route, ...]] = (
    # for sites' servers
    Route("GET", "/.well-known/openid-configuration", metadata.discovery, Guard.PUBLIC, "json"),
    Route("GET", "/.well-known/oauth-authorization-server", metadata.discovery, Guard.PUBLIC, "json"),
    Route("GET", "/jwks", metadata.jwks, Guard.PUBLIC, "json"),
    Route("GET", "/client-jwks", about_us.keys, Guard.PUBLIC, "json"),
    Route("GET", "/requests/{provider}/{reference}", about_us.request, Guard.PUBLIC, "json"),
    Route("GET", "/client-metadata/{provider}", about_us.about_us, Guard.PUBLIC, "json"),
    Route("POST", "/par", pushed.push, Guard.CLIENT, "json"),
    Route("POST", "/par/{provider}/limited-login", pushed.push_limited_login, Guard.CLIENT, "json"),
    Route("POST", "/device-authorization", device_authorization.begin, Guard.CLIENT, "json"),
    Route("POST", "/token", tokens.token, Guard.CLIENT, "json", apps=True),
    Route("OPTIONS", "/token", cross_origin.preflight, Guard.PUBLIC, "json", apps=True),
    Route("GET", "/userinfo", tokens.userinfo, Guard.BEARER, "json", apps=True),
    Route("POST", "/userinfo", tokens.userinfo, Guard.BEARER, "json", apps=True),
    Route("OPTIONS", "/userinfo", cross_origin.preflight, Guard.PUBLIC, "json", apps=True),
    Route("POST", "/introspect", tokens.introspect, Guard.CLIENT, "json"),
    Route("GET", "/status/{list}", status.status_list, Guard.PUBLIC, "json"),
    Route("GET", "/.well-known/ssf-configuration", streams.about, Guard.PUBLIC, "json"),
    Route("POST", "/events", events.poll, Guard.PROTOCOL, "json"),
    Route("GET", "/events/stream", streams.read_stream, Guard.PROTOCOL, "json"),
    Route("POST", "/events/stream", streams.create_stream, Guard.PROTOCOL, "json"),
    Route("PATCH", "/events/stream", streams.update_stream, Guard.PROTOCOL, "json"),
    Route("PUT", "/events/stream", streams.replace_stream, Guard.PROTOCOL, "json"),
    Route("DELETE", "/events/stream", streams.delete_stream, Guard.PROTOCOL, "json"),
    Route("GET", "/events/status", streams.stream_status, Guard.PROTOCOL, "json"),
    Route("POST", "/events/status", streams.set_stream_status, Guard.PROTOCOL, "json"),
    Route("POST", "/events/subjects/add", streams.add_subject, Guard.PROTOCOL, "json"),
    Route("POST", "/events/subjects/remove", streams.remove_subject, Guard.PROTOCOL, "json"),
    Route("POST", "/events/verify", streams.verify_stream, Guard.PROTOCOL, "json"),
    Route("POST", "/revoke", tokens.revoke, Guard.CLIENT, "json", apps=True),
    Route("OPTIONS", "/revoke", cross_origin.preflight, Guard.PUBLIC, "json", apps=True),
    Route("POST", "/register", registration.register, Guard.BEARER, "json"),
    Route("GET", "/register/{client}", registration.registration, Guard.BEARER, "json"),
    Route("PUT", "/register/{client}", registration.replace_registration, Guard.BEARER, "json"),
    Route("DELETE", "/register/{client}", registration.remove_registration, Guard.BEARER, "json"),
    # the same where software looks for GitLab
    Route("GET", "/oauth/authorize", gitlab.authorize, Guard.BROWSER),
    Route("POST", "/oauth/token", gitlab.token, Guard.CLIENT, "json"),
    Route("GET", "/api/v4/user", gitlab.user, Guard.BEARER, "json"),
    # for forums that ask by DiscourseConnect
    Route("GET", ENTRY_PATH, discourse.enter, Guard.BROWSER),
    Route("GET", FORUM_ANSWER_PATH, discourse.answer, Guard.BROWSER),
    # for the proxies of sites
    Route("GET", "/forward-auth", gate.ask, Guard.PROXY, "json"),
    Route("GET", "/.doorward/sign-in", gate.sign_in, Guard.PROXY, "json"),
    Route("GET", "/.doorward/callback", gate.callback, Guard.PROXY, "json"),
    Route("GET", "/entry", gate.not_let_in, Guard.BROWSER),
    # a person's way through
    Route("GET", "/authorize", authorize.authorize, Guard.BROWSER),
    Route("POST", "/authorize", authorize.authorize_post, Guard.PROTOCOL),
    Route("GET", "/sign-in", sign_in.start, Guard.BROWSER),
    Route("GET", "/sign-in/with", sign_in.sent_here, Guard.BROWSER),
    Route("POST", "/sign-in/with", sign_in.sent_here_post, Guard.PROTOCOL),
    Route("GET", "/sign-in/again", sign_in.step_up, Guard.SIGNED_IN),
    Route("GET", "/callback/{provider}", sign_in.callback, Guard.BROWSER),
    Route("POST", "/callback/{provider}", sign_in.callback_post, Guard.PROTOCOL),
    Route("GET", "/callback/{provider}/{server}", sign_in.callback, Guard.BROWSER),
    Route("GET", "/f/{id}/continue", sign_in.go, Guard.TRANSACTION),
    Route("POST", "/f/{id}/cancel", sign_in.cancel, Guard.TRANSACTION),
    Route("GET", "/f/{id}/sign-in", sign_in.chooser, Guard.TRANSACTION),
    Route("POST", "/f/{id}/sign-in", sign_in.choose, Guard.TRANSACTION),
    Route("GET", "/f/{id}/code", mail_code.show, Guard.TRANSACTION),
    Route("POST", "/f/{id}/code", mail_code.send, Guard.TRANSACTION),
    Route("POST", "/f/{id}/code/check", mail_code.redeem, Guard.TRANSACTION),
    Route("POST", "/f/{id}/passkey", passkey.use, Guard.TRANSACTION),
    Route("GET", "/f/{id}/age", age.age, Guard.TRANSACTION),
    Route("POST", "/f/{id}/age", age.answer, Guard.TRANSACTION),
    Route("GET", "/f/{id}/confirm", app_sign_in.confirm, Guard.TRANSACTION),
    Route("POST", "/f/{id}/confirm", app_sign_in.decide_confirm, Guard.TRANSACTION),
    Route("GET", "/f/{id}/known", sign_up.known, Guard.TRANSACTION),
    Route("POST", "/f/{id}/known", sign_up.decide_known, Guard.TRANSACTION),
    Route("GET", "/f/{id}/details", sign_up.details, Guard.TRANSACTION),
    Route("POST", "/f/{id}/details", sign_up.decide_details, Guard.TRANSACTION),
    Route("GET", "/f/{id}/picture", picture.sent, Guard.TRANSACTION),
    Route("GET", "/f/{id}/finish", sign_up.finish, Guard.TRANSACTION),
    Route("POST", "/f/{id}/finish", sign_up.create, Guard.TRANSACTION),
    Route("GET", "/f/{id}/policy", sign_up.policy, Guard.TRANSACTION),
    Route("POST", "/f/{id}/policy", sign_up.agree, Guard.TRANSACTION),
    Route("GET", "/f/{id}/site", share.share, Guard.TRANSACTION),
    Route("POST", "/f/{id}/site", share.decide_share, Guard.TRANSACTION),
    Route("GET", "/f/{id}/merge", merging.merge, Guard.TRANSACTION),
    Route("POST", "/f/{id}/merge", merging.decide, Guard.TRANSACTION),
    Route("GET", "/f/{id}/merge/picture", merging.other_picture, Guard.TRANSACTION),
    # for a device that has no browser
    Route("GET", "/device", device.enter, Guard.BROWSER),
    Route("POST", "/device", device.find, Guard.BROWSER),
    Route("POST", "/device/go", device.decide, Guard.BROWSER),
    Route("GET", ANSWER_PATH, device.answer, Guard.BROWSER),
    Route("GET", "/device/done", device.done, Guard.BROWSER),
    # signing out
    Route("GET", "/signout", sign_out.sign_out, Guard.BROWSER),
    Route("POST", "/signout", sign_out.confirm, Guard.BROWSER),
    Route("GET", "/signed-out", signed_out.signed_out, Guard.BROWSER),
    Route("POST", "/signed-out", signed_out.sign_out_there, Guard.BROWSER),
    Route("GET", "/signed-out/{provider}", signed_out.came_back, Guard.BROWSER),
    Route("GET", "/end-session", sign_out.end_session, Guard.BROWSER),
    Route("POST", "/end-session", sign_out.end_session_post, Guard.PROTOCOL),
    Route("GET", realm.PATH, realm.addresses, Guard.PUBLIC),
    Route("GET", "/session/check", session_check.check, Guard.PUBLIC),
    # my account
    Route("GET", "/me", profile.overview, Guard.SIGNED_IN),
    Route("GET", "/me/details", profile.details, Guard.SIGNED_IN),
    Route("POST", "/me/details", profile.change_details, Guard.SIGNED_IN),
    Route("GET", "/me/picture", picture.mine, Guard.SIGNED_IN),
    Route("GET", "/me/address", address.address, Guard.SIGNED_IN),
    Route("POST", "/me/address", address.confirm, Guard.SIGNED_IN),
    Route("POST", "/me/address/send", address.send, Guard.SIGNED_IN),
    Route("GET", "/me/ways", ways.ways, Guard.SIGNED_IN),
    Route("POST", "/me/ways/add", ways.add, Guard.FRESH),
    Route("POST", "/me/ways/codes", ways.add_codes, Guard.FRESH),
    Route("GET", "/me/ways/passkey", ways.passkey, Guard.FRESH),
    Route("POST", "/me/ways/passkey", ways.add_passkey, Guard.SIGNED_IN),
    Route("POST", "/me/ways/remove", ways.remove, Guard.FRESH),
    Route("GET", "/me/merge", merging.start, Guard.SIGNED_IN),
    Route("POST", "/me/merge", merging.begin, Guard.FRESH),
    Route("GET", "/me/sites", sites.sites, Guard.SIGNED_IN),
    Route("GET", "/me/sites/open", sites.open_site, Guard.SIGNED_IN),
    Route("POST", "/me/sites/stop", sites.stop_sharing, Guard.SIGNED_IN),
    Route("POST", "/me/sites/disconnect", sites.disconnect, Guard.SIGNED_IN),
    Route("GET", "/me/history", sites.history, Guard.SIGNED_IN),
    Route("GET", "/me/devices", devices.devices, Guard.SIGNED_IN),
    Route("POST", "/me/devices/end", devices.end, Guard.SIGNED_IN),
    Route("GET", "/me/posting", posting.settings, Guard.SIGNED_IN),
    Route("POST", "/me/posting/off", posting.turn_off, Guard.SIGNED_IN),
    Route("GET", "/me/news", profile.news, Guard.SIGNED_IN),
    Route("POST", "/me/news", profile.change_news, Guard.SIGNED_IN),
    Route("GET", "/me/close", close.close, Guard.SIGNED_IN),
    Route("POST", "/me/close", close.confirm, Guard.FRESH),
    # links of our letters
    Route("GET", "/mail/check", address.link, Guard.BROWSER),
    Route("POST", "/mail/check", address.confirm_link, Guard.BROWSER),
    Route("GET", "/mail/changed", address.undo, Guard.BROWSER),
    Route("POST", "/mail/changed", address.confirm_undo, Guard.BROWSER),
    Route("GET", "/mailbox", address.mailbox, Guard.BROWSER),
    # what providers tell us by themselves
    Route("POST", "/hooks/{provider}/deauthorize", hooks.deauthorize, Guard.PROTOCOL, "json"),
    Route("POST", "/hooks/{provider}/deletion", hooks.deletion, Guard.PROTOCOL, "json"),
    Route("POST", "/hooks/{provider}/notice", hooks.notice, Guard.PROTOCOL, "json"),
    Route("POST", "/hooks/{provider}/logout", hooks.logout, Guard.PROTOCOL, "json"),
    Route("GET", "/hooks/{provider}/front-logout", hooks.front_logout, Guard.PUBLIC, "json"),
    Route("GET", "/removal/{code}", hooks.removal, Guard.BROWSER),
    # posting
    Route("POST", "/posting/requests", posting.ask, Guard.PROTOCOL, "json"),
    Route("GET", "/posting/opt-in", posting.opt_in, Guard.SIGNED_IN),
    Route("POST", "/posting/opt-in", posting.decide_opt_in, Guard.FRESH),
    Route("GET", "/posting/{id}", posting.preview, Guard.SIGNED_IN),
    Route("POST", "/posting/{id}", posting.decide, Guard.SIGNED_IN),
    Route("GET", "/posting/{id}/returned", posting.returned, Guard.BROWSER),
    Route("POST", "/posting/{id}/undo", posting.undo, Guard.SIGNED_IN),
    # for whoever runs it, by a link of the command line
    Route("GET", "/trial", trial.trial, Guard.BROWSER),
    Route("POST", "/trial", trial.begin_trial, Guard.BROWSER),
    # for whoever reads a site that shows it
    Route("GET", "/picture/{name}", picture.shared, Guard.PUBLIC),
    Route("GET", "/logo/{name}", picture.logo, Guard.PUBLIC),
    # words
    Route("GET", "/", documents.home, Guard.BROWSER),
    Route("GET", "/privacy", documents.privacy, Guard.BROWSER),
    Route("GET", "/terms", documents.terms, Guard.BROWSER),
    Route("GET", "/help", documents.help_page, Guard.BROWSER),
    Route("GET", "/cookies", documents.cookies, Guard.BROWSER),
    Route("GET", "/accessibility", documents.accessibility, Guard.BROWSER),
    Route("GET", "/language", documents.language, Guard.BROWSER),
    Route("GET", "/static/{name}", documents.static, Guard.PUBLIC),
    # for whoever runs it
    Route("GET", "/healthz", health.healthz, Guard.PUBLIC, "json"),
    Route("GET", "/readyz", health.readyz, Guard.PUBLIC, "json"),
)

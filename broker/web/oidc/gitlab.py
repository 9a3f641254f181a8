"""GitLab's addresses, for the sites that the admin gave them to (`gitlab_endpoints`): Mattermost, Flarum.

They lead to our own endpoints; nothing is decided here.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from broker.domain.checks.authorization import find_client, read_params
from broker.domain.client import Client
from broker.domain.gitlab import profile, scopes_instead
from broker.errors import NotFound
from broker.web.call import Call, answer_json, see_other
from broker.web.forms import parse_pairs
from broker.web.oidc import tokens


async def authorize(call: Call) -> Response:
    """To our authorization endpoint, with our scopes in place of GitLab's."""
    pairs = parse_pairs(call.request.url.query)
    _check(find_client(read_params(pairs), call.world.clients))
    asked = " ".join(value for name, value in pairs if name == "scope")
    kept = [(name, value) for name, value in pairs if name != "scope"]
    return see_other(f"/authorize?{urlencode([*kept, ('scope', scopes_instead(asked))])}")


async def token(call: Call) -> Response:
    """The token endpoint."""
    _check(call.authenticated)
    return await tokens.token(call)


async def user(call: Call) -> Response:
    """Userinfo in GitLab's shape: released and recorded as userinfo is, and no more than that."""
    token, shown = await tokens.shown_token(call)
    return answer_json(profile(await call.world.releaser.userinfo(token, shown, for_whom=_check)))


def _check(client: Client) -> None:
    if not client.gitlab_endpoints:
        raise NotFound(detail="gitlab_endpoints is off for this site")

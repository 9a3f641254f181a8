"""Every guide: its head makes a site that an example person can sign in at, and its text names nothing unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.config.folder import DOORWARD, ENVIRON, write
from tests.support.source import ROOT

from broker.cli import guides
from broker.cli.rehearsal import rehearse
from broker.settings import load_settings
from broker.settings_schema import SITE

GUIDES = ROOT / "config" / "guides"
SECRET = "guide-secret-0123456789abcdef01234"
FIELDS = """
[fields.given_name]
purpose = "So that members can greet you."
audience = "members"

[fields.family_name]
purpose = "So that members can find you."
audience = "members"

[fields.picture]
purpose = "Shown next to your posts."
audience = "everyone"
"""


def values(name: str) -> guides.Values:
    return guides.Values(
        issuer="https://login.example.org",
        url="https://site.example.org/",
        id=name,
        secret=SECRET,
        random="random-0123456789abcdef0123456789",
    )


OF_DISCOURSE = {"username": "preferred_username", "avatar_url": "picture"}
"""Its names for what we tell, by ours."""


@pytest.mark.parametrize("name", guides.names())
async def test_a_guide_makes_a_site_that_works(name: str, tmp_path: Path) -> None:
    """Its block goes in without a word from the check but the downgrade it names, and a whole sign-in goes through."""
    guide = guides.read(name)
    block = guides.block(guide, values(name), name=guide.software, secret_file="site.secret")
    (tmp_path / "site.secret").touch(mode=0o600)
    (tmp_path / "site.secret").write_text(SECRET)
    folder = write(tmp_path, doorward=DOORWARD + FIELDS, sites="", site=block)
    settings = load_settings(folder, ENVIRON)
    said = [problem.key for problem in settings.warnings]
    assert said == ([f"{name}.pkce_required"] if guide.site.get("pkce_required") is False else [])
    client = settings.clients[name]  # type: ignore[index]
    got = await rehearse(settings, client)
    told = {OF_DISCOURSE.get(name, name) for name in got.forum} or set(got.userinfo)
    assert set(guide.needed) <= told
    assert bool(got.headers) == client.forward_auth
    assert ("session_token" in got.answer) == client.session_token


@pytest.mark.parametrize("name", guides.names())
def test_a_guide_is_whole(name: str) -> None:
    """Both sides, no place that nothing fills, and the secret wherever there is one."""
    guide = guides.read(name)
    assert guide.text.startswith(f"# {guide.software}\n")
    assert "\n## Enter there\n" in guide.text
    assert "\n## Worth knowing\n" in guide.text
    assert not set(guide.site) - {option.name for option in SITE}
    filled = values(name).filled(guide.text)
    assert not re.search(r"<(?!Location|/Location)[a-z]+>", filled), filled
    assert (SECRET in filled) == (guide.has_secret)
    assert "https://login.example.org/ " not in filled


def test_the_list_of_guides_is_whole() -> None:
    text = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `([a-z-]+)` \|", text)) == set(guides.names())
    wanted = {
        "discourse", "phpbb", "flarum", "mediawiki", "dokuwiki", "redmine", "trac", "gitlab", "discourse-connect", "gitea", "mattermost", "bookstack",
        "wikijs", "nextcloud", "nginx", "caddy", "traefik", "apache", "python", "node", "php", "go", "generic",
        "api", "ios",
    }  # fmt: skip
    assert wanted == set(guides.names())


@pytest.mark.parametrize(
    ("url", "site", "host"),
    [
        ("https://site.example.org/", "https://site.example.org", "site.example.org"),
        ("https://site.example.org:8443", "https://site.example.org:8443", "site.example.org:8443"),
        ("https://site.example.org/forum/", "https://site.example.org/forum", "site.example.org"),
    ],
)
def test_a_sites_address_is_filled_in_without_its_last_slash(url: str, site: str, host: str) -> None:
    filled = guides.Values(issuer="i", url=url, id="x", secret="s", random="r").filled(
        "<site>/a <host> <id> <secret> <issuer> <random> <other>"
    )
    assert filled == f"{site}/a {host} x s i r <other>"

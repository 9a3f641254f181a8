"""A person in the shape of GitLab's profile, for software that has a place for GitLab and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from broker.domain.values import Scope

OWN_SCOPES: Final = frozenset({"read_user", "api", "read_api"})
"""What such software asks GitLab for; here it means the fields that the admin let it ask for."""
INSTEAD: Final = (Scope("openid"), Scope("profile"), Scope("email"))
BITS: Final = 53
"""Every program reads such a number right. Of a million people, two have the same once in some 18,000 sites."""


def scopes_instead(text: str) -> str:
    """Our scopes for those of a request to GitLab."""
    kept = [scope for scope in text.split() if scope not in OWN_SCOPES]
    return " ".join(dict.fromkeys((*INSTEAD, *kept)))


def number_of(subject: str) -> int:
    """The person's number at this site as an integer, which is never 0."""
    digest = hashlib.sha256(subject.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - BITS) or 1


def profile(claims: Mapping[str, Any]) -> dict[str, Any]:
    """GitLab's `GET /user` of what a site may know (userinfo's claims).

    An address nobody proved is left out: such software takes it as proved, and signs people in by it.
    """
    number = number_of(str(claims["sub"]))
    user_name = str(claims.get("preferred_username") or f"person-{number}")
    return {
        "id": number,
        "username": user_name,
        "name": str(claims.get("name") or user_name),
        "state": "active",
        "email": str(claims.get("email", "")) if claims.get("email_verified") is True else "",
        "avatar_url": claims.get("picture"),
    }

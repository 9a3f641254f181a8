"""What is particular to Django. Everything else is in `test_kit.py`, which runs over a Django site too."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from doorward_verify import ConfigurationError
from doorward_verify.django import the_kit


def test_the_sites_own_forms_still_need_djangos_token(django: Any) -> None:
    """The kit stands before Django's check and takes nothing away from it."""
    django.sign_in()
    page = django.browser.send("POST", django.url + "/who", body=b"a=b")
    assert page.status == 403
    assert django.who()["sub"] == "subject-1"


@pytest.mark.parametrize(
    "given", [None, "text", {}, {"ISSUER": "https://l.example"}, {"ISSUER": "https://l.example", "CLIENT": "forum"}]
)
def test_settings_that_cannot_work_are_refused_when_the_site_starts(django: Any, given: Any) -> None:
    kept = settings.COMMUNITY_LOGIN
    settings.COMMUNITY_LOGIN = given
    the_kit.cache_clear()
    try:
        with pytest.raises(ConfigurationError):
            the_kit()
    finally:
        settings.COMMUNITY_LOGIN = kept
        the_kit.cache_clear()

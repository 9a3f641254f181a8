"""A Django site, as small as can be, with the kit in front. Django's settings are one per process, so a site at a time."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from doorward_verify import require_session
from doorward_verify.django import the_kit
from stub_op import CLIENT_ID, CLIENT_SECRET, StubOP
from verify_sites import describe

__all__ = ["django_site"]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["localhost"],
        MIDDLEWARE=["doorward_verify.django.SignInMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="only for tests",
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()


def _who(request: HttpRequest) -> JsonResponse:
    return JsonResponse(describe(request.community_session, request.community_notice))


def _private(request: HttpRequest) -> JsonResponse:
    session = require_session(request.community_session)
    return JsonResponse({"sub": session.sub, "body": request.body.decode()})


urlpatterns = [path("", _who), path("who", _who), path("private", csrf_exempt(_private))]


def django_site(op: StubOP, url: str) -> tuple[Any, Any]:
    """The WSGI application for this address, and its kit."""
    settings.COMMUNITY_LOGIN = {
        "ISSUER": op.issuer, "CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "PUBLIC_URL": url, "TIMEOUT": 3.0,
    }  # fmt: skip
    the_kit.cache_clear()
    return WSGIHandler(), the_kit()

"""Sign in with any OpenID Connect provider, as its preset describes it; all of it is shared with kinds that begin here."""

from __future__ import annotations

from providers._openid_connect import BINDINGS, IGNORED, OpenIDConnect

__all__ = ["BINDINGS", "IGNORED", "PROVIDER", "OpenIDConnect"]

PROVIDER = OpenIDConnect

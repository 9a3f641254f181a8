"""Sandbox upstream providers: they run offline for the demo, the test bench and the tests.

`facebook`        a Facebook-like provider: dialog, token endpoint, Graph, signed requests, personas, faults.
`openid_connect`  an OpenID Connect provider: honest by default, misbehaving on demand; found by WebFinger, open to registration.
`openid2`         OpenID 2.0 with addresses of made-up people; it lives in the OpenID Connect process.
`publisher`       "Sandbox Social", a Mastodon-shaped posting API; it lives in the OpenID Connect process.

Nothing here is a real provider: there are no passwords, anybody who reaches the port is anybody. So every
page says SANDBOX, the control plane (`/__emu__`) answers loopback only, and `refuse_in_production` stops a
production start.
This package imports nothing of the broker, and nothing else in `providers` imports it.
"""

from __future__ import annotations

__all__ = ["SandboxRefused", "refuse_in_production"]

_ALLOWED_MODES = frozenset({"development", "test"})


class SandboxRefused(ValueError):
    """The sandbox was asked to load where real people sign in. Heard by the operator, at start-up only."""


def refuse_in_production(mode: str) -> None:
    """Return only when `mode` is `development` or `test`; anything else, also a typing error, is production.

    Raises SandboxRefused, with a text that says what to do.
    """
    if mode.strip().lower() not in _ALLOWED_MODES:
        raise SandboxRefused(
            "The sandbox providers let anybody sign in as anybody, so they do not load in production mode. "
            "Remove them from the configuration, or set DOORWARD_MODE=development on a machine "
            "where no real person signs in."
        )

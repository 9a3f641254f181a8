"""The headers every answer carries. One policy for all pages; nothing inline, nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types default"
)
_PERMISSIONS: Final = (
    "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=(), interest-cohort=()"
)


class SecurityHeaders:
    """`secure` adds what only https can carry (decision 2)."""

    def __init__(self, *, secure: bool) -> None:
        base = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": _PERMISSIONS,
        }
        policy = _POLICY
        if secure:
            base["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
            policy += "; upgrade-insecure-requests"
        self._policy = policy
        page = base | {"Content-Security-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin"}
        self._page = _raw(page | {"Referrer-Policy": "same-origin"})
        self._callback_page = _raw(page | {"Referrer-Policy": "no-referrer"})
        self._bare = _raw(
            base
            | {
                "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
                "Referrer-Policy": "no-referrer",
            }
        )
        self._open = [pair for pair in self._bare if pair[0] != b"cross-origin-resource-policy"]
        self._no_store = (b"cache-control", b"no-store")

    def add(self, response: Response, *, is_callback: bool = False, is_elsewhere: bool = False) -> None:
        """Add them to an answer; pages with forms may name their own origin as referrer, callbacks nothing (decision 6)."""
        headers = response.raw_headers
        if is_elsewhere:  # at a site's own host: whether it is https for good is for the site to say
            headers += [pair for pair in self._bare if pair[0] != b"strict-transport-security"] + [self._no_store]
            return
        present = {name for name, _ in headers}
        is_page = (response.media_type or "").startswith("text/html")
        if b"content-security-policy" in present:  # a page with a policy of its own
            is_framable = "frame-ancestors 'none'" not in response.headers["content-security-policy"]
            without = present | {b"x-frame-options"} if is_framable else present
            headers += [pair for pair in self._callback_page if pair[0] not in without]
        elif is_page:
            headers += self._callback_page if is_callback else self._page
        else:
            headers += self._open if b"access-control-allow-origin" in present else self._bare
        if b"cache-control" not in present:
            headers.append(self._no_store)

    def posting_to(self, response: Response, scheme: str, netloc: str) -> None:
        """Let this one page's form go to that origin, and nowhere else.

        Policies have no words for IPv6 addresses (CSP Level 3 §6.7.2.8): there it is any address of the scheme. Insecure
        addresses are not upgraded: the only ones are programs on the person's own machine.
        """
        source = f"{scheme}:" if "[" in netloc else f"{scheme}://{netloc}"
        response.headers["Content-Security-Policy"] = _POLICY.replace("form-action 'self'", f"form-action {source}")

    def framing(self, response: Response, origins: Sequence[str]) -> None:
        """Let this one page hold frames of exactly these origins."""
        response.headers["Content-Security-Policy"] = f"{self._policy}; frame-src {' '.join(dict.fromkeys(origins))}"

    def framable(self, response: Response, origins: Sequence[str]) -> None:
        """Let pages of exactly these origins hold this one in a frame; it may run our script and nothing else."""
        policy = "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'"
        response.headers["Content-Security-Policy"] = f"{policy}; frame-ancestors {' '.join(origins)}"


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]

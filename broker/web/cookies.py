"""Cookies: their names, flags and signatures. The one place that sets any, and the list the cookie page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from itsdangerous import BadSignature, Signer, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from broker.domain.values import ClientId
from broker.flows.transactions import OVER

MAX_TRANSACTIONS: Final = 4
MAX_TRANSACTION_BYTES: Final = 6144
LAST_PROVIDER_DAYS: Final = 180
HELD_BACK_SECONDS: Final = 24 * 3600
ENDED_SECONDS: Final = 30 * 60
CSRF_MAX_AGE: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieNotice:
    """One row of the cookie page. `lifetime_days` 0: until the browser is closed."""

    name: str
    purpose: str
    lifetime: str


class Cookies:
    """`public_url` decides prefix and flags (decision 2): https gets `__Host-` and Secure, loopback http neither.

    Ports share cookies, so plain http names carry the port: two brokers on one machine leave each other alone.
    """

    def __init__(
        self,
        *,
        key: bytes,
        secure: bool,
        port: int | None,
        asks_age: bool = False,
        keeps_state: bool = False,
        has_gates: bool = False,
    ) -> None:
        self._secure, self._asks_age, self._keeps_state, self._has_gates = secure, asks_age, keeps_state, has_gates
        prefix = "__Host-doorward" if secure else f"doorward{port or ''}"
        self.session_name: Final = f"{prefix}_session"
        self.last_name: Final = f"{prefix}_last"
        self.locale_name: Final = f"{prefix}_lang"
        self.age_name: Final = f"{prefix}_age"
        self.ended_name: Final = f"{prefix}_ended"
        self.state_name: Final = f"{prefix}_state"
        self.transaction_prefix: Final = f"{prefix}_tx_"
        self.entry_prefix: Final = f"{prefix}_at_"
        self.handover_prefix: Final = f"{prefix}_to_"
        self._signer = Signer(key, salt="doorward.cookie")
        self._stamper = TimestampSigner(key, salt="doorward.csrf")

    @property
    def notices(self) -> tuple[CookieNotice, ...]:
        """Every cookie there is: what it is for and how long it lasts. Purposes are words to translate."""
        return (
            CookieNotice(name=self.session_name, purpose="keeps you signed in", lifetime="until you close the browser"),
            CookieNotice(
                name=f"{self.transaction_prefix}…",
                purpose="remembers one sign-in from page to page; sealed, one per tab",
                lifetime="30 minutes, 2 hours at most",
            ),
            CookieNotice(
                name=self.last_name,
                purpose="remembers which way to sign in you used last, only if you ticked it",
                lifetime="180 days",
            ),
            CookieNotice(
                name=self.locale_name,
                purpose="remembers the language you chose",
                lifetime="until you close the browser",
            ),
            CookieNotice(
                name=self.ended_name,
                purpose="shows what you signed out of in this browser alone; says nothing about you",
                lifetime="30 minutes",
            ),
            *((self._age_notice(),) if self._asks_age else ()),
            *((self._state_notice(),) if self._keeps_state else ()),
            *(self._gate_notices() if self._has_gates else ()),
        )

    def _age_notice(self) -> CookieNotice:
        return CookieNotice(
            name=self.age_name,
            purpose="remembers that an account could not be made here yet; holds no date of birth",
            lifetime="24 hours",
        )

    def _state_notice(self) -> CookieNotice:
        return CookieNotice(
            name=self.state_name,
            purpose="lets sites you signed in to notice that you signed out; says nothing about you",
            lifetime="until you close the browser",
        )

    def _gate_notices(self) -> tuple[CookieNotice, ...]:
        return (
            CookieNotice(
                name=f"{self.entry_prefix}…",
                purpose="keeps you signed in at one site, whose own address it belongs to",
                lifetime="until you close the browser",
            ),
            CookieNotice(
                name=f"{self.handover_prefix}…",
                purpose="makes sure that a sign-in at that site ends in the browser where it began",
                lifetime="2 hours at most",
            ),
        )

    # --- session --------------------------------------------------------------------------------------

    def session_secret(self, request: Request) -> str | None:
        """The session's secret; `None` for none, a forged or a doubled cookie (catalogue 94, 95)."""
        value = single(request, self.session_name)
        if value is None or len(value) > 200:
            return None
        return self._unsign(value)

    def set_session(self, response: Response, secret: str) -> None:
        self._set(response, self.session_name, self._signer.sign(secret).decode())

    def clear_session(self, response: Response) -> None:
        self._clear(response, self.session_name)
        self._clear_state(response)

    def set_state(self, response: Response, value: str) -> None:
        """What the frame for sites compares with: readable by its script, also inside another site's page.

        The one cookie of ours that goes along to other sites' pages, and the least of all: it opens nothing (decision 5).
        """
        response.set_cookie(
            self.state_name,
            value,
            path="/",
            secure=self._secure,
            httponly=False,
            samesite="none" if self._secure else "lax",
        )

    def _clear_state(self, response: Response) -> None:
        if self._keeps_state:
            self._clear(response, self.state_name)

    # --- transactions ---------------------------------------------------------------------------------

    def transaction(self, request: Request, transaction_id: str) -> str | None:
        """The cookie value that carries this transaction, if this browser has it exactly once."""
        return single(request, self.transaction_prefix + transaction_id)

    def set_transaction(self, request: Request, response: Response, transaction_id: str, value: str) -> None:
        """Carry it; when there are too many or they grow too large, those that are over go first, then the oldest tabs'
        (decision 4).
        """
        ours = self.transaction_prefix + transaction_id
        others = [name for name in request.cookies if self._is_transaction(name) and name != ours]
        others.sort(key=lambda name: (not request.cookies[name].startswith(OVER), name))
        sizes = {name: len(request.cookies[name]) for name in others}
        while others and (
            len(others) >= MAX_TRANSACTIONS or sum(sizes[name] for name in others) + len(value) > MAX_TRANSACTION_BYTES
        ):
            self._clear(response, others.pop(0))
        self._set(response, ours, value, max_age=7200)

    def _is_transaction(self, name: str) -> bool:
        """Whether this can be a name of ours: what others planted beside it may be no name that can be sent back."""
        rest = name.removeprefix(self.transaction_prefix)
        return rest != name and rest.isascii() and rest.replace("-", "").replace("_", "").isalnum()

    def clear_transaction(self, response: Response, transaction_id: str) -> None:
        self._clear(response, self.transaction_prefix + transaction_id)

    # --- small memories -------------------------------------------------------------------------------

    def last_provider(self, request: Request) -> str | None:
        value = single(request, self.last_name)
        return self._unsign(value) if value is not None and len(value) < 200 else None

    def set_last_provider(self, response: Response, provider: str) -> None:
        value = self._signer.sign(provider).decode()
        self._set(response, self.last_name, value, max_age=LAST_PROVIDER_DAYS * 86_400)

    def clear_last_provider(self, response: Response) -> None:
        self._clear(response, self.last_name)

    def looks_known(self, request: Request) -> bool:
        """Whether somebody with an account seems to use this browser: a session, also one that ended, or a way kept."""
        return self.session_secret(request) is not None or self.last_provider(request) is not None

    def hold_back(self, response: Response) -> None:
        """Somebody here was too young to make an account: no second try for a day (decision 24)."""
        self._set(response, self.age_name, self._signer.sign("held").decode(), max_age=HELD_BACK_SECONDS)

    def is_held_back(self, request: Request) -> bool:
        """Whether `hold_back` was less than a day ago; more copies of the cookie make nobody older."""
        return request.cookies.get(self.age_name) is not None

    def ended(self, request: Request) -> str | None:
        """What the pages about this browser's sign-outs are bound to; one for all its tabs."""
        value = single(request, self.ended_name)
        return value if value is not None and len(value) <= 100 else None

    def set_ended(self, response: Response, value: str) -> None:
        self._set(response, self.ended_name, value, max_age=ENDED_SECONDS)

    def locale(self, request: Request) -> str | None:
        value = single(request, self.locale_name)
        return value if value is not None and len(value) <= 35 else None

    def set_locale(self, response: Response, locale: str) -> None:
        self._set(response, self.locale_name, locale)

    def has_any(self, request: Request) -> bool:
        """Whether the browser sent anything back that we set."""
        return any(name.startswith(self.session_name.removesuffix("session")) for name in request.cookies)

    def clear_all(self, request: Request, response: Response, *, memories: bool = False) -> None:
        """Expire the session and every sign-in by name (decision 7); with `memories` whatever else we set, too."""
        memory = {self.last_name, self.locale_name, self.ended_name}
        ours = {self.session_name} | (memory if memories else set())
        self._clear_state(response)
        for name in request.cookies:
            if name in ours or self._is_transaction(name):
                self._clear(response, name)

    # --- at a site behind a proxy: host-only cookies there ------------------------------------------------

    def entry(self, request: Request, client: ClientId) -> str | None:
        """What opens this site's gate; `None` for none or a doubled one (catalogue 94, 95)."""
        return single(request, self.entry_prefix + client)

    def set_entry(self, response: Response, client: ClientId, value: str) -> None:
        self._set(response, self.entry_prefix + client, value)

    def handover(self, request: Request, client: ClientId) -> str | None:
        """What this browser's handovers to the site are bound to; one for all its tabs."""
        value = single(request, self.handover_prefix + client)
        return value if value is not None and len(value) <= 100 else None

    def set_handover(self, response: Response, client: ClientId, value: str) -> None:
        self._set(response, self.handover_prefix + client, value, max_age=7200)

    def clear_handover(self, response: Response, client: ClientId) -> None:
        self._clear(response, self.handover_prefix + client)

    # --- forms ----------------------------------------------------------------------------------------

    def form_token(self, binding: str) -> str:
        """A token for the hidden field of a form, good for this transaction or session and a day."""
        return self._stamper.sign(binding.encode()).decode().removeprefix(binding + ".")

    def is_form_token(self, token: str, binding: str) -> bool:
        """Whether we made this token for this binding."""
        try:
            self._stamper.unsign(f"{binding}.{token}", max_age=CSRF_MAX_AGE)
        except BadSignature:
            return False
        return True

    # --- inside ---------------------------------------------------------------------------------------

    def _unsign(self, value: str) -> str | None:
        try:
            return self._signer.unsign(value).decode()
        except (BadSignature, UnicodeError):
            return None

    def _set(self, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        response.set_cookie(name, value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="lax")

    def _clear(self, response: Response, name: str) -> None:
        response.set_cookie(name, "", max_age=0, path="/", secure=self._secure, httponly=True, samesite="lax")


def single(request: Request, name: str) -> str | None:
    """A cookie that was sent exactly once: a sibling host can plant a second one of the same name (catalogue 94)."""
    value = request.cookies.get(name)
    if not value or len(value) > 8192:
        return None
    headers = request.headers.getlist("cookie")
    seen = sum(part.strip().partition("=")[0] == name for header in headers for part in header.split(";"))
    return value if seen == 1 else None

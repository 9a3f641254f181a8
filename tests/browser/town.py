"""A small town behind TLS: Doorward, the three demo sites and both sandbox providers, each under a host name of its own.

    def test_…(town: Town) -> None
        with town.visitor(javascript=False, width=320) as visitor:
            visitor.open(town.forum + "/t/1")
            visitor.sign_up("normal", …)

Everything is a real server on loopback with the configuration that `make demo` uses (decision 3: other host names are
other sites, which other ports of one host are not). Names end in `.test`; the browser and, inside this process, the
servers find them on loopback.
"""

from __future__ import annotations

import io
import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any, Final

import pytest
import uvicorn
from starlette.types import ASGIApp
from tests.browser.visitor import Visitor
from tests.support.chromium import Chromium
from tests.support.servers import free_port, held
from tests.support.tls import Authority, Leaf, names_on_loopback
from tests.support.watch import Watched

from broker.app import create_app
from broker.demo import layout
from broker.demo.sites import forum, tracker, wiki
from broker.settings import load_settings
from broker.telemetry import Log, NoMetrics, Telemetry
from providers.sandbox import facebook as facebook_sandbox
from providers.sandbox import openid_connect as openid_sandbox

HOSTS: Final = {
    "broker": "login.test",
    "forum": "forum.test",
    "wiki": "wiki.test",
    "tracker": "tracker.test",
    "facebook": "facebook.test",
    "openid": "openid.test",
}
STRANGER: Final = "evil.test"
START_LIMIT: Final = 15.0


@dataclass
class TownClock:
    """The system's time, moved on as a test likes."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Town:
    """Addresses of everything, and the levers behind it."""

    chromium: Chromium
    authority: Authority
    ports: dict[str, int]
    data: Path
    clock: TownClock = field(default_factory=TownClock)
    sandboxes: dict[str, Any] = field(default_factory=dict)
    log_stream: io.BytesIO = field(default_factory=io.BytesIO)

    def url(self, name: str) -> str:
        return f"https://{HOSTS[name]}:{self.ports[name]}"

    @property
    def login(self) -> str:
        return self.url("broker")

    @property
    def forum(self) -> str:
        return self.url("forum")

    @property
    def wiki(self) -> str:
        return self.url("wiki")

    @property
    def tracker(self) -> str:
        return self.url("tracker")

    @property
    def log(self) -> str:
        """Everything the broker logged so far."""
        return self.log_stream.getvalue().decode()

    def order(self, sandbox: str, **orders: Any) -> dict[str, Any]:
        """Steer a sandbox provider: `order("facebook", persona="normal")`; what it answers."""
        body = json.dumps(orders).encode()
        request = urllib.request.Request(f"{self.url(sandbox)}/__emu__", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=self.authority.client_context()) as answer:
            assert answer.status == 200
            return dict(json.load(answer))

    def go_on(self, **span: float) -> None:
        """Let time pass at the broker and at the providers."""
        self.clock.ahead += timedelta(**span)
        for name in ("facebook", "openid"):
            self.order(name, clock=self.clock.ahead.total_seconds())

    def reset_providers(self) -> None:
        """Nobody has been at the providers yet."""
        for name in ("facebook", "openid"):
            self.order(name, reset=True)

    @contextmanager
    def visitor(self, **settings: Any) -> Iterator[Visitor]:
        """Somebody with a browser profile of their own; the settings are those of `Chromium.person`."""
        with self.chromium.person(**settings) as person:
            yield Visitor(person, self.login, javascript=settings.get("javascript", True))

    @contextmanager
    def ordinary_visitor(self) -> Iterator[Visitor]:
        """Somebody whose browser gives frames of other sites their cookies."""
        with self.chromium.ordinary_person() as person:
            yield Visitor(person, self.login)


@contextmanager
def serve_tls(app: ASGIApp, port: int, leaf: Leaf) -> Iterator[None]:
    """Serve `app` over TLS until the block ends. Plain asyncio: names are mapped for Python's own resolver."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, loop="asyncio", log_level="error", access_log=False, proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=1, ssl_certfile=str(leaf.certificate), ssl_keyfile=str(leaf.key),
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(int(START_LIMIT * 100)):
        if server.started:
            break
        assert thread.is_alive(), "the application did not start"
        waited.wait(0.01)
    assert server.started, "the application did not start in time"
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def stranger(chromium: Chromium) -> str:
    """The address of a site that a module brings along; `serve_stranger` opens it."""
    chromium.hosts[STRANGER] = free_port()
    return f"https://{STRANGER}:{chromium.hosts[STRANGER]}"


def serve_stranger(app: ASGIApp, chromium: Chromium, authority: Authority) -> AbstractContextManager[None]:
    """Serve it until the block ends."""
    return serve_tls(app, chromium.hosts[STRANGER], authority.leaf(STRANGER))


@contextmanager
def serve_wiki(app: Any, port: int, leaf: Leaf) -> Iterator[None]:
    """The wiki's own WSGI server, with TLS: the handshake belongs to the connection's thread, since browsers connect ahead."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    with _QuietServer(("127.0.0.1", port), wiki.QuietHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(10)


class _QuietServer(wiki.ThreadingServer):
    """Says nothing about connections that a browser opened and never used."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


@contextmanager
def open_town(
    folder: Path,
    chromium: Chromium,
    authority: Authority,
    *,
    more: str = "",
    prepare: Callable[[Town, Path], None] | None = None,
) -> Iterator[Town]:
    """Start everything; the first visitor starts the browser.

    `more`: what else the broker's configuration holds; `prepare` is given its folder before the broker reads it.
    """
    town = Town(chromium, authority, {name: free_port() for name in HOSTS}, folder)
    chromium.hosts |= {HOSTS[name]: port for name, port in town.ports.items()}
    secrets = {name: f"{name}-secret-0123456789abcdef0123" for name in HOSTS}
    config = _write_config(town, authority, secrets)
    if more:
        (config / "conf.d").mkdir()
        (config / "conf.d" / "50-more.toml").write_text(more)
    if prepare is not None:
        with held(*town.ports.values()):
            prepare(town, config)
    with ExitStack() as stack:
        stack.enter_context(names_on_loopback())

        def start(name: str, app: Any) -> None:
            serve = serve_wiki if name == "wiki" else serve_tls
            stack.enter_context(serve(app, town.ports[name], authority.leaf(HOSTS[name])))

        for name, app in _sandboxes(town, secrets).items():
            town.sandboxes[name] = app.state.sandbox
            start(name, app)
        telemetry = Telemetry(log=Log(town.log_stream), metrics=NoMetrics())
        settings = load_settings(config, {})
        watched = Watched(create_app(settings, telemetry, town.clock), lambda: town.log)
        start("broker", watched)
        context = authority.client_context()
        for name, module in (("forum", forum), ("wiki", wiki), ("tracker", tracker)):
            trust: dict[str, Any] = {"verify": context} if module is tracker else {"ssl_context": context}
            given = {
                "issuer": town.login,
                "client_id": name,
                "client_secret": secrets[name],
                "public_url": town.url(name),
            }
            start(name, module.create_app(**given, **trust))
        yield town
        watched.end()


def _sandboxes(town: Town, secrets: dict[str, str]) -> dict[str, Any]:
    app = facebook_sandbox.App(
        id="1000000000000001",
        secret=secrets["facebook"],
        redirect_uris=[f"{town.login}/callback/facebook"],
        require_proof=True,
        deauthorize_url=f"{town.login}/hooks/facebook/deauthorize",
        deletion_url=f"{town.login}/hooks/facebook/deletion",
    )
    client = openid_sandbox.Client(
        id="doorward", secret=secrets["openid"], redirect_uris=[f"{town.login}/callback/openid"]
    )
    return {
        "facebook": facebook_sandbox.create_app([app], base_url=town.url("facebook")),
        "openid": openid_sandbox.create_app([client], issuer=town.url("openid")),
    }


def _write_config(town: Town, authority: Authority, secrets: dict[str, str]) -> Path:
    """The demo's own three files, with the town's addresses and the tests' authority in them."""
    config = town.data / "config"
    config.mkdir(parents=True)
    values = {f"{name}_url": town.url(name) for name in HOSTS}
    values |= {f"{name}_host": f"{host}:{town.ports[name]}" for name, host in HOSTS.items()}
    values |= {f"{name}_name": host for name, host in HOSTS.items()}
    values |= {"port": str(town.ports["broker"]), "data": str(town.data / "data")}
    for name, secret in secrets.items():
        path = town.data / f"{name}.secret"
        path.touch(mode=0o600)
        path.write_text(secret)
        values[f"{name}_secret"] = str(path)
    for source in sorted((Path(layout.__file__).parent / "config").glob("*.toml")):
        text = Template(source.read_text()).substitute(values)
        if source.name == "doorward.toml":
            for name in HOSTS:
                head = f'[egress."{values[f"{name}_host"]}"]'
                text = text.replace(head, f'{head}\nca_file = "{authority.ca}"')
            text = text.replace(
                'default_locale = "en"', 'default_locale = "en"\nlocales = ["en", "fr", "qps", "qps-rtl"]'
            )
        (config / source.name).write_text(text)
    return config


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, chromium: Chromium, authority: Authority) -> Iterator[Town]:
    """A town of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        # The forum asks for posts with the standard library's default trust.
        patch.setenv("SSL_CERT_FILE", str(authority.ca))
        with open_town(tmp_path_factory.mktemp("town"), chromium, authority) as opened:
            yield opened

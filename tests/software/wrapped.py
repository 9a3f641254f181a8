"""Trac as the guide wraps it with the sign-in kit: python wrapped.py PORT CERTIFICATE KEY CA ISSUER ID SECRET SITE

A process of its own: Trac's packages are not those of the tests. TRAC_ENV names the environment.
"""

from __future__ import annotations

import ssl
import sys
from importlib import import_module
from pathlib import Path

from doorward_verify import SignInKit
from doorward_verify.wsgi import WSGISession

from broker.demo.sites.wiki import QuietHandler, ThreadingServer


def main() -> None:
    port, certificate, key, ca, issuer, client_id, secret, site = sys.argv[1:]
    sys.modules["multipart"] = None  # type: ignore[assignment]  # the tests' is another one than Trac would take
    trac = import_module("trac.web.main")
    kit = SignInKit(
        issuer=issuer,
        client_id=client_id,
        client_secret=Path(secret).read_text(),
        public_url=site,
        ssl_context=ssl.create_default_context(cafile=ca),
    )
    wrapped = WSGISession(trac.dispatch_request, kit, set_remote_user=True, remote_user="username")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with ThreadingServer(("127.0.0.1", int(port)), QuietHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.base_environ["HTTPS"] = "on"
        server.set_app(wrapped)
        server.serve_forever()


if __name__ == "__main__":
    main()

"""An OpenID 2.0 provider that somebody else wrote: python3-openid's server, over TLS. The program; see `witness_openid2.py`.

    python tests/providers/openid2_server.py PORT CERTIFICATE KEY

`/` is the provider's own address; `/id/<name>` and `/html/<name>` are a person's, found by XRDS and by the head of a page. Whoever sends `X-Person: ana` to the endpoint is Ana; without
it the person says no. Prints `ready`; ends when its standard input does.
"""

from __future__ import annotations

import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from openid.extensions import ax, pape, sreg
from openid.server.server import CheckIDRequest, Server
from openid.store.memstore import MemoryStore

HOST: Final = "openid.test"
PEOPLE: Final = {
    "ana": {
        "fullname": "Ana Witness",
        "nickname": "ana",
        "email": "ana@witness.test",
        "dob": "1990-04-00",
        "language": "fr",
    },
    "bob": {"nickname": "bob"},
}
TYPES: Final = {"http://axschema.org/namePerson/first": "Ana", "http://axschema.org/contact/email": "ana@ax.test"}
XRDS: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><xrds:XRDS xmlns:xrds="xri://$xrds" xmlns="xri://$xrd*($v*2.0)"><XRD>'
    '<Service priority="0"><Type>http://specs.openid.net/auth/2.0/{kind}</Type><URI>{endpoint}</URI></Service></XRD></xrds:XRDS>'
)


class Handler(BaseHTTPRequestHandler):
    base: str
    openid: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = url.path.removesuffix("/xrds").rpartition("/")[2]
        endpoint = f"{self.base}/openidserver"
        if url.path == "/openidserver":
            self._decide(dict(parse_qsl(url.query, keep_blank_values=True)))
        elif url.path == "/":
            self._send(200, {"Content-Type": "application/xrds+xml"}, XRDS.format(kind="server", endpoint=endpoint))
        elif name in PEOPLE and url.path.endswith("/xrds"):
            self._send(200, {"Content-Type": "application/xrds+xml"}, XRDS.format(kind="signon", endpoint=endpoint))
        elif name in PEOPLE and url.path == f"/html/{name}":
            link = f'<link rel="openid2.provider openid.server" href="{endpoint}">'
            self._send(200, {"Content-Type": "text/html"}, f"<html><head>{link}</head><body></body></html>")
        elif name in PEOPLE and url.path == f"/id/{name}":
            there = {"Content-Type": "text/html", "X-XRDS-Location": f"{self.base}/id/{name}/xrds"}
            self._send(200, there, "<html><head></head></html>")
        else:
            self._send(404, {"Content-Type": "text/plain"}, "nobody")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self._decide(dict(parse_qsl(body, keep_blank_values=True)))

    def _decide(self, query: dict[str, str]) -> None:
        request = self.openid.decodeRequest(query)
        if not isinstance(request, CheckIDRequest):
            self._encode(self.openid.handleRequest(request))
            return
        person = self.headers.get("X-Person", "")
        theirs = [f"{self.base}/id/{person}", f"{self.base}/html/{person}"]
        address = theirs[0] if request.idSelect() else request.identity
        if person not in PEOPLE or address not in theirs:
            self._encode(request.answer(False))
            return
        answer = request.answer(True, identity=address)
        asked = sreg.SRegRequest.fromOpenIDRequest(request)
        answer.addExtension(sreg.SRegResponse.extractResponse(asked, PEOPLE[person]))
        wanted = ax.FetchRequest.fromOpenIDRequest(request)
        if wanted is not None and person == "ana":
            told = ax.FetchResponse(request=wanted)
            for type_ in wanted.requested_attributes:
                if type_ in TYPES:
                    told.addValue(type_, TYPES[type_])
            answer.addExtension(told)
        if pape.Request.fromOpenIDRequest(request) is not None:
            answer.addExtension(pape.Response([], auth_time=self.headers.get("X-Proved")))
        self._encode(answer)

    def _encode(self, answer: Any) -> None:
        web = self.openid.encodeResponse(answer)
        self._send(web.code, web.headers, web.body)

    def _send(self, status: int, headers: dict[str, str], body: str | bytes) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Quiet."""


def main(port: str, certificate: str, key: str) -> None:
    Handler.base = f"https://{HOST}:{port}"
    Handler.openid = Server(MemoryStore(), f"{Handler.base}/openidserver")
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

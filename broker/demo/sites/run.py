"""The command line that the three sites share."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Settings", "read_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a site runs and who it is to the broker."""

    port: int
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    public_url: str


def read_settings(site: str, *, port: int, arguments: list[str] | None = None) -> Settings:
    """Read the options of ``python -m broker.demo.sites.<site>``. Exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(prog=f"python -m broker.demo.sites.{site}")
    parser.add_argument("--port", type=int, default=port, help="port on this machine (default: %(default)s)")
    parser.add_argument("--issuer", default="http://localhost:8000", help="the broker (default: %(default)s)")
    parser.add_argument("--client-id", default=site, help="this site's id at the broker (default: %(default)s)")
    parser.add_argument("--client-secret-file", type=Path, required=True, help="file that holds its secret")
    parser.add_argument("--public-url", help="address people see (default: http://localhost:PORT)")
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        secret = given.client_secret_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        parser.error(f"cannot read the secret: {error.strerror}")
    return Settings(
        port=given.port,
        issuer=given.issuer.rstrip("/"),
        client_id=given.client_id,
        client_secret=secret,
        public_url=(given.public_url or f"http://localhost:{given.port}").rstrip("/"),
    )

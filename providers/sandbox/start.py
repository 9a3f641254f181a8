"""What the two command lines share: refusing production, reading a secret from a file, running uvicorn."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import uvicorn
from starlette.types import ASGIApp

from providers.sandbox import SandboxRefused, refuse_in_production


def require_development(development: bool) -> None:
    """End the process with exit code 2 unless `--development` or DOORWARD_MODE=development was given."""
    try:
        refuse_in_production("development" if development else os.environ.get("DOORWARD_MODE", "production"))
    except SandboxRefused as refusal:
        click.echo(str(refusal), err=True)
        sys.exit(2)


def read_secret(path: Path) -> str:
    """The secret in `path` without surrounding white space. Raises click.ClickException when it is empty."""
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise click.ClickException(f"{path} is empty; it must hold the secret.")
    return secret


def run(app: ASGIApp, *, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    """Serve `app` until interrupted. TLS when both files are given; no access log, since URLs carry codes."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(key) if key else None,
    )

"""The demo's addresses and configuration: written once into its data folder, kept between runs."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

DEFAULT_PORT: Final = 8000
EXAMPLE: Final = "my-site.toml.example"
_OFFSETS: Final = {"broker": 0, "forum": 1, "wiki": 2, "tracker": 3, "facebook": 10, "openid": 11}

BLOCK: Final[int] = max(_OFFSETS.values())
"""How far the last port of the block lies behind the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One block of ports and its folder. Issuer and subjects depend on the port, so each block has its own data."""

    port: int
    folder: Path

    def port_of(self, name: str) -> int:
        """The port of one part of the demo."""
        return self.port + _OFFSETS[name]

    def url(self, name: str) -> str:
        """The address of one part of the demo."""
        return f"http://localhost:{self.port_of(name)}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every part, the broker first."""
        return tuple(_OFFSETS)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def clear(self) -> list[Path]:
        """Throw everything away but what whoever runs the demo added; those files are the answer."""
        kept = sorted(path for path in self.own.glob("*") if path.name != EXAMPLE)
        for path in (*self.folder.iterdir(), *(self.config.iterdir() if kept else ())):
            if not kept or path not in {self.config, self.own}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kept:
            (self.own / EXAMPLE).unlink(missing_ok=True)
        else:
            self.folder.rmdir()
        return kept

    @property
    def own(self) -> Path:
        """What whoever runs the demo adds to it."""
        return self.config / "conf.d"

    @property
    def secrets(self) -> dict[str, str]:
        """The demo's made-up secrets, made at the first run."""
        path = self.folder / "secrets.json"
        if not path.exists():
            made = {name: secrets.token_hex(24) for name in ("facebook", "openid", "forum", "wiki", "tracker")}
            path.touch(mode=0o600)
            path.write_text(json.dumps(made))
        loaded: dict[str, str] = json.loads(path.read_text())
        return loaded

    def prepare(self) -> None:
        """Write what is missing; keep what is there."""
        self.config.mkdir(parents=True, exist_ok=True)
        values = {f"{name}_url": self.url(name) for name in self.names}
        values |= {f"{name}_host": f"localhost:{self.port_of(name)}" for name in self.names}
        values |= {f"{name}_name": "localhost" for name in self.names}
        values |= {"port": str(self.port), "data": str((self.folder / "data").resolve())}
        for name, secret in self.secrets.items():
            path = self.folder / f"{name}.secret"
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text(secret)
            values[f"{name}_secret"] = str(path.resolve())
        self.own.mkdir(exist_ok=True)
        shutil.copyfile(Path(__file__).parent / "config" / EXAMPLE, self.own / EXAMPLE)
        for source in sorted((Path(__file__).parent / "config").glob("*.toml")):
            (self.config / source.name).write_text(Template(source.read_text()).substitute(values))

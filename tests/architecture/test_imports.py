"""Which way imports run, held by contracts; and each contract shown to bite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.source import KIT, ROOT, imported, product_modules

LINTER = Path(sys.executable).with_name("lint-imports")

BREACHES = {
    "Web speaks, flows act": ("broker/flows/sign_in.py", "import broker.web.guards"),
    "Stores know the domain only": ("broker/stores/vault.py", "import broker.flows.release"),
    "The domain is pure": ("broker/domain/consent.py", "import time"),
    "Flows know no library": ("broker/flows/account.py", "import sqlalchemy"),
    "The error vocabulary is a leaf": ("broker/errors.py", "import broker.domain.values"),
    "Adapters are handed in": ("broker/web/forms.py", "import broker.chance"),
    "Providers know the domain": ("providers/facebook.py", "import broker.egress"),
    "Only the composition root knows": ("broker/web/health.py", "import providers"),
    "Only the composition root reaches": ("providers/facebook.py", "import providers.publishing"),
    "Starlette lives in": ("broker/flows/keys.py", "import starlette.requests"),
    "aiosmtplib lives in": ("broker/outbox.py", "import aiosmtplib"),
    "Authlib lives in": ("providers/facebook.py", "import authlib"),
    "joserfc lives in": ("broker/web/health.py", "import joserfc"),
    "itsdangerous lives in": ("broker/web/health.py", "import itsdangerous"),
    "The password API lives in": ("broker/web/health.py", "import passlib.context"),
    "fido2 lives in": ("broker/web/health.py", "import fido2.webauthn"),
    "Pillow lives in": ("broker/pictures.py", "import PIL.Image"),
    "SQL lives in": ("broker/stores/vault.py", "import sqlite3"),
    "Redis lives in": ("broker/outbox.py", "import redis"),
    "Outgoing HTTP lives in": ("providers/facebook.py", "import aiohttp"),
    "Templates and words live in": ("broker/web/health.py", "import jinja2"),
    "Logs and metrics live in": ("broker/outbox.py", "import structlog"),
    "The command line lives in": ("broker/outbox.py", "import click"),
}


def check_contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINTER), "--no-cache", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)}
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("breached")
    for top in ("broker", "providers"):
        shutil.copytree(
            ROOT / top, folder / top, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "verify")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_keep_every_contract() -> None:
    done = check_contracts(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", BREACHES)
def test_a_breach_of_each_contract_is_caught(copy: Path, contract: str) -> None:
    name, line = BREACHES[contract]
    path = copy / name
    kept = path.read_text(encoding="utf-8")
    path.write_text(f"{kept}\n{line}  # a breach\n", encoding="utf-8")
    try:
        done = check_contracts(copy)
    finally:
        path.write_text(kept, encoding="utf-8")
    said = " ".join(done.stdout.split())
    broken = said.split("Broken contracts", 1)[-1]
    assert done.returncode != 0, said
    assert contract in broken, said


def test_every_contract_has_a_breach_that_it_catches() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    names = [contract["name"] for contract in contracts]
    assert all(any(name.startswith(start) for start in BREACHES) for name in names), names
    assert len(names) == len(BREACHES)


def test_providers_do_not_import_one_another() -> None:
    """Private helpers (`_http`, …) and the package's own vocabulary are shared; one provider never knows the next."""
    providers = {path.stem for path in (ROOT / "providers").glob("*.py") if not path.stem.startswith("_")} - {"preset"}
    assert {"facebook", "openid_connect"} <= providers
    for name in providers:
        others = {f"providers.{other}" for other in providers - {name}} | {"providers.publishing", "providers.sandbox"}
        assert not others & set(imported(ROOT / "providers" / f"{name}.py")), name


def test_the_kit_needs_none_of_the_server() -> None:
    """What a community site installs: the standard library, joserfc, cryptography, and Django only in its adapter."""
    allowed = {*sys.stdlib_module_names, "joserfc", "cryptography", "doorward_verify", "broker"}
    for path in KIT.rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert tops - allowed <= ({"django"} if path.stem == "django" else set()), path.name
        strangers = {name for name in imported(path) if name.startswith("broker") and "doorward_verify" not in name}
        assert strangers <= {"broker.verify"}, path.name


def test_nobody_but_the_demo_imports_the_kit() -> None:
    for path in product_modules():
        if KIT.parent in path.parents or ROOT / "broker" / "demo" in path.parents:
            continue
        assert not [name for name in imported(path) if name.startswith("doorward_verify")], path.name

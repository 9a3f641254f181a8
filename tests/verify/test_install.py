"""What a community site gets when it installs the kit: one import name, two libraries, nothing of the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "broker" / "verify"
CHECK = """
import json, sys
from pathlib import Path
import doorward_verify
from doorward_verify import SessionError, SignInKit, Verifier
from doorward_verify.asgi import SignInMiddleware
from doorward_verify.wsgi import WSGISession
from doorward_verify.django import SignInMiddleware as ForDjango
vectors = json.loads(Path(sys.argv[1]).read_text())
verifier = Verifier(vectors["issuer"], vectors["audience"], keys=vectors["jwks"], clock=lambda: vectors["now"])
wrong = {}
for vector in vectors["vectors"]:
    try:
        verifier.verify(vector["token"])
        code = "ok"
    except SessionError as error:
        code = error.code
    if code != vector["expect"]:
        wrong[vector["name"]] = code
print(json.dumps({"wrong": wrong, "count": len(vectors["vectors"]), "at": doorward_verify.__file__}))
"""


def declared() -> list[str]:
    """The names the kit says it needs."""
    table = tomllib.loads((KIT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.split(r"[<>=!~\[; ]", line)[0] for line in table["dependencies"]]


def with_what_they_need(names: list[str]) -> dict[str, Distribution]:
    """These distributions and, without extras, what they need in turn."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or ():
            marker = line.partition(";")[2]
            if "extra ==" not in marker and "python_version <" not in marker:
                waiting.append(re.split(r"[<>=!~\[;( ]", line)[0])
    return found


def copy_installed(one: Distribution, target: Path) -> None:
    """What pip once unpacked, unpacked again elsewhere: no network is needed for this."""
    for file in one.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            place = target / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(one.locate_file(file)), place)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=KIT, capture_output=True, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds the kit and what the kit declares, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--disable-pip-version-check", str(wheel)], capture_output=True, check=True)
    for one in with_what_they_need(declared()).values():
        copy_installed(one, packages)
    return python


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(python), "-I", *arguments], capture_output=True, text=True, check=False, cwd=python.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_one_import_name_and_no_part_of_the_server(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"doorward_verify"}
    assert "doorward_verify/py.typed" in names
    assert not [name for name in names if name.startswith(("broker", "providers", "examples"))]


def test_the_kit_works_with_nothing_but_what_it_declares(site_python: Path, tmp_path: Path) -> None:
    """catalogue 69, 70, 71, 72, 73, 74, 76: the vectors it wrote itself, each with its code; all three adapters import."""
    run(site_python, "-m", "doorward_verify", "testvectors", str(tmp_path))
    found = json.loads(run(site_python, "-c", CHECK, str(tmp_path / "vectors.json")))
    assert found["wrong"] == {}
    assert found["count"] >= 45
    assert Path(found["at"]).is_relative_to(site_python.parents[1])


def test_no_framework_and_no_server_is_there_to_lean_on(site_python: Path) -> None:
    script = "import importlib.util as u, json; print(json.dumps([n for n in {names!r} if u.find_spec(n)]))"
    names = ["starlette", "django", "broker", "providers", "sqlalchemy", "aiohttp", "authlib", "httpx2", "uvicorn"]
    assert json.loads(run(site_python, "-c", script.format(names=names))) == []


def test_the_declared_dependencies_are_few() -> None:
    assert declared() == ["joserfc", "cryptography"]

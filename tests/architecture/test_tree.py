"""What lies in the tree: its top level, its packages, its sizes, and what must never lie in it."""

from __future__ import annotations

import ast
import re
import statistics

import pytest
from tests.support.source import ROOT, functions, product_modules, tracked, tree

TOP = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
    "broker", "config", "providers", "pyproject.toml", "templates", "tests",
}  # fmt: skip
SLASH = "/"
MACHINE_PATHS = re.compile(rf"(?<![\w.:/-]){SLASH}(?:work|root|home/[a-z]+|Users){SLASH}(?=\w)")
REGISTRIES = re.compile(r"(?:registry\.npmjs|pypi|files\.pythonhosted|proxy\.golang|static\.crates)\.(?:org|io)")
MARKS = re.compile("|".join((r"\bTO" + "DO\b", r"\bFIX" + "ME\b", r"\bX" + "XX\b", r"\bHA" + "CK\b")))
COMPILED = (".pyc", ".so", ".mo.tmp", ".db", ".db-wal", ".sqlite3", ".log")


def texts() -> list[tuple[str, str]]:
    """Name and content of every text file in the tree."""
    found = []
    for path in tracked():
        try:
            found.append((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_top_level_is_fixed() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    assert not lines_with(MACHINE_PATHS)


def test_no_registry_is_named_in_the_tree() -> None:
    assert not lines_with(REGISTRIES)


def test_nothing_is_left_to_be_done_in_a_comment() -> None:
    assert not lines_with(MARKS)


def test_nothing_made_by_running_is_in_the_tree() -> None:
    assert not [path.name for path in tracked() if path.suffix in COMPILED or "__pycache__" in path.parts]


@pytest.mark.parametrize(
    "line", [f"see {SLASH}work/x", f"in '{SLASH}root/cache'", f"at {SLASH}home/ann/project", f"{SLASH}Users/ann"]
)
def test_a_path_of_a_machine_would_be_found(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["https://graph.test/work/x", "broker/root/x", "../home/ann/x"])
def test_an_address_is_not_taken_for_a_path_of_a_machine(line: str) -> None:
    assert not MACHINE_PATHS.search(line)


def test_every_package_says_what_it_owns() -> None:
    packages = [path for path in product_modules() if path.name == "__init__.py"]
    assert len(packages) > 10
    silent = [str(path.relative_to(ROOT)) for path in packages if not ast.get_docstring(tree(path))]
    assert not silent


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path.relative_to(ROOT)) for path in product_modules() if not ast.get_docstring(tree(path))]
    assert not silent


def test_files_and_functions_stay_small() -> None:
    """Medians and tails: what is long because it is one thing may be, a file that knows everything may not."""
    files = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in product_modules()}
    sizes = {name: size for path in product_modules() for name, size in functions(path)}
    longest = sorted(sizes.items(), key=lambda item: -item[1])[:15]
    largest = sorted(files.items(), key=lambda item: -item[1])[:15]
    report = "\n".join(f"{size:5} {name}" for name, size in (*largest, *longest))
    print(
        f"files: median {statistics.median(files.values())}; functions: median {statistics.median(sizes.values())}\n{report}"
    )
    assert statistics.median(files.values()) <= 160, report
    assert statistics.median(sizes.values()) <= 8, report
    assert statistics.quantiles(sizes.values(), n=20)[-1] <= 30, report
    assert max(files.values()) <= 900, report

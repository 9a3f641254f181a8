"""The map from the security catalogue to its tests: read from the tests' docstrings, written to `catalogue.toml`.

    python tests/security/collect.py            show which cases lack a test, and what the file has wrong
    python tests/security/collect.py --write    bring the file up to date

A test names its cases in its docstring, as `(catalogue 20, 21)` or `catalogue 42-48`. The file holds the rule of each
case in our own words, which nobody generates, and the tests, which nobody writes by hand.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = Path(__file__).with_name("catalogue.toml")
REQUIRED: Final = "1-14, 16-53, 55-152, 156-157, 161-168, 171-187, 189-195"
_NAMED: Final = re.compile(
    r"\b[Cc]atalogue\s+(\d+(?:\s*[-\N{EN DASH}]\s*\d+)?(?:\s*(?:,|and)\s*\d+(?:\s*[-\N{EN DASH}]\s*\d+)?)*)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: its group, what must hold, and which tests show it."""

    number: int
    group: str
    rule: str
    tests: tuple[str, ...]


def numbers(text: str) -> frozenset[int]:
    """The numbers in a text such as `20, 22-24`."""
    found: set[int] = set()
    for part in re.split(r",|and", text):
        first, _, last = part.replace("\N{EN DASH}", "-").partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def named_in(docstring: str) -> frozenset[int]:
    """The cases that a docstring names."""
    return frozenset().union(*(numbers(found[1]) for found in _NAMED.finditer(" ".join(docstring.split()))))


def tests_of(path: Path) -> Iterator[tuple[str, str]]:
    """Id and docstring of every test function of a file, in classes too."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{name}::{node.name}" if isinstance(node, ast.ClassDef) else name
        for item in inner:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name.startswith("test_"):
                yield f"{prefix}::{item.name}", ast.get_docstring(item) or ""


def test_files() -> Iterator[Path]:
    """Files that pytest collects, and the shared contracts whose classes such files inherit from."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        if path.name.startswith("test_") or (path.parent.name == "contracts" and _is_inherited(path)):
            yield path


def _is_inherited(path: Path) -> bool:
    wanted = re.compile(rf"\b(?:from|import) [\w.]*\b{re.escape(path.stem)}\b")
    return any(wanted.search(other.read_text(encoding="utf-8")) for other in path.parent.glob("test_*.py"))


def every_test() -> dict[str, frozenset[int]]:
    """Every test there is -> the cases that its docstring names."""
    return {test: named_in(words) for path in test_files() for test, words in tests_of(path)}


def read(file: Path = FILE) -> dict[int, Case]:
    """The map as it stands."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))["case"]
    return {
        int(number): Case(number=int(number), group=table["group"], rule=table["rule"], tests=tuple(table["tests"]))
        for number, table in tables.items()
    }


def problems(cases: Mapping[int, Case], found: Mapping[str, frozenset[int]]) -> list[str]:
    """What is wrong with the map, one line each."""
    wrong = [f"case {number} is not in the catalogue" for number in sorted(numbers(REQUIRED) - set(cases))]
    for number, case in sorted(cases.items()):
        if not case.tests:
            wrong.append(f"case {number} has no test: {case.rule}")
        for test in case.tests:
            if test not in found:
                wrong.append(f"case {number} names a test that does not exist: {test}")
            elif number not in found[test]:
                wrong.append(f"case {number} names a test whose docstring does not name it: {test}")
    for test, named in sorted(found.items()):
        for number in sorted(named):
            if number not in cases:
                wrong.append(f"{test} names case {number}, which the catalogue does not hold")
            elif test not in cases[number].tests:
                wrong.append(f"{test} names case {number}, which does not list it")
    return wrong


def refreshed(cases: Mapping[int, Case], found: Mapping[str, frozenset[int]]) -> dict[int, Case]:
    """The same cases with the tests that name them now."""
    return {
        number: Case(
            number=number,
            group=case.group,
            rule=case.rule,
            tests=tuple(sorted(test for test, named in found.items() if number in named)),
        )
        for number, case in sorted(cases.items())
    }


def text_of(cases: Mapping[int, Case]) -> str:
    """The file."""
    lines = [
        "# What an attacker or a fault may try, what must hold, and the tests that show it.",
        "# The rules are written by hand; the tests are collected: python tests/security/collect.py --write",
    ]
    for number, case in sorted(cases.items()):
        lines += ["", f"[case.{number}]", f'group = "{case.group}"', f'rule = "{case.rule}"']
        lines += ["tests = [", *(f'    "{test}",' for test in case.tests), "]"] if case.tests else ["tests = []"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    found = every_test()
    cases = read()
    if "--write" in arguments:
        cases = refreshed(cases, found)
        FILE.write_text(text_of(cases), encoding="utf-8")
    wrong = problems(cases, found)
    print("\n".join(wrong))
    named = sum(bool(case.tests) for case in cases.values())
    links = sum(len(case.tests) for case in cases.values())
    print(
        f"{named} of {len(cases)} cases have tests; {links} links to {len({t for c in cases.values() for t in c.tests})} tests"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

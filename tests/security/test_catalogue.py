"""Every case of the security catalogue has tests, every test it lists exists, and both sides name each other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    """The tool beside this file: the folder is no package."""
    path = Path(__file__).with_name("collect.py")
    spec = importlib.util.spec_from_file_location("doorward_catalogue", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


collect = _load()
TEST = "tests/security/test_x.py::test_a_rule"


def case(number: int, *tests: str) -> object:
    return collect.Case(number=number, group="A", rule="Something holds.", tests=tests)


def test_every_case_has_tests_that_exist_and_name_it() -> None:
    """Refresh the map with `python tests/security/collect.py --write`."""
    wrong = collect.problems(collect.read(), collect.every_test())
    assert not wrong, "\n".join(wrong)


def test_the_file_is_as_the_tool_writes_it() -> None:
    assert collect.FILE.read_text(encoding="utf-8") == collect.text_of(collect.read())


def test_every_case_says_its_rule_once() -> None:
    rules = [found.rule for found in collect.read().values()]
    assert len(rules) == len(set(rules))
    assert all(rule[0].isupper() and rule.endswith(".") and len(rule) > 20 for rule in rules)
    assert {found.group for found in collect.read().values()} == set("ABCDEFGHIJKLMNOP")


def test_the_list_of_required_cases_is_whole() -> None:
    assert len(collect.numbers(collect.REQUIRED)) == 184


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("A code is used once (catalogue 20).", {20}),
        ("catalogue 42-45, 48: each of them", {42, 43, 44, 45, 48}),
        ("A rule\n    (catalogue 20,\n    21 and 30).", {20, 21, 30}),
        ("First (catalogue 1), then (catalogue 2)", {1, 2}),
        ("every sentence goes through the catalogue", set()),
        ("the catalogue has 195 cases", set()),
        ("RFC 6749 of the catalogue, section 20", set()),
    ],
)
def test_cases_are_read_from_words(words: str, named: set[int]) -> None:
    assert collect.named_in(words) == named


@pytest.mark.parametrize(
    ("cases", "found", "words"),
    [
        ({1: case(1)}, {}, "case 1 has no test"),
        ({1: case(1, TEST)}, {}, "does not exist"),
        ({1: case(1, TEST)}, {TEST: frozenset()}, "docstring does not name it"),
        ({1: case(1, TEST)}, {TEST: frozenset({1, 2})}, "case 2, which the catalogue does not hold"),
        (
            {1: case(1, TEST), 2: case(2, TEST)},
            {TEST: frozenset({1, 2}), f"{TEST}_too": frozenset({2})},
            "does not list it",
        ),
    ],
)
def test_what_is_missing_on_either_side_is_told(
    cases: dict[int, object], found: dict[str, frozenset[int]], words: str
) -> None:
    assert any(words in line for line in collect.problems(cases, found))


def test_a_whole_map_has_nothing_wrong() -> None:
    found = {TEST: frozenset(collect.numbers(collect.REQUIRED))}
    cases = {number: case(number) for number in collect.numbers(collect.REQUIRED)}
    assert not collect.problems(collect.refreshed(cases, found), found)

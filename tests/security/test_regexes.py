"""No pattern of ours takes long, whatever it is given."""

from __future__ import annotations

import ast
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
LENGTH: Final = 6_000
LIMIT: Final = 0.010
"""Seconds of this thread for one search."""
WAYS: Final = frozenset({"search", "match", "fullmatch", "findall", "finditer", "sub", "split"})
OTHERS: Final = ("a", "A", "0", " ", "\t", "\n", ".", "-", "_", "/", "=", "@", "%", "<", "&", "{", "\\", ",", '"', "é")


@dataclass(frozen=True)
class Pattern:
    """One regular expression and where it stands."""

    place: str
    text: str
    flags: int
    ways: frozenset[str]
    """How it is used: `search`, `match` and so on; a pattern that nobody is seen to use is used in every way."""


def _text(node: ast.AST) -> str | None:
    """The text of a literal, or of several added up; what `re.escape` puts in is plain letters here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return left + right if left is not None and right is not None else None
    return "escaped" if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.escape" else None


def of_call(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


@cache
def patterns() -> tuple[Pattern, ...]:
    return tuple(_patterns())


def _patterns() -> Iterator[Pattern]:
    for folder in ("broker", "providers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            names = {
                id(node.value): ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
                for node in ast.walk(tree)
                if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                    of = node.func.value
                    if isinstance(of, ast.Name) and of.id == "re" and node.func.attr != "escape":
                        place = f"{path.relative_to(ROOT)}:{node.lineno}"
                        text = _text(node.args[0])
                        assert text is not None, f"{place}: a pattern that is made at run time cannot be looked at here"
                        verbose = "re.VERBOSE" in ast.unparse(node)
                        name = names.get(id(node))
                        used = set(re.findall(rf"\b{re.escape(name)}\.([a-z]+)\(", source)) if name else {of_call(node)}
                        yield Pattern(place, text, re.VERBOSE if verbose else 0, frozenset(used & WAYS) or WAYS)


def attacks(pattern: str) -> Iterator[str]:
    """Long runs of what the pattern speaks of, ended by what it does not expect; and its own words over and over."""
    plain = re.sub(r"\\[A-Za-z]|[\\()\[\]{}?*+|^$]", " ", pattern)
    words = {word for word in plain.split() if word} | set(OTHERS) | {ch for ch in plain if not ch.isspace()}
    for word in sorted(words):
        run = word * (LENGTH // len(word))
        yield run
        yield run + "\x00"
        yield "!" + run + "!"
    for first, second in (
        ("a", "."),
        ("a", "-"),
        ("a", "/"),
        ("0", "."),
        (" ", ","),
        ("<", ">"),
        ("a", "@"),
        ("%", "("),
    ):
        yield (first + second) * (LENGTH // 2) + "\x00"


def test_there_are_patterns() -> None:
    assert len(patterns()) > 20


def run(compiled: re.Pattern[str], way: str, text: str) -> Iterator[object]:
    """Use a pattern as its owner does."""
    if way in {"search", "match", "fullmatch"}:
        yield getattr(compiled, way)(text)
    else:
        yield from compiled.finditer(text)  # what `sub`, `split` and `findall` do


def seconds(compiled: re.Pattern[str], way: str, text: str) -> float:
    begun = time.thread_time()
    deque(run(compiled, way, text), maxlen=0)
    return time.thread_time() - begun


@pytest.mark.parametrize("pattern", patterns(), ids=lambda one: one.place)
def test_no_text_keeps_a_pattern_busy(pattern: Pattern) -> None:
    """(catalogue 185)"""
    compiled = re.compile(pattern.text, pattern.flags)
    for text in attacks(pattern.text):
        for way in pattern.ways:
            took = min(seconds(compiled, way, text) for _ in range(2))
            assert took < LIMIT, f"{text[:20]!r}… took {took:.3f} s"


def test_a_pattern_that_can_be_kept_busy_would_be_seen() -> None:
    slow = re.compile(r"(?:a|a)*b\Z|\s*,\s*x")
    worst = 0.0
    for text in ("," + " " * 20_000 + "!", " " * 20_000 + "\x00"):
        begun = time.thread_time()
        slow.search(text)
        worst = max(worst, time.thread_time() - begun)
    assert worst > LIMIT

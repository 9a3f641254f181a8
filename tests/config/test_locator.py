"""The line of every key: `tomllib` reads values without places, and an operator needs them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.locator import locate

TEXT = '''\
# a comment = 1
top = 1

[broker]
"quoted key" = 2
a.b.c = 3   # dotted
list = [
  "x",   # with a comment ]
  "y", ["z"],
]
table = { inner = 1, deep = { deeper = "}" } }
long = """
[not a table]
key = 1
"""
after = 1979-05-27 07:32:00

[[many]]
x = 1
[many.sub]
y = 2
[[many]]
x = 3
[broker.sub]
z = 1
"esc\\u0041ped" = 1
'literal' = """a""""
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2), (("broker",), 4), (("broker", "quoted key"), 5), (("broker", "a", "b", "c"), 6), (("broker", "list"), 7),
        (("broker", "list", "0"), 8), (("broker", "list", "1"), 9), (("broker", "list", "2"), 9), (("broker", "list", "2", "0"), 9),
        (("broker", "table", "inner"), 11), (("broker", "table", "deep", "deeper"), 11), (("broker", "long"), 12),
        (("broker", "after"), 16), (("many", "0"), 18), (("many", "0", "x"), 19), (("many", "0", "sub", "y"), 21),
        (("many", "1", "x"), 23), (("broker", "sub", "z"), 25), (("broker", "sub", "escAped"), 26), (("broker", "sub", "literal"), 27),
    ],
)  # fmt: skip
def test_every_key_has_its_line(path: tuple[str, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert locate(TEXT)[path] == line


def paths(value: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    out = {at} if at else set()
    for name, inner in items:
        out |= paths(inner, (*at, str(name)))
    return out


NAMES = st.text(st.sampled_from("abcé '\"\\#=.[]{}\n"), min_size=1, max_size=5)
LEAVES = st.one_of(st.integers(-9, 9), st.booleans(), NAMES)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(ch):04x}" if ch in '"\\\n' else ch for ch in text) + '"'


def written(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(name)} = {written(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + ",\n# ] }\n".join(written(inner) for inner in value) + "\n]"
    return str(value).lower() if isinstance(value, bool) else quoted(value) if isinstance(value, str) else str(value)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=3))
def test_whatever_the_text_every_key_is_found_on_a_line_that_exists(tree: dict[str, dict[str, Any]]) -> None:
    text = ""
    for table, values in tree.items():
        text += f"[{quoted(table)}] # [x]\n" + "".join(
            f"{quoted(name)} = {written(value)}\n" for name, value in values.items()
        )
    assert tomllib.loads(text) == tree
    found = locate(text)
    assert set(found) == paths(tree)
    assert all(1 <= line <= text.count("\n") for line in found.values())

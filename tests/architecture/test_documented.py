"""Options and errors stand in the documentation, with the names the program knows; and nothing there is unknown to it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from doorward_verify.errors import STATUS
from tests.support.source import ROOT

from broker import errors
from broker.errors import BrokerError
from broker.settings_schema import DOORWARD, PROVIDER, SITE, Option

FILES = {"doorward.toml": DOORWARD, "providers.toml": PROVIDER, "sites.toml": SITE}
INTERNALS = re.compile(
    r"exception|traceback|sql|redis|database|null|none\b|http \d|stack|\bcsrf\b|\bregex\b|python", re.IGNORECASE
)


def every_error() -> list[type[BrokerError]]:
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, BrokerError)]
    return [each for each in found if not each.__subclasses__()]


def names(options: tuple[Option, ...]) -> Iterator[Option]:
    """Every option of a table and of the tables inside it that have options of their own."""
    for option in options:
        yield option
        yield from names(option.inside)


@pytest.mark.parametrize("file", FILES)
def test_every_option_is_documented_where_it_stands(file: str) -> None:
    """Set or as a comment, in the file people copy."""
    text = (ROOT / "config" / file).read_text(encoding="utf-8")
    missing = []
    for option in names(FILES[file]):
        name = re.escape(option.name)
        line = rf"(?m)^[#\s]*{name}\s*[=:]|^[#\s]*\[(?:.*\.)?{name}(?:\..*)?\]|[{{,]\s*{name}\s*="
        if not re.search(line, text):
            missing.append(option.name)
    assert not missing, f"config/{file} does not show: {', '.join(missing)}"


@pytest.mark.parametrize("file", FILES)
def test_every_option_says_what_it_is_for(file: str) -> None:
    for option in names(FILES[file]):
        assert option.doc.endswith((".", "?", "…")), option.name
        assert not option.doc[0].islower(), option.name


@pytest.mark.parametrize("file", FILES)
def test_the_schema_beside_each_file_knows_every_option(file: str) -> None:
    text = (ROOT / "config" / f"{Path(file).stem}.schema.json").read_text(encoding="utf-8")
    assert not [option.name for option in names(FILES[file]) if f'"{option.name}"' not in text]


def test_error_codes_are_stable_words_and_each_is_one_errors() -> None:
    codes = [each.code for each in every_error()]
    assert len(codes) > 35
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_what_people_hear_is_a_sentence_and_names_nothing_internal() -> None:
    for each in every_error():
        assert each.public.endswith("."), each.code
        assert each.public[0].isupper(), each.code
        assert not INTERNALS.search(each.public), each.code


def test_errors_have_statuses_that_fit() -> None:
    """4xx is the visitor's or the site's, 503 is somebody we need; 500 is a fault of ours and nothing else."""
    own = {"server_fault", "configuration"}
    for each in every_error():
        assert 200 <= each.status < 500 or each.status == 503 or each.code in own, each.code


def test_the_tree_at_the_top_of_the_errors_names_every_branch() -> None:
    told = inspect.getdoc(errors) or ""
    for branch in BrokerError.__subclasses__():
        assert branch.__name__ in told, branch.__name__


def test_every_code_of_the_kit_is_documented() -> None:
    """Sites build on them."""
    told = (ROOT / "broker/verify/README.md").read_text(encoding="utf-8")
    assert len(STATUS) > 10
    assert not {code for code in STATUS if f"`{code}`" not in told}

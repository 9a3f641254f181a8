"""Every module of the conformance plans has a test of its name, or stands in the list of those that have none."""

from __future__ import annotations

import ast
import json

from tests.conformance.plans import CLIENT_MISSING, CLIENT_PLANS, MISSING, PLANS, function_of
from tests.support.source import ROOT

WHERE = (*sorted((ROOT / "tests/conformance").glob("test_*.py")), ROOT / "tests/browser/test_logout.py")
MODULES = {module for modules in PLANS.values() for module in modules}

CLIENT_MODULES = {module for modules in CLIENT_PLANS.values() for module in modules}


def functions() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in WHERE:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                ("test_oidcc_", "test_fapi2_", "test_openid_ssf_")
            ):
                assert node.name not in found, f"{node.name} in {path.name} and {found[node.name]}"
                found[node.name] = path.name
    return found


def test_the_plans_hold_as_many_modules_as_the_suite_runs() -> None:
    assert [len(modules) for modules in PLANS.values()] == [38, 1, 38, 23, 11, 2, 2, 2, 2, 56, 70, 21, 15]
    assert sum(len(modules) for modules in PLANS.values()) == 119 + 126 + 36
    assert [len(modules) for modules in CLIENT_PLANS.values()] == [16, 6, 16, 12, 3, 3, 8, 1, 1, 1]
    assert sum(len(modules) for modules in CLIENT_PLANS.values()) == 67


def test_each_module_has_a_test_of_its_name_or_a_reason() -> None:
    there = functions()
    for modules, missing in ((MODULES, MISSING), (CLIENT_MODULES, CLIENT_MISSING)):
        assert {module for module in modules if function_of(module) not in there} == set(missing)
        assert all(missing.values())


def test_no_test_bears_the_name_of_a_module_that_is_in_no_plan() -> None:
    assert set(functions()) <= {function_of(module) for module in MODULES | CLIENT_MODULES}


def test_the_document_lists_the_plans_and_what_is_missing() -> None:
    text = (ROOT / "config/conformance/README.md").read_text(encoding="utf-8")
    for plans, missing in ((PLANS, MISSING), (CLIENT_PLANS, CLIENT_MISSING)):
        for plan, modules in plans.items():
            tested = sum(module not in missing for module in modules)
            assert f"| `{plan}` | {len(modules)} | {tested} |" in text, plan
        for module, reason in missing.items():
            assert f"| `{module}` | {reason} |" in text, module


def test_the_suites_browser_is_told_its_way_for_modules_that_there_are() -> None:
    """A name that is none would be passed over without a word, and the module would go the usual way."""
    told = json.loads((ROOT / "config/conformance/suite.json").read_text(encoding="utf-8"))
    assert told["override"].keys() <= MODULES

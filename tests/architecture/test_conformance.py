"""Every module of the conformance plans has a test of its name, or stands in the list of those that have none."""

from __future__ import annotations

import ast

from tests.conformance.plans import MISSING, PLANS, function_of
from tests.support.source import ROOT

WHERE = (*sorted((ROOT / "tests/conformance").glob("test_*.py")), ROOT / "tests/browser/test_logout.py")
MODULES = {module for modules in PLANS.values() for module in modules}


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


def test_each_module_has_a_test_of_its_name_or_a_reason() -> None:
    there = functions()
    assert {module for module in MODULES if function_of(module) not in there} == set(MISSING)
    assert all(MISSING.values())


def test_no_test_bears_the_name_of_a_module_that_is_in_no_plan() -> None:
    ours = {name for name in functions() if not name.startswith("test_oidcc_client_")}
    assert ours <= {function_of(module) for module in MODULES}


def test_the_document_lists_the_plans_and_what_is_missing() -> None:
    text = (ROOT / "config/conformance/README.md").read_text(encoding="utf-8")
    for plan, modules in PLANS.items():
        tested = sum(module not in MISSING for module in modules)
        assert f"| `{plan}` | {len(modules)} | {tested} |" in text, plan
    for module, reason in MISSING.items():
        assert f"| `{module}` | {reason} |" in text, module

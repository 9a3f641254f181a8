"""The dispatcher: one walk over everything it can be told."""

from __future__ import annotations

from itertools import product

import pytest

from broker.domain.transaction import Facts, Step, next_step, without_pages
from broker.errors import ConsentRequired, InteractionRequired, LoginRequired

NAMES = (
    "identified", "known", "age_known", "confirmed", "address_settled", "preview_decided", "policy_agreed", "client_request", "consented",
)  # fmt: skip
EVERYTHING = [Facts(**dict(zip(NAMES, values, strict=True))) for values in product((False, True), repeat=len(NAMES))]


def expected(facts: Facts) -> Step:
    """The path of house rules, written a second way: the first thing that is missing, in the order of the pages."""
    new = not facts.known
    missing = [
        (Step.AUTHENTICATE, not facts.identified),
        (Step.AGE, new and not facts.age_known),
        (Step.CONFIRM, not facts.confirmed),
        (Step.ADDRESS, new and not facts.address_settled),
        (Step.PREVIEW, new and not facts.preview_decided),
        (Step.SIGN_UP, new),
        (Step.AGREE, not facts.policy_agreed),
        (Step.CONSENT, facts.client_request and not facts.consented),
        (Step.DONE, True),
    ]
    return next(step for step, is_missing in missing if is_missing)


def test_the_walk_covers_all_combinations() -> None:
    assert set(NAMES) == set(Facts.__dataclass_fields__)
    assert len(EVERYTHING) == 2 ** len(NAMES)
    assert {next_step(facts) for facts in EVERYTHING} == set(Step)


@pytest.mark.parametrize("facts", EVERYTHING, ids=lambda facts: "".join(str(int(getattr(facts, n))) for n in NAMES))
def test_every_situation_has_its_step(facts: Facts) -> None:
    assert next_step(facts) is expected(facts)


def test_nobody_skips_a_step() -> None:
    """Being done needs everything that the steps before ask for (catalogue 129)."""
    for facts in EVERYTHING:
        if next_step(facts) is Step.DONE:
            assert facts.identified and facts.known and facts.confirmed and facts.policy_agreed
            assert facts.consented or not facts.client_request


def test_knowing_more_never_sends_anybody_back() -> None:
    """Each fact that becomes true leads onwards or leaves the step as it is."""
    order = list(Step)
    for facts in EVERYTHING:
        for name in NAMES:
            if name == "client_request" or getattr(facts, name):
                continue
            more = Facts(**{n: True if n == name else getattr(facts, n) for n in NAMES})
            assert order.index(next_step(more)) >= order.index(next_step(facts)), (facts, name)


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (Step.AUTHENTICATE, LoginRequired),
        (Step.AGE, InteractionRequired),
        (Step.CONFIRM, InteractionRequired),
        (Step.ADDRESS, InteractionRequired),
        (Step.PREVIEW, InteractionRequired),
        (Step.SIGN_UP, InteractionRequired),
        (Step.AGREE, InteractionRequired),
        (Step.CONSENT, ConsentRequired),
    ],
)
def test_without_pages_each_step_has_its_error(step: Step, answer: type[Exception]) -> None:
    """`prompt=none` names what is missing and shows nothing (catalogue 132)."""
    assert type(without_pages(step)) is answer


def test_without_pages_nothing_missing_is_no_error() -> None:
    assert without_pages(Step.DONE) is None
    assert {step for step in Step if without_pages(step) is None} == {Step.DONE}

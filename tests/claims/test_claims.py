"""Every claim can be run, is kept with its figures, and comes out again as it is kept."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.claims.claim import Claim, Demand, Verdict
from variorum.claims.page import PAGE, outcome, page
from variorum.claims.trial import Trial, claims, stored
from variorum.core import VariorumError, entries, registered, rows

KEPT = {trial.claim: trial for trial in stored()}
ALL: list[type[Claim]] = [cls for cls in registered(Claim).values() if cls.__module__.startswith("variorum.")]  # type: ignore[misc]
RUN = [claim for claim in ALL if claim.__name__ in KEPT]
"""The others are said to be \"not run\" on the page, and the rows that ask for them do not work yet."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.__name__)
def test_a_claim_belongs_to_a_check_of_a_bound_row(claim: type[Claim]) -> None:
    assert claim.system in entries()
    assert claim.check is None or 0 <= claim.check < rows()[claim.system].requires
    assert claim.demands
    assert claim.seeds >= 2
    assert (claim.__doc__ or "").strip()


@pytest.mark.parametrize("claim", RUN, ids=lambda claim: claim.__name__)
def test_a_claim_that_is_kept_was_run_on_all_its_seeds(claim: type[Claim]) -> None:
    trial = KEPT[claim.__name__]
    assert (trial.system, trial.check) == (claim.system, claim.check)
    assert len(trial.seeds) >= claim.seeds
    assert {demand.figure for demand in claim.demands} <= trial.figures.keys()
    assert all(len(values) == len(trial.seeds) for values in trial.figures.values())


def test_nothing_is_kept_of_a_claim_that_is_gone() -> None:
    assert KEPT.keys() <= {claim.__name__ for claim in ALL}


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text("utf-8") == page(KEPT.values()), "run `variorum claims --write`"


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.__name__)
def test_a_test_of_its_row_runs_a_claim_again(claim: type[Claim]) -> None:
    name = claim.system.replace("-", "_")
    source = (ROOT / "tests" / "systems" / f"test_{name}.py").read_text("utf-8")
    assert f'bears_out("{claim.__name__}")' in source


# -- how a claim is judged ---------------------------------------------------------------------------------------------
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(-1e6, 1e6))
def test_least_and_most_mirror_each_other(values: list[float], limit: float) -> None:
    least = Demand("f", least=limit).verdict(values)
    assert least is Demand("f", most=-limit).verdict([-value for value in values])


def test_verdicts() -> None:
    assert Demand("f", least=1.0).verdict([1.0]) is Verdict.HOLDS
    assert Demand("f", least=1.0).verdict([0.99]) is Verdict.FAILS
    assert Demand("f", least=1.0).verdict([0.9, 1.08]) is Verdict.UNDECIDED
    assert Demand("f", most=1.0).verdict([1.5, 1.6]) is Verdict.FAILS


@pytest.mark.parametrize("limits", [{}, {"least": 1.0, "most": 2.0}])
def test_a_demand_has_one_limit(limits: dict[str, float]) -> None:
    with pytest.raises(TypeError, match="one limit"):
        Demand("f", **limits)


def test_an_unknown_system_is_told_the_nearest() -> None:
    with pytest.raises(VariorumError, match="step-law"):
        claims("step-lav")


def test_a_trial_is_written_and_read(tmp_path: Path) -> None:
    trial = Trial("StepLawGrid", "step-law", 2, "2026-01-01", {"versions": {}}, [0], [1.0], {"exponent of N": [-0.5]})
    trial.write(tmp_path)
    assert json.loads((tmp_path / "StepLawGrid.json").read_text())["system"] == "step-law"
    assert list(stored(tmp_path)) == [trial]


def test_what_was_not_run_is_said() -> None:
    assert outcome(None) == "not run"
    assert "Not run yet" in page([])

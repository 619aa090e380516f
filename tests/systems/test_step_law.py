"""Step Law: the printed law, a fitter that finds known laws again, and the recipe that trains by it."""

from pathlib import Path

import numpy as np
import pytest

from house.kept import bears_out
from variorum.core import VariorumError, find_entry
from variorum.data.seasonal import SeasonalSeries
from variorum.data.text import TextTask
from variorum.systems.formal_algorithms_transformers import decoder
from variorum.systems.step_law import step_law
from variorum.train.by_law import BATCH, RATE, ByLaw, inner_parameters, tokens_of
from variorum.train.power_law import PowerLaw, best_rate, fit, second_differences
from variorum.train.recipe import Budget, Run

RATES = 2.0 ** np.arange(-14, -4)


@pytest.mark.row("step-law", 0)
def test_the_printed_law() -> None:
    """For 1e9 parameters and 1e11 tokens: rate 1.63e-3 and 1.11e6 tokens a step, exponents -0.713, 0.307, 0.571."""
    found = step_law(1e9, 1e11)
    assert found.lr == pytest.approx(1.63e-3, rel=0.01)
    assert found.batch == pytest.approx(1.11e6, rel=0.01)
    assert np.log(step_law(1e10, 1e11).lr / found.lr) / np.log(10) == pytest.approx(-0.713, abs=1e-12)
    assert np.log(step_law(1e9, 1e12).lr / found.lr) / np.log(10) == pytest.approx(0.307, abs=1e-12)
    assert np.log(step_law(1e9, 1e12).batch / found.batch) / np.log(10) == pytest.approx(0.571, abs=1e-12)
    assert find_entry("step-law").function is step_law


def _grid(law: PowerLaw, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) of 30 settings, and the best rate found in each from ten losses with one percent of noise."""
    settings = np.array([(n, d) for n in np.geomspace(6e7, 1e9, 6) for d in np.geomspace(2e9, 1e11, 5)])
    best = []
    for n, d in settings:
        losses = 3.0 * (1 + 0.02 * np.log2(RATES / law(n, d)) ** 2) * (1 + 0.01 * rng.standard_normal(len(RATES)))
        best.append(best_rate(list(RATES), list(losses)))
    return settings, np.array(best)


@pytest.mark.row("step-law", 1)
def test_the_fitter_finds_a_known_law_again() -> None:
    """From loss grids with 1 % noise both exponents come out within 0.02, and 95 % intervals cover 18 of 20 or more."""
    covered = 0
    for trial in range(20):
        fitted = fit(*_grid(RATE, np.random.default_rng(trial)), seed=trial)
        assert fitted.law.exponents == pytest.approx(RATE.exponents, abs=0.02)
        inside = [lo <= e <= hi for lo, e, hi in zip(fitted.low, RATE.exponents, fitted.high, strict=True)]
        covered += inside[0] + inside[1]
    assert covered >= 36  # 18 of 20 for each of the two


def test_the_best_rate_is_the_vertex_or_the_end_that_was_tried() -> None:
    assert best_rate([1e-3, 1e-2, 1e-1], [2.0, 1.0, 2.0]) == pytest.approx(1e-2)
    assert best_rate([1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.5]) == 1e-1
    assert best_rate([1e-3, 1e-2, 1e-1], [1.0, 2.0, 2.5]) == 1e-3


def test_second_differences_are_those_of_a_parabola_in_log_rate() -> None:
    rates = [1e-3, 4e-3, 1e-2, 1e-1]
    assert second_differences(rates, list(1.5 * np.log(rates) ** 2)) == pytest.approx([3.0, 3.0])


def test_points_that_settle_nothing_are_refused() -> None:
    with pytest.raises(VariorumError, match="Vary each variable"):
        fit(np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]]), np.array([1.0, 2.0, 3.0]))
    with pytest.raises(VariorumError, match="above 0"):
        fit(np.array([[1.0], [2.0]]), np.array([1.0, -1.0]))
    with pytest.raises(VariorumError, match="above 0"):
        RATE(1e9, 0.0)


def test_tokens_and_batch_agree_with_the_steps() -> None:
    tokens = tokens_of(1000)
    assert BATCH(tokens) * 1000 == pytest.approx(tokens)


def test_the_recipe_trains_by_the_law_and_goes_on_with_it(tmp_path: Path) -> None:
    task = TextTask("shakespeare", length=32)
    spec = decoder(dim=32, depth=1, heads=2, length=32)
    told: list[dict[str, float]] = []
    run = Run(Budget(steps=40), folder=tmp_path, report=told.append)
    recipe = ByLaw(evaluations=0, highest=1.0)
    model = recipe.train(spec, task, run)
    tokens = tokens_of(40)
    inner = 12 * 32**2 + 13 * 32 + 2 * 32  # the block's matrices, its biases and norms, the last norm
    assert inner_parameters(model) == inner
    assert told[0]["lr"] == pytest.approx(RATE(inner, tokens))
    assert told[0]["rows"] == max(1, round(BATCH(tokens) / 32))
    again: list[dict[str, float]] = []
    recipe.train(spec, task, Run(Budget(steps=40), folder=tmp_path, report=again.append))
    assert again[0]["lr"] == told[0]["lr"]
    assert len(again) < len(told), "a finished training is only read"


def test_a_small_model_gets_no_higher_rate_than_it_may() -> None:
    """The law itself would have these 13 thousand parameters learn faster."""
    task, spec = TextTask("shakespeare", length=32), decoder(dim=32, depth=1, heads=2, length=32)
    inner = 12 * 32**2 + 13 * 32 + 2 * 32
    for highest in (ByLaw().highest, 2e-3):
        told: list[dict[str, float]] = []
        ByLaw(evaluations=0, highest=highest).train(spec, task, Run(Budget(steps=20), report=told.append))
        assert told[0]["lr"] == highest < RATE(inner, tokens_of(20))
    with pytest.raises(VariorumError, match="a highest rate above 1e-05"):
        ByLaw(highest=1e-5)


def test_a_task_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(VariorumError, match="Train it by Descent"):
        ByLaw().train(decoder(dim=8, depth=1, heads=1, length=8), SeasonalSeries(), Run(Budget(steps=1)))


@pytest.mark.slow
@pytest.mark.row("step-law", 2)
def test_claim_step_law_grid() -> None:
    """A fresh run of StepLawGrid comes out as CLAIMS.md has it."""
    bears_out("StepLawGrid")


@pytest.mark.slow
@pytest.mark.row("step-law", 3)
def test_claim_step_law_plateau() -> None:
    """A fresh run of StepLawPlateau comes out as CLAIMS.md has it."""
    bears_out("StepLawPlateau")


@pytest.mark.slow
def test_claim_step_law_default() -> None:
    """A fresh run of StepLawDefault comes out as CLAIMS.md has it."""
    bears_out("StepLawDefault")

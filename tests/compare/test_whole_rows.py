"""The plain models of whole series and of shapes learn real data, obey the budget, and are kept without pickles."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from samples.pairs import first_pair
from variorum.compare.baselines.baseline import baselines
from variorum.compare.baselines.minirocket import RocketBaseline, RocketRidge
from variorum.compare.measure import score
from variorum.core import Part
from variorum.data.readers.reader import load_task
from variorum.data.task import Task
from variorum.runtime.bundle import Bundle, load, save
from variorum.train.recipe import Budget, Run


def trained(name: str, task: Task, seconds: float | None, told: list | None = None) -> Part:
    torch.set_num_threads(1)
    baseline = next(b for b in baselines(task) if b.name == name)
    spec, recipe = first_pair(baseline(), task)
    run = Run(Budget(seconds=seconds), report=(told if told is not None else []).append)
    return recipe.build().train(spec, task, run)


@pytest.mark.parametrize(
    ("source", "name", "least"),
    [
        ("digit-rows", "minirocket", 0.9),
        ("digit-rows", "linear-on-statistics", 0.9),
        ("digit-points", "linear-on-statistics", 0.6),
    ],
)
def test_it_learns_and_is_kept(tmp_path: Path, source: str, name: str, least: float) -> None:
    task, told = load_task(source), []
    model = trained(name, task, None, told)
    found = score(model, task).mean
    assert found > least and told and all("seconds" in event for event in told)
    save(Bundle.of(model, task), tmp_path / "kept")
    assert score(load(tmp_path / "kept").model, task).mean == pytest.approx(found)


@pytest.mark.slow
def test_pointnet_learns() -> None:
    task = load_task("digit-points")
    spec, recipe = first_pair(next(b for b in baselines(task) if b.name == "pointnet")(), task)
    torch.set_num_threads(1)
    model = recipe.build().train(spec, task, Run(Budget(steps=200)))
    assert score(model, task).mean > 0.6


def test_minirocket_begins_with_every_class_and_ends_within_its_seconds() -> None:
    task, told = load_task("digit-rows"), []
    recipe = RocketRidge(summary=first_pair(RocketBaseline(), task)[1]["summary"], first=1)
    torch.set_num_threads(1)
    recipe.train(first_pair(RocketBaseline(), task)[0], task, Run(Budget(seconds=2.0), report=told.append))
    assert told[0]["step"] == 20, "twice as many rows as classes"
    assert [event["step"] for event in told] == sorted({event["step"] for event in told})


def test_the_factor_makes_probabilities_honest() -> None:
    """Ridge's scores lie about -1 and 1, whose softmax is far from sure; sharpened, it is as sure as it is right."""
    task = load_task("digit-rows")
    model = trained("minirocket", task, None)
    with torch.inference_mode():
        sure = torch.cat([model(**b.inputs).softmax(1).amax(1) for b in task.held_out("test", 128)]).mean()
    assert float(sure) == pytest.approx(score(model, task).mean, abs=0.05)


@pytest.mark.parametrize(("name", "least"), [("GunPoint", 0.97), ("ItalyPowerDemand", 0.93), ("BasicMotions", 0.97)])
def test_minirocket_scores_what_is_published(name: str, least: float) -> None:
    """Dempster et al. report 99.3 % on GunPoint and 96.5 % on ItalyPowerDemand, from all training rows."""
    found = importlib.util.find_spec("aeon")
    if found is None or found.origin is None:
        pytest.skip("aeon, which brings the data, is not installed")
    task = load_task(Path(found.origin).parent / "datasets" / "data" / name / f"{name}_TRAIN.ts")
    assert score(trained("minirocket", task, None), task).mean >= least


def test_amounts_are_estimated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 1, 20))
    np.savez(tmp_path / "a.npz", X=X, y=X[:, 0].std(axis=1))
    task = load_task(tmp_path / "a.npz")
    for name in ("minirocket", "linear-on-statistics"):
        assert score(trained(name, task, None), task).mean < 0.7, "a guess of the mean has an error of about 1"

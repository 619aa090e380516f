"""Baselines are trained with care: they choose on the validation rows, obey the budget, and give our own parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from samples.noises import write_tones
from samples.pairs import first_pair
from samples.sources import SOURCES
from variorum.compare.baselines.baseline import Baseline, baselines
from variorum.compare.baselines.boosting import Boosting
from variorum.compare.baselines.linear_forecast import DirectRidge, LinearForecasts
from variorum.compare.measure import score
from variorum.core import Part, VariorumError, registered
from variorum.data.readers.reader import load_task
from variorum.data.table import TableTask
from variorum.data.task import Task
from variorum.runtime.bundle import Bundle, load, save
from variorum.train.recipe import Budget, Run


def trained(baseline: type[Baseline], task: Task, seconds: float, told: list[dict[str, Any]] | None = None) -> Part:
    torch.set_num_threads(1)
    spec, recipe = first_pair(baseline(), task)
    return recipe.build().train(
        spec, task, Run(Budget(seconds=seconds), report=(told if told is not None else []).append)
    )


@pytest.mark.parametrize("baseline", registered(Baseline).values(), ids=registered(Baseline).keys())
def test_every_baseline_learns_something_and_can_be_kept(baseline: type[Baseline], tmp_path: Path) -> None:
    for reads in baseline.reads:
        task, told = load_task(SOURCES[reads]), list[dict[str, Any]]()
        if reads == "text":
            task = short_text(tmp_path)
        if reads == "sounds":
            task = load_task(write_tones(tmp_path / "tones", each=20))
        model = trained(baseline, task, 12.0 if reads == "sounds" else 4.0, told)
        save(Bundle.of(model, task), tmp_path / reads)
        found = score(load(tmp_path / reads).model, task).mean
        assert found == pytest.approx(score(model, task).mean)
        chance = {
            "table": 0.65,
            "images": 0.12,
            "text": 5.0,
            "labelled texts": 0.25,
            "text pairs": 1.5,
            "series": 3.0,
            "sounds": 0.6,
            "labelled series": 0.12,
            "point clouds": 0.12,
        }[reads]
        assert found > chance if task.higher_is_better else found < chance
        assert told, "progress is told"
        assert all("seconds" in event for event in told)


def short_text(folder: Path) -> Task:
    text = "".join(load_task("shakespeare").symbols("train")[:60_000].tobytes().decode())
    (folder / "short.txt").write_text(text)
    return load_task(folder / "short.txt")


def test_there_is_a_baseline_for_every_kind_of_data() -> None:
    for source in SOURCES.values():
        assert baselines(load_task(source))


def interaction(rows: int) -> TableTask:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, 3))
    return TableTask(
        "t",
        target="y",
        frame=pd.DataFrame({**dict(zip("abc", x.T, strict=True)), "y": (x[:, 0] * x[:, 1] > 0).astype(int)}),
    )


def test_boosting_stops_where_the_validation_loss_does() -> None:
    told: list[dict[str, Any]] = []
    task = interaction(600)
    model = Boosting().train(Boosting.spec(), task, Run(Budget(seconds=60), report=told.append))
    losses = [event["loss"] for event in told]
    assert len(losses) < Boosting().most / Boosting().every, "it did not go on to the end"
    assert min(losses) < min(losses[-Boosting().patience :]), "the last looks brought nothing"
    kept = len(model.root)
    assert kept == told[losses.index(min(losses))]["step"], "the best ensemble is kept, not the last"
    assert score(model, task).mean > 0.85


def test_boosting_obeys_what_a_search_sets() -> None:
    """Leaves of many rows make few splits; a tree that draws its columns anew is another."""
    task, steps = interaction(300), Run(Budget(steps=20))
    plain, coarse, drawn = (Boosting(**more).train(Boosting.spec(), task, steps)  # type: ignore[arg-type]
                            for more in ({}, {"fewest": 100}, {"share": 0.4}))  # fmt: skip
    assert len(coarse.state_dict()["threshold"]) < len(plain.state_dict()["threshold"])
    assert not torch.equal(plain.state_dict()["threshold"], drawn.state_dict()["threshold"])


def test_a_linear_forecast_looks_no_further_back_than_it_may() -> None:
    task = load_task("sunspots")
    spec, _ = first_pair(LinearForecasts(), task)
    run = Run(Budget(steps=100))
    whole, near = (DirectRidge(reach=reach).train(spec, task, run).linear.weight for reach in (1.0, 0.5))
    assert (whole[:, :-1] != 0).all(), "the last step itself is taken away from all"
    steps = near.shape[1]
    assert (near[:, : steps - round(0.5 * steps)] == 0).all() and (near[:, steps - round(0.5 * steps) :] != 0).any()
    with pytest.raises(VariorumError, match="a reach above 0"):
        DirectRidge(reach=0.0)


def test_boosting_ends_within_its_seconds() -> None:
    told: list[dict[str, Any]] = []
    Boosting(patience=1000).train(Boosting.spec(), interaction(3000), Run(Budget(seconds=1.0), report=told.append))
    assert told[-1]["seconds"] < 2.0

"""Once a configuration is chosen, most of what it was chosen on is trained on, and the test split stays as it was."""

import numpy as np
import pytest
import torch

from variorum.data.divided import DividedRows
from variorum.data.draw import Parts
from variorum.data.forecast import ForecastTask
from variorum.data.readers.reader import load_task
from variorum.data.task import Split, Task

DIVIDED = ("iris", "digits", "digit-rows", "digit-points", "chirps", "shakespeare_plays", "spoken_numbers", "diabetes")


def targets(task: Task, split: Split) -> torch.Tensor:
    return torch.cat([torch.as_tensor(batch.targets).flatten() for batch in task.held_out(split, 64)])


@pytest.mark.parametrize("source", DIVIDED)
def test_rows_move_from_valid_to_train(source: str) -> None:
    task = load_task(source)
    assert isinstance(task, DividedRows)
    before, chosen = task.parts, task.once_chosen()
    after = chosen.parts
    moved = len(before.valid) - len(after.valid)
    assert moved == max(0, len(before.valid) - max(200, round(len(before.valid) / 4)))
    assert set(after.train) == set(before.train) | (set(before.valid) - set(after.valid))
    assert len(after.train) == len(before.train) + moved
    assert np.array_equal(after.test, before.test)
    assert torch.equal(targets(chosen, "test"), targets(task, "test"))
    assert chosen.facts == task.facts
    assert chosen.preprocess == task.preprocess
    assert np.array_equal(task.parts.train, before.train), "the task itself has changed"
    assert len(targets(chosen, "valid")) <= len(targets(task, "valid"))


def test_moved_rows_are_drawn_for_training() -> None:
    task = load_task("digits").once_chosen()
    assert isinstance(task, DividedRows)
    rows = len(task.parts.train)
    counts = torch.bincount(task.batch(0, rows, 0).targets)
    wanted = task._targets[torch.from_numpy(task.parts.train)]  # type: ignore[attr-defined]
    assert torch.equal(counts, torch.bincount(wanted)), "a whole pass does not draw every row once"


def test_which_rows_move_depends_on_the_seed_alone() -> None:
    parts = Parts(np.arange(1000), np.arange(1000, 2000), np.arange(2000, 2500))
    once, again, other = parts.once_chosen(3), parts.once_chosen(3), parts.once_chosen(4)
    assert np.array_equal(once.valid, again.valid)
    assert not np.array_equal(once.valid, other.valid)
    assert len(once.valid) == 250


def test_few_rows_stay_where_they_are() -> None:
    parts = Parts(np.arange(60), np.arange(60, 80), np.arange(80, 100))
    once = parts.once_chosen(0)
    assert np.array_equal(once.train, parts.train) and np.array_equal(once.valid, parts.valid)


@pytest.mark.parametrize("source", ["sunspots", "stocks"])
def test_forecasts_are_trained_up_to_nearer_the_test_part(source: str) -> None:
    task = load_task(source)
    assert isinstance(task, ForecastTask)
    chosen = task.once_chosen()
    train, more = task._starts["train"], chosen._starts["train"]
    assert len(more) > len(train) and set(train) <= set(more)
    assert np.array_equal(chosen._starts["test"], task._starts["test"])
    assert chosen.facts == task.facts and chosen.preprocess == task.preprocess
    assert more.max() + task.context + task.horizon <= chosen._starts["valid"].max() + task.context


def test_what_a_forecast_is_judged_by_is_not_trained_on() -> None:
    task = load_task("sunspots").once_chosen()
    assert isinstance(task, ForecastTask)
    length = task.context + task.horizon
    assert (task._starts["train"] + length).max() <= (task._starts["valid"] + task.context).min()

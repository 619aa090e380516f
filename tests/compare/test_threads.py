"""A training gets several threads only where that is faster."""

import pytest
import torch

from variorum.compare import threads
from variorum.compare.baselines.boosting import Boosting
from variorum.compare.training import recipe
from variorum.core import find_entry
from variorum.data.readers.reader import load_task
from variorum.models.trees import TreeEnsemble


@pytest.mark.parametrize("quick", [1, 2])
def test_the_faster_number_is_taken(monkeypatch: pytest.MonkeyPatch, quick: int) -> None:
    before, plain = torch.get_num_threads(), threads._seconds

    def told(learner: object, batch: object) -> float:
        assert plain(learner, batch) > 0, "a step is taken"
        return 1.0 if torch.get_num_threads() == quick else 2.0

    monkeypatch.setattr(threads, "_seconds", told)
    task = load_task("iris")
    try:
        assert threads.faster(find_entry("turner-introduction").fit("table"), recipe(task), task, most=2) == quick
    finally:
        torch.set_num_threads(before)


def test_nothing_is_measured_where_there_is_no_choice() -> None:
    task = load_task("iris")
    assert threads.faster(TreeEnsemble.spec(), Boosting.spec(), task, most=4) == 1
    assert threads.faster(find_entry("turner-introduction").fit("table"), recipe(task), task, most=1) == 1

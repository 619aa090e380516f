"""Rows whose owner keeps a test of his own: all of them are trained or judged on."""

import numpy as np
import pandas as pd
import pytest

from variorum.core import VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.settled import Settled
from variorum.data.table import TableTask


def test_each_class_gives_its_share() -> None:
    values = pd.Series(["a"] * 50 + ["b"] * 10 + ["c"] * 2, name="y")
    parts, target = Settled(("a", "b", "c"), 0.2).divide(values, 0)
    assert target["labels"] == ("a", "b", "c") and not len(parts.test)
    assert values.iloc[parts.valid].value_counts().to_dict() == {"a": 10, "b": 2}
    assert sorted([*parts.train, *parts.valid]) == list(range(62))
    again, _ = Settled(("a", "b", "c"), 0.2).divide(values, 0)
    other, _ = Settled(("a", "b", "c"), 0.2).divide(values, 1)
    assert np.array_equal(again.valid, parts.valid) and not np.array_equal(other.valid, parts.valid)


def test_small_classes_are_learned_rather_than_judged_on() -> None:
    parts, _ = Settled((0, 1), 0.2).divide(pd.Series([0, 0, 1]), 0)
    assert len(parts.valid) == 1 and parts.valid[0] in (0, 1)
    with pytest.raises(VariorumError, match="1 sample each"):
        Settled((0, 1), 0.2).divide(pd.Series([0, 1]), 0)


def test_values_are_scaled_by_those_that_are_trained_on() -> None:
    values = pd.Series(np.arange(100.0), name="y")
    parts, target = Settled(None, 0.25).divide(values, 0)
    assert len(parts.valid) == 25 and target["mean"] == pytest.approx(values.iloc[parts.train].mean())
    spread = np.bincount(np.minimum((parts.valid + 1) // 20, 4))
    assert spread.tolist() == [5] * 5, "of every 20 rows of like value, a quarter"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(VariorumError, match="above 0 and below 1"):
        Settled(None, share)


def test_a_settled_table_keeps_its_few_whole_numbers_as_values() -> None:
    frame = pd.DataFrame({"x": np.arange(40) % 7, "y": np.arange(40) % 3})
    assert TableTask("rows", target="y", frame=frame).writes == "class"
    settled = TableTask("rows", target="y", frame=frame, settled=Settled(None, 0.2))
    assert settled.writes == "value" and list(settled.held_out("test", 8)) == []


def test_series_without_a_test_are_trained_on_to_the_last_share() -> None:
    frame = pd.DataFrame({"t": np.arange(100), "v": np.sin(np.arange(100) / 3)})
    task = ForecastTask("rows", horizon=5, time="t", target="v", frame=frame, valid=0.1)
    assert task.series[0].trained == 90 and not list(task.held_out("test", 4))
    assert sum(len(batch.targets[0]) for batch in task.held_out("valid", 4)) >= 2
    assert "test" not in task.notes[-1]
    with pytest.raises(VariorumError, match="at least 26 steps"):
        ForecastTask("rows", horizon=5, time="t", target="v", frame=frame[:24], valid=0.2)

"""Whatever a table of times holds: a task that can be trained on, or a VariorumError."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError
from variorum.data.forecast import ForecastTask
from variorum.data.question import Question
from variorum.data.readers.reader import load_task

many = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
TIMES = st.sampled_from(
    ["", "1", "2020-01-01", "2020-01-02", "31/12/2020", "x", "é", "NaT", "12:30", '"a,b"', "1e308", "2020Q1",
     "99999999", "-5", "2020-13-45", "0000-00-00", "1600000000", "262143-01-01", "2020-01-01T00:00+25:00"]
)  # fmt: skip
CELLS = st.sampled_from([None, "", "a", "?", 1, 2.5, -1e300, np.inf, np.nan, True, "1", 10**30, [1], "2020-01-01"])
PACES = st.sampled_from(["s", "7min", "h", "D", "B", "W", "MS", "ME", "QE", "YE"])


@many
@given(
    raw=st.binary(max_size=120)
    | st.lists(st.tuples(TIMES, TIMES).map(",".join), max_size=30).map(lambda rows: "\n".join(["time,y", *rows])).map(
        str.encode)
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_any_file(tmp_path, suffix, raw):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(raw)
    try:
        task = load_task(path, Question(horizon=1, time="time"))
    except VariorumError:
        return
    check(task)


@many
@given(data=st.data())
def test_any_damage_to_good_series(data):
    """Regular series of any pace, then rows shuffled, doubled, dropped, made wrong."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    freq, n, groups = data.draw(PACES), data.draw(st.integers(1, 120)), data.draw(st.integers(1, 3))
    parts = [
        pd.DataFrame({"when": pd.date_range("2019-03-01", periods=n, freq=freq), "who": name,
                      "y": rng.normal(size=n).round(data.draw(st.integers(0, 3))), "z": np.arange(n) % 7.0})
        for name in ("a", "ü b", "3")[:groups]
    ]  # fmt: skip
    frame = pd.concat(parts, ignore_index=True).astype({"when": str}).astype(object)
    for _ in range(data.draw(st.integers(0, 6))):
        row = data.draw(st.integers(0, len(frame) - 1))
        column = data.draw(st.sampled_from(["when", "who", "y"]))
        frame.loc[row, column] = data.draw(TIMES) if column == "when" else data.draw(CELLS.filter(lambda c: c != [1]))
    frame = frame.drop(index=rng.choice(len(frame), size=int(data.draw(st.floats(0, 0.4)) * len(frame)), replace=False))
    frame = pd.concat([frame, frame.sample(data.draw(st.integers(0, 3)), replace=True, random_state=0)])
    frame = frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    try:
        task = ForecastTask("any", frame=frame, horizon=data.draw(st.integers(1, 9)), time="when",
                            group=data.draw(st.sampled_from(["who", None])),
                            target=data.draw(st.sampled_from([None, "y", "z", "y,z"])))  # fmt: skip
    except VariorumError:
        return
    check(task)
    rows = Spec.from_json(task.preprocess.to_json()).build()
    try:
        opened = rows.open(frame)
    except VariorumError as error:  # a series that the task left out
        assert "expected a series" in str(error) or "expected at least" in str(error) or "series '" in str(error)
        return
    told = rows.answers(opened, [torch.zeros(len(opened), task.horizon, len(rows.targets))])
    assert len(told) == len(opened) * task.horizon and not told.isna().any(axis=None)


def check(task):
    """Everything is finite, targets are disjoint in time, and what is blank is blank."""
    assert all(isinstance(note, str) and note.endswith(".") for note in task.notes)
    for batch in (task.batch(0, 8, 0), *task.held_out("valid", 50), *task.held_out("test", 50)):
        inputs, (values, weights) = batch.inputs["inputs"], batch.targets
        assert inputs.isfinite().all() and values.isfinite().all() and weights.isfinite().all() and (weights >= 0).all()
        assert inputs.shape[1:] == (task.context + task.horizon, task.facts["variables"] + task.facts["calendar"])
        assert (weights.sum(dim=(1, 2)) > 0).all(), "a window in which nothing is judged"
        assert (inputs[:, task.context :, : task.facts["variables"]] == 0).all()

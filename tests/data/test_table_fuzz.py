"""Whatever a table holds: a task that can be trained on, or a VariorumError."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError
from variorum.data.frames import read_table
from variorum.data.readers.reader import detect
from variorum.data.table import TableTask

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
FIELDS = st.sampled_from(
    ["", "1", "-2.5", "1e308", "inf", "NaN", "x", "é", '"a,b"', '"', '"two\nlines"', "2020-01-01", "?", "True", " "]
)
CELLS = st.sampled_from(
    [None, "", "a", "b", "?", 1, 2, -1.5, np.inf, np.nan, True, "2020-01-01", "1", 10**30, 1e300, [1], "a" * 300]
)


@many
@given(
    raw=st.binary(max_size=120)
    | st.lists(st.lists(FIELDS, max_size=4).map(",".join), max_size=8).map("\n".join).map(str.encode)
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".feather", ".jsonl"])
def test_any_file(tmp_path, suffix, raw):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(raw)
    try:
        assert detect(path).reads == "table"
        frame, notes = read_table(path)
    except VariorumError as error:
        assert "t." in str(error)
        return
    assert len(frame) > 0 and all(isinstance(note, str) for note in notes)
    assert len(set(frame.columns)) == len(frame.columns)


@many
@given(data=st.data())
def test_any_frame(data):
    rows = data.draw(st.integers(1, 40))
    columns = {f"c{i}": data.draw(st.lists(CELLS, min_size=2, max_size=5)) for i in range(data.draw(st.integers(1, 4)))}
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frame = pd.DataFrame(
        {name: [cells[i] for i in rng.integers(len(cells), size=rows)] for name, cells in columns.items()}
    )
    frame["y"] = rng.integers(2, size=rows) if data.draw(st.booleans()) else rng.normal(size=rows)
    frame = frame.convert_dtypes() if data.draw(st.booleans()) else frame
    try:
        task = TableTask("any", target=data.draw(st.sampled_from(list(frame.columns))), frame=frame)
    except VariorumError:
        return
    X, y = task.arrays("train")
    assert X.shape == (len(y), len(task.facts["columns"])) and X.dtype == np.float32 and np.isfinite(y).all()
    for split in ("train", "valid", "test"):
        X, y = task.arrays(split)
        assert len(y) > 0 and not np.isinf(X).any()
        for j, size in enumerate(task.facts["columns"]):
            if size:
                codes = X[:, j]
                assert ((codes >= 0) & (codes < size) & (codes == np.round(codes))).all()
    again = Spec.from_json(task.preprocess.to_json()).build()
    np.testing.assert_array_equal(again.encode(frame.iloc[:0]), np.zeros((0, X.shape[1])))

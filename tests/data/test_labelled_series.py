"""Whole series from .ts and .npz: published splits kept, holes repaired and said, faults told."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError, find_entry
from variorum.data.labelled_series import LabelledSeriesTask, SeriesRows, repaired
from variorum.data.readers.reader import detect, load_task
from variorum.data.series_files import parse_ts, read_series
from variorum.runtime.bundle import Bundle

HEAD = "# a comment\n@problemName p\n@timeStamps false\n@univariate {}\n@classLabel true a b\n@data\n"


def lines(rows: int, seed: int, *, channels: int = 2, lengths: tuple[int, ...] = (9, 12)) -> str:
    rng = np.random.default_rng(seed)
    said = []
    for row in range(rows):
        values = rng.normal(size=(channels, lengths[row % len(lengths)])) + row % 2
        said.append(":".join([*(",".join(f"{v:.4f}" for v in c) for c in values), "ab"[row % 2]]))
    return "\n".join(said) + "\n"


def write(path: Path, text: str, *, univariate: bool = False) -> Path:
    path.write_text(HEAD.format(str(univariate).lower()) + text, "utf-8")
    return path


def test_a_published_split_is_kept(tmp_path):
    write(tmp_path / "P_TRAIN.ts", lines(20, 0))
    test = write(tmp_path / "P_TEST.ts", lines(11, 1))
    for source in (tmp_path, test, tmp_path / "P_TRAIN.ts"):
        task = load_task(source)
        assert task.parts.test.tolist() == list(range(20, 31))
        assert sorted([*task.parts.train, *task.parts.valid]) == list(range(20)) and len(task.parts.valid) == 4
        assert any("published split is kept: 20 series" in note for note in task.notes)
    again = LabelledSeriesTask(str(test), seed=1)
    assert again.parts.valid.tolist() != task.parts.valid.tolist() and (again.parts.test == task.parts.test).all()


def test_one_file_is_split_by_class(tmp_path):
    task = load_task(write(tmp_path / "p.ts", lines(40, 0)))
    assert [len(task.parts.rows(p)) for p in ("train", "valid", "test")] == [24, 8, 8]
    assert task.facts == {"channels": 2, "steps": 12, "classes": 2} and task.labels == ("a", "b")
    assert not any("published" in note for note in task.notes)


def test_uneven_rows_are_packed_and_equal_ones_are_a_batch(tmp_path):
    uneven = load_task(write(tmp_path / "u.ts", lines(40, 0)))
    batch = uneven.batch(0, 6, 0)
    assert batch.inputs["inputs"].shape == (sum(batch.inputs["layout"].lengths), 2)
    even = load_task(write(tmp_path / "e.ts", lines(40, 0, lengths=(9,))))
    assert even.batch(0, 6, 0).inputs["inputs"].shape == (6, 9, 2)
    values = torch.cat([b.inputs["inputs"] for b in even.part("train", 7)])
    torch.testing.assert_close(values.mean((0, 1)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std((0, 1), correction=0), torch.ones(2))


def test_the_spec_alone_reads_files_like_the_task(tmp_path):
    path = write(tmp_path / "p.ts", lines(40, 0))
    task = load_task(path)
    rows = Spec.from_json(task.preprocess.to_json()).build()
    opened = rows.open(str(path))
    found = [row for b in rows.batches(opened, 7) for row in b["inputs"].split(b["layout"].lengths)]
    assert len(found) == 40 and all(torch.equal(row, task.rows.row(i)) for i, row in enumerate(found))


def test_missing_values_lie_between_their_neighbours_and_ends_are_cut():
    row = np.array([[1, np.nan], [np.nan, np.nan], [3, np.inf], [np.nan, np.nan], [np.nan, np.nan]], dtype=float)
    fixed, filled, cut = repaired(row)
    assert fixed[:, 0].tolist() == [1, 2, 3] and np.isnan(fixed[:, 1]).all() and (filled, cut) == (4, 2)
    columns = SeriesRows(mean=(0.0, 5.0), scale=(1.0, 1.0), length=3, target=SeriesRows.examples[0]["target"])
    assert columns.encode(fixed).tolist() == [[1, 0], [2, 0], [3, 0]], "a channel without values is at its mean"
    assert columns.encode(repaired(row[3:])[0]).tolist() == [[0, 0]]


def test_repairs_and_what_is_left_out_are_said(tmp_path):
    text = lines(40, 0, channels=1)
    more = "1,2,?,4:a\n?,?:a\n1,2,3:?\n" + text.splitlines()[0] + "\n1,2,NaN,NaN:b\n"
    notes = " ".join(load_task(write(tmp_path / "p.ts", text + more)).notes)
    for said in ("1 series have no answer", "1 series have no value", "1 series are copies", "1 missing values in 1",
                 "1 series end in missing values"):  # fmt: skip
        assert said in notes, (said, notes)


def test_channels_of_different_lengths_and_other_encodings_are_repaired(tmp_path):
    path = tmp_path / "p.ts"
    text = HEAD.format("false").replace("comment", "cömment – one") + lines(20, 0) + "1,2,3:1:a\n"
    path.write_bytes(text.encode("cp1252"))
    notes = " ".join(load_task(path).notes)
    assert "Channels of different lengths in 1 series" in notes and "Windows-1252" in notes


def test_amounts_are_estimated(tmp_path):
    rng = np.random.default_rng(0)
    text = "@targetlabel true\n@data\n" + "".join(f"{v},{2 * v},1:{v}\n" for v in rng.normal(size=60))
    task = load_task(_raw(tmp_path / "p.ts", "@problemname p\n" + text))
    assert task.writes == "value" and task.metric == "squared error" and "classes" not in task.facts
    assert {p: len(task.parts.rows(p)) for p in ("train", "valid", "test")} == {"train": 36, "valid": 12, "test": 12}


def _raw(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@problemName p\n@classLabel true\n", "a line @data"),
        ("@problemName p\n1,2:a\n@data\n", "line 2: expected a comment"),
        ("@univariate true\n@classLabel true a\n@data\n", "series after @data"),
        ("@timeStamps true\n@data\n(0,1):a\n", "without time stamps"),
        ("@univariate false\n@dimensions two\n@data\n1:a\n", "@dimensions"),
        (HEAD.format("false") + lines(20, 0) + "1,2:a\n", "line 27: expected 2 channels and an answer, found 1"),
        (HEAD.format("false") + lines(20, 0) + "1,2:1,x:a\n", "line 27: expected numbers"),
        (HEAD.format("true") + "1,2:a\n" * 30, "at least two different answers"),
        (HEAD.format("true") + lines(40, 0, channels=1) + "1,2:c\n", "too few in 'c' \\(1\\)"),
        ("@univariate true\n@classLabel false\n@data\n" + "1,2\n" * 9, "an answer for each series"),
        ("@univariate true\n@targetLabel true\n@data\n1,2:high\n", "a number as the answer"),
    ],
)
def test_faults_are_told(tmp_path, text, said):
    with pytest.raises(VariorumError, match=said):
        load_task(_raw(tmp_path / "p.ts", text))


def test_parts_that_do_not_fit_are_told(tmp_path):
    write(tmp_path / "P_TRAIN.ts", lines(20, 0))
    write(tmp_path / "P_TEST.ts", lines(9, 1, channels=3))
    with pytest.raises(VariorumError, match="as many channels"):
        load_task(tmp_path / "P_TEST.ts")
    write(tmp_path / "Q_TRAIN.ts", lines(20, 0))
    with pytest.raises(VariorumError, match=r"P_TRAIN\.ts, Q_TRAIN\.ts"):
        load_task(tmp_path)


def test_only_files_of_series_are_taken(tmp_path):
    code = _raw(tmp_path / "code.ts", "export const data = 1;\n")
    assert detect(code).reads == "text"
    np.savez(tmp_path / "a.npz", table=np.zeros(3))
    with pytest.raises(VariorumError, match=r"unknown kind \(\.npz\)"):
        detect(tmp_path / "a.npz")


# -- .npz --------------------------------------------------------------------------------------------------------------
def arrays(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 2
    return rng.normal(size=(rows, 3, 10)) + y[:, None, None], y


def test_arrays_in_every_form(tmp_path):
    X, y = arrays()
    lengths = np.full(40, 10)
    np.savez(tmp_path / "even.npz", X=X, y=y)
    np.savez(
        tmp_path / "packed.npz", values=X.transpose(0, 2, 1).reshape(-1, 3), lengths=lengths, y=np.array(["a", "b"])[y]
    )
    np.savez(tmp_path / "split.npz", X_train=X[:30], y_train=y[:30], X_test=X[30:], y_test=y[30:])
    even, packed, split = (load_task(tmp_path / f"{name}.npz") for name in ("even", "packed", "split"))
    assert even.labels == (0, 1) and packed.labels == ("a", "b")
    torch.testing.assert_close(even.rows.values, packed.rows.values)
    assert split.parts.test.tolist() == list(range(30, 40))
    np.savez(tmp_path / "one.npz", X=X[:, 0], y=y)
    np.savez(tmp_path / "last.npz", X=X[:, 0, :, None], y=y)
    one, last = load_task(tmp_path / "one.npz"), load_task(tmp_path / "last.npz")
    assert one.facts["channels"] == last.facts["channels"] == 1 and torch.equal(one.rows.values, last.rows.values)
    assert any("(rows, time, 1)" in note for note in last.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"X": np.zeros((4, 2, 3))}, "an answer for each series"),
        ({"X": np.zeros((4, 2, 3, 1)), "y": np.zeros(4)}, "shape"),
        ({"X": np.zeros((0, 2, 3)), "y": np.zeros(0)}, "shape"),
        ({"X": np.zeros((4, 2, 3)), "y": np.zeros(5)}, "one answer for each of 4 rows"),
        ({"values": np.zeros((4, 2)), "lengths": np.array([1, 2]), "y": np.zeros(2)}, "a sum of 4"),
        ({"X": np.full((9, 2, 3), np.nan), "y": np.arange(9) % 2}, "series with values"),
        ({"X_train": np.zeros((4, 2, 3)), "X_test": np.zeros((4, 1, 3))}, "2 channels"),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, given, said):
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(VariorumError, match=said):
        load_task(tmp_path / "a.npz")


def test_rows_to_predict(tmp_path):
    X, y = arrays()
    np.savez(tmp_path / "a.npz", X=X, y=y)
    task = load_task(tmp_path / "a.npz")
    model = find_entry("turner-introduction").fit("labelled series").fill(**task.facts).build().eval()
    bundle = Bundle.of(model, task)
    told = [bundle.predict(given) for given in (str(tmp_path / "a.npz"), X, list(X), torch.from_numpy(X))]
    for answers in told:
        assert len(answers) == 40 and set(answers["prediction"]) <= {0, 1}
        np.testing.assert_allclose(answers["probability"], told[0]["probability"], atol=1e-5)
    uneven = bundle.predict([X[0], X[1][:, :4], np.full((3, 2), np.nan)])
    assert uneven["probability"].notna().all()
    assert uneven["probability"][0] == pytest.approx(told[0]["probability"][0], abs=1e-5)
    for wrong, said in ((X[:, :2], r"\(3, time\)"), (["a"], "numbers"), ("no.ts", "nothing of this name")):
        with pytest.raises(VariorumError, match=said):
            bundle.predict(wrong)


# -- anything ----------------------------------------------------------------------------------------------------------
NUMBER = st.one_of(st.floats(width=64), st.sampled_from(["?", "", "1e999", "x", "1_0", "−1"])).map(str)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.tuples(st.lists(st.lists(NUMBER, max_size=4), min_size=1, max_size=3), st.text(max_size=3)), max_size=9
    ),
    head=st.sampled_from(["@classLabel true", "@targetLabel true", "@CLASSLABEL True a b", "", "@", "@dimensions 2"]),
)
def test_any_lines_are_read_or_told(rows, head):
    text = f"@problemName p\n{head}\n@data\n" + "\n".join(":".join([*(",".join(c) for c in row), y]) for row, y in rows)
    try:
        found = parse_ts(text, "p.ts")
    except VariorumError as error:
        assert "p.ts" in str(error)
        return
    assert len(found.rows) == len(found.labels) and len({row.shape[1] for row in found.rows}) == 1
    for row in found.rows:
        fixed, filled, cut = repaired(row)
        assert len(fixed) + cut == len(row) and filled >= 0 and not np.isinf(fixed).any()


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=300), at=st.integers(0, 500))
def test_any_bytes_are_read_or_told(tmp_path, raw, at):
    whole = (HEAD.format("false") + lines(6, 0)).encode()
    path = tmp_path / "p.ts"
    path.write_bytes(whole[:at] + raw)
    try:
        found = read_series(path)
    except VariorumError as error:
        assert str(path) in str(error)
    else:
        assert len(found.rows) == len(found.labels) > 0


# -- real --------------------------------------------------------------------------------------------------------------
def real(name: str) -> Path:
    found = importlib.util.find_spec("aeon")
    if found is None or found.origin is None:
        pytest.skip("aeon, which brings the data, is not installed")
    return Path(found.origin).parent / "datasets" / "data" / name / f"{name}_TRAIN.ts"


@pytest.mark.parametrize(
    ("name", "facts", "rows"),
    [
        ("GunPoint", {"channels": 1, "classes": 2}, (50, 150)),
        ("BasicMotions", {"channels": 6, "classes": 4}, (40, 40)),
        ("JapaneseVowels", {"channels": 12, "classes": 9}, (270, 370)),
        ("Covid3Month", {"channels": 1}, (140, 61)),
    ],
)
def test_the_archives_own_files(name, facts, rows):
    """Rows and channels as the archive publishes them; the vowels are uneven, the last is an amount."""
    task = load_task(real(name))
    steps = int(task.rows.lengths[task.parts.train].max())
    assert task.facts == {**facts, "steps": steps} and task.rows.equal == (name != "JapaneseVowels")
    assert (len(task.parts.train) + len(task.parts.valid), len(task.parts.test)) == rows

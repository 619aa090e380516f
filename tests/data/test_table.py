import numpy as np
import pandas as pd
import pytest
import torch

from variorum.core import Spec, VariorumError
from variorum.data.readers.reader import load_task
from variorum.data.table import TableColumns, TableTask
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.objectives.squared_error import SquaredError


def people(rows=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "age": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(18, 90, rows)),
            "town": rng.choice(["Bonn", "Ulm", "Köln"], rows),
            "joined": pd.date_range("2020-01-01", periods=rows, freq="9D").astype(str),
            "note": [f"remark {i}" for i in range(rows)],
            "same": 7,
            "kind": rng.choice(["x", "y"], rows),
            "wage": rng.normal(3000, 400, rows),
        }
    )


@pytest.fixture
def path(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


def test_classification_facts_notes_and_parts(path):
    task = TableTask(path, target="kind")
    assert task.facts == {"columns": (0, 4, 0, 0, 0, 0, 0, 0), "classes": 2}
    assert (task.writes, task.metric, task.higher_is_better) == ("class", "accuracy", True)
    assert task.labels == ("x", "y") and task.objective == CrossEntropy.spec()
    told = " ".join(task.notes)
    for part in (
        "classification",
        "'id' is left out: it only numbers",
        "'note' is left out: 36 different",
        "'same' is left",
    ):
        assert part in told
    assert [len(task.parts.rows(s)) for s in ("train", "valid", "test")] == [36, 12, 12]


def test_regression_is_detected_and_said(path):
    task = TableTask(path, target="wage")
    assert task.facts == {"columns": (0, 4, 0, 0, 0, 0, 0, 3)}
    assert (task.writes, task.metric, task.higher_is_better) == ("value", "squared error", False)
    assert task.objective == SquaredError.spec() and task.labels == () and "regression" in " ".join(task.notes)
    _, y = task.arrays("train")
    assert y.mean() == pytest.approx(0, abs=1e-6) and y.std() == pytest.approx(1, abs=1e-5)
    y = task.arrays("test")[1]
    best = task.scores(torch.full((len(y), 1), float(y.mean())), torch.from_numpy(y)).mean()
    assert task.r2("test", float(best)) == pytest.approx(0, abs=1e-5) and task.r2("test", 0.0) == 1


def test_preprocessing_learns_from_training_rows_alone(path):
    frame = people()
    task = TableTask(path, target="kind")
    changed = frame.copy()
    held = np.concatenate([task.parts.valid, task.parts.test])
    changed.loc[held, "age"] = 1e6
    changed.loc[held, "town"] = "elsewhere"
    again = TableTask("changed", target="kind", frame=changed)
    assert again.preprocess == task.preprocess
    assert (again.arrays("test")[0][:, 1] == 0).all()


def test_batches_are_a_function_of_seed_and_step(path):
    one, two = TableTask(path, target="kind"), TableTask(path, target="kind")
    two.batch(0, 16, 3)
    a, b = one.batch(5, 16, 3), two.batch(5, 16, 3)
    torch.testing.assert_close(a.inputs["inputs"], b.inputs["inputs"], rtol=0, atol=0, equal_nan=True)
    assert (a.targets == b.targets).all()
    assert not torch.equal(a.inputs["inputs"].nan_to_num(), one.batch(6, 16, 3).inputs["inputs"].nan_to_num())
    assert not torch.equal(a.inputs["inputs"].nan_to_num(), one.batch(5, 16, 4).inputs["inputs"].nan_to_num())


def test_held_out_is_every_row_once(path):
    task = TableTask(path, target="kind")
    batches = list(task.held_out("test", 5))
    assert [len(b.targets) for b in batches] == [5, 5, 2]
    X, y = task.arrays("test")
    np.testing.assert_array_equal(torch.cat([b.inputs["inputs"] for b in batches]).numpy(), X)
    np.testing.assert_array_equal(torch.cat([b.targets for b in batches]).numpy(), y)
    scores = task.scores(torch.nn.functional.one_hot(torch.from_numpy(1 - y), 2), torch.from_numpy(y))
    assert scores.sum() == 0 and scores.shape == y.shape


def test_the_spec_alone_encodes_like_the_task(path):
    task = TableTask(path, target="kind")
    columns = Spec.from_json(task.preprocess.to_json()).build()
    assert isinstance(columns, TableColumns)
    frame = people()
    np.testing.assert_array_equal(columns.encode(frame.iloc[task.parts.test]), task.arrays("test")[0])
    shuffled = frame[frame.columns[::-1]].drop(columns=["kind", "note", "id"])
    np.testing.assert_array_equal(columns.encode(shuffled), columns.encode(frame))
    with pytest.raises(VariorumError, match=r"the column 'town'.*Did you mean 'towns'"):
        columns.encode(frame.rename(columns={"town": "towns"}))


def test_rows_without_target_are_left_out(path):
    frame = people()
    frame.loc[:9, "kind"] = None
    task = TableTask("people", target="kind", frame=frame)
    assert sum(len(task.parts.rows(s)) for s in ("train", "valid", "test")) == 50
    assert any("10 rows have no target" in note for note in task.notes)


def test_number_classes_with_gaps_in_between():
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=40), "y": [3.0, 7.0, np.nan, 3.0] * 10})
    task = TableTask("numbers", frame=frame)
    assert task.labels == (3, 7)


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        (lambda f: f, "wagee", "expected the name of a column, found 'wagee'. Did you mean 'wage'"),
        (lambda f: f, None, "expected the name of the column to predict, found none. Name one of: id, age"),
        (lambda f: f.assign(kind="x"), "kind", "at least two different values, found only 'x'"),
        (lambda f: f.assign(wage=1.5), "wage", "at least two different values"),
        (lambda f: f.assign(kind=None), "kind", "missing in every row"),
        (lambda f: f.assign(wage=np.inf), "wage", "missing in every row"),
        (lambda f: f.assign(kind=["x"] * 58 + ["y", "z"]), "kind", r"found 2 classes with fewer: 'y' \(1\), 'z' \(1\)"),
        (lambda f: f.head(12), "wage", "expected at least 20 rows, found 12"),
        (lambda f: f[["kind", "same", "id"]], "kind", "expected a column to predict from.*'same' is left out"),
        (lambda f: f[["kind"]], "kind", "expected a column to predict from, found the target alone"),
    ],
)
def test_faults_say_what_to_do(change, target, message):
    with pytest.raises(VariorumError, match=message):
        TableTask("people", target=target, frame=change(people()))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_bundled_tables_are_real_and_learnable(name):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    task = load_task(name)
    assert isinstance(task, TableTask) and "scikit-learn" in task.notes[0]
    model = (HistGradientBoostingClassifier if task.writes == "class" else HistGradientBoostingRegressor)(max_iter=30)
    assert model.fit(*task.arrays("train")).score(*task.arrays("test")) > (0.9 if task.writes == "class" else 0.25)


def test_split_of_values_covers_their_range():
    task = load_task("diabetes")
    quartiles = np.array([np.quantile(task.arrays(s)[1], [0.25, 0.5, 0.75]) for s in ("train", "valid", "test")])
    assert np.abs(quartiles - quartiles[0]).max() < 0.25


def test_open_takes_what_users_have(path):
    columns = TableTask(path, target="kind").preprocess.build()
    frame = people().head(3)
    wanted = columns.encode(frame)
    for rows in (frame, frame.to_dict("list"), frame.to_dict("records")):
        np.testing.assert_array_equal(columns.encode(columns.open(rows)), wanted)
    assert columns.open(path).shape == (60, 8)
    array = frame[[c.name for c in columns.columns]].to_numpy(object)
    np.testing.assert_array_equal(columns.encode(columns.open(array)), wanted)
    with pytest.raises(VariorumError, match=r"expected an array of shape \(rows, 4\)"):
        columns.open(np.zeros((2, 2)))
    with pytest.raises(VariorumError, match="expected a path, a DataFrame"):
        columns.open(5)

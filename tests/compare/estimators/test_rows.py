"""Classifier and regressor: what they take, what they answer, and what comes of a trained one."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import variorum
from compare.estimators.small import CLASSIFIER, REGRESSOR
from variorum import VariorumClassifier, VariorumError, VariorumRegressor
from variorum.core import Spec
from variorum.train.descent import Descent
from variorum.train.distributed import Distributed
from variorum.train.optimizer import AdamW

FAST: Spec[Any] = Descent.spec(optimizer=AdamW.spec(lr=0.01))


def passengers(rows: int = 200) -> tuple[pd.DataFrame, pd.Series]:
    """Numbers with gaps, categories, words and dates; who is saved follows from class and sex."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "age": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(30, 10, rows)),
        "sex": rng.choice(["female", "male"], rows),
        "class": pd.Categorical(rng.choice(["first", "second", "third"], rows)),
        "boarded": pd.Timestamp("1912-04-10") + pd.to_timedelta(rng.integers(0, 3, rows), unit="D"),
    })  # fmt: skip
    frame.loc[rng.random(rows) < 0.1, "sex"] = None
    saved = (frame["sex"] == "female") | (frame["class"] == "first")
    return frame, pd.Series(np.where(saved, "yes", "no"), name="saved")


def test_a_frame_with_categories_and_gaps_is_learned() -> None:
    frame, saved = passengers()
    model = VariorumClassifier(CLASSIFIER, steps=150, recipe=FAST, random_state=0).fit(frame, saved)
    assert model.score(frame, saved) > 0.9 > saved.value_counts(normalize=True).max()
    assert model.classes_.tolist() == ["no", "yes"] and model.n_features_in_ == 4
    assert model.feature_names_in_.tolist() == list(frame.columns) and model.n_iter_ == 150
    assert model.bundle_.preprocess["target"]["name"] == "saved"
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"age": "years"}))


def test_a_bundle_answers_as_the_estimator_does(tmp_path: Path) -> None:
    frame, saved = passengers()
    model = VariorumClassifier(CLASSIFIER, steps=20, random_state=0).fit(frame, saved)
    bundle = variorum.load(model.to_bundle(tmp_path / "model"))
    said = bundle.predict(frame)
    np.testing.assert_allclose(said[["p(no)", "p(yes)"]].to_numpy(), model.predict_proba(frame), atol=1e-5)
    assert bundle.provenance["system"] == CLASSIFIER.part and bundle.kind == "table"


def test_a_pickled_estimator_holds_plain_values_and_answers_alike() -> None:
    frame, saved = passengers()
    model = VariorumClassifier(CLASSIFIER, steps=10, random_state=0).fit(frame, saved)
    state = model.__getstate__()["bundle_"]
    assert {type(value) for value in state.values()} <= {dict, list, str, bytes}
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert model.bundle_.model is not again.bundle_.model


@pytest.mark.parametrize(
    "classes", [["b", "a"], [3, 1], [2.0, -1.0], [True, False], np.array([7.0, 8.0], np.float32), ["1", "01"]], ids=str
)
def test_classes_come_back_as_they_were_given(classes: Any, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.asarray(classes)[(X[:, 0] > 0).astype(int)]
    model = VariorumClassifier(CLASSIFIER, steps=60, recipe=FAST, random_state=0).fit(X, y)
    answers = model.predict(X)
    assert answers.dtype == y.dtype and model.score(X, y) > 0.9
    assert np.array_equal(model.classes_, np.unique(y))
    model.to_bundle(tmp_path / "model")


def test_texts_have_classes() -> None:
    rng = np.random.default_rng(0)
    words = {"sea": ["ship", "wave", "salt"], "wood": ["tree", "leaf", "moss"]}
    y = rng.choice(["sea", "wood"], 120)
    X = [" ".join([*rng.choice(words[label], 3), str(i)]) for i, label in enumerate(y)]
    model = VariorumClassifier(steps=40, random_state=0).fit(X, y)
    assert model.system_ == "formal-algorithms-transformers" and model.bundle_.kind == "labelled texts"
    assert model.score(pd.Series(X), y) > 0.9
    with pytest.raises(VariorumError, match="text 1"):
        model.predict(["a ship", 3])


def test_images_have_classes() -> None:
    digits = load_digits(n_class=3)
    model = VariorumClassifier("cct", steps=60, random_state=0).fit(digits.images[:200], digits.target[:200])
    assert model.score(digits.images[200:], digits.target[200:]) > 0.9
    colour = np.random.default_rng(0).integers(0, 256, (20, 12, 16, 3), dtype=np.uint8)
    told = VariorumClassifier("cct", steps=1, random_state=0).fit(colour, np.arange(20) % 2)
    assert told.bundle_.preprocess["mean"].__len__() == 3 and told.bundle_.preprocess["width"] == 16
    assert told.predict_proba(list(colour[:3])).shape == (3, 2)


def test_values_are_estimated_in_their_unit() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = 1000 + 50 * X[:, 0] - 20 * X[:, 1]
    model = VariorumRegressor(REGRESSOR, steps=200, recipe=FAST, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9 and abs(model.predict(X).mean() - 1000) < 20


def test_a_column_that_counts_the_rows_is_one_like_others() -> None:
    X = np.arange(100)[:, None]
    model = VariorumRegressor(REGRESSOR, steps=150, recipe=FAST, random_state=0).fit(X, X[:, 0] * 2.0)
    assert model.score(X, X[:, 0] * 2.0) > 0.8


def test_a_plain_baseline_is_chosen_by_its_name() -> None:
    X, y = load_iris(return_X_y=True)
    model = VariorumClassifier("gradient-boosting", random_state=0).fit(X, y)
    assert model.system_ == "gradient-boosting" and model.score(X, y) > 0.95


def test_a_search_over_systems_in_a_pipeline() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), VariorumClassifier(steps=20, random_state=0))
    grid = {"variorumclassifier__system": ["linear", "nearest-neighbours"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    scores = cross_val_score(VariorumClassifier("linear", random_state=0), X, y, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.85


def test_the_same_random_state_makes_the_same_model() -> None:
    X, y = load_iris(return_X_y=True)
    model = VariorumClassifier(CLASSIFIER, steps=5, random_state=3)
    first, second = (clone(model).fit(X, y).predict_proba(X) for _ in range(2))
    other = clone(model).set_params(random_state=4).fit(X, y).predict_proba(X)
    assert np.array_equal(first, second) and not np.allclose(first, other)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"system": "cctt"}, "Did you mean 'cct'"),
        ({"system": "cct"}, "one that takes table"),
        ({"size": 9}, "from 0 to"),
        ({"reads": "smells"}, "labelled texts"),
        ({"validation_fraction": 1.0}, "below 1"),
        ({"steps": None}, "seconds and None steps"),
    ],
)
def test_a_wrong_parameter_is_explained_by_fit(asked: dict[str, Any], says: str) -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(VariorumError, match=says):
        VariorumClassifier(**asked).fit(X, y)


@pytest.mark.slow
def test_several_processes_train_what_one_does() -> None:
    X, y = load_iris(return_X_y=True)
    model = VariorumClassifier(CLASSIFIER, steps=10, random_state=0)
    alone, together = (clone(model).fit(X, y, distributed=over) for over in (None, Distributed(processes=2)))
    np.testing.assert_allclose(together.predict_proba(X), alone.predict_proba(X), atol=1e-4)
    with pytest.raises(VariorumError, match="one process"):
        VariorumClassifier("linear").fit(X, y, distributed=Distributed(processes=2))


def test_what_is_amiss_with_rows_is_explained() -> None:
    with pytest.raises(VariorumError, match="one class, 'a'"):
        VariorumClassifier(steps=1).fit([[1.0], [2.0]], ["a", "a"])
    with pytest.raises(VariorumError, match="1 sample each"):
        VariorumClassifier(steps=1).fit([[1.0], [2.0]], ["a", "b"])
    with pytest.raises(VariorumError, match="'a' repeated"):
        VariorumClassifier(steps=1).fit(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), [0, 1])
    with pytest.raises(NotFittedError):
        VariorumClassifier().to_bundle("nowhere")

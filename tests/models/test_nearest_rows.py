"""Nearest neighbours answer as scikit-learn's do, ties included."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from variorum.core import VariorumError
from variorum.models.nearest_rows import NearestRows


def shown(rows, answers, k, classes=0, metric="euclidean"):
    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    fitted = kind(n_neighbors=k, algorithm="brute", metric=metric).fit(rows, answers)
    return fitted, NearestRows.from_sklearn(fitted, columns=(0,) * rows.shape[1], classes=classes)


@pytest.mark.parametrize("k", [1, 2, 5, 30])
def test_classes_and_their_shares_are_those_of_scikit_learn(k):
    draw = np.random.default_rng(0)
    rows, asked = draw.normal(size=(30, 4)).astype(np.float32), draw.normal(size=(50, 4)).astype(np.float32)
    fitted, model = shown(rows, np.arange(30) % 3, k, classes=3)
    told = model(torch.from_numpy(asked))
    np.testing.assert_allclose(told.exp().numpy(), fitted.predict_proba(asked), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(told.argmax(dim=1).numpy(), fitted.predict(asked))


@pytest.mark.parametrize("k", [1, 5])
def test_manhattan_distances_are_those_of_scikit_learn(k):
    draw = np.random.default_rng(3)
    rows, asked = draw.standard_t(1, size=(40, 6)).astype(np.float32), draw.normal(size=(60, 6)).astype(np.float32)
    fitted, model = shown(rows, np.arange(40) % 3, k, classes=3, metric="manhattan")
    told = model(torch.from_numpy(asked)).exp().numpy()
    np.testing.assert_allclose(told, fitted.predict_proba(asked), rtol=0, atol=1e-6)
    _, straight = shown(rows, np.arange(40) % 3, k, classes=3)
    assert np.abs(told - straight(torch.from_numpy(asked)).exp().numpy()).max() > 0.1, "the metric matters here"


@pytest.mark.parametrize("k", [1, 4, 20])
def test_values_are_those_of_scikit_learn(k):
    draw = np.random.default_rng(1)
    rows, asked = draw.normal(size=(20, 3)).astype(np.float32), draw.normal(size=(40, 3)).astype(np.float32)
    fitted, model = shown(rows, draw.normal(size=20), k)
    np.testing.assert_allclose(model(torch.from_numpy(asked)).numpy(), fitted.predict(asked), rtol=0, atol=1e-6)


def test_classes_with_as_many_votes_are_settled_alike():
    rows = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    fitted, model = shown(rows, np.array([2, 1, 1, 0]), 2, classes=3)
    asked = np.array([[0.4], [10.4]], np.float32)
    told = model(torch.from_numpy(asked)).argmax(dim=1).tolist()
    assert told == fitted.predict(asked).tolist() == [1, 0], "the lower number wins, wherever it is stored"


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_rows_at_the_same_distance_count_in_the_order_of_storing_as_in_scikit_learn(k):
    """Equal rows of other classes: the first k of them vote in both."""
    draw = np.random.default_rng(2)
    answers = draw.integers(3, size=8)
    rows = np.repeat(np.array([[1.0, 2.0]], np.float32), 8, axis=0)
    fitted, model = shown(rows, answers, k, classes=3)
    asked = np.array([[1, 2], [4, -2], [0, 0]], np.float32)
    expected = np.bincount(answers[:k], minlength=3) / k
    for told in (model(torch.from_numpy(asked)).exp().numpy(), fitted.predict_proba(asked)):
        np.testing.assert_allclose(told, np.tile(expected, (3, 1)), rtol=0, atol=1e-6)


def test_of_rows_at_the_last_distance_the_first_stored_are_taken():
    model = NearestRows(columns=(0,), outputs=2, rows=5, neighbours=3)
    model.stored.copy_(torch.tensor([[2.0], [-2.0], [0.0], [2.0], [5.0]]))
    assert model.weights(torch.zeros(1, 1, dtype=torch.float64)).tolist() == [[1, 1, 1, 0, 0]]


def test_missing_numbers_are_means_and_codes_are_one_hot():
    model = NearestRows(columns=(0, 3), outputs=1, rows=2, neighbours=1)
    model.stored.copy_(torch.tensor([[0.0, 1, 0, 0], [0.5, 0, 0, 1]]))
    model.answers.copy_(torch.tensor([10.0, 20.0]))
    assert model(torch.tensor([[torch.nan, 0.0], [torch.nan, 2.0]])).tolist() == [10, 20]


def test_many_rows_are_answered_in_pieces(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    model = NearestRows(columns=(0,) * 3, outputs=1, rows=50, neighbours=4)
    model.stored.copy_(torch.randn(50, 3, generator=draw))
    model.answers.copy_(torch.randn(50, generator=draw))
    asked = torch.randn(33, 3, generator=draw)
    whole = model(asked)
    monkeypatch.setattr("variorum.models.nearest_rows.CHUNK", 200)
    torch.testing.assert_close(model(asked), whole, rtol=0, atol=1e-6)


def test_what_cannot_be_kept_is_refused():
    rows = np.zeros((4, 2), np.float32)
    for more in ({"weights": "distance"}, {"metric": "chebyshev"}):
        fitted = KNeighborsRegressor(n_neighbors=1, **more).fit(rows, np.zeros(4))
        with pytest.raises(VariorumError, match="uniform weights and the Euclidean or the Manhattan metric"):
            NearestRows.from_sklearn(fitted, columns=(0, 0), classes=0)
    fitted = KNeighborsRegressor(n_neighbors=1).fit(rows, np.zeros(4))
    with pytest.raises(VariorumError, match="expected 3 features, found 2"):
        NearestRows.from_sklearn(fitted, columns=(0, 0, 0), classes=0)
    with pytest.raises(VariorumError, match="1 to 3"):
        NearestRows(columns=(0,), outputs=1, rows=3, neighbours=4)


def test_on_a_grid_the_nearest_are_as_near_as_those_of_scikit_learn():
    """Which of several rows at the last distance it takes, scikit-learn leaves open; how far they are it does not."""
    draw = np.random.default_rng(0)
    rows, asked = (draw.integers(4, size=(n, 3)).astype(np.float32) for n in (60, 100))
    fitted, model = shown(rows, np.arange(60) % 3, 5, classes=3)
    ours = model.weights(torch.from_numpy(asked).double()).numpy().astype(bool)
    far = np.linalg.norm(asked[:, None] - rows[None], axis=2)
    theirs = np.take_along_axis(far, fitted.kneighbors(asked, return_distance=False), axis=1)
    assert (ours.sum(axis=1) == 5).all()
    np.testing.assert_allclose(np.sort(far[ours].reshape(100, 5)), np.sort(theirs), rtol=0, atol=1e-6)

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from variorum.core import VariorumError
from variorum.models.trees import TreeEnsemble, _float32_not_above


def rows(n=400, columns=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns)).astype(np.float32)
    X[:, 3] = rng.integers(0, 5, n)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X, np.nan_to_num(X[:, 0]) * 2 + (np.nan_to_num(X[:, 3]) == 2) - np.isnan(X[:, 1]) + rng.normal(size=n) * 0.1


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("max_leaf_nodes", [2, 31, None])
def test_classes_are_those_of_sklearn(classes, max_leaf_nodes):
    X, y = rows()
    y = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    fitted = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=max_leaf_nodes, early_stopping=False).fit(X, y)
    model, new = TreeEnsemble.from_sklearn(fitted), rows(seed=1)[0]
    logits = model(torch.from_numpy(new))
    assert logits.shape == (400, classes) and logits.dtype == torch.float32
    np.testing.assert_allclose(logits.double().softmax(1).numpy(), fitted.predict_proba(new), atol=1e-6, rtol=0)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_values_are_those_of_sklearn(loss):
    X, y = rows()
    fitted = HistGradientBoostingRegressor(max_iter=40, loss=loss, early_stopping=False).fit(X, y)
    new = rows(seed=2)[0]
    np.testing.assert_allclose(
        TreeEnsemble.from_sklearn(fitted)(torch.from_numpy(new)).numpy(), fitted.predict(new), atol=1e-6, rtol=0
    )


def test_rows_on_the_thresholds_themselves_go_the_same_way():
    """Inputs at the last float32 before each threshold, and one float32 to either side of it."""
    X, y = rows()
    fitted = HistGradientBoostingRegressor(max_iter=20, early_stopping=False).fit(X, y)
    model = TreeEnsemble.from_sklearn(fitted)
    edges = np.unique(
        [t for r in fitted._predictors for tree in r for t in tree.nodes["num_threshold"][tree.nodes["is_leaf"] == 0]]
    )
    edges = edges[np.isfinite(edges)]  # splits of missing from known values lie at infinity
    below = _float32_not_above(edges)
    assert (below <= edges).all() and (np.nextafter(below, np.float32(np.inf)) > edges).all()
    for near in (below, np.nextafter(below, np.float32(np.inf)), np.nextafter(below, np.float32(-np.inf))):
        grid = np.repeat(near[:, None], 6, axis=1)
        np.testing.assert_allclose(model(torch.from_numpy(grid)).numpy(), fitted.predict(grid), atol=1e-6, rtol=0)


def test_infinite_inputs():
    X, y = rows()
    fitted = HistGradientBoostingRegressor(max_iter=5).fit(X, y)
    extreme = np.stack([np.full(6, np.inf), np.full(6, -np.inf), np.full(6, np.nan)]).astype(np.float32)
    np.testing.assert_allclose(
        TreeEnsemble.from_sklearn(fitted)(torch.from_numpy(extreme)).numpy(), fitted.predict(extreme), atol=1e-6
    )


def test_pictures_are_flattened():
    X = np.random.default_rng(0).normal(size=(60, 1, 3, 4)).astype(np.float32)
    y = (X[:, 0, 1, 1] > 0).astype(int)
    fitted = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(X.reshape(60, -1), y)
    logits = TreeEnsemble.from_sklearn(fitted)(torch.from_numpy(X))
    assert (logits.argmax(1).numpy() == fitted.predict(X.reshape(60, -1))).all()


def test_what_cannot_be_held_is_said():
    X, y = rows()
    X[:, 3] = np.nan_to_num(X[:, 3])
    with pytest.raises(VariorumError, match="without native categorical splits"):
        TreeEnsemble.from_sklearn(HistGradientBoostingRegressor(categorical_features=[3], max_iter=2).fit(X, y))
    with pytest.raises(VariorumError, match="found poisson"):
        TreeEnsemble.from_sklearn(HistGradientBoostingRegressor(loss="poisson", max_iter=2).fit(X, y - y.min() + 1))


def test_a_single_row_and_no_row():
    X, y = rows()
    model = TreeEnsemble.from_sklearn(HistGradientBoostingRegressor(max_iter=3).fit(X, y))
    assert model(torch.from_numpy(X[:1])).shape == (1,) and model(torch.from_numpy(X[:0])).shape == (0,)

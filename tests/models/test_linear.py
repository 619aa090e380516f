import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from variorum.core import VariorumError
from variorum.models.linear import LinearModel, linear_features

COLUMNS = (0, 3, 0, 2)


def rows():
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=90), rng.integers(0, 3, 90), rng.normal(size=90), rng.integers(0, 2, 90)], axis=1)
    X[rng.random(90) < 0.2, 0] = np.nan
    return X.astype(np.float32)


def test_features_by_hand():
    x = torch.tensor([[1.5, 2.0, float("nan"), 0.0], [float("nan"), 0.0, -1.0, 1.0]])
    wanted = [[1.5, 0, 0, 0, 1, 1, 0], [0, -1, 1, 0, 0, 0, 1]]
    assert linear_features(x, COLUMNS).tolist() == wanted


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression(classes):
    X = rows()
    y = (X[:, 1].astype(int)) % classes
    fitted = LogisticRegression().fit(linear_features(torch.from_numpy(X), COLUMNS).numpy(), y)
    model = LinearModel.from_sklearn(fitted, columns=COLUMNS)
    wanted = fitted.predict_proba(linear_features(torch.from_numpy(X), COLUMNS).numpy())
    np.testing.assert_allclose(model(torch.from_numpy(X)).softmax(1).detach().numpy(), wanted, atol=1e-6, rtol=0)


def test_ridge():
    X = rows()
    y = np.nan_to_num(X[:, 0]) + X[:, 1]
    features = linear_features(torch.from_numpy(X), COLUMNS).numpy()
    fitted = Ridge().fit(features, y)
    model = LinearModel.from_sklearn(fitted, columns=COLUMNS)
    np.testing.assert_allclose(model(torch.from_numpy(X)).detach().numpy(), fitted.predict(features), atol=1e-6, rtol=0)


def test_a_model_of_other_features_is_refused():
    with pytest.raises(VariorumError, match="expected coefficients of 7 features, found 4"):
        LinearModel.from_sklearn(Ridge().fit(np.nan_to_num(rows()), np.arange(90)), columns=COLUMNS)

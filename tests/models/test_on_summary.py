"""A linear model on a summary answers what scikit-learn's fit answers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from variorum.core import Layout, VariorumError
from variorum.models.on_summary import OnSummary
from variorum.models.summaries.series_statistics import SeriesStatistics
from variorum.models.summaries.shape_statistics import ShapeStatistics


def series(rows: int = 60) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.arange(rows) % 3
    return torch.randn(rows, 12, 2, generator=generator) * (1 + codes[:, None, None]), codes.numpy()


def fitted(solver, classes: int, outputs: int) -> tuple[OnSummary, np.ndarray, torch.Tensor]:
    x, y = series()
    y = y if classes == 3 else (y > 0).astype(int)
    model = OnSummary.spec(summary=SeriesStatistics.spec(channels=2), outputs=outputs).build()
    found = model.summary(x)
    model.know(found)
    standard = model.standardise(found).numpy()
    assert np.abs(standard[:, :-1].std(0) - 1).max() < 1e-3 and (standard[:, -1] == 0).all(), "the length is constant"
    model.take(solver.fit(standard, y))
    return model, standard, x


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("solver", [RidgeClassifier(), LogisticRegression(max_iter=1000)])
def test_classes_are_scored_as_the_fit_does(solver, classes: int) -> None:
    model, standard, x = fitted(solver, classes, classes)
    told, wanted = model(x).detach().numpy(), solver.decision_function(standard)
    wanted = wanted if classes == 3 else np.stack([0 * wanted, wanted], axis=1)
    np.testing.assert_allclose(told, wanted, atol=1e-4)


def test_a_value_is_estimated_as_the_fit_does() -> None:
    solver = Ridge()
    model, standard, x = fitted(solver, 3, 1)
    np.testing.assert_allclose(model(x).detach().numpy(), solver.predict(standard), atol=1e-5)


def test_a_class_without_training_rows_is_never_told() -> None:
    model, _, x = fitted(RidgeClassifier(), 2, 4)
    assert model(x).argmax(1).max() == 1


def test_a_fit_to_other_numbers_is_refused() -> None:
    model = OnSummary.spec(summary=SeriesStatistics.spec(channels=2), outputs=2).build()
    with pytest.raises(VariorumError, match="coefficients of 17 numbers"):
        model.take(RidgeClassifier().fit(np.random.default_rng(0).normal(size=(9, 3)), [0, 1, 0] * 3))


def test_statistics_of_a_line() -> None:
    row = torch.arange(5.0)[None, :, None]
    mean, deviation, least, largest, change, step, slope, echo, length = SeriesStatistics(1)(row)[0].tolist()
    assert (mean, least, largest, change, step) == (2, 0, 4, 4, 1)
    assert deviation == pytest.approx(2**0.5) and slope == pytest.approx(4) and echo == pytest.approx(0.4)
    assert length == pytest.approx(np.log(5))


def test_statistics_of_a_constant_and_of_one_step_are_finite() -> None:
    for row in (torch.full((1, 6, 1), 3.0), torch.full((1, 1, 1), 3.0)):
        found = SeriesStatistics(1)(row)[0]
        assert found.isfinite().all() and found[1] == 0 and found[5:8].abs().max() == 0


def test_shape_statistics_do_not_know_an_order_and_count_distances() -> None:
    cloud = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(0))
    cloud = cloud / cloud.norm(dim=2).max()
    part = ShapeStatistics(bins=4)
    found = part(cloud)[0]
    torch.testing.assert_close(found, part(cloud[:, torch.randperm(30)])[0])
    apart = torch.cdist(cloud[0], cloud[0])
    wanted = [float((apart < 2 * edge).float().mean()) for edge in (0.25, 0.5, 0.75, 1.0)]
    torch.testing.assert_close(found[-4:], torch.tensor(wanted))
    packed = part(torch.cat([cloud[0], cloud[0, :7]]), Layout.ragged([30, 7]))
    torch.testing.assert_close(packed[0], found)

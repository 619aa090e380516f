"""The estimators are held to scikit-learn's own checks."""

from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from compare.estimators.small import CLASSIFIER, REGRESSOR
from variorum import VariorumClassifier, VariorumForecaster, VariorumRegressor

STEPS = 40

EXPECTED_TO_FAIL: dict[str, str] = {}
"""The checks that do not apply, each with its reason: none. (scikit-learn itself skips ``check_array_api_input`` where
SCIPY_ARRAY_API is not set.)"""

OF_ANY_ESTIMATOR = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)
"""The others fit a table and its answers, which a forecaster does not: its ``fit`` takes series."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [VariorumClassifier(CLASSIFIER, steps=STEPS), VariorumRegressor(REGRESSOR, steps=STEPS)],
    expected_failed_checks=lambda estimator: EXPECTED_TO_FAIL,
)
def test_scikit_learns_own_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", OF_ANY_ESTIMATOR)
def test_a_forecaster_is_held_to_what_any_estimator_is(name: str) -> None:
    getattr(estimator_checks, name)("VariorumForecaster", VariorumForecaster(steps=1))

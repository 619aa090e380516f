"""What linear baselines share: a penalised solver of scikit-learn, and the best of several fits within the budget."""

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from variorum.data.task import Task
from variorum.train.recipe import Run

M = TypeVar("M")


class Attempt(NamedTuple, Generic[M]):
    """One fit still to be made. says: how it differs from the others, reported with its score on validation rows."""

    says: dict[str, Any]
    fit: Callable[[], tuple[M, float]]
    """() -> the model, and its score on validation rows."""


def best_of(attempts: Iterable[Attempt[M]], task: Task, run: Run, *, began: float, dearer: float) -> M:
    """The model that is best on validation rows. No fit begins for which the budget may leave no time.

    began: when training began, as :func:`time.monotonic` told.     dearer: times as long as the last fit took that the
    next one may take.
    """
    best: M | None = None
    highest, sign = -float("inf"), 1 if task.higher_is_better else -1
    for step, (says, fit) in enumerate(attempts, start=1):
        began_fit = time.monotonic()
        model, valid = fit()
        if best is None or sign * valid > highest:
            best, highest = model, sign * valid
        now = time.monotonic()
        run.report({"step": step, "valid": valid, **says, "seconds": now - began})
        if run.budget.seconds is not None and now - began + dearer * (now - began_fit) > run.budget.seconds:
            break
    assert best is not None, "there is something to try"
    return best


def solver(writes: str, penalty: float, *, iterations: int, seed: int) -> Any:
    """Logistic regression for classes, ridge for values. penalty: as scikit-learn's ``alpha`` (1 / C)."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if writes == "class":
        return LogisticRegression(C=1 / penalty, max_iter=iterations, random_state=seed)
    return Ridge(alpha=penalty, random_state=seed)


def fit_quietly(unfitted: Any, rows: Any, targets: Any) -> Any:
    """The fitted solver; one that stops at its most iterations is judged like the rest, without a warning."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return unfitted.fit(rows, targets)

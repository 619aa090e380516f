"""What classifier, regressor and forecaster have in common: parameters, the bundle, and what is pickled of it."""

from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from variorum.compare.estimators.plain_state import from_plain, to_plain
from variorum.compare.estimators.trained import Order, Trained, train
from variorum.core import VariorumError
from variorum.data.preprocess import Preprocess
from variorum.data.task import Task
from variorum.runtime.bundle import Bundle, save
from variorum.train.distributed import Distributed
from variorum.train.recipe import Budget

BUNDLE = "bundle_"


class Fitted(BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """An estimator around one bundle. Subclasses store the parameters that are named here.

    bundle_: the trained model with its preprocessing.     system_: the name of what was trained.     n_iter_: steps.
    history_: what was told while it was trained, a dict for each report.
    """

    system: Any
    size: int
    steps: int | None
    seconds: float | None
    recipe: Any
    random_state: Any
    bundle_: Bundle

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _train(self, task: Task, seed: int, distributed: Distributed | None) -> None:
        budget = Budget(self.seconds, self.steps)
        done: Trained = train(Order(self.system, self.size, self.recipe, budget, seed, distributed), task)
        self.bundle_, self.system_, self.n_iter_ = done.bundle, done.name, done.steps
        self.history_, self.notes_ = done.history, tuple(task.notes)

    @property
    def _preprocess(self) -> Preprocess:
        if self.bundle_.preprocess is None:
            raise VariorumError("bundle", expected="a preprocess that reads rows", found="none", do="Fit it again.")
        return self.bundle_.preprocess.build()

    def to_bundle(self, path: str | Path) -> Path:
        """Write the model as a bundle, a folder that ``variorum.load``, ``predict``, ``export`` and ``serve`` take."""
        check_is_fitted(self, BUNDLE)
        return save(self.bundle_, path)

    def __sklearn_is_fitted__(self) -> bool:
        return BUNDLE in vars(self)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {**state, BUNDLE: to_plain(state[BUNDLE])} if BUNDLE in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        plain = state.get(BUNDLE)
        if plain is not None and not isinstance(plain, dict):
            raise VariorumError("estimator", expected="the state that an estimator wrote", found=type(plain).__name__,
                                do="Fit it again.")  # fmt: skip
        super().__setstate__({**state, BUNDLE: from_plain(plain)} if plain is not None else state)

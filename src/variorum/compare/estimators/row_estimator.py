"""What classifier and regressor have in common: rows in, an answer for each out."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Tags, assert_all_finite, column_or_1d
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from variorum.compare.estimators.estimator import Fitted
from variorum.compare.estimators.exact import answers
from variorum.compare.estimators.inputs import input_of
from variorum.core import Spec, VariorumError
from variorum.data.settled import Settled
from variorum.train.distributed import Distributed
from variorum.train.recipe import Recipe


class RowEstimator(Fitted):
    """Learns an answer for each row of a table, each text or each image; what the rows are is seen in what is given.

    A table is a frame, or an array of two dimensions; missing values and columns of words, dates or texts may stay as
    they are. Texts are a list, series or array of strings. Images are an array (n, height, width[, channels]) or a list
    of such of one image each. Faults of the user are :class:`VariorumError`, a ValueError.

    bundle_: the trained model with its preprocessing.     system_: the name of what was trained.     n_iter_: steps.
    history_: what was told while it was trained, a dict for each report.     notes_: what was detected in the rows,
    repaired and left out.     n_features_in_, feature_names_in_: of tables, as everywhere in scikit-learn.
    """

    def __init__(
        self,
        system: str | Spec[Any] | None = None,
        *,
        size: int = 0,
        steps: int | None = 1000,
        seconds: float | None = None,
        recipe: Spec[Recipe] | None = None,
        reads: str | None = None,
        validation_fraction: float = 0.2,
        random_state: Any = None,
    ) -> None:
        """Store what is said; all of it is checked by ``fit``.

        system: the slug of a system that fits the data (`variorum list`), the name of a plain baseline, or a Spec;
        None: the plain Transformer.     size: which of those that the system has for such data, the first is 0.
        steps, seconds: the budget of a training; the first limit reached ends it, None is no limit. With seconds, no
        two fits are the same.     recipe: how it learns; None: as the system says, else by gradient descent.
        reads: the kind of data, where it is not what it looks like: "table", "labelled texts" or "images".
        validation_fraction: the share of the rows that decides which parameters are kept; they are not trained on.
        random_state: of that share, the first parameters and the batches.
        """
        self.system, self.size, self.steps, self.seconds = system, size, steps, seconds
        self.recipe, self.reads, self.validation_fraction = recipe, reads, validation_fraction
        self.random_state = random_state

    def _open(self, X: Any) -> Any:
        """The rows of a training, checked."""
        self._input = input_of(X, self.reads)
        rows = self._input.opened(self, X, names=None)
        if len(rows) < 2:
            raise VariorumError("X", expected="at least 2 rows", found=f"{len(rows)} sample", do="Give more rows.")
        self._columns = list(rows.columns) if isinstance(rows, pd.DataFrame) else []
        return rows

    def _learn(
        self, rows: Any, values: pd.Series, labels: tuple[Any, ...] | None, distributed: Distributed | None
    ) -> None:
        """Train on opened rows and their checked answers."""
        check_consistent_length(rows, values)
        settled, seed = Settled(labels, self.validation_fraction), self._seed()
        self._train(self._input.task(rows, values, settled, seed), seed, distributed)

    def _answers(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        return answers(self.bundle_, self._preprocess, self._input.opened(self, X, names=self._columns))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags


def answers_of(y: Any) -> tuple[np.ndarray, str]:
    """Answers (rows,), none missing, and the name that they were given, else ``target``."""
    name = y.name if isinstance(y, pd.Series) else None
    values = column_or_1d(y, warn=True)
    assert_all_finite(values, input_name="y")
    return values, name if isinstance(name, str) else "target"

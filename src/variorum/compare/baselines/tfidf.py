"""TF-IDF and logistic regression: what a good practitioner tries first on texts."""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.labelled_texts import KIND, LabelledTextTask
from variorum.data.task import Task
from variorum.models.bag_of_tokens import BagOfTokens, ngrams
from variorum.train.recipe import Recipe, Run


class TermWeights(Recipe):
    """Fits logistic regression to the TF-IDF of single tokens, then of pairs too, for each weight of the L2 penalty.

    The best on the validation rows is kept. penalties: as scikit-learn's 1 / C.     orders: longest n-grams tried.
    fewest: training texts that an n-gram occurs in.    most: n-grams, the most frequent.    iterations: of the solver.
    """

    def __init__(
        self,
        *,
        penalties: tuple[float, ...] = (0.1, 0.01, 1.0),
        orders: tuple[int, ...] = (1, 2),
        fewest: int = 2,
        most: int = 50_000,
        iterations: int = 200,
    ) -> None:
        self.penalties, self.orders = penalties, orders
        self.fewest, self.most, self.iterations = fewest, most, iterations

    def train(self, spec: Spec[Any], task: Task, run: Run) -> BagOfTokens:
        from sklearn.linear_model import LogisticRegression

        assert isinstance(task, LabelledTextTask), "the baseline reads labelled texts"
        began = time.monotonic()
        best, highest = None, -1.0
        for step, (order, keys, scale, rows, targets, penalty) in enumerate(self._tried(task), start=1):
            began_fit = time.monotonic()
            solver = LogisticRegression(C=1 / penalty, max_iter=self.iterations, random_state=run.seed)
            with warnings.catch_warnings():
                # Stopped at its most iterations, what it has is judged like the rest.
                warnings.simplefilter("ignore", _unfinished())
                fitted = solver.fit(rows, targets)
            model = BagOfTokens.from_sklearn(keys, scale, fitted, vocab=task.facts["vocab"], order=order)
            accuracy = score(model, task, split="valid").mean
            if accuracy > highest:
                best, highest = model, accuracy
            spent, took = time.monotonic() - began, time.monotonic() - began_fit
            run.report({"step": step, "valid": accuracy, "order": order, "penalty": penalty, "seconds": spent})
            # A weaker penalty, or more n-grams, take the solver longer.
            if run.budget.seconds is not None and spent + 3 * took > run.budget.seconds:
                break
        assert best is not None, "there is at least one penalty and one order"
        return best

    def _tried(self, task: LabelledTextTask) -> Iterator[tuple[int, np.ndarray, Any, Any, np.ndarray, float]]:
        """Order, n-grams, weights, weighted training rows, targets and penalty of each fit."""
        from sklearn.feature_extraction.text import TfidfTransformer

        ids, layout, targets = task.packed("train")
        for order in self.orders:
            of, key = ngrams(ids, layout.row_of, vocab=task.facts["vocab"], order=order)
            keys, counts = self._counted(of.numpy(), key.numpy(), len(targets))
            scale = TfidfTransformer(sublinear_tf=True).fit(counts)
            rows = scale.transform(counts)
            for penalty in self.penalties:
                yield order, keys, scale, rows, targets, penalty

    def _counted(self, of: np.ndarray, key: np.ndarray, rows: int) -> tuple[np.ndarray, Any]:
        """The n-grams to keep, ascending, and how often each occurs in each row: sparse (rows, n-grams)."""
        from scipy.sparse import csr_matrix

        keys, at = np.unique(key, return_inverse=True)
        counts = csr_matrix((np.ones(len(at)), (of, at)), shape=(rows, len(keys)))
        counts.sum_duplicates()
        texts = np.bincount(counts.indices, minlength=len(keys))
        kept = np.flatnonzero(texts >= min(self.fewest, texts.max()))
        if len(kept) > self.most:
            kept = np.sort(kept[np.argsort(-texts[kept], kind="stable")[: self.most]])
        return keys[kept], counts[:, kept]


def _unfinished() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning


class TermFrequencies(Baseline):
    """Logistic regression on the TF-IDF of tokens and pairs of tokens."""

    name, title, reads = "tf-idf", "TF-IDF with logistic regression", (KIND,)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return BagOfTokens.spec(), TermWeights.spec()

"""TF-IDF and logistic regression: what a good practitioner attempts first on texts."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.baselines.penalised import Attempt, best_of, fit_quietly, solver
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
        assert isinstance(task, LabelledTextTask), "the baseline reads labelled texts"
        began = time.monotonic()
        # A weaker penalty, or more n-grams, take the solver longer.
        return best_of(self._attempts(task, run.seed), task, run, began=began, dearer=3.0)

    def _attempts(self, task: LabelledTextTask, seed: int) -> Iterator[Attempt[BagOfTokens]]:
        """A fit for each order and penalty; n-grams are counted once for each order."""
        from sklearn.feature_extraction.text import TfidfTransformer

        ids, layout, targets = task.packed("train")
        vocab = task.facts["vocab"]

        def fit(order: int, keys: np.ndarray, scale: Any, rows: Any, penalty: float) -> tuple[BagOfTokens, float]:
            fitted = fit_quietly(solver("class", penalty, iterations=self.iterations, seed=seed), rows, targets)
            model = BagOfTokens.from_sklearn(keys, scale, fitted, vocab=vocab, order=order)
            return model, score(model, task, split="valid").mean

        for order in self.orders:
            of, key = ngrams(ids, layout.row_of, vocab=vocab, order=order)
            keys, counts = self._counted(of.numpy(), key.numpy(), len(targets))
            scale = TfidfTransformer(sublinear_tf=True).fit(counts)
            rows = scale.transform(counts)
            for penalty in self.penalties:
                yield Attempt({"order": order, "penalty": penalty}, partial(fit, order, keys, scale, rows, penalty))

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


class TermFrequencies(Baseline):
    """Logistic regression on the TF-IDF of tokens and pairs of tokens."""

    name, title, reads = "tf-idf", "TF-IDF with logistic regression", (KIND,)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return BagOfTokens.spec(), TermWeights.spec()

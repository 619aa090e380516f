"""Word-by-word translation with an n-gram model: what a practitioner has before there is a neural network."""

import time
from typing import Any

import numpy as np
import torch

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.task import Task
from variorum.data.text_pairs import KIND, TextPairTask
from variorum.data.token_rows import TokenRows
from variorum.models.ngram import LARGEST_KEY, NGram
from variorum.models.word_by_word import WordByWord
from variorum.train.recipe import Recipe, Run


class Lexical(Recipe):
    """An n-gram model of ever higher order as long as it helps on the validation rows, then the share of translation.

    orders: from the first to the last.     shares: of the translated words.     most: pairs of a source and a target
    token of one row that are counted; of more, a part of the rows is taken.     rounds: of expectation maximisation.
    """

    def __init__(
        self,
        *,
        orders: tuple[int, int] = (2, 5),
        shares: tuple[float, ...] = (0.5, 0.25, 0.75, 0.1, 0.9),
        most: int = 4_000_000,
        rounds: int = 5,
    ) -> None:
        self.orders, self.shares, self.most, self.rounds = orders, shares, most, rounds

    def train(self, spec: Spec[Any], task: Task, run: Run) -> WordByWord:
        assert isinstance(task, TextPairTask), "the baseline reads text pairs"
        began = time.monotonic()
        rows, vocab = task.parts.train, task.facts["vocab"]
        cells = np.cumsum(task.sources.lengths[rows] * task.targets.lengths[rows])
        some = rows[: max(1, int(np.searchsorted(cells, self.most)))]
        sources, targets = unpacked(task.sources, some), [row[1:] for row in unpacked(task.targets, some)]
        texts = [torch.from_numpy(row) for row in unpacked(task.targets, rows)]
        best, least, step = None, float("inf"), 0
        tried = [(order, self.shares[0]) for order in range(self.orders[0], self.orders[1] + 1)]
        tried += [(0, share) for share in self.shares[1:]]
        stale = False
        for order, share in tried:
            if (order and stale) or vocab**order >= LARGEST_KEY:
                continue
            began_fit, step = time.monotonic(), step + 1
            if order:
                model = WordByWord.fit(sources, targets, NGram.fit(texts, vocab=vocab, order=order), share=share,
                                       rounds=self.rounds)  # fmt: skip
            else:
                assert best is not None and best.built_from is not None, "an order has been tried"
                model = best.built_from.but(share=share).build().eval()
                model.load_state_dict(best.state_dict())
            bits = score(model, task, split="valid").mean
            spent = time.monotonic() - began
            run.report({"step": step, "valid": bits, "order": model.ngram.order, "share": share, "seconds": spent})
            stale = bits >= least
            best, least = (best, least) if stale else (model, bits)
            another = 2 * (time.monotonic() - began_fit)
            if run.budget.seconds is not None and spent + another > run.budget.seconds:
                break
        assert best is not None, "the first order always scores below infinity"
        return best


def unpacked(rows: TokenRows, index: np.ndarray) -> list[np.ndarray]:
    """Some rows, each by itself, int64."""
    return [rows.ids[rows.offsets[i] : rows.offsets[i + 1]].astype(np.int64) for i in index.tolist()]


class WordTranslation(Baseline):
    """Each target token as one of the source translated, or as what follows the tokens before it."""

    name, title, reads = "word-by-word", "word-by-word translation with an n-gram model", (KIND,)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return WordByWord.spec(), Lexical.spec()

"""An n-gram model with Kneser-Ney smoothing. Kneser and Ney 1995; Chen and Goodman 1998."""

import time
from typing import Any

import torch

from variorum.compare.baselines.baseline import Baseline
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.task import Task
from variorum.data.text import TextTask
from variorum.models.ngram import LARGEST_KEY, NGram
from variorum.train.recipe import Recipe, Run


class Counting(Recipe):
    """Counts n-grams of ever higher order as long as the score on the validation rows gets better and time is left.

    orders: from the first to the last.     most: symbols of the training part that are counted, its last ones.
    """

    def __init__(self, *, orders: tuple[int, int] = (2, 7), most: int = 20_000_000) -> None:
        self.orders, self.most = orders, most

    def train(self, spec: Spec[Any], task: Task, run: Run) -> NGram:
        assert isinstance(task, TextTask), "the baseline reads text"
        began = time.monotonic()
        ids = torch.from_numpy(task.symbols("train")[-self.most :].astype("int64"))
        vocab, best, least = task.facts["vocab"], None, float("inf")
        for order in range(self.orders[0], self.orders[1] + 1):
            if vocab**order >= LARGEST_KEY:
                break
            began_order = time.monotonic()
            model = NGram.fit(ids, vocab=vocab, order=order)
            bits = score(model, task, split="valid").mean
            spent = time.monotonic() - began
            run.report({"step": order, "valid": bits, "seconds": spent})
            if bits >= least:
                break
            best, least = model, bits
            # An order more has about twice as many n-grams.
            another = 2 * (time.monotonic() - began_order)
            if run.budget.seconds is not None and spent + another > run.budget.seconds:
                break
        assert best is not None, "the first order always scores below infinity"
        return best


class NGramCounts(Baseline):
    """An n-gram model whose order is chosen on the validation rows."""

    name, title, reads = "n-gram", "an n-gram model", ("text",)

    def pair(self, task: Task) -> tuple[Spec[Any], Spec[Recipe]]:
        return NGram.spec(), Counting.spec()

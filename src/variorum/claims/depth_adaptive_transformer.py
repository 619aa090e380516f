"""The claim of Elbayad et al. 2019, arXiv:1910.10073: fewer decoder layers where they are enough, at no loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from variorum.claims.claim import Claim, Demand
from variorum.core import Part, Spec, listen
from variorum.data.copy_or_sort import CopyOrSort
from variorum.data.task import Split
from variorum.models.exits.threshold import ConfidenceExit
from variorum.systems.depth_adaptive_transformer import depth_adaptive_transformer
from variorum.train.descent import Descent
from variorum.train.judge import Keep
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

STEPS, DEPTH = 600, 6
TRIED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)
"""Thresholds among which one is chosen on the valid split."""


class EasyRowsLeaveEarly(Claim):
    """Answering tokens as soon as they are sure costs half of the decoder's layers, or fewer, and hardly any accuracy.

    Rows of 12 of 24 symbols are copied or sorted, by command, with one encoder layer and 6 decoder layers of width 64
    and aligned training. (Rows of 8 of 12 symbols after two encoder layers are too easy: one decoder layer tells both.)
    The threshold is the one with the fewest layers of those that lose at most half a point of whole rows on the valid
    split, for the test split may lose more. There: points lost, the mean exit, and how much later tokens of sorted rows
    leave than of copied ones. A row counts if every token is the best-scored one after the true ones before it, as in
    greedy decoding.
    """

    system = "depth-adaptive-transformer"
    check = 3
    synthetic = True
    demands = (
        Demand("points lost", most=1.0),
        Demand("mean exit", most=3.0),
        Demand("sorting over copying", least=0.5),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        task = CopyOrSort(length=12, symbols=24, rows=2000)
        spec: Spec[Any] = depth_adaptive_transformer(
            dim=64, depth=DEPTH, heads=4, hidden=128, encoder_depth=1, policy=ConfidenceExit.spec(thresholds=[1.0])
        )
        recipe = Descent(batch=64, optimizer=AdamW.spec(lr=2e-3, weight_decay=0.0), evaluations=0, keep=Keep.LAST)
        model = recipe.train(spec, task, Run(Budget(steps=STEPS), seed=seed))
        full = {split: self._judge(model, task, split)[0].mean() for split in ("valid", "test")}
        sure = model
        fewest = float(DEPTH)
        for threshold in TRIED:
            tried = _with_threshold(model, threshold)
            right, exits, _ = self._judge(tried, task, "valid")
            if right.mean() >= full["valid"] - 0.005 and exits.mean() < fewest:
                sure, fewest = tried, float(exits.mean())
        right, exits, sort = self._judge(sure, task, "test")
        return {
            "points lost": float(100 * (full["test"] - right.mean())),
            "mean exit": float(exits.mean()),
            "sorting over copying": float(exits[sort].mean() - exits[~sort].mean()),
            "rows right with all layers": float(full["test"]),
        }

    def _judge(self, model: Part, task: CopyOrSort, split: Split) -> tuple[Tensor, Tensor, Tensor]:
        """For each row of a split: is it right, where do its tokens leave (rows, n), and is it to be sorted?"""
        (batch,) = task.held_out(split, task.rows)
        with torch.no_grad(), listen(model, "decoder.exits") as told:
            answers = model(**batch.inputs)
        exits = told["decoder.exits"][0].float()
        return task.scores(answers, batch.targets), exits, batch.inputs["source"][:, 0] == task.sort


def _with_threshold(model: Part, threshold: float) -> Part:
    """The same model under another threshold."""
    spec: Spec[Any] = model.built_from  # type: ignore[assignment]
    other: Part = spec.replace("decoder.policy", ConfidenceExit.spec(thresholds=[threshold])).build().eval()
    other.load_state_dict(model.state_dict())
    return other

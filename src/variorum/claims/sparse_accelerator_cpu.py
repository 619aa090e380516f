"""Block-sparse inference at laptop scale: accuracy is kept, and the whole model is faster. arXiv:2306.16601."""

from collections.abc import Mapping
from functools import partial

import torch

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.core import Part
from variorum.data.polarity import Polarity
from variorum.runtime.engine.measure import seconds
from variorum.runtime.engine.threads import using
from variorum.runtime.sparse.sparse_model import Numbers, sparse_model
from variorum.systems.formal_algorithms_transformers import classifier
from variorum.systems.sparse_accelerator_cpu import pruned
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

LENGTH, WORDS, SHARE = 16, 4, 0.9
STEPS, TAUGHT = 250, 180
RECIPE = Descent.spec(batch=32, evaluations=0, optimizer=AdamW.spec(lr=3e-4))
ROUNDS = 60


class SparseIsAsGoodAndFaster(Claim):
    """A model of BERT-Mini's shape pruned to 90% in blocks of 4 x 1 is within 2 points of itself, and 10% faster.

    Four layers of width 256 on made sentences of 16 words, 250 steps of 32, which is two minutes of one thread with
    what follows and enough to be right in three of four; then pruned in three stages, each with 60 steps of
    distillation. Latency is processor time of one sentence on one thread, medians of rounds in which all take
    their turns. The paper prunes BERT-Mini to BERT-Large on GLUE and SQuAD within 1% of the dense model's accuracy.
    """

    system, check, synthetic = "sparse-accelerator-cpu", 3, True
    demands = (
        Demand("points lost", most=2.0),
        Demand("points lost in int8", most=2.0),
        Demand("latency lower by, percent", least=10.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        task = Polarity(length=LENGTH, words=WORDS, rows=2000)
        spec = classifier(dim=256, depth=4, heads=4, length=LENGTH)
        dense = RECIPE.build().train(spec, task, Run(Budget(steps=STEPS), seed=seed))
        small = pruned(dense, task, share=SHARE, steps=TAUGHT, stages=3, seed=seed)
        sparse, whole = sparse_model(small), sparse_model(small, numbers=Numbers.INT8)
        right = {name: 100 * score(model, task).mean
                 for name, model in (("dense", dense), ("sparse", sparse), ("int8", whole))}  # fmt: skip
        taken = latencies({"dense": dense, "sparse": sparse, "int8": whole}, task)
        return {
            **{f"accuracy, {name}": value for name, value in right.items()},
            **{f"ms, {name}": value for name, value in taken.items()},
            "points lost": right["dense"] - right["sparse"],
            "points lost in int8": right["dense"] - right["int8"],
            "latency lower by, percent": 100 * (1 - taken["sparse"] / taken["dense"]),
            "latency lower by in int8, percent": 100 * (1 - taken["int8"] / taken["dense"]),
        }


def latencies(models: Mapping[str, Part], task: Polarity) -> dict[str, float]:
    """Median processor time of one sentence in ms, the models in turns, on one thread."""
    inputs = next(iter(task.held_out("test", 1))).inputs
    with using(1), torch.inference_mode():
        taken = seconds([partial(model, **inputs) for model in models.values()], rounds=ROUNDS)
    return {name: 1000 * took for name, took in zip(models, taken, strict=True)}

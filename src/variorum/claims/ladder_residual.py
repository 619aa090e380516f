"""The claim of ladder residuals at laptop scale: they learn as well, and models are converted. arXiv:2501.06589."""

import math
from collections.abc import Mapping
from functools import cache

import torch

from variorum.adapt.ladder import to_ladder
from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.core import Part
from variorum.data.symbols import Level
from variorum.data.text import TextTask
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.systems.ladder_residual import ladder_residual
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run
from variorum.train.tune import tune

STEPS, DEPTH, BATCH = 700, 4, 16
RATE = 2e-3
RECIPE = Descent.spec(batch=BATCH, optimizer=AdamW.spec(lr=RATE), evaluations=0)


class LadderLearns(Claim):
    """A ladder learns as well as plain residuals, and a trained model whose last half becomes one is soon as before.

    Four layers of width 64, characters of Shakespeare, 700 steps of 16 rows of 64 (what two minutes of one thread
    allow), the same rates, seeds and rows for both; loss in nats on held-out text. The converted model, whose last two
    layers are a ladder with the weights of the plain one, is tuned for 70 more steps at half the rate, which recovered
    more than a quarter on both of two seeds beyond those of the claim. The gap is what its loss rises by at first; the
    same 70 steps of the plain model are told beside.
    """

    system, check = "ladder-residual", 3
    demands = (
        Demand("nats, ladder over plain", most=0.03),
        Demand("percent of the gap recovered", least=80.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        ladder, plain = (_trained(last, seed) for last in (DEPTH, 0))
        before = _nats(plain)
        converted = to_ladder(plain, DEPTH // 2)  # type: ignore[arg-type]
        gap = _nats(converted) - before
        after = _nats(_tuned(converted, seed))
        return {
            "nats, ladder over plain": _nats(ladder) - before,
            "percent of the gap recovered": 100 * (gap + before - after) / gap,
            "nats, plain": before,
            "nats, gap": gap,
            "nats, plain tuned as long": _nats(_tuned(plain, seed)),
        }


@cache
def _text() -> TextTask:
    return TextTask("shakespeare", level=Level.CHAR, length=64)


def _trained(last: int, seed: int) -> Part:
    spec = ladder_residual(dim=64, depth=DEPTH, heads=4, last=last)
    return RECIPE.build().train(spec, _text(), Run(Budget(steps=STEPS), seed=seed))


def _nats(model: Part) -> float:
    """Of a character."""
    return score(model, _text(), split="valid").mean * math.log(2)


def _tuned(model: Part, seed: int) -> Part:
    """Some more steps on rows that were not drawn before."""

    def loss(step: int) -> torch.Tensor:
        batch = _text().batch(STEPS + step, BATCH, seed)
        return CrossEntropy()(model(**batch.inputs), batch.targets).mean

    tune(model, loss, steps=STEPS // 10, optimizer=AdamW(lr=RATE / 2))
    return model

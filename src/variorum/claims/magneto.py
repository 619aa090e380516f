"""Magneto's claim at laptop scale: a deep model bears greater learning rates. arXiv:2210.06423."""

from collections.abc import Mapping
from functools import cache
from math import inf
from typing import Any

from variorum.claims.claim import Claim, Demand
from variorum.core import Residual, Spec, VariorumError
from variorum.data.symbols import Level
from variorum.data.text import TextTask
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.residuals.postnorm import PostNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.systems.magneto import Form, magneto
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run
from variorum.train.schedule import WarmupConstant

DEPTH, STEPS = 64, 14
RATES = (3.2e-2, 0.128, 0.512)
"""Up to 0.032 all three models learn: the sweep goes on to where they break."""


@cache
def _text() -> TextTask:
    return TextTask("shakespeare", level=Level.CHAR, length=32)


def _losses(spec: Spec[Any], rate: float, seed: int) -> list[float]:
    """The loss of each step, without warm-up and without clipping; infinite where it is not finite."""
    descent = Descent.spec(batch=8, optimizer=AdamW.spec(lr=rate, weight_decay=0.0), clip=None, evaluations=0,
                           schedule=WarmupConstant.spec(warmup=0.0), report=1)  # fmt: skip
    told: list[float] = []
    run = Run(Budget(steps=STEPS), seed=seed, report=lambda event: told.append(event.get("loss", inf)))
    try:
        descent.build().train(spec, _text(), run)
    except VariorumError:  # the recipe's word for a loss or gradient that is not finite
        told.append(inf)
    return told


def _stable(spec: Spec[Any], seed: int) -> float:
    """The greatest rate up to which every loss is finite and the last five are, on average, below the first."""
    best = 0.0
    for rate in RATES:
        losses = _losses(spec, rate, seed)
        if sum(losses[-5:]) / 5 >= losses[0]:
            break
        best = rate
    return best


def _plain(residual: Spec[Residual]) -> Spec[Any]:
    mixer = Attention.spec(heads=4, pattern=Causal.spec())
    block = Block.spec(mixer=mixer, channels=MLP.spec(), residual=residual)
    return _magneto().but(blocks=[block] * DEPTH, initial=())


def _magneto() -> Spec[Any]:
    return magneto(Form.DECODER, dim=64, depth=DEPTH, heads=4, length=32)


class DepthStability(Claim):
    """At 64 layers Magneto learns at 4 times the greatest rate at which Post-LN does, and at all at which Pre-LN does.

    Characters of Shakespeare, width 64, 14 steps of Adam at a constant rate without warm-up or clipping, rates four
    times apart. Learning is: every loss is finite, and the mean of the last five is below the first. A model that
    learns at no rate of the sweep counts as half the smallest.
    """

    system, check = "magneto", 2
    demands = (
        Demand("greatest rate / Pre-LN's", least=1.0),
        Demand("greatest rate / Post-LN's", least=4.0),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        least = RATES[0] / 2
        ours, before, after = (
            max(_stable(spec, seed), least) for spec in (_magneto(), _plain(PreNorm.spec()), _plain(PostNorm.spec()))
        )
        return {
            "greatest rate / Pre-LN's": ours / before,
            "greatest rate / Post-LN's": ours / after,
            "greatest rate": ours,
        }

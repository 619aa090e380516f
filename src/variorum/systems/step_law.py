"""Step Law: predictable learning rate and batch size. Li et al. 2025, arXiv:2503.04715.

A law in the place of a model: the best peak learning rate and batch size of a language model with N parameters, those
of the vocabulary apart, and D training tokens, fitted to 3700 models. The loss is convex in (log rate, log batch) with
a wide flat bottom, so a prediction lands on it; the same law serves dense models, mixtures of experts and other data.
As a recipe it is ``variorum.train.by_law.ByLaw``; to fit a law of one's own, ``variorum.train.power_law``.
"""

from dataclasses import dataclass

from variorum.core import entry
from variorum.train.by_law import BATCH, RATE


@dataclass(frozen=True)
class Recommended:
    """lr: peak learning rate.     batch: tokens of a step."""

    lr: float
    batch: float


@entry("step-law")
def step_law(parameters: float, tokens: float) -> Recommended:
    """lr = 1.79 N^-0.713 D^0.307, batch = 0.58 D^0.571."""
    return Recommended(lr=RATE(parameters, tokens), batch=BATCH(tokens))

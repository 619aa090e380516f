"""Informer's claim: sparse attention in one pass forecasts as well as the full attention that costs more."""

from collections.abc import Mapping
from typing import Any

import torch

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.core import Spec, find_entry
from variorum.data.seasonal import SeasonalSeries
from variorum.layers.channels.mlp import MLP
from variorum.layers.heads.features import Features
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

WEEK, HEADS, HIDDEN, LAYERS, STEPS = 168, 4, 128, 2, 600


class SparseForecasts(Claim):
    """Informer forecasts a week of hours no worse than a vanilla Transformer, and better than repeating the last week.

    Two synthetic seasons and a trend, two variables: 168 hours from the 168 before them. Both models are 32 wide with
    two encoder layers, 600 steps of 16 windows, the same rate; the vanilla one has full attention and does not distil.
    Figures are mean squared errors on the last fifth of the hours, over that of the rival.
    """

    system, check, synthetic = "informer", 3, True
    demands = (Demand("error / vanilla's", most=1.05), Demand("error / repeating the last week's", most=1.0))

    def run(self, seed: int) -> Mapping[str, float]:
        task = SeasonalSeries(context=WEEK, horizon=WEEK, seed=seed)
        informer = find_entry("informer").spec(
            dim=32, heads=HEADS, depths=(LAYERS,), hidden=HIDDEN, start=48, dropout=0.0
        )
        mine, theirs = (_error(spec, task, seed) for spec in (informer, vanilla(informer)))
        naive = torch.cat([task.scores(b.inputs["inputs"][:, :WEEK, :2], b.targets) for b in task.held_out("test", 64)])
        return {
            "error / vanilla's": mine / theirs,
            "error / repeating the last week's": mine / float(naive.mean()),
            "error": mine,
            "error of the vanilla Transformer": theirs,
        }


def vanilla(informer: Spec[Any]) -> Spec[Any]:
    """The same encoder-decoder with full attention and no distilling."""
    full = Attention.spec(heads=HEADS)
    read = Block.spec(mixer=full, channels=MLP.spec(hidden=HIDDEN), residual=PostNorm.spec())
    encoder = informer.at("model.decoder").but(head=Features.spec(), blocks=[read] * LAYERS)
    return informer.replace("model.encoder", encoder).replace(
        "model.decoder.blocks[*].mixer", full.but(pattern=Causal.spec())
    )


def _error(spec: Spec[Any], task: SeasonalSeries, seed: int) -> float:
    recipe = Descent(batch=16, evaluations=0, optimizer=AdamW.spec(lr=2e-3))
    return score(recipe.train(spec, task, Run(Budget(steps=STEPS), seed=seed)), task).mean

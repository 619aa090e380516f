"""The claim of simplified blocks at laptop scale: no skips, no value and output maps, no loss. arXiv:2311.01906."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from variorum.claims.claim import Claim, Demand
from variorum.compare.measure import score
from variorum.core import Spec
from variorum.data.symbols import Level
from variorum.data.text import TextTask
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block
from variorum.systems.simplified_transformer_block import Form, simplified
from variorum.train.descent import Descent
from variorum.train.optimizer import AdamW
from variorum.train.recipe import Budget, Run

STEPS, DEPTH, HEADS = 200, 8, 4
RECIPE = Descent.spec(batch=16, optimizer=AdamW.spec(lr=2e-3), evaluations=0)


@cache
def _text() -> TextTask:
    return TextTask("shakespeare", level=Level.CHAR, length=64)


def _loss(spec: Spec[Any], seed: int) -> float:
    """Bits per character on held-out text."""
    model = RECIPE.build().train(spec, _text(), Run(Budget(steps=STEPS), seed=seed))
    return score(model, _text(), split="valid").mean


def _simplified() -> Spec[Any]:
    return simplified(Form.SAS_P, dim=64, depth=DEPTH, heads=HEADS, length=64, gain=DEPTH**-0.5 / 2)


def _plain_attention() -> Spec[Attention]:
    return Attention.spec(heads=HEADS, pattern=Causal.spec())


class SkiplessTraining(Claim):
    """SAS-P learns as fast a step as Pre-LN, but only with shaped attention: with plain attention it does not.

    Eight layers of width 64, characters of Shakespeare, equal steps, batches and rates, loss on held-out text. Pre-LN
    has the same norms and channels. "Without shaping": SAS-P's blocks with plain attention, value and output maps.
    """

    system, check = "simplified-transformer-block", 3
    demands = (
        Demand("loss of SAS-P / loss of Pre-LN", most=1.02),
        Demand("loss without shaping / loss of Pre-LN", least=1.1),
    )

    def run(self, seed: int) -> Mapping[str, float]:
        shaped = _simplified()
        block = Block.spec(mixer=_plain_attention(), channels=MLP.spec(activation=Activation.RELU, bias=False),
                           norm=RMSNorm.spec(eps=1e-5))  # fmt: skip
        losses = {
            "SAS-P": _loss(shaped, seed),
            "Pre-LN": _loss(shaped.but(blocks=[block] * DEPTH), seed),
            "without shaping": _loss(shaped.replace("blocks[*].mixer", _plain_attention()), seed),
        }
        return {
            "loss of SAS-P / loss of Pre-LN": losses["SAS-P"] / losses["Pre-LN"],
            "loss without shaping / loss of Pre-LN": losses["without shaping"] / losses["Pre-LN"],
            "bits per character of Pre-LN": losses["Pre-LN"],
        }

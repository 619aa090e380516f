"""ELC-BERT: every layer counts. Charpentier & Samuel 2023, arXiv:2311.02265.

What differs from its backbone, LTG-BERT (Samuel et al. 2023, arXiv:2303.09859: a norm without weights before and one
with weights after attention, disentangled attention over logarithmic distance buckets, GEGLU with an inner norm): a
layer is given no residual stream but sum_i softmax(alpha_n)_i h_i over the outputs of the embedding and all layers
before it. The paper's layer is h_n = a + FFN(x + a), a = attention(x); that of the released base model (``BASE``) is
h_n = a + FFN(a). Initial alpha is 1 for the newest output and 0 for the others, or 0 for all (``ZERO``). ``NORMALISED``
also norms h_n, ``WEIGHTED`` also gives the head such a choice of all outputs.

The first layer has nothing to choose from; the authors' code keeps a parameter for it, which is not built here.
"""

from enum import StrEnum
from math import sqrt

from variorum.core import Head, Initialiser, Layer, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.depth.softmax_choice import SoftmaxChoice
from variorum.layers.embed.normed import NormedEmbed
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.masked_lm import MaskedLMHead
from variorum.layers.initial.constant import Constant
from variorum.layers.initial.truncated_normal import TruncatedNormal
from variorum.layers.mixers.disentangled import Disentangled
from variorum.layers.norms.dropped import DroppedNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.dense import DensePool
from variorum.layers.residuals.branch_norm import BranchNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.skipless import Skipless
from variorum.models.blocks.block import Block
from variorum.models.blocks.increment import Increment
from variorum.models.stack import Stack


class Answer(StrEnum):
    """What the model answers: hidden tokens, as it is trained first, or a class, as it is tuned to after that."""

    TOKENS = "tokens"
    CLASS = "class"


class Variant(StrEnum):
    """The models of the paper."""

    BASE = "base"
    ZERO = "zero"
    NORMALISED = "normalised"
    WEIGHTED = "weighted"


NORM = LayerNorm.spec(eps=1e-7)
PLAIN = NORM.but(affine=False)
_SMALL = {"dim": 384, "depth": 12, "heads": 6, "hidden": 1024}
_BASE = {"dim": 768, "depth": 12, "heads": 12, "hidden": 2048}


@entry(
    "elc-bert",
    sizes={
        "small": _SMALL,
        "base": _BASE,
        **{f"small-{v}": {**_SMALL, "variant": v} for v in (Variant.ZERO, Variant.NORMALISED, Variant.WEIGHTED)},
    },
    fits={
        "labelled texts": [
            {"dim": dim, "depth": depth, "heads": 4, "hidden": 2 * dim, "answer": Answer.CLASS}
            for dim, depth in ((64, 2), (128, 2), (32, 2))
        ]
    },
)
def elc_bert(
    *,
    dim: int,
    depth: int,
    heads: int,
    hidden: int,
    variant: Variant = Variant.BASE,
    dropout: float = 0.1,
    answer: Answer = Answer.TOKENS,
) -> Spec[Stack]:
    """An encoder whose layers choose their inputs among all earlier outputs."""
    choice = SoftmaxChoice.spec(last=0.0 if variant is Variant.ZERO else 1.0)
    masked: Spec[Head] = MaskedLMHead.spec(norm=DroppedNorm.spec(norm=PLAIN, dropout=dropout))
    of_first: Spec[Head] = Classifier.spec(pool=DensePool.spec(activation=Activation.GELU, dropout=dropout))
    tokens = answer is Answer.TOKENS
    return Stack.spec(
        dim=dim,
        embed=NormedEmbed.spec(embed=TokenEmbed.spec(), norm=PLAIN, dropout=dropout),
        blocks=[layer(heads, hidden, variant, dropout)] * depth,
        choices=[choice] * (depth if variant is Variant.WEIGHTED else depth - 1),
        norm=PLAIN,
        head=masked if tokens else of_first,
        tied=[*([("head.linear.weight", "embed.embed.token.weight")] if tokens else []), *shared(depth, variant)],
        initial=initial(dim, depth, "head.transform.weight" if tokens else "head.pool.linear.weight"),
    )


def layer(heads: int, hidden: int, variant: Variant, dropout: float) -> Spec[Layer]:
    """LTG-BERT's layer without the residual stream that leads around all of it."""
    around = Skipless.spec(dropout=dropout) if variant is Variant.BASE else PreNorm.spec(dropout=dropout)
    mixer = Disentangled.spec(heads=heads, furthest=512, buckets=32, vectors=63, norm=NORM,
                              dropout=dropout, position_dropout=dropout)  # fmt: skip
    block = Block.spec(
        mixer=mixer,
        channels=GLU.spec(hidden=hidden, activation=Activation.GELU_TANH, norm=PLAIN),
        norm=PLAIN,
        residual=BranchNorm.spec(inner=around, after=NORM),
        channels_residual=PreNorm.spec(dropout=dropout),
    )
    if variant is Variant.BASE:
        return block
    return Increment.spec(layer=block, norm=PLAIN) if variant is Variant.NORMALISED else Increment.spec(layer=block)


def shared(depth: int, variant: Variant) -> list[tuple[str, str]]:
    """The vectors of distances and their norm are those of the first layer."""
    inside = "" if variant is Variant.BASE else "layer."
    names = [f"{inside}mixer.{name}" for name in ("relative", "norm.weight", "norm.bias")]
    return [(f"blocks.{i}.{name}", f"blocks.0.{name}") for i in range(1, depth) for name in names]


def initial(dim: int, depth: int, head: str) -> list[Spec[Initialiser]]:
    """Truncated normal with variance 2 / (5 dim), that of channels smaller by 1 / (2 (1 + i)) in layer i; biases 0."""
    std = sqrt(2 / (5 * dim))
    names = ["embed.*token.weight", head, "*.relative"]
    names += [f"*.mixer.{name}.weight" for name in ("query", "key", "value", "out")]
    stds = [std / sqrt(2 * (1 + i)) for i in range(depth)]
    deeper = [TruncatedNormal.spec(names=[f"blocks.{i}.*channels.*.weight"], std=s) for i, s in enumerate(stds)]
    return [TruncatedNormal.spec(names=names, std=std), *deeper,
            Constant.spec(names=["blocks.*.bias", "head.*.bias"])]  # fmt: skip

"""TokenFormer: scaling with tokenized model parameters. Wang et al. 2024, arXiv:2410.23168.

What differs from the plain decoder: no matrix but the embedding. Queries, keys, values, outputs and the whole
feed-forward part are each a token's attention to learned parameter tokens (``Pattention``), of which more can be added
to a trained model (``adapt.grow``). Norms in the blocks learn nothing, a quarter of each head's channels is rotated by
position, and the two ends share one embedding. Sizes are those of the official configurations on the Pile, and the two
of the growth experiment on OpenWebText2.

The initial values of the official configurations: keys normal with deviation 0.02, values with 2 / (depth sqrt(dim)).
"""

import math

from variorum.core import Spec, entry
from variorum.layers.channels.projected import Projected
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.layers.projections.pattention import Pattention
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


@entry(
    "tokenformer",
    sizes={
        "150m": {"dim": 768, "depth": 12, "heads": 12},
        "450m": {"dim": 1024, "depth": 24, "heads": 16},
        "900m": {"dim": 1280, "depth": 32, "heads": 16},
        "1.5b": {"dim": 1536, "depth": 40, "heads": 16},
        "354m": {"dim": 1024, "depth": 24, "heads": 16, "slots": 768},
        "757m": {"dim": 1024, "depth": 24, "heads": 16, "slots": 1792},
    },
    fits={
        "text": [
            {"dim": dim, "depth": depth, "heads": heads}
            for dim, depth, heads in ((64, 1, 4), (64, 2, 4), (128, 2, 4), (192, 4, 6))
        ]
    },
)
def tokenformer(*, dim: int, depth: int, heads: int, slots: int | None = None) -> Spec[Stack]:
    """A decoder whose projections have ``slots`` parameter tokens (``dim`` unless given), its channels four times as
    many.
    """
    slots = slots or dim
    tokens = Pattention.spec(slots=slots, value_std=2 / (depth * math.sqrt(dim)))
    mixer = Attention.spec(heads=heads, pattern=Causal.spec(), rotation=Rotary.spec(fraction=0.25), projection=tokens)
    channels = Projected.spec(projection=tokens.but(slots=4 * slots))
    block = Block.spec(mixer=mixer, channels=channels, norm=LayerNorm.spec(affine=False))
    return Stack.spec(dim=dim, embed=TokenEmbed.spec(), blocks=[block] * depth, head=Unembed.spec(),
                      tied=[("head.linear.weight", "embed.token.weight")])  # fmt: skip

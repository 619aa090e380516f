"""Simplified Transformer blocks, SAS and SAS-P. He & Hofmann 2023, arXiv:2311.01906.

What differs from the plain decoder: shaped attention, which begins as the identity, makes the skip around attention
superfluous, and with it value and output projections (both the identity; only the first layer learns a value map, as
in the authors' code). SAS keeps a weighted skip around the channels; SAS-P sets attention and channels side by side
behind one norm and has no skip at all. The norms can go too: then only the first layer has one. RMSNorm, ReLU, no
biases in the channels; all gains are learned, that of the channels begins at ``gain``, of the order of 1/sqrt(depth).
"""

from enum import StrEnum

from variorum.core import Layer, Norm, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.shaped_attention import ShapedAttention, Values
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.residuals.skipless import Skipless
from variorum.layers.residuals.weighted import Weighted
from variorum.models.blocks.block import Block
from variorum.models.blocks.side_by_side import SideBySide
from variorum.models.stack import Stack


class Form(StrEnum):
    """The two blocks of the paper, and the second without norms."""

    SAS = "sas"
    SAS_P = "sas-p"
    SAS_P_WITHOUT_NORMS = "sas-p-without-norms"


_GPT = {"dim": 768, "depth": 18, "heads": 12, "length": 128}


@entry(
    "simplified-transformer-block",
    sizes={
        "sas": {"form": Form.SAS, **_GPT},
        "sas-p": {"form": Form.SAS_P, **_GPT},
        "sas-p-without-norms": {"form": Form.SAS_P_WITHOUT_NORMS, **_GPT},
        "sas-72": {"form": Form.SAS, **_GPT, "depth": 72, "gain": 0.05},
        "sas-p-72": {"form": Form.SAS_P, **_GPT, "depth": 72, "gain": 0.05},
    },
    fits={
        "text": [
            {"form": Form.SAS_P, "dim": dim, "depth": depth, "heads": heads, "length": 256, "gain": 0.2}
            for dim, depth, heads in ((64, 1, 4), (64, 2, 4), (128, 2, 4), (192, 4, 6))
        ]
    },
)
def simplified(form: Form, *, dim: int, depth: int, heads: int, length: int, gain: float = 0.1) -> Spec[Stack]:
    """A decoder of simplified blocks."""
    blocks = [block(form, heads=heads, gain=gain, first=i == 0) for i in range(depth)]
    embed = TokenEmbed.spec(position=LearnedPosition.spec(length=length))
    return Stack.spec(dim=dim, embed=embed, blocks=blocks, norm=LayerNorm.spec(), head=Unembed.spec(),
                      tied=[("head.linear.weight", "embed.token.weight")])  # fmt: skip


def block(form: Form, *, heads: int, gain: float, first: bool) -> Spec[Layer]:
    """One block; the ``first`` of a model learns its values, and has a norm even where the others have none."""
    mixer = ShapedAttention.spec(heads=heads, values=Values.LEARNED if first else Values.IDENTITY)
    channels = MLP.spec(activation=Activation.RELU, bias=False)
    norm: Spec[Norm] = RMSNorm.spec(eps=1e-5)
    if form is Form.SAS:
        return Block.spec(mixer=mixer, channels=channels, norm=norm, residual=Weighted.spec(skip=None),
                          channels_residual=Weighted.spec(gain=gain))  # fmt: skip
    if form is Form.SAS_P_WITHOUT_NORMS:
        norm = LayerNorm.spec() if first else NoNorm.spec()
    return SideBySide.spec(mixer=mixer, channels=channels, norm=norm, residual=Skipless.spec(), gains=(1.0, gain))

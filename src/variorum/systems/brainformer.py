"""Brainformers: blocks of attention, dense and sparse networks in any order. Zhou et al. 2023, arXiv:2306.00008.

What differs from the plain decoder: a block is a string of sub-layers in any order and number, each with its own norm
and residual: ``a`` attention, ``f`` a dense feed-forward network, ``m`` a mixture of experts (``g`` in the paper).
Each has its own hidden width and activation; the gate is top-2, or experts choose their tokens. A block is found by
evolution under a limit on step time, then stacked: 3, 6 and 8 times for models of 100M, 1B and 8B, with the
model's and hidden widths as they are, doubled, and four times as wide. ``SPACE`` is the paper's table 1.

The text says that block 1 has 8 sub-layers, width 1024, hidden layers that widen less than fourfold, and experts that
choose at capacity 1. The order stands in a picture only (it matters little, section 6.2); heads, activation and hidden
widths nowhere: here they are what table 3 leaves over. It tells 30B parameters, 1.38B of them activated, of the second
model, 158B and 7.4B of the third, without embeddings as in table 2. Of all blocks of the space that are alike in the
sub-layers of a kind, with heads of 64 and hidden widths up to 3072, one has these figures within 1.1 percent: 2 of
attention with 20 heads, 3 gated dense ones of 3072, 3 of gated experts of 2048 (or plain ones of 3072, as many
numbers). Of the first model it tells 3.19B and 156M, where this block has 1.93B and 173M; it is doubled in the second,
so that the first must be of another block, which no source tells.

Experts that choose look at later tokens, and so the default gate, for decoders, is top-2.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from variorum.core import Channel, Layer, Mixer, Norm, Spec, entry
from variorum.layers.channels.mixture import Mixture
from variorum.layers.channels.named import network
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.expert_choice import ExpertChoice
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.routers.topk import TopK
from variorum.models.blocks.branch import Branch
from variorum.models.interleaved import spelled
from variorum.models.stack import Stack

SPACE: Mapping[str, Sequence[str | int]] = {
    "layer": ("a", "m", "f"),
    "dim": (512, 768, 1024),
    "expert_hidden": (1536, 2048, 3072, 4096),
    "hidden": (1536, 2048, 3072, 4096),
    "heads": (12, 16, 20),
    "gate": ("top-2", "expert choice"),
    "capacity": (1, 2, 3, 4),
    "activation": ("gated relu", "gated gelu", "relu", "gelu"),
}
_BLOCK_1 = {
    "block": "amfamfmf", "heads": 20, "gate": "expert choice", "capacity": 1, "activation": "gated gelu",
}  # fmt: skip


class Gate(StrEnum):
    """Who chooses: a token its two experts, or an expert its tokens."""

    TOP_2 = "top-2"
    EXPERT_CHOICE = "expert choice"


@entry(
    "brainformer",
    sizes={
        "1-100m32e": {
            **_BLOCK_1, "repeat": 3, "dim": 1024, "head_dim": 64, "hidden": 3072, "expert_hidden": 2048, "experts": 32,
        },
        "1-1b64e": {
            **_BLOCK_1, "repeat": 6, "dim": 2048, "head_dim": 128, "hidden": 6144, "expert_hidden": 4096, "experts": 64,
        },
        "1-8b64e": {
            **_BLOCK_1, "repeat": 8, "dim": 4096, "heads": 40, "head_dim": 128,
            "hidden": 12288, "expert_hidden": 8192, "experts": 64,
        },
    },
    fits={
        "text": [
            {"block": block, "repeat": 1, "dim": dim, "heads": 4, "hidden": 2 * dim, "expert_hidden": dim, "experts": 4}
            for block, dim in (("amf", 64), ("amfaf", 64), ("amfamfmf", 96))
        ]
    },
)  # fmt: skip
def brainformer(
    *, block: str, repeat: int, dim: int, heads: int, head_dim: int | None = None, hidden: int, expert_hidden: int,
    experts: int = 32, gate: str = Gate.TOP_2, capacity: float = 1.0, activation: str = "gelu",
) -> Spec[Stack]:  # fmt: skip
    """``block``: its sub-layers, such as ``amf``, ``repeat`` times.     hidden, expert_hidden: of f and of m.

    head_dim: channels of a head; dim / heads, rounded up, unless given.
    """
    wide = head_dim or -(-dim // heads)
    attention = Attention.spec(heads=heads, head_dim=wide, pattern=Causal.spec(), rotation=Rotary.spec())
    parts: dict[str, Spec[Mixer | Channel]] = {
        "a": attention,
        "f": network(activation, hidden=hidden),
        "m": mixture(network(activation, hidden=expert_hidden), experts, gate=Gate(gate), capacity=capacity),
    }
    blocks = spelled(block * repeat, {word: sublayer(part) for word, part in parts.items()})
    return Stack.spec(dim=dim, embed=TokenEmbed.spec(), blocks=blocks, head=Unembed.spec())


def sublayer(part: Spec[Mixer | Channel]) -> Spec[Layer]:
    """x + part(norm(x))."""
    norm: Spec[Norm] = LayerNorm.spec()
    return Branch.spec(parts=[part], residual=PreNorm.spec(), norm=norm)


def mixture(one: Spec[Channel], experts: int, *, gate: Gate, capacity: float) -> Spec[Mixer | Channel]:
    """Experts that are alike, behind one of the two gates."""
    if gate is Gate.EXPERT_CHOICE:
        return ExpertChoice.spec(experts=[one] * experts, capacity=capacity)
    return Mixture.spec(experts=[one] * experts, router=TopK.spec(k=min(2, experts), renormalised=True))

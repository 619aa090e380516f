"""ATLAS, OmegaNet and DeepTransformers: learning the context by heart at test time. Behrouz et al. 2025.

arXiv:2505.23735. What differs from the plain decoder: the mixer is a small network for each head that is trained as the
row goes by, to give each key's value, and asked by queries. Three things differ from the memories before it. Its loss
is that of a window of the last tokens, gated, not of the last one alone (the Omega rule). Keys and queries are turned
into polynomial features, by which it holds more pairs. Its weights are moved by Muon, momentum made orthogonal, or, in
OmegaNet, by plain gradient descent. ATLAS++ has a gated network. Dot is the Transformer of the family: the Omega rule
with the kernel of infinitely many features, exp(k . q), without attention's denominator. In ``layered`` models an
attention window follows every memory (the paper's MAL).

The paper prints its rule in three ways that differ in signs; built is the one that descends (appendix D.4). It leaves
open what the gates are made of, which degree and which polynomial features its models have, and whether heads start
from one memory: here a token's gates are made of that token, and heads share what they start from. All monomials, its
definition, would by themselves give the largest model half as many parameters again as it is named after, so the
published sizes (table 7; text elsewhere in the paper names others) have powers of each channel, and models for a laptop
all monomials. Dot is built with a linear memory, for which the paper writes its rule out, and the others' window.

Of width d, a block has 12.2 to 12.5 d^2 parameters here, which is what "340m" and "760m" leave for one beside an
embedding of 32,000 tokens; but "170m" leaves 20 d^2, "1.3b" 16 d^2 (17 and 16, if embeddings were not tied). So no MLP
ratio, head width, convolution or embedding that the four share explains their names: these two have 113M and 992M.
"""

from enum import StrEnum
from typing import Any

from variorum.core import Mixer, Spec, entry
from variorum.layers.channels.glu import GLU
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.fast_networks.fast_glu import FastGLU
from variorum.layers.fast_networks.fast_mlp import FastMLP
from variorum.layers.features.feature_map import FeatureMap
from variorum.layers.features.monomials import Monomials
from variorum.layers.features.powers import Powers
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.exponential_delta import ExponentialDelta
from variorum.layers.mixers.muon_memory import MuonMemory
from variorum.layers.mixers.omega_memory import OmegaMemory
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.window import Window
from variorum.layers.positions.rotary import Rotary
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


class Kind(StrEnum):
    """The models of the paper."""

    ATLAS = "atlas"
    ATLAS_PLUS = "atlas++"
    OMEGANET = "omeganet"
    DOT = "dot"


_MONOMIALS: Spec[FeatureMap] = Monomials.spec()
_SIZES = {
    "170m": {"dim": 768, "depth": 12, "heads": 16},
    "340m": {"dim": 1024, "depth": 24, "heads": 16},
    "760m": {"dim": 1536, "depth": 24, "heads": 16},
    "1.3b": {"dim": 2048, "depth": 18, "heads": 8},
}
_NAMED: dict[str, dict[str, Any]] = {
    "": {},
    "-plus": {"kind": Kind.ATLAS_PLUS},
    "-omeganet": {"kind": Kind.OMEGANET},
    "-dot": {"kind": Kind.DOT},
    "-layered": {"attention": 2048},
}


@entry(
    "atlas",
    sizes={f"{size}{name}": {**shape, "features": Powers.spec(), "chunk": 64, **more}
           for size, shape in _SIZES.items() for name, more in _NAMED.items()},
    fits={
        "text": [
            {"dim": 64, "depth": 1, "heads": 4, "kind": Kind.OMEGANET},
            {"dim": 64, "depth": 2, "heads": 4, "kind": Kind.OMEGANET},
            {"dim": 32, "depth": 1, "heads": 4, "features": Powers.spec()},
            {"dim": 64, "depth": 2, "heads": 4, "kind": Kind.DOT, "window": 4},
        ]
    },
)  # fmt: skip
def atlas(
    *,
    dim: int,
    depth: int,
    heads: int,
    kind: Kind = Kind.ATLAS,
    features: Spec[FeatureMap] = _MONOMIALS,
    window: int = 16,
    chunk: int = 16,
    attention: int | None = None,
) -> Spec[Stack]:
    """A decoder of ``depth`` memories, each followed by a window of ``attention`` tokens where that is given."""
    network = (FastGLU if kind is Kind.ATLAS_PLUS else FastMLP).spec(features=features)
    learner = OmegaMemory if kind is Kind.OMEGANET else MuonMemory
    memory: Spec[Mixer] = learner.spec(heads=heads, network=network, window=window, chunk=chunk)
    if kind is Kind.DOT:
        memory = ExponentialDelta.spec(heads=heads, window=window)
    block = Block.spec(mixer=memory, channels=GLU.spec(), norm=RMSNorm.spec())
    blocks = [block]
    if attention is not None:
        near = Attention.spec(
            heads=heads, pattern=Window.spec(size=attention), rotation=Rotary.spec(), qkv_bias=False, out_bias=False
        )
        blocks = [block.but(channels=None), block.but(mixer=near)]
    return Stack.spec(dim=dim, embed=TokenEmbed.spec(), blocks=blocks * depth, norm=RMSNorm.spec(),
                      head=Unembed.spec(), tied=[("head.linear.weight", "embed.token.weight")])  # fmt: skip

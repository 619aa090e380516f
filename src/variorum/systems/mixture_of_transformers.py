"""Mixture-of-Transformers: weights by modality, attention over all. Liang et al. 2024, arXiv:2411.04996.

A decoder over text, images cut into discrete codes, and speech, all ids in one row. What differs from the plain one:
every weight but those of the embeddings is there once for each modality, and a token uses its own modality's, without
a learned router; attention alone is over the whole row. So a token costs what it costs in the dense model.

The setting is Chameleon's (arXiv:2405.09818): next token, RMSNorm, SwiGLU as wide as Llama's (2/3 of 4 dim, up to a
multiple of 256), rotary positions, norms of each head's queries and keys. Norms stand after attention and channels, as
in the authors' published modules; ``norms`` puts them before. Sizes are named after the dense model's parameters with
65,536 ids; with two modalities there are nearly twice as many. The authors' third setting (Transfusion: images by
diffusion instead of codes) has the same layers under another objective, and is not built here.
"""

from collections.abc import Sequence
from enum import StrEnum

from variorum.core import Layer, Residual, Spec, entry
from variorum.layers.channels.glu import GLU
from variorum.layers.embed.vocabularies import Vocabularies
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.layers.residuals.add import Add
from variorum.layers.residuals.branch_norm import BranchNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.layers.residuals.skipless import Skipless
from variorum.models.blocks.block import Block
from variorum.models.blocks.branch import Branch
from variorum.models.blocks.untied import Untied
from variorum.models.stack import Stack

CHAMELEON_IDS = 65_536
CHAMELEON = {"vocab": CHAMELEON_IDS, "borders": (57_344,)}
"""The ids of the sizes below; the last 8,192 are image codes."""


class Norms(StrEnum):
    """Where the norms of a layer stand."""

    BEFORE = "before"
    AFTER = "after"


@entry(
    "mixture-of-transformers",
    sizes={
        "37m": {"dim": 256, "depth": 4, "heads": 8, **CHAMELEON},
        "94m": {"dim": 512, "depth": 8, "heads": 8, **CHAMELEON},
        "443m": {"dim": 1024, "depth": 24, "heads": 16, **CHAMELEON},
        "880m": {"dim": 1536, "depth": 24, "heads": 24, **CHAMELEON},
        "1.5b": {"dim": 2048, "depth": 24, "heads": 16, **CHAMELEON},
        "7b": {"dim": 4096, "depth": 32, "heads": 32, **CHAMELEON},
    },
)
def mixture_of_transformers(
    *,
    dim: int,
    depth: int,
    heads: int,
    borders: Sequence[int],
    vocab: int | None = None,
    hidden: int | None = None,
    norms: Norms = Norms.AFTER,
    qk_norm: bool = True,
    untied: bool = True,
) -> Spec[Stack]:
    """A modality begins at each of the ``borders``. ``untied=False`` is the dense model that it is compared with."""
    wide = hidden or -(-8 * dim // (3 * 256)) * 256
    norm = RMSNorm.spec(eps=1e-5)
    attention = Attention.spec(heads=heads, pattern=Causal.spec(), rotation=Rotary.spec(), qkv_bias=False,
                               out_bias=False, qk_norm=norm if qk_norm else None)  # fmt: skip
    join: Spec[Residual] = BranchNorm.spec(inner=Add.spec(), after=norm) if norms is Norms.AFTER else PreNorm.spec()
    block = Block.spec(mixer=attention, channels=GLU.spec(hidden=wide), norm=norm, residual=join)
    layers: list[Spec[Layer]] = [*[block] * depth, Branch.spec(parts=(), residual=Skipless.spec(), norm=norm)]
    if untied:
        layers = [Untied.spec(layer=layer, count=len(borders) + 1) for layer in layers]
    embed = Vocabularies.spec(borders=borders)
    spec = Stack.spec(dim=dim, embed=embed, blocks=layers, norm=NoNorm.spec(), head=Unembed.spec())
    return spec if vocab is None else spec.fill(vocab=vocab)

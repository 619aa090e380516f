"""DiT-MoE: diffusion Transformers with sparse experts. Fei et al. 2024, arXiv:2407.11633.

A DiT (Peebles & Xie 2022, arXiv:2212.09748) cuts a noised image into patches, and tells time and class to every layer
by adaLN-Zero. What differs: each feed-forward network is a mixture of SwiGLU experts, of which a token takes two by a
softmax over all, besides a shared one that every token takes; a loss keeps the choice balanced.

The paper's two shared experts are one SwiGLU twice dim wide, as in the authors' code. The size names say depth and
width as DiT's do; 8E2A: 8 experts, 2 active. Sizes are those of latents 32 x 32 x 4 of 1,000 classes.
"""

from variorum.core import Norm, Spec, entry
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mixture import Mixture
from variorum.layers.embed.label import Label
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.unpatch import Unpatch
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.positions.places import GridSinusoid
from variorum.layers.residuals.adaln_zero import AdaLNZero
from variorum.layers.residuals.modulated import Modulated
from variorum.layers.routers.topk import TopK
from variorum.models.blocks.block import Block
from variorum.models.blocks.branch import Branch
from variorum.models.denoiser import Denoiser
from variorum.models.stack import Stack

LATENTS = {"channels": 4, "height": 32, "width": 32, "classes": 1000}
"""What the published sizes are built for."""
_NORM: Spec[Norm] = LayerNorm.spec(eps=1e-6, affine=False)


@entry(
    "dit-moe",
    sizes={
        "dit-moe-s/2-8e2a": {"dim": 384, "depth": 12, "heads": 6},
        "dit-moe-s/2-16e2a": {"dim": 384, "depth": 12, "heads": 6, "experts": 16},
        "dit-moe-b/2-8e2a": {"dim": 768, "depth": 12, "heads": 12},
        "dit-moe-xl/2-8e2a": {"dim": 1152, "depth": 28, "heads": 16},
        "dit-moe-g/2-16e2a": {"dim": 1792, "depth": 40, "heads": 28, "experts": 16},
    },
)
def dit_moe(
    *,
    dim: int,
    depth: int,
    heads: int,
    patch: int = 2,
    experts: int = 8,
    active: int = 2,
    hidden: int | None = None,
    shared: int | None = None,
    balance: float = 0.01,
    outputs: int = 2,
) -> Spec[Denoiser]:
    """``hidden`` (4 dim) and ``shared`` (2 dim): inner widths of the experts and of the one that all tokens take."""
    mixture = Mixture.spec(
        experts=[GLU.spec(hidden=hidden or 4 * dim)] * experts,
        router=TopK.spec(k=active, balance=balance),
        shared=GLU.spec(hidden=2 * dim if shared is None else shared) if shared != 0 else None,
    )
    block = Block.spec(mixer=Attention.spec(heads=heads), channels=mixture, norm=_NORM, residual=AdaLNZero.spec())
    last = Branch.spec(parts=(), residual=Modulated.spec(), norm=_NORM)
    model = Stack.spec(
        embed=Patches.spec(patch=patch, position=GridSinusoid.spec()), blocks=[*[block] * depth, last],
        norm=NoNorm.spec(), head=Unpatch.spec(patch=patch, outputs=outputs),
    )  # fmt: skip
    return Denoiser.spec(dim=dim, model=model, label=Label.spec(hidden=0.1))

"""A model that tells noise from image, given the time and the class. Ho et al. 2020; Peebles & Xie 2022."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from variorum.core import Embed, Input, Memory, Skeleton, Spec, Tower, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.label import Label
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.timestep import Timestep
from variorum.layers.heads.unpatch import Unpatch
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.adaln_zero import AdaLNZero
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

_BLOCK = Block.spec(
    mixer=Attention.spec(heads=2), channels=MLP.spec(), norm=LayerNorm.spec(affine=False), residual=AdaLNZero.spec()
)


class Denoiser(Skeleton):
    """model(inputs, memory = [time token; label token]).

    Ho et al. 2020, arXiv:2006.11239; Peebles & Xie 2022, arXiv:2212.09748. inputs (batch, channels, height, width),
    noised; time (batch,), the step of the noise schedule; label (batch,), the class, or ``label.none``. What the
    memory is for is said by the model's layers: they scale and shift by its sum (AdaLNZero), or attend to it.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType(
        {"inputs": Input("model.embed", None), "time": Input("time", None), "label": Input("label", None)}
    )
    examples = (
        {
            "model": Stack.spec(embed=Patches.spec(patch=4), blocks=[_BLOCK], head=Unpatch.spec(patch=4)),
            "time": Timestep.spec(frequencies=8),
            "label": Label.spec(),
        },
    )

    def __init__(
        self,
        dim: int,
        *,
        model: Spec[Tower],
        time: Spec[Embed] = Timestep.spec(),
        label: Spec[Embed] = Label.spec(),
    ) -> None:
        super().__init__()
        self.model = model.build(dim=dim)
        self.time = time.build(dim=dim)
        self.label = label.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """It reads whole images; nothing beside is needed."""
        return Traits(ragged=False, exports=self.model.traits.exports)

    def forward(
        self,
        inputs: Float[Tensor, "batch channels height width"],
        time: Num[Tensor, "batch"],
        label: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch wide height width"]:
        told = torch.cat([self.time(time)[0], self.label(label)[0]], dim=1)
        return self.model(inputs, None, Memory(told))

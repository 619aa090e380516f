"""Every window forecast from its own level and spread. Kim et al. 2022 (RevIN)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Input, Skeleton, Spec, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.window_patches import WindowPatches
from variorum.layers.heads.horizon import HorizonReadout
from variorum.layers.mixers.attention import Attention
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

_TINY = Stack.spec(dim=16, embed=WindowPatches.spec(patch=4), head=HorizonReadout.spec(patch=4),
                   blocks=[Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())])  # fmt: skip


class InstanceNormalised(Skeleton):
    """y = sigma (model(a (x - mu) / sigma + c) - c) / a + mu, mu and sigma of the known steps of each variable.

    Kim et al. 2022, "Reversible instance normalization for accurate time-series forecasting against distribution
    shift" (ICLR). a and c are learned for each variable; the calendar stays as it is, and the values of the horizon are
    blank. inputs (batch, n + horizon, variables + calendar) -> (batch, horizon, variables).
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("model.embed", None)})
    traits: Traits = Traits(ragged=False)
    examples = ({"model": _TINY},)

    def __init__(self, horizon: int, variables: int, *, model: Spec[Skeleton], eps: float = 1e-5) -> None:
        super().__init__()
        self.horizon, self.variables, self.eps = horizon, variables, eps
        self.slope, self.offset = nn.Parameter(torch.ones(variables)), nn.Parameter(torch.zeros(variables))
        self.model = model.build()

    def forward(self, inputs: Float[Tensor, "batch n features"]) -> Float[Tensor, "batch horizon variables"]:
        known = inputs[:, : inputs.shape[1] - self.horizon, : self.variables]
        mean = known.mean(dim=1, keepdim=True)
        spread = (known.var(dim=1, keepdim=True, correction=0) + self.eps).sqrt()
        level = (known - mean) / spread * self.slope + self.offset
        blank = torch.zeros_like(inputs[:, : self.horizon, : self.variables])
        x = torch.cat([torch.cat([level, blank], dim=1), inputs[..., self.variables :]], dim=-1)
        return (self.model(x) - self.offset) / self.slope * spread + mean

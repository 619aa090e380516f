"""Forecast a whole horizon in one pass of an encoder-decoder. Zhou et al. 2020, arXiv:2012.07436."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Skeleton, Spec, Traits
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.series import SeriesEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.readout import Readout
from variorum.layers.mixers.attention import Attention
from variorum.models.blocks.block import Block
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.stack import Stack

_BLOCK = Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())
_TINY = EncoderDecoder.spec(
    dim=16,
    encoder=Stack.spec(embed=SeriesEmbed.spec(), blocks=[_BLOCK], head=Features.spec()),
    decoder=Stack.spec(
        embed=SeriesEmbed.spec(), blocks=[_BLOCK.but(cross=Attention.spec(heads=2))], head=Readout.spec()
    ),
)


class GenerativeForecaster(Skeleton):
    """y = decoder([last ``start`` known steps, horizon of zeros], encoder(known steps)), the last ``horizon`` of it.

    Zhou et al. 2020, arXiv:2012.07436. inputs (batch, n + horizon, variables + calendar): the calendar is known for all
    steps, the values of the last ``horizon`` are ignored -> (batch, horizon, variables).
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("model.encoder.embed", None)})
    traits: Traits = Traits(ragged=False)
    examples = ({"start": 3, "model": _TINY},)

    def __init__(self, horizon: int, variables: int, *, start: int, model: Spec[EncoderDecoder]) -> None:
        super().__init__()
        self.horizon, self.variables, self.first = horizon, variables, start
        self.model = model.build()

    def forward(self, inputs: Float[Tensor, "batch n features"]) -> Float[Tensor, "batch horizon variables"]:
        known, ahead = inputs[:, : -self.horizon], inputs[:, -self.horizon :]
        blank = torch.cat([torch.zeros_like(ahead[..., : self.variables]), ahead[..., self.variables :]], dim=-1)
        target = torch.cat([known[:, max(0, known.shape[1] - self.first) :], blank], dim=1)
        return self.model(known, target)[:, -self.horizon :]

"""Tokens of a spectrogram by two convolutions. Radford et al. 2022, arXiv:2212.04356."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits, VariorumError
from variorum.layers.positions.none import NoPosition


class ConvFrames(Embed):
    """x = dropout(gelu(conv_2(gelu(conv_1(frames)))) + positions), kernels of 3, conv_2 with stride 2.

    Radford et al. 2022, arXiv:2212.04356, section 2.2. (batch, frames, bins) -> (batch, ceil(frames / 2), dim); time
    runs along the second axis, ``bins`` are the bands of a log-mel spectrogram.
    """

    reads = "frames"
    traits: Traits = Traits(ragged=False)
    examples = ({"bins": 5},)

    def __init__(
        self, dim: int, bins: int, *, position: Spec[Position] = NoPosition.spec(), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(bins, dim, 3, padding=1)
        self.second = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.position = position.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch frames bins"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout | None]:
        if layout is not None and layout.packed:
            raise VariorumError("ConvFrames", expected="equal rows", found="packed rows", do="Pass rows of one length.")
        x = F.gelu(self.second(F.gelu(self.first(inputs.transpose(1, 2))))).transpose(1, 2)
        return self.dropout(self.position(x)), None

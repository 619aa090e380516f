"""A step of a noise schedule as a token. Peebles & Xie 2022, arXiv:2212.09748."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Num
from torch import Tensor, nn

from variorum.core import Embed, Layout, Traits, VariorumError


class Timestep(Embed):
    """y = W_2 silu(W_1 [cos(t w), sin(t w)] + b_1) + b_2, w_i = period^(-i / h), h = frequencies / 2.

    Ho et al. 2020, arXiv:2006.11239; cosines first: Peebles & Xie 2022, arXiv:2212.09748. time (batch,), whole or not
    -> (batch, 1, dim): one token to be conditioned on.
    """

    reads = "times"
    traits: Traits = Traits(ragged=False)
    examples = ({"frequencies": 8},)

    def __init__(self, dim: int, *, frequencies: int = 256, period: float = 10000.0) -> None:
        super().__init__()
        if frequencies < 2 or frequencies % 2:
            raise VariorumError("Timestep frequencies", expected="an even number", found=str(frequencies),
                                do="Choose another.")  # fmt: skip
        self.frequencies, self.period = frequencies, period
        self.up = nn.Linear(frequencies, dim)
        self.down = nn.Linear(dim, dim)

    def forward(self, inputs: Num[Tensor, "batch"], layout: Layout | None = None) -> tuple[Tensor, None]:
        half = self.frequencies // 2
        frequency = torch.exp(-math.log(self.period) * torch.arange(half, device=inputs.device) / half)
        angle = inputs.float().unsqueeze(1) * frequency
        waves = torch.cat([angle.cos(), angle.sin()], dim=1).to(self.up.weight.dtype)
        return self.down(F.silu(self.up(waves))).unsqueeze(1), None

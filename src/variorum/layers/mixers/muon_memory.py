"""A memory that learns the last tokens by Muon. Behrouz et al. 2025, arXiv:2505.23735 (ATLAS)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.layers.fast_networks.fast_glu import FastGLU
from variorum.layers.mixers.deep_memory import DeepMemory
from variorum.layers.mixers.kernels.newton_schulz import newton_schulz
from variorum.layers.mixers.kernels.omega import Update


class MuonMemory(DeepMemory):
    """S_t = m_t S_{t-1} + d/dW loss_t, W_t = a_t W_{t-1} - r_t NewtonSchulz5(S_t), for each matrix W of the memory.

    The loss as in ``DeepMemory``. r_t, a_t, m_t = sigmoid(w x_t + b), at the start near 0.02, between 0.98 and 0.9997
    for the heads from the first to the last, and 0.88. Behrouz et al. 2025, arXiv:2505.23735, equations 32 and 33.
    Steps of all tokens of a chunk are formed, chunk times the memory's size: it costs many times what descent does.
    """

    update: ClassVar[Update | None] = staticmethod(newton_schulz)
    examples = (
        {"heads": 2, "window": 3, "chunk": 4},
        {"heads": 4, "window": 1, "chunk": 2, "network": FastGLU.spec(), "conv": 0},
    )

    @staticmethod
    def starts(heads: int) -> tuple[Tensor, ...]:
        return torch.full((heads,), -4.0), torch.linspace(4.0, 8.0, heads), torch.full((heads,), 2.0)

    def steps(self, x: Tensor) -> tuple[Tensor, ...]:
        rate, decay, momentum = self.rates(x).chunk(3, dim=-1)
        return torch.sigmoid(rate), F.logsigmoid(decay), F.logsigmoid(momentum)

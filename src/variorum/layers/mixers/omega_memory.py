"""A memory that learns the last tokens by gradient descent. Behrouz et al. 2025, arXiv:2505.23735 (OmegaNet)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.layers.fast_networks.fast_glu import FastGLU
from variorum.layers.fast_networks.fast_matrix import FastMatrix
from variorum.layers.mixers.deep_memory import DeepMemory


class OmegaMemory(DeepMemory):
    """W_t = a_t W_{t-1} - r_t d/dW loss_t, for the matrices W of the memory; the loss as in ``DeepMemory``.

    chunk r_t, a_t = sigmoid(w x_t + b), at the start near 0.5, and between 0.98 and 0.9997 for the heads from the first
    to the last. Gradients of a chunk do not wait for one another, so that its tokens, were they all the same, would go
    as many steps too far: rates are one over ``chunk`` at most. Behrouz et al. 2025, arXiv:2505.23735, equation 10.
    window 1: the delta rule of a deep memory.
    """

    examples = (
        {"heads": 2, "window": 3, "chunk": 4},
        {"heads": 2, "window": 1, "chunk": 1, "network": FastMatrix.spec(), "conv": 0},
        {"heads": 4, "window": 6, "chunk": 4, "network": FastGLU.spec()},
    )

    @staticmethod
    def starts(heads: int) -> tuple[Tensor, ...]:
        return torch.zeros(heads), torch.linspace(4.0, 8.0, heads)

    def steps(self, x: Tensor) -> tuple[Tensor, ...]:
        rate, decay = self.rates(x).chunk(2, dim=-1)
        return torch.sigmoid(rate) / self.chunk, F.logsigmoid(decay)

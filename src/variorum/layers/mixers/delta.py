"""Linear attention whose state forgets what it overwrites. Yang et al. 2024, arXiv:2406.06484."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from variorum.layers.mixers.kernels.delta import delta_chunked
from variorum.layers.mixers.recurrent import Recurrent
from variorum.layers.norms.rmsnorm import RMSNorm


class Delta(Recurrent):
    """o_t = S_t q_t with S_t = S_{t-1} (I - b_t k_t k_t^T) + b_t v_t k_t^T, for each head; y = W_o rmsnorm(o).

    q, k, v = SiLU(shortconv(W x)), q and k of unit length, b_t = sigmoid(w x_t) in (0, 1). Yang et al. 2024,
    arXiv:2406.06484, run in chunks of ``chunk`` tokens. The state is (head_dim, head_dim) for each head, whatever n.
    """

    kernel = staticmethod(delta_chunked)
    examples = ({"heads": 2, "chunk": 4},)

    def __init__(self, dim: int, *, heads: int = 4, conv: int = 4, chunk: int = 32) -> None:
        super().__init__(dim, heads=heads, keys=dim, conv=conv, chunk=chunk)
        self.beta = nn.Linear(dim, heads, bias=False)
        self.norm = RMSNorm(dim // heads)

    def operands(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        q, k, v = F.silu(q), F.silu(k), F.silu(v)
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, torch.sigmoid(self.beta(x))

    def answer(self, x: Tensor, o: Tensor) -> Tensor:
        return self.norm(o).flatten(-2)

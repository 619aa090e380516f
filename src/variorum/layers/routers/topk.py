"""Each token to the experts of the largest scores. Shazeer et al. 2017; balance: Fedus et al. 2021."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Traits, VariorumError
from variorum.core.traits import POINTWISE
from variorum.layers.routers.router import Router, Routes


class TopK(Router):
    """p = softmax(W x); a token goes to the ``k`` experts of the largest p_i, each weighted by p_i.

    Shazeer et al. 2017, arXiv:1701.06538; p before the choice, as in Dai et al. 2024, arXiv:2401.06066 (DeepSeekMoE).
    renormalised: weights are divided by their sum.
    balance: alpha of the auxiliary loss alpha * sum_i f_i P_i, with f_i = experts * (share of all choices that fell on
    i) and P_i the mean of p_i over tokens (Fedus et al. 2021, arXiv:2101.03961): alpha where routing is even,
    alpha * experts / k where the same k experts get everything. 0: none is told.

    Scores are taken in single precision at least. ``probabilities`` (*any, experts) and ``experts`` (*any, k) are told.
    """

    taps = ("probabilities", "experts")
    traits: Traits = POINTWISE
    examples = ({"experts": 4}, {"experts": 3, "k": 1, "renormalised": True, "balance": 0.0})

    def __init__(
        self, dim: int, experts: int, *, k: int = 2, renormalised: bool = False, balance: float = 0.01
    ) -> None:
        super().__init__()
        if not 1 <= k <= experts:
            raise VariorumError("TopK", expected=f"k from 1 to {experts}, the number of experts", found=f"k {k}",
                                do="Choose another k, or more experts.")  # fmt: skip
        self.experts, self.k, self.renormalised, self.balance = experts, k, renormalised, balance
        self.linear = nn.Linear(dim, experts, bias=False)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Routes:
        scores = self.linear(x)
        p = self.tap("probabilities", scores.to(torch.promote_types(x.dtype, torch.float32)).softmax(dim=-1))
        weights, chosen = p.topk(self.k, dim=-1)
        chosen = self.tap("experts", chosen)
        if self.balance and self.heard("auxiliary"):
            self.tap("auxiliary", self.balance * imbalance(p, chosen))
        if self.renormalised:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return Routes(chosen, weights.to(x.dtype))


def imbalance(p: Float[Tensor, "*any experts"], chosen: Tensor) -> Float[Tensor, ""]:
    """sum_i f_i P_i: 1 where routing is even; see :class:`TopK`. No token gives 0."""
    experts = p.shape[-1]
    share = torch.bincount(chosen.flatten(), minlength=experts).to(p.dtype) / max(chosen.numel(), 1)
    mean = p.reshape(-1, experts).sum(dim=0) / max(p.numel() // experts, 1)
    return experts * (share * mean).sum()

"""At each exit a chance to leave. Elbayad et al. 2019, arXiv:1910.10073."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.models.exits.oracle import Oracle
from variorum.models.exits.policy import LearnedExit, Seen, find_oracle


class PoissonBinomialExit(LearnedExit):
    """q_t(n) = chi_n prod_{m<n} (1 - chi_m) for n < N, and prod_{m<N} (1 - chi_m) for the last; chi_n =
    sigmoid(w^T h_t^n + b), one w for all exits. The token leaves at the first n with chi_n > threshold.

    Elbayad et al. 2019, arXiv:1910.10073, section 3.2. weight: of the exit's loss beside the model's.
    """

    traits: Traits = POINTWISE
    examples = ({"exits": 3},)

    def __init__(
        self,
        dim: int,
        exits: int,
        *,
        threshold: float = 0.5,
        oracle: Spec[Oracle] = Oracle.spec(),
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 1)
        self.exits, self.threshold = exits, threshold
        self.oracle, self.weight = find_oracle(oracle, weight), weight

    def forward(self, seen: Seen) -> Tensor:
        if seen.exit == self.exits - 1:
            return torch.tensor(True, device=seen.x.device)
        return self.linear(seen.x).squeeze(-1).sigmoid() > self.threshold

    def log_probabilities(
        self, states: Sequence[Tensor], layout: Layout | None = None, memory: Memory | None = None
    ) -> Tensor:
        before = states[:-1] if len(states) > 1 else states[:0]
        if not before:
            return states[0].new_zeros(*states[0].shape[:-1], 1)
        return exit_logs(torch.cat([self.linear(x) for x in before], dim=-1))

    def labels(self, table: Tensor, layout: Layout | None = None) -> Tensor:
        return self.oracle.tokens(table, layout)


def exit_logs(logits: Float[Tensor, "*any before"]) -> Float[Tensor, "*any exits"]:
    """log q of the Poisson-binomial policy; logits of chi at all exits but the last -> exits = before + 1."""
    stay = F.pad(F.logsigmoid(-logits).cumsum(dim=-1), (1, 0))
    return stay + F.pad(F.logsigmoid(logits), (0, 1))

"""An exit for each token, chosen after the first block. Elbayad et al. 2019, arXiv:1910.10073."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Layout, Memory, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.models.exits.oracle import Oracle
from variorum.models.exits.policy import LearnedExit, Seen, find_oracle


class TokenExit(LearnedExit):
    """q_t(n) = softmax(W h_t + b), h_t the state at the first exit; the token leaves at argmax_n q_t (multinomial).

    Elbayad et al. 2019, arXiv:1910.10073, section 3.2. weight: of the exit's loss beside the model's.
    """

    traits: Traits = POINTWISE
    examples = ({"exits": 3},)

    def __init__(self, dim: int, exits: int, *, oracle: Spec[Oracle] = Oracle.spec(), weight: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, exits)
        self.oracle, self.weight = find_oracle(oracle, weight), weight

    def forward(self, seen: Seen) -> Tensor:
        return self.linear(seen.first).argmax(dim=-1) <= seen.exit

    def log_probabilities(
        self, states: Sequence[Tensor], layout: Layout | None = None, memory: Memory | None = None
    ) -> Tensor:
        return self.linear(states[0]).log_softmax(dim=-1)

    def labels(self, table: Tensor, layout: Layout | None = None) -> Tensor:
        return self.oracle.tokens(table, layout)

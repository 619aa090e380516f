"""One exit for all tokens of a row, chosen by what they attend to. Elbayad et al. 2019, arXiv:1910.10073."""

from collections.abc import Sequence

from torch import Tensor, nn

from variorum.core import Layout, Memory, Spec, Traits, VariorumError, pool_rows
from variorum.models.exits.oracle import Oracle
from variorum.models.exits.policy import LearnedExit, Seen, find_oracle


class SequenceExit(LearnedExit):
    """q(n | row) = softmax(W s + b), s the mean of the memory's tokens; all tokens of the row leave at argmax_n q.

    Elbayad et al. 2019, arXiv:1910.10073, section 3.1. Needs a memory. weight: of the exit's loss beside the model's.
    """

    traits: Traits = Traits(causal=True, streams=True, memory=True, alone=False)
    examples = ({"exits": 3},)

    def __init__(self, dim: int, exits: int, *, oracle: Spec[Oracle] = Oracle.spec(), weight: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, exits)
        self.oracle, self.weight = find_oracle(oracle, weight), weight

    def forward(self, seen: Seen) -> Tensor:
        leaves = self._scores(seen.memory).argmax(dim=-1) <= seen.exit
        layout = seen.layout
        return leaves[layout.row_of] if layout is not None and layout.packed else leaves.unsqueeze(1)

    def log_probabilities(
        self, states: Sequence[Tensor], layout: Layout | None = None, memory: Memory | None = None
    ) -> Tensor:
        return self._scores(memory).log_softmax(dim=-1)

    def labels(self, table: Tensor, layout: Layout | None = None) -> Tensor:
        return self.oracle.rows(table, layout)

    def _scores(self, memory: Memory | None) -> Tensor:
        if memory is None:
            raise VariorumError("SequenceExit", expected="a memory, whose mean it looks at", found="none",
                                do="Use it in a decoder, or another policy.")  # fmt: skip
        return self.linear(pool_rows(lambda rows: rows.mean(dim=1), memory.layout, memory.x))

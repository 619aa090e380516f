"""The transducer's loss, over anti-diagonals of its lattice. Graves 2012, arXiv:1211.3711, section 2.4."""

import torch
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError
from variorum.models.alignments import Labels, Lattice

_NEVER = -1e30
"""The logarithm of no chance at all; finite, so that sums and gradients of it are."""


class TransducerLoss(Objective):
    """total = sum over rows of -log of the sum, over all alignments of labels to tokens, of their probability.

    With b(t, u) and y(t, u) the log-probabilities of the ``blank`` and of label u + 1 at a node::

        a(t, u) = log(exp(a(t-1, u) + b(t-1, u)) + exp(a(t, u-1) + y(t, u-1))),   a(0, 0) = 0
        log P = a(T-1, U) + b(T-1, U)

    Graves 2012, arXiv:1211.3711, equations 16 to 18. Nodes with the same t + u depend on those of t + u - 1 only, so
    that all of them, in all rows, are taken at once (Bagby et al. 2018). count = number of rows. A row without tokens
    has no alignment: VariorumError.
    """

    def __init__(self, *, blank: int = 0) -> None:
        super().__init__()
        self.blank = blank

    def forward(self, outputs: Lattice, targets: Labels) -> Loss:
        if not torch.equal(outputs.labels, targets.lengths) or not bool((outputs.tokens > 0).all()):
            raise VariorumError("TransducerLoss", expected="labels of the lattice's lengths, and a token in every row",
                                found=f"tokens {outputs.tokens.tolist()[:8]}, labels {outputs.labels.tolist()[:8]}, "
                                f"targets {targets.lengths.tolist()[:8]}",
                                do="Give the labels that the model was given.")  # fmt: skip
        count = torch.tensor(len(targets.lengths), device=outputs.logits.device)
        if not len(targets.lengths):
            return Loss(outputs.logits.sum() * 0, count)
        blank, label = self._diagonals(outputs, targets)
        reached = [torch.full_like(blank[0], _NEVER).index_fill(1, count.new_zeros(1), 0.0)]
        for b, y in zip(blank[:-1], label[:-1], strict=True):
            waits, says = reached[-1] + b, (reached[-1] + y)[:, :-1]
            says = torch.cat([torch.full_like(waits[:, :1], _NEVER), says], dim=1)
            reached.append(torch.logaddexp(waits, says).clamp(min=_NEVER))
        rows = torch.arange(len(targets.lengths), device=blank.device)
        last = (outputs.tokens + outputs.labels - 1, rows, outputs.labels)
        return Loss(-(torch.stack(reached)[last] + blank[last]).sum(), count)

    def _diagonals(self, outputs: Lattice, targets: Labels) -> tuple[Tensor, Tensor]:
        """b and y, each (t + u, rows, u): log-probabilities, and never where there is no node."""
        logits = outputs.logits.to(torch.promote_types(outputs.logits.dtype, torch.float32))
        spread = logits.flatten(0, -2).log_softmax(dim=-1)
        states = outputs.labels + 1
        size = outputs.tokens * states
        row = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        within = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
        t, u = within.div(states[row], rounding_mode="floor"), within % states[row]
        shape = (int((outputs.tokens + outputs.labels).max()), len(size), int(states.max()))
        never = spread.new_full(shape, _NEVER)
        blank = never.index_put((t + u, row, u), spread[:, self.blank])
        says = u < outputs.labels[row]
        first = targets.lengths.cumsum(0) - targets.lengths
        spoken = targets.ids[first[row[says]] + u[says]]
        label = never.index_put(((t + u)[says], row[says], u[says]), spread[says].gather(1, spoken[:, None])[:, 0])
        return blank, label

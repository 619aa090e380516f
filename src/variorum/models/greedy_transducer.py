"""The greedy search of a transducer. Graves 2012, arXiv:1211.3711, section 2.5, with a beam of one."""

import torch
from torch import Tensor

from variorum.core import Layout, State
from variorum.models.alignments import row_lengths
from variorum.models.transducer import Transducer


class GreedyTransducer:
    """At each token the best label is said until it is the blank; piece by piece it is the same as at once.

    limit: most labels at one token.    ``said``: the labels of each row so far.
    """

    def __init__(self, model: Transducer, rows: int, *, limit: int = 10) -> None:
        self.model, self.limit = model, limit
        self.said: list[list[int]] = [[] for _ in range(rows)]
        self._states = [self._step(model.blank, model.prediction.start(1)) for _ in range(rows)]

    @torch.no_grad()
    def hear(self, tokens: Tensor, layout: Layout | None = None) -> list[list[int]]:
        """The labels that the next ``tokens`` of the encoder, (batch, n, dim) or packed, add to every row."""
        rows = tokens.flatten(0, -2).split(row_lengths(tokens, layout).tolist())
        new = [[label for token in row for label in self._say(i, token)] for i, row in enumerate(rows)]
        for said, more in zip(self.said, new, strict=True):
            said += more
        return new

    def _say(self, row: int, token: Tensor) -> list[int]:
        labels: list[int] = []
        while len(labels) < self.limit:
            said, state = self._states[row]
            label = int(self.model.joint(token, said).argmax())
            if label == self.model.blank:
                break
            labels.append(label)
            self._states[row] = self._step(label, state)
        return labels

    @torch.no_grad()
    def _step(self, label: int, state: State) -> tuple[Tensor, State]:
        device = next(self.model.parameters()).device
        said, state = self.model.prediction.advance(torch.tensor([[label]], device=device), state.copy())
        return said[0, 0], state

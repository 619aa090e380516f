"""The labels of a connectionist temporal classifier's best path. Graves et al. 2006, section 3.2."""

import torch

from variorum.models.alignments import Framewise


class BestPath:
    """The best label of each token, repeats merged and blanks left out; piece by piece it is the same as at once.

    Graves et al. 2006, section 3.2. ``said``: the labels of each row so far.
    """

    def __init__(self, rows: int, *, blank: int = 0) -> None:
        self.said: list[list[int]] = [[] for _ in range(rows)]
        self.blank = blank
        self._last = [blank] * rows

    def hear(self, scores: Framewise) -> list[list[int]]:
        """The labels that the next tokens of every row add."""
        best = scores.logits.argmax(dim=-1).flatten().split(scores.lengths.tolist())
        new = []
        for row, path in enumerate(best):
            steps = torch.cat([path.new_tensor([self._last[row]]), path])
            kept = path[(steps.diff() != 0) & (path != self.blank)].tolist()
            self._last[row] = int(steps[-1])
            self.said[row] += kept
            new.append(kept)
        return new


def best_path(scores: Framewise, *, blank: int = 0) -> list[list[int]]:
    """The labels of every row."""
    return BestPath(len(scores.lengths), blank=blank).hear(scores)

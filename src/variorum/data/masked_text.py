"""Text with spans hidden, to be told from what stands around them. Joshi et al. 2019, arXiv:1907.10529."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.symbols import Level
from variorum.data.task import Batch, Split, Task
from variorum.data.text import TextTask
from variorum.objectives.cross_entropy import NO_TARGET, CrossEntropy

LONGEST, STOP = 10, 1 / 3
"""Of a span: most symbols, and the chance that it ends after each."""


class MaskedText(Task):
    """Some spans of each row are hidden: say what stood there. The metric is the mean of -log p(symbol).

    Joshi et al. 2019, arXiv:1907.10529 (spans); Devlin et al. 2018, arXiv:1810.04805: of the hidden symbols 80% become
    the mask, the last id, 10% another symbol, and 10% stay. Only they are targets.

    source, level, length: of :class:`TextTask`, whose rows these are.    rate: about the share of symbols hidden.
    """

    reads = "masked text"
    higher_is_better = False
    metric = "nats per hidden symbol"
    examples = ({"source": "shakespeare"},)

    def __init__(self, source: str, *, level: Level = Level.BYTE, length: int = 128, rate: float = 0.15) -> None:
        if not 0 < rate < 1:
            raise VariorumError("MaskedText rate", expected="a share between 0 and 1", found=str(rate),
                                do="Use 0.15.")  # fmt: skip
        self.text, self.rate = TextTask(source, level=level, length=length), rate
        self.notes = self.text.notes
        self.mask: int = self.text.facts["vocab"]
        """The id that stands for a hidden symbol."""

    @property
    def facts(self) -> dict[str, Any]:
        return {**self.text.facts, "vocab": self.mask + 1}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec(ignore=NO_TARGET)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        ids = self.text.batch(step, size, seed).inputs["inputs"]
        return self._hide(ids, [[seed % 2**64, step * size + row] for row in range(size)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        first = 0
        for batch in self.text.held_out(split, size):
            ids = batch.inputs["inputs"]
            yield self._hide(ids, [[2**63 + first + row, 0] for row in range(len(ids))])
            first += len(ids)

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        real = targets != NO_TARGET
        return F.cross_entropy(outputs[real].float(), targets[real], reduction="none")

    def _hide(self, ids: Tensor, keys: list[list[int]]) -> Batch:
        """Rows (rows, n) with spans hidden, each by its own key."""
        drawn = [self._spans(ids.shape[1], np.random.Generator(np.random.Philox(key=key))) for key in keys]
        hidden, fate, other = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        shown = torch.where(fate < 0.8, torch.full_like(ids, self.mask), torch.where(fate < 0.9, other, ids))
        return Batch({"inputs": torch.where(hidden, shown, ids)}, ids.masked_fill(~hidden, NO_TARGET))

    def _spans(self, n: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For one row: which symbols are hidden, at least one, and the numbers that say what each is shown as."""
        lengths = draw.geometric(STOP, n).clip(max=LONGEST)
        begins = draw.random(n) < self.rate * STOP
        begins[draw.integers(n)] |= not begins.any()
        starts = np.flatnonzero(begins)
        places = np.arange(n)
        hidden = ((places >= starts[:, None]) & (places < (starts + lengths[starts])[:, None])).any(axis=0)
        return hidden, draw.random(n), draw.integers(self.mask, size=n)

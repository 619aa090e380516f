"""Tasks of naming, in order, what is heard: frames of sound in, labels out."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Objective, Spec
from variorum.data.task import Batch, Task
from variorum.layers.embed.spectrogram import Frames
from variorum.models.alignments import Framewise, Hybrid, Labels
from variorum.models.best_path import best_path
from variorum.objectives.hybrid_transducer import HybridTransducer

BLANK = 0
"""The label that says nothing; real ones begin at 1."""


class Utterance(NamedTuple):
    """What was heard, log-mel ``frames`` (n, bins), and the ``labels`` that were said."""

    frames: Float[Tensor, "n bins"]
    labels: list[int]


class Transcription(Task, abstract=True):
    """Frames of sound and the labels said in them; scored by the label errors of the framewise answers' best path.

    inputs: frames packed, (frames, bins), how they lie, and the true labels that a transducer's prediction network
    reads; a model that answers framewise only takes those of its arguments. symbols: how many labels there are, without
    the blank.    shape: how sound is cut into frames.
    """

    reads = "speech"
    metric = "label error rate"
    higher_is_better = False
    symbols: int
    shape: ClassVar[Frames] = Frames(centre=-8.0, spread=4.0)

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.symbols + 1, "bins": self.shape.bins}

    @property
    def objective(self) -> Spec[Objective]:
        return HybridTransducer.spec()

    @abstractmethod
    def utterances(self, step: int, size: int, seed: int) -> list[Utterance]:
        """The training utterances of a step, by (seed, step) alone."""

    def batch(self, step: int, size: int, seed: int) -> Batch:
        return collate(self.utterances(step, size, seed))

    def scores(self, outputs: Hybrid | Framewise, targets: Labels) -> Tensor:
        said = best_path(outputs.framewise if isinstance(outputs, Hybrid) else outputs, blank=BLANK)
        return torch.tensor([edits(a, b) / max(len(b), 1) for a, b in zip(said, targets.rows(), strict=True)])


def collate(rows: Sequence[Utterance]) -> Batch:
    """A batch of uneven utterances, packed."""
    labels = Labels.of(row.labels for row in rows)
    layout = Layout.ragged([len(row.frames) for row in rows])
    frames = torch.cat([row.frames for row in rows])
    inputs = {"inputs": frames, "layout": layout, "target": labels.ids, "target_layout": labels.layout}
    return Batch(inputs, labels)


def edits(said: Sequence[int], meant: Sequence[int]) -> int:
    """The fewest insertions, deletions and substitutions that make one of the other (Levenshtein 1966)."""
    row = list(range(len(meant) + 1))
    for i, a in enumerate(said, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(meant, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]

"""Tasks that ask of a whole row, be it a series, a shape or a sound."""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from variorum.data.divided import DividedRows
from variorum.data.task import Batch


class WholeRowTask(DividedRows, abstract=True):
    """A task whose rows can be asked for by their numbers, for models that sum a row up."""

    _targets: Tensor

    @property
    @abstractmethod
    def writes(self) -> str:
        """Which head answers it: class or value."""

    @abstractmethod
    def given(self, rows: np.ndarray, size: int) -> Iterator[Batch]:
        """The rows of these numbers as they are, in order, in batches of up to ``size``."""

    def targets(self, rows: np.ndarray) -> Tensor:
        """The targets of the rows of these numbers."""
        return self._targets[torch.from_numpy(rows)]

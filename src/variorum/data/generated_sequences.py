"""Made rows that are to be told symbol by symbol, without a fault."""

from typing import Any

from torch import Tensor

from variorum.core import Objective, Spec
from variorum.data.generated import Generated
from variorum.objectives.cross_entropy import CrossEntropy


class GeneratedSequences(Generated, abstract=True):
    """targets (size, length) ids, of which no row is longer than another; the score is 1 for a row without a fault."""

    metric = "rows without a fault"

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec()

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return (outputs.argmax(-1) == targets).all(dim=1).float()

"""Made rows that have a class each."""

from typing import Any

from torch import Tensor

from variorum.core import Objective, Spec
from variorum.data.answering import objective_of, scored
from variorum.data.generated import Generated


class GeneratedClasses(Generated, abstract=True):
    """targets (size,): the class of each row; the metric is accuracy."""

    metric = "accuracy"
    writes = "class"

    @property
    def objective(self) -> Spec[Objective]:
        return objective_of(self.writes)

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return scored(self.writes, outputs, targets)

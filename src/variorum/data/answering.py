"""How classes and values are trained and judged, the same for every kind of data."""

from torch import Tensor

from variorum.core import Objective, Spec
from variorum.objectives.cross_entropy import CrossEntropy
from variorum.objectives.squared_error import SquaredError

METRICS = {"class": ("accuracy", True), "value": ("squared error", False)}
"""For what a head writes, class or value: the name of the score, and whether more of it is better."""


def objective_of(writes: str) -> Spec[Objective]:
    """Cross-entropy for classes, squared error for values."""
    return CrossEntropy.spec() if writes == "class" else SquaredError.spec()


def scored(writes: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The score of each row: 1 where the likeliest class is right, else 0; or the squared error."""
    if writes == "class":
        return (outputs.argmax(dim=-1) == targets).float()
    return (outputs.reshape(targets.shape) - targets).square()

"""Cross-entropy of class scores against the true class."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError

NO_TARGET = -100
"""What stands where a token is no target."""


class CrossEntropy(Objective):
    """total = sum over real targets of -sum_k q_k log softmax(logits)_k; count = number of real targets.

    q is 1 - ``label_smoothing`` on the target and ``label_smoothing`` / classes on every class besides (Szegedy et al.
    2016, arXiv:1512.00567, section 7). A target equal to ``ignore`` is none: it adds to neither total nor count, and no
    gradient comes from it. Scores of less than single precision are summed in single precision.

    Raises :class:`VariorumError` when the shapes of logits (*any, classes) and targets (*any) do not fit, or targets
    are no int64; a target outside 0..classes-1 raises IndexError.
    """

    examples = ({}, {"label_smoothing": 0.1, "ignore": 0})

    def __init__(self, *, label_smoothing: float = 0.0, ignore: int = NO_TARGET) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise VariorumError("CrossEntropy label_smoothing", expected="a number from 0 up to, but not, 1",
                                found=repr(label_smoothing), do="Choose a small one, such as 0.1.")  # fmt: skip
        self.label_smoothing, self.ignore = label_smoothing, ignore

    def forward(self, outputs: Float[Tensor, "*any classes"], targets: Int[Tensor, "*any"]) -> Loss:
        if outputs.shape[:-1] != targets.shape or targets.dtype != torch.int64:
            raise VariorumError("CrossEntropy", expected=f"int64 targets of shape {tuple(outputs.shape[:-1])}",
                                found=f"{targets.dtype} of shape {tuple(targets.shape)}",
                                do="Give one class number for each row of scores.")  # fmt: skip
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32)).flatten(0, -2)
        total = F.cross_entropy(
            logits, targets.flatten(), ignore_index=self.ignore, reduction="sum", label_smoothing=self.label_smoothing
        )
        return Loss(total, (targets != self.ignore).sum())

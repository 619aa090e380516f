"""A model with its objective, and the gradient of one step, taken in one piece or in several."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from variorum.core import Answers, Loss, Objective, Part
from variorum.data.task import Batch


class Learner(nn.Module):
    """A model and the objective it is trained for, whose own parameters, if any, are trained too."""

    def __init__(self, model: Part, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]) -> Loss:
        """The objective of a batch; of several ``Answers`` the weighted sum. Only the model runs under ``autocast``:
        losses are summed in single precision.
        """
        with autocast():
            outputs = self.model(**batch.inputs)
        outputs = single(outputs)
        return (
            self._of_all(outputs, batch.targets) if isinstance(outputs, Answers) else self._of(outputs, batch.targets)
        )

    def _of(self, outputs: Any, targets: Any) -> Loss:
        loss: Loss = self.objective(outputs, targets)
        return loss

    def _of_all(self, answers: Answers, targets: Any) -> Loss:
        losses = [self._of(outputs, targets) for outputs in answers.each]
        total = torch.stack([w * loss.total for w, loss in zip(answers.weights, losses, strict=True)]).sum()
        if answers.judge is not None:
            total = total + answers.judge(answers.beside, targets)
        return Loss(total, losses[0].count)


class Gradient(NamedTuple):
    """What a step's gradient was the gradient of: scalars that stay on their device until somebody reads them."""

    loss: Tensor
    """The objective's mean over all real targets of the step."""
    auxiliary: Tensor | None
    """The auxiliary losses of the parts, weighted like the objective."""
    targets: Tensor
    """Real targets of the step."""


def gradient(
    learner: Learner,
    pieces: Iterable[Batch],
    *,
    autocast: Callable[[], AbstractContextManager[Any]],
    backward: Callable[[Tensor], None],
    drain: Callable[[], Tensor | None],
) -> Gradient:
    """Leave in ``.grad`` the gradient of sum_i (total_i + count_i auxiliary_i) / sum_i count_i over the pieces i.

    It equals that of the pieces' union in one batch, however unevenly the targets are spread over the pieces (for
    auxiliary losses see :func:`variorum.train.auxiliary.auxiliary`). ``drain`` returns a piece's auxiliary losses.
    """
    parameters = list(learner.parameters())
    for parameter in parameters:
        parameter.grad = None
    losses, extras = [], []
    for piece in pieces:
        loss = learner(piece, autocast)
        losses.append(Loss(loss.total.detach(), loss.count))
        extra, whole = drain(), loss.total
        if extra is not None:
            whole = whole + loss.count * extra
            extras.append(loss.count * extra.detach())
        backward(whole)
    count = torch.stack([loss.count for loss in losses]).sum()
    divisor = count.clamp(min=1)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(divisor)
    auxiliary = torch.stack(extras).sum() / divisor if extras else None
    return Gradient(torch.stack([loss.total for loss in losses]).sum() / divisor, auxiliary, count)


def single(outputs: Any) -> Any:
    """Answers of any nesting with every tensor of half precision in single precision."""
    return apply_to_collection(outputs, Tensor, _single, allow_frozen=True)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor

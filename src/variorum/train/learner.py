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


Autocast = Callable[[], AbstractContextManager[Any]]
Drain = Callable[[], Tensor | None]
"""Gives the auxiliary losses told since it was last called (see :func:`variorum.train.auxiliary.auxiliary`)."""


class Sent(NamedTuple):
    """What came of one piece of a step: ``whole`` = total + count * auxiliary is what is differentiated."""

    whole: Tensor
    total: Tensor
    count: Tensor  # type: ignore[assignment]  # tuple's method of this name is not used
    auxiliary: Tensor | None
    """count * auxiliary, if parts told a loss."""


def send(learner: Learner, piece: Batch, autocast: Autocast, drain: Drain) -> Sent:
    """One piece of a step through the learner."""
    loss = learner(piece, autocast)
    extra = drain()
    if extra is None:
        return Sent(loss.total, loss.total.detach(), loss.count, None)
    return Sent(loss.total + loss.count * extra, loss.total.detach(), loss.count, loss.count * extra.detach())


class Together(NamedTuple):
    """What makes the gradients of several processes, each of its own pieces, that of all pieces.

    send: as :func:`send`, but ``backward`` of what it gives leaves the mean of the processes' gradients in ``.grad``.
    sums: of total, count and auxiliary over the processes; an auxiliary that is None counts as 0, and stays None if it
    is None everywhere.
    """

    size: int
    send: Callable[[Batch, Autocast], Sent]
    sums: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor | None]]


def gradient(
    learner: Learner,
    pieces: Iterable[Batch],
    *,
    autocast: Autocast,
    backward: Callable[[Tensor], None],
    drain: Drain,
    together: Together | None = None,
) -> Gradient:
    """Leave in ``.grad`` the gradient of sum_i (total_i + count_i auxiliary_i) / sum_i count_i over the pieces i.

    It equals that of the pieces' union in one batch, however unevenly the targets are spread over the pieces (for
    auxiliary losses see :func:`variorum.train.auxiliary.auxiliary`). ``drain`` returns a piece's auxiliary losses.
    ``together``: the pieces are those of all processes, of which ``pieces`` are this one's.
    """
    parameters = list(learner.parameters())
    for parameter in parameters:
        parameter.grad = None
    pieces_sent = []
    for piece in pieces:
        sent = together.send(piece, autocast) if together else send(learner, piece, autocast, drain)
        backward(sent.whole)
        pieces_sent.append(sent._replace(whole=sent.total))  # the graph is no longer needed
    total, count = (torch.stack(each).sum() for each in zip(*((s.total, s.count) for s in pieces_sent), strict=True))
    told = [s.auxiliary for s in pieces_sent if s.auxiliary is not None]
    extra = torch.stack(told).sum() if told else None
    if together:
        total, count, extra = together.sums(total, count, extra)
    divisor = count.clamp(min=1)
    scale = divisor / together.size if together else divisor
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(scale)
    return Gradient(total / divisor, None if extra is None else extra / divisor, count)


def single(outputs: Any) -> Any:
    """Answers of any nesting with every tensor of half precision in single precision."""
    return apply_to_collection(outputs, Tensor, _single, allow_frozen=True)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor

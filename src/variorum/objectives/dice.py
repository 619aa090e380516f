"""The soft Dice loss of a segmentation. Milletari et al. 2016, arXiv:1606.04797; nnU-Net: Isensee et al. 2018."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Loss, Objective, VariorumError


class Dice(Objective):
    """total = sum over rows of 1 - mean_k (2 sum_v p_vk t_vk + s) / (sum_v p_vk + sum_v t_vk + s); count = rows.

    Milletari et al. 2016, arXiv:1606.04797; Isensee et al. 2018, arXiv:1809.10486. p is the softmax of the logits
    (rows, *cells, classes), t is 1 at the true class (rows, *cells) int64, v runs over the cells of a row and k over
    the classes but class 0, the background. s is ``smooth``. Coarser logits are judged by the targets at their cells'
    places (see :func:`at_cells`).
    """

    def __init__(self, *, smooth: float = 1e-5) -> None:
        super().__init__()
        if smooth <= 0:
            raise VariorumError("Dice smooth", expected="a number above 0", found=str(smooth), do="Choose a small one.")
        self.smooth = smooth

    def forward(self, outputs: Float[Tensor, "batch *cells classes"], targets: Int[Tensor, "batch *places"]) -> Loss:
        logits, found = prepared(outputs, targets)
        rows = 1 - overlap(logits.softmax(dim=-1), found, self.smooth).mean(dim=1)
        return Loss(rows.sum(), count_of(rows))


def prepared(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (rows, cells, classes), at least of single precision, and their targets (rows, cells)."""
    if outputs.dim() < 3 or outputs.shape[0] != targets.shape[0] or outputs.dim() != targets.dim() + 1:
        raise VariorumError("segmentation", expected="logits (rows, *cells, classes) and targets (rows, *cells)",
                            found=f"{tuple(outputs.shape)} and {tuple(targets.shape)}",
                            do="Give one class number for each cell.")  # fmt: skip
    if targets.dtype != torch.int64:
        raise VariorumError("segmentation", expected="int64 targets", found=str(targets.dtype),
                            do="Pass targets.long().")  # fmt: skip
    logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32)).flatten(1, -2)
    return logits, at_cells(targets, tuple(outputs.shape[1:-1])).flatten(1)


def at_cells(targets: Tensor, cells: tuple[int, ...]) -> Tensor:
    """Targets (rows, *places) at the nearest place to the middle of each of so many ``cells`` along each axis."""
    for axis, (cell, place) in enumerate(zip(cells, targets.shape[1:], strict=True), start=1):
        if cell != place:
            middle = (torch.arange(cell, device=targets.device) * 2 + 1) * place // (2 * cell)
            targets = targets.index_select(axis, middle)
    return targets


def overlap(p: Tensor, targets: Tensor, smooth: float) -> Tensor:
    """Dice of each row and foreground class, (rows, classes - 1), of p (rows, cells, classes)."""
    true = F.one_hot(targets, p.shape[-1]).to(p.dtype)[..., 1:]
    p = p[..., 1:]
    return (2 * (p * true).sum(dim=1) + smooth) / (p.sum(dim=1) + true.sum(dim=1) + smooth)


def count_of(rows: Tensor) -> Tensor:
    """The number of rows, on their device."""
    return torch.tensor(len(rows), device=rows.device)

"""What the experts of a mixture depend on: place, time, class. After Fei et al. 2024, arXiv:2407.11633, section 4."""

from collections.abc import Mapping

import torch
from torch import Tensor

from variorum.core import VariorumError


def mutual_information(first: Tensor, second: Tensor) -> float:
    """I(a; b) = sum p(a, b) log2 (p(a, b) / (p(a) p(b))) of paired whole numbers (n,), in bits.

    It is corrected for chance: the expected value for independent pairs, (kinds of a - 1) (kinds of b - 1) / (2 n ln 2)
    (Miller 1955), is taken away, and what falls below 0 is 0.
    """
    if first.shape != second.shape or first.dim() != 1 or not len(first):
        raise VariorumError("mutual information", expected="two rows of whole numbers of one length",
                            found=f"shapes {tuple(first.shape)} and {tuple(second.shape)}",
                            do="Repeat what holds for a whole image for each of its tokens.")  # fmt: skip
    (_, a), (_, b) = (torch.unique(values, return_inverse=True) for values in (first, second))
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    joint = torch.bincount(a * columns + b, minlength=rows * columns).view(rows, columns).double() / len(a)
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    found = torch.special.xlogy(joint, joint / apart.clamp(min=1e-300)).sum()
    chance = (rows - 1) * (columns - 1) / (2 * len(a))
    return max(0.0, (float(found) - chance) / float(torch.log(torch.tensor(2.0))))


def routing_report(chosen: Tensor, factors: Mapping[str, Tensor]) -> dict[str, float]:
    """Bits that the choice of experts shares with each factor, and the share of all choices of the least used expert.

    ``chosen`` (batch, n, k): experts, as heard at ``*.router.experts``, of one layer; a factor is (batch,), what holds
    for a whole row, or (n,), what holds for a place of all rows; where batch == n give (batch, n).
    """
    batch, n, k = chosen.shape
    report = {}
    for name, values in factors.items():
        if values.dim() == 1 and batch == n:
            raise VariorumError(f"factor {name}", expected="(batch, n), for batch and n are equal", found="(n,)",
                                do="Expand it yourself.")  # fmt: skip
        whole = values if values.dim() == 2 else values[:, None] if len(values) == batch else values[None]
        report[name] = mutual_information(chosen.flatten(), whole[..., None].expand(batch, n, k).flatten())
    share = torch.bincount(chosen.flatten()).double() / chosen.numel()
    return {**report, "least used": float(share.min())}

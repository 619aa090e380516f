"""Optimisers: how gradients become steps, and which parameters are drawn to zero."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn

from variorum.core import Norm, Position, Registered, VariorumError


class Optimizer(Registered, abstract=True):
    """Makes the torch optimiser of a model's parameters. The loop scales each group's rate by the schedule."""

    kind: ClassVar[str] = "optimizer"

    @abstractmethod
    def over(self, model: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimiser of all trainable parameters; its state holds tensors and numbers only."""


class AdamW(Optimizer):
    """w <- w - lr (m^ / (sqrt(v^) + eps) + weight_decay w), m^ and v^ unbiased running means of g and g^2.

    Loshchilov & Hutter 2019, arXiv:1711.05101. ``weight_decay`` draws only the matrices to zero
    (see :func:`decayed`).    lr: the rate that the schedule's factor 1 stands for.
    """

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.05,
        eps: float = 1e-8,
    ) -> None:
        if not (lr > 0 and weight_decay >= 0 and eps > 0 and all(0 <= b < 1 for b in betas)):
            raise VariorumError("AdamW", expected="lr and eps above 0, weight_decay not below 0, betas in [0, 1)",
                                found=f"lr {lr}, eps {eps}, weight_decay {weight_decay}, betas {betas}",
                                do="Leave out what you do not mean to change.")  # fmt: skip
        self.lr, self.betas, self.weight_decay, self.eps = lr, betas, weight_decay, eps

    def over(self, model: nn.Module) -> torch.optim.Optimizer:
        drawn = decayed(model)
        matrices = [p for name, p in model.named_parameters() if p.requires_grad and name in drawn]
        others = [p for name, p in model.named_parameters() if p.requires_grad and name not in drawn]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


def decayed(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay is for: matrices and kernels that map features to features.

    Left out are parameters with fewer than two dimensions longer than 1 (biases, gains, a lone token), tables that are
    looked up rather than multiplied (``nn.Embedding``), and what belongs to a norm or a position. A tied parameter is
    left out if any of its owners says so.
    """
    spared = {
        id(p)
        for m in model.modules()
        if isinstance(m, nn.Embedding | nn.EmbeddingBag | Norm | Position)
        for p in m.parameters()
    }
    return {
        name for name, p in model.named_parameters() if sum(size > 1 for size in p.shape) >= 2 and id(p) not in spared
    }

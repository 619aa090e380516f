"""Prompts of linear functions. Garg et al. 2022, arXiv:2208.01066."""

import torch
from torch import Generator, Tensor

from variorum.core import VariorumError
from variorum.data.prompts.prompt import InContextRegression


class LinearPrompts(InContextRegression):
    """f(x) = w . x + noise * e, with w and e from N(0, 1). Garg et al. 2022, arXiv:2208.01066.

    nonzero: of the coordinates of w, drawn for each row; all unless given (sparse regression: 3).
    """

    def __init__(
        self,
        *,
        dims: int = 20,
        points: int = 41,
        nonzero: int | None = None,
        noise: float = 0.0,
        grows: int = 0,
        rows: int = 512,
    ) -> None:
        if nonzero is not None and not 0 < nonzero <= dims:
            raise VariorumError("LinearPrompts nonzero", expected=f"1 to {dims}, the number of dims",
                                found=str(nonzero), do="Leave it out for all.")  # fmt: skip
        self.dims, self.points, self.grows, self.rows = dims, points, grows, rows
        self.nonzero, self.noise = nonzero, noise

    def values(self, x: Tensor, generator: Generator) -> Tensor:
        w = torch.randn(x.shape[0], self.dims, 1, generator=generator)
        if self.nonzero is not None:
            order = torch.rand(x.shape[0], self.dims, 1, generator=generator).argsort(dim=1).argsort(dim=1)
            w = w.masked_fill(order >= self.nonzero, 0)
        noise = torch.randn(x.shape[:2], generator=generator)
        return (x @ w).squeeze(-1) + self.noise * noise

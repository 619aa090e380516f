"""Data sets from random networks, as Bayesian neural networks see them. Müller et al. 2021, arXiv:2112.10510."""

import torch
from torch import Generator, Tensor

from variorum.data.priors.network import nodes
from variorum.data.priors.prior import Prior, classes, integer, skewed, standard, uniform


class BnnPrior(Prior):
    """Columns are drawn evenly scaled and independent; the label is the output of a random network of them, cut.

    Müller et al. 2021, arXiv:2112.10510; Hollmann et al. 2022, arXiv:2207.01848, mix it with :class:`ScmPrior`.
    """

    def __init__(
        self, *, rows: int = 128, features: int = 20, most_classes: int = 10, depth: int = 3, width: int = 32
    ) -> None:
        self.rows, self.features, self.most_classes, self.depth, self.width = rows, features, most_classes, depth, width

    def draw(self, generator: Generator, size: int) -> tuple[Tensor, Tensor, int]:
        columns = int(skewed(generator, 1, self.features, 1))
        x = torch.randn(size, self.rows, columns, generator=generator)
        layers = nodes(x, depth=integer(generator, 1, self.depth), width=self.width, drop=0.0,
                       noise=uniform(generator, 0, 0.2), generator=generator)  # fmt: skip
        label = classes(layers[-1][..., 0], skewed(generator, 2, self.most_classes, size), generator)
        return standard(x), label, integer(generator, self.rows // 8, self.rows * 7 // 8)

"""Data sets from random structural causal models. Hollmann et al. 2022, arXiv:2207.01848, section 4.2."""

import torch
from torch import Generator, Tensor

from variorum.data.priors.network import nodes
from variorum.data.priors.prior import Prior, classes, integer, skewed, standard, uniform


class ScmPrior(Prior):
    """A layered graph with dropped edges and noisy nodes; columns and label are read from nodes drawn at random.

    Hollmann et al. 2022, arXiv:2207.01848. A batch shares the sizes (columns, depth, width, number of classes and of
    labelled rows); every data set has its own weights, noises, nodes read, cuts and class names.
    """

    def __init__(
        self,
        *,
        rows: int = 128,
        features: int = 20,
        most_classes: int = 10,
        depth: int = 4,
        width: int = 32,
        causes: int = 12,
    ) -> None:
        self.rows, self.features, self.most_classes, self.depth, self.width, self.causes = (
            rows, features, most_classes, depth, width, causes)  # fmt: skip

    def draw(self, generator: Generator, size: int) -> tuple[Tensor, Tensor, int]:
        columns = int(skewed(generator, 1, self.features, 1))
        # Few causes: columns that share them tell of the label, as those of real tables do.
        causes = torch.randn(size, self.rows, int(skewed(generator, 1, self.causes, 1)), generator=generator)
        layers = nodes(
            causes, depth=integer(generator, 2, self.depth), width=max(self.width, columns + 1),
            drop=uniform(generator, 0, 0.7), noise=0.3 * 10 ** -uniform(generator, 0, 2), generator=generator,
        )  # fmt: skip
        every = torch.cat(layers, dim=-1)
        read = torch.rand(size, every.shape[-1], generator=generator).argsort(dim=1)[:, : columns + 1]
        chosen = every.gather(2, read.unsqueeze(1).expand(-1, self.rows, -1))
        count = skewed(generator, 2, self.most_classes, size)
        label = classes(chosen[..., -1], count, generator)
        return standard(chosen[..., :-1]), label, integer(generator, self.rows // 8, self.rows * 7 // 8)

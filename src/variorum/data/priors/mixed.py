"""A mixture of two priors. Hollmann et al. 2022, arXiv:2207.01848."""

from torch import Generator, Tensor, rand

from variorum.core import Spec
from variorum.data.priors.bnn import BnnPrior
from variorum.data.priors.prior import Prior
from variorum.data.priors.scm import ScmPrior


class MixedPrior(Prior):
    """Each batch comes from ``first`` with probability ``share``, else from ``second``."""

    def __init__(
        self, *, first: Spec[Prior] = ScmPrior.spec(), second: Spec[Prior] = BnnPrior.spec(), share: float = 0.7
    ) -> None:
        self.first, self.second, self.share = first.build(), second.build(), share

    def draw(self, generator: Generator, size: int) -> tuple[Tensor, Tensor, int]:
        chosen = self.first if float(rand((), generator=generator)) < self.share else self.second
        return chosen.draw(generator, size)

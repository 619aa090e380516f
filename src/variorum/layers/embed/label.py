"""A class as a token, hidden now and then so that a model learns to do without. Ho & Salimans 2022."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Embed, Layout, Traits, VariorumError


class Label(Embed):
    """y = W[label]: (batch,) classes -> (batch, 1, dim), one token to be conditioned on; class ``classes`` is none.

    hidden: probability with which, in training, a row's class is taken away (Ho & Salimans 2022, arXiv:2207.12598).
    std: of the normal initial values.
    """

    reads = "labels"
    traits: Traits = Traits(ragged=False)
    examples = ({}, {"hidden": 0.5})

    def __init__(self, dim: int, classes: int, *, hidden: float = 0.1, std: float = 0.02) -> None:
        super().__init__()
        if not 0 <= hidden < 1:
            raise VariorumError("Label hidden", expected="a probability below 1", found=str(hidden), do="Lower it.")
        self.none, self.hidden = classes, hidden
        self.weight = nn.Embedding(classes + 1, dim)
        nn.init.normal_(self.weight.weight, std=std)

    def forward(
        self, inputs: Int[Tensor, "batch"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch 1 dim"], None]:
        if self.training and self.hidden:
            inputs = inputs.masked_fill(torch.rand(inputs.shape, device=inputs.device) < self.hidden, self.none)
        return self.weight(inputs).unsqueeze(1), None

"""The steps to forecast, read off the last patches. Nie et al. 2022, arXiv:2211.14730."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits, VariorumError


class HorizonReadout(Head):
    """y = the last ``horizon`` steps of W x_i + b, which tells the ``patch`` steps of each patch i.

    (batch, patches, dim) -> (batch, horizon, variables).
    """

    writes = "horizon"
    traits: Traits = Traits(ragged=False)
    examples = ({"patch": 4},)

    def __init__(self, dim: int, horizon: int, variables: int, *, patch: int = 8) -> None:
        super().__init__()
        self.horizon, self.patch, self.tokens = horizon, patch, -(-horizon // patch)
        self.linear = nn.Linear(dim, patch * variables)

    def forward(
        self, x: Float[Tensor, "batch patches dim"], layout: Layout | None = None
    ) -> Float[Tensor, "batch horizon variables"]:
        if x.shape[1] < self.tokens:
            raise VariorumError("HorizonReadout", expected=f"at least {self.tokens} patches",
                                found=f"{x.shape[1]}", do="Pass the patches of the whole window.")  # fmt: skip
        steps = self.linear(x[:, x.shape[1] - self.tokens :]).unflatten(-1, (self.patch, -1)).flatten(1, 2)
        return steps[:, steps.shape[1] - self.horizon :]

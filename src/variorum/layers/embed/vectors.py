"""Tokens of vectors that are given."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits
from variorum.layers.positions.none import NoPosition


class VectorEmbed(Embed):
    """x_t = position(W v_t + b): (*tokens, features) -> (*tokens, dim).

    Garg et al. 2022, arXiv:2208.01066: how a prompt of points and values is read in.
    """

    reads = "features"
    examples = ({"features": 16},)

    def __init__(self, dim: int, features: int, *, position: Spec[Position] = NoPosition.spec()) -> None:
        super().__init__()
        self.linear = nn.Linear(features, dim)
        self.position = position.build(dim=dim)

    @property
    def traits(self) -> Traits:
        """Those of the position."""
        return self.position.traits

    def forward(
        self, inputs: Float[Tensor, "*tokens features"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        return self.position(self.linear(inputs), layout), layout

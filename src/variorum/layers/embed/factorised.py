"""Factorised embedding: a narrow table, then a projection. Lan et al. 2019, arXiv:1909.11942."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Spec, Traits
from variorum.layers.embed.tokens import TokenEmbed


class FactorisedEmbed(Embed):
    """y = W e(inputs) (+ b), the inner embed ``width`` wide: vocab * width + width * dim parameters for vocab * dim.

    Lan et al. 2019, arXiv:1909.11942, section 3.1.
    """

    examples = ({"embed": TokenEmbed.spec(), "width": 4},)

    def __init__(self, dim: int, *, embed: Spec[Embed], width: int = 128, bias: bool = True) -> None:
        super().__init__()
        self.embed = embed.build(dim=width)
        self.reads, self.tokens = self.embed.reads, self.embed.tokens
        self.project = nn.Linear(width, dim, bias=bias)

    @property
    def traits(self) -> Traits:
        """Those of the inner embed."""
        return self.embed.traits

    def forward(
        self, inputs: Tensor, layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        x, layout = self.embed(inputs, layout)
        return self.project(x), layout

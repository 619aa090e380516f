"""An embedding that is normed before the first block sees it. Devlin et al. 2018, arXiv:1810.04805."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Spec, Traits
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.norms.layernorm import LayerNorm


class NormedEmbed(Embed):
    """y = dropout(norm(embed(inputs))). Devlin et al. 2018, arXiv:1810.04805."""

    examples = ({"embed": TokenEmbed.spec()},)

    def __init__(
        self, dim: int, *, embed: Spec[Embed], norm: Spec[Norm] = LayerNorm.spec(), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = embed.build(dim=dim)
        self.reads, self.tokens = self.embed.reads, self.embed.tokens
        self.norm = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    @property
    def traits(self) -> Traits:
        """Those of the inner embed and the norm."""
        return self.embed.traits.along(self.norm.traits)

    def forward(
        self, inputs: Tensor, layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        x, layout = self.embed(inputs, layout)
        return self.dropout(self.norm(x)), layout

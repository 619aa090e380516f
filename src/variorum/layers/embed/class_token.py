"""A learned token before each row, to be read by the head. Devlin et al. 2018, arXiv:1810.04805."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Position, Spec, Traits
from variorum.layers.embed.patches import Patches
from variorum.layers.positions.none import NoPosition


class ClassToken(Embed):
    """[c, x_1, ..., x_n] + positions, x the tokens of ``embed``: (*tokens) -> one token more in each row.

    Devlin et al. 2018, arXiv:1810.04805; Dosovitskiy et al. 2020, arXiv:2010.11929. The row is no longer a grid.
    Positions belong here, not to the inner embed. std: of the token's normal initial values.
    """

    examples = ({"embed": Patches.spec(patch=4)},)

    def __init__(
        self,
        dim: int,
        *,
        embed: Spec[Embed],
        position: Spec[Position] = NoPosition.spec(),
        dropout: float = 0.0,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.embed = embed.build(dim=dim)
        self.reads = self.embed.reads
        self.tokens = None if self.embed.tokens is None else self.embed.tokens + 1
        self.token = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.token, std=std)
        self.position = position.build(dim=dim, length=self.tokens)
        self.dropout = nn.Dropout(dropout)

    @property
    def traits(self) -> Traits:
        """Those of the inner embed, but for order and grid."""
        return self.embed.traits.but(causal=False, streams=False, equivariant=False, grid=0)

    def forward(
        self, inputs: Tensor, layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        x, layout = self.embed(inputs, layout)
        x, layout = prepend(x, layout, self.token)
        return self.dropout(self.position(x, layout)), layout


def prepend(x: Tensor, layout: Layout | None, token: Tensor) -> tuple[Tensor, Layout | None]:
    """``token`` (dim) put before each row of ``x``, in either form."""
    if layout is None or layout.offsets is None:
        return torch.cat([token.expand(x.shape[0], 1, -1).to(x.dtype), x], dim=1), None
    offsets = layout.offsets + torch.arange(len(layout.offsets), device=x.device)
    moved = torch.arange(x.shape[0], device=x.device) + layout.row_of + 1
    out = token.to(x.dtype).expand(int(offsets[-1]), -1).index_copy(0, moved, x)
    return out, Layout(offsets=offsets)

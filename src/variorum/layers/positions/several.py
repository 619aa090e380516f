"""More than one kind of position, one after the other."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Position, Spec, Traits, promises
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.segment import Segment


class Several(Position):
    """y = p_k(... p_1(x)): a place in the row and a segment, for instance."""

    examples = ({"parts": [LearnedPosition.spec(length=64), Segment.spec()]},)

    def __init__(self, dim: int, *, parts: Sequence[Spec[Position]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part.build(dim=dim) for part in parts)

    @property
    def traits(self) -> Traits:
        """Those of the parts one after the other."""
        return promises(self.parts)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        for part in self.parts:
            x = part(x, layout)
        return x

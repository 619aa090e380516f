"""Attention of all rows of a table to the labelled ones. Hollmann et al. 2022, arXiv:2207.01848."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Growth, Layout, Memory, Mixer, Traits
from variorum.layers.embed.labelled_rows import LABELLED
from variorum.layers.mixers.attention import Attention


class LabelledAttention(Mixer):
    """Softmax attention whose keys are the tokens of segment LABELLED: the others ask, and are never looked at.

    Hollmann et al. 2022, arXiv:2207.01848. No square mask is formed: n tokens of which m are labelled cost n * m. Where
    nothing is labelled the answer is that of no value at all; without segments every token is labelled.
    """

    traits: Traits = Traits(equivariant=True, growth=Growth.QUADRATIC, exports=False)
    examples = ({"heads": 2},)

    def __init__(self, dim: int, *, heads: int = 4) -> None:
        super().__init__()
        self.inner = Attention.spec(heads=heads).build(dim=dim)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if layout is None or layout.segments is None:
            return self.inner(x, layout)
        labelled = layout.segments == LABELLED
        if layout.packed:
            counts = torch.zeros(len(layout.lengths), dtype=torch.int64).index_add(0, layout.row_of, labelled.long())
        else:
            counts = labelled.sum(dim=1)
        return self.inner(x, layout, Memory(x[labelled], Layout.ragged(counts)))

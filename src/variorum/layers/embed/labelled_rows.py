"""One token a row of a table, with its label where it has one. Hollmann et al. 2022, arXiv:2207.01848."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Traits, VariorumError

LABELLED, ASKED = 0, 1
"""Segments: rows whose label is known, and rows whose label is asked for."""


class LabelledRows(Embed):
    """t_i = W_x (features / d) [x_i, 0] + b_x, plus w_y y_i + b_y where the label is known.

    Hollmann et al. 2022, arXiv:2207.01848. (*tokens, d + 1) with d <= ``features`` columns and the label last, NaN
    where it is asked for -> (*tokens, dim), ``layout.segments`` LABELLED or ASKED. More columns raise VariorumError.
    """

    reads = "labelled rows"
    traits: Traits = Traits(equivariant=True)
    examples = ({"features": 5},)

    def __init__(self, dim: int, *, features: int = 100) -> None:
        super().__init__()
        self.features = features
        self.row = nn.Linear(features, dim)
        self.label = nn.Linear(1, dim)
        with torch.no_grad():  # drawn as usual it is faint beside the rescaled columns, and fitting is slower
            self.label.weight.mul_(3)

    def forward(
        self, inputs: Float[Tensor, "*tokens columns"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout]:
        columns = inputs.shape[-1] - 1
        if not 0 < columns <= self.features:
            raise VariorumError("table", expected=f"1 to {self.features} columns beside the label", found=str(columns),
                                do="Choose columns, or build the model with more features.")  # fmt: skip
        x, y = inputs[..., :columns] * (self.features / columns), inputs[..., columns:]
        asked = y.isnan()
        token = self.row(F.pad(x, (0, self.features - columns)))
        token = token + self.label(y.masked_fill(asked, 0)).masked_fill(asked, 0)
        return token, (layout or Layout()).but(segments=asked.squeeze(-1).long())

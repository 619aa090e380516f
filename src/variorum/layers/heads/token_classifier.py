"""A class for each token. Devlin et al. 2018, arXiv:1810.04805."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Traits
from variorum.core.traits import POINTWISE


class TokenClassifier(Head):
    """logits_t = W x_t + b: (*tokens, dim) -> (*tokens, classes). Devlin et al. 2018, arXiv:1810.04805."""

    writes = "token class"
    traits: Traits = POINTWISE

    def __init__(self, dim: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, classes)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None
    ) -> Float[Tensor, "*tokens classes"]:
        return self.linear(self.dropout(x))

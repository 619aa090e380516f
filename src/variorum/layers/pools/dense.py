"""A pooled vector transformed once more. Devlin et al. 2018, arXiv:1810.04805."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Pool, Spec, Traits
from variorum.layers.channels.activation import Activation
from variorum.layers.pools.first import FirstToken


class DensePool(Pool):
    """y = act(W pool(x) + b). Devlin et al. 2018, arXiv:1810.04805: tanh, of the first token.

    dropout: of the pooled vector, before W.
    """

    traits: Traits = Traits()

    def __init__(
        self,
        dim: int,
        *,
        pool: Spec[Pool] = FirstToken.spec(),
        activation: Activation = Activation.TANH,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = pool.build(dim=dim)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, dim)
        self.activation = activation.function

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "rows dim"]:
        return self.activation(self.linear(self.dropout(self.pool(x, layout))))

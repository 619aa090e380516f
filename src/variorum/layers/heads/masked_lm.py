"""Scores of the vocabulary after one more transformation of each token. Devlin et al. 2018, arXiv:1810.04805."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Head, Layout, Norm, Spec, Traits
from variorum.core.traits import POINTWISE
from variorum.layers.channels.activation import Activation
from variorum.layers.norms.layernorm import LayerNorm


class MaskedLMHead(Head):
    """logits_t = W_u norm(act(W_f x_t + b_f)) (+ b_u): (*tokens, dim) -> (*tokens, vocab).

    Devlin et al. 2018, arXiv:1810.04805; Phuong & Hutter 2022, arXiv:2207.09238, algorithm 9 (without b_u).
    hidden: width between the two, ``dim`` unless given (ALBERT's and ELECTRA's is their embedding's).
    """

    writes = "tokens"
    traits: Traits = POINTWISE

    def __init__(
        self,
        dim: int,
        vocab: int,
        *,
        hidden: int | None = None,
        activation: Activation = Activation.GELU,
        norm: Spec[Norm] = LayerNorm.spec(),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, hidden or dim)
        self.activation = activation.function
        self.norm = norm.build(dim=hidden or dim)
        self.linear = nn.Linear(hidden or dim, vocab, bias=bias)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens vocab"]:
        return self.linear(self.norm(self.activation(self.transform(x))))

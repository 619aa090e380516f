"""The joint network of a transducer: what was heard meets what was said. Graves 2012, arXiv:1211.3711."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Part
from variorum.layers.channels.activation import Activation


class Joint(Part):
    """logits = W_o dropout(act(W_h h + W_s s + b)): h (*nodes, dim), s (*nodes, labels) -> (*nodes, vocab).

    Graves, Mohamed & Hinton 2013, arXiv:1303.5778, section 3.2. One node is a token t of the encoder beside a state u
    of the prediction network. dim, labels: widths of the two.    hidden: width in between.
    """

    examples = ({"labels": 8, "hidden": 12},)

    def __init__(
        self,
        dim: int,
        labels: int,
        vocab: int,
        *,
        hidden: int = 640,
        activation: Activation = Activation.RELU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heard_in = nn.Linear(dim, hidden)
        self.said_in = nn.Linear(labels, hidden)
        self.activation = activation.function
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, vocab)

    def forward(
        self, heard: Float[Tensor, "*nodes dim"], said: Float[Tensor, "*nodes labels"]
    ) -> Float[Tensor, "*nodes vocab"]:
        return self.meet(*self.project(heard, said))

    def project(self, heard: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """(*, dim), (*, labels) -> (*, hidden) each: once for each t and each u, not for each pair of them."""
        return self.heard_in(heard), self.said_in(said)

    def meet(self, heard: Tensor, said: Tensor) -> Tensor:
        """The projections of nodes, (*nodes, hidden) each -> (*nodes, vocab)."""
        return self.out(self.dropout(self.activation(heard + said)))

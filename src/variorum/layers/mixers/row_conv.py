"""A convolution along the row, looking both ways. Beside attention: He et al. 2020, arXiv:2006.03654."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Traits, VariorumError, each_row
from variorum.layers.channels.activation import Activation


class RowConv(Mixer):
    """y_t = act(b + sum_s W_s x_{t+s}), |s| <= (kernel - 1) / 2, zeros beyond the row.

    kernel: odd width.    groups: of channels that are mixed apart.    dropout: before the activation.
    """

    traits: Traits = Traits()
    examples = ({"kernel": 3}, {"kernel": 5, "groups": 2, "activation": Activation.TANH})

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 3,
        groups: int = 1,
        activation: Activation = Activation.GELU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or dim % groups:
            raise VariorumError(
                "RowConv",
                expected="an odd kernel and groups that divide dim",
                found=f"kernel {kernel}, groups {groups}, dim {dim}",
                do="Choose others.",
            )
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        self.activation = activation.function
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if memory is not None:
            raise VariorumError("RowConv", expected="no memory", found="one", do="Attend to it with Attention.")
        out = each_row(lambda rows: self.conv(rows.transpose(1, 2)).transpose(1, 2), layout, x)
        return self.activation(self.dropout(out))

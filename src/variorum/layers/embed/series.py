"""Tokens of a time series: one for each step. Zhou et al. 2020, arXiv:2012.07436, appendix B."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Position, Spec, Traits, VariorumError
from variorum.layers.norms.identity import NoNorm
from variorum.layers.positions.sinusoid import Sinusoid


class SeriesEmbed(Embed):
    """x_t = dropout(norm(conv(values)_t + W calendar_t + position_t)), a circular convolution of 3 along the row.

    Zhou et al. 2020, arXiv:2012.07436. (batch, n, variables + calendar) -> (batch, n, dim); the first ``variables``
    channels are values, the rest features of the calendar.
    """

    reads = "series"
    traits: Traits = Traits(ragged=False)

    def __init__(
        self,
        dim: int,
        variables: int,
        calendar: int,
        *,
        position: Spec[Position] = Sinusoid.spec(),
        norm: Spec[Norm] = NoNorm.spec(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.variables = variables
        self.values = nn.Conv1d(variables, dim, 3, padding=1, padding_mode="circular", bias=False)
        self.calendar = nn.Linear(calendar, dim, bias=False) if calendar else None
        self.position = position.build(dim=dim)
        self.norm = norm.build(dim=dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch n features"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout | None]:
        if layout is not None and layout.packed:
            raise VariorumError(
                "SeriesEmbed", expected="equal rows", found="packed rows", do="Pass rows of one length."
            )
        x = self.values(inputs[..., : self.variables].transpose(1, 2)).transpose(1, 2)
        if self.calendar is not None:
            x = x + self.calendar(inputs[..., self.variables :])
        return self.dropout(self.norm(self.position(x, layout))), layout

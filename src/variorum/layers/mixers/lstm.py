"""The long short-term memory. Hochreiter & Schmidhuber 1997."""

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, State, Streaming, Traits, each_row


class LSTM(Mixer, Streaming):
    """h_t = o_t tanh(c_t), c_t = f_t c_{t-1} + i_t g_t: gates sigmoid, g tanh, each of W x_t + U h_{t-1} + b.

    Hochreiter & Schmidhuber 1997, with forget gates (Gers et al. 2000). The state is h and c, of width dim.
    """

    traits: Traits = Traits(causal=True, streams=True, exports=False)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cell = nn.LSTM(dim, dim, batch_first=True)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return each_row(lambda rows: self.cell(rows)[0] if rows.numel() else rows, layout, x)

    def start(self, batch: int) -> State:
        blank = next(self.parameters()).new_zeros(batch, self.cell.hidden_size)
        return State(hidden=blank, cell=blank.clone())

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        def go_on(rows: Tensor, state: State) -> tuple[Tensor, State]:
            if not rows.numel():
                return rows, state
            before = (state.tensor("hidden")[None], state.tensor("cell")[None])
            y, (hidden, cell) = self.cell(rows, before)
            return y, State(hidden=hidden[0], cell=cell[0])

        return each_row(go_on, layout, x, state=state)

"""Sums of the past with a weight for each lag, times a map of the present. Chen 2023, arXiv:2308.07661."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Growth, Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.kernels.long_conv import long_conv
from variorum.layers.positions.learned import check_length


class Lags(StrEnum):
    """What there is for each lag: a matrix, a number for each channel, or one number."""

    MATRIX = "matrix"
    VECTOR = "vector"
    SCALAR = "scalar"


class Extractor(Mixer, Streaming):
    """y_t = W_o (e_t * a_t) + b_o, e_t = sum_{i <= t} w_(t - i) x_i + b_t, a_t = W_a x_t + b_a.

    Chen 2023, arXiv:2308.07661: the weights w belong to lags, the constants b_t to positions, and there are no queries,
    no keys and no softmax. A row may have ``length`` tokens, as many as there are lags; a longer one raises an error.

    lags: of w.    adjusted: False leaves a_t out.
    Matrices cost n^2 dim^2 for a row of n, numbers n^2 dim, and vectors n log n by Fourier transforms. A stream keeps
    the last length - 1 tokens.
    """

    examples = (
        {"length": 64, "lags": Lags.MATRIX},
        {"length": 64, "lags": Lags.VECTOR},
        {"length": 64, "lags": Lags.SCALAR},
        {"length": 64, "lags": Lags.SCALAR, "adjusted": False},
    )

    def __init__(self, dim: int, length: int, *, lags: Lags = Lags.VECTOR, adjusted: bool = True) -> None:
        super().__init__()
        if length < 1:
            raise VariorumError("Extractor length", expected="1 or more", found=str(length), do="Choose another.")
        self.length, self.lags = length, Lags(lags)
        shape = {Lags.MATRIX: (length, dim, dim), Lags.VECTOR: (length, dim), Lags.SCALAR: (length,)}[self.lags]
        bound = (length * (dim if self.lags is Lags.MATRIX else 1)) ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.offset = nn.Parameter(torch.zeros(length, dim))
        self.adjust = nn.Linear(dim, dim) if adjusted else None
        self.out = nn.Linear(dim, dim)

    @property
    def traits(self) -> Traits:
        """By Fourier transforms, which do not export, the work is n log n; else n^2."""
        vectors = self.lags is Lags.VECTOR
        growth = Growth.LOGLINEAR if vectors else Growth.QUADRATIC
        return Traits(causal=True, streams=True, growth=growth, exports=self.lags is Lags.SCALAR)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        return self._adjusted(x, each_row(self._extract, layout, x))

    def start(self, batch: int) -> State:
        last = self.offset.new_zeros(batch, self.length - 1, self.offset.shape[1])
        return State(last=last, length=torch.zeros(batch, dtype=torch.int64, device=last.device))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        y, state = each_row(self._go_on, layout, x, state=state)
        return self._adjusted(x, y), state

    def _extract(self, rows: Tensor) -> Tensor:
        """e of equal rows (batch, n, dim) from their beginning."""
        n = rows.shape[1]
        check_length(n, self.length)
        if self.lags is Lags.VECTOR:
            return long_conv(rows, self.weight.T) + self.offset[:n]
        if self.lags is Lags.SCALAR:
            return self._weighed(rows, 0) + self.offset[:n]
        return self._summed(F.pad(rows, (0, 0, n - 1, 0)), n) + self.offset[:n]

    def _go_on(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        """The direct form, over the tokens before and the new ones."""
        first, n = state.tensor("length"), rows.shape[1]
        where = first[:, None] + torch.arange(n, device=rows.device)
        if where.numel() and not torch.compiler.is_compiling():  # a graph cannot look at them
            check_length(int(where.max()) + 1, self.length)
        seen = torch.cat([state.tensor("last").to(rows.dtype), rows], dim=1)
        after = State(last=seen[:, seen.shape[1] - self.length + 1 :], length=first + n)
        scalar = self.lags is Lags.SCALAR
        found = self._weighed(seen, self.length - 1) if scalar else self._summed(seen, self.length)
        return found + self.offset[where], after

    def _weighed(self, seen: Tensor, before: int) -> Tensor:
        """sum_l w_l seen_(t - l) for one number a lag, from t = ``before`` on: (batch, before + n, dim) -> n tokens."""
        where = torch.arange(seen.shape[1], device=seen.device)
        lag = where[before:, None] - where
        inside = (lag >= 0) & (lag < self.length)
        return self.weight[lag.clamp(0, self.length - 1)].masked_fill(~inside, 0.0) @ seen

    def _summed(self, seen: Tensor, lags: int) -> Tensor:
        """sum_l w_l seen_(t - l) by a convolution over ``lags`` lags: (batch, lags - 1 + n, dim) -> (batch, n, dim)."""
        taps = self.weight[:lags].flip(0)
        if self.lags is Lags.VECTOR:
            return F.conv1d(seen.mT, taps.T.unsqueeze(1), groups=seen.shape[2]).mT
        return F.conv1d(seen.mT, taps.permute(1, 2, 0)).mT

    def _adjusted(self, x: Tensor, extracted: Tensor) -> Tensor:
        return self.out(extracted if self.adjust is None else extracted * self.adjust(x))

"""A linear state space for each channel, convolved in training and stepped in use. Gu et al. 2021, arXiv:2111.00396."""

import math
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Growth, Layout, Memory, Mixer, State, Streaming, Traits, VariorumError, each_row
from variorum.layers.mixers.kernels.dplr import (
    StateSpaces,
    dplr_kernel,
    dplr_read,
    dplr_step,
    lengthen,
    truncate,
    untruncate,
)
from variorum.layers.mixers.kernels.hippo import legs_diagonal
from variorum.layers.mixers.kernels.long_conv import long_conv


class StateMatrix(StrEnum):
    """What A is when training starts."""

    LEGS = "legs"
    """HiPPO-LegS: the state holds the whole past (Gu et al. 2020, arXiv:2008.07669)."""
    RANDOM = "random"
    """Lambda = -1/2 + i g with normal g, and normal P and B: the same form without its memory (an ablation)."""


class StateSpace(Mixer, Streaming):
    """y = W gelu(C s + D u) + b, with s' = A s + B u for every channel u of its own, A = Lambda - P P*.

    Gu, Goel & Re 2021, arXiv:2111.00396. A is discretised by the bilinear rule with a learned step for each channel. A
    row is convolved with the kernel C Abar^l Bbar, which comes of Lambda, P and B by four Cauchy sums and a Fourier
    transform; a stream goes through the recurrence, ``state`` numbers for each channel. The real part of Lambda is
    -exp(.), which keeps the recurrence from growing, as the authors' later code has it (Goel et al. 2022,
    arXiv:2202.09729); the output layer is linear as in the paper, not gated as in that code.

    state: N, even.   length: of the kernel whose C (I - Abar^length) is the parameter; longer rows double it at the
    cost of dense powers.   fastest, slowest: steps are drawn log-uniformly between them.   matrix: A at the start.
    A stream keeps the state, and C, which is recovered when the stream starts.
    """

    traits: Traits = Traits(causal=True, streams=True, growth=Growth.LOGLINEAR, exports=False)
    examples = ({"state": 4, "length": 8}, {"state": 8, "length": 4, "matrix": StateMatrix.RANDOM})

    def __init__(
        self,
        dim: int,
        *,
        state: int = 64,
        length: int = 1024,
        slowest: float = 1e-3,
        fastest: float = 1e-1,
        matrix: StateMatrix = StateMatrix.LEGS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if state < 2 or state % 2 or length < 1 or not 0 < slowest <= fastest:
            raise VariorumError("StateSpace", expected="an even state, a length, and 0 < slowest <= fastest",
                                found=f"state {state}, length {length}, slowest {slowest}, fastest {fastest}",
                                do="Choose others.")  # fmt: skip
        self.length = length
        rate = torch.rand(dim) * math.log(fastest / slowest) + math.log(slowest)
        poles, low_rank, inputs = (t.expand(dim, -1) for t in _start(StateMatrix(matrix), state))
        # The kernel's first C is normal; what is kept as a parameter is C (I - Abar^length).
        output = torch.view_as_complex(torch.randn(dim, state // 2, 2, dtype=torch.float64) * 0.5**0.5)
        systems = StateSpaces(rate.double().exp(), poles, low_rank, inputs)
        self.log_step = nn.Parameter(rate)
        self.log_decay = nn.Parameter((-poles.real).log().float())
        self.frequency = nn.Parameter(poles.imag.float().clone())
        self.low_rank, self.inputs, self.output = (
            nn.Parameter(torch.view_as_real(t.resolve_conj()).float().clone())
            for t in (low_rank, inputs, truncate(systems, output, length))
        )
        self.skip = nn.Parameter(torch.randn(dim))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        packed = layout is not None and layout.packed
        kernel = self.kernel(max(layout.lengths, default=0) if layout is not None and packed else x.shape[1])
        return self._answer(x, each_row(lambda rows: long_conv(rows, kernel), layout, x))

    def kernel(self, length: int) -> Float[Tensor, "dim n"]:
        """C Abar^l Bbar for l = 0, 1, ..., at least ``length`` of them."""
        systems = self._systems()
        output, covered = lengthen(systems, _complex(self.output), self.length, length)
        return dplr_kernel(systems, output, covered)

    def start(self, batch: int) -> State:
        systems = self._systems()
        read = torch.view_as_real(untruncate(systems, _complex(self.output), self.length).resolve_conj())
        return State(read=read.expand(batch, *read.shape).clone(), hidden=torch.zeros_like(read).repeat(batch, 1, 1, 1))

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        systems = self._systems()

        def go_on(rows: Tensor, state: State) -> tuple[Tensor, State]:
            hidden, read = (torch.view_as_complex(state.tensor(name)) for name in ("hidden", "read"))
            answers = []
            for u in rows.to(hidden.real.dtype).unbind(dim=1):
                hidden = dplr_step(systems, u, hidden)
                answers.append(dplr_read(read, hidden).to(rows.dtype))
            y = torch.stack(answers, dim=1) if answers else rows
            return y, State(read=state.tensor("read"), hidden=torch.view_as_real(hidden))

        y, after = each_row(go_on, layout, x, state=state)
        return self._answer(x, y), after

    def _answer(self, x: Tensor, y: Tensor) -> Tensor:
        return self.out(self.dropout(F.gelu(y + self.skip * x)))

    def _systems(self) -> StateSpaces:
        wide = torch.promote_types(self.log_step.dtype, torch.float32)
        poles = torch.complex(-self.log_decay.to(wide).exp(), self.frequency.to(wide))
        return StateSpaces(self.log_step.to(wide).exp(), poles, _complex(self.low_rank), _complex(self.inputs))


def _complex(pairs: Tensor) -> Tensor:
    """(*, 2) real and imaginary parts -> (*) complex, of single precision at least."""
    return torch.view_as_complex(pairs.to(torch.promote_types(pairs.dtype, torch.float32)).contiguous())


def _start(matrix: StateMatrix, state: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lambda, P and B, complex128 (state / 2,)."""
    if matrix is StateMatrix.LEGS:
        return legs_diagonal(state)[:3]
    frequency = torch.randn(state // 2, dtype=torch.float64).abs()
    low_rank, inputs = torch.randn(2, state // 2, dtype=torch.complex128)
    return torch.complex(torch.full_like(frequency, -0.5), frequency), low_rank, inputs

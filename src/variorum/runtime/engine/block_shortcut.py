"""The way through a layer of attention and feed-forward network that is one call: kernels one after another."""

from array import array
from collections.abc import Sequence
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor

from variorum.core import Layout, State
from variorum.core.layout import positions
from variorum.layers.mixers.kernels.decode_step import BoundStep
from variorum.layers.mixers.kernels.row_attention import BoundRows
from variorum.layers.native.chain import Chain, Link
from variorum.layers.native.tally import tell
from variorum.models.blocks.block import Block, Shortcut
from variorum.runtime.engine import caches
from variorum.runtime.engine.caches import CACHES
from variorum.runtime.engine.layer_kernels import Attend, LayerKernels, LayerPass, Room, step, threads_for, whole
from variorum.runtime.engine.passes import Passes
from variorum.runtime.engine.precision import Precision

A = TypeVar("A", bound=Link)


class BlockShortcut(Shortcut):
    """The kernels of one layer (:class:`LayerKernels`) in one call."""

    def __init__(self, block: Block, precision: Precision) -> None:
        self.kernels = LayerKernels(block, precision)
        self._passes: Passes[_Pass[BoundRows] | _Pass[BoundStep]] = Passes()

    def forward(self, x: Tensor, layout: Layout | None) -> Tensor | None:
        if not self._able(x):
            return None
        if not x.numel():
            return torch.empty_like(x)
        offsets, reach = _offsets(x, layout), self.kernels.attention.reach
        if reach is not None and int(offsets.diff().max()) > reach:
            return None
        return self._among(self._pass(x, whole), x, layout, offsets)

    def _pass(self, x: Tensor, attend: Attend[A]) -> "_Pass[A]":
        rows = x.numel() // x.shape[-1]
        made: _Pass[A] = self._passes.of(rows, attend, partial(_Pass, self.kernels, rows, attend))  # type: ignore[assignment, arg-type]
        return made

    def _among(self, made: "_Pass[BoundRows]", x: Tensor, layout: Layout | None, offsets: Tensor) -> Tensor:
        """Answers to rows each of which sees itself."""
        made.attend.place(offsets)
        tell("attention", lambda: 4 * self.kernels.width * int(offsets.diff().square().sum()))
        where = None if made.places is None else positions(x, layout).expand(x.shape[:-1]).reshape(-1).contiguous()
        return made.run(x.reshape(-1, x.shape[-1]).contiguous(), where).view(x.shape)

    def advance(self, x: Tensor, state: State, layout: Layout | None) -> tuple[Tensor, State] | None:
        if not self._able(x) or not x.numel() or self.kernels.steps is None:
            return None
        told = state.tensor("length").tolist()
        if min(told, default=-1) < 0 or not caches.Pair.of(state).known:
            return None
        if layout is None or not layout.packed:
            return self._go_on(x, state, told) if x.dim() == 3 and x.shape[1] == 1 else None
        return None if any(told) else self._read(x, state, layout)

    def _go_on(self, x: Tensor, state: State, told: Sequence[int]) -> tuple[Tensor, State] | None:
        """One new token of each row, (rows, 1, dim), behind so many."""
        length, made = state.tensor("length"), self._pass(x, step)
        slots = caches.slots(length, self.kernels.attention.reach)
        after = self.placed(made.attend, state, told, slots, made.threads)
        if after is None:
            return None
        tell("attention", partial(self.attended, slots))
        y = made.run(x.reshape(-1, x.shape[-1]).contiguous(), length).view(x.shape)
        return y, State(**after._asdict(), length=length + 1)

    def placed(
        self, attend: BoundStep, state: State, told: Sequence[int], slots: Tensor, threads: int
    ) -> caches.Pair | None:
        """The caches after a token more of each row, ``told`` tokens long, which goes to its slot (rows,), as the next
        call of a step uses them; None for such as it does not take.
        """
        reach = self.kernels.attention.reach
        if reach is None:
            return caches.placed(attend, state, told, slots, threads)
        return caches.moved(attend, state, told, slots, reach, threads)

    def attended(self, slots: Tensor) -> int:
        """Multiplications and additions of new tokens that go to these slots (rows,)."""
        return 4 * self.kernels.width * int((slots + 1).sum())

    def _read(self, x: Tensor, state: State, layout: Layout) -> tuple[Tensor, State] | None:
        """Packed tokens (tokens, dim) of rows that have none before them, which are kept."""
        reach, offsets = self.kernels.attention.reach, _offsets(x, layout)
        counts = offsets.diff()
        if self.kernels.qkv.gives is not torch.float32 or (reach is not None and int(counts.max()) > reach):
            return None
        made = self._pass(x, whole)
        y = self._among(made, x, layout, offsets)
        keys, values = (
            caches.filled(state[name], new, layout, reach) for name, new in zip(CACHES, made.new, strict=True)
        )
        return y, State(keys=keys, values=values, length=counts)

    @property
    def watched(self) -> bool:
        """Does somebody listen to what is between kernels?"""
        return self.kernels.attention.heard("weights")

    def _able(self, x: Tensor) -> bool:
        return able(x, self.kernels.dim) and not self.watched


def able(x: Tensor, dim: int) -> bool:
    """Can kernels be given these tokens (..., dim), for an answer that nobody differentiates?"""
    fits = x.dtype == torch.float32 and x.is_cpu and x.shape[-1] == dim
    return fits and not (torch.is_grad_enabled() or torch.compiler.is_compiling())


class _Pass(Generic[A]):
    """A layer for so many rows as one call: what lies between its kernels stays in the same place."""

    def __init__(self, kernels: LayerKernels, rows: int, attend: Attend[A]) -> None:
        x, y = (torch.empty(rows, kernels.dim) for _ in range(2))
        self._layer = layer = LayerPass(kernels, x, y, attend, Room())
        self.attend, self.places, self.new = layer.attend, layer.places, layer.new
        self._chain = Chain(layer.links)
        self._sources, self._answers = (self._where(t) for t in (x, y))
        self._work = rows * kernels.weights
        self.threads = threads_for(self._work)

    def run(self, x: Tensor, where: Tensor | None) -> Tensor:
        """The layer's answers to rows (rows, dim), contiguous, that stand at positions ``where`` (rows,)."""
        y = torch.empty_like(x)
        for places, tensor in ((self._sources, x), (self._answers, y)):
            address = tensor.data_ptr()
            for table, i in places:
                table[i] = address
        if self.places is not None and where is not None:
            self.places.place(where)
        self._chain(self.threads)
        tell("products", lambda: 2 * self._work)
        return y

    def _where(self, tensor: Tensor) -> list[tuple["array[int]", int]]:
        """Where in the chain's tables a tensor's address stands."""
        address = tensor.data_ptr()
        return [(table, i) for table in self._chain.tables for i, told in enumerate(table) if told == address]


def _offsets(x: Tensor, layout: Layout | None) -> Tensor:
    if layout is not None and layout.offsets is not None:
        return layout.offsets
    batch, n = x.shape[:2]
    return torch.arange(0, batch * n + 1, n)

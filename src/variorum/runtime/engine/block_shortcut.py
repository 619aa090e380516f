"""The way through a layer of attention and feed-forward network that is one call: kernels one after another."""

import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from variorum.core import Layout, State
from variorum.core.layout import positions
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.kernels.decode_step import BoundStep
from variorum.layers.mixers.kernels.row_attention import BoundRows
from variorum.layers.mixers.kernels.token_code import Heads
from variorum.layers.native.chain import Chain, Link
from variorum.layers.native.tally import tell
from variorum.models.blocks.block import Block, Shortcut
from variorum.runtime.engine import caches
from variorum.runtime.engine.caches import CACHES
from variorum.runtime.engine.joins import Join, join_of
from variorum.runtime.engine.linears.choose import NUMBERS, inner_type
from variorum.runtime.engine.linears.native import NativeLinear
from variorum.runtime.engine.moving_window import moved_on
from variorum.runtime.engine.places import places_of
from variorum.runtime.engine.precision import Precision

_FEW, _KEPT = 64, 16
"""Rows up to which what lies between kernels is kept for the next call; and of how many numbers of rows it is."""
_ALONE = 1 << 17
"""Layers of so many multiplications are done by one thread: another would take longer to wake."""
A = TypeVar("A", bound=Link)


class BlockShortcut(Shortcut):
    """W_qkv norm(x); norms and turns of queries and keys; attention; x + W_o [heads]; act(W_1 norm(x)); x + W_2 of
    that: each is a kernel, and so is a norm that stands behind a product.

    Between kernels numbers are bfloat16 where the precision multiplies less than float32; the sum, and a cache, stay
    float32.
    """

    def __init__(self, block: Block, precision: Precision) -> None:
        attention, channels = cast(Attention, block.mixer), cast(MLP | GLU, block.channels)
        assert channels.built_from is not None  # refused otherwise
        self.attention, self.numbers, inner = attention, NUMBERS[precision], inner_type(precision)
        first, second = (cast(Join, join_of(join)) for join in (block.mixer_residual, block.channels_residual))
        self.joins = first, second
        exact = attention.rotation is not None or attention.key_norm is not None or attention.pattern.causal
        gives = torch.float32 if exact else inner
        self.qkv = first.reading(cast(nn.Linear, attention.qkv), self.numbers, gives=gives)
        self.out = self._writing(attention.out)
        gated = isinstance(channels, GLU)
        up = channels.gate_up if isinstance(channels, GLU) else channels.up
        after = Activation(channels.built_from["activation"])
        self.up = second.reading(cast(nn.Linear, up), self.numbers, gives=inner, after=after, gated=gated)
        self.down = self._writing(channels.down)
        self.weights = sum(linear.weight.numel() for linear in (self.qkv, self.out, self.up, self.down))
        kv = torch.empty(1, 1, attention.kv_heads, attention.head_dim)
        self.steps = Heads.of(torch.empty(1, attention.heads, attention.head_dim), kv)
        self.places = places_of(attention)
        self._passes = _Passes()

    def _writing(self, linear: nn.Module) -> NativeLinear:
        linear = cast(nn.Linear, linear)
        return NativeLinear(linear.weight, linear.bias, numbers=self.numbers)

    def forward(self, x: Tensor, layout: Layout | None) -> Tensor | None:
        if not self._able(x):
            return None
        if not x.numel():
            return torch.empty_like(x)
        offsets, reach = _offsets(x, layout), self.attention.reach
        if reach is not None and int(offsets.diff().max()) > reach:
            return None
        made = self._passes.of(self, x.numel() // x.shape[-1], _whole)
        return self._among(made, x, layout, offsets)

    def _among(self, made: "_Pass[BoundRows]", x: Tensor, layout: Layout | None, offsets: Tensor) -> Tensor:
        """Answers to rows each of which sees itself."""
        made.attend.place(offsets)
        tell("attention", lambda: 4 * made.width * int(offsets.diff().square().sum()))
        where = None if made.places is None else positions(x, layout).expand(x.shape[:-1]).reshape(-1).contiguous()
        return made.run(x.reshape(-1, x.shape[-1]).contiguous(), where).view(x.shape)

    def advance(self, x: Tensor, state: State, layout: Layout | None) -> tuple[Tensor, State] | None:
        if not self._able(x) or not x.numel() or self.steps is None:
            return None
        told = state.tensor("length").tolist()
        if min(told, default=-1) < 0 or not caches.known(state):
            return None
        if layout is None or not layout.packed:
            return self._go_on(x, state, told) if x.dim() == 3 and x.shape[1] == 1 else None
        return None if any(told) else self._read(x, state, layout)

    def _go_on(self, x: Tensor, state: State, told: Sequence[int]) -> tuple[Tensor, State] | None:
        """One new token of each row, (rows, 1, dim), behind so many."""
        length, reach = state.tensor("length"), self.attention.reach
        made = self._passes.of(self, len(x), _step)
        if reach is None:
            used, slots = max(told), length
            after = caches.placed(made.attend, state, told, used + 1, made.threads)
        else:
            used, slots = min(told[0], reach - 1), length.clamp_max(reach - 1)
            if any(min(n, reach - 1) != used for n in told):
                return None
            (keys, first), (values, second) = (moved_on(state.tensor(name), used) for name in CACHES)
            made.attend.place(keys, values, slots, used + 1, made.threads)
            after = caches.Pair(first, second)
        if after is None:
            return None
        tell("attention", lambda: 4 * made.width * int((slots + 1).sum()))
        y = made.run(x.reshape(-1, x.shape[-1]).contiguous(), length).view(x.shape)
        return y, State(**after._asdict(), length=length + 1)

    def _read(self, x: Tensor, state: State, layout: Layout) -> tuple[Tensor, State] | None:
        """Packed tokens (tokens, dim) of rows that have none before them, which are kept."""
        reach, offsets = self.attention.reach, _offsets(x, layout)
        counts = offsets.diff()
        if self.qkv.gives is not torch.float32 or (reach is not None and int(counts.max()) > reach):
            return None
        made = self._passes.of(self, len(x), _whole)
        y = self._among(made, x, layout, offsets)
        keys, values = (
            caches.filled(state[name], new, layout, reach) for name, new in zip(CACHES, made.new, strict=True)
        )
        return y, State(keys=keys, values=values, length=counts)

    def _able(self, x: Tensor) -> bool:
        fits = x.dtype == torch.float32 and x.is_cpu and x.shape[-1] == self.qkv.in_features
        watched = self.attention.heard("weights") or torch.is_grad_enabled() or torch.compiler.is_compiling()
        return fits and not watched


class _Pass(Generic[A]):
    """A layer for so many rows as one call: what lies between its kernels stays in the same place."""

    def __init__(self, short: BlockShortcut, rows: int, attend: "_Attend[A]") -> None:
        part, (first, second) = short.attention, short.joins
        heads, wide = part.heads + 2 * part.kv_heads, short.qkv.gives
        qkv = torch.empty(rows, heads, part.head_dim, dtype=wide)
        answer = torch.empty(rows, part.heads, part.head_dim, dtype=wide)
        x, middle, y = (torch.empty(rows, short.out.out_features) for _ in range(3))
        inner = torch.empty(rows, short.up.out_features, dtype=short.up.gives)
        self._held, self.width = (qkv, answer, middle, inner), part.heads * part.head_dim
        self.places = None if short.places is None else short.places(qkv)
        q, k, v = qkv.split((part.heads, part.kv_heads, part.kv_heads), dim=1)
        self.new = k, v
        self.attend = attend(short, q, k, v, answer)
        links: list[Link] = [
            short.qkv.bound(x, qkv.flatten(1)),
            *([] if self.places is None else [self.places]),
            self.attend,
            *first.links(short.out, answer.flatten(1), x, middle),
            short.up.bound(middle, inner),
            *second.links(short.down, inner, middle, y),
        ]
        self.chain = Chain(links)
        self._sources, self._answers = (self._where(t) for t in (x, y))
        self._work = rows * short.weights
        self.threads = 1 if self._work < _ALONE else torch.get_num_threads()

    def run(self, x: Tensor, where: Tensor | None) -> Tensor:
        """The layer's answers to rows (rows, dim), contiguous, that stand at positions ``where`` (rows,)."""
        y = torch.empty_like(x)
        for places, tensor in ((self._sources, x), (self._answers, y)):
            address = tensor.data_ptr()
            for table, i in places:
                table[i] = address
        if self.places is not None and where is not None:
            self.places.place(where)
        self.chain(self.threads)
        tell("products", lambda: 2 * self._work)
        return y

    def _where(self, tensor: Tensor) -> list[tuple["array[int]", int]]:
        """Where in the chain's tables a tensor's address stands."""
        address = tensor.data_ptr()
        return [(table, i) for table in self.chain.tables for i, told in enumerate(table) if told == address]


_Attend = Callable[[BlockShortcut, Tensor, Tensor, Tensor, Tensor], A]
"""Makes the attention of queries, keys and values (rows, heads, head_dim), and where its answers go."""


def _whole(short: BlockShortcut, q: Tensor, k: Tensor, v: Tensor, answer: Tensor) -> BoundRows:
    part = short.attention
    return BoundRows(q, k, v, answer, scale=part.scale, causal=part.pattern.causal)


def _step(short: BlockShortcut, q: Tensor, k: Tensor, v: Tensor, answer: Tensor) -> BoundStep:
    assert short.steps is not None  # declined otherwise
    return BoundStep(q, k, v, answer, short.steps, scale=short.attention.scale)


class _Passes:
    """A layer's passes by their rows, of each thread of Python its own, for what lies between kernels is written to."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: object) -> "_Passes":
        return _Passes()

    def of(self, short: BlockShortcut, rows: int, attend: _Attend[A]) -> _Pass[A]:
        """The pass for so many rows; one for many rows is not kept."""
        if rows > _FEW:
            return _Pass(short, rows, attend)
        made: dict[tuple[_Attend[A], int, int], _Pass[A]] = self._local.__dict__.setdefault("made", {})
        key = attend, rows, torch.get_num_threads()
        if key not in made:
            if len(made) >= _KEPT:
                made.pop(next(iter(made)))
            made[key] = _Pass(short, rows, attend)
        return made[key]


def _offsets(x: Tensor, layout: Layout | None) -> Tensor:
    if layout is not None and layout.offsets is not None:
        return layout.offsets
    batch, n = x.shape[:2]
    return torch.arange(0, batch * n + 1, n)

"""A layer of attention and feed-forward network as kernels one after another, for so many rows."""

from collections.abc import Callable
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.kernels.decode_step import BoundStep
from variorum.layers.mixers.kernels.row_attention import BoundRows
from variorum.layers.mixers.kernels.token_code import Heads
from variorum.layers.native.chain import Link
from variorum.models.blocks.block import Block
from variorum.runtime.engine.joins import Join, join_of
from variorum.runtime.engine.linears.choose import NUMBERS, inner_type
from variorum.runtime.engine.linears.native import NativeLinear
from variorum.runtime.engine.places import places_of
from variorum.runtime.engine.precision import Precision

_ALONE = 1 << 17
"""So many multiplications are done by one thread: another would take longer to wake."""
A = TypeVar("A", bound=Link)


class LayerKernels:
    """W_qkv norm(x); norms and turns of queries and keys; attention; x + W_o [heads]; act(W_1 norm(x)); x + W_2 of
    that: each is a kernel, and so is a norm that stands behind a product.

    Between kernels numbers are bfloat16 where the precision multiplies less than float32; the sum, and a cache, stay
    float32.
    """

    def __init__(self, block: Block, precision: Precision) -> None:
        attention, channels = cast(Attention, block.mixer), cast(MLP | GLU, block.channels)
        assert channels.built_from is not None  # refused otherwise
        self.attention, self._numbers, inner = attention, NUMBERS[precision], inner_type(precision)
        first, second = (cast(Join, join_of(join)) for join in (block.mixer_residual, block.channels_residual))
        self.joins = first, second
        exact = attention.rotation is not None or attention.key_norm is not None or attention.pattern.causal
        gives = torch.float32 if exact else inner
        self.qkv = first.reading(cast(nn.Linear, attention.qkv), self._numbers, gives=gives)
        self.out = self._writing(attention.out)
        gated = isinstance(channels, GLU)
        up = channels.gate_up if isinstance(channels, GLU) else channels.up
        after = Activation(channels.built_from["activation"])
        self.up = second.reading(cast(nn.Linear, up), self._numbers, gives=inner, after=after, gated=gated)
        self.down = self._writing(channels.down)
        self.dim, self.width = self.qkv.in_features, attention.heads * attention.head_dim
        self.weights = sum(linear.weight.numel() for linear in (self.qkv, self.out, self.up, self.down))
        kv = torch.empty(1, 1, attention.kv_heads, attention.head_dim)
        self.steps = Heads.of(torch.empty(1, attention.heads, attention.head_dim), kv)
        self.places = places_of(attention)

    def _writing(self, linear: nn.Module) -> NativeLinear:
        linear = cast(nn.Linear, linear)
        return NativeLinear(linear.weight, linear.bias, numbers=self._numbers)


class Room:
    """What lies between kernels: the same memory for whoever asks for the same, one layer after another."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], Tensor] = {}

    def of(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Numbers of this shape and type, whatever they are."""
        key = name, shape, dtype
        if key not in self._held:
            self._held[key] = torch.empty(shape, dtype=dtype)
        return self._held[key]


class LayerPass(Generic[A]):
    """A layer's links from rows ``x`` (rows, dim) to ``y``, which may be x; both stay where they are."""

    def __init__(self, kernels: LayerKernels, x: Tensor, y: Tensor, attend: "Attend[A]", room: Room) -> None:
        part, (first, second), rows = kernels.attention, kernels.joins, len(x)
        heads, wide = part.heads + 2 * part.kv_heads, kernels.qkv.gives
        qkv = room.of("qkv", rows, heads, part.head_dim, dtype=wide)
        answer = room.of("answer", rows, part.heads, part.head_dim, dtype=wide)
        middle = room.of("middle", rows, kernels.dim)
        inner = room.of("inner", rows, kernels.up.out_features, dtype=kernels.up.gives)
        self._held = x, y, qkv, answer, middle, inner
        self.places = None if kernels.places is None else kernels.places(qkv)
        q, k, v = qkv.split((part.heads, part.kv_heads, part.kv_heads), dim=1)
        self.new = k, v
        self.attend = attend(kernels, q, k, v, answer)
        self.links: list[Link] = [
            kernels.qkv.bound(x, qkv.flatten(1)),
            *([] if self.places is None else [self.places]),
            self.attend,
            *first.links(kernels.out, answer.flatten(1), x, middle),
            kernels.up.bound(middle, inner),
            *second.links(kernels.down, inner, middle, y),
        ]


Attend = Callable[[LayerKernels, Tensor, Tensor, Tensor, Tensor], A]
"""Makes the attention of queries, keys and values (rows, heads, head_dim), and where its answers go."""


def whole(kernels: LayerKernels, q: Tensor, k: Tensor, v: Tensor, answer: Tensor) -> BoundRows:
    """Of rows each of which sees itself."""
    part = kernels.attention
    return BoundRows(q, k, v, answer, scale=part.scale, causal=part.pattern.causal)


def step(kernels: LayerKernels, q: Tensor, k: Tensor, v: Tensor, answer: Tensor) -> BoundStep:
    """Of one new token a row."""
    assert kernels.steps is not None  # declined otherwise
    return BoundStep(q, k, v, answer, kernels.steps, scale=kernels.attention.scale)


def threads_for(work: int) -> int:
    """As many as so many multiplications are worth."""
    return 1 if work < _ALONE else torch.get_num_threads()

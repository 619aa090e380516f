"""The way of one new token of each row through all layers of a stack that is one call."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from variorum.core import State
from variorum.layers.mixers.kernels.decode_step import BoundStep
from variorum.layers.native.chain import Chain
from variorum.layers.native.tally import tell
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack, StepShortcut
from variorum.runtime.engine import caches
from variorum.runtime.engine.block_shortcut import BlockShortcut, able
from variorum.runtime.engine.layer_kernels import LayerPass, Room, step, threads_for
from variorum.runtime.engine.passes import Passes


class StepsShortcut(StepShortcut):
    """The kernels of all layers in one call, behind caches of rows equally far in every layer.

    Between layers Python is slow at small batches: weights that pass through the processor's caches drive out what it
    needs.
    """

    def __init__(self, layers: Sequence[Block]) -> None:
        self._blocks, self._shorts = layers, [cast(BlockShortcut, block.shortcut) for block in layers]
        self._passes: Passes[_Pass] = Passes()

    def advance(self, x: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]] | None:
        length = states[0].tensor("length")
        if not self._able(x, states, length):
            return None
        told = length.tolist()
        if min(told) < 0:
            return None
        made = self._passes.of(len(x), None, partial(_Pass, self._shorts, len(x)))
        after = made.placed(states, told, length)
        if after is None:
            return None
        more = length + 1
        return made.run(x), [State(**pair._asdict(), length=more) for pair in after]

    def _able(self, x: Tensor, states: Sequence[State], length: Tensor) -> bool:
        return (
            x.shape[:-1] == (len(length), 1)
            and x.numel() > 0
            and length.dtype is torch.int64
            and able(x, self._shorts[0].kernels.dim)
            and not any(block.heard("residual") for block in self._blocks)
            and not any(short.watched for short in self._shorts)
            and all(_same(state.tensor("length"), length) for state in states)
        )


class _Pass:
    """All layers for so many rows: one after another changes the same rows in place."""

    @torch.inference_mode(False)  # torch forbids to write to a tensor made in it from outside
    def __init__(self, shorts: Sequence[BlockShortcut], rows: int) -> None:
        self._shorts, room, layers = shorts, Room(), [short.kernels for short in shorts]
        self._x = torch.empty(rows, layers[0].dim)
        self._layers = [LayerPass[BoundStep](kernels, self._x, self._x, step, room) for kernels in layers]
        self._attends = [layer.attend for layer in self._layers]
        self._chain = Chain([link for layer in self._layers for link in layer.links])
        self._length = torch.empty(rows, dtype=torch.int64)
        reaches = {kernels.attention.reach for kernels in layers}
        self._slots = {reach: torch.empty_like(self._length) for reach in reaches}
        self._slots_of = [self._slots[kernels.attention.reach] for kernels in layers]
        for layer in self._layers:
            if layer.places is not None:
                layer.places.place(self._length)
        self._work = rows * sum(kernels.weights for kernels in layers)
        self._threads = threads_for(self._work)

    def placed(self, states: Sequence[State], told: Sequence[int], length: Tensor) -> list[caches.Pair] | None:
        """The caches of all layers after a token more, with which the next call is made; None where one declines."""
        self._length.copy_(length)
        for reach, slots in self._slots.items():
            slots.copy_(caches.slots(length, reach))
        longest, found = max(told) + 1, list[caches.Pair]()
        for short, attend, slots, state in zip(self._shorts, self._attends, self._slots_of, states, strict=True):
            pair = caches.Pair.of(state)
            if not attend.placed(*pair, slots, longest):
                after = short.placed(attend, state, told, slots, self._threads) if pair.known else None
                if after is None:
                    return None
                pair = after
            found.append(pair)
        tell("attention", self._attended)
        return found

    def _attended(self) -> int:
        return sum(short.attended(slots) for short, slots in zip(self._shorts, self._slots_of, strict=True))

    def run(self, x: Tensor) -> Tensor:
        """What the last layer answers to tokens (rows, 1, dim)."""
        self._x.copy_(x[:, 0])
        self._chain(self._threads)
        tell("products", lambda: 2 * self._work)
        return self._x[:, None].clone()


def shorten(model: nn.Module) -> None:
    """Give every stack in a model, all of whose layers have been replaced by kernels that step, this way through."""
    for part in model.modules():
        if type(part) is Stack and len(part.blocks) and not part.choices and all(map(_steps, part.blocks)):
            part.shortcut = StepsShortcut([cast(Block, block) for block in part.blocks])


def _steps(block: nn.Module) -> bool:
    short = block.shortcut if type(block) is Block and block.traits.streams else None
    return isinstance(short, BlockShortcut) and short.kernels.steps is not None


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or torch.equal(a, b)

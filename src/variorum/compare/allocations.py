"""Bytes of tensors that are alive while something runs, counted operation by operation."""

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Exhausted(Exception):
    """What runs has taken more bytes than it was allowed; ``taken`` were alive."""

    def __init__(self, taken: int) -> None:
        self.taken = taken
        super().__init__(f"{taken} bytes of tensors are alive, more than is allowed")


class Allocations(TorchDispatchMode):
    """Keeps books of the memory that operations take for their results during a ``with`` block, and of its release.

    What was there before (parameters, inputs) is not counted, and what lasts beyond the block counts as alive to its
    end. Work space inside one operation is not seen. most: bytes; beyond it :class:`Exhausted` is raised.
    products: the matrix products, convolutions and attentions of different shapes that were calculated.
    """

    supports_higher_order_operators = True

    def __init__(self, *, most: float = float("inf")) -> None:
        super().__init__()
        self.most, self.alive = most, 0
        self.products: set[tuple[str, tuple[torch.Size, ...]]] = set()
        self._number_of: weakref.WeakKeyDictionary[UntypedStorage, int] = weakref.WeakKeyDictionary()
        self._events: list[tuple[int, int]] = []
        self._made = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        inputs = _tensors((args, given))
        for tensor in inputs:
            self._number_of.setdefault(tensor.untyped_storage(), 0)
        if func.overloadpacket in flop_registry:
            self.products.add((str(func), tuple(tensor.shape for tensor in inputs)))
        out = func(*args, **given)
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            if storage not in self._number_of:
                self._take(storage)
        if self.alive > self.most:
            raise Exhausted(self.alive)
        return out

    @property
    def peak(self) -> int:
        """The most bytes that were alive at a time."""
        return int(self.alive_of(())[0].max())

    def alive_of(self, some: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Bytes alive at the beginning and after each change: those of all other tensors, and those of ``some``."""
        numbers = [self._number_of.get(tensor.untyped_storage(), 0) for tensor in some]
        events = np.array([(0, 0), *self._events], np.int64)
        chosen = np.isin(events[:, 0], numbers)
        return np.cumsum(np.where(chosen, 0, events[:, 1])), np.cumsum(np.where(chosen, events[:, 1], 0))

    def _take(self, storage: UntypedStorage) -> None:
        self._made += 1
        number, size = self._made, storage.nbytes()
        self._number_of[storage] = number
        self._note(number, size)
        weakref.finalize(storage, self._note, number, -size)

    def _note(self, number: int, size: int) -> None:
        self.alive += size
        self._events.append((number, size))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.device.type != "meta"]

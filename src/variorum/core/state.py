"""State: what a streaming part remembers between calls: named tensors, the batch in front, nested as the model is."""

from collections.abc import Callable
from typing import Self, cast

import torch
from torch import Tensor


class State(dict[str, "Tensor | State"]):
    """Named tensors of shape ``(batch, ...)``, or nested states.

    A state is spent by the call that it is passed to; keep ``state.copy()`` to branch from it.
    """

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A state with ``change`` applied to every tensor."""
        pairs = {k: v.map(change) if isinstance(v, State) else change(v) for k, v in self.items()}
        return type(self)(pairs)

    def copy(self) -> Self:
        """An independent copy."""
        return self.map(torch.clone)

    def rows(self, index: Tensor) -> Self:
        """The states of some rows of the batch."""
        return self.map(lambda t: t[index])

    def put(self, index: Tensor, part: "State") -> Self:
        """This state with the rows ``index`` replaced by those of ``part``; a tensor that has grown makes room."""

        def merge(old: "Tensor | State", new: "Tensor | State") -> "Tensor | State":
            if isinstance(old, State):
                return old.put(index, cast(State, new))
            old, new = _level(old, cast(Tensor, new))
            return old.index_copy(0, index, new.to(old.dtype))

        return type(self)({key: merge(old, part[key]) for key, old in self.items()})

    def child(self, name: str) -> "State":
        """A nested state."""
        return cast(State, self[name])

    def tensor(self, name: str) -> Tensor:
        """A tensor of this state."""
        return cast(Tensor, self[name])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state occupies."""
        return sum(v.nbytes for v in self.values())


def _level(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-pad the shorter of two tensors along dimension 1 (a cache's capacity)."""
    if old.dim() < 2 or old.shape[1] == new.shape[1]:
        return old, new
    size = max(old.shape[1], new.shape[1])
    grow = [t if t.shape[1] == size else torch.cat([t, t.new_zeros(t.shape[0], size - t.shape[1], *t.shape[2:])], 1)
            for t in (old, new)]  # fmt: skip
    return grow[0], grow[1]

"""Rows on their way through a streaming model, and the scores of what comes next in each."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from variorum.core import Concluding, Held, Layout, Memory, State, Streaming, VariorumError


class Flight(ABC):
    """Rows of a model that are being written. ``logits`` (rows, vocab) score the next token of each.

    prompts: what the flight began with.
    """

    logits: Float[Tensor, "rows vocab"]
    prompts: Sequence[Tensor]
    memory: Memory | None

    @abstractmethod
    def extend(self, tokens: Int[Tensor, "rows"]) -> None:
        """Write one more token in every row."""

    @abstractmethod
    def keep(self, index: Int[Tensor, "kept"]) -> None:
        """Go on with these rows, in this order; a row may come several times, or not at all."""

    @abstractmethod
    def join(self, others: "Sequence[Self]") -> None:
        """Go on with the rows of other flights of the same model behind those of this one."""


class Cached(Flight):
    """The prompts go through the model once, packed; then each token once, the model's state carried along.

    Keys and values of a memory are made once too.
    state: where the rows stand, if the prompts are only their next pieces.
    """

    def __init__(
        self, model: Streaming, prompts: Sequence[Tensor], memory: Memory | None, state: State | None = None
    ) -> None:
        self.model, self.prompts = model, prompts
        self.memory = memory if memory is None or memory.made is not None else memory.keeping()
        self.logits, self.state = _first(model, prompts, self.memory, state)

    def extend(self, tokens: Int[Tensor, "rows"]) -> None:
        self.logits, self.state = self.model.step(tokens, self.state, self.memory)

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        self.logits, self.state = self.logits[index], fitted(self.state, self._fresh, index).rows(index)
        self.memory = rows_of(self.memory, index)

    def join(self, others: Sequence[Self]) -> None:
        self.logits = torch.cat([self.logits, *(other.logits for other in others)])
        self.state = self.state.joined([other.state for other in others])
        self.memory = memories([self.memory, *(other.memory for other in others)])

    def part(self, index: Int[Tensor, "kept"]) -> Self:
        """Some of the rows as a flight of their own; this one is spent, but for its other rows."""
        other = copy(self)
        other.keep(index)
        return other

    def mark(self) -> State | None:
        """What :meth:`settle` needs to come back here; None where the state can forget its last tokens by itself."""
        return None if only_caches(self._fresh) else self.state.copy()

    def look_ahead(self, tokens: Int[Tensor, "rows n"]) -> Float[Tensor, "rows n vocab"]:
        """Write several tokens in every row; the scores of what follows each."""
        out, self.state = self.model.advance(tokens, self.state, None, self.memory)
        return out

    def settle(
        self,
        mark: State | None,
        tokens: Int[Tensor, "rows n"],
        scores: Float[Tensor, "rows n vocab"],
        stand: Int[Tensor, "rows"],
    ) -> None:
        """Of ``tokens`` written since the mark, with scores after each, only the first ``stand`` of a row stand."""
        self.logits = scores[torch.arange(len(stand), device=stand.device), stand - 1]
        undone = tokens.shape[1] - stand
        if not undone.any():
            return
        if mark is None:
            self.state = shortened(self.state, undone)
        else:
            stays = torch.arange(tokens.shape[1], device=stand.device) < stand[:, None]
            _, self.state = self.model.advance(tokens[stays], mark, Layout.ragged(stand), self.memory)

    @cached_property
    def _fresh(self) -> State:
        return self.model.start(1)


class Recomputed(Flight):
    """The naive twin of Cached: everything written so far goes through the model again for every token."""

    def __init__(self, model: Streaming, prompts: Sequence[Tensor], memory: Memory | None) -> None:
        self.model, self.memory, self.prompts, self.written = model, memory, prompts, list(prompts)
        self.logits, _ = _first(model, self.written, memory)

    def extend(self, tokens: Int[Tensor, "rows"]) -> None:
        self.written = [torch.cat([row, token[None]]) for row, token in zip(self.written, tokens, strict=True)]
        self.logits, _ = _first(self.model, self.written, self.memory)

    def keep(self, index: Int[Tensor, "kept"]) -> None:
        self.logits, self.written = self.logits[index], [self.written[i] for i in index.tolist()]
        self.memory = rows_of(self.memory, index)

    def join(self, others: Sequence[Self]) -> None:
        self.logits = torch.cat([self.logits, *(other.logits for other in others)])
        self.written = [row for flight in (self, *others) for row in flight.written]
        self.memory = memories([self.memory, *(other.memory for other in others)])


def only_caches(state: State) -> bool:
    """Does a fresh state remember nothing but caches that grow, so that its last tokens can be forgotten?"""
    rest = [value for name, value in state.items() if name not in state.grows and name != "length"]
    return all(isinstance(value, State) and only_caches(value) for value in rest)


def fitted(state: State, fresh: State, index: Int[Tensor, "kept"]) -> State:
    """A state whose caches are cut where they have over four times the places that the rows at ``index`` use.

    Else a long row would leave behind caches of its own length, to be copied whenever a row comes or goes.
    """
    used = int(state.tensor("length")[index].max()) if fresh.grows and len(index) else 0
    room = 2 * max(used, 16)

    def cut(name: str, value: Tensor | State | Held) -> Tensor | State | Held:
        if isinstance(value, State):
            return fitted(value, fresh.child(name), index)
        if isinstance(value, Tensor) and name in fresh.grows and value.shape[1] > 2 * room:
            return value[:, :room]
        return value

    return State({name: cut(name, value) for name, value in state.items()})


def shortened(state: State, count: Int[Tensor, "rows"]) -> State:
    """A state of only caches without the last ``count`` tokens of each row: what lies behind a length is never read."""

    def shorter(name: str, value: Tensor | State | Held) -> Tensor | State | Held:
        if isinstance(value, State):
            return shortened(value, count)
        if isinstance(value, Held):
            return value.back(count)
        return value - count if name == "length" else value

    return State({name: shorter(name, value) for name, value in state.items()})


def rows_of(memory: Memory | None, index: Int[Tensor, "kept"]) -> Memory | None:
    """The memory of some rows, in this order, with what was made of it."""
    if memory is None:
        return None
    layout = memory.layout
    if layout is None or layout.offsets is None:
        return _taken(memory, index, None if layout is None else _placed(layout, index, index))
    spans = [torch.arange(*layout.offsets[i : i + 2].tolist(), device=index.device) for i in index.tolist()]
    tokens = torch.cat(spans) if spans else index[:0]
    taken = _placed(layout, index, tokens)
    return _taken(memory, tokens, taken.but(offsets=Layout.ragged([len(span) for span in spans]).offsets))


def _taken(memory: Memory, index: Tensor, layout: Layout | None) -> Memory:
    made = memory.made
    kept = None if made is None else {part: tuple(t[index] for t in made[part]) for part in made}
    return Memory(memory.x[index], layout, kept)


def _placed(layout: Layout, rows: Tensor, tokens: Tensor) -> Layout:
    """The layout with what it says of rows, and of what lies along ``x``, for the ones taken."""
    along = {name: value[tokens] for name in ("coords", "segments") if (value := getattr(layout, name)) is not None}
    return layout.but(**along, start=None if layout.start is None else layout.start[rows])


def memories(parts: Sequence[Memory | None]) -> Memory | None:
    """The memories of several flights as one, with what was made of them; None if there is none."""
    given = [part for part in parts if part is not None]
    if len(given) < 2:
        return given[0] if given else None
    if all(_plain(m.layout) for m in given) and len({m.x.shape[1] for m in given}) == 1:
        return _joined(given, given[0].layout)
    packed = [m if m.layout is not None and m.layout.packed else _flat(m) for m in given]
    layouts = [m.layout for m in packed if m.layout is not None]
    lengths = [n for layout in layouts for n in layout.lengths]
    along: dict[str, Tensor] = {}
    for name in ("coords", "segments", "start"):
        values = [value for layout in layouts if (value := getattr(layout, name)) is not None]
        if values and len(values) < len(layouts):
            raise VariorumError("memory", expected=f"{name} in the layout of all rows, or of none", found="of some",
                                do="Encode all sources alike.")  # fmt: skip
        if values:
            along[name] = torch.cat(values)
    return _joined(packed, Layout.ragged(lengths, **along).to(packed[0].x.device))


def _plain(layout: Layout | None) -> bool:
    """Equal rows, of whose tokens nothing is told one by one?"""
    if layout is None:
        return True
    return not layout.packed and layout.coords is None and layout.segments is None and layout.start is None


def _flat(memory: Memory) -> Memory:
    """A memory of equal rows in the packed form."""
    rows, n = memory.x.shape[:2]
    layout = memory.layout or Layout()
    told = {"coords": layout.coords, "segments": layout.segments}
    along = {name: value.flatten(0, 1) for name, value in told.items() if value is not None}
    made = memory.made
    flat = None if made is None else {part: tuple(t.flatten(0, 1) for t in made[part]) for part in made}
    return Memory(memory.x.flatten(0, 1), Layout.ragged([n] * rows, start=layout.start, **along), flat)


def _joined(parts: Sequence[Memory], layout: Layout | None) -> Memory:
    made = [part.made for part in parts if part.made is not None]
    kept = None
    if len(made) == len(parts):
        shared = [part for part in made[0] if all(part in other for other in made)]
        kept = {part: tuple(torch.cat(t) for t in zip(*(m[part] for m in made), strict=True)) for part in shared}
    return Memory(torch.cat([part.x for part in parts]), layout, kept)


def _first(
    model: Streaming, prompts: Sequence[Tensor], memory: Memory | None, state: State | None = None
) -> tuple[Tensor, State]:
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)
    state = model.start(len(prompts)) if state is None else state
    x, layout = torch.cat(list(prompts)), Layout.ragged(lengths)
    if isinstance(model, Concluding):
        return model.conclude(x, state, layout, memory)
    out, state = model.advance(x, state, layout, memory)
    return out[layout.ends], state

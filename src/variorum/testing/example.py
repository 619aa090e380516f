"""A tiny part of a class, the rows that it is given, and its answers row by row, whatever form they were given in."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves

from variorum.core import Layout, Part, Registered, Spec, Traits, VariorumError
from variorum.testing.drivers import Answers, Driver, Stream, driver_of
from variorum.testing.facts import complete

Row = dict[str, Tensor]
Size = tuple[int, ...]
Form = Callable[[Tensor], Tensor]
SHAKE = 0.1
BESIDE = 5
"""Length of the rows beside the main ones: a memory, a source."""
PLACES = ("coords", "segments")
"""What a layout tells of every token, where a part asks for it."""
WHOLE = 12
"""Length of rows that only a whole model reads: a window of a series."""


@dataclass(frozen=True)
class Example:
    """One spec with nothing open. ``with_memory``: tokens of another row are given beside the part's own."""

    spec: Spec[Any]
    label: str
    with_memory: bool = False

    @cached_property
    def part(self) -> Any:
        """The part, built once; for asking, not for changing."""
        return self.build()

    @property
    def cls(self) -> type[Registered]:
        """The class of the part."""
        return self.spec.cls

    @cached_property
    def traits(self) -> Traits:
        """What the part promises; a class that is no Part promises nothing."""
        return self.part.traits if isinstance(self.part, Part) else Traits()

    @cached_property
    def driver(self) -> Driver | None:
        """How the part is called."""
        return driver_of(self.cls)

    @cached_property
    def streams(self) -> dict[str, Stream]:
        """What the part is given, by name."""
        return {} if self.driver is None else self.driver.streams(self)

    @property
    def answers(self) -> Answers:
        """What the answers are like."""
        return Answers.ANY if self.driver is None else self.driver.answers

    @property
    def lead(self) -> str:
        """The stream that the answers belong to, of a part that is given tokens."""
        if self.main is None:
            raise VariorumError(self.spec.part, expected="a part that is given rows of tokens",
                                found="one that is not", do="Ask `main` first.")  # fmt: skip
        return self.main

    @property
    def main(self) -> str | None:
        """The stream that the answers belong to; None if the part is not given tokens."""
        return next((name for name, stream in self.streams.items() if stream.along), None)

    # -- building --------------------------------------------------------------------------------------------------
    def build(self, dtype: torch.dtype = torch.float64, *, seed: int = 0, spec: Spec[Any] | None = None) -> Any:
        """The part in eval mode, its parameters drawn with ``seed`` and moved a little from their initial values."""
        with seeded(seed):
            part = (spec or self.spec).build()
            if isinstance(part, nn.Module):
                shake(part)
                part.to(dtype).eval()
        return part

    def long(self, n: int) -> "Example":
        """The same part built for rows of n tokens: every ``length`` that its spec gives is n."""
        return Example(_lengthen(self.spec, n), self.label, self.with_memory)

    # -- rows ------------------------------------------------------------------------------------------------------
    def size(self, n: int) -> Size:
        """A size near n that the part takes: (n,), or the sides of a grid."""
        traits = self.traits
        if traits.length:
            return (traits.length,)
        if not traits.grid or self.main is None:
            return (-(-n // traits.multiple) * traits.multiple,)
        side = max(1, round(n ** (1 / traits.grid)))
        sides = [side] * (traits.grid - 1) + [side + (n % 2 if n > 1 else 0)]
        return tuple(-(-s // traits.multiple) * traits.multiple for s in sides)

    def rows(self, *sizes: Size, seed: int = 1, longest: int = BESIDE) -> list[Row]:
        """Random rows of these sizes, in float64; those beside them, of up to ``longest``, are uneven if they are."""
        generator = Generator().manual_seed(seed)
        even, rows = len(set(sizes)) == 1, []
        for index, size in enumerate(sizes):
            n, beside = math.prod(size), longest if even else longest - index % 3
            lengths = {name: n if s.along else beside if s.tokens else WHOLE for name, s in self.streams.items()}
            row = {name: s.draw(lengths[name], generator) for name, s in self.streams.items()}
            if self.traits.coords:
                row["coords"] = torch.randn(n, self.traits.coords, generator=generator, dtype=torch.float64)
            if self.traits.segments:
                row["segments"] = torch.randint(self.traits.segments, (n,), generator=generator)
            rows.append(row)
        return rows

    def along(self, row: Row, change: Form) -> Row:
        """The row with a change applied to everything that runs along its tokens."""
        moves = {name for name, stream in self.streams.items() if stream.along} | {*PLACES}
        return {name: change(value) if name in moves else value for name, value in row.items()}

    def given(
        self, rows: Sequence[Row], size: Size | None, dtype: torch.dtype = torch.float64, form: Form | None = None
    ) -> dict[str, Any]:
        """Arguments of a call: a batch of equal rows of this size, or packed rows where the size is None.

        form: changes each tensor before it is given.
        """
        arguments: dict[str, Any] = {}
        for name, stream in self.streams.items():
            parts = [row[name] for row in rows]
            x = torch.cat(parts) if size is None and stream.tokens else torch.stack(parts)
            x = x.to(dtype) if x.is_floating_point() else x
            layout = self.layout(rows, name, size, form) if stream.tokens else None
            arguments.update(stream.given(x if form is None else form(x), layout))
        return arguments

    def layout(self, rows: Sequence[Row], name: str, size: Size | None, form: Form | None = None) -> Layout | None:
        """How the rows of a stream of tokens lie, in a batch of this size or packed."""
        facts: dict[str, Any] = {}
        for place in PLACES if self.streams[name].along else ():
            if place in rows[0]:
                found = (torch.cat if size is None else torch.stack)([row[place] for row in rows])
                facts[place] = found if form is None else form(found)
        if self.streams[name].along and self.traits.grid:
            facts["grid"] = size
        if size is None:
            return Layout.ragged([len(row[name]) for row in rows], **facts)
        return Layout(**facts) if facts else None

    # -- answers ---------------------------------------------------------------------------------------------------
    def equal(
        self, part: Any, rows: Sequence[Row], size: Size, dtype: torch.dtype = torch.float64, form: Form | None = None
    ) -> list[list[Tensor]]:
        """The answers to each row, all given in one batch of equal rows; several where the part gives several."""
        out = part(**self.given(rows, size, dtype, form))
        if (lengths := packed_lengths(out)) is not None:
            return [list(answer) for answer in zip(*(leaf.split(lengths) for leaf in tensors(out)), strict=True)]
        return [[leaf[r] for leaf in tensors(out)] for r in range(len(rows))]

    def alone(self, part: Any, row: Row, size: Size) -> list[Tensor]:
        """The answers to one row given alone."""
        return self.equal(part, [row], size)[0]

    def packed(self, part: Any, rows: Sequence[Row]) -> list[list[Tensor]]:
        """The answers to each row, all given packed."""
        out = part(**self.given(rows, None))
        lengths = [len(row[self.main]) for row in rows] if self.main else []
        lengths = packed_lengths(out) or lengths
        return [list(answer) for answer in zip(*(self.split(leaf, lengths) for leaf in tensors(out)), strict=True)]

    def split(self, leaf: Tensor, lengths: list[int]) -> list[Tensor]:
        """The answers to packed rows, row by row."""
        if leaf.shape[0] == sum(lengths):
            return list(leaf.split(lengths))
        if leaf.shape[0] == len(lengths):
            return list(leaf)
        raise VariorumError("answers to packed rows", expected=f"{sum(lengths)} for tokens or {len(lengths)} for rows",
                            found=f"shape {tuple(leaf.shape)}", do="Answer each token or each row.")  # fmt: skip


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's generator of the CPU starts from ``seed``; outside, nothing shows of it.

    torch.manual_seed also seeds every accelerator there could be, which takes longer than most checks.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def piece(start: int, stop: int | None) -> Form:
    """Takes the elements from ``start`` up to, but not, ``stop``."""
    return lambda x: x[start:stop]


def packed_lengths(out: Any) -> list[int] | None:
    """The lengths of the rows of an answer that comes packed, with its layout; whatever form the input had."""
    if isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Layout) and out[1].packed:
        return out[1].lengths
    return None


def tensors(out: Any) -> list[Tensor]:
    """The tensors of an answer."""
    return [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]


def shake(part: nn.Module) -> None:
    """Move every parameter at random, so that no fault hides behind a zero, a one or a layer scale of 1e-6."""
    with torch.no_grad():
        for parameter in part.parameters():
            if parameter.is_floating_point():
                parameter.add_(SHAKE * torch.randn_like(parameter))


def expand(spec: Spec[Any], label: str) -> Iterator[Example]:
    """The example of a spec; twice, without and with a memory, where the part may attend to one."""
    example = Example(complete(spec), label)
    traits, _ = example.traits, example.streams
    if traits.alone:
        yield example
    if traits.memory:
        yield Example(example.spec, f"{label} with memory", with_memory=True)


def _lengthen(spec: Spec[Any], n: int) -> Spec[Any]:
    def visit(value: Any) -> Any:
        if isinstance(value, Spec):
            return _lengthen(value, n)
        return tuple(visit(v) for v in value) if isinstance(value, tuple) else value

    return Spec.of(spec.cls, {name: n if name == "length" and value else visit(value) for name, value in spec.args})

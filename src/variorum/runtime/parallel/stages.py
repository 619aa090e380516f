"""A model cut into stages, which write on with several groups of rows at once. Aminabadi et al. 2022."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from variorum.core import Layout, State, StreamingEmbed, VariorumError
from variorum.models.blocks.block import streaming
from variorum.models.stack import Stack
from variorum.models.streams import begin, place
from variorum.runtime.parallel.group import Group


class Stage(nn.Module):
    """Blocks that follow each other in a Stack; the first stage has its embedding too, the last its norm and head."""

    def __init__(self, model: Stack, *, number: int, count: int) -> None:
        super().__init__()
        if isinstance(model.embed, StreamingEmbed) or len(model.choices) or not model.traits.streams:
            raise VariorumError("Stage", expected="a streaming Stack, each block given what the last one gives",
                                found=f"{type(model.embed).__name__}, {len(model.choices)} choices",
                                do="Share its layers out instead.")  # fmt: skip
        if not 1 <= count <= len(model.blocks):
            raise VariorumError("Stage", expected=f"up to {len(model.blocks)} stages, a block each", found=str(count),
                                do="Take fewer stages.")  # fmt: skip
        if model.built_from is None:
            raise VariorumError("Stage", expected="a model built from a Spec", found="one built by hand",
                                do="Build it with Spec.build.")  # fmt: skip
        self.dim: int = model.built_from["dim"]
        first, end = (len(model.blocks) * i // count for i in (number, number + 1))
        self.blocks = nn.ModuleList(list(model.blocks)[first:end])
        self.embed = model.embed if number == 0 else None
        last = number == count - 1
        self.norm = model.norm if last else None
        self.head = model.head if last else None

    def start(self, batch: int) -> State:
        """The state before the first token of each row."""
        return begin(self, batch, {str(i): streaming(block).start(batch) for i, block in enumerate(self.blocks)})

    def advance(self, x: Tensor, state: State, layout: Layout | None = None) -> tuple[Tensor, State]:
        """The next piece: ids, or what the stage before gave (*tokens, dim) -> what the next is given, or answers."""
        layout, length = place(x, state, layout)
        after = State(length=length)
        if self.embed is not None:
            x, layout = self.embed(x, layout)
        for i, block in enumerate(self.blocks):
            x, after[str(i)] = streaming(block).advance(x, state.child(str(i)), layout)
        return (x if self.head is None or self.norm is None else self.head(self.norm(x), layout)), after


@dataclass(frozen=True)
class Pieces:
    """Into how many pieces of rows a batch is cut. Aminabadi et al. 2022, arXiv:2207.00032, section IV-C.

    prompts: while prompts are read, which costs by the token: more pieces keep more stages at work.
    tokens: while tokens are written, which costs a read of all weights a piece: only as many as there are stages.
    """

    prompts: int
    tokens: int

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= self.prompts or self.prompts % self.tokens:
            raise VariorumError("Pieces", expected="prompts that are a multiple of tokens, both 1 or more",
                                found=f"{self.prompts} and {self.tokens}", do="Take others.")  # fmt: skip


@torch.no_grad()
def write_in_stages(
    stage: Stage,
    group: Group,
    prompts: Sequence[Tensor],
    *,
    most: int,
    ends: Sequence[int] = (),
    pieces: Pieces | None = None,
) -> list[Tensor]:
    """The greedy tokens that follow each prompt, at most ``most``; the same at every stage as from one device.

    Every member of the group calls it, with its own stage and the same rest. Pieces of rows follow each other through
    the stages, and a piece's next token is begun as soon as its last one is known, whatever the others do. All rows go
    on to ``most``; what follows a token of ``ends`` is cut off.

    pieces: twice as many as stages for prompts, as many as stages for tokens, unless given.
    """
    count = group.size
    if count < 2 or not prompts or any(not len(prompt) for prompt in prompts) or most < 1:
        raise VariorumError("write_in_stages", expected="two members or more, prompts that are not empty, most from 1",
                            found=f"{count} members, {len(prompts)} prompts, most {most}",
                            do="Use generate on one device.")  # fmt: skip
    run = _Run(stage, group, list(prompts), _fitting(pieces or Pieces(2 * count, count), len(prompts)))
    written = run.tokens(most)
    return [_cut(row, ends) for row in written]


class _Run:
    """What one stage does with a batch. Members go through the same pieces in the same order."""

    def __init__(self, stage: Stage, group: Group, prompts: list[Tensor], pieces: Pieces) -> None:
        self.stage, self.group, self.prompts, self.pieces = stage, group, prompts, pieces
        self.first, self.last = group.rank == 0, group.rank == group.size - 1
        self.like = next(p for p in stage.parameters() if p.is_floating_point())
        self.groups = list(_shares(len(prompts), pieces.tokens))

    def tokens(self, most: int) -> list[Tensor]:
        """All tokens of all rows, known to every stage."""
        found = torch.zeros(len(self.prompts), most, dtype=torch.int64)
        states = []
        for rows in self.groups:
            state = self.stage.start(len(rows))
            for part in _within(rows, self.pieces.prompts // self.pieces.tokens):
                state = self._read(rows, part, state, found)
            states.append(state)
            self._tell(found, rows, 0, most)
        for i in range(1, most):
            for number, rows in enumerate(self.groups):
                states[number] = self._write(rows, i, states[number], found, most)
        return list(self._known(found))

    def _read(self, rows: range, part: range, state: State, found: Tensor) -> State:
        """The prompts of ``part``, some of ``rows``, packed."""
        layout = Layout.ragged([len(self.prompts[row]) for row in part])
        x = torch.cat([self.prompts[row] for row in part]) if self.first else self._from_before(sum(layout.lengths))
        index = torch.arange(part.start - rows.start, part.stop - rows.start)
        out, after = self.stage.advance(x, state.rows(index), layout)
        if self.last:
            found[part.start : part.stop, 0] = out[layout.ends].argmax(-1)
        else:
            self.group.send(out, self.group.rank + 1)
        return state.put(index, after)

    def _write(self, rows: range, i: int, state: State, found: Tensor, most: int) -> State:
        """Token i of ``rows``, of token i - 1."""
        here = slice(rows.start, rows.stop)
        if self.first:
            found[here, i - 1] = self.group.receive(found[here, i - 1], self.group.size - 1)
            x = found[here, i - 1, None]
        else:
            x = self._from_before(len(rows)).unsqueeze(1)
        out, state = self.stage.advance(x, state)
        if self.last:
            found[here, i] = out[:, -1].argmax(-1)
            self._tell(found, rows, i, most)
        else:
            self.group.send(out[:, 0], self.group.rank + 1)
        return state

    def _tell(self, found: Tensor, rows: range, i: int, most: int) -> None:
        """The first stage the tokens that it goes on with."""
        if self.last and i < most - 1:
            self.group.send(found[rows.start : rows.stop, i], 0)

    def _from_before(self, tokens: int) -> Tensor:
        return self.group.receive(self.like.new_empty(tokens, self.stage.dim), self.group.rank - 1)

    def _known(self, found: Tensor) -> Tensor:
        """What the last stage has found."""
        return self.group.sum(found if self.last else torch.zeros_like(found))


def _fitting(pieces: Pieces, rows: int) -> Pieces:
    """No more pieces than rows."""
    tokens = min(pieces.tokens, rows)
    return Pieces(tokens * max(1, min(pieces.prompts, rows) // tokens), tokens)


def _shares(count: int, parts: int) -> Iterator[range]:
    return (range(count * i // parts, count * (i + 1) // parts) for i in range(parts))


def _within(rows: range, parts: int) -> Iterator[range]:
    """``rows`` in pieces, none of them empty."""
    for part in _shares(len(rows), min(parts, len(rows))):
        yield range(rows.start + part.start, rows.start + part.stop)


def _cut(row: Tensor, ends: Sequence[int]) -> Tensor:
    over = torch.isin(row, torch.tensor(list(ends), dtype=row.dtype)).nonzero()
    return row if not len(over) else row[: int(over[0]) + 1]

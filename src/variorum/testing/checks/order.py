"""What an answer may depend on: no token to come, no other row, and no order where none is promised."""

import math

import torch
from torch import Tensor

from variorum.testing.compared import EXACT, same
from variorum.testing.example import PLACES, Example, piece
from variorum.testing.needs import ANY_LENGTH, CALLED, CAUSAL, EQUIVARIANT, PARAMETERS, RAGGED, TOKENS
from variorum.testing.suite import promise


@promise(TOKENS, CAUSAL)
def no_look_ahead(example: Example) -> None:
    """Other tokens later in the row leave the answers to earlier ones exactly as they are."""
    size = example.size(7)
    n = math.prod(size)
    (row,), (other,) = example.rows(size), example.rows(size, seed=2)
    whole = example.alone(example.part, row, size)
    for t in range(1, n):
        changed = {name: torch.cat([value[:t], later[t:] * _loud(later)]) if _along(example, name) else value
                   for (name, value), later in zip(row.items(), other.values(), strict=True)}  # fmt: skip
        found = example.alone(example.part, changed, size)
        same(_cut(found, n, t), _cut(whole, n, t), f"changing tokens from {t} on changed answers before {t}", EXACT)


@promise(TOKENS, CAUSAL, ANY_LENGTH)
def a_row_may_end_anywhere(example: Example) -> None:
    """The answers to the first tokens of a row are those to a row that ends there."""
    size = example.size(7)
    n = math.prod(size)
    (row,) = example.rows(size)
    whole = example.alone(example.part, row, size)
    for t in (1, 4) if not example.traits.grid and example.traits.multiple == 1 else ():
        found = example.alone(example.part, example.along(row, piece(0, t)), (t,))
        same(found, _cut(whole, n, t), f"the row's first {t} tokens alone gave other answers")


@promise(CALLED)
def rows_are_independent(example: Example) -> None:
    """Another row in the batch, equal or packed, leaves a row's answers as they are; so does its place in the batch."""
    size = example.size(7)
    rows, (other,) = example.rows(size, size, size), example.rows(size, seed=2)
    changed = [rows[0], other, rows[2]]
    _compare(example, example.equal(example.part, rows, size), example.equal(example.part, changed, size))
    turned = example.equal(example.part, rows[::-1], size)[::-1]
    for r, (found, wanted) in enumerate(zip(turned, example.equal(example.part, rows, size), strict=True)):
        same(found, wanted, f"row {r} at another place in the batch gave other answers")
    if RAGGED.met(example) and TOKENS.met(example):
        _compare(example, example.packed(example.part, rows), example.packed(example.part, changed))


@promise(TOKENS, EQUIVARIANT)
def permutation_equivariant(example: Example) -> None:
    """The tokens in another order give the same answers in that order."""
    size = example.size(7)
    (row,) = example.rows(size)
    order = torch.randperm(math.prod(size), generator=torch.Generator().manual_seed(4))
    found = example.alone(example.part, example.along(row, lambda v: v[order]), size)
    wanted = [answer[order] for answer in example.alone(example.part, row, size)]
    same(found, wanted, "permuted tokens did not give permuted answers")


def _compare(example: Example, before: list[list[Tensor]], after: list[list[Tensor]]) -> None:
    for r in (0, 2):
        same(after[r], before[r], f"another row 1 changed the answers to row {r}", EXACT)
    if not PARAMETERS.met(example):
        return  # a baseline that is fitted rather than trained answers all alike until it is
    moved = any(not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before[1], after[1], strict=True))
    assert moved, "another row gave the same answers: it does not look at its inputs"


def _cut(answers: list[Tensor], n: int, t: int) -> list[Tensor]:
    for answer in answers:
        assert answer.shape[:1] == (n,), f"{n} tokens gave answers of shape {tuple(answer.shape)}: one each is promised"
    return [answer[:t] for answer in answers]


def _along(example: Example, name: str) -> bool:
    return name in PLACES or example.streams[name].along


def _loud(value: Tensor) -> int:
    """A factor that makes the slightest leak be heard."""
    return 10 if value.is_floating_point() else 1

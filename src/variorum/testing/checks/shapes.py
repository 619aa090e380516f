"""Shapes: odd lengths, one token, no rows, tensors that are not contiguous; inputs stay as they are."""

import math

import torch
from beartype import beartype
from jaxtyping import jaxtyped
from torch import Tensor

from variorum.core import VariorumError
from variorum.testing.compared import EXACT, same
from variorum.testing.drivers import Answers
from variorum.testing.example import Example, packed_lengths, piece, tensors
from variorum.testing.needs import CALLED, RAGGED, SHAPED, TOKENS
from variorum.testing.suite import promise


@promise(CALLED, SHAPED)
def shapes(example: Example) -> None:
    """The answers have the shape that the kind says, for an odd length, for one token and for no rows."""
    for n in (7, 1):
        size = example.size(n)
        for rows in (2, 0):
            given = example.given(example.rows(size, size), size, form=piece(0, rows))
            (out,) = tensors(example.part(**given))
            x = given[example.lead]
            wanted = x.shape if example.answers is Answers.SAME else (rows, x.shape[-1])
            assert out.shape == wanted, f"{tuple(x.shape)} gave {tuple(out.shape)} instead of {tuple(wanted)}"


@promise(CALLED)
def one_token_and_no_rows(example: Example) -> None:
    """It answers rows of one token, and a batch without rows, with finite numbers.

    Parts that make fewer tokens, or whole models, may refuse a row that is too short for them, with a VariorumError.
    """
    for n, rows in ((1, 2), (7, 0)):
        size = example.size(n)
        given = example.given(example.rows(size, size), size, form=piece(0, rows))
        try:
            answer = example.part(**given)
        except VariorumError:
            if n > 1 or SHAPED.met(example):
                raise
            continue
        lengths = packed_lengths(answer)
        for out in tensors(answer):
            assert (out.shape[0] if lengths is None else len(lengths)) == rows, f"{rows} rows gave {tuple(out.shape)}"
            assert out.isfinite().all(), f"{rows} rows of {math.prod(size)} gave numbers that are not finite"


@promise(CALLED)
def memory_format_does_not_matter(example: Example) -> None:
    """Inputs that are not contiguous in memory give the same answers, and stay as they are."""
    size = example.size(7)
    rows = example.rows(size, size)
    plain, strided = example.equal(example.part, rows, size), example.equal(example.part, rows, size, form=_strided)
    for found, wanted in zip(strided, plain, strict=True):
        same(found, wanted, "a tensor that is not contiguous gave other answers", EXACT)
    before, given = example.given(rows, size), example.given(rows, size)
    example.part(**given)
    for old, new in zip(tensors(before), tensors(given), strict=True):
        assert torch.equal(old.nan_to_num(), new.nan_to_num()), "it writes into its inputs"


@promise(CALLED)
def annotations_hold(example: Example) -> None:
    """The shapes in the annotations of ``forward`` hold for equal rows, and for packed ones where it takes them."""
    forward = jaxtyped(typechecker=beartype)(type(example.part).forward)
    size = example.size(7)
    forward(example.part, **example.given(example.rows(size, size), size))
    if TOKENS.met(example) and RAGGED.met(example):
        forward(example.part, **example.given(example.rows(example.size(7), example.size(3)), None))


def _strided(x: Tensor) -> Tensor:
    """The same values with the first two dimensions swapped in memory, and gaps between the numbers."""
    swapped = x.transpose(0, 1).contiguous().transpose(0, 1) if x.dim() > 1 else x
    return torch.stack([swapped, swapped], dim=-1)[..., 0]

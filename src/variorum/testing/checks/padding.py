"""Rows of uneven length: packed, they are what each is alone, and padding never changes a token."""

import torch
from torch import Tensor

from variorum.core import pack, unpack
from variorum.testing.compared import same
from variorum.testing.example import Example
from variorum.testing.needs import ANY_LENGTH, RAGGED, TOKENS
from variorum.testing.suite import promise

WIDE = 9
"""Length of the padded batch."""


@promise(TOKENS, RAGGED)
def packed_equals_batch(example: Example) -> None:
    """Equal rows give the same answers packed as in a batch."""
    size = example.size(7)
    rows = example.rows(size, size, size)
    for r, (found, wanted) in enumerate(
        zip(example.packed(example.part, rows), example.equal(example.part, rows, size), strict=True)
    ):
        same(found, wanted, f"row {r} packed gave other answers than in a batch")


@promise(TOKENS, RAGGED, ANY_LENGTH)
def packed_equals_alone(example: Example) -> None:
    """Rows of uneven length, some of them empty, give packed what each gives alone."""
    lengths = (5, 0, 2, 7, 1, 5)
    sizes = [example.size(n) for n in lengths]
    rows = example.rows(*sizes)
    packed = example.packed(example.part, rows)
    assert len(packed) == len(rows), f"{len(rows)} rows gave answers for {len(packed)}"
    for r, size in enumerate(sizes):
        if lengths[r]:
            same(packed[r], example.alone(example.part, rows[r], size), f"row {r} of {lengths} packed and alone differ")
        else:
            assert all(out.isfinite().all() for out in packed[r]), "an empty row gave numbers that are not finite"
    example.packed(example.part, example.rows(example.size(0), example.size(0)))


@promise(TOKENS, RAGGED, ANY_LENGTH)
def padding_changes_nothing(example: Example) -> None:
    """Padding left, right, in between, or all through a row never changes the answer to a real token."""
    masks = torch.ones(5, WIDE, dtype=torch.bool)
    masks[0, :4] = masks[1, 5:] = masks[2, 3:5] = masks[3, :] = False
    if example.traits.multiple > 1:
        masks[:, : WIDE % example.traits.multiple] = False
    lengths = [example.size(int(n)) for n in masks.sum(1)]
    rows = example.rows(*lengths)
    layouts = []
    for name, stream in example.streams.items():
        if stream.along:
            packed, layout = pack(_padded([row[name] for row in rows], masks), masks)
            real = torch.cat([row[name] for row in rows])
            assert torch.equal(packed.nan_to_num(), real.nan_to_num()), "pack does not give the real tokens"
            layouts.append(layout)
    assert all(layout.lengths == [n for (n,) in lengths] for layout in layouts), "pack does not give the real lengths"
    answers = example.packed(example.part, rows)
    for r, size in enumerate(lengths):
        if not size[0]:
            continue
        alone = example.alone(example.part, rows[r], size)
        same(answers[r], alone, f"row {r} of a padded batch gave other answers than without padding")
        for found in answers[r]:
            if found.shape[:1] == size:
                back = unpack(found, masks[r : r + 1])
                same([back[0, masks[r]]], [found], "unpack does not put answers back where they belong")


def _padded(rows: list[Tensor], masks: Tensor) -> Tensor:
    """The rows at the places of their masks, and rubbish everywhere else."""
    blank = rows[0].new_full((*masks.shape, *rows[0].shape[1:]), torch.nan if rows[0].is_floating_point() else 1)
    for row, mask, place in zip(rows, masks, blank, strict=True):
        place[mask] = row
    return blank

"""What a row is conditioned on, read from a memory."""

from torch import Tensor

from variorum.core import Layout, Memory, VariorumError, pool_rows


def condition(memory: Memory | None, part: str) -> Tensor:
    """(rows, dim): the sum of the memory's tokens of each row; a time and a class, for instance.

    ``part`` is named by the VariorumError that is raised where there is no memory.
    """
    if memory is None:
        raise VariorumError(part, expected="a memory: what the rows are conditioned on", found="none",
                            do="Pass memory=Memory(tokens), or use a skeleton that does.")  # fmt: skip
    return pool_rows(lambda tokens: tokens.sum(dim=1), memory.layout, memory.x)


def spread(rows: Tensor, layout: Layout | None) -> Tensor:
    """(rows, dim) as what broadcasts with tokens: (rows, 1, dim), or (tokens, dim) with a packed layout."""
    return rows[layout.row_of] if layout is not None and layout.packed else rows.unsqueeze(1)

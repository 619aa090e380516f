"""Pieces of raw inputs that become fewer tokens, row by row, with a state."""

from collections.abc import Callable

from torch import Tensor

from variorum.core import Layout, State, each_row, reform_rows


def reform_pieces(
    fn: Callable[[Tensor, State], tuple[Tensor, State]], layout: Layout | None, x: Tensor, state: State
) -> tuple[Tensor, Layout | None, State]:
    """As :func:`variorum.core.reform_rows`, of a ``fn`` that also goes on from each row's state.

    ``fn`` maps (batch, n, ...) and the states of these rows to (batch, m, ...) and the states after them.
    """
    made: list[Tensor] = []

    def go_on(rows: Tensor, state: State) -> tuple[Tensor, State]:
        out, after = fn(rows, state)
        made.append(out)
        return rows, after

    _, state = each_row(go_on, layout, x, state=state)
    pieces = iter(made)  # both go through the groups of equal rows in the same order
    out, layout = reform_rows(lambda rows: next(pieces), layout, x)
    return out, layout, state

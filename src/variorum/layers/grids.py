"""Tokens on a grid as an image or a volume, and back: views, for the channels stay last in memory."""

from torch import Tensor

from variorum.core import Layout, VariorumError

_SIDES = {1: "(N,)", 2: "(H, W)", 3: "(T, H, W)"}


def to_grid(x: Tensor, layout: Layout | None, axes: int) -> Tensor:
    """(batch, n, dim) with a ``layout.grid`` of so many axes -> (batch, dim, *grid) in channels-last memory."""
    return x.unflatten(1, sides(layout, axes)).movedim(-1, 1)


def from_grid(grid: Tensor) -> tuple[Tensor, Layout]:
    """(batch, dim, *grid) -> (batch, n, dim) and its layout."""
    return grid.movedim(1, -1).flatten(1, -2), Layout(grid=tuple(grid.shape[2:]))


def to_image(x: Tensor, layout: Layout | None) -> Tensor:
    """(batch, H*W, dim) with ``layout.grid == (H, W)`` -> (batch, dim, H, W) in channels-last memory."""
    return to_grid(x, layout, 2)


def from_image(image: Tensor) -> tuple[Tensor, Layout]:
    """(batch, dim, H, W) -> (batch, H*W, dim) and its layout."""
    return from_grid(image)


def sides(layout: Layout | None, axes: int) -> tuple[int, ...]:
    """The sides of the grid of equal rows; VariorumError unless it has so many axes."""
    if layout is None or layout.grid is None or len(layout.grid) != axes or layout.packed:
        name = _SIDES.get(axes, f"of {axes} sides")
        raise VariorumError("layout", expected=f"equal rows with a grid {name}", found=str(layout),
                            do=f"Pass Layout(grid={name}).")  # fmt: skip
    return layout.grid

"""Tokens on a grid as an image, and back: views, for the channels stay last in memory."""

from torch import Tensor

from variorum.core import Layout, VariorumError


def to_image(x: Tensor, layout: Layout | None) -> Tensor:
    """(batch, H*W, dim) with ``layout.grid == (H, W)`` -> (batch, dim, H, W) in channels-last memory."""
    if layout is None or layout.grid is None or len(layout.grid) != 2 or layout.packed:
        raise VariorumError("layout", expected="equal rows with a grid (H, W)", found=str(layout),
                            do="Pass Layout(grid=(H, W)).")  # fmt: skip
    return x.unflatten(1, layout.grid).permute(0, 3, 1, 2)


def from_image(image: Tensor) -> tuple[Tensor, Layout]:
    """(batch, dim, H, W) -> (batch, H*W, dim) and its layout."""
    return image.permute(0, 2, 3, 1).flatten(1, 2), Layout(grid=(image.shape[2], image.shape[3]))

"""A grid cut into square windows, in place or shifted cyclically. Liu et al. 2021, arXiv:2103.14030."""

import torch
from torch import Tensor


def partition(image: Tensor, window: int) -> Tensor:
    """(batch, H, W, dim), sides multiples of ``window`` -> (batch * windows, window * window, dim), row-major."""
    rows = image.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return rows.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def join(windows: Tensor, window: int, grid: tuple[int, int]) -> Tensor:
    """The way back of :func:`partition`: (batch * windows, window * window, dim) -> (batch, H, W, dim)."""
    down, across = grid[0] // window, grid[1] // window
    return (
        windows.unflatten(0, (-1, down, across))
        .unflatten(3, (window, window))
        .transpose(2, 3)
        .flatten(3, 4)
        .flatten(1, 2)
    )


def neighbours(grid: tuple[int, int], window: int, shift: int, device: torch.device) -> Tensor:
    """After a cyclic shift by ``shift``: which tokens of a window were neighbours before, (windows, n, n) bool.

    The last window of each axis holds tokens from both ends of the grid; those must not meet.
    """

    def region(side: int) -> Tensor:
        place = torch.arange(side, device=device)
        return (place >= side - window).long() + (place >= side - shift).long()

    regions = region(grid[0])[:, None] * 3 + region(grid[1])
    of_token = partition(regions[None, :, :, None], window).squeeze(-1)
    return of_token[:, :, None] == of_token[:, None, :]

"""Attention in windows against its definition, token by token."""

import math

import pytest
import torch

from variorum.core import Layout, VariorumError, listen
from variorum.layers.merges.patch import PatchMerge
from variorum.layers.mixers.window_attention import WindowAttention
from variorum.layers.windows import join, partition


def definition(part: WindowAttention, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """One image, whose sides are multiples of the window: each token looks at those of its square and its piece."""
    dim, window, shift = x.shape[-1], part.window, part.shift
    q, k, v = part.qkv(x).split(dim, dim=-1)
    out = torch.zeros_like(x)

    def square(at: int, side: int) -> tuple[int, bool]:
        """The window along one axis, and whether the border cut the token off from its end."""
        moved = (at - shift) % side
        return moved // window, moved >= side - shift

    places = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
    for i, (r, c) in enumerate(places):
        seen = [
            j for j, (s, d) in enumerate(places)
            if square(r, grid[0]) == square(s, grid[0]) and square(c, grid[1]) == square(d, grid[1])
        ]  # fmt: skip
        for h in range(part.heads):
            own = slice(h * dim // part.heads, (h + 1) * dim // part.heads)
            scores = []
            for j in seen:
                down = (r - shift) % grid[0] - (places[j][0] - shift) % grid[0]
                across = (c - shift) % grid[1] - (places[j][1] - shift) % grid[1]
                at = (down + window - 1) * (2 * window - 1) + across + window - 1
                scores.append(q[i, own] @ k[j, own] / math.sqrt(dim // part.heads) + part.bias.table[at, h])
            out[i, own] = torch.stack(scores).softmax(0) @ v[seen][:, own]
    return part.out(out)


@pytest.mark.parametrize(("window", "shift", "grid"), [(3, 0, (6, 9)), (3, 1, (6, 9)), (4, 2, (8, 8)), (2, 1, (4, 6))])
def test_the_definition(window: int, shift: int, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    part = WindowAttention(8, heads=2, window=window, shift=shift).eval()
    torch.nn.init.normal_(part.bias.table)
    x = torch.randn(2, grid[0] * grid[1], 8)
    with torch.no_grad():
        expected = torch.stack([definition(part, image, grid) for image in x])
        assert torch.allclose(part(x, Layout(grid=grid)), expected, atol=1e-5)
        with listen(part, "weights") as told:
            assert torch.allclose(part(x, Layout(grid=grid)), expected, atol=1e-5)
    assert told["weights"][0].shape == (2 * grid[0] * grid[1] // window**2, 2, window**2, window**2)


def test_a_grid_as_small_as_the_window_is_one_window() -> None:
    torch.manual_seed(0)
    part = WindowAttention(8, heads=2, window=4, shift=2).eval()
    x = torch.randn(1, 9, 8)
    plain = WindowAttention(8, heads=2, window=4).eval()
    plain.load_state_dict(part.state_dict())
    assert torch.equal(part(x, Layout(grid=(3, 3))), plain(x, Layout(grid=(3, 3))))


def test_windows_are_cut_and_joined() -> None:
    image = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1)
    windows = partition(image, 2)
    assert windows.shape == (12, 4, 1) and windows[1].flatten().tolist() == [2, 3, 8, 9]
    assert torch.equal(join(windows, 2, (4, 6)), image)


def test_a_row_without_grid_is_refused() -> None:
    for part in (WindowAttention(8), PatchMerge(8, 16)):
        with pytest.raises(VariorumError, match=r"equal rows with a grid"):
            part(torch.zeros(1, 4, 8))
    for args in ({"heads": 3}, {"window": 2, "shift": 2}):
        with pytest.raises(VariorumError, match="WindowAttention"):
            WindowAttention(8, **args)


def test_four_neighbours_become_one_token() -> None:
    merge = PatchMerge(1, 4)
    merge.norm = torch.nn.Identity()
    merge.reduce.weight.data = torch.eye(4)
    tokens, layout = merge(torch.arange(9.0).reshape(1, 9, 1), Layout(grid=(3, 3)))
    assert layout.grid == (2, 2)
    assert tokens[0].tolist() == [[0, 3, 1, 4], [2, 5, 0, 0], [6, 0, 7, 0], [8, 0, 0, 0]]

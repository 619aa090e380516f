"""The own row directly, every other row through the token in the same column. Ren et al. 2021, arXiv:2107.05768."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from variorum.core import Growth, State, VariorumError
from variorum.layers.regions.regions import Look, Pooling, Regions, Tiles, cut


class RowRegions(Regions):
    """A row of tokens as lines of ``width``: the keys of the query's own line directly, every other (earlier) line as
    one, asked by the query, and found by the key, of its token in the column of the query.

    Ren et al. 2021, arXiv:2107.05768 (Combiner-Axial, in the order of lines): every token summarises its line once, for
    all queries below. n * (width + n / width) scores. Nothing is pooled; a column behind the end of the last line asks
    and is found with zeros.
    """

    growth: ClassVar[Growth] = Growth.QUADRATIC
    exports = False  # torch's exporter ties the number of lines to that of the row it is shown
    examples = ({"width": 4},)

    def __init__(self, *, width: int) -> None:
        if width < 1:
            raise VariorumError("RowRegions", expected="a width of 1 token or more", found=str(width), do="Use more.")
        self.width = width

    def looks(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool, pooling: Pooling) -> list[Look]:
        n, width = q.shape[1], min(self.width, q.shape[1])
        lines, keys, values = (cut(t, width) for t in (q, k, v))
        real = cut(torch.ones(1, n, device=q.device), width)[0] > 0
        inside = (torch.einsum("brihd,brjhd->brihj", lines, keys) * scale).masked_fill(~real[:, None, None], -math.inf)
        lines_told = torch.einsum("brihj,brjhd->brihd", inside.softmax(dim=-1), values)
        if causal:
            ahead = torch.ones(width, width, device=q.device).triu(1) > 0
            inside = inside.masked_fill(ahead[:, None], -math.inf)
        number = torch.arange(real.shape[0], device=q.device)
        looked = number < number[:, None] if causal else number != number[:, None]
        down = torch.einsum("brchd,bkchd->brchk", lines, keys) * scale
        down = down.masked_fill(~looked[:, None, None], -math.inf)

        def read(expression: str, source: Tensor, weights: Tensor) -> Tensor:
            told = torch.einsum(expression, cut(weights, width), source).flatten(1, 2)
            return told[:, : weights.shape[1]]

        return [
            Look(inside.flatten(1, 2)[:, :n], lambda w: read("brihj,brjhd->brihd", values, w)),
            Look(down.flatten(1, 2)[:, :n], lambda w: read("brchk,bkchd->brchd", lines_told, w)),
        ]

    def start(self, empty: Tensor) -> State:
        return State()  # what a line says in a column is asked for once in a line: less than its tokens to keep

    def goes_on(
        self, q: Tensor, k: Tensor, v: Tensor, state: State, *, first: Tensor, n: int, scale: float, pooling: Pooling
    ) -> tuple[list[Look], State]:
        tiles, full = Tiles(first, n, self.width), q.shape[1] // self.width * self.width
        lines, keys, values = (t[:, :full].unflatten(1, (-1, self.width)) for t in (q, k, v))
        inside = torch.einsum("brihd,brjhd->brihj", tiles.columns(lines), keys) * scale
        told = torch.einsum("brihj,brjhd->brihd", inside.softmax(dim=-1), values)
        asked = tiles.tokens(q)
        down = tiles.told(torch.einsum("brchd,bkchd->brchk", asked, tiles.columns(keys)) * scale)
        later = torch.arange(keys.shape[1], device=q.device) >= tiles.blocks[:, :, None]
        down = down.masked_fill(later[:, :, None], -math.inf)
        return [
            tiles.own(asked, tiles.around(k), tiles.around(v), scale=scale),
            Look(down, lambda w: tiles.told(torch.einsum("brchk,bkchd->brchd", tiles.laid(w), told))),
        ], state

"""Attention within windows of a grid, shifted from layer to layer. Liu et al. 2021, arXiv:2103.14030."""

import logging
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, ScoreBias, Spec, Traits, VariorumError
from variorum.layers.positions.window_bias import WindowBias
from variorum.layers.windows import join, neighbours, partition

log = logging.getLogger(__name__)


class WindowAttention(Mixer):
    """softmax(q k^T / sqrt(head_dim) + B) v within each ``window`` x ``window`` square of the grid.

    Liu et al. 2021, arXiv:2103.14030. With ``shift`` the squares are moved down and right by so many tokens; those that
    the border cuts are put together in one window, in which only tokens of one piece see each other. A grid whose sides
    are no multiples of the window is filled up with zeros, attended to like tokens, as in the authors' code; a grid no
    larger than the window is one window and is not shifted.
    x (batch, H*W, dim) with ``layout.grid == (H, W)``. bias: B, by place in the window.
    """

    taps = ("weights",)
    traits: Traits = Traits(grid=2, ragged=False)
    examples = ({"heads": 2, "window": 2}, {"heads": 2, "window": 3, "shift": 1})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        window: int = 7,
        shift: int = 0,
        bias: Spec[ScoreBias] | None = WindowBias.spec(),
        qkv_bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads or not 0 <= shift < window:
            raise VariorumError(
                "WindowAttention",
                expected="heads that divide dim, and a shift smaller than the window",
                found=f"dim {dim}, heads {heads}, window {window}, shift {shift}",
                do="Choose others.",
            )
        self.heads, self.window, self.shift, self.dropout = heads, window, shift, dropout
        self.scale = 1 / math.sqrt(dim // heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.out = nn.Linear(dim, dim)
        self.bias = bias.build(dim=dim, heads=heads, window=window) if bias else None

    def forward(
        self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "batch n dim"]:
        if layout is None or layout.grid is None or len(layout.grid) != 2 or layout.packed:
            raise VariorumError(
                "layout", expected="equal rows with a grid (H, W)", found=str(layout), do="Pass Layout(grid=(H, W))."
            )
        height, width = layout.grid
        window, shift = (self.window, self.shift) if min(layout.grid) > self.window else (min(layout.grid), 0)
        image = F.pad(x.unflatten(1, (height, width)), (0, 0, 0, -width % window, 0, -height % window))
        grid = (image.shape[1], image.shape[2])
        if shift:
            image = image.roll((-shift, -shift), dims=(1, 2))
        mixed = self._attend(partition(image, window), self._mask(grid, window, shift, x))
        image = join(mixed, window, grid)
        if shift:
            image = image.roll((shift, shift), dims=(1, 2))
        return image[:, :height, :width].flatten(1, 2)

    def _mask(self, grid: tuple[int, int], window: int, shift: int, x: Tensor) -> Tensor | None:
        """What is added to the scores, (1 or batch * windows, heads or 1, n, n)."""
        added: Tensor | None = None
        if self.bias is not None:
            side = torch.arange(window, device=x.device)
            places = (side[:, None] * self.window + side).flatten()
            added = self.bias(places, places).unsqueeze(0)
        if shift:
            seen = neighbours(grid, window, shift, x.device).unsqueeze(1)
            empty = x.new_zeros(()) if added is None else added
            added = torch.where(seen, empty, -math.inf).repeat(x.shape[0], 1, 1, 1)
        return None if added is None else added.to(x.dtype)

    def _attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.heard("weights"):
            out = self._readable(q, k, v, mask)
        else:
            dropout = self.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale, dropout_p=dropout)
        return self.out(out.transpose(1, 2).flatten(2))

    def _readable(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The naive twin of the fused path: it forms the weights (batch * windows, heads, n, n) and shows them."""
        log.info("attention weights asked for: taking the readable path for this call")
        scores = q @ k.transpose(-1, -2) * self.scale
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        return F.dropout(self.tap("weights", weights), self.dropout, self.training) @ v

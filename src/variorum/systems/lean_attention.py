"""LeanAttention: attention of the decode phase, cut into equal shares. Sanovar et al. 2024, arXiv:2405.10480.

What differs from FlashDecoding, which cuts every head's context into the same number of parts: the contexts of all rows
and heads are cut into tiles of one size, which lie end to end, and every worker takes the same number of them, across
heads and rows (stream-K). Softmax re-scaling is associative, so what workers find for one head is merged in any order.

On a GPU the block with a head's first tile merges what its peers have found; here the tiles of a row are merged, in
their order, when the workers have ended, so that a row's answer does not hang on the others.
Tiles are of 512 keys; the paper has 256 for heads 64 wide on an A100, where writing down a tile costs less.
Every streaming attention writes with it from a context of 1,024 keys on (``layers.mixers.attention``).
"""

from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, VariorumError, entry
from variorum.layers.mixers.kernels.decode_attention import TILE, decode_attention


@entry("lean-attention")
def lean_attention(
    q: Float[Tensor, "rows heads head_dim"],
    keys: Float[Tensor, "tokens kv_heads head_dim"],
    values: Float[Tensor, "tokens kv_heads head_dim"],
    layout: Layout,
    *,
    scale: float | None = None,
    tile: int = TILE,
    workers: int | None = None,
) -> Float[Tensor, "rows heads head_dim"]:
    """One query a row over packed keys and values; ``scale`` is 1 / sqrt(head_dim) unless given."""
    if layout.offsets is None:
        raise VariorumError("lean_attention: layout", expected="packed rows (with offsets)", found="equal rows",
                            do="Make one with Layout.ragged.")  # fmt: skip
    runs = ([[row] for row in packed.split(layout.lengths)] for packed in (keys, values))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return decode_attention(q, *runs, scale=scale, tile=tile, workers=workers)

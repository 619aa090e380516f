"""MASFormer: full attention in a few layers, local attention in the others. Zhang et al. 2023, arXiv:2310.12442.

What differs from the plain decoder: all but ``full`` of the layers look only a fixed distance back, so that attention
costs full * n^2 + (depth - full) * n * window, and long-range signals travel through the few layers that see all. The
local span is the paper's block (each token sees its block and the one before) or GPT-Neo's sliding window; a rolling
cache keeps what it can reach. Where the full layers stand is an axis of the design and changes no parameter: the
backbone is GPT-Neo (unscaled scores, no biases of queries, keys and values), whose weights the paper goes on training
on longer rows. Black et al. 2021, doi:10.5281/zenodo.5297715.
"""

from enum import StrEnum

from variorum.core import Pattern, Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.blocks import Blocks
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.window import Window
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack


class Placement(StrEnum):
    """Where the full layers stand."""

    BOTTOM = "bottom"
    MIDDLE = "middle"
    TOP = "top"
    SPREAD = "spread"


class Span(StrEnum):
    """What a local layer sees: its block and the one before, or so many tokens back."""

    BLOCK = "block"
    SLIDING = "sliding"


_XL = {"dim": 2048, "depth": 24, "heads": 16, "full": 8, "window": 1024, "length": 8192}


@entry(
    "masformer",
    sizes={
        "1.3b": _XL,
        "1.3b-4-full": {**_XL, "full": 4},
        "1.3b-sliding": {**_XL, "span": Span.SLIDING},
        "gpt-neo-1.3b": {**_XL, "full": 12, "window": 256, "length": 2048, "span": Span.SLIDING,
                         "placement": Placement.SPREAD},
    },
    fits={"text": [
        {"dim": dim, "depth": depth, "heads": heads, "full": 1, "window": 32, "length": 256}
        for dim, depth, heads in ((64, 2, 4), (128, 2, 4), (192, 4, 6))
    ]},
)  # fmt: skip
def masformer(
    *, dim: int, depth: int, heads: int, full: int, window: int, length: int, placement: Placement = Placement.BOTTOM,
    span: Span = Span.BLOCK,
) -> Spec[Stack]:  # fmt: skip
    """A decoder in which ``full`` of the ``depth`` layers attend to all tokens before, the others to near ones."""
    near: Spec[Pattern] = Window.spec(size=window) if span is Span.SLIDING else Blocks.spec(size=window)
    local = Block.spec(
        mixer=Attention.spec(heads=heads, pattern=near, scale=1.0, qkv_bias=False),
        channels=MLP.spec(activation=Activation.GELU_TANH),
    )
    whole = local.replace("mixer.pattern", Causal.spec())
    chosen = places(full, depth, placement)
    embed = TokenEmbed.spec(position=LearnedPosition.spec(length=length))
    blocks = [whole if i in chosen else local for i in range(depth)]
    return Stack.spec(dim=dim, embed=embed, blocks=blocks, head=Unembed.spec(),
                      tied=[("head.linear.weight", "embed.token.weight")])  # fmt: skip


def places(full: int, depth: int, placement: Placement) -> set[int]:
    """The layers, from 0, that attend to all."""
    first = {Placement.BOTTOM: 0, Placement.MIDDLE: (depth - full) // 2, Placement.TOP: depth - full}
    if placement is Placement.SPREAD:
        return {i * depth // full for i in range(full)}
    return set(range(first[placement], first[placement] + full))

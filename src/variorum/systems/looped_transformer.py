"""Looped Transformers are better at learning learning algorithms. Yang et al. 2023, arXiv:2311.12424.

One GPT-2 block is applied again and again to a prompt (x_1, y_1, ..., x_k, y_k) of points and values:
Y_{t+1} = f(Y_t + P), Y_0 = 0, P the prompt read in by one linear map and given learned positions; a linear map reads
the answers off the positions of the x_i. In training b passes are made, and the mean squared error of the last T of
them, over all positions, is propagated through these T only.

What differs from the plain decoder: the loop. The final norm is inside it, as in the official code. A depth above 1
loops over several blocks. ``baseline`` is what the paper compares with: as many different blocks, applied once. The
official code lets the number of passes, and the size of the prompts, grow at first; here the sizes grow with the task
(``InContextRegression``) and the passes are those asked for from the beginning.
"""

from variorum.core import Spec, entry
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.vectors import VectorEmbed
from variorum.layers.heads.readout import Readout
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.learned import LearnedPosition
from variorum.models.blocks.block import Block
from variorum.models.looped import Looped
from variorum.models.stack import Stack


@entry(
    "looped-transformer",
    sizes={
        "linear": {"times": 30, "window": 15},
        "sparse-linear": {"times": 20, "window": 10},
        "decision-tree": {"times": 70, "window": 15},
        "relu-network": {"times": 12, "window": 5},
    },
)
def looped_transformer(
    *,
    times: int,
    window: int,
    dim: int = 256,
    heads: int = 8,
    depth: int = 1,
    features: int = 20,
    length: int = 203,
) -> Spec[Looped]:
    """A loop of ``depth`` GPT-2 blocks over a prompt of up to ``length`` tokens of ``features`` numbers each."""
    return Looped.spec(dim=dim, embed=_prompt(features, length), blocks=[_block(heads)] * depth, times=times,
                       window=window, head=Readout.spec(variables=1))  # fmt: skip


def baseline(*, dim: int = 256, heads: int = 8, depth: int = 12, features: int = 20, length: int = 203) -> Spec[Stack]:
    """The standard Transformer of the paper: ``depth`` different blocks, applied once."""
    embed = _prompt(features, length)
    return Stack.spec(dim=dim, embed=embed, blocks=[_block(heads)] * depth, head=Readout.spec(variables=1))


def _prompt(features: int, length: int) -> Spec[VectorEmbed]:
    return VectorEmbed.spec(features=features, position=LearnedPosition.spec(length=length))


def _block(heads: int) -> Spec[Block]:
    mixer = Attention.spec(heads=heads, pattern=Causal.spec())
    return Block.spec(mixer=mixer, channels=MLP.spec(activation=Activation.GELU_TANH))

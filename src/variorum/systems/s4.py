"""S4: a state space for each channel in place of attention. Gu, Goel & Re 2021, arXiv:2111.00396.

What differs from the plain Transformer: the mixer, a linear system whose state holds the whole past; one residual
branch a layer, state space -> GELU -> linear, without a feed-forward network; no positions. Classifiers take the mean
of the tokens. The language model is a Transformer in which two such layers stand in the place of attention.

The sizes are those of the paper's table of hyper-parameters: layers, width, dropout, which norm, and where it stands.
Inputs are ids here (bytes, levels of grey, quantised samples); put another embed in place for numbers. The paper's
language model has adaptive embeddings, and its later code gated output layers and both directions; these have not.
"""

from enum import StrEnum

from variorum.core import Embed, Layer, Norm, Residual, Spec, entry
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.log_mel import LogMel
from variorum.layers.embed.series_patches import SeriesPatches
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.classifier import Classifier
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.state_space import StateSpace
from variorum.layers.norms.batchnorm import BatchNorm
from variorum.layers.norms.identity import NoNorm
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.postnorm import PostNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.models.blocks.branch import Branch
from variorum.models.stack import Stack


class Answer(StrEnum):
    """What the model answers."""

    CLASS = "class"
    TOKENS = "tokens"


class Normed(StrEnum):
    """Which norm, and where it stands: before the branch, or after the sum."""

    BATCH_BEFORE = "batch before"
    BATCH_AFTER = "batch after"
    LAYER_BEFORE = "layer before"
    LAYER_AFTER = "layer after"

    @property
    def norm(self) -> Spec[Norm]:
        """The norm."""
        return BatchNorm.spec() if self.name.startswith("BATCH") else LayerNorm.spec()

    @property
    def residual(self) -> type[PreNorm] | type[PostNorm]:
        """Where it stands."""
        return PreNorm if self.name.endswith("BEFORE") else PostNorm


_IDS: Spec[Embed] = TokenEmbed.spec()
# Tokens of 40 milliseconds, of frames that are 20 apart.
_HEARD: Spec[Embed] = LogMel.spec(frames=SubsampledFrames.spec(channels=32, halvings=1), bins=64, window=0.04, hop=0.02,
                                  centre=-8.0, spread=5.0)  # fmt: skip


@entry(
    "s4",
    sizes={
        "lra-listops": {"dim": 128, "depth": 6, "length": 2048, "normed": Normed.BATCH_AFTER},
        "lra-text": {"dim": 64, "depth": 4, "length": 4096, "normed": Normed.BATCH_BEFORE},
        "lra-retrieval": {"dim": 256, "depth": 6, "length": 4000, "normed": Normed.BATCH_BEFORE},
        "lra-image": {"dim": 512, "depth": 6, "length": 1024, "dropout": 0.2},
        "lra-pathfinder": {"dim": 256, "depth": 6, "length": 1024, "normed": Normed.BATCH_BEFORE, "dropout": 0.1},
        "lra-path-x": {"dim": 256, "depth": 6, "length": 16384, "normed": Normed.BATCH_BEFORE},
        "cifar-10": {"dim": 1024, "depth": 6, "length": 1024, "dropout": 0.25},
        "speech-mfcc": {"dim": 256, "depth": 4, "length": 161, "dropout": 0.2},
        "speech-raw": {"dim": 128, "depth": 6, "length": 16000, "normed": Normed.BATCH_BEFORE, "dropout": 0.1},
        "wikitext-103": {
            "dim": 1024,
            "depth": 16,
            "length": 8192,
            "answer": Answer.TOKENS,
            "normed": Normed.LAYER_BEFORE,
            "dropout": 0.25,
        },
    },
    fits={
        data: [{**rest, "dim": dim, "depth": depth, "normed": Normed.LAYER_BEFORE} for dim, depth in sizes]
        for data, rest, sizes in (
            ("text", {"length": 256, "answer": Answer.TOKENS}, [(64, 1), (128, 1), (128, 2)]),
            ("labelled texts", {"length": 256}, [(64, 1), (64, 2), (128, 2), (32, 1)]),
            (
                "labelled series",
                {"length": 256, "state": 32, "embed": SeriesPatches.spec(most=256)},
                [(64, 1), (64, 2), (128, 2), (32, 1)],
            ),
            ("sounds", {"length": 128, "embed": _HEARD}, [(64, 1), (96, 3), (64, 2), (32, 1)]),
        )
    },
)
def s4(
    *,
    dim: int,
    depth: int,
    state: int = 64,
    length: int = 1024,
    embed: Spec[Embed] = _IDS,
    answer: Answer = Answer.CLASS,
    normed: Normed = Normed.LAYER_AFTER,
    dropout: float = 0.0,
) -> Spec[Stack]:
    """A stack of ``depth`` state-space layers that classifies rows, or a language model of ``depth`` blocks."""
    residual: Spec[Residual] = normed.residual.spec(dropout=dropout)
    mixer = StateSpace.spec(state=state, length=length, dropout=dropout)
    alone: Spec[Layer] = Branch.spec(parts=[mixer], residual=residual, norm=normed.norm)
    fed: Spec[Layer] = Block.spec(mixer=mixer, channels=MLP.spec(dropout=dropout), residual=residual, norm=normed.norm)
    return Stack.spec(
        dim=dim,
        embed=embed,
        blocks=([alone, fed] if answer is Answer.TOKENS else [alone]) * depth,
        norm=normed.norm if normed.residual is PreNorm else NoNorm.spec(),
        head=Unembed.spec() if answer is Answer.TOKENS else Classifier.spec(),
    )

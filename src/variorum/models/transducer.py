"""A model that hears and says at its own pace: encoder, prediction network and joint. Graves 2012, arXiv:1211.3711."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from variorum.core import Head, Input, Layout, Skeleton, Spec, Tower, Traits
from variorum.layers.embed.subsampled_frames import SubsampledFrames
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.joint import Joint
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.gated_conv import GatedConv, Looks
from variorum.layers.mixers.lstm import LSTM
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.norms.identity import NoNorm
from variorum.layers.residuals.skipless import Skipless
from variorum.models.alignments import Framewise, Hybrid, Lattice, row_lengths
from variorum.models.blocks.branch import Branch
from variorum.models.blocks.conformer import ConformerBlock
from variorum.models.stack import Stack

_HEAR = ConformerBlock.spec(mixer=RelativeAttention.spec(heads=2), conv=GatedConv.spec(kernel=3, looks=Looks.BOTH))
_ENCODER = Stack.spec(
    embed=SubsampledFrames.spec(bins=5, channels=2, halvings=1, looks=Looks.BOTH),
    blocks=[_HEAR], norm=NoNorm.spec(), head=Features.spec(),
)  # fmt: skip
_PREDICTION = Stack.spec(
    embed=TokenEmbed.spec(),
    blocks=[Branch.spec(parts=[LSTM.spec()], residual=Skipless.spec(), norm=NoNorm.spec())],
    norm=NoNorm.spec(), head=Features.spec(),
)  # fmt: skip


class Transducer(Skeleton):
    """Lattice of joint(encoder(inputs)_t, prediction(y_1 ... y_u)) over all t and u. Graves 2012, arXiv:1211.3711.

    The prediction network reads the labels said so far after a ``blank``, the label that says nothing; it is ``labels``
    wide. Rows of tokens and of labels may be uneven: packed nodes have no padding. With ``framewise``, a head on the
    encoder's tokens, both are answered: Hybrid(lattice, framewise) (Noroozi et al. 2023, arXiv:2312.17279).

    inputs: what the encoder's embed reads; target: ids of the true labels, (batch, u) or packed.
    """

    inputs: ClassVar[Mapping[str, Input]] = {
        "inputs": Input("encoder.embed"),
        "target": Input("prediction.embed", "target_layout"),
    }
    examples = (
        {"encoder": _ENCODER, "prediction": _PREDICTION, "joint": Joint.spec(hidden=8), "labels": 6},
        {
            "encoder": _ENCODER,
            "prediction": _PREDICTION,
            "joint": Joint.spec(hidden=8),
            "labels": 6,
            "framewise": Unembed.spec(bias=True),
        },
    )

    def __init__(
        self,
        dim: int,
        *,
        encoder: Spec[Tower],
        prediction: Spec[Stack],
        joint: Spec[Joint],
        labels: int = 640,
        framewise: Spec[Head] | None = None,
        blank: int = 0,
    ) -> None:
        super().__init__()
        self.blank = blank
        self.encoder = encoder.build(dim=dim)
        self.prediction = prediction.build(dim=labels)
        self.joint = joint.build(dim=dim, labels=labels)
        self.framewise = framewise.build(dim=dim) if framewise else None

    @property
    def traits(self) -> Traits:
        """It takes uneven rows if both networks do; its encoder streams, and a search goes with it."""
        both = self.encoder.traits.along(self.prediction.traits)
        return Traits(ragged=both.ragged, growth=both.growth, batchwise=both.batchwise, exports=False)

    def forward(
        self, inputs: Tensor, target: Tensor, layout: Layout | None = None, target_layout: Layout | None = None
    ) -> Lattice | Hybrid:
        heard, layout = self.encoder.hidden(inputs, layout)
        tokens, labels = row_lengths(heard, layout), row_lengths(target, target_layout)
        said, _ = self.prediction.hidden(*self._after_blank(target.flatten(), labels))
        first, second = self.joint.project(heard, said)
        if heard.dim() == 3 and target.dim() == 2:
            states = second.view(len(target), target.shape[1] + 1, second.shape[-1])
            logits = self.joint.meet(first.unsqueeze(2), states.unsqueeze(1))
        else:
            h, s = nodes(tokens, labels)
            logits = self.joint.meet(first.flatten(0, -2)[h], second[s])
        lattice = Lattice(logits, tokens, labels)
        if self.framewise is None:
            return lattice
        return Hybrid(lattice, Framewise(self.framewise(heard, layout), tokens))

    def _after_blank(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Layout]:
        """Packed rows of labels, a blank before each."""
        layout = Layout.ragged(labels + 1)
        row = torch.repeat_interleave(torch.arange(len(labels), device=ids.device), labels)
        places = torch.arange(len(ids), device=ids.device) + row + 1
        return ids.new_full((len(ids) + len(labels),), self.blank).index_copy(0, places, ids), layout


def nodes(tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of every node of rows of ``tokens`` (rows,) by ``labels`` + 1 states, u fastest: its packed token and state."""
    states = labels + 1
    count = tokens * states
    row = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    within = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    t, u = within.div(states[row], rounding_mode="floor"), within % states[row]
    return (tokens.cumsum(0) - tokens)[row] + t, (states.cumsum(0) - states)[row] + u

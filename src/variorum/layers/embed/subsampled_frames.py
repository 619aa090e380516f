"""Tokens of a spectrogram by halving convolutions. Rekesh et al. 2023, arXiv:2305.05084 (FastConformer)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, State, StreamingEmbed, Traits, VariorumError, reform_rows
from variorum.layers.embed.pieces import reform_pieces
from variorum.layers.mixers.gated_conv import Looks

_KERNEL, _STRIDE = 3, 2


class SubsampledFrames(Embed, StreamingEmbed):
    """x = scale * dropout(W flatten(h_k) + b), h_i = relu(conv_i(h_{i-1})), h_0 the frames: one token of 2^k frames.

    Convolutions are 3 x 3 over time and bands with stride 2: the first mixes channels, each later one is depthwise and
    followed by a pointwise one, ``channels`` wide. Rekesh et al. 2023, arXiv:2305.05084, with k = ``halvings`` = 3.
    (*frames, bins) -> (*tokens, dim), a row of n frames gives ceil(n / 2^k) tokens.

    looks: both ways, or back (Noroozi et al. 2023, arXiv:2312.17279): two zeros stand before the first frame and none
    after the last; over bands the padding is the same on both sides. Looking back it streams, in pieces of 2^k frames,
    keeping the last two frames in front of every convolution.
    """

    reads = "frames"
    examples = (
        {"bins": 5, "channels": 4, "halvings": 2},
        {"bins": 8, "channels": 4, "halvings": 2, "looks": Looks.BOTH, "scale": 2.0},
    )

    def __init__(
        self,
        dim: int,
        bins: int,
        *,
        channels: int = 256,
        halvings: int = 3,
        looks: Looks = Looks.BACK,
        scale: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if halvings < 1:
            raise VariorumError("SubsampledFrames halvings", expected="at least 1", found=str(halvings),
                                do="Use ConvFrames, or more halvings.")  # fmt: skip
        self.looks, self.scale, self.channels = looks, scale, channels
        self.halve = nn.ModuleList(
            nn.Conv2d(channels if i else 1, channels, _KERNEL, stride=_STRIDE, groups=channels if i else 1)
            for i in range(halvings)
        )
        self.mix = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(halvings - 1))
        self.bands = [bins]
        for _ in range(halvings):
            self.bands.append(-(-self.bands[-1] // _STRIDE))
        self.out = nn.Linear(channels * self.bands[-1], dim)
        self.dropout = nn.Dropout(dropout)

    @property
    def traits(self) -> Traits:
        """Looking back it streams; causal in pieces, not in frames, for a token is made of several."""
        return Traits(streams=self.looks is Looks.BACK, piece=_STRIDE ** len(self.halve))

    def forward(
        self, inputs: Float[Tensor, "*frames bins"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        before = _KERNEL - 1 if self.looks is Looks.BACK else 1
        after = 0 if self.looks is Looks.BACK else 1

        def convolve(rows: Tensor) -> Tensor:
            h = rows.unsqueeze(1)
            for i in range(len(self.halve)):
                h = self._halve(i, F.pad(h, (0, 0, before, after)))
            return self._flat(h)

        x, layout = reform_rows(convolve, layout, inputs)
        return self._token(x), layout

    def start(self, batch: int) -> State:
        widths = [1] + [self.channels] * (len(self.halve) - 1)
        blank = self.out.weight.new_zeros(batch, _KERNEL - 1)
        pairs = zip(widths, self.bands, strict=False)
        return State({str(i): blank[..., None, None].expand(-1, -1, c, b).clone() for i, (c, b) in enumerate(pairs)})

    def advance(
        self, inputs: Tensor, state: State, layout: Layout | None = None
    ) -> tuple[Tensor, Layout | None, State]:
        if not self.traits.streams:
            raise VariorumError("SubsampledFrames.advance", expected="convolutions that look back", found=self.looks,
                                do="Build it with Looks.BACK.")  # fmt: skip

        def go_on(rows: Tensor, state: State) -> tuple[Tensor, State]:
            if not rows.shape[1]:
                return rows.new_zeros(rows.shape[0], 0, self.out.in_features), state
            h, after = rows.unsqueeze(1), State()
            for i in range(len(self.halve)):
                h = torch.cat([state.tensor(str(i)).transpose(1, 2).to(h.dtype), h], dim=2)
                after[str(i)] = h[:, :, h.shape[2] - _KERNEL + 1 :].transpose(1, 2)
                h = self._halve(i, h)
            return self._flat(h), after

        x, layout, state = reform_pieces(go_on, layout, inputs, state)
        return self._token(x), layout, state

    def _halve(self, i: int, h: Tensor) -> Tensor:
        """(batch, c, frames padded, bands) -> (batch, channels, half, half of the bands)."""
        h = self.halve[i](F.pad(h, (1, 1)))
        return F.relu(h if i == 0 else self.mix[i - 1](h))

    def _flat(self, h: Tensor) -> Tensor:
        return h.transpose(1, 2).flatten(2)

    def _token(self, x: Tensor) -> Tensor:
        return self.dropout(self.out(x)) * self.scale

"""Sound as it is sampled, made frames of a log-mel spectrogram, made tokens. Davis & Mermelstein 1980."""

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Embed, Layout, Spec, State, StreamingEmbed, Traits, VariorumError, reform_rows
from variorum.layers.embed.pieces import reform_pieces
from variorum.layers.embed.spectrogram import Frames, log_mel, log_mel_windows
from variorum.layers.embed.subsampled_frames import SubsampledFrames


class LogMel(Embed, StreamingEmbed):
    """x = inner(log mel of the sound): samples in -1 ... 1, (*samples, 1), -> (*tokens, dim).

    Frames are made of ``window`` seconds, one every ``hop`` seconds, in ``bins`` bands (see
    :func:`variorum.layers.embed.spectrogram.log_mel`), ``rate`` samples a second; ``frames`` makes tokens of them. It
    streams if ``frames`` does, in pieces of as many hops, keeping the samples of the window before. A row shorter than
    a hop raises VariorumError.
    """

    reads = "audio"
    examples = ({"frames": SubsampledFrames.spec(channels=2, halvings=2), "bins": 8, "rate": 1000},)

    def __init__(
        self,
        dim: int,
        rate: int,
        *,
        frames: Spec[Embed],
        bins: int = 80,
        window: float = 0.025,
        hop: float = 0.01,
        centre: float = 0.0,
        spread: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape = Frames(rate=rate, window=window, hop=hop, bins=bins, centre=centre, spread=spread)
        self.frames = frames.build(dim=dim, bins=bins)
        if self.frames.reads != "frames":
            raise VariorumError("LogMel frames", expected="an embed that reads frames", found=self.frames.reads,
                                do="Use SubsampledFrames or ConvFrames.")  # fmt: skip

    @property
    def traits(self) -> Traits:
        """Those of ``frames``, of pieces that are counted in samples."""
        inner = self.frames.traits
        return inner.but(piece=inner.piece * self.shape.stride)

    def forward(
        self, inputs: Float[Tensor, "*samples 1"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        def cut(rows: Tensor) -> Tensor:
            if rows.shape[1] < self.shape.stride:
                raise VariorumError("LogMel", expected=f"sounds of at least a hop, {self.shape.stride} samples",
                                    found=f"{rows.shape[1]}", do="Leave such rows out.")  # fmt: skip
            return log_mel(rows[..., 0], self.shape)

        return self.frames(*reform_rows(cut, layout, inputs))

    def start(self, batch: int) -> State:
        last = next(self.frames.parameters()).new_zeros(batch, self.shape.lead)
        return State(last=last, frames=self._streaming().start(batch))

    def advance(
        self, inputs: Tensor, state: State, layout: Layout | None = None
    ) -> tuple[Tensor, Layout | None, State]:
        def cut(rows: Tensor, state: State) -> tuple[Tensor, State]:
            seen = torch.cat([state.tensor("last").to(rows.dtype), rows[..., 0]], dim=1)
            return log_mel_windows(seen, self.shape), State(last=seen[:, seen.shape[1] - self.shape.lead :])

        frames, layout, kept = reform_pieces(cut, layout, inputs, State(last=state["last"]))
        x, layout, inner = self._streaming().advance(frames, state.child("frames"), layout)
        return x, layout, State(last=kept["last"], frames=inner)

    def _streaming(self) -> StreamingEmbed:
        if not isinstance(self.frames, StreamingEmbed) or not self.frames.traits.streams:
            raise VariorumError("LogMel", expected="frames that are embedded piece by piece",
                                found=type(self.frames).__name__, do="Use SubsampledFrames looking back.")  # fmt: skip
        return self.frames

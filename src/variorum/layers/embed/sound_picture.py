"""Sound seen as a picture: a log-mel spectrogram that an embed of images makes tokens of. Hershey et al. 2016."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Embed, Layout, Spec, Traits, VariorumError
from variorum.layers.embed.patches import Patches
from variorum.layers.embed.resized import told
from variorum.layers.embed.spectrogram import Frames, log_mel

CENTRE, SPREAD = -8.0, 5.0
"""Of speech at an even level, with windows of 25 to 100 milliseconds."""


class SoundPicture(Embed):
    """x = embed(picture of the sound): samples in -1 ... 1, (*samples, 1), -> the tokens of an embed of images.

    Hershey et al. 2016, arXiv:1609.09430. The picture has one channel, ``height`` bands of mel and ``width`` frames,
    one every ``hop`` seconds (see :func:`sound_picture`); rows of any length show the window in their middle.
    rate: samples a second.  window: seconds that a frame sees, twice the hop unless given.  centre, spread: what is
    taken off the logarithms, and what they are divided by then: of speech whose root of the mean square is 0.1.
    """

    reads = "audio"
    examples = ({"embed": Patches.spec(patch=4), "rate": 1000, "hop": 0.01, "height": 8, "width": 12},)

    def __init__(
        self,
        dim: int,
        rate: int,
        hop: float,
        height: int,
        width: int,
        *,
        embed: Spec[Embed],
        window: float | None = None,
        centre: float = CENTRE,
        spread: float = SPREAD,
    ) -> None:
        super().__init__()
        self.shape = picture_frames(rate, hop, height, window=window, centre=centre, spread=spread)
        self.width = width
        self.embed = told(embed, {"channels": 1, "height": height, "width": width}).build(dim=dim)
        if self.embed.reads != "images":
            raise VariorumError("SoundPicture embed", expected="an embed that reads images", found=self.embed.reads,
                                do="Use Patches, ConvPatches or ConvTokens.")  # fmt: skip
        self.tokens = self.embed.tokens

    @property
    def traits(self) -> Traits:
        """Those of the inner embed, of rows of any length; however long, the tokens are as many."""
        return self.embed.traits.but(ragged=True, bounded=True, causal=False, streams=False, equivariant=False)

    def forward(
        self, inputs: Float[Tensor, "*samples 1"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "*tokens dim"], Layout | None]:
        return self.embed(sound_picture(inputs, layout, self.shape, self.width))


def picture_frames(rate: int, hop: float, bands: int, *, window: float | None, centre: float, spread: float) -> Frames:
    """How sound is cut for a picture."""
    return Frames(rate=rate, hop=hop, bins=bands, window=window or 2 * hop, centre=centre, spread=spread)


def sound_picture(
    inputs: Float[Tensor, "*samples 1"], layout: Layout | None, frames: Frames, width: int
) -> Float[Tensor, "rows 1 bins width"]:
    """The log-mel spectrogram of the window of ``width`` hops in the middle of each row, low bands on top.

    A shorter row has silence before and after it, as much on both sides.
    """
    window = width * frames.stride
    if layout is None or layout.offsets is None:
        rows = middle(inputs[..., 0], window)
    else:
        rows = torch.stack([middle(row[:, 0], window) for row in inputs.split(layout.lengths)])
    return log_mel(rows, frames).transpose(1, 2).unsqueeze(1)


def middle(samples: Float[Tensor, "*rows n"], window: int) -> Float[Tensor, "*rows window"]:
    """As many samples as the window takes, from the middle; zeros around what is shorter."""
    # Without a question about the length, so that an exported model takes any.
    first = (samples.shape[-1] + window) // 2
    return F.pad(samples, (window, window)).narrow(-1, first, window)

"""Sound seen as a picture by a model of images. Hershey et al. 2016, arXiv:1609.09430."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from variorum.core import Input, Layout, Skeleton, Spec, Traits
from variorum.layers.embed.sound_picture import CENTRE, SPREAD, picture_frames, sound_picture
from variorum.models.convnet import ConvNet


class SeenSound(Skeleton):
    """y = model(picture of the sound): samples in -1 ... 1, (*samples, 1), -> the answers of a model of images.

    Hershey et al. 2016, arXiv:1609.09430. For the picture and its arguments see
    :class:`variorum.layers.embed.sound_picture.SoundPicture`; the model is given one channel.
    """

    inputs: ClassVar[Mapping[str, Input]] = MappingProxyType({"inputs": Input("", reads="audio")})
    examples = (
        {"model": ConvNet.spec(channels=1, width=4, stages=2), "rate": 1000, "hop": 0.01, "height": 8, "width": 12},
    )

    def __init__(
        self,
        rate: int,
        hop: float,
        height: int,
        width: int,
        *,
        model: Spec[Skeleton],
        window: float | None = None,
        centre: float = CENTRE,
        spread: float = SPREAD,
    ) -> None:
        super().__init__()
        self.shape = picture_frames(rate, hop, height, window=window, centre=centre, spread=spread)
        self.width = width
        self.model = model.fill(channels=1, height=height, width=width).build()

    @property
    def traits(self) -> Traits:
        """Those of the model, of rows of any length."""
        return self.model.traits.but(ragged=True)

    def forward(
        self, inputs: Float[Tensor, "*samples 1"], layout: Layout | None = None
    ) -> Float[Tensor, "rows answers"]:
        return self.model(sound_picture(inputs, layout, self.shape, self.width))

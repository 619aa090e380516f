"""Images brought to another size before they are embedded. Chen et al. 2021, arXiv:2103.14899."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from variorum.core import Embed, Layout, Spec, Traits, VariorumError
from variorum.layers.embed.patches import Patches


class Resized(Embed):
    """y = embed(image resized by ``scale``), bicubic: (batch, channels, height, width) -> (batch, n, dim).

    Chen et al. 2021, arXiv:2103.14899, whose branches see one image in sizes that fit their patches. Sides are rounded
    to whole pixels. ``height``, ``width``: of the training images; the inner embed is told the resized ones.
    """

    reads = "images"
    examples = ({"embed": Patches.spec(patch=4), "scale": 1.5}, {"embed": Patches.spec(patch=4)})

    def __init__(self, dim: int, height: int, width: int, *, embed: Spec[Embed], scale: float = 1.0) -> None:
        super().__init__()
        if scale <= 0:
            raise VariorumError("Resized scale", expected="a number above 0", found=str(scale), do="Choose another.")
        self.scale = scale
        sides = {"height": round(height * scale), "width": round(width * scale)}
        self.embed = told(embed, sides).build(dim=dim)
        self.tokens = self.embed.tokens

    @property
    def traits(self) -> Traits:
        """Those of the inner embed."""
        return self.embed.traits

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout | None]:
        height, width = (round(side * self.scale) for side in inputs.shape[-2:])
        if (height, width) != inputs.shape[-2:]:
            inputs = F.interpolate(inputs, size=(height, width), mode="bicubic", align_corners=False)
        return self.embed(inputs, layout)


def told(embed: Spec[Embed], sides: dict[str, int]) -> Spec[Embed]:
    """The spec with these image sides wherever in its tree they are asked for; a task has told all of it its own."""
    for path, spec in embed.walk():
        asked = {*dict(spec.args), *spec.open}
        known = {name: side for name, side in sides.items() if name in asked}
        if known:
            embed = embed.update(path, **known) if path else embed.but(**known)
    return embed

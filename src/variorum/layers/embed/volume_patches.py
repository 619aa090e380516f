"""Patches of a volume. Wu et al. 2022, arXiv:2201.00462."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Embed, Layout, Norm, Spec, Traits, VariorumError
from variorum.layers.grids import from_grid
from variorum.layers.norms.identity import NoNorm


class VolumePatches(Embed):
    """Each box of sides ``patch``, linearly projected and normed: (batch, channels, D, H, W) -> (batch, n, dim).

    Wu et al. 2022, arXiv:2201.00462. A side that is no multiple of the patch's is filled up with zeros at its end; the
    layout has the grid of patches, and the sides of the volume as its ``extent``.
    """

    reads = "volumes"
    traits: Traits = Traits(ragged=False)
    examples = ({"patch": (2, 4, 4)}, {"patch": (2, 3, 5)})

    def __init__(
        self, dim: int, channels: int, *, patch: Sequence[int] = (2, 4, 4), norm: Spec[Norm] = NoNorm.spec()
    ) -> None:
        super().__init__()
        if len(patch) != 3 or min(patch) < 1:
            raise VariorumError("VolumePatches patch", expected="three sides, at least 1", found=str(tuple(patch)),
                                do="Give such as (2, 4, 4).")  # fmt: skip
        self.patch = (patch[0], patch[1], patch[2])
        self.project = nn.Conv3d(channels, dim, self.patch, self.patch)
        self.norm = norm.build(dim=dim)

    def forward(
        self, inputs: Float[Tensor, "batch channels depth height width"], layout: Layout | None = None
    ) -> tuple[Float[Tensor, "batch n dim"], Layout]:
        extent = tuple(inputs.shape[2:])
        fill = [n for side, cell in zip(extent[::-1], self.patch[::-1], strict=True) for n in (0, -side % cell)]
        x, layout = from_grid(self.project(F.pad(inputs, fill)))
        return self.norm(x), layout.but(extent=extent)

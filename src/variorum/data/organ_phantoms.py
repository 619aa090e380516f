"""Phantoms of a trunk with three organs, to be segmented: what tells two of them apart lies far away."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.generated import Generated
from variorum.data.task import Batch
from variorum.objectives.dice_cross_entropy import DiceCrossEntropy

TISSUE, ORGAN, BONE, GRAIN = 0.3, 0.6, 1.0, 0.2


class OrganPhantoms(Generated):
    """Say of each voxel which organ it is of: none (0), left kidney (1), right kidney (2) or liver (3).

    volumes (batch, 1, depth, height, width), made, not found: an elliptic trunk, a bright spine near its back, smooth
    kidneys on both sides of its middle, and a liver as bright as they, but grained. Half of the trunks lie on their
    back and half on their front, seen turned by half a circle, so that the kidney at the left of the picture is the
    left one or the right one; only the spine, half a picture away from both, tells. The liver is as often on the
    spine's side as opposite, and tells nothing. Places and sizes vary, and there is noise. The metric is the mean Dice.

    size: of the volumes.    noise: standard deviation; organs differ from tissue by 0.3.    rows: of a held-out split.
    """

    reads = "volumes"
    metric = "dice"
    labels = ("none", "left kidney", "right kidney", "liver")
    examples = ({"size": (4, 16, 16), "rows": 9},)

    def __init__(self, *, size: Sequence[int] = (16, 64, 64), noise: float = 0.1, rows: int = 32) -> None:
        if len(size) != 3 or min(size) < 4 or noise < 0 or rows < 1:
            raise VariorumError("OrganPhantoms", expected="three sides of at least 4, noise not below 0, some rows",
                                found=f"size {tuple(size)}, noise {noise}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.size, self.noise, self.rows = tuple(size), noise, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"classes": len(self.labels), "channels": 1}

    @property
    def objective(self) -> Spec[Objective]:
        return DiceCrossEntropy.spec()

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        """Mean over the organs of 2 |found and true| / (|found| + |true|), for each volume."""
        found = outputs.argmax(dim=-1)
        dice = []
        for organ in range(1, len(self.labels)):
            mine, true = (found == organ).flatten(1), (targets == organ).flatten(1)
            both, either = (mine & true).sum(dim=1), mine.sum(dim=1) + true.sum(dim=1)
            dice.append(torch.where(either > 0, 2 * both / either.clamp(min=1), 1.0))
        return torch.stack(dice).mean(dim=0)

    def make(self, generator: Generator, size: int) -> Batch:
        """So many phantoms; lengths are halves of a side, the middle of the volume is 0."""

        def between(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(size, generator=generator)

        def side() -> Tensor:
            return torch.randint(2, (size,), generator=generator).float() * 2 - 1

        back = side()  # +1: the spine is below, -1: above
        z, y, x = between(-0.1, 0.1), between(-0.05, 0.05), between(-0.05, 0.05)
        trunk = self._ellipsoid((z, y, x), (between(1.2, 1.6), between(0.86, 0.94), between(0.8, 0.94)))
        spine = self._ellipsoid((z, y + 0.7 * back, x), (z + 9, between(0.08, 0.11), between(0.08, 0.11)))
        volume = TISSUE * trunk + (BONE - TISSUE) * spine
        target = torch.zeros_like(trunk, dtype=torch.int64)
        for picture_side in (-1.0, 1.0):
            centre = (z + between(-0.3, 0.3), y + between(-0.08, 0.08), x + picture_side * between(0.36, 0.46))
            kidney = self._ellipsoid(centre, (between(0.4, 0.6), between(0.16, 0.22), between(0.12, 0.17)))
            volume = torch.where(kidney, ORGAN, volume)
            which = torch.where(back * picture_side < 0, 1, 2)[:, None, None, None]
            target = torch.where(kidney, which, target)
        centre = (z + between(-0.3, 0.3), y + side() * between(0.4, 0.46), x + between(-0.15, 0.15))
        liver = self._ellipsoid(centre, (between(0.4, 0.6), between(0.12, 0.16), between(0.2, 0.28)))
        volume = torch.where(liver, ORGAN + GRAIN * self._chequers(), volume)
        target = torch.where(liver, 3, target)
        volume = volume + self.noise * torch.randn(volume.shape, generator=generator)
        return Batch({"inputs": volume.unsqueeze(1)}, target)

    def _ellipsoid(self, centre: tuple[Tensor, ...], radii: tuple[Tensor, ...]) -> Tensor:
        """(rows, depth, height, width) bool: the voxels within an ellipsoid of each row."""
        distance = torch.zeros(1, 1, 1, 1)
        for axis, (middle, radius) in enumerate(zip(centre, radii, strict=True)):
            shape = [1, 1, 1]
            shape[axis] = self.size[axis]
            places = (torch.arange(self.size[axis]) + 0.5) / self.size[axis] * 2 - 1
            offset = (places - middle[:, None]) / radius[:, None]
            distance = distance + offset.square().view(-1, *shape)
        return distance < 1

    def _chequers(self) -> Tensor:
        """(depth, height, width) of +1 and -1, each voxel unlike its neighbours."""
        depth, height, width = (torch.arange(side) for side in self.size)
        return ((depth[:, None, None] + height[:, None] + width) % 2 * 2 - 1).float()

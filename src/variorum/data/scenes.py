"""Scenes as a turning laser sees them, with boxes to be found. Synthetic; in the manner of Liu et al. 2023."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from variorum.core import Layout, Objective, Spec, VariorumError
from variorum.data.generated import of_split, of_step
from variorum.data.task import Batch, Split, Task
from variorum.objectives.centre_focal import CentreFocal

SIZES = ((4.5, 2.0, 1.6), (1.6, 1.2, 1.8))
"""Length, width and height of the kinds of boxes, in cells: cars, and things half as long."""
NEAR = 2.0
"""A found centre counts if it is at most so many cells from the true one."""


class Scenes(Task):
    """Find the centres of boxes on a map of ``side`` x ``side`` cells, from points; the metric is average precision.

    The sensor stands in the middle. Points lie on the sides of upright boxes that face it, and on clutter: a rolling
    ground, walls and poles. How many a box gets falls off exponentially with its distance (``range`` cells for a factor
    e), so near pillars crowd and far ones are rare. Clutter has poles as tall as boxes and walls as long, so that
    neither height nor density tells a box.
    inputs: ``inputs`` packed (points, 4): x and y in cells, z, and strength of the echo. Targets (rows, kinds, side,
    side): 1 in the cell of a centre, exp(-d^2 / 2) at d cells from it. Score of a scene: precision averaged over recall
    at ``NEAR`` cells, of peaks of the map, a mean over kinds that are there. Made, not found.
    """

    reads = "points"
    synthetic = True
    metric = "average precision"
    examples = ({"side": 24, "points": 300, "boxes": 3, "rows": 9},)

    def __init__(
        self, *, side: int = 64, points: int = 1500, boxes: int = 8, range: float = 20.0, rows: int = 64
    ) -> None:
        if side < 16 or points < 50 or boxes < 1 or range <= 0:
            raise VariorumError("Scenes", expected="a side of 16 at least, 50 points, a box, and a range above 0",
                                found=f"side {side}, points {points}, boxes {boxes}, range {range}",
                                do="Choose others.")  # fmt: skip
        self.side, self.points, self.boxes, self.range, self.rows = side, points, boxes, range, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"channels": 4, "height": self.side, "width": self.side, "classes": len(SIZES)}

    @property
    def objective(self) -> Spec[Objective]:
        return CentreFocal.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        generator = of_step(step, seed)
        return self._joined([self.scene(generator) for _ in torch.arange(size)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        generator = of_split(split)
        scenes = [self.scene(generator) for _ in torch.arange(self.rows)]
        return (self._joined(scenes[i : i + size]) for i in torch.arange(0, self.rows, size).tolist())

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return torch.stack([average_precision(o, t) for o, t in zip(outputs.float().sigmoid(), targets, strict=True)])

    def scene(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(points, 4) and the map of centres (kinds, side, side)."""
        kind = torch.randint(len(SIZES), (self.boxes,), generator=generator)
        centre = self._apart(generator)
        turn = torch.rand(self.boxes, generator=generator) * torch.pi
        size = torch.tensor(SIZES)[kind]
        far = (centre - self.side / 2).norm(dim=1)
        share = torch.exp(-far / self.range)
        count = (share / share.sum() * self.points / 3).long().clamp(min=4)
        hits = torch.cat([self._box(centre[i], turn[i], size[i], int(count[i]), generator) for i in range(self.boxes)])
        clutter = self._clutter(max(self.points - len(hits), 0), generator)
        points = torch.cat([hits, clutter])
        y, x = torch.meshgrid(torch.arange(self.side), torch.arange(self.side), indexing="ij")
        cell = centre.floor()
        d2 = (x - cell[:, 0, None, None]).square() + (y - cell[:, 1, None, None]).square()
        glow = torch.zeros(len(SIZES), self.side, self.side)
        for i in range(self.boxes):
            glow[kind[i]] = torch.maximum(glow[kind[i]], torch.exp(-d2[i] / 2))
        return points, glow

    def _apart(self, generator: torch.Generator) -> Tensor:
        """(boxes, 2) centres, as far apart from each other as a few tries allow, none at the rim."""
        found = torch.rand(1, 2, generator=generator)
        for _ in range(self.boxes - 1):
            tries = torch.rand(8, 2, generator=generator)
            found = torch.cat([found, tries[torch.cdist(tries, found).amin(dim=1).argmax()][None]])
        return 3 + found * (self.side - 6)

    def _box(self, centre: Tensor, turn: Tensor, size: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Points on the two upright sides of a box that face the sensor."""
        axes = torch.stack([torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])])
        seen = torch.sign(axes @ (self.side / 2 - centre))
        half = size[:2] / 2
        long = torch.rand(count, generator=generator) < size[0] / size[:2].sum()
        place = (2 * torch.rand(count, 2, generator=generator) - 1) * half
        place = torch.where(torch.stack([~long, long], dim=1), seen * half, place)
        flat = centre + place @ axes + 0.05 * torch.randn(count, 2, generator=generator)
        z = torch.rand(count, 1, generator=generator) * size[2]
        return torch.cat([flat, z, 0.5 + 0.1 * torch.randn(count, 1, generator=generator)], dim=1)

    def _clutter(self, count: int, generator: torch.Generator) -> Tensor:
        """Ground, walls and poles, denser near the sensor."""
        ground, walls = count // 2, count // 4
        turn = torch.rand(ground, generator=generator) * 2 * torch.pi
        far = -self.range * torch.log1p(-torch.rand(ground, generator=generator))
        flat = self.side / 2 + far[:, None] * torch.stack([turn.cos(), turn.sin()], dim=1)
        parts = [torch.cat([flat, 0.1 * (flat.sum(1, keepdim=True) / 5).sin()], dim=1)]
        for thick, long, n in ((0.05, 9.0, walls), (0.1, 0.2, count - ground - walls)):
            things = 4 if long > 1 else 12
            start, angle = torch.rand(things, 2, generator=generator), torch.rand(things, generator=generator)
            one = torch.randint(things, (n,), generator=generator)
            along = (torch.rand(n, generator=generator) * long)[:, None]
            step = torch.stack([(torch.pi * angle).cos(), (torch.pi * angle).sin()], dim=1)[one]
            flat = start[one] * self.side + along * step + thick * torch.randn(n, 2, generator=generator)
            parts.append(torch.cat([flat, 1.7 * torch.rand(n, 1, generator=generator)], dim=1))
        points = torch.cat(parts)
        return torch.cat([points, 0.5 + 0.1 * torch.randn(len(points), 1, generator=generator)], dim=1)

    def _joined(self, scenes: list[tuple[Tensor, Tensor]]) -> Batch:
        points = [p for p, _ in scenes]
        layout = Layout.ragged([len(p) for p in points])
        return Batch({"inputs": torch.cat(points), "layout": layout}, torch.stack([glow for _, glow in scenes]))


def average_precision(scores: Tensor, targets: Tensor, *, most: int = 40) -> Tensor:
    """() mean over kinds that are there of sum_k precision_k / centres, k over the peaks that find a centre.

    ``scores`` and ``targets`` (kinds, height, width). A peak is the largest of its 3 x 3 cells, the ``most`` highest
    count; from the highest on each finds the nearest centre within ``NEAR`` cells that no other has found.
    """
    highest = torch.nn.functional.max_pool2d(scores[None], 3, 1, 1)[0]
    found = []
    for score, top, target in zip(scores, highest, targets, strict=True):
        centres = (target == 1).nonzero().float()
        if not len(centres):
            continue
        value, place = torch.where(score == top, score, -1.0).flatten().topk(most)
        place = place[value > 0]
        peaks = torch.stack([place // score.shape[1], place % score.shape[1]], dim=1).float()
        distance, hits, total = torch.cdist(peaks, centres), 0, 0.0
        for rank in range(len(peaks)):
            nearest = distance[rank].argmin()
            if distance[rank, nearest] <= NEAR:
                hits, distance[:, nearest] = hits + 1, torch.inf
                total += hits / (rank + 1)
        found.append(total / len(centres))
    return torch.tensor(found).mean()

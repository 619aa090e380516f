"""Clouds of points with a class each."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.shown.answered import answered
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.point_clouds import CloudPoints

MOST = 256
"""Points that are drawn."""


class ShownClouds(Shown):
    """A cloud seen along the axis in which it reaches least."""

    shows = CloudPoints
    title = "Hardest clouds"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, seen.reader.target)

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        points = row_of(seen.batch.inputs, index)[:MOST].numpy()
        across = sorted(points.var(axis=0).argsort(kind="stable")[1:].tolist())
        return {"points": points[:, across].astype(float).round(2).tolist()}

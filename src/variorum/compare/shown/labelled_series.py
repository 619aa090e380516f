"""Whole series with an answer each."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.shown.answered import answered
from variorum.compare.shown.lines import in_units, thinned
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.labelled_series import SeriesRows

MOST = 3
"""Channels that are drawn."""


class ShownSeries(Shown):
    """The first channels of a series in the user's own units."""

    shows = SeriesRows
    title = "Hardest series"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, seen.reader.target)

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        values = row_of(seen.batch.inputs, index).double().numpy()
        units = zip(seen.reader.mean[:MOST], seen.reader.scale[:MOST], strict=True)
        return {"lines": [thinned(in_units(values[:, c], mean, scale)) for c, (mean, scale) in enumerate(units)]}

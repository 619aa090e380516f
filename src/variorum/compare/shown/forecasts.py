"""Forecasts over what came."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from variorum.compare.shown.lines import in_units, thinned
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.forecast_rows import ForecastRows
from variorum.layers.series_code import number

GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, less their whole part, are spread evenly however many are taken."""
PAST = 3
"""Of what is known before a forecast, at most so many times its length is shown."""


class ShownForecasts(Shown):
    """Some windows, evenly over the test split, each of one variable of a series, in the user's own units."""

    shows = ForecastRows
    title = "Forecasts over what came"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        scores = seen.task.scores(seen.outputs, seen.batch.targets).double().tolist()
        return [Judged((seen.first + i) * GOLDEN % 1.0, {"score": score}) for i, score in enumerate(scores)]

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        reader, given = seen.reader, row_of(seen.batch.inputs, index)
        series = int(number(given[0, len(reader.targets) :], len(reader.groups)))
        # Each window shows another variable, so that all are seen.
        variable = (seen.first + index) % len(reader.targets)
        mean, scale = reader.means[series, variable], reader.scales[series, variable]

        def line(values: Tensor) -> np.ndarray:
            return in_units(values[:, variable].double().numpy(), mean, scale)

        known = line(given[: reader.context])[-PAST * max(8, reader.horizon) :]
        values, weights = (part[index] for part in seen.batch.targets)
        true = np.where(weights[:, variable].numpy() > 0, line(values), np.nan)
        names = [name for name in (reader.groups[series], reader.targets[variable]) if name]
        return {
            "name": ", ".join(names),
            "known": thinned(known),
            "truth": thinned(true),
            "forecast": thinned(line(seen.outputs[index])),
            "steps": [len(known), len(true)],
        }

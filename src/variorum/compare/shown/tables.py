"""Rows of a table, column by column."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.shown.answered import answered
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.table import TableColumns

MOST = 16
"""Columns of a row that are shown, the first ones."""


class ShownTable(Shown):
    """Values in the user's own terms, as far as their numbers tell them; free text cannot be told from its numbers."""

    shows = TableColumns
    title = "Hardest rows"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, seen.reader.target)

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        encoded, told, first = seen.batch.inputs["inputs"][index : index + 1].numpy(), [], 0
        for column in seen.reader.columns[:MOST]:
            width = len(column.cardinalities)
            (said,) = column.said(encoded[:, first : first + width])
            told.append([column.name, said])
            first += width
        return {"features": told, "more": max(0, len(seen.reader.columns) - MOST)}

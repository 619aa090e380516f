"""Stretches of a text of which every symbol is told."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.measure import by_row
from variorum.compare.shown.cut import cut
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.symbols import TextSymbols


class ShownSymbols(Shown):
    """The stretches with the most bits a symbol."""

    shows = TextSymbols
    title = "Hardest stretches"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        bits = seen.task.scores(seen.outputs, seen.batch.targets).double()
        means = [float(piece.mean()) for piece in by_row(bits, seen.batch)]
        return [Judged(mean, {"score": mean}) for mean in means]

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        return {"text": cut(seen.reader.decode(row_of(seen.batch.inputs, index).tolist()))}

"""Pairs of texts, of which one is written."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.shown.cut import cut
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.text_pairs import PairTokens


class ShownPairs(Shown):
    """The pairs whose target takes the most bits a byte."""

    shows = PairTokens
    title = "Hardest pairs"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        scores = seen.task.scores(seen.outputs, seen.batch.targets).double().tolist()
        return [Judged(score, {"score": score}) for score in scores]

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        source = row_of(seen.batch.inputs, index, name="source", layout="source_layout")
        target = row_of(seen.batch.inputs, index, name="target")
        return {"text": cut(seen.reader.text(source)), "written": cut(seen.reader.text(target))}

"""Texts with a class each."""

from collections.abc import Sequence
from typing import Any

from variorum.compare.shown.answered import answered
from variorum.compare.shown.cut import cut
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.data.labelled_texts import TextTokens


class ShownTexts(Shown):
    """What was read of a text."""

    shows = TextTokens
    title = "Hardest texts"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, seen.reader.target)

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        ids = row_of(seen.batch.inputs, index)
        return {"text": cut(seen.reader.tokenizer.decode(ids[ids < seen.reader.tokenizer.vocab]))}

"""Sounds with a class each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from variorum.compare.shown.answered import answered
from variorum.compare.shown.rows import row_of
from variorum.compare.shown.shown import Judged, Seen, Shown
from variorum.compare.shown.uris import wav
from variorum.data.sound_task import SoundTask
from variorum.data.sounds import SoundSamples
from variorum.data.targets import ClassTarget

BARS = 80
"""Stretches of a sound whose loudness is drawn."""


class ShownSounds(Shown):
    """A sound to be heard, its loudness over time, and its file."""

    shows = SoundSamples
    title = "Hardest sounds"

    def judged(self, seen: Seen) -> Sequence[Judged]:
        return answered(seen.outputs, seen.batch.targets, ClassTarget("class", labels=seen.reader.labels))

    def row(self, seen: Seen, index: int) -> dict[str, Any]:
        samples, rate = row_of(seen.batch.inputs, index)[:, 0].numpy(), seen.reader.rate
        pieces = [float(np.abs(piece).max(initial=0.0)) for piece in np.array_split(samples, min(BARS, len(samples)))]
        loudest = max(pieces) or 1.0
        shown = {
            "loudness": [round(piece / loudest, 2) for piece in pieces],
            "seconds": round(len(samples) / rate, 2),
            "sound": wav(samples, rate),
        }
        if isinstance(seen.task, SoundTask):
            shown["name"] = seen.task.name(int(seen.task.parts.test[seen.first + index]))
        return shown

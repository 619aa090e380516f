"""Tones that rise, fall or stay, made by a formula: a smoke test of everything that hears."""

import numpy as np
import torch

from variorum.data.clips import Clips
from variorum.data.recordings import Recording
from variorum.data.sets.bundled import Bundled

RATE, EACH = 8000, 30
_WAYS = {"falls": 0.5, "rises": 2.0, "stays": 1.0}


class ChirpsSet(Bundled):
    """Which way the pitch of a noisy tone goes."""

    name, reads, synthetic = "chirps", "sounds", True
    says = (
        "90 synthetic tones of 0.2 to 0.6 seconds in noise that rise or fall by an octave, or stay: made by a formula."
    )

    def read(self) -> Clips:
        chance = np.random.default_rng(0)
        made = [(self._tone(chance, ratio), code) for code, ratio in enumerate(_WAYS.values()) for _ in range(EACH)]
        return Clips([sound for sound, _ in made], [code for _, code in made], list(_WAYS))

    @staticmethod
    def _tone(chance: np.random.Generator, ratio: float) -> Recording:
        """sin(2 pi phase) whose pitch goes from f to ``ratio`` f, at a tenth to a half of full scale, and noise."""
        count = int(chance.integers(RATE // 5, RATE * 3 // 5))
        along = np.linspace(0, 1, count)
        pitch = chance.uniform(400, 1200) * ratio**along
        tone = chance.uniform(0.1, 0.5) * np.sin(2 * np.pi * pitch.cumsum() / RATE + chance.uniform(0, 2 * np.pi))
        return Recording(torch.from_numpy(tone + chance.normal(0, 0.02, count)).float(), RATE)

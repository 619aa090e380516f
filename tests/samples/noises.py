"""Folders of small synthetic sounds: tones of a pitch for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile


def tone(pitch: float, seconds: float = 0.3, rate: int = 8000, *, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """A tone in a little noise, (n,)."""
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * pitch * time + chance.uniform(0, 6)) + chance.normal(0, level / 50, len(time))


def write_tones(
    folder: Path, names: Sequence[str] | None = None, *, each: int = 10, classes: int = 2, suffix: str = ".wav"
) -> Path:
    """A sub-folder of sounds for each class, uneven in length; ``names`` of its files, unless 0, 1, ..."""
    for label in range(classes):
        sub = folder / f"tone {label}"
        sub.mkdir(parents=True)
        for i, name in enumerate(names or [str(i) for i in range(each)]):
            sound = tone(300 * 2**label, 0.2 + 0.02 * (i % 5), seed=100 * label + i)
            soundfile.write(sub / f"{name}{suffix}", sound, 8000)
    return folder

"""Sounds as a model hears them: one channel at one rate, packed, however they were recorded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Layout, VariorumError
from variorum.data.folders import given_files, shown
from variorum.data.preprocess import Preprocess
from variorum.data.recordings import RATES, SOUNDS, Recording, one_channel, read_sound
from variorum.data.targets import ClassTarget

if TYPE_CHECKING:
    import pandas as pd

SHORTEST = 0.05
"""Seconds below which nothing can be told of a sound."""
FULL = 32767
"""Samples are kept as whole numbers of 16 bits: this stands for 1."""
LEVEL = 0.1
"""Root of the mean square that training sounds are brought to, all by one factor."""

Sound = Path | Recording


class SoundSamples(Preprocess):
    """Sounds -> packed samples (samples, 1) float32 and their layout: one channel, at ``rate``, times ``gain``.

    What exceeds full scale is brought down to it first. Of a sound longer than ``longest`` seconds the middle is heard.
    """

    reads = "sounds"
    examples = ({"rate": 8000, "gain": 2.0, "longest": 1.0, "labels": ("cat", "dog")},)

    def __init__(self, *, rate: int, gain: float, longest: float, labels: tuple[str | int, ...]) -> None:
        self.rate, self.gain, self.longest, self.labels = rate, gain, longest, labels

    def encode(self, sounds: Sequence[Sound]) -> dict[str, Any]:
        """Files and recordings -> the arguments of a model's forward."""
        return self.packed([heard(sound, self.rate, self.longest) for sound in sounds])

    def packed(self, rows: Sequence[np.ndarray]) -> dict[str, Any]:
        """Rows of 16 bits -> the same arguments."""
        samples = torch.from_numpy(np.concatenate(rows).astype(np.float32)) * (self.gain / FULL)
        return {"inputs": samples[:, None], "layout": Layout.ragged([len(row) for row in rows])}

    def open(self, rows: Any) -> list[Sound]:
        return _sounds(rows)

    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        return (self.encode(rows[i : i + size]) for i in range(0, len(rows), size))

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch", 1: "samples"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        """Noise, a tenth of a second for each of ``length``."""
        made = np.random.default_rng(0).standard_normal((rows, max(1, length * self.rate // 10), 1)) * LEVEL
        return {"inputs": torch.from_numpy(made.astype(np.float32))}

    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        import pandas as pd

        names = [shown(row) if isinstance(row, Path) else str(i) for i, row in enumerate(rows)]
        index = names if any(isinstance(row, Path) for row in rows) else None
        return pd.DataFrame(ClassTarget("class", labels=self.labels).said(outputs), index=index)


def heard(sound: Sound, rate: int, longest: float) -> np.ndarray:
    """A sound as 16 bits (n,), at a rate, at most full scale, of a longer one the middle; VariorumError if it is none.

    Files are read no further than their middle.
    """
    # A little more than is kept, for the filter that changes the rate has an end.
    recording = read_sound(sound, longest=longest + SHORTEST) if isinstance(sound, Path) else sound
    recording = recording.middle(longest + SHORTEST).at(rate).middle(longest)
    samples = recording.samples.numpy().astype(np.float32)
    if len(samples) < round(SHORTEST * rate):
        name, found = shown(sound) if isinstance(sound, Path) else "sound", f"{len(samples) / rate:.3f} s"
        raise VariorumError(name, expected=f"at least {SHORTEST} seconds", found=f"too short a sound ({found})",
                            do="Remove it, or record it again.")  # fmt: skip
    samples /= max(1.0, float(np.abs(samples).max()))
    return np.round(samples * FULL).astype(np.int16)


def _sounds(rows: Any) -> list[Sound]:
    """Rows that a user gives: a file, a folder of sounds, an array with a rate, recordings, or a list of them."""
    if isinstance(rows, str | Path):
        return list(given_files(Path(rows), SOUNDS, one="a sound", what="sounds"))
    if isinstance(rows, Recording) or _is_pair(rows):
        return [_sound(rows)]
    if isinstance(rows, list | tuple):
        return [_sound(row) for row in rows]
    raise VariorumError("sounds", expected="a path, an array with its rate, (samples, 8000), or a list of them",
                        found=type(rows).__name__, do="Say at what rate an array was sampled.")  # fmt: skip


def _is_pair(row: Any) -> bool:
    """Is it (samples, rate)?"""
    return (
        isinstance(row, tuple)
        and len(row) == 2
        and isinstance(row[1], int | np.integer)
        and not isinstance(row[0], str | Path | tuple)
    )


def _sound(row: Any) -> Sound:
    if isinstance(row, str | Path):
        path = Path(row)
        if not path.is_file():
            raise VariorumError(str(path), expected="a sound", found="nothing of this name", do="Check the path.")
        return path
    if isinstance(row, Recording):
        row = (row.samples, row.rate)
    if not _is_pair(row):
        raise VariorumError("sound", expected="a path, or an array with its rate: (samples, 8000)",
                            found=type(row).__name__, do="Say at what rate it was sampled.")  # fmt: skip
    return _recording(np.asarray(row[0]), int(row[1]))


def _recording(samples: np.ndarray, rate: int) -> Recording:
    """Samples (n,) or (n, channels): floats in -1 ... 1, or whole numbers of which the largest of their kind is 1."""
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "fiu":
        raise VariorumError("sound", expected="numbers (samples,) or (samples, channels)",
                            found=f"{samples.dtype} of shape {samples.shape}",
                            do="Give one sound an array.")  # fmt: skip
    if not RATES[0] <= rate <= RATES[1]:
        raise VariorumError("sound's rate", expected=f"{RATES[0]:,} to {RATES[1]:,} samples a second",
                            found=str(rate), do="Give (samples, rate).")  # fmt: skip
    parts = samples.reshape(len(samples), -1).astype(np.float64)
    if samples.dtype.kind in "iu":
        bits = 8 * samples.dtype.itemsize - 1
        parts = (parts - (1 << bits if samples.dtype.kind == "u" else 0)) / (1 << bits)
    return Recording(torch.from_numpy(one_channel(parts.astype(np.float32), "sound")), rate)

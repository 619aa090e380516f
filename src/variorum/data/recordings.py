"""Reading recorded sound: files of any kind that libsndfile knows, and folders of them with a transcription."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.data.decode import encodes
from variorum.data.folders import shown

if TYPE_CHECKING:
    from soundfile import SoundFile

SOUNDS = frozenset({".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".aif", ".aiff", ".au"})
RATES = (1_000, 1_000_000)
"""Samples a second that sound is recorded with; a header that tells others is broken."""
_LONGEST = 1 << 40
"""Frames beyond which a header tells no length but its absence."""
_OPPOSED = 1e-3
"""Channels whose mean is weaker than this part of them cancel one another."""


class Recording(NamedTuple):
    """A sound of one channel, ``samples`` in -1 ... 1 at ``rate`` a second, and the ``words`` said in it."""

    samples: Float[Tensor, "n"]
    rate: int
    words: str = ""

    def at(self, rate: int) -> "Recording":
        """The same sound at another rate, by a polyphase filter."""
        if rate == self.rate or not len(self.samples):
            return self._replace(rate=rate)
        from scipy.signal import resample_poly

        factor = np.gcd(rate, self.rate)
        sound = resample_poly(self.samples.double().numpy(), rate // factor, self.rate // factor)
        return Recording(torch.from_numpy(sound).float(), rate, self.words)

    def middle(self, seconds: float) -> "Recording":
        """Of a longer sound the ``seconds`` in its middle."""
        count = max(1, round(seconds * self.rate))
        first = max(0, (len(self.samples) - count) // 2)
        return self._replace(samples=self.samples[first : first + count])


def read_sound(path: str | Path, *, longest: float | None = None) -> Recording:
    """A sound file (WAV, OGG, FLAC, MP3, AIFF, ...), channels averaged; of more than ``longest`` seconds the middle.

    Only that middle is decoded. Channels that cancel one another give way to the loudest of them. What cannot be
    decoded, was cut short, holds nothing, or numbers that are not finite, raises :class:`VariorumError`.
    """
    import soundfile

    path = Path(path)
    try:
        with soundfile.SoundFile(_name(path)) as file:
            rate, count = int(file.samplerate), int(file.frames)
            if not RATES[0] <= rate <= RATES[1] or count > _LONGEST:
                raise _faulty(path, f"a broken file (a header of {count} frames at {rate} hertz)")
            wanted = count if longest is None else min(count, max(1, round(longest * rate)))
            if wanted < count:
                file.seek((count - wanted) // 2)
            parts = file.read(wanted, dtype="float32", always_2d=True)
            short = len(parts) < wanted or _tells_more(file) or (file.format == "OGG" and _lacks_end(path))
    except (OSError, RuntimeError) as error:  # libsndfile's errors are RuntimeErrors
        message = str(error).rpartition(": ")[2].strip()
        raise _faulty(path, f"a broken file ({message or 'libsndfile gives up'})") from None
    if short:
        raise _faulty(path, "a file that was cut short")
    if not len(parts):
        raise _faulty(path, "an empty file")
    return Recording(torch.from_numpy(one_channel(parts, str(path))), rate)


def sound_header(path: str | Path) -> tuple[int, int, float] | None:
    """Rate, channels and seconds that a file's header tells; None of what is no sound, which decoding will name."""
    import soundfile

    try:
        info = soundfile.info(_name(Path(path)))
    except (OSError, RuntimeError):
        return None
    plain = RATES[0] <= info.samplerate <= RATES[1] and info.frames <= _LONGEST
    return (int(info.samplerate), int(info.channels), info.frames / info.samplerate) if plain else None


def one_channel(parts: np.ndarray, name: str) -> np.ndarray:
    """(n, channels) float32 -> (n,): the mean; where channels cancel one another, the loudest."""
    if not np.isfinite(parts).all():
        raise _faulty(name, "numbers that are not finite")
    mean = parts.mean(axis=1)
    if parts.shape[1] > 1:
        loud = parts.std(axis=0)
        if mean.std() < _OPPOSED * loud.max():
            return np.ascontiguousarray(parts[:, loud.argmax()])
    return mean


def read_transcribed(folder: str | Path) -> list[Recording]:
    """The WAV files named in a folder's file ``transcription``, one a line: ``<s> words </s> (name)``."""
    folder = Path(folder)
    told = folder / "transcription"
    if not told.is_file():
        raise VariorumError(str(folder), expected="a folder with a file named transcription", found="none",
                            do="Write one line a file: <s> words </s> (name), for name.wav.")  # fmt: skip
    found = []
    for number, line in enumerate(told.read_text("utf-8").splitlines(), 1):
        match = re.fullmatch(r"\s*<s>(.*)</s>\s*\(([^()/\\]+)\)\s*", line)
        if match is None:
            raise VariorumError(f"{told.name} line {number}", expected="<s> words </s> (name)", found=repr(line[:60]),
                                do="Mend the line.")  # fmt: skip
        found.append(read_sound(folder / f"{match[2]}.wav")._replace(words=match[1].strip()))
    return found


def _name(path: Path) -> str | bytes:
    """As soundfile takes it: it cannot encode names that are no UTF-8."""
    return str(path) if encodes(str(path)) else os.fsencode(path)


def _tells_more(file: "SoundFile") -> bool:
    """Does the header tell of more bytes than there are? Sizes of 0 and near 2^31 or 2^32 stand for not known."""
    told = re.search(r"\bdata\s*:\s*(\d+) \(should be \d+\)", file.extra_info)
    return told is not None and 0 < int(told[1]) < 0x7FFFF000


def _lacks_end(path: Path) -> bool:
    """Does the last page of an OGG file tell of more bytes than there are?"""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 17)))  # no page is longer than 65,307 bytes
        tail = file.read()
    last = tail.rfind(b"OggS\0")
    page = tail[last:]
    return last < 0 or len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _faulty(path: Any, found: str) -> VariorumError:
    return VariorumError(shown(path), expected="a sound", found=found, do="Remove the file, or record it again.")

"""Reading recorded sound: WAV files, and folders of them with a transcription."""

import re
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError


class Recording(NamedTuple):
    """A sound of one channel, ``samples`` in -1 ... 1 at ``rate`` a second, and the ``words`` said in it."""

    samples: Float[Tensor, "n"]
    rate: int
    words: str = ""

    def at(self, rate: int) -> "Recording":
        """The same sound at another rate, by a polyphase filter."""
        if rate == self.rate:
            return self
        from scipy.signal import resample_poly

        factor = np.gcd(rate, self.rate)
        sound = resample_poly(self.samples.double().numpy(), rate // factor, self.rate // factor)
        return Recording(torch.from_numpy(sound).float(), rate, self.words)


def read_wav(path: str | Path) -> Recording:
    """A WAV file of whole numbers of 8, 16, 24 or 32 bits; channels are averaged. What is none raises VariorumError."""
    path = Path(path)
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise VariorumError(str(path), expected="a WAV file of whole numbers", found=str(error) or "its end",
                            do="Convert it: ffmpeg -i in -c:a pcm_s16le out.wav.") from None  # fmt: skip
    if rate < 1 or len(raw) < width * channels:
        raise VariorumError(str(path), expected="a sound", found=f"{len(raw)} bytes at {rate} hertz",
                            do="Record it again.")  # fmt: skip
    raw = raw[: len(raw) // (width * channels) * width * channels]
    parts = np.frombuffer(raw, np.uint8).reshape(-1, width).astype(np.int64)
    if width == 1:
        numbers = parts[:, 0] - 128  # of one byte only they have no sign
    else:
        numbers = (parts << (8 * np.arange(width))).sum(axis=1)
        numbers = np.where(numbers >= 1 << (8 * width - 1), numbers - (1 << (8 * width)), numbers)
    sound = numbers.reshape(-1, channels).mean(axis=1) / (1 << (8 * width - 1))
    return Recording(torch.from_numpy(sound).float(), rate)


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
        found.append(read_wav(folder / f"{match[2]}.wav")._replace(words=match[1].strip()))
    return found

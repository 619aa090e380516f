"""A generated language of tones, for models of speech."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from variorum.data.generated import of_split, of_step
from variorum.data.task import Batch, Split
from variorum.data.transcription import Transcription, Utterance, collate
from variorum.layers.embed.spectrogram import Frames, log_mel

_TONES = 5


class ToneSequences(Transcription):
    """Sequences of 20 symbols, each a step from one of five tones to another; in noise, made, not found.

    A tone lasts 40 to 80 ms, then the next follows; symbols stand 20 to 60 ms apart. Only both tones tell a symbol, so
    that whoever hears its beginning must wait. fewest, most: symbols of a row.    noise: against a tone's 0.3 to 1.
    """

    synthetic = True
    symbols = _TONES * (_TONES - 1)
    shape = Frames(rate=8000, bins=32, centre=-6.0, spread=2.0)

    def __init__(self, *, fewest: int = 4, most: int = 8, noise: float = 0.1, rows: int = 128) -> None:
        self.fewest, self.most, self.noise, self.rows = fewest, most, noise, rows

    def utterances(self, step: int, size: int, seed: int) -> list[Utterance]:
        generator = of_step(step, seed)
        return [self._made(generator) for _ in range(size)]

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        generator = of_split(split)
        rows = [self._made(generator) for _ in range(self.rows)]
        return (collate(rows[i : i + size]) for i in range(0, len(rows), size))

    def _made(self, generator: torch.Generator) -> Utterance:
        count = int(torch.randint(self.fewest, self.most + 1, (), generator=generator))
        labels = torch.randint(self.symbols, (count,), generator=generator)
        loud = 0.3 + 0.7 * torch.rand(count, generator=generator)
        chance = torch.rand(count, 3, generator=generator)
        first, other = labels.div(_TONES - 1, rounding_mode="floor"), labels % (_TONES - 1)
        second = other + (other >= first)
        sounds = [self._silence(0.05)]
        for i in range(count):
            tones = [
                self._tone(int(tone[i]), 0.04 + 0.04 * float(chance[i, k])) for k, tone in enumerate((first, second))
            ]
            sounds += [tone * loud[i] for tone in tones] + [self._silence(0.02 + 0.04 * float(chance[i, 2]))]
        sound = torch.cat([*sounds, self._silence(0.15)])
        sound = sound + self.noise * torch.randn(len(sound), generator=generator)
        return Utterance(log_mel(sound / 4, self.shape), (labels + 1).tolist())

    def _tone(self, index: int, seconds: float) -> Tensor:
        hertz = 400 * 1.5**index
        where = torch.arange(round(seconds * self.shape.rate)) / self.shape.rate
        return (2 * math.pi * hertz * where).sin()

    def _silence(self, seconds: float) -> Tensor:
        return torch.zeros(round(seconds * self.shape.rate))

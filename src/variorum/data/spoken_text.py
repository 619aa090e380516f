"""Sentences spoken by a speech synthesiser, for models that transcribe; real recordings may be the test."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from variorum.core import VariorumError
from variorum.data.recordings import Recording, read_sound, read_transcribed
from variorum.data.task import Batch, Split
from variorum.data.transcription import Transcription, Utterance, collate
from variorum.layers.embed.spectrogram import log_mel

PROGRAM = "espeak-ng"
LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
VOICES = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland")
HELD_OUT = 64
"""Sentences at the end of the text that each of the held-out splits is spoken from."""


class SpokenText(Transcription):
    """Short sentences of the bundled text, spoken by espeak-ng in several voices, speeds and pitches: letters to name.

    Synthetic speech. recordings: a folder of real speech (see :func:`variorum.data.recordings.read_transcribed`) that
    then is the test split, named as real in the notes.    longest: letters of a sentence.
    Whoever asks for speech where espeak-ng is not installed gets a VariorumError.
    """

    synthetic = True
    symbols = len(LETTERS)
    labels = tuple(LETTERS)

    def __init__(self, *, recordings: str | None = None, longest: int = 48) -> None:
        text = (files("variorum.data") / "texts" / "shakespeare.txt").read_text("utf-8")
        lines = dict.fromkeys(spell(line) for line in text.splitlines())
        self.sentences = [line for line in lines if 8 <= len(line) <= longest]
        self.recordings = recordings
        if recordings is not None:
            self.notes = (f"Trained on synthetic speech ({PROGRAM}); tested on real recordings, {recordings}.",)

    def utterances(self, step: int, size: int, seed: int) -> list[Utterance]:
        chance = np.random.default_rng([seed, step])
        lines = chance.integers(len(self.sentences) - 2 * HELD_OUT, size=size)
        return [self._spoken(self.sentences[line], chance) for line in lines]

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        if split == "test" and self.recordings is not None:
            rows = [self.utterance(recording) for recording in read_transcribed(self.recordings)]
        else:
            first = len(self.sentences) - (2 if split == "valid" else 1) * HELD_OUT
            chance = np.random.default_rng([first])
            rows = [self._spoken(line, chance) for line in self.sentences[first : first + HELD_OUT]]
        return (collate(rows[i : i + size]) for i in range(0, len(rows), size))

    def utterance(self, recording: Recording) -> Utterance:
        """A recording as the model hears it."""
        return Utterance(log_mel(recording.at(self.shape.rate).samples, self.shape), encode(recording.words))

    def _spoken(self, sentence: str, chance: np.random.Generator) -> Utterance:
        voice = VOICES[chance.integers(len(VOICES))]
        return self.utterance(speak(sentence, voice, int(chance.integers(130, 200)), int(chance.integers(30, 70))))


def spell(text: str) -> str:
    """The text in letters, apostrophes and single blanks."""
    return " ".join("".join(c if c in LETTERS else " " for c in text.lower()).split())


def encode(words: str) -> list[int]:
    """Labels of a text: 1 and up, in the order of ``LETTERS``."""
    return [LETTERS.index(c) + 1 for c in spell(words)]


def decode(labels: list[int]) -> str:
    """The text of labels."""
    return "".join(LETTERS[label - 1] for label in labels)


@lru_cache(maxsize=4096)
def speak(sentence: str, voice: str, speed: int, pitch: int) -> Recording:
    """The sentence as espeak-ng says it: ``speed`` in words a minute, ``pitch`` from 0 to 99."""
    if shutil.which(PROGRAM) is None:
        raise VariorumError("speech", expected=f"the program {PROGRAM}", found="none on the path",
                            do="Install it: apt-get install espeak-ng.")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [PROGRAM, "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path), "--stdin"]
        try:
            subprocess.run(command, input=sentence.encode(), check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise VariorumError(PROGRAM, expected="a spoken sentence", found=str(error)[:200],
                                do="Check the installation: espeak-ng hello.") from None  # fmt: skip
        return read_sound(path)._replace(words=sentence)

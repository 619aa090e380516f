"""Sounds of classes: a folder with a sub-folder for each class, decoded once and read from disk as they are needed."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.answering import objective_of, scored
from variorum.data.clips import Clips
from variorum.data.draw import Parts, as_given, draw, stratified
from variorum.data.folders import by_class, shown
from variorum.data.kept import Decoded, Row, identity, kept, key_of, side_by_side
from variorum.data.name_groups import asked_groups, grouped, likely_groups
from variorum.data.recordings import SOUNDS, sound_header
from variorum.data.sets.bundled import find_set
from variorum.data.sounds import FULL, LEVEL, SHORTEST, Sound, SoundSamples, heard
from variorum.data.task import Batch, Split
from variorum.data.whole_rows import WholeRowTask

HIGHEST_RATE = 16000
"""Sounds recorded at more samples a second are brought down to this unless a rate is asked for."""
LONGEST = 10.0
"""Seconds of a sound that are heard, from its middle, unless another number is asked for."""
KEPT = 2 << 30
"""Bytes of decoded sounds that are kept on disk; what is beyond is decoded whenever it is needed."""
FEWEST = 5
"""Sounds that every class must have, so that each part of the split holds it."""
UNREADABLE, FEW = 0.05, 2
"""Share of a folder's sounds, and number, that may be amiss; more is an error."""
SILENT = 1e-4
"""A sound that moves by no more than this part of full scale is silence."""
CLIPPED = 0.1
"""A sound of which this share stands at its peak was recorded too loud."""
BANDS, WIDEST = 64, 128
"""Bands of mel, and the most frames, of a sound seen as a picture."""
HOPS = (0.01, 0.02)
"""Seconds between its frames, the longer where the shorter makes too wide a picture; longer still for long sounds."""


class SoundTask(WholeRowTask):
    """Say which class a sound is of; the metric is accuracy.

    source: a folder with a sub-folder of sounds for each class, or a bundled name.
    group: a regular expression that finds in a file's name what must stay together in the split, such as the speaker.
    rate: samples a second; unless given, the commonest of the files, at most 16000.
    seconds: that are heard of a longer sound, from its middle; 10 unless given.
    jitter: of a training sound up to this share is cut off at its ends, at random.
    keep: bytes of decoded sounds that are kept on disk between runs (see :mod:`variorum.data.kept`).
    The split into train, valid and test (60/20/20, stratified, by group where file names tell groups) depends on
    ``seed`` alone. ``notes`` say what was detected, repaired and left out.
    """

    reads = "sounds"
    metric = "accuracy"
    writes = "class"
    examples = ({"source": "chirps"},)

    def __init__(
        self,
        source: str,
        *,
        group: str | None = None,
        rate: int | None = None,
        seconds: float | None = None,
        jitter: float = 0.1,
        keep: int = KEPT,
        seed: int = 0,
    ) -> None:
        self.source, self.seed, self.jitter = source, seed, jitter
        bundled = find_set(source, "sounds")
        clips: Clips = bundled.read() if bundled else _read_folder(Path(source))
        self.synthetic = bundled is not None and bundled.synthetic
        self._sounds = clips.sounds
        self._decoded = _decode(clips.sounds, rate, seconds, keep)
        said = _said(clips, self._decoded)
        good, left_out = _good(source, clips, self._decoded)
        self._rows, labels = np.array(good, np.int64), np.array(clips.classes, np.int64)[good]
        _check_counts(source, clips.names, labels)
        self.parts, torn = _split(source, clips, good, labels, group, seed)
        self.labels: tuple[str, ...] = tuple(clips.names)
        self.notes: tuple[str, ...] = (*([bundled.says] if bundled else []), *said, *clips.notes, *left_out, *torn)
        self._targets = torch.from_numpy(labels)
        self.preprocess: Spec[SoundSamples] = SoundSamples.spec(
            rate=self._plan["rate"], gain=self._gain(), longest=self._plan["longest"], labels=self.labels
        )
        self._columns = self.preprocess.build()

    @property
    def facts(self) -> dict[str, Any]:
        """``height`` bands and ``width`` frames, ``hop`` seconds apart, are a sound's as a picture."""
        hop, width = picture_size(self._plan["window"])
        picture = {"channels": 1, "height": BANDS, "width": width, "hop": hop}
        return {"classes": len(self.labels), "rate": self._plan["rate"], **picture}

    @property
    def objective(self) -> Spec[Objective]:
        return objective_of(self.writes)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        rows = self.parts.train[draw(len(self.parts.train), step, size, seed)]
        chance = np.random.default_rng([seed, step, 2]).random((size, 2))
        sounds = [self._cut(self._row(row), *cut) for row, cut in zip(rows, chance, strict=True)]
        return Batch(self._columns.packed(sounds), self.targets(rows))

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        return self.given(self.parts.rows(split), size)

    def given(self, rows: np.ndarray, size: int) -> Iterator[Batch]:
        """The rows of these numbers as they are, in order, in batches of up to ``size``."""
        for first in range(0, len(rows), size):
            some = rows[first : first + size]
            yield Batch(self._columns.packed([self._row(row) for row in some]), self.targets(some))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return scored(self.writes, outputs, targets)

    def name(self, row: int) -> str | None:
        """The file of a row, in its folder; None of a sound that is in no file."""
        sound = self._sounds[int(self._rows[row])]
        return f"{sound.parent.name}/{sound.name}" if isinstance(sound, Path) else None

    @property
    def _plan(self) -> dict[str, Any]:
        return self._decoded.plan

    def _row(self, row: int | np.integer[Any]) -> np.ndarray:
        """The samples of a row, of 16 bits, from where they are kept or from its file."""
        index = int(self._rows[row])
        first, count = self._decoded.places[index]
        if first < 0:
            return heard(self._sounds[index], self._plan["rate"], self._plan["longest"])
        return self._decoded.numbers[first : first + count]

    def _cut(self, samples: np.ndarray, much: float, where: float) -> np.ndarray:
        """Less of a sound: two random numbers say how much is cut off, and how much of that at the start."""
        spare = max(0, len(samples) - round(SHORTEST * self._plan["rate"]))
        lost = min(spare, int(len(samples) * self.jitter * much))
        first = round(lost * where)
        return samples[first : len(samples) - (lost - first)]

    def _gain(self) -> float:
        """What brings the training sounds to the level."""
        told = [self._decoded.told[self._rows[row]] for row in self.parts.train]
        energy, count = (sum(row[name] for row in told) for name in ("energy", "count"))
        return float(LEVEL / np.sqrt(energy / count))


def picture_size(seconds: float) -> tuple[float, int]:
    """Seconds between frames, and how many frames, a multiple of 16, of a picture of so many seconds."""
    for hop in HOPS:
        width = -(-round(seconds * 1000) // round(hop * 1000))
        if width <= WIDEST:
            return hop, -(-width // 16) * 16
    return seconds / WIDEST, WIDEST


def _read_folder(folder: Path) -> Clips:
    found = by_class(folder, SOUNDS, "sounds")
    return Clips([*found.files], found.classes, [*found.names], found.parts, found.notes)


# -- decoding ----------------------------------------------------------------------------------------------------------
def _decode(sounds: Sequence[Sound], rate: int | None, seconds: float | None, keep: int) -> Decoded:
    def make() -> tuple[dict[str, Any], Iterator[Row]]:
        plan = _plan_of(sounds, rate, seconds)
        return plan, side_by_side(sounds, lambda sound: _decode_one(sound, plan["rate"], plan["longest"]))

    key = key_of("sounds", rate, seconds, keep, [_identity(sound) for sound in sounds])
    return kept(key, np.int16, make, keep)


def _identity(sound: Sound) -> list[Any]:
    """What tells that a sound is the same as in an earlier run."""
    if isinstance(sound, Path):
        return identity(sound)
    return [hashlib.sha256(sound.samples.numpy().tobytes()).hexdigest(), sound.rate]


def _plan_of(sounds: Sequence[Sound], rate: int | None, seconds: float | None) -> dict[str, Any]:
    """The rate of all, the longest that is heard, and the window of a picture."""
    told = [
        sound_header(sound) if isinstance(sound, Path) else (sound.rate, 1, len(sound.samples) / sound.rate)
        for sound in sounds
    ]
    known = [header for header in told if header is not None] or [(HIGHEST_RATE, 1, 1.0)]
    (common, _), *_ = Counter(header[0] for header in known).most_common(1)
    lengths = np.array([header[2] for header in known])
    longest = float(min(seconds or LONGEST, max(lengths.max(), SHORTEST)))
    window = min(longest, float(np.quantile(lengths, 0.95)))
    return {
        "rate": rate or min(common, HIGHEST_RATE),
        "longest": round(longest, 3),
        "window": round(max(window, 2 * SHORTEST), 2),
        "rates": sorted(Counter(header[0] for header in known).items(), key=lambda pair: -pair[1]),
        "channels": sum(header[1] > 1 for header in known),
        "lengths": [float(q) for q in np.quantile(lengths, (0, 0.5, 1))],
        "longer": int((lengths > longest + 1e-6).sum()),
    }


def _decode_one(sound: Sound, rate: int, longest: float) -> Row:
    """The samples, and what is told of them; no samples and the fault of a sound that is none."""
    try:
        row = heard(sound, rate, longest)
    except VariorumError as error:
        return np.empty(0, np.int16), {"fault": error.found.partition(" (")[0]}
    loud = np.abs(row.astype(np.float32))
    told = {
        "fault": "silence" if int(row.max()) - int(row.min()) <= SILENT * FULL else None,
        "clipped": bool((loud >= 0.995 * loud.max()).mean() >= CLIPPED),
        "energy": float(np.square(loud / FULL, dtype=np.float64).sum()),
        "count": len(row),
        "digest": hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest(),
    }
    return row, told


# -- what takes part ---------------------------------------------------------------------------------------------------
def _good(source: str, clips: Clips, decoded: Decoded) -> tuple[list[int], list[str]]:
    """The sounds that take part, and a note for each reason why others do not."""
    faults: dict[str, list[int]] = {}
    for i, told in enumerate(decoded.told):
        if told["fault"] is not None:
            faults.setdefault(told["fault"], []).append(i)
    amiss, allowed = sum(map(len, faults.values())), max(FEW, UNREADABLE * len(clips.sounds))
    words = [f"{len(rows)} {fault} (first: {_called(clips, rows)})" for fault, rows in sorted(faults.items())]
    if amiss > allowed:
        raise VariorumError(source, expected="sounds that can be decoded and heard",
                            found=f"{amiss} of {len(clips.sounds)} amiss: {'; '.join(words)}",
                            do="Remove or replace them.")  # fmt: skip
    notes = [f"Left out, {amiss} of {len(clips.sounds)} sounds: {'; '.join(words)}."] if words else []
    good = [i for i, told in enumerate(decoded.told) if told["fault"] is None]
    clipped = [i for i in good if decoded.told[i]["clipped"]]
    few = len(clipped) <= allowed
    if clipped:
        done = "are left out" if few else "are kept, for they are too many to be accidents"
        notes.append(
            f"{len(clipped)} sounds that were recorded too loud, a tenth or more of the samples at the peak, {done} "
            f"(first: {_called(clips, clipped)})."
        )
    good = [i for i in good if not (few and decoded.told[i]["clipped"])]
    return _different(good, clips, decoded, notes), notes


def _called(clips: Clips, rows: Sequence[int]) -> str:
    """The first of some sounds, for a note."""
    return shown(str(clips.sounds[rows[0]]))


def _different(good: list[int], clips: Clips, decoded: Decoded, notes: list[str]) -> list[int]:
    """Each sound once: a copy could stand in train and test; and none that is of two classes."""
    classes: dict[str, set[int]] = {}
    for i in good:
        classes.setdefault(decoded.told[i]["digest"], set()).add(clips.classes[i])
    once: dict[str, int] = {}
    for i in good:
        once.setdefault(decoded.told[i]["digest"], i)
    torn = [i for i in good if len(classes[decoded.told[i]["digest"]]) > 1]
    copies = [i for i in good if once[decoded.told[i]["digest"]] != i and i not in set(torn)]
    if copies:
        notes.append(f"Left out, {len(copies)} sounds that are copies of others (first: {_called(clips, copies)}).")
    if torn:
        notes.append(f"Left out, {len(torn)} sounds that stand in several classes (first: {_called(clips, torn)}).")
    gone = {*copies, *torn}
    return [i for i in good if i not in gone]


def _check_counts(source: str, names: Sequence[str], labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=len(names))
    if rare := [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < FEWEST]:
        raise VariorumError(source, expected=f"at least {FEWEST} different sounds of each class",
                            found=f"too few in {', '.join(rare[:6])}",
                            do="Add sounds, or remove the class.")  # fmt: skip


def _split(
    source: str, clips: Clips, good: Sequence[int], labels: np.ndarray, group: str | None, seed: int
) -> tuple[Parts, list[str]]:
    """The split, as it is given, or by groups where there are some, and what to say of it."""
    if clips.parts is not None:
        if group is not None:
            raise VariorumError(f"{source} group", expected="none: its folders tell the split", found=repr(group),
                                do="Leave --group out.")  # fmt: skip
        return as_given(labels, [clips.parts[i] for i in good], seed), []
    names = [sound.name for sound in (clips.sounds[i] for i in good) if isinstance(sound, Path)]
    if not names:
        if group is not None:
            raise VariorumError(f"{source} group", expected="none: its files are not the user's", found=repr(group),
                                do="Leave --group out.")  # fmt: skip
        return stratified(labels, seed), []
    groups = asked_groups(names, group) if group is not None else likely_groups(names, labels)
    parts = grouped(labels, groups, seed) if groups is not None else None
    if groups is None:
        return stratified(labels, seed), [
            "File names tell no groups: where several files are of one speaker or one recording, they may stand in "
            "train and test alike; --group PATTERN keeps together what the pattern finds in their names."
        ]
    some = ", ".join(repr(name) for name in sorted(set(groups))[:3])
    if parts is not None:
        return parts, [f"{len(set(groups))} groups by file name ({some}, ...) are kept together, so that no speaker or "
                       "recording of a name is in train and test."]  # fmt: skip
    if group is not None:
        raise VariorumError(f"{source} group", expected="groups that give each part of the split every class",
                            found=f"{len(set(groups))} groups ({some}) that do not",
                            do="Give more groups of each class, or another pattern.")  # fmt: skip
    return stratified(labels, seed), [
        f"File names look as if they told groups ({some}, ...), but these cannot be split so that each part has every "
        "class: files of one speaker or recording may stand in train and test alike."
    ]


def _said(clips: Clips, decoded: Decoded) -> list[str]:
    """What was found, in sentences."""
    plan, n = decoded.plan, len(clips.sounds)
    low, mid, high = plan["lengths"]
    notes = [f"{n} sounds of {len(clips.names)} classes, {low:.2f} to {high:.2f} seconds long, half of them up to "
             f"{mid:.2f}; heard as one channel of {plan['rate']} samples a second."]  # fmt: skip
    others = [f"{count} at {rate}" for rate, count in plan["rates"] if rate != plan["rate"]]
    if others:
        notes.append(f"Brought to that rate: {', '.join(others[:6])} samples a second.")
    if plan["channels"]:
        notes.append(f"Channels averaged in {plan['channels']} sounds.")
    if plan["longer"]:
        notes.append(f"Of {plan['longer']} sounds only the middle {plan['longest']:g} seconds are heard.")
    hop, width = picture_size(plan["window"])
    notes.append(f"Models of pictures see the middle {hop * width:.2f} seconds, {width} frames of {BANDS} bands; "
                 "other models hear each sound in its length.")  # fmt: skip
    unkept = sum(first < 0 for first, _ in decoded.places)
    if unkept:
        notes.append(f"{unkept} sounds are decoded whenever they are needed: more than is kept on disk.")
    return notes

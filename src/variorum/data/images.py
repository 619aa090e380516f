"""Images of classes: a folder with a sub-folder for each class, made one size and one mode."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.answering import objective_of, scored
from variorum.data.divided import DividedRows
from variorum.data.draw import Parts, as_given, draw, stratified
from variorum.data.folders import ByClass, by_class, given_files, shown
from variorum.data.pictures import Pictures
from variorum.data.pixels import decoding_errors, fitted, from_array, open_image
from variorum.data.preprocess import Preprocess
from variorum.data.sets.bundled import find_set
from variorum.data.settled import Settled
from variorum.data.targets import ClassTarget
from variorum.data.task import Batch, Split

if TYPE_CHECKING:
    import pandas as pd

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LARGEST = 64
"""Sides of images are cut down to this unless a size is asked for."""
FEWEST = 5
"""Images that every class must have, so that each part of the split holds it."""
MEMORY = 1 << 30
"""Bytes that decoded images may take in memory."""
UNREADABLE = 0.05
"""Share of a folder's images that may be broken; more is an error."""


@dataclass(frozen=True)
class GivenImages:
    """Images in memory: arrays (height, width) or (height, width, 3), bytes or 0..1 floats; and their classes."""

    images: Sequence[np.ndarray]
    values: "pd.Series"
    settled: Settled


class ImagePixels(Preprocess):
    """Images -> (batch, channels, height, width) float32: resized, (value / 255 - mean) / std in each channel.

    Three means make colour images, one makes grey ones.
    """

    reads = "images"
    examples = ({"height": 8, "width": 8, "mean": (0.5,), "std": (0.25,), "labels": ("cat", "dog")},)

    def __init__(
        self,
        *,
        height: int,
        width: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        labels: tuple[str | int | float | bool, ...],
    ) -> None:
        if len(mean) != len(std) or len(mean) not in (1, 3):
            raise VariorumError("ImagePixels", expected="one mean and std for grey images, three for colour",
                                found=f"{len(mean)} and {len(std)}", do="Give as many of each.")  # fmt: skip
        self.height, self.width, self.mean, self.std, self.labels = height, width, mean, std, labels

    def encode(self, images: Any) -> Tensor:
        """Paths or arrays (H, W), (H, W, 3), bytes or 0..1 floats -> (batch, channels, height, width)."""
        if isinstance(images, np.ndarray | Tensor):
            images = list(np.asarray(images))
        return self.normalise(torch.from_numpy(np.stack([self._pixels(image) for image in images])))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Bytes (batch, channels, height, width) -> normalised float32."""
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std

    def open(self, rows: Any) -> Any:
        return _images(rows)

    def batches(self, rows: Any, size: int) -> Iterator[dict[str, Any]]:
        return ({"inputs": self.encode(rows[i : i + size])} for i in range(0, len(rows), size))

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        made = np.random.default_rng(0).standard_normal((rows, len(self.mean), self.height, self.width))
        return {"inputs": torch.from_numpy(made.astype(np.float32))}

    def answers(self, rows: Any, outputs: list[Any]) -> "pd.DataFrame":
        import pandas as pd

        names = [shown(row) for row in rows] if len(rows) and isinstance(rows[0], str | Path) else None
        return pd.DataFrame(ClassTarget("class", labels=self.labels).said(outputs), index=names)

    def _pixels(self, image: Any) -> np.ndarray:
        """One image as bytes (channels, height, width)."""
        if isinstance(image, str | Path):
            return fitted(open_image(Path(image)), self.height, self.width, len(self.mean))
        return fitted(from_array(np.asarray(image)), self.height, self.width, len(self.mean))


class ImageTask(DividedRows):
    """Say which class an image is of; the metric is accuracy.

    source: a folder with a sub-folder of images for each class, or a bundled name.
    size: (height, width); unless given, the median of the training images, made a multiple of 4, at most 64.
    memory: bytes that the decoded images of a folder may take; more of them are kept on disk (see
    :class:`variorum.data.pictures.Pictures`), with the same results.
    shift: training images are moved at random by up to so many pixels; unless given, a fourteenth of the height.
    given: the images, when they are in memory already; ``source`` then only names them.
    The split into train, valid and test (60/20/20, stratified) depends on ``seed`` alone. ``notes`` say what was
    detected, repaired and left out.
    """

    reads = "images"
    metric = "accuracy"
    writes = "class"
    examples = ({"source": "digits"},)

    def __init__(
        self,
        source: str,
        *,
        size: tuple[int, int] | None = None,
        shift: int | None = None,
        memory: int = MEMORY,
        seed: int = 0,
        given: GivenImages | None = None,
    ) -> None:
        self.source, self.seed = source, seed
        self.parts: Parts
        bundled = find_set(source, "images") if given is None else None
        if given is not None:
            self._pictures, notes = _in_memory(given.images, size)
            self.parts, target = given.settled.divide(given.values, seed)
            labels, names = target.build().encode(given.values), target.build().labels
        elif bundled:
            images, labels, names = bundled.read()
            self._pictures, notes = Pictures.given(_resized(images, size)[:, None]), [bundled.says]
            self.parts = stratified(labels, seed)
        else:
            self._pictures, labels, names, given_parts, notes = _read_folder(Path(source), size, memory)
            self.parts = stratified(labels, seed) if given_parts is None else as_given(labels, given_parts, seed)
        self.labels: tuple[Any, ...] = tuple(names)
        self.notes: tuple[str, ...] = tuple(notes)
        self._targets = torch.from_numpy(labels)
        mean, std = self._pictures.moments(self.parts.train)
        _, height, width = self._pictures.shape
        self.shift = height // 14 if shift is None else shift
        self.preprocess: Spec[ImagePixels] = ImagePixels.spec(
            height=height, width=width, mean=mean, std=std, labels=self.labels
        )
        self._columns = self.preprocess.build()

    @property
    def facts(self) -> dict[str, Any]:
        channels, height, width = self._pictures.shape
        return {"classes": len(self.labels), "channels": channels, "height": height, "width": width}

    @property
    def objective(self) -> Spec[Objective]:
        return objective_of(self.writes)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        rows = self.parts.train[draw(len(self.parts.train), step, size, seed)]
        images = self._columns.normalise(self._pictures.take(rows))
        if self.shift:
            images = shifted(
                images, np.random.default_rng([seed, step, 1]).integers(-self.shift, self.shift + 1, (size, 2))
            )
        return Batch({"inputs": images}, self._targets[torch.from_numpy(rows)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self.parts.rows(split)
        for some in (rows[first : first + size] for first in range(0, len(rows), size)):
            images = self._columns.normalise(self._pictures.take(some))
            yield Batch({"inputs": images}, self._targets[torch.from_numpy(some)])

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        return scored(self.writes, outputs, targets)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Normalised images (rows, channels, height, width) float32 and classes (rows,) of train, valid or test."""
        rows = self.parts.rows(split)
        return self._columns.normalise(self._pictures.take(rows)).numpy(), self._targets[torch.from_numpy(rows)].numpy()


def shifted(images: Tensor, by: np.ndarray) -> Tensor:
    """Each image (channels, height, width) moved by ``by`` (batch, 2) pixels; what comes in is 0, the mean."""
    out = torch.zeros_like(images)
    height, width = images.shape[-2:]
    for i, (down, right) in enumerate(by.tolist()):
        to, at = _overlap(height, down), _overlap(height, -down)
        out[i, :, to, _overlap(width, right)] = images[i, :, at, _overlap(width, -right)]
    return out


def _overlap(size: int, move: int) -> slice:
    return slice(max(0, move), size + min(0, move))


def _images(rows: Any) -> Any:
    """Rows that a user gives: a file, a folder of images (with or without class folders), a list, or an array."""
    if isinstance(rows, str | Path):
        return given_files(Path(rows), IMAGES, one="an image", what="images")
    if not isinstance(rows, list | tuple | np.ndarray | Tensor):
        raise VariorumError("images", expected="a path, a list of paths or arrays, or an array (rows, height, width)",
                            found=type(rows).__name__, do="Give one of these.")  # fmt: skip
    return rows


def _read_folder(
    folder: Path, size: tuple[int, int] | None, memory: int
) -> tuple[Pictures, np.ndarray, tuple[str, ...], list[str] | None, list[str]]:
    """The images that could be decoded, their classes, the names of these, their parts if folders tell, and notes."""
    found = by_class(folder, IMAGES, "images")
    paths, classes = found.files, found.names
    height, width = size or _common(paths)
    pictures, good, broken = Pictures.read(paths, height, width, memory=memory)
    if len(broken) > UNREADABLE * len(paths):
        raise VariorumError(
            str(folder),
            expected="images that can be decoded",
            found=f"{len(broken)} of {len(paths)} broken, the first {broken[0].subject}: {broken[0].found}",
            do="Remove or replace them.",
        )
    good, left_out = _different(pictures, good, found)
    labels = np.array([found.classes[i] for i in good], np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if rare := [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < FEWEST]:
        raise VariorumError(
            str(folder),
            expected=f"at least {FEWEST} images of each class",
            found=f"too few in {', '.join(rare[:6])}",
            do="Add images, or remove the class.",
        )
    notes = [f"{len(labels)} {_mode(pictures)} images of {len(classes)} classes as {height} x {width} pixels."]
    if broken:
        first = f"{broken[0].subject}: {broken[0].found}"
        notes.append(f"{len(broken)} images could not be read and are left out (first: {first}).")
    notes += [*found.notes, *left_out, *pictures.repairs()]
    if where := pictures.where:
        notes.append(where)
    return pictures, labels, classes, [found.parts[i] for i in good] if found.parts else None, notes


def _different(pictures: Pictures, good: Sequence[int], found: ByClass) -> tuple[list[int], list[str]]:
    """Each image once, as a copy could stand in train and test, and none that is of two classes; and notes."""
    classes, once = dict[str, set[int]](), dict[str, int]()
    for i in good:
        classes.setdefault(pictures.digest(i), set()).add(found.classes[i])
        once.setdefault(pictures.digest(i), i)
    torn = [i for i in good if len(classes[pictures.digest(i)]) > 1]
    copies = [i for i in good if len(classes[pictures.digest(i)]) == 1 and once[pictures.digest(i)] != i]
    whys = ((copies, "are copies of others"), (torn, "stand in several classes"))
    notes = [f"{len(rows)} images that {why} are left out (first: {shown(found.files[rows[0]])})."
             for rows, why in whys if rows]  # fmt: skip
    gone = {*torn, *copies}
    kept = [i for i in good if i not in gone]
    pictures.keep(kept)
    return kept, notes


def _common(paths: Sequence[Path]) -> tuple[int, int]:
    """Median height and width, at most 64, rounded to multiples of 4; only the heads of the files are read."""
    from PIL import Image

    sizes = []
    for path in paths:
        # What cannot be opened is counted when it is decoded.
        with suppress(*decoding_errors()), Image.open(path) as image:
            sizes.append(image.size)
    width, height = np.median(sizes or [(LARGEST, LARGEST)], axis=0)
    return _cut_down(height, width)


def _cut_down(height: float, width: float) -> tuple[int, int]:
    scale = min(1.0, LARGEST / max(width, height))
    return max(4, round(height * scale / 4) * 4), max(4, round(width * scale / 4) * 4)


def _in_memory(images: Sequence[np.ndarray], size: tuple[int, int] | None) -> tuple[Pictures, list[str]]:
    """The images at one size, in colour if any of them has one, and a note."""
    opened = [from_array(image) for image in images]
    height, width = size or _cut_down(*np.median([image.size[::-1] for image in opened], axis=0))
    pixels = np.stack([fitted(image, height, width, 3) for image in opened])
    pictures = Pictures.given(pixels if (pixels != pixels[:, :1]).any() else pixels[:, :1].copy())
    return pictures, [f"{len(images)} {_mode(pictures)} images as {height} x {width} pixels."]


def _mode(pictures: Pictures) -> str:
    return "colour" if pictures.shape[0] == 3 else "grey"


def _resized(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or images.shape[1:] == size:
        return images
    return np.stack([fitted(from_array(image), *size, 1)[0] for image in images])

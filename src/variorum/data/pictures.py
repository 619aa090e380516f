"""Decoded images of one size: in memory while there is room, else on disk."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from variorum.core import VariorumError
from variorum.data.folders import shown
from variorum.data.kept import Decoded, Row, identity, kept, key_of, side_by_side
from variorum.data.pixels import fitted, open_image, repairs_of

KEPT = 16 << 30
"""Bytes of decoded images that are kept on disk; what is beyond is decoded whenever it is needed."""
_TOGETHER = 1024
"""Images that are counted at a time."""


class Pictures:
    """Images (channels, height, width) of bytes, taken by their numbers; ``shape`` is that of one.

    where: a sentence if they are not in memory.
    """

    def __init__(
        self, paths: Sequence[Path], rows: Sequence[int], decoded: Decoded, shape: tuple[int, int, int]
    ) -> None:
        """``paths`` of all images, which were ``decoded`` in colour; the numbers of those that take part, ``rows``."""
        self.shape, self._paths, self._rows, self._decoded = shape, paths, rows, decoded
        unkept = sum(first < 0 for first, _ in decoded.places)
        on_disk = (
            f"Decoded, they take {decoded.numbers.nbytes / 1e6:.0f} MB, more than is kept in memory: read from disk."
        )
        as_needed = f"{unkept} images are decoded whenever they are needed: more than is kept on disk."
        mapped = isinstance(decoded.numbers, np.memmap)
        self.where = as_needed if unkept else on_disk if mapped else ""

    @classmethod
    def given(cls, images: UInt8[np.ndarray, "n channels height width"]) -> "Pictures":
        """Images that are in memory already."""
        n, size = len(images), int(np.prod(images.shape[1:]))
        places = [(i * size, size) for i in range(n)]
        channels, height, width = images.shape[1:]
        return cls([], range(n), Decoded(images.reshape(-1), places, [], {}), (channels, height, width))

    @classmethod
    def read(
        cls, paths: Sequence[Path], height: int, width: int, *, memory: int
    ) -> tuple["Pictures", list[int], list[VariorumError]]:
        """The images of files, at one size; the numbers of those that could be decoded; the errors of the others.

        If decoded in colour they would take more than ``memory`` bytes, they are kept on disk (see
        :mod:`variorum.data.kept`). Images none of which has a colour have one channel.
        """
        size = 3 * height * width
        if size * len(paths) <= memory:
            decoded = _in_memory(paths, height, width)
        else:
            key = key_of("images and what they were", height, width, [identity(path) for path in paths])
            decoded = kept(key, np.uint8, lambda: ({}, _rows(paths, height, width)), KEPT)
        good = [i for i, told in enumerate(decoded.told) if told["fault"] is None]
        broken = [
            VariorumError(shown(paths[i]), expected="an image", found=told["fault"], do="Remove or replace it.")
            for i, told in enumerate(decoded.told)
            if told["fault"] is not None
        ]
        colour = any(decoded.told[i]["colour"] for i in good)
        return cls(paths, good, decoded, (3 if colour else 1, height, width)), good, broken

    def keep(self, rows: Sequence[int]) -> None:
        """Let these of all images take part, in this order."""
        self._rows = rows

    def digest(self, index: int) -> str:
        """What is the same of two of all images if they are copies of one another."""
        return str(self._decoded.told[index]["digest"])

    def repairs(self) -> list[str]:
        """A sentence for each kind of thing that was done to images that take part, beside resizing."""
        done = Counter(repair for i in self._rows for repair in self._decoded.told[i]["repairs"])
        return [f"{count} images {repair}." for repair, count in sorted(done.items())]

    def take(self, rows: np.ndarray) -> UInt8[Tensor, "n channels height width"]:
        """The images of these numbers, in their order."""
        out = np.empty((len(rows), *self.shape), np.uint8)
        for k, row in enumerate(rows.tolist()):
            out[k] = self._one(self._rows[row])
        return torch.from_numpy(out)

    def moments(self, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each channel of the images of these numbers, of bytes as 0..1; a constant has 1."""
        counts = torch.zeros(self.shape[0], 256, dtype=torch.float64)
        for first in range(0, len(rows), _TOGETHER):
            some = self.take(rows[first : first + _TOGETHER]).transpose(0, 1)
            counts += torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in some])
        share, levels = counts / counts.sum(1, keepdim=True), torch.arange(256, dtype=torch.float64) / 255
        mean = (share * levels).sum(1)
        std = (share * (levels - mean[:, None]).square()).sum(1).sqrt()
        return tuple(mean.tolist()), tuple(s if s > 0 else 1.0 for s in std.tolist())

    def _one(self, index: int) -> np.ndarray:
        """(channels, height, width); of a grey image in three channels the first."""
        first, count = self._decoded.places[index]
        if first < 0:
            return fitted(open_image(self._paths[index]), *self.shape[1:], 3)[: self.shape[0]]
        return self._decoded.numbers[first : first + count].reshape(-1, *self.shape[1:])[: self.shape[0]]


def _in_memory(paths: Sequence[Path], height: int, width: int) -> Decoded:
    numbers = np.empty(3 * height * width * len(paths), np.uint8)
    places, told, end = [], [], 0
    for pixels, said in _rows(paths, height, width):
        numbers[end : end + len(pixels)] = pixels
        places.append((end, len(pixels)))
        told.append(said)
        end += len(pixels)
    return Decoded(numbers[:end], places, told, {})


def _rows(paths: Sequence[Path], height: int, width: int) -> Iterator[Row]:
    return side_by_side(paths, lambda path: _decode(path, height, width))


def _decode(path: Path, height: int, width: int) -> Row:
    """The bytes of an image in colour, and whether it has one; none, and the fault, of what is broken."""
    try:
        image = open_image(path)
        pixels = fitted(image, height, width, 3)
    except VariorumError as error:
        return np.empty(0, np.uint8), {"fault": error.found}
    raw = repr(image.size).encode() + image.convert("RGBA").tobytes()
    told = {
        "fault": None,
        "colour": bool((pixels != pixels[:1]).any()),
        "digest": hashlib.blake2b(raw, digest_size=16).hexdigest(),
        "repairs": repairs_of(image),
    }
    return pixels.reshape(-1), told

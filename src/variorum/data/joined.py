"""Files as one text, one after another, read from the disk where they are needed."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from variorum.core import VariorumError

SEPARATOR = b"\n\n"
"""What stands between two files."""
OPEN = 64
"""Files that are kept open."""


class Joined:
    """The bytes of files with ``SEPARATOR`` between them, asked for by place like an array of uint8.

    Raises :class:`VariorumError` for a file that cannot be read, or is shorter than it was.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        try:
            self.sizes = np.array([path.stat().st_size for path in self.paths], np.int64)
        except OSError as error:
            raise _unreadable(Path(error.filename or ""), str(error)) from None
        # File i stands from starts[i]; the separator after it belongs to it.
        self.starts = np.append(0, np.cumsum(self.sizes + len(SEPARATOR)))
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return max(0, int(self.starts[-1]) - len(SEPARATOR))

    def __getitem__(self, place: slice) -> np.ndarray:
        """The bytes from ``place.start`` up to, but not, ``place.stop``."""
        start, stop, _ = place.indices(len(self))
        found, at = [np.zeros(0, np.uint8)], start
        while at < stop:
            file = int(np.searchsorted(self.starts, at, side="right")) - 1
            end = min(stop, int(self.starts[file + 1]))
            inside = at - int(self.starts[file])
            found.append(self._piece(file, inside, inside + end - at))
            at = end
        return np.concatenate(found)

    def rows(self, firsts: np.ndarray, length: int) -> np.ndarray:
        """Rows (n, length) of successive bytes that begin at ``firsts`` (n,)."""
        return np.stack([self[first : first + length] for first in firsts.tolist()])

    def _piece(self, file: int, start: int, stop: int) -> np.ndarray:
        """Bytes of a file and of the separator after it."""
        size = int(self.sizes[file])
        body = self._file(file)[start:stop] if start < size else np.zeros(0, np.uint8)
        tail = np.frombuffer(SEPARATOR, np.uint8)[max(0, start - size) : max(0, stop - size)]
        return np.concatenate([body, tail])

    def _file(self, file: int) -> np.ndarray:
        """A file as an array that is read as it is looked at; empty ones are never asked for."""
        if file not in self._open:
            path = self.paths[file]
            try:
                self._open[file] = np.memmap(path, np.uint8, "r")
            except (OSError, ValueError) as error:
                raise _unreadable(path, str(error)) from None
            if len(self._open[file]) != self.sizes[file]:
                raise _unreadable(path, f"{len(self._open[file])} bytes where there were {self.sizes[file]}")
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(file)
        return self._open[file]


def _unreadable(path: Path, found: str) -> VariorumError:
    return VariorumError(str(path), expected="a file that can be read, and stays as it is", found=found,
                         do="Start again when nothing writes to it.")  # fmt: skip

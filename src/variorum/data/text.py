"""Text as a language model's task: say what comes next."""

import codecs
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.core import Objective, Spec, VariorumError
from variorum.data.decode import LOOKED_AT, MARKS, is_utf8
from variorum.data.folders import shown
from variorum.data.joined import SEPARATOR, Joined
from variorum.data.preprocess import Preprocess
from variorum.data.sets.bundled import find_set
from variorum.data.symbols import Level, TextSymbols
from variorum.data.task import Batch, Split, Task
from variorum.data.text_files import text_files
from variorum.objectives.cross_entropy import NO_TARGET, CrossEntropy


class TextTask(Task):
    """Given the symbols up to t, say symbol t + 1; the metric is the mean of -log2 p(symbol), lower is better.

    source: a text file, a folder of such files (``TEXTS``, also in its sub-folders; in the order of their names, with
    an empty line between two), or a bundled name.    level: symbols are bytes, or the characters that occur in the
    training part; every other character is one symbol, "unknown", and judged as such.    length: of rows.    encoding:
    of the files, for characters; bytes are taken as they are, from the disk as they are needed.

    The last ``test`` of the text is the test split, the ``valid`` before it the valid split, and the rest is for
    training: parts do not overlap. A training row is ``length`` + 1 successive symbols of the training part that start
    anywhere. The held-out rows of a split make every one of its symbols a target exactly once; the first is told from
    the symbols before the split, which are input only. All rows are of one length: the last of a split reaches back,
    and what it would tell again is no target.

    Raises :class:`VariorumError` for a file that is missing, empty, not text in this encoding, or too short to split.
    """

    reads = "text"
    higher_is_better = False
    labels = ()
    examples = ({"source": "shakespeare"},)

    def __init__(
        self, source: str, *, level: Level = Level.BYTE, length: int = 256, valid: float = 0.05, test: float = 0.05,
        encoding: str = "utf-8",
    ) -> None:  # fmt: skip
        if length < 1 or valid <= 0 or test <= 0 or valid + test >= 1:
            raise VariorumError("TextTask", expected="a length above 0; valid and test above 0 and together below 1",
                                found=f"length {length}, valid {valid}, test {test}", do="Choose others.")  # fmt: skip
        self.source, self.level, self.length = source, (level := Level(level)), length
        bundled = find_set(source, "text")
        files = [] if bundled else _files(Path(source))
        text = bundled.read() if bundled else None if level is Level.BYTE else _read(files, encoding)
        joined = Joined(files)
        total = len(joined) if text is None else len(text.encode("utf-8") if level is Level.BYTE else text)
        ends = [round(total * share) for share in (1 - valid - test, 1 - test)]
        self.bounds = {"train": (0, ends[0]), "valid": (ends[0], ends[1]), "test": (ends[1], total)}
        self._check_split(total)
        alphabet = "" if text is None or level is Level.BYTE else "".join(sorted(set(text[: ends[0]])))
        self.preprocess: Spec[Preprocess] = TextSymbols.spec(level=level, alphabet=alphabet, length=length)
        symbols = TextSymbols(level=level, alphabet=alphabet, length=length)
        self._vocab = symbols.vocab
        self._ids: np.ndarray | Joined = joined if text is None else symbols.encode(text)
        said = [note for note in map(_says, files) if note]
        many = f"{len(files)} files, read as one text in the order of their names."
        self.notes = (bundled.says,) if bundled else (*[many][: len(files) > 1], *said)
        self.metric = f"bits per {'byte' if level is Level.BYTE else 'character'}"

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self._vocab, "length": self.length}

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec(ignore=NO_TARGET)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        places = self.bounds["train"][1] - self.length
        # Counter-based: the draw of any step without those before it. The bias of the remainder is below 2^-30.
        first = np.random.Philox(key=[seed % 2**64, step]).random_raw(size) % np.uint64(places)
        rows = self._rows(first.astype(np.int64))
        return Batch({"inputs": rows[:, :-1]}, rows[:, 1:])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        start, end = self.bounds[split]
        firsts = np.arange(start - 1, end - 1, self.length)
        # The last row is moved back to end where the split ends.
        kept = np.minimum(firsts, end - 1 - self.length)
        for i in range(0, len(firsts), size):
            rows = self._rows(kept[i : i + size])
            told_before = np.arange(self.length) < (firsts - kept)[i : i + size, None]
            yield Batch({"inputs": rows[:, :-1]}, rows[:, 1:].masked_fill(torch.from_numpy(told_before), NO_TARGET))

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        real = targets != NO_TARGET
        return F.cross_entropy(outputs[real].float(), targets[real], reduction="none") / math.log(2)

    def symbols(self, part: str) -> np.ndarray:
        """The symbol numbers of the part train, valid or test, in the order of the text."""
        start, end = self.bounds[part]
        return self._ids[start:end]

    def _rows(self, firsts: np.ndarray) -> Tensor:
        """Rows (n, length + 1) of successive symbols that start at ``firsts`` (n,)."""
        if isinstance(self._ids, Joined):
            return torch.from_numpy(self._ids.rows(firsts, self.length + 1).astype(np.int64))
        return torch.from_numpy(self._ids[firsts[:, None] + np.arange(self.length + 1)].astype(np.int64))

    def _check_split(self, total: int) -> None:
        for name, need in (("train", self.length + 1), ("valid", 1), ("test", 1)):
            start, end = self.bounds[name]
            if end - start < need:
                raise VariorumError(
                    self.source,
                    expected=f"at least {need} {self.level.value}s in its {name} part",
                    found=f"{end - start} of {total}",
                    do="Give a longer text, or a smaller length, or other shares to valid and test.",
                )


def _files(source: Path) -> list[Path]:
    """The files that a source stands for, those without content left out."""
    try:
        found = text_files(source) if source.is_dir() else [source] if source.is_file() else None
        if found is None:
            raise _no_file(source, "no file of this name")
        full = [path for path in found if path.stat().st_size]
    except OSError as error:
        raise _no_file(source, str(error)) from None
    if not full:
        raise _no_file(source, "an empty file" if source.is_file() else "none in this folder")
    return full


def _says(path: Path) -> str | None:
    """What is odd at the beginning of a file. One in UTF-16 or UTF-32 raises :class:`VariorumError`: half of what a
    model learned of its bytes would be zeros, and texts that it is given later are in UTF-8.
    """
    try:
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
    except OSError as error:
        raise _no_file(path, str(error)) from None
    if wide := next((name for mark, name in MARKS if head.startswith(mark)), None):
        raise VariorumError(shown(path), expected="text in UTF-8", found=f"the mark of {wide.upper()}",
                            do="Save it in UTF-8.")  # fmt: skip
    if head.startswith(codecs.BOM_UTF8):
        return f"{shown(path)} begins with the mark of UTF-8, three bytes that are read as part of the text."
    if b"\0" in head:
        return f"{shown(path)} holds zero bytes: it is read as the bytes that it is, though it may be no text."
    if not is_utf8(head, cut=len(head) == LOOKED_AT):
        return f"{shown(path)} is not in UTF-8: it is read as the bytes that it is; texts given later are in UTF-8."
    return None


def _read(files: list[Path], encoding: str) -> str:
    texts = []
    for path in files:
        try:
            # newline="" keeps the file's own line ends.
            with path.open(encoding=encoding, newline="") as file:
                texts.append(file.read())
        except LookupError:
            raise VariorumError("encoding", expected="the name of an encoding", found=repr(encoding),
                                do="Try utf-8.") from None  # fmt: skip
        except UnicodeError as error:
            raise VariorumError(str(path), expected=f"text in {encoding}", found=str(error),
                                do="Name its encoding, or use level=byte, which takes any file.") from None  # fmt: skip
        except OSError as error:
            raise _no_file(path, str(error)) from None
    return SEPARATOR.decode().join(texts)


def _no_file(path: Path, found: str) -> VariorumError:
    return VariorumError(str(path), expected="a file with text, or a folder of them", found=found,
                         do="Give the path of a text file.")  # fmt: skip

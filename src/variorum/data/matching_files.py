"""Pairs of documents from the benchmark's files: does one belong with the other? Tay et al. 2020, arXiv:2011.04006."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from variorum.core import VariorumError
from variorum.data.byte_pairs import BytePairs, byte_rows
from variorum.data.folders import shown
from variorum.data.split_files import given_split

COLUMNS = 5
"""label, id of the first, id of the second, text of the first, text of the second."""
Pair = tuple[int, str, str]


class MatchingFiles(BytePairs):
    """The pairs of ``NAME.train.tsv``, ``NAME.eval.tsv`` and ``NAME.test.tsv`` in a folder, as bytes.

    Tay et al. 2020, arXiv:2011.04006, on the ACL anthology network (Radev et al. 2013): lines without a head of label
    (0 or 1), two ids and two texts, with tabs between them. longest: bytes that are read of each text.
    """

    examples = ({"folder": str(Path(__file__).parent / "published" / "matching")},)

    def __init__(self, folder: str, *, name: str = "new_aan_pairs", longest: int = 4000) -> None:
        found = [read_matching(Path(folder) / f"{name}.{part}.tsv") for part in ("train", "eval", "test")]
        pairs = [pair for part in found for pair in part]
        self.seed, self.parts = 0, given_split([len(part) for part in found])
        self.classes = np.array([label for label, _, _ in pairs], np.int64)
        self.rows = byte_rows((first for _, first, _ in pairs), longest)
        self.seconds = byte_rows((second for _, _, second in pairs), longest)
        self.length = longest
        cut = self.rows.cut + self.seconds.cut
        self.notes = (f"{cut} texts are longer than {longest} bytes: the rest of them is not read.",) if cut else ()


def read_matching(path: Path) -> list[Pair]:
    """Label and texts of each pair of a file."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise VariorumError(shown(path), expected="a file of pairs", found=error.strerror or str(error),
                            do="Give the folder of the benchmark's matching files.") from None  # fmt: skip
    pairs: list[Pair] = []
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if line and (len(cells) != COLUMNS or cells[0] not in ("0", "1", "0.0", "1.0") or not cells[3] or not cells[4]):
            raise VariorumError(f"{shown(path)}, line {number}", expected="0 or 1, two ids and two texts",
                                found=f"{len(cells)} cells, the first {cells[0][:20]!r}",
                                do="Separate them by tabs; a text holds none.")  # fmt: skip
        if line:
            pairs.append((int(float(cells[0])), cells[3], cells[4]))
    if not pairs:
        raise VariorumError(shown(path), expected="pairs of texts", found="none", do="Give a file with some.")
    return pairs


def write_matching(path: Path, pairs: Iterable[Pair]) -> None:
    """A file that :func:`read_matching` and the benchmark's own pipeline read; blanks within texts become spaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{float(label)}\t{i}a\t{i}b\t{' '.join(first.split())}\t{' '.join(second.split())}\n"
             for i, (label, first, second) in enumerate(pairs)]  # fmt: skip
    path.write_text("".join(lines), encoding="utf-8")

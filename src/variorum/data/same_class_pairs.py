"""Pairs of texts of one class or of two, made of a set of labelled texts."""

import numpy as np
from numpy.random import Generator as Draws

from variorum.core import VariorumError
from variorum.data.byte_pairs import BytePairs, byte_rows
from variorum.data.draw import stratified
from variorum.data.free_text import texts_of
from variorum.data.labelled_texts import KIND, find_text
from variorum.data.opened import opened, usual
from variorum.data.split_files import given_split
from variorum.data.target_column import find_target
from variorum.data.token_rows import TokenRows


class SameClassPairs(BytePairs):
    """Are two texts of the same class? Byte-level document retrieval, in the form of Tay et al. 2020, arXiv:2011.04006,
    on any set of labelled texts; half of the pairs are.

    source, target: as for labelled texts.    longest: bytes that are read of each text.    pairs: for each text, of
    which it is the first. Texts are split (60/20/20, stratified) before they are paired: none is met in two parts.
    """

    examples = ({"source": "shakespeare_passages", "longest": 64, "pairs": 1},)

    def __init__(
        self, source: str, *, target: str | None = None, longest: int = 4000, pairs: int = 4, seed: int = 0
    ) -> None:
        if longest < 1 or pairs < 1:
            raise VariorumError("SameClassPairs", expected="longest and pairs of 1 or more",
                                found=f"longest {longest}, pairs {pairs}", do="Choose others.")  # fmt: skip
        frame, notes = opened(source, KIND)
        name = find_target(frame, target or usual(source, KIND, "target"), source)
        column, ignored = find_text(frame, name, source)
        frame = frame.dropna(subset=[column, name]).drop_duplicates(subset=[column])
        codes = frame[name].astype(str).astype("category").cat.codes.to_numpy(np.int64)
        if np.bincount(codes).min() < 6 or codes.max() < 1:
            raise VariorumError(f"{source} target {name!r}", expected="two classes or more, of six texts or more each",
                                found=f"{codes.max() + 1} classes, the smallest of {np.bincount(codes).min()}",
                                do="Leave small classes out.")  # fmt: skip
        draws = np.random.default_rng([seed, 0x2A1])
        split = stratified(codes, seed)
        made = [_paired(draws, rows, codes, pairs) for rows in (split.train, split.valid, split.test)]
        firsts, seconds, self.classes = (np.concatenate(each) for each in zip(*made, strict=True))
        rows = byte_rows(texts_of(frame[column]), longest)
        self.seed, self.length = seed, longest
        self.rows, self.seconds = _picked(rows, firsts), _picked(rows, seconds)
        self.parts = given_split([len(part[0]) for part in made])
        self.notes = (*notes, *ignored)


def _paired(draws: Draws, rows: np.ndarray, codes: np.ndarray, pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of firsts and seconds, and 1 where both are of one class."""
    rows = rows[np.argsort(codes[rows], kind="stable")]
    _, begins, sizes = np.unique(codes[rows], return_index=True, return_counts=True)
    begin, size = np.repeat(begins, sizes), np.repeat(sizes, sizes)
    first = np.tile(np.arange(len(rows)), pairs)
    begin, size = begin[first], size[first]
    alike = draws.permutation(np.arange(len(first)) % 2)
    near = begin + (first - begin + draws.integers(1, size)) % size  # any other one of the class
    far = (begin + size + draws.integers(0, len(rows) - size)) % len(rows)  # any one of another class
    return rows[first], rows[np.where(alike == 1, near, far)], alike


def _picked(rows: TokenRows, which: np.ndarray) -> TokenRows:
    """Some rows, in this order."""
    ids, layout = rows.packed(which)
    lengths = np.array(layout.lengths, np.int64)
    return TokenRows(ids.numpy().astype(np.int32), np.append(0, lengths.cumsum()))

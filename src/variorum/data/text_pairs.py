"""Pairs of texts: one is read, the other is written. Translations, spoken forms, summaries."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from variorum.core import Layout, Objective, Spec, VariorumError
from variorum.data.alike import draw_alike, in_turn
from variorum.data.divided import DividedRows
from variorum.data.draw import Parts, stratified
from variorum.data.free_text import SOME_DIFFERENT, is_free_text, texts_of
from variorum.data.given_texts import open_texts
from variorum.data.opened import opened, usual
from variorum.data.preprocess import Preprocess
from variorum.data.sets.bundled import find_set
from variorum.data.target_column import USUAL, find_target
from variorum.data.task import Batch, Split
from variorum.data.token_rows import LONGEST, TokenRows, fit_tokenizer, token_bytes
from variorum.data.tokenizer import Tokenizer
from variorum.data.writing import Writing
from variorum.objectives.cross_entropy import CrossEntropy

if TYPE_CHECKING:
    import pandas as pd

KIND = "text pairs"
FEWEST = 20
"""Pairs that can be split and learned from."""


class PairTokens(Preprocess, Writing):
    """Source texts -> packed rows of ids, at most ``longest`` and the end; the model's answers are written texts.

    One tokenizer serves both sides. The start of a target and the end of either have the two ids after its own.
    column: where the source texts stand in a table.
    """

    reads = KIND
    examples = ({"column": "en", "tokenizer": Tokenizer.spec(**Tokenizer.examples[0]), "longest": 6},)

    def __init__(self, *, column: str, tokenizer: Spec[Tokenizer], longest: int) -> None:
        if longest < 1:
            raise VariorumError("PairTokens longest", expected="1 or more", found=str(longest), do="Use 256.")
        self.column, self.longest, self.tokenizer = column, longest, tokenizer.build()
        self.start, self.end, self.most = self.tokenizer.vocab, self.tokenizer.vocab + 1, longest + 1

    @property
    def vocab(self) -> int:
        """The number of ids."""
        return self.tokenizer.vocab + 2

    def sources(self, texts: Iterable[str]) -> TokenRows:
        """The ids of source texts, each followed by the end."""
        return TokenRows.of(texts, self.tokenizer, last=[self.end], longest=self.longest)

    def targets(self, texts: Iterable[str]) -> TokenRows:
        """The ids of target texts between start and end."""
        return TokenRows.of(texts, self.tokenizer, first=[self.start], last=[self.end], longest=self.longest)

    def text(self, ids: Tensor) -> str:
        """The text that was written, without start and end."""
        return self.tokenizer.decode(ids[ids < self.start])

    def open(self, rows: Any) -> "pd.DataFrame":
        return open_texts(rows, self.column)

    def batches(self, rows: "pd.DataFrame", size: int) -> Iterator[dict[str, Any]]:
        encoded = self.sources(texts_of(rows[self.column]))
        for first in range(0, len(encoded), size):
            ids, layout = encoded.packed(np.arange(first, min(first + size, len(encoded))))
            yield {"source": ids, "source_layout": layout}

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"source": {0: "batch", 1: "source_length"}, "target": {0: "batch", 1: "length"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        rng, n = np.random.default_rng(0), min(length, self.longest)
        source, target = (rng.integers(self.vocab, size=(rows, size)) for size in (n, max(1, n - 1)))
        return {"source": torch.from_numpy(source), "target": torch.from_numpy(target)}

    def answers(self, rows: "pd.DataFrame", outputs: list[Any]) -> "pd.DataFrame":
        """``outputs``: for each batch the ids written for each of its rows."""
        import pandas as pd

        said = [self.text(ids) for batch in outputs for ids in batch]
        return pd.DataFrame({"prediction": pd.Series(said, index=rows.index, dtype=object)})


class TextPairTask(DividedRows):
    """Write the text that goes with a text; the metric is bits per byte of the target, the mean over rows.

    The bits of a row are -sum_t log2 p(y_t | y_<t, x), its end among them; its bytes are those of the target in UTF-8
    and one for the end, so that tokenizers are compared alike. Lower is better. :meth:`chrf` judges written texts.

    source: a table with two columns of texts, or a bundled name.    target: the one to write.    longest: tokens of a
    text that are read or written, its first ones.    frame: the rows, when they have been read already.

    Rows without a source or a target are left out, and repeated pairs; rows with the same source are in one part of
    the split (60/20/20), which depends on ``seed`` alone. The tokenizer is fitted to the training rows.
    """

    reads = KIND
    metric = "bits per target byte"
    higher_is_better = False
    examples = ({"source": "spoken_numbers"},)

    def __init__(
        self, source: str, *, target: str | None = None, longest: int = LONGEST, seed: int = 0, frame: Any = None
    ) -> None:
        self.source, self.seed = source, seed
        bundled = find_set(source, KIND)
        self.synthetic = bundled is not None and bundled.synthetic
        frame, notes = (frame, ()) if frame is not None else opened(source, KIND)
        column, name = find_pair(frame, target or usual(source, KIND, "target"), source)
        sources, targets, repaired = _different(texts_of(frame[column]), texts_of(frame[name]), source)
        self.parts: Parts = _split(sources, seed)
        tokenizer = fit_tokenizer([*sources[self.parts.train], *targets[self.parts.train]])
        self.preprocess: Spec[PairTokens] = PairTokens.spec(
            column=column, tokenizer=Tokenizer.spec(json=tokenizer.json), longest=longest
        )
        reader = self.preprocess.build()
        self.texts = targets
        self.sources, self.targets = reader.sources(sources), reader.targets(targets)
        self._bytes = torch.from_numpy(np.append(token_bytes(tokenizer), [0, 1]))
        self._end, self._facts = reader.end, {"vocab": reader.vocab}
        long = self.sources.cut + self.targets.cut
        cut = (f"{long} texts are longer than {longest} tokens: the rest of them is neither read nor written.",)
        told = f"Column {column!r} is read and {name!r} written, as {tokenizer.vocab} kinds of byte pairs."
        self.notes = (*notes, told, *repaired, *(cut if long else ()))

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self._facts)

    @property
    def objective(self) -> Spec[Objective]:
        return CrossEntropy.spec()

    def batch(self, step: int, size: int, seed: int) -> Batch:
        train = self.parts.train
        return self._batch(train[draw_alike(self.targets.lengths[train], step, size, seed)])

    def held_out(self, split: Split, size: int) -> Iterator[Batch]:
        rows = self.ordered(split)
        return (self._batch(rows[i : i + size]) for i in range(0, len(rows), size))

    def ordered(self, split: Split) -> np.ndarray:
        """The numbers of the held-out rows in the order in which they come."""
        rows = self.parts.rows(split)
        return rows[in_turn(self.targets.lengths[rows])]

    def scores(self, outputs: Any, targets: Any) -> Tensor:
        bits = F.cross_entropy(outputs.float(), targets, reduction="none") / math.log(2)
        ends = (targets == self._end).long()
        row, nothing = ends.cumsum(0) - ends, bits.new_zeros(int(ends.sum()))
        return nothing.index_add(0, row, bits) / nothing.index_add(0, row, self._bytes[targets].to(bits.dtype))

    def chrf(self, split: Split, said: Sequence[str]) -> float:
        """chrF, 0 to 1, of texts written for the held-out rows in order. Popović 2015, "chrF: character n-gram F"."""
        from torchmetrics.functional.text import chrf_score

        found = chrf_score(list(said), [[text] for text in self.texts[self.ordered(split)]], n_word_order=0)
        assert isinstance(found, Tensor), "the scores of single sentences are not asked for"
        return float(found)

    def _batch(self, rows: np.ndarray) -> Batch:
        source, source_layout = self.sources.packed(rows)
        ids, _ = self.targets.packed(rows)
        offsets, tokens = torch.from_numpy(np.append(0, self.targets.lengths[rows].cumsum())), len(ids)
        last = torch.zeros(tokens, dtype=torch.bool).index_fill_(0, offsets[1:] - 1, True)
        first = torch.zeros(tokens, dtype=torch.bool).index_fill_(0, offsets[:-1], True)
        lengths = Layout.ragged(offsets.diff() - 1)
        inputs = {"source": source, "source_layout": source_layout, "target": ids[~last], "layout": lengths}
        return Batch(inputs, ids[~first])


def find_pair(frame: "pd.DataFrame", target: str | None, source: str) -> tuple[str, str]:
    """The columns to read and to write: the target as it is asked for or usually called, else the second of two."""
    texts = [name for name in frame.columns if is_free_text(frame[name], fewest=0, different=SOME_DIFFERENT)]
    if target is None and not any(str(name).lower() in USUAL for name in texts) and len(texts) == 2:
        return texts[0], texts[1]
    name = find_target(frame, target, source)
    others = [other for other in texts if other != name]
    if name not in texts or not others:
        found = f"{name!r} holds none" if name not in texts else f"no other than {name!r}"
        raise VariorumError(source, expected="two columns of different texts", found=found,
                            do="Name the column to write with --target, or leave --reads out.")  # fmt: skip
    return max(others, key=lambda other: float(frame[other].dropna().str.len().mean())), name


def _different(
    sources: np.ndarray, targets: np.ndarray, subject: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The pairs that have both sides and did not come before, and what was left out."""
    seen, kept, empty = set[tuple[str, str]](), [], 0
    for row, pair in enumerate(zip(sources, targets, strict=True)):
        if not all(pair):
            empty += 1
        elif pair not in seen:
            seen.add(pair)
            kept.append(row)
    repeated = len(sources) - empty - len(kept)
    if len(kept) < FEWEST:
        raise VariorumError(subject, expected=f"at least {FEWEST} different pairs of texts", found=str(len(kept)),
                            do="Collect more.")  # fmt: skip
    said = ((empty, "lack one of the two texts"), (repeated, "repeat a row before them"))
    notes = tuple(f"{count} rows {why} and are left out." for count, why in said if count)
    return sources[kept], targets[kept], notes


def _split(sources: np.ndarray, seed: int) -> Parts:
    """Rows of one source stay together."""
    different, of = np.unique(sources.astype(str), return_inverse=True)
    if len(different) < FEWEST:
        raise VariorumError("text pairs", expected=f"at least {FEWEST} different source texts",
                            found=str(len(different)), do="Exchange the columns, or collect more.")  # fmt: skip
    parts = stratified(np.zeros(len(different), np.int64), seed)
    return Parts(*(np.flatnonzero(np.isin(of, part)) for part in (parts.train, parts.valid, parts.test)))

"""What a language model of a tokenizer's pieces reads of a user's texts, and what it says of them."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from variorum.core import Layout, Spec, VariorumError
from variorum.data.continuing import Continuing, Turns
from variorum.data.given_texts import open_texts
from variorum.data.preprocess import Preprocess
from variorum.data.tokenizer import Tokenizer

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "text"


class TextPieces(Preprocess, Continuing):
    """Texts -> packed rows of ids, at most ``length`` long, each beginning with ``begin``; a longer text is several.

    ends: ids that a text ends with.    turn, reply, reply_ends, assistant: how a dialogue is written down (see
    :class:`~variorum.data.continuing.Turns`). What the tokenizer itself puts around a text is part of the text.
    """

    reads = "text"
    examples = ({"tokenizer": Tokenizer.spec(**Tokenizer.examples[0]), "length": 6},)

    def __init__(
        self,
        *,
        tokenizer: Spec[Tokenizer],
        length: int,
        begin: Sequence[int] = (),
        ends: Sequence[int] = (),
        turn: str = Turns.turn,
        reply: str = Turns.reply,
        reply_ends: Sequence[str] = Turns.ends,
        assistant: str = Turns.assistant,
    ) -> None:
        self.tokenizer = tokenizer.build()
        wrong = [i for i in (*begin, *ends) if not 0 <= i < self.tokenizer.vocab]
        if wrong or length <= len(begin):
            raise VariorumError("TextPieces", expected=f"ids of the tokenizer, and a length above {len(begin)}",
                                found=f"{wrong[:5]} and {length}", do="Give ids and a length.")  # fmt: skip
        self.length, self.begin, self.ends = length, tuple(begin), tuple(ends)
        self.turns = Turns(turn, reply, tuple(reply_ends), assistant)

    @property
    def vocab(self) -> int:
        """The number of ids."""
        return self.tokenizer.vocab

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return self.tokenizer.decode(ids, skip_special=True)

    def open(self, rows: Any) -> "pd.DataFrame":
        """A path, a text, a list of texts, or a table with a column ``text``; see :func:`open_texts`."""
        return open_texts(rows, COLUMN)

    def batches(self, rows: "pd.DataFrame", size: int) -> Iterator[dict[str, Any]]:
        pieces = [piece for text in rows[COLUMN] for piece in self._pieces(str(text))]
        for first in range(0, len(pieces), size):
            some = pieces[first : first + size]
            ids = torch.tensor([i for piece in some for i in piece], dtype=torch.int64)
            yield {"inputs": ids, "layout": Layout.ragged([len(piece) for piece in some])}

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"inputs": {0: "batch", 1: "length"}}

    def sample(self, rows: int, length: int) -> dict[str, Tensor]:
        made = np.random.default_rng(0).integers(self.vocab, size=(rows, min(length, self.length)))
        return {"inputs": torch.from_numpy(made)}

    def answers(self, rows: "pd.DataFrame", outputs: list[Any]) -> "pd.DataFrame":
        """For each text: bits for each piece after the first of its row, on average, and the likeliest next piece."""
        import pandas as pd

        pieces = [[torch.tensor(piece) for piece in self._pieces(str(text))] for text in rows[COLUMN]]
        sizes = [len(piece) for text in pieces for piece in text]
        chances = iter(torch.cat(outputs).double().log_softmax(dim=-1).split(sizes)) if outputs else iter(())
        bits, following = [], []
        for text in pieces:
            told = [(next(chances), ids) for ids in text]
            losses = [-told_[:-1].gather(1, ids[1:, None])[:, 0] for told_, ids in told]
            bits.append(float(torch.cat(losses).mean()) / math.log(2) if losses else math.nan)
            following.append(self.decode([int(told[-1][0][-1].argmax())]) if told else "")
        data = {COLUMN: list(rows[COLUMN]), "bits_per_piece": bits, "next": following}
        return pd.DataFrame(data, index=rows.index)

    def _pieces(self, text: str) -> list[list[int]]:
        """The ids of a text, in rows of at most ``length``."""
        ids, room = self.encode(text), self.length - len(self.begin)
        return [[*self.begin, *ids[i : i + room]] for i in range(0, len(ids), room)]

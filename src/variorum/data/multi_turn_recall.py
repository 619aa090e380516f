"""Conversations in which things are told in some turns and asked for in later ones. After Filipek 2025."""

from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.asked_symbols import AskedSymbols
from variorum.data.task import Batch
from variorum.objectives.cross_entropy import NO_TARGET

WIDTH, ANSWER_AT = 5, 3
"""Tokens of a turn, and the place of the sign after which the answer stands."""


class MultiTurnRecall(AskedSymbols):
    """``told`` turns "[query] key value [answer] noted", then ``asked`` turns "[query] key ? [answer] value".

    A miniature of the dialogues of Filipek 2025, arXiv:2510.03561, that are answered from earlier turns. Keys do not
    repeat in a conversation, each is asked for at most once, in random order; the values of keys are drawn evenly, so
    that chance is 1 / values. Ids: the values, the keys, then query, answer, ?, noted.
    inputs (batch, (told + asked) * 5) ids, the turns one after the other; a target stands at the answer sign of each
    turn that asks. Made, not found.
    """

    examples = ({"rows": 16},)

    def __init__(self, *, told: int = 4, asked: int = 4, keys: int = 16, values: int = 16, rows: int = 512) -> None:
        if not 1 <= asked <= told <= keys or min(values, rows) < 1:
            raise VariorumError("MultiTurnRecall", expected="1 <= asked <= told <= keys, and values",
                                found=f"told {told}, asked {asked}, keys {keys}, values {values}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.told, self.asked, self.keys, self.values, self.rows = told, asked, keys, values, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocab": self.values + self.keys + 4, "length": (self.told + self.asked) * WIDTH}

    def make(self, generator: torch.Generator, size: int) -> Batch:
        signs = torch.arange(4) + self.values + self.keys
        keys = self.values + torch.rand(size, self.keys, generator=generator).argsort(dim=1)[:, : self.told]
        values = torch.randint(self.values, (size, self.told), generator=generator)
        order = torch.rand(size, self.told, generator=generator).argsort(dim=1)[:, : self.asked]
        answers = values.gather(1, order)
        query, answer, open_, noted = (sign.expand(size, self.told) for sign in signs)
        telling = torch.stack([query, keys, values, answer, noted], dim=2)
        few = slice(self.asked)
        asking = torch.stack([query[:, few], keys.gather(1, order), open_[:, few], answer[:, few], answers], dim=2)
        targets = torch.full((size, self.told + self.asked, WIDTH), NO_TARGET)
        targets[:, self.told :, ANSWER_AT] = answers
        return Batch({"inputs": torch.cat([telling, asking], dim=1).flatten(1)}, targets.flatten(1))

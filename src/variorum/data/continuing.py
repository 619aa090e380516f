"""Preprocesses of models that write a text on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turns:
    """How a dialogue is written down as one text: every turn as ``turn`` says, then ``reply``, which the model goes on.

    ends: strings before which the reply ends.    assistant: what the role of that name is called.
    """

    turn: str = "{role}: {content}\n"
    reply: str = "assistant:"
    ends: tuple[str, ...] = ("\nuser:",)
    assistant: str = "assistant"

    def text(self, messages: Sequence[tuple[str, str]]) -> str:
        """The text of messages (role, content), up to where the reply begins."""
        return "".join(self._one(role, content) for role, content in messages) + self.reply

    def _one(self, role: str, content: str) -> str:
        named = self.assistant if role == Turns.assistant else role
        before, _, after = self.turn.replace("{role}", named).partition("{content}")
        return before + content + after


class Continuing(ABC):
    """Text to ids and back, for a model whose answer to a text is what comes next.

    length: ids that the model was trained to look at, those it writes among them.    begin: ids before every text.
    ends: ids after which it is over.    turns: how a dialogue is written down.
    """

    length: int
    begin: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    turns: Turns = Turns()

    @property
    @abstractmethod
    def vocab(self) -> int:
        """The number of ids."""

    @abstractmethod
    def encode(self, text: str) -> Any:
        """The ids of a text, a sequence of whole numbers, without those that every text begins with."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no whole character are U+FFFD."""

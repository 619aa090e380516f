"""What a request has written: its passages, and the news of them as they come."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from variorum.core import VariorumError
from variorum.data.decode import whole
from variorum.runtime.decoding.decoding import Limits
from variorum.runtime.decoding.steps import Greedy, Sampling
from variorum.runtime.generation.ticket import Request
from variorum.runtime.serve.asked import Written
from variorum.runtime.serve.refusal import Refusal
from variorum.runtime.serve.served import Served, Visit
from variorum.runtime.serve.shelf import Shelf
from variorum.runtime.serve.writing_lane import News, Order

COLDEST = 1e-3
"""Temperatures below it are 0."""
LONGEST_ID = 256
"""Characters that ids stand for at most, on average over a text: a longer text is refused before it is encoded."""


@dataclass(frozen=True)
class Prompt:
    """The ids that a passage begins with, and the text that the client knows them as."""

    ids: list[int]
    text: str


def prompts_of(served: Served, given: Any, *, most: int) -> list[Prompt]:
    """A text, ids, or a list of ``most`` of either, as the schemas let them through; what cannot be read is a
    :class:`Refusal`.
    """
    language = served.language
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    if len(given) > most:
        raise Refusal(400, "too_many_texts", f"One request may hold {most:,} texts, this one holds {len(given):,}.")
    found = []
    for number, one in enumerate(given):
        if isinstance(one, str):
            text = whole(one)
            if len(text) > LONGEST_ID * language.length:
                raise Refusal(400, "context_length_exceeded", f"Prompt {number} has {len(text):,} characters, where "
                              f"there is room for {language.length} ids. Shorten it.")  # fmt: skip
            ids = [*language.begin, *(int(i) for i in language.encode(text))]
        else:
            ids = list(one)
            if max(ids) >= language.vocab:
                raise Refusal(400, "unknown_id", f"Prompt {number}: id {max(ids)}, where there are {language.vocab}.")
            text = language.decode(ids)
        if not ids:
            raise Refusal(400, "empty_prompt", f"Prompt {number} is empty: give it one character at least.")
        found.append(Prompt(ids, text))
    return found


class Manuscript:
    """``n`` passages for each prompt, on their way. ``news`` tells of them; ``close`` gives their places up.

    most: new ids of each; as many as there is room for if None and ``usual`` is, else ``usual`` of them.
    """

    def __init__(
        self, shelf: Shelf, visit: Visit, prompts: Sequence[Prompt], asked: Written, *, most: int | None,
        usual: int | None, stops: Sequence[str],
    ) -> None:  # fmt: skip
        self.served, self._visit = visit.served, visit
        copies = asked.n or 1
        if len(prompts) * copies > shelf.limits.texts:
            raise Refusal(400, "too_many_texts", f"One request may ask for {shelf.limits.texts} texts, "
                          f"this one asks for {len(prompts) * copies}.")  # fmt: skip
        loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[News]()

        def send(news: News) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(self._queue.put_nowait, news)

        language, decoding = self.served.language, _decoding(asked)
        self.orders = [
            Order(
                place=i,
                request=Request(
                    torch.tensor(prompt.ids),
                    Limits(self._most(prompt, most, usual), language.ends, tuple(stops), language.decode),
                    decoding,
                    stream=i,
                ),
                send=send,
                pieces=bool(asked.stream),
            )
            for i, prompt in enumerate(prompt for prompt in prompts for _ in range(copies))
        ]
        self.prompts = [prompt for prompt in prompts for _ in range(copies)]
        self.prompt_tokens = sum(len(prompt.ids) for prompt in prompts)
        self.served.metrics.tokens.labels(self.served.name, "prompt").inc(self.prompt_tokens)
        shelf.write(self.served, self.orders)

    async def news(self) -> AsyncIterator[News]:
        """All news, until every passage has ended."""
        left = len(self.orders)
        while left:
            news = await self._queue.get()
            if isinstance(news.error, VariorumError):
                raise Refusal(400, "cannot_write", str(news.error))
            if news.error is not None:
                raise Refusal(500, "failed", "The model could not write this.") from news.error
            left -= news.ended is not None
            yield news

    def close(self) -> None:
        """Nobody waits any more."""
        for order in self.orders:
            order.cancelled = True
        self._visit.close()

    def _most(self, prompt: Prompt, most: int | None, usual: int | None) -> int:
        """New ids of a passage; those of the prompt and the new ones must be within the model's length."""
        length = self.served.language.length
        room = length - len(prompt.ids)
        if room < 1 or (most or 1) > room:
            raise Refusal(400, "context_length_exceeded", f"Bundle {self.served.name!r} has room for {length} ids; the "
                          f"prompt has {len(prompt.ids)}, and {most or 1} are asked for. Shorten it.")  # fmt: skip
        return most or min(room, usual or room)


def _decoding(asked: Written) -> Greedy | Sampling:
    """How tokens are chosen; temperature 0 is the likeliest token after the penalties, if there are any."""
    penalties: dict[str, Any] = {
        "presence": asked.presence_penalty or 0.0,
        "frequency": asked.frequency_penalty or 0.0,
        "repetition": asked.repetition_penalty or 1.0,
    }
    temperature = 1.0 if asked.temperature is None else asked.temperature
    if temperature < COLDEST:
        plain = penalties == {"presence": 0.0, "frequency": 0.0, "repetition": 1.0}
        return Greedy() if plain else Sampling(top_k=1, **penalties)
    return Sampling(
        temperature=temperature,
        top_k=asked.top_k,
        top_p=asked.top_p or 1.0,
        min_p=asked.min_p or 0.0,
        seed=secrets.randbits(62) if asked.seed is None else asked.seed,
        **penalties,
    )
